/* Single requests to the kernel about links, addresses, neighbours and routes. Each waits for the
 * answer and returns 0 or a negative errno with no error object: um_nl_fail() makes the message. */
#ifndef UM_NETNS_LINK_H
#define UM_NETNS_LINK_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "netns/nl.h"

/* Marks our routes (rtm_protocol), so that they are known as ours and shown as "proto 117". */
#define UM_ROUTE_PROTOCOL 117

#define UM_MAC_LEN 6

struct um_link {
	int index;
	int peer_index; /* 0: unknown */
	unsigned mtu;
	bool veth;
	bool running; /* up, and the other end too: what is sent is delivered */
	char name[IFNAMSIZ];
	char alias[256];
};

/* By name, or by index where @name is NULL. -ENODEV: no such link. */
um_must_check int um_link_get(struct um_nl *n, const char *name, int index, struct um_link *ret);
/* Calls @fn for every link of the namespace; stops at its first negative result. */
um_must_check int um_link_each(struct um_nl *n, int (*fn)(void *arg, const struct um_link *l),
			       void *arg);

struct um_veth_pair {
	const char *name;	 /* here */
	const uint8_t *mac;	 /* UM_MAC_LEN bytes */
	const char *peer_name;	 /* there */
	const uint8_t *peer_mac; /* UM_MAC_LEN bytes */
	int peer_netns_fd;
	int mtu;
};
/* Makes both ends in one request; both are down. */
um_must_check int um_link_add_veth(struct um_nl *n, const struct um_veth_pair *p);
/* Marks a link as ours and keeps IPv6 from giving it an address by itself; with @host_side,
 * packets from an address that is not routed to the link are dropped (rp_filter), and Services may
 * lead from there to 127.0.0.1 (route_localnet; their rules drop all else that is for it). */
um_must_check int um_link_mark(struct um_nl *n, int index, const char *alias, bool host_side);
um_must_check int um_link_alias(struct um_nl *n, int index, const char *alias);
um_must_check int um_link_up(struct um_nl *n, int index);
um_must_check int um_link_delete(struct um_nl *n, int index);

/* Addresses are in host byte order. What is there already in the same form is success. */
um_must_check int um_link_add_address(struct um_nl *n, int index, uint32_t addr, uint8_t scope);
um_must_check int um_link_add_neighbour(struct um_nl *n, int index, uint32_t addr,
					const uint8_t *mac);
/* @gateway 0: the link itself. A route to the same destination is
 * replaced. */
um_must_check int um_link_add_route(struct um_nl *n, int index, uint32_t dst, unsigned prefix,
				    uint32_t gateway);

/* Success when there is none. */
um_must_check int um_link_delete_address(struct um_nl *n, int index, uint32_t addr);
um_must_check int um_link_delete_route(struct um_nl *n, int index, uint32_t dst, unsigned prefix);

#endif
