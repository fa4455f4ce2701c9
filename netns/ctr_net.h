/* The network of containers without an agent (`umiak ctr`): the same routed veths as pods have, in
 * a range and a table `inet umiak_ctr` of their own (umiak_ctr_<range> for another than
 * 10.245.0.0/16; the table's comment says whose folder it is for), so that neither is in the
 * agent's way, which may run on the same machine. There is no daemon: each call opens what it needs
 * under a lock on <state_dir>/lock.
 *
 * Published ports: two maps, (protocol, port) for all addresses of this host and (protocol,
 * address, port) for one, looked at by packets from outside and by this host's own. 127.0.0.1 works
 * too: net.ipv4.conf.<veth>.route_localnet is set for the link of a container with ports, and what
 * comes from any such link for 127.0.0.0/8 before NAT is dropped, so that the host's own loopback
 * services stay its own.
 *
 * All calls block (netlink, files, nft(8)). */
#ifndef UM_NETNS_CTR_NET_H
#define UM_NETNS_CTR_NET_H

#include <stddef.h>
#include <stdint.h>

#include "netns/netns.h"

#define UM_CTR_UID_PREFIX "ctr-" /* of the uids of such containers; pods' are others */

struct um_ctr_net {
	const char *range;     /* "10.245.0.0/16" */
	const char *state_dir; /* ipam/, lock; without quotes and control characters */
};

struct um_ctr_port {
	bool udp;
	struct in_addr host; /* INADDR_ANY: every address */
	uint16_t host_port;
	struct in_addr addr;
	uint16_t port;
};

/* Takes the lock; a descriptor, or a negative errno. */
um_must_check int um_ctr_net_lock(const struct um_ctr_net *n, struct um_error *err);

/* The calls below want the lock held. */

/* As um_net_attach(). @ports: it has published ones. */
um_must_check int um_ctr_net_attach(const struct um_ctr_net *n, const char *uid, int netns_fd,
				    bool ports, struct um_net_pod *ret, struct um_error *err);
/* Removes the link and gives the address back. What is missing is success. */
um_must_check int um_ctr_net_detach(const struct um_ctr_net *n, const char *uid,
				    struct um_error *err);
/* The same where the network namespace is about to end: as um_net_let_go(). */
um_must_check int um_ctr_net_let_go(const struct um_ctr_net *n, const char *uid,
				    struct um_error *err);
/* Detaches whom @keep does not want, and removes links that were let go and are still there. */
um_must_check int um_ctr_net_sweep(const struct um_ctr_net *n,
				   bool (*keep)(void *arg, const char *uid), void *arg,
				   struct um_error *err);
/* Whether the table is there: somebody may have flushed it. -EADDRINUSE: containers of another
 * state_dir, which is there, have addresses of the range. */
um_must_check int um_ctr_net_ready(const struct um_ctr_net *n, bool *ret, struct um_error *err);
/* Loads the table with these ports, all of them, in one transaction. */
um_must_check int um_ctr_net_load(const struct um_ctr_net *n, const struct um_ctr_port *ports,
				  size_t n_ports, struct um_error *err);

#endif
