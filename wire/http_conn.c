#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "wire/http_server_internal.h"

enum {
	PIPELINE_PENDING_MAX = 256 << 10, /* no next request while more output waits */
	DISCARD_MAX = 4 << 20,
};
#define LINGER_NS (1 * UM_NSEC_PER_SEC)

/* ---- a connection's end ---- */

static void idle_list(struct hconn *h, bool on)
{
	if (on == h->idle_listed)
		return;
	h->idle_listed = on;
	if (on)
		TAILQ_INSERT_TAIL(&h->server->idle, h, idle);
	else
		TAILQ_REMOVE(&h->server->idle, h, idle);
}

void um_http_check_drained(struct um_http_server *s)
{
	void (*done)(void *arg) = s->drained;

	if (!s->draining || !done || !TAILQ_EMPTY(&s->conns))
		return;
	s->drained = NULL;
	um_timer_stop(s->drain_timer);
	done(s->drained_arg);
}

static void uncount(struct hconn *h)
{
	struct um_http_server *s = h->server;

	if (h->count && !--h->count->conns) {
		HASH_DEL(s->peers, h->count);
		free(h->count);
	}
	h->count = NULL;
}

static void hconn_free(struct hconn *h)
{
	struct um_http_server *s = h->server;

	idle_list(h, false);
	TAILQ_REMOVE(&s->conns, h, all);
	s->stats.conns--;
	uncount(h);
	um_http_req_free(h->req);
	um_conn_free(h->c);
	um_http1_free(h->parser);
	um_timer_free(h->timer);
	free(h->peer);
	free(h);
}

static void lose_request(struct hconn *h)
{
	struct um_http_req *r = TAKE_PTR(h->req);

	if (r && r->on_close)
		r->on_close(r->close_arg, r);
	um_http_req_free(r);
}

void um_hconn_close(struct hconn *h)
{
	struct um_http_server *s = h->server;

	lose_request(h);
	hconn_free(h);
	um_http_check_drained(s);
}

struct um_conn *um_hconn_hand_over(struct hconn *h)
{
	struct um_conn *c = TAKE_PTR(h->c);

	um_timer_stop(h->timer);
	um_http_req_free(TAKE_PTR(h->req));
	if (!h->processing)
		hconn_free(h);
	return c;
}

/* ---- phases ---- */

static void set_phase(struct hconn *h, enum hconn_phase phase)
{
	const struct um_http_server_opts *o = &h->server->o;

	h->phase = phase;
	idle_list(h, phase == PH_IDLE);
	if (phase == PH_HEAD)
		um_timer_start(h->timer, o->head_timeout_ns);
	else if (phase == PH_IDLE)
		um_timer_start(h->timer, o->idle_timeout_ns);
	else if (phase == PH_LINGER)
		um_timer_start(h->timer, LINGER_NS);
	else
		um_timer_stop(h->timer);
}

static void end_output(struct hconn *h)
{
	set_phase(h, PH_FLUSH);
	um_conn_shutdown(h->c);
	if (!um_conn_pending(h->c))
		set_phase(h, PH_LINGER);
}

void um_hconn_start_body(struct hconn *h)
{
	um_timer_start(h->timer, h->server->o.body_timeout_ns);
}

void um_hconn_finished(struct hconn *h)
{
	struct um_http_req *r = TAKE_PTR(h->req);
	bool keep = r->keep;

	um_http_req_free(r);
	if (!keep) {
		end_output(h);
		return;
	}
	set_phase(h, PH_IDLE);
	if (!h->processing)
		um_conn_wake(h->c);
}

void um_hconn_refuse(struct hconn *h, int status, const char *message)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(64 << 10), body = UM_BUF_INIT(32 << 10);
	const char *type = "text/plain; charset=utf-8";
	bool begun = h->req && h->req->begun;
	bool head_only = h->req && !strcmp(h->req->head->method, "HEAD");

	h->server->stats.bad_requests++;
	lose_request(h);
	if (begun) { /* half of a response is out: only the end of the connection can tell */
		um_conn_cut(h->c, -EPROTO, message);
		set_phase(h, PH_FLUSH);
		return;
	}
	if (h->server->o.error_body)
		type = h->server->o.error_body(status, message, &body);
	else
		um_buf_addf(&body, "%s\n", message);
	um_http_write_head(&b, status, type, (int64_t)body.len, false, false,
			   um_loop_clock(h->server->loop));
	um_buf_adds(&b, "\r\n");
	if (!head_only)
		um_buf_add(&b, um_buf_str(&body), body.len);
	if (um_buf_error(&b) == 0)
		um_conn_write(h->c, b.data, b.len);
	end_output(h);
}

static void on_timer(void *arg)
{
	struct hconn *h = arg;

	if (h->phase == PH_HEAD && h->open && !um_http1_idle(h->parser)) {
		h->server->stats.timeouts++;
		um_hconn_refuse(h, 408, "the request took too long");
	} else if (h->phase == PH_BODY) {
		h->server->stats.timeouts++;
		um_hconn_refuse(h, 408, "the body took too long");
	} else {
		h->server->stats.timeouts += h->phase == PH_HEAD;
		um_hconn_close(h);
	}
}

/* ---- reading ---- */

static bool may_parse(const struct hconn *h)
{
	switch (h->phase) {
	case PH_HEAD:
	case PH_IDLE:
		return um_conn_pending(h->c) <= PIPELINE_PENDING_MAX;
	case PH_BODY:
		return h->req->body_fn && !h->req->body_paused;
	case PH_WAIT:
	case PH_FLUSH:
	case PH_LINGER:
		break;
	}
	return false;
}

static int read_peer(struct hconn *h)
{
	if (h->peer)
		return 0;
	h->peer = calloc(1, sizeof(*h->peer));
	if (!h->peer)
		return 503;
	if (!um_conn_ssl(h->c))
		return 0;
	return um_tls_get_peer(um_conn_ssl(h->c), h->peer) < 0 ? 400 : 0;
}

static void on_head(struct hconn *h)
{
	struct um_http_server *s = h->server;
	struct um_http_req *r = calloc(1, sizeof(*r));
	int status;

	if (!r) {
		um_hconn_refuse(h, 503, "out of memory");
		return;
	}
	s->stats.requests++;
	h->req = r;
	r->h = h;
	r->head = um_http1_head(h->parser);
	r->body_done = !r->head->has_body;
	r->started_ns = um_loop_now(s->loop);
	um_buf_init(&r->fields, 16 << 10);
	set_phase(h, r->body_done ? PH_WAIT : PH_BODY);
	status = read_peer(h);
	if (status) {
		um_hconn_refuse(h, status, "the client certificate names nobody");
		return;
	}
	status = um_http_req_parse_target(r);
	if (status) {
		um_hconn_refuse(h, status, "bad request target");
		return;
	}
	s->o.on_request(s->o.arg, r);
}

static void on_body(struct hconn *h, struct um_http1_span span)
{
	struct um_http_req *r = h->req;
	int x;

	if (r->body_stream) {
		r->body_fn(r->body_arg, r, span.data, span.len);
		return;
	}
	if (h->server->body_bytes + span.len > h->server->o.body_total) {
		um_hconn_refuse(h, 429, "too many bytes in the bodies of requests; try again");
		return;
	}
	x = um_buf_add(&r->body, span.data, span.len);
	if (!x)
		h->server->body_bytes += span.len;
	if (x == -EMSGSIZE)
		um_hconn_refuse(h, 413, "the body is too large");
	else if (x < 0)
		um_hconn_refuse(h, 503, "out of memory");
}

static void on_end(struct hconn *h)
{
	struct um_http_req *r = h->req;

	if (h->phase != PH_BODY)
		return;
	r->body_done = true;
	set_phase(h, PH_WAIT);
	r->body_fn(r->body_arg, r, um_buf_str(&r->body), r->body.len);
}

static void step(struct hconn *h, enum um_http1_event ev, struct um_http1_span span)
{
	if (ev == UM_HTTP1_HEAD)
		on_head(h);
	else if (ev == UM_HTTP1_BODY && h->phase == PH_BODY)
		on_body(h, span);
	else if (ev == UM_HTTP1_END)
		on_end(h);
	else if (ev == UM_HTTP1_ERROR)
		um_hconn_refuse(h, um_http1_status(h->parser), um_http1_error(h->parser)->msg);
}

static void discard(struct hconn *h)
{
	size_t n = um_conn_unread(h->c);

	h->discarded += n;
	um_conn_consume(h->c, n);
	if (h->discarded > DISCARD_MAX)
		um_conn_cut(h->c, -EMSGSIZE, "the peer goes on sending");
}

void um_hconn_process(struct hconn *h)
{
	struct um_http1_span span = {NULL, 0};

	if (h->processing)
		return;
	h->processing = true;
	while (h->c && may_parse(h)) {
		enum um_http1_event ev;
		size_t len, used;
		const char *data = um_conn_peek(h->c, &len);

		if (len && h->phase == PH_IDLE)
			set_phase(h, PH_HEAD);
		ev = um_http1_next(h->parser, data, len, &used, &span);
		if (ev == UM_HTTP1_MORE && !len)
			break;
		if (ev == UM_HTTP1_BODY) /* the span lies in the unread bytes */
			step(h, ev, span);
		if (h->c)
			um_conn_consume(h->c, used);
		if (ev != UM_HTTP1_BODY)
			step(h, ev, span);
	}
	h->processing = false;
	if (!h->c) {
		hconn_free(h);
		return;
	}
	if (h->phase == PH_HEAD && um_http1_idle(h->parser) && !um_conn_unread(h->c) &&
	    h->peer) /* not the first request: the idle timeout rules */
		set_phase(h, PH_IDLE);
	if (h->phase == PH_FLUSH || h->phase == PH_LINGER)
		discard(h);
}

static void conn_open(void *arg)
{
	((struct hconn *)arg)->open = true;
}

static void conn_data(void *arg)
{
	struct hconn *h = arg;

	if (h->phase == PH_FLUSH || h->phase == PH_LINGER)
		discard(h);
	else
		um_hconn_process(h);
}

static void conn_drain(void *arg)
{
	struct hconn *h = arg;

	if (h->phase == PH_FLUSH)
		set_phase(h, PH_LINGER);
	else if (h->req && h->req->on_drain)
		h->req->on_drain(h->req->drain_arg, h->req);
	else if (h->phase == PH_IDLE || h->phase == PH_HEAD)
		um_hconn_process(h);
}

static void conn_close(void *arg, const struct um_error *err)
{
	struct hconn *h = arg;

	h->server->stats.slow_cut += err->code == -ENOBUFS || err->code == -ETIMEDOUT;
	um_hconn_close(h);
}

static const struct um_conn_events conn_events = {conn_open, conn_data, conn_drain, conn_close};

/* ---- its start ---- */

void um_http_address_text(const struct sockaddr_storage *ss, char host[46], int *port)
{
	const struct sockaddr_in6 *six = (const void *)ss;
	const struct sockaddr_in *four = (const void *)ss;

	if (ss->ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &six->sin6_addr, host, 46);
		*port = ntohs(six->sin6_port);
	} else {
		inet_ntop(AF_INET, &four->sin_addr, host, 46);
		*port = ntohs(four->sin_port);
	}
}

static struct peer_count *count_peer(struct um_http_server *s, const char *host)
{
	struct peer_count *p;

	HASH_FIND_STR(s->peers, host, p);
	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	strcpy(p->address, host);
	HASH_ADD_STR(s->peers, address, p);
	return p;
}

/* Makes room, or says no. */
static bool admit(struct um_http_server *s, const char *host)
{
	struct peer_count *p;

	HASH_FIND_STR(s->peers, host, p);
	if (p && p->conns >= s->o.max_conns_per_peer)
		return false;
	if (s->stats.conns < s->o.max_conns)
		return true;
	if (TAILQ_EMPTY(&s->idle))
		return false;
	um_hconn_close(TAILQ_FIRST(&s->idle));
	return true;
}

void um_hconn_accept(struct um_http_server *s, int fd, const struct sockaddr_storage *ss)
{
	struct hconn *h;
	char host[46];
	int port = 0;
	SSL *ssl = NULL;

	um_http_address_text(ss, host, &port);
	if (!admit(s, host) || !(h = calloc(1, sizeof(*h)))) {
		s->stats.refused_conns++;
		um_close(fd);
		return;
	}
	h->server = s;
	snprintf(h->remote, sizeof(h->remote), strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, port);
	TAILQ_INSERT_TAIL(&s->conns, h, all);
	s->stats.conns++;
	s->stats.accepted++;
	h->count = count_peer(s, host);
	if (h->count)
		h->count->conns++;
	h->parser = um_http1_new(UM_HTTP1_REQUEST, NULL);
	h->timer = um_timer_new(s->loop, on_timer, h);
	if (h->count && h->parser && h->timer && s->o.tls)
		ssl = um_tls_session(s->o.tls, NULL);
	if (!h->count || !h->parser || !h->timer || (s->o.tls && !ssl)) {
		um_close(fd);
		hconn_free(h);
		return;
	}
	h->c = um_conn_new(s->loop, fd, ssl, UM_CONN_SERVER, &conn_events, h);
	if (!h->c) {
		hconn_free(h);
		return;
	}
	um_conn_set_stall_timeout(h->c, s->o.stall_timeout_ns);
	set_phase(h, PH_HEAD);
}

void um_hconn_drain(struct hconn *h)
{
	if (h->phase == PH_IDLE || h->phase == PH_HEAD) {
		end_output(h);
	} else if (h->req && h->req->begun) {
		if (h->req->chunked)
			um_conn_write(h->c, "0\r\n\r\n", 5);
		lose_request(h);
		end_output(h);
	}
}
