/* get and list. A list of any length is written in pieces, as fast as its reader takes them. */
#include <string.h>

#include "api/internal.h"
#include "base/num.h"

enum {
	PIECE_BYTES = 64 << 10, /* of output before the loop gets its turn */
	PIECE_OBJECTS = 100,	/* looked at before that */
};

void um_handle_get(struct um_areq *rq)
{
	const struct um_route *rt = &rq->rt;
	struct um_store *store = um_api_store(rq->api, rt->kind);
	struct um_store_kv kv;
	char key[UM_OBJECT_KEY_MAX];
	int64_t wanted = 0;

	if (um_query_i64(rq, "resourceVersion", &wanted) < 0)
		um_answer_bad_request(rq, "resourceVersion: Invalid value: must be a number");
	else if (wanted > um_store_rev(store))
		um_answer_too_new(rq, wanted, um_store_rev(store));
	else if (um_object_key(key, rt->kind, rt->ns, rt->name) < 0 ||
		 um_store_get(store, key, &kv) < 0)
		um_answer_not_found(rq, rt->kind, rt->name);
	else
		um_answer_object(rq, 200, kv.value, kv.mod_rev);
}

/* ---- list ---- */

struct lister {
	struct um_areq *rq;
	struct um_store *store;
	struct um_selector *sel;
	char prefix[UM_OBJECT_KEY_MAX], after[UM_OBJECT_KEY_MAX];
	int64_t limit, emitted, rev, remaining;
	unsigned looked_at;
	bool begun, more, full, failed;
	struct um_buf out;
};

static void lister_free(void *state)
{
	struct lister *l = state;

	um_buf_release(&l->out);
	free(l);
}

static void add_item(struct lister *l, const struct um_store_kv *kv, struct um_json *obj,
		     struct um_arena *a)
{
	struct um_areq *rq = l->rq;

	if (l->emitted)
		um_buf_addc(&l->out, ',');
	if (rq->view == UM_VIEW_PLAIN)
		um_object_show(&l->out, kv->value, kv->mod_rev);
	else if (rq->view == UM_VIEW_TABLE)
		um_json_write(&l->out, um_view_row(rq, obj, a));
	else
		um_json_write(&l->out, um_view_partial(obj, a));
	l->emitted++;
}

static bool on_object(void *arg, const struct um_store_kv *kv)
{
	struct lister *l = arg;
	struct um_arena *a = NULL;
	struct um_json *obj = NULL;

	if (l->full) {
		l->more = true;
		l->remaining++;
		return !l->sel; /* counted only where the count is exact */
	}
	if (l->sel || l->rq->view != UM_VIEW_PLAIN) {
		a = um_arena_new(UM_OBJECT_ARENA_MAX);
		obj = a ? um_object_parse(kv->value, kv->mod_rev, a) : NULL;
		if (!obj) {
			um_arena_free(a);
			l->failed = true;
			return false;
		}
	}
	if (um_selector_match(l->sel, obj))
		add_item(l, kv, obj, a);
	l->failed |= a && um_arena_failed(a);
	um_arena_free(a);
	strcpy(l->after, kv->key); /* keys fit: they were made by um_object_key() */
	l->full = l->limit && l->emitted == l->limit;
	l->looked_at++;
	return !l->failed &&
	       (l->full || (l->out.len < PIECE_BYTES && l->looked_at < PIECE_OBJECTS));
}

static void put_head(struct lister *l)
{
	struct um_areq *rq = l->rq;
	struct um_arena *a = rq->arena;
	struct um_buf *b = &l->out;

	if (rq->view == UM_VIEW_TABLE) {
		um_buf_adds(b, "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\","
			       "\"columnDefinitions\":");
		um_json_write(b, um_schema_table_columns(rq->rt.kind, a));
		um_buf_adds(b, ",\"rows\":[");
	} else if (rq->view == UM_VIEW_PARTIAL) {
		um_buf_adds(b, "{\"kind\":\"PartialObjectMetadataList\","
			       "\"apiVersion\":\"meta.k8s.io/v1\",\"items\":[");
	} else {
		um_buf_addf(b, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"items\":[",
			    rq->rt.kind->list_kind, um_object_api_version(rq->rt.kind, a));
	}
}

/* umc1.<revision>.<the last key behind the prefix, in hex> */
static void put_token(struct lister *l)
{
	um_buf_addf(&l->out, "umc1.%lld.", (long long)l->rev);
	for (const char *s = l->after + strlen(l->prefix); *s; s++)
		um_buf_addf(&l->out, "%02x", (unsigned char)*s);
}

static void put_continue(struct lister *l)
{
	um_buf_adds(&l->out, ",\"continue\":\"");
	put_token(l);
	um_buf_addc(&l->out, '"');
	if (!l->sel)
		um_buf_addf(&l->out, ",\"remainingItemCount\":%lld", (long long)l->remaining);
}

static void put_tail(struct lister *l)
{
	um_buf_addf(&l->out, "],\"metadata\":{\"resourceVersion\":\"%lld\"", (long long)l->rev);
	if (l->more)
		put_continue(l);
	um_buf_adds(&l->out, "}}\n");
}

static void send_piece(struct lister *l);

static void on_drain(void *arg, struct um_http_req *http um_unused)
{
	send_piece(arg);
}

static void on_turn(void *arg)
{
	struct um_areq *rq = arg;

	if (rq->http && rq->state)
		send_piece(rq->state);
	um_areq_unref(rq);
}

static void fail(struct lister *l)
{
	struct um_areq *rq = l->rq;

	if (!l->begun)
		um_answer_no_memory(rq);
	else /* the status is out: a list without its end is an error to every client */
		um_http_stream_abort(rq->http);
}

static void send_piece(struct lister *l)
{
	struct um_areq *rq = l->rq;
	bool done;

	l->looked_at = 0;
	um_store_list(l->store, l->prefix, *l->after ? l->after : NULL, on_object, l);
	done = l->full || (l->looked_at < PIECE_OBJECTS && l->out.len < PIECE_BYTES);
	if (done)
		put_tail(l);
	if (l->failed || um_buf_error(&l->out) < 0) {
		fail(l);
		return;
	}
	if (done && !l->begun) {
		um_answer_text(rq, 200, "application/json", l->out.data, l->out.len);
		return;
	}
	if (!l->begun) {
		l->begun = true;
		um_http_stream_begin(rq->http, 200, "application/json");
		um_http_stream_on_drain(rq->http, on_drain, l);
	}
	um_http_stream_copy(rq->http, l->out.data, l->out.len);
	um_buf_clear(&l->out);
	if (done) {
		struct um_http_req *http = TAKE_PTR(rq->http);

		um_metrics_note(rq, 200);
		um_http_stream_end(http);
		um_areq_unref(rq);
	} else if (!um_http_stream_pending(rq->http)) {
		/* Nothing to drain: selectors passed over all of them. */
		if (um_loop_defer(rq->api->loop, on_turn, um_areq_ref(rq)) < 0) {
			um_areq_unref(rq);
			fail(l);
		}
	}
}

static int unhex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int read_continue(struct lister *l, const char *token)
{
	const char *dot;
	size_t at = strlen(l->prefix);
	uint64_t rev;

	if (strncmp(token, "umc1.", 5) || !(dot = strchr(token + 5, '.')) ||
	    um_num_u64n(token + 5, (size_t)(dot - token - 5), INT64_MAX, &rev) < 0 || !dot[1])
		return -EINVAL;
	l->rev = (int64_t)rev;
	strcpy(l->after, l->prefix);
	for (const char *s = dot + 1; *s; s += 2) {
		int high = unhex(s[0]), low = s[1] ? unhex(s[1]) : -1;

		if (high < 0 || low < 0 || at + 1 >= sizeof(l->after) || !(high | low))
			return -EINVAL;
		l->after[at++] = (char)(high << 4 | low);
		l->after[at] = '\0';
	}
	return 0;
}

/* What of resourceVersion, resourceVersionMatch and continue go together. False: answered. */
static bool check_match(struct um_areq *rq, bool continued)
{
	const char *rv = um_http_query(rq->http, "resourceVersion");
	const char *match = um_http_query(rq->http, "resourceVersionMatch"), *why = NULL;
	bool exact = match && !strcmp(match, "Exact");

	if (continued && rv && *rv && strcmp(rv, "0")) {
		um_answer_bad_request(rq, "specifying resource version is not allowed when using "
					  "continue");
		return false;
	}
	if (!match || !*match)
		return true;
	if (!rv || !*rv)
		why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
	else if (continued)
		why = "resourceVersionMatch is forbidden when continue is provided";
	else if (exact && !strcmp(rv, "0"))
		why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
	if (why) {
		um_answer_bad_list_option(rq, "FieldValueForbidden", "resourceVersionMatch",
					  um_arena_printf(rq->arena, "Forbidden: %s", why));
		return false;
	}
	if (exact || !strcmp(match, "NotOlderThan"))
		return true;
	um_answer_bad_list_option(rq, "FieldValueNotSupported", "resourceVersionMatch",
				  um_arena_printf(rq->arena,
						  "Unsupported value: \"%s\": supported values: "
						  "\"Exact\", \"NotOlderThan\", \"\"",
						  match));
	return false;
}

/* The revision of the list's first part has gone: the rest can be had as it is now. */
static void answer_expired(struct lister *l)
{
	struct um_areq *rq = l->rq;

	l->rev = um_store_rev(l->store);
	put_token(l);
	if (um_buf_error(&l->out) < 0) {
		um_answer_no_memory(rq);
		return;
	}
	um_answer_status(
		rq,
		&(struct um_status){
			.code = 410,
			.reason = "Expired",
			.message = "The provided continue parameter is too old to display a "
				   "consistent list result. You can start a new list without "
				   "the continue parameter, or use the continue token in this "
				   "response to retrieve the remainder of the results. "
				   "Continuing with the provided token results in an "
				   "inconsistent list - objects that were created, modified, or "
				   "deleted between the time the first chunk was returned and "
				   "now may show up in the list.",
			.cont = um_buf_str(&l->out)});
}

/* resourceVersion and resourceVersionMatch. False: answered. */
static bool check_revision(struct lister *l, bool continued)
{
	struct um_areq *rq = l->rq;
	const char *rv = um_http_query(rq->http, "resourceVersion");
	const char *match = um_http_query(rq->http, "resourceVersionMatch");
	int64_t n = 0, now = um_store_rev(l->store);

	if (um_query_i64(rq, "resourceVersion", &n) < 0) {
		um_answer_bad_request(
			rq, "resourceVersion: Invalid value: \"%s\": must be a number", rv);
		return false;
	}
	if (!check_match(rq, continued))
		return false;
	if (continued) {
		if (l->rev >= um_store_compacted_rev(l->store) && l->rev <= now)
			return true;
		answer_expired(l);
		return false;
	}
	l->rev = now;
	if (n > now) {
		um_answer_too_new(rq, n, now);
		return false;
	}
	if (match && !strcmp(match, "Exact") && n != now) {
		um_answer_gone(rq, "The resourceVersion for the provided list is too old.");
		return false;
	}
	return true;
}

void um_handle_list(struct um_areq *rq)
{
	const char *token = um_http_query(rq->http, "continue");
	struct lister *l = calloc(1, sizeof(*l));
	struct um_error err = UM_ERROR_INIT;

	if (!l) {
		um_answer_no_memory(rq);
		return;
	}
	l->rq = rq;
	l->store = um_api_store(rq->api, rq->rt.kind);
	um_buf_init(&l->out, UM_OBJECT_ARENA_MAX);
	rq->state = l;
	rq->state_free = lister_free;
	if (um_object_key(l->prefix, rq->rt.kind, rq->rt.ns, NULL) < 0) {
		um_answer_bad_request(rq, "the namespace is too long");
	} else if (um_query_i64(rq, "limit", &l->limit) < 0) {
		um_answer_bad_request(rq, "limit: must be a number");
	} else if (token && *token && read_continue(l, token) < 0) {
		um_answer_bad_request(rq, "continue key is not valid");
	} else if (um_selector_parse(rq->arena, rq->rt.kind,
				     um_http_query(rq->http, "labelSelector"),
				     um_http_query(rq->http, "fieldSelector"), &l->sel, &err) < 0) {
		um_answer_error(rq, &err);
	} else if (check_revision(l, token && *token)) {
		put_head(l);
		send_piece(l);
	}
}
