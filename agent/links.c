#include "agent/links.h"

#include <arpa/inet.h>
#include <string.h>

#include "agent/internal.h"
#include "base/hash.h"
#include "base/log.h"
#include "netns/range.h"
#include "wire/loop.h"

#define API_NS "default"
#define API_NAME "kubernetes"
#define API_PORT 443
#define WAIT_NS (5 * UM_NSEC_PER_SEC)

struct port {
	uint16_t number;
	char protocol[5]; /* TCP, UDP, SCTP */
	char name[16];
};

/* One with an address. */
struct service {
	UT_hash_handle hh;
	char ip[INET_ADDRSTRLEN];
	bool listed;
	unsigned n_ports;
	struct port *ports;
	size_t ns_len;
	char key[]; /* "ns/name" */
};

struct agent_links {
	struct service *services;
	bool listed;
};

struct agent_links *links_new(void)
{
	return calloc(1, sizeof(struct agent_links));
}

static void drop(struct agent_links *l, struct service *s)
{
	HASH_DEL(l->services, s);
	free(s->ports);
	free(s);
}

void links_free(struct agent_links *l)
{
	struct service *s, *tmp;

	if (!l)
		return;
	HASH_ITER (hh, l->services, s, tmp)
		drop(l, s);
	free(l);
}

static struct service *find(const struct agent_links *l, const char *ns, const char *name)
{
	struct service *s;
	char key[600];

	snprintf(key, sizeof(key), "%s/%s", ns, name);
	HASH_FIND_STR(l->services, key, s);
	return s;
}

void links_drop(struct agent_links *l, const char *ns, const char *name)
{
	struct service *s = find(l, ns, name);

	if (s)
		drop(l, s);
}

static bool read_ports(struct service *s, const struct um_json *list)
{
	size_t n = list ? list->len : 0;

	s->ports = calloc(n ? n : 1, sizeof(*s->ports));
	if (!s->ports)
		return false;
	um_json_foreach (it, list) {
		struct port *p = &s->ports[s->n_ports++];

		p->number = (uint16_t)um_json_get_i64(it, "port", 0);
		snprintf(p->protocol, sizeof(p->protocol), "%s",
			 um_json_get_str(it, "protocol", "TCP"));
		snprintf(p->name, sizeof(p->name), "%s", um_json_get_str(it, "name", ""));
	}
	return true;
}

void links_put(struct agent_links *l, const struct um_json *service)
{
	const char *ns = um_json_get_str(service, "metadata.namespace", "");
	const char *name = um_json_get_str(service, "metadata.name", "");
	const char *ip = um_json_get_str(service, "spec.clusterIP", "");
	size_t size = strlen(ns) + strlen(name) + 2;
	struct in_addr addr;
	struct service *s;

	links_drop(l, ns, name);
	/* Headless ones and names for elsewhere have no variables. */
	if (inet_pton(AF_INET, ip, &addr) != 1)
		return;
	s = calloc(1, sizeof(*s) + size);
	if (s) {
		snprintf(s->key, size, "%s/%s", ns, name);
		s->ns_len = strlen(ns);
		s->listed = true;
		snprintf(s->ip, sizeof(s->ip), "%s", ip);
		if (read_ports(s, um_json_path(service, "spec.ports"))) {
			HASH_ADD_STR(l->services, key, s);
			if (s->hh.tbl)
				return;
		}
		free(s->ports);
		free(s);
	}
	um_log(UM_LOG_ERROR, "service variables: out of memory", UM_LOG_STR("service", name));
}

void links_listed(struct agent_links *l, const struct um_json *items)
{
	struct service *s, *tmp;

	HASH_ITER (hh, l->services, s, tmp)
		s->listed = false;
	um_json_foreach (it, items) {
		s = find(l, um_json_get_str(it, "metadata.namespace", ""),
			 um_json_get_str(it, "metadata.name", ""));
		if (s)
			s->listed = true;
	}
	HASH_ITER (hh, l->services, s, tmp)
		if (!s->listed)
			drop(l, s);
	l->listed = true;
}

bool links_are_listed(const struct agent_links *l)
{
	return l->listed;
}

/* ---- variables ---- */

/* "my-svc" -> "MY_SVC" */
static const char *variable(struct um_arena *a, const char *name)
{
	char *s = um_arena_strdup(a, name);

	for (char *c = s; c && *c; c++)
		*c = *c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
	return s ? s : "";
}

static void add(struct um_arena *a, struct um_json *list, const char *text)
{
	um_json_append(list, um_json_new_str(a, text));
}

static void add_port(struct um_arena *a, struct um_json *list, const char *prefix, const char *ip,
		     const struct port *p)
{
	const char *lower = !strcmp(p->protocol, "UDP")	   ? "udp"
			    : !strcmp(p->protocol, "SCTP") ? "sctp"
							   : "tcp";
	const char *name = um_arena_printf(a, "%s_PORT_%u_%s", prefix, p->number, p->protocol);

	add(a, list, um_arena_printf(a, "%s=%s://%s:%u", name, lower, ip, p->number));
	add(a, list, um_arena_printf(a, "%s_PROTO=%s", name, lower));
	add(a, list, um_arena_printf(a, "%s_PORT=%u", name, p->number));
	add(a, list, um_arena_printf(a, "%s_ADDR=%s", name, ip));
}

static void add_service(struct um_arena *a, struct um_json *list, const char *name, const char *ip,
			const struct port *ports, unsigned n)
{
	const char *prefix = variable(a, name);

	if (!n)
		return;
	add(a, list, um_arena_printf(a, "%s_SERVICE_HOST=%s", prefix, ip));
	add(a, list, um_arena_printf(a, "%s_SERVICE_PORT=%u", prefix, ports[0].number));
	for (unsigned i = 0; i < n; i++)
		if (*ports[i].name)
			add(a, list,
			    um_arena_printf(a, "%s_SERVICE_PORT_%s=%u", prefix,
					    variable(a, ports[i].name), ports[i].number));
	add(a, list,
	    um_arena_printf(a, "%s_PORT=%s://%s:%u", prefix,
			    !strcmp(ports[0].protocol, "UDP")	 ? "udp"
			    : !strcmp(ports[0].protocol, "SCTP") ? "sctp"
								 : "tcp",
			    ip, ports[0].number));
	for (unsigned i = 0; i < n; i++)
		add_port(a, list, prefix, ip, &ports[i]);
}

struct um_json *links_variables(const struct agent_links *l, struct um_arena *a, const char *ns,
				bool all, const char *api)
{
	static const struct port https = {API_PORT, "TCP", "https"};
	const struct service *own = find(l, ns, API_NAME), *of_api = find(l, API_NS, API_NAME), *s;
	struct um_json *list = um_json_new_arr(a);

	/* A Service "kubernetes" of the pod's own namespace has the name before the API's. */
	if (all && own)
		of_api = own;
	if (of_api)
		add_service(a, list, API_NAME, of_api->ip, of_api->ports, of_api->n_ports);
	else if (api)
		add_service(a, list, API_NAME, api, &https, 1);
	for (s = all ? l->services : NULL; s; s = s->hh.next)
		if (s != of_api && strlen(ns) == s->ns_len && !strncmp(s->key, ns, s->ns_len))
			add_service(a, list, s->key + s->ns_len + 1, s->ip, s->ports, s->n_ports);
	return list;
}

/* ---- pods ---- */

/* The first address of the Services' range is the API's. */
static const char *api_address(const struct um_agent *a, char text[INET_ADDRSTRLEN])
{
	struct um_range range;

	if (!a->opt.service_range ||
	    um_range_parse("service range", a->opt.service_range, &range, NULL) < 0)
		return NULL;
	um_range_format_addr(range.base + 1, text);
	return text;
}

void links_forget(struct agent_pod *p)
{
	um_arena_free(TAKE_PTR(p->links_arena));
	p->links = NULL;
}

void links_of_pod(struct agent_pod *p)
{
	struct um_agent *a = p->agent;
	char api[INET_ADDRSTRLEN];

	links_forget(p);
	/* A static pod does not wait for a server, which may never come. */
	if (!a->links || (p->is_static && !a->links->listed))
		return;
	p->links_arena = um_arena_new(16 << 20);
	if (p->links_arena)
		p->links =
			links_variables(a->links, p->links_arena, p->ns,
					um_json_get_bool(p->obj, "spec.enableServiceLinks", true),
					api_address(a, api));
}

bool links_ready(struct agent_pod *p)
{
	const struct um_agent *a = p->agent;

	if (!a->links || a->links->listed || p->is_static || !a->synced || p->links_waited)
		return true;
	p->links_waited = true;
	um_timer_start(p->timer, WAIT_NS);
	return false;
}
