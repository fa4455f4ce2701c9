/* linux.resources.devices with what no container can be without. */
#include "runtime/create.h"

/* Every container may use these, whatever linux.resources.devices says (as runc and crun do). */
static const struct um_cgroup_device always_allowed[] = {
	{true, 'c', -1, -1, false, false, true}, {true, 'b', -1, -1, false, false, true},
	{true, 'c', 1, 3, true, true, true},	 {true, 'c', 1, 5, true, true, true},
	{true, 'c', 1, 7, true, true, true},	 {true, 'c', 1, 8, true, true, true},
	{true, 'c', 1, 9, true, true, true},	 {true, 'c', 5, 0, true, true, true},
	{true, 'c', 5, 1, true, true, true},	 {true, 'c', 5, 2, true, true, true},
	{true, 'c', 136, -1, true, true, true},
};

int um_runtime_collect_rules(const struct um_spec *s, struct um_cgroup_device *rules, size_t *ret_n,
			     struct um_error *err)
{
	size_t n = 0;

	if (s->n_device_rules + UM_ARRAY_LEN(always_allowed) + 1 > UM_RUNTIME_MAX_RULES)
		return um_error_set(err, -E2BIG, "linux.resources.devices: too many rules");
	rules[n++] = (struct um_cgroup_device){
		.type = 'a', .major = -1, .minor = -1, .read = true, .write = true, .mknod = true};
	for (size_t i = 0; i < s->n_device_rules; i++)
		rules[n++] = s->device_rules[i];
	for (size_t i = 0; i < UM_ARRAY_LEN(always_allowed); i++)
		rules[n++] = always_allowed[i];
	*ret_n = n;
	return 0;
}

int um_runtime_device_rules(const struct um_cgroup *cg, const struct um_spec *s,
			    struct um_error *err)
{
	struct um_cgroup_device rules[UM_RUNTIME_MAX_RULES];
	size_t n;
	int r = um_runtime_collect_rules(s, rules, &n, err);

	if (r < 0)
		return r;
	/* nothing before the last rule for all devices has an effect */
	for (size_t i = n; i-- > 0;)
		if (rules[i].type == 'a')
			return um_cgroup_devices(cg, rules + i, n - i, err);
	return um_cgroup_devices(cg, rules, n, err);
}
