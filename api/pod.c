/* What pods alone have: admission, binding, logs. */
#include <string.h>

#include "api/internal.h"
#include "api/streams.h"
#include "base/quantity.h"

/* ---- quality of service ---- */

struct qos {
	bool any, all; /* of the containers' cpu and memory, is any said; are all limits requests */
};

static bool zero(const struct um_json *v)
{
	int64_t n = 0;

	return !v || um_quantity_milli(um_json_str(v, "0"), &n) < 0 || n == 0;
}

static void look_at(struct qos *q, const struct um_json *container)
{
	static const char *const resources[] = {"cpu", "memory"};

	for (size_t i = 0; i < UM_ARRAY_LEN(resources); i++) {
		const struct um_json *r = um_json_get(container, "resources");
		const struct um_json *want = um_json_get(um_json_get(r, "requests"), resources[i]);
		const struct um_json *limit = um_json_get(um_json_get(r, "limits"), resources[i]);
		int64_t w = 0, l = 0;

		q->any |= !zero(want) || !zero(limit);
		if (zero(limit) || !want || um_quantity_milli(um_json_str(want, "0"), &w) < 0 ||
		    um_quantity_milli(um_json_str(limit, "0"), &l) < 0 || w != l)
			q->all = false;
	}
}

static const char *qos_class(const struct um_json *spec)
{
	static const char *const lists[] = {"containers", "initContainers"};
	struct qos q = {false, true};

	for (size_t i = 0; i < UM_ARRAY_LEN(lists); i++)
		um_json_foreach (c, um_json_get(spec, lists[i]))
			look_at(&q, c);
	return !q.any ? "BestEffort" : q.all ? "Guaranteed" : "Burstable";
}

/* ---- admission ---- */

static bool tolerates(const struct um_json *spec, const char *key)
{
	um_json_foreach (t, um_json_get(spec, "tolerations")) {
		const char *k = um_json_get_str(t, "key", "");
		const char *effect = um_json_get_str(t, "effect", "");

		if ((!*k || !strcmp(k, key)) && (!*effect || !strcmp(effect, "NoExecute")))
			return true;
	}
	return false;
}

static void add_toleration(struct um_json *spec, const char *key, struct um_arena *a)
{
	struct um_json *t;

	if (tolerates(spec, key))
		return;
	t = um_json_append(um_json_ensure_arr(a, spec, "tolerations"), um_json_new_obj(a));
	um_json_set_str(a, t, "key", key);
	um_json_set_str(a, t, "operator", "Exists");
	um_json_set_str(a, t, "effect", "NoExecute");
	um_json_set_i64(a, t, "tolerationSeconds", 300);
}

void um_pod_admit(struct um_json *pod, struct um_arena *a)
{
	struct um_json *spec = um_json_ensure_obj(a, pod, "spec"), *status;

	if (!*um_json_get_str(spec, "serviceAccountName", "")) {
		um_json_set_str(a, spec, "serviceAccountName", "default");
		um_json_set_str(a, spec, "serviceAccount", "default");
	}
	add_toleration(spec, "node.kubernetes.io/not-ready", a);
	add_toleration(spec, "node.kubernetes.io/unreachable", a);
	status = um_json_ensure_obj(a, pod, "status");
	um_json_set_str(a, status, "phase", "Pending");
	um_json_set_str(a, status, "qosClass", qos_class(spec));
}

/* ---- binding ---- */

static void set_scheduled(struct um_areq *rq, struct um_json *pod)
{
	struct um_arena *a = rq->arena;
	struct um_json *list =
		um_json_ensure_arr(a, um_json_ensure_obj(a, pod, "status"), "conditions");
	struct um_json *c = NULL;
	char now[UM_TIME_LEN];

	um_json_foreach (it, list)
		if (!strcmp(um_json_get_str(it, "type", ""), "PodScheduled"))
			c = it;
	if (!c)
		c = um_json_append(list, um_json_new_obj(a));
	um_json_remove(c, "reason");
	um_json_remove(c, "message");
	um_json_set_str(a, c, "type", "PodScheduled");
	um_json_set_str(a, c, "status", "True");
	um_json_set_str(a, c, "lastTransitionTime", um_api_now(rq->api, now));
}

static void merge_map(struct um_areq *rq, struct um_json *pod, const struct um_json *binding,
		      const char *key)
{
	const struct um_json *from = um_json_get(um_json_get(binding, "metadata"), key);

	um_json_foreach (it, from)
		um_json_set(rq->arena,
			    um_json_ensure_obj(rq->arena, um_json_get(pod, "metadata"), key),
			    it->key, um_json_copy(rq->arena, it));
}

static void on_bound(void *arg, int64_t rev um_unused, const struct um_error *err)
{
	struct um_areq *rq = arg;

	if (err && err->code)
		um_answer_store_error(rq, err, false);
	else
		um_answer_status(rq, &(struct um_status){.code = 201});
	um_areq_unref(rq);
}

static void store_bound(struct um_areq *rq, struct um_json *pod, int64_t rev)
{
	const struct um_route *rt = &rq->rt;
	_cleanup_bytes_ struct um_bytes *b = um_object_encode(rt->kind, pod, rq->arena);
	char key[UM_OBJECT_KEY_MAX];
	struct um_store_compare cmp = {key, rev};
	struct um_store_op op = {key, b};
	struct um_error err = UM_ERROR_INIT;

	if (!b || um_object_key(key, rt->kind, rt->ns, rt->name) < 0) {
		um_answer_no_memory(rq);
	} else if (rq->wo.dry_run) {
		um_answer_status(rq, &(struct um_status){.code = 201});
	} else if (um_store_txn(um_api_store(rq->api, rt->kind), &cmp, 1, &op, 1, on_bound,
				um_areq_ref(rq), &err) < 0) {
		on_bound(rq, 0, &err);
	}
}

static bool decode_binding(struct um_areq *rq, struct um_json **ret)
{
	const struct um_kind *k = um_schema_find_kind("", "v1", "Binding");
	struct um_causes problems = {.arena = rq->arena};
	struct um_error err = UM_ERROR_INIT;
	int enc = um_body_encoding(rq);

	if (!k || enc < 0 ||
	    um_schema_decode(k, (enum um_encoding)enc, rq->body, rq->body_len, rq->wo.strict,
			     rq->arena, ret, &problems, &err) < 0) {
		um_answer_bad_request(rq, "%s", *err.msg ? err.msg : "unknown format of the body");
		return false;
	}
	return true;
}

void um_handle_binding(struct um_areq *rq)
{
	struct um_json *binding = NULL, *pod = NULL;
	const char *node, *bound, *uid, *name = rq->rt.name;
	int64_t rev;

	if (!um_query_write_opts(rq) || !decode_binding(rq, &binding) ||
	    !um_load_target(rq, &pod, &rev))
		return;
	node = um_json_get_str(binding, "target.name", "");
	bound = um_json_get_str(pod, "spec.nodeName", "");
	uid = um_json_get_str(binding, "metadata.uid", "");
	if (!*node || strcmp(um_json_get_str(binding, "target.kind", "Node"), "Node")) {
		um_answer_bad_request(rq, "target: Required value: must name a Node");
	} else if (*um_json_get_str(binding, "metadata.name", "") &&
		   strcmp(um_json_get_str(binding, "metadata.name", ""), name)) {
		um_answer_bad_request(rq, "name in URL does not match name in Binding object");
	} else if (*uid && strcmp(uid, um_json_get_str(pod, "metadata.uid", ""))) {
		um_answer_conflict(rq, name,
				   "Precondition failed: UID in precondition is of "
				   "another pod");
	} else if (um_json_path(pod, "metadata.deletionTimestamp")) {
		um_answer_conflict(rq, name,
				   um_arena_printf(rq->arena,
						   "pod %s is being deleted, cannot be assigned to "
						   "a host",
						   name));
	} else if (*bound) {
		um_answer_conflict(rq, name,
				   um_arena_printf(rq->arena,
						   "pod %s is already assigned to node \"%s\"",
						   name, bound));
	} else {
		um_json_set_str(rq->arena, um_json_get(pod, "spec"), "nodeName", node);
		merge_map(rq, pod, binding, "annotations");
		merge_map(rq, pod, binding, "labels");
		set_scheduled(rq, pod);
		store_bound(rq, pod, rev);
	}
}

/* ---- log ---- */

static const char *container_names(struct um_areq *rq, const struct um_json *spec)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(4096);

	um_json_foreach (c, um_json_get(spec, "containers"))
		um_buf_addf(&b, "%s%s", b.len ? " " : "", um_json_get_str(c, "name", ""));
	return um_arena_strndup(rq->arena, um_buf_str(&b), b.len);
}

static bool has_container(const struct um_json *spec, const char *name)
{
	static const char *const lists[] = {"containers", "initContainers"};

	for (size_t i = 0; i < UM_ARRAY_LEN(lists); i++)
		um_json_foreach (c, um_json_get(spec, lists[i]))
			if (!strcmp(um_json_get_str(c, "name", ""), name))
				return true;
	return false;
}

/* The container asked for; NULL: answered. */
static const char *pick_container(struct um_areq *rq, const struct um_json *pod)
{
	const struct um_json *spec = um_json_get(pod, "spec"),
			     *list = um_json_get(spec, "containers");
	const char *name = um_http_query(rq->http, "container");

	if (name && *name) {
		if (has_container(spec, name))
			return name;
		um_answer_bad_request(rq, "container %s is not valid for pod %s", name,
				      rq->rt.name);
		return NULL;
	}
	if (um_json_first(list) && !um_json_first(list)->next)
		return um_json_get_str(um_json_first(list), "name", "");
	um_answer_bad_request(rq,
			      "a container name must be specified for pod %s, choose one of: [%s]",
			      rq->rt.name, container_names(rq, spec));
	return NULL;
}

static bool log_options(struct um_areq *rq, struct um_json *msg)
{
	static const char *const numbers[] = {"tailLines", "sinceSeconds", "limitBytes"};
	static const int64_t least[] = {0, 1, 1};
	static const char *const flags[] = {"follow", "previous", "timestamps"};
	const char *since = um_http_query(rq->http, "sinceTime");
	const char *stream = um_http_query(rq->http, "stream");
	int64_t ns;

	if (stream && *stream && strcmp(stream, "All")) {
		um_answer_bad_request(rq, "stream: Forbidden: only All is supported by Umiak yet");
		return false;
	}
	if (since && *since && um_http_query(rq->http, "sinceSeconds")) {
		um_answer_bad_request(
			rq, "sinceTime: Forbidden: at most one of sinceTime or sinceSeconds may "
			    "be specified");
		return false;
	}

	for (size_t i = 0; i < UM_ARRAY_LEN(numbers); i++) {
		const char *v = um_http_query(rq->http, numbers[i]);
		int64_t n = 0;

		if (!v || !*v)
			continue;
		if (um_query_i64(rq, numbers[i], &n) < 0) {
			um_answer_bad_request(rq, "%s: Invalid value: \"%s\": must be a number",
					      numbers[i], v);
			return false;
		}
		if (n < least[i]) {
			um_answer_bad_request(rq, "%s: Invalid value: %s: must be greater than 0",
					      numbers[i], v);
			return false;
		}
		um_json_set_i64(rq->arena, msg, numbers[i], n);
	}
	for (size_t i = 0; i < UM_ARRAY_LEN(flags); i++)
		um_json_set_bool(rq->arena, msg, flags[i], um_query_bool(rq, flags[i]));
	if (since && *since) {
		if (um_time_parse(since, &ns) < 0) {
			um_answer_bad_request(
				rq, "sinceTime: Invalid value: \"%s\": must be RFC 3339", since);
			return false;
		}
		um_json_set_str(rq->arena, msg, "sinceTime", since);
	}
	return true;
}

void um_handle_log(struct um_areq *rq)
{
	const struct um_route *rt = &rq->rt;
	struct um_json *pod, *msg = um_json_new_obj(rq->arena);
	const char *container, *node;
	struct um_store_kv kv;
	char key[UM_OBJECT_KEY_MAX];

	if (um_object_key(key, rt->kind, rt->ns, rt->name) < 0 ||
	    um_store_get(um_api_store(rq->api, rt->kind), key, &kv) < 0) {
		um_answer_not_found(rq, rt->kind, rt->name);
		return;
	}
	pod = um_object_parse(kv.value, kv.mod_rev, rq->arena);
	if (!pod || !msg) {
		um_answer_no_memory(rq);
		return;
	}
	container = pick_container(rq, pod);
	if (!container)
		return;
	node = um_json_get_str(pod, "spec.nodeName", "");
	if (!*node) {
		um_answer_bad_request(rq, "pod %s does not have a host assigned", rt->name);
		return;
	}
	um_json_set_str(rq->arena, msg, "kind", "log");
	um_json_set_str(rq->arena, msg, "namespace", rt->ns);
	um_json_set_str(rq->arena, msg, "pod", rt->name);
	um_json_set_str(rq->arena, msg, "uid", um_json_get_str(pod, "metadata.uid", ""));
	um_json_set_str(rq->arena, msg, "container", container);
	if (log_options(rq, msg))
		um_streams_open_log(rq, node, msg);
}
