/* The way from one ReplicaSet to the next: never more pods than replicas + maxSurge, never fewer
 * available ones than replicas - maxUnavailable. */
#include <string.h>

#include "base/num.h"
#include "control/deployment_internal.h"
#include "control/podset.h"

/* A number, or a percentage of @of. */
static int64_t resolve(const struct um_json *v, int64_t of, bool up, int64_t fallback)
{
	const char *s = um_json_str(v, NULL);
	size_t n = s ? strlen(s) : 0;
	uint64_t percent;

	if (um_json_is(v, UM_JSON_NUM))
		return um_json_i64(v, fallback);
	if (!n || s[n - 1] != '%' || um_num_u64n(s, n - 1, 1000, &percent) < 0)
		return fallback;
	return (of * (int64_t)percent + (up ? 99 : 0)) / 100;
}

void rollout_resolve_bounds(struct rollout *r)
{
	const struct um_json *strategy = um_json_path(r->obj, "spec.strategy");
	const struct um_json *p = um_json_get(strategy, "rollingUpdate");

	r->recreate = !strcmp(um_json_get_str(strategy, "type", "RollingUpdate"), "Recreate");
	if (r->recreate)
		return;
	r->max_surge = resolve(um_json_get(p, "maxSurge"), r->wanted, true, 1);
	r->max_unavailable = resolve(um_json_get(p, "maxUnavailable"), r->wanted, false, 0);
	if (!r->max_surge && !r->max_unavailable) /* by rounding: it must be able to move */
		r->max_unavailable = 1;
	if (r->max_unavailable > r->wanted)
		r->max_unavailable = r->wanted;
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t rollout_next_size(const struct rollout *r)
{
	int64_t now = r->current ? r->current->wanted : 0, room;

	if (r->recreate)
		return r->wanted;
	room = r->wanted + r->max_surge - rollout_total(r);
	return room <= 0 ? now : now + least(room, r->wanted - now);
}

/* ---- rolling ---- */

static bool grow_current(struct rollout *r)
{
	int64_t to;

	if (!r->current) {
		rollout_create_current(r, rollout_next_size(r));
		return true;
	}
	to = r->current->wanted > r->wanted ? r->wanted : rollout_next_size(r);
	if (to == r->current->wanted)
		return false;
	rollout_scale(r, r->current, to);
	return true;
}

/* First those of the old that serve nobody, then as many as the new ones replace. */
static void shrink_old(struct rollout *r)
{
	int64_t least_available = r->wanted - r->max_unavailable;
	int64_t starting = r->current ? r->current->wanted - r->current->available : 0;
	int64_t may = rollout_total(r) - least_available - starting, spare;

	rollout_foreach_old(s, r)
	{
		int64_t idle = s->wanted - s->available;

		if (may <= 0)
			break;
		if (idle <= 0 || !s->wanted)
			continue;
		idle = least(idle, may);
		rollout_scale(r, s, s->wanted - idle);
		may -= idle;
	}
	spare = rollout_available(r) - least_available;
	rollout_foreach_old(s, r)
	{
		int64_t n = least(least(s->wanted, spare), may);

		if (n <= 0)
			continue;
		rollout_scale(r, s, s->wanted - n);
		spare -= n;
		may -= n;
	}
}

static void roll(struct rollout *r)
{
	if (r->current)
		rollout_sync_current(r);
	if (grow_current(r))
		return; /* what is old goes when this has been seen */
	shrink_old(r);
}

/* ---- one after the other ---- */

/* The old pods are gone, not merely told to go. */
static bool old_pods_left(const struct rollout *r)
{
	rollout_foreach_old(s, r)
	{
		const char *uid = um_json_get_str(s->old, "metadata.uid", "");

		for (const struct um_pod *p = um_podset_first_owned(r->all->ctl->pods, uid); p;
		     p = um_podset_next_owned(p))
			if (!um_pod_ended(p))
				return true;
	}
	return false;
}

static void recreate(struct rollout *r)
{
	bool going = false;

	if (r->current)
		rollout_sync_current(r);
	rollout_foreach_old(s, r) if (s->wanted)
	{
		rollout_scale(r, s, 0);
		going = true;
	}
	if (going || old_pods_left(r))
		return;
	if (!r->current)
		rollout_create_current(r, r->wanted);
	else if (r->current->wanted != r->wanted)
		rollout_scale(r, r->current, r->wanted);
}

/* ---- another number of replicas, in the middle of a rollout or while paused ---- */

static int64_t noted(const struct rollout_set *s, const char *annotation, int64_t fallback)
{
	const struct um_json *v =
		um_json_get(um_json_path(s->obj, "metadata.annotations"), annotation);
	int64_t n;

	return um_num_i64(um_json_str(v, ""), 0, INT32_MAX, &n) < 0 ? fallback : n;
}

static bool was_rescaled(const struct rollout *r)
{
	um_vec_foreach (s, &r->sets)
		if (s->wanted > 0 && noted(s, DEPLOYMENT_DESIRED, r->wanted) != r->wanted)
			return true;
	return false;
}

static struct rollout_set *only_active(const struct rollout *r)
{
	struct rollout_set *found = NULL;

	um_vec_foreach (s, &r->sets) {
		if (!s->wanted)
			continue;
		if (found)
			return NULL;
		found = s;
	}
	return found ? found : r->current;
}

/* Its share of what is to be added or taken, by its size when the sum was last right. */
static int64_t share(const struct rollout *r, const struct rollout_set *s, int64_t allowed,
		     int64_t to_add, int64_t added)
{
	int64_t most = noted(s, DEPLOYMENT_MAX, r->wanted + r->max_surge);
	int64_t n, left = to_add - added;

	if (!s->wanted || !to_add || !left || most <= 0)
		return 0;
	n = (2 * s->wanted * allowed + most) / (2 * most) - s->wanted; /* rounded */
	if (to_add > 0)
		return n < 0 ? 0 : least(n, left);
	return n > 0 ? 0 : n < left ? left : n;
}

static void spread(struct rollout *r)
{
	int64_t allowed = r->wanted > 0 ? r->wanted + r->max_surge : 0;
	int64_t to_add = allowed - rollout_total(r), added = 0;

	for (size_t i = 0; i < r->sets.len; i++) {
		/* The newest first when growing: it is what is wanted. */
		struct rollout_set *s = &r->sets.items[to_add > 0 ? r->sets.len - 1 - i : i];
		int64_t n = share(r, s, allowed, to_add, added);

		rollout_scale(r, s, s->wanted + n);
		added += n;
	}
	for (size_t i = 0; i < r->sets.len && added != to_add; i++) { /* what rounding left */
		struct rollout_set *s = &r->sets.items[to_add > 0 ? r->sets.len - 1 - i : i];
		int64_t n = to_add - added;

		if (!s->wanted)
			continue;
		if (s->wanted + n < 0)
			n = -s->wanted;
		rollout_scale(r, s, s->wanted + n);
		added += n;
	}
}

static bool saturated(const struct rollout *r)
{
	return r->current && r->current->wanted == r->wanted &&
	       noted(r->current, DEPLOYMENT_DESIRED, -1) == r->wanted &&
	       r->current->available == r->wanted;
}

static void rescale(struct rollout *r)
{
	struct rollout_set *only = only_active(r);

	if (only) {
		rollout_scale(r, only, r->wanted);
	} else if (saturated(r)) {
		rollout_foreach_old(s, r) rollout_scale(r, s, 0);
	} else if (!r->recreate) {
		spread(r);
	}
}

void rollout_step(struct rollout *r)
{
	if (r->paused || was_rescaled(r))
		rescale(r);
	else if (r->recreate)
		recreate(r);
	else
		roll(r);
	if (!r->paused && rollout_complete(r))
		rollout_clean_up(r);
}
