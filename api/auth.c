/* Who asks, by the client certificate (CN: user, O: groups) or a service account's token, and what
 * they may do: system:masters everything, a node the fixed table below, all others only what tells
 * how to talk to this server. */
#include <string.h>
#include <strings.h>

#include "api/internal.h"

#define NODE_PREFIX "system:node:"

int um_authenticate(struct um_areq *rq)
{
	const struct um_tls_peer *p = um_http_peer(rq->http);
	struct um_identity *id = &rq->id;
	const char *field = um_http_header(rq->http, "authorization");
	bool in_nodes = false;

	if (!p || !p->present || !*p->cn) {
		if (!field || strncasecmp(field, "Bearer ", 7))
			return -EACCES;
		return um_token_authenticate(rq, field + 7 + strspn(field + 7, " "));
	}
	id->user = um_arena_strdup(rq->arena, p->cn);
	if (!id->user)
		return -EACCES;
	for (unsigned i = 0; i < p->n_orgs; i++) {
		id->groups[id->n_groups++] = um_arena_strdup(rq->arena, p->orgs[i]);
		id->admin |= !strcmp(p->orgs[i], "system:masters");
		in_nodes |= !strcmp(p->orgs[i], "system:nodes");
	}
	id->groups[id->n_groups++] = "system:authenticated";
	if (in_nodes && !strncmp(id->user, NODE_PREFIX, strlen(NODE_PREFIX)) &&
	    id->user[strlen(NODE_PREFIX)])
		id->node = id->user + strlen(NODE_PREFIX);
	return 0;
}

/* ---- what a node may do ---- */

/* The name asked for, also where a list or watch is narrowed to one object. */
static const char *wanted_name(struct um_areq *rq)
{
	struct um_selector *s = NULL;
	const char *f = um_http_query(rq->http, "fieldSelector"), *name = NULL;

	if (*rq->rt.name)
		return rq->rt.name;
	if (um_selector_parse(rq->arena, rq->rt.kind, NULL, f, &s, NULL) == 0 && s)
		name = um_selector_field(s, "metadata.name");
	return name ? name : "";
}

static bool is_own_name(struct um_areq *rq)
{
	return !strcmp(wanted_name(rq), rq->id.node);
}

static bool is_own_lease(struct um_areq *rq)
{
	return !strcmp(rq->rt.ns, "kube-node-lease") &&
	       (rq->rt.verb == UM_VERB_CREATE || is_own_name(rq));
}

static struct um_json *stored_pod(struct um_areq *rq, const char *ns, const char *name)
{
	const struct um_kind *k = um_schema_find_resource("", "v1", "pods");
	struct um_store_kv kv;
	char key[UM_OBJECT_KEY_MAX];

	if (!k || um_object_key(key, k, ns, name) < 0 ||
	    um_store_get(um_api_store(rq->api, k), key, &kv) < 0)
		return NULL;
	return um_object_parse(kv.value, kv.mod_rev, rq->arena);
}

/* A pod that does not exist may be asked for: the answer, 404, tells nothing. */
static bool is_own_pod(struct um_areq *rq)
{
	struct um_selector *s = NULL;
	const char *node;
	struct um_json *pod;

	if (*rq->rt.name) {
		pod = stored_pod(rq, rq->rt.ns, rq->rt.name);
		return !pod || !strcmp(um_json_get_str(pod, "spec.nodeName", ""), rq->id.node);
	}
	if (um_selector_parse(rq->arena, rq->rt.kind, NULL,
			      um_http_query(rq->http, "fieldSelector"), &s, NULL) < 0 ||
	    !s)
		return false;
	node = um_selector_field(s, "spec.nodeName");
	return node && !strcmp(node, rq->id.node);
}

static bool names(const struct um_json *list, const char *path, const char *name)
{
	um_json_foreach (it, list)
		if (!strcmp(um_json_get_str(it, path, ""), name))
			return true;
	return false;
}

static bool container_refers(const struct um_json *c, const char *kind, const char *name)
{
	bool secret = !strcmp(kind, "Secret");

	return names(um_json_get(c, "env"),
		     secret ? "valueFrom.secretKeyRef.name" : "valueFrom.configMapKeyRef.name",
		     name) ||
	       names(um_json_get(c, "envFrom"), secret ? "secretRef.name" : "configMapRef.name",
		     name);
}

bool um_pod_refers(const struct um_json *pod, const char *kind, const char *name)
{
	static const char *const lists[] = {"containers", "initContainers"};
	const struct um_json *spec = um_json_get(pod, "spec"),
			     *volumes = um_json_get(spec, "volumes");
	bool secret = !strcmp(kind, "Secret");

	if (names(volumes, secret ? "secret.secretName" : "configMap.name", name) ||
	    (secret && names(um_json_get(spec, "imagePullSecrets"), "name", name)))
		return true;
	um_json_foreach (v, volumes)
		if (names(um_json_path(v, "projected.sources"),
			  secret ? "secret.name" : "configMap.name", name))
			return true;
	for (size_t i = 0; i < UM_ARRAY_LEN(lists); i++)
		um_json_foreach (c, um_json_get(spec, lists[i]))
			if (container_refers(c, kind, name))
				return true;
	return false;
}

struct search {
	struct um_areq *rq;
	const char *kind; /* NULL: any pod of the node will do */
	const char *name;
	bool found;
};

static bool look_at_pod(void *arg, const struct um_store_kv *kv)
{
	struct search *s = arg;
	struct um_json *pod;
	struct um_arena *a;

	if (!strstr(kv->value->data, s->rq->id.node) || !strstr(kv->value->data, s->name))
		return true;
	a = um_arena_new(UM_OBJECT_ARENA_MAX);
	pod = a ? um_object_parse(kv->value, kv->mod_rev, a) : NULL;
	s->found = pod && !strcmp(um_json_get_str(pod, "spec.nodeName", ""), s->rq->id.node) &&
		   (!s->kind || um_pod_refers(pod, s->kind, s->name));
	um_arena_free(a);
	return !s->found;
}

/* One of the node's pods in the namespace refers to the object asked for. */
static bool is_needed(struct um_areq *rq)
{
	const struct um_kind *pods = um_schema_find_resource("", "v1", "pods");
	bool any = !strcmp(rq->rt.kind->kind, "Namespace");
	struct search s = {rq, any ? NULL : rq->rt.kind->kind, wanted_name(rq), false};
	char prefix[UM_OBJECT_KEY_MAX];

	if (!*s.name || !pods || um_object_key(prefix, pods, any ? s.name : rq->rt.ns, NULL) < 0)
		return false;
	um_store_list(um_api_store(rq->api, pods), prefix, NULL, look_at_pod, &s);
	return s.found;
}

#define V(x) (1u << UM_VERB_##x)
#define READ (V(GET) | V(LIST) | V(WATCH))

static const struct {
	const char *group, *plural, *sub;
	unsigned verbs;
	bool (*allowed)(struct um_areq *rq); /* NULL: any */
} node_rules[] = {
	{"", "nodes", "", READ, NULL},
	{"", "nodes", "", V(CREATE), NULL}, /* of itself: checked with the body, write.c */
	{"", "nodes", "", V(UPDATE) | V(PATCH), is_own_name},
	{"", "nodes", "status", V(GET) | V(UPDATE) | V(PATCH), is_own_name},
	{"", "pods", "", READ | V(DELETE), is_own_pod},
	{"", "pods", "status", V(GET) | V(UPDATE) | V(PATCH), is_own_pod},
	{"", "secrets", "", READ, is_needed},
	{"", "configmaps", "", READ, is_needed},
	{"", "namespaces", "", READ, is_needed},
	{"", "services", "", READ, NULL},
	{"", "endpoints", "", READ, NULL},
	{"discovery.k8s.io", "endpointslices", "", READ, NULL},
	/* of its pods: checked with the body, token_request.c */
	{"", "serviceaccounts", "token", V(CREATE), NULL},
	{"", "events", "", V(CREATE) | V(UPDATE) | V(PATCH), NULL},
	{"coordination.k8s.io", "leases", "", READ | V(CREATE) | V(UPDATE) | V(PATCH) | V(DELETE),
	 is_own_lease},
};

static bool node_may(struct um_areq *rq)
{
	const struct um_route *rt = &rq->rt;

	if (rt->fixed) {
		if (rt->fixed == um_handle_node_control) {
			size_t n = strlen(rq->id.node);

			return !strncmp(rt->rest, rq->id.node, n) &&
			       !strcmp(rt->rest + n, "/control");
		}
		return rt->fixed != um_handle_metrics;
	}
	for (size_t i = 0; i < UM_ARRAY_LEN(node_rules); i++)
		if (!strcmp(node_rules[i].group, rt->kind->group) &&
		    !strcmp(node_rules[i].plural, rt->kind->plural) &&
		    !strcmp(node_rules[i].sub, rt->sub) && node_rules[i].verbs & 1u << rt->verb &&
		    (!node_rules[i].allowed || node_rules[i].allowed(rq)))
			return true;
	return false;
}

/* "User "x" cannot get resource "pods" in API group "" in the namespace "default"" */
static const char *why_not(struct um_areq *rq)
{
	const struct um_route *rt = &rq->rt;
	struct um_arena *a = rq->arena;
	const char *where;

	if (!rt->kind)
		return um_arena_printf(a, "User \"%s\" cannot %s path \"%s\"", rq->id.user,
				       !strcmp(um_http_method(rq->http), "GET") ? "get" : "post",
				       um_http_path(rq->http));
	where = *rt->ns ? um_arena_printf(a, "in the namespace \"%s\"", rt->ns)
			: "at the cluster scope";
	return um_arena_printf(a,
			       "User \"%s\" cannot %s resource \"%s%s%s\" in API group \"%s\" %s",
			       rq->id.user, um_verb_names[rt->verb], rt->kind->plural,
			       *rt->sub ? "/" : "", rt->sub, rt->kind->group, where ? where : "");
}

bool um_may(struct um_areq *rq)
{
	const struct um_route *rt = &rq->rt;

	if (rq->id.admin || (rq->id.node && node_may(rq)))
		return true;
	/* What every authenticated client may: see how to talk to this server, and who it is. */
	return rt->fixed == um_handle_discovery || rt->fixed == um_handle_openapi ||
	       rt->fixed == um_handle_health || rt->fixed == um_handle_version ||
	       rt->fixed == um_handle_issuer || rt->fixed == um_handle_jwks ||
	       (rt->kind && rt->kind->is_virtual && rt->verb == UM_VERB_CREATE);
}

bool um_authorize(struct um_areq *rq)
{
	const char *why;

	if (um_may(rq))
		return true;
	why = why_not(rq);
	if (why)
		um_answer_forbidden(rq, why);
	else
		um_answer_no_memory(rq);
	return false;
}
