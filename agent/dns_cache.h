/* Answers from elsewhere, kept for their TTL. Bounded: the one not asked for longest goes. */
#ifndef UM_AGENT_DNS_CACHE_H
#define UM_AGENT_DNS_CACHE_H

#include "base/cleanup.h"
#include "netns/dns.h"

struct dns_cache;

struct dns_cache *dns_cache_new(size_t entries); /* NULL: out of memory */
void dns_cache_free(struct dns_cache *c);	 /* accepts NULL */
void dns_cache_clear(struct dns_cache *c);

/* Keeps a copy of the answer to @q for @ttl seconds. What finds no memory is not kept. */
void dns_cache_put(struct dns_cache *c, const struct um_dns_query *q, const uint8_t *msg,
		   size_t len, const struct um_dns_answer *a, uint32_t ttl, int64_t now_ns);
/* The answer, until the next call; NULL: none. */
const uint8_t *dns_cache_get(struct dns_cache *c, const struct um_dns_query *q, int64_t now_ns,
			     size_t *ret_len, struct um_dns_answer *ret, uint32_t *ret_age);

#endif
