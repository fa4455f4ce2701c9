/* Shared by http_client.c (calls) and http_dial.c (how a connection comes about). */
#ifndef UM_WIRE_HTTP_CLIENT_INTERNAL_H
#define UM_WIRE_HTTP_CLIENT_INTERNAL_H

#include <sys/queue.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "wire/http_client.h"
#include "wire/loop.h"

struct um_dial;
/* @fd is the receiver's; negative: an error, which @err explains. */
typedef void (*um_dial_fn)(void *arg, int fd, const struct um_error *err);
/* Connects to @host, trying each of its addresses; @fn comes from the loop. NULL: no memory. */
struct um_dial *um_dial_new(struct um_loop *l, const char *host, int port, um_dial_fn fn,
			    void *arg);
void um_dial_free(struct um_dial *d); /* accepts NULL; forgets @fn */

/* One connection to the server: serving a call, or idle and kept. */
struct cconn {
	struct um_http_client *client;
	struct um_conn *c; /* owned */
	struct um_http1 *parser;
	struct um_timer *keep;
	struct um_http_call *call; /* borrowed; NULL while idle */
	bool used;		   /* has served a call before this one */
	bool opened;
	TAILQ_ENTRY(cconn) idle;
};

struct um_http_client {
	struct um_loop *loop;
	char *host, *tls_name;
	int port;
	struct um_tls *tls;
	unsigned max_idle, n_idle, max_busy, n_busy;
	bool bare_lf, closing;
	int64_t connect_timeout_ns, keep_ns;
	SSL_SESSION *session;
	unsigned session_generation;
	TAILQ_HEAD(, cconn) idle; /* the one used last first */
	TAILQ_HEAD(, um_http_call) calls, waiting;
};

/* Where a call stands towards max_busy. */
enum turn { TURN_FREE, TURN_WAITS, TURN_COUNTS };

struct um_http_call {
	struct um_http_client *client;
	struct um_http_call_opts o; /* strings in it are not kept */
	struct um_buf request;	    /* head, to be sent again on a retry */
	struct um_bytes *body;
	struct um_buf early; /* streamed body bytes from before the connection stood */
	struct um_dial *dial;
	struct cconn *conn;
	struct um_timer *total, *phase;
	struct um_buf in; /* response body, or the current line */
	struct um_error err;
	bool *gone; /* set when the call is freed: for who is within one of its callbacks */
	bool idempotent, head_only, retried, streamed, got_head, got_bytes, body_ended, done;
	enum turn turn;
	TAILQ_ENTRY(um_http_call) all, wait;
};

#endif
