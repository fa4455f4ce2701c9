/* What each namespace has, and the endpoints of the API. */
#include "control_util.h"

TestSuite(ns, .init = set_up, .fini = tear_down, .timeout = 60);

static const char *ca_of(const char *ns)
{
	const struct um_json *m =
		get("configmaps", um_arena_printf(arena, "%s/kube-root-ca.crt", ns));

	return um_json_str(um_json_get(um_json_get(m, "data"), "ca.crt"), "");
}

static bool has_account(const char *ns)
{
	return get("serviceaccounts", um_arena_printf(arena, "%s/default", ns));
}

static int64_t writes(void)
{
	struct um_store_stats st;

	um_store_get_stats(durable, &st);
	return st.ops;
}

Test(ns, each_has_an_account_and_the_ca)
{
	static const char *const names[] = {"default", "kube-system", "kube-public",
					    "kube-node-lease", "mine"};

	start_control();
	make("namespaces", "{metadata: {name: mine}}");
	for (size_t i = 0; i < UM_ARRAY_LEN(names); i++) {
		cr_assert(has_account(names[i]), "%s", names[i]);
		cr_assert_str_eq(ca_of(names[i]), "CA 1");
	}
}

Test(ns, what_is_deleted_or_spoilt_comes_back)
{
	const char *uid;

	start_control();
	uid = um_json_get_str(get("serviceaccounts", "default/default"), "metadata.uid", "");
	del("serviceaccounts", "default/default", UM_PROPAGATE_DEFAULT);
	cr_assert(has_account("default"));
	cr_assert_str_neq(
		um_json_get_str(get("serviceaccounts", "default/default"), "metadata.uid", ""),
		uid);
	del("configmaps", "default/kube-root-ca.crt", UM_PROPAGATE_DEFAULT);
	cr_assert_str_eq(ca_of("default"), "CA 1");
	change("configmaps", "default/kube-root-ca.crt", "{data: {ca.crt: mine, more: x}}");
	cr_assert_str_eq(ca_of("default"), "CA 1");
	cr_assert_eq(um_json_path(get("configmaps", "default/kube-root-ca.crt"), "data")->len, 1);
	change("configmaps", "default/kube-root-ca.crt", "{immutable: true}");
	cr_assert_eq(um_controllers_set_ca(controllers, "CA 2"), 0);
	settle();
	cr_assert_str_eq(ca_of("default"), "CA 2");
}

Test(ns, the_ca_is_followed)
{
	start_control();
	cr_assert_eq(um_controllers_set_ca(controllers, "CA 2"), 0);
	settle();
	cr_assert_str_eq(ca_of("default"), "CA 2");
	cr_assert_str_eq(ca_of("kube-system"), "CA 2");
	stop_control();
	ca_pem = "CA 3";
	start_control();
	cr_assert_str_eq(ca_of("default"), "CA 3");
}

Test(ns, one_that_ends_gets_nothing)
{
	make("namespaces", "{metadata: {name: mine}}");
	make("configmaps", "{metadata: {name: a, namespace: mine, finalizers: [x.org/y]}}");
	start_control();
	cr_assert(has_account("mine"));
	del("namespaces", "mine", UM_PROPAGATE_DEFAULT);
	advance(10);
	cr_assert_not(has_account("mine"));
	cr_assert_str_eq(ca_of("mine"), "");
	cr_assert(get("namespaces", "mine")); /* the finalizer holds it */
	change("configmaps", "mine/a", "{metadata: {finalizers: null}}");
	advance(10);
	cr_assert_null(get("namespaces", "mine"));
}

Test(ns, nothing_is_written_when_nothing_happens)
{
	struct um_error err = UM_ERROR_INIT;
	int64_t before;

	cr_assert_eq(um_api_publish(api, 6443, &err), 0, "%s", err.msg);
	start_control();
	cr_assert_eq(um_controllers_publish(controllers, "0.0.0.0", 6443, &err), 0, "%s", err.msg);
	settle();
	before = writes();
	advance(600);
	cr_assert_eq(writes(), before);
	stop_control();
	start_control();
	cr_assert_eq(um_controllers_publish(controllers, "0.0.0.0", 6443, &err), 0, "%s", err.msg);
	advance(600);
	cr_assert_eq(writes(), before);
}

/* ---- the API's own endpoints ---- */

static const char *address(void)
{
	const struct um_json *ep = get("endpoints", "default/kubernetes");
	const struct um_json *slice = get("endpointslices", "default/kubernetes");
	const char *ip = um_json_get_str(ep, "subsets.0.addresses.0.ip", "");

	cr_assert_str_eq(um_json_get_str(slice, "endpoints.0.addresses.0", ""), ip);
	cr_assert_str_eq(um_json_get_str(ep, "subsets.0.ports.0.name", ""), "https");
	cr_assert_str_eq(um_json_get_str(slice, "ports.0.name", ""), "https");
	cr_assert_str_eq(um_json_str(um_json_get(um_json_path(slice, "metadata.labels"),
						 "kubernetes.io/service-name"),
				     ""),
			 "kubernetes");
	cr_assert_eq(um_json_get_i64(slice, "ports.0.port", 0),
		     um_json_get_i64(ep, "subsets.0.ports.0.port", 0));
	return ip;
}

static bool count(void *arg, um_unused const struct um_store_kv *kv)
{
	++*(int *)arg;
	return true;
}

Test(ns, the_services_of_the_cluster_come_back)
{
	static const char *const names[] = {"default/kubernetes", "kube-system/kube-dns"};
	struct um_error err = UM_ERROR_INIT;

	cr_assert_eq(um_api_publish(api, 6443, &err), 0, "%s", err.msg);
	start_control();
	cr_assert_eq(um_controllers_publish(controllers, "127.0.0.1", 6443, &err), 0, "%s",
		     err.msg);
	settle();
	for (size_t i = 0; i < UM_ARRAY_LEN(names); i++) {
		const struct um_json *was = get("services", names[i]), *is;
		const char *ip = um_json_get_str(was, "spec.clusterIP", "");

		cr_assert(*ip, "%s", names[i]);
		del("services", names[i], UM_PROPAGATE_DEFAULT);
		is = get("services", names[i]);
		cr_assert(is, "%s is back", names[i]);
		cr_assert_str_eq(um_json_get_str(is, "spec.clusterIP", ""), ip);
		cr_assert_str_neq(um_json_get_str(is, "metadata.uid", ""),
				  um_json_get_str(was, "metadata.uid", ""));
	}
	/* What a user adds stays. */
	change("services", "default/kubernetes", "{metadata: {labels: {mine: \"1\"}}}");
	cr_assert_str_eq(
		um_json_get_str(get("services", "default/kubernetes"), "metadata.labels.mine", ""),
		"1");
}

Test(ns, where_the_api_is)
{
	static const struct {
		const char *listen, *ip;
	} cases[] = {{"127.0.0.1", "127.0.0.1"}, {"192.0.2.7", "192.0.2.7"}, {"::1", "127.0.0.1"}};
	struct um_error err = UM_ERROR_INIT;
	int slices = 0;

	cr_assert_eq(um_api_publish(api, 6443, &err), 0, "%s", err.msg);
	for (size_t i = 0; i < UM_ARRAY_LEN(cases); i++) {
		start_control();
		cr_assert_eq(
			um_controllers_publish(controllers, cases[i].listen, 7000 + (int)i, &err),
			0, "%s", err.msg);
		settle();
		cr_assert_str_eq(address(), cases[i].ip);
		cr_assert_eq(um_json_get_i64(get("endpoints", "default/kubernetes"),
					     "subsets.0.ports.0.port", 0),
			     7000 + (int)i);
		cr_assert_eq(um_json_get_i64(get("services", "default/kubernetes"),
					     "spec.ports.0.targetPort", 0),
			     7000 + (int)i);
		stop_control();
	}
	start_control();
	cr_assert_eq(um_controllers_publish(controllers, "0.0.0.0", 6443, &err), 0);
	settle();
	cr_assert_str_neq(address(), "0.0.0.0");
	del("endpoints", "default/kubernetes", UM_PROPAGATE_DEFAULT);
	del("endpointslices", "default/kubernetes", UM_PROPAGATE_DEFAULT);
	address();
	/* No other slice mirrors the Endpoints. */
	um_store_list(durable, "/registry/discovery.k8s.io/endpointslices/default/", NULL, count,
		      &slices);
	cr_assert_eq(slices, 1);
}

Test(ns, an_address_that_services_cannot_lead_to)
{
	struct um_error err = UM_ERROR_INIT;

	start_control();
	cr_assert_eq(um_controllers_publish(controllers, "2001:db8::1", 6443, &err), 0);
	settle();
	cr_assert_null(get("endpoints", "default/kubernetes"));
}

Test(ns, only_the_api_may_be_on_loopback)
{
	static const char text[] =
		"{metadata: {name: %s, namespace: %s}, subsets: [{addresses: [{ip: 127.0.0.1}]}]}";
	struct um_error err = UM_ERROR_INIT;
	static const char *const names[][2] = {{"web", "default"}, {"kubernetes", "kube-system"}};

	for (size_t i = 0; i < UM_ARRAY_LEN(names); i++) {
		struct um_json *obj = yaml(um_arena_printf(arena, text, names[i][0], names[i][1]));

		cr_assert_eq(um_api_create(api, kind_of("endpoints"), obj, arena, on_written, NULL,
					   &err),
			     -EINVAL);
	}
}
