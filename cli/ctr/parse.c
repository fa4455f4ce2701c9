#include "cli/ctr/parse.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "base/quantity.h"

#define TEXT_MAX 4096
#define PORTS_MAX 1024 /* of one range */

/* ---- names ---- */

static bool only(const char *s, size_t min, size_t max, const char *more)
{
	static const char alnum[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	size_t n = 0;

	for (; s[n]; n++)
		if (n >= max || (!strchr(alnum, s[n]) && !strchr(more, s[n])))
			return false;
	return n >= min;
}

bool ctr_valid_name(const char *s)
{
	return only(s, 1, 128, "_.-") && !strchr("_.-", *s);
}

bool ctr_valid_volume(const char *s)
{
	return only(s, 2, 128, "_.-") && !strchr("_.-", *s);
}

bool ctr_valid_hostname(const char *s)
{
	return only(s, 1, 63, "-.");
}

/* ---- ports ---- */

static int bad_port(const char *text, struct um_error *err)
{
	return um_error_set(err, -EINVAL,
			    "invalid publish \"%.80s\": want "
			    "[ip:][hostPort:]containerPort[/tcp|udp], where ports may be ranges",
			    text);
}

struct ports {
	int first, last;
};

/* "80" or "80-90". */
static int parse_ports(const char *text, struct ports *ret)
{
	char first[8];
	size_t len = strcspn(text, "-");

	if (len >= sizeof(first))
		return -EINVAL;
	memcpy(first, text, len);
	first[len] = '\0';
	if (um_num_int(first, 1, 65535, &ret->first) < 0)
		return -EINVAL;
	ret->last = ret->first;
	if (text[len] && um_num_int(text + len + 1, 1, 65535, &ret->last) < 0)
		return -EINVAL;
	return ret->last < ret->first || ret->last - ret->first >= PORTS_MAX ? -EINVAL : 0;
}

static void bind_port(struct um_arena *a, struct um_json *bindings, struct um_json *exposed,
		      int port, const char *proto, const char *ip, int host)
{
	struct um_json *o;
	char key[16], number[16] = "";

	snprintf(key, sizeof(key), "%d/%s", port, proto);
	um_json_ensure_obj(a, exposed, key);
	o = um_json_append(um_json_ensure_arr(a, bindings, key), um_json_new_obj(a));
	if (host)
		snprintf(number, sizeof(number), "%d", host);
	um_json_set_str(a, o, "HostIp", ip ? ip : "");
	um_json_set_str(a, o, "HostPort", number);
}

int ctr_parse_port(struct um_arena *a, struct um_json *bindings, struct um_json *exposed,
		   const char *text, struct um_error *err)
{
	char copy[128], *slash, *p, *host = NULL, *ip = NULL;
	struct ports inside, outside = {0, 0};
	const char *proto = "tcp";
	struct in_addr addr;

	if (strlen(text) >= sizeof(copy))
		return bad_port(text, err);
	strcpy(copy, text);
	slash = strchr(copy, '/');
	if (slash) {
		*slash = '\0';
		proto = slash + 1;
	}
	if (strcmp(proto, "tcp") && strcmp(proto, "udp"))
		return um_error_set(err, -EOPNOTSUPP,
				    "publish \"%s\": protocol %s is not supported", text, proto);
	if (copy[0] == '[')
		return um_error_set(err, -EOPNOTSUPP,
				    "publish \"%s\": IPv6 addresses are not supported", text);
	p = strrchr(copy, ':');
	if (p) {
		*p++ = '\0';
		host = strrchr(copy, ':');
		ip = host ? copy : NULL;
		host = host ? host + 1 : copy;
		if (ip)
			host[-1] = '\0';
	}
	if (parse_ports(p ? p : copy, &inside) < 0 || (host && !*host && !ip) ||
	    (host && *host && parse_ports(host, &outside) < 0))
		return bad_port(text, err);
	if (ip && inet_pton(AF_INET, ip, &addr) != 1)
		return um_error_set(err, -EINVAL, "publish \"%s\": invalid IP address: %s", text,
				    ip);
	if (outside.first && outside.last - outside.first != inside.last - inside.first)
		return um_error_set(err, -ERANGE,
				    "publish \"%s\": the ranges of host and container ports have "
				    "different lengths",
				    text);
	for (int i = 0; i <= inside.last - inside.first; i++)
		bind_port(a, bindings, exposed, inside.first + i, proto, ip,
			  outside.first ? outside.first + i : 0);
	return 0;
}

/* ---- mounts ---- */

static bool good_target(const char *path)
{
	return *path == '/' && path[strspn(path, "/")] && strlen(path) < TEXT_MAX;
}

static int check_volume_name(const char *name, struct um_error *err)
{
	if (ctr_valid_volume(name))
		return 0;
	return um_error_set(err, -EINVAL,
			    "\"%.200s\" includes invalid characters for a local volume name, only "
			    "\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to "
			    "pass a host directory, use absolute path",
			    name);
}

int ctr_parse_volume(struct um_arena *a, const char *text, struct ctr_mount *ret,
		     struct um_error *err)
{
	struct ctr_mount m = {.type = "volume", .options = "", .make_source = true};
	char *source = strlen(text) < TEXT_MAX ? um_arena_strdup(a, text) : NULL;
	char *target, *mode;

	if (!source)
		return um_error_set(err, -EINVAL, "volume \"%.80s\": too long", text);
	target = strchr(source, ':');
	if (target)
		*target++ = '\0';
	mode = target ? strchr(target, ':') : NULL;
	if (mode) {
		*mode++ = '\0';
		if (strcmp(mode, "ro") && strcmp(mode, "rw"))
			return um_error_set(err, -EOPNOTSUPP,
					    "volume \"%s\": mode \"%s\" is not supported: ro or rw",
					    text, mode);
		m.read_only = !strcmp(mode, "ro");
	}
	m.target = target ? target : source;
	m.source = target ? source : NULL;
	if (!good_target(m.target))
		return um_error_set(err, -EINVAL,
				    "invalid volume specification: '%s': invalid mount path: '%s' "
				    "mount path must be absolute and not /",
				    text, m.target);
	if (m.source && *m.source == '/')
		m.type = "bind";
	else if (m.source && check_volume_name(m.source, err) < 0)
		return -EINVAL;
	*ret = m;
	return 0;
}

/* The next field of a line of CSV; NULL at its end. "a ""b""" has a "b". */
static char *next_field(char **at)
{
	char *start = *at, *to, *p;

	if (!start)
		return NULL;
	if (*start != '"') {
		p = start + strcspn(start, ",");
		*at = *p ? p + 1 : NULL;
		*p = '\0';
		return start;
	}
	for (p = to = ++start; *p; p++) {
		if (*p == '"' && *++p != '"')
			break;
		*to++ = *p;
	}
	if (*p && *p != ',') { /* something behind the quotes: it stays with the field */
		size_t len = strcspn(p, ",");

		memmove(to, p, len);
		to += len;
		p += len;
	}
	*at = *p ? p + 1 : NULL;
	*to = '\0';
	return start;
}

static int parse_switch(const char *value, bool *ret)
{
	if (!value || !strcmp(value, "true") || !strcmp(value, "1"))
		*ret = true;
	else if (!strcmp(value, "false") || !strcmp(value, "0"))
		*ret = false;
	else
		return -EINVAL;
	return 0;
}

struct mount_keys {
	struct um_arena *a;
	struct ctr_mount m;
	const char *key, *value;
	const char *bind_key, *volume_key, *tmpfs_key; /* seen, of a type of mount */
};

/* 0: it is none of these. */
static int take_common_key(struct mount_keys *k)
{
	static const char *const same[][2] = {{"src", "source"},
					      {"dst", "target"},
					      {"destination", "target"},
					      {"ro", "readonly"}};
	const char *key = k->key;

	for (size_t i = 0; i < UM_ARRAY_LEN(same); i++)
		if (!strcmp(key, same[i][0]))
			key = same[i][1];
	if (!strcmp(key, "readonly"))
		return parse_switch(k->value, &k->m.read_only) < 0 ? -EINVAL : 1;
	if (!k->value)
		return 0;
	if (!strcmp(key, "type"))
		k->m.type = k->value;
	else if (!strcmp(key, "source"))
		k->m.source = k->value;
	else if (!strcmp(key, "target"))
		k->m.target = k->value;
	else
		return 0;
	return 1;
}

static int take_tmpfs_key(struct mount_keys *k)
{
	unsigned mode;
	uint64_t size;
	char digits[24];
	size_t len = strlen(k->value);
	const char *unit;

	if (!strcmp(k->key, "tmpfs-mode")) {
		if (um_num_octal(k->value, 07777, &mode) < 0)
			return -EINVAL;
		k->m.options = um_arena_printf(k->a, "%s%smode=%o", k->m.options,
					       *k->m.options ? "," : "", mode);
		return 1;
	}
	unit = len ? strchr("kKmMgG", k->value[len - 1]) : NULL;
	snprintf(digits, sizeof(digits), "%.*s", (int)(len - (unit && *unit)), k->value);
	if (len > 20 || um_num_u64(digits, 1u << 30, &size) < 0 || !size)
		return -EINVAL;
	k->m.options =
		um_arena_printf(k->a, "%s%ssize=%llu%.*s", k->m.options, *k->m.options ? "," : "",
				(unsigned long long)size, unit && *unit ? 1 : 0, unit ? unit : "");
	return 1;
}

static int take_key(struct mount_keys *k)
{
	int r = take_common_key(k);

	if (r)
		return r;
	if (!strcmp(k->key, "bind-nonrecursive")) {
		k->bind_key = k->key;
		return parse_switch(k->value, &k->m.flat) < 0 ? -EINVAL : 1;
	}
	if (!strcmp(k->key, "volume-nocopy")) {
		k->volume_key = k->key;
		return parse_switch(k->value, &k->m.no_copy) < 0 ? -EINVAL : 1;
	}
	if (!k->value)
		return 0;
	if (!strcmp(k->key, "bind-propagation")) {
		k->bind_key = k->key;
		if (!strcmp(k->value, "private"))
			k->m.flat = true;
		return strcmp(k->value, "rprivate") && strcmp(k->value, "private") ? -EOPNOTSUPP
										   : 1;
	}
	if (strcmp(k->key, "tmpfs-size") && strcmp(k->key, "tmpfs-mode"))
		return 0;
	k->tmpfs_key = k->key;
	return take_tmpfs_key(k);
}

static int check_mount(const struct mount_keys *k, const char *text, struct um_error *err)
{
	const struct ctr_mount *m = &k->m;
	bool bind = !strcmp(m->type, "bind"), volume = !strcmp(m->type, "volume");
	const char *wrong = !bind && k->bind_key	       ? k->bind_key
			    : !volume && k->volume_key	       ? k->volume_key
			    : (bind || volume) && k->tmpfs_key ? k->tmpfs_key
			    : !bind && !volume && m->source    ? "source"
							       : NULL;

	if (!bind && !volume && strcmp(m->type, "tmpfs"))
		return um_error_set(err, -EOPNOTSUPP,
				    "mount \"%s\": type %s is not supported: bind, volume or tmpfs",
				    text, m->type);
	if (wrong)
		return um_error_set(err, -EINVAL, "mount \"%s\": %s does not go with type %s", text,
				    wrong, m->type);
	if (!m->target)
		return um_error_set(err, -EINVAL, "mount \"%s\": target is required", text);
	if (!good_target(m->target))
		return um_error_set(err, -EINVAL,
				    "mount \"%s\": invalid mount path: '%s' mount path must be "
				    "absolute and not /",
				    text, m->target);
	if (bind && (!m->source || *m->source != '/'))
		return um_error_set(err, -EINVAL,
				    "mount \"%s\": a bind wants an absolute path as its source",
				    text);
	return volume && m->source ? check_volume_name(m->source, err) : 0;
}

int ctr_parse_mount(struct um_arena *a, const char *text, struct ctr_mount *ret,
		    struct um_error *err)
{
	struct mount_keys k = {.a = a, .m = {.type = "volume", .options = ""}};
	char *at = strlen(text) < TEXT_MAX ? um_arena_strdup(a, text) : NULL, *field;
	int r;

	if (!at)
		return um_error_set(err, -EINVAL, "mount \"%.80s\": too long", text);
	while ((field = next_field(&at))) {
		char *equals = strchr(field, '=');

		k.key = field;
		k.value = equals ? equals + 1 : NULL;
		if (equals)
			*equals = '\0';
		r = take_key(&k);
		if (r < 0)
			return um_error_set(err, r, "mount \"%s\": %s: value \"%s\" is %s", text,
					    k.key, k.value ? k.value : "",
					    r == -EINVAL ? "not valid" : "not supported");
		if (r == 0)
			return um_error_set(err, -EOPNOTSUPP,
					    k.value ? "mount \"%s\": key %s is not supported"
						    : "mount \"%s\": field '%s' must be a "
						      "key=value pair",
					    text, k.key);
	}
	r = check_mount(&k, text, err);
	if (r == 0)
		*ret = k.m;
	return r;
}

int ctr_parse_tmpfs(struct um_arena *a, const char *text, struct ctr_mount *ret,
		    struct um_error *err)
{
	size_t len = strcspn(text, ":");
	char *path = strlen(text) < TEXT_MAX ? um_arena_strndup(a, text, len) : NULL;

	if (!path || !good_target(path))
		return um_error_set(
			err, -EINVAL,
			"invalid tmpfs \"%.80s\": mount path must be absolute and not /", text);
	*ret = (struct ctr_mount){.type = "tmpfs",
				  .target = path,
				  .options = um_arena_strdup(a, text + len + (text[len] == ':'))};
	return ret->options ? 0 : um_error_errno(err, -ENOMEM, "tmpfs");
}

/* ---- devices ---- */

static bool permissions(const char *s)
{
	return *s && strlen(s) <= 3 && strspn(s, "rwm") == strlen(s);
}

int ctr_parse_device(struct um_arena *a, struct um_json *list, const char *text,
		     struct um_error *err)
{
	char *host = strlen(text) < TEXT_MAX ? um_arena_strdup(a, text) : NULL;
	char *inside = host ? strchr(host, ':') : NULL, *mode = NULL;
	struct um_json *o;

	if (inside)
		*inside++ = '\0';
	if (inside && *inside != '/' && permissions(inside)) {
		mode = inside;
		inside = NULL;
	} else if (inside && (mode = strchr(inside, ':'))) {
		*mode++ = '\0';
	}
	if (!host || *host != '/' || (inside && !good_target(inside)) ||
	    (mode && !permissions(mode)))
		return um_error_set(err, -EINVAL,
				    "invalid device \"%.200s\": want "
				    "/dev/NAME[:/PATH/IN/CONTAINER][:rwm]",
				    text);
	o = um_json_append(list, um_json_new_obj(a));
	um_json_set_str(a, o, "PathOnHost", host);
	um_json_set_str(a, o, "PathInContainer", inside ? inside : host);
	um_json_set_str(a, o, "CgroupPermissions", mode ? mode : "rwm");
	return 0;
}

/* ---- limits ---- */

static int parse_limit(const char *text, size_t len, int64_t *ret)
{
	char copy[24];

	if (len >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return um_num_i64(copy, -1, INT64_MAX, ret);
}

int ctr_parse_ulimit(struct um_arena *a, struct um_json *list, const char *text,
		     struct um_error *err)
{
	static const char *const names[] = {"core",    "cpu",	   "data",   "fsize",	   "locks",
					    "memlock", "msgqueue", "nice",   "nofile",	   "nproc",
					    "rss",     "rtprio",   "rttime", "sigpending", "stack"};
	size_t len = strcspn(text, "="), soft_len;
	struct um_json *o = NULL;
	int64_t soft, hard;
	const char *name = NULL, *value = text + len + (text[len] == '=');

	for (size_t i = 0; i < UM_ARRAY_LEN(names); i++)
		if (strlen(names[i]) == len && !memcmp(names[i], text, len))
			name = names[i];
	if (!name)
		return um_error_set(err, -EINVAL, "invalid ulimit \"%.80s\": type %.*s is unknown",
				    text, (int)(len > 40 ? 40 : len), text);
	soft_len = strcspn(value, ":");
	if (parse_limit(value, soft_len, &soft) < 0 ||
	    parse_limit(value[soft_len] ? value + soft_len + 1 : value,
			value[soft_len] ? strlen(value + soft_len + 1) : soft_len, &hard) < 0)
		return um_error_set(err, -EINVAL,
				    "invalid ulimit \"%.80s\": want NAME=SOFT[:HARD], -1 for no "
				    "limit",
				    text);
	if (hard != -1 && (soft == -1 || soft > hard))
		return um_error_set(err, -EINVAL,
				    "invalid ulimit \"%.80s\": the soft limit must be less than or "
				    "equal to the hard limit",
				    text);
	um_json_foreach (it, list)
		if (!strcmp(um_json_get_str(it, "Name", ""), name))
			o = it;
	if (!o)
		o = um_json_append(list, um_json_new_obj(a));
	um_json_set_str(a, o, "Name", name);
	um_json_set_i64(a, o, "Soft", soft);
	um_json_set_i64(a, o, "Hard", hard);
	return 0;
}

int ctr_parse_cpus(const char *text, int64_t *ret_milli, struct um_error *err)
{
	if (um_quantity_milli(text, ret_milli) < 0 || *ret_milli < 10 ||
	    strspn(text, "0123456789.") != strlen(text))
		return um_error_set(err, -EINVAL,
				    "invalid argument \"%.80s\" for \"--cpus\" flag: want 0.01 or "
				    "more",
				    text);
	return 0;
}

/* ---- names of hosts ---- */

int ctr_parse_host(struct um_arena *a, struct um_json *list, const char *text, struct um_error *err)
{
	size_t len = strcspn(text, ":=");
	const char *address = text + len + (text[len] != '\0');
	char *name = len && len < 64 ? um_arena_strndup(a, text, len) : NULL;
	unsigned char raw[16];

	if (!strcmp(address, "host-gateway"))
		return um_error_set(err, -EOPNOTSUPP,
				    "--add-host %.80s: host-gateway is not supported", text);
	if (!name || !ctr_valid_hostname(name) ||
	    (inet_pton(AF_INET, address, raw) != 1 && inet_pton(AF_INET6, address, raw) != 1))
		return um_error_set(err, -EINVAL,
				    "bad format for add-host: \"%.80s\": want NAME:ADDRESS", text);
	um_json_append(list, um_json_new_str(a, um_arena_printf(a, "%s:%s", name, address)));
	return 0;
}

/* ---- environment ---- */

static void set_env(struct um_arena *a, struct um_json *list, const char *text)
{
	size_t len = strcspn(text, "=") + 1;
	struct um_json *fresh = um_json_new_str(a, text);

	um_json_foreach (it, list) {
		if (strncmp(um_json_str(it, ""), text, len))
			continue;
		if (fresh) {
			it->str = fresh->str;
			it->len = fresh->len;
		}
		return;
	}
	um_json_append(list, fresh);
}

int ctr_parse_env(struct um_arena *a, struct um_json *list, const char *text, struct um_error *err)
{
	const char *value;

	if (!*text || *text == '=')
		return um_error_set(err, -EINVAL, "invalid environment variable: %.80s", text);
	if (strchr(text, '=')) {
		set_env(a, list, text);
		return 0;
	}
	value = getenv(text);
	text = value ? um_arena_printf(a, "%s=%s", text, value) : NULL;
	if (text)
		set_env(a, list, text);
	return 0;
}

int ctr_parse_env_lines(struct um_arena *a, struct um_json *list, const char *path, char *text,
			struct um_error *err)
{
	char *line, *next = text;
	int r = 0;

	while (r == 0 && next && *next) {
		size_t len = strcspn(next, "\n");

		line = next;
		next += len + (next[len] == '\n');
		line[len] = '\0';
		while (len && line[len - 1] == '\r')
			line[--len] = '\0';
		line += strspn(line, " \t");
		if (!*line || *line == '#')
			continue;
		len = strcspn(line, "=");
		if (strcspn(line, " \t") < len)
			return um_error_set(err, -EINVAL,
					    "%s: variable '%.*s' contains whitespaces", path,
					    (int)(len > 80 ? 80 : len), line);
		r = ctr_parse_env(a, list, line, err);
	}
	return r;
}

/* ---- ends of cp ---- */

static void trim(struct ctr_side_text *s)
{
	size_t n = strlen(s->path);

	if (n >= 2 && !strcmp(s->path + n - 2, "/.")) {
		s->dot = true;
		s->path[--n] = '\0';
	} else if (!strcmp(s->path, ".")) {
		s->dot = true;
	}
	while (n > 1 && s->path[n - 1] == '/') {
		s->slash = true;
		s->path[--n] = '\0';
	}
	if (!strcmp(s->path, "/"))
		s->path[0] = '\0';
}

int ctr_parse_side(const char *text, struct ctr_side_text *ret, struct um_error *err)
{
	const char *colon = strchr(text, ':'), *path = text;

	memset(ret, 0, sizeof(*ret));
	ret->stream = !strcmp(text, "-");
	if (ret->stream)
		return 0;
	if (colon && colon != text && text[0] != '/' && text[0] != '.' &&
	    (size_t)(colon - text) < sizeof(ret->name) &&
	    !memchr(text, '/', (size_t)(colon - text))) {
		memcpy(ret->name, text, (size_t)(colon - text));
		path = colon + 1;
	}
	if (!*path || strlen(path) >= sizeof(ret->path) - 2)
		return um_error_set(err, -EINVAL, "path is empty or too long");
	snprintf(ret->path, sizeof(ret->path), "%s%s", *ret->name && *path != '/' ? "/" : "", path);
	trim(ret);
	return 0;
}
