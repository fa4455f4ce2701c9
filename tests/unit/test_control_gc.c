/* Garbage collection by owner references. */
#include "control_util.h"

TestSuite(gc, .init = set_up, .fini = tear_down, .timeout = 60);

/* A ConfigMap in namespace default; @refs: a flow list of owner references. */
static const char *map(const char *name, const char *refs)
{
	return make("configmaps", um_arena_printf(arena,
						  "{metadata: {name: %s, namespace: default, "
						  "ownerReferences: [%s]}}",
						  name, refs));
}

#define REF(kind, api_version, name, uid, more)                                                    \
	um_arena_printf(arena, "{apiVersion: %s, kind: %s, name: %s, uid: %s%s}", api_version,     \
			kind, name, uid, more)
#define MAP_REF(name, uid) REF("ConfigMap", "v1", name, uid, "")
#define BLOCKING(name, uid) REF("ConfigMap", "v1", name, uid, ", blockOwnerDeletion: true")
#define NOBODY "11111111-1111-4111-8111-111111111111"

static unsigned refs_of(const char *name)
{
	const struct um_json *refs =
		um_json_path(get("configmaps", name), "metadata.ownerReferences");

	return refs ? refs->len : 0;
}

static bool is_leaving(const char *name)
{
	return um_json_path(get("configmaps", name), "metadata.deletionTimestamp");
}

Test(gc, dependents_go_with_their_owner)
{
	const char *a, *b;

	start_control();
	a = map("a", "");
	b = map("b", MAP_REF("a", a));
	map("c", MAP_REF("b", b));
	map("other", "");
	settle();
	cr_assert(get("configmaps", "default/c"));
	del("configmaps", "default/a", UM_PROPAGATE_DEFAULT);
	cr_assert_null(get("configmaps", "default/b"));
	cr_assert_null(get("configmaps", "default/c"));
	cr_assert(get("configmaps", "default/other"));
}

Test(gc, an_owner_that_never_was)
{
	start_control();
	map("gone", MAP_REF("a", NOBODY));
	cr_assert_null(get("configmaps", "default/gone"));
	/* Another one of that name is not the owner. */
	map("a", "");
	map("b", MAP_REF("a", NOBODY));
	cr_assert_null(get("configmaps", "default/b"));
	cr_assert(get("configmaps", "default/a"));
}

Test(gc, one_living_owner_is_enough)
{
	const char *a, *b, *refs;

	start_control();
	a = map("a", "");
	b = map("b", "");
	refs = um_arena_printf(arena, "%s, %s", MAP_REF("a", a), MAP_REF("b", b));
	map("c", refs);
	cr_assert_eq(refs_of("default/c"), 2);
	del("configmaps", "default/a", UM_PROPAGATE_DEFAULT);
	cr_assert_eq(refs_of("default/c"), 1);
	del("configmaps", "default/b", UM_PROPAGATE_DEFAULT);
	cr_assert_null(get("configmaps", "default/c"));
}

Test(gc, what_went_while_nobody_looked)
{
	const char *a, *f, *o;

	start_control();
	a = map("a", "");
	f = map("f", "");
	o = map("o", "");
	map("b", MAP_REF("a", a));
	map("fb", BLOCKING("f", f));
	map("ob", MAP_REF("o", o));
	stop_control();
	del("configmaps", "default/a", UM_PROPAGATE_DEFAULT);
	del("configmaps", "default/f", UM_PROPAGATE_FOREGROUND);
	del("configmaps", "default/o", UM_PROPAGATE_ORPHAN);
	cr_assert(get("configmaps", "default/b"));
	cr_assert(is_leaving("default/f"));
	cr_assert(is_leaving("default/o"));
	start_control();
	cr_assert_null(get("configmaps", "default/b"));
	cr_assert_null(get("configmaps", "default/f"));
	cr_assert_null(get("configmaps", "default/fb"));
	cr_assert_null(get("configmaps", "default/o"));
	cr_assert_eq(refs_of("default/ob"), 0);
	cr_assert(get("configmaps", "default/ob"));
}

Test(gc, in_the_foreground_the_owner_goes_last)
{
	const char *a, *b;

	start_control();
	a = map("a", "");
	b = map("b", BLOCKING("a", a));
	make("configmaps", um_arena_printf(arena,
					   "{metadata: {name: c, namespace: default, finalizers: "
					   "[example.com/wait], ownerReferences: [%s]}}",
					   BLOCKING("b", b)));
	map("loose", MAP_REF("a", a));
	del("configmaps", "default/a", UM_PROPAGATE_FOREGROUND);
	cr_assert(is_leaving("default/a"));
	cr_assert(is_leaving("default/b")); /* it has a dependent, and waits for it, too */
	cr_assert(is_leaving("default/c"));
	cr_assert_null(get("configmaps", "default/loose"));
	cr_assert(
		um_json_streq(um_json_path(get("configmaps", "default/b"), "metadata.finalizers.0"),
			      "foregroundDeletion"));
	change("configmaps", "default/c", "{metadata: {finalizers: null}}");
	cr_assert_null(get("configmaps", "default/c"));
	cr_assert_null(get("configmaps", "default/b"));
	cr_assert_null(get("configmaps", "default/a"));
}

Test(gc, who_does_not_block_is_not_waited_for)
{
	const char *a;

	start_control();
	a = map("a", "");
	make("configmaps", um_arena_printf(arena,
					   "{metadata: {name: b, namespace: default, finalizers: "
					   "[example.com/wait], ownerReferences: [%s]}}",
					   MAP_REF("a", a)));
	del("configmaps", "default/a", UM_PROPAGATE_FOREGROUND);
	cr_assert_null(get("configmaps", "default/a"));
	cr_assert(is_leaving("default/b"));
}

Test(gc, two_that_own_each_other)
{
	const char *a, *b;

	start_control();
	a = map("a", "");
	b = map("b", BLOCKING("a", a));
	change("configmaps", "default/a",
	       um_arena_printf(arena, "{metadata: {ownerReferences: [%s]}}", BLOCKING("b", b)));
	del("configmaps", "default/a", UM_PROPAGATE_FOREGROUND);
	cr_assert_null(get("configmaps", "default/a"));
	cr_assert_null(get("configmaps", "default/b"));
	a = map("self", "");
	change("configmaps", "default/self",
	       um_arena_printf(arena, "{metadata: {ownerReferences: [%s]}}", BLOCKING("self", a)));
	del("configmaps", "default/self", UM_PROPAGATE_FOREGROUND);
	cr_assert_null(get("configmaps", "default/self"));
}

Test(gc, another_wish_while_it_waits)
{
	const char *a;

	start_control();
	a = map("a", "");
	make("configmaps", um_arena_printf(arena,
					   "{metadata: {name: b, namespace: default, finalizers: "
					   "[example.com/wait], ownerReferences: [%s]}}",
					   BLOCKING("a", a)));
	del("configmaps", "default/a", UM_PROPAGATE_FOREGROUND);
	cr_assert(is_leaving("default/a"));
	del("configmaps", "default/a", UM_PROPAGATE_BACKGROUND);
	cr_assert_null(get("configmaps", "default/a"));
}

Test(gc, orphans_stay)
{
	const char *a, *b;

	start_control();
	a = map("a", "");
	b = map("b", "");
	for (int i = 0; i < 40; i++)
		map(um_arena_printf(arena, "c%d", i), BLOCKING("a", a));
	map("two", um_arena_printf(arena, "%s, %s", MAP_REF("a", a), MAP_REF("b", b)));
	del("configmaps", "default/a", UM_PROPAGATE_ORPHAN);
	cr_assert_null(get("configmaps", "default/a"));
	for (int i = 0; i < 40; i++) {
		const char *name = um_arena_printf(arena, "default/c%d", i);

		cr_assert(get("configmaps", name));
		cr_assert_not(is_leaving(name));
		cr_assert_eq(refs_of(name), 0);
	}
	cr_assert_eq(refs_of("default/two"), 1);
}

Test(gc, the_finalizers_decide_when_nothing_is_said)
{
	const char *a = make("configmaps",
			     "{metadata: {name: a, namespace: default, finalizers: [orphan]}}");

	start_control();
	map("b", MAP_REF("a", a));
	del("configmaps", "default/a", UM_PROPAGATE_DEFAULT);
	cr_assert_null(get("configmaps", "default/a"));
	cr_assert_eq(refs_of("default/b"), 0);
	a = make("configmaps", "{metadata: {name: a, namespace: default, finalizers: [orphan]}}");
	map("c", MAP_REF("a", a));
	del("configmaps", "default/a", UM_PROPAGATE_BACKGROUND);
	cr_assert_null(get("configmaps", "default/a"));
	cr_assert_null(get("configmaps", "default/c"));
}

Test(gc, owners_of_other_scopes)
{
	const char *ns, *a;

	start_control();
	ns = make("namespaces", "{metadata: {name: other}}");
	a = make("configmaps", "{metadata: {name: a, namespace: other}}");
	/* A cluster's object may own one of a namespace. */
	map("of-ns", REF("Namespace", "v1", "other", ns, ""));
	cr_assert(get("configmaps", "default/of-ns"));
	/* An owner in another namespace is none. */
	map("far", MAP_REF("a", a));
	cr_assert_null(get("configmaps", "default/far"));
	cr_assert(has_event("OwnerRefInvalidNamespace", "far"));
	/* The other way round nothing can be said. */
	make("nodes", um_arena_printf(arena, "{metadata: {name: n1, ownerReferences: [%s]}}",
				      MAP_REF("a", a)));
	cr_assert(get("nodes", "n1"));
	cr_assert(has_event("OwnerRefInvalidNamespace", "n1"));
}

Test(gc, kinds_that_nobody_knows)
{
	start_control();
	map("a", REF("Widget", "example.com/v1", "w", NOBODY, ""));
	map("b", REF("Deployment", "apps/v1beta1", "w", NOBODY, ""));
	map("c", REF("Lease", "coordination.k8s.io/v1", "w", NOBODY, ""));
	map("d", REF("configmaps", "v1", "w", NOBODY, ""));
	advance(5);
	for (const char *c = "abcd"; *c; c++)
		cr_assert(get("configmaps", um_arena_printf(arena, "default/%c", *c)));
}

Test(gc, an_owner_in_vain)
{
	struct um_json *obj;

	start_control();
	/* Text that only looks like references. */
	make("configmaps", "{metadata: {name: a, namespace: default}, data: {x: "
			   "'\"ownerReferences\":[{\"uid\":\"x\"}] \"foregroundDeletion\"'}}");
	make("configmaps", um_arena_printf(arena,
					   "{metadata: {name: b, namespace: default, annotations: "
					   "{x: '\"ownerReferences\":[{}]'}, ownerReferences: "
					   "[{apiVersion: \"]\", kind: \"\\\"]\", name: x, "
					   "uid: %s}]}}",
					   NOBODY));
	obj = get("configmaps", "default/b");
	cr_assert_not_null(obj);
	cr_assert(get("configmaps", "default/a"));
	change("configmaps", "default/b",
	       um_arena_printf(arena, "{metadata: {ownerReferences: [%s]}}", MAP_REF("q", NOBODY)));
	cr_assert_null(get("configmaps", "default/b"));
}

Test(gc, many_at_once_and_then_nothing)
{
	struct um_store_stats before, after;
	const char *a;

	start_control();
	a = map("a", "");
	for (int i = 0; i < 600; i++)
		map(um_arena_printf(arena, "c%d", i), MAP_REF("a", a));
	del("configmaps", "default/a", UM_PROPAGATE_DEFAULT);
	for (int i = 0; i < 20; i++)
		settle();
	for (int i = 0; i < 600; i++)
		cr_assert_null(get("configmaps", um_arena_printf(arena, "default/c%d", i)));
	um_store_get_stats(durable, &before);
	advance(120);
	um_store_get_stats(durable, &after);
	cr_assert_eq(before.ops, after.ops);
}

Test(gc, the_servers_own_namespaces_stay)
{
	start_control();
	change("namespaces", "kube-system",
	       um_arena_printf(arena, "{metadata: {ownerReferences: [%s]}}",
			       REF("Node", "v1", "n", NOBODY, "")));
	advance(2);
	cr_assert_null(
		um_json_path(get("namespaces", "kube-system"), "metadata.deletionTimestamp"));
}

Test(gc, a_set_waits_for_its_pods_to_end)
{
	const struct um_api_removal at_once = {.at_once = true};
	const char *set;
	bool done = false;

	start_control();
	make("nodes", "{metadata: {name: n1}}");
	set = make("replicasets",
		   "{metadata: {name: set, namespace: default}, spec: {replicas: 0, selector: "
		   "{matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: "
		   "{containers: [{name: c, image: i}]}}}}");
	change("replicasets", "default/set", "{spec: {replicas: 1}}");
	for (int i = 0; i < 2; i++)
		make("pods", um_arena_printf(arena,
					     "{metadata: {name: p%d, namespace: default, labels: "
					     "{x: y}, ownerReferences: [%s]}, spec: {nodeName: n1, "
					     "containers: [{name: c, image: i}]}}",
					     i,
					     REF("ReplicaSet", "apps/v1", "set", set,
						 ", blockOwnerDeletion: true")));
	del("replicasets", "default/set", UM_PROPAGATE_FOREGROUND);
	for (int i = 0; i < 2; i++) {
		const char *name = um_arena_printf(arena, "p%d", i);
		const char *key = um_arena_printf(arena, "default/p%d", i);

		cr_assert(get("replicasets", "default/set"));
		cr_assert(um_json_path(get("pods", key), "metadata.deletionTimestamp"));
		/* Its agent has ended it. */
		done = false;
		cr_assert_eq(um_api_remove_by(api, kind_of("pods"), "default", name, &at_once,
					      on_written, &done),
			     1);
		wait_written(&done);
	}
	cr_assert_null(get("replicasets", "default/set"));
}

Test(gc, namespaces_in_the_foreground)
{
	start_control();
	make("namespaces", "{metadata: {name: mine}}");
	make("configmaps", "{metadata: {name: a, namespace: mine}}");
	del("namespaces", "mine", UM_PROPAGATE_FOREGROUND);
	advance(10);
	cr_assert_null(get("namespaces", "mine"));
	cr_assert_null(get("configmaps", "mine/a"));
}

Test(gc, what_is_not_kept_is_not_waited_for)
{
	start_control();
	make("leases", "{metadata: {name: a, namespace: default}}");
	del("leases", "default/a", UM_PROPAGATE_FOREGROUND);
	cr_assert_null(get("leases", "default/a"));
}

/* An index that has seen everything come and go is empty: see gc_index_release() under a leak
 * check, and that nobody is forgotten when owners change places. */
Test(gc, owners_that_change)
{
	const char *a, *b;

	start_control();
	a = map("a", "");
	b = map("b", "");
	map("c", MAP_REF("a", a));
	change("configmaps", "default/c",
	       um_arena_printf(arena, "{metadata: {ownerReferences: [%s]}}", MAP_REF("b", b)));
	del("configmaps", "default/a", UM_PROPAGATE_FOREGROUND);
	cr_assert(get("configmaps", "default/c"));
	del("configmaps", "default/b", UM_PROPAGATE_FOREGROUND);
	cr_assert_null(get("configmaps", "default/c"));
	cr_assert_null(get("configmaps", "default/b"));
}
