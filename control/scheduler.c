#include "control/scheduler.h"

#include <string.h>

#include "api/object.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "control/event.h"
#include "sched/sched.h"
#include "store/store.h"
#include "wire/loop.h"

#define SCHEDULER_NAME "default-scheduler"
#define PODS_PER_TURN 32
#define RETRY_NS                                                                                   \
	(5 * UM_NSEC_PER_SEC) /* what did not fit is looked at again then, or when something       \
			       * changes */

/* A pod that waits for a node, by its key in the store. */
struct waiting {
	UT_hash_handle hh;
	bool parked; /* did not fit: waits for a change */
	char key[];
};

struct um_scheduler {
	struct um_loop *loop;
	struct um_store *durable, *volatile_;
	const struct um_kind *pods, *nodes;
	struct um_sched *sched;
	struct waiting *waiting;
	struct um_store_watch *pod_watch, *node_watch;
	struct um_timer *retry;
	char pod_prefix[UM_OBJECT_KEY_MAX], node_prefix[UM_OBJECT_KEY_MAX];
	bool deferred, dead;
	unsigned in_flight;
};

struct binding {
	struct um_scheduler *s;
	char uid[64];
	char key[];
};

static void kick(struct um_scheduler *s);

static void maybe_free(struct um_scheduler *s)
{
	if (s->dead && !s->deferred && !s->in_flight)
		free(s);
}

/* ---- the queue ---- */

static struct waiting *find(struct um_scheduler *s, const char *key)
{
	struct waiting *w;

	HASH_FIND_STR(s->waiting, key, w);
	return w;
}

static void forget(struct um_scheduler *s, const char *key)
{
	struct waiting *w = find(s, key);

	if (!w)
		return;
	HASH_DEL(s->waiting, w);
	free(w);
}

static void enqueue(struct um_scheduler *s, const char *key)
{
	struct waiting *w = find(s, key);

	if (w) {
		w->parked = false;
	} else {
		w = calloc(1, sizeof(*w) + strlen(key) + 1);
		if (!w) {
			um_timer_start(s->retry, RETRY_NS);
			return;
		}
		strcpy(w->key, key);
		HASH_ADD_STR(s->waiting, key, w);
	}
	kick(s);
}

static void wake_parked(struct um_scheduler *s)
{
	struct waiting *w, *tmp;

	HASH_ITER (hh, s->waiting, w, tmp)
		w->parked = false;
	if (s->waiting)
		kick(s);
}

/* ---- one pod ---- */

static void on_bound(void *arg, um_unused int64_t rev, const struct um_error *err)
{
	struct binding *b = arg;
	struct um_scheduler *s = b->s;

	s->in_flight--;
	if (err && !s->dead) { /* it was assumed to be there: it is not */
		um_sched_pod_remove(s->sched, b->uid);
		enqueue(s, b->key);
	}
	free(b);
	maybe_free(s);
}

static void on_noted(void *arg, um_unused int64_t rev, um_unused const struct um_error *err)
{
	struct um_scheduler *s = arg;

	s->in_flight--;
	maybe_free(s);
}

static struct um_json *find_condition(struct um_json *pod, const char *type)
{
	um_json_foreach (c, um_json_path(pod, "status.conditions"))
		if (!strcmp(um_json_get_str(c, "type", ""), type))
			return c;
	return NULL;
}

/* True when it differs from what was there. */
static bool set_scheduled(struct um_scheduler *s, struct um_arena *a, struct um_json *pod, bool ok,
			  const char *message)
{
	struct um_json *c = find_condition(pod, "PodScheduled"), *status;
	const char *value = ok ? "True" : "False";
	char now[UM_TIME_LEN];

	if (c && !strcmp(um_json_get_str(c, "status", ""), value) &&
	    !strcmp(um_json_get_str(c, "message", ""), message))
		return false;
	um_time_format(um_clock_wall(um_loop_clock(s->loop)), now);
	status = um_json_ensure_obj(a, pod, "status");
	if (!c)
		c = um_json_append(um_json_ensure_arr(a, status, "conditions"), um_json_new_obj(a));
	if (!c)
		return false;
	if (strcmp(um_json_get_str(c, "status", ""), value))
		um_json_set_str(a, c, "lastTransitionTime", now);
	um_json_set_str(a, c, "type", "PodScheduled");
	um_json_set_str(a, c, "status", value);
	um_json_remove(c, "reason");
	um_json_remove(c, "message");
	if (!ok) {
		um_json_set_str(a, c, "reason", "Unschedulable");
		um_json_set_str(a, c, "message", message);
	}
	return true;
}

static int write_pod(struct um_scheduler *s, struct um_arena *a, struct um_json *pod,
		     const struct um_store_kv *kv, const char *key, um_store_done_fn done,
		     void *arg)
{
	struct um_store_compare cmp = {key, kv->mod_rev};
	_cleanup_bytes_ struct um_bytes *bytes = um_object_encode(s->pods, pod, a);
	struct um_store_op op = {key, bytes};
	int r;

	if (!bytes)
		return -ENOMEM;
	r = um_store_txn(s->durable, &cmp, 1, &op, 1, done, arg, NULL);
	if (r == 0)
		s->in_flight++;
	return r;
}

static void bind_pod(struct um_scheduler *s, struct um_arena *a, struct um_json *pod,
		     const struct um_store_kv *kv, const char *key, const char *node)
{
	struct binding *b = calloc(1, sizeof(*b) + strlen(key) + 1);
	char message[700];

	if (!b)
		return;
	b->s = s;
	strcpy(b->key, key);
	snprintf(b->uid, sizeof(b->uid), "%s", um_json_get_str(pod, "metadata.uid", ""));
	um_json_set_str(a, um_json_ensure_obj(a, pod, "spec"), "nodeName", node);
	set_scheduled(s, a, pod, true, "");
	snprintf(message, sizeof(message), "Successfully assigned %s/%s to %s",
		 um_json_get_str(pod, "metadata.namespace", ""),
		 um_json_get_str(pod, "metadata.name", ""), node);
	if (um_arena_failed(a) || um_sched_pod_put(s->sched, pod) < 0 ||
	    write_pod(s, a, pod, kv, key, on_bound, b) < 0) {
		/* Somebody was faster, or the store is full: looked at again. */
		um_sched_pod_remove(s->sched, b->uid);
		free(b);
		um_timer_start(s->retry, RETRY_NS);
		return;
	}
	forget(s, key);
	um_event_record(s->loop, s->volatile_, pod, SCHEDULER_NAME, "Normal", "Scheduled", message);
}

static void park(struct um_scheduler *s, struct um_arena *a, struct um_json *pod,
		 const struct um_store_kv *kv, struct waiting *w, const char *message)
{
	w->parked = true;
	um_timer_start(s->retry, RETRY_NS);
	if (!set_scheduled(s, a, pod, false, message))
		return;
	um_event_record(s->loop, s->volatile_, pod, SCHEDULER_NAME, "Warning", "FailedScheduling",
			message);
	(void)!write_pod(s, a, pod, kv, w->key, on_noted, s);
}

static void schedule_one(struct um_scheduler *s, struct waiting *w)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	struct um_sched_result res;
	struct um_store_kv kv;
	struct um_json *pod;

	if (!a)
		return;
	if (um_store_get_tentative(s->durable, w->key, &kv) < 0 ||
	    !(pod = um_object_parse(kv.value, kv.mod_rev, a)) ||
	    *um_json_get_str(pod, "spec.nodeName", "")) {
		forget(s, w->key);
		return;
	}
	if (um_json_first(um_json_path(pod, "spec.schedulingGates"))) {
		w->parked = true; /* a change of the pod wakes it */
		return;
	}
	if (um_sched_place(s->sched, pod, &res) < 0) {
		w->parked = true;
		um_timer_start(s->retry, RETRY_NS);
		return;
	}
	if (res.node)
		bind_pod(s, a, pod, &kv, w->key, res.node);
	else
		park(s, a, pod, &kv, w, res.message);
}

static void turn(void *arg)
{
	struct um_scheduler *s = arg;
	struct waiting *w, *tmp;
	unsigned n = 0;

	s->deferred = false;
	if (s->dead) {
		maybe_free(s);
		return;
	}
	HASH_ITER (hh, s->waiting, w, tmp) {
		if (w->parked)
			continue;
		if (n++ == PODS_PER_TURN) {
			kick(s);
			return;
		}
		schedule_one(s, w);
	}
}

static void kick(struct um_scheduler *s)
{
	if (!s->deferred && um_loop_defer(s->loop, turn, s) == 0)
		s->deferred = true;
}

static void on_retry(void *arg)
{
	wake_parked(arg);
}

/* ---- what changes ---- */

static bool is_ours(const struct um_json *pod)
{
	const char *phase = um_json_get_str(pod, "status.phase", "Pending");

	return !*um_json_get_str(pod, "spec.nodeName", "") &&
	       !um_json_path(pod, "metadata.deletionTimestamp") && !strcmp(phase, "Pending") &&
	       !strcmp(um_json_get_str(pod, "spec.schedulerName", SCHEDULER_NAME), SCHEDULER_NAME);
}

static void see_pod(struct um_scheduler *s, const char *key, const struct um_bytes *value,
		    int64_t rev)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	struct um_json *pod = a ? um_object_parse(value, rev, a) : NULL;

	if (!pod)
		return;
	if (is_ours(pod)) {
		/* Its own note that it does not fit is no reason to try again. */
		if (!find(s, key))
			enqueue(s, key);
		return;
	}
	forget(s, key);
	if (um_sched_pod_put(s->sched, pod) < 0)
		um_log(UM_LOG_ERROR, "scheduler out of memory");
}

static void on_pod(void *arg, const struct um_store_event *ev)
{
	struct um_scheduler *s = arg;
	_cleanup_arena_ struct um_arena *a = NULL;
	struct um_json *old;

	if (ev->value) {
		see_pod(s, ev->key, ev->value, ev->rev);
		return;
	}
	forget(s, ev->key);
	a = um_arena_new(UM_OBJECT_ARENA_MAX);
	old = a && ev->prev_value ? um_object_parse(ev->prev_value, ev->prev_rev, a) : NULL;
	if (old)
		um_sched_pod_remove(s->sched, um_json_get_str(old, "metadata.uid", ""));
	wake_parked(s);
}

static void see_node(struct um_scheduler *s, const struct um_bytes *value, int64_t rev)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	struct um_json *node = a ? um_object_parse(value, rev, a) : NULL;

	if (node && um_sched_node_put(s->sched, node) < 0)
		um_log(UM_LOG_ERROR, "scheduler out of memory");
	wake_parked(s);
}

static void on_node(void *arg, const struct um_store_event *ev)
{
	struct um_scheduler *s = arg;
	const char *slash = strrchr(ev->key, '/');

	if (ev->value)
		see_node(s, ev->value, ev->rev);
	else if (slash)
		um_sched_node_remove(s->sched, slash + 1);
}

static bool list_pod(void *arg, const struct um_store_kv *kv)
{
	see_pod(arg, kv->key, kv->value, kv->mod_rev);
	return true;
}

static bool list_node(void *arg, const struct um_store_kv *kv)
{
	see_node(arg, kv->value, kv->mod_rev);
	return true;
}

/* ---- life ---- */

int um_scheduler_new(struct um_loop *l, struct um_store *durable, struct um_store *volatile_,
		     struct um_scheduler **ret, struct um_error *err)
{
	struct um_scheduler *s = calloc(1, sizeof(*s));
	int64_t rev = um_store_rev(durable);
	int r = -ENOMEM;

	if (!s)
		return um_error_errno(err, r, "start the scheduler");
	s->loop = l;
	s->durable = durable;
	s->volatile_ = volatile_;
	s->pods = um_schema_find_resource("", "v1", "pods");
	s->nodes = um_schema_find_resource("", "v1", "nodes");
	s->sched = um_sched_new();
	s->retry = um_timer_new(l, on_retry, s);
	if (s->sched && s->retry && s->pods && s->nodes &&
	    um_object_key(s->pod_prefix, s->pods, NULL, NULL) == 0 &&
	    um_object_key(s->node_prefix, s->nodes, NULL, NULL) == 0) {
		um_store_list(durable, s->node_prefix, NULL, list_node, s);
		um_store_list(durable, s->pod_prefix, NULL, list_pod, s);
		r = um_store_watch_new(durable, s->node_prefix, rev, on_node, s, &s->node_watch,
				       err);
		if (r == 0)
			r = um_store_watch_new(durable, s->pod_prefix, rev, on_pod, s,
					       &s->pod_watch, err);
	}
	if (r < 0) {
		um_scheduler_free(s);
		return um_error_wrap(err, r, "start the scheduler");
	}
	*ret = s;
	return 0;
}

void um_scheduler_free(struct um_scheduler *s)
{
	struct waiting *w, *tmp;

	if (!s)
		return;
	um_store_watch_free(s->pod_watch);
	um_store_watch_free(s->node_watch);
	HASH_ITER (hh, s->waiting, w, tmp) {
		HASH_DEL(s->waiting, w);
		free(w);
	}
	um_timer_free(s->retry);
	um_sched_free(s->sched);
	s->dead = true;
	maybe_free(s); /* else the last write's answer does it */
}
