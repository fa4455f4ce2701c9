#include <string.h>

#include "base/clock.h"
#include "control/nodes_internal.h"
#include "wire/loop.h"

static const struct {
	const char *type, *status; /* of the condition; type NULL: spec.unschedulable */
	const char *key, *effect;
} rules[] = {
	{"Ready", "False", "node.kubernetes.io/not-ready", "NoSchedule"},
	{"Ready", "False", "node.kubernetes.io/not-ready", "NoExecute"},
	{"Ready", "Unknown", "node.kubernetes.io/unreachable", "NoSchedule"},
	{"Ready", "Unknown", "node.kubernetes.io/unreachable", "NoExecute"},
	{"DiskPressure", "True", "node.kubernetes.io/disk-pressure", "NoSchedule"},
	{"PIDPressure", "True", "node.kubernetes.io/pid-pressure", "NoSchedule"},
	{"NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable", "NoSchedule"},
	{NULL, NULL, "node.kubernetes.io/unschedulable", "NoSchedule"},
};

static struct um_json *find_taint(const struct um_json *taints, const char *key, const char *effect)
{
	um_json_foreach (it, taints)
		if (!strcmp(um_json_get_str(it, "key", ""), key) &&
		    !strcmp(um_json_get_str(it, "effect", ""), effect))
			return it;
	return NULL;
}

static bool wanted(const struct um_nodes *s, const struct um_json *node, size_t rule)
{
	const struct um_json *c;

	if (!rules[rule].type)
		return um_json_get_bool(node, "spec.unschedulable", false);
	if (nodes_all_down(s) && !strcmp(rules[rule].effect, "NoExecute"))
		return false;
	c = um_ctl_condition(um_json_get(node, "status"), rules[rule].type);
	return c && !strcmp(um_json_get_str(c, "status", ""), rules[rule].status);
}

void nodes_set_taints(struct um_nodes *s, struct um_json *node, struct um_arena *a)
{
	struct um_json *spec = um_json_get(node, "spec"), *taints = um_json_get(spec, "taints"), *t;
	char now[UM_TIME_LEN];

	um_time_format(um_clock_wall(um_loop_clock(s->ctl->loop)), now);
	for (size_t i = 0; i < UM_ARRAY_LEN(rules); i++) {
		t = find_taint(taints, rules[i].key, rules[i].effect);
		if (wanted(s, node, i) && !t) {
			spec = um_json_ensure_obj(a, node, "spec");
			taints = um_json_ensure_arr(a, spec, "taints");
			t = um_json_append(taints, um_json_new_obj(a));
			um_json_set_str(a, t, "key", rules[i].key);
			um_json_set_str(a, t, "effect", rules[i].effect);
			um_json_set_str(a, t, "timeAdded", now);
		} else if (t && !wanted(s, node, i)) {
			um_json_remove_node(taints, t);
		}
	}
	if (taints && !um_json_first(taints))
		um_json_remove(spec, "taints");
}

static bool drives_out(const struct um_json *taint)
{
	return !strcmp(um_json_get_str(taint, "effect", ""), "NoExecute");
}

uint64_t nodes_hash_taints(const struct um_json *node)
{
	uint64_t h = 0;

	um_json_foreach (it, um_json_path(node, "spec.taints")) {
		char text[700];
		int n = snprintf(text, sizeof(text), "%s=%s", um_json_get_str(it, "key", ""),
				 um_json_get_str(it, "value", ""));

		if (drives_out(it))
			h = (h * 31 + um_hash_bytes(text, (size_t)n)) | 1;
	}
	return h;
}

static bool tolerates(const struct um_json *toleration, const struct um_json *taint)
{
	const char *key = um_json_get_str(toleration, "key", "");
	const char *effect = um_json_get_str(toleration, "effect", "");
	const char *op = um_json_get_str(toleration, "operator", "");

	if (*effect && strcmp(effect, um_json_get_str(taint, "effect", "")))
		return false;
	if (*key && strcmp(key, um_json_get_str(taint, "key", "")))
		return false;
	if (!strcmp(op, "Exists"))
		return true;
	return *key && !strcmp(um_json_get_str(toleration, "value", ""),
			       um_json_get_str(taint, "value", ""));
}

int64_t nodes_tolerated_s(const struct um_json *taints, const struct um_json *tolerations)
{
	int64_t least = -1;

	um_json_foreach (taint, taints) {
		bool borne = false;

		if (!drives_out(taint))
			continue;
		um_json_foreach (t, tolerations) {
			int64_t s = um_json_get_i64(t, "tolerationSeconds", -1);

			if (!tolerates(t, taint))
				continue;
			/* As Kubernetes counts: the first that matches a taint, the shortest of
			 * those. */
			if (um_json_get(t, "tolerationSeconds") && (least < 0 || s < least))
				least = s < 0 ? 0 : s;
			borne = true;
			break;
		}
		if (!borne)
			return 0;
	}
	return least;
}
