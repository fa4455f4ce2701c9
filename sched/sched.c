#include "sched/sched.h"

#include <string.h>

#include "sched/internal.h"

/* Past this many nodes not all are looked at: enough that fit are enough to choose from. */
#define LOOK_AT_LEAST 100
#define REASONS_MAX 16

struct um_sched *um_sched_new(void)
{
	return calloc(1, sizeof(struct um_sched));
}

static void free_pod(struct um_sched *s, struct sched_pod *p)
{
	HASH_DEL(s->pods, p);
	amounts_release(&p->wants);
	um_vec_release(&p->ports);
	free(p);
}

static void drop_object(struct um_sched *s, struct sched_node *n)
{
	if (!n->obj)
		return;
	s->order.items[n->position] = s->order.items[s->order.len - 1];
	s->order.items[n->position]->position = n->position;
	s->order.len--;
	um_arena_free(n->arena);
	amounts_release(&n->allocatable);
	memset(&n->allocatable, 0, sizeof(n->allocatable));
	n->arena = NULL;
	n->obj = NULL;
	n->labels = n->taints = NULL;
}

void um_sched_free(struct um_sched *s)
{
	struct sched_node *n, *tmp;
	struct sched_pod *p, *tmp2;

	if (!s)
		return;
	HASH_ITER (hh, s->pods, p, tmp2)
		free_pod(s, p);
	HASH_ITER (hh, s->nodes, n, tmp) {
		drop_object(s, n);
		HASH_DEL(s->nodes, n);
		amounts_release(&n->used);
		um_vec_release(&n->ports);
		free(n->name);
		free(n);
	}
	um_vec_release(&s->order);
	free(s);
}

static struct sched_node *ensure_node(struct um_sched *s, const char *name)
{
	struct sched_node *n;

	HASH_FIND_STR(s->nodes, name, n);
	if (n)
		return n;
	n = calloc(1, sizeof(*n));
	if (!n || !(n->name = strdup(name))) {
		free(n);
		return NULL;
	}
	HASH_ADD_KEYPTR(hh, s->nodes, n->name, strlen(n->name), n);
	return n;
}

int um_sched_node_put(struct um_sched *s, const struct um_json *node)
{
	struct sched_node *n = ensure_node(s, um_json_get_str(node, "metadata.name", ""));
	struct um_arena *a = um_arena_new(4 << 20);
	struct um_json *obj = a ? um_json_copy(a, node) : NULL;

	if (!n || !obj) {
		um_arena_free(a);
		return -ENOMEM;
	}
	drop_object(s, n);
	if (amounts_of_node(um_json_path(obj, "status.allocatable"), &n->allocatable) < 0 ||
	    um_vec_push(&s->order, n) < 0) {
		amounts_release(&n->allocatable);
		memset(&n->allocatable, 0, sizeof(n->allocatable));
		um_arena_free(a);
		return -ENOMEM;
	}
	n->position = s->order.len - 1;
	n->arena = a;
	n->obj = obj;
	n->labels = um_json_path(obj, "metadata.labels");
	n->taints = um_json_path(obj, "spec.taints");
	n->unschedulable = um_json_get_bool(obj, "spec.unschedulable", false);
	return 0;
}

void um_sched_node_remove(struct um_sched *s, const char *name)
{
	struct sched_node *n;

	HASH_FIND_STR(s->nodes, name, n);
	if (n)
		drop_object(s, n);
}

unsigned um_sched_nodes(const struct um_sched *s)
{
	return (unsigned)s->order.len;
}

/* ---- pods ---- */

static int add_port(struct sched_pod *to, const struct um_json *port, int64_t number)
{
	const char *ip = um_json_get_str(port, "hostIP", "");
	bool any = !*ip || !strcmp(ip, "0.0.0.0") || !strcmp(ip, "::");
	struct port p = {
		.number = (uint16_t)number,
		.protocol = (uint8_t)um_json_get_str(port, "protocol", "TCP")[0],
		.hash = any ? 0 : (uint32_t)um_hash_bytes(ip, strlen(ip)) | 1,
	};

	return um_vec_push(&to->ports, p);
}

static int read_ports(const struct um_json *pod, struct sched_pod *to)
{
	um_json_foreach (c, um_json_path(pod, "spec.containers"))
		um_json_foreach (port, um_json_get(c, "ports")) {
			int64_t number = um_json_get_i64(port, "hostPort", 0);

			if (number > 0 && number < 65536 && add_port(to, port, number) < 0)
				return -ENOMEM;
		}
	return 0;
}

static bool same_port(const struct port *a, const struct port *b)
{
	return a->number == b->number && a->protocol == b->protocol && a->hash == b->hash;
}

static void unbook(struct sched_pod *p)
{
	amounts_add(&p->node->used, &p->wants, -1);
	um_vec_foreach (mine, &p->ports)
		for (size_t i = 0; i < p->node->ports.len; i++)
			if (same_port(&p->node->ports.items[i], mine)) {
				um_vec_remove(&p->node->ports, i);
				break;
			}
}

void um_sched_pod_remove(struct um_sched *s, const char *uid)
{
	struct sched_pod *p;

	HASH_FIND_STR(s->pods, uid, p);
	if (!p)
		return;
	unbook(p);
	free_pod(s, p);
}

int um_sched_pod_put(struct um_sched *s, const struct um_json *pod)
{
	const char *uid = um_json_get_str(pod, "metadata.uid", "");
	const char *node = um_json_get_str(pod, "spec.nodeName", "");
	const char *phase = um_json_get_str(pod, "status.phase", "");
	struct sched_pod *p;

	um_sched_pod_remove(s, uid);
	if (!*node || !strcmp(phase, "Succeeded") || !strcmp(phase, "Failed"))
		return 0;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	snprintf(p->uid, sizeof(p->uid), "%s", uid);
	p->node = ensure_node(s, node);
	if (!p->node || amounts_of_pod(pod, &p->wants) < 0) {
		free(p);
		return -ENOMEM;
	}
	HASH_ADD_STR(s->pods, uid, p);
	if (read_ports(pod, p) < 0) {
		free_pod(s, p);
		return -ENOMEM;
	}
	amounts_add(&p->node->used, &p->wants, 1);
	um_vec_foreach (mine, &p->ports)
		if (um_vec_push(&p->node->ports, *mine) < 0)
			return -ENOMEM; /* booked without that port */
	return 0;
}

/* ---- placing ---- */

struct reason {
	char text[128];
	unsigned count;
};

static void note_reason(struct reason *list, const char *text)
{
	size_t i;

	for (i = 0; i < REASONS_MAX - 1 && list[i].count; i++)
		if (!strncmp(list[i].text, text, sizeof(list[i].text) - 1))
			break;
	if (!list[i].count)
		snprintf(list[i].text, sizeof(list[i].text), "%s",
			 i == REASONS_MAX - 1 ? "other reasons" : text);
	list[i].count++;
}

static void write_message(struct um_sched_result *ret, unsigned nodes, const struct reason *list)
{
	int n = snprintf(ret->message, sizeof(ret->message), "0/%u nodes are available", nodes);

	for (size_t i = 0; i < REASONS_MAX && list[i].count; i++)
		if (n < (int)sizeof(ret->message))
			n += snprintf(ret->message + n, sizeof(ret->message) - (size_t)n,
				      "%s %u %s", i ? "," : ":", list[i].count, list[i].text);
	if (n < (int)sizeof(ret->message) - 1)
		strcpy(ret->message + n, ".");
}

static const char *why_not(const struct request *r, const struct sched_node *n, char text[128])
{
	for (const struct filter *f = sched_filters; f->name; f++) {
		const char *why = f->check(r, n, text);

		if (why)
			return why;
	}
	return NULL;
}

static int points(const struct request *r, const struct sched_node *n)
{
	int sum = 0;

	for (const struct score *sc = sched_scores; sc->name; sc++)
		sum += sc->weight * sc->points(r, n);
	return sum;
}

/* All of a small cluster; of a large one a part that shrinks from half to a twentieth. */
static size_t enough(size_t nodes)
{
	size_t percent = nodes / 125 < 45 ? 50 - nodes / 125 : 5, n = nodes * percent / 100;

	return nodes <= LOOK_AT_LEAST ? nodes : n < LOOK_AT_LEAST ? LOOK_AT_LEAST : n;
}

static void choose(struct um_sched *s, const struct request *r, struct um_sched_result *ret)
{
	struct reason reasons[REASONS_MAX] = {{"", 0}};
	size_t n = s->order.len, want = enough(n);
	const struct sched_node *best = NULL;
	int best_points = -1;

	for (size_t k = 0; k < n && ret->feasible < want; k++) {
		const struct sched_node *node = s->order.items[(s->turn + k) % n];
		char text[128];
		const char *why = why_not(r, node, text);
		int p;

		ret->looked_at++;
		if (why) {
			note_reason(reasons, why);
			continue;
		}
		ret->feasible++;
		p = points(r, node);
		if (p > best_points) {
			best = node;
			best_points = p;
		}
	}
	if (n)
		s->turn = (s->turn + ret->looked_at) % n;
	if (best)
		ret->node = best->name;
	else
		write_message(ret, (unsigned)n, reasons);
}

int um_sched_place(struct um_sched *s, const struct um_json *pod, struct um_sched_result *ret)
{
	struct request r = {
		.pod = pod,
		.spec = um_json_get(pod, "spec"),
	};
	struct sched_pod ports = {0};
	const char *why;
	int code;

	memset(ret, 0, sizeof(*ret));
	r.selector = um_json_get(r.spec, "nodeSelector");
	r.tolerations = um_json_get(r.spec, "tolerations");
	r.node_name = um_json_get_str(r.spec, "nodeName", "");
	why = sched_unsupported(&r);
	if (why) {
		snprintf(ret->message, sizeof(ret->message), "0/%zu nodes are available: %s.",
			 s->order.len, why);
		return 0;
	}
	code = amounts_of_pod(pod, &r.wants);
	if (code == 0)
		code = read_ports(pod, &ports);
	if (code == 0) {
		r.ports.items = ports.ports.items;
		r.ports.len = ports.ports.len;
		choose(s, &r, ret);
	}
	um_vec_release(&ports.ports);
	amounts_release(&r.wants);
	return code;
}
