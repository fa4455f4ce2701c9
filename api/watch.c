/* watch: events of the store as lines of JSON. An event is parsed and encoded once, however many
 * watchers get it: a frame. */
#include <string.h>

#include "api/internal.h"

enum event_type { EV_ADDED, EV_MODIFIED, EV_DELETED, EV_TYPES };
static const char *const type_names[EV_TYPES] = {"ADDED", "MODIFIED", "DELETED"};

#define BOOKMARK_NS (60 * UM_NSEC_PER_SEC)
#define TIMEOUT_MIN_S 1800 /* where the client names none; twice that at most */
enum { INITIAL_BYTES = 256 << 10, INITIAL_OBJECTS = 100 }; /* before the loop gets its turn */

struct um_frame {
	const struct um_store *store;
	int64_t rev;
	struct um_bytes *value, *prev;
	struct um_arena *arena; /* holds the trees; made when one is needed */
	struct um_json *tree, *prev_tree;
	struct um_bytes *lines[EV_TYPES];
};

struct um_watcher {
	struct um_areq *rq;
	struct um_store *store;
	struct um_store_watch *watch;
	struct um_selector *sel;
	struct um_timer *timeout, *bookmark;
	bool bookmarks, send_initial, columns_sent;
	bool ending;
	/* the objects that exist, sent first */
	bool initial;
	int64_t initial_rev;
	char *prefix; /* owned */
	char *after;  /* owned, UM_OBJECT_KEY_MAX bytes; only while initial */
	unsigned looked_at;
	TAILQ_ENTRY(um_watcher) all;
};

/* ---- frames ---- */

static void frame_free(struct um_frame *f)
{
	if (!f)
		return;
	um_bytes_unref(f->value);
	um_bytes_unref(f->prev);
	um_arena_free(f->arena);
	for (int i = 0; i < EV_TYPES; i++)
		um_bytes_unref(f->lines[i]);
	free(f);
}

void um_frames_release(struct um_api *api)
{
	for (size_t i = 0; i < UM_FRAMES; i++)
		frame_free(TAKE_PTR(api->frames[i]));
}

static struct um_frame *frame_of(struct um_api *api, const struct um_store *s, int64_t rev,
				 struct um_bytes *value, struct um_bytes *prev)
{
	struct um_frame **at, *f;

	/* The newest is the likeliest. */
	for (unsigned i = 0; i < UM_FRAMES; i++) {
		f = api->frames[(api->next_frame + UM_FRAMES - 1 - i) % UM_FRAMES];
		if (!f)
			break;
		if (f->rev == rev && f->store == s && f->value == value)
			return f;
	}
	f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->store = s;
	f->rev = rev;
	f->value = value ? um_bytes_ref(value) : NULL;
	f->prev = prev ? um_bytes_ref(prev) : NULL;
	at = &api->frames[api->next_frame++ % UM_FRAMES];
	frame_free(*at);
	*at = f;
	return f;
}

static struct um_json *tree_of(struct um_frame *f, bool prev)
{
	struct um_json **t = prev ? &f->prev_tree : &f->tree;
	struct um_bytes *b = prev ? f->prev : f->value;

	if (!b || *t)
		return *t;
	if (!f->arena)
		f->arena = um_arena_new(UM_OBJECT_ARENA_MAX);
	if (f->arena)
		*t = um_object_parse(b, f->rev, f->arena);
	return *t;
}

static struct um_bytes *line_of(struct um_frame *f, enum event_type type)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_OBJECT_ARENA_MAX);

	if (f->lines[type])
		return f->lines[type];
	um_buf_addf(&b, "{\"type\":\"%s\",\"object\":", type_names[type]);
	um_object_show(&b, type == EV_DELETED ? f->prev : f->value, f->rev);
	um_buf_adds(&b, "}\n");
	if (um_buf_error(&b) == 0)
		f->lines[type] = um_bytes_new(b.data, b.len);
	return f->lines[type];
}

/* ---- sending ---- */

static void watcher_free(void *state)
{
	struct um_watcher *w = state;

	TAILQ_REMOVE(&w->rq->api->watchers, w, all);
	w->rq->api->n_watchers--;
	um_store_watch_free(w->watch);
	um_timer_free(w->timeout);
	um_timer_free(w->bookmark);
	free(w->prefix);
	free(w->after);
	free(w);
}

/* Ends the stream as a watch ends: cleanly. The watcher is gone afterwards. */
static void end(struct um_watcher *w)
{
	struct um_areq *rq = w->rq;
	struct um_http_req *http = TAKE_PTR(rq->http);

	watcher_free(TAKE_PTR(rq->state));
	um_http_stream_end(http);
	um_areq_unref(rq);
}

static void cut(struct um_watcher *w)
{
	um_http_stream_abort(w->rq->http);
}

static void send_tree(struct um_watcher *w, const char *type, const struct um_json *obj)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_OBJECT_ARENA_MAX);

	um_buf_addf(&b, "{\"type\":\"%s\",\"object\":", type);
	if (obj)
		um_json_write(&b, obj);
	um_buf_adds(&b, "}\n");
	if (!obj || um_buf_error(&b) < 0)
		cut(w);
	else
		um_http_stream_copy(w->rq->http, b.data, b.len);
}

/* Tables and metadata are made for each watcher: few ask for them. */
static void send_view(struct um_watcher *w, enum event_type type, struct um_json *obj)
{
	struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	struct um_json *o = NULL;

	if (!a) {
		cut(w);
		return;
	}
	if (w->rq->view == UM_VIEW_PARTIAL) {
		o = um_view_partial(obj, a);
	} else {
		o = um_view_table(w->rq, a, !w->columns_sent);
		um_json_append(um_json_get(o, "rows"), um_view_row(w->rq, obj, a));
		um_json_set_str(a, um_json_get(o, "metadata"), "resourceVersion",
				um_json_get_str(obj, "metadata.resourceVersion", ""));
		w->columns_sent = true;
	}
	send_tree(w, type_names[type], um_arena_failed(a) ? NULL : o);
	um_arena_free(a);
}

static void send_event(struct um_watcher *w, struct um_frame *f, enum event_type type)
{
	struct um_bytes *line;

	w->rq->api->metrics.watch_events++;
	if (w->rq->view != UM_VIEW_PLAIN) {
		struct um_json *obj = tree_of(f, type == EV_DELETED);

		if (obj)
			send_view(w, type, obj);
		else
			cut(w);
		return;
	}
	line = line_of(f, type);
	if (line)
		um_http_stream_write(w->rq->http, line);
	else
		cut(w); /* a watch with a gap would be a lie */
}

static void on_event(void *arg, const struct um_store_event *ev)
{
	struct um_watcher *w = arg;
	struct um_frame *f;
	bool had = ev->prev_value, has = ev->value;

	if (!w->rq->http)
		return;
	f = frame_of(w->rq->api, w->store, ev->rev, ev->value, ev->prev_value);
	if (f && w->sel) {
		struct um_json *prev = tree_of(f, true), *cur = tree_of(f, false);

		if ((had && !prev) || (has && !cur)) {
			cut(w);
			return;
		}
		had = had && um_selector_match(w->sel, prev);
		has = has && um_selector_match(w->sel, cur);
	}
	if (!f)
		cut(w);
	else if (had && has)
		send_event(w, f, EV_MODIFIED);
	else if (has)
		send_event(w, f, EV_ADDED);
	else if (had)
		send_event(w, f, EV_DELETED);
}

/* ---- bookmarks and the end ---- */

static void send_bookmark(struct um_watcher *w, int64_t rev, bool initial_end)
{
	struct um_arena *a = um_arena_new(1 << 20);
	struct um_json *o = um_json_new_obj(a), *meta;
	const struct um_kind *k = w->rq->rt.kind;
	char text[24];

	if (!a) {
		cut(w);
		return;
	}
	if (w->rq->view == UM_VIEW_TABLE)
		o = um_view_table(w->rq, a, false);
	um_json_set_str(a, o, "kind",
			w->rq->view == UM_VIEW_PARTIAL ? "PartialObjectMetadata"
			: w->rq->view == UM_VIEW_TABLE ? "Table"
						       : k->kind);
	um_json_set_str(a, o, "apiVersion",
			w->rq->view == UM_VIEW_PLAIN ? um_object_api_version(k, a)
						     : "meta.k8s.io/v1");
	meta = um_json_set(a, o, "metadata", um_json_new_obj(a));
	snprintf(text, sizeof(text), "%lld", (long long)rev);
	um_json_set_str(a, meta, "resourceVersion", text);
	if (initial_end)
		um_json_set_str(a, um_json_set(a, meta, "annotations", um_json_new_obj(a)),
				"k8s.io/initial-events-end", "true");
	send_tree(w, "BOOKMARK", um_arena_failed(a) ? NULL : o);
	um_arena_free(a);
}

/* Behind the store's own delivery in this turn: all up to its revision has been sent. */
static void on_quiet(void *arg)
{
	struct um_areq *rq = arg;
	struct um_watcher *w = rq->state;

	if (rq->http && w && !w->initial) {
		if (w->bookmarks)
			send_bookmark(w, um_store_rev(w->store), false);
		if (w->ending)
			end(w);
	}
	um_areq_unref(rq);
}

static void quiet_soon(struct um_watcher *w)
{
	if (um_loop_defer(w->rq->api->loop, on_quiet, um_areq_ref(w->rq)) < 0) {
		um_areq_unref(w->rq);
		cut(w);
	}
}

static void on_bookmark_due(void *arg)
{
	struct um_watcher *w = arg;

	um_timer_start(w->bookmark, BOOKMARK_NS);
	quiet_soon(w);
}

static void on_timeout(void *arg)
{
	struct um_watcher *w = arg;

	if (w->initial) { /* not even that was taken in time */
		end(w);
		return;
	}
	w->ending = true;
	quiet_soon(w);
}

/* ---- starting ---- */

static void send_error(struct um_watcher *w, const struct um_error *err)
{
	struct um_status s = {.code = 410, .reason = "Expired", .message = err->msg};

	if (err->code != -ESTALE) {
		s.code = 500;
		s.reason = "InternalError";
	}
	send_tree(w, "ERROR", um_status_tree(w->rq->arena, &s));
}

static void follow(struct um_watcher *w)
{
	struct um_error err = UM_ERROR_INIT;

	w->initial = false;
	free(TAKE_PTR(w->after));
	if (w->send_initial)
		send_bookmark(w, w->initial_rev, true);
	if (um_store_watch_new(w->store, w->prefix, w->initial_rev, on_event, w, &w->watch, &err) <
	    0) {
		send_error(w, &err);
		end(w);
	}
}

static bool on_existing(void *arg, const struct um_store_kv *kv)
{
	struct um_watcher *w = arg;
	struct um_frame f = {
		.store = w->store, .rev = kv->mod_rev, .value = um_bytes_ref(kv->value)};
	bool wanted = true;

	if (w->sel) {
		struct um_json *t = tree_of(&f, false);

		wanted = t && um_selector_match(w->sel, t);
	}
	if (wanted)
		send_event(w, &f, EV_ADDED);
	um_bytes_unref(f.value);
	um_arena_free(f.arena);
	um_bytes_unref(f.lines[EV_ADDED]);
	strcpy(w->after, kv->key); /* keys fit: they were made by um_object_key() */
	w->looked_at++;
	return w->looked_at < INITIAL_OBJECTS &&
	       um_http_stream_pending(w->rq->http) < INITIAL_BYTES;
}

static void send_existing(struct um_watcher *w);

static void on_turn(void *arg)
{
	struct um_areq *rq = arg;

	if (rq->http && rq->state)
		send_existing(rq->state);
	um_areq_unref(rq);
}

static void on_drain(void *arg, struct um_http_req *http um_unused)
{
	struct um_watcher *w = arg;

	if (w->initial && w->looked_at)
		send_existing(w);
}

static void send_existing(struct um_watcher *w)
{
	w->looked_at = 0;
	um_store_list(w->store, w->prefix, *w->after ? w->after : NULL, on_existing, w);
	if (w->looked_at < INITIAL_OBJECTS && um_http_stream_pending(w->rq->http) < INITIAL_BYTES) {
		follow(w);
	} else if (!um_http_stream_pending(w->rq->http)) {
		if (um_loop_defer(w->rq->api->loop, on_turn, um_areq_ref(w->rq)) < 0) {
			um_areq_unref(w->rq);
			cut(w);
		}
	}
}

static struct um_watcher *watcher_new(struct um_areq *rq)
{
	struct um_watcher *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->rq = rq;
	w->store = um_api_store(rq->api, rq->rt.kind);
	w->timeout = um_timer_new(rq->api->loop, on_timeout, w);
	w->bookmark = um_timer_new(rq->api->loop, on_bookmark_due, w);
	TAILQ_INSERT_TAIL(&rq->api->watchers, w, all);
	rq->api->n_watchers++;
	rq->state = w;
	rq->state_free = watcher_free;
	return w->timeout && w->bookmark ? w : NULL;
}

static void begin(struct um_watcher *w, int64_t timeout_s)
{
	struct um_http_req *http = w->rq->http;

	um_http_set_header(http, "Cache-Control", "no-cache, private");
	um_http_stream_begin(http, 200, "application/json");
	um_http_stream_on_drain(http, on_drain, w);
	um_metrics_note(w->rq, 200);
	if (!timeout_s) {
		char uid[37];

		/* spread, so that clients do not come back all at once */
		um_object_uid(uid);
		timeout_s = TIMEOUT_MIN_S + (uid[0] * 251 + uid[1] * 31 + uid[2]) % TIMEOUT_MIN_S;
	}
	um_timer_start(w->timeout, timeout_s * UM_NSEC_PER_SEC);
	if (w->bookmarks)
		um_timer_start(w->bookmark, BOOKMARK_NS);
}

static bool read_options(struct um_watcher *w, int64_t *rev, bool *has_rev, int64_t *timeout_s)
{
	struct um_areq *rq = w->rq;
	struct um_error err = UM_ERROR_INIT;
	const char *initial = um_http_query(rq->http, "sendInitialEvents");
	const char *match = um_http_query(rq->http, "resourceVersionMatch");

	w->bookmarks = um_query_bool(rq, "allowWatchBookmarks");
	w->send_initial = um_query_bool(rq, "sendInitialEvents");
	if (um_query_i64(rq, "resourceVersion", rev) < 0)
		um_answer_bad_request(rq, "resourceVersion: Invalid value: must be a number");
	else if (um_query_i64(rq, "timeoutSeconds", timeout_s) < 0)
		um_answer_bad_request(rq, "timeoutSeconds: Invalid value: must be a number");
	else if (initial && (!match || strcmp(match, "NotOlderThan")))
		um_answer_bad_list_option(rq, "FieldValueForbidden", "resourceVersionMatch",
					  "Forbidden: sendInitialEvents requires setting "
					  "resourceVersionMatch to NotOlderThan");
	else if (!initial && match && *match)
		um_answer_bad_list_option(rq, "FieldValueForbidden", "resourceVersionMatch",
					  "Forbidden: resourceVersionMatch is forbidden for watch "
					  "unless sendInitialEvents is provided");
	else if (um_selector_parse(rq->arena, rq->rt.kind, um_http_query(rq->http, "labelSelector"),
				   um_http_query(rq->http, "fieldSelector"), &w->sel, &err) < 0)
		um_answer_error(rq, &err);
	else {
		*has_rev = *rev > 0;
		return true;
	}
	return false;
}

void um_handle_watch(struct um_areq *rq)
{
	struct um_watcher *w = watcher_new(rq);
	struct um_error err = UM_ERROR_INIT;
	int64_t rev = 0, timeout_s = 0;
	bool has_rev = false, initial_given = um_http_query(rq->http, "sendInitialEvents");
	char prefix[UM_OBJECT_KEY_MAX];

	if (!w || um_object_key(prefix, rq->rt.kind, rq->rt.ns, NULL) < 0 ||
	    !(w->prefix = strdup(prefix))) {
		um_answer_no_memory(rq);
		return;
	}
	if (!read_options(w, &rev, &has_rev, &timeout_s))
		return;
	if (has_rev && !w->send_initial) {
		if (um_store_watch_new(w->store, w->prefix, rev, on_event, w, &w->watch, &err) <
		    0) {
			if (err.code == -ESTALE)
				um_answer_gone(rq, err.msg);
			else
				um_answer_error(rq, &err);
			return;
		}
		begin(w, timeout_s);
		return;
	}
	w->initial_rev = um_store_rev(w->store);
	begin(w, timeout_s);
	if (initial_given && !w->send_initial) {
		follow(w);
		return;
	}
	w->after = calloc(1, UM_OBJECT_KEY_MAX);
	if (!w->after) {
		cut(w);
		return;
	}
	w->initial = true;
	send_existing(w);
}
