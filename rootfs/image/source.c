/* What is imported: an OCI layout (folder or tar), a `docker save` archive, or the tar of a root
 * file system. */
#include <archive_entry.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "rootfs/image/import.h"

#define FILE_MAX_BYTES UNPACK_MAX_BYTES

/* "./a//b/../c" -> "a/c". False when it leaves the root or is too long. */
static bool clean_name(const char *name, char out[PATH_MAX])
{
	size_t len = 0;

	while (*name) {
		size_t n = strcspn(name, "/");

		if (n == 2 && !memcmp(name, "..", 2)) {
			if (!len)
				return false;
			while (len && out[len - 1] != '/')
				len--;
			len -= len != 0;
		} else if (n && !(n == 1 && *name == '.')) {
			if (len + n + 2 > PATH_MAX)
				return false;
			if (len)
				out[len++] = '/';
			memcpy(out + len, name, n);
			len += n;
		}
		name += n;
		name += *name == '/';
	}
	out[len] = '\0';
	return true;
}

static struct archive *open_tar(int fd, struct um_error *err)
{
	struct archive *ar = archive_read_new();

	if (!ar || lseek(fd, 0, SEEK_SET) < 0) {
		um_error_errno(err, ar ? -errno : -ENOMEM, "read the archive");
		archive_read_free(ar);
		return NULL;
	}
	archive_read_support_filter_gzip(ar);
	archive_read_support_filter_zstd(ar);
	archive_read_support_filter_xz(ar);
	archive_read_support_filter_bzip2(ar);
	archive_read_support_format_tar(ar);
	archive_read_support_format_empty(ar);
	if (archive_read_open_fd(ar, fd, 1 << 16) == ARCHIVE_OK)
		return ar;
	um_error_set(err, -EBADMSG, "not a tar archive, compressed or not: %s",
		     archive_error_string(ar) ? archive_error_string(ar) : "cannot be read");
	archive_read_free(ar);
	return NULL;
}

/* Looks at the names only. */
static int detect_tar(struct source *s, struct um_error *err)
{
	struct archive *ar = open_tar(s->fd, err);
	bool oci = false, docker = false, index = false;
	struct archive_entry *e;
	int64_t entries = 0;
	int r;

	if (!ar)
		return err->code ? err->code : -EBADMSG;
	while ((r = archive_read_next_header(ar, &e)) == ARCHIVE_OK || r == ARCHIVE_WARN) {
		const char *name = archive_entry_pathname(e);
		char clean[PATH_MAX];

		if (++entries > UNPACK_MAX_ENTRIES)
			break;
		if (!name || !clean_name(name, clean))
			continue; /* the reading proper refuses it */
		oci |= !strcmp(clean, "oci-layout");
		index |= !strcmp(clean, "index.json");
		docker |= !strcmp(clean, "manifest.json");
		if (entries > SOURCE_MAX_FILES && !oci && !docker)
			break;
	}
	if (r != ARCHIVE_OK && r != ARCHIVE_WARN && r != ARCHIVE_EOF) {
		r = um_error_set(err, -EBADMSG, "%s: damaged archive: %s", s->path,
				 archive_error_string(ar) ? archive_error_string(ar) : "?");
		archive_read_free(ar);
		return r;
	}
	archive_read_free(ar);
	if (!entries)
		return um_error_set(err, -EBADMSG, "%s is empty", s->path);
	/* What docker saves since version 25 is both: the names are in manifest.json. */
	s->kind = docker ? SOURCE_DOCKER : oci && index ? SOURCE_OCI : SOURCE_ROOTFS;
	return 0;
}

static int copy_entry(struct source *s, struct archive *ar, int64_t number, int64_t *total,
		      struct um_error *err)
{
	_cleanup_close_ int fd = -1;
	char name[32];

	snprintf(name, sizeof(name), "f%lld", (long long)number);
	fd = openat(s->tmpfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return um_error_errno(err, -errno, "create a temporary file");
	for (;;) {
		const void *data;
		size_t len;
		la_int64_t at;
		int r = archive_read_data_block(ar, &data, &len, &at);

		if (r == ARCHIVE_EOF)
			return 0;
		if (r != ARCHIVE_OK)
			return um_error_set(err, -EBADMSG, "%s: damaged archive: %s", s->path,
					    archive_error_string(ar) ? archive_error_string(ar)
								     : "?");
		*total += (int64_t)len;
		if (*total > FILE_MAX_BYTES)
			return um_error_set(err, -E2BIG, "%s: too large", s->path);
		if (lseek(fd, at, SEEK_SET) < 0 || (r = um_io_write_all(fd, data, len)) < 0)
			return um_error_errno(err, r < 0 ? r : -errno, "write a temporary file");
	}
}

static int take_apart(struct source *s, struct um_error *err)
{
	struct archive *ar = open_tar(s->fd, err);
	struct archive_entry *e;
	int64_t number = 0, total = 0;
	int r = ar ? 0 : -EBADMSG, step = ARCHIVE_EOF;

	s->files = um_json_new_obj(s->a);
	while (r == 0 &&
	       ((step = archive_read_next_header(ar, &e)) == ARCHIVE_OK || step == ARCHIVE_WARN)) {
		const char *link = archive_entry_symlink(e), *hard = archive_entry_hardlink(e);
		const char *name = archive_entry_pathname(e);
		char clean[PATH_MAX], joined[PATH_MAX * 2], target[PATH_MAX];

		if (!name || !clean_name(name, clean)) {
			r = um_error_set(err, -EBADMSG, "%s: entry \"%.200s\" points outside",
					 s->path, name ? name : "");
			break;
		}
		if (++number > SOURCE_MAX_FILES) {
			r = um_error_set(err, -E2BIG, "%s: more than %d files", s->path,
					 SOURCE_MAX_FILES);
			break;
		}
		if (hard || (archive_entry_filetype(e) == AE_IFLNK && link)) {
			const char *slash = hard ? NULL : strrchr(clean, '/');

			snprintf(joined, sizeof(joined), "%.*s/%s",
				 slash ? (int)(slash - clean) : 0, clean, hard ? hard : link);
			if (clean_name(joined, target))
				um_json_set_str(s->a, s->files, clean, target);
		} else if (archive_entry_filetype(e) == AE_IFREG) {
			r = copy_entry(s, ar, number, &total, err);
			um_json_set_i64(s->a, s->files, clean, number);
		}
	}
	if (r == 0 && step != ARCHIVE_EOF)
		r = um_error_set(err, -EBADMSG, "%s: damaged archive", s->path);
	if (ar)
		archive_read_free(ar);
	if (r == 0 && um_arena_failed(s->a))
		r = um_error_errno(err, -ENOMEM, "%s", s->path);
	return r;
}

int source_open(struct source *s, struct um_error *err)
{
	struct stat st;
	int r;

	if (fstat(s->fd, &st) < 0)
		return um_error_errno(err, -errno, "%s", s->path);
	s->is_dir = S_ISDIR(st.st_mode);
	if (s->is_dir) {
		if (faccessat(s->fd, "manifest.json", F_OK, 0) == 0)
			s->kind = SOURCE_DOCKER;
		else if (faccessat(s->fd, "index.json", F_OK, 0) == 0)
			s->kind = SOURCE_OCI;
		else
			return um_error_set(err, -EBADMSG,
					    "%s: a folder that is no OCI layout: index.json is "
					    "missing",
					    s->path);
		return 0;
	}
	if (!S_ISREG(st.st_mode))
		return um_error_set(err, -EINVAL,
				    "%s is neither a file nor a folder: a pipe or fifo must be "
				    "written to a file first",
				    s->path);
	r = detect_tar(s, err);
	if (r < 0 || s->kind == SOURCE_ROOTFS)
		return r;
	return take_apart(s, err);
}

int source_file(struct source *s, const char *name, struct um_error *err)
{
	const struct um_json *f;
	char clean[PATH_MAX], tmp[32];
	int fd;

	if (!clean_name(name, clean))
		return um_error_set(err, -EBADMSG, "%s: \"%s\" points outside", s->path, name);
	if (s->is_dir) {
		fd = um_io_openat2(s->fd, clean, O_RDONLY | O_NONBLOCK, 0,
				   RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
		return fd < 0 ? um_error_errno(err, fd, "%s: %s", s->path, clean) : fd;
	}
	f = um_json_get(s->files, clean);
	for (int hops = 0; um_json_is(f, UM_JSON_STR) && hops < 8; hops++)
		f = um_json_get(s->files, f->str);
	if (!um_json_is(f, UM_JSON_NUM))
		return um_error_set(err, -ENOENT, "%s: %s is missing", s->path, clean);
	snprintf(tmp, sizeof(tmp), "f%lld", (long long)um_json_i64(f, 0));
	fd = openat(s->tmpfd, tmp, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? um_error_errno(err, -errno, "%s: %s", s->path, clean) : fd;
}

int source_json(struct source *s, const char *name, const char *digest, struct um_buf *raw,
		struct um_json **ret, struct um_error *err)
{
	_cleanup_close_ int fd = source_file(s, name, err);
	char sum[UM_DIGEST_LEN + 1];
	int r;

	if (fd < 0)
		return fd;
	um_buf_clear(raw);
	r = um_io_read_fd(fd, raw);
	if (r < 0)
		return um_error_errno(err, r, "%s: %s", s->path, name);
	if (digest && (um_digest_of(um_buf_str(raw), raw->len, sum) < 0 || strcmp(sum, digest)))
		return um_error_set(err, -EBADMSG, "%s: %s does not match its digest", s->path,
				    name);
	r = um_json_parse(s->a, um_buf_str(raw), raw->len, NULL, ret, err);
	return r < 0 ? um_error_wrap(err, r, "%s: %s", s->path, name) : 0;
}

int source_blob(struct source *s, const char *digest, struct um_error *err)
{
	_cleanup_(um_digest_freep) struct um_digest *d = um_digest_new();
	char path[UM_BLOB_PATH_LEN], sum[UM_DIGEST_LEN + 1];
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *buf = malloc(1 << 16);
	ssize_t n;

	if (!um_digest_valid(digest))
		return um_error_set(err, -EBADMSG, "%s: \"%s\" is not a sha256 digest", s->path,
				    digest);
	um_blob_path(digest, path);
	fd = source_file(s, path, err);
	if (fd < 0)
		return fd;
	if (!d || !buf)
		return um_error_errno(err, -ENOMEM, "%s", s->path);
	while ((n = read(fd, buf, 1 << 16)) > 0)
		um_digest_add(d, buf, (size_t)n);
	um_digest_end(d, sum);
	if (n < 0 || strcmp(sum, digest))
		return um_error_set(err, -EBADMSG, "%s: blob %s does not match its digest", s->path,
				    digest);
	if (lseek(fd, 0, SEEK_SET) < 0)
		return um_error_errno(err, -errno, "%s", s->path);
	return TAKE_FD(fd);
}
