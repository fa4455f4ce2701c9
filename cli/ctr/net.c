/* A container's network: its address, and published ports. */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fault.h"
#include "base/io.h"
#include "cli/ctr/ctr.h"

typedef UM_VEC(struct um_ctr_port) port_vec;

static void port_vec_release(port_vec *v)
{
	um_vec_release(v);
}
#define _cleanup_ports_ _cleanup_(port_vec_release)

#define FIRST_EPHEMERAL 49153

/* ---- net.json: what a running container has ---- */

static void net_path(const struct ctr *c, char *buf, size_t size)
{
	snprintf(buf, size, "%s/net.json", c->run_dir);
}

static int add_noted(port_vec *v, const char *path)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(4 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	struct um_json *doc;

	if (!a)
		return -ENOMEM;
	if (um_io_read_file(AT_FDCWD, path, &b, NULL) < 0 ||
	    um_json_parse(a, um_buf_str(&b), b.len, NULL, &doc, NULL) < 0)
		return 0; /* it has none, or is being made */
	um_json_foreach (it, um_json_get(doc, "ports")) {
		struct um_ctr_port p = {
			.udp = um_json_get_bool(it, "udp", false),
			.host_port = (uint16_t)um_json_get_i64(it, "host_port", 0),
			.port = (uint16_t)um_json_get_i64(it, "port", 0),
		};

		inet_pton(AF_INET, um_json_get_str(it, "host", "0.0.0.0"), &p.host);
		inet_pton(AF_INET, um_json_get_str(doc, "address", "0.0.0.0"), &p.addr);
		if (um_vec_push(v, p) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* The ports of every container. */
static int all_ports(port_vec *v, struct um_error *err)
{
	_cleanup_closedir_ DIR *d = opendir(ctr_env.run);
	struct dirent *e;
	char path[1400];

	while (d && (e = readdir(d))) {
		if (strlen(e->d_name) != 16)
			continue;
		snprintf(path, sizeof(path), "%s/%s/net.json", ctr_env.run, e->d_name);
		if (add_noted(v, path) < 0)
			return um_error_errno(err, -ENOMEM, "list the published ports");
	}
	return 0;
}

static int note(const struct ctr *c, const char *address, const port_vec *ports,
		struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(4 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	struct um_json *o = um_json_new_obj(a), *list;
	char path[1300], host[INET_ADDRSTRLEN];

	um_json_set_str(a, o, "address", address);
	list = um_json_ensure_arr(a, o, "ports");
	um_vec_foreach (p, ports) {
		struct um_json *it = um_json_append(list, um_json_new_obj(a));

		inet_ntop(AF_INET, &p->host, host, sizeof(host));
		um_json_set_bool(a, it, "udp", p->udp);
		um_json_set_str(a, it, "host", host);
		um_json_set_i64(a, it, "host_port", p->host_port);
		um_json_set_i64(a, it, "port", p->port);
	}
	if (!a || um_arena_failed(a) || um_json_write(&b, o) < 0)
		return um_error_errno(err, -ENOMEM, "note the container's network");
	net_path(c, path, sizeof(path));
	return um_io_replace_file(AT_FDCWD, path, b.data, b.len, 0600, UM_IO_NO_SYNC, err);
}

/* ---- giving ports ---- */

static bool clash(const struct um_ctr_port *a, const struct um_ctr_port *b)
{
	return a->udp == b->udp && a->host_port == b->host_port &&
	       (a->host.s_addr == b->host.s_addr || a->host.s_addr == INADDR_ANY ||
		b->host.s_addr == INADDR_ANY);
}

static bool taken(const port_vec *used, const port_vec *own, const struct um_ctr_port *p)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_port = htons(p->host_port), .sin_addr = p->host};
	int one = 1;

	um_vec_foreach (it, used)
		if (clash(it, p))
			return true;
	um_vec_foreach (it, own)
		if (clash(it, p))
			return true;
	/* A program of the host may listen there. */
	fd = socket(AF_INET, (p->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	if (fd < 0 || (!p->udp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0))
		return true;
	return bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 && errno == EADDRINUSE;
}

static int choose(const struct ctr *c, const port_vec *used, port_vec *own, struct um_ctr_port p,
		  struct um_error *err)
{
	char host[INET_ADDRSTRLEN];
	bool any = !p.host_port;

	inet_ntop(AF_INET, &p.host, host, sizeof(host));
	for (unsigned port = any ? FIRST_EPHEMERAL : p.host_port; port <= 65535; port++) {
		p.host_port = (uint16_t)port;
		if (!taken(used, own, &p))
			return um_vec_push(own, p);
		if (!any)
			break;
	}
	return um_error_set(
		err, -EADDRINUSE,
		"driver failed programming external connectivity on endpoint %s: Bind for "
		"%s:%u failed: port is already allocated",
		ctr_name(c), host, p.host_port);
}

static int wanted_ports(const struct ctr *c, const port_vec *used, port_vec *own,
			struct um_error *err)
{
	um_json_foreach (b, um_json_path(c->config, "HostConfig.PortBindings")) {
		um_json_foreach (it, b) {
			const char *ip = um_json_get_str(it, "HostIp", "");
			struct um_ctr_port p = {
				.udp = strstr(b->key, "/udp") != NULL,
				.host_port = (uint16_t)atoi(um_json_get_str(it, "HostPort", "")),
				.port = (uint16_t)atoi(b->key),
			};
			int r;

			if (*ip)
				inet_pton(AF_INET, ip, &p.host);
			r = choose(c, used, own, p, err);
			if (r < 0)
				return r == -ENOMEM ? um_error_errno(err, r, "publish ports") : r;
		}
	}
	return 0;
}

static int load(bool changed, struct um_error *err)
{
	_cleanup_ports_ port_vec ports = UM_VEC_INIT;
	struct um_ctr_net n = ctr_net();
	bool ready = false;
	int r = um_ctr_net_ready(&n, &ready, err);

	if (r < 0 || (ready && !changed))
		return r;
	r = all_ports(&ports, err);
	return r < 0 ? r : um_ctr_net_load(&n, ports.items, ports.len, err);
}

static int up(struct ctr *c, int netns, char address[INET_ADDRSTRLEN], struct um_error *err)
{
	_cleanup_ports_ port_vec used = UM_VEC_INIT, own = UM_VEC_INIT;
	struct um_ctr_net n = ctr_net();
	_cleanup_close_ int lock = um_ctr_net_lock(&n, err);
	bool ports = um_json_first(um_json_path(c->config, "HostConfig.PortBindings")) != NULL,
	     ready;
	struct um_net_pod pod;
	int r = lock < 0 ? lock : um_ctr_net_ready(&n, &ready, err); /* nobody else's range */

	if (r == 0 && ports)
		r = all_ports(&used, err);
	if (r == 0 && ports)
		r = wanted_ports(c, &used, &own, err);
	if (r == 0)
		r = um_ctr_net_attach(&n, c->uid, netns, ports, &pod, err);
	UM_FAULT("ctr.attached");
	if (r < 0)
		return r;
	memcpy(address, pod.addr_text, INET_ADDRSTRLEN);
	r = note(c, address, &own, err);
	return r < 0 ? r : load(ports, err);
}

int ctr_net_up(struct ctr *c, const struct ctr_live *shim, char address[INET_ADDRSTRLEN],
	       struct um_error *err)
{
	_cleanup_close_ int netns = -1;
	char path[64];

	*address = '\0';
	if (strcmp(um_json_get_str(c->config, "HostConfig.NetworkMode", ""), "bridge"))
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", shim->shim, shim->ns_net);
	netns = open(path, O_RDONLY | O_CLOEXEC);
	if (netns < 0)
		return um_error_errno(err, -errno, "open the container's network namespace");
	return up(c, netns, address, err);
}

int ctr_net_down(struct ctr *c, struct um_error *err)
{
	bool ports = um_json_first(um_json_path(c->config, "HostConfig.PortBindings")) != NULL;
	struct um_ctr_net n = ctr_net();
	_cleanup_close_ int lock = -1;
	char path[1300];
	int r;

	if (strcmp(um_json_get_str(c->config, "HostConfig.NetworkMode", ""), "bridge"))
		return 0;
	lock = um_ctr_net_lock(&n, err);
	if (lock < 0)
		return lock;
	net_path(c, path, sizeof(path));
	(void)unlink(path);
	r = ports ? load(true, err) : 0; /* before the address may be another's */
	return r < 0 ? r : um_ctr_net_let_go(&n, c->uid, err);
}

int ctr_net_heal(struct um_error *err)
{
	struct um_ctr_net n = ctr_net();
	_cleanup_close_ int lock = -1;
	bool ready = true;
	int r = um_ctr_net_ready(&n, &ready, err);

	if (r < 0 || ready)
		return r;
	lock = um_ctr_net_lock(&n, err);
	return lock < 0 ? lock : load(false, err);
}
