/* Names that are not the cluster's: asked of the host's resolvers, and remembered for a while.
 *
 * The host's resolv.conf is read again when it has changed. Each question has a socket of its own
 * (a source port drawn by the kernel, connected to one server) and a random id; an answer counts
 * when both and the question match. A truncated answer is asked for again over TCP. On the loop. */
#ifndef UM_AGENT_DNS_FORWARD_H
#define UM_AGENT_DNS_FORWARD_H

#include "base/error.h"
#include "netns/dns.h"

struct um_loop;
struct in_addr;
struct dns_forward;

/* At once; what is beyond fails. */
#define DNS_FORWARD_MAX 256
/* Servers of the host that are asked, one after the other, each for so long. */
#define DNS_FORWARD_SERVERS 3
#define DNS_FORWARD_SERVER_MSEC 2000
/* Answers that are kept: so many, of so many bytes each. */
#define DNS_CACHE_ENTRIES 512
#define DNS_CACHE_BYTES 1500
#define DNS_CACHE_TTL_MOST 300
#define DNS_CACHE_NEGATIVE_MOST 30

/* @self: the address of this DNS, never asked. @apex: below it names are made that show a loop. */
um_must_check int dns_forward_new(struct um_loop *l, const struct in_addr *self,
				  const struct um_dns_name *apex, struct dns_forward **ret,
				  struct um_error *err);
/* Forgets the questions under way: nobody is called. Accepts NULL. */
void dns_forward_free(struct dns_forward *f);

/* @msg and @a are borrowed for the call; NULL: no server answered. @age: seconds that the answer
 * has been kept. */
typedef void (*dns_forward_fn)(void *arg, const uint8_t *msg, size_t len,
			       const struct um_dns_answer *a, uint32_t age);
/* Asks @q's question. @fn is called once, later or at once. */
void dns_forward_ask(struct dns_forward *f, const struct um_dns_query *q, dns_forward_fn fn,
		     void *arg);
/* True when @q is a question of our own that came back: whom it was sent to asks us. */
bool dns_forward_is_loop(struct dns_forward *f, const struct um_dns_name *name);

#endif
