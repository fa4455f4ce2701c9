/* Lists of CPUs: "0-3,7". */
#include "runtime/affinity.h"

#include <string.h>

#include "base/num.h"
#include "runtime/sys.h"

int um_affinity_parse(const char *list, cpu_set_t *ret)
{
	CPU_ZERO(ret);
	for (const char *p = list;; p++) {
		size_t len = strcspn(p, ","), first = strcspn(p, "-,");
		uint64_t low, high;

		if (um_num_u64n(p, first, CPU_SETSIZE - 1, &low) < 0)
			return -EINVAL;
		high = low;
		if (first < len &&
		    (um_num_u64n(p + first + 1, len - first - 1, CPU_SETSIZE - 1, &high) < 0 ||
		     high < low))
			return -EINVAL;
		for (; low <= high; low++)
			CPU_SET(low, ret);
		p += len;
		if (!*p)
			return 0;
	}
}

void um_affinity_reset(void)
{
	unsigned char all[1024];

	memset(all, 0xff, sizeof(all));
	um_why("all CPUs of its cgroup: not the caller's, if that has been given fewer");
	(void)!um_sys_sched_setaffinity(0, sizeof(all), (const cpu_set_t *)all);
}

int um_affinity_set(const char *list, const char *field, struct um_error *err)
{
	cpu_set_t set;
	int r;

	if (!list)
		return 0;
	um_why("process.execCPUAffinity.%s", field);
	r = um_affinity_parse(list, &set);
	if (r >= 0 && um_sys_sched_setaffinity(0, sizeof(set), &set) < 0)
		r = -errno;
	return r < 0 ? um_error_errno(err, r, "process.execCPUAffinity.%s %s", field, list) : 0;
}
