#include "runtime/init.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/keyctl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include "base/fault.h"
#include "base/io.h"
#include "runtime/affinity.h"
#include "runtime/console.h"
#include "runtime/explain.h"
#include "runtime/hooks.h"
#include "runtime/lsm.h"
#include "runtime/mempolicy.h"
#include "runtime/process.h"
#include "runtime/state.h"
#include "runtime/sync.h"
#include "runtime/sys.h"

static int enter_namespaces(struct um_init *in, struct um_error *err)
{
	const struct um_spec *s = in->spec;

	for (int i = 0; i < UM_NS_N; i++) {
		if (in->ns_fds[i] < 0 || i == UM_NS_PID)
			continue;
		um_why("linux.namespaces: join the %s namespace %s", um_spec_ns_name(i),
		       s->ns[i].path);
		if (um_sys_setns(in->ns_fds[i], (int)um_spec_ns_flag(i)) < 0)
			return um_error_errno(err, -errno, "linux.namespaces: join %s (%s)",
					      um_spec_ns_name(i), s->ns[i].path);
		in->ns_fds[i] = um_close(in->ns_fds[i]);
	}
	um_why("root of the user namespace, which owns all others that are new");
	if (s->ns[UM_NS_USER].present) {
		if (um_sys_setresgid(0, 0, 0) < 0 || um_sys_setresuid(0, 0, 0) < 0)
			return um_error_errno(err, -errno, "become root of the user namespace");
	}
	/* after joining the cgroup: its namespace's root is where the process is now */
	um_why("a cgroup namespace, whose root is the group where the process is now");
	if (s->ns[UM_NS_CGROUP].present && !s->ns[UM_NS_CGROUP].path &&
	    um_sys_unshare(CLONE_NEWCGROUP) < 0)
		return um_error_errno(err, -errno, "linux.namespaces: new cgroup");
	return 0;
}

static int loopback_up(struct um_error *err)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {0};

	if (fd < 0)
		return um_error_errno(err, -errno, "socket");
	um_why("a new network namespace has only lo, and that is down");
	strcpy(ifr.ifr_name, "lo");
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	if (um_sys_ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
		return um_error_errno(err, -errno, "set lo up");
	return 0;
}

static int identity(struct um_init *in, struct um_error *err)
{
	const struct um_spec *s = in->spec;

	um_why("names of the container's own, in its uts namespace");
	if (s->hostname && um_sys_sethostname(s->hostname, strlen(s->hostname)) < 0)
		return um_error_errno(err, -errno, "hostname");
	if (s->domainname && um_sys_setdomainname(s->domainname, strlen(s->domainname)) < 0)
		return um_error_errno(err, -errno, "domainname");
	if (s->ns[UM_NS_NETWORK].present && !s->ns[UM_NS_NETWORK].path) {
		int r = loopback_up(err);

		if (r < 0)
			return r;
	}
	um_why("linux.personality: as which system it sees this one");
	if (s->personality >= 0 && um_sys_personality((unsigned long)s->personality) < 0)
		return um_error_errno(err, -errno, "linux.personality");
	if (!in->no_new_keyring) {
		um_why("a session keyring of its own: the caller's keys stay outside");
		/* a kernel without keyrings has nothing to share either */
		if (um_sys_keyctl(KEYCTL_JOIN_SESSION_KEYRING, in->id) < 0 && errno != ENOSYS)
			return um_error_errno(err, -errno, "new session keyring");
	}
	return 0;
}

/* In the host's mounts still: no file of the container is in the way. */
static int oom_score(struct um_init *in, struct um_error *err)
{
	const struct um_spec_process *p = &in->spec->process;
	char text[16];
	int r;

	if (!in->spec->has_process || p->oom_score_adj == UM_CG_UNSET)
		return 0;
	um_why("process.oomScoreAdj: how soon it dies when memory runs out");
	snprintf(text, sizeof(text), "%d", (int)p->oom_score_adj);
	r = um_io_write_value(AT_FDCWD, "/proc/self/oom_score_adj", text);
	return r < 0 ? um_error_errno(err, r, "process.oomScoreAdj %s", text) : 0;
}

static int runtime_hooks(struct um_init *in, struct um_error *err)
{
	const struct um_spec *s = in->spec;
	int r;

	if (!s->hooks[UM_HOOK_PRESTART].n && !s->hooks[UM_HOOK_CREATE_RUNTIME].n)
		return 0;
	r = um_sync_send(in->sync_fd, UM_SYNC_HOOKS, NULL);
	if (r >= 0)
		r = um_sync_expect(in->sync_fd, UM_SYNC_CONTINUE, err);
	return r;
}

/* They find the container's root as their working directory, as runc's do. */
static int create_container_hooks(struct um_init *in, const struct um_rootfs *root,
				  struct um_error *err)
{
	const struct um_spec_hooks *hooks = &in->spec->hooks[UM_HOOK_CREATE_CONTAINER];

	if (!hooks->n)
		return 0;
	um_why("the hooks' working directory: the container's root");
	if (um_sys_fchdir(root->fd) < 0)
		return um_error_errno(err, -errno, "hooks.createContainer: enter the root");
	return um_hooks_run(hooks, "createContainer", in->state_json, NULL, &in->hooks_output, err);
}

static int set_up(struct um_init *in, struct um_error *err)
{
	struct um_rootfs root = {.spec = in->spec,
				 .path = in->rootfs,
				 .bundle = in->bundle,
				 .cg = in->cg,
				 .sync_fd = in->sync_fd,
				 .cgroup_ns = in->spec->ns[UM_NS_CGROUP].present,
				 .user_ns = in->spec->ns[UM_NS_USER].present,
				 .no_pivot = in->no_pivot,
				 .journal_fd = in->journal_fd,
				 .fd = -1,
				 .proc_fd = -1};
	int r = 0;

	um_why("into the container's cgroup, in the hierarchies where it is not yet");
	if (in->cg && (r = um_cgroup_join_self(in->cg, in->in_v2)) < 0)
		return um_error_errno(err, r, "join cgroup %s", in->cg->path);
	um_affinity_reset();
	r = enter_namespaces(in, err);
	if (r >= 0)
		r = identity(in, err);
	UM_FAULT("runtime.init.namespaces");
	if (r >= 0)
		r = um_rootfs_open(&root, err);
	if (r >= 0)
		r = um_rootfs_mounts(&root, err);
	if (r >= 0)
		r = um_rootfs_devices(&root, err);
	if (r >= 0)
		r = runtime_hooks(in, err);
	if (r >= 0)
		r = create_container_hooks(in, &root, err);
	if (r >= 0 && in->spec->process.terminal && in->spec->has_process)
		r = um_console_init(&root, &in->spec->process, in->console_fd, in->relayed, err);
	if (r >= 0 && in->spec->has_process)
		um_process_make_cwd(root.fd, &in->spec->process);
	if (r >= 0)
		r = um_rootfs_sysctl(&root, err);
	if (r >= 0)
		r = um_rootfs_mask(&root, err);
	if (r >= 0 && um_lsm_wanted(&in->spec->process)) {
		r = um_rootfs_open_proc(&root, err);
		in->proc_fd = TAKE_FD(root.proc_fd);
	}
	root.proc_fd = um_close(root.proc_fd);
	if (r >= 0)
		r = um_rootfs_enter(&root, err);
	UM_FAULT("runtime.init.pivoted");
	return r;
}

static void die(int sig)
{
	_exit(128 + sig);
}

/* The first process of a pid namespace is not killed by a signal that it does not handle. While it
 * waits for `start` the usual ones are to end it, as they end runc's; the program has them as
 * always. */
static void die_of_signals(void)
{
	static const int deadly[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
	struct sigaction a = {.sa_handler = die};

	for (size_t i = 0; i < UM_ARRAY_LEN(deadly); i++)
		sigaction(deadly[i], &a, NULL);
}

/* Waits for `start`. Returns the connection, over which a failure is reported; its end by execve
 * says that the program runs. A connection that closes without a byte is no start. */
static int wait_for_start(int listen_fd, int pid, unsigned preserve_fds, int *ret)
{
	for (;;) {
		int c = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		int fd = -1;
		char how;

		if (c < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (c < 0)
			return -errno;
		if (um_sync_recv_start(c, &how, &fd) >= 0) {
			if (fd >= 0) {
				um_explain_start(fd, how == UM_SYNC_START_JSON);
				um_explain_clear_of(preserve_fds);
				um_explain_child("init", pid);
				um_explain_inside();
				um_close(fd);
			}
			*ret = c;
			return 0;
		}
		um_close(c);
	}
}

/* They are confined as the program is, whose files they may be. Each by itself; where there is a
 * listener for seccomp's notifications it can be told of one filter alone: theirs is the program's
 * then, and what runs them is under it as well. */
static int start_hooks(struct um_init *in, struct um_process_start *start, struct um_error *err)
{
	const struct um_spec_hooks *hooks = &in->spec->hooks[UM_HOOK_START_CONTAINER];

	if (!hooks->n || in->seccomp_fd < 0)
		return um_hooks_run(hooks, "startContainer", in->state_json, start,
				    &in->hooks_output, err);
	start->late_hooks = hooks;
	start->hook_json = in->state_json;
	start->hooks_output = &in->hooks_output;
	return 0;
}

static int run_program(struct um_init *in, struct um_error *err)
{
	struct um_seccomp_listener listener = {.socket = in->seccomp_fd, .json = in->seccomp_json};
	struct um_process_start start = {.process = &in->spec->process,
					 .seccomp = &in->seccomp,
					 .listener = &listener,
					 .landlock = &in->spec->landlock,
					 .preserve_fds = in->preserve_fds,
					 .setgroups_allowed = !in->setgroups_denied,
					 .keep_groups = in->spec->asked.keep_groups,
					 .proc_fd = in->proc_fd};
	int r;

	if (!in->spec->has_process)
		return um_error_set(err, -EINVAL, "process: is not set, and start needs it");
	r = start_hooks(in, &start, err);
	if (!start.late_hooks)
		um_hooks_output_release(&in->hooks_output);
	/* not before the hooks, which would get it */
	if (r >= 0 && in->proc_fd >= 0)
		r = um_lsm_set(&in->spec->process, in->proc_fd, err);
	return r < 0 ? r : um_process_start(&start, err);
}

static void fail(int fd, const struct um_error *err)
{
	struct um_error e = *err;

	if (!e.code)
		um_error_set(&e, -ENOMEM, "out of memory in the container's init process");
	(void)!um_sync_send(fd, UM_SYNC_ERROR, &e);
	_exit(1);
}

/* Else others see the process before it has given up what makes it more than them. */
static bool owns_pid_ns(const struct um_spec *s)
{
	return s->ns[UM_NS_PID].present && !s->ns[UM_NS_PID].path;
}

void um_init_main(struct um_init *in)
{
	struct um_error err = UM_ERROR_INIT;
	char path[PATH_MAX];
	struct um_sync_msg first;
	int r, report = in->sync_fd;

	um_explain_child("init", 0);
	um_close(in->creator_fd);
	um_close(in->state_dir_fd); /* the lock is the creator's */
	um_why("until it is ready it dies with its creator");
	if (in->die_with_parent)
		um_sys_prctl(PR_SET_PDEATHSIG, SIGKILL, 0);
	um_process_reset_signals();
	/* the creator has written the id maps, and lives */
	if (um_sync_recv(in->sync_fd, &first) < 0 || first.type != UM_SYNC_CONTINUE)
		_exit(1);
	um_why("a session of its own: signals of the caller's terminal do not reach it");
	um_sys_setsid();
	r = um_state_hook_json(in->arena, in->id, "created", first.pid, in->bundle, in->spec,
			       &in->state_json);
	if (r >= 0 && in->seccomp_fd >= 0) {
		const char *json;

		r = um_state_hook_json(in->arena, in->id, "creating", first.pid, in->bundle,
				       in->spec, &json);
		if (r >= 0)
			in->seccomp_json = um_seccomp_listener_json(in->arena, &in->spec->seccomp,
								    json, first.pid);
		r = r < 0 ? r : in->seccomp_json ? 0 : -ENOMEM;
	}
	if (r >= 0)
		r = oom_score(in, &err);
	/* after that: the files in its /proc/PID are root's from then on */
	if (r >= 0 && !owns_pid_ns(in->spec))
		r = um_process_guard(&err);
	if (r >= 0)
		r = set_up(in, &err);
	if (!in->spec->hooks[UM_HOOK_START_CONTAINER].n)
		um_hooks_output_release(&in->hooks_output); /* files of the host */
	if (r >= 0) {
		const int keep[] = {in->sync_fd,    in->start_fd,	    in->seccomp_fd,
				    in->proc_fd,    in->hooks_output.fd[0], in->hooks_output.fd[1],
				    um_explain_fd()};

		um_why("nothing of the host is open any more when paths of the container are used "
		       "(CVE-2024-21626)");
		r = um_process_keep_fds(in->preserve_fds, keep, UM_ARRAY_LEN(keep), &err);
	}
	if (r >= 0 && in->spec->has_process) {
		r = um_process_limits(&in->spec->process, &err);
		if (r >= 0)
			r = um_mempolicy_set(&in->spec->mempolicy, &err);
		if (r >= 0)
			r = um_process_home(in->arena, &in->spec->process);
		if (r >= 0)
			r = um_process_tell_fds(in->arena, &in->spec->process, in->listen_fds);
		if (r >= 0)
			r = um_process_find(&in->spec->process, path, sizeof(path), &err);
	}
	/* From here the socket's end says that the creator died. The signal would come as well when
	 * it ends in good order, before this process had the time to cancel it. */
	um_why("it is ready: from here on it may outlive its creator");
	if (r >= 0 && in->die_with_parent)
		um_sys_prctl(PR_SET_PDEATHSIG, 0, 0);
	if (r >= 0)
		r = um_sync_send(in->sync_fd, UM_SYNC_READY, NULL);
	if (r >= 0)
		r = um_sync_expect(in->sync_fd, UM_SYNC_CONTINUE, &err);
	if (r < 0)
		fail(report, &err);
	die_of_signals();
	if (in->start_fd >= 0) {
		um_close(in->sync_fd);
		um_explain_stop(); /* `start` may want to see the rest, and brings a descriptor */
		if (wait_for_start(in->start_fd, first.pid, in->preserve_fds, &report) < 0)
			_exit(1);
		in->start_fd = um_close(in->start_fd);
	}
	UM_FAULT("runtime.init.starting");
	r = run_program(in, &err);
	fail(report, &err);
	_exit(1);
}
