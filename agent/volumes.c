/* A pod's volumes, made on a worker: configmaps and secrets as files on the memory-backed run
 * folder, in the layout that Kubernetes uses (..data is a link that is swapped), emptyDirs beside
 * the pod's saved object, hostPaths checked. */
#include "agent/internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/base64.h"
#include "base/io.h"
#include "base/quantity.h"

int volume_path(const struct agent_pod *p, const char *volume, const struct um_json *source,
		char *buf, size_t size)
{
	const char *host = um_json_get_str(source, "hostPath.path", NULL);
	const struct um_json *empty = um_json_get(source, "emptyDir");

	if (host)
		return um_io_path(buf, size, "%s", host);
	if (empty && strcmp(um_json_get_str(empty, "medium", ""), "Memory"))
		return pod_state_path(p, buf, size, "volumes/%s", volume);
	return pod_run_path(p, buf, size, "volumes/%s", volume);
}

/* ---- configmaps and secrets ---- */

/* A path of a key, as the API has checked it: relative, without "..". Checked again: it is foreign.
 */
static bool safe_path(const char *path)
{
	const char *s = path;

	if (!*path || *path == '/' || strlen(path) > 1000)
		return false;
	for (;;) {
		size_t n = strcspn(s, "/");

		if (!n || (n == 2 && !memcmp(s, "..", 2)) || (n == 1 && *s == '.'))
			return false;
		if (!s[n])
			return true;
		s += n + 1;
	}
}

static int write_key(int dirfd, const char *path, const char *data, size_t len, mode_t mode,
		     struct um_error *err)
{
	const char *slash = strrchr(path, '/');
	_cleanup_close_ int fd = -1;
	char parent[1024];
	int r;

	if (!safe_path(path))
		return um_error_set(err, -EINVAL, "volume path \"%s\" is not relative", path);
	if (slash) {
		snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
		r = um_io_mkdirs(dirfd, parent, 0755, err);
		if (r < 0)
			return r;
	}
	fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return um_error_errno(err, -errno, "create %s", path);
	r = um_io_write_all(fd, data, len);
	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	return r < 0 ? um_error_errno(err, r, "write %s", path) : 0;
}

struct keys {
	const struct um_json *items; /* of the volume's source: NULL means all */
	const struct um_json *obj;
	bool optional;
	unsigned mode;
	int dirfd;
};

static int write_one(struct um_arena *a, const struct keys *k, const char *key, const char *path,
		     unsigned mode, bool wanted, struct um_error *err)
{
	const struct um_json *text = um_json_get(um_json_get(k->obj, "data"), key);
	const struct um_json *binary = um_json_get(um_json_get(k->obj, "binaryData"), key);
	bool secret = !strcmp(um_json_get_str(k->obj, "kind", ""), "Secret");
	const struct um_json *v = text ? text : binary;
	size_t len;
	char *data;

	if (!um_json_is(v, UM_JSON_STR))
		return wanted && !k->optional
			       ? um_error_set(err, -ENOENT, "references non-existent key: %s", key)
			       : 0;
	if (text && !secret)
		return write_key(k->dirfd, path, v->str, v->len, mode, err);
	data = um_base64_decode(a, v->str, v->len, &len);
	if (!data)
		return um_error_set(err, -EINVAL, "key %s is not base64", key);
	return write_key(k->dirfd, path, data, len, mode, err);
}

static int write_keys(struct um_arena *a, const struct keys *k, struct um_error *err)
{
	static const char *const parts[] = {"data", "binaryData"};
	int r = 0;

	um_json_foreach (it, k->items) {
		r = write_one(a, k, um_json_get_str(it, "key", ""), um_json_get_str(it, "path", ""),
			      (unsigned)um_json_get_i64(it, "mode", k->mode), true, err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < UM_ARRAY_LEN(parts) && !k->items; i++) {
		um_json_foreach (it, um_json_get(k->obj, parts[i])) {
			r = write_one(a, k, it->key, it->key, k->mode, false, err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* Links each top-level entry of ..data beside it. */
static int link_entries(int dirfd, int datafd, struct um_error *err)
{
	int own = openat(datafd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = own >= 0 ? fdopendir(own) : NULL;
	struct dirent *e;

	if (!d) {
		um_close(own);
		return um_error_errno(err, -errno, "read the volume");
	}
	while ((e = readdir(d))) {
		char target[300];

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(target, sizeof(target), "..data/%s", e->d_name);
		if (symlinkat(target, dirfd, e->d_name) < 0 && errno != EEXIST)
			return um_error_errno(err, -errno, "link %s", e->d_name);
	}
	return 0;
}

static int make_key_volume(const struct agent_pod *p, const char *path,
			   const struct um_json *source, const char *plural, const char *name,
			   struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(8 << 20);
	_cleanup_close_ int dirfd = -1, datafd = -1;
	struct keys k = {
		.items = um_json_get(source, "items"),
		.obj = refs_get(p, plural, name),
		.optional = um_json_get_bool(source, "optional", false),
		.mode = (unsigned)um_json_get_i64(source, "defaultMode", 0644) & 0777,
	};
	int r;

	if (!a)
		return um_error_errno(err, -ENOMEM, "volume %s", name);
	if (!k.obj && !k.optional)
		return um_error_set(err, -ENOENT, "%s \"%s\" not found", plural, name);
	r = um_io_remove_tree(AT_FDCWD, path, err); /* of a try that failed half way */
	if (r == 0)
		r = um_io_mkdirs(AT_FDCWD, path, 0755, err);
	if (r < 0)
		return r;
	dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dirfd < 0 || mkdirat(dirfd, "..1", 0755) < 0)
		return um_error_errno(err, -errno, "make %s", path);
	datafd = k.dirfd = openat(dirfd, "..1", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (datafd < 0)
		return um_error_errno(err, -errno, "open %s/..1", path);
	r = k.obj ? write_keys(a, &k, err) : 0;
	if (r == 0 && symlinkat("..1", dirfd, "..data") < 0)
		r = um_error_errno(err, -errno, "link %s/..data", path);
	return r < 0 ? r : link_entries(dirfd, datafd, err);
}

/* ---- emptyDir ---- */

static int make_empty(const char *path, const struct um_json *source, struct um_error *err)
{
	const char *limit = um_json_get_str(source, "sizeLimit", NULL);
	char data[64] = "mode=1777";
	int64_t bytes;
	int r = um_io_mkdirs(AT_FDCWD, path, 0777, err);

	if (r < 0)
		return r;
	if (strcmp(um_json_get_str(source, "medium", ""), "Memory"))
		return chmod(path, 0777) < 0 ? um_error_errno(err, -errno, "chmod %s", path) : 0;
	/* An earlier try may have come this far. One mount upon another would never be removed. */
	while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	if (limit && um_quantity_value(limit, &bytes) == 0 && bytes > 0)
		snprintf(data, sizeof(data), "mode=1777,size=%lld", (long long)bytes);
	if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, data) < 0)
		return um_error_errno(err, -errno, "mount a tmpfs at %s", path);
	return 0;
}

/* ---- hostPath ---- */

static const struct {
	const char *type;
	mode_t format; /* what it must be; 0: anything */
	bool create;
} host_types[] = {
	{"", 0, false},
	{"DirectoryOrCreate", S_IFDIR, true},
	{"Directory", S_IFDIR, false},
	{"FileOrCreate", S_IFREG, true},
	{"File", S_IFREG, false},
	{"Socket", S_IFSOCK, false},
	{"CharDevice", S_IFCHR, false},
	{"BlockDevice", S_IFBLK, false},
};

static int check_host(const struct um_json *source, struct um_error *err)
{
	const char *path = um_json_get_str(source, "path", "");
	const char *type = um_json_get_str(source, "type", "");
	struct stat st;
	size_t i;
	int fd;

	for (i = 0; i < UM_ARRAY_LEN(host_types); i++)
		if (!strcmp(type, host_types[i].type))
			break;
	if (i == UM_ARRAY_LEN(host_types))
		return um_error_set(err, -EINVAL, "hostPath type \"%s\" is unknown", type);
	if (host_types[i].create && host_types[i].format == S_IFDIR && access(path, F_OK) < 0) {
		int r = um_io_mkdirs(AT_FDCWD, path, 0755, err);

		if (r < 0)
			return r;
	} else if (host_types[i].create && host_types[i].format == S_IFREG) {
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		if (fd < 0)
			return um_error_errno(err, -errno, "hostPath %s: create", path);
		close(fd);
	}
	if (stat(path, &st) < 0)
		return um_error_errno(err, -errno, "hostPath %s", path);
	if (host_types[i].format && (st.st_mode & S_IFMT) != host_types[i].format)
		return um_error_set(err, -EINVAL, "hostPath type check failed: %s is not a %s",
				    path, type);
	return 0;
}

static int make_volume(const struct agent_pod *p, const struct um_json *v, struct um_error *err)
{
	const char *name = um_json_get_str(v, "name", "");
	const struct um_json *source;
	char path[4096];
	int r = volume_path(p, name, v, path, sizeof(path));

	if (r < 0)
		return um_error_errno(err, r, "path of volume %s", name);
	if ((source = um_json_get(v, "configMap")))
		return make_key_volume(p, path, source, "configmaps",
				       um_json_get_str(source, "name", ""), err);
	if ((source = um_json_get(v, "secret")))
		return make_key_volume(p, path, source, "secrets",
				       um_json_get_str(source, "secretName", ""), err);
	if ((source = um_json_get(v, "hostPath")))
		return check_host(source, err);
	if ((source = um_json_get(v, "emptyDir")))
		return make_empty(path, source, err);
	return um_error_set(err, -EOPNOTSUPP, "volume %s: its kind is not supported", name);
}

void volumes_work(struct agent_job *j)
{
	um_json_foreach (v, um_json_path(j->pod->obj, "spec.volumes")) {
		j->result = make_volume(j->pod, v, &j->err);
		if (j->result < 0) {
			um_error_wrap(&j->err, j->result,
				      "MountVolume.SetUp failed for volume \"%s\"",
				      um_json_get_str(v, "name", ""));
			return;
		}
	}
	j->result = adopt_save_refs(j->pod, &j->err);
}
