/* Requests to systemd through the helper, and the process that holds a new scope open. */
#include "runtime/systemd.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "base/fault.h"
#include "base/io.h"
#include "runtime/explain.h"
#include "runtime/process.h"
#include "runtime/sys.h"

extern char **environ;

#define MAX_REQUEST (1u << 20)
#define HELPER_WAIT_MS 90000 /* it gives up before */

enum { HELPER_FAILED = 1, HELPER_NO_SYSTEMD = 2, HELPER_TAKEN = 3, HELPER_MISSING = 127 };

/* @fds: standard input, output and error. */
static void child(const char *const *argv, const int *fds)
{
	const int keep[] = {um_explain_fd()};

	um_explain_child("systemd", 0);
	um_process_reset_signals();
	um_why("the helper dies with us");
	um_sys_prctl(PR_SET_PDEATHSIG, SIGKILL, 0);
	um_why("it has the request, and nothing else of ours");
	for (int i = 0; i < 3; i++)
		if (um_sys_dup2(fds[i], i) < 0)
			_exit(HELPER_FAILED);
	if (um_process_keep_fds(0, keep, 1, NULL) < 0)
		_exit(HELPER_FAILED);
	um_why("the helper speaks to systemd: it links libsystemd, which cannot be linked "
	       "statically");
	um_sys_execve(argv[0], (char *const *)(uintptr_t)argv, environ);
	_exit(HELPER_MISSING);
}

/* Above the standard descriptors, which its child gives it one after the other. */
static int memory_file(const struct um_buf *content)
{
	int low = memfd_create("systemd", MFD_CLOEXEC), fd;

	if (low < 0)
		return -errno;
	fd = fcntl(low, F_DUPFD_CLOEXEC, 3);
	um_close(low);
	if (fd < 0)
		return -errno;
	if (content &&
	    (um_io_write_all(fd, content->data, content->len) < 0 || lseek(fd, 0, SEEK_SET) < 0))
		return um_close(fd), -EIO;
	return fd;
}

/* The first line of a file that was written from its start. */
static void first_line(int fd, char *text, size_t size)
{
	ssize_t n = pread(fd, text, size - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
}

static int failed(const struct um_systemd_scope *s, int status, const char *said,
		  struct um_error *err)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	if (code == HELPER_MISSING)
		return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
					   "--systemd-cgroup: %s cannot be executed", s->helper);
	if (code == HELPER_NO_SYSTEMD)
		return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
					   "--systemd-cgroup: %s", said);
	if (code == HELPER_TAKEN)
		return um_error_set(err, -EBUSY, "systemd: unit %s exists already", s->unit);
	return um_error_set(err, -EIO, "systemd: unit %s: %s", s->unit,
			    *said ? said : "the helper died");
}

static int call(const struct um_systemd_scope *s, const char *verb, const struct um_buf *request,
		char *answer, size_t size, struct um_error *err)
{
	const char *const argv[] = {s->helper, s->user ? "user" : "system", verb, s->unit, NULL};
	_cleanup_close_ int in = memory_file(request), out = memory_file(NULL),
			    told = memory_file(NULL), pidfd = -1;
	struct clone_args args = {
		.flags = CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&pidfd, .exit_signal = SIGCHLD};
	const int fds[] = {in, out, told};
	struct pollfd p;
	char said[400];
	int status, n;
	pid_t pid;

	if (in < 0 || out < 0 || told < 0)
		return um_error_set(err, -EIO, "systemd: memfd_create failed");
	um_why("a request to systemd, for the container's scope");
	pid = um_sys_clone3(&args);
	if (pid < 0)
		return um_error_errno(err, -errno, "clone");
	if (!pid)
		child(argv, fds);
	p = (struct pollfd){.fd = pidfd, .events = POLLIN};
	do
		n = poll(&p, 1, HELPER_WAIT_MS);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		um_sys_pidfd_signal(pidfd, SIGKILL);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return um_error_errno(err, -errno, "wait");
	first_line(told, said, sizeof(said));
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return failed(s, status, said, err);
	first_line(out, answer, size);
	return 0;
}

/* What systemd says must be the unit that was asked for: its group is written to, and removed. */
static int check_cgroup(const struct um_systemd_names *names, const char *cgroup,
			struct um_error *err)
{
	_cleanup_buf_ struct um_buf slice = UM_BUF_INIT(64 << 10), want = UM_BUF_INIT(64 << 10);
	int r = um_systemd_expand(names->slice, &slice, err);

	if (r < 0)
		return r;
	um_buf_addf(&want, "/%s%s%s", um_buf_str(&slice), slice.len ? "/" : "", names->unit);
	if (um_buf_error(&want))
		return -ENOMEM;
	if (strlen(cgroup) < want.len ||
	    strcmp(cgroup + strlen(cgroup) - want.len, um_buf_str(&want)) != 0)
		return um_error_set(err, -EPROTO, "systemd: unit %s is in %.200s, not in %s",
				    names->unit, cgroup, um_buf_str(&want));
	return um_cgroup_check_path(cgroup, err);
}

int um_systemd_start(struct um_arena *a, const struct um_systemd_scope *s,
		     const struct um_systemd_names *names, const char *id, pid_t pid,
		     const struct um_spec *spec, const struct um_cgroup_limits *l, bool v2,
		     const struct um_cgroup_device *rules, size_t n_rules, const char **ret,
		     struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(MAX_REQUEST);
	char cgroup[2048];
	int r;

	um_buf_addf(&b,
		    "s Description container %s\ns Slice %s\nau PIDs %d\nb Delegate 1\n"
		    "b DefaultDependencies 0\ns CollectMode inactive-or-failed\n"
		    "b MemoryAccounting 1\nb CPUAccounting 1\nb TasksAccounting 1\n%s",
		    id, names->slice, (int)pid, v2 ? "b IOAccounting 1\n" : "");
	r = um_systemd_properties(l, v2, &b, err);
	if (r < 0)
		return r;
	um_systemd_devices(rules, n_rules, &b);
	r = um_systemd_annotations(spec->annotations, spec->n_annotations, &b, err);
	if (r < 0)
		return r;
	r = call(s, "start", &b, cgroup, sizeof(cgroup), err);
	UM_FAULT("runtime.systemd.started");
	if (r >= 0) {
		r = check_cgroup(names, cgroup, err);
		if (r < 0)
			(void)!um_systemd_stop(s, NULL);
	}
	if (r < 0)
		return r;
	*ret = um_arena_strdup(a, cgroup);
	return *ret ? 0 : -ENOMEM;
}

int um_systemd_update(const struct um_systemd_scope *s, const struct um_cgroup_limits *l, bool v2,
		      const struct um_cgroup_device *rules, size_t n_rules, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(MAX_REQUEST);
	char nothing[8];
	int r = um_systemd_properties(l, v2, &b, err);

	if (r < 0)
		return r;
	if (n_rules)
		um_systemd_devices(rules, n_rules, &b);
	if (um_buf_error(&b))
		return -ENOMEM;
	return b.len ? call(s, "update", &b, nothing, sizeof(nothing), err) : 0;
}

int um_systemd_attach(const struct um_systemd_scope *s, pid_t pid, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(64);
	char nothing[8];

	if (um_buf_addf(&b, "%d", (int)pid) < 0)
		return -ENOMEM;
	return call(s, "attach", &b, nothing, sizeof(nothing), err);
}

int um_systemd_stop(const struct um_systemd_scope *s, struct um_error *err)
{
	char nothing[8];

	return call(s, "stop", NULL, nothing, sizeof(nothing), err);
}

int um_systemd_hold(pid_t *ret, struct um_error *err)
{
	pid_t parent = getpid(), pid;

	um_why("a scope cannot be empty: a process that waits holds it until the init is there");
	pid = um_sys_fork();

	if (pid < 0)
		return um_error_errno(err, -errno, "fork");
	if (!pid) {
		const int keep[] = {um_explain_fd()};

		um_explain_child("holder", 0);
		um_process_reset_signals();
		um_why("the lock of the state folder is not its own, and it dies with us");
		if (um_process_keep_fds(0, keep, 1, NULL) < 0)
			_exit(1);
		um_sys_prctl(PR_SET_PDEATHSIG, SIGKILL, 0);
		if (getppid() != parent)
			_exit(0);
		for (;;)
			pause();
	}
	*ret = pid;
	return 0;
}

void um_systemd_let_go(pid_t *pid)
{
	if (*pid <= 0)
		return;
	um_why("the scope holds without it");
	um_sys_kill(*pid, SIGKILL);
	while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
		;
	*pid = 0;
}
