/* The host's own network: what the pod network needs of it and what it must not collide with. */
#ifndef UM_NETNS_HOST_H
#define UM_NETNS_HOST_H

#include "netns/nl.h"
#include "netns/range.h"

/* -EEXIST, naming the route, when a route of any table that is not ours overlaps @range, called
 * @what ("pod range"). Default routes (also in two halves) and routes that only refuse do not
 * count, nor do single addresses of the link @lo (0: they do): there cluster DNS has its own. */
um_must_check int um_host_check_routes(struct um_nl *nl, const char *what,
				       const struct um_range *range, int lo, struct um_error *err);
/* 1 when there is a route of ours for exactly @range over the link @ifindex, else 0. */
um_must_check int um_host_has_route(struct um_nl *nl, const struct um_range *range, int ifindex,
				    struct um_error *err);
/* Calls @fn for each /32 route of ours. Stops at its first negative result. */
um_must_check int um_host_each_pod_route(struct um_nl *nl,
					 int (*fn)(void *arg, uint32_t addr, int ifindex),
					 void *arg, struct um_error *err);
/* The MTU of the link of the default route with the lowest metric; 0 where there is none. */
um_must_check int um_host_mtu(struct um_nl *nl, int *ret, struct um_error *err);

/* Turns net.ipv4.ip_forward on; the value before is kept in <state_dir>/ip_forward.before, unless
 * one is kept already. True in *ret_changed when it was off. */
um_must_check int um_host_forward(const char *state_dir, bool *ret_changed, struct um_error *err);
/* Puts the kept value back and forgets it. */
um_must_check int um_host_unforward(const char *state_dir, struct um_error *err);

#endif
