/* `umiak up`: one node's server and agent, each a process of its own, restarted when it ends.
 * `umiak down`: ends the node's pods and removes what they needed of the machine. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "cgroups/cgroups.h"
#include "cli/cli.h"
#include "netns/foreign.h"
#include "netns/netns.h"
#include "netns/services.h"
#include "wire/loop.h"

#define RESTART_FIRST_NS (100 * UM_NSEC_PER_MSEC)
#define RESTART_MOST_NS (10 * UM_NSEC_PER_SEC)
#define STEADY_NS (30 * UM_NSEC_PER_SEC) /* a run that long forgets earlier failures */
#define ARGS_MAX 48
#define CONFIG_FILE UM_SYSCONFDIR "/umiak/config.yaml"
#define DOWN_GRACE_NS (2 * UM_NSEC_PER_SEC)
#define DOWN_LIMIT_NS (60 * UM_NSEC_PER_SEC)

static const char *root = "", *node_name, *node_ip, *listen_address = "127.0.0.1", *port = "6443",
		  *pod_range, *node_range, *no_network, *cgroup_parent, *libexec_dir, *oci_path,
		  *service_range, *node_port_range, *cluster_dns, *cluster_domain;

static const struct cli_option options[] = {
	{"root", "DIR", "puts DIR before every folder: several instances on one machine", &root},
	{"node-name", "NAME", "this node's name (default: the hostname)", &node_name},
	{"node-ip", "ADDR", "this node's address, shown as hostIP", &node_ip},
	{"listen", "ADDR", "numeric address of the API", &listen_address},
	{"port", "PORT", "port of the API", &port},
	{"pod-range", "CIDR", "addresses of all pods", &pod_range},
	{"node-range", "CIDR", "addresses of this node's pods", &node_range},
	{"service-range", "CIDR", "cluster IPs of Services", &service_range},
	{"service-node-port-range", "A-B", "node ports of Services", &node_port_range},
	{"cluster-dns", "ADDR",
	 "where cluster DNS answers (default: the service range's tenth); none", &cluster_dns},
	{"cluster-domain", "NAME", "the domain of Services' names", &cluster_domain},
	{"no-pod-network", NULL, "only pods with hostNetwork", &no_network},
	{"cgroup-parent", "NAME", "the group that all pods are in", &cgroup_parent},
	{"libexec-dir", "DIR", "umiak-shim and umiak-oci", &libexec_dir},
	{"oci-runtime", "PATH", "another umiak-oci", &oci_path},
	{"log-level", "error|warn|info|debug", "what is told", &cli_log_level},
	{"log-format", "text|json", "how it is told", &cli_log_format},
	{NULL, NULL, NULL, NULL},
};

struct daemon {
	const char *verb;
	char *argv[ARGS_MAX];
	int argc;
	pid_t pid;
	struct um_child *child;
	struct um_timer *restart;
	int64_t started_ns, delay_ns;
	struct um_loop *loop;
};

static struct daemon daemons[2] = {{.verb = "server"}, {.verb = "agent"}};
static bool stopping;
extern char **environ;

static void add(struct daemon *d, const char *flag, const char *value)
{
	char *text;

	if (!value || d->argc >= ARGS_MAX - 1 || asprintf(&text, "--%s=%s", flag, value) < 0)
		return;
	d->argv[d->argc++] = text;
}

static void add_path(struct daemon *d, const char *flag, const char *path)
{
	char full[4200];

	snprintf(full, sizeof(full), "%s%s", root, path);
	add(d, flag, full);
}

static void make_arguments(void)
{
	struct daemon *s = &daemons[0], *a = &daemons[1];
	char server[300];

	for (size_t i = 0; i < UM_ARRAY_LEN(daemons); i++) {
		daemons[i].argv[daemons[i].argc++] = strdup("umiak");
		daemons[i].argv[daemons[i].argc++] = strdup(daemons[i].verb);
		add(&daemons[i], "log-level", cli_log_level);
		add(&daemons[i], "log-format", cli_log_format);
		add_path(&daemons[i], "pki-dir", UM_SYSCONFDIR "/umiak/pki");
	}
	add_path(s, "data-dir", UM_LOCALSTATEDIR "/lib/umiak/server");
	add_path(s, "kubeconfig", UM_SYSCONFDIR "/umiak/admin.kubeconfig");
	add(s, "listen", listen_address);
	add(s, "port", port);
	add(s, "node", node_name);
	add(s, "pod-range", pod_range);
	add(s, "service-range", service_range);
	add(s, "service-node-port-range", node_port_range);
	add(s, "cluster-dns", no_network ? "none" : cluster_dns);
	add(s, "ready-fd", "3");
	snprintf(server, sizeof(server), strchr(listen_address, ':') ? "[%s]:%s" : "%s:%s",
		 !strcmp(listen_address, "0.0.0.0") ? "127.0.0.1" : listen_address, port);
	add(a, "server", server);
	add(a, "node-name", node_name);
	add(a, "node-ip", node_ip);
	add_path(a, "state-dir", UM_LOCALSTATEDIR "/lib/umiak/agent");
	add_path(a, "run-dir", UM_RUNSTATEDIR "/umiak");
	add_path(a, "log-dir", UM_LOCALSTATEDIR "/log/pods");
	add_path(a, "images-dir", UM_LOCALSTATEDIR "/lib/umiak/images");
	add_path(a, "manifests-dir", UM_SYSCONFDIR "/umiak/manifests");
	add(a, "pod-range", pod_range);
	add(a, "node-range", node_range);
	add(a, "service-range", service_range);
	add(a, "service-node-port-range", node_port_range);
	add(a, "cluster-dns", cluster_dns);
	add(a, "cluster-domain", cluster_domain);
	add(a, "cgroup-parent", cgroup_parent);
	add(a, "libexec-dir", libexec_dir);
	add(a, "oci-runtime", oci_path);
	if (no_network)
		a->argv[a->argc++] = strdup("--no-pod-network");
}

static void on_ended(void *arg, pid_t pid, int status);

/* Starts it and watches it: one that cannot be watched would be a second one when it is started
 * again, and is ended. */
static int spawn(struct daemon *d, int ready_fd, struct um_error *err)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none;
	int r;

	posix_spawn_file_actions_init(&fa);
	if (ready_fd >= 0)
		posix_spawn_file_actions_adddup2(&fa, ready_fd, 3);
	posix_spawnattr_init(&attr);
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	r = posix_spawn(&d->pid, "/proc/self/exe", &fa, &attr, d->argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	if (r != 0) {
		d->pid = 0;
		return um_error_errno(err, -r, "start the %s", d->verb);
	}
	d->started_ns = um_loop_now(d->loop);
	d->child = um_child_new(d->loop, d->pid, on_ended, d);
	if (d->child)
		return 0;
	r = errno ? -errno : -ENOMEM;
	kill(d->pid, SIGKILL);
	waitpid(d->pid, NULL, 0);
	d->pid = 0;
	return um_error_errno(err, r, "watch the %s", d->verb);
}

static void start(struct daemon *d)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct um_error err = UM_ERROR_INIT;

	if (spawn(d, null, &err) < 0) {
		um_log(UM_LOG_ERROR, "it is started again later", UM_LOG_ERR(&err));
		um_timer_start(d->restart, RESTART_MOST_NS);
	}
	um_close(null);
}

static void on_restart(void *arg)
{
	start(arg);
}

static void on_ended(void *arg, um_unused pid_t pid, int status)
{
	struct daemon *d = arg;

	um_child_free(TAKE_PTR(d->child));
	d->pid = 0;
	if (stopping) {
		if (!daemons[0].pid && !daemons[1].pid)
			um_loop_stop(d->loop);
		return;
	}
	if (um_loop_now(d->loop) - d->started_ns >= STEADY_NS)
		d->delay_ns = 0;
	d->delay_ns = d->delay_ns ? d->delay_ns * 2 : RESTART_FIRST_NS;
	if (d->delay_ns > RESTART_MOST_NS)
		d->delay_ns = RESTART_MOST_NS;
	um_log(UM_LOG_WARN, "it ended and is started again", UM_LOG_STR("what", d->verb),
	       UM_LOG_I64("wait_status", status),
	       UM_LOG_I64("after_ms", d->delay_ns / UM_NSEC_PER_MSEC));
	um_timer_start(d->restart, d->delay_ns);
}

static void on_stop(void *arg, um_unused int signo)
{
	stopping = true;
	for (size_t i = 0; i < UM_ARRAY_LEN(daemons); i++) {
		um_timer_stop(daemons[i].restart);
		if (daemons[i].pid > 0)
			kill(daemons[i].pid, SIGTERM);
	}
	if (!daemons[0].pid && !daemons[1].pid)
		um_loop_stop(arg);
}

/* The agent's credentials are there once the server says that it listens. */
static int start_server(struct daemon *d, struct um_error *err)
{
	char line[100];
	ssize_t n;
	int p[2], r;

	if (pipe2(p, O_CLOEXEC) < 0)
		return um_error_errno(err, -errno, "start the server");
	r = spawn(d, p[1], err);
	close(p[1]);
	if (r < 0) {
		close(p[0]);
		return r;
	}
	do
		n = read(p[0], line, sizeof(line));
	while (n < 0 && errno == EINTR);
	close(p[0]);
	return n > 0 ? 0 : um_error_set(err, -EIO, "the server did not start");
}

static int run(int argc, char **argv)
{
	static struct utsname host;
	struct um_error err = UM_ERROR_INIT;
	struct um_loop *loop;
	char pid[16];
	int code = cli_parse_node("up", options, CONFIG_FILE, argc, argv);

	if (code >= 0)
		return code;
	if (cli_start_log("up") < 0)
		return UM_EXIT_USAGE;
	uname(&host);
	if (!node_name)
		node_name = host.nodename;
	make_arguments();
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	if (setenv(CLI_UP_PID, pid, 1) < 0)
		return UM_EXIT_FAILURE;
	if (um_loop_new(NULL, 1, &loop) < 0)
		return UM_EXIT_FAILURE;
	for (size_t i = 0; i < UM_ARRAY_LEN(daemons); i++) {
		daemons[i].loop = loop;
		daemons[i].restart = um_timer_new(loop, on_restart, &daemons[i]);
	}
	if (!daemons[0].restart || !daemons[1].restart ||
	    um_loop_on_signal(loop, SIGTERM, on_stop, loop) < 0 ||
	    um_loop_on_signal(loop, SIGINT, on_stop, loop) < 0)
		return UM_EXIT_FAILURE;
	if (start_server(&daemons[0], &err) < 0)
		return cli_fail("up", &err);
	start(&daemons[1]);
	um_loop_run(loop);
	for (size_t i = 0; i < UM_ARRAY_LEN(daemons); i++) {
		um_child_free(daemons[i].child);
		um_timer_free(daemons[i].restart);
		for (int k = 0; k < daemons[i].argc; k++)
			free(daemons[i].argv[k]);
	}
	um_loop_free(loop);
	return 0;
}

const struct cli_verb cli_up = {"up", "server and agent of a one-node cluster", run};

/* ---- down ---- */

static char *under_root(const char *path)
{
	char *full;

	return asprintf(&full, "%s%s", root, path) < 0 ? NULL : full;
}

static int end_pods(const struct um_agent_options *opt, struct um_error *err)
{
	struct um_agent *agent = NULL;
	struct um_loop *loop;
	int64_t until;
	int r = um_loop_new(NULL, 2, &loop);

	if (r < 0)
		return um_error_errno(err, r, "end the pods");
	r = um_agent_new(loop, opt, &agent, err);
	if (r == 0) {
		until = um_loop_now(loop) + DOWN_LIMIT_NS;
		um_agent_end_all(agent, DOWN_GRACE_NS);
		while (!um_agent_empty(agent) && um_loop_now(loop) < until)
			if (um_loop_step(loop, 100 * UM_NSEC_PER_MSEC) < 0)
				break;
		if (!um_agent_empty(agent))
			r = um_error_set(err, -ETIMEDOUT, "some pods did not end");
		um_agent_free(agent);
	}
	um_loop_free(loop);
	return r;
}

static int remove_groups(const char *parent, struct um_error *err)
{
	_cleanup_(um_cgroups_freep) struct um_cgroups *cg = NULL;
	char path[300];
	int r = um_cgroups_open(&cg, err);

	snprintf(path, sizeof(path), "/%s", parent);
	return r < 0 ? r : um_cgroup_remove(cg, path, err);
}

static int remove_services(const struct um_agent_options *opt, struct um_error *err)
{
	struct um_services_config cfg = {
		.service_range = service_range ? service_range : "10.96.0.0/16",
		.pod_range = opt->pod_range,
		.node_range = opt->node_range,
		.local_addr = cluster_dns,
	};
	int r = cli_cluster_dns(&cfg.local_addr, cfg.service_range, err);

	if (r == 0)
		r = um_services_destroy(&cfg, err);
	return r < 0 ? r : um_foreign_remove(opt->pod_range, err);
}

static int run_down(int argc, char **argv)
{
	struct um_agent_options opt = {
		.node_name = "down",
		.libexec_dir = UM_LIBEXECDIR,
		.cgroup_parent = "umiak",
		.pod_range = "10.244.0.0/16",
		.node_range = "10.244.0.0/24",
	};
	_cleanup_free_ char *state_dir = NULL, *run_dir = NULL, *log_dir = NULL, *images_dir = NULL;
	struct um_net_config net = {0};
	struct um_error err = UM_ERROR_INIT;
	int code = cli_parse_node("down", options, CONFIG_FILE, argc, argv), r;

	if (code >= 0)
		return code;
	if (cli_start_log("down") < 0)
		return UM_EXIT_USAGE;
	state_dir = under_root(UM_LOCALSTATEDIR "/lib/umiak/agent");
	run_dir = under_root(UM_RUNSTATEDIR "/umiak");
	log_dir = under_root(UM_LOCALSTATEDIR "/log/pods");
	images_dir = under_root(UM_LOCALSTATEDIR "/lib/umiak/images");
	if (!state_dir || !run_dir || !log_dir || !images_dir)
		return UM_EXIT_FAILURE;
	opt.state_dir = state_dir;
	opt.run_dir = run_dir;
	opt.log_dir = log_dir;
	opt.images_dir = images_dir;
	if (libexec_dir)
		opt.libexec_dir = libexec_dir;
	if (cgroup_parent)
		opt.cgroup_parent = cgroup_parent;
	if (pod_range)
		opt.pod_range = pod_range;
	if (node_range)
		opt.node_range = node_range;
	if (no_network)
		opt.pod_range = NULL;
	opt.oci_path = oci_path;
	r = end_pods(&opt, &err);
	net.pod_range = opt.pod_range;
	net.node_range = opt.node_range;
	net.state_dir = opt.state_dir;
	if (r == 0 && opt.pod_range)
		r = remove_services(&opt, &err);
	if (r == 0 && opt.pod_range)
		r = um_net_destroy(&net, &err);
	if (r == 0)
		r = remove_groups(opt.cgroup_parent, &err);
	return r < 0 ? cli_fail("down", &err) : 0;
}

const struct cli_verb cli_down = {"down", "end this node's pods and remove rules and cgroups",
				  run_down};
