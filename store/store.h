/* The store: keys, values, revisions, watches. Backends: sqlite (store/sqlite.c), memory for
 * volatile kinds (store/volatile.c); a test holds the text against etcd (tests/lib/store_etcd.c),
 * as the measure of a store with several writers. One conformance suite holds them all to this
 * text.
 *
 * Keys are "/registry/<group>/<plural>/<namespace>/<name>" (the store does not look inside).
 * Values are encoded objects without resourceVersion: the revision is known only after the commit
 * and stands beside the value (um_store_kv.mod_rev).
 *
 * Two heads. A write is checked against the tentative head, which includes writes in flight; reads
 * and watches see only the durable head. When a batch fails, all writes in it and behind it that
 * were checked against it fail too. Nothing becomes visible before it is durable.
 *
 * All calls are on the loop's thread and never block; callbacks run from the loop, never from
 * within the call. Revisions are positive, global to the store, and grow by at least one with each
 * transaction that changes anything (one that only deletes absent keys may take none).
 */
#ifndef UM_STORE_STORE_H
#define UM_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

struct um_loop;
struct um_store;

struct um_store_kv {
	const char *key;	/* borrowed: valid until the next turn of the loop */
	struct um_bytes *value; /* borrowed likewise; take a reference to keep it */
	/* In a tentative value both may be tokens, see um_store_get_tentative(). */
	int64_t create_rev, mod_rev;
};

/* ---- opening ---- */

struct um_store_sqlite_opts {
	const char *dir;	       /* holds store.db, its WAL and the ballast file; made 0700 */
	int64_t compact_keep;	       /* revisions of history to keep; 0: 10000 */
	int64_t inject_fsync_delay_ns; /* tests and bench: sleep in each commit */
};
/* Opens or makes the database and loads the newest value of each key. Blocks. Errors: -EBADMSG
 * (not our database, or damaged; the message says where), -EBUSY (another process has it),
 * -ENOSPC, -EIO. */
um_must_check int um_store_open_sqlite(struct um_loop *l, const struct um_store_sqlite_opts *opts,
				       struct um_store **ret, struct um_error *err);
/* Memory only, bounded: past @max_bytes the oldest written keys go (as deletes). Revisions are
 * (epoch << 40) + sequence. */
um_must_check int um_store_open_volatile(struct um_loop *l, int64_t epoch, size_t max_bytes,
					 struct um_store **ret, struct um_error *err);
/* Adds one to the boot epoch kept in the sqlite store and returns it: the one write that a server
 * start makes. Blocks. */
um_must_check int um_store_next_epoch(struct um_store *s, int64_t *ret, struct um_error *err);
/* Finishes what is in flight (blocks), fails nothing silently; accepts NULL. */
void um_store_close(struct um_store *s);

/* ---- writing ---- */

struct um_store_compare {
	const char *key;
	int64_t mod_rev; /* the key's revision, or token, must be this; 0: it must not exist */
};
struct um_store_op {
	const char *key;
	struct um_bytes *value; /* NULL deletes; a reference is taken */
};
#define UM_STORE_OPS_MAX 128
#define UM_STORE_VALUE_MAX (3u << 20)

/* @rev is that of the last operation, or 0 on error: each operation may take the next one, or all
 * share one. By now it can be read here. Errors: -EAGAIN (a compare failed against another writer:
 * CONFLICT; the durable head shows already what was in the way), -ENOSPC, -EIO, -E2BIG (together
 * more bytes than the backend takes in one transaction), -ECANCELED (a write it depended on
 * failed). */
typedef void (*um_store_done_fn)(void *arg, int64_t rev, const struct um_error *err);

/* Checks the compares now against the tentative head and queues the operations. Compares and ops
 * are copied (values by reference). 0: @done will be called once. Errors returned at once, without
 * a call of @done: -EAGAIN (a compare failed), -ENOSPC (the disk is full: only deletes pass),
 * -E2BIG (a value), -EINVAL (none or more than UM_STORE_OPS_MAX operations, more compares than
 * that, a key that is empty or too long, or that stands in two operations), -ENOMEM. */
um_must_check int um_store_txn(struct um_store *s, const struct um_store_compare *compares,
			       size_t n_compares, const struct um_store_op *ops, size_t n_ops,
			       um_store_done_fn done, void *arg, struct um_error *err);

/* Calls @done once all that was acknowledged anywhere before this call can be read here: for
 * consistent reads on backends with several writers. At the next turn on sqlite. */
um_must_check int um_store_barrier(struct um_store *s, void (*done)(void *arg), void *arg);

/* ---- reading (the durable head, unless said) ---- */

/* 0 or -ENOENT. */
um_must_check int um_store_get(const struct um_store *s, const char *key, struct um_store_kv *ret);
/* The head that the next write's compares are checked against: for read-modify-write. The mod_rev
 * of a write in flight is a token for compares only: its revision may not be known yet. It is
 * never shown to a client and never the start of a watch; it stands for that write also once that
 * has landed, but not for ever. */
um_must_check int um_store_get_tentative(const struct um_store *s, const char *key,
					 struct um_store_kv *ret);
/* In key order, keys that start with @prefix and sort after @after (NULL: from the start). @fn
 * returns false to stop. Resume with the last key seen. */
typedef bool (*um_store_list_fn)(void *arg, const struct um_store_kv *kv);
void um_store_list(const struct um_store *s, const char *prefix, const char *after,
		   um_store_list_fn fn, void *arg);
int64_t um_store_rev(const struct um_store *s); /* of the durable head; where nothing was written, 0
						   or where the backend's revisions start */
int64_t um_store_compacted_rev(const struct um_store *s); /* watches from before it get -ESTALE */
size_t um_store_count(const struct um_store *s, const char *prefix);

/* ---- watching ---- */

struct um_store_event {
	int64_t rev;
	const char *key;
	struct um_bytes *value;	     /* NULL: deleted */
	struct um_bytes *prev_value; /* NULL: created. Its revision: prev_rev */
	int64_t prev_rev, create_rev;
};
struct um_store_watch;
typedef void (*um_store_watch_fn)(void *arg, const struct um_store_event *ev);

/* Calls @fn for each change with rev > @after_rev of keys with @prefix, in order, history first.
 * @after_rev may lie in the future. -ESTALE (reason GONE): compacted. @fn may free the watch.
 * Events of one transaction may share a revision: who resumes after it must have seen them all.
 * They come in one turn of the loop. */
um_must_check int um_store_watch_new(struct um_store *s, const char *prefix, int64_t after_rev,
				     um_store_watch_fn fn, void *arg, struct um_store_watch **ret,
				     struct um_error *err);
void um_store_watch_free(struct um_store_watch *w); /* accepts NULL */

struct um_store_stats {
	int64_t keys, value_bytes, commits, ops, fsyncs, watches;
	bool full; /* the disk is full: only deletes pass */
};
void um_store_get_stats(const struct um_store *s, struct um_store_stats *ret);

#endif
