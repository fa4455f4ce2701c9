/* The OCI config.json of a container: what was asked, in the runtime's words. */
#include <ctype.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "agent/internal.h"
#include "agent/oci_defaults.h"
#include "cli/ctr/ctr.h"

#define SHM_BYTES (64 << 20)

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
	um_json_foreach (it, um_json_get(m->host, "GroupAdd")) {
		uint32_t gid;

		r = resolve_group(um_json_str(it, ""), rootfs, &gid, m->err);
		if (r < 0)
			return r;
		um_json_append(groups, um_json_new_i64(m->a, gid));
	}
	return 0;
}

static struct um_json *limit(const struct maker *m, const struct um_json *it, const char *key)
{
	int64_t v = um_json_get_i64(it, key, -1);

	return v < 0 ? um_json_new_num(m->a, "18446744073709551615", 20) : um_json_new_i64(m->a, v);
}

static void set_rlimits(const struct maker *m, struct um_json *process)
{
	struct um_json *list = um_json_ensure_arr(m->a, process, "rlimits");

	um_json_foreach (it, um_json_get(m->host, "Ulimits")) {
		struct um_json *o = um_json_append(list, um_json_new_obj(m->a));
		char type[40] = "RLIMIT_";
		size_t n = strlen(type);

		for (const char *p = um_json_get_str(it, "Name", ""); *p && n < 39; p++)
			type[n++] = (char)toupper((unsigned char)*p);
		type[n] = '\0';
		um_json_set_str(m->a, o, "type", type);
		um_json_set(m->a, o, "soft", limit(m, it, "Soft"));
		um_json_set(m->a, o, "hard", limit(m, it, "Hard"));
	}
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
	set_rlimits(m, o);
	um_json_set(m->a, o, "capabilities", um_oci_capabilities(m->a, &m->caps));
	if (um_json_get(m->host, "OomScoreAdj"))
		um_json_set_i64(m->a, o, "oomScoreAdj", um_json_get_i64(m->host, "OomScoreAdj", 0));
	um_json_set_bool(m->a, o, "noNewPrivileges",
			 um_json_get_bool(m->host, "NoNewPrivileges", false));
	return o;
}

static bool is_host(const struct maker *m, const char *mode)
{
	return !strcmp(um_json_get_str(m->host, mode, ""), "host");
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
	long long shm_bytes = (long long)um_json_get_i64(m->host, "ShmSize", SHM_BYTES);
	const char *const shm[] = {"nosuid",
				   "noexec",
				   "nodev",
				   "mode=1777",
				   um_arena_printf(m->a, "size=%lld", shm_bytes),
				   NULL};
	static const char *const bind[] = {"rbind", "rprivate", NULL};
	static const char *const ro[] = {"nosuid", "noexec", "nodev", "ro", NULL};
	const char *const *sys = m->privileged ? proc : ro;

	um_json_append(list, mount_object(m, "proc", "proc", "/proc", proc));
	um_json_append(list, mount_object(m, "tmpfs", "tmpfs", "/dev", dev));
	um_json_append(list, mount_object(m, "devpts", "devpts", "/dev/pts", pts));
	if (is_host(m, "IpcMode"))
		um_json_append(list, mount_object(m, "bind", "/dev/shm", "/dev/shm", bind));
	else
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

static struct um_json *bind_mount(const struct maker *m, const struct um_json *it)
{
	bool flat = um_json_get_bool(it, "Flat", false);
	const char *const options[] = {flat ? "bind" : "rbind", flat ? "private" : "rprivate",
				       um_json_get_bool(it, "RW", true) ? "rw" : "ro", NULL};

	return mount_object(m, "bind", um_json_get_str(it, "Source", ""),
			    um_json_get_str(it, "Destination", ""), options);
}

/* What is mounted within another mount comes behind it. */
static void add_users_mounts(const struct maker *m, struct um_json *list)
{
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
			if (depth(um_json_get_str(it, "Destination", "")) == level)
				um_json_append(list, bind_mount(m, it));
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
	const struct um_oci_namespace kinds[] = {
		{"mount", true, -1},
		{"pid", !is_host(m, "PidMode"), m->shim->ns_pid},
		{"network", m->shim->ns_net >= 0, m->shim->ns_net},
		{"ipc", m->shim->ns_ipc >= 0 && !is_host(m, "IpcMode"), m->shim->ns_ipc},
		{"uts", m->shim->ns_uts >= 0 && !is_host(m, "UTSMode"), m->shim->ns_uts},
		{"cgroup", true, -1},
	};

	return um_oci_namespaces(m->a, kinds, UM_ARRAY_LEN(kinds), m->shim->shim);
}

/* ---- devices ---- */

static void device_object(const struct maker *m, struct um_json *o, const struct stat *st)
{
	um_json_set_str(m->a, o, "type", S_ISBLK(st->st_mode) ? "b" : "c");
	um_json_set_i64(m->a, o, "major", major(st->st_rdev));
	um_json_set_i64(m->a, o, "minor", minor(st->st_rdev));
}

/* The nodes of --device, and the rules that let them be used. */
static int devices(const struct maker *m, struct um_json *nodes, struct um_json *rules)
{
	um_json_foreach (it, um_json_get(m->host, "Devices")) {
		const char *host = um_json_get_str(it, "PathOnHost", "");
		struct um_json *o;
		struct stat st;

		if (stat(host, &st) < 0)
			return um_error_errno(m->err, -errno, "device \"%s\"", host);
		if (!S_ISBLK(st.st_mode) && !S_ISCHR(st.st_mode))
			return um_error_set(m->err, -ENODEV,
					    "device \"%s\": it is not a device node", host);
		o = um_json_append(nodes, um_json_new_obj(m->a));
		um_json_set_str(m->a, o, "path", um_json_get_str(it, "PathInContainer", host));
		device_object(m, o, &st);
		um_json_set_i64(m->a, o, "fileMode", st.st_mode & 07777);
		um_json_set_i64(m->a, o, "uid", st.st_uid);
		um_json_set_i64(m->a, o, "gid", st.st_gid);
		o = um_json_append(rules, um_json_new_obj(m->a));
		um_json_set_bool(m->a, o, "allow", true);
		device_object(m, o, &st);
		um_json_set_str(m->a, o, "access", um_json_get_str(it, "CgroupPermissions", "rwm"));
	}
	return 0;
}

static struct um_json *resources(const struct maker *m)
{
	static const struct {
		const char *key, *part, *name;
	} copied[] = {{"MemorySwap", "memory", "swap"},
		      {"MemoryReservation", "memory", "reservation"},
		      {"CpuShares", "cpu", "shares"},
		      {"CpusetCpus", "cpu", "cpus"},
		      {"CpusetMems", "cpu", "mems"}};
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
	for (size_t i = 0; i < UM_ARRAY_LEN(copied); i++) {
		const struct um_json *v = um_json_get(m->host, copied[i].key);

		if (v && um_json_i64(v, 1))
			um_json_set(m->a, um_json_ensure_obj(m->a, o, copied[i].part),
				    copied[i].name, um_json_copy(m->a, v));
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
	struct um_json *o = um_json_new_obj(m->a), *part;

	um_json_set(m->a, o, "namespaces", namespaces(m));
	um_json_set_str(m->a, o, "cgroupsPath",
			um_arena_printf(m->a, "/%s/%s", ctr_env.cgroup_parent, m->c->id));
	part = resources(m);
	um_json_set(m->a, o, "resources", part);
	if (um_json_first(um_json_get(m->host, "Sysctls")))
		um_json_set(m->a, o, "sysctl", um_json_copy(m->a, um_json_get(m->host, "Sysctls")));
	if (devices(m, um_json_ensure_arr(m->a, o, "devices"), um_json_get(part, "devices")) < 0)
		return NULL;
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
	if (*um_json_get_str(c->config, "Config.Domainname", ""))
		um_json_set_str(a, o, "domainname",
				um_json_get_str(c->config, "Config.Domainname", ""));
	root = um_json_ensure_obj(a, o, "root");
	um_json_set_str(a, root, "path", "rootfs");
	um_json_set_bool(a, root, "readonly", um_json_get_bool(m.host, "ReadonlyRootfs", false));
	mounts = um_json_ensure_arr(a, o, "mounts");
	system_mounts(&m, mounts);
	file_mounts(&m, mounts);
	add_users_mounts(&m, mounts);
	part = linux_part(&m);
	if (!part)
		return NULL;
	um_json_set(a, o, "linux", part);
	if (um_arena_failed(a)) {
		um_error_set(err, -E2BIG, "the container's configuration is too large");
		return NULL;
	}
	return o;
}
