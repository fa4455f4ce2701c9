/* Tables of names that the specification uses. */
#include "runtime/spec.h"

#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/resource.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

static const struct {
	const char *name, *proc;
	uint64_t flag;
} namespaces[UM_NS_N] = {
	[UM_NS_USER] = {"user", "user", CLONE_NEWUSER},
	[UM_NS_MOUNT] = {"mount", "mnt", CLONE_NEWNS},
	[UM_NS_PID] = {"pid", "pid", CLONE_NEWPID},
	[UM_NS_NETWORK] = {"network", "net", CLONE_NEWNET},
	[UM_NS_IPC] = {"ipc", "ipc", CLONE_NEWIPC},
	[UM_NS_UTS] = {"uts", "uts", CLONE_NEWUTS},
	[UM_NS_CGROUP] = {"cgroup", "cgroup", CLONE_NEWCGROUP},
	[UM_NS_TIME] = {"time", "time", CLONE_NEWTIME},
};

const char *um_spec_ns_name(enum um_ns ns)
{
	return namespaces[ns].name;
}

const char *um_spec_ns_proc(enum um_ns ns)
{
	return namespaces[ns].proc;
}

uint64_t um_spec_ns_flag(enum um_ns ns)
{
	return namespaces[ns].flag;
}

const char *um_spec_hook_name(enum um_hook_kind k)
{
	static const char *const names[UM_HOOK_N_KINDS] = {"prestart",	      "createRuntime",
							   "createContainer", "startContainer",
							   "poststart",	      "poststop"};

	return names[k];
}

static const char *const cap_names[] = {"CAP_CHOWN",
					"CAP_DAC_OVERRIDE",
					"CAP_DAC_READ_SEARCH",
					"CAP_FOWNER",
					"CAP_FSETID",
					"CAP_KILL",
					"CAP_SETGID",
					"CAP_SETUID",
					"CAP_SETPCAP",
					"CAP_LINUX_IMMUTABLE",
					"CAP_NET_BIND_SERVICE",
					"CAP_NET_BROADCAST",
					"CAP_NET_ADMIN",
					"CAP_NET_RAW",
					"CAP_IPC_LOCK",
					"CAP_IPC_OWNER",
					"CAP_SYS_MODULE",
					"CAP_SYS_RAWIO",
					"CAP_SYS_CHROOT",
					"CAP_SYS_PTRACE",
					"CAP_SYS_PACCT",
					"CAP_SYS_ADMIN",
					"CAP_SYS_BOOT",
					"CAP_SYS_NICE",
					"CAP_SYS_RESOURCE",
					"CAP_SYS_TIME",
					"CAP_SYS_TTY_CONFIG",
					"CAP_MKNOD",
					"CAP_LEASE",
					"CAP_AUDIT_WRITE",
					"CAP_AUDIT_CONTROL",
					"CAP_SETFCAP",
					"CAP_MAC_OVERRIDE",
					"CAP_MAC_ADMIN",
					"CAP_SYSLOG",
					"CAP_WAKE_ALARM",
					"CAP_BLOCK_SUSPEND",
					"CAP_AUDIT_READ",
					"CAP_PERFMON",
					"CAP_BPF",
					"CAP_CHECKPOINT_RESTORE"};
_Static_assert(UM_ARRAY_LEN(cap_names) == CAP_LAST_CAP + 1, "one name for each capability");

int um_spec_cap(const char *name)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(cap_names); i++)
		if (!strcmp(cap_names[i], name))
			return (int)i;
	return -ENOENT;
}

const char *um_spec_cap_name(int cap)
{
	return cap >= 0 && (size_t)cap < UM_ARRAY_LEN(cap_names) ? cap_names[cap] : NULL;
}

int um_spec_rlimit(const char *name)
{
	static const struct {
		const char *name;
		int resource;
	} limits[] = {
		{"RLIMIT_AS", RLIMIT_AS},
		{"RLIMIT_CORE", RLIMIT_CORE},
		{"RLIMIT_CPU", RLIMIT_CPU},
		{"RLIMIT_DATA", RLIMIT_DATA},
		{"RLIMIT_FSIZE", RLIMIT_FSIZE},
		{"RLIMIT_LOCKS", RLIMIT_LOCKS},
		{"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
		{"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
		{"RLIMIT_NICE", RLIMIT_NICE},
		{"RLIMIT_NOFILE", RLIMIT_NOFILE},
		{"RLIMIT_NPROC", RLIMIT_NPROC},
		{"RLIMIT_RSS", RLIMIT_RSS},
		{"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
		{"RLIMIT_RTTIME", RLIMIT_RTTIME},
		{"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
		{"RLIMIT_STACK", RLIMIT_STACK},
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(limits); i++)
		if (!strcmp(limits[i].name, name))
			return limits[i].resource;
	return -ENOENT;
}

/* How an option acts. SET/CLR: MOUNT_ATTR_*; the recursive ones start with "r". */
enum option_kind {
	OPT_SET,
	OPT_CLR,
	OPT_PROPAGATION,
	OPT_BIND,
	OPT_REMOUNT,
	OPT_TMPCOPYUP,
	OPT_IDMAP,
	OPT_IVERSION,
	OPT_LINKS, /* what becomes of symbolic links, UM_LINK_* */
	OPT_DATA,  /* a flag of the superblock, passed on by its name */
	OPT_NONE,  /* asks for what the new mount interface does anyway */
};

static const struct mount_option {
	const char *name;
	enum option_kind kind;
	uint64_t value;
	bool recursive;
} mount_options[] = {
	{"async", OPT_DATA, 0, false},
	{"atime", OPT_CLR, MOUNT_ATTR_NOATIME, false},
	{"bind", OPT_BIND, 0, false},
	{"copy-symlink", OPT_LINKS, UM_LINK_COPY, false},
	{"defaults", OPT_NONE, 0, false},
	{"dest-nofollow", OPT_LINKS, UM_LINK_DESTINATION, false},
	{"dev", OPT_CLR, MOUNT_ATTR_NODEV, false},
	{"diratime", OPT_CLR, MOUNT_ATTR_NODIRATIME, false},
	{"dirsync", OPT_DATA, 0, false},
	{"exec", OPT_CLR, MOUNT_ATTR_NOEXEC, false},
	{"idmap", OPT_IDMAP, 0, false},
	{"iversion", OPT_IVERSION, 1, false},
	{"lazytime", OPT_DATA, 0, false},
	{"loud", OPT_NONE, 0, false}, /* messages to the kernel log: not part of fsopen(2) */
	{"mand", OPT_DATA, 0, false},
	{"noatime", OPT_SET, MOUNT_ATTR_NOATIME, false},
	{"nodev", OPT_SET, MOUNT_ATTR_NODEV, false},
	{"nodiratime", OPT_SET, MOUNT_ATTR_NODIRATIME, false},
	{"noexec", OPT_SET, MOUNT_ATTR_NOEXEC, false},
	{"noiversion", OPT_IVERSION, 0, false},
	{"nolazytime", OPT_DATA, 0, false},
	{"nomand", OPT_DATA, 0, false},
	{"norelatime", OPT_CLR, MOUNT_ATTR__ATIME, false},
	{"nostrictatime", OPT_CLR, MOUNT_ATTR_STRICTATIME, false},
	{"nosuid", OPT_SET, MOUNT_ATTR_NOSUID, false},
	{"nosymfollow", OPT_SET, MOUNT_ATTR_NOSYMFOLLOW, false},
	{"private", OPT_PROPAGATION, MS_PRIVATE, false},
	{"ratime", OPT_CLR, MOUNT_ATTR_NOATIME, true},
	{"rbind", OPT_BIND, 0, true},
	{"rdev", OPT_CLR, MOUNT_ATTR_NODEV, true},
	{"rdiratime", OPT_CLR, MOUNT_ATTR_NODIRATIME, true},
	{"relatime", OPT_SET, MOUNT_ATTR_RELATIME, false},
	{"remount", OPT_REMOUNT, 0, false},
	{"ridmap", OPT_IDMAP, 0, true},
	{"rexec", OPT_CLR, MOUNT_ATTR_NOEXEC, true},
	{"rnoatime", OPT_SET, MOUNT_ATTR_NOATIME, true},
	{"rnodev", OPT_SET, MOUNT_ATTR_NODEV, true},
	{"rnodiratime", OPT_SET, MOUNT_ATTR_NODIRATIME, true},
	{"rnoexec", OPT_SET, MOUNT_ATTR_NOEXEC, true},
	{"rnorelatime", OPT_CLR, MOUNT_ATTR__ATIME, true},
	{"rnostrictatime", OPT_CLR, MOUNT_ATTR_STRICTATIME, true},
	{"rnosuid", OPT_SET, MOUNT_ATTR_NOSUID, true},
	{"rnosymfollow", OPT_SET, MOUNT_ATTR_NOSYMFOLLOW, true},
	{"ro", OPT_SET, MOUNT_ATTR_RDONLY, false},
	{"rprivate", OPT_PROPAGATION, MS_PRIVATE, true},
	{"rrelatime", OPT_SET, MOUNT_ATTR_RELATIME, true},
	{"rro", OPT_SET, MOUNT_ATTR_RDONLY, true},
	{"rrw", OPT_CLR, MOUNT_ATTR_RDONLY, true},
	{"rshared", OPT_PROPAGATION, MS_SHARED, true},
	{"rslave", OPT_PROPAGATION, MS_SLAVE, true},
	{"rstrictatime", OPT_SET, MOUNT_ATTR_STRICTATIME, true},
	{"rsuid", OPT_CLR, MOUNT_ATTR_NOSUID, true},
	{"rsymfollow", OPT_CLR, MOUNT_ATTR_NOSYMFOLLOW, true},
	{"runbindable", OPT_PROPAGATION, MS_UNBINDABLE, true},
	{"rw", OPT_CLR, MOUNT_ATTR_RDONLY, false},
	{"shared", OPT_PROPAGATION, MS_SHARED, false},
	{"silent", OPT_NONE, 0, false},
	{"slave", OPT_PROPAGATION, MS_SLAVE, false},
	{"src-nofollow", OPT_LINKS, UM_LINK_SOURCE, false},
	{"strictatime", OPT_SET, MOUNT_ATTR_STRICTATIME, false},
	{"suid", OPT_CLR, MOUNT_ATTR_NOSUID, false},
	{"symfollow", OPT_CLR, MOUNT_ATTR_NOSYMFOLLOW, false},
	{"sync", OPT_DATA, 0, false},
	{"tmpcopyup", OPT_TMPCOPYUP, 0, false},
	{"unbindable", OPT_PROPAGATION, MS_UNBINDABLE, false},
};

const char *um_spec_mount_option_name(size_t i)
{
	return i < UM_ARRAY_LEN(mount_options) ? mount_options[i].name : NULL;
}

#define ATIME_BITS (MOUNT_ATTR_NOATIME | MOUNT_ATTR_STRICTATIME)

/* The last of two contrary options wins. mount_setattr(2) wants the whole atime field cleared
 * whenever it is set. */
static void set_attr(uint64_t *set, uint64_t *clr, uint64_t value, bool on)
{
	bool atime = (value & ATIME_BITS) || value == MOUNT_ATTR_RELATIME;

	if (atime) {
		*set &= ~(uint64_t)ATIME_BITS;
		*clr |= MOUNT_ATTR__ATIME;
		if (on)
			*set |= value;
	} else if (on) {
		*set |= value;
		*clr &= ~value;
	} else {
		*clr |= value;
		*set &= ~value;
	}
}

bool um_spec_mount_option(const char *option, struct um_spec_mount *m)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(mount_options); i++) {
		const struct mount_option *o = &mount_options[i];
		uint64_t *set = o->recursive ? &m->rec_attr_set : &m->attr_set;
		uint64_t *clr = o->recursive ? &m->rec_attr_clr : &m->attr_clr;

		if (strcmp(o->name, option))
			continue;
		switch (o->kind) {
		case OPT_SET:
		case OPT_CLR:
			set_attr(set, clr, o->value, o->kind == OPT_SET);
			if (o->value == MOUNT_ATTR_RDONLY)
				m->read_only = o->kind == OPT_SET;
			return true;
		case OPT_PROPAGATION:
			*(o->recursive ? &m->rec_propagation : &m->propagation) = o->value;
			return true;
		case OPT_BIND:
			m->bind = true;
			m->recursive = m->recursive || o->recursive;
			return true;
		case OPT_REMOUNT:
			m->remount = true;
			return true;
		case OPT_TMPCOPYUP:
			m->tmpcopyup = true;
			return true;
		case OPT_IDMAP:
			m->idmap = true;
			m->idmap_recursive = m->idmap_recursive || o->recursive;
			return true;
		case OPT_IVERSION:
			m->iversion = o->value;
			return true;
		case OPT_LINKS:
			m->links |= (unsigned)o->value;
			return true;
		case OPT_DATA:
			return false;
		case OPT_NONE:
			return true;
		}
	}
	return false;
}
