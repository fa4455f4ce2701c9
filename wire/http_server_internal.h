/* Shared by http_server.c (listeners, the server as a whole), http_conn.c (one connection),
 * http_request.c (what was asked) and http_response.c (what is answered). */
#ifndef UM_WIRE_HTTP_SERVER_INTERNAL_H
#define UM_WIRE_HTTP_SERVER_INTERNAL_H

#include <sys/queue.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/vec.h"
#include "wire/http1.h"
#include "wire/http_server.h"
#include "wire/loop.h"

enum hconn_phase {
	PH_HEAD,   /* a head is due; its deadline runs */
	PH_IDLE,   /* between requests */
	PH_BODY,   /* a request with more body to come */
	PH_WAIT,   /* a request that was read; its response is due */
	PH_FLUSH,  /* nothing more is read; output leaves, then our side closes */
	PH_LINGER, /* our side is closed; what still comes is thrown away for a moment */
};

struct peer_count {
	char address[46];
	unsigned conns;
	UT_hash_handle hh;
};

struct hconn {
	struct um_http_server *server;
	struct um_conn *c; /* owned; NULL once handed over */
	struct um_http1 *parser;
	struct um_timer *timer;
	enum hconn_phase phase;
	struct um_http_req *req;  /* owned */
	struct um_tls_peer *peer; /* owned; read at the first request */
	struct peer_count *count;
	char remote[64];
	size_t discarded;
	bool processing, open, idle_listed;
	TAILQ_ENTRY(hconn) all, idle;
};

struct param {
	const char *key, *value;
};

struct um_http_req {
	struct hconn *h;
	const struct um_http1_head *head;
	char *target; /* owned; path and parameters point into it */
	const char *path, *raw_query;
	char *query_text; /* owned */
	UM_VEC(struct param) params;
	int64_t started_ns;
	void *data;
	void (*on_close)(void *arg, struct um_http_req *r);
	void *close_arg;
	/* body */
	struct um_buf body;
	um_http_body_fn body_fn;
	void *body_arg;
	bool body_stream, body_paused, body_done;
	/* response */
	struct um_buf fields;
	bool bad_field, begun, chunked, keep;
	void (*on_drain)(void *arg, struct um_http_req *r);
	void *drain_arg;
};

struct um_http_server {
	struct um_loop *loop;
	struct um_http_server_opts o;
	UM_VEC(struct listener *) listeners;
	TAILQ_HEAD(, hconn) conns;
	TAILQ_HEAD(, hconn) idle; /* longest idle first */
	struct peer_count *peers;
	struct um_http_server_stats stats;
	size_t body_bytes; /* held by requests */
	bool draining;
	struct um_timer *drain_timer;
	void (*drained)(void *arg);
	void *drained_arg;
};

/* http_request.c: fills path and parameters. 0, or the status to refuse with. */
int um_http_req_parse_target(struct um_http_req *r);
void um_http_req_free(struct um_http_req *r);

/* http_conn.c */
struct sockaddr_storage;
/* Takes over a fresh socket, or closes it. */
void um_hconn_accept(struct um_http_server *s, int fd, const struct sockaddr_storage *ss);
/* Ends it at once; on_close is called for its request. */
void um_hconn_close(struct hconn *h);
/* Ends it as soon as that is clean: the server drains. */
void um_hconn_drain(struct hconn *h);
void um_http_check_drained(struct um_http_server *s);
void um_http_address_text(const struct sockaddr_storage *ss, char host[46], int *port);
/* The response is complete: the connection goes on to the next request, or ends. */
void um_hconn_finished(struct hconn *h);
/* Answers for the server itself; the request, if any, is over. */
void um_hconn_refuse(struct hconn *h, int status, const char *message);
/* Reads on when the phase allows it. */
void um_hconn_process(struct hconn *h);
/* Forgets the connection, which now belongs to somebody else. */
struct um_conn *um_hconn_hand_over(struct hconn *h);
/* The deadline of the body runs from now. */
void um_hconn_start_body(struct hconn *h);

/* http_response.c: status line and the fields that every response has. */
int um_http_write_head(struct um_buf *b, int status, const char *content_type, int64_t length,
		       bool chunked, bool keep, const struct um_clock *clock);

#endif
