/* What clients keep of endpoints that are gone: UDP "connections", and affinities. */
#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include "netns/services_priv.h"

#define CT(msg) (NFNL_SUBSYS_CTNETLINK << 8 | (msg))
/* Of the kernel's flags for CTA_FILTER_ORIG_FLAGS, the one for the protocol. */
#define FILTER_PROTOCOL (1u << 3)
#define TRIES 20
#define DELETES_MAX (64u << 20)

bool um_svc_has_endpoint(const struct um_svc_front *f, uint32_t addr, uint16_t port)
{
	um_vec_foreach (ep, &f->have)
		if (ep->addr == addr && ep->port == port)
			return true;
	return false;
}

/* ---- connections ---- */

struct flow {
	uint32_t src, dst;
	uint16_t sport, dport;
	uint8_t protocol;
};

static bool get(const struct nlattr *a, void *ret, size_t len)
{
	if (!a || mnl_attr_get_payload_len(a) != len)
		return false;
	memcpy(ret, mnl_attr_get_payload(a), len);
	return true;
}

static bool parse_flow(const struct nlattr *a, struct flow *ret)
{
	const struct nlattr *t[CTA_TUPLE_MAX + 1], *ip[CTA_IP_MAX + 1], *proto[CTA_PROTO_MAX + 1];

	if (!a || um_nft_nested(a, t, CTA_TUPLE_MAX) < 0 || !t[CTA_TUPLE_IP] ||
	    !t[CTA_TUPLE_PROTO] || um_nft_nested(t[CTA_TUPLE_IP], ip, CTA_IP_MAX) < 0 ||
	    um_nft_nested(t[CTA_TUPLE_PROTO], proto, CTA_PROTO_MAX) < 0)
		return false;
	return get(ip[CTA_IP_V4_SRC], &ret->src, 4) && get(ip[CTA_IP_V4_DST], &ret->dst, 4) &&
	       get(proto[CTA_PROTO_NUM], &ret->protocol, 1) &&
	       get(proto[CTA_PROTO_SRC_PORT], &ret->sport, 2) &&
	       get(proto[CTA_PROTO_DST_PORT], &ret->dport, 2);
}

static struct um_svc_key key_of(const struct um_services *s, uint32_t dst, uint8_t protocol,
				uint16_t port)
{
	struct um_svc_key k = {.protocol = protocol, .port = port};

	if (um_range_has(&s->services, ntohl(dst)))
		k.vip = dst;
	else
		k.node = 1;
	return k;
}

static bool is_concerned(const struct um_services *s, const struct um_svc_key *k)
{
	if (s->sweep)
		return true;
	um_vec_foreach (c, &s->stale)
		if (memcmp(c, k, sizeof(*k)) == 0)
			return true;
	return false;
}

/* Whether a UDP entry keeps its client from an endpoint that there is. An entry of the time before
 * a NodePort had endpoints leads to the host itself: its answers would come from where it was sent
 * to, and go to where it came from. */
static bool is_stale(struct um_services *s, const struct flow *orig, const struct flow *reply)
{
	struct um_svc_key k = key_of(s, orig->dst, orig->protocol, orig->dport);
	struct um_svc_front *f;

	if (orig->protocol != IPPROTO_UDP || !is_concerned(s, &k))
		return false;
	f = um_svc_front_find(s, &k);
	if (!k.node)
		return !f || !um_svc_has_endpoint(f, reply->src, reply->sport);
	if (s->sweep && !f)
		return false;
	if (reply->src == orig->dst && reply->sport == orig->dport)
		return f && f->have.len && reply->dst == orig->src &&
		       !um_svc_has_endpoint(f, reply->src, reply->sport);
	return !f || !um_svc_has_endpoint(f, reply->src, reply->sport);
}

struct search {
	struct um_services *s;
	UM_VEC(struct um_buf) found; /* attributes of the requests that delete them */
};

static void search_release(struct search *q)
{
	um_vec_foreach (b, &q->found)
		um_buf_release(b);
	um_vec_release(&q->found);
}

static int on_flow(void *arg, const struct nlmsghdr *h)
{
	const struct nlattr *a[CTA_MAX + 1], *orig;
	struct um_buf b = UM_BUF_INIT(4096);
	struct flow from, to;
	struct search *q = arg;
	int r = um_nft_attrs(h, sizeof(struct nfgenmsg), a, CTA_MAX);

	if (r < 0)
		return r;
	orig = a[CTA_TUPLE_ORIG];
	if (!parse_flow(orig, &from) || !parse_flow(a[CTA_TUPLE_REPLY], &to) ||
	    !is_stale(q->s, &from, &to))
		return 0;
	um_nft_put(&b, NLA_F_NESTED | CTA_TUPLE_ORIG, mnl_attr_get_payload(orig),
		   mnl_attr_get_payload_len(orig));
	if (a[CTA_ID])
		um_nft_put(&b, CTA_ID, mnl_attr_get_payload(a[CTA_ID]),
			   mnl_attr_get_payload_len(a[CTA_ID]));
	r = um_buf_error(&b);
	if (r == 0)
		r = um_vec_push(&q->found, b);
	if (r < 0)
		um_buf_release(&b);
	return r;
}

/* Only UDP's, where the kernel can tell them apart. */
static void put_filter(struct um_buf *b)
{
	_cleanup_buf_ struct um_buf number = UM_BUF_INIT(64), proto = UM_BUF_INIT(64),
				    flags = UM_BUF_INIT(64);
	const uint8_t udp = IPPROTO_UDP;
	const uint32_t orig = FILTER_PROTOCOL, reply = 0;

	um_nft_put(&number, CTA_PROTO_NUM, &udp, sizeof(udp));
	um_nft_put(&proto, NLA_F_NESTED | CTA_TUPLE_PROTO, number.data, number.len);
	um_nft_put(b, NLA_F_NESTED | CTA_TUPLE_ORIG, proto.data, proto.len);
	um_nft_put(&flags, CTA_FILTER_ORIG_FLAGS, &orig, sizeof(orig));
	um_nft_put(&flags, CTA_FILTER_REPLY_FLAGS, &reply, sizeof(reply));
	um_nft_put(b, NLA_F_NESTED | CTA_FILTER, flags.data, flags.len);
}

static int search(struct search *q)
{
	_cleanup_buf_ struct um_buf filter = UM_BUF_INIT(256);
	int r;

	put_filter(&filter);
	r = um_nft_dump(q->s->nft, CT(IPCTNL_MSG_CT_GET), AF_INET, &filter, on_flow, q);
	if (r == -EINVAL || r == -EOPNOTSUPP) {
		search_release(q);
		r = um_nft_dump(q->s->nft, CT(IPCTNL_MSG_CT_GET), AF_INET, NULL, on_flow, q);
	}
	return r;
}

int um_svc_forget_connections(struct um_services *s, struct um_error *err)
{
	_cleanup_(search_release) struct search q = {.s = s, .found = UM_VEC_INIT};
	int r;

	if (!s->sweep && !s->stale.len)
		return 0;
	r = search(&q);
	um_vec_foreach (b, &q.found) {
		if (r == 0)
			r = um_nft_request(s->nft, CT(IPCTNL_MSG_CT_DELETE), AF_INET, 0, b);
		if (r == -ENOENT) /* it ended meanwhile */
			r = 0;
	}
	if (r < 0)
		return um_error_errno(err, r, "forget connections to endpoints that are gone");
	s->sweep = false;
	um_vec_release(&s->stale);
	return 0;
}

/* ---- affinities ---- */

struct gone {
	struct um_services *s;
	struct um_buf elems;
	size_t n;
};

static int on_affinity(void *arg, const struct um_nft_elem *e)
{
	struct um_svc_front *f;
	struct um_svc_key k;
	struct um_svc_ep ep;
	struct gone *g = arg;
	uint32_t dst;
	uint16_t port;

	if (e->key_len != 16 || e->data_len != sizeof(ep))
		return -EBADMSG;
	memcpy(&dst, e->key + 4, 4);
	memcpy(&port, e->key + 12, 2);
	memcpy(&ep, e->data, sizeof(ep));
	k = key_of(g->s, dst, e->key[8], port);
	f = um_svc_front_find(g->s, &k);
	if (f && f->have_sec && um_svc_has_endpoint(f, ep.addr, ep.port))
		return 0;
	um_nft_put_elem(&g->elems, e->key, e->key_len, NULL, 0);
	g->n++;
	return um_buf_error(&g->elems);
}

static void gone_release(struct gone *g)
{
	um_buf_release(&g->elems);
}

static int delete_elems(struct um_services *s, const struct um_buf *elems)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_NFT_BATCH_MAX);
	int r;

	um_nft_batch_begin(&b, s->generation);
	um_nft_batch_elems(&b, NFT_MSG_DELSETELEM, UM_SVC_TABLE, "affinity", elems);
	r = um_nft_batch_send(s->nft, &b);
	if (r == 0)
		s->generation++;
	return r;
}

/* One that ends by itself between the two looks makes the kernel refuse all; one by one only that
 * one is refused. */
static int delete_each(struct um_services *s, const struct um_buf *elems)
{
	size_t at = 0;
	int r = 0;

	while (r == 0 && at < elems->len) {
		const struct nlattr *a = (const void *)(elems->data + at);
		struct um_buf one = {.data = elems->data + at, .len = MNL_ALIGN(a->nla_len)};

		r = delete_elems(s, &one);
		if (r == -ENOENT)
			r = 0;
		at += one.len;
	}
	return r;
}

int um_svc_forget_affinity(struct um_services *s, struct um_error *err)
{
	int r = s->forget ? -EAGAIN : 0;

	for (int i = 0; i < TRIES && r < 0; i++) {
		_cleanup_(gone_release) struct gone g = {s, UM_BUF_INIT(DELETES_MAX), 0};

		r = um_nft_dump_set(s->nft, UM_SVC_TABLE, "affinity", on_affinity, &g);
		if (r < 0 && r != -EINTR)
			break;
		if (r == 0 && g.n)
			r = i < 3 ? delete_elems(s, &g.elems) : delete_each(s, &g.elems);
		if (r == -ERESTART) {
			s->unverified = true;
			if (um_nft_generation(s->nft, &s->generation) < 0)
				break;
		}
	}
	if (r < 0)
		return um_error_errno(err, r, "forget affinities to endpoints that are gone");
	s->forget = false;
	return 0;
}
