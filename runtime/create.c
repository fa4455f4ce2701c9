/* create, and the half of run that is the same. */
#include "runtime/create.h"

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
#include <sys/un.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/num.h"
#include "runtime/annotations.h"
#include "runtime/console.h"
#include "runtime/explain.h"
#include "runtime/hooks.h"
#include "runtime/hostmounts.h"
#include "runtime/idmap.h"
#include "runtime/init.h"
#include "runtime/landlock.h"
#include "runtime/lsm.h"
#include "runtime/process.h"
#include "runtime/state.h"
#include "runtime/sync.h"
#include "runtime/sys.h"

void um_creation_init(struct um_creation *c)
{
	memset(c, 0, sizeof(*c));
	c->dir = c->pidfd = c->sync_fd = -1;
}

void um_creation_release(struct um_creation *c)
{
	um_systemd_let_go(&c->holder);
	um_close(c->dir);
	um_close(c->pidfd);
	um_close(c->sync_fd);
	if (c->cg)
		um_cgroup_free(c->cg);
	if (c->cgroups)
		um_cgroups_free(c->cgroups);
	if (c->arena)
		um_arena_free(c->arena);
}

/* Options of mounts of cgroups where they are not mounted, but shown: all but a v2 tree in a
 * namespace of its own. */
static void warn_cgroup_mounts(const struct um_runtime *rt, const struct um_creation *c)
{
	const struct um_spec *s = c->spec;
	bool v2 = c->cgroups && c->cgroups->mode == UM_CGROUP_V2;
	char text[200];

	for (size_t i = 0; rt->warn && i < s->n_mounts; i++) {
		const struct um_spec_mount *m = &s->mounts[i];
		bool two = m->type && !strcmp(m->type, "cgroup2");

		if (m->bind || m->remount || !m->data.n || !m->type ||
		    (!two && strcmp(m->type, "cgroup")) ||
		    (s->ns[UM_NS_CGROUP].present && (two || v2)))
			continue;
		snprintf(text, sizeof(text),
			 "mounts[%zu]: options: \"%.100s\" has no effect on a mount of cgroups", i,
			 m->data.v[0]);
		rt->warn(rt->warn_data, text);
	}
}

static bool any_limit(const struct um_spec *s)
{
	struct um_cgroup_limits none;

	um_cgroup_limits_init(&none);
	none.memory_disable_oom_killer = s->limits.memory_disable_oom_killer;
	none.memory_check_before = s->limits.memory_check_before;
	return memcmp(&none, &s->limits, sizeof(none)) || s->limits.memory_disable_oom_killer > 0;
}

/* A group with processes is another container's: neither joined nor, by undo() or a later delete,
 * killed. So this comes before the state names the group. */
static int check_cgroup_unused(const struct um_cgroups *host, const char *path,
			       struct um_error *err)
{
	_cleanup_(um_cgroup_freep) struct um_cgroup *cg = NULL;
	struct um_error own = UM_ERROR_INIT;
	_cleanup_free_ pid_t *pids = NULL;
	bool frozen = false;
	size_t n = 0;
	int r = um_cgroup_open(host, path, &cg, &own);

	if (r == -ENOENT)
		return 0;
	if (r >= 0)
		r = um_cgroup_pids(cg, &pids, &n, &own);
	if (r < 0)
		return um_error_move(err, &own);
	if (n)
		return um_error_set(err, -EBUSY,
				    "container's cgroup is not empty: %s has processes already",
				    path);
	/* where its first process would stop as well, and we would wait for it */
	if (um_cgroup_is_frozen(cg, &frozen, NULL) >= 0 && frozen)
		return um_error_set(err, -EBUSY, "container's cgroup unexpectedly frozen: %s",
				    path);
	return 0;
}

static int make_cgroup(struct um_creation *c, const struct um_runtime *rt, struct um_error *err)
{
	struct um_error own = UM_ERROR_INIT;
	struct um_cgroup_limits limits;
	bool frozen = false;
	int r;

	if (!c->state.cgroup) {
		if (any_limit(c->spec))
			return um_error_set(err, -EINVAL,
					    "linux.resources: limits without cgroups (%s)",
					    rt->no_cgroups ? "--cgroup-manager disabled" : "none");
		return 0;
	}
	um_why("the container's cgroup, in each hierarchy of this host");
	r = um_cgroup_create(c->cgroups, c->state.cgroup, &c->cg, NULL, &own);
	if ((r == -EACCES || r == -EPERM || r == -EROFS) && rt->cgroups_optional && !rt->systemd &&
	    !any_limit(c->spec) && !c->spec->cgroups_path) {
		c->state.cgroup = NULL; /* nothing was asked for that needs one */
		return um_state_save(c->dir, &c->state, err);
	}
	if (r < 0)
		return um_error_move(err, &own);
	UM_FAULT("runtime.create.cgroup");
	if (um_cgroup_is_frozen(c->cg, &frozen, NULL) >= 0 && frozen)
		return um_error_set(err, -EBUSY,
				    "container's cgroup unexpectedly frozen: one above %s",
				    c->state.cgroup);
	/* the process that holds the scope is one, too, until the init is there */
	limits = c->spec->limits;
	if (c->holder && limits.pids == 1)
		limits.pids = 2;
	um_why("linux.resources: the limits, before there is anybody to break them");
	r = um_cgroup_apply(c->cg, &limits, err);
	if (r < 0)
		return um_error_wrap(err, r, "linux.resources");
	um_why("linux.resources.devices: which devices its processes may use");
	r = um_runtime_device_rules(c->cg, c->spec, &own);
	/* who may load no BPF program may make no device nodes either, and the user's rights hold
	 */
	if (r < 0 && !(r == -EPERM && rt->cgroups_optional))
		return um_error_wrap(err, um_error_move(err, &own), "linux.resources.devices");
	return um_cgroup_prepare_join(c->cg, err);
}

static int listen_for_start(int dir, int *ret, struct um_error *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	um_why("the socket by which `start` tells the waiting container to go on");
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/" UM_STATE_SOCKET, dir);
	if (fd < 0 || um_sys_bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 4) < 0)
		return um_error_errno(err, -errno, "start socket");
	*ret = TAKE_FD(fd);
	return 0;
}

/* Namespaces that are not the user namespace's, who is root in that may not enter; others are left
 * for then. */
static void join_as_ourselves(struct um_init *in)
{
	for (int i = 0; i < UM_NS_N; i++) {
		if (in->ns_fds[i] < 0 || i == UM_NS_USER || i == UM_NS_PID || i == UM_NS_MOUNT)
			continue;
		um_why("linux.namespaces: join the %s namespace, if it is ours to enter",
		       um_spec_ns_name(i));
		if (um_sys_setns(in->ns_fds[i], (int)um_spec_ns_flag(i)) >= 0)
			in->ns_fds[i] = um_close(in->ns_fds[i]);
	}
}

static bool joins_before_user_ns(const struct um_init *in)
{
	if (!in->spec->ns[UM_NS_USER].present)
		return false;
	for (int i = 0; i < UM_NS_N; i++)
		if (in->ns_fds[i] >= 0 && i != UM_NS_PID && i != UM_NS_MOUNT)
			return true;
	return false;
}

/* The helper: new namespaces belong to the user namespace that makes them. Its exit status is an
 * errno. */
static int enter_and_clone(struct um_init *in, struct clone_args *args, int socket_fd)
{
	int pidfd = -1, r;

	um_explain_child("helper", 0);
	args->pidfd = (uint64_t)(uintptr_t)&pidfd;
	args->flags |= CLONE_PARENT;
	args->exit_signal = 0; /* with CLONE_PARENT: that of this process */
	join_as_ourselves(in);
	if (in->ns_fds[UM_NS_USER] >= 0) {
		um_why("in the user namespace, so that the container's other ones belong to it");
		if (um_sys_setns(in->ns_fds[UM_NS_USER], CLONE_NEWUSER) < 0)
			return errno;
		in->ns_fds[UM_NS_USER] = um_close(in->ns_fds[UM_NS_USER]);
	}
	if (in->ns_fds[UM_NS_PID] >= 0) {
		um_why("the child to come is to be in this pid namespace");
		if (um_sys_setns(in->ns_fds[UM_NS_PID], CLONE_NEWPID) < 0)
			return errno;
	}
	r = um_sys_clone3(args);
	if (!r) {
		um_close(socket_fd);
		um_init_main(in);
	}
	if (r < 0)
		return errno;
	return -um_console_send_fd(socket_fd, pidfd, "pidfd");
}

/* The init as a child of ours (CLONE_PARENT), made by a helper that has entered namespaces which we
 * could not leave again: that of users, or that of processes where our own is not ours to enter. */
static int clone_within(struct um_creation *c, struct um_init *in, struct clone_args *args,
			struct um_error *err)
{
	const struct um_spec *s = in->spec;
	int pair[2], status = 0, pid, r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return um_error_errno(err, -errno, "socketpair");
	um_why("a helper enters namespaces which we could not leave again");
	pid = um_sys_fork();
	if (!pid) {
		um_close(pair[0]);
		_exit(enter_and_clone(in, args, pair[1]));
	}
	r = pid < 0 ? -errno : 0;
	um_close(pair[1]);
	if (r >= 0 && waitpid(pid, &status, 0) == pid && !(WIFEXITED(status) && !status))
		r = WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
	if (r < 0)
		r = um_error_errno(err, r, "linux.namespaces: join%s%s%s%s",
				   s->ns[UM_NS_USER].path ? " user " : "",
				   s->ns[UM_NS_USER].path ? s->ns[UM_NS_USER].path : "",
				   s->ns[UM_NS_PID].path ? " pid " : "",
				   s->ns[UM_NS_PID].path ? s->ns[UM_NS_PID].path : "");
	else
		r = um_console_receive(pair[0], &c->pidfd, err);
	um_close(pair[0]);
	return r < 0 ? r : um_state_pid_of(c->pidfd);
}

/* setns(2) refuses the user namespace that one is in. */
static bool is_own_user_ns(int fd)
{
	struct stat a, b;

	return fd >= 0 && fstat(fd, &a) == 0 && stat("/proc/self/ns/user", &b) == 0 &&
	       a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* Enters the pid namespace to join, for the one child to come. 1: *ret leads back; 0: a helper has
 * to, because nothing does (our own belongs to a user namespace above ours). */
static int enter_pid_ns(const struct um_init *in, int *ret, struct um_error *err)
{
	_cleanup_close_ int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);

	um_why("whether there is a way back from the pid namespace to join");
	if (own >= 0 && um_sys_setns(own, CLONE_NEWPID) < 0 && errno == EPERM)
		return 0;
	um_why("the child to come is to be in this pid namespace");
	if (own < 0 || um_sys_setns(in->ns_fds[UM_NS_PID], CLONE_NEWPID) < 0)
		return um_error_errno(err, -errno, "linux.namespaces: join pid");
	*ret = TAKE_FD(own);
	return 1;
}

/* clone3 into the namespaces and the cgroup. */
static int clone_init(struct um_creation *c, struct um_init *in, bool as_sibling,
		      struct um_error *err)
{
	_cleanup_close_ int own_pid_ns = -1;
	int cgroup_fd = c->cg ? um_cgroup_clone_fd(c->cg) : -1;
	struct clone_args args = {.flags = CLONE_PIDFD,
				  .pidfd = (uint64_t)(uintptr_t)&c->pidfd,
				  .exit_signal = as_sibling ? 0 : SIGCHLD};
	int r = um_creation_time_offsets(c->spec, err);
	bool helped;

	if (r < 0)
		return r;
	if (is_own_user_ns(in->ns_fds[UM_NS_USER]))
		in->ns_fds[UM_NS_USER] = um_close(in->ns_fds[UM_NS_USER]);
	for (int i = 0; i < UM_NS_N; i++)
		if (c->spec->ns[i].present && !c->spec->ns[i].path && i != UM_NS_CGROUP &&
		    !(i == UM_NS_TIME && c->spec->has_time_offsets))
			args.flags |= um_spec_ns_flag(i);
	if (as_sibling)
		args.flags |= CLONE_PARENT;
	if (cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup_fd;
		in->in_v2 = true;
	}
	helped = in->ns_fds[UM_NS_USER] >= 0 || (joins_before_user_ns(in) && !as_sibling);
	if (!helped && in->ns_fds[UM_NS_PID] >= 0) {
		r = enter_pid_ns(in, &own_pid_ns, err);
		if (r < 0)
			return r;
		helped = r == 0;
	}
	if (helped) {
		r = clone_within(c, in, &args, err);
	} else {
		um_why("the container's first process, in its new namespaces%s",
		       cgroup_fd >= 0 ? " and from the first in its cgroup" : "");
		r = um_sys_clone3(&args);
		if (r < 0 && errno == EACCES && c->state.systemd_unit) {
			/* the part of the tree that we are in is not ours: systemd moves it */
			c->attach = true;
			args.flags &= ~(uint64_t)CLONE_INTO_CGROUP;
			r = um_sys_clone3(&args);
		}
		if (!r)
			um_init_main(in);
		if (r < 0)
			r = um_error_errno(err, -errno, "clone3");
	}
	if (own_pid_ns >= 0)
		um_why("further children are to be in our own pid namespace again");
	if (own_pid_ns >= 0 && um_sys_setns(own_pid_ns, CLONE_NEWPID) < 0 && r >= 0)
		r = um_error_errno(err, -errno, "return to the pid namespace");
	if (r > 0)
		c->state.pid = r;
	return r < 0 ? r : 0;
}

/* From the clone to READY. */
static int bring_up(struct um_creation *c, struct um_init *in, const struct um_runtime_create *opts,
		    struct um_error *err)
{
	struct um_sync_msg m;
	int r = clone_init(c, in, opts->as_sibling, err);

	in->sync_fd = um_close(in->sync_fd);
	in->start_fd = um_close(in->start_fd);
	if (r < 0)
		return r;
	r = um_creation_drop_holder(c, err);
	if (r < 0)
		return r;
	UM_FAULT("runtime.create.cloned");
	r = um_idmap_write(c->spec, (pid_t)c->state.pid, err);
	if (r >= 0)
		r = um_sync_send_pid(c->sync_fd, (int32_t)c->state.pid);
	while (r >= 0) {
		const char *json;

		r = um_sync_recv(c->sync_fd, &m);
		if (r == -EPIPE)
			return um_error_set(err, r,
					    "the container's init process died during set-up");
		if (r < 0)
			return um_error_errno(err, r, "talk to the container's init process");
		if (m.type == UM_SYNC_ERROR)
			return um_error_move(err, &m.error);
		if (m.type == UM_SYNC_READY)
			return 0;
		if (m.type == UM_SYNC_SOURCE) {
			r = um_creation_send_source(c, m.pid, in->ns_fds[UM_NS_USER]);
			continue;
		}
		/* hooks come after the lifecycle's second step, the creation */
		r = um_state_hook_json(c->arena, c->state.id, "created", c->state.pid, c->bundle,
				       c->spec, &json);
		if (r >= 0)
			r = um_hooks_run(&c->spec->hooks[UM_HOOK_PRESTART], "prestart", json, NULL,
					 &in->hooks_output, err);
		if (r >= 0)
			r = um_hooks_run(&c->spec->hooks[UM_HOOK_CREATE_RUNTIME], "createRuntime",
					 json, NULL, &in->hooks_output, err);
		if (r >= 0)
			r = um_sync_send(c->sync_fd, UM_SYNC_CONTINUE, NULL);
	}
	return r;
}

static int write_pid_file(const struct um_runtime_create *opts, int64_t pid, struct um_error *err)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%lld", (long long)pid);

	if (!opts->pid_file)
		return 0;
	um_why("--pid-file: the process, for the caller");
	return um_io_replace_file(AT_FDCWD, opts->pid_file, text, (size_t)n, 0644, UM_IO_NO_SYNC,
				  err);
}

static int save_config(struct um_creation *c, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(2 * UM_SPEC_MAX_BYTES);
	_cleanup_close_ int fd = -1;
	int r = um_json_write(&b, c->spec->json);

	if (r < 0)
		return um_error_errno(err, r, "encode config.json");
	fd = um_sys_create(c->dir, "config.json", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return um_error_errno(err, -errno, "create config.json");
	r = um_io_write_all(fd, b.data, b.len);
	return r < 0 ? um_error_errno(err, r, "write config.json") : 0;
}

static int name_cgroup(struct um_creation *c, struct um_error *err)
{
	const char *cgroup = c->spec->cgroups_path
				     ? c->spec->cgroups_path
				     : um_arena_printf(c->arena, "/umiak-oci-%s", c->state.id);
	int r;

	if (!cgroup)
		return -ENOMEM;
	r = check_cgroup_unused(c->cgroups, cgroup, err);
	if (r >= 0)
		c->state.cgroup = cgroup;
	return r;
}

static int prepare(struct um_creation *c, const struct um_runtime *rt,
		   const struct um_runtime_create *opts, struct um_error *err)
{
	char created[UM_TIME_LEN];
	int r;

	c->state.id = opts->id;
	c->state.bundle = c->bundle;
	c->state.rootfs = c->rootfs;
	c->state.owner = geteuid();
	c->state.annotations = um_json_get(c->spec->json, "annotations");
	um_time_format_nano(um_clock_wall(&um_clock_system), created);
	c->state.created = um_arena_strdup(c->arena, created);
	if (!rt->no_cgroups) {
		r = um_cgroups_open(&c->cgroups, err);
		if (r < 0)
			return r;
		r = rt->systemd ? um_creation_scope(c, rt, err) : name_cgroup(c, err);
		if (r < 0)
			return r;
	}
	/* first, so that delete knows the cgroup whatever happens next */
	um_why("the state is kept before anything else is made: delete finds all by it");
	r = um_state_save(c->dir, &c->state, err);
	UM_FAULT("runtime.create.state");
	um_why("the configuration as it is now: later commands read this copy");
	if (r >= 0)
		r = save_config(c, err);
	if (r >= 0)
		r = make_cgroup(c, rt, err);
	return r;
}

static void undo(struct um_creation *c, const struct um_runtime *rt, const char *id)
{
	struct um_systemd_scope scope;

	um_why("undone: the container could not be made");
	um_systemd_let_go(&c->holder);
	if (c->pidfd >= 0) {
		struct pollfd p = {.fd = c->pidfd, .events = POLLIN};

		um_sys_pidfd_signal(c->pidfd, SIGKILL);
		poll(&p, 1, 5000);
		waitpid((pid_t)c->state.pid, NULL, 0); /* fails at once for a sibling */
	}
	if (c->cg)
		(void)!um_cgroup_kill(c->cg, NULL);
	if (c->state.systemd_unit && um_runtime_scope(rt, &c->state, &scope, NULL) >= 0)
		(void)!um_systemd_stop(&scope, NULL);
	if (c->cgroups && c->state.cgroup)
		(void)!um_cgroup_remove(c->cgroups, c->state.cgroup, NULL);
	/* else `delete` finds them by the state, and says which it cannot */
	if (um_hostmounts_undo(c->dir, NULL) >= 0)
		(void)!um_state_remove(rt, id, NULL);
}

static int create_locked(struct um_creation *c, const struct um_runtime *rt,
			 const struct um_runtime_create *opts, bool run, int console_fd,
			 struct um_error *err)
{
	struct um_init in = {.arena = c->arena,
			     .id = opts->id,
			     .spec = c->spec,
			     .sync_fd = -1,
			     .journal_fd = -1,
			     .start_fd = -1,
			     .seccomp_fd = -1,
			     .proc_fd = -1,
			     .console_fd = console_fd,
			     .hooks_output = UM_HOOKS_OUTPUT_NONE,
			     .rootfs = c->rootfs,
			     .bundle = c->bundle,
			     .preserve_fds = opts->preserve_fds,
			     .listen_fds = opts->listen_fds,
			     .no_pivot = opts->no_pivot,
			     .relayed = !opts->console_socket,
			     .no_new_keyring = opts->no_new_keyring,
			     .die_with_parent = !opts->as_sibling,
			     .setgroups_denied = um_idmap_denies_setgroups(c->spec)};
	int pair[2], r;

	for (int i = 0; i < UM_NS_N; i++)
		in.ns_fds[i] = -1;
	r = um_seccomp_check_names(c->spec, err);
	if (r >= 0)
		r = prepare(c, rt, opts, err);
	if (r >= 0)
		warn_cgroup_mounts(rt, c);
	if (r >= 0 && !c->spec->ns[UM_NS_MOUNT].present)
		r = um_hostmounts_begin(c->dir, &in.journal_fd, err);
	if (r >= 0)
		r = um_seccomp_load(rt->root, um_json_path(c->spec->json, "linux.seccomp"),
				    &c->spec->seccomp, &in.seccomp, err);
	if (r >= 0)
		r = um_seccomp_connect(&c->spec->seccomp, &in.seccomp_fd, err);
	if (r >= 0)
		r = um_creation_open_namespaces(&in, err);
	if (r >= 0)
		r = um_hooks_open_output(c->spec, &in.hooks_output, err);
	if (r >= 0 && !run)
		r = listen_for_start(c->dir, &in.start_fd, err);
	if (r >= 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		r = um_error_errno(err, -errno, "socketpair");
	if (r >= 0) {
		in.cg = c->cg;
		in.sync_fd = pair[1];
		in.state_dir_fd = c->dir;
		in.creator_fd = c->sync_fd = pair[0];
		r = bring_up(c, &in, opts, err);
	}
	um_seccomp_release(&in.seccomp);
	um_close(in.seccomp_fd);
	um_hooks_output_release(&in.hooks_output);
	for (int i = 0; i < UM_NS_N; i++)
		um_close(in.ns_fds[i]);
	um_close(in.start_fd);
	um_close(in.journal_fd);
	if (r >= 0 && um_state_process((pid_t)c->state.pid, &c->state.start_time) < 0)
		r = um_error_set(err, -ESRCH, "the container's init process died");
	um_why("the state again, now with the process");
	if (r >= 0)
		r = um_state_save(c->dir, &c->state, err);
	UM_FAULT("runtime.create.saved");
	if (r >= 0)
		r = write_pid_file(opts, c->state.pid, err);
	if (r >= 0)
		r = um_console_send_pidfd(opts->pidfd_socket, "--pidfd-socket", c->pidfd, err);
	if (r >= 0)
		r = um_console_send_pidfd(c->spec->asked.pidfd_receiver,
					  "annotations.run.oci.pidfd_receiver", c->pidfd, err);
	return r;
}

int um_creation_run(struct um_creation *c, const struct um_runtime *rt,
		    const struct um_runtime_create *opts, bool run, int console_fd,
		    struct um_error *err)
{
	int r = um_runtime_check_id(opts->id, err);

	if (r < 0)
		return r;
	um_why("what the caller left open must not reach the container");
	if (um_sys_close_range(3 + opts->preserve_fds, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		return um_error_errno(err, -errno, "close_range");
	c->arena = um_arena_new(64u << 20);
	if (!c->arena)
		return -ENOMEM;
	r = um_creation_load(c, opts, err);
	if (r >= 0)
		r = um_creation_check(c->spec, opts, run, err);
	if (r < 0)
		return r;
	um_creation_warn(rt, c->spec);
	r = um_state_make(rt, opts->id, &c->dir, err);
	if (r < 0)
		return r;
	r = create_locked(c, rt, opts, run, console_fd, err);
	if (r < 0)
		undo(c, rt, opts->id);
	return r;
}

int um_runtime_create(const struct um_runtime *rt, const struct um_runtime_create *opts,
		      struct um_error *err)
{
	_cleanup_(um_creation_release) struct um_creation c;
	_cleanup_close_ int console = -1;
	int r = um_process_check_fds(opts->preserve_fds, err);

	um_creation_init(&c);
	if (r >= 0 && opts->console_socket)
		r = um_console_connect(opts->console_socket, &console, err);
	if (r >= 0)
		r = um_creation_run(&c, rt, opts, false, console, err);
	if (r < 0)
		return r;
	r = um_sync_send(c.sync_fd, UM_SYNC_CONTINUE, NULL);
	if (r < 0) {
		undo(&c, rt, opts->id);
		return um_error_set(err, r, "the container's init process died");
	}
	return 0;
}
