#include "runtime/shim/start.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "runtime/shim/client.h"
#include "runtime/sys.h"

extern char **environ;

static void reset_signals(void)
{
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		(void)signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In a copy of a process that may have threads: system calls only. */
static _Noreturn void become_shim(const struct um_shim_start *s, int ready_fd, bool in_v2)
{
	static const char failed[] = "error: cannot join the shims' cgroup\n";
	static const char no_program[] = "error: cannot be executed\n";
	int null = open("/dev/null", O_RDWR);

	if (um_cgroup_join_self(s->group, in_v2) < 0) {
		(void)!write(ready_fd, failed, sizeof(failed) - 1);
		_exit(1);
	}
	for (int i = STDIN_FILENO; i <= (s->quiet ? STDERR_FILENO : STDIN_FILENO); i++)
		dup2(null, i);
	dup2(ready_fd, 3);
	reset_signals();
	execve(s->argv[0], s->argv, environ);
	(void)!write(3, no_program, sizeof(no_program) - 1);
	_exit(127);
}

static int clone_shim(struct um_shim_start *s, int ready_fd)
{
	struct clone_args args = {.exit_signal = SIGCHLD};
	int cgroup_fd = um_cgroup_clone_fd(s->group);
	sigset_t all, before;
	int pid, saved;

	if (cgroup_fd >= 0) {
		args.flags = CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup_fd;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all,
			&before); /* no handler of the caller's runs in the copy */
	pid = um_sys_clone3(&args);
	saved = errno;
	if (!pid)
		become_shim(s, ready_fd, cgroup_fd >= 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return -saved;
	s->pid = pid;
	return 0;
}

static int wait_ready(struct um_shim_start *s, int fd, struct um_error *err)
{
	char line[400];
	int r = um_shim_read_ready(fd, line, sizeof(line), s->timeout_ms, err);

	if (r == 0 && sscanf(line, "ready pid=%*d net=%d ipc=%d uts=%d pid_ns=%d", &s->ns_net,
			     &s->ns_ipc, &s->ns_uts, &s->ns_pid) != 4)
		r = um_error_set(err, -EIO, "umiak-shim said \"%s\"", line);
	return r < 0 ? um_error_wrap(err, r, "start %s", s->argv[0]) : 0;
}

int um_shim_start(struct um_shim_start *s, struct um_error *err)
{
	_cleanup_close_ int from = -1, to = -1;
	int fds[2], r;

	s->pid = 0;
	s->ns_net = s->ns_ipc = s->ns_uts = s->ns_pid = -1;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return um_error_errno(err, -errno, "pipe for umiak-shim");
	from = fds[0];
	to = fcntl(fds[1], F_DUPFD_CLOEXEC, 4); /* clear of the numbers that the shim gets */
	close(fds[1]);
	r = to < 0 ? -errno : clone_shim(s, to);
	if (r < 0)
		return um_error_errno(err, r, "clone3 for %s", s->argv[0]);
	to = um_close(to);
	r = wait_ready(s, from, err);
	if (r < 0) {
		kill(s->pid, SIGKILL);
		waitpid(s->pid, NULL, 0);
		s->pid = 0;
	}
	return r;
}
