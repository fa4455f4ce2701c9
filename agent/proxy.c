#include "agent/proxy.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/vec.h"
#include "netns/services.h"
#include "wire/loop.h"

#define RETRY_FIRST_NS UM_NSEC_PER_SEC
#define RETRY_MOST_NS (60 * UM_NSEC_PER_SEC)
#define CHECK_NS (5 * UM_NSEC_PER_SEC)
enum { PORT_NAME_MAX = 64 };

struct slice_port {
	char name[PORT_NAME_MAX];
	uint8_t protocol;
	uint16_t port;
};

struct slice_endpoint {
	struct in_addr addr;
	bool ready, serving;
};

struct slice {
	UT_hash_handle hh;
	struct service *service;
	TAILQ_ENTRY(slice) next;
	struct slice_port *ports;
	struct slice_endpoint *endpoints;
	size_t n_ports, n_endpoints;
	bool listed;
	char key[]; /* "ns/name" */
};

struct service_port {
	char name[PORT_NAME_MAX];
	uint8_t protocol;
	uint16_t port, node_port;
};

/* Known by a Service, by slices that name it, or by both. */
struct service {
	UT_hash_handle hh;
	TAILQ_HEAD(, slice) slices;
	TAILQ_ENTRY(service) dirty;
	bool known, is_dirty, listed;
	uint64_t complaint; /* what was last said of it; 0: nothing */
	struct in_addr vip;
	unsigned affinity_sec;
	struct service_port *ports;
	size_t n_ports;
	char key[];
};

/* An address from which connections are kept away. */
struct withdrawn {
	UT_hash_handle hh;
	struct in_addr addr;
	unsigned flush; /* the one that tells the kernel */
	void (*done)(void *arg);
	void *arg;
};

/* What one flush sets for one Service. */
struct change {
	char *key;
	struct um_service_port *ports;
	struct um_service_endpoint *endpoints;
	size_t n_ports, n_endpoints;
	struct um_error err; /* its own refusal */
};

struct agent_proxy {
	struct um_loop *loop;
	struct um_services *services;
	struct in_addr dns;
	struct service *all;
	struct slice *slices;
	struct withdrawn *away;
	TAILQ_HEAD(, service) dirty;
	bool services_listed, slices_listed, flushing, checking, healed, stopped;
	struct um_timer *soon, *check, *retry;
	int64_t retry_ns;
	unsigned flushes; /* begun */
	UM_VEC(struct change) changes;
	struct um_error err;
};

/* ---- the tables ---- */

static void note_dirty(struct agent_proxy *p, struct service *s)
{
	if (s->is_dirty)
		return;
	s->is_dirty = true;
	TAILQ_INSERT_TAIL(&p->dirty, s, dirty);
}

static void mark(struct agent_proxy *p, struct service *s)
{
	note_dirty(p, s);
	if (p->services_listed && p->slices_listed && !p->flushing && !um_timer_running(p->soon))
		um_timer_start(p->soon, 0);
}

static struct service *find_service(struct agent_proxy *p, const char *key)
{
	struct service *s;

	HASH_FIND_STR(p->all, key, s);
	return s;
}

static struct service *make_service(struct agent_proxy *p, const char *key)
{
	struct service *s = find_service(p, key);

	if (s)
		return s;
	s = calloc(1, sizeof(*s) + strlen(key) + 1);
	if (!s)
		return NULL;
	strcpy(s->key, key);
	TAILQ_INIT(&s->slices);
	HASH_ADD_STR(p->all, key, s);
	if (!s->hh.tbl) {
		free(s);
		return NULL;
	}
	return s;
}

static void service_free(struct agent_proxy *p, struct service *s)
{
	if (s->is_dirty)
		TAILQ_REMOVE(&p->dirty, s, dirty);
	HASH_DEL(p->all, s);
	free(s->ports);
	free(s);
}

static void slice_free(struct agent_proxy *p, struct slice *sl)
{
	TAILQ_REMOVE(&sl->service->slices, sl, next);
	HASH_DEL(p->slices, sl);
	free(sl->ports);
	free(sl->endpoints);
	free(sl);
}

static bool make_key(char *buf, size_t size, const char *ns, const char *name)
{
	int n = snprintf(buf, size, "%s/%s", ns, name);

	return n > 0 && (size_t)n < size;
}

static bool key_of(char *buf, size_t size, const struct um_json *obj)
{
	return make_key(buf, size, um_json_get_str(obj, "metadata.namespace", ""),
			um_json_get_str(obj, "metadata.name", ""));
}

static uint8_t protocol_of(const struct um_json *port)
{
	const char *p = um_json_get_str(port, "protocol", "TCP");

	return !strcmp(p, "TCP") ? IPPROTO_TCP : !strcmp(p, "UDP") ? IPPROTO_UDP : 0;
}

static void no_memory(const char *what)
{
	um_log(UM_LOG_ERROR, "service proxy out of memory", UM_LOG_STR("object", what));
}

/* ---- what the server says ---- */

static void read_ports(struct service *s, const struct um_json *spec)
{
	const struct um_json *list = um_json_get(spec, "ports");

	free(TAKE_PTR(s->ports));
	s->n_ports = 0;
	s->ports = calloc(list && list->len ? list->len : 1, sizeof(*s->ports));
	if (!s->ports)
		return;
	um_json_foreach (it, list) {
		struct service_port *sp = &s->ports[s->n_ports];

		snprintf(sp->name, sizeof(sp->name), "%s", um_json_get_str(it, "name", ""));
		sp->protocol = protocol_of(it);
		sp->port = (uint16_t)um_json_get_i64(it, "port", 0);
		sp->node_port = (uint16_t)um_json_get_i64(it, "nodePort", 0);
		s->n_ports += sp->protocol != 0; /* SCTP was refused by the API */
	}
}

void proxy_put_service(struct agent_proxy *p, const struct um_json *service)
{
	const struct um_json *spec = um_json_get(service, "spec");
	char key[600];
	struct service *s;
	struct in_addr vip = {0};

	if (!key_of(key, sizeof(key), service))
		return;
	s = make_service(p, key);
	if (!s) {
		no_memory(key);
		return;
	}
	s->listed = true;
	/* Headless ones and names for elsewhere have no address here. */
	if (inet_pton(AF_INET, um_json_get_str(spec, "clusterIP", ""), &vip) != 1 ||
	    vip.s_addr == p->dns.s_addr)
		vip.s_addr = 0;
	s->known = vip.s_addr != 0;
	s->vip = vip;
	s->affinity_sec = 0;
	if (!strcmp(um_json_get_str(spec, "sessionAffinity", ""), "ClientIP"))
		s->affinity_sec = (unsigned)um_json_get_i64(
			spec, "sessionAffinityConfig.clientIP.timeoutSeconds", 10800);
	read_ports(s, spec);
	mark(p, s);
}

void proxy_drop_service(struct agent_proxy *p, const char *ns, const char *name)
{
	char key[600];
	struct service *s = make_key(key, sizeof(key), ns, name) ? find_service(p, key) : NULL;

	if (!s)
		return;
	s->known = false;
	mark(p, s);
}

static bool read_slice(struct slice *sl, const struct um_json *slice)
{
	const struct um_json *ports = um_json_get(slice, "ports");
	const struct um_json *list = um_json_get(slice, "endpoints");

	sl->ports = calloc(ports && ports->len ? ports->len : 1, sizeof(*sl->ports));
	sl->endpoints = calloc(list && list->len ? list->len : 1, sizeof(*sl->endpoints));
	if (!sl->ports || !sl->endpoints)
		return false;
	um_json_foreach (it, ports) {
		struct slice_port *sp = &sl->ports[sl->n_ports++];

		snprintf(sp->name, sizeof(sp->name), "%s", um_json_get_str(it, "name", ""));
		sp->protocol = protocol_of(it);
		sp->port = (uint16_t)um_json_get_i64(it, "port", 0);
	}
	um_json_foreach (it, list) {
		struct slice_endpoint *e = &sl->endpoints[sl->n_endpoints];
		const struct um_json *c = um_json_get(it, "conditions");

		if (inet_pton(AF_INET, um_json_get_str(it, "addresses.0", ""), &e->addr) != 1)
			continue;
		e->ready = um_json_get_bool(c, "ready", true);
		e->serving = um_json_get_bool(c, "serving", e->ready);
		sl->n_endpoints++;
	}
	return true;
}

static void drop_slice(struct agent_proxy *p, const char *key)
{
	struct slice *sl;

	HASH_FIND_STR(p->slices, key, sl);
	if (!sl)
		return;
	mark(p, sl->service);
	slice_free(p, sl);
}

void proxy_put_slice(struct agent_proxy *p, const struct um_json *slice)
{
	const struct um_json *of =
		um_json_get(um_json_path(slice, "metadata.labels"), "kubernetes.io/service-name");
	char key[600], svc[600];
	struct slice *sl;

	if (!key_of(key, sizeof(key), slice))
		return;
	drop_slice(p, key);
	if (!of || strcmp(um_json_get_str(slice, "addressType", ""), "IPv4") != 0 ||
	    !make_key(svc, sizeof(svc), um_json_get_str(slice, "metadata.namespace", ""),
		      um_json_str(of, "")))
		return;
	sl = calloc(1, sizeof(*sl) + strlen(key) + 1);
	if (sl && read_slice(sl, slice) && (sl->service = make_service(p, svc))) {
		strcpy(sl->key, key);
		HASH_ADD_STR(p->slices, key, sl);
	}
	if (!sl || !sl->hh.tbl) {
		no_memory(key);
		if (sl) {
			free(sl->ports);
			free(sl->endpoints);
		}
		free(sl);
		return;
	}
	sl->listed = true;
	TAILQ_INSERT_TAIL(&sl->service->slices, sl, next);
	mark(p, sl->service);
}

void proxy_drop_slice(struct agent_proxy *p, const char *ns, const char *name)
{
	char key[600];

	if (make_key(key, sizeof(key), ns, name))
		drop_slice(p, key);
}

/* A list has put what it names: those it does not name stand unmarked. */
void proxy_services_listed(struct agent_proxy *p, const struct um_json *items)
{
	struct service *s, *tmp;
	char key[600];

	HASH_ITER (hh, p->all, s, tmp)
		s->listed = false;
	um_json_foreach (it, items)
		if (key_of(key, sizeof(key), it) && (s = find_service(p, key)))
			s->listed = true;
	p->services_listed = true;
	HASH_ITER (hh, p->all, s, tmp) {
		if (!s->listed)
			s->known = false;
		mark(p, s);
	}
	if (p->slices_listed && !p->flushing)
		um_timer_start(p->soon, 0); /* also when there is nothing: old rules go */
}

void proxy_slices_listed(struct agent_proxy *p, const struct um_json *items)
{
	struct slice *sl, *tmp;
	char key[600];

	HASH_ITER (hh, p->slices, sl, tmp)
		sl->listed = false;
	um_json_foreach (it, items) {
		if (!key_of(key, sizeof(key), it))
			continue;
		HASH_FIND_STR(p->slices, key, sl);
		if (sl)
			sl->listed = true;
	}
	p->slices_listed = true;
	HASH_ITER (hh, p->slices, sl, tmp) {
		mark(p, sl->service);
		if (!sl->listed)
			slice_free(p, sl);
	}
	if (p->services_listed && !p->flushing)
		um_timer_start(p->soon, 0);
}

/* ---- one Service in the kernel's terms ---- */

static bool is_away(struct agent_proxy *p, struct in_addr addr)
{
	struct withdrawn *w;

	HASH_FIND(hh, p->away, &addr, sizeof(addr), w);
	return w;
}

/* Only the API's own Service may lead to what listens on the host's 127.0.0.1. */
static bool may_serve(const struct service *s, struct in_addr addr)
{
	return ntohl(addr.s_addr) >> 24 != 127 || !strcmp(s->key, "default/kubernetes");
}

/* Endpoints of the port: the ready ones; where there is none, those that end but still serve. */
static size_t collect(struct agent_proxy *p, const struct service *s, const struct service_port *sp,
		      bool leaving, struct um_service_endpoint *out)
{
	const struct slice *sl;
	size_t n = 0;

	TAILQ_FOREACH (sl, &s->slices, next) {
		for (size_t i = 0; i < sl->n_ports; i++) {
			const struct slice_port *port = &sl->ports[i];

			if (port->protocol != sp->protocol || strcmp(port->name, sp->name) != 0)
				continue;
			for (size_t k = 0; k < sl->n_endpoints; k++) {
				const struct slice_endpoint *e = &sl->endpoints[k];
				bool ready = e->ready && !is_away(p, e->addr);

				if (may_serve(s, e->addr) &&
				    (leaving ? e->serving && !ready : ready))
					out[n++] =
						(struct um_service_endpoint){e->addr, port->port};
			}
		}
	}
	return n;
}

static size_t most_endpoints(const struct service *s)
{
	const struct slice *sl;
	size_t n = 0;

	TAILQ_FOREACH (sl, &s->slices, next)
		n += sl->n_endpoints * sl->n_ports;
	return n;
}

static void change_release(struct change *c)
{
	free(c->key);
	free(c->ports);
	free(c->endpoints);
}

/* @c without ports: the Service goes. 0 or -ENOMEM. */
static int compile(struct agent_proxy *p, const struct service *s, struct change *c)
{
	size_t most = most_endpoints(s), at = 0;

	*c = (struct change){.key = strdup(s->key)};
	if (!c->key || !s->known)
		return c->key ? 0 : -ENOMEM;
	c->ports = calloc(s->n_ports + 1, sizeof(*c->ports));
	c->endpoints = calloc(most * s->n_ports + 1, sizeof(*c->endpoints));
	if (!c->ports || !c->endpoints)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_ports; i++) {
		const struct service_port *sp = &s->ports[i];
		size_t n = collect(p, s, sp, false, c->endpoints + at);

		if (!n)
			n = collect(p, s, sp, true, c->endpoints + at);
		c->ports[c->n_ports++] = (struct um_service_port){
			.protocol = sp->protocol,
			.vip = s->vip,
			.port = sp->port,
			.node_port = sp->node_port,
			.affinity_sec = s->affinity_sec,
			.endpoints = c->endpoints + at,
			.n_endpoints = n,
		};
		at += n;
	}
	return 0;
}

/* ---- flushing ---- */

static void flush_work(void *arg)
{
	struct agent_proxy *p = arg;

	p->err = (struct um_error)UM_ERROR_INIT;
	/* First what goes: its address or port may be another's now. */
	um_vec_foreach (c, &p->changes)
		um_services_remove(p->services, c->key);
	um_vec_foreach (c, &p->changes)
		if (c->n_ports)
			(void)!um_services_set(p->services, c->key, c->ports, c->n_ports, &c->err);
	(void)!um_services_flush(p->services, &p->err);
}

static void tell_withdrawn(struct agent_proxy *p)
{
	struct withdrawn *w, *tmp;

	HASH_ITER (hh, p->away, w, tmp) {
		void (*done)(void *arg) = w->done;

		if (!done || w->flush > p->flushes)
			continue;
		w->done = NULL;
		done(w->arg); /* does not restore it at once */
	}
}

/* What can never be is not tried again before it changes. */
static bool for_good(const struct um_error *err)
{
	return err->code == -EINVAL || err->code == -EPROTONOSUPPORT;
}

/* Says each thing once. */
static void complain(struct service *s, const struct um_error *err)
{
	uint64_t what = err->code ? um_hash_bytes(err->msg, strlen(err->msg)) | 1 : 0;

	if (what && what != s->complaint)
		um_log(UM_LOG_WARN, "service not programmed", UM_LOG_STR("service", s->key),
		       UM_LOG_ERR(err));
	s->complaint = what;
}

static void retry_later(struct agent_proxy *p)
{
	p->retry_ns = p->retry_ns ? p->retry_ns * 2 : RETRY_FIRST_NS;
	if (p->retry_ns > RETRY_MOST_NS)
		p->retry_ns = RETRY_MOST_NS;
	um_timer_start(p->retry, p->retry_ns);
}

static void flush_done(void *arg)
{
	struct agent_proxy *p = arg;
	bool again = p->err.code, fresh = !TAILQ_EMPTY(&p->dirty);

	p->flushing = false;
	if (p->err.code)
		um_log(UM_LOG_ERROR, "program the Services", UM_LOG_ERR(&p->err));
	um_vec_foreach (c, &p->changes) {
		struct service *s = find_service(p, c->key);

		if (s && !p->err.code)
			complain(s, &c->err);
		if (s && (p->err.code || (c->err.code && !for_good(&c->err)))) {
			note_dirty(p, s);
			again = true;
		}
		change_release(c);
	}
	p->changes.len = 0;
	tell_withdrawn(p);
	if (again)
		retry_later(p);
	else
		p->retry_ns = 0;
	if (fresh)
		um_timer_start(p->soon, 0);
}

static void forget_unknown(struct agent_proxy *p, struct service *s)
{
	if (!s->known && TAILQ_EMPTY(&s->slices))
		service_free(p, s);
}

static void on_soon(void *arg)
{
	struct agent_proxy *p = arg;
	struct service *s;

	if (p->stopped || p->flushing || p->checking)
		return; /* its end comes back here */
	while ((s = TAILQ_FIRST(&p->dirty))) {
		struct change c;

		if (compile(p, s, &c) < 0 || um_vec_push(&p->changes, c) < 0) {
			change_release(&c);
			no_memory(s->key);
			retry_later(p);
			break;
		}
		TAILQ_REMOVE(&p->dirty, s, dirty);
		s->is_dirty = false;
		forget_unknown(p, s);
	}
	p->flushes++;
	p->flushing = true;
	if (um_work_submit(p->loop, flush_work, flush_done, p) < 0) {
		um_error_set(&p->err, -ENOMEM, "out of memory");
		flush_done(p);
	}
}

/* ---- rules that somebody else has flushed ---- */

static void check_work(void *arg)
{
	struct agent_proxy *p = arg;

	p->err = (struct um_error)UM_ERROR_INIT;
	p->healed = false;
	(void)!um_services_check(p->services, &p->healed, &p->err);
}

static void check_done(void *arg)
{
	struct agent_proxy *p = arg;

	p->checking = false;
	if (p->err.code)
		um_log(UM_LOG_ERROR, "check the Services' rules", UM_LOG_ERR(&p->err));
	else if (p->healed)
		um_log(UM_LOG_WARN, "the Services' rules were changed by others and are back");
	um_timer_start(p->check, CHECK_NS);
	if (!TAILQ_EMPTY(&p->dirty))
		um_timer_start(p->soon, 0);
}

static void on_check(void *arg)
{
	struct agent_proxy *p = arg;

	if (p->stopped)
		return;
	if (!p->flushing && p->flushes && um_work_submit(p->loop, check_work, check_done, p) == 0)
		p->checking = true;
	else
		um_timer_start(p->check, CHECK_NS);
}

/* ---- pods that end ---- */

bool proxy_withdraw(struct agent_proxy *p, const char *ip, void (*done)(void *arg), void *arg)
{
	struct withdrawn *w;
	struct in_addr addr;
	bool served = false;
	struct slice *sl;

	if (inet_pton(AF_INET, ip, &addr) != 1 || is_away(p, addr))
		return false;
	for (sl = p->slices; sl; sl = sl->hh.next)
		for (size_t i = 0; i < sl->n_endpoints; i++)
			if (sl->endpoints[i].addr.s_addr == addr.s_addr && sl->endpoints[i].ready) {
				served = true;
				mark(p, sl->service);
			}
	if (!served || !p->services_listed || !p->slices_listed)
		return false;
	w = calloc(1, sizeof(*w));
	if (!w)
		return false;
	/* The next flush that begins knows of it. */
	*w = (struct withdrawn){.addr = addr, .flush = p->flushes + 1, .done = done, .arg = arg};
	HASH_ADD(hh, p->away, addr, sizeof(addr), w);
	if (!w->hh.tbl) {
		free(w);
		return false;
	}
	return true;
}

void proxy_restore(struct agent_proxy *p, const char *ip)
{
	struct withdrawn *w;
	struct in_addr addr;
	struct slice *sl;

	if (inet_pton(AF_INET, ip, &addr) != 1)
		return;
	HASH_FIND(hh, p->away, &addr, sizeof(addr), w);
	if (!w)
		return;
	HASH_DEL(p->away, w);
	free(w);
	for (sl = p->slices; sl; sl = sl->hh.next)
		for (size_t i = 0; i < sl->n_endpoints; i++)
			if (sl->endpoints[i].addr.s_addr == addr.s_addr && sl->endpoints[i].ready)
				mark(p, sl->service);
}

/* ---- life ---- */

int proxy_new(struct um_loop *l, struct um_services *services, const char *dns_ip,
	      struct agent_proxy **ret, struct um_error *err)
{
	struct agent_proxy *p = calloc(1, sizeof(*p));

	if (!p)
		return um_error_set(err, -ENOMEM, "service proxy: out of memory");
	p->loop = l;
	p->services = services;
	if (dns_ip && inet_pton(AF_INET, dns_ip, &p->dns) != 1) {
		free(p);
		return um_error_set(err, -EINVAL, "%s is no IPv4 address", dns_ip);
	}
	TAILQ_INIT(&p->dirty);
	p->soon = um_timer_new(l, on_soon, p);
	p->retry = um_timer_new(l, on_soon, p);
	p->check = um_timer_new(l, on_check, p);
	if (!p->soon || !p->check || !p->retry) {
		proxy_free(p);
		return um_error_set(err, -ENOMEM, "service proxy: out of memory");
	}
	um_timer_start(p->check, CHECK_NS);
	*ret = p;
	return 0;
}

bool proxy_idle(const struct agent_proxy *p)
{
	return !p->flushing && !p->checking;
}

void proxy_stop(struct agent_proxy *p)
{
	if (p)
		p->stopped = true;
}

void proxy_free(struct agent_proxy *p)
{
	struct withdrawn *w, *w_tmp;
	struct service *s, *s_tmp;
	struct slice *sl, *sl_tmp;

	if (!p)
		return;
	HASH_ITER (hh, p->slices, sl, sl_tmp)
		slice_free(p, sl);
	HASH_ITER (hh, p->all, s, s_tmp)
		service_free(p, s);
	HASH_ITER (hh, p->away, w, w_tmp) {
		HASH_DEL(p->away, w);
		free(w);
	}
	um_vec_foreach (c, &p->changes)
		change_release(c);
	um_vec_release(&p->changes);
	um_timer_free(p->soon);
	um_timer_free(p->retry);
	um_timer_free(p->check);
	free(p);
}
