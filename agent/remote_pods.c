/* The node's pods: list, watch, and what became of them back to the server. */
#include "agent/remote_internal.h"

#include <string.h>

#include "base/log.h"
#include "wire/loop.h"

#define RETRY_FIRST_NS (200 * UM_NSEC_PER_MSEC)
#define RETRY_MOST_NS (10 * UM_NSEC_PER_SEC)
#define WATCH_SECONDS 300
#define LINE_MAX_BYTES (8u << 20)

/* ---- out: statuses, newest only, one request a pod at a time ---- */

struct outbox {
	UT_hash_handle hh;
	struct um_remote *r;
	char uid[64];
	char *ns, *name;
	char *next;    /* the newest status that the server has not got, or NULL */
	unsigned sent; /* which of them is under way */
	unsigned newest;
	bool gone; /* then: tell that nothing of it is left */
	bool busy, sending_gone;
	bool forgotten; /* the server has no such pod any more: freed with the answer */
	struct um_timer *retry;
};

static void send_next(struct outbox *o);

static void free_outbox(struct outbox *o)
{
	HASH_DELETE(hh, o->r->outbox, o);
	um_timer_free(o->retry);
	free(o->ns);
	free(o->name);
	free(o->next);
	free(o);
}

static void on_retry(void *arg)
{
	send_next(arg);
}

static struct outbox *get_outbox(struct um_remote *r, const char *ns, const char *name,
				 const char *uid)
{
	struct outbox *o;

	HASH_FIND_STR(r->outbox, uid, o);
	if (o)
		return o;
	o = calloc(1, sizeof(*o));
	if (!o)
		return NULL;
	o->r = r;
	snprintf(o->uid, sizeof(o->uid), "%s", uid);
	o->ns = strdup(ns);
	o->name = strdup(name);
	o->retry = um_timer_new(r->loop, on_retry, o);
	if (!o->ns || !o->name || !o->retry) {
		free(o->ns);
		free(o->name);
		um_timer_free(o->retry);
		free(o);
		return NULL;
	}
	HASH_ADD_STR(r->outbox, uid, o);
	return o;
}

static void on_sent(void *arg, int status, um_unused const struct um_json *obj,
		    const struct um_error *err)
{
	struct outbox *o = arg;
	bool again = err && status != 404 && status != 409 && status != 403 && status != 422;

	o->busy = false;
	if (o->r->closing)
		return;
	if (o->forgotten) {
		free_outbox(o);
		return;
	}
	if (err && status == 422)
		um_log(UM_LOG_ERROR, "pod status refused", UM_LOG_STR("pod", o->name),
		       UM_LOG_ERR(err));
	if (again) {
		um_timer_start(o->retry, UM_NSEC_PER_SEC);
		return;
	}
	if (o->sending_gone) {
		free_outbox(o);
		return;
	}
	if (o->sent == o->newest)
		free(TAKE_PTR(o->next));
	send_next(o);
}

static int send_status(struct outbox *o, struct um_arena *a)
{
	struct um_json *patch = um_json_new_obj(a), *st = NULL;
	char target[800];

	if (um_json_parse(a, o->next, strlen(o->next), NULL, &st, NULL) < 0)
		return -EINVAL;
	um_json_set_str(a, um_json_ensure_obj(a, patch, "metadata"), "uid", o->uid);
	um_json_set(a, patch, "status", st);
	snprintf(target, sizeof(target), "/api/v1/namespaces/%s/pods/%s/status", o->ns, o->name);
	return um_arena_failed(a) ? -ENOMEM
				  : remote_call(o->r, "PATCH", target,
						"application/merge-patch+json", patch, on_sent, o);
}

static int send_gone(struct outbox *o, struct um_arena *a)
{
	struct um_json *body = um_json_new_obj(a);
	char target[800];

	um_json_set_str(a, body, "apiVersion", "v1");
	um_json_set_str(a, body, "kind", "DeleteOptions");
	um_json_set_i64(a, body, "gracePeriodSeconds", 0);
	um_json_set_str(a, um_json_ensure_obj(a, body, "preconditions"), "uid", o->uid);
	snprintf(target, sizeof(target), "/api/v1/namespaces/%s/pods/%s", o->ns, o->name);
	return um_arena_failed(a)
		       ? -ENOMEM
		       : remote_call(o->r, "DELETE", target, "application/json", body, on_sent, o);
}

static void send_next(struct outbox *o)
{
	_cleanup_arena_ struct um_arena *a = NULL;
	int code;

	if (o->busy || o->r->closing || um_timer_running(o->retry))
		return;
	if (!o->next && !o->gone)
		return;
	a = um_arena_new(8 << 20);
	o->sent = o->newest;
	o->sending_gone = !o->next;
	code = !a ? -ENOMEM : o->next ? send_status(o, a) : send_gone(o, a);
	if (code < 0)
		um_timer_start(o->retry, UM_NSEC_PER_SEC);
	else
		o->busy = true;
}

void remote_status(void *ctx, const char *ns, const char *name, const char *uid,
		   const struct um_json *status)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	struct um_remote *r = ctx;
	struct outbox *o = get_outbox(r, ns, name, uid);

	if (!o || um_json_write(&b, status) < 0)
		return;
	free(o->next);
	o->next = um_buf_steal(&b, NULL);
	o->newest++;
	send_next(o);
}

void remote_gone(void *ctx, const char *ns, const char *name, const char *uid)
{
	struct outbox *o = get_outbox(ctx, ns, name, uid);

	if (!o)
		return;
	o->gone = true;
	send_next(o);
}

/* ---- in: list and watch ---- */

static void start_list(struct um_remote *r);

static void retry_pods(struct um_remote *r)
{
	if (r->closing)
		return;
	r->pods_retry_ns = r->pods_retry_ns ? r->pods_retry_ns * 2 : RETRY_FIRST_NS;
	if (r->pods_retry_ns > RETRY_MOST_NS)
		r->pods_retry_ns = RETRY_MOST_NS;
	um_timer_start(r->pods_timer, r->pods_retry_ns);
}

static void pod_gone(struct um_remote *r, const char *uid)
{
	struct outbox *o;

	um_agent_pod_remove(r->agent, uid);
	HASH_FIND_STR(r->outbox, uid, o);
	if (o && o->busy)
		o->forgotten = true;
	else if (o)
		free_outbox(o);
}

static void take_pod(struct um_remote *r, const struct um_json *pod)
{
	struct um_error err = UM_ERROR_INIT;

	if (um_agent_pod_put(r->agent, pod, &err) < 0)
		um_log(UM_LOG_ERROR, "pod from the server", UM_LOG_ERR(&err));
}

static void on_line(void *arg, const char *line, size_t len)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(LINE_MAX_BYTES * 4);
	struct um_remote *r = arg;
	struct um_json *ev, *obj;
	const char *type;

	if (!a || um_json_parse(a, line, len, NULL, &ev, NULL) < 0)
		return;
	type = um_json_get_str(ev, "type", "");
	obj = um_json_get(ev, "object");
	if (!strcmp(type, "ERROR")) { /* compacted, most likely: all from the start */
		r->pods_rev[0] = '\0';
		return;
	}
	snprintf(r->pods_rev, sizeof(r->pods_rev), "%s",
		 um_json_get_str(obj, "metadata.resourceVersion", r->pods_rev));
	if (!strcmp(type, "DELETED"))
		pod_gone(r, um_json_get_str(obj, "metadata.uid", ""));
	else if (!strcmp(type, "ADDED") || !strcmp(type, "MODIFIED"))
		take_pod(r, obj);
}

static void on_watch_head(void *arg, um_unused const struct um_http1_head *head)
{
	((struct um_remote *)arg)->pods_retry_ns = 0;
}

static void on_watch_done(void *arg, const struct um_http_result *res)
{
	struct um_remote *r = arg;

	r->watch_call = NULL;
	if (res->status == 410)
		r->pods_rev[0] = '\0';
	retry_pods(r);
}

static void start_watch(struct um_remote *r)
{
	struct um_http_call_opts o = {
		.method = "GET",
		.close = true,
		.line_max = LINE_MAX_BYTES,
		.on_head = on_watch_head,
		.on_line = on_line,
		.on_done = on_watch_done,
		.idle_timeout_ns = (WATCH_SECONDS + 30) * UM_NSEC_PER_SEC,
		.arg = r,
	};
	char target[600];

	snprintf(
		target, sizeof(target),
		"/api/v1/pods?fieldSelector=spec.nodeName%%3D%s&watch=true&allowWatchBookmarks=true"
		"&timeoutSeconds=%d&resourceVersion=%s",
		r->opt.node_name, WATCH_SECONDS, r->pods_rev);
	o.target = target;
	if (um_http_call_start(r->client, &o, &r->watch_call, NULL) < 0)
		retry_pods(r);
}

/* Pods that the list does not name are gone. */
static void drop_unlisted(struct um_remote *r, const struct um_json *items)
{
	struct agent_pod *p, *tmp;

	HASH_ITER (hh, r->agent->pods, p, tmp) {
		bool listed = p->is_static;

		um_json_foreach (it, items)
			listed |= !strcmp(um_json_get_str(it, "metadata.uid", ""), p->uid);
		if (!listed)
			pod_gone(r, p->uid);
	}
}

static void on_listed(void *arg, um_unused int status, const struct um_json *obj,
		      const struct um_error *err)
{
	struct um_remote *r = arg;
	const struct um_json *items = um_json_get(obj, "items");

	if (err || !um_json_is(items, UM_JSON_ARR)) {
		retry_pods(r);
		return;
	}
	r->pods_retry_ns = 0;
	snprintf(r->pods_rev, sizeof(r->pods_rev), "%s",
		 um_json_get_str(obj, "metadata.resourceVersion", ""));
	um_json_foreach (it, items)
		take_pod(r, it);
	drop_unlisted(r, items);
	um_agent_source_synced(r->agent);
	start_watch(r);
}

static void start_list(struct um_remote *r)
{
	char target[400];

	snprintf(target, sizeof(target), "/api/v1/pods?fieldSelector=spec.nodeName%%3D%s",
		 r->opt.node_name);
	if (remote_call(r, "GET", target, NULL, NULL, on_listed, r) < 0)
		retry_pods(r);
}

static void on_pods_timer(void *arg)
{
	struct um_remote *r = arg;

	if (r->pods_rev[0])
		start_watch(r);
	else
		start_list(r);
}

void remote_pods_start(struct um_remote *r)
{
	r->pods_timer = um_timer_new(r->loop, on_pods_timer, r);
	if (r->pods_timer)
		um_timer_start(r->pods_timer, 0);
}

void remote_pods_stop(struct um_remote *r)
{
	struct outbox *o, *tmp;

	HASH_ITER (hh, r->outbox, o, tmp)
		free_outbox(o);
	um_timer_free(TAKE_PTR(r->pods_timer));
}
