/* exec: another process in a running container. */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fault.h"
#include "base/io.h"
#include "runtime/affinity.h"
#include "runtime/console.h"
#include "runtime/create.h"
#include "runtime/exec.h"
#include "runtime/explain.h"
#include "runtime/hostmounts.h"
#include "runtime/landlock.h"
#include "runtime/lsm.h"
#include "runtime/mempolicy.h"
#include "runtime/process.h"
#include "runtime/resolve.h"
#include "runtime/rootfs.h"
#include "runtime/seccomp.h"
#include "runtime/state.h"
#include "runtime/sync.h"
#include "runtime/sys.h"
#include "runtime/wait.h"
#include "runtime/user.h"

#define TO_ATTACH 200 /* above every errno */

struct exec {
	struct um_arena *arena;
	struct um_runtime_state state;
	struct um_spec *spec;
	struct um_spec_process process;
	struct um_cgroups *host;
	struct um_cgroup *cg;
	struct um_seccomp_prog seccomp;
	struct um_seccomp_listener listener;
	int init_pidfd, pidfd, sync_fd, child_sync_fd, console_fd;
	unsigned preserve_fds;
	uint64_t namespaces;	  /* to enter */
	struct um_hostmount root; /* of a container without a mount namespace */
	bool in_v2;
	struct um_systemd_scope scope; /* no unit: the cgroup is no scope's own */
	bool setgroups_allowed;
	bool may_follow; /* the container's first process into its cgroup */
	bool relayed;	 /* its terminal: by us, not by a console socket */
	bool in_user_ns; /* before it was cloned */
	bool attach;	 /* by systemd, for we may not */
	pid_t pid;
};

static void exec_release(struct exec *x)
{
	um_seccomp_release(&x->seccomp);
	um_close(x->listener.socket);
	if (x->cg)
		um_cgroup_free(x->cg);
	if (x->host)
		um_cgroups_free(x->host);
	um_close(x->init_pidfd);
	um_close(x->pidfd);
	um_close(x->sync_fd);
	um_close(x->child_sync_fd);
	um_close(x->console_fd);
	if (x->arena)
		um_arena_free(x->arena);
}

/* A group beneath the container's must stand in every hierarchy in which the container has one: a
 * limit would be lost otherwise. */
static int open_sub_cgroup(struct exec *x, const char *sub, struct um_error *err)
{
	_cleanup_(um_cgroup_freep) struct um_cgroup *own = x->cg;
	char path[PATH_MAX];
	int r;

	x->cg = NULL;
	if (strchr(sub, ':'))
		return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
					   "--cgroup: a path for single controllers is not "
					   "supported");
	sub += strspn(sub, "/");
	r = um_io_path(path, sizeof(path), "%s/%s", x->state.cgroup, sub);
	if (r >= 0)
		r = um_cgroup_check_path(path, err);
	if (r >= 0)
		r = um_cgroup_open(x->host, path, &x->cg, err);
	if (r < 0)
		return um_error_wrap(err, r, "--cgroup %s: bad sub cgroup path", sub);
	for (size_t i = 0; i < x->host->n; i++)
		if (own->fds[i] >= 0 && x->cg->fds[i] < 0)
			return um_error_set(err, -ENOENT,
					    "--cgroup %s: does not exist in hierarchy \"%s\"", sub,
					    x->host->h[i].name);
	return 0;
}

static int open_cgroup(struct exec *x, const struct um_runtime_exec *o, struct um_error *err)
{
	int r;

	if (!x->state.cgroup)
		return o->cgroup ? um_error_set(err, -EINVAL,
						"--cgroup: container %s has no cgroup", o->id)
				 : 0;
	r = um_cgroups_open(&x->host, err);
	if (r >= 0)
		r = um_cgroup_open(x->host, x->state.cgroup, &x->cg, err);
	if (r >= 0 && o->cgroup && strspn(o->cgroup, "/") < strlen(o->cgroup))
		r = open_sub_cgroup(x, o->cgroup, err);
	return r < 0 ? r : um_cgroup_prepare_join(x->cg, err);
}

static int load(struct exec *x, const struct um_runtime *rt, const struct um_runtime_exec *o,
		struct um_error *err)
{
	_cleanup_close_ int dir = -1;
	int r = um_exec_check_options(o, err);

	if (r >= 0)
		r = um_state_open(rt, o->id, &dir, err);
	if (r >= 0)
		r = um_state_load(dir, o->id, x->arena, &x->state, err);
	if (r < 0)
		return r;
	if (x->state.status == UM_RUNTIME_PAUSED && o->ignore_paused)
		x->state.status = UM_RUNTIME_RUNNING;
	if (x->state.status != UM_RUNTIME_RUNNING && x->state.status != UM_RUNTIME_CREATED)
		return um_error_set(err, -ESRCH,
				    x->state.status == UM_RUNTIME_PAUSED
					    ? "cannot exec in a paused container"
					    : "cannot exec in a stopped container: container not "
					      "running");
	x->init_pidfd = um_state_pidfd(&x->state);
	if (x->init_pidfd < 0)
		return um_error_set(err, -ESRCH, "container not running");
	r = um_spec_load(x->arena, dir, "config.json", &x->spec, err);
	if (r >= 0 && !x->spec->ns[UM_NS_MOUNT].present)
		r = um_hostmounts_root(dir, &x->root, err);
	if (r < 0)
		return r;
	r = o->process_file ? um_exec_from_file(x->arena, x->spec, o, &x->process, err)
			    : um_exec_from_options(x->arena, x->spec, o, &x->process, err);
	if (r >= 0)
		r = um_lsm_check(&x->process, NULL, err);
	if (r >= 0)
		r = um_landlock_check(&x->spec->landlock, &x->process, err);
	if (r < 0)
		return r;
	if (!x->process.terminal && o->console_socket)
		return um_error_set(err, -EINVAL,
				    "--console-socket is for processes with a terminal");
	if (x->process.terminal && !o->console_socket && o->detach)
		return um_error_set(err, -EINVAL, "a detached terminal needs --console-socket");
	x->may_follow = !o->cgroup;
	r = open_cgroup(x, o, err);
	if (r >= 0 && x->state.systemd_unit && !o->cgroup)
		r = um_runtime_scope(rt, &x->state, &x->scope, err);
	if (r >= 0)
		r = um_seccomp_load(rt->root, um_json_path(x->spec->json, "linux.seccomp"),
				    &x->spec->seccomp, &x->seccomp, err);
	return r < 0 ? r : um_seccomp_connect(&x->spec->seccomp, &x->listener.socket, err);
}

/* Who made the user namespace without being root had to give that up. */
static bool setgroups_allowed(const struct exec *x)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(64);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%lld/setgroups", (long long)x->state.pid);
	return um_io_read_file(AT_FDCWD, path, &b, NULL) < 0 ||
	       !strncmp(um_buf_str(&b), "allow", 5);
}

/* The namespaces in which the init differs from us. */
static int find_namespaces(struct exec *x, struct um_error *err)
{
	for (int i = 0; i < UM_NS_N; i++) {
		char theirs[64], ours[64];
		struct stat a, b;

		snprintf(theirs, sizeof(theirs), "/proc/%lld/ns/%s", (long long)x->state.pid,
			 um_spec_ns_proc(i));
		snprintf(ours, sizeof(ours), "/proc/self/ns/%s", um_spec_ns_proc(i));
		if (stat(ours, &b) < 0 && errno == ENOENT)
			continue; /* not in this kernel */
		if (stat(theirs, &a) < 0 || stat(ours, &b) < 0)
			return um_error_set(err, -ESRCH, "container not running");
		if (a.st_ino != b.st_ino || a.st_dev != b.st_dev)
			x->namespaces |= um_spec_ns_flag(i);
	}
	x->setgroups_allowed = setgroups_allowed(x);
	return 0;
}

/* ---- in the child ---- */

static int oom_score(struct exec *x, struct um_error *err)
{
	char text[16];
	int r;

	if (x->process.oom_score_adj == UM_CG_UNSET)
		return 0;
	snprintf(text, sizeof(text), "%d", (int)x->process.oom_score_adj);
	um_why("process.oomScoreAdj: how soon it dies when memory runs out");
	r = um_io_write_value(AT_FDCWD, "/proc/self/oom_score_adj", text); /* the host's /proc */
	return r < 0 ? um_error_errno(err, r, "process.oomScoreAdj") : 0;
}

static int enter(struct exec *x, struct um_error *err)
{
	uint64_t flags =
		x->namespaces & ~(uint64_t)(CLONE_NEWPID | (x->in_user_ns ? CLONE_NEWUSER : 0));
	int r;

	um_why("into the container's cgroup, in the hierarchies where it is not yet");
	r = x->cg ? um_cgroup_join_self(x->cg, x->in_v2) : 0;
	if (r < 0)
		return um_error_errno(err, r, "join cgroup %s", x->cg->path);
	if (!x->process.cpus_initial && !x->process.cpus_final)
		um_affinity_reset();
	um_why("linux.personality: as which system it sees this one");
	if (x->spec->personality >= 0 &&
	    um_sys_personality((unsigned long)x->spec->personality) < 0)
		return um_error_errno(err, -errno, "linux.personality");
	r = um_affinity_set(x->process.cpus_final, "final", err);
	if (r >= 0 && !x->in_user_ns)
		r = oom_score(x, err);
	if (r >= 0)
		r = um_lsm_set(&x->process, -1, err);
	if (r >= 0)
		r = um_process_guard(err);
	if (r < 0)
		return r;
	um_why("into the container's namespaces");
	if (flags && um_sys_setns(x->init_pidfd, (int)flags) < 0)
		return um_error_errno(err, -errno, "enter the container's namespaces");
	if (!x->spec->ns[UM_NS_MOUNT].present) {
		r = um_hostmounts_enter(&x->root, x->state.rootfs, err);
		if (r < 0)
			return r;
	}
	um_explain_inside();
	um_why("root of the user namespace");
	if (x->namespaces & CLONE_NEWUSER &&
	    (um_sys_setresgid(0, 0, 0) < 0 || um_sys_setresuid(0, 0, 0) < 0))
		return um_error_errno(err, -errno, "become root of the user namespace");
	return 0;
}

static int terminal(struct exec *x, struct um_error *err)
{
	_cleanup_close_ int root = -1, pts = -1, slave = -1;
	int r;

	if (!x->process.terminal)
		return 0;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	pts = root < 0 ? -errno : um_resolve(root, "dev/pts");
	if (pts < 0)
		return um_error_errno(err, pts, "process.terminal: /dev/pts");
	r = um_console_setup(pts, &x->process, x->console_fd, x->relayed, &slave, err);
	return r < 0 ? r : um_console_become(slave, err);
}

static int listener_json(struct exec *x, int64_t pid)
{
	const char *state;
	int r;

	if (x->listener.socket < 0)
		return 0;
	r = um_state_hook_json(x->arena, x->state.id, um_runtime_status_name(x->state.status),
			       x->state.pid, x->state.bundle, x->spec, &state);
	if (r >= 0)
		x->listener.json =
			um_seccomp_listener_json(x->arena, &x->spec->seccomp, state, pid);
	return r < 0 ? r : x->listener.json ? 0 : -ENOMEM;
}

static void child(struct exec *x) __attribute__((noreturn));
static void child(struct exec *x)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_sync_msg first;
	struct um_process_start start = {.process = &x->process,
					 .seccomp = &x->seccomp,
					 .listener = &x->listener,
					 .landlock = &x->spec->landlock,
					 .preserve_fds = x->preserve_fds,
					 .setgroups_allowed = x->setgroups_allowed,
					 .keep_groups = x->spec->asked.keep_groups};
	int r, report = x->child_sync_fd;

	um_explain_child("exec", 0);
	um_close(x->sync_fd);
	um_why("until it is set up it dies with its creator");
	um_sys_prctl(PR_SET_PDEATHSIG, SIGKILL, 0);
	um_process_reset_signals();
	if (um_sync_recv(report, &first) < 0)
		_exit(255);
	um_why("a session of its own: signals of the caller's terminal do not reach it");
	um_sys_setsid();
	r = enter(x, &err);
	if (r >= 0) {
		const int keep[] = {report, x->console_fd, x->listener.socket, um_explain_fd()};

		um_why("nothing of the host is open any more when paths of the container are used "
		       "(CVE-2024-21626)");
		r = um_process_keep_fds(x->preserve_fds, keep, UM_ARRAY_LEN(keep), &err);
	}
	if (r >= 0)
		r = terminal(x, &err);
	x->console_fd = um_close(x->console_fd);
	if (r >= 0)
		r = um_process_limits(&x->process, &err);
	if (r >= 0)
		r = um_mempolicy_set(&x->spec->mempolicy, &err);
	if (r >= 0)
		r = um_process_home(x->arena, &x->process);
	if (r >= 0)
		r = listener_json(x, first.pid);
	um_why("from here on it may outlive its creator");
	um_sys_prctl(PR_SET_PDEATHSIG, 0, 0);
	if (r >= 0)
		r = um_process_start(&start, &err);
	if (!err.code)
		um_error_set(&err, r, "exec: %s", strerror(-r));
	(void)!um_sync_send(report, UM_SYNC_ERROR, &err);
	_exit(255);
}

/* ---- in the parent ---- */

/* Where the part of the tree that we are in is not ours, systemd moves it. */
static int clone_into_cgroup(struct exec *x, struct clone_args *args)
{
	_cleanup_(um_cgroup_freep) struct um_cgroup *of_init = NULL;
	int pid = um_sys_clone3(args);

	if (pid < 0 && errno == EBUSY && x->may_follow) {
		if (um_state_open_init_cgroup(&x->state, x->host, &of_init) < 0) {
			errno = EBUSY;
			return pid;
		}
		um_why("the container's cgroup takes no processes any more, since its groups have "
		       "controllers: to its first process");
		args->cgroup = (uint64_t)um_cgroup_clone_fd(of_init);
		pid = um_sys_clone3(args);
	}
	if (pid < 0 && errno == EACCES && x->scope.unit) {
		x->attach = true;
		args->flags &= ~(uint64_t)CLONE_INTO_CGROUP;
		pid = um_sys_clone3(args);
	}
	return pid;
}

/* A helper's part: it enters the user namespace, in which it may enter the pid namespace, and makes
 * a child of its parent's. Its exit status is an errno, or TO_ATTACH. */
static int enter_and_clone(struct exec *x, struct clone_args *args, int socket_fd)
{
	int pidfd = -1, r;

	args->pidfd = (uint64_t)(uintptr_t)&pidfd;
	args->flags |= CLONE_PARENT;
	args->exit_signal = 0; /* with CLONE_PARENT: that of this process */
	/* before the guard, which gives the file to root */
	if (oom_score(x, NULL) < 0 || um_process_guard(NULL) < 0)
		return EPERM;
	um_why("the user namespace first: in it we may enter the pid namespace");
	if (um_sys_setns(x->init_pidfd, CLONE_NEWUSER | CLONE_NEWPID) < 0)
		return errno;
	x->in_user_ns = true;
	r = clone_into_cgroup(x, args);
	if (!r) {
		um_close(socket_fd);
		child(x);
	}
	if (r < 0)
		return errno;
	r = um_console_send_fd(socket_fd, pidfd, "pidfd");
	return r < 0 ? -r : x->attach ? TO_ATTACH : 0;
}

static int clone_within(struct exec *x, struct clone_args *args, struct um_error *err)
{
	int pair[2], status = 0, r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return um_error_errno(err, -errno, "socketpair");
	pid = um_sys_fork();
	if (!pid) {
		um_close(pair[0]);
		_exit(enter_and_clone(x, args, pair[1]));
	}
	r = pid < 0 ? -errno : 0;
	um_close(pair[1]);
	if (r >= 0 && waitpid(pid, &status, 0) == pid)
		r = WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
	x->attach = r == -TO_ATTACH;
	if (r < 0 && !x->attach)
		r = um_error_errno(err, r, "enter the container's user and pid namespaces");
	else
		r = um_console_receive(pair[0], &x->pidfd, err);
	um_close(pair[0]);
	return r < 0 ? r : um_state_pid_of(x->pidfd);
}

static int clone_child(struct exec *x, struct um_error *err)
{
	_cleanup_close_ int own = -1;
	int cgroup_fd = x->cg ? um_cgroup_clone_fd(x->cg) : -1;
	struct clone_args args = {.flags = CLONE_PIDFD,
				  .pidfd = (uint64_t)(uintptr_t)&x->pidfd,
				  .exit_signal = SIGCHLD};
	bool within = false;
	int pid;

	if (cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup_fd;
		x->in_v2 = true;
	}
	if (x->namespaces & CLONE_NEWPID) {
		um_why("the child to come is to be in the container's pid namespace");
		own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
		if (own < 0)
			return um_error_errno(err, -errno, "open the own pid namespace");
		if (um_sys_setns(x->init_pidfd, CLONE_NEWPID) < 0) {
			if (errno != EPERM || !(x->namespaces & CLONE_NEWUSER))
				return um_error_errno(err, -errno,
						      "enter the container's pid namespace");
			within = true; /* we may once we are in its user namespace */
		}
	}
	um_why("the new process%s",
	       cgroup_fd >= 0 ? ", from the first in the container's cgroup" : "");
	if (within) {
		pid = clone_within(x, &args, err);
	} else {
		pid = clone_into_cgroup(x, &args);
		if (!pid)
			child(x);
		if (pid < 0)
			pid = errno == EBUSY
				      ? um_error_errno(err, -EBUSY,
						       "adding pid of the new process to cgroups "
						       "%s",
						       x->cg->path)
				      : um_error_errno(err, -errno, "clone3");
	}
	um_why("further children are to be in our own pid namespace again");
	if (own >= 0 && !within)
		(void)!um_sys_setns(own, CLONE_NEWPID);
	if (pid < 0)
		return pid;
	x->pid = pid;
	return 0;
}

static int go(struct exec *x, struct um_error *err)
{
	struct um_sync_msg m;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return um_error_errno(err, -errno, "socketpair");
	x->sync_fd = pair[0];
	x->child_sync_fd = pair[1];
	r = um_affinity_set(x->process.cpus_initial, "initial", err);
	if (r >= 0)
		r = clone_child(x, err);
	x->child_sync_fd = um_close(x->child_sync_fd);
	x->listener.socket = um_close(x->listener.socket);
	if (r < 0)
		return r;
	UM_FAULT("runtime.exec.cloned");
	r = x->attach ? um_systemd_attach(&x->scope, x->pid, err) : 0;
	if (r < 0)
		return r;
	r = um_sync_send_pid(x->sync_fd, x->pid);
	if (r >= 0)
		r = um_sync_recv(x->sync_fd, &m);
	if (r == -EPIPE)
		return 0; /* closed by execve */
	if (r < 0)
		return um_error_errno(err, r, "talk to the new process");
	waitpid(x->pid, NULL, 0);
	return um_error_move(err, &m.error);
}

static int pid_file(const char *path, pid_t pid, struct um_error *err)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%d", pid);

	um_why("--pid-file: the process, for the caller");
	return path ? um_io_replace_file(AT_FDCWD, path, text, (size_t)n, 0644, UM_IO_NO_SYNC, err)
		    : 0;
}

static int run(struct exec *x, const struct um_runtime_exec *o, struct um_error *err)
{
	_cleanup_close_ int master = -1, local = -1;
	int pair[2], status, r = 0;
	sigset_t signals;

	if (x->process.terminal) {
		if (o->console_socket) {
			r = um_console_connect(o->console_socket, &x->console_fd, err);
		} else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
			r = um_error_errno(err, -errno, "socketpair");
		} else {
			local = pair[0];
			x->relayed = true;
			x->console_fd = pair[1];
		}
	}
	if (r >= 0)
		r = find_namespaces(x, err);
	if (r < 0)
		return r;
	um_wait_block_signals(&signals);
	r = go(x, err);
	if (r >= 0)
		r = pid_file(o->pid_file, x->pid, err);
	if (r >= 0)
		r = um_console_send_pidfd(o->pidfd_socket, "--pidfd-socket", x->pidfd, err);
	if (r < 0 || o->detach)
		return r;
	if (local < 0)
		return um_wait_forwarding(x->pid, x->pidfd, &signals, err);
	x->console_fd = um_close(x->console_fd);
	r = um_console_receive(local, &master, err);
	sigprocmask(SIG_UNBLOCK, &signals, NULL);
	if (r >= 0)
		r = um_console_relay(master, x->pidfd, err);
	while (waitpid(x->pid, &status, 0) < 0)
		if (errno != EINTR)
			return um_error_errno(err, -errno, "wait");
	return r < 0 ? r : um_wait_status(status);
}

int um_runtime_exec(const struct um_runtime *rt, const struct um_runtime_exec *o,
		    struct um_error *err)
{
	_cleanup_(exec_release) struct exec x = {.init_pidfd = -1,
						 .pidfd = -1,
						 .sync_fd = -1,
						 .child_sync_fd = -1,
						 .console_fd = -1,
						 .listener = {.socket = -1},
						 .preserve_fds = o->preserve_fds};
	int r;

	r = um_process_check_fds(o->preserve_fds, err);
	if (r < 0)
		return r;
	um_why("what the caller left open must not reach the container");
	if (um_sys_close_range(3 + o->preserve_fds, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		return um_error_errno(err, -errno, "close_range");
	x.arena = um_arena_new(64u << 20);
	if (!x.arena)
		return -ENOMEM;
	r = load(&x, rt, o, err);
	return r < 0 ? r : run(&x, o, err);
}
