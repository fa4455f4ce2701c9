/* The agent's pure parts: expansion, environment, users, quality of service, status. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/internal.h"
#include "base/io.h"
#include "base/yaml.h"
#include "wire/loop.h"

static struct um_arena *arena;
static struct um_agent agent;
static struct um_clock_fake fake;

static void set_up(void)
{
	arena = um_arena_new(16 << 20);
	um_clock_fake_init(&fake, 0, INT64_C(1767225600) * UM_NSEC_PER_SEC);
	cr_assert_eq(um_loop_new(&fake.clock, 1, &agent.loop), 0);
	agent.opt.node_name = "n1";
	agent.opt.host_ip = "192.0.2.1";
}
static void tear_down(void)
{
	um_loop_free(agent.loop);
	um_arena_free(arena);
}
TestSuite(agent, .init = set_up, .fini = tear_down);

static struct um_json *yaml(const char *text)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_json *docs = NULL;

	cr_assert_eq(um_yaml_parse(arena, text, strlen(text), &docs, &err), 0, "%s: %s", text,
		     err.msg);
	return um_json_at(docs, 0);
}

static struct agent_pod *pod(const char *spec)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_json *obj = yaml("{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: ns, "
				   "uid: 11111111-1111-1111-1111-111111111111, labels: {a.b/c: l}, "
				   "annotations: {x: y}}}");
	struct agent_pod *p;

	um_json_set(arena, obj, "spec", yaml(spec));
	p = pod_new(&agent, obj, &err);
	cr_assert_not_null(p, "%s", err.msg);
	snprintf(p->ip, sizeof(p->ip), "10.244.0.9");
	return p;
}

static const char *text_of(const struct um_json *n)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);

	cr_assert_eq(um_json_write(&b, n), 0);
	return um_arena_strdup(arena, um_buf_str(&b));
}

Test(agent, expands_as_kubernetes_does)
{
	static const char *const table[][2] = {
		{"$(A)", "one"},    {"$(A)-$(B)", "one-two"},
		{"$$(A)", "$(A)"},  {"$(NONE)", "$(NONE)"},
		{"$A", "$A"},	    {"$(A", "$(A"},
		{"$", "$"},	    {"$$", "$"},
		{"$$$(A)", "$one"}, {"$(A)$(A)", "oneone"},
		{"", ""},	    {"a$(EMPTY)b", "ab"},
	};
	struct um_json *env = yaml("[A=one, B=two, 'EMPTY=', 'AB=no']");

	for (size_t i = 0; i < UM_ARRAY_LEN(table); i++)
		cr_assert_str_eq(expand_vars(arena, table[i][0], env), table[i][1], "%s",
				 table[i][0]);
}

Test(agent, builds_the_environment)
{
	struct agent_pod *p = pod(
		"{containers: [{name: c, image: i, resources: {limits: {cpu: 1500m, memory: 1Gi}}, "
		"env: [{name: A, value: '1'}, {name: B, value: '$(A)$(FROM)'}, {name: FROM, value: "
		"over}, {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}, {name: L, "
		"valueFrom: {fieldRef: {fieldPath: \"metadata.labels['a.b/c']\"}}}, {name: N, "
		"valueFrom: {fieldRef: {fieldPath: \"metadata.labels['none']\"}}}, {name: CPU, "
		"valueFrom: {resourceFieldRef: {resource: limits.cpu}}}, {name: MEM, valueFrom: "
		"{resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}]}]}");
	struct um_json *image = yaml("{config: {Env: [PATH=/x, FROM=image, bad]}}");
	struct um_error err = UM_ERROR_INIT;

	cr_assert_str_eq(text_of(ctr_environment(arena, &p->ctrs[0], image, &err)),
			 "[\"PATH=/x\",\"FROM=over\",\"HOSTNAME=p\",\"A=1\",\"B=1image\","
			 "\"IP=10.244.0.9\",\"L=l\",\"N=\",\"CPU=2\",\"MEM=1024\"]");
	pod_free(p);
	um_loop_step(agent.loop, 0);
}

Test(agent, a_missing_key_is_named)
{
	struct agent_pod *p = pod("{containers: [{name: c, image: i, env: [{name: A, valueFrom: "
				  "{configMapKeyRef: {name: cm, key: k}}}]}]}");
	struct um_error err = UM_ERROR_INIT;

	cr_assert_null(ctr_environment(arena, &p->ctrs[0], NULL, &err));
	cr_assert_not_null(strstr(err.msg, "couldn't find key k in ConfigMap ns/cm"), "%s",
			   err.msg);
	pod_free(p);
	um_loop_step(agent.loop, 0);
}

Test(agent, quality_of_service)
{
	static const char *const table[][2] = {
		{"{spec: {containers: [{name: a}]}}", "BestEffort"},
		{"{spec: {containers: [{resources: {requests: {cpu: 1}}}]}}", "Burstable"},
		{"{spec: {containers: [{resources: {limits: {cpu: '1', memory: 1Gi}, requests: "
		 "{cpu: "
		 "'1', memory: 1Gi}}}]}}",
		 "Guaranteed"},
		{"{spec: {containers: [{resources: {limits: {cpu: '1', memory: 1Gi}}}]}}",
		 "Guaranteed"},
		{"{spec: {containers: [{resources: {limits: {cpu: '1', memory: 1Gi}, requests: "
		 "{cpu: "
		 "'500m', memory: 1Gi}}}]}}",
		 "Burstable"},
		{"{spec: {containers: [{resources: {limits: {cpu: '1', memory: 1Gi}}}, {name: "
		 "b}]}}",
		 "Burstable"},
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(table); i++)
		cr_assert_str_eq(pod_qos(yaml(table[i][0])), table[i][1], "%s", table[i][0]);
}

static void file(const char *dir, const char *name, const char *text)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	cr_assert_eq(
		um_io_replace_file(AT_FDCWD, path, text, strlen(text), 0644, UM_IO_NO_SYNC, NULL),
		0);
}

Test(agent, users_are_looked_up_in_the_image)
{
	static const struct {
		const char *user, *context;
		int code;
		uint32_t uid, gid;
		size_t groups;
	} table[] = {
		{"", "{}", 0, 0, 0, 2},
		{"web", "{}", 0, 1000, 1000, 2},
		{"web:extra", "{}", 0, 1000, 2000, 1},
		{"1000", "{}", 0, 1000, 1000, 2},
		{"77", "{}", 0, 77, 0, 1},
		{"77:88", "{}", 0, 77, 88, 1},
		{"nobody", "{}", -ENOENT, 0, 0, 0},
		{"web:none", "{}", -ENOENT, 0, 0, 0},
		{"web", "{runAsUser: 5}", 0, 5, 0, 1},
		{"web", "{runAsUser: 5, runAsGroup: 6}", 0, 5, 6, 1},
		{"", "{runAsNonRoot: true}", -EPERM, 0, 0, 0},
		{"web", "{runAsNonRoot: true}", 0, 1000, 1000, 2},
		{"-1", "{}", -ENOENT, 0, 0, 0},
		{"4294967296", "{}", -ENOENT, 0, 0, 0},
		{"evil", "{}", -ENOENT, 0, 0, 0},
	};
	char dir[] = "/tmp/umiak-test-user-XXXXXX", etc[64];

	cr_assert_not_null(mkdtemp(dir));
	snprintf(etc, sizeof(etc), "%s/etc", dir);
	cr_assert_eq(mkdir(etc, 0755), 0);
	file(etc, "passwd",
	     "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/:/bin/sh\nevil:x:-1:0::/:\n"
	     "short\nevil:x:00:0::/:\n:x:9:9\n");
	file(etc, "group",
	     "root:x:0:\nweb:x:1000:\nextra:x:2000:other,web\nwheel:x:10:root\nbad:x:x:web\n");
	for (size_t i = 0; i < UM_ARRAY_LEN(table); i++) {
		struct um_json *spec = um_json_new_obj(arena), *image = yaml("{config: {}}");
		struct um_error err = UM_ERROR_INIT;
		struct ctr_user u;

		um_json_set(arena, spec, "securityContext", yaml(table[i].context));
		um_json_set_str(arena, um_json_get(image, "config"), "User", table[i].user);
		cr_assert_eq(resolve_user(NULL, spec, image, dir, &u, &err), table[i].code,
			     "%s %s: %s", table[i].user, table[i].context, err.msg);
		if (table[i].code)
			continue;
		cr_assert_eq(u.uid, table[i].uid, "%s: %u", table[i].user, u.uid);
		cr_assert_eq(u.gid, table[i].gid, "%s %s: %u", table[i].user, table[i].context,
			     u.gid);
		cr_assert_eq(u.groups[0], u.gid);
		cr_assert_eq(u.n_groups, table[i].groups, "%s: %zu", table[i].user, u.n_groups);
	}
	cr_assert_eq(um_io_remove_tree(AT_FDCWD, dir, NULL), 0);
}

Test(agent, status_follows_the_containers)
{
	struct agent_pod *p = pod("{containers: [{name: a, image: i}, {name: b, image: i}], "
				  "initContainers: [{name: x, image: i}], restartPolicy: Never}");
	struct um_json *st = pod_status(p, arena);

	cr_assert_str_eq(um_json_get_str(st, "phase", ""), "Pending");
	cr_assert_str_eq(um_json_get_str(st, "containerStatuses.0.state.waiting.reason", ""),
			 "PodInitializing");
	p->state = POD_RUN;
	p->ctrs[0].state = CTR_FINISHED;
	p->ctrs[0].last.known = true;
	p->ctrs[1].state = p->ctrs[2].state = CTR_RUNNING;
	p->ctrs[1].ready = p->ctrs[2].ready = true;
	cr_assert_str_eq(pod_phase(p), "Running");
	cr_assert(pod_ready(p));
	p->ctrs[2].ready = false;
	cr_assert_not(pod_ready(p));
	cr_assert_not_null(strstr(text_of(pod_status(p, arena)), "unready status: [b]"));
	p->ctrs[1].state = p->ctrs[2].state = CTR_FINISHED;
	p->ctrs[1].last.known = p->ctrs[2].last.known = true;
	cr_assert_str_eq(pod_phase(p), "Succeeded");
	p->ctrs[2].last.exit_code = 1;
	cr_assert_str_eq(pod_phase(p), "Failed");
	pod_free(p);
	um_loop_step(agent.loop, 0);
}
