/* delete and deletecollection: at once, or marked until grace and finalizers are over. */
#include <string.h>

#include "api/internal.h"

/* ---- what a deletion means ---- */

static bool held(const struct um_kind *kind, const struct um_json *obj)
{
	if (um_json_first(um_json_path(obj, "metadata.finalizers")))
		return true;
	return !strcmp(kind->kind, "Namespace") &&
	       um_json_first(um_json_path(obj, "spec.finalizers"));
}

/* By namespaces that every cluster has. */
static bool is_protected(const struct um_kind *kind, const char *name)
{
	static const char *const names[] = {"default", "kube-system", "kube-public"};

	if (strcmp(kind->kind, "Namespace"))
		return false;
	for (size_t i = 0; i < UM_ARRAY_LEN(names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

/* Seconds that the object's processes may take; 0 where there are none. */
static int64_t grace_of(const struct um_kind *kind, const struct um_json *obj, int64_t asked_s)
{
	const char *phase = um_json_get_str(obj, "status.phase", "");

	if (strcmp(kind->kind, "Pod"))
		return 0;
	if (!*um_json_get_str(obj, "spec.nodeName", "") || !strcmp(phase, "Succeeded") ||
	    !strcmp(phase, "Failed"))
		return 0;
	if (asked_s >= 0)
		return asked_s;
	return um_json_get_i64(obj, "spec.terminationGracePeriodSeconds", 30);
}

/* ---- what becomes of the dependents ---- */

static const struct {
	const char *finalizer;
	enum um_propagation policy;
} dependents[] = {
	{UM_FINALIZER_ORPHAN, UM_PROPAGATE_ORPHAN},
	{UM_FINALIZER_FOREGROUND, UM_PROPAGATE_FOREGROUND},
};

static struct um_json *find_text(struct um_json *list, const char *s)
{
	um_json_foreach (it, list)
		if (um_json_streq(it, s))
			return it;
	return NULL;
}

/* Puts the finalizer of @policy in and takes the others out; a deletion that says nothing follows
 * what the object has. True when that changed something. */
static bool set_policy(const struct um_kind *kind, struct um_json *meta, enum um_propagation policy,
		       struct um_arena *a)
{
	struct um_json *list = um_json_get(meta, "finalizers");
	bool changed = false;

	/* The collector does not follow what is not kept. */
	if (policy == UM_PROPAGATE_DEFAULT || kind->is_volatile)
		return false;
	for (size_t i = 0; i < UM_ARRAY_LEN(dependents); i++) {
		struct um_json *has = find_text(list, dependents[i].finalizer);

		if (policy == dependents[i].policy && !has) {
			list = um_json_ensure_arr(a, meta, "finalizers");
			um_json_append(list, um_json_new_str(a, dependents[i].finalizer));
			changed = true;
		} else if (policy != dependents[i].policy && has) {
			um_json_remove_node(list, has);
			changed = true;
		}
	}
	if (list && !um_json_first(list))
		um_json_remove(meta, "finalizers");
	return changed;
}

enum um_removal um_plan_removal(const struct um_kind *kind, struct um_json *obj,
				enum um_propagation policy, int64_t grace_s, int64_t wall_ns,
				struct um_arena *a)
{
	struct um_json *meta = um_json_get(obj, "metadata");
	int64_t grace = grace_of(kind, obj, grace_s);
	int64_t had = um_json_get_i64(meta, "deletionGracePeriodSeconds", 0);
	bool marked = um_json_get(meta, "deletionTimestamp");
	char stamp[UM_TIME_LEN];

	/* While its processes end, another wish does not count. */
	if (marked && had && grace >= had)
		return UM_REMOVE_ALREADY;
	if (set_policy(kind, meta, policy, a) && marked && !had && held(kind, obj))
		return UM_REMOVE_MARK;
	if (!grace && !held(kind, obj))
		return UM_REMOVE_NOW;
	if (marked && !had)
		return UM_REMOVE_ALREADY;
	um_time_format(wall_ns + grace * UM_NSEC_PER_SEC, stamp);
	um_json_set_str(a, meta, "deletionTimestamp", stamp);
	um_json_set_i64(a, meta, "deletionGracePeriodSeconds", grace);
	if (!strcmp(kind->kind, "Namespace"))
		um_json_set_str(a, um_json_ensure_obj(a, obj, "status"), "phase", "Terminating");
	if (um_json_get_i64(meta, "generation", 0))
		um_json_set_i64(a, meta, "generation", um_json_get_i64(meta, "generation", 0) + 1);
	return UM_REMOVE_MARK;
}

bool um_removal_complete(const struct um_kind *kind, const struct um_json *obj)
{
	return um_json_path(obj, "metadata.deletionTimestamp") && !held(kind, obj) &&
	       !um_json_get_i64(obj, "metadata.deletionGracePeriodSeconds", 0);
}

/* ---- options ---- */

struct options {
	int64_t grace_s;
	enum um_propagation policy;
	const char *uid, *rev;
};

static bool refuse_option(struct um_areq *rq, const char *reason, const char *field,
			  const char *message)
{
	struct um_cause cause = {reason, field, message, NULL};

	if (message)
		um_answer_status(rq, &(struct um_status){
					     .code = 422,
					     .reason = "Invalid",
					     .causes = &cause,
					     .message = um_arena_printf(
						     rq->arena,
						     "DeleteOptions.meta.k8s.io \"\" is invalid: "
						     "%s: %s",
						     field, message)});
	else
		um_answer_no_memory(rq);
	return false;
}

static bool bad_option(struct um_areq *rq, const char *field, const char *value, const char *valid)
{
	return refuse_option(rq, "FieldValueInvalid", field,
			     um_arena_printf(rq->arena, "Invalid value: \"%s\": %s", value, valid));
}

/* What of both was said; NULL and false: not said. */
struct policy_words {
	const char *policy;
	bool orphan_said, orphan;
};

static bool read_policy(struct um_areq *rq, const struct policy_words *w, struct options *o)
{
	static const struct {
		const char *name;
		enum um_propagation policy;
	} names[] = {{"Background", UM_PROPAGATE_BACKGROUND},
		     {"Foreground", UM_PROPAGATE_FOREGROUND},
		     {"Orphan", UM_PROPAGATE_ORPHAN}};

	if (w->policy && w->orphan_said)
		return bad_option(rq, "propagationPolicy", w->policy,
				  "orphanDependents and deletionPropagation cannot be both set");
	if (w->orphan_said)
		o->policy = w->orphan ? UM_PROPAGATE_ORPHAN : UM_PROPAGATE_BACKGROUND;
	if (!w->policy)
		return true;
	for (size_t i = 0; i < UM_ARRAY_LEN(names); i++) {
		if (strcmp(w->policy, names[i].name))
			continue;
		o->policy = names[i].policy;
		return true;
	}
	return refuse_option(rq, "FieldValueNotSupported", "propagationPolicy",
			     um_arena_printf(rq->arena,
					     "Unsupported value: \"%s\": supported values: "
					     "\"Foreground\", \"Background\", \"Orphan\", \"nil\"",
					     w->policy));
}

/* The body's kind may carry the version of any group: it is taken off before. */
static int parse_body(struct um_areq *rq, struct um_json **ret, struct um_error *err)
{
	const struct um_kind *k = um_schema_find_kind("", "v1", "DeleteOptions");
	struct um_causes problems = {.arena = rq->arena};
	int enc = um_body_encoding(rq), r;

	if (enc < 0)
		return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EBADMSG,
					   "the body of the request was in an unknown format");
	if (enc == UM_ENC_PROTOBUF)
		return um_schema_decode(k, UM_ENC_PROTOBUF, rq->body, rq->body_len,
					UM_STRICT_IGNORE, rq->arena, ret, &problems, err);
	r = um_json_parse(rq->arena, rq->body, rq->body_len, NULL, ret, err);
	if (r < 0)
		return r;
	if (strcmp(um_json_get_str(*ret, "kind", "DeleteOptions"), "DeleteOptions"))
		return um_error_set(err, -EBADMSG, "the body is no DeleteOptions");
	um_json_remove(*ret, "apiVersion");
	um_json_remove(*ret, "kind");
	return um_schema_check_tree(k, *ret, UM_STRICT_IGNORE, rq->arena, &problems, err);
}

static bool read_body(struct um_areq *rq, struct options *o)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_json *b = NULL;
	struct policy_words w;

	if (!rq->body_len)
		return true;
	if (parse_body(rq, &b, &err) < 0) {
		if (err.reason == UM_REASON_UNSUPPORTED || err.code == -ENOMEM)
			um_answer_error(rq, &err);
		else
			um_answer_bad_request(rq, "%s", err.msg);
		return false;
	}
	o->grace_s = um_json_get_i64(b, "gracePeriodSeconds", o->grace_s);
	o->uid = um_json_get_str(b, "preconditions.uid", NULL);
	o->rev = um_json_get_str(b, "preconditions.resourceVersion", NULL);
	um_json_foreach (it, um_json_get(b, "dryRun")) {
		if (!um_json_streq(it, "All"))
			return bad_option(rq, "dryRun", um_json_str(it, ""), "must be All");
		rq->wo.dry_run = true;
	}
	w = (struct policy_words){um_json_get_str(b, "propagationPolicy", NULL),
				  um_json_get(b, "orphanDependents"),
				  um_json_get_bool(b, "orphanDependents", false)};
	return read_policy(rq, &w, o);
}

static bool read_options(struct um_areq *rq, struct options *o)
{
	const struct policy_words w = {um_http_query(rq->http, "propagationPolicy"),
				       um_http_query(rq->http, "orphanDependents"),
				       um_query_bool(rq, "orphanDependents")};

	*o = (struct options){.grace_s = -1};
	if (!um_query_write_opts(rq))
		return false;
	if (um_query_i64(rq, "gracePeriodSeconds", &o->grace_s) < 0) {
		um_answer_bad_request(rq, "gracePeriodSeconds: must be a number");
		return false;
	}
	if (!read_policy(rq, &w, o) || !read_body(rq, o))
		return false;
	if (o->grace_s < -1)
		return bad_option(rq, "gracePeriodSeconds", "negative", "must not be negative");
	return true;
}

static bool preconditions_hold(struct um_areq *rq, const struct options *o,
			       const struct um_json *obj)
{
	const char *uid = um_json_get_str(obj, "metadata.uid", "");
	const char *rev = um_json_get_str(obj, "metadata.resourceVersion", "");

	if (o->uid && strcmp(o->uid, uid)) {
		um_answer_conflict(rq, rq->rt.name,
				   um_arena_printf(rq->arena,
						   "Precondition failed: UID in precondition: %s, "
						   "UID in object meta: %s",
						   o->uid, uid));
		return false;
	}
	if (o->rev && strcmp(o->rev, rev)) {
		um_answer_conflict(rq, rq->rt.name,
				   um_arena_printf(rq->arena,
						   "Precondition failed: ResourceVersion in "
						   "precondition: %s, which is not that of the "
						   "object",
						   o->rev));
		return false;
	}
	return true;
}

/* ---- delete ---- */

struct removal {
	struct um_areq *rq;
	struct um_bytes *last; /* shown for pods */
	const char *uid;
};

static bool shows_object(const struct um_areq *rq)
{
	return !strcmp(rq->rt.kind->kind, "Pod");
}

static void removed(struct um_areq *rq, struct um_bytes *last, const char *uid, int64_t rev)
{
	if (shows_object(rq))
		um_answer_object(rq, 200, last, rev);
	else
		um_answer_success(rq, rq->rt.name, uid);
}

static void on_removed(void *arg, int64_t rev, const struct um_error *err)
{
	struct removal *d = arg;

	if (err && err->code)
		um_answer_store_error(d->rq, err, false);
	else
		removed(d->rq, d->last, d->uid, rev);
	um_bytes_unref(d->last);
	um_areq_unref(d->rq);
	free(d);
}

static void remove_now(struct um_areq *rq, struct um_json *obj, int64_t rev)
{
	const char *uid = um_arena_strdup(rq->arena, um_json_get_str(obj, "metadata.uid", ""));
	struct um_bytes *last = um_object_encode(rq->rt.kind, obj, rq->arena);
	struct removal *d = last && uid ? calloc(1, sizeof(*d)) : NULL;
	char key[UM_OBJECT_KEY_MAX];
	struct um_store_compare cmp = {key, rev};
	struct um_store_op op = {key, NULL};
	struct um_error err = UM_ERROR_INIT;

	if (!d || um_object_key(key, rq->rt.kind, rq->rt.ns, rq->rt.name) < 0) {
		um_bytes_unref(last);
		free(d);
		um_answer_no_memory(rq);
		return;
	}
	*d = (struct removal){um_areq_ref(rq), last, uid};
	if (rq->wo.dry_run)
		on_removed(d, um_durable_rev(rq, key), NULL);
	else if (um_store_txn(um_api_store(rq->api, rq->rt.kind), &cmp, 1, &op, 1, on_removed, d,
			      &err) < 0)
		on_removed(d, 0, &err);
}

void um_handle_delete(struct um_areq *rq)
{
	struct um_json *obj = NULL;
	struct options o;
	int64_t rev;

	if (!read_options(rq, &o) || !um_load_target(rq, &obj, &rev) ||
	    !preconditions_hold(rq, &o, obj))
		return;
	if (is_protected(rq->rt.kind, rq->rt.name)) {
		um_answer_forbidden(rq, "this namespace may not be deleted");
		return;
	}
	switch (um_plan_removal(rq->rt.kind, obj, o.policy, o.grace_s, um_api_wall(rq->api),
				rq->arena)) {
	case UM_REMOVE_NOW:
		remove_now(rq, obj, rev);
		break;
	case UM_REMOVE_MARK:
		um_commit(rq, rq->rt.kind, rq->rt.ns, rq->rt.name, rev, obj, 200);
		break;
	case UM_REMOVE_ALREADY:
		um_commit_nothing(rq, obj, rev);
		break;
	}
}

/* ---- by the server itself, and of collections ---- */

static void on_quietly(void *arg um_unused, int64_t rev um_unused,
		       const struct um_error *err um_unused)
{
}

struct removal_wish {
	enum um_propagation policy;
	int64_t grace_s;
	const char *uid; /* NULL: any */
};

/* 1: @done will be called; 0: there is nothing to do; negative: an errno of the store. */
static int start_removal(struct um_api *api, const struct um_kind *kind, const char *key,
			 const struct removal_wish *how, um_store_done_fn done, void *arg,
			 struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	_cleanup_bytes_ struct um_bytes *b = NULL;
	struct um_store *s = um_api_store(api, kind);
	struct um_store_kv kv;
	struct um_store_compare cmp;
	struct um_store_op op = {key, NULL};
	struct um_json *obj;
	int r;

	if (um_store_get_tentative(s, key, &kv) < 0)
		return 0;
	cmp = (struct um_store_compare){key, kv.mod_rev};
	obj = a ? um_object_parse(kv.value, kv.mod_rev, a) : NULL;
	if (!obj)
		return um_error_set(err, -ENOMEM, "delete %s: out of memory", key);
	if (is_protected(kind, um_json_get_str(obj, "metadata.name", "")) ||
	    (how->uid && strcmp(how->uid, um_json_get_str(obj, "metadata.uid", ""))))
		return 0;
	switch (um_plan_removal(kind, obj, how->policy, how->grace_s, um_api_wall(api), a)) {
	case UM_REMOVE_ALREADY:
		return 0;
	case UM_REMOVE_MARK:
		b = um_object_encode(kind, obj, a);
		if (!b)
			return um_error_set(err, -ENOMEM, "delete %s: out of memory", key);
		op.value = b;
		break;
	case UM_REMOVE_NOW:
		break;
	}
	r = um_store_txn(s, &cmp, 1, &op, 1, done, arg, err);
	return r < 0 ? r : 1;
}

int um_api_remove_by(struct um_api *api, const struct um_kind *kind, const char *ns,
		     const char *name, const struct um_api_removal *how, um_store_done_fn done,
		     void *arg)
{
	struct removal_wish o = {how->policy, how->at_once ? 0 : -1, how->uid};
	char key[UM_OBJECT_KEY_MAX];
	int r = um_object_key(key, kind, ns, name);

	return r < 0 ? r : start_removal(api, kind, key, &o, done ? done : on_quietly, arg, NULL);
}

int um_api_remove(struct um_api *api, const struct um_kind *kind, const char *ns, const char *name,
		  um_store_done_fn done, void *arg)
{
	return um_api_remove_by(api, kind, ns, name, &(struct um_api_removal){0}, done, arg);
}

/* A collection on its way out: some objects a turn; the answer comes when all are durable. */
struct sweep {
	struct um_areq *rq;
	struct um_selector *sel;
	struct removal_wish how;
	UM_VEC(char *) keys;
	size_t at;
	unsigned pending;
	struct um_error err; /* the first */
};

enum { SWEEP_PER_TURN = 50 };

static bool collect(void *arg, const struct um_store_kv *kv)
{
	struct sweep *w = arg;
	char *key = strdup(kv->key);

	if (key && um_vec_push(&w->keys, key) == 0)
		return true;
	free(key);
	um_error_set(&w->err, -ENOMEM, "delete a collection: out of memory");
	return false;
}

static void sweep_release(struct sweep *w)
{
	if (--w->pending)
		return;
	if (w->err.code)
		um_answer_error(w->rq, &w->err);
	else
		um_answer_success(w->rq, NULL, NULL);
	um_vec_foreach (key, &w->keys)
		free(*key);
	um_vec_release(&w->keys);
	um_areq_unref(w->rq);
	free(w);
}

static void on_swept(void *arg, int64_t rev um_unused, const struct um_error *err)
{
	struct sweep *w = arg;

	if (err && err->code && !w->err.code)
		um_error_move(&w->err, err);
	sweep_release(w);
}

static bool selected(struct sweep *w, const char *key)
{
	struct um_arena *a;
	struct um_store_kv kv;
	struct um_json *obj;
	bool yes;

	if (!w->sel)
		return true;
	if (um_store_get_tentative(um_api_store(w->rq->api, w->rq->rt.kind), key, &kv) < 0)
		return false;
	a = um_arena_new(UM_OBJECT_ARENA_MAX);
	obj = a ? um_object_parse(kv.value, kv.mod_rev, a) : NULL;
	if (!obj && !w->err.code)
		um_error_set(&w->err, -ENOMEM, "delete a collection: out of memory");
	yes = obj && um_selector_match(w->sel, obj);
	um_arena_free(a);
	return yes;
}

static void sweep_some(void *arg)
{
	struct sweep *w = arg;
	const struct um_kind *k = w->rq->rt.kind;

	for (int i = 0; i < SWEEP_PER_TURN && w->at < w->keys.len && !w->err.code; i++) {
		const char *key = w->keys.items[w->at++];

		if (selected(w, key) && !w->rq->wo.dry_run &&
		    start_removal(w->rq->api, k, key, &w->how, on_swept, w, &w->err) > 0)
			w->pending++;
	}
	if (w->at < w->keys.len && !w->err.code &&
	    um_loop_defer(w->rq->api->loop, sweep_some, w) == 0)
		return;
	if (w->at < w->keys.len && !w->err.code)
		um_error_set(&w->err, -ENOMEM, "delete a collection: out of memory");
	sweep_release(w);
}

void um_handle_delete_collection(struct um_areq *rq)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_selector *sel = NULL;
	char prefix[UM_OBJECT_KEY_MAX];
	struct options o;
	struct sweep *w;

	if (!read_options(rq, &o))
		return;
	if (!strcmp(rq->rt.kind->kind, "Namespace")) {
		um_answer_status(rq, &(struct um_status){.code = 405,
							 .reason = "MethodNotAllowed",
							 .message = "namespaces are deleted one by "
								    "one"});
		return;
	}
	if (um_selector_parse(rq->arena, rq->rt.kind, um_http_query(rq->http, "labelSelector"),
			      um_http_query(rq->http, "fieldSelector"), &sel, &err) < 0) {
		um_answer_error(rq, &err);
		return;
	}
	if (um_object_key(prefix, rq->rt.kind, rq->rt.ns, NULL) < 0) {
		um_answer_bad_request(rq, "the namespace is too long");
		return;
	}
	w = calloc(1, sizeof(*w));
	if (!w) {
		um_answer_no_memory(rq);
		return;
	}
	w->rq = um_areq_ref(rq);
	w->sel = sel;
	w->how = (struct removal_wish){o.policy, o.grace_s, NULL};
	w->pending = 1;
	um_store_list(um_api_store(rq->api, rq->rt.kind), prefix, NULL, collect, w);
	sweep_some(w);
}
