#include "runtime/rootfs.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/fault.h"
#include "base/io.h"
#include "runtime/explain.h"
#include "runtime/hostmounts.h"
#include "runtime/resolve.h"
#include "runtime/sync.h"
#include "runtime/sys.h"

#define MAX_ADDED 2 /* options of our own beside those of a mount */

int um_rootfs_set_attr(int fd, unsigned flags, const struct mount_attr *attr)
{
	struct mount_attr a = *attr;

	if (um_sys_mount_setattr(fd, "", AT_EMPTY_PATH | flags, &a, sizeof(a)) < 0)
		return -errno;
	return 0;
}

/* Has the container mounts of its own, where no other process sees them? */
static bool own_mounts(const struct um_rootfs *r)
{
	return r->journal_fd < 0;
}

int um_rootfs_attach(const struct um_rootfs *r, int mfd, int target_fd)
{
	struct mount_attr private = {.propagation = MS_PRIVATE};
	int e = 0;

	/* among the host's mounts: no peer of one of them, whose mounts would be the host's */
	if (!own_mounts(r))
		e = um_rootfs_set_attr(mfd, AT_RECURSIVE, &private);
	if (!own_mounts(r) && e >= 0)
		e = um_hostmounts_note(r->journal_fd, mfd, target_fd);
	if (e >= 0 && um_sys_move_mount(mfd, "", target_fd, "",
					MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		e = -errno;
	if (!own_mounts(r) && e >= 0)
		e = um_hostmounts_note_beneath(r->journal_fd, mfd);
	return e;
}

static bool wants_shared(const struct um_rootfs *r)
{
	return r->spec->rootfs_propagation & MS_SHARED;
}

/* What is mounted on the container's root stays out of the host: the mount that @path is on leaves
 * its peers. */
static int part_from_peers(const char *path, struct um_error *err)
{
	struct mount_attr private = {.propagation = MS_PRIVATE};
	char work[PATH_MAX];
	int e = um_io_path(work, sizeof(work), "%s", path);

	while (e >= 0) {
		char *slash = strrchr(work, '/');

		if (um_sys_mount_setattr(AT_FDCWD, *work ? work : "/", 0, &private,
					 sizeof(private)) == 0)
			return 0;
		if (errno != EINVAL || !slash)
			return um_error_errno(err, -errno, "the mount of %s", path);
		*slash = '\0'; /* not a mount's root: further up */
	}
	return um_error_errno(err, e, "root.path");
}

int um_rootfs_open(struct um_rootfs *r, struct um_error *err)
{
	/* shared: bind mounts keep the host's as peers, so that mounts reach it */
	struct mount_attr all = {.propagation = wants_shared(r) ? MS_SHARED : MS_SLAVE};
	struct mount_attr private = {.propagation = MS_PRIVATE};
	_cleanup_close_ int there = -1;
	int e;

	um_why(wants_shared(r) ? "linux.rootfsPropagation: mounts go both ways"
			       : "what is mounted from here on stays in the container");
	if (own_mounts(r) &&
	    um_sys_mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &all, sizeof(all)) < 0)
		return um_error_errno(err, -errno, "propagation of /");
	if (wants_shared(r) && (e = part_from_peers(r->path, err)) < 0)
		return e;
	there = open(r->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (there < 0)
		return um_error_errno(err, -errno, "root.path: open %s", r->path);
	um_why("root.path: pivot_root wants a mount of its own, so the folder is mounted on "
	       "itself");
	r->fd = um_sys_open_tree(
		there, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
	if (r->fd < 0)
		return um_error_errno(err, -errno, "root.path: open_tree %s", r->path);
	e = um_rootfs_attach(r, r->fd, there);
	/* where its parent is shared, it has become that as well */
	if (e >= 0 && !own_mounts(r))
		e = um_rootfs_set_attr(r->fd, AT_RECURSIVE, &private);
	if (e < 0)
		return um_error_errno(err, e, "root.path: mount %s", r->path);
	return 0;
}

int um_rootfs_open_proc(struct um_rootfs *r, struct um_error *err)
{
	static const struct um_strv none;
	struct um_error own = UM_ERROR_INIT;
	struct statfs fs;
	int e = 0;

	um_why("a procfs that no path leads to: nobody can have put a trap into it");
	if (r->proc_fd < 0)
		e = um_rootfs_new_fs("proc", "proc", &none, false, 0, &r->proc_fd, &own);
	/* In a pid namespace of a user namespace above ours none can be made: a copy of the
	 * caller's, which no container has a hand in either. With all that is mounted there, as who
	 * may not take that away has to; nobody looks below it. */
	if (e == -EPERM)
		r->proc_fd = um_sys_open_tree(AT_FDCWD, "/proc",
					      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (r->proc_fd < 0)
		return um_error_wrap(err, um_error_move(err, &own), "private procfs");
	if (fstatfs(r->proc_fd, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC)
		return um_error_set(err, -EXDEV, "private procfs: not a procfs");
	return 0;
}

int um_rootfs_write_proc(struct um_rootfs *r, const char *file, const char *value)
{
	for (bool again = false;; again = true) {
		_cleanup_close_ int fd =
			um_io_openat2(r->proc_fd, file, O_WRONLY | O_CLOEXEC, 0,
				      RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);

		if (fd >= 0)
			return um_io_write_all(fd, value, strlen(value));
		if (fd != -EXDEV || again)
			return fd;
		/* the container's, and something is mounted there */
		r->proc_fd = um_close(r->proc_fd);
		if (um_rootfs_open_proc(r, NULL) < 0)
			return -EXDEV;
	}
}

/* Puts what the file system said about the options (fsopen(2) lets it be read) into the error. */
static int fs_error(int fs, int code, const char *type, const char *what, struct um_error *err)
{
	char text[200] = "";
	ssize_t n = fs >= 0 ? read(fs, text, sizeof(text) - 1) : -1;

	if (n > 2) {
		text[n] = '\0';
		text[strcspn(text, "\n")] = '\0';
		return um_error_errno(err, code, "%s: %s (%s)", type, what, text + 2);
	}
	return um_error_errno(err, code, "%s: %s", type, what);
}

int um_rootfs_new_fs(const char *type, const char *source, const struct um_strv *data,
		     bool read_only, uint64_t attrs, int *ret_mfd, struct um_error *err)
{
	_cleanup_close_ int fs = um_sys_fsopen(type, FSOPEN_CLOEXEC);
	int mfd;

	if (fs < 0)
		return um_error_errno(err, -errno, "fsopen %s", type);
	if (source && *source && um_sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0) < 0)
		return fs_error(fs, -errno, type, "source", err);
	for (size_t i = 0; i < data->n; i++) {
		const char *eq = strchr(data->v[i], '=');
		char key[256];
		int e;

		if (!eq) {
			e = um_sys_fsconfig(fs, FSCONFIG_SET_FLAG, data->v[i], NULL, 0);
		} else if ((size_t)(eq - data->v[i]) >= sizeof(key)) {
			errno = EINVAL;
			e = -1;
		} else {
			memcpy(key, data->v[i], (size_t)(eq - data->v[i]));
			key[eq - data->v[i]] = '\0';
			e = um_sys_fsconfig(fs, FSCONFIG_SET_STRING, key, eq + 1, 0);
		}
		if (e < 0)
			return fs_error(fs, -errno, type, data->v[i], err);
	}
	if (read_only && um_sys_fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0)
		return fs_error(fs, -errno, type, "ro", err);
	if (um_sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return fs_error(fs, -errno, type, "create", err);
	mfd = um_sys_fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)attrs);
	if (mfd < 0)
		return fs_error(fs, -errno, type, "fsmount", err);
	*ret_mfd = mfd;
	return 0;
}

/* Attributes and propagation that apply once the mount is in its place. */
static int apply_attrs(const struct um_spec_mount *m, int mfd, bool defer_ro)
{
	struct mount_attr one = {.attr_set = m->attr_set, .attr_clr = m->attr_clr};
	struct mount_attr all = {.attr_set = m->rec_attr_set, .attr_clr = m->rec_attr_clr};
	int r = 0;

	if (defer_ro)
		one.attr_set &= ~(uint64_t)MOUNT_ATTR_RDONLY;
	if (one.attr_set || one.attr_clr)
		r = um_rootfs_set_attr(mfd, 0, &one);
	if (r >= 0 && (all.attr_set || all.attr_clr))
		r = um_rootfs_set_attr(mfd, AT_RECURSIVE, &all);
	return r;
}

static int apply_propagation(const struct um_spec_mount *m, int mfd)
{
	struct mount_attr one = {.propagation = m->propagation};
	struct mount_attr all = {.propagation = m->rec_propagation};
	int r = 0;

	/* nothing asked for: a bind does not receive the host's later mounts */
	if (!m->propagation && !m->rec_propagation && m->bind)
		all.propagation = MS_PRIVATE;
	if (all.propagation)
		r = um_rootfs_set_attr(mfd, AT_RECURSIVE, &all);
	if (r >= 0 && one.propagation)
		r = um_rootfs_set_attr(mfd, 0, &one);
	return r;
}

static int find_target(const struct um_rootfs *r, const struct um_spec_mount *m, bool directory,
		       int *ret, struct um_error *err)
{
	_cleanup_close_ int parent = -1;
	char name[NAME_MAX + 1];
	struct statfs fs;
	int e;

	if (m->links & UM_LINK_DESTINATION) {
		e = um_resolve_parent(r->fd, m->destination, name, sizeof(name), &parent, err);
		if (e < 0)
			return e;
		/* over /proc/self: what reads there would be led astray */
		if (fstatfs(parent, &fs) < 0 || fs.f_type == PROC_SUPER_MAGIC)
			return um_error_set(err, -EPERM, "dest-nofollow: not in a procfs");
		*ret = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (*ret >= 0)
			return 0;
		if (errno != ENOENT)
			return um_error_errno(err, -errno, "open %s", m->destination);
	}
	return um_resolve_create(r->fd, m->destination, directory, ret, err);
}

int um_rootfs_place(struct um_rootfs *r, const struct um_spec_mount *m, int mfd,
		    struct um_error *err)
{
	bool defer = m->read_only && m->type && !strcmp(m->type, "tmpfs");
	_cleanup_close_ int target = -1;
	struct stat st, root, at;
	int e;

	if (fstat(mfd, &st) < 0)
		return um_error_errno(err, -errno, "stat the mount");
	e = find_target(r, m, S_ISDIR(st.st_mode), &target, err);
	if (e < 0)
		return e;
	/* the container's root is what lies beneath: nobody would ever see such a mount */
	if (fstat(r->fd, &root) < 0 || fstat(target, &at) < 0)
		return um_error_errno(err, -errno, "stat the destination");
	if (root.st_dev == at.st_dev && root.st_ino == at.st_ino)
		return um_error_set(err, -EINVAL, "the destination is the container's root");
	if (m->tmpcopyup) {
		e = um_rootfs_copy_up(target, mfd, 0);
		if (e < 0)
			return um_error_errno(err, e, "tmpcopyup");
	}
	if (S_ISDIR(st.st_mode) != S_ISDIR(at.st_mode))
		return um_error_set(err, -ENOTDIR, "%s: not a directory",
				    S_ISDIR(st.st_mode) ? "the destination" : "the source");
	e = apply_attrs(m, mfd, defer);
	if (e < 0)
		return um_error_errno(err, e, "mount attributes");
	e = um_rootfs_attach(r, mfd, target);
	if (e < 0)
		return um_error_errno(err, e, "move_mount");
	e = apply_propagation(m, mfd);
	if (e < 0)
		return um_error_errno(err, e, "mount propagation");
	if (defer) {
		if (r->n_deferred == UM_ROOTFS_MAX_DEFERRED)
			return um_error_set(err, -E2BIG, "more than %d read-only tmpfs mounts",
					    UM_ROOTFS_MAX_DEFERRED);
		r->deferred[r->n_deferred] = fcntl(mfd, F_DUPFD_CLOEXEC, 3);
		if (r->deferred[r->n_deferred++] < 0)
			return um_error_errno(err, -errno, "dup");
	}
	return 0;
}

/* Superblocks that others share, or that live in memory, stay writable: the mount is what becomes
 * read-only. */
static bool superblock_follows(const char *type)
{
	static const char *const no[] = {"proc",    "sysfs",	  "tmpfs",     "mqueue", "devpts",
					 "cgroup",  "cgroup2",	  "overlay",   "bpf",	 "debugfs",
					 "tracefs", "securityfs", "hugetlbfs", "ramfs"};

	for (size_t i = 0; i < UM_ARRAY_LEN(no); i++)
		if (!strcmp(no[i], type))
			return false;
	return true;
}

/* mount(2) for what fsconfig(2) cannot take: strings of 256 bytes and more, iversion. */
static int mount_long(struct um_rootfs *r, const struct um_spec_mount *m, struct um_error *err)
{
	_cleanup_buf_ struct um_buf data = UM_BUF_INIT(4095);
	_cleanup_close_ int target = -1, mfd = -1;
	char path[64];
	int e = um_resolve_create(r->fd, m->destination, true, &target, err);

	if (e < 0)
		return e;
	for (size_t i = 0; i < m->data.n; i++)
		um_buf_addf(&data, "%s%s", i ? "," : "", m->data.v[i]);
	if (um_buf_error(&data))
		return um_error_set(err, -E2BIG, "options are longer than 4095 bytes");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", target);
	if (um_sys_mount(m->source, path, m->type, m->iversion ? MS_I_VERSION : 0,
			 um_buf_str(&data)) < 0)
		return um_error_errno(err, -errno, "mount %s", m->type);
	mfd = um_resolve(r->fd, m->destination);
	if (mfd < 0)
		return um_error_errno(err, mfd, "find the mount");
	e = own_mounts(r) ? 0 : um_hostmounts_note(r->journal_fd, mfd, mfd);
	if (e >= 0)
		e = apply_attrs(m, mfd, false);
	if (e >= 0)
		e = apply_propagation(m, mfd);
	return e < 0 ? um_error_errno(err, e, "mount attributes") : 0;
}

static int add_data(struct um_spec_mount *m, struct um_strv *data, const char *fmt, ...)
	um_printf(3, 4);

/* One more of the file system's options, MAX_ADDED at most; @data is @m's from here on. */
static int add_data(struct um_spec_mount *m, struct um_strv *data, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (!data->v) {
		data->v = calloc(m->data.n + MAX_ADDED + 1, sizeof(char *));
		if (!data->v)
			return -ENOMEM;
		for (; data->n < m->data.n; data->n++)
			data->v[data->n] = m->data.v[data->n];
	}
	va_start(ap, fmt);
	n = vasprintf(&data->v[data->n], fmt, ap);
	va_end(ap);
	if (n < 0)
		return -ENOMEM;
	data->n++;
	m->data = *data;
	return 0;
}

/* SELinux: the label of every file of a new file system that does not label its own. */
static int add_label(const struct um_rootfs *r, struct um_spec_mount *m, struct um_strv *data)
{
	if (!r->spec->mount_label || !strcmp(m->type, "proc") || !strcmp(m->type, "sysfs"))
		return 0;
	return add_data(m, data, "%s=%s",
			r->spec->asked.mount_context ? r->spec->asked.mount_context : "context",
			r->spec->mount_label);
}

/* A tmpfs over a directory keeps the rights of that, where the options do not say others. */
static int keep_mode(const struct um_rootfs *r, struct um_spec_mount *m, struct um_strv *data)
{
	_cleanup_close_ int below = -1;
	struct stat st;

	if (strcmp(m->type, "tmpfs"))
		return 0;
	for (size_t i = 0; i < m->data.n; i++)
		if (!strncmp(m->data.v[i], "mode=", 5))
			return 0;
	below = um_resolve(r->fd, m->destination);
	if (below < 0 || fstat(below, &st) < 0)
		return 0;
	return add_data(m, data, "mode=%o", (unsigned)(st.st_mode & 07777));
}

/* A user namespace without a network namespace of its own gets no new sysfs. What is mounted on the
 * host's, cgroups among them, nobody is to write to, the host's root neither. */
static int host_sysfs(void)
{
	struct mount_attr all = {.attr_set = MOUNT_ATTR_RDONLY};
	struct mount_attr top = {.attr_clr = MOUNT_ATTR_RDONLY};
	_cleanup_close_ int mfd = um_sys_open_tree(
		AT_FDCWD, "/sys", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	if (mfd < 0 || um_rootfs_set_attr(mfd, AT_RECURSIVE, &all) < 0)
		return -1;
	(void)!um_rootfs_set_attr(mfd, 0, &top); /* the host's is read-only: this, too */
	return TAKE_FD(mfd);
}

/* Programs and masks find them by their paths: one that leads elsewhere is no accident
 * (CVE-2019-19921). */
static int check_ordinary(const struct um_rootfs *r, const struct um_spec_mount *m,
			  struct um_error *err)
{
	_cleanup_close_ int there = -1;
	struct stat st;

	if (strcmp(m->type, "proc") && strcmp(m->type, "sysfs"))
		return 0;
	there = um_io_openat2(r->fd, m->destination, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0,
			      RESOLVE_IN_ROOT);
	if (there < 0 || fstat(there, &st) < 0 || S_ISDIR(st.st_mode))
		return 0; /* not there: made when it is placed */
	return um_error_set(err, -ENOTDIR, "%s must be mounted on ordinary directory", m->type);
}

static int mount_fs(struct um_rootfs *r, const struct um_spec_mount *mount, struct um_error *err)
{
	struct um_spec_mount copy = *mount, *m = &copy;
	struct um_strv data = {NULL, 0}; /* a handful of bytes, gone with execve */
	_cleanup_close_ int mfd = -1;
	bool is_long = m->source && strlen(m->source) > 255;
	struct um_error first = UM_ERROR_INIT;
	int e = add_label(r, m, &data);

	if (e >= 0)
		e = keep_mode(r, m, &data);
	if (e < 0)
		return e;
	for (size_t i = 0; i < m->data.n; i++)
		is_long = is_long || strlen(m->data.v[i]) > 255;
	if (m->iversion && m->tmpcopyup)
		return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
					   "iversion together with tmpcopyup is not supported");
	is_long = is_long || m->iversion; /* which fsconfig(2) does not know */
	if (is_long)
		return mount_long(r, m, err);
	e = check_ordinary(r, m, err);
	if (e < 0)
		return e;
	e = um_rootfs_new_fs(m->type, m->source, &m->data,
			     m->read_only && superblock_follows(m->type), 0, &mfd, &first);
	if (e == -EPERM && r->user_ns && !strcmp(m->type, "sysfs"))
		mfd = host_sysfs();
	if (mfd < 0)
		return um_error_move(err, &first);
	e = um_rootfs_place(r, m, mfd, err);
	/* A procfs of our own costs as much again, and the end of a mount costs more than that: the
	 * container's, held by its descriptor, does as well. */
	if (e >= 0 && r->proc_fd < 0 && !strcmp(m->type, "proc") && !m->read_only && !m->data.n)
		r->proc_fd = TAKE_FD(mfd);
	return e;
}

static int mount_one(struct um_rootfs *r, const struct um_spec_mount *m, struct um_error *err)
{
	if (m->remount) {
		_cleanup_close_ int fd = um_resolve(r->fd, m->destination);
		int e = fd < 0 ? fd : apply_attrs(m, fd, false);

		return e < 0 ? um_error_errno(err, e, "remount") : 0;
	}
	if (m->bind)
		return um_rootfs_bind(r, m, err);
	if (!strcmp(m->type, "cgroup") || !strcmp(m->type, "cgroup2"))
		return um_rootfs_mount_cgroup(r, m, err);
	return mount_fs(r, m, err);
}

int um_rootfs_mounts(struct um_rootfs *r, struct um_error *err)
{
	for (size_t i = 0; i < r->spec->n_mounts; i++) {
		const struct um_spec_mount *m = &r->spec->mounts[i];
		int e;

		um_why("mounts[%zu]: %s on %s", i, m->type ? m->type : "a bind", m->destination);
		e = mount_one(r, m, err);

		if (e < 0)
			return um_error_wrap(err, e, "mounts[%zu] on %s", i, m->destination);
		UM_FAULT("runtime.init.mount");
	}
	return 0;
}

/* ---- entering ---- */

int um_rootfs_enter(struct um_rootfs *r, struct um_error *err)
{
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY};
	int e;

	um_why("read-only, now that all is in it");
	for (size_t i = 0; i < r->n_deferred; i++) {
		e = um_rootfs_set_attr(r->deferred[i], 0, &ro);
		if (e < 0)
			return um_error_errno(err, e, "make a tmpfs read-only");
		um_close(r->deferred[i]);
	}
	if (r->spec->root_readonly) {
		e = um_rootfs_set_attr(r->fd, 0, &ro);
		if (e < 0)
			return um_error_errno(err, e, "root.readonly");
	}
	um_why(own_mounts(r) ? "the container's root becomes the root, and the host's goes away"
			     : "the container's root becomes its root: for itself, not for the "
			       "mount namespace");
	if (um_sys_fchdir(r->fd) < 0)
		return um_error_errno(err, -errno, "enter the root file system");
	/* what becomes of / from here on is not for the host */
	e = wants_shared(r) ? part_from_peers("/", err) : 0;
	if (e < 0)
		return e;
	um_explain_inside();
	if (!own_mounts(r)) {
		/* the host's root stays where it is, for all */
		if (um_sys_chroot(".") < 0)
			return um_error_errno(err, -errno, "chroot");
	} else if (r->no_pivot) {
		e = um_rootfs_hide_host(r, err);
		if (e < 0)
			return e;
		if (um_sys_move_mount(r->fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
		    um_sys_chroot(".") < 0)
			return um_error_errno(err, -errno, "chroot");
	} else {
		_cleanup_close_ int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		struct mount_attr slave = {.propagation = MS_SLAVE};

		/* the old root ends up below the new one, from where it is taken away */
		if (um_sys_pivot_root(".", ".") < 0)
			return um_error_errno(err, -errno, "pivot_root");
		/* and not from the host as well */
		if (wants_shared(r) && (e = um_rootfs_set_attr(old, AT_RECURSIVE, &slave)) < 0)
			return um_error_errno(err, e, "part from the old root");
		if (um_sys_umount2(".", MNT_DETACH) < 0)
			return um_error_errno(err, -errno, "unmount the old root");
	}
	if (um_sys_chdir("/") < 0)
		return um_error_errno(err, -errno, "chdir /");
	if (r->spec->rootfs_propagation) {
		um_why("linux.rootfsPropagation");
		struct mount_attr p = {.propagation =
					       r->spec->rootfs_propagation & ~(uint64_t)MS_REC};
		unsigned deep = r->spec->rootfs_propagation & MS_REC ? AT_RECURSIVE : 0;

		if (um_sys_mount_setattr(AT_FDCWD, "/", deep, &p, sizeof(p)) < 0)
			return um_error_errno(err, -errno, "linux.rootfsPropagation");
	}
	r->fd = um_close(r->fd);
	return 0;
}
