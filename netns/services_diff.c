#include "netns/services_priv.h"

/* One front's elements of one transaction: a few megabytes at the very most. */
#define CHANGE_MAX (32u << 20)

const struct um_svc_set_desc um_svc_sets[UM_SVC_SETS] = {
	[UM_SVC_SERVICES] = {"services", 12, 4},
	[UM_SVC_NODE_PORTS] = {"node_ports", 8, 4},
	[UM_SVC_ENDPOINTS] = {"endpoints", 16, 8},
	[UM_SVC_NODE_ENDPOINTS] = {"node_endpoints", 12, 8},
	[UM_SVC_STICKY] = {"sticky", 12, 4},
	[UM_SVC_NODE_STICKY] = {"node_sticky", 8, 4},
	[UM_SVC_NODE_TCP] = {"node_tcp", 2, 0},
	[UM_SVC_NODE_UDP] = {"node_udp", 2, 0},
	[UM_SVC_HAIRPIN] = {"hairpin", 8, 0},
};

void um_svc_change_init(struct um_svc_change *c)
{
	for (int i = 0; i < UM_SVC_SETS; i++) {
		um_buf_init(&c->add[i], CHANGE_MAX);
		um_buf_init(&c->del[i], CHANGE_MAX);
	}
}

void um_svc_change_release(struct um_svc_change *c)
{
	for (int i = 0; i < UM_SVC_SETS; i++) {
		um_buf_release(&c->add[i]);
		um_buf_release(&c->del[i]);
	}
}

size_t um_svc_change_bytes(const struct um_svc_change *c)
{
	size_t n = 0;

	for (int i = 0; i < UM_SVC_SETS; i++)
		n += c->add[i].len + c->del[i].len;
	return n;
}

int um_svc_ep_compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct um_svc_ep));
}

/* ---- keys: each field is padded to 4 bytes ---- */

static size_t put_key(uint8_t key[UM_SVC_KEY_MAX], const struct um_svc_key *k)
{
	size_t n = 0;

	memset(key, 0, UM_SVC_KEY_MAX);
	if (!k->node) {
		memcpy(key, &k->vip, 4);
		n = 4;
	}
	key[n] = k->protocol;
	memcpy(key + n + 4, &k->port, 2);
	return n + 8;
}

size_t um_svc_put_index(uint8_t key[UM_SVC_KEY_MAX], const struct um_svc_key *k, uint32_t index)
{
	size_t n = put_key(key, k);

	memcpy(key + n, &index, 4);
	return n + 4;
}

static void put_class(struct um_buf *b, const struct um_svc_key *k, uint32_t class)
{
	uint8_t key[UM_SVC_KEY_MAX];
	size_t n = put_key(key, k);

	um_nft_put_elem(b, key, n, &class, class ? sizeof(class) : 0);
}

static void put_endpoint(struct um_buf *b, const struct um_svc_key *k, size_t index,
			 const struct um_svc_ep *ep)
{
	uint8_t key[UM_SVC_KEY_MAX];
	size_t n = um_svc_put_index(key, k, (uint32_t)index);

	um_nft_put_elem(b, key, n, ep, ep ? sizeof(*ep) : 0);
}

/* ---- hairpin ---- */

/* Only a pod of this node can talk to itself by way of this node. */
static bool needs_hairpin(const struct um_services *s, const struct um_svc_ep *ep)
{
	return s->node.prefix == 0 || um_range_has(&s->node, ntohl(ep->addr));
}

static void put_hairpin(struct um_buf *b, uint32_t addr)
{
	uint32_t key[2] = {addr, addr};

	um_nft_put_elem(b, key, sizeof(key), NULL, 0);
}

static int hairpin_up(struct um_services *s, const struct um_svc_ep *ep, struct um_svc_change *c)
{
	struct um_svc_hairpin *h;

	if (!needs_hairpin(s, ep))
		return 0;
	HASH_FIND(hh, s->hairpins, &ep->addr, sizeof(ep->addr), h);
	if (!h) {
		unsigned before = HASH_COUNT(s->hairpins);

		h = calloc(1, sizeof(*h));
		if (!h)
			return -ENOMEM;
		h->addr = ep->addr;
		HASH_ADD(hh, s->hairpins, addr, sizeof(h->addr), h);
		if (HASH_COUNT(s->hairpins) == before) {
			free(h);
			return -ENOMEM;
		}
	}
	if (h->refs++ == 0)
		put_hairpin(&c->add[UM_SVC_HAIRPIN], h->addr);
	return 0;
}

static void hairpin_down(struct um_services *s, const struct um_svc_ep *ep, struct um_svc_change *c)
{
	struct um_svc_hairpin *h;

	if (!needs_hairpin(s, ep))
		return;
	HASH_FIND(hh, s->hairpins, &ep->addr, sizeof(ep->addr), h);
	if (!h || --h->refs > 0)
		return;
	put_hairpin(&c->del[UM_SVC_HAIRPIN], h->addr);
	HASH_DEL(s->hairpins, h);
	free(h);
}

/* ---- endpoints ---- */

uint32_t um_svc_want_class(const struct um_svc_front *f)
{
	enum um_svc_kind kind = f->key.node
					? f->want_sec ? UM_SVC_NODE_STICKY_PICK : UM_SVC_NODE_PICK
				: f->want_sec ? UM_SVC_STICKY_PICK
					      : UM_SVC_PICK;

	return f->wanted && f->want.len ? UM_SVC_CLASS(kind, f->want.len) : 0;
}

struct plan {
	um_svc_eps next;  /* by index */
	um_svc_eps added; /* in `next` and not in what was */
	um_svc_eps gone;  /* in what was and not in `next` */
};

static void plan_release(struct plan *p)
{
	um_vec_release(&p->next);
	um_vec_release(&p->added);
	um_vec_release(&p->gone);
}

/* Splits the endpoints into those that stay, come and go. */
static int compare(const um_svc_eps *have, const um_svc_eps *want, struct plan *p)
{
	_cleanup_free_ struct um_svc_ep *old = malloc((have->len + 1) * sizeof(*old));
	size_t i = 0, j = 0;
	int r = 0;

	if (!old)
		return -ENOMEM;
	if (have->len)
		memcpy(old, have->items, have->len * sizeof(*old));
	qsort(old, have->len, sizeof(*old), um_svc_ep_compare);
	while (r == 0 && (i < have->len || j < want->len)) {
		int c = i == have->len	 ? 1
			: j == want->len ? -1
					 : um_svc_ep_compare(&old[i], &want->items[j]);

		if (c < 0)
			r = um_vec_push(&p->gone, old[i]);
		else if (c > 0)
			r = um_vec_push(&p->added, want->items[j]);
		i += c <= 0;
		j += c >= 0;
	}
	return r;
}

static bool is_gone(const struct plan *p, const struct um_svc_ep *ep)
{
	return p->gone.len &&
	       bsearch(ep, p->gone.items, p->gone.len, sizeof(*ep), um_svc_ep_compare);
}

/* Those that stay keep their index where they can; holes are filled from past the new end first,
 * then with what comes. */
static int place(const um_svc_eps *have, size_t n, struct plan *p)
{
	size_t moved = n, added = 0;

	for (size_t i = 0; i < n; i++) {
		const struct um_svc_ep *ep = NULL;

		if (i < have->len && !is_gone(p, &have->items[i]))
			ep = &have->items[i];
		while (!ep && moved < have->len) {
			const struct um_svc_ep *m = &have->items[moved++];

			if (!is_gone(p, m))
				ep = m;
		}
		if (!ep)
			ep = &p->added.items[added++];
		if (um_vec_push(&p->next, *ep) < 0)
			return -ENOMEM;
	}
	return 0;
}

static void put_endpoints(const struct um_svc_front *f, const struct plan *p,
			  struct um_svc_change *c)
{
	enum um_svc_set set = f->key.node ? UM_SVC_NODE_ENDPOINTS : UM_SVC_ENDPOINTS;
	size_t n = f->have.len > p->next.len ? f->have.len : p->next.len;

	for (size_t i = 0; i < n; i++) {
		const struct um_svc_ep *was = i < f->have.len ? &f->have.items[i] : NULL;
		const struct um_svc_ep *is = i < p->next.len ? &p->next.items[i] : NULL;

		if (was && is && um_svc_ep_compare(was, is) == 0)
			continue;
		if (was)
			put_endpoint(&c->del[set], &f->key, i, NULL);
		if (is)
			put_endpoint(&c->add[set], &f->key, i, is);
	}
}

static void put_open(const struct um_svc_front *f, struct um_svc_change *c)
{
	enum um_svc_set set = f->key.protocol == IPPROTO_TCP ? UM_SVC_NODE_TCP : UM_SVC_NODE_UDP;

	if (f->key.node && f->wanted != f->have_open)
		um_nft_put_elem(f->wanted ? &c->add[set] : &c->del[set], &f->key.port, 2, NULL, 0);
}

/* A number that hangs on the front itself: its class, its seconds. */
static void put_number(enum um_svc_set set, const struct um_svc_key *k, uint32_t was, uint32_t is,
		       struct um_svc_change *c)
{
	set += k->node ? 1 : 0;
	if (was == is)
		return;
	if (was)
		put_class(&c->del[set], k, 0);
	if (is)
		put_class(&c->add[set], k, is);
}

int um_svc_diff(struct um_services *s, struct um_svc_front *f, struct um_svc_change *c,
		bool *ret_lost)
{
	static const um_svc_eps none = UM_VEC_INIT;
	const um_svc_eps *want = f->wanted ? &f->want : &none;
	_cleanup_(plan_release) struct plan p = {.next = UM_VEC_INIT};
	uint32_t class = um_svc_want_class(f);
	unsigned sec = class ? f->want_sec : 0;
	int r = compare(&f->have, want, &p);

	if (r == 0)
		r = place(&f->have, want->len, &p);
	for (size_t i = 0; r == 0 && i < p.added.len; i++)
		r = hairpin_up(s, &p.added.items[i], c);
	if (r < 0)
		return r;
	um_vec_foreach (ep, &p.gone)
		hairpin_down(s, ep, c);
	put_endpoints(f, &p, c);
	put_number(UM_SVC_SERVICES, &f->key, f->have_class, class, c);
	put_number(UM_SVC_STICKY, &f->key, f->have_sec ? UM_SVC_TIME | f->have_sec : 0,
		   sec ? UM_SVC_TIME | sec : 0, c);
	put_open(f, c);
	*ret_lost = p.gone.len > 0;
	um_vec_release(&f->have);
	f->have = p.next;
	p.next.items = NULL;
	f->have_class = class;
	f->have_sec = sec;
	f->have_open = f->key.node && f->wanted;
	return 0;
}
