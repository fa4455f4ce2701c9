/* Deployments, ReplicaSets: defaults and rules of what makes pods from a template. */
#include <ctype.h>
#include <string.h>

#include "api/schema/validate.h"
#include "base/num.h"

static const struct um_spath *const spec_path = &(const struct um_spath){NULL, "spec", 0, false};

/* ---- defaults ---- */

static void default_step(struct um_json *step, const char *key, struct um_arena *a)
{
	if (!um_json_get(step, key))
		um_json_set_str(a, step, key, "25%");
}

void um_sdefault_replica_set(struct um_json *obj, struct um_arena *a)
{
	struct um_json *template = um_json_path(obj, "spec.template");

	um_sdefault_template_spec(um_json_ensure_obj(a, template, "spec"), a);
}

void um_sdefault_pod_template(struct um_json *obj, struct um_arena *a)
{
	um_sdefault_template_spec(um_json_ensure_obj(a, um_json_get(obj, "template"), "spec"), a);
}

void um_sdefault_deployment(struct um_json *obj, struct um_arena *a)
{
	struct um_json *strategy = um_json_path(obj, "spec.strategy"), *step;

	um_sdefault_replica_set(obj, a);
	if (strcmp(um_json_get_str(strategy, "type", ""), "RollingUpdate"))
		return;
	step = um_json_ensure_obj(a, strategy, "rollingUpdate");
	default_step(step, "maxUnavailable", a);
	default_step(step, "maxSurge", a);
}

/* ---- selectors ---- */

static void check_requirement(struct um_svalidator *v, const struct um_json *r,
			      const struct um_spath *p)
{
	const struct um_json *values = um_json_get(r, "values");
	const struct um_spath *vp = UM_SPATH_FIELD(p, "values");
	const char *op = um_json_get_str(r, "operator", "");
	long i = 0;

	if ((!strcmp(op, "In") || !strcmp(op, "NotIn")) && !um_json_first(values))
		um_sv_required(v, vp, "must be specified when `operator` is 'In' or 'NotIn'");
	if ((!strcmp(op, "Exists") || !strcmp(op, "DoesNotExist")) && um_json_first(values))
		um_sv_forbidden(v, vp,
				"may not be specified when `operator` is 'Exists' or "
				"'DoesNotExist'");
	um_json_foreach (it, values) {
		const char *why = um_sformat_label_value(um_json_str(it, ""));
		const struct um_spath *here = UM_SPATH_INDEX(vp, i++);

		if (why)
			um_sv_invalid(v, here, it, why);
	}
}

void um_sv_selector(struct um_svalidator *v, const struct um_json *selector,
		    const struct um_spath *up)
{
	const struct um_spath *p = UM_SPATH_FIELD(up, "matchExpressions");
	long i = 0;

	um_json_foreach (it, um_json_get(selector, "matchExpressions"))
		check_requirement(v, it, UM_SPATH_INDEX(p, i++));
}

static bool listed(const struct um_json *values, const char *value)
{
	um_json_foreach (it, values)
		if (um_json_streq(it, value))
			return true;
	return false;
}

bool um_schema_selector_match(const struct um_json *selector, const struct um_json *labels)
{
	um_json_foreach (it, um_json_get(selector, "matchLabels"))
		if (!um_json_streq(um_json_get(labels, it->key), um_json_str(it, "")))
			return false;
	um_json_foreach (it, um_json_get(selector, "matchExpressions")) {
		const char *op = um_json_get_str(it, "operator", "");
		const char *value =
			um_json_str(um_json_get(labels, um_json_get_str(it, "key", "")), NULL);
		bool in = value && listed(um_json_get(it, "values"), value);
		bool holds = !strcmp(op, "In")		   ? in
			     : !strcmp(op, "NotIn")	   ? !in
			     : !strcmp(op, "Exists")	   ? value != NULL
			     : !strcmp(op, "DoesNotExist") ? !value
							   : false;

		if (!holds)
			return false;
	}
	return true;
}

/* ---- templates ---- */

static void check_selector(struct um_svalidator *v, const struct um_json *spec)
{
	const struct um_json *selector = um_json_get(spec, "selector");
	const struct um_json *labels = um_json_path(spec, "template.metadata.labels");
	const struct um_spath *p = UM_SPATH_FIELD(spec_path, "selector");
	const struct um_spath *lp = UM_SPATH_FIELD(
		UM_SPATH_FIELD(UM_SPATH_FIELD(spec_path, "template"), "metadata"), "labels");
	static const struct um_json none = {.type = UM_JSON_OBJ};

	if (!selector)
		return;
	um_sv_selector(v, selector, p);
	if (!um_json_first(um_json_get(selector, "matchLabels")) &&
	    !um_json_first(um_json_get(selector, "matchExpressions")))
		um_sv_invalid(v, p, selector, "empty selector is invalid for deployment");
	else if (!um_schema_selector_match(selector, labels))
		um_sv_invalid(v, lp, labels ? labels : &none,
			      "`selector` does not match template `labels`");
}

static void check_any_template(struct um_svalidator *v, const struct um_json *template,
			       const struct um_spath *p)
{
	um_sv_template_metadata(v, um_json_get(template, "metadata"),
				UM_SPATH_FIELD(p, "metadata"));
	um_sv_pod_spec(v, um_json_get(template, "spec"), UM_SPATH_FIELD(p, "spec"));
}

void um_svalidate_pod_template(struct um_svalidator *v, const struct um_json *obj,
			       const struct um_json *old um_unused)
{
	check_any_template(v, um_json_get(obj, "template"), UM_SPATH_FIELD(NULL, "template"));
}

static void check_template(struct um_svalidator *v, const struct um_json *template)
{
	const struct um_spath *p = UM_SPATH_FIELD(spec_path, "template");
	const struct um_spath *sp = UM_SPATH_FIELD(p, "spec");
	const struct um_json *spec = um_json_get(template, "spec");
	const char *restart = um_json_get_str(spec, "restartPolicy", "");

	check_any_template(v, template, p);
	/* Any other value but these two has been refused already. */
	if (!strcmp(restart, "Never") || !strcmp(restart, "OnFailure"))
		um_sv_not_supported(v, UM_SPATH_FIELD(sp, "restartPolicy"), restart, "Always");
	if (um_json_get(spec, "activeDeadlineSeconds"))
		um_sv_forbidden(v, UM_SPATH_FIELD(sp, "activeDeadlineSeconds"),
				"activeDeadlineSeconds in ReplicaSet is not Supported");
}

static void check_common(struct um_svalidator *v, const struct um_json *spec,
			 const struct um_json *old)
{
	check_selector(v, spec);
	check_template(v, um_json_get(spec, "template"));
	if (old)
		um_sv_immutable(v, UM_SPATH_FIELD(spec_path, "selector"),
				um_json_get(spec, "selector"), um_json_path(old, "spec.selector"));
}

/* ---- status ---- */

static void check_counts(struct um_svalidator *v, const struct um_json *obj)
{
	static const char *const parts[] = {"updatedReplicas", "fullyLabeledReplicas",
					    "readyReplicas", "availableReplicas"};
	const struct um_json *status = um_json_get(obj, "status");
	const struct um_spath *p = UM_SPATH_FIELD(NULL, "status");
	int64_t all = um_json_get_i64(status, "replicas", 0);
	int64_t ready = um_json_get_i64(status, "readyReplicas", 0);

	for (size_t i = 0; i < UM_ARRAY_LEN(parts); i++)
		if (um_json_get_i64(status, parts[i], 0) > all)
			um_sv_invalid(v, UM_SPATH_FIELD(p, parts[i]), um_json_get(status, parts[i]),
				      "cannot be greater than status.replicas");
	if (um_json_get_i64(status, "availableReplicas", 0) > ready)
		um_sv_invalid(v, UM_SPATH_FIELD(p, "availableReplicas"),
			      um_json_get(status, "availableReplicas"),
			      "cannot be greater than readyReplicas");
}

void um_svalidate_replica_set(struct um_svalidator *v, const struct um_json *obj,
			      const struct um_json *old)
{
	check_common(v, um_json_get(obj, "spec"), old);
	check_counts(v, obj);
}

/* ---- strategies ---- */

/* A number, or percents: then -1 is returned for what is neither. */
static int64_t amount(const struct um_json *n, bool *percent)
{
	int64_t value = -1;
	char digits[16];

	*percent = um_json_is(n, UM_JSON_STR);
	if (!*percent)
		return um_json_i64(n, 0);
	if (n->len < 2 || n->len >= sizeof(digits) || n->str[n->len - 1] != '%' ||
	    !isdigit((unsigned char)n->str[0]))
		return -1;
	memcpy(digits, n->str, n->len - 1);
	digits[n->len - 1] = '\0';
	return um_num_i64(digits, 0, INT32_MAX, &value) < 0 ? -1 : value;
}

static int64_t check_amount(struct um_svalidator *v, const struct um_json *n, bool at_most_all,
			    const struct um_spath *p)
{
	bool percent;
	int64_t value = amount(n, &percent);

	if (percent && value < 0)
		um_sv_invalid(v, p, n,
			      "a valid percent string must be a numeric string followed by an "
			      "ending '%' (e.g. '1%',  or '93%', regex used for validation is "
			      "'[0-9]+%')");
	else if (value < 0)
		um_sv_invalid(v, p, n, "must be greater than or equal to 0");
	else if (percent && at_most_all && value > 100)
		um_sv_invalid(v, p, n, "must not be greater than 100%");
	return value;
}

static void check_strategy(struct um_svalidator *v, const struct um_json *strategy)
{
	const struct um_json *step = um_json_get(strategy, "rollingUpdate");
	const struct um_json *missing = um_json_get(step, "maxUnavailable");
	const struct um_json *extra = um_json_get(step, "maxSurge");
	const struct um_spath *p =
		UM_SPATH_FIELD(UM_SPATH_FIELD(spec_path, "strategy"), "rollingUpdate");
	int64_t least, most;

	if (!strcmp(um_json_get_str(strategy, "type", ""), "Recreate")) {
		if (step)
			um_sv_forbidden(v, p,
					"may not be specified when strategy `type` is 'Recreate'");
		return;
	}
	if (!missing || !extra)
		return;
	least = check_amount(v, missing, true, UM_SPATH_FIELD(p, "maxUnavailable"));
	most = check_amount(v, extra, false, UM_SPATH_FIELD(p, "maxSurge"));
	if (!least && !most)
		um_sv_invalid(v, UM_SPATH_FIELD(p, "maxUnavailable"), missing,
			      "may not be 0 when `maxSurge` is 0");
}

void um_svalidate_deployment(struct um_svalidator *v, const struct um_json *obj,
			     const struct um_json *old)
{
	const struct um_json *spec = um_json_get(obj, "spec");
	const struct um_json *deadline = um_json_get(spec, "progressDeadlineSeconds");

	check_common(v, spec, old);
	check_strategy(v, um_json_get(spec, "strategy"));
	if (deadline && um_json_i64(deadline, 0) >= 0 &&
	    um_json_i64(deadline, 0) <= um_json_get_i64(spec, "minReadySeconds", 0))
		um_sv_invalid(v, UM_SPATH_FIELD(spec_path, "progressDeadlineSeconds"), deadline,
			      "must be greater than minReadySeconds");
	check_counts(v, obj);
}
