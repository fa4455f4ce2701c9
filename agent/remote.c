#include "agent/remote_internal.h"

#include <stdarg.h>
#include <string.h>

#include "base/log.h"
#include "wire/loop.h"
#include "wire/tls.h"

#define ANSWER_MAX_BYTES (64u << 20)
#define CALL_TIMEOUT_NS (30 * UM_NSEC_PER_SEC)

/* ---- one request ---- */

struct remote_request {
	struct um_remote *r;
	remote_fn fn;
	void *arg;
	LIST_ENTRY(remote_request) all;
};

static void on_done(void *arg, const struct um_http_result *res)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(ANSWER_MAX_BYTES * 4);
	struct remote_request *q = arg;
	struct um_error err = UM_ERROR_INIT;
	struct um_json *obj = NULL;

	if (res->err->code)
		err = *res->err;
	if (!a)
		um_error_set(&err, -ENOMEM, "out of memory");
	else if (res->len && um_json_parse(a, res->body, res->len, NULL, &obj, NULL) < 0)
		obj = NULL;
	if (!err.code && (res->status < 200 || res->status > 299))
		um_error_set_reason(&err,
				    res->status == 404	 ? UM_REASON_NOT_FOUND
				    : res->status == 409 ? UM_REASON_CONFLICT
				    : res->status == 403 ? UM_REASON_FORBIDDEN
							 : UM_REASON_UNAVAILABLE,
				    res->status == 404	 ? -ENOENT
				    : res->status == 409 ? -EAGAIN
							 : -EIO,
				    "%s", um_json_get_str(obj, "message", "the server refused"));
	LIST_REMOVE(q, all);
	q->fn(q->arg, res->status, obj, err.code ? &err : NULL);
	free(q);
}

int remote_call(struct um_remote *r, const char *method, const char *target,
		const char *content_type, const struct um_json *body, remote_fn fn, void *arg)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(8 << 20);
	_cleanup_bytes_ struct um_bytes *bytes = NULL;
	struct remote_request *q = calloc(1, sizeof(*q));
	struct um_http_call_opts o = {
		.method = method,
		.target = target,
		.content_type = content_type,
		.body_cap = ANSWER_MAX_BYTES,
		.timeout_ns = CALL_TIMEOUT_NS,
		.on_done = on_done,
		.arg = q,
	};
	struct um_http_call *call;
	int code;

	if (!q || r->closing) {
		free(q);
		return r->closing ? -ECANCELED : -ENOMEM;
	}
	q->r = r;
	q->fn = fn;
	q->arg = arg;
	if (body) {
		if (um_json_write(&b, body) < 0 || !(bytes = um_bytes_new(b.data, b.len))) {
			free(q);
			return -ENOMEM;
		}
		o.body = bytes;
	}
	code = um_http_call_start(r->client, &o, &call, NULL);
	if (code < 0)
		free(q);
	else
		LIST_INSERT_HEAD(&r->requests, q, all);
	return code;
}

/* Nothing comes back any more: who waits is told. */
static void cancel_requests(struct um_remote *r)
{
	struct um_error err = UM_ERROR_INIT;
	struct remote_request *q;

	um_error_set(&err, -ECANCELED, "the agent ends");
	while ((q = LIST_FIRST(&r->requests))) {
		LIST_REMOVE(q, all);
		q->fn(q->arg, 0, NULL, &err);
		free(q);
	}
}

/* ---- events ---- */

static void on_event(um_unused void *arg, int status, um_unused const struct um_json *obj,
		     const struct um_error *err)
{
	if (err && status) /* a hint that was lost, but a refused one is a mistake of ours */
		um_log(UM_LOG_WARN, "event refused", UM_LOG_ERR(err));
}

static void event(void *ctx, const char *ns, const char *name, const char *uid, const char *type,
		  const char *reason, const char *message)
{
	struct um_remote *r = ctx;
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	struct um_json *ev = a ? um_json_new_obj(a) : NULL, *o;
	char target[400], now[UM_TIME_LEN];

	um_time_format(um_clock_wall(um_loop_clock(r->loop)), now);
	o = um_json_ensure_obj(a, ev, "metadata");
	um_json_set_str(a, o, "name",
			um_arena_printf(a, "%.200s.%llx", name,
					(unsigned long long)um_clock_wall(um_loop_clock(r->loop))));
	um_json_set_str(a, o, "namespace", ns);
	o = um_json_ensure_obj(a, ev, "involvedObject");
	um_json_set_str(a, o, "apiVersion", "v1");
	um_json_set_str(a, o, "kind", "Pod");
	um_json_set_str(a, o, "namespace", ns);
	um_json_set_str(a, o, "name", name);
	um_json_set_str(a, o, "uid", uid);
	o = um_json_ensure_obj(a, ev, "source");
	um_json_set_str(a, o, "component", "umiak-agent");
	um_json_set_str(a, o, "host", r->opt.node_name);
	um_json_set_str(a, ev, "reportingComponent", "umiak-agent");
	um_json_set_str(a, ev, "type", type);
	um_json_set_str(a, ev, "reason", reason);
	um_json_set_str(a, ev, "message", message);
	um_json_set_str(a, ev, "firstTimestamp", now);
	um_json_set_str(a, ev, "lastTimestamp", now);
	um_json_set_i64(a, ev, "count", 1);
	snprintf(target, sizeof(target), "/api/v1/namespaces/%s/events", ns);
	if (ev && !um_arena_failed(a))
		(void)!remote_call(r, "POST", target, "application/json", ev, on_event, NULL);
}

/* ---- life ---- */

static int open_client(struct um_remote *r, struct um_error *err)
{
	struct um_tls_opts to = {
		.cert_path = r->opt.cert_path,
		.key_path = r->opt.key_path,
		.ca_path = r->opt.ca_path,
	};
	struct um_http_client_opts co = {
		.host = r->opt.host,
		.port = r->opt.port,
		.max_idle = 3,
		.max_busy = 3, /* a burst makes no hundred connections */
	};
	int code = um_tls_client_new(&to, &r->tls, err);

	if (code < 0)
		return code;
	co.tls = r->tls;
	return um_http_client_new(r->loop, &co, &r->client, err);
}

int um_remote_new(struct um_loop *l, struct um_agent *a, const struct um_remote_options *opt,
		  struct um_remote **ret, struct um_error *err)
{
	struct um_remote *r = calloc(1, sizeof(*r));
	struct um_agent_source src = {
		.fetch = remote_fetch,
		.token = remote_token,
		.status = remote_status,
		.gone = remote_gone,
		.event = event,
		.node_changed = remote_node_changed,
		.ctx = r,
	};
	int code;

	if (!r)
		return um_error_errno(err, -ENOMEM, "reach the server");
	r->loop = l;
	r->agent = a;
	r->opt = *opt;
	code = open_client(r, err);
	if (code < 0) {
		um_remote_free(r);
		return code;
	}
	um_agent_set_source(a, &src);
	remote_node_start(r);
	remote_pods_start(r);
	remote_services_start(r);
	remote_logs_start(r);
	*ret = r;
	return 0;
}

void um_remote_free(struct um_remote *r)
{
	static const struct um_agent_source none;

	if (!r)
		return;
	r->closing = true;
	if (r->agent)
		um_agent_set_source(r->agent, &none);
	remote_logs_stop(r);
	remote_watch_stop(r->pods);
	remote_watch_stop(r->services);
	remote_watch_stop(r->slices);
	um_http_client_free(r->client); /* open calls are cancelled */
	cancel_requests(r);
	remote_pods_stop(r);
	remote_services_stop(r);
	um_timer_free(r->node_timer);
	um_timer_free(r->lease_timer);
	um_tls_unref(r->tls);
	free(r);
}
