/* The pod network of one node: routed veths, addresses that survive restarts, masquerade.
 *
 * Each pod has eth0 (one end of a veth) with a /32 of the node's range; its default route goes by
 * the link-local gateway 169.254.1.1, for which both ends hold permanent neighbours; the host has a
 * /32 route to each pod over the other end, "um" + 12 hex digits of the pod uid's hash. No bridge.
 * What pods send to the world outside the pod range is masqueraded by the nftables table
 * `inet umiak`. Given addresses are kept in <state_dir>/ipam/<address> (content: the pod's uid), so
 * that restarts of the agent and the node neither leak nor double them.
 *
 * All calls block (netlink, file I/O): daemons call them on worker threads. Calls for one um_net
 * wait for one another, so any number of threads may share it; um_net_sweep() calls @keep with the
 * lock held. */
#ifndef UM_NETNS_NETNS_H
#define UM_NETNS_NETNS_H

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>

#include "base/error.h"

struct um_net_config {
	const char *pod_range;	/* the cluster's, "10.244.0.0/16": not masqueraded */
	const char *node_range; /* this node's, "10.244.0.0/24": addresses come from here */
	const char *state_dir;	/* ipam/ is made beneath it */
	int mtu;		/* 0: that of the default route's link, or 1500 */
};

struct um_net;

/* Checks the ranges (a range that overlaps a host route not ours is refused: -EEXIST), turns
 * ip_forward on, loads the static rules, rebuilds what a crash left. One at a time in a network
 * namespace: -EBUSY while another has it open. */
um_must_check int um_net_open(const struct um_net_config *cfg, struct um_net **ret,
			      struct um_error *err);
void um_net_close(struct um_net *n); /* removes nothing; accepts NULL */
UM_DEFINE_CLEANUP(struct um_net, um_net_close)

struct um_net_pod {
	struct in_addr addr;
	char addr_text[INET_ADDRSTRLEN];
	char host_ifname[IFNAMSIZ];
};

/* Gives pod @uid an address and an eth0 in the namespace @netns_fd. Called again for a pod that has
 * both it changes nothing. Errors: -EADDRNOTAVAIL (the range is used up), netlink's. On failure
 * nothing is left. */
um_must_check int um_net_attach(struct um_net *n, const char *uid, int netns_fd,
				struct um_net_pod *ret, struct um_error *err);
/* Removes the link and gives the address back. What is missing is success. */
um_must_check int um_net_detach(struct um_net *n, const char *uid, struct um_error *err);
/* The same where the pod's network namespace is about to end, without waiting for the kernel, which
 * takes its time for a link (a grace period of RCU): it ends with its namespace. From now on
 * nothing is routed to it, and what comes from it is dropped. */
um_must_check int um_net_let_go(struct um_net *n, const char *uid, struct um_error *err);
/* Detaches every pod that @keep does not want, and removes links that were let go and are still
 * there, because somebody holds their namespace. */
um_must_check int um_net_sweep(struct um_net *n, bool (*keep)(void *arg, const char *uid),
			       void *arg, struct um_error *err);
/* Puts the static rules back when somebody flushed them; true in *ret_healed then. */
um_must_check int um_net_check(struct um_net *n, bool *ret_healed, struct um_error *err);
/* `umiak ... --down`: removes the table, all links and addresses of ours. */
um_must_check int um_net_destroy(const struct um_net_config *cfg, struct um_error *err);

#endif
