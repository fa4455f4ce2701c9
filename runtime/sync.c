#include "runtime/sync.h"

#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "runtime/console.h"

static int send_msg(int fd, const struct um_sync_msg *m)
{
	ssize_t n;

	do
		n = send(fd, m, sizeof(*m), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int um_sync_send(int fd, enum um_sync_type type, const struct um_error *error)
{
	struct um_sync_msg m;

	memset(&m, 0, sizeof(m));
	m.type = type;
	if (error)
		m.error = *error;
	return send_msg(fd, &m);
}

int um_sync_send_pid(int fd, int32_t pid)
{
	struct um_sync_msg m;

	memset(&m, 0, sizeof(m));
	m.type = UM_SYNC_CONTINUE;
	m.pid = pid;
	return send_msg(fd, &m);
}

int um_sync_recv(int fd, struct um_sync_msg *ret)
{
	ssize_t n;

	do
		n = recv(fd, ret, sizeof(*ret), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0)
		return -EPIPE;
	if ((size_t)n != sizeof(*ret))
		return -EBADMSG;
	ret->error.msg[sizeof(ret->error.msg) - 1] = '\0';
	return 0;
}

int um_sync_expect(int fd, enum um_sync_type want, struct um_error *err)
{
	struct um_sync_msg m;
	int r = um_sync_recv(fd, &m);

	if (r == -EPIPE)
		return um_error_set(err, r, "the container's init process died during set-up");
	if (r < 0)
		return um_error_errno(err, r, "talk to the container's init process");
	if (m.type == UM_SYNC_ERROR)
		return um_error_move(err, &m.error);
	if (m.type != want)
		return um_error_set(err, -EPROTO, "message %u where %d was due", m.type, want);
	return 0;
}

int um_sync_send_fd(int fd, int passed)
{
	struct um_sync_msg m;
	struct iovec iov = {&m, sizeof(m)};
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr h = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	ssize_t n;

	memset(&m, 0, sizeof(m));
	m.type = UM_SYNC_CONTINUE;
	control.h.cmsg_level = SOL_SOCKET;
	control.h.cmsg_type = SCM_RIGHTS;
	control.h.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.h), &passed, sizeof(int));
	do
		n = sendmsg(fd, &h, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* A message, and the descriptor that came with it: -1 where none did. As recv(2), negative errno.
 */
static ssize_t receive_fd(int fd, void *data, size_t len, int *ret_fd)
{
	struct iovec iov = {data, len};
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr h = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c;
	ssize_t n;

	*ret_fd = -1;
	do
		n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&h);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	return n;
}

int um_sync_ask_source(int fd, size_t index, int *ret_fd, struct um_error *err)
{
	_cleanup_close_ int source = -1;
	struct um_sync_msg m;
	int r;

	memset(&m, 0, sizeof(m));
	m.type = UM_SYNC_SOURCE;
	m.pid = (int32_t)index;
	r = send_msg(fd, &m);
	if (r < 0)
		return um_error_errno(err, r, "talk to the creator");
	if (receive_fd(fd, &m, sizeof(m), &source) != (ssize_t)sizeof(m))
		return um_error_set(err, -EPIPE, "the creator died");
	m.error.msg[sizeof(m.error.msg) - 1] = '\0';
	if (m.type == UM_SYNC_ERROR)
		return um_error_move(err, &m.error);
	if (m.type != UM_SYNC_CONTINUE || source < 0)
		return um_error_set(err, -EPROTO, "no source came from the creator");
	*ret_fd = TAKE_FD(source);
	return 0;
}

int um_sync_send_start(int fd, int explain_fd, bool json)
{
	const char how[] = {json ? UM_SYNC_START_JSON : UM_SYNC_START, '\0'};

	if (explain_fd >= 0)
		return um_console_send_fd(fd, explain_fd, how);
	return send(fd, how, 1, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

int um_sync_recv_start(int fd, char *ret_how, int *ret_fd)
{
	ssize_t n = receive_fd(fd, ret_how, 1, ret_fd);

	return n > 0 ? 0 : n < 0 ? (int)n : -EPIPE;
}
