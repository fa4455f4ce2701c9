/* Control groups, one interface over cgroup v2, v1 and hybrid hosts.
 *
 * um_cgroups_open() finds the hierarchies of this host; um_cgroup_create() makes one group (a
 * directory in each hierarchy that is needed) and keeps a directory fd for each, through which
 * everything else is done. On a hybrid host the group also exists in the v2 tree, which then serves
 * clone3(CLONE_INTO_CGROUP), cgroup.kill and cgroup.freeze, while v1 carries the controllers.
 *
 * Joining a v1 group from outside (a write to cgroup.procs) waits for an RCU grace period, about
 * 10 ms; a thread that writes "0" to `tasks` itself does not. So a new process is cloned into the
 * v2 group and calls um_cgroup_join_self() for the rest.
 *
 * Nothing is kept open on failure. All calls block for a short, bounded time. */
#ifndef UM_CGROUPS_CGROUPS_H
#define UM_CGROUPS_CGROUPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

enum um_cgroup_controller {
	UM_CG_CPU,
	UM_CG_CPUACCT,
	UM_CG_CPUSET,
	UM_CG_MEMORY,
	UM_CG_PIDS,
	UM_CG_DEVICES,
	UM_CG_FREEZER,
	UM_CG_IO, /* blkio in v1 */
	UM_CG_HUGETLB,
	UM_CG_NET_CLS,
	UM_CG_NET_PRIO,
	UM_CG_PERF_EVENT,
	UM_CG_RDMA,
	UM_CG_MISC,
	UM_CG_N_CONTROLLERS
};

enum um_cgroup_mode { UM_CGROUP_NONE, UM_CGROUP_V1, UM_CGROUP_HYBRID, UM_CGROUP_V2 };

#define UM_CGROUP_MAX_HIERARCHIES 20

struct um_cgroup_hierarchy {
	int mount_fd;	      /* the mount point, O_PATH */
	char *mount_point;    /* owned */
	char *name;	      /* "memory", "cpu,cpuacct", "name=systemd"; "" for v2; owned */
	uint32_t controllers; /* bits 1 << UM_CG_*; for v2 those that its root offers */
	bool v2;
};

struct um_cgroups {
	enum um_cgroup_mode mode;
	size_t n;
	struct um_cgroup_hierarchy h[UM_CGROUP_MAX_HIERARCHIES];
};

/* Reads /proc/self/mountinfo. 0, -ENOENT (no hierarchy is mounted), -ENOMEM, others of open(2). */
um_must_check int um_cgroups_open(struct um_cgroups **ret, struct um_error *err);
/* The same from text in mountinfo's form; mount points are not opened when @open_mounts is false.
 */
um_must_check int um_cgroups_parse(const char *mountinfo, bool open_mounts, struct um_cgroups **ret,
				   struct um_error *err);
void um_cgroups_free(struct um_cgroups *h);
UM_DEFINE_CLEANUP(struct um_cgroups, um_cgroups_free)

const char *um_cgroup_controller_name(enum um_cgroup_controller c, bool v2);

/* A group: @fds[i] is its directory in hierarchy i, -1 where it does not exist. */
struct um_cgroup {
	const struct um_cgroups *host; /* borrowed; outlives the group */
	char *path;		       /* "/umiak/pods/...", owned */
	int fds[UM_CGROUP_MAX_HIERARCHIES];
	int join_fds[UM_CGROUP_MAX_HIERARCHIES]; /* `tasks` of v1, see um_cgroup_prepare_join() */
};

/* 0 or -EINVAL: absolute or relative to the root of the hierarchies, without "." and "..". */
um_must_check int um_cgroup_check_path(const char *path, struct um_error *err);

/* Makes @path and its parents. The optional hierarchies (name=systemd and others without limits
 * of ours) are used too, so that nothing escapes a parent's limits. With @ret_created the caller
 * learns whether the leaf is new in the first hierarchy.
 * In v2 controllers are enabled from the root down to the parent. */
um_must_check int um_cgroup_create(const struct um_cgroups *host, const char *path,
				   struct um_cgroup **ret, bool *ret_created, struct um_error *err);
/* An existing group; -ENOENT when no hierarchy has it. */
um_must_check int um_cgroup_open(const struct um_cgroups *host, const char *path,
				 struct um_cgroup **ret, struct um_error *err);
void um_cgroup_free(struct um_cgroup *cg); /* closes; removes nothing */
UM_DEFINE_CLEANUP(struct um_cgroup, um_cgroup_free)

/* The v2 directory for CLONE_INTO_CGROUP (borrowed), or -1. */
int um_cgroup_clone_fd(const struct um_cgroup *cg);
/* Opens what um_cgroup_join_self() writes to: call it before clone. */
um_must_check int um_cgroup_prepare_join(struct um_cgroup *cg, struct um_error *err);
/* Moves the calling (single) thread into the v1 groups, and into v2 too unless @in_v2 says it was
 * cloned there. Async-signal-safe: writes only. Returns 0 or the errno of a write. */
um_must_check int um_cgroup_join_self(const struct um_cgroup *cg, bool in_v2);

#define UM_CG_UNSET INT64_MIN
#define UM_CG_MAX INT64_C(-1) /* no limit, in limits of type int64_t */

struct um_cgroup_pair { /* "hugepageLimits", "unified" */
	const char *key, *value;
};

struct um_cgroup_throttle {
	uint64_t major, minor, rate;
	int kind; /* 0 read bps, 1 write bps, 2 read iops, 3 write iops */
};

struct um_cgroup_weight { /* of one block device, 10..1000 */
	uint64_t major, minor, weight;
};

/* linux.resources of the OCI runtime specification. Strings are borrowed. */
struct um_cgroup_limits {
	int64_t cpu_shares;	/* v1 scale, 2..262144 */
	int64_t cpu_quota_usec; /* UM_CG_MAX: none */
	int64_t cpu_period_usec;
	int64_t cpu_burst_usec;
	int64_t cpu_idle;
	int64_t cpu_rt_runtime_usec, cpu_rt_period_usec; /* v1 only */
	const char *cpus, *mems;
	int64_t memory_bytes, memory_reservation_bytes;
	int64_t memory_swap_bytes;	   /* memory and swap together, as in v1 */
	int64_t memory_kernel_tcp_bytes;   /* v1 only */
	int64_t memory_swappiness;	   /* v1 only */
	int64_t memory_disable_oom_killer; /* 1: v1 only */
	int64_t memory_check_before;	   /* 1: refuse a limit below what is used already */
	int64_t pids;
	int64_t io_weight, io_leaf_weight;
	const struct um_cgroup_weight *io_weights;
	size_t n_io_weights;
	const struct um_cgroup_throttle *throttles;
	size_t n_throttles;
	const struct um_cgroup_pair *hugepages; /* "2MB" -> bytes */
	size_t n_hugepages;
	const struct um_cgroup_pair *unified; /* v2 files */
	size_t n_unified;
	int64_t net_class_id;			     /* v1 only */
	const struct um_cgroup_pair *net_priorities; /* interface -> priority; v1 only */
	size_t n_net_priorities;
};
void um_cgroup_limits_init(struct um_cgroup_limits *l);
/* Writes the limits that are set. A limit that cannot be enforced is -EOPNOTSUPP with the
 * controller's name. */
um_must_check int um_cgroup_apply(const struct um_cgroup *cg, const struct um_cgroup_limits *l,
				  struct um_error *err);

/* Conversions, as crun makes them. */
uint64_t um_cgroup_weight_of_shares(uint64_t shares);	/* 2..262144 -> 1..10000; 1024 -> 100 */
uint64_t um_cgroup_io_weight_of_blkio(uint64_t weight); /* 10..1000 -> 1..10000 */
/* memory.swap.max for a v1 style sum. 0, -EINVAL (less than the limit, or no limit to subtract). */
um_must_check int um_cgroup_swap_v2(int64_t memory_bytes, int64_t sum_bytes, int64_t *ret);

struct um_cgroup_device {
	bool allow;
	char type;	      /* 'a', 'b', 'c' */
	int64_t major, minor; /* -1: any */
	bool read, write, mknod;
};
/* Replaces the group's device rules; the last rule that matches a device decides, no rule means
 * denied. v1: devices.deny/allow; v2: a BPF program (needs CAP_BPF or CAP_SYS_ADMIN). */
um_must_check int um_cgroup_devices(const struct um_cgroup *cg,
				    const struct um_cgroup_device *rules, size_t n,
				    struct um_error *err);

struct um_cgroup_usage {
	uint64_t cpu_usec;
	uint64_t memory_bytes, memory_peak_bytes, memory_inactive_file_bytes;
	uint64_t pids;
	uint64_t oom_kills;
	uint32_t known; /* bits 1 << UM_CG_*: which controllers answered */
};
um_must_check int um_cgroup_account(const struct um_cgroup *cg, struct um_cgroup_usage *ret,
				    struct um_error *err);

/* Every process of the group and the groups beneath. *ret is free()d by the caller. */
um_must_check int um_cgroup_pids(const struct um_cgroup *cg, pid_t **ret, size_t *ret_n,
				 struct um_error *err);

/* Waits (bounded: 10 s) until the group is frozen or thawed. */
um_must_check int um_cgroup_freeze(const struct um_cgroup *cg, bool freeze, struct um_error *err);
um_must_check int um_cgroup_is_frozen(const struct um_cgroup *cg, bool *ret, struct um_error *err);
/* SIGKILL to everything inside, also what forks meanwhile. Does not wait for the processes' end. */
um_must_check int um_cgroup_kill(const struct um_cgroup *cg, struct um_error *err);
/* Another signal to each process once. */
um_must_check int um_cgroup_signal(const struct um_cgroup *cg, int sig, struct um_error *err);

/* OOM notices: poll the fd for reading, then call _read(), which returns how many kills the group
 * has seen so far. */
struct um_cgroup_oom {
	int fd;	     /* inotify or eventfd; owned, um_cgroup_oom_close() */
	int file_fd; /* memory.events or memory.oom_control */
	bool v2;
};
um_must_check int um_cgroup_oom_open(const struct um_cgroup *cg, struct um_cgroup_oom *ret,
				     struct um_error *err);
um_must_check int um_cgroup_oom_read(struct um_cgroup_oom *o, uint64_t *ret_kills);
void um_cgroup_oom_close(struct um_cgroup_oom *o);

/* Removes the group and all beneath it in every hierarchy. Dying processes make it wait, 5 s at
 * most: then -EBUSY. A missing group is success. */
um_must_check int um_cgroup_remove(const struct um_cgroups *host, const char *path,
				   struct um_error *err);

#endif
