#include "agent/downward.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/internal.h"
#include "base/quantity.h"

/* ---- labels and annotations ---- */

/* Go's %q, which Kubernetes prints them with. */
static void quote(struct um_buf *b, const char *s)
{
	static const char letters[] = "abtnvfr"; /* \a is 7 */

	um_buf_addc(b, '"');
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			um_buf_addf(b, "\\%c", c);
		else if (c >= 7 && c <= 13)
			um_buf_addf(b, "\\%c", letters[c - 7]);
		else if (c < ' ' || c == 0x7f)
			um_buf_addf(b, "\\x%02x", c);
		else
			um_buf_addc(b, (char)c);
	}
	um_buf_addc(b, '"');
}

static int by_key(const void *x, const void *y)
{
	const struct um_json *const *a = x, *const *b = y;

	return strcmp((*a)->key, (*b)->key);
}

static const char *format_map(struct um_arena *a, const struct um_json *map)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(4 << 20);
	size_t n = 0, len = um_json_is(map, UM_JSON_OBJ) ? map->len : 0;
	const struct um_json **all = um_arena_alloc(a, (len + 1) * sizeof(*all));

	if (!all)
		return NULL;
	um_json_foreach (it, map)
		if (n < len)
			all[n++] = it;
	qsort(all, n, sizeof(*all), by_key);
	for (size_t i = 0; i < n; i++) {
		um_buf_addf(&b, "%s%s=", i ? "\n" : "", all[i]->key);
		quote(&b, um_json_str(all[i], ""));
	}
	return um_buf_error(&b) ? NULL : um_arena_strndup(a, um_buf_str(&b), b.len);
}

static const char *subscript(struct um_arena *a, const char *path, const char *field,
			     const struct um_json *map)
{
	size_t n = strlen(field), len = strlen(path);

	if (strncmp(path, field, n) || path[n] != '[' || len < n + 4 || path[n + 1] != '\'' ||
	    strcmp(path + len - 2, "']"))
		return NULL;
	return um_json_str(um_json_get(map, um_arena_strndup(a, path + n + 2, len - n - 4)), "");
}

const char *downward_field(struct um_arena *a, const struct agent_pod *p, const char *path)
{
	static const char *const maps[][2] = {{"metadata.labels", "labels"},
					      {"metadata.annotations", "annotations"}};
	const struct um_json *meta = um_json_get(p->obj, "metadata");
	const struct {
		const char *path, *value;
	} fields[] = {
		{"metadata.name", p->name},
		{"metadata.namespace", p->ns},
		{"metadata.uid", p->uid},
		{"spec.nodeName", p->agent->opt.node_name},
		{"spec.serviceAccountName",
		 um_json_get_str(p->obj, "spec.serviceAccountName", "default")},
		{"status.podIP", p->ip},
		{"status.podIPs", p->ip},
		{"status.hostIP", p->agent->opt.host_ip},
		{"status.hostIPs", p->agent->opt.host_ip},
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(fields); i++)
		if (!strcmp(path, fields[i].path))
			return fields[i].value ? fields[i].value : "";
	for (size_t i = 0; i < UM_ARRAY_LEN(maps); i++) {
		const struct um_json *map = um_json_get(meta, maps[i][1]);
		const char *v;

		if (!strcmp(path, maps[i][0]))
			return format_map(a, map);
		v = subscript(a, path, maps[i][0], map);
		if (v)
			return v;
	}
	return NULL;
}

/* ---- resources ---- */

static int64_t disk_bytes(const struct agent_pod *p)
{
	struct statvfs st;

	if (!p->agent->opt.state_dir || statvfs(p->agent->opt.state_dir, &st) < 0)
		return 0;
	return (int64_t)st.f_blocks * (int64_t)st.f_frsize;
}

/* What the node has, in the unit of the resource: thousandths of a CPU, bytes. */
static int64_t node_has(const struct agent_pod *p, const char *resource)
{
	if (!strcmp(resource, "cpu"))
		return sysconf(_SC_NPROCESSORS_ONLN) * 1000;
	if (!strcmp(resource, "memory"))
		return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
	return disk_bytes(p);
}

static const struct um_json *find_container(const struct agent_pod *p, const char *name)
{
	for (size_t i = 0; i < p->n_ctrs; i++)
		if (!strcmp(p->ctrs[i].name, name))
			return p->ctrs[i].spec;
	return NULL;
}

const char *downward_resource(struct um_arena *a, const struct agent_pod *p,
			      const struct um_json *spec, const struct um_json *ref,
			      struct um_error *err)
{
	const char *what = um_json_get_str(ref, "resource", "");
	const char *name = um_json_get_str(ref, "containerName", "");
	const char *divisor = um_json_get_str(ref, "divisor", "0"), *dot = strchr(what, '.'), *list;
	int (*parse)(const char *, int64_t *) = um_quantity_value;
	int64_t value = 0, by = 1;
	const struct um_json *v;

	if (*name)
		spec = find_container(p, name);
	if (!spec) {
		um_error_set(err, -ENOENT, "container %s not found", name);
		return NULL;
	}
	if (!strcmp(divisor, "0"))
		divisor = "1";
	if (dot && !strcmp(dot + 1, "cpu"))
		parse = um_quantity_milli;
	list = dot ? um_arena_strndup(a, what, (size_t)(dot - what)) : NULL;
	v = list ? um_json_get(um_json_get(um_json_get(spec, "resources"), list), dot + 1) : NULL;
	if (!list || (v && parse(um_json_str(v, ""), &value) < 0) || parse(divisor, &by) < 0 ||
	    by <= 0) {
		um_error_set(err, -EINVAL, "resourceFieldRef %s: cannot be had", what);
		return NULL;
	}
	if (!v && !strcmp(list, "limits"))
		value = node_has(p, dot + 1);
	return um_arena_printf(a, "%" PRId64, value / by + (value % by != 0));
}
