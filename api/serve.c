#include "api/serve.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "api/server.h"
#include "api/token.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "control/controllers.h"
#include "store/store.h"
#include "wire/http_server.h"
#include "wire/loop.h"
#include "wire/tls.h"

#define RENEW_CHECK_NS (3600 * UM_NSEC_PER_SEC)
/* Leases, which are always fresh, and events: the oldest of them are forgotten first. */
#define VOLATILE_BYTES (2u << 20)

struct um_serve {
	struct um_loop *loop;
	struct um_store *durable, *volatile_;
	struct um_api *api;
	struct um_controllers *controllers;
	struct um_tls *tls;
	struct um_http_server *http, *health;
	struct um_pki_pair *ca;
	struct um_buf ca_pem; /* what pods are told to trust */
	struct um_tokens *tokens;
	struct um_service_ranges ranges;
	char own_service[16];
	struct um_timer *renew;
	char pki_dir[PATH_MAX], kubeconfig[PATH_MAX], listen[64], url[128];
	/* names of the server's certificate */
	char hostname[HOST_NAME_MAX + 1];
	const char *dns[16], *ips[16];
};

/* ---- certificates ---- */

int um_serve_ensure_leaf(const struct um_pki_pair *ca, const char *dir, const char *name,
			 const struct um_pki_names *names, int64_t wall_ns, bool *ret_made,
			 struct um_error *err)
{
	_cleanup_(um_pki_pair_freep) struct um_pki_pair *p = NULL;
	bool good = um_pki_load(dir, name, &p, NULL) == 0 && um_pki_signed_by(p, ca) &&
		    um_pki_covers(p, names) && !um_pki_leaf_due(p, wall_ns);
	int r;

	if (ret_made)
		*ret_made = !good;
	if (good)
		return 0;
	um_pki_pair_free(TAKE_PTR(p));
	r = um_pki_leaf_new(ca, names, wall_ns, &p, err);
	return r < 0 ? r : um_pki_save(p, dir, name, err);
}

/* A CA that is damaged is not replaced: that would lock out every node. */
static int ensure_ca(struct um_serve *s, struct um_error *err)
{
	int64_t wall = um_clock_wall(um_loop_clock(s->loop));
	int r = um_pki_load(s->pki_dir, "ca", &s->ca, err);

	if (r != -ENOENT)
		return r;
	if (err)
		*err = (struct um_error)UM_ERROR_INIT;
	r = um_pki_ca_new("umiak-ca", wall, &s->ca, err);
	return r < 0 ? r : um_pki_save(s->ca, s->pki_dir, "ca", err);
}

/* The file may hold more than one certificate while one is replaced by another. 1: it changed. */
static int read_ca_pem(struct um_serve *s, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(256 << 10);
	char path[PATH_MAX + 16];
	int r;

	snprintf(path, sizeof(path), "%s/ca.crt", s->pki_dir);
	r = um_io_read_file(AT_FDCWD, path, &b, err);
	if (r < 0 || !strcmp(um_buf_str(&b), um_buf_str(&s->ca_pem)))
		return r < 0 ? r : 0;
	um_buf_release(&s->ca_pem);
	s->ca_pem = b;
	b = (struct um_buf)UM_BUF_INIT(0);
	return 1;
}

static bool is_address(const char *s)
{
	unsigned char bin[16];

	return inet_pton(AF_INET, s, bin) == 1 || inet_pton(AF_INET6, s, bin) == 1;
}

static void add_name(struct um_serve *s, const char *name)
{
	const char **list = is_address(name) ? s->ips : s->dns;
	size_t i = 0;

	while (i + 1 < UM_ARRAY_LEN(s->dns) && list[i]) {
		if (!strcmp(list[i], name))
			return;
		i++;
	}
	if (i + 1 < UM_ARRAY_LEN(s->dns))
		list[i] = name;
}

static void collect_names(struct um_serve *s, const struct um_serve_opts *o)
{
	static const char *const always[] = {"127.0.0.1",
					     "::1",
					     "localhost",
					     "kubernetes",
					     "kubernetes.default",
					     "kubernetes.default.svc",
					     "kubernetes.default.svc.cluster.local"};

	for (size_t i = 0; i < UM_ARRAY_LEN(always); i++)
		add_name(s, always[i]);
	add_name(s, s->own_service);
	if (strcmp(s->listen, "0.0.0.0") && strcmp(s->listen, "::"))
		add_name(s, s->listen);
	if (gethostname(s->hostname, sizeof(s->hostname) - 1) == 0 && *s->hostname &&
	    strlen(s->hostname) < 64)
		add_name(s, s->hostname);
	for (const char *const *n = o->extra_names; n && *n; n++)
		add_name(s, *n);
}

static int ensure_leaves(struct um_serve *s, bool *ret_server, bool *ret_admin,
			 struct um_error *err)
{
	static const char *const masters[] = {"system:masters", NULL};
	struct um_pki_names server = {
		.cn = "umiak-server", .dns = s->dns, .ips = s->ips, .server = true};
	struct um_pki_names admin = {.cn = "umiak-admin", .orgs = masters, .client = true};
	int64_t wall = um_clock_wall(um_loop_clock(s->loop));
	int r = um_serve_ensure_leaf(s->ca, s->pki_dir, "server", &server, wall, ret_server, err);

	return r < 0 ? r
		     : um_serve_ensure_leaf(s->ca, s->pki_dir, "admin", &admin, wall, ret_admin,
					    err);
}

/* ---- kubeconfig ---- */

static int add_file_base64(struct um_buf *out, const char *label, const char *dir, const char *name,
			   struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(64 << 10);
	char path[PATH_MAX];
	char *text;
	int r = um_io_path(path, sizeof(path), "%s/%s", dir, name);

	if (r < 0)
		return um_error_errno(err, r, "%s/%s", dir, name);
	r = um_io_read_file(AT_FDCWD, path, &b, err);
	if (r < 0)
		return r;
	text = malloc(b.len / 3 * 4 + 5);
	if (!text)
		return um_error_set(err, -ENOMEM, "kubeconfig: out of memory");
	EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)um_buf_str(&b), (int)b.len);
	r = um_buf_addf(out, "    %s: %s\n", label, text);
	OPENSSL_cleanse(text, strlen(text));
	free(text);
	if (b.data)
		OPENSSL_cleanse(b.data, b.cap);
	return r;
}

int um_serve_write_kubeconfig(const char *path, const char *server_url, const char *pki_dir,
			      const char *user_pair, const char *user, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(256 << 10);
	char crt[128], key[128];
	int r;

	snprintf(crt, sizeof(crt), "%s.crt", user_pair);
	snprintf(key, sizeof(key), "%s.key", user_pair);
	um_buf_addf(&b,
		    "apiVersion: v1\nkind: Config\nclusters:\n- name: umiak\n  cluster:\n"
		    "    server: %s\n",
		    server_url);
	r = add_file_base64(&b, "certificate-authority-data", pki_dir, "ca.crt", err);
	um_buf_addf(&b, "users:\n- name: %s\n  user:\n", user);
	if (!r)
		r = add_file_base64(&b, "client-certificate-data", pki_dir, crt, err);
	if (!r)
		r = add_file_base64(&b, "client-key-data", pki_dir, key, err);
	um_buf_addf(&b,
		    "contexts:\n- name: umiak\n  context:\n    cluster: umiak\n    user: %s\n"
		    "current-context: umiak\n",
		    user);
	if (!r && um_buf_error(&b) < 0)
		r = um_error_set(err, -ENOMEM, "kubeconfig: out of memory");
	if (!r)
		r = um_io_replace_file(AT_FDCWD, path, b.data, b.len, 0600, UM_IO_SYNC, err);
	if (b.data)
		OPENSSL_cleanse(b.data, b.cap);
	return r;
}

static int write_admin(struct um_serve *s, struct um_error *err)
{
	return um_serve_write_kubeconfig(s->kubeconfig, s->url, s->pki_dir, "admin", "umiak-admin",
					 err);
}

/* What was written for another address or certificate is written again. */
static bool admin_config_stale(const struct um_serve *s)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(256 << 10);
	char line[160];

	if (um_io_read_file(AT_FDCWD, s->kubeconfig, &b, NULL) < 0)
		return true;
	snprintf(line, sizeof(line), "    server: %s\n", s->url);
	return !strstr(um_buf_str(&b), line);
}

static void on_renew(void *arg)
{
	struct um_serve *s = arg;
	struct um_error err = UM_ERROR_INIT;
	bool server = false, admin = false;
	int r = ensure_leaves(s, &server, &admin, &err);

	um_timer_start(s->renew, RENEW_CHECK_NS);
	if (!r)
		r = read_ca_pem(s, &err);
	if (r > 0)
		r = um_controllers_set_ca(s->controllers, um_buf_str(&s->ca_pem));
	if (!r && server)
		r = um_tls_reload(s->tls, &err);
	if (!r && admin)
		r = write_admin(s, &err);
	if (r < 0)
		um_log(UM_LOG_ERROR, "certificates cannot be renewed", UM_LOG_ERR(&err));
	else if (server || admin)
		um_log(UM_LOG_INFO, "certificates renewed", UM_LOG_BOOL("server", server),
		       UM_LOG_BOOL("admin", admin));
}

/* ---- starting ---- */

static int open_stores(struct um_serve *s, const struct um_serve_opts *o, struct um_error *err)
{
	struct um_store_sqlite_opts so = {.dir = o->data_dir,
					  .compact_keep = o->compact_keep,
					  .inject_fsync_delay_ns = o->inject_fsync_delay_ns};
	int64_t epoch = 0;
	int r = um_store_open_sqlite(s->loop, &so, &s->durable, err);

	if (!r)
		r = um_store_next_epoch(s->durable, &epoch, err);
	if (!r)
		r = um_store_open_volatile(s->loop, epoch, VOLATILE_BYTES, &s->volatile_, err);
	return r;
}

static int open_tls(struct um_serve *s, struct um_error *err)
{
	char cert[PATH_MAX + 16], key[PATH_MAX + 16], ca[PATH_MAX + 16];

	snprintf(cert, sizeof(cert), "%s/server.crt", s->pki_dir);
	snprintf(key, sizeof(key), "%s/server.key", s->pki_dir);
	snprintf(ca, sizeof(ca), "%s/ca.crt", s->pki_dir);
	return um_tls_server_new(&(struct um_tls_opts){cert, key, ca, false}, &s->tls, err);
}

static int open_http(struct um_serve *s, int port, struct um_error *err)
{
	struct um_http_server_opts ho = {.tls = s->tls,
					 .on_request = um_api_on_request,
					 .arg = s->api,
					 .error_body = um_api_error_body};
	int r = um_http_server_new(s->loop, &ho, &s->http, err);
	const char *host = s->listen;

	if (!r)
		r = um_http_server_listen(s->http, s->listen, port, err);
	if (r < 0)
		return r;
	if (!strcmp(host, "0.0.0.0"))
		host = "127.0.0.1";
	else if (!strcmp(host, "::"))
		host = "::1";
	snprintf(s->url, sizeof(s->url), strchr(host, ':') ? "https://[%s]:%d" : "https://%s:%d",
		 host, um_http_server_port(s->http));
	return 0;
}

static int open_health(struct um_serve *s, int port, struct um_error *err)
{
	struct um_http_server_opts ho = {.on_request = um_api_on_local_request,
					 .arg = s->api,
					 .error_body = um_api_error_body,
					 .max_conns = 64,
					 .max_conns_per_peer = 64};
	int r = port ? um_http_server_new(s->loop, &ho, &s->health, err) : 0;

	return r < 0 || !port ? r : um_http_server_listen(s->health, "127.0.0.1", port, err);
}

static int open_tokens(struct um_serve *s, struct um_error *err)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/sa.key", s->pki_dir);
	return um_tokens_open(path, &s->tokens, err);
}

static int assemble(struct um_serve *s, const struct um_serve_opts *o, struct um_error *err)
{
	struct um_api_opts ao = {
		.loop = s->loop, .event_ttl_ns = o->event_ttl_ns, .services = s->ranges};
	bool server = false, admin = false;
	int r = um_io_mkdirs(AT_FDCWD, o->data_dir, 0700, err);

	if (!r)
		r = um_io_mkdirs(AT_FDCWD, s->pki_dir, 0700, err);
	if (!r)
		r = open_stores(s, o, err);
	if (!r)
		r = ensure_ca(s, err);
	if (!r)
		r = read_ca_pem(s, err);
	if (r >= 0)
		r = ensure_leaves(s, &server, &admin, err);
	if (!r)
		r = open_tls(s, err);
	if (!r)
		r = open_tokens(s, err);
	ao.tokens = s->tokens;
	ao.durable = s->durable;
	ao.volatile_ = s->volatile_;
	if (!r)
		r = um_api_new(&ao, &s->api, err);
	if (!r)
		r = um_controllers_new(&(struct um_controllers_opts){s->loop, s->api, s->durable,
								     s->volatile_, o->no_scheduler,
								     um_buf_str(&s->ca_pem)},
				       &s->controllers, err);
	if (!r)
		r = open_http(s, o->port, err);
	if (!r)
		r = um_api_publish(s->api, um_http_server_port(s->http), err);
	if (!r)
		r = um_controllers_publish(s->controllers, s->listen, um_http_server_port(s->http),
					   err);
	if (!r)
		r = open_health(s, o->health_port, err);
	if (!r && (admin || admin_config_stale(s)))
		r = write_admin(s, err);
	return r;
}

int um_serve_new(struct um_loop *l, const struct um_serve_opts *o, struct um_serve **ret,
		 struct um_error *err)
{
	struct um_serve *s = calloc(1, sizeof(*s));
	int r = s ? 0 : um_error_set(err, -ENOMEM, "server: out of memory");

	if (r < 0)
		return r;
	s->loop = l;
	um_buf_init(&s->ca_pem, 256 << 10);
	r = um_io_path(s->pki_dir, sizeof(s->pki_dir), "%s", o->pki_dir);
	if (!r)
		r = o->kubeconfig
			    ? um_io_path(s->kubeconfig, sizeof(s->kubeconfig), "%s", o->kubeconfig)
			    : um_io_path(s->kubeconfig, sizeof(s->kubeconfig),
					 "%s/admin.kubeconfig", o->pki_dir);
	if (!r)
		r = um_io_path(s->listen, sizeof(s->listen), "%s",
			       o->listen ? o->listen : "127.0.0.1");
	if (r < 0)
		um_error_errno(err, r, "server");
	else
		r = um_service_ranges_parse(o->service_range ? o->service_range : "10.96.0.0/16",
					    o->node_port_range ? o->node_port_range : "30000-32767",
					    o->pod_range, &s->ranges, err);
	if (r == 0 && o->cluster_dns)
		r = um_service_ranges_set_dns(&s->ranges, o->cluster_dns, err);
	s->renew = um_timer_new(l, on_renew, s);
	if (r == 0 && !s->renew)
		r = um_error_errno(err, -ENOMEM, "server");
	if (r == 0) {
		um_service_ranges_own(&s->ranges, s->own_service);
		collect_names(s, o);
		r = assemble(s, o, err);
	}
	if (r < 0) {
		um_serve_free(s);
		return r;
	}
	um_timer_start(s->renew, RENEW_CHECK_NS);
	*ret = s;
	return 0;
}

int um_serve_ensure_node(struct um_serve *s, const char *node, struct um_error *err)
{
	static const char *const orgs[] = {"system:nodes", NULL};
	char pair[300], user[300];
	struct um_pki_names names = {.cn = user, .orgs = orgs, .client = true};

	snprintf(pair, sizeof(pair), "node-%.250s", node);
	snprintf(user, sizeof(user), "system:node:%.250s", node);
	return um_serve_ensure_leaf(s->ca, s->pki_dir, pair, &names,
				    um_clock_wall(um_loop_clock(s->loop)), NULL, err);
}

int um_serve_port(const struct um_serve *s)
{
	return um_http_server_port(s->http);
}

struct um_api *um_serve_api(struct um_serve *s)
{
	return s->api;
}

struct um_store *um_serve_durable(struct um_serve *s)
{
	return s->durable;
}

struct um_store *um_serve_volatile(struct um_serve *s)
{
	return s->volatile_;
}

void um_serve_drain(struct um_serve *s, int64_t timeout_ns, void (*done)(void *arg), void *arg)
{
	um_http_server_drain(s->http, timeout_ns, done, arg);
}

void um_serve_free(struct um_serve *s)
{
	if (!s)
		return;
	um_http_server_free(s->health);
	um_http_server_free(s->http);
	um_controllers_free(s->controllers);
	/* Writes in flight call back into the API: they finish before it goes. */
	um_api_stop(s->api);
	um_store_close(s->volatile_);
	um_store_close(s->durable);
	um_api_free(s->api);
	um_tls_unref(s->tls);
	um_tokens_free(s->tokens);
	um_pki_pair_free(s->ca);
	um_buf_release(&s->ca_pem);
	um_timer_free(s->renew);
	free(s);
}
