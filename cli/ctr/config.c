/* `run` and `create`: what was asked becomes the container's config.json. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/oci_defaults.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/num.h"
#include "cli/ctr/parse.h"
#include "cli/ctr/run.h"

#define o ctr_run
#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

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
			: !strcmp(um_json_get_str(m->host, "NetworkMode", ""), "host") ||
					(o.uts && !strcmp(o.uts, "host"))
				? host.nodename
				: text);
	if (o.domainname && !ctr_valid_hostname(o.domainname))
		return um_error_set(m->err, -EINVAL, "invalid domainname: %s", o.domainname);
	um_json_set_str(m->a, m->config, "Domainname", o.domainname ? o.domainname : "");
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
	return r;
}

/* Which namespaces are this machine's. */
static int set_modes(const struct maker *m)
{
	const struct {
		const char *flag, *key, *value, *others;
	} modes[] = {{"pid", "PidMode", o.pid, ""},
		     {"ipc", "IpcMode", o.ipc, "private"},
		     {"uts", "UTSMode", o.uts, ""},
		     {"userns", "UsernsMode", o.userns, ""}};

	for (size_t i = 0; i < UM_ARRAY_LEN(modes); i++) {
		const char *v = modes[i].value ? modes[i].value : "";

		if (*v && strcmp(v, "host") != 0 && strcmp(v, modes[i].others) != 0)
			return um_error_set(
				m->err, -EOPNOTSUPP, "--%s %s is not supported: want %s%shost",
				modes[i].flag, v, modes[i].others, *modes[i].others ? " or " : "");
		um_json_set_str(m->a, m->host, modes[i].key, v);
	}
	if (o.uts && !strcmp(o.uts, "host") && (o.hostname || o.domainname))
		return um_error_set(m->err, -EINVAL,
				    "conflicting options: hostname and the UTS mode");
	return 0;
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

int ctr_make_config(struct maker *m, const char *id, int argc, char **argv)
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
	r = ctr_set_limits(m);
	r = r < 0 ? r : set_restart(m);
	r = r < 0 ? r : set_network(m);
	r = r < 0 ? r : set_hostname(m, id);
	r = r < 0 ? r : set_caps(m);
	r = r < 0 ? r : set_devices(m);
	r = r < 0 ? r : set_modes(m);
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
