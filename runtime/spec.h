/* config.json of the OCI runtime specification (1.x, Linux), as typed structs.
 *
 * The parser walks tables: one row for each field of the specification. A field is used, or
 * refused by name, or stands in the list of those that need no action; names that the
 * specification does not know are ignored, as it demands. Everything lives in the caller's arena.
 */
#ifndef UM_RUNTIME_SPEC_H
#define UM_RUNTIME_SPEC_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/json.h"
#include "cgroups/cgroups.h"

#define UM_SPEC_MAX_BYTES (4u << 20)
#define UM_SPEC_VERSION "1.3.0"

struct um_strv {
	char **v; /* NULL-terminated; NULL when absent */
	size_t n;
};

struct um_spec_idmap {
	uint32_t container_id, host_id, size;
};

/* Symbolic links at the ends of a bind mount, as crun has it. */
enum {
	UM_LINK_COPY = 1,	 /* a source that is one is made anew, not mounted */
	UM_LINK_SOURCE = 2,	 /* the link itself is mounted */
	UM_LINK_DESTINATION = 4, /* it is mounted over the link itself */
};

struct um_spec_mount {
	const char *destination, *type, *source;
	/* from the options: MOUNT_ATTR_*, for this mount and for all beneath it */
	uint64_t attr_set, attr_clr, rec_attr_set, rec_attr_clr;
	uint64_t propagation, rec_propagation; /* MS_SHARED ... or 0 */
	bool bind, recursive, remount, read_only, tmpcopyup, iversion;
	bool idmap, idmap_recursive;
	unsigned links;				 /* UM_LINK_* */
	struct um_spec_idmap *uid_map, *gid_map; /* with idmap; absent: the user namespace's */
	size_t n_uid_map, n_gid_map;
	struct um_strv data; /* for the file system */
};

enum um_cap_set {
	UM_CAP_EFFECTIVE,
	UM_CAP_BOUNDING,
	UM_CAP_INHERITABLE,
	UM_CAP_PERMITTED,
	UM_CAP_AMBIENT,
	UM_CAP_N_SETS
};

struct um_spec_rlimit {
	int resource;
	const char *name; /* "RLIMIT_NOFILE" */
	uint64_t soft, hard;
};

struct um_spec_process {
	bool terminal;
	uint32_t console_height, console_width;
	uint32_t uid, gid;
	int64_t umask; /* -1: unset */
	uint32_t *additional_gids;
	size_t n_additional_gids;
	struct um_strv args, env;
	const char *cwd;
	bool has_caps;
	uint64_t caps[UM_CAP_N_SETS];
	struct um_spec_rlimit *rlimits;
	size_t n_rlimits;
	bool no_new_privileges;
	int64_t oom_score_adj; /* UM_CG_UNSET */
	bool has_scheduler;
	uint32_t sched_policy;
	int64_t sched_nice, sched_priority;
	uint64_t sched_flags, sched_runtime, sched_deadline, sched_period;
	int ioprio;				      /* ioprio_set(2)'s value, -1: unset */
	const char *apparmor_profile, *selinux_label; /* NULL: none */
	const char *cpus_initial, *cpus_final;	      /* of exec, lists as "0-3,7"; NULL: none */
};

enum um_hook_kind {
	UM_HOOK_PRESTART,
	UM_HOOK_CREATE_RUNTIME,
	UM_HOOK_CREATE_CONTAINER,
	UM_HOOK_START_CONTAINER,
	UM_HOOK_POSTSTART,
	UM_HOOK_POSTSTOP,
	UM_HOOK_N_KINDS
};

struct um_spec_hook {
	const char *path;
	struct um_strv args, env;
	int64_t timeout_sec; /* 0: none */
};

struct um_spec_hooks {
	struct um_spec_hook *v;
	size_t n;
};

enum um_ns {
	UM_NS_USER,
	UM_NS_MOUNT,
	UM_NS_PID,
	UM_NS_NETWORK,
	UM_NS_IPC,
	UM_NS_UTS,
	UM_NS_CGROUP,
	UM_NS_TIME,
	UM_NS_N
};

struct um_spec_ns {
	bool present;
	const char *path; /* NULL: a new one */
};

struct um_spec_device {
	const char *path;
	char type; /* c, b, p */
	int64_t major, minor;
	uint32_t mode; /* with the default 0666 */
	uint32_t uid, gid;
};

struct um_spec_seccomp_arg {
	uint32_t index;
	uint64_t value, value_two;
	const char *op;
};

struct um_spec_seccomp_rule {
	struct um_strv names;
	const char *action;
	int64_t errno_ret; /* -1: unset */
	struct um_spec_seccomp_arg *args;
	size_t n_args;
};

struct um_spec_seccomp {
	bool present;
	const char *default_action;
	int64_t default_errno_ret;
	struct um_strv architectures, flags;
	const char *listener_path, *listener_metadata; /* NULL: absent */
	bool notifies;				       /* some action is SCMP_ACT_NOTIFY */
	struct um_spec_seccomp_rule *rules;
	size_t n_rules;
};

struct um_spec_pair {
	const char *key, *value;
};

/* Annotations of Landlock, see runtime/landlock.h. */
enum {
	UM_LANDLOCK_PATHS_READ,
	UM_LANDLOCK_PATHS_WRITE,
	UM_LANDLOCK_PATHS_EXECUTE,
	UM_LANDLOCK_N_PATHS
};
enum { UM_LANDLOCK_PORTS_BIND, UM_LANDLOCK_PORTS_CONNECT, UM_LANDLOCK_N_PORTS };

struct um_spec_landlock_paths {
	bool given; /* and empty: none is allowed */
	const char **v;
	size_t n;
};

struct um_spec_landlock_ports {
	bool given;
	uint16_t *v;
	size_t n;
};

struct um_spec_landlock {
	struct um_spec_landlock_paths paths[UM_LANDLOCK_N_PATHS];
	struct um_spec_landlock_ports ports[UM_LANDLOCK_N_PORTS];
	bool ignore_missing;
};

struct um_spec_mempolicy {
	bool present;
	unsigned mode;	 /* of set_mempolicy(2), flags included */
	cpu_set_t nodes; /* a set of memory nodes */
};

/* Annotations run.oci.*, see runtime/annotations.h. */
struct um_spec_asked {
	bool keep_groups;	     /* those of the caller, instead of additionalGids */
	bool strict_seccomp;	     /* a call that the library does not know is an error */
	const char *hooks_output[2]; /* files for stdout and stderr of hooks; NULL: ours */
	const char *mount_context;   /* what mountLabel is called; NULL: context */
	const char *pidfd_receiver;  /* a socket that gets a pidfd of the init; NULL: none */
};

struct um_spec {
	const struct um_json *json; /* the document */
	const char *oci_version;
	const char *root_path;
	bool root_readonly;
	struct um_spec_mount *mounts;
	size_t n_mounts;
	const char *hostname, *domainname;
	bool has_process;
	struct um_spec_process process;
	struct um_spec_hooks hooks[UM_HOOK_N_KINDS];
	struct um_spec_pair *annotations;
	size_t n_annotations;
	struct um_spec_landlock landlock;
	struct um_spec_asked asked;

	struct um_spec_ns ns[UM_NS_N];
	struct um_spec_idmap *uid_map, *gid_map;
	size_t n_uid_map, n_gid_map;
	int64_t time_monotonic_sec, time_monotonic_nsec, time_boottime_sec, time_boottime_nsec;
	bool has_time_offsets;
	struct um_spec_device *devices;
	size_t n_devices;
	const char *cgroups_path; /* NULL: absent */
	struct um_cgroup_limits limits;
	struct um_cgroup_device *device_rules;
	size_t n_device_rules;
	uint64_t rootfs_propagation; /* MS_* with MS_REC, 0: unset */
	struct um_spec_seccomp seccomp;
	struct um_spec_pair *sysctl;
	size_t n_sysctl;
	struct um_strv masked_paths, readonly_paths;
	struct um_spec_mempolicy mempolicy;
	int64_t personality;	 /* -1: unset */
	const char *mount_label; /* NULL: none */
};

/* Decodes and checks @json, which must stay as long as *ret. Errors: -EINVAL (a field is wrong,
 * its path is in the message), -EOPNOTSUPP (a field that is not supported), -ENOMEM. */
um_must_check int um_spec_decode(struct um_arena *a, const struct um_json *json,
				 struct um_spec **ret, struct um_error *err);
/* The process object alone, as `exec --process` reads it. */
um_must_check int um_spec_decode_process(struct um_arena *a, const struct um_json *json,
					 struct um_spec_process *ret, struct um_error *err);
/* linux.resources alone, as `update --resources` reads it. */
um_must_check int um_spec_decode_resources(struct um_arena *a, const struct um_json *json,
					   struct um_spec *into, struct um_error *err);
/* pids.limit 0: since version 1.3 of the specification a limit, before it none: what engines of
 * that time, Debian 12's podman among them, write for "unlimited". */
void um_spec_settle_pids(struct um_spec *s, const char *oci_version);
/* Reads, parses and decodes a file. */
um_must_check int um_spec_load(struct um_arena *a, int dirfd, const char *path,
			       struct um_spec **ret, struct um_error *err);

/* Names of the tables. */
const char *um_spec_ns_name(enum um_ns ns); /* "network" */
uint64_t um_spec_ns_flag(enum um_ns ns);    /* CLONE_NEWNET */
const char *um_spec_ns_proc(enum um_ns ns); /* "net", as in /proc/self/ns */
const char *um_spec_hook_name(enum um_hook_kind k);
/* "CAP_CHOWN" -> 0; -ENOENT for an unknown name. */
int um_spec_cap(const char *name);
const char *um_spec_cap_name(int cap); /* NULL past the last */
int um_spec_rlimit(const char *name);  /* "RLIMIT_NOFILE"; -ENOENT */

/* One mount option into @m. False when it is not generic (then it is data). */
bool um_spec_mount_option(const char *option, struct um_spec_mount *m);
/* Names of all generic options, for `features`; NULL-terminated. */
const char *um_spec_mount_option_name(size_t i);

#endif
