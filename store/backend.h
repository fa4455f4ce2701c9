/* Between the store's core (heads, watches, order) and what makes a batch durable. */
#ifndef UM_STORE_BACKEND_H
#define UM_STORE_BACKEND_H

#include "base/vec.h"
#include "store/store.h"

struct um_loop;

/* One operation of an accepted write. Immutable once in a batch. */
struct um_store_put {
	char *key;		/* owned */
	struct um_bytes *value; /* a reference; NULL deletes */
	int64_t rev, prev_rev, create_rev;
};

/* One accepted transaction. */
struct um_store_write {
	um_store_done_fn done;
	void *arg;
	size_t n;
	struct um_store_put puts[];
};

struct um_store_batch {
	UM_VEC(struct um_store_write *) writes;
	struct um_error err; /* set by the backend */
	int result;
};

/* What um_store_txn() refuses on any backend: -EINVAL or -E2BIG. */
um_must_check int um_store_check_txn(size_t n_compares, const struct um_store_op *ops, size_t n_ops,
				     struct um_error *err);

struct um_store_backend {
	/* Makes the batch durable or changes nothing; sets result and err: -ENOSPC, -EIO (nothing
	 * more can be trusted), or another error. On a worker thread when `blocking`, one batch at
	 * a time. */
	void (*commit)(void *be, struct um_store_batch *b);
	bool blocking;
	/* After each batch, on the loop: housekeeping may begin. May be NULL. */
	void (*after)(void *be, int64_t durable_rev);
	/* While the disk is full, now and then, on a worker: is there room again? May be NULL. */
	bool (*has_room)(void *be);
	int (*next_epoch)(void *be, int64_t *ret, struct um_error *err); /* may be NULL */
	void (*close)(void *be);
};

/* What an opened backend hands the core. */
struct um_store_config {
	const struct um_store_backend *backend;
	void *be;
	size_t history_events, history_bytes;
	size_t max_value_bytes; /* 0: no bound; else the oldest keys are deleted past it */
	int64_t first_rev;	/* revisions start after it */
};

um_must_check int um_store_new(struct um_loop *l, const struct um_store_config *cfg,
			       struct um_store **ret);
/* Loading: one call for each log row in order, before anything else. */
um_must_check int um_store_load(struct um_store *s, const struct um_store_put *row);
/* Watches from before @rev are refused. */
void um_store_set_compacted(struct um_store *s, int64_t rev);
/* The loaded head: revisions go on from here. */
void um_store_set_rev(struct um_store *s, int64_t rev);
struct um_loop *um_store_loop(struct um_store *s);

#endif
