/* One look at a Deployment: read (deployment.c), its ReplicaSets (deployment_sets.c), the step that
 * is due (deployment_rollout.c), the status (deployment_status.c). */
#ifndef UM_CONTROL_DEPLOYMENT_INTERNAL_H
#define UM_CONTROL_DEPLOYMENT_INTERNAL_H

#include "api/object.h"
#include "base/vec.h"
#include "control/ctl.h"

#define DEPLOYMENT_WHO "deployment-controller"
#define DEPLOYMENT_HASH_LABEL "pod-template-hash"
#define DEPLOYMENT_REVISION "deployment.kubernetes.io/revision"
#define DEPLOYMENT_REVISION_HISTORY "deployment.kubernetes.io/revision-history"
#define DEPLOYMENT_DESIRED "deployment.kubernetes.io/desired-replicas"
#define DEPLOYMENT_MAX "deployment.kubernetes.io/max-replicas"

struct um_deployments {
	struct um_ctl *ctl;
	struct um_queue *queue;
	struct um_owned *sets;
	struct um_store_watch *watch;
	const struct um_kind *kind, *set_kind;
	char prefix[UM_OBJECT_KEY_MAX];
};

/* A ReplicaSet of it; @obj is what will be stored, @old what is. */
struct rollout_set {
	struct um_json *obj, *old;
	int64_t rev; /* of the store */
	const char *name;
	int64_t wanted, replicas, ready, available; /* spec.replicas, and of the status */
	int64_t revision;
	const char *created;
};

struct rollout {
	struct um_deployments *all;
	struct um_arena *a;
	const char *key, *ns, *name, *uid;
	struct um_json *obj, *old;
	int64_t rev;
	UM_VEC(struct rollout_set) sets; /* the oldest first */
	struct rollout_set *current;	 /* of today's template; NULL: not made yet */
	int64_t wanted, max_surge, max_unavailable;
	bool recreate, paused;
	int64_t again_ns;
	int error; /* the first failed write */
	char create_error[512];
};

#define rollout_foreach_old(it, r)                                                                 \
	um_vec_foreach (it, &(r)->sets)                                                            \
		if (it != (r)->current)

/* ---- deployment_sets.c ---- */
/* Reads, adopts and lets go; sorts; finds the current one. 0 or a negative errno. */
um_must_check int rollout_read_sets(struct rollout *r);
/* Makes the current set for today's template, with @replicas. 1: asked for, or there already. */
void rollout_create_current(struct rollout *r, int64_t replicas);
/* Brings revision, annotations and minReadySeconds of the current set up to date. */
void rollout_sync_current(struct rollout *r);
void rollout_scale(struct rollout *r, struct rollout_set *s, int64_t replicas);
/* Removes ended sets past revisionHistoryLimit. */
void rollout_clean_up(struct rollout *r);
int64_t rollout_total(const struct rollout *r);	    /* spec.replicas of all */
int64_t rollout_available(const struct rollout *r); /* of all */

/* ---- deployment_rollout.c ---- */
/* maxSurge and maxUnavailable in pods. */
void rollout_resolve_bounds(struct rollout *r);
/* How many the current set should have now. */
int64_t rollout_next_size(const struct rollout *r);
void rollout_step(struct rollout *r);

/* ---- deployment_status.c ---- */
bool rollout_complete(const struct rollout *r);
/* Fills obj.status; says when the progress deadline is. */
void rollout_write_status(struct rollout *r);

#endif
