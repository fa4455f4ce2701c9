#include <criterion/criterion.h>
#include <string.h>

#include "base/yaml.h"
#include "sched/sched.h"

static struct um_sched *s;
static struct um_arena *arena;

static void set_up(void)
{
	s = um_sched_new();
	arena = um_arena_new(64 << 20);
}
static void tear_down(void)
{
	um_sched_free(s);
	um_arena_free(arena);
}
TestSuite(sched, .init = set_up, .fini = tear_down);

static struct um_json *yaml(const char *text)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_json *docs = NULL;

	cr_assert_eq(um_yaml_parse(arena, text, strlen(text), &docs, &err), 0, "%s: %s", text,
		     err.msg);
	return um_json_at(docs, 0);
}

static void node(const char *name, const char *cpu, const char *rest)
{
	char text[1000];

	snprintf(text, sizeof(text),
		 "{metadata: {name: %s, labels: {disk: %s}}, status: {allocatable: {cpu: %s, "
		 "memory: 1Gi, pods: 10}}%s%s}",
		 name, name[0] == 's' ? "ssd" : "hdd", cpu, *rest ? ", " : "", rest);
	cr_assert_eq(um_sched_node_put(s, yaml(text)), 0);
}

static struct um_json *pod(const char *uid, const char *node_name, const char *cpu,
			   const char *rest)
{
	char text[1500];

	snprintf(text, sizeof(text),
		 "{metadata: {uid: \"%s\"}, spec: {nodeName: \"%s\", containers: [{name: a, "
		 "resources: "
		 "{requests: {cpu: %s}}}]%s%s}}",
		 uid, node_name, cpu, *rest ? ", " : "", rest);
	return yaml(text);
}

static const char *place(struct um_json *p)
{
	static struct um_sched_result r;

	cr_assert_eq(um_sched_place(s, p, &r), 0);
	return r.node ? r.node : r.message;
}

Test(sched, the_emptiest_node_that_fits)
{
	node("a", "1", "");
	node("b", "2", "");
	cr_assert_str_eq(place(pod("1", "", "500m", "")), "b");
	cr_assert_eq(um_sched_pod_put(s, pod("1", "b", "1800m", "")), 0);
	cr_assert_str_eq(place(pod("2", "", "500m", "")), "a");
	cr_assert_str_eq(place(pod("3", "", "1500m", "")),
			 "0/2 nodes are available: 2 Insufficient cpu.");
	um_sched_pod_remove(s, "1");
	cr_assert_str_eq(place(pod("3", "", "1500m", "")), "b");
}

Test(sched, books_follow_updates_ends_and_nodes)
{
	struct um_json *p = pod("1", "a", "1", "");

	cr_assert_eq(um_sched_pod_put(s, p), 0); /* before its node is known */
	node("a", "1", "");
	cr_assert_str_eq(place(pod("2", "", "1", "")),
			 "0/1 nodes are available: 1 Insufficient cpu.");
	cr_assert_eq(um_sched_pod_put(s, p), 0); /* again: no double booking */
	um_sched_node_remove(s, "a");
	cr_assert_str_eq(place(pod("2", "", "1", "")), "0/0 nodes are available.");
	node("a", "2", "");
	cr_assert_str_eq(place(pod("2", "", "1", "")), "a");
	um_json_set(arena, p, "status", yaml("{phase: Succeeded}"));
	cr_assert_eq(um_sched_pod_put(s, p), 0);
	cr_assert_str_eq(place(pod("2", "", "2", "")), "a");
}

Test(sched, filters_say_why)
{
	node("a", "1", "spec: {unschedulable: true}");
	node("b", "1", "spec: {taints: [{key: k, value: v, effect: NoSchedule}]}");
	node("sc", "1", "");
	cr_assert_str_eq(place(pod("1", "", "100m", "nodeSelector: {disk: hdd}")),
			 "0/3 nodes are available: 1 node(s) were unschedulable, 1 node(s) had "
			 "untolerated taint {k: v}, 1 node(s) didn't match Pod's node "
			 "affinity/selector.");
	cr_assert_str_eq(place(pod("1", "", "100m", "nodeSelector: {disk: ssd}")), "sc");
	cr_assert_str_eq(place(pod("1", "", "100m",
				   "nodeSelector: {disk: hdd}, tolerations: [{key: k, operator: "
				   "Equal, value: v}]")),
			 "b");
	cr_assert_str_eq(place(pod("1", "", "100m",
				   "nodeSelector: {disk: hdd}, tolerations: [{key: "
				   "node.kubernetes.io/unschedulable, operator: Exists}]")),
			 "a");
	cr_assert_neq(strcmp(place(pod("1", "", "100m",
				       "nodeSelector: {disk: hdd}, tolerations: [{key: k, value: "
				       "other}]")),
			     "b"),
		      0);
}

Test(sched, host_ports_do_not_meet)
{
	struct um_json *p =
		yaml("{metadata: {uid: \"1\"}, spec: {nodeName: a, containers: [{ports: "
		     "[{containerPort: 80, hostPort: 80}]}]}}");

	node("a", "1", "");
	cr_assert_eq(um_sched_pod_put(s, p), 0);
	um_json_remove(um_json_get(p, "spec"), "nodeName");
	cr_assert_str_eq(place(p), "0/1 nodes are available: 1 node(s) didn't have free ports for "
				   "the requested pod ports.");
	um_sched_pod_remove(s, "1");
	cr_assert_str_eq(place(p), "a");
}

Test(sched, what_it_does_not_know_keeps_a_pod_pending)
{
	node("a", "1", "");
	cr_assert_not_null(strstr(
		place(pod("1", "", "1m", "affinity: {podAntiAffinity: {requiredDuring: [1]}}")),
		"spec.affinity.podAntiAffinity is not supported yet"));
	cr_assert_not_null(strstr(place(pod("1", "", "1m", "topologySpreadConstraints: [{a: 1}]")),
				  "topologySpreadConstraints"));
	cr_assert_str_eq(place(pod("1", "", "1m", "affinity: {}")), "a");
	cr_assert_str_eq(place(yaml("{metadata: {uid: \"9\"}, spec: {containers: [{resources: "
				    "{requests: {example.com/gpu: 1}}}]}}")),
			 "0/1 nodes are available: 1 Insufficient example.com/gpu.");
}

Test(sched, init_containers_count_as_the_largest)
{
	struct um_json *p =
		yaml("{metadata: {uid: \"1\"}, spec: {initContainers: [{resources: {requests: "
		     "{cpu: 900m}}}, {resources: {requests: {cpu: 800m}}}], containers: "
		     "[{resources: {requests: {cpu: 300m}}}, {resources: {requests: "
		     "{cpu: 300m}}}]}}");

	node("a", "900m", "");
	cr_assert_str_eq(place(p), "a");
	node("a", "899m", "");
	cr_assert_str_eq(place(p), "0/1 nodes are available: 1 Insufficient cpu.");
}

Test(sched, pods_are_spread)
{
	int count[3] = {0};

	node("a", "4", "");
	node("b", "4", "");
	node("c", "4", "");
	for (int i = 0; i < 9; i++) {
		char uid[8];
		const char *where;

		snprintf(uid, sizeof(uid), "p%d", i);
		where = place(pod(uid, "", "100m", ""));
		count[where[0] - 'a']++;
		cr_assert_eq(um_sched_pod_put(s, pod(uid, where, "100m", "")), 0);
	}
	cr_assert(count[0] == 3 && count[1] == 3 && count[2] == 3, "%d %d %d", count[0], count[1],
		  count[2]);
}
