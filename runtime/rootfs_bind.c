/* Bind mounts: a file, a folder or a link of the host, at a place of the container. */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/io.h"
#include "runtime/resolve.h"
#include "runtime/rootfs.h"
#include "runtime/sync.h"
#include "runtime/sys.h"

/* 1: done. 0: the source is no link. What is there already must be the same link. */
static int copy_link(struct um_rootfs *r, const struct um_spec_mount *m, const char *source,
		     struct um_error *err)
{
	char link[PATH_MAX], there[PATH_MAX], name[NAME_MAX + 1];
	ssize_t n = readlink(source, link, sizeof(link) - 1), k;
	_cleanup_close_ int parent = -1;
	int e;

	if (n < 0)
		return 0;
	link[n] = '\0';
	e = um_resolve_parent(r->fd, m->destination, name, sizeof(name), &parent, err);
	if (e < 0)
		return e;
	if (um_sys_symlinkat(link, parent, name) == 0)
		return 1;
	if (errno != EEXIST)
		return um_error_errno(err, -errno, "copy-symlink");
	k = readlinkat(parent, name, there, sizeof(there) - 1);
	if (k != n || memcmp(link, there, (size_t)n))
		return um_error_set(err, -EEXIST, "copy-symlink: something else is there");
	return 1;
}

int um_rootfs_bind(struct um_rootfs *r, const struct um_spec_mount *m, struct um_error *err)
{
	_cleanup_close_ int mfd = -1;
	size_t index = (size_t)(m - r->spec->mounts);
	char source[PATH_MAX];
	int e = um_io_path(source, sizeof(source), "%s%s%s", m->source[0] == '/' ? "" : r->bundle,
			   m->source[0] == '/' ? "" : "/", m->source);

	if (e < 0)
		return um_error_errno(err, e, "source");
	if (m->links & UM_LINK_COPY) {
		e = copy_link(r, m, source, err);
		if (e)
			return e < 0 ? e : 0;
	}
	if (m->idmap) {
		e = um_sync_ask_source(r->sync_fd, index, &mfd, err);
		return e < 0 ? e : um_rootfs_place(r, m, mfd, err);
	}
	mfd = um_sys_open_tree(AT_FDCWD, source,
			       OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
				       (m->links & UM_LINK_SOURCE ? AT_SYMLINK_NOFOLLOW : 0) |
				       (m->recursive ? AT_RECURSIVE : 0));
	if (mfd < 0 && errno == EACCES && r->user_ns) {
		/* behind a folder that is the host's root's alone */
		e = um_sync_ask_source(r->sync_fd, index, &mfd, err);
		if (e < 0)
			return e;
	}
	if (mfd < 0)
		return um_error_errno(err, -errno, "bind source %s", source);
	return um_rootfs_place(r, m, mfd, err);
}
