/* A pod's status as Kubernetes shows it, from the agent's own state. Pure. */
#include "agent/internal.h"

#include <string.h>

#include "base/utf8.h"
#include "wire/loop.h"

static bool all_inits_done(const struct agent_pod *p)
{
	for (size_t i = 0; i < p->n_init; i++)
		if (p->ctrs[i].state != CTR_FINISHED || p->ctrs[i].last.exit_code)
			return false;
	return true;
}

const char *pod_phase(const struct agent_pod *p)
{
	bool any_started = false, all_done = true, any_failed = false;

	if (p->failed_for_good)
		return "Failed";
	for (size_t i = 0; i < p->n_ctrs; i++) {
		const struct agent_ctr *c = &p->ctrs[i];
		bool failed = c->state == CTR_FINISHED && c->last.exit_code;

		if (c->init) {
			if (failed)
				return "Failed";
			continue;
		}
		if (c->state == CTR_RUNNING || c->last.known || c->prior.known)
			any_started = true;
		all_done &= c->state == CTR_FINISHED;
		any_failed |= failed;
	}
	if (all_done && any_started)
		return any_failed ? "Failed" : "Succeeded";
	return any_started ? "Running" : "Pending";
}

static bool ctrs_ready(const struct agent_pod *p)
{
	for (size_t i = p->n_init; i < p->n_ctrs; i++)
		if (p->ctrs[i].state != CTR_RUNNING || !p->ctrs[i].ready)
			return false;
	return p->state == POD_RUN;
}

bool pod_ready(const struct agent_pod *p)
{
	return ctrs_ready(p);
}

/* Termination messages are a container's own bytes, and a message may have been cut within a
 * character: what is no UTF-8 would make the whole status unreadable. */
void status_set_text(struct um_arena *a, struct um_json *o, const char *key, const char *text)
{
	size_t len = strlen(text), at;
	char *copy = um_arena_strdup(a, text);

	for (at = 0; copy && at < len; at++) {
		at += um_utf8_valid(copy + at, len - at);
		if (at < len)
			copy[at] = '?';
	}
	um_json_set_str(a, o, key, copy ? copy : "");
}

static void set_time(struct um_arena *a, struct um_json *o, const char *key, int64_t wall_ns)
{
	char text[UM_TIME_LEN];

	if (!wall_ns)
		return;
	um_time_format(wall_ns, text);
	um_json_set_str(a, o, key, text);
}

static void set_id(struct um_arena *a, struct um_json *o, const char *id)
{
	if (*id)
		um_json_set_str(a, o, "containerID", um_arena_printf(a, "umiak://%s", id));
}

static void terminated(struct um_arena *a, struct um_json *state, const struct ctr_end *e)
{
	struct um_json *o = um_json_ensure_obj(a, state, "terminated");

	um_json_set_i64(a, o, "exitCode", e->exit_code);
	if (e->signal)
		um_json_set_i64(a, o, "signal", e->signal);
	um_json_set_str(a, o, "reason", e->reason);
	if (e->message && *e->message)
		status_set_text(a, o, "message", e->message);
	set_time(a, o, "startedAt", e->started_ns);
	set_time(a, o, "finishedAt", e->finished_ns);
	set_id(a, o, e->id);
}

static struct um_json *ctr_state(struct um_arena *a, const struct agent_ctr *c)
{
	struct um_json *state = um_json_new_obj(a), *o;

	if (c->state == CTR_RUNNING) {
		o = um_json_ensure_obj(a, state, "running");
		set_time(a, o, "startedAt", c->started_ns);
		return state;
	}
	if (c->last.known) {
		terminated(a, state, &c->last);
		return state;
	}
	o = um_json_ensure_obj(a, state, "waiting");
	um_json_set_str(a, o, "reason",
			*c->reason			    ? c->reason
			: all_inits_done(c->pod) || c->init ? "ContainerCreating"
							    : "PodInitializing");
	if (*c->message)
		status_set_text(a, o, "message", c->message);
	return state;
}

static struct um_json *ctr_status(struct um_arena *a, const struct agent_ctr *c)
{
	struct um_json *o = um_json_new_obj(a), *last;
	bool ready = c->init ? c->state == CTR_FINISHED && !c->last.exit_code
			     : c->state == CTR_RUNNING && c->ready;

	um_json_set_str(a, o, "name", c->name);
	um_json_set(a, o, "state", ctr_state(a, c));
	last = um_json_ensure_obj(a, o, "lastState");
	if (c->prior.known)
		terminated(a, last, &c->prior);
	um_json_set_bool(a, o, "ready", ready);
	um_json_set_i64(a, o, "restartCount", c->attempt);
	um_json_set_str(a, o, "image",
			*c->image ? c->image : um_json_get_str(c->spec, "image", ""));
	um_json_set_str(a, o, "imageID", c->image_id);
	if (c->state == CTR_RUNNING || c->last.known)
		set_id(a, o, c->id);
	um_json_set_bool(a, o, "started", c->state == CTR_RUNNING && c->started);
	return o;
}

/* A condition keeps its transition time while its status stays. */
static void condition(struct um_arena *a, struct um_json *list, const struct agent_pod *p,
		      const char *type, bool value, const char *reason, const char *message)
{
	struct um_json *o = um_json_append(list, um_json_new_obj(a));
	const char *status = value ? "True" : "False", *since = NULL;
	char now[UM_TIME_LEN];

	um_json_foreach (it, um_json_path(p->obj, "status.conditions")) {
		if (!strcmp(um_json_get_str(it, "type", ""), type) &&
		    !strcmp(um_json_get_str(it, "status", ""), status))
			since = um_json_get_str(it, "lastTransitionTime", NULL);
	}
	um_time_format(um_clock_wall(um_loop_clock(p->agent->loop)), now);
	um_json_set_str(a, o, "type", type);
	um_json_set_str(a, o, "status", status);
	um_json_set(a, o, "lastProbeTime", um_json_new_null(a));
	um_json_set_str(a, o, "lastTransitionTime", since ? since : now);
	if (!value && reason)
		um_json_set_str(a, o, "reason", reason);
	if (!value && message)
		um_json_set_str(a, o, "message", message);
}

static const char *names_of(struct um_arena *a, const struct agent_pod *p, bool init)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(16384);

	for (size_t i = 0; i < p->n_ctrs; i++) {
		const struct agent_ctr *c = &p->ctrs[i];
		bool fine = c->init ? c->state == CTR_FINISHED && !c->last.exit_code
				    : c->state == CTR_RUNNING && c->ready;

		if (c->init == init && !fine)
			um_buf_addf(&b, "%s%s", b.len ? " " : "", c->name);
	}
	return um_arena_printf(a, "containers with %s status: [%s]",
			       init ? "incomplete" : "unready", um_buf_str(&b));
}

static void conditions(struct um_arena *a, struct um_json *st, const struct agent_pod *p)
{
	struct um_json *list = um_json_set(a, st, "conditions", um_json_new_arr(a));
	const char *phase = pod_phase(p);
	bool done = !strcmp(phase, "Succeeded") || !strcmp(phase, "Failed");
	const char *reason = !strcmp(phase, "Succeeded") ? "PodCompleted"
			     : !strcmp(phase, "Failed")	 ? "PodFailed"
							 : "ContainersNotReady";
	const char *message = done ? NULL : names_of(a, p, false);

	condition(a, list, p, "PodReadyToStartContainers",
		  p->state > POD_SANDBOX && p->state < POD_CLEANUP, NULL, NULL);
	condition(a, list, p, "Initialized", all_inits_done(p), "ContainersNotInitialized",
		  names_of(a, p, true));
	condition(a, list, p, "Ready", ctrs_ready(p), reason, message);
	condition(a, list, p, "ContainersReady", ctrs_ready(p), reason, message);
	condition(a, list, p, "PodScheduled", true, NULL, NULL);
}

static void addresses(struct um_arena *a, struct um_json *st, const struct agent_pod *p)
{
	struct um_json *list, *o;

	if (p->agent->opt.host_ip) {
		um_json_set_str(a, st, "hostIP", p->agent->opt.host_ip);
		list = um_json_set(a, st, "hostIPs", um_json_new_arr(a));
		o = um_json_append(list, um_json_new_obj(a));
		um_json_set_str(a, o, "ip", p->agent->opt.host_ip);
	}
	if (!p->ip[0])
		return;
	um_json_set_str(a, st, "podIP", p->ip);
	list = um_json_set(a, st, "podIPs", um_json_new_arr(a));
	o = um_json_append(list, um_json_new_obj(a));
	um_json_set_str(a, o, "ip", p->ip);
}

struct um_json *pod_status(const struct agent_pod *p, struct um_arena *a)
{
	struct um_json *st = um_json_new_obj(a), *list;

	um_json_set_str(a, st, "phase", pod_phase(p));
	conditions(a, st, p);
	if (*p->reason)
		um_json_set_str(a, st, "reason", p->reason);
	if (*p->message)
		status_set_text(a, st, "message", p->message);
	addresses(a, st, p);
	set_time(a, st, "startTime", p->started_wall_ns);
	if (p->n_init) {
		list = um_json_set(a, st, "initContainerStatuses", um_json_new_arr(a));
		for (size_t i = 0; i < p->n_init; i++)
			um_json_append(list, ctr_status(a, &p->ctrs[i]));
	}
	list = um_json_set(a, st, "containerStatuses", um_json_new_arr(a));
	for (size_t i = p->n_init; i < p->n_ctrs; i++)
		um_json_append(list, ctr_status(a, &p->ctrs[i]));
	um_json_set_str(a, st, "qosClass", pod_qos(p->obj));
	return um_arena_failed(a) ? NULL : st;
}
