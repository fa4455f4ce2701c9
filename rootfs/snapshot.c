/* Snapshots: one writable overlay layer for each container. */
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "base/fault.h"
#include "base/io.h"
#include "rootfs/internal.h"

#define MOUNT_DATA_MAX 4095 /* what mount(2) takes */

static bool id_ok(const char *id)
{
	static const char chars[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";

	return *id && *id != '.' && strlen(id) < 200 && !id[strspn(id, chars)];
}

/* Which image it is of: needed when another one has taken the name. */
static int write_image(struct um_images *s, const char *id, const struct um_image *img,
		       struct um_error *err)
{
	char path[300], text[2 * (UM_DIGEST_LEN + 1) + 1];
	int n = snprintf(text, sizeof(text), "%s\n%s\n", img->digest, img->config_digest);

	snprintf(path, sizeof(path), "snapshots/%s/image", id);
	return um_io_replace_file(s->dirfd, path, text, (size_t)n, 0600, UM_IO_NO_SYNC, err);
}

int um_snapshot_image(struct um_images *s, const char *id, char ret_digest[UM_DIGEST_LEN + 1],
		      char ret_config[UM_DIGEST_LEN + 1])
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(4096);
	char path[300], *second;
	int r;

	snprintf(path, sizeof(path), "snapshots/%s/image", id);
	r = um_io_read_file(s->dirfd, path, &b, NULL);
	if (r < 0)
		return r;
	if (b.len != 2 * (UM_DIGEST_LEN + 1) || b.data[UM_DIGEST_LEN] != '\n' ||
	    b.data[b.len - 1] != '\n')
		return -EBADMSG;
	second = b.data + UM_DIGEST_LEN + 1;
	second[-1] = second[UM_DIGEST_LEN] = '\0';
	if (!um_digest_valid(b.data) || !um_digest_valid(second))
		return -EBADMSG;
	memcpy(ret_digest, b.data, UM_DIGEST_LEN + 1);
	memcpy(ret_config, second, UM_DIGEST_LEN + 1);
	return 0;
}

static int make_folders(struct um_images *s, const char *id, const struct um_image *img,
			struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(65536);
	char path[300];
	int r;

	snprintf(path, sizeof(path), "snapshots/%s/work", id);
	r = um_io_mkdirs(s->dirfd, path, 0700, err);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "snapshots/%s/upper", id);
	r = um_io_mkdirs(s->dirfd, path, 0755, err);
	for (size_t i = 0; i < img->n_layers; i++) {
		const char *fs = strrchr(img->layers[i], '/');

		um_buf_addf(&b, "%.32s\n", fs - 32); /* ".../<32 digits>/fs" */
	}
	if (r == 0 && um_buf_error(&b))
		r = um_error_errno(err, um_buf_error(&b), "snapshot %s", id);
	snprintf(path, sizeof(path), "snapshots/%s/lower", id);
	if (r == 0)
		r = um_io_replace_file(s->dirfd, path, um_buf_str(&b), b.len, 0600, UM_IO_NO_SYNC,
				       err);
	return r < 0 ? r : write_image(s, id, img, err);
}

static int set_string(int fs, const char *key, const char *value)
{
	return (int)syscall(SYS_fsconfig, fs, 1 /* FSCONFIG_SET_STRING */, key, value, 0);
}

static int set_flag(int fs, const char *key)
{
	return (int)syscall(SYS_fsconfig, fs, 0 /* FSCONFIG_SET_FLAG */, key, NULL, 0);
}

/* Many layers: their paths do not fit into mount(2)'s page. Since Linux 6.5 overlay takes them one
 * by one. */
static int mount_by_config(const struct um_image *img, const char *upper, const char *work,
			   const char *target, bool throwaway, struct um_error *err)
{
	_cleanup_close_ int fs = (int)syscall(SYS_fsopen, "overlay", 1 /* FSOPEN_CLOEXEC */);
	_cleanup_close_ int mnt = -1;
	int r;

	if (fs < 0)
		return um_error_errno(err, -errno, "fsopen overlay");
	for (size_t i = img->n_layers; i-- > 0;) {
		if (set_string(fs, "lowerdir+", img->layers[i]) < 0)
			return um_error_set(err, -errno,
					    "image %s has %zu layers: this kernel's overlay takes "
					    "no more than fit in %d bytes of paths",
					    img->name, img->n_layers, MOUNT_DATA_MAX);
	}
	r = set_string(fs, "upperdir", upper);
	if (r == 0)
		r = set_string(fs, "workdir", work);
	if (r == 0)
		r = set_flag(fs, "userxattr");
	if (r == 0 && throwaway)
		r = set_flag(fs, "volatile");
	if (r == 0)
		r = (int)syscall(SYS_fsconfig, fs, 6 /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0);
	if (r == 0)
		mnt = (int)syscall(SYS_fsmount, fs, 1 /* FSMOUNT_CLOEXEC */, 0);
	if (mnt < 0 ||
	    syscall(SYS_move_mount, mnt, "", AT_FDCWD, target, 4 /* MOVE_MOUNT_F_EMPTY_PATH */) < 0)
		return um_error_errno(err, -errno, "mount the overlay of %s", img->name);
	return 0;
}

static int mount_overlay(struct um_images *s, const struct um_image *img, const char *id,
			 const char *target, bool throwaway, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(MOUNT_DATA_MAX);
	char upper[PATH_MAX], work[PATH_MAX];
	struct statfs fs;
	int r = um_io_path(upper, sizeof(upper), "%s/snapshots/%s/upper", s->dir, id);

	if (r == 0)
		r = um_io_path(work, sizeof(work), "%s/snapshots/%s/work", s->dir, id);
	if (r < 0)
		return um_error_errno(err, r, "snapshot %s", id);
	if (strpbrk(s->dir, ",:\\\""))
		return um_error_set(err, -EINVAL, "the image store's path %s has one of , : \\ \"",
				    s->dir);
	if (!img->n_layers) { /* an empty image: nothing below */
		if (mount(upper, target, NULL, MS_BIND, NULL) < 0)
			return um_error_errno(err, -errno, "mount snapshot %s", id);
		return 0;
	}
	um_buf_addf(&b, "userxattr,%slowerdir=", throwaway ? "volatile," : "");
	for (size_t i = img->n_layers; i-- > 0;) /* overlay wants the topmost first */
		um_buf_addf(&b, "%s%s", img->layers[i], i ? ":" : "");
	um_buf_addf(&b, ",upperdir=%s,workdir=%s", upper, work);
	if (um_buf_error(&b) == -EMSGSIZE)
		return mount_by_config(img, upper, work, target, throwaway, err);
	if (um_buf_error(&b))
		return um_error_errno(err, um_buf_error(&b), "snapshot %s", id);
	if (mount("overlay", target, "overlay", 0, b.data) == 0)
		return 0;
	r = -errno;
	if (r == -EINVAL && statfs(upper, &fs) == 0 && fs.f_type == OVERLAYFS_SUPER_MAGIC)
		return um_error_set(
			err, r,
			"mount the overlay of %s: %s is on an overlay itself, on which "
			"the kernel takes no other: keep images and snapshots on a disk "
			"or a tmpfs",
			img->name, s->dir);
	return um_error_errno(err, r, "mount the overlay of %s at %s", img->name, target);
}

int um_rootfs_mount(struct um_images *s, const struct um_image *img, const char *id,
		    const char *target, bool throwaway, struct um_error *err)
{
	_cleanup_close_ int lock = -1;
	char work[300];
	int r = 0;

	if (!id_ok(id))
		return um_error_set(err, -EINVAL, "snapshot id \"%s\"", id);
	lock = um_images_lock(s, err); /* so that no collection goes between */
	if (lock < 0)
		return lock;
	snprintf(work, sizeof(work), "snapshots/%s/work", id);
	if (throwaway) /* overlay refuses one whose mount did not end in order, here or in a crash
			*/
		r = um_io_remove_tree(s->dirfd, work, err);
	if (r == 0)
		r = make_folders(s, id, img, err);
	if (r < 0)
		return r;
	UM_FAULT("rootfs.snapshot-made");
	return mount_overlay(s, img, id, target, throwaway, err);
}

int um_rootfs_release(struct um_images *s, const char *id, const char *target, struct um_error *err)
{
	char path[300];

	if (!id_ok(id))
		return um_error_set(err, -EINVAL, "snapshot id \"%s\"", id);
	/* More than once where a crash came between a mount and its use. */
	while (target && umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	if (target && errno != EINVAL && errno != ENOENT)
		return um_error_errno(err, -errno, "unmount %s", target);
	UM_FAULT("rootfs.snapshot-unmounted");
	snprintf(path, sizeof(path), "snapshots/%s", id);
	return um_io_remove_tree(s->dirfd, path, err);
}

int um_rootfs_sweep(struct um_images *s, bool (*keep)(void *arg, const char *id), void *arg,
		    struct um_error *err)
{
	int own = openat(s->dirfd, "snapshots", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = own >= 0 ? fdopendir(own) : NULL;
	struct dirent *e;

	if (!d)
		return um_error_errno(err, -errno, "open %s/snapshots", s->dir);
	while ((e = readdir(d))) {
		int r;

		if (e->d_name[0] == '.' || keep(arg, e->d_name))
			continue;
		r = um_rootfs_release(s, e->d_name, NULL, err);
		if (r < 0)
			return r;
	}
	return 0;
}
