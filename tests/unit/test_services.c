#include <arpa/inet.h>
#include <criterion/criterion.h>

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "netns/services_priv.h"

/* ---- a kernel of our own: the elements that batches leave ---- */

struct elem {
	uint8_t key[UM_SVC_KEY_MAX], data[8];
	size_t key_len, data_len;
	UT_hash_handle hh;
};
static struct elem *kernel[UM_SVC_SETS];
static unsigned operations;

struct op {
	int set;
	bool add;
};

static int apply_elem(void *arg, const struct um_nft_elem *e)
{
	struct op *op = arg;
	struct elem *k;

	operations++;
	cr_assert_eq(e->key_len, um_svc_sets[op->set].key_len);
	HASH_FIND(hh, kernel[op->set], e->key, e->key_len, k);
	if (!op->add) {
		cr_assert(k, "%s: deleted and not there", um_svc_sets[op->set].name);
		HASH_DEL(kernel[op->set], k);
		free(k);
		return 0;
	}
	cr_assert(!k, "%s: added and there", um_svc_sets[op->set].name);
	cr_assert_eq(e->data_len, um_svc_sets[op->set].data_len);
	k = calloc(1, sizeof(*k));
	memcpy(k->key, e->key, e->key_len);
	if (e->data_len)
		memcpy(k->data, e->data, e->data_len);
	k->key_len = e->key_len;
	k->data_len = e->data_len;
	HASH_ADD(hh, kernel[op->set], key, e->key_len, k);
	return 0;
}

/* The elements of a buffer, as a message would bring them. */
static unsigned each(const struct um_buf *elems, int (*fn)(void *, const struct um_nft_elem *),
		     void *arg)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(64 << 20);
	unsigned messages = 0;

	um_nft_batch_begin(&b, 1);
	um_nft_batch_elems(&b, NFT_MSG_NEWSETELEM, "t", "s", elems);
	cr_assert_eq(um_buf_error(&b), 0);
	for (size_t at = 0; at < b.len; messages++) {
		const struct nlmsghdr *h = (const void *)(b.data + at);

		cr_assert_eq(at % 4, 0);
		cr_assert_leq(at + h->nlmsg_len, b.len);
		if (messages)
			cr_assert_eq(um_nft_elems(h, fn, arg), 0);
		at += h->nlmsg_len;
	}
	return messages - 1;
}

static void apply(const struct um_svc_change *c)
{
	for (int add = 0; add < 2; add++)
		for (int i = 0; i < UM_SVC_SETS; i++) {
			struct op op = {i, add};

			each(add ? &c->add[i] : &c->del[i], apply_elem, &op);
		}
}

static struct um_services *make(void)
{
	struct um_services *s = calloc(1, sizeof(*s));

	pthread_mutex_init(&s->lock, NULL);
	s->classes = malloc(UM_SVC_CLASS_BYTES);
	memset(s->classes, 0xff, UM_SVC_CLASS_BYTES);
	for (int i = 0; i < UM_SVC_SETS; i++) {
		um_buf_init(&s->strays[i], 1 << 20);
		kernel[i] = NULL;
	}
	um_buf_init(&s->lacking, 1 << 20);
	for (unsigned t = 1; t < 10; t++)
		cr_assert_eq(um_vec_push(&s->times, t), 0);
	cr_assert_eq(um_range_parse("x", "10.96.0.0/16", &s->services, NULL), 0);
	cr_assert_eq(um_range_parse("x", "10.244.0.0/16", &s->pods, NULL), 0);
	cr_assert_eq(um_range_parse("x", "10.244.7.0/24", &s->node, NULL), 0);
	s->node_min = 30000;
	s->node_max = 32767;
	return s;
}

static void send_all(struct um_services *s)
{
	struct um_svc_change c;
	bool lost;

	um_svc_change_init(&c);
	operations = 0;
	while (s->dirty) {
		struct um_svc_front *f = s->dirty;

		cr_assert_eq(um_svc_diff(s, f, &c, &lost), 0);
		s->dirty = f->next_dirty;
		f->dirty = false;
		if (!f->wanted)
			um_svc_front_free(s, f);
	}
	apply(&c);
	um_svc_change_release(&c);
}

static void set(struct um_services *s, const char *key, const char *vip, uint16_t node_port,
		unsigned sec, const unsigned *numbers, size_t n)
{
	struct um_service_endpoint e[64];
	struct um_service_port p = {.protocol = IPPROTO_TCP,
				    .port = 80,
				    .node_port = node_port,
				    .affinity_sec = sec,
				    .endpoints = e,
				    .n_endpoints = n};
	struct um_error err = UM_ERROR_INIT;

	p.vip.s_addr = inet_addr(vip);
	for (size_t i = 0; i < n; i++)
		e[i] = (struct um_service_endpoint){{htonl(0x0af40700u + numbers[i])}, 8080};
	cr_assert_eq(um_services_set(s, key, &p, 1, &err), 0, "%s", err.msg);
}

static unsigned count(int set_id)
{
	return HASH_COUNT(kernel[set_id]);
}

/* What the kernel holds is exactly one Service's: each endpoint once, indexes without a gap. */
static void expect(unsigned n, unsigned class_kind, bool node, const unsigned *numbers, size_t len)
{
	struct elem *e = kernel[node ? UM_SVC_NODE_PORTS : UM_SVC_SERVICES], *tmp;
	int set_id = node ? UM_SVC_NODE_ENDPOINTS : UM_SVC_ENDPOINTS;
	bool index[64] = {false};
	uint32_t class;

	cr_assert_eq(count(set_id), n);
	if (n == 0) {
		cr_assert(!e);
		return;
	}
	memcpy(&class, e->data, 4);
	cr_assert_eq(class, UM_SVC_CLASS(class_kind, n));
	HASH_ITER (hh, kernel[set_id], e, tmp) {
		uint32_t i, addr;
		bool known = false;

		memcpy(&i, e->key + e->key_len - 4, 4);
		memcpy(&addr, e->data, 4);
		cr_assert_lt(i, n);
		cr_assert(!index[i]);
		index[i] = true;
		for (size_t k = 0; k < len; k++)
			known |= ntohl(addr) == 0x0af40700u + numbers[k];
		cr_assert(known);
	}
}

Test(services, one_change_costs_a_few_elements)
{
	struct um_services *s = make();
	unsigned e[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

	set(s, "a", "10.96.0.1", 0, 0, e, 10);
	send_all(s);
	cr_assert_eq(operations, 1 + 10 + 10); /* class, endpoints, hairpins */
	expect(10, UM_SVC_PICK, false, e, 10);
	set(s, "a", "10.96.0.1", 0, 0, e, 10);
	cr_assert(!s->dirty, "the same again is no change");
	e[3] = 40;
	set(s, "a", "10.96.0.1", 0, 0, e, 10);
	send_all(s);
	cr_assert_eq(operations, 2 + 2);
	expect(10, UM_SVC_PICK, false, e, 10);
	set(s, "a", "10.96.0.1", 0, 0, e, 11);
	send_all(s);
	cr_assert_eq(operations, 2 + 1 + 1);
	expect(11, UM_SVC_PICK, false, e, 11);
	set(s, "a", "10.96.0.1", 0, 0, e + 1, 10);
	send_all(s);
	cr_assert_leq(operations, 2 + 3 + 1);
	expect(10, UM_SVC_PICK, false, e + 1, 10);
	um_services_remove(s, "a");
	send_all(s);
	for (int i = 0; i < UM_SVC_SETS; i++)
		cr_assert_eq(count(i), 0, "%s", um_svc_sets[i].name);
	um_services_close(s);
}

Test(services, any_sequence_ends_where_it_should)
{
	struct um_services *s = make();

	srand(7);
	for (int round = 0; round < 3000; round++) {
		unsigned e[40], sec = rand() % 3 ? 0 : 1 + (unsigned)rand() % 5;
		size_t n = (size_t)rand() % 20;
		bool node = rand() % 2;

		for (size_t i = 0; i < n; i++)
			e[i] = 1 + i * 2 + (unsigned)rand() % 2;
		set(s, "a", "10.96.0.1", node ? 30001 : 0, sec, e, n);
		send_all(s);
		expect((unsigned)n, sec ? UM_SVC_STICKY_PICK : UM_SVC_PICK, false, e, n);
		expect(node ? (unsigned)n : 0, sec ? UM_SVC_NODE_STICKY_PICK : UM_SVC_NODE_PICK,
		       true, e, n);
		cr_assert_eq(count(UM_SVC_STICKY), sec && n ? 1 : 0);
		cr_assert_eq(count(UM_SVC_NODE_STICKY), sec && n && node ? 1 : 0);
		cr_assert_eq(count(UM_SVC_NODE_TCP), node ? 1 : 0);
		cr_assert_eq(count(UM_SVC_HAIRPIN), n);
	}
	um_services_remove(s, "a");
	send_all(s);
	um_services_close(s);
}

/* The kernel's elements, as a reader would get them. */
static void read_back(struct um_services *s)
{
	um_svc_take_begin(s);
	for (int i = 0; i < UM_SVC_SETS; i++) {
		struct elem *e, *tmp;

		HASH_ITER (hh, kernel[i], e, tmp) {
			struct um_nft_elem x = {.key = e->key,
						.key_len = e->key_len,
						.data = e->data_len ? e->data : NULL,
						.data_len = e->data_len};

			cr_assert_eq(um_svc_take(s, (enum um_svc_set)i, &x), 0);
		}
	}
	cr_assert_eq(um_svc_take_end(s), 0);
}

static void send_strays(struct um_services *s)
{
	struct op add = {UM_SVC_HAIRPIN, true};

	for (int i = 0; i < UM_SVC_SETS; i++) {
		struct op del = {i, false};

		each(&s->strays[i], apply_elem, &del);
	}
	each(&s->lacking, apply_elem, &add);
	operations = 0;
}

Test(services, a_restart_finds_nothing_to_do)
{
	struct um_services *s = make(), *again;
	unsigned e[5] = {1, 2, 3, 4, 5};
	struct elem *keep[UM_SVC_SETS];

	set(s, "a", "10.96.0.1", 30001, 5, e, 5);
	set(s, "b", "10.96.0.2", 30002, 0, e, 0);
	send_all(s);
	memcpy(keep, kernel, sizeof(keep));
	again = make();
	memcpy(kernel, keep, sizeof(keep));
	read_back(again);
	set(again, "a", "10.96.0.1", 30001, 5, e, 5);
	set(again, "b", "10.96.0.2", 30002, 0, e, 0);
	send_all(again);
	cr_assert_eq(operations, 0);
	um_services_close(s);
	um_services_close(again);
}

Test(services, any_spoiled_state_is_mended)
{
	struct um_services *s = make();
	unsigned e[6] = {1, 2, 3, 4, 5, 6};

	set(s, "a", "10.96.0.1", 30001, 5, e, 6);
	set(s, "b", "10.96.0.2", 30002, 0, e, 3);
	send_all(s);
	srand(3);
	for (int round = 0; round < 500; round++) {
		int i = rand() % UM_SVC_SETS;
		unsigned n = count(i), pick = n ? (unsigned)rand() % n : 0;
		struct elem *k = kernel[i];

		while (k && pick--)
			k = k->hh.next;
		if (k && rand() % 2) {
			HASH_DEL(kernel[i], k);
			free(k);
		} else if (k && k->data_len) {
			k->data[rand() % (int)k->data_len] ^= (uint8_t)(1 << rand() % 8);
		} else {
			struct um_nft_elem x = {.key_len = um_svc_sets[i].key_len,
						.data_len = um_svc_sets[i].data_len};
			uint8_t key[16], data[8];
			struct op op = {i, true};

			for (size_t b = 0; b < 16; b++)
				key[b] = (uint8_t)(rand() % 4);
			memset(data, rand() % 3, sizeof(data));
			x.key = key;
			x.data = x.data_len ? data : NULL;
			HASH_FIND(hh, kernel[i], key, x.key_len, k);
			if (!k)
				apply_elem(&op, &x);
		}
		read_back(s);
		send_strays(s);
		send_all(s);
		cr_assert_eq(count(UM_SVC_SERVICES), 2);
		cr_assert_eq(count(UM_SVC_ENDPOINTS), 9);
		cr_assert_eq(count(UM_SVC_NODE_ENDPOINTS), 9);
		cr_assert_eq(count(UM_SVC_STICKY), 1);
		cr_assert_eq(count(UM_SVC_NODE_STICKY), 1);
		cr_assert_eq(count(UM_SVC_NODE_TCP), 2);
		cr_assert_eq(count(UM_SVC_NODE_UDP), 0);
		cr_assert_eq(count(UM_SVC_HAIRPIN), 6);
	}
	um_services_close(s);
}

static int count_elem(void *arg, const struct um_nft_elem *e um_unused)
{
	++*(unsigned *)arg;
	return 0;
}

Test(nft, batches_are_split_below_64_kb)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(16 << 20);
	unsigned n = 0, messages;
	uint8_t key[16] = {0}, data[8] = {0};

	for (unsigned i = 0; i < 20000; i++) {
		memcpy(key, &i, sizeof(i));
		um_nft_put_elem(&b, key, sizeof(key), data, sizeof(data));
	}
	messages = each(&b, count_elem, &n);
	cr_assert_eq(n, 20000);
	cr_assert_geq(messages, b.len / 65535);
	cr_assert_leq(messages, b.len / 60000 + 2);
}

Test(nft, hostile_answers_are_refused_or_taken_within_their_bounds)
{
	_cleanup_buf_ struct um_buf elems = UM_BUF_INIT(4096), b = UM_BUF_INIT(8192);
	uint8_t key[16] = {1}, data[8] = {2};
	unsigned n;
	size_t at, len;

	um_nft_put_elem(&elems, key, 16, data, 8);
	um_nft_put_goto(&elems, key, 4, "pick_1");
	um_nft_batch_begin(&b, 1);
	at = b.len;
	um_nft_batch_elems(&b, NFT_MSG_NEWSETELEM, "t", "s", &elems);
	len = b.len - at;
	srand(1);
	for (int round = 0; round < 20000; round++) {
		size_t cut = round < (int)len ? (size_t)round : len;
		struct nlmsghdr *h = malloc(cut < sizeof(*h) ? sizeof(*h) : cut);

		memcpy(h, b.data + at, cut < sizeof(*h) ? sizeof(*h) : cut);
		h->nlmsg_len = (uint32_t)cut;
		for (int k = 0; k < 3 && round >= (int)len; k++)
			((uint8_t *)h)[sizeof(*h) + (size_t)rand() % (len - sizeof(*h))] =
				(uint8_t)rand();
		n = 0;
		int r = um_nft_elems(h, count_elem, &n);

		cr_assert(r == 0 || r == -EBADMSG);
		cr_assert_leq(n, 60);
		free(h);
	}
}
