/* The OCI config.json of a container: the pod's words in the runtime's. Pure but for the paths it
 * is given. */
#include "agent/internal.h"

#include <string.h>

#include "agent/oci_defaults.h"
#include "agent/projection.h"
#include "agent/subpath.h"
#include "agent/sysctl.h"
#include "base/quantity.h"

struct maker {
	struct um_arena *a;
	const struct agent_ctr *c;
	const struct agent_pod *p;
	const struct um_json *pod, *spec, *image;
	const char *bundle, *rootfs;
	struct um_error *err;
	bool privileged;
	struct um_oci_caps caps;
};

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
	um_json_set(m->a, o, "capabilities", um_oci_capabilities(m->a, &m->caps));
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
	um_json_set(m->a, o, "options", um_oci_strings(m->a, options));
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
	size_t index = 0;

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
		if ((*um_json_get_str(vm, "subPath", "") ||
		     *um_json_get_str(vm, "subPathExpr", "")) &&
		    subpath_target(m->bundle, index, path, sizeof(path)) < 0)
			return um_error_set(m->err, -ENAMETOOLONG,
					    "volumeMounts: the path of the "
					    "bundle is too long");
		index++;
		if (projection_is(volume))
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
	const struct um_oci_namespace kinds[] = {
		{"mount", true, -1},
		{"pid", !um_json_get_bool(m->pod, "spec.hostPID", false), p->ns_pid},
		{"network", p->ns_net >= 0, p->ns_net},
		{"ipc", p->ns_ipc >= 0, p->ns_ipc},
		{"uts", p->ns_uts >= 0, p->ns_uts},
		{"cgroup", !m->privileged, -1},
	};

	return um_oci_namespaces(m->a, kinds, UM_ARRAY_LEN(kinds), p->shim_pid);
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

static struct um_json *linux_part(const struct maker *m)
{
	struct um_json *o = um_json_new_obj(m->a), *sysctls;
	char path[512];

	if (pod_cgroup_path(m->p, path, sizeof(path)) < 0)
		return NULL;
	um_json_set(m->a, o, "namespaces", namespaces(m));
	um_json_set_str(m->a, o, "cgroupsPath",
			um_arena_printf(m->a, "%s/%s-%d", path, m->c->name, m->c->attempt));
	um_json_set(m->a, o, "resources", resources(m));
	sysctls = sysctl_config(m->a, m->pod);
	if (sysctls)
		um_json_set(m->a, o, "sysctl", sysctls);
	if (!m->privileged) {
		um_json_set(m->a, o, "maskedPaths", um_oci_strings(m->a, um_oci_masked));
		um_json_set(m->a, o, "readonlyPaths", um_oci_strings(m->a, um_oci_readonly));
	}
	return o;
}

/* ---- seccomp ---- */

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
	um_json_set(m->a, linux_obj, "seccomp", um_oci_default_seccomp(m->a, &m->caps));
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
	m.caps = (struct um_oci_caps){
		.privileged = m.privileged,
		.add = um_json_get(security(&m, "capabilities"), "add"),
		.drop = um_json_get(security(&m, "capabilities"), "drop"),
		.sys_resource = c->pod->agent->can_lower_oom,
	};
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
