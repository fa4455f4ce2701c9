/* Volumes: what is refused and with which words, what passes, what is filled in. */
#include "tests/unit/schema_util.h"

static struct um_json *made(struct um_arena *a, const char *text)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_json *obj = parse(a, text);

	cr_assert_eq(um_schema_check_tree(kind_of("Pod"), obj, UM_STRICT_STRICT, a, NULL, &err), 0,
		     "%s: %s", text, err.msg);
	cr_assert_eq(um_schema_default(kind_of("Pod"), obj, a), 0);
	return obj;
}

static const char *list(struct um_arena *a, const struct um_causes *c)
{
	const char *s = "";

	for (const struct um_cause *i = c->first; i; i = i->next)
		s = um_arena_printf(a, "%s\n  %s: %s: %s", s, i->field, i->reason, i->message);
	return s;
}

#define POD(spec)                                                                                  \
	"{'metadata':{'name':'p','namespace':'d'},'spec':{'containers':[{'name':'c','image':'i'}]" \
	"," spec "}}"
#define VOLUME(source) POD("'volumes':[{'name':'v'," source "}]")
#define SOURCES(list) VOLUME("'projected':{'sources':[" list "]}")
#define TOKEN(fields) SOURCES("{'serviceAccountToken':{" fields "}}")
#define FIELDS(items) VOLUME("'downwardAPI':{'items':[" items "]}")
#define FIELD(path) FIELDS("{'path':'f','fieldRef':{'fieldPath':" path "}}")
#define RESOURCE(ref) FIELDS("{'path':'f','resourceFieldRef':{" ref "}}")
#define Q "\\u0027" /* parse() makes all others double */
#define AT "spec.volumes[0]."
#define ITEM AT "downwardAPI.items[0]"
#define SOURCE AT "projected.sources[0]"

static const struct {
	const char *text, *field, *reason, *message;
} wrong[] = {
	{VOLUME("'projected':{'defaultMode':512}"), AT "projected.defaultMode", "FieldValueInvalid",
	 "Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"},
	{VOLUME("'downwardAPI':{'defaultMode':-1}"), AT "downwardAPI.defaultMode",
	 "FieldValueInvalid", "0777"},
	{TOKEN("'path':'t','expirationSeconds':599"),
	 SOURCE ".serviceAccountToken."
		"expirationSeconds",
	 "FieldValueInvalid",
	 "Invalid value: 599: may not specify a duration less than 10 minutes"},
	{TOKEN("'path':'t','expirationSeconds':-1"),
	 SOURCE ".serviceAccountToken."
		"expirationSeconds",
	 "FieldValueInvalid", "less than 10 minutes"},
	{TOKEN("'path':'t','expirationSeconds':4294967297"),
	 SOURCE ".serviceAccountToken."
		"expirationSeconds",
	 "FieldValueInvalid", "may not specify a duration larger than 2^32 seconds"},
	{TOKEN("'audience':'a'"), SOURCE ".serviceAccountToken.path", "FieldValueRequired",
	 "Required value"},
	{TOKEN("'path':'/t'"), SOURCE ".serviceAccountToken.path", "FieldValueInvalid",
	 "must be a relative path"},
	{TOKEN("'path':'a/../../t'"), SOURCE ".serviceAccountToken.path", "FieldValueInvalid",
	 "must not contain '..'"},
	{TOKEN("'path':'..data'"), SOURCE ".serviceAccountToken.path", "FieldValueInvalid",
	 "must not start with '..'"},
	{SOURCES("{'clusterTrustBundle':{'path':'x'}}"), SOURCE ".clusterTrustBundle",
	 "FieldValueForbidden", "not supported by Umiak yet"},
	{SOURCES("{'secret':{}}"), SOURCE ".secret.name", "FieldValueRequired", ""},
	{SOURCES("{'configMap':{}}"), SOURCE ".configMap.name", "FieldValueRequired", ""},
	{SOURCES("{'configMap':{'name':'m','items':[{'key':'k','path':'..x'}]}}"),
	 SOURCE ".configMap.items[0].path", "FieldValueInvalid", "must not start with '..'"},
	{SOURCES("{'secret':{'name':'s','items':[{'key':'k','path':'../x'}]}}"),
	 SOURCE ".secret.items[0].path", "FieldValueInvalid", "must not contain '..'"},
	{SOURCES("{'secret':{'name':'s','items':[{'key':'k','path':'x','mode':1000}]}}"),
	 SOURCE ".secret.items[0].mode", "FieldValueInvalid", "0777"},
	{SOURCES("{'secret':{'name':'s'},'configMap':{'name':'m'}}"), SOURCE, "FieldValueForbidden",
	 "may not specify more than 1 volume type"},
	{SOURCES("{'secret':{'name':'s','items':[{'key':'k','path':'x'}]}},"
		 "{'configMap':{'name':'m','items':[{'key':'k','path':'x'}]}}"),
	 AT "projected", "FieldValueInvalid", "Invalid value: \"m\": conflicting duplicate paths"},
	{SOURCES("{'serviceAccountToken':{'path':'x'}},{'downwardAPI':{'items':[{'path':'x',"
		 "'fieldRef':{'fieldPath':'metadata.name'}}]}}"),
	 AT "projected", "FieldValueInvalid", "Invalid value: \"x\": conflicting duplicate paths"},
	{SOURCES("{'serviceAccountToken':{'path':'x/y'}},{'configMap':{'name':'m','items':"
		 "[{'key':'k','path':'x'}]}}"),
	 AT "projected", "FieldValueInvalid", "conflicting duplicate paths"},
	{VOLUME("'configMap':{'name':'m','items':[{'key':'k','path':'..d/x'}]}"),
	 AT "configMap.items[0].path", "FieldValueInvalid", "must not start with '..'"},
	{VOLUME("'secret':{'secretName':'m','items':[{'key':'k','path':'..2'}]}"),
	 AT "secret.items[0].path", "FieldValueInvalid", "must not start with '..'"},
	{VOLUME("'downwardAPI':{},'projected':{}"), AT "projected", "FieldValueForbidden",
	 "may not specify more than 1 volume type"},
	{FIELDS("{'fieldRef':{'fieldPath':'metadata.name'}}"), ITEM ".path", "FieldValueRequired",
	 ""},
	{FIELDS("{'path':'/f','fieldRef':{'fieldPath':'metadata.name'}}"), ITEM ".path",
	 "FieldValueInvalid", "must be a relative path"},
	{FIELDS("{'path':'..f','fieldRef':{'fieldPath':'metadata.name'}}"), ITEM ".path",
	 "FieldValueInvalid", "must not start with '..'"},
	{FIELDS("{'path':'f'}"), ITEM, "FieldValueRequired",
	 "Required value: one of fieldRef and resourceFieldRef is required"},
	{FIELDS("{'path':'f','fieldRef':{'fieldPath':'metadata.name'},'resourceFieldRef':{"
		"'containerName':'c','resource':'limits.cpu'}}"),
	 ITEM, "FieldValueInvalid",
	 "fieldRef and resourceFieldRef can not be specified simultaneously"},
	{FIELDS("{'path':'f','mode':4000,'fieldRef':{'fieldPath':'metadata.name'}}"), ITEM ".mode",
	 "FieldValueInvalid", "0777"},
	{FIELD("''"), ITEM ".fieldRef.fieldPath", "FieldValueRequired", ""},
	{FIELD("'spec.nodeName'"), ITEM ".fieldRef.fieldPath", "FieldValueNotSupported",
	 "Unsupported value: \"spec.nodeName\": supported values: \"metadata.annotations\", "
	 "\"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \"metadata.uid\""},
	{FIELD("'spec.containers'"), ITEM ".fieldRef.fieldPath", "FieldValueInvalid",
	 "error converting fieldPath: field label not supported: spec.containers"},
	{FIELD("'metadata.labels[" Q "a b" Q "]'"), ITEM ".fieldRef", "FieldValueInvalid",
	 "Invalid value: \"a b\": name part must"},
	{FIELD("'metadata.name[" Q "a" Q "]'"), ITEM ".fieldRef.fieldPath", "FieldValueInvalid",
	 "field label not supported"},
	{FIELDS("{'path':'f','fieldRef':{'apiVersion':'v2','fieldPath':'metadata.name'}}"),
	 ITEM ".fieldRef.fieldPath", "FieldValueInvalid", "unsupported pod version: v2"},
	{RESOURCE("'resource':'limits.cpu'"), ITEM ".resourceFieldRef.containerName",
	 "FieldValueRequired", ""},
	{RESOURCE("'containerName':'c'"), ITEM ".resourceFieldRef.resource", "FieldValueRequired",
	 ""},
	{RESOURCE("'containerName':'c','resource':'limits.gpu'"), ITEM ".resourceFieldRef.resource",
	 "FieldValueNotSupported", "\"limits.cpu\", \"limits.ephemeral-storage\""},
	{RESOURCE("'containerName':'c','resource':'limits.cpu','divisor':'10m'"),
	 ITEM ".resourceFieldRef.divisor", "FieldValueInvalid",
	 "only divisor's values 1m and 1 are supported with the cpu resource"},
	{RESOURCE("'containerName':'c','resource':'requests.memory','divisor':'3Mi'"),
	 ITEM ".resourceFieldRef.divisor", "FieldValueInvalid",
	 "are supported with the memory resource"},
	{POD("'initContainers':[{'name':'i','image':'i','env':[{'name':'a','valueFrom':{'fieldRef':"
	     "{'fieldPath':'metadata.labels'}}}]}]"),
	 "spec.initContainers[0].env[0].valueFrom.fieldRef.fieldPath", "FieldValueNotSupported",
	 "\"metadata.name\""},
};

Test(schema_volumes, wrong_ones_have_exactly_their_cause)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(wrong); i++) {
		_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
		struct um_causes c = {.arena = a};
		struct um_json *obj = made(a, wrong[i].text);

		cr_expect_eq(um_schema_validate(kind_of("Pod"), obj, NULL, &c), -EINVAL, "%zu %s",
			     i, wrong[i].text);
		if (!c.first)
			continue;
		cr_expect_eq(c.n, 1, "%zu %s:%s", i, wrong[i].text, list(a, &c));
		cr_expect_str_eq(c.first->field, wrong[i].field, "%zu %s", i, list(a, &c));
		cr_expect_str_eq(c.first->reason, wrong[i].reason, "%zu %s", i, list(a, &c));
		cr_expect(strstr(c.first->message, wrong[i].message), "%zu %s", i, list(a, &c));
	}
}

static const char *const right[] = {
	POD("'volumes':[{'name':'v','projected':{}},{'name':'w','downwardAPI':{}}]"),
	SOURCES(""),
	SOURCES("{}"),
	TOKEN("'path':'t','audience':'vault','expirationSeconds':600"),
	TOKEN("'path':'a/b/t','expirationSeconds':4294967296"),
	SOURCES("{'serviceAccountToken':{'path':'token'}},{'configMap':{'name':'m','items':[{'key':"
		"'k','path':'token.x'},{'key':'k','path':'token-x/y'}],'optional':true}},{'secret':"
		"{'name':'s'}},{'secret':{'name':'s'}}"),
	FIELD("'metadata.labels'"),
	FIELD("'metadata.annotations'"),
	FIELD("'metadata.uid'"),
	FIELD("'metadata.labels[" Q "a.b/C" Q "]'"),
	FIELD("'metadata.annotations[" Q "A.b/C" Q "]'"),
	RESOURCE("'containerName':'c','resource':'limits.cpu','divisor':'1m'"),
	RESOURCE("'containerName':'c','resource':'requests.memory','divisor':'1Mi'"),
	RESOURCE("'containerName':'c','resource':'limits.ephemeral-storage','divisor':'0'"),
	VOLUME("'configMap':{'name':'m','items':[{'key':'k','path':'a..b/.c'}]}"),
	POD("'initContainers':[{'name':'i','image':'i','env':[{'name':'a','valueFrom':{"
	    "'resourceFieldRef':{'resource':'limits.ephemeral-storage'}}}]}]"),
};

Test(schema_volumes, right_ones_pass)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(right); i++) {
		_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
		struct um_causes c = {.arena = a};

		cr_expect_eq(um_schema_validate(kind_of("Pod"), made(a, right[i]), NULL, &c), 0,
			     "%s:%s", right[i], list(a, &c));
	}
}

Test(schema_volumes, what_is_not_said_is_filled_in)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	struct um_json *v = um_json_path(
		made(a, POD("'volumes':[{'name':'a','projected':{'sources':[{'serviceAccountToken':"
			    "{'path':'t'}},{'downwardAPI':{'items':[{'path':'n','fieldRef':{"
			    "'fieldPath':'metadata.name'}}]}}]}},{'name':'b','downwardAPI':{}},{"
			    "'name':'c','projected':{'defaultMode':0}}]")),
		"spec.volumes");

	assert_json(a, v,
		    "[{'name':'a','projected':{'defaultMode':420,'sources':[{"
		    "'serviceAccountToken':{'path':'t','expirationSeconds':3600}},{'downwardAPI':"
		    "{'items':[{'path':'n','fieldRef':{'fieldPath':'metadata.name','apiVersion':"
		    "'v1'}}]}}]}},{'name':'b','downwardAPI':{'defaultMode':420}},{'name':'c',"
		    "'projected':{'defaultMode':0}}]");
}

/* So many files that comparing each with each would hold up everybody else. */
Test(schema_volumes, many_files_are_compared_quickly)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(256 << 20);
	struct um_causes c = {.arena = a};
	struct um_json *obj = made(a, SOURCES("{'configMap':{'name':'m'}}"));
	struct um_json *source = um_json_path(obj, "spec.volumes.0.projected.sources.0.configMap");
	struct um_json *items = um_json_set(a, source, "items", um_json_new_arr(a));

	for (int i = 0; i < 60000; i++) {
		struct um_json *it = um_json_append(items, um_json_new_obj(a));

		um_json_set_str(a, it, "key", "k");
		um_json_set_str(a, it, "path", um_arena_printf(a, "d/f%d", i % 59999));
	}
	cr_assert_eq(um_schema_validate(kind_of("Pod"), obj, NULL, &c), -EINVAL);
	cr_assert_eq(c.n, 1, "%s", list(a, &c));
}
