#include "runtime/shim/client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

int um_shim_read_ready(int fd, char *line, size_t size, int timeout_ms, struct um_error *err)
{
	struct pollfd pfd = {fd, POLLIN, 0};
	size_t len = 0;

	for (;;) {
		ssize_t n;

		if (poll(&pfd, 1, timeout_ms) == 0)
			return um_error_set(err, -ETIMEDOUT, "umiak-shim was not ready in time");
		n = read(fd, line + len, size - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return um_error_set(err, -EIO, "umiak-shim ended before it was ready");
		len += (size_t)n;
		line[len] = '\0';
		if (strchr(line, '\n'))
			break;
		if (len == size - 1)
			return um_error_set(err, -EIO, "umiak-shim said too much");
	}
	*strchr(line, '\n') = '\0';
	if (!strncmp(line, "error: ", 7))
		return um_error_set(err, -EIO, "umiak-shim: %s", line + 7);
	return 0;
}

int um_shim_connect(const char *dir)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int n = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", dir, UM_SHIM_SOCKET);

	if (fd < 0)
		return -errno;
	if (n < 0 || (size_t)n >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int um_shim_receive(int fd, struct um_shim_msg *m, int timeout_ms)
{
	struct pollfd p = {fd, POLLIN, 0};
	int64_t end = now_ms() + timeout_ms;
	ssize_t n;
	int r;

	for (;;) {
		int left = timeout_ms < 0 ? -1 : (int)(end - now_ms());

		r = poll(&p, 1, timeout_ms >= 0 && left < 0 ? 0 : left);
		if (r == 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return -errno;
		n = r < 0 ? -1 : recv(fd, m->data, sizeof(m->data), MSG_DONTWAIT | MSG_TRUNC);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		m->len = n > 0 ? (size_t)n : 0;
		m->truncated = 0;
		return n > 0 && um_shim_valid(m) ? 1 : -EPIPE;
	}
}

int um_shim_request(int fd, struct um_shim_msg *m, struct um_shim_msg *reply, int timeout_ms,
		    void (*event)(void *arg, const struct um_shim_msg *m), void *arg,
		    int *ret_errno, struct um_error *err)
{
	static long long seq;
	struct um_shim_msg own;
	long long mine = ++seq;

	if (!reply)
		reply = &own;
	um_shim_add_num(m, "seq", mine);
	if (m->truncated)
		return um_error_errno(err, -EMSGSIZE, "ask the shim");
	if (send(fd, m->data, m->len, MSG_NOSIGNAL) < 0)
		return um_error_errno(err, -EPIPE, "ask the shim");
	for (;;) {
		int r = um_shim_receive(fd, reply, timeout_ms);
		const char *kind = um_shim_kind(reply);

		if (r <= 0)
			return um_error_set(err, r < 0 ? -EPIPE : -ETIMEDOUT,
					    r < 0 ? "the container's shim has gone"
						  : "the container's shim does not answer");
		if (um_shim_num(reply, "seq", 0) == mine && !strcmp(kind, "ok"))
			return 0;
		if (um_shim_num(reply, "seq", 0) == mine && !strcmp(kind, "error")) {
			const char *text = um_shim_get(reply, "message");

			if (ret_errno)
				*ret_errno = (int)um_shim_num(reply, "errno", EIO);
			return um_error_set(err, -EREMOTEIO, "%s", text ? text : "it failed");
		}
		if (event)
			event(arg, reply);
	}
}
