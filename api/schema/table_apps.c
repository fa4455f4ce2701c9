/* Rows of Deployments, ReplicaSets, templates, revisions and Scales; selectors as text. */
#include <stdlib.h>
#include <string.h>

#include "api/schema/table.h"

static void name_cell(struct um_json *row, const struct um_json *obj, struct um_arena *a)
{
	um_scell(row, a, um_json_get_str(obj, "metadata.name", ""));
}

static void age_cell(struct um_json *row, const struct um_json *obj, int64_t now_ns,
		     struct um_arena *a)
{
	um_scell_age(row, a, um_json_get_str(obj, "metadata.creationTimestamp", NULL), now_ns);
}

/* ---- selectors ---- */

struct selector_term {
	const char *key, *text;
};

static int by_key(const void *a, const void *b)
{
	const struct selector_term *x = a, *y = b;
	int r = strcmp(x->key, y->key);

	return r ? r : strcmp(x->text, y->text);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char *values_text(const struct um_json *values, struct um_arena *a)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(64 << 10);
	const char **sorted = um_arena_alloc(a, (values ? values->len : 0) * sizeof(*sorted) + 1);
	size_t n = 0;

	if (!sorted)
		return NULL;
	um_json_foreach (it, values)
		sorted[n++] = um_json_str(it, "");
	qsort(sorted, n, sizeof(sorted[0]), by_text);
	for (size_t i = 0; i < n; i++)
		um_buf_addf(&b, "%s%s", i ? "," : "", sorted[i]);
	return um_arena_strndup(a, um_buf_str(&b), b.len);
}

static const char *requirement_text(const struct um_json *r, struct um_arena *a)
{
	const char *key = um_json_get_str(r, "key", ""), *op = um_json_get_str(r, "operator", "");
	const struct um_json *values = um_json_get(r, "values");
	const char *list;

	if (!strcmp(op, "Exists"))
		return key;
	if (!strcmp(op, "DoesNotExist"))
		return um_arena_printf(a, "!%s", key);
	list = values_text(values, a);
	return list ? um_arena_printf(a, "%s %s (%s)", key, !strcmp(op, "In") ? "in" : "notin",
				      list)
		    : NULL;
}

const char *um_schema_selector_text(const struct um_json *selector, struct um_arena *a)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(4 << 20);
	const struct um_json *labels = um_json_get(selector, "matchLabels");
	const struct um_json *others = um_json_get(selector, "matchExpressions");
	size_t n = (labels ? labels->len : 0) + (others ? others->len : 0);
	struct selector_term *terms = um_arena_alloc(a, n * sizeof(*terms) + 1);
	const char *s;

	n = 0;
	if (!terms)
		return NULL;
	um_json_foreach (it, labels)
		terms[n++] = (struct selector_term){
			it->key, um_arena_printf(a, "%s=%s", it->key, um_json_str(it, ""))};
	um_json_foreach (it, others)
		terms[n++] = (struct selector_term){um_json_get_str(it, "key", ""),
						    requirement_text(it, a)};
	for (size_t i = 0; i < n; i++)
		if (!terms[i].text)
			return NULL;
	qsort(terms, n, sizeof(terms[0]), by_key);
	for (size_t i = 0; i < n; i++)
		um_buf_addf(&b, "%s%s", i ? "," : "", terms[i].text);
	s = um_arena_strndup(a, um_buf_str(&b), b.len);
	return um_buf_error(&b) ? NULL : s;
}

static void selector_cell(struct um_json *row, const struct um_json *obj, struct um_arena *a)
{
	const char *s = um_schema_selector_text(um_json_path(obj, "spec.selector"), a);

	um_scell(row, a, s && *s ? s : "<none>");
}

/* ---- templates ---- */

static void container_cells(struct um_json *row, const struct um_json *template, struct um_arena *a)
{
	static const char *const fields[] = {"name", "image"};

	for (size_t i = 0; i < UM_ARRAY_LEN(fields); i++) {
		_cleanup_buf_ struct um_buf b = UM_BUF_INIT(256 << 10);

		um_json_foreach (c, um_json_path(template, "spec.containers"))
			um_buf_addf(&b, "%s%s", b.len ? "," : "",
				    um_json_get_str(c, fields[i], ""));
		um_json_append(row, um_json_new_strn(a, um_buf_str(&b), b.len));
	}
}

const char *const um_scolumns_deployment[] = {
	"Name|string|0|The Deployment's name.",
	"Ready|string|0|Pods that are ready, of those asked for.",
	"Up-to-date|string|0|Pods of the newest template.",
	"Available|string|0|Pods that have been ready for a while.",
	"Age|string|0|Time since it was made.",
	"Containers|string|1|Names of the containers.",
	"Images|string|1|Images of the containers.",
	"Selector|string|1|Labels of its pods.",
	NULL};

void um_scells_deployment(struct um_json *row, const struct um_json *obj, int64_t now_ns,
			  struct um_arena *a)
{
	name_cell(row, obj, a);
	um_scell(row, a,
		 um_arena_printf(a, "%lld/%lld",
				 (long long)um_json_get_i64(obj, "status.readyReplicas", 0),
				 (long long)um_json_get_i64(obj, "spec.replicas", 0)));
	um_scell_i64(row, a, um_json_get_i64(obj, "status.updatedReplicas", 0));
	um_scell_i64(row, a, um_json_get_i64(obj, "status.availableReplicas", 0));
	age_cell(row, obj, now_ns, a);
	container_cells(row, um_json_path(obj, "spec.template"), a);
	selector_cell(row, obj, a);
}

const char *const um_scolumns_replica_set[] = {"Name|string|0|The ReplicaSet's name.",
					       "Desired|integer|0|How many pods are asked for.",
					       "Current|integer|0|How many there are.",
					       "Ready|integer|0|How many are ready.",
					       "Age|string|0|Time since it was made.",
					       "Containers|string|1|Names of the containers.",
					       "Images|string|1|Images of the containers.",
					       "Selector|string|1|Labels of its pods.",
					       NULL};

void um_scells_replica_set(struct um_json *row, const struct um_json *obj, int64_t now_ns,
			   struct um_arena *a)
{
	name_cell(row, obj, a);
	um_scell_i64(row, a, um_json_get_i64(obj, "spec.replicas", 0));
	um_scell_i64(row, a, um_json_get_i64(obj, "status.replicas", 0));
	um_scell_i64(row, a, um_json_get_i64(obj, "status.readyReplicas", 0));
	age_cell(row, obj, now_ns, a);
	container_cells(row, um_json_path(obj, "spec.template"), a);
	selector_cell(row, obj, a);
}

const char *const um_scolumns_pod_template[] = {"Name|string|0|The template's name.",
						"Containers|string|0|Names of the containers.",
						"Images|string|0|Images of the containers.",
						"Pod Labels|string|0|Labels of the pods.", NULL};

void um_scells_pod_template(struct um_json *row, const struct um_json *obj,
			    int64_t now_ns um_unused, struct um_arena *a)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(256 << 10);

	um_json_foreach (it, um_json_path(obj, "template.metadata.labels"))
		um_buf_addf(&b, "%s%s=%s", b.len ? "," : "", it->key, um_json_str(it, ""));
	name_cell(row, obj, a);
	container_cells(row, um_json_get(obj, "template"), a);
	um_scell(row, a, b.len ? um_buf_str(&b) : "<none>");
}

const char *const um_scolumns_controller_revision[] = {
	"Name|string|0|The revision's name.", "Controller|string|0|What can go back to it.",
	"Revision|string|0|Its number.", "Age|string|0|Time since it was made.", NULL};

/* "daemonset.apps/web" */
static const char *controller_of(const struct um_json *obj, struct um_arena *a)
{
	um_json_foreach (it, um_json_path(obj, "metadata.ownerReferences")) {
		const char *version = um_json_get_str(it, "apiVersion", "");
		const char *slash = strchr(version, '/');
		char *kind = um_arena_strdup(a, um_json_get_str(it, "kind", ""));

		if (!kind || !um_json_get_bool(it, "controller", false))
			continue;
		for (char *c = kind; *c; c++)
			if (*c >= 'A' && *c <= 'Z')
				*c = (char)(*c + 32);
		return um_arena_printf(a, "%s%s%.*s/%s", kind, slash ? "." : "",
				       slash ? (int)(slash - version) : 0, version,
				       um_json_get_str(it, "name", ""));
	}
	return "<none>";
}

void um_scells_controller_revision(struct um_json *row, const struct um_json *obj, int64_t now_ns,
				   struct um_arena *a)
{
	name_cell(row, obj, a);
	um_scell(row, a, controller_of(obj, a));
	um_scell_i64(row, a, um_json_get_i64(obj, "revision", 0));
	age_cell(row, obj, now_ns, a);
}

const char *const um_scolumns_scale[] = {
	"Name|string|0|The object's name.", "Desired|integer|0|How many pods are asked for.",
	"Available|integer|0|How many there are.", "Age|string|0|Time since it was made.", NULL};

void um_scells_scale(struct um_json *row, const struct um_json *obj, int64_t now_ns,
		     struct um_arena *a)
{
	name_cell(row, obj, a);
	um_scell_i64(row, a, um_json_get_i64(obj, "spec.replicas", 0));
	um_scell_i64(row, a, um_json_get_i64(obj, "status.replicas", 0));
	age_cell(row, obj, now_ns, a);
}
