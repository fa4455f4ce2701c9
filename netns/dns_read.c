/* Queries and answers, read strictly: each byte belongs to something known. */
#include <string.h>

#include "netns/dns.h"
#include "netns/dns_priv.h"

/* Records of one answer that are looked at: more are no answer for us. */
#define RECORDS_MAX 8192
/* Beside OPT a query may have a signature. */
#define QUERY_ADDITIONAL_MAX 4
#define RR_HEAD 10

struct header {
	uint16_t id, flags, questions, counts[UM_DNS_SECTIONS];
};

struct record {
	struct um_dns_name owner;
	uint16_t type, class, rdata_len;
	uint32_t ttl;
	size_t ttl_at, rdata_at;
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void set16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void set32(uint8_t *p, uint32_t v)
{
	set16(p, v >> 16);
	set16(p + 2, v & 0xffff);
}

static int read_header(const uint8_t *msg, size_t len, struct header *h)
{
	if (len < UM_DNS_HEADER || len > UM_DNS_MSG_MAX)
		return -EBADMSG;
	h->id = get16(msg);
	h->flags = get16(msg + 2);
	h->questions = get16(msg + 4);
	for (int i = 0; i < UM_DNS_SECTIONS; i++)
		h->counts[i] = get16(msg + 6 + 2 * i);
	return 0;
}

static int read_question(const uint8_t *msg, size_t len, size_t *at, struct um_dns_name *name,
			 uint16_t *type, uint16_t *class)
{
	/* The first name of a message has nothing that it could point to. */
	int r = um_dns_name_read(msg, len, at, name);

	if (r < 0 || len - *at < 4)
		return -EBADMSG;
	*type = get16(msg + *at);
	*class = get16(msg + *at + 2);
	*at += 4;
	return 0;
}

static int read_record(const uint8_t *msg, size_t len, size_t *at, struct record *rr)
{
	if (um_dns_name_read(msg, len, at, &rr->owner) < 0 || len - *at < RR_HEAD)
		return -EBADMSG;
	rr->type = get16(msg + *at);
	rr->class = get16(msg + *at + 2);
	rr->ttl_at = *at + 4;
	rr->ttl = get32(msg + rr->ttl_at);
	rr->rdata_len = get16(msg + *at + 8);
	rr->rdata_at = *at + RR_HEAD;
	if (rr->rdata_len > len - rr->rdata_at)
		return -EBADMSG;
	if (rr->ttl > INT32_MAX) /* RFC 2181, 8 */
		rr->ttl = 0;
	*at = rr->rdata_at + rr->rdata_len;
	return 0;
}

/* ---- queries ---- */

static int read_opt(const struct record *rr, struct um_dns_query *q)
{
	if (q->edns || rr->owner.len != 1)
		return UM_DNS_FORMERR;
	q->edns = true;
	q->dnssec_ok = rr->ttl & 0x8000;
	q->udp_size = rr->class < UM_DNS_UDP_MIN   ? UM_DNS_UDP_MIN
		      : rr->class > UM_DNS_UDP_MAX ? UM_DNS_UDP_MAX
						   : rr->class;
	return UM_DNS_NOERROR;
}

int um_dns_query_parse(const uint8_t *msg, size_t len, struct um_dns_query *q)
{
	size_t at = UM_DNS_HEADER;
	bool bad_version = false;
	struct header h;

	memset(q, 0, sizeof(*q));
	if (read_header(msg, len, &h) < 0 || (h.flags & UM_DNS_QR))
		return -EBADMSG;
	q->id = h.id;
	q->flags = h.flags;
	q->udp_size = UM_DNS_UDP_MIN;
	if (h.flags & 0x7800)
		return UM_DNS_NOTIMP;
	if (h.questions != 1 || h.counts[UM_DNS_ANSWER] || h.counts[UM_DNS_AUTHORITY] ||
	    h.counts[UM_DNS_ADDITIONAL] > QUERY_ADDITIONAL_MAX || (h.flags & UM_DNS_TC))
		return UM_DNS_FORMERR;
	if (read_question(msg, len, &at, &q->name, &q->type, &q->class) < 0) {
		q->name.len = 0;
		return UM_DNS_FORMERR;
	}
	for (unsigned i = 0; i < h.counts[UM_DNS_ADDITIONAL]; i++) {
		struct record rr;

		if (read_record(msg, len, &at, &rr) < 0)
			return UM_DNS_FORMERR;
		if (rr.type != UM_DNS_OPT)
			continue;
		if (read_opt(&rr, q) != UM_DNS_NOERROR)
			return UM_DNS_FORMERR;
		bad_version = msg[rr.ttl_at + 1] != 0;
	}
	if (at != len || q->type == UM_DNS_OPT || q->type == 0)
		return UM_DNS_FORMERR;
	return bad_version ? UM_DNS_BADVERS : UM_DNS_NOERROR;
}

size_t um_dns_query_write(uint8_t *buf, uint16_t id, const struct um_dns_query *q)
{
	size_t n = UM_DNS_HEADER;

	memset(buf, 0, UM_DNS_HEADER);
	set16(buf, id);
	set16(buf + 2, UM_DNS_RD | (q->flags & UM_DNS_CD));
	set16(buf + 4, 1);
	set16(buf + 10, 1);
	memcpy(buf + n, q->name.wire, q->name.len);
	n += q->name.len;
	set16(buf + n, q->type);
	set16(buf + n + 2, q->class);
	n += 4;
	buf[n] = 0;
	set16(buf + n + 1, UM_DNS_OPT);
	set16(buf + n + 3, UM_DNS_UDP_MAX);
	set32(buf + n + 5, q->dnssec_ok ? 0x8000 : 0);
	set16(buf + n + 9, 0);
	return n + UM_DNS_OPT_LEN;
}

/* ---- answers ---- */

/* The last field of SOA's data: for how long its zone's negative answers may be kept. */
static uint32_t soa_minimum(const uint8_t *msg, const struct record *rr)
{
	uint32_t minimum = rr->rdata_len >= 22 ? get32(msg + rr->rdata_at + rr->rdata_len - 4) : 0;

	return minimum < rr->ttl ? minimum : rr->ttl;
}

int um_dns_answer_parse(const uint8_t *msg, size_t len, uint16_t id, const struct um_dns_query *q,
			struct um_dns_answer *ret)
{
	uint32_t least = UINT32_MAX, negative = 0;
	size_t at = UM_DNS_HEADER, records = 0;
	struct um_dns_name name;
	uint16_t type, class;
	struct header h;

	if (read_header(msg, len, &h) < 0 || h.id != id || !(h.flags & UM_DNS_QR) ||
	    (h.flags & 0x7800) || h.questions != 1 ||
	    read_question(msg, len, &at, &name, &type, &class) < 0 || type != q->type ||
	    class != q->class || !um_dns_name_equal(&name, &q->name) ||
	    at != UM_DNS_HEADER + (size_t)name.len + 4)
		return -EBADMSG;
	*ret = (struct um_dns_answer){
		.rcode = h.flags & 15,
		.truncated = h.flags & UM_DNS_TC,
		.answers = h.counts[UM_DNS_ANSWER],
	};
	for (int s = 0; s < UM_DNS_SECTIONS; s++) {
		if (s == UM_DNS_ADDITIONAL)
			ret->additional_at = at;
		for (unsigned i = 0; i < h.counts[s]; i++) {
			struct record rr;

			if (++records > RECORDS_MAX || read_record(msg, len, &at, &rr) < 0)
				return -EBADMSG;
			if (rr.type == UM_DNS_OPT && s != UM_DNS_ADDITIONAL)
				return -EBADMSG;
			if (s == UM_DNS_AUTHORITY && rr.type == UM_DNS_SOA)
				negative = soa_minimum(msg, &rr);
			if (s != UM_DNS_ADDITIONAL && rr.ttl < least)
				least = rr.ttl;
		}
	}
	if (at != len)
		return -EBADMSG;
	if (ret->truncated || (ret->rcode != UM_DNS_NOERROR && ret->rcode != UM_DNS_NXDOMAIN))
		ret->ttl = 0;
	else if (ret->rcode == UM_DNS_NXDOMAIN || !ret->answers)
		ret->ttl = negative < least ? negative : least;
	else
		ret->ttl = least;
	return 0;
}

/* Takes @age from the TTLs before the additional section. */
static void make_older(uint8_t *msg, size_t len, uint32_t age)
{
	unsigned n = (unsigned)get16(msg + 6) + get16(msg + 8);
	size_t at = UM_DNS_HEADER;
	struct um_dns_name name;
	uint16_t type, class;
	struct record rr;

	if (read_question(msg, len, &at, &name, &type, &class) < 0)
		return;
	while (n-- && read_record(msg, len, &at, &rr) == 0)
		set32(msg + rr.ttl_at, rr.ttl > age ? rr.ttl - age : 0);
}

size_t um_dns_answer_pass(uint8_t *buf, size_t max, const uint8_t *msg,
			  const struct um_dns_answer *a, const struct um_dns_query *q, uint32_t age)
{
	size_t len = a->additional_at, opt = q->edns ? UM_DNS_OPT_LEN : 0;
	unsigned flags =
		UM_DNS_QR | UM_DNS_RA | (q->flags & (UM_DNS_RD | UM_DNS_CD)) | (unsigned)a->rcode;
	bool cut = a->truncated || len + opt > max;

	if (cut)
		len = UM_DNS_HEADER + (size_t)q->name.len + 4;
	memcpy(buf, msg, len);
	if (q->dnssec_ok)
		flags |= get16(msg + 2) & UM_DNS_AD;
	set16(buf, q->id);
	set16(buf + 2, flags | (cut ? UM_DNS_TC : 0));
	if (cut)
		set32(buf + 6, 0);
	set16(buf + 10, q->edns);
	memcpy(buf + UM_DNS_HEADER, q->name.wire, q->name.len);
	make_older(buf, len, age);
	if (opt) {
		buf[len] = 0;
		set16(buf + len + 1, UM_DNS_OPT);
		set16(buf + len + 3, UM_DNS_UDP_MAX);
		set32(buf + len + 5, q->dnssec_ok ? 0x8000 : 0);
		set16(buf + len + 9, 0);
	}
	return len + opt;
}

/* ---- copying records ---- */

/* Bytes before and after the names in the data of types whose names may be compressed. */
static const struct layout {
	uint16_t type;
	uint8_t before, names, after;
} layouts[] = {
	{UM_DNS_NS, 0, 1, 0},  {UM_DNS_CNAME, 0, 1, 0}, {UM_DNS_SOA, 0, 2, 20},
	{UM_DNS_PTR, 0, 1, 0}, {UM_DNS_MX, 2, 1, 0},	{UM_DNS_SRV, 6, 1, 0},
};

/* The data without pointers. Its length, or -1. */
static int expand(const uint8_t *msg, size_t len, const struct record *rr, uint8_t *out, size_t max)
{
	const struct layout *l = NULL;
	size_t at = rr->rdata_at, end = at + rr->rdata_len, n = 0;

	for (size_t i = 0; i < UM_ARRAY_LEN(layouts); i++)
		if (layouts[i].type == rr->type)
			l = &layouts[i];
	if (l) {
		if (end - at < l->before || l->before > max)
			return -1;
		memcpy(out, msg + at, l->before);
		at += l->before;
		n = l->before;
		for (int i = 0; i < l->names; i++) {
			struct um_dns_name name;

			if (um_dns_name_read(msg, len, &at, &name) < 0 || at > end ||
			    n + name.len > max)
				return -1;
			memcpy(out + n, name.wire, name.len);
			n += name.len;
		}
		if (end - at != l->after)
			return -1;
	}
	if (n + (end - at) > max)
		return -1;
	memcpy(out + n, msg + at, end - at);
	return (int)(n + (end - at));
}

void um_dns_put_answers_of(struct um_dns_writer *w, const uint8_t *msg, size_t len)
{
	size_t at = UM_DNS_HEADER;
	struct um_dns_name name;
	uint16_t type, class;
	uint8_t data[4096];
	struct record rr;

	if (read_question(msg, len, &at, &name, &type, &class) < 0)
		return;
	for (unsigned i = 0; i < get16(msg + 6) && read_record(msg, len, &at, &rr) == 0; i++) {
		int n = rr.class == 1 ? expand(msg, len, &rr, data, sizeof(data)) : -1;

		if (n >= 0 &&
		    !um_dns_put_raw(w, UM_DNS_ANSWER, &rr.owner, rr.type, rr.ttl, data, (size_t)n))
			return;
	}
}
