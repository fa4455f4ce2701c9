/* The transactions of the store on etcd: what may be sent, and what came of it. */
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "store/backend.h"
#include "tests/lib/store_etcd_priv.h"
#include "wire/loop.h"

/* ---- calls ---- */

int um_etcd_post(struct um_store *s, const char *target, const char *body, size_t len,
		 void (*on_done)(void *, const struct um_http_result *), void *arg,
		 struct um_http_call **ret, struct um_error *err)
{
	_cleanup_bytes_ struct um_bytes *b = um_bytes_new(body, len);
	struct um_http_call_opts o = {
		.method = "POST",
		.target = target,
		.content_type = "application/json",
		.body = b,
		.body_cap = BODY_MAX,
		.timeout_ns = CALL_NS,
		.on_done = on_done,
		.arg = arg,
	};

	if (!b)
		return um_error_set(err, -ENOMEM, "call etcd: out of memory");
	return um_http_call_start(s->http, &o, ret, err);
}

/* The revision of the store in an answer's header; with @ret_doc the whole document. */
int um_etcd_read_answer(const struct um_http_result *res, struct um_arena *a,
			struct um_json **ret_doc, int64_t *ret_rev, struct um_error *err)
{
	struct um_json *doc = NULL;
	int r;

	if (res->err->code)
		return um_error_move(err, res->err);
	r = a ? um_json_parse(a, res->body, res->len, NULL, &doc, err) : -ENOMEM;
	if (r < 0)
		return um_error_wrap(err, r, "read etcd's answer");
	if (res->status != 200) { /* the codes of gRPC */
		int64_t code = um_json_get_i64(doc, "code", 0);
		const char *text = um_json_get_str(doc, "error", "");

		if (code == 3)
			return um_error_set(err, -E2BIG, "etcd: %s", text);
		if (code == 8)
			return um_error_set(err, -ENOSPC, "etcd: %s", text);
		return um_error_set(err, -EIO, "etcd: status %d %s", res->status, text);
	}
	*ret_rev = strtoll(um_json_get_str(doc, "header.revision", "0"), NULL, 10);
	*ret_doc = doc;
	return 0;
}

/* ---- transactions ---- */

static void free_txn(struct txn *t)
{
	for (size_t i = 0; t->compares && i < t->n_compares; i++)
		free((char *)t->compares[i].key);
	for (size_t i = 0; t->ops && i < t->n_ops; i++) {
		free((char *)t->ops[i].key);
		um_bytes_unref(t->ops[i].value);
	}
	free(t->compares);
	free(t->ops);
	free(t);
}

const struct um_store_op *um_etcd_op_on(const struct txn *t, const char *key)
{
	for (size_t i = 0; i < t->n_ops; i++)
		if (!strcmp(t->ops[i].key, key))
			return &t->ops[i];
	return NULL;
}

/* The newest write of @key in flight. */
const struct txn *um_etcd_in_flight(const struct um_store *s, const char *key)
{
	for (const struct txn *t = s->last; t; t = t->prev)
		if (um_etcd_op_on(t, key))
			return t;
	return NULL;
}

/* Must @later wait for @t? When either writes what the other names: calls may overtake. */
static bool in_the_way(const struct txn *t, const struct txn *later)
{
	for (size_t i = 0; i < later->n_ops; i++) {
		if (um_etcd_op_on(t, later->ops[i].key))
			return true;
		for (size_t k = 0; k < t->n_compares; k++)
			if (!strcmp(t->compares[k].key, later->ops[i].key))
				return true;
	}
	for (size_t i = 0; i < later->n_compares; i++)
		if (um_etcd_op_on(t, later->compares[i].key))
			return true;
	return false;
}

static void add64(struct um_json *obj, struct um_arena *a, const char *name, const void *data,
		  size_t len)
{
	um_json_set_str(a, obj, name, um_base64_encode(a, data, len));
}

static struct um_json *txn_document(const struct txn *t, struct um_arena *a)
{
	struct um_json *doc = um_json_new_obj(a), *list = um_json_ensure_arr(a, doc, "compare");

	for (size_t i = 0; i < t->n_compares; i++) {
		struct um_json *c = um_json_append(list, um_json_new_obj(a));
		const char *key = t->compares[i].key;

		add64(c, a, "key", key, strlen(key));
		um_json_set_str(a, c, "target", "MOD");
		um_json_set_str(a, c, "result", "EQUAL");
		um_json_set_i64(a, c, "mod_revision", t->compares[i].mod_rev);
	}
	list = um_json_ensure_arr(a, doc, "success");
	for (size_t i = 0; i < t->n_ops; i++) {
		const struct um_store_op *op = &t->ops[i];
		struct um_json *o = um_json_append(list, um_json_new_obj(a));

		o = um_json_ensure_obj(a, o, op->value ? "request_put" : "request_delete_range");
		add64(o, a, "key", op->key, strlen(op->key));
		if (op->value)
			add64(o, a, "value", op->value->data, op->value->len);
	}
	return doc;
}

static void on_txn_answer(void *arg, const struct um_http_result *res)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(4 * BODY_MAX);
	struct txn *t = arg;
	struct um_json *doc = NULL;
	int r = um_etcd_read_answer(res, a, &doc, &t->rev, &t->err);

	t->call = NULL;
	t->state = ANSWERED;
	if (r < 0 && r != -E2BIG && r != -ENOSPC) /* it may or may not have been written */
		um_etcd_become_fatal(t->s, &t->err);
	else if (r == 0 && !um_json_get_bool(doc, "succeeded", false))
		um_error_set(&t->err, -EAGAIN, "%s: another writer was faster", t->ops[0].key);
	um_etcd_defer_turn(t->s);
}

static int send_txn(struct txn *t)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(8 * (size_t)BODY_MAX);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(4 * BODY_MAX);
	struct um_json *doc = a ? txn_document(t, a) : NULL;

	if (!doc || um_arena_failed(a) || um_json_write(&b, doc) < 0)
		return um_error_set(&t->err, -ENOMEM, "write %s: out of memory", t->ops[0].key);
	t->state = SENT;
	return um_etcd_post(t->s, "/v3/kv/txn", b.data, b.len, on_txn_answer, t, &t->call, &t->err);
}

void um_etcd_send_what_may_go(struct um_store *s)
{
	size_t flying = 0;

	for (struct txn *t = s->first; t; t = t->next) {
		bool wait = false;

		for (const struct txn *p = s->first; p != t && !wait; p = p->next)
			wait = in_the_way(p, t);
		flying += t->state == SENT;
		if (t->state != HELD || wait || flying >= FLIGHT_MAX)
			continue;
		if (send_txn(t) == 0) {
			flying++;
			continue;
		}
		t->state = ANSWERED;
		um_etcd_defer_turn(s);
	}
}

static void unlink_txn(struct um_store *s, struct txn *t)
{
	*(t->prev ? &t->prev->next : &s->first) = t->next;
	*(t->next ? &t->next->prev : &s->last) = t->prev;
}

/* Those that compared what @t was to write get its revision, or fail with it. */
static void tell_dependents(struct um_store *s, const struct txn *t)
{
	for (struct txn *d = s->first; d; d = d->next) {
		for (size_t i = 0; i < d->n_compares; i++) {
			if (d->compares[i].mod_rev != t->token)
				continue;
			d->compares[i].mod_rev = t->rev;
			if (!t->err.code)
				continue;
			d->state = ANSWERED;
			um_error_set(&d->err, -ECANCELED, "%s: the write it rested on failed: %s",
				     d->ops[0].key, t->err.msg);
		}
	}
}

static void finish_one(struct um_store *s, struct txn *t)
{
	bool failed;

	unlink_txn(s, t);
	if (s->fatal.code)
		t->err = s->fatal;
	failed = t->err.code;
	tell_dependents(s, t);
	s->landed[t->token % TOKENS_KEPT].token = t->token;
	s->landed[t->token % TOKENS_KEPT].rev = failed ? -1 : t->rev;
	if (!failed) {
		s->stats.commits++;
		s->stats.ops += (int64_t)t->n_ops;
	}
	if (t->done)
		t->done(t->arg, failed ? 0 : t->rev, failed ? &t->err : NULL);
	free_txn(t);
}

void um_etcd_finish_what_is_done(struct um_store *s)
{
	struct txn *t = s->first;

	while (t) {
		bool over = t->state == ANSWERED && t->rev <= s->durable_rev;

		if (!over && !(s->fatal.code && t->state == HELD) &&
		    !(s->fatal.code && t->state == ANSWERED)) {
			t = t->next;
			continue;
		}
		finish_one(s, t);
		t = s->first; /* callbacks write */
	}
}

static bool refused_at_once(const struct um_store *s, struct um_store_compare *c)
{
	const struct txn *p = um_etcd_in_flight(s, c->key);
	const struct um_index_entry *e = um_index_get(&s->index, c->key);
	int64_t now = p ? (um_etcd_op_on(p, c->key)->value ? p->token : 0) : e ? e->mod_rev : 0;

	if (c->mod_rev >= TOKEN && c->mod_rev != now) { /* it may have landed meanwhile */
		size_t at = (size_t)(c->mod_rev % TOKENS_KEPT);

		if (s->landed[at].token != c->mod_rev || s->landed[at].rev < 0)
			return true;
		c->mod_rev = s->landed[at].rev;
	}
	/* A revision that the mirror has not come to, or that was another's before this one's
	 * write came back, only etcd can judge. */
	return c->mod_rev != now && c->mod_rev <= (p ? p->queued_at : s->durable_rev);
}

static struct txn *new_txn(struct um_store *s, const struct um_store_compare *compares,
			   size_t n_compares, const struct um_store_op *ops, size_t n_ops)
{
	struct txn *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->s = s;
	t->queued_at = s->durable_rev;
	t->n_compares = n_compares;
	t->n_ops = n_ops;
	t->compares = calloc(n_compares + 1, sizeof(*t->compares));
	t->ops = calloc(n_ops, sizeof(*t->ops));
	if (!t->compares || !t->ops)
		goto no_memory;
	for (size_t i = 0; i < n_compares; i++) {
		t->compares[i] =
			(struct um_store_compare){strdup(compares[i].key), compares[i].mod_rev};
		if (!t->compares[i].key)
			goto no_memory;
	}
	for (size_t i = 0; i < n_ops; i++) {
		t->ops[i] = (struct um_store_op){strdup(ops[i].key),
						 ops[i].value ? um_bytes_ref(ops[i].value) : NULL};
		if (!t->ops[i].key)
			goto no_memory;
	}
	return t;
no_memory:
	free_txn(t);
	return NULL;
}

int um_store_txn(struct um_store *s, const struct um_store_compare *compares, size_t n_compares,
		 const struct um_store_op *ops, size_t n_ops, um_store_done_fn done, void *arg,
		 struct um_error *err)
{
	struct txn *t;
	int r = um_store_check_txn(n_compares, ops, n_ops, err);

	if (r < 0)
		return r;
	if (s->fatal.code)
		return um_error_move(err, &s->fatal);
	t = new_txn(s, compares, n_compares, ops, n_ops);
	if (!t)
		return um_error_set(err, -ENOMEM, "write %s: out of memory", ops[0].key);
	for (size_t i = 0; i < n_compares; i++) {
		if (!refused_at_once(s, &t->compares[i]))
			continue;
		free_txn(t);
		return um_error_set(err, -EAGAIN, "%s is not at the revision that was named",
				    compares[i].key);
	}
	t->done = done;
	t->arg = arg;
	t->token = TOKEN + s->next_token++;
	t->prev = s->last;
	*(s->last ? &s->last->next : &s->first) = t;
	s->last = t;
	um_etcd_defer_turn(s);
	return 0;
}
