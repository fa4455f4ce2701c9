/* Rows of Services, Endpoints and EndpointSlices. */
#include <stdlib.h>
#include <string.h>

#include "api/schema/table.h"

#define SHOWN 3 /* of a list of endpoints */

static void name_cell(struct um_json *row, const struct um_json *obj, struct um_arena *a)
{
	um_scell(row, a, um_json_get_str(obj, "metadata.name", ""));
}

static void age_cell(struct um_json *row, const struct um_json *obj, int64_t now_ns,
		     struct um_arena *a)
{
	um_scell_age(row, a, um_json_get_str(obj, "metadata.creationTimestamp", NULL), now_ns);
}

static void buf_cell(struct um_json *row, struct um_arena *a, const struct um_buf *b,
		     const char *empty)
{
	um_scell(row, a, b->len ? um_arena_strndup(a, um_buf_str(b), b->len) : empty);
}

/* ---- services ---- */

const char *const um_scolumns_service[] = {
	"Name|string|0|The Service's name.",
	"Type|string|0|ClusterIP, NodePort, LoadBalancer or ExternalName.",
	"Cluster-IP|string|0|Its address inside the cluster.",
	"External-IP|string|0|Its address outside.",
	"Port(s)|string|0|Its ports, and those of the nodes.",
	"Age|string|0|Time since it was made.",
	"Selector|string|1|Labels of the pods behind it.",
	NULL};

static void external_cell(struct um_json *row, const struct um_json *obj, struct um_arena *a)
{
	const char *type = um_json_get_str(obj, "spec.type", "");
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(64 << 10);

	if (!strcmp(type, "ExternalName")) {
		um_scell(row, a, um_json_get_str(obj, "spec.externalName", ""));
		return;
	}
	if (!strcmp(type, "LoadBalancer"))
		um_json_foreach (it, um_json_path(obj, "status.loadBalancer.ingress"))
			um_buf_addf(&b, "%s%s", b.len ? "," : "",
				    um_json_get_str(it, "ip", um_json_get_str(it, "hostname", "")));
	um_json_foreach (it, um_json_path(obj, "spec.externalIPs"))
		um_buf_addf(&b, "%s%s", b.len ? "," : "", um_json_str(it, ""));
	buf_cell(row, a, &b, !strcmp(type, "LoadBalancer") ? "<pending>" : "<none>");
}

static void ports_cell(struct um_json *row, const struct um_json *obj, struct um_arena *a)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(64 << 10);

	um_json_foreach (it, um_json_path(obj, "spec.ports")) {
		int64_t node = um_json_get_i64(it, "nodePort", 0);

		um_buf_addf(&b, "%s%lld", b.len ? "," : "",
			    (long long)um_json_get_i64(it, "port", 0));
		if (node)
			um_buf_addf(&b, ":%lld", (long long)node);
		um_buf_addf(&b, "/%s", um_json_get_str(it, "protocol", ""));
	}
	buf_cell(row, a, &b, "<none>");
}

static int by_key(const void *a, const void *b)
{
	const struct um_json *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

static void labels_cell(struct um_json *row, const struct um_json *labels, struct um_arena *a)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(256 << 10);
	const struct um_json **sorted =
		um_arena_alloc(a, (labels ? labels->len : 0) * sizeof(*sorted) + 1);
	size_t n = 0;

	if (!sorted)
		return;
	um_json_foreach (it, labels)
		sorted[n++] = it;
	qsort(sorted, n, sizeof(sorted[0]), by_key);
	for (size_t i = 0; i < n; i++)
		um_buf_addf(&b, "%s%s=%s", i ? "," : "", sorted[i]->key,
			    um_json_str(sorted[i], ""));
	buf_cell(row, a, &b, "<none>");
}

void um_scells_service(struct um_json *row, const struct um_json *obj, int64_t now_ns,
		       struct um_arena *a)
{
	const char *ip = um_json_get_str(obj, "spec.clusterIP", "");

	name_cell(row, obj, a);
	um_scell(row, a, um_json_get_str(obj, "spec.type", ""));
	um_scell(row, a, *ip ? ip : "<none>");
	external_cell(row, obj, a);
	ports_cell(row, obj, a);
	age_cell(row, obj, now_ns, a);
	labels_cell(row, um_json_path(obj, "spec.selector"), a);
}

/* ---- endpoints ---- */

/* The first few of a list, and how many more there are. */
struct some {
	struct um_buf b;
	unsigned n;
};

static void add_some(struct some *s, const char *host, int64_t port)
{
	bool six = strchr(host, ':') && port;

	if (s->n++ >= SHOWN)
		return;
	um_buf_addf(&s->b, "%s%s%s%s", s->b.len ? "," : "", six ? "[" : "", host, six ? "]" : "");
	if (port)
		um_buf_addf(&s->b, ":%lld", (long long)port);
}

static void some_cell(struct um_json *row, struct um_arena *a, struct some *s, const char *empty)
{
	if (s->n > SHOWN)
		um_buf_addf(&s->b, " + %u more...", s->n - SHOWN);
	buf_cell(row, a, &s->b, empty);
	um_buf_release(&s->b);
}

const char *const um_scolumns_endpoints[] = {"Name|string|0|The name, that of the Service.",
					     "Endpoints|string|0|Where its pods answer.",
					     "Age|string|0|Time since they were made.", NULL};

void um_scells_endpoints(struct um_json *row, const struct um_json *obj, int64_t now_ns,
			 struct um_arena *a)
{
	struct some s = {.b = UM_BUF_INIT(4096)};
	const struct um_json *subsets = um_json_get(obj, "subsets");

	um_json_foreach (it, subsets) {
		const struct um_json *ports = um_json_get(it, "ports");

		if (!um_json_first(ports))
			um_json_foreach (addr, um_json_get(it, "addresses"))
				add_some(&s, um_json_get_str(addr, "ip", ""), 0);
		um_json_foreach (port, ports)
			um_json_foreach (addr, um_json_get(it, "addresses"))
				add_some(&s, um_json_get_str(addr, "ip", ""),
					 um_json_get_i64(port, "port", 0));
	}
	name_cell(row, obj, a);
	some_cell(row, a, &s, um_json_first(subsets) ? "" : "<none>");
	age_cell(row, obj, now_ns, a);
}

const char *const um_scolumns_endpoint_slice[] = {"Name|string|0|The slice's name.",
						  "AddressType|string|0|What its addresses are.",
						  "Ports|string|0|The ports of each endpoint.",
						  "Endpoints|string|0|Where pods answer.",
						  "Age|string|0|Time since it was made.",
						  NULL};

static const char *slice_port(const struct um_json *port, struct um_arena *a)
{
	int64_t n = um_json_get_i64(port, "port", 0);

	if (n)
		return um_arena_printf(a, "%lld", (long long)n);
	return um_json_get_str(port, "name", "*");
}

void um_scells_endpoint_slice(struct um_json *row, const struct um_json *obj, int64_t now_ns,
			      struct um_arena *a)
{
	struct some ports = {.b = UM_BUF_INIT(4096)}, hosts = {.b = UM_BUF_INIT(4096)};

	um_json_foreach (it, um_json_get(obj, "ports"))
		add_some(&ports, slice_port(it, a), 0);
	um_json_foreach (it, um_json_get(obj, "endpoints"))
		um_json_foreach (addr, um_json_get(it, "addresses"))
			add_some(&hosts, um_json_str(addr, ""), 0);
	name_cell(row, obj, a);
	um_scell(row, a, um_json_get_str(obj, "addressType", ""));
	some_cell(row, a, &ports, "<unset>");
	some_cell(row, a, &hosts, "<unset>");
	age_cell(row, obj, now_ns, a);
}
