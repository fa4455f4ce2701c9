/* The store's core: the tentative and the durable head, batches, watches. No I/O of its own. */
#include <string.h>

#include "base/fault.h"
#include "base/hash.h"
#include "store/backend.h"
#include "store/history.h"
#include "store/index.h"
#include "wire/loop.h"

#define RETRY_FULL_NS (2 * UM_NSEC_PER_SEC)

/* A key as the writes in flight will leave it. */
struct pending {
	char *key; /* owned */
	struct um_bytes *value;
	int64_t rev, create_rev;
	UT_hash_handle hh;
};

struct um_store_watch {
	struct um_store *store;
	char *prefix;
	size_t prefix_len;
	int64_t after_rev;
	uint64_t seq; /* the next event in the history */
	um_store_watch_fn fn;
	void *arg;
	bool dead;
	struct um_store_watch *next;
};

struct um_store {
	struct um_loop *loop;
	struct um_store_config cfg;
	struct um_index index;
	struct um_history history;
	struct pending *pending;
	struct um_store_batch *filling, *inflight;
	int64_t next_rev, durable_rev, compacted_rev;
	struct um_store_watch *watches;
	size_t n_watches;
	struct um_timer *retry_full;
	struct um_error fatal; /* set once nothing more can be trusted */
	bool flush_deferred, pump_deferred, pumping, full, has_room, closing;
	bool checking; /* a worker looks for room: nothing is committed meanwhile */
	struct um_store_stats stats;
};

static void start_batch(struct um_store *s);
static void defer_pump(struct um_store *s);
static void trim_volatile(struct um_store *s);

/* ---- batches ---- */

static void free_write(struct um_store_write *w)
{
	for (size_t i = 0; i < w->n; i++) {
		free(w->puts[i].key);
		um_bytes_unref(w->puts[i].value);
	}
	free(w);
}

static void free_batch(struct um_store_batch *b)
{
	if (!b)
		return;
	um_vec_foreach (w, &b->writes)
		free_write(*w);
	um_vec_release(&b->writes);
	free(b);
}

static struct pending *find_pending(const struct um_store *s, const char *key)
{
	struct pending *p;

	HASH_FIND_STR(s->pending, key, p);
	return p;
}

static void drop_pending(struct um_store *s, struct pending *p)
{
	HASH_DEL(s->pending, p);
	um_bytes_unref(p->value);
	free(p->key);
	free(p);
}

static int set_pending(struct um_store *s, const struct um_store_put *put)
{
	struct pending *p = find_pending(s, put->key);

	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p || !(p->key = strdup(put->key))) {
			free(p);
			return -ENOMEM;
		}
		HASH_ADD_KEYPTR(hh, s->pending, p->key, strlen(p->key), p);
		if (!p->hh.tbl) {
			free(p->key);
			free(p);
			return -ENOMEM;
		}
	}
	um_bytes_unref(p->value);
	p->value = put->value ? um_bytes_ref(put->value) : NULL;
	p->rev = put->rev;
	p->create_rev = put->create_rev;
	return 0;
}

static void forget_all_pending(struct um_store *s)
{
	struct pending *p, *tmp;

	HASH_ITER (hh, s->pending, p, tmp)
		drop_pending(s, p);
}

/* Makes one durable operation visible. */
static int apply_put(struct um_store *s, const struct um_store_put *put)
{
	struct um_index_entry *old = um_index_get(&s->index, put->key);
	struct um_store_event ev = {
		.rev = put->rev,
		.key = put->key,
		.value = put->value,
		.prev_value = old ? old->value : NULL,
		.prev_rev = old ? old->mod_rev : 0,
		.create_rev = put->create_rev,
	};
	int r = 0;

	if (put->value || old)
		r = um_history_add(&s->history, &ev);
	if (r == 0 && put->value)
		r = um_index_put(&s->index, put->key, put->value, put->create_rev, put->rev);
	else if (r == 0)
		um_index_delete(&s->index, put->key);
	s->durable_rev = put->rev;
	return r;
}

static void fail_batch(struct um_store_batch *b, const struct um_error *err)
{
	if (!b)
		return;
	um_vec_foreach (w, &b->writes)
		if ((*w)->done)
			(*w)->done((*w)->arg, 0, err);
}

static void become_fatal(struct um_store *s, const struct um_error *err)
{
	struct um_store_batch *a = TAKE_PTR(s->inflight), *b = TAKE_PTR(s->filling);

	if (!s->fatal.code)
		s->fatal = *err;
	forget_all_pending(s);
	fail_batch(a, &s->fatal);
	fail_batch(b, &s->fatal);
	free_batch(a);
	free_batch(b);
}

static bool only_durable_deletes(const struct um_store *s, const struct um_store_write *w)
{
	for (size_t i = 0; i < w->n; i++) {
		const struct um_index_entry *e = um_index_get(&s->index, w->puts[i].key);

		if (w->puts[i].value || (e ? e->mod_rev : 0) != w->puts[i].prev_rev)
			return false;
	}
	return true;
}

/* Keeps the deletes of a batch that did not fit on the disk and fails the rest. */
static void keep_deletes(struct um_store *s, struct um_store_batch *from,
			 struct um_store_batch *keep, struct um_store_batch *drop)
{
	if (!from)
		return;
	um_vec_foreach (w, &from->writes) {
		if (only_durable_deletes(s, *w) && um_vec_push(&keep->writes, *w) == 0)
			continue;
		if (um_vec_push(&drop->writes, *w) < 0) {
			if ((*w)->done)
				(*w)->done((*w)->arg, 0, &from->err);
			free_write(*w);
		}
	}
	um_vec_release(&from->writes);
}

static void become_full(struct um_store *s)
{
	struct um_store_batch *a = TAKE_PTR(s->inflight), *b = TAKE_PTR(s->filling);
	struct um_store_batch *keep = calloc(1, sizeof(*keep)), *drop = calloc(1, sizeof(*drop));
	struct um_error err = a->err;

	forget_all_pending(s);
	if (!keep || !drop) {
		fail_batch(a, &err);
		fail_batch(b, &err);
		free(keep);
		free(drop);
	} else if (s->full) { /* not even the deletes fit */
		fail_batch(a, &err);
		fail_batch(b, &err);
		free(keep);
		free(drop);
	} else {
		if (b)
			b->err = err;
		keep_deletes(s, a, keep, drop);
		keep_deletes(s, b, keep, drop);
		if (keep->writes.len) {
			um_vec_foreach (w, &keep->writes)
				for (size_t i = 0; i < (*w)->n; i++)
					(void)!set_pending(s, &(*w)->puts[i]);
			s->filling = keep;
		} else {
			free(keep);
		}
		s->full = true; /* before the callbacks: they may write again */
		fail_batch(drop, &err);
		free_batch(drop);
	}
	s->full = true;
	um_timer_start(s->retry_full, RETRY_FULL_NS);
	free_batch(a);
	free_batch(b);
}

static void on_room_checked(void *arg)
{
	struct um_store *s = arg;

	s->checking = false;
	if (s->has_room)
		s->full = false;
	else
		um_timer_start(s->retry_full, RETRY_FULL_NS);
	if (s->filling && !s->inflight && !s->flush_deferred)
		start_batch(s);
}

static void check_room(void *arg)
{
	struct um_store *s = arg;

	s->has_room = s->cfg.backend->has_room && s->cfg.backend->has_room(s->cfg.be);
}

static void on_retry_full(void *arg)
{
	struct um_store *s = arg;

	/* A commit may run: the backend is used by one worker at a time. */
	if (s->inflight || um_work_submit(s->loop, check_room, on_room_checked, s) < 0)
		um_timer_start(s->retry_full, RETRY_FULL_NS);
	else
		s->checking = true;
}

static void apply_batch(struct um_store *s, struct um_store_batch *b)
{
	int r = 0;

	um_vec_foreach (w, &b->writes) {
		for (size_t i = 0; i < (*w)->n && r == 0; i++) {
			struct um_store_put *put = &(*w)->puts[i];
			struct pending *p = find_pending(s, put->key);

			r = apply_put(s, put);
			if (p && p->rev == put->rev)
				drop_pending(s, p);
		}
	}
	if (r < 0) { /* durable, but it cannot be shown: only a reload can */
		um_error_errno(&b->err, r, "show what was written");
		s->inflight = b;
		become_fatal(s, &b->err);
		return;
	}
	s->stats.commits++;
	um_vec_foreach (w, &b->writes) {
		s->stats.ops += (int64_t)(*w)->n;
		if ((*w)->done)
			(*w)->done((*w)->arg, (*w)->puts[(*w)->n - 1].rev, NULL);
	}
	free_batch(b);
}

static void on_committed(void *arg)
{
	struct um_store *s = arg;
	struct um_store_batch *b = s->inflight;

	if (b->result == 0) {
		UM_FAULT("store.committed");
		s->inflight = NULL;
		apply_batch(s, b);
		trim_volatile(s);
		defer_pump(s);
		if (s->cfg.backend->after && !s->closing)
			s->cfg.backend->after(s->cfg.be, s->durable_rev);
	} else if (b->result == -ENOSPC) {
		become_full(s);
	} else {
		struct um_error err = b->err;

		become_fatal(s, &err);
	}
	if (s->filling && !s->inflight && !s->flush_deferred)
		start_batch(s); /* what came in while the disk was busy */
}

static void commit_on_worker(void *arg)
{
	struct um_store *s = arg;

	s->cfg.backend->commit(s->cfg.be, s->inflight);
}

static void start_batch(struct um_store *s)
{
	s->inflight = TAKE_PTR(s->filling);
	if (s->cfg.backend->blocking && !s->closing &&
	    um_work_submit(s->loop, commit_on_worker, on_committed, s) == 0)
		return;
	commit_on_worker(s); /* memory only, or no worker to be had */
	on_committed(s);
}

static void on_flush(void *arg)
{
	struct um_store *s = arg;

	s->flush_deferred = false;
	if (s->filling && !s->inflight && !s->checking)
		start_batch(s);
}

/* ---- writing ---- */

/* The revision and creation of a key at the tentative head. */
static void tentative(const struct um_store *s, const char *key, int64_t *mod, int64_t *create)
{
	const struct pending *p = find_pending(s, key);
	const struct um_index_entry *e;

	*mod = *create = 0;
	if (p) {
		if (p->value) {
			*mod = p->rev;
			*create = p->create_rev;
		}
		return;
	}
	e = um_index_get(&s->index, key);
	if (e) {
		*mod = e->mod_rev;
		*create = e->create_rev;
	}
}

static int check_room_for(const struct um_store *s, const struct um_store_op *ops, size_t n,
			  struct um_error *err)
{
	for (size_t i = 0; i < n; i++)
		if (ops[i].value && s->full)
			return um_error_set_reason(err, UM_REASON_NO_SPACE, -ENOSPC,
						   "the store's disk is full: only deletes pass "
						   "until there is room");
	return 0;
}

static struct um_store_write *new_write(struct um_store *s, const struct um_store_op *ops, size_t n,
					um_store_done_fn done, void *arg)
{
	struct um_store_write *w = calloc(1, sizeof(*w) + n * sizeof(w->puts[0]));
	int64_t rev = s->next_rev;

	if (!w)
		return NULL;
	w->done = done;
	w->arg = arg;
	for (w->n = 0; w->n < n; w->n++) {
		struct um_store_put *put = &w->puts[w->n];
		int64_t mod, create;

		put->key = strdup(ops[w->n].key);
		if (!put->key) {
			free_write(w);
			return NULL;
		}
		tentative(s, put->key, &mod, &create);
		put->value = ops[w->n].value ? um_bytes_ref(ops[w->n].value) : NULL;
		put->rev = rev++;
		put->prev_rev = mod;
		put->create_rev = mod ? create : put->rev;
	}
	return w;
}

static int queue_write(struct um_store *s, struct um_store_write *w)
{
	if (!s->filling && !(s->filling = calloc(1, sizeof(*s->filling))))
		return -ENOMEM;
	if (!s->flush_deferred && !s->inflight) {
		if (um_loop_defer(s->loop, on_flush, s) < 0)
			return -ENOMEM;
		s->flush_deferred = true;
	}
	for (size_t i = 0; i < w->n; i++) {
		if (set_pending(s, &w->puts[i]) == 0)
			continue;
		/* Out of memory half way: put back what the write hid. Its keys had either the
		 * value of an earlier write in flight, which cannot be had back, or none. */
		return -ENOMEM;
	}
	return um_vec_push(&s->filling->writes, w);
}

int um_store_txn(struct um_store *s, const struct um_store_compare *compares, size_t n_compares,
		 const struct um_store_op *ops, size_t n_ops, um_store_done_fn done, void *arg,
		 struct um_error *err)
{
	struct um_store_write *w;
	int r;

	if (s->fatal.code)
		return um_error_move(err, &s->fatal), s->fatal.code;
	r = um_store_check_txn(n_compares, ops, n_ops, err);
	if (r == 0)
		r = check_room_for(s, ops, n_ops, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n_compares; i++) {
		int64_t mod, create;

		tentative(s, compares[i].key, &mod, &create);
		if (mod != compares[i].mod_rev)
			return um_error_set(err, -EAGAIN, "%s is at revision %lld, not %lld",
					    compares[i].key, (long long)mod,
					    (long long)compares[i].mod_rev);
	}
	w = new_write(s, ops, n_ops, done, arg);
	if (!w)
		return um_error_set(err, -ENOMEM, "write %s: out of memory", ops[0].key);
	r = queue_write(s, w);
	if (r < 0) {
		struct um_error fatal = UM_ERROR_INIT;

		free_write(w);
		um_error_set(&fatal, -ENOMEM, "the store ran out of memory in a write");
		become_fatal(s, &fatal);
		return um_error_move(err, &fatal), -ENOMEM;
	}
	s->next_rev += (int64_t)n_ops;
	return 0;
}

int um_store_barrier(struct um_store *s, void (*done)(void *arg), void *arg)
{
	return um_loop_defer(s->loop, done, arg);
}

int um_store_next_epoch(struct um_store *s, int64_t *ret, struct um_error *err)
{
	if (!s->cfg.backend->next_epoch)
		return um_error_set(err, -EOPNOTSUPP, "this store keeps no boot epoch");
	return s->cfg.backend->next_epoch(s->cfg.be, ret, err);
}

/* ---- reading ---- */

static void fill_kv(const struct um_index_entry *e, struct um_store_kv *ret)
{
	*ret = (struct um_store_kv){e->key, e->value, e->create_rev, e->mod_rev};
}

int um_store_get(const struct um_store *s, const char *key, struct um_store_kv *ret)
{
	const struct um_index_entry *e = um_index_get(&s->index, key);

	if (!e)
		return -ENOENT;
	fill_kv(e, ret);
	return 0;
}

int um_store_get_tentative(const struct um_store *s, const char *key, struct um_store_kv *ret)
{
	const struct pending *p = find_pending(s, key);

	if (!p)
		return um_store_get(s, key, ret);
	if (!p->value)
		return -ENOENT;
	*ret = (struct um_store_kv){p->key, p->value, p->create_rev, p->rev};
	return 0;
}

static bool has_prefix(const char *key, const char *prefix, size_t len)
{
	return !strncmp(key, prefix, len);
}

void um_store_list(const struct um_store *s, const char *prefix, const char *after,
		   um_store_list_fn fn, void *arg)
{
	size_t len = strlen(prefix);
	bool resume = after && strcmp(after, prefix) > 0;
	struct um_index_pos pos = um_index_seek(&s->index, resume ? after : prefix, resume);
	const struct um_index_entry *e;

	while ((e = um_index_next(&s->index, &pos)) && has_prefix(e->key, prefix, len)) {
		struct um_store_kv kv;

		fill_kv(e, &kv);
		if (!fn(arg, &kv))
			return;
	}
}

size_t um_store_count(const struct um_store *s, const char *prefix)
{
	size_t len = strlen(prefix), n = 0;
	struct um_index_pos pos = um_index_seek(&s->index, prefix, false);
	const struct um_index_entry *e;

	while ((e = um_index_next(&s->index, &pos)) && has_prefix(e->key, prefix, len))
		n++;
	return n;
}

int64_t um_store_rev(const struct um_store *s)
{
	return s->durable_rev;
}

int64_t um_store_compacted_rev(const struct um_store *s)
{
	return s->history.trimmed_rev > s->compacted_rev ? s->history.trimmed_rev
							 : s->compacted_rev;
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
		s->n_watches--;
		free(w->prefix);
		free(w);
	}
}

static void trim_volatile(struct um_store *s)
{
	/* Writes in flight have smaller revisions than these deletes would get: what is visible
	 * never goes back. Their commit looks again. */
	if (s->filling || s->inflight)
		return;
	while (s->cfg.max_value_bytes && s->index.value_bytes > s->cfg.max_value_bytes &&
	       s->index.oldest) {
		char *key = strdup(s->index.oldest->key);
		struct um_store_put put = {.key = key, .rev = s->next_rev};

		/* A key that a write in flight will change has just become young. */
		if (!key || find_pending(s, key)) {
			free(key);
			return;
		}
		put.create_rev = s->index.oldest->create_rev;
		if (apply_put(s, &put) < 0) {
			free(key);
			return;
		}
		s->next_rev++;
		free(key);
	}
}

static void on_pump(void *arg)
{
	struct um_store *s = arg;
	uint64_t end;

	s->pump_deferred = false;
	s->pumping = true;
	end = um_history_end(&s->history);
	for (struct um_store_watch *w = s->watches; w; w = w->next) {
		while (!w->dead && w->seq < end) {
			const struct um_store_event *ev = um_history_at(&s->history, w->seq++);

			if (ev->rev > w->after_rev && has_prefix(ev->key, w->prefix, w->prefix_len))
				w->fn(w->arg, ev);
		}
	}
	s->pumping = false;
	sweep_watches(s);
	if (!s->pump_deferred) /* else a new watch has yet to see the oldest events */
		um_history_trim(&s->history);
}

static void defer_pump(struct um_store *s)
{
	if (s->pump_deferred)
		return;
	if (um_loop_defer(s->loop, on_pump, s) == 0)
		s->pump_deferred = true;
	else
		on_pump(s);
}

int um_store_watch_new(struct um_store *s, const char *prefix, int64_t after_rev,
		       um_store_watch_fn fn, void *arg, struct um_store_watch **ret,
		       struct um_error *err)
{
	struct um_store_watch *w;

	if (after_rev < um_store_compacted_rev(s))
		return um_error_set_reason(
			err, UM_REASON_GONE, -ESTALE, "too old resource version: %lld (%lld)",
			(long long)after_rev, (long long)um_store_compacted_rev(s));
	w = calloc(1, sizeof(*w));
	if (!w || !(w->prefix = strdup(prefix))) {
		free(w);
		return um_error_set(err, -ENOMEM, "watch %s: out of memory", prefix);
	}
	w->store = s;
	w->prefix_len = strlen(prefix);
	w->after_rev = after_rev;
	w->seq = um_history_seek(&s->history, after_rev);
	w->fn = fn;
	w->arg = arg;
	w->next = s->watches;
	s->watches = w;
	s->n_watches++;
	if (w->seq < um_history_end(&s->history))
		defer_pump(s);
	*ret = w;
	return 0;
}

void um_store_watch_free(struct um_store_watch *w)
{
	if (!w)
		return;
	w->dead = true;
	if (!w->store->pumping)
		sweep_watches(w->store);
}

/* ---- life ---- */

int um_store_new(struct um_loop *l, const struct um_store_config *cfg, struct um_store **ret)
{
	struct um_store *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->loop = l;
	s->cfg = *cfg;
	s->retry_full = um_timer_new(l, on_retry_full, s);
	if (!s->retry_full) {
		free(s);
		return -ENOMEM;
	}
	um_index_init(&s->index);
	um_history_init(&s->history, cfg->history_events, cfg->history_bytes);
	s->durable_rev = s->compacted_rev = cfg->first_rev;
	s->next_rev = cfg->first_rev + 1;
	*ret = s;
	return 0;
}

int um_store_load(struct um_store *s, const struct um_store_put *row)
{
	int r = apply_put(s, row);

	um_history_trim(&s->history);
	s->next_rev = row->rev + 1;
	return r;
}

void um_store_set_compacted(struct um_store *s, int64_t rev)
{
	if (rev > s->compacted_rev)
		s->compacted_rev = rev;
}

void um_store_set_rev(struct um_store *s, int64_t rev)
{
	if (rev > s->durable_rev)
		s->durable_rev = rev;
	if (s->next_rev <= rev)
		s->next_rev = rev + 1;
}

struct um_loop *um_store_loop(struct um_store *s)
{
	return s->loop;
}

void um_store_get_stats(const struct um_store *s, struct um_store_stats *ret)
{
	*ret = s->stats;
	ret->keys = (int64_t)s->index.count;
	ret->value_bytes = (int64_t)s->index.value_bytes;
	ret->fsyncs = s->cfg.backend->blocking ? s->stats.commits : 0;
	ret->watches = (int64_t)s->n_watches;
	ret->full = s->full;
}

void um_store_close(struct um_store *s)
{
	if (!s)
		return;
	/* What is in flight finishes on its worker; what waits is committed here. Done callbacks
	 * run as ever. */
	while (s->inflight || s->filling || s->flush_deferred || s->pump_deferred || s->checking)
		if (um_loop_step(s->loop, INT64_MAX) < 0)
			break;
	s->closing = true;
	um_timer_stop(s->retry_full); /* the backend may wait in the loop */
	for (struct um_store_watch *w = s->watches; w; w = w->next)
		w->dead = true;
	sweep_watches(s);
	s->cfg.backend->close(s->cfg.be);
	um_timer_free(s->retry_full);
	forget_all_pending(s);
	um_history_release(&s->history);
	um_index_release(&s->index);
	free(s);
}
