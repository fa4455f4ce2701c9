/* OpenAPI v3 from the tables: components for every type that a group's kinds reach, and paths with
 * the extensions by which kubectl finds kinds and their abilities. */
#include <string.h>

#include "api/schema/openapi.h"

#define META "io.k8s.apimachinery.pkg.apis.meta.v1."
#define QUANTITY "io.k8s.apimachinery.pkg.api.resource.Quantity"
#define INTSTR "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
#define MAX_TYPES 4096

struct writer {
	const struct um_schema_set *s;
	struct um_buf *b;
	bool reached[MAX_TYPES];
};

void um_so_str(struct um_buf *b, const char *s)
{
	um_json_write_str(b, s, strlen(s));
}

static void key_str(struct um_buf *b, const char *key, const char *s)
{
	um_buf_addf(b, ",\"%s\":", key);
	um_so_str(b, s);
}

void um_so_ref(struct um_buf *b, const struct um_schema_set *s, const struct um_stype *t)
{
	um_buf_addf(b, "{\"$ref\":\"#/components/schemas/%s.%s\"}",
		    um_ss(s, s->groups[t->group].prefix), um_ss(s, t->name));
}

void um_so_gvk(struct um_buf *b, const struct um_kind *k)
{
	um_buf_addf(b, "{\"group\":\"%s\",\"version\":\"%s\",\"kind\":\"%s\"}", k->group,
		    k->version, k->kind);
}

/* ---- types ---- */

static void reach(struct writer *w, unsigned type)
{
	const struct um_stype *t = &w->s->types[type];
	const struct um_sfield *f = w->s->fields + t->first;

	if (type >= MAX_TYPES || w->reached[type])
		return;
	w->reached[type] = true;
	for (unsigned i = 0; i < t->n; i++, f++)
		if (f->base == UM_SB_OBJECT)
			reach(w, f->type);
}

/* What stands behind one value, without the braces. */
static void put_base(struct writer *w, const struct um_sfield *f)
{
	static const char *const simple[] = {
		[UM_SB_STRING] = "\"type\":\"string\"",
		[UM_SB_INT32] = "\"type\":\"integer\",\"format\":\"int32\"",
		[UM_SB_INT64] = "\"type\":\"integer\",\"format\":\"int64\"",
		[UM_SB_BOOL] = "\"type\":\"boolean\"",
		[UM_SB_DOUBLE] = "\"type\":\"number\",\"format\":\"double\"",
		[UM_SB_BYTES] = "\"type\":\"string\",\"format\":\"byte\"",
		[UM_SB_RAW] = "\"type\":\"object\"",
		[UM_SB_QUANTITY] = "\"allOf\":[{\"$ref\":\"#/components/schemas/" QUANTITY "\"}]",
		[UM_SB_INTSTR] = "\"allOf\":[{\"$ref\":\"#/components/schemas/" INTSTR "\"}]",
		[UM_SB_TIME] = "\"allOf\":[{\"$ref\":\"#/components/schemas/" META "Time\"}]",
		[UM_SB_MICROTIME] =
			"\"allOf\":[{\"$ref\":\"#/components/schemas/" META "MicroTime\"}]",
	};

	if (f->base != UM_SB_OBJECT) {
		um_buf_adds(w->b, simple[f->base]);
		return;
	}
	um_buf_adds(w->b, "\"allOf\":[");
	um_so_ref(w->b, w->s, &w->s->types[f->type]);
	um_buf_adds(w->b, "]");
}

static void put_enum(struct writer *w, const struct um_sfield *f)
{
	const char *v = um_ss(w->s, f->values), *end;

	um_buf_adds(w->b, ",\"enum\":[");
	for (;; v = end + 1) {
		end = strchrnul(v, '|');
		um_json_write_str(w->b, v, (size_t)(end - v));
		if (!*end)
			break;
		um_buf_addc(w->b, ',');
	}
	um_buf_addc(w->b, ']');
}

static void put_list_type(struct writer *w, const struct um_sfield *f)
{
	static const char *const types[] = {"", "atomic", "set", "map"};
	const char *key = um_ss(w->s, f->list_keys), *end;

	if (f->list)
		key_str(w->b, "x-kubernetes-list-type", types[f->list]);
	if (!*key)
		return;
	um_buf_adds(w->b, ",\"x-kubernetes-list-map-keys\":[");
	for (;; key = end + 1) {
		end = strchrnul(key, ',');
		um_json_write_str(w->b, key, (size_t)(end - key));
		if (!*end)
			break;
		um_buf_addc(w->b, ',');
	}
	um_buf_addc(w->b, ']');
}

static void put_patch(struct writer *w, const struct um_sfield *f)
{
	const char *merge = f->flags & UM_SFLAG_MERGE	  ? "merge"
			    : f->flags & UM_SFLAG_REPLACE ? "replace"
							  : "";
	bool retain = f->flags & UM_SFLAG_RETAIN_KEYS;

	if (*merge || retain)
		um_buf_addf(w->b, ",\"x-kubernetes-patch-strategy\":\"%s%s%s\"", merge,
			    *merge && retain ? "," : "", retain ? "retainKeys" : "");
	if (f->merge_key)
		key_str(w->b, "x-kubernetes-patch-merge-key", um_ss(w->s, f->merge_key));
}

static void put_property(struct writer *w, const struct um_sfield *f, bool *first)
{
	um_buf_addf(w->b, "%s\"%s\":{", *first ? "" : ",", um_ss(w->s, f->name));
	*first = false;
	if (f->card == UM_SC_LIST)
		um_buf_adds(w->b, "\"type\":\"array\",\"items\":{");
	else if (f->card == UM_SC_MAP)
		um_buf_adds(w->b, "\"type\":\"object\",\"additionalProperties\":{");
	put_base(w, f);
	if (f->flags & UM_SFLAG_ENUM)
		put_enum(w, f);
	if (f->card != UM_SC_ONE)
		um_buf_addc(w->b, '}');
	um_buf_adds(w->b, ",\"description\":");
	um_so_str(w->b, um_ss(w->s, f->text));
	if (f->flags & UM_SFLAG_UNSUPPORTED) {
		w->b->len--; /* into the text, before its quote */
		um_buf_addf(w->b, "%sNot supported by Umiak yet.\"", f->text ? " " : "");
	}
	if (f->flags & UM_SFLAG_DEFAULT)
		um_buf_addf(w->b, ",\"default\":%s", um_ss(w->s, f->def));
	if (f->flags & UM_SFLAG_MIN)
		um_buf_addf(w->b, ",\"minimum\":%d", f->min);
	if (f->flags & UM_SFLAG_MAX)
		um_buf_addf(w->b, ",\"maximum\":%d", f->max);
	put_list_type(w, f);
	put_patch(w, f);
	um_buf_addc(w->b, '}');
}

/* Inlined messages give their fields to the parent. */
static void put_properties(struct writer *w, const struct um_stype *t, bool *first)
{
	const struct um_sfield *f = w->s->fields + t->first;

	for (unsigned i = 0; i < t->n; i++, f++) {
		if (f->flags & UM_SFLAG_INLINE)
			put_properties(w, &w->s->types[f->type], first);
		else
			put_property(w, f, first);
	}
}

static void put_required(struct writer *w, const struct um_stype *t)
{
	const struct um_sfield *f = w->s->fields + t->first;
	bool first = true;

	for (unsigned i = 0; i < t->n; i++, f++) {
		if (!(f->flags & UM_SFLAG_REQUIRED) || f->flags & UM_SFLAG_DEFAULT)
			continue;
		um_buf_addf(w->b, "%s\"%s\"", first ? ",\"required\":[" : ",",
			    um_ss(w->s, f->name));
		first = false;
	}
	if (!first)
		um_buf_addc(w->b, ']');
}

static void put_kinds_of(struct writer *w, const struct um_kind *const *kinds, unsigned n,
			 unsigned type, bool *first)
{
	for (unsigned i = 0; i < n; i++) {
		if (kinds[i]->type->set != w->s || kinds[i]->type->type != type)
			continue;
		um_buf_adds(w->b, *first ? ",\"x-kubernetes-group-version-kind\":[" : ",");
		*first = false;
		um_so_gvk(w->b, kinds[i]);
	}
}

static void put_type(struct writer *w, unsigned type)
{
	const struct um_stype *t = &w->s->types[type];
	bool first = true;

	um_buf_addf(w->b, "\"%s.%s\":{\"type\":\"object\",\"description\":",
		    um_ss(w->s, w->s->groups[t->group].prefix), um_ss(w->s, t->name));
	um_so_str(w->b, um_ss(w->s, t->text));
	um_buf_adds(w->b, ",\"properties\":{");
	put_properties(w, t, &first);
	um_buf_addc(w->b, '}');
	put_required(w, t);
	first = true;
	put_kinds_of(w, um_schema_builtin_kinds, um_schema_builtin_n_kinds, type, &first);
	put_kinds_of(w, um_schema_builtin_bodies, um_schema_builtin_n_bodies, type, &first);
	if (!first)
		um_buf_addc(w->b, ']');
	um_buf_adds(w->b, "},");
}

static void put_scalars(struct um_buf *b)
{
	um_buf_adds(
		b, "\"" QUANTITY "\":{\"description\":\"An amount: digits with an optional suffix, "
		   "such as 100m, 1.5, 64Mi or 2G.\",\"oneOf\":[{\"type\":\"string\"},{\"type\":"
		   "\"number\"}]},"
		   "\"" INTSTR "\":{\"description\":\"A number or a text.\",\"format\":"
		   "\"int-or-string\",\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]},"
		   "\"" META "Time\":{\"description\":\"A point in time (RFC 3339), in seconds.\","
		   "\"type\":\"string\",\"format\":\"date-time\"},"
		   "\"" META "MicroTime\":{\"description\":\"A point in time (RFC 3339), in "
		   "microseconds.\",\"type\":\"string\",\"format\":\"date-time\"}");
}

/* ---- documents ---- */

static bool in_document(const struct um_kind *k, const char *group, const char *version)
{
	return !strcmp(k->group, group) && !strcmp(k->version, version);
}

int um_schema_openapi_v3(const char *group, const char *version, struct um_buf *b)
{
	struct writer w = {.s = &um_schema_builtin, .b = b};
	bool first = true;

	for (unsigned i = 0; i < um_schema_builtin_n_kinds; i++)
		if (in_document(um_schema_builtin_kinds[i], group, version))
			first = false;
	if (first)
		return -ENOENT;
	um_buf_adds(b, "{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":"
		       "\"v1.33.0\"},\"paths\":{");
	first = true;
	for (unsigned i = 0; i < um_schema_builtin_n_kinds; i++) {
		const struct um_kind *k = um_schema_builtin_kinds[i];

		if (!in_document(k, group, version))
			continue;
		reach(&w, k->type->type);
		for (const char *const *sub = k->subresources; *sub; sub++)
			if (!strcmp(*sub, "scale"))
				reach(&w, um_schema_find_kind("autoscaling", "v1", "Scale")
						  ->type->type);
		um_so_paths(b, k, &first);
	}
	for (unsigned i = 0; i < um_schema_builtin_n_bodies; i++)
		if (in_document(um_schema_builtin_bodies[i], group, version) ||
		    !strcmp(um_schema_builtin_bodies[i]->group, "meta.k8s.io"))
			reach(&w, um_schema_builtin_bodies[i]->type->type);
	um_buf_adds(b, "},\"components\":{\"schemas\":{");
	for (unsigned i = 0; i < w.s->n_types && i < MAX_TYPES; i++)
		if (w.reached[i])
			put_type(&w, i);
	put_scalars(b);
	um_buf_adds(b, "}}}");
	return um_buf_error(b);
}

/* FNV-1a: the documents change with the program only, clients may keep them by this. */
static int document_hash(const char *group, const char *version, uint64_t *ret)
{
	_cleanup_buf_ struct um_buf doc = UM_BUF_INIT(16 << 20);
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	int r = um_schema_openapi_v3(group, version, &doc);

	if (r < 0)
		return r;
	for (size_t i = 0; i < doc.len; i++)
		h = (h ^ (unsigned char)doc.data[i]) * UINT64_C(0x100000001b3);
	*ret = h;
	return 0;
}

int um_schema_openapi_v3_index(struct um_buf *b)
{
	bool first = true;

	um_buf_adds(b, "{\"paths\":{");
	for (unsigned i = 0; i < um_schema_builtin_n_kinds; i++) {
		const struct um_kind *k = um_schema_builtin_kinds[i];
		bool seen = false;
		char path[200];
		uint64_t hash;
		int r;

		for (unsigned j = 0; j < i; j++)
			seen |= in_document(um_schema_builtin_kinds[j], k->group, k->version);
		if (seen)
			continue;
		r = document_hash(k->group, k->version, &hash);
		if (r < 0)
			return r;
		um_so_prefix(k, path, sizeof(path));
		um_buf_addf(b, "%s\"%s\":{\"serverRelativeURL\":\"/openapi/v3/%s?hash=%016llX\"}",
			    first ? "" : ",", path + 1, path + 1, (unsigned long long)hash);
		first = false;
	}
	um_buf_adds(b, "}}");
	return um_buf_error(b);
}
