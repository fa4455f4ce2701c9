/* What a group uses, and notices of its OOM kills. */
#include "cgroups/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#include "base/io.h"
#include "base/num.h"

int um_cgroup_read_u64(int dirfd, const char *file, uint64_t *ret)
{
	char text[64];
	int r = um_cgroup_read(dirfd, file, text, sizeof(text));

	if (r < 0)
		return r;
	return um_num_u64n(text, strcspn(text, "\n"), UINT64_MAX, ret);
}

static int find_key(const char *text, const char *key, uint64_t *ret)
{
	size_t len = strlen(key);

	for (const char *p = text; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
		if (!strncmp(p, key, len) && p[len] == ' ')
			return um_num_u64n(p + len + 1, strcspn(p + len + 1, "\n"), UINT64_MAX,
					   ret);
	return -ENODATA;
}

int um_cgroup_read_key(int dirfd, const char *file, const char *key, uint64_t *ret)
{
	char text[8192];
	int r = um_cgroup_read(dirfd, file, text, sizeof(text));

	return r < 0 ? r : find_key(text, key, ret);
}

static int dir_of(const struct um_cgroup *cg, enum um_cgroup_controller c, bool *v2)
{
	int i = um_cgroup_find(cg->host, c);

	if (i < 0 || cg->fds[i] < 0)
		return -1;
	*v2 = cg->host->h[i].v2;
	return cg->fds[i];
}

static void account_cpu(const struct um_cgroup *cg, struct um_cgroup_usage *u)
{
	bool v2 = false;
	int fd = dir_of(cg, UM_CG_CPUACCT, &v2);

	if (fd >= 0 && !um_cgroup_read_u64(fd, "cpuacct.usage", &u->cpu_usec)) {
		u->cpu_usec /= 1000;
		u->known |= UINT32_C(1) << UM_CG_CPU;
		return;
	}
	fd = um_cgroup_clone_fd(cg);
	if (fd >= 0 && !um_cgroup_read_key(fd, "cpu.stat", "usage_usec", &u->cpu_usec))
		u->known |= UINT32_C(1) << UM_CG_CPU;
}

static void account_memory(const struct um_cgroup *cg, struct um_cgroup_usage *u)
{
	bool v2 = false;
	int fd = dir_of(cg, UM_CG_MEMORY, &v2);

	if (fd < 0 || um_cgroup_read_u64(fd, v2 ? "memory.current" : "memory.usage_in_bytes",
					 &u->memory_bytes) < 0)
		return;
	u->known |= UINT32_C(1) << UM_CG_MEMORY;
	/* memory.peak came with Linux 6.5 */
	if (um_cgroup_read_u64(fd, v2 ? "memory.peak" : "memory.max_usage_in_bytes",
			       &u->memory_peak_bytes) < 0)
		u->memory_peak_bytes = u->memory_bytes;
	if (um_cgroup_read_key(fd, "memory.stat", v2 ? "inactive_file" : "total_inactive_file",
			       &u->memory_inactive_file_bytes) < 0)
		u->memory_inactive_file_bytes = 0;
	if (um_cgroup_read_key(fd, v2 ? "memory.events" : "memory.oom_control", "oom_kill",
			       &u->oom_kills) < 0)
		u->oom_kills = 0;
}

int um_cgroup_account(const struct um_cgroup *cg, struct um_cgroup_usage *ret, struct um_error *err)
{
	struct um_cgroup_usage u = {0};
	bool v2;
	int fd = dir_of(cg, UM_CG_PIDS, &v2);

	account_cpu(cg, &u);
	account_memory(cg, &u);
	if (fd >= 0 && !um_cgroup_read_u64(fd, "pids.current", &u.pids))
		u.known |= UINT32_C(1) << UM_CG_PIDS;
	if (!u.known)
		return um_error_set(err, -ENODATA, "cgroup %s: no controller answers", cg->path);
	*ret = u;
	return 0;
}

static int oom_open_v2(const struct um_cgroup *cg, int dir, struct um_cgroup_oom *o,
		       struct um_error *err)
{
	char path[64];

	o->file_fd = openat(dir, "memory.events", O_RDONLY | O_CLOEXEC);
	o->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", o->file_fd);
	if (o->file_fd < 0 || o->fd < 0 || inotify_add_watch(o->fd, path, IN_MODIFY) < 0)
		return um_error_errno(err, -errno, "watch memory.events of cgroup %s", cg->path);
	return 0;
}

static int oom_open_v1(const struct um_cgroup *cg, int dir, struct um_cgroup_oom *o,
		       struct um_error *err)
{
	char text[64];
	int r;

	o->file_fd = openat(dir, "memory.oom_control", O_RDONLY | O_CLOEXEC);
	o->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (o->file_fd < 0 || o->fd < 0)
		return um_error_errno(err, -errno, "open memory.oom_control of cgroup %s",
				      cg->path);
	snprintf(text, sizeof(text), "%d %d", o->fd, o->file_fd);
	r = um_io_write_value(dir, "cgroup.event_control", text);
	if (r < 0)
		return um_error_errno(err, r, "watch memory.oom_control of cgroup %s", cg->path);
	return 0;
}

int um_cgroup_oom_open(const struct um_cgroup *cg, struct um_cgroup_oom *ret, struct um_error *err)
{
	struct um_cgroup_oom o = {-1, -1, false};
	int dir = dir_of(cg, UM_CG_MEMORY, &o.v2), r;

	if (dir < 0)
		return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
					   "this host has no cgroup controller memory");
	r = o.v2 ? oom_open_v2(cg, dir, &o, err) : oom_open_v1(cg, dir, &o, err);
	if (r < 0) {
		um_cgroup_oom_close(&o);
		return r;
	}
	*ret = o;
	return 0;
}

int um_cgroup_oom_read(struct um_cgroup_oom *o, uint64_t *ret_kills)
{
	char text[4096];
	ssize_t n;

	while (read(o->fd, text, sizeof(text)) > 0)
		;
	n = pread(o->file_fd, text, sizeof(text) - 1, 0);
	if (n < 0)
		return -errno; /* -ENODEV: the group is gone */
	text[n] = '\0';
	return find_key(text, "oom_kill", ret_kills);
}

void um_cgroup_oom_close(struct um_cgroup_oom *o)
{
	o->fd = um_close(o->fd);
	o->file_fd = um_close(o->file_fd);
}
