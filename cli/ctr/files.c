/* Files that a container gets from this machine: /etc/hosts and its like, volumes. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "cli/ctr/copy.h"
#include "cli/ctr/ctr.h"
#include "cli/ctr/parse.h"

#define FILE_MAX (1u << 20)

static bool host_network(const struct ctr *c)
{
	return !strcmp(um_json_get_str(c->config, "HostConfig.NetworkMode", ""), "host");
}

/* What --add-host says: "name:address". */
static void add_hosts(const struct ctr *c, struct um_buf *b)
{
	um_json_foreach (it, um_json_path(c->config, "HostConfig.ExtraHosts")) {
		const char *text = um_json_str(it, ""), *colon = strchr(text, ':');

		if (colon)
			um_buf_addf(b, "%s\t%.*s\n", colon + 1, (int)(colon - text), text);
	}
}

static void hosts_file(const struct ctr *c, const char *address, struct um_buf *b)
{
	if (host_network(c) && um_io_read_file(AT_FDCWD, "/etc/hosts", b, NULL) == 0) {
		if (b->len && b->data[b->len - 1] != '\n')
			um_buf_addc(b, '\n');
		add_hosts(c, b);
		return;
	}
	um_buf_adds(b, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
	add_hosts(c, b);
	if (*address)
		um_buf_addf(b, "%s\t%s\n", address,
			    um_json_get_str(c->config, "Config.Hostname", ""));
}

/* A name server that only this host's loopback has. */
static bool loopback_server(const char *line, size_t len)
{
	char text[64];
	struct in_addr a4;
	struct in6_addr a6;

	if (len < 11 || strncmp(line, "nameserver", 10) || !strchr(" \t", line[10]))
		return false;
	line += 10;
	len -= 10;
	while (len && strchr(" \t", *line)) {
		line++;
		len--;
	}
	while (len && strchr(" \t\r", line[len - 1]))
		len--;
	if (len >= sizeof(text))
		return false;
	memcpy(text, line, len);
	text[len] = '\0';
	if (inet_pton(AF_INET, text, &a4) == 1)
		return ntohl(a4.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, text, &a6) == 1 && IN6_IS_ADDR_LOOPBACK(&a6);
}

/* Copies the lines but loopback servers; the number of servers that stay. */
static unsigned copy_resolv(const struct um_buf *from, struct um_buf *b)
{
	const char *p = um_buf_str(from), *end = p + from->len;
	unsigned servers = 0;

	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t len = (size_t)((nl ? nl : end) - p);

		if (!loopback_server(p, len)) {
			servers += len > 10 && !strncmp(p, "nameserver", 10);
			um_buf_add(b, p, len);
			um_buf_addc(b, '\n');
		}
		p += len + 1;
	}
	return servers;
}

static void host_resolv(const struct ctr *c, struct um_buf *b)
{
	_cleanup_buf_ struct um_buf host = UM_BUF_INIT(FILE_MAX);

	if (host_network(c)) {
		(void)!um_io_read_file(AT_FDCWD, "/etc/resolv.conf", b, NULL);
		return;
	}
	if (um_io_read_file(AT_FDCWD, "/etc/resolv.conf", &host, NULL) == 0 &&
	    copy_resolv(&host, b) > 0)
		return;
	/* systemd-resolved: the servers that it asks itself. */
	um_buf_clear(&host);
	um_buf_clear(b);
	if (um_io_read_file(AT_FDCWD, "/run/systemd/resolve/resolv.conf", &host, NULL) == 0 &&
	    copy_resolv(&host, b) > 0)
		return;
	um_buf_adds(b, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
}

static bool is_line(const char *line, size_t len, const char *word)
{
	size_t n = strlen(word);

	return len > n && !memcmp(line, word, n) && strchr(" \t", line[n]);
}

/* What --dns, --dns-search and --dns-option say stands for the host's lines of that kind. */
static void resolv_file(const struct ctr *c, struct um_buf *b)
{
	static const struct {
		const char *key, *word;
		bool own_line;
	} kinds[] = {{"HostConfig.Dns", "nameserver", true},
		     {"HostConfig.DnsSearch", "search", false},
		     {"HostConfig.DnsOptions", "options", false}};
	_cleanup_buf_ struct um_buf host = UM_BUF_INIT(FILE_MAX);

	host_resolv(c, &host);
	for (const char *p = um_buf_str(&host); *p;) {
		size_t len = strcspn(p, "\n");
		bool replaced = false;

		for (size_t i = 0; i < UM_ARRAY_LEN(kinds); i++)
			replaced |= is_line(p, len, kinds[i].word) &&
				    um_json_first(um_json_path(c->config, kinds[i].key));
		if (!replaced)
			um_buf_addf(b, "%.*s\n", (int)len, p);
		p += len + (p[len] == '\n');
	}
	for (size_t i = 0; i < UM_ARRAY_LEN(kinds); i++) {
		const struct um_json *list = um_json_path(c->config, kinds[i].key);
		const char *before = kinds[i].word;

		um_json_foreach (it, list) {
			if (!strcmp(um_json_str(it, ""), ".")) /* no search at all */
				continue;
			um_buf_addf(b, "%s %s%s", before, um_json_str(it, ""),
				    kinds[i].own_line ? "\n" : "");
			before = kinds[i].own_line ? before : "";
		}
		if (!*before)
			um_buf_addc(b, '\n');
	}
}

static int write_file(const struct ctr *c, const char *name, const struct um_buf *b,
		      struct um_error *err)
{
	char path[1300];

	if (um_buf_error(b))
		return um_error_errno(err, um_buf_error(b), "write %s", name);
	snprintf(path, sizeof(path), "%s/%s", c->run_dir, name);
	return um_io_replace_file(AT_FDCWD, path, um_buf_str(b), b->len, 0644, UM_IO_NO_SYNC, err);
}

int ctr_write_files(const struct ctr *c, const char *address, struct um_error *err)
{
	_cleanup_buf_ struct um_buf hosts = UM_BUF_INIT(FILE_MAX), name = UM_BUF_INIT(300);
	_cleanup_buf_ struct um_buf resolv = UM_BUF_INIT(FILE_MAX);
	int r;

	hosts_file(c, address, &hosts);
	um_buf_addf(&name, "%s\n", um_json_get_str(c->config, "Config.Hostname", ""));
	resolv_file(c, &resolv);
	r = write_file(c, "hosts", &hosts, err);
	if (r == 0)
		r = write_file(c, "hostname", &name, err);
	return r < 0 ? r : write_file(c, "resolv.conf", &resolv, err);
}

/* ---- volumes ---- */

static int make_volume(const char *name, char *path, size_t size, struct um_error *err)
{
	snprintf(path, size, "%s/%s/_data", ctr_env.volumes, name);
	return um_io_mkdirs(AT_FDCWD, path, 0755, err);
}

static void add_mount(struct um_arena *a, struct um_json *list, const struct ctr_mount *m,
		      const char *name, const char *source)
{
	struct um_json *o = um_json_append(list, um_json_new_obj(a));

	um_json_set_str(a, o, "Type", m->type);
	if (name)
		um_json_set_str(a, o, "Name", name);
	um_json_set_str(a, o, "Source", source);
	um_json_set_str(a, o, "Destination", m->target);
	um_json_set_bool(a, o, "RW", !m->read_only);
	if (m->flat)
		um_json_set_bool(a, o, "Flat", true);
	if (m->no_copy)
		um_json_set_bool(a, o, "NoCopy", true);
	if (name && !m->source)
		um_json_set_bool(a, o, "Anonymous", true);
}

/* Whether two paths are the same but for slashes. */
static bool same_path(const char *a, const char *b)
{
	for (;;) {
		size_t slashes_a = strspn(a, "/"), slashes_b = strspn(b, "/"), len;

		a += slashes_a;
		b += slashes_b;
		len = strcspn(a, "/");
		if (strcspn(b, "/") != len || memcmp(a, b, len))
			return false;
		if (!len)
			return true;
		a += len;
		b += len;
	}
}

static bool has_target(const struct um_json *config, const char *target)
{
	um_json_foreach (it, um_json_get(config, "Mounts"))
		if (same_path(um_json_get_str(it, "Destination", ""), target))
			return true;
	um_json_foreach (it, um_json_path(config, "HostConfig.Tmpfs"))
		if (same_path(it->key, target))
			return true;
	return false;
}

static int add_volume(struct um_arena *a, struct um_json *list, const struct ctr_mount *m,
		      struct um_error *err)
{
	char id[CTR_ID_LEN + 1], path[1300];
	const char *name = m->source ? m->source : id;
	int r = m->source ? 0 : ctr_new_id(id, err);

	if (r == 0)
		r = make_volume(name, path, sizeof(path), err);
	if (r == 0)
		add_mount(a, list, m, name, path);
	return r;
}

static int add_bind(struct um_arena *a, struct um_json *list, const struct ctr_mount *m,
		    struct um_error *err)
{
	int r = 0;

	if (access(m->source, F_OK) < 0 && !m->make_source)
		return um_error_set(err, -ENOENT,
				    "invalid mount config for type \"bind\": bind source path does "
				    "not exist: %s",
				    m->source);
	if (access(m->source, F_OK) < 0)
		r = um_io_mkdirs(AT_FDCWD, m->source, 0755, err);
	if (r == 0)
		add_mount(a, list, m, NULL, m->source);
	return r;
}

int ctr_add_mount(struct um_arena *a, struct um_json *config, const struct ctr_mount *m,
		  struct um_error *err)
{
	struct um_json *list = um_json_ensure_arr(a, config, "Mounts");

	if (has_target(config, m->target))
		return um_error_set(err, -EINVAL, "Duplicate mount point: %s", m->target);
	if (!strcmp(m->type, "bind"))
		return add_bind(a, list, m, err);
	if (!strcmp(m->type, "volume"))
		return add_volume(a, list, m, err);
	um_json_set_str(
		a, um_json_ensure_obj(a, um_json_ensure_obj(a, config, "HostConfig"), "Tmpfs"),
		m->target,
		um_arena_printf(a, "%s%s%s", m->options, *m->options && m->read_only ? "," : "",
				m->read_only ? "ro" : ""));
	return 0;
}

int ctr_add_image_volumes(struct um_arena *a, struct um_json *config,
			  const struct um_json *image_config, struct um_error *err)
{
	int r = 0;

	um_json_ensure_arr(a, config, "Mounts");
	um_json_foreach (it, um_json_path(image_config, "config.Volumes")) {
		struct ctr_mount m = {.type = "volume", .target = it->key, .options = ""};

		if (r == 0 && it->key[0] == '/' && it->key[1] && !has_target(config, it->key))
			r = ctr_add_mount(a, config, &m, err);
	}
	return r;
}

static bool is_empty(int fd)
{
	_cleanup_closedir_ DIR *d = NULL;
	int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;

	d = own < 0 ? NULL : fdopendir(own);
	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			return false;
	return d != NULL;
}

/* An empty volume gets what the image has at its place. */
static int fill_volume(int root, const struct um_json *mount, struct um_error *err)
{
	const char *source = um_json_get_str(mount, "Source", "");
	_cleanup_close_ int to = open(source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int from = um_io_openat2(root, um_json_get_str(mount, "Destination", ""),
						 O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0,
						 RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
	struct stat st;

	if (to < 0)
		return um_error_errno(err, -errno, "open volume %s", source);
	if (from < 0 || !is_empty(to) || fstat(from, &st) < 0)
		return 0;
	if (fchown(to, st.st_uid, st.st_gid) < 0 || fchmod(to, st.st_mode & 07777) < 0)
		return um_error_errno(err, -errno, "owner of volume %s", source);
	return ctr_copy_children(from, to, CTR_COPY_OWNERS | CTR_COPY_DEVICES, err);
}

int ctr_copy_up(const struct ctr *c, const char *rootfs, struct um_error *err)
{
	_cleanup_close_ int root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = 0;

	um_json_foreach (it, um_json_get(c->config, "Mounts")) {
		if (r == 0 && !strcmp(um_json_get_str(it, "Type", ""), "volume") &&
		    !um_json_get_bool(it, "NoCopy", false))
			r = fill_volume(root, it, err);
	}
	return r;
}

int ctr_remove_volumes(const struct um_json *config, struct um_error *err)
{
	char path[1300];
	int r = 0;

	um_json_foreach (it, um_json_get(config, "Mounts")) {
		if (!um_json_get_bool(it, "Anonymous", false))
			continue;
		snprintf(path, sizeof(path), "%s/%s", ctr_env.volumes,
			 um_json_get_str(it, "Name", "-"));
		if (r == 0)
			r = um_io_remove_tree(AT_FDCWD, path, err);
	}
	return r;
}
