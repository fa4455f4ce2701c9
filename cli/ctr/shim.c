/* A container's shim: started with the container's namespaces, and ended. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/io.h"
#include "cgroups/cgroups.h"
#include "cli/ctr/ctr.h"
#include "runtime/shim/client.h"
#include "runtime/shim/start.h"

#define SHIM_START_MS 30000
#define SHIM_QUIT_MS 5000

static int open_shims_group(struct um_cgroups **host, struct um_cgroup **ret, struct um_error *err)
{
	char path[200];
	int r = um_cgroups_open(host, err);

	snprintf(path, sizeof(path), "/%s/shims", ctr_env.cgroup_parent);
	if (r == 0)
		r = um_cgroup_create(*host, path, ret, NULL, err);
	return r < 0 ? r : um_cgroup_prepare_join(*ret, err);
}

#define ARGS_MAX 48

struct shim_args {
	char self[1100];
	char flags[7][CTR_DIR_MAX + 40];
	size_t n_flags;
	char *argv[ARGS_MAX];
	int n;
};

static void arg(struct shim_args *s, const char *text)
{
	s->argv[s->n++] = (char *)(uintptr_t)text;
}

static void add_flag(struct shim_args *s, const char *name, const char *value)
{
	char *text = s->flags[s->n_flags++];

	snprintf(text, sizeof(s->flags[0]), "--%s=%s", name, value);
	arg(s, text);
}

/* All that ctr_env has: what the variables and the file say may change meanwhile. */
static void add_environment(struct shim_args *s)
{
	arg(s, "--config=/dev/null");
	add_flag(s, "state-dir", ctr_env.state);
	add_flag(s, "run-dir", ctr_env.run);
	add_flag(s, "images-dir", ctr_env.images_dir);
	add_flag(s, "volumes-dir", ctr_env.volumes);
	add_flag(s, "libexec-dir", ctr_env.libexec);
	add_flag(s, "cgroup-parent", ctr_env.cgroup_parent);
	add_flag(s, "container-range", ctr_env.range);
}

/* This program, for the end of the container: it must be found when this process has gone. */
static int own_path(char *buf, size_t size, struct um_error *err)
{
	ssize_t n = readlink("/proc/self/exe", buf, size - 1);

	if (n <= 0 || (size_t)n >= size - 1)
		return um_error_errno(err, -ENAMETOOLONG, "find this program");
	buf[n] = '\0';
	return 0;
}

static int make_args(const struct ctr *c, struct shim_args *s, struct um_error *err)
{
	const char *hostname = um_json_get_str(c->config, "Config.Hostname", "");
	bool host = !strcmp(ctr_network(c), "host");
	int r = own_path(s->self, sizeof(s->self), err);

	if (r < 0)
		return r;
	s->n = 0;
	s->n_flags = 0;
	arg(s, ctr_env.shim);
	arg(s, "--dir");
	arg(s, c->run_dir);
	arg(s, "--uid");
	arg(s, c->uid);
	arg(s, "--oci");
	arg(s, ctr_env.oci);
	arg(s, "--oci-root");
	arg(s, ctr_env.oci_root);
	arg(s, "--log-max-bytes");
	arg(s, CTR_LOG_MAX_BYTES);
	arg(s, "--ready-fd");
	arg(s, UM_SHIM_READY_FD);
	arg(s, "--new-ipc");
	if (!host)
		arg(s, "--new-net");
	if (um_json_get_bool(c->config, "HostConfig.Init", false))
		arg(s, "--new-pid"); /* its first process is the shim's, which reaps */
	if (*hostname) {
		arg(s, "--hostname");
		arg(s, hostname);
	}
	arg(s, "--");
	arg(s, s->self);
	arg(s, "ctr");
	arg(s, "cleanup");
	add_environment(s);
	arg(s, c->id);
	arg(s, NULL);
	return 0;
}

int ctr_start_shim(const struct ctr *c, struct ctr_live *shim, struct um_error *err)
{
	_cleanup_(um_cgroups_freep) struct um_cgroups *host = NULL;
	_cleanup_(um_cgroup_freep) struct um_cgroup *group = NULL;
	struct um_shim_start s = {.quiet = true, .timeout_ms = SHIM_START_MS};
	struct shim_args args;
	int r;

	*shim = (struct ctr_live){.fd = -1};
	r = open_shims_group(&host, &group, err);
	if (r == 0)
		r = make_args(c, &args, err);
	if (r < 0)
		return r;
	s.argv = args.argv;
	s.group = group;
	r = um_shim_start(&s, err);
	if (r < 0)
		return r;
	shim->shim = s.pid;
	shim->ns_net = s.ns_net;
	shim->ns_ipc = s.ns_ipc;
	shim->ns_uts = s.ns_uts;
	shim->ns_pid = s.ns_pid;
	shim->fd = um_shim_connect(c->run_dir);
	return shim->fd < 0 ? um_error_errno(err, shim->fd, "connect to umiak-shim") : 0;
}

static void end_process(pid_t pid, const char *mark)
{
	_cleanup_close_ int fd = -1;
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(8192);
	struct pollfd p;
	char path[64];

	fd = pid > 1 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	if (fd < 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	if (um_io_read_file(AT_FDCWD, path, &b, NULL) < 0 || !b.len ||
	    !memmem(b.data, b.len, mark, strlen(mark)) || !memmem(b.data, b.len, "umiak-shim", 10))
		return;
	p = (struct pollfd){fd, POLLIN, 0};
	if (poll(&p, 1, SHIM_QUIT_MS) != 0)
		return;
	(void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
	(void)poll(&p, 1, SHIM_QUIT_MS);
}

void ctr_end_shim(const struct ctr *c)
{
	struct ctr_live l;
	struct um_shim_msg m;

	ctr_live_open(c, &l);
	if (l.fd >= 0) {
		um_shim_begin(&m, "quit");
		(void)!um_shim_request(l.fd, &m, NULL, SHIM_QUIT_MS, NULL, NULL, NULL, NULL);
	}
	ctr_live_close(&l);
	while (waitpid(-1, NULL, WNOHANG) > 0) /* it may be this process' child */
		;
	end_process(l.shim, c->uid);
}
