#include "agent/oci_defaults.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

struct um_json *um_oci_namespaces(struct um_arena *a, const struct um_oci_namespace *kinds,
				  size_t n, int shim_pid)
{
	struct um_json *list = um_json_new_arr(a);

	for (size_t i = 0; i < n; i++) {
		struct um_json *o;

		if (!kinds[i].wanted)
			continue;
		o = um_json_append(list, um_json_new_obj(a));
		um_json_set_str(a, o, "type", kinds[i].type);
		if (kinds[i].fd >= 0)
			um_json_set_str(
				a, o, "path",
				um_arena_printf(a, "/proc/%d/fd/%d", shim_pid, kinds[i].fd));
	}
	return list;
}

struct um_json *um_oci_strings(struct um_arena *a, const char *const *list)
{
	struct um_json *arr = um_json_new_arr(a);

	for (; *list; list++)
		um_json_append(arr, um_json_new_str(a, *list));
	return arr;
}

/* ---- capabilities ---- */

const char *const um_oci_default_caps[] = {
	"CAP_AUDIT_WRITE", "CAP_CHOWN",	  "CAP_DAC_OVERRIDE",	  "CAP_FOWNER",	    "CAP_FSETID",
	"CAP_KILL",	   "CAP_MKNOD",	  "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",    "CAP_SETFCAP",
	"CAP_SETGID",	   "CAP_SETPCAP", "CAP_SETUID",		  "CAP_SYS_CHROOT", NULL,
};

/* All capabilities that a container can be given. */
const char *const um_oci_all_caps[] = {
	"CAP_AUDIT_CONTROL",   "CAP_AUDIT_READ",   "CAP_AUDIT_WRITE",
	"CAP_BLOCK_SUSPEND",   "CAP_BPF",	   "CAP_CHECKPOINT_RESTORE",
	"CAP_CHOWN",	       "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH",
	"CAP_FOWNER",	       "CAP_FSETID",	   "CAP_IPC_LOCK",
	"CAP_IPC_OWNER",       "CAP_KILL",	   "CAP_LEASE",
	"CAP_LINUX_IMMUTABLE", "CAP_MAC_ADMIN",	   "CAP_MAC_OVERRIDE",
	"CAP_MKNOD",	       "CAP_NET_ADMIN",	   "CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST",   "CAP_NET_RAW",	   "CAP_PERFMON",
	"CAP_SETFCAP",	       "CAP_SETGID",	   "CAP_SETPCAP",
	"CAP_SETUID",	       "CAP_SYSLOG",	   "CAP_SYS_ADMIN",
	"CAP_SYS_BOOT",	       "CAP_SYS_CHROOT",   "CAP_SYS_MODULE",
	"CAP_SYS_NICE",	       "CAP_SYS_PACCT",	   "CAP_SYS_PTRACE",
	"CAP_SYS_RAWIO",       "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG",  "CAP_WAKE_ALARM",   NULL,
};

static bool names_cap(const struct um_json *list, const char *cap)
{
	um_json_foreach (it, list) {
		const char *s = um_json_str(it, "");

		if (!strcasecmp(s, "ALL") || !strcasecmp(s, cap) || !strcasecmp(s, cap + 4))
			return true;
	}
	return false;
}

/* A capability that this host does not hold cannot be given: it is left out of ALL. */
static bool host_has(const struct um_oci_caps *caps, const char *cap)
{
	return strcmp(cap, "CAP_SYS_RESOURCE") || caps->sys_resource;
}

bool um_oci_has_cap(const struct um_oci_caps *caps, const char *cap)
{
	if (caps->privileged || names_cap(caps->add, cap))
		return host_has(caps, cap);
	if (names_cap(caps->drop, cap))
		return false;
	for (const char *const *d = um_oci_default_caps; *d; d++)
		if (!strcmp(*d, cap))
			return true;
	return false;
}

struct um_json *um_oci_capabilities(struct um_arena *a, const struct um_oci_caps *caps)
{
	static const char *const sets[] = {"bounding", "effective", "permitted"};
	struct um_json *out = um_json_new_obj(a);

	for (size_t i = 0; i < UM_ARRAY_LEN(sets); i++) {
		struct um_json *list = um_json_new_arr(a);

		for (const char *const *cap = um_oci_all_caps; *cap; cap++)
			if (um_oci_has_cap(caps, *cap))
				um_json_append(list, um_json_new_str(a, *cap));
		um_json_set(a, out, sets[i], list);
	}
	return out;
}

/* ---- what is hidden ---- */

const char *const um_oci_masked[] = {
	"/proc/acpi",
	"/proc/asound",
	"/proc/interrupts",
	"/proc/kcore",
	"/proc/keys",
	"/proc/latency_stats",
	"/proc/sched_debug",
	"/proc/scsi",
	"/proc/timer_list",
	"/proc/timer_stats",
	"/sys/devices/virtual/powercap",
	"/sys/firmware",
	NULL,
};
const char *const um_oci_readonly[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL,
};

/* ---- system calls ---- */

/* RuntimeDefault: what reaches the machine's kernel as a whole, other processes' memory, keys, time
 * and modules. A call that a capability of the container allows is let through. */
static const struct {
	const char *name;
	const char *unless; /* this capability is given */
} default_refused[] = {
	{"acct", "CAP_SYS_PACCT"},
	{"add_key", NULL},
	{"bpf", "CAP_SYS_ADMIN"},
	{"clock_adjtime", "CAP_SYS_TIME"},
	{"clock_settime", "CAP_SYS_TIME"},
	{"delete_module", "CAP_SYS_MODULE"},
	{"fanotify_init", "CAP_SYS_ADMIN"},
	{"finit_module", "CAP_SYS_MODULE"},
	{"fsconfig", "CAP_SYS_ADMIN"},
	{"fsmount", "CAP_SYS_ADMIN"},
	{"fsopen", "CAP_SYS_ADMIN"},
	{"fspick", "CAP_SYS_ADMIN"},
	{"get_mempolicy", "CAP_SYS_NICE"},
	{"init_module", "CAP_SYS_MODULE"},
	{"io_uring_enter", NULL},
	{"io_uring_register", NULL},
	{"io_uring_setup", NULL},
	{"ioperm", "CAP_SYS_RAWIO"},
	{"iopl", "CAP_SYS_RAWIO"},
	{"kcmp", "CAP_SYS_PTRACE"},
	{"kexec_file_load", "CAP_SYS_BOOT"},
	{"kexec_load", "CAP_SYS_BOOT"},
	{"keyctl", NULL},
	{"lookup_dcookie", "CAP_SYS_ADMIN"},
	{"mbind", "CAP_SYS_NICE"},
	{"mount", "CAP_SYS_ADMIN"},
	{"mount_setattr", "CAP_SYS_ADMIN"},
	{"move_mount", "CAP_SYS_ADMIN"},
	{"move_pages", "CAP_SYS_NICE"},
	{"name_to_handle_at", "CAP_SYS_ADMIN"},
	{"nfsservctl", NULL},
	{"open_by_handle_at", "CAP_DAC_READ_SEARCH"},
	{"open_tree", "CAP_SYS_ADMIN"},
	{"perf_event_open", "CAP_PERFMON"},
	{"pivot_root", "CAP_SYS_ADMIN"},
	{"process_vm_readv", "CAP_SYS_PTRACE"},
	{"process_vm_writev", "CAP_SYS_PTRACE"},
	{"ptrace", "CAP_SYS_PTRACE"},
	{"quotactl", "CAP_SYS_ADMIN"},
	{"quotactl_fd", "CAP_SYS_ADMIN"},
	{"reboot", "CAP_SYS_BOOT"},
	{"request_key", NULL},
	{"set_mempolicy", "CAP_SYS_NICE"},
	{"setdomainname", "CAP_SYS_ADMIN"},
	{"sethostname", "CAP_SYS_ADMIN"},
	{"setns", "CAP_SYS_ADMIN"},
	{"settimeofday", "CAP_SYS_TIME"},
	{"swapoff", "CAP_SYS_ADMIN"},
	{"swapon", "CAP_SYS_ADMIN"},
	{"syslog", "CAP_SYSLOG"},
	{"umount2", "CAP_SYS_ADMIN"},
	{"unshare", "CAP_SYS_ADMIN"},
	{"userfaultfd", NULL},
	{"vhangup", "CAP_SYS_TTY_CONFIG"},
};

struct um_json *um_oci_default_seccomp(struct um_arena *a, const struct um_oci_caps *caps)
{
	struct um_json *o = um_json_new_obj(a), *rules, *rule, *names;

	um_json_set_str(a, o, "defaultAction", "SCMP_ACT_ALLOW");
	rules = um_json_set(a, o, "syscalls", um_json_new_arr(a));
	rule = um_json_append(rules, um_json_new_obj(a));
	names = um_json_set(a, rule, "names", um_json_new_arr(a));
	for (size_t i = 0; i < UM_ARRAY_LEN(default_refused); i++)
		if (!default_refused[i].unless || !um_oci_has_cap(caps, default_refused[i].unless))
			um_json_append(names, um_json_new_str(a, default_refused[i].name));
	um_json_set_str(a, rule, "action", "SCMP_ACT_ERRNO");
	um_json_set_i64(a, rule, "errnoRet", EPERM);
	return o;
}
