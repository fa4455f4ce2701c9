/* Who serves, by which ports. */
#include <string.h>

#include "api/server.h"
#include "control/endpoints_internal.h"
#include "control/labels.h"
#include "control/podset.h"

static struct endpoint_group *group_of(struct endpoints_look *l, struct um_json *ports)
{
	um_vec_foreach (g, &l->groups)
		if (um_json_equal(g->ports, ports))
			return g;
	if (um_vec_push(&l->groups, (struct endpoint_group){.ports = ports}) < 0) {
		l->error = -ENOMEM;
		return NULL;
	}
	return &l->groups.items[l->groups.len - 1];
}

static void add(struct endpoints_look *l, struct um_json *ports, const struct endpoint *e)
{
	struct endpoint_group *g = group_of(l, ports);

	if (g && um_vec_push(&g->list, *e) < 0)
		l->error = -ENOMEM;
}

void endpoints_release(struct endpoints_look *l)
{
	um_vec_foreach (g, &l->groups)
		um_vec_release(&g->list);
	um_vec_release(&l->groups);
}

/* ---- from pods ---- */

/* The number that a pod's containers give to a named port; 0: none does. */
static int64_t named_port(const struct um_json *pod, const char *name, const char *protocol)
{
	um_json_foreach (c, um_json_path(pod, "spec.containers"))
		um_json_foreach (p, um_json_get(c, "ports"))
			if (!strcmp(um_json_get_str(p, "name", ""), name) &&
			    !strcmp(um_json_get_str(p, "protocol", "TCP"), protocol))
				return um_json_get_i64(p, "containerPort", 0);
	return 0;
}

static struct um_json *new_port(struct um_arena *a, const struct um_json *of, const char *protocol,
				int64_t number)
{
	struct um_json *p = um_json_new_obj(a);
	const struct um_json *app = um_json_get(of, "appProtocol");

	um_json_set_str(a, p, "name", um_json_get_str(of, "name", ""));
	um_json_set_str(a, p, "protocol", protocol);
	um_json_set_i64(a, p, "port", number);
	if (app)
		um_json_set(a, p, "appProtocol", um_json_copy(a, app));
	return p;
}

/* The Service's ports on this pod: those that it has. */
static struct um_json *ports_on(struct endpoints_look *l, const struct um_pod *pod)
{
	struct um_json *list = um_json_new_arr(l->a), *tree = NULL;
	int64_t rev;

	um_json_foreach (p, um_json_path(l->service, "spec.ports")) {
		const struct um_json *target = um_json_get(p, "targetPort");
		const char *protocol = um_json_get_str(p, "protocol", "TCP");
		int64_t number = um_json_get_i64(p, "port", 0);

		if (um_json_is(target, UM_JSON_STR)) {
			if (!tree && um_api_load(l->all->ctl->api, l->all->pods, pod->ns, pod->name,
						 l->a, &tree, &rev) < 0)
				return list; /* gone: its event comes */
			number = named_port(tree, um_json_str(target, ""), protocol);
		} else if (um_json_is(target, UM_JSON_NUM) && um_json_i64(target, 0) > 0) {
			number = um_json_i64(target, 0);
		}
		if (number)
			um_json_append(list, new_port(l->a, p, protocol, number));
	}
	return list;
}

void endpoints_from_pods(struct endpoints_look *l)
{
	const struct um_json *selector = um_json_path(l->service, "spec.selector");
	bool has_ports = um_json_first(um_json_path(l->service, "spec.ports"));
	bool publish_all = um_json_get_bool(l->service, "spec.publishNotReadyAddresses", false);
	const char *service = um_json_get_str(l->service, "metadata.name", "");

	for (const struct um_pod *p = um_podset_first_in(l->all->ctl->pods, l->ns); p;
	     p = um_podset_next_in(p)) {
		struct um_json *ports;
		struct endpoint e = {
			.serving = p->ready,
			.terminating = p->deleted,
			.ready = publish_all || (p->ready && !p->deleted),
		};

		if (!*p->ip || um_pod_ended(p) || !um_label_map_matches(selector, p->labels))
			continue;
		e.ip = um_arena_strdup(l->a, p->ip);
		e.node = um_arena_strdup(l->a, p->node);
		e.pod = um_arena_strdup(l->a, p->name);
		e.pod_uid = um_arena_strdup(l->a, p->uid);
		/* Its name below the Service that its subdomain names. */
		e.hostname = strcmp(p->subdomain, service) == 0 ? um_arena_strdup(l->a, p->hostname)
								: "";
		ports = ports_on(l, p);
		if (has_ports && !um_json_first(ports))
			continue; /* none of the ports is its */
		add(l, ports, &e);
	}
	/* A slice says also that there is nobody. */
	if (!l->groups.len)
		(void)!group_of(l, um_json_new_arr(l->a));
}

/* ---- from what somebody wrote ---- */

static void add_addresses(struct endpoints_look *l, struct um_json *ports,
			  const struct um_json *list, bool ready)
{
	um_json_foreach (it, list) {
		const struct um_json *ref = um_json_get(it, "targetRef");
		bool is_pod = !strcmp(um_json_get_str(ref, "kind", ""), "Pod");
		struct endpoint e = {
			.ip = um_json_get_str(it, "ip", ""),
			.node = um_json_get_str(it, "nodeName", ""),
			.hostname = um_json_get_str(it, "hostname", ""),
			.pod = is_pod ? um_json_get_str(ref, "name", "") : "",
			.pod_uid = is_pod ? um_json_get_str(ref, "uid", "") : "",
			.ready = ready,
			.serving = ready,
		};

		if (!strchr(e.ip, ':')) /* this network is IPv4 */
			add(l, ports, &e);
	}
}

void endpoints_from_subsets(struct endpoints_look *l, const struct um_json *subsets)
{
	um_json_foreach (s, subsets) {
		struct um_json *ports = um_json_new_arr(l->a);

		um_json_foreach (p, um_json_get(s, "ports"))
			um_json_append(ports,
				       new_port(l->a, p, um_json_get_str(p, "protocol", "TCP"),
						um_json_get_i64(p, "port", 0)));
		add_addresses(l, ports, um_json_get(s, "addresses"), true);
		add_addresses(l, ports, um_json_get(s, "notReadyAddresses"), false);
	}
	if (!l->groups.len)
		(void)!group_of(l, um_json_new_arr(l->a));
}

/* ---- as Endpoints show it ---- */

static struct um_json *new_address(struct endpoints_look *l, const struct endpoint *e)
{
	struct um_json *addr = um_json_new_obj(l->a), *ref;

	um_json_set_str(l->a, addr, "ip", e->ip);
	if (*e->node)
		um_json_set_str(l->a, addr, "nodeName", e->node);
	if (*e->pod) {
		ref = um_json_ensure_obj(l->a, addr, "targetRef");
		um_json_set_str(l->a, ref, "kind", "Pod");
		um_json_set_str(l->a, ref, "namespace", l->ns);
		um_json_set_str(l->a, ref, "name", e->pod);
		um_json_set_str(l->a, ref, "uid", e->pod_uid);
	}
	return addr;
}

/* A port without a name has none here; in a slice it is "". */
static struct um_json *plain_ports(struct um_arena *a, const struct um_json *ports)
{
	struct um_json *list = um_json_copy(a, ports);

	um_json_foreach (p, list)
		if (!*um_json_get_str(p, "name", ""))
			um_json_remove(p, "name");
	return list;
}

static int by_ip(const void *x, const void *y)
{
	return strcmp(((const struct endpoint *)x)->ip, ((const struct endpoint *)y)->ip);
}

struct um_json *endpoints_to_subsets(struct endpoints_look *l)
{
	struct um_json *subsets = um_json_new_arr(l->a);
	size_t n = 0;

	um_vec_foreach (g, &l->groups) {
		struct um_json *s = um_json_new_obj(l->a);

		if (g->list.len)
			qsort(g->list.items, g->list.len, sizeof(*g->list.items), by_ip);
		um_vec_foreach (e, &g->list) {
			if (e->terminating && !e->ready)
				continue; /* it is leaving: slices tell of it, these never did */
			if (n++ >= ENDPOINTS_MAX) {
				l->truncated = true;
				break;
			}
			um_json_append(
				um_json_ensure_arr(l->a, s,
						   e->ready ? "addresses" : "notReadyAddresses"),
				new_address(l, e));
		}
		if (!um_json_first(s))
			continue;
		if (um_json_first(g->ports))
			um_json_set(l->a, s, "ports", plain_ports(l->a, g->ports));
		um_json_append(subsets, s);
	}
	return subsets;
}
