/* The rules of the small kinds. */
#include <string.h>

#include "base/base64.h"
#include "api/schema/validate.h"

#define MAX_CONTENT (1024 * 1024)
#define IMMUTABLE "field is immutable when `immutable` is set"

static size_t value_bytes(const struct um_json *n, bool base64)
{
	size_t bad;
	long len;

	if (!base64)
		return n->len;
	len = um_base64_decoded_len(um_json_str(n, ""), n->len, &bad);
	return len > 0 ? (size_t)len : 0;
}

/* Keys and sizes of one map; returns the bytes it holds. */
static size_t check_data(struct um_svalidator *v, const struct um_json *map, const char *field,
			 bool base64)
{
	const struct um_spath *p = UM_SPATH_FIELD(NULL, field);
	size_t total = 0;

	um_json_foreach (it, map) {
		const char *why = um_sformat_config_key(it->key);

		if (why)
			um_sv_invalid_str(v, UM_SPATH_KEY(p, it->key), it->key, why);
		total += value_bytes(it, base64);
	}
	return total;
}

static void check_frozen(struct um_svalidator *v, const struct um_json *obj,
			 const struct um_json *old, const char *const *fields)
{
	if (!old || !um_json_get_bool(old, "immutable", false))
		return;
	if (!um_json_get_bool(obj, "immutable", false))
		um_sv_forbidden(v, UM_SPATH_FIELD(NULL, "immutable"), IMMUTABLE);
	for (; *fields; fields++) {
		const struct um_json *now = um_json_get(obj, *fields),
				     *was = um_json_get(old, *fields);

		if (um_json_equal(now, was) || (!um_json_first(now) && !um_json_first(was)))
			continue;
		um_sv_forbidden(v, UM_SPATH_FIELD(NULL, *fields), IMMUTABLE);
	}
}

void um_svalidate_config_map(struct um_svalidator *v, const struct um_json *obj,
			     const struct um_json *old)
{
	static const char *const fields[] = {"data", "binaryData", NULL};
	const struct um_json *data = um_json_get(obj, "data");
	const struct um_json *binary = um_json_get(obj, "binaryData");
	size_t total = check_data(v, data, "data", false);

	total += check_data(v, binary, "binaryData", true);
	um_json_foreach (it, data)
		if (um_json_get(binary, it->key))
			um_sv_invalid_str(v, UM_SPATH_KEY(UM_SPATH_FIELD(NULL, "data"), it->key),
					  it->key, "duplicate of key present in binaryData");
	if (total > MAX_CONTENT)
		um_sv_too_long(v, NULL, MAX_CONTENT);
	check_frozen(v, obj, old, fields);
}

/* ---- secrets ---- */

static const struct secret_rule {
	const char *type;
	const char *keys[2]; /* all of them, or one of them with `any` */
	bool any, json;
} secret_rules[] = {
	{"kubernetes.io/dockercfg", {".dockercfg"}, false, true},
	{"kubernetes.io/dockerconfigjson", {".dockerconfigjson"}, false, true},
	{"kubernetes.io/basic-auth", {"username", "password"}, true, false},
	{"kubernetes.io/ssh-auth", {"ssh-privatekey"}, false, false},
	{"kubernetes.io/tls", {"tls.crt", "tls.key"}, false, false},
};

static bool is_json(struct um_svalidator *v, const struct um_json *value)
{
	struct um_arena *a = um_arena_new(8 << 20);
	struct um_json *tree;
	size_t len;
	char *text;
	bool ok = false;

	(void)v;
	if (!a)
		return false;
	text = um_base64_decode(a, um_json_str(value, ""), value->len, &len);
	ok = text && um_json_parse(a, text, len, NULL, &tree, NULL) == 0;
	um_arena_free(a);
	return ok;
}

static void check_secret_keys(struct um_svalidator *v, const struct secret_rule *rule,
			      const struct um_json *data)
{
	const struct um_spath *p = UM_SPATH_FIELD(NULL, "data");
	unsigned found = 0;

	for (size_t i = 0; i < 2 && rule->keys[i]; i++) {
		const struct um_json *value = um_json_get(data, rule->keys[i]);

		found += value != NULL;
		if (!value && !rule->any)
			um_sv_required(v, UM_SPATH_KEY(p, rule->keys[i]), NULL);
		if (value && rule->json && !is_json(v, value))
			um_sv_invalid_str(v, UM_SPATH_KEY(p, rule->keys[i]),
					  "<secret contents redacted>", "not a JSON document");
	}
	for (size_t i = 0; rule->any && !found && i < 2; i++)
		um_sv_required(v, UM_SPATH_KEY(p, rule->keys[i]), NULL);
}

void um_svalidate_secret(struct um_svalidator *v, const struct um_json *obj,
			 const struct um_json *old)
{
	static const char *const fields[] = {"data", NULL};
	static const char account[] = "kubernetes.io/service-account.name";
	const struct um_json *data = um_json_get(obj, "data");
	const struct um_spath *meta = UM_SPATH_FIELD(NULL, "metadata");
	const char *type = um_json_get_str(obj, "type", "");

	if (check_data(v, data, "data", true) > MAX_CONTENT)
		um_sv_too_long(v, UM_SPATH_FIELD(NULL, "data"), MAX_CONTENT);
	for (size_t i = 0; i < UM_ARRAY_LEN(secret_rules); i++)
		if (!strcmp(secret_rules[i].type, type))
			check_secret_keys(v, &secret_rules[i], data);
	if (!strcmp(type, "kubernetes.io/service-account-token") &&
	    !um_json_get(um_json_path(obj, "metadata.annotations"), account))
		um_sv_required(v, UM_SPATH_KEY(UM_SPATH_FIELD(meta, "annotations"), account), NULL);
	check_frozen(v, obj, old, fields);
}

/* ---- nodes ---- */

static void check_taints(struct um_svalidator *v, const struct um_json *taints,
			 const struct um_spath *p)
{
	long i = 0;

	um_json_foreach (it, taints) {
		const struct um_spath *here = UM_SPATH_INDEX(p, i++);

		for (const struct um_json *o = taints->first; o != it; o = o->next) {
			if (!um_json_equal(um_json_get(o, "key"), um_json_get(it, "key")) ||
			    !um_json_equal(um_json_get(o, "effect"), um_json_get(it, "effect")))
				continue;
			um_sv_duplicate(v, UM_SPATH_FIELD(here, "key"),
					um_json_get_str(it, "key", ""));
			break;
		}
	}
}

void um_svalidate_node(struct um_svalidator *v, const struct um_json *obj,
		       const struct um_json *old)
{
	static const char *const once[] = {"podCIDR", "podCIDRs", "providerID"};
	const struct um_json *spec = um_json_get(obj, "spec"), *was = um_json_get(old, "spec");
	const struct um_spath *p = UM_SPATH_FIELD(NULL, "spec");

	check_taints(v, um_json_get(spec, "taints"), UM_SPATH_FIELD(p, "taints"));
	for (size_t i = 0; i < UM_ARRAY_LEN(once); i++) {
		const struct um_json *before = um_json_get(was, once[i]);
		char why[120];

		if (!before || um_json_equal(before, um_json_get(spec, once[i])))
			continue;
		snprintf(why, sizeof(why),
			 "node updates may not change %s except from \"\" to valid", once[i]);
		um_sv_forbidden(v, UM_SPATH_FIELD(p, once[i]), why);
	}
}

/* ---- events, bindings ---- */

void um_svalidate_event(struct um_svalidator *v, const struct um_json *obj,
			const struct um_json *old)
{
	const char *ns = um_json_get_str(obj, "metadata.namespace", "");
	const char *of = um_json_get_str(obj, "involvedObject.namespace", "");
	const struct um_spath *p = UM_SPATH_FIELD(NULL, "involvedObject");

	(void)old;
	/* What is in no namespace has its events in "default". */
	if (*of ? strcmp(of, ns) : *ns && strcmp(ns, "default"))
		um_sv_invalid_str(v, UM_SPATH_FIELD(p, "namespace"), of,
				  "does not match event.namespace");
}

void um_svalidate_binding(struct um_svalidator *v, const struct um_json *obj,
			  const struct um_json *old)
{
	const struct um_json *target = um_json_get(obj, "target");
	const struct um_spath *p = UM_SPATH_FIELD(NULL, "target");
	const char *kind = um_json_get_str(target, "kind", "");

	(void)old;
	if (*kind && strcmp(kind, "Node"))
		um_sv_not_supported(v, UM_SPATH_FIELD(p, "kind"), kind, "Node|<empty>");
	if (!*um_json_get_str(target, "name", ""))
		um_sv_required(v, UM_SPATH_FIELD(p, "name"), NULL);
}
