#include "cli/ctr/copy.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"

#define DEPTH_MAX 200 /* of folders: each holds two descriptors */

struct copy {
	unsigned flags;
	unsigned depth;
	struct um_error *err;
};

static int fail(struct copy *c, const char *what, const char *name)
{
	return um_error_errno(c->err, errno ? -errno : -EIO, "%s %s", what, name);
}

static int copy_meta(struct copy *c, int fd, const struct stat *st, const char *name)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};

	if ((c->flags & CTR_COPY_OWNERS) && fchown(fd, st->st_uid, st->st_gid) < 0)
		return fail(c, "change the owner of", name);
	if (fchmod(fd, st->st_mode & 07777) < 0 || futimens(fd, times) < 0)
		return fail(c, "set the mode and times of", name);
	return 0;
}

static int copy_bytes(int in, int out)
{
	char buf[65536];
	ssize_t n;

	for (;;) {
		n = copy_file_range(in, NULL, out, NULL, 1 << 30, 0);
		if (n == 0)
			break;
		if (n < 0)
			break;
	}
	/* The rest, or all of it where the file systems do not speak with each other. */
	while ((n = read(in, buf, sizeof(buf))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (um_io_write_all(out, buf, (size_t)n) < 0)
			return -errno;
	}
	return 0;
}

static int copy_file(struct copy *c, int from, const char *name, int to, const char *as,
		     const struct stat *st)
{
	_cleanup_close_ int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_close_ int out = -1;
	struct stat now, there;

	if (in < 0 || fstat(in, &now) < 0)
		return fail(c, "open", name);
	if (!S_ISREG(now.st_mode) || now.st_ino != st->st_ino)
		return um_error_set(c->err, -EAGAIN, "%s changed while it was copied", name);
	if (fstatat(to, as, &there, AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISDIR(there.st_mode))
			return um_error_set(c->err, -EISDIR,
					    "cannot overwrite directory \"%s\" with non-directory",
					    as);
		if (unlinkat(to, as, 0) < 0)
			return fail(c, "replace", as);
	}
	out = openat(to, as, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return fail(c, "create", as);
	errno = 0;
	if (copy_bytes(in, out) < 0)
		return fail(c, "copy", name);
	return copy_meta(c, out, st, as);
}

static int copy_link(struct copy *c, int from, const char *name, int to, const char *as,
		     const struct stat *st)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);
	struct stat there;

	if (n < 0)
		return fail(c, "read the link", name);
	target[n] = '\0';
	if (fstatat(to, as, &there, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(there.st_mode))
		return um_error_set(c->err, -EISDIR,
				    "cannot overwrite directory \"%s\" with non-directory", as);
	(void)unlinkat(to, as, 0);
	if (symlinkat(target, to, as) < 0)
		return fail(c, "create the link", as);
	if ((c->flags & CTR_COPY_OWNERS) &&
	    fchownat(to, as, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(c, "change the owner of", as);
	return 0;
}

static int copy_special(struct copy *c, int to, const char *as, const struct stat *st)
{
	if (S_ISSOCK(st->st_mode))
		return 0; /* an archive has no sockets either */
	if (!S_ISFIFO(st->st_mode) && !(c->flags & CTR_COPY_DEVICES))
		return um_error_set(c->err, -EPERM, "%s is a device: it is not copied", as);
	(void)unlinkat(to, as, 0);
	if (mknodat(to, as, st->st_mode, st->st_rdev) < 0)
		return fail(c, "create", as);
	if ((c->flags & CTR_COPY_OWNERS) &&
	    fchownat(to, as, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(c, "change the owner of", as);
	return 0;
}

static int copy_one(struct copy *c, int from, const char *name, int to, const char *as);

static int copy_all(struct copy *c, int from, int to)
{
	int own = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = own < 0 ? NULL : fdopendir(own);
	struct dirent *e;
	int r = 0;

	if (!d) {
		um_close(own);
		return fail(c, "open", "a folder");
	}
	while (r == 0 && (e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			r = copy_one(c, from, e->d_name, to, e->d_name);
	return r;
}

static int copy_dir(struct copy *c, int from, const char *name, int to, const char *as,
		    const struct stat *st)
{
	_cleanup_close_ int in =
		openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int out = -1;
	int r;

	if (in < 0)
		return fail(c, "open", name);
	if (c->depth >= DEPTH_MAX)
		return um_error_set(c->err, -ELOOP, "%s: more than %d folders within each other",
				    name, DEPTH_MAX);
	if (mkdirat(to, as, 0700) < 0 && errno != EEXIST)
		return fail(c, "make", as);
	out = openat(to, as, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (out < 0 && (errno == ENOTDIR || errno == ELOOP))
		return um_error_set(c->err, -ENOTDIR,
				    "cannot overwrite non-directory \"%s\" with directory", as);
	if (out < 0)
		return fail(c, "open", as);
	c->depth++;
	r = copy_all(c, in, out);
	c->depth--;
	return r < 0 ? r : copy_meta(c, out, st, as);
}

static int copy_one(struct copy *c, int from, const char *name, int to, const char *as)
{
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(c, "look at", name);
	if (S_ISDIR(st.st_mode))
		return copy_dir(c, from, name, to, as, &st);
	if (S_ISREG(st.st_mode))
		return copy_file(c, from, name, to, as, &st);
	if (S_ISLNK(st.st_mode))
		return copy_link(c, from, name, to, as, &st);
	return copy_special(c, to, as, &st);
}

int ctr_copy_children(int from, int to, unsigned flags, struct um_error *err)
{
	struct copy c = {flags, 0, err};

	return copy_all(&c, from, to);
}

int ctr_copy_entry(int from, const char *name, int to, const char *as, unsigned flags,
		   struct um_error *err)
{
	struct copy c = {flags, 0, err};

	return copy_one(&c, from, name, to, as);
}
