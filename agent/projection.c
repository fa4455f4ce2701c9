#include "agent/projection.h"

#include <string.h>

#include "agent/downward.h"
#include "agent/internal.h"
#include "base/base64.h"

#define DEFAULT_MODE 0644
#define TOKEN_MODE 0600
#define ACCESS_PREFIX "kube-api-access-"

/* ---- what there is ---- */

static const char *const key_kinds[] = {"configMap", "secret", "downwardAPI", "projected"};

bool projection_is(const struct um_json *v)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(key_kinds); i++)
		if (um_json_get(v, key_kinds[i]))
			return true;
	return false;
}

bool projection_is_access(const struct um_json *v)
{
	return !strncmp(um_json_get_str(v, "name", ""), ACCESS_PREFIX, strlen(ACCESS_PREFIX)) &&
	       um_json_get(v, "projected");
}

static bool names_metadata(const struct um_json *source)
{
	um_json_foreach (it, um_json_get(source, "items")) {
		const char *path = um_json_get_str(it, "fieldRef.fieldPath", "");

		if (!strncmp(path, "metadata.labels", 15) ||
		    !strncmp(path, "metadata.annotations", 20))
			return true;
	}
	return false;
}

bool projection_shows_metadata(const struct um_json *v)
{
	if (names_metadata(um_json_get(v, "downwardAPI")))
		return true;
	um_json_foreach (s, um_json_path(v, "projected.sources"))
		if (names_metadata(um_json_get(s, "downwardAPI")))
			return true;
	return false;
}

bool projection_token_at(const struct um_json *pod, unsigned n, struct projection_token *ret)
{
	um_json_foreach (v, um_json_path(pod, "spec.volumes")) {
		unsigned i = 0;

		um_json_foreach (s, um_json_path(v, "projected.sources")) {
			const struct um_json *t = um_json_get(s, "serviceAccountToken");

			i++;
			if (!t || n--)
				continue;
			snprintf(ret->key, sizeof(ret->key), "%.63s/%u",
				 um_json_get_str(v, "name", ""), i - 1);
			ret->audience = um_json_get_str(t, "audience", "");
			ret->seconds = um_json_get_i64(t, "expirationSeconds", 3600);
			ret->access = projection_is_access(v);
			return true;
		}
	}
	return false;
}

/* ---- its files ---- */

struct maker {
	const struct agent_pod *p;
	struct volume_files *files;
	mode_t mode;
	bool lenient;
	struct um_error *err;
};

static mode_t mode_of(const struct maker *m, const struct um_json *item)
{
	return (mode_t)um_json_get_i64(item, "mode", m->mode);
}

static int put_key(const struct maker *m, const struct um_json *obj, const char *key,
		   const char *path, mode_t mode, bool optional)
{
	const struct um_json *text = um_json_get(um_json_get(obj, "data"), key);
	const struct um_json *v = text ? text : um_json_get(um_json_get(obj, "binaryData"), key);
	bool secret = !strcmp(um_json_get_str(obj, "kind", ""), "Secret");
	char *data;
	size_t len;

	if (!um_json_is(v, UM_JSON_STR))
		return optional ? 0
				: um_error_set(m->err, -ENOENT, "references non-existent key: %s",
					       key);
	if (text && !secret)
		return volume_files_put(m->files, path, v->str, v->len, mode, (uid_t)-1, m->err);
	data = um_base64_decode(m->files->a, v->str, v->len, &len);
	if (!data)
		return um_error_set(m->err, -EINVAL, "key %s is not base64", key);
	return volume_files_put(m->files, path, data, len, mode, (uid_t)-1, m->err);
}

static int put_keys(const struct maker *m, const struct um_json *source, const char *plural,
		    const char *name)
{
	static const char *const parts[] = {"data", "binaryData"};
	const struct um_json *items = um_json_get(source, "items");
	const struct um_json *obj = refs_get(m->p, plural, name);
	bool optional = um_json_get_bool(source, "optional", false);
	int r = 0;

	if (!obj)
		return optional || m->lenient
			       ? 0
			       : um_error_set(m->err, -ENOENT, "%s \"%s\" not found", plural, name);
	um_json_foreach (it, items) {
		r = put_key(m, obj, um_json_get_str(it, "key", ""), um_json_get_str(it, "path", ""),
			    mode_of(m, it), optional);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < UM_ARRAY_LEN(parts) && !um_json_first(items); i++) {
		um_json_foreach (it, um_json_get(obj, parts[i])) {
			r = put_key(m, obj, it->key, it->key, m->mode, true);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int put_config_map(const struct maker *m, const struct um_json *source)
{
	return put_keys(m, source, "configmaps", um_json_get_str(source, "name", ""));
}

static int put_secret(const struct maker *m, const struct um_json *source)
{
	return put_keys(m, source, "secrets",
			um_json_get_str(source, "secretName", um_json_get_str(source, "name", "")));
}

static int put_fields(const struct maker *m, const struct um_json *source)
{
	struct um_arena *a = m->files->a;

	um_json_foreach (it, um_json_get(source, "items")) {
		const struct um_json *field = um_json_get(it, "fieldRef");
		const char *path = um_json_get_str(it, "path", ""), *text;
		int r;

		if (field) {
			const char *what = um_json_get_str(field, "fieldPath", "");

			text = downward_field(a, m->p, what);
			if (!text)
				return um_error_set(m->err, -EINVAL,
						    "fieldPath %s is not supported", what);
		} else {
			text = downward_resource(a, m->p, NULL, um_json_get(it, "resourceFieldRef"),
						 m->err);
			if (!text)
				return m->err && m->err->code ? m->err->code : -EINVAL;
		}
		r = volume_files_put(m->files, path, text, strlen(text), mode_of(m, it), (uid_t)-1,
				     m->err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The user that all containers have been told to run as; -1: there is no such one. */
static uid_t common_user(const struct agent_pod *p)
{
	const struct um_json *of_pod = um_json_path(p->obj, "spec.securityContext.runAsUser");
	int64_t uid = -1;

	for (size_t i = 0; i < p->n_ctrs; i++) {
		const struct um_json *own =
			um_json_path(p->ctrs[i].spec, "securityContext.runAsUser");
		int64_t u = um_json_i64(own ? own : of_pod, -1);

		if (u < 0 || (uid >= 0 && u != uid))
			return (uid_t)-1;
		uid = u;
	}
	return (uid_t)uid;
}

static int put_token(const struct maker *m, const char *key, const struct um_json *source)
{
	const char *token = um_json_get_str(refs_get(m->p, "tokens", key), "token", NULL);
	uid_t user = common_user(m->p);
	bool own = user != (uid_t)-1 || m->files->gid != (gid_t)-1;

	if (!token)
		return m->lenient ? 0
				  : um_error_set(m->err, -ENOENT,
						 "the service account's token has not come");
	return volume_files_put(m->files, um_json_get_str(source, "path", ""), token, strlen(token),
				own ? TOKEN_MODE : m->mode, user, m->err);
}

static int put_projected(struct maker *m, const struct um_json *v, const struct um_json *projected)
{
	unsigned i = 0;
	int r = 0;

	um_json_foreach (s, um_json_get(projected, "sources")) {
		const struct um_json *one;
		char key[96];

		snprintf(key, sizeof(key), "%.63s/%u", um_json_get_str(v, "name", ""), i++);
		if ((one = um_json_get(s, "configMap")))
			r = put_config_map(m, one);
		else if ((one = um_json_get(s, "secret")))
			r = put_secret(m, one);
		else if ((one = um_json_get(s, "downwardAPI")))
			r = put_fields(m, one);
		else if ((one = um_json_get(s, "serviceAccountToken")))
			r = put_token(m, key, one);
		else if (um_json_first(s))
			r = um_error_set(m->err, -EOPNOTSUPP, "source %s is not supported",
					 um_json_first(s)->key);
		if (r < 0)
			return r;
	}
	return 0;
}

int projection_files(const struct agent_pod *p, const struct um_json *v, bool lenient,
		     struct volume_files *files, struct um_error *err)
{
	struct um_error own = UM_ERROR_INIT;
	struct maker m = {p, files, DEFAULT_MODE, lenient && projection_is_access(v), &own};
	const struct um_json *source = NULL;
	int r = -EOPNOTSUPP;

	for (size_t i = 0; i < UM_ARRAY_LEN(key_kinds) && !source; i++)
		source = um_json_get(v, key_kinds[i]);
	m.mode = (mode_t)um_json_get_i64(source, "defaultMode", DEFAULT_MODE) & 0777;
	if (um_json_get(v, "configMap"))
		r = put_config_map(&m, source);
	else if (um_json_get(v, "secret"))
		r = put_secret(&m, source);
	else if (um_json_get(v, "downwardAPI"))
		r = put_fields(&m, source);
	else if (um_json_get(v, "projected"))
		r = put_projected(&m, v, source);
	if (r == 0 && um_arena_failed(files->a))
		r = um_error_set(&own, -ENOMEM, "the volume is too large");
	if (r < 0)
		um_error_move(err, &own);
	return r;
}
