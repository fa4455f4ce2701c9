/* Files that a container gets from this machine: /etc/hosts and its like, volumes. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "cli/ctr/copy.h"
#include "cli/ctr/ctr.h"

#define FILE_MAX (1u << 20)

static bool host_network(const struct ctr *c)
{
	return !strcmp(um_json_get_str(c->config, "HostConfig.NetworkMode", ""), "host");
}

static void hosts_file(const struct ctr *c, const char *address, struct um_buf *b)
{
	if (host_network(c) && um_io_read_file(AT_FDCWD, "/etc/hosts", b, NULL) == 0)
		return;
	um_buf_adds(b, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
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

static void resolv_file(const struct ctr *c, struct um_buf *b)
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

static bool volume_name_ok(const char *s)
{
	static const char chars[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";

	return strlen(s) >= 2 && strlen(s) < 129 && !s[strspn(s, chars)] && !strchr("_.-", *s);
}

static int make_volume(const char *name, char *path, size_t size, struct um_error *err)
{
	snprintf(path, size, "%s/%s/_data", ctr_env.volumes, name);
	return um_io_mkdirs(AT_FDCWD, path, 0755, err);
}

static void add_mount(struct um_arena *a, struct um_json *list, const char *type, const char *name,
		      const char *source, const char *target, bool rw)
{
	struct um_json *o = um_json_append(list, um_json_new_obj(a));

	um_json_set_str(a, o, "Type", type);
	if (name)
		um_json_set_str(a, o, "Name", name);
	um_json_set_str(a, o, "Source", source);
	um_json_set_str(a, o, "Destination", target);
	um_json_set_bool(a, o, "RW", rw);
}

static bool has_target(const struct um_json *list, const char *target)
{
	um_json_foreach (it, list)
		if (!strcmp(um_json_get_str(it, "Destination", ""), target))
			return true;
	return false;
}

static int anonymous(struct um_arena *a, struct um_json *list, const char *target,
		     struct um_error *err)
{
	char id[CTR_ID_LEN + 1], path[1300];
	int r = ctr_new_id(id, err);

	if (r == 0)
		r = make_volume(id, path, sizeof(path), err);
	if (r < 0)
		return r;
	add_mount(a, list, "volume", id, path, target, true);
	um_json_set_bool(a, list->last, "Anonymous", true);
	return 0;
}

/* host:ctr[:ro|rw], name:ctr[...], ctr */
static int parse_volume(struct um_arena *a, struct um_json *list, const char *text,
			struct um_error *err)
{
	char copy[4096], path[1300], *target, *mode, *source = copy;
	bool rw = true;
	int r;

	if (strlen(text) >= sizeof(copy))
		return um_error_set(err, -EINVAL, "volume \"%.80s\": too long", text);
	strcpy(copy, text);
	target = strchr(copy, ':');
	if (!target) {
		if (*copy != '/' || !copy[1])
			return um_error_set(err, -EINVAL,
					    "invalid volume specification: '%s': want "
					    "[SOURCE:]/PATH[:ro]",
					    text);
		return anonymous(a, list, copy, err);
	}
	*target++ = '\0';
	mode = strchr(target, ':');
	if (mode) {
		*mode++ = '\0';
		if (strcmp(mode, "ro") && strcmp(mode, "rw"))
			return um_error_set(err, -EOPNOTSUPP,
					    "volume \"%s\": mode \"%s\" is not supported: ro or rw",
					    text, mode);
		rw = !strcmp(mode, "rw");
	}
	if (*target != '/' || !target[strspn(target, "/")])
		return um_error_set(err, -EINVAL,
				    "invalid volume specification: '%s': invalid mount path: '%s' "
				    "mount path must be absolute and not /",
				    text, target);
	if (has_target(list, target))
		return um_error_set(err, -EINVAL, "Duplicate mount point: %s", target);
	if (*source == '/') {
		r = access(source, F_OK) < 0 ? um_io_mkdirs(AT_FDCWD, source, 0755, err) : 0;
		if (r == 0)
			add_mount(a, list, "bind", NULL, source, target, rw);
		return r;
	}
	if (!volume_name_ok(source))
		return um_error_set(
			err, -EINVAL,
			"\"%s\" includes invalid characters for a local volume name, only "
			"\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to "
			"pass a host directory, use absolute path",
			source);
	r = make_volume(source, path, sizeof(path), err);
	if (r == 0)
		add_mount(a, list, "volume", source, path, target, rw);
	return r;
}

int ctr_make_mounts(struct um_arena *a, struct um_json *config, const struct um_json *image_config,
		    struct um_error *err)
{
	struct um_json *list = um_json_ensure_arr(a, config, "Mounts");
	int r = 0;

	um_json_foreach (it, um_json_path(config, "HostConfig.Binds")) {
		r = parse_volume(a, list, um_json_str(it, ""), err);
		if (r < 0)
			return r;
	}
	um_json_foreach (it, um_json_path(image_config, "config.Volumes")) {
		if (r == 0 && it->key[0] == '/' && it->key[1] && !has_target(list, it->key))
			r = anonymous(a, list, it->key, err);
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
		if (r == 0 && !strcmp(um_json_get_str(it, "Type", ""), "volume"))
			r = fill_volume(root, it, err);
	}
	return r;
}

int ctr_remove_volumes(const struct ctr *c, struct um_error *err)
{
	char path[1300];
	int r = 0;

	um_json_foreach (it, um_json_get(c->config, "Mounts")) {
		if (!um_json_get_bool(it, "Anonymous", false))
			continue;
		snprintf(path, sizeof(path), "%s/%s", ctr_env.volumes,
			 um_json_get_str(it, "Name", "-"));
		if (r == 0)
			r = um_io_remove_tree(AT_FDCWD, path, err);
	}
	return r;
}
