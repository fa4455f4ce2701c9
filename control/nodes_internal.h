/* What of nodes follows from heartbeats (nodes.c), from conditions (nodes_taints.c), and what of
 * pods follows from taints (nodes_evict.c). */
#ifndef UM_CONTROL_NODES_INTERNAL_H
#define UM_CONTROL_NODES_INTERNAL_H

#include "api/object.h"
#include "base/hash.h"
#include "control/ctl.h"

struct um_pod;

struct nodes_node {
	UT_hash_handle hh;
	bool exists, ready;		/* ready: says its object */
	int64_t seen_ns, gone_ns;	/* monotonic */
	uint64_t lease_said, node_said; /* hashes: another one is a sign of life */
	uint64_t taints;		/* hash of those with the effect NoExecute; 0: none */
	char name[];
};

/* A pod on a tainted node, which tolerates that for a while. */
struct nodes_eviction {
	UT_hash_handle hh;
	int64_t since_ns; /* monotonic */
	char uid[64];
	char key[];
};

struct um_nodes {
	struct um_ctl *ctl;
	struct um_queue *queue, *evictions; /* of names of nodes; of keys of pods */
	const struct um_kind *kind, *pods, *leases;
	struct um_store_watch *node_watch, *lease_watch;
	struct nodes_node *nodes;
	unsigned existing, ready; /* how many of them */
	struct nodes_eviction *tolerated;
	char prefix[UM_OBJECT_KEY_MAX], lease_prefix[UM_OBJECT_KEY_MAX];
};

struct nodes_node *nodes_find(const struct um_nodes *s, const char *name);

/* No node is ready: more likely it is this server that is cut off, and nobody could take the pods
 * anyway. Then none is driven out because its node is silent or not ready. */
static inline bool nodes_all_down(const struct um_nodes *s)
{
	return s->existing > 0 && s->ready == 0;
}

/* ---- nodes_taints.c ---- */
/* Makes spec.taints those that follow from the conditions; others stay. */
void nodes_set_taints(struct um_nodes *s, struct um_json *node, struct um_arena *a);
/* A hash of the taints with the effect NoExecute; 0: none. */
uint64_t nodes_hash_taints(const struct um_json *node);
/* How long the tolerations bear the taints with the effect NoExecute: seconds, 0: not at all,
 * -1: for ever. */
int64_t nodes_tolerated_s(const struct um_json *taints, const struct um_json *tolerations);

/* ---- nodes_evict.c ---- */
um_must_check int nodes_evict_new(struct um_nodes *s, struct um_error *err);
void nodes_evict_free(struct um_nodes *s);
void nodes_evict_forget(struct um_nodes *s, const char *pod_key);

#endif
