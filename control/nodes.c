#include "control/nodes.h"

#include <string.h>

#include "api/server.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/nodes_internal.h"
#include "control/podset.h"
#include "control/queue.h"
#include "wire/loop.h"

#define WHO "node-controller"
#define LEASE_NS "kube-node-lease"
#define GRACE_NS (40 * UM_NSEC_PER_SEC)
#define AGAIN_NS 1
/* Pods changed in one look; more come with the next. */
enum { PODS_PER_LOOK = 16 };

/* ---- what is known of nodes ---- */

struct nodes_node *nodes_find(const struct um_nodes *s, const char *name)
{
	struct nodes_node *n;

	HASH_FIND_STR(s->nodes, name, n);
	return n;
}

static struct nodes_node *find_or_make(struct um_nodes *s, const char *name)
{
	struct nodes_node *n = nodes_find(s, name);

	if (n)
		return n;
	n = calloc(1, sizeof(*n) + strlen(name) + 1);
	if (n) {
		strcpy(n->name, name);
		n->seen_ns = n->gone_ns = um_loop_now(s->ctl->loop);
		HASH_ADD_STR(s->nodes, name, n);
		if (!n->hh.tbl) {
			free(n);
			n = NULL;
		}
	}
	if (!n)
		um_log(UM_LOG_ERROR, "nodes: out of memory", UM_LOG_STR("node", name));
	return n;
}

static void drop_node(struct um_nodes *s, struct nodes_node *n)
{
	HASH_DEL(s->nodes, n);
	free(n);
}

/* ---- a node that is silent ---- */

static void set_unknown(struct um_nodes *s, struct um_json *node, struct um_arena *a)
{
	static const char *const types[] = {"Ready", "MemoryPressure", "DiskPressure",
					    "PIDPressure"};
	struct um_json *status = um_json_ensure_obj(a, node, "status"), *c;
	char now[UM_TIME_LEN];

	um_time_format(um_clock_wall(um_loop_clock(s->ctl->loop)), now);
	for (size_t i = 0; i < UM_ARRAY_LEN(types); i++) {
		bool had = um_ctl_condition(status, types[i]);

		c = um_ctl_condition(status, types[i]);
		if (c && !strcmp(um_json_get_str(c, "status", ""), "Unknown"))
			continue;
		um_ctl_set_condition(s->ctl, a, status, types[i], "Unknown",
				     had ? "NodeStatusUnknown" : "NodeStatusNeverUpdated",
				     had ? "Kubelet stopped posting node status."
					 : "Kubelet never posted node status.",
				     false);
		if (!had)
			um_json_set_str(a, um_ctl_condition(status, types[i]), "lastHeartbeatTime",
					now);
	}
}

static const char *readiness(const struct um_json *node)
{
	return um_json_get_str(um_ctl_condition(um_json_get(node, "status"), "Ready"), "status",
			       "");
}

/* 0 or a negative errno. */
static int set_not_ready(struct um_nodes *s, const struct um_pod *p, struct um_arena *a,
			 const char *node)
{
	struct um_json *old = NULL, *pod, *status;
	int64_t rev;
	int r = um_api_load(s->ctl->api, s->pods, p->ns, p->name, a, &old, &rev);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	pod = um_json_copy(a, old);
	status = um_json_ensure_obj(a, pod, "status");
	if (um_json_streq(um_json_get(um_ctl_condition(status, "Ready"), "status"), "True")) {
		um_ctl_set_condition(s->ctl, a, status, "Ready", "False", "NodeNotReady",
				     "the node cannot be reached", false);
		um_ctl_event(s->ctl, old, WHO, "Warning", "NodeNotReady", "Node is not ready");
	}
	if (um_arena_failed(a))
		return -ENOMEM;
	return um_ctl_update(s->ctl, s->queue, node, s->pods, pod, old, rev, a, NULL);
}

/* Services must not lead to them. A negative errno, AGAIN_NS, or 0: all are done. */
static int64_t mark_pods(struct um_nodes *s, const char *node)
{
	int n = 0;

	for (struct um_pod *p = um_podset_first_on(s->ctl->pods, node); p;
	     p = um_podset_next_on(p)) {
		_cleanup_arena_ struct um_arena *a = NULL;
		int r;

		if (!p->ready || p->assumed)
			continue;
		if (n++ == PODS_PER_LOOK)
			return AGAIN_NS;
		a = um_arena_new(UM_OBJECT_ARENA_MAX);
		r = a ? set_not_ready(s, p, a, node) : -ENOMEM;
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- a node that has gone ---- */

static int64_t remove_pods(struct um_nodes *s, const char *node)
{
	struct um_api_removal how = {.at_once = true};
	int n = 0;

	for (struct um_pod *p = um_podset_first_on(s->ctl->pods, node); p;
	     p = um_podset_next_on(p)) {
		void *w;
		int r;

		if (p->assumed)
			continue;
		if (n++ == PODS_PER_LOOK)
			return AGAIN_NS;
		how.uid = p->uid;
		w = um_ctl_write(s->ctl, s->queue, node);
		r = w ? um_api_remove_by(s->ctl->api, s->pods, p->ns, p->name, &how, um_ctl_written,
					 w)
		      : -ENOMEM;
		if (r <= 0)
			um_ctl_drop_write(w);
		if (r < 0)
			return r;
	}
	return 0;
}

static int64_t look_at_gone(struct um_nodes *s, const char *name)
{
	struct nodes_node *n = find_or_make(s, name);
	int64_t left, r;

	if (!n)
		return -ENOMEM;
	left = n->gone_ns + GRACE_NS - um_loop_now(s->ctl->loop);
	if (n->exists) /* the news of its end is under way */
		return 0;
	if (left > 0 && um_podset_first_on(s->ctl->pods, name))
		return left;
	r = remove_pods(s, name);
	if (r)
		return r;
	r = um_api_remove(s->ctl->api, s->leases, LEASE_NS, name, NULL, NULL);
	drop_node(s, n);
	return r < 0 ? r : 0;
}

/* ---- a look ---- */

static int64_t update(struct um_nodes *s, const char *name, struct um_json *node,
		      const struct um_json *old, int64_t rev, struct um_arena *a)
{
	int r = um_arena_failed(a)
			? -ENOMEM
			: um_ctl_update(s->ctl, s->queue, name, s->kind, node, old, rev, a, NULL);

	if (r > 0 && !strcmp(readiness(old), "True") && strcmp(readiness(node), "True"))
		um_ctl_event(s->ctl, old, WHO, "Normal", "NodeNotReady",
			     "Node %s status is now: NodeNotReady", name);
	return r < 0 ? r : 0;
}

static int64_t look_at(struct um_nodes *s, const char *name, const struct um_json *old, int64_t rev,
		       struct um_arena *a)
{
	struct nodes_node *n = find_or_make(s, name);
	struct um_json *node = um_json_copy(a, old);
	int64_t left, r;

	if (!n || !node)
		return -ENOMEM;
	left = n->seen_ns + GRACE_NS - um_loop_now(s->ctl->loop);
	if (left <= 0)
		set_unknown(s, node, a);
	nodes_set_taints(s, node, a);
	r = update(s, name, node, old, rev, a);
	if (r == 0 && !strcmp(readiness(node), "Unknown"))
		r = mark_pods(s, name);
	if (r)
		return r;
	return left > 0 ? left : 0; /* else the next sign of life brings us back */
}

static int64_t on_look(void *arg, const char *name)
{
	struct um_nodes *s = arg;
	_cleanup_arena_ struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	struct um_json *node = NULL;
	int64_t rev;
	int r = a ? um_api_load(s->ctl->api, s->kind, NULL, name, a, &node, &rev) : -ENOMEM;

	if (r == -ENOENT)
		return look_at_gone(s, name);
	return r < 0 ? r : look_at(s, name, node, rev, a);
}

/* ---- signs of life ---- */

static void alive(struct um_nodes *s, struct nodes_node *n)
{
	n->seen_ns = um_loop_now(s->ctl->loop);
	um_queue_add_after(s->queue, n->name, GRACE_NS);
}

static void on_lease(void *arg, const struct um_store_event *ev)
{
	struct um_nodes *s = arg;
	struct nodes_node *n = nodes_find(s, ev->key + strlen(s->lease_prefix));
	_cleanup_arena_ struct um_arena *a = NULL;
	const struct um_json *lease;
	const char *text;
	uint64_t said;

	if (!n || !ev->value)
		return;
	a = um_arena_new(UM_OBJECT_ARENA_MAX);
	lease = a ? um_object_parse(ev->value, 0, a) : NULL;
	text = um_json_get_str(lease, "spec.renewTime", "");
	said = um_hash_bytes(text, strlen(text));
	if (*text && said != n->lease_said)
		alive(s, n);
	n->lease_said = said;
}

/* Who writes the condition lives, too. */
static void hear(struct um_nodes *s, struct nodes_node *n, const struct um_json *node)
{
	const struct um_json *c = um_ctl_condition(um_json_get(node, "status"), "Ready");
	char text[200];
	int len = snprintf(text, sizeof(text), "%s %.100s", um_json_get_str(c, "status", ""),
			   um_json_get_str(c, "lastHeartbeatTime", ""));
	uint64_t said = um_hash_bytes(text, (size_t)len);

	if (c && said != n->node_said && strcmp(um_json_get_str(c, "status", ""), "Unknown"))
		alive(s, n);
	n->node_said = said;
}

static void count(struct um_nodes *s, struct nodes_node *n, const struct um_json *node)
{
	bool all_down = nodes_all_down(s);
	struct nodes_node *it, *tmp;

	s->existing = s->existing - n->exists + !!node;
	s->ready -= n->ready;
	n->exists = node;
	n->ready = !strcmp(readiness(node), "True");
	s->ready += n->ready;
	if (nodes_all_down(s) == all_down)
		return;
	um_log(UM_LOG_INFO,
	       all_down ? "a node is ready: pods of those that are not are driven out again"
			: "no node is ready: no pod is driven out for that",
	       UM_LOG_I64("nodes", s->existing));
	HASH_ITER (hh, s->nodes, it, tmp)
		um_queue_add(s->queue, it->name);
}

static void see_node(struct um_nodes *s, const char *full_key, const struct um_bytes *value)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	struct um_json *node = a && value ? um_object_parse(value, 0, a) : NULL;
	struct nodes_node *n = find_or_make(s, full_key + strlen(s->prefix));
	uint64_t taints = nodes_hash_taints(node);

	if (!n)
		return;
	um_queue_add(s->queue, n->name);
	if (value && !n->exists)
		n->seen_ns = um_loop_now(s->ctl->loop);
	if (!value && n->exists)
		n->gone_ns = um_loop_now(s->ctl->loop);
	count(s, n, node);
	if (node)
		hear(s, n, node);
	if (taints == n->taints)
		return;
	n->taints = taints;
	for (struct um_pod *p = um_podset_first_on(s->ctl->pods, n->name); p;
	     p = um_podset_next_on(p))
		um_queue_add(s->evictions, p->key);
}

static void on_node(void *arg, const struct um_store_event *ev)
{
	see_node(arg, ev->key, ev->value);
}

static bool on_existing(void *arg, const struct um_store_kv *kv)
{
	see_node(arg, kv->key, kv->value);
	return true;
}

static void on_pod(void *arg, const struct um_pod *old, const struct um_pod *now)
{
	struct um_nodes *s = arg;
	struct nodes_node *n;

	if (!now) {
		nodes_evict_forget(s, old->key);
		return;
	}
	if (!*now->node)
		return;
	n = nodes_find(s, now->node);
	if (!n || !n->exists)
		um_queue_add(s->queue, now->node);
	else if (n->taints)
		um_queue_add(s->evictions, now->key);
}

/* ---- life ---- */

static int follow(struct um_nodes *s, struct um_error *err)
{
	struct um_ctl *c = s->ctl;
	int r = um_object_key(s->prefix, s->kind, NULL, NULL);

	if (r == 0)
		r = um_object_key(s->lease_prefix, s->leases, LEASE_NS, NULL);
	if (r == 0)
		r = um_queue_new(c->loop, on_look, s, &s->queue, err);
	if (r == 0)
		r = nodes_evict_new(s, err);
	if (r == 0)
		r = um_podset_subscribe(c->pods, on_pod, s);
	if (r == 0)
		r = um_store_watch_new(c->durable, s->prefix, um_store_rev(c->durable), on_node, s,
				       &s->node_watch, err);
	if (r == 0)
		r = um_store_watch_new(c->volatile_, s->lease_prefix, um_store_rev(c->volatile_),
				       on_lease, s, &s->lease_watch, err);
	if (r < 0)
		return r;
	um_store_list(c->durable, s->prefix, NULL, on_existing, s);
	for (struct um_pod *p = um_podset_first(c->pods); p; p = um_podset_next(p))
		on_pod(s, NULL, p);
	return 0;
}

int um_nodes_new(struct um_ctl *c, struct um_nodes **ret, struct um_error *err)
{
	struct um_nodes *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return um_error_set(err, -ENOMEM, "nodes: out of memory");
	s->ctl = c;
	s->kind = um_schema_find_resource("", "v1", "nodes");
	s->pods = um_schema_find_resource("", "v1", "pods");
	s->leases = um_schema_find_resource("coordination.k8s.io", "v1", "leases");
	r = s->kind && s->pods && s->leases
		    ? follow(s, err)
		    : um_error_set(err, -EINVAL, "the schema has no nodes or leases");
	if (r < 0) {
		um_nodes_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void um_nodes_free(struct um_nodes *s)
{
	struct nodes_node *n, *tmp;

	if (!s)
		return;
	um_store_watch_free(s->node_watch);
	um_store_watch_free(s->lease_watch);
	um_queue_free(s->queue);
	nodes_evict_free(s);
	HASH_ITER (hh, s->nodes, n, tmp)
		drop_node(s, n);
	free(s);
}
