/* `umiak agent`: the node agent. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/remote.h"
#include "base/log.h"
#include "base/num.h"
#include "cli/cli.h"
#include "wire/loop.h"
#include "wire/trim.h"

static struct um_agent_options opt = {
	.state_dir = UM_LOCALSTATEDIR "/lib/umiak/agent",
	.run_dir = UM_RUNSTATEDIR "/umiak",
	.log_dir = UM_LOCALSTATEDIR "/log/pods",
	.images_dir = UM_LOCALSTATEDIR "/lib/umiak/images",
	.manifests_dir = UM_SYSCONFDIR "/umiak/manifests",
	.libexec_dir = UM_LIBEXECDIR,
	.cgroup_parent = "umiak",
	.pod_range = "10.244.0.0/16",
	.node_range = "10.244.0.0/24",
	.service_range = "10.96.0.0/16",
	.cluster_domain = "cluster.local",
};
static const char *node_ports = "30000-32767", *no_network, *server,
		  *pki_dir = UM_SYSCONFDIR "/umiak/pki";

static const struct cli_option options[] = {
	{"node-name", "NAME", "this node's name (default: the hostname)", &opt.node_name},
	{"node-ip", "ADDR", "this node's address, shown as hostIP", &opt.host_ip},
	{"state-dir", "DIR", "what is kept over reboots", &opt.state_dir},
	{"run-dir", "DIR", "sockets, bundles and volumes of running pods", &opt.run_dir},
	{"log-dir", "DIR", "the pods' logs", &opt.log_dir},
	{"images-dir", "DIR", "the image store", &opt.images_dir},
	{"manifests-dir", "DIR", "static pods", &opt.manifests_dir},
	{"libexec-dir", "DIR", "umiak-shim and umiak-oci", &opt.libexec_dir},
	{"oci-runtime", "PATH", "another umiak-oci", &opt.oci_path},
	{"cgroup-parent", "NAME", "the group that all pods are in", &opt.cgroup_parent},
	{"pod-range", "CIDR", "addresses of all pods", &opt.pod_range},
	{"node-range", "CIDR", "addresses of this node's pods", &opt.node_range},
	{"service-range", "CIDR", "cluster IPs of Services", &opt.service_range},
	{"service-node-port-range", "A-B", "node ports of Services", &node_ports},
	{"cluster-dns", "ADDR",
	 "where cluster DNS answers (default: the service range's tenth); none", &opt.cluster_dns},
	{"cluster-domain", "NAME", "the domain of Services' names", &opt.cluster_domain},
	{"no-pod-network", NULL, "only pods with hostNetwork", &no_network},
	{"server", "HOST:PORT", "the API server; without one only static pods run", &server},
	{"pki-dir", "DIR", "ca.crt, node-<name>.crt and .key", &pki_dir},
	{"log-level", "error|warn|info|debug", "what is told", &cli_log_level},
	{"log-format", "text|json", "how it is told", &cli_log_format},
	{NULL, NULL, NULL, NULL},
};

static void on_stop(void *arg, um_unused int signo)
{
	um_loop_stop(arg);
}

/* "host:port", "[v6]:port" or "host": the port is 6443 then. */
static int split_server(const char *text, char host[256], int *port, struct um_error *err)
{
	const char *colon = strrchr(text, ':'), *end = colon;
	bool bracket = text[0] == '[';

	*port = 6443;
	if (bracket) {
		end = strchr(text, ']');
		colon = end && end[1] == ':' ? end + 1 : NULL;
		text++;
	}
	if (!end)
		end = text + strlen(text);
	if (end - text < 1 || end - text > 255 ||
	    (colon && um_num_int(colon + 1, 1, 65535, port) < 0))
		return um_error_set(err, -EINVAL, "--server \"%s\": want HOST:PORT", text);
	snprintf(host, 256, "%.*s", (int)(end - text), text);
	return 0;
}

static int open_remote(struct um_loop *loop, struct um_agent *agent, struct um_remote **ret,
		       struct um_error *err)
{
	static char host[256], ca[4200], cert[4500], key[4500];
	struct um_remote_options ro = {
		.host = host,
		.ca_path = ca,
		.cert_path = cert,
		.key_path = key,
		.node_name = opt.node_name,
		.node_ip = opt.host_ip,
		.node_range = opt.pod_range ? opt.node_range : NULL,
	};
	int r = split_server(server, host, &ro.port, err);

	if (r < 0)
		return r;
	snprintf(ca, sizeof(ca), "%s/ca.crt", pki_dir);
	snprintf(cert, sizeof(cert), "%s/node-%s.crt", pki_dir, opt.node_name);
	snprintf(key, sizeof(key), "%s/node-%s.key", pki_dir, opt.node_name);
	return um_remote_new(loop, agent, &ro, ret, err);
}

static int read_node_ports(struct um_error *err)
{
	const char *dash = strchr(node_ports, '-');
	uint64_t min, max;

	if (!dash || um_num_u64n(node_ports, (size_t)(dash - node_ports), 65535, &min) < 0 ||
	    um_num_u64(dash + 1, 65535, &max) < 0 || !min || min > max)
		return um_error_set(err, -EINVAL,
				    "--service-node-port-range \"%s\": want FIRST-LAST",
				    node_ports);
	opt.node_port_min = (uint16_t)min;
	opt.node_port_max = (uint16_t)max;
	return 0;
}

static int run(int argc, char **argv)
{
	static struct utsname host;
	struct um_error err = UM_ERROR_INIT;
	struct um_remote *remote = NULL;
	struct um_agent *agent;
	struct um_trim *trim = NULL;
	struct um_loop *loop;
	int code = cli_parse("agent", options, argc, argv);

	if (code >= 0)
		return code;
	if (cli_start_log("agent") < 0)
		return UM_EXIT_USAGE;
	cli_end_with_up();
	uname(&host);
	if (!opt.node_name)
		opt.node_name = host.nodename;
	if (!opt.host_ip)
		opt.host_ip = "127.0.0.1";
	if (no_network)
		opt.pod_range = NULL;
	if (!server)
		opt.service_range = opt.cluster_dns = NULL;
	if (read_node_ports(&err) < 0 ||
	    (opt.service_range && cli_cluster_dns(&opt.cluster_dns, opt.service_range, &err) < 0))
		return cli_fail("agent", &err);
	umask(022);
	signal(SIGPIPE, SIG_IGN);
	um_trim_one_arena();
	if (um_loop_new(NULL, 4, &loop) < 0 ||
	    um_loop_on_signal(loop, SIGTERM, on_stop, loop) < 0 ||
	    um_loop_on_signal(loop, SIGINT, on_stop, loop) < 0) {
		um_error_set(&err, -ENOMEM, "out of memory");
		return cli_fail("agent", &err);
	}
	if (um_agent_new(loop, &opt, &agent, &err) < 0) {
		um_loop_free(loop);
		return cli_fail("agent", &err);
	}
	if (server && open_remote(loop, agent, &remote, &err) < 0) {
		um_agent_free(agent);
		um_loop_free(loop);
		return cli_fail("agent", &err);
	}
	um_log(UM_LOG_INFO, "agent ready", UM_LOG_STR("node", opt.node_name));
	if (um_trim_new(loop, &trim, &err) < 0)
		um_log(UM_LOG_WARN, "start", UM_LOG_ERR(&err));
	um_loop_run(loop);
	um_trim_free(trim);
	um_log(UM_LOG_INFO, "agent ends; its pods run on");
	um_remote_free(remote);
	um_agent_free(agent);
	um_loop_free(loop);
	return 0;
}

const struct cli_verb cli_agent = {"agent", "the node agent: runs pods on this machine", run};
