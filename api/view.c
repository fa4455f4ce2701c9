/* In which form objects are shown: whole, as rows of a Table, or only their metadata. */
#include <string.h>
#include <strings.h>

#include "api/internal.h"

/* ---- Accept ---- */

/* Whether @range (of @n bytes) has the parameter @name with @value. */
static bool param_is(const char *range, size_t n, const char *name, const char *value)
{
	size_t name_len = strlen(name), value_len = strlen(value);

	for (const char *s = memchr(range, ';', n), *end = range + n; s && s < end;
	     s = memchr(s, ';', (size_t)(end - s))) {
		s++;
		while (s < end && *s == ' ')
			s++;
		if ((size_t)(end - s) >= name_len + 1 + value_len && !strncmp(s, name, name_len) &&
		    s[name_len] == '=' && !strncmp(s + name_len + 1, value, value_len)) {
			const char *after = s + name_len + 1 + value_len;

			if (after == end || *after == ';' || *after == ' ')
				return true;
		}
	}
	return false;
}

static bool type_is(const char *range, size_t n, const char *type)
{
	size_t len = strlen(type);

	return n >= len && !strncasecmp(range, type, len) &&
	       (n == len || range[len] == ';' || range[len] == ' ');
}

static bool take_range(struct um_areq *rq, const char *range, size_t n)
{
	bool meta = param_is(range, n, "g", "meta.k8s.io");

	if (!type_is(range, n, "application/json") && !type_is(range, n, "*/*") &&
	    !type_is(range, n, "application/*"))
		return false;
	rq->view = UM_VIEW_PLAIN;
	if (!memmem(range, n, "as=", 3))
		return true;
	if (!meta || !(param_is(range, n, "v", "v1") || param_is(range, n, "v", "v1beta1")))
		return false;
	if (rq->rt.kind->is_virtual) /* it is never stored, and has no metadata to show */
		return false;
	if (param_is(range, n, "as", "Table"))
		rq->view = UM_VIEW_TABLE;
	else if (param_is(range, n, "as", "PartialObjectMetadata") ||
		 param_is(range, n, "as", "PartialObjectMetadataList"))
		rq->view = UM_VIEW_PARTIAL;
	else
		return false;
	return true;
}

int um_view_negotiate(struct um_areq *rq)
{
	const char *accept = um_http_header(rq->http, "accept");
	const char *include = um_http_query(rq->http, "includeObject");

	rq->include_object = include ? include : "Metadata";
	if (!accept || !*accept)
		return 0;
	while (*accept) {
		size_t n;

		accept += strspn(accept, ", \t");
		n = strcspn(accept, ",");
		if (n && take_range(rq, accept, n))
			return 0;
		accept += n;
	}
	return -ENOTSUP;
}

/* ---- forms ---- */

struct um_json *um_view_partial(struct um_json *obj, struct um_arena *a)
{
	struct um_json *o = um_json_new_obj(a), *meta = um_json_get(obj, "metadata");

	um_json_set_str(a, o, "kind", "PartialObjectMetadata");
	um_json_set_str(a, o, "apiVersion", "meta.k8s.io/v1");
	um_json_set(a, o, "metadata", um_json_copy(a, meta));
	return o;
}

/* The kind of what is shown: that of the path, or of a subresource that is an object of its own. */
static const struct um_kind *shown_kind(const struct um_areq *rq)
{
	return !strcmp(rq->rt.sub, "scale") ? um_scale_kind() : rq->rt.kind;
}

struct um_json *um_view_row(struct um_areq *rq, struct um_json *obj, struct um_arena *a)
{
	struct um_json *row = um_json_new_obj(a);

	um_json_set(a, row, "cells",
		    um_schema_table_cells(shown_kind(rq), obj, um_api_wall(rq->api), a));
	if (!strcmp(rq->include_object, "Object"))
		um_json_set(a, row, "object", um_json_copy(a, obj));
	else if (!strcmp(rq->include_object, "None"))
		um_json_set(a, row, "object", um_json_new_null(a));
	else
		um_json_set(a, row, "object", um_view_partial(obj, a));
	return row;
}

struct um_json *um_view_table(struct um_areq *rq, struct um_arena *a, bool columns)
{
	struct um_json *t = um_json_new_obj(a);

	um_json_set_str(a, t, "kind", "Table");
	um_json_set_str(a, t, "apiVersion", "meta.k8s.io/v1");
	um_json_set(a, t, "metadata", um_json_new_obj(a));
	um_json_set(a, t, "columnDefinitions",
		    columns ? um_schema_table_columns(shown_kind(rq), a) : um_json_new_arr(a));
	um_json_set(a, t, "rows", um_json_new_arr(a));
	return t;
}

static struct um_json *in_view(struct um_areq *rq, const struct um_bytes *b, int64_t rev)
{
	struct um_json *obj = um_object_parse(b, rev, rq->arena), *table;

	if (obj && !strcmp(rq->rt.sub, "scale"))
		obj = um_scale_of(obj, rq->arena);
	if (!obj || rq->view == UM_VIEW_PLAIN)
		return obj;
	if (rq->view == UM_VIEW_PARTIAL)
		return um_view_partial(obj, rq->arena);
	table = um_view_table(rq, rq->arena, true);
	um_json_append(um_json_get(table, "rows"), um_view_row(rq, obj, rq->arena));
	um_json_set_str(rq->arena, um_json_get(table, "metadata"), "resourceVersion",
			um_json_get_str(obj, "metadata.resourceVersion", ""));
	return um_arena_failed(rq->arena) ? NULL : table;
}

void um_answer_object(struct um_areq *rq, int code, const struct um_bytes *b, int64_t rev)
{
	_cleanup_buf_ struct um_buf out = UM_BUF_INIT(UM_OBJECT_ARENA_MAX);

	if (rq->view != UM_VIEW_PLAIN || !strcmp(rq->rt.sub, "scale")) {
		um_answer_json(rq, code, in_view(rq, b, rev));
		return;
	}
	if (um_object_show(&out, b, rev) < 0 || um_buf_addc(&out, '\n') < 0) {
		um_answer_no_memory(rq);
		return;
	}
	um_answer_text(rq, code, "application/json", out.data, out.len);
}
