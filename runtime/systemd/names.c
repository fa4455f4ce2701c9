/* linux.cgroupsPath for systemd: units' names, and where a slice lies. */
#include "runtime/systemd.h"

#include <string.h>

#define MAX_UNIT_NAME 255

static const char unit_chars[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:-_.\\@";

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n > m && !strcmp(s + n - m, end);
}

static int check_unit(const char *unit, struct um_error *err)
{
	size_t len = strlen(unit);

	if (len > MAX_UNIT_NAME || unit[strspn(unit, unit_chars)] || unit[0] == '.' ||
	    unit[0] == '@')
		return um_error_set(err, -EINVAL,
				    "linux.cgroupsPath: \"%.100s\" cannot be the name of a unit of "
				    "systemd",
				    unit);
	return 0;
}

int um_systemd_expand(const char *slice, struct um_buf *b, struct um_error *err)
{
	size_t len = strlen(slice) - (ends_with(slice, ".slice") ? strlen(".slice") : 0);

	if (len == strlen(slice) || check_unit(slice, NULL) < 0 || strchr(slice, '@'))
		return um_error_set(err, -EINVAL,
				    "linux.cgroupsPath: \"%.100s\" is not the name of a slice",
				    slice);
	if (len == 1 && slice[0] == '-')
		return 0; /* the root */
	for (size_t i = 0; i <= len; i++) {
		if (i < len && slice[i] != '-')
			continue;
		if (!i || slice[i - 1] == '-')
			return um_error_set(err, -EINVAL,
					    "linux.cgroupsPath: slice \"%.100s\" has an empty part",
					    slice);
		um_buf_addf(b, "%s%.*s.slice", b->len ? "/" : "", (int)i, slice);
	}
	return um_buf_error(b);
}

int um_systemd_parse(struct um_arena *a, const char *cgroups_path, const char *id, bool user,
		     struct um_systemd_names *ret, struct um_error *err)
{
	_cleanup_buf_ struct um_buf where = UM_BUF_INIT(64 << 10);
	const char *slice = "", *prefix = UM_SYSTEMD_PREFIX, *name = id;
	int r;

	if (cgroups_path) {
		char *copy = um_arena_strdup(a, cgroups_path), *second, *third;

		if (!copy)
			return -ENOMEM;
		second = strchr(copy, ':');
		third = second ? strchr(second + 1, ':') : NULL;
		if (!third || strchr(third + 1, ':') || !third[1])
			return um_error_set(err, -EINVAL,
					    "linux.cgroupsPath: \"%.100s\" is not of the form "
					    "slice:prefix:name, which --systemd-cgroup needs",
					    cgroups_path);
		*second = *third = '\0';
		slice = copy;
		prefix = second + 1;
		name = third + 1;
	}
	if (ends_with(name, ".slice"))
		return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
					   "linux.cgroupsPath: a slice (%.100s) as the container's "
					   "own unit is not supported",
					   name);
	if (!*slice)
		slice = user ? "user.slice" : "system.slice";
	ret->slice = slice;
	ret->unit = um_arena_printf(a, "%s%s%s.scope", prefix, *prefix ? "-" : "", name);
	if (!ret->unit)
		return -ENOMEM;
	r = um_systemd_expand(slice, &where, err);
	return r < 0 ? r : check_unit(ret->unit, err);
}
