#include "api/server.h"

#include <arpa/inet.h>
#include <string.h>

#include "api/internal.h"

#define HOUSEKEEPING_NS (5 * UM_NSEC_PER_SEC)

/* ---- a request's life ---- */

struct um_areq *um_areq_ref(struct um_areq *rq)
{
	rq->refs++;
	return rq;
}

static void drop_state(struct um_areq *rq)
{
	void *state = TAKE_PTR(rq->state);

	if (state)
		rq->state_free(state);
}

void um_areq_unref(struct um_areq *rq)
{
	if (--rq->refs)
		return;
	drop_state(rq);
	um_bytes_unref(rq->result);
	um_arena_free(rq->arena);
	free(rq);
}

static void on_lost(void *arg, struct um_http_req *http um_unused)
{
	struct um_areq *rq = arg;

	rq->http = NULL;
	drop_state(rq);
	um_areq_unref(rq);
}

struct um_store *um_api_store(const struct um_api *api, const struct um_kind *kind)
{
	return kind->is_volatile ? api->o.volatile_ : api->o.durable;
}

int64_t um_api_wall(const struct um_api *api)
{
	return um_clock_wall(um_loop_clock(api->loop));
}

const char *um_api_now(const struct um_api *api, char buf[UM_TIME_LEN])
{
	um_time_format(um_api_wall(api), buf);
	return buf;
}

/* ---- from the head to the handler ---- */

static const um_handler_fn handlers[UM_VERB_COUNT] = {
	[UM_VERB_GET] = um_handle_get,
	[UM_VERB_LIST] = um_handle_list,
	[UM_VERB_WATCH] = um_handle_watch,
	[UM_VERB_CREATE] = um_handle_create,
	[UM_VERB_UPDATE] = um_handle_update,
	[UM_VERB_PATCH] = um_handle_patch,
	[UM_VERB_DELETE] = um_handle_delete,
	[UM_VERB_DELETECOLLECTION] = um_handle_delete_collection,
};

/* Subresources with handlers of their own. */
static const struct {
	const char *plural, *sub;
	enum um_verb verb;
	um_handler_fn fn;
} sub_handlers[] = {
	{"pods", "binding", UM_VERB_CREATE, um_handle_binding},
	{"pods", "log", UM_VERB_GET, um_handle_log},
	{"namespaces", "finalize", UM_VERB_UPDATE, um_handle_update},
	{"deployments", "scale", UM_VERB_GET, um_handle_get},
	{"deployments", "scale", UM_VERB_UPDATE, um_handle_scale},
	{"deployments", "scale", UM_VERB_PATCH, um_handle_scale},
	{"replicasets", "scale", UM_VERB_GET, um_handle_get},
	{"replicasets", "scale", UM_VERB_UPDATE, um_handle_scale},
	{"replicasets", "scale", UM_VERB_PATCH, um_handle_scale},
	{"serviceaccounts", "token", UM_VERB_CREATE, um_handle_token},
};

static um_handler_fn handler_of(const struct um_route *rt)
{
	if (rt->fixed)
		return rt->fixed;
	if (rt->kind->is_virtual)
		return rt->verb == UM_VERB_CREATE ? um_handle_review : NULL;
	if (!*rt->sub)
		return handlers[rt->verb];
	if (!strcmp(rt->sub, "status") &&
	    (rt->verb == UM_VERB_GET || rt->verb == UM_VERB_UPDATE || rt->verb == UM_VERB_PATCH))
		return handlers[rt->verb];
	for (size_t i = 0; i < UM_ARRAY_LEN(sub_handlers); i++)
		if (!strcmp(sub_handlers[i].plural, rt->kind->plural) &&
		    !strcmp(sub_handlers[i].sub, rt->sub) && sub_handlers[i].verb == rt->verb)
			return sub_handlers[i].fn;
	return NULL;
}

static void after_barrier(void *arg)
{
	struct um_areq *rq = arg;

	if (rq->http)
		handler_of (&rq->rt)(rq);
	um_areq_unref(rq);
}

static void on_body(void *arg, struct um_http_req *http um_unused, const char *data, size_t len)
{
	struct um_areq *rq = arg;

	rq->body = data;
	rq->body_len = len;
	handler_of (&rq->rt)(rq);
}

static void not_allowed(struct um_areq *rq)
{
	um_answer_status(rq, &(struct um_status){.code = 405,
						 .reason = "MethodNotAllowed",
						 .message = "the server does not allow this method "
							    "on the requested resource"});
}

static bool reads(const struct um_areq *rq)
{
	return rq->rt.verb == UM_VERB_GET || rq->rt.verb == UM_VERB_LIST ||
	       rq->rt.verb == UM_VERB_WATCH;
}

static void dispatch(struct um_areq *rq)
{
	const char *rv;

	if (rq->rt.fixed) {
		rq->rt.fixed(rq);
		return;
	}
	if (!reads(rq)) {
		um_http_read_body(rq->http, UM_API_BODY_MAX, on_body, rq);
		return;
	}
	rv = um_http_query(rq->http, "resourceVersion");
	if (rv && *rv) {
		handler_of (&rq->rt)(rq);
	} else if (um_store_barrier(um_api_store(rq->api, rq->rt.kind), after_barrier,
				    um_areq_ref(rq)) < 0) {
		um_areq_unref(rq);
		um_answer_no_memory(rq);
	}
}

/* Clients ask for kinds that discovery does not list, too: `kubectl autoscale` does. They print
 * the message alone. */
static void no_such_path(struct um_areq *rq)
{
	const char *missing = um_route_missing(rq);
	const char *message = "the server could not find the requested resource";
	/* kubectl looks at the details without asking whether there are any. */
	const struct um_cause cause = {"UnexpectedServerResponse", NULL, "404 page not found",
				       NULL};

	if (missing)
		message = um_arena_printf(rq->arena, "%s: it does not have %s", message, missing);
	um_answer_status(rq, &(struct um_status){.code = 404,
						 .reason = "NotFound",
						 .causes = &cause,
						 .message = message ? message : "out of memory"});
}

/* Asked for, not known here: to go on would act for somebody else than the client thinks. */
static bool impersonates(struct um_areq *rq)
{
	static const char *const fields[] = {"impersonate-user", "impersonate-group",
					     "impersonate-uid"};

	for (size_t i = 0; i < UM_ARRAY_LEN(fields); i++)
		if (um_http_header(rq->http, fields[i]))
			return true;
	return false;
}

static void start(struct um_areq *rq)
{
	int routed = um_route(rq);

	if (impersonates(rq)) {
		um_answer_status(rq,
				 &(struct um_status){.code = 403,
						     .reason = "Forbidden",
						     .message = "impersonation is not supported by "
								"this server"});
	} else if (rq->local) {
		if (routed == 0 && (rq->rt.open || rq->rt.fixed == um_handle_metrics))
			rq->rt.fixed(rq);
		else
			no_such_path(rq);
	} else if (!rq->rt.open && um_authenticate(rq) < 0) {
		um_answer_status(rq, &(struct um_status){.code = 401,
							 .reason = "Unauthorized",
							 .message = "Unauthorized"});
	} else if (routed == -ENOENT) {
		no_such_path(rq);
	} else if (routed < 0) {
		not_allowed(rq);
	} else if (!rq->rt.fixed && um_view_negotiate(rq) < 0) {
		um_answer_status(rq,
				 &(struct um_status){.code = 406,
						     .reason = "NotAcceptable",
						     .message = "only the following media types "
								"are accepted: "
								"application/json"});
	} else if (rq->rt.open || um_authorize(rq)) {
		if (handler_of(&rq->rt))
			dispatch(rq);
		else
			not_allowed(rq);
	}
}

static void on_request(struct um_api *api, struct um_http_req *http, bool local)
{
	struct um_areq *rq = calloc(1, sizeof(*rq));

	if (rq)
		rq->arena = um_arena_new(UM_OBJECT_ARENA_MAX);
	if (!rq || !rq->arena) {
		free(rq);
		um_http_respond_data(http, 503, "text/plain", "out of memory\n", 14);
		return;
	}
	rq->api = api;
	rq->local = local;
	rq->http = http;
	rq->refs = 1;
	rq->started_ns = um_http_started_ns(http);
	um_http_on_close(http, on_lost, rq);
	um_areq_ref(rq); /* an answer from within must not free what is used here */
	start(rq);
	um_areq_unref(rq);
}

void um_api_on_request(void *arg, struct um_http_req *http)
{
	on_request(arg, http, false);
}

void um_api_on_local_request(void *arg, struct um_http_req *http)
{
	on_request(arg, http, true);
}

/* ---- the instance ---- */

static void on_housekeeping(void *arg)
{
	struct um_api *api = arg;
	int64_t lag = um_loop_now(api->loop) - api->housekeeping_due_ns;

	api->metrics.lag_ns = lag;
	if (lag > api->metrics.lag_max_ns)
		api->metrics.lag_max_ns = lag;
	um_event_ttl_housekeeping(api->event_ttl);
	if (api->frames_seen == api->next_frame) /* nothing happens: nobody shares anything */
		um_frames_release(api);
	api->frames_seen = api->next_frame;
	api->housekeeping_due_ns = um_loop_now(api->loop) + HOUSEKEEPING_NS;
	um_timer_start(api->housekeeping, HOUSEKEEPING_NS);
}

static void on_made(void *arg, int64_t rev um_unused, const struct um_error *err)
{
	struct um_api *api = arg;

	api->pending_init--;
	if (err && err->code && err->code != -EAGAIN)
		api->init_failed = true;
}

/* Stores @obj, of which only the name and what it asks for is given, unless it is there. */
static int make_object(struct um_api *api, const struct um_kind *k, const char *ns,
		       const char *name, struct um_json *obj, struct um_arena *a,
		       struct um_error *err)
{
	_cleanup_bytes_ struct um_bytes *b = NULL;
	struct um_store_compare cmp;
	struct um_store_op op;
	struct um_json *meta = um_json_ensure_obj(a, obj, "metadata");
	char key[UM_OBJECT_KEY_MAX], uid[37], now[UM_TIME_LEN];
	int r = um_object_key(key, k, ns, name);

	um_json_set_str(a, meta, "name", name);
	if (ns)
		um_json_set_str(a, meta, "namespace", ns);
	um_object_uid(uid);
	um_json_set_str(a, meta, "uid", uid);
	um_json_set_str(a, meta, "creationTimestamp", um_api_now(api, now));
	if (!r)
		r = um_schema_default(k, obj, a);
	if (!r)
		um_schema_carry_over(k, obj, NULL, a);
	b = r < 0 ? NULL : um_object_encode(k, obj, a);
	if (!b)
		return um_error_set(err, -ENOMEM, "%s %s: out of memory", k->singular, name);
	cmp = (struct um_store_compare){key, 0};
	op = (struct um_store_op){key, b};
	r = um_store_txn(api->o.durable, &cmp, 1, &op, 1, on_made, api, err);
	if (r == -EAGAIN)
		return 0; /* it is there */
	if (r == 0)
		api->pending_init++;
	return r;
}

static int make_namespace(struct um_api *api, const struct um_kind *k, const char *name,
			  struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);

	if (!a)
		return um_error_set(err, -ENOMEM, "namespace %s: out of memory", name);
	return make_object(api, k, NULL, name, um_json_new_obj(a), a, err);
}

static int make_service(struct um_api *api, const char *ns, const char *name, const char *text,
			struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	const struct um_kind *k = um_schema_find_resource("", "v1", "services");
	struct um_json *obj = NULL;

	if (!a || !k || um_json_parse(a, text, strlen(text), NULL, &obj, NULL) < 0)
		return um_error_set(err, -ENOMEM, "service %s: out of memory", name);
	return make_object(api, k, ns, name, obj, a, err);
}

/* The Service by which pods reach this API; its endpoints are a controller's. */
static int make_own_service(struct um_api *api, int port, struct um_error *err)
{
	char text[400], ip[16];

	um_service_ranges_own(&api->o.services, ip);
	snprintf(text, sizeof(text),
		 "{\"metadata\":{\"labels\":{\"component\":\"apiserver\",\"provider\":"
		 "\"kubernetes\"}},\"spec\":{\"clusterIP\":\"%s\",\"ports\":[{\"name\":\"https\","
		 "\"port\":443,\"targetPort\":%d}]}}",
		 ip, port);
	return make_service(api, "default", "kubernetes", text, err);
}

/* It has no endpoints: each node answers at its address by itself. */
static int make_dns_service(struct um_api *api, struct um_error *err)
{
	struct in_addr in = {htonl(api->o.services.dns)};
	char text[700], ip[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &in, ip, sizeof(ip));
	snprintf(text, sizeof(text),
		 "{\"metadata\":{\"labels\":{\"k8s-app\":\"kube-dns\","
		 "\"kubernetes.io/cluster-service\":\"true\"}},\"spec\":{\"clusterIP\":\"%s\","
		 "\"ports\":[{\"name\":\"dns\",\"port\":53,\"protocol\":\"UDP\",\"targetPort\":53},"
		 "{\"name\":\"dns-tcp\",\"port\":53,\"protocol\":\"TCP\",\"targetPort\":53}]}}",
		 ip);
	return make_service(api, "kube-system", "kube-dns", text, err);
}

int um_api_ensure_services(struct um_api *api, int port, struct um_error *err)
{
	int r = make_own_service(api, port, err);

	return r == 0 && api->o.services.dns ? make_dns_service(api, err) : r;
}

int um_api_publish(struct um_api *api, int port, struct um_error *err)
{
	int r = um_api_ensure_services(api, port, err);

	/* A full disk must not keep the server from starting: reading goes on. */
	if (r != -ENOSPC)
		return r;
	if (err)
		*err = (struct um_error)UM_ERROR_INIT;
	api->init_failed = true;
	return 0;
}

static int make_namespaces(struct um_api *api, struct um_error *err)
{
	static const char *const names[] = {"default", "kube-system", "kube-public",
					    "kube-node-lease"};
	const struct um_kind *k = um_schema_find_resource("", "v1", "namespaces");
	int r = 0;

	if (!k)
		return um_error_set(err, -EINVAL, "the schema has no namespaces");
	for (size_t i = 0; i < UM_ARRAY_LEN(names) && !r; i++)
		r = make_namespace(api, k, names[i], err);
	/* A full disk must not keep the server from starting: reading goes on. */
	if (r == -ENOSPC) {
		api->init_failed = true;
		r = 0;
	}
	return r;
}

bool um_api_ready(const struct um_api *api)
{
	return !api->pending_init && !api->init_failed;
}

int um_api_new(const struct um_api_opts *o, struct um_api **ret, struct um_error *err)
{
	struct um_api *api = calloc(1, sizeof(*api));
	int r;

	if (!api)
		return um_error_set(err, -ENOMEM, "API: out of memory");
	api->o = *o;
	api->loop = o->loop;
	if (!api->o.event_ttl_ns)
		api->o.event_ttl_ns = 3600 * UM_NSEC_PER_SEC;
	TAILQ_INIT(&api->watchers);
	TAILQ_INIT(&api->nodes);
	TAILQ_INIT(&api->streams);
	api->housekeeping = um_timer_new(o->loop, on_housekeeping, api);
	r = api->housekeeping ? um_event_ttl_new(api, &api->event_ttl, err)
			      : um_error_set(err, -ENOMEM, "API: out of memory");
	if (!r)
		r = um_service_allocs_new(o->durable, &o->services, &api->services, err);
	if (!r)
		r = um_node_changes_new(api, &api->changes, err);
	if (!r)
		r = make_namespaces(api, err);
	if (r < 0) {
		um_api_free(api);
		return r;
	}
	api->housekeeping_due_ns = um_loop_now(o->loop) + HOUSEKEEPING_NS;
	um_timer_start(api->housekeeping, HOUSEKEEPING_NS);
	*ret = api;
	return 0;
}

void um_api_stop(struct um_api *api)
{
	if (!api)
		return;
	um_node_changes_free(TAKE_PTR(api->changes));
	um_node_streams_release(api);
	um_event_ttl_free(TAKE_PTR(api->event_ttl));
	um_timer_free(TAKE_PTR(api->housekeeping));
	um_service_allocs_stop(api->services);
}

void um_api_free(struct um_api *api)
{
	if (!api)
		return;
	um_api_stop(api);
	um_frames_release(api);
	um_service_allocs_free(api->services);
	free(api);
}
