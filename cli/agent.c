/* `umiak agent`: the node agent. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/log.h"
#include "cli/cli.h"
#include "wire/loop.h"

static struct um_agent_options opt = {
	.state_dir = "/var/lib/umiak/agent",
	.run_dir = "/run/umiak",
	.log_dir = "/var/log/pods",
	.images_dir = "/var/lib/umiak/images",
	.manifests_dir = "/etc/umiak/manifests",
	.libexec_dir = UM_LIBEXECDIR,
	.cgroup_parent = "umiak",
	.pod_range = "10.244.0.0/16",
	.node_range = "10.244.0.0/24",
};
static const char *log_level = "info", *log_format = "text", *no_network;

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
	{"no-pod-network", NULL, "only pods with hostNetwork", &no_network},
	{"log-level", "LEVEL", "error, warn, info or debug", &log_level},
	{"log-format", "FORMAT", "text or json", &log_format},
	{NULL, NULL, NULL, NULL},
};

static void on_stop(void *arg, um_unused int signo)
{
	um_loop_stop(arg);
}

static int start_log(const char *component)
{
	static const char *const levels[] = {"error", "warn", "info", "debug"};
	bool json = !strcmp(log_format, "json");

	for (size_t i = 0; i < UM_ARRAY_LEN(levels); i++) {
		if (strcmp(log_level, levels[i]) || (!json && strcmp(log_format, "text")))
			continue;
		um_log_init(component, (enum um_log_level)i, json ? UM_LOG_JSON : UM_LOG_TEXT);
		return 0;
	}
	fprintf(stderr, "umiak agent: --log-level %s or --log-format %s is unknown\n", log_level,
		log_format);
	return -1;
}

static int run(int argc, char **argv)
{
	static struct utsname host;
	struct um_error err = UM_ERROR_INIT;
	struct um_agent *agent;
	struct um_loop *loop;
	int code = cli_parse("agent", options, argc, argv);

	if (code >= 0)
		return code;
	if (start_log("agent") < 0)
		return UM_EXIT_USAGE;
	uname(&host);
	if (!opt.node_name)
		opt.node_name = host.nodename;
	if (no_network)
		opt.pod_range = NULL;
	umask(022);
	signal(SIGPIPE, SIG_IGN);
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
	um_log(UM_LOG_INFO, "agent ready", UM_LOG_STR("node", opt.node_name));
	um_loop_run(loop);
	um_log(UM_LOG_INFO, "agent ends; its pods run on");
	um_agent_free(agent);
	um_loop_free(loop);
	return 0;
}

const struct cli_verb cli_agent = {"agent", "the node agent: runs pods on this machine", run};
