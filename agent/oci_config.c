/* The OCI config.json of a container: the pod's words in the runtime's. Pure but for the paths it
 * is given. */
#include "agent/internal.h"

#include <string.h>

#include "agent/oci_defaults.h"
#include "base/quantity.h"

struct maker {
	struct um_arena *a;
	const struct agent_ctr *c;
	const struct agent_pod *p;
	const struct um_json *pod, *spec, *image;
	const char *bundle, *rootfs;
	struct um_error *err;
	bool privileged;
};

static struct um_json *strings(struct um_arena *a, const char *const *list)
{
	struct um_json *arr = um_json_new_arr(a);

	for (; *list; list++)
		um_json_append(arr, um_json_new_str(a, *list));
	return arr;
}

static const struct um_json *security(const struct maker *m, const char *name)
{
	return um_json_get(um_json_get(m->spec, "securityContext"), name);
}

/* ---- process ---- */

static struct um_json *expand_all(const struct maker *m, const struct um_json *list,
				  const struct um_json *env, struct um_json *into)
{
	um_json_foreach (it, list) {
		const char *s = um_json_str(it, "");

		um_json_append(into, um_json_new_str(m->a, env ? expand_vars(m->a, s, env) : s));
	}
	return into;
}

/* command and args replace the image's Entrypoint and Cmd as Kubernetes has it. */
static struct um_json *process_args(const struct maker *m, const struct um_json *env)
{
	const struct um_json *command = um_json_get(m->spec, "command");
	const struct um_json *args = um_json_get(m->spec, "args");
	struct um_json *out = um_json_new_arr(m->a);

	if (um_json_first(command))
		expand_all(m, command, env, out);
	else
		expand_all(m, um_json_path(m->image, "config.Entrypoint"), NULL, out);
	if (um_json_first(args))
		expand_all(m, args, env, out);
	else if (!um_json_first(command))
		expand_all(m, um_json_path(m->image, "config.Cmd"), NULL, out);
	if (!um_json_first(out)) {
		um_error_set(m->err, -EINVAL,
			     "no command specified: neither the container nor its image has one");
		return NULL;
	}
	return out;
}

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
static bool host_has(const struct maker *m, const char *cap)
{
	return strcmp(cap, "CAP_SYS_RESOURCE") || m->p->agent->can_lower_oom;
}

static bool has_cap(const struct maker *m, const char *cap)
{
	const struct um_json *caps = security(m, "capabilities");
	const struct um_json *add = um_json_get(caps, "add"), *drop = um_json_get(caps, "drop");

	if (m->privileged)
		return host_has(m, cap);
	if (names_cap(add, cap))
		return host_has(m, cap);
	if (names_cap(drop, cap))
		return false;
	for (const char *const *d = um_oci_default_caps; *d; d++)
		if (!strcmp(*d, cap))
			return true;
	return false;
}

static struct um_json *capabilities(const struct maker *m)
{
	static const char *const sets[] = {"bounding", "effective", "permitted"};
	struct um_json *out = um_json_new_obj(m->a);

	for (size_t i = 0; i < UM_ARRAY_LEN(sets); i++) {
		struct um_json *list = um_json_new_arr(m->a);

		for (const char *const *cap = um_oci_all_caps; *cap; cap++)
			if (has_cap(m, *cap))
				um_json_append(list, um_json_new_str(m->a, *cap));
		um_json_set(m->a, out, sets[i], list);
	}
	return out;
}

static struct um_json *user_object(const struct maker *m, const struct ctr_user *u)
{
	struct um_json *o = um_json_new_obj(m->a), *groups;

	um_json_set_i64(m->a, o, "uid", u->uid);
	um_json_set_i64(m->a, o, "gid", u->gid);
	if (u->n_groups) {
		groups = um_json_set(m->a, o, "additionalGids", um_json_new_arr(m->a));
		for (size_t i = 0; i < u->n_groups; i++)
			um_json_append(groups, um_json_new_i64(m->a, u->groups[i]));
	}
	return o;
}

/* The kubelet's rule: the more a burstable container asks for, the later it is killed. */
static int64_t oom_score(const struct maker *m)
{
	const char *qos = pod_qos(m->pod);
	const char *text = um_json_get_str(m->spec, "resources.requests.memory", NULL);
	int64_t total = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE), bytes, score;

	if (!strcmp(qos, "Guaranteed"))
		return m->p->agent->can_lower_oom ? -997 : 0;
	if (!strcmp(qos, "BestEffort"))
		return 1000;
	if (!text || um_quantity_value(text, &bytes) < 0 || total <= 0)
		return 999;
	score = 1000 - (int64_t)(1000.0 * (double)bytes / (double)total);
	return score < 3 ? 3 : score > 999 ? 999 : score;
}

static struct um_json *process(const struct maker *m)
{
	struct um_json *o = um_json_new_obj(m->a);
	struct um_json *env = ctr_environment(m->a, m->c, m->image, m->err), *args;
	const char *cwd = um_json_get_str(m->spec, "workingDir", "");
	struct ctr_user user;

	if (!env || !(args = process_args(m, env)) ||
	    resolve_user(m->pod, m->spec, m->image, m->rootfs, &user, m->err) < 0)
		return NULL;
	if (!*cwd)
		cwd = um_json_get_str(m->image, "config.WorkingDir", "");
	um_json_set_bool(m->a, o, "terminal", um_json_get_bool(m->spec, "tty", false));
	um_json_set(m->a, o, "user", user_object(m, &user));
	um_json_set(m->a, o, "args", args);
	if (um_json_get_bool(m->spec, "tty", false))
		um_json_append(env, um_json_new_str(m->a, "TERM=xterm"));
	um_json_set(m->a, o, "env", env);
	um_json_set_str(m->a, o, "cwd", *cwd ? cwd : "/");
	um_json_set(m->a, o, "capabilities", capabilities(m));
	um_json_set_bool(m->a, o, "noNewPrivileges",
			 um_json_is(security(m, "allowPrivilegeEscalation"), UM_JSON_BOOL) &&
				 !um_json_bool(security(m, "allowPrivilegeEscalation"), true));
	um_json_set_i64(m->a, o, "oomScoreAdj", oom_score(m));
	return o;
}

/* ---- mounts ---- */

static void add_mount(const struct maker *m, struct um_json *list, const char *type,
		      const char *source, const char *target, const char *const *options)
{
	struct um_json *o = um_json_append(list, um_json_new_obj(m->a));

	um_json_set_str(m->a, o, "destination", target);
	um_json_set_str(m->a, o, "type", type);
	um_json_set_str(m->a, o, "source", source);
	um_json_set(m->a, o, "options", strings(m->a, options));
}

static void system_mounts(const struct maker *m, struct um_json *list)
{
	static const char *const proc[] = {"nosuid", "noexec", "nodev", NULL};
	static const char *const dev[] = {"nosuid", "strictatime", "mode=755", "size=65536k", NULL};
	static const char *const pts[] = {"nosuid",    "noexec", "newinstance", "ptmxmode=0666",
					  "mode=0620", "gid=5",	 NULL};
	static const char *const ro[] = {"nosuid", "noexec", "nodev", "ro", NULL};
	static const char *const shm[] = {"bind", "nosuid", "noexec", "nodev", NULL};
	char path[4096];

	add_mount(m, list, "proc", "proc", "/proc", proc);
	add_mount(m, list, "tmpfs", "tmpfs", "/dev", dev);
	add_mount(m, list, "devpts", "devpts", "/dev/pts", pts);
	add_mount(m, list, "mqueue", "mqueue", "/dev/mqueue", proc);
	add_mount(m, list, "sysfs", "sysfs", "/sys", m->privileged ? proc : ro);
	add_mount(m, list, "cgroup", "cgroup", "/sys/fs/cgroup", m->privileged ? proc : ro);
	if (pod_run_path(m->p, path, sizeof(path), "shm") == 0)
		add_mount(m, list, "bind", path, "/dev/shm", shm);
}

static void file_mounts(const struct maker *m, struct um_json *list)
{
	static const char *const rw[] = {"rbind", "rprivate", NULL};
	static const struct {
		const char *file, *target;
	} files[] = {{"hosts", "/etc/hosts"},
		     {"hostname", "/etc/hostname"},
		     {"resolv.conf", "/etc/resolv.conf"}};
	char path[4096];

	for (size_t i = 0; i < UM_ARRAY_LEN(files); i++)
		if (pod_run_path(m->p, path, sizeof(path), "%s", files[i].file) == 0)
			add_mount(m, list, "bind", path, files[i].target, rw);
	snprintf(path, sizeof(path), "%s/termination", m->bundle);
	add_mount(m, list, "bind", path,
		  um_json_get_str(m->spec, "terminationMessagePath", "/dev/termination-log"), rw);
}

static int volume_mounts(const struct maker *m, struct um_json *list)
{
	um_json_foreach (vm, um_json_get(m->spec, "volumeMounts")) {
		const char *name = um_json_get_str(vm, "name", "");
		const char *options[5];
		const struct um_json *volume = NULL;
		bool ro = um_json_get_bool(vm, "readOnly", false);
		char path[4096];
		int n = 0;

		um_json_foreach (v, um_json_path(m->pod, "spec.volumes")) {
			if (!strcmp(um_json_get_str(v, "name", ""), name))
				volume = v;
		}
		if (!volume || volume_path(m->p, name, volume, path, sizeof(path)) < 0)
			return um_error_set(m->err, -EINVAL, "volumeMounts: no volume \"%s\"",
					    name);
		if (um_json_get(vm, "subPath") || um_json_get(vm, "subPathExpr"))
			return um_error_set(m->err, -EOPNOTSUPP,
					    "volumeMounts: subPath is not supported yet");
		if (um_json_get(volume, "configMap") || um_json_get(volume, "secret"))
			ro = true;
		options[n++] = "rbind";
		options[n++] = "rprivate";
		options[n++] = ro ? "ro" : "rw";
		options[n] = NULL;
		add_mount(m, list, "bind", path, um_json_get_str(vm, "mountPath", ""), options);
	}
	return 0;
}

/* ---- linux ---- */

static struct um_json *namespaces(const struct maker *m)
{
	const struct agent_pod *p = m->p;
	const struct {
		const char *type;
		bool wanted;
		int fd; /* in the shim; -1: a new one */
	} kinds[] = {
		{"mount", true, -1},
		{"pid", !um_json_get_bool(m->pod, "spec.hostPID", false), p->ns_pid},
		{"network", p->ns_net >= 0, p->ns_net},
		{"ipc", p->ns_ipc >= 0, p->ns_ipc},
		{"uts", p->ns_uts >= 0, p->ns_uts},
		{"cgroup", !m->privileged, -1},
	};
	struct um_json *list = um_json_new_arr(m->a);

	for (size_t i = 0; i < UM_ARRAY_LEN(kinds); i++) {
		struct um_json *o;

		if (!kinds[i].wanted)
			continue;
		o = um_json_append(list, um_json_new_obj(m->a));
		um_json_set_str(m->a, o, "type", kinds[i].type);
		if (kinds[i].fd >= 0)
			um_json_set_str(
				m->a, o, "path",
				um_arena_printf(m->a, "/proc/%d/fd/%d", p->shim_pid, kinds[i].fd));
	}
	return list;
}

static int64_t quantity(const struct maker *m, const char *path,
			int (*parse)(const char *, int64_t *))
{
	const char *text = um_json_get_str(m->spec, path, NULL);
	int64_t v;

	return text && parse(text, &v) == 0 && v > 0 ? v : 0;
}

static void device_rules(const struct maker *m, struct um_json *resources)
{
	struct um_json *list = um_json_set(m->a, resources, "devices", um_json_new_arr(m->a));
	struct um_json *o = um_json_append(list, um_json_new_obj(m->a));

	um_json_set_bool(m->a, o, "allow", m->privileged);
	um_json_set_str(m->a, o, "access", "rwm");
}

static struct um_json *resources(const struct maker *m)
{
	struct um_json *o = um_json_new_obj(m->a), *cpu, *memory;
	int64_t request = quantity(m, "resources.requests.cpu", um_quantity_milli);
	int64_t limit = quantity(m, "resources.limits.cpu", um_quantity_milli);
	int64_t bytes = quantity(m, "resources.limits.memory", um_quantity_value);
	int64_t shares = request * 1024 / 1000;

	device_rules(m, o);
	cpu = um_json_ensure_obj(m->a, o, "cpu");
	um_json_set_i64(m->a, cpu, "shares", shares < 2 ? 2 : shares > 262144 ? 262144 : shares);
	if (limit) {
		um_json_set_i64(m->a, cpu, "period", 100000);
		um_json_set_i64(m->a, cpu, "quota", limit * 100 < 1000 ? 1000 : limit * 100);
	}
	if (bytes) {
		memory = um_json_ensure_obj(m->a, o, "memory");
		um_json_set_i64(m->a, memory, "limit", bytes);
	}
	return o;
}

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

static struct um_json *linux_part(const struct maker *m)
{
	struct um_json *o = um_json_new_obj(m->a);
	char path[512];

	if (pod_cgroup_path(m->p, path, sizeof(path)) < 0)
		return NULL;
	um_json_set(m->a, o, "namespaces", namespaces(m));
	um_json_set_str(m->a, o, "cgroupsPath",
			um_arena_printf(m->a, "%s/%s-%d", path, m->c->name, m->c->attempt));
	um_json_set(m->a, o, "resources", resources(m));
	if (!m->privileged) {
		um_json_set(m->a, o, "maskedPaths", strings(m->a, um_oci_masked));
		um_json_set(m->a, o, "readonlyPaths", strings(m->a, um_oci_readonly));
	}
	return o;
}

/* ---- seccomp ---- */

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

struct um_json *um_oci_default_seccomp(struct um_arena *a,
				       bool (*allowed)(const void *arg, const char *cap),
				       const void *arg)
{
	struct um_json *o = um_json_new_obj(a), *rules, *rule, *names;

	um_json_set_str(a, o, "defaultAction", "SCMP_ACT_ALLOW");
	rules = um_json_set(a, o, "syscalls", um_json_new_arr(a));
	rule = um_json_append(rules, um_json_new_obj(a));
	names = um_json_set(a, rule, "names", um_json_new_arr(a));
	for (size_t i = 0; i < UM_ARRAY_LEN(default_refused); i++)
		if (!default_refused[i].unless || !allowed(arg, default_refused[i].unless))
			um_json_append(names, um_json_new_str(a, default_refused[i].name));
	um_json_set_str(a, rule, "action", "SCMP_ACT_ERRNO");
	um_json_set_i64(a, rule, "errnoRet", EPERM);
	return o;
}

static bool maker_has_cap(const void *m, const char *cap)
{
	return has_cap(m, cap);
}

/* The container's profile, else the pod's. */
static int add_seccomp(const struct maker *m, struct um_json *linux_obj)
{
	const struct um_json *profile = security(m, "seccompProfile");
	const char *type;

	if (!profile)
		profile = um_json_path(m->pod, "spec.securityContext.seccompProfile");
	type = um_json_get_str(profile, "type", "Unconfined");
	if (!strcmp(type, "Unconfined") || m->privileged)
		return 0;
	if (strcmp(type, "RuntimeDefault"))
		return um_error_set(m->err, -EOPNOTSUPP,
				    "securityContext.seccompProfile: type %s is not supported yet",
				    type);
	um_json_set(m->a, linux_obj, "seccomp", um_oci_default_seccomp(m->a, maker_has_cap, m));
	return 0;
}

struct um_json *oci_config(struct um_arena *a, const struct agent_ctr *c,
			   const struct um_json *image_config, const char *bundle,
			   struct um_error *err)
{
	struct maker m = {.a = a,
			  .c = c,
			  .p = c->pod,
			  .pod = c->pod->obj,
			  .spec = c->spec,
			  .image = image_config,
			  .bundle = bundle,
			  .err = err};
	struct um_json *o = um_json_new_obj(a), *root, *mounts, *part;

	m.privileged = um_json_bool(security(&m, "privileged"), false);
	m.rootfs = um_arena_printf(a, "%s/rootfs", bundle);
	if (!m.rootfs || !(part = process(&m)))
		return NULL;
	um_json_set_str(a, o, "ociVersion", "1.0.2");
	um_json_set(a, o, "process", part);
	root = um_json_ensure_obj(a, o, "root");
	um_json_set_str(a, root, "path", "rootfs");
	um_json_set_bool(a, root, "readonly",
			 um_json_bool(security(&m, "readOnlyRootFilesystem"), false));
	mounts = um_json_set(a, o, "mounts", um_json_new_arr(a));
	system_mounts(&m, mounts);
	file_mounts(&m, mounts);
	if (volume_mounts(&m, mounts) < 0)
		return NULL;
	part = um_json_set(a, o, "linux", linux_part(&m));
	if (add_seccomp(&m, part) < 0)
		return NULL;
	if (um_arena_failed(a)) {
		um_error_set(err, -E2BIG, "container %s: its configuration is too large", c->name);
		return NULL;
	}
	return o;
}
