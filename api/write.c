/* create and update: decode, default, admit, validate, store. Patches are in patch.c. */
#include <string.h>

#include "api/internal.h"
#include "api/service_alloc.h"

/* ---- the store ---- */

struct commit {
	struct um_areq *rq;
	int code;
	bool creating;
	struct um_bytes *shown;	      /* what is answered; for deletions the last state */
	struct um_service_hold *hold; /* of a Service, until the outcome is known */
};

static void on_committed(void *arg, int64_t rev, const struct um_error *err)
{
	struct commit *c = arg;

	if (err && err->code)
		um_answer_store_error(c->rq, err, c->creating);
	else
		um_answer_object(c->rq, c->code, c->shown, rev);
	um_service_allocs_release(c->rq->api->services, c->hold);
	um_bytes_unref(c->shown);
	um_areq_unref(c->rq);
	free(c);
}

/* @shown is answered; @value, the encoded @obj, NULL deletes. Takes over the reference to @shown.
 */
static void commit_bytes(struct um_areq *rq, const char *key, const struct um_kind *kind,
			 int64_t expect, const struct um_json *obj, struct um_bytes *value,
			 struct um_bytes *shown, int code)
{
	struct um_store_compare cmp = {key, expect};
	struct um_store_op op = {key, value};
	struct um_error err = UM_ERROR_INIT;
	struct commit *c = calloc(1, sizeof(*c));

	if (!c) {
		um_bytes_unref(shown);
		um_answer_no_memory(rq);
		return;
	}
	*c = (struct commit){um_areq_ref(rq), code, !expect, shown, NULL};
	if (value && !strcmp(kind->kind, "Service")) {
		c->hold = um_service_allocs_hold(rq->api->services, key, obj);
		if (!c->hold) {
			um_error_set(&err, -ENOMEM, "service: out of memory");
			on_committed(c, 0, &err);
			return;
		}
	}
	if (um_store_txn(um_api_store(rq->api, kind), &cmp, 1, &op, 1, on_committed, c, &err) < 0)
		on_committed(c, 0, &err);
}

int64_t um_durable_rev(const struct um_areq *rq, const char *key)
{
	struct um_store_kv kv;

	return um_store_get(um_api_store(rq->api, rq->rt.kind), key, &kv) < 0 ? 0 : kv.mod_rev;
}

/* All of it but the write: what is there is compared, too. The revision shown is one that is
 * durable: that of a write in flight may never come to be. */
static void dry_commit(struct um_areq *rq, const char *key, const struct um_kind *kind,
		       int64_t expect, struct um_bytes *b, int code)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_store_kv kv = {.mod_rev = 0};

	if (um_store_get_tentative(um_api_store(rq->api, kind), key, &kv) < 0)
		kv.mod_rev = 0;
	if (kv.mod_rev != expect) {
		um_error_set(&err, -EAGAIN, "%s is at another revision", key);
		um_answer_store_error(rq, &err, !expect);
	} else {
		um_answer_object(rq, code, b, um_durable_rev(rq, key));
	}
}

void um_commit(struct um_areq *rq, const struct um_kind *kind, const char *ns, const char *name,
	       int64_t expect, struct um_json *obj, int code)
{
	struct um_bytes *b = um_object_encode(kind, obj, rq->arena);
	char key[UM_OBJECT_KEY_MAX];

	rq->doing = um_arena_strdup(rq->arena, name);
	if (!b || !rq->doing) {
		um_bytes_unref(b);
		um_answer_no_memory(rq);
	} else if (um_object_key(key, kind, ns, name) < 0) {
		um_bytes_unref(b);
		um_answer_bad_request(rq, "the name is too long");
	} else if (b->len > UM_STORE_VALUE_MAX) {
		um_bytes_unref(b);
		um_answer_status(rq,
				 &(struct um_status){.code = 413,
						     .reason = "RequestEntityTooLarge",
						     .message = "the object is too large: limit "
								"is 3145728"});
	} else if (rq->wo.dry_run) {
		dry_commit(rq, key, kind, expect, b, code);
		um_bytes_unref(b);
	} else {
		commit_bytes(rq, key, kind, expect, obj, b, b, code);
	}
}

/* The last change let the object go: it is deleted, and shown as it was. */
static void commit_removal(struct um_areq *rq, struct um_json *obj, int64_t rev)
{
	const struct um_kind *k = rq->rt.kind;
	struct um_bytes *b = um_object_encode(k, obj, rq->arena);
	char key[UM_OBJECT_KEY_MAX];

	if (!b || um_object_key(key, k, rq->rt.ns, rq->rt.name) < 0) {
		um_bytes_unref(b);
		um_answer_no_memory(rq);
		return;
	}
	if (rq->wo.dry_run) {
		um_answer_object(rq, 200, b, um_durable_rev(rq, key));
		um_bytes_unref(b);
		return;
	}
	commit_bytes(rq, key, k, rev, NULL, NULL, b, 200);
}

void um_commit_nothing(struct um_areq *rq, struct um_json *obj, int64_t rev)
{
	const struct um_kind *k = rq->rt.kind;
	struct um_bytes *b;
	char key[UM_OBJECT_KEY_MAX];

	if (um_object_key(key, k, rq->rt.ns, rq->rt.name) < 0) {
		um_answer_no_memory(rq);
	} else if (!rq->wo.dry_run && um_durable_rev(rq, key) != rev) {
		/* What it equals is not durable yet: the answer has to wait for that. */
		um_commit(rq, k, rq->rt.ns, rq->rt.name, rev, obj, 200);
	} else {
		b = um_object_encode(k, obj, rq->arena);
		if (b)
			um_answer_object(rq, 200, b, um_durable_rev(rq, key));
		else
			um_answer_no_memory(rq);
		um_bytes_unref(b);
	}
}

bool um_load_target(struct um_areq *rq, struct um_json **ret, int64_t *ret_rev)
{
	const struct um_route *rt = &rq->rt;
	struct um_store_kv kv;
	char key[UM_OBJECT_KEY_MAX];

	if (um_object_key(key, rt->kind, rt->ns, rt->name) < 0 ||
	    um_store_get_tentative(um_api_store(rq->api, rt->kind), key, &kv) < 0) {
		um_answer_not_found(rq, rt->kind, rt->name);
		return false;
	}
	*ret = um_object_parse(kv.value, kv.mod_rev, rq->arena);
	*ret_rev = kv.mod_rev;
	if (!*ret)
		um_answer_no_memory(rq);
	return *ret;
}

/* ---- decoding ---- */

void um_warn(struct um_areq *rq, const struct um_causes *problems)
{
	for (const struct um_cause *c = problems->first; c; c = c->next) {
		_cleanup_buf_ struct um_buf b = UM_BUF_INIT(4096);

		um_buf_adds(&b, "299 - \"");
		for (const char *s = c->message; *s; s++) {
			if (*s == '"' || *s == '\\')
				um_buf_addc(&b, '\\');
			um_buf_addc(&b, (unsigned char)*s < 0x20 || *s == 0x7f ? ' ' : *s);
		}
		um_buf_addc(&b, '"');
		if (um_buf_error(&b) == 0)
			um_http_set_header(rq->http, "Warning", b.data);
	}
}

bool um_decode_body(struct um_areq *rq, const struct um_kind *kind, struct um_json **ret)
{
	struct um_causes problems = {.arena = rq->arena};
	struct um_error err = UM_ERROR_INIT;
	int enc = um_body_encoding(rq);

	if (enc < 0) {
		um_answer_status(rq, &(struct um_status){
					     .code = 415,
					     .reason = "UnsupportedMediaType",
					     .message = "the body of the request was in an unknown "
							"format - accepted media types include: "
							"application/json, application/yaml, "
							"application/vnd.kubernetes.protobuf"});
		return false;
	}
	if (um_schema_decode(kind, (enum um_encoding)enc, rq->body, rq->body_len, rq->wo.strict,
			     rq->arena, ret, &problems, &err) < 0) {
		if (err.code == -ENOMEM)
			um_answer_error(rq, &err);
		else
			um_answer_bad_request(rq, "%s", err.msg);
		return false;
	}
	um_warn(rq, &problems);
	return true;
}

/* ---- metadata ---- */

/* The namespace of the body, or that of the path. */
static bool settle_namespace(struct um_areq *rq, struct um_json *meta)
{
	const struct um_route *rt = &rq->rt;
	const char *ns = um_json_get_str(meta, "namespace", "");

	if (!rt->kind->namespaced)
		return true;
	if (*ns && strcmp(ns, rt->ns)) {
		um_answer_bad_request(rq, "the namespace of the provided object does not match the "
					  "namespace sent on the request");
		return false;
	}
	um_json_set_str(rq->arena, meta, "namespace", rt->ns);
	return true;
}

static bool new_metadata(struct um_areq *rq, struct um_json *obj)
{
	struct um_arena *a = rq->arena;
	struct um_json *meta = um_json_ensure_obj(a, obj, "metadata");

	if (*um_json_get_str(meta, "resourceVersion", "")) {
		um_answer_bad_request(rq,
				      "resourceVersion should not be set on objects to be created");
		return false;
	}
	if (!settle_namespace(rq, meta))
		return false;
	um_meta_new(rq->api, rq->rt.kind, meta, a);
	return true;
}

/* The namespace exists and is not going away. */
static bool namespace_open(struct um_areq *rq, const char *name)
{
	const struct um_kind *k = um_schema_find_resource("", "v1", "namespaces");
	struct um_store_kv kv;
	char key[UM_OBJECT_KEY_MAX];
	struct um_json *ns;
	struct um_status s = {.code = 403,
			      .reason = "Forbidden",
			      .kind = rq->rt.kind,
			      .plural = true,
			      .name = name};
	struct um_cause cause = {"NamespaceTerminating", "metadata.namespace", NULL, NULL};

	if (!rq->rt.kind->namespaced)
		return true;
	if (!k || um_object_key(key, k, NULL, rq->rt.ns) < 0 ||
	    um_store_get_tentative(rq->api->o.durable, key, &kv) < 0) {
		um_answer_not_found(rq, k, rq->rt.ns);
		return false;
	}
	if (!strstr(kv.value->data, "\"deletionTimestamp\""))
		return true;
	ns = um_object_parse(kv.value, kv.mod_rev, rq->arena);
	if (ns && !um_json_path(ns, "metadata.deletionTimestamp"))
		return true;
	cause.message = um_arena_printf(rq->arena, "namespace %s is being terminated", rq->rt.ns);
	s.causes = &cause;
	s.message = um_arena_printf(rq->arena,
				    "%s \"%s\" is forbidden: unable to create new content in "
				    "namespace %s because it is being terminated",
				    um_resource_text(rq->rt.kind, rq->arena), name, rq->rt.ns);
	um_answer_status(rq, &s);
	return false;
}

/* ---- create ---- */

/* What only the server and its agents may say is not taken from who creates. */
static void reset_status(const struct um_kind *k, struct um_json *obj)
{
	/* A node brings its status along when it registers. */
	if (k->has_status && strcmp(k->kind, "Node"))
		um_json_remove(obj, "status");
}

static int give_addresses(struct um_areq *rq, struct um_json *obj, const struct um_json *old,
			  struct um_causes *causes, struct um_error *err)
{
	if (strcmp(rq->rt.kind->kind, "Service"))
		return 0;
	return um_service_allocs_fill(rq->api->services, obj, old, rq->arena, causes, err);
}

/* What the server itself says of a new pod. False: it has answered. */
static bool admit_pod(struct um_areq *rq, struct um_json *pod, const char *name)
{
	struct um_error err = UM_ERROR_INIT;

	um_pod_admit(pod, rq->arena);
	if (um_pod_admit_account(rq->api, pod, rq->arena, &err) == 0)
		return true;
	if (err.reason == UM_REASON_FORBIDDEN)
		um_answer_status(rq, &(struct um_status){.code = 403,
							 .reason = "Forbidden",
							 .message = err.msg,
							 .kind = rq->rt.kind,
							 .plural = true,
							 .name = name});
	else
		um_answer_no_memory(rq);
	return false;
}

static bool default_and_validate(struct um_areq *rq, struct um_json *obj, const struct um_json *old,
				 const char *name)
{
	struct um_causes causes = {.arena = rq->arena};
	struct um_error err = UM_ERROR_INIT;

	if (um_schema_default(rq->rt.kind, obj, rq->arena) < 0) {
		um_answer_no_memory(rq);
		return false;
	}
	if (!old && !strcmp(rq->rt.kind->kind, "Pod") && !admit_pod(rq, obj, name))
		return false;
	um_schema_carry_over(rq->rt.kind, obj, old, rq->arena);
	if (um_schema_validate(rq->rt.kind, obj, old, &causes) == 0 &&
	    give_addresses(rq, obj, old, &causes, &err) == 0)
		return true;
	if (causes.first)
		um_answer_invalid(rq, name, &causes);
	else if (err.code && err.code != -ENOMEM)
		um_answer_error(rq, &err);
	else
		um_answer_no_memory(rq);
	return false;
}

/* A node creates only itself. */
static bool node_creates_itself(struct um_areq *rq, const char *name)
{
	if (!rq->id.node || rq->id.admin)
		return true;
	if (!strcmp(rq->rt.kind->kind, "Node") || !strcmp(rq->rt.kind->kind, "Lease")) {
		if (strcmp(name, rq->id.node)) {
			um_answer_forbidden(rq, um_arena_printf(rq->arena,
								"node \"%s\" is not allowed to "
								"create \"%s\"",
								rq->id.node, name));
			return false;
		}
	}
	return true;
}

void um_handle_create(struct um_areq *rq)
{
	struct um_json *obj = NULL;
	const char *name;

	if (!um_query_write_opts(rq) || !um_decode_body(rq, rq->rt.kind, &obj) ||
	    !new_metadata(rq, obj))
		return;
	name = um_json_get_str(obj, "metadata.name", "");
	reset_status(rq->rt.kind, obj);
	if (!node_creates_itself(rq, name) || !namespace_open(rq, name) ||
	    !default_and_validate(rq, obj, NULL, name))
		return;
	um_commit(rq, rq->rt.kind, rq->rt.ns, name, 0, obj, 201);
}

/* ---- update ---- */

static void carry(struct um_arena *a, struct um_json *to, const struct um_json *from,
		  const char *key)
{
	const struct um_json *v = um_json_get(from, key);

	if (v)
		um_json_set(a, to, key, um_json_copy(a, v));
	else
		um_json_remove(to, key);
}

static bool check_identity(struct um_areq *rq, const struct um_json *obj, const struct um_json *old)
{
	const struct um_route *rt = &rq->rt;
	const char *name = um_json_get_str(obj, "metadata.name", rt->name);
	const char *ns = um_json_get_str(obj, "metadata.namespace", rt->ns);
	const char *uid = um_json_get_str(obj, "metadata.uid", "");
	const char *rv = um_json_get_str(obj, "metadata.resourceVersion", "");

	if (*name && strcmp(name, rt->name)) {
		um_answer_bad_request(rq,
				      "the name of the object (%s) does not match the name on the "
				      "URL (%s)",
				      name, rt->name);
	} else if (rt->kind->namespaced && *ns && strcmp(ns, rt->ns)) {
		um_answer_bad_request(rq, "the namespace of the provided object does not match the "
					  "namespace sent on the request");
	} else if (*uid && strcmp(uid, um_json_get_str(old, "metadata.uid", ""))) {
		um_answer_conflict(rq, rt->name,
				   um_arena_printf(rq->arena,
						   "Precondition failed: UID in precondition: %s, "
						   "UID in object meta: %s",
						   uid, um_json_get_str(old, "metadata.uid", "")));
	} else if (*rv && strcmp(rv, "0") &&
		   strcmp(rv, um_json_get_str(old, "metadata.resourceVersion", ""))) {
		um_answer_conflict(rq, rt->name,
				   "the object has been modified; please apply your changes to the "
				   "latest version and try again");
	} else {
		return true;
	}
	return false;
}

/* What an update cannot change by itself comes from the old object. */
static void keep_metadata(struct um_areq *rq, struct um_json *obj, const struct um_json *old)
{
	static const char *const kept[] = {"name",
					   "namespace",
					   "uid",
					   "creationTimestamp",
					   "deletionTimestamp",
					   "deletionGracePeriodSeconds",
					   "generation",
					   "generateName"};
	struct um_json *meta = um_json_ensure_obj(rq->arena, obj, "metadata");
	const struct um_json *old_meta = um_json_get(old, "metadata");

	um_meta_forget_foreign(meta);
	um_json_remove(meta, "resourceVersion");
	for (size_t i = 0; i < UM_ARRAY_LEN(kept); i++)
		carry(rq->arena, meta, old_meta, kept[i]);
}

/* Labels and annotations may be given beside a status, as Kubernetes has it (but the labels of
 * Deployments). A node, though, says what its pods are, not what they are called. */
static void carry_notes(struct um_areq *rq, struct um_json *to, const struct um_json *from)
{
	struct um_json *meta = um_json_get(to, "metadata");

	if (rq->id.node && !rq->id.admin)
		return;
	carry(rq->arena, meta, um_json_get(from, "metadata"), "annotations");
	if (strcmp(rq->rt.kind->kind, "Deployment"))
		carry(rq->arena, meta, um_json_get(from, "metadata"), "labels");
}

/* /status changes no part of spec, everything else leaves the status alone. */
static struct um_json *isolate(struct um_areq *rq, struct um_json *obj, const struct um_json *old)
{
	struct um_json *base;

	if (!strcmp(rq->rt.sub, "status") || !strcmp(rq->rt.sub, "finalize")) {
		base = um_json_copy(rq->arena, old);
		if (!base)
			return NULL;
		if (!strcmp(rq->rt.sub, "status")) {
			carry(rq->arena, base, obj, "status");
			carry_notes(rq, base, obj);
		} else {
			carry(rq->arena, um_json_ensure_obj(rq->arena, base, "spec"),
			      um_json_get(obj, "spec"), "finalizers");
		}
		um_json_remove(um_json_get(base, "metadata"), "resourceVersion");
		return base;
	}
	if (rq->rt.kind->has_status)
		carry(rq->arena, obj, old, "status");
	return obj;
}

void um_finish_update(struct um_areq *rq, struct um_json *obj, struct um_json *old, int64_t rev)
{
	if (!check_identity(rq, obj, old))
		return;
	keep_metadata(rq, obj, old);
	obj = isolate(rq, obj, old);
	if (!obj) {
		um_answer_no_memory(rq);
		return;
	}
	if (!default_and_validate(rq, obj, old, rq->rt.name))
		return;
	um_meta_count_generation(rq->rt.kind, obj, old, rq->arena);
	if (um_removal_complete(rq->rt.kind, obj)) {
		commit_removal(rq, obj, rev);
		return;
	}
	um_json_set_str(rq->arena, um_json_get(obj, "metadata"), "resourceVersion",
			um_json_get_str(old, "metadata.resourceVersion", ""));
	if (um_json_equal(obj, old))
		um_commit_nothing(rq, obj, rev);
	else
		um_commit(rq, rq->rt.kind, rq->rt.ns, rq->rt.name, rev, obj, 200);
}

void um_handle_update(struct um_areq *rq)
{
	struct um_json *obj = NULL, *old = NULL;
	int64_t rev;

	if (um_query_write_opts(rq) && um_decode_body(rq, rq->rt.kind, &obj) &&
	    um_load_target(rq, &old, &rev))
		um_finish_update(rq, obj, old, rev);
}
