/* What the container may not see or write to, and its sysctls. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/io.h"
#include "runtime/resolve.h"
#include "runtime/rootfs.h"
#include "runtime/sys.h"

/* ---- masks ---- */

/* Attaches a copy of the mount @source; the first use attaches the mount itself. Older kernels
 * clone attached mounts only. */
static int attach_copy(const struct um_rootfs *r, int source, bool *used, int target)
{
	_cleanup_close_ int copy = -1;

	if (!*used) {
		*used = true;
		return um_rootfs_attach(r, source, target);
	}
	copy = um_sys_open_tree(source, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (copy < 0)
		return -errno;
	return um_rootfs_attach(r, copy, target);
}

static int open_null(struct um_error *err)
{
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC};
	struct stat st;
	int fd = um_sys_open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd < 0)
		return um_error_errno(err, -errno, "open_tree /dev/null");
	if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3)) {
		um_close(fd);
		return um_error_set(err, -EXDEV, "/dev/null of the host is not device 1:3");
	}
	if (um_rootfs_set_attr(fd, 0, &ro) < 0) {
		int e = -errno;

		um_close(fd);
		return um_error_errno(err, e, "/dev/null read-only");
	}
	return fd;
}

static int mask_paths(struct um_rootfs *r, struct um_error *err)
{
	static char *tmpfs_data[] = {(char *)"mode=555", (char *)"size=0", (char *)"nr_inodes=1",
				     NULL};
	static const struct um_strv data = {tmpfs_data, 1};
	const struct um_strv *paths = &r->spec->masked_paths;
	_cleanup_close_ int null = -1, dir = -1;
	bool null_used = false, dir_used = false;

	for (size_t i = 0; i < paths->n; i++) {
		_cleanup_close_ int target = um_resolve(r->fd, paths->v[i]);
		bool again = false;
		struct stat st;
		int e = 0;

		for (size_t k = 0; k < i && !again; k++)
			again = !strcmp(paths->v[i], paths->v[k]);
		if (again)
			continue;
		um_why("linux.maskedPaths: nothing is to be seen at %s", paths->v[i]);
		if (target == -ENOENT || target == -ENOTDIR)
			continue; /* nothing to hide */
		if (target < 0 || fstat(target, &st) < 0)
			return um_error_errno(err, target < 0 ? target : -errno,
					      "linux.maskedPaths[%zu] %s", i, paths->v[i]);
		if (S_ISDIR(st.st_mode)) {
			if (dir < 0)
				e = um_rootfs_new_fs("tmpfs", "masked", &data, false,
						     MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
							     MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
						     &dir, err);
			if (e >= 0)
				e = attach_copy(r, dir, &dir_used, target);
		} else {
			if (null < 0)
				e = null = open_null(err);
			if (e >= 0)
				e = attach_copy(r, null, &null_used, target);
		}
		if (e < 0)
			return um_error_wrap(err, e, "linux.maskedPaths[%zu] %s", i, paths->v[i]);
	}
	return 0;
}

static int readonly_paths(struct um_rootfs *r, struct um_error *err)
{
	const struct um_strv *paths = &r->spec->readonly_paths;
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY};

	for (size_t i = 0; i < paths->n; i++) {
		_cleanup_close_ int target = um_resolve(r->fd, paths->v[i]), copy = -1;
		int e = target;

		um_why("linux.readonlyPaths: %s", paths->v[i]);
		if (target == -ENOENT || target == -ENOTDIR)
			continue;
		if (e >= 0) {
			copy = um_sys_open_tree(target, "",
						OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
							AT_EMPTY_PATH | AT_RECURSIVE);
			e = copy < 0 ? -errno : um_rootfs_set_attr(copy, AT_RECURSIVE, &ro);
		}
		if (e >= 0)
			e = um_rootfs_attach(r, copy, target);
		if (e < 0)
			return um_error_errno(err, e, "linux.readonlyPaths[%zu] %s", i,
					      paths->v[i]);
	}
	return 0;
}

int um_rootfs_mask(struct um_rootfs *r, struct um_error *err)
{
	int e = readonly_paths(r, err);

	return e < 0 ? e : mask_paths(r, err);
}

/* ---- sysctl ---- */

/* Which namespace makes a sysctl the container's own; UM_NS_N: none does. */
static enum um_ns sysctl_namespace(const char *key)
{
	static const struct {
		const char *prefix;
		enum um_ns ns;
	} names[] = {{"net/", UM_NS_NETWORK},	     {"fs/mqueue/", UM_NS_IPC},
		     {"kernel/shm", UM_NS_IPC},	     {"kernel/msg", UM_NS_IPC},
		     {"kernel/sem", UM_NS_IPC},	     {"kernel/domainname", UM_NS_UTS},
		     {"kernel/hostname", UM_NS_UTS}, {"kernel/auto_msgmni", UM_NS_IPC},
		     {"user/", UM_NS_USER}};

	for (size_t i = 0; i < UM_ARRAY_LEN(names); i++)
		if (!strncmp(key, names[i].prefix, strlen(names[i].prefix)))
			return names[i].ns;
	return UM_NS_N;
}

int um_rootfs_sysctl(struct um_rootfs *r, struct um_error *err)
{
	for (size_t i = 0; i < r->spec->n_sysctl; i++) {
		const struct um_spec_pair *s = &r->spec->sysctl[i];
		bool slashes = strchr(s->key, '/');
		char file[300];
		enum um_ns ns;
		int e;

		if (strlen(s->key) > 250)
			return um_error_set(err, -EINVAL, "linux.sysctl: a key is too long");
		snprintf(file, sizeof(file), "sys/%s", s->key);
		/* in the dotted form a slash stands for a dot of a name */
		for (char *p = file + 4; !slashes && *p; p++)
			if (*p == '.')
				*p = '/';
		ns = sysctl_namespace(file + 4);
		if (ns == UM_NS_N || !r->spec->ns[ns].present || strstr(file, ".."))
			return um_error_set(err, -EINVAL,
					    "linux.sysctl: \"%s\" is not in a namespace of the "
					    "container",
					    s->key);
		e = um_rootfs_open_proc(r, err);
		if (e < 0)
			return e;
		um_why("linux.sysctl: %s", s->key);
		e = um_rootfs_write_proc(r, file, s->value);
		if (e < 0)
			return um_error_errno(err, e, "linux.sysctl: write \"%s\" to %s", s->value,
					      s->key);
	}
	return 0;
}
