#include "agent/volume_write.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fault.h"
#include "base/io.h"

#define DATA "..data"
#define DATA_NEW "..data_tmp"
#define PATH_BYTES_MAX 1000
#define NAMES_MAX 100 /* tries to find one that is free */

/* ---- the files ---- */

void volume_files_init(struct volume_files *v, struct um_arena *a)
{
	*v = (struct volume_files){.a = a, .gid = (gid_t)-1};
	v->end = &v->first;
}

/* Without empty parts and "."; NULL: it is none. */
static char *clean_path(struct um_arena *a, const char *path)
{
	size_t len = strlen(path);
	char *out, *to;

	if (!len || *path == '/' || len > PATH_BYTES_MAX || !strncmp(path, "..", 2))
		return NULL;
	out = to = um_arena_strndup(a, path, len);
	for (const char *s = path; out && *s;) {
		size_t n = strcspn(s, "/");

		if (n > NAME_MAX || (n == 2 && !memcmp(s, "..", 2)))
			return NULL;
		if (n && !(n == 1 && *s == '.')) {
			if (to != out)
				*to++ = '/';
			memcpy(to, s, n);
			to += n;
		}
		s += n + (s[n] == '/');
	}
	if (!out || to == out)
		return NULL;
	*to = '\0';
	/* "./..data" */
	return strncmp(out, "..", 2) ? out : NULL;
}

int volume_files_put(struct volume_files *v, const char *path, const char *data, size_t len,
		     mode_t mode, uid_t uid, struct um_error *err)
{
	char *clean = clean_path(v->a, path);
	struct volume_file *f;

	if (um_arena_failed(v->a))
		return um_error_set(err, -ENOMEM, "volume path \"%.100s\": out of memory", path);
	if (!clean)
		return um_error_set(err, -EINVAL,
				    "volume path \"%.100s\" is not relative, or leaves the volume",
				    path);
	if (len > VOLUME_FILES_MAX_BYTES - v->bytes)
		return um_error_set(err, -EMSGSIZE, "the volume is larger than %u bytes",
				    VOLUME_FILES_MAX_BYTES);
	for (f = v->first; f; f = f->next)
		if (!strcmp(f->path, clean))
			break;
	if (!f && v->n == VOLUME_FILES_MAX)
		return um_error_set(err, -E2BIG, "the volume has more than %u files",
				    VOLUME_FILES_MAX);
	if (!f) {
		v->n++;
		f = um_arena_new_of(v->a, struct volume_file);
		if (!f)
			return um_error_set(err, -ENOMEM, "volume path \"%.100s\": out of memory",
					    path);
		*v->end = f;
		v->end = &f->next;
	} else {
		v->bytes -= f->len;
	}
	f->path = clean;
	f->data = data;
	f->len = len;
	f->mode = (mode & 0777) | (v->gid == (gid_t)-1 ? 0 : 0440);
	f->uid = uid;
	v->bytes += len;
	return 0;
}

/* ---- what is there ---- */

static bool same_file(int dirfd, const struct volume_file *f, gid_t gid)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(f->len + 1);
	_cleanup_close_ int fd = openat(dirfd, f->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       (st.st_mode & 07777) == f->mode && (size_t)st.st_size == f->len &&
	       (f->uid == (uid_t)-1 || st.st_uid == f->uid) &&
	       (gid == (gid_t)-1 || st.st_gid == gid) && um_io_read_fd(fd, &b) == 0 &&
	       b.len == f->len && !memcmp(um_buf_str(&b), f->data, f->len);
}

static int count_files(int dirfd, const char *name, size_t *n, struct um_error *err)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_closedir_ DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;
	int r = 0;

	if (!d) {
		um_close(fd);
		return um_error_errno(err, -errno, "read %s", name);
	}
	while (r == 0 && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (e->d_type == DT_DIR)
			r = count_files(fd, e->d_name, n, err);
		else
			(*n)++;
	}
	return r;
}

/* The dated folder that ..data leads to, when its files are just these. */
static bool is_current(int dirfd, const struct volume_files *v, char now[NAME_MAX + 1])
{
	_cleanup_close_ int fd = -1;
	ssize_t len = readlinkat(dirfd, DATA, now, NAME_MAX);
	size_t want = 0, have = 0;

	now[len > 0 ? len : 0] = '\0';
	if (len <= 2 || strncmp(now, "..", 2) || strchr(now, '/'))
		return false;
	fd = openat(dirfd, now, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	for (const struct volume_file *f = v->first; f; f = f->next, want++)
		if (!same_file(fd, f, v->gid))
			return false;
	return count_files(fd, ".", &have, NULL) == 0 && have == want;
}

/* ---- a new generation ---- */

static int write_one(int dirfd, const struct volume_file *f, gid_t gid, struct um_error *err)
{
	const char *slash = strrchr(f->path, '/');
	_cleanup_close_ int fd = -1;
	char parent[PATH_BYTES_MAX + 1];
	int r;

	if (slash) {
		snprintf(parent, sizeof(parent), "%.*s", (int)(slash - f->path), f->path);
		r = um_io_mkdirs(dirfd, parent, 0755, err);
		if (r < 0)
			return r;
	}
	fd = openat(dirfd, f->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return um_error_errno(err, -errno, "create %s", f->path);
	r = um_io_write_all(fd, f->data, f->len);
	if (r == 0 && (f->uid != (uid_t)-1 || gid != (gid_t)-1) && fchown(fd, f->uid, gid) < 0)
		r = -errno;
	if (r == 0 && fchmod(fd, f->mode) < 0)
		r = -errno;
	return r < 0 ? um_error_errno(err, r, "write %s", f->path) : 0;
}

static int make_dated(int dirfd, char name[NAME_MAX + 1], struct um_error *err)
{
	struct timespec ts;
	struct tm tm;
	char stamp[64];

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "..%Y_%m_%d_%H_%M_%S", &tm);
	for (unsigned i = 0; i < NAMES_MAX; i++) {
		snprintf(name, NAME_MAX + 1, "%s.%09lu", stamp, (unsigned long)ts.tv_nsec + i);
		if (mkdirat(dirfd, name, 0755) == 0)
			return fchmodat(dirfd, name, 0755, 0) < 0
				       ? um_error_errno(err, -errno, "chmod %s", name)
				       : 0;
		if (errno != EEXIST)
			break;
	}
	return um_error_errno(err, -errno, "make %s", name);
}

static int write_generation(int dirfd, const struct volume_files *v, char name[NAME_MAX + 1],
			    struct um_error *err)
{
	_cleanup_close_ int fd = -1;
	int r = make_dated(dirfd, name, err);

	if (r < 0)
		return r;
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return um_error_errno(err, -errno, "open %s", name);
	for (const struct volume_file *f = v->first; f; f = f->next) {
		r = write_one(fd, f, v->gid, err);
		UM_FAULT("agent.volume.file");
		if (r < 0)
			return r;
	}
	return 0;
}

static int swap(int dirfd, const char *name, struct um_error *err)
{
	if (unlinkat(dirfd, DATA_NEW, 0) < 0 && errno != ENOENT)
		return um_error_errno(err, -errno, "remove " DATA_NEW);
	if (symlinkat(name, dirfd, DATA_NEW) < 0)
		return um_error_errno(err, -errno, "link " DATA_NEW);
	UM_FAULT("agent.volume.linked");
	if (renameat(dirfd, DATA_NEW, dirfd, DATA) < 0)
		return um_error_errno(err, -errno, "rename " DATA_NEW);
	return 0;
}

/* ---- beside it ---- */

/* The first part of a path: what containers see in the volume. */
static bool is_entry(const struct volume_files *v, const char *name)
{
	size_t n = strlen(name);

	for (const struct volume_file *f = v->first; f; f = f->next)
		if (!strncmp(f->path, name, n) && (!f->path[n] || f->path[n] == '/'))
			return true;
	return false;
}

static int link_entries(int dirfd, const struct volume_files *v, struct um_error *err)
{
	for (const struct volume_file *f = v->first; f; f = f->next) {
		char name[NAME_MAX + 1], target[NAME_MAX + 16];

		snprintf(name, sizeof(name), "%.*s", (int)strcspn(f->path, "/"), f->path);
		snprintf(target, sizeof(target), DATA "/%s", name);
		if (symlinkat(target, dirfd, name) < 0 && errno != EEXIST)
			return um_error_errno(err, -errno, "link %s", name);
	}
	return 0;
}

/* Links of files that are no more, and generations but @now. */
static int tidy(int dirfd, const struct volume_files *v, const char *now, struct um_error *err)
{
	int own = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = own >= 0 ? fdopendir(own) : NULL;
	struct dirent *e;
	int r = 0;

	if (!d) {
		um_close(own);
		return um_error_errno(err, -errno, "read the volume");
	}
	while (r == 0 && (e = readdir(d))) {
		const char *name = e->d_name;

		if (!strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, DATA) ||
		    !strcmp(name, now) || (strncmp(name, "..", 2) && is_entry(v, name)))
			continue;
		r = um_io_remove_tree(dirfd, name, err);
	}
	return r;
}

int volume_write(const char *dir, const struct volume_files *v, bool *ret_changed,
		 struct um_error *err)
{
	struct um_error ignored = UM_ERROR_INIT;
	_cleanup_close_ int dirfd = -1;
	char name[NAME_MAX + 1];
	bool current;
	int r = um_io_mkdirs(AT_FDCWD, dir, 0755, err);

	if (r < 0)
		return r;
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dirfd < 0)
		return um_error_errno(err, -errno, "open %s", dir);
	current = is_current(dirfd, v, name);
	if (!current) {
		r = write_generation(dirfd, v, name, err);
		UM_FAULT("agent.volume.written");
		if (r == 0)
			r = swap(dirfd, name, err);
		UM_FAULT("agent.volume.swapped");
		if (r < 0) {
			(void)!um_io_remove_tree(dirfd, name, &ignored);
			return r;
		}
	}
	r = link_entries(dirfd, v, err);
	if (r == 0)
		r = tidy(dirfd, v, name, err);
	UM_FAULT("agent.volume.tidied");
	if (ret_changed && r == 0)
		*ret_changed = !current;
	return r;
}
