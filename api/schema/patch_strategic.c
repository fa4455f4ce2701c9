/* Kubernetes' strategic merge patch: objects merge, lists merge where the schema says so (by a key,
 * or as sets), everything else is replaced. Directives: $patch (replace, delete, merge) in objects
 * and list items, $retainKeys, $setElementOrder/<field>, $deleteFromPrimitiveList/<field>. */
#include <string.h>

#include "api/schema/patch.h"

#define ORDER "$setElementOrder/"
#define DELETE_FROM "$deleteFromPrimitiveList/"

struct merger {
	const struct um_schema_set *s;
	struct um_arena *a;
	struct um_error *err;
};

static int bad_patch(struct merger *m, const char *what, const char *where)
{
	return um_error_set(m->err, -EBADMSG, "invalid strategic merge patch: %s: %.200s", what,
			    where);
}

static int merge_object(struct merger *m, const struct um_stype *t, struct um_json *target,
			const struct um_json *patch);

static void clear(struct um_json *n)
{
	n->first = n->last = NULL;
	n->len = 0;
}

/* ---- lists ---- */

struct items {
	struct um_json **v;
	size_t n;
};

static bool items_init(struct merger *m, struct items *it, size_t room)
{
	it->n = 0;
	it->v = um_arena_alloc(m->a, (room + 1) * sizeof(*it->v));
	return it->v != NULL;
}

static void items_of(struct items *to, const struct um_json *arr)
{
	um_json_foreach (n, arr)
		to->v[to->n++] = n;
}

/* What identifies an item: the item itself in a set, its merge key in a list of objects. */
static const struct um_json *identity(struct merger *m, const struct um_sfield *f,
				      const struct um_json *n)
{
	return f->base == UM_SB_OBJECT ? um_json_get(n, um_ss(m->s, f->merge_key)) : n;
}

static long index_of(struct merger *m, const struct um_sfield *f, const struct items *list,
		     const struct um_json *id)
{
	for (size_t i = 0; id && i < list->n; i++)
		if (um_json_equal(identity(m, f, list->v[i]), id))
			return (long)i;
	return -1;
}

/* Sorts by the place in @order, stable; what is not there goes to the end. */
static void sort_by(struct merger *m, const struct um_sfield *f, struct items *list,
		    const struct items *order, long *place)
{
	for (size_t i = 0; i < list->n; i++) {
		struct um_json *n = list->v[i];
		long at = index_of(m, f, order, identity(m, f, n));
		size_t k = i;

		if (at < 0)
			at = (long)order->n;
		for (; k && place[k - 1] > at; k--) {
			place[k] = place[k - 1];
			list->v[k] = list->v[k - 1];
		}
		place[k] = at;
		list->v[k] = n;
	}
}

/* The items that the patch names come in its order; the server's own keep theirs, each before the
 * first patched item that it was before. */
static int reorder(struct merger *m, const struct um_sfield *f, struct um_json *list,
		   const struct items *before, const struct items *order)
{
	size_t room = list->len, i = 0, j = 0;
	struct items named, own;
	long *place = um_arena_alloc(m->a, (room + 1) * sizeof(*place));

	if (!place || !items_init(m, &named, room) || !items_init(m, &own, room))
		return -ENOMEM;
	um_json_foreach (n, list) {
		struct items *to = index_of(m, f, order, identity(m, f, n)) >= 0 ? &named : &own;

		to->v[to->n++] = n;
	}
	sort_by(m, f, &named, order, place);
	sort_by(m, f, &own, before, place);
	clear(list);
	while (i < own.n || j < named.n) {
		long l = i < own.n ? index_of(m, f, before, identity(m, f, own.v[i])) : -1;
		long r = j < named.n ? index_of(m, f, before, identity(m, f, named.v[j])) : -1;
		bool left = j == named.n || (i < own.n && l >= 0 && r >= 0 && l < r);

		um_json_append(list, left ? own.v[i++] : named.v[j++]);
	}
	return 0;
}

static int merge_item(struct merger *m, const struct um_sfield *f, struct um_json *list,
		      const struct um_json *item)
{
	const struct um_json *id = identity(m, f, item);
	struct um_json *found = NULL;

	if (!id || id->type == UM_JSON_NULL)
		return bad_patch(m, "an item does not contain the declared merge key",
				 um_ss(m->s, f->merge_key));
	um_json_foreach (n, list) {
		if (um_json_equal(identity(m, f, n), id)) {
			found = n;
			break;
		}
	}
	if (f->base != UM_SB_OBJECT) {
		if (!found)
			um_json_append(list, um_json_copy(m->a, item));
		return 0;
	}
	if (!found)
		found = um_json_append(list, um_json_new_obj(m->a));
	return found ? merge_object(m, &m->s->types[f->type], found, item) : -ENOMEM;
}

static int delete_item(struct merger *m, const struct um_sfield *f, struct um_json *list,
		       const struct um_json *item)
{
	const struct um_json *id = identity(m, f, item);

	if (!id)
		return bad_patch(m, "delete patch type with no merge key defined",
				 um_ss(m->s, f->merge_key));
	for (struct um_json *n = list->first, *next; n; n = next) {
		next = n->next;
		if (um_json_equal(identity(m, f, n), id))
			um_json_remove_node(list, n);
	}
	return 0;
}

/* Carries out the special items of a list; the others go to @plain. */
static int special_items(struct merger *m, const struct um_sfield *f, struct um_json *list,
			 const struct um_json *patch, struct items *plain, bool *ret_replace)
{
	*ret_replace = false;
	um_json_foreach (n, patch) {
		const char *how = um_json_str(um_json_get(n, "$patch"), "merge");
		int r = 0;

		if (f->base == UM_SB_OBJECT && n->type != UM_JSON_OBJ)
			return bad_patch(m, "a list of objects holds something else",
					 um_ss(m->s, f->name));
		if (!strcmp(how, "delete"))
			r = delete_item(m, f, list, n);
		else if (!strcmp(how, "replace"))
			*ret_replace = true;
		else if (!strcmp(how, "merge"))
			plain->v[plain->n++] = n;
		else
			r = bad_patch(m, "unknown patch type", how);
		if (r < 0)
			return r;
	}
	return 0;
}

/* @patch and @order: either may be NULL. */
static int merge_list(struct merger *m, const struct um_sfield *f, struct um_json *list,
		      const struct um_json *patch, const struct um_json *order)
{
	struct items before, plain, wanted;
	bool replace = false;
	int r = 0;

	if (list->len > 2 * UM_PATCH_MAX_ITEMS)
		return um_error_set(m->err, -E2BIG, "patch: list %s is too long to merge",
				    um_ss(m->s, f->name));
	if (!items_init(m, &before, list->len) || !items_init(m, &plain, patch ? patch->len : 0) ||
	    !items_init(m, &wanted, order ? order->len : 0))
		return -ENOMEM;
	items_of(&before, list);
	if (patch)
		r = special_items(m, f, list, patch, &plain, &replace);
	if (r < 0)
		return r;
	if (replace) {
		clear(list);
		before.n = 0;
	}
	for (size_t i = 0; i < plain.n; i++) {
		r = merge_item(m, f, list, plain.v[i]);
		if (r < 0)
			return r;
	}
	items_of(&wanted, order);
	return reorder(m, f, list, &before, order ? &wanted : &plain);
}

/* ---- objects ---- */

static int retain_keys(struct merger *m, struct um_json *target, const struct um_json *patch)
{
	const struct um_json *keys = um_json_get(patch, "$retainKeys");
	struct items list;

	if (!keys)
		return 0;
	if (keys->type != UM_JSON_ARR)
		return bad_patch(m, "not a list", "$retainKeys");
	if (!items_init(m, &list, target->len))
		return -ENOMEM;
	items_of(&list, target);
	for (size_t i = 0; i < list.n; i++) {
		bool kept = false;

		um_json_foreach (k, keys)
			kept |= um_json_streq(k, list.v[i]->key);
		if (!kept)
			um_json_remove_node(target, list.v[i]);
	}
	um_json_foreach (p, patch) {
		bool kept = *p->key == '$' || p->type == UM_JSON_NULL;

		um_json_foreach (k, keys)
			kept |= um_json_streq(k, p->key);
		if (!kept)
			return bad_patch(m, "$retainKeys does not list a field of the patch",
					 p->key);
	}
	return 0;
}

static int delete_from(struct merger *m, struct um_json *target, const struct um_json *patch)
{
	struct um_json *list = um_json_get(target, patch->key + strlen(DELETE_FROM));

	if (patch->type != UM_JSON_ARR)
		return bad_patch(m, "not a list", patch->key);
	if (!um_json_is(list, UM_JSON_ARR))
		return 0;
	if (list->len > 2 * UM_PATCH_MAX_ITEMS)
		return um_error_set(m->err, -E2BIG, "patch: list %s is too long to merge",
				    list->key);
	um_json_foreach (gone, patch) {
		for (struct um_json *n = list->first, *next; n; n = next) {
			next = n->next;
			if (um_json_equal(n, gone))
				um_json_remove_node(list, n);
		}
	}
	return 0;
}

static const struct um_sfield *field_of(struct merger *m, const struct um_stype *t,
					const char *name)
{
	return t ? um_sfield_find(m->s, t, name) : NULL;
}

static bool merges(const struct um_sfield *f)
{
	return f && f->card == UM_SC_LIST && f->flags & UM_SFLAG_MERGE;
}

/* $setElementOrder/x where the patch says nothing else of x. */
static int order_only(struct merger *m, const struct um_stype *t, struct um_json *target,
		      const struct um_json *patch, const struct um_json *order)
{
	const char *name = order->key + strlen(ORDER);
	const struct um_sfield *f = field_of(m, t, name);
	struct um_json *list = um_json_get(target, name);

	if (order->type != UM_JSON_ARR)
		return bad_patch(m, "not a list", order->key);
	if (um_json_get(patch, name) || !list)
		return 0; /* done with the field itself */
	if (!merges(f) || list->type != UM_JSON_ARR)
		return bad_patch(m, "no list that merges", order->key);
	return merge_list(m, f, list, NULL, order);
}

static int merge_field(struct merger *m, const struct um_stype *t, struct um_json *target,
		       const struct um_json *patch, const struct um_json *p)
{
	const struct um_sfield *f = field_of(m, t, p->key);
	const struct um_json *order;
	struct um_json *now;

	if (p->type == UM_JSON_OBJ) {
		bool known = f && f->base == UM_SB_OBJECT && f->card == UM_SC_ONE;

		now = um_json_ensure_obj(m->a, target, p->key);
		if (!now)
			return -ENOMEM;
		if (f && f->flags & UM_SFLAG_REPLACE)
			clear(now);
		return merge_object(m, known ? &m->s->types[f->type] : NULL, now, p);
	}
	if (p->type != UM_JSON_ARR || !merges(f))
		return um_json_set(m->a, target, p->key, um_json_copy(m->a, p)) ? 0 : -ENOMEM;
	order = um_json_get(patch, um_arena_printf(m->a, "%s%s", ORDER, p->key));
	if (order && order->type != UM_JSON_ARR)
		return bad_patch(m, "not a list", order->key);
	now = um_json_ensure_arr(m->a, target, p->key);
	return now ? merge_list(m, f, now, p, order) : -ENOMEM;
}

static int merge_object(struct merger *m, const struct um_stype *t, struct um_json *target,
			const struct um_json *patch)
{
	const struct um_json *how = um_json_get(patch, "$patch");
	int r;

	if (how && !um_json_streq(how, "merge")) {
		if (!um_json_streq(how, "replace") && !um_json_streq(how, "delete"))
			return bad_patch(m, "unknown patch type", um_json_str(how, ""));
		clear(target);
		if (um_json_streq(how, "delete"))
			return 0;
	}
	r = retain_keys(m, target, patch);
	if (r < 0)
		return r;
	um_json_foreach (p, patch) {
		if (!strcmp(p->key, "$patch") || !strcmp(p->key, "$retainKeys"))
			continue;
		if (!strncmp(p->key, ORDER, strlen(ORDER)))
			r = order_only(m, t, target, patch, p);
		else if (!strncmp(p->key, DELETE_FROM, strlen(DELETE_FROM)))
			r = delete_from(m, target, p);
		else if (p->type == UM_JSON_NULL)
			um_json_remove(target, p->key);
		else
			r = merge_field(m, t, target, patch, p);
		if (r < 0)
			return r;
	}
	return 0;
}

int um_patch_strategic(const struct um_kind *kind, struct um_arena *a, const struct um_json *obj,
		       const struct um_json *patch, struct um_json **ret, struct um_error *err)
{
	struct merger m = {kind->type->set, a, err};
	struct um_json *result = um_json_copy(a, obj);
	int r;

	if (!um_json_is(patch, UM_JSON_OBJ))
		return um_error_set(err, -EBADMSG, "invalid strategic merge patch: not an object");
	r = um_patch_check_width(patch, true, err);
	if (r < 0)
		return r;
	if (!um_json_is(result, UM_JSON_OBJ))
		return um_patch_done(a, NULL, ret, err);
	r = merge_object(&m, um_stype_of(kind), result, patch);
	if (r == -ENOMEM)
		return um_patch_done(a, NULL, ret, err);
	return r < 0 ? r : um_patch_done(a, result, ret, err);
}
