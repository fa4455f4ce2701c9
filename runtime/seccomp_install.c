/* Installing a filter, and telling somebody of its notification descriptor. The filter may stop
 * each system call of the thread that it is on until that somebody has answered, sendmsg(2)
 * included: so a second thread, started before and without the filter, sends it. The first learns
 * by memory alone when that is done. */
#include <linux/seccomp.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/io.h"
#include "base/json.h"
#include "runtime/console.h"
#include "runtime/seccomp.h"
#include "runtime/sys.h"

#define STACK_BYTES (64 << 10)
#define SEND_SECONDS 10

enum { FD_NOT_YET = -1, FD_NONE = -2 };

struct talk {
	const struct um_seccomp_listener *listener;
	int fd;	    /* set by the first thread: the descriptor, or FD_NONE when there is none */
	int result; /* set by the second: 1 not yet, 0 sent, or a negative errno */
};

int um_seccomp_connect(const struct um_spec_seccomp *s, int *ret, struct um_error *err)
{
	struct timeval patience = {.tv_sec = SEND_SECONDS};
	_cleanup_close_ int fd = -1;
	int r;

	*ret = -1;
	if (!s->notifies)
		return 0;
	r = um_console_connect(s->listener_path, &fd, err);
	if (r < 0)
		return um_error_wrap(
			err, r, "linux.seccomp.listenerPath: failed to connect with seccomp agent");
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
		return um_error_errno(err, -errno, "linux.seccomp.listenerPath");
	*ret = TAKE_FD(fd);
	return 0;
}

const char *um_seccomp_listener_json(struct um_arena *a, const struct um_spec_seccomp *s,
				     const char *state_json, int64_t pid)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	struct um_json *o = um_json_new_obj(a), *fds = um_json_new_arr(a), *state = NULL;

	if (um_json_parse(a, state_json, strlen(state_json), NULL, &state, NULL) < 0)
		return NULL;
	um_json_set_str(a, o, "ociVersion", UM_SPEC_VERSION);
	um_json_append(fds, um_json_new_str(a, "seccompFd"));
	um_json_set(a, o, "fds", fds);
	um_json_set_i64(a, o, "pid", pid);
	if (s->listener_metadata)
		um_json_set_str(a, o, "metadata", s->listener_metadata);
	um_json_set(a, o, "state", state);
	if (um_arena_failed(a) || um_json_write(&b, o) < 0)
		return NULL;
	return um_arena_strdup(a, um_buf_str(&b));
}

/* The second thread. It shares everything with the first, errno included, which does not use that
 * meanwhile. The descriptor is closed here, too: as long as this process had it open, nobody would
 * notice that the listener has died, and the first thread would wait for ever. */
static int tell(void *arg)
{
	const struct timespec pause = {.tv_nsec = 20000};
	struct talk *t = arg;
	int fd, r = 0;

	while ((fd = __atomic_load_n(&t->fd, __ATOMIC_ACQUIRE)) == FD_NOT_YET)
		nanosleep(&pause, NULL);
	if (fd >= 0) {
		r = um_console_send_fd(t->listener->socket, fd, t->listener->json);
		um_close(fd);
	}
	um_close(t->listener->socket); /* who reads to its end waits no longer */
	__atomic_store_n(&t->result, r, __ATOMIC_RELEASE);
	syscall(SYS_exit, 0);
	return 0;
}

static int filter(const struct um_seccomp_prog *p, unsigned flags)
{
	struct sock_fprog prog = {.len = p->n, .filter = p->insns};
	int r = um_sys_seccomp(SECCOMP_SET_MODE_FILTER, p->flags | flags, &prog);

	return r < 0 ? -errno : r;
}

int um_seccomp_install(const struct um_seccomp_prog *p, const struct um_seccomp_listener *l)
{
	struct talk t = {.listener = l, .fd = FD_NOT_YET, .result = 1};
	char *stack;
	int fd, r;

	if (!p->n)
		return 0;
	if (l->socket < 0)
		return filter(p, 0);
	stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED)
		return -errno;
	/* It ends before this returns; at the latest execve(2) ends it and frees the stack. */
	if (um_sys_thread(tell, stack + STACK_BYTES, &t) < 0)
		return -errno;
	fd = filter(p, SECCOMP_FILTER_FLAG_NEW_LISTENER);
	__atomic_store_n(&t.fd, fd < 0 ? FD_NONE : fd, __ATOMIC_RELEASE);
	while ((r = __atomic_load_n(&t.result, __ATOMIC_ACQUIRE)) > 0)
		; /* no system call: the filter might hold it */
	return fd < 0 ? fd : r;
}
