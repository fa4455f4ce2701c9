#include "base/io.h"
#include "base/sys.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

int um_io_read_fd(int fd, struct um_buf *b)
{
	for (;;) {
		size_t room;
		ssize_t n;
		int r = um_buf_reserve(b, 1);

		if (r < 0) {
			char extra; /* at the maximum: fine when the file ends here */

			if (r != -EMSGSIZE)
				return r;
			do
				n = read(fd, &extra, 1);
			while (n < 0 && errno == EINTR);
			if (n == 0)
				b->failed = 0;
			return n == 0 ? 0 : n < 0 ? -errno : -EMSGSIZE;
		}
		room = b->cap - b->len - 1;
		if (room > b->max - b->len)
			room = b->max - b->len;
		n = read(fd, b->data + b->len, room);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		b->len += (size_t)n;
		b->data[b->len] = '\0';
		if (n == 0)
			return 0;
		if (b->len + 1 == b->cap && b->len < b->max) {
			size_t extra = b->cap < b->max - b->len ? b->cap : b->max - b->len;

			r = um_buf_reserve(b, extra);
			if (r < 0)
				return r;
		}
	}
}

/* So that one read(2) takes all and another meets the end. Special files tell no size; most are
 * short. */
static void reserve_for(int fd, struct um_buf *b)
{
	size_t room = b->max - b->len, want = 1023;
	struct stat st;

	if (fstat(fd, &st) == 0 && st.st_size > 0)
		want = (uint64_t)st.st_size < room ? (size_t)st.st_size + 1 : room;
	um_buf_reserve(b, want < room ? want : room);
}

int um_io_read_file(int dirfd, const char *path, struct um_buf *b, struct um_error *err)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return um_error_errno(err, -errno, "open %s", path);
	reserve_for(fd, b);
	r = um_io_read_fd(fd, b);
	if (r == -EMSGSIZE)
		return um_error_set(err, r, "read %s: larger than %zu bytes", path, b->max);
	if (r < 0)
		return um_error_errno(err, r, "read %s", path);
	return 0;
}

int um_io_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = um_sys_write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int um_io_write_value(int dirfd, const char *path, const char *value)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);
	size_t len = strlen(value);
	ssize_t n;

	if (fd < 0)
		return -errno;
	do
		n = um_sys_write(fd, value, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

static int sync_parent(int dirfd, const char *path)
{
	const char *slash = strrchr(path, '/');
	char parent[PATH_MAX];
	_cleanup_close_ int fd = -1;

	if (slash) {
		if ((size_t)(slash - path) >= sizeof(parent))
			return -ENAMETOOLONG;
		memcpy(parent, path, (size_t)(slash - path));
		parent[slash - path] = '\0';
	} else {
		strcpy(parent, ".");
	}
	fd = openat(dirfd, *parent ? parent : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

int um_io_replace_file(int dirfd, const char *path, const void *data, size_t len, mode_t mode,
		       enum um_io_sync sync, struct um_error *err)
{
	const char *slash = strrchr(path, '/');
	int prefix = slash ? (int)(slash - path) + 1 : 0;
	_cleanup_close_ int fd = -1;
	char tmp[PATH_MAX];
	int r;

	r = um_io_path(tmp, sizeof(tmp), "%.*s.%s.tmp", prefix, path, path + prefix);
	if (r < 0)
		return um_error_errno(err, r, "write %s", path);
	(void)um_sys_unlinkat(dirfd, tmp, 0); /* an earlier crash's: its mode may differ */
	fd = um_sys_create(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return um_error_errno(err, -errno, "create %s", tmp);
	r = um_io_write_all(fd, data, len);
	if (r == 0 && um_sys_fchmod(fd, mode) < 0) /* the umask does not decide */
		r = -errno;
	if (r == 0 && sync == UM_IO_SYNC && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && um_sys_renameat(dirfd, tmp, dirfd, path) < 0)
		r = -errno;
	if (r < 0) {
		(void)um_sys_unlinkat(dirfd, tmp, 0);
		return um_error_errno(err, r, "write %s", path);
	}
	if (sync == UM_IO_SYNC) {
		r = sync_parent(dirfd, path);
		if (r < 0)
			return um_error_errno(err, r, "sync the directory of %s", path);
	}
	return 0;
}

int um_io_mkdirs(int dirfd, const char *path, mode_t mode, struct um_error *err)
{
	char part[PATH_MAX];
	size_t len = strlen(path), i;

	if (len >= sizeof(part))
		return um_error_errno(err, -ENAMETOOLONG, "mkdir %s", path);
	memcpy(part, path, len + 1);
	for (i = 1; i <= len; i++) {
		if (part[i] != '/' && part[i] != '\0')
			continue;
		part[i] = '\0';
		if (um_sys_mkdirat(dirfd, part, mode) < 0 && errno != EEXIST)
			return um_error_errno(err, -errno, "mkdir %s", part);
		if (i < len)
			part[i] = '/';
	}
	return 0;
}

#define REMOVE_DEPTH 64 /* two descriptors are open for each */

struct removal {
	int top;    /* the folder that is removed, or -1 */
	dev_t dev;  /* its file system */
	unsigned n; /* folders moved up so far */
};

static int remove_content(struct removal *rm, int fd, int depth);

/* However deep somebody nested folders: what is too deep is moved up, to be found there later. */
static int move_up(struct removal *rm, int dirfd, const char *name)
{
	char to[32];

	for (int tries = 0; tries < 1000; tries++) {
		snprintf(to, sizeof(to), ".removed-%u", rm->n++);
		if (um_sys_renameat(dirfd, name, rm->top, to) == 0)
			return 0;
		if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR)
			return -errno;
	}
	return -EEXIST;
}

static int remove_entry(struct removal *rm, int dirfd, const char *name, int depth)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (um_sys_unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (rm->top < 0) {
		rm->top = fd;
		rm->dev = st.st_dev;
	}
	if (st.st_dev != rm->dev)
		return -EBUSY;
	if (depth >= REMOVE_DEPTH)
		return move_up(rm, dirfd, name);
	for (;;) {
		int r;

		if (um_sys_unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return 0;
		if (errno != ENOTEMPTY && errno != EEXIST)
			return -errno;
		r = remove_content(rm, fd, depth + 1);
		if (r < 0)
			return r;
	}
}

static int remove_content(struct removal *rm, int fd, int depth)
{
	int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = own >= 0 ? fdopendir(own) : NULL;
	struct dirent *e;

	if (!d) {
		int r = -errno;

		um_close(own);
		return r;
	}
	while ((errno = 0, e = readdir(d))) {
		int r;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		r = remove_entry(rm, fd, e->d_name, depth);
		if (r < 0)
			return r;
	}
	return -errno;
}

int um_io_remove_tree(int dirfd, const char *path, struct um_error *err)
{
	struct removal rm = {.top = -1};
	int r = remove_entry(&rm, dirfd, path, 0);

	return r < 0 ? um_error_errno(err, r, "remove %s", path) : 0;
}

int um_io_openat2(int dirfd, const char *path, uint64_t flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
	int fd;

	do
		fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
	while (fd < 0 && (errno == EAGAIN || errno == EINTR));
	return fd < 0 ? -errno : fd;
}

int um_io_path(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return n < 0 || (size_t)n >= size || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}
