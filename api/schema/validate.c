/* Validation: what the notation says of each field, then metadata, then the kind's own rules. */
#include "api/schema/validate.h"

#include <string.h>

#include "base/quantity.h"

/* ---- reporting ---- */

static const char *shown(struct um_svalidator *v, const struct um_json *value)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1024);
	const char *s;

	if (!value)
		return "\"\"";
	if (um_json_write(&b, value) < 0)
		return value->type == UM_JSON_STR ? "\"...\"" : "{...}";
	s = um_arena_strndup(v->causes->arena, um_buf_str(&b), b.len);
	return s ? s : "";
}

static const char *quoted(struct um_svalidator *v, const char *value)
{
	const struct um_json n = {
		.type = UM_JSON_STR, .len = (uint32_t)strlen(value), .str = value};

	return shown(v, &n);
}

static const char *at(struct um_svalidator *v, const struct um_spath *p)
{
	return um_spath_str(v->causes->arena, p);
}

void um_sv_required(struct um_svalidator *v, const struct um_spath *p, const char *detail)
{
	um_cause_add(v->causes, "FieldValueRequired", at(v, p), "Required value%s%s",
		     detail ? ": " : "", detail ? detail : "");
}

void um_sv_invalid(struct um_svalidator *v, const struct um_spath *p, const struct um_json *value,
		   const char *detail)
{
	um_cause_add(v->causes, "FieldValueInvalid", at(v, p), "Invalid value: %s: %s",
		     shown(v, value), detail);
}

void um_sv_invalid_str(struct um_svalidator *v, const struct um_spath *p, const char *value,
		       const char *detail)
{
	um_cause_add(v->causes, "FieldValueInvalid", at(v, p), "Invalid value: %s: %s",
		     quoted(v, value), detail);
}

void um_sv_not_supported(struct um_svalidator *v, const struct um_spath *p, const char *value,
			 const char *values)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(2000);

	for (const char *end;; values = end + 1) {
		end = strchrnul(values, '|');
		um_buf_addf(&b, "%s\"%.*s\"", b.len ? ", " : "", (int)(end - values), values);
		if (!*end)
			break;
	}
	um_cause_add(v->causes, "FieldValueNotSupported", at(v, p),
		     "Unsupported value: %s: supported values: %s", quoted(v, value),
		     um_buf_str(&b));
}

void um_sv_duplicate(struct um_svalidator *v, const struct um_spath *p, const char *value)
{
	um_cause_add(v->causes, "FieldValueDuplicate", at(v, p), "Duplicate value: %s",
		     quoted(v, value));
}

void um_sv_not_found(struct um_svalidator *v, const struct um_spath *p, const char *value)
{
	um_cause_add(v->causes, "FieldValueNotFound", at(v, p), "Not found: %s", quoted(v, value));
}

void um_sv_forbidden(struct um_svalidator *v, const struct um_spath *p, const char *detail)
{
	um_cause_add(v->causes, "FieldValueForbidden", at(v, p), "Forbidden: %s", detail);
}

void um_sv_too_long(struct um_svalidator *v, const struct um_spath *p, long max_bytes)
{
	um_cause_add(v->causes, "FieldValueTooLong", at(v, p),
		     "Too long: may not be more than %ld bytes", max_bytes);
}

void um_sv_not_yet(struct um_svalidator *v, const struct um_spath *p)
{
	if (!v->asks_nothing_new)
		um_sv_forbidden(v, p, "not supported by Umiak yet");
}

void um_sv_immutable(struct um_svalidator *v, const struct um_spath *p, const struct um_json *now,
		     const struct um_json *old)
{
	if (!um_json_equal(now, old))
		um_sv_invalid(v, p, now, "field is immutable");
}

/* ---- what the notation says ---- */

static bool empty(const struct um_json *n)
{
	return !n || n->type == UM_JSON_NULL || (n->type == UM_JSON_STR && !n->len) ||
	       (n->type == UM_JSON_ARR && !n->first);
}

static bool zero(const struct um_json *n)
{
	return empty(n) || (n->type == UM_JSON_BOOL && !n->boolean) ||
	       (n->type == UM_JSON_OBJ && !n->first);
}

/* `unsupported` lets pass what changes nothing: nothing at all, or the value after `=`. */
static bool changes_nothing(struct um_svalidator *v, const struct um_sfield *f,
			    const struct um_json *n)
{
	const char *allow = um_ss(v->s, f->allow);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(200);

	if (*allow)
		return !n || (!um_json_write(&b, n) && !strcmp(um_buf_str(&b), allow));
	if (f->base == UM_SB_OBJECT && f->card == UM_SC_ONE)
		return !n; /* a volume source or a handler is asked for by being there */
	if ((f->flags & UM_SFLAG_PRESENCE) && n && n->type != UM_JSON_STR)
		return false;
	return zero(n);
}

static void check_labels(struct um_svalidator *v, const struct um_json *map,
			 const struct um_spath *p)
{
	um_json_foreach (it, map) {
		const char *why = um_sformat_qualified(it->key);

		if (why)
			um_sv_invalid_str(v, p, it->key, why);
		why = um_sformat_label_value(um_json_str(it, ""));
		if (why)
			um_sv_invalid(v, p, it, why);
	}
}

static void check_nonneg(struct um_svalidator *v, const struct um_json *n, const struct um_spath *p)
{
	int64_t value;

	if (n->type == UM_JSON_STR && !um_quantity_milli(n->str, &value) && value < 0)
		um_sv_invalid(v, p, n, "must be greater than or equal to 0");
}

static const char *port_rule(const struct um_json *n, int64_t min)
{
	int64_t port = um_json_i64(n, -1);

	return port < min || port > 65535 ? "must be between 1 and 65535, inclusive" : NULL;
}

static void check_format(struct um_svalidator *v, const struct um_sfield *f,
			 const struct um_json *n, const struct um_spath *p)
{
	static const char *(*const rules[])(const char *) = {
		[UM_SF_DNS_LABEL] = um_sformat_dns_label,
		[UM_SF_DNS_SUBDOMAIN] = um_sformat_dns_subdomain,
		[UM_SF_QUALIFIED] = um_sformat_qualified,
		[UM_SF_LABEL_VALUE] = um_sformat_label_value,
		[UM_SF_PORT_NAME] = um_sformat_port_name,
		[UM_SF_ENV_NAME] = um_sformat_env_name,
		[UM_SF_CONFIG_KEY] = um_sformat_config_key,
		[UM_SF_RELATIVE_PATH] = um_sformat_relative_path,
		[UM_SF_IP] = um_sformat_ip,
		[UM_SF_HTTP_HEADER] = um_sformat_http_header,
	};
	const char *why = NULL;

	if (f->format == UM_SF_PORT || f->format == UM_SF_PORT0)
		why = port_rule(n, f->format == UM_SF_PORT ? 1 : 0);
	else if (f->format == UM_SF_NONNEG)
		check_nonneg(v, n, p);
	else if (f->format < UM_ARRAY_LEN(rules) && rules[f->format] && !empty(n))
		why = rules[f->format](um_json_str(n, ""));
	if (why)
		um_sv_invalid(v, p, n, why);
}

static void check_range(struct um_svalidator *v, const struct um_sfield *f, const struct um_json *n,
			const struct um_spath *p)
{
	int64_t value = um_json_i64(n, 0);
	bool low = f->flags & UM_SFLAG_MIN && value < f->min;
	bool high = f->flags & UM_SFLAG_MAX && value > f->max;
	char why[100];

	if (!low && !high)
		return;
	if (f->max == 511)
		snprintf(why, sizeof(why),
			 "must be a number between 0 and 0777 (octal), both inclusive");
	else if (f->flags & UM_SFLAG_MAX)
		snprintf(why, sizeof(why), "must be between %d and %d, inclusive", f->min, f->max);
	else if (f->min == 1)
		snprintf(why, sizeof(why), "must be greater than 0");
	else
		snprintf(why, sizeof(why), "must be greater than or equal to %d", f->min);
	um_sv_invalid(v, p, n, why);
}

static void check_type(struct um_svalidator *v, const struct um_stype *t, const struct um_json *obj,
		       const struct um_spath *p);

static void check_value(struct um_svalidator *v, const struct um_sfield *f, const struct um_json *n,
			const struct um_spath *p)
{
	if (f->flags & UM_SFLAG_ENUM && !um_senum_has(um_ss(v->s, f->values), um_json_str(n, "")) &&
	    (!empty(n) || f->flags & UM_SFLAG_REQUIRED))
		um_sv_not_supported(v, p, um_json_str(n, ""), um_ss(v->s, f->values));
	if (f->format)
		check_format(v, f, n, p);
	if (f->flags & (UM_SFLAG_MIN | UM_SFLAG_MAX))
		check_range(v, f, n, p);
	if (f->base == UM_SB_OBJECT)
		check_type(v, &v->s->types[f->type], n, p);
}

static bool missing(const struct um_sfield *f, const struct um_json *n)
{
	if (empty(n))
		return true;
	return f->format == UM_SF_PORT && n->type == UM_JSON_NUM && !strcmp(n->str, "0");
}

static void check_field(struct um_svalidator *v, const struct um_sfield *f,
			const struct um_json *obj, const struct um_spath *up)
{
	const struct um_json *n = um_json_get(obj, um_ss(v->s, f->name));
	const struct um_spath *p = UM_SPATH_FIELD(up, um_ss(v->s, f->name));
	long i = 0;

	if (f->flags & UM_SFLAG_REQUIRED && missing(f, n)) {
		um_sv_required(v, p, NULL);
		return;
	}
	if (f->flags & UM_SFLAG_UNSUPPORTED && !changes_nothing(v, f, n)) {
		um_sv_not_yet(v, p);
		return;
	}
	if (!n)
		return;
	if (f->format == UM_SF_LABELS) {
		check_labels(v, n, p);
	} else if (f->card == UM_SC_ONE) {
		check_value(v, f, n, p);
	} else if (f->card == UM_SC_LIST) {
		um_json_foreach (it, n)
			check_value(v, f, it, UM_SPATH_INDEX(p, i++));
	} else {
		um_json_foreach (it, n)
			check_value(v, f, it, UM_SPATH_KEY(p, it->key));
	}
}

static void check_type(struct um_svalidator *v, const struct um_stype *t, const struct um_json *obj,
		       const struct um_spath *p)
{
	const struct um_sfield *f = v->s->fields + t->first;

	if (!um_json_is(obj, UM_JSON_OBJ))
		return;
	for (unsigned i = 0; i < t->n; i++, f++) {
		if (f->flags & UM_SFLAG_INLINE)
			check_type(v, &v->s->types[f->type], obj, p);
		else
			check_field(v, f, obj, p);
	}
}

static void check_immutable(struct um_svalidator *v, const struct um_json *obj,
			    const struct um_json *old)
{
	const struct um_stype *t = um_stype_of(v->kind);
	const struct um_sfield *f = v->s->fields + t->first;

	for (unsigned i = 0; i < t->n; i++, f++) {
		const char *name = um_ss(v->s, f->name);

		if (f->flags & UM_SFLAG_IMMUTABLE)
			um_sv_immutable(v, UM_SPATH_FIELD(NULL, name), um_json_get(obj, name),
					um_json_get(old, name));
	}
}

static bool same_wishes(const struct um_json *a, const struct um_json *b)
{
	um_json_foreach (it, a)
		if (strcmp(it->key, "metadata") && strcmp(it->key, "status") &&
		    !um_json_equal(it, um_json_get(b, it->key)))
			return false;
	return true;
}

int um_schema_validate(const struct um_kind *kind, const struct um_json *obj,
		       const struct um_json *old, struct um_causes *causes)
{
	struct um_svalidator v = {kind->type->set, kind, causes,
				  old && same_wishes(obj, old) && same_wishes(old, obj)};
	const struct um_kind_ops *ops = um_kind_ops_of(kind);
	unsigned before = causes->n;

	if (kind->plural && !kind->is_virtual)
		um_sv_metadata(&v, obj, old);
	check_type(&v, um_stype_of(kind), obj, NULL);
	if (old)
		check_immutable(&v, obj, old);
	if (ops && ops->validate)
		ops->validate(&v, obj, old);
	return causes->n == before ? 0 : -EINVAL;
}
