/* The node's pods: list, watch, and what became of them back to the server. */
#include "agent/remote_internal.h"

#include <string.h>

#include "base/log.h"
#include "wire/loop.h"

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

static void on_put(void *arg, const struct um_json *pod)
{
	struct um_remote *r = arg;
	struct um_error err = UM_ERROR_INIT;

	if (um_agent_pod_put(r->agent, pod, &err) < 0)
		um_log(UM_LOG_ERROR, "pod from the server", UM_LOG_ERR(&err));
}

static void on_gone(void *arg, const struct um_json *pod)
{
	pod_gone(arg, um_json_get_str(pod, "metadata.uid", ""));
}

/* Pods that the list does not name are gone. */
static void on_listed(void *arg, const struct um_json *items)
{
	struct um_remote *r = arg;
	struct agent_pod *p, *tmp;

	HASH_ITER (hh, r->agent->pods, p, tmp) {
		bool listed = p->is_static;

		um_json_foreach (it, items)
			listed |= !strcmp(um_json_get_str(it, "metadata.uid", ""), p->uid);
		if (!listed)
			pod_gone(r, p->uid);
	}
	um_agent_source_synced(r->agent);
}

void remote_pods_start(struct um_remote *r)
{
	static const struct remote_watch_events events = {on_put, on_gone, on_listed};
	char selector[400];

	snprintf(selector, sizeof(selector), "spec.nodeName%%3D%s", r->opt.node_name);
	r->pods = remote_watch_new(r, "/api/v1/pods", selector, &events, r);
}

void remote_pods_stop(struct um_remote *r)
{
	struct outbox *o, *tmp;

	HASH_ITER (hh, r->outbox, o, tmp)
		free_outbox(o);
	remote_watch_free(TAKE_PTR(r->pods));
}
