#include "runtime/state.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/fault.h"
#include "base/io.h"
#include "base/num.h"
#include "runtime/sys.h"

const char *um_runtime_status_name(enum um_runtime_status s)
{
	static const char *const names[] = {"creating", "created", "running", "paused", "stopped"};

	return names[s];
}

int um_runtime_check_id(const char *id, struct um_error *err)
{
	static const char ok[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.";
	size_t len = strlen(id), good = strspn(id, ok);

	if (good < len)
		return um_error_set(err, -EINVAL,
				    "invalid container ID \"%.100s\": invalid character '%c'", id,
				    id[good]);
	if (!len || len > 255 || id[0] == '.')
		return um_error_set(err, -EINVAL, "invalid container ID \"%.100s\": %s", id,
				    !len	? "it is empty"
				    : len > 255 ? "more than 255 characters"
						: "it begins with a dot");
	return 0;
}

static int open_root(const struct um_runtime *rt, bool create, int *ret, struct um_error *err)
{
	int r, fd;

	if (create) {
		um_why("the folder with the states of all containers");
		r = um_io_mkdirs(AT_FDCWD, rt->root, 0700, err);
		if (r < 0)
			return r;
	}
	fd = open(rt->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return um_error_errno(err, -errno, "open %s", rt->root);
	*ret = fd;
	return 0;
}

int um_state_make(const struct um_runtime *rt, const char *id, int *ret_dir, struct um_error *err)
{
	_cleanup_close_ int root = -1, dir = -1;
	int r = um_runtime_check_id(id, err);

	if (r >= 0)
		r = open_root(rt, true, &root, err);
	if (r < 0)
		return r;
	um_why("the container's state folder: the id is taken from here on");
	if (um_sys_mkdirat(root, id, 0700) < 0) {
		if (errno == EEXIST)
			return um_error_set(err, -EEXIST, "container with id %s exists already",
					    id);
		return um_error_errno(err, -errno, "mkdir %s/%s", rt->root, id);
	}
	UM_FAULT("runtime.state.made");
	dir = openat(root, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0 || flock(dir, LOCK_EX) < 0) {
		r = -errno;
		um_sys_unlinkat(root, id, AT_REMOVEDIR);
		return um_error_errno(err, r, "lock %s/%s", rt->root, id);
	}
	*ret_dir = TAKE_FD(dir);
	return 0;
}

int um_state_open(const struct um_runtime *rt, const char *id, int *ret_dir, struct um_error *err)
{
	_cleanup_close_ int root = -1;
	struct um_error e = UM_ERROR_INIT;
	int dir, r = um_runtime_check_id(id, err);

	if (r < 0)
		return r;
	r = open_root(rt, false, &root, &e);
	if (r < 0 && r != -ENOENT)
		return um_error_move(err, &e);
	dir = r < 0 ? -1 : openat(root, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0) {
		r = r < 0 ? r : -errno;
		if (r == -ENOENT)
			return um_error_set(err, r, "container %s does not exist", id);
		return um_error_errno(err, r, "open %s/%s", rt->root, id);
	}
	*ret_dir = dir;
	return 0;
}

int um_state_lock(const struct um_runtime *rt, const char *id, int *ret_dir, struct um_error *err)
{
	_cleanup_close_ int dir = -1;
	struct stat st;
	int r = um_state_open(rt, id, &dir, err);

	if (r < 0)
		return r;
	while (flock(dir, LOCK_EX) < 0)
		if (errno != EINTR)
			return um_error_errno(err, -errno, "lock %s/%s", rt->root, id);
	/* deleted while we waited */
	if (fstat(dir, &st) < 0 || st.st_nlink == 0)
		return um_error_set(err, -ENOENT, "container %s does not exist", id);
	*ret_dir = TAKE_FD(dir);
	return 0;
}

int um_state_remove(const struct um_runtime *rt, const char *id, struct um_error *err)
{
	_cleanup_close_ int root = -1;
	int r = open_root(rt, false, &root, err);

	um_why("the state folder goes: the id is free again");
	return r < 0 ? r : um_io_remove_tree(root, id, err);
}

int um_state_save(int dir, const struct um_runtime_state *s, struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	struct um_json *o;
	int r;

	if (!a)
		return -ENOMEM;
	o = um_json_new_obj(a);
	um_json_set_str(a, o, "ociVersion", UM_SPEC_VERSION);
	um_json_set_str(a, o, "id", s->id);
	um_json_set_i64(a, o, "pid", s->pid);
	um_json_set_i64(a, o, "startTime", s->start_time);
	um_json_set_str(a, o, "bundle", s->bundle);
	um_json_set_str(a, o, "rootfs", s->rootfs);
	if (s->cgroup)
		um_json_set_str(a, o, "cgroup", s->cgroup);
	if (s->systemd_unit) {
		um_json_set_str(a, o, "systemdUnit", s->systemd_unit);
		um_json_set_bool(a, o, "systemdUser", s->systemd_user);
	}
	um_json_set_str(a, o, "created", s->created);
	um_json_set_i64(a, o, "owner", s->owner);
	if (s->annotations)
		um_json_set(a, o, "annotations", um_json_copy(a, s->annotations));
	if (um_arena_failed(a))
		return -ENOMEM;
	r = um_json_write(&b, o);
	if (r < 0)
		return um_error_errno(err, r, "encode state.json");
	return um_io_replace_file(dir, "state.json", b.data, b.len, 0600, UM_IO_NO_SYNC, err);
}

int um_state_process(pid_t pid, int64_t *ret_start_time)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(8192);
	char path[64], *p;
	int field = 2;
	uint64_t v;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (um_io_read_file(AT_FDCWD, path, &b, NULL) < 0)
		return -ESRCH;
	p = strrchr(um_buf_str(&b), ')'); /* the name may hold anything */
	if (!p || strlen(p) < 3 || p[2] == 'Z' || p[2] == 'X')
		return -ESRCH;
	for (p++; *p && field < 21; p++)
		field += *p == ' ';
	if (um_num_u64n(p, strcspn(p, " "), INT64_MAX, &v) < 0)
		return -ESRCH;
	*ret_start_time = (int64_t)v;
	return 0;
}

int um_state_pidfd(const struct um_runtime_state *s)
{
	_cleanup_close_ int fd = -1;
	int64_t start;

	if (s->pid <= 0)
		return -ESRCH;
	fd = um_sys_pidfd_open((int)s->pid);
	if (fd < 0)
		return -errno;
	if (um_state_process((pid_t)s->pid, &start) < 0 || start != s->start_time)
		return -ESRCH;
	return TAKE_FD(fd);
}

int um_state_pid_of(int pidfd)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(4096);
	char path[64], *p;
	uint64_t pid;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	if (um_io_read_file(AT_FDCWD, path, &b, NULL) < 0)
		return -ESRCH;
	p = strstr(um_buf_str(&b), "\nPid:\t");
	if (!p || um_num_u64n(p + 6, strcspn(p + 6, "\n"), INT32_MAX, &pid) < 0)
		return -ESRCH;
	return (int)pid;
}

static enum um_runtime_status find_status(int dir, const struct um_runtime_state *s)
{
	_cleanup_(um_cgroups_freep) struct um_cgroups *host = NULL;
	_cleanup_(um_cgroup_freep) struct um_cgroup *cg = NULL;
	bool frozen = false;
	int64_t start;

	if (s->pid <= 0) {
		/* the creator holds the lock as long as it works */
		if (flock(dir, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK)
			return UM_RUNTIME_CREATING;
		return UM_RUNTIME_STOPPED;
	}
	if (um_state_process((pid_t)s->pid, &start) < 0 || start != s->start_time)
		return UM_RUNTIME_STOPPED;
	if (s->cgroup && um_cgroups_open(&host, NULL) >= 0 &&
	    um_cgroup_open(host, s->cgroup, &cg, NULL) >= 0 &&
	    um_cgroup_is_frozen(cg, &frozen, NULL) >= 0 && frozen)
		return UM_RUNTIME_PAUSED;
	if (faccessat(dir, UM_STATE_SOCKET, F_OK, 0) == 0)
		return UM_RUNTIME_CREATED;
	return UM_RUNTIME_RUNNING;
}

int um_state_load(int dir, const char *id, struct um_arena *a, struct um_runtime_state *ret,
		  struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	struct um_runtime_state s = {0};
	struct um_json *o = NULL;
	int r = um_io_read_file(dir, "state.json", &b, err);

	if (r == -ENOENT) {
		s.id = um_arena_strdup(a, id);
		s.bundle = s.rootfs = s.created = "";
	} else {
		if (r >= 0)
			r = um_json_parse(a, um_buf_str(&b), b.len, NULL, &o, err);
		if (r < 0)
			return um_error_wrap(err, r, "state of container %s", id);
		s.id = um_json_get_str(o, "id", id);
		s.bundle = um_json_get_str(o, "bundle", "");
		s.rootfs = um_json_get_str(o, "rootfs", "");
		s.cgroup = um_json_get_str(o, "cgroup", NULL);
		s.systemd_unit = um_json_get_str(o, "systemdUnit", NULL);
		s.systemd_user = um_json_get_bool(o, "systemdUser", false);
		s.created = um_json_get_str(o, "created", "");
		s.pid = um_json_get_i64(o, "pid", 0);
		s.start_time = um_json_get_i64(o, "startTime", 0);
		s.owner = (uint32_t)um_json_get_i64(o, "owner", 0);
		s.annotations = um_json_get(o, "annotations");
	}
	s.status = find_status(dir, &s);
	*ret = s;
	return 0;
}

int um_state_open_cgroup(const struct um_runtime_state *s, struct um_cgroups **host,
			 struct um_cgroup **cg, struct um_error *err)
{
	int r;

	if (!s->cgroup)
		return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
					   "container %s has no cgroup", s->id);
	r = um_cgroups_open(host, err);
	return r < 0 ? r : um_cgroup_open(*host, s->cgroup, cg, err);
}

int um_state_open_init_cgroup(const struct um_runtime_state *s, const struct um_cgroups *host,
			      struct um_cgroup **ret)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(65536);
	size_t len = strlen(s->cgroup);
	char path[64], *line;

	snprintf(path, sizeof(path), "/proc/%lld/cgroup", (long long)s->pid);
	if (um_io_read_file(AT_FDCWD, path, &b, NULL) < 0)
		return -ESRCH;
	line = !strncmp(um_buf_str(&b), "0::", 3) ? b.data : strstr(um_buf_str(&b), "\n0::");
	if (!line)
		return -ENOENT;
	line = strchr(line, '/');
	if (!line)
		return -ENOENT;
	line[strcspn(line, "\n")] = '\0';
	if (strncmp(line, s->cgroup, len) || line[len] != '/' ||
	    um_cgroup_check_path(line, NULL) < 0)
		return -EXDEV;
	return um_cgroup_open(host, line, ret, NULL);
}

int um_state_hook_json(struct um_arena *a, const char *id, const char *status, int64_t pid,
		       const char *bundle, const struct um_spec *spec, const char **ret)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	struct um_json *o = um_json_new_obj(a), *ann = um_json_new_obj(a);

	um_json_set_str(a, o, "ociVersion", UM_SPEC_VERSION);
	um_json_set_str(a, o, "id", id);
	um_json_set_str(a, o, "status", status);
	if (pid > 0)
		um_json_set_i64(a, o, "pid", pid);
	um_json_set_str(a, o, "bundle", bundle);
	for (size_t i = 0; i < spec->n_annotations; i++)
		um_json_set_str(a, ann, spec->annotations[i].key, spec->annotations[i].value);
	if (spec->n_annotations)
		um_json_set(a, o, "annotations", ann);
	if (um_arena_failed(a) || um_json_write(&b, o) < 0)
		return -ENOMEM;
	*ret = um_arena_strdup(a, um_buf_str(&b));
	return *ret ? 0 : -ENOMEM;
}
