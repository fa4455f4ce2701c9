/* A container's life: started, stopped, cleaned up after, removed; and what crashes left of that.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/num.h"
#include "cgroups/cgroups.h"
#include "cli/ctr/ctr.h"
#include "runtime/shim/client.h"
#include "runtime/shim/start.h"

#define SHIM_START_MS 30000
#define SHIM_QUIT_MS 5000
#define START_MS 60000

static void snapshot_id(const struct ctr *c, char *buf, size_t size)
{
	snprintf(buf, size, UM_CTR_UID_PREFIX "%s", c->id);
}

static const char *network(const struct ctr *c)
{
	return um_json_get_str(c->config, "HostConfig.NetworkMode", "bridge");
}

static bool auto_remove(const struct ctr *c)
{
	return um_json_get_bool(c->config, "HostConfig.AutoRemove", false);
}

/* ---- the shim ---- */

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
	bool host = !strcmp(network(c), "host");
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

static int start_shim(const struct ctr *c, struct ctr_live *shim, struct um_error *err)
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

/* ---- starting ---- */

static int mount_root(const struct ctr *c, const struct um_image *img, const char *target,
		      struct um_error *err)
{
	char id[100];

	snapshot_id(c, id, sizeof(id));
	return um_rootfs_mount(ctr_env.images, img, id, target, auto_remove(c), err);
}

static int find_image(const struct ctr *c, struct um_arena *a, struct um_image *img,
		      struct um_error *err)
{
	struct um_images *images;
	int r = ctr_images(&images, err);

	return r < 0 ? r
		     : um_images_find(images, um_json_get_str(c->config, "Image", ""), a, img, err);
}

static int write_bundle(const struct ctr *c, struct um_arena *a, const struct um_image *img,
			const struct ctr_live *shim, const struct ctr_start *s,
			struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(4 << 20);
	struct um_json *config = ctr_oci_config(a, c, img, shim, s, err);
	char path[1200];

	if (!config || um_json_write(&b, config) < 0)
		return err->code ? err->code : um_error_errno(err, -ENOMEM, "write config.json");
	snprintf(path, sizeof(path), "%s/config.json", c->run_dir);
	return um_io_replace_file(AT_FDCWD, path, b.data, b.len, 0600, UM_IO_NO_SYNC, err);
}

static int attach(const struct ctr *c, struct ctr_start *s, struct um_error *err)
{
	bool once = um_json_get_bool(c->config, "Config.StdinOnce", false);
	struct um_shim_msg m;

	s->ret_attach = um_shim_connect(c->run_dir);
	if (s->ret_attach < 0)
		return um_error_errno(err, s->ret_attach, "connect to umiak-shim");
	um_shim_begin(&m, "attach");
	um_shim_add(&m, "name", "main");
	um_shim_add_num(&m, "stdin", s->attach_stdin);
	um_shim_add_num(&m, "once", s->attach_stdin && once);
	um_shim_add_num(&m, "stdout", s->stream[0]);
	um_shim_add_num(&m, "stderr", s->stream[1]);
	return um_shim_request(s->ret_attach, &m, NULL, START_MS, NULL, NULL, NULL, err);
}

static int ask_start(const struct ctr *c, int shim, struct um_error *err)
{
	const struct um_json *policy = um_json_path(c->config, "HostConfig.RestartPolicy");
	const char *name = um_json_get_str(policy, "Name", "no");
	char log[1300];
	struct um_shim_msg m;

	snprintf(log, sizeof(log), "%s/log", c->dir);
	um_shim_begin(&m, "start");
	um_shim_add(&m, "name", "main");
	um_shim_add_num(&m, "attempt", 0);
	um_shim_add(&m, "id", c->id);
	um_shim_add(&m, "bundle", c->run_dir);
	um_shim_add(&m, "log", log);
	um_shim_add_num(&m, "tty", um_json_get_bool(c->config, "Config.Tty", false));
	um_shim_add_num(&m, "stdin", um_json_get_bool(c->config, "Config.OpenStdin", false));
	if (strcmp(name, "no")) {
		um_shim_add(&m, "restart", strcmp(name, "on-failure") ? "always" : name);
		um_shim_add_num(&m, "retries", um_json_get_i64(policy, "MaximumRetryCount", 0));
	}
	return um_shim_request(shim, &m, NULL, START_MS, NULL, NULL, NULL, err);
}

static int hold(int shim, struct um_error *err)
{
	struct um_shim_msg m;

	um_shim_begin(&m, "hold");
	return um_shim_request(shim, &m, NULL, START_MS, NULL, NULL, NULL, err);
}

static int note_running(struct ctr *c, struct um_error *err)
{
	bool durable = strcmp(um_json_get_str(c->config, "HostConfig.RestartPolicy.Name", "no"),
			      "no") != 0;

	um_json_set_str(c->a, c->state, "Status", "running");
	um_json_set_str(c->a, c->state, "Error", "");
	um_json_set_bool(c->a, c->state, "ManuallyStopped", false);
	um_json_set_bool(c->a, c->state, "Paused", false);
	return ctr_save_state(c, durable, err);
}

static int start_steps(struct ctr *c, struct ctr_start *s, struct ctr_live *shim,
		       struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(16 << 20);
	char address[INET_ADDRSTRLEN], rootfs[1200];
	struct um_image img;
	int r = a ? find_image(c, a, &img, err) : um_error_errno(err, -ENOMEM, "start");

	snprintf(rootfs, sizeof(rootfs), "%s/rootfs", c->run_dir);
	if (r == 0)
		r = um_io_mkdirs(AT_FDCWD, rootfs, 0755, err);
	UM_FAULT("ctr.folders");
	if (r == 0)
		r = start_shim(c, shim, err);
	UM_FAULT("ctr.shim");
	if (r == 0 && s->hold)
		r = hold(shim->fd, err);
	if (r == 0)
		r = ctr_net_up(c, shim, address, err);
	if (r == 0)
		r = mount_root(c, &img, rootfs, err);
	UM_FAULT("ctr.mounted");
	if (r == 0)
		r = ctr_copy_up(c, rootfs, err);
	if (r == 0)
		r = ctr_write_files(c, address, err);
	if (r == 0)
		r = write_bundle(c, a, &img, shim, s, err);
	if (r == 0)
		r = note_running(c, err);
	if (r == 0 && s->attach)
		r = attach(c, s, err);
	UM_FAULT("ctr.ready");
	if (r == 0)
		r = ask_start(c, shim->fd, err);
	UM_FAULT("ctr.started");
	return r;
}

/* ---- giving back ---- */

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

/* Its shim, when there is one, which has nothing more to do. */
static void end_shim(const struct ctr *c)
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

static int delete_from_runtime(const struct ctr *c, struct um_error *err)
{
	char *argv[] = {ctr_env.oci,
			(char *)(uintptr_t) "--root",
			ctr_env.oci_root,
			(char *)(uintptr_t) "delete",
			(char *)(uintptr_t) "--force",
			(char *)(uintptr_t)c->id,
			NULL};
	char path[1300];
	int r;

	snprintf(path, sizeof(path), "%s/%s", ctr_env.oci_root, c->id);
	if (access(path, F_OK) < 0)
		return 0;
	r = ctr_run_program(argv);
	return r ? um_error_set(err, r < 0 ? r : -EIO, "umiak-oci delete %s failed (%d)", c->id, r)
		 : 0;
}

static int remove_cgroup(const struct ctr *c, bool *oom, struct um_error *err)
{
	_cleanup_(um_cgroups_freep) struct um_cgroups *host = NULL;
	_cleanup_(um_cgroup_freep) struct um_cgroup *group = NULL;
	struct um_error ignored = UM_ERROR_INIT;
	struct um_cgroup_usage usage = {0};
	char path[300];
	int r = um_cgroups_open(&host, err);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/%s/%s", ctr_env.cgroup_parent, c->id);
	if (um_cgroup_open(host, path, &group, &ignored) < 0)
		return 0;
	if (um_cgroup_account(group, &usage, &ignored) == 0)
		*oom = usage.oom_kills > 0;
	(void)!um_cgroup_kill(group, &ignored);
	if (ctr_is_paused(c)) /* v1: a frozen process ends once it is thawed */
		(void)!um_cgroup_freeze(group, false, &ignored);
	return um_cgroup_remove(host, path, err);
}

static int unmount_root(const struct ctr *c, struct um_error *err)
{
	char path[1200];

	snprintf(path, sizeof(path), "%s/rootfs", c->run_dir);
	while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	if (errno != EINVAL && errno != ENOENT)
		return um_error_errno(err, -errno, "unmount %s", path);
	return 0;
}

/* Everything of this machine that a run of it had. */
static int give_back(struct ctr *c, bool *oom, struct um_error *err)
{
	int r;

	*oom = false;
	/* With the shim ends the network namespace, and while the kernel takes that down a mount,
	 * a link and the like wait for it: they are given back before. */
	r = unmount_root(c, err);
	if (r == 0)
		r = ctr_net_down(c, err);
	UM_FAULT("ctr.detached");
	end_shim(c);
	UM_FAULT("ctr.shim-ended");
	/* The group first: the runtime's delete would take what it counted along. */
	if (r == 0)
		r = remove_cgroup(c, oom, err);
	return r < 0 ? r : delete_from_runtime(c, err);
}

int ctr_start(struct ctr *c, struct ctr_start *s, struct um_error *err)
{
	struct um_error ignored = UM_ERROR_INIT;
	struct ctr_live shim = {.fd = -1};
	bool oom;
	int r;

	s->ret_attach = s->ret_shim = -1;
	r = start_steps(c, s, &shim, err);
	if (r == 0) {
		s->ret_shim = shim.fd;
		return 0;
	}
	s->ret_attach = um_close(s->ret_attach);
	um_close(shim.fd);
	if (give_back(c, &oom, &ignored) == 0)
		(void)!um_io_remove_tree(AT_FDCWD, c->run_dir, &ignored);
	um_json_set_str(c->a, c->state, "Status", "created");
	um_json_set_str(c->a, c->state, "Error", err->msg);
	um_json_set_i64(c->a, c->state, "ExitCode", ctr_start_exit_code(err->msg));
	(void)!ctr_save_state(c, false, &ignored);
	return r;
}

int ctr_start_exit_code(const char *message)
{
	static const struct {
		const char *words;
		int code;
	} table[] = {
		{"executable file not found", CTR_EXIT_NOT_FOUND},
		{"no such file or directory", CTR_EXIT_NOT_FOUND},
		{"No such file or directory", CTR_EXIT_NOT_FOUND},
		{"permission denied", CTR_EXIT_CANNOT_EXECUTE},
		{"Permission denied", CTR_EXIT_CANNOT_EXECUTE},
		{"Is a directory", CTR_EXIT_CANNOT_EXECUTE},
		{"Exec format error", CTR_EXIT_CANNOT_EXECUTE},
	};

	for (size_t i = 0; strstr(message, "exec") && i < UM_ARRAY_LEN(table); i++)
		if (strstr(message, table[i].words))
			return table[i].code;
	return CTR_EXIT_OURS;
}

/* ---- the end ---- */

/* The newest "main.<attempt>.exit": "status finished". */
static bool read_exit(const struct ctr *c, int *status, int64_t *finished, int *attempts)
{
	_cleanup_closedir_ DIR *d = opendir(c->run_dir);
	struct dirent *e;
	int newest = -1, n;

	while (d && (e = readdir(d))) {
		int end = 0;

		if (sscanf(e->d_name, "main.%d.exit%n", &n, &end) == 1 && end && n > newest)
			newest = n;
	}
	if (newest >= 0) {
		_cleanup_buf_ struct um_buf b = UM_BUF_INIT(200);
		char name[40];
		long long at;

		snprintf(name, sizeof(name), "main.%d.exit", newest);
		if (um_io_read_file(dirfd(d), name, &b, NULL) == 0 &&
		    sscanf(um_buf_str(&b), "%d %lld", status, &at) == 2) {
			*finished = at;
			*attempts = newest;
			return true;
		}
	}
	return false;
}

static bool noted_running(const struct ctr *c)
{
	return !strcmp(um_json_get_str(c->state, "Status", ""), "running");
}

static void note_end(struct ctr *c, const struct ctr_live *l, bool oom)
{
	int64_t finished = um_clock_wall(&um_clock_system);
	char text[UM_TIME_LEN];
	int status = 0, attempts = 0;
	bool known = read_exit(c, &status, &finished, &attempts);

	if (!noted_running(c))
		return; /* it never ran, or its end is noted */
	if (l->started_ns) {
		um_time_format_nano(l->started_ns, text);
		um_json_set_str(c->a, c->state, "StartedAt", text);
	}
	um_time_format_nano(finished, text);
	um_json_set_str(c->a, c->state, "Status", "exited");
	um_json_set_bool(c->a, c->state, "Paused", false);
	um_json_set_str(c->a, c->state, "FinishedAt", text);
	um_json_set_i64(c->a, c->state, "ExitCode",
			known		 ? ctr_exit_code(status)
			: l->has_run_dir ? 137
					 : 255);
	um_json_set_str(c->a, c->state, "Error",
			known		 ? ""
			: l->has_run_dir ? "the container's shim ended before it"
					 : "the machine went down under it");
	um_json_set_bool(c->a, c->state, "OOMKilled", oom);
	um_json_set_i64(c->a, c->state, "RestartCount", attempts);
}

int ctr_cleanup(struct ctr *c, struct um_error *err)
{
	bool durable = strcmp(um_json_get_str(c->config, "HostConfig.RestartPolicy.Name", "no"),
			      "no") != 0;
	struct ctr_live l;
	bool oom, up;
	int r;

	ctr_live_open(c, &l);
	up = ctr_live_up(&l);
	ctr_live_close(&l);
	if (!l.has_run_dir && !noted_running(c))
		return 0;
	if (up)
		return um_error_set(err, -EBUSY, "container %s is running", c->id);
	if (auto_remove(c))
		return ctr_remove(c, false, true, err);
	r = give_back(c, &oom, err);
	if (r < 0)
		return r;
	note_end(c, &l, oom);
	r = ctr_save_state(c, durable, err);
	UM_FAULT("ctr.noted");
	return r < 0 ? r : um_io_remove_tree(AT_FDCWD, c->run_dir, err);
}

int ctr_remove(struct ctr *c, bool force, bool volumes, struct um_error *err)
{
	struct um_images *images;
	struct ctr_live l;
	bool up;
	char id[100];
	int r;

	ctr_live_open(c, &l);
	up = ctr_live_up(&l);
	if (up && !force) {
		ctr_live_close(&l);
		return um_error_set(
			err, -EBUSY,
			"cannot remove container \"/%s\": container is running: stop the "
			"container before removing or force remove",
			ctr_name(c));
	}
	if (up) {
		int status;

		(void)!ctr_live_signal(&l, SIGKILL, true);
		ctr_thaw(c);
		(void)!ctr_live_wait(&l, 10 * UM_NSEC_PER_SEC, false, &status);
	}
	ctr_live_close(&l);
	r = ctr_images(&images, err);
	if (r == 0 && (l.has_run_dir || noted_running(c))) {
		bool oom;

		r = give_back(c, &oom, err);
		if (r == 0)
			r = um_io_remove_tree(AT_FDCWD, c->run_dir, err);
	}
	snapshot_id(c, id, sizeof(id));
	if (r == 0)
		r = um_rootfs_release(images, id, NULL, err);
	if (r == 0 && volumes)
		r = ctr_remove_volumes(c->config, err);
	UM_FAULT("ctr.released");
	return r < 0 ? r : ctr_forget(c, err);
}

int ctr_stop(struct ctr *c, int seconds, struct um_error *err)
{
	const char *text = um_json_get_str(c->config, "Config.StopSignal", "SIGTERM");
	int number, status, r = 0;
	struct ctr_live l;

	if (um_num_signal(text, &number) < 0 || number < 1)
		number = SIGTERM;
	ctr_live_open(c, &l);
	if (ctr_live_up(&l)) {
		int64_t ns = seconds < 0 ? -1 : seconds * UM_NSEC_PER_SEC;

		(void)!ctr_live_signal(&l, number, true);
		ctr_thaw(c);
		r = ctr_live_wait(&l, ns, false, &status);
		if (r == -ETIMEDOUT) {
			(void)!ctr_live_signal(&l, SIGKILL, true);
			r = ctr_live_wait(&l, 10 * UM_NSEC_PER_SEC, false, &status);
		}
	}
	ctr_live_close(&l);
	if (r == -ETIMEDOUT)
		return um_error_set(err, r, "container %s did not end", ctr_name(c));
	r = ctr_lock(c, err);
	if (r == -ENOENT && auto_remove(c)) {
		*err = (struct um_error)UM_ERROR_INIT;
		return 0;
	}
	if (r == 0)
		r = ctr_cleanup(c, err);
	if (r == 0 && access(c->dir, F_OK) == 0) {
		um_json_set_bool(c->a, c->state, "ManuallyStopped", true);
		r = ctr_save_state(c, true, err);
	}
	return r;
}

/* ---- the file system from outside ---- */

int ctr_root_open(struct ctr *c, bool *ret_mounted, struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = NULL;
	char path[1300];
	struct ctr_live l;
	struct um_image img;
	int fd, r;

	*ret_mounted = false;
	ctr_live_open(c, &l);
	ctr_live_close(&l);
	if (l.state == CTR_LIVE_RUNNING) {
		snprintf(path, sizeof(path), "/proc/%d/root", l.pid);
		fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		return fd < 0 ? um_error_errno(err, -errno, "open the container's root") : fd;
	}
	a = um_arena_new(16 << 20);
	r = a ? find_image(c, a, &img, err) : um_error_errno(err, -ENOMEM, "mount");
	snprintf(path, sizeof(path), "%s/rootfs", c->run_dir);
	if (r == 0)
		r = um_io_mkdirs(AT_FDCWD, path, 0700, err);
	if (r == 0)
		r = mount_root(c, &img, path, err);
	if (r < 0)
		return r;
	*ret_mounted = true;
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? um_error_errno(err, -errno, "open %s", path) : fd;
}

void ctr_root_close(struct ctr *c, int fd, bool mounted)
{
	struct um_error ignored = UM_ERROR_INIT;

	um_close(fd);
	if (mounted && unmount_root(c, &ignored) == 0)
		(void)!um_io_remove_tree(AT_FDCWD, c->run_dir, &ignored);
}

/* ---- after a crash ---- */

/* A run whose shim has gone, or has nothing to do, while nobody is at work on it; or one that the
 * machine was switched off under. */
static int heal_one(struct ctr *c, struct um_error *err)
{
	int fd, r;

	if (access(c->run_dir, F_OK) < 0 && !noted_running(c))
		return 0;
	/* With a shim there is no hurry: whoever starts it is at work. Without one, whoever cleans
	 * up comes to an end first. */
	fd = um_shim_connect(c->run_dir);
	r = fd >= 0 ? ctr_try_lock(c, err) : ctr_lock(c, err);
	um_close(fd);
	if (r == 0)
		r = ctr_cleanup(c, err);
	ctr_unlock(c);
	if (r == -ENOENT || r == -EBUSY || r == -EAGAIN) {
		*err = (struct um_error)UM_ERROR_INIT;
		r = 0;
	}
	return r;
}

bool ctr_look(struct ctr *c, struct ctr_live *ret)
{
	struct um_error ignored = UM_ERROR_INIT;

	ctr_live_open(c, ret);
	ctr_live_close(ret);
	if (ret->state != CTR_LIVE_NOT)
		return true;
	(void)!heal_one(c, &ignored);
	if (access(c->dir, F_OK) < 0)
		return false;
	/* Somebody else may have noted its end since it was read here. */
	if (ctr_lock(c, &ignored) < 0)
		return false;
	ctr_unlock(c);
	ctr_live_open(c, ret);
	ctr_live_close(ret);
	return true;
}

/* Folders of runs and addresses whose container is no more: a removal that was cut short. Asked
 * anew for each: a container has its folder before it has these. */
static bool is_there(const char *prefix)
{
	struct um_error ignored = UM_ERROR_INIT;
	_cleanup_ctr_ struct ctr *c = NULL;

	return ctr_find(prefix, &c, &ignored) != -ENOENT;
}

static bool keep_address(um_unused void *arg, const char *uid)
{
	return strncmp(uid, UM_CTR_UID_PREFIX, strlen(UM_CTR_UID_PREFIX)) != 0 ||
	       is_there(uid + strlen(UM_CTR_UID_PREFIX));
}

static int sweep_runs(struct um_error *err)
{
	_cleanup_closedir_ DIR *d = opendir(ctr_env.run);
	struct um_ctr_net n = ctr_net();
	bool stale = false;
	struct dirent *e;
	char path[1400];
	int lock, r = 0;

	while (r == 0 && d && (e = readdir(d))) {
		if (strlen(e->d_name) != 16 || is_there(e->d_name))
			continue;
		stale = true;
		snprintf(path, sizeof(path), "%s/%s/rootfs", ctr_env.run, e->d_name);
		while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
			;
		r = um_io_remove_tree(dirfd(d), e->d_name, err);
	}
	if (r < 0 || !stale)
		return r;
	lock = um_ctr_net_lock(&n, err);
	r = lock < 0 ? lock : um_ctr_net_sweep(&n, keep_address, NULL, err);
	um_close(lock);
	return r;
}

int ctr_heal(struct um_error *err)
{
	_cleanup_(ctr_vec_release) ctr_vec all = UM_VEC_INIT;
	struct um_error ignored = UM_ERROR_INIT;
	bool bridge = false;
	int r = ctr_sweep_store(err);

	if (r == 0)
		r = ctr_load_all(&all, err);
	um_vec_foreach (c, &all) {
		if (r == 0)
			r = heal_one(*c, err);
		bridge |= r == 0 && !strcmp(network(*c), "bridge") &&
			  access((*c)->run_dir, F_OK) == 0;
	}
	if (bridge) /* what it cannot do now the next start tells */
		(void)!ctr_net_heal(&ignored);
	return r < 0 ? r : sweep_runs(err);
}
