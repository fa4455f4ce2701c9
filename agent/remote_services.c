/* Services and EndpointSlices for the service proxy. */
#include "agent/proxy.h"
#include "agent/remote_internal.h"

static void put_service(void *arg, const struct um_json *obj)
{
	proxy_put_service(((struct um_remote *)arg)->agent->proxy, obj);
}

static void drop_service(void *arg, const struct um_json *obj)
{
	proxy_drop_service(((struct um_remote *)arg)->agent->proxy,
			   um_json_get_str(obj, "metadata.namespace", ""),
			   um_json_get_str(obj, "metadata.name", ""));
}

static void services_listed(void *arg, const struct um_json *items)
{
	proxy_services_listed(((struct um_remote *)arg)->agent->proxy, items);
}

static void put_slice(void *arg, const struct um_json *obj)
{
	proxy_put_slice(((struct um_remote *)arg)->agent->proxy, obj);
}

static void drop_slice(void *arg, const struct um_json *obj)
{
	proxy_drop_slice(((struct um_remote *)arg)->agent->proxy,
			 um_json_get_str(obj, "metadata.namespace", ""),
			 um_json_get_str(obj, "metadata.name", ""));
}

static void slices_listed(void *arg, const struct um_json *items)
{
	proxy_slices_listed(((struct um_remote *)arg)->agent->proxy, items);
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
