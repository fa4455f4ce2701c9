/* Services: rules between fields, and what an update may change. */
#include <arpa/inet.h>
#include <string.h>

#include "api/schema/validate.h"

static const struct um_spath *const spec_path = &(const struct um_spath){NULL, "spec", 0, false};

static bool is_type(const struct um_json *spec, const char *type)
{
	return !strcmp(um_json_get_str(spec, "type", ""), type);
}

static bool headless(const struct um_json *spec)
{
	return !strcmp(um_json_get_str(spec, "clusterIP", ""), "None");
}

/* ---- ports ---- */

static void check_target_port(struct um_svalidator *v, const struct um_json *port,
			      const struct um_spath *up)
{
	const struct um_json *target = um_json_get(port, "targetPort");
	const char *why = NULL;
	int64_t n = um_json_i64(target, 0);

	if (um_json_is(target, UM_JSON_NUM) && (n < 1 || n > 65535))
		why = "must be between 1 and 65535, inclusive";
	else if (um_json_is(target, UM_JSON_STR))
		why = um_sformat_port_name(target->str);
	if (why)
		um_sv_invalid(v, UM_SPATH_FIELD(up, "targetPort"), target, why);
}

static bool same_protocol(const struct um_json *a, const struct um_json *b)
{
	return um_json_equal(um_json_get(a, "protocol"), um_json_get(b, "protocol"));
}

/* Against those before it. */
static void check_duplicates(struct um_svalidator *v, const struct um_json *ports,
			     const struct um_json *port, const struct um_spath *p)
{
	const char *name = um_json_get_str(port, "name", "");
	int64_t number = um_json_get_i64(port, "port", 0);
	int64_t node = um_json_get_i64(port, "nodePort", 0);
	bool name_done = false, port_done = false, node_done = false;
	char text[80];

	for (const struct um_json *o = ports->first; o != port; o = o->next) {
		if (!name_done && *name && um_json_streq(um_json_get(o, "name"), name)) {
			um_sv_duplicate(v, UM_SPATH_FIELD(p, "name"), name);
			name_done = true;
		}
		if (!same_protocol(o, port))
			continue;
		if (!port_done && number && um_json_get_i64(o, "port", 0) == number) {
			snprintf(text, sizeof(text), "%lld/%.10s", (long long)number,
				 um_json_get_str(port, "protocol", ""));
			um_sv_duplicate(v, p, text);
			port_done = true;
		}
		if (!node_done && node && um_json_get_i64(o, "nodePort", 0) == node) {
			snprintf(text, sizeof(text), "%lld", (long long)node);
			um_sv_duplicate(v, UM_SPATH_FIELD(p, "nodePort"), text);
			node_done = true;
		}
	}
}

static void check_port(struct um_svalidator *v, const struct um_json *spec,
		       const struct um_json *ports, const struct um_json *port,
		       const struct um_spath *p)
{
	static const struct um_json zero = {.type = UM_JSON_NUM, .len = 1, .str = "0"};

	if (ports->len > 1 && !*um_json_get_str(port, "name", ""))
		um_sv_required(v, UM_SPATH_FIELD(p, "name"), NULL);
	if (!um_json_get(port, "port"))
		um_sv_invalid(v, UM_SPATH_FIELD(p, "port"), &zero,
			      "must be between 1 and 65535, inclusive");
	check_target_port(v, port, p);
	check_duplicates(v, ports, port, p);
	if (is_type(spec, "ClusterIP") && um_json_get_i64(port, "nodePort", 0))
		um_sv_forbidden(v, UM_SPATH_FIELD(p, "nodePort"),
				"may not be used when `type` is 'ClusterIP'");
	if (is_type(spec, "ExternalName") && um_json_get_i64(port, "nodePort", 0))
		um_sv_forbidden(v, UM_SPATH_FIELD(p, "nodePort"),
				"may not be used when `type` is 'ExternalName'");
	if (is_type(spec, "LoadBalancer") && um_json_get_i64(port, "port", 0) == 10250)
		um_sv_invalid(v, UM_SPATH_FIELD(p, "port"), um_json_get(port, "port"),
			      "may not expose port 10250 externally since it is used by kubelet");
	/* Only where nobody has to carry it. */
	if (um_json_streq(um_json_get(port, "protocol"), "SCTP") && !headless(spec) &&
	    !is_type(spec, "ExternalName"))
		um_sv_not_yet(v, UM_SPATH_FIELD(p, "protocol"));
}

static void check_ports(struct um_svalidator *v, const struct um_json *spec)
{
	const struct um_json *ports = um_json_get(spec, "ports");
	const struct um_spath *p = UM_SPATH_FIELD(spec_path, "ports");
	long i = 0;

	if (!um_json_first(ports) && !headless(spec) && !is_type(spec, "ExternalName"))
		um_sv_required(v, p, NULL);
	/* What compares each with each stays cheap. */
	if (ports && ports->len > 250) {
		um_sv_not_yet(v, p);
		return;
	}
	um_json_foreach (it, ports)
		check_port(v, spec, ports, it, UM_SPATH_INDEX(p, i++));
}

/* ---- addresses ---- */

static void check_address(struct um_svalidator *v, const struct um_json *list,
			  const struct um_json *ip)
{
	const struct um_spath *p = UM_SPATH_FIELD(spec_path, "clusterIPs");
	const char *text = um_json_str(ip, "");
	const char *why = um_sformat_ip(text);
	struct in6_addr six;

	if (!strcmp(text, "None")) {
		if (list->len > 1)
			um_sv_invalid(v, UM_SPATH_INDEX(p, 0), ip,
				      "'None' must be the first and only value");
	} else if (why) {
		um_sv_invalid(v, UM_SPATH_INDEX(p, 0), ip, why);
	} else if (list->len > 1) {
		um_sv_not_yet(v, UM_SPATH_INDEX(p, 1));
	} else if (inet_pton(AF_INET6, text, &six) == 1) {
		um_sv_not_yet(v, UM_SPATH_INDEX(p, 0));
	}
}

static void check_addresses(struct um_svalidator *v, const struct um_json *spec)
{
	const struct um_json *list = um_json_get(spec, "clusterIPs"), *first = um_json_first(list);
	const struct um_spath *p = UM_SPATH_FIELD(spec_path, "clusterIPs");
	const char *ip = um_json_get_str(spec, "clusterIP", "");

	if (is_type(spec, "ExternalName")) {
		if (*ip || first)
			um_sv_forbidden(v, first ? p : UM_SPATH_FIELD(spec_path, "clusterIP"),
					"may not be set for ExternalName services");
		return;
	}
	if (headless(spec) && (is_type(spec, "NodePort") || is_type(spec, "LoadBalancer")))
		um_sv_invalid_str(v, UM_SPATH_INDEX(p, 0), "None",
				  is_type(spec, "NodePort")
					  ? "may not be set to 'None' for NodePort services"
					  : "may not be set to 'None' for LoadBalancer services");
	if (first && !*ip)
		um_sv_invalid(v, p, list, "must be empty when `clusterIP` is not specified");
	else if (first && !um_json_streq(first, ip))
		um_sv_invalid(v, p, list, "first value must match `clusterIP`");
	else if (first)
		check_address(v, list, first);
}

static void check_address_update(struct um_svalidator *v, const struct um_json *spec,
				 const struct um_json *old)
{
	const struct um_json *now = um_json_first(um_json_get(spec, "clusterIPs"));
	const struct um_json *was = um_json_first(um_json_get(old, "clusterIPs"));
	const struct um_spath *p = UM_SPATH_INDEX(UM_SPATH_FIELD(spec_path, "clusterIPs"), 0);

	if (is_type(spec, "ExternalName") || is_type(old, "ExternalName") || !was)
		return;
	if (!now)
		um_sv_invalid(v, p, um_json_get(spec, "clusterIPs"),
			      "primary clusterIP can not be unset");
	else if (!um_json_equal(now, was))
		um_sv_invalid(v, p, um_json_get(spec, "clusterIPs"), "may not change once set");
}

/* ---- the rest ---- */

static void check_external_name(struct um_svalidator *v, const struct um_json *spec)
{
	static const char *const others[] = {"ipFamilies", "ipFamilyPolicy"};
	const char *name = um_json_get_str(spec, "externalName", ""), *why = NULL;
	size_t len = strlen(name);
	char bare[300];

	if (!is_type(spec, "ExternalName"))
		return;
	for (size_t i = 0; i < UM_ARRAY_LEN(others); i++)
		if (um_json_get(spec, others[i]))
			um_sv_forbidden(v, UM_SPATH_FIELD(spec_path, others[i]),
					"may not be set for ExternalName services");
	if (!len) {
		um_sv_required(v, UM_SPATH_FIELD(spec_path, "externalName"), NULL);
		return;
	}
	/* A dot at the end says that it is complete. */
	if (name[len - 1] == '.' && len < sizeof(bare)) {
		memcpy(bare, name, len - 1);
		bare[len - 1] = '\0';
		why = um_sformat_dns_subdomain(bare);
	} else {
		why = um_sformat_dns_subdomain(name);
	}
	if (why)
		um_sv_invalid_str(v, UM_SPATH_FIELD(spec_path, "externalName"), name, why);
}

static void check_affinity(struct um_svalidator *v, const struct um_json *spec)
{
	const struct um_json *timeout =
		um_json_path(spec, "sessionAffinityConfig.clientIP.timeoutSeconds");
	const struct um_spath *p = UM_SPATH_FIELD(spec_path, "sessionAffinityConfig");
	int64_t n = um_json_i64(timeout, 1);

	if (n <= 0 || n > 86400)
		um_sv_invalid(v, UM_SPATH_FIELD(UM_SPATH_FIELD(p, "clientIP"), "timeoutSeconds"),
			      timeout, "must be greater than 0 and less than 86400");
}

void um_svalidate_service(struct um_svalidator *v, const struct um_json *obj,
			  const struct um_json *old)
{
	const struct um_json *spec = um_json_get(obj, "spec");

	check_ports(v, spec);
	check_addresses(v, spec);
	check_external_name(v, spec);
	check_affinity(v, spec);
	if ((is_type(spec, "ClusterIP") || is_type(spec, "ExternalName")) &&
	    *um_json_get_str(spec, "externalTrafficPolicy", ""))
		um_sv_invalid(v, UM_SPATH_FIELD(spec_path, "externalTrafficPolicy"),
			      um_json_get(spec, "externalTrafficPolicy"),
			      "may only be set for externally-accessible services");
	if (!is_type(spec, "LoadBalancer") && um_json_get(spec, "allocateLoadBalancerNodePorts"))
		um_sv_forbidden(v, UM_SPATH_FIELD(spec_path, "allocateLoadBalancerNodePorts"),
				"may only be used when `type` is 'LoadBalancer'");
	if (old)
		check_address_update(v, spec, um_json_get(old, "spec"));
}

bool um_sname_service(const char *name, const char **ret_why)
{
	*ret_why = um_sformat_dns1035_label(name);
	return !*ret_why;
}
