#include "netns/ctr_net.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"
#include "base/vec.h"
#include "netns/foreign.h"
#include "netns/host.h"
#include "netns/ipam.h"
#include "netns/nft.h"
#include "netns/rules.h"
#include "netns/veth.h"

#define TABLE "umiak_ctr"
#define TABLE_MAX 40
#define DEFAULT_RANGE "10.245.0.0/16" /* its table has the short name */
#define OWNER_MAX 120		      /* a comment of nft(8) has less than 128 bytes */
#define COMMENT_TYPE 0		      /* of the attributes that nft keeps with a table */
#define DEFAULT_MTU 1500
#define RULES_MAX (4u << 20)

int um_ctr_net_lock(const struct um_ctr_net *n, struct um_error *err)
{
	_cleanup_close_ int fd = -1;
	char path[4096];
	int r = um_io_mkdirs(AT_FDCWD, n->state_dir, 0700, err);

	if (r == 0 && um_io_path(path, sizeof(path), "%s/lock", n->state_dir) < 0)
		r = um_error_errno(err, -ENAMETOOLONG, "%s/lock", n->state_dir);
	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return um_error_errno(err, -errno, "open %s", path);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return um_error_errno(err, -errno, "lock %s", path);
	return TAKE_FD(fd);
}

struct parts {
	struct um_range range;
	struct um_ipam *ipam;
	struct um_nl *route;
};

static void parts_close(struct parts *p)
{
	um_ipam_close(p->ipam);
	um_nl_close(p->route);
}

static int parts_open(const struct um_ctr_net *n, struct parts *p, struct um_error *err)
{
	int r = um_range_parse("container range", n->range, &p->range, err);

	if (r == 0)
		r = um_ipam_open(n->state_dir, &p->range, &p->ipam, err);
	if (r == 0)
		r = um_nl_open(NETLINK_ROUTE, &p->route, err);
	return r;
}

#define _cleanup_parts_ _cleanup_(parts_close)

static int allow_loopback(const char *ifname, struct um_error *err)
{
	char path[100];
	int r;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/route_localnet", ifname);
	r = um_io_write_value(AT_FDCWD, path, "1");
	return r < 0 ? um_error_errno(err, r, "write %s", path) : 0;
}

static int attach(struct parts *p, const char *uid, int netns_fd, uint32_t *ret_addr,
		  struct um_error *err)
{
	_cleanup_(um_nl_closep) struct um_nl *inside = NULL;
	int mtu = 0, r = um_ipam_give(p->ipam, uid, ret_addr, err);

	if (r < 0)
		return r;
	UM_FAULT("ctr-net.address-given");
	r = um_host_mtu(p->route, &mtu, err);
	if (r == 0)
		r = um_nl_open_in(netns_fd, NETLINK_ROUTE, &inside, err);
	if (r < 0)
		return r;
	return um_veth_make(p->route, inside, netns_fd, uid, *ret_addr,
			    mtu < 576 ? DEFAULT_MTU : mtu, err);
}

int um_ctr_net_attach(const struct um_ctr_net *n, const char *uid, int netns_fd, bool ports,
		      struct um_net_pod *ret, struct um_error *err)
{
	_cleanup_parts_ struct parts p = {0};
	struct um_error ignored = UM_ERROR_INIT;
	uint32_t addr;
	int r = parts_open(n, &p, err);

	if (r < 0)
		return r;
	r = attach(&p, uid, netns_fd, &addr, err);
	um_veth_name(uid, ret->host_ifname);
	if (r == 0 && ports)
		r = allow_loopback(ret->host_ifname, err);
	if (r < 0) {
		if (um_veth_remove(p.route, uid, &ignored) == 0)
			(void)!um_ipam_release(p.ipam, uid, &ignored);
		return r;
	}
	ret->addr.s_addr = htonl(addr);
	um_range_format_addr(addr, ret->addr_text);
	return 0;
}

static int detach(struct parts *p, const char *uid, struct um_error *err)
{
	int r = um_veth_remove(p->route, uid, err);

	return r < 0 ? r : um_ipam_release(p->ipam, uid, err);
}

int um_ctr_net_detach(const struct um_ctr_net *n, const char *uid, struct um_error *err)
{
	_cleanup_parts_ struct parts p = {0};
	int r = parts_open(n, &p, err);

	return r < 0 ? r : detach(&p, uid, err);
}

int um_ctr_net_let_go(const struct um_ctr_net *n, const char *uid, struct um_error *err)
{
	_cleanup_parts_ struct parts p = {0};
	uint32_t addr;
	int r = parts_open(n, &p, err);

	if (r < 0)
		return r;
	if (!um_ipam_find(p.ipam, uid, &addr))
		return detach(&p, uid, err);
	r = um_veth_let_go(p.route, uid, addr, err);
	return r < 0 ? r : um_ipam_release(p.ipam, uid, err);
}

struct uid {
	char text[UM_IPAM_UID_MAX + 1];
};
typedef UM_VEC(struct uid) uid_vec;

static void uid_vec_release(uid_vec *v)
{
	um_vec_release(v);
}

static int add_uid(void *arg, const char *uid)
{
	uid_vec *v = arg;
	struct uid u;

	snprintf(u.text, sizeof(u.text), "%s", uid);
	return um_vec_push(v, u);
}

int um_ctr_net_sweep(const struct um_ctr_net *n, bool (*keep)(void *arg, const char *uid),
		     void *arg, struct um_error *err)
{
	_cleanup_(uid_vec_release) uid_vec v = UM_VEC_INIT;
	_cleanup_parts_ struct parts p = {0};
	int r = parts_open(n, &p, err);

	if (r == 0 && um_ipam_each(p.ipam, add_uid, &v) < 0)
		r = um_error_errno(err, -ENOMEM, "list the containers' addresses");
	um_vec_foreach (u, &v) {
		if (r == 0 && !keep(arg, u->text))
			r = detach(&p, u->text, err);
	}
	return r < 0 ? r : um_veth_remove_gone(p.route, err);
}

/* ---- rules ---- */

/* Each range has a table of its own, so that several trees of folders can be on one machine; its
 * comment says whose it is. */
static void table_name(const struct um_range *range, char buf[TABLE_MAX])
{
	char text[UM_RANGE_TEXT_LEN];

	um_range_format(range, text);
	if (!strcmp(text, DEFAULT_RANGE)) {
		strcpy(buf, TABLE);
		return;
	}
	for (char *p = text; *p; p++)
		if (*p == '.' || *p == '/')
			*p = '_';
	snprintf(buf, TABLE_MAX, TABLE "_%s", text);
}

/* The end of a path that is too long, without its slash. */
static void owner_name(const char *state_dir, char buf[OWNER_MAX + 1])
{
	size_t len = strlen(state_dir);

	snprintf(buf, OWNER_MAX + 1, "%s", state_dir + (len > OWNER_MAX ? len - OWNER_MAX : 0));
	if (len > OWNER_MAX)
		buf[0] = '~';
}

static bool range_of_table(const char *name, struct um_range *ret)
{
	char text[UM_RANGE_TEXT_LEN];
	unsigned a, b, c, d, prefix;
	int end = 0;

	if (!strcmp(name, TABLE))
		snprintf(text, sizeof(text), DEFAULT_RANGE);
	else if (sscanf(name, TABLE "_%3u_%3u_%3u_%3u_%2u%n", &a, &b, &c, &d, &prefix, &end) == 5 &&
		 !name[end])
		snprintf(text, sizeof(text), "%u.%u.%u.%u/%u", a, b, c, d, prefix);
	else
		return false;
	return um_range_parse("table", text, ret, NULL) == 0;
}

struct look {
	struct um_range range;
	char table[TABLE_MAX], owner[OWNER_MAX + 1];
	bool there;
	char other[256]; /* who has addresses of the range */
};

/* The comment that nft(8) keeps with a table; "" if there is none. */
static void read_comment(const struct nlattr *userdata, char buf[256])
{
	const uint8_t *p = userdata ? mnl_attr_get_payload(userdata) : NULL;
	size_t len = userdata ? mnl_attr_get_payload_len(userdata) : 0;

	buf[0] = '\0';
	while (len >= 2 && (size_t)p[1] + 2 <= len) {
		if (p[0] == COMMENT_TYPE) {
			snprintf(buf, 256, "%.*s", (int)p[1], (const char *)p + 2);
			return;
		}
		len -= 2u + p[1];
		p += 2 + p[1];
	}
}

static int on_table(void *arg, const struct nlmsghdr *h)
{
	const struct nlattr *a[NFTA_TABLE_MAX + 1] = {NULL};
	struct look *l = arg;
	char owner[256], name[TABLE_MAX];
	struct um_range range;

	if (um_nft_attrs(h, sizeof(struct nfgenmsg), a, NFTA_TABLE_MAX) < 0 || !a[NFTA_TABLE_NAME])
		return 0;
	snprintf(name, sizeof(name), "%.*s", (int)mnl_attr_get_payload_len(a[NFTA_TABLE_NAME]),
		 mnl_attr_get_str(a[NFTA_TABLE_NAME]));
	if (!range_of_table(name, &range) || !um_range_overlaps(&range, &l->range))
		return 0;
	read_comment(a[NFTA_TABLE_USERDATA], owner);
	if (!strcmp(name, l->table) && (!*owner || !strcmp(owner, l->owner)))
		l->there = true;
	else if (*owner && strcmp(owner, l->owner) != 0 &&
		 (*owner != '/' || access(owner, F_OK) == 0)) /* else nobody is left there */
		memcpy(l->other, owner, sizeof(l->other));
	return 0;
}

int um_ctr_net_ready(const struct um_ctr_net *n, bool *ret, struct um_error *err)
{
	_cleanup_(um_nft_closep) struct um_nft *nft = NULL;
	struct look l;
	int r = um_range_parse("container range", n->range, &l.range, err);

	if (r == 0)
		r = um_nft_open(&nft, err);
	if (r < 0)
		return r;
	table_name(&l.range, l.table);
	owner_name(n->state_dir, l.owner);
	do {
		l.there = false;
		l.other[0] = '\0';
		r = um_nft_dump(nft, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE, NFPROTO_INET,
				NULL, on_table, &l);
	} while (r == -EINTR);
	if (r < 0)
		return um_error_errno(err, r, "list the tables of nftables");
	if (*l.other)
		return um_error_set(err, -EADDRINUSE,
				    "container range %s: containers of another folder, %s, have "
				    "addresses of it: give --container-range another one",
				    n->range, l.other);
	*ret = l.there;
	return 0;
}

static void add_ports(struct um_buf *b, const struct um_ctr_port *ports, size_t n, bool any)
{
	const char *before = "\t\telements = { ";

	um_buf_addf(b, "\tmap %s {\n", any ? "ports" : "ports_at");
	um_buf_addf(b, "\t\ttype inet_proto . %sinet_service : ", any ? "" : "ipv4_addr . ");
	um_buf_adds(b, "ipv4_addr . inet_service\n");
	for (size_t i = 0; i < n; i++) {
		char host[INET_ADDRSTRLEN], addr[INET_ADDRSTRLEN];

		if ((ports[i].host.s_addr == INADDR_ANY) != any)
			continue;
		inet_ntop(AF_INET, &ports[i].host, host, sizeof(host));
		inet_ntop(AF_INET, &ports[i].addr, addr, sizeof(addr));
		um_buf_addf(b, "%s%s . ", before, ports[i].udp ? "udp" : "tcp");
		if (!any)
			um_buf_addf(b, "%s . ", host);
		um_buf_addf(b, "%u : %s . %u", ports[i].host_port, addr, ports[i].port);
		before = ", ";
	}
	um_buf_adds(b, *before == ',' ? " }\n\t}\n" : "\t}\n");
}

/* %1$s: the containers' range; %2$s: the gateway that each has. What a container sends to itself or
 * another by a published port, or this host by 127.0.0.1, comes from the gateway: the answer then
 * goes the same way back. */
static const char rules[] =
	"	chain loopback {\n"
	"		type filter hook prerouting priority mangle; policy accept;\n"
	"		iifname \"um*\" ip daddr 127.0.0.0/8 drop\n"
	"	}\n"
	"	chain prerouting {\n"
	"		type nat hook prerouting priority dstnat; policy accept;\n"
	"		dnat ip to meta l4proto . ip daddr . th dport map @ports_at\n"
	"		fib daddr type local dnat ip to meta l4proto . th dport map @ports\n"
	"	}\n"
	"	chain output {\n"
	"		type nat hook output priority -100; policy accept;\n"
	"		dnat ip to meta l4proto . ip daddr . th dport map @ports_at\n"
	"		fib daddr type local dnat ip to meta l4proto . th dport map @ports\n"
	"	}\n"
	"	chain postrouting {\n"
	"		type nat hook postrouting priority srcnat; policy accept;\n"
	"		ct status dnat ip saddr { 127.0.0.0/8, %1$s } ip daddr %1$s "
	"snat ip to %2$s fully-random\n"
	"		ip saddr %1$s ip daddr != { %1$s, 224.0.0.0/4 } masquerade fully-random\n"
	"	}\n"
	"	chain forward {\n"
	"		type filter hook forward priority filter; policy accept;\n"
	"		ip saddr %1$s accept\n"
	"		ip daddr %1$s accept\n"
	"	}\n"
	"}\n";

int um_ctr_net_load(const struct um_ctr_net *n, const struct um_ctr_port *ports, size_t n_ports,
		    struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(RULES_MAX);
	_cleanup_parts_ struct parts p = {0};
	char range[UM_RANGE_TEXT_LEN], gateway[INET_ADDRSTRLEN];
	char table[TABLE_MAX], owner[OWNER_MAX + 1];
	struct um_foreign foreign;
	bool changed;
	int r = parts_open(n, &p, err);

	if (r == 0)
		r = um_host_check_routes(p.route, "container range", &p.range, 0, err);
	if (r == 0)
		r = um_host_forward(n->state_dir, &changed, err);
	if (r < 0)
		return r;
	um_range_format(&p.range, range);
	um_range_format_addr(UM_VETH_GATEWAY, gateway);
	table_name(&p.range, table);
	owner_name(n->state_dir, owner);
	um_buf_addf(&b, "add table inet %1$s\ndelete table inet %1$s\ntable inet %1$s {\n", table);
	um_buf_addf(&b, "\tcomment \"%s\"\n", owner);
	add_ports(&b, ports, n_ports, true);
	add_ports(&b, ports, n_ports, false);
	um_buf_addf(&b, rules, range, gateway);
	if (um_buf_error(&b))
		return um_error_errno(err, um_buf_error(&b), "load table inet %s", table);
	r = um_rules_run(um_buf_str(&b), err);
	if (r < 0)
		return um_error_wrap(err, r, "load table inet %s", table);
	/* A foreign firewall's report has no reader here; the rules it leaves a place for are made.
	 */
	return um_foreign_check(range, &foreign, err);
}
