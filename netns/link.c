#include "netns/link.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <netlink/cache.h>
#include <netlink/route/link.h>

static void fill(struct um_link *ret, struct rtnl_link *l)
{
	const char *alias = rtnl_link_get_ifalias(l), *type = rtnl_link_get_type(l);

	*ret = (struct um_link){
		.index = rtnl_link_get_ifindex(l),
		.peer_index = rtnl_link_get_link(l),
		.mtu = rtnl_link_get_mtu(l),
		.veth = type && strcmp(type, "veth") == 0,
		.running = rtnl_link_get_operstate(l) == IF_OPER_UP,
	};
	snprintf(ret->name, sizeof(ret->name), "%s",
		 rtnl_link_get_name(l) ? rtnl_link_get_name(l) : "");
	snprintf(ret->alias, sizeof(ret->alias), "%s", alias ? alias : "");
}

int um_link_get(struct um_nl *n, const char *name, int index, struct um_link *ret)
{
	struct rtnl_link *l = NULL;
	int r;

	n->error = 0;
	n->why[0] = '\0';
	r = rtnl_link_get_kernel(n->sock, index, name, &l);
	if (r < 0)
		return r == -NLE_OBJ_NOTFOUND ? -ENODEV : um_nl_errno(n, r);
	fill(ret, l);
	rtnl_link_put(l);
	return 0;
}

int um_link_each(struct um_nl *n, int (*fn)(void *arg, const struct um_link *l), void *arg)
{
	struct nl_cache *cache;
	int r;

	n->error = 0;
	n->why[0] = '\0';
	r = rtnl_link_alloc_cache(n->sock, AF_UNSPEC, &cache);
	if (r < 0)
		return um_nl_errno(n, r);
	for (struct nl_object *o = nl_cache_get_first(cache); o && r >= 0;
	     o = nl_cache_get_next(o)) {
		struct um_link l;

		fill(&l, (struct rtnl_link *)o);
		r = fn(arg, &l);
	}
	nl_cache_free(cache);
	return r < 0 ? r : 0;
}

/* Sends @m unless a part of it found no room. */
static int finish(struct um_nl *n, struct nl_msg *m, int put_failed)
{
	return um_nl_do(n, put_failed ? NULL : m);
}

int um_link_add_veth(struct um_nl *n, const struct um_veth_pair *p)
{
	struct ifinfomsg head = {.ifi_family = AF_UNSPEC};
	_cleanup_msg_ struct nl_msg *m =
		um_nl_msg(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof(head));
	struct nlattr *info, *data, *peer;
	int bad;

	if (!m)
		return -ENOMEM;
	bad = nla_put_string(m, IFLA_IFNAME, p->name);
	bad |= nla_put_u32(m, IFLA_MTU, (uint32_t)p->mtu);
	bad |= nla_put(m, IFLA_ADDRESS, UM_MAC_LEN, p->mac);
	info = nla_nest_start(m, IFLA_LINKINFO);
	bad |= nla_put_string(m, IFLA_INFO_KIND, "veth");
	data = info ? nla_nest_start(m, IFLA_INFO_DATA) : NULL;
	peer = data ? nla_nest_start(m, VETH_INFO_PEER) : NULL;
	if (!peer || nlmsg_append(m, &head, sizeof(head), NLMSG_ALIGNTO) < 0)
		return -ENOMEM;
	bad |= nla_put_string(m, IFLA_IFNAME, p->peer_name);
	bad |= nla_put_u32(m, IFLA_MTU, (uint32_t)p->mtu);
	bad |= nla_put(m, IFLA_ADDRESS, UM_MAC_LEN, p->peer_mac);
	bad |= nla_put_u32(m, IFLA_NET_NS_FD, (uint32_t)p->peer_netns_fd);
	nla_nest_end(m, peer);
	nla_nest_end(m, data);
	nla_nest_end(m, info);
	return finish(n, m, bad);
}

int um_link_alias(struct um_nl *n, int index, const char *alias)
{
	struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = index};
	_cleanup_msg_ struct nl_msg *m = um_nl_msg(RTM_SETLINK, 0, &head, sizeof(head));

	if (!m)
		return -ENOMEM;
	return finish(n, m, nla_put_string(m, IFLA_IFALIAS, alias));
}

/* rp_filter = 1 on the link, and route_localnet: a Service may lead to 127.0.0.1. */
static int configure_ipv4(struct um_nl *n, int index)
{
	struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = index};
	_cleanup_msg_ struct nl_msg *m = um_nl_msg(RTM_SETLINK, 0, &head, sizeof(head));
	struct nlattr *spec = m ? nla_nest_start(m, IFLA_AF_SPEC) : NULL;
	struct nlattr *inet = spec ? nla_nest_start(m, AF_INET) : NULL;
	struct nlattr *conf = inet ? nla_nest_start(m, IFLA_INET_CONF) : NULL;
	int bad;

	if (!conf)
		return -ENOMEM;
	bad = nla_put_u32(m, IPV4_DEVCONF_RP_FILTER, 1);
	bad |= nla_put_u32(m, IPV4_DEVCONF_ROUTE_LOCALNET, 1);
	nla_nest_end(m, conf);
	nla_nest_end(m, inet);
	nla_nest_end(m, spec);
	return finish(n, m, bad);
}

static int silence_ipv6(struct um_nl *n, int index)
{
	struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = index};
	_cleanup_msg_ struct nl_msg *m = um_nl_msg(RTM_SETLINK, 0, &head, sizeof(head));
	struct nlattr *spec = m ? nla_nest_start(m, IFLA_AF_SPEC) : NULL;
	struct nlattr *inet6 = spec ? nla_nest_start(m, AF_INET6) : NULL;
	int bad, r;

	if (!inet6)
		return -ENOMEM;
	bad = nla_put_u8(m, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	nla_nest_end(m, inet6);
	nla_nest_end(m, spec);
	r = finish(n, m, bad);
	/* No IPv6 on this machine, or not on links this small: nothing to silence. */
	return r == -EAFNOSUPPORT ? 0 : r;
}

int um_link_mark(struct um_nl *n, int index, const char *alias, bool host_side)
{
	int r = alias ? um_link_alias(n, index, alias) : 0;

	if (r == 0)
		r = silence_ipv6(n, index);
	if (r == 0 && host_side)
		r = configure_ipv4(n, index);
	return r;
}

int um_link_up(struct um_nl *n, int index)
{
	struct ifinfomsg head = {
		.ifi_family = AF_UNSPEC,
		.ifi_index = index,
		.ifi_flags = IFF_UP,
		.ifi_change = IFF_UP,
	};
	_cleanup_msg_ struct nl_msg *m = um_nl_msg(RTM_SETLINK, 0, &head, sizeof(head));

	return um_nl_do(n, m);
}

int um_link_delete(struct um_nl *n, int index)
{
	struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = index};
	_cleanup_msg_ struct nl_msg *m = um_nl_msg(RTM_DELLINK, 0, &head, sizeof(head));

	return um_nl_do(n, m);
}

int um_link_add_address(struct um_nl *n, int index, uint32_t addr, uint8_t scope)
{
	struct ifaddrmsg head = {
		.ifa_family = AF_INET,
		.ifa_prefixlen = 32,
		.ifa_scope = scope,
		.ifa_index = (unsigned)index,
	};
	_cleanup_msg_ struct nl_msg *m =
		um_nl_msg(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &head, sizeof(head));
	uint32_t net = htonl(addr);
	int bad;

	if (!m)
		return -ENOMEM;
	bad = nla_put_u32(m, IFA_LOCAL, net);
	bad |= nla_put_u32(m, IFA_ADDRESS, net);
	bad |= nla_put_u32(m, IFA_FLAGS, IFA_F_NOPREFIXROUTE | IFA_F_PERMANENT);
	return finish(n, m, bad);
}

int um_link_add_neighbour(struct um_nl *n, int index, uint32_t addr, const uint8_t *mac)
{
	struct ndmsg head = {
		.ndm_family = AF_INET,
		.ndm_ifindex = index,
		.ndm_state = NUD_PERMANENT,
		.ndm_type = RTN_UNICAST,
	};
	_cleanup_msg_ struct nl_msg *m =
		um_nl_msg(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &head, sizeof(head));
	int bad;

	if (!m)
		return -ENOMEM;
	bad = nla_put_u32(m, NDA_DST, htonl(addr));
	bad |= nla_put(m, NDA_LLADDR, UM_MAC_LEN, mac);
	return finish(n, m, bad);
}

int um_link_add_route(struct um_nl *n, int index, uint32_t dst, unsigned prefix, uint32_t gateway)
{
	struct rtmsg head = {
		.rtm_family = AF_INET,
		.rtm_dst_len = (unsigned char)prefix,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = UM_ROUTE_PROTOCOL,
		.rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
		.rtm_type = RTN_UNICAST,
		.rtm_flags = gateway ? RTNH_F_ONLINK : 0,
	};
	_cleanup_msg_ struct nl_msg *m =
		um_nl_msg(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &head, sizeof(head));
	int bad = 0;

	if (!m)
		return -ENOMEM;
	if (prefix)
		bad = nla_put_u32(m, RTA_DST, htonl(dst));
	if (gateway)
		bad |= nla_put_u32(m, RTA_GATEWAY, htonl(gateway));
	bad |= nla_put_u32(m, RTA_OIF, (uint32_t)index);
	return finish(n, m, bad);
}

int um_link_delete_route(struct um_nl *n, int index, uint32_t dst, unsigned prefix)
{
	struct rtmsg head = {
		.rtm_family = AF_INET,
		.rtm_dst_len = (unsigned char)prefix,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = UM_ROUTE_PROTOCOL,
		.rtm_scope = RT_SCOPE_NOWHERE,
	};
	_cleanup_msg_ struct nl_msg *m = um_nl_msg(RTM_DELROUTE, 0, &head, sizeof(head));
	int bad, r;

	if (!m)
		return -ENOMEM;
	bad = nla_put_u32(m, RTA_DST, htonl(dst));
	bad |= nla_put_u32(m, RTA_OIF, (uint32_t)index);
	r = finish(n, m, bad);
	return r == -ESRCH ? 0 : r;
}

int um_link_delete_address(struct um_nl *n, int index, uint32_t addr)
{
	struct ifaddrmsg head = {
		.ifa_family = AF_INET,
		.ifa_prefixlen = 32,
		.ifa_index = (unsigned)index,
	};
	_cleanup_msg_ struct nl_msg *m = um_nl_msg(RTM_DELADDR, 0, &head, sizeof(head));
	int bad, r;

	if (!m)
		return -ENOMEM;
	bad = nla_put_u32(m, IFA_LOCAL, htonl(addr));
	r = finish(n, m, bad);
	return r == -EADDRNOTAVAIL ? 0 : r;
}
