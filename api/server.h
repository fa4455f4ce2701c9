/* The REST front: Kubernetes' API over the stores. One instance serves one um_http_server, on the
 * loop's thread. */
#ifndef UM_API_SERVER_H
#define UM_API_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "api/service_alloc.h"
#include "base/error.h"
#include "store/store.h"

struct um_api;
struct um_arena;
struct um_http_req;
struct um_json;
struct um_kind;
struct um_buf;
struct um_tokens;

/* What /version says: the level of the API that is spoken. */
#define UM_API_GIT_VERSION "v1.33.0+umiak.1"

struct um_api_opts {
	struct um_loop *loop;
	struct um_store *durable, *volatile_; /* borrowed; must outlive the API */
	int64_t event_ttl_ns;		      /* 0: one hour */
	struct um_service_ranges services;
	const struct um_tokens *tokens; /* borrowed; of service accounts */
	/* Extra lines of /metrics; may be NULL. */
	void (*metrics)(void *arg, struct um_buf *b);
	void *arg;
};

/* Also starts making the namespaces that every cluster has; /readyz says when they are there. */
um_must_check int um_api_new(const struct um_api_opts *o, struct um_api **ret,
			     struct um_error *err);
/* Lets go of the stores' watches, so that the stores can be closed; writes in flight still call
 * back. The order at the end: um_http_server_free(), um_api_stop(), um_store_close(),
 * um_api_free(). */
void um_api_stop(struct um_api *api);
void um_api_free(struct um_api *api); /* accepts NULL */
/* Makes the Services default/kubernetes (this API listens on @port) and, where there is cluster
 * DNS, kube-system/kube-dns, unless they are there. */
um_must_check int um_api_ensure_services(struct um_api *api, int port, struct um_error *err);
/* The same at the start: a full disk is no failure, but keeps um_api_ready() false. */
um_must_check int um_api_publish(struct um_api *api, int port, struct um_error *err);
bool um_api_ready(const struct um_api *api);

/* ---- for controllers: inside.c ---- */

/* Creates @obj as a client's POST would: name from generateName, uid and times, defaults,
 * admission, validation; @obj then is what is stored. 0: @done will be called. Errors returned at
 * once, without a call of @done: -ENOENT (no such namespace), -EPERM (the namespace is going away),
 * -EEXIST, -EINVAL (the message names the field), the store's. */
um_must_check int um_api_create(struct um_api *api, const struct um_kind *kind, struct um_json *obj,
				struct um_arena *a, um_store_done_fn done, void *arg,
				struct um_error *err);
/* An object at the head that the next write is checked against, in @a, without resourceVersion, and
 * the revision to give to um_api_update(). 0, -ENOENT, -ENOMEM. */
um_must_check int um_api_load(struct um_api *api, const struct um_kind *kind, const char *ns,
			      const char *name, struct um_arena *a, struct um_json **ret,
			      int64_t *ret_rev);
/* Stores the changed @obj; @old is what um_api_load() gave with @rev. The generation
 * counts up when more than metadata and status differ; an object that nothing holds any more is
 * deleted. 1: @done will be called; 0: nothing to write; else as above, -EAGAIN: @rev is old. */
um_must_check int um_api_update(struct um_api *api, const struct um_kind *kind, struct um_json *obj,
				const struct um_json *old, int64_t rev, struct um_arena *a,
				um_store_done_fn done, void *arg, struct um_error *err);

/* Deletes as a client would, grace and finalizers respected, without waiting: 1: under way, @done
 * (may be NULL) will be called; 0: there is nothing to do; or a negative errno of the store. @ns ""
 * for kinds without namespaces. */
um_must_check int um_api_remove(struct um_api *api, const struct um_kind *kind, const char *ns,
				const char *name, um_store_done_fn done, void *arg);

/* What becomes of an object's dependents. The collector (control/gc.c) acts on the finalizers,
 * which the deletion puts in or takes out. */
enum um_propagation {
	UM_PROPAGATE_DEFAULT, /* as the finalizers say that it has; none: in the background */
	UM_PROPAGATE_BACKGROUND,
	UM_PROPAGATE_FOREGROUND,
	UM_PROPAGATE_ORPHAN,
};
#define UM_FINALIZER_ORPHAN "orphan"
#define UM_FINALIZER_FOREGROUND "foregroundDeletion"

struct um_api_removal {
	enum um_propagation policy;
	bool at_once;	 /* no grace */
	const char *uid; /* another one of the same name stays; NULL: any */
};
/* um_api_remove() with these. */
um_must_check int um_api_remove_by(struct um_api *api, const struct um_kind *kind, const char *ns,
				   const char *name, const struct um_api_removal *how,
				   um_store_done_fn done, void *arg);

/* For struct um_http_server_opts: @arg is the um_api. */
void um_api_on_request(void *arg, struct um_http_req *req);
/* The same for a plain server on a loopback address: health, version and metrics, nothing else, and
 * for everybody who can reach it. */
void um_api_on_local_request(void *arg, struct um_http_req *req);
/* For struct um_http_server_opts: a Status as Kubernetes words it. */
const char *um_api_error_body(int status, const char *message, struct um_buf *b);

#endif
