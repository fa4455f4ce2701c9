/* From a question to its answer, out of the cluster's names. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "agent/dns_zone_priv.h"
#include "base/num.h"
#include "base/vec.h"

#define TTL 5
#define SPECIFICATION "1.1.0"

enum { DEPTH_MAX = 8 /* labels below the zone that are looked at */ };

struct answer {
	struct dns_zone *z;
	struct um_dns_writer *w;
	uint16_t type;
	bool exists;
	enum dns_verdict verdict;
	struct um_dns_name *target;
};

typedef char label[DNS_LABEL_SIZE];

static bool wants(const struct answer *a, uint16_t type)
{
	return a->type == type || a->type == UM_DNS_ANY;
}

/* ---- drawing ---- */

static uint32_t draw(uint32_t below)
{
	static uint64_t state;

	if (!state && getrandom(&state, sizeof(state), GRND_NONBLOCK) != sizeof(state))
		state = 1;
	state ^= state << 13; /* xorshift: an order, no secret */
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % below;
}

/* Endpoints of one Service: each address once. */
typedef UM_VEC(const struct dns_endpoint *) endpoints;

static bool shown(const struct dns_service *s, const struct dns_endpoint *e)
{
	return e->ready || s->not_ready;
}

static int by_addr(const void *a, const void *b)
{
	const struct dns_endpoint *x = *(const struct dns_endpoint *const *)a;
	const struct dns_endpoint *y = *(const struct dns_endpoint *const *)b;

	return x->addr.s_addr < y->addr.s_addr ? -1 : x->addr.s_addr > y->addr.s_addr;
}

static void keep_one_of_each(endpoints *v)
{
	size_t n = 0;

	if (!v->len)
		return;
	qsort(v->items, v->len, sizeof(*v->items), by_addr);
	for (size_t i = 1; i < v->len; i++)
		if (by_addr(&v->items[n], &v->items[i]) != 0)
			v->items[++n] = v->items[i];
	v->len = n + 1;
}

static void shuffle(endpoints *v)
{
	for (size_t i = v->len; i > 1; i--) {
		size_t k = draw((uint32_t)i);
		const struct dns_endpoint *e = v->items[k];

		v->items[k] = v->items[i - 1];
		v->items[i - 1] = e;
	}
	if (v->len > DNS_ANSWERS_MAX)
		v->len = DNS_ANSWERS_MAX;
}

static void address_label(struct in_addr addr, label to)
{
	const uint8_t *b = (const uint8_t *)&addr;

	snprintf(to, DNS_LABEL_SIZE, "%u-%u-%u-%u", b[0], b[1], b[2], b[3]);
}

static bool has_label(const struct dns_endpoint *e, const char *host)
{
	label own;

	if (e->hostname && !strcmp(e->hostname, host))
		return true;
	address_label(e->addr, own);
	return !e->hostname && !strcmp(own, host);
}

static uint8_t protocol_of(const char *text)
{
	return !strcmp(text, "_tcp") ? IPPROTO_TCP : !strcmp(text, "_udp") ? IPPROTO_UDP : 0;
}

/* @name NULL: any that has one. */
static const struct dns_port *find_port(const struct dns_port *ports, size_t n, uint8_t protocol,
					const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (ports[i].protocol == protocol && ports[i].name[0] &&
		    (!name || !strcmp(ports[i].name, name)))
			return &ports[i];
	return NULL;
}

/* Those called @host that have @port; NULL: any. False: out of memory. */
static bool collect(const struct dns_service *s, const char *host, const struct dns_port *port,
		    endpoints *v)
{
	const struct dns_slice *sl;

	TAILQ_FOREACH (sl, &s->slices, next) {
		if (port && !find_port(sl->ports, sl->n_ports, port->protocol, port->name))
			continue;
		for (size_t i = 0; i < sl->n_endpoints; i++) {
			const struct dns_endpoint *e = &sl->endpoints[i];

			if (shown(s, e) && (!host || has_label(e, host)) && um_vec_push(v, e) < 0)
				return false;
		}
	}
	keep_one_of_each(v);
	shuffle(v);
	return true;
}

/* ---- names of what is there ---- */

/* "SVC.NS.svc.DOMAIN", with @host before where it is not NULL. */
static bool service_name(const struct dns_zone *z, const struct dns_service *s, const char *host,
			 struct um_dns_name *ret)
{
	size_t ns = strcspn(s->key, "/");
	label ns_label;

	snprintf(ns_label, sizeof(ns_label), "%.*s", (int)ns, s->key);
	*ret = z->apex;
	return um_dns_name_prepend(ret, "svc") == 0 && um_dns_name_prepend(ret, ns_label) == 0 &&
	       um_dns_name_prepend(ret, s->key + ns + 1) == 0 &&
	       (!host || um_dns_name_prepend(ret, host) == 0);
}

static bool endpoint_name(const struct dns_zone *z, const struct dns_endpoint *e,
			  struct um_dns_name *ret)
{
	label own;

	address_label(e->addr, own);
	return service_name(z, e->slice->service, e->hostname ? e->hostname : own, ret);
}

/* ---- services ---- */

static void put_addresses(struct answer *a, const endpoints *v)
{
	for (size_t i = 0; i < v->len && wants(a, UM_DNS_A); i++)
		if (!um_dns_put_a(a->w, UM_DNS_ANSWER, NULL, TTL, v->items[i]->addr.s_addr))
			return;
}

static void answer_service(struct answer *a, const struct dns_service *s)
{
	endpoints v = UM_VEC_INIT;

	a->exists = true;
	if (s->external) {
		if (um_dns_put_name(a->w, UM_DNS_ANSWER, UM_DNS_CNAME, NULL, TTL, s->external) &&
		    !wants(a, UM_DNS_CNAME)) {
			*a->target = *s->external;
			a->verdict = DNS_CHASE;
		}
	} else if (s->headless) {
		if (collect(s, NULL, NULL, &v))
			put_addresses(a, &v);
		um_vec_release(&v);
	} else if (wants(a, UM_DNS_A)) {
		um_dns_put_a(a->w, UM_DNS_ANSWER, NULL, TTL, s->vip.s_addr);
	}
}

static void answer_endpoint(struct answer *a, const struct dns_service *s, const char *host)
{
	endpoints v = UM_VEC_INIT;

	if (s->headless && collect(s, host, NULL, &v) && v.len) {
		a->exists = true;
		put_addresses(a, &v);
	}
	um_vec_release(&v);
}

static void put_srv_addresses(struct answer *a, const endpoints *v)
{
	struct um_dns_name n;

	for (size_t i = 0; i < v->len; i++)
		if (!endpoint_name(a->z, v->items[i], &n) ||
		    !um_dns_put_a(a->w, UM_DNS_ADDITIONAL, &n, TTL, v->items[i]->addr.s_addr))
			return;
}

static void answer_headless_srv(struct answer *a, const struct dns_service *s,
				const struct dns_port *port)
{
	endpoints v = UM_VEC_INIT;
	struct um_dns_name n;

	if (!collect(s, NULL, port, &v))
		v.len = 0;
	um_vec_foreach (e, &v) {
		const struct dns_slice *sl = (*e)->slice;
		const struct dns_port *p =
			find_port(sl->ports, sl->n_ports, port->protocol, port->name);

		if (!endpoint_name(a->z, *e, &n) || !um_dns_put_srv(a->w, TTL, p->port, &n))
			break;
	}
	put_srv_addresses(a, &v);
	um_vec_release(&v);
}

/* "_PORT._PROTO" and "_PROTO" before a Service. */
static void answer_port(struct answer *a, const struct dns_service *s, const char *proto,
			const char *port)
{
	uint8_t protocol = protocol_of(proto);
	const struct dns_port *p;
	struct um_dns_name n;

	if (!protocol || s->external || (port && port[0] != '_'))
		return;
	p = find_port(s->ports, s->n_ports, protocol, port ? port + 1 : NULL);
	a->exists = p != NULL;
	if (!p || !port || !wants(a, UM_DNS_SRV))
		return;
	if (s->headless)
		answer_headless_srv(a, s, p);
	else if (service_name(a->z, s, NULL, &n) && um_dns_put_srv(a->w, TTL, p->port, &n))
		um_dns_put_a(a->w, UM_DNS_ADDITIONAL, &n, TTL, s->vip.s_addr);
}

/* @l: the labels before "svc", the first of the name first. */
static void answer_svc(struct answer *a, label *l, size_t n)
{
	const struct dns_service *s;

	if (n == 0 || (n == 1 && dns_zone_has_namespace(a->z, l[0]))) {
		a->exists = true;
		return;
	}
	s = n >= 2 && n <= 4 ? dns_zone_find_service(a->z, l[n - 1], l[n - 2]) : NULL;
	if (!s)
		return;
	if (n == 2)
		answer_service(a, s);
	else if (n == 3 && l[0][0] != '_')
		answer_endpoint(a, s, l[0]);
	else
		answer_port(a, s, l[n - 3], n == 4 ? l[0] : NULL);
}

/* ---- what else is in the zone ---- */

/* "10-244-0-7" */
static bool parse_dashed(const char *text, struct in_addr *ret)
{
	char dotted[INET_ADDRSTRLEN];
	size_t len = strlen(text);

	if (len >= sizeof(dotted) || strchr(text, '.'))
		return false;
	for (size_t i = 0; i <= len; i++)
		dotted[i] = text[i] == '-' ? '.' : text[i];
	return inet_pton(AF_INET, dotted, ret) == 1;
}

static void answer_pod(struct answer *a, label *l, size_t n)
{
	struct in_addr addr;

	a->exists = n == 0 || n == 1 || (n == 2 && parse_dashed(l[0], &addr));
	if (n == 2 && a->exists && wants(a, UM_DNS_A))
		um_dns_put_a(a->w, UM_DNS_ANSWER, NULL, TTL, addr.s_addr);
}

static void put_soa(struct answer *a, enum um_dns_section s)
{
	um_dns_put_soa(a->w, s, &a->z->apex, TTL, &a->z->server, &a->z->mail, 1);
}

static void answer_apex(struct answer *a)
{
	const struct dns_zone *z = a->z;

	a->exists = true;
	if (wants(a, UM_DNS_SOA))
		put_soa(a, UM_DNS_ANSWER);
	if (wants(a, UM_DNS_NS) &&
	    um_dns_put_name(a->w, UM_DNS_ANSWER, UM_DNS_NS, NULL, TTL, &z->server))
		um_dns_put_a(a->w, UM_DNS_ADDITIONAL, &z->server, TTL, z->cfg.server.s_addr);
}

static void answer_other(struct answer *a, label *l, size_t n)
{
	if (n == 1 && !strcmp(l[0], "dns-version")) {
		a->exists = true;
		if (wants(a, UM_DNS_TXT))
			um_dns_put_txt(a->w, TTL, SPECIFICATION);
	} else if (n == 1 && !strcmp(l[0], "dns")) {
		a->exists = true;
	} else if (n == 2 && !strcmp(l[1], "dns") && !strcmp(l[0], "ns")) {
		a->exists = true;
		if (wants(a, UM_DNS_A))
			um_dns_put_a(a->w, UM_DNS_ANSWER, NULL, TTL, a->z->cfg.server.s_addr);
	}
}

/* The labels in the first @len bytes of @n in lower case. How many; -1: some are no names of ours.
 */
static int split(const struct um_dns_name *n, size_t len, label *l, size_t max)
{
	size_t count = 0;

	for (size_t at = 0; at < len; at += 1u + n->wire[at]) {
		uint8_t size = n->wire[at];

		if (count == max)
			return -1;
		for (size_t i = 0; i < size; i++) {
			char c = (char)n->wire[at + 1 + i];

			if (c >= 'A' && c <= 'Z')
				c = (char)(c + 32);
			if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-_", c) || !c)
				return -1;
			l[count][i] = c;
		}
		l[count++][size] = '\0';
	}
	return (int)count;
}

static void answer_zone(struct answer *a, size_t prefix)
{
	label l[DEPTH_MAX];
	int n = split(&a->w->q->name, prefix, l, DEPTH_MAX);

	if (n == 0)
		answer_apex(a);
	else if (n > 0 && !strcmp(l[n - 1], "svc"))
		answer_svc(a, l, (size_t)n - 1);
	else if (n > 0 && !strcmp(l[n - 1], "pod"))
		answer_pod(a, l, (size_t)n - 1);
	else if (n > 0)
		answer_other(a, l, (size_t)n);
}

/* ---- addresses ---- */

/* "7.0.244.10" before in-addr.arpa; fewer labels are what stands above. */
static bool parse_reverse(label *l, int n, struct um_range *ret)
{
	uint32_t addr = 0;

	if (n < 1 || n > 4)
		return false;
	for (int i = 0; i < n; i++) {
		uint64_t octet;

		if (um_num_u64(l[n - 1 - i], 255, &octet) < 0)
			return false;
		addr |= (uint32_t)octet << (24 - 8 * i);
	}
	*ret = (struct um_range){addr, (unsigned)n * 8};
	return true;
}

static void put_owners(struct answer *a, const struct dns_addr *at)
{
	const struct dns_endpoint *e;
	struct um_dns_name n;

	if (at->service && at->service->known) {
		a->exists = true;
		if (wants(a, UM_DNS_PTR) && service_name(a->z, at->service, NULL, &n))
			um_dns_put_name(a->w, UM_DNS_ANSWER, UM_DNS_PTR, NULL, TTL, &n);
	}
	LIST_FOREACH (e, &at->endpoints, same_addr) {
		const struct dns_service *s = e->slice->service;

		if (!s->known || !s->headless || !shown(s, e))
			continue;
		a->exists = true;
		if (wants(a, UM_DNS_PTR) && endpoint_name(a->z, e, &n) &&
		    !um_dns_put_name(a->w, UM_DNS_ANSWER, UM_DNS_PTR, NULL, TTL, &n))
			break;
	}
}

/* True when the name is ours: of an address that somebody has, or of the cluster's ranges. */
static bool answer_reverse(struct answer *a, size_t prefix)
{
	label l[DEPTH_MAX];
	const struct dns_addr *at;
	struct um_range r;
	bool ours = false;

	if (!parse_reverse(l, split(&a->w->q->name, prefix, l, DEPTH_MAX), &r))
		return false;
	for (size_t i = 0; i < UM_ARRAY_LEN(a->z->cfg.ranges); i++) {
		if (!a->z->cfg.ranges[i].prefix)
			continue;
		if (um_range_contains(&a->z->cfg.ranges[i], &r))
			ours = true;
		if (um_range_contains(&a->z->cfg.ranges[i], &r) && r.prefix < 32)
			a->exists = true;
	}
	at = r.prefix == 32 ? dns_zone_find_addr(a->z, (struct in_addr){htonl(r.base)}) : NULL;
	if (at)
		put_owners(a, at);
	return ours || a->exists;
}

/* ---- the whole ---- */

/* Negative answers about addresses have a SOA too, of the name's own parent. */
static void put_reverse_soa(struct answer *a)
{
	struct um_dns_name zone = a->w->q->name;
	uint8_t first = zone.wire[0];

	zone.len = (uint8_t)(zone.len - first - 1);
	memmove(zone.wire, zone.wire + first + 1, zone.len);
	um_dns_put_soa(a->w, UM_DNS_AUTHORITY, &zone, TTL, &a->z->server, &a->z->mail, 1);
}

enum dns_verdict dns_zone_answer(struct dns_zone *z, struct um_dns_writer *w, uint16_t *ret_flags,
				 int *ret_rcode, struct um_dns_name *ret_target)
{
	static const struct um_dns_name arpa = {14, "\7in-addr\4arpa"};
	struct answer a = {z, w, w->q->type, false, DNS_ANSWERED, ret_target};
	bool reverse = false;
	size_t prefix;

	*ret_flags = 0;
	*ret_rcode = UM_DNS_NOERROR;
	if (!um_dns_name_below(&w->q->name, &z->apex, &prefix)) {
		reverse = um_dns_name_below(&w->q->name, &arpa, &prefix) && prefix > 0;
		if (!reverse || !answer_reverse(&a, prefix))
			return DNS_ELSEWHERE;
	}
	if (!z->services_listed || !z->slices_listed) { /* nothing is known before all is */
		um_dns_begin(w, w->msg, w->max + (w->q->edns ? UM_DNS_OPT_LEN : 0), w->q);
		*ret_rcode = UM_DNS_SERVFAIL;
		return DNS_ANSWERED;
	}
	*ret_flags = UM_DNS_AA;
	if (!reverse)
		answer_zone(&a, prefix);
	if (a.verdict == DNS_CHASE || w->counts[UM_DNS_ANSWER] || w->truncated)
		return a.verdict;
	if (!a.exists)
		*ret_rcode = UM_DNS_NXDOMAIN;
	if (reverse)
		put_reverse_soa(&a);
	else
		put_soa(&a, UM_DNS_AUTHORITY);
	return DNS_ANSWERED;
}
