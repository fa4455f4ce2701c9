#include <arpa/inet.h>
#include <string.h>

#include "api/internal.h"
#include "api/streams.h"

#define ANSWER_NS (10 * UM_NSEC_PER_SEC)
enum {
	PENDING_MAX = 256 << 10, /* for the client, before the node is told to wait */
	CONTROL_PENDING_MAX = 1 << 20,
	STREAMS_MAX = 4096,
};

struct um_node_conn {
	struct um_api *api;
	char *node;
	struct um_conn *c;
	TAILQ_ENTRY(um_node_conn) all;
};

struct um_log_stream {
	struct um_api *api;
	char id[37];
	char *node;
	struct um_areq *client;	   /* borrowed: its state is this stream */
	struct um_areq *source;	   /* the node's request; NULL until it comes */
	struct um_timer *deadline; /* for it to come */
	bool refused;		   /* by the node, which need not be told that it is over */
	TAILQ_ENTRY(um_log_stream) all;
};

/* ---- the control channel ---- */

static void node_conn_free(struct um_node_conn *n)
{
	TAILQ_REMOVE(&n->api->nodes, n, all);
	um_conn_free(n->c);
	free(n->node);
	free(n);
}

static struct um_node_conn *find_node(struct um_api *api, const char *node)
{
	struct um_node_conn *n;

	TAILQ_FOREACH (n, &api->nodes, all)
		if (!strcmp(n->node, node))
			return n;
	return NULL;
}

static int send_message(struct um_node_conn *n, const struct um_json *msg)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_STREAM_MESSAGE_MAX);
	uint32_t len;
	int r = msg ? um_json_write(&b, msg) : -ENOMEM;

	if (r < 0)
		return r;
	len = htonl((uint32_t)b.len);
	r = um_conn_write(n->c, &len, sizeof(len));
	return r < 0 ? r : um_conn_write(n->c, b.data, b.len);
}

void um_node_tell(struct um_api *api, const char *node, const struct um_json *msg)
{
	struct um_node_conn *n = find_node(api, node);

	/* A node that misses a message has to begin anew. */
	if (n && send_message(n, msg) < 0)
		um_conn_cut(n->c, -ENOMEM, "out of memory");
}

static int send_simple(struct um_node_conn *n, const char *type, const char *stream)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(4096);
	struct um_json *msg = a ? um_json_new_obj(a) : NULL;

	if (!msg)
		return -ENOMEM;
	um_json_set_str(a, msg, "type", type);
	if (stream)
		um_json_set_str(a, msg, "stream", stream);
	return send_message(n, msg);
}

static struct um_log_stream *find_stream(struct um_api *api, const char *id, const char *node)
{
	struct um_log_stream *s;

	TAILQ_FOREACH (s, &api->streams, all)
		if (!strcmp(s->id, id) && !strcmp(s->node, node) && !s->source)
			return s;
	return NULL;
}

static void refused(struct um_node_conn *n, const struct um_json *msg)
{
	struct um_log_stream *s = find_stream(n->api, um_json_get_str(msg, "stream", ""), n->node);
	int64_t code = um_json_get_i64(msg, "code", 500);
	struct um_status st = {.reason = "InternalError",
			       .message = um_json_get_str(msg, "message", "refused by the node")};

	if (!s)
		return;
	st.code = code >= 400 && code < 600 ? (int)code : 500;
	if (st.code == 404)
		st.reason = "NotFound";
	else if (st.code < 500)
		st.reason = "BadRequest";
	s->refused = true;
	um_answer_status(s->client, &st);
}

static void on_message(struct um_node_conn *n, const char *data, size_t len)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	struct um_json *msg = NULL;
	const char *type;

	if (!a || um_json_parse(a, data, len, NULL, &msg, NULL) < 0 ||
	    !um_json_is(msg, UM_JSON_OBJ)) {
		um_conn_cut(n->c, -EBADMSG, "a message is no JSON object");
		return;
	}
	type = um_json_get_str(msg, "type", "");
	if (!strcmp(type, "refuse"))
		refused(n, msg);
	else if (!strcmp(type, "ping") && send_simple(n, "pong", NULL) < 0)
		um_conn_cut(n->c, -ENOMEM, "out of memory");
}

static void control_data(void *arg)
{
	struct um_node_conn *n = arg;

	for (;;) {
		_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_STREAM_MESSAGE_MAX + 4);
		size_t unread = um_conn_unread(n->c), len;
		uint32_t size;

		if (unread < 4)
			return;
		if (um_conn_copy_out(n->c, &size, 4) < 0)
			return;
		len = ntohl(size);
		if (len > UM_STREAM_MESSAGE_MAX) {
			um_conn_cut(n->c, -EMSGSIZE, "a message is too large");
			return;
		}
		if (unread < len + 4)
			return;
		if (um_buf_reserve(&b, len + 4) < 0 ||
		    um_conn_copy_out(n->c, b.data, len + 4) < 0) {
			um_conn_cut(n->c, -ENOMEM, "out of memory");
			return;
		}
		um_conn_consume(n->c, len + 4);
		on_message(n, b.data + 4, len);
	}
}

static void nothing(void *arg um_unused)
{
}

static void control_close(void *arg, const struct um_error *err um_unused)
{
	node_conn_free(arg);
}

static const struct um_conn_events control_events = {nothing, control_data, nothing, control_close};

void um_handle_node_control(struct um_areq *rq)
{
	size_t len = strcspn(rq->rt.rest, "/");
	const char *token = um_http_upgrade_token(rq->http);
	struct um_node_conn *n, *old;

	if (!len || strcmp(rq->rt.rest + len, "/control")) {
		um_answer_status(rq, &(struct um_status){.code = 404,
							 .reason = "NotFound",
							 .message = "no such page"});
		return;
	}
	if (!token || strcmp(token, UM_STREAM_PROTOCOL)) {
		um_answer_status(rq, &(struct um_status){.code = 426,
							 .reason = "BadRequest",
							 .message = "upgrade to umiak/1 needed"});
		return;
	}
	n = calloc(1, sizeof(*n));
	if (n)
		n->node = strndup(rq->rt.rest, len);
	if (!n || !n->node) {
		free(n);
		um_answer_no_memory(rq);
		return;
	}
	n->api = rq->api;
	old = find_node(rq->api, n->node);
	if (old)
		node_conn_free(old);
	um_metrics_note(rq, 101);
	TAILQ_INSERT_TAIL(&rq->api->nodes, n, all);
	n->c = um_http_upgrade(rq->http, UM_STREAM_PROTOCOL, &control_events, n);
	if (!n->c) { /* it has answered, and on_close has come */
		node_conn_free(n);
		return;
	}
	rq->http = NULL;
	um_conn_set_read_limit(n->c, UM_STREAM_MESSAGE_MAX + 4);
	um_conn_set_output_cap(n->c, CONTROL_PENDING_MAX);
	um_areq_unref(rq);
}

/* ---- streams ---- */

/* The client has been answered, or is gone: what the node still sends is not wanted. */
static void stream_free(void *state)
{
	struct um_log_stream *s = state;
	struct um_areq *source = TAKE_PTR(s->source);
	struct um_node_conn *n = find_node(s->api, s->node);

	TAILQ_REMOVE(&s->api->streams, s, all);
	um_timer_free(s->deadline);
	if (source) {
		source->state = NULL;
		um_answer_text(source, 200, "text/plain", "", 0);
	} else if (n && !s->refused && send_simple(n, "close", s->id) < 0) {
		um_conn_cut(n->c, -ENOMEM, "out of memory");
	}
	free(s->node);
	free(s);
}

static void on_no_answer(void *arg)
{
	struct um_log_stream *s = arg;

	um_answer_status(s->client,
			 &(struct um_status){
				 .code = 504,
				 .reason = "Timeout",
				 .message = um_arena_printf(
					 s->client->arena, "node \"%s\" did not answer", s->node)});
}

static void end_client(struct um_log_stream *s)
{
	struct um_areq *client = s->client;
	struct um_http_req *http = TAKE_PTR(client->http);

	stream_free(TAKE_PTR(client->state));
	um_http_stream_end(http);
	um_areq_unref(client);
}

static void on_client_drained(void *arg, struct um_http_req *http um_unused)
{
	struct um_log_stream *s = arg;

	if (s->source)
		um_http_pause_body(s->source->http, false);
}

static void on_piece(void *arg, struct um_http_req *http, const char *data, size_t len)
{
	struct um_areq *source = arg;
	struct um_log_stream *s = source->state;

	if (!s) /* the client has gone; the answer is on its way */
		return;
	if (!len) {
		end_client(s);
		return;
	}
	if (um_http_stream_copy(s->client->http, data, len) == 0 &&
	    um_http_stream_pending(s->client->http) > PENDING_MAX)
		um_http_pause_body(http, true);
}

/* The node's connection was lost in the middle. */
static void source_lost(void *state)
{
	struct um_log_stream *s = state;

	s->source = NULL;
	um_http_stream_abort(s->client->http);
}

void um_handle_stream(struct um_areq *rq)
{
	struct um_log_stream *s =
		rq->id.node ? find_stream(rq->api, rq->rt.rest, rq->id.node) : NULL;
	struct um_http_req *client;

	if (!s) {
		um_answer_status(rq, &(struct um_status){.code = 404,
							 .reason = "NotFound",
							 .message = "no such stream"});
		return;
	}
	um_timer_stop(s->deadline);
	client = s->client->http;
	s->source = rq;
	rq->state = s;
	rq->state_free = source_lost;
	um_metrics_note(s->client, 200);
	um_http_stream_begin(client, 200, "text/plain");
	um_http_stream_on_drain(client, on_client_drained, s);
	um_http_stream_body(rq->http, on_piece, rq);
}

static unsigned count_streams(const struct um_api *api)
{
	const struct um_log_stream *s;
	unsigned n = 0;

	TAILQ_FOREACH (s, &api->streams, all)
		n++;
	return n;
}

void um_streams_open_log(struct um_areq *rq, const char *node, struct um_json *msg)
{
	struct um_node_conn *n = find_node(rq->api, node);
	struct um_log_stream *s;

	if (!n || count_streams(rq->api) >= STREAMS_MAX) {
		um_answer_status(rq,
				 &(struct um_status){
					 .code = 503,
					 .reason = "ServiceUnavailable",
					 .message = um_arena_printf(
						 rq->arena, "node \"%s\" is not connected", node)});
		return;
	}
	s = calloc(1, sizeof(*s));
	if (s) {
		s->node = strdup(node);
		s->deadline = um_timer_new(rq->api->loop, on_no_answer, s);
	}
	if (!s || !s->node || !s->deadline) {
		if (s) {
			um_timer_free(s->deadline);
			free(s->node);
		}
		free(s);
		um_answer_no_memory(rq);
		return;
	}
	s->api = rq->api;
	s->client = rq;
	um_object_uid(s->id);
	TAILQ_INSERT_TAIL(&rq->api->streams, s, all);
	rq->state = s;
	rq->state_free = stream_free;
	um_timer_start(s->deadline, ANSWER_NS);
	um_json_set_str(rq->arena, msg, "type", "open");
	um_json_set_str(rq->arena, msg, "stream", s->id);
	if (send_message(n, msg) < 0)
		um_answer_status(rq, &(struct um_status){.code = 503,
							 .reason = "ServiceUnavailable",
							 .message = "the node's channel is gone"});
}

void um_node_streams_release(struct um_api *api)
{
	while (!TAILQ_EMPTY(&api->nodes))
		node_conn_free(TAILQ_FIRST(&api->nodes));
}
