/* Containers within a pod: start, restart with back-off, end. */
#include "agent/internal.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "agent/links.h"
#include "base/fault.h"
#include "base/log.h"
#include "wire/loop.h"

#define BACKOFF_FIRST_NS (10 * UM_NSEC_PER_SEC)
#define BACKOFF_MOST_NS (300 * UM_NSEC_PER_SEC)
#define BACKOFF_FORGET_NS                                                                          \
	(600 * UM_NSEC_PER_SEC) /* after a run that long the next start is at once */
#define CONFIG_RETRY_NS (2 * UM_NSEC_PER_SEC)

static void on_timer(void *arg)
{
	struct agent_ctr *c = arg;

	if (c->state == CTR_RUNNING) { /* its grace is over */
		if (c->pod->shim)
			(void)!shim_signal(c->pod->shim, c->name, SIGKILL);
		return;
	}
	if (c->state == CTR_BACKOFF)
		c->state = CTR_WAITING;
	pod_kick(c->pod);
}

static int attempts_before(const struct um_json *pod, const char *name, bool init)
{
	const struct um_json *list = um_json_path(pod, init ? "status.initContainerStatuses"
							    : "status.containerStatuses");

	um_json_foreach (st, list) {
		bool ran =
			um_json_path(st, "state.running") || um_json_path(st, "state.terminated");

		if (!strcmp(um_json_get_str(st, "name", ""), name))
			return (int)um_json_get_i64(st, "restartCount", 0) + (ran ? 1 : 0);
	}
	return 0;
}

static const char *const probe_fields[] = {"startupProbe", "livenessProbe", "readinessProbe"};

void ctr_init(struct agent_ctr *c, struct agent_pod *p, const struct um_json *spec, bool init)
{
	memset(c, 0, sizeof(*c));
	c->pod = p;
	c->spec = spec;
	c->name = um_json_get_str(spec, "name", "");
	c->init = init;
	c->attempt = attempts_before(p->obj, c->name, init);
	snprintf(c->reason, sizeof(c->reason), "%s",
		 p->n_init || init ? "PodInitializing" : "ContainerCreating");
	c->timer = um_timer_new(p->agent->loop, on_timer, c);
	for (size_t i = 0; i < UM_ARRAY_LEN(probe_fields) && !init; i++) {
		const struct um_json *probe = um_json_get(spec, probe_fields[i]);

		if (probe)
			c->probes[i] = probe_new(c, (enum probe_kind)i, probe);
	}
	if (um_json_path(spec, "lifecycle.postStart") && !init)
		c->post_start =
			probe_new(c, HOOK_POST_START, um_json_path(spec, "lifecycle.postStart"));
	if (um_json_path(spec, "lifecycle.preStop") && !init)
		c->pre_stop = probe_new(c, HOOK_PRE_STOP, um_json_path(spec, "lifecycle.preStop"));
}

void ctr_release(struct agent_ctr *c)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(c->probes); i++)
		probe_free(c->probes[i]);
	probe_free(c->post_start);
	probe_free(c->pre_stop);
	um_timer_free(c->timer);
	free(c->last.message);
	free(c->prior.message);
}

static void stop_probes(struct agent_ctr *c)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(c->probes); i++)
		if (c->probes[i])
			probe_stop(c->probes[i]);
	if (c->post_start)
		probe_stop(c->post_start);
	if (c->pre_stop)
		probe_stop(c->pre_stop);
}

static void wait_with(struct agent_ctr *c, const char *reason, const char *fmt, ...)
	um_printf(3, 4);
static void wait_with(struct agent_ctr *c, const char *reason, const char *fmt, ...)
{
	va_list ap;

	snprintf(c->reason, sizeof(c->reason), "%s", reason);
	va_start(ap, fmt);
	vsnprintf(c->message, sizeof(c->message), fmt, ap);
	va_end(ap);
	pod_dirty(c->pod);
}

/* ---- starting ---- */

static int64_t next_backoff(int64_t now_ns)
{
	int64_t next = now_ns ? now_ns * 2 : BACKOFF_FIRST_NS;

	return next > BACKOFF_MOST_NS ? BACKOFF_MOST_NS : next;
}

/* It runs, and its postStart hook is over. */
static void begin_probes(struct agent_ctr *c)
{
	c->started = !c->probes[PROBE_STARTUP];
	c->ready = c->started && !c->probes[PROBE_READINESS];
	for (size_t i = 0; i < UM_ARRAY_LEN(c->probes); i++)
		if (c->probes[i] && (i == PROBE_STARTUP || c->started))
			probe_start(c->probes[i]);
	pod_dirty(c->pod);
}

static void image_failed(struct agent_ctr *c, const struct agent_job *j)
{
	int64_t delay = BACKOFF_FIRST_NS;

	for (int i = 0; i < c->image_failures && delay < BACKOFF_MOST_NS; i++)
		delay *= 2;
	c->image_failures++;
	pod_event(c->pod, "Warning", "Failed", "Failed to pull image \"%s\": %s",
		  um_json_get_str(c->spec, "image", ""), j->err.msg);
	/* First what went wrong, then, while it waits, that it waits. */
	if (c->image_failures == 1) {
		wait_with(c, j->fail_reason, "%s", j->err.msg);
		um_timer_start(c->timer, UM_NSEC_PER_SEC);
		return;
	}
	pod_event(c->pod, "Normal", "BackOff", "Back-off pulling image \"%s\"",
		  um_json_get_str(c->spec, "image", ""));
	wait_with(c, "ImagePullBackOff", "Back-off pulling image \"%s\": %s",
		  um_json_get_str(c->spec, "image", ""), j->err.msg);
	um_timer_start(c->timer, delay > BACKOFF_MOST_NS ? BACKOFF_MOST_NS : delay);
}

static void bundle_failed(struct agent_ctr *c, struct agent_job *j)
{
	bool image = j->fail_reason && !strncmp(j->fail_reason, "ErrImage", 8);

	c->state = CTR_WAITING;
	if (image) {
		image_failed(c, j);
		return;
	}
	pod_event(c->pod, "Warning", "Failed", "Error: %s", j->err.msg);
	wait_with(c, j->fail_reason ? j->fail_reason : "CreateContainerError", "%s", j->err.msg);
	um_timer_start(c->timer, CONFIG_RETRY_NS);
}

/* It never ran, or we do not know how it ended. */
static void ended_badly(struct agent_ctr *c, const char *reason, const char *message, int code)
{
	int64_t now = um_clock_wall(um_loop_clock(c->pod->agent->loop));

	free(c->last.message);
	c->last = (struct ctr_end){.known = true,
				   .exit_code = code,
				   .started_ns = c->started_ns ? c->started_ns : now,
				   .finished_ns = now};
	snprintf(c->last.id, sizeof(c->last.id), "%s", c->id);
	snprintf(c->last.reason, sizeof(c->last.reason), "%s", reason);
	c->last.message = strdup(message);
	c->pid = 0;
	c->ready = c->started = false;
	stop_probes(c);
	um_timer_stop(c->timer);
	c->state = CTR_EXITED;
	pod_dirty(c->pod);
}

static void bundle_done(struct agent_job *j)
{
	struct agent_ctr *c = j->ctr;
	struct agent_pod *p = c->pod;
	char bundle[4096], log[4096];

	links_forget(p);
	if (j->result < 0) {
		bundle_failed(c, j);
		return;
	}
	if (p->state != POD_RUN || p->ending || p->failed_for_good) {
		c->state = CTR_WAITING; /* too late to start; the bundle goes with the pod's */
		return;
	}
	snprintf(c->image, sizeof(c->image), "%s", j->image);
	snprintf(c->image_id, sizeof(c->image_id), "%s", j->image_id);
	c->stop_signal = j->stop_signal;
	c->image_failures = 0;
	/* Until now the shim keeps the last end: an agent that adopts the pod must know that a
	 * container ran, or it would run an init container again. */
	if (p->shim)
		(void)!shim_forget(p->shim, c->name);
	if (!p->shim || pod_run_path(p, bundle, sizeof(bundle), "%s.%d", c->name, c->attempt) < 0 ||
	    pod_log_path(p, log, sizeof(log), "%s/%d.log", c->name, c->attempt) < 0 ||
	    shim_start(p->shim, c, bundle, log) < 0)
		ended_badly(c, "StartError", "the pod's shim cannot be reached", 128);
}

static void begin_start(struct agent_ctr *c)
{
	c->state = CTR_STARTING;
	c->killed = false;
	c->stop_stage = HOOK_NOT_YET;
	c->started_ns = 0;
	snprintf(c->id, sizeof(c->id), "%s-%s-%d", c->pod->uid, c->name, c->attempt);
	links_of_pod(c->pod);
	pod_run_job(c->pod, c, bundle_work, bundle_done);
	if (!c->pod->job)
		c->state = CTR_WAITING;
}

/* ---- ending ---- */

static bool wants_restart(const struct agent_ctr *c)
{
	const char *policy = um_json_get_str(c->pod->obj, "spec.restartPolicy", "Always");
	bool failed = c->last.exit_code != 0;

	if (c->pod->ending || c->pod->failed_for_good)
		return false;
	if (c->init)
		return failed && strcmp(policy, "Never");
	if (!strcmp(policy, "Always"))
		return true;
	return !strcmp(policy, "OnFailure") && failed;
}

void ctr_back_off(struct agent_ctr *c, int64_t delay_ns)
{
	if (delay_ns < 0)
		delay_ns = 0;
	if (delay_ns > BACKOFF_MOST_NS) /* read from a file, under another clock */
		delay_ns = BACKOFF_MOST_NS;
	c->state = CTR_BACKOFF;
	c->wait_until_ns = um_clock_wall(um_loop_clock(c->pod->agent->loop)) + delay_ns;
	um_timer_start(c->timer, delay_ns);
	wait_with(c, "CrashLoopBackOff",
		  "back-off %llds restarting failed container=%s pod=%s_%s(%s)",
		  (long long)(delay_ns / UM_NSEC_PER_SEC), c->name, c->pod->name, c->pod->ns,
		  c->pod->uid);
}

static void schedule_restart(struct agent_ctr *c)
{
	int64_t ran = c->last.finished_ns - c->last.started_ns;
	int64_t delay;

	if (ran >= BACKOFF_FORGET_NS)
		c->backoff_ns = 0;
	delay = c->backoff_ns;
	c->backoff_ns = next_backoff(c->backoff_ns);
	free(c->prior.message);
	c->prior = c->last;
	c->last = (struct ctr_end){0};
	c->attempt++;
	if (!delay) {
		c->state = CTR_WAITING;
		c->reason[0] = '\0';
		return;
	}
	ctr_back_off(c, delay);
	pod_event(c->pod, "Warning", "BackOff",
		  "Back-off restarting failed container %s in pod %s_%s(%s)", c->name, c->pod->name,
		  c->pod->ns, c->pod->uid);
}

static void retire_done(struct agent_job *j)
{
	struct agent_ctr *c = j->ctr;
	char note[4096];
	int known = retire_note_path(c, note, sizeof(note)); /* before the attempt changes */

	if (j->result < 0) { /* tried again at the next look, not in a tight loop */
		um_log(UM_LOG_ERROR, "remove container", UM_LOG_STR("container", c->id),
		       UM_LOG_ERR(&j->err));
		um_timer_start(c->pod->timer, CONFIG_RETRY_NS);
		return;
	}
	if (j->oom) {
		c->last.oom = true;
		snprintf(c->last.reason, sizeof(c->last.reason), "OOMKilled");
	}
	if (j->message && !c->last.message)
		c->last.message = TAKE_PTR(j->message);
	if (wants_restart(c))
		schedule_restart(c);
	else
		c->state = CTR_FINISHED;
	adopt_save_again(c->pod);
	if (known == 0)
		(void)unlink(note);
	pod_dirty(c->pod);
}

static void signal_end(struct agent_ctr *c)
{
	c->stop_stage = HOOK_OVER;
	if (c->pod->shim)
		(void)!shim_signal(c->pod->shim, c->name,
				   c->stop_signal ? c->stop_signal : SIGTERM);
}

void ctr_tell_end(struct agent_ctr *c)
{
	if (!c->pre_stop || c->stop_stage == HOOK_OVER) {
		signal_end(c);
	} else if (c->stop_stage == HOOK_NOT_YET) {
		c->stop_stage = HOOK_RUNS;
		probe_start(c->pre_stop);
	}
}

bool ctrs_cut_hooks(struct agent_pod *p)
{
	bool any = false;

	for (size_t i = 0; i < p->n_ctrs; i++) {
		struct agent_ctr *c = &p->ctrs[i];

		if (c->state != CTR_RUNNING || c->stop_stage != HOOK_RUNS)
			continue;
		any = true;
		probe_stop(c->pre_stop);
		pod_event(p, "Warning", "FailedPreStopHook",
			  "PreStopHook of container %s takes longer than the pod's grace", c->name);
		signal_end(c);
	}
	return any;
}

void ctr_hook_result(struct agent_ctr *c, enum probe_kind kind, bool ok, const char *why)
{
	if (c->state != CTR_RUNNING)
		return;
	if (!ok)
		pod_event(c->pod, "Warning",
			  kind == HOOK_PRE_STOP ? "FailedPreStopHook" : "FailedPostStartHook",
			  "%s of container %s failed: %s",
			  kind == HOOK_PRE_STOP ? "PreStopHook" : "PostStartHook", c->name, why);
	if (kind == HOOK_PRE_STOP)
		signal_end(c);
	else if (ok)
		begin_probes(c);
	else
		ctr_kill(c, -1, "failed its postStart hook");
}

void ctr_kill(struct agent_ctr *c, int64_t grace, const char *why)
{
	if (grace < 0)
		grace = um_json_get_i64(c->pod->obj, "spec.terminationGracePeriodSeconds", 30);
	if (c->state != CTR_RUNNING || c->killed || !c->pod->shim)
		return;
	c->killed = true;
	pod_event(c->pod, "Normal", "Killing", "Container %s: %s, it will be restarted", c->name,
		  why);
	ctr_tell_end(c);
	um_timer_start(c->timer, grace * UM_NSEC_PER_SEC);
}

/* Whether the current attempt has a bundle, so that it may have run. */
static bool has_bundle(const struct agent_ctr *c)
{
	char path[4096];

	return pod_run_path(c->pod, path, sizeof(path), "%s.%d", c->name, c->attempt) == 0 &&
	       access(path, F_OK) == 0;
}

void ctrs_lost(struct agent_pod *p, bool unknown)
{
	bool any = false;

	for (size_t i = 0; i < p->n_ctrs; i++) {
		struct agent_ctr *c = &p->ctrs[i];

		if (c->state != CTR_RUNNING && c->state != CTR_STARTING &&
		    !(unknown && c->state == CTR_WAITING && has_bundle(c)))
			continue;
		if (p->job && p->job->ctr == c) /* a worker makes its bundle: it never ran */
			continue;
		snprintf(c->id, sizeof(c->id), "%s-%s-%d", p->uid, c->name, c->attempt);
		ended_badly(c, "ContainerStatusUnknown",
			    "the pod's shim ended, and with it the knowledge of the exit", 137);
		if (wants_restart(c))
			schedule_restart(c);
		else
			c->state = CTR_FINISHED;
		any = true;
	}
	if (any)
		adopt_save_again(p);
}

/* ---- what the shim says ---- */

/* @adopted: it ran before this agent did. */
static void on_running(struct agent_ctr *c, const struct um_shim_msg *m, bool adopted)
{
	c->pid = (pid_t)um_shim_num(m, "pid", 0);
	c->started_ns = um_shim_num(m, "started", 0);
	c->state = CTR_RUNNING;
	c->reason[0] = c->message[0] = '\0';
	c->ready = c->started = false;
	if (adopted)
		um_log(UM_LOG_DEBUG, "container adopted", UM_LOG_STR("pod", c->pod->name),
		       UM_LOG_STR("container", c->name));
	else
		pod_event(c->pod, "Normal", "Started", "Started container %s", c->name);
	/* Whom an earlier agent had started it told of that, too. */
	if (c->post_start && !adopted)
		probe_start(c->post_start);
	else
		begin_probes(c);
	if (c->pod->state == POD_STOPPING && c->pod->term_sent)
		ctr_tell_end(c);
	pod_dirty(c->pod);
}

static void on_exited(struct agent_ctr *c, const struct um_shim_msg *m)
{
	int status = (int)um_shim_num(m, "status", 0);

	stop_probes(c);
	um_timer_stop(c->timer);
	free(c->last.message);
	c->last = (struct ctr_end){
		.known = true,
		.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status),
		.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
		.started_ns = um_shim_num(m, "started", 0),
		.finished_ns = um_shim_num(m, "finished", 0),
	};
	snprintf(c->last.id, sizeof(c->last.id), "%s", c->id);
	snprintf(c->last.reason, sizeof(c->last.reason), "%s",
		 c->last.exit_code ? "Error" : "Completed");
	c->pid = 0;
	c->ready = c->started = false;
	c->state = CTR_EXITED;
	pod_dirty(c->pod);
}

void ctr_on_shim(struct agent_pod *p, const struct um_shim_msg *m)
{
	struct agent_ctr *c = pod_find_ctr(p, um_shim_get(m, "name"));
	const char *state = um_shim_get(m, "state"), *id = um_shim_get(m, "id");
	int attempt = (int)um_shim_num(m, "attempt", 0);
	bool adopted = false;

	if (!c || !state || !id)
		return;
	if ((c->state == CTR_WAITING || c->state == CTR_BACKOFF) && !c->pid &&
	    attempt >= c->attempt) { /* being re-adopted */
		adopted = true;
		um_timer_stop(c->timer);
		c->attempt = attempt;
		snprintf(c->id, sizeof(c->id), "%s", id);
		c->state = CTR_STARTING;
		c->start_seq = um_shim_num(m, "seq", 0);
	}
	if (attempt != c->attempt)
		return;
	if (!strcmp(state, "running") && c->state == CTR_STARTING)
		on_running(c, m, adopted);
	else if (!strcmp(state, "exited") && (c->state == CTR_STARTING || c->state == CTR_RUNNING))
		on_exited(c, m);
}

void ctr_probe_result(struct agent_ctr *c, enum probe_kind kind, bool ok, const char *why)
{
	static const char *const names[] = {"Startup", "Liveness", "Readiness"};

	if (c->state != CTR_RUNNING)
		return;
	if (!ok)
		pod_event(c->pod, "Warning", "Unhealthy", "%s probe failed: %s", names[kind], why);
	if (kind == PROBE_READINESS) {
		if (c->ready != ok) {
			c->ready = ok;
			pod_dirty(c->pod);
		}
		return;
	}
	if (!ok) {
		ctr_kill(c,
			 um_json_get_i64(um_json_get(c->spec, probe_fields[kind]),
					 "terminationGracePeriodSeconds", -1),
			 kind == PROBE_STARTUP ? "failed its startup probe"
					       : "failed its liveness probe");
		return;
	}
	if (kind == PROBE_STARTUP && !c->started) {
		c->started = true;
		c->ready = !c->probes[PROBE_READINESS];
		probe_stop(c->probes[PROBE_STARTUP]);
		if (c->probes[PROBE_LIVENESS])
			probe_start(c->probes[PROBE_LIVENESS]);
		if (c->probes[PROBE_READINESS])
			probe_start(c->probes[PROBE_READINESS]);
		pod_dirty(c->pod);
	}
}

/* ---- all of them ---- */

bool ctrs_any_alive(const struct agent_pod *p)
{
	for (size_t i = 0; i < p->n_ctrs; i++)
		if (p->ctrs[i].state == CTR_RUNNING || p->ctrs[i].state == CTR_STARTING)
			return true;
	return false;
}

static bool init_failed(const struct agent_pod *p)
{
	for (size_t i = 0; i < p->n_init; i++)
		if (p->ctrs[i].state == CTR_FINISHED && p->ctrs[i].last.exit_code)
			return true;
	return false;
}

bool ctrs_all_finished(const struct agent_pod *p)
{
	if (init_failed(p))
		return true;
	for (size_t i = 0; i < p->n_ctrs; i++)
		if (p->ctrs[i].state != CTR_FINISHED)
			return false;
	return true;
}

static bool startable(const struct agent_ctr *c)
{
	return c->state == CTR_WAITING && !um_timer_running(c->timer);
}

bool ctrs_advance(struct agent_pod *p)
{
	size_t i;

	if (um_timer_running(p->timer)) /* a clean-up failed a moment ago */
		return true;
	for (i = 0; i < p->n_ctrs; i++) {
		if (p->ctrs[i].state != CTR_EXITED)
			continue;
		pod_run_job(p, &p->ctrs[i], retire_work, retire_done);
		return true;
	}
	for (i = 0; i < p->n_init; i++) { /* one after the other, each to its end */
		struct agent_ctr *c = &p->ctrs[i];

		if (c->state == CTR_FINISHED && !c->last.exit_code)
			continue;
		if (c->state == CTR_FINISHED)
			return false;
		if (startable(c))
			begin_start(c);
		return true;
	}
	for (i = p->n_init; i < p->n_ctrs; i++) {
		struct agent_ctr *c = &p->ctrs[i];

		if (!startable(c))
			continue;
		begin_start(c);
		return true;
	}
	return false;
}
