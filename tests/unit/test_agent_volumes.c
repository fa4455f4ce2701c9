/* Volumes of keys: the writer, what stands in them, when tokens are renewed, Services' variables.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/downward.h"
#include "agent/internal.h"
#include "agent/links.h"
#include "agent/projection.h"
#include "agent/refresh.h"
#include "agent/refs.h"
#include "agent/tokens.h"
#include "agent/volume_write.h"
#include "base/io.h"
#include "base/yaml.h"
#include "wire/loop.h"

static struct um_arena *arena;
static struct um_agent agent;
static struct um_clock_fake fake;
static char dir[100];

static void set_up(void)
{
	struct um_error err = UM_ERROR_INIT;

	arena = um_arena_new(64 << 20);
	um_clock_fake_init(&fake, UM_NSEC_PER_SEC, INT64_C(1767225600) * UM_NSEC_PER_SEC);
	cr_assert_eq(um_loop_new(&fake.clock, 1, &agent.loop), 0);
	snprintf(dir, sizeof(dir), "/tmp/umiak-test-XXXXXX");
	cr_assert(mkdtemp(dir));
	agent.opt.node_name = "n1";
	agent.opt.run_dir = agent.opt.state_dir = dir;
	cr_assert_eq(refresh_new(&agent, &agent.refresh, &err), 0);
}

static void tear_down(void)
{
	refresh_free(agent.refresh);
	um_loop_free(agent.loop);
	um_arena_free(arena);
	cr_assert_eq(um_io_remove_tree(AT_FDCWD, dir, NULL), 0);
}
TestSuite(agent_volumes, .init = set_up, .fini = tear_down);

static struct um_json *yaml(const char *text)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_json *docs = NULL;

	cr_assert_eq(um_yaml_parse(arena, text, strlen(text), &docs, &err), 0, "%s: %s", text,
		     err.msg);
	return um_json_at(docs, 0);
}

/* ---- the writer ---- */

static struct volume_files files;

static void begin(void)
{
	volume_files_init(&files, arena);
}

static void put(const char *path, const char *text, mode_t mode)
{
	struct um_error err = UM_ERROR_INIT;

	cr_assert_eq(volume_files_put(&files, path, text, strlen(text), mode, (uid_t)-1, &err), 0,
		     "%s", err.msg);
}

static bool write_now(void)
{
	struct um_error err = UM_ERROR_INIT;
	char path[200];
	bool changed = false;

	snprintf(path, sizeof(path), "%s/v", dir);
	cr_assert_eq(volume_write(path, &files, &changed, &err), 0, "%s", err.msg);
	return changed;
}

/* The names in the volume, sorted; a dated folder is "..2". */
static const char *names(void)
{
	struct dirent **all;
	const char *s = "";
	char path[200];
	int n;

	snprintf(path, sizeof(path), "%s/v", dir);
	n = scandir(path, &all, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		const char *name = all[i]->d_name;

		if (strcmp(name, ".") && strcmp(name, ".."))
			s = um_arena_printf(arena, "%s %s", s,
					    strncmp(name, "..2", 3) ? name : "..2");
		free(all[i]);
	}
	free(all);
	return s;
}

static const char *text_of(const char *name)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	char path[200];

	snprintf(path, sizeof(path), "%s/v/%s", dir, name);
	if (um_io_read_file(AT_FDCWD, path, &b, NULL) < 0)
		return "(none)";
	return um_arena_strndup(arena, um_buf_str(&b), b.len);
}

static mode_t mode_of(const char *name)
{
	char path[200];
	struct stat st;

	snprintf(path, sizeof(path), "%s/v/%s", dir, name);
	return stat(path, &st) < 0 ? 0 : st.st_mode & 07777;
}

Test(agent_volumes, a_volume_changes_as_a_whole)
{
	umask(077); /* it does not decide */
	begin();
	put("b", "one", 0644);
	put("deep/er/c", "two", 0400);
	put("./deep//d", "", 0755);
	cr_assert(write_now());
	cr_assert_str_eq(names(), " ..2 ..data b deep");
	cr_assert_str_eq(text_of("b"), "one");
	cr_assert_str_eq(text_of("deep/er/c"), "two");
	cr_assert_str_eq(text_of("deep/d"), "");
	cr_assert_eq(mode_of("b"), 0644);
	cr_assert_eq(mode_of("deep/er/c"), 0400);
	cr_assert_eq(mode_of("..data"), 0755);
	cr_assert_not(write_now(), "nothing has changed");

	begin();
	put("b", "one", 0600);
	put("a", "x", 0644);
	cr_assert(write_now(), "a mode is a change");
	cr_assert_str_eq(names(), " ..2 ..data a b");
	cr_assert_eq(mode_of("b"), 0600);
	begin();
	put("a", "x", 0644);
	cr_assert(write_now(), "a file less is a change");
	cr_assert_str_eq(names(), " ..2 ..data a");
	begin();
	cr_assert(write_now());
	cr_assert_str_eq(names(), " ..2 ..data");
	cr_assert_not(write_now());
}

Test(agent_volumes, what_a_kill_left_is_tidied)
{
	char path[300];

	begin();
	put("a", "1", 0644);
	cr_assert(write_now());
	snprintf(path, sizeof(path), "%s/v/..2020_01_01_00_00_00.1/x", dir);
	cr_assert_eq(um_io_mkdirs(AT_FDCWD, path, 0755, NULL), 0);
	snprintf(path, sizeof(path), "%s/v/..data_tmp", dir);
	cr_assert_eq(symlink("..2020_01_01_00_00_00.1", path), 0);
	snprintf(path, sizeof(path), "%s/v/old", dir);
	cr_assert_eq(symlink("..data/old", path), 0);
	snprintf(path, sizeof(path), "%s/v/a", dir);
	cr_assert_eq(unlink(path), 0);
	cr_assert_not(write_now());
	cr_assert_str_eq(names(), " ..2 ..data a");
	cr_assert_str_eq(text_of("a"), "1");
	/* Whatever ..data is, it is replaced, and nobody is led away. */
	snprintf(path, sizeof(path), "%s/v/..data", dir);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(symlink("/etc", path), 0);
	cr_assert(write_now());
	cr_assert_str_eq(names(), " ..2 ..data a");
	cr_assert_str_eq(text_of("a"), "1");
}

Test(agent_volumes, paths_that_lead_elsewhere_are_refused)
{
	static const char *const bad[] = {"",	    "/",    "/a",     "..",	  "../a",
					  "a/../b", "a/..", "..data", "./..data", "..2/x",
					  ".",	    "./.",  "./../x"};
	char *longest = um_arena_zalloc(arena, 2000);

	for (size_t i = 0; i < UM_ARRAY_LEN(bad); i++) {
		begin();
		cr_expect_eq(volume_files_put(&files, bad[i], "", 0, 0644, (uid_t)-1, NULL),
			     -EINVAL, "%s", bad[i]);
	}
	memset(longest, 'a', 300);
	begin();
	cr_expect_eq(volume_files_put(&files, longest, "", 0, 0644, (uid_t)-1, NULL), -EINVAL);
	put("x", "first", 0644);
	put("./x", "second", 0644);
	cr_assert_eq(files.n, 1, "one of the same path takes its place");
	cr_assert(write_now());
	cr_assert_str_eq(text_of("x"), "second");
	begin();
	put("a", "1", 0644);
	put("a/b", "2", 0644);
	{
		struct um_error err = UM_ERROR_INIT;
		char path[200];

		snprintf(path, sizeof(path), "%s/v", dir);
		cr_assert_lt(volume_write(path, &files, NULL, &err), 0, "a file is no folder");
	}
	cr_assert_str_eq(text_of("x"), "second", "what was there stays");
	cr_assert_str_eq(names(), " ..2 ..data x");
}

/* ---- what stands in them ---- */

#define UID "11111111-1111-1111-1111-111111111111"

static struct agent_pod *pod(const char *spec)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_json *obj = yaml("{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: ns, "
				   "uid: " UID ", labels: {b: 'x\"y', a: z}, annotations: {n: "
				   "\"1\\n2\\x01\\\\\"}}}");
	struct agent_pod *p;

	um_json_set(arena, obj, "spec", yaml(spec));
	p = pod_new(&agent, obj, &err);
	cr_assert_not_null(p, "%s", err.msg);
	p->refs = um_json_new_obj(arena);
	return p;
}

static void drop(struct agent_pod *p)
{
	pod_free(p);
	um_loop_step(agent.loop, 0);
}

static const char *content(const struct agent_pod *p, bool lenient)
{
	const struct um_json *v = um_json_path(p->obj, "spec.volumes.0");
	struct um_error err = UM_ERROR_INIT;
	const char *s = "";

	begin();
	if (projection_files(p, v, lenient, &files, &err) < 0)
		return um_arena_strdup(arena, err.msg);
	for (const struct volume_file *f = files.first; f; f = f->next)
		s = um_arena_printf(arena, "%s%s %o %d=%.*s|", s, f->path, f->mode, (int)f->uid,
				    (int)f->len, f->data);
	return s;
}

Test(agent_volumes, fields_of_the_pod)
{
	struct agent_pod *p = pod(
		"{containers: [{name: c, resources: {limits: {memory: 1Gi}, requests: {cpu: "
		"100m}}}]"
		", volumes: [{name: v, downwardAPI: {defaultMode: 288, items: [{path: l, fieldRef: "
		"{"
		"fieldPath: metadata.labels}}, {path: n, mode: 256, fieldRef: {fieldPath: "
		"metadata.annotations}}, {path: b, fieldRef: {fieldPath: \"metadata.labels['b']\"}}"
		", {path: none, fieldRef: {fieldPath: \"metadata.labels['none']\"}}, {path: m, "
		"resourceFieldRef: {containerName: c, resource: limits.memory, divisor: 1Ki}}, "
		"{path: r, resourceFieldRef: {containerName: c, resource: requests.cpu}}, {path: z,"
		" resourceFieldRef: {containerName: c, resource: requests.memory}}]}}]}");

	cr_assert_str_eq(content(p, false),
			 "l 440 -1=a=\"z\"\nb=\"x\\\"y\"|n 400 -1=n=\"1\\n2\\x01\\\\\"|b 440 "
			 "-1=x\"y|none 440 -1=|m 440 -1=1048576|r 440 -1=1|z 440 -1=0|");
	cr_assert(projection_shows_metadata(um_json_path(p->obj, "spec.volumes.0")));
	drop(p);
}

#define ALL                                                                                        \
	"volumes: [{name: kube-api-access-x, projected: {sources: [{serviceAccountToken: {path: "  \
	"token, expirationSeconds: 3607}}, {configMap: {name: m, items: [{key: k, path: k}]}}, "   \
	"{secret: {name: s}}, {configMap: {name: o, optional: true}}]}}]"

static void give(struct agent_pod *p)
{
	um_json_set(arena, p->refs, "tokens/kube-api-access-x/0", yaml("{token: T}"));
	um_json_set(arena, p->refs, "configmaps/m", yaml("{kind: ConfigMap, data: {k: v, l: w}}"));
	um_json_set(arena, p->refs, "secrets/s", yaml("{kind: Secret, data: {p: Z2g=}}"));
}

Test(agent_volumes, sources_and_who_may_read_the_token)
{
	static const struct {
		const char *spec, *token;
	} table[] = {
		{"{containers: [{name: c}], " ALL "}", "token 644 -1=T|"},
		{"{containers: [{name: c, securityContext: {runAsUser: 7}}], " ALL "}",
		 "token 600 7=T|"},
		{"{securityContext: {runAsUser: 8}, containers: [{name: c}], " ALL "}",
		 "token 600 8=T|"},
		{"{securityContext: {runAsUser: 8}, initContainers: [{name: i, securityContext: {"
		 "runAsUser: 7}}], containers: [{name: c}], " ALL "}",
		 "token 644 -1=T|"},
		{"{containers: [{name: c, securityContext: {runAsUser: 7}}, {name: d}], " ALL "}",
		 "token 644 -1=T|"},
		{"{containers: [{name: c, securityContext: {runAsUser: 0}}], " ALL "}",
		 "token 600 0=T|"},
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(table); i++) {
		struct agent_pod *p = pod(table[i].spec);

		give(p);
		cr_expect_str_eq(
			content(p, false),
			um_arena_printf(arena, "%sk 644 -1=v|p 644 -1=gh|", table[i].token), "%zu",
			i);
		drop(p);
	}
}

Test(agent_volumes, what_is_missing_is_named)
{
	struct agent_pod *p = pod("{containers: [{name: c}], " ALL "}");

	cr_expect_str_eq(content(p, false), "the service account's token has not come");
	cr_expect_str_eq(content(p, true), "", "of this volume what has not come is left out");
	give(p);
	um_json_remove(p->refs, "configmaps/m");
	cr_expect_str_eq(content(p, false), "configmaps \"m\" not found");
	um_json_set(arena, p->refs, "configmaps/m", yaml("{kind: ConfigMap, data: {other: x}}"));
	cr_expect_str_eq(content(p, false), "references non-existent key: k");
	um_json_set(arena, p->refs, "secrets/s", yaml("{kind: Secret, data: {p: '%'}}"));
	um_json_set(arena, p->refs, "configmaps/m", yaml("{kind: ConfigMap, data: {k: x}}"));
	cr_expect_str_eq(content(p, false), "key p is not base64");
	drop(p);
}

/* ---- news ---- */

Test(agent_volumes, the_newer_form_of_an_object_counts)
{
	static const struct {
		const char *was, *news;
		bool changed;
		const char *v;
	} table[] = {
		{"{metadata: {uid: a, resourceVersion: '9'}, data: {k: old}}",
		 "{metadata: {uid: a, resourceVersion: '10'}, data: {k: new}}", true, "new"},
		{"{metadata: {uid: a, resourceVersion: '10'}, data: {k: old}}",
		 "{metadata: {uid: a, resourceVersion: '9'}, data: {k: new}}", false, "old"},
		{"{metadata: {uid: a, resourceVersion: '10'}, data: {k: old}}",
		 "{metadata: {uid: b, resourceVersion: '9'}, data: {k: new}}", true, "new"},
		{"{metadata: {uid: a, resourceVersion: '10'}, data: {k: old}}",
		 "{metadata: {uid: a, resourceVersion: '10'}, data: {k: old}}", false, "old"},
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(table); i++) {
		struct agent_pod *p = pod("{containers: [{name: c}]}");

		um_json_set(arena, p->refs, "configmaps/m", yaml(table[i].was));
		um_json_set(arena, p->refs, "configmaps/stay", yaml("{data: {k: v}}"));
		refs_deliver(p, "configmaps", "m", yaml(table[i].news));
		cr_expect_eq(refs_take_news(p), table[i].changed, "%zu", i);
		cr_expect_str_eq(um_json_get_str(refs_get(p, "configmaps", "m"), "data.k", ""),
				 table[i].v, "%zu", i);
		cr_expect(refs_get(p, "configmaps", "stay"));
		cr_expect_not(refs_take_news(p));
		drop(p);
	}
}

/* ---- tokens ---- */

#define SEC UM_NSEC_PER_SEC

Test(agent_volumes, tokens_are_renewed_in_time)
{
	static const struct {
		int64_t life_s, latest_s, earliest_s;
	} table[] = {
		{600, 480, 456},
		{3607, 2885, 2741},
		{24 * 3600, 69120, 65664},
		{7 * 24 * 3600, 24 * 3600, 82080},
		{INT64_C(1) << 32, 24 * 3600, 82080},
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(table); i++) {
		cr_expect_eq(tokens_renewal(5 * SEC, table[i].life_s * SEC, 0) / SEC,
			     5 + table[i].latest_s, "%zu", i);
		cr_expect_eq(tokens_renewal(5 * SEC, table[i].life_s * SEC, UINT32_MAX) / SEC,
			     5 + table[i].earliest_s, "%zu", i);
	}
}

struct asked {
	unsigned n;
	const char *audience;
	void (*done)(void *arg, const struct um_json *obj, const struct um_error *err);
	void *arg;
};

static void on_ask(void *ctx, um_unused const struct um_json *obj, const char *audience,
		   um_unused int64_t seconds,
		   void (*done)(void *arg, const struct um_json *obj, const struct um_error *err),
		   void *arg)
{
	struct asked *a = ctx;

	a->n++;
	a->audience = audience;
	a->done = done;
	a->arg = arg;
}

static void answer(struct asked *a, const char *text)
{
	struct um_error err = UM_ERROR_INIT;

	um_error_set(&err, -ECONNREFUSED, "no server");
	a->done(a->arg, text ? yaml(text) : NULL, text ? NULL : &err);
}

static void pass(int64_t seconds)
{
	um_clock_fake_advance(&fake, seconds * SEC);
	um_loop_step(agent.loop, 0);
}

Test(agent_volumes, one_timer_renews_what_is_due)
{
	struct asked asked = {0};
	struct agent_pod *p = pod("{containers: [{name: c}], " ALL "}");
	int64_t due;

	agent.src = (struct um_agent_source){.token = on_ask, .ctx = &asked};
	p->job = calloc(1, sizeof(*p->job)); /* nothing is written */
	p->state = POD_RUN;
	refresh_arm(&agent);
	um_loop_step(agent.loop, 0);
	cr_assert_eq(asked.n, 1, "it has none");
	cr_assert_str_eq(asked.audience, "");
	refresh_look(&agent);
	cr_assert_eq(asked.n, 1, "it is asked for already");
	answer(&asked, "{spec: {expirationSeconds: 1000}, status: {token: first}}");
	refs_take_news(p);
	refresh_arm(&agent);
	due = tokens_due(p);
	cr_assert(due >= 760 * SEC && due <= 801 * SEC);
	pass(750);
	cr_assert_eq(asked.n, 1, "not before");
	pass(60);
	cr_assert_eq(asked.n, 2);
	answer(&asked, NULL);
	pass(20);
	cr_assert_eq(asked.n, 2, "not at once again");
	pass(15);
	cr_assert_eq(asked.n, 3);
	answer(&asked, NULL);
	refresh_all(&agent);
	cr_assert_eq(asked.n, 4, "the server is back");
	answer(&asked, "{spec: {expirationSeconds: 1000}, status: {token: second}}");
	refs_take_news(p);
	cr_assert_str_eq(um_json_get_str(refs_get(p, "tokens", "kube-api-access-x/0"), "token", ""),
			 "second");
	/* A host that slept: its timer has too. */
	fake.wall_ns += 2000 * SEC;
	refresh_look(&agent);
	cr_assert_eq(asked.n, 5);
	answer(&asked, "{status: {}}");
	free(TAKE_PTR(p->job));
	drop(p);
	pass(100);
	cr_assert_eq(asked.n, 5);
}

/* ---- Services ---- */

static const char *variables(struct agent_links *l, const char *ns, bool all, const char *api)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 16);

	um_json_foreach (it, links_variables(l, arena, ns, all, api))
		um_buf_addf(&b, "%s ", it->str);
	return um_arena_strdup(arena, um_buf_str(&b));
}

Test(agent_volumes, services_as_variables)
{
	static const char api[] =
		"KUBERNETES_SERVICE_HOST=10.96.0.1 KUBERNETES_SERVICE_PORT=443 "
		"KUBERNETES_SERVICE_PORT_HTTPS=443 KUBERNETES_PORT=tcp://10.96.0.1:443 "
		"KUBERNETES_PORT_443_TCP=tcp://10.96.0.1:443 KUBERNETES_PORT_443_TCP_PROTO=tcp "
		"KUBERNETES_PORT_443_TCP_PORT=443 KUBERNETES_PORT_443_TCP_ADDR=10.96.0.1 ";
	static const char db[] =
		"DB_X_SERVICE_HOST=10.96.0.9 DB_X_SERVICE_PORT=53 DB_X_PORT=udp://10.96.0.9:53 "
		"DB_X_PORT_53_UDP=udp://10.96.0.9:53 DB_X_PORT_53_UDP_PROTO=udp "
		"DB_X_PORT_53_UDP_PORT=53 DB_X_PORT_53_UDP_ADDR=10.96.0.9 ";
	struct um_json *items = yaml(
		"[{metadata: {namespace: default, name: kubernetes}, spec: {clusterIP: 10.96.0.1, "
		"ports: [{name: https, port: 443}]}}, {metadata: {namespace: ns, name: db-x}, "
		"spec: "
		"{clusterIP: 10.96.0.9, ports: [{port: 53, protocol: UDP}]}}, {metadata: "
		"{namespace:"
		" ns, name: h}, spec: {clusterIP: None, ports: [{port: 1}]}}, {metadata: "
		"{namespace:"
		" ns2, name: other}, spec: {clusterIP: 10.96.0.8, ports: [{port: 1}]}}]");
	struct agent_links *l = links_new();

	cr_expect_str_eq(variables(l, "ns", true, NULL), "");
	cr_expect_str_eq(variables(l, "ns", true, "10.96.0.1"), api);
	cr_expect_not(links_are_listed(l));
	um_json_foreach (it, items)
		links_put(l, it);
	links_listed(l, items);
	cr_expect(links_are_listed(l));
	cr_expect_str_eq(variables(l, "ns", true, "10.96.0.1"),
			 um_arena_printf(arena, "%s%s", api, db));
	cr_expect_str_eq(variables(l, "ns", false, NULL), api);
	links_put(l, yaml("{metadata: {namespace: ns, name: kubernetes}, spec: {clusterIP: "
			  "10.96.0.7, ports: [{port: 1}]}}"));
	cr_expect(strstr(variables(l, "ns", true, NULL), "KUBERNETES_SERVICE_HOST=10.96.0.7 "));
	cr_expect(strstr(variables(l, "ns", false, NULL), "KUBERNETES_SERVICE_HOST=10.96.0.1 "));
	links_listed(l, yaml("[]"));
	cr_expect_str_eq(variables(l, "ns", true, NULL), "");
	links_free(l);
}
