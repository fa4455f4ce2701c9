/* The mount option tmpcopyup: a tmpfs begins with what stood where it is mounted. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <limits.h>

#include "base/io.h"
#include "runtime/rootfs.h"
#include "runtime/sys.h"

#define MAX_DEPTH 64

static int copy_bytes(int from, int to)
{
	char buf[65536];

	for (;;) {
		ssize_t n = read(from, buf, sizeof(buf));
		int r;

		if (n == 0)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		r = um_io_write_all(to, buf, (size_t)n);
		if (r < 0)
			return r;
	}
}

static int copy_file(int from, int to, const char *name, const struct stat *st)
{
	_cleanup_close_ int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_close_ int out = -1;
	struct stat now;

	if (in < 0 || fstat(in, &now) < 0)
		return -errno;
	if (!S_ISREG(now.st_mode) || now.st_ino != st->st_ino || now.st_dev != st->st_dev)
		return -ESTALE; /* something else by now */
	out = um_sys_create(to, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
	return out < 0 ? -errno : copy_bytes(in, out);
}

static int copy_link(int from, int to, const char *name)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	return um_sys_symlinkat(target, to, name) < 0 ? -errno : 0;
}

/* Owner first: chown(2) takes set-id bits away. */
static int copy_owner(int to, const char *name, const struct stat *st)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};

	if (um_sys_fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISLNK(st->st_mode) && um_sys_fchmodat(to, name, st->st_mode & 07777) < 0)
		return -errno;
	return um_sys_utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int copy_entry(int from, int to, const char *name, unsigned depth)
{
	struct stat st;
	int r = 0;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode)) {
		_cleanup_close_ int in =
			openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		_cleanup_close_ int out = -1;

		if (in < 0 || um_sys_mkdirat(to, name, 0700) < 0)
			return -errno;
		out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		r = out < 0 ? -errno : um_rootfs_copy_up(in, out, depth + 1);
	} else if (S_ISREG(st.st_mode)) {
		r = copy_file(from, to, name, &st);
	} else if (S_ISLNK(st.st_mode)) {
		r = copy_link(from, to, name);
	} else if (um_sys_mknodat(to, name, st.st_mode, st.st_rdev) < 0) {
		r = -errno;
	}
	return r < 0 ? r : copy_owner(to, name, &st);
}

int um_rootfs_copy_up(int from, int to, unsigned depth)
{
	_cleanup_closedir_ DIR *d = NULL;
	int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	struct dirent *e;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		um_close(fd);
		return -ENOMEM;
	}
	if (depth > MAX_DEPTH)
		return -ELOOP;
	while (r >= 0 && (e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			r = copy_entry(from, to, e->d_name, depth);
	return r;
}
