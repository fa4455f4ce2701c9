#include "netns/services.h"

#include <arpa/inet.h>

#include "netns/services_priv.h"

#define NODE_PORT_MIN 30000
#define NODE_PORT_MAX 32767
#define KEY_MAX 600 /* namespace/name: 63 + 1 + 253, and room */
#define STRAYS_MAX (64u << 20)

/* ---- open ---- */

static int check_config(struct um_services *s, const struct um_services_config *cfg,
			struct um_error *err)
{
	int r = um_range_parse("Service range", cfg->service_range, &s->services, err);

	if (r == 0)
		r = um_range_parse("pod range", cfg->pod_range, &s->pods, err);
	if (r == 0 && cfg->node_range)
		r = um_range_parse("node range", cfg->node_range, &s->node, err);
	if (r < 0)
		return r;
	if (um_range_overlaps(&s->services, &s->pods))
		return um_error_set(err, -EINVAL, "Service range %s overlaps the pod range %s",
				    cfg->service_range, cfg->pod_range);
	if (cfg->node_range && !um_range_contains(&s->pods, &s->node))
		return um_error_set(err, -EINVAL, "node range %s is not within the pod range %s",
				    cfg->node_range, cfg->pod_range);
	if (cfg->local_addr && (um_range_parse_addr(cfg->local_addr, &s->local) < 0 ||
				!um_range_has(&s->services, s->local)))
		return um_error_set(err, -EINVAL, "local address %s is not in the Service range %s",
				    cfg->local_addr, cfg->service_range);
	s->node_min = cfg->node_port_min || cfg->node_port_max ? cfg->node_port_min : NODE_PORT_MIN;
	s->node_max = cfg->node_port_min || cfg->node_port_max ? cfg->node_port_max : NODE_PORT_MAX;
	if (s->node_min == 0 || s->node_min > s->node_max)
		return um_error_set(err, -EINVAL,
				    "node ports %u to %u: the first must be 1 or more and no more "
				    "than the last",
				    s->node_min, s->node_max);
	return 0;
}

int um_services_open(const struct um_services_config *cfg, struct um_services **ret,
		     struct um_error *err)
{
	_cleanup_(um_services_closep) struct um_services *s = calloc(1, sizeof(*s));
	bool ignored;
	int r;

	if (!s)
		return um_error_errno(err, -ENOMEM, "open Services");
	pthread_mutex_init(&s->lock, NULL);
	for (int i = 0; i < UM_SVC_SETS; i++)
		um_buf_init(&s->strays[i], STRAYS_MAX);
	um_buf_init(&s->lacking, STRAYS_MAX);
	s->sweep = s->forget = s->reread = true;
	s->classes = calloc(1, UM_SVC_CLASS_BYTES);
	r = s->classes ? 0 : um_error_errno(err, -ENOMEM, "open Services");
	if (r == 0)
		r = check_config(s, cfg, err);
	if (r == 0)
		r = um_nft_open(&s->nft, err);
	if (r == 0)
		r = um_svc_route(s, &ignored, err);
	if (r == 0)
		r = um_svc_reread(s, &ignored, err);
	if (r < 0)
		return um_error_wrap(err, r, "Services");
	*ret = TAKE_PTR(s);
	return 0;
}

static void free_entry(struct um_services *s, struct um_svc_entry *e)
{
	HASH_DEL(s->entries, e);
	um_vec_release(&e->fronts);
	free(e);
}

void um_services_close(struct um_services *s)
{
	struct um_svc_entry *e, *etmp;
	struct um_svc_front *f, *ftmp;
	struct um_svc_hairpin *h, *htmp;

	if (!s)
		return;
	HASH_ITER (hh, s->entries, e, etmp)
		free_entry(s, e);
	HASH_ITER (hh, s->fronts, f, ftmp)
		um_svc_front_free(s, f);
	HASH_ITER (hh, s->hairpins, h, htmp) {
		HASH_DEL(s->hairpins, h);
		free(h);
	}
	for (int i = 0; i < UM_SVC_SETS; i++)
		um_buf_release(&s->strays[i]);
	um_buf_release(&s->lacking);
	um_vec_release(&s->stale);
	um_vec_release(&s->times);
	free(s->classes);
	um_nft_close(s->nft);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* ---- what is wanted ---- */

static int bad_port(const struct um_service_port *p, struct um_error *err, int code,
		    const char *why)
{
	char vip[INET_ADDRSTRLEN];

	um_range_format_addr(ntohl(p->vip.s_addr), vip);
	return um_error_set(err, code, "%s:%u: %s", vip, p->port, why);
}

static int check_endpoint(const struct um_services *s, const struct um_service_endpoint *e,
			  const struct um_service_port *p, struct um_error *err)
{
	uint32_t a = ntohl(e->addr.s_addr);
	char text[INET_ADDRSTRLEN], why[100];

	if (e->port && a >> 24 != 0 && (a >> 24 != 127 || a == INADDR_LOOPBACK) &&
	    a < 0xe0000000u && !um_range_has(&s->services, a))
		return 0;
	um_range_format_addr(a, text);
	snprintf(why, sizeof(why), "endpoint %s:%u cannot be reached", text, e->port);
	return bad_port(p, err, -EINVAL, why);
}

static int check_port(const struct um_services *s, const struct um_service_port *p,
		      struct um_error *err)
{
	int r = 0;

	if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP)
		return bad_port(p, err, -EPROTONOSUPPORT,
				p->protocol == IPPROTO_SCTP ? "SCTP is not supported"
							    : "neither TCP nor UDP");
	if (!um_range_has(&s->services, ntohl(p->vip.s_addr)))
		return bad_port(p, err, -EINVAL, "the address is not in the Service range");
	if (!p->port)
		return bad_port(p, err, -EINVAL, "port 0");
	if (p->node_port && (p->node_port < s->node_min || p->node_port > s->node_max))
		return bad_port(p, err, -EINVAL, "the node port is not in the range of node ports");
	if (p->affinity_sec > UM_SERVICE_AFFINITY_MAX)
		return bad_port(p, err, -EINVAL, "affinity of more than 86400 seconds");
	if (p->n_endpoints > UM_SERVICE_ENDPOINTS_MAX)
		return bad_port(p, err, -EINVAL, "more than 65535 endpoints");
	for (size_t i = 0; i < p->n_endpoints && r == 0; i++)
		r = check_endpoint(s, &p->endpoints[i], p, err);
	return r;
}

/* Sorted, each once. */
static int copy_endpoints(const struct um_service_port *p, um_svc_eps *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_endpoints; i++) {
		struct um_svc_ep ep = {.addr = p->endpoints[i].addr.s_addr,
				       .port = htons(p->endpoints[i].port)};

		if (um_vec_push(ret, ep) < 0)
			return -ENOMEM;
	}
	if (!ret->len)
		return 0;
	qsort(ret->items, ret->len, sizeof(*ret->items), um_svc_ep_compare);
	for (size_t i = 1; i < ret->len; i++)
		if (um_svc_ep_compare(&ret->items[n], &ret->items[i]) != 0)
			ret->items[++n] = ret->items[i];
	ret->len = n + 1;
	return 0;
}

/* One front as a call wants it, until all of the call's are known to be right. */
struct draft {
	struct um_svc_front *front;
	unsigned sec;
	um_svc_eps eps;
};
typedef UM_VEC(struct draft) draft_vec;

static void drafts_release(draft_vec *v)
{
	um_vec_foreach (d, v)
		um_vec_release(&d->eps);
	um_vec_release(v);
}

static int add_draft(struct um_services *s, const struct um_svc_entry *e,
		     const struct um_svc_key *k, const struct um_service_port *p, draft_vec *v,
		     struct um_error *err)
{
	struct draft d = {.front = um_svc_front_get(s, k), .sec = p->affinity_sec};
	char why[KEY_MAX + 80];

	if (!d.front || copy_endpoints(p, &d.eps) < 0 || um_vec_push(v, d) < 0) {
		um_vec_release(&d.eps);
		return um_error_errno(err, -ENOMEM, "keep a Service");
	}
	for (size_t i = 0; i + 1 < v->len; i++)
		if (v->items[i].front == d.front)
			return bad_port(p, err, -EEXIST,
					k->node ? "its node port is there twice"
						: "it is there twice");
	if (!d.front->wanted || d.front->owner == e->key)
		return 0;
	snprintf(why, sizeof(why), "%s belongs to Service %.300s", k->node ? "its node port" : "it",
		 d.front->owner);
	return bad_port(p, err, -EEXIST, why);
}

static void unwant(struct um_services *s, struct um_svc_front *f)
{
	f->wanted = false;
	f->owner = NULL;
	f->want_sec = 0;
	um_vec_release(&f->want);
	um_svc_mark(s, f);
}

static bool same_eps(const um_svc_eps *a, const um_svc_eps *b)
{
	return a->len == b->len &&
	       (!a->len || memcmp(a->items, b->items, a->len * sizeof(*a->items)) == 0);
}

static void apply(struct um_services *s, struct um_svc_entry *e, draft_vec *v, um_svc_keys *keys)
{
	um_vec_foreach (k, &e->fronts) {
		struct um_svc_front *f = um_svc_front_find(s, k);
		bool stays = false;

		um_vec_foreach (d, v)
			stays |= d->front == f;
		if (f && !stays)
			unwant(s, f);
	}
	um_vec_foreach (d, v) {
		struct um_svc_front *f = d->front;

		if (f->wanted && f->want_sec == d->sec && same_eps(&f->want, &d->eps))
			continue;
		um_vec_release(&f->want);
		f->want = d->eps;
		d->eps.items = NULL;
		f->want_sec = d->sec;
		f->wanted = true;
		f->owner = e->key;
		um_svc_mark(s, f);
	}
	um_vec_release(&e->fronts);
	e->fronts.items = TAKE_PTR(keys->items);
	e->fronts.len = keys->len;
	e->fronts.cap = keys->cap;
}

static struct um_svc_entry *entry_get(struct um_services *s, const char *key)
{
	unsigned before = HASH_COUNT(s->entries);
	struct um_svc_entry *e;
	size_t len = strlen(key);

	HASH_FIND(hh, s->entries, key, len, e);
	if (e)
		return e;
	e = calloc(1, sizeof(*e) + len + 1);
	if (!e)
		return NULL;
	memcpy(e->key, key, len + 1);
	HASH_ADD_KEYPTR(hh, s->entries, e->key, len, e);
	if (HASH_COUNT(s->entries) == before) {
		free(e);
		return NULL;
	}
	return e;
}

static int draft_port(struct um_services *s, const struct um_svc_entry *e,
		      const struct um_service_port *p, draft_vec *v, struct um_error *err)
{
	struct um_svc_key k = {
		.vip = p->vip.s_addr, .port = htons(p->port), .protocol = p->protocol};
	int r = check_port(s, p, err);

	if (r == 0)
		r = add_draft(s, e, &k, p, v, err);
	if (r < 0 || !p->node_port)
		return r;
	k = (struct um_svc_key){.node = 1, .port = htons(p->node_port), .protocol = p->protocol};
	return add_draft(s, e, &k, p, v, err);
}

static int set(struct um_services *s, const char *key, const struct um_service_port *ports,
	       size_t n, struct um_error *err)
{
	_cleanup_(drafts_release) draft_vec v = UM_VEC_INIT;
	struct um_svc_entry *e = entry_get(s, key);
	um_svc_keys keys = UM_VEC_INIT;
	int r = e ? 0 : um_error_errno(err, -ENOMEM, "keep a Service");

	for (size_t i = 0; i < n && r == 0; i++)
		r = draft_port(s, e, &ports[i], &v, err);
	um_vec_foreach (d, &v) {
		if (r == 0 && um_vec_push(&keys, d->front->key) < 0)
			r = um_error_errno(err, -ENOMEM, "keep a Service");
	}
	if (r == 0)
		apply(s, e, &v, &keys);
	um_vec_release(&keys);
	/* Fronts that only a failed call brought up. */
	um_vec_foreach (d, &v) {
		if (r < 0)
			um_svc_mark(s, d->front);
	}
	if (e && !e->fronts.len)
		free_entry(s, e);
	return r;
}

int um_services_set(struct um_services *s, const char *key, const struct um_service_port *ports,
		    size_t n, struct um_error *err)
{
	int r;

	if (!key[0] || strlen(key) > KEY_MAX)
		return um_error_set(err, -EINVAL, "a Service's key must have 1 to %d bytes",
				    KEY_MAX);
	pthread_mutex_lock(&s->lock);
	r = set(s, key, ports, n, err);
	pthread_mutex_unlock(&s->lock);
	return r < 0 ? um_error_wrap(err, r, "Service %.300s", key) : 0;
}

void um_services_remove(struct um_services *s, const char *key)
{
	struct um_svc_entry *e;

	pthread_mutex_lock(&s->lock);
	HASH_FIND(hh, s->entries, key, strlen(key), e);
	if (e) {
		um_vec_foreach (k, &e->fronts) {
			struct um_svc_front *f = um_svc_front_find(s, k);

			if (f)
				unwant(s, f);
		}
		free_entry(s, e);
	}
	pthread_mutex_unlock(&s->lock);
}
