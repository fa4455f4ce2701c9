/* Limits: one table row for each plain value, a function for what needs thought. */
#include "cgroups/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"

/* Where controller @c's files of this group are; -EOPNOTSUPP, naming it, where they are not. */
static int where(const struct um_cgroup *cg, enum um_cgroup_controller c, const char *what,
		 int *ret_fd, bool *ret_v2, struct um_error *err)
{
	int i = um_cgroup_find(cg->host, c);

	if (i < 0 || cg->fds[i] < 0)
		return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
					   "%s: this host has no cgroup controller %s", what,
					   um_cgroup_controller_name(c, false));
	*ret_fd = cg->fds[i];
	*ret_v2 = cg->host->h[i].v2;
	return 0;
}

static int put(const struct um_cgroup *cg, enum um_cgroup_controller c, int fd, const char *file,
	       const char *value, struct um_error *err)
{
	int r = um_io_write_value(fd, file, value);

	if (r == -ENOENT)
		return um_error_set_reason(
			err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
			"cgroup controller %s: no %s in %s (not enabled or not in this kernel)",
			um_cgroup_controller_name(c, false), file, cg->path);
	if (r < 0)
		return um_error_errno(err, r, "cgroup controller %s: write %s to %s of %s",
				      um_cgroup_controller_name(c, false), value, file, cg->path);
	return 0;
}

struct value_file {
	enum um_cgroup_controller c;
	const char *what;
	const char *v1, *v2; /* NULL: not there */
	int64_t value;
};

/* UM_CG_MAX is "-1" in v1 and "max" in v2. */
static int put_value(const struct um_cgroup *cg, const struct value_file *f, struct um_error *err)
{
	const char *file;
	char text[32];
	bool v2;
	int fd, r;

	if (f->value == UM_CG_UNSET)
		return 0;
	r = where(cg, f->c, f->what, &fd, &v2, err);
	if (r < 0)
		return r;
	file = v2 ? f->v2 : f->v1;
	if (!file)
		return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
					   "%s: cgroup controller %s has no such limit in %s",
					   f->what, um_cgroup_controller_name(f->c, v2),
					   v2 ? "v2" : "v1");
	if (f->value == UM_CG_MAX && (v2 || f->c == UM_CG_PIDS))
		snprintf(text, sizeof(text), "max");
	else
		snprintf(text, sizeof(text), "%" PRId64, f->value);
	return put(cg, f->c, fd, file, text, err);
}

static int put_values(const struct um_cgroup *cg, const struct value_file *f, size_t n,
		      struct um_error *err)
{
	for (size_t i = 0; i < n; i++) {
		int r = put_value(cg, &f[i], err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* A period that is too short for the quota in force, or for the parent's, is refused: then the new
 * quota comes first. */
static int put_period_and_quota(const struct um_cgroup *cg, const struct value_file *period,
				const struct value_file *quota, struct um_error *err)
{
	struct um_error own = UM_ERROR_INIT;
	int r = put_value(cg, period, &own);

	if (r >= 0)
		return put_value(cg, quota, err);
	if (r != -EINVAL || quota->value == UM_CG_UNSET)
		return um_error_move(err, &own);
	r = put_value(cg, quota, err);
	return r < 0 ? r : put_value(cg, period, err);
}

static int apply_cpu_v2(const struct um_cgroup *cg, int fd, const struct um_cgroup_limits *l,
			struct um_error *err)
{
	char text[64], quota[32] = "max";
	int r = 0;

	if (l->cpu_shares != UM_CG_UNSET) {
		snprintf(text, sizeof(text), "%" PRIu64,
			 um_cgroup_weight_of_shares((uint64_t)l->cpu_shares));
		r = put(cg, UM_CG_CPU, fd, "cpu.weight", text, err);
	}
	if (r < 0 || (l->cpu_quota_usec == UM_CG_UNSET && l->cpu_period_usec == UM_CG_UNSET))
		return r;
	if (l->cpu_quota_usec == UM_CG_UNSET) {
		/* keep the quota that is there */
		r = um_cgroup_read(fd, "cpu.max", quota, sizeof(quota));
		if (r >= 0)
			quota[strcspn(quota, " \n")] = '\0';
		else
			snprintf(quota, sizeof(quota), "max");
	} else if (l->cpu_quota_usec > 0) {
		snprintf(quota, sizeof(quota), "%" PRId64, l->cpu_quota_usec);
	}
	if (l->cpu_period_usec == UM_CG_UNSET)
		snprintf(text, sizeof(text), "%s", quota);
	else
		snprintf(text, sizeof(text), "%s %" PRId64, quota, l->cpu_period_usec);
	return put(cg, UM_CG_CPU, fd, "cpu.max", text, err);
}

static int apply_cpu(const struct um_cgroup *cg, const struct um_cgroup_limits *l,
		     struct um_error *err)
{
	const struct value_file v1[] = {
		{UM_CG_CPU, "cpu.period", "cpu.cfs_period_us", NULL, l->cpu_period_usec},
		{UM_CG_CPU, "cpu.quota", "cpu.cfs_quota_us", NULL, l->cpu_quota_usec},
	};
	const struct value_file shares = {UM_CG_CPU, "cpu.shares", "cpu.shares", NULL,
					  l->cpu_shares};
	const struct value_file both[] = {
		{UM_CG_CPU, "cpu.burst", "cpu.cfs_burst_us", "cpu.max.burst", l->cpu_burst_usec},
		{UM_CG_CPU, "cpu.idle", "cpu.idle", "cpu.idle", l->cpu_idle},
	};
	const struct value_file rt[] = {
		{UM_CG_CPU, "cpu.realtimePeriod", "cpu.rt_period_us", NULL, l->cpu_rt_period_usec},
		{UM_CG_CPU, "cpu.realtimeRuntime", "cpu.rt_runtime_us", NULL,
		 l->cpu_rt_runtime_usec},
	};
	bool v2 = false;
	int fd, r;

	if (l->cpu_shares != UM_CG_UNSET || l->cpu_period_usec != UM_CG_UNSET ||
	    l->cpu_quota_usec != UM_CG_UNSET) {
		r = where(cg, UM_CG_CPU, "cpu", &fd, &v2, err);
		if (r < 0)
			return r;
		if (v2) {
			r = apply_cpu_v2(cg, fd, l, err);
		} else {
			r = put_value(cg, &shares, err);
			if (r >= 0)
				r = put_period_and_quota(cg, &v1[0], &v1[1], err);
		}
		if (r < 0)
			return r;
	}
	r = put_values(cg, both, UM_ARRAY_LEN(both), err);
	return r < 0 ? r : put_period_and_quota(cg, &rt[0], &rt[1], err);
}

static int apply_cpuset(const struct um_cgroup *cg, const struct um_cgroup_limits *l,
			struct um_error *err)
{
	const struct {
		const char *file, *value;
	} files[] = {{"cpuset.cpus", l->cpus}, {"cpuset.mems", l->mems}};

	for (size_t i = 0; i < UM_ARRAY_LEN(files); i++) {
		bool v2;
		int fd, r;

		if (!files[i].value || !*files[i].value)
			continue;
		r = where(cg, UM_CG_CPUSET, files[i].file, &fd, &v2, err);
		if (r < 0)
			return r;
		r = put(cg, UM_CG_CPUSET, fd, files[i].file, files[i].value, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* v1 keeps limit <= memory+swap at every moment: the order depends on the direction. */
static int apply_memory_v1(const struct um_cgroup *cg, int fd, const struct um_cgroup_limits *l,
			   struct um_error *err)
{
	struct value_file limit = {UM_CG_MEMORY, "memory.limit", "memory.limit_in_bytes", NULL,
				   l->memory_bytes};
	struct value_file swap = {UM_CG_MEMORY, "memory.swap", "memory.memsw.limit_in_bytes", NULL,
				  l->memory_swap_bytes};
	uint64_t now = 0;
	bool swap_first;
	int r;

	if (l->memory_swap_bytes == UM_CG_UNSET)
		return put_value(cg, &limit, err);
	swap_first = um_cgroup_read_u64(fd, "memory.memsw.limit_in_bytes", &now) >= 0 &&
		     (l->memory_swap_bytes == UM_CG_MAX || (uint64_t)l->memory_swap_bytes > now);
	r = put_value(cg, swap_first ? &swap : &limit, err);
	if (r < 0)
		return r;
	return put_value(cg, swap_first ? &limit : &swap, err);
}

/* v1 refuses such a limit itself, after it has tried to make room. */
static int check_memory(int fd, const struct um_cgroup_limits *l, struct um_error *err)
{
	uint64_t now;

	if (l->memory_check_before <= 0 || l->memory_bytes <= 0 ||
	    um_cgroup_read_u64(fd, "memory.current", &now) < 0 || now <= (uint64_t)l->memory_bytes)
		return 0;
	return um_error_set(err, -EBUSY,
			    "memory.limit: rejecting memory limit: %" PRIu64
			    " bytes are used already "
			    "(checkBeforeUpdate)",
			    now);
}

static int apply_memory(const struct um_cgroup *cg, const struct um_cgroup_limits *l,
			struct um_error *err)
{
	const struct value_file more[] = {
		{UM_CG_MEMORY, "memory.reservation", "memory.soft_limit_in_bytes", "memory.low",
		 l->memory_reservation_bytes},
		{UM_CG_MEMORY, "memory.kernelTCP", "memory.kmem.tcp.limit_in_bytes", NULL,
		 l->memory_kernel_tcp_bytes},
		{UM_CG_MEMORY, "memory.swappiness", "memory.swappiness", NULL,
		 l->memory_swappiness},
		{UM_CG_MEMORY, "memory.disableOOMKiller", "memory.oom_control", NULL,
		 l->memory_disable_oom_killer == 0 ? UM_CG_UNSET : l->memory_disable_oom_killer},
	};
	struct value_file v2_limits[] = {
		{UM_CG_MEMORY, "memory.limit", NULL, "memory.max", l->memory_bytes},
		{UM_CG_MEMORY, "memory.swap", NULL, "memory.swap.max", UM_CG_UNSET},
	};
	bool v2 = false;
	int fd, r;

	if (l->memory_bytes != UM_CG_UNSET || l->memory_swap_bytes != UM_CG_UNSET) {
		r = where(cg, UM_CG_MEMORY, "memory.limit", &fd, &v2, err);
		if (r < 0)
			return r;
		if (v2 && l->memory_swap_bytes != UM_CG_UNSET &&
		    um_cgroup_swap_v2(l->memory_bytes, l->memory_swap_bytes, &v2_limits[1].value) <
			    0)
			return um_error_set(err, -EINVAL,
					    "memory.swap: less than memory.limit, or no limit set");
		r = v2 ? check_memory(fd, l, err) : 0;
		if (r < 0)
			return r;
		r = v2 ? put_values(cg, v2_limits, UM_ARRAY_LEN(v2_limits), err)
		       : apply_memory_v1(cg, fd, l, err);
		if (r < 0)
			return r;
	}
	return put_values(cg, more, UM_ARRAY_LEN(more), err);
}

/* @device: "8:0 ", or "" for all. Weights are the I/O scheduler's. bfq's files have names of their
 * own and its scale is the specification's; other files come with cfq, and with v2's cost model. */
static int put_weight(const struct um_cgroup *cg, int fd, bool v2, const char *device,
		      uint64_t weight, struct um_error *err)
{
	const char *bfq = v2	    ? "io.bfq.weight"
			  : *device ? "blkio.bfq.weight_device"
				    : "blkio.bfq.weight";
	const char *file = v2 ? "io.weight" : *device ? "blkio.weight_device" : "blkio.weight";
	bool has_bfq = faccessat(fd, bfq, F_OK, 0) == 0;
	char text[96];

	if (has_bfq && (v2 || faccessat(fd, file, F_OK, 0) < 0))
		file = bfq;
	else if (v2)
		weight = um_cgroup_io_weight_of_blkio(weight);
	snprintf(text, sizeof(text), "%s%" PRIu64, device, weight);
	return put(cg, UM_CG_IO, fd, file, text, err);
}

static int apply_io_weights(const struct um_cgroup *cg, int fd, bool v2,
			    const struct um_cgroup_limits *l, struct um_error *err)
{
	for (size_t i = 0; i < l->n_io_weights; i++) {
		const struct um_cgroup_weight *w = &l->io_weights[i];
		char device[48];
		int r;

		snprintf(device, sizeof(device), "%" PRIu64 ":%" PRIu64 " ", w->major, w->minor);
		r = put_weight(cg, fd, v2, device, w->weight, err);
		if (r < 0)
			return um_error_wrap(err, r, "blockIO.weightDevice");
	}
	return 0;
}

static int apply_io(const struct um_cgroup *cg, const struct um_cgroup_limits *l,
		    struct um_error *err)
{
	static const char *const v1_files[] = {
		"blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device",
		"blkio.throttle.read_iops_device", "blkio.throttle.write_iops_device"};
	static const char *const v2_keys[] = {"rbps", "wbps", "riops", "wiops"};
	char text[96];
	bool v2 = false;
	int fd = -1, r;

	if (l->io_weight != UM_CG_UNSET || l->io_leaf_weight != UM_CG_UNSET || l->n_throttles ||
	    l->n_io_weights) {
		r = where(cg, UM_CG_IO, "blockIO", &fd, &v2, err);
		if (r < 0)
			return r;
	}
	if (l->io_leaf_weight != UM_CG_UNSET)
		return um_error_set_reason(
			err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
			"blockIO.leafWeight: controller blkio lost it in Linux 5.0");
	if (l->io_weight != UM_CG_UNSET) {
		r = put_weight(cg, fd, v2, "", (uint64_t)l->io_weight, err);
		if (r < 0)
			return um_error_wrap(err, r, "blockIO.weight");
	}
	r = apply_io_weights(cg, fd, v2, l, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < l->n_throttles; i++) {
		const struct um_cgroup_throttle *t = &l->throttles[i];

		if (v2)
			snprintf(text, sizeof(text), "%" PRIu64 ":%" PRIu64 " %s=%" PRIu64,
				 t->major, t->minor, v2_keys[t->kind], t->rate);
		else
			snprintf(text, sizeof(text), "%" PRIu64 ":%" PRIu64 " %" PRIu64, t->major,
				 t->minor, t->rate);
		r = put(cg, UM_CG_IO, fd, v2 ? "io.max" : v1_files[t->kind], text, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int apply_files(const struct um_cgroup *cg, const struct um_cgroup_limits *l,
		       struct um_error *err)
{
	int v2 = um_cgroup_find_v2(cg->host), fd, r;
	bool is_v2;
	char file[96];

	for (size_t i = 0; i < l->n_hugepages; i++) {
		r = where(cg, UM_CG_HUGETLB, "hugepageLimits", &fd, &is_v2, err);
		if (r < 0)
			return r;
		/* pages that are reserved count as pages that are used; Linux 5.7 */
		snprintf(file, sizeof(file), "hugetlb.%s.rsvd.%s", l->hugepages[i].key,
			 is_v2 ? "max" : "limit_in_bytes");
		if (faccessat(fd, file, F_OK, 0) == 0) {
			r = put(cg, UM_CG_HUGETLB, fd, file, l->hugepages[i].value, err);
			if (r < 0)
				return r;
		}
		if (snprintf(file, sizeof(file), "hugetlb.%s.%s", l->hugepages[i].key,
			     is_v2 ? "max" : "limit_in_bytes") >= (int)sizeof(file))
			return um_error_set(err, -EINVAL, "hugepageLimits: pageSize is too long");
		r = put(cg, UM_CG_HUGETLB, fd, file, l->hugepages[i].value, err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < l->n_unified; i++) {
		const char *key = l->unified[i].key;
		size_t dot = strcspn(key, ".");

		if (strchr(key, '/') || !strncmp(key, "cgroup.", 7) || !*key)
			return um_error_set(err, -EINVAL, "unified: \"%s\" is not allowed", key);
		if (v2 < 0)
			return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
						   "unified: this host has no cgroup v2");
		if (!dot || !key[dot] || !key[dot + 1])
			return um_error_set(err, -EINVAL,
					    "unified: \"%s\" is not of the form CONTROLLER.FILE",
					    key);
		r = um_io_write_value(cg->fds[v2], key, l->unified[i].value);
		if (r == -ENOENT)
			return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
						   "unified: there is no \"%s\" in cgroup %s: "
						   "cgroup controller %.*s is not enabled, or has "
						   "no such file",
						   key, cg->path, (int)dot, key);
		if (r < 0)
			return um_error_errno(err, r, "unified: write \"%s\" of cgroup %s", key,
					      cg->path);
	}
	return 0;
}

/* v2 has neither; there, BPF programs and the firewall match cgroups. */
static int apply_network(const struct um_cgroup *cg, const struct um_cgroup_limits *l,
			 struct um_error *err)
{
	const struct value_file class = {UM_CG_NET_CLS, "network.classID", "net_cls.classid", NULL,
					 l->net_class_id};
	char text[64];
	int r = put_value(cg, &class, err);

	for (size_t i = 0; r >= 0 && i < l->n_net_priorities; i++) {
		const struct um_cgroup_pair *p = &l->net_priorities[i];
		bool v2;
		int fd;

		r = where(cg, UM_CG_NET_PRIO, "network.priorities", &fd, &v2, err);
		if (r < 0)
			return r;
		if (snprintf(text, sizeof(text), "%s %s", p->key, p->value) >= (int)sizeof(text))
			return um_error_set(err, -EINVAL, "network.priorities: name is too long");
		r = put(cg, UM_CG_NET_PRIO, fd, "net_prio.ifpriomap", text, err);
		if (r < 0)
			return um_error_wrap(err, r, "network.priorities[%zu]", i);
	}
	return r;
}

int um_cgroup_apply(const struct um_cgroup *cg, const struct um_cgroup_limits *l,
		    struct um_error *err)
{
	const struct value_file pids = {UM_CG_PIDS, "pids.limit", "pids.max", "pids.max", l->pids};
	int r;

	r = apply_cpu(cg, l, err);
	if (r >= 0)
		r = apply_cpuset(cg, l, err);
	if (r >= 0)
		r = apply_memory(cg, l, err);
	if (r >= 0)
		r = put_value(cg, &pids, err);
	if (r >= 0)
		r = apply_io(cg, l, err);
	if (r >= 0)
		r = apply_files(cg, l, err);
	if (r >= 0)
		r = apply_network(cg, l, err);
	return r;
}
