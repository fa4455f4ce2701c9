/* From a path and a method to what is asked: a fixed page, or a verb on a resource. */
#include <string.h>

#include "api/internal.h"

const char *const um_verb_names[UM_VERB_COUNT] = {"get",    "list",  "watch",  "create",
						  "update", "patch", "delete", "deletecollection"};

enum { SEGMENTS_MAX = 16 };

struct path {
	const char *seg[SEGMENTS_MAX];
	unsigned n;
};

static const struct {
	const char *path;
	bool prefix; /* and everything below */
	const char *methods;
	bool open;
	um_handler_fn fn;
} fixed[] = {
	{"/healthz", true, "GET HEAD", true, um_handle_health},
	{"/livez", true, "GET HEAD", true, um_handle_health},
	{"/readyz", true, "GET HEAD", true, um_handle_health},
	{"/version", false, "GET HEAD", true, um_handle_version},
	{"/metrics", false, "GET", false, um_handle_metrics},
	{"/openapi/v2", false, "GET HEAD", false, um_handle_openapi},
	{"/openapi/v3", true, "GET HEAD", false, um_handle_openapi},
	{"/", false, "GET HEAD", false, um_handle_paths},
	{"/.well-known/openid-configuration", false, "GET HEAD", false, um_handle_issuer},
	{"/openid/v1/jwks", false, "GET HEAD", false, um_handle_jwks},
	{"/api", false, "GET HEAD", false, um_handle_discovery},
	{"/api/v1", false, "GET HEAD", false, um_handle_discovery},
	{"/apis", false, "GET HEAD", false, um_handle_discovery},
	{"/umiak/v1/nodes", true, "GET", false, um_handle_node_control},
	{"/umiak/v1/streams", true, "POST", false, um_handle_stream},
};

static bool has_word(const char *words, const char *word)
{
	size_t len = strlen(word);

	for (const char *s = words; (s = strstr(s, word)); s += len)
		if ((s == words || s[-1] == ' ') && (!s[len] || s[len] == ' '))
			return true;
	return false;
}

/* The fixed page of a path, into @rt; its methods, or NULL: it is none. */
static const char *find_fixed(struct um_route *rt, const char *path)
{
	size_t len = strlen(path);

	if (len > 1 && path[len - 1] == '/')
		len--;
	for (size_t i = 0; i < UM_ARRAY_LEN(fixed); i++) {
		size_t n = strlen(fixed[i].path);

		if (strncmp(path, fixed[i].path, n) ||
		    !(len == n || (fixed[i].prefix && path[n] == '/')))
			continue;
		rt->fixed = fixed[i].fn;
		rt->open = fixed[i].open;
		rt->rest = path[n] ? path + n + 1 : "";
		return fixed[i].methods;
	}
	return NULL;
}

void um_route_pages(struct um_json *list, struct um_arena *a)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(fixed); i++)
		if (fixed[i].path[1] && strncmp(fixed[i].path, "/umiak/", 7))
			um_json_append(list, um_json_new_str(a, fixed[i].path));
}

bool um_route_is_page(struct um_route *rt, const char *path)
{
	return find_fixed(rt, path) != NULL;
}

static int route_fixed(struct um_areq *rq, const char *path)
{
	struct um_route found = {NULL};
	const char *methods = find_fixed(&found, path);

	if (!methods)
		return -ENOENT;
	if (!has_word(methods, um_http_method(rq->http)))
		return -ENOTSUP;
	rq->rt.fixed = found.fixed;
	rq->rt.open = found.open;
	rq->rt.rest = found.rest;
	return 0;
}

static int split(struct um_areq *rq, const char *path, struct path *p)
{
	char *copy = um_arena_strdup(rq->arena, path), *save = NULL;

	p->n = 0;
	if (!copy)
		return -ENOENT;
	for (char *s = strtok_r(copy, "/", &save); s; s = strtok_r(NULL, "/", &save)) {
		if (p->n == SEGMENTS_MAX)
			return -ENOENT;
		p->seg[p->n++] = s;
	}
	return 0;
}

/* Which verb a method means for a collection, an object, a subresource. */
static int verb_of(struct um_areq *rq)
{
	const char *m = um_http_method(rq->http);
	struct um_route *rt = &rq->rt;
	bool object = *rt->name;

	if (!strcmp(m, "GET") || !strcmp(m, "HEAD"))
		rt->verb = object			? UM_VERB_GET
			   : um_query_bool(rq, "watch") ? UM_VERB_WATCH
							: UM_VERB_LIST;
	else if (!strcmp(m, "POST") && (!object || *rt->sub))
		rt->verb = UM_VERB_CREATE;
	else if (!strcmp(m, "PUT") && object)
		rt->verb = UM_VERB_UPDATE;
	else if (!strcmp(m, "PATCH") && object)
		rt->verb = UM_VERB_PATCH;
	else if (!strcmp(m, "DELETE") && !*rt->sub)
		rt->verb = object ? UM_VERB_DELETE : UM_VERB_DELETECOLLECTION;
	else
		return -ENOTSUP;
	return 0;
}

static bool has_sub(const struct um_kind *k, const char *sub)
{
	for (const char *const *s = k->subresources; *s; s++)
		if (!strcmp(*s, sub))
			return true;
	return false;
}

/* [namespaces/<ns>/]<plural>[/<name>[/<sub>]] */
static int route_resource(struct um_areq *rq, const char *group, const char *version,
			  const char *const *seg, unsigned n)
{
	struct um_route *rt = &rq->rt;

	rt->ns = rt->name = rt->sub = "";
	if (n >= 3 && !strcmp(seg[0], "namespaces") &&
	    (rt->kind = um_schema_find_resource(group, version, seg[2])) && rt->kind->namespaced) {
		rt->ns = seg[1];
		seg += 2;
		n -= 2;
	} else {
		rt->kind = um_schema_find_resource(group, version, seg[0]);
		/* Across namespaces only lists; names live in one. */
		if (rt->kind && rt->kind->namespaced && n > 1)
			return -ENOENT;
	}
	if (!rt->kind || n > 3)
		return -ENOENT;
	rt->name = n > 1 ? seg[1] : "";
	rt->sub = n > 2 ? seg[2] : "";
	if (*rt->sub && !has_sub(rt->kind, rt->sub))
		return -ENOENT;
	if (verb_of(rq) < 0)
		return -ENOTSUP;
	if (rt->verb == UM_VERB_CREATE && rt->kind->namespaced && !*rt->ns)
		return -ENOTSUP;
	if (rt->verb == UM_VERB_DELETECOLLECTION && rt->kind->namespaced && !*rt->ns)
		return -ENOTSUP;
	return 0;
}

int um_route(struct um_areq *rq)
{
	const char *path = um_http_path(rq->http);
	int r = route_fixed(rq, path);
	struct path p;

	if (r != -ENOENT)
		return r;
	if (split(rq, path, &p) < 0)
		return -ENOENT;
	if (p.n >= 3 && !strcmp(p.seg[0], "api") && !strcmp(p.seg[1], "v1"))
		return route_resource(rq, "", "v1", p.seg + 2, p.n - 2);
	if (p.n >= 2 && p.n <= 3 && !strcmp(p.seg[0], "apis")) {
		rq->rt.fixed = um_handle_discovery;
		return strcmp(um_http_method(rq->http), "GET") ? -ENOTSUP : 0;
	}
	if (p.n >= 4 && !strcmp(p.seg[0], "apis"))
		return route_resource(rq, p.seg[1], p.seg[2], p.seg + 3, p.n - 3);
	return -ENOENT;
}

static bool plain(const char *s)
{
	size_t len = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789.-");

	return len && !s[len] && len < 64;
}

const char *um_route_missing(struct um_areq *rq)
{
	const char *group, *version, *plural;
	const struct um_kind *kind;
	struct path p;
	unsigned at;

	if (split(rq, um_http_path(rq->http), &p) < 0 || p.n < 3)
		return NULL;
	at = !strcmp(p.seg[0], "api") ? 2 : 3;
	if ((at == 3 && strcmp(p.seg[0], "apis")) || p.n <= at)
		return NULL;
	group = at == 2 ? "" : p.seg[1];
	version = p.seg[at - 1];
	if (p.n >= at + 3 && !strcmp(p.seg[at], "namespaces"))
		at += 2;
	plural = p.seg[at];
	if (!plain(plural) || !plain(version) || (*group && !plain(group)))
		return NULL;
	kind = um_schema_find_resource(group, version, plural);
	if (kind && p.n >= at + 3 && plain(p.seg[at + 2]) && !has_sub(kind, p.seg[at + 2]))
		return um_arena_printf(rq->arena, "%s/%s", plural, p.seg[at + 2]);
	if (kind)
		return NULL;
	return um_arena_printf(rq->arena, "%s%s%s/%s", plural, *group ? "." : "", group, version);
}
