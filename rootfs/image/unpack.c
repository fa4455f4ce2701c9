/* One layer's tar into a folder. The archive is hostile: every name is resolved beneath the folder,
 * links included; what an entry replaces is removed first, never followed. */
#include <archive_entry.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>

#include "base/fault.h"
#include "base/io.h"
#include "base/vec.h"
#include "rootfs/image/import.h"

struct dir_time {
	char *path;
	struct timespec mtime;
};

struct unpacker {
	int root;
	struct unpack_stats *st;
	struct um_error *err;
	UM_VEC(struct dir_time) dirs; /* set last: filling a folder changes its time */
};

/* ---- archives ---- */

static int archive_error(struct archive *ar, struct um_error *err, const char *what)
{
	const char *text = archive_error_string(ar);

	return um_error_set(err, -EBADMSG, "%s: %s", what, text ? text : "cannot be read");
}

struct archive *open_raw(int fd, struct um_error *err)
{
	struct archive *ar = archive_read_new();

	if (!ar) {
		um_error_errno(err, -ENOMEM, "read an archive");
		return NULL;
	}
	/* Only filters that are part of the library: others would run programs. */
	archive_read_support_filter_gzip(ar);
	archive_read_support_filter_zstd(ar);
	archive_read_support_filter_xz(ar);
	archive_read_support_filter_bzip2(ar);
	archive_read_support_format_raw(ar);
	archive_read_support_format_empty(ar);
	if (archive_read_open_fd(ar, fd, 1 << 16) != ARCHIVE_OK) {
		archive_error(ar, err, "not a tar archive, compressed or not");
		archive_read_free(ar);
		return NULL;
	}
	return ar;
}

/* Between the two archives: undoes compression, hashes what comes out. */
struct pipe_through {
	struct archive *raw;
	struct um_digest *digest;
	bool opened, ended;
	char buf[1 << 16];
};

static la_ssize_t pipe_read(struct archive *tar, void *ctx, const void **data)
{
	struct pipe_through *p = ctx;
	la_ssize_t n;

	*data = p->buf;
	if (p->ended)
		return 0;
	if (!p->opened) {
		struct archive_entry *e;
		int r = archive_read_next_header(p->raw, &e);

		p->opened = true;
		if (r == ARCHIVE_EOF) {
			p->ended = true;
			return 0;
		}
		if (r != ARCHIVE_OK)
			goto fail;
	}
	n = archive_read_data(p->raw, p->buf, sizeof(p->buf));
	if (n < 0)
		goto fail;
	if (n == 0)
		p->ended = true;
	um_digest_add(p->digest, p->buf, (size_t)n);
	return n;
fail:
	archive_set_error(tar, EIO, "%s", archive_error_string(p->raw));
	return ARCHIVE_FATAL;
}

/* ---- names ---- */

/* Splits "a/b/c" (cleaned of "./", leading and double slashes) into parent and leaf. False when the
 * name is empty (the root itself), has "..", or is too long. */
static bool split_name(const char *name, char parent[PATH_MAX], char leaf[NAME_MAX + 1])
{
	size_t out = 0, last = 0;

	while (*name) {
		size_t n = strcspn(name, "/");

		if (n == 2 && name[0] == '.' && name[1] == '.')
			return false;
		if (n && !(n == 1 && name[0] == '.')) {
			if (n > NAME_MAX || out + n + 2 > PATH_MAX)
				return false;
			if (out)
				parent[out++] = '/';
			last = out;
			memcpy(parent + out, name, n);
			out += n;
		}
		name += n;
		while (*name == '/')
			name++;
	}
	parent[out] = '\0';
	if (!out)
		return false;
	strcpy(leaf, parent + last);
	parent[last ? last - 1 : 0] = '\0';
	return true;
}

static bool is_root(const char *name)
{
	return !name[strspn(name, "./")] && !strstr(name, "..");
}

/* The folder @path beneath the root, made where it is missing; links are followed within. */
static int open_parent(struct unpacker *u, const char *path)
{
	char part[PATH_MAX];
	int fd;

	if (!*path)
		return fcntl(u->root, F_DUPFD_CLOEXEC, 3);
	fd = um_io_openat2(u->root, path, O_RDONLY | O_DIRECTORY, 0,
			   RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
	if (fd != -ENOENT)
		return fd;
	for (const char *p = path;; p++) {
		_cleanup_close_ int up = -1;
		size_t n;
		char *slash;

		p += strcspn(p, "/");
		n = (size_t)(p - path);
		memcpy(part, path, n);
		part[n] = '\0';
		slash = strrchr(part, '/');
		if (slash)
			*slash = '\0';
		up = slash ? um_io_openat2(u->root, part, O_RDONLY | O_DIRECTORY, 0,
					   RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
			   : fcntl(u->root, F_DUPFD_CLOEXEC, 3);
		if (up < 0)
			return up;
		if (mkdirat(up, slash ? slash + 1 : part, 0755) < 0 && errno != EEXIST)
			return -errno;
		if (!*p)
			break;
	}
	return um_io_openat2(u->root, path, O_RDONLY | O_DIRECTORY, 0,
			     RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/* ---- one entry ---- */

static int write_data(struct unpacker *u, struct archive *tar, int fd)
{
	for (;;) {
		const void *data;
		size_t len;
		la_int64_t at;
		int r = archive_read_data_block(tar, &data, &len, &at);

		if (r == ARCHIVE_EOF)
			return 0;
		if (r != ARCHIVE_OK)
			return archive_error(tar, u->err, "damaged layer");
		u->st->bytes += (int64_t)len;
		if (u->st->bytes > UNPACK_MAX_BYTES)
			return um_error_set(u->err, -E2BIG,
					    "the image unpacks to more than %lld GiB",
					    (long long)(UNPACK_MAX_BYTES >> 30));
		while (len) {
			ssize_t n = pwrite(fd, data, len, at);

			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return um_error_errno(u->err, -errno, "write a file");
			data = (const char *)data + n;
			len -= (size_t)n;
			at += n;
		}
	}
}

static int make_file(struct unpacker *u, struct archive *tar, struct archive_entry *e, int parent,
		     const char *leaf)
{
	_cleanup_close_ int fd =
		openat(parent, leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return um_error_errno(u->err, -errno, "create %s", archive_entry_pathname(e));
	if (archive_entry_size(e) > UNPACK_MAX_BYTES) /* holes cost nothing, but have an end */
		return um_error_set(u->err, -E2BIG, "%s is larger than %lld GiB",
				    archive_entry_pathname(e), (long long)(UNPACK_MAX_BYTES >> 30));
	r = write_data(u, tar, fd);
	if (r == 0 && archive_entry_size_is_set(e) && ftruncate(fd, archive_entry_size(e)) < 0)
		r = um_error_errno(u->err, -errno, "write %s", archive_entry_pathname(e));
	return r;
}

static int make_hardlink(struct unpacker *u, const char *target, int parent, const char *leaf)
{
	char dir[PATH_MAX], name[NAME_MAX + 1];
	_cleanup_close_ int from = -1;

	if (!split_name(target, dir, name))
		return um_error_set(u->err, -EBADMSG, "hard link to \"%s\"", target);
	from = open_parent(u, dir);
	if (from < 0 || linkat(from, name, parent, leaf, 0) < 0)
		return um_error_errno(u->err, from < 0 ? from : -errno, "hard link to %s", target);
	return 0;
}

static int make_opaque(struct unpacker *u, int parent)
{
	if (fsetxattr(parent, "user.overlay.opaque", "y", 1, 0) < 0)
		return um_error_errno(u->err, -errno, "opaque folder");
	return 0;
}

static int make_whiteout(struct unpacker *u, int parent, const char *leaf)
{
	_cleanup_close_ int folder = -1;

	if (!*leaf || !strcmp(leaf, ".") || !strcmp(leaf, ".."))
		return um_error_set(u->err, -EBADMSG, "whiteout of \"%s\"", leaf);
	/* Overlay's own form; the kernel lets anybody make this one device. */
	if (mknodat(parent, leaf, S_IFCHR, makedev(0, 0)) == 0)
		return 0;
	if (errno != EEXIST)
		return um_error_errno(u->err, -errno, "whiteout of %s", leaf);
	/* This layer has something of that name already: it stays and hides what is below. */
	folder = openat(parent, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return folder < 0 ? 0 : make_opaque(u, folder);
}

/* What stands in the way goes; a folder stays when a folder comes. A folder that takes the place of
 * a whiteout must hide what the whiteout hid: @whiteout. */
static int clear_place(struct unpacker *u, int parent, const char *leaf, bool folder,
		       bool *whiteout)
{
	struct stat st;

	if (fstatat(parent, leaf, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : um_error_errno(u->err, -errno, "look at %s", leaf);
	if (folder && S_ISDIR(st.st_mode))
		return 0;
	*whiteout = S_ISCHR(st.st_mode);
	return um_io_remove_tree(parent, leaf, u->err);
}

static int set_xattrs(struct unpacker *u, struct archive_entry *e, int parent, const char *leaf)
{
	_cleanup_close_ int fd = -1;
	const char *name;
	const void *value;
	size_t len;

	if (!archive_entry_xattr_reset(e))
		return 0;
	while (archive_entry_xattr_next(e, &name, &value, &len) == ARCHIVE_OK) {
		bool wanted = !strcmp(name, "security.capability") ||
			      (!strncmp(name, "user.", 5) && strncmp(name, "user.overlay.", 13));

		if (!wanted) {
			u->st->skipped_xattrs++;
			continue;
		}
		if (fd < 0)
			fd = openat(parent, leaf, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0)
			return 0; /* a link: it has no such attributes */
		if (fsetxattr(fd, name, value, len, 0) < 0)
			return um_error_errno(u->err, -errno, "set %s of %s", name, leaf);
	}
	return 0;
}

static int set_owner_and_mode(struct unpacker *u, struct archive_entry *e, int parent,
			      const char *leaf)
{
	la_int64_t uid = archive_entry_uid(e), gid = archive_entry_gid(e);
	struct timespec times[2] = {{0, UTIME_OMIT},
				    {archive_entry_mtime(e), archive_entry_mtime_nsec(e)}};
	mode_t type = archive_entry_filetype(e);

	if (uid < 0 || uid > UINT32_MAX - 1 || gid < 0 || gid > UINT32_MAX - 1)
		return um_error_set(u->err, -EBADMSG, "owner %lld:%lld of %s", (long long)uid,
				    (long long)gid, archive_entry_pathname(e));
	if (fchownat(parent, leaf, (uid_t)uid, (gid_t)gid, AT_SYMLINK_NOFOLLOW) < 0)
		return um_error_errno(u->err, -errno, "chown %s", archive_entry_pathname(e));
	/* After the owner, who takes the setuid bits away. Links have no mode. */
	if (type != AE_IFLNK && fchmodat(parent, leaf, archive_entry_perm(e) & 07777, 0) < 0)
		return um_error_errno(u->err, -errno, "chmod %s", archive_entry_pathname(e));
	if (type == AE_IFDIR) {
		struct dir_time d = {strdup(archive_entry_pathname(e)), times[1]};

		if (!d.path || um_vec_push(&u->dirs, d) < 0) {
			free(d.path);
			return um_error_errno(u->err, -ENOMEM, "unpack");
		}
		return 0;
	}
	if (utimensat(parent, leaf, times, AT_SYMLINK_NOFOLLOW) < 0)
		return um_error_errno(u->err, -errno, "set the time of %s",
				      archive_entry_pathname(e));
	return 0;
}

static int root_entry(struct unpacker *u, struct archive_entry *e)
{
	la_int64_t uid = archive_entry_uid(e), gid = archive_entry_gid(e);

	if (archive_entry_filetype(e) != AE_IFDIR)
		return um_error_set(u->err, -EBADMSG, "the layer's root is no folder");
	if (uid < 0 || uid > UINT32_MAX - 1 || gid < 0 || gid > UINT32_MAX - 1 ||
	    fchown(u->root, (uid_t)uid, (gid_t)gid) < 0 ||
	    fchmod(u->root, archive_entry_perm(e) & 07777) < 0)
		return um_error_errno(u->err, errno ? -errno : -EBADMSG, "the layer's root");
	return 0;
}

static int make_entry(struct unpacker *u, struct archive *tar, struct archive_entry *e, int parent,
		      const char *leaf)
{
	const char *name = archive_entry_pathname(e);

	switch (archive_entry_filetype(e)) {
	case AE_IFREG:
		return make_file(u, tar, e, parent, leaf);
	case AE_IFDIR:
		if (mkdirat(parent, leaf, 0700) < 0 && errno != EEXIST)
			return um_error_errno(u->err, -errno, "mkdir %s", name);
		return 0;
	case AE_IFLNK:
		if (!archive_entry_symlink(e) ||
		    symlinkat(archive_entry_symlink(e), parent, leaf) < 0)
			return um_error_errno(u->err, errno ? -errno : -EBADMSG, "link %s", name);
		return 0;
	case AE_IFIFO:
		if (mkfifoat(parent, leaf, 0600) < 0)
			return um_error_errno(u->err, -errno, "make the fifo %s", name);
		return 0;
	default:
		return um_error_set(u->err, -EBADMSG, "%s: unknown kind of entry", name);
	}
}

static int unpack_entry(struct unpacker *u, struct archive *tar, struct archive_entry *e)
{
	const char *name = archive_entry_pathname(e), *hard = archive_entry_hardlink(e);
	mode_t type = archive_entry_filetype(e);
	char dir[PATH_MAX], leaf[NAME_MAX + 1];
	_cleanup_close_ int parent = -1;
	bool whiteout = false;
	int r;

	if (!name)
		return um_error_set(u->err, -EBADMSG, "an entry without a name");
	if (is_root(name))
		return root_entry(u, e);
	if (!split_name(name, dir, leaf))
		return um_error_set(u->err, -EBADMSG,
				    "entry \"%.200s\" points outside, or is too long", name);
	parent = open_parent(u, dir);
	if (parent < 0)
		return um_error_errno(u->err, parent, "the folder of %s", name);
	if (!strcmp(leaf, ".wh..wh..opq"))
		return make_opaque(u, parent);
	if (!strncmp(leaf, ".wh..wh.", 8))
		return 0; /* bookkeeping of another file system */
	if (!strncmp(leaf, ".wh.", 4))
		return make_whiteout(u, parent, leaf + 4);
	if (!hard && (type == AE_IFCHR || type == AE_IFBLK || type == AE_IFSOCK)) {
		u->st->skipped_devices++;
		return 0;
	}
	r = clear_place(u, parent, leaf, type == AE_IFDIR && !hard, &whiteout);
	if (r < 0)
		return r;
	if (hard)
		return make_hardlink(u, hard, parent, leaf);
	r = make_entry(u, tar, e, parent, leaf);
	if (r == 0 && whiteout && type == AE_IFDIR)
		r = make_whiteout(u, parent, leaf);
	if (r == 0)
		r = set_owner_and_mode(u, e, parent, leaf);
	return r < 0 ? r : set_xattrs(u, e, parent, leaf);
}

static void set_folder_times(struct unpacker *u)
{
	um_vec_foreach (d, &u->dirs) {
		struct timespec times[2] = {{0, UTIME_OMIT}, d->mtime};
		char path[PATH_MAX], leaf[NAME_MAX + 1];
		_cleanup_close_ int parent = -1;

		if (split_name(d->path, path, leaf) && (parent = open_parent(u, path)) >= 0)
			(void)utimensat(parent, leaf, times, AT_SYMLINK_NOFOLLOW);
		free(d->path);
	}
	um_vec_release(&u->dirs);
}

static int read_entries(struct unpacker *u, struct archive *tar)
{
	struct archive_entry *e;
	int r;

	while ((r = archive_read_next_header(tar, &e)) == ARCHIVE_OK || r == ARCHIVE_WARN) {
		if (++u->st->entries > UNPACK_MAX_ENTRIES)
			return um_error_set(u->err, -E2BIG, "the image has more than %d files",
					    UNPACK_MAX_ENTRIES);
		r = unpack_entry(u, tar, e);
		if (r < 0)
			return r;
	}
	return r == ARCHIVE_EOF ? 0 : archive_error(tar, u->err, "damaged layer");
}

int unpack_layer(int fd, int dirfd, struct unpack_stats *st, char ret_diff_id[UM_DIGEST_LEN + 1],
		 struct um_error *err)
{
	struct unpacker u = {.root = dirfd, .st = st, .err = err};
	struct pipe_through *p = calloc(1, sizeof(*p));
	struct archive *tar = archive_read_new();
	const void *rest;
	int r = -ENOMEM;

	if (p) {
		p->raw = open_raw(fd, err);
		p->digest = um_digest_new();
	}
	if (!p || !p->digest || !tar)
		um_error_errno(err, -ENOMEM, "unpack");
	else if (!p->raw)
		r = err ? err->code : -EBADMSG;
	else {
		archive_read_support_format_tar(tar);
		archive_read_support_format_empty(tar);
		r = archive_read_open(tar, p, NULL, pipe_read, NULL) == ARCHIVE_OK
			    ? read_entries(&u, tar)
			    : archive_error(tar, err, "not a tar archive");
		/* The digest is over all bytes, the padding behind the last entry too. */
		while (r == 0 && !p->ended)
			if (pipe_read(tar, p, &rest) < 0)
				r = archive_error(tar, err, "damaged layer");
		if (r == 0)
			um_digest_end(p->digest, ret_diff_id);
	}
	set_folder_times(&u);
	if (tar)
		archive_read_free(tar);
	if (p) {
		if (p->raw)
			archive_read_free(p->raw);
		um_digest_free(p->digest);
	}
	free(p);
	return r;
}
