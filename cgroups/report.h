/* What a group's controllers count, as JSON. */
#ifndef UM_CGROUPS_REPORT_H
#define UM_CGROUPS_REPORT_H

#include "base/json.h"
#include "cgroups/cgroups.h"

/* An object with cpu, memory, pids, blkio and hugetlb, in the form that engines know from `events`:
 * times in nanoseconds, sizes in bytes, UINT64_MAX for "max". What this host does not count is left
 * out. The tree lives in @a. 0 or -ENOMEM. */
um_must_check int um_cgroup_report(const struct um_cgroup *cg, struct um_arena *a,
				   struct um_json **ret, struct um_error *err);

#endif
