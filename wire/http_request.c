#include <string.h>

#include "base/utf8.h"
#include "wire/http_server_internal.h"

enum { PARAMS_MAX = 64 };

void um_http_req_free(struct um_http_req *r)
{
	if (!r)
		return;
	r->h->server->body_bytes -= r->body.len;
	free(r->target);
	free(r->query_text);
	um_vec_release(&r->params);
	um_buf_release(&r->body);
	um_buf_release(&r->fields);
	free(r);
}

static int hex(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* Decodes in place up to @end; the reader has checked the escapes. False: NUL, a slash in an escape
 * where @path, or not UTF-8. */
static bool decode(char *s, const char *end, bool path)
{
	char *out = s;
	const char *start = s;

	for (; s < end; s++) {
		if (*s == '%') {
			*out = (char)(hex(s[1]) << 4 | hex(s[2]));
			if (!*out || (path && *out == '/'))
				return false;
			out++;
			s += 2;
		} else {
			*out++ = !path && *s == '+' ? ' ' : *s;
		}
	}
	*out = '\0';
	return um_utf8_valid(start, (size_t)(out - start)) == (size_t)(out - start);
}

/* "/a/b" and "/a/b/": yes; empty, "." and ".." segments: no. */
static bool plain_segments(const char *path)
{
	for (const char *s = path + 1; *s;) {
		size_t n = strcspn(s, "/");

		if (!n || (n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
			return false;
		s += n;
		if (*s == '/')
			s++;
	}
	return true;
}

static int parse_query(struct um_http_req *r, char *q)
{
	while (q && *q) {
		char *end = q + strcspn(q, "&"), *next = *end ? end + 1 : NULL, *eq;
		struct param p;

		*end = '\0';
		if (end > q) {
			if (r->params.len >= PARAMS_MAX)
				return 414;
			eq = strchr(q, '=');
			p.key = q;
			p.value = eq ? eq + 1 : "";
			if ((eq && !decode(eq + 1, end, false)) || !decode(q, eq ? eq : end, false))
				return 400;
			if (um_vec_push(&r->params, p) < 0)
				return 503;
		}
		q = next;
	}
	return 0;
}

int um_http_req_parse_target(struct um_http_req *r)
{
	char *q;
	int status;

	r->raw_query = "";
	r->target = strdup(r->head->target);
	if (!r->target)
		return 503;
	q = strchr(r->target, '?');
	if (q) {
		*q = '\0';
		r->query_text = strdup(q + 1);
		if (!r->query_text)
			return 503;
		r->raw_query = strchr(r->head->target, '?') + 1;
	}
	if (r->target[0] == '/' &&
	    (!decode(r->target, r->target + strlen(r->target), true) || !plain_segments(r->target)))
		return 400;
	r->path = r->target;
	status = parse_query(r, r->query_text);
	return status;
}

const char *um_http_method(const struct um_http_req *r)
{
	return r->head->method;
}

const char *um_http_path(const struct um_http_req *r)
{
	return r->path;
}

const char *um_http_query_nth(const struct um_http_req *r, const char *key, unsigned nth)
{
	for (size_t i = 0; i < r->params.len; i++)
		if (!strcmp(r->params.items[i].key, key) && !nth--)
			return r->params.items[i].value;
	return NULL;
}

const char *um_http_query(const struct um_http_req *r, const char *key)
{
	return um_http_query_nth(r, key, 0);
}

const char *um_http_raw_query(const struct um_http_req *r)
{
	return r->raw_query;
}

const char *um_http_header(const struct um_http_req *r, const char *lower_name)
{
	return um_http1_header(r->head, lower_name);
}

const char *um_http_upgrade_token(const struct um_http_req *r)
{
	return r->head->upgrade;
}

const struct um_tls_peer *um_http_peer(const struct um_http_req *r)
{
	return r->h->peer;
}

const char *um_http_remote(const struct um_http_req *r)
{
	return r->h->remote;
}

bool um_http_has_body(const struct um_http_req *r)
{
	return r->head->has_body;
}

int64_t um_http_started_ns(const struct um_http_req *r)
{
	return r->started_ns;
}

void um_http_set_data(struct um_http_req *r, void *data)
{
	r->data = data;
}

void *um_http_data(const struct um_http_req *r)
{
	return r->data;
}

void um_http_on_close(struct um_http_req *r, void (*fn)(void *arg, struct um_http_req *r),
		      void *arg)
{
	r->on_close = fn;
	r->close_arg = arg;
}

/* ---- body ---- */

static void send_continue(struct um_http_req *r)
{
	static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";

	if (r->head->expect_continue)
		um_conn_write(r->h->c, line, sizeof(line) - 1);
}

void um_http_read_body(struct um_http_req *r, size_t cap, um_http_body_fn fn, void *arg)
{
	struct hconn *h = r->h;

	if (r->body_done) {
		fn(arg, r, "", 0);
		return;
	}
	if (r->head->content_length > 0 && (uint64_t)r->head->content_length > cap) {
		um_hconn_refuse(h, 413, "the body is too large");
		return;
	}
	um_buf_init(&r->body, cap);
	r->body_fn = fn;
	r->body_arg = arg;
	send_continue(r);
	um_hconn_start_body(h);
	um_hconn_process(h);
}

void um_http_stream_body(struct um_http_req *r, um_http_body_fn fn, void *arg)
{
	if (r->body_done) {
		fn(arg, r, "", 0);
		return;
	}
	r->body_stream = true;
	r->body_fn = fn;
	r->body_arg = arg;
	send_continue(r);
	um_hconn_process(r->h);
}

void um_http_pause_body(struct um_http_req *r, bool pause)
{
	r->body_paused = pause;
	if (!pause)
		um_conn_wake(r->h->c);
}
