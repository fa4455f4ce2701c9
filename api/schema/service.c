/* Services: defaults that depend on other fields, and what an update takes over from the stored
 * object, so that a manifest without addresses and node ports keeps them. */
#include <string.h>

#include "api/schema/kind_ops.h"

static const char *type_of(const struct um_json *spec)
{
	return um_json_get_str(spec, "type", "");
}

bool um_service_needs_ip(const struct um_json *spec)
{
	return strcmp(type_of(spec), "ExternalName") != 0;
}

bool um_service_needs_node_ports(const struct um_json *spec)
{
	return !strcmp(type_of(spec), "NodePort") || !strcmp(type_of(spec), "LoadBalancer");
}

static bool unset(const struct um_json *v)
{
	return !v || (v->type == UM_JSON_STR && !v->len) ||
	       (v->type == UM_JSON_NUM && !strcmp(v->str, "0")) ||
	       (v->type == UM_JSON_ARR && !v->first);
}

static void default_str(struct um_arena *a, struct um_json *spec, const char *key, const char *s)
{
	if (unset(um_json_get(spec, key)))
		um_json_set_str(a, spec, key, s);
}

static void affinity(struct um_json *spec, struct um_arena *a)
{
	struct um_json *client;

	if (strcmp(um_json_get_str(spec, "sessionAffinity", ""), "ClientIP")) {
		um_json_remove(spec, "sessionAffinityConfig");
		return;
	}
	client = um_json_ensure_obj(a, um_json_ensure_obj(a, spec, "sessionAffinityConfig"),
				    "clientIP");
	if (!um_json_get(client, "timeoutSeconds"))
		um_json_set_i64(a, client, "timeoutSeconds", 10800);
}

void um_sdefault_service(struct um_json *obj, struct um_arena *a)
{
	struct um_json *spec = um_json_ensure_obj(a, obj, "spec");

	um_json_foreach (port, um_json_get(spec, "ports"))
		if (unset(um_json_get(port, "targetPort")) && um_json_get(port, "port"))
			um_json_set(a, port, "targetPort",
				    um_json_copy(a, um_json_get(port, "port")));
	affinity(spec, a);
	if (um_service_needs_node_ports(spec))
		default_str(a, spec, "externalTrafficPolicy", "Cluster");
	if (!strcmp(type_of(spec), "LoadBalancer") &&
	    !um_json_get(spec, "allocateLoadBalancerNodePorts"))
		um_json_set_bool(a, spec, "allocateLoadBalancerNodePorts", true);
	if (!um_service_needs_ip(spec))
		return;
	default_str(a, spec, "internalTrafficPolicy", "Cluster");
	default_str(a, spec, "ipFamilyPolicy", "SingleStack");
	if (unset(um_json_get(spec, "ipFamilies")))
		um_json_append(um_json_ensure_arr(a, spec, "ipFamilies"),
			       um_json_new_str(a, "IPv4"));
}

/* ---- updates ---- */

static bool same(const struct um_json *a, const struct um_json *b, const char *key)
{
	const struct um_json *x = um_json_get(a, key), *y = um_json_get(b, key);

	return (unset(x) && unset(y)) || um_json_equal(x, y);
}

static void take(struct um_arena *a, struct um_json *to, const struct um_json *from,
		 const char *key)
{
	if (um_json_get(from, key))
		um_json_set(a, to, key, um_json_copy(a, um_json_get(from, key)));
}

static bool uses_node_port(const struct um_json *spec, int64_t number)
{
	um_json_foreach (port, um_json_get(spec, "ports"))
		if (um_json_get_i64(port, "nodePort", 0) == number)
			return true;
	return false;
}

/* By name: other properties of the port may have changed. One that stands in both is taken. */
static void take_node_ports(struct um_json *spec, const struct um_json *old, struct um_arena *a)
{
	um_json_foreach (port, um_json_get(spec, "ports")) {
		if (!unset(um_json_get(port, "nodePort")))
			continue;
		um_json_foreach (was, um_json_get(old, "ports")) {
			int64_t number = um_json_get_i64(was, "nodePort", 0);

			if (number &&
			    !strcmp(um_json_get_str(was, "name", ""),
				    um_json_get_str(port, "name", "")) &&
			    !uses_node_port(spec, number))
				um_json_set_i64(a, port, "nodePort", number);
		}
	}
}

static void take_addresses(struct um_json *spec, const struct um_json *old, struct um_arena *a)
{
	if (um_service_needs_ip(old) && um_service_needs_ip(spec)) {
		if (unset(um_json_get(spec, "clusterIP")))
			take(a, spec, old, "clusterIP");
		if (unset(um_json_get(spec, "clusterIPs")) && same(spec, old, "clusterIP"))
			take(a, spec, old, "clusterIPs");
	}
	if (um_service_needs_node_ports(old) && um_service_needs_node_ports(spec))
		take_node_ports(spec, old, a);
}

/* clusterIP and clusterIPs say the same; the client may know only one of them. */
static void join_addresses(struct um_json *spec, const struct um_json *old, struct um_arena *a)
{
	const struct um_json *ip = um_json_get(spec, "clusterIP");
	bool list_kept = old && same(spec, old, "clusterIPs");

	if (unset(ip)) {
		if (old && !unset(um_json_get(old, "clusterIP")) && list_kept)
			um_json_remove(spec, "clusterIPs");
		return;
	}
	if (unset(um_json_get(spec, "clusterIPs")) ||
	    (list_kept && !same(spec, old, "clusterIP"))) {
		struct um_json *list = um_json_new_arr(a);

		um_json_append(list, um_json_copy(a, ip));
		um_json_set(a, spec, "clusterIPs", list);
	}
}

static bool same_node_ports(const struct um_json *spec, const struct um_json *old)
{
	um_json_foreach (port, um_json_get(spec, "ports")) {
		int64_t number = um_json_get_i64(port, "nodePort", 0);

		if (number && !uses_node_port(old, number))
			return false;
	}
	return true;
}

static void drop_if_same(struct um_json *spec, const struct um_json *old, const char *key)
{
	if (same(spec, old, key))
		um_json_remove(spec, key);
}

/* What another type does not have goes away, unless the client changed it: then it is refused. */
static void drop_of_old_type(struct um_json *spec, const struct um_json *old)
{
	static const char *const with_ip[] = {"clusterIP", "clusterIPs", "ipFamilies",
					      "ipFamilyPolicy", "internalTrafficPolicy"};

	if (um_service_needs_ip(old) && !um_service_needs_ip(spec))
		for (size_t i = 0; i < UM_ARRAY_LEN(with_ip); i++)
			drop_if_same(spec, old, with_ip[i]);
	if (um_service_needs_node_ports(old) && !um_service_needs_node_ports(spec)) {
		if (same_node_ports(spec, old))
			um_json_foreach (port, um_json_get(spec, "ports"))
				um_json_remove(port, "nodePort");
		drop_if_same(spec, old, "externalTrafficPolicy");
	}
	if (strcmp(type_of(spec), "LoadBalancer") && !strcmp(type_of(old), "LoadBalancer"))
		drop_if_same(spec, old, "allocateLoadBalancerNodePorts");
}

void um_scarry_service(struct um_json *obj, const struct um_json *old_obj, struct um_arena *a)
{
	struct um_json *spec = um_json_get(obj, "spec");
	const struct um_json *old = um_json_get(old_obj, "spec");

	if (old)
		take_addresses(spec, old, a);
	join_addresses(spec, old, a);
	if (old)
		drop_of_old_type(spec, old);
}
