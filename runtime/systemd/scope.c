/* A container's scope, from its creation to its state. */
#include "runtime/create.h"

int um_runtime_scope(const struct um_runtime *rt, const struct um_runtime_state *s,
		     struct um_systemd_scope *ret, struct um_error *err)
{
	if (!rt->systemd_helper)
		return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
					   "container %s is in a scope of systemd's (%s), which is "
					   "not supported here",
					   s->id, s->systemd_unit);
	*ret = (struct um_systemd_scope){rt->systemd_helper, s->systemd_unit, s->systemd_user};
	return 0;
}

int um_creation_scope(struct um_creation *c, const struct um_runtime *rt, struct um_error *err)
{
	struct um_cgroup_device rules[UM_RUNTIME_MAX_RULES];
	struct um_cgroup_limits limits = c->spec->limits;
	struct um_systemd_names names;
	const char *cgroup;
	size_t n;
	int r = um_systemd_parse(c->arena, c->spec->cgroups_path, c->state.id, rt->systemd_user,
				 &names, err);

	if (r >= 0)
		r = um_runtime_collect_rules(c->spec, rules, &n, err);
	if (r < 0)
		return r;
	c->state.systemd_user = rt->systemd_user;
	c->state.systemd_unit = names.unit;
	r = um_runtime_scope(rt, &c->state, &c->scope, err);
	c->state.systemd_unit = NULL; /* not yet ours to stop */
	if (r >= 0)
		r = um_systemd_hold(&c->holder, err);
	if (r < 0)
		return r;
	/* the kernel's limit says it: systemd's would count the holder */
	if (limits.pids == 1)
		limits.pids = UM_CG_UNSET;
	r = um_systemd_start(c->arena, &c->scope, &names, c->state.id, c->holder, c->spec, &limits,
			     c->cgroups->mode == UM_CGROUP_V2, rules, n, &cgroup, err);
	if (r < 0)
		return r;
	c->state.systemd_unit = names.unit;
	c->state.cgroup = cgroup;
	return 0;
}

int um_creation_drop_holder(struct um_creation *c, struct um_error *err)
{
	struct um_cgroup_limits limits;
	int r = 0;

	if (!c->holder)
		return 0;
	if (c->attach)
		r = um_systemd_attach(&c->scope, (pid_t)c->state.pid, err);
	um_systemd_let_go(&c->holder);
	if (r < 0)
		return r;
	if (c->spec->limits.pids != 1)
		return 0;
	um_cgroup_limits_init(&limits);
	limits.pids = 1;
	return um_cgroup_apply(c->cg, &limits, err);
}
