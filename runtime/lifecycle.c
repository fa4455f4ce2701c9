/* start, kill, delete, state, list, pause, resume, ps. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fault.h"
#include "base/io.h"
#include "base/vec.h"
#include "runtime/create.h"
#include "runtime/explain.h"
#include "runtime/hooks.h"
#include "runtime/hostmounts.h"
#include "runtime/state.h"
#include "runtime/sync.h"
#include "runtime/sys.h"

#define DEATH_WAIT_MS 10000

int um_runtime_run_hooks(int dir, const struct um_runtime_state *s, struct um_arena *a,
			 enum um_hook_kind kind, const char *status, struct um_error *err)
{
	_cleanup_(um_hooks_output_release) struct um_hooks_output output = UM_HOOKS_OUTPUT_NONE;
	struct um_spec *spec;
	const char *json;
	int r = um_spec_load(a, dir, "config.json", &spec, err);

	if (r < 0 || !spec->hooks[kind].n)
		return r;
	r = um_state_hook_json(a, s->id, status, s->pid, s->bundle, spec, &json);
	if (r >= 0)
		r = um_hooks_open_output(spec, &output, err);
	return r < 0 ? r
		     : um_hooks_run(&spec->hooks[kind], um_spec_hook_name(kind), json, NULL,
				    &output, err);
}

static int connect_start(int dir, int *ret, struct um_error *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/" UM_STATE_SOCKET, dir);
	if (fd < 0)
		return um_error_errno(err, -errno, "socket");
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	*ret = TAKE_FD(fd);
	return 0;
}

/* Of a start that failed: whoever hears of it finds the container stopped, not on its way. dockerd
 * would keep one for ever that it could not delete at once. */
static void await_death(const struct um_runtime_state *s)
{
	_cleanup_close_ int pidfd = um_state_pidfd(s);
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	if (pidfd >= 0)
		poll(&p, 1, DEATH_WAIT_MS);
}

static int start_locked(const struct um_runtime *rt, const char *id, int *dir, bool *ret_destroy,
			struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(64u << 20);
	_cleanup_close_ int fd = -1;
	struct um_runtime_state s;
	struct um_sync_msg m;
	int r;

	if (!a)
		return -ENOMEM;
	r = um_state_lock(rt, id, dir, err);
	if (r >= 0)
		r = um_state_load(*dir, id, a, &s, err);
	if (r < 0)
		return r;
	if (s.status != UM_RUNTIME_CREATED)
		return um_error_set(err, -EINVAL, "cannot start a container in the %s state",
				    um_runtime_status_name(s.status));
	r = connect_start(*dir, &fd, err);
	if (r == -ECONNREFUSED) { /* an earlier start was killed before it could tidy up */
		um_why("an earlier start was killed before it could tidy up");
		um_sys_unlinkat(*dir, UM_STATE_SOCKET, 0);
		return um_error_set(err, -EINVAL, "cannot start a container in the running state");
	}
	if (r < 0)
		return um_error_errno(err, r, "start container %s", id);
	r = um_sync_send_start(fd, um_explain_fd(), um_explain_json());
	if (r < 0)
		return um_error_errno(err, r, "start container %s", id);
	UM_FAULT("runtime.start.sent");
	r = um_sync_recv(fd, &m);
	um_why("the container has started: its socket says no more that it waits");
	um_sys_unlinkat(*dir, UM_STATE_SOCKET, 0);
	if (r == 0 && m.type == UM_SYNC_ERROR) {
		await_death(&s);
		return um_error_move(err, &m.error);
	}
	r = um_runtime_run_hooks(*dir, &s, a, UM_HOOK_POSTSTART, "running", err);
	*ret_destroy = r < 0;
	return r;
}

int um_runtime_start(const struct um_runtime *rt, const char *id, struct um_error *err)
{
	_cleanup_close_ int dir = -1;
	bool destroy = false;
	int r = start_locked(rt, id, &dir, &destroy, err);

	if (!destroy)
		return r;
	/* the specification: where a poststart hook fails, the container is stopped and destroyed
	 */
	um_why("a poststart hook failed: the container is not to be");
	dir = um_close(dir);
	(void)!um_runtime_delete(rt, id, true, NULL);
	return r;
}

int um_runtime_state(const struct um_runtime *rt, struct um_arena *a, const char *id,
		     struct um_runtime_state *ret, struct um_error *err)
{
	_cleanup_close_ int dir = -1;
	int r = um_state_open(rt, id, &dir, err);

	return r < 0 ? r : um_state_load(dir, id, a, ret, err);
}

/* The program's end takes nobody with it where it is not the first of a pid namespace. */
static bool shares_pids(const struct um_runtime *rt, struct um_arena *a, const char *id)
{
	_cleanup_close_ int dir = -1;
	struct um_spec *spec;

	if (um_state_open(rt, id, &dir, NULL) < 0 ||
	    um_spec_load(a, dir, "config.json", &spec, NULL) < 0)
		return false;
	return !spec->ns[UM_NS_PID].present || spec->ns[UM_NS_PID].path;
}

int um_runtime_kill(const struct um_runtime *rt, const char *id, int sig, bool all,
		    struct um_error *err)
{
	_cleanup_(um_cgroups_freep) struct um_cgroups *host = NULL;
	_cleanup_(um_cgroup_freep) struct um_cgroup *cg = NULL;
	_cleanup_arena_ struct um_arena *a = um_arena_new(64u << 20);
	_cleanup_close_ int pidfd = -1;
	struct um_runtime_state s;
	int r;

	if (!a)
		return -ENOMEM;
	r = um_runtime_state(rt, a, id, &s, err);
	if (r < 0)
		return r;
	if (sig == SIGKILL && !all && s.cgroup && s.status != UM_RUNTIME_CREATING)
		all = shares_pids(rt, a, id);
	um_why("the signal that was asked for");
	if (all) {
		r = um_state_open_cgroup(&s, &host, &cg, err);
		if (r == -ENOENT)
			return um_error_set(err, -ESRCH, "container not running");
		if (r < 0)
			return r;
		return sig == SIGKILL ? um_cgroup_kill(cg, err) : um_cgroup_signal(cg, sig, err);
	}
	pidfd = um_state_pidfd(&s);
	if (pidfd < 0)
		return um_error_set(err, -ESRCH, "container not running");
	if (um_sys_pidfd_signal(pidfd, sig) < 0) {
		if (errno == ESRCH)
			return um_error_set(err, -ESRCH, "container not running");
		return um_error_errno(err, -errno, "signal %d to container %s", sig, id);
	}
	return 0;
}

static int kill_everything(const struct um_runtime_state *s, struct um_error *err)
{
	_cleanup_(um_cgroups_freep) struct um_cgroups *host = NULL;
	_cleanup_(um_cgroup_freep) struct um_cgroup *cg = NULL;
	_cleanup_close_ int pidfd = um_state_pidfd(s);
	int r;

	um_why("nothing of the container lives on: its first process, and all of its cgroup");
	if (pidfd >= 0)
		um_sys_pidfd_signal(pidfd, SIGKILL);
	if (s->cgroup) {
		r = um_state_open_cgroup(s, &host, &cg, err);
		if (r >= 0)
			r = um_cgroup_kill(cg, err);
		if (r < 0 && r != -ENOENT)
			return r;
		if (cg)
			(void)!um_cgroup_freeze(cg, false, NULL); /* v1 delivers when thawed */
	}
	if (pidfd >= 0) {
		struct pollfd p = {.fd = pidfd, .events = POLLIN};

		if (poll(&p, 1, DEATH_WAIT_MS) == 0)
			return um_error_set(err, -EBUSY, "container %s does not die", s->id);
	}
	return 0;
}

/* It ends by itself, too, when it is empty; but not before its last process has been reaped. Where
 * systemd is out of reach, that its cgroup is gone is enough. */
static int stop_scope(const struct um_runtime *rt, const struct um_runtime_state *s,
		      struct um_error *err)
{
	_cleanup_(um_cgroups_freep) struct um_cgroups *host = NULL;
	_cleanup_(um_cgroup_freep) struct um_cgroup *cg = NULL;
	struct um_error own = UM_ERROR_INIT;
	struct um_systemd_scope scope;
	int r = um_runtime_scope(rt, s, &scope, &own);

	if (r >= 0)
		r = um_systemd_stop(&scope, &own);
	if (r < 0 && um_state_open_cgroup(s, &host, &cg, NULL) == -ENOENT)
		return 0;
	return r < 0 ? um_error_move(err, &own) : 0;
}

int um_runtime_delete(const struct um_runtime *rt, const char *id, bool force, struct um_error *err)
{
	_cleanup_(um_cgroups_freep) struct um_cgroups *host = NULL;
	_cleanup_arena_ struct um_arena *a = um_arena_new(64u << 20);
	struct um_error hook_err = UM_ERROR_INIT, own = UM_ERROR_INIT;
	_cleanup_close_ int dir = -1;
	struct um_runtime_state s;
	int r;

	if (!a)
		return -ENOMEM;
	r = um_state_lock(rt, id, &dir, &own);
	if (r == -ENOENT && force && !um_runtime_check_id(id, NULL))
		return 0; /* gone already: what was asked for */
	if (r < 0)
		return um_error_move(err, &own);
	r = um_state_load(dir, id, a, &s, err);
	if (r < 0)
		return r;
	if (s.status == UM_RUNTIME_CREATING)
		s.status = UM_RUNTIME_STOPPED; /* we hold the lock: the creator is dead */
	if (s.status != UM_RUNTIME_STOPPED) {
		if (!force)
			return um_error_set(err, -EBUSY,
					    "cannot delete container %s that is not stopped: %s",
					    id, um_runtime_status_name(s.status));
	}
	/* also where the init is dead: others of its cgroup may live */
	r = kill_everything(&s, err);
	UM_FAULT("runtime.delete.killed");
	if (r >= 0 && s.systemd_unit)
		r = stop_scope(rt, &s, err);
	if (r >= 0 && s.cgroup) {
		um_why("the container's cgroup goes, in each hierarchy");
		r = um_cgroups_open(&host, err);
		if (r >= 0)
			r = um_cgroup_remove(host, s.cgroup, err);
	}
	if (r >= 0)
		r = um_hostmounts_undo(dir, err);
	if (r < 0)
		return r;
	UM_FAULT("runtime.delete.cgroup");
	r = um_runtime_run_hooks(dir, &s, a, UM_HOOK_POSTSTOP, "stopped", &hook_err);
	if (r < 0 && r != -ENOENT && rt->warn)
		rt->warn(rt->warn_data, hook_err.msg); /* the specification: log and go on */
	return um_state_remove(rt, id, err);
}

int um_runtime_pause(const struct um_runtime *rt, const char *id, bool freeze, struct um_error *err)
{
	_cleanup_(um_cgroups_freep) struct um_cgroups *host = NULL;
	_cleanup_(um_cgroup_freep) struct um_cgroup *cg = NULL;
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	_cleanup_close_ int dir = -1;
	struct um_runtime_state s;
	int r;

	if (!a)
		return -ENOMEM;
	r = um_state_lock(rt, id, &dir, err);
	if (r >= 0)
		r = um_state_load(dir, id, a, &s, err);
	if (r < 0)
		return r;
	if (freeze ? s.status != UM_RUNTIME_RUNNING && s.status != UM_RUNTIME_CREATED
		   : s.status != UM_RUNTIME_PAUSED)
		return um_error_set(err, -EINVAL, "cannot %s a container in the %s state",
				    freeze ? "pause" : "resume", um_runtime_status_name(s.status));
	r = um_state_open_cgroup(&s, &host, &cg, err);
	um_why(freeze ? "the container stops where it is: its cgroup is frozen"
		      : "the container goes on: its cgroup is thawed");
	return r < 0 ? r : um_cgroup_freeze(cg, freeze, err);
}

int um_runtime_ps(const struct um_runtime *rt, const char *id, pid_t **ret, size_t *ret_n,
		  struct um_error *err)
{
	_cleanup_(um_cgroups_freep) struct um_cgroups *host = NULL;
	_cleanup_(um_cgroup_freep) struct um_cgroup *cg = NULL;
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	struct um_runtime_state s;
	int r;

	if (!a)
		return -ENOMEM;
	r = um_runtime_state(rt, a, id, &s, err);
	if (r < 0)
		return r;
	r = um_state_open_cgroup(&s, &host, &cg, err);
	return r < 0 ? r : um_cgroup_pids(cg, ret, ret_n, err);
}

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct um_runtime_state *)a)->id,
		      ((const struct um_runtime_state *)b)->id);
}

int um_runtime_list(const struct um_runtime *rt, struct um_arena *a, struct um_runtime_state **ret,
		    size_t *ret_n, struct um_error *err)
{
	_cleanup_closedir_ DIR *d = opendir(rt->root);
	UM_VEC(struct um_runtime_state) v = UM_VEC_INIT;
	struct um_runtime_state *out;
	struct dirent *e;
	int r = 0;

	if (!d && errno != ENOENT)
		return um_error_errno(err, -errno, "open %s", rt->root);
	while (d && r >= 0 && (e = readdir(d))) {
		struct um_runtime_state s;

		if (e->d_name[0] == '.' || um_runtime_check_id(e->d_name, NULL) < 0)
			continue;
		r = um_runtime_state(rt, a, um_arena_strdup(a, e->d_name), &s, err);
		if (r == -ENOENT) {
			r = 0; /* deleted meanwhile */
			continue;
		}
		if (r >= 0)
			r = um_vec_push(&v, s);
	}
	out = um_arena_zalloc(a, (v.len + 1) * sizeof(*out));
	if (out && v.len)
		memcpy(out, v.items, v.len * sizeof(*out));
	if (out)
		qsort(out, v.len, sizeof(*out), by_id);
	*ret_n = v.len;
	um_vec_release(&v);
	if (r < 0)
		return r;
	*ret = out;
	return out ? 0 : -ENOMEM;
}
