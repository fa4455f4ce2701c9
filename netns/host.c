#include "netns/host.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <netlink/route/route.h>

#include "base/io.h"
#include "netns/link.h"

#define FORWARD_PATH "/proc/sys/net/ipv4/ip_forward"

struct route {
	struct um_range dst;
	uint32_t metric;
	unsigned table;
	int type, protocol, ifindex; /* ifindex 0: several or none */
};

static void fill(struct route *ret, struct rtnl_route *r)
{
	struct nl_addr *dst = rtnl_route_get_dst(r);
	struct rtnl_nexthop *nh =
		rtnl_route_get_nnexthops(r) == 1 ? rtnl_route_nexthop_n(r, 0) : NULL;
	uint32_t net = 0;

	if (dst && nl_addr_get_len(dst) == sizeof(net))
		memcpy(&net, nl_addr_get_binary_addr(dst), sizeof(net));
	*ret = (struct route){
		.dst = {ntohl(net), dst ? nl_addr_get_prefixlen(dst) : 0},
		.metric = rtnl_route_get_priority(r),
		.table = rtnl_route_get_table(r),
		.type = rtnl_route_get_type(r),
		.protocol = rtnl_route_get_protocol(r),
		.ifindex = nh ? rtnl_route_nh_get_ifindex(nh) : 0,
	};
}

static int each_route(struct um_nl *nl, int (*fn)(void *arg, const struct route *r), void *arg,
		      struct um_error *err)
{
	struct nl_cache *cache;
	int r;

	nl->error = 0;
	nl->why[0] = '\0';
	r = rtnl_route_alloc_cache(nl->sock, AF_INET, 0, &cache);
	if (r < 0)
		return um_nl_fail(nl, err, um_nl_errno(nl, r), "list the host's routes");
	for (struct nl_object *o = nl_cache_get_first(cache); o && r >= 0;
	     o = nl_cache_get_next(o)) {
		struct route route;

		fill(&route, (struct rtnl_route *)o);
		r = fn(arg, &route);
	}
	nl_cache_free(cache);
	return r < 0 ? r : 0;
}

struct check {
	struct um_nl *nl;
	const char *what;
	const struct um_range *range;
	int lo; /* addresses on this link do not count; 0: all do */
	struct um_error *err;
};

static int check_route(void *arg, const struct route *r)
{
	struct check *c = arg;
	char range[UM_RANGE_TEXT_LEN], dst[UM_RANGE_TEXT_LEN];
	struct um_link l = {.name = "?"};

	if (r->dst.prefix <= 1 || r->protocol == UM_ROUTE_PROTOCOL ||
	    (r->type != RTN_UNICAST && r->type != RTN_LOCAL) ||
	    !um_range_overlaps(&r->dst, c->range) ||
	    (c->lo && r->ifindex == c->lo && r->type == RTN_LOCAL && r->dst.prefix == 32))
		return 0;
	um_range_format(c->range, range);
	um_range_format(&r->dst, dst);
	if (r->ifindex && um_link_get(c->nl, NULL, r->ifindex, &l) < 0)
		snprintf(l.name, sizeof(l.name), "%d", r->ifindex);
	return um_error_set(c->err, -EEXIST,
			    "%s %s overlaps this host's route %s (link %s, table %u)", c->what,
			    range, dst, l.name, r->table);
}

int um_host_check_routes(struct um_nl *nl, const char *what, const struct um_range *range, int lo,
			 struct um_error *err)
{
	struct check c = {nl, what, range, lo, err};

	return each_route(nl, check_route, &c, err);
}

struct wanted {
	const struct um_range *range;
	int ifindex;
	bool found;
};

static int compare_route(void *arg, const struct route *r)
{
	struct wanted *w = arg;

	w->found |= r->protocol == UM_ROUTE_PROTOCOL && r->table == RT_TABLE_MAIN &&
		    r->type == RTN_UNICAST && r->ifindex == w->ifindex &&
		    r->dst.base == w->range->base && r->dst.prefix == w->range->prefix;
	return 0;
}

int um_host_has_route(struct um_nl *nl, const struct um_range *range, int ifindex,
		      struct um_error *err)
{
	struct wanted w = {range, ifindex, false};
	int r = each_route(nl, compare_route, &w, err);

	return r < 0 ? r : w.found;
}

struct visit {
	int (*fn)(void *arg, uint32_t addr, int ifindex);
	void *arg;
};

static int visit_route(void *arg, const struct route *r)
{
	struct visit *v = arg;

	if (r->protocol != UM_ROUTE_PROTOCOL || r->dst.prefix != 32 || !r->ifindex)
		return 0;
	return v->fn(v->arg, r->dst.base, r->ifindex);
}

int um_host_each_pod_route(struct um_nl *nl, int (*fn)(void *arg, uint32_t addr, int ifindex),
			   void *arg, struct um_error *err)
{
	struct visit v = {fn, arg};

	return each_route(nl, visit_route, &v, err);
}

static int best_default(void *arg, const struct route *r)
{
	struct route *best = arg;

	if (r->dst.prefix == 0 && r->table == RT_TABLE_MAIN && r->type == RTN_UNICAST &&
	    r->ifindex && (!best->ifindex || r->metric < best->metric))
		*best = *r;
	return 0;
}

int um_host_mtu(struct um_nl *nl, int *ret, struct um_error *err)
{
	struct route best = {0};
	struct um_link l;
	int r = each_route(nl, best_default, &best, err);

	*ret = 0;
	if (r < 0 || !best.ifindex)
		return r;
	r = um_link_get(nl, NULL, best.ifindex, &l);
	if (r == -ENODEV) /* gone meanwhile */
		return 0;
	if (r < 0)
		return um_nl_fail(nl, err, r, "look at the default route's link");
	*ret = l.mtu > 65535 ? 65535 : (int)l.mtu;
	return 0;
}

/* The flag as a file has it: 0, 1, or -EINVAL. */
static int read_flag(const char *path, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(64);
	int r = um_io_read_file(AT_FDCWD, path, &b, err);

	if (r < 0)
		return r;
	if (b.len < 1 || (b.data[0] != '0' && b.data[0] != '1') || (b.len > 1 && b.data[1] != '\n'))
		return um_error_set(err, -EINVAL, "%s: neither 0 nor 1", path);
	return b.data[0] - '0';
}

static int kept_path(const char *state_dir, char path[4096], struct um_error *err)
{
	int r = um_io_path(path, 4096, "%s/ip_forward.before", state_dir);

	return r < 0 ? um_error_errno(err, r, "%s", state_dir) : 0;
}

int um_host_forward(const char *state_dir, bool *ret_changed, struct um_error *err)
{
	char path[4096];
	int r = kept_path(state_dir, path, err), was = 0;

	if (r == 0)
		r = was = read_flag(FORWARD_PATH, err);
	if (r < 0)
		return r;
	if (access(path, F_OK) < 0)
		r = um_io_replace_file(AT_FDCWD, path, was ? "1\n" : "0\n", 2, 0600, UM_IO_NO_SYNC,
				       err);
	else
		r = 0;
	if (r == 0 && !was) {
		r = um_io_write_value(AT_FDCWD, FORWARD_PATH, "1");
		if (r < 0)
			return um_error_errno(err, r, "turn on net.ipv4.ip_forward");
	}
	if (r == 0)
		*ret_changed = !was;
	return r;
}

int um_host_unforward(const char *state_dir, struct um_error *err)
{
	struct um_error ignored = UM_ERROR_INIT;
	char path[4096];
	int r = kept_path(state_dir, path, err), was;

	if (r < 0)
		return r;
	was = read_flag(path, &ignored);
	/* Where nothing legible is kept, forwarding stays as it is. */
	if (was == 0) {
		r = um_io_write_value(AT_FDCWD, FORWARD_PATH, "0");
		if (r < 0)
			return um_error_errno(err, r, "restore net.ipv4.ip_forward");
	}
	if (unlink(path) < 0 && errno != ENOENT)
		return um_error_errno(err, -errno, "remove %s", path);
	return 0;
}
