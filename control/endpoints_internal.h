/* One look at a Service's endpoints: who they are (endpoints_plan.c), and what is written of them
 * (endpoints_slices.c, endpoints.c). */
#ifndef UM_CONTROL_ENDPOINTS_INTERNAL_H
#define UM_CONTROL_ENDPOINTS_INTERNAL_H

#include "api/object.h"
#include "base/vec.h"
#include "control/ctl.h"

#define ENDPOINTS_SLICE_MAX 100 /* endpoints in one slice */
#define ENDPOINTS_MAX 1000	/* addresses in one Endpoints object */

struct um_endpoints {
	struct um_ctl *ctl;
	struct um_queue *queue;
	struct um_owned *slices;
	struct um_store_watch *service_watch, *endpoints_watch;
	const struct um_kind *services, *endpoints, *slice_kind, *pods;
	struct svc *svcs; /* by key; endpoints.c */
	struct svc_ns *namespaces;
	char service_prefix[UM_OBJECT_KEY_MAX], endpoints_prefix[UM_OBJECT_KEY_MAX];
};

/* One place to go to. Strings live in the look's arena. */
struct endpoint {
	const char *ip, *node, *pod, *pod_uid; /* "" when unknown */
	const char *hostname;
	bool ready, serving, terminating;
};

/* Endpoints that are reached by the same ports. */
struct endpoint_group {
	struct um_json *ports; /* as in an EndpointSlice */
	UM_VEC(struct endpoint) list;
};

struct endpoints_look {
	struct um_endpoints *all;
	struct um_arena *a;
	const char *key, *ns, *name, *uid;
	const struct um_json *service;
	UM_VEC(struct endpoint_group) groups;
	const char *manager; /* of the slices */
	bool truncated;
	int error;
};

/* ---- endpoints_plan.c: fill groups; out of memory is seen in error and the arena ---- */
void endpoints_from_pods(struct endpoints_look *l);
void endpoints_from_subsets(struct endpoints_look *l, const struct um_json *subsets);
/* The subsets of an Endpoints object. */
struct um_json *endpoints_to_subsets(struct endpoints_look *l);
void endpoints_release(struct endpoints_look *l);

/* ---- endpoints_slices.c ---- */
void endpoints_write_slices(struct endpoints_look *l);

#endif
