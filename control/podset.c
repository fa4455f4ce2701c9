#include "control/podset.h"

#include <limits.h>
#include <string.h>

#include "api/object.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/vec.h"
#include "control/labels.h"
#include "store/store.h"

TAILQ_HEAD(pod_list, um_pod);

/* The pods of one controller, of one namespace, or of one node. */
struct group {
	UT_hash_handle hh;
	struct pod_list pods;
	char name[];
};

struct subscriber {
	um_podset_fn fn;
	void *arg;
};

struct um_podset {
	struct um_store *store;
	struct um_store_watch *watch;
	struct um_pod *pods;
	struct group *owners, *namespaces, *nodes;
	UM_VEC(struct subscriber) subscribers;
	char prefix[UM_OBJECT_KEY_MAX];
};

/* ---- one pod ---- */

static const char *const phases[] = {"Pending", "Running", "Succeeded", "Failed", "Unknown"};

static enum um_pod_phase phase_of(const struct um_json *pod)
{
	const char *phase = um_json_get_str(pod, "status.phase", "Pending");

	for (size_t i = 0; i < UM_ARRAY_LEN(phases); i++)
		if (!strcmp(phase, phases[i]))
			return (enum um_pod_phase)i;
	return UM_POD_UNKNOWN;
}

static const struct um_json *controller_of(const struct um_json *pod)
{
	um_json_foreach (ref, um_json_path(pod, "metadata.ownerReferences"))
		if (um_json_get_bool(ref, "controller", false))
			return ref;
	return NULL;
}

static int64_t time_of(const struct um_json *n, const char *path)
{
	int64_t ns = 0;

	return um_time_parse(um_json_get_str(n, path, ""), &ns) < 0 ? 0 : ns;
}

static int64_t deletion_cost(const struct um_json *pod)
{
	const struct um_json *v = um_json_get(um_json_path(pod, "metadata.annotations"),
					      "controller.kubernetes.io/pod-deletion-cost");
	int64_t cost = 0;

	return um_num_i64(um_json_str(v, "0"), INT32_MIN, INT32_MAX, &cost) < 0 ? 0 : cost;
}

static void read_status(struct um_pod *p, const struct um_json *pod)
{
	um_json_foreach (c, um_json_path(pod, "status.conditions")) {
		if (strcmp(um_json_get_str(c, "type", ""), "Ready"))
			continue;
		p->ready = !strcmp(um_json_get_str(c, "status", ""), "True");
		p->ready_ns = time_of(c, "lastTransitionTime");
	}
	um_json_foreach (c, um_json_path(pod, "status.containerStatuses"))
		p->restarts += (unsigned)um_json_get_i64(c, "restartCount", 0);
}

/* Strings behind the struct, in the order in which they were measured. */
struct cut {
	char *at;
};

static const char *cut(struct cut *c, const char *s)
{
	size_t n = strlen(s) + 1;
	char *to = memcpy(c->at, s, n);

	c->at += n;
	return to;
}

static struct um_pod *pod_new(const struct um_json *obj, int64_t rev)
{
	const struct um_json *owner = controller_of(obj);
	const struct um_json *labels = um_json_path(obj, "metadata.labels");
	const char *ns = um_json_get_str(obj, "metadata.namespace", "");
	const char *name = um_json_get_str(obj, "metadata.name", "");
	const char *const texts[] = {
		um_json_get_str(obj, "metadata.uid", ""),
		um_json_get_str(obj, "spec.nodeName", ""),
		um_json_get_str(obj, "status.podIP", ""),
		um_json_get_str(owner, "uid", ""),
		um_json_get_str(owner, "kind", ""),
		um_json_get_str(owner, "name", ""),
		um_json_get_str(obj, "spec.hostname", ""),
		um_json_get_str(obj, "spec.subdomain", ""),
	};
	const char **fields[UM_ARRAY_LEN(texts)];
	size_t text = strlen(ns) * 2 + strlen(name) * 2 + 4;
	size_t room = um_labels_size(labels);
	struct um_pod *p;
	struct cut c;

	for (size_t i = 0; i < UM_ARRAY_LEN(texts); i++)
		text += strlen(texts[i]) + 1;
	p = calloc(1, sizeof(*p) + room + text);
	if (!p)
		return NULL;
	c.at = (char *)(p + 1) + room;
	memcpy(fields,
	       (const char **[]){&p->uid, &p->node, &p->ip, &p->owner_uid, &p->owner_kind,
				 &p->owner_name, &p->hostname, &p->subdomain},
	       sizeof(fields));
	p->ns = cut(&c, ns);
	p->name = cut(&c, name);
	p->key = c.at;
	c.at += snprintf(c.at, strlen(ns) + strlen(name) + 2, "%s/%s", ns, name) + 1;
	for (size_t i = 0; i < UM_ARRAY_LEN(texts); i++)
		*fields[i] = cut(&c, texts[i]);
	p->labels = um_labels_copy(labels, p + 1);
	p->rev = rev;
	p->phase = phase_of(obj);
	p->created_ns = time_of(obj, "metadata.creationTimestamp");
	p->deletion_cost = deletion_cost(obj);
	p->deleted = um_json_path(obj, "metadata.deletionTimestamp");
	read_status(p, obj);
	return p;
}

/* ---- the indexes ---- */

static struct group *find_group(struct group *const *head, const char *name)
{
	struct group *g;

	HASH_FIND_STR(*head, name, g);
	return g;
}

static struct group *make_group(struct group **head, const char *name)
{
	struct group *g = find_group(head, name);

	if (g)
		return g;
	g = calloc(1, sizeof(*g) + strlen(name) + 1);
	if (!g)
		return NULL;
	strcpy(g->name, name);
	TAILQ_INIT(&g->pods);
	HASH_ADD_STR(*head, name, g);
	if (!g->hh.tbl) {
		free(g);
		return NULL;
	}
	return g;
}

static void drop_if_empty(struct group **head, const char *name)
{
	struct group *g = find_group(head, name);

	if (g && TAILQ_EMPTY(&g->pods)) {
		HASH_DEL(*head, g);
		free(g);
	}
}

/* Pods without a controller stand together under their namespace. */
static const char *owner_group(const struct um_pod *p, char *buf, size_t size)
{
	if (*p->owner_uid)
		return p->owner_uid;
	snprintf(buf, size, "/%s", p->ns);
	return buf;
}

static void drop_groups(struct um_podset *s, const struct um_pod *p)
{
	char buf[NAME_MAX + 2];

	drop_if_empty(&s->namespaces, p->ns);
	drop_if_empty(&s->owners, owner_group(p, buf, sizeof(buf)));
	drop_if_empty(&s->nodes, p->node);
}

/* Takes the pod out; it is the caller's again. */
static void take_out(struct um_podset *s, struct um_pod *p)
{
	char buf[NAME_MAX + 2];

	HASH_DEL(s->pods, p);
	TAILQ_REMOVE(&find_group(&s->namespaces, p->ns)->pods, p, by_ns);
	TAILQ_REMOVE(&find_group(&s->owners, owner_group(p, buf, sizeof(buf)))->pods, p, by_owner);
	if (*p->node)
		TAILQ_REMOVE(&find_group(&s->nodes, p->node)->pods, p, by_node);
	drop_groups(s, p);
}

static int put_in(struct um_podset *s, struct um_pod *p)
{
	char buf[NAME_MAX + 2];
	struct group *ns = make_group(&s->namespaces, p->ns);
	struct group *owner = make_group(&s->owners, owner_group(p, buf, sizeof(buf)));
	struct group *node = *p->node ? make_group(&s->nodes, p->node) : NULL;

	if (ns && owner && (node || !*p->node)) {
		HASH_ADD_KEYPTR(hh, s->pods, p->key, strlen(p->key), p);
		if (p->hh.tbl) {
			TAILQ_INSERT_TAIL(&ns->pods, p, by_ns);
			TAILQ_INSERT_TAIL(&owner->pods, p, by_owner);
			if (node)
				TAILQ_INSERT_TAIL(&node->pods, p, by_node);
			return 0;
		}
	}
	drop_groups(s, p);
	return -ENOMEM;
}

static struct um_pod *find(const struct um_podset *s, const char *key)
{
	struct um_pod *p;

	HASH_FIND_STR(s->pods, key, p);
	return p;
}

/* ---- following the store ---- */

static void tell(struct um_podset *s, const struct um_pod *old, const struct um_pod *now)
{
	um_vec_foreach (it, &s->subscribers)
		it->fn(it->arg, old, now);
}

static void see(struct um_podset *s, const char *key, const struct um_bytes *value, int64_t rev)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	const char *short_key = key + strlen(s->prefix);
	struct um_json *obj = a && value ? um_object_parse(value, rev, a) : NULL;
	struct um_pod *old = find(s, short_key), *now = obj ? pod_new(obj, rev) : NULL;

	if (old) {
		/* A deletion that was asked for is not taken back by an older event. */
		if (now && old->leaving && !strcmp(old->uid, now->uid))
			now->leaving = true;
		take_out(s, old);
	}
	if (now && put_in(s, now) < 0) {
		free(now);
		now = NULL;
	}
	if (value && !now)
		um_log(UM_LOG_ERROR, "pods: out of memory", UM_LOG_STR("pod", short_key));
	if (old || now)
		tell(s, old && !old->assumed ? old : NULL, now);
	free(old);
}

static void on_event(void *arg, const struct um_store_event *ev)
{
	see(arg, ev->key, ev->value, ev->rev);
}

static bool on_existing(void *arg, const struct um_store_kv *kv)
{
	see(arg, kv->key, kv->value, kv->mod_rev);
	return true;
}

/* ---- the interface ---- */

int um_podset_new(struct um_store *durable, struct um_podset **ret, struct um_error *err)
{
	const struct um_kind *kind = um_schema_find_resource("", "v1", "pods");
	struct um_podset *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return um_error_set(err, -ENOMEM, "pods: out of memory");
	s->store = durable;
	r = kind ? um_object_key(s->prefix, kind, NULL, NULL)
		 : um_error_set(err, -EINVAL, "the schema has no pods");
	if (r == 0)
		r = um_store_watch_new(durable, s->prefix, um_store_rev(durable), on_event, s,
				       &s->watch, err);
	if (r < 0) {
		free(s);
		return r;
	}
	um_store_list(durable, s->prefix, NULL, on_existing, s);
	*ret = s;
	return 0;
}

void um_podset_free(struct um_podset *s)
{
	struct um_pod *p, *tmp;

	if (!s)
		return;
	um_store_watch_free(s->watch);
	HASH_ITER (hh, s->pods, p, tmp) {
		take_out(s, p);
		free(p);
	}
	um_vec_release(&s->subscribers);
	free(s);
}

int um_podset_subscribe(struct um_podset *s, um_podset_fn fn, void *arg)
{
	return um_vec_push(&s->subscribers, (struct subscriber){fn, arg});
}

struct um_pod *um_podset_get(const struct um_podset *s, const char *ns, const char *name)
{
	char key[UM_OBJECT_KEY_MAX];
	int n = snprintf(key, sizeof(key), "%s/%s", ns, name);

	return n > 0 && (size_t)n < sizeof(key) ? find(s, key) : NULL;
}

struct um_pod *um_podset_first_owned(const struct um_podset *s, const char *owner_uid)
{
	struct group *g = *owner_uid ? find_group(&s->owners, owner_uid) : NULL;

	return g ? TAILQ_FIRST(&g->pods) : NULL;
}

struct um_pod *um_podset_first_orphan(const struct um_podset *s, const char *ns)
{
	char name[NAME_MAX + 2];
	struct group *g;

	snprintf(name, sizeof(name), "/%s", ns);
	g = find_group(&s->owners, name);
	return g ? TAILQ_FIRST(&g->pods) : NULL;
}

struct um_pod *um_podset_next_owned(const struct um_pod *p)
{
	return TAILQ_NEXT(p, by_owner);
}

struct um_pod *um_podset_first_in(const struct um_podset *s, const char *ns)
{
	struct group *g = find_group(&s->namespaces, ns);

	return g ? TAILQ_FIRST(&g->pods) : NULL;
}

struct um_pod *um_podset_next_in(const struct um_pod *p)
{
	return TAILQ_NEXT(p, by_ns);
}

struct um_pod *um_podset_first(const struct um_podset *s)
{
	return s->pods;
}

struct um_pod *um_podset_next(const struct um_pod *p)
{
	return p->hh.next;
}

struct um_pod *um_podset_first_on(const struct um_podset *s, const char *node)
{
	struct group *g = find_group(&s->nodes, node);

	return g ? TAILQ_FIRST(&g->pods) : NULL;
}

struct um_pod *um_podset_next_on(const struct um_pod *p)
{
	return TAILQ_NEXT(p, by_node);
}

int um_podset_assume(struct um_podset *s, const struct um_json *pod)
{
	struct um_pod *p = pod_new(pod, 0);

	if (p && !find(s, p->key) && put_in(s, p) == 0) {
		p->assumed = true;
		return 0;
	}
	free(p);
	return -ENOMEM;
}

void um_podset_forget(struct um_podset *s, const char *ns, const char *name)
{
	struct um_pod *p = um_podset_get(s, ns, name);

	if (p && p->assumed) {
		take_out(s, p);
		free(p);
	}
}

void um_podset_mark_leaving(struct um_podset *s, const char *ns, const char *name, bool leaving)
{
	struct um_pod *p = um_podset_get(s, ns, name);

	if (p)
		p->leaving = leaving;
}

bool um_pod_available(const struct um_pod *p, int64_t min_ready_ns, int64_t wall_ns,
		      int64_t *ret_wait_ns)
{
	int64_t since = wall_ns - p->ready_ns;

	*ret_wait_ns = 0;
	if (!p->ready)
		return false;
	if (!min_ready_ns || since >= min_ready_ns)
		return true;
	/* A clock that went back does not make it wait for longer than it was told to. */
	*ret_wait_ns = since < 0 ? min_ready_ns : min_ready_ns - since;
	return false;
}
