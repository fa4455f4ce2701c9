/* `run` and `create`: what was asked becomes the container's config.json. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "agent/oci_defaults.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/num.h"
#include "cli/ctr/ctr.h"
#include "cli/ctr/parse.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static struct {
	bool interactive, tty, detach, rm, privileged, read_only, init, publish_all, sig_proxy;
	bool no_healthcheck;
	const char *name, *restart, *memory, *cpus, *pids_limit, *user, *workdir, *entrypoint;
	const char *hostname, *network, *stop_signal, *stop_timeout, *pull, *detach_keys, *cidfile;
	ctr_list publish, volume, env, env_file, tmpfs, cap_add, cap_drop, label, security_opt;
	const char *pid, *shm_size;
	ctr_list attach, mount, device, ulimit, dns, dns_search, dns_option, add_host;
} o = {.sig_proxy = true, .detach_keys = "ctrl-p,ctrl-q"};

#define SHARED_OPTS                                                                                  \
	{'i', "interactive", CTR_OPT_FLAG, NULL, "keep stdin open", &o.interactive},                 \
		{'t', "tty", CTR_OPT_FLAG, NULL, "give it a terminal", &o.tty},                      \
		{0, "name", CTR_OPT_TEXT, "NAME", "its name", &o.name},                              \
		{0, "rm", CTR_OPT_FLAG, NULL, "remove it when it ends", &o.rm},                      \
		{0,                                                                                  \
		 "restart",                                                                          \
		 CTR_OPT_TEXT,                                                                       \
		 "POLICY",                                                                           \
		 "no, always, unless-stopped, on-failure[:N]",                                       \
		 &o.restart},                                                                        \
		{'p',                                                                                \
		 "publish",                                                                          \
		 CTR_OPT_LIST,                                                                       \
		 "[IP:][HOST:]PORT[/udp]",                                                           \
		 "publish a port, or a range A-B, on this machine",                                  \
		 &o.publish},                                                                        \
		{'P',                                                                                \
		 "publish-all",                                                                      \
		 CTR_OPT_FLAG,                                                                       \
		 NULL,                                                                               \
		 "publish all exposed ports on free ones",                                           \
		 &o.publish_all},                                                                    \
		{'v',                                                                                \
		 "volume",                                                                           \
		 CTR_OPT_LIST,                                                                       \
		 "[SOURCE:]PATH[:ro]",                                                               \
		 "mount a folder, a named or a new volume",                                          \
		 &o.volume},                                                                         \
		{'e', "env", CTR_OPT_LIST, "NAME[=VALUE]", "set a variable", &o.env},                \
		{0, "env-file", CTR_OPT_LIST, "FILE", "variables, one a line", &o.env_file},         \
		{'m', "memory", CTR_OPT_TEXT, "BYTES", "most memory: 64m, 1g", &o.memory},           \
		{0, "cpus", CTR_OPT_TEXT, "N", "most CPUs: 0.5", &o.cpus},                           \
		{0,                                                                                  \
		 "pids-limit",                                                                       \
		 CTR_OPT_TEXT,                                                                       \
		 "N",                                                                                \
		 "most processes; -1: any number",                                                   \
		 &o.pids_limit},                                                                     \
		{'u', "user", CTR_OPT_TEXT, "USER[:GROUP]", "who it runs as", &o.user},              \
		{'w', "workdir", CTR_OPT_TEXT, "DIR", "its working directory", &o.workdir},          \
		{0, "entrypoint", CTR_OPT_TEXT, "PROGRAM", "instead of the image's", &o.entrypoint}, \
		{'h', "hostname", CTR_OPT_TEXT, "NAME", "its host name", &o.hostname},               \
		{0, "read-only", CTR_OPT_FLAG, NULL, "its root cannot be written to", &o.read_only}, \
		{0, "tmpfs", CTR_OPT_LIST, "PATH[:OPTIONS]", "mount a tmpfs", &o.tmpfs},             \
		{0, "cap-add", CTR_OPT_LIST, "CAP", "add a capability", &o.cap_add},                 \
		{0, "cap-drop", CTR_OPT_LIST, "CAP", "drop a capability", &o.cap_drop},              \
		{0,                                                                                  \
		 "privileged",                                                                       \
		 CTR_OPT_FLAG,                                                                       \
		 NULL,                                                                               \
		 "all capabilities, no confinement",                                                 \
		 &o.privileged},                                                                     \
		{0,                                                                                  \
		 "security-opt",                                                                     \
		 CTR_OPT_LIST,                                                                       \
		 "OPTION",                                                                           \
		 "no-new-privileges, seccomp=unconfined",                                            \
		 &o.security_opt},                                                                   \
		{0, "network", CTR_OPT_TEXT, "MODE", "bridge [default], host, none", &o.network},    \
		{0, "net", CTR_OPT_TEXT, "MODE", "the same", &o.network},                            \
		{0,                                                                                  \
		 "mount",                                                                            \
		 CTR_OPT_LIST,                                                                       \
		 "KEY=VALUE,...",                                                                    \
		 "type=bind|volume|tmpfs,source=...,target=...[,readonly]",                          \
		 &o.mount},                                                                          \
		{0,                                                                                  \
		 "device",                                                                           \
		 CTR_OPT_LIST,                                                                       \
		 "PATH[:PATH][:rwm]",                                                                \
		 "give it a device of this machine",                                                 \
		 &o.device},                                                                         \
		{0,                                                                                  \
		 "ulimit",                                                                           \
		 CTR_OPT_LIST,                                                                       \
		 "NAME=SOFT[:HARD]",                                                                 \
		 "a limit of its processes; -1: none",                                               \
		 &o.ulimit},                                                                         \
		{0, "shm-size", CTR_OPT_TEXT, "BYTES", "of /dev/shm [64m]", &o.shm_size},            \
		{0, "pid", CTR_OPT_TEXT, "MODE", "host: this machine's process numbers", &o.pid},    \
		{0, "dns", CTR_OPT_LIST, "ADDR", "a name server", &o.dns},                           \
		{0,                                                                                  \
		 "dns-search",                                                                       \
		 CTR_OPT_LIST,                                                                       \
		 "DOMAIN",                                                                           \
		 "where names are looked up; .: nowhere",                                            \
		 &o.dns_search},                                                                     \
		{0, "dns-option", CTR_OPT_LIST, "OPTION", "of resolv.conf", &o.dns_option},          \
		{0,	     "add-host", CTR_OPT_LIST, "NAME:ADDR", "one more line of /etc/hosts",   \
		 &o.add_host},                                                                       \
		{0, "init", CTR_OPT_FLAG, NULL, "its process 1 is a small one that reaps", &o.init}, \
		{'l', "label", CTR_OPT_LIST, "KEY[=VALUE]", "a label", &o.label},                    \
		{0, "stop-signal", CTR_OPT_TEXT, "SIGNAL", "asks it to end", &o.stop_signal},        \
		{0,                                                                                  \
		 "stop-timeout",                                                                     \
		 CTR_OPT_TEXT,                                                                       \
		 "SECONDS",                                                                          \
		 "until it is killed [10]",                                                          \
		 &o.stop_timeout},                                                                   \
		{0,	 "pull", CTR_OPT_TEXT, "POLICY", "missing, never (always: not supported)",   \
		 &o.pull},                                                                           \
		{'a',	   "attach", CTR_OPT_LIST, "STREAM", "attach stdin, stdout or stderr only",  \
		 &o.attach},                                                                         \
	{                                                                                            \
		0, "cidfile", CTR_OPT_TEXT, "FILE", "write the id there", &o.cidfile                 \
	}

static const struct ctr_opt run_opts[] = {
	SHARED_OPTS,
	{'d', "detach", CTR_OPT_FLAG, NULL, "run in the background and print the id", &o.detach},
	{0, "detach-keys", CTR_OPT_TEXT, "KEYS", "leave it running [ctrl-p,ctrl-q]",
	 &o.detach_keys},
	{0, "sig-proxy", CTR_OPT_FLAG, NULL, "pass signals on [true]", &o.sig_proxy},
	{0, NULL, CTR_OPT_FLAG, NULL, NULL, NULL},
};
static const struct ctr_opt create_opts[] = {
	SHARED_OPTS,
	{0, NULL, CTR_OPT_FLAG, NULL, NULL, NULL},
};

struct maker {
	struct um_arena *a;
	struct um_json *root, *config, *host;
	struct um_image img;
	struct um_error *err;
};

/* ---- environment ---- */

static int add_env_file(const struct maker *m, struct um_json *list, const char *path)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	int r = um_io_read_file(AT_FDCWD, path, &b, m->err);

	if (r == 0 && b.data && strlen(b.data) != b.len)
		r = um_error_set(m->err, -EINVAL, "%s: it has a NUL byte", path);
	return r < 0 ? r : ctr_parse_env_lines(m->a, list, path, b.data, m->err);
}

static int make_env(const struct maker *m)
{
	struct um_json *list = um_json_ensure_arr(m->a, m->config, "Env");
	const char *hostname = um_json_get_str(m->config, "Hostname", "");
	int r = ctr_parse_env(m->a, list, DEFAULT_PATH, m->err);

	if (r == 0 && *hostname)
		r = ctr_parse_env(m->a, list, um_arena_printf(m->a, "HOSTNAME=%s", hostname),
				  m->err);
	if (r == 0 && o.tty)
		r = ctr_parse_env(m->a, list, "TERM=xterm", m->err);
	um_json_foreach (it, um_json_path(m->img.config, "config.Env")) {
		const char *text = um_json_str(it, "");

		if (r == 0 && *text != '=' && strchr(text, '='))
			r = ctr_parse_env(m->a, list, text, m->err);
	}
	um_vec_foreach (it, &o.env_file) {
		if (r == 0)
			r = add_env_file(m, list, *it);
	}
	um_vec_foreach (it, &o.env) {
		if (r == 0)
			r = ctr_parse_env(m->a, list, *it, m->err);
	}
	return r;
}

/* ---- what it runs ---- */

static int make_command(const struct maker *m, int argc, char **argv)
{
	const struct um_json *entry = um_json_path(m->img.config, "config.Entrypoint");
	const struct um_json *cmd = um_json_path(m->img.config, "config.Cmd");
	struct um_json *entrypoint = um_json_new_arr(m->a), *command = um_json_new_arr(m->a), *args;
	bool first = true;

	if (o.entrypoint) {
		if (*o.entrypoint)
			um_json_append(entrypoint, um_json_new_str(m->a, o.entrypoint));
		cmd = NULL;
	} else {
		um_json_foreach (it, entry)
			um_json_append(entrypoint, um_json_copy(m->a, it));
	}
	for (int i = 0; i < argc; i++)
		um_json_append(command, um_json_new_str(m->a, argv[i]));
	if (!argc)
		um_json_foreach (it, cmd)
			um_json_append(command, um_json_copy(m->a, it));
	um_json_set(m->a, m->config, "Entrypoint", entrypoint);
	um_json_set(m->a, m->config, "Cmd", command);
	args = um_json_ensure_arr(m->a, m->root, "Args");
	for (int part = 0; part < 2; part++) {
		um_json_foreach (it, part ? command : entrypoint) {
			if (first)
				um_json_set_str(m->a, m->root, "Path", um_json_str(it, ""));
			else
				um_json_append(args, um_json_copy(m->a, it));
			first = false;
		}
	}
	return first ? um_error_set(m->err, -EINVAL, "No command specified") : 0;
}

/* ---- limits, policies, ... ---- */

static int set_limits(const struct maker *m)
{
	int64_t memory = 0, milli = 0, pids = 0;
	int timeout;

	if (o.memory && (ctr_parse_bytes(o.memory, &memory) < 0))
		return um_error_set(
			m->err, -EINVAL,
			"invalid argument \"%s\" for \"-m, --memory\" flag: invalid size",
			o.memory);
	if (memory && memory < 6 << 20)
		return um_error_set(m->err, -EINVAL, "Minimum memory limit allowed is 6MB");
	if (o.cpus && ctr_parse_cpus(o.cpus, &milli, m->err) < 0)
		return -EINVAL;
	if (o.cpus && milli > sysconf(_SC_NPROCESSORS_ONLN) * 1000)
		return um_error_set(
			m->err, -EINVAL,
			"Range of CPUs is from 0.01 to %ld.00, as there are only %ld CPUs "
			"available",
			sysconf(_SC_NPROCESSORS_ONLN), sysconf(_SC_NPROCESSORS_ONLN));
	if (o.pids_limit && um_num_i64(o.pids_limit, -1, 4194304, &pids) < 0)
		return um_error_set(m->err, -EINVAL,
				    "invalid argument \"%s\" for \"--pids-limit\" flag",
				    o.pids_limit);
	um_json_set_i64(m->a, m->host, "Memory", memory);
	um_json_set_i64(m->a, m->host, "NanoCpus", milli * 1000000);
	um_json_set_i64(m->a, m->host, "PidsLimit", pids);
	if (o.stop_timeout) {
		if (um_num_int(o.stop_timeout, -1, 1 << 30, &timeout) < 0)
			return um_error_set(m->err, -EINVAL,
					    "invalid argument \"%s\" for \"--stop-timeout\" flag",
					    o.stop_timeout);
		um_json_set_i64(m->a, m->config, "StopTimeout", timeout);
	}
	return 0;
}

static int set_restart(const struct maker *m)
{
	static const char *const names[] = {"no", "always", "unless-stopped", "on-failure"};
	struct um_json *p = um_json_ensure_obj(m->a, m->host, "RestartPolicy");
	const char *text = o.restart && *o.restart ? o.restart : "no";
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);
	int retries = 0;

	for (size_t i = 0; i < UM_ARRAY_LEN(names); i++) {
		if (strlen(names[i]) != len || memcmp(names[i], text, len))
			continue;
		if (colon &&
		    (strcmp(names[i], "on-failure") || um_num_int(colon + 1, 0, 1 << 30, &retries)))
			break;
		if (strcmp(names[i], "no") && o.rm)
			return um_error_set(
				m->err, -EINVAL,
				"conflicting options: cannot specify both --restart and "
				"--rm");
		um_json_set_str(m->a, p, "Name", names[i]);
		um_json_set_i64(m->a, p, "MaximumRetryCount", retries);
		return 0;
	}
	return um_error_set(m->err, -EINVAL,
			    "invalid restart policy '%s': want no, always, unless-stopped or "
			    "on-failure[:max-retries]",
			    text);
}

static int set_network(const struct maker *m)
{
	const char *mode = o.network ? o.network : "bridge";
	struct um_json *bindings = um_json_ensure_obj(m->a, m->host, "PortBindings");
	struct um_json *exposed = um_json_ensure_obj(m->a, m->config, "ExposedPorts");
	int r = 0;

	if (!strcmp(mode, "default"))
		mode = "bridge";
	if (strcmp(mode, "bridge") && strcmp(mode, "host") && strcmp(mode, "none"))
		return um_error_set(m->err, -EOPNOTSUPP,
				    "network %s is not supported: want bridge, host or none", mode);
	um_json_set_str(m->a, m->host, "NetworkMode", mode);
	um_json_foreach (it, um_json_path(m->img.config, "config.ExposedPorts")) {
		um_json_ensure_obj(m->a, exposed, it->key);
		if (o.publish_all && r == 0)
			r = ctr_parse_port(m->a, bindings, exposed, it->key, m->err);
	}
	um_vec_foreach (it, &o.publish) {
		if (r == 0)
			r = ctr_parse_port(m->a, bindings, exposed, *it, m->err);
	}
	if (r == 0 && strcmp(mode, "bridge") && um_json_first(bindings))
		return um_error_set(
			m->err, -EINVAL,
			"ports cannot be published with network %s: only bridge has them", mode);
	return r;
}

static int set_hostname(const struct maker *m, const char *id)
{
	static struct utsname host;
	char text[CTR_SHORT_LEN + 1];

	snprintf(text, sizeof(text), "%.12s", id);
	uname(&host);
	if (o.hostname && !ctr_valid_hostname(o.hostname))
		return um_error_set(m->err, -EINVAL, "invalid hostname: %s", o.hostname);
	um_json_set_str(m->a, m->config, "Hostname",
			o.hostname ? o.hostname
			: !strcmp(um_json_get_str(m->host, "NetworkMode", ""), "host")
				? host.nodename
				: text);
	return 0;
}

static int set_caps(const struct maker *m)
{
	const struct {
		const char *key;
		const ctr_list *list;
	} sets[] = {{"CapAdd", &o.cap_add}, {"CapDrop", &o.cap_drop}};

	for (size_t i = 0; i < UM_ARRAY_LEN(sets); i++) {
		struct um_json *arr = um_json_ensure_arr(m->a, m->host, sets[i].key);

		um_vec_foreach (it, sets[i].list) {
			bool known = !strcasecmp(*it, "ALL");

			for (const char *const *cap = um_oci_all_caps; *cap && !known; cap++)
				known = !strcasecmp(*it, *cap) || !strcasecmp(*it, *cap + 4);
			if (!known)
				return um_error_set(m->err, -EINVAL, "invalid capability: \"%s\"",
						    *it);
			um_json_append(arr, um_json_new_str(m->a, *it));
		}
	}
	um_vec_foreach (it, &o.security_opt) {
		if (!strcmp(*it, "no-new-privileges") || !strcmp(*it, "no-new-privileges:true") ||
		    !strcmp(*it, "no-new-privileges=true"))
			um_json_set_bool(m->a, m->host, "NoNewPrivileges", true);
		else if (!strcmp(*it, "seccomp=unconfined"))
			um_json_set_bool(m->a, m->host, "SeccompUnconfined", true);
		else
			return um_error_set(m->err, -EOPNOTSUPP,
					    "--security-opt %s is not supported", *it);
	}
	return 0;
}

/* ---- what it gets of this machine ---- */

static int set_mounts(const struct maker *m)
{
	const struct {
		const ctr_list *list;
		int (*parse)(struct um_arena *a, const char *text, struct ctr_mount *ret,
			     struct um_error *err);
	} kinds[] = {{&o.tmpfs, ctr_parse_tmpfs},
		     {&o.mount, ctr_parse_mount},
		     {&o.volume, ctr_parse_volume}};
	struct ctr_mount one;
	int r = 0;

	um_json_ensure_obj(m->a, m->host, "Tmpfs");
	for (int make = 0; make < 2; make++) /* what is wrong is said before anything is made */
		for (size_t i = 0; i < UM_ARRAY_LEN(kinds); i++)
			um_vec_foreach (it, kinds[i].list) {
				if (r == 0)
					r = kinds[i].parse(m->a, *it, &one, m->err);
				if (r == 0 && make)
					r = ctr_add_mount(m->a, m->root, &one, m->err);
			}
	return r < 0 ? r : ctr_add_image_volumes(m->a, m->root, m->img.config, m->err);
}

static int set_devices(const struct maker *m)
{
	struct um_json *list = um_json_ensure_arr(m->a, m->host, "Devices");
	struct um_json *ulimits = um_json_ensure_arr(m->a, m->host, "Ulimits");
	int64_t shm = 64 << 20;
	int r = 0;

	um_vec_foreach (it, &o.device) {
		if (r == 0)
			r = ctr_parse_device(m->a, list, *it, m->err);
	}
	um_vec_foreach (it, &o.ulimit) {
		if (r == 0)
			r = ctr_parse_ulimit(m->a, ulimits, *it, m->err);
	}
	if (r == 0 && o.shm_size && (ctr_parse_bytes(o.shm_size, &shm) < 0 || shm < 1))
		r = um_error_set(m->err, -EINVAL, "invalid argument \"%s\" for \"--shm-size\" flag",
				 o.shm_size);
	um_json_set_i64(m->a, m->host, "ShmSize", shm);
	if (r == 0 && o.pid && *o.pid && strcmp(o.pid, "host"))
		r = um_error_set(m->err, -EOPNOTSUPP, "--pid %s is not supported: want host",
				 o.pid);
	um_json_set_str(m->a, m->host, "PidMode", o.pid ? o.pid : "");
	return r;
}

static bool plain_word(const char *s)
{
	return *s && strlen(s) < 256 && !strpbrk(s, " \t\r\n");
}

static int set_names(const struct maker *m)
{
	const struct {
		const char *key, *flag;
		const ctr_list *list;
	} sets[] = {{"Dns", "dns", &o.dns},
		    {"DnsSearch", "dns-search", &o.dns_search},
		    {"DnsOptions", "dns-option", &o.dns_option}};
	struct um_json *hosts = um_json_ensure_arr(m->a, m->host, "ExtraHosts");
	unsigned char raw[16];
	int r = 0;

	for (size_t i = 0; i < UM_ARRAY_LEN(sets); i++) {
		struct um_json *arr = um_json_ensure_arr(m->a, m->host, sets[i].key);

		um_vec_foreach (it, sets[i].list) {
			if (!plain_word(*it) || (i == 0 && inet_pton(AF_INET, *it, raw) != 1 &&
						 inet_pton(AF_INET6, *it, raw) != 1))
				return um_error_set(m->err, -EINVAL,
						    "invalid argument \"%.80s\" for \"--%s\" flag",
						    *it, sets[i].flag);
			um_json_append(arr, um_json_new_str(m->a, *it));
		}
	}
	um_vec_foreach (it, &o.add_host) {
		if (r == 0)
			r = ctr_parse_host(m->a, hosts, *it, m->err);
	}
	return r;
}

static int set_labels(const struct maker *m)
{
	struct um_json *obj = um_json_ensure_obj(m->a, m->config, "Labels");

	um_json_foreach (it, um_json_path(m->img.config, "config.Labels"))
		um_json_set_str(m->a, obj, it->key, um_json_str(it, ""));
	um_vec_foreach (it, &o.label) {
		size_t len = strcspn(*it, "=");
		char *key = um_arena_strndup(m->a, *it, len);

		if (!len || !key)
			return um_error_set(m->err, -EINVAL, "invalid label \"%s\"", *it);
		um_json_set_str(m->a, obj, key, (*it)[len] ? *it + len + 1 : "");
	}
	return 0;
}

static int set_stop_signal(const struct maker *m)
{
	const char *text = o.stop_signal;
	int number;

	if (!text)
		text = um_json_get_str(m->img.config, "config.StopSignal", "SIGTERM");
	if (um_num_signal(text, &number) < 0 || number < 1)
		return um_error_set(m->err, -EINVAL, "Invalid signal: %s", text);
	um_json_set_str(m->a, m->config, "StopSignal", text);
	return 0;
}

static int set_workdir(const struct maker *m)
{
	const char *dir = o.workdir;

	if (dir && *dir != '/')
		return um_error_set(m->err, -EINVAL,
				    "the working directory '%s' is invalid, it needs to be an "
				    "absolute path",
				    dir);
	um_json_set_str(m->a, m->config, "WorkingDir",
			dir ? dir : um_json_get_str(m->img.config, "config.WorkingDir", ""));
	return 0;
}

static void set_plain(const struct maker *m, const char *id, const char *image)
{
	char now[UM_TIME_LEN];

	um_time_format_nano(um_clock_wall(&um_clock_system), now);
	um_json_set_str(m->a, m->root, "Id", id);
	um_json_set_str(m->a, m->root, "Created", now);
	um_json_set_str(m->a, m->root, "Name",
			o.name ? um_arena_printf(m->a, "/%s", o.name + (*o.name == '/')) : "/");
	um_json_set_str(m->a, m->root, "Image", m->img.config_digest);
	um_json_set_str(m->a, m->root, "Driver", "overlay");
	um_json_set_str(m->a, m->config, "Image", image);
	um_json_set_str(m->a, m->config, "User",
			o.user ? o.user : um_json_get_str(m->img.config, "config.User", ""));
	um_json_set_bool(m->a, m->config, "Tty", o.tty);
	um_json_set_bool(m->a, m->config, "OpenStdin", o.interactive);
	um_json_set_bool(m->a, m->config, "StdinOnce", o.interactive && !o.detach);
	um_json_set_bool(m->a, m->host, "AutoRemove", o.rm);
	um_json_set_bool(m->a, m->host, "Privileged", o.privileged);
	um_json_set_bool(m->a, m->host, "Init", o.init);
	um_json_set_bool(m->a, m->host, "ReadonlyRootfs", o.read_only);
}

/* What is kept must be what can be read again: UTF-8 alone. */
static int check_text(const struct maker *m)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(32 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(4 << 20);
	struct um_json *again;
	int r = um_json_write(&b, m->root);

	if (r == 0 && a)
		r = um_json_parse(a, b.data, b.len, NULL, &again, m->err);
	return r < 0 ? um_error_wrap(m->err, r, "options and arguments must be UTF-8") : 0;
}

static int make_config(struct maker *m, const char *id, int argc, char **argv)
{
	struct um_json *binds;
	int r;

	m->root = um_json_new_obj(m->a);
	m->config = um_json_ensure_obj(m->a, m->root, "Config");
	m->host = um_json_ensure_obj(m->a, m->root, "HostConfig");
	set_plain(m, id, argv[0]);
	binds = um_json_ensure_arr(m->a, m->host, "Binds");
	um_vec_foreach (it, &o.volume)
		um_json_append(binds, um_json_new_str(m->a, *it));
	r = set_limits(m);
	r = r < 0 ? r : set_restart(m);
	r = r < 0 ? r : set_network(m);
	r = r < 0 ? r : set_hostname(m, id);
	r = r < 0 ? r : set_caps(m);
	r = r < 0 ? r : set_devices(m);
	r = r < 0 ? r : set_names(m);
	r = r < 0 ? r : set_labels(m);
	r = r < 0 ? r : set_stop_signal(m);
	r = r < 0 ? r : set_workdir(m);
	r = r < 0 ? r : make_command(m, argc - 1, argv + 1);
	r = r < 0 ? r : make_env(m);
	r = r < 0 ? r : set_mounts(m);
	if (r == 0 && um_arena_failed(m->a))
		r = um_error_set(m->err, -E2BIG, "too many or too long options");
	return r < 0 ? r : check_text(m);
}

static int check_options(struct um_error *err)
{
	if (o.init && o.pid && !strcmp(o.pid, "host"))
		return um_error_set(err, -EINVAL, "conflicting options: --init and --pid host");
	if (o.pull && (!strcmp(o.pull, "always")))
		return um_error_set(err, -EOPNOTSUPP,
				    "--pull always: pulling from registries is not supported: use "
				    "`umiak image import`");
	if (o.pull && strcmp(o.pull, "missing") && strcmp(o.pull, "never"))
		return um_error_set(err, -EINVAL,
				    "invalid pull option: '%s': must be one of \"always\", "
				    "\"missing\" or \"never\"",
				    o.pull);
	if (o.cidfile && access(o.cidfile, F_OK) == 0)
		return um_error_set(err, -EEXIST,
				    "container ID file found, make sure the other container isn't "
				    "running or delete %s",
				    o.cidfile);
	um_vec_foreach (it, &o.attach) {
		if (strcasecmp(*it, "stdin") && strcasecmp(*it, "stdout") &&
		    strcasecmp(*it, "stderr"))
			return um_error_set(
				err, -EINVAL,
				"invalid argument \"%s\" for \"-a, --attach\" flag: valid "
				"streams are STDIN, STDOUT and STDERR",
				*it);
		if (o.detach)
			return um_error_set(err, -EINVAL, "Conflicting options: -a and -d");
	}
	return ctr_check_detach_keys(o.detach_keys, err);
}

static int write_cidfile(const struct ctr *c, struct um_error *err)
{
	if (!o.cidfile)
		return 0;
	return um_io_replace_file(AT_FDCWD, o.cidfile, c->id, CTR_ID_LEN, 0644, UM_IO_NO_SYNC, err);
}

static int make_container(int argc, char **argv, struct ctr **ret, struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(32 << 20);
	struct maker m = {.a = a, .err = err};
	struct um_error ignored = UM_ERROR_INIT;
	struct um_images *images;
	char id[CTR_ID_LEN + 1];
	int r = check_options(err);

	if (r == 0)
		r = ctr_env_open(err);
	if (r == 0)
		r = ctr_heal(err);
	if (r == 0)
		r = ctr_images(&images, err);
	if (r == 0)
		r = um_images_find(images, argv[0], a, &m.img, err);
	if (r == -ENOENT) {
		*err = (struct um_error)UM_ERROR_INIT;
		um_error_set(
			err, r,
			"Unable to find image '%s' locally, and pulling from registries is not "
			"supported: use `umiak image import`",
			argv[0]);
	}
	if (r == 0)
		r = ctr_new_id(id, err);
	if (r == 0)
		r = make_config(&m, id, argc, argv);
	if (r == 0)
		r = ctr_create(a, m.root, !o.rm, ret, err);
	if (r < 0 && m.root)
		(void)!ctr_remove_volumes(m.root, &ignored);
	if (r == 0) {
		a = NULL; /* the container's */
		r = write_cidfile(*ret, err);
	}
	return r;
}

static int say_failed(const struct um_error *err)
{
	return ctr_usage_error(NULL, ctr_start_exit_code(err->msg), "%s", err->msg);
}

static bool stream_wanted(const char *name)
{
	um_vec_foreach (it, &o.attach)
		if (!strcasecmp(*it, name))
			return true;
	return !o.attach.len;
}

static int start_attached(struct ctr *c, struct um_error *err)
{
	struct ctr_start s = {
		.attach = true,
		.hold = true,
		.attach_stdin = o.interactive && stream_wanted("stdin"),
		.stream = {stream_wanted("stdout"), stream_wanted("stderr")},
	};
	int r;

	if (o.tty)
		ctr_terminal_size(&s.rows, &s.cols);
	r = ctr_start(c, &s, err);
	if (r < 0)
		return r;
	ctr_unlock(c);
	return ctr_follow(c, &s, o.detach_keys, o.sig_proxy);
}

static int run_run(int argc, char **argv)
{
	struct um_error err = UM_ERROR_INIT, ignored = UM_ERROR_INIT;
	_cleanup_ctr_ struct ctr *c = NULL;
	struct ctr_start s = {0};
	int r;

	if (!o.detach && o.tty && o.interactive && !isatty(STDIN_FILENO))
		return ctr_usage_error(NULL, 1, "the input device is not a TTY");
	r = make_container(argc, argv, &c, &err);
	if (r < 0)
		return ctr_usage_error(NULL, CTR_EXIT_OURS, "%s", err.msg);
	if (!o.detach) {
		r = start_attached(c, &err);
		if (r >= 0)
			return r;
	} else {
		r = ctr_start(c, &s, &err);
		um_close(s.ret_shim);
	}
	if (r < 0) {
		if (o.rm)
			(void)!ctr_remove(c, true, true, &ignored);
		return say_failed(&err);
	}
	puts(c->id);
	return 0;
}

static int run_create(int argc, char **argv)
{
	struct um_error err = UM_ERROR_INIT;
	_cleanup_ctr_ struct ctr *c = NULL;

	if (make_container(argc, argv, &c, &err) < 0)
		return ctr_usage_error(NULL, 1, "%s", err.msg);
	puts(c->id);
	return 0;
}

const struct ctr_verb ctr_verb_run = {"run",
				      "[OPTIONS] IMAGE [COMMAND] [ARG...]",
				      "Make a container of an image and run a command in it",
				      run_opts,
				      1,
				      -1,
				      true,
				      run_run};
const struct ctr_verb ctr_verb_create = {"create",
					 "[OPTIONS] IMAGE [COMMAND] [ARG...]",
					 "Make a container without starting it",
					 create_opts,
					 1,
					 -1,
					 true,
					 run_create};
