/* events: statistics once or at an interval, and notices of OOM kills. */
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/io.h"
#include "cgroups/report.h"
#include "runtime/state.h"

struct watch {
	struct um_runtime_state state;
	struct um_cgroups *host;
	struct um_cgroup *cg;
	struct um_cgroup_oom oom;
	int pidfd;
	uint64_t kills; /* seen so far */
};

static void watch_release(struct watch *w)
{
	um_cgroup_oom_close(&w->oom);
	um_close(w->pidfd);
	if (w->cg)
		um_cgroup_free(w->cg);
	if (w->host)
		um_cgroups_free(w->host);
}

static int watch_open(const struct um_runtime *rt, struct um_arena *a, const char *id,
		      struct watch *w, struct um_error *err)
{
	int r = um_runtime_state(rt, a, id, &w->state, err);

	if (r < 0)
		return r;
	w->pidfd = um_state_pidfd(&w->state);
	if (w->pidfd < 0)
		return um_error_set(err, -ESRCH, "container not running");
	if (!w->state.cgroup)
		return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
					   "container %s has no cgroup", id);
	r = um_cgroups_open(&w->host, err);
	return r < 0 ? r : um_cgroup_open(w->host, w->state.cgroup, &w->cg, err);
}

int um_runtime_stats(const struct um_runtime *rt, struct um_arena *a, const char *id,
		     struct um_json **ret, struct um_error *err)
{
	_cleanup_(watch_release) struct watch w = {.oom = {-1, -1, false}, .pidfd = -1};
	int r = watch_open(rt, a, id, &w, err);

	return r < 0 ? r : um_cgroup_report(w.cg, a, ret, err);
}

/* A host without the memory controller has no kills to tell of: said, and no reason to stop. */
static int watch_oom(const struct um_runtime *rt, struct watch *w, struct um_error *err)
{
	struct um_error own = UM_ERROR_INIT;
	int r = um_cgroup_oom_open(w->cg, &w->oom, &own);

	if (r >= 0)
		return um_cgroup_oom_read(&w->oom, &w->kills) < 0 ? (w->kills = 0, 0) : 0;
	if (r != -EOPNOTSUPP)
		return um_error_move(err, &own);
	if (rt->warn)
		rt->warn(rt->warn_data, own.msg);
	return 0;
}

static int tell_kills(struct watch *w, const struct um_runtime_events *e, struct um_error *err)
{
	uint64_t now;

	if (w->oom.fd < 0 || um_cgroup_oom_read(&w->oom, &now) < 0 || now <= w->kills)
		return 0;
	w->kills = now;
	return e->tell(e->data, "oom", NULL, err);
}

static int tell_stats(struct watch *w, const struct um_runtime_events *e, struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(16u << 20);
	struct um_json *stats;
	int r = a ? um_cgroup_report(w->cg, a, &stats, err) : -ENOMEM;

	return r < 0 ? r : e->tell(e->data, "stats", stats, err);
}

int um_runtime_events(const struct um_runtime *rt, const char *id,
		      const struct um_runtime_events *e, struct um_error *err)
{
	_cleanup_(watch_release) struct watch w = {.oom = {-1, -1, false}, .pidfd = -1};
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	int64_t next = um_clock_monotonic(&um_clock_system);
	int r = a ? watch_open(rt, a, id, &w, err) : -ENOMEM;

	if (r >= 0)
		r = watch_oom(rt, &w, err);
	while (r >= 0) {
		struct pollfd p[2] = {{.fd = w.pidfd, .events = POLLIN},
				      {.fd = w.oom.fd, .events = POLLIN}};
		int64_t now = um_clock_monotonic(&um_clock_system), left;

		if (now >= next) {
			r = tell_stats(&w, e, err);
			next = now + e->interval_nsec;
		}
		left = (next - now + UM_NSEC_PER_MSEC - 1) / UM_NSEC_PER_MSEC;
		if (r >= 0 && poll(p, 2, left > 60000 ? 60000 : (int)left) < 0 && errno != EINTR)
			return um_error_errno(err, -errno, "poll");
		if (r >= 0)
			r = tell_kills(&w, e, err);
		if (p[0].revents)
			break; /* the container has stopped */
	}
	return r;
}
