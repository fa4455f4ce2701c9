/* The filters and scores, one row each. */
#include <string.h>

#include "sched/internal.h"

/* ---- taints ---- */

static bool tolerates(const struct um_json *tolerations, const struct um_json *taint)
{
	const char *key = um_json_get_str(taint, "key", "");
	const char *effect = um_json_get_str(taint, "effect", "");

	um_json_foreach (t, tolerations) {
		const char *k = um_json_get_str(t, "key", ""),
			   *e = um_json_get_str(t, "effect", "");
		const char *op = um_json_get_str(t, "operator", "Equal");

		if (*e && strcmp(e, effect))
			continue;
		if (*k && strcmp(k, key))
			continue;
		if (!strcmp(op, "Exists"))
			return true;
		if (*k &&
		    !strcmp(um_json_get_str(t, "value", ""), um_json_get_str(taint, "value", "")))
			return true;
	}
	return false;
}

static const char *check_taints(const struct request *r, const struct sched_node *n, char text[128])
{
	um_json_foreach (t, n->taints) {
		const char *effect = um_json_get_str(t, "effect", "");

		if (!strcmp(effect, "PreferNoSchedule") || tolerates(r->tolerations, t))
			continue;
		snprintf(text, 128, "node(s) had untolerated taint {%.45s: %.40s}",
			 um_json_get_str(t, "key", ""), um_json_get_str(t, "value", ""));
		return text;
	}
	return NULL;
}

static int score_taints(const struct request *r, const struct sched_node *n)
{
	int bad = 0;

	um_json_foreach (t, n->taints)
		if (!strcmp(um_json_get_str(t, "effect", ""), "PreferNoSchedule") &&
		    !tolerates(r->tolerations, t))
			bad++;
	return bad > 4 ? 0 : 100 - 25 * bad;
}

/* ---- the node itself ---- */

static const char *check_unschedulable(const struct request *r, const struct sched_node *n,
				       um_unused char text[128])
{
	struct um_json key = {.type = UM_JSON_STR, .str = "node.kubernetes.io/unschedulable"};
	struct um_json effect = {.type = UM_JSON_STR, .str = "NoSchedule"};
	struct um_json taint = {.type = UM_JSON_OBJ, .first = &key, .len = 2};

	if (!n->unschedulable)
		return NULL;
	key.key = "key";
	key.next = &effect;
	effect.key = "effect";
	return tolerates(r->tolerations, &taint) ? NULL : "node(s) were unschedulable";
}

static const char *check_node_name(const struct request *r, const struct sched_node *n,
				   um_unused char text[128])
{
	return !*r->node_name || !strcmp(r->node_name, n->name)
		       ? NULL
		       : "node(s) didn't match the requested node name";
}

static const char *check_selector(const struct request *r, const struct sched_node *n,
				  um_unused char text[128])
{
	um_json_foreach (it, r->selector)
		if (!um_json_streq(um_json_get(n->labels, it->key), um_json_str(it, "")))
			return "node(s) didn't match Pod's node affinity/selector";
	return NULL;
}

/* ---- resources ---- */

static const char *check_resources(const struct request *r, const struct sched_node *n,
				   char text[128])
{
	static const char *const short_of[RES_FIXED] = {
		[RES_CPU_MILLI] = "Insufficient cpu",
		[RES_MEMORY] = "Insufficient memory",
		[RES_STORAGE] = "Insufficient ephemeral-storage",
		[RES_PODS] = "Too many pods",
	};

	for (int i = RES_FIXED - 1; i >= 0; i--)
		if (r->wants.fixed[i] > 0 &&
		    r->wants.fixed[i] > n->allocatable.fixed[i] - n->used.fixed[i])
			return short_of[i];
	um_vec_foreach (it, &r->wants.extra) {
		if (it->value <=
		    amounts_extra(&n->allocatable, it->name) - amounts_extra(&n->used, it->name))
			continue;
		snprintf(text, 128, "Insufficient %.100s", it->name);
		return text;
	}
	return NULL;
}

/* Percent of a resource that would stay free. */
static int percent_free(const struct request *r, const struct sched_node *n, int i)
{
	int64_t all = n->allocatable.fixed[i], left = all - n->used.fixed[i] - r->wants.fixed[i];

	return all <= 0 || left <= 0 ? 0 : (int)((double)left * 100.0 / (double)all);
}

static int score_least_allocated(const struct request *r, const struct sched_node *n)
{
	return (percent_free(r, n, RES_CPU_MILLI) + percent_free(r, n, RES_MEMORY)) / 2;
}

static int score_balance(const struct request *r, const struct sched_node *n)
{
	int d = percent_free(r, n, RES_CPU_MILLI) - percent_free(r, n, RES_MEMORY);

	return 100 - (d < 0 ? -d : d);
}

/* So that pods that ask for nothing are spread too. */
static int score_fewest_pods(const struct request *r, const struct sched_node *n)
{
	return percent_free(r, n, RES_PODS);
}

/* ---- host ports ---- */

static const char *check_ports(const struct request *r, const struct sched_node *n,
			       um_unused char text[128])
{
	um_vec_foreach (want, &r->ports)
		um_vec_foreach (have, &n->ports)
			if (want->number == have->number && want->protocol == have->protocol &&
			    (!want->hash || !have->hash || want->hash == have->hash))
				return "node(s) didn't have free ports for the requested pod ports";
	return NULL;
}

const struct filter sched_filters[] = {
	{"NodeUnschedulable", check_unschedulable},
	{"NodeName", check_node_name},
	{"TaintToleration", check_taints},
	{"NodeSelector", check_selector},
	{"NodePorts", check_ports},
	{"NodeResourcesFit", check_resources},
	{NULL, NULL},
};

const struct score sched_scores[] = {
	{"TaintToleration", 3, score_taints},
	{"LeastAllocated", 1, score_least_allocated},
	{"BalancedAllocation", 1, score_balance},
	{"FewestPods", 1, score_fewest_pods},
	{NULL, 0, NULL},
};

/* ---- what is not understood yet ---- */

static bool empty(const struct um_json *v)
{
	return !v || v->type == UM_JSON_NULL ||
	       ((v->type == UM_JSON_OBJ || v->type == UM_JSON_ARR) && !v->len);
}

const char *sched_unsupported(const struct request *r)
{
	static const struct {
		const char *path, *why;
	} fields[] = {
		{"affinity.nodeAffinity", "spec.affinity.nodeAffinity is not supported yet"},
		{"affinity.podAffinity", "spec.affinity.podAffinity is not supported yet"},
		{"affinity.podAntiAffinity", "spec.affinity.podAntiAffinity is not supported yet"},
		{"topologySpreadConstraints",
		 "spec.topologySpreadConstraints is not supported yet"},
		{"resourceClaims", "spec.resourceClaims is not supported yet"},
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(fields); i++)
		if (!empty(um_json_path(r->spec, fields[i].path)))
			return fields[i].why;
	return NULL;
}
