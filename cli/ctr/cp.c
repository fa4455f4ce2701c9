/* cp: files into and out of a container. Inside the container every path is looked up within its
 * root, whatever its links say; outside by the user's own rules. */
#include <fcntl.h>
#include <linux/openat2.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "cli/ctr/copy.h"
#include "cli/ctr/ctr.h"
#include "cli/ctr/parse.h"

static struct {
	bool archive, follow, quiet;
} o;

/* One end of a copy. */
struct side {
	struct ctr *c; /* NULL: this machine */
	int root;      /* of the container; AT_FDCWD here */
	bool mounted;
	char path[PATH_MAX]; /* without slashes at its end */
	bool slash, dot;     /* it ended with / or /. */
	bool stream;	     /* "-" */
};

static int open_in(const struct side *s, const char *path, uint64_t flags)
{
	int fd;

	if (s->c)
		return um_io_openat2(s->root, *path ? path : "/", flags | O_CLOEXEC, 0,
				     RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
	fd = open(*path ? path : "/", (int)flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The folder that holds the path's last part, and that part. */
static int open_parent(const struct side *s, char name[NAME_MAX + 1], struct um_error *err)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(s->path, '/');
	const char *last = slash ? slash + 1 : s->path;
	int fd;

	if (strlen(last) > NAME_MAX || !*last || !strcmp(last, ".."))
		return um_error_set(err, -EINVAL, "path \"%s\" has no name at its end", s->path);
	strcpy(name, last);
	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - s->path) : 1,
		 slash ? s->path : ".");
	fd = open_in(s, slash && slash == s->path ? "/" : dir, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return um_error_errno(err, fd, "%s",
				      s->c ? "no such directory in the container" : dir);
	return fd;
}

static int parse_side(const char *text, struct side *s, struct um_error *err)
{
	struct ctr_side_text t;
	int r = ctr_parse_side(text, &t, err);

	*s = (struct side){.root = AT_FDCWD, .slash = t.slash, .dot = t.dot, .stream = t.stream};
	strcpy(s->path, t.path);
	return r < 0 || !*t.name ? r : ctr_find(t.name, &s->c, err);
}

static int open_side(struct side *s, struct um_error *err)
{
	int r;

	if (!s->c)
		return 0;
	r = ctr_lock(s->c, err); /* it neither starts nor goes meanwhile */
	if (r < 0)
		return r;
	s->root = ctr_root_open(s->c, &s->mounted, err);
	return s->root < 0 ? s->root : 0;
}

static void close_side(struct side *s)
{
	if (s->c && s->root >= 0)
		ctr_root_close(s->c, s->root, s->mounted);
	ctr_free(s->c);
}

static bool is_dir(const struct side *s)
{
	_cleanup_close_ int fd = open_in(s, s->path, O_PATH | O_DIRECTORY);

	return fd >= 0;
}

/* The whole of the folder @from into @to, which is made when it is not there. */
static int copy_folder(const struct side *from, const struct side *to, unsigned flags,
		       struct um_error *err)
{
	_cleanup_close_ int in = open_in(from, from->path, O_RDONLY | O_DIRECTORY);
	_cleanup_close_ int dir = -1, out = -1;
	char name[NAME_MAX + 1];

	if (in < 0)
		return um_error_errno(err, in, "open %s", from->path);
	if (is_dir(to)) {
		out = open_in(to, to->path, O_RDONLY | O_DIRECTORY);
	} else {
		dir = open_parent(to, name, err);
		if (dir < 0)
			return dir;
		if (mkdirat(dir, name, 0755) < 0)
			return errno == EEXIST
				       ? um_error_set(err, -ENOTDIR, "cannot copy directory")
				       : um_error_errno(err, -errno, "make %s", to->path);
		out = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		out = out < 0 ? -errno : out;
	}
	if (out < 0)
		return um_error_errno(err, out, "open %s", to->path);
	return ctr_copy_children(in, out, flags, err);
}

/* The entry itself: beneath @to where that is a folder, else as @to. */
static int copy_entry(const struct side *from, const char *name, int in, const struct side *to,
		      bool source_is_dir, unsigned flags, struct um_error *err)
{
	_cleanup_close_ int out = -1;
	char as[NAME_MAX + 1];
	const char *last = strrchr(from->path, '/');

	if (is_dir(to)) {
		out = open_in(to, to->path, O_RDONLY | O_DIRECTORY);
		if (out < 0)
			return um_error_errno(err, out, "open %s", to->path);
		last = last ? last + 1 : from->path;
		return ctr_copy_entry(in, name, out, *last ? last : name, flags, err);
	}
	if (to->slash && !source_is_dir)
		return um_error_set(err, -ENOTDIR, "no such directory: %s/", to->path);
	out = open_parent(to, as, err);
	return out < 0 ? out : ctr_copy_entry(in, name, out, as, flags, err);
}

/* -L: what the link leads to, still within the root. */
static int resolve(struct side *s, struct um_error *err)
{
	_cleanup_close_ int fd = open_in(s, s->path, O_PATH);
	char link[64], target[PATH_MAX], root[PATH_MAX];
	ssize_t n, m;

	if (fd < 0)
		return um_error_errno(err, fd, "%s", s->path);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, target, sizeof(target) - 1);
	if (n <= 0)
		return um_error_errno(err, -EIO, "%s", s->path);
	target[n] = '\0';
	if (s->c) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", s->root);
		m = readlink(link, root, sizeof(root) - 1);
		if (m < 0)
			return um_error_errno(err, -EIO, "%s", s->path);
		root[m] = '\0';
		if (strcmp(root, "/") && !strncmp(target, root, (size_t)m))
			memmove(target, target + m, (size_t)(n - m) + 1);
	}
	strcpy(s->path, target);
	return 0;
}

static int copy(struct side *from, struct side *to, struct um_error *err)
{
	unsigned flags = (o.archive ? CTR_COPY_OWNERS : 0) | (to->c ? CTR_COPY_DEVICES : 0);
	_cleanup_close_ int in = -1;
	char name[NAME_MAX + 1];
	struct stat st;
	int r;

	if (o.follow && (r = resolve(from, err)) < 0)
		return r;
	if (!from->path[0] || from->dot || !strcmp(from->path, "..")) {
		if (!is_dir(from))
			return um_error_set(err, -ENOTDIR, "%s is not a directory", from->path);
		return copy_folder(from, to, flags, err);
	}
	in = open_parent(from, name, err);
	if (in < 0)
		return um_error_wrap(err, in, "Could not find the file %s", from->path);
	if (fstatat(in, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return um_error_set(err, -ENOENT, "Could not find the file %s%s%s", from->path,
				    from->c ? " in container " : "",
				    from->c ? ctr_name(from->c) : "");
	if (from->slash && !S_ISDIR(st.st_mode))
		return um_error_set(err, -ENOTDIR, "%s is not a directory", from->path);
	if (S_ISDIR(st.st_mode) && !is_dir(to))
		return copy_folder(from, to, flags, err);
	return copy_entry(from, name, in, to, S_ISDIR(st.st_mode), flags, err);
}

/* ---- streams ---- */

/* The name at a path's end, in the stream, too. */
static int write_stream(struct side *from, struct um_error *err)
{
	_cleanup_close_ int in = -1;
	char name[NAME_MAX + 1];
	struct stat st;
	int r;

	if (isatty(STDOUT_FILENO))
		return um_error_set(err, -EINVAL,
				    "cowardly refusing to copy to a terminal: lead the tar stream "
				    "elsewhere");
	if (o.follow && (r = resolve(from, err)) < 0)
		return r;
	if (!from->path[0] || from->dot) {
		in = open_in(from, from->path, O_RDONLY | O_DIRECTORY);
		return in < 0 ? um_error_errno(err, in, "%s", from->path)
			      : ctr_archive_write(in, ".", "./", STDOUT_FILENO, err);
	}
	in = open_parent(from, name, err);
	if (in < 0)
		return um_error_wrap(err, in, "Could not find the file %s", from->path);
	if (fstatat(in, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return um_error_set(err, -ENOENT, "Could not find the file %s in container %s",
				    from->path, ctr_name(from->c));
	if (from->slash && !S_ISDIR(st.st_mode))
		return um_error_set(err, -ENOTDIR, "%s is not a directory", from->path);
	return ctr_archive_write(in, name, name, STDOUT_FILENO, err);
}

static int read_stream(const struct side *to, struct um_error *err)
{
	unsigned flags = (o.archive ? CTR_COPY_OWNERS : 0) | CTR_COPY_DEVICES;

	if (!is_dir(to))
		return um_error_set(err, -ENOTDIR, "destination \"%s:%s\" must be a directory",
				    ctr_name(to->c), to->path);
	return ctr_archive_read(STDIN_FILENO, to->root, to->path, flags, err);
}

static int run_cp(um_unused int argc, char **argv)
{
	struct um_error err = UM_ERROR_INIT;
	struct side from = {.root = -1}, to = {.root = -1};
	int r = ctr_env_open(&err);

	r = r < 0 ? r : ctr_heal(&err);
	r = r < 0 ? r : parse_side(argv[0], &from, &err);
	r = r < 0 ? r : parse_side(argv[1], &to, &err);
	if (r == 0 && !from.c && !to.c)
		r = um_error_set(&err, -EINVAL,
				 "must specify at least one container source: CONTAINER:PATH");
	if (r == 0 && from.c && to.c)
		r = um_error_set(&err, -EOPNOTSUPP, "copying between containers is not supported");
	r = r < 0 ? r : open_side(&from, &err);
	r = r < 0 ? r : open_side(&to, &err);
	r = r < 0	  ? r
	    : to.stream	  ? write_stream(&from, &err)
	    : from.stream ? read_stream(&to, &err)
			  : copy(&from, &to, &err);
	close_side(&from);
	close_side(&to);
	return r < 0 ? ctr_fail(&err) : 0;
}

static const struct ctr_opt opts[] = {
	{'a', "archive", CTR_OPT_FLAG, NULL, "keep owners", &o.archive},
	{'L', "follow-link", CTR_OPT_FLAG, NULL, "copy what SRC leads to", &o.follow},
	{'q', "quiet", CTR_OPT_FLAG, NULL, "no progress (there is none)", &o.quiet},
	{0, NULL, CTR_OPT_FLAG, NULL, NULL, NULL},
};
const struct ctr_verb ctr_verb_cp = {"cp",
				     "[OPTIONS] CONTAINER:SRC DEST|- | SRC|- CONTAINER:DEST",
				     "Copy files between a container and this machine; -: a tar "
				     "stream",
				     opts,
				     2,
				     2,
				     false,
				     run_cp};
