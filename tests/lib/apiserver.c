/* An API server for tests: apiserver DIR [--port N] [--health-port N] [--event-ttl SECONDS]
 * [--node NAME]...
 * Keeps everything below DIR, prints its URL when it listens, and ends on SIGTERM. For each --node
 * a certificate DIR/pki/node-NAME and a kubeconfig DIR/node-NAME.kubeconfig are made. */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "api/serve.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "wire/loop.h"

static struct um_loop *loop;
static struct um_serve *serve;

static void stop(void *arg um_unused)
{
	um_loop_stop(loop);
}

static void on_term(void *arg um_unused, int signo um_unused)
{
	um_serve_drain(serve, 2 * UM_NSEC_PER_SEC, stop, NULL);
}

static int make_node(const char *dir, const char *url, const char *name, struct um_error *err)
{
	static const char *const orgs[] = {"system:nodes", NULL};
	_cleanup_(um_pki_pair_freep) struct um_pki_pair *ca = NULL;
	char pki[PATH_MAX], pair[128], user[128], config[PATH_MAX];
	struct um_pki_names names = {.cn = user, .orgs = orgs, .client = true};
	int r;

	snprintf(pki, sizeof(pki), "%s/pki", dir);
	snprintf(pair, sizeof(pair), "node-%s", name);
	snprintf(user, sizeof(user), "system:node:%s", name);
	snprintf(config, sizeof(config), "%s/node-%s.kubeconfig", dir, name);
	r = um_pki_load(pki, "ca", &ca, err);
	if (!r)
		r = um_serve_ensure_leaf(ca, pki, pair, &names, um_clock_wall(&um_clock_system),
					 NULL, err);
	if (!r)
		r = um_serve_write_kubeconfig(config, url, pki, pair, user, err);
	return r;
}

static int run(const char *dir, int port, int health, int ttl_s, char **nodes, int n_nodes,
	       struct um_error *err)
{
	char data[PATH_MAX], pki[PATH_MAX], config[PATH_MAX], url[64];
	struct um_serve_opts o = {.data_dir = data,
				  .pki_dir = pki,
				  .kubeconfig = config,
				  .port = port,
				  .health_port = health,
				  .no_scheduler = true,
				  .event_ttl_ns = ttl_s * UM_NSEC_PER_SEC};
	int r;

	snprintf(data, sizeof(data), "%s/data", dir);
	snprintf(pki, sizeof(pki), "%s/pki", dir);
	snprintf(config, sizeof(config), "%s/admin.kubeconfig", dir);
	r = um_serve_new(loop, &o, &serve, err);
	if (r < 0)
		return r;
	snprintf(url, sizeof(url), "https://127.0.0.1:%d", um_serve_port(serve));
	for (int i = 0; i < n_nodes && !r; i++)
		r = make_node(dir, url, nodes[i], err);
	if (!r)
		r = um_loop_on_signal(loop, SIGTERM, on_term, NULL);
	if (!r) {
		printf("%s\n", url);
		fflush(stdout);
		r = um_loop_run(loop);
	}
	um_serve_free(serve);
	return r;
}

int main(int argc, char **argv)
{
	struct um_error err = UM_ERROR_INIT;
	char *nodes[16];
	int n_nodes = 0, port = 0, health = 0, ttl_s = 0, r;

	if (argc < 2 || argc % 2) {
		fprintf(stderr,
			"usage: %s DIR [--port N] [--health-port N] [--event-ttl SECONDS] [--node "
			"NAME]...\n",
			argv[0]);
		return UM_EXIT_USAGE;
	}
	for (int i = 2; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--port") && um_num_int(argv[i + 1], 0, 65535, &port) == 0)
			continue;
		if (!strcmp(argv[i], "--health-port") &&
		    um_num_int(argv[i + 1], 1, 65535, &health) == 0)
			continue;
		if (!strcmp(argv[i], "--event-ttl") &&
		    um_num_int(argv[i + 1], 1, 86400, &ttl_s) == 0)
			continue;
		if (strcmp(argv[i], "--node") || n_nodes == 16) {
			fprintf(stderr, "%s: bad option %s\n", argv[0], argv[i]);
			return UM_EXIT_USAGE;
		}
		nodes[n_nodes++] = argv[i + 1];
	}
	um_log_init("server", UM_LOG_INFO, UM_LOG_TEXT);
	if (um_loop_new(NULL, 2, &loop) < 0)
		return UM_EXIT_FAILURE;
	r = run(argv[1], port, health, ttl_s, nodes, n_nodes, &err);
	if (r < 0)
		fprintf(stderr, "%s: %s\n", argv[0], err.msg);
	um_loop_free(loop);
	return r < 0 ? UM_EXIT_FAILURE : UM_EXIT_OK;
}
