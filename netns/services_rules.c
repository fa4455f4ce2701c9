/* The static part of the table: what nft(8) loads, and how it is known again. The chains of classes
 * are added in services_chains.c.
 *
 * After each load a chain `seal_<hash>` is added, whose name is the hash of all that the kernel
 * tells of the table but elements, and of the text that was loaded. An agent that starts finds the
 * seal true and leaves the table alone; whatever was changed meanwhile, its own text included,
 * breaks it. */
#include <inttypes.h>
#include <netinet/in.h> /* before the kernel's own */

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "base/num.h"
#include "netns/rules.h"
#include "netns/services_priv.h"
#include "netns/veth.h"

#define TABLE "inet " UM_SVC_TABLE
#define TEXT_MAX (8u << 20)
#define HASH_START UINT64_C(0xcbf29ce484222325)
/* Somebody else's transactions come in between at most this often in a row. */
#define TRIES 20

/* The key types are those of um_svc_sets[]. */
static const char sets_text[] =
	"	map services { typeof ip daddr . meta l4proto . th dport : meta priority; }\n"
	"	map node_ports { typeof meta l4proto . th dport : meta priority; }\n"
	"	map endpoints { typeof ip daddr . meta l4proto . th dport . "
	"meta priority : ip daddr . th dport; }\n"
	"	map node_endpoints { typeof meta l4proto . th dport . "
	"meta priority : ip daddr . th dport; }\n"
	"	map sticky { typeof ip daddr . meta l4proto . th dport : meta priority; }\n"
	"	map node_sticky { typeof meta l4proto . th dport : meta priority; }\n"
	"	set node_tcp { type inet_service; }\n"
	"	set node_udp { type inet_service; }\n"
	"	set hairpin { typeof ip saddr . ip daddr; }\n"
	"	map affinity { typeof ip saddr . ct original ip daddr . meta l4proto . "
	"ct original proto-dst : ip daddr . th dport; flags dynamic, timeout; "
	"size 65536; timeout 3h; }\n"
	"	map picks { typeof meta priority : verdict; }\n"
	"	map remembers { typeof meta priority : verdict; }\n";

/* %1$s: the Service range; %2$s: the pods'; %3$s: "ip daddr != <node's pods> " or nothing;
 * %4$u, %5$u: node ports; %6$s: the pods' gateway; %7$s, %8$s, %9$s: what concerns the
 * local address. Pods' links pass on what is for 127.0.0.0/8: only Services may use that,
 * and answers to what the host itself has sent (a port of `umiak ctr`, asked at 127.0.0.1).
 * `dispatch` sees the first packet of each connection, from others and from this host; `remember`
 * sees the same packet with its new destination. */
static const char rules_text[] =
	"	chain dispatch {\n"
	"%7$s"
	"		ip daddr %1$s meta priority set ip daddr . meta l4proto . th dport map "
	"@services "
	"meta priority vmap @picks\n"
	"		th dport %4$u-%5$u ip daddr != 127.0.0.0/8 fib daddr type local meta "
	"priority set "
	"meta l4proto . th dport map @node_ports meta priority vmap @picks\n"
	"	}\n"
	"	chain connect {\n"
	"		dnat ip to ip daddr . meta l4proto . th dport . meta priority map "
	"@endpoints\n"
	"		meta priority set none "
	"dnat ip to ip daddr . meta l4proto . th dport . meta priority map @endpoints\n"
	"	}\n"
	"	chain node_connect {\n"
	"		dnat ip to meta l4proto . th dport . meta priority map @node_endpoints\n"
	"		meta priority set none "
	"dnat ip to meta l4proto . th dport . meta priority map @node_endpoints\n"
	"	}\n"
	"	chain remember {\n"
	"		meta priority vmap @remembers\n"
	"		meta priority set none\n"
	"	}\n"
	"	chain refuse {\n"
	"		meta l4proto tcp reject with tcp reset\n"
	"		reject with icmp port-unreachable\n"
	"	}\n"
	"	chain nat_prerouting {\n"
	"		type nat hook prerouting priority -100; policy accept;\n"
	"		goto dispatch\n"
	"	}\n"
	"	chain nat_output {\n"
	"		type nat hook output priority -100; policy accept;\n"
	"		goto dispatch\n"
	"	}\n"
	"	chain prerouting {\n"
	"		type filter hook prerouting priority -90; policy accept;\n"
	"		iifname \"um*\" ip saddr 127.0.0.0/8 drop\n"
	"		iifname \"um*\" ip daddr 127.0.0.0/8 ct direction original "
	"ct original ip daddr != %1$s drop\n"
	"		iifname \"um*\" ip daddr 127.0.0.0/8 ct status ! dnat drop\n"
	"%8$s"
	"		ip daddr %1$s goto refuse\n"
	"		ct state new ct status dnat goto remember\n"
	"	}\n"
	"	chain output {\n"
	"		type filter hook output priority -90; policy accept;\n"
	"%9$s"
	"		ip daddr %1$s goto refuse\n"
	"		ct state new ct status dnat goto remember\n"
	"	}\n"
	"	chain input {\n"
	"		type filter hook input priority -10; policy accept;\n"
	"		ct state new ct status ! dnat ip daddr != 127.0.0.0/8 tcp dport @node_tcp "
	"goto refuse\n"
	"		ct state new ct status ! dnat ip daddr != 127.0.0.0/8 udp dport @node_udp "
	"goto refuse\n"
	"	}\n"
	"	chain nat_postrouting {\n"
	"		type nat hook postrouting priority 100; policy accept;\n"
	"		ct status ! dnat accept\n"
	"		ip saddr . ip daddr @hairpin snat ip to %6$s fully-random\n"
	"		oifname \"lo\" accept\n"
	"		ct original ip daddr %1$s ip saddr != %2$s %3$smasquerade fully-random\n"
	"		ct original ip daddr != %1$s %3$smeta l4proto tcp ct original proto-dst "
	"@node_tcp "
	"masquerade fully-random\n"
	"		ct original ip daddr != %1$s %3$smeta l4proto udp ct original proto-dst "
	"@node_udp "
	"masquerade fully-random\n"
	"	}\n";

static const char *const chains[] = {
	"dispatch",   "connect",    "node_connect", "remember", "refuse", "nat_prerouting",
	"nat_output", "prerouting", "output",	    "forward",	"input",  "nat_postrouting",
};

/* ---- text ---- */

static uint64_t mix(uint64_t h, const void *data, size_t len)
{
	for (const uint8_t *p = data; len > 0; p++, len--)
		h = (h ^ *p) * UINT64_C(0x100000001b3);
	return h;
}

static uint64_t mix_text(uint64_t h, const char *s)
{
	return mix(h, s, strlen(s) + 1);
}

/* A table of the same layout can be loaded over: its elements stay. */
static void layout_name(char name[40])
{
	snprintf(name, 40, "layout_%016" PRIx64, mix_text(HASH_START, sets_text));
}

/* What it takes that one address of the range is the host's: no node port answers there, and port
 * 53 is open to pods and to the host. */
struct local_text {
	char dispatch[100], prerouting[300], output[300];
};

static void local_rules(const struct um_services *s, struct local_text *t)
{
	char addr[INET_ADDRSTRLEN], pods[UM_RANGE_TEXT_LEN];

	memset(t, 0, sizeof(*t));
	if (!s->local)
		return;
	um_range_format_addr(s->local, addr);
	um_range_format(&s->pods, pods);
	snprintf(t->dispatch, sizeof(t->dispatch), "		ip daddr %s return\n", addr);
	snprintf(t->prerouting, sizeof(t->prerouting),
		 "		ip daddr %s iifname \"lo\" accept\n"
		 "		ip daddr %s ip saddr %s meta l4proto { tcp, udp } th dport 53 "
		 "accept\n",
		 addr, addr, pods);
	snprintf(t->output, sizeof(t->output),
		 "		ip daddr %s ct state { established, related } accept\n"
		 "		ip daddr %s meta l4proto { tcp, udp } th dport 53 accept\n",
		 addr, addr);
}

static void put_base(const struct um_services *s, struct um_buf *b)
{
	char range[UM_RANGE_TEXT_LEN], pods[UM_RANGE_TEXT_LEN], node[UM_RANGE_TEXT_LEN];
	char remote[UM_RANGE_TEXT_LEN + 16] = "", layout[40], gateway[INET_ADDRSTRLEN];
	struct local_text local;

	um_range_format_addr(UM_VETH_GATEWAY, gateway);
	um_range_format(&s->services, range);
	um_range_format(&s->pods, pods);
	um_range_format(&s->node, node);
	if (s->node.prefix)
		snprintf(remote, sizeof(remote), "ip daddr != %s ", node);
	layout_name(layout);
	local_rules(s, &local);
	um_buf_adds(b, sets_text);
	um_buf_addf(b, rules_text, range, pods, remote, (unsigned)s->node_min,
		    (unsigned)s->node_max, gateway, local.dispatch, local.prerouting, local.output);
	um_buf_addf(b, "	chain %s {\n	}\n", layout);
}

/* ---- reading ---- */

struct reading {
	struct um_services *s;
	struct um_svc_static st;
	bool layout, foreign;
	char layout_name[40];
	char rule_chain[64]; /* of the rule before */
	uint32_t rule_index;
	int map; /* which verdict map is read */
};

static const char *text_of(const struct nlattr *a)
{
	const char *t = a ? mnl_attr_get_payload(a) : NULL;

	return t && memchr(t, '\0', mnl_attr_get_payload_len(a)) ? t : "";
}

static uint64_t mix_attr(uint64_t h, const struct nlattr *a)
{
	uint16_t len = a ? mnl_attr_get_payload_len(a) : 0;

	h = mix(h, &len, sizeof(len));
	return a ? mix(h, mnl_attr_get_payload(a), len) : h;
}

static int note_chain(struct reading *rd, const char *name)
{
	const char *number = strrchr(name, '_');
	uint64_t n;

	for (size_t i = 0; i < UM_ARRAY_LEN(chains); i++)
		if (strcmp(name, chains[i]) == 0)
			return 0;
	if (strcmp(name, rd->layout_name) == 0) {
		rd->layout = true;
		return 0;
	}
	if (number && um_num_u64(number + 1, UM_SERVICE_AFFINITY_MAX, &n) == 0 && n > 0) {
		size_t len = (size_t)(number - name);

		if (len == 8 && memcmp(name, "remember", 8) == 0)
			return um_vec_push(&rd->s->times, (unsigned)n);
		for (unsigned k = 0; k < UM_SVC_KINDS; k++) {
			if (strlen(um_svc_kinds[k]) != len ||
			    memcmp(name, um_svc_kinds[k], len) != 0 || n > UM_SERVICE_ENDPOINTS_MAX)
				continue;
			um_svc_add_class(rd->s, UM_SVC_CLASS(k, n));
			return 0;
		}
	}
	rd->foreign = true;
	return 0;
}

static int on_chain(void *arg, const struct nlmsghdr *h)
{
	const struct nlattr *a[NFTA_CHAIN_MAX + 1];
	struct reading *rd = arg;
	uint64_t hash = HASH_START;
	const char *name;
	int r = um_nft_attrs(h, sizeof(struct nfgenmsg), a, NFTA_CHAIN_MAX);

	if (r < 0 || strcmp(text_of(a[NFTA_CHAIN_TABLE]), UM_SVC_TABLE) != 0)
		return r;
	name = text_of(a[NFTA_CHAIN_NAME]);
	if (strncmp(name, "seal_", 5) == 0 && strlen(name) < sizeof(rd->st.seal)) {
		/* Two of them: none is right. */
		rd->foreign |= rd->st.seal[0] != '\0';
		snprintf(rd->st.seal, sizeof(rd->st.seal), "%s", name);
		return 0;
	}
	hash = mix_text(hash, name);
	hash = mix_attr(hash, a[NFTA_CHAIN_HOOK]);
	hash = mix_attr(hash, a[NFTA_CHAIN_POLICY]);
	hash = mix_attr(hash, a[NFTA_CHAIN_TYPE]);
	rd->st.content += hash;
	return note_chain(rd, name);
}

static int on_set(void *arg, const struct nlmsghdr *h)
{
	static const uint16_t kept[] = {NFTA_SET_NAME,	  NFTA_SET_FLAGS,     NFTA_SET_KEY_TYPE,
					NFTA_SET_KEY_LEN, NFTA_SET_DATA_TYPE, NFTA_SET_DATA_LEN,
					NFTA_SET_TIMEOUT};
	const struct nlattr *a[NFTA_SET_MAX + 1];
	struct reading *rd = arg;
	uint64_t hash = HASH_START;
	int r = um_nft_attrs(h, sizeof(struct nfgenmsg), a, NFTA_SET_MAX);

	if (r < 0 || strcmp(text_of(a[NFTA_SET_TABLE]), UM_SVC_TABLE) != 0)
		return r;
	for (size_t i = 0; i < UM_ARRAY_LEN(kept); i++)
		hash = mix_attr(hash, a[kept[i]]);
	rd->st.content += hash;
	rd->st.identity += mix_attr(mix_attr(HASH_START, a[NFTA_SET_NAME]), a[NFTA_SET_HANDLE]);
	rd->st.present = true;
	return 0;
}

static int on_rule(void *arg, const struct nlmsghdr *h)
{
	const struct nlattr *a[NFTA_RULE_MAX + 1];
	struct reading *rd = arg;
	const char *chain;
	int r = um_nft_attrs(h, sizeof(struct nfgenmsg), a, NFTA_RULE_MAX);
	uint64_t hash;

	if (r < 0 || strcmp(text_of(a[NFTA_RULE_TABLE]), UM_SVC_TABLE) != 0)
		return r;
	chain = text_of(a[NFTA_RULE_CHAIN]);
	if (strcmp(chain, rd->rule_chain) != 0) {
		snprintf(rd->rule_chain, sizeof(rd->rule_chain), "%s", chain);
		rd->rule_index = 0;
	}
	rd->rule_index++;
	hash = mix_text(HASH_START, chain);
	hash = mix(hash, &rd->rule_index, sizeof(rd->rule_index));
	rd->st.content += mix_attr(hash, a[NFTA_RULE_EXPRESSIONS]);
	return 0;
}

static int on_verdict(void *arg, const struct um_nft_elem *e)
{
	struct reading *rd = arg;
	uint64_t hash = mix(HASH_START, &rd->map, sizeof(rd->map));

	hash = mix(hash, e->key, e->key_len);
	rd->st.content += mix_text(hash, e->chain ? e->chain : "");
	return 0;
}

static int read_all(struct um_services *s, struct reading *rd)
{
	static const struct {
		uint16_t type, table_attr;
		int (*fn)(void *arg, const struct nlmsghdr *h);
	} kinds_of[] = {
		{NFT_MSG_GETCHAIN, NFTA_CHAIN_TABLE, on_chain},
		{NFT_MSG_GETSET, NFTA_SET_TABLE, on_set},
		{NFT_MSG_GETRULE, NFTA_RULE_TABLE, on_rule},
	};
	int r = um_nft_generation(s->nft, &s->generation);

	for (size_t i = 0; i < UM_ARRAY_LEN(kinds_of) && r == 0; i++) {
		_cleanup_buf_ struct um_buf attrs = UM_BUF_INIT(256);

		um_nft_put_text(&attrs, kinds_of[i].table_attr, UM_SVC_TABLE);
		r = um_nft_dump(s->nft, NFNL_SUBSYS_NFTABLES << 8 | kinds_of[i].type, NFPROTO_INET,
				&attrs, kinds_of[i].fn, rd);
		if (r == -ENOENT) /* no such table */
			r = 0;
	}
	for (rd->map = 0; rd->map < 2 && r == 0 && rd->st.present; rd->map++) {
		r = um_nft_dump_set(s->nft, UM_SVC_TABLE, rd->map ? "remembers" : "picks",
				    on_verdict, rd);
		if (r == -ENOENT)
			r = 0;
	}
	return r;
}

static void seal_name(struct um_services *s, const struct um_svc_static *st, char name[40])
{
	_cleanup_buf_ struct um_buf text = UM_BUF_INIT(TEXT_MAX);
	uint64_t h;

	put_base(s, &text);
	h = mix_text(HASH_START, um_buf_str(&text));
	h = mix(h, &st->content, sizeof(st->content));
	snprintf(name, 40, "seal_%016" PRIx64, h);
}

int um_svc_static_read(struct um_services *s, struct um_error *err)
{
	char seal[40];
	int r = -EINTR;

	for (int i = 0; i < TRIES && r == -EINTR; i++) {
		struct reading rd = {.s = s};

		layout_name(rd.layout_name);
		memset(s->classes, 0, UM_SVC_CLASS_BYTES);
		um_vec_release(&s->times);
		r = read_all(s, &rd);
		if (r < 0)
			continue;
		seal_name(s, &rd.st, seal);
		s->st = rd.st;
		s->st.usable = rd.layout && !rd.foreign;
		s->st.sealed = s->st.usable && strcmp(seal, rd.st.seal) == 0;
	}
	return r < 0 ? um_error_errno(err, r, "read table " TABLE) : 0;
}

/* ---- loading ---- */

/* Puts the right seal on what the kernel holds now. */
static int seal(struct um_services *s, struct um_error *err)
{
	int r = -ERESTART;

	for (int i = 0; i < TRIES && r == -ERESTART; i++) {
		_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_NFT_BATCH_MAX);
		char name[40];

		r = um_svc_static_read(s, err);
		if (r < 0)
			return r;
		seal_name(s, &s->st, name);
		s->st.sealed = s->st.usable;
		if (strcmp(name, s->st.seal) == 0)
			return 0;
		um_nft_batch_begin(&b, s->generation);
		if (s->st.seal[0])
			um_nft_batch_chain(&b, NFT_MSG_DELCHAIN, UM_SVC_TABLE, s->st.seal);
		um_nft_batch_chain(&b, NFT_MSG_NEWCHAIN, UM_SVC_TABLE, name);
		r = um_nft_batch_send(s->nft, &b);
		if (r == 0) {
			snprintf(s->st.seal, sizeof(s->st.seal), "%s", name);
			s->generation++;
		}
	}
	return r < 0 ? um_error_errno(err, r, "seal table " TABLE) : 0;
}

/* What text comes before: the base chains' rules go, and with @keep all else stays. */
static void put_empty(struct um_buf *b, bool keep)
{
	um_buf_adds(b, "add table " TABLE "\n");
	if (!keep)
		um_buf_adds(b, "delete table " TABLE "\n");
	for (size_t i = 0; i < UM_ARRAY_LEN(chains) && keep; i++)
		um_buf_addf(b, "flush chain " TABLE " %s\n", chains[i]);
}

static int load(struct um_services *s, bool keep, struct um_error *err)
{
	_cleanup_buf_ struct um_buf text = UM_BUF_INIT(TEXT_MAX);
	int r;

	put_empty(&text, keep);
	um_buf_adds(&text, "table " TABLE " {\n");
	put_base(s, &text);
	um_buf_adds(&text, "}\n");
	r = um_buf_error(&text);
	return r < 0 ? um_error_errno(err, r, "write the rules") : um_rules_run(text.data, err);
}

int um_svc_static_load(struct um_services *s, struct um_error *err)
{
	struct um_error ignored = UM_ERROR_INIT;
	int r = s->st.usable ? load(s, true, &ignored) : -EIO;

	if (r == -EIO)
		r = load(s, false, err);
	else if (r < 0)
		um_error_move(err, &ignored);
	if (r < 0)
		return um_error_wrap(err, r, "load table " TABLE);
	r = -ERESTART;
	for (int i = 0; i < TRIES && r == -ERESTART; i++) {
		r = um_svc_static_read(s, err);
		if (r < 0)
			return r;
		r = um_svc_chains_renew(s);
	}
	if (r < 0)
		return um_error_errno(err, r, "add the chains of table " TABLE);
	return seal(s, err);
}

int um_svc_static_extend(struct um_services *s, struct um_error *err)
{
	uint32_t expected = s->generation;
	int r = um_svc_chains_extend(s);

	if (r == 0)
		return 0;
	if (r > 0) {
		expected++;
		r = um_svc_static_read(s, err);
		if (r < 0)
			return r;
		/* What others did to it meanwhile must not be sealed as ours. */
		if (s->generation == expected)
			return seal(s, err);
	} else if (r != -ERESTART) {
		return um_error_errno(err, r, "add chains to table " TABLE);
	}
	s->unverified = true;
	return um_svc_static_load(s, err);
}
