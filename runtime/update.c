/* update: other limits for a container that exists; its saved configuration follows. */
#include <string.h>

#include "base/io.h"
#include "runtime/create.h"
#include "runtime/state.h"

/* Objects are merged name by name, everything else is replaced; null takes a name away. */
static void merge(struct um_arena *a, struct um_json *into, const struct um_json *from)
{
	um_json_foreach (it, from) {
		if (it->type == UM_JSON_NULL)
			um_json_remove(into, it->key);
		else if (it->type == UM_JSON_OBJ)
			merge(a, um_json_ensure_obj(a, into, it->key), it);
		else
			um_json_set(a, into, it->key, um_json_copy(a, it));
	}
}

static int load_config(int dir, struct um_arena *a, struct um_json **ret, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(2 * UM_SPEC_MAX_BYTES);
	int r = um_io_read_file(dir, "config.json", &b, err);

	return r < 0 ? r : um_json_parse(a, um_buf_str(&b), b.len, NULL, ret, err);
}

static int save_config(int dir, const struct um_json *config, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(2 * UM_SPEC_MAX_BYTES);
	int r = um_json_write(&b, config);

	if (r < 0)
		return um_error_errno(err, r, "encode config.json");
	return um_io_replace_file(dir, "config.json", b.data, b.len, 0600, UM_IO_NO_SYNC, err);
}

static struct um_spec *new_spec(struct um_arena *a)
{
	struct um_spec *s = um_arena_new_of(a, struct um_spec);

	if (s)
		um_cgroup_limits_init(&s->limits);
	return s;
}

/* Memory and swap are one number on the command line and two files in cgroup v2: each needs the
 * other, as it is or as it becomes. */
static void pair_memory(struct um_cgroup_limits *changes, const struct um_cgroup_limits *all)
{
	if (changes->memory_bytes == UM_CG_UNSET && changes->memory_swap_bytes == UM_CG_UNSET)
		return;
	changes->memory_bytes = all->memory_bytes;
	changes->memory_swap_bytes = all->memory_swap_bytes;
}

/* Callers send 0 and "" for what they leave alone: that must not replace what is saved. */
static void drop_unset(struct um_json *changes)
{
	static const struct {
		const char *group, *name;
	} fields[] = {
		{"memory", "limit"},	   {"memory", "reservation"}, {"memory", "swap"},
		{"memory", "kernel"},	   {"memory", "kernelTCP"},   {"cpu", "shares"},
		{"cpu", "quota"},	   {"cpu", "period"},	      {"cpu", "realtimeRuntime"},
		{"cpu", "realtimePeriod"}, {"cpu", "cpus"},	      {"cpu", "mems"},
		{"blockIO", "weight"},	   {"blockIO", "leafWeight"}};

	for (size_t i = 0; i < UM_ARRAY_LEN(fields); i++) {
		struct um_json *group = um_json_get(changes, fields[i].group);
		const struct um_json *v = um_json_get(group, fields[i].name);

		if (um_json_streq(v, "") || um_json_i64(v, 1) == 0)
			um_json_remove(group, fields[i].name);
	}
}

/* No limit of memory leaves none of memory and swap, unless one is asked for. */
static void unlimited_swap(struct um_arena *a, struct um_json *changes)
{
	struct um_json *memory = um_json_get(changes, "memory");

	if (um_json_get_i64(memory, "limit", 0) == -1 && !um_json_get(memory, "swap"))
		um_json_set_i64(a, memory, "swap", -1);
}

static int update_scope(const struct um_runtime *rt, const struct um_runtime_state *s,
			const struct um_spec *changes, bool v2, struct um_error *err)
{
	struct um_cgroup_device rules[UM_RUNTIME_MAX_RULES];
	struct um_systemd_scope scope;
	size_t n = 0;
	int r = um_runtime_scope(rt, s, &scope, err);

	if (r >= 0 && changes->n_device_rules)
		r = um_runtime_collect_rules(changes, rules, &n, err);
	return r < 0 ? r : um_systemd_update(&scope, &changes->limits, v2, rules, n, err);
}

int um_runtime_update(const struct um_runtime *rt, const char *id, const char *json, size_t len,
		      struct um_error *err)
{
	_cleanup_(um_cgroups_freep) struct um_cgroups *host = NULL;
	_cleanup_(um_cgroup_freep) struct um_cgroup *cg = NULL;
	_cleanup_arena_ struct um_arena *a = um_arena_new(64u << 20);
	struct um_spec *changes = a ? new_spec(a) : NULL, *all = a ? new_spec(a) : NULL;
	struct um_json *node, *config, *saved;
	_cleanup_close_ int dir = -1;
	struct um_runtime_state s;
	int r;

	if (!changes || !all)
		return -ENOMEM;
	r = um_json_parse(a, json, len, NULL, &node, err);
	if (r >= 0)
		r = um_spec_decode_resources(a, node, changes, err);
	if (r >= 0)
		r = um_state_lock(rt, id, &dir, err);
	if (r >= 0)
		r = um_state_load(dir, id, a, &s, err);
	if (r < 0)
		return r;
	if (s.status == UM_RUNTIME_STOPPED)
		return um_error_set(err, -ESRCH, "container not running");
	r = load_config(dir, a, &config, err);
	if (r < 0)
		return r;
	drop_unset(node);
	unlimited_swap(a, node);
	saved = um_json_ensure_obj(a, um_json_ensure_obj(a, config, "linux"), "resources");
	merge(a, saved, node);
	if (um_arena_failed(a))
		return -ENOMEM;
	r = um_spec_decode_resources(a, saved, all, err);
	um_spec_settle_pids(changes, um_json_get_str(config, "ociVersion", ""));
	um_spec_settle_pids(all, um_json_get_str(config, "ociVersion", ""));
	if (r >= 0)
		r = um_state_open_cgroup(&s, &host, &cg, err);
	if (r < 0)
		return r;
	pair_memory(&changes->limits, &all->limits);
	if (s.systemd_unit) {
		r = update_scope(rt, &s, changes, host->mode == UM_CGROUP_V2, err);
		if (r < 0)
			return r;
	}
	r = um_cgroup_apply(cg, &changes->limits, err);
	if (r >= 0 && changes->n_device_rules)
		r = um_runtime_device_rules(cg, changes, err);
	return r < 0 ? r : save_config(dir, config, err);
}
