/* What controllers write: by the rules that clients have, without a request. */
#include <string.h>

#include "api/internal.h"

static int namespace_open(struct um_api *api, const char *ns, struct um_error *err)
{
	const struct um_kind *k = um_schema_find_resource("", "v1", "namespaces");
	_cleanup_arena_ struct um_arena *a = NULL;
	struct um_store_kv kv;
	char key[UM_OBJECT_KEY_MAX];
	struct um_json *obj;

	if (!k || um_object_key(key, k, NULL, ns) < 0 ||
	    um_store_get_tentative(api->o.durable, key, &kv) < 0)
		return um_error_set(err, -ENOENT, "namespaces \"%s\" not found", ns);
	if (!strstr(kv.value->data, "\"deletionTimestamp\""))
		return 0;
	a = um_arena_new(UM_OBJECT_ARENA_MAX);
	obj = a ? um_object_parse(kv.value, 0, a) : NULL;
	if (!obj)
		return um_error_set(err, -ENOMEM, "namespace %s: out of memory", ns);
	return um_json_path(obj, "metadata.deletionTimestamp")
		       ? um_error_set(err, -EPERM, "namespace %s is being terminated", ns)
		       : 0;
}

static int settle(struct um_api *api, const struct um_kind *kind, struct um_json *obj,
		  const struct um_json *old, struct um_arena *a, struct um_error *err)
{
	struct um_causes causes = {.arena = a};
	int r = 0;

	if (um_schema_default(kind, obj, a) < 0)
		return um_error_set(err, -ENOMEM, "%s: out of memory", kind->kind);
	if (!old && !strcmp(kind->kind, "Pod")) {
		um_pod_admit(obj, a);
		r = um_pod_admit_account(api, obj, a, err);
	}
	if (r < 0)
		return r;
	if (um_schema_validate(kind, obj, old, &causes) == 0)
		return 0;
	if (!causes.first)
		return um_error_set(err, -ENOMEM, "%s: out of memory", kind->kind);
	return um_error_set(err, -EINVAL, "%s: %s", causes.first->field, causes.first->message);
}

static int store_object(struct um_api *api, const struct um_kind *kind, struct um_json *obj,
			int64_t expect, struct um_arena *a, um_store_done_fn done, void *arg,
			struct um_error *err)
{
	_cleanup_bytes_ struct um_bytes *b = um_object_encode(kind, obj, a);
	char key[UM_OBJECT_KEY_MAX];
	struct um_store_compare cmp = {key, expect};
	struct um_store_op op = {key, b};
	int r;

	if (!b)
		return um_error_set(err, -ENOMEM, "%s: out of memory", kind->kind);
	r = um_object_key(key, kind, um_json_get_str(obj, "metadata.namespace", ""),
			  um_json_get_str(obj, "metadata.name", ""));
	if (r < 0)
		return um_error_set(err, r, "%s: the name is too long", kind->kind);
	return um_store_txn(um_api_store(api, kind), &cmp, 1, &op, 1, done, arg, err);
}

int um_api_create(struct um_api *api, const struct um_kind *kind, struct um_json *obj,
		  struct um_arena *a, um_store_done_fn done, void *arg, struct um_error *err)
{
	struct um_json *meta = um_json_ensure_obj(a, obj, "metadata");
	int r = 0;

	if (kind->namespaced)
		r = namespace_open(api, um_json_get_str(meta, "namespace", ""), err);
	if (r < 0)
		return r;
	um_meta_new(api, kind, meta, a);
	r = settle(api, kind, obj, NULL, a, err);
	if (r == 0)
		r = store_object(api, kind, obj, 0, a, done, arg, err);
	return r == -EAGAIN ? um_error_set(err, -EEXIST, "%s %s already exists", kind->kind,
					   um_json_get_str(meta, "name", ""))
			    : r;
}

int um_api_load(struct um_api *api, const struct um_kind *kind, const char *ns, const char *name,
		struct um_arena *a, struct um_json **ret, int64_t *ret_rev)
{
	struct um_store_kv kv;
	char key[UM_OBJECT_KEY_MAX];

	if (um_object_key(key, kind, ns, name) < 0 ||
	    um_store_get_tentative(um_api_store(api, kind), key, &kv) < 0)
		return -ENOENT;
	*ret = um_object_parse(kv.value, 0, a);
	*ret_rev = kv.mod_rev;
	return *ret ? 0 : -ENOMEM;
}

int um_api_update(struct um_api *api, const struct um_kind *kind, struct um_json *obj,
		  const struct um_json *old, int64_t rev, struct um_arena *a, um_store_done_fn done,
		  void *arg, struct um_error *err)
{
	char key[UM_OBJECT_KEY_MAX];
	int r;

	if (um_json_equal(obj, old))
		return 0;
	r = settle(api, kind, obj, old, a, err);
	if (r < 0)
		return r;
	um_meta_count_generation(kind, obj, old, a);
	if (um_removal_complete(kind, obj)) {
		struct um_store_compare cmp = {key, rev};
		struct um_store_op op = {key, NULL};

		r = um_object_key(key, kind, um_json_get_str(obj, "metadata.namespace", ""),
				  um_json_get_str(obj, "metadata.name", ""));
		if (r == 0)
			r = um_store_txn(um_api_store(api, kind), &cmp, 1, &op, 1, done, arg, err);
	} else {
		r = store_object(api, kind, obj, rev, a, done, arg, err);
	}
	return r < 0 ? r : 1;
}
