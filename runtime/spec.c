#include "runtime/spec.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/mount.h>

#include "base/io.h"
#include "runtime/affinity.h"
#include "runtime/annotations.h"
#include "runtime/decode.h"
#include "runtime/landlock.h"

#ifndef SCHED_DEADLINE
#define SCHED_DEADLINE 6
#endif

#define MAX_ID (INT64_C(4294967295) - 1) /* (uid_t)-1 means "leave it" */

/* ---- root, mounts, hooks ---- */

static int decode_root(struct um_decoder *d, const struct um_json *node, void *base)
{
	static const struct um_field fields[] = {
		UM_FIELD_REQ("path", UM_F_STR, struct um_spec, root_path),
		UM_FIELD("readonly", UM_F_BOOL, struct um_spec, root_readonly),
	};
	struct um_spec *s = base;
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), s);

	if (r >= 0 && !*s->root_path)
		return um_decode_bad(d, "path is empty");
	return r;
}

static int decode_uid_map(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct um_spec_mount *m = base;

	return um_decode_array(d, node, sizeof(*m->uid_map), um_decode_idmap, &m->uid_map,
			       &m->n_uid_map);
}

static int decode_gid_map(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct um_spec_mount *m = base;

	return um_decode_array(d, node, sizeof(*m->gid_map), um_decode_idmap, &m->gid_map,
			       &m->n_gid_map);
}

/* What only some mounts can have. Mappings alone ask for what the option idmap does. */
static int check_mount_kind(struct um_decoder *d, struct um_spec_mount *m)
{
	if (!m->n_uid_map != !m->n_gid_map)
		return um_decode_bad(d, "uidMappings and gidMappings go together");
	m->idmap = m->idmap || m->n_uid_map;
	if (m->idmap && (!m->bind || m->remount))
		return um_decode_unsupported(
			d, "uidMappings, idmap and ridmap are supported for bind mounts only");
	if (m->tmpcopyup && (m->bind || m->remount || strcmp(m->type, "tmpfs")))
		return um_decode_bad(d, "options: tmpcopyup is for tmpfs");
	if (m->links && (!m->bind || m->remount))
		return um_decode_bad(d, "options: copy-symlink, src-nofollow and dest-nofollow are "
					"for bind mounts");
	if (m->iversion && (m->bind || m->remount))
		return um_decode_bad(d, "options: \"iversion\" has no meaning for a bind mount");
	return 0;
}

int um_decode_mount(struct um_decoder *d, const struct um_json *node, void *at)
{
	struct staging {
		struct um_spec_mount m;
		struct um_strv options;
	} s = {0};
	static const struct um_field fields[] = {
		UM_FIELD_REQ("destination", UM_F_STR, struct staging, m.destination),
		UM_FIELD("type", UM_F_STR, struct staging, m.type),
		UM_FIELD("source", UM_F_STR, struct staging, m.source),
		UM_FIELD("options", UM_F_STRV, struct staging, options),
		UM_FIELD_CALL("uidMappings", decode_uid_map),
		UM_FIELD_CALL("gidMappings", decode_gid_map),
	};
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), &s);

	if (r < 0)
		return r;
	if (!*s.m.destination || strlen(s.m.destination) >= PATH_MAX)
		return um_decode_bad(d, "destination must be a path");
	s.m.data.v = um_arena_zalloc(d->arena, (s.options.n + 1) * sizeof(char *));
	if (!s.m.data.v)
		return -ENOMEM;
	for (size_t i = 0; i < s.options.n; i++) {
		const char *o = s.options.v[i];

		if (!*o)
			return um_decode_bad(d, "options[%zu] is empty", i);
		if (!um_spec_mount_option(o, &s.m))
			s.m.data.v[s.m.data.n++] = s.options.v[i];
	}
	if (s.m.type && !strcmp(s.m.type, "bind"))
		s.m.bind = true;
	if (s.m.bind && (!s.m.source || !*s.m.source))
		return um_decode_bad(d, "a bind mount needs a source");
	for (size_t i = 0; s.m.bind && i < s.m.data.n; i++)
		if (!strchr(s.m.data.v[i], '='))
			return um_decode_bad(d,
					     "options: \"%.100s\" has no meaning for a bind mount",
					     s.m.data.v[i]);
	if (!s.m.bind && !s.m.remount && (!s.m.type || !*s.m.type))
		return um_decode_bad(d, "type is required");
	r = check_mount_kind(d, &s.m);
	if (r >= 0)
		*(struct um_spec_mount *)at = s.m;
	return r;
}

static int decode_mounts(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct um_spec *s = base;

	return um_decode_array(d, node, sizeof(*s->mounts), um_decode_mount, &s->mounts,
			       &s->n_mounts);
}

static int decode_hook(struct um_decoder *d, const struct um_json *node, void *at)
{
	static const struct um_field fields[] = {
		UM_FIELD_REQ("path", UM_F_STR, struct um_spec_hook, path),
		UM_FIELD("args", UM_F_STRV, struct um_spec_hook, args),
		UM_FIELD("env", UM_F_STRV, struct um_spec_hook, env),
		UM_FIELD_NUM("timeout", UM_F_I64, struct um_spec_hook, timeout_sec, 1, 86400),
	};
	struct um_spec_hook *h = at;
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), h);

	if (r >= 0 && h->path[0] != '/')
		return um_decode_bad(d, "path must be absolute");
	return r;
}

static int decode_hooks(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct um_spec *s = base;

	if (node->type != UM_JSON_OBJ)
		return um_decode_bad(d, "must be an object");
	for (int k = 0; k < UM_HOOK_N_KINDS; k++) {
		const struct um_json *list = um_json_get(node, um_spec_hook_name(k));
		size_t mark = um_decode_push(d, um_spec_hook_name(k));
		int r = 0;

		if (list && list->type != UM_JSON_NULL)
			r = um_decode_array(d, list, sizeof(struct um_spec_hook), decode_hook,
					    &s->hooks[k].v, &s->hooks[k].n);
		if (r < 0)
			return r;
		um_decode_pop(d, mark);
	}
	return 0;
}

/* ---- process ---- */

static int decode_console_size(struct um_decoder *d, const struct um_json *node, void *base)
{
	static const struct um_field fields[] = {
		UM_FIELD_NUM("height", UM_F_U32, struct um_spec_process, console_height, 0, 65535),
		UM_FIELD_NUM("width", UM_F_U32, struct um_spec_process, console_width, 0, 65535),
	};

	return um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), base);
}

static int decode_gid(struct um_decoder *d, const struct um_json *node, void *at)
{
	int64_t v;

	if (um_json_to_i64(node, &v) < 0 || v < 0 || v > MAX_ID)
		return um_decode_bad(d, "must be a group id");
	*(uint32_t *)at = (uint32_t)v;
	return 0;
}

static int decode_gids(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct um_spec_process *p = base;

	if (node->len > 65536)
		return um_decode_bad(d, "more than 65536 groups");
	return um_decode_array(d, node, sizeof(uint32_t), decode_gid, &p->additional_gids,
			       &p->n_additional_gids);
}

static int decode_user(struct um_decoder *d, const struct um_json *node, void *base)
{
	static const struct um_field fields[] = {
		UM_FIELD_NUM("uid", UM_F_U32, struct um_spec_process, uid, 0, MAX_ID),
		UM_FIELD_NUM("gid", UM_F_U32, struct um_spec_process, gid, 0, MAX_ID),
		UM_FIELD_NUM("umask", UM_F_I64, struct um_spec_process, umask, 0, 0777),
		UM_FIELD_CALL("additionalGids", decode_gids),
		UM_FIELD_REFUSED("username"), /* Windows only */
	};

	return um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), base);
}

/* A capability that this kernel does not know cannot be granted; the specification wants a warning
 * and no failure, so it is left out here and the caller finds it with um_spec_cap(). */
static int decode_caps(struct um_decoder *d, const struct um_json *node, void *base)
{
	static const char *const sets[UM_CAP_N_SETS] = {"effective", "bounding", "inheritable",
							"permitted", "ambient"};
	struct um_spec_process *p = base;

	if (node->type != UM_JSON_OBJ)
		return um_decode_bad(d, "must be an object");
	p->has_caps = true;
	for (int i = 0; i < UM_CAP_N_SETS; i++) {
		const struct um_json *list = um_json_get(node, sets[i]);
		size_t mark = um_decode_push(d, sets[i]);

		if (list && list->type != UM_JSON_NULL && list->type != UM_JSON_ARR)
			return um_decode_bad(d, "must be an array");
		um_json_foreach (it, list) {
			int cap = it->type == UM_JSON_STR ? um_spec_cap(it->str) : -EINVAL;

			if (cap == -EINVAL)
				return um_decode_bad(d, "must hold capability names");
			if (cap >= 0)
				p->caps[i] |= UINT64_C(1) << cap;
		}
		um_decode_pop(d, mark);
	}
	return 0;
}

static int decode_rlimit(struct um_decoder *d, const struct um_json *node, void *at)
{
	struct staging {
		const char *type;
		uint64_t soft, hard;
	} s = {0};
	static const struct um_field fields[] = {
		UM_FIELD_REQ("type", UM_F_STR, struct staging, type),
		UM_FIELD_REQ("soft", UM_F_U64, struct staging, soft),
		UM_FIELD_REQ("hard", UM_F_U64, struct staging, hard),
	};
	struct um_spec_rlimit *l = at;
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), &s);

	if (r < 0)
		return r;
	l->resource = um_spec_rlimit(s.type);
	if (l->resource < 0)
		return um_decode_bad(d, "type \"%.40s\" is not known", s.type);
	if (s.soft > s.hard)
		return um_decode_bad(d, "soft is above hard");
	l->name = s.type;
	l->soft = s.soft;
	l->hard = s.hard;
	return 0;
}

static int decode_rlimits(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct um_spec_process *p = base;
	uint32_t seen = 0;
	int r = um_decode_array(d, node, sizeof(*p->rlimits), decode_rlimit, &p->rlimits,
				&p->n_rlimits);

	for (size_t i = 0; r >= 0 && i < p->n_rlimits; i++) {
		uint32_t bit = UINT32_C(1) << p->rlimits[i].resource;

		if (seen & bit)
			return um_decode_bad(d, "[%zu]: the same type twice", i);
		seen |= bit;
	}
	return r;
}

/* What sched_setattr(2) refuses with EINVAL and no word more. */
static int check_deadline(struct um_decoder *d, const struct um_json *node,
			  const struct um_spec_process *p)
{
	const uint64_t least = 1024, most = INT64_MAX;
	const uint64_t end = p->sched_deadline, period = p->sched_period;

	if (!um_json_get(node, "runtime"))
		return um_decode_bad(d, "SCHED_DEADLINE requires runtime");
	if (!um_json_get(node, "deadline"))
		return um_decode_bad(d, "SCHED_DEADLINE requires deadline");
	if (p->sched_runtime < least || p->sched_runtime > most)
		return um_decode_bad(d,
				     "SCHED_DEADLINE: runtime %llu must be between %llu and %llu",
				     (unsigned long long)p->sched_runtime,
				     (unsigned long long)least, (unsigned long long)most);
	if (p->sched_runtime > end || end > most)
		return um_decode_bad(d, "SCHED_DEADLINE: runtime %llu must be <= deadline %llu",
				     (unsigned long long)p->sched_runtime, (unsigned long long)end);
	if (period && end > period)
		return um_decode_bad(d, "SCHED_DEADLINE: deadline %llu must be <= period %llu",
				     (unsigned long long)end, (unsigned long long)period);
	return 0;
}

static int decode_scheduler(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct staging {
		const char *policy;
		struct um_strv flags;
	} s = {0};
	static const struct um_field names[] = {
		UM_FIELD_REQ("policy", UM_F_STR, struct staging, policy),
		UM_FIELD("flags", UM_F_STRV, struct staging, flags),
	};
	static const struct um_field fields[] = {
		UM_FIELD_NUM("nice", UM_F_I64, struct um_spec_process, sched_nice, -20, 19),
		UM_FIELD_NUM("priority", UM_F_I64, struct um_spec_process, sched_priority, 0, 99),
		UM_FIELD("runtime", UM_F_U64, struct um_spec_process, sched_runtime),
		UM_FIELD("deadline", UM_F_U64, struct um_spec_process, sched_deadline),
		UM_FIELD("period", UM_F_U64, struct um_spec_process, sched_period),
	};
	static const struct {
		const char *name;
		uint32_t policy;
	} policies[] = {{"SCHED_OTHER", SCHED_OTHER}, {"SCHED_FIFO", SCHED_FIFO},
			{"SCHED_RR", SCHED_RR},	      {"SCHED_BATCH", SCHED_BATCH},
			{"SCHED_IDLE", SCHED_IDLE},   {"SCHED_DEADLINE", SCHED_DEADLINE}};
	static const struct {
		const char *name;
		uint64_t flag;
	} flags[] = {{"SCHED_FLAG_RESET_ON_FORK", 1},  {"SCHED_FLAG_RECLAIM", 2},
		     {"SCHED_FLAG_DL_OVERRUN", 4},     {"SCHED_FLAG_KEEP_POLICY", 8},
		     {"SCHED_FLAG_KEEP_PARAMS", 16},   {"SCHED_FLAG_UTIL_CLAMP_MIN", 32},
		     {"SCHED_FLAG_UTIL_CLAMP_MAX", 64}};
	struct um_spec_process *p = base;
	size_t k;
	int r = um_decode_object(d, node, names, UM_ARRAY_LEN(names), &s);

	if (r >= 0)
		r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), p);
	if (r < 0)
		return r;
	for (k = 0; k < UM_ARRAY_LEN(policies) && strcmp(policies[k].name, s.policy); k++)
		;
	if (k == UM_ARRAY_LEN(policies))
		return um_decode_bad(d, "policy \"%.40s\" is not known", s.policy);
	p->sched_policy = policies[k].policy;
	for (size_t i = 0; i < s.flags.n; i++) {
		for (k = 0; k < UM_ARRAY_LEN(flags) && strcmp(flags[k].name, s.flags.v[i]); k++)
			;
		if (k == UM_ARRAY_LEN(flags))
			return um_decode_bad(d, "flag \"%.40s\" is not known", s.flags.v[i]);
		p->sched_flags |= flags[k].flag;
	}
	p->has_scheduler = true;
	return p->sched_policy == SCHED_DEADLINE ? check_deadline(d, node, p) : 0;
}

static int decode_ioprio(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct staging {
		const char *class;
		int64_t priority;
	} s = {0};
	static const struct um_field fields[] = {
		UM_FIELD_REQ("class", UM_F_STR, struct staging, class),
		UM_FIELD_NUM("priority", UM_F_I64, struct staging, priority, 0, 7),
	};
	static const char *const classes[] = {"", "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE",
					      "IOPRIO_CLASS_IDLE"};
	struct um_spec_process *p = base;
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), &s);

	if (r < 0)
		return r;
	for (size_t i = 1; i < UM_ARRAY_LEN(classes); i++)
		if (!strcmp(classes[i], s.class)) {
			p->ioprio = (int)(i << 13 | (size_t)s.priority);
			return 0;
		}
	return um_decode_bad(d, "class \"%.40s\" is not known", s.class);
}

static int check_cpus(struct um_decoder *d, const char *name, const char **list)
{
	cpu_set_t set;

	if (!*list || !**list) {
		*list = NULL;
		return 0;
	}
	if (um_affinity_parse(*list, &set) < 0)
		return um_decode_bad(d, "%s \"%.40s\" is not a list of CPUs", name, *list);
	return 0;
}

static int decode_affinity(struct um_decoder *d, const struct um_json *node, void *base)
{
	static const struct um_field fields[] = {
		UM_FIELD("initial", UM_F_STR, struct um_spec_process, cpus_initial),
		UM_FIELD("final", UM_F_STR, struct um_spec_process, cpus_final),
	};
	struct um_spec_process *p = base;
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), p);

	if (r >= 0)
		r = check_cpus(d, "initial", &p->cpus_initial);
	return r < 0 ? r : check_cpus(d, "final", &p->cpus_final);
}

int um_decode_label(struct um_decoder *d, const struct um_json *node, const char **ret)
{
	if (node->type != UM_JSON_STR)
		return um_decode_bad(d, "must be a string");
	if (strlen(node->str) > 500 || strpbrk(node->str, "\n\r"))
		return um_decode_bad(d, "is not a label");
	*ret = *node->str ? node->str : NULL;
	return 0;
}

static int decode_apparmor(struct um_decoder *d, const struct um_json *node, void *base)
{
	return um_decode_label(d, node, &((struct um_spec_process *)base)->apparmor_profile);
}

static int decode_selinux(struct um_decoder *d, const struct um_json *node, void *base)
{
	return um_decode_label(d, node, &((struct um_spec_process *)base)->selinux_label);
}

static int check_env(struct um_decoder *d, const struct um_strv *env)
{
	for (size_t i = 0; i < env->n; i++)
		if (!strchr(env->v[i], '=') || env->v[i][0] == '=')
			return um_decode_bad(d, "env[%zu] is not NAME=value", i);
	return 0;
}

int um_decode_process(struct um_decoder *d, const struct um_json *node, void *base)
{
	static const struct um_field fields[] = {
		UM_FIELD("terminal", UM_F_BOOL, struct um_spec_process, terminal),
		UM_FIELD_CALL("consoleSize", decode_console_size),
		UM_FIELD_CALL("user", decode_user),
		UM_FIELD("args", UM_F_STRV, struct um_spec_process, args),
		UM_FIELD_REFUSED("commandLine"),
		UM_FIELD("env", UM_F_STRV, struct um_spec_process, env),
		UM_FIELD_REQ("cwd", UM_F_STR, struct um_spec_process, cwd),
		UM_FIELD_CALL("capabilities", decode_caps),
		UM_FIELD_CALL("rlimits", decode_rlimits),
		UM_FIELD("noNewPrivileges", UM_F_BOOL, struct um_spec_process, no_new_privileges),
		UM_FIELD_NUM("oomScoreAdj", UM_F_I64, struct um_spec_process, oom_score_adj, -1000,
			     1000),
		UM_FIELD_CALL("scheduler", decode_scheduler),
		UM_FIELD_CALL("ioPriority", decode_ioprio),
		UM_FIELD_CALL("execCPUAffinity", decode_affinity),
		UM_FIELD_CALL("apparmorProfile", decode_apparmor),
		UM_FIELD_CALL("selinuxLabel", decode_selinux),
	};
	struct um_spec_process *p = base;
	int r;

	p->umask = -1;
	p->oom_score_adj = UM_CG_UNSET;
	p->ioprio = -1;
	r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), p);
	if (r < 0)
		return r;
	if (!p->args.n || !p->args.v[0][0])
		return um_decode_bad(d, "args must not be empty");
	if (p->cwd[0] != '/')
		return um_decode_bad(d, "cwd must be absolute");
	return check_env(d, &p->env);
}

static int decode_process_of_spec(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct um_spec *s = base;

	s->has_process = true;
	return um_decode_process(d, node, &s->process);
}

static int decode_annotations(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct um_spec *s = base;

	return um_decode_pairs(d, node, &s->annotations, &s->n_annotations);
}

/* ---- the document ---- */

static int check_version(struct um_decoder *d, const char *v)
{
	if (strncmp(v, "1.", 2) || v[2] < '0' || v[2] > '9')
		return um_decode_bad(d, "ociVersion \"%.40s\" is not 1.x", v);
	return 0;
}

/* A new user namespace without mappings: its root is who called, and nobody else is in it. */
static int map_caller(struct um_decoder *d, struct um_spec *s)
{
	const struct um_spec_ns *user = &s->ns[UM_NS_USER];

	if (!user->present || user->path || s->n_uid_map || s->n_gid_map)
		return 0;
	s->uid_map = um_arena_zalloc(d->arena, sizeof(*s->uid_map));
	s->gid_map = um_arena_zalloc(d->arena, sizeof(*s->gid_map));
	if (!s->uid_map || !s->gid_map)
		return -ENOMEM;
	*s->uid_map = (struct um_spec_idmap){.host_id = geteuid(), .size = 1};
	*s->gid_map = (struct um_spec_idmap){.host_id = getegid(), .size = 1};
	s->n_uid_map = s->n_gid_map = 1;
	return 0;
}

/* Names of the container that the configuration gives already. */
static int check_sysctl(struct um_decoder *d, const struct um_spec *s)
{
	for (size_t i = 0; i < s->n_sysctl; i++) {
		const char *key = s->sysctl[i].key;

		if (!strcmp(key, "kernel.hostname") || !strcmp(key, "kernel/hostname"))
			return um_decode_bad(d, "linux.sysctl: \"%s\" is what hostname is for",
					     key);
		if (s->domainname && strcmp(s->sysctl[i].value, s->domainname) &&
		    (!strcmp(key, "kernel.domainname") || !strcmp(key, "kernel/domainname")))
			return um_decode_bad(d, "linux.sysctl: \"%s\" conflicts with domainname",
					     key);
	}
	return 0;
}

/* Without a mount namespace: what would change the host's own mounts, or needs one. */
static int check_host_mounts(struct um_decoder *d, const struct um_spec *s)
{
	const uint64_t with_host = MS_SHARED | MS_SLAVE;

	if (s->ns[UM_NS_USER].present)
		return um_decode_unsupported(d, "linux.namespaces: a user namespace without a "
						"mount namespace is not supported: its root may "
						"not mount");
	if (s->rootfs_propagation & with_host)
		return um_decode_unsupported(d, "linux.rootfsPropagation: shared and slave need a "
						"mount namespace");
	for (size_t i = 0; i < s->n_mounts; i++)
		if ((s->mounts[i].propagation | s->mounts[i].rec_propagation) & with_host)
			return um_decode_unsupported(d,
						     "mounts[%zu]: options: shared and slave "
						     "need a mount namespace",
						     i);
	return 0;
}

static int check_whole(struct um_decoder *d, const struct um_spec *s)
{
	const struct um_spec_ns *ns = s->ns;

	for (size_t i = 0; i < s->n_mounts; i++)
		if (s->mounts[i].idmap && !s->mounts[i].n_uid_map && !ns[UM_NS_USER].present)
			return um_decode_bad(d,
					     "mounts[%zu]: options: idmap needs uidMappings, or a "
					     "user namespace",
					     i);

	if (!ns[UM_NS_MOUNT].present) {
		int r = check_host_mounts(d, s);

		if (r < 0)
			return r;
	}
	if (s->hostname && !ns[UM_NS_UTS].present)
		return um_decode_bad(d, "hostname needs a uts namespace");
	if (s->domainname && !ns[UM_NS_UTS].present)
		return um_decode_bad(d, "domainname needs a uts namespace");
	if ((s->n_uid_map || s->n_gid_map) && !ns[UM_NS_USER].present)
		return um_decode_bad(d, "linux.uidMappings needs a user namespace");
	if (ns[UM_NS_USER].present && !ns[UM_NS_USER].path && (!s->n_uid_map || !s->n_gid_map))
		return um_decode_bad(d, "linux.uidMappings and gidMappings are required for a new "
					"user namespace");
	if (s->has_time_offsets && (!ns[UM_NS_TIME].present || ns[UM_NS_TIME].path))
		return um_decode_bad(d, "linux.timeOffsets needs a new time namespace");
	return check_sysctl(d, s);
}

int um_spec_decode(struct um_arena *a, const struct um_json *json, struct um_spec **ret,
		   struct um_error *err)
{
	static const struct um_field fields[] = {
		UM_FIELD_REQ("ociVersion", UM_F_STR, struct um_spec, oci_version),
		{.name = "root", .kind = UM_F_CALL, .call = decode_root, .required = true},
		UM_FIELD_CALL("mounts", decode_mounts),
		UM_FIELD("hostname", UM_F_STR, struct um_spec, hostname),
		UM_FIELD("domainname", UM_F_STR, struct um_spec, domainname),
		UM_FIELD_CALL("process", decode_process_of_spec),
		UM_FIELD_CALL("hooks", decode_hooks),
		UM_FIELD_CALL("annotations", decode_annotations),
		{.name = "linux", .kind = UM_F_CALL, .call = um_decode_linux, .required = true},
		UM_FIELD_REFUSED("solaris"),
		UM_FIELD_REFUSED("windows"),
		UM_FIELD_REFUSED("vm"),
		UM_FIELD_REFUSED("zos"),
		UM_FIELD_REFUSED("freebsd"),
	};
	struct um_decoder d = {.arena = a, .err = err};
	struct um_spec *s = um_arena_new_of(a, struct um_spec);
	int r;

	if (!s)
		return -ENOMEM;
	s->json = json;
	s->personality = -1;
	s->seccomp.default_errno_ret = -1;
	um_cgroup_limits_init(&s->limits);
	r = um_decode_object(&d, json, fields, UM_ARRAY_LEN(fields), s);
	if (r >= 0)
		r = check_version(&d, s->oci_version);
	if (r >= 0)
		um_spec_settle_pids(s, s->oci_version);
	if (r >= 0)
		r = map_caller(&d, s);
	if (r >= 0)
		r = check_whole(&d, s);
	if (r >= 0)
		r = um_landlock_decode(a, s, err);
	if (r >= 0)
		r = um_annotations_decode(s, err);
	if (r < 0)
		return r;
	*ret = s;
	return 0;
}

int um_spec_decode_process(struct um_arena *a, const struct um_json *json,
			   struct um_spec_process *ret, struct um_error *err)
{
	struct um_decoder d = {.arena = a, .err = err, .path = "process"};
	struct um_spec_process p = {0};
	int r = um_decode_process(&d, json, &p);

	if (r >= 0)
		*ret = p;
	return r;
}

int um_spec_decode_resources(struct um_arena *a, const struct um_json *json, struct um_spec *into,
			     struct um_error *err)
{
	struct um_decoder d = {.arena = a, .err = err, .path = "resources"};

	return um_decode_resources(&d, json, into);
}

int um_spec_load(struct um_arena *a, int dirfd, const char *path, struct um_spec **ret,
		 struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_SPEC_MAX_BYTES);
	struct um_json *json;
	int r = um_io_read_file(dirfd, path, &b, err);

	if (r >= 0)
		r = um_json_parse(a, um_buf_str(&b), b.len, NULL, &json, err);
	if (r < 0)
		return um_error_wrap(err, r, "%s", path);
	return um_spec_decode(a, json, ret, err);
}
