#include "schema_util.h"

static int decode(struct um_arena *a, const char *kind, enum um_encoding enc, const char *data,
		  size_t len, enum um_strictness strict, struct um_json **ret,
		  struct um_causes *problems, struct um_error *err)
{
	return um_schema_decode(kind_of(kind), enc, data, len, strict, a, ret, problems, err);
}

static int decode_json(struct um_arena *a, const char *kind, const char *text,
		       enum um_strictness strict, struct um_json **ret, struct um_error *err)
{
	char *json = um_arena_strdup(a, text);

	for (char *c = json; *c; c++)
		if (*c == '\'')
			*c = '"';
	return decode(a, kind, UM_ENC_JSON, json, strlen(json), strict, ret, NULL, err);
}

Test(schema, finds_kinds_resources_and_bodies)
{
	size_t n;
	const struct um_kind *pod = um_schema_find_resource("", "v1", "pods");

	cr_assert(pod);
	cr_assert_str_eq(pod->kind, "Pod");
	cr_assert_str_eq(pod->list_kind, "PodList");
	cr_assert_str_eq(pod->singular, "pod");
	cr_assert_str_eq(pod->short_names[0], "po");
	cr_assert_null(pod->short_names[1]);
	cr_assert(pod->namespaced && pod->has_status && !pod->is_volatile);
	cr_assert(um_schema_find_kind("", "v1", "Binding"));
	cr_assert(um_schema_find_kind("", "v1", "DeleteOptions"));
	cr_assert(um_schema_find_kind("meta", "v1", "DeleteOptions"));
	cr_assert(um_schema_find_kind("meta.k8s.io", "v1", "Status"));
	cr_assert(um_schema_find_kind("", "v1", "PodList"));
	cr_assert(um_schema_find_resource("coordination.k8s.io", "v1", "leases")->is_volatile);
	cr_assert_null(um_schema_find_resource("", "v2", "pods"));
	cr_assert_null(um_schema_find_resource("", "v1", "bindings"));
	um_schema_kinds(&n);
	cr_assert_eq(n, 18);
	cr_assert_str_eq(um_schema_find_resource("apps", "v1", "deployments")->short_names[0],
			 "deploy");
	cr_assert(um_schema_find_kind("autoscaling", "v1", "Scale"));
	cr_assert_null(um_schema_find_resource("autoscaling", "v1", "scales"));
}

Test(schema, strict_decoding_names_unknown_and_duplicate_fields)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	struct um_error err = UM_ERROR_INIT;
	struct um_json *obj;
	static const char text[] =
		"{'metadata':{'name':'a','name':'b'},'spec':{'foo':1,'containers':[{'name':'c'},"
		"{'imag':'x','env':[{'name':'A','valu':'1'}]}]},'bar':{}}";

	cr_assert_eq(decode_json(a, "Pod", text, UM_STRICT_STRICT, &obj, &err), -EBADMSG);
	cr_assert_str_eq(
		err.msg,
		"Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown "
		"field \"spec.foo\", unknown field \"spec.containers[1].imag\", unknown field "
		"\"spec.containers[1].env[0].valu\", unknown field \"bar\", duplicate field "
		"\"metadata.name\"");
	cr_assert_eq(decode_json(a, "Pod", text, UM_STRICT_IGNORE, &obj, NULL), 0);
	assert_json(a, obj,
		    "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'b'},'spec':{'containers':"
		    "[{'name':'c'},{'env':[{'name':'A'}]}]}}");
}

Test(schema, warnings_go_to_the_caller)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	struct um_causes problems = {.arena = a};
	struct um_json *obj;
	static const char text[] = "{\"spek\":1,\"data\":{\"k\":\"1\",\"k\":\"2\"}}";

	cr_assert_eq(decode(a, "ConfigMap", UM_ENC_JSON, text, strlen(text), UM_STRICT_WARN, &obj,
			    &problems, NULL),
		     0);
	cr_assert_eq(problems.n, 2);
	cr_assert_str_eq(problems.first->message, "unknown field \"spek\"");
	cr_assert_str_eq(problems.first->next->message, "duplicate field \"data.k\"");
	cr_assert_str_eq(um_json_get_str(obj, "data.k", ""), "2");
}

static const struct {
	const char *kind, *text, *want;
} wrong[] = {
	{"Pod", "{'spec':{'containers':{}}}",
	 "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type "
	 "[]v1.Container"},
	{"Pod", "{'spec':{'containers':[{'ports':[{'containerPort':'80'}]}]}}",
	 "json: cannot unmarshal string into Go struct field "
	 "ContainerPort.spec.containers.ports.containerPort of type int32"},
	{"Pod", "{'spec':{'containers':[{'ports':[{'containerPort':80.5}]}]}}",
	 "cannot unmarshal number 80.5 into"},
	{"Pod", "{'spec':{'containers':[{'ports':[{'containerPort':99999999999}]}]}}",
	 "cannot unmarshal number 99999999999 into"},
	{"Pod", "{'metadata':{'labels':{'a':1}}}",
	 "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type "
	 "string"},
	{"Pod", "{'metadata':{'labels':[]}}", "of type map[string]string"},
	{"Pod", "{'spec':{'containers':[{'resources':{'limits':{'cpu':'1x'}}}]}}",
	 "spec.containers[0].resources.limits[cpu]: quantities must match the regular expression"},
	{"Pod", "{'spec':{'hostNetwork':'yes'}}", "of type bool"},
	{"Pod", "{'spec':{'containers':[3]}}", "cannot unmarshal number into"},
	{"Pod", "{'metadata':{'creationTimestamp':'yesterday'}}",
	 "metadata.creationTimestamp: not a time"},
	{"Secret", "{'data':{'a':'%%%%'}}", "data[a]: illegal base64 data at input byte 0"},
	{"Secret", "{'data':{'a':'YQ='}}", "illegal base64 data"},
	{"Secret", "{'data':{'a':'YQ==YQ=='}}", "illegal base64 data at input byte 4"},
	{"Pod", "{'kind':'Node'}",
	 "the kind in the data (Node) does not match the expected kind (Pod)"},
	{"Pod", "{'apiVersion':'apps/v1'}",
	 "the API version in the data (apps/v1) does not match the expected API version (v1)"},
	{"Pod", "{'apiVersion':7}", "of type string"},
	{"Pod", "[]", "cannot unmarshal array"},
	{"Pod", "7", "cannot unmarshal number"},
	{"Pod", "", "not JSON"},
	{"Pod", "{'spec':{}", "not JSON"},
	{"Pod", "{'metadata':{'name':'\\u0000'}}", "U+0000"},
};

Test(schema, wrong_types_are_refused_by_path)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(wrong); i++) {
		_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
		struct um_error err = UM_ERROR_INIT;
		struct um_json *obj;
		int r = decode_json(a, wrong[i].kind, wrong[i].text, UM_STRICT_IGNORE, &obj, &err);

		cr_assert_eq(r, -EBADMSG, "%s: %d", wrong[i].text, r);
		cr_assert(strstr(err.msg, wrong[i].want), "%s: %s", wrong[i].text, err.msg);
	}
}

Test(schema, values_are_normalised)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	struct um_json *obj;

	cr_assert_eq(
		decode_json(a, "Pod",
			    "{'metadata':{'name':null,'creationTimestamp':null,'deletionTimestamp':"
			    "'2026-01-02T03:04:05+01:00'},'spec':{'containers':[null,{'args':"
			    "[null,'x'],'resources':{'limits':{'cpu':0.5,'memory':'1024Mi','a':"
			    "'1000m','b':'1.5Gi','c':'500','d':'0.1Ki','e':'1e3','f':'-0','g':"
			    "'1500Mi','h':'12e6'}}}]}}",
			    UM_STRICT_STRICT, &obj, NULL),
		0);
	assert_json(a, obj,
		    "{'apiVersion':'v1','kind':'Pod','metadata':{'deletionTimestamp':"
		    "'2026-01-02T02:04:05Z'},'spec':{'containers':[{},{'args':['','x'],"
		    "'resources':{'limits':{'cpu':'500m','memory':'1Gi','a':'1','b':'1536Mi','c':"
		    "'500','d':'103','e':'1e3','f':'0','g':'1500Mi','h':'12e6'}}}]}}");
}

Test(schema, yaml_is_one_document)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	struct um_error err = UM_ERROR_INIT;
	struct um_json *obj;
	static const char one[] = "apiVersion: v1\nkind: ConfigMap\ndata:\n  a: \"1\"\n";
	static const char two[] = "data: {}\n---\ndata: {}\n";
	static const char number[] = "data:\n  a: 1\n";

	cr_assert_eq(decode(a, "ConfigMap", UM_ENC_YAML, one, strlen(one), UM_STRICT_STRICT, &obj,
			    NULL, NULL),
		     0);
	cr_assert_str_eq(um_json_get_str(obj, "data.a", ""), "1");
	cr_assert_eq(decode(a, "ConfigMap", UM_ENC_YAML, two, strlen(two), UM_STRICT_STRICT, &obj,
			    NULL, &err),
		     -EBADMSG);
	cr_assert(strstr(err.msg, "expected one YAML document, found 2"), "%s", err.msg);
	cr_assert_eq(decode(a, "ConfigMap", UM_ENC_YAML, number, strlen(number), UM_STRICT_STRICT,
			    &obj, NULL, NULL),
		     -EBADMSG);
}

Test(schema, delete_options_belong_to_every_group)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	struct um_json *obj;

	cr_assert_eq(
		decode_json(a, "DeleteOptions",
			    "{'apiVersion':'apps/v1','kind':'DeleteOptions','gracePeriodSeconds':0,"
			    "'propagationPolicy':'Background'}",
			    UM_STRICT_STRICT, &obj, NULL),
		0);
}

Test(schema, too_many_items_are_refused)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(32 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	struct um_error err = UM_ERROR_INIT;
	struct um_json *obj;

	um_buf_adds(&b, "{\"data\":{\"k\":\"\"");
	for (int i = 0; i < 5000; i++)
		um_buf_addf(&b, ",\"k%d\":\"\"", i);
	um_buf_adds(&b, "}}");
	cr_assert_eq(decode(a, "ConfigMap", UM_ENC_JSON, b.data, b.len, UM_STRICT_IGNORE, &obj,
			    NULL, &err),
		     -EBADMSG);
	cr_assert(strstr(err.msg, "data: more than 4096 items"), "%s", err.msg);
}

/* ---- protobuf, by a small encoder ---- */

static void varint(struct um_buf *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		um_buf_addc(b, (char)(v | 0x80));
	um_buf_addc(b, (char)v);
}

static void put_int(struct um_buf *b, unsigned field, uint64_t v)
{
	varint(b, field << 3);
	varint(b, v);
}

static void put_bytes(struct um_buf *b, unsigned field, const void *data, size_t len)
{
	varint(b, field << 3 | 2);
	varint(b, len);
	um_buf_add(b, data, len);
}

static void put_str(struct um_buf *b, unsigned field, const char *s)
{
	put_bytes(b, field, s, strlen(s));
}

static void put_msg(struct um_buf *b, unsigned field, struct um_buf *m)
{
	put_bytes(b, field, um_buf_str(m), m->len);
	um_buf_release(m);
}

static void put_entry(struct um_buf *b, unsigned field, const char *key, const char *value)
{
	struct um_buf m = UM_BUF_INIT(1 << 16);

	put_str(&m, 1, key);
	put_str(&m, 2, value);
	put_msg(b, field, &m);
}

static void envelope(struct um_buf *b, const char *version, const char *kind, struct um_buf *raw)
{
	struct um_buf type = UM_BUF_INIT(1000);

	um_buf_add(b, "k8s", 4);
	put_str(&type, 1, version);
	put_str(&type, 2, kind);
	put_msg(b, 1, &type);
	put_msg(b, 2, raw);
	put_str(b, 3, "");
	put_str(b, 4, "");
}

static void put_container(struct um_buf *spec)
{
	struct um_buf c = UM_BUF_INIT(1 << 16), m = UM_BUF_INIT(1 << 16), n = UM_BUF_INIT(1 << 16),
		      q = UM_BUF_INIT(100);

	put_str(&c, 1, "web");
	put_str(&c, 2, "nginx:1");
	put_str(&c, 4, "one");
	put_str(&c, 4, "two");
	put_str(&m, 1, ""); /* a port without a name: left out */
	put_int(&m, 2, 0);
	put_int(&m, 3, 80);
	put_str(&m, 4, "TCP");
	put_msg(&c, 6, &m);
	put_str(&q, 1, "250m"); /* resources.limits[cpu] */
	put_str(&n, 1, "cpu");
	put_msg(&n, 2, &q);
	put_msg(&m, 1, &n);
	put_msg(&c, 8, &m);
	put_int(&q, 1, 1); /* readinessProbe.httpGet.port: "http" */
	put_int(&q, 2, 0);
	put_str(&q, 3, "http");
	put_str(&n, 1, "/ok");
	put_msg(&n, 2, &q);
	put_msg(&m, 2, &n); /* httpGet, within the handler */
	put_msg(&n, 1, &m); /* the handler, inlined in JSON */
	put_int(&n, 3, 5);
	put_msg(&c, 11, &n);
	put_int(&c, 16, 0);
	put_int(&m, 5, 0); /* securityContext.runAsNonRoot: false is kept */
	put_int(&m, 4, (uint64_t)-1);
	put_msg(&c, 15, &m);
	put_msg(spec, 2, &c);
}

static void put_pod(struct um_buf *pod)
{
	struct um_buf meta = UM_BUF_INIT(1 << 16), spec = UM_BUF_INIT(1 << 16),
		      m = UM_BUF_INIT(1 << 16), n = UM_BUF_INIT(1 << 16);

	put_str(&meta, 1, "p");
	put_str(&meta, 2, "");
	put_msg(&meta, 8, &m); /* creationTimestamp: zero */
	put_int(&m, 1, 1700000000);
	put_int(&m, 2, 0);
	put_msg(&meta, 9, &m);
	put_entry(&meta, 11, "app", "one");
	put_entry(&meta, 11, "b", "");
	put_entry(&meta, 11, "app", "two");
	put_str(&meta, 900, "unknown");
	put_msg(pod, 1, &meta);
	put_container(&spec);
	put_int(&m, 4, 7); /* securityContext.supplementalGroups, packed and not */
	varint(&n, 8);
	varint(&n, 300);
	put_msg(&m, 4, &n);
	put_msg(&spec, 14, &m);
	put_str(&m, 1, "v"); /* a volume, its source inlined in JSON */
	put_msg(&n, 2, &meta);
	put_msg(&m, 2, &n);
	put_msg(&spec, 1, &m);
	put_int(&spec, 4, 0); /* terminationGracePeriodSeconds: 0 is kept */
	put_int(&spec, 11, 0);
	put_msg(pod, 2, &spec);
	put_msg(pod, 3, &meta);
}

Test(schema, protobuf_becomes_the_json_form)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 16);
	struct um_buf pod = UM_BUF_INIT(1 << 16);
	struct um_error err = UM_ERROR_INIT;
	const char *version, *kind;
	struct um_json *obj;

	put_pod(&pod);
	envelope(&b, "v1", "Pod", &pod);
	cr_assert_eq(um_schema_peek(UM_ENC_PROTOBUF, b.data, b.len, a, &version, &kind, &err), 0);
	cr_assert_str_eq(version, "v1");
	cr_assert_str_eq(kind, "Pod");
	cr_assert_eq(decode(a, "Pod", UM_ENC_PROTOBUF, b.data, b.len, UM_STRICT_STRICT, &obj, NULL,
			    &err),
		     0, "%s", err.msg);
	assert_json(a, obj,
		    "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','deletionTimestamp':"
		    "'2023-11-14T22:13:20Z','labels':{'app':'two','b':''}},'spec':{'containers':[{"
		    "'name':'web','image':'nginx:1','args':['one','two'],'ports':[{'containerPort':"
		    "80,'protocol':'TCP'}],'resources':{'limits':{'cpu':'250m'}},'readinessProbe':{"
		    "'httpGet':{'path':'/ok','port':'http'},'timeoutSeconds':5},'securityContext':{"
		    "'runAsNonRoot':false,'runAsUser':-1}}],'securityContext':{"
		    "'supplementalGroups':[7,8,300]},'volumes':[{'name':'v','emptyDir':{}}],"
		    "'terminationGracePeriodSeconds':0},'status':{}}");
}

Test(schema, exbibytes_are_no_exponent)
{
	static const char *const cases[][2] = {
		{"1Ei", "1Ei"}, {"1024Pi", "1Ei"}, {"2E", "2E"}, {"1e3", "1e3"}, {"1E3", "1e3"}};

	for (size_t i = 0; i < UM_ARRAY_LEN(cases); i++) {
		_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
		struct um_json *obj = parse(
			a, um_arena_printf(a, "{'status':{'capacity':{'x':'%s'}}}", cases[i][0]));

		cr_assert_eq(
			um_schema_check_tree(kind_of("Node"), obj, UM_STRICT_STRICT, a, NULL, NULL),
			0);
		cr_expect_str_eq(um_json_get_str(obj, "status.capacity.x", ""), cases[i][1]);
	}
}

/* By the numbers that k8s.io/api's generated.proto gives. */
Test(schema, protobuf_service)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 16);
	struct um_buf svc = UM_BUF_INIT(1 << 16), m = UM_BUF_INIT(1 << 16),
		      n = UM_BUF_INIT(1 << 16), q = UM_BUF_INIT(100);
	struct um_error err = UM_ERROR_INIT;
	struct um_json *obj;

	put_str(&m, 1, "web");
	put_msg(&svc, 1, &m);
	put_str(&n, 1, "http");
	put_str(&n, 2, "TCP");
	put_int(&n, 3, 80);
	put_int(&q, 1, 0);
	put_int(&q, 2, 8080);
	put_str(&q, 3, "");
	put_msg(&n, 4, &q);
	put_int(&n, 5, 0);
	put_msg(&m, 1, &n);
	put_entry(&m, 2, "app", "web");
	put_str(&m, 3, "");
	put_str(&m, 4, "NodePort");
	put_str(&m, 7, "ClientIP");
	put_int(&m, 13, 1);
	put_int(&q, 1, 60);
	put_msg(&n, 1, &q);
	put_msg(&m, 14, &n);
	put_str(&m, 17, "SingleStack");
	put_str(&m, 18, "10.96.0.7");
	put_str(&m, 19, "IPv4");
	put_str(&m, 22, "Cluster");
	put_msg(&svc, 2, &m);
	put_msg(&m, 1, &n);
	put_msg(&svc, 3, &m);
	envelope(&b, "v1", "Service", &svc);
	cr_assert_eq(decode(a, "Service", UM_ENC_PROTOBUF, b.data, b.len, UM_STRICT_STRICT, &obj,
			    NULL, &err),
		     0, "%s", err.msg);
	assert_json(
		a, obj,
		"{'apiVersion':'v1','kind':'Service','metadata':{'name':'web'},'spec':{"
		"'ports':[{'name':'http','protocol':'TCP','port':80,'targetPort':8080}],"
		"'selector':{'app':'web'},'type':'NodePort','sessionAffinity':'ClientIP',"
		"'publishNotReadyAddresses':true,'sessionAffinityConfig':{'clientIP':{"
		"'timeoutSeconds':60}},'ipFamilyPolicy':'SingleStack','clusterIPs':['10.96.0.7'],"
		"'ipFamilies':['IPv4'],'internalTrafficPolicy':'Cluster'},'status':{"
		"'loadBalancer':{}}}");
}

static void put_template(struct um_buf *spec, unsigned field)
{
	struct um_buf t = UM_BUF_INIT(1 << 16), m = UM_BUF_INIT(1 << 16), c = UM_BUF_INIT(1 << 16);

	put_entry(&m, 11, "app", "web");
	put_msg(&t, 1, &m);
	put_str(&c, 1, "c");
	put_str(&c, 2, "i");
	put_msg(&m, 2, &c);
	put_msg(&t, 2, &m);
	put_msg(spec, field, &t);
}

Test(schema, protobuf_deployment)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 16);
	struct um_buf deploy = UM_BUF_INIT(1 << 16), m = UM_BUF_INIT(1 << 16),
		      n = UM_BUF_INIT(1 << 16), q = UM_BUF_INIT(1 << 16);
	struct um_error err = UM_ERROR_INIT;
	struct um_json *obj;

	put_str(&m, 1, "web");
	put_msg(&deploy, 1, &m);
	put_int(&m, 1, 0); /* replicas: 0 is kept */
	put_entry(&n, 1, "app", "web");
	put_msg(&m, 2, &n);
	put_template(&m, 3);
	put_str(&n, 1, "RollingUpdate");
	put_int(&q, 1, 1);
	put_int(&q, 2, 0);
	put_str(&q, 3, "50%");
	{
		struct um_buf r = UM_BUF_INIT(1000);

		put_msg(&r, 1, &q);
		put_msg(&n, 2, &r);
	}
	put_msg(&m, 4, &n);
	put_int(&m, 5, 0);
	put_int(&m, 6, 3);
	put_int(&m, 7, 1);
	put_int(&m, 9, 60);
	put_msg(&deploy, 2, &m);
	put_int(&m, 1, 4);
	put_int(&m, 2, 0);
	put_int(&m, 7, 2);
	put_msg(&deploy, 3, &m);
	envelope(&b, "apps/v1", "Deployment", &deploy);
	cr_assert_eq(decode(a, "Deployment", UM_ENC_PROTOBUF, b.data, b.len, UM_STRICT_STRICT, &obj,
			    NULL, &err),
		     0, "%s", err.msg);
	assert_json(
		a, obj,
		"{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'web'},'spec':{"
		"'replicas':0,'selector':{'matchLabels':{'app':'web'}},'template':{'metadata':{"
		"'labels':{'app':'web'}},'spec':{'containers':[{'name':'c','image':'i'}]}},"
		"'strategy':{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':'50%'}},"
		"'revisionHistoryLimit':3,'paused':true,'progressDeadlineSeconds':60},'status':{"
		"'observedGeneration':4,'readyReplicas':2}}");
}

/* Types of one name in two groups: each its own. */
Test(schema, protobuf_endpoint_ports_differ)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 16), c = UM_BUF_INIT(1 << 16);
	struct um_buf top = UM_BUF_INIT(1000), m = UM_BUF_INIT(1000), n = UM_BUF_INIT(1000);
	struct um_json *obj;

	put_int(&n, 2, 80);
	put_str(&n, 3, "UDP");
	put_msg(&m, 3, &n);
	put_msg(&top, 2, &m);
	envelope(&b, "v1", "Endpoints", &top);
	cr_assert_eq(decode(a, "Endpoints", UM_ENC_PROTOBUF, b.data, b.len, UM_STRICT_STRICT, &obj,
			    NULL, NULL),
		     0);
	assert_json(a, um_json_get(obj, "subsets"), "[{'ports':[{'port':80,'protocol':'UDP'}]}]");
	put_str(&n, 2, "UDP");
	put_int(&n, 3, 80);
	put_msg(&top, 3, &n);
	put_str(&top, 4, "IPv4");
	put_int(&m, 1, 0); /* conditions.ready: false is kept */
	put_str(&n, 1, "10.0.0.1");
	put_msg(&n, 2, &m);
	put_msg(&top, 2, &n);
	envelope(&c, "discovery.k8s.io/v1", "EndpointSlice", &top);
	cr_assert_eq(decode(a, "EndpointSlice", UM_ENC_PROTOBUF, c.data, c.len, UM_STRICT_STRICT,
			    &obj, NULL, NULL),
		     0);
	assert_json(a, obj,
		    "{'apiVersion':'discovery.k8s.io/v1','kind':'EndpointSlice','ports':[{"
		    "'protocol':'UDP','port':80}],'addressType':'IPv4','endpoints':[{'addresses':["
		    "'10.0.0.1'],'conditions':{'ready':false}}]}");
}

Test(schema, protobuf_bytes_become_base64)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 16);
	struct um_buf secret = UM_BUF_INIT(1 << 16), m = UM_BUF_INIT(1000);
	struct um_json *obj;

	put_str(&m, 1, "k");
	put_bytes(&m, 2, "\0\xff\x01\x02", 4);
	put_msg(&secret, 2, &m);
	put_str(&m, 1, "e");
	put_msg(&secret, 2, &m);
	envelope(&b, "v1", "Secret", &secret);
	cr_assert_eq(decode(a, "Secret", UM_ENC_PROTOBUF, b.data, b.len, UM_STRICT_STRICT, &obj,
			    NULL, NULL),
		     0);
	assert_json(a, obj, "{'apiVersion':'v1','kind':'Secret','data':{'k':'AP8BAg==','e':''}}");
}

Test(schema, broken_protobuf_is_refused)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(64 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 16);
	struct um_buf pod = UM_BUF_INIT(1 << 16);
	static const struct {
		const char *bytes;
		size_t len;
	} bad[] = {
		{"\x0a\xff", 2},	  /* length past the end */
		{"\x0a\x03\x0a\x05p", 5}, /* the same, one level down */
		{"\x08\x01", 2},	  /* metadata as a varint */
		{"\x0a\x02\x08\x01", 4},  /* metadata.name as a varint */
		{"\x0b\x0c", 2},	  /* a group */
		{"\x02\x00", 2},	  /* field number 0 */
		{"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11}, /* a varint of 70 bits */
		{"\x0a\x04\x0a\x02\xc0\x80", 6},		      /* overlong UTF-8 */
		{"\x0a\x04\x0a\x02\x61\x00", 6},		      /* U+0000 */
	};

	put_pod(&pod);
	for (size_t i = 0; i < UM_ARRAY_LEN(bad); i++) {
		struct um_error err = UM_ERROR_INIT;
		struct um_json *obj;
		int r = decode(a, "Pod", UM_ENC_PROTOBUF, bad[i].bytes, bad[i].len,
			       UM_STRICT_IGNORE, &obj, NULL, &err);

		cr_assert_eq(r, -EBADMSG, "%zu: %d", i, r);
		cr_assert(err.msg[0]);
	}
	envelope(&b, "v1", "Pod", &pod);
	for (size_t cut = 0; cut < b.len; cut++) { /* no prefix may be read past its end */
		char *exact = malloc(cut ? cut : 1);
		struct um_json *obj;
		int r;

		memcpy(exact, b.data, cut);
		r = decode(a, "Pod", UM_ENC_PROTOBUF, exact, cut, UM_STRICT_IGNORE, &obj, NULL,
			   NULL);
		cr_assert(r == 0 || r == -EBADMSG, "%zu: %d", cut, r);
		free(exact);
	}
}

Test(schema, deep_protobuf_is_refused)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	struct um_error err = UM_ERROR_INIT;
	struct um_json *obj;
	static const char not_pod[] = "\x0a\x04\x0a\x02v1";

	/* No built-in type nests in itself, so depth is bounded by the types; the kind is checked.
	 */
	um_buf_add(&b, "k8s", 4);
	um_buf_add(&b, not_pod, sizeof(not_pod) - 1);
	um_buf_add(&b, "\x0a\x07\x12\x05Nodes", 9);
	cr_assert_eq(decode(a, "Pod", UM_ENC_PROTOBUF, b.data, b.len, UM_STRICT_IGNORE, &obj, NULL,
			    &err),
		     -EBADMSG);
	cr_assert(strstr(err.msg, "the kind in the data (Nodes)"), "%s", err.msg);
}
