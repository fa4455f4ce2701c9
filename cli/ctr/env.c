/* Where things are. */
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>

#include "base/io.h"
#include "cli/cli.h"
#include "cli/ctr/ctr.h"

struct ctr_env ctr_env;

extern char **environ;

/* What each can be set by, the first that says something: the option, the variable, a key of the
 * configuration file; else the fallback, which --root stands before. */
static const struct place {
	const char *name, *variable, *fallback;
	bool rooted;
	const char **to;
} places[] = {
	{"state-dir", "UMIAK_CTR_STATE_DIR", UM_LOCALSTATEDIR "/lib/umiak/ctr", true,
	 &ctr_env.state},
	{"run-dir", "UMIAK_CTR_RUN_DIR", UM_RUNSTATEDIR "/umiak/ctr", true, &ctr_env.run},
	{"images-dir", "UMIAK_IMAGES_DIR", UM_LOCALSTATEDIR "/lib/umiak/images", true,
	 &ctr_env.images_dir},
	{"volumes-dir", "UMIAK_VOLUMES_DIR", UM_LOCALSTATEDIR "/lib/umiak/volumes", true,
	 &ctr_env.volumes},
	{"libexec-dir", "UMIAK_LIBEXEC", UM_LIBEXECDIR, false, &ctr_env.libexec},
	{"cgroup-parent", "UMIAK_CTR_CGROUP", "umiak-ctr", false, &ctr_env.cgroup_parent},
	{"container-range", "UMIAK_CTR_RANGE", "10.245.0.0/16", false, &ctr_env.range},
};
#define N_PLACES UM_ARRAY_LEN(places)

static int read_file(const char *values[N_PLACES], struct um_error *err)
{
	struct cli_option options[N_PLACES + 1] = {{NULL, NULL, NULL, NULL}};
	char path[1100];
	int r;

	for (size_t i = 0; i < N_PLACES; i++)
		options[i] = (struct cli_option){places[i].name, "VALUE", NULL, &values[i]};
	if (ctr_env.config)
		return cli_read_config(options, ctr_env.config, false, err);
	r = um_io_path(path, sizeof(path), "%s" UM_SYSCONFDIR "/umiak/ctr.yaml", ctr_env.root);
	return r < 0 ? um_error_errno(err, r, "--root") : cli_read_config(options, path, true, err);
}

static const char *nonempty(const char *text)
{
	return text && *text ? text : NULL;
}

static int set_place(const struct place *p, const char *from_file, struct um_error *err)
{
	static char paths[N_PLACES][CTR_DIR_MAX];
	char *path = paths[p - places];
	const char *value = nonempty(*p->to);

	if (!value)
		value = nonempty(getenv(p->variable));
	if (!value)
		value = nonempty(from_file);
	if (!p->rooted) {
		*p->to = value ? value : p->fallback;
		return 0;
	}
	if (um_io_path(path, CTR_DIR_MAX, "%s%s", value ? "" : ctr_env.root,
		       value ? value : p->fallback) < 0)
		return um_error_set(err, -ENAMETOOLONG, "--%s: longer than %d bytes", p->name,
				    CTR_DIR_MAX - 1);
	/* Others go there from another folder, and quote it. */
	if (*path != '/' || path[strcspn(path, "\"\\\n")])
		return um_error_set(err, -EINVAL,
				    "--%s \"%s\": want an absolute path without quotes", p->name,
				    path);
	*p->to = path;
	return 0;
}

static int set_paths(struct ctr_env *e, struct um_error *err)
{
	const char *from_file[N_PLACES] = {NULL};
	int r;

	if (!e->root)
		e->root = getenv("UMIAK_ROOT");
	if (!e->root)
		e->root = "";
	if (*e->root && *e->root != '/')
		return um_error_set(err, -EINVAL, "--root \"%s\": want an absolute path", e->root);
	r = read_file(from_file, err);
	for (size_t i = 0; r == 0 && i < N_PLACES; i++)
		r = set_place(&places[i], from_file[i], err);
	if (r < 0)
		return r;
	if (strlen(e->libexec) > 1000 || strlen(e->cgroup_parent) > 100 ||
	    strchr(e->cgroup_parent, '/'))
		return um_error_set(err, -EINVAL, "--libexec-dir or --cgroup-parent is not valid");
	r = um_io_path(e->oci_root, sizeof(e->oci_root), "%s/oci", e->run);
	r |= um_io_path(e->net_dir, sizeof(e->net_dir), "%s/net", e->state);
	r |= um_io_path(e->shim, sizeof(e->shim), "%s/umiak-shim", e->libexec);
	r |= um_io_path(e->oci, sizeof(e->oci), "%s/umiak-oci", e->libexec);
	if (access(e->oci, X_OK) < 0) /* it is a program for people too */
		r |= um_io_path(e->oci, sizeof(e->oci), "%s/umiak-oci", UM_BINDIR);
	return r < 0 ? um_error_errno(err, -ENAMETOOLONG, "--libexec-dir") : 0;
}

int ctr_env_open(struct um_error *err)
{
	struct ctr_env *e = &ctr_env;
	char names[1100];
	int r = set_paths(e, err);

	if (r < 0)
		return r;
	if (geteuid() != 0)
		return um_error_set(err, -EPERM, "containers need root");
	snprintf(names, sizeof(names), "%s/names", e->state);
	r = um_io_mkdirs(AT_FDCWD, names, 0700, err);
	if (r == 0)
		r = um_io_mkdirs(AT_FDCWD, e->run, 0700, err);
	return r;
}

int ctr_images(struct um_images **ret, struct um_error *err)
{
	int r = 0;

	if (!ctr_env.images)
		r = um_images_open(ctr_env.images_dir, &ctr_env.images, err);
	*ret = ctr_env.images;
	return r;
}

struct um_ctr_net ctr_net(void)
{
	return (struct um_ctr_net){ctr_env.range, ctr_env.net_dir};
}

int ctr_new_id(char id[CTR_ID_LEN + 1], struct um_error *err)
{
	unsigned char raw[CTR_ID_LEN / 2];

	/* A short form of digits alone could be taken for a number elsewhere. */
	do {
		if (getrandom(raw, sizeof(raw), 0) != sizeof(raw))
			return um_error_errno(err, -errno, "getrandom");
		for (size_t i = 0; i < sizeof(raw); i++)
			snprintf(id + 2 * i, 3, "%02x", raw[i]);
	} while (strspn(id, "0123456789") >= CTR_SHORT_LEN);
	return 0;
}

int ctr_run_program(char *const argv[])
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none;
	int r, status;
	pid_t pid;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
	posix_spawnattr_init(&attr);
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	r = posix_spawn(&pid, argv[0], &fa, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	if (r)
		return -r;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return status;
}
