/* An asynchronous HTTP/1.1 client for one server, on the loop: TLS or plain, kept-alive
 * connections, whole or streamed bodies both ways, upgrades.
 *
 * A call ends with exactly one on_done, from the loop, unless it was cancelled. All that the server
 * sends is bounded: heads by the reader's limits, whole bodies by body_cap, lines by line_max.
 * A call on a kept connection that the server had just closed is repeated once on a fresh one, when
 * its method is idempotent. */
#ifndef UM_WIRE_HTTP_CLIENT_H
#define UM_WIRE_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "wire/conn.h"
#include "wire/http1.h"
#include "wire/tls.h"

struct um_http_client;
struct um_http_call;
struct um_loop;

struct um_http_client_opts {
	const char
		*host; /* numeric address, or a name: looked up on a worker for each connection */
	int port;
	struct um_tls *tls;   /* a client context, a reference is taken; NULL: plain */
	const char *tls_name; /* what the certificate must name; NULL: host */
	bool bare_lf;	      /* probes: a response's lines may end in LF alone */
	unsigned max_idle;    /* kept connections [2] */
	/* Calls at once; more wait for their turn, in order, and their total timeout runs
	 * meanwhile. Calls with a connection of their own, upgrades and streamed bodies do not
	 * count. [no limit] */
	unsigned max_busy;
	int64_t connect_timeout_ns; /* look-up, TCP and TLS together [10 s] */
	int64_t keep_ns;	    /* how long an idle connection is kept [60 s] */
};

struct um_http_result {
	const struct um_error *err;	  /* code 0: the response is complete */
	int status;			  /* 0: there was no response */
	const struct um_http1_head *head; /* NULL likewise */
	const char *body;		  /* NUL-terminated; what was not streamed */
	size_t len;
};

struct um_http_call_opts {
	const char *method, *target;
	const struct um_http1_header *headers; /* extra ones */
	size_t n_headers;
	const char *content_type;
	struct um_bytes *body;	 /* a reference is taken; may be NULL */
	bool stream_body;	 /* the body comes by um_http_call_write() */
	bool close;		 /* a connection of its own, closed afterwards */
	const char *upgrade;	 /* ask for this protocol */
	size_t body_cap;	 /* [4 MiB] */
	size_t line_max;	 /* [4 MiB] */
	int64_t timeout_ns;	 /* for the whole call [none] */
	int64_t head_timeout_ns; /* from the request to the response's head [30 s] */
	int64_t idle_timeout_ns; /* between bytes of a streamed response [none] */
	/* All may be NULL but on_done. Only a response with status 2xx is streamed. */
	void (*on_head)(void *arg, const struct um_http1_head *head);
	void (*on_line)(void *arg, const char *line, size_t len); /* no LF; NUL-terminated */
	void (*on_data)(void *arg, const char *data, size_t len);
	void (*on_drain)(void *arg); /* all of a streamed request body has left */
	void (*on_upgrade)(void *arg,
			   struct um_conn *c); /* instead of on_done; owned by the callee,
						  which sets its events at once */
	void (*on_done)(void *arg, const struct um_http_result *res);
	void *arg;
};

um_must_check int um_http_client_new(struct um_loop *l, const struct um_http_client_opts *o,
				     struct um_http_client **ret, struct um_error *err);
/* Calls that are open are cancelled; accepts NULL. Not from within a callback of a call. */
void um_http_client_free(struct um_http_client *c);

/* Starts a call; strings are copied. -ENOMEM, -EINVAL (a header or the target has bad bytes). */
um_must_check int um_http_call_start(struct um_http_client *c, const struct um_http_call_opts *o,
				     struct um_http_call **ret, struct um_error *err);
/* No callback comes any more. Also from within a callback other than on_done. Accepts NULL. */
void um_http_call_cancel(struct um_http_call *call);
/* Streamed request bodies; before the connection stands, bytes are kept. 0 or -EPIPE, -ENOMEM. */
int um_http_call_write(struct um_http_call *call, const void *data, size_t len);
size_t um_http_call_pending(const struct um_http_call *call);
void um_http_call_end_body(struct um_http_call *call);

#endif
