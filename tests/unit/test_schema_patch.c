#include "schema_util.h"

/* RFC 7386, appendix A. */
static const char *const merges[][3] = {
	{"{'a':'b'}", "{'a':'c'}", "{'a':'c'}"},
	{"{'a':'b'}", "{'b':'c'}", "{'a':'b','b':'c'}"},
	{"{'a':'b'}", "{'a':null}", "{}"},
	{"{'a':'b','b':'c'}", "{'a':null}", "{'b':'c'}"},
	{"{'a':['b']}", "{'a':'c'}", "{'a':'c'}"},
	{"{'a':'c'}", "{'a':['b']}", "{'a':['b']}"},
	{"{'a':{'b':'c'}}", "{'a':{'b':'d','c':null}}", "{'a':{'b':'d'}}"},
	{"{'a':[{'b':'c'}]}", "{'a':[1]}", "{'a':[1]}"},
	{"['a','b']", "['c','d']", "['c','d']"},
	{"{'a':'b'}", "['c']", "['c']"},
	{"{'a':'foo'}", "null", "null"},
	{"{'a':'foo'}", "'bar'", "'bar'"},
	{"{'e':null}", "{'a':1}", "{'e':null,'a':1}"},
	{"[1,2]", "{'a':'b','c':null}", "{'a':'b'}"},
	{"{}", "{'a':{'bb':{'ccc':null}}}", "{'a':{'bb':{}}}"},
};

Test(patch, merge_as_in_rfc_7386)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(merges); i++) {
		_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
		struct um_json *ret, *obj = parse(a, merges[i][0]);

		cr_assert_eq(um_patch_merge(a, obj, parse(a, merges[i][1]), &ret, NULL), 0);
		assert_json(a, ret, merges[i][2]);
		assert_json(a, obj, merges[i][0]);
	}
}

/* RFC 6902, appendix A, and its neighbourhood; no result: refused. */
static const char *const ops[][3] = {
	{"{'foo':'bar'}", "[{'op':'add','path':'/baz','value':'qux'}]",
	 "{'baz':'qux','foo':'bar'}"},
	{"{'foo':['bar','baz']}", "[{'op':'add','path':'/foo/1','value':'qux'}]",
	 "{'foo':['bar','qux','baz']}"},
	{"{'baz':'qux','foo':'bar'}", "[{'op':'remove','path':'/baz'}]", "{'foo':'bar'}"},
	{"{'foo':['bar','qux','baz']}", "[{'op':'remove','path':'/foo/1'}]",
	 "{'foo':['bar','baz']}"},
	{"{'baz':'qux','foo':'bar'}", "[{'op':'replace','path':'/baz','value':'boo'}]",
	 "{'baz':'boo','foo':'bar'}"},
	{"{'foo':{'bar':'baz','waldo':'fred'},'qux':{'corge':'grault'}}",
	 "[{'op':'move','from':'/foo/waldo','path':'/qux/thud'}]",
	 "{'foo':{'bar':'baz'},'qux':{'corge':'grault','thud':'fred'}}"},
	{"{'foo':['all','grass','cows','eat']}", "[{'op':'move','from':'/foo/1','path':'/foo/3'}]",
	 "{'foo':['all','cows','eat','grass']}"},
	{"{'baz':'qux','foo':['a',2,'c']}",
	 "[{'op':'test','path':'/baz','value':'qux'},{'op':'test','path':'/foo/1','value':2}]",
	 "{'baz':'qux','foo':['a',2,'c']}"},
	{"{'baz':'qux'}", "[{'op':'test','path':'/baz','value':'bar'}]", NULL},
	{"{'foo':'bar'}", "[{'op':'add','path':'/child','value':{'grandchild':{}}}]",
	 "{'foo':'bar','child':{'grandchild':{}}}"},
	{"{'foo':'bar'}", "[{'op':'add','path':'/baz','value':'qux','xyz':123}]",
	 "{'foo':'bar','baz':'qux'}"},
	{"{'foo':'bar'}", "[{'op':'add','path':'/baz/bat','value':'qux'}]", NULL},
	{"{'/':9,'~1':10}", "[{'op':'test','path':'/~01','value':10}]", "{'/':9,'~1':10}"},
	{"{'/':9,'~1':10}", "[{'op':'test','path':'/~01','value':'10'}]", NULL},
	{"{'foo':['bar']}", "[{'op':'add','path':'/foo/-','value':['abc','def']}]",
	 "{'foo':['bar',['abc','def']]}"},
	{"{'a/b':1}", "[{'op':'replace','path':'/a~1b','value':2}]", "{'a/b':2}"},
	{"{'a':1}", "[{'op':'add','path':'/a~2b','value':2}]", NULL},
	{"{'a':1}", "[{'op':'add','path':'a','value':2}]", NULL},
	{"{'a':1}", "[{'op':'replace','path':'/b','value':2}]", NULL},
	{"{'a':1}", "[{'op':'remove','path':'/b'}]", NULL},
	{"{'a':[1]}", "[{'op':'add','path':'/a/2','value':2}]", NULL},
	{"{'a':[1]}", "[{'op':'add','path':'/a/1','value':2}]", "{'a':[1,2]}"},
	{"{'a':[1]}", "[{'op':'add','path':'/a/01','value':2}]", NULL},
	{"{'a':[1]}", "[{'op':'remove','path':'/a/-'}]", NULL},
	{"{'a':[1]}", "[{'op':'remove','path':'/a/-1'}]", NULL},
	{"{'a':{'b':1}}", "[{'op':'move','from':'/a','path':'/a/b'}]", NULL},
	{"{'a':{'b':1}}", "[{'op':'copy','from':'/a','path':'/a/c'}]", "{'a':{'b':1,'c':{'b':1}}}"},
	{"{'a':1}", "[{'op':'replace','path':'','value':{'x':1}}]", "{'x':1}"},
	{"{'':1}", "[{'op':'replace','path':'/','value':2}]", "{'':2}"},
	{"{'a':1}", "[{'op':'add','path':'/b'}]", NULL},
	{"{'a':1}", "[{'op':'add','path':'/b','value':null}]", "{'a':1,'b':null}"},
	{"{'a':1}", "[{'op':'move','path':'/b'}]", NULL},
	{"{'a':1}", "[{'op':'spin','path':'/b'}]", NULL},
	{"{'a':1}", "[7]", NULL},
	{"{'a':1}", "{}", NULL},
	{"{'a':['x','y']}",
	 "[{'op':'replace','path':'/a/1','value':'z'},{'op':'add','path':'/a/-','value':'w'}]",
	 "{'a':['x','z','w']}"},
};

Test(patch, json_as_in_rfc_6902)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(ops); i++) {
		_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
		struct um_error err = UM_ERROR_INIT;
		struct um_json *ret = NULL, *obj = parse(a, ops[i][0]);
		int r = um_patch_json(a, obj, parse(a, ops[i][1]), &ret, &err);

		assert_json(a, obj, ops[i][0]);
		if (ops[i][2]) {
			cr_assert_eq(r, 0, "%zu: %s", i, err.msg);
			assert_json(a, ret, ops[i][2]);
		} else {
			cr_assert(r == -EINVAL || r == -EBADMSG, "%zu: %d", i, r);
			cr_assert(err.msg[0]);
		}
	}
}

#define PODS(x) "{'spec':{" x "}}"

static const char *const strategic[][3] = {
	/* objects merge, null removes, lists without a key are replaced */
	{PODS("'nodeSelector':{'a':'1','b':'2'}"), PODS("'nodeSelector':{'a':null,'c':'3'}"),
	 PODS("'nodeSelector':{'b':'2','c':'3'}")},
	{PODS("'tolerations':[{'key':'a'}]"), PODS("'tolerations':[{'key':'b'}]"),
	 PODS("'tolerations':[{'key':'b'}]")},
	/* a new container goes before the ones that were there, as Kubernetes' documents show */
	{PODS("'containers':[{'name':'a','image':'1'}]"),
	 PODS("'containers':[{'name':'b','image':'2'}]"),
	 PODS("'containers':[{'name':'b','image':'2'},{'name':'a','image':'1'}]")},
	{PODS("'containers':[{'name':'a','image':'1','args':['x']},{'name':'b'}]"),
	 PODS("'containers':[{'name':'a','image':'2','args':null}]"),
	 PODS("'containers':[{'name':'a','image':'2'},{'name':'b'}]")},
	{PODS("'containers':[{'name':'a'},{'name':'b'},{'name':'c'}]"),
	 PODS("'$setElementOrder/containers':[{'name':'c'},{'name':'a'}],'containers':[{'name':'c',"
	      "'image':'x'}]"),
	 PODS("'containers':[{'name':'b'},{'name':'c','image':'x'},{'name':'a'}]")},
	{PODS("'containers':[{'name':'a'},{'name':'b'},{'name':'c'}]"),
	 PODS("'$setElementOrder/"
	      "containers':[{'name':'a'},{'name':'c'},{'name':'d'}],'containers':[{"
	      "'name':'d'}]"),
	 PODS("'containers':[{'name':'a'},{'name':'b'},{'name':'c'},{'name':'d'}]")},
	{PODS("'containers':[{'name':'a'},{'name':'b'}]"),
	 PODS("'$setElementOrder/containers':[{'name':'b'},{'name':'a'}]"),
	 PODS("'containers':[{'name':'b'},{'name':'a'}]")},
	{PODS("'containers':[{'name':'a'},{'name':'b'}]"),
	 PODS("'containers':[{'name':'a','$patch':'delete'}]"),
	 PODS("'containers':[{'name':'b'}]")},
	{PODS("'containers':[{'name':'a'},{'name':'b'}]"),
	 PODS("'containers':[{'name':'c'},{'$patch':'replace'}]"),
	 PODS("'containers':[{'name':'c'}]")},
	{PODS("'containers':[{'name':'a','ports':[{'containerPort':80,'name':'x'}]}]"),
	 PODS("'containers':[{'name':'a','ports':[{'containerPort':80,'name':'y'},{'containerPort':"
	      "81"
	      "}]}]"),
	 PODS("'containers':[{'name':'a','ports':[{'containerPort':80,'name':'y'},{'containerPort':"
	      "81"
	      "}]}]")},
	{PODS("'containers':[{'name':'a','env':[{'name':'X','value':'1'},{'name':'Y','value':'2'}]}"
	      "]"),
	 PODS("'containers':[{'name':'a','env':[{'name':'Y','value':null,'valueFrom':{'fieldRef':{"
	      "'fieldPath':'f'}}}]}]"),
	 PODS("'containers':[{'name':'a','env':[{'name':'X','value':'1'},{'name':'Y','valueFrom':{"
	      "'fieldRef':{'fieldPath':'f'}}}]}]")},
	/* whole objects */
	{PODS("'securityContext':{'runAsUser':1,'runAsGroup':2}"),
	 PODS("'securityContext':{'$patch':'replace','runAsUser':3}"),
	 PODS("'securityContext':{'runAsUser':3}")},
	{PODS("'securityContext':{'runAsUser':1}"), PODS("'securityContext':{'$patch':'delete'}"),
	 PODS("'securityContext':{}")},
	/* volumes keep only what is retained */
	{PODS("'volumes':[{'name':'v','emptyDir':{}}]"),
	 PODS("'volumes':[{'$retainKeys':['name','hostPath'],'name':'v','hostPath':{'path':'/'}}]"),
	 PODS("'volumes':[{'name':'v','hostPath':{'path':'/'}}]")},
	/* sets */
	{"{'metadata':{'finalizers':['a/a','b/b']}}", "{'metadata':{'finalizers':['c/c','a/a']}}",
	 "{'metadata':{'finalizers':['c/c','a/a','b/b']}}"},
	{"{'metadata':{'finalizers':['a/a','b/b']}}",
	 "{'metadata':{'$deleteFromPrimitiveList/finalizers':['a/a','z/z']}}",
	 "{'metadata':{'finalizers':['b/b']}}"},
	{"{'metadata':{'finalizers':['a/a','b/b','c/c']}}",
	 "{'metadata':{'$deleteFromPrimitiveList/finalizers':['b/b'],'$setElementOrder/"
	 "finalizers':["
	 "'d/d','a/a','c/c'],'finalizers':['d/d']}}",
	 "{'metadata':{'finalizers':['d/d','a/a','c/c']}}"},
	/* into nothing: no directive and no null stays */
	{"{}", PODS("'containers':[{'name':'a','image':null},{'name':'b','$patch':'delete'}]"),
	 PODS("'containers':[{'name':'a'}]")},
	{"{}", "{'status':{'conditions':[{'type':'Ready','status':'True'}]}}",
	 "{'status':{'conditions':[{'type':'Ready','status':'True'}]}}"},
	/* refused */
	{PODS("'containers':[{'name':'a'}]"), PODS("'containers':[{'image':'x'}]"), NULL},
	{PODS("'containers':[{'name':'a'}]"), PODS("'containers':[{'$patch':'delete'}]"), NULL},
	{PODS("'containers':[{'name':'a'}]"), PODS("'containers':['a']"), NULL},
	{PODS("'containers':[{'name':'a'}]"), PODS("'$patch':'invert'"), NULL},
	{PODS("'containers':[{'name':'a'}]"), PODS("'$retainKeys':'containers'"), NULL},
	{PODS("'volumes':[{'name':'v','emptyDir':{}}]"),
	 PODS("'volumes':[{'$retainKeys':['name'],'name':'v','hostPath':{'path':'/'}}]"), NULL},
	{PODS("'nodeName':'n'"), "[]", NULL},
};

Test(patch, strategic)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(strategic); i++) {
		_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
		struct um_error err = UM_ERROR_INIT;
		struct um_json *ret = NULL, *obj = parse(a, strategic[i][0]);
		struct um_json *patch = parse(a, strategic[i][1]);
		int r = um_patch_strategic(kind_of("Pod"), a, obj, patch, &ret, &err);

		assert_json(a, obj, strategic[i][0]);
		assert_json(a, patch, strategic[i][1]);
		if (strategic[i][2]) {
			cr_expect_eq(r, 0, "%zu: %s", i, err.msg);
			if (!r && !um_json_equal(ret, parse(a, strategic[i][2])))
				cr_expect(false, "%zu: got %s want %s", i, text_of(a, ret),
					  strategic[i][2]);
		} else {
			cr_expect_eq(r, -EBADMSG, "%zu: %d", i, r);
			cr_expect(err.msg[0]);
		}
	}
}

Test(patch, hostile_patches_are_bounded)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(4 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	struct um_json *ret;

	/* each copy doubles the document */
	um_buf_adds(&b, "[{'op':'add','path':'/a','value':[1]}");
	for (int i = 0; i < 60; i++)
		um_buf_addf(&b, ",{'op':'copy','from':'','path':'/b%d'}", i);
	um_buf_adds(&b, "]");
	cr_assert_eq(um_patch_json(a, parse(a, "{}"), parse(a, b.data), &ret, NULL), -E2BIG);
}

Test(patch, copies_cannot_nest_without_end)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(64 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	struct um_error err = UM_ERROR_INIT;
	struct um_json *ret;

	um_buf_adds(&b, "[{'op':'add','path':'/a','value':[1]}");
	for (int i = 0; i < 9000; i++)
		um_buf_adds(&b, ",{'op':'copy','from':'','path':'/b'}");
	um_buf_adds(&b, "]");
	cr_assert_eq(um_patch_json(a, parse(a, "{}"), parse(a, b.data), &ret, &err), -E2BIG);
	cr_assert(strstr(err.msg, "nested deeper"), "%s", err.msg);
}

Test(patch, wide_patches_are_refused)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(16 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	struct um_json *ret;

	um_buf_adds(&b, "{'a':{'k':1");
	for (int i = 0; i < 3000; i++)
		um_buf_addf(&b, ",'k%d':1", i);
	um_buf_adds(&b, "}}");
	cr_assert_eq(um_patch_merge(a, parse(a, "{}"), parse(a, b.data), &ret, NULL), -EBADMSG);
}
