#include <string.h>

#include "control/gc_internal.h"

/* ---- owners ---- */

struct gc_owner *gc_index_owner(const struct gc_index *x, const char *uid)
{
	struct gc_owner *o;

	HASH_FIND_STR(x->owners, uid, o);
	return o;
}

static struct gc_owner *make_owner(struct gc_index *x, const char *uid)
{
	struct gc_owner *o = gc_index_owner(x, uid);

	if (o)
		return o;
	o = calloc(1, sizeof(*o) + strlen(uid) + 1);
	if (!o)
		return NULL;
	strcpy(o->uid, uid);
	TAILQ_INIT(&o->refs);
	HASH_ADD_STR(x->owners, uid, o);
	if (!o->hh.tbl) {
		free(o);
		return NULL;
	}
	return o;
}

static void drop_owner(struct gc_index *x, struct gc_owner *o)
{
	if (!TAILQ_EMPTY(&o->refs) || o->waiting)
		return;
	HASH_DEL(x->owners, o);
	free(o);
}

int gc_index_wait(struct gc_index *x, const char *uid, const char *key)
{
	struct gc_owner *o = key ? make_owner(x, uid) : gc_index_owner(x, uid);

	if (!o)
		return key ? -ENOMEM : 0;
	free(o->waiting);
	o->waiting = key ? strdup(key) : NULL;
	if (key && !o->waiting) {
		drop_owner(x, o);
		return -ENOMEM;
	}
	drop_owner(x, o);
	return 0;
}

unsigned gc_index_count(const struct gc_index *x, const char *uid, const char *self, bool blocking)
{
	const struct gc_owner *o = gc_index_owner(x, uid);
	const struct gc_ref *ref;
	unsigned n = 0;

	if (!o)
		return 0;
	TAILQ_FOREACH (ref, &o->refs, next)
		n += (!blocking || ref->blocks) && strcmp(ref->dependent->key, self) != 0;
	return n;
}

/* ---- dependents ---- */

struct gc_dependent *gc_index_find(const struct gc_index *x, const char *key)
{
	struct gc_dependent *d;

	HASH_FIND_STR(x->dependents, key, d);
	return d;
}

static void unlink_refs(struct gc_index *x, struct gc_dependent *d,
			void (*left)(void *arg, struct gc_owner *o), void *arg)
{
	for (unsigned i = 0; i < d->n_refs; i++) {
		struct gc_owner *o = d->refs[i].owner;

		TAILQ_REMOVE(&o->refs, &d->refs[i], next);
		if (o->waiting && left)
			left(arg, o);
		drop_owner(x, o);
	}
	d->n_refs = 0;
}

static void drop(struct gc_index *x, struct gc_dependent *d,
		 void (*left)(void *arg, struct gc_owner *o), void *arg)
{
	HASH_DEL(x->dependents, d);
	unlink_refs(x, d, left, arg);
	free(d);
}

static bool has_text(const struct um_json *list, const char *s)
{
	um_json_foreach (it, list)
		if (um_json_streq(it, s))
			return true;
	return false;
}

static int add(struct gc_index *x, const char *key, const struct um_json *obj)
{
	const struct um_json *refs = um_json_path(obj, "metadata.ownerReferences");
	unsigned n = um_json_is(refs, UM_JSON_ARR) ? refs->len : 0;
	size_t head = sizeof(struct gc_dependent) + n * sizeof(struct gc_ref);
	struct gc_dependent *d;

	if (!n)
		return 0;
	d = calloc(1, head + strlen(key) + 1);
	if (!d)
		return -ENOMEM;
	d->key = strcpy((char *)d + head, key);
	d->foreground = um_json_path(obj, "metadata.deletionTimestamp") &&
			has_text(um_json_path(obj, "metadata.finalizers"), "foregroundDeletion");
	HASH_ADD_KEYPTR(hh, x->dependents, d->key, strlen(d->key), d);
	if (!d->hh.tbl) {
		free(d);
		return -ENOMEM;
	}
	um_json_foreach (it, refs) {
		struct gc_ref *ref = &d->refs[d->n_refs];

		ref->owner = make_owner(x, um_json_get_str(it, "uid", ""));
		if (!ref->owner) {
			drop(x, d, NULL, NULL);
			return -ENOMEM;
		}
		ref->dependent = d;
		ref->blocks = um_json_get_bool(it, "blockOwnerDeletion", false);
		TAILQ_INSERT_TAIL(&ref->owner->refs, ref, next);
		d->n_refs++;
	}
	return 0;
}

int gc_index_put(struct gc_index *x, const char *key, const struct um_json *obj,
		 void (*left)(void *arg, struct gc_owner *o), void *arg)
{
	struct gc_dependent *old = gc_index_find(x, key);

	if (old)
		drop(x, old, left, arg);
	return obj ? add(x, key, obj) : 0;
}

void gc_index_release(struct gc_index *x)
{
	struct gc_dependent *d, *tmp;
	struct gc_owner *o, *next;

	HASH_ITER (hh, x->dependents, d, tmp)
		drop(x, d, NULL, NULL);
	HASH_ITER (hh, x->owners, o, next) {
		HASH_DEL(x->owners, o);
		free(o->waiting);
		free(o);
	}
}

/* ---- bytes ---- */

const char *gc_refs_text(const struct um_bytes *b, size_t *ret_len)
{
	static const char mark[] = "\"ownerReferences\":[";
	const char *start = strstr(b->data, mark), *s;
	bool in_string = false;

	if (!start)
		return NULL;
	/* No reference holds a list: the first bracket outside of a string ends it. */
	for (s = start + sizeof(mark) - 1; *s && (in_string || *s != ']'); s++) {
		if (in_string && *s == '\\' && s[1])
			s++;
		else if (*s == '"')
			in_string = !in_string;
	}
	*ret_len = (size_t)(s - start);
	return start;
}
