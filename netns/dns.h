/* DNS messages: a strict parser of what comes in, and a writer of what goes out. Pure: no I/O, no
 * allocation. RFC 1035, 2181, 2308, 2782, 6891; names keep the case in which they came.
 *
 * Names are in wire form: labels with their lengths, and the root's zero at the end. */
#ifndef UM_NETNS_DNS_H
#define UM_NETNS_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define UM_DNS_PORT 53
#define UM_DNS_NAME_MAX 255
#define UM_DNS_LABELS_MAX 127
#define UM_DNS_HEADER 12
#define UM_DNS_UDP_MIN 512  /* what every client takes */
#define UM_DNS_UDP_MAX 1232 /* what passes everywhere in one piece */
#define UM_DNS_MSG_MAX 65535
#define UM_DNS_OPT_LEN 11 /* an OPT record of ours */

enum um_dns_type {
	UM_DNS_A = 1,
	UM_DNS_NS = 2,
	UM_DNS_CNAME = 5,
	UM_DNS_SOA = 6,
	UM_DNS_PTR = 12,
	UM_DNS_MX = 15,
	UM_DNS_TXT = 16,
	UM_DNS_AAAA = 28,
	UM_DNS_SRV = 33,
	UM_DNS_OPT = 41,
	UM_DNS_IXFR = 251,
	UM_DNS_AXFR = 252,
	UM_DNS_ANY = 255,
};

enum um_dns_rcode {
	UM_DNS_NOERROR = 0,
	UM_DNS_FORMERR = 1,
	UM_DNS_SERVFAIL = 2,
	UM_DNS_NXDOMAIN = 3,
	UM_DNS_NOTIMP = 4,
	UM_DNS_REFUSED = 5,
	UM_DNS_BADVERS = 16, /* needs EDNS */
};

enum {
	UM_DNS_QR = 0x8000,
	UM_DNS_AA = 0x0400,
	UM_DNS_TC = 0x0200,
	UM_DNS_RD = 0x0100,
	UM_DNS_RA = 0x0080,
	UM_DNS_AD = 0x0020,
	UM_DNS_CD = 0x0010,
};

/* ---- names ---- */

struct um_dns_name {
	uint8_t len; /* the root's zero included: 1 to 255 */
	uint8_t wire[UM_DNS_NAME_MAX];
};

/* Reads the name at *at and moves *at behind it. Pointers lead only to before the name that holds
 * them, and on from there only to before that. -EBADMSG. */
um_must_check int um_dns_name_read(const uint8_t *msg, size_t len, size_t *at,
				   struct um_dns_name *ret);
/* "a.b.c" or "a.b.c."; "" and "." are the root. No escapes. -EINVAL. */
um_must_check int um_dns_name_parse(const char *text, struct um_dns_name *ret);
/* Puts @label (1 to 63 bytes) before the name. -EINVAL when there is no room. */
um_must_check int um_dns_name_prepend(struct um_dns_name *n, const char *label);
bool um_dns_name_equal(const struct um_dns_name *a, const struct um_dns_name *b); /* any case */
/* True when @n is @zone or below it; then *ret_prefix is the length of the labels before. */
bool um_dns_name_below(const struct um_dns_name *n, const struct um_dns_name *zone,
		       size_t *ret_prefix);
void um_dns_name_lower(struct um_dns_name *n);

/* ---- queries ---- */

struct um_dns_query {
	uint16_t id, flags, type, class;
	struct um_dns_name name;
	bool edns, dnssec_ok;
	uint16_t udp_size; /* what the client takes: 512 to 1232 */
};

/* An rcode: UM_DNS_NOERROR, or what the client is told: FORMERR (the question may be unknown:
 * name.len is 0 then), NOTIMP, BADVERS. -EBADMSG: no answer is due: too short, or an answer. */
um_must_check int um_dns_query_parse(const uint8_t *msg, size_t len, struct um_dns_query *ret);
/* A query for a resolver, with EDNS. Returns its length; @buf has room for 300 bytes. */
size_t um_dns_query_write(uint8_t *buf, uint16_t id, const struct um_dns_query *q);

/* ---- answers that are written ---- */

enum um_dns_section { UM_DNS_ANSWER, UM_DNS_AUTHORITY, UM_DNS_ADDITIONAL, UM_DNS_SECTIONS };

struct um_dns_writer {
	uint8_t *msg; /* borrowed */
	size_t len, max;
	const struct um_dns_query *q;
	uint16_t flags, counts[UM_DNS_SECTIONS];
	bool truncated; /* an answer found no room */
};

/* Begins the answer to @q in @buf, of at most @max bytes (512 or more), with room kept for OPT.
 * Sections are written in order. */
void um_dns_begin(struct um_dns_writer *w, uint8_t *buf, size_t max, const struct um_dns_query *q);
/* Each writes one record. @owner NULL: the name asked for. False: there is no room; where that is
 * an answer, the message says so (TC). */
bool um_dns_put_a(struct um_dns_writer *w, enum um_dns_section s, const struct um_dns_name *owner,
		  uint32_t ttl, uint32_t addr_be);
/* CNAME, NS and PTR. */
bool um_dns_put_name(struct um_dns_writer *w, enum um_dns_section s, enum um_dns_type type,
		     const struct um_dns_name *owner, uint32_t ttl,
		     const struct um_dns_name *target);
bool um_dns_put_srv(struct um_dns_writer *w, uint32_t ttl, uint16_t port,
		    const struct um_dns_name *target);
bool um_dns_put_txt(struct um_dns_writer *w, uint32_t ttl, const char *text);
bool um_dns_put_soa(struct um_dns_writer *w, enum um_dns_section s, const struct um_dns_name *zone,
		    uint32_t ttl, const struct um_dns_name *server, const struct um_dns_name *mail,
		    uint32_t serial);
/* Copies the answers of a message that um_dns_answer_parse() accepted. */
void um_dns_put_answers_of(struct um_dns_writer *w, const uint8_t *msg, size_t len);
/* Completes it. @flags: AA, and others beside QR, RD, RA and CD. Returns its length. */
size_t um_dns_end(struct um_dns_writer *w, uint16_t flags, int rcode);

/* ---- answers that are read ---- */

struct um_dns_answer {
	int rcode;
	bool truncated;
	unsigned answers;
	size_t additional_at; /* where that section begins; pointers never lead there */
	uint32_t ttl;	      /* for how long it may be kept: 0 where it may not */
};

/* Reads the whole message and compares id and question. -EBADMSG: not an answer to that. */
um_must_check int um_dns_answer_parse(const uint8_t *msg, size_t len, uint16_t id,
				      const struct um_dns_query *q, struct um_dns_answer *ret);
/* Makes of it the answer to @q: id, flags and the name's case are the client's, its additional
 * section goes, @age seconds are taken from each TTL. @buf has room for @max bytes. Returns the
 * length; what does not fit becomes a truncated answer without records. */
size_t um_dns_answer_pass(uint8_t *buf, size_t max, const uint8_t *msg,
			  const struct um_dns_answer *a, const struct um_dns_query *q,
			  uint32_t age);

#endif
