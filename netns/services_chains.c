/* The chains of classes and of affinity times, made when they are first needed. In nft's words:
 *
 *   chain pick_3 {
 *       meta priority set numgen random mod 3 goto connect
 *   }
 *   chain sticky_3 {
 *       meta priority set ip daddr . meta l4proto . th dport map @sticky
 *       dnat ip to ip saddr . ip daddr . meta l4proto . th dport map @affinity
 *       dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 3 map @endpoints
 *       dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 1 map @endpoints
 *   }
 *   chain remember_100 {
 *       meta priority set none
 *       update @affinity { ip saddr . ct original ip daddr . meta l4proto .
 *                          ct original proto-dst timeout 100s : ip daddr . th dport }
 *   }
 *
 * and without "ip daddr . " for node ports. They are encoded here, since nft(8) 1.0.6 cannot add
 * such rules later (it reads the maps' types back from the kernel as something else). The kernel
 * walks all elements of a map for each new rule that looks into it (16 ms with 100,000): that is
 * why pick_N leaves this to `connect`; sticky_N needs the priority for the affinity's time. The
 * second draw: the first may hit an index that a transaction removes between the look-ups of class
 * and endpoint; index 0 is there as long as the class is. */
#include <netinet/in.h> /* before the kernel's own */

#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>

#include "netns/services_priv.h"

#define EXPRS_MAX 8192
#define CHAINS_MAX (32u << 20)
#define CLASS_BLOCK 8

const char *const um_svc_kinds[UM_SVC_KINDS] = {
	[UM_SVC_PICK] = "pick",
	[UM_SVC_NODE_PICK] = "node_pick",
	[UM_SVC_STICKY_PICK] = "sticky",
	[UM_SVC_NODE_STICKY_PICK] = "node_sticky",
};

/* Registers as nft takes them: concatenations in consecutive ones of 32 bits. */
enum { KEY = NFT_REG_1, KEY2 = NFT_REG32_01, KEY3, KEY4, DATA = NFT_REG_2, DATA2 = NFT_REG32_05 };

/* ---- expressions: pairs of attribute and number ---- */

struct number {
	uint16_t attr;
	uint32_t value;
};

struct expr {
	struct um_buf *b;
	size_t elem, data;
};

static struct expr expr_begin(struct um_buf *b, const char *name, const struct number *n,
			      size_t len)
{
	struct expr e = {.b = b, .elem = um_nft_nest_begin(b, NFTA_LIST_ELEM)};

	um_nft_put_text(b, NFTA_EXPR_NAME, name);
	e.data = um_nft_nest_begin(b, NFTA_EXPR_DATA);
	for (size_t i = 0; i < len; i++)
		um_nft_put_u32(b, n[i].attr, n[i].value);
	return e;
}

static void expr_end(struct expr e)
{
	um_nft_nest_end(e.b, e.data);
	um_nft_nest_end(e.b, e.elem);
}

#define EXPR(b, name, ...)                                                                         \
	expr_begin(b, name, (const struct number[]){__VA_ARGS__},                                  \
		   sizeof((const struct number[]){__VA_ARGS__}) / sizeof(struct number))

static void put_payload(struct um_buf *b, uint32_t reg, uint32_t base, uint32_t offset,
			uint32_t len)
{
	expr_end(EXPR(b, "payload", {NFTA_PAYLOAD_DREG, reg}, {NFTA_PAYLOAD_BASE, base},
		      {NFTA_PAYLOAD_OFFSET, offset}, {NFTA_PAYLOAD_LEN, len}));
}

static void put_saddr(struct um_buf *b, uint32_t reg)
{
	put_payload(b, reg, NFT_PAYLOAD_NETWORK_HEADER, 12, 4);
}

static void put_daddr(struct um_buf *b, uint32_t reg)
{
	put_payload(b, reg, NFT_PAYLOAD_NETWORK_HEADER, 16, 4);
}

static void put_dport(struct um_buf *b, uint32_t reg)
{
	put_payload(b, reg, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
}

static void put_meta(struct um_buf *b, uint32_t reg, uint32_t key)
{
	expr_end(EXPR(b, "meta", {NFTA_META_KEY, key}, {NFTA_META_DREG, reg}));
}

static void put_ct(struct um_buf *b, uint32_t reg, uint32_t key)
{
	struct expr e = EXPR(b, "ct", {NFTA_CT_KEY, key}, {NFTA_CT_DREG, reg});
	const uint8_t direction = IP_CT_DIR_ORIGINAL;

	um_nft_put(b, NFTA_CT_DIRECTION, &direction, sizeof(direction));
	expr_end(e);
}

static void put_value(struct um_buf *b, uint16_t attr, const void *value, size_t len)
{
	size_t at = um_nft_nest_begin(b, attr);

	um_nft_put(b, NFTA_DATA_VALUE, value, len);
	um_nft_nest_end(b, at);
}

/* meta nfproto ipv4, which an `ip` match implies. */
static void put_ipv4(struct um_buf *b)
{
	const uint8_t ipv4 = NFPROTO_IPV4;
	struct expr e;

	put_meta(b, KEY, NFT_META_NFPROTO);
	e = EXPR(b, "cmp", {NFTA_CMP_SREG, KEY}, {NFTA_CMP_OP, NFT_CMP_EQ});
	put_value(b, NFTA_CMP_DATA, &ipv4, sizeof(ipv4));
	expr_end(e);
}

static void put_lookup(struct um_buf *b, const char *set)
{
	struct expr e = EXPR(b, "lookup", {NFTA_LOOKUP_SREG, KEY}, {NFTA_LOOKUP_DREG, KEY});

	um_nft_put_text(b, NFTA_LOOKUP_SET, set);
	expr_end(e);
}

static void put_dnat(struct um_buf *b)
{
	expr_end(EXPR(b, "nat", {NFTA_NAT_TYPE, NFT_NAT_DNAT}, {NFTA_NAT_FAMILY, NFPROTO_IPV4},
		      {NFTA_NAT_REG_ADDR_MIN, KEY}, {NFTA_NAT_REG_PROTO_MIN, KEY2}));
}

static void put_priority(struct um_buf *b)
{
	expr_end(EXPR(b, "meta", {NFTA_META_KEY, NFT_META_PRIORITY}, {NFTA_META_SREG, KEY}));
}

/* ---- rules ---- */

static void end_rule(struct um_buf *b, const char *chain, struct um_buf *exprs)
{
	um_nft_batch_rule(b, UM_SVC_TABLE, chain, exprs);
	um_buf_clear(exprs);
}

/* Loads the front's key and returns the register that is next. */
static uint32_t put_front_key(struct um_buf *e, bool node)
{
	put_ipv4(e);
	if (node) {
		put_meta(e, KEY, NFT_META_L4PROTO);
		put_dport(e, KEY2);
		return KEY3;
	}
	put_daddr(e, KEY);
	put_meta(e, KEY2, NFT_META_L4PROTO);
	put_dport(e, KEY3);
	return KEY4;
}

static void rule_draw(struct um_buf *b, const char *chain, struct um_buf *e, bool node, uint32_t n)
{
	uint32_t reg = put_front_key(e, node);

	expr_end(EXPR(e, "numgen", {NFTA_NG_DREG, reg}, {NFTA_NG_MODULUS, n},
		      {NFTA_NG_TYPE, NFT_NG_RANDOM}, {NFTA_NG_OFFSET, 0}));
	put_lookup(e, um_svc_sets[node ? UM_SVC_NODE_ENDPOINTS : UM_SVC_ENDPOINTS].name);
	put_dnat(e);
	end_rule(b, chain, e);
}

static void rule_pick(struct um_buf *b, const char *chain, struct um_buf *e, bool node, uint32_t n)
{
	struct expr x;
	size_t data, verdict;

	expr_end(EXPR(e, "numgen", {NFTA_NG_DREG, KEY}, {NFTA_NG_MODULUS, n},
		      {NFTA_NG_TYPE, NFT_NG_RANDOM}, {NFTA_NG_OFFSET, 0}));
	put_priority(e);
	x = EXPR(e, "immediate", {NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT});
	data = um_nft_nest_begin(e, NFTA_IMMEDIATE_DATA);
	verdict = um_nft_nest_begin(e, NFTA_DATA_VERDICT);
	um_nft_put_u32(e, NFTA_VERDICT_CODE, (uint32_t)NFT_GOTO);
	um_nft_put_text(e, NFTA_VERDICT_CHAIN, node ? "node_connect" : "connect");
	um_nft_nest_end(e, verdict);
	um_nft_nest_end(e, data);
	expr_end(x);
	end_rule(b, chain, e);
}

static void rule_clear(struct um_buf *b, const char *chain, struct um_buf *e)
{
	const uint32_t zero = 0;
	struct expr x = EXPR(e, "immediate", {NFTA_IMMEDIATE_DREG, KEY});

	put_value(e, NFTA_IMMEDIATE_DATA, &zero, sizeof(zero));
	expr_end(x);
	put_priority(e);
	end_rule(b, chain, e);
}

static void rule_sticky(struct um_buf *b, const char *chain, struct um_buf *e, bool node)
{
	put_front_key(e, node);
	put_lookup(e, um_svc_sets[node ? UM_SVC_NODE_STICKY : UM_SVC_STICKY].name);
	put_priority(e);
	end_rule(b, chain, e);
	put_ipv4(e);
	put_saddr(e, KEY);
	put_daddr(e, KEY2);
	put_meta(e, KEY3, NFT_META_L4PROTO);
	put_dport(e, KEY4);
	put_lookup(e, "affinity");
	put_dnat(e);
	end_rule(b, chain, e);
}

static void rule_remember(struct um_buf *b, const char *chain, struct um_buf *e, unsigned sec)
{
	const uint64_t timeout = htobe64((uint64_t)sec * 1000);
	struct expr x;

	put_ipv4(e);
	put_saddr(e, KEY);
	put_ct(e, KEY2, NFT_CT_DST_IP);
	put_meta(e, KEY3, NFT_META_L4PROTO);
	put_ct(e, KEY4, NFT_CT_PROTO_DST);
	put_daddr(e, DATA);
	put_dport(e, DATA2);
	x = EXPR(e, "dynset", {NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE}, {NFTA_DYNSET_SREG_KEY, KEY},
		 {NFTA_DYNSET_SREG_DATA, DATA});
	um_nft_put_text(e, NFTA_DYNSET_SET_NAME, "affinity");
	um_nft_put(e, NFTA_DYNSET_TIMEOUT, &timeout, sizeof(timeout));
	expr_end(x);
	end_rule(b, chain, e);
}

static void class_name(uint32_t class, char name[32])
{
	snprintf(name, 32, "%s_%u", um_svc_kinds[class >> 16], class & 0xffff);
}

static void time_name(unsigned sec, char name[32])
{
	snprintf(name, 32, "remember_%u", sec);
}

static void put_class(struct um_buf *b, uint32_t class)
{
	_cleanup_buf_ struct um_buf e = UM_BUF_INIT(EXPRS_MAX);
	unsigned kind = class >> 16, n = class & 0xffff;
	bool node = kind == UM_SVC_NODE_PICK || kind == UM_SVC_NODE_STICKY_PICK;
	char name[32];

	class_name(class, name);
	um_nft_batch_chain(b, NFT_MSG_NEWCHAIN, UM_SVC_TABLE, name);
	if (kind == UM_SVC_PICK || kind == UM_SVC_NODE_PICK) {
		rule_pick(b, name, &e, node, n);
		return;
	}
	rule_sticky(b, name, &e, node);
	rule_draw(b, name, &e, node, n);
	if (n > 1)
		rule_draw(b, name, &e, node, 1);
}

static void put_time(struct um_buf *b, unsigned sec)
{
	_cleanup_buf_ struct um_buf e = UM_BUF_INIT(EXPRS_MAX);
	char name[32];

	time_name(sec, name);
	um_nft_batch_chain(b, NFT_MSG_NEWCHAIN, UM_SVC_TABLE, name);
	rule_clear(b, name, &e);
	rule_remember(b, name, &e, sec);
}

/* ---- which there are ---- */

bool um_svc_has_class(const struct um_services *s, uint32_t class)
{
	return class < UM_SVC_CLASS_BYTES * 8 && (s->classes[class / 8] >> class % 8 & 1);
}

void um_svc_add_class(struct um_services *s, uint32_t class)
{
	s->classes[class / 8] |= (uint8_t)(1u << class % 8);
}

bool um_svc_has_time(const struct um_services *s, unsigned sec)
{
	um_vec_foreach (t, &s->times)
		if (*t == sec)
			return true;
	return false;
}

/* What a transaction adds: the chains, and the elements that lead to them. */
struct need {
	struct um_services *s;
	struct um_buf *batch;
	struct um_buf picks, remembers;
};

static void need_release(struct need *n)
{
	um_buf_release(&n->picks);
	um_buf_release(&n->remembers);
}

static void need_one(struct need *n, uint32_t class)
{
	char name[32];

	if (um_svc_has_class(n->s, class))
		return;
	um_svc_add_class(n->s, class);
	put_class(n->batch, class);
	class_name(class, name);
	um_nft_put_goto(&n->picks, &class, sizeof(class), name);
}

/* With its neighbours: who scales to 5 comes by 4. Not the sticky ones, which cost more. */
static void need_class(struct need *n, uint32_t class)
{
	uint32_t block = class >= UM_SVC_CLASS(UM_SVC_STICKY_PICK, 0) ? 1 : CLASS_BLOCK;
	uint32_t first = ((class & 0xffff) - 1) / block * block + 1;

	if (!(class & 0xffff) || class >= UM_SVC_CLASS_BYTES * 8 || um_svc_has_class(n->s, class))
		return;
	for (uint32_t i = first; i < first + block && i <= UM_SERVICE_ENDPOINTS_MAX; i++)
		need_one(n, UM_SVC_CLASS(class >> 16, i));
}

static int need_time(struct need *n, unsigned sec)
{
	const uint32_t key = UM_SVC_TIME | sec;
	char name[32];

	if (!sec || sec > UM_SERVICE_AFFINITY_MAX || um_svc_has_time(n->s, sec))
		return 0;
	if (um_vec_push(&n->s->times, sec) < 0)
		return -ENOMEM;
	put_time(n->batch, sec);
	time_name(sec, name);
	um_nft_put_goto(&n->remembers, &key, sizeof(key), name);
	return 0;
}

static int need_front(struct need *n, const struct um_svc_front *f)
{
	need_class(n, um_svc_want_class(f));
	return f->wanted && f->want.len ? need_time(n, f->want_sec) : 0;
}

static int need_send(struct need *n)
{
	int r;

	um_nft_batch_elems(n->batch, NFT_MSG_NEWSETELEM, UM_SVC_TABLE, "picks", &n->picks);
	um_nft_batch_elems(n->batch, NFT_MSG_NEWSETELEM, UM_SVC_TABLE, "remembers", &n->remembers);
	r = um_nft_batch_send(n->s->nft, n->batch);
	if (r == 0)
		n->s->generation++;
	return r;
}

int um_svc_chains_extend(struct um_services *s)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(CHAINS_MAX);
	_cleanup_(need_release) struct need n = {s, &b, UM_BUF_INIT(CHAINS_MAX),
						 UM_BUF_INIT(CHAINS_MAX)};
	int r = 0;

	um_nft_batch_begin(&b, s->generation);
	for (struct um_svc_front *f = s->dirty; f && r == 0; f = f->next_dirty)
		r = need_front(&n, f);
	if (r == 0 && n.picks.len + n.remembers.len == 0)
		return 0;
	if (r == 0)
		r = need_send(&n);
	return r < 0 ? r : 1;
}

/* Deletes all, with the elements that lead there. */
static void put_removal(struct um_services *s, struct um_buf *b)
{
	char name[32];

	um_nft_batch_flush_set(b, UM_SVC_TABLE, "picks");
	um_nft_batch_flush_set(b, UM_SVC_TABLE, "remembers");
	for (uint32_t c = 0; c < UM_SVC_CLASS_BYTES * 8; c++) {
		if (!um_svc_has_class(s, c))
			continue;
		class_name(c, name);
		um_nft_batch_chain(b, NFT_MSG_DELCHAIN, UM_SVC_TABLE, name);
	}
	um_vec_foreach (t, &s->times) {
		time_name(*t, name);
		um_nft_batch_chain(b, NFT_MSG_DELCHAIN, UM_SVC_TABLE, name);
	}
}

int um_svc_chains_renew(struct um_services *s)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(CHAINS_MAX);
	_cleanup_(need_release) struct need n = {s, &b, UM_BUF_INIT(CHAINS_MAX),
						 UM_BUF_INIT(CHAINS_MAX)};
	_cleanup_free_ uint8_t *had = malloc(UM_SVC_CLASS_BYTES);
	struct um_svc_front *f, *tmp;
	UM_VEC(unsigned) times = {s->times.items, s->times.len, s->times.cap};
	int r = had ? 0 : -ENOMEM;

	if (r < 0)
		return r;
	um_nft_batch_begin(&b, s->generation);
	put_removal(s, &b);
	memcpy(had, s->classes, UM_SVC_CLASS_BYTES);
	memset(s->classes, 0, UM_SVC_CLASS_BYTES);
	s->times.items = NULL;
	s->times.len = s->times.cap = 0;
	/* Those that there were stay: what the kernel still has may need them. */
	for (uint32_t c = 0; c < UM_SVC_CLASS_BYTES * 8; c++)
		if (had[c / 8] >> c % 8 & 1)
			need_one(&n, c);
	um_vec_foreach (t, &times)
		if (r == 0)
			r = need_time(&n, *t);
	HASH_ITER (hh, s->fronts, f, tmp)
		if (r == 0)
			r = need_front(&n, f);
	um_vec_release(&times);
	return r < 0 ? r : need_send(&n);
}
