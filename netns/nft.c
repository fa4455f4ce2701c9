#include "netns/nft.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>
#include <sys/socket.h>

/* Room for the largest datagram of a dump: the kernel's are of 32 KB at most. */
#define RECV_BYTES (64u << 10)
/* Elements of one message: the list's length is 16 bits, and the other attributes are small. */
#define LIST_BYTES 65000u
/* The answer to a request comes from the kernel itself; this only bounds the unthinkable. */
#define ANSWER_MS 60000

/* ---- socket ---- */

int um_nft_open(struct um_nft **ret, struct um_error *err)
{
	_cleanup_(um_nft_closep) struct um_nft *n = calloc(1, sizeof(*n));

	if (!n)
		return um_error_errno(err, -ENOMEM, "open a netlink socket");
	n->sock = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!n->sock || mnl_socket_bind(n->sock, 0, MNL_SOCKET_AUTOPID) < 0)
		return um_error_errno(err, -errno, "open a netlink socket");
	n->portid = mnl_socket_get_portid(n->sock);
	n->seq = 1;
	*ret = TAKE_PTR(n);
	return 0;
}

void um_nft_close(struct um_nft *n)
{
	if (!n)
		return;
	if (n->sock)
		mnl_socket_close(n->sock);
	free(n);
}

static int wait_readable(struct um_nft *n)
{
	struct pollfd p = {.fd = mnl_socket_get_fd(n->sock), .events = POLLIN};
	int r;

	do
		r = poll(&p, 1, ANSWER_MS);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r == 0 ? -ETIMEDOUT : 0;
}

/* Throws away answers that nobody waited for, after a failure. */
static void drain(struct um_nft *n)
{
	char buf[256];

	while (recv(mnl_socket_get_fd(n->sock), buf, sizeof(buf), MSG_DONTWAIT) >= 0 ||
	       errno == EINTR || errno == ENOBUFS)
		;
}

static int send_all(struct um_nft *n, const void *data, size_t len)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	int fd = mnl_socket_get_fd(n->sock);
	ssize_t r;

	if (len + 4096 > n->sndbuf) {
		int want = (int)(len + 4096 < (128u << 10) ? 128u << 10 : len + 4096);

		/* Without the capability the usual size stays, and a large batch is refused. */
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &want, sizeof(want));
		n->sndbuf = (size_t)want;
	}
	do
		r = sendto(fd, data, len, 0, (struct sockaddr *)&kernel, sizeof(kernel));
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

/* ---- attributes ---- */

void um_nft_put(struct um_buf *b, uint16_t type, const void *data, size_t len)
{
	static const char zero[MNL_ALIGNTO];
	struct nlattr a = {.nla_len = (uint16_t)(MNL_ATTR_HDRLEN + len), .nla_type = type};

	if (len > UINT16_MAX - MNL_ATTR_HDRLEN) {
		b->failed = -EMSGSIZE;
		return;
	}
	um_buf_add(b, &a, sizeof(a));
	um_buf_add(b, data, len);
	um_buf_add(b, zero, MNL_ALIGN(len) - len);
}

void um_nft_put_text(struct um_buf *b, uint16_t type, const char *text)
{
	um_nft_put(b, type, text, strlen(text) + 1);
}

/* The attributes of @len bytes at @p. */
static int split(const char *p, size_t len, const struct nlattr **ret, uint16_t max)
{
	for (uint16_t i = 0; i <= max; i++)
		ret[i] = NULL;
	while (len >= sizeof(struct nlattr)) {
		const struct nlattr *a = (const void *)p;
		uint16_t type = a->nla_type & NLA_TYPE_MASK;
		size_t step = MNL_ALIGN(a->nla_len);

		if (a->nla_len < sizeof(*a) || a->nla_len > len)
			return -EBADMSG;
		if (type <= max)
			ret[type] = a;
		p += step < len ? step : len;
		len -= step < len ? step : len;
	}
	return len ? -EBADMSG : 0;
}

int um_nft_attrs(const struct nlmsghdr *h, size_t skip, const struct nlattr **ret, uint16_t max)
{
	size_t head = MNL_NLMSG_HDRLEN + MNL_ALIGN(skip);

	if (h->nlmsg_len < head)
		return -EBADMSG;
	return split((const char *)h + head, h->nlmsg_len - head, ret, max);
}

int um_nft_nested(const struct nlattr *a, const struct nlattr **ret, uint16_t max)
{
	return split(mnl_attr_get_payload(a), mnl_attr_get_payload_len(a), ret, max);
}

/* ---- requests ---- */

static void put_head(struct um_buf *b, uint16_t type, uint16_t flags, unsigned seq, uint8_t family,
		     uint16_t res_id)
{
	struct {
		struct nlmsghdr h;
		struct nfgenmsg g;
	} m = {
		.h = {.nlmsg_len = sizeof(m), .nlmsg_type = type, .nlmsg_seq = seq},
		.g = {.nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(res_id)},
	};

	m.h.nlmsg_flags = NLM_F_REQUEST | flags;
	um_buf_add(b, &m, sizeof(m));
}

/* Sets the length of the message that begins at @at. */
static void end_message(struct um_buf *b, size_t at)
{
	uint32_t len = (uint32_t)(b->len - at);

	if (!um_buf_error(b))
		memcpy(b->data + at, &len, sizeof(len));
}

static int send_request(struct um_nft *n, uint16_t type, uint8_t family, uint16_t flags,
			const struct um_buf *attrs)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UINT16_MAX);

	put_head(&b, type, flags, ++n->seq, family, 0);
	if (attrs)
		um_buf_add(&b, attrs->data, attrs->len);
	end_message(&b, 0);
	if (um_buf_error(&b))
		return um_buf_error(&b);
	if (attrs && um_buf_error(attrs))
		return um_buf_error(attrs);
	drain(n);
	return send_all(n, b.data, b.len);
}

struct reading {
	struct um_nft *n;
	int (*fn)(void *arg, const struct nlmsghdr *h);
	void *arg;
	int failed;
	bool done;
};

static int error_code(const struct nlmsghdr *h)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);

	if (h->nlmsg_len < MNL_NLMSG_HDRLEN + sizeof(e->error))
		return -EBADMSG;
	return e->error > 0 ? -EBADMSG : e->error;
}

static void read_message(struct reading *rd, const struct nlmsghdr *h)
{
	int r = 0;

	if (h->nlmsg_flags & NLM_F_DUMP_INTR)
		r = -EINTR;
	if (h->nlmsg_type == NLMSG_ERROR) {
		r = error_code(h);
		rd->done = true;
	} else if (h->nlmsg_type == NLMSG_DONE) {
		int code = 0;

		if (h->nlmsg_len >= MNL_NLMSG_HDRLEN + sizeof(code))
			memcpy(&code, mnl_nlmsg_get_payload(h), sizeof(code));
		if (code < 0)
			r = code;
		rd->done = true;
	} else if (h->nlmsg_type >= NLMSG_MIN_TYPE && r == 0 && rd->fn && !rd->failed) {
		r = rd->fn(rd->arg, h);
	}
	if (r < 0 && !rd->failed)
		rd->failed = r;
}

/* Reads until the request's answer has ended. */
static int read_answer(struct reading *rd)
{
	struct um_nft *n = rd->n;
	_cleanup_free_ char *buf = malloc(RECV_BYTES);

	if (!buf)
		return -ENOMEM;
	while (!rd->done) {
		int r = wait_readable(n), left;
		ssize_t got;

		if (r < 0)
			return r;
		got = recv(mnl_socket_get_fd(n->sock), buf, RECV_BYTES, MSG_TRUNC);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if ((size_t)got > RECV_BYTES)
			return -EMSGSIZE;
		left = (int)got;
		for (struct nlmsghdr *h = (void *)buf; mnl_nlmsg_ok(h, left);
		     h = mnl_nlmsg_next(h, &left))
			if (h->nlmsg_seq == n->seq)
				read_message(rd, h);
	}
	return rd->failed;
}

int um_nft_request(struct um_nft *n, uint16_t type, uint8_t family, uint16_t flags,
		   const struct um_buf *attrs)
{
	struct reading rd = {.n = n};
	int r = send_request(n, type, family, flags | NLM_F_ACK, attrs);

	return r < 0 ? r : read_answer(&rd);
}

int um_nft_dump(struct um_nft *n, uint16_t type, uint8_t family, const struct um_buf *attrs,
		int (*fn)(void *arg, const struct nlmsghdr *h), void *arg)
{
	struct reading rd = {.n = n, .fn = fn, .arg = arg};
	int r = send_request(n, type, family, NLM_F_DUMP, attrs);

	return r < 0 ? r : read_answer(&rd);
}

static int on_generation(void *arg, const struct nlmsghdr *h)
{
	const struct nlattr *a[NFTA_GEN_ID + 1];
	int r = um_nft_attrs(h, sizeof(struct nfgenmsg), a, NFTA_GEN_ID);

	if (r < 0)
		return r;
	if (!a[NFTA_GEN_ID] || mnl_attr_get_payload_len(a[NFTA_GEN_ID]) != sizeof(uint32_t))
		return -EBADMSG;
	*(uint32_t *)arg = ntohl(mnl_attr_get_u32(a[NFTA_GEN_ID]));
	return 0;
}

int um_nft_generation(struct um_nft *n, uint32_t *ret)
{
	struct reading rd = {.n = n, .fn = on_generation, .arg = ret};
	int r = send_request(n, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, AF_UNSPEC, NLM_F_ACK,
			     NULL);

	return r < 0 ? r : read_answer(&rd);
}

/* ---- elements ---- */

static int parse_data(const struct nlattr *a, struct um_nft_elem *e)
{
	const struct nlattr *d[NFTA_DATA_MAX + 1], *v[NFTA_VERDICT_MAX + 1];
	int r = um_nft_nested(a, d, NFTA_DATA_MAX);

	if (r < 0)
		return r;
	if (d[NFTA_DATA_VALUE]) {
		e->data = mnl_attr_get_payload(d[NFTA_DATA_VALUE]);
		e->data_len = mnl_attr_get_payload_len(d[NFTA_DATA_VALUE]);
	}
	if (!d[NFTA_DATA_VERDICT])
		return 0;
	r = um_nft_nested(d[NFTA_DATA_VERDICT], v, NFTA_VERDICT_MAX);
	if (r == 0 && v[NFTA_VERDICT_CHAIN]) {
		const struct nlattr *c = v[NFTA_VERDICT_CHAIN];

		e->chain = mnl_attr_get_payload(c);
		if (!memchr(e->chain, '\0', mnl_attr_get_payload_len(c)))
			return -EBADMSG;
	}
	return r;
}

static int parse_elem(const struct nlattr *a, struct um_nft_elem *ret)
{
	const struct nlattr *e[NFTA_SET_ELEM_MAX + 1], *k[NFTA_DATA_MAX + 1];
	int r = um_nft_nested(a, e, NFTA_SET_ELEM_MAX);

	*ret = (struct um_nft_elem){0};
	if (r == 0 && !e[NFTA_SET_ELEM_KEY])
		r = -EBADMSG;
	if (r == 0)
		r = um_nft_nested(e[NFTA_SET_ELEM_KEY], k, NFTA_DATA_MAX);
	if (r == 0 && !k[NFTA_DATA_VALUE])
		r = -EBADMSG;
	if (r < 0)
		return r;
	ret->key = mnl_attr_get_payload(k[NFTA_DATA_VALUE]);
	ret->key_len = mnl_attr_get_payload_len(k[NFTA_DATA_VALUE]);
	return e[NFTA_SET_ELEM_DATA] ? parse_data(e[NFTA_SET_ELEM_DATA], ret) : 0;
}

int um_nft_elems(const struct nlmsghdr *h, int (*fn)(void *arg, const struct um_nft_elem *e),
		 void *arg)
{
	const struct nlattr *a[NFTA_SET_ELEM_LIST_ELEMENTS + 1], *list, *item;
	int r = um_nft_attrs(h, sizeof(struct nfgenmsg), a, NFTA_SET_ELEM_LIST_ELEMENTS);
	size_t len;

	if (r < 0 || !(list = a[NFTA_SET_ELEM_LIST_ELEMENTS]))
		return r;
	item = mnl_attr_get_payload(list);
	len = mnl_attr_get_payload_len(list);
	while (len >= sizeof(*item)) {
		size_t step = MNL_ALIGN(item->nla_len);
		struct um_nft_elem e;

		if (item->nla_len < sizeof(*item) || item->nla_len > len)
			return -EBADMSG;
		if ((item->nla_type & NLA_TYPE_MASK) == NFTA_LIST_ELEM) {
			r = parse_elem(item, &e);
			if (r == 0)
				r = fn(arg, &e);
			if (r < 0)
				return r;
		}
		step = step < len ? step : len;
		item = (const void *)((const char *)item + step);
		len -= step;
	}
	return len ? -EBADMSG : 0;
}

struct elems {
	int (*fn)(void *arg, const struct um_nft_elem *e);
	void *arg;
};

static int on_elems(void *arg, const struct nlmsghdr *h)
{
	struct elems *e = arg;

	return um_nft_elems(h, e->fn, e->arg);
}

int um_nft_dump_set(struct um_nft *n, const char *table, const char *set,
		    int (*fn)(void *arg, const struct um_nft_elem *e), void *arg)
{
	_cleanup_buf_ struct um_buf attrs = UM_BUF_INIT(1024);
	struct elems e = {fn, arg};

	um_nft_put_text(&attrs, NFTA_SET_ELEM_LIST_TABLE, table);
	um_nft_put_text(&attrs, NFTA_SET_ELEM_LIST_SET, set);
	return um_nft_dump(n, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM, NFPROTO_INET, &attrs,
			   on_elems, &e);
}

/* The header of a nested attribute whose content has @len bytes. */
static void put_nest(struct um_buf *b, uint16_t type, size_t len)
{
	struct nlattr a = {.nla_len = (uint16_t)(MNL_ATTR_HDRLEN + len),
			   .nla_type = NLA_F_NESTED | type};

	um_buf_add(b, &a, sizeof(a));
}

void um_nft_put_elem(struct um_buf *b, const void *key, size_t key_len, const void *data,
		     size_t data_len)
{
	size_t k = MNL_ATTR_HDRLEN + MNL_ALIGN(key_len),
	       d = data_len ? MNL_ATTR_HDRLEN + MNL_ALIGN(data_len) : 0;

	put_nest(b, NFTA_LIST_ELEM, MNL_ATTR_HDRLEN + k + (d ? MNL_ATTR_HDRLEN + d : 0));
	put_nest(b, NFTA_SET_ELEM_KEY, k);
	um_nft_put(b, NFTA_DATA_VALUE, key, key_len);
	if (d) {
		put_nest(b, NFTA_SET_ELEM_DATA, d);
		um_nft_put(b, NFTA_DATA_VALUE, data, data_len);
	}
}

size_t um_nft_nest_begin(struct um_buf *b, uint16_t type)
{
	size_t at = b->len;

	put_nest(b, type, 0);
	return at;
}

void um_nft_nest_end(struct um_buf *b, size_t begin)
{
	uint16_t len = (uint16_t)(b->len - begin);

	if (b->len - begin > UINT16_MAX)
		b->failed = -EMSGSIZE;
	if (!um_buf_error(b))
		memcpy(b->data + begin, &len, sizeof(len));
}

void um_nft_put_u32(struct um_buf *b, uint16_t type, uint32_t v)
{
	v = htonl(v);
	um_nft_put(b, type, &v, sizeof(v));
}

void um_nft_put_goto(struct um_buf *b, const void *key, size_t key_len, const char *chain)
{
	size_t elem = um_nft_nest_begin(b, NFTA_LIST_ELEM), in, verdict;

	in = um_nft_nest_begin(b, NFTA_SET_ELEM_KEY);
	um_nft_put(b, NFTA_DATA_VALUE, key, key_len);
	um_nft_nest_end(b, in);
	in = um_nft_nest_begin(b, NFTA_SET_ELEM_DATA);
	verdict = um_nft_nest_begin(b, NFTA_DATA_VERDICT);
	um_nft_put_u32(b, NFTA_VERDICT_CODE, (uint32_t)NFT_GOTO);
	um_nft_put_text(b, NFTA_VERDICT_CHAIN, chain);
	um_nft_nest_end(b, verdict);
	um_nft_nest_end(b, in);
	um_nft_nest_end(b, elem);
}

/* ---- transactions ---- */

void um_nft_batch_begin(struct um_buf *b, uint32_t generation)
{
	uint32_t id = htonl(generation);

	um_buf_clear(b);
	put_head(b, NFNL_MSG_BATCH_BEGIN, 0, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	um_nft_put(b, NFNL_BATCH_GENID, &id, sizeof(id));
	end_message(b, 0);
}

static uint16_t type_flags(uint16_t type)
{
	return type == NFT_MSG_NEWSETELEM || type == NFT_MSG_NEWCHAIN ? NLM_F_CREATE | NLM_F_EXCL
								      : 0;
}

static void put_elems(struct um_buf *b, uint16_t type, const char *table, const char *set,
		      const char *elems, size_t len)
{
	size_t at = b->len;

	put_head(b, NFNL_SUBSYS_NFTABLES << 8 | type, type_flags(type), 0, NFPROTO_INET, 0);
	um_nft_put_text(b, NFTA_SET_ELEM_LIST_TABLE, table);
	um_nft_put_text(b, NFTA_SET_ELEM_LIST_SET, set);
	put_nest(b, NFTA_SET_ELEM_LIST_ELEMENTS, len);
	um_buf_add(b, elems, len);
	end_message(b, at);
}

void um_nft_batch_elems(struct um_buf *b, uint16_t type, const char *table, const char *set,
			const struct um_buf *elems)
{
	size_t from = 0, to = 0;

	if (um_buf_error(elems))
		b->failed = um_buf_error(elems);
	while (to < elems->len && !um_buf_error(b)) {
		const struct nlattr *a = (const void *)(elems->data + to);
		size_t step = MNL_ALIGN(a->nla_len);

		if (to + step - from > LIST_BYTES) {
			put_elems(b, type, table, set, elems->data + from, to - from);
			from = to;
		}
		to += step;
	}
	if (to > from)
		put_elems(b, type, table, set, elems->data + from, to - from);
}

void um_nft_batch_flush_set(struct um_buf *b, const char *table, const char *set)
{
	size_t at = b->len;

	put_head(b, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELSETELEM, 0, 0, NFPROTO_INET, 0);
	um_nft_put_text(b, NFTA_SET_ELEM_LIST_TABLE, table);
	um_nft_put_text(b, NFTA_SET_ELEM_LIST_SET, set);
	end_message(b, at);
}

void um_nft_batch_rule(struct um_buf *b, const char *table, const char *chain,
		       const struct um_buf *exprs)
{
	size_t at = b->len;

	put_head(b, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, 0,
		 NFPROTO_INET, 0);
	um_nft_put_text(b, NFTA_RULE_TABLE, table);
	um_nft_put_text(b, NFTA_RULE_CHAIN, chain);
	if (um_buf_error(exprs))
		b->failed = um_buf_error(exprs);
	um_nft_put(b, NLA_F_NESTED | NFTA_RULE_EXPRESSIONS, um_buf_str(exprs), exprs->len);
	end_message(b, at);
}

void um_nft_batch_chain(struct um_buf *b, uint16_t type, const char *table, const char *chain)
{
	size_t at = b->len;

	put_head(b, NFNL_SUBSYS_NFTABLES << 8 | type, type_flags(type), 0, NFPROTO_INET, 0);
	um_nft_put_text(b, NFTA_CHAIN_TABLE, table);
	um_nft_put_text(b, NFTA_CHAIN_NAME, chain);
	end_message(b, at);
}

void um_nft_batch_rule_delete(struct um_buf *b, uint8_t family, const char *table,
			      const char *chain, uint64_t handle)
{
	uint64_t net = htobe64(handle);
	size_t at = b->len;

	put_head(b, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELRULE, 0, 0, family, 0);
	um_nft_put_text(b, NFTA_RULE_TABLE, table);
	um_nft_put_text(b, NFTA_RULE_CHAIN, chain);
	um_nft_put(b, NFTA_RULE_HANDLE, &net, sizeof(net));
	end_message(b, at);
}

/* Numbers the messages and asks for an acknowledgement of the last one before the end. Returns the
 * number of that one. */
static unsigned number(struct um_nft *n, struct um_buf *b)
{
	struct nlmsghdr *h = (void *)b->data, *last = h;
	int left = (int)b->len;

	for (; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
		h->nlmsg_seq = ++n->seq;
		last = h;
	}
	last->nlmsg_flags |= NLM_F_ACK;
	return last->nlmsg_seq;
}

/* By the time that sendmsg returns the transaction is over and its answers are queued. */
static int read_verdict(struct um_nft *n, unsigned first, unsigned last)
{
	_cleanup_free_ char *buf = malloc(RECV_BYTES);
	bool acknowledged = false;
	int r = 0;

	if (!buf)
		return -ENOMEM;
	for (;;) {
		ssize_t got = recv(mnl_socket_get_fd(n->sock), buf, RECV_BYTES, MSG_DONTWAIT);
		int left = (int)got;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			break;
		if (got < 0)
			return -errno;
		for (struct nlmsghdr *h = (void *)buf; mnl_nlmsg_ok(h, left);
		     h = mnl_nlmsg_next(h, &left)) {
			if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_seq - first > last - first)
				continue;
			if (r == 0)
				r = error_code(h);
			acknowledged |= h->nlmsg_seq == last;
		}
	}
	return r < 0 ? r : acknowledged ? 0 : -ENOMSG;
}

int um_nft_batch_send(struct um_nft *n, struct um_buf *b)
{
	unsigned first = n->seq + 1, last;
	size_t at;
	int r;

	if (um_buf_error(b))
		return um_buf_error(b);
	last = number(n, b);
	at = b->len;
	put_head(b, NFNL_MSG_BATCH_END, 0, ++n->seq, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	end_message(b, at);
	if (um_buf_error(b))
		return um_buf_error(b);
	drain(n);
	r = send_all(n, b->data, b->len);
	return r < 0 ? r : read_verdict(n, first, last);
}
