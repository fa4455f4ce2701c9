/* An HTTP/1.1 server on the loop, over TLS or plain.
 *
 * A request is announced when its head has arrived; its body is read only after the handler has
 * asked for it, so that who may not ask is answered before a byte of body is taken. Every request
 * gets exactly one response. Until then the handler may keep @req and finish it from any callback;
 * after um_http_respond(), um_http_stream_end() or um_http_upgrade(), and after its on_close was
 * called, it must not be touched.
 *
 * Bounds: deadlines for the head (from accept, TLS handshake included, or from its first byte) and
 * for the body, both absolute; an idle timeout between requests; a number of connections in all and
 * from one address; unread input and unsent output of each connection. Pipelined requests are
 * served one after another. */
#ifndef UM_WIRE_HTTP_SERVER_H
#define UM_WIRE_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/error.h"
#include "wire/conn.h"
#include "wire/tls.h"

struct um_http_server;
struct um_http_req;
struct um_loop;

typedef void (*um_http_request_fn)(void *arg, struct um_http_req *req);

struct um_http_server_opts {
	struct um_tls *tls; /* a reference is taken; NULL: plain HTTP */
	um_http_request_fn on_request;
	void *arg;
	/* Writes the body of answers that the server itself makes (bad requests, deadlines) with
	 * @status and @message; NULL: the message as text. Returns the content type. */
	const char *(*error_body)(int status, const char *message, struct um_buf *b);
	/* 0 picks the value in brackets. */
	unsigned max_conns;	     /* [4096]; when full the longest idle one goes */
	unsigned max_conns_per_peer; /* [half of max_conns] */
	size_t body_total;	     /* bytes of whole bodies held at a time, in all [64 MiB] */
	size_t output_cap;	     /* unsent bytes of a streamed response [4 MiB] */
	int64_t head_timeout_ns;     /* [10 s] */
	int64_t body_timeout_ns;     /* [60 s] */
	int64_t idle_timeout_ns;     /* [120 s] */
	int64_t stall_timeout_ns;    /* [30 s] nothing of the output was taken */
};

struct um_http_server_stats {
	unsigned conns;
	int64_t accepted, requests, refused_conns, bad_requests, slow_cut, timeouts;
};

um_must_check int um_http_server_new(struct um_loop *l, const struct um_http_server_opts *o,
				     struct um_http_server **ret, struct um_error *err);
/* Listens on a numeric address ("127.0.0.1", "::") and a port (0: any). May be called again for
 * more addresses. -EADDRINUSE, -EADDRNOTAVAIL, -EINVAL (not an address), ... */
um_must_check int um_http_server_listen(struct um_http_server *s, const char *address, int port,
					struct um_error *err);
int um_http_server_port(const struct um_http_server *s); /* of the first address */
/* Takes no new connection and no new request, ends streams cleanly (their on_close is called), and
 * calls @done when the last connection has gone or @timeout_ns has passed. */
void um_http_server_drain(struct um_http_server *s, int64_t timeout_ns, void (*done)(void *arg),
			  void *arg);
/* Cuts what is open (on_close is called for open requests); accepts NULL. */
void um_http_server_free(struct um_http_server *s);
void um_http_server_get_stats(const struct um_http_server *s, struct um_http_server_stats *ret);

/* ---- the request; all strings live as long as it does ---- */

const char *um_http_method(const struct um_http_req *r);
const char *um_http_path(const struct um_http_req *r); /* decoded; no //, . or .. segments */
const char *um_http_query(const struct um_http_req *r, const char *key); /* decoded; NULL: absent */
const char *um_http_query_nth(const struct um_http_req *r, const char *key, unsigned nth);
const char *um_http_raw_query(const struct um_http_req *r); /* "" when there is none */
const char *um_http_header(const struct um_http_req *r, const char *lower_name);
const char *um_http_upgrade_token(const struct um_http_req *r); /* NULL: none asked for */
const struct um_tls_peer *um_http_peer(const struct um_http_req *r);
const char *um_http_remote(const struct um_http_req *r); /* "192.0.2.1:4711", "[::1]:4711" */
bool um_http_has_body(const struct um_http_req *r);
int64_t um_http_started_ns(const struct um_http_req *r); /* monotonic, when the head was complete */
/* For the handler's own use. */
void um_http_set_data(struct um_http_req *r, void *data);
void *um_http_data(const struct um_http_req *r);
/* Called once when the connection is lost (or the server drains) before the response is complete.
 */
void um_http_on_close(struct um_http_req *r, void (*fn)(void *arg, struct um_http_req *r),
		      void *arg);

/* Reads the whole body, at most @cap bytes; past it the server answers 413 itself and calls
 * on_close. @fn may be called from within. @data is NUL-terminated and lives as long as @r. */
typedef void (*um_http_body_fn)(void *arg, struct um_http_req *r, const char *data, size_t len);
void um_http_read_body(struct um_http_req *r, size_t cap, um_http_body_fn fn, void *arg);
/* Takes the body as it comes, without a bound on its size or duration. @fn with @len 0 is the end.
 * It must take all it is given; um_http_pause_body() stops the flow. */
void um_http_stream_body(struct um_http_req *r, um_http_body_fn fn, void *arg);
void um_http_pause_body(struct um_http_req *r, bool pause);

/* ---- the response ---- */

/* An extra field, before the response starts. Bad bytes make the response a 500. */
void um_http_set_header(struct um_http_req *r, const char *name, const char *value);
/* The whole response; @body may be NULL. Takes a reference. */
void um_http_respond(struct um_http_req *r, int status, const char *content_type,
		     struct um_bytes *body);
void um_http_respond_data(struct um_http_req *r, int status, const char *content_type,
			  const void *data, size_t len);
/* A response of unknown length. Writes return 0 or -EPIPE: on_close comes or has come. */
void um_http_stream_begin(struct um_http_req *r, int status, const char *content_type);
int um_http_stream_write(struct um_http_req *r, struct um_bytes *b);
int um_http_stream_copy(struct um_http_req *r, const void *data, size_t len);
size_t um_http_stream_pending(const struct um_http_req *r);
/* Called each time that all written bytes have left. */
void um_http_stream_on_drain(struct um_http_req *r, void (*fn)(void *arg, struct um_http_req *r),
			     void *arg);
void um_http_stream_end(struct um_http_req *r);
/* The rest cannot be had: ends the connection, so that no client takes the part for the whole.
 * on_close comes. */
void um_http_stream_abort(struct um_http_req *r);
/* Answers 101 and hands the connection over; bytes that came behind the head are kept. The caller
 * owns it. NULL when the request asked for no upgrade or the connection is gone: @r is over too. */
struct um_conn *um_http_upgrade(struct um_http_req *r, const char *protocol,
				const struct um_conn_events *ev, void *arg);

#endif
