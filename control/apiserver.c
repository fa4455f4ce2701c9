#include "control/apiserver.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>

#include "api/object.h"
#include "api/server.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/ctl.h"
#include "control/queue.h"
#include "store/store.h"

#define NS "default"
#define NAME "kubernetes"
#define LOOK_FOR_ADDRESS_NS (60 * UM_NSEC_PER_SEC)

struct um_apiserver {
	struct um_ctl *ctl;
	struct um_queue *queue;
	const struct um_kind *services, *endpoints, *slices;
	struct um_store_watch *service_watch, *dns_watch, *endpoints_watch, *slices_watch;
	bool any;		  /* it listens on all addresses */
	char ip[INET_ADDRSTRLEN]; /* "": none that Services can lead to */
	int port;
};

/* ---- the address ---- */

static void find_address(char ip[INET_ADDRSTRLEN])
{
	struct ifaddrs *list = NULL;

	strcpy(ip, "127.0.0.1");
	if (getifaddrs(&list) < 0)
		return;
	for (struct ifaddrs *it = list; it; it = it->ifa_next) {
		struct sockaddr_in in;

		if (!it->ifa_addr || it->ifa_addr->sa_family != AF_INET ||
		    it->ifa_flags & IFF_LOOPBACK || !(it->ifa_flags & IFF_UP))
			continue;
		memcpy(&in, it->ifa_addr, sizeof(in));
		if (ntohl(in.sin_addr.s_addr) >> 16 == 0xa9fe) /* link-local */
			continue;
		inet_ntop(AF_INET, &in.sin_addr, ip, INET_ADDRSTRLEN);
		break;
	}
	freeifaddrs(list);
}

static void settle_address(struct um_apiserver *s, const char *listen)
{
	struct in_addr in;

	s->any = !strcmp(listen, "0.0.0.0") || !strcmp(listen, "::");
	if (s->any)
		find_address(s->ip);
	else if (!strcmp(listen, "::1"))
		strcpy(s->ip, "127.0.0.1");
	else if (inet_pton(AF_INET, listen, &in) == 1)
		inet_ntop(AF_INET, &in, s->ip, sizeof(s->ip));
	else
		um_log(UM_LOG_WARN, "the Service kubernetes has no endpoints",
		       UM_LOG_STR("listen", listen));
}

/* ---- the two objects ---- */

static struct um_json *new_port(struct um_apiserver *s, struct um_arena *a)
{
	struct um_json *p = um_json_new_obj(a);

	um_json_set_str(a, p, "name", "https");
	um_json_set_i64(a, p, "port", s->port);
	um_json_set_str(a, p, "protocol", "TCP");
	return p;
}

static void set_label(struct um_arena *a, struct um_json *obj, const char *key, const char *value)
{
	struct um_json *meta = um_json_ensure_obj(a, obj, "metadata");

	um_json_set_str(a, meta, "name", NAME);
	um_json_set_str(a, meta, "namespace", NS);
	um_json_set_str(a, um_json_ensure_obj(a, meta, "labels"), key, value);
}

static void fill_endpoints(struct um_apiserver *s, struct um_json *obj, struct um_arena *a)
{
	struct um_json *subsets = um_json_new_arr(a), *one = um_json_new_obj(a), *at;

	/* The slice is ours, too: none is made from this. */
	set_label(a, obj, "endpointslice.kubernetes.io/skip-mirror", "true");
	at = um_json_append(um_json_ensure_arr(a, one, "addresses"), um_json_new_obj(a));
	um_json_set_str(a, at, "ip", s->ip);
	um_json_append(um_json_ensure_arr(a, one, "ports"), new_port(s, a));
	um_json_append(subsets, one);
	um_json_set(a, obj, "subsets", subsets);
}

static void fill_slice(struct um_apiserver *s, struct um_json *obj, struct um_arena *a)
{
	struct um_json *list = um_json_new_arr(a), *one = um_json_new_obj(a);
	struct um_json *ports = um_json_new_arr(a);

	set_label(a, obj, "kubernetes.io/service-name", NAME);
	um_json_set_str(a, obj, "addressType", "IPv4");
	um_json_append(um_json_ensure_arr(a, one, "addresses"), um_json_new_str(a, s->ip));
	um_json_set_bool(a, um_json_ensure_obj(a, one, "conditions"), "ready", true);
	um_json_append(list, one);
	um_json_set(a, obj, "endpoints", list);
	um_json_append(ports, new_port(s, a));
	um_json_set(a, obj, "ports", ports);
}

/* The Services of this API and of cluster DNS are there; ours leads to where we listen, which an
 * earlier start may have done elsewhere. */
static int64_t look_at_services(struct um_apiserver *s, struct um_arena *a)
{
	struct um_json *old = NULL, *obj;
	struct um_error err = UM_ERROR_INIT;
	bool differs = false;
	int64_t rev;
	int r = um_api_ensure_services(s->ctl->api, s->port, &err);

	if (r < 0) {
		um_log(UM_LOG_WARN, "the Services of this cluster", UM_LOG_STR("error", err.msg));
		return r;
	}
	r = um_api_load(s->ctl->api, s->services, NS, NAME, a, &old, &rev);
	if (r < 0)
		return r == -ENOENT ? 0 : r; /* the news of its creation is under way */
	obj = um_json_copy(a, old);
	um_json_foreach (p, um_json_path(obj, "spec.ports")) {
		if (strcmp(um_json_get_str(p, "name", ""), "https") ||
		    um_json_get_i64(p, "targetPort", 0) == s->port)
			continue;
		um_json_set_i64(a, p, "targetPort", s->port);
		differs = true;
	}
	return !differs		    ? 0
	       : um_arena_failed(a) ? -ENOMEM
				    : um_ctl_update(s->ctl, s->queue, s->services->plural,
						    s->services, obj, old, rev, a, NULL);
}

static int64_t on_look(void *arg, const char *key)
{
	struct um_apiserver *s = arg;
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	bool is_slice = !strcmp(key, s->slices->plural);
	const struct um_kind *kind = is_slice ? s->slices : s->endpoints;
	struct um_json *old = NULL, *obj;
	int64_t rev;
	int r;

	if (a && !strcmp(key, s->services->plural))
		return look_at_services(s, a);
	r = a ? um_api_load(s->ctl->api, kind, NS, NAME, a, &old, &rev) : -ENOMEM;
	if (r < 0 && r != -ENOENT)
		return r;
	if (s->any)
		find_address(s->ip);
	obj = old ? um_json_copy(a, old) : um_json_new_obj(a);
	(is_slice ? fill_slice : fill_endpoints)(s, obj, a);
	if (um_arena_failed(a))
		return -ENOMEM;
	r = old ? um_ctl_update(s->ctl, s->queue, key, kind, obj, old, rev, a, NULL)
		: um_ctl_create(s->ctl, s->queue, key, kind, obj, a, NULL);
	if (r < 0)
		return r;
	return s->any ? LOOK_FOR_ADDRESS_NS : 0;
}

/* ---- who wants a look ---- */

static void on_service(void *arg, um_unused const struct um_store_event *ev)
{
	struct um_apiserver *s = arg;

	um_queue_add(s->queue, s->services->plural);
}

static void on_endpoints(void *arg, um_unused const struct um_store_event *ev)
{
	struct um_apiserver *s = arg;

	um_queue_add(s->queue, s->endpoints->plural);
}

static void on_slice(void *arg, um_unused const struct um_store_event *ev)
{
	struct um_apiserver *s = arg;

	um_queue_add(s->queue, s->slices->plural);
}

static int follow(struct um_apiserver *s, const struct um_kind *kind, const char *ns,
		  const char *name, um_store_watch_fn fn, struct um_store_watch **ret,
		  struct um_error *err)
{
	char key[UM_OBJECT_KEY_MAX];
	int r = um_object_key(key, kind, ns, name);

	if (r == 0)
		r = um_store_watch_new(s->ctl->durable, key, um_store_rev(s->ctl->durable), fn, s,
				       ret, err);
	if (r == 0)
		um_queue_add(s->queue, kind->plural);
	return r;
}

int um_apiserver_new(struct um_ctl *c, const char *listen, int port, struct um_apiserver **ret,
		     struct um_error *err)
{
	struct um_apiserver *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return um_error_set(err, -ENOMEM, "endpoints of the API: out of memory");
	s->ctl = c;
	s->port = port;
	s->services = um_schema_find_resource("", "v1", "services");
	s->endpoints = um_schema_find_resource("", "v1", "endpoints");
	s->slices = um_schema_find_resource("discovery.k8s.io", "v1", "endpointslices");
	settle_address(s, listen);
	r = s->services && s->endpoints && s->slices
		    ? um_queue_new(c->loop, on_look, s, &s->queue, err)
		    : um_error_set(err, -EINVAL, "the schema has no endpoints");
	if (r == 0)
		r = follow(s, s->services, NS, NAME, on_service, &s->service_watch, err);
	if (r == 0)
		r = follow(s, s->services, "kube-system", "kube-dns", on_service, &s->dns_watch,
			   err);
	if (r == 0 && *s->ip)
		r = follow(s, s->endpoints, NS, NAME, on_endpoints, &s->endpoints_watch, err);
	if (r == 0 && *s->ip)
		r = follow(s, s->slices, NS, NAME, on_slice, &s->slices_watch, err);
	if (r < 0) {
		um_apiserver_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void um_apiserver_free(struct um_apiserver *s)
{
	if (!s)
		return;
	um_store_watch_free(s->service_watch);
	um_store_watch_free(s->dns_watch);
	um_store_watch_free(s->endpoints_watch);
	um_store_watch_free(s->slices_watch);
	um_queue_free(s->queue);
	free(s);
}
