/* An API server for tests: apiserver DIR [--port N] [--health-port N] [--event-ttl SECONDS]
 * [--compact-keep REVISIONS] [--fsync-delay-ms N] [--service-range CIDR] [--node-ports A-B] [--node
 * NAME]... Keeps everything below DIR, prints its URL when it listens, and ends on SIGTERM. For
 * each --node a certificate DIR/pki/node-NAME and a kubeconfig DIR/node-NAME.kubeconfig are made.
 */
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

struct args {
	int port, health, ttl_s, delay_ms, keep, n_nodes;
	char *nodes[16];
	const char *service_range, *node_ports;
};

static int run(const char *dir, const struct args *args, struct um_error *err)
{
	char data[PATH_MAX], pki[PATH_MAX], config[PATH_MAX], url[64];
	struct um_serve_opts o = {.data_dir = data,
				  .pki_dir = pki,
				  .kubeconfig = config,
				  .port = args->port,
				  .health_port = args->health,
				  .service_range = args->service_range,
				  .node_port_range = args->node_ports,
				  .inject_fsync_delay_ns = args->delay_ms * UM_NSEC_PER_MSEC,
				  .compact_keep = args->keep,
				  .no_scheduler = true,
				  .event_ttl_ns = args->ttl_s * UM_NSEC_PER_SEC};
	int r;

	snprintf(data, sizeof(data), "%s/data", dir);
	snprintf(pki, sizeof(pki), "%s/pki", dir);
	snprintf(config, sizeof(config), "%s/admin.kubeconfig", dir);
	r = um_serve_new(loop, &o, &serve, err);
	if (r < 0)
		return r;
	snprintf(url, sizeof(url), "https://127.0.0.1:%d", um_serve_port(serve));
	for (int i = 0; i < args->n_nodes && !r; i++)
		r = make_node(dir, url, args->nodes[i], err);
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

static bool read_number(struct args *args, const char *option, const char *text)
{
	const struct {
		const char *option;
		int min, max, *to;
	} numbers[] = {
		{"--port", 0, 65535, &args->port},
		{"--health-port", 1, 65535, &args->health},
		{"--event-ttl", 1, 86400, &args->ttl_s},
		{"--compact-keep", 1, 1000000, &args->keep},
		{"--fsync-delay-ms", 0, 60000, &args->delay_ms},
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(numbers); i++)
		if (!strcmp(option, numbers[i].option))
			return !um_num_int(text, numbers[i].min, numbers[i].max, numbers[i].to);
	return false;
}

int main(int argc, char **argv)
{
	struct um_error err = UM_ERROR_INIT;
	struct args args = {0};
	int r;

	if (argc < 2 || argc % 2) {
		fprintf(stderr,
			"usage: %s DIR [--port N] [--health-port N] [--event-ttl SECONDS] "
			"[--compact-keep REVISIONS] [--fsync-delay-ms N] [--service-range CIDR] "
			"[--node-ports A-B] [--node "
			"NAME]...\n",
			argv[0]);
		return UM_EXIT_USAGE;
	}
	for (int i = 2; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--node") && args.n_nodes < 16) {
			args.nodes[args.n_nodes++] = argv[i + 1];
		} else if (!strcmp(argv[i], "--service-range")) {
			args.service_range = argv[i + 1];
		} else if (!strcmp(argv[i], "--node-ports")) {
			args.node_ports = argv[i + 1];
		} else if (!read_number(&args, argv[i], argv[i + 1])) {
			fprintf(stderr, "%s: bad option %s\n", argv[0], argv[i]);
			return UM_EXIT_USAGE;
		}
	}
	um_log_init("server", UM_LOG_INFO, UM_LOG_TEXT);
	if (um_loop_new(NULL, 2, &loop) < 0)
		return UM_EXIT_FAILURE;
	r = run(argv[1], &args, &err);
	if (r < 0)
		fprintf(stderr, "%s: %s\n", argv[0], err.msg);
	um_loop_free(loop);
	return r < 0 ? UM_EXIT_FAILURE : UM_EXIT_OK;
}
