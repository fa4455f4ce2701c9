/* The store on etcd, as a test of the interface: does store/store.h port to a store with several
 * writers? Speaks the JSON gateway of etcd 3.4 over plain HTTP.
 *
 * One watch of all keys feeds a mirror: the durable head. A write is done once the mirror has come
 * to its revision. A write in flight has no revision yet, so its value carries a token (TOKEN + a
 * sequence number); a transaction that compares a token, or shares a key with one in flight, is
 * held back until that one has come back, and then names the true revision.
 *
 * What a product would need on top: a watch that reconnects, a read after a lost answer, an index
 * of the writes in flight instead of a list. Here a lost connection is fatal. */
#include "tests/lib/store_etcd.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/json.h"
#include "tests/lib/store_etcd_priv.h"
#include "wire/loop.h"

struct um_store_watch {
	struct um_store *s;
	char *prefix;
	int64_t after_rev;
	uint64_t seq;
	um_store_watch_fn fn;
	void *arg;
	bool dead;
	struct um_store_watch *next;
};

struct barrier {
	struct um_store *s;
	void (*done)(void *arg);
	void *arg;
	int64_t rev; /* 0: not answered yet */
	struct um_http_call *call;
	struct barrier *next;
};

void um_etcd_become_fatal(struct um_store *s, const struct um_error *err)
{
	if (!s->fatal.code)
		s->fatal = *err;
	um_etcd_defer_turn(s);
}

/* ---- the mirror ---- */

static int take_kv(struct um_store *s, struct um_arena *a, const struct um_json *kv, bool deleted,
		   bool replay)
{
	const char *key64 = um_json_get_str(kv, "key", ""), *v64 = um_json_get_str(kv, "value", "");
	const char *mod = um_json_get_str(kv, "mod_revision", "0");
	const char *create = um_json_get_str(kv, "create_revision", "0");
	size_t key_len = 0, len = 0;
	char *key = um_base64_decode(a, key64, strlen(key64), &key_len);
	char *data = um_base64_decode(a, v64, strlen(v64), &len);
	_cleanup_bytes_ struct um_bytes *value = deleted || !data ? NULL : um_bytes_new(data, len);
	struct um_store_event ev = {.key = key, .value = value};
	struct um_index_entry *old;
	int r = 0;

	if (!key || strlen(key) != key_len || (!deleted && !value))
		return -EBADMSG;
	old = um_index_get(&s->index, key);
	ev.rev = strtoll(mod, NULL, 10);
	ev.create_rev = deleted && old ? old->create_rev : strtoll(create, NULL, 10);
	ev.prev_value = old ? old->value : NULL;
	ev.prev_rev = old ? old->mod_rev : 0;
	if (ev.rev <= 0)
		return -EBADMSG;
	if (!replay)
		r = um_history_add(&s->history, &ev);
	if (r == 0 && value) {
		if (old && old->create_rev != ev.create_rev)
			um_index_delete(&s->index, key);
		r = um_index_put(&s->index, key, value, ev.create_rev, ev.rev);
	} else if (r == 0) {
		um_index_delete(&s->index, key);
	}
	if (!replay && ev.rev > s->durable_rev)
		s->durable_rev = ev.rev;
	return r;
}

static int take_events(struct um_store *s, const char *line, size_t len)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(4 * BODY_MAX);
	struct um_json *doc = NULL, *res;
	int r = a ? um_json_parse(a, line, len, NULL, &doc, NULL) : -ENOMEM;

	if (r < 0)
		return r;
	res = um_json_get(doc, "result");
	if (!res || um_json_get_bool(res, "canceled", false))
		return -EIO;
	if (um_json_get_bool(res, "created", false))
		s->ready = true;
	um_json_foreach (ev, um_json_get(res, "events")) {
		r = take_kv(s, a, um_json_get(ev, "kv"),
			    !strcmp(um_json_get_str(ev, "type", "PUT"), "DELETE"), false);
		if (r < 0)
			return r;
	}
	return 0;
}

static void on_feed_line(void *arg, const char *line, size_t len)
{
	struct um_store *s = arg;
	struct um_error err = UM_ERROR_INIT;
	int r = take_events(s, line, len);

	if (r < 0) {
		um_error_errno(&err, r, "the watch of etcd");
		um_etcd_become_fatal(s, &err);
	}
	um_etcd_defer_turn(s);
}

static void on_feed_done(void *arg, const struct um_http_result *res)
{
	struct um_store *s = arg;
	struct um_error err = UM_ERROR_INIT;

	s->feed = NULL;
	um_error_set(&err, -EIO, "the watch of etcd ended: status %d %s", res->status,
		     res->err->code ? res->err->msg : "");
	um_etcd_become_fatal(s, &err);
}

/* ---- barriers: a linearizable read, and the mirror's way to its revision ---- */

static void on_barrier_answer(void *arg, const struct um_http_result *res)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(BODY_MAX);
	struct barrier *b = arg;
	struct um_error err = UM_ERROR_INIT;
	struct um_json *doc;

	b->call = NULL;
	if (um_etcd_read_answer(res, a, &doc, &b->rev, &err) < 0)
		um_etcd_become_fatal(b->s, &err);
	um_etcd_defer_turn(b->s);
}

int um_store_barrier(struct um_store *s, void (*done)(void *arg), void *arg)
{
	static const char body[] = "{\"key\":\"AA==\",\"range_end\":\"AA==\",\"count_only\":true}";
	struct barrier *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	*b = (struct barrier){.s = s, .done = done, .arg = arg};
	r = um_etcd_post(s, "/v3/kv/range", body, sizeof(body) - 1, on_barrier_answer, b, &b->call,
			 NULL);
	if (r < 0) {
		free(b);
		return r;
	}
	b->next = s->barriers;
	s->barriers = b;
	return 0;
}

static void lift_barriers(struct um_store *s)
{
	struct barrier **at = &s->barriers, *b;

	while ((b = *at)) {
		if (b->rev == 0 || b->rev > s->durable_rev) {
			at = &b->next;
			continue;
		}
		*at = b->next;
		b->done(b->arg);
		free(b);
		at = &s->barriers;
	}
}

/* ---- reading ---- */

int um_store_get(const struct um_store *s, const char *key, struct um_store_kv *ret)
{
	const struct um_index_entry *e = um_index_get(&s->index, key);

	if (!e)
		return -ENOENT;
	*ret = (struct um_store_kv){e->key, e->value, e->create_rev, e->mod_rev};
	return 0;
}

int um_store_get_tentative(const struct um_store *s, const char *key, struct um_store_kv *ret)
{
	const struct txn *t = um_etcd_in_flight(s, key);
	const struct um_store_op *op = t ? um_etcd_op_on(t, key) : NULL;
	const struct um_index_entry *e;

	if (!op)
		return um_store_get(s, key, ret);
	if (!op->value)
		return -ENOENT;
	e = um_index_get(&s->index, key);
	*ret = (struct um_store_kv){op->key, op->value, e ? e->create_rev : t->token, t->token};
	return 0;
}

void um_store_list(const struct um_store *s, const char *prefix, const char *after,
		   um_store_list_fn fn, void *arg)
{
	bool resume = after && strcmp(after, prefix) > 0;
	struct um_index_pos pos = um_index_seek(&s->index, resume ? after : prefix, resume);
	const struct um_index_entry *e;

	while ((e = um_index_next(&s->index, &pos)) && !strncmp(e->key, prefix, strlen(prefix))) {
		struct um_store_kv kv = {e->key, e->value, e->create_rev, e->mod_rev};

		if (!fn(arg, &kv))
			return;
	}
}

static bool count_one(void *arg, um_unused const struct um_store_kv *kv)
{
	++*(size_t *)arg;
	return true;
}

size_t um_store_count(const struct um_store *s, const char *prefix)
{
	size_t n = 0;

	um_store_list(s, prefix, NULL, count_one, &n);
	return n;
}

int64_t um_store_rev(const struct um_store *s)
{
	return s->durable_rev;
}

int64_t um_store_compacted_rev(const struct um_store *s)
{
	return s->history.trimmed_rev > s->opened_rev ? s->history.trimmed_rev : s->opened_rev;
}

void um_store_get_stats(const struct um_store *s, struct um_store_stats *ret)
{
	*ret = s->stats;
	ret->keys = (int64_t)s->index.count;
	ret->value_bytes = (int64_t)s->index.value_bytes;
}

/* ---- watching ---- */

static void sweep_watches(struct um_store *s)
{
	struct um_store_watch **at = &s->watches, *w;

	while ((w = *at)) {
		if (!w->dead) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		s->stats.watches--;
		free(w->prefix);
		free(w);
	}
}

static void pump(struct um_store *s)
{
	uint64_t end = um_history_end(&s->history);

	s->pumping = true;
	for (struct um_store_watch *w = s->watches; w; w = w->next) {
		while (!w->dead && w->seq < end) {
			const struct um_store_event *ev = um_history_at(&s->history, w->seq++);

			if (ev->rev > w->after_rev &&
			    !strncmp(ev->key, w->prefix, strlen(w->prefix)))
				w->fn(w->arg, ev);
		}
	}
	s->pumping = false;
	sweep_watches(s);
	um_history_trim(&s->history);
}

int um_store_watch_new(struct um_store *s, const char *prefix, int64_t after_rev,
		       um_store_watch_fn fn, void *arg, struct um_store_watch **ret,
		       struct um_error *err)
{
	struct um_store_watch *w;

	if (after_rev < um_store_compacted_rev(s))
		return um_error_set_reason(err, UM_REASON_GONE, -ESTALE, "revision %lld is gone",
					   (long long)after_rev);
	w = calloc(1, sizeof(*w));
	if (!w || !(w->prefix = strdup(prefix))) {
		free(w);
		return um_error_set(err, -ENOMEM, "watch %s: out of memory", prefix);
	}
	w->s = s;
	w->after_rev = after_rev;
	w->seq = um_history_seek(&s->history, after_rev);
	w->fn = fn;
	w->arg = arg;
	w->next = s->watches;
	s->watches = w;
	s->stats.watches++;
	um_etcd_defer_turn(s);
	*ret = w;
	return 0;
}

void um_store_watch_free(struct um_store_watch *w)
{
	if (!w)
		return;
	w->dead = true;
	if (!w->s->pumping)
		sweep_watches(w->s);
}

/* ---- life ---- */

static void on_turn(void *arg)
{
	struct um_store *s = arg;

	s->turn_deferred = false;
	um_etcd_finish_what_is_done(s);
	lift_barriers(s);
	pump(s);
	if (!s->fatal.code)
		um_etcd_send_what_may_go(s);
}

void um_etcd_defer_turn(struct um_store *s)
{
	if (!s->turn_deferred && um_loop_defer(s->loop, on_turn, s) == 0)
		s->turn_deferred = true;
}

static void on_loaded(void *arg, const struct um_http_result *res)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(4 * BODY_MAX);
	struct um_store *s = arg;
	struct um_json *doc = NULL;
	int r = um_etcd_read_answer(res, a, &doc, &s->opened_rev, &s->fatal);

	s->feed = NULL;
	if (r < 0)
		return;
	s->durable_rev = s->opened_rev;
	um_json_foreach (kv, um_json_get(doc, "kvs"))
		if (r == 0)
			r = take_kv(s, a, kv, false, true);
	if (r < 0)
		um_error_errno(&s->fatal, r, "load from etcd");
	s->ready = true;
}

static int wait_ready(struct um_store *s)
{
	while (!s->ready && !s->fatal.code)
		if (um_loop_step(s->loop, INT64_MAX) < 0)
			um_error_set(&s->fatal, -EIO, "the loop failed");
	s->ready = false;
	return s->fatal.code;
}

static int load_and_follow(struct um_store *s)
{
	static const char all[] = "{\"key\":\"AA==\",\"range_end\":\"AA==\"}";
	struct um_http_call_opts o = {
		.method = "POST",
		.target = "/v3/watch",
		.content_type = "application/json",
		.close = true,
		.line_max = BODY_MAX,
		.on_line = on_feed_line,
		.on_done = on_feed_done,
		.arg = s,
	};
	_cleanup_bytes_ struct um_bytes *body = NULL;
	char text[128];
	int r = um_etcd_post(s, "/v3/kv/range", all, sizeof(all) - 1, on_loaded, s, &s->feed,
			     &s->fatal);

	if (r < 0 || (r = wait_ready(s)) < 0)
		return r;
	snprintf(text, sizeof(text),
		 "{\"create_request\":{\"key\":\"AA==\",\"range_end\":\"AA==\","
		 "\"start_revision\":%lld}}",
		 (long long)s->opened_rev + 1);
	o.body = body = um_bytes_new(text, strlen(text));
	r = body ? um_http_call_start(s->http, &o, &s->feed, &s->fatal) : -ENOMEM;
	return r < 0 ? r : wait_ready(s);
}

int um_store_open_etcd(struct um_loop *l, int port, struct um_store **ret, struct um_error *err)
{
	struct um_http_client_opts ho = {.host = "127.0.0.1", .port = port, .max_idle = FLIGHT_MAX};
	struct um_store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return um_error_set(err, -ENOMEM, "open etcd: out of memory");
	s->loop = l;
	um_index_init(&s->index);
	um_history_init(&s->history, 4096, 1 << 20);
	r = um_http_client_new(l, &ho, &s->http, &s->fatal);
	if (r == 0)
		r = load_and_follow(s);
	if (r == 0) {
		*ret = s;
		return 0;
	}
	um_error_move(err, &s->fatal);
	um_store_close(s);
	return r;
}

int um_store_next_epoch(um_unused struct um_store *s, um_unused int64_t *ret, struct um_error *err)
{
	return um_error_set(err, -EOPNOTSUPP, "this store keeps no boot epoch");
}

void um_store_close(struct um_store *s)
{
	if (!s)
		return;
	while (s->first || s->turn_deferred)
		if (um_loop_step(s->loop, INT64_MAX) < 0)
			break;
	um_http_call_cancel(s->feed);
	for (struct barrier *b = s->barriers, *next; b; b = next) {
		next = b->next;
		um_http_call_cancel(b->call);
		free(b);
	}
	um_http_client_free(s->http);
	for (struct um_store_watch *w = s->watches; w; w = w->next)
		w->dead = true;
	sweep_watches(s);
	um_history_release(&s->history);
	um_index_release(&s->index);
	free(s);
}
