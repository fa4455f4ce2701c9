/* What outlives the agent. Each pod that it was given is saved in <state_dir>/pods/<uid>/pod.json
 * before anything is made for it, so that after a crash its shim is found again, and after a
 * reboot without a server it runs again. */
#include "agent/internal.h"

#include <fcntl.h>
#include <string.h>

#include "base/io.h"
#include "base/log.h"
#include "wire/loop.h"

#define SAVED_MAX_BYTES (4 << 20)

int adopt_save(const struct agent_pod *p, struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(8 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(SAVED_MAX_BYTES);
	struct um_json *o = a ? um_json_new_obj(a) : NULL;
	char path[4096];
	int r = pod_state_path(p, path, sizeof(path), "%s", "volumes");

	if (!o || r < 0)
		return um_error_errno(err, r < 0 ? r : -ENOMEM, "save pod %s", p->name);
	r = um_io_mkdirs(AT_FDCWD, path, 0700, err);
	if (r < 0)
		return r;
	um_json_set_bool(a, o, "static", p->is_static);
	um_json_set_bool(a, o, "done", p->state == POD_DONE);
	um_json_set(a, o, "pod", um_json_copy(a, p->obj));
	if (p->state == POD_DONE)
		um_json_set(a, um_json_get(o, "pod"), "status", pod_status(p, a));
	if (um_arena_failed(a) || um_json_write(&b, o) < 0)
		return um_error_errno(err, -ENOMEM, "save pod %s", p->name);
	r = pod_state_path(p, path, sizeof(path), "pod.json");
	if (r < 0)
		return um_error_errno(err, r, "save pod %s", p->name);
	/* Not synced: what a killed agent left is in the page cache, and after a power cut nothing
	 * of the pod runs; a file that is lost then comes again from the server. */
	return um_io_replace_file(AT_FDCWD, path, b.data, b.len, 0600, UM_IO_NO_SYNC, err);
}

void adopt_forget(const struct agent_pod *p)
{
	struct um_error err = UM_ERROR_INIT;
	char path[4096];

	if (pod_state_path(p, path, sizeof(path), "%s", "") < 0)
		return;
	path[strlen(path) - 1] = '\0';
	if (um_io_remove_tree(AT_FDCWD, path, &err) < 0)
		um_log(UM_LOG_ERROR, "forget pod", UM_LOG_ERR(&err));
}

/* The end that a saved status tells, so that a finished pod is still shown as it ended. */
static void restore_end(struct agent_pod *p)
{
	for (size_t i = 0; i < p->n_ctrs; i++) {
		struct agent_ctr *c = &p->ctrs[i];
		const struct um_json *list =
			um_json_path(p->obj, c->init ? "status.initContainerStatuses"
						     : "status.containerStatuses");

		um_json_foreach (st, list) {
			const struct um_json *t = um_json_path(st, "state.terminated");
			const char *id = um_json_get_str(t, "containerID", "");

			if (strcmp(um_json_get_str(st, "name", ""), c->name))
				continue;
			c->state = CTR_FINISHED;
			c->attempt = (int)um_json_get_i64(st, "restartCount", 0);
			c->last.known = t != NULL;
			c->last.exit_code = (int)um_json_get_i64(t, "exitCode", 0);
			snprintf(c->last.reason, sizeof(c->last.reason), "%s",
				 um_json_get_str(t, "reason", ""));
			(void)!um_time_parse(um_json_get_str(t, "startedAt", ""),
					     &c->last.started_ns);
			(void)!um_time_parse(um_json_get_str(t, "finishedAt", ""),
					     &c->last.finished_ns);
			snprintf(c->last.id, sizeof(c->last.id), "%s",
				 !strncmp(id, "umiak://", 8) ? id + 8 : id);
		}
	}
	p->state = POD_DONE;
}

/* ---- what a sandbox has, beside it in memory ---- */

int adopt_note_sandbox(const struct agent_pod *p, const char *ip, int64_t started_ns,
		       struct um_error *err)
{
	char path[4096], text[100];
	int n = snprintf(text, sizeof(text), "%lld %s\n", (long long)started_ns, ip);
	int r = pod_run_path(p, path, sizeof(path), "sandbox");

	if (r < 0)
		return um_error_errno(err, r, "note the sandbox");
	return um_io_replace_file(AT_FDCWD, path, text, (size_t)n, 0600, UM_IO_NO_SYNC, err);
}

static bool read_sandbox(struct agent_pod *p)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(200);
	char path[4096], ip[INET_ADDRSTRLEN] = "";
	long long started;

	if (pod_run_path(p, path, sizeof(path), "sandbox") < 0 ||
	    um_io_read_file(AT_FDCWD, path, &b, NULL) < 0 ||
	    sscanf(um_buf_str(&b), "%lld %15s", &started, ip) < 1)
		return false;
	p->started_wall_ns = started;
	snprintf(p->ip, sizeof(p->ip), "%s", ip);
	return true;
}

int adopt_save_refs(const struct agent_pod *p, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(32 << 20);
	char path[4096];
	int r = pod_run_path(p, path, sizeof(path), "refs.json");

	if (r == 0)
		r = um_json_write(&b, p->refs);
	if (r < 0)
		return um_error_errno(err, r, "keep the pod's configmaps and secrets");
	return um_io_replace_file(AT_FDCWD, path, b.data, b.len, 0600, UM_IO_NO_SYNC, err);
}

/* They are there once the volumes are: then these must not be made again under running containers.
 */
static bool load_refs(struct agent_pod *p)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(32 << 20);
	char path[4096];

	p->refs_arena = um_arena_new(128 << 20);
	if (!p->refs_arena || pod_run_path(p, path, sizeof(path), "refs.json") < 0 ||
	    um_io_read_file(AT_FDCWD, path, &b, NULL) < 0 ||
	    um_json_parse(p->refs_arena, um_buf_str(&b), b.len, NULL, &p->refs, NULL) < 0) {
		p->refs = NULL;
		return false;
	}
	return true;
}

/* Finds the pod's shim and asks it what runs; without one the pod begins anew. */
static void find_shim(struct agent_pod *p)
{
	char path[4096];

	if (!read_sandbox(p))
		return;

	if (pod_run_path(p, path, sizeof(path), "%s", UM_SHIM_SOCKET) == 0)
		p->shim = shim_connect(p, path);
	if (!p->shim || shim_hello(p->shim) < 0) {
		shim_free(TAKE_PTR(p->shim));
		return;
	}
	pod_set_state(p, POD_VOLUMES);
	if (load_refs(p))
		pod_set_state(p, POD_RUN);
	else
		p->refs_failed = true; /* asked for as soon as there is a source */
}

static void adopt_one(struct um_agent *a, const char *uid)
{
	_cleanup_arena_ struct um_arena *arena = um_arena_new(8 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(SAVED_MAX_BYTES);
	struct um_error err = UM_ERROR_INIT;
	struct um_json *saved;
	struct agent_pod *p;
	char path[4096];

	if (um_io_path(path, sizeof(path), "%s/pods/%s/pod.json", a->opt.state_dir, uid) < 0)
		return;
	if (!arena || um_io_read_file(AT_FDCWD, path, &b, &err) < 0 ||
	    um_json_parse(arena, um_buf_str(&b), b.len, NULL, &saved, &err) < 0 ||
	    strcmp(um_json_get_str(saved, "pod.metadata.uid", ""), uid)) {
		/* Half made, or damaged: nothing was started before the file was whole. What may
		 * run under a damaged one is ended by the sweep. */
		um_log(UM_LOG_WARN, "saved pod cannot be read", UM_LOG_STR("uid", uid),
		       UM_LOG_ERR(&err));
		return;
	}
	p = pod_new(a, um_json_get(saved, "pod"), &err);
	if (!p) {
		um_log(UM_LOG_ERROR, "adopt pod", UM_LOG_ERR(&err));
		return;
	}
	p->is_static = um_json_get_bool(saved, "static", false);
	if (um_json_get_bool(saved, "done", false))
		restore_end(p);
	else
		find_shim(p);
	pod_dirty(p);
}

int adopt_all(struct um_agent *a, struct um_error *err)
{
	_cleanup_closedir_ DIR *d = NULL;
	struct dirent *e;
	char path[4096];
	int r = um_io_path(path, sizeof(path), "%s/pods", a->opt.state_dir);

	if (r == 0)
		r = um_io_mkdirs(AT_FDCWD, path, 0700, err);
	if (r < 0)
		return r;
	d = opendir(path);
	if (!d)
		return um_error_errno(err, -errno, "open %s", path);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			adopt_one(a, e->d_name);
	return 0;
}
