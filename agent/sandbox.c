/* The pod's sandbox, made and removed: folders, cgroup, shim, network. All on a worker. */
#include "agent/internal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/subpath.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/quantity.h"
#include "rootfs/rootfs.h"
#include "runtime/shim/client.h"
#include "runtime/shim/start.h"

#define SHIM_START_MS 10000
#define SHIM_QUIT_MS 2000

/* ---- paths ---- */

#define DEFINE_PATH(fn, base_fmt, ...)                                                             \
	int fn(const struct agent_pod *p, char *buf, size_t size, const char *fmt, ...)            \
	{                                                                                          \
		va_list ap;                                                                        \
		int n = snprintf(buf, size, base_fmt, __VA_ARGS__), m;                             \
                                                                                                   \
		if (n < 0 || (size_t)n >= size)                                                    \
			return -ENAMETOOLONG;                                                      \
		va_start(ap, fmt);                                                                 \
		m = vsnprintf(buf + n, size - (size_t)n, fmt, ap);                                 \
		va_end(ap);                                                                        \
		return m < 0 || (size_t)m >= size - (size_t)n ? -ENAMETOOLONG : 0;                 \
	}

DEFINE_PATH(pod_run_path, "%s/pods/%s/", p->agent->opt.run_dir, p->uid)
DEFINE_PATH(pod_state_path, "%s/pods/%s/", p->agent->opt.state_dir, p->uid)
DEFINE_PATH(pod_log_path, "%s/%s_%s_%s/", p->agent->opt.log_dir, p->ns, p->name, p->uid)

int pod_cgroup_path(const struct agent_pod *p, char *buf, size_t size)
{
	const char *qos = pod_qos(p->obj);
	const char *folder = !strcmp(qos, "Guaranteed")	 ? "guaranteed"
			     : !strcmp(qos, "Burstable") ? "burstable"
							 : "besteffort";

	return um_io_path(buf, size, "/%s/pods/%s/pod%s", p->agent->opt.cgroup_parent, folder,
			  p->uid);
}

/* ---- the pod's limits ---- */

/* The sum over containers, or what the largest init container wants, in the unit that @parse
 * gives; -1 where one has no value (no limit for the pod then). */
static int64_t pod_sum(const struct um_json *pod, const char *what, const char *name,
		       int (*parse)(const char *, int64_t *))
{
	static const char *const lists[] = {"spec.containers", "spec.initContainers"};
	int64_t sum = 0, most = 0;

	for (size_t i = 0; i < UM_ARRAY_LEN(lists); i++) {
		um_json_foreach (c, um_json_path(pod, lists[i])) {
			const char *text = um_json_str(
				um_json_get(um_json_get(um_json_get(c, "resources"), what), name),
				NULL);
			int64_t v = 0;

			if (!text || parse(text, &v) < 0)
				return -1;
			if (i == 0)
				sum = sum > INT64_MAX - v ? INT64_MAX : sum + v;
			else
				most = v > most ? v : most;
		}
	}
	return sum > most ? sum : most;
}

static int64_t requested_milli(const struct um_json *pod)
{
	int64_t sum = 0;

	um_json_foreach (c, um_json_path(pod, "spec.containers")) {
		const char *text = um_json_get_str(c, "resources.requests.cpu", NULL);
		int64_t v;

		if (text && um_quantity_milli(text, &v) == 0 && v > 0 && v < INT32_MAX)
			sum += v;
	}
	return sum;
}

static int make_cgroup(const struct agent_job *j, struct um_error *err)
{
	const struct agent_pod *p = j->pod;
	struct um_cgroup *cg = NULL;
	struct um_cgroup_limits limits;
	int64_t cpu = pod_sum(p->obj, "limits", "cpu", um_quantity_milli);
	int64_t memory = pod_sum(p->obj, "limits", "memory", um_quantity_value);
	int64_t shares = requested_milli(p->obj) * 1024 / 1000;
	char path[512];
	int r = pod_cgroup_path(p, path, sizeof(path));

	if (r < 0)
		return um_error_errno(err, r, "the pod's cgroup path");
	um_cgroup_limits_init(&limits);
	limits.cpu_shares = shares < 2 ? 2 : shares > 262144 ? 262144 : shares;
	if (cpu > 0) {
		limits.cpu_period_usec = 100000;
		limits.cpu_quota_usec = cpu * 100 < 1000 ? 1000 : cpu * 100;
	}
	if (memory > 0)
		limits.memory_bytes = memory;
	r = um_cgroup_create(p->agent->cgroups, path, &cg, NULL, err);
	if (r == 0)
		r = um_cgroup_apply(cg, &limits, err);
	um_cgroup_free(cg);
	return r;
}

/* ---- the shim ---- */

extern char **environ;

/* Blocks until the program's end: its status, or a negative errno. */
int run_program(char *const argv[])
{
	posix_spawnattr_t attr;
	sigset_t set;
	int status, r;
	pid_t pid;

	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	sigemptyset(&set);
	posix_spawnattr_setsigmask(&attr, &set);
	sigaddset(&set, SIGPIPE);
	posix_spawnattr_setsigdefault(&attr, &set);
	r = posix_spawn(&pid, argv[0], NULL, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	if (r)
		return -r;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return status;
}

static const char *pod_hostname(const struct agent_pod *p)
{
	return um_json_get_str(p->obj, "spec.hostname", p->name);
}

/* Shims have a group of their own, outside the pods': what a pod may use is the pod's. */
int open_shims_group(struct um_agent *a, struct um_error *err)
{
	char path[512];
	int r = um_io_path(path, sizeof(path), "/%s/shims", a->opt.cgroup_parent);

	if (r < 0)
		return um_error_errno(err, r, "the shims' cgroup path");
	r = um_cgroup_create(a->cgroups, path, &a->shims, NULL, err);
	return r < 0 ? r : um_cgroup_prepare_join(a->shims, err);
}

static int start_shim(struct agent_job *j, struct um_error *err)
{
	struct agent_pod *p = j->pod;
	char dir[4096], hostname[65];
	char *argv[24];
	int n = 0, r;
	struct um_shim_start s = {
		.argv = argv, .group = p->agent->shims, .timeout_ms = SHIM_START_MS};

	r = pod_run_path(p, dir, sizeof(dir), "%s", "");
	if (r < 0)
		return um_error_errno(err, r, "the pod's folder");
#define ARG(s) (argv[n++] = (char *)(uintptr_t)(s))
	ARG(p->agent->shim_path);
	ARG("--dir");
	ARG(dir);
	ARG("--uid");
	ARG(p->uid);
	ARG("--oci");
	ARG(p->agent->oci_path);
	ARG("--oci-root");
	ARG(p->agent->oci_root);
	ARG("--ready-fd");
	ARG(UM_SHIM_READY_FD);
	if (!pod_host_network(p)) {
		snprintf(hostname, sizeof(hostname), "%.63s", pod_hostname(p));
		ARG("--new-net");
		ARG("--hostname");
		ARG(hostname);
	}
	if (!um_json_get_bool(p->obj, "spec.hostIPC", false))
		ARG("--new-ipc");
	if (um_json_get_bool(p->obj, "spec.shareProcessNamespace", false))
		ARG("--new-pid");
	ARG(NULL);
#undef ARG
	r = um_shim_start(&s, err);
	j->shim_pid = s.pid;
	j->ns_net = s.ns_net;
	j->ns_ipc = s.ns_ipc;
	j->ns_uts = s.ns_uts;
	j->ns_pid = s.ns_pid;
	return r;
}

static int make_folders(const struct agent_job *j, struct um_error *err)
{
	const struct agent_pod *p = j->pod;
	char path[4096];
	int r = pod_run_path(p, path, sizeof(path), "volumes");

	if (r == 0)
		r = um_io_mkdirs(AT_FDCWD, path, 0700, err);
	if (r == 0)
		r = pod_run_path(p, path, sizeof(path), "shm");
	if (r == 0)
		r = um_io_mkdirs(AT_FDCWD, path, 0700, err);
	if (r == 0 && chmod(path, 01777) < 0)
		r = um_error_errno(err, -errno, "chmod %s", path);
	if (r == 0)
		r = pod_log_path(p, path, sizeof(path), "%s", "");
	if (r == 0)
		r = um_io_mkdirs(AT_FDCWD, path, 0755, err);
	if (r == 0)
		log_gc_note(p);
	return r;
}

static int attach_network(struct agent_job *j, struct um_error *err)
{
	_cleanup_close_ int fd = -1;
	char path[64];

	if (j->ns_net < 0)
		return 0;
	if (!j->pod->agent->net)
		return um_error_set(err, -EOPNOTSUPP,
				    "this node has no pod network: only hostNetwork pods run here");
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", j->shim_pid, j->ns_net);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return um_error_errno(err, -errno, "open the pod's network namespace");
	return um_net_attach(j->pod->agent->net, j->pod->uid, fd, &j->net, err);
}

static int remove_all(struct agent_job *j, struct um_error *err);

void sandbox_work(struct agent_job *j)
{
	struct um_error *err = &j->err, ignored = UM_ERROR_INIT;

	/* What a crashed agent left of this pod goes first: every step may then expect to be the
	 * first. */
	j->result = remove_all(j, err);
	if (j->result == 0)
		j->result = make_folders(j, err);
	UM_FAULT("agent.sandbox.folders");
	if (j->result == 0)
		j->result = make_cgroup(j, err);
	UM_FAULT("agent.sandbox.cgroup");
	if (j->result == 0)
		j->result = start_shim(j, err);
	UM_FAULT("agent.sandbox.shim");
	if (j->result == 0)
		j->result = attach_network(j, err);
	UM_FAULT("agent.sandbox.network");
	if (j->result == 0)
		j->result =
			adopt_note_sandbox(j->pod,
					   pod_host_network(j->pod) && j->pod->agent->opt.host_ip
						   ? j->pod->agent->opt.host_ip
						   : j->net.addr_text,
					   j->shim_pid, err);
	if (j->result < 0) {
		if (j->shim_pid > 0) {
			kill(j->shim_pid, SIGKILL);
			waitpid(j->shim_pid, NULL, 0);
			j->shim_pid = 0;
		}
		(void)!remove_all(j, &ignored);
	}
}

/* ---- removal ---- */

/* Whether @pid is this pod's shim: numbers are used again, names of pods are not. */
static bool is_shim(const struct agent_pod *p, pid_t pid)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(8192);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	if (pid <= 1 || um_io_read_file(AT_FDCWD, path, &b, NULL) < 0 || !b.len)
		return false;
	return memmem(b.data, b.len, p->uid, strlen(p->uid)) &&
	       memmem(b.data, b.len, "umiak-shim", 10);
}

static void end_shim(const struct agent_pod *p, pid_t pid)
{
	_cleanup_close_ int fd = -1;
	struct pollfd pfd;

	if (!is_shim(p, pid))
		return;
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	pfd = (struct pollfd){fd, POLLIN, 0};
	if (fd < 0 || !is_shim(p, pid))
		return;
	if (poll(&pfd, 1, SHIM_QUIT_MS) == 0) {
		(void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
		(void)poll(&pfd, 1, SHIM_QUIT_MS);
	}
}

/* The shim of a pod that an earlier agent left: whoever listens on the pod's socket. A hung one may
 * have a full queue: then whom that agent noted. */
static pid_t earlier_shim(const struct agent_pod *p)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (fd < 0 ||
	    pod_run_path(p, addr.sun_path, sizeof(addr.sun_path), "%s", UM_SHIM_SOCKET) < 0 ||
	    connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return adopt_noted_shim(p);
	return cred.pid;
}

/* umiak-oci's own record of a container goes with `delete --force`, which also kills. */
static int delete_container(const struct agent_pod *p, const char *id, struct um_error *err)
{
	char *argv[] = {p->agent->oci_path,
			(char *)(uintptr_t) "--root",
			p->agent->oci_root,
			(char *)(uintptr_t) "delete",
			(char *)(uintptr_t) "--force",
			(char *)(uintptr_t)id,
			NULL};
	char path[4096];
	int r = um_io_path(path, sizeof(path), "%s/%s", p->agent->oci_root, id);

	if (r < 0)
		return um_error_errno(err, r, "container %s", id);
	if (access(path, F_OK) < 0)
		return 0;
	r = run_program(argv);
	if (r != 0)
		return um_error_set(err, r < 0 ? r : -EIO, "umiak-oci delete %s failed (%d)", id,
				    r);
	return 0;
}

int remove_bundle(const struct agent_pod *p, const char *bundle, struct um_error *err)
{
	char path[4096], target[4200], id[200];
	int r;

	r = pod_run_path(p, path, sizeof(path), "%s", bundle);
	if (r < 0)
		return um_error_errno(err, r, "bundle %s", bundle);
	snprintf(target, sizeof(target), "%s/rootfs", path);
	snprintf(id, sizeof(id), "%s-%s", p->uid, bundle);
	r = um_rootfs_release(p->agent->images, id, target, err);
	if (r == 0)
		r = subpaths_release(path, err);
	return r < 0 ? r : um_io_remove_tree(AT_FDCWD, path, err);
}

/* Calls @fn for each bundle ("<container>.<attempt>") in the pod's folder. */
static int each_bundle(const struct agent_pod *p,
		       int (*fn)(const struct agent_pod *p, const char *bundle, struct um_error *),
		       struct um_error *err)
{
	_cleanup_closedir_ DIR *d = NULL;
	struct dirent *e;
	char path[4096];
	int r = pod_run_path(p, path, sizeof(path), "%s", "");

	if (r < 0)
		return um_error_errno(err, r, "the pod's folder");
	d = opendir(path);
	if (!d)
		return errno == ENOENT ? 0 : um_error_errno(err, -errno, "open %s", path);
	while ((e = readdir(d))) {
		const char *dot = strrchr(e->d_name, '.');

		if (e->d_type != DT_DIR || !dot || dot == e->d_name || !dot[1] ||
		    dot[1 + strspn(dot + 1, "0123456789")])
			continue;
		r = fn(p, e->d_name, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int delete_by_bundle(const struct agent_pod *p, const char *bundle, struct um_error *err)
{
	char id[200];

	snprintf(id, sizeof(id), "%s-%s", p->uid, bundle);
	*strrchr(id, '.') = '-'; /* "<uid>-<container>-<attempt>", see begin_start() */
	return delete_container(p, id, err);
}

static int unmount_volumes(const struct agent_pod *p, struct um_error *err)
{
	_cleanup_closedir_ DIR *d = NULL;
	struct dirent *e;
	char dir[4096], path[4400];
	int r = pod_run_path(p, dir, sizeof(dir), "volumes");

	if (r < 0)
		return um_error_errno(err, r, "the pod's volumes");
	d = opendir(dir);
	if (!d)
		return errno == ENOENT ? 0 : um_error_errno(err, -errno, "open %s", dir);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		/* EINVAL: no mount, as most are */
		if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL)
			return um_error_errno(err, -errno, "unmount %s", path);
	}
	return 0;
}

static int kill_group(const struct agent_pod *p, const char *path, struct um_error *err)
{
	struct um_cgroup *cg = NULL;
	int r = um_cgroup_open(p->agent->cgroups, path, &cg, err);

	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = um_cgroup_kill(cg, err);
	um_cgroup_free(cg);
	return r;
}

static bool keep_others(void *arg, const char *id)
{
	const struct agent_pod *p = arg;
	size_t n = strlen(p->uid);

	return strncmp(id, p->uid, n) || id[n] != '-';
}

/* Removes all that may be there of the pod but its logs and its saved object. In this order: what
 * runs, what it holds, where it was written; but the shim, with which the network namespace ends,
 * after mounts and link, which would have to wait while the kernel takes that down. Each part may
 * be missing. */
static int remove_all(struct agent_job *j, struct um_error *err)
{
	struct agent_pod *p = j->pod;
	char cgroup[512], path[4096];
	int r;

	r = pod_cgroup_path(p, cgroup, sizeof(cgroup));
	if (r == 0)
		r = kill_group(p, cgroup, err);
	if (r == 0)
		r = each_bundle(p, delete_by_bundle, err);
	if (r == 0)
		r = each_bundle(p, remove_bundle, err);
	if (r == 0 && p->agent->net)
		r = um_net_let_go(p->agent->net, p->uid, err);
	UM_FAULT("agent.cleanup.network");
	if (r == 0)
		end_shim(p, p->shim_pid > 0 ? p->shim_pid : earlier_shim(p));
	UM_FAULT("agent.cleanup.shim");
	if (r == 0)
		r = um_cgroup_remove(p->agent->cgroups, cgroup, err);
	if (r == 0) /* bundles do not outlive a reboot, snapshots do */
		r = um_rootfs_sweep(p->agent->images, keep_others, p, err);
	if (r == 0)
		r = unmount_volumes(p, err);
	if (r == 0)
		r = pod_run_path(p, path, sizeof(path), "%s", "");
	if (r == 0) {
		path[strlen(path) - 1] = '\0';
		r = um_io_remove_tree(AT_FDCWD, path, err);
	}
	UM_FAULT("agent.cleanup.folders");
	return r;
}

void cleanup_work(struct agent_job *j)
{
	char path[4096];

	j->result = remove_all(j, &j->err);
	if (j->result == 0)
		j->result = pod_state_path(j->pod, path, sizeof(path), "volumes");
	if (j->result == 0 && j->pod->ending) /* emptyDirs live as long as the pod */
		j->result = um_io_remove_tree(AT_FDCWD, path, &j->err);
}

/* ---- one container's remains ---- */

static void find_oom(struct agent_job *j)
{
	struct um_cgroup *cg = NULL;
	struct um_cgroup_usage usage;
	char path[512], full[800];

	if (pod_cgroup_path(j->pod, path, sizeof(path)) < 0)
		return;
	snprintf(full, sizeof(full), "%s/%s-%d", path, j->ctr->name, j->ctr->attempt);
	if (um_cgroup_open(j->pod->agent->cgroups, full, &cg, NULL) < 0)
		return;
	if (um_cgroup_account(cg, &usage, NULL) == 0)
		j->oom = usage.oom_kills > 0;
	um_cgroup_free(cg);
}

/* What is learned from remains is noted before they are removed: who has to begin again, after a
 * failure or a crash, finds no more of it. The note is '0' or '1' for the kernel's kill, then the
 * termination message. */
static bool read_retire_note(struct agent_job *j, const char *path)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(TERMINATION_MESSAGE_MAX + 2);

	if (um_io_read_file(AT_FDCWD, path, &b, NULL) < 0 || !b.len)
		return false;
	j->oom = b.data[0] == '1';
	if (b.len > 1)
		j->message = strdup(um_buf_str(&b) + 1);
	return true;
}

static int write_retire_note(const struct agent_job *j, const char *path, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(TERMINATION_MESSAGE_MAX + 2);

	um_buf_addf(&b, "%c%s", j->oom ? '1' : '0', j->message ? j->message : "");
	if (um_buf_error(&b))
		return um_error_errno(err, um_buf_error(&b), "note the end of %s", j->ctr->id);
	return um_io_replace_file(AT_FDCWD, path, b.data, b.len, 0600, UM_IO_NO_SYNC, err);
}

int retire_note_path(const struct agent_ctr *c, char *buf, size_t size)
{
	return pod_run_path(c->pod, buf, size, "%s.%d.note", c->name, c->attempt);
}

void retire_work(struct agent_job *j)
{
	char bundle[200], note[4096];

	snprintf(bundle, sizeof(bundle), "%s.%d", j->ctr->name, j->ctr->attempt);
	j->result = retire_note_path(j->ctr, note, sizeof(note));
	if (j->result == 0 && !read_retire_note(j, note)) {
		find_oom(j);
		j->message = termination_message(j);
		if (j->oom || j->message)
			j->result = write_retire_note(j, note, &j->err);
	}
	UM_FAULT("agent.retire");
	if (j->result == 0)
		j->result = delete_container(j->pod, j->ctr->id, &j->err);
	if (j->result == 0)
		j->result = remove_bundle(j->pod, bundle, &j->err);
	UM_FAULT("agent.retired");
}
