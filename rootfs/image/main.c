/* umiak-image: imports, lists and removes images. Started by `umiak image` and the agent. */
#include <fcntl.h>
#include <getopt.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/num.h"
#include "rootfs/image/import.h"

static const char usage[] =
	"usage: umiak-image [--store DIR] COMMAND\n"
	"Images in this node's store.\n"
	"  import [options] FILE [NAME]   add one\n"
	"  list                           names, ids and sizes\n"
	"  rm NAME|ID...                  remove\n"
	"FILE is an OCI layout (folder or tar), a `docker save` archive, or the tar of a root "
	"file\n"
	"system, compressed or not.\n"
	"options:\n"
	"  --store DIR           the store [" UM_LOCALSTATEDIR "/lib/umiak/images]\n"
	"  --help                tell this\n"
	"  --version             tell the version\n"
	"for the import of a root file system, what its image says of itself:\n"
	"  --entrypoint JSON     a JSON array of strings, or one string\n"
	"  --cmd JSON            likewise\n"
	"  --env NAME=VALUE...   a variable; may be given again\n"
	"  --workdir DIR         where its program starts\n"
	"  --user USER[:GROUP]   whom its program runs as\n"
	"  --stop-signal SIGNAL  what asks its program to end\n";

struct command_line {
	const char *store;
	struct um_arena *a;
	struct um_json *config;
};

static int fail(const struct um_error *err)
{
	fprintf(stderr, "umiak-image: %s\n", err->msg);
	return um_exit_code(err);
}

/* ---- import ---- */

static int make_work_folder(struct um_images *s, int tmp_root, char name[32], struct um_error *err)
{
	int fd;

	snprintf(name, 32, "import-%d", (int)getpid());
	(void)!um_io_remove_tree(tmp_root, name, NULL);
	if (mkdirat(tmp_root, name, 0700) < 0)
		return um_error_errno(err, -errno, "make %s/tmp/%s", s->dir, name);
	fd = openat(tmp_root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? um_error_errno(err, -errno, "open %s/tmp/%s", s->dir, name) : fd;
}

/* What this import, or one that was killed, left without a name; and what a name that moved no
 * longer needs. */
static int collect(struct um_images *s, struct um_arena *a, struct um_error *err)
{
	_cleanup_close_ int lock = um_images_lock(s, err);
	struct um_json *refs;
	int r;

	if (lock < 0)
		return lock;
	r = um_refs_read(s, a, &refs, err);
	return r < 0 ? r : um_images_collect(s, refs, err);
}

static int do_import(struct command_line *cl, struct um_images *s, char **argv, int argc)
{
	struct import_options opt = {.name = argc > 1 ? argv[1] : NULL, .config = cl->config};
	struct source src = {.fd = -1, .path = argv[0], .a = cl->a, .tmpfd = -1};
	_cleanup_close_ int fd = -1, tmp_root = -1, work = -1;
	struct um_error err = UM_ERROR_INIT;
	char normal[UM_IMAGE_NAME_MAX], name[32];
	int r = 0;

	if (opt.name)
		r = um_image_normalise(opt.name, normal, &err);
	if (r < 0)
		return fail(&err);
	if (opt.name && strchr(normal, '@')) {
		um_error_set(&err, -EINVAL, "%s: a name to import to cannot have a digest",
			     opt.name);
		return fail(&err);
	}
	fd = src.fd = open(argv[0], O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a fifo is refused */
	if (fd < 0) {
		um_error_errno(&err, -errno, "open %s", argv[0]);
		return fail(&err);
	}
	tmp_root = openat(s->dirfd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tmp_root < 0 || flock(tmp_root, LOCK_SH) < 0) {
		um_error_errno(&err, -errno, "open %s/tmp", s->dir);
		return fail(&err);
	}
	work = src.tmpfd = make_work_folder(s, tmp_root, name, &err);
	if (work < 0)
		return fail(&err);
	r = confine(s->dirfd, fd, &err);
	if (r == 0)
		r = source_open(&src, &err);
	if (r == 0)
		r = import_source(s, &src, &opt, &err);
	if (um_io_remove_tree(tmp_root, name, r < 0 ? NULL : &err) < 0 && r == 0)
		r = -EIO;
	tmp_root = um_close(tmp_root); /* the import is over: what has no name may go */
	if (collect(s, cl->a, r < 0 ? NULL : &err) < 0 && r == 0)
		r = -EIO;
	return r < 0 ? fail(&err) : 0;
}

/* ---- list and rm ---- */

static void size_text(int64_t bytes, char buf[32])
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
	double v = (double)bytes;
	size_t i = 0;

	while (v >= 1000 && i + 1 < UM_ARRAY_LEN(units)) {
		v /= 1000;
		i++;
	}
	snprintf(buf, 32, i ? "%.1f%s" : "%.0f%s", v, units[i]);
}

static bool print_image(um_unused void *arg, const struct um_image *img)
{
	char size[32];

	size_text(img->size_bytes, size);
	printf("%-50s %.19s %8s\n", img->name, img->config_digest, size);
	return true;
}

static int do_list(um_unused struct command_line *cl, struct um_images *s, um_unused char **argv,
		   um_unused int argc)
{
	struct um_error err = UM_ERROR_INIT;

	printf("%-50s %-19s %8s\n", "NAME", "ID", "SIZE");
	return um_images_list(s, print_image, NULL, &err) < 0 ? fail(&err) : 0;
}

static int do_rm(um_unused struct command_line *cl, struct um_images *s, char **argv, int argc)
{
	int code = 0;

	for (int i = 0; i < argc; i++) {
		struct um_error err = UM_ERROR_INIT;

		if (um_images_remove(s, argv[i], &err) < 0)
			code = fail(&err);
		else
			printf("%s\n", argv[i]);
	}
	return code;
}

static const struct {
	const char *name;
	int least, most;
	int (*fn)(struct command_line *cl, struct um_images *s, char **argv, int argc);
} commands[] = {
	{"import", 1, 2, do_import},
	{"list", 0, 0, do_list},
	{"ls", 0, 0, do_list},
	{"rm", 1, 1000, do_rm},
};

/* ---- the command line ---- */

static int set_words(struct command_line *cl, const char *field, const char *text)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_json *v;

	if (text[0] == '[') {
		if (um_json_parse(cl->a, text, strlen(text), NULL, &v, &err) < 0) {
			fprintf(stderr, "umiak-image: --%s: %s\n", field, err.msg);
			return -1;
		}
		um_json_foreach (it, v) {
			if (it->type == UM_JSON_STR)
				continue;
			fprintf(stderr, "umiak-image: --%s: not an array of strings\n", field);
			return -1;
		}
	} else {
		v = um_json_new_arr(cl->a);
		um_json_append(v, um_json_new_str(cl->a, text));
	}
	um_json_set(cl->a, cl->config, field, v);
	return 0;
}

static int take_option(struct command_line *cl, int c)
{
	int sig;

	switch (c) {
	case 's':
		cl->store = optarg;
		return 0;
	case 'e':
		return set_words(cl, "Entrypoint", optarg);
	case 'c':
		return set_words(cl, "Cmd", optarg);
	case 'v':
		if (optarg[0] == '=' || !strchr(optarg, '=')) {
			fprintf(stderr, "umiak-image: --env %s: want NAME=VALUE\n", optarg);
			return -1;
		}
		um_json_append(um_json_ensure_arr(cl->a, cl->config, "Env"),
			       um_json_new_str(cl->a, optarg));
		return 0;
	case 'w':
		um_json_set_str(cl->a, cl->config, "WorkingDir", optarg);
		return 0;
	case 'u':
		um_json_set_str(cl->a, cl->config, "User", optarg);
		return 0;
	case 'S':
		if (um_num_signal(optarg, &sig) < 0 || sig == 0) {
			fprintf(stderr, "umiak-image: --stop-signal %s: no such signal\n", optarg);
			return -1;
		}
		um_json_set_str(cl->a, cl->config, "StopSignal", optarg);
		return 0;
	default:
		return -1;
	}
}

static int run(struct command_line *cl, char **argv, int argc)
{
	_cleanup_(um_images_closep) struct um_images *s = NULL;
	struct um_error err = UM_ERROR_INIT;

	for (size_t i = 0; i < UM_ARRAY_LEN(commands); i++) {
		if (argc < 1 || strcmp(argv[0], commands[i].name))
			continue;
		if (argc - 1 < commands[i].least || argc - 1 > commands[i].most)
			break;
		if (um_images_open(cl->store, &s, &err) < 0)
			return fail(&err);
		return commands[i].fn(cl, s, argv + 1, argc - 1);
	}
	fputs(usage, stderr);
	return UM_EXIT_USAGE;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"store", 1, NULL, 's'},       {"entrypoint", 1, NULL, 'e'},
		{"cmd", 1, NULL, 'c'},	       {"env", 1, NULL, 'v'},
		{"workdir", 1, NULL, 'w'},     {"user", 1, NULL, 'u'},
		{"stop-signal", 1, NULL, 'S'}, {"help", 0, NULL, 'h'},
		{"version", 0, NULL, 'V'},     {NULL, 0, NULL, 0},
	};
	_cleanup_arena_ struct um_arena *a = um_arena_new(256 << 20);
	struct command_line cl = {.store = UM_LOCALSTATEDIR "/lib/umiak/images", .a = a};
	int c;

	if (!a || !(cl.config = um_json_new_obj(a))) {
		fprintf(stderr, "umiak-image: out of memory\n");
		return UM_EXIT_FAILURE;
	}
	umask(022);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		if (c == 'V') {
			puts("umiak-image " PACKAGE_VERSION);
			return 0;
		}
		if (take_option(&cl, c) < 0) {
			if (c == '?')
				fputs(usage, stderr);
			return UM_EXIT_USAGE;
		}
	}
	return run(&cl, argv + optind, argc - optind);
}
