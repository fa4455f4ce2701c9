#include "runtime/hooks.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/io.h"
#include "runtime/explain.h"
#include "runtime/lsm.h"
#include "runtime/process.h"
#include "runtime/sys.h"

int um_hooks_open_output(const struct um_spec *s, struct um_hooks_output *ret, struct um_error *err)
{
	for (int i = 0; i < 2; i++) {
		const char *path = s->asked.hooks_output[i];

		if (!path)
			continue;
		um_why("annotations: where the output of hooks is to go");
		ret->fd[i] = um_sys_create(
			AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
		if (ret->fd[i] < 0)
			return um_error_errno(err, -errno, "annotations.run.oci.hooks.%s: %s",
					      i ? "stderr" : "stdout", path);
	}
	return 0;
}

void um_hooks_output_release(struct um_hooks_output *o)
{
	for (int i = 0; i < 2; i++)
		o->fd[i] = um_close(o->fd[i]);
}

static void child(const struct um_spec_hook *h, const struct um_process_start *as, int input,
		  const struct um_hooks_output *output)
{
	static char *const empty[] = {NULL};
	struct um_process_start start;
	char *args[] = {(char *)(uintptr_t)h->path, NULL};

	const int keep[] = {um_explain_fd()};

	um_explain_child("hook", 0);
	um_process_reset_signals();
	um_sys_setsid(); /* a time-out kills the whole group */
	for (int i = 0; i < 2; i++)
		if (output->fd[i] >= 0 && um_sys_dup2(output->fd[i], 1 + i) < 0)
			_exit(127);
	if (as && !as->confined && um_lsm_set(as->process, as->proc_fd, NULL) < 0)
		_exit(127);
	if (um_sys_dup2(input, 0) < 0 || um_process_keep_fds(0, keep, 1, NULL) < 0)
		_exit(127);
	if (as && as->confined) {
		um_sys_execve(h->path, h->args.n ? h->args.v : args,
			      h->env.v ? h->env.v : as->process->env.v);
		_exit(127);
	}
	if (as) {
		start = *as;
		start.hook = h;
		start.preserve_fds = 0;
		(void)!um_process_start(&start, NULL);
		_exit(127);
	}
	um_sys_execve(h->path, h->args.n ? h->args.v : args,
		      h->env.v	? h->env.v
		      : environ ? environ
				: empty);
	_exit(127);
}

/* A file instead of a pipe: a hook that does not read cannot block us. */
static int input_of(const char *text)
{
	int fd = memfd_create("state", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (um_io_write_all(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return um_close(fd), -EIO;
	return fd;
}

static int run_one(const struct um_spec_hook *h, const char *state_json,
		   const struct um_process_start *as, const struct um_hooks_output *output,
		   struct um_error *err)
{
	_cleanup_close_ int input = input_of(state_json), pidfd = -1;
	struct clone_args args = {
		.flags = CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&pidfd, .exit_signal = SIGCHLD};
	struct pollfd p;
	int status, n;
	pid_t pid;

	if (input < 0)
		return um_error_errno(err, input, "state for the hook");
	pid = um_sys_clone3(&args);
	if (pid < 0)
		return um_error_errno(err, -errno, "clone");
	if (!pid)
		child(h, as, input, output);
	p = (struct pollfd){.fd = pidfd, .events = POLLIN};
	if (h->timeout_sec) {
		int64_t end =
			um_clock_monotonic(&um_clock_system) + h->timeout_sec * UM_NSEC_PER_SEC;

		do {
			int64_t left =
				(end - um_clock_monotonic(&um_clock_system)) / UM_NSEC_PER_MSEC;

			n = poll(&p, 1, left > 0 ? (int)left : 0);
		} while (n < 0 && errno == EINTR);
		if (n == 0) {
			um_sys_kill(-pid, SIGKILL);
			um_sys_pidfd_signal(pidfd, SIGKILL);
		}
	} else {
		n = 1;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return um_error_errno(err, -errno, "wait");
	if (n == 0)
		return um_error_set(err, -ETIMEDOUT, "%s: timed out after %lld s", h->path,
				    (long long)h->timeout_sec);
	if (WIFSIGNALED(status))
		return um_error_set(err, -EIO, "%s: killed by signal %d%s", h->path,
				    WTERMSIG(status),
				    WTERMSIG(status) == SIGSYS ? " (bad system call)" : "");
	if (WEXITSTATUS(status) == 127)
		return um_error_set(err, -ENOEXEC, "%s: cannot be executed, or exit status 127",
				    h->path);
	if (WEXITSTATUS(status))
		return um_error_set(err, -EIO, "%s: exit status %d", h->path, WEXITSTATUS(status));
	return 0;
}

int um_hooks_run(const struct um_spec_hooks *hooks, const char *kind, const char *state_json,
		 const struct um_process_start *as, const struct um_hooks_output *output,
		 struct um_error *err)
{
	for (size_t i = 0; i < hooks->n; i++) {
		int r;

		um_why("hooks.%s[%zu]: a program of the caller's", kind, i);
		r = run_one(&hooks->v[i], state_json, as, output, err);
		if (r < 0)
			return um_error_wrap(err, r, "hooks.%s[%zu]: error running %s hook #%zu",
					     kind, i, kind, i);
	}
	return 0;
}
