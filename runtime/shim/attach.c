/* Attached clients: connections that carry a container's input and output (proto.h). What a
 * container writes goes to each of them and to its log. A client that does not read holds the
 * container up, as a pipe would; one that has gone does not. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/shim/shim.h"

struct shim_attach shim_attaches[SHIM_ATTACH_MAX];

#define FOR_EACH_ATTACH(a)                                                                         \
	for (struct shim_attach *a = shim_attaches; a < shim_attaches + SHIM_ATTACH_MAX; a++)

const char *shim_attach_add(int fd, const struct um_shim_msg *m)
{
	const char *name = um_shim_get(m, "name");

	if (!name || !*name || strlen(name) >= SHIM_NAME_MAX)
		return "attach: name is missing or too long";
	FOR_EACH_ATTACH(a)
	{
		if (a->used)
			continue;
		a->used = true;
		a->fd = fd;
		strcpy(a->name, name);
		a->in = um_shim_num(m, "stdin", 0) != 0;
		a->once = um_shim_num(m, "once", 0) != 0;
		a->out[0] = um_shim_num(m, "stdout", 1) != 0;
		a->out[1] = um_shim_num(m, "stderr", 1) != 0;
		a->blocked = a->end_input = a->gone = false;
		a->pending = a->pending_at = 0;
		return NULL;
	}
	return "attach: too many are attached";
}

static void finish_input(struct shim_ctr *c)
{
	if (c && c->stdin_fd >= 0)
		c->stdin_fd = um_close(c->stdin_fd);
}

static void drop(struct shim_attach *a)
{
	struct shim_ctr *c = shim_ctr_find(a->name);

	if (a->in && a->once)
		finish_input(c);
	a->fd = um_close(a->fd);
	a->used = false;
}

bool shim_attach_any(const char *name)
{
	FOR_EACH_ATTACH(a)
	{
		if (a->used && (!name || !strcmp(a->name, name)))
			return true;
	}
	return false;
}

/* Whether the container's output has to wait for one of its clients. */
bool shim_attach_blocks(const char *name)
{
	bool blocked = false;

	FOR_EACH_ATTACH(a)
	{
		struct pollfd p = {a->fd, POLLOUT, 0};

		if (!a->used || a->gone || strcmp(a->name, name))
			continue;
		a->blocked = poll(&p, 1, 0) == 0;
		blocked |= a->blocked;
	}
	return blocked;
}

static void send_packet(struct shim_attach *a, const char *packet, size_t len)
{
	if (!a->gone && send(a->fd, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		drop(a);
}

void shim_attach_out(const char *name, int stream, char *packet, size_t len)
{
	packet[0] = stream ? 'e' : 'o';
	FOR_EACH_ATTACH(a)
	{
		if (a->used && a->out[stream] && !strcmp(a->name, name))
			send_packet(a, packet, len);
	}
}

void shim_attach_end(const char *name, int status)
{
	char packet[32];
	int n = snprintf(packet, sizeof(packet), "x%d", status);

	FOR_EACH_ATTACH(a)
	{
		if (!a->used || strcmp(a->name, name))
			continue;
		send_packet(a, packet, (size_t)n + 1);
		a->in = false;
		if (a->used)
			drop(a);
	}
}

/* Where input goes: a pipe, or the terminal. */
static int input_fd(const struct shim_ctr *c)
{
	return c->tty ? c->out[0].fd : c->stdin_fd;
}

static bool takes_input(const struct shim_attach *a)
{
	const struct shim_ctr *c = shim_ctr_find(a->name);

	return c && c->state == SHIM_RUNNING && !a->pending;
}

void shim_attach_poll(int index, struct shim_attach_poll *ret)
{
	const struct shim_attach *a = &shim_attaches[index];
	const struct shim_ctr *c;

	*ret = (struct shim_attach_poll){-1, 0, -1};
	if (!a->used)
		return;
	c = shim_ctr_find(a->name);
	if (a->pending && c)
		ret->input_fd = input_fd(c);
	if (a->gone)
		return;
	ret->fd = a->fd;
	ret->events = (short)((a->blocked ? POLLOUT : 0) | (takes_input(a) ? POLLIN : 0));
}

void shim_attach_flush(int index)
{
	struct shim_attach *a = &shim_attaches[index];
	struct shim_ctr *c = shim_ctr_find(a->name);
	int fd = c && c->state == SHIM_RUNNING ? input_fd(c) : -1;
	ssize_t n = -1;

	errno = EPIPE;
	if (fd >= 0)
		n = write(fd, a->data + a->pending_at, a->pending);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) { /* nobody reads it any more */
		a->pending = 0;
		if (c && !c->tty)
			finish_input(c);
	} else {
		a->pending -= (size_t)n;
		a->pending_at += (size_t)n;
	}
	if (!a->pending && a->end_input && c)
		finish_input(c);
	if (!a->pending && a->gone)
		drop(a);
}

static void resize(const struct shim_attach *a, const char *text)
{
	struct shim_ctr *c = shim_ctr_find(a->name);
	struct winsize size = {0};
	char *end;

	if (!c || !c->tty || c->out[0].fd < 0)
		return;
	size.ws_row = (unsigned short)strtoul(text, &end, 10);
	size.ws_col = (unsigned short)strtoul(end, NULL, 10);
	(void)ioctl(c->out[0].fd, TIOCSWINSZ, &size);
}

void shim_attach_read(int index, short revents)
{
	struct shim_attach *a = &shim_attaches[index];
	char *p = a->data;
	ssize_t n;

	if (revents & POLLOUT)
		a->blocked = false;
	if (!(revents & (POLLIN | POLLHUP | POLLERR)))
		return;
	if (!takes_input(a)) {
		if (!(revents & (POLLHUP | POLLERR)))
			return;
		a->gone = a->pending > 0;
		if (!a->gone)
			drop(a);
		return;
	}
	n = recv(a->fd, p, sizeof(a->data) - 1, MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || (size_t)n > sizeof(a->data) - 1) {
		drop(a);
		return;
	}
	p[n] = '\0';
	switch (*p) {
	case 'i':
		a->pending = a->in ? (size_t)n - 1 : 0;
		a->pending_at = 1;
		if (a->pending)
			shim_attach_flush(index);
		break;
	case 'c':
		if (a->in)
			finish_input(shim_ctr_find(a->name));
		break;
	case 'w':
		resize(a, p + 1);
		break;
	case 'd': /* it leaves; the container's input stays open */
		a->once = false;
		break;
	default:
		drop(a);
	}
}
