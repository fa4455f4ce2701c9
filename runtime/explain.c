#include "runtime/explain.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/num.h"
#include "runtime/explain_calls.h"
#include "runtime/sys.h"

enum {
	LOWEST_FD = 900,    /* out of the way of descriptors that are counted from 3 */
	PATIENCE_MS = 2000, /* for a reader that does not read, once in a process */
	STACK_BYTES = 64 << 10,
	RING_BYTES = 64 << 10,
};

/* What the first thread says and the second writes: whole lines, at most one lap ahead. */
struct ring {
	size_t said, written; /* bytes, ever; of the first and of the second thread */
	bool dead;	      /* the second has given up */
	char data[RING_BYTES];
};

static struct {
	int fd; /* -1: nothing is told */
	bool json, inside, skip, alone;
	char role[16];
	int pid;
	char why[200], told_why[200];
	const char *name;
	long args[6];
	char call[1000], command[900];
	struct ring *ring; /* NULL: this thread writes itself */
} x = {.fd = -1};

/* ---- writing ---- */

/* One line, or none of it. -1: there is nobody to read any more. */
static int put(int fd, const char *text, size_t len)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	int n = fd < 0 ? -1 : poll(&p, 1, PATIENCE_MS);

	if (n < 0 && fd >= 0 && errno == EINTR)
		n = poll(&p, 1, PATIENCE_MS);
	if (n <= 0 || p.revents & (POLLERR | POLLNVAL) || !(p.revents & POLLOUT))
		return -1;
	return write(fd, text, len) == (ssize_t)len ? 0 : -1;
}

/* SIGPIPE has its default effect in a container's process, and is not meant for it. */
static int put_quietly(int fd, const char *text, size_t len)
{
	const struct timespec now = {0, 0};
	sigset_t pipe_signal, old;
	int r;

	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	sigprocmask(SIG_BLOCK, &pipe_signal, &old);
	r = put(fd, text, len);
	if (r < 0 && !sigismember(&old, SIGPIPE))
		sigtimedwait(&pipe_signal, NULL, &now);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return r;
}

/* ---- the second thread ---- */

/* It shares everything with the first, errno included: what it calls must not fail, except where
 * there is nobody to read, and then once. */

/* Bytes up to a line's end, out of the ring. */
static size_t next_line(const struct ring *r, size_t from, size_t to, char *line, size_t size)
{
	size_t n = 0;

	while (from + n < to && n < size) {
		line[n] = r->data[(from + n) % RING_BYTES];
		if (line[n++] == '\0')
			break;
	}
	return n;
}

static int writer(void *arg)
{
	const struct timespec pause = {.tv_nsec = 20000};
	struct ring *r = arg;
	char line[PIPE_BUF];
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (;;) {
		size_t said = __atomic_load_n(&r->said, __ATOMIC_ACQUIRE), n;

		if (said == r->written) {
			nanosleep(&pause, NULL);
			continue;
		}
		n = next_line(r, r->written, said, line, sizeof(line));
		if (!r->dead && put(x.fd, line, n - 1) < 0)
			__atomic_store_n(&r->dead, true, __ATOMIC_RELEASE);
		__atomic_store_n(&r->written, r->written + n, __ATOMIC_RELEASE);
	}
	return 0;
}

/* A line ends with NUL there. The second thread goes on in any case, so that this ends. */
static void say(struct ring *r, const char *text, size_t len)
{
	while (r->said + len + 1 - __atomic_load_n(&r->written, __ATOMIC_ACQUIRE) > RING_BYTES)
		;
	for (size_t i = 0; i <= len; i++)
		r->data[(r->said + i) % RING_BYTES] = i < len ? text[i] : '\0';
	__atomic_store_n(&r->said, r->said + len + 1, __ATOMIC_RELEASE);
}

static void flush(const struct ring *r)
{
	while (__atomic_load_n(&r->written, __ATOMIC_ACQUIRE) != r->said)
		; /* no system call: the filter might not let it pass */
}

void um_explain_before_filter(void)
{
	struct ring *r;
	char *stack;

	if (x.fd < 0 || x.ring)
		return;
	r = mmap(NULL, sizeof(*r) + STACK_BYTES, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (r == MAP_FAILED) {
		um_explain_stop();
		return;
	}
	um_why("the filter may forbid this process to write: a thread without it tells the rest");
	stack = (char *)r + sizeof(*r) + STACK_BYTES;
	/* execve(2) or exit_group(2) ends it */
	if (um_sys_thread(writer, (void *)((uintptr_t)stack & ~(uintptr_t)15), r) < 0)
		um_explain_stop();
	else
		x.ring = r;
	x.inside = true;
}

/* ---- steps ---- */

static void json_text(struct um_line *l, const char *key, const char *s)
{
	um_line_add(l, ",\"%s\":\"", key);
	for (; *s; s++)
		if (*s == '"' || *s == '\\')
			um_line_add(l, "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			um_line_add(l, "\\u%04x", *s);
		else
			um_line_add(l, "%c", *s);
	um_line_add(l, "\"");
}

static void render_json(struct um_line *l, const char *result)
{
	um_line_add(l, "{\"process\":\"%s\",\"pid\":%d", x.role, x.pid);
	json_text(l, "why", x.why);
	json_text(l, "name", x.name);
	json_text(l, "call", x.call);
	if (!result)
		um_line_add(l, ",\"result\":null");
	else
		json_text(l, "result", result);
	json_text(l, "command", x.command);
	um_line_add(l, "}\n");
}

static void render_text(struct um_line *l, const char *result)
{
	char who[40];

	snprintf(who, sizeof(who), "[%s %d]", x.role, x.pid);
	if (strcmp(x.why, x.told_why))
		um_line_add(l, "%s %s\n", who, x.why);
	strcpy(x.told_why, x.why);
	um_line_add(l, "%s     %s%s%s\n%*s     $ %s\n", who, x.call, result ? " = " : "",
		    result ? result : "", (int)strlen(who), "", x.command);
}

static void tell(const char *result)
{
	char text[PIPE_BUF];
	struct um_line l = {.text = text, .size = sizeof(text)};

	if (x.json)
		render_json(&l, result);
	else
		render_text(&l, result);
	if (x.ring) {
		say(x.ring, l.text, l.len);
		flush(x.ring); /* the next call may be this process's last */
	} else if (put_quietly(x.fd, l.text, l.len) < 0) {
		um_explain_stop();
	}
}

static struct um_explained this_call(void)
{
	return (struct um_explained){.name = x.name,
				     .args = x.args,
				     .look_up = !x.inside,
				     .filtered = x.ring,
				     .call = {.text = x.call, .size = sizeof(x.call)},
				     .command = {.text = x.command, .size = sizeof(x.command)}};
}

static void before(const char *name, const long *args, bool alone)
{
	struct um_explained e;

	x.name = name;
	x.alone = alone;
	memcpy(x.args, args, sizeof(x.args));
	e = this_call();
	x.skip = !um_explain_call(&e);
	if (!x.skip && alone)
		tell(NULL);
}

static void after(long result, int error)
{
	const struct um_explained e = this_call();
	char text[40];

	if (x.skip || x.alone)
		return;
	if (result < 0)
		snprintf(text, sizeof(text), "-1 %s", strerrorname_np(error));
	else
		snprintf(text, sizeof(text), strcmp(x.name, "umask") ? "%ld" : "%#03lo", result);
	um_explain_made(&e, result);
	tell(text);
}

static void why(const char *fmt, va_list ap)
{
	vsnprintf(x.why, sizeof(x.why), fmt, ap);
	/* the text is the configuration's in part: one printable line */
	for (char *p = x.why; *p; p++)
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
			*p = '?';
}

/* ---- from where, and until when ---- */

/* As the /proc of the host numbers it, which is what strace(1) shows, too. */
static int own_pid(void)
{
	char text[24];
	ssize_t n = readlink("/proc/self", text, sizeof(text) - 1);
	uint64_t pid;

	if (n <= 0 || um_num_u64n(text, (size_t)n, INT_MAX, &pid) < 0)
		return getpid();
	return (int)pid;
}

void um_explain_start(int fd, bool json)
{
	static const struct um_watch watch = {before, after, why};
	int flags = fcntl(fd, F_GETFL);

	if (x.fd >= 0 || flags < 0 || (flags & O_ACCMODE) == O_RDONLY || flags & O_PATH)
		return;
	x.fd = fcntl(fd, F_DUPFD_CLOEXEC, LOWEST_FD);
	if (x.fd < 0)
		x.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (x.fd < 0)
		return;
	x.json = json;
	um_explain_child("umiak-oci", 0);
	snprintf(x.why, sizeof(x.why), "set up");
	um_watch = &watch;
}

int um_explain_fd(void)
{
	return x.fd;
}

bool um_explain_json(void)
{
	return x.json;
}

void um_explain_clear_of(unsigned preserve_fds)
{
	int moved;

	if (x.fd < 0 || (unsigned)x.fd >= 3 + preserve_fds)
		return;
	moved = fcntl(x.fd, F_DUPFD_CLOEXEC, (int)(3 + preserve_fds));
	if (moved < 0) {
		um_explain_stop();
		return;
	}
	close(x.fd);
	x.fd = moved;
}

void um_explain_child(const char *role, int pid)
{
	if (x.fd < 0)
		return;
	snprintf(x.role, sizeof(x.role), "%s", role);
	x.pid = pid ? pid : own_pid();
	x.told_why[0] = '\0';
	x.ring = NULL;
}

void um_explain_inside(void)
{
	x.inside = true;
}

void um_explain_stop(void)
{
	um_watch = NULL;
	x.fd = um_close(x.fd);
}
