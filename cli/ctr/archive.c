/* Trees as tar streams, by descriptors only, as copy.c has it. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/io.h"
#include "cli/ctr/copy.h"
#include "cli/ctr/tar.h"

#define DEPTH_MAX 200 /* of folders: each holds two descriptors */

/* ---- out ---- */

struct walk {
	int out;
	unsigned depth;
	struct um_error *err;
};

static int fail(struct um_error *err, const char *what, const char *name)
{
	return um_error_errno(err, errno ? -errno : -EIO, "%s %.200s", what, name);
}

static void take_stat(struct ctr_tar_entry *e, const struct stat *st)
{
	e->mode = st->st_mode & 07777;
	e->uid = st->st_uid;
	e->gid = st->st_gid;
	e->mtime = st->st_mtime;
}

static int write_file(struct walk *w, int dir, const char *name, struct ctr_tar_entry *e)
{
	_cleanup_close_ int in = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char buf[65536];
	struct stat st;
	int64_t left;
	int r;

	if (in < 0 || fstat(in, &st) < 0)
		return fail(w->err, "open", e->path);
	if (!S_ISREG(st.st_mode))
		return um_error_set(w->err, -EAGAIN, "%.200s changed while it was copied", e->path);
	e->size = left = st.st_size;
	r = ctr_tar_head(w->out, e, w->err);
	while (r == 0 && left > 0) {
		ssize_t n = read(in, buf, left < (int64_t)sizeof(buf) ? (size_t)left : sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(w->err, "read", e->path);
		if (n == 0)
			return um_error_set(w->err, -EAGAIN, "%.200s changed while it was copied",
					    e->path);
		r = um_io_write_all(w->out, buf, (size_t)n);
		if (r < 0)
			return um_error_errno(w->err, r, "write the tar stream");
		left -= n;
	}
	return r < 0 ? r : ctr_tar_pad(w->out, e->size, w->err);
}

static int write_entry(struct walk *w, int dir, const char *name, const char *as);

static int write_folder(struct walk *w, int dir, const char *name, struct ctr_tar_entry *e)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
	size_t len = strlen(e->path);
	struct dirent *sub;
	int r;

	if (!d) {
		um_close(fd);
		return fail(w->err, "open", e->path);
	}
	if (w->depth >= DEPTH_MAX || len + NAME_MAX + 2 >= sizeof(e->path))
		return um_error_set(w->err, -ELOOP, "%.200s: too many folders within each other",
				    e->path);
	if (e->path[len - 1] != '/')
		strcpy(e->path + len, "/");
	r = ctr_tar_head(w->out, e, w->err);
	w->depth++;
	len = strlen(e->path);
	while (r == 0 && (sub = readdir(d))) {
		if (!strcmp(sub->d_name, ".") || !strcmp(sub->d_name, ".."))
			continue;
		snprintf(e->path + len, sizeof(e->path) - len, "%s", sub->d_name);
		r = write_entry(w, dirfd(d), sub->d_name, e->path);
	}
	w->depth--;
	return r;
}

static int write_entry(struct walk *w, int dir, const char *name, const char *as)
{
	struct ctr_tar_entry *e;
	struct stat st;
	ssize_t n;
	int r;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(w->err, "look at", as);
	e = S_ISSOCK(st.st_mode) ? NULL : calloc(1, sizeof(*e));
	if (!e)
		return S_ISSOCK(st.st_mode) ? 0 : um_error_errno(w->err, -ENOMEM, "%.200s", as);
	snprintf(e->path, sizeof(e->path), "%s", as);
	take_stat(e, &st);
	if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
		e->type = S_ISDIR(st.st_mode) ? '5' : '0';
		r = e->type == '5' ? write_folder(w, dir, name, e) : write_file(w, dir, name, e);
		free(e);
		return r;
	}
	e->type = S_ISLNK(st.st_mode)	? '2'
		  : S_ISCHR(st.st_mode) ? '3'
		  : S_ISBLK(st.st_mode) ? '4'
					: '6';
	if (e->type == '3' || e->type == '4') {
		e->major = major(st.st_rdev);
		e->minor = minor(st.st_rdev);
	}
	n = e->type == '2' ? readlinkat(dir, name, e->link, sizeof(e->link) - 1) : 0;
	r = n < 0 ? fail(w->err, "read the link", as) : ctr_tar_head(w->out, e, w->err);
	free(e);
	return r;
}

int ctr_archive_write(int dir, const char *name, const char *as, int out, struct um_error *err)
{
	struct walk w = {out, 0, err};
	int r = write_entry(&w, dir, name, as);

	return r < 0 ? r : ctr_tar_end(out, err);
}

/* ---- in ---- */

struct unpack {
	int root;
	unsigned flags;
	struct um_error *err;
};

/* The folder of the root, made with all above it where it is not there. */
static int open_folder(struct unpack *u, const char *path, unsigned depth)
{
	_cleanup_close_ int above = -1;
	char parent[PATH_MAX];
	const char *slash;
	int fd = um_io_openat2(u->root, *path ? path : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0,
			       RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);

	if (fd >= 0)
		return fd;
	slash = strrchr(path, '/');
	if (fd != -ENOENT || !slash || depth > DEPTH_MAX)
		return um_error_errno(u->err, fd, "open %.200s", path);
	snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
	above = open_folder(u, parent, depth + 1);
	if (above < 0)
		return above;
	if (mkdirat(above, slash + 1, 0755) < 0 && errno != EEXIST)
		return fail(u->err, "make", path);
	fd = openat(above, slash + 1, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? fail(u->err, "open", path) : fd;
}

/* A name of the stream below @base, without what does not matter in it. "": @base itself. */
static int join(const char *base, const char *name, char path[PATH_MAX], struct um_error *err)
{
	size_t len = strlen(base), start = len;

	memcpy(path, base, len + 1);
	while (*name) {
		size_t n = strcspn(name, "/");

		if (n == 2 && !memcmp(name, "..", 2))
			return um_error_set(err, -EINVAL,
					    "the tar stream has a name that leads upwards");
		if (n > NAME_MAX || len + n + 2 > PATH_MAX)
			return um_error_set(err, -ENAMETOOLONG,
					    "the tar stream has a name that is "
					    "too long");
		if (n && !(n == 1 && *name == '.')) {
			path[len++] = '/';
			memcpy(path + len, name, n);
			len += n;
			path[len] = '\0';
		}
		name += n + (name[n] == '/');
	}
	return len > start;
}

static int copy_bytes(struct unpack *u, struct ctr_tar_reader *t, int out)
{
	char buf[65536];
	ssize_t n;

	while ((n = ctr_tar_read(t, buf, sizeof(buf), u->err)) > 0) {
		int r = um_io_write_all(out, buf, (size_t)n);

		if (r < 0)
			return um_error_errno(u->err, r, "write a file of the tar stream");
	}
	return (int)n;
}

static int set_meta(struct unpack *u, int fd, const struct ctr_tar_entry *e)
{
	const struct timespec times[2] = {{e->mtime, 0}, {e->mtime, 0}};

	if (((u->flags & CTR_COPY_OWNERS) && fchown(fd, e->uid, e->gid) < 0) ||
	    fchmod(fd, e->mode) < 0 || futimens(fd, times) < 0)
		return fail(u->err, "set owner, mode and time of", e->path);
	return 0;
}

static int make_folder(struct unpack *u, int dir, const char *name, const struct ctr_tar_entry *e)
{
	_cleanup_close_ int fd = -1;

	if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
		return fail(u->err, "make", e->path);
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
		return um_error_set(u->err, -ENOTDIR,
				    "cannot overwrite non-directory \"%.200s\" with directory",
				    e->path);
	return fd < 0 ? fail(u->err, "open", e->path) : set_meta(u, fd, e);
}

static int make_file(struct unpack *u, struct ctr_tar_reader *t, int dir, const char *name,
		     const struct ctr_tar_entry *e)
{
	_cleanup_close_ int fd =
		openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return fail(u->err, "create", e->path);
	r = copy_bytes(u, t, fd);
	return r < 0 ? r : set_meta(u, fd, e);
}

static int make_hard_link(struct unpack *u, const char *base, int dir, const char *name,
			  const struct ctr_tar_entry *e)
{
	_cleanup_close_ int from = -1;
	char path[PATH_MAX];
	char *slash;
	int r = join(base, e->link, path, u->err);

	if (r <= 0)
		return r < 0 ? r
			     : um_error_set(u->err, -EINVAL, "%.200s: a link to a folder", name);
	slash = strrchr(path, '/');
	*slash = '\0';
	from = open_folder(u, path, 0);
	if (from < 0)
		return from;
	return linkat(from, slash + 1, dir, name, 0) < 0 ? fail(u->err, "link", e->path) : 0;
}

static int make_other(struct unpack *u, int dir, const char *name, const struct ctr_tar_entry *e)
{
	mode_t kind = e->type == '3' ? S_IFCHR : e->type == '4' ? S_IFBLK : S_IFIFO;

	if (e->type == '2') {
		if (symlinkat(e->link, dir, name) < 0)
			return fail(u->err, "create the link", e->path);
	} else {
		if (kind != S_IFIFO && !(u->flags & CTR_COPY_DEVICES))
			return um_error_set(u->err, -EPERM, "%.200s is a device: it is not copied",
					    e->path);
		if (mknodat(dir, name, kind | e->mode, makedev(e->major, e->minor)) < 0)
			return fail(u->err, "create", e->path);
	}
	if ((u->flags & CTR_COPY_OWNERS) &&
	    fchownat(dir, name, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(u->err, "change the owner of", e->path);
	return 0;
}

static int unpack_entry(struct unpack *u, struct ctr_tar_reader *t, const char *base,
			const struct ctr_tar_entry *e)
{
	_cleanup_close_ int dir = -1;
	char path[PATH_MAX], *slash;
	struct stat there;
	int r = join(base, e->path, path, u->err);

	if (r <= 0) /* the folder itself: it is there, as it is */
		return r < 0 || e->type == '5'
			       ? r
			       : um_error_set(u->err, -EINVAL,
					      "the tar stream: \"%.200s\" is no name", e->path);
	slash = strrchr(path, '/');
	*slash = '\0';
	dir = open_folder(u, path, 0);
	if (dir < 0)
		return dir;
	if (e->type == '5')
		return make_folder(u, dir, slash + 1, e);
	if (fstatat(dir, slash + 1, &there, AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISDIR(there.st_mode))
			return um_error_set(
				u->err, -EISDIR,
				"cannot overwrite directory \"%.200s\" with non-directory",
				e->path);
		if (unlinkat(dir, slash + 1, 0) < 0)
			return fail(u->err, "replace", e->path);
	}
	if (e->type == '0')
		return make_file(u, t, dir, slash + 1, e);
	if (e->type == '1')
		return make_hard_link(u, base, dir, slash + 1, e);
	return make_other(u, dir, slash + 1, e);
}

int ctr_archive_read(int in, int root, const char *path, unsigned flags, struct um_error *err)
{
	struct unpack u = {root, flags, err};
	struct ctr_tar_reader t = {.fd = in};
	struct ctr_tar_entry *e = calloc(1, sizeof(*e));
	char rest[16384];
	int r = e ? 0 : um_error_errno(err, -ENOMEM, "read the tar stream");

	while (r == 0 && (r = ctr_tar_next(&t, e, err)) > 0)
		r = unpack_entry(&u, &t, path, e);
	free(e);
	while (r == 0 && read(in, rest, sizeof(rest)) > 0) /* who writes it is not cut off */
		;
	return r;
}
