/* Pods as controllers see them: what they decide by, in one small block each, found by key, by
 * controlling owner and by namespace.
 *
 * It follows the store's durable head. What a controller has just asked for is assumed at once, so
 * that it never asks twice: a pod that is being created stands here before its write is durable,
 * one whose deletion was asked for is marked. */
#ifndef UM_CONTROL_PODSET_H
#define UM_CONTROL_PODSET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"

struct um_loop;
struct um_podset;
struct um_store;

enum um_pod_phase {
	UM_POD_PENDING,
	UM_POD_RUNNING,
	UM_POD_SUCCEEDED,
	UM_POD_FAILED,
	UM_POD_UNKNOWN
};

struct um_pod {
	UT_hash_handle hh;			      /* podset.c's */
	TAILQ_ENTRY(um_pod) by_owner, by_ns, by_node; /* podset.c's; walk with first and next */
	const char *key;			      /* "namespace/name" */
	const char *ns, *name, *uid, *node, *ip;      /* "" when absent */
	const char *owner_uid, *owner_kind;	      /* of its controller; "" when absent */
	const char *owner_name;
	const char *hostname, *subdomain; /* of its spec; "" when absent */
	const struct um_json *labels;	  /* NULL: none */
	enum um_pod_phase phase;
	bool ready;
	int64_t ready_ns, created_ns; /* wall clock; 0: never, or unknown */
	int64_t deletion_cost;	      /* controller.kubernetes.io/pod-deletion-cost */
	unsigned restarts;
	bool deleted; /* has a deletionTimestamp */
	bool leaving; /* its deletion has been asked for */
	bool assumed; /* its creation is not durable yet */
	int64_t rev;  /* 0 while assumed */
};

/* The store is borrowed. */
um_must_check int um_podset_new(struct um_store *durable, struct um_podset **ret,
				struct um_error *err);
void um_podset_free(struct um_podset *s); /* accepts NULL */

/* @fn hears every durable change: @old NULL: new, @now NULL: gone. Both are valid during the call.
 * Callers unsubscribe by freeing the podset. 0 or -ENOMEM. */
typedef void (*um_podset_fn)(void *arg, const struct um_pod *old, const struct um_pod *now);
um_must_check int um_podset_subscribe(struct um_podset *s, um_podset_fn fn, void *arg);

/* Pointers are valid until the next turn of the loop. */
struct um_pod *um_podset_get(const struct um_podset *s, const char *ns, const char *name);
/* First and next of all, of a controller's pods, of those in a namespace that no controller owns,
 * of a namespace's, and of a node's. NULL ends. */
struct um_pod *um_podset_first(const struct um_podset *s);
struct um_pod *um_podset_next(const struct um_pod *p);
struct um_pod *um_podset_first_owned(const struct um_podset *s, const char *owner_uid);
struct um_pod *um_podset_first_orphan(const struct um_podset *s, const char *ns); /* next_owned */
struct um_pod *um_podset_next_owned(const struct um_pod *p);
struct um_pod *um_podset_first_in(const struct um_podset *s, const char *ns);
struct um_pod *um_podset_next_in(const struct um_pod *p);
struct um_pod *um_podset_first_on(const struct um_podset *s, const char *node);
struct um_pod *um_podset_next_on(const struct um_pod *p);

/* A creation (of this object) has been asked for: 0 or -ENOMEM. */
um_must_check int um_podset_assume(struct um_podset *s, const struct um_json *pod);
/* The creation has failed. */
void um_podset_forget(struct um_podset *s, const char *ns, const char *name);
/* A deletion has been asked for (um_pod.leaving), or that has failed. */
void um_podset_mark_leaving(struct um_podset *s, const char *ns, const char *name, bool leaving);

static inline bool um_pod_ended(const struct um_pod *p)
{
	return p->phase == UM_POD_SUCCEEDED || p->phase == UM_POD_FAILED;
}
/* Counts for its controller. */
static inline bool um_pod_active(const struct um_pod *p)
{
	return !um_pod_ended(p) && !p->deleted && !p->leaving;
}
/* Ready for @min_ready_ns. *ret_wait_ns: when it is not yet but will be, after how long; else 0. */
bool um_pod_available(const struct um_pod *p, int64_t min_ready_ns, int64_t wall_ns,
		      int64_t *ret_wait_ns);

#endif
