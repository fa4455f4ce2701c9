/* The table of calls: how arguments read, and the command (explain_shell.c). */
#include "runtime/explain_calls.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "runtime/explain_shell.h"
#include "runtime/spec.h"
#include "runtime/sys.h"

#define MAX_STRING 200

#define FLAG(name)                                                                                 \
	{                                                                                          \
		name, #name                                                                        \
	}
#define END                                                                                        \
	{                                                                                          \
		0, ""                                                                              \
	}

static const struct um_flag clone_flags[] = {FLAG(CLONE_VM),	       FLAG(CLONE_FS),
					     FLAG(CLONE_FILES),	       FLAG(CLONE_SIGHAND),
					     FLAG(CLONE_PIDFD),	       FLAG(CLONE_PARENT),
					     FLAG(CLONE_THREAD),       FLAG(CLONE_NEWNS),
					     FLAG(CLONE_SYSVSEM),      FLAG(CLONE_CHILD_CLEARTID),
					     FLAG(CLONE_CHILD_SETTID), FLAG(CLONE_NEWCGROUP),
					     FLAG(CLONE_NEWUTS),       FLAG(CLONE_NEWIPC),
					     FLAG(CLONE_NEWUSER),      FLAG(CLONE_NEWPID),
					     FLAG(CLONE_NEWNET),       {0x80, "CLONE_NEWTIME"},
					     FLAG(CLONE_INTO_CGROUP),  END};
static const struct um_flag open_flags[] = {
	FLAG(O_WRONLY), FLAG(O_RDWR),	  FLAG(O_CREAT),   FLAG(O_EXCL),
	FLAG(O_APPEND), FLAG(O_NOFOLLOW), FLAG(O_CLOEXEC), END};
static const struct um_flag at_flags[] = {FLAG(AT_REMOVEDIR), END};
static const struct um_flag chown_flags[] = {FLAG(AT_SYMLINK_NOFOLLOW), FLAG(AT_EMPTY_PATH), END};
static const struct um_flag setattr_flags[] = {FLAG(AT_EMPTY_PATH), FLAG(AT_RECURSIVE), END};
static const struct um_flag tree_flags[] = {FLAG(OPEN_TREE_CLONE), FLAG(OPEN_TREE_CLOEXEC),
					    FLAG(AT_EMPTY_PATH), FLAG(AT_RECURSIVE), END};
static const struct um_flag move_flags[] = {FLAG(MOVE_MOUNT_F_EMPTY_PATH),
					    FLAG(MOVE_MOUNT_T_EMPTY_PATH), END};
static const struct um_flag fsopen_flags[] = {FLAG(FSOPEN_CLOEXEC), END};
static const struct um_flag fsmount_flags[] = {FLAG(FSMOUNT_CLOEXEC), END};
static const struct um_flag fsconfig_commands[] = {{FSCONFIG_SET_FLAG, "FSCONFIG_SET_FLAG"},
						   FLAG(FSCONFIG_SET_STRING),
						   FLAG(FSCONFIG_CMD_CREATE),
						   END};
static const struct um_flag umount_flags[] = {FLAG(MNT_DETACH), END};
static const struct um_flag mount_flags[] = {FLAG(MS_I_VERSION), END};
static const struct um_flag range_flags[] = {FLAG(CLOSE_RANGE_CLOEXEC), END};
static const struct um_flag execveat_flags[] = {FLAG(AT_EMPTY_PATH), END};
static const struct um_flag keyctl_options[] = {FLAG(KEYCTL_JOIN_SESSION_KEYRING), END};
static const struct um_flag seccomp_operations[] = {FLAG(SECCOMP_SET_MODE_FILTER), END};
static const struct um_flag seccomp_flags[] = {FLAG(SECCOMP_FILTER_FLAG_TSYNC),
					       FLAG(SECCOMP_FILTER_FLAG_LOG),
					       FLAG(SECCOMP_FILTER_FLAG_SPEC_ALLOW),
					       FLAG(SECCOMP_FILTER_FLAG_NEW_LISTENER),
					       {1 << 5, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"},
					       END};
static const struct um_flag ioctl_requests[] = {
	FLAG(SIOCSIFFLAGS), FLAG(TIOCSPTLCK), FLAG(TIOCSWINSZ), FLAG(TIOCSCTTY), FLAG(TCSETS), END};
#define LANDLOCK(name)                                                                             \
	{                                                                                          \
		UM_LANDLOCK_##name, "LANDLOCK_ACCESS_FS_" #name                                    \
	}
const struct um_flag um_explain_landlock[] = {
	LANDLOCK(EXECUTE),    LANDLOCK(WRITE_FILE),  LANDLOCK(READ_FILE), LANDLOCK(READ_DIR),
	LANDLOCK(REMOVE_DIR), LANDLOCK(REMOVE_FILE), LANDLOCK(MAKE_CHAR), LANDLOCK(MAKE_DIR),
	LANDLOCK(MAKE_REG),   LANDLOCK(MAKE_SOCK),   LANDLOCK(MAKE_FIFO), LANDLOCK(MAKE_BLOCK),
	LANDLOCK(MAKE_SYM),   LANDLOCK(REFER),	     LANDLOCK(TRUNCATE),  END};
static const struct um_flag landlock_net[] = {
	{UM_LANDLOCK_BIND_TCP, "LANDLOCK_ACCESS_NET_BIND_TCP"},
	{UM_LANDLOCK_CONNECT_TCP, "LANDLOCK_ACCESS_NET_CONNECT_TCP"},
	END};
static const struct um_flag landlock_rules[] = {
	{UM_LANDLOCK_RULE_PATH, "LANDLOCK_RULE_PATH_BENEATH"},
	{UM_LANDLOCK_RULE_PORT, "LANDLOCK_RULE_NET_PORT"},
	END};
static const struct um_flag ioprio_who[] = {{1, "IOPRIO_WHO_PROCESS"}, END};
static const struct um_flag personalities[] = {{PER_LINUX, "PER_LINUX"}, FLAG(PER_LINUX32), END};
static const struct um_flag bpf_commands[] = {FLAG(BPF_PROG_LOAD),	   FLAG(BPF_PROG_ATTACH),
					      FLAG(BPF_PROG_DETACH),	   FLAG(BPF_PROG_QUERY),
					      FLAG(BPF_PROG_GET_FD_BY_ID), END};
const struct um_flag um_explain_prctl[] = {{PR_SET_PDEATHSIG, "PR_SET_PDEATHSIG"},
					   FLAG(PR_SET_DUMPABLE),
					   FLAG(PR_SET_KEEPCAPS),
					   FLAG(PR_CAPBSET_DROP),
					   FLAG(PR_SET_NO_NEW_PRIVS),
					   FLAG(PR_SET_CHILD_SUBREAPER),
					   FLAG(PR_CAP_AMBIENT),
					   END};
const struct um_flag um_explain_attrs[] = {
	FLAG(MOUNT_ATTR_RDONLY),     FLAG(MOUNT_ATTR_NOSUID),
	FLAG(MOUNT_ATTR_NODEV),	     FLAG(MOUNT_ATTR_NOEXEC),
	FLAG(MOUNT_ATTR_NOATIME),    FLAG(MOUNT_ATTR_STRICTATIME),
	FLAG(MOUNT_ATTR_NODIRATIME), FLAG(MOUNT_ATTR_NOSYMFOLLOW),
	FLAG(MOUNT_ATTR_IDMAP),	     END};
static const struct um_flag propagation[] = {FLAG(MS_SHARED), FLAG(MS_SLAVE), FLAG(MS_PRIVATE),
					     FLAG(MS_UNBINDABLE), END};
static const struct um_flag ambient[] = {{PR_CAP_AMBIENT_RAISE, "PR_CAP_AMBIENT_RAISE"},
					 {PR_CAP_AMBIENT_CLEAR_ALL, "PR_CAP_AMBIENT_CLEAR_ALL"},
					 END};

/* ---- arguments ---- */

static void flags(struct um_line *l, const struct um_flag *t, unsigned long v)
{
	bool any = false;

	for (; *t->name; t++)
		if (t->value && (v & t->value) == t->value) {
			um_line_add(l, "%s%s", any ? "|" : "", t->name);
			v &= ~t->value;
			any = true;
		}
	if (v || !any)
		um_line_add(l, any ? "|%#lx" : v ? "%#lx" : "0", v);
}

static void one_of(struct um_line *l, const struct um_flag *t, unsigned long v)
{
	for (; *t->name; t++)
		if (t->value == v) {
			um_line_add(l, "%s", t->name);
			return;
		}
	um_line_add(l, "%#lx", v);
}

static void descriptor(struct um_explained *x, int fd)
{
	char path[PATH_MAX];

	if (fd == AT_FDCWD) {
		um_line_add(&x->call, "AT_FDCWD");
		return;
	}
	um_line_add(&x->call, "%d", fd);
	if (um_explain_path(x, fd, path, sizeof(path))) {
		um_line_add(&x->call, "<");
		um_line_add(&x->call, "%.300s>", path);
	}
}

static void string(struct um_line *l, const char *s)
{
	if (s)
		um_line_quote(l, s, strlen(s), MAX_STRING);
	else
		um_line_add(l, "NULL");
}

static void vector(struct um_line *l, char *const *v)
{
	um_line_add(l, "[");
	for (size_t i = 0; v && v[i]; i++) {
		um_line_add(l, i ? ", " : "");
		string(l, v[i]);
	}
	um_line_add(l, "]");
}

static void signal_name(struct um_line *l, int sig)
{
	const char *name = sig ? sigabbrev_np(sig) : NULL;

	if (name)
		um_line_add(l, "SIG%s", name);
	else
		um_line_add(l, "%d", sig);
}

static void clone_args(struct um_explained *x)
{
	const struct clone_args *a = (const struct clone_args *)x->args[0];

	um_line_add(&x->call, "{flags=");
	flags(&x->call, clone_flags, a->flags);
	um_line_add(&x->call, ", exit_signal=");
	signal_name(&x->call, (int)a->exit_signal);
	if (a->flags & CLONE_INTO_CGROUP) {
		um_line_add(&x->call, ", cgroup=");
		descriptor(x, (int)a->cgroup);
	}
	um_line_add(&x->call, "}, %ld", x->args[1]);
}

/* Signal and flags stand in one number. */
static void clone_word(struct um_explained *x)
{
	unsigned long f = (unsigned long)x->args[0];

	um_line_add(&x->call, "flags=");
	flags(&x->call, clone_flags, f & ~0xffUL);
	if (f & 0xff) {
		um_line_add(&x->call, "|");
		signal_name(&x->call, (int)(f & 0xff));
	}
}

static void mount_attr(struct um_explained *x)
{
	const struct mount_attr *a = (const struct mount_attr *)x->args[3];

	um_line_add(&x->call, "{attr_set=");
	flags(&x->call, um_explain_attrs, a->attr_set);
	um_line_add(&x->call, ", attr_clr=");
	if ((a->attr_clr & MOUNT_ATTR__ATIME) == MOUNT_ATTR__ATIME) {
		um_line_add(&x->call, "MOUNT_ATTR__ATIME");
		if (a->attr_clr & ~(uint64_t)MOUNT_ATTR__ATIME) {
			um_line_add(&x->call, "|");
			flags(&x->call, um_explain_attrs,
			      a->attr_clr & ~(uint64_t)MOUNT_ATTR__ATIME);
		}
	} else {
		flags(&x->call, um_explain_attrs, a->attr_clr);
	}
	um_line_add(&x->call, ", propagation=");
	flags(&x->call, propagation, a->propagation);
	um_line_add(&x->call, ", userns_fd=%lld}", (long long)a->userns_fd);
}

static void cap_name(struct um_line *l, int cap)
{
	const char *name = um_spec_cap_name(cap);

	if (name)
		um_line_add(l, "%s", name);
	else
		um_line_add(l, "%d", cap);
}

static void prctl_words(struct um_explained *x)
{
	const long *a = x->args;
	struct um_line *l = &x->call;

	if (a[0] == PR_SET_PDEATHSIG) {
		signal_name(l, (int)a[1]);
	} else if (a[0] == PR_CAPBSET_DROP) {
		cap_name(l, (int)a[1]);
	} else if (a[0] == PR_CAP_AMBIENT) {
		one_of(l, ambient, (unsigned long)a[1]);
		if (a[1] == PR_CAP_AMBIENT_RAISE) {
			um_line_add(l, ", ");
			cap_name(l, (int)a[2]);
		}
	} else {
		um_line_add(l, "%ld", a[1]);
	}
}

static void cap_set(struct um_line *l, const char *name, uint64_t caps)
{
	uint64_t all = (UINT64_C(1) << (CAP_LAST_CAP + 1)) - 1;
	bool any = false;

	um_line_add(l, "%s", name);
	if ((caps & all) == all) {
		um_line_add(l, "all");
		return;
	}
	for (int c = 0; c <= CAP_LAST_CAP; c++)
		if (caps & UINT64_C(1) << c) {
			um_line_add(l, any ? "|" : "");
			cap_name(l, c);
			any = true;
		}
	um_line_add(l, any ? "" : "0");
}

static void cap_data(struct um_explained *x)
{
	const struct __user_cap_data_struct *d = (const void *)x->args[1];

	cap_set(&x->call, "{effective=", d[0].effective | (uint64_t)d[1].effective << 32);
	cap_set(&x->call, ", permitted=", d[0].permitted | (uint64_t)d[1].permitted << 32);
	cap_set(&x->call, ", inheritable=", d[0].inheritable | (uint64_t)d[1].inheritable << 32);
	um_line_add(&x->call, "}");
}

static void cap_header(struct um_explained *x)
{
	um_line_add(&x->call, "{version=_LINUX_CAPABILITY_VERSION_3, pid=0}");
}

static void rlimit(struct um_explained *x)
{
	const struct rlimit *v = (const struct rlimit *)x->args[2];
	const rlim_t both[] = {v->rlim_cur, v->rlim_max};

	for (int i = 0; i < 2; i++)
		if (both[i] == RLIM_INFINITY)
			um_line_add(&x->call, i ? ", rlim_max=RLIM64_INFINITY}"
						: "{rlim_cur=RLIM64_INFINITY");
		else
			um_line_add(&x->call, i ? ", rlim_max=%llu}" : "{rlim_cur=%llu",
				    (unsigned long long)both[i]);
}

static void rlimit_name(struct um_explained *x)
{
	um_line_add(&x->call, "RLIMIT_%s", um_explain_rlimit((unsigned)x->args[1]));
}

static void groups(struct um_explained *x)
{
	const gid_t *g = (const gid_t *)x->args[1];

	um_line_add(&x->call, "[");
	for (long i = 0; i < x->args[0]; i++)
		um_line_add(&x->call, "%s%u", i ? ", " : "", g[i]);
	um_line_add(&x->call, "]");
}

static void ioctl_data(struct um_explained *x)
{
	const void *p = (const void *)x->args[2];
	const struct ifreq *ifr = p;
	const struct winsize *w = p;

	switch (x->args[1]) {
	case SIOCSIFFLAGS:
		um_line_add(&x->call, "{ifr_name=\"%s\", ifr_flags=IFF_UP|IFF_RUNNING}",
			    ifr->ifr_name);
		break;
	case TIOCSPTLCK:
		um_line_add(&x->call, "[%d]", *(const int *)p);
		break;
	case TIOCSWINSZ:
		um_line_add(&x->call, "{ws_row=%d, ws_col=%d, ws_xpixel=0, ws_ypixel=0}", w->ws_row,
			    w->ws_col);
		break;
	case TIOCSCTTY:
		um_line_add(&x->call, "0");
		break;
	default:
		um_line_add(&x->call, "{...}");
	}
}

static void address(struct um_explained *x)
{
	const struct sockaddr_un *a = (const struct sockaddr_un *)x->args[1];

	um_line_add(&x->call, "{sa_family=AF_UNIX, sun_path=");
	string(&x->call, a->sun_path);
	um_line_add(&x->call, "}, %ld", x->args[2]);
}

static void device(struct um_explained *x)
{
	dev_t d = (dev_t)x->args[3];

	um_line_add(&x->call, "makedev(%#x, %#x)", major(d), minor(d));
}

static void mode_type(struct um_explained *x)
{
	mode_t m = (mode_t)x->args[2];
	static const struct um_flag types[] = {FLAG(S_IFCHR),  FLAG(S_IFBLK), FLAG(S_IFIFO),
					       FLAG(S_IFSOCK), FLAG(S_IFREG), END};

	one_of(&x->call, types, m & S_IFMT);
	um_line_add(&x->call, "|%#o", m & 07777);
}

static void filter_program(struct um_explained *x)
{
	const struct sock_fprog *p = (const struct sock_fprog *)x->args[2];

	um_line_add(&x->call, "{len=%u}", p->len);
}

static void cpus(struct um_explained *x)
{
	const cpu_set_t *set = (const cpu_set_t *)x->args[2];
	bool any = false;

	um_line_add(&x->call, "[");
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, set)) {
			um_line_add(&x->call, "%s%d", any ? " " : "", i);
			any = true;
		}
	um_line_add(&x->call, "]");
}

static void ioprio(struct um_explained *x)
{
	static const struct um_flag classes[] = {{0, "IOPRIO_CLASS_NONE"},
						 {1, "IOPRIO_CLASS_RT"},
						 {2, "IOPRIO_CLASS_BE"},
						 {3, "IOPRIO_CLASS_IDLE"},
						 END};

	um_line_add(&x->call, "IOPRIO_PRIO_VALUE(");
	one_of(&x->call, classes, (unsigned long)x->args[2] >> 13);
	um_line_add(&x->call, ", %ld)", x->args[2] & 0x1fff);
}

static void opaque(struct um_explained *x)
{
	um_line_add(&x->call, "{...}");
}

static void landlock_ruleset(struct um_explained *x)
{
	const struct um_landlock_ruleset *a = (const struct um_landlock_ruleset *)x->args[0];

	um_line_add(&x->call, "{handled_access_fs=");
	flags(&x->call, um_explain_landlock, a->fs);
	if (x->args[1] > 8) {
		um_line_add(&x->call, ", handled_access_net=");
		flags(&x->call, landlock_net, a->net);
	}
	um_line_add(&x->call, "}");
}

static void landlock_rule(struct um_explained *x)
{
	const struct um_landlock_path *path = (const struct um_landlock_path *)x->args[2];
	const struct um_landlock_port *port = (const struct um_landlock_port *)x->args[2];

	um_line_add(&x->call, "{allowed_access=");
	if (x->args[1] == UM_LANDLOCK_RULE_PATH) {
		flags(&x->call, um_explain_landlock, path->allowed);
		um_line_add(&x->call, ", parent_fd=%d}", path->parent_fd);
	} else {
		flags(&x->call, landlock_net, port->allowed);
		um_line_add(&x->call, ", port=%u}", (unsigned)port->port);
	}
}

static void ids(struct um_explained *x, int i)
{
	if ((unsigned)x->args[i] == (unsigned)-1)
		um_line_add(&x->call, "-1");
	else
		um_line_add(&x->call, "%u", (unsigned)x->args[i]);
}

enum kind { NONE, FD, STR, INT, ID, OCT, HEX, FLAGS, ONE_OF, SIG, ARGV, ENV, DATA, SPECIAL };

struct arg {
	enum kind kind;
	const struct um_flag *flags;
	void (*special)(struct um_explained *x);
};

struct row {
	const char *name;
	struct arg args[5];
	const char *command;		       /* a template, see um_explain_template() */
	void (*shell)(struct um_explained *x); /* or this */
};

#define K(kind)                                                                                    \
	{                                                                                          \
		kind, NULL, NULL                                                                   \
	}
#define F(table)                                                                                   \
	{                                                                                          \
		FLAGS, table, NULL                                                                 \
	}
#define O(table)                                                                                   \
	{                                                                                          \
		ONE_OF, table, NULL                                                                \
	}
#define S(fn)                                                                                      \
	{                                                                                          \
		SPECIAL, NULL, fn                                                                  \
	}

static const struct row rows[] = {
	{"bind", {K(FD), S(address)}, NULL, um_shell_bind},
	{"bpf", {O(bpf_commands), S(opaque), K(INT)}, NULL, um_shell_bpf},
	{"capset", {S(cap_header), S(cap_data)}, NULL, um_shell_capset},
	{"chdir", {K(STR)}, "cd {0}", NULL},
	{"chroot", {K(STR)}, "chroot {0}", NULL},
	{"clone", {S(clone_word)}, NULL, um_shell_clone},
	{"clone3", {S(clone_args)}, NULL, um_shell_clone},
	{"close_range", {K(INT), K(ID), F(range_flags)}, NULL, um_shell_close_range},
	{"dup2", {K(FD), K(FD)}, "exec {1n}<>{0}", NULL},
	{"execve", {K(STR), K(ARGV), K(ENV)}, NULL, um_shell_exec},
	{"execveat", {K(FD), K(STR), K(ARGV), K(ENV), F(execveat_flags)}, NULL, um_shell_exec},
	{"fchdir", {K(FD)}, "cd {0}", NULL},
	{"fchmod", {K(FD), K(OCT)}, "chmod {1} {0}", NULL},
	{"fchmodat", {K(FD), K(STR), K(OCT)}, "chmod {2} {0/1}", NULL},
	{"fchown", {K(FD), K(ID), K(ID)}, NULL, um_shell_chown},
	{"fchownat", {K(FD), K(STR), K(ID), K(ID), F(chown_flags)}, NULL, um_shell_chown},
	{"fsconfig", {K(FD), O(fsconfig_commands), K(STR), K(STR), K(INT)}, NULL, um_shell_fs},
	{"fsmount", {K(FD), F(fsmount_flags), F(um_explain_attrs)}, NULL, um_shell_fs},
	{"fsopen", {K(STR), F(fsopen_flags)}, NULL, um_shell_fs},
	{"ioctl", {K(FD), O(ioctl_requests), S(ioctl_data)}, NULL, um_shell_ioctl},
	{"ioprio_set", {O(ioprio_who), K(INT), S(ioprio)}, NULL, um_shell_ioprio},
	{"keyctl", {O(keyctl_options), K(STR)}, "keyctl session {1}", NULL},
	{"kill", {K(INT), K(SIG)}, "kill -{1} -- {0}", NULL},
	{"landlock_add_rule",
	 {K(FD), O(landlock_rules), S(landlock_rule), K(INT)},
	 NULL,
	 um_shell_landlock},
	{"landlock_create_ruleset", {S(landlock_ruleset), K(INT), K(INT)}, NULL, um_shell_landlock},
	{"landlock_restrict_self", {K(FD), K(INT)}, NULL, um_shell_landlock},
	{"mkdirat", {K(FD), K(STR), K(OCT)}, "mkdir -m {2} {0/1}", NULL},
	{"mknodat", {K(FD), K(STR), S(mode_type), S(device)}, NULL, um_shell_mknod},
	{"mount",
	 {K(STR), K(STR), K(STR), F(mount_flags), K(STR)},
	 "mount -t {2} -o {4} {0} {1}",
	 NULL},
	{"mount_setattr",
	 {K(FD), K(STR), F(setattr_flags), S(mount_attr), K(INT)},
	 NULL,
	 um_shell_setattr},
	{"move_mount", {K(FD), K(STR), K(FD), K(STR), F(move_flags)}, NULL, um_shell_move},
	{"open_tree", {K(FD), K(STR), F(tree_flags)}, NULL, um_shell_tree},
	{"openat", {K(FD), K(STR), F(open_flags), K(OCT)}, "touch {0/1}; chmod {3} {0/1}", NULL},
	{"personality", {O(personalities)}, NULL, um_shell_personality},
	{"pidfd_send_signal", {K(FD), K(SIG)}, NULL, um_shell_pidfd_signal},
	{"pivot_root", {K(STR), K(STR)}, "pivot_root {0} {1}", NULL},
	{"prctl", {O(um_explain_prctl), S(prctl_words)}, NULL, um_shell_prctl},
	{"prlimit64", {K(INT), S(rlimit_name), S(rlimit)}, NULL, um_shell_prlimit},
	{"renameat", {K(FD), K(STR), K(FD), K(STR)}, "mv -T {0/1} {2/3}", NULL},
	{"sched_setaffinity", {K(INT), K(INT), S(cpus)}, NULL, um_shell_affinity},
	{"sched_setattr",
	 {K(INT), S(opaque), K(INT)},
	 "chrt --pid $$  # with the policy of the config",
	 NULL},
	{"seccomp",
	 {O(seccomp_operations), F(seccomp_flags), S(filter_program)},
	 "setpriv --seccomp-filter FILTER.bpf PROGRAM  # util-linux 2.41; the filter compiled "
	 "before",
	 NULL},
	{"sendfile", {K(FD), K(FD), S(opaque), K(INT)}, "cat <{1} >{0}", NULL},
	{"set_mempolicy",
	 {K(INT), S(opaque), K(INT)},
	 "numactl --membind=NODES PROGRAM  # or as the policy of the config says",
	 NULL},
	{"setdomainname", {K(STR), K(INT)}, "domainname {0}", NULL},
	{"setgroups", {K(INT), S(groups)}, NULL, um_shell_groups},
	{"sethostname", {K(STR), K(INT)}, "hostname {0}", NULL},
	{"setns", {K(FD), F(clone_flags)}, NULL, um_shell_setns},
	{"setresgid", {K(ID), K(ID), K(ID)}, "setpriv --regid {0} --keep-groups PROGRAM", NULL},
	{"setresuid", {K(ID), K(ID), K(ID)}, "setpriv --reuid {0} PROGRAM", NULL},
	{"setsid", {K(NONE)}, "setsid PROGRAM", NULL},
	{"symlinkat", {K(STR), K(FD), K(STR)}, "ln -s {0} {1/2}", NULL},
	{"umask", {K(OCT)}, "umask {0}", NULL},
	{"umount2", {K(STR), F(umount_flags)}, "umount --lazy {0}", NULL},
	{"unlinkat", {K(FD), K(STR), F(at_flags)}, NULL, um_shell_unlink},
	{"unshare", {F(clone_flags)}, NULL, um_shell_clone},
	{"utimensat", {K(FD), K(STR), S(opaque), F(chown_flags)}, "touch -h -d TIME {0/1}", NULL},
	{"write", {K(FD), K(DATA), K(INT)}, NULL, um_shell_write},
};

static void argument(struct um_explained *x, const struct arg *a, int i)
{
	long v = x->args[i];
	struct um_line *l = &x->call;

	switch (a->kind) {
	case FD:
		descriptor(x, (int)v);
		break;
	case STR:
		string(l, (const char *)v);
		break;
	case INT:
		um_line_add(l, "%ld", v);
		break;
	case ID:
		ids(x, i);
		break;
	case OCT:
		um_line_add(l, "%#lo", v);
		break;
	case HEX:
		um_line_add(l, "%#lx", v);
		break;
	case FLAGS:
		flags(l, a->flags, (unsigned)v);
		break;
	case ONE_OF:
		one_of(l, a->flags, (unsigned)v);
		break;
	case SIG:
		signal_name(l, (int)v);
		break;
	case ARGV:
		vector(l, (char *const *)v);
		break;
	case ENV: {
		size_t n = 0;

		for (char *const *e = (char *const *)v; e && *e; e++)
			n++;
		um_line_add(l, "/* %zu vars */", n);
		break;
	}
	case DATA:
		um_line_quote(l, (const char *)v, (size_t)x->args[i + 1],
			      x->args[i + 1] <= UM_EXPLAIN_WHOLE ? UM_EXPLAIN_WHOLE : 16);
		break;
	case SPECIAL:
		a->special(x);
		break;
	case NONE:
		break;
	}
}

static const struct row *find(const char *name)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(rows); i++)
		if (!strcmp(rows[i].name, name))
			return &rows[i];
	return NULL;
}

/* To a regular file that has a name, those of /proc and of cgroups included; not what is pumped to
 * and fro, nor into memory. */
static bool matters(const struct um_explained *x)
{
	struct stat st;

	if (strcmp(x->name, "write"))
		return true;
	return !x->filtered && x->args[0] > 2 && fstat((int)x->args[0], &st) == 0 &&
	       S_ISREG(st.st_mode) && st.st_nlink;
}

static bool only_asks(const struct um_explained *x)
{
	return !strcmp(x->name, "bpf") &&
	       (x->args[0] == BPF_PROG_QUERY || x->args[0] == BPF_PROG_GET_FD_BY_ID);
}

bool um_explain_call(struct um_explained *x)
{
	const struct row *row = find(x->name);

	x->call.text[0] = x->command.text[0] = '\0';
	if (!matters(x) || only_asks(x))
		return false;
	um_line_add(&x->call, "%s(", x->name);
	for (int i = 0; row && i < 5 && row->args[i].kind != NONE; i++) {
		um_line_add(&x->call, i ? ", " : "");
		argument(x, &row->args[i], i);
	}
	um_line_add(&x->call, ")");
	if (row && row->shell)
		row->shell(x);
	else if (row)
		um_explain_template(x, row->command);
	return true;
}
