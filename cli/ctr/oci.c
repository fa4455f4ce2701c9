/* The OCI config.json of a container: what was asked, in the runtime's words. */
#include <string.h>
#include <sys/capability.h>

#include "agent/internal.h"
#include "agent/oci_defaults.h"
#include "cli/ctr/ctr.h"

struct maker {
	struct um_arena *a;
	const struct ctr *c;
	const struct um_json *config, *host;
	const struct um_image *img;
	const struct ctr_live *shim;
	const struct ctr_start *start;
	struct um_error *err;
	bool privileged;
	struct um_oci_caps caps;
};

static int set_user(const struct maker *m, struct um_json *process)
{
	struct um_json *image = um_json_new_obj(m->a), *o, *groups;
	char rootfs[1200];
	struct ctr_user u;
	int r;

	snprintf(rootfs, sizeof(rootfs), "%s/rootfs", m->c->run_dir);
	um_json_set_str(m->a, um_json_ensure_obj(m->a, image, "config"), "User",
			um_json_get_str(m->config, "Config.User", ""));
	r = resolve_user(NULL, NULL, image, rootfs, &u, m->err);
	if (r < 0)
		return r;
	o = um_json_ensure_obj(m->a, process, "user");
	um_json_set_i64(m->a, o, "uid", u.uid);
	um_json_set_i64(m->a, o, "gid", u.gid);
	groups = um_json_ensure_arr(m->a, o, "additionalGids");
	for (size_t i = 0; i < u.n_groups; i++)
		um_json_append(groups, um_json_new_i64(m->a, u.groups[i]));
	return 0;
}

static struct um_json *process(const struct maker *m)
{
	struct um_json *o = um_json_new_obj(m->a), *args, *size;
	bool tty = um_json_get_bool(m->config, "Config.Tty", false);
	const char *cwd = um_json_get_str(m->config, "Config.WorkingDir", "");

	um_json_set_bool(m->a, o, "terminal", tty);
	if (tty && m->start->rows) {
		size = um_json_ensure_obj(m->a, o, "consoleSize");
		um_json_set_i64(m->a, size, "height", m->start->rows);
		um_json_set_i64(m->a, size, "width", m->start->cols);
	}
	if (set_user(m, o) < 0)
		return NULL;
	args = um_json_ensure_arr(m->a, o, "args");
	um_json_append(args, um_json_new_str(m->a, um_json_get_str(m->config, "Path", "")));
	um_json_foreach (it, um_json_get(m->config, "Args"))
		um_json_append(args, um_json_copy(m->a, it));
	um_json_set(m->a, o, "env", um_json_copy(m->a, um_json_path(m->config, "Config.Env")));
	um_json_set_str(m->a, o, "cwd", *cwd ? cwd : "/");
	um_json_set(m->a, o, "capabilities", um_oci_capabilities(m->a, &m->caps));
	um_json_set_bool(m->a, o, "noNewPrivileges",
			 um_json_get_bool(m->host, "NoNewPrivileges", false));
	return o;
}

/* ---- mounts ---- */

static struct um_json *mount_object(const struct maker *m, const char *type, const char *source,
				    const char *target, const char *const *options)
{
	struct um_json *o = um_json_new_obj(m->a);

	um_json_set_str(m->a, o, "destination", target);
	um_json_set_str(m->a, o, "type", type);
	um_json_set_str(m->a, o, "source", source);
	um_json_set(m->a, o, "options", um_oci_strings(m->a, options));
	return o;
}

static void system_mounts(const struct maker *m, struct um_json *list)
{
	static const char *const proc[] = {"nosuid", "noexec", "nodev", NULL};
	static const char *const dev[] = {"nosuid", "strictatime", "mode=755", "size=65536k", NULL};
	static const char *const pts[] = {"nosuid",    "noexec", "newinstance", "ptmxmode=0666",
					  "mode=0620", "gid=5",	 NULL};
	static const char *const shm[] = {"nosuid",    "noexec",      "nodev",
					  "mode=1777", "size=65536k", NULL};
	static const char *const ro[] = {"nosuid", "noexec", "nodev", "ro", NULL};
	const char *const *sys = m->privileged ? proc : ro;

	um_json_append(list, mount_object(m, "proc", "proc", "/proc", proc));
	um_json_append(list, mount_object(m, "tmpfs", "tmpfs", "/dev", dev));
	um_json_append(list, mount_object(m, "devpts", "devpts", "/dev/pts", pts));
	um_json_append(list, mount_object(m, "tmpfs", "shm", "/dev/shm", shm));
	um_json_append(list, mount_object(m, "mqueue", "mqueue", "/dev/mqueue", proc));
	um_json_append(list, mount_object(m, "sysfs", "sysfs", "/sys", sys));
	um_json_append(list, mount_object(m, "cgroup", "cgroup", "/sys/fs/cgroup", sys));
}

static struct um_json *tmpfs_mount(const struct maker *m, const char *target, const char *text)
{
	static const char *const none[] = {"nosuid", "nodev", "noexec", NULL};
	struct um_json *o = mount_object(m, "tmpfs", "tmpfs", target, none);
	struct um_json *options = um_json_get(o, "options");

	while (*text) {
		size_t len = strcspn(text, ",");

		if (len)
			um_json_append(options, um_json_new_strn(m->a, text, len));
		text += len + (text[len] == ',');
	}
	return o;
}

static unsigned depth(const char *path)
{
	unsigned n = 0;

	for (; *path; path++)
		n += *path == '/' && path[1] && path[1] != '/';
	return n;
}

/* What is mounted within another mount comes behind it. */
static void add_users_mounts(const struct maker *m, struct um_json *list)
{
	static const char *const rw[] = {"rbind", "rprivate", "rw", NULL};
	static const char *const ro[] = {"rbind", "rprivate", "ro", NULL};
	unsigned most = 0;

	um_json_foreach (it, um_json_get(m->config, "Mounts")) {
		unsigned d = depth(um_json_get_str(it, "Destination", ""));

		most = d > most ? d : most;
	}
	um_json_foreach (it, um_json_get(m->host, "Tmpfs")) {
		unsigned d = depth(it->key);

		most = d > most ? d : most;
	}
	for (unsigned level = 0; level <= most; level++) {
		um_json_foreach (it, um_json_get(m->host, "Tmpfs"))
			if (depth(it->key) == level)
				um_json_append(list, tmpfs_mount(m, it->key, um_json_str(it, "")));
		um_json_foreach (it, um_json_get(m->config, "Mounts")) {
			const char *target = um_json_get_str(it, "Destination", "");

			if (depth(target) == level)
				um_json_append(
					list,
					mount_object(m, "bind", um_json_get_str(it, "Source", ""),
						     target,
						     um_json_get_bool(it, "RW", true) ? rw : ro));
		}
	}
}

static bool mounted_by_user(const struct maker *m, const char *target)
{
	um_json_foreach (it, um_json_get(m->config, "Mounts"))
		if (!strcmp(um_json_get_str(it, "Destination", ""), target))
			return true;
	return false;
}

static void file_mounts(const struct maker *m, struct um_json *list)
{
	static const char *const options[] = {"rbind", "rprivate", NULL};
	static const struct {
		const char *file, *target;
	} files[] = {{"hosts", "/etc/hosts"},
		     {"hostname", "/etc/hostname"},
		     {"resolv.conf", "/etc/resolv.conf"}};

	for (size_t i = 0; i < UM_ARRAY_LEN(files); i++)
		if (!mounted_by_user(m, files[i].target))
			um_json_append(list,
				       mount_object(m, "bind",
						    um_arena_printf(m->a, "%s/%s", m->c->run_dir,
								    files[i].file),
						    files[i].target, options));
}

/* ---- linux ---- */

static struct um_json *namespaces(const struct maker *m)
{
	const struct {
		const char *type;
		bool wanted;
		int fd; /* in the shim; -1: a new one */
	} kinds[] = {
		{"mount", true, -1},
		{"pid", true, -1},
		{"network", m->shim->ns_net >= 0, m->shim->ns_net},
		{"ipc", m->shim->ns_ipc >= 0, m->shim->ns_ipc},
		{"uts", m->shim->ns_uts >= 0, m->shim->ns_uts},
		{"cgroup", true, -1},
	};
	struct um_json *list = um_json_new_arr(m->a);

	for (size_t i = 0; i < UM_ARRAY_LEN(kinds); i++) {
		struct um_json *o;

		if (!kinds[i].wanted)
			continue;
		o = um_json_append(list, um_json_new_obj(m->a));
		um_json_set_str(m->a, o, "type", kinds[i].type);
		if (kinds[i].fd >= 0)
			um_json_set_str(m->a, o, "path",
					um_arena_printf(m->a, "/proc/%d/fd/%d", m->shim->shim,
							kinds[i].fd));
	}
	return list;
}

static struct um_json *resources(const struct maker *m)
{
	struct um_json *o = um_json_new_obj(m->a), *list, *rule, *part;
	int64_t memory = um_json_get_i64(m->host, "Memory", 0);
	int64_t cpus = um_json_get_i64(m->host, "NanoCpus", 0);
	int64_t pids = um_json_get_i64(m->host, "PidsLimit", 0);

	list = um_json_ensure_arr(m->a, o, "devices");
	rule = um_json_append(list, um_json_new_obj(m->a));
	um_json_set_bool(m->a, rule, "allow", m->privileged);
	um_json_set_str(m->a, rule, "access", "rwm");
	if (memory) {
		part = um_json_ensure_obj(m->a, o, "memory");
		um_json_set_i64(m->a, part, "limit", memory);
	}
	if (cpus) {
		part = um_json_ensure_obj(m->a, o, "cpu");
		um_json_set_i64(m->a, part, "period", 100000);
		um_json_set_i64(m->a, part, "quota", cpus / 10000 < 1000 ? 1000 : cpus / 10000);
	}
	if (pids > 0) {
		part = um_json_ensure_obj(m->a, o, "pids");
		um_json_set_i64(m->a, part, "limit", pids);
	}
	return o;
}

static struct um_json *linux_part(const struct maker *m)
{
	struct um_json *o = um_json_new_obj(m->a);

	um_json_set(m->a, o, "namespaces", namespaces(m));
	um_json_set_str(m->a, o, "cgroupsPath",
			um_arena_printf(m->a, "/%s/%s", ctr_env.cgroup_parent, m->c->id));
	um_json_set(m->a, o, "resources", resources(m));
	if (m->privileged)
		return o;
	um_json_set(m->a, o, "maskedPaths", um_oci_strings(m->a, um_oci_masked));
	um_json_set(m->a, o, "readonlyPaths", um_oci_strings(m->a, um_oci_readonly));
	if (!um_json_get_bool(m->host, "SeccompUnconfined", false))
		um_json_set(m->a, o, "seccomp", um_oci_default_seccomp(m->a, &m->caps));
	return o;
}

struct um_json *ctr_oci_config(struct um_arena *a, const struct ctr *c, const struct um_image *img,
			       const struct ctr_live *shim, const struct ctr_start *s,
			       struct um_error *err)
{
	struct maker m = {.a = a,
			  .c = c,
			  .config = c->config,
			  .host = um_json_get(c->config, "HostConfig"),
			  .img = img,
			  .shim = shim,
			  .start = s,
			  .err = err};
	struct um_json *o = um_json_new_obj(a), *root, *mounts, *part;

	m.privileged = um_json_get_bool(m.host, "Privileged", false);
	m.caps = (struct um_oci_caps){
		.privileged = m.privileged,
		.add = um_json_get(m.host, "CapAdd"),
		.drop = um_json_get(m.host, "CapDrop"),
		.sys_resource = cap_get_bound(CAP_SYS_RESOURCE) == 1,
	};
	part = process(&m);
	if (!part)
		return NULL;
	um_json_set_str(a, o, "ociVersion", "1.0.2");
	um_json_set(a, o, "process", part);
	root = um_json_ensure_obj(a, o, "root");
	um_json_set_str(a, root, "path", "rootfs");
	um_json_set_bool(a, root, "readonly", um_json_get_bool(m.host, "ReadonlyRootfs", false));
	mounts = um_json_ensure_arr(a, o, "mounts");
	system_mounts(&m, mounts);
	file_mounts(&m, mounts);
	add_users_mounts(&m, mounts);
	um_json_set(a, o, "linux", linux_part(&m));
	if (um_arena_failed(a)) {
		um_error_set(err, -E2BIG, "the container's configuration is too large");
		return NULL;
	}
	return o;
}
