/* The paths of OpenAPI documents: one path item for each URL of a kind. */
#include <string.h>

#include "api/schema/openapi.h"

/* What an operation takes and gives. */
enum { TAKES_NOTHING, TAKES_OBJECT, TAKES_PATCH, TAKES_OPTIONS };

struct operation {
	const char *method, *action, *verb, *text;
	int takes;
	bool gives_list;
};

static const struct operation on_list[] = {
	{"get", "list", "list", "Lists or watches objects.", TAKES_NOTHING, true},
	{"post", "post", "create", "Makes an object.", TAKES_OBJECT, false},
	{"delete", "deletecollection", "deletecollection", "Deletes the listed objects.",
	 TAKES_OPTIONS, false},
};

static const struct operation on_item[] = {
	{"get", "get", "read", "Reads an object.", TAKES_NOTHING, false},
	{"put", "put", "replace", "Replaces an object.", TAKES_OBJECT, false},
	{"patch", "patch", "patch", "Changes parts of an object.", TAKES_PATCH, false},
	{"delete", "delete", "delete", "Deletes an object.", TAKES_OPTIONS, false},
};

void um_so_prefix(const struct um_kind *k, char *out, size_t size)
{
	snprintf(out, size, "/%s%s%s/%s", *k->group ? "apis" : "api", *k->group ? "/" : "",
		 k->group, k->version);
}

static void put_query(struct um_buf *b, const char *name, const char *text, bool *first)
{
	um_buf_addf(b, "%s{\"name\":\"%s\",\"in\":\"query\",\"description\":", *first ? "" : ",",
		    name);
	*first = false;
	um_so_str(b, text);
	um_buf_adds(b, ",\"schema\":{\"type\":\"string\",\"uniqueItems\":true}}");
}

static void put_queries(struct um_buf *b, const struct operation *op)
{
	bool first = true, list = op->gives_list || !strcmp(op->action, "deletecollection");

	um_buf_adds(b, ",\"parameters\":[");
	if (op->takes != TAKES_NOTHING)
		put_query(b, "dryRun", "All: do everything but store.", &first);
	if (op->takes == TAKES_OBJECT || op->takes == TAKES_PATCH) {
		put_query(b, "fieldManager", "Who makes the change.", &first);
		put_query(b, "fieldValidation",
			  "What unknown and repeated fields do: Ignore, Warn or Strict.", &first);
	}
	if (op->takes == TAKES_PATCH)
		put_query(b, "force", "Whether to take over fields in server-side apply.", &first);
	if (list) {
		put_query(b, "labelSelector", "Only objects whose labels match.", &first);
		put_query(b, "fieldSelector", "Only objects whose fields match.", &first);
		put_query(b, "limit", "At most so many objects.", &first);
		put_query(b, "continue", "Where the previous part of the list ended.", &first);
		put_query(b, "resourceVersion", "How new the answer must be.", &first);
	}
	if (op->gives_list) {
		put_query(b, "watch", "Whether to go on with changes.", &first);
		put_query(b, "timeoutSeconds", "How long to watch.", &first);
	}
	um_buf_addc(b, ']');
}

static void put_body(struct um_buf *b, const struct um_kind *k, const struct operation *op)
{
	static const char *const patches[] = {"application/json-patch+json",
					      "application/merge-patch+json",
					      "application/strategic-merge-patch+json"};

	if (op->takes == TAKES_OBJECT) {
		um_buf_adds(
			b, ",\"requestBody\":{\"required\":true,\"content\":{\"*/*\":{\"schema\":");
		um_so_ref(b, k->type->set, um_stype_of(k));
		um_buf_adds(b, "}}}");
	} else if (op->takes == TAKES_PATCH) {
		um_buf_adds(b, ",\"requestBody\":{\"required\":true,\"content\":{");
		for (size_t i = 0; i < UM_ARRAY_LEN(patches); i++)
			um_buf_addf(b, "%s\"%s\":{\"schema\":{\"type\":\"object\"}}", i ? "," : "",
				    patches[i]);
		um_buf_adds(b, "}}");
	}
}

static void put_operation_of(struct um_buf *b, const struct um_kind *k, const struct um_kind *shown,
			     const struct operation *op, const char *suffix)
{
	const struct um_kind *gives = shown;

	if (op->gives_list)
		gives = um_schema_find_kind(k->group, k->version, k->list_kind);
	um_buf_addf(b, "\"%s\":{\"description\":", op->method);
	um_so_str(b, op->text);
	um_buf_addf(b, ",\"operationId\":\"%s%s%s%s\"", op->verb, k->namespaced ? "Namespaced" : "",
		    k->kind, suffix);
	put_queries(b, op);
	put_body(b, shown, op);
	um_buf_adds(b, ",\"responses\":{\"200\":{\"description\":\"OK\",\"content\":{"
		       "\"application/json\":{\"schema\":");
	um_so_ref(b, gives->type->set, um_stype_of(gives));
	um_buf_addf(b, "}}}},\"x-kubernetes-action\":\"%s\",\"x-kubernetes-group-version-kind\":",
		    op->action);
	um_so_gvk(b, shown);
	um_buf_addc(b, '}');
}

static void put_operation(struct um_buf *b, const struct um_kind *k, const struct operation *op,
			  const char *suffix)
{
	put_operation_of(b, k, k, op, suffix);
}

static void open_path(struct um_buf *b, const struct um_kind *k, bool scoped, const char *rest,
		      bool *first)
{
	char prefix[200];

	um_so_prefix(k, prefix, sizeof(prefix));
	um_buf_addf(b, "%s\"%s%s/%s%s\":{\"parameters\":[", *first ? "" : ",", prefix,
		    scoped ? "/namespaces/{namespace}" : "", k->plural, rest);
	*first = false;
	if (scoped)
		um_buf_adds(b,
			    "{\"name\":\"namespace\",\"in\":\"path\",\"required\":true,\"schema\":{"
			    "\"type\":\"string\"}}");
	if (*rest)
		um_buf_addf(b,
			    "%s{\"name\":\"name\",\"in\":\"path\",\"required\":true,\"schema\":{"
			    "\"type\":\"string\"}}",
			    scoped ? "," : "");
	um_buf_addc(b, ']');
}

/* What can be read, replaced and patched; @shown is what stands there. */
static void put_sub(struct um_buf *b, const struct um_kind *k, const struct um_kind *shown,
		    const char *sub, const char *suffix, bool *first)
{
	char rest[64];

	snprintf(rest, sizeof(rest), "/{name}/%s", sub);
	open_path(b, k, k->namespaced, rest, first);
	for (size_t i = 0; i < 3; i++) {
		um_buf_addc(b, ',');
		put_operation_of(b, k, shown, &on_item[i], suffix);
	}
	um_buf_addc(b, '}');
}

void um_so_paths(struct um_buf *b, const struct um_kind *k, bool *first)
{
	if (k->is_virtual) {
		open_path(b, k, k->namespaced, "", first);
		um_buf_addc(b, ',');
		put_operation(b, k, &on_list[1], "");
		um_buf_addc(b, '}');
		return;
	}
	if (k->namespaced) {
		open_path(b, k, false, "", first);
		um_buf_addc(b, ',');
		put_operation(b, k, &on_list[0], "ForAllNamespaces");
		um_buf_addc(b, '}');
	}
	open_path(b, k, k->namespaced, "", first);
	for (size_t i = 0; i < UM_ARRAY_LEN(on_list); i++) {
		um_buf_addc(b, ',');
		put_operation(b, k, &on_list[i], "");
	}
	um_buf_addc(b, '}');
	open_path(b, k, k->namespaced, "/{name}", first);
	for (size_t i = 0; i < UM_ARRAY_LEN(on_item); i++) {
		um_buf_addc(b, ',');
		put_operation(b, k, &on_item[i], "");
	}
	um_buf_addc(b, '}');
	if (k->has_status)
		put_sub(b, k, k, "status", "Status", first);
	for (const char *const *s = k->subresources; *s; s++)
		if (!strcmp(*s, "scale"))
			put_sub(b, k, um_schema_find_kind("autoscaling", "v1", "Scale"), *s,
				"Scale", first);
}
