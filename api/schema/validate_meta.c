/* metadata: names, labels, annotations, owners, finalizers, and what may not change. */
#include <string.h>

#include "api/schema/validate.h"

#define MAX_ANNOTATIONS (256 * 1024)

static const char *name_rule(struct um_svalidator *v, const char *name)
{
	const struct um_kind_ops *ops = um_kind_ops_of(v->kind);
	const char *why = NULL;

	if (ops && ops->name_ok)
		return ops->name_ok(name, &why) ? NULL : why;
	return um_sformat_dns_subdomain(name);
}

/* A prefix may end in dashes: those are followed by what the server adds. */
static void check_generate_name(struct um_svalidator *v, const char *prefix,
				const struct um_spath *p)
{
	size_t len = strlen(prefix);
	char *masked;
	const char *why;

	if (!len)
		return;
	masked = um_arena_strndup(v->causes->arena, prefix, len);
	if (!masked)
		return;
	if (len > 1 && masked[len - 1] == '-')
		masked[len - 1] = 'a';
	why = name_rule(v, masked);
	if (why)
		um_sv_invalid_str(v, UM_SPATH_FIELD(p, "generateName"), prefix, why);
}

static void check_names(struct um_svalidator *v, const struct um_json *meta,
			const struct um_spath *p)
{
	const char *name = um_json_get_str(meta, "name", "");
	const char *ns = um_json_get_str(meta, "namespace", ""), *why;

	check_generate_name(v, um_json_get_str(meta, "generateName", ""), p);
	if (!*name)
		um_sv_required(v, UM_SPATH_FIELD(p, "name"), "name or generateName is required");
	else if ((why = name_rule(v, name)))
		um_sv_invalid_str(v, UM_SPATH_FIELD(p, "name"), name, why);
	if (!v->kind->namespaced) {
		if (*ns)
			um_sv_forbidden(v, UM_SPATH_FIELD(p, "namespace"),
					"not allowed on this type");
	} else if (!*ns) {
		um_sv_required(v, UM_SPATH_FIELD(p, "namespace"), NULL);
	} else if ((why = um_sformat_dns_label(ns))) {
		um_sv_invalid_str(v, UM_SPATH_FIELD(p, "namespace"), ns, why);
	}
}

static void check_labels(struct um_svalidator *v, const struct um_json *labels,
			 const struct um_spath *p)
{
	um_json_foreach (it, labels) {
		const char *why = um_sformat_qualified(it->key);

		if (why)
			um_sv_invalid_str(v, p, it->key, why);
		why = um_sformat_label_value(um_json_str(it, ""));
		if (why)
			um_sv_invalid(v, p, it, why);
	}
}

static void check_annotations(struct um_svalidator *v, const struct um_json *annotations,
			      const struct um_spath *p)
{
	size_t total = 0;

	um_json_foreach (it, annotations) {
		size_t len = strlen(it->key);
		char lower[400];
		const char *why;

		total += len + it->len;
		for (size_t i = 0; i <= len && i < sizeof(lower); i++)
			lower[i] = (char)(it->key[i] >= 'A' && it->key[i] <= 'Z' ? it->key[i] + 32
										 : it->key[i]);
		lower[sizeof(lower) - 1] = '\0';
		why = um_sformat_qualified(lower);
		if (why)
			um_sv_invalid_str(v, p, it->key, why);
	}
	if (total > MAX_ANNOTATIONS)
		um_sv_too_long(v, p, MAX_ANNOTATIONS);
}

static void check_finalizers(struct um_svalidator *v, const struct um_json *list,
			     const struct um_spath *p)
{
	um_json_foreach (it, list) {
		const char *name = um_json_str(it, ""), *why = um_sformat_qualified(name);

		if (why)
			um_sv_invalid(v, p, it, why);
		else if (!strchr(name, '/') &&
			 !um_senum_has("kubernetes|orphan|foregroundDeletion", name))
			um_sv_invalid(v, p, it,
				      "name is neither a standard finalizer name nor is it fully "
				      "qualified");
	}
}

static void check_owners(struct um_svalidator *v, const struct um_json *list,
			 const struct um_spath *p)
{
	static const struct {
		const char *field, *why;
	} fields[] = {{"apiVersion", "version must not be empty"},
		      {"kind", "must not be empty"},
		      {"name", "must not be empty"},
		      {"uid", "must not be empty"}};
	const char *controller = NULL;
	long i = 0;

	um_json_foreach (it, list) {
		const struct um_spath *here = UM_SPATH_INDEX(p, i++);
		const char *name = um_json_get_str(it, "name", "");

		for (size_t f = 0; f < UM_ARRAY_LEN(fields); f++)
			if (!*um_json_str(um_json_get(it, fields[f].field), ""))
				um_sv_invalid_str(v, UM_SPATH_FIELD(here, fields[f].field), "",
						  fields[f].why);
		if (!um_json_get_bool(it, "controller", false))
			continue;
		if (controller)
			um_sv_invalid(v, p, it,
				      "Only one reference can have Controller set to true");
		controller = name;
	}
}

static bool holds(const struct um_json *list, const char *s)
{
	um_json_foreach (it, list)
		if (um_json_streq(it, s))
			return true;
	return false;
}

static void check_update(struct um_svalidator *v, const struct um_json *meta,
			 const struct um_json *old, const struct um_spath *p)
{
	static const char *const fixed[] = {"name", "namespace", "uid", "creationTimestamp"};
	int64_t before = um_json_get_i64(old, "generation", 0);

	for (size_t i = 0; i < UM_ARRAY_LEN(fixed); i++) {
		const struct um_json *now = um_json_get(meta, fixed[i]);

		if (now)
			um_sv_immutable(v, UM_SPATH_FIELD(p, fixed[i]), now,
					um_json_get(old, fixed[i]));
	}
	if (um_json_get(meta, "generation") && um_json_get_i64(meta, "generation", 0) < before)
		um_sv_invalid(v, UM_SPATH_FIELD(p, "generation"), um_json_get(meta, "generation"),
			      "must not be decremented");
	if (!um_json_get(old, "deletionTimestamp"))
		return;
	um_json_foreach (it, um_json_get(meta, "finalizers")) {
		char why[300];

		if (holds(um_json_get(old, "finalizers"), um_json_str(it, "")))
			continue;
		snprintf(why, sizeof(why),
			 "no new finalizers can be added if the object is being deleted, found new "
			 "finalizers []string{\"%.100s\"}",
			 um_json_str(it, ""));
		um_sv_forbidden(v, UM_SPATH_FIELD(p, "finalizers"), why);
	}
}

void um_sv_template_metadata(struct um_svalidator *v, const struct um_json *meta,
			     const struct um_spath *p)
{
	check_labels(v, um_json_get(meta, "labels"), UM_SPATH_FIELD(p, "labels"));
	check_annotations(v, um_json_get(meta, "annotations"), UM_SPATH_FIELD(p, "annotations"));
}

void um_sv_metadata(struct um_svalidator *v, const struct um_json *obj, const struct um_json *old)
{
	const struct um_json *meta = um_json_get(obj, "metadata");
	const struct um_spath *p = UM_SPATH_FIELD(NULL, "metadata");

	check_names(v, meta, p);
	um_sv_template_metadata(v, meta, p);
	check_owners(v, um_json_get(meta, "ownerReferences"), UM_SPATH_FIELD(p, "ownerReferences"));
	check_finalizers(v, um_json_get(meta, "finalizers"), UM_SPATH_FIELD(p, "finalizers"));
	if (old)
		check_update(v, meta, um_json_get(old, "metadata"), p);
}
