/* What a Deployment says of itself. */
#include <string.h>

#include "base/clock.h"
#include "control/deployment_internal.h"
#include "wire/loop.h"

struct counts {
	int64_t replicas, updated, ready, available, unavailable;
};

static struct counts count(const struct rollout *r)
{
	struct counts c = {0};

	um_vec_foreach (s, &r->sets) {
		c.replicas += s->replicas;
		c.ready += s->ready;
		c.available += s->available;
	}
	c.updated = r->current ? r->current->replicas : 0;
	c.unavailable = rollout_total(r) - c.available;
	if (c.unavailable < 0)
		c.unavailable = 0;
	return c;
}

static bool complete(const struct rollout *r, const struct counts *c)
{
	return c->updated == r->wanted && c->replicas == r->wanted && c->available == r->wanted &&
	       r->current && r->current->wanted == r->wanted;
}

bool rollout_complete(const struct rollout *r)
{
	struct counts c = count(r);

	return complete(r, &c);
}

static int64_t before(const struct rollout *r, const char *field)
{
	return um_json_get_i64(um_json_get(r->old, "status"), field, 0);
}

/* It has moved since its status was last written. */
static bool moves(const struct rollout *r, const struct counts *c)
{
	return c->updated > before(r, "updatedReplicas") ||
	       c->replicas - c->updated < before(r, "replicas") - before(r, "updatedReplicas") ||
	       c->ready > before(r, "readyReplicas") ||
	       c->available > before(r, "availableReplicas");
}

static void say(struct rollout *r, struct um_json *status, const char *value, const char *reason,
		const char *message)
{
	um_ctl_set_condition(r->all->ctl, r->a, status, "Progressing", value, reason, message,
			     true);
}

/* Progress counts from here. */
static void touch(struct rollout *r, struct um_json *condition)
{
	char now[UM_TIME_LEN];

	um_time_format(um_clock_wall(um_loop_clock(r->all->ctl->loop)), now);
	um_json_set_str(r->a, condition, "lastUpdateTime", now);
}

/* ns until the deadline; < 0: past. */
static int64_t time_left(const struct rollout *r, const struct um_json *condition)
{
	int64_t limit = um_json_get_i64(r->obj, "spec.progressDeadlineSeconds", 600);
	int64_t since = 0;

	if (um_time_parse(um_json_get_str(condition, "lastUpdateTime", ""), &since) < 0)
		return limit * UM_NSEC_PER_SEC;
	/* Times are shown in whole seconds: never early. */
	return since + (limit + 1) * UM_NSEC_PER_SEC -
	       um_clock_wall(um_loop_clock(r->all->ctl->loop));
}

static void say_progress(struct rollout *r, struct um_json *status, const struct counts *c)
{
	struct um_json *cond = um_ctl_condition(status, "Progressing");
	const char *reason = um_json_get_str(cond, "reason", "");
	const char *name = r->current ? r->current->name : r->name;
	const char *what = r->current ? "ReplicaSet" : "Deployment";
	bool done = complete(r, c), was_done = !strcmp(reason, "NewReplicaSetAvailable");
	int64_t left;

	if (*r->create_error) {
		say(r, status, "False", "ReplicaSetCreateError", r->create_error);
	} else if (done) {
		say(r, status, "True", "NewReplicaSetAvailable",
		    um_arena_printf(r->a, "%s \"%s\" has successfully progressed.", what, name));
	} else if (!cond) {
		say(r, status, "True", r->current ? "FoundNewReplicaSet" : "NewReplicaSetCreated",
		    um_arena_printf(r->a, "%s \"%s\" is progressing.", what, name));
	} else if (moves(r, c) || (was_done && r->current && c->updated < r->wanted)) {
		say(r, status, "True", "ReplicaSetUpdated",
		    um_arena_printf(r->a, "%s \"%s\" is progressing.", what, name));
		touch(r, um_ctl_condition(status, "Progressing"));
	} else if (!was_done && strcmp(reason, "ProgressDeadlineExceeded") != 0) {
		left = time_left(r, cond);
		if (left > 0)
			r->again_ns = left;
		else
			say(r, status, "False", "ProgressDeadlineExceeded",
			    um_arena_printf(r->a, "%s \"%s\" has timed out progressing.", what,
					    name));
	}
}

static void say_paused(struct rollout *r, struct um_json *status)
{
	const char *reason = um_json_get_str(um_ctl_condition(status, "Progressing"), "reason", "");

	if (r->paused && strcmp(reason, "DeploymentPaused") != 0 &&
	    strcmp(reason, "ProgressDeadlineExceeded") != 0)
		say(r, status, "Unknown", "DeploymentPaused", "Deployment is paused");
	else if (!r->paused && !strcmp(reason, "DeploymentPaused"))
		say(r, status, "Unknown", "DeploymentResumed", "Deployment is resumed");
}

static void say_available(struct rollout *r, struct um_json *status, const struct counts *c)
{
	bool enough = c->available >= r->wanted - r->max_unavailable;

	um_ctl_set_condition(r->all->ctl, r->a, status, "Available", enough ? "True" : "False",
			     enough ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
			     enough ? "Deployment has minimum availability."
				    : "Deployment does not have minimum availability.",
			     true);
}

/* A set that cannot make its pods is heard through the Deployment. */
static void say_failure(struct rollout *r, struct um_json *status)
{
	struct um_json *list = um_json_get(status, "conditions");
	const struct um_json *mine = um_ctl_condition(status, "ReplicaFailure"), *c = NULL;

	if (r->current)
		c = um_ctl_condition(um_json_get(r->current->old, "status"), "ReplicaFailure");
	rollout_foreach_old(s, r) if (!c) c =
		um_ctl_condition(um_json_get(s->old, "status"), "ReplicaFailure");
	if (c)
		um_ctl_set_condition(r->all->ctl, r->a, status, "ReplicaFailure",
				     um_json_get_str(c, "status", "True"),
				     um_json_get_str(c, "reason", ""),
				     um_json_get_str(c, "message", ""), true);
	else if (mine)
		um_json_remove_node(list, mine);
}

static void set_count(struct rollout *r, struct um_json *status, const char *key, int64_t n)
{
	if (n)
		um_json_set_i64(r->a, status, key, n);
	else
		um_json_remove(status, key);
}

void rollout_write_status(struct rollout *r)
{
	struct um_json *status = um_json_ensure_obj(r->a, r->obj, "status");
	struct counts c = count(r);
	int w;

	set_count(r, status, "replicas", c.replicas);
	set_count(r, status, "updatedReplicas", c.updated);
	set_count(r, status, "readyReplicas", c.ready);
	set_count(r, status, "availableReplicas", c.available);
	set_count(r, status, "unavailableReplicas", c.unavailable);
	um_json_set_i64(r->a, status, "observedGeneration",
			um_json_get_i64(r->obj, "metadata.generation", 0));
	say_available(r, status, &c);
	say_failure(r, status);
	say_paused(r, status);
	if (!r->paused)
		say_progress(r, status, &c);
	w = um_ctl_update(r->all->ctl, r->all->queue, r->key, r->all->kind, r->obj, r->old, r->rev,
			  r->a, NULL);
	if (w < 0 && !r->error)
		r->error = w;
}
