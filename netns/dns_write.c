/* Answers, written into a buffer of fixed size. Names are compressed against the question's. */
#include <string.h>

#include "netns/dns.h"
#include "netns/dns_priv.h"

static void put16(struct um_dns_writer *w, unsigned v)
{
	w->msg[w->len++] = (uint8_t)(v >> 8);
	w->msg[w->len++] = (uint8_t)v;
}

static void put32(struct um_dns_writer *w, uint32_t v)
{
	put16(w, v >> 16);
	put16(w, v & 0xffff);
}

static void poke16(struct um_dns_writer *w, size_t at, unsigned v)
{
	w->msg[at] = (uint8_t)(v >> 8);
	w->msg[at + 1] = (uint8_t)v;
}

static bool room(const struct um_dns_writer *w, size_t n)
{
	return w->len + n <= w->max;
}

static bool put_bytes(struct um_dns_writer *w, const void *data, size_t n)
{
	if (!room(w, n))
		return false;
	memcpy(w->msg + w->len, data, n);
	w->len += n;
	return true;
}

/* The longest end of @n that the question ends with too: where it begins in each. */
static size_t shared_end(const struct um_dns_writer *w, const struct um_dns_name *n, size_t *ret_at)
{
	const struct um_dns_name *q = &w->q->name;

	for (size_t at = 0; at + 1 < n->len; at += 1u + n->wire[at]) {
		size_t left = n->len - at, from = 0;

		while (q->len - from > left)
			from += 1u + q->wire[from];
		if (q->len - from == left && memcmp(q->wire + from, n->wire + at, left) == 0) {
			*ret_at = from;
			return at;
		}
	}
	return n->len;
}

static bool put_wire_name(struct um_dns_writer *w, const struct um_dns_name *n, bool compress)
{
	size_t from = 0, at = compress && w->q->name.len ? shared_end(w, n, &from) : n->len;

	if (at == n->len)
		return put_bytes(w, n->wire, n->len);
	if (!room(w, at + 2))
		return false;
	memcpy(w->msg + w->len, n->wire, at);
	w->len += at;
	put16(w, 0xc000 | (unsigned)(UM_DNS_HEADER + from));
	return true;
}

/* ---- records ---- */

struct rr {
	size_t start, length_at;
	enum um_dns_section section;
};

static bool rr_begin(struct um_dns_writer *w, struct rr *rr, enum um_dns_section s,
		     const struct um_dns_name *owner, uint16_t type, uint32_t ttl)
{
	rr->start = w->len;
	rr->section = s;
	if (!put_wire_name(w, owner ? owner : &w->q->name, true) || !room(w, 10))
		return false;
	put16(w, type);
	put16(w, 1);
	put32(w, ttl);
	rr->length_at = w->len;
	put16(w, 0);
	return true;
}

/* Keeps the record when all of it found room, else nothing of it. */
static bool rr_end(struct um_dns_writer *w, const struct rr *rr, bool ok)
{
	if (!ok || w->counts[rr->section] == UINT16_MAX) {
		w->len = rr->start;
		w->truncated |= rr->section == UM_DNS_ANSWER;
		return false;
	}
	poke16(w, rr->length_at, (unsigned)(w->len - rr->length_at - 2));
	w->counts[rr->section]++;
	return true;
}

bool um_dns_put_raw(struct um_dns_writer *w, enum um_dns_section s, const struct um_dns_name *owner,
		    uint16_t type, uint32_t ttl, const uint8_t *data, size_t len)
{
	struct rr rr;
	bool ok = rr_begin(w, &rr, s, owner, type, ttl) && put_bytes(w, data, len);

	return rr_end(w, &rr, ok);
}

bool um_dns_put_a(struct um_dns_writer *w, enum um_dns_section s, const struct um_dns_name *owner,
		  uint32_t ttl, uint32_t addr_be)
{
	return um_dns_put_raw(w, s, owner, UM_DNS_A, ttl, (const uint8_t *)&addr_be, 4);
}

bool um_dns_put_name(struct um_dns_writer *w, enum um_dns_section s, enum um_dns_type type,
		     const struct um_dns_name *owner, uint32_t ttl,
		     const struct um_dns_name *target)
{
	struct rr rr;
	bool ok = rr_begin(w, &rr, s, owner, (uint16_t)type, ttl) && put_wire_name(w, target, true);

	return rr_end(w, &rr, ok);
}

bool um_dns_put_srv(struct um_dns_writer *w, uint32_t ttl, uint16_t port,
		    const struct um_dns_name *target)
{
	struct rr rr;
	bool ok = rr_begin(w, &rr, UM_DNS_ANSWER, NULL, UM_DNS_SRV, ttl) && room(w, 6);

	if (ok) {
		put16(w, 0);   /* priority */
		put16(w, 100); /* weight */
		put16(w, port);
		ok = put_wire_name(w, target, false); /* RFC 2782 */
	}
	return rr_end(w, &rr, ok);
}

bool um_dns_put_txt(struct um_dns_writer *w, uint32_t ttl, const char *text)
{
	uint8_t data[256];
	size_t len = strlen(text);

	if (len > 255)
		return false;
	data[0] = (uint8_t)len;
	memcpy(data + 1, text, len);
	return um_dns_put_raw(w, UM_DNS_ANSWER, NULL, UM_DNS_TXT, ttl, data, len + 1);
}

bool um_dns_put_soa(struct um_dns_writer *w, enum um_dns_section s, const struct um_dns_name *zone,
		    uint32_t ttl, const struct um_dns_name *server, const struct um_dns_name *mail,
		    uint32_t serial)
{
	struct rr rr;
	bool ok = rr_begin(w, &rr, s, zone, UM_DNS_SOA, ttl) && put_wire_name(w, server, true) &&
		  put_wire_name(w, mail, true) && room(w, 20);

	if (ok) {
		put32(w, serial);
		put32(w, 7200);	 /* refresh */
		put32(w, 1800);	 /* retry */
		put32(w, 86400); /* expire */
		put32(w, ttl);	 /* negative answers */
	}
	return rr_end(w, &rr, ok);
}

/* ---- the message ---- */

void um_dns_begin(struct um_dns_writer *w, uint8_t *buf, size_t max, const struct um_dns_query *q)
{
	*w = (struct um_dns_writer){.msg = buf, .max = max, .q = q};
	if (q->edns)
		w->max -= UM_DNS_OPT_LEN;
	memset(buf, 0, UM_DNS_HEADER);
	w->len = UM_DNS_HEADER;
	if (!q->name.len)
		return;
	memcpy(buf + w->len, q->name.wire, q->name.len);
	w->len += q->name.len;
	put16(w, q->type);
	put16(w, q->class);
}

size_t um_dns_end(struct um_dns_writer *w, uint16_t flags, int rcode)
{
	const struct um_dns_query *q = w->q;

	if (q->edns) {
		w->max += UM_DNS_OPT_LEN;
		w->msg[w->len++] = 0;
		put16(w, UM_DNS_OPT);
		put16(w, UM_DNS_UDP_MAX);
		put32(w, (uint32_t)rcode >> 4 << 24 | (q->dnssec_ok ? 0x8000 : 0));
		put16(w, 0);
	}
	poke16(w, 0, q->id);
	poke16(w, 2,
	       UM_DNS_QR | UM_DNS_RA | (q->flags & (0x7800 | UM_DNS_RD | UM_DNS_CD)) | flags |
		       (w->truncated ? UM_DNS_TC : 0u) | ((unsigned)rcode & 15));
	poke16(w, 4, q->name.len != 0);
	poke16(w, 6, w->counts[UM_DNS_ANSWER]);
	poke16(w, 8, w->counts[UM_DNS_AUTHORITY]);
	poke16(w, 10, w->counts[UM_DNS_ADDITIONAL] + (unsigned)q->edns);
	return w->len;
}
