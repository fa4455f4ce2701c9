#include "control/gc.h"

#include <string.h>

#include "api/object.h"
#include "api/server.h"
#include "base/log.h"
#include "control/ctl.h"
#include "control/gc_internal.h"
#include "control/queue.h"
#include "store/store.h"

#define WHO "garbage-collector-controller"
#define ALL "/registry/"
#define AGAIN_NS 1
/* Dependents that are put into the queue in one look at their owner. */
enum { WAKE_PER_LOOK = 256 };

/* The queue's keys are those of the store, and "@<uid>" for an owner's dependents. */
struct um_gc {
	struct um_ctl *ctl;
	struct um_queue *queue;
	struct um_store_watch *watch;
	struct gc_index index;
};

enum owner_state {
	OWNER_LIVES,
	OWNER_WAITS, /* for its dependents to go */
	OWNER_LETS_GO,
	OWNER_GONE,
};

/* One look at an object. */
struct gc_look {
	struct um_gc *g;
	struct um_arena *a;
	const char *key, *uid;
	const struct um_kind *kind;
	struct um_ctl_name n;	   /* ns "" for kinds without */
	struct um_json *old, *obj; /* @obj: the copy that is changed, once something is */
	int64_t rev;
};

/* ---- keys ---- */

static bool find_object(const char *key, const struct um_kind **ret, struct um_ctl_name *n)
{
	size_t n_kinds;
	const struct um_kind *const *kinds = um_schema_kinds(&n_kinds);
	char prefix[UM_OBJECT_KEY_MAX];

	for (size_t i = 0; i < n_kinds; i++) {
		const char *rest;
		size_t len;

		if (kinds[i]->is_volatile || um_object_key(prefix, kinds[i], NULL, NULL) < 0)
			continue;
		len = strlen(prefix);
		if (strncmp(key, prefix, len))
			continue;
		rest = key + len;
		*ret = kinds[i];
		if (kinds[i]->namespaced)
			return um_ctl_split(rest, n);
		n->ns[0] = '\0';
		snprintf(n->name, sizeof(n->name), "%s", rest);
		return strlen(rest) < sizeof(n->name);
	}
	return false;
}

static bool has_finalizer(const struct um_json *obj, const char *name)
{
	um_json_foreach (it, um_json_path(obj, "metadata.finalizers"))
		if (um_json_streq(it, name))
			return true;
	return false;
}

/* ---- owners ---- */

/* The kind that a reference names; NULL: this server does not know it, or forgets it with every
 * start. */
static const struct um_kind *kind_of_owner(const struct um_json *ref)
{
	const char *version = um_json_get_str(ref, "apiVersion", "");
	const char *name = um_json_get_str(ref, "kind", ""), *slash = strchr(version, '/');
	const struct um_kind *k;
	char group[256] = "";

	if (slash && (size_t)(slash - version) < sizeof(group)) {
		memcpy(group, version, (size_t)(slash - version));
		group[slash - version] = '\0';
	}
	k = um_schema_find_kind(group, slash ? slash + 1 : version, name);
	return k && k->plural && !k->is_volatile && !strcmp(k->kind, name) ? k : NULL;
}

/* The object in these bytes, when it is the one with @uid. */
static struct um_json *with_uid(const struct um_bytes *b, const char *uid, struct um_arena *a)
{
	struct um_json *obj = strstr(b->data, uid) ? um_object_parse(b, 0, a) : NULL;

	return obj && !strcmp(um_json_get_str(obj, "metadata.uid", ""), uid) ? obj : NULL;
}

/* What is durable decides: an owner whose deletion may yet fail still lives. */
static enum owner_state state_of(struct gc_look *l, const char *key, const char *uid)
{
	struct um_store *s = l->g->ctl->durable;
	const struct um_json *owner = NULL;
	struct um_store_kv kv;

	if (um_store_get(s, key, &kv) == 0)
		owner = with_uid(kv.value, uid, l->a);
	if (um_arena_failed(l->a))
		return OWNER_LIVES;
	if (!owner) {
		if (um_store_get_tentative(s, key, &kv) == 0 && with_uid(kv.value, uid, l->a))
			return OWNER_LIVES;
		return um_arena_failed(l->a) ? OWNER_LIVES : OWNER_GONE;
	}
	if (!um_json_path(owner, "metadata.deletionTimestamp"))
		return OWNER_LIVES;
	if (has_finalizer(owner, UM_FINALIZER_ORPHAN))
		return OWNER_LETS_GO;
	return has_finalizer(owner, UM_FINALIZER_FOREGROUND) ? OWNER_WAITS : OWNER_LIVES;
}

struct search {
	const char *uid;
	bool found;
};

static bool look_for(void *arg, const struct um_store_kv *kv)
{
	struct search *s = arg;
	_cleanup_arena_ struct um_arena *a = NULL;

	if (!strstr(kv->value->data, s->uid))
		return true;
	a = um_arena_new(UM_OBJECT_ARENA_MAX);
	s->found = a && with_uid(kv->value, s->uid, a);
	return !s->found;
}

/* An owner that is not where it should be is sought in other namespaces, once. */
static bool lives_elsewhere(struct um_gc *g, const struct um_kind *kind, const char *uid)
{
	struct gc_owner *o = gc_index_owner(&g->index, uid);
	struct search s = {uid, false};
	char prefix[UM_OBJECT_KEY_MAX];

	if (!o || o->gone || !kind->namespaced || um_object_key(prefix, kind, NULL, NULL) < 0)
		return false;
	if (!o->sought) {
		um_store_list(g->ctl->durable, prefix, NULL, look_for, &s);
		o->sought = true;
		o->elsewhere = s.found;
	}
	return o->elsewhere;
}

static void warn_of(struct gc_look *l, const struct um_json *ref)
{
	um_ctl_event(l->g->ctl, l->old, WHO, "Warning", "OwnerRefInvalidNamespace",
		     "ownerRef [%s/%s, namespace: %s, name: %s, uid: %s] does not exist in "
		     "namespace \"%s\"",
		     um_json_get_str(ref, "apiVersion", ""), um_json_get_str(ref, "kind", ""),
		     l->n.ns, um_json_get_str(ref, "name", ""), um_json_get_str(ref, "uid", ""),
		     l->n.ns);
}

static enum owner_state owner_of(struct gc_look *l, const struct um_json *ref)
{
	const struct um_kind *k = kind_of_owner(ref);
	const char *uid = um_json_get_str(ref, "uid", "");
	char key[UM_OBJECT_KEY_MAX];
	enum owner_state s;

	if (!k || !*uid)
		return OWNER_LIVES; /* nobody here can tell */
	if (k->namespaced && !l->kind->namespaced) {
		warn_of(l, ref);
		return OWNER_LIVES;
	}
	if (um_object_key(key, k, l->n.ns, um_json_get_str(ref, "name", "")) < 0)
		return OWNER_LIVES;
	s = state_of(l, key, uid);
	if (s == OWNER_GONE && lives_elsewhere(l->g, k, uid))
		warn_of(l, ref);
	return s;
}

/* ---- what becomes of a dependent ---- */

static struct um_json *changing(struct gc_look *l)
{
	if (!l->obj)
		l->obj = um_json_copy(l->a, l->old);
	return l->obj;
}

static int64_t update(struct gc_look *l)
{
	int r = um_arena_failed(l->a) ? -ENOMEM
				      : um_ctl_update(l->g->ctl, l->g->queue, l->key, l->kind,
						      l->obj, l->old, l->rev, l->a, NULL);

	return r < 0 ? r : 0;
}

static int64_t delete_it(struct gc_look *l, enum um_propagation policy)
{
	struct um_api_removal how = {.policy = policy, .uid = l->uid};
	void *w = um_ctl_write(l->g->ctl, l->g->queue, l->key);
	int r = w ? um_api_remove_by(l->g->ctl->api, l->kind, l->n.ns, l->n.name, &how,
				     um_ctl_written, w)
		  : -ENOMEM;

	if (r <= 0)
		um_ctl_drop_write(w);
	return r < 0 ? r : 0;
}

/* Two that wait for each other would wait for ever. */
static bool in_a_circle(struct gc_look *l)
{
	const struct gc_owner *o = gc_index_owner(&l->g->index, l->uid);
	const struct gc_ref *ref;

	if (o)
		TAILQ_FOREACH (ref, &o->refs, next)
			if (ref->dependent->foreground)
				return true;
	return false;
}

static int64_t delete_before_owner(struct gc_look *l)
{
	bool blocks = false;
	int64_t r;

	if (!gc_index_count(&l->g->index, l->uid, l->key, false))
		return delete_it(l, UM_PROPAGATE_DEFAULT);
	if (in_a_circle(l)) {
		um_json_foreach (ref, um_json_path(changing(l), "metadata.ownerReferences")) {
			blocks |= um_json_get_bool(ref, "blockOwnerDeletion", false);
			um_json_set_bool(l->a, ref, "blockOwnerDeletion", false);
		}
		r = blocks ? update(l) : 0;
		if (r < 0)
			return r;
	}
	return delete_it(l, UM_PROPAGATE_FOREGROUND);
}

/* Every reference but those to owners that live. */
static int64_t keep_living(struct gc_look *l, const enum owner_state *states)
{
	struct um_json *meta = um_json_get(changing(l), "metadata");
	struct um_json *refs = um_json_get(meta, "ownerReferences"), *next;
	size_t i = 0;

	for (struct um_json *ref = um_json_first(refs); ref; ref = next) {
		next = ref->next;
		if (states[i++] != OWNER_LIVES)
			um_json_remove_node(refs, ref);
	}
	if (!um_json_first(refs))
		um_json_remove(meta, "ownerReferences");
	return update(l);
}

static int64_t look_at_dependent(struct gc_look *l)
{
	const struct um_json *refs = um_json_path(l->old, "metadata.ownerReferences");
	unsigned n[OWNER_GONE + 1] = {0};
	enum owner_state *states;
	size_t i = 0;

	if (!um_json_first(refs))
		return 0;
	states = um_arena_zalloc(l->a, refs->len * sizeof(*states));
	if (!states)
		return -ENOMEM;
	um_json_foreach (ref, refs)
		n[states[i++] = owner_of(l, ref)]++;
	if (n[OWNER_LIVES] == refs->len)
		return 0;
	if (n[OWNER_LIVES] || n[OWNER_LETS_GO])
		return keep_living(l, states);
	return n[OWNER_WAITS] ? delete_before_owner(l) : delete_it(l, UM_PROPAGATE_DEFAULT);
}

/* ---- what becomes of one that is being deleted ---- */

static int64_t look_at_leaving(struct gc_look *l)
{
	bool orphans = has_finalizer(l->old, UM_FINALIZER_ORPHAN);
	const char *name = orphans ? UM_FINALIZER_ORPHAN : UM_FINALIZER_FOREGROUND;
	struct um_json *meta, *list;

	if (!has_finalizer(l->old, name) || gc_index_count(&l->g->index, l->uid, l->key, !orphans))
		return 0;
	meta = um_json_get(changing(l), "metadata");
	list = um_json_get(meta, "finalizers");
	um_json_foreach (it, list) {
		if (!um_json_streq(it, name))
			continue;
		um_json_remove_node(list, it);
		break;
	}
	if (!um_json_first(list))
		um_json_remove(meta, "finalizers");
	return update(l);
}

/* ---- looks ---- */

static int64_t wake_some(struct um_gc *g, const char *uid)
{
	struct gc_owner *o = gc_index_owner(&g->index, uid);

	for (int i = 0; o && o->to_wake && i < WAKE_PER_LOOK; i++, o->to_wake--) {
		struct gc_ref *ref = TAILQ_FIRST(&o->refs);

		if (!ref) {
			o->to_wake = 0;
			break;
		}
		TAILQ_REMOVE(&o->refs, ref, next);
		TAILQ_INSERT_TAIL(&o->refs, ref, next);
		um_queue_add(g->queue, ref->dependent->key);
	}
	return o && o->to_wake ? AGAIN_NS : 0;
}

static int64_t on_look(void *arg, const char *key)
{
	struct um_gc *g = arg;
	_cleanup_arena_ struct um_arena *a = NULL;
	struct gc_look l = {.g = g, .key = key};
	int r;

	if (*key == '@')
		return wake_some(g, key + 1);
	if (!find_object(key, &l.kind, &l.n))
		return 0;
	l.a = a = um_arena_new(UM_OBJECT_ARENA_MAX);
	r = a ? um_api_load(g->ctl->api, l.kind, l.n.ns, l.n.name, a, &l.old, &l.rev) : -ENOMEM;
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	l.uid = um_json_get_str(l.old, "metadata.uid", "");
	return um_json_path(l.old, "metadata.deletionTimestamp") ? look_at_leaving(&l)
								 : look_at_dependent(&l);
}

/* ---- following the store ---- */

static void wake_dependents(struct um_gc *g, struct gc_owner *o)
{
	char key[300];
	const struct gc_ref *ref;

	o->to_wake = 0;
	TAILQ_FOREACH (ref, &o->refs, next)
		o->to_wake++;
	if (o->to_wake && snprintf(key, sizeof(key), "@%s", o->uid) < (int)sizeof(key))
		um_queue_add(g->queue, key);
}

/* One dependent fewer. */
static void on_left(void *arg, struct gc_owner *o)
{
	struct um_gc *g = arg;

	um_queue_add(g->queue, o->waiting);
}

static void see_gone(struct um_gc *g, const char *key, const struct um_bytes *last)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	const struct um_json *obj = a && last ? um_object_parse(last, 0, a) : NULL;
	const char *uid = um_json_get_str(obj, "metadata.uid", "");
	struct gc_owner *o;

	if (!obj)
		um_log(UM_LOG_ERROR, "garbage collector: out of memory", UM_LOG_STR("object", key));
	(void)!gc_index_put(&g->index, key, NULL, on_left, g);
	(void)!gc_index_wait(&g->index, uid, NULL);
	o = gc_index_owner(&g->index, uid);
	if (!o)
		return;
	o->gone = true;
	wake_dependents(g, o);
}

static bool mentions(const struct um_bytes *b)
{
	return b && (strstr(b->data, "\"" UM_FINALIZER_FOREGROUND "\"") ||
		     strstr(b->data, "\"" UM_FINALIZER_ORPHAN "\""));
}

static int note_waiting(struct um_gc *g, const char *key, const struct um_json *obj)
{
	const char *uid = um_json_get_str(obj, "metadata.uid", "");
	bool orphans = has_finalizer(obj, UM_FINALIZER_ORPHAN);
	bool waits = um_json_path(obj, "metadata.deletionTimestamp") &&
		     (orphans || has_finalizer(obj, UM_FINALIZER_FOREGROUND));
	struct gc_owner *o = gc_index_owner(&g->index, uid);
	bool news = !o || !o->waiting || o->orphans != orphans;
	int r = gc_index_wait(&g->index, uid, waits ? key : NULL);

	if (r < 0 || !waits)
		return r;
	o = gc_index_owner(&g->index, uid);
	o->orphans = orphans;
	if (news)
		wake_dependents(g, o);
	um_queue_add(g->queue, key);
	return 0;
}

static void see(struct um_gc *g, const char *key, const struct um_bytes *value,
		const struct um_bytes *before)
{
	_cleanup_arena_ struct um_arena *a = NULL;
	size_t len = 0, old_len = 0;
	const char *refs = gc_refs_text(value, &len);
	const char *old = before ? gc_refs_text(before, &old_len) : NULL;
	bool special = mentions(value) || mentions(before);
	const struct um_json *obj;
	int r;

	if (!refs && !old && !special)
		return;
	if (before && !special && len == old_len && refs && old && !memcmp(refs, old, len))
		return;
	a = um_arena_new(UM_OBJECT_ARENA_MAX);
	obj = a ? um_object_parse(value, 0, a) : NULL;
	r = obj ? gc_index_put(&g->index, key, obj, on_left, g) : -ENOMEM;
	if (r == 0 && special)
		r = note_waiting(g, key, obj);
	if (r < 0)
		um_log(UM_LOG_ERROR, "garbage collector: out of memory", UM_LOG_STR("object", key));
	if (gc_index_find(&g->index, key))
		um_queue_add(g->queue, key);
}

static void on_event(void *arg, const struct um_store_event *ev)
{
	if (ev->value)
		see(arg, ev->key, ev->value, ev->prev_value);
	else
		see_gone(arg, ev->key, ev->prev_value);
}

static bool on_existing(void *arg, const struct um_store_kv *kv)
{
	see(arg, kv->key, kv->value, NULL);
	return true;
}

int um_gc_new(struct um_ctl *c, struct um_gc **ret, struct um_error *err)
{
	struct um_gc *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return um_error_set(err, -ENOMEM, "garbage collector: out of memory");
	g->ctl = c;
	r = um_queue_new(c->loop, on_look, g, &g->queue, err);
	if (r == 0)
		r = um_store_watch_new(c->durable, ALL, um_store_rev(c->durable), on_event, g,
				       &g->watch, err);
	if (r < 0) {
		um_gc_free(g);
		return r;
	}
	um_store_list(c->durable, ALL, NULL, on_existing, g);
	*ret = g;
	return 0;
}

void um_gc_free(struct um_gc *g)
{
	if (!g)
		return;
	um_store_watch_free(g->watch);
	um_queue_free(g->queue);
	gc_index_release(&g->index);
	free(g);
}
