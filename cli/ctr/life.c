/* A container's life: started, stopped, cleaned up after, removed. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/num.h"
#include "cgroups/cgroups.h"
#include "cli/ctr/ctr.h"
#include "runtime/shim/client.h"

#define START_MS 60000

static void snapshot_id(const struct ctr *c, char *buf, size_t size)
{
	snprintf(buf, size, UM_CTR_UID_PREFIX "%s", c->id);
}

const char *ctr_network(const struct ctr *c)
{
	return um_json_get_str(c->config, "HostConfig.NetworkMode", "bridge");
}

static bool auto_remove(const struct ctr *c)
{
	return um_json_get_bool(c->config, "HostConfig.AutoRemove", false);
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
		r = ctr_start_shim(c, shim, err);
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
	ctr_end_shim(c);
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

bool ctr_noted_running(const struct ctr *c)
{
	return !strcmp(um_json_get_str(c->state, "Status", ""), "running");
}

static void note_end(struct ctr *c, const struct ctr_live *l, bool oom)
{
	int64_t finished = um_clock_wall(&um_clock_system);
	char text[UM_TIME_LEN];
	int status = 0, attempts = 0;
	bool known = read_exit(c, &status, &finished, &attempts);

	if (!ctr_noted_running(c))
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
	if (!l.has_run_dir && !ctr_noted_running(c))
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
	if (r == 0 && (l.has_run_dir || ctr_noted_running(c))) {
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
