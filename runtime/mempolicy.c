#include "runtime/mempolicy.h"

#include <string.h>

#include "runtime/affinity.h"
#include "runtime/decode.h"
#include "runtime/sys.h"

/* As in <linux/mempolicy.h>, of which Debian 12 has an older one. */
static const struct name {
	const char *name;
	unsigned value;
} modes[] = {{"MPOL_DEFAULT", 0},    {"MPOL_BIND", 2},
	     {"MPOL_INTERLEAVE", 3}, {"MPOL_WEIGHTED_INTERLEAVE", 6},
	     {"MPOL_PREFERRED", 1},  {"MPOL_PREFERRED_MANY", 5},
	     {"MPOL_LOCAL", 4}},
  flags[] = {{"MPOL_F_NUMA_BALANCING", 1u << 13},
	     {"MPOL_F_RELATIVE_NODES", 1u << 14},
	     {"MPOL_F_STATIC_NODES", 1u << 15}};

#define EXCLUSIVE (1u << 14 | 1u << 15) /* relative and static */

const char *um_mempolicy_mode_name(size_t i)
{
	return i < UM_ARRAY_LEN(modes) ? modes[i].name : NULL;
}

const char *um_mempolicy_flag_name(size_t i)
{
	return i < UM_ARRAY_LEN(flags) ? flags[i].name : NULL;
}

static const struct name *find(const struct name *table, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(table[i].name, name))
			return &table[i];
	return NULL;
}

int um_decode_mempolicy(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct staging {
		const char *mode, *nodes;
		struct um_strv flags;
	} s = {0};
	static const struct um_field fields[] = {
		UM_FIELD_REQ("mode", UM_F_STR, struct staging, mode),
		UM_FIELD("nodes", UM_F_STR, struct staging, nodes),
		UM_FIELD("flags", UM_F_STRV, struct staging, flags),
	};
	struct um_spec_mempolicy *p = &((struct um_spec *)base)->mempolicy;
	const struct name *found;
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), &s);

	if (r < 0)
		return r;
	found = find(modes, UM_ARRAY_LEN(modes), s.mode);
	if (!found)
		return um_decode_bad(d, "mode \"%.40s\" is not known", s.mode);
	p->present = true;
	p->mode = found->value;
	for (size_t i = 0; i < s.flags.n; i++) {
		found = find(flags, UM_ARRAY_LEN(flags), s.flags.v[i]);
		if (!found)
			return um_decode_bad(d, "flags: \"%.40s\" is not known", s.flags.v[i]);
		p->mode |= found->value;
	}
	if ((p->mode & EXCLUSIVE) == EXCLUSIVE)
		return um_decode_bad(d, "flags: MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES "
					"exclude each other");
	CPU_ZERO(&p->nodes);
	if (s.nodes && *s.nodes && um_affinity_parse(s.nodes, &p->nodes) < 0)
		return um_decode_bad(d, "nodes \"%.40s\" is not a list of memory nodes", s.nodes);
	return 0;
}

int um_mempolicy_set(const struct um_spec_mempolicy *p, struct um_error *err)
{
	if (!p->present)
		return 0;
	um_why("linux.memoryPolicy: from which nodes its memory comes");
	/* the count includes one bit that the kernel does not read */
	if (um_sys_set_mempolicy((int)p->mode, CPU_COUNT(&p->nodes) ? &p->nodes : NULL,
				 CPU_COUNT(&p->nodes) ? CPU_SETSIZE + 1 : 0) < 0)
		return um_error_errno(err, -errno, "linux.memoryPolicy");
	return 0;
}
