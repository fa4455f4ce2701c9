#include "control/replicaset.h"

#include <string.h>

#include "api/object.h"
#include "api/server.h"
#include "base/clock.h"
#include "base/vec.h"
#include "control/ctl.h"
#include "control/labels.h"
#include "control/podset.h"
#include "control/queue.h"
#include "store/store.h"
#include "wire/loop.h"

#define WHO "replicaset-controller"
/* Pods created or deleted in one look; more come with the next. */
enum { BURST = 100 };
/* A look for the status alone may wait, so that one write tells of many pods. */
#define STATUS_DELAY_NS (15 * UM_NSEC_PER_MSEC)
#define AGAIN_NS 1

struct um_replicasets {
	struct um_ctl *ctl;
	struct um_queue *queue;
	struct um_store_watch *watch;
	const struct um_kind *kind, *pods;
	char prefix[UM_OBJECT_KEY_MAX];
};

/* One look. */
struct look {
	struct um_replicasets *s;
	struct um_arena *a;
	const char *key;
	struct um_json *set, *old;
	const char *ns, *name, *uid;
	int64_t rev, wanted;
	UM_VEC(struct um_pod *) active;
	bool deleted;
	int64_t again_ns;
	char failure[512]; /* of a creation or deletion */
	const char *failure_reason;
};

/* ---- whose pods ---- */

static bool matches(const struct look *l, const struct um_pod *p)
{
	return um_label_selector_matches(um_json_path(l->set, "spec.selector"), p->labels);
}

/* Takes the pod into the set, or lets it go. What comes of it is seen by its event. */
static void set_owner(struct look *l, const struct um_pod *p, bool ours)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	struct um_json *pod = NULL, *old = NULL;
	int64_t rev;

	if (!a || um_api_load(l->s->ctl->api, l->s->pods, p->ns, p->name, a, &old, &rev) < 0 ||
	    strcmp(um_json_get_str(old, "metadata.uid", ""), p->uid))
		return;
	pod = um_json_copy(a, old);
	if (ours && !um_ctl_controller_of(pod))
		um_ctl_own(a, pod, l->set);
	else if (!ours)
		um_ctl_disown(pod, l->uid);
	(void)!um_ctl_update(l->s->ctl, l->s->queue, l->key, l->s->pods, pod, old, rev, a, NULL);
}

static void claim(struct look *l)
{
	struct um_podset *pods = l->s->ctl->pods;

	for (struct um_pod *p = um_podset_first_owned(pods, l->uid); p;
	     p = um_podset_next_owned(p)) {
		if (!p->assumed && !matches(l, p))
			set_owner(l, p, false);
		else if (um_pod_active(p))
			(void)!um_vec_push(&l->active, p);
	}
	if (l->deleted)
		return;
	for (struct um_pod *p = um_podset_first_orphan(pods, l->ns); p; p = um_podset_next_owned(p))
		if (um_pod_active(p) && matches(l, p))
			set_owner(l, p, true);
}

/* ---- more ---- */

/* A pod's creation or deletion on its way to the disk. */
struct change {
	void *write;
	struct um_ctl *ctl;
	bool deletion;
	struct um_ctl_name pod;
};

static struct change *change_new(struct look *l, bool deletion)
{
	struct change *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->ctl = l->s->ctl;
	c->deletion = deletion;
	c->write = um_ctl_write(c->ctl, l->s->queue, l->key);
	if (!c->write) {
		free(c);
		return NULL;
	}
	return c;
}

static void change_drop(struct change *c)
{
	if (c)
		um_ctl_drop_write(c->write);
	free(c);
}

static void name_pod(struct change *c, const char *ns, const char *name)
{
	snprintf(c->pod.ns, sizeof(c->pod.ns), "%s", ns);
	snprintf(c->pod.name, sizeof(c->pod.name), "%s", name);
}

static void on_changed(void *arg, int64_t rev, const struct um_error *err)
{
	struct change *c = arg;

	if (err && err->code && !c->ctl->dead && c->deletion)
		um_podset_mark_leaving(c->ctl->pods, c->pod.ns, c->pod.name, false);
	else if (err && err->code && !c->ctl->dead)
		um_podset_forget(c->ctl->pods, c->pod.ns, c->pod.name);
	um_ctl_written(c->write, rev, err);
	free(c);
}

static struct um_json *new_pod(struct look *l, struct um_arena *a)
{
	static const char *const carried[] = {"labels", "annotations", "finalizers"};
	const struct um_json *template = um_json_path(l->set, "spec.template");
	struct um_json *pod = um_json_new_obj(a), *meta = um_json_ensure_obj(a, pod, "metadata");

	um_json_set_str(a, meta, "generateName", um_arena_printf(a, "%s-", l->name));
	um_json_set_str(a, meta, "namespace", l->ns);
	for (size_t i = 0; i < UM_ARRAY_LEN(carried); i++) {
		const struct um_json *v =
			um_json_path(um_json_get(template, "metadata"), carried[i]);

		if (v)
			um_json_set(a, meta, carried[i], um_json_copy(a, v));
	}
	um_ctl_own(a, pod, l->set);
	um_json_set(a, pod, "spec", um_json_copy(a, um_json_get(template, "spec")));
	return pod;
}

static int create_one(struct look *l, struct um_error *err)
{
	struct um_ctl *ctl = l->s->ctl;
	_cleanup_arena_ struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	struct um_json *pod = a ? new_pod(l, a) : NULL;
	struct change *c = pod ? change_new(l, false) : NULL;
	int r = c ? um_api_create(ctl->api, l->s->pods, pod, a, on_changed, c, err)
		  : um_error_set(err, -ENOMEM, "pod: out of memory");

	if (r < 0) {
		change_drop(c);
		return r;
	}
	name_pod(c, l->ns, um_json_get_str(pod, "metadata.name", ""));
	um_ctl_event(ctl, l->set, WHO, "Normal", "SuccessfulCreate", "Created pod: %s",
		     c->pod.name);
	return um_podset_assume(ctl->pods, pod);
}

static int remove_one(struct look *l, struct um_pod *p)
{
	struct um_ctl *ctl = l->s->ctl;
	struct change *c = change_new(l, true);
	int r;

	if (!c)
		return -ENOMEM;
	name_pod(c, p->ns, p->name);
	r = um_api_remove(ctl->api, l->s->pods, p->ns, p->name, on_changed, c);
	if (r <= 0)
		change_drop(c);
	if (r < 0)
		return r;
	um_ctl_event(ctl, l->set, WHO, "Normal", "SuccessfulDelete", "Deleted pod: %s", p->name);
	p->leaving = true;
	return 0;
}

static void note_failure(struct look *l, const char *reason, const struct um_error *err)
{
	l->failure_reason = reason;
	snprintf(l->failure, sizeof(l->failure), "%s", err->msg);
	um_ctl_event(l->s->ctl, l->set, WHO, "Warning", reason, "Error %s: %s",
		     !strcmp(reason, "FailedCreate") ? "creating" : "deleting", err->msg);
}

static int grow(struct look *l, int64_t n)
{
	struct um_error err = UM_ERROR_INIT;

	for (int64_t i = 0; i < n; i++) {
		int r;

		if (i == BURST) {
			l->again_ns = AGAIN_NS;
			return 0;
		}
		r = create_one(l, &err);
		if (r == -EPERM) /* the namespace is going away, and the set with it */
			return 0;
		if (r < 0) {
			note_failure(l, "FailedCreate", &err);
			return r;
		}
	}
	return 0;
}

/* ---- fewer ---- */

/* Who goes first: what serves least. Each row: smaller goes before. */
static int64_t on_a_node(const struct um_pod *p)
{
	return *p->node != '\0';
}

static int64_t runs(const struct um_pod *p)
{
	return p->phase == UM_POD_PENDING ? 0 : p->phase == UM_POD_UNKNOWN ? 1 : 2;
}

static int64_t is_ready(const struct um_pod *p)
{
	return p->ready;
}

static int64_t cost(const struct um_pod *p)
{
	return p->deletion_cost;
}

static int64_t ready_for(const struct um_pod *p)
{
	return p->ready ? -p->ready_ns : 0;
}

static int64_t few_restarts(const struct um_pod *p)
{
	return -(int64_t)p->restarts;
}

static int64_t age(const struct um_pod *p)
{
	return -p->created_ns;
}

static int rank(const void *x, const void *y)
{
	static int64_t (*const by[])(const struct um_pod *p) = {
		on_a_node, runs, is_ready, cost, ready_for, few_restarts, age};
	const struct um_pod *a = *(struct um_pod *const *)x, *b = *(struct um_pod *const *)y;

	for (size_t i = 0; i < UM_ARRAY_LEN(by); i++) {
		int64_t va = by[i](a), vb = by[i](b);

		if (va != vb)
			return va < vb ? -1 : 1;
	}
	return strcmp(a->name, b->name);
}

static int shrink(struct look *l, int64_t n)
{
	qsort(l->active.items, l->active.len, sizeof(*l->active.items), rank);
	for (int64_t i = 0; i < n; i++) {
		struct um_error err = UM_ERROR_INIT;
		int r;

		if (i == BURST) {
			l->again_ns = AGAIN_NS;
			return 0;
		}
		r = remove_one(l, l->active.items[i]);
		if (r < 0) {
			um_error_errno(&err, r, "delete pod %s", l->active.items[i]->name);
			note_failure(l, "FailedDelete", &err);
			return r;
		}
	}
	return 0;
}

/* ---- the status ---- */

static void count(struct look *l, struct um_json *status)
{
	const struct um_json *labels = um_json_path(l->set, "spec.template.metadata.labels");
	int64_t min_ready = um_json_get_i64(l->set, "spec.minReadySeconds", 0) * UM_NSEC_PER_SEC;
	int64_t wall = um_clock_wall(um_loop_clock(l->s->ctl->loop)), wait;
	int64_t n = 0, labelled = 0, ready = 0, available = 0;

	um_vec_foreach (it, &l->active) {
		const struct um_pod *p = *it;

		if (!um_pod_active(p))
			continue;
		n++;
		labelled += !um_json_first(labels) || um_label_map_matches(labels, p->labels);
		ready += p->ready;
		available += um_pod_available(p, min_ready, wall, &wait);
		if (wait && (!l->again_ns || wait < l->again_ns))
			l->again_ns = wait;
	}
	um_json_set_i64(l->a, status, "replicas", n);
	um_json_set_i64(l->a, status, "fullyLabeledReplicas", labelled);
	um_json_set_i64(l->a, status, "readyReplicas", ready);
	um_json_set_i64(l->a, status, "availableReplicas", available);
	um_json_set_i64(l->a, status, "observedGeneration",
			um_json_get_i64(l->set, "metadata.generation", 0));
}

static void drop_condition(struct um_json *status, const char *type)
{
	struct um_json *list = um_json_get(status, "conditions");
	const struct um_json *c = um_ctl_condition(status, type);

	if (c)
		um_json_remove_node(list, c);
	if (list && !um_json_first(list))
		um_json_remove(status, "conditions");
}

static int write_status(struct look *l)
{
	struct um_json *status = um_json_ensure_obj(l->a, l->set, "status");

	count(l, status);
	if (l->failure_reason)
		um_ctl_set_condition(l->s->ctl, l->a, status, "ReplicaFailure", "True",
				     l->failure_reason, l->failure, false);
	else
		drop_condition(status, "ReplicaFailure");
	return um_ctl_update(l->s->ctl, l->s->queue, l->key, l->s->kind, l->set, l->old, l->rev,
			     l->a, NULL);
}

/* ---- a look ---- */

static int64_t look_at(struct look *l)
{
	int64_t diff;
	int r = 0, w;

	l->uid = um_json_get_str(l->set, "metadata.uid", "");
	l->deleted = um_json_path(l->set, "metadata.deletionTimestamp");
	l->wanted = um_json_get_i64(l->set, "spec.replicas", 1);
	claim(l);
	diff = l->wanted - (int64_t)l->active.len;
	if (!l->deleted && diff > 0)
		r = grow(l, diff);
	else if (!l->deleted && diff < 0)
		r = shrink(l, -diff);
	w = write_status(l);
	if (w == -EAGAIN)
		return w;
	return r < 0 ? r : l->again_ns;
}

static int64_t on_look(void *arg, const char *key)
{
	struct um_replicasets *s = arg;
	_cleanup_arena_ struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	struct look l = {.s = s, .a = a, .key = key};
	struct um_ctl_name n;
	int64_t r;

	if (!um_ctl_split(key, &n))
		return 0;
	r = a ? um_api_load(s->ctl->api, s->kind, n.ns, n.name, a, &l.old, &l.rev) : -ENOMEM;
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	l.ns = n.ns;
	l.name = n.name;
	l.set = um_json_copy(a, l.old);
	r = l.set ? look_at(&l) : -ENOMEM;
	um_vec_release(&l.active);
	return r;
}

/* ---- who wants a look ---- */

static void wake_owner(struct um_replicasets *s, const struct um_pod *p, int64_t delay_ns)
{
	char key[UM_OBJECT_KEY_MAX];

	if (strcmp(p->owner_kind, "ReplicaSet"))
		return;
	snprintf(key, sizeof(key), "%s/%s", p->ns, p->owner_name);
	um_queue_add_after(s->queue, key, delay_ns);
}

struct adoption {
	struct um_replicasets *s;
	const struct um_pod *pod;
};

static bool wake_matching(void *arg, const struct um_store_kv *kv)
{
	struct adoption *ad = arg;
	_cleanup_arena_ struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	struct um_json *set = a ? um_object_parse(kv->value, 0, a) : NULL;

	if (um_label_selector_matches(um_json_path(set, "spec.selector"), ad->pod->labels))
		um_queue_add(ad->s->queue, kv->key + strlen(ad->s->prefix));
	return true;
}

static void on_pod(void *arg, const struct um_pod *old, const struct um_pod *now)
{
	struct um_replicasets *s = arg;
	const struct um_pod *p = now ? now : old;
	bool moved = old && now && strcmp(old->owner_uid, now->owner_uid) != 0;
	/* One that is lost, or that is not what it was, is seen to at once. */
	bool urgent = !now || !old || moved || um_pod_active(old) != um_pod_active(now);
	char prefix[UM_OBJECT_KEY_MAX];

	if (p)
		wake_owner(s, p, urgent ? 0 : STATUS_DELAY_NS);
	if (moved)
		wake_owner(s, old, 0);
	if (now && !*now->owner_uid && um_pod_active(now) && now->labels &&
	    um_object_key(prefix, s->kind, now->ns, NULL) == 0)
		um_store_list(s->ctl->durable, prefix, NULL, wake_matching,
			      &(struct adoption){s, now});
}

static void on_set(void *arg, const struct um_store_event *ev)
{
	struct um_replicasets *s = arg;

	um_queue_add(s->queue, ev->key + strlen(s->prefix));
}

static bool on_existing(void *arg, const struct um_store_kv *kv)
{
	struct um_replicasets *s = arg;

	um_queue_add(s->queue, kv->key + strlen(s->prefix));
	return true;
}

int um_replicasets_new(struct um_ctl *c, struct um_replicasets **ret, struct um_error *err)
{
	struct um_replicasets *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return um_error_set(err, -ENOMEM, "replicasets: out of memory");
	s->ctl = c;
	s->kind = um_schema_find_resource("apps", "v1", "replicasets");
	s->pods = um_schema_find_resource("", "v1", "pods");
	r = s->kind && s->pods ? um_object_key(s->prefix, s->kind, NULL, NULL)
			       : um_error_set(err, -EINVAL, "the schema has no replicasets");
	if (r == 0)
		r = um_queue_new(c->loop, on_look, s, &s->queue, err);
	if (r == 0)
		r = um_podset_subscribe(c->pods, on_pod, s);
	if (r == 0)
		r = um_store_watch_new(c->durable, s->prefix, um_store_rev(c->durable), on_set, s,
				       &s->watch, err);
	if (r < 0) {
		um_replicasets_free(s);
		return r;
	}
	um_store_list(c->durable, s->prefix, NULL, on_existing, s);
	*ret = s;
	return 0;
}

void um_replicasets_free(struct um_replicasets *s)
{
	if (!s)
		return;
	um_store_watch_free(s->watch);
	um_queue_free(s->queue);
	free(s);
}
