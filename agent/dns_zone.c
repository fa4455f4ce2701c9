/* The tables behind the cluster's names. */
#include "agent/dns_zone.h"

#include <arpa/inet.h>
#include <string.h>

#include "agent/dns_zone_priv.h"
#include "base/log.h"

enum { KEY_SIZE = 600 };

static void no_memory(const char *what)
{
	um_log(UM_LOG_ERROR, "cluster DNS out of memory", UM_LOG_STR("object", what));
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

/* ---- namespaces ---- */

static struct dns_namespace *find_namespace(struct dns_zone *z, const char *ns)
{
	struct dns_namespace *n;

	HASH_FIND_STR(z->namespaces, ns, n);
	return n;
}

bool dns_zone_has_namespace(struct dns_zone *z, const char *ns)
{
	return find_namespace(z, ns) != NULL;
}

static void count_namespace(struct dns_zone *z, const char *key, bool more)
{
	size_t len = strcspn(key, "/");
	struct dns_namespace *n;

	HASH_FIND(hh, z->namespaces, key, len, n);
	if (n && !more && --n->services == 0) {
		HASH_DEL(z->namespaces, n);
		free(n);
	} else if (n && more) {
		n->services++;
	} else if (!n && more) {
		n = calloc(1, sizeof(*n) + len + 1);
		if (!n) {
			no_memory(key);
			return;
		}
		memcpy(n->name, key, len);
		n->services = 1;
		HASH_ADD_KEYPTR(hh, z->namespaces, n->name, len, n);
		if (!n->hh.tbl)
			free(n);
	}
}

static void set_known(struct dns_zone *z, struct dns_service *s, bool known)
{
	if (s->known != known)
		count_namespace(z, s->key, known);
	s->known = known;
}

/* ---- addresses ---- */

struct dns_addr *dns_zone_find_addr(struct dns_zone *z, struct in_addr addr)
{
	struct dns_addr *a;

	HASH_FIND(hh, z->addrs, &addr, sizeof(addr), a);
	return a;
}

static struct dns_addr *make_addr(struct dns_zone *z, struct in_addr addr)
{
	struct dns_addr *a = dns_zone_find_addr(z, addr);

	if (a)
		return a;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->addr = addr;
	LIST_INIT(&a->endpoints);
	HASH_ADD(hh, z->addrs, addr, sizeof(addr), a);
	if (!a->hh.tbl) {
		free(a);
		return NULL;
	}
	return a;
}

static void forget_addr(struct dns_zone *z, struct dns_addr *a)
{
	if (a->service || !LIST_EMPTY(&a->endpoints))
		return;
	HASH_DEL(z->addrs, a);
	free(a);
}

static void set_vip(struct dns_zone *z, struct dns_service *s, struct in_addr vip)
{
	struct dns_addr *a = s->vip.s_addr ? dns_zone_find_addr(z, s->vip) : NULL;

	if (a && a->service == s) {
		a->service = NULL;
		forget_addr(z, a);
	}
	s->vip = vip;
	a = vip.s_addr ? make_addr(z, vip) : NULL;
	if (a)
		a->service = s;
	else if (vip.s_addr)
		no_memory(s->key);
}

/* ---- services ---- */

static struct dns_service *find_service(struct dns_zone *z, const char *key)
{
	struct dns_service *s;

	HASH_FIND_STR(z->services, key, s);
	return s;
}

struct dns_service *dns_zone_find_service(struct dns_zone *z, const char *ns, const char *name)
{
	char key[KEY_SIZE];
	struct dns_service *s = make_key(key, sizeof(key), ns, name) ? find_service(z, key) : NULL;

	return s && s->known ? s : NULL;
}

static struct dns_service *make_service(struct dns_zone *z, const char *key)
{
	struct dns_service *s = find_service(z, key);

	if (s)
		return s;
	s = calloc(1, sizeof(*s) + strlen(key) + 1);
	if (!s)
		return NULL;
	strcpy(s->key, key);
	TAILQ_INIT(&s->slices);
	HASH_ADD_STR(z->services, key, s);
	if (!s->hh.tbl) {
		free(s);
		return NULL;
	}
	return s;
}

/* Gone from the server; slices may still name it. */
static void retire(struct dns_zone *z, struct dns_service *s)
{
	set_known(z, s, false);
	set_vip(z, s, (struct in_addr){0});
	if (!TAILQ_EMPTY(&s->slices))
		return;
	HASH_DEL(z->services, s);
	free(s->ports);
	free(s->external);
	free(s);
}

/* Lower case, as names are compared. */
static void lower_label(char to[DNS_LABEL_SIZE], const char *from)
{
	size_t n = 0;

	for (; *from && n + 1 < DNS_LABEL_SIZE; from++)
		to[n++] = *from >= 'A' && *from <= 'Z' ? (char)(*from + 32) : *from;
	to[n] = '\0';
}

static bool read_ports(const struct um_json *list, struct dns_port **ret, size_t *ret_n)
{
	struct dns_port *ports = calloc(list && list->len ? list->len : 1, sizeof(*ports));
	size_t n = 0;

	if (!ports)
		return false;
	um_json_foreach (it, list) {
		const char *proto = um_json_get_str(it, "protocol", "TCP");

		lower_label(ports[n].name, um_json_get_str(it, "name", ""));
		ports[n].protocol = !strcmp(proto, "TCP")   ? IPPROTO_TCP
				    : !strcmp(proto, "UDP") ? IPPROTO_UDP
							    : 0;
		ports[n].port = (uint16_t)um_json_get_i64(it, "port", 0);
		n += ports[n].protocol != 0;
	}
	free(*ret);
	*ret = ports;
	*ret_n = n;
	return true;
}

void dns_zone_put_service(struct dns_zone *z, const struct um_json *service)
{
	const struct um_json *spec = um_json_get(service, "spec");
	bool external = !strcmp(um_json_get_str(spec, "type", "ClusterIP"), "ExternalName");
	const char *ip = um_json_get_str(spec, "clusterIP", "");
	struct in_addr vip = {0};
	struct dns_service *s;
	char key[KEY_SIZE];

	if (!key_of(key, sizeof(key), service))
		return;
	s = make_service(z, key);
	if (!s || !read_ports(um_json_get(spec, "ports"), &s->ports, &s->n_ports)) {
		no_memory(key);
		return;
	}
	s->listed = true;
	free(TAKE_PTR(s->external));
	if (external) {
		s->external = calloc(1, sizeof(*s->external));
		if (s->external &&
		    um_dns_name_parse(um_json_get_str(spec, "externalName", ""), s->external) < 0)
			free(TAKE_PTR(s->external));
	} else if (inet_pton(AF_INET, ip, &vip) != 1) {
		vip.s_addr = 0;
	}
	s->headless = !external && !strcmp(ip, "None");
	s->not_ready = um_json_get_bool(spec, "publishNotReadyAddresses", false);
	set_vip(z, s, vip);
	set_known(z, s, s->external || s->headless || vip.s_addr);
}

void dns_zone_drop_service(struct dns_zone *z, const char *ns, const char *name)
{
	char key[KEY_SIZE];
	struct dns_service *s = make_key(key, sizeof(key), ns, name) ? find_service(z, key) : NULL;

	if (s)
		retire(z, s);
}

void dns_zone_services_listed(struct dns_zone *z, const struct um_json *items)
{
	struct dns_service *s, *tmp;
	char key[KEY_SIZE];

	HASH_ITER (hh, z->services, s, tmp)
		s->listed = false;
	um_json_foreach (it, items)
		if (key_of(key, sizeof(key), it) && (s = find_service(z, key)))
			s->listed = true;
	HASH_ITER (hh, z->services, s, tmp)
		if (!s->listed)
			retire(z, s);
	z->services_listed = true;
}

/* ---- slices ---- */

static void release_endpoints(struct dns_zone *z, struct dns_slice *sl)
{
	for (size_t i = 0; i < sl->n_endpoints; i++) {
		struct dns_endpoint *e = &sl->endpoints[i];

		if (e->at) {
			LIST_REMOVE(e, same_addr);
			forget_addr(z, e->at);
		}
		free(e->hostname);
	}
	free(sl->endpoints);
	free(sl->ports);
}

static void drop_slice(struct dns_zone *z, struct dns_slice *sl)
{
	struct dns_service *s = sl->service;

	TAILQ_REMOVE(&s->slices, sl, next);
	HASH_DEL(z->slices, sl);
	release_endpoints(z, sl);
	free(sl);
	if (!s->known)
		retire(z, s);
}

static struct dns_slice *find_slice(struct dns_zone *z, const char *key)
{
	struct dns_slice *sl;

	HASH_FIND_STR(z->slices, key, sl);
	return sl;
}

static bool read_endpoint(struct dns_zone *z, struct dns_slice *sl, struct dns_endpoint *e,
			  const struct um_json *from)
{
	const char *hostname = um_json_get_str(from, "hostname", NULL);
	char label[DNS_LABEL_SIZE];

	e->slice = sl;
	e->ready = um_json_get_bool(from, "conditions.ready", true);
	if (hostname && *hostname) {
		lower_label(label, hostname);
		e->hostname = strdup(label);
		if (!e->hostname)
			return false;
	}
	e->at = make_addr(z, e->addr);
	if (!e->at)
		return false;
	LIST_INSERT_HEAD(&e->at->endpoints, e, same_addr);
	return true;
}

static bool read_slice(struct dns_zone *z, struct dns_slice *sl, const struct um_json *slice)
{
	const struct um_json *list = um_json_get(slice, "endpoints");

	sl->endpoints = calloc(list && list->len ? list->len : 1, sizeof(*sl->endpoints));
	if (!sl->endpoints || !read_ports(um_json_get(slice, "ports"), &sl->ports, &sl->n_ports))
		return false;
	um_json_foreach (it, list) {
		struct dns_endpoint *e = &sl->endpoints[sl->n_endpoints];

		if (inet_pton(AF_INET, um_json_get_str(it, "addresses.0", ""), &e->addr) != 1)
			continue;
		sl->n_endpoints++;
		if (!read_endpoint(z, sl, e, it))
			return false;
	}
	return true;
}

void dns_zone_put_slice(struct dns_zone *z, const struct um_json *slice)
{
	const struct um_json *of =
		um_json_get(um_json_path(slice, "metadata.labels"), "kubernetes.io/service-name");
	char key[KEY_SIZE], svc[KEY_SIZE];
	struct dns_slice *sl;

	if (!key_of(key, sizeof(key), slice))
		return;
	sl = find_slice(z, key);
	if (sl)
		drop_slice(z, sl);
	if (!of || strcmp(um_json_get_str(slice, "addressType", ""), "IPv4") != 0 ||
	    !make_key(svc, sizeof(svc), um_json_get_str(slice, "metadata.namespace", ""),
		      um_json_str(of, "")))
		return;
	sl = calloc(1, sizeof(*sl) + strlen(key) + 1);
	if (sl && read_slice(z, sl, slice) && (sl->service = make_service(z, svc))) {
		strcpy(sl->key, key);
		HASH_ADD_STR(z->slices, key, sl);
	}
	if (!sl || !sl->hh.tbl) {
		no_memory(key);
		if (sl)
			release_endpoints(z, sl);
		free(sl);
		return;
	}
	sl->listed = true;
	sl->service->listed = true;
	TAILQ_INSERT_TAIL(&sl->service->slices, sl, next);
}

void dns_zone_drop_slice(struct dns_zone *z, const char *ns, const char *name)
{
	char key[KEY_SIZE];
	struct dns_slice *sl = make_key(key, sizeof(key), ns, name) ? find_slice(z, key) : NULL;

	if (sl)
		drop_slice(z, sl);
}

void dns_zone_slices_listed(struct dns_zone *z, const struct um_json *items)
{
	struct dns_slice *sl, *tmp;
	char key[KEY_SIZE];

	HASH_ITER (hh, z->slices, sl, tmp)
		sl->listed = false;
	um_json_foreach (it, items)
		if (key_of(key, sizeof(key), it) && (sl = find_slice(z, key)))
			sl->listed = true;
	HASH_ITER (hh, z->slices, sl, tmp)
		if (!sl->listed)
			drop_slice(z, sl);
	z->slices_listed = true;
}

/* ---- life ---- */

int dns_zone_new(const struct dns_zone_config *cfg, struct dns_zone **ret, struct um_error *err)
{
	struct dns_zone *z = calloc(1, sizeof(*z));

	if (!z)
		return um_error_set(err, -ENOMEM, "cluster DNS: out of memory");
	z->cfg = *cfg;
	/* Room for the longest names below it: _port._proto.service.namespace.svc. */
	if (um_dns_name_parse(cfg->domain, &z->apex) < 0 || z->apex.len < 2 || z->apex.len > 100) {
		free(z);
		return um_error_set(err, -EINVAL,
				    "cluster domain \"%.120s\": it must be a DNS name of at most "
				    "98 characters",
				    cfg->domain);
	}
	um_dns_name_lower(&z->apex);
	z->server = z->mail = z->apex;
	if (um_dns_name_prepend(&z->server, "dns") < 0 ||
	    um_dns_name_prepend(&z->server, "ns") < 0 ||
	    um_dns_name_prepend(&z->mail, "hostmaster") < 0)
		z->server.len = 1; /* never: the apex is short enough */
	*ret = z;
	return 0;
}

void dns_zone_free(struct dns_zone *z)
{
	struct dns_service *s, *s_tmp;
	struct dns_slice *sl, *sl_tmp;

	if (!z)
		return;
	HASH_ITER (hh, z->slices, sl, sl_tmp)
		drop_slice(z, sl);
	HASH_ITER (hh, z->services, s, s_tmp)
		retire(z, s);
	free(z);
}
