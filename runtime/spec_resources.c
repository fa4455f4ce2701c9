/* linux.resources of config.json, which `update` reads alone, too. */
#include <stdlib.h>
#include <string.h>

#include "runtime/decode.h"

#define LIMIT_NUM(name_, member_, min_, max_)                                                      \
	UM_FIELD_NUM(name_, UM_F_I64, struct um_cgroup_limits, member_, min_, max_)

/* ---- devices ---- */

static int decode_device_rule(struct um_decoder *d, const struct um_json *node, void *at)
{
	struct staging {
		struct um_cgroup_device v;
		const char *type, *access;
	} s = {.v = {.major = -1, .minor = -1}, .type = "a", .access = "rwm"};
	static const struct um_field fields[] = {
		UM_FIELD_REQ("allow", UM_F_BOOL, struct staging, v.allow),
		UM_FIELD("type", UM_F_STR, struct staging, type),
		UM_FIELD_NUM("major", UM_F_I64, struct staging, v.major, -1, UINT32_MAX),
		UM_FIELD_NUM("minor", UM_F_I64, struct staging, v.minor, -1, UINT32_MAX),
		UM_FIELD("access", UM_F_STR, struct staging, access),
	};
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), &s);

	if (r < 0)
		return r;
	if (strlen(s.type) > 1 || (*s.type && !strchr("abcu", *s.type)))
		return um_decode_bad(d, "type must be a, b, c or u");
	s.v.type = *s.type == 'u' ? 'c' : *s.type ? *s.type : 'a';
	if (s.access[strspn(s.access, "rwm")] || strlen(s.access) > 3)
		return um_decode_bad(d, "access must be made of r, w and m");
	if (!*s.access)
		s.access = "rwm";
	s.v.read = strchr(s.access, 'r');
	s.v.write = strchr(s.access, 'w');
	s.v.mknod = strchr(s.access, 'm');
	*(struct um_cgroup_device *)at = s.v;
	return 0;
}

static int decode_device_rules(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct um_cgroup_device *given = NULL, *all;
	struct um_spec *s = base;
	size_t n = 0;
	int r;

	if (node->len > 400)
		return um_decode_bad(d, "more than 400 rules");
	r = um_decode_array(d, node, sizeof(*given), decode_device_rule, &given, &n);
	if (r < 0)
		return r;
	all = um_arena_zalloc(d->arena, (2 * n + 1) * sizeof(*all));
	if (!all)
		return -ENOMEM;
	s->n_device_rules = 0;
	for (size_t i = 0; i < n; i++) {
		struct um_cgroup_device *rule = &all[s->n_device_rules++];

		*rule = given[i];
		if (rule->type != 'a' || (rule->major < 0 && rule->minor < 0))
			continue;
		/* the devices of both kinds with this number */
		rule[1] = rule[0];
		rule[0].type = 'b';
		rule[1].type = 'c';
		s->n_device_rules++;
	}
	if (s->n_device_rules > 400)
		return um_decode_bad(d, "more than 400 rules");
	s->device_rules = all;
	return 0;
}

/* ---- resources ---- */

static int decode_memory(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct staging {
		struct um_cgroup_limits l;
		int64_t kernel;
		bool disable_oom, use_hierarchy, check;
	} s;
	static const struct um_field fields[] = {
		LIMIT_NUM("limit", memory_bytes, -1, INT64_MAX),
		LIMIT_NUM("reservation", memory_reservation_bytes, -1, INT64_MAX),
		LIMIT_NUM("swap", memory_swap_bytes, -1, INT64_MAX),
		LIMIT_NUM("kernelTCP", memory_kernel_tcp_bytes, -1, INT64_MAX),
		LIMIT_NUM("swappiness", memory_swappiness, 0, 200),
		UM_FIELD("disableOOMKiller", UM_F_BOOL, struct staging, disable_oom),
		/* every supported kernel is hierarchical: true changes nothing, false is impossible
		 */
		UM_FIELD("useHierarchy", UM_F_BOOL, struct staging, use_hierarchy),
		UM_FIELD_NUM("kernel", UM_F_I64, struct staging, kernel, -1, INT64_MAX),
		UM_FIELD("checkBeforeUpdate", UM_F_BOOL, struct staging, check),
	};
	struct um_spec *spec = base;
	int r;

	s.l = spec->limits;
	s.kernel = 0;
	s.disable_oom = s.check = false;
	s.use_hierarchy = true;
	r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), &s);
	if (r < 0)
		return r;
	if (!s.use_hierarchy)
		return um_decode_unsupported(d, "useHierarchy: false is not supported");
	if (s.kernel > 0)
		return um_decode_unsupported(d, "kernel: Linux 5.16 took it away");
	/* 0 has always meant "not set" here; docker update sends it for what it leaves alone */
	if (s.l.memory_bytes == 0)
		s.l.memory_bytes = UM_CG_UNSET;
	if (s.l.memory_reservation_bytes == 0)
		s.l.memory_reservation_bytes = UM_CG_UNSET;
	if (s.l.memory_swap_bytes == 0)
		s.l.memory_swap_bytes = UM_CG_UNSET;
	if (s.l.memory_kernel_tcp_bytes == 0)
		s.l.memory_kernel_tcp_bytes = UM_CG_UNSET;
	s.l.memory_disable_oom_killer = s.disable_oom;
	s.l.memory_check_before = s.check;
	spec->limits = s.l;
	return 0;
}

static int decode_cpu(struct um_decoder *d, const struct um_json *node, void *base)
{
	static const struct um_field fields[] = {
		LIMIT_NUM("shares", cpu_shares, 0, INT64_MAX),
		LIMIT_NUM("quota", cpu_quota_usec, -1, INT64_MAX),
		LIMIT_NUM("burst", cpu_burst_usec, 0, INT64_MAX),
		LIMIT_NUM("period", cpu_period_usec, 0, INT64_MAX),
		LIMIT_NUM("realtimeRuntime", cpu_rt_runtime_usec, 0, INT64_MAX),
		LIMIT_NUM("realtimePeriod", cpu_rt_period_usec, 0, INT64_MAX),
		UM_FIELD("cpus", UM_F_STR, struct um_cgroup_limits, cpus),
		UM_FIELD("mems", UM_F_STR, struct um_cgroup_limits, mems),
		LIMIT_NUM("idle", cpu_idle, 0, 1),
	};
	struct um_spec *s = base;
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), &s->limits);

	if (r < 0)
		return r;
	if (s->limits.cpu_shares == 0)
		s->limits.cpu_shares = UM_CG_UNSET;
	if (s->limits.cpu_quota_usec == 0)
		s->limits.cpu_quota_usec = UM_CG_UNSET;
	if (s->limits.cpu_period_usec == 0)
		s->limits.cpu_period_usec = UM_CG_UNSET;
	if (s->limits.cpu_rt_runtime_usec == 0)
		s->limits.cpu_rt_runtime_usec = UM_CG_UNSET;
	if (s->limits.cpu_rt_period_usec == 0)
		s->limits.cpu_rt_period_usec = UM_CG_UNSET;
	return 0;
}

static int decode_pids(struct um_decoder *d, const struct um_json *node, void *base)
{
	static const struct um_field fields[] = {
		LIMIT_NUM("limit", pids, -1, INT64_MAX),
	};
	struct um_spec *s = base;

	return um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), &s->limits);
}

void um_spec_settle_pids(struct um_spec *s, const char *oci_version)
{
	if (s->limits.pids != 0)
		return;
	/* 1: for the container's own program, as runc has it since 1.4 */
	s->limits.pids =
		!strncmp(oci_version, "1.", 2) && atoi(oci_version + 2) >= 3 ? 1 : UM_CG_MAX;
}

static int decode_throttle(struct um_decoder *d, const struct um_json *node, void *at)
{
	static const struct um_field fields[] = {
		UM_FIELD_REQ("major", UM_F_U64, struct um_cgroup_throttle, major),
		UM_FIELD_REQ("minor", UM_F_U64, struct um_cgroup_throttle, minor),
		UM_FIELD_REQ("rate", UM_F_U64, struct um_cgroup_throttle, rate),
	};
	return um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), at);
}

static int decode_weight(struct um_decoder *d, const struct um_json *node, void *at)
{
	struct staging {
		struct um_cgroup_weight v;
		int64_t weight, leaf;
	} s = {.weight = UM_CG_UNSET, .leaf = UM_CG_UNSET};
	static const struct um_field fields[] = {
		UM_FIELD_REQ("major", UM_F_U64, struct staging, v.major),
		UM_FIELD_REQ("minor", UM_F_U64, struct staging, v.minor),
		UM_FIELD_NUM("weight", UM_F_I64, struct staging, weight, 0, 1000),
		UM_FIELD_NUM("leafWeight", UM_F_I64, struct staging, leaf, 0, 1000),
	};
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), &s);

	if (r < 0)
		return r;
	if (s.leaf > 0)
		return um_decode_unsupported(d, "leafWeight: Linux 5.0 took it away");
	if (s.weight < 10)
		return um_decode_bad(d, "weight must be 10 to 1000");
	s.v.weight = (uint64_t)s.weight;
	*(struct um_cgroup_weight *)at = s.v;
	return 0;
}

static int decode_weights(struct um_decoder *d, const struct um_json *node, void *limits)
{
	struct um_cgroup_limits *l = limits;
	struct um_cgroup_weight *v;
	int r = um_decode_array(d, node, sizeof(*v), decode_weight, &v, &l->n_io_weights);

	if (r >= 0)
		l->io_weights = v;
	return r;
}

static int decode_block_io(struct um_decoder *d, const struct um_json *node, void *base)
{
	static const struct um_field fields[] = {
		LIMIT_NUM("weight", io_weight, 0, 1000),
		LIMIT_NUM("leafWeight", io_leaf_weight, 0, 1000),
		UM_FIELD_CALL("weightDevice", decode_weights),
	};
	static const char *const lists[] = {"throttleReadBpsDevice", "throttleWriteBpsDevice",
					    "throttleReadIOPSDevice", "throttleWriteIOPSDevice"};
	struct um_spec *s = base;
	struct um_cgroup_throttle *all;
	size_t total = 0;
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), &s->limits);

	if (r < 0)
		return r;
	if (s->limits.io_weight == 0)
		s->limits.io_weight = UM_CG_UNSET;
	if (s->limits.io_leaf_weight == 0)
		s->limits.io_leaf_weight = UM_CG_UNSET;
	for (int k = 0; k < 4; k++) {
		const struct um_json *list = um_json_get(node, lists[k]);

		total += list ? list->len : 0;
	}
	all = um_arena_zalloc(d->arena, (total + 1) * sizeof(*all));
	if (!all)
		return -ENOMEM;
	s->limits.throttles = all;
	for (int k = 0; k < 4; k++) {
		const struct um_json *list = um_json_get(node, lists[k]);
		struct um_cgroup_throttle *part;
		size_t n = 0, mark = um_decode_push(d, lists[k]);

		if (list && list->type != UM_JSON_NULL) {
			r = um_decode_array(d, list, sizeof(*part), decode_throttle, &part, &n);
			if (r < 0)
				return r;
		}
		for (size_t i = 0; i < n; i++) {
			all[s->limits.n_throttles] = part[i];
			all[s->limits.n_throttles++].kind = k;
		}
		um_decode_pop(d, mark);
	}
	return 0;
}

static int decode_hugepage(struct um_decoder *d, const struct um_json *node, void *at)
{
	struct staging {
		const char *size;
		uint64_t limit;
	} s = {0};
	static const struct um_field fields[] = {
		UM_FIELD_REQ("pageSize", UM_F_STR, struct staging, size),
		UM_FIELD_REQ("limit", UM_F_U64, struct staging, limit),
	};
	struct um_cgroup_pair *p = at;
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), &s);

	if (r < 0)
		return r;
	if (!*s.size || s.size[strspn(s.size, "0123456789KMGB")])
		return um_decode_bad(d, "pageSize must look like 2MB");
	p->key = s.size;
	p->value = um_arena_printf(d->arena, "%llu", (unsigned long long)s.limit);
	return p->value ? 0 : -ENOMEM;
}

static int decode_hugepages(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct um_spec *s = base;

	return um_decode_array(d, node, sizeof(struct um_cgroup_pair), decode_hugepage,
			       &s->limits.hugepages, &s->limits.n_hugepages);
}

static int decode_unified(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct um_spec *s = base;
	struct um_spec_pair *pairs;
	struct um_cgroup_pair *out;
	size_t n;
	int r = um_decode_pairs(d, node, &pairs, &n);

	if (r < 0)
		return r;
	out = um_arena_zalloc(d->arena, (n + 1) * sizeof(*out));
	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		out[i] = (struct um_cgroup_pair){pairs[i].key, pairs[i].value};
	s->limits.unified = out;
	s->limits.n_unified = n;
	return 0;
}

static int decode_priority(struct um_decoder *d, const struct um_json *node, void *at)
{
	struct staging {
		const char *name;
		uint32_t priority;
	} s = {0};
	static const struct um_field fields[] = {
		UM_FIELD_REQ("name", UM_F_STR, struct staging, name),
		{.name = "priority",
		 .kind = UM_F_U32,
		 .offset = offsetof(struct staging, priority),
		 .max = UINT32_MAX,
		 .required = true},
	};
	struct um_cgroup_pair *p = at;
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), &s);

	if (r < 0)
		return r;
	if (!*s.name || strlen(s.name) > 15 || strpbrk(s.name, " \t\n/"))
		return um_decode_bad(d, "name is not that of an interface");
	p->key = s.name;
	p->value = um_arena_printf(d->arena, "%u", s.priority);
	return p->value ? 0 : -ENOMEM;
}

static int decode_priorities(struct um_decoder *d, const struct um_json *node, void *limits)
{
	struct um_cgroup_limits *l = limits;
	struct um_cgroup_pair *v;
	int r = um_decode_array(d, node, sizeof(*v), decode_priority, &v, &l->n_net_priorities);

	if (r >= 0)
		l->net_priorities = v;
	return r;
}

static int decode_network(struct um_decoder *d, const struct um_json *node, void *base)
{
	static const struct um_field fields[] = {
		LIMIT_NUM("classID", net_class_id, 0, UINT32_MAX),
		UM_FIELD_CALL("priorities", decode_priorities),
	};
	struct um_spec *s = base;

	return um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), &s->limits);
}

int um_decode_resources(struct um_decoder *d, const struct um_json *node, void *spec)
{
	static const struct um_field fields[] = {
		UM_FIELD_CALL("devices", decode_device_rules),
		UM_FIELD_CALL("memory", decode_memory),
		UM_FIELD_CALL("cpu", decode_cpu),
		UM_FIELD_CALL("pids", decode_pids),
		UM_FIELD_CALL("blockIO", decode_block_io),
		UM_FIELD_CALL("hugepageLimits", decode_hugepages),
		UM_FIELD_CALL("unified", decode_unified),
		UM_FIELD_CALL("network", decode_network),
		UM_FIELD_REFUSED("rdma"),
	};

	return um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), spec);
}
