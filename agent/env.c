/* A container's environment, and Kubernetes' $(VAR) expansion. Pure. */
#include <string.h>

#include "agent/downward.h"
#include "agent/internal.h"
#include "base/base64.h"

/* ---- $(VAR) ---- */

static const char *env_value(const struct um_json *env, const char *name, size_t len)
{
	const char *found = NULL;

	um_json_foreach (it, env) {
		if (!strncmp(it->str, name, len) && it->str[len] == '=')
			found = it->str + len + 1;
	}
	return found;
}

const char *expand_vars(struct um_arena *a, const char *text, const struct um_json *env)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	const char *p = text;

	if (!strchr(text, '$'))
		return um_arena_strdup(a, text);
	while (*p) {
		const char *end, *value;

		if (p[0] == '$' && p[1] == '$') { /* $$ is a dollar, $$(VAR) stays $(VAR) */
			um_buf_addc(&b, '$');
			p += 2;
			continue;
		}
		end = p[0] == '$' && p[1] == '(' ? strchr(p + 2, ')') : NULL;
		if (!end) {
			um_buf_addc(&b, *p++);
			continue;
		}
		value = env_value(env, p + 2, (size_t)(end - p - 2));
		if (value)
			um_buf_adds(&b, value);
		else /* unknown names stay as they are */
			um_buf_add(&b, p, (size_t)(end + 1 - p));
		p = end + 1;
	}
	return um_buf_error(&b) ? NULL : um_arena_strndup(a, um_buf_str(&b), b.len);
}

const char *missing_var(struct um_arena *a, const char *text, const struct um_json *env)
{
	for (const char *p = text; *p; p++) {
		const char *end;

		if (p[0] == '$' && p[1] == '$') {
			p++;
			continue;
		}
		end = p[0] == '$' && p[1] == '(' ? strchr(p + 2, ')') : NULL;
		if (end && !env_value(env, p + 2, (size_t)(end - p - 2)))
			return um_arena_strndup(a, p + 2, (size_t)(end - p - 2));
	}
	return NULL;
}

/* ---- values ---- */

/* Sets or replaces one variable; the place of the first stays. */
static void set_env(struct um_arena *a, struct um_json *env, const char *name, const char *value)
{
	size_t len = strlen(name);
	const char *text = um_arena_printf(a, "%s=%s", name, value);

	if (!text)
		return;
	um_json_foreach (it, env) {
		if (!strncmp(it->str, name, len) && it->str[len] == '=') {
			it->str = text;
			it->len = (uint32_t)strlen(text);
			return;
		}
	}
	um_json_append(env, um_json_new_str(a, text));
}

/* A key of a configmap or secret as text; NULL when it is not there. */
static const char *ref_value(struct um_arena *a, const struct agent_pod *p, const char *plural,
			     const char *name, const char *key)
{
	const struct um_json *obj = refs_get(p, plural, name);
	const struct um_json *v = um_json_get(um_json_get(obj, "data"), key);
	size_t len;

	if (!um_json_is(v, UM_JSON_STR))
		return NULL;
	return !strcmp(plural, "secrets") ? um_base64_decode(a, v->str, v->len, &len) : v->str;
}

static const char *key_ref(struct um_arena *a, const struct agent_ctr *c, const struct um_json *ref,
			   const char *plural, const char *env_name, struct um_error *err)
{
	const char *name = um_json_get_str(ref, "name", "");
	const char *key = um_json_get_str(ref, "key", "");
	const char *v = ref_value(a, c->pod, plural, name, key);

	if (v)
		return v;
	if (!um_json_get_bool(ref, "optional", false))
		um_error_set(err, -ENOENT, "env %s: couldn't find key %s in %s %s/%s", env_name,
			     key, !strcmp(plural, "secrets") ? "Secret" : "ConfigMap", c->pod->ns,
			     name);
	return NULL;
}

static const char *value_from(struct um_arena *a, const struct agent_ctr *c,
			      const struct um_json *from, const char *name, struct um_error *err)
{
	const struct um_json *ref;
	const char *v;

	if ((ref = um_json_get(from, "configMapKeyRef")))
		return key_ref(a, c, ref, "configmaps", name, err);
	if ((ref = um_json_get(from, "secretKeyRef")))
		return key_ref(a, c, ref, "secrets", name, err);
	if ((ref = um_json_get(from, "resourceFieldRef")))
		return downward_resource(a, c->pod, c->spec, ref, err);
	ref = um_json_get(from, "fieldRef");
	v = downward_field(a, c->pod, um_json_get_str(ref, "fieldPath", ""));
	if (!v)
		um_error_set(err, -EINVAL, "env %s: fieldPath %s is not supported", name,
			     um_json_get_str(ref, "fieldPath", ""));
	return v;
}

static bool env_name_ok(const char *s)
{
	if (!*s || (*s >= '0' && *s <= '9'))
		return false;
	return !s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")];
}

static int add_from(struct um_arena *a, const struct agent_ctr *c, const struct um_json *from,
		    struct um_json *env, struct um_error *err)
{
	static const char *const kinds[][2] = {{"configMapRef", "configmaps"},
					       {"secretRef", "secrets"}};
	const char *prefix = um_json_get_str(from, "prefix", "");

	for (size_t i = 0; i < UM_ARRAY_LEN(kinds); i++) {
		const struct um_json *ref = um_json_get(from, kinds[i][0]);
		const char *name = um_json_get_str(ref, "name", "");
		const struct um_json *obj;

		if (!ref)
			continue;
		obj = refs_get(c->pod, kinds[i][1], name);
		if (!obj && !um_json_get_bool(ref, "optional", false))
			return um_error_set(err, -ENOENT, "envFrom: %s \"%s\" not found",
					    kinds[i][1], name);
		um_json_foreach (it, um_json_get(obj, "data")) {
			const char *v = ref_value(a, c->pod, kinds[i][1], name, it->key);
			const char *key = um_arena_printf(a, "%s%s", prefix, it->key);

			if (key && v && env_name_ok(key)) /* others are left out, as everywhere */
				set_env(a, env, key, v);
		}
	}
	return 0;
}

struct um_json *ctr_environment(struct um_arena *a, const struct agent_ctr *c,
				const struct um_json *image_config, struct um_error *err)
{
	struct um_json *env = um_json_new_arr(a);

	/* Of the Services: many, and each another name, so they are not compared among
	 * themselves. */
	um_json_foreach (it, c->pod->links)
		um_json_append(env, um_json_new_str(a, um_json_str(it, "")));
	um_json_foreach (it, um_json_path(image_config, "config.Env")) {
		const char *eq = it->type == UM_JSON_STR ? strchr(it->str, '=') : NULL;
		const char *key = eq ? um_arena_strndup(a, it->str, (size_t)(eq - it->str)) : NULL;

		if (key && !(c->pod->links && env_value(c->pod->links, key, strlen(key))))
			set_env(a, env, key, eq + 1);
	}
	if (!um_json_first(env) || !env_value(env, "PATH", 4))
		set_env(a, env, "PATH",
			"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	set_env(a, env, "HOSTNAME",
		pod_host_network(c->pod)
			? c->pod->agent->opt.node_name
			: um_json_get_str(c->pod->obj, "spec.hostname", c->pod->name));
	um_json_foreach (it, um_json_get(c->spec, "envFrom")) {
		if (add_from(a, c, it, env, err) < 0)
			return NULL;
	}
	um_json_foreach (it, um_json_get(c->spec, "env")) {
		const char *name = um_json_get_str(it, "name", "");
		const struct um_json *from = um_json_get(it, "valueFrom");
		struct um_error own = UM_ERROR_INIT;
		const char *v = from ? value_from(a, c, from, name, &own)
				     : expand_vars(a, um_json_get_str(it, "value", ""), env);

		if (own.code) {
			um_error_move(err, &own);
			return NULL;
		}
		if (v) /* absent where an optional key is */
			set_env(a, env, name, v);
	}
	if (um_arena_failed(a)) {
		um_error_set(err, -E2BIG, "container %s: its environment is too large", c->name);
		return NULL;
	}
	return env;
}
