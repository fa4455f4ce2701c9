/* Defaults: first what the notation says (default=), then the few things that depend on other
 * fields, by kind. */
#include <string.h>

#include "base/base64.h"
#include "api/schema/kind_ops.h"

struct filler {
	const struct um_schema_set *s;
	struct um_arena *a;
};

/* An absent value, or the zero value of a field for which both mean the same. */
static bool unset(const struct um_sfield *f, const struct um_json *v)
{
	if (!v)
		return true;
	if (f->flags & UM_SFLAG_PRESENCE)
		return false;
	return (v->type == UM_JSON_STR && !v->len) ||
	       (v->type == UM_JSON_NUM && !strcmp(v->str, "0"));
}

static void fill(struct filler *fl, const struct um_stype *t, struct um_json *obj);

static void fill_field(struct filler *fl, const struct um_sfield *f, struct um_json *obj)
{
	const char *name = um_ss(fl->s, f->name);
	struct um_json *v = um_json_get(obj, name);

	if ((f->flags & UM_SFLAG_DEFAULT) && unset(f, v)) {
		const char *def = um_ss(fl->s, f->def);

		if (um_json_parse(fl->a, def, strlen(def), NULL, &v, NULL) < 0)
			return;
		um_json_set(fl->a, obj, name, v);
	}
	if (!v || f->base != UM_SB_OBJECT)
		return;
	if (f->card == UM_SC_ONE) {
		fill(fl, &fl->s->types[f->type], v);
		return;
	}
	um_json_foreach (it, v)
		fill(fl, &fl->s->types[f->type], it);
}

static void fill(struct filler *fl, const struct um_stype *t, struct um_json *obj)
{
	const struct um_sfield *f = fl->s->fields + t->first;

	if (!um_json_is(obj, UM_JSON_OBJ))
		return;
	for (unsigned i = 0; i < t->n; i++, f++) {
		if (f->flags & UM_SFLAG_INLINE)
			fill(fl, &fl->s->types[f->type], obj);
		else
			fill_field(fl, f, obj);
	}
}

/* ---- pods ---- */

/* Always for no tag or :latest, IfNotPresent for any other tag and for digests. */
static const char *pull_policy(const char *image)
{
	const char *slash = strrchr(image, '/'), *colon = strrchr(image, ':');

	if (strchr(image, '@'))
		return "IfNotPresent";
	if (!colon || (slash && slash > colon) || !strcmp(colon, ":latest"))
		return "Always";
	return "IfNotPresent";
}

static void requests_from_limits(struct um_json *container, struct um_arena *a)
{
	struct um_json *limits = um_json_path(container, "resources.limits"), *requests;

	if (!um_json_is(limits, UM_JSON_OBJ) || !limits->first)
		return;
	requests = um_json_ensure_obj(a, um_json_get(container, "resources"), "requests");
	um_json_foreach (it, limits)
		if (!um_json_get(requests, it->key))
			um_json_set(a, requests, it->key, um_json_copy(a, it));
}

static void host_ports(struct um_json *container, struct um_arena *a)
{
	um_json_foreach (port, um_json_get(container, "ports"))
		if (!um_json_get_i64(port, "hostPort", 0) && um_json_get(port, "containerPort"))
			um_json_set(a, port, "hostPort",
				    um_json_copy(a, um_json_get(port, "containerPort")));
}

static void containers(struct um_json *spec, const char *list, struct um_arena *a)
{
	um_json_foreach (c, um_json_get(spec, list)) {
		const char *policy = um_json_get_str(c, "imagePullPolicy", "");

		if (!*policy)
			um_json_set_str(a, c, "imagePullPolicy",
					pull_policy(um_json_get_str(c, "image", "")));
		if (!um_json_get(c, "resources"))
			um_json_ensure_obj(a, c, "resources");
	}
}

/* A volume without a source is an emptyDir. */
static void volumes(struct um_json *spec, struct um_arena *a)
{
	um_json_foreach (v, um_json_get(spec, "volumes")) {
		bool source = false;

		um_json_foreach (it, v)
			source |= strcmp(it->key, "name") != 0;
		if (!source)
			um_json_ensure_obj(a, v, "emptyDir");
	}
}

void um_sdefault_template_spec(struct um_json *spec, struct um_arena *a)
{
	const char *account = um_json_get_str(spec, "serviceAccountName", "");
	const char *old_account = um_json_get_str(spec, "serviceAccount", "");

	containers(spec, "initContainers", a);
	containers(spec, "containers", a);
	volumes(spec, a);
	/* The field has two names; the new one wins. */
	if (*account && strcmp(account, old_account))
		um_json_set_str(a, spec, "serviceAccount", account);
	else if (*old_account && !*account)
		um_json_set_str(a, spec, "serviceAccountName", old_account);
}

void um_sdefault_pod_spec(struct um_json *spec, struct um_arena *a)
{
	static const char *const lists[] = {"initContainers", "containers"};
	bool host_network = um_json_get_bool(spec, "hostNetwork", false);

	um_sdefault_template_spec(spec, a);
	for (size_t i = 0; i < UM_ARRAY_LEN(lists); i++) {
		um_json_foreach (c, um_json_get(spec, lists[i])) {
			requests_from_limits(c, a);
			if (host_network)
				host_ports(c, a);
		}
	}
	if (!um_json_get(spec, "enableServiceLinks"))
		um_json_set_bool(a, spec, "enableServiceLinks", true);
}

void um_sdefault_pod(struct um_json *obj, struct um_arena *a)
{
	um_sdefault_pod_spec(um_json_ensure_obj(a, obj, "spec"), a);
	if (!um_json_path(obj, "status.phase"))
		um_json_set_str(a, um_json_ensure_obj(a, obj, "status"), "phase", "Pending");
}

/* ---- the other kinds ---- */

void um_sdefault_secret(struct um_json *obj, struct um_arena *a)
{
	struct um_json *plain = um_json_get(obj, "stringData");

	if (!plain)
		return;
	um_json_foreach (it, plain)
		um_json_set_str(a, um_json_ensure_obj(a, obj, "data"), it->key,
				um_base64_encode(a, it->str, it->len));
	um_json_remove(obj, "stringData");
}

void um_sdefault_namespace(struct um_json *obj, struct um_arena *a)
{
	const char *name = um_json_get_str(obj, "metadata.name", "");
	struct um_json *finalizers = um_json_path(obj, "spec.finalizers"), *labels;

	if (*name) {
		labels = um_json_ensure_obj(a, um_json_ensure_obj(a, obj, "metadata"), "labels");
		um_json_set_str(a, labels, "kubernetes.io/metadata.name", name);
	}
	/* While it is being deleted, an empty list means that the content is gone. */
	if (!um_json_first(finalizers) && !um_json_path(obj, "metadata.deletionTimestamp")) {
		finalizers =
			um_json_ensure_arr(a, um_json_ensure_obj(a, obj, "spec"), "finalizers");
		um_json_append(finalizers, um_json_new_str(a, "kubernetes"));
	}
	if (!um_json_path(obj, "status.phase"))
		um_json_set_str(a, um_json_ensure_obj(a, obj, "status"), "phase", "Active");
}

void um_sdefault_node(struct um_json *obj, struct um_arena *a)
{
	struct um_json *capacity = um_json_path(obj, "status.capacity"), *allocatable;

	if (!um_json_is(capacity, UM_JSON_OBJ) || um_json_path(obj, "status.allocatable"))
		return;
	allocatable = um_json_ensure_obj(a, um_json_get(obj, "status"), "allocatable");
	um_json_foreach (it, capacity)
		um_json_set(a, allocatable, it->key, um_json_copy(a, it));
}

int um_schema_default(const struct um_kind *kind, struct um_json *obj, struct um_arena *a)
{
	struct filler fl = {kind->type->set, a};
	const struct um_kind_ops *ops = um_kind_ops_of(kind);

	fill(&fl, um_stype_of(kind), obj);
	if (ops && ops->set_defaults)
		ops->set_defaults(obj, a);
	return um_arena_failed(a) ? -ENOMEM : 0;
}
