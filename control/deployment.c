#include "control/deployment.h"

#include <string.h>

#include "api/server.h"
#include "base/clock.h"
#include "control/deployment_internal.h"
#include "control/owned.h"
#include "control/podset.h"
#include "control/queue.h"
#include "store/store.h"

/* Several pods' news become one look. */
#define SETTLE_NS (2 * UM_NSEC_PER_MSEC)

static int64_t look_at(struct rollout *r)
{
	bool leaving = um_json_path(r->obj, "metadata.deletionTimestamp");
	int e;

	r->uid = um_json_get_str(r->obj, "metadata.uid", "");
	r->wanted = um_json_get_i64(r->obj, "spec.replicas", 1);
	r->paused = um_json_get_bool(r->obj, "spec.paused", false);
	rollout_resolve_bounds(r);
	e = rollout_read_sets(r);
	if (e < 0)
		return e;
	if (!leaving)
		rollout_step(r);
	rollout_write_status(r);
	return r->error ? r->error : r->again_ns;
}

static int64_t on_look(void *arg, const char *key)
{
	struct um_deployments *all = arg;
	_cleanup_arena_ struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	struct rollout r = {.all = all, .a = a, .key = key};
	struct um_ctl_name n;
	int64_t e;

	if (!um_ctl_split(key, &n))
		return 0;
	e = a ? um_api_load(all->ctl->api, all->kind, n.ns, n.name, a, &r.old, &r.rev) : -ENOMEM;
	if (e < 0)
		return e == -ENOENT ? 0 : e;
	r.ns = n.ns;
	r.name = n.name;
	r.obj = um_json_copy(a, r.old);
	e = r.obj ? look_at(&r) : -ENOMEM;
	um_vec_release(&r.sets);
	return e;
}

/* ---- who wants a look ---- */

static void wake(struct um_deployments *all, const char *set_key, const char *name)
{
	char key[UM_OBJECT_KEY_MAX];

	snprintf(key, sizeof(key), "%.*s/%s", (int)strcspn(set_key, "/"), set_key, name);
	um_queue_add_after(all->queue, key, SETTLE_NS);
}

static bool wake_each(void *arg, const struct um_store_kv *kv)
{
	struct um_deployments *all = arg;

	um_queue_add(all->queue, kv->key + strlen(all->prefix));
	return true;
}

/* A set that nobody controls may be anybody's in its namespace. */
static void wake_namespace(struct um_deployments *all, const char *set_key)
{
	char ns[256], prefix[UM_OBJECT_KEY_MAX];

	snprintf(ns, sizeof(ns), "%.*s", (int)strcspn(set_key, "/"), set_key);
	if (um_object_key(prefix, all->kind, ns, NULL) == 0)
		um_store_list(all->ctl->durable, prefix, NULL, wake_each, all);
}

static void on_set(void *arg, const char *key, const char *old_owner, const char *owner)
{
	struct um_deployments *all = arg;

	if (*owner)
		wake(all, key, owner);
	if (*old_owner && strcmp(old_owner, owner) != 0)
		wake(all, key, old_owner);
	if (!*owner && !*old_owner)
		wake_namespace(all, key);
}

/* Strategy Recreate waits for the last pod of an old set. */
static void on_pod(void *arg, const struct um_pod *old, const struct um_pod *now)
{
	struct um_deployments *all = arg;
	_cleanup_arena_ struct um_arena *a = NULL;
	struct um_json *set = NULL;
	const struct um_json *ref;
	int64_t rev;

	if (!old || (now && um_pod_ended(now) == um_pod_ended(old)) ||
	    strcmp(old->owner_kind, "ReplicaSet") != 0)
		return;
	a = um_arena_new(UM_OBJECT_ARENA_MAX);
	if (!a ||
	    um_api_load(all->ctl->api, all->set_kind, old->ns, old->owner_name, a, &set, &rev) < 0)
		return;
	ref = um_ctl_controller_of(set);
	if (ref && !strcmp(um_json_get_str(ref, "kind", ""), "Deployment"))
		wake(all, old->key, um_json_get_str(ref, "name", ""));
}

static void on_event(void *arg, const struct um_store_event *ev)
{
	struct um_deployments *all = arg;

	um_queue_add(all->queue, ev->key + strlen(all->prefix));
}

int um_deployments_new(struct um_ctl *c, struct um_deployments **ret, struct um_error *err)
{
	struct um_deployments *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return um_error_set(err, -ENOMEM, "deployments: out of memory");
	all->ctl = c;
	all->kind = um_schema_find_resource("apps", "v1", "deployments");
	all->set_kind = um_schema_find_resource("apps", "v1", "replicasets");
	r = all->kind && all->set_kind
		    ? um_object_key(all->prefix, all->kind, NULL, NULL)
		    : um_error_set(err, -EINVAL, "the schema has no deployments");
	if (r == 0)
		r = um_queue_new(c->loop, on_look, all, &all->queue, err);
	if (r == 0)
		r = um_owned_new(c->durable, all->set_kind, "Deployment", on_set, all, &all->sets,
				 err);
	if (r == 0)
		r = um_podset_subscribe(c->pods, on_pod, all);
	if (r == 0)
		r = um_store_watch_new(c->durable, all->prefix, um_store_rev(c->durable), on_event,
				       all, &all->watch, err);
	if (r < 0) {
		um_deployments_free(all);
		return r;
	}
	um_store_list(c->durable, all->prefix, NULL, wake_each, all);
	*ret = all;
	return 0;
}

void um_deployments_free(struct um_deployments *all)
{
	if (!all)
		return;
	um_store_watch_free(all->watch);
	um_owned_free(all->sets);
	um_queue_free(all->queue);
	free(all);
}
