/* `umiak server`: the API, its store, the scheduler and the controllers. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/serve.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "cli/cli.h"
#include "wire/loop.h"
#include "wire/trim.h"

static const char *data_dir = UM_LOCALSTATEDIR "/lib/umiak/server",
		  *pki_dir = UM_SYSCONFDIR "/umiak/pki",
		  *kubeconfig = UM_SYSCONFDIR "/umiak/admin.kubeconfig",
		  *listen_address = "127.0.0.1", *port_text = "6443", *node, *ready_fd,
		  *extra_names[CLI_LIST_MAX + 1], *service_range = "10.96.0.0/16",
		  *node_port_range = "30000-32767", *pod_range = "10.244.0.0/16", *cluster_dns;

static const struct cli_option options[] = {
	{"data-dir", "DIR", "the store", &data_dir},
	{"pki-dir", "DIR", "CA, certificates and keys; made at the first start", &pki_dir},
	{"kubeconfig", "FILE", "the admin's kubeconfig, written 0600", &kubeconfig},
	{"listen", "ADDR", "numeric address of the API", &listen_address},
	{"port", "PORT", "port of the API; 0: any free one", &port_text},
	{"name", "NAME...", "one more name or address for the certificate", extra_names},
	{"service-range", "CIDR", "cluster IPs of Services", &service_range},
	{"service-node-port-range", "A-B", "node ports of Services", &node_port_range},
	{"cluster-dns", "ADDR", "of Service kube-dns (default: the service range's tenth); none",
	 &cluster_dns},
	{"pod-range", "CIDR", "addresses of pods, which Services must not have", &pod_range},
	{"node", "NAME", "make the credentials of this node in the pki folder", &node},
	{"ready-fd", "N", "write a line there once the API listens", &ready_fd},
	{"log-level", "error|warn|info|debug", "what is told", &cli_log_level},
	{"log-format", "text|json", "how it is told", &cli_log_format},
	{NULL, NULL, NULL, NULL},
};

static struct um_serve *serve;

static void on_drained(void *arg)
{
	um_loop_stop(arg);
}

static void on_stop(void *arg, um_unused int signo)
{
	um_serve_drain(serve, 2 * UM_NSEC_PER_SEC, on_drained, arg);
}

static void tell_ready(void)
{
	char line[64];
	int fd, n;

	if (!ready_fd || um_num_int(ready_fd, 3, 1023, &fd) < 0)
		return;
	n = snprintf(line, sizeof(line), "ready port=%d\n", um_serve_port(serve));
	(void)!write(fd, line, (size_t)n);
	close(fd);
}

static int start(struct um_loop *loop, struct um_error *err)
{
	struct um_serve_opts o = {
		.data_dir = data_dir,
		.pki_dir = pki_dir,
		.kubeconfig = kubeconfig,
		.listen = listen_address,
		.extra_names = extra_names,
		.service_range = service_range,
		.node_port_range = node_port_range,
		.pod_range = pod_range,
	};
	int r;

	if (um_num_int(port_text, 0, 65535, &o.port) < 0)
		return um_error_set(err, -EINVAL, "--port %s is no port number", port_text);
	o.cluster_dns = cluster_dns;
	r = cli_cluster_dns(&o.cluster_dns, service_range, err);
	if (r == 0)
		r = um_serve_new(loop, &o, &serve, err);
	if (r == 0 && node)
		r = um_serve_ensure_node(serve, node, err);
	return r;
}

static int run(int argc, char **argv)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_trim *trim = NULL;
	struct um_loop *loop;
	int code = cli_parse("server", options, argc, argv);

	if (code >= 0)
		return code;
	if (cli_start_log("server") < 0)
		return UM_EXIT_USAGE;
	cli_end_with_up();
	umask(022);
	signal(SIGPIPE, SIG_IGN);
	um_trim_one_arena();
	if (um_loop_new(NULL, 2, &loop) < 0) {
		um_error_set(&err, -ENOMEM, "out of memory");
		return cli_fail("server", &err);
	}
	if (start(loop, &err) < 0 || um_loop_on_signal(loop, SIGTERM, on_stop, loop) < 0 ||
	    um_loop_on_signal(loop, SIGINT, on_stop, loop) < 0) {
		um_serve_free(serve);
		um_loop_free(loop);
		return cli_fail("server", &err);
	}
	um_log(UM_LOG_INFO, "server ready", UM_LOG_STR("listen", listen_address),
	       UM_LOG_I64("port", um_serve_port(serve)));
	tell_ready();
	if (um_trim_new(loop, &trim, &err) < 0)
		um_log(UM_LOG_WARN, "start", UM_LOG_ERR(&err));
	um_loop_run(loop);
	um_trim_free(trim);
	um_log(UM_LOG_INFO, "server ends");
	um_serve_free(serve);
	um_loop_free(loop);
	return 0;
}

const struct cli_verb cli_server = {"server", "the control plane: API, store, scheduler", run};
