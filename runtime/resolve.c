#include "runtime/resolve.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "runtime/sys.h"

#define MAX_LINKS 40

int um_resolve(int rootfd, const char *path)
{
	path += strspn(path, "/");
	return um_io_openat2(rootfd, *path ? path : ".", O_PATH | O_CLOEXEC, 0,
			     RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/* Puts the target of a link found at path[0, start) + name before the rest of @path. */
static int splice_link(char path[PATH_MAX], size_t start, size_t end, const char *target)
{
	char joined[PATH_MAX];
	int n;

	if (target[0] == '/')
		n = snprintf(joined, sizeof(joined), "%s%s", target, path + end);
	else
		n = snprintf(joined, sizeof(joined), "%.*s/%s%s", (int)start, path, target,
			     path + end);
	if (n < 0 || (size_t)n >= sizeof(joined))
		return -ENAMETOOLONG;
	memcpy(path, joined, (size_t)n + 1);
	return 0;
}

static int make_missing(int parent, const char *name, bool directory)
{
	int fd;

	if (directory)
		return um_sys_mkdirat(parent, name, 0755) < 0 && errno != EEXIST ? -errno : 0;
	fd = um_sys_create(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC,
			   0644);
	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	um_close(fd);
	return 0;
}

/* One pass over the components; 1 when a link was spliced in and the pass must start again. */
static int make_pass(int rootfd, char path[PATH_MAX], bool directory)
{
	for (size_t i = strspn(path, "/"); path[i];) {
		size_t end = i + strcspn(path + i, "/"), next = end + strspn(path + end, "/");
		char prefix[PATH_MAX], name[NAME_MAX + 1], target[PATH_MAX];
		_cleanup_close_ int parent = -1;
		bool last = !path[next];
		ssize_t n;
		int fd, r;

		memcpy(prefix, path, end);
		prefix[end] = '\0';
		fd = um_resolve(rootfd, prefix);
		if (fd >= 0) {
			um_close(fd);
			i = next;
			continue;
		}
		if (fd != -ENOENT)
			return fd;
		if (end - i > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, path + i, end - i);
		name[end - i] = '\0';
		if (!strcmp(name, ".") || !strcmp(name, ".."))
			return -ENOENT;
		prefix[i] = '\0';
		parent = um_resolve(rootfd, prefix);
		if (parent < 0)
			return parent;
		n = readlinkat(parent, name, target, sizeof(target) - 1);
		if (n >= 0) {
			target[n] = '\0';
			r = splice_link(path, i, end, target);
			return r < 0 ? r : 1;
		}
		r = make_missing(parent, name, last ? directory : true);
		if (r < 0)
			return r;
		i = next;
	}
	return 0;
}

int um_resolve_create(int rootfd, const char *path, bool directory, int *ret_fd,
		      struct um_error *err)
{
	char work[PATH_MAX];
	int fd = um_resolve(rootfd, path), r = 1;

	if (fd == -ENOENT) {
		if (strlen(path) >= sizeof(work))
			return um_error_errno(err, -ENAMETOOLONG, "%.100s...", path);
		strcpy(work, path);
		for (int i = 0; i < MAX_LINKS && r == 1; i++)
			r = make_pass(rootfd, work, directory);
		if (r == 1)
			r = -ELOOP;
		fd = r < 0 ? r : um_resolve(rootfd, work);
	}
	if (fd < 0)
		return um_error_errno(err, fd, "resolve %s in the container", path);
	*ret_fd = fd;
	return 0;
}

int um_resolve_parent(int rootfd, const char *path, char *name, size_t size, int *ret_fd,
		      struct um_error *err)
{
	char dir[PATH_MAX];
	size_t len = strlen(path), start;

	while (len && path[len - 1] == '/')
		len--;
	for (start = len; start && path[start - 1] != '/'; start--)
		;
	if (len == start || len >= sizeof(dir) || len - start >= size)
		return um_error_set(err, -EINVAL, "%.100s is not a path of a file", path);
	memcpy(name, path + start, len - start);
	name[len - start] = '\0';
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return um_error_set(err, -EINVAL, "%.100s is not a path of a file", path);
	memcpy(dir, path, start);
	dir[start] = '\0';
	return um_resolve_create(rootfd, dir, true, ret_fd, err);
}

int um_resolve_file(int parent, const char *name, mode_t mode)
{
	int fd = um_sys_create(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC,
			       mode);

	if (fd < 0 && errno == EEXIST)
		fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}
