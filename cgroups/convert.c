#include "cgroups/cgroups.h"

#include <math.h>

void um_cgroup_limits_init(struct um_cgroup_limits *l)
{
	*l = (struct um_cgroup_limits){
		.cpu_shares = UM_CG_UNSET,
		.net_class_id = UM_CG_UNSET,
		.cpu_quota_usec = UM_CG_UNSET,
		.cpu_period_usec = UM_CG_UNSET,
		.cpu_burst_usec = UM_CG_UNSET,
		.cpu_idle = UM_CG_UNSET,
		.cpu_rt_runtime_usec = UM_CG_UNSET,
		.cpu_rt_period_usec = UM_CG_UNSET,
		.memory_bytes = UM_CG_UNSET,
		.memory_reservation_bytes = UM_CG_UNSET,
		.memory_swap_bytes = UM_CG_UNSET,
		.memory_kernel_tcp_bytes = UM_CG_UNSET,
		.memory_swappiness = UM_CG_UNSET,
		.memory_disable_oom_killer = UM_CG_UNSET,
		.pids = UM_CG_UNSET,
		.io_weight = UM_CG_UNSET,
		.io_leaf_weight = UM_CG_UNSET,
	};
}

/* The quadratic fit through (2, 1), (1024, 100) and (262144, 10000) on logarithmic scales. */
uint64_t um_cgroup_weight_of_shares(uint64_t shares)
{
	double l, e;

	if (shares <= 2)
		return 1;
	if (shares >= 262144)
		return 10000;
	l = log2((double)shares);
	e = (l * l + 125 * l) / 612 - 7.0 / 34;
	return (uint64_t)ceil(pow(10, e) - 1e-9);
}

uint64_t um_cgroup_io_weight_of_blkio(uint64_t weight)
{
	if (weight <= 10)
		return 1;
	if (weight >= 1000)
		return 10000;
	return 1 + (weight - 10) * 9999 / 990;
}

int um_cgroup_swap_v2(int64_t memory_bytes, int64_t sum_bytes, int64_t *ret)
{
	if (sum_bytes == UM_CG_MAX) {
		*ret = UM_CG_MAX;
		return 0;
	}
	if (memory_bytes < 0 || sum_bytes < memory_bytes)
		return -EINVAL;
	*ret = sum_bytes - memory_bytes;
	return 0;
}
