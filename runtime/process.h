/* What makes a process the container's: limits, identity, capabilities, and the final execve. */
#ifndef UM_RUNTIME_PROCESS_H
#define UM_RUNTIME_PROCESS_H

#include "runtime/seccomp.h"
#include "runtime/spec.h"

/* While all capabilities are there: rlimits, scheduler, ioprio, umask. */
um_must_check int um_process_limits(const struct um_spec_process *p, struct um_error *err);
/* The way into a program. */
struct um_process_start {
	const struct um_spec_process *process;
	const struct um_seccomp_prog *seccomp;
	const struct um_seccomp_listener *listener;
	const struct um_spec_landlock *landlock;
	unsigned preserve_fds; /* fds 3 .. 3 + n - 1 are passed on, others closed */
	bool setgroups_allowed;
	bool keep_groups; /* the caller's stay */
	/* those of startContainer, run when all is in force but execve(2); NULL: none */
	const struct um_spec_hooks *late_hooks;
	const char *hook_json;
	const struct um_hooks_output *hooks_output;
	bool confined;			 /* all is in force already: a hook needs execve(2) alone */
	int proc_fd;			 /* for the security label of a hook, see um_lsm_set() */
	const struct um_spec_hook *hook; /* its program in place of the process's own, or NULL */
};

/* The last steps in their order: ownership of stdio's pipes, bounding set, groups, ids,
 * capabilities, cwd, fds, no_new_privs, Landlock, seccomp, execve. Landlock's rules come first of
 * all: the process may still open what they name. Returns on failure. */
um_must_check int um_process_start(const struct um_process_start *s, struct um_error *err);
/* Looks args[0] up in PATH of the process's env. The result is written to @path. The messages are
 * those that callers look for ("executable file not found in $PATH"). */
um_must_check int um_process_find(const struct um_spec_process *p, char *path, size_t size,
				  struct um_error *err);
/* Closes every fd from 3 + @preserve_fds on but @keep (-1: none). Comes before the first path of
 * the container is used: close-on-exec alone leaves the host's directories within reach of
 * /proc/self/fd in a cwd, a program's path or an interpreter (CVE-2024-21626). */
um_must_check int um_process_keep_fds(unsigned preserve_fds, const int *keep, size_t n,
				      struct um_error *err);
/* Before anything of ours is open: -EBADF when one of fds 3 .. 3 + @preserve_fds - 1 is not. What
 * we open would take its place, and the program would get it. */
um_must_check int um_process_check_fds(unsigned preserve_fds, struct um_error *err);
/* For a process that others in its pid namespace see: until its execve(2) they neither trace it nor
 * look behind its /proc/PID, even when they come to be its equals. */
um_must_check int um_process_guard(struct um_error *err);
/* Makes a missing cwd beneath the directory @root, before that is read-only, through no link of
 * procfs. What stands in the way is left for um_process_start() to report. */
void um_process_make_cwd(int root, const struct um_spec_process *p);
/* Adds HOME from /etc/passwd of the root in use when env has none. Only a regular file is opened,
 * and no more than its first MiB is read. */
/* LISTEN_FDS and LISTEN_PID of sd_listen_fds(3) for the calling process, unless they are there. */
um_must_check int um_process_tell_fds(struct um_arena *a, struct um_spec_process *p, unsigned n);
um_must_check int um_process_home(struct um_arena *a, struct um_spec_process *p);
/* Back to default dispositions and an empty mask. */
void um_process_reset_signals(void);

#endif
