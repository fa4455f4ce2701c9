/* Controllers on a real API over stores in memory, with a fake clock. Include it once. */
#ifndef UM_TEST_CONTROL_UTIL_H
#define UM_TEST_CONTROL_UTIL_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "api/object.h"
#include "api/server.h"
#include "base/clock.h"
#include "base/yaml.h"
#include "control/controllers.h"
#include "store/store.h"
#include "wire/loop.h"

static struct um_arena *arena;
static struct um_clock_fake clock_;
static struct um_loop *loop;
static struct um_store *durable, *volatile_;
static struct um_api *api;
static struct um_controllers *controllers;
static const char *ca_pem = "CA 1";

/* Until nothing more comes by itself. */
static void settle(void)
{
	for (int i = 0; i < 300; i++) {
		um_clock_fake_advance(&clock_, 10);
		um_loop_step(loop, 0);
	}
}

static um_unused void advance(int64_t seconds)
{
	for (int64_t i = 0; i < seconds; i++) {
		um_clock_fake_advance(&clock_, UM_NSEC_PER_SEC);
		um_loop_step(loop, 0);
	}
	settle();
}

static void start_control(void)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_controllers_opts o = {.loop = loop,
					.api = api,
					.durable = durable,
					.volatile_ = volatile_,
					.no_scheduler = true,
					.ca_pem = ca_pem};

	cr_assert_eq(um_controllers_new(&o, &controllers, &err), 0, "%s", err.msg);
	settle();
}

static um_unused void stop_control(void)
{
	um_controllers_free(controllers);
	controllers = NULL;
}

static void set_up(void)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_api_opts o = {.event_ttl_ns = 1000 * UM_NSEC_PER_SEC};

	arena = um_arena_new(256 << 20);
	um_clock_fake_init(&clock_, 5 * UM_NSEC_PER_SEC, 1800000000 * UM_NSEC_PER_SEC);
	cr_assert_eq(um_loop_new(&clock_.clock, 1, &loop), 0);
	cr_assert_eq(um_store_open_volatile(loop, 1, 0, &durable, &err), 0);
	cr_assert_eq(um_store_open_volatile(loop, 1, 0, &volatile_, &err), 0);
	cr_assert_eq(
		um_service_ranges_parse("10.96.0.0/16", "30000-32767", NULL, &o.services, &err), 0);
	o.services.dns = o.services.first + 10;
	o.loop = loop;
	o.durable = durable;
	o.volatile_ = volatile_;
	cr_assert_eq(um_api_new(&o, &api, &err), 0, "%s", err.msg);
	settle();
}

static void tear_down(void)
{
	um_controllers_free(controllers);
	um_api_stop(api);
	um_store_close(volatile_);
	um_store_close(durable);
	um_api_free(api);
	um_loop_free(loop);
	um_arena_free(arena);
}

static struct um_json *yaml(const char *text)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_json *docs = NULL;

	cr_assert_eq(um_yaml_parse(arena, text, strlen(text), &docs, &err), 0, "%s: %s", text,
		     err.msg);
	return um_json_at(docs, 0);
}

static const struct um_kind *kind_of(const char *plural)
{
	static const char *const groups[][2] = {{"", "v1"},
						{"apps", "v1"},
						{"discovery.k8s.io", "v1"},
						{"coordination.k8s.io", "v1"}};

	for (size_t i = 0; i < UM_ARRAY_LEN(groups); i++) {
		const struct um_kind *k =
			um_schema_find_resource(groups[i][0], groups[i][1], plural);

		if (k)
			return k;
	}
	cr_assert_fail("no kind %s", plural);
	return NULL;
}

static void on_written(void *arg, um_unused int64_t rev, const struct um_error *err)
{
	cr_assert(!err || !err->code, "%s", err ? err->msg : "");
	*(bool *)arg = true;
}

static void wait_written(const bool *done)
{
	for (int i = 0; !*done && i < 1000; i++)
		um_loop_step(loop, 0);
	cr_assert(*done);
	settle();
}

/* Creates it; its uid. */
static um_unused const char *make(const char *plural, const char *text)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_json *obj = yaml(text);
	bool done = false;

	cr_assert_eq(um_api_create(api, kind_of(plural), obj, arena, on_written, &done, &err), 0,
		     "%s: %s", text, err.msg);
	wait_written(&done);
	return um_json_get_str(obj, "metadata.uid", "");
}

/* "ns/name", or a name. NULL: absent. */
static struct um_json *get(const char *plural, const char *name)
{
	const char *slash = strchr(name, '/');
	const char *ns = slash ? um_arena_strndup(arena, name, (size_t)(slash - name)) : NULL;
	struct um_json *obj = NULL;
	int64_t rev;
	int r = um_api_load(api, kind_of(plural), ns, slash ? slash + 1 : name, arena, &obj, &rev);

	return r < 0 ? NULL : obj;
}

/* Merges @patch into it. */
static um_unused void change(const char *plural, const char *name, const char *patch)
{
	struct um_error err = UM_ERROR_INIT;
	const char *slash = strchr(name, '/');
	const char *ns = slash ? um_arena_strndup(arena, name, (size_t)(slash - name)) : NULL;
	struct um_json *old = NULL, *obj = NULL;
	bool done = false;
	int64_t rev;

	cr_assert_eq(
		um_api_load(api, kind_of(plural), ns, slash ? slash + 1 : name, arena, &old, &rev),
		0, "%s", name);
	cr_assert_eq(um_patch_merge(arena, old, yaml(patch), &obj, &err), 0, "%s", err.msg);
	cr_assert_eq(
		um_api_update(api, kind_of(plural), obj, old, rev, arena, on_written, &done, &err),
		1, "%s: %s", name, err.msg);
	wait_written(&done);
}

static um_unused void del(const char *plural, const char *name, enum um_propagation policy)
{
	const char *slash = strchr(name, '/');
	const char *ns = slash ? um_arena_strndup(arena, name, (size_t)(slash - name)) : NULL;
	bool done = false;

	cr_assert_eq(um_api_remove_by(api, kind_of(plural), ns, slash ? slash + 1 : name,
				      &(struct um_api_removal){.policy = policy}, on_written,
				      &done),
		     1, "%s", name);
	wait_written(&done);
}

static bool find_event(void *arg, const struct um_store_kv *kv)
{
	const char **want = arg;

	if (strstr(kv->value->data, want[0]) && strstr(kv->value->data, want[1]))
		want[2] = "found";
	return !want[2];
}

/* There is an Event with this reason that holds this text. */
static um_unused bool has_event(const char *reason, const char *text)
{
	const char *want[3] = {reason, text, NULL};

	um_store_list(volatile_, "/registry/core/events/", NULL, find_event, want);
	return want[2];
}

#endif
