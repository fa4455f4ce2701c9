#ifndef UM_AGENT_REMOTE_INTERNAL_H
#define UM_AGENT_REMOTE_INTERNAL_H

#include <sys/queue.h>

#include "agent/internal.h"
#include "agent/remote.h"
#include "wire/http_client.h"

struct remote_stream;
struct remote_request;

struct um_remote {
	struct um_loop *loop;
	struct um_agent *agent;
	struct um_remote_options opt;
	struct um_tls *tls;
	struct um_http_client *client;
	bool closing;
	LIST_HEAD(, remote_request) requests;
	/* pods: remote_pods.c */
	struct remote_watch *pods;
	struct outbox *outbox; /* statuses to be told, by uid */
	/* for the service proxy: remote_services.c */
	struct remote_watch *services, *slices;
	/* node and lease: remote_node.c */
	struct um_timer *node_timer, *lease_timer;
	bool node_known, lease_known;
	int64_t lease_ns; /* monotonic: last renewed */
	int node_looks;	  /* due with the next renewals */
	int node_round;
	/* control channel: remote_logs.c */
	struct um_timer *control_timer;
	struct um_http_call *control_call;
	struct um_conn *control;
	LIST_HEAD(, remote_stream) streams;
};

/* ---- remote.c: one JSON request ---- */

/* @obj is borrowed for the call; NULL where the body is no JSON or there is an error. @status 0: no
 * response. */
typedef void (*remote_fn)(void *arg, int status, const struct um_json *obj,
			  const struct um_error *err);
/* Sends @body (may be NULL) and calls @fn once: from the loop, or, with -ECANCELED, from
 * um_remote_free(). -ENOMEM, -EINVAL, -ECANCELED: @fn is not called. */
um_must_check int remote_call(struct um_remote *r, const char *method, const char *target,
			      const char *content_type, const struct um_json *body, remote_fn fn,
			      void *arg);

/* ---- remote_watch.c: one kind, listed and watched for ever ---- */

struct remote_watch_events {
	void (*put)(void *arg, const struct um_json *obj);
	void (*gone)(void *arg, const struct um_json *obj);
	/* All of @items have been put: nothing else is there. */
	void (*listed)(void *arg, const struct um_json *items);
};
/* Starts at the next turn. @path "/api/v1/pods", @field_selector escaped, "" for none. NULL: out of
 * memory. */
struct remote_watch *remote_watch_new(struct um_remote *r, const char *path,
				      const char *field_selector,
				      const struct remote_watch_events *ev, void *arg);
void remote_watch_stop(struct remote_watch *w); /* cancels its call; accepts NULL */
void remote_watch_free(struct remote_watch *w); /* once all requests are cancelled; accepts NULL */

/* ---- remote_refs.c: see struct um_agent_source ---- */

void remote_fetch(void *ctx, const char *plural, const char *ns, const char *name,
		  void (*done)(void *arg, const struct um_json *obj, const struct um_error *err),
		  void *arg);
void remote_token(void *ctx, const struct um_json *pod, const char *audience, int64_t seconds,
		  void (*done)(void *arg, const struct um_json *obj, const struct um_error *err),
		  void *arg);

void remote_services_start(struct um_remote *r);
void remote_services_stop(struct um_remote *r);
void remote_node_start(struct um_remote *r);
void remote_node_changed(void *ctx);
void remote_pods_start(struct um_remote *r);
void remote_pods_stop(struct um_remote *r);
void remote_logs_start(struct um_remote *r);
void remote_logs_stop(struct um_remote *r);
void remote_status(void *ctx, const char *ns, const char *name, const char *uid,
		   const struct um_json *status);
void remote_gone(void *ctx, const char *ns, const char *name, const char *uid);

#endif
