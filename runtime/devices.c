/* /dev: the default nodes and links, and linux.devices. */
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/io.h"
#include "runtime/resolve.h"
#include "runtime/rootfs.h"
#include "runtime/sys.h"

static const struct um_spec_device default_devices[] = {
	{"/dev/null", 'c', 1, 3, 0666, 0, 0},	 {"/dev/zero", 'c', 1, 5, 0666, 0, 0},
	{"/dev/full", 'c', 1, 7, 0666, 0, 0},	 {"/dev/random", 'c', 1, 8, 0666, 0, 0},
	{"/dev/urandom", 'c', 1, 9, 0666, 0, 0}, {"/dev/tty", 'c', 5, 0, 0666, 0, 0},
};

static const struct {
	const char *name, *target;
} default_links[] = {
	{"fd", "/proc/self/fd"},       {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"}, {"ptmx", "pts/ptmx"},
};

static const char *trim(const char *path, size_t *len)
{
	path += strspn(path, "/");
	*len = strlen(path);
	while (*len && path[*len - 1] == '/')
		--*len;
	return path;
}

bool um_rootfs_makes_dev(const struct um_spec *spec)
{
	for (size_t i = 0; i < spec->n_mounts; i++) {
		size_t len;
		const char *p = trim(spec->mounts[i].destination, &len);

		if (len == 3 && !memcmp(p, "dev", 3) && spec->mounts[i].bind)
			return false;
	}
	return true;
}

/* mknod(2) is not for user namespaces, the container's or one that its engine runs in: there the
 * host's node is mounted. */
static int bind_device(struct um_rootfs *r, int parent, const char *name,
		       const struct um_spec_device *d, struct um_error *err)
{
	_cleanup_close_ int mfd =
		um_sys_open_tree(AT_FDCWD, d->path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	struct mount_attr plain = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC};
	_cleanup_close_ int file = -1;
	struct stat st;
	int e;

	if (mfd < 0 || fstat(mfd, &st) < 0)
		return um_error_errno(err, -errno, "device %s of the host", d->path);
	if ((d->type == 'c' ? !S_ISCHR(st.st_mode) : !S_ISBLK(st.st_mode)) ||
	    st.st_rdev != makedev((unsigned)d->major, (unsigned)d->minor))
		return um_error_set(err, -ENODEV, "device %s of the host is another one", d->path);
	file = um_resolve_file(parent, name, 0644);
	if (file < 0)
		return um_error_errno(err, file, "create %s", d->path);
	e = um_rootfs_set_attr(mfd, 0, &plain);
	if (e >= 0)
		e = um_rootfs_attach(r, mfd, file);
	return e < 0 ? um_error_errno(err, e, "mount device %s", d->path) : 0;
}

static int make_device(struct um_rootfs *r, const struct um_spec_device *d, struct um_error *err)
{
	static const struct {
		char type;
		mode_t mode;
	} modes[] = {{'c', S_IFCHR}, {'b', S_IFBLK}, {'p', S_IFIFO}};
	_cleanup_close_ int parent = -1, node = -1;
	char name[NAME_MAX + 1];
	dev_t rdev = d->type == 'p' ? 0 : makedev((unsigned)d->major, (unsigned)d->minor);
	mode_t mode = 0;
	struct stat st;
	int e = um_resolve_parent(r->fd, d->path, name, sizeof(name), &parent, err);

	if (e < 0)
		return e;
	um_why("device %s", d->path);
	for (size_t i = 0; i < UM_ARRAY_LEN(modes); i++)
		if (modes[i].type == d->type)
			mode = modes[i].mode;
	if (r->user_ns && d->type != 'p')
		return bind_device(r, parent, name, d, err);
	e = um_sys_mknodat(parent, name, mode | d->mode, rdev) < 0 ? -errno : 0;
	if (e == -EPERM && d->type != 'p')
		return bind_device(r, parent, name, d, err);
	if (e < 0 && e != -EEXIST)
		return um_error_errno(err, e, "make device %s", d->path);
	node = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (node < 0 || fstat(node, &st) < 0)
		return um_error_errno(err, -errno, "device %s", d->path);
	if ((st.st_mode & S_IFMT) != mode || st.st_rdev != rdev)
		return um_error_set(err, -EEXIST, "device %s: another file is there", d->path);
	if ((d->uid || d->gid) && um_sys_fchownat(node, "", d->uid, d->gid, AT_EMPTY_PATH) < 0)
		return um_error_errno(err, -errno, "owner of device %s", d->path);
	return 0;
}

static bool overridden(const struct um_spec *s, const char *path)
{
	for (size_t i = 0; i < s->n_devices; i++)
		if (!strcmp(s->devices[i].path, path))
			return true;
	return false;
}

static int make_links(struct um_rootfs *r, struct um_error *err)
{
	_cleanup_close_ int dev =
		um_io_openat2(r->fd, "dev", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0,
			      RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);

	if (dev < 0)
		return um_error_errno(err, dev, "open /dev");
	um_why("the links that programs expect in /dev");
	for (size_t i = 0; i < UM_ARRAY_LEN(default_links); i++)
		if (um_sys_symlinkat(default_links[i].target, dev, default_links[i].name) < 0 &&
		    errno != EEXIST)
			return um_error_errno(err, -errno, "link /dev/%s", default_links[i].name);
	return 0;
}

int um_rootfs_devices(struct um_rootfs *r, struct um_error *err)
{
	mode_t old;
	int e = 0;

	um_why("files of /dev get the modes that are written, whatever the umask is");
	old = um_sys_umask(0);
	if (um_rootfs_makes_dev(r->spec)) {
		for (size_t i = 0; e >= 0 && i < UM_ARRAY_LEN(default_devices); i++)
			if (!overridden(r->spec, default_devices[i].path))
				e = make_device(r, &default_devices[i], err);
		for (size_t i = 0; e >= 0 && i < r->spec->n_devices; i++)
			e = make_device(r, &r->spec->devices[i], err);
		if (e >= 0)
			e = make_links(r, err);
	}
	um_why("the umask as it was");
	um_sys_umask(old);
	return e;
}
