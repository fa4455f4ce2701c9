/* Mounts of the types cgroup and cgroup2. */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>

#include "base/io.h"
#include "runtime/rootfs.h"
#include "runtime/sys.h"

/* Who is root in a user namespace only gets no writable view of the host's tree. */
static void cgroup_attrs(const struct um_rootfs *r, struct um_spec_mount *m)
{
	if (r->cgroup_ns || !r->user_ns)
		return;
	m->read_only = true;
	m->attr_set |= MOUNT_ATTR_RDONLY;
	m->attr_clr &= ~(uint64_t)MOUNT_ATTR_RDONLY;
}

/* The container's own group of hierarchy @h, found by its path on the host. */
static int cgroup_tree(const struct um_rootfs *r, const struct um_cgroup_hierarchy *h)
{
	char path[PATH_MAX];
	int fd;

	if (um_io_path(path, sizeof(path), "%s%s", h->mount_point, r->cg->path) < 0)
		return -ENAMETOOLONG;
	fd = um_sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int mount_cgroup2(struct um_rootfs *r, const struct um_spec_mount *mount,
			 struct um_error *err)
{
	struct um_spec_mount m = *mount;
	_cleanup_close_ int mfd = -1;
	int e;

	cgroup_attrs(r, &m);
	m.type = "cgroup2";
	if (r->cgroup_ns) {
		e = um_rootfs_new_fs("cgroup2", "cgroup", &m.data, false, 0, &mfd, err);
		return e < 0 ? e : um_rootfs_place(r, &m, mfd, err);
	}
	for (size_t i = 0; r->cg && i < r->cg->host->n; i++)
		if (r->cg->host->h[i].v2) {
			mfd = cgroup_tree(r, &r->cg->host->h[i]);
			if (mfd < 0)
				return um_error_errno(err, mfd, "cgroup2");
			return um_rootfs_place(r, &m, mfd, err);
		}
	return um_error_set(err, -EOPNOTSUPP, "cgroup2: this host has no cgroup v2");
}

/* v1 and hybrid: a tmpfs with the container's own group of each hierarchy in it. */
static int mount_cgroup1(struct um_rootfs *r, const struct um_spec_mount *mount,
			 struct um_error *err)
{
	static char *tmpfs_data[] = {(char *)"mode=755", (char *)"size=64k", NULL};
	static const struct um_strv data = {tmpfs_data, 2};
	struct um_spec_mount top = *mount;
	_cleanup_close_ int mfd = -1;
	int e = um_rootfs_new_fs("tmpfs", "cgroup", &data, false, 0, &mfd, err);

	if (e < 0)
		return e;
	cgroup_attrs(r, &top);
	top.type = "tmpfs";
	e = um_rootfs_place(r, &top, mfd, err);
	if (e < 0)
		return e;
	for (size_t i = 0; i < r->cg->host->n; i++) {
		const struct um_cgroup_hierarchy *h = &r->cg->host->h[i];
		const char *name = h->v2			   ? "unified"
				   : !strncmp(h->name, "name=", 5) ? h->name + 5
								   : h->name;
		struct um_spec_mount m = {.type = "cgroup",
					  .attr_set = top.attr_set,
					  .attr_clr = top.attr_clr,
					  .rec_propagation = MS_PRIVATE};
		_cleanup_close_ int tree = -1;
		char dest[PATH_MAX];

		if (r->cg->fds[i] < 0)
			continue;
		if (um_io_path(dest, sizeof(dest), "%s/%s", mount->destination, name) < 0)
			return um_error_errno(err, -ENAMETOOLONG, "cgroup");
		m.destination = dest;
		tree = cgroup_tree(r, h);
		if (tree < 0)
			return um_error_errno(err, tree, "cgroup %s", name);
		e = um_rootfs_place(r, &m, tree, err);
		if (e < 0)
			return e;
	}
	return 0;
}

/* A container without a cgroup of its own sees the host's and writes to none. */
static int mount_host_cgroups(struct um_rootfs *r, const struct um_spec_mount *mount,
			      struct um_error *err)
{
	struct um_spec_mount m = *mount;
	_cleanup_close_ int mfd = um_sys_open_tree(
		AT_FDCWD, "/sys/fs/cgroup", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	if (mfd < 0)
		return um_error_errno(err, -errno, "open_tree /sys/fs/cgroup");
	m.type = "cgroup";
	m.rec_attr_set |= MOUNT_ATTR_RDONLY;
	m.attr_clr = m.rec_attr_clr = 0; /* what the host has locked stays */
	return um_rootfs_place(r, &m, mfd, err);
}

int um_rootfs_mount_cgroup(struct um_rootfs *r, const struct um_spec_mount *m, struct um_error *err)
{
	if (!strcmp(m->type, "cgroup2"))
		return mount_cgroup2(r, m, err);
	if (!r->cg)
		return mount_host_cgroups(r, m, err);
	return r->cg->host->mode == UM_CGROUP_V2 ? mount_cgroup2(r, m, err)
						 : mount_cgroup1(r, m, err);
}
