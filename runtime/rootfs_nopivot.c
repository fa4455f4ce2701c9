/* --no-pivot: the host's mounts stay beneath the container's root. */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>

#include "base/io.h"
#include "runtime/explain.h"
#include "runtime/mountinfo.h"
#include "runtime/rootfs.h"
#include "runtime/sys.h"

static bool beneath(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return !strncmp(path, dir, len) && (path[len] == '/' || !path[len]);
}

/* What is locked (in a user namespace) cannot be unmounted, but be covered. */
static int cover(const char *path, struct um_error *err)
{
	static const struct um_strv none;
	_cleanup_close_ int mfd = -1;
	int r = um_rootfs_new_fs("tmpfs", "hidden", &none, true, MOUNT_ATTR_RDONLY, &mfd, err);

	if (r >= 0 && um_sys_move_mount(mfd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		r = um_error_errno(err, -errno, "cover %s", path);
	return r;
}

static int hide(const struct um_mountinfo *info, const struct um_mountinfo_row *m, const char *path,
		struct um_error *err)
{
	struct mount_attr private = {.propagation = MS_PRIVATE};
	char parent[PATH_MAX];

	/* neither it nor what stands on it goes from where it has come */
	if (um_sys_mount_setattr(AT_FDCWD, path, AT_RECURSIVE, &private, sizeof(private)) < 0)
		return errno == ENOENT ? 0 : um_error_errno(err, -errno, "part %s", path);
	for (size_t i = 0; i < info->len; i++)
		if (info->items[i].id == m->parent &&
		    um_mountinfo_path(info->items[i].point, parent, sizeof(parent)) >= 0 &&
		    um_sys_mount_setattr(AT_FDCWD, parent, 0, &private, sizeof(private)) < 0)
			return um_error_errno(err, -errno, "part %s", parent);
	if (um_sys_umount2(path, MNT_DETACH) == 0 || errno == ENOENT)
		return 0;
	return errno == EINVAL || errno == EPERM ? cover(path, err)
						 : um_error_errno(err, -errno, "hide %s", path);
}

int um_rootfs_hide_host(const struct um_rootfs *r, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_MOUNTINFO_MAX);
	struct um_mountinfo info = UM_VEC_INIT;
	int e = um_mountinfo_read(&b, &info, err);

	um_why("--no-pivot: the host's procfs and sysfs stay in this namespace, and while they are "
	       "there every process that makes a user namespace may mount them anew, unmasked");
	for (size_t i = info.len; e >= 0 && i-- > 0;) {
		const struct um_mountinfo_row *m = &info.items[i];
		char path[PATH_MAX];

		if (strcmp(m->type, "proc") && strcmp(m->type, "sysfs"))
			continue;
		if (um_mountinfo_path(m->point, path, sizeof(path)) >= 0 && !beneath(path, r->path))
			e = hide(&info, m, path, err);
	}
	um_vec_release(&info);
	return e;
}
