/* The life of nodes and of the pods on them. */
#include "control_util.h"
#include "control/nodes_internal.h"

TestSuite(nodes, .init = set_up, .fini = tear_down, .timeout = 60);

static unsigned beats;

static void node(const char *name)
{
	make("nodes", um_arena_printf(arena,
				      "{metadata: {name: %s}, status: {conditions: [{type: Ready, "
				      "status: \"True\", lastHeartbeatTime: "
				      "\"2027-01-01T00:00:00Z\"}]}}",
				      name));
}

static void lease(const char *name)
{
	make("leases", um_arena_printf(arena,
				       "{metadata: {name: %s, namespace: kube-node-lease}, spec: "
				       "{holderIdentity: %s, renewTime: "
				       "\"2030-01-01T00:00:00.000000Z\"}}",
				       name, name));
}

/* The time in it lies: only that it differs counts. */
static void renew(const char *name)
{
	change("leases", um_arena_printf(arena, "kube-node-lease/%s", name),
	       um_arena_printf(arena, "{spec: {renewTime: \"2001-01-01T00:00:00.%06uZ\"}}",
			       ++beats));
}

static void post(const char *name, const char *ready)
{
	change("nodes", name,
	       um_arena_printf(arena,
			       "{status: {conditions: [{type: Ready, status: \"%s\", "
			       "lastHeartbeatTime: \"2027-01-01T00:%02u:00Z\"}]}}",
			       ready, ++beats % 60));
}

static const char *ready(const char *plural, const char *name)
{
	return um_json_get_str(um_ctl_condition(um_json_get(get(plural, name), "status"), "Ready"),
			       "status", "");
}

static bool tainted(const char *name, const char *key, const char *effect)
{
	um_json_foreach (t, um_json_path(get("nodes", name), "spec.taints"))
		if (!strcmp(um_json_get_str(t, "key", "") + strlen("node.kubernetes.io/"), key) &&
		    !strcmp(um_json_get_str(t, "effect", ""), effect))
			return true;
	return false;
}

static void pod(const char *name, const char *node_name, const char *tolerations)
{
	make("pods", um_arena_printf(arena,
				     "{metadata: {name: %s, namespace: default}, spec: {nodeName: "
				     "%s, containers: [{name: c, image: i}], tolerations: [%s]}}",
				     name, node_name, tolerations));
	change("pods", um_arena_printf(arena, "default/%s", name),
	       "{status: {phase: Running, podIP: 10.0.0.1, conditions: [{type: Ready, status: "
	       "\"True\"}]}}");
}

/* Absent or marked. */
static bool leaving(const char *name)
{
	const struct um_json *p = get("pods", um_arena_printf(arena, "default/%s", name));

	return !p || um_json_path(p, "metadata.deletionTimestamp");
}

/* Time passes, and the node "live" is ready all the while. */
static void pass(int seconds)
{
	for (; seconds > 0; seconds -= 20) {
		advance(seconds < 20 ? seconds : 20);
		post("live", "True");
	}
}

Test(nodes, silence_is_noticed)
{
	node("live");
	node("n1");
	start_control();
	lease("n1");
	pod("a", "n1", "");
	for (int i = 0; i < 6; i++) {
		pass(30);
		cr_assert_str_eq(ready("nodes", "n1"), "True");
		renew("n1");
	}
	pass(39);
	cr_assert_str_eq(ready("nodes", "n1"), "True");
	pass(2);
	cr_assert_str_eq(ready("nodes", "n1"), "Unknown");
	cr_assert_str_eq(um_json_get_str(get("nodes", "n1"), "status.conditions.0.reason", ""),
			 "NodeStatusUnknown");
	cr_assert(tainted("n1", "unreachable", "NoSchedule"));
	cr_assert(tainted("n1", "unreachable", "NoExecute"));
	cr_assert_not(tainted("n1", "not-ready", "NoExecute"));
	cr_assert_str_eq(ready("pods", "default/a"), "False");
	cr_assert(has_event("NodeNotReady", "n1"));
	/* The lease alone does not make it ready: its agent says so. */
	renew("n1");
	cr_assert_str_eq(ready("nodes", "n1"), "Unknown");
	post("n1", "True");
	cr_assert_str_eq(ready("nodes", "n1"), "True");
	cr_assert_null(um_json_path(get("nodes", "n1"), "spec.taints"));
	cr_assert_not(leaving("a"));
	/* It can fall silent again. */
	advance(41);
	cr_assert_str_eq(ready("nodes", "n1"), "Unknown");
}

Test(nodes, touching_a_lease_is_no_renewal)
{
	node("n1");
	start_control();
	lease("n1");
	for (int i = 0; i < 3; i++) {
		advance(20);
		change("leases", "kube-node-lease/n1",
		       um_arena_printf(arena, "{metadata: {annotations: {x: \"%d\"}}}", i));
	}
	cr_assert_str_eq(ready("nodes", "n1"), "Unknown");
}

Test(nodes, a_status_is_a_sign_of_life)
{
	node("n1");
	start_control();
	for (int i = 0; i < 5; i++) {
		advance(30);
		post("n1", "True");
	}
	cr_assert_str_eq(ready("nodes", "n1"), "True");
}

Test(nodes, a_started_server_gives_time_anew)
{
	node("n1");
	advance(1000);
	start_control();
	advance(39);
	cr_assert_str_eq(ready("nodes", "n1"), "True");
	stop_control();
	start_control();
	advance(39);
	cr_assert_str_eq(ready("nodes", "n1"), "True");
	advance(2);
	cr_assert_str_eq(ready("nodes", "n1"), "Unknown");
}

Test(nodes, one_that_never_spoke)
{
	make("nodes", "{metadata: {name: n1}}");
	node("live");
	start_control();
	pass(41);
	cr_assert_str_eq(um_json_get_str(get("nodes", "n1"), "status.conditions.0.reason", ""),
			 "NodeStatusNeverUpdated");
	cr_assert(tainted("n1", "unreachable", "NoExecute"));
}

Test(nodes, not_ready_is_another_taint)
{
	start_control();
	node("live");
	node("n1");
	post("n1", "False");
	cr_assert(tainted("n1", "not-ready", "NoSchedule"));
	cr_assert(tainted("n1", "not-ready", "NoExecute"));
	pass(41);
	cr_assert_not(tainted("n1", "not-ready", "NoExecute"));
	cr_assert(tainted("n1", "unreachable", "NoExecute"));
	post("n1", "True");
	cr_assert_null(um_json_path(get("nodes", "n1"), "spec.taints"));
}

Test(nodes, taints_of_others_stay)
{
	start_control();
	node("n1");
	change("nodes", "n1",
	       "{spec: {unschedulable: true, taints: [{key: a, effect: NoSchedule}]}}");
	cr_assert(tainted("n1", "unschedulable", "NoSchedule"));
	change("nodes", "n1", "{spec: {unschedulable: null}}");
	cr_assert_eq(um_json_path(get("nodes", "n1"), "spec.taints")->len, 1);
	cr_assert_str_eq(um_json_get_str(get("nodes", "n1"), "spec.taints.0.key", ""), "a");
}

Test(nodes, pods_are_driven_out)
{
	start_control();
	node("live");
	node("n1");
	pod("usual", "n1", "");
	pod("stays", "n1", "{operator: Exists}");
	pod("short", "n1",
	    "{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, "
	    "tolerationSeconds: 10}");
	post("n1", "False");
	cr_assert_not(leaving("short"));
	for (int i = 0; i < 12; i++) {
		pass(1);
		post("n1", "False");
	}
	cr_assert(leaving("short"));
	cr_assert(has_event("TaintManagerEviction", "Marking for deletion Pod default/short"));
	cr_assert_not(leaving("usual"));
	for (int i = 0; i < 15; i++) {
		cr_assert_not(leaving("usual"));
		pass(20);
		post("n1", "False");
	}
	cr_assert(leaving("usual"));
	cr_assert_not(leaving("stays"));
}

Test(nodes, who_is_back_in_time_keeps_its_pods)
{
	start_control();
	node("live");
	node("n1");
	pod("a", "n1", "");
	pass(200);
	cr_assert(tainted("n1", "unreachable", "NoExecute"));
	post("n1", "True");
	pass(200); /* silent once more: the time starts anew */
	cr_assert_not(leaving("a"));
	pass(300);
	cr_assert(leaving("a"));
}

Test(nodes, nobody_is_driven_out_when_all_are_silent)
{
	start_control();
	node("live");
	node("n1");
	pod("a", "n1", "");
	pass(100);
	cr_assert(tainted("n1", "unreachable", "NoExecute"));
	advance(41);
	cr_assert(tainted("n1", "unreachable", "NoSchedule"));
	cr_assert_not(tainted("n1", "unreachable", "NoExecute"));
	cr_assert_not(tainted("live", "unreachable", "NoExecute"));
	cr_assert_str_eq(ready("pods", "default/a"), "False");
	advance(2000);
	cr_assert_not(leaving("a"));
	/* What users taint counts all the same. */
	pod("b", "live", "");
	change("nodes", "live", "{spec: {taints: [{key: x, effect: NoExecute}]}}");
	cr_assert(leaving("b"));
	cr_assert_not(leaving("a"));
	/* One is back: the others have their time, then pods go. */
	post("live", "True");
	cr_assert(tainted("n1", "unreachable", "NoExecute"));
	pass(280);
	cr_assert_not(leaving("a"));
	pass(40);
	cr_assert(leaving("a"));
}

Test(nodes, the_only_one_keeps_its_pods)
{
	node("n1");
	start_control();
	pod("a", "n1", "");
	post("n1", "False");
	advance(1000);
	cr_assert(tainted("n1", "unreachable", "NoSchedule"));
	cr_assert_not(leaving("a"));
	stop_control();
	start_control();
	advance(1000);
	cr_assert_not(leaving("a"));
	/* Its end counts, too. */
	del("nodes", "n1", UM_PROPAGATE_DEFAULT);
	advance(41);
	cr_assert(leaving("a"));
}

Test(nodes, a_taint_of_the_user)
{
	start_control();
	node("n1");
	pod("a", "n1", "");
	pod("b", "n1", "{key: x, operator: Equal, value: y, effect: NoExecute}");
	pod("c", "n1", "{key: x, operator: Equal, value: z, effect: NoExecute}");
	change("nodes", "n1", "{spec: {taints: [{key: x, value: y, effect: NoExecute}]}}");
	cr_assert(leaving("a"));
	cr_assert_not(leaving("b"));
	cr_assert(leaving("c"));
	/* One that comes there later goes as well. */
	pod("d", "n1", "");
	cr_assert(leaving("d"));
}

Test(nodes, pods_of_a_node_that_has_gone)
{
	start_control();
	node("n1");
	lease("n1");
	for (int i = 0; i < 40; i++)
		pod(um_arena_printf(arena, "p%d", i), "n1", "");
	del("nodes", "n1", UM_PROPAGATE_DEFAULT);
	advance(30);
	cr_assert_not(leaving("p0"));
	advance(11);
	for (int i = 0; i < 40; i++)
		cr_assert_null(get("pods", um_arena_printf(arena, "default/p%d", i)));
	cr_assert_null(get("leases", "kube-node-lease/n1"));
	/* Of one that never was, also after a start. */
	pod("x", "nowhere", "");
	stop_control();
	start_control();
	cr_assert_not(leaving("x"));
	advance(41);
	cr_assert_null(get("pods", "default/x"));
}

Test(nodes, one_that_comes_back_keeps_its_pods)
{
	start_control();
	node("n1");
	pod("a", "n1", "");
	del("nodes", "n1", UM_PROPAGATE_DEFAULT);
	advance(30);
	node("n1");
	advance(30);
	cr_assert_not(leaving("a"));
}

Test(nodes, an_idle_cluster_writes_nothing)
{
	struct um_store_stats before, after;

	start_control();
	node("n1");
	lease("n1");
	node("dead");
	pod("a", "n1", "");
	pod("b", "dead", "{operator: Exists}");
	for (int i = 0; i < 30; i++) {
		advance(10);
		renew("n1");
		if (i == 10)
			um_store_get_stats(durable, &before);
	}
	um_store_get_stats(durable, &after);
	cr_assert_eq(before.ops, after.ops);
	cr_assert_str_eq(ready("nodes", "n1"), "True");
	cr_assert_str_eq(ready("nodes", "dead"), "Unknown");
}

static const struct {
	const char *taints, *tolerations;
	int64_t s;
} cases[] = {
	{"[]", "[]", -1},
	{"[{key: a, effect: NoSchedule}]", "[]", -1},
	{"[{key: a, effect: NoExecute}]", "[]", 0},
	{"[{key: a, effect: NoExecute}]", "[{key: a, operator: Exists}]", -1},
	{"[{key: a, effect: NoExecute}]", "[{key: a}]", -1},
	{"[{key: a, value: b, effect: NoExecute}]", "[{key: a, operator: Equal}]", 0},
	{"[{key: a, effect: NoExecute}]", "[{key: a, operator: Exists, effect: NoSchedule}]", 0},
	{"[{key: a, effect: NoExecute}]",
	 "[{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 7}]", 7},
	{"[{key: a, effect: NoExecute}]",
	 "[{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: -7}]", 0},
	{"[{key: a, effect: NoExecute}, {key: b, effect: NoExecute}]",
	 "[{key: a, operator: Exists, tolerationSeconds: 7}, {key: b, operator: Exists, "
	 "tolerationSeconds: 5}]",
	 5},
	{"[{key: a, effect: NoExecute}, {key: b, effect: NoExecute}]",
	 "[{key: a, operator: Exists, tolerationSeconds: 7}]", 0},
	{"[{key: a, effect: NoExecute}]", "[{operator: Exists}]", -1},
};

Test(nodes, how_long_taints_are_borne)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(cases); i++)
		cr_expect_eq(nodes_tolerated_s(yaml(cases[i].taints), yaml(cases[i].tolerations)),
			     cases[i].s, "%s by %s", cases[i].taints, cases[i].tolerations);
}
