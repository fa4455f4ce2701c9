/* Commands for files, processes and rights. Those for mounts: explain_mounts.c. */
#include "runtime/explain_shell.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "runtime/spec.h"
#include "runtime/sys.h"

/* ---- templates ---- */

bool um_explain_path(const struct um_explained *x, int fd, char *path, size_t size)
{
	char link[40];
	ssize_t n;

	if (!x->look_up || fd < 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, size - 1);
	if (n < 0)
		return false;
	path[n] = '\0';
	for (ssize_t i = 0; i < n; i++) /* the container's bytes, perhaps */
		if ((unsigned char)path[i] < 0x20 || (unsigned char)path[i] >= 0x7f)
			path[i] = '?';
	return true;
}

/* Which arguments of a call are what: 'f' descriptor, 's' string, 'o' octal, 'g' signal; all else a
 * number. */
static char kind_of(const char *name, int i)
{
	static const struct {
		const char *name, *kinds;
	} calls[] = {{"chdir", "s"},	   {"chroot", "s"},	 {"dup2", "ff"},
		     {"fchdir", "f"},	   {"fchmod", "fo"},	 {"fchmodat", "fso"},
		     {"keyctl", "ns"},	   {"kill", "ng"},	 {"mkdirat", "fso"},
		     {"mount", "sssns"},   {"openat", "fsno"},	 {"pivot_root", "ss"},
		     {"renameat", "fsfs"}, {"sendfile", "ff"},	 {"setdomainname", "s"},
		     {"sethostname", "s"}, {"symlinkat", "sfs"}, {"umask", "o"},
		     {"umount2", "s"},	   {"unlinkat", "fs"},	 {"utimensat", "fs"},
		     {"mknodat", "fs"},	   {"fchown", "f"},	 {"fchownat", "fs"},
		     {"execve", "s"}};

	for (size_t k = 0; k < UM_ARRAY_LEN(calls); k++)
		if (!strcmp(calls[k].name, name))
			return (size_t)i < strlen(calls[k].kinds) ? calls[k].kinds[i] : 'n';
	return 'n';
}

static void path_of(struct um_explained *x, int fd, struct um_line *l)
{
	char path[PATH_MAX];

	if (fd == AT_FDCWD)
		um_line_add(l, ".");
	else if (um_explain_path(x, fd, path, sizeof(path)))
		um_line_word(l, path);
	else
		um_line_add(l, "/dev/fd/%d", fd);
}

static void word(struct um_explained *x, int i)
{
	struct um_line *l = &x->command;
	long v = x->args[i];

	switch (kind_of(x->name, i)) {
	case 'f':
		path_of(x, (int)v, l);
		break;
	case 's':
		if (v)
			um_line_word(l, (const char *)v);
		break;
	case 'o':
		um_line_add(l, "%04lo", (unsigned long)v & 07777);
		break;
	case 'g':
		if (v && sigabbrev_np((int)v))
			um_line_add(l, "%s", sigabbrev_np((int)v));
		else
			um_line_add(l, "%ld", v);
		break;
	default:
		um_line_add(l, "%d", (int)v);
	}
}

static void joined(struct um_explained *x, int dir, const char *name)
{
	char path[PATH_MAX], whole[2 * PATH_MAX];
	int fd = (int)x->args[dir];

	if (name[0] == '/' || fd == AT_FDCWD)
		snprintf(whole, sizeof(whole), "%s", name);
	else if (um_explain_path(x, fd, path, sizeof(path)))
		snprintf(whole, sizeof(whole), "%s%s%s", path, *name ? "/" : "", name);
	else
		snprintf(whole, sizeof(whole), "/dev/fd/%d%s%s", fd, *name ? "/" : "", name);
	um_line_word(&x->command, whole);
}

void um_explain_template(struct um_explained *x, const char *text)
{
	for (const char *p = text; *p; p++) {
		if (*p != '{') {
			um_line_add(&x->command, "%c", *p);
			continue;
		}
		if (p[2] == '/') {
			joined(x, p[1] - '0', (const char *)x->args[p[3] - '0']);
		} else if (p[2] == 'n') {
			um_line_add(&x->command, "%d", (int)x->args[p[1] - '0']);
		} else {
			word(x, p[1] - '0');
		}
		p += strcspn(p, "}");
	}
}

/* ---- files ---- */

void um_shell_write(struct um_explained *x)
{
	const char *data = (const char *)x->args[1];
	size_t len = (size_t)x->args[2];
	char text[UM_EXPLAIN_WHOLE + 1];

	if (len > UM_EXPLAIN_WHOLE || memchr(data, '\0', len)) {
		um_line_add(&x->command, "head -c %zu >", len);
	} else {
		memcpy(text, data, len);
		text[len] = '\0';
		um_line_add(&x->command, strchr(text, '\n') ? "printf %%s " : "echo ");
		um_line_word(&x->command, text);
		um_line_add(&x->command, " >");
	}
	path_of(x, (int)x->args[0], &x->command);
}

void um_shell_unlink(struct um_explained *x)
{
	um_explain_template(x, x->args[2] & AT_REMOVEDIR ? "rmdir {0/1}" : "rm -f {0/1}");
}

void um_shell_mknod(struct um_explained *x)
{
	mode_t mode = (mode_t)x->args[2];
	dev_t d = (dev_t)x->args[3];

	um_line_add(&x->command, "mknod -m %04o ", mode & 07777);
	um_explain_template(x, "{0/1}");
	if (S_ISFIFO(mode))
		um_line_add(&x->command, " p");
	else
		um_line_add(&x->command, " %c %u %u", S_ISBLK(mode) ? 'b' : 'c', major(d),
			    minor(d));
}

void um_shell_chown(struct um_explained *x)
{
	bool at = !strcmp(x->name, "fchownat");
	unsigned uid = (unsigned)x->args[at ? 2 : 1], gid = (unsigned)x->args[at ? 3 : 2];

	um_line_add(&x->command, at ? "chown -h " : "chown ");
	if (uid != (unsigned)-1)
		um_line_add(&x->command, "%u", uid);
	if (gid != (unsigned)-1)
		um_line_add(&x->command, ":%u", gid);
	um_explain_template(x, at ? " {0/1}" : " {0}");
}

void um_shell_bind(struct um_explained *x)
{
	um_line_add(&x->command, "socat UNIX-LISTEN:");
	um_line_word(&x->command, ((const struct sockaddr_un *)x->args[1])->sun_path);
	um_line_add(&x->command, ",type=5 -");
}

void um_shell_close_range(struct um_explained *x)
{
	unsigned first = (unsigned)x->args[0], last = (unsigned)x->args[1];

	if (x->args[2])
		um_line_add(&x->command,
			    "true  # a shell closes those from %u on when it runs a program",
			    first);
	else if (first == last)
		um_line_add(&x->command, "exec %u>&-", first);
	else if (last == ~0U)
		um_line_add(&x->command, "exec %u>&-  # and all above", first);
	else
		um_line_add(&x->command, "exec %u>&-  # and so on to %u", first, last);
}

/* ---- processes ---- */

static void namespaces(struct um_line *l, unsigned long flags)
{
	static const struct um_flag options[] = {
		{CLONE_NEWUSER, " --user"},	 {CLONE_NEWNS, " --mount"},
		{CLONE_NEWPID, " --pid --fork"}, {CLONE_NEWNET, " --net"},
		{CLONE_NEWIPC, " --ipc"},	 {CLONE_NEWUTS, " --uts"},
		{CLONE_NEWCGROUP, " --cgroup"},	 {0x80, " --time"}};

	for (size_t i = 0; i < UM_ARRAY_LEN(options); i++)
		if (flags & options[i].value)
			um_line_add(l, "%s", options[i].name);
}

void um_shell_clone(struct um_explained *x)
{
	static const unsigned long any = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |
					 CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | 0x80;
	bool is_clone3 = !strcmp(x->name, "clone3");
	const struct clone_args *a = (const struct clone_args *)x->args[0];
	unsigned long flags = is_clone3 ? a->flags : (unsigned long)x->args[0];
	char path[PATH_MAX];

	if (!strcmp(x->name, "clone"))
		flags &= ~0xffUL; /* a signal */
	if (flags & any) {
		um_line_add(&x->command, "unshare");
		namespaces(&x->command, flags);
		um_line_add(&x->command, " PROGRAM");
	} else {
		um_line_add(&x->command, flags & CLONE_THREAD
						 ? "PROGRAM &  # a thread of this process"
						 : "PROGRAM &");
	}
	if (is_clone3 && flags & CLONE_INTO_CGROUP &&
	    um_explain_path(x, (int)a->cgroup, path, sizeof(path))) {
		um_line_add(&x->command, "  # first: echo $$ >");
		um_line_add(&x->command, "%.400s/cgroup.procs", path);
	}
}

/* The process behind a pidfd; 0: not known. */
static int pid_behind(const struct um_explained *x, int fd)
{
	char path[64], line[128];
	FILE *f;
	int pid = 0;

	if (!x->look_up)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Pid:\t%d", &pid) == 1)
			break;
	if (f)
		fclose(f);
	return pid > 0 ? pid : 0;
}

void um_shell_setns(struct um_explained *x)
{
	static const struct um_flag options[] = {
		{CLONE_NEWUSER, "user"},     {CLONE_NEWNS, "mount"}, {CLONE_NEWPID, "pid"},
		{CLONE_NEWNET, "net"},	     {CLONE_NEWIPC, "ipc"},  {CLONE_NEWUTS, "uts"},
		{CLONE_NEWCGROUP, "cgroup"}, {0x80, "time"}};
	int pid = pid_behind(x, (int)x->args[0]);

	um_line_add(&x->command, pid ? "nsenter --target %d" : "nsenter", pid);
	for (size_t i = 0; i < UM_ARRAY_LEN(options); i++)
		if ((unsigned long)x->args[1] & options[i].value)
			um_line_add(&x->command, pid ? " --%s" : " --%s=/dev/fd/%d",
				    options[i].name, (int)x->args[0]);
	um_line_add(&x->command, " PROGRAM");
}

void um_shell_pidfd_signal(struct um_explained *x)
{
	int pid = pid_behind(x, (int)x->args[0]), sig = (int)x->args[1];
	const char *name = sig ? sigabbrev_np(sig) : NULL;

	if (name)
		um_line_add(&x->command, "kill -%s ", name);
	else
		um_line_add(&x->command, "kill -%d ", sig);
	if (pid)
		um_line_add(&x->command, "%d", pid);
	else
		um_line_add(&x->command, "PID");
}

void um_shell_exec(struct um_explained *x)
{
	bool at = !strcmp(x->name, "execveat");
	char *const *argv = (char *const *)x->args[at ? 2 : 1];

	um_line_add(&x->command, "exec");
	if (!at && argv && argv[0] && strcmp(argv[0], (const char *)x->args[0])) {
		um_line_add(&x->command, " -a ");
		um_line_word(&x->command, argv[0]);
	}
	um_line_add(&x->command, " ");
	if (at)
		um_line_add(&x->command, "/dev/fd/%d", (int)x->args[0]);
	else
		um_line_word(&x->command, (const char *)x->args[0]);
	for (size_t i = 1; argv && argv[0] && argv[i]; i++) {
		um_line_add(&x->command, " ");
		um_line_word(&x->command, argv[i]);
	}
}

/* ---- rights and limits ---- */

static void low_cap(char name[32], int cap)
{
	const char *s = um_spec_cap_name(cap);

	if (s)
		snprintf(name, 32, "%s", s + 4);
	else
		snprintf(name, 32, "cap_%d", cap);
	for (char *p = name; *p; p++)
		*p = (char)tolower((unsigned char)*p);
}

/* What no program does, python calls as well. */
static void by_python(struct um_explained *x)
{
	um_line_add(&x->command, "python3 -c 'import ctypes; ctypes.CDLL(None).prctl(%ld, %ld)'",
		    x->args[0], x->args[1]);
}

void um_shell_prctl(struct um_explained *x)
{
	char cap[32];

	switch (x->args[0]) {
	case PR_SET_PDEATHSIG:
		um_line_add(&x->command, "setpriv --pdeathsig %s PROGRAM",
			    x->args[1] ? sigabbrev_np((int)x->args[1]) : "clear");
		break;
	case PR_CAPBSET_DROP:
		low_cap(cap, (int)x->args[1]);
		um_line_add(&x->command, "setpriv --bounding-set -%s PROGRAM", cap);
		break;
	case PR_CAP_AMBIENT:
		low_cap(cap, (int)x->args[2]);
		um_line_add(&x->command, "setpriv --ambient-caps %s%s PROGRAM",
			    x->args[1] == PR_CAP_AMBIENT_RAISE ? "+" : "-all",
			    x->args[1] == PR_CAP_AMBIENT_RAISE ? cap : "");
		break;
	case PR_SET_NO_NEW_PRIVS:
		um_line_add(&x->command, "setpriv --no-new-privs PROGRAM");
		break;
	default:
		by_python(x);
	}
}

static void cap_list(struct um_line *l, uint64_t caps, const char *sets)
{
	uint64_t all = (UINT64_C(1) << (CAP_LAST_CAP + 1)) - 1;
	bool any = false;
	char name[32];

	if ((caps & all) == all || !caps) {
		um_line_add(l, caps ? "all=%s" : "all=", sets);
		return;
	}
	for (int c = 0; c <= CAP_LAST_CAP; c++) {
		if (!(caps & UINT64_C(1) << c))
			continue;
		low_cap(name, c);
		um_line_add(l, any ? ",cap_%s" : "cap_%s", name);
		any = true;
	}
	um_line_add(l, "=%s", sets);
}

void um_shell_capset(struct um_explained *x)
{
	const struct __user_cap_data_struct *d = (const void *)x->args[1];
	uint64_t effective = d[0].effective | (uint64_t)d[1].effective << 32;
	uint64_t permitted = d[0].permitted | (uint64_t)d[1].permitted << 32;
	uint64_t inheritable = d[0].inheritable | (uint64_t)d[1].inheritable << 32;

	um_line_add(&x->command, "capsh --caps='");
	if (effective == permitted) {
		cap_list(&x->command, permitted, inheritable == permitted ? "eip" : "ep");
	} else {
		cap_list(&x->command, permitted, "p");
		um_line_add(&x->command, " ");
		cap_list(&x->command, effective, "e");
	}
	if (inheritable && inheritable != permitted) {
		um_line_add(&x->command, " ");
		cap_list(&x->command, inheritable, "i");
	}
	um_line_add(&x->command, "' -- -c PROGRAM");
}

void um_shell_groups(struct um_explained *x)
{
	const gid_t *g = (const gid_t *)x->args[1];

	um_line_add(&x->command, x->args[0] ? "setpriv --groups " : "setpriv --clear-groups");
	for (long i = 0; i < x->args[0]; i++)
		um_line_add(&x->command, "%s%u", i ? "," : "", g[i]);
	um_line_add(&x->command, " PROGRAM");
}

const char *um_explain_rlimit(unsigned resource)
{
	static const char *const names[] = {
		[RLIMIT_CPU] = "CPU",		[RLIMIT_FSIZE] = "FSIZE",
		[RLIMIT_DATA] = "DATA",		[RLIMIT_STACK] = "STACK",
		[RLIMIT_CORE] = "CORE",		[RLIMIT_RSS] = "RSS",
		[RLIMIT_NPROC] = "NPROC",	[RLIMIT_NOFILE] = "NOFILE",
		[RLIMIT_MEMLOCK] = "MEMLOCK",	[RLIMIT_AS] = "AS",
		[RLIMIT_LOCKS] = "LOCKS",	[RLIMIT_SIGPENDING] = "SIGPENDING",
		[RLIMIT_MSGQUEUE] = "MSGQUEUE", [RLIMIT_NICE] = "NICE",
		[RLIMIT_RTPRIO] = "RTPRIO",	[RLIMIT_RTTIME] = "RTTIME"};

	return resource < UM_ARRAY_LEN(names) && names[resource] ? names[resource] : "?";
}

void um_shell_prlimit(struct um_explained *x)
{
	const struct rlimit *v = (const struct rlimit *)x->args[2];
	const rlim_t both[] = {v->rlim_cur, v->rlim_max};
	const char *name = um_explain_rlimit((unsigned)x->args[1]);

	um_line_add(&x->command, "prlimit --pid $$ --");
	for (; *name; name++)
		um_line_add(&x->command, "%c", tolower((unsigned char)*name));
	for (int i = 0; i < 2; i++)
		if (both[i] == RLIM_INFINITY)
			um_line_add(&x->command, "%cunlimited", i ? ':' : '=');
		else
			um_line_add(&x->command, "%c%llu", i ? ':' : '=',
				    (unsigned long long)both[i]);
}

void um_shell_affinity(struct um_explained *x)
{
	const cpu_set_t *set = (const cpu_set_t *)x->args[2];
	bool any = false;

	um_line_add(&x->command, "taskset -pc ");
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, set)) {
			um_line_add(&x->command, any ? ",%d" : "%d", i);
			any = true;
		}
	um_line_add(&x->command, " $$");
}

void um_shell_ioprio(struct um_explained *x)
{
	um_line_add(&x->command, "ionice -c %ld -n %ld -p $$", x->args[2] >> 13 & 7,
		    x->args[2] & 7);
}

void um_shell_personality(struct um_explained *x)
{
	um_line_add(&x->command,
		    (x->args[0] & 0xff) == PER_LINUX32 ? "setarch linux32 PROGRAM"
						       : "setarch --uname-2.6 PROGRAM  # %#lx",
		    x->args[0]);
}

void um_shell_ioctl(struct um_explained *x)
{
	const struct winsize *w = (const struct winsize *)x->args[2];

	switch (x->args[1]) {
	case SIOCSIFFLAGS:
		um_line_add(&x->command, "ip link set %s up",
			    ((const struct ifreq *)x->args[2])->ifr_name);
		break;
	case TIOCSCTTY:
		um_line_add(&x->command, "setsid --ctty PROGRAM");
		break;
	case TIOCSWINSZ:
		um_line_add(&x->command, "stty rows %d cols %d <", w->ws_row, w->ws_col);
		path_of(x, (int)x->args[0], &x->command);
		break;
	case TIOCSPTLCK:
		um_line_add(&x->command, "script -c PROGRAM  # which makes a terminal so");
		break;
	default:
		um_line_add(&x->command, "stty -F ");
		path_of(x, (int)x->args[0], &x->command);
		um_line_add(&x->command, " raw  # or back, with what stty -g told before");
	}
}

void um_shell_bpf(struct um_explained *x)
{
	const union bpf_attr *a = (const union bpf_attr *)x->args[1];

	if (x->args[0] == BPF_PROG_LOAD) {
		um_line_add(&x->command,
			    "bpftool prog load RULES.o /sys/fs/bpf/RULES type cgroup/dev");
		return;
	}
	um_line_add(&x->command, "bpftool cgroup %s ",
		    x->args[0] == BPF_PROG_ATTACH ? "attach" : "detach");
	path_of(x, (int)a->target_fd, &x->command);
	um_line_add(&x->command, " device pinned /sys/fs/bpf/RULES%s",
		    x->args[0] == BPF_PROG_ATTACH ? " multi" : "");
}

/* "LANDLOCK_ACCESS_FS_READ_FILE" is "read-file" for setpriv(1). */
static void landlock_rights(struct um_line *l, uint64_t rights)
{
	bool any = false;

	for (const struct um_flag *f = um_explain_landlock; *f->name; f++) {
		if (!(rights & f->value))
			continue;
		um_line_add(l, any ? "," : "");
		for (const char *p = f->name + strlen("LANDLOCK_ACCESS_FS_"); *p; p++)
			um_line_add(l, "%c", *p == '_' ? '-' : tolower((unsigned char)*p));
		any = true;
	}
}

void um_shell_landlock(struct um_explained *x)
{
	const void *p = (const void *)x->args[!strcmp(x->name, "landlock_add_rule") ? 2 : 0];
	const struct um_landlock_path *path = p;
	const struct um_landlock_port *port = p;
	struct um_line *l = &x->command;

	if (!strcmp(x->name, "landlock_restrict_self")) {
		um_line_add(
			l, "setpriv --landlock-access ... --landlock-rule ... PROGRAM  # as above");
	} else if (!strcmp(x->name, "landlock_create_ruleset")) {
		um_line_add(l, "setpriv --landlock-access fs:");
		landlock_rights(l, ((const struct um_landlock_ruleset *)p)->fs);
		um_line_add(l, " PROGRAM  # util-linux 2.40; it knows no ports");
	} else if (x->args[1] == UM_LANDLOCK_RULE_PATH) {
		um_line_add(l, "setpriv --landlock-rule path-beneath:");
		landlock_rights(l, path->allowed);
		um_line_add(l, ":/dev/fd/%d PROGRAM", path->parent_fd);
	} else {
		um_line_add(l, "iptables -A OUTPUT -p tcp --%cport %u -j ACCEPT  # is the nearest",
			    port->allowed & UM_LANDLOCK_BIND_TCP ? 's' : 'd', (unsigned)port->port);
	}
}
