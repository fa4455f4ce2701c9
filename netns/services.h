/* Services of one node: virtual addresses and node ports in front of pods, as data in nftables.
 *
 * Table `inet umiak_services`, its own, so that a flush of the pod network's table never touches
 * it. `nft list table inet umiak_services` reads like this:
 *
 *   services   (address, protocol, port) -> class     the class is kind << 16 | number of endpoints
 *   picks      class -> goto pick_N | node_pick_N | sticky_N | node_sticky_N
 *   endpoints  (address, protocol, port, index) -> address and port of one endpoint
 *   sticky     (address, protocol, port) -> time      ClientIP affinity
 *   remembers  time -> goto remember_SECONDS
 *   affinity   (client, address, protocol, port) -> endpoint, written by packets, with timeouts
 *   hairpin    (endpoint, endpoint)                   a pod talks to itself
 *   node_*     the same for NodePorts, by (protocol, port); node_tcp and node_udp: which there are
 *
 * A packet to an address of the Service range whose class is found jumps to the chain of that
 * class, which draws an index and rewrites the destination. What still has a destination in the
 * range after that has no endpoints or is nobody's: refused at once (TCP reset, ICMP port
 * unreachable), and so are NodePorts without endpoints. Class, index and time pass from map to map
 * in the packet's priority, which is 0 afterwards: were the verdicts in the services map itself,
 * the kernel would validate every verdict of it at every change (1.7 ms with 10,000 Services
 * against 0.03 ms).
 *
 * Connections that are established stay with their endpoint, also when it is removed, until they
 * close; UDP entries of removed endpoints are flushed. Sources: pods keep theirs towards pods; what
 * the host sends, and what comes to a NodePort from elsewhere, is masqueraded when the endpoint is
 * no pod of this node; a pod that talks to itself sees its gateway. A NodePort answers at each
 * address of the host but 127.0.0.0/8 and the local one. What comes from pods to 127.0.0.0/8 is
 * dropped unless a Service led there: the API's own endpoint may be 127.0.0.1. The range has a
 * route to `lo`, so that a host without a default route finds a way to the output hook; `lo` gets
 * the pods' gateway address 169.254.1.1, so that a host without an address has a source.
 *
 * Each flush is one or more transactions; within each, a packet sees all or nothing. IPv4 only. A
 * ruleset saved by `nft list ruleset` loads again, but for one thing: nft 1.0.6 does not read its
 * own print of the chains for ClientIP affinity.
 *
 * All calls block (netlink, nft(8)): daemons call them on a worker. A mutex within serialises them.
 */
#ifndef UM_NETNS_SERVICES_H
#define UM_NETNS_SERVICES_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Endpoints of one port of a Service. */
#define UM_SERVICE_ENDPOINTS_MAX 65535
/* Kubernetes' own bound of sessionAffinityConfig.clientIP.timeoutSeconds. */
#define UM_SERVICE_AFFINITY_MAX 86400
/* Clients whose affinity is remembered at once; those beyond are balanced without. */
#define UM_SERVICE_CLIENTS_MAX 65536

struct um_services_config {
	const char *service_range; /* "10.96.0.0/16" */
	const char *pod_range;	   /* "10.244.0.0/16": sources in it are kept */
	const char
		*node_range; /* this node's pods, "10.244.7.0/24"; NULL: none are known as local:
			      * hairpin for all, masquerade for all that does not come from pods */
	uint16_t node_port_min, node_port_max; /* both 0: 30000 to 32767 */
	const char *local_addr; /* of the range: the host's own, on `lo`, where cluster DNS answers
				 * pods and the host on port 53; NULL: none */
};

struct um_services;

/* Loads the static part (unless the kernel holds exactly it) and reads what the kernel holds, so
 * that the first flush changes only what differs. Until then the kernel's Services go on: set all
 * Services, then flush. -EINVAL: a range; -EEXIST: a route of the host overlaps the range; -ENOENT:
 * no nft(8); netlink's. */
um_must_check int um_services_open(const struct um_services_config *cfg, struct um_services **ret,
				   struct um_error *err);
void um_services_close(struct um_services *s); /* removes nothing; accepts NULL */
UM_DEFINE_CLEANUP(struct um_services, um_services_close)

struct um_service_endpoint {
	struct in_addr addr;
	uint16_t port; /* host byte order */
};

struct um_service_port {
	uint8_t protocol;      /* IPPROTO_TCP or IPPROTO_UDP; others: -EPROTONOSUPPORT */
	struct in_addr vip;    /* in the Service range */
	uint16_t port;	       /* host byte order */
	uint16_t node_port;    /* 0: none */
	unsigned affinity_sec; /* 0: none */
	const struct um_service_endpoint *endpoints; /* in any order; doubles count once */
	size_t n_endpoints;
};

/* Replaces all of @key's ports, in memory only. All is borrowed during the call. On failure nothing
 * is changed: -EINVAL, -EPROTONOSUPPORT, -EEXIST (another key, or the same twice, has the address
 * or the node port: remove that one first), -ENOMEM. */
um_must_check int um_services_set(struct um_services *s, const char *key,
				  const struct um_service_port *ports, size_t n,
				  struct um_error *err);
void um_services_remove(struct um_services *s, const char *key); /* memory only */

/* Sends the difference, then forgets connections and affinities of endpoints that are gone. What
 * others did to the table meanwhile is found by the ruleset's generation, or by the kernel's
 * refusal, and mended. On failure some of it may be sent; the next flush sends the rest. */
um_must_check int um_services_flush(struct um_services *s, struct um_error *err);
/* Compares the kernel with what was flushed and mends it, also after `nft flush ruleset` and a lost
 * route; true in *ret_healed then. One small request where nobody touched any rule. Includes a
 * flush. */
um_must_check int um_services_check(struct um_services *s, bool *ret_healed, struct um_error *err);
/* Removes the table and the route; success when there are none. */
um_must_check int um_services_destroy(const struct um_services_config *cfg, struct um_error *err);

#endif
