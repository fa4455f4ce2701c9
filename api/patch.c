/* patch: merge, JSON and strategic merge patches; and /scale, which is an object of its own in
 * front of the number of replicas. */
#include <string.h>
#include <strings.h>

#include "api/internal.h"

enum patch_type { PATCH_NONE, PATCH_MERGE, PATCH_JSON, PATCH_STRATEGIC, PATCH_APPLY };

static enum patch_type patch_type(const struct um_areq *rq)
{
	static const struct {
		const char *type;
		enum patch_type t;
	} types[] = {
		{"application/merge-patch+json", PATCH_MERGE},
		{"application/json-patch+json", PATCH_JSON},
		{"application/strategic-merge-patch+json", PATCH_STRATEGIC},
		{"application/apply-patch+yaml", PATCH_APPLY},
		{"application/apply-patch+cbor", PATCH_APPLY},
	};
	const char *v = um_http_header(rq->http, "content-type");
	size_t n = v ? strcspn(v, "; \t") : 0;

	for (size_t i = 0; i < UM_ARRAY_LEN(types); i++)
		if (strlen(types[i].type) == n && !strncasecmp(v, types[i].type, n))
			return types[i].t;
	return PATCH_NONE;
}

static bool patch_spoken(struct um_areq *rq, enum patch_type t)
{
	struct um_status s = {.code = 415, .reason = "UnsupportedMediaType"};

	if (t == PATCH_APPLY)
		s.message = "server-side apply is not supported by this server: use kubectl apply "
			    "without --server-side, or a merge, JSON or strategic merge patch";
	else if (t == PATCH_NONE)
		s.message = "the body of the request was in an unknown format - accepted media "
			    "types include: application/json-patch+json, "
			    "application/merge-patch+json, application/strategic-merge-patch+json";
	else
		return true;
	um_answer_status(rq, &s);
	return false;
}

static int apply(struct um_areq *rq, const struct um_kind *kind, enum patch_type t,
		 const struct um_json *old, const struct um_json *patch, struct um_json **ret,
		 struct um_error *err)
{
	if (t == PATCH_JSON)
		return um_patch_json(rq->arena, old, patch, ret, err);
	if (t == PATCH_MERGE)
		return um_patch_merge(rq->arena, old, patch, ret, err);
	return um_patch_strategic(kind, rq->arena, old, patch, ret, err);
}

/* A patch that does not fit the object: 422, as its test or path failed; a bad one: 400. */
static void refuse_patch(struct um_areq *rq, const struct um_error *err, enum patch_type t)
{
	if (err->code == -ENOMEM || err->reason == UM_REASON_TOO_LARGE) {
		um_answer_error(rq, err);
	} else if (t == PATCH_JSON && err->code != -EBADMSG) {
		um_answer_status(rq, &(struct um_status){.code = 422,
							 .reason = "Invalid",
							 .message = err->msg,
							 .kind = rq->rt.kind,
							 .plural = true,
							 .name = rq->rt.name});
	} else {
		um_answer_bad_request(rq, "%s", err->msg);
	}
}

/* The body applied to @old, an object of @kind. False: answered. */
static bool patched(struct um_areq *rq, const struct um_kind *kind, enum patch_type t,
		    const struct um_json *old, struct um_json **ret)
{
	struct um_causes problems = {.arena = rq->arena};
	struct um_error err = UM_ERROR_INIT;
	struct um_json *patch = NULL;

	if (um_json_parse(rq->arena, rq->body, rq->body_len, NULL, &patch, &err) < 0) {
		um_answer_bad_request(rq, "error decoding patch: %s", err.msg);
		return false;
	}
	if (apply(rq, kind, t, old, patch, ret, &err) < 0) {
		refuse_patch(rq, &err, t);
		return false;
	}
	if (um_schema_check_tree(kind, *ret, rq->wo.strict, rq->arena, &problems, &err) < 0) {
		um_answer_bad_request(rq, "%s", err.msg);
		return false;
	}
	um_warn(rq, &problems);
	return true;
}

void um_handle_patch(struct um_areq *rq)
{
	enum patch_type t = patch_type(rq);
	struct um_json *old = NULL, *obj = NULL;
	int64_t rev;

	if (um_query_write_opts(rq) && patch_spoken(rq, t) && um_load_target(rq, &old, &rev) &&
	    patched(rq, rq->rt.kind, t, old, &obj))
		um_finish_update(rq, obj, old, rev);
}

/* ---- scale ---- */

const struct um_kind *um_scale_kind(void)
{
	return um_schema_find_kind("autoscaling", "v1", "Scale");
}

struct um_json *um_scale_of(const struct um_json *obj, struct um_arena *a)
{
	static const char *const kept[] = {"name", "namespace", "uid", "resourceVersion",
					   "creationTimestamp"};
	const struct um_json *from = um_json_get(obj, "metadata");
	struct um_json *o = um_json_new_obj(a), *meta, *status;
	const char *selector;

	um_json_set_str(a, o, "kind", "Scale");
	um_json_set_str(a, o, "apiVersion", "autoscaling/v1");
	meta = um_json_set(a, o, "metadata", um_json_new_obj(a));
	for (size_t i = 0; i < UM_ARRAY_LEN(kept); i++)
		if (um_json_get(from, kept[i]))
			um_json_set(a, meta, kept[i], um_json_copy(a, um_json_get(from, kept[i])));
	um_json_set_i64(a, um_json_set(a, o, "spec", um_json_new_obj(a)), "replicas",
			um_json_get_i64(obj, "spec.replicas", 0));
	status = um_json_set(a, o, "status", um_json_new_obj(a));
	um_json_set_i64(a, status, "replicas", um_json_get_i64(obj, "status.replicas", 0));
	selector = um_schema_selector_text(um_json_path(obj, "spec.selector"), a);
	if (selector)
		um_json_set_str(a, status, "selector", selector);
	return !selector || um_arena_failed(a) ? NULL : o;
}

/* What the client says of the Scale, said of the object behind it. */
static void finish_scale(struct um_areq *rq, const struct um_json *scale, struct um_json *old,
			 int64_t rev)
{
	static const char *const checked[] = {"name", "namespace", "uid", "resourceVersion"};
	const struct um_json *said = um_json_get(scale, "metadata");
	struct um_json *obj = um_json_copy(rq->arena, old), *meta = um_json_get(obj, "metadata");

	for (size_t i = 0; i < UM_ARRAY_LEN(checked); i++) {
		if (um_json_get(said, checked[i]))
			um_json_set(rq->arena, meta, checked[i],
				    um_json_copy(rq->arena, um_json_get(said, checked[i])));
		else
			um_json_remove(meta, checked[i]);
	}
	um_json_set_i64(rq->arena, um_json_ensure_obj(rq->arena, obj, "spec"), "replicas",
			um_json_get_i64(scale, "spec.replicas", 0));
	if (um_arena_failed(rq->arena))
		um_answer_no_memory(rq);
	else
		um_finish_update(rq, obj, old, rev);
}

void um_handle_scale(struct um_areq *rq)
{
	const struct um_kind *k = um_scale_kind();
	enum patch_type t = rq->rt.verb == UM_VERB_PATCH ? patch_type(rq) : PATCH_MERGE;
	struct um_json *old = NULL, *scale = NULL, *was;
	int64_t rev;

	if (!um_query_write_opts(rq) || !patch_spoken(rq, t))
		return;
	if (rq->rt.verb == UM_VERB_UPDATE) {
		if (um_decode_body(rq, k, &scale) && um_load_target(rq, &old, &rev))
			finish_scale(rq, scale, old, rev);
		return;
	}
	if (!um_load_target(rq, &old, &rev))
		return;
	was = um_scale_of(old, rq->arena);
	if (!was)
		um_answer_no_memory(rq);
	else if (patched(rq, k, t, was, &scale))
		finish_scale(rq, scale, old, rev);
}
