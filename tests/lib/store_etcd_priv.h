/* Between the two halves of the store on etcd: the mirror and the transactions. */
#ifndef UM_TESTS_LIB_STORE_ETCD_PRIV_H
#define UM_TESTS_LIB_STORE_ETCD_PRIV_H

#include "base/json.h"
#include "store/history.h"
#include "store/index.h"
#include "store/store.h"
#include "wire/http_client.h"

#define TOKEN (INT64_C(1) << 62)
#define TOKENS_KEPT 1024
#define BODY_MAX (64u << 20)
#define CALL_NS (10 * UM_NSEC_PER_SEC)
#define FLIGHT_MAX 16 /* calls at once */

enum txn_state { HELD, SENT, ANSWERED };

struct txn {
	struct um_store *s;
	um_store_done_fn done;
	void *arg;
	enum txn_state state;
	int64_t token;
	int64_t queued_at; /* the durable head then */
	int64_t rev;	   /* answered: done once the mirror is there */
	struct um_error err;
	struct um_http_call *call;
	size_t n_compares, n_ops;
	struct um_store_compare *compares; /* keys owned */
	struct um_store_op *ops;	   /* keys owned, values referenced */
	struct txn *next, *prev;
};

struct barrier;

struct um_store {
	struct um_loop *loop;
	struct um_http_client *http;
	struct um_http_call *feed;
	struct um_index index;
	struct um_history history;
	struct txn *first, *last;
	struct barrier *barriers;
	struct um_store_watch *watches;
	int64_t durable_rev, opened_rev, next_token;
	struct {
		int64_t token, rev;
	} landed[TOKENS_KEPT];
	struct um_error fatal;
	bool ready, turn_deferred, pumping;
	struct um_store_stats stats;
};

/* Nothing more can be trusted: all that waits fails with @err, from the loop. */
void um_etcd_become_fatal(struct um_store *s, const struct um_error *err);
/* Sees to all that may have become possible, from the loop. */
void um_etcd_defer_turn(struct um_store *s);

/* ---- store_etcd_txn.c ---- */
um_must_check int um_etcd_post(struct um_store *s, const char *target, const char *body, size_t len,
			       void (*on_done)(void *, const struct um_http_result *), void *arg,
			       struct um_http_call **ret, struct um_error *err);
/* The revision in the header of an answer, and the whole document. */
um_must_check int um_etcd_read_answer(const struct um_http_result *res, struct um_arena *a,
				      struct um_json **ret_doc, int64_t *ret_rev,
				      struct um_error *err);
/* The newest transaction in flight that writes @key, or NULL. */
const struct txn *um_etcd_in_flight(const struct um_store *s, const char *key);
/* What @t does to @key, or NULL. */
const struct um_store_op *um_etcd_op_on(const struct txn *t, const char *key);
void um_etcd_finish_what_is_done(struct um_store *s);
void um_etcd_send_what_may_go(struct um_store *s);

#endif
