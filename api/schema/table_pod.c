/* The row of a pod: what STATUS says follows kubectl's printer. */
#include <string.h>

#include "api/schema/table.h"
#include "base/clock.h"

const char *const um_scolumns_pod[] = {
	"Name|string|0|The pod's name.",
	"Ready|string|0|Containers that are ready, of all.",
	"Status|string|0|Where the pod is in its life, or what is wrong.",
	"Restarts|string|0|How often containers were started again, and when last.",
	"Age|string|0|Time since the pod was made.",
	"IP|string|1|Address of the pod.",
	"Node|string|1|Where it runs.",
	"Nominated Node|string|1|Where room is being made for it.",
	"Readiness Gates|string|1|Further conditions that hold, of all.",
	NULL};

struct summary {
	struct um_arena *a;
	const char *reason;
	int64_t ready, total, restarts, last_restart_ns; /* last: 0 for never */
};

static bool condition_true(const struct um_json *obj, const char *type)
{
	um_json_foreach (it, um_json_path(obj, "status.conditions"))
		if (um_json_streq(um_json_get(it, "type"), type))
			return um_json_streq(um_json_get(it, "status"), "True");
	return false;
}

static bool always_restarts(const struct um_json *obj, const char *name)
{
	um_json_foreach (it, um_json_path(obj, "spec.initContainers"))
		if (um_json_streq(um_json_get(it, "name"), name))
			return um_json_streq(um_json_get(it, "restartPolicy"), "Always");
	return false;
}

static void count_restarts(struct summary *s, const struct um_json *status)
{
	const char *at = um_json_get_str(status, "lastState.terminated.finishedAt", NULL);
	int64_t ns;

	s->restarts += um_json_get_i64(status, "restartCount", 0);
	if (at && !um_time_parse(at, &ns) && ns > s->last_restart_ns)
		s->last_restart_ns = ns;
}

/* "Error", "Signal:9" or "ExitCode:1", with a prefix. */
static const char *end_reason(struct summary *s, const struct um_json *terminated,
			      const char *prefix)
{
	const char *reason = um_json_get_str(terminated, "reason", "");
	int64_t signal = um_json_get_i64(terminated, "signal", 0);

	if (*reason)
		return um_arena_printf(s->a, "%s%s", prefix, reason);
	if (signal)
		return um_arena_printf(s->a, "%sSignal:%lld", prefix, (long long)signal);
	return um_arena_printf(s->a, "%sExitCode:%lld", prefix,
			       (long long)um_json_get_i64(terminated, "exitCode", 0));
}

/* True while init containers are at work; then the reason is about them. */
static bool init_reason(struct summary *s, const struct um_json *obj, struct summary *sidecars)
{
	const struct um_json *all = um_json_path(obj, "spec.initContainers");
	unsigned i = 0;

	um_json_foreach (it, um_json_path(obj, "status.initContainerStatuses")) {
		const struct um_json *ended = um_json_path(it, "state.terminated");
		const char *waiting = um_json_get_str(it, "state.waiting.reason", "");
		bool sidecar = always_restarts(obj, um_json_get_str(it, "name", ""));

		count_restarts(s, it);
		if (sidecar)
			count_restarts(sidecars, it);
		i++;
		if (ended && !um_json_get_i64(ended, "exitCode", 0))
			continue;
		if (sidecar && um_json_get_bool(it, "started", false)) {
			s->ready += um_json_get_bool(it, "ready", false);
			continue;
		}
		if (ended)
			s->reason = end_reason(s, ended, "Init:");
		else if (*waiting && strcmp(waiting, "PodInitializing"))
			s->reason = um_arena_printf(s->a, "Init:%s", waiting);
		else
			s->reason = um_arena_printf(s->a, "Init:%u/%u", i - 1, all ? all->len : 0);
		return true;
	}
	return false;
}

/* The first container that has something to say wins, so the last is looked at first. */
static void container_reason(struct summary *s, const struct um_json *obj)
{
	const char *found = NULL;
	bool running = false;

	um_json_foreach (it, um_json_path(obj, "status.containerStatuses")) {
		const struct um_json *ended = um_json_path(it, "state.terminated");
		const char *waiting = um_json_get_str(it, "state.waiting.reason", "");
		const char *says = NULL;

		count_restarts(s, it);
		if (*waiting) {
			says = waiting;
		} else if (ended) {
			says = end_reason(s, ended, "");
		} else if (um_json_get_bool(it, "ready", false) &&
			   um_json_path(it, "state.running")) {
			running = true;
			s->ready++;
		}
		if (!found)
			found = says;
	}
	if (found)
		s->reason = found;
	if (running && s->reason && !strcmp(s->reason, "Completed"))
		s->reason = condition_true(obj, "Ready") ? "Running" : "NotReady";
}

static void summarise(struct summary *s, const struct um_json *obj)
{
	const char *phase = um_json_get_str(obj, "status.phase", "");
	const char *reason = um_json_get_str(obj, "status.reason", "");
	const struct um_json *containers = um_json_path(obj, "spec.containers");
	struct summary sidecars = {.a = s->a};
	bool initializing, deleted = um_json_path(obj, "metadata.deletionTimestamp") != NULL;

	s->reason = *reason ? reason : phase;
	s->total = containers ? containers->len : 0;
	um_json_foreach (it, um_json_path(obj, "status.conditions"))
		if (um_json_streq(um_json_get(it, "type"), "PodScheduled") &&
		    um_json_streq(um_json_get(it, "reason"), "SchedulingGated"))
			s->reason = "SchedulingGated";
	um_json_foreach (it, um_json_path(obj, "spec.initContainers"))
		s->total += um_json_streq(um_json_get(it, "restartPolicy"), "Always");
	initializing = init_reason(s, obj, &sidecars);
	if (!initializing || condition_true(obj, "Initialized")) {
		s->restarts = sidecars.restarts;
		s->last_restart_ns = sidecars.last_restart_ns;
		container_reason(s, obj);
	}
	if (deleted && !strcmp(reason, "NodeLost"))
		s->reason = "Unknown";
	else if (deleted && strcmp(phase, "Failed") && strcmp(phase, "Succeeded"))
		s->reason = "Terminating";
}

static const char *or_none(const char *s)
{
	return *s ? s : "<none>";
}

static void gates_cell(struct um_json *row, const struct um_json *obj, struct um_arena *a)
{
	const struct um_json *gates = um_json_path(obj, "spec.readinessGates");
	unsigned hold = 0;

	if (!um_json_first(gates)) {
		um_scell(row, a, "<none>");
		return;
	}
	um_json_foreach (it, gates)
		hold += condition_true(obj, um_json_get_str(it, "conditionType", ""));
	um_scell(row, a, um_arena_printf(a, "%u/%u", hold, gates->len));
}

void um_scells_pod(struct um_json *row, const struct um_json *obj, int64_t now_ns,
		   struct um_arena *a)
{
	struct summary s = {.a = a};
	char ago[UM_DURATION_LEN];

	summarise(&s, obj);
	um_scell(row, a, um_json_get_str(obj, "metadata.name", ""));
	um_scell(row, a, um_arena_printf(a, "%lld/%lld", (long long)s.ready, (long long)s.total));
	um_scell(row, a, s.reason);
	um_sduration(now_ns - s.last_restart_ns, ago);
	if (s.restarts && s.last_restart_ns)
		um_scell(row, a, um_arena_printf(a, "%lld (%s ago)", (long long)s.restarts, ago));
	else
		um_scell(row, a, um_arena_printf(a, "%lld", (long long)s.restarts));
	um_scell_age(row, a, um_json_get_str(obj, "metadata.creationTimestamp", NULL), now_ns);
	um_scell(row, a,
		 or_none(um_json_get_str(obj, "status.podIPs.0.ip",
					 um_json_get_str(obj, "status.podIP", ""))));
	um_scell(row, a, or_none(um_json_get_str(obj, "spec.nodeName", "")));
	um_scell(row, a, or_none(um_json_get_str(obj, "status.nominatedNodeName", "")));
	gates_cell(row, obj, a);
}
