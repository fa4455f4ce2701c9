#include "runtime/process.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/io.h"
#include "runtime/explain.h"
#include "runtime/hooks.h"
#include "runtime/landlock.h"
#include "runtime/resolve.h"
#include "runtime/sys.h"
#include "runtime/user.h"

#define SCHED_DEADLINE_POLICY 6
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

void um_process_reset_signals(void)
{
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		if (s != SIGKILL && s != SIGSTOP)
			signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

struct sched_attr_v0 {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

int um_process_limits(const struct um_spec_process *p, struct um_error *err)
{
	um_why("process.rlimits, scheduler and ioPriority");
	for (size_t i = 0; i < p->n_rlimits; i++) {
		const struct um_spec_rlimit *l = &p->rlimits[i];
		struct rlimit v = {.rlim_cur = l->soft, .rlim_max = l->hard};

		if (um_sys_setrlimit((unsigned)l->resource, &v) < 0)
			return um_error_errno(err, -errno, "process.rlimits[%zu]: %s", i, l->name);
	}
	if (p->has_scheduler) {
		struct sched_attr_v0 a = {.size = sizeof(a),
					  .policy = p->sched_policy,
					  .flags = p->sched_flags,
					  .nice = (int32_t)p->sched_nice,
					  .priority = (uint32_t)p->sched_priority,
					  .runtime = p->sched_runtime,
					  .deadline = p->sched_deadline,
					  .period = p->sched_period};

		if (um_sys_sched_setattr(0, &a, 0) < 0)
			return errno == EPERM && p->sched_policy == SCHED_DEADLINE_POLICY
				       ? um_error_set(err, -EPERM,
						      "process.scheduler: operation not permitted: "
						      "process scheduler can't be used together "
						      "with AllowedCPUs (linux.resources.cpu.cpus)")
				       : um_error_errno(err, -errno, "process.scheduler");
	}
	if (p->ioprio >= 0 && um_sys_ioprio_set(1, 0, p->ioprio) < 0)
		return um_error_errno(err, -errno, "process.ioPriority");
	return 0;
}

static int get_caps(uint64_t *permitted)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d) < 0)
		return -errno;
	*permitted = d[0].permitted | (uint64_t)d[1].permitted << 32;
	return 0;
}

static int set_caps(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2] = {
		{(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
		{(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32),
		 (uint32_t)(inheritable >> 32)},
	};

	return um_sys_capset(&h, d) < 0 ? -errno : 0;
}

static int drop_bounding(uint64_t keep, struct um_error *err)
{
	um_why("process.capabilities.bounding: what no program here can ever get back");
	for (int c = 0; c < 64; c++) {
		if (keep & UINT64_C(1) << c)
			continue;
		if (um_sys_prctl(PR_CAPBSET_DROP, c, 0) == 0)
			continue;
		if (errno == EINVAL)
			return 0; /* past the last one of this kernel */
		return um_error_errno(err, -errno, "drop capability %d from the bounding set", c);
	}
	return 0;
}

/* @until_exec: held beside them; execve(2) never passes on what is merely permitted. */
static int apply_caps(const struct um_spec_process *p, uint64_t have, uint64_t until_exec,
		      struct um_error *err)
{
	uint64_t permitted = p->caps[UM_CAP_PERMITTED] & have;
	uint64_t effective = p->caps[UM_CAP_EFFECTIVE] & permitted;
	uint64_t inheritable = p->caps[UM_CAP_INHERITABLE] & have;
	int r;

	um_why("process.capabilities: what the process itself may");
	r = set_caps(effective | (until_exec & have), permitted | (until_exec & have), inheritable);

	if (r < 0)
		return um_error_errno(err, r, "process.capabilities");
	um_sys_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0);
	for (int c = 0; c < 64; c++) {
		/* the kernel wants it permitted and inheritable as well */
		if (!(p->caps[UM_CAP_AMBIENT] & permitted & inheritable & UINT64_C(1) << c))
			continue;
		if (um_sys_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c) < 0)
			return um_error_errno(err, -errno, "process.capabilities.ambient: %s",
					      um_spec_cap_name(c));
	}
	return 0;
}

static int enter_cwd(const struct um_spec_process *p, struct um_error *err)
{
	char cwd[PATH_MAX];

	um_why("process.cwd");
	if (um_sys_chdir(p->cwd) < 0)
		return um_error_errno(err, -errno, "process.cwd: chdir %s", p->cwd);
	/* "(unreachable)..." would be a directory outside the container's root */
	if (syscall(SYS_getcwd, cwd, sizeof(cwd)) < 0 || cwd[0] != '/')
		return um_error_set(err, -EPERM, "process.cwd: %s is outside the container",
				    p->cwd);
	return 0;
}

void um_process_make_cwd(int root, const struct um_spec_process *p)
{
	int fd = -1;

	um_why("process.cwd is made where it is missing");
	if (um_resolve_create(root, p->cwd, true, &fd, NULL) >= 0)
		um_close(fd);
}

int um_process_keep_fds(unsigned preserve_fds, const int *keep, size_t n, struct um_error *err)
{
	for (unsigned base = 3 + preserve_fds;;) {
		unsigned next = ~0U;

		for (size_t i = 0; i < n; i++)
			if (keep[i] >= 0 && (unsigned)keep[i] >= base && (unsigned)keep[i] < next)
				next = (unsigned)keep[i];
		if (next > base && um_sys_close_range(base, next == ~0U ? next : next - 1, 0) < 0)
			return um_error_errno(err, -errno, "close_range");
		if (next == ~0U)
			return 0;
		base = next + 1;
	}
}

int um_process_check_fds(unsigned preserve_fds, struct um_error *err)
{
	um_explain_clear_of(preserve_fds);
	for (unsigned i = 0; i < preserve_fds; i++)
		if (fcntl((int)(3 + i), F_GETFD) < 0)
			return um_error_set(err, -EBADF,
					    "--preserve-fds %u: descriptor %u is not open",
					    preserve_fds, 3 + i);
	return 0;
}

int um_process_guard(struct um_error *err)
{
	um_why("processes of the same pid namespace can neither trace it nor open its files");
	if (um_sys_prctl(PR_SET_DUMPABLE, 0, 0) < 0)
		return um_error_errno(err, -errno, "PR_SET_DUMPABLE");
	return 0;
}

/* A pipe's own mode lets nobody but its owner open it again, which is what programs without root
 * do by /dev/stdout. Other files are the caller's and stay as they are; so does what may not be
 * changed. */
static void give_pipes(const struct um_spec_process *p)
{
	um_why("process.user may open its own standard output again, as /dev/stdout");
	for (int fd = 0; fd < 3; fd++) {
		struct stat st;

		if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) && st.st_uid != p->uid)
			(void)!um_sys_fchown(fd, p->uid, (gid_t)-1);
	}
}

static int install(const struct um_process_start *s, struct um_error *err)
{
	int r;

	if (s->seccomp->n)
		um_explain_before_filter();
	um_why("linux.seccomp: which system calls there are for the program");
	r = um_seccomp_install(s->seccomp, s->listener);

	return r < 0 ? um_error_errno(err, r, "linux.seccomp: install the filter") : 0;
}

static int confine(const struct um_process_start *s, struct um_error *err)
{
	const struct um_spec_process *p = s->process;
	bool setgroups_allowed = s->setgroups_allowed;
	uint64_t have = 0, until_exec = 0;
	struct um_error own = UM_ERROR_INIT;
	int r = get_caps(&have), cwd;

	if (r < 0)
		return um_error_errno(err, r, "capget");
	give_pipes(p);
	/* by root, who may enter a folder that process.user may not; or by that user, if it is the
	 * other way round */
	cwd = enter_cwd(p, &own);
	if (cwd < 0 && own.code != -EACCES)
		return um_error_move(err, &own);
	r = drop_bounding(p->caps[UM_CAP_BOUNDING], err);
	if (r < 0)
		return r;
	um_why("process.user, its groups first: without root it could not take them");
	if (setgroups_allowed && !s->keep_groups &&
	    um_sys_setgroups(p->n_additional_gids, p->additional_gids) < 0)
		return um_error_errno(err, -errno, "process.user.additionalGids");
	if (!setgroups_allowed && !s->keep_groups && p->n_additional_gids)
		return um_error_set(err, -EPERM,
				    "process.user.additionalGids: setgroups is denied "
				    "in this user namespace");
	if (um_sys_prctl(PR_SET_KEEPCAPS, 1, 0) < 0)
		return um_error_errno(err, -errno, "keep capabilities");
	if (um_sys_setresgid(p->gid, p->gid, p->gid) < 0)
		return um_error_errno(err, -errno, "process.user.gid %u", p->gid);
	if (um_sys_setresuid(p->uid, p->uid, p->uid) < 0)
		return um_error_errno(err, -errno, "process.user.uid %u", p->uid);
	if (um_sys_prctl(PR_SET_KEEPCAPS, 0, 0) < 0)
		return um_error_errno(err, -errno, "keep capabilities");
	/* without no_new_privs the filter needs it */
	if (!p->no_new_privileges && s->seccomp->n)
		until_exec = UINT64_C(1) << CAP_SYS_ADMIN;
	r = apply_caps(p, have, until_exec, err);
	if (r < 0)
		return r;
	um_why("process.user.umask: which rights its new files do not have");
	um_sys_umask(p->umask >= 0 ? (mode_t)p->umask : 0022);
	return cwd < 0 ? enter_cwd(p, err) : 0;
}

static const char *env_of(const struct um_spec_process *p, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < p->env.n; i++)
		if (!strncmp(p->env.v[i], name, len) && p->env.v[i][len] == '=')
			return p->env.v[i] + len + 1;
	return NULL;
}

/* A relative path begins at process.cwd, which need not be where we are yet. */
static int executable(const struct um_spec_process *p, const char *name)
{
	bool relative = name[0] != '/';
	char path[PATH_MAX];
	struct stat st;
	int r = um_io_path(path, sizeof(path), "%s%s%s", relative ? p->cwd : "",
			   relative ? "/" : "", name);

	if (r < 0)
		return r;
	if (stat(path, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

int um_process_find(const struct um_spec_process *p, char *path, size_t size, struct um_error *err)
{
	const char *name = p->args.v[0], *dirs = env_of(p, "PATH");
	bool denied = false;
	int r;

	if (strchr(name, '/')) {
		r = um_io_path(path, size, "%s", name);
		if (r >= 0)
			r = executable(p, path);
		if (r == -ENOENT || r == -ENOTDIR)
			return um_error_set(err, r,
					    "exec: \"%s\": stat %s: no such file or directory",
					    name, name);
		if (r == -EACCES)
			return um_error_set(err, r, "exec: \"%s\": permission denied", name);
		/* callers know the words of EACCES alone, and mean by them "no program": 126 */
		if (r == -EISDIR)
			return um_error_set(err, -EACCES,
					    "exec: \"%s\": is a directory: permission denied",
					    name);
		return r < 0 ? um_error_errno(err, r, "exec: \"%s\"", name) : 0;
	}
	for (const char *d = dirs ? dirs : DEFAULT_PATH;;) {
		size_t len = strcspn(d, ":");

		if (len && um_io_path(path, size, "%.*s/%s", (int)len, d, name) >= 0) {
			r = executable(p, path);
			if (r >= 0)
				return 0;
			denied = denied || r == -EACCES;
		}
		if (!d[len])
			break;
		d += len + 1;
	}
	if (denied)
		return um_error_set(err, -EACCES, "exec: \"%s\": permission denied", name);
	return um_error_set(err, -ENOENT, "exec: \"%s\": executable file not found in $PATH", name);
}

static int pass_fds(unsigned n, struct um_error *err)
{
	um_why("the program gets no descriptor that is not meant for it");
	if (um_sys_close_range(3 + n, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		return um_error_errno(err, -errno, "close_range");
	for (unsigned i = 0; i < n; i++) {
		int flags = fcntl((int)(3 + i), F_GETFD);

		if (flags >= 0)
			fcntl((int)(3 + i), F_SETFD, flags & ~FD_CLOEXEC);
	}
	return 0;
}

int um_process_start(const struct um_process_start *s, struct um_error *err)
{
	static char *const empty[] = {NULL};
	const struct um_spec_process *p = s->process;
	const struct um_strv *env = s->hook && s->hook->env.v ? &s->hook->env : &p->env;
	struct um_strv args = s->hook ? s->hook->args : p->args;
	char path[PATH_MAX], *path_alone[] = {path, NULL};
	int ruleset = -1, r = um_landlock_prepare(s->landlock, &ruleset, err);

	if (r >= 0)
		r = confine(s, err);

	if (r >= 0)
		r = s->hook ? um_io_path(path, sizeof(path), "%s", s->hook->path)
			    : um_process_find(p, path, sizeof(path), err);
	if (r >= 0)
		r = pass_fds(s->preserve_fds, err);
	if (r < 0)
		return r;
	if (p->no_new_privileges) {
		um_why("process.noNewPrivileges: set-user-id programs give nothing");
		if (um_sys_prctl(PR_SET_NO_NEW_PRIVS, 1, 0) < 0)
			return um_error_errno(err, -errno, "process.noNewPrivileges");
	}
	r = um_landlock_enforce(ruleset, err);
	/* as late as can be: a filter need not allow more than execve(2) */
	if (r >= 0)
		r = install(s, err);
	if (r >= 0 && s->late_hooks) {
		struct um_process_start as = *s;

		as.confined = true;
		r = um_hooks_run(s->late_hooks, "startContainer", s->hook_json, &as,
				 s->hooks_output, err);
	}
	if (r < 0)
		return r;
	um_why("the container's program takes the place of this one");
	if (s->hook && !s->hook->args.n)
		args = (struct um_strv){path_alone, 1};
	um_sys_execve(path, args.v, env->v ? env->v : empty);
	r = -errno;
	if (r == -ENOENT)
		return um_error_set(
			err, r, "exec %s: no such file or directory (or its interpreter)", path);
	if (r == -EACCES)
		return um_error_set(err, r, "exec %s: permission denied", path);
	return um_error_errno(err, r, "exec %s", path);
}

/* Looked at before it is opened: opening a device or a pipe does something. */
static FILE *open_passwd(void)
{
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int there = root < 0 ? -1 : um_resolve(root, "etc/passwd"), fd = -1;
	struct stat a, b;

	if (there < 0 || fstat(there, &a) < 0 || !S_ISREG(a.st_mode))
		return NULL;
	fd = um_io_openat2(root, "etc/passwd", O_RDONLY | O_NONBLOCK | O_NOCTTY, 0,
			   RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
	if (fd < 0 || fstat(fd, &b) < 0 || b.st_dev != a.st_dev || b.st_ino != a.st_ino)
		return NULL;
	return fdopen(TAKE_FD(fd), "re");
}

static int add_env(struct um_arena *a, struct um_spec_process *p, char *entry)
{
	char **env = um_arena_zalloc(a, (p->env.n + 2) * sizeof(*env));

	if (!env || !entry)
		return -ENOMEM;
	if (p->env.n)
		memcpy(env, p->env.v, p->env.n * sizeof(*env));
	env[p->env.n++] = entry;
	p->env.v = env;
	return 0;
}

int um_process_tell_fds(struct um_arena *a, struct um_spec_process *p, unsigned n)
{
	int r;

	if (!n || env_of(p, "LISTEN_FDS") || env_of(p, "LISTEN_PID"))
		return 0;
	r = add_env(a, p, um_arena_printf(a, "LISTEN_FDS=%u", n));
	return r < 0 ? r : add_env(a, p, um_arena_printf(a, "LISTEN_PID=%d", getpid()));
}

/* Later values of a variable replace earlier ones. */
static void drop_shadowed(struct um_strv *env)
{
	size_t out = 0;

	for (size_t i = 0; i < env->n; i++) {
		size_t len = strcspn(env->v[i], "=");
		bool again = false;

		for (size_t k = i + 1; k < env->n && !again; k++)
			again = !strncmp(env->v[i], env->v[k], len + 1);
		if (!again)
			env->v[out++] = env->v[i];
	}
	env->n = out;
	if (env->v)
		env->v[out] = NULL;
}

int um_process_home(struct um_arena *a, struct um_spec_process *p)
{
	_cleanup_fclose_ FILE *f = NULL;
	char home[512] = "/";
	const char *given;
	int r;

	drop_shadowed(&p->env);
	given = env_of(p, "HOME");
	if (given && *given)
		return 0;
	f = open_passwd();
	if (f)
		um_user_home(f, p->uid, home, sizeof(home));
	r = add_env(a, p, um_arena_printf(a, "HOME=%s", home));
	drop_shadowed(&p->env); /* an empty one */
	return r;
}
