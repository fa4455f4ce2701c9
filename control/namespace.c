#include "control/namespace.h"

#include <string.h>
#include <sys/queue.h>

#include "api/object.h"
#include "api/server.h"
#include "base/clock.h"
#include "base/vec.h"
#include "store/store.h"
#include "wire/loop.h"

/* Waits between two looks at a namespace that is not empty yet: pods take their grace. */
#define FIRST_LOOK_NS (20 * UM_NSEC_PER_MSEC)
#define LAST_LOOK_NS (2 * UM_NSEC_PER_SEC)
enum { REMOVALS_PER_LOOK = 50 };

struct leaving {
	struct um_namespaces *all;
	char *name;
	struct um_timer *timer;
	int64_t delay_ns;
	TAILQ_ENTRY(leaving) next;
};

struct um_namespaces {
	struct um_loop *loop;
	struct um_api *api;
	struct um_store *durable, *volatile_;
	const struct um_kind *kind;
	struct um_store_watch *watch;
	char prefix[UM_OBJECT_KEY_MAX];
	TAILQ_HEAD(, leaving) leaving;
};

static void leaving_free(struct leaving *lv)
{
	TAILQ_REMOVE(&lv->all->leaving, lv, next);
	um_timer_free(lv->timer);
	free(lv->name);
	free(lv);
}

/* ---- emptying ---- */

struct names {
	size_t prefix_len;
	UM_VEC(char *) list;
};

static bool note_name(void *arg, const struct um_store_kv *kv)
{
	struct names *n = arg;
	char *name = strdup(kv->key + n->prefix_len);

	if (!name || um_vec_push(&n->list, name) < 0) {
		free(name);
		return false;
	}
	return n->list.len < REMOVALS_PER_LOOK;
}

/* How many objects of the kind there still are (at most REMOVALS_PER_LOOK). */
static size_t empty_kind(struct um_namespaces *all, const struct um_kind *k, const char *ns,
			 bool *progress)
{
	struct names n = {0};
	char prefix[UM_OBJECT_KEY_MAX];
	size_t found;

	if (um_object_key(prefix, k, ns, NULL) < 0)
		return 0;
	n.prefix_len = strlen(prefix);
	um_store_list(k->is_volatile ? all->volatile_ : all->durable, prefix, NULL, note_name, &n);
	found = n.list.len;
	for (size_t i = 0; i < n.list.len; i++) {
		/* A refusal is met again at the next look. */
		if (um_api_remove(all->api, k, ns, n.list.items[i], NULL, NULL) > 0)
			*progress = true;
		free(n.list.items[i]);
	}
	um_vec_release(&n.list);
	return found;
}

static size_t empty(struct um_namespaces *all, const char *ns, bool *progress)
{
	size_t n_kinds, left = 0;
	const struct um_kind *const *kinds = um_schema_kinds(&n_kinds);

	for (size_t i = 0; i < n_kinds; i++)
		if (kinds[i]->namespaced)
			left += empty_kind(all, kinds[i], ns, progress);
	return left;
}

static void on_done(void *arg um_unused, int64_t rev um_unused,
		    const struct um_error *err um_unused)
{
}

/* Takes our finalizer away; where no other holds it, the namespace goes. -ENOENT: it is gone. */
static int let_go(struct um_namespaces *all, const char *ns)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	_cleanup_bytes_ struct um_bytes *b = NULL;
	struct um_store_kv kv;
	char key[UM_OBJECT_KEY_MAX];
	struct um_store_compare cmp;
	struct um_store_op op = {key, NULL};
	struct um_json *obj;

	if (!a || um_object_key(key, all->kind, NULL, ns) < 0)
		return -ENOMEM;
	if (um_store_get_tentative(all->durable, key, &kv) < 0)
		return -ENOENT;
	cmp = (struct um_store_compare){key, kv.mod_rev};
	obj = um_object_parse(kv.value, kv.mod_rev, a);
	if (!obj)
		return -ENOMEM;
	if (!um_json_path(obj, "metadata.deletionTimestamp"))
		return -ENOENT;
	if (um_json_first(um_json_path(obj, "metadata.finalizers"))) {
		if (!um_json_first(um_json_path(obj, "spec.finalizers")))
			return -EBUSY; /* others hold it */
		um_json_set(a, um_json_get(obj, "spec"), "finalizers", um_json_new_arr(a));
		b = um_object_encode(all->kind, obj, a);
		if (!b)
			return -ENOMEM;
		op.value = b;
	}
	return um_store_txn(all->durable, &cmp, 1, &op, 1, on_done, NULL, NULL);
}

static void on_look(void *arg)
{
	struct leaving *lv = arg;
	bool progress = false;

	if (!empty(lv->all, lv->name, &progress) && let_go(lv->all, lv->name) == -ENOENT) {
		leaving_free(lv);
		return;
	}
	if (progress)
		lv->delay_ns = FIRST_LOOK_NS;
	else
		lv->delay_ns = lv->delay_ns * 2 < LAST_LOOK_NS ? lv->delay_ns * 2 : LAST_LOOK_NS;
	um_timer_start(lv->timer, lv->delay_ns);
}

/* ---- noticing ---- */

static void consider(struct um_namespaces *all, const char *key, const struct um_bytes *value)
{
	const char *name = key + strlen(all->prefix);
	struct leaving *lv;

	/* Cheap and safe: on_look() reads the object itself. */
	if (!strstr(value->data, "\"deletionTimestamp\""))
		return;
	TAILQ_FOREACH (lv, &all->leaving, next)
		if (!strcmp(lv->name, name))
			return;
	lv = calloc(1, sizeof(*lv));
	if (!lv)
		return;
	lv->all = all;
	lv->name = strdup(name);
	lv->timer = um_timer_new(all->loop, on_look, lv);
	TAILQ_INSERT_TAIL(&all->leaving, lv, next);
	if (!lv->name || !lv->timer) {
		leaving_free(lv);
		return;
	}
	lv->delay_ns = FIRST_LOOK_NS;
	um_timer_start(lv->timer, 0);
}

static bool on_existing(void *arg, const struct um_store_kv *kv)
{
	consider(arg, kv->key, kv->value);
	return true;
}

static void on_event(void *arg, const struct um_store_event *ev)
{
	if (ev->value)
		consider(arg, ev->key, ev->value);
}

int um_namespaces_new(struct um_loop *l, struct um_api *api, struct um_store *durable,
		      struct um_store *volatile_, struct um_namespaces **ret, struct um_error *err)
{
	struct um_namespaces *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return um_error_set(err, -ENOMEM, "namespaces: out of memory");
	n->loop = l;
	n->api = api;
	n->durable = durable;
	n->volatile_ = volatile_;
	TAILQ_INIT(&n->leaving);
	n->kind = um_schema_find_resource("", "v1", "namespaces");
	r = n->kind ? um_object_key(n->prefix, n->kind, NULL, NULL)
		    : um_error_set(err, -EINVAL, "the schema has no namespaces");
	if (!r)
		r = um_store_watch_new(durable, n->prefix, um_store_rev(durable), on_event, n,
				       &n->watch, err);
	if (r < 0) {
		free(n);
		return r;
	}
	um_store_list(durable, n->prefix, NULL, on_existing, n);
	*ret = n;
	return 0;
}

void um_namespaces_free(struct um_namespaces *n)
{
	if (!n)
		return;
	um_store_watch_free(n->watch);
	while (!TAILQ_EMPTY(&n->leaving))
		leaving_free(TAILQ_FIRST(&n->leaving));
	free(n);
}
