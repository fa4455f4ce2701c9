#include "schema_util.h"

static struct um_json *document(struct um_arena *a, const char *group, const char *version)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(8 << 20);
	struct um_error err = UM_ERROR_INIT;
	struct um_json *doc;

	cr_assert_eq(um_schema_openapi_v3(group, version, &b), 0);
	cr_assert_eq(um_json_parse(a, b.data, b.len, NULL, &doc, &err), 0, "%s", err.msg);
	return doc;
}

static struct um_json *schema(const struct um_json *doc, const char *name)
{
	struct um_json *s = um_json_get(um_json_path(doc, "components.schemas"), name);

	cr_assert(s, "no schema %s", name);
	return s;
}

#define CORE "io.k8s.api.core.v1."

static const struct um_json *operation(const struct um_json *doc, const char *path,
				       const char *method)
{
	const struct um_json *o = um_json_get(um_json_get(um_json_get(doc, "paths"), path), method);

	cr_assert(o, "%s %s", method, path);
	return o;
}

Test(openapi, core_has_what_kubectl_looks_for)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(32 << 20);
	struct um_json *doc = document(a, "", "v1");
	const struct um_json *pod = schema(doc, CORE "Pod"), *spec = schema(doc, CORE "PodSpec");
	const struct um_json *patch =
		operation(doc, "/api/v1/namespaces/{namespace}/pods/{name}", "patch");
	bool validation = false;

	assert_json(a, um_json_get(pod, "x-kubernetes-group-version-kind"),
		    "[{'group':'','version':'v1','kind':'Pod'}]");
	assert_json(a, um_json_get(patch, "x-kubernetes-group-version-kind"),
		    "{'group':'','version':'v1','kind':'Pod'}");
	um_json_foreach (p, um_json_get(patch, "parameters"))
		validation |= um_json_streq(um_json_get(p, "name"), "fieldValidation") &&
			      um_json_streq(um_json_get(p, "in"), "query");
	cr_assert(validation);
	cr_assert_str_eq(
		um_json_get_str(spec, "properties.containers.x-kubernetes-patch-merge-key", ""),
		"name");
	cr_assert_str_eq(
		um_json_get_str(spec, "properties.volumes.x-kubernetes-patch-strategy", ""),
		"merge,retainKeys");
	assert_json(a,
		    um_json_path(spec, "properties.topologySpreadConstraints.x-kubernetes-list-map-"
				       "keys"),
		    "['topologyKey','whenUnsatisfiable']");
	assert_json(a, um_json_get(spec, "required"), "['containers']");
	cr_assert(um_json_path(schema(doc, CORE "Probe"), "properties.httpGet"));
	cr_assert(strstr(um_json_get_str(spec, "properties.overhead.description", ""),
			 "Not supported by Umiak yet."));
	operation(doc, "/api/v1/pods", "get");
	operation(doc, "/api/v1/nodes/{name}/status", "put");
	operation(doc, "/api/v1/namespaces/{namespace}/configmaps", "post");
}

/* Every $ref leads somewhere. */
static void check_refs(const struct um_json *doc, const struct um_json *n)
{
	um_json_foreach (it, n) {
		if (it->key && !strcmp(it->key, "$ref")) {
			cr_assert(!strncmp(it->str, "#/components/schemas/", 21));
			schema(doc, it->str + 21);
		}
		check_refs(doc, it);
	}
}

Test(openapi, references_are_complete)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(32 << 20);
	struct um_json *core = document(a, "", "v1");
	struct um_json *leases = document(a, "coordination.k8s.io", "v1");

	check_refs(core, core);
	check_refs(leases, leases);
	operation(leases, "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}",
		  "patch");
	cr_assert_null(um_json_get(um_json_path(leases, "components.schemas"), CORE "Pod"));
}

Test(openapi, index_and_unknown_groups)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(8 << 20), small = UM_BUF_INIT(1000);
	struct um_json *index;

	cr_assert_eq(um_schema_openapi_v3_index(&b), 0);
	cr_assert_eq(um_json_parse(a, b.data, b.len, NULL, &index, NULL), 0);
	index = um_json_get(index, "paths");
	cr_assert_eq(index->len, 6);
	cr_assert(um_json_get(index, "apis/apps/v1"));
	cr_assert(strstr(um_json_get_str(um_json_get(index, "api/v1"), "serverRelativeURL", ""),
			 "/openapi/v3/api/v1?hash="));
	cr_assert(um_json_get(index, "apis/coordination.k8s.io/v1"));
	um_buf_clear(&b);
	cr_assert_eq(um_schema_openapi_v3("nobody", "v1", &b), -ENOENT);
	cr_assert_eq(um_schema_openapi_v3("", "v1", &small), -EMSGSIZE);
}

Test(openapi, apps_has_scale_and_its_templates)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(32 << 20);
	struct um_json *doc = document(a, "apps", "v1");
	const struct um_json *scale = operation(
		doc, "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", "patch");

	assert_json(a, um_json_get(scale, "x-kubernetes-group-version-kind"),
		    "{'group':'autoscaling','version':'v1','kind':'Scale'}");
	schema(doc, "io.k8s.api.autoscaling.v1.Scale");
	schema(doc, CORE "PodTemplateSpec");
	schema(doc, "io.k8s.api.apps.v1.DeploymentStrategy");
	doc = document(a, "discovery.k8s.io", "v1");
	schema(doc, "io.k8s.api.discovery.v1.EndpointPort");
}
