/* References to the pod's own fields, as variables and files have them. */
#include <string.h>
#include <strings.h>

#include "api/schema/validate.h"
#include "base/quantity.h"

/* ---- fieldRef ---- */

/* What stands for itself in an apiVersion v1 path; which of these a variable or a file may name is
 * a list of its own. */
static const char convertible[] =
	"metadata.annotations|metadata.labels|metadata.name|metadata.namespace|metadata.uid|"
	"spec.nodeName|spec.restartPolicy|spec.schedulerName|spec.serviceAccountName|status.hostIP|"
	"status.hostIPs|status.phase|status.podIP|status.podIPs";
static const char in_variables[] =
	"metadata.name|metadata.namespace|metadata.uid|spec.nodeName|spec.serviceAccountName|"
	"status.hostIP|status.hostIPs|status.podIP|status.podIPs";
static const char in_files[] =
	"metadata.annotations|metadata.labels|metadata.name|metadata.namespace|metadata.uid";

/* "metadata.labels['key']" in two; false: it has no subscript. */
static bool split(struct um_svalidator *v, const char *path, const char **ret_field, char **ret_key)
{
	const char *open = strstr(path, "['");
	size_t len = strlen(path);

	if (!open || open == path || len < (size_t)(open - path) + 4 ||
	    strcmp(path + len - 2, "']"))
		return false;
	*ret_field = um_arena_strndup(v->causes->arena, path, (size_t)(open - path));
	*ret_key = um_arena_strndup(v->causes->arena, open + 2, len - (size_t)(open - path) - 4);
	return *ret_field && *ret_key;
}

static void cannot_convert(struct um_svalidator *v, const struct um_spath *p, const char *path)
{
	char why[300];

	snprintf(why, sizeof(why), "error converting fieldPath: field label not supported: %.150s",
		 path);
	um_sv_invalid_str(v, UM_SPATH_FIELD(p, "fieldPath"), path, why);
}

static void check_subscript(struct um_svalidator *v, const char *path, const char *field, char *key,
			    const struct um_spath *p)
{
	bool annotation = !strcmp(field, "metadata.annotations");
	const char *why;

	if (!annotation && strcmp(field, "metadata.labels")) {
		cannot_convert(v, p, path);
		return;
	}
	for (char *c = key; annotation && *c; c++) /* their prefixes may have capitals */
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
	why = um_sformat_qualified(key);
	if (why)
		um_sv_invalid_str(v, p, key, why);
}

void um_sv_field_ref(struct um_svalidator *v, const struct um_json *ref, bool file,
		     const struct um_spath *p)
{
	const char *path = um_json_get_str(ref, "fieldPath", "");
	const char *version = um_json_get_str(ref, "apiVersion", "v1");
	const char *known = file ? in_files : in_variables, *field;
	char why[200], *key;

	if (!*path) /* the notation has said so */
		return;
	if (strcmp(version, "v1")) {
		snprintf(why, sizeof(why),
			 "error converting fieldPath: unsupported pod version: %.100s", version);
		um_sv_invalid_str(v, UM_SPATH_FIELD(p, "fieldPath"), path, why);
	} else if (split(v, path, &field, &key)) {
		check_subscript(v, path, field, key, p);
	} else if (!um_senum_has(convertible, path)) {
		cannot_convert(v, p, path);
	} else if (!um_senum_has(known, path)) {
		um_sv_not_supported(v, UM_SPATH_FIELD(p, "fieldPath"), path, known);
	}
}

/* ---- resourceFieldRef ---- */

static const struct {
	const char *resource, *divisors, *why;
} units[] = {
	{"cpu", "1m|1", "only divisor's values 1m and 1 are supported with the cpu resource"},
	{"memory", "1|1k|1M|1G|1T|1P|1E|1Ki|1Mi|1Gi|1Ti|1Pi|1Ei",
	 "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are "
	 "supported with the memory resource"},
	{"ephemeral-storage", "1|1k|1M|1G|1T|1P|1E|1Ki|1Mi|1Gi|1Ti|1Pi|1Ei",
	 "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are "
	 "supported with the local ephemeral storage resource"},
};

static void check_divisor(struct um_svalidator *v, const struct um_json *ref, const char *resource,
			  const struct um_spath *p)
{
	const char *divisor = um_json_get_str(ref, "divisor", "0");
	const char *dot = strchr(resource, '.');
	int64_t milli;

	/* Zero stands for "not said". */
	if (!dot || (um_quantity_milli(divisor, &milli) == 0 && milli == 0))
		return;
	for (size_t i = 0; i < UM_ARRAY_LEN(units); i++)
		if (!strcmp(units[i].resource, dot + 1) &&
		    !um_senum_has(units[i].divisors, divisor))
			um_sv_invalid_str(v, UM_SPATH_FIELD(p, "divisor"), resource, units[i].why);
}

void um_sv_resource_ref(struct um_svalidator *v, const struct um_json *ref, bool file,
			const struct um_spath *p)
{
	static const char known[] = "limits.cpu|limits.ephemeral-storage|limits.memory|"
				    "requests.cpu|requests.ephemeral-storage|requests.memory";
	const char *resource = um_json_get_str(ref, "resource", "");

	if (file && !*um_json_get_str(ref, "containerName", ""))
		um_sv_required(v, UM_SPATH_FIELD(p, "containerName"), NULL);
	else if (*resource && !um_senum_has(known, resource))
		um_sv_not_supported(v, UM_SPATH_FIELD(p, "resource"), resource, known);
	else
		check_divisor(v, ref, resource, p);
}
