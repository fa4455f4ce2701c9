/* Endpoints and EndpointSlices. */
#include <arpa/inet.h>
#include <string.h>

#include "api/schema/validate.h"

#define MAX_ENDPOINTS 1000
#define MAX_ADDRESSES 100
#define MAX_PORTS 100

/* The endpoints of the API itself, which the server writes: it may listen on a loopback address, to
 * which each node's proxy then leads. */
static bool of_the_api(const struct um_json *obj)
{
	return !strcmp(um_json_get_str(obj, "metadata.namespace", ""), "default") &&
	       !strcmp(um_json_get_str(obj, "metadata.name", ""), "kubernetes");
}

/* Nobody answers for others at such an address. */
static const char *special(const char *ip, bool loopback_ok)
{
	struct in_addr four;
	struct in6_addr six;
	uint32_t n;

	if (inet_pton(AF_INET, ip, &four) == 1) {
		n = ntohl(four.s_addr);
		if (!n)
			return "may not be unspecified (0.0.0.0 or ::)";
		if (n >> 24 == 127 && !loopback_ok)
			return "may not be in the loopback range (127.0.0.0/8, ::1/128)";
		if (n >> 16 == 0xa9fe)
			return "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
		if (n >> 8 == 0xe00000)
			return "may not be in the link-local multicast range (224.0.0.0/24, "
			       "ff02::/10)";
		return NULL;
	}
	if (inet_pton(AF_INET6, ip, &six) != 1)
		return "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
	if (IN6_IS_ADDR_UNSPECIFIED(&six))
		return "may not be unspecified (0.0.0.0 or ::)";
	if (IN6_IS_ADDR_LOOPBACK(&six))
		return "may not be in the loopback range (127.0.0.0/8, ::1/128)";
	if (IN6_IS_ADDR_LINKLOCAL(&six))
		return "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
	return NULL;
}

static void check_addresses(struct um_svalidator *v, const struct um_json *list, bool loopback_ok,
			    const struct um_spath *p)
{
	long i = 0;

	um_json_foreach (it, list) {
		const struct um_spath *here = UM_SPATH_FIELD(UM_SPATH_INDEX(p, i++), "ip");
		const char *ip = um_json_get_str(it, "ip", "");
		const char *why = *ip ? special(ip, loopback_ok) : NULL;

		if (why)
			um_sv_invalid_str(v, here, ip, why);
	}
}

/* Several ports need names; a name stands once. */
static void check_port_names(struct um_svalidator *v, const struct um_json *ports, bool required,
			     const struct um_spath *p)
{
	long i = 0;

	um_json_foreach (it, ports) {
		const struct um_spath *here = UM_SPATH_FIELD(UM_SPATH_INDEX(p, i++), "name");
		const char *name = um_json_get_str(it, "name", "");

		if (required && ports->len > 1 && !*name) {
			um_sv_required(v, here, NULL);
			continue;
		}
		for (const struct um_json *o = ports->first; o != it; o = o->next) {
			if (strcmp(um_json_get_str(o, "name", ""), name))
				continue;
			um_sv_duplicate(v, here, name);
			break;
		}
	}
}

void um_svalidate_endpoints(struct um_svalidator *v, const struct um_json *obj,
			    const struct um_json *old um_unused)
{
	const struct um_spath *p = UM_SPATH_FIELD(NULL, "subsets");
	long i = 0;

	um_json_foreach (it, um_json_get(obj, "subsets")) {
		const struct um_spath *here = UM_SPATH_INDEX(p, i++);
		const struct um_json *ready = um_json_get(it, "addresses");
		const struct um_json *waiting = um_json_get(it, "notReadyAddresses");
		const struct um_json *ports = um_json_get(it, "ports");

		if (!um_json_first(ready) && !um_json_first(waiting))
			um_sv_required(v, here, "must specify `addresses` or `notReadyAddresses`");
		check_addresses(v, ready, of_the_api(obj), UM_SPATH_FIELD(here, "addresses"));
		check_addresses(v, waiting, of_the_api(obj),
				UM_SPATH_FIELD(here, "notReadyAddresses"));
		if (ports && ports->len > MAX_PORTS)
			um_cause_add(v->causes, "FieldValueTooMany",
				     um_spath_str(v->causes->arena, UM_SPATH_FIELD(here, "ports")),
				     "Too many: %u: must have at most %d items", ports->len,
				     MAX_PORTS);
		else
			check_port_names(v, ports, true, UM_SPATH_FIELD(here, "ports"));
	}
}

static bool too_many(struct um_svalidator *v, const struct um_json *list, unsigned max,
		     const struct um_spath *p)
{
	if (!list || list->len <= max)
		return false;
	um_cause_add(v->causes, "FieldValueTooMany", um_spath_str(v->causes->arena, p),
		     "Too many: %u: must have at most %u items", list->len, max);
	return true;
}

static void check_endpoint(struct um_svalidator *v, const struct um_json *endpoint,
			   bool loopback_ok, const struct um_spath *up)
{
	const struct um_json *list = um_json_get(endpoint, "addresses");
	const struct um_spath *p = UM_SPATH_FIELD(up, "addresses");
	struct in_addr four;
	long i = 0;

	if (too_many(v, list, MAX_ADDRESSES, p))
		return;
	um_json_foreach (it, list) {
		const struct um_spath *here = UM_SPATH_INDEX(p, i++);
		const char *ip = um_json_str(it, "");
		const char *why = inet_pton(AF_INET, ip, &four) == 1
					  ? special(ip, loopback_ok)
					  : "must be a valid IPv4 address";

		if (why)
			um_sv_invalid(v, here, it, why);
	}
}

void um_svalidate_endpoint_slice(struct um_svalidator *v, const struct um_json *obj,
				 const struct um_json *old um_unused)
{
	const struct um_json *endpoints = um_json_get(obj, "endpoints");
	const struct um_json *ports = um_json_get(obj, "ports");
	const struct um_spath *p = UM_SPATH_FIELD(NULL, "endpoints");
	const struct um_spath *pp = UM_SPATH_FIELD(NULL, "ports");
	long i = 0;

	if (!too_many(v, endpoints, MAX_ENDPOINTS, p))
		um_json_foreach (it, endpoints)
			check_endpoint(v, it, of_the_api(obj), UM_SPATH_INDEX(p, i++));
	if (too_many(v, ports, MAX_PORTS, pp))
		return;
	check_port_names(v, ports, false, pp);
	i = 0;
	um_json_foreach (it, ports) {
		const char *name = um_json_get_str(it, "name", "");
		const char *why = *name ? um_sformat_dns_label(name) : NULL;
		const struct um_spath *here = UM_SPATH_INDEX(pp, i++);

		if (why)
			um_sv_invalid_str(v, UM_SPATH_FIELD(here, "name"), name, why);
	}
}
