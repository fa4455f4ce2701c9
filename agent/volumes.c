/* A pod's volumes, made on a worker: files of keys (projection.h) on the memory-backed run folder,
 * emptyDirs beside the pod's saved object, hostPaths checked. */
#include "agent/internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "agent/projection.h"
#include "base/fault.h"
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

/* fsGroup; (gid_t)-1: none. */
static gid_t fs_group(const struct agent_pod *p)
{
	return (gid_t)um_json_get_i64(p->obj, "spec.securityContext.fsGroup", -1);
}

/* ---- files of keys ---- */

/* On the memory-backed run folder. */
static int make_keys(const struct agent_pod *p, const struct um_json *v, const char *path,
		     bool lenient, struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(2 * VOLUME_FILES_MAX_BYTES);
	struct volume_files files;
	int r;

	if (!a)
		return um_error_errno(err, -ENOMEM, "make %s", path);
	volume_files_init(&files, a);
	files.gid = fs_group(p);
	r = projection_files(p, v, lenient, &files, err);
	return r < 0 ? r : volume_write(path, &files, NULL, err);
}

/* ---- emptyDir ---- */

/* What is made in it later has the group, too. */
static int share(const char *path, gid_t group, struct um_error *err)
{
	bool any = group != (gid_t)-1;

	if ((any && lchown(path, (uid_t)-1, group) < 0) || chmod(path, any ? 02777 : 0777) < 0)
		return um_error_errno(err, -errno, "give %s to its group", path);
	return 0;
}

static int make_empty(const char *path, const struct um_json *source, gid_t group,
		      struct um_error *err)
{
	const char *limit = um_json_get_str(source, "sizeLimit", NULL);
	char data[64] = "mode=0777";
	int64_t bytes;
	int r = um_io_mkdirs(AT_FDCWD, path, 0777, err);

	if (r < 0)
		return r;
	if (strcmp(um_json_get_str(source, "medium", ""), "Memory"))
		return share(path, group, err);
	/* An earlier try may have come this far. One mount upon another would never be removed. */
	while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	if (limit && um_quantity_value(limit, &bytes) == 0 && bytes > 0)
		snprintf(data, sizeof(data), "mode=0777,size=%lld", (long long)bytes);
	if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, data) < 0)
		return um_error_errno(err, -errno, "mount a tmpfs at %s", path);
	return share(path, group, err);
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
	if (projection_is(v))
		return make_keys(p, v, path, p->refs_waived, err);
	if ((source = um_json_get(v, "hostPath")))
		return check_host(source, err);
	if ((source = um_json_get(v, "emptyDir")))
		return make_empty(path, source, fs_group(p), err);
	return um_error_set(err, -EOPNOTSUPP, "volume %s: its kind is not supported", name);
}

static int failed(const struct um_json *v, int r, struct um_error *err)
{
	return um_error_wrap(err, r, "MountVolume.SetUp failed for volume \"%s\"",
			     um_json_get_str(v, "name", ""));
}

void volumes_work(struct agent_job *j)
{
	um_json_foreach (v, um_json_path(j->pod->obj, "spec.volumes")) {
		j->result = make_volume(j->pod, v, &j->err);
		if (j->result < 0) {
			failed(v, j->result, &j->err);
			return;
		}
	}
	j->result = adopt_save_refs(j->pod, &j->err);
}

/* One that cannot be written keeps what it has; the others go on. */
void volumes_refresh_work(struct agent_job *j)
{
	int r;

	um_json_foreach (v, um_json_path(j->pod->obj, "spec.volumes")) {
		struct um_error own = UM_ERROR_INIT;
		char path[4096];

		if (!projection_is(v))
			continue;
		r = volume_path(j->pod, um_json_get_str(v, "name", ""), v, path, sizeof(path));
		if (r == 0)
			r = make_keys(j->pod, v, path, true, &own);
		if (r < 0 && j->result == 0) {
			j->result = failed(v, r, &own);
			um_error_move(&j->err, &own);
		}
	}
	UM_FAULT("agent.volume.refreshed");
	r = adopt_save_refs(j->pod, j->result < 0 ? NULL : &j->err);
	if (j->result == 0)
		j->result = r;
}
