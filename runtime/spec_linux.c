/* The `linux` object of config.json. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>

#include "base/num.h"
#include "runtime/decode.h"
#include "runtime/mempolicy.h"

/* ---- namespaces and mappings ---- */

static int decode_namespace(struct um_decoder *d, const struct um_json *node, void *at)
{
	struct staging {
		const char *type, *path;
	} s = {0};
	static const struct um_field fields[] = {
		UM_FIELD_REQ("type", UM_F_STR, struct staging, type),
		UM_FIELD("path", UM_F_STR, struct staging, path),
	};
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), &s);

	if (r < 0)
		return r;
	if (s.path && *s.path && s.path[0] != '/')
		return um_decode_bad(d, "path must be absolute");
	for (int i = 0; i < UM_NS_N; i++)
		if (!strcmp(s.type, um_spec_ns_name(i))) {
			struct um_spec_ns *ns = at;

			ns->present = true;
			ns->path = s.path && *s.path ? s.path : NULL;
			*(int *)(ns + 1) = i;
			return 0;
		}
	return um_decode_bad(d, "type \"%.40s\" is not known", s.type);
}

static int decode_namespaces(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct typed {
		struct um_spec_ns ns;
		int type; /* decode_namespace() writes it behind ns */
	} * list;
	struct um_spec *s = base;
	size_t n;
	int r = um_decode_array(d, node, sizeof(*list), decode_namespace, &list, &n);

	for (size_t i = 0; r >= 0 && i < n; i++) {
		if (s->ns[list[i].type].present)
			return um_decode_bad(d, "\"%s\" stands twice",
					     um_spec_ns_name(list[i].type));
		s->ns[list[i].type] = list[i].ns;
	}
	return r;
}

int um_decode_idmap(struct um_decoder *d, const struct um_json *node, void *at)
{
	static const struct um_field fields[] = {
		UM_FIELD_REQ("containerID", UM_F_U32, struct um_spec_idmap, container_id),
		UM_FIELD_REQ("hostID", UM_F_U32, struct um_spec_idmap, host_id),
		UM_FIELD_REQ("size", UM_F_U32, struct um_spec_idmap, size),
	};
	struct um_spec_idmap *m = at;
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), m);

	if (r >= 0 && (!m->size || (uint64_t)m->container_id + m->size > UINT32_MAX ||
		       (uint64_t)m->host_id + m->size > UINT32_MAX))
		return um_decode_bad(d, "size is not possible");
	return r;
}

static int decode_uid_map(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct um_spec *s = base;

	return um_decode_array(d, node, sizeof(*s->uid_map), um_decode_idmap, &s->uid_map,
			       &s->n_uid_map);
}

static int decode_gid_map(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct um_spec *s = base;

	return um_decode_array(d, node, sizeof(*s->gid_map), um_decode_idmap, &s->gid_map,
			       &s->n_gid_map);
}

static int decode_time_offsets(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct staging {
		int64_t secs, nanosecs;
	} v[2] = {{0}};
	static const struct um_field fields[] = {
		UM_FIELD("secs", UM_F_I64, struct staging, secs),
		UM_FIELD_NUM("nanosecs", UM_F_I64, struct staging, nanosecs, 0, 999999999),
	};
	static const char *const clocks[] = {"monotonic", "boottime"};
	struct um_spec *s = base;

	if (node->type != UM_JSON_OBJ)
		return um_decode_bad(d, "must be an object");
	um_json_foreach (it, node) {
		if (strcmp(it->key, clocks[0]) && strcmp(it->key, clocks[1]))
			return um_decode_bad(d, "clock \"%.40s\" is not known", it->key);
	}
	for (int i = 0; i < 2; i++) {
		const struct um_json *c = um_json_get(node, clocks[i]);
		size_t mark = um_decode_push(d, clocks[i]);
		int r = c ? um_decode_object(d, c, fields, UM_ARRAY_LEN(fields), &v[i]) : 0;

		if (r < 0)
			return r;
		um_decode_pop(d, mark);
		s->has_time_offsets = s->has_time_offsets || c;
	}
	s->time_monotonic_sec = v[0].secs;
	s->time_monotonic_nsec = v[0].nanosecs;
	s->time_boottime_sec = v[1].secs;
	s->time_boottime_nsec = v[1].nanosecs;
	return 0;
}

/* ---- devices ---- */

static int decode_device(struct um_decoder *d, const struct um_json *node, void *at)
{
	struct staging {
		struct um_spec_device v;
		const char *type;
	} s = {.v = {.major = -1, .minor = -1, .mode = 0666}};
	static const struct um_field fields[] = {
		UM_FIELD_REQ("path", UM_F_STR, struct staging, v.path),
		UM_FIELD_REQ("type", UM_F_STR, struct staging, type),
		UM_FIELD_NUM("major", UM_F_I64, struct staging, v.major, 0, UINT32_MAX),
		UM_FIELD_NUM("minor", UM_F_I64, struct staging, v.minor, 0, UINT32_MAX),
		UM_FIELD_NUM("fileMode", UM_F_U32, struct staging, v.mode, 0, 0177777),
		UM_FIELD_NUM("uid", UM_F_U32, struct staging, v.uid, 0, UINT32_MAX - 1),
		UM_FIELD_NUM("gid", UM_F_U32, struct staging, v.gid, 0, UINT32_MAX - 1),
	};
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), &s);

	if (r < 0)
		return r;
	if (s.v.path[0] != '/' || strlen(s.v.path) >= PATH_MAX)
		return um_decode_bad(d, "path must be absolute");
	if (strlen(s.type) != 1 || !strchr("cubp", s.type[0]))
		return um_decode_bad(d, "type must be c, u, b or p");
	s.v.type = s.type[0] == 'u' ? 'c' : s.type[0];
	if (s.v.type != 'p' && (s.v.major < 0 || s.v.minor < 0))
		return um_decode_bad(d, "major and minor are required");
	s.v.mode &= 07777;
	*(struct um_spec_device *)at = s.v;
	return 0;
}

static int decode_devices(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct um_spec *s = base;

	return um_decode_array(d, node, sizeof(*s->devices), decode_device, &s->devices,
			       &s->n_devices);
}

/* ---- the rest ---- */

static int decode_rootfs_propagation(struct um_decoder *d, const struct um_json *node, void *base)
{
	static const struct {
		const char *name;
		uint64_t flags;
	} names[] = {{"shared", MS_SHARED},	    {"rshared", MS_SHARED | MS_REC},
		     {"slave", MS_SLAVE},	    {"rslave", MS_SLAVE | MS_REC},
		     {"private", MS_PRIVATE},	    {"rprivate", MS_PRIVATE | MS_REC},
		     {"unbindable", MS_UNBINDABLE}, {"runbindable", MS_UNBINDABLE | MS_REC}};
	struct um_spec *s = base;

	if (node->type != UM_JSON_STR)
		return um_decode_bad(d, "must be a string");
	if (!*node->str)
		return 0;
	for (size_t i = 0; i < UM_ARRAY_LEN(names); i++)
		if (!strcmp(names[i].name, node->str)) {
			s->rootfs_propagation = names[i].flags;
			return 0;
		}
	return um_decode_bad(d, "\"%.40s\" is not known", node->str);
}

static int decode_sysctl(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct um_spec *s = base;

	return um_decode_pairs(d, node, &s->sysctl, &s->n_sysctl);
}

static int decode_cgroups_path(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct um_spec *s = base;
	struct um_error e = UM_ERROR_INIT;

	if (node->type != UM_JSON_STR)
		return um_decode_bad(d, "must be a string");
	if (!*node->str)
		return 0;
	if (um_cgroup_check_path(node->str, &e) < 0)
		return um_decode_bad(d, "%s", e.msg);
	s->cgroups_path = node->str;
	return 0;
}

static int decode_personality(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct staging {
		const char *domain;
	} v = {0};
	static const struct um_field fields[] = {
		UM_FIELD_REQ("domain", UM_F_STR, struct staging, domain),
		UM_FIELD_REFUSED("flags"),
	};
	struct um_spec *s = base;
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), &v);

	if (r < 0)
		return r;
	if (!strcmp(v.domain, "LINUX"))
		s->personality = PER_LINUX;
	else if (!strcmp(v.domain, "LINUX32"))
		s->personality = PER_LINUX32;
	else
		return um_decode_bad(d, "domain \"%.40s\" is not known", v.domain);
	return 0;
}

static int decode_mount_label(struct um_decoder *d, const struct um_json *node, void *base)
{
	return um_decode_label(d, node, &((struct um_spec *)base)->mount_label);
}

static int check_paths(struct um_decoder *d, const struct um_strv *paths, const char *name)
{
	for (size_t i = 0; i < paths->n; i++)
		if (paths->v[i][0] != '/' || strlen(paths->v[i]) >= PATH_MAX)
			return um_decode_bad(d, "%s[%zu] must be absolute", name, i);
	return 0;
}

int um_decode_linux(struct um_decoder *d, const struct um_json *node, void *base)
{
	static const struct um_field fields[] = {
		UM_FIELD_CALL("namespaces", decode_namespaces),
		UM_FIELD_CALL("uidMappings", decode_uid_map),
		UM_FIELD_CALL("gidMappings", decode_gid_map),
		UM_FIELD_CALL("timeOffsets", decode_time_offsets),
		UM_FIELD_CALL("devices", decode_devices),
		UM_FIELD_REFUSED("netDevices"),
		UM_FIELD_CALL("cgroupsPath", decode_cgroups_path),
		UM_FIELD_CALL("resources", um_decode_resources),
		UM_FIELD_REFUSED("intelRdt"),
		UM_FIELD_CALL("memoryPolicy", um_decode_mempolicy),
		UM_FIELD_CALL("sysctl", decode_sysctl),
		UM_FIELD_CALL("seccomp", um_decode_seccomp),
		UM_FIELD_CALL("rootfsPropagation", decode_rootfs_propagation),
		UM_FIELD("maskedPaths", UM_F_STRV, struct um_spec, masked_paths),
		UM_FIELD("readonlyPaths", UM_F_STRV, struct um_spec, readonly_paths),
		UM_FIELD_CALL("mountLabel", decode_mount_label),
		UM_FIELD_CALL("personality", decode_personality),
	};
	struct um_spec *s = base;
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), s);

	if (r >= 0)
		r = check_paths(d, &s->masked_paths, "maskedPaths");
	if (r >= 0)
		r = check_paths(d, &s->readonly_paths, "readonlyPaths");
	return r;
}
