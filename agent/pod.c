/* A pod's state machine. Level triggered: pod_kick() asks for a look, advance() compares what is
 * with what should be and takes one step; whatever ends a step kicks again. */
#include "agent/internal.h"
#include "agent/links.h"
#include "agent/proxy.h"
#include "agent/refresh.h"
#include "agent/refs.h"
#include "agent/sysctl.h"

#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "wire/loop.h"

#define RETRY_FIRST_NS (1 * UM_NSEC_PER_SEC)
#define RETRY_MOST_NS (60 * UM_NSEC_PER_SEC)
#define DEFAULT_GRACE_NS (30 * UM_NSEC_PER_SEC)
/* At most so long the service proxy may take to send connections elsewhere, before a pod that is to
 * end is told; and so long those that came before it did are left to be accepted. */
#define WITHDRAW_LIMIT_NS (2 * UM_NSEC_PER_SEC)
#define LINGER_NS (100 * UM_NSEC_PER_MSEC)
#define AFTER_HOOK_NS (2 * UM_NSEC_PER_SEC)
#define KILL_RETRY_NS (2 * UM_NSEC_PER_SEC)
#define KILLS_MAX 5 /* then it is the shim that does not say what became of them */

static const char *const state_names[POD_N_STATES] = {
	"new", "sandbox", "volumes", "run", "stopping", "cleanup", "done",
};

/* Which states may follow which. */
static const unsigned allowed[POD_N_STATES] = {
	[POD_NEW] = 1u << POD_SANDBOX | 1u << POD_CLEANUP | 1u << POD_VOLUMES,
	[POD_SANDBOX] = 1u << POD_VOLUMES | 1u << POD_NEW | 1u << POD_CLEANUP,
	[POD_VOLUMES] = 1u << POD_RUN | 1u << POD_STOPPING | 1u << POD_CLEANUP,
	[POD_RUN] = 1u << POD_STOPPING | 1u << POD_CLEANUP,
	[POD_STOPPING] = 1u << POD_CLEANUP,
	[POD_CLEANUP] = 1u << POD_DONE | 1u << POD_NEW,
	[POD_DONE] = 0,
};

void pod_set_state(struct agent_pod *p, enum pod_state to)
{
	if (!(allowed[p->state] & 1u << to)) { /* a bug: say so and go on from where we are */
		um_log(UM_LOG_ERROR, "pod state refused", UM_LOG_STR("pod", p->name),
		       UM_LOG_STR("from", state_names[p->state]),
		       UM_LOG_STR("to", state_names[to]));
		return;
	}
	um_log(UM_LOG_DEBUG, "pod state", UM_LOG_STR("namespace", p->ns),
	       UM_LOG_STR("pod", p->name), UM_LOG_STR("from", state_names[p->state]),
	       UM_LOG_STR("to", state_names[to]));
	p->state = to;
}

bool pod_host_network(const struct agent_pod *p)
{
	return um_json_get_bool(p->obj, "spec.hostNetwork", false);
}

void pod_event(struct agent_pod *p, const char *type, const char *reason, const char *fmt, ...)
{
	char text[700];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	um_log(!strcmp(type, "Warning") ? UM_LOG_WARN : UM_LOG_INFO, "pod event",
	       UM_LOG_STR("namespace", p->ns), UM_LOG_STR("pod", p->name),
	       UM_LOG_STR("reason", reason), UM_LOG_STR("message", text));
	if (p->agent->src.event && !p->removed)
		p->agent->src.event(p->agent->src.ctx, p->ns, p->name, p->uid, type, reason, text);
}

/* ---- steps ---- */

static void job_work(void *arg)
{
	struct agent_job *j = arg;

	j->work(j);
}

static void job_done(void *arg)
{
	struct agent_job *j = arg;
	struct agent_pod *p = j->pod;

	p->job = NULL;
	j->done(j);
	free(j->message);
	free(j);
	pod_kick(p);
}

void pod_run_job(struct agent_pod *p, struct agent_ctr *c, void (*work)(struct agent_job *j),
		 void (*done)(struct agent_job *j))
{
	struct agent_job *j = calloc(1, sizeof(*j));

	if (j) {
		j->pod = p;
		j->ctr = c;
		j->work = work;
		j->done = done;
		j->ns_net = j->ns_ipc = j->ns_uts = j->ns_pid = -1;
		p->job = j;
		if (um_work_submit(p->agent->loop, job_work, job_done, j) == 0)
			return;
		p->job = NULL;
		free(j);
	}
	um_timer_start(p->timer, RETRY_FIRST_NS); /* out of memory: later */
}

static void retry_later(struct agent_pod *p)
{
	p->retry_ns = p->retry_ns ? p->retry_ns * 2 : RETRY_FIRST_NS;
	if (p->retry_ns > RETRY_MOST_NS)
		p->retry_ns = RETRY_MOST_NS;
	um_timer_start(p->timer, p->retry_ns);
}

static void on_shim_reaped(void *arg, um_unused pid_t pid, um_unused int status)
{
	struct agent_pod *p = arg;

	um_child_free(TAKE_PTR(p->shim_child));
}

/* What users of Kubernetes expect here, and do not get. */
static void say_what_is_missing(struct agent_pod *p)
{
	const struct um_json *spec = um_json_get(p->obj, "spec");
	const char *dns = um_json_get_str(spec, "dnsPolicy", "ClusterFirst");
	_cleanup_buf_ struct um_buf resolv = UM_BUF_INIT(1 << 16);

	if (!pod_resolv(p, &resolv))
		pod_event(p, "Warning", "DNSConfigForming",
			  "resolv.conf has room for 3 nameservers, 32 search domains and 2048 "
			  "characters of them: the others are left out");
	if (!p->agent->dns && (!strcmp(dns, "ClusterFirstWithHostNet") ||
			       (!strcmp(dns, "ClusterFirst") && !pod_host_network(p))))
		pod_event(p, "Warning", "MissingClusterDNS",
			  "this cluster has no DNS of its own: dnsPolicy %s acts as Default", dns);
}

static void sandbox_done(struct agent_job *j)
{
	struct agent_pod *p = j->pod;

	if (j->result < 0) {
		pod_event(p, "Warning", "FailedCreatePodSandBox", "%s", j->err.msg);
		snprintf(p->message, sizeof(p->message), "%s", j->err.msg);
		pod_set_state(p, POD_NEW);
		retry_later(p);
		return;
	}
	p->retry_ns = 0;
	p->message[0] = '\0';
	p->shim_pid = j->shim_pid;
	p->shim_child = um_child_new(p->agent->loop, j->shim_pid, on_shim_reaped, p);
	p->ns_net = j->ns_net;
	p->ns_ipc = j->ns_ipc;
	p->ns_uts = j->ns_uts;
	p->ns_pid = j->ns_pid;
	snprintf(p->ip, sizeof(p->ip), "%s",
		 pod_host_network(p) && p->agent->opt.host_ip ? p->agent->opt.host_ip
							      : j->net.addr_text);
	{
		char path[4096];

		if (pod_run_path(p, path, sizeof(path), "%s", UM_SHIM_SOCKET) == 0)
			p->shim = shim_connect(p, path);
	}
	say_what_is_missing(p);
	pod_set_state(p, POD_VOLUMES);
	if (!p->shim || shim_hello(p->shim) < 0) {
		pod_shim_lost(p, "cannot be reached");
		return;
	}
	pod_dirty(p);
}

static void volumes_done(struct agent_job *j)
{
	struct agent_pod *p = j->pod;

	if (p->state != POD_VOLUMES)
		return; /* the shim was lost meanwhile */
	if (j->result < 0) {
		pod_event(p, "Warning", "FailedMount", "%s", j->err.msg);
		snprintf(p->message, sizeof(p->message), "%s", j->err.msg);
		retry_later(p);
		return;
	}
	p->retry_ns = 0;
	p->message[0] = '\0';
	pod_set_state(p, POD_RUN);
	refresh_arm(p->agent);
	pod_dirty(p);
}

static void cleanup_done(struct agent_job *j)
{
	struct agent_pod *p = j->pod;

	if (j->result < 0) {
		um_log(UM_LOG_ERROR, "clean up pod", UM_LOG_STR("pod", p->name),
		       UM_LOG_ERR(&j->err));
		retry_later(p);
		return;
	}
	p->retry_ns = 0;
	p->shim_pid = 0;
	if (p->agent->proxy && *p->ip)
		proxy_restore(p->agent->proxy, p->ip);
	p->ip[0] = '\0';
	for (size_t i = 0; i < p->n_ctrs; i++)
		if (p->ctrs[i].state == CTR_EXITED || p->ctrs[i].state == CTR_BACKOFF)
			p->ctrs[i].state = p->rebuild ? CTR_WAITING : CTR_FINISHED;
	pod_set_state(p, p->rebuild && !p->ending ? POD_NEW : POD_DONE);
	p->rebuild = false;
	if (p->state == POD_DONE && !p->ending) {
		struct um_error err = UM_ERROR_INIT;

		if (adopt_save(p, &err) < 0)
			um_log(UM_LOG_ERROR, "save pod", UM_LOG_ERR(&err));
	}
	pod_dirty(p);
}

static void kill_work(struct agent_job *j)
{
	char path[512];
	struct um_cgroup *cg = NULL;

	j->result = pod_cgroup_path(j->pod, path, sizeof(path));
	if (j->result == 0)
		j->result = um_cgroup_open(j->pod->agent->cgroups, path, &cg, &j->err);
	if (j->result == 0)
		j->result = um_cgroup_kill(cg, &j->err);
	um_cgroup_free(cg);
}

static void kill_done(struct agent_job *j)
{
	if (j->result < 0 && j->result != -ENOENT)
		um_log(UM_LOG_ERROR, "kill pod", UM_LOG_STR("pod", j->pod->name),
		       UM_LOG_ERR(&j->err));
	um_timer_start(j->pod->timer, KILL_RETRY_NS);
}

/* ---- one look ---- */

/* It asks for what this node does not give. */
static bool has_failed(struct agent_pod *p)
{
	const char *name = sysctl_forbidden(p->obj);

	if (!name)
		return false;
	pod_fail(p);
	snprintf(p->reason, sizeof(p->reason), "SysctlForbidden");
	snprintf(p->message, sizeof(p->message), "forbidden sysctl: \"%.253s\" not allowlisted",
		 name);
	pod_event(p, "Warning", p->reason, "%s", p->message);
	pod_dirty(p);
	return true;
}

static void begin_sandbox(struct agent_pod *p)
{
	struct um_error err = UM_ERROR_INIT;

	if (um_timer_running(p->timer) || has_failed(p))
		return;
	if (adopt_save(p, &err) < 0) {
		snprintf(p->message, sizeof(p->message), "%s", err.msg);
		pod_event(p, "Warning", "FailedCreatePodSandBox", "%s", err.msg);
		retry_later(p);
		return;
	}
	UM_FAULT("agent.pod-saved");
	pod_set_state(p, POD_SANDBOX);
	pod_run_job(p, NULL, sandbox_work, sandbox_done);
	refs_fetch(p); /* they come while it is made */
}

static void advance_volumes(struct agent_pod *p)
{
	if (p->refs_wanted || um_timer_running(p->timer))
		return;
	if (p->refs_failed) {
		p->refs_failed = false;
		refs_fetch(p); /* the timer has run out: ask again */
		return;
	}
	if (!links_ready(p))
		return;
	if (p->news)
		(void)refs_take_news(p);
	pod_run_job(p, NULL, volumes_work, volumes_done);
}

static void tell_all(struct agent_pod *p)
{
	for (size_t i = 0; i < p->n_ctrs; i++)
		if (p->ctrs[i].state == CTR_RUNNING && p->shim)
			ctr_tell_end(&p->ctrs[i]);
}

/* No new connection comes any more. Those that have just come are answered before the end is told.
 */
static void on_withdrawn(void *arg)
{
	struct agent_pod *p = arg;

	if (!p->term_sent && um_timer_running(p->timer))
		um_timer_start(p->timer, LINGER_NS);
}

static void advance_stopping(struct agent_pod *p)
{
	if (!ctrs_any_alive(p)) {
		um_timer_stop(p->timer);
		pod_set_state(p, POD_CLEANUP);
		if (p->shim)
			(void)!shim_quit(p->shim);
		shim_free(TAKE_PTR(p->shim));
		pod_run_job(p, NULL, cleanup_work, cleanup_done);
		return;
	}
	if (!p->withdrawn) {
		p->withdrawn = true;
		if (p->agent->proxy && p->grace_ns > 0 && !pod_host_network(p) &&
		    proxy_withdraw(p->agent->proxy, p->ip, on_withdrawn, p))
			um_timer_start(p->timer, WITHDRAW_LIMIT_NS);
	}
	if (!p->term_sent && p->grace_ns > 0) {
		if (um_timer_running(p->timer))
			return; /* connections are still sent here */
		tell_all(p);
		p->term_sent = true;
		um_timer_start(p->timer, p->grace_ns);
		return;
	}
	if (um_timer_running(p->timer))
		return;
	if (p->grace_ns > 0 && ctrs_cut_hooks(p)) { /* who has not been told yet has this long */
		um_timer_start(p->timer, AFTER_HOOK_NS);
		return;
	}
	if (p->kills++ >= KILLS_MAX && p->shim)
		pod_shim_lost(p, "does not tell of its containers' ends");
	else
		pod_run_job(p, NULL, kill_work, kill_done);
}

static void begin_stopping(struct agent_pod *p)
{
	um_timer_stop(p->timer);
	p->term_sent = p->withdrawn = false;
	p->kills = 0;
	for (size_t i = 0; i < p->n_ctrs; i++)
		if (p->ctrs[i].state == CTR_WAITING || p->ctrs[i].state == CTR_BACKOFF)
			um_timer_stop(p->ctrs[i].timer);
	pod_set_state(p, POD_STOPPING);
	advance_stopping(p);
}

static void finish(struct agent_pod *p)
{
	struct um_agent *a = p->agent;

	adopt_forget(p);
	log_gc_note(p);
	UM_FAULT("agent.pod-gone");
	if (a->src.gone && !p->removed)
		a->src.gone(a->src.ctx, p->ns, p->name, p->uid);
	pod_free(p);
}

static void take_update(struct agent_pod *p);

static void advance(struct agent_pod *p)
{
	if (p->job || p->agent->closing)
		return;
	if (p->next_obj)
		take_update(p);
	switch (p->state) {
	case POD_NEW:
		if (p->ending || p->failed_for_good) {
			um_timer_stop(p->timer);
			pod_set_state(p, POD_CLEANUP);
			pod_run_job(p, NULL, cleanup_work, cleanup_done);
		} else {
			begin_sandbox(p);
		}
		break;
	case POD_VOLUMES:
		if (p->ending || p->failed_for_good)
			begin_stopping(p);
		else
			advance_volumes(p);
		break;
	case POD_RUN:
		if (p->shim && !shim_synced(p->shim))
			break; /* its answer kicks */
		if (p->ending || p->failed_for_good)
			begin_stopping(p);
		else if (!refs_advance(p) && !ctrs_advance(p) && ctrs_all_finished(p))
			begin_stopping(p);
		break;
	case POD_STOPPING:
		advance_stopping(p);
		break;
	case POD_CLEANUP:
		if (!um_timer_running(p->timer))
			pod_run_job(p, NULL, cleanup_work, cleanup_done);
		break;
	case POD_DONE:
		if (p->ending)
			finish(p);
		break;
	case POD_SANDBOX: /* its job leads elsewhere; it could not be started */
		if (!um_timer_running(p->timer))
			pod_run_job(p, NULL, sandbox_work, sandbox_done);
		break;
	case POD_N_STATES:
		break;
	}
}

static void tell_status(struct agent_pod *p)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	struct um_json *st = a ? pod_status(p, a) : NULL;

	p->status_dirty = false;
	if (!st || um_json_write(&b, st) < 0)
		return;
	if (p->last_status && !strcmp(p->last_status, b.data))
		return;
	free(p->last_status);
	p->last_status = um_buf_steal(&b, NULL);
	if (p->agent->src.status && !p->removed)
		p->agent->src.status(p->agent->src.ctx, p->ns, p->name, p->uid, st);
}

static void on_kick(void *arg)
{
	struct agent_pod *p = arg;

	p->advance_deferred = false;
	if (p->dead) {
		free(p);
		return;
	}
	if (p->status_dirty)
		tell_status(p);
	advance(p); /* may free the pod */
}

void pod_kick(struct agent_pod *p)
{
	if (p->advance_deferred || p->dead)
		return;
	if (um_loop_defer(p->agent->loop, on_kick, p) == 0)
		p->advance_deferred = true;
	else
		um_timer_start(p->timer, RETRY_FIRST_NS);
}

void pod_dirty(struct agent_pod *p)
{
	p->status_dirty = true;
	pod_kick(p);
}

static void on_timer(void *arg)
{
	pod_kick(arg);
}

void pod_fail(struct agent_pod *p)
{
	p->failed_for_good = true;
	p->grace_ns = DEFAULT_GRACE_NS;
}

static void on_deadline(void *arg)
{
	struct agent_pod *p = arg;

	if (p->state >= POD_CLEANUP ? !p->rebuild : ctrs_all_finished(p))
		return; /* it has ended by itself, in time */
	pod_fail(p);
	snprintf(p->reason, sizeof(p->reason), "DeadlineExceeded");
	snprintf(p->message, sizeof(p->message),
		 "Pod was active on the node longer than the specified deadline");
	adopt_save_again(p);
	pod_dirty(p);
}

/* Across restarts of the agent only the wall clock counts on: where it went back the pod gets more
 * time, but never more than the whole. */
void pod_arm_deadline(struct agent_pod *p)
{
	int64_t all = um_json_get_i64(p->obj, "spec.activeDeadlineSeconds", 0);
	int64_t spent = um_clock_wall(um_loop_clock(p->agent->loop)) - p->started_wall_ns;

	um_timer_stop(p->deadline);
	if (all <= 0 || all >= INT64_MAX / UM_NSEC_PER_SEC || p->failed_for_good)
		return;
	all *= UM_NSEC_PER_SEC;
	um_timer_start(p->deadline, spent < 0 ? all : spent < all ? all - spent : 0);
}

void pod_shim_lost(struct agent_pod *p, const char *how)
{
	bool unknown = p->shim && !shim_synced(p->shim);

	shim_free(TAKE_PTR(p->shim));
	if (p->state == POD_CLEANUP || p->state == POD_DONE || p->state == POD_NEW)
		return;
	pod_event(p, "Warning", "SandboxChanged", "the pod's shim %s: its containers are ended%s",
		  how, p->ending || p->failed_for_good ? "" : " and started anew");
	ctrs_lost(p, unknown);
	um_timer_stop(p->timer);
	p->rebuild = !p->ending && !p->failed_for_good && !ctrs_all_finished(p);
	if (p->state != POD_SANDBOX)
		pod_set_state(p, POD_CLEANUP);
	pod_dirty(p);
}

void pod_end(struct agent_pod *p, int64_t grace_ns)
{
	if (p->ending && grace_ns >= p->grace_ns)
		return;
	if (p->term_sent) /* a shorter grace: begin to count anew */
		um_timer_start(p->timer, grace_ns);
	p->ending = true;
	p->grace_ns = grace_ns;
	pod_kick(p);
}

struct agent_ctr *pod_find_ctr(struct agent_pod *p, const char *name)
{
	for (size_t i = 0; name && i < p->n_ctrs; i++)
		if (!strcmp(p->ctrs[i].name, name))
			return &p->ctrs[i];
	return NULL;
}

/* ---- its object ---- */

static const struct um_json *find_named(const struct um_json *list, const char *name)
{
	um_json_foreach (it, list) {
		if (!strcmp(um_json_get_str(it, "name", ""), name))
			return it;
	}
	return NULL;
}

static const struct um_json *ctr_spec(const struct um_json *obj, bool init, const char *name)
{
	return find_named(um_json_path(obj, init ? "spec.initContainers" : "spec.containers"),
			  name);
}

/* The new form differs in what may change: images, labels, annotations, deadline, deletion. */
static void take_update(struct agent_pod *p)
{
	const struct um_json *was = um_json_get(p->obj, "spec");
	const struct um_json *meta = um_json_get(p->obj, "metadata");
	struct um_arena *old = p->arena;
	bool changed = !um_json_equal(was, um_json_get(p->next_obj, "spec"));

	for (size_t i = 0; i < p->n_ctrs; i++) {
		struct agent_ctr *c = &p->ctrs[i];
		const struct um_json *spec = ctr_spec(p->next_obj, c->init, c->name);

		if (!spec) { /* cannot be: containers do not change; keep the old form */
			um_arena_free(TAKE_PTR(p->next_arena));
			p->next_obj = NULL;
			return;
		}
	}
	for (size_t i = 0; i < p->n_ctrs; i++) {
		struct agent_ctr *c = &p->ctrs[i];
		const struct um_json *spec = ctr_spec(p->next_obj, c->init, c->name);
		bool other = strcmp(um_json_get_str(spec, "image", ""),
				    um_json_get_str(c->spec, "image", "")) != 0;

		c->spec = spec;
		c->name = um_json_get_str(spec, "name", "");
		if (other && c->state == CTR_RUNNING && !c->init)
			ctr_kill(c, -1, "its image has changed");
		if (other && c->state == CTR_WAITING)
			um_timer_stop(c->timer);
	}
	p->arena = TAKE_PTR(p->next_arena);
	p->obj = TAKE_PTR(p->next_obj);
	refs_note_metadata(p, meta);
	um_arena_free(old);
	if (!changed) /* most are our own statuses coming back */
		return;
	pod_arm_deadline(p);
	if (p->state != POD_NEW) /* it is saved before the sandbox is made */
		adopt_save_again(p);
}

/* While this node could not be reached, the server said so of its pods. */
static bool said_by_others(const struct um_json *pod)
{
	um_json_foreach (c, um_json_path(pod, "status.conditions"))
		if (!strcmp(um_json_get_str(c, "type", ""), "Ready"))
			return !strcmp(um_json_get_str(c, "reason", ""), "NodeNotReady");
	return false;
}

void pod_update(struct agent_pod *p, struct um_arena *arena, struct um_json *obj)
{
	if (said_by_others(obj)) { /* what is known here is told once more */
		free(TAKE_PTR(p->last_status));
		p->status_dirty = true;
	}
	um_arena_free(p->next_arena);
	p->next_arena = arena;
	p->next_obj = obj;
	pod_kick(p);
}

static int make_ctrs(struct agent_pod *p)
{
	const struct um_json *inits = um_json_path(p->obj, "spec.initContainers");
	const struct um_json *ctrs = um_json_path(p->obj, "spec.containers");
	size_t n_init = inits ? inits->len : 0, n = ctrs ? ctrs->len : 0;

	p->ctrs = calloc(n_init + n + 1, sizeof(*p->ctrs));
	if (!p->ctrs)
		return -ENOMEM;
	um_json_foreach (it, inits)
		ctr_init(&p->ctrs[p->n_ctrs++], p, it, true);
	p->n_init = p->n_ctrs;
	um_json_foreach (it, ctrs)
		ctr_init(&p->ctrs[p->n_ctrs++], p, it, false);
	for (size_t i = 0; i < p->n_ctrs; i++)
		if (!p->ctrs[i].timer)
			return -ENOMEM;
	return 0;
}

struct agent_pod *pod_new(struct um_agent *a, const struct um_json *obj, struct um_error *err)
{
	struct agent_pod *p = calloc(1, sizeof(*p));

	if (!p)
		goto no_memory;
	p->agent = a;
	p->ns_net = p->ns_ipc = p->ns_uts = p->ns_pid = -1;
	p->grace_ns = INT64_MAX;
	snprintf(p->uid, sizeof(p->uid), "%s", um_json_get_str(obj, "metadata.uid", ""));
	p->ns = strdup(um_json_get_str(obj, "metadata.namespace", "default"));
	p->name = strdup(um_json_get_str(obj, "metadata.name", ""));
	p->arena = um_arena_new(4 << 20);
	p->obj = p->arena ? um_json_copy(p->arena, obj) : NULL;
	p->timer = um_timer_new(a->loop, on_timer, p);
	p->deadline = um_timer_new(a->loop, on_deadline, p);
	if (!p->ns || !p->name || !p->obj || !p->timer || !p->deadline || make_ctrs(p) < 0)
		goto no_memory;
	HASH_ADD_STR(a->pods, uid, p);
	if (um_time_parse(um_json_get_str(obj, "status.startTime", ""), &p->started_wall_ns) < 0)
		p->started_wall_ns = um_clock_wall(um_loop_clock(a->loop));
	pod_arm_deadline(p);
	return p;
no_memory:
	um_error_set(err, -ENOMEM, "pod %s: out of memory",
		     um_json_get_str(obj, "metadata.name", ""));
	if (p)
		pod_free(p);
	return NULL;
}

void pod_free(struct agent_pod *p)
{
	if (p->hh.tbl)
		HASH_DEL(p->agent->pods, p);
	if (p->agent->proxy && *p->ip)
		proxy_restore(p->agent->proxy, p->ip);
	for (size_t i = 0; i < p->n_ctrs; i++)
		ctr_release(&p->ctrs[i]);
	free(p->ctrs);
	shim_free(p->shim);
	um_child_free(p->shim_child);
	um_timer_free(p->timer);
	um_timer_free(p->deadline);
	um_arena_free(p->arena);
	um_arena_free(p->next_arena);
	links_forget(p);
	refs_release(p);
	free(p->last_status);
	free(p->ns);
	free(p->name);
	p->dead = true;
	if (!p->advance_deferred)
		free(p);
}
