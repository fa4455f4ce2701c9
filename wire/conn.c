#include "wire/conn.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/bufferevent_struct.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>

#include "wire/loop.h"

enum { READ_LIMIT_DEFAULT = 64 << 10 };
#define STALL_DEFAULT_NS (10 * UM_NSEC_PER_SEC)

struct um_conn {
	struct bufferevent *bev;
	SSL *ssl; /* the bufferevent's */
	const struct um_conn_events *ev;
	void *arg;
	struct um_timer *kick;	/* delivers what must not come from within a call */
	struct um_timer *stall; /* runs while output waits */
	int64_t stall_ns;
	size_t output_cap, read_limit;
	bool read_on, reading, opened, closed, shut, eof, want_open, want_data, want_cut;
	struct um_error why;
};

static void close_now(struct um_conn *c)
{
	struct um_error why = c->why;

	if (c->closed)
		return;
	c->closed = true;
	um_timer_stop(c->stall);
	um_timer_stop(c->kick);
	bufferevent_disable(c->bev, EV_READ | EV_WRITE);
	c->ev->on_close(c->arg, &why);
}

static void half_close(struct um_conn *c)
{
	if (c->ssl) {
		SSL_shutdown(c->ssl);
		ERR_clear_error();
	}
	shutdown(bufferevent_getfd(c->bev), SHUT_WR);
}

/* Reading is on while it is wanted and the unread bytes are few. (A bufferevent's own high
 * watermark spins: it calls the read callback again and again while the mark is reached.) */
static void update_reading(struct um_conn *c)
{
	bool on = c->read_on && um_conn_unread(c) < c->read_limit;

	if (c->closed || c->eof)
		return;
	if (on != c->reading) {
		c->reading = on;
		if (on)
			bufferevent_enable(c->bev, EV_READ);
		else
			bufferevent_disable(c->bev, EV_READ);
	}
	/* One that stopped in the middle of a TLS record waits for the socket when it goes on,
	 * though the rest of the record already lies in the session. */
	if (on && c->ssl && SSL_pending(c->ssl) > 0)
		event_active(&c->bev->ev_read, EV_READ, 1);
}

static void on_read(struct bufferevent *bev um_unused, void *arg)
{
	struct um_conn *c = arg;

	if (um_conn_unread(c) >= c->read_limit)
		update_reading(c);
	if (!c->closed && c->opened && !c->want_cut)
		c->ev->on_data(c->arg);
}

static void on_write(struct bufferevent *bev um_unused, void *arg)
{
	struct um_conn *c = arg;

	if (c->closed || !c->opened || um_conn_pending(c))
		return;
	if (c->eof) {
		close_now(c);
		return;
	}
	if (c->shut)
		half_close(c);
	c->ev->on_drain(c->arg);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct um_conn *c = arg;

	if (c->closed)
		return;
	if (what & BEV_EVENT_CONNECTED) {
		c->opened = true;
		if (um_conn_unread(c))
			um_conn_wake(c);
		c->ev->on_open(c->arg);
		return;
	}
	if (what & BEV_EVENT_ERROR && !c->why.code) {
		unsigned long code = c->ssl ? bufferevent_get_openssl_error(bev) : 0;
		char text[160];

		if (code) {
			um_tls_error_text(code, text, sizeof(text));
			um_error_set(&c->why, -EPROTO, "TLS: %s", text);
		} else if (errno) {
			um_error_errno(&c->why, -errno, "connection");
		} else {
			um_error_set(&c->why, -ECONNRESET, "connection closed");
		}
	} else if (!c->opened && !c->why.code) {
		um_error_set(&c->why, -ECONNRESET, "connection closed during the TLS handshake");
	} else if (um_conn_pending(c) && !c->why.code) {
		/* It has said all it wanted to say and may still be listening. */
		c->eof = true;
		bufferevent_enable(bev, EV_WRITE);
		um_timer_start(c->stall, c->stall_ns ? c->stall_ns : STALL_DEFAULT_NS);
		return;
	}
	close_now(c);
}

static void on_kick(void *arg)
{
	struct um_conn *c = arg;

	if (c->want_cut) {
		close_now(c);
		return;
	}
	if (c->want_open) {
		c->want_open = false;
		c->opened = true;
		if (c->want_data)
			um_timer_start(c->kick, 0);
		c->ev->on_open(c->arg);
		return;
	}
	if (c->want_data) {
		c->want_data = false;
		if (c->opened && um_conn_unread(c))
			c->ev->on_data(c->arg);
	}
}

static void on_stall(void *arg)
{
	struct um_conn *c = arg;

	um_error_set(&c->why, -ETIMEDOUT, "the peer does not read");
	close_now(c);
}

static void on_output(struct evbuffer *b, const struct evbuffer_cb_info *info, void *arg)
{
	struct um_conn *c = arg;

	if (!c->stall_ns || c->closed)
		return;
	if (!evbuffer_get_length(b))
		um_timer_stop(c->stall);
	else if (info->n_deleted || !um_timer_running(c->stall))
		um_timer_start(c->stall, c->stall_ns);
}

static void set_socket(int fd)
{
	int one = 1, idle = 30, interval = 10, count = 3;

	/* Best effort: unix sockets have none of these. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

static struct bufferevent *make_bev(struct um_loop *l, int fd, SSL *ssl, enum um_conn_side side)
{
	const int opts = BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS;
	struct bufferevent *bev;

	if (!ssl)
		return bufferevent_socket_new(um_loop_base(l), fd, opts);
	bev = bufferevent_openssl_socket_new(um_loop_base(l), fd, ssl,
					     side == UM_CONN_SERVER ? BUFFEREVENT_SSL_ACCEPTING
								    : BUFFEREVENT_SSL_CONNECTING,
					     opts);
	if (bev && side == UM_CONN_SERVER)
		bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
	return bev;
}

struct um_conn *um_conn_new(struct um_loop *l, int fd, SSL *ssl, enum um_conn_side side,
			    const struct um_conn_events *ev, void *arg)
{
	struct um_conn *c = calloc(1, sizeof(*c));

	if (c) {
		c->kick = um_timer_new(l, on_kick, c);
		c->stall = um_timer_new(l, on_stall, c);
	}
	if (c && c->kick && c->stall) {
		set_socket(fd);
		c->bev = make_bev(l, fd, ssl, side);
	}
	if (!c || !c->bev) {
		SSL_free(ssl);
		um_close(fd);
		um_conn_free(c);
		return NULL;
	}
	c->ssl = ssl;
	c->ev = ev;
	c->arg = arg;
	bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
	c->read_limit = READ_LIMIT_DEFAULT;
	c->read_on = c->reading = true;
	evbuffer_add_cb(bufferevent_get_output(c->bev), on_output, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	if (!ssl) {
		c->want_open = true;
		um_timer_start(c->kick, 0);
	}
	return c;
}

void um_conn_free(struct um_conn *c)
{
	if (!c)
		return;
	um_timer_free(c->kick);
	um_timer_free(c->stall);
	if (c->bev) {
		if (c->ssl && c->opened) {
			SSL_set_quiet_shutdown(c->ssl, 0);
			if (!c->shut && !c->why.code)
				SSL_shutdown(c->ssl);
			ERR_clear_error();
		}
		evbuffer_remove_cb(bufferevent_get_output(c->bev), on_output, c);
		bufferevent_free(c->bev);
	}
	free(c);
}

void um_conn_set_events(struct um_conn *c, const struct um_conn_events *ev, void *arg)
{
	c->ev = ev;
	c->arg = arg;
	if (um_conn_unread(c))
		um_conn_wake(c);
}

SSL *um_conn_ssl(struct um_conn *c)
{
	return c->ssl;
}

const char *um_conn_peek(struct um_conn *c, size_t *ret_len)
{
	struct evbuffer_iovec v;

	*ret_len = 0;
	if (evbuffer_peek(bufferevent_get_input(c->bev), -1, NULL, &v, 1) < 1 || !v.iov_len)
		return NULL;
	*ret_len = v.iov_len;
	return v.iov_base;
}

void um_conn_consume(struct um_conn *c, size_t n)
{
	evbuffer_drain(bufferevent_get_input(c->bev), n);
	update_reading(c);
}

int um_conn_copy_out(struct um_conn *c, void *to, size_t n)
{
	ev_ssize_t got = evbuffer_copyout(bufferevent_get_input(c->bev), to, n);

	return got == (ev_ssize_t)n ? 0 : -EAGAIN;
}

size_t um_conn_unread(struct um_conn *c)
{
	return evbuffer_get_length(bufferevent_get_input(c->bev));
}

void um_conn_wake(struct um_conn *c)
{
	if (c->closed)
		return;
	c->want_data = true;
	um_timer_start(c->kick, 0);
}

void um_conn_read(struct um_conn *c, bool on)
{
	if (c->closed)
		return;
	c->read_on = on;
	update_reading(c);
	if (on && um_conn_unread(c))
		um_conn_wake(c);
}

void um_conn_set_read_limit(struct um_conn *c, size_t bytes)
{
	c->read_limit = bytes;
	update_reading(c);
}

static int after_write(struct um_conn *c, int r)
{
	if (r < 0) {
		um_conn_cut(c, -ENOMEM, "out of memory");
		return -ENOMEM;
	}
	if (c->output_cap && um_conn_pending(c) > c->output_cap) {
		um_conn_cut(c, -ENOBUFS, "the peer reads too slowly");
		return -EPIPE;
	}
	return 0;
}

int um_conn_write(struct um_conn *c, const void *data, size_t len)
{
	if (c->closed || c->shut || c->want_cut)
		return -EPIPE;
	return after_write(c, evbuffer_add(bufferevent_get_output(c->bev), data, len));
}

static void drop_bytes(const void *data um_unused, size_t len um_unused, void *arg)
{
	um_bytes_unref(arg);
}

int um_conn_write_bytes(struct um_conn *c, struct um_bytes *b, size_t off, size_t len)
{
	int r;

	if (c->closed || c->shut || c->want_cut)
		return -EPIPE;
	if (!len)
		return 0;
	r = evbuffer_add_reference(bufferevent_get_output(c->bev), b->data + off, len, drop_bytes,
				   um_bytes_ref(b));
	if (r < 0)
		um_bytes_unref(b);
	return after_write(c, r);
}

size_t um_conn_pending(struct um_conn *c)
{
	return evbuffer_get_length(bufferevent_get_output(c->bev));
}

void um_conn_set_output_cap(struct um_conn *c, size_t bytes)
{
	c->output_cap = bytes;
}

void um_conn_set_stall_timeout(struct um_conn *c, int64_t ns)
{
	c->stall_ns = ns;
}

void um_conn_shutdown(struct um_conn *c)
{
	if (c->closed || c->shut)
		return;
	c->shut = true;
	if (!um_conn_pending(c))
		half_close(c);
}

void um_conn_cut(struct um_conn *c, int code, const char *why)
{
	if (c->closed || c->want_cut)
		return;
	um_error_set(&c->why, code, "%s", why);
	c->want_cut = true;
	um_timer_start(c->kick, 0);
}
