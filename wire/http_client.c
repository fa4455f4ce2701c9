#include "wire/http_client.h"

#include <openssl/ssl.h>
#include <signal.h>
#include <string.h>

#include "wire/http_client_internal.h"

enum {
	BODY_CAP_DEFAULT = 4 << 20,
	REQUEST_HEAD_MAX = 64 << 10,
	EARLY_MAX = 1 << 20,
	ERROR_BODY_MAX = 64 << 10,
	LINE_KEEP_MAX = 64 << 10,
};

static void start_on_fresh(struct um_http_call *call);
static void begin(struct um_http_call *call);

/* ---- a call's end ---- */

static void cconn_free(struct cconn *cc)
{
	if (!cc)
		return;
	if (!cc->call && cc->keep && um_timer_running(cc->keep)) {
		TAILQ_REMOVE(&cc->client->idle, cc, idle);
		cc->client->n_idle--;
	}
	um_conn_free(cc->c);
	um_http1_free(cc->parser);
	um_timer_free(cc->keep);
	free(cc);
}

/* Its turn is over: the next that waits has it. */
static void end_turn(struct um_http_call *call)
{
	struct um_http_client *c = call->client;
	struct um_http_call *next;

	if (call->turn == TURN_WAITS)
		TAILQ_REMOVE(&c->waiting, call, wait);
	if (call->turn != TURN_COUNTS)
		return;
	c->n_busy--;
	next = TAILQ_FIRST(&c->waiting);
	if (!next || c->closing)
		return;
	TAILQ_REMOVE(&c->waiting, next, wait);
	begin(next);
}

static void call_free(struct um_http_call *call)
{
	TAILQ_REMOVE(&call->client->calls, call, all);
	end_turn(call);
	if (call->gone)
		*call->gone = true;
	um_dial_free(call->dial);
	cconn_free(call->conn);
	um_timer_free(call->total);
	um_timer_free(call->phase);
	um_bytes_unref(call->body);
	um_buf_release(&call->request);
	um_buf_release(&call->early);
	um_buf_release(&call->in);
	free(call);
}

/* Keeps the connection for the next call, where that is allowed. */
static void release_conn(struct um_http_call *call)
{
	struct cconn *cc = call->conn;
	struct um_http_client *c = call->client;

	if (call->o.close || c->n_idle >= c->max_idle || um_conn_unread(cc->c) ||
	    !um_http1_head(cc->parser)->keep_alive || (call->o.stream_body && !call->body_ended))
		return;
	call->conn = NULL;
	cc->call = NULL;
	cc->used = true;
	TAILQ_INSERT_HEAD(&c->idle, cc, idle);
	c->n_idle++;
	um_timer_start(cc->keep, c->keep_ns);
}

static void keep_session(struct um_http_client *c, struct um_conn *conn)
{
	SSL_SESSION *s = um_conn_ssl(conn) ? um_tls_keep(um_conn_ssl(conn)) : NULL;

	if (!s)
		return;
	SSL_SESSION_free(c->session);
	c->session = s;
	c->session_generation = um_tls_generation(c->tls);
}

/* Reports and frees. The head's strings live in the reader of the connection, which is kept or goes
 * after the report. */
static void finish(struct um_http_call *call, const struct um_error *err)
{
	static const struct um_error fine = UM_ERROR_INIT;
	struct um_http_result res = {
		.err = err ? err : &fine, .body = um_buf_str(&call->in), .len = call->in.len};
	const struct um_http1_head *head =
		call->got_head ? um_http1_head(call->conn->parser) : NULL;

	if (head) {
		res.status = head->status;
		res.head = head;
	}
	call->done = true;
	um_timer_stop(call->total);
	um_timer_stop(call->phase);
	if (head && !err) {
		keep_session(call->client, call->conn->c);
		release_conn(call);
	}
	call->o.on_done(call->o.arg, &res);
	call_free(call);
}

static void fail(struct um_http_call *call, int code, const char *what)
{
	struct um_error err = UM_ERROR_INIT;

	um_error_set(&err, code, "%s %s port %d", what, call->client->host, call->client->port);
	finish(call, &err);
}

static void on_total(void *arg)
{
	fail(arg, -ETIMEDOUT, "timed out:");
}

static void on_phase(void *arg)
{
	struct um_http_call *call = arg;

	if (call->err.code)
		finish(call, &call->err);
	else
		fail(call, -ETIMEDOUT,
		     !call->conn || !call->conn->opened ? "connect timed out:"
		     : call->got_head			? "no byte in time from"
							: "no answer in time from");
}

/* ---- the response ---- */

static bool wants_stream(const struct um_http_call *call, int status)
{
	return status / 100 == 2 && (call->o.on_line || call->o.on_data);
}

/* Runs a callback that may cancel the call. False: it did. */
#define CALL_BACK(call, ...)                                                                       \
	({                                                                                         \
		bool gone_ = false;                                                                \
		(call)->gone = &gone_;                                                             \
		__VA_ARGS__;                                                                       \
		if (!gone_)                                                                        \
			(call)->gone = NULL;                                                       \
		!gone_;                                                                            \
	})

/* False: the call is over. */
static bool on_head(struct um_http_call *call, struct cconn *cc)
{
	const struct um_http1_head *h = um_http1_head(cc->parser);

	if (h->status / 100 == 1)
		return true; /* END comes; 101 is looked at there */
	call->got_head = true;
	call->streamed = wants_stream(call, h->status);
	call->in.max = call->streamed			    ? call->o.line_max
		       : call->o.on_line || call->o.on_data ? ERROR_BODY_MAX
							    : call->o.body_cap;
	um_timer_stop(call->phase);
	if (call->streamed && call->o.idle_timeout_ns)
		um_timer_start(call->phase, call->o.idle_timeout_ns);
	return !call->o.on_head || CALL_BACK(call, call->o.on_head(call->o.arg, h));
}

/* Hands over the line that lies in call->in. */
static bool give_line(struct um_http_call *call)
{
	struct um_buf line = call->in;
	bool ok;

	um_buf_init(&call->in, line.max);
	ok = CALL_BACK(call, call->o.on_line(call->o.arg, um_buf_str(&line), line.len));
	if (ok && line.cap <= LINE_KEEP_MAX) { /* its memory serves the next line */
		call->in = line;
		um_buf_clear(&call->in);
	} else {
		um_buf_release(&line);
	}
	return ok;
}

static bool on_lines(struct um_http_call *call, const char *data, size_t len)
{
	while (len) {
		const char *lf = memchr(data, '\n', len);
		size_t n = lf ? (size_t)(lf - data) : len;

		if (um_buf_add(&call->in, data, n) < 0) {
			fail(call, -EMSGSIZE, "line too long from");
			return false;
		}
		if (!lf)
			return true;
		data += n + 1;
		len -= n + 1;
		if (!give_line(call))
			return false;
	}
	return true;
}

static bool on_body(struct um_http_call *call, struct um_http1_span span)
{
	if (call->streamed && call->o.idle_timeout_ns)
		um_timer_start(call->phase, call->o.idle_timeout_ns);
	if (call->streamed && call->o.on_line)
		return on_lines(call, span.data, span.len);
	if (call->streamed)
		return CALL_BACK(call, call->o.on_data(call->o.arg, span.data, span.len));
	if (um_buf_add(&call->in, span.data, span.len) < 0) {
		fail(call, -EMSGSIZE, "response too large from");
		return false;
	}
	return true;
}

static void upgraded(struct um_http_call *call, struct cconn *cc)
{
	struct um_conn *c = TAKE_PTR(cc->c);
	void (*fn)(void *arg, struct um_conn *c) = call->o.on_upgrade;
	void *arg = call->o.arg;

	keep_session(call->client, c);
	call_free(call);
	fn(arg, c);
	um_conn_wake(c);
}

/* False: the call is over. */
static bool on_end(struct um_http_call *call, struct cconn *cc)
{
	const struct um_http1_head *h = um_http1_head(cc->parser);

	if (h->status == 101) {
		if (call->o.on_upgrade && call->o.upgrade && h->upgrade)
			upgraded(call, cc);
		else
			fail(call, -EPROTO, "an upgrade that nobody asked for from");
		return false;
	}
	if (h->status / 100 == 1) {
		if (call->head_only)
			um_http1_no_body(cc->parser);
		return true;
	}
	if (call->streamed && call->o.on_line && call->in.len && !give_line(call))
		return false;
	if (call->streamed)
		um_buf_clear(&call->in);
	finish(call, NULL);
	return false;
}

static bool step(struct cconn *cc, enum um_http1_event ev, struct um_http1_span span)
{
	struct um_http_call *call = cc->call;

	if (ev == UM_HTTP1_HEAD)
		return on_head(call, cc);
	if (ev == UM_HTTP1_BODY)
		return on_body(call, span);
	if (ev == UM_HTTP1_END)
		return on_end(call, cc);
	if (ev == UM_HTTP1_ERROR) {
		struct um_error err = *um_http1_error(cc->parser);

		finish(call, &err);
		return false;
	}
	return true;
}

static void conn_data(void *arg)
{
	struct cconn *cc = arg;
	struct um_http1_span span = {NULL, 0};

	if (!cc->call) { /* an idle connection has nothing to say */
		cconn_free(cc);
		return;
	}
	for (;;) {
		enum um_http1_event ev;
		size_t len, used;
		const char *data = um_conn_peek(cc->c, &len);

		if (len)
			cc->call->got_bytes = true;
		ev = um_http1_next(cc->parser, data, len, &used, &span);
		if (ev == UM_HTTP1_MORE && !len)
			return;
		if (ev != UM_HTTP1_BODY)
			um_conn_consume(cc->c, used);
		if (!step(cc, ev, span))
			return;
		if (ev == UM_HTTP1_BODY)
			um_conn_consume(cc->c, used);
	}
}

static void conn_close(void *arg, const struct um_error *err)
{
	struct cconn *cc = arg;
	struct um_http_call *call = cc->call;
	struct um_error why = *err;

	if (!call) {
		cconn_free(cc);
		return;
	}
	if (!err->code && um_http1_eof(cc->parser) == UM_HTTP1_END) {
		on_end(call, cc);
		return;
	}
	if (cc->used && !call->got_bytes && call->idempotent && !call->retried) {
		call->retried = true;
		call->conn = NULL;
		cconn_free(cc);
		start_on_fresh(call);
		return;
	}
	if (!why.code)
		um_error_set(&why, -ECONNRESET, "the server closed the connection");
	um_error_wrap(&why, why.code, "%s port %d", call->client->host, call->client->port);
	finish(call, &why);
}

/* ---- the request ---- */

static int write_chunk(struct um_conn *c, const void *data, size_t len)
{
	char line[24];
	int n = snprintf(line, sizeof(line), "%zx\r\n", len), r;

	if (!len)
		return 0;
	r = um_conn_write(c, line, (size_t)n);
	if (!r)
		r = um_conn_write(c, data, len);
	return r ? r : um_conn_write(c, "\r\n", 2);
}

static void send_request(struct um_http_call *call)
{
	struct cconn *cc = call->conn;
	int r = um_conn_write(cc->c, call->request.data, call->request.len);

	if (!r && call->body)
		r = um_conn_write_bytes(cc->c, call->body, 0, call->body->len);
	if (!r && call->o.stream_body) {
		r = write_chunk(cc->c, call->early.data, call->early.len);
		um_buf_release(&call->early);
		if (!r && call->body_ended)
			r = um_conn_write(cc->c, "0\r\n\r\n", 5);
	}
	if (call->head_only)
		um_http1_no_body(cc->parser);
	um_timer_start(call->phase, call->o.head_timeout_ns);
}

static void conn_open(void *arg)
{
	struct cconn *cc = arg;

	cc->opened = true;
	if (cc->call)
		send_request(cc->call);
}

static void conn_drain(void *arg)
{
	struct cconn *cc = arg;

	if (cc->call && cc->call->o.on_drain)
		cc->call->o.on_drain(cc->call->o.arg);
}

static const struct um_conn_events conn_events = {conn_open, conn_data, conn_drain, conn_close};

static void on_keep(void *arg)
{
	struct cconn *cc = arg;

	TAILQ_REMOVE(&cc->client->idle, cc, idle);
	cc->client->n_idle--;
	cconn_free(cc); /* its timer no longer runs: it is not taken out again */
}

static SSL *new_session(struct um_http_client *c)
{
	SSL *ssl = um_tls_session(c->tls, c->tls_name);

	if (ssl && c->session && c->session_generation == um_tls_generation(c->tls))
		SSL_set_session(ssl, c->session);
	return ssl;
}

static struct cconn *cconn_new(struct um_http_client *c, int fd)
{
	struct cconn *cc = calloc(1, sizeof(*cc));
	SSL *ssl = cc && c->tls ? new_session(c) : NULL;

	if (cc) {
		cc->client = c;
		cc->parser = um_http1_new(UM_HTTP1_RESPONSE,
					  &(struct um_http1_limits){.bare_lf = c->bare_lf});
		cc->keep = um_timer_new(c->loop, on_keep, cc);
	}
	if (!cc || !cc->parser || !cc->keep || (c->tls && !ssl)) {
		SSL_free(ssl);
		um_close(fd);
		cconn_free(cc);
		return NULL;
	}
	cc->c = um_conn_new(c->loop, fd, ssl, UM_CONN_CLIENT, &conn_events, cc);
	if (!cc->c) {
		cconn_free(cc);
		return NULL;
	}
	return cc;
}

static void on_dialed(void *arg, int fd, const struct um_error *err)
{
	struct um_http_call *call = arg;
	struct um_error why = UM_ERROR_INIT;

	um_error_move(&why, err);
	um_dial_free(TAKE_PTR(call->dial));
	if (fd < 0) {
		finish(call, &why);
		return;
	}
	call->conn = cconn_new(call->client, fd);
	if (!call->conn) {
		fail(call, -ENOMEM, "out of memory:");
		return;
	}
	call->conn->call = call;
}

/* Errors are reported from the loop. */
static void start_on_fresh(struct um_http_call *call)
{
	struct um_http_client *c = call->client;

	call->dial = um_dial_new(c->loop, c->host, c->port, on_dialed, call);
	if (call->dial) {
		um_timer_start(call->phase, c->connect_timeout_ns);
		return;
	}
	um_error_set(&call->err, -ENOMEM, "connect to %s: out of memory", c->host);
	um_timer_start(call->phase, 0);
}

static bool start_on_kept(struct um_http_call *call)
{
	struct um_http_client *c = call->client;
	struct cconn *cc = TAILQ_FIRST(&c->idle);

	if (!cc || call->o.close || call->o.upgrade || call->o.stream_body)
		return false;
	TAILQ_REMOVE(&c->idle, cc, idle);
	c->n_idle--;
	um_timer_stop(cc->keep);
	call->conn = cc;
	cc->call = call;
	send_request(call);
	return true;
}

static bool target_ok(const char *t)
{
	if (*t != '/')
		return false;
	for (; *t; t++)
		if ((unsigned char)*t <= 0x20 || (unsigned char)*t >= 0x7f)
			return false;
	return true;
}

static int build_request(struct um_http_call *call, const struct um_http_call_opts *o)
{
	struct um_http_client *c = call->client;
	struct um_buf *b = &call->request;
	bool has_host = false;

	if (!um_http1_is_token(o->method, strlen(o->method)) || !target_ok(o->target))
		return -EINVAL;
	um_buf_addf(b, "%s %s HTTP/1.1\r\n", o->method, o->target);
	for (size_t i = 0; i < o->n_headers; i++) {
		const char *n = o->headers[i].name, *v = o->headers[i].value;

		if (!um_http1_is_token(n, strlen(n)) || !um_http1_is_field_value(v, strlen(v)))
			return -EINVAL;
		has_host |= !strcasecmp(n, "host");
		um_buf_addf(b, "%s: %s\r\n", n, v);
	}
	if (!has_host)
		um_buf_addf(b, strchr(c->host, ':') ? "Host: [%s]:%d\r\n" : "Host: %s:%d\r\n",
			    c->host, c->port);
	if (o->content_type)
		um_buf_addf(b, "Content-Type: %s\r\n", o->content_type);
	if (o->stream_body)
		um_buf_adds(b, "Transfer-Encoding: chunked\r\n");
	else if (o->body || !strcmp(o->method, "POST") || !strcmp(o->method, "PUT") ||
		 !strcmp(o->method, "PATCH"))
		um_buf_addf(b, "Content-Length: %zu\r\n", o->body ? o->body->len : (size_t)0);
	if (o->upgrade)
		um_buf_addf(b, "Connection: Upgrade\r\nUpgrade: %s\r\n", o->upgrade);
	else if (o->close)
		um_buf_adds(b, "Connection: close\r\n");
	um_buf_adds(b, "\r\n");
	return um_buf_error(b);
}

static bool takes_a_turn(const struct um_http_call *call)
{
	return call->client->max_busy && !call->o.close && !call->o.upgrade && !call->o.stream_body;
}

static void begin(struct um_http_call *call)
{
	call->turn = takes_a_turn(call) ? TURN_COUNTS : TURN_FREE;
	if (call->turn == TURN_COUNTS)
		call->client->n_busy++;
	if (!start_on_kept(call))
		start_on_fresh(call);
}

int um_http_call_start(struct um_http_client *c, const struct um_http_call_opts *o,
		       struct um_http_call **ret, struct um_error *err)
{
	struct um_http_call *call = calloc(1, sizeof(*call));
	int r;

	if (!call)
		return um_error_set(err, -ENOMEM, "HTTP call: out of memory");
	call->client = c;
	call->o = *o;
	TAILQ_INSERT_TAIL(&c->calls, call, all);
	call->o.body_cap = o->body_cap ? o->body_cap : BODY_CAP_DEFAULT;
	call->o.line_max = o->line_max ? o->line_max : BODY_CAP_DEFAULT;
	call->o.head_timeout_ns = o->head_timeout_ns ? o->head_timeout_ns : 30 * UM_NSEC_PER_SEC;
	um_buf_init(&call->request, REQUEST_HEAD_MAX);
	um_buf_init(&call->early, EARLY_MAX);
	um_buf_init(&call->in, call->o.body_cap);
	call->head_only = !strcmp(o->method, "HEAD");
	call->idempotent =
		strcmp(o->method, "POST") && strcmp(o->method, "PATCH") && !o->stream_body;
	call->total = um_timer_new(c->loop, on_total, call);
	call->phase = um_timer_new(c->loop, on_phase, call);
	r = call->total && call->phase ? build_request(call, o) : -ENOMEM;
	if (r < 0) {
		call_free(call);
		return um_error_set(err, r, "HTTP call to %s: bad request", c->host);
	}
	if (o->body)
		call->body = um_bytes_ref(o->body);
	if (o->timeout_ns)
		um_timer_start(call->total, o->timeout_ns);
	if (takes_a_turn(call) && c->n_busy >= c->max_busy) {
		call->turn = TURN_WAITS;
		TAILQ_INSERT_TAIL(&c->waiting, call, wait);
	} else {
		begin(call);
	}
	*ret = call;
	return 0;
}

void um_http_call_cancel(struct um_http_call *call)
{
	if (call && !call->done)
		call_free(call);
}

int um_http_call_write(struct um_http_call *call, const void *data, size_t len)
{
	if (call->body_ended)
		return -EPIPE;
	if (call->conn && call->conn->opened)
		return write_chunk(call->conn->c, data, len);
	return um_buf_add(&call->early, data, len) < 0 ? -ENOMEM : 0;
}

size_t um_http_call_pending(const struct um_http_call *call)
{
	return call->early.len + (call->conn ? um_conn_pending(call->conn->c) : 0);
}

void um_http_call_end_body(struct um_http_call *call)
{
	if (call->body_ended)
		return;
	call->body_ended = true;
	if (call->conn && call->conn->opened)
		um_conn_write(call->conn->c, "0\r\n\r\n", 5);
}

/* ---- the client ---- */

int um_http_client_new(struct um_loop *l, const struct um_http_client_opts *o,
		       struct um_http_client **ret, struct um_error *err)
{
	struct um_http_client *c = calloc(1, sizeof(*c));

	if (!c)
		return um_error_set(err, -ENOMEM, "HTTP client: out of memory");
	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to sockets without MSG_NOSIGNAL */
	TAILQ_INIT(&c->idle);
	TAILQ_INIT(&c->calls);
	TAILQ_INIT(&c->waiting);
	c->max_busy = o->max_busy;
	c->loop = l;
	c->port = o->port;
	c->bare_lf = o->bare_lf;
	c->max_idle = o->max_idle ? o->max_idle : 2;
	c->connect_timeout_ns =
		o->connect_timeout_ns ? o->connect_timeout_ns : 10 * UM_NSEC_PER_SEC;
	c->keep_ns = o->keep_ns ? o->keep_ns : 60 * UM_NSEC_PER_SEC;
	c->host = strdup(o->host);
	c->tls_name = strdup(o->tls_name ? o->tls_name : o->host);
	if (o->tls)
		c->tls = um_tls_ref(o->tls);
	if (!c->host || !c->tls_name) {
		um_http_client_free(c);
		return um_error_set(err, -ENOMEM, "HTTP client: out of memory");
	}
	*ret = c;
	return 0;
}

void um_http_client_free(struct um_http_client *c)
{
	if (!c)
		return;
	c->closing = true;
	while (!TAILQ_EMPTY(&c->calls))
		call_free(TAILQ_FIRST(&c->calls));
	while (!TAILQ_EMPTY(&c->idle))
		cconn_free(TAILQ_FIRST(&c->idle));
	SSL_SESSION_free(c->session);
	um_tls_unref(c->tls);
	free(c->host);
	free(c->tls_name);
	free(c);
}
