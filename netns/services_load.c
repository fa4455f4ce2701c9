#include "netns/services_priv.h"

/* ---- fronts ---- */

struct um_svc_front *um_svc_front_find(struct um_services *s, const struct um_svc_key *k)
{
	struct um_svc_front *f;

	HASH_FIND(hh, s->fronts, k, sizeof(*k), f);
	return f;
}

struct um_svc_front *um_svc_front_get(struct um_services *s, const struct um_svc_key *k)
{
	struct um_svc_front *f = um_svc_front_find(s, k);
	unsigned before = HASH_COUNT(s->fronts);

	if (f)
		return f;
	f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->key = *k;
	HASH_ADD(hh, s->fronts, key, sizeof(f->key), f);
	if (HASH_COUNT(s->fronts) == before) {
		free(f);
		return NULL;
	}
	return f;
}

void um_svc_front_free(struct um_services *s, struct um_svc_front *f)
{
	HASH_DEL(s->fronts, f);
	um_vec_release(&f->want);
	um_vec_release(&f->have);
	free(f);
}

void um_svc_mark(struct um_services *s, struct um_svc_front *f)
{
	if (f->dirty)
		return;
	f->dirty = true;
	f->next_dirty = s->dirty;
	s->dirty = f;
}

/* ---- what the kernel has ---- */

static void stray(struct um_services *s, enum um_svc_set set, const void *key, size_t len)
{
	um_nft_put_elem(&s->strays[set], key, len, NULL, 0);
}

void um_svc_take_begin(struct um_services *s)
{
	struct um_svc_hairpin *h, *htmp;
	struct um_svc_front *f, *ftmp;

	HASH_ITER (hh, s->fronts, f, ftmp) {
		um_vec_release(&f->have);
		f->have_class = 0;
		f->have_sec = 0;
		f->have_open = f->have_spoiled = false;
	}
	HASH_ITER (hh, s->hairpins, h, htmp) {
		HASH_DEL(s->hairpins, h);
		free(h);
	}
	for (int i = 0; i < UM_SVC_SETS; i++)
		um_buf_clear(&s->strays[i]);
	um_buf_clear(&s->lacking);
}

/* The front that an element belongs to, by the beginning of its key. */
static struct um_svc_front *front_of(struct um_services *s, const uint8_t *key, bool node)
{
	struct um_svc_key k = {.node = node};

	if (!node) {
		memcpy(&k.vip, key, 4);
		key += 4;
	}
	k.protocol = key[0];
	memcpy(&k.port, key + 4, 2);
	return um_svc_front_get(s, &k);
}

static int take_number(struct um_services *s, enum um_svc_set set, const struct um_nft_elem *e)
{
	bool node = set == UM_SVC_NODE_PORTS || set == UM_SVC_NODE_STICKY;
	struct um_svc_front *f = front_of(s, e->key, node);
	uint32_t v;

	if (!f)
		return -ENOMEM;
	memcpy(&v, e->data, sizeof(v));
	if (set == UM_SVC_STICKY || set == UM_SVC_NODE_STICKY)
		v ^= UM_SVC_TIME;
	/* 0 means none here, and would not be deleted. */
	if (v == 0) {
		stray(s, set, e->key, e->key_len);
		f->have_spoiled = true;
	} else if (set == UM_SVC_SERVICES || set == UM_SVC_NODE_PORTS) {
		f->have_class = v;
	} else {
		f->have_sec = v;
	}
	return 0;
}

static int take_endpoint(struct um_services *s, enum um_svc_set set, const struct um_nft_elem *e)
{
	struct um_svc_front *f = front_of(s, e->key, set == UM_SVC_NODE_ENDPOINTS);
	struct um_svc_ep ep, none = {0};
	uint32_t index;

	if (!f)
		return -ENOMEM;
	memcpy(&index, e->key + e->key_len - sizeof(index), sizeof(index));
	memcpy(&ep, e->data, sizeof(ep));
	ep.zero = 0;
	if (index >= UM_SERVICE_ENDPOINTS_MAX || ep.port == 0) {
		stray(s, set, e->key, e->key_len);
		f->have_spoiled = true;
		return 0;
	}
	while (f->have.len <= index)
		if (um_vec_push(&f->have, none) < 0)
			return -ENOMEM;
	f->have.items[index] = ep;
	return 0;
}

static int take_open(struct um_services *s, enum um_svc_set set, const struct um_nft_elem *e)
{
	struct um_svc_key k = {.node = 1};
	struct um_svc_front *f;

	k.protocol = set == UM_SVC_NODE_TCP ? IPPROTO_TCP : IPPROTO_UDP;
	memcpy(&k.port, e->key, 2);
	f = um_svc_front_get(s, &k);
	if (!f)
		return -ENOMEM;
	f->have_open = true;
	return 0;
}

static struct um_svc_hairpin *hairpin_get(struct um_services *s, uint32_t addr)
{
	unsigned before = HASH_COUNT(s->hairpins);
	struct um_svc_hairpin *h;

	HASH_FIND(hh, s->hairpins, &addr, sizeof(addr), h);
	if (h)
		return h;
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->addr = addr;
	HASH_ADD(hh, s->hairpins, addr, sizeof(h->addr), h);
	if (HASH_COUNT(s->hairpins) == before) {
		free(h);
		return NULL;
	}
	return h;
}

static int take_hairpin(struct um_services *s, const struct um_nft_elem *e)
{
	struct um_svc_hairpin *h;
	uint32_t pair[2];

	memcpy(pair, e->key, sizeof(pair));
	if (pair[0] != pair[1]) {
		stray(s, UM_SVC_HAIRPIN, e->key, e->key_len);
		return 0;
	}
	h = hairpin_get(s, pair[0]);
	if (!h)
		return -ENOMEM;
	h->have = true;
	return 0;
}

int um_svc_take(struct um_services *s, enum um_svc_set set, const struct um_nft_elem *e)
{
	const struct um_svc_set_desc *d = &um_svc_sets[set];

	if (e->key_len != d->key_len || e->chain || e->data_len != d->data_len)
		return -EBADMSG;
	switch (set) {
	case UM_SVC_SERVICES:
	case UM_SVC_NODE_PORTS:
	case UM_SVC_STICKY:
	case UM_SVC_NODE_STICKY:
		return take_number(s, set, e);
	case UM_SVC_ENDPOINTS:
	case UM_SVC_NODE_ENDPOINTS:
		return take_endpoint(s, set, e);
	case UM_SVC_NODE_TCP:
	case UM_SVC_NODE_UDP:
		return take_open(s, set, e);
	case UM_SVC_HAIRPIN:
		return take_hairpin(s, e);
	case UM_SVC_SETS:
	default:
		return -EINVAL;
	}
}

/* Whether the elements of a front are those of one whole Service. */
static bool fits(const struct um_services *s, const struct um_svc_front *f)
{
	struct um_svc_front as = {.key = f->key, .wanted = true, .want_sec = f->have_sec};

	as.want.len = f->have.len;
	if (f->have_spoiled || f->have_class != um_svc_want_class(&as) ||
	    (f->have_sec && (!f->have_class || !um_svc_has_time(s, f->have_sec))) ||
	    (f->have_class && !um_svc_has_class(s, f->have_class)) ||
	    (f->key.node && f->have_class && !f->have_open))
		return false;
	for (size_t i = 0; i < f->have.len; i++)
		if (f->have.items[i].port == 0)
			return false;
	return true;
}

/* All of a front's elements go, one by one. */
static void discard(struct um_services *s, struct um_svc_front *f)
{
	bool node = f->key.node;
	uint8_t key[UM_SVC_KEY_MAX];
	size_t n = um_svc_put_index(key, &f->key, 0) - 4;

	if (f->have_class)
		stray(s, node ? UM_SVC_NODE_PORTS : UM_SVC_SERVICES, key, n);
	if (f->have_sec)
		stray(s, node ? UM_SVC_NODE_STICKY : UM_SVC_STICKY, key, n);
	for (size_t i = 0; i < f->have.len; i++) {
		if (f->have.items[i].port == 0)
			continue;
		n = um_svc_put_index(key, &f->key, (uint32_t)i);
		stray(s, node ? UM_SVC_NODE_ENDPOINTS : UM_SVC_ENDPOINTS, key, n);
	}
	if (f->have_open)
		stray(s, f->key.protocol == IPPROTO_TCP ? UM_SVC_NODE_TCP : UM_SVC_NODE_UDP,
		      &f->key.port, 2);
	um_vec_release(&f->have);
	f->have_class = f->have_sec = 0;
	f->have_open = f->have_spoiled = false;
}

static int count_hairpins(struct um_services *s, const struct um_svc_front *f)
{
	um_vec_foreach (ep, &f->have) {
		struct um_svc_hairpin *h;

		if (s->node.prefix && !um_range_has(&s->node, ntohl(ep->addr)))
			continue;
		h = hairpin_get(s, ep->addr);
		if (!h)
			return -ENOMEM;
		h->refs++;
	}
	return 0;
}

/* Fewer elements than references, or the other way round: the next transaction mends it. */
static void mend_hairpins(struct um_services *s)
{
	struct um_svc_hairpin *h, *tmp;

	HASH_ITER (hh, s->hairpins, h, tmp) {
		uint32_t pair[2] = {h->addr, h->addr};

		if (h->have && h->refs)
			continue;
		if (h->have)
			stray(s, UM_SVC_HAIRPIN, pair, sizeof(pair));
		else
			um_nft_put_elem(&s->lacking, pair, sizeof(pair), NULL, 0);
		if (!h->refs) {
			HASH_DEL(s->hairpins, h);
			free(h);
		}
	}
}

static bool as_wanted(const struct um_svc_front *f)
{
	struct um_svc_ep *sorted;
	bool same;

	if (f->have_class != um_svc_want_class(f) || f->have_open != (f->key.node && f->wanted) ||
	    f->have_sec != (f->have_class ? f->want_sec : 0))
		return false;
	if (!f->wanted || !f->have.len)
		return f->have.len == 0;
	sorted = malloc(f->have.len * sizeof(*sorted));
	if (!sorted)
		return false; /* the diff finds nothing then */
	memcpy(sorted, f->have.items, f->have.len * sizeof(*sorted));
	qsort(sorted, f->have.len, sizeof(*sorted), um_svc_ep_compare);
	same = memcmp(sorted, f->want.items, f->have.len * sizeof(*sorted)) == 0;
	free(sorted);
	return same;
}

int um_svc_take_end(struct um_services *s)
{
	struct um_svc_front *f, *tmp;
	int r = 0;

	HASH_ITER (hh, s->fronts, f, tmp) {
		if (!fits(s, f))
			discard(s, f);
		if (r == 0)
			r = count_hairpins(s, f);
		if (!as_wanted(f))
			um_svc_mark(s, f);
		else if (!f->wanted && !f->dirty)
			um_svc_front_free(s, f);
	}
	mend_hairpins(s);
	for (int i = 0; i < UM_SVC_SETS; i++)
		if (r == 0)
			r = um_buf_error(&s->strays[i]);
	return r < 0 ? r : um_buf_error(&s->lacking);
}

struct taking {
	struct um_services *s;
	enum um_svc_set set;
};

static int on_elem(void *arg, const struct um_nft_elem *e)
{
	struct taking *t = arg;

	return um_svc_take(t->s, t->set, e);
}

int um_svc_read(struct um_services *s)
{
	struct taking t = {.s = s};
	int r = 0, end;

	um_svc_take_begin(s);
	for (t.set = 0; t.set < UM_SVC_SETS && r == 0; t.set++)
		r = um_nft_dump_set(s->nft, UM_SVC_TABLE, um_svc_sets[t.set].name, on_elem, &t);
	end = um_svc_take_end(s);
	return r < 0 ? r : end;
}
