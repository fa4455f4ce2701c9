#include "runtime/hostmounts.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/vec.h"
#include "runtime/explain.h"
#include "runtime/mountinfo.h"
#include "runtime/sys.h"

#define JOURNAL "mounts"
#define MAX_JOURNAL (16u << 20)
#define HEAD "namespace %llu:%llu\n"
#define UM_STATX_MNT_ID_UNIQUE 0x4000U /* Linux 6.8 */

/* A line of the journal. */
struct row {
	struct um_hostmount m;
	char *point; /* as mountinfo writes it; borrowed */
};
typedef UM_VEC(struct row) rows;

static int identify(int fd, struct um_hostmount *ret)
{
	struct statx old, now;

	if (statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_MNT_ID, &old) < 0 ||
	    statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, UM_STATX_MNT_ID_UNIQUE, &now) < 0)
		return -errno;
	if (!(old.stx_mask & STATX_MNT_ID))
		return -EOPNOTSUPP;
	ret->id = old.stx_mnt_id;
	ret->unique = now.stx_mask & UM_STATX_MNT_ID_UNIQUE ? now.stx_mnt_id : 0;
	ret->dev = makedev(old.stx_dev_major, old.stx_dev_minor);
	return 0;
}

static bool same(const struct um_hostmount *a, const struct um_hostmount *b)
{
	if (a->unique && b->unique)
		return a->unique == b->unique;
	return a->id == b->id && a->dev == b->dev;
}

/* ---- the journal ---- */

static int our_namespace(char *text, size_t size, struct um_error *err)
{
	struct stat st;

	if (stat("/proc/self/ns/mnt", &st) < 0)
		return um_error_errno(err, -errno, "our mount namespace");
	snprintf(text, size, HEAD, (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	return 0;
}

int um_hostmounts_begin(int dir, int *ret_fd, struct um_error *err)
{
	_cleanup_close_ int fd = -1;
	char head[80];
	int r = our_namespace(head, sizeof(head), err);

	if (r < 0)
		return r;
	um_why("no mount namespace: a list of the mounts among the host's, for delete");
	fd = um_sys_create(dir, JOURNAL, O_CREAT | O_EXCL | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : um_io_write_all(fd, head, strlen(head));
	if (r < 0)
		return um_error_errno(err, r, "the journal of mounts");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int add_line(int fd, const struct um_hostmount *m, const char *point)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(5 * PATH_MAX);

	um_buf_addf(&b, "%llu %llu %llu %s\n", (unsigned long long)m->unique,
		    (unsigned long long)m->id, (unsigned long long)m->dev, point);
	return um_buf_error(&b) ? um_buf_error(&b) : um_io_write_all(fd, b.data, b.len);
}

int um_hostmounts_note(int fd, int mfd, int target)
{
	_cleanup_buf_ struct um_buf point = UM_BUF_INIT(4 * PATH_MAX);
	char link[64], path[PATH_MAX];
	struct um_hostmount m;
	int r = identify(mfd, &m);
	ssize_t n;

	if (r < 0)
		return r;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", target);
	n = readlink(link, path, sizeof(path));
	if (n < 0 || n == sizeof(path))
		return n < 0 ? -errno : -ENAMETOOLONG;
	for (ssize_t i = 0; i < n; i++)
		if (strchr(" \t\n\\", path[i]))
			um_buf_addf(&point, "\\%03o", (unsigned char)path[i]);
		else
			um_buf_addc(&point, path[i]);
	return um_buf_error(&point) ? um_buf_error(&point) : add_line(fd, &m, um_buf_str(&point));
}

static int read_journal(int dir, struct um_buf *b, rows *ret, struct um_error *err)
{
	char head[80], *line, *rest;
	int r = um_io_read_file(dir, JOURNAL, b, err);

	if (r >= 0)
		r = our_namespace(head, sizeof(head), err);
	if (r < 0)
		return r;
	rest = b->len ? b->data : head + strlen(head);
	if (strncmp(rest, head, strlen(head)))
		return *rest ? um_error_set(err, -EXDEV,
					    "the container's mounts are in another mount namespace")
			     : 0;
	rest += strlen(head);
	/* a line without an end was cut off before its mount was attached */
	while ((line = rest) && (rest = strchr(line, '\n'))) {
		struct row row = {0};

		*rest++ = '\0';
		if (um_mountinfo_number(&line, &row.m.unique) < 0 ||
		    um_mountinfo_number(&line, &row.m.id) < 0 ||
		    um_mountinfo_number(&line, &row.m.dev) < 0 || *line != '/')
			return um_error_set(err, -EINVAL, "the journal of mounts is damaged");
		row.point = line;
		if (um_vec_push(ret, row) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* ---- what is there ---- */

/* The root of the mount at @point; a link on the way there is not of a mount point's path. */
static int open_point(const char *point)
{
	char path[PATH_MAX];

	if (um_mountinfo_path(point, path, sizeof(path)) < 0)
		return -ENAMETOOLONG;
	return um_io_openat2(AT_FDCWD, path, O_PATH | O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS);
}

int um_hostmounts_note_beneath(int fd, int mfd)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_MOUNTINFO_MAX);
	UM_VEC(uint64_t) tree = UM_VEC_INIT;
	struct um_mountinfo info = UM_VEC_INIT;
	struct um_hostmount top;
	int r = identify(mfd, &top);

	if (r >= 0)
		r = um_vec_push(&tree, top.id);
	if (r >= 0)
		r = um_mountinfo_read(&b, &info, NULL);
	/* parents stand before their children */
	for (size_t i = 0; r >= 0 && i < info.len; i++) {
		_cleanup_close_ int at = -1;
		struct um_hostmount m;
		bool beneath = false;

		um_vec_foreach (id, &tree)
			beneath |= *id == info.items[i].parent;
		if (!beneath)
			continue;
		r = um_vec_push(&tree, info.items[i].id);
		at = r < 0 ? r : open_point(info.items[i].point);
		if (at >= 0 && identify(at, &m) >= 0 && m.id == info.items[i].id)
			r = add_line(fd, &m, info.items[i].point);
	}
	um_vec_release(&tree);
	um_vec_release(&info);
	return r;
}

/* ---- the end ---- */

static int take_away(const struct row *ours, const struct um_mountinfo *info, struct um_error *err)
{
	const struct um_mountinfo_row *at = NULL, *on = NULL;
	_cleanup_close_ int fd = -1;
	struct um_hostmount now = {0};
	char path[64];

	um_vec_foreach (it, info) {
		if (it->id == ours->m.id)
			at = it;
		if (it->parent == ours->m.id && it->id != ours->m.id)
			on = it;
	}
	if (!at || (!ours->m.unique && strcmp(at->point, ours->point)))
		return 0; /* gone */
	fd = open_point(at->point);
	if (fd >= 0 && identify(fd, &now) >= 0 && now.id == ours->m.id && !same(&now, &ours->m))
		return 0; /* gone, and its id is another's */
	if (on)
		return um_error_set(err, -EBUSY, "unmount %s: %s is mounted on it, and not ours",
				    at->point, on->point);
	if (fd < 0 || !same(&now, &ours->m))
		return um_error_set(err, -EBUSY, "unmount %s: it cannot be reached", at->point);
	um_why("a mount of ours among the host's: by its descriptor, no path leads elsewhere");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (um_sys_umount2(path, MNT_DETACH) < 0)
		return um_error_errno(err, -errno, "unmount %s", at->point);
	return 0;
}

int um_hostmounts_undo(int dir, struct um_error *err)
{
	_cleanup_buf_ struct um_buf text = UM_BUF_INIT(MAX_JOURNAL),
				    b = UM_BUF_INIT(UM_MOUNTINFO_MAX);
	struct um_mountinfo info = UM_VEC_INIT;
	rows ours = UM_VEC_INIT;
	int r;

	if (faccessat(dir, JOURNAL, F_OK, 0) < 0 && errno == ENOENT)
		return 0;
	r = read_journal(dir, &text, &ours, err);
	for (size_t i = ours.len; r >= 0 && i-- > 0;) {
		r = um_mountinfo_read(&b, &info, err);
		if (r >= 0)
			r = take_away(&ours.items[i], &info, err);
	}
	um_vec_release(&ours);
	um_vec_release(&info);
	return r;
}

/* ---- exec ---- */

int um_hostmounts_root(int dir, struct um_hostmount *ret, struct um_error *err)
{
	_cleanup_buf_ struct um_buf text = UM_BUF_INIT(MAX_JOURNAL);
	rows ours = UM_VEC_INIT;
	int r = read_journal(dir, &text, &ours, err);

	if (r >= 0 && !ours.len)
		r = um_error_set(err, -ENOENT, "the container's root is not mounted");
	if (r >= 0)
		*ret = ours.items[0].m;
	um_vec_release(&ours);
	return r;
}

int um_hostmounts_enter(const struct um_hostmount *root, const char *path, struct um_error *err)
{
	_cleanup_close_ int fd = um_io_openat2(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0,
					       RESOLVE_NO_SYMLINKS);
	struct um_hostmount now;

	if (fd < 0 || identify(fd, &now) < 0 || !same(&now, root))
		return um_error_set(err, -ENOENT, "the container's root is not mounted on %s",
				    path);
	um_why("no mount namespace: its root becomes ours");
	if (um_sys_fchdir(fd) < 0 || um_sys_chroot(".") < 0)
		return um_error_errno(err, -errno, "chroot");
	return 0;
}
