/* Processes of a group: list, freeze, signal, kill. */
#include "cgroups/internal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/num.h"
#include "base/sys.h"
#include "base/vec.h"

#define FREEZE_TRIES 5000 /* of 2 ms */

typedef UM_VEC(pid_t) pid_vec;

static int collect(int dir, pid_vec *v, unsigned depth)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(8 << 20);
	_cleanup_closedir_ DIR *d = NULL;
	int fd, r = um_io_read_file(dir, "cgroup.procs", &b, NULL);
	struct dirent *e;

	if (r == -ENODEV || r == -ENOENT)
		return 0; /* removed meanwhile */
	if (r < 0)
		return r;
	for (const char *p = um_buf_str(&b); *p;) {
		size_t len = strcspn(p, "\n");
		uint64_t pid;

		if (!um_num_u64n(p, len, INT32_MAX, &pid) && pid && um_vec_push(v, (pid_t)pid) < 0)
			return -ENOMEM;
		p += len;
		p += *p == '\n';
	}
	if (depth > 64)
		return -ELOOP;
	fd = um_cgroup_open_dir(dir, ".");
	if (fd < 0)
		return fd == -ENOENT || fd == -ENODEV ? 0 : fd;
	d = fdopendir(fd);
	if (!d) {
		r = -errno;
		um_close(fd);
		return r;
	}
	while ((e = readdir(d))) {
		_cleanup_close_ int child = -1;

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		child = um_cgroup_open_dir(dir, e->d_name);
		if (child < 0)
			continue;
		r = collect(child, v, depth + 1);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The directory that knows the group's processes best: v2, else the first v1 one. */
static int any_dir(const struct um_cgroup *cg)
{
	int fd = um_cgroup_clone_fd(cg);

	for (size_t i = 0; fd < 0 && i < cg->host->n; i++)
		fd = cg->fds[i];
	return fd;
}

int um_cgroup_pids(const struct um_cgroup *cg, pid_t **ret, size_t *ret_n, struct um_error *err)
{
	pid_vec v = UM_VEC_INIT;
	int dir = any_dir(cg), r;

	r = dir < 0 ? -ENOENT : collect(dir, &v, 0);
	if (r < 0) {
		um_vec_release(&v);
		return um_error_errno(err, r, "list the processes of cgroup %s", cg->path);
	}
	*ret = v.items;
	*ret_n = v.len;
	return 0;
}

/* @ret_state: 1 frozen, 0 not. */
static int frozen_state(const struct um_cgroup *cg, bool *ret)
{
	int v2 = um_cgroup_clone_fd(cg), v1 = um_cgroup_find(cg->host, UM_CG_FREEZER);
	uint64_t n;
	char text[64];
	int r;

	if (v2 >= 0) {
		r = um_cgroup_read_key(v2, "cgroup.events", "frozen", &n);
		if (r >= 0)
			*ret = n == 1;
		return r;
	}
	if (v1 < 0 || cg->fds[v1] < 0)
		return -EOPNOTSUPP;
	r = um_cgroup_read(cg->fds[v1], "freezer.state", text, sizeof(text));
	if (r >= 0)
		*ret = !strncmp(text, "FROZEN", 6);
	return r;
}

int um_cgroup_is_frozen(const struct um_cgroup *cg, bool *ret, struct um_error *err)
{
	int r = frozen_state(cg, ret), v1 = um_cgroup_find(cg->host, UM_CG_FREEZER);
	char text[64];

	/* a hybrid host: we use that of v2, another may have used the other, or that of a parent */
	if (r >= 0 && !*ret && um_cgroup_clone_fd(cg) >= 0 && v1 >= 0 && cg->fds[v1] >= 0 &&
	    um_cgroup_read(cg->fds[v1], "freezer.state", text, sizeof(text)) >= 0)
		*ret = !strncmp(text, "FR", 2); /* FROZEN, FREEZING */
	return r < 0 ? um_error_errno(err, r, "read the freezer of cgroup %s", cg->path) : 0;
}

static int freeze_write(const struct um_cgroup *cg, bool freeze)
{
	int v2 = um_cgroup_clone_fd(cg), v1 = um_cgroup_find(cg->host, UM_CG_FREEZER);

	if (v2 >= 0)
		return um_io_write_value(v2, "cgroup.freeze", freeze ? "1" : "0");
	if (v1 < 0 || cg->fds[v1] < 0)
		return -EOPNOTSUPP;
	return um_io_write_value(cg->fds[v1], "freezer.state", freeze ? "FROZEN" : "THAWED");
}

int um_cgroup_freeze(const struct um_cgroup *cg, bool freeze, struct um_error *err)
{
	int r = freeze_write(cg, freeze);

	for (int i = 0; r >= 0 && i < FREEZE_TRIES; i++) {
		struct timespec wait = {0, 2 * 1000 * 1000};
		bool frozen = !freeze;

		r = frozen_state(cg, &frozen);
		if (r < 0 || frozen == freeze)
			return r < 0 ? um_error_errno(err, r, "freezer of cgroup %s", cg->path) : 0;
		nanosleep(&wait, NULL);
		if (um_cgroup_clone_fd(cg) < 0 && i % 50 == 49)
			r = freeze_write(cg, freeze); /* v1 can miss a process that forks */
	}
	if (r < 0)
		return um_error_errno(err, r, "%s cgroup %s: controller freezer",
				      freeze ? "freeze" : "thaw", cg->path);
	(void)!freeze_write(cg, false);
	return um_error_set(err, -ETIMEDOUT, "cgroup %s did not %s within 10 s", cg->path,
			    freeze ? "freeze" : "thaw");
}

int um_cgroup_signal(const struct um_cgroup *cg, int sig, struct um_error *err)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t n;
	int r = um_cgroup_pids(cg, &pids, &n, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		if (um_sys_kill(pids[i], sig) < 0 && errno != ESRCH)
			return um_error_errno(err, -errno, "signal process %d", pids[i]);
	return 0;
}

/* v1: nothing forks in a frozen group, so one pass reaches everybody; the signal is delivered when
 * the group thaws. Where there is no freezer, passes until the group is empty. */
static int kill_v1(const struct um_cgroup *cg, struct um_error *err)
{
	for (int pass = 0; pass < 200; pass++) {
		_cleanup_free_ pid_t *pids = NULL;
		struct timespec wait = {0, 1000 * 1000};
		bool held = freeze_write(cg, true) >= 0;
		size_t n = 0;
		int r = um_cgroup_pids(cg, &pids, &n, err);

		for (size_t i = 0; r >= 0 && i < n; i++)
			um_sys_kill(pids[i], SIGKILL);
		if (held)
			(void)!freeze_write(cg, false);
		if (r < 0)
			return r;
		if (!n)
			return 0;
		nanosleep(&wait, NULL);
	}
	return um_error_set(err, -EBUSY, "cgroup %s still has processes", cg->path);
}

int um_cgroup_kill(const struct um_cgroup *cg, struct um_error *err)
{
	int v2 = um_cgroup_clone_fd(cg), r;

	if (v2 < 0)
		return kill_v1(cg, err);
	r = um_io_write_value(v2, "cgroup.kill", "1");
	/* removed meanwhile: its last process had ended */
	if (r == -ENODEV || (r == -ENOENT && faccessat(v2, "cgroup.procs", F_OK, 0) < 0))
		return 0;
	if (r < 0)
		return um_error_errno(err, r, "write cgroup.kill of %s", cg->path);
	return 0;
}
