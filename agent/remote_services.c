/* Services and EndpointSlices for the service proxy, cluster DNS and containers' variables. */
#include "agent/dns.h"
#include "agent/dns_zone.h"
#include "agent/links.h"
#include "agent/proxy.h"
#include "agent/remote_internal.h"
#include "wire/loop.h"

static struct agent_proxy *proxy(void *remote)
{
	return ((struct um_remote *)remote)->agent->proxy;
}

static struct agent_links *links(void *remote)
{
	return ((struct um_remote *)remote)->agent->links;
}

/* Pods that have waited for the first list. */
static void kick_waiting(struct um_agent *a)
{
	struct agent_pod *p, *tmp;

	HASH_ITER (hh, a->pods, p, tmp) {
		if (p->state != POD_VOLUMES || !p->links_waited || p->refs_failed || p->job)
			continue;
		um_timer_stop(p->timer);
		pod_kick(p);
	}
}

/* NULL: there is no DNS. */
static struct dns_zone *zone(void *remote)
{
	struct agent_dns *d = ((struct um_remote *)remote)->agent->dns;

	return d ? agent_dns_zone(d) : NULL;
}

static void put_service(void *arg, const struct um_json *obj)
{
	proxy_put_service(proxy(arg), obj);
	links_put(links(arg), obj);
	if (zone(arg))
		dns_zone_put_service(zone(arg), obj);
}

static void drop_service(void *arg, const struct um_json *obj)
{
	const char *ns = um_json_get_str(obj, "metadata.namespace", "");
	const char *name = um_json_get_str(obj, "metadata.name", "");

	proxy_drop_service(proxy(arg), ns, name);
	links_drop(links(arg), ns, name);
	if (zone(arg))
		dns_zone_drop_service(zone(arg), ns, name);
}

static void services_listed(void *arg, const struct um_json *items)
{
	proxy_services_listed(proxy(arg), items);
	links_listed(links(arg), items);
	kick_waiting(((struct um_remote *)arg)->agent);
	if (zone(arg))
		dns_zone_services_listed(zone(arg), items);
}

static void put_slice(void *arg, const struct um_json *obj)
{
	proxy_put_slice(proxy(arg), obj);
	if (zone(arg))
		dns_zone_put_slice(zone(arg), obj);
}

static void drop_slice(void *arg, const struct um_json *obj)
{
	const char *ns = um_json_get_str(obj, "metadata.namespace", "");
	const char *name = um_json_get_str(obj, "metadata.name", "");

	proxy_drop_slice(proxy(arg), ns, name);
	if (zone(arg))
		dns_zone_drop_slice(zone(arg), ns, name);
}

static void slices_listed(void *arg, const struct um_json *items)
{
	proxy_slices_listed(proxy(arg), items);
	if (zone(arg))
		dns_zone_slices_listed(zone(arg), items);
}

void remote_services_start(struct um_remote *r)
{
	static const struct remote_watch_events services = {put_service, drop_service,
							    services_listed};
	static const struct remote_watch_events slices = {put_slice, drop_slice, slices_listed};

	if (!r->agent->proxy)
		return;
	r->services = remote_watch_new(r, "/api/v1/services", "", &services, r);
	r->slices = remote_watch_new(r, "/apis/discovery.k8s.io/v1/endpointslices", "", &slices, r);
}

void remote_services_stop(struct um_remote *r)
{
	remote_watch_free(TAKE_PTR(r->services));
	remote_watch_free(TAKE_PTR(r->slices));
}
