/* Who am I, may I, what may I: answered by the same rules that requests meet, never kept. */
#include <string.h>

#include "api/internal.h"

static void put_list(struct um_arena *a, struct um_json *o, const char *key,
		     const char *const *list)
{
	struct um_json *arr = um_json_set(a, o, key, um_json_new_arr(a));

	for (; list && *list; list++)
		um_json_append(arr, um_json_new_str(a, *list));
}

static void who(struct um_areq *rq, struct um_json *obj)
{
	struct um_arena *a = rq->arena;
	struct um_json *status = um_json_set(a, obj, "status", um_json_new_obj(a));
	struct um_json *user = um_json_set(a, status, "userInfo", um_json_new_obj(a));
	struct um_json *groups;

	um_json_set_str(a, user, "username", rq->id.user);
	if (rq->id.uid)
		um_json_set_str(a, user, "uid", rq->id.uid);
	groups = um_json_set(a, user, "groups", um_json_new_arr(a));
	for (unsigned i = 0; i < rq->id.n_groups; i++)
		um_json_append(groups, um_json_new_str(a, rq->id.groups[i]));
	if (um_json_first(rq->id.extra))
		um_json_set(a, user, "extra", um_json_copy(a, rq->id.extra));
}

/* ---- may I ---- */

static bool verb_of(const char *name, enum um_verb *ret)
{
	for (unsigned i = 0; i < UM_VERB_COUNT; i++) {
		if (strcmp(um_verb_names[i], name))
			continue;
		*ret = (enum um_verb)i;
		return true;
	}
	return false;
}

/* The request asked about, as far as the path tells it. False: no such thing is here. */
static bool imagine(struct um_areq *probe, const struct um_json *spec)
{
	const struct um_json *r = um_json_get(spec, "resourceAttributes");
	const struct um_json *page = um_json_get(spec, "nonResourceAttributes");
	const char *version = um_json_get_str(r, "version", "");
	struct um_route *rt = &probe->rt;

	*rt = (struct um_route){.ns = "", .name = "", .sub = ""};
	if (page)
		return um_route_is_page(rt, um_json_get_str(page, "path", ""));
	if (!*version || !strcmp(version, "*"))
		version = "v1";
	rt->kind = um_schema_find_resource(um_json_get_str(r, "group", ""), version,
					   um_json_get_str(r, "resource", ""));
	rt->ns = um_json_get_str(r, "namespace", "");
	rt->name = um_json_get_str(r, "name", "");
	rt->sub = um_json_get_str(r, "subresource", "");
	return rt->kind && verb_of(um_json_get_str(r, "verb", ""), &rt->verb);
}

static void may(struct um_areq *rq, struct um_json *obj)
{
	struct um_arena *a = rq->arena;
	struct um_areq probe = *rq;
	bool allowed =
		rq->id.admin || (imagine(&probe, um_json_get(obj, "spec")) && um_may(&probe));
	struct um_json *status = um_json_set(a, obj, "status", um_json_new_obj(a));

	um_json_set_bool(a, status, "allowed", allowed);
	if (rq->id.admin)
		um_json_set_str(a, status, "reason", "in group system:masters");
}

/* ---- what may I ---- */

static struct um_json *rule(struct um_arena *a, struct um_json *list, const char *const *verbs)
{
	struct um_json *o = um_json_append(list, um_json_new_obj(a));

	put_list(a, o, "verbs", verbs);
	return o;
}

static void rules(struct um_areq *rq, struct um_json *obj)
{
	static const char *const all[] = {"*", NULL}, *const get[] = {"get", NULL},
				 *const create[] = {"create", NULL};
	static const char *const pages[] = {"/.well-known/openid-configuration",
					    "/api",
					    "/api/*",
					    "/apis",
					    "/apis/*",
					    "/healthz",
					    "/livez",
					    "/openapi",
					    "/openapi/*",
					    "/openid/v1/jwks",
					    "/readyz",
					    "/version/",
					    "/version",
					    NULL};
	struct um_arena *a = rq->arena;
	struct um_json *status = um_json_set(a, obj, "status", um_json_new_obj(a));
	struct um_json *resources = um_json_set(a, status, "resourceRules", um_json_new_arr(a));
	struct um_json *paths = um_json_set(a, status, "nonResourceRules", um_json_new_arr(a));
	struct um_json *o;
	size_t n;
	const struct um_kind *const *kinds = um_schema_kinds(&n);

	if (rq->id.admin) {
		o = rule(a, resources, all);
		put_list(a, o, "apiGroups", all);
		put_list(a, o, "resources", all);
		put_list(a, rule(a, paths, all), "nonResourceURLs", all);
	}
	for (size_t i = 0; i < n; i++) {
		if (!kinds[i]->is_virtual)
			continue;
		o = rule(a, resources, create);
		put_list(a, o, "apiGroups", (const char *const[]){kinds[i]->group, NULL});
		put_list(a, o, "resources", (const char *const[]){kinds[i]->plural, NULL});
	}
	put_list(a, rule(a, paths, get), "nonResourceURLs", pages);
	/* What a node may depends on the objects. */
	um_json_set_bool(a, status, "incomplete", rq->id.node && !rq->id.admin);
}

static const struct {
	const char *kind;
	void (*answer)(struct um_areq *rq, struct um_json *obj);
} answers[] = {
	{"SelfSubjectReview", who},
	{"SelfSubjectAccessReview", may},
	{"SelfSubjectRulesReview", rules},
};

static bool sane(struct um_areq *rq, struct um_json *obj)
{
	struct um_causes causes = {.arena = rq->arena};
	const struct um_json *spec = um_json_get(obj, "spec");
	const struct um_kind *k = rq->rt.kind;

	um_json_ensure_obj(rq->arena, obj, "metadata");
	if (um_schema_default(k, obj, rq->arena) < 0) {
		um_answer_no_memory(rq);
		return false;
	}
	(void)!um_schema_validate(k, obj, NULL, &causes);
	if (!causes.n && !strcmp(k->kind, "SelfSubjectAccessReview") &&
	    !um_json_get(spec, "resourceAttributes") == !um_json_get(spec, "nonResourceAttributes"))
		um_cause_add(&causes, "FieldValueInvalid", "spec.resourceAttributes",
			     "Invalid value: \"\": exactly one of nonResourceAttributes or "
			     "resourceAttributes must be specified");
	if (causes.n)
		um_answer_invalid(rq, "", &causes);
	return !causes.n;
}

void um_handle_review(struct um_areq *rq)
{
	struct um_json *obj = NULL;

	if (!um_query_write_opts(rq) || !um_decode_body(rq, rq->rt.kind, &obj) || !sane(rq, obj))
		return;
	for (size_t i = 0; i < UM_ARRAY_LEN(answers); i++)
		if (!strcmp(answers[i].kind, rq->rt.kind->kind))
			answers[i].answer(rq, obj);
	um_answer_json(rq, 201, um_arena_failed(rq->arena) ? NULL : obj);
}
