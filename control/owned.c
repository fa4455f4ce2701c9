#include "control/owned.h"

#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "api/object.h"
#include "base/hash.h"
#include "base/log.h"
#include "control/ctl.h"
#include "store/store.h"

enum { GROUP_NAME_MAX = 300 };

TAILQ_HEAD(object_list, object);

struct group {
	UT_hash_handle hh;
	struct object_list objects;
	char name[];
};

struct object {
	UT_hash_handle hh;
	TAILQ_ENTRY(object) next;
	struct group *group;
	char *owner; /* behind key */
	char key[];
};

struct um_owned {
	const char *owner_kind;
	um_owned_fn change;
	void *arg;
	struct object *objects;
	struct group *groups; /* by the owner's uid; "/ns": no owner */
	struct um_store_watch *watch;
	char prefix[UM_OBJECT_KEY_MAX];
};

static struct group *find_group(const struct um_owned *o, const char *name)
{
	struct group *g;

	HASH_FIND_STR(o->groups, name, g);
	return g;
}

static struct group *make_group(struct um_owned *o, const char *name)
{
	struct group *g = find_group(o, name);

	if (g)
		return g;
	g = calloc(1, sizeof(*g) + strlen(name) + 1);
	if (!g)
		return NULL;
	strcpy(g->name, name);
	TAILQ_INIT(&g->objects);
	HASH_ADD_STR(o->groups, name, g);
	if (!g->hh.tbl) {
		free(g);
		return NULL;
	}
	return g;
}

static void object_free(struct um_owned *o, struct object *ob)
{
	struct group *g = ob->group;

	HASH_DEL(o->objects, ob);
	TAILQ_REMOVE(&g->objects, ob, next);
	if (TAILQ_EMPTY(&g->objects)) {
		HASH_DEL(o->groups, g);
		free(g);
	}
	free(ob);
}

static struct object *object_new(struct um_owned *o, const char *key, const struct um_json *obj)
{
	const struct um_json *ref = um_ctl_controller_of(obj);
	bool owned = ref && !strcmp(um_json_get_str(ref, "kind", ""), o->owner_kind);
	const char *owner = owned ? um_json_get_str(ref, "name", "") : "";
	char name[GROUP_NAME_MAX];
	struct object *ob;

	if (ref)
		snprintf(name, sizeof(name), "%s", um_json_get_str(ref, "uid", ""));
	else
		snprintf(name, sizeof(name), "/%.*s", (int)strcspn(key, "/"), key);
	ob = calloc(1, sizeof(*ob) + strlen(key) + 1 + strlen(owner) + 1);
	if (!ob)
		return NULL;
	strcpy(ob->key, key);
	ob->owner = strcpy(ob->key + strlen(key) + 1, owner);
	ob->group = make_group(o, name);
	if (ob->group)
		HASH_ADD_STR(o->objects, key, ob);
	if (!ob->group || !ob->hh.tbl) {
		free(ob);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&ob->group->objects, ob, next);
	return ob;
}

static void see(struct um_owned *o, const char *full_key, const struct um_bytes *value)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	struct um_json *obj = a && value ? um_object_parse(value, 0, a) : NULL;
	const char *key = full_key + strlen(o->prefix), *old_owner = "";
	struct object *ob;

	HASH_FIND_STR(o->objects, key, ob);
	if (ob) {
		old_owner = a ? um_arena_strdup(a, ob->owner) : "";
		object_free(o, ob);
	}
	ob = obj ? object_new(o, key, obj) : NULL;
	if (value && !ob)
		um_log(UM_LOG_ERROR, "controllers: out of memory", UM_LOG_STR("object", key));
	o->change(o->arg, key, old_owner ? old_owner : "", ob ? ob->owner : "");
}

static void on_event(void *arg, const struct um_store_event *ev)
{
	see(arg, ev->key, ev->value);
}

static bool on_existing(void *arg, const struct um_store_kv *kv)
{
	see(arg, kv->key, kv->value);
	return true;
}

int um_owned_new(struct um_store *store, const struct um_kind *kind, const char *owner_kind,
		 um_owned_fn change, void *arg, struct um_owned **ret, struct um_error *err)
{
	struct um_owned *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return um_error_set(err, -ENOMEM, "controllers: out of memory");
	o->owner_kind = owner_kind;
	o->change = change;
	o->arg = arg;
	r = um_object_key(o->prefix, kind, NULL, NULL);
	if (r == 0)
		r = um_store_watch_new(store, o->prefix, um_store_rev(store), on_event, o,
				       &o->watch, err);
	if (r < 0) {
		free(o);
		return r;
	}
	um_store_list(store, o->prefix, NULL, on_existing, o);
	*ret = o;
	return 0;
}

void um_owned_free(struct um_owned *o)
{
	struct object *ob, *tmp;

	if (!o)
		return;
	um_store_watch_free(o->watch);
	HASH_ITER (hh, o->objects, ob, tmp)
		object_free(o, ob);
	free(o);
}

static void each(const struct um_owned *o, const char *group,
		 void (*fn)(void *arg, const char *key), void *arg)
{
	struct group *g = find_group(o, group);
	struct object *ob;

	if (g)
		TAILQ_FOREACH (ob, &g->objects, next)
			fn(arg, ob->key);
}

void um_owned_each(const struct um_owned *o, const char *uid,
		   void (*fn)(void *arg, const char *key), void *arg)
{
	each(o, uid, fn, arg);
}

void um_owned_each_orphan(const struct um_owned *o, const char *ns,
			  void (*fn)(void *arg, const char *key), void *arg)
{
	char name[GROUP_NAME_MAX];

	snprintf(name, sizeof(name), "/%s", ns);
	each(o, name, fn, arg);
}
