#include "agent/dns_cache.h"

#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/hash.h"

/* The name in lower case, type, class, and the flags that change the answer. */
struct key {
	uint8_t bytes[UM_DNS_NAME_MAX + 5];
	size_t len;
};

struct entry {
	UT_hash_handle hh;
	TAILQ_ENTRY(entry) used;
	struct um_dns_answer answer;
	int64_t since_ns, until_ns;
	uint8_t *key, *msg; /* behind the entry */
	size_t len;
};

struct dns_cache {
	struct entry *all;
	TAILQ_HEAD(entries, entry) used; /* the last used first */
	size_t max;
};

static void key_of(const struct um_dns_query *q, struct key *k)
{
	struct um_dns_name n = q->name;

	um_dns_name_lower(&n);
	memcpy(k->bytes, n.wire, n.len);
	k->len = n.len;
	k->bytes[k->len++] = (uint8_t)(q->type >> 8);
	k->bytes[k->len++] = (uint8_t)q->type;
	k->bytes[k->len++] = (uint8_t)(q->class >> 8);
	k->bytes[k->len++] = (uint8_t)q->class;
	k->bytes[k->len++] = (uint8_t)(q->dnssec_ok | (q->flags & UM_DNS_CD ? 2 : 0));
}

static void drop(struct dns_cache *c, struct entry *e)
{
	HASH_DEL(c->all, e);
	TAILQ_REMOVE(&c->used, e, used);
	free(e);
}

struct dns_cache *dns_cache_new(size_t entries)
{
	struct dns_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->max = entries;
	TAILQ_INIT(&c->used);
	return c;
}

void dns_cache_clear(struct dns_cache *c)
{
	while (!TAILQ_EMPTY(&c->used))
		drop(c, TAILQ_FIRST(&c->used));
}

void dns_cache_free(struct dns_cache *c)
{
	if (!c)
		return;
	dns_cache_clear(c);
	free(c);
}

static struct entry *find(struct dns_cache *c, const struct key *k)
{
	struct entry *e;

	HASH_FIND(hh, c->all, k->bytes, k->len, e);
	return e;
}

void dns_cache_put(struct dns_cache *c, const struct um_dns_query *q, const uint8_t *msg,
		   size_t len, const struct um_dns_answer *a, uint32_t ttl, int64_t now_ns)
{
	struct entry *e;
	struct key k;

	key_of(q, &k);
	e = find(c, &k);
	if (e)
		drop(c, e);
	if (!ttl)
		return;
	if (HASH_COUNT(c->all) >= c->max)
		drop(c, TAILQ_LAST(&c->used, entries));
	e = calloc(1, sizeof(*e) + k.len + len);
	if (!e)
		return;
	e->key = (uint8_t *)(e + 1);
	e->msg = e->key + k.len;
	memcpy(e->key, k.bytes, k.len);
	memcpy(e->msg, msg, len);
	e->len = len;
	e->answer = *a;
	e->since_ns = now_ns;
	e->until_ns = now_ns + ttl * UM_NSEC_PER_SEC;
	HASH_ADD_KEYPTR(hh, c->all, e->key, k.len, e);
	if (e->hh.tbl)
		TAILQ_INSERT_HEAD(&c->used, e, used);
	else
		free(e);
}

const uint8_t *dns_cache_get(struct dns_cache *c, const struct um_dns_query *q, int64_t now_ns,
			     size_t *ret_len, struct um_dns_answer *ret, uint32_t *ret_age)
{
	struct entry *e;
	struct key k;

	key_of(q, &k);
	e = find(c, &k);
	if (e && now_ns >= e->until_ns) {
		drop(c, e);
		e = NULL;
	}
	if (!e)
		return NULL;
	TAILQ_REMOVE(&c->used, e, used);
	TAILQ_INSERT_HEAD(&c->used, e, used);
	*ret_len = e->len;
	*ret = e->answer;
	*ret_age = (uint32_t)((now_ns - e->since_ns) / UM_NSEC_PER_SEC);
	return e->msg;
}
