#include "runtime/mempolicy.h"

#include <sched.h>
#include <string.h>

#include "runtime/affinity.h"
#include "runtime/sys.h"

#define MAX_NODES 1024 /* no kernel is built for more */

/* As in <linux/mempolicy.h>, of newer kernels too. */
static const struct mode {
	const char *name;
	int value;
	bool no_nodes, nodes_needed;
} modes[] = {{"MPOL_DEFAULT", 0, true, false},
	     {"MPOL_PREFERRED", 1, false, false},
	     {"MPOL_BIND", 2, false, true},
	     {"MPOL_INTERLEAVE", 3, false, true},
	     {"MPOL_LOCAL", 4, true, false},
	     {"MPOL_PREFERRED_MANY", 5, false, true},
	     {"MPOL_WEIGHTED_INTERLEAVE", 6, false, true}};

static const struct flag {
	const char *name;
	int value;
} flags[] = {{"MPOL_F_NUMA_BALANCING", 1 << 13},
	     {"MPOL_F_RELATIVE_NODES", 1 << 14},
	     {"MPOL_F_STATIC_NODES", 1 << 15}};

const char *um_mempolicy_mode_name(size_t i)
{
	return i < UM_ARRAY_LEN(modes) ? modes[i].name : NULL;
}

const char *um_mempolicy_flag_name(size_t i)
{
	return i < UM_ARRAY_LEN(flags) ? flags[i].name : NULL;
}

int um_decode_memory_policy(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct staging {
		const char *mode, *nodes;
		struct um_strv flags;
	} v = {0};
	static const struct um_field fields[] = {
		UM_FIELD("mode", UM_F_STR, struct staging, mode),
		UM_FIELD("nodes", UM_F_STR, struct staging, nodes),
		UM_FIELD("flags", UM_F_STRV, struct staging, flags),
	};
	const struct mode *mode = NULL;
	struct um_spec *s = base;
	cpu_set_t nodes;
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), &v);

	if (r < 0)
		return r;
	for (size_t i = 0; v.mode && i < UM_ARRAY_LEN(modes); i++)
		if (!strcmp(modes[i].name, v.mode))
			mode = &modes[i];
	if (!mode)
		return um_decode_bad(d, "invalid memory policy mode \"%.40s\"",
				     v.mode ? v.mode : "");
	CPU_ZERO(&nodes);
	if (v.nodes && *v.nodes && um_affinity_parse(v.nodes, &nodes) < 0)
		return um_decode_bad(d,
				     "invalid memory policy node: nodes \"%.40s\" is not a list "
				     "of numbers below %d",
				     v.nodes, MAX_NODES);
	if (mode->no_nodes && CPU_COUNT(&nodes))
		return um_decode_bad(d, "%s mode requires 0 nodes but got %d", mode->name,
				     CPU_COUNT(&nodes));
	if (mode->nodes_needed && !CPU_COUNT(&nodes))
		return um_decode_bad(d, "%s mode requires nodes", mode->name);
	s->memory_policy = mode->value;
	for (size_t i = 0; i < v.flags.n; i++) {
		size_t k = 0;

		while (k < UM_ARRAY_LEN(flags) && strcmp(flags[k].name, v.flags.v[i]))
			k++;
		if (k == UM_ARRAY_LEN(flags))
			return um_decode_bad(d, "invalid memory policy flag \"%.40s\"",
					     v.flags.v[i]);
		s->memory_policy |= flags[k].value;
	}
	_Static_assert(sizeof(nodes) == sizeof(s->memory_nodes), "1024 bits");
	memcpy(s->memory_nodes, &nodes, sizeof(nodes));
	return 0;
}

int um_mempolicy_set(const struct um_spec *s, struct um_error *err)
{
	if (s->memory_policy < 0)
		return 0;
	um_why("linux.memoryPolicy: from which NUMA nodes its memory comes");
	/* the kernel takes the last bit of the mask's size as one too many */
	if (um_sys_set_mempolicy(s->memory_policy, s->memory_nodes, MAX_NODES + 1) < 0)
		return um_error_errno(err, -errno, "linux.memoryPolicy");
	return 0;
}
