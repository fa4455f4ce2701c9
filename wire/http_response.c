#include <string.h>
#include <time.h>

#include "wire/http_server_internal.h"

static void add_date(struct um_buf *b, const struct um_clock *clock)
{
	time_t t = (time_t)(um_clock_wall(clock) / UM_NSEC_PER_SEC);
	char text[64];
	struct tm tm;

	if (gmtime_r(&t, &tm) && strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm))
		um_buf_addf(b, "Date: %s\r\n", text);
}

int um_http_write_head(struct um_buf *b, int status, const char *content_type, int64_t length,
		       bool chunked, bool keep, const struct um_clock *clock)
{
	um_buf_addf(b, "HTTP/1.1 %d %s\r\n", status, um_http1_reason(status));
	add_date(b, clock);
	if (content_type)
		um_buf_addf(b, "Content-Type: %s\r\n", content_type);
	if (length >= 0)
		um_buf_addf(b, "Content-Length: %lld\r\n", (long long)length);
	if (chunked)
		um_buf_adds(b, "Transfer-Encoding: chunked\r\n");
	if (!keep)
		um_buf_adds(b, "Connection: close\r\n");
	return um_buf_error(b);
}

void um_http_set_header(struct um_http_req *r, const char *name, const char *value)
{
	if (!um_http1_is_token(name, strlen(name)) ||
	    !um_http1_is_field_value(value, strlen(value)) ||
	    um_buf_addf(&r->fields, "%s: %s\r\n", name, value) < 0)
		r->bad_field = true;
}

/* Writes the head; decides whether the connection can go on after this response. */
static int begin(struct um_http_req *r, int status, const char *content_type, int64_t length)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(64 << 10);
	struct hconn *h = r->h;

	r->begun = true;
	r->keep = r->head->keep_alive && r->body_done && !h->server->draining;
	if (length < 0 && !r->chunked)
		r->keep = false; /* HTTP/1.0: the end of the connection ends the body */
	if (status == 204 || status == 304)
		length = -1;
	um_http_write_head(&b, status, content_type, length, r->chunked, r->keep,
			   um_loop_clock(h->server->loop));
	um_buf_add(&b, um_buf_str(&r->fields), r->fields.len);
	um_buf_adds(&b, "\r\n");
	if (um_buf_error(&b) < 0) {
		um_conn_cut(h->c, -ENOMEM, "out of memory");
		return -EPIPE;
	}
	return um_conn_write(h->c, b.data, b.len);
}

static bool bodyless(const struct um_http_req *r, int status)
{
	return !strcmp(r->head->method, "HEAD") || status == 204 || status == 304;
}

static void finish(struct um_http_req *r)
{
	um_hconn_finished(r->h);
}

void um_http_respond(struct um_http_req *r, int status, const char *content_type,
		     struct um_bytes *body)
{
	if (r->bad_field) {
		um_buf_clear(&r->fields);
		status = 500;
		body = NULL;
	}
	if (begin(r, status, content_type, body ? (int64_t)body->len : 0) == 0 && body &&
	    !bodyless(r, status))
		um_conn_write_bytes(r->h->c, body, 0, body->len);
	finish(r);
}

void um_http_respond_data(struct um_http_req *r, int status, const char *content_type,
			  const void *data, size_t len)
{
	if (r->bad_field) {
		um_http_respond(r, status, content_type, NULL);
		return;
	}
	if (begin(r, status, content_type, (int64_t)len) == 0 && len && !bodyless(r, status))
		um_conn_write(r->h->c, data, len);
	finish(r);
}

void um_http_stream_begin(struct um_http_req *r, int status, const char *content_type)
{
	if (r->bad_field)
		um_buf_clear(&r->fields);
	r->chunked = !r->head->http10;
	if (begin(r, r->bad_field ? 500 : status, content_type, -1) == 0)
		um_conn_set_output_cap(r->h->c, r->h->server->o.output_cap);
}

static int chunk_head(struct um_http_req *r, size_t len)
{
	char line[24];
	int n;

	if (!r->chunked)
		return 0;
	n = snprintf(line, sizeof(line), "%zx\r\n", len);
	return um_conn_write(r->h->c, line, (size_t)n);
}

static int chunk_tail(struct um_http_req *r)
{
	return r->chunked ? um_conn_write(r->h->c, "\r\n", 2) : 0;
}

int um_http_stream_write(struct um_http_req *r, struct um_bytes *b)
{
	int x;

	if (!b->len || !strcmp(r->head->method, "HEAD"))
		return 0;
	x = chunk_head(r, b->len);
	if (!x)
		x = um_conn_write_bytes(r->h->c, b, 0, b->len);
	if (!x)
		x = chunk_tail(r);
	return x < 0 ? -EPIPE : 0;
}

int um_http_stream_copy(struct um_http_req *r, const void *data, size_t len)
{
	int x;

	if (!len || !strcmp(r->head->method, "HEAD"))
		return 0;
	x = chunk_head(r, len);
	if (!x)
		x = um_conn_write(r->h->c, data, len);
	if (!x)
		x = chunk_tail(r);
	return x < 0 ? -EPIPE : 0;
}

size_t um_http_stream_pending(const struct um_http_req *r)
{
	return um_conn_pending(r->h->c);
}

void um_http_stream_on_drain(struct um_http_req *r, void (*fn)(void *arg, struct um_http_req *r),
			     void *arg)
{
	r->on_drain = fn;
	r->drain_arg = arg;
}

void um_http_stream_end(struct um_http_req *r)
{
	if (r->chunked && strcmp(r->head->method, "HEAD"))
		um_conn_write(r->h->c, "0\r\n\r\n", 5);
	um_conn_set_output_cap(r->h->c, 0);
	finish(r);
}

void um_http_stream_abort(struct um_http_req *r)
{
	um_conn_cut(r->h->c, -ECONNABORTED, "the response was broken off");
}

struct um_conn *um_http_upgrade(struct um_http_req *r, const char *protocol,
				const struct um_conn_events *ev, void *arg)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(16 << 10);
	struct hconn *h = r->h;
	struct um_conn *c;

	if (!r->head->upgrade || r->begun || !r->body_done) {
		um_hconn_refuse(h, 426, "an upgrade is needed");
		return NULL;
	}
	um_buf_addf(&b, "HTTP/1.1 %d %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\n", 101,
		    um_http1_reason(101), protocol);
	um_buf_add(&b, um_buf_str(&r->fields), r->fields.len);
	um_buf_adds(&b, "\r\n");
	if (um_buf_error(&b) < 0 || r->bad_field || um_conn_write(h->c, b.data, b.len) < 0) {
		um_hconn_refuse(h, 500, "upgrade failed");
		return NULL;
	}
	c = um_hconn_hand_over(h);
	um_conn_set_events(c, ev, arg);
	return c;
}
