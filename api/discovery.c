/* What this server has: /api, /apis, one group and version, and all of it in one answer for clients
 * that ask for the aggregated form. All of it comes from the schema. */
#include <string.h>

#include "api/internal.h"

#define CATEGORY_LIST(a, o, key, list)                                                             \
	do {                                                                                       \
		if ((list) && *(list)) {                                                           \
			struct um_json *l_ = um_json_set((a), (o), (key), um_json_new_arr(a));     \
			for (const char *const *s_ = (list); *s_; s_++)                            \
				um_json_append(l_, um_json_new_str((a), *s_));                     \
		}                                                                                  \
	} while (0)

struct group {
	const char *name, *version;
};

/* Groups in the order of their first kind; the core group ("") is one of them. */
static unsigned groups(struct group *g, unsigned max)
{
	size_t n_kinds;
	const struct um_kind *const *kinds = um_schema_kinds(&n_kinds);
	unsigned n = 0;

	for (size_t i = 0; i < n_kinds; i++) {
		bool known = false;

		for (unsigned k = 0; k < n; k++)
			known |= !strcmp(g[k].name, kinds[i]->group) &&
				 !strcmp(g[k].version, kinds[i]->version);
		if (!known && n < max)
			g[n++] = (struct group){kinds[i]->group, kinds[i]->version};
	}
	return n;
}

/* What each subresource accepts and answers. */
static const struct {
	const char *sub, *group, *version, *kind, *verbs[4];
} subs[] = {
	{"status", NULL, NULL, NULL, {"get", "patch", "update", NULL}},
	{"binding", "", "v1", "Binding", {"create", NULL}},
	{"eviction", "policy", "v1", "Eviction", {"create", NULL}},
	{"scale", "autoscaling", "v1", "Scale", {"get", "patch", "update", NULL}},
	{"token", "authentication.k8s.io", "v1", "TokenRequest", {"create", NULL}},
	{"log", "", "v1", "Pod", {"get", NULL}},
	{"finalize", NULL, NULL, NULL, {"update", NULL}},
};

static int find_sub(const char *name)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(subs); i++)
		if (!strcmp(subs[i].sub, name))
			return (int)i;
	return -1;
}

static void classic_resource(struct um_arena *a, struct um_json *list, const struct um_kind *k)
{
	struct um_json *o = um_json_append(list, um_json_new_obj(a));

	um_json_set_str(a, o, "name", k->plural);
	um_json_set_str(a, o, "singularName", k->singular);
	um_json_set_bool(a, o, "namespaced", k->namespaced);
	um_json_set_str(a, o, "kind", k->kind);
	CATEGORY_LIST(a, o, "verbs", k->verbs);
	CATEGORY_LIST(a, o, "shortNames", k->short_names);
	CATEGORY_LIST(a, o, "categories", k->categories);
	for (const char *const *s = k->subresources; s && *s; s++) {
		int i = find_sub(*s);

		if (i < 0)
			continue;
		o = um_json_append(list, um_json_new_obj(a));
		um_json_set_str(a, o, "name", um_arena_printf(a, "%s/%s", k->plural, *s));
		um_json_set_str(a, o, "singularName", "");
		um_json_set_bool(a, o, "namespaced", k->namespaced);
		if (subs[i].kind && *subs[i].group) {
			um_json_set_str(a, o, "group", subs[i].group);
			um_json_set_str(a, o, "version", subs[i].version);
		}
		um_json_set_str(a, o, "kind", subs[i].kind ? subs[i].kind : k->kind);
		CATEGORY_LIST(a, o, "verbs", subs[i].verbs);
	}
}

static void resource_list(struct um_areq *rq, const char *group, const char *version)
{
	struct um_arena *a = rq->arena;
	struct um_json *o = um_json_new_obj(a), *list;
	size_t n;
	const struct um_kind *const *kinds = um_schema_kinds(&n);

	um_json_set_str(a, o, "kind", "APIResourceList");
	um_json_set_str(a, o, "apiVersion", "v1");
	um_json_set_str(a, o, "groupVersion",
			*group ? um_arena_printf(a, "%s/%s", group, version) : version);
	list = um_json_set(a, o, "resources", um_json_new_arr(a));
	for (size_t i = 0; i < n; i++)
		if (!strcmp(kinds[i]->group, group) && !strcmp(kinds[i]->version, version))
			classic_resource(a, list, kinds[i]);
	if (!um_json_first(list)) {
		um_answer_status(rq, &(struct um_status){
					     .code = 404,
					     .reason = "NotFound",
					     .message = "the server could not find the requested "
							"resource"});
		return;
	}
	um_answer_json(rq, 200, o);
}

static void put_version(struct um_arena *a, struct um_json *o, const struct group *g)
{
	um_json_set_str(a, o, "groupVersion", um_arena_printf(a, "%s/%s", g->name, g->version));
	um_json_set_str(a, o, "version", g->version);
}

static struct um_json *classic_group(struct um_arena *a, const struct group *g)
{
	struct um_json *o = um_json_new_obj(a);

	um_json_set_str(a, o, "name", g->name);
	put_version(a,
		    um_json_append(um_json_set(a, o, "versions", um_json_new_arr(a)),
				   um_json_new_obj(a)),
		    g);
	put_version(a, um_json_set(a, o, "preferredVersion", um_json_new_obj(a)), g);
	return o;
}

static void group_list(struct um_areq *rq)
{
	struct um_arena *a = rq->arena;
	struct um_json *o = um_json_new_obj(a), *list;
	struct group g[64];
	unsigned n = groups(g, 64);

	um_json_set_str(a, o, "kind", "APIGroupList");
	um_json_set_str(a, o, "apiVersion", "v1");
	list = um_json_set(a, o, "groups", um_json_new_arr(a));
	for (unsigned i = 0; i < n; i++)
		if (*g[i].name)
			um_json_append(list, classic_group(a, &g[i]));
	um_answer_json(rq, 200, o);
}

static void one_group(struct um_areq *rq, const char *name)
{
	struct group g[64];
	unsigned n = groups(g, 64);

	for (unsigned i = 0; i < n; i++) {
		struct um_json *o;

		if (!*g[i].name || strcmp(g[i].name, name))
			continue;
		o = classic_group(rq->arena, &g[i]);
		um_json_set_str(rq->arena, o, "kind", "APIGroup");
		um_json_set_str(rq->arena, o, "apiVersion", "v1");
		um_answer_json(rq, 200, o);
		return;
	}
	resource_list(rq, name, "");
}

static void api_versions(struct um_areq *rq)
{
	struct um_arena *a = rq->arena;
	struct um_json *o = um_json_new_obj(a);

	um_json_set_str(a, o, "kind", "APIVersions");
	um_json_append(um_json_set(a, o, "versions", um_json_new_arr(a)), um_json_new_str(a, "v1"));
	um_json_set(a, o, "serverAddressByClientCIDRs", um_json_new_arr(a));
	um_answer_json(rq, 200, o);
}

/* ---- the aggregated form ---- */

static void put_gvk(struct um_arena *a, struct um_json *o, const char *group, const char *version,
		    const char *kind)
{
	struct um_json *gvk = um_json_set(a, o, "responseKind", um_json_new_obj(a));

	um_json_set_str(a, gvk, "group", group);
	um_json_set_str(a, gvk, "version", version);
	um_json_set_str(a, gvk, "kind", kind);
}

static void aggregated_resource(struct um_arena *a, struct um_json *list, const struct um_kind *k)
{
	struct um_json *o = um_json_append(list, um_json_new_obj(a)), *l = NULL;

	um_json_set_str(a, o, "resource", k->plural);
	put_gvk(a, o, k->group, k->version, k->kind);
	um_json_set_str(a, o, "scope", k->namespaced ? "Namespaced" : "Cluster");
	um_json_set_str(a, o, "singularResource", k->singular);
	CATEGORY_LIST(a, o, "verbs", k->verbs);
	CATEGORY_LIST(a, o, "shortNames", k->short_names);
	CATEGORY_LIST(a, o, "categories", k->categories);
	for (const char *const *s = k->subresources; s && *s; s++) {
		int i = find_sub(*s);
		struct um_json *sub;

		if (i < 0)
			continue;
		if (!l)
			l = um_json_set(a, o, "subresources", um_json_new_arr(a));
		sub = um_json_append(l, um_json_new_obj(a));
		um_json_set_str(a, sub, "subresource", *s);
		if (subs[i].kind)
			put_gvk(a, sub, subs[i].group, subs[i].version, subs[i].kind);
		else
			put_gvk(a, sub, k->group, k->version, k->kind);
		CATEGORY_LIST(a, sub, "verbs", subs[i].verbs);
	}
}

static void aggregated(struct um_areq *rq, const char *version, bool core)
{
	struct um_arena *a = rq->arena;
	struct um_json *o = um_json_new_obj(a), *items;
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_OBJECT_ARENA_MAX);
	struct group g[64];
	unsigned n = groups(g, 64);
	size_t n_kinds;
	const struct um_kind *const *kinds = um_schema_kinds(&n_kinds);
	char type[128];

	um_json_set_str(a, o, "kind", "APIGroupDiscoveryList");
	um_json_set_str(a, o, "apiVersion", um_arena_printf(a, "apidiscovery.k8s.io/%s", version));
	um_json_set(a, o, "metadata", um_json_new_obj(a));
	items = um_json_set(a, o, "items", um_json_new_arr(a));
	for (unsigned i = 0; i < n; i++) {
		struct um_json *grp, *v, *resources;

		if (core != !*g[i].name)
			continue;
		grp = um_json_append(items, um_json_new_obj(a));
		v = um_json_set(a, grp, "metadata", um_json_new_obj(a));
		if (*g[i].name)
			um_json_set_str(a, v, "name", g[i].name);
		v = um_json_append(um_json_set(a, grp, "versions", um_json_new_arr(a)),
				   um_json_new_obj(a));
		um_json_set_str(a, v, "version", g[i].version);
		resources = um_json_set(a, v, "resources", um_json_new_arr(a));
		um_json_set_str(a, v, "freshness", "Current");
		for (size_t k = 0; k < n_kinds; k++)
			if (!strcmp(kinds[k]->group, g[i].name) &&
			    !strcmp(kinds[k]->version, g[i].version))
				aggregated_resource(a, resources, kinds[k]);
	}
	if (um_arena_failed(a) || um_json_write(&b, o) < 0) {
		um_answer_no_memory(rq);
		return;
	}
	/* The client recognises the form by the type. */
	snprintf(type, sizeof(type),
		 "application/json;g=apidiscovery.k8s.io;v=%s;as=APIGroupDiscoveryList", version);
	um_answer_text(rq, 200, type, b.data, b.len);
}

/* The first form of Accept that is spoken: a version of the aggregated one, or NULL. */
static const char *wants_aggregated(const struct um_areq *rq)
{
	const char *s = um_http_header(rq->http, "accept");

	while (s && *s) {
		size_t n = strcspn(s, ",");

		if (memmem(s, n, "as=APIGroupDiscoveryList", 24)) {
			if (memmem(s, n, "v=v2beta1", 9))
				return "v2beta1";
			if (memmem(s, n, "v=v2", 4))
				return "v2";
		} else if (memmem(s, n, "application/json", 16)) {
			return NULL;
		}
		s += n + (s[n] == ',');
	}
	return NULL;
}

void um_handle_discovery(struct um_areq *rq)
{
	const char *path = um_http_path(rq->http), *form = wants_aggregated(rq);
	char group[256], version[64];
	size_t len = strlen(path);

	if (len > 1 && path[len - 1] == '/')
		len--;
	if (len == 4 && !strncmp(path, "/api", 4)) {
		if (form)
			aggregated(rq, form, true);
		else
			api_versions(rq);
	} else if (len == 5 && !strncmp(path, "/apis", 5)) {
		if (form)
			aggregated(rq, form, false);
		else
			group_list(rq);
	} else if (len == 7 && !strncmp(path, "/api/v1", 7)) {
		resource_list(rq, "", "v1");
	} else if (sscanf(path, "/apis/%255[^/]/%63[^/]", group, version) == 2) {
		resource_list(rq, group, version);
	} else if (sscanf(path, "/apis/%255[^/]", group) == 1) {
		one_group(rq, group);
	} else {
		resource_list(rq, "", "none");
	}
}
