/* The scheduler: a pure library, (cluster snapshot, pod) -> node and why. No I/O, no clock.
 *
 * The caller keeps the snapshot: nodes as they come, pods that are bound (or assumed to be).
 * Filters decide where a pod can go, scores where it should. Both are rows of a table
 * (sched/plugins.c). What a pod asks for and no plugin understands keeps it from being placed, with
 * that reason: never as if the field were absent. */
#ifndef UM_SCHED_SCHED_H
#define UM_SCHED_SCHED_H

#include "base/json.h"

struct um_sched;

/* NULL when out of memory. */
struct um_sched *um_sched_new(void);
void um_sched_free(struct um_sched *s); /* accepts NULL */

/* Adds or replaces a node by its Node object (copied). 0 or -ENOMEM. */
um_must_check int um_sched_node_put(struct um_sched *s, const struct um_json *node);
/* Pods bound to it are kept in the books: they count again when it comes back. */
void um_sched_node_remove(struct um_sched *s, const char *name);

/* Books a pod (a Pod object with spec.nodeName and metadata.uid) on its node; a pod in a terminal
 * phase is taken off instead. May be called again with newer forms. 0 or -ENOMEM. */
um_must_check int um_sched_pod_put(struct um_sched *s, const struct um_json *pod);
void um_sched_pod_remove(struct um_sched *s, const char *uid);

struct um_sched_result {
	const char *node; /* borrowed until the next change; NULL: it fits nowhere */
	/* Why not, as kube-scheduler says it: "0/3 nodes are available: 1 Insufficient cpu, ..." */
	char message[1024];
	unsigned feasible, looked_at;
};
/* Where @pod should go. Books nothing: put the bound pod afterwards. 0 (see ret->node), or -ENOMEM.
 */
um_must_check int um_sched_place(struct um_sched *s, const struct um_json *pod,
				 struct um_sched_result *ret);
unsigned um_sched_nodes(const struct um_sched *s);

#endif
