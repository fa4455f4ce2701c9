/* The pure parts of the API: selectors, and objects as the store keeps them. */
#include <criterion/criterion.h>
#include <string.h>

#include "api/internal.h"

static struct um_arena *arena;

static void set_up(void)
{
	arena = um_arena_new(4 << 20);
}
static void tear_down(void)
{
	um_arena_free(arena);
}
TestSuite(api, .init = set_up, .fini = tear_down);

static struct um_json *parse(const char *text)
{
	struct um_json *n = NULL;

	cr_assert_eq(um_json_parse(arena, text, strlen(text), NULL, &n, NULL), 0, "%s", text);
	return n;
}

static const char pod_text[] =
	"{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\",\"labels\":{\"a\":\"1\",\"b\":\"\","
	"\"example.com/c\":\"x\"}},\"spec\":{\"nodeName\":\"n,=\\\\1\"},\"status\":{\"phase\":"
	"\"Running\"}}";

static const struct {
	const char *labels, *fields;
	int want; /* 1 matches, 0 does not, -1 refused */
} selectors[] = {
	{NULL, NULL, 1},
	{"", "", 1},
	{"a=1", NULL, 1},
	{"a==1", NULL, 1},
	{"a!=1", NULL, 0},
	{"a!=2", NULL, 1},
	{"z!=2", NULL, 1},
	{" a = 1 , b = ", NULL, 1},
	{"a", NULL, 1},
	{"!a", NULL, 0},
	{"! z", NULL, 1},
	{"z", NULL, 0},
	{"a in (1)", NULL, 1},
	{"a in (0,1,2)", NULL, 1},
	{"a in(0,2)", NULL, 0},
	{"z in (1)", NULL, 0},
	{"a notin (1)", NULL, 0},
	{"z notin (1)", NULL, 1},
	{"b in (,x)", NULL, 1},
	{"example.com/c=x", NULL, 1},
	{"a>0", NULL, 1},
	{"a>1", NULL, 0},
	{"a<2", NULL, 1},
	{"example.com/c>0", NULL, 0},
	{"a=1,b,example.com/c in (x,y),!q", NULL, 1},
	{"a=1,b=1", NULL, 0},
	{"a=1,", NULL, -1},
	{",a=1", NULL, -1},
	{"=1", NULL, -1},
	{"a=1=2", NULL, -1},
	{"a===1", NULL, -1},
	{"a in", NULL, -1},
	{"a in (", NULL, -1},
	{"a in (1", NULL, -1},
	{"a in 1", NULL, -1},
	{"a on (1)", NULL, -1},
	{"a b", NULL, -1},
	{"a>x", NULL, -1},
	{"!a=1", NULL, -1},
	{"-a=1", NULL, -1},
	{"a=-1-", NULL, -1},
	{"/a=1", NULL, -1},
	{"x/y/z=1", NULL, -1},
	{"a=\xc3\xa9", NULL, -1},
	{NULL, "metadata.name=p", 1},
	{NULL, "metadata.name==p,metadata.namespace=d", 1},
	{NULL, "metadata.name!=p", 0},
	{NULL, "metadata.name=q", 0},
	{NULL, "spec.nodeName=n\\,\\=\\\\1", 1},
	{NULL, "status.phase=Running", 1},
	{NULL, "status.podIP=", 1},
	{NULL, "spec.hostNetwork=false", 1},
	{NULL, "spec.hostNetwork=true", 0},
	{NULL, "spec.image=x", -1},
	{NULL, "metadata.name", -1},
	{NULL, "metadata.name!p", -1},
	{NULL, "metadata.labels.a=1", -1},
	{"a=1", "metadata.name=q", 0},
};

Test(api, selectors)
{
	const struct um_kind *pods = um_schema_find_resource("", "v1", "pods");
	struct um_json *pod = parse(pod_text);

	for (size_t i = 0; i < UM_ARRAY_LEN(selectors); i++) {
		struct um_selector *s = NULL;
		struct um_error err = UM_ERROR_INIT;
		int r = um_selector_parse(arena, pods, selectors[i].labels, selectors[i].fields, &s,
					  &err);
		int got = r < 0 ? -1 : um_selector_match(s, pod);

		cr_expect_eq(got, selectors[i].want, "%s | %s: %d %s", selectors[i].labels,
			     selectors[i].fields, got, err.msg);
		if (r < 0)
			cr_expect_eq(err.reason, UM_REASON_BAD_REQUEST);
	}
}

Test(api, objects_are_kept_without_revision_and_shown_with_it)
{
	const struct um_kind *k = um_schema_find_resource("", "v1", "configmaps");
	struct um_json *obj = parse("{\"data\":{\"metadata\":\"x\"},\"metadata\":{\"name\":\"a\","
				    "\"resourceVersion\":\"7\"},\"kind\":\"ConfigMap\"}");
	struct um_bytes *b = um_object_encode(k, obj, arena);
	struct um_buf out = UM_BUF_INIT(4096);
	char key[UM_OBJECT_KEY_MAX];

	cr_assert_str_eq(b->data, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{"
				  "\"name\":\"a\"},\"data\":{\"metadata\":\"x\"}}");
	cr_assert_eq(um_object_show(&out, b, 42), 0);
	cr_assert_str_eq(out.data, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{"
				   "\"resourceVersion\":\"42\",\"name\":\"a\"},\"data\":{"
				   "\"metadata\":\"x\"}}");
	cr_assert(um_json_equal(parse(out.data), um_object_parse(b, 42, arena)));
	cr_assert_eq(um_object_key(key, k, "ns", "n"), 0);
	cr_assert_str_eq(key, "/registry/core/configmaps/ns/n");
	cr_assert_eq(um_object_key(key, k, "ns", NULL), 0);
	cr_assert_str_eq(key, "/registry/core/configmaps/ns/");
	um_buf_release(&out);
	um_bytes_unref(b);
}

Test(api, removal_follows_grace_and_finalizers)
{
	const struct um_kind *pods = um_schema_find_resource("", "v1", "pods");
	const struct um_kind *cms = um_schema_find_resource("", "v1", "configmaps");
	struct um_json *o;

	o = parse("{\"metadata\":{\"name\":\"a\"},\"spec\":{\"nodeName\":\"n\","
		  "\"terminationGracePeriodSeconds\":5}}");
	cr_assert_eq(um_plan_removal(pods, o, UM_PROPAGATE_DEFAULT, -1, 0, arena), UM_REMOVE_MARK);
	cr_assert_str_eq(um_json_get_str(o, "metadata.deletionTimestamp", ""),
			 "1970-01-01T00:00:05Z");
	cr_assert_eq(um_plan_removal(pods, o, UM_PROPAGATE_DEFAULT, -1, 0, arena),
		     UM_REMOVE_ALREADY);
	cr_assert_eq(um_plan_removal(pods, o, UM_PROPAGATE_DEFAULT, 9, 0, arena),
		     UM_REMOVE_ALREADY);
	cr_assert_not(um_removal_complete(pods, o));
	cr_assert_eq(um_plan_removal(pods, o, UM_PROPAGATE_DEFAULT, 2, 0, arena), UM_REMOVE_MARK);
	cr_assert_eq(um_json_get_i64(o, "metadata.deletionGracePeriodSeconds", 0), 2);
	cr_assert_eq(um_plan_removal(pods, o, UM_PROPAGATE_DEFAULT, 0, 0, arena), UM_REMOVE_NOW);
	o = parse("{\"metadata\":{\"name\":\"a\"},\"spec\":{}}");
	cr_assert_eq(um_plan_removal(pods, o, UM_PROPAGATE_DEFAULT, -1, 0, arena), UM_REMOVE_NOW);
	o = parse("{\"metadata\":{\"name\":\"a\",\"finalizers\":[\"x\"]}}");
	cr_assert_eq(um_plan_removal(cms, o, UM_PROPAGATE_DEFAULT, -1, 0, arena), UM_REMOVE_MARK);
	cr_assert_not(um_removal_complete(cms, o));
	um_json_remove(um_json_get(o, "metadata"), "finalizers");
	cr_assert(um_removal_complete(cms, o));
}

static const struct {
	const char *resources, *qos;
} classes[] = {
	{"{}", "BestEffort"},
	{"{\"requests\":{\"cpu\":\"0\"}}", "BestEffort"},
	{"{\"requests\":{\"cpu\":\"1\"}}", "Burstable"},
	{"{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":\"1000m\","
	 "\"memory\":\"1024Mi\"}}",
	 "Guaranteed"},
	{"{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":\"500m\","
	 "\"memory\":\"1024Mi\"}}",
	 "Burstable"},
	{"{\"limits\":{\"cpu\":\"1\"},\"requests\":{\"cpu\":\"1\"}}", "Burstable"},
};

Test(api, pods_get_their_class_and_tolerations)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(classes); i++) {
		struct um_json *pod = parse(um_arena_printf(
			arena, "{\"metadata\":{},\"spec\":{\"containers\":[{\"resources\":%s}]}}",
			classes[i].resources));

		um_pod_admit(pod, arena);
		cr_expect_str_eq(um_json_get_str(pod, "status.qosClass", ""), classes[i].qos, "%s",
				 classes[i].resources);
		cr_expect_eq(um_json_path(pod, "spec.tolerations")->len, 2);
		um_pod_admit(pod, arena);
		cr_expect_eq(um_json_path(pod, "spec.tolerations")->len, 2);
	}
}
