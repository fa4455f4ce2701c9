#include "netns/veth.h"

#include <linux/rtnetlink.h>

#include "base/fault.h"
#include "base/vec.h"
#include "netns/ipam.h"

#define POD_IFNAME "eth0"
#define GONE                                                                                       \
	"umiak: let go" /* the alias of a link that only waits for its namespace's end; no uid */

/* Locally administered. The host's is the same on each link: "umiak" in ASCII. */
static const uint8_t host_mac[UM_MAC_LEN] = {0x02, 'u', 'm', 'i', 'a', 'k'};

static void pod_mac(uint32_t addr, uint8_t mac[UM_MAC_LEN])
{
	mac[0] = 0x06;
	mac[1] = 'u';
	for (int i = 0; i < 4; i++)
		mac[2 + i] = (uint8_t)(addr >> (24 - 8 * i));
}

void um_veth_name(const char *uid, char name[IFNAMSIZ])
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *uid; uid++)
		h = (h ^ (uint8_t)*uid) * UINT64_C(0x100000001b3);
	snprintf(name, IFNAMSIZ, "um%012llx", (unsigned long long)(h >> 16));
}

bool um_veth_is_ours(const struct um_link *l)
{
	char name[IFNAMSIZ];

	if (!l->veth || !um_ipam_uid_valid(l->alias))
		return false;
	um_veth_name(l->alias, name);
	return strcmp(name, l->name) == 0;
}

/* Fills *ret with the pod's link on the host; index 0 where there is none. A link without an alias
 * is one whose maker crashed before it could mark it: it is removed, as is one of an earlier
 * namespace that was let go. */
static int find(struct um_nl *host, const char *uid, const char *name, struct um_link *ret,
		struct um_error *err)
{
	int r = um_link_get(host, name, 0, ret);

	if (r == -ENODEV) {
		ret->index = 0;
		return 0;
	}
	if (r < 0)
		return um_nl_fail(host, err, r, "look for link %s of pod %s", name, uid);
	if (strcmp(ret->alias, uid) == 0 && ret->veth)
		return 0;
	if ((ret->alias[0] && strcmp(ret->alias, GONE) != 0) || !ret->veth)
		return um_error_set(err, -EEXIST,
				    "link %s of pod %s: the name is taken by a link of \"%s\"",
				    name, uid, ret->alias);
	r = um_link_delete(host, ret->index);
	if (r < 0 && r != -ENODEV)
		return um_nl_fail(host, err, r, "remove the unfinished link %s of pod %s", name,
				  uid);
	ret->index = 0;
	return 0;
}

static int make_pair(struct um_nl *host, int netns_fd, const char *uid, const char *name,
		     uint32_t addr, int mtu, struct um_link *ret, struct um_error *err)
{
	uint8_t mac[UM_MAC_LEN];
	struct um_veth_pair pair = {
		.name = name,
		.mac = host_mac,
		.peer_name = POD_IFNAME,
		.peer_mac = mac,
		.peer_netns_fd = netns_fd,
		.mtu = mtu,
	};
	int r;

	pod_mac(addr, mac);
	r = um_link_add_veth(host, &pair);
	if (r < 0)
		return um_nl_fail(host, err, r, "make link %s of pod %s", name, uid);
	r = um_link_get(host, name, 0, ret);
	if (r < 0)
		return um_nl_fail(host, err, r, "look for link %s of pod %s", name, uid);
	UM_FAULT("netns.link-made");
	return 0;
}

static int configure_host(struct um_nl *host, const struct um_link *l, const char *uid,
			  uint32_t addr, struct um_error *err)
{
	char text[INET_ADDRSTRLEN];
	uint8_t mac[UM_MAC_LEN];
	int r;

	pod_mac(addr, mac);
	um_range_format_addr(addr, text);
	r = um_link_mark(host, l->index, uid, true);
	if (r == 0)
		r = um_link_up(host, l->index);
	if (r < 0)
		return um_nl_fail(host, err, r, "set link %s of pod %s up", l->name, uid);
	/* The host speaks to its pods from this address, whatever others it has or has not. */
	r = um_link_add_address(host, l->index, UM_VETH_GATEWAY, RT_SCOPE_LINK);
	if (r < 0)
		return um_nl_fail(host, err, r, "give link %s of pod %s the gateway's address",
				  l->name, uid);
	r = um_link_add_neighbour(host, l->index, addr, mac);
	if (r == 0)
		r = um_link_add_route(host, l->index, addr, 32, 0);
	if (r < 0)
		return um_nl_fail(host, err, r, "route %s to link %s of pod %s", text, l->name,
				  uid);
	return 0;
}

static int configure_pod(struct um_nl *pod, const struct um_link *l, const char *uid, uint32_t addr,
			 struct um_error *err)
{
	char text[INET_ADDRSTRLEN];
	int r;

	um_range_format_addr(addr, text);
	r = um_link_mark(pod, l->index, NULL, false);
	if (r == 0)
		r = um_link_up(pod, l->index);
	if (r < 0)
		return um_nl_fail(pod, err, r, "set " POD_IFNAME " of pod %s up", uid);
	r = um_link_add_address(pod, l->index, addr, RT_SCOPE_UNIVERSE);
	if (r < 0)
		return um_nl_fail(pod, err, r, "give " POD_IFNAME " of pod %s the address %s", uid,
				  text);
	r = um_link_add_neighbour(pod, l->index, UM_VETH_GATEWAY, host_mac);
	if (r == 0)
		r = um_link_add_route(pod, l->index, 0, 0, UM_VETH_GATEWAY);
	if (r < 0)
		return um_nl_fail(pod, err, r, "add the default route of pod %s", uid);
	return 0;
}

/* The kernel lets a link send only some time after both ends came up, in a worker of its own; what
 * is sent before is lost, and a lost SYN costs a second. Waits for that, a second at
 * most; a link that is later still is a link. */
static void wait_running(struct um_nl *n, int index)
{
	struct um_link l;

	for (long us = 50; us < 500000; us *= 2) {
		if (um_link_get(n, NULL, index, &l) < 0 || l.running)
			return;
		usleep((useconds_t)us);
	}
}

/* Looks whether eth0 in the pod is the other end of @l; 1 when it is, 0 when there is no eth0. */
static int is_peer(struct um_nl *pod, const struct um_link *l, const char *uid, struct um_link *ret,
		   struct um_error *err)
{
	int r = um_link_get(pod, POD_IFNAME, 0, ret);

	if (r == -ENODEV)
		return 0;
	if (r < 0)
		return um_nl_fail(pod, err, r, "look for " POD_IFNAME " of pod %s", uid);
	if (!l->index || !ret->veth || ret->peer_index != l->index || l->peer_index != ret->index)
		return um_error_set(err, -EEXIST,
				    "the network namespace of pod %s has another " POD_IFNAME, uid);
	return 1;
}

int um_veth_make(struct um_nl *host, struct um_nl *pod, int netns_fd, const char *uid,
		 uint32_t addr, int mtu, struct um_error *err)
{
	struct um_link l, eth0;
	char name[IFNAMSIZ];
	int r;

	um_veth_name(uid, name);
	r = find(host, uid, name, &l, err);
	if (r < 0)
		return r;
	r = is_peer(pod, &l, uid, &eth0, err);
	if (r == 0 && l.index) { /* it leads to another namespace, one that is gone */
		r = um_link_delete(host, l.index);
		if (r < 0 && r != -ENODEV)
			return um_nl_fail(host, err, r, "remove the old link %s of pod %s", name,
					  uid);
		r = 0;
	}
	if (r == 0) {
		r = make_pair(host, netns_fd, uid, name, addr, mtu, &l, err);
		if (r == 0)
			r = is_peer(pod, &l, uid, &eth0, err);
	}
	if (r < 0)
		return r;
	r = configure_host(host, &l, uid, addr, err);
	if (r == 0)
		r = configure_pod(pod, &eth0, uid, addr, err);
	if (r < 0)
		return r;
	UM_FAULT("netns.configured");
	wait_running(host, l.index);
	wait_running(pod, eth0.index);
	return 0;
}

/* The link that has the name of @uid: 1 and *ret, or 0 where there is none, or it is no veth. */
static int look(struct um_nl *host, const char *uid, struct um_link *ret, struct um_error *err)
{
	char name[IFNAMSIZ];
	int r;

	um_veth_name(uid, name);
	r = um_link_get(host, name, 0, ret);
	if (r < 0 && r != -ENODEV)
		return um_nl_fail(host, err, r, "look for link %s of pod %s", name, uid);
	return r == 0 && ret->veth;
}

int um_veth_remove(struct um_nl *host, const char *uid, struct um_error *err)
{
	struct um_link l;
	int r = look(host, uid, &l, err);

	if (r <= 0 || (l.alias[0] && strcmp(l.alias, uid) != 0))
		return r < 0 ? r : 0;
	r = um_link_delete(host, l.index);
	if (r < 0 && r != -ENODEV)
		return um_nl_fail(host, err, r, "remove link %s of pod %s", l.name, uid);
	return 0;
}

int um_veth_let_go(struct um_nl *host, const char *uid, uint32_t addr, struct um_error *err)
{
	struct um_link l;
	int r = look(host, uid, &l, err);

	if (r <= 0 || strcmp(l.alias, uid) != 0)
		return r < 0 ? r : 0;
	r = um_link_delete_route(host, l.index, addr, 32);
	if (r == 0)
		r = um_link_alias(host, l.index, GONE);
	if (r < 0 && r != -ENODEV)
		return um_nl_fail(host, err, r, "let go of link %s of pod %s", l.name, uid);
	return 0;
}

typedef UM_VEC(int) index_vec;

static void index_vec_release(index_vec *v)
{
	um_vec_release(v);
}

static int add_gone(void *arg, const struct um_link *l)
{
	index_vec *v = arg;

	return l->veth && strcmp(l->alias, GONE) == 0 ? um_vec_push(v, l->index) : 0;
}

int um_veth_remove_gone(struct um_nl *host, struct um_error *err)
{
	_cleanup_(index_vec_release) index_vec v = UM_VEC_INIT;
	int r = um_link_each(host, add_gone, &v);

	um_vec_foreach (i, &v) {
		if (r < 0)
			break;
		r = um_link_delete(host, *i);
		r = r == -ENODEV ? 0 : r;
	}
	return r < 0 ? um_nl_fail(host, err, r, "remove the links that were let go") : 0;
}
