/* Tokens of service accounts: asking for one (serviceaccounts/token), and being known by one.
 *
 * A token says who it is for (the account and its UID), until when, for which audiences, and with
 * which object it ends. It is good as long as those objects are there. */
#include <string.h>

#include "api/internal.h"
#include "api/token.h"

#define PREFIX "system:serviceaccount:"
#define LEAST_S 600
#define MOST_S (INT64_C(1) << 32)
#define LEEWAY_S 10 /* a clock that was set back a little */

/* The durable object, or NULL. */
static struct um_json *stored(struct um_areq *rq, const char *plural, const char *ns,
			      const char *name)
{
	const struct um_kind *k = um_schema_find_resource("", "v1", plural);
	struct um_store_kv kv;
	char key[UM_OBJECT_KEY_MAX];

	if (!k || !*name || um_object_key(key, k, ns, name) < 0 ||
	    um_store_get(um_api_store(rq->api, k), key, &kv) < 0)
		return NULL;
	return um_object_parse(kv.value, kv.mod_rev, rq->arena);
}

static bool uid_is(const struct um_json *obj, const char *uid)
{
	return obj && *uid && !strcmp(um_json_get_str(obj, "metadata.uid", ""), uid);
}

/* ---- being known by one ---- */

static bool for_us(const struct um_json *aud)
{
	if (um_json_streq(aud, UM_TOKEN_ISSUER))
		return true;
	if (!um_json_is(aud, UM_JSON_ARR))
		return false;
	um_json_foreach (it, aud)
		if (um_json_streq(it, UM_TOKEN_ISSUER))
			return true;
	return false;
}

/* What the token was bound to is still there. */
static bool objects_live(struct um_areq *rq, const struct um_json *about, const char *ns,
			 const char *account)
{
	static const struct {
		const char *claim, *plural;
	} bound[] = {{"pod", "pods"}, {"secret", "secrets"}};

	if (!uid_is(stored(rq, "serviceaccounts", ns, account),
		    um_json_get_str(about, "serviceaccount.uid", "")))
		return false;
	for (size_t i = 0; i < UM_ARRAY_LEN(bound); i++) {
		const struct um_json *to = um_json_get(about, bound[i].claim);

		if (to && !uid_is(stored(rq, bound[i].plural, ns, um_json_get_str(to, "name", "")),
				  um_json_get_str(to, "uid", "")))
			return false;
	}
	return true;
}

static void put_extra(struct um_areq *rq, const char *name, const char *value)
{
	if (*value)
		um_json_append(um_json_ensure_arr(rq->arena, rq->id.extra,
						  um_arena_printf(rq->arena,
								  "authentication.kubernetes.io/%s",
								  name)),
			       um_json_new_str(rq->arena, value));
}

/* What else a token tells of its bearer. */
static void fill_extra(struct um_areq *rq, const struct um_json *claims,
		       const struct um_json *about)
{
	const char *id = um_json_get_str(claims, "jti", "");

	rq->id.extra = um_json_new_obj(rq->arena);
	if (*id)
		put_extra(rq, "credential-id", um_arena_printf(rq->arena, "JTI=%s", id));
	put_extra(rq, "node-name", um_json_get_str(about, "node.name", ""));
	put_extra(rq, "node-uid", um_json_get_str(about, "node.uid", ""));
	put_extra(rq, "pod-name", um_json_get_str(about, "pod.name", ""));
	put_extra(rq, "pod-uid", um_json_get_str(about, "pod.uid", ""));
}

int um_token_authenticate(struct um_areq *rq, const char *token)
{
	int64_t now = um_api_wall(rq->api) / UM_NSEC_PER_SEC;
	struct um_identity *id = &rq->id;
	const struct um_json *about;
	struct um_json *claims = NULL;
	const char *ns, *account;

	if (!rq->api->o.tokens || um_token_verify(rq->api->o.tokens, token, rq->arena, &claims) < 0)
		return -EACCES;
	if (strcmp(um_json_get_str(claims, "iss", ""), UM_TOKEN_ISSUER) ||
	    !for_us(um_json_get(claims, "aud")) || um_json_get_i64(claims, "exp", 0) <= now ||
	    um_json_get_i64(claims, "nbf", INT64_MAX) > now + LEEWAY_S)
		return -EACCES;
	about = um_json_get(claims, "kubernetes.io"); /* the key has a dot: no path */
	ns = um_json_get_str(about, "namespace", "");
	account = um_json_get_str(about, "serviceaccount.name", "");
	id->user = um_arena_printf(rq->arena, PREFIX "%s:%s", ns, account);
	if (!id->user || strcmp(um_json_get_str(claims, "sub", ""), id->user) ||
	    !objects_live(rq, about, ns, account))
		return -EACCES;
	id->uid = um_json_get_str(about, "serviceaccount.uid", "");
	fill_extra(rq, claims, about);
	id->groups[id->n_groups++] = "system:serviceaccounts";
	id->groups[id->n_groups++] = um_arena_printf(rq->arena, "system:serviceaccounts:%s", ns);
	id->groups[id->n_groups++] = "system:authenticated";
	return um_arena_failed(rq->arena) ? -EACCES : 0;
}

/* ---- asking for one ---- */

static bool sane(struct um_areq *rq, const struct um_kind *k, struct um_json *req)
{
	struct um_causes causes = {.arena = rq->arena};
	int64_t life = um_json_get_i64(req, "spec.expirationSeconds", 0);
	const char *name = um_json_get_str(req, "metadata.name", "");
	const char *to = um_json_get_str(req, "spec.boundObjectRef.kind", "");
	const char *why = life < LEAST_S  ? "may not specify a duration less than 10 minutes"
			  : life > MOST_S ? "may not specify a duration larger than 2^32 seconds"
					  : NULL;

	if (*name && strcmp(name, rq->rt.name)) {
		um_answer_bad_request(rq,
				      "the name of the object (%s) does not match the name on the "
				      "URL (%s)",
				      name, rq->rt.name);
		return false;
	}
	(void)!um_schema_validate(k, req, NULL, &causes);
	if (why)
		um_cause_add(&causes, "FieldValueInvalid", "spec.expirationSeconds",
			     "Invalid value: %lld: %s", (long long)life, why);
	if (um_json_path(req, "spec.boundObjectRef") && strcmp(to, "Pod") && strcmp(to, "Secret"))
		um_cause_add(&causes, "FieldValueForbidden", "spec.boundObjectRef.kind",
			     "Forbidden: not supported by Umiak yet");
	if (!causes.n)
		return true;
	rq->rt.kind = k;
	um_answer_invalid(rq, rq->rt.name, &causes);
	return false;
}

/* The audience that the pod has a token for in one of its volumes; "" is this API. */
static bool pod_wants(const struct um_json *pod, const char *audience)
{
	um_json_foreach (v, um_json_path(pod, "spec.volumes")) {
		um_json_foreach (s, um_json_path(v, "projected.sources")) {
			const struct um_json *t = um_json_get(s, "serviceAccountToken");

			if (t && !strcmp(um_json_get_str(t, "audience", ""), audience))
				return true;
		}
	}
	return false;
}

/* A node asks for its pods only, and for what these have in their volumes. */
static bool node_may_ask(struct um_areq *rq, const struct um_json *spec, const struct um_json *pod)
{
	const struct um_json *audiences = um_json_get(spec, "audiences");
	struct um_arena *a = rq->arena;
	const char *why = NULL;

	if (!rq->id.node || rq->id.admin)
		return true;
	if (!pod || strcmp(um_json_get_str(pod, "spec.nodeName", ""), rq->id.node))
		why = um_arena_printf(a,
				      "node \"%s\" may ask for tokens only for accounts of pods "
				      "that are bound to it",
				      rq->id.node);
	else if (!*um_json_get_str(spec, "boundObjectRef.uid", ""))
		why = "node requested token with a pod binding without a uid";
	else if (!um_json_first(audiences) && !pod_wants(pod, ""))
		why = "audience \"\" not found in pod spec volume";
	um_json_foreach (it, audiences)
		if (!why && !pod_wants(pod, um_json_str(it, "")))
			why = um_arena_printf(a, "audience \"%s\" not found in pod spec volume",
					      um_json_str(it, ""));
	if (why)
		um_answer_forbidden(rq, why);
	return !why;
}

/* The object that the token will be bound to; *ret stays NULL without one. False: answered. */
static bool find_bound(struct um_areq *rq, const struct um_json *spec, struct um_json **ret)
{
	const struct um_json *ref = um_json_get(spec, "boundObjectRef");
	bool is_pod = !strcmp(um_json_get_str(ref, "kind", ""), "Pod");
	const char *plural = is_pod ? "pods" : "secrets";
	const char *name = um_json_get_str(ref, "name", ""), *uid = um_json_get_str(ref, "uid", "");

	*ret = ref ? stored(rq, plural, rq->rt.ns, name) : NULL;
	if (!node_may_ask(rq, spec, is_pod ? *ret : NULL))
		return false;
	if (!ref)
		return true;
	if (!*ret) {
		um_answer_not_found(rq, um_schema_find_resource("", "v1", plural), name);
	} else if (is_pod &&
		   strcmp(um_json_get_str(*ret, "spec.serviceAccountName", ""), rq->rt.name)) {
		um_answer_bad_request(rq,
				      "cannot bind token for serviceaccount \"%s\" to pod running "
				      "with different serviceaccount name.",
				      rq->rt.name);
	} else if (*uid && !uid_is(*ret, uid)) {
		um_answer_conflict(rq, name,
				   um_arena_printf(rq->arena,
						   "the UID in the bound object reference (%s) "
						   "does not match the UID in record. The object "
						   "might have been deleted and then recreated",
						   uid));
	} else {
		return true;
	}
	return false;
}

static void put_object(struct um_arena *a, struct um_json *about, const char *claim,
		       const struct um_json *obj)
{
	struct um_json *o = um_json_set(a, about, claim, um_json_new_obj(a));

	um_json_set_str(a, o, "name", um_json_get_str(obj, "metadata.name", ""));
	um_json_set_str(a, o, "uid", um_json_get_str(obj, "metadata.uid", ""));
}

static struct um_json *make_claims(struct um_areq *rq, struct um_json *req,
				   const struct um_json *account, const struct um_json *bound,
				   int64_t now)
{
	struct um_arena *a = rq->arena;
	struct um_json *c = um_json_new_obj(a), *about, *node;
	char id[37];

	um_json_set(a, c, "aud", um_json_copy(a, um_json_path(req, "spec.audiences")));
	um_json_set_i64(a, c, "exp", now + um_json_get_i64(req, "spec.expirationSeconds", 0));
	um_json_set_i64(a, c, "iat", now);
	um_json_set_str(a, c, "iss", UM_TOKEN_ISSUER);
	um_object_uid(id);
	um_json_set_str(a, c, "jti", id);
	about = um_json_set(a, c, "kubernetes.io", um_json_new_obj(a));
	um_json_set_str(a, about, "namespace", rq->rt.ns);
	if (bound && !strcmp(um_json_get_str(bound, "kind", ""), "Pod")) {
		node = stored(rq, "nodes", NULL, um_json_get_str(bound, "spec.nodeName", ""));
		if (node)
			put_object(a, about, "node", node);
		put_object(a, about, "pod", bound);
	} else if (bound) {
		put_object(a, about, "secret", bound);
	}
	put_object(a, about, "serviceaccount", account);
	um_json_set_i64(a, c, "nbf", now);
	um_json_set_str(a, c, "sub", um_arena_printf(a, PREFIX "%s:%s", rq->rt.ns, rq->rt.name));
	return c;
}

static void issue(struct um_areq *rq, struct um_json *req, const struct um_json *account,
		  const struct um_json *bound)
{
	int64_t now = um_api_wall(rq->api) / UM_NSEC_PER_SEC;
	struct um_arena *a = rq->arena;
	struct um_json *status, *meta, *spec = um_json_get(req, "spec");
	char stamp[UM_TIME_LEN], made[UM_TIME_LEN];
	const char *token = "";

	if (!um_json_first(um_json_get(spec, "audiences")))
		um_json_append(um_json_ensure_arr(a, spec, "audiences"),
			       um_json_new_str(a, UM_TOKEN_ISSUER));
	if (!rq->wo.dry_run)
		token = um_token_sign(rq->api->o.tokens, make_claims(rq, req, account, bound, now),
				      a);
	meta = um_json_set(a, req, "metadata", um_json_new_obj(a));
	um_json_set_str(a, meta, "name", rq->rt.name);
	um_json_set_str(a, meta, "namespace", rq->rt.ns);
	um_json_set_str(a, meta, "creationTimestamp", um_api_now(rq->api, made));
	status = um_json_set(a, req, "status", um_json_new_obj(a));
	um_time_format((now + um_json_get_i64(spec, "expirationSeconds", 0)) * UM_NSEC_PER_SEC,
		       stamp);
	um_json_set_str(a, status, "token", token ? token : "");
	um_json_set_str(a, status, "expirationTimestamp", stamp);
	if (!token || um_arena_failed(a))
		um_answer_no_memory(rq);
	else
		um_answer_json(rq, 201, req);
}

void um_handle_token(struct um_areq *rq)
{
	const struct um_kind *k =
		um_schema_find_kind("authentication.k8s.io", "v1", "TokenRequest");
	struct um_json *req = NULL, *account, *bound = NULL;

	if (!um_query_write_opts(rq) || !um_decode_body(rq, k, &req))
		return;
	if (um_schema_default(k, req, rq->arena) < 0 || !rq->api->o.tokens) {
		um_answer_no_memory(rq);
		return;
	}
	if (!sane(rq, k, req) || !find_bound(rq, um_json_get(req, "spec"), &bound))
		return;
	account = stored(rq, "serviceaccounts", rq->rt.ns, rq->rt.name);
	if (account)
		issue(rq, req, account, bound);
	else
		um_answer_not_found(rq, rq->rt.kind, rq->rt.name);
}
