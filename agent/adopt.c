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

/* ---- what is known of its containers ---- */

static void save_end(struct um_arena *a, struct um_json *o, const char *key,
		     const struct ctr_end *e)
{
	struct um_json *end;

	if (!e->known)
		return;
	end = um_json_ensure_obj(a, o, key);
	um_json_set_i64(a, end, "exitCode", e->exit_code);
	um_json_set_i64(a, end, "signal", e->signal);
	um_json_set_bool(a, end, "oom", e->oom);
	um_json_set_i64(a, end, "startedNs", e->started_ns);
	um_json_set_i64(a, end, "finishedNs", e->finished_ns);
	um_json_set_str(a, end, "id", e->id);
	um_json_set_str(a, end, "reason", e->reason);
	if (e->message)
		status_set_text(a, end, "message", e->message);
}

static void load_end(const struct um_json *end, struct ctr_end *e)
{
	const char *message = um_json_get_str(end, "message", NULL);

	if (!end)
		return;
	e->known = true;
	e->exit_code = (int)um_json_get_i64(end, "exitCode", 0);
	e->signal = (int)um_json_get_i64(end, "signal", 0);
	e->oom = um_json_get_bool(end, "oom", false);
	e->started_ns = um_json_get_i64(end, "startedNs", 0);
	e->finished_ns = um_json_get_i64(end, "finishedNs", 0);
	snprintf(e->id, sizeof(e->id), "%s", um_json_get_str(end, "id", ""));
	snprintf(e->reason, sizeof(e->reason), "%s", um_json_get_str(end, "reason", ""));
	e->message = message ? strdup(message) : NULL;
}

static void save_ctrs(struct um_arena *a, struct um_json *o, const struct agent_pod *p)
{
	struct um_json *list = um_json_set(a, o, "containers", um_json_new_arr(a));

	for (size_t i = 0; i < p->n_ctrs; i++) {
		const struct agent_ctr *c = &p->ctrs[i];
		struct um_json *it = um_json_append(list, um_json_new_obj(a));

		um_json_set_str(a, it, "name", c->name);
		um_json_set_i64(a, it, "attempt", c->attempt);
		um_json_set_bool(a, it, "finished", c->state == CTR_FINISHED);
		um_json_set_str(a, it, "image", c->image);
		um_json_set_str(a, it, "imageID", c->image_id);
		if (c->stop_signal)
			um_json_set_i64(a, it, "stopSignal", c->stop_signal);
		um_json_set_i64(a, it, "backoffNs", c->backoff_ns);
		if (c->state == CTR_BACKOFF)
			um_json_set_i64(a, it, "waitUntilNs", c->wait_until_ns);
		if (c->state == CTR_FINISHED)
			save_end(a, it, "last", &c->last);
		save_end(a, it, "prior", &c->prior);
	}
}

static void load_ctr(struct agent_ctr *c, const struct um_json *it)
{
	int64_t until = um_json_get_i64(it, "waitUntilNs", 0);

	c->attempt = (int)um_json_get_i64(it, "attempt", 0);
	c->backoff_ns = um_json_get_i64(it, "backoffNs", 0);
	snprintf(c->image, sizeof(c->image), "%s", um_json_get_str(it, "image", ""));
	snprintf(c->image_id, sizeof(c->image_id), "%s", um_json_get_str(it, "imageID", ""));
	c->stop_signal = (int)um_json_get_i64(it, "stopSignal", 0);
	load_end(um_json_get(it, "last"), &c->last);
	load_end(um_json_get(it, "prior"), &c->prior);
	if (um_json_get_bool(it, "finished", false)) {
		c->state = CTR_FINISHED;
		snprintf(c->id, sizeof(c->id), "%s", c->last.id);
	} else if (until) {
		ctr_back_off(c, until - um_clock_wall(um_loop_clock(c->pod->agent->loop)));
	}
}

static void load_ctrs(struct agent_pod *p, const struct um_json *list)
{
	um_json_foreach (it, list) {
		struct agent_ctr *c = pod_find_ctr(p, um_json_get_str(it, "name", ""));

		if (c)
			load_ctr(c, it);
	}
}

/* ---- the file ---- */

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
	um_json_set_i64(a, o, "startedNs", p->started_wall_ns);
	if (p->failed_for_good) {
		um_json_set_str(a, o, "reason", p->reason);
		um_json_set_str(a, o, "message", p->message);
	}
	save_ctrs(a, o, p);
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

void adopt_save_again(const struct agent_pod *p)
{
	struct um_error err = UM_ERROR_INIT;

	if (p->ending) /* the end of what is known of it */
		return;
	if (adopt_save(p, &err) < 0)
		um_log(UM_LOG_ERROR, "save pod", UM_LOG_ERR(&err));
}

static void load_saved(struct agent_pod *p, const struct um_json *saved)
{
	const char *reason = um_json_get_str(saved, "reason", NULL);

	p->saved = true;
	p->is_static = um_json_get_bool(saved, "static", false);
	p->started_wall_ns = um_json_get_i64(saved, "startedNs", p->started_wall_ns);
	if (reason) {
		snprintf(p->reason, sizeof(p->reason), "%s", reason);
		snprintf(p->message, sizeof(p->message), "%s",
			 um_json_get_str(saved, "message", ""));
		pod_fail(p);
	}
	load_ctrs(p, um_json_get(saved, "containers"));
	pod_arm_deadline(p);
}

/* ---- what a sandbox has, beside it in memory ---- */

int adopt_note_sandbox(const struct agent_pod *p, const char *ip, pid_t shim, struct um_error *err)
{
	char path[4096], text[100];
	int n = snprintf(text, sizeof(text), "%d %s\n", shim, ip);
	int r = pod_run_path(p, path, sizeof(path), "sandbox");

	if (r < 0)
		return um_error_errno(err, r, "note the sandbox");
	return um_io_replace_file(AT_FDCWD, path, text, (size_t)n, 0600, UM_IO_NO_SYNC, err);
}

static bool read_sandbox(const struct agent_pod *p, pid_t *shim, char ip[INET_ADDRSTRLEN])
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(200);
	char path[4096];

	ip[0] = '\0';
	return pod_run_path(p, path, sizeof(path), "sandbox") == 0 &&
	       um_io_read_file(AT_FDCWD, path, &b, NULL) == 0 &&
	       sscanf(um_buf_str(&b), "%d %15s", shim, ip) >= 1;
}

pid_t adopt_noted_shim(const struct agent_pod *p)
{
	char ip[INET_ADDRSTRLEN];
	pid_t shim;

	return read_sandbox(p, &shim, ip) ? shim : 0;
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
	char path[4096], ip[INET_ADDRSTRLEN];
	pid_t shim;

	if (!read_sandbox(p, &shim, ip))
		return;
	if (pod_run_path(p, path, sizeof(path), "%s", UM_SHIM_SOCKET) == 0)
		p->shim = shim_connect(p, path);
	if (!p->shim || shim_hello(p->shim) < 0) {
		shim_free(TAKE_PTR(p->shim));
		ctrs_lost(p, true);
		return;
	}
	snprintf(p->ip, sizeof(p->ip), "%s", ip);
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
	load_saved(p, saved);
	if (um_json_get_bool(saved, "done", false))
		p->state = POD_DONE;
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
