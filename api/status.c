/* Answers, and above all those that say no: Status objects as Kubernetes words them. */
#include <stdarg.h>
#include <string.h>

#include "api/internal.h"

const char *um_resource_text(const struct um_kind *k, struct um_arena *a)
{
	const char *s = *k->group ? um_arena_printf(a, "%s.%s", k->plural, k->group) : k->plural;

	return s ? s : "";
}

/* ---- sending ---- */

void um_answer_text(struct um_areq *rq, int code, const char *type, const void *data, size_t len)
{
	struct um_http_req *http = rq->http;

	if (!http)
		return;
	rq->http = NULL;
	um_metrics_note(rq, code);
	um_http_set_header(http, "Cache-Control", "no-cache, private");
	um_http_respond_data(http, code, type, data, len);
	um_areq_unref(rq);
}

void um_answer_json(struct um_areq *rq, int code, const struct um_json *tree)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_OBJECT_ARENA_MAX);
	static const char no_memory[] =
		"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},"
		"\"status\":\"Failure\",\"message\":\"out of memory\","
		"\"reason\":\"ServiceUnavailable\",\"code\":503}\n";

	if (!tree || um_json_write(&b, tree) < 0 || um_buf_addc(&b, '\n') < 0) {
		um_answer_text(rq, 503, "application/json", no_memory, sizeof(no_memory) - 1);
		return;
	}
	um_answer_text(rq, code, "application/json", b.data, b.len);
}

/* ---- Status ---- */

static void put_causes(struct um_arena *a, struct um_json *details, const struct um_cause *c)
{
	struct um_json *list = um_json_set(a, details, "causes", um_json_new_arr(a));

	for (; c; c = c->next) {
		struct um_json *o = um_json_append(list, um_json_new_obj(a));

		um_json_set_str(a, o, "reason", c->reason);
		um_json_set_str(a, o, "message", c->message);
		if (c->field && *c->field)
			um_json_set_str(a, o, "field", c->field);
	}
}

struct um_json *um_status_tree(struct um_arena *a, const struct um_status *s)
{
	struct um_json *o = um_json_new_obj(a), *d;

	um_json_set_str(a, o, "kind", "Status");
	um_json_set_str(a, o, "apiVersion", "v1");
	d = um_json_set(a, o, "metadata", um_json_new_obj(a));
	if (s->cont)
		um_json_set_str(a, d, "continue", s->cont);
	um_json_set_str(a, o, "status", s->code < 300 ? "Success" : "Failure");
	if (s->message)
		um_json_set_str(a, o, "message", s->message);
	if (s->reason)
		um_json_set_str(a, o, "reason", s->reason);
	if (s->name || s->causes || s->kind || s->retry_after) {
		d = um_json_set(a, o, "details", um_json_new_obj(a));
		if (s->name && *s->name)
			um_json_set_str(a, d, "name", s->name);
		if (s->kind && *s->kind->group)
			um_json_set_str(a, d, "group", s->kind->group);
		if (s->kind)
			um_json_set_str(a, d, "kind", s->plural ? s->kind->plural : s->kind->kind);
		if (s->uid)
			um_json_set_str(a, d, "uid", s->uid);
		if (s->causes)
			put_causes(a, d, s->causes);
		if (s->retry_after)
			um_json_set_i64(a, d, "retryAfterSeconds", s->retry_after);
	}
	if (s->code >= 300)
		um_json_set_i64(a, o, "code", s->code);
	return um_arena_failed(a) ? NULL : o;
}

void um_answer_status(struct um_areq *rq, const struct um_status *s)
{
	char text[16];

	if (s->retry_after && rq->http) {
		snprintf(text, sizeof(text), "%d", s->retry_after);
		um_http_set_header(rq->http, "Retry-After", text);
	}
	um_answer_json(rq, s->code, um_status_tree(rq->arena, s));
}

static const struct {
	enum um_reason reason;
	int code;
	const char *text;
} reasons[] = {
	{UM_REASON_BAD_REQUEST, 400, "BadRequest"},
	{UM_REASON_INVALID, 400, "BadRequest"},
	{UM_REASON_UNAUTHORIZED, 401, "Unauthorized"},
	{UM_REASON_FORBIDDEN, 403, "Forbidden"},
	{UM_REASON_NOT_FOUND, 404, "NotFound"},
	{UM_REASON_EXISTS, 409, "AlreadyExists"},
	{UM_REASON_CONFLICT, 409, "Conflict"},
	{UM_REASON_GONE, 410, "Expired"},
	{UM_REASON_TOO_LARGE, 413, "RequestEntityTooLarge"},
	{UM_REASON_UNSUPPORTED, 415, "UnsupportedMediaType"},
	{UM_REASON_TIMEOUT, 504, "Timeout"},
	{UM_REASON_NO_SPACE, 507, "InsufficientStorage"},
	{UM_REASON_UNAVAILABLE, 503, "ServiceUnavailable"},
	{UM_REASON_NO_MEMORY, 503, "ServiceUnavailable"},
};

void um_answer_error(struct um_areq *rq, const struct um_error *err)
{
	struct um_status s = {.code = 500, .reason = "InternalError", .message = err->msg};

	for (size_t i = 0; i < UM_ARRAY_LEN(reasons); i++) {
		if (reasons[i].reason != err->reason)
			continue;
		s.code = reasons[i].code;
		s.reason = reasons[i].text;
	}
	if (s.code == 503)
		s.retry_after = 1;
	if (s.code == 500)
		s.message = um_arena_printf(rq->arena, "Internal error occurred: %s", err->msg);
	um_answer_status(rq, &s);
}

void um_answer_bad_request(struct um_areq *rq, const char *fmt, ...)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(64 << 10);
	struct um_status s = {.code = 400, .reason = "BadRequest"};
	va_list ap;

	va_start(ap, fmt);
	um_buf_vaddf(&b, fmt, ap);
	va_end(ap);
	s.message = um_buf_str(&b);
	um_answer_status(rq, &s);
}

void um_answer_not_found(struct um_areq *rq, const struct um_kind *kind, const char *name)
{
	struct um_status s = {
		.code = 404, .reason = "NotFound", .kind = kind, .plural = true, .name = name};

	s.message = um_arena_printf(rq->arena, "%s \"%s\" not found",
				    um_resource_text(kind, rq->arena), name);
	um_answer_status(rq, &s);
}

void um_answer_conflict(struct um_areq *rq, const char *name, const char *why)
{
	struct um_status s = {.code = 409,
			      .reason = "Conflict",
			      .kind = rq->rt.kind,
			      .plural = true,
			      .name = name};

	s.message = um_arena_printf(rq->arena, "Operation cannot be fulfilled on %s \"%s\": %s",
				    um_resource_text(rq->rt.kind, rq->arena), name, why);
	um_answer_status(rq, &s);
}

void um_answer_invalid(struct um_areq *rq, const char *name, const struct um_causes *causes)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(256 << 10);
	const struct um_kind *k = rq->rt.kind;
	bool many = causes->first && causes->first->next;
	struct um_status s = {
		.code = 422, .reason = "Invalid", .kind = k, .name = name, .causes = causes->first};

	um_buf_addf(&b, *k->group ? "%s.%s" : "%s", k->kind, k->group);
	um_buf_addf(&b, " \"%s\" is invalid: %s", name, many ? "[" : "");
	for (const struct um_cause *c = causes->first; c; c = c->next)
		um_buf_addf(&b, "%s%s%s%s", c->field, *c->field ? ": " : "", c->message,
			    c->next ? ", " : "");
	um_buf_adds(&b, many ? "]" : "");
	s.message = um_buf_str(&b);
	um_answer_status(rq, &s);
}

void um_answer_forbidden(struct um_areq *rq, const char *why)
{
	const struct um_route *rt = &rq->rt;
	struct um_status s = {.code = 403,
			      .reason = "Forbidden",
			      .kind = rt->kind,
			      .plural = true,
			      .name = rt->name};

	if (!rt->kind)
		s.message = um_arena_printf(rq->arena, "forbidden: %s", why);
	else if (*rt->name)
		s.message = um_arena_printf(rq->arena, "%s \"%s\" is forbidden: %s",
					    um_resource_text(rt->kind, rq->arena), rt->name, why);
	else
		s.message = um_arena_printf(rq->arena, "%s is forbidden: %s",
					    um_resource_text(rt->kind, rq->arena), why);
	um_answer_status(rq, &s);
}

void um_answer_gone(struct um_areq *rq, const char *why)
{
	um_answer_status(rq, &(struct um_status){.code = 410, .reason = "Expired", .message = why});
}

void um_answer_bad_list_option(struct um_areq *rq, const char *reason, const char *field,
			       const char *message)
{
	struct um_cause cause = {reason, field, message, NULL};

	um_answer_status(
		rq, &(struct um_status){.code = 422,
					.reason = "Invalid",
					.causes = &cause,
					.message = um_arena_printf(
						rq->arena,
						"ListOptions.meta.k8s.io \"\" is invalid: %s: %s",
						field, message)});
}

void um_answer_too_new(struct um_areq *rq, int64_t asked, int64_t now)
{
	um_answer_status(
		rq, &(struct um_status){
			    .code = 504,
			    .reason = "Timeout",
			    .message = um_arena_printf(rq->arena,
						       "Too large resource version: %lld, current: "
						       "%lld",
						       (long long)asked, (long long)now),
			    .retry_after = 1});
}

void um_answer_success(struct um_areq *rq, const char *name, const char *uid)
{
	um_answer_status(rq, &(struct um_status){.code = 200,
						 .kind = rq->rt.kind,
						 .plural = true,
						 .name = name,
						 .uid = uid});
}

void um_answer_no_memory(struct um_areq *rq)
{
	um_answer_json(rq, 503, NULL);
}

void um_answer_store_error(struct um_areq *rq, const struct um_error *err, bool creating)
{
	const char *name = rq->doing ? rq->doing : rq->rt.name;
	struct um_status s = {.code = 409,
			      .reason = "AlreadyExists",
			      .kind = rq->rt.kind,
			      .plural = true,
			      .name = name};

	if (err->code != -EAGAIN) {
		um_answer_error(rq, err);
	} else if (!creating) {
		um_answer_conflict(rq, name,
				   "the object has been modified; please apply your changes to the "
				   "latest version and try again");
	} else {
		s.message = um_arena_printf(rq->arena, "%s \"%s\" already exists",
					    um_resource_text(rq->rt.kind, rq->arena), name);
		um_answer_status(rq, &s);
	}
}

const char *um_api_error_body(int status, const char *message, struct um_buf *b)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(64 << 10);
	static const struct {
		int code;
		const char *reason;
	} names[] = {
		{400, "BadRequest"},	    {408, "Timeout"},	 {413, "RequestEntityTooLarge"},
		{429, "TooManyRequests"},   {414, "BadRequest"}, {431, "BadRequest"},
		{503, "ServiceUnavailable"}};
	struct um_status s = {.code = status, .reason = "", .message = message};

	for (size_t i = 0; i < UM_ARRAY_LEN(names); i++)
		if (names[i].code == status)
			s.reason = names[i].reason;
	if (a)
		um_json_write(b, um_status_tree(a, &s));
	um_buf_addc(b, '\n');
	return "application/json";
}
