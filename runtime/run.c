/* run: create, start, wait, delete in one process. */
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/io.h"
#include "runtime/console.h"
#include "runtime/create.h"
#include "runtime/process.h"
#include "runtime/state.h"
#include "runtime/sync.h"
#include "runtime/sys.h"
#include "runtime/wait.h"

int um_wait_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int um_wait_forwarding(pid_t pid, int pidfd, const sigset_t *blocked, struct um_error *err)
{
	for (;;) {
		siginfo_t info;
		int status, sig;
		pid_t done = waitpid(pid, &status, WNOHANG);

		if (done < 0)
			return um_error_errno(err, -errno, "wait for process %d", pid);
		if (done == pid)
			return um_wait_status(status);
		sig = sigwaitinfo(blocked, &info);
		um_why("a signal that came to us is the container's");
		if (sig > 0 && sig != SIGCHLD)
			um_sys_pidfd_signal(pidfd, sig);
	}
}

void um_wait_block_signals(sigset_t *set)
{
	static const int forwarded[] = {SIGHUP,	 SIGINT,  SIGQUIT,  SIGTERM, SIGUSR1,
					SIGUSR2, SIGCONT, SIGWINCH, SIGCHLD};

	sigemptyset(set);
	for (size_t i = 0; i < UM_ARRAY_LEN(forwarded); i++)
		sigaddset(set, forwarded[i]);
	sigprocmask(SIG_BLOCK, set, NULL);
}

static int wait_for(struct um_creation *c, const sigset_t *signals, int master,
		    struct um_error *err)
{
	int status;

	if (master < 0)
		return um_wait_forwarding((pid_t)c->state.pid, c->pidfd, signals, err);
	sigprocmask(SIG_UNBLOCK, signals, NULL);
	if (um_console_relay(master, c->pidfd, err) < 0)
		um_sys_pidfd_signal(c->pidfd, SIGKILL);
	while (waitpid((pid_t)c->state.pid, &status, 0) < 0)
		if (errno != EINTR)
			return um_error_errno(err, -errno, "wait for the container");
	return um_wait_status(status);
}

/* Lets the init go on. Its end of the socket closes by execve; a message before that is why not. */
static int go(struct um_creation *c, struct um_error *err)
{
	struct um_sync_msg m;
	int r = um_sync_send(c->sync_fd, UM_SYNC_CONTINUE, NULL);

	if (r < 0)
		return um_error_set(err, r, "the container's init process died");
	r = um_sync_recv(c->sync_fd, &m);
	if (r == 0 && m.type == UM_SYNC_ERROR)
		return um_error_move(err, &m.error);
	return um_runtime_run_hooks(c->dir, &c->state, c->arena, UM_HOOK_POSTSTART, "running", err);
}

int um_runtime_run(const struct um_runtime *rt, const struct um_runtime_create *opts,
		   struct um_error *err)
{
	_cleanup_(um_creation_release) struct um_creation c;
	_cleanup_close_ int console = -1, master = -1;
	struct um_runtime_create o = *opts;
	int pair[2] = {-1, -1}, r = um_process_check_fds(o.preserve_fds, err);
	sigset_t signals;

	um_creation_init(&c);
	if (r < 0)
		return r;
	o.detach = o.detach || o.as_sibling;
	if (o.console_socket) {
		r = um_console_connect(o.console_socket, &console, err);
	} else if (!o.detach) {
		/* should the container want a terminal, it is ours to serve */
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
			return um_error_errno(err, -errno, "socketpair");
		console = pair[0];
	}
	if (r < 0)
		return r;
	um_why("what the container leaves behind becomes a child of ours");
	if (!o.detach && !o.no_subreaper)
		um_sys_prctl(PR_SET_CHILD_SUBREAPER, 1, 0);
	um_wait_block_signals(&signals);
	r = um_creation_run(&c, rt, &o, true, console, err);
	if (r >= 0 && !o.console_socket && !o.detach && c.spec->process.terminal)
		r = um_console_receive(pair[1], &master, err);
	um_close(pair[1]);
	if (r < 0)
		return r;
	r = go(&c, err);
	c.dir = um_close(c.dir); /* set-up is over: others may take the lock while we wait */
	if (r >= 0 && !o.detach)
		r = wait_for(&c, &signals, master, err);
	if (r < 0 && master >= 0)
		um_console_drain(master);
	if (r < 0 || (!o.detach && !o.keep)) {
		int d;

		um_why("the container could not be started");
		if (r < 0)
			um_sys_pidfd_signal(c.pidfd, SIGKILL);
		if (r < 0 && !o.as_sibling)
			waitpid((pid_t)c.state.pid, NULL, 0);
		d = um_runtime_delete(rt, o.id, true, r < 0 ? NULL : err);
		if (r >= 0 && d < 0)
			r = d;
	}
	return r >= 0 && o.detach ? 0 : r;
}
