/* The node agent: makes real what pods say, and says what became of them.
 *
 * It gets pods from sources (the API's watch, a folder of static manifests), drives each through a
 * checked state machine, and reports through the same source. One loop, one thread; blocking steps
 * (cgroups, mounts, netlink, unpacking) run as jobs on the loop's workers, one at a time for a
 * pod. Pods live on in their shims while the agent is away: on start it re-adopts them. */
#ifndef UM_AGENT_AGENT_H
#define UM_AGENT_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

struct um_loop;
struct um_agent;
struct um_images;
struct um_net;

struct um_agent_options {
	const char *node_name;
	const char *state_dir;	   /* kept over reboots: /var/lib/umiak/agent */
	const char *run_dir;	   /* /run/umiak */
	const char *log_dir;	   /* /var/log/pods */
	const char *images_dir;	   /* /var/lib/umiak/images */
	const char *manifests_dir; /* static pods; NULL: none */
	const char *libexec_dir;   /* umiak-shim; umiak-oci when oci_path is NULL */
	const char *oci_path;
	const char *cgroup_parent;	    /* "umiak" */
	const char *pod_range, *node_range; /* NULL pod_range: no pod network, hostNetwork only */
	const char *host_ip;		    /* status.hostIP */
	const char *service_range;	    /* NULL: no service proxy */
	uint16_t node_port_min, node_port_max;
	const char *cluster_dns;    /* an address of the service range; NULL: no DNS of our own */
	const char *cluster_domain; /* "cluster.local" */
};

/* Opens everything and re-adopts the pods that run. All options are borrowed for the agent's life.
 * Blocks. */
um_must_check int um_agent_new(struct um_loop *l, const struct um_agent_options *opt,
			       struct um_agent **ret, struct um_error *err);
/* Lets go of everything; pods run on. Accepts NULL. */
void um_agent_free(struct um_agent *a);

/* ---- sources ---- */

/* What the agent asks of, and tells, the place its pods come from. All may be NULL. */
struct um_agent_source {
	/* Fetches a configmap or secret. @done is called once, later or at once: @obj (borrowed for
	 * the call) or NULL with @err. */
	void (*fetch)(void *ctx, const char *plural, const char *namespace_, const char *name,
		      void (*done)(void *arg, const struct um_json *obj,
				   const struct um_error *err),
		      void *arg);
	/* Asks for a token of the pod's account, bound to the pod. @audience "": the API's own. As
	 * fetch; @obj is the answered TokenRequest. */
	void (*token)(void *ctx, const struct um_json *pod, const char *audience, int64_t seconds,
		      void (*done)(void *arg, const struct um_json *obj,
				   const struct um_error *err),
		      void *arg);
	/* The pod's status has changed. @status is borrowed. */
	void (*status)(void *ctx, const char *namespace_, const char *name, const char *uid,
		       const struct um_json *status);
	/* Nothing of a deleted pod is left on this node. */
	void (*gone)(void *ctx, const char *namespace_, const char *name, const char *uid);
	/* Something worth an Event: type "Normal" or "Warning". */
	void (*event)(void *ctx, const char *namespace_, const char *name, const char *uid,
		      const char *type, const char *reason, const char *message);
	/* What the node says of itself has changed. */
	void (*node_changed)(void *ctx);
	void *ctx;
};
void um_agent_set_source(struct um_agent *a, const struct um_agent_source *src);

/* A pod that this node must run, or its newest form (a valid and defaulted Pod with uid; copied).
 * A deletionTimestamp ends it. */
um_must_check int um_agent_pod_put(struct um_agent *a, const struct um_json *pod,
				   struct um_error *err);
/* The pod is no longer known to the source: it is ended now. */
void um_agent_pod_remove(struct um_agent *a, const char *uid);
/* All pods of the source have been put once: those re-adopted from an earlier run that were not
 * among them are ended. */
void um_agent_source_synced(struct um_agent *a);
/* Ends every pod, its containers with at most @grace_ns. */
void um_agent_end_all(struct um_agent *a, int64_t grace_ns);
/* True when nothing of any pod is left. */
bool um_agent_empty(const struct um_agent *a);
/* True when no pod has a step under way. */
bool um_agent_idle(const struct um_agent *a);

#endif
