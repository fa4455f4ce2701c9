/* The pod's namespaces. The shim makes them, keeps them by descriptor and goes back to the host's:
 * they live as long as it does, and nothing is mounted anywhere to pin them. */
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/shim/shim.h"

static const char *bring_lo_up(void)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP};

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
		return "bring lo up in the pod's network namespace";
	return NULL;
}

/* Reaps what is left to it and ends with the namespace. */
_Noreturn static void shared_init(void)
{
	sigset_t all;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "umiak-init");
	close_range(0, ~0U, 0);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (;;) {
		int sig;

		sigwait(&all, &sig);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

static const char *make_pid_namespace(struct shim_namespaces *ns)
{
	char path[64];
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid < 0)
		return "make the shared PID namespace";
	if (pid == 0)
		shared_init();
	ns->init = pid;
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	ns->pid = open(path, O_RDONLY | O_CLOEXEC);
	return ns->pid < 0 ? "open the shared PID namespace" : NULL;
}

struct kind {
	int flag;
	const char *path;
	bool wanted;
	int *fd;
};

const char *shim_ns_make(struct shim_namespaces *ns)
{
	struct kind kinds[] = {
		{CLONE_NEWNET, "/proc/self/ns/net", shim_opt.new_net, &ns->net},
		{CLONE_NEWIPC, "/proc/self/ns/ipc", shim_opt.new_ipc, &ns->ipc},
		{CLONE_NEWUTS, "/proc/self/ns/uts", shim_opt.hostname != NULL, &ns->uts},
	};
	int host[UM_ARRAY_LEN(kinds)], flags = 0;
	const char *failed = NULL;

	*ns = (struct shim_namespaces){-1, -1, -1, -1, 0};
	for (size_t i = 0; i < UM_ARRAY_LEN(kinds); i++) {
		host[i] = -1;
		if (!kinds[i].wanted)
			continue;
		flags |= kinds[i].flag;
		host[i] = open(kinds[i].path, O_RDONLY | O_CLOEXEC);
		if (host[i] < 0)
			return "open the host's namespaces";
	}
	if (flags && unshare(flags) < 0)
		return "make the pod's namespaces";
	for (size_t i = 0; i < UM_ARRAY_LEN(kinds) && !failed; i++) {
		if (!kinds[i].wanted)
			continue;
		*kinds[i].fd = open(kinds[i].path, O_RDONLY | O_CLOEXEC);
		if (*kinds[i].fd < 0)
			failed = "open the pod's namespaces";
	}
	if (!failed && shim_opt.hostname &&
	    sethostname(shim_opt.hostname, strlen(shim_opt.hostname)) < 0)
		failed = "set the pod's hostname";
	if (!failed && shim_opt.new_net)
		failed = bring_lo_up();
	for (size_t i = 0; i < UM_ARRAY_LEN(kinds); i++) {
		if (host[i] < 0)
			continue;
		if (setns(host[i], kinds[i].flag) < 0 && !failed)
			failed = "go back to the host's namespaces";
		close(host[i]);
	}
	if (!failed && shim_opt.new_pid)
		failed = make_pid_namespace(ns);
	return failed;
}
