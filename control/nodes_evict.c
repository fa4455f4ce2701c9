#include <inttypes.h>
#include <string.h>

#include "api/server.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/nodes_internal.h"
#include "control/podset.h"
#include "control/queue.h"
#include "wire/loop.h"

#define WHO "taint-eviction-controller"

static struct nodes_eviction *find(const struct um_nodes *s, const char *key)
{
	struct nodes_eviction *e;

	HASH_FIND_STR(s->tolerated, key, e);
	return e;
}

static void drop(struct um_nodes *s, struct nodes_eviction *e)
{
	if (!e)
		return;
	HASH_DEL(s->tolerated, e);
	free(e);
}

void nodes_evict_forget(struct um_nodes *s, const char *pod_key)
{
	drop(s, find(s, pod_key));
}

/* Since when this pod bears the taints of its node. NULL: out of memory. */
static struct nodes_eviction *note(struct um_nodes *s, const char *key, const char *uid)
{
	struct nodes_eviction *e = find(s, key);

	if (e && !strcmp(e->uid, uid))
		return e;
	drop(s, e);
	e = calloc(1, sizeof(*e) + strlen(key) + 1);
	if (!e)
		return NULL;
	strcpy(e->key, key);
	snprintf(e->uid, sizeof(e->uid), "%s", uid);
	e->since_ns = um_loop_now(s->ctl->loop);
	HASH_ADD_STR(s->tolerated, key, e);
	if (!e->hh.tbl) {
		free(e);
		return NULL;
	}
	return e;
}

static int64_t evict(struct um_nodes *s, const char *key, const struct um_json *pod)
{
	const char *ns = um_json_get_str(pod, "metadata.namespace", "");
	const char *name = um_json_get_str(pod, "metadata.name", "");
	struct um_api_removal how = {.uid = um_json_get_str(pod, "metadata.uid", "")};
	void *w = um_ctl_write(s->ctl, s->evictions, key);
	int r = w ? um_api_remove_by(s->ctl->api, s->pods, ns, name, &how, um_ctl_written, w)
		  : -ENOMEM;

	if (r <= 0)
		um_ctl_drop_write(w);
	if (r > 0)
		um_ctl_event(s->ctl, pod, WHO, "Normal", "TaintManagerEviction",
			     "Marking for deletion Pod %s/%s", ns, name);
	return r < 0 ? r : 0;
}

/* The taints of the pod's node; NULL: none that it knows, or out of memory (*ret). */
static const struct um_json *taints_of(struct um_nodes *s, const struct um_json *pod,
				       struct um_arena *a, int *ret)
{
	const char *name = um_json_get_str(pod, "spec.nodeName", "");
	struct um_json *node = NULL;
	int64_t rev;

	*ret = *name ? um_api_load(s->ctl->api, s->kind, NULL, name, a, &node, &rev) : -ENOENT;
	return *ret < 0 || !nodes_hash_taints(node) ? NULL : um_json_path(node, "spec.taints");
}

static void let_stay(struct um_nodes *s, const char *key, const struct um_json *pod)
{
	if (!find(s, key))
		return;
	um_ctl_event(s->ctl, pod, WHO, "Normal", "TaintManagerEviction",
		     "Cancelling deletion of Pod %s", key);
	nodes_evict_forget(s, key);
}

static int64_t on_look(void *arg, const char *key)
{
	struct um_nodes *s = arg;
	_cleanup_arena_ struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	const struct um_json *taints;
	struct nodes_eviction *e;
	struct um_json *pod = NULL;
	struct um_ctl_name n;
	int64_t rev, bear_s, left;
	int r;

	if (!um_ctl_split(key, &n))
		return 0;
	r = a ? um_api_load(s->ctl->api, s->pods, n.ns, n.name, a, &pod, &rev) : -ENOMEM;
	if (r == -ENOENT || (r == 0 && um_json_path(pod, "metadata.deletionTimestamp"))) {
		nodes_evict_forget(s, key);
		return 0;
	}
	taints = r == 0 ? taints_of(s, pod, a, &r) : NULL;
	if (r < 0 && r != -ENOENT)
		return r;
	bear_s = taints ? nodes_tolerated_s(taints, um_json_path(pod, "spec.tolerations")) : -1;
	if (bear_s < 0) {
		let_stay(s, key, pod);
		return 0;
	}
	if (!bear_s)
		return evict(s, key, pod);
	e = note(s, key, um_json_get_str(pod, "metadata.uid", ""));
	if (!e)
		return -ENOMEM;
	if (bear_s > INT64_MAX / UM_NSEC_PER_SEC / 4)
		return 0;
	left = e->since_ns + bear_s * UM_NSEC_PER_SEC - um_loop_now(s->ctl->loop);
	return left > 0 ? left : evict(s, key, pod);
}

int nodes_evict_new(struct um_nodes *s, struct um_error *err)
{
	return um_queue_new(s->ctl->loop, on_look, s, &s->evictions, err);
}

void nodes_evict_free(struct um_nodes *s)
{
	struct nodes_eviction *e, *tmp;

	HASH_ITER (hh, s->tolerated, e, tmp)
		drop(s, e);
	um_queue_free(s->evictions);
}
