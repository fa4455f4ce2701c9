/* Shared by the files of api/. A request is a struct um_areq: made when its head has arrived, ended
 * by exactly one answer or by the loss of its connection, alive while a callback may still come. */
#ifndef UM_API_INTERNAL_H
#define UM_API_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "api/object.h"
#include "api/schema/schema.h"
#include "api/server.h"
#include "base/bytes.h"
#include "base/vec.h"
#include "base/clock.h"
#include "store/store.h"
#include "wire/http_server.h"
#include "wire/loop.h"

#define UM_API_BODY_MAX (3u << 20)

enum um_verb {
	UM_VERB_GET,
	UM_VERB_LIST,
	UM_VERB_WATCH,
	UM_VERB_CREATE,
	UM_VERB_UPDATE,
	UM_VERB_PATCH,
	UM_VERB_DELETE,
	UM_VERB_DELETECOLLECTION,
	UM_VERB_COUNT,
};
extern const char *const um_verb_names[UM_VERB_COUNT];

struct um_areq;
typedef void (*um_handler_fn)(struct um_areq *rq);

struct um_route {
	um_handler_fn fixed; /* a path that is no resource; then nothing below is set */
	bool open;	     /* ... that needs no identity */
	const char *rest;    /* ... and what follows its prefix */
	const struct um_kind *kind;
	enum um_verb verb;
	const char *ns, *name, *sub; /* "" when absent */
};

struct um_identity {
	const char *user, *uid; /* uid: of accounts, else NULL */
	struct um_json *extra;	/* of tokens: name -> list of texts; else NULL */
	const char *groups[10];
	unsigned n_groups;
	const char *node; /* of system:node:<name> in system:nodes; else NULL */
	bool admin;	  /* in system:masters */
};

enum um_view { UM_VIEW_PLAIN, UM_VIEW_TABLE, UM_VIEW_PARTIAL };

struct um_write_opts {
	bool dry_run;
	enum um_strictness strict;
	const char *manager;
};

struct um_areq {
	struct um_api *api;
	struct um_http_req *http; /* NULL once answered or lost */
	unsigned refs;
	struct um_arena *arena;
	struct um_identity id;
	struct um_route rt;
	enum um_view view;
	const char *include_object; /* of Table rows */
	const char *body;
	size_t body_len;
	struct um_write_opts wo;
	int64_t started_ns;
	bool local; /* came by the plain port for health and metrics */
	/* a write in flight */
	struct um_bytes *result;
	const char *doing; /* name of the object */
	/* who keeps state of its own beside it */
	void *state;
	void (*state_free)(void *state);
};

struct um_frame; /* an event, encoded; watch.c */
struct um_watcher;
struct um_node_conn;
struct um_node_changes;
struct um_service_allocs;
struct um_tokens;
struct um_log_stream;

#define UM_FRAMES 256

struct um_metrics {
	int64_t requests[UM_VERB_COUNT + 1][6]; /* by verb (last: no resource) and class of code */
	int64_t buckets[UM_VERB_COUNT + 1][8];
	int64_t sum_ns[UM_VERB_COUNT + 1];
	int64_t watch_events;
	int64_t lag_max_ns, lag_ns;
};

struct um_api {
	struct um_api_opts o;
	struct um_loop *loop;
	int64_t started_ns;
	unsigned pending_init; /* namespaces that are still being made */
	bool init_failed;
	struct um_timer *housekeeping; /* every HOUSEKEEPING_NS */
	int64_t housekeeping_due_ns;
	struct um_frame *frames[UM_FRAMES];
	unsigned next_frame, frames_seen; /* by the last housekeeping */
	TAILQ_HEAD(, um_watcher) watchers;
	unsigned n_watchers;
	TAILQ_HEAD(, um_node_conn) nodes;
	TAILQ_HEAD(, um_log_stream) streams;
	struct um_metrics metrics;
	struct um_event_ttl *event_ttl;
	struct um_service_allocs *services;
	struct um_node_changes *changes;
};

/* ---- server.c ---- */
struct um_areq *um_areq_ref(struct um_areq *rq);
void um_areq_unref(struct um_areq *rq);
struct um_store *um_api_store(const struct um_api *api, const struct um_kind *kind);
int64_t um_api_wall(const struct um_api *api);
const char *um_api_now(const struct um_api *api, char buf[UM_TIME_LEN]);

/* ---- router.c ---- */
/* 0; -ENOENT (no such path), -ENOTSUP (the path exists, the method does not fit). */
int um_route(struct um_areq *rq);
/* "plural.group/version" of a path that names a resource which is none here; else NULL. */
const char *um_route_missing(struct um_areq *rq);
/* Whether a path is a fixed page, which is put into @rt. */
bool um_route_is_page(struct um_route *rt, const char *path);
/* Adds the paths of all fixed pages to @list. */
void um_route_pages(struct um_json *list, struct um_arena *a);

/* ---- auth.c ---- */
/* 0 or -EACCES: nobody. */
int um_authenticate(struct um_areq *rq);
/* Whether the client may do what its path says. */
bool um_may(struct um_areq *rq);
/* Whether a pod names the ConfigMap or Secret, as @kind says. */
bool um_pod_refers(const struct um_json *pod, const char *kind, const char *name);
/* True, or it has answered 403. */
bool um_authorize(struct um_areq *rq);

/* ---- token_request.c ---- */
/* The same by a token instead of a certificate. */
int um_token_authenticate(struct um_areq *rq, const char *token);

/* ---- status.c: each ends the request ---- */
struct um_status {
	int code;
	const char *reason;
	const char *message;
	const struct um_cause *causes;
	const char *name, *uid;
	const struct um_kind *kind;
	const char *cont; /* of a list that has expired: where another one may go on */
	int retry_after;
	bool plural; /* details.kind is the resource, as Kubernetes has it for all but 422 */
};
struct um_json *um_status_tree(struct um_arena *a, const struct um_status *s);
void um_answer_status(struct um_areq *rq, const struct um_status *s);
void um_answer_error(struct um_areq *rq, const struct um_error *err);
void um_answer_bad_request(struct um_areq *rq, const char *fmt, ...) um_printf(2, 3);
void um_answer_not_found(struct um_areq *rq, const struct um_kind *kind, const char *name);
void um_answer_conflict(struct um_areq *rq, const char *name, const char *why);
void um_answer_invalid(struct um_areq *rq, const char *name, const struct um_causes *causes);
void um_answer_forbidden(struct um_areq *rq, const char *why);
void um_answer_gone(struct um_areq *rq, const char *why);
/* A list or watch whose parameter @field cannot be had: 422. @reason: "FieldValueForbidden", ... */
void um_answer_bad_list_option(struct um_areq *rq, const char *reason, const char *field,
			       const char *message);
/* resourceVersion is newer than what there is: 504, to be asked again. */
void um_answer_too_new(struct um_areq *rq, int64_t asked, int64_t now);
void um_answer_success(struct um_areq *rq, const char *name, const char *uid);
void um_answer_no_memory(struct um_areq *rq);
/* A store's refusal of a write; @creating: a failed compare means that the object exists. */
void um_answer_store_error(struct um_areq *rq, const struct um_error *err, bool creating);
/* Any answer: JSON text. */
void um_answer_json(struct um_areq *rq, int code, const struct um_json *tree);
void um_answer_text(struct um_areq *rq, int code, const char *type, const void *data, size_t len);
/* "pods", "deployments.apps". */
const char *um_resource_text(const struct um_kind *k, struct um_arena *a);

/* ---- view.c ---- */
/* What the client wants by its Accept field. 0, or -ENOTSUP: nothing that is spoken here. */
int um_view_negotiate(struct um_areq *rq);
/* One object in the wanted form. */
void um_answer_object(struct um_areq *rq, int code, const struct um_bytes *b, int64_t rev);
/* A row of a Table. */
struct um_json *um_view_row(struct um_areq *rq, struct um_json *obj, struct um_arena *a);
struct um_json *um_view_partial(struct um_json *obj, struct um_arena *a);
struct um_json *um_view_table(struct um_areq *rq, struct um_arena *a, bool columns);

/* ---- select.c ---- */
struct um_selector;
/* NULL when @labels and @fields are empty or absent: everything. 0, -EINVAL, -ENOMEM. */
int um_selector_parse(struct um_arena *a, const struct um_kind *kind, const char *labels,
		      const char *fields, struct um_selector **ret, struct um_error *err);
bool um_selector_match(const struct um_selector *s, const struct um_json *obj);
/* The value that a field selector demands ("spec.nodeName=x"); NULL when it demands none. */
const char *um_selector_field(const struct um_selector *s, const char *path);

/* ---- handlers ---- */
void um_handle_get(struct um_areq *rq);
void um_handle_list(struct um_areq *rq);
void um_handle_watch(struct um_areq *rq);
void um_handle_create(struct um_areq *rq);
void um_handle_update(struct um_areq *rq);
void um_handle_patch(struct um_areq *rq);
void um_handle_delete(struct um_areq *rq);
void um_handle_delete_collection(struct um_areq *rq);
void um_handle_binding(struct um_areq *rq);
void um_handle_scale(struct um_areq *rq);
void um_handle_token(struct um_areq *rq);
void um_handle_review(struct um_areq *rq);
void um_handle_log(struct um_areq *rq);
void um_handle_health(struct um_areq *rq);
void um_handle_version(struct um_areq *rq);
void um_handle_metrics(struct um_areq *rq);
void um_handle_openapi(struct um_areq *rq);
void um_handle_paths(struct um_areq *rq);
void um_handle_issuer(struct um_areq *rq);
void um_handle_jwks(struct um_areq *rq);
void um_handle_discovery(struct um_areq *rq);
void um_handle_node_control(struct um_areq *rq);
void um_handle_stream(struct um_areq *rq);

/* ---- query.c ---- */
/* dryRun, fieldValidation, fieldManager. False: it has answered. */
bool um_query_write_opts(struct um_areq *rq);
bool um_query_bool(const struct um_areq *rq, const char *key);
/* 0, or -EINVAL; absent or empty leaves @ret. */
int um_query_i64(const struct um_areq *rq, const char *key, int64_t *ret);
/* Text of its JSON, YAML or protobuf body in the arena's reach. -1: none of them. */
int um_body_encoding(const struct um_areq *rq);

/* ---- patch.c ---- */
const struct um_kind *um_scale_kind(void);
/* The Scale in front of an object that has one; NULL: out of memory. */
struct um_json *um_scale_of(const struct um_json *obj, struct um_arena *a);

/* ---- write.c ---- */
/* The body as an object of @kind. False: it has answered. */
bool um_decode_body(struct um_areq *rq, const struct um_kind *kind, struct um_json **ret);
/* Tells the client what was dropped from its body. */
void um_warn(struct um_areq *rq, const struct um_causes *problems);
/* The common end of all changes of an object; @old has its resourceVersion. */
void um_finish_update(struct um_areq *rq, struct um_json *obj, struct um_json *old, int64_t rev);
/* Stores @obj (NULL: deletes the key), expecting @expect (0: absent), and answers with @code. */
void um_commit(struct um_areq *rq, const struct um_kind *kind, const char *ns, const char *name,
	       int64_t expect, struct um_json *obj, int code);
/* The end of a change that changes nothing: @obj is as it is stored at @rev. */
void um_commit_nothing(struct um_areq *rq, struct um_json *obj, int64_t rev);
/* The revision at which readers see the key of the request's kind; 0: they do not see it. */
int64_t um_durable_rev(const struct um_areq *rq, const char *key);
/* The object of the request's path at the head that writes are checked against. Its revision, and
 * @ret_rev, are for compares only: a client never sees them. False: answered. */
bool um_load_target(struct um_areq *rq, struct um_json **ret, int64_t *ret_rev);

/* ---- meta.c ---- */
/* Five random characters that make no words, behind the prefix. NULL: out of memory. */
const char *um_meta_generate_name(struct um_arena *a, const char *prefix);
/* Of a new object; takes away what a creator cannot say. Out of memory is seen in the arena. */
void um_meta_new(const struct um_api *api, const struct um_kind *kind, struct um_json *meta,
		 struct um_arena *a);
void um_meta_forget_foreign(struct um_json *meta);
/* More than metadata and status has changed: one up. */
void um_meta_count_generation(const struct um_kind *kind, struct um_json *obj,
			      const struct um_json *old, struct um_arena *a);

/* ---- remove.c ---- */
enum um_removal { UM_REMOVE_NOW, UM_REMOVE_MARK, UM_REMOVE_ALREADY };
/* What a deletion does to @obj: it may go at once, or is marked (changed in place), or is marked
 * already. @grace_s < 0: the object's own. */
enum um_removal um_plan_removal(const struct um_kind *kind, struct um_json *obj,
				enum um_propagation policy, int64_t grace_s, int64_t wall_ns,
				struct um_arena *a);
/* Marked for deletion, and nothing holds it any more. */
bool um_removal_complete(const struct um_kind *kind, const struct um_json *obj);

/* ---- pod.c ---- */
void um_pod_admit(struct um_json *pod, struct um_arena *a);

/* ---- pod_account.c ---- */
/* Mounts the account's token in a new pod that has been through um_pod_admit(). -EACCES: there is
 * no such account; -ENOMEM. */
um_must_check int um_pod_admit_account(struct um_api *api, struct um_json *pod, struct um_arena *a,
				       struct um_error *err);

/* ---- watch.c ---- */
void um_frames_release(struct um_api *api);

/* ---- event_ttl.c: events are forgotten an hour after their last change ---- */
um_must_check int um_event_ttl_new(struct um_api *api, struct um_event_ttl **ret,
				   struct um_error *err);
void um_event_ttl_free(struct um_event_ttl *t); /* accepts NULL */
void um_event_ttl_housekeeping(struct um_event_ttl *t);

/* ---- metrics.c ---- */
void um_metrics_note(struct um_areq *rq, int code);

/* ---- node_changes.c ---- */
um_must_check int um_node_changes_new(struct um_api *api, struct um_node_changes **ret,
				      struct um_error *err);
void um_node_changes_free(struct um_node_changes *c); /* accepts NULL */

/* ---- node_streams.c ---- */
/* Sends a message on the node's control channel, if it has one. */
void um_node_tell(struct um_api *api, const char *node, const struct um_json *msg);
void um_node_streams_release(struct um_api *api);

#endif
