/* The account of a new pod: it must be there, and unless the pod or the account says no, its token,
 * the cluster's CA and the namespace's name are put where client libraries look for them. */
#include <string.h>

#include "api/internal.h"

#define ACCOUNT "default"
#define WHERE "/var/run/secrets/kubernetes.io/serviceaccount"
#define CA_MAP "kube-root-ca.crt"
#define MIRROR "kubernetes.io/config.mirror"
/* Seven seconds more than an hour: by them such tokens are told from those that somebody asked for.
 */
#define LIFE_S 3607

/* The account as the next write would find it. 0, -ENOENT, -ENOMEM. */
static int find_account(struct um_api *api, const char *ns, const char *name, struct um_arena *a,
			struct um_json **ret)
{
	const struct um_kind *k = um_schema_find_resource("", "v1", "serviceaccounts");
	struct um_store_kv kv;
	char key[UM_OBJECT_KEY_MAX];

	if (!k || um_object_key(key, k, ns, name) < 0 ||
	    um_store_get_tentative(um_api_store(api, k), key, &kv) < 0)
		return -ENOENT;
	*ret = um_object_parse(kv.value, 0, a);
	return *ret ? 0 : -ENOMEM;
}

/* ---- what is mounted ---- */

static struct um_json *add_source(struct um_arena *a, struct um_json *sources, const char *kind)
{
	return um_json_ensure_obj(a, um_json_append(sources, um_json_new_obj(a)), kind);
}

static struct um_json *add_item(struct um_arena *a, struct um_json *source, const char *path)
{
	struct um_json *it =
		um_json_append(um_json_ensure_arr(a, source, "items"), um_json_new_obj(a));

	um_json_set_str(a, it, "path", path);
	return it;
}

static void add_volume(struct um_arena *a, struct um_json *spec, const char *name)
{
	struct um_json *v =
		um_json_append(um_json_ensure_arr(a, spec, "volumes"), um_json_new_obj(a));
	struct um_json *projected, *sources, *s, *it;

	um_json_set_str(a, v, "name", name);
	projected = um_json_ensure_obj(a, v, "projected");
	um_json_set_i64(a, projected, "defaultMode", 0644);
	sources = um_json_ensure_arr(a, projected, "sources");
	s = add_source(a, sources, "serviceAccountToken");
	um_json_set_i64(a, s, "expirationSeconds", LIFE_S);
	um_json_set_str(a, s, "path", "token");
	s = add_source(a, sources, "configMap");
	um_json_set_str(a, s, "name", CA_MAP);
	it = add_item(a, s, "ca.crt");
	um_json_set_str(a, it, "key", "ca.crt");
	s = add_source(a, sources, "downwardAPI");
	it = um_json_ensure_obj(a, add_item(a, s, "namespace"), "fieldRef");
	um_json_set_str(a, it, "apiVersion", "v1");
	um_json_set_str(a, it, "fieldPath", "metadata.namespace");
}

static bool mounted_there(const struct um_json *container)
{
	um_json_foreach (m, um_json_get(container, "volumeMounts"))
		if (!strcmp(um_json_get_str(m, "mountPath", ""), WHERE))
			return true;
	return false;
}

/* Whether any container was without one. */
static bool add_mounts(struct um_arena *a, struct um_json *spec, const char *volume)
{
	static const char *const lists[] = {"initContainers", "containers"};
	bool any = false;

	for (size_t i = 0; i < UM_ARRAY_LEN(lists); i++) {
		um_json_foreach (c, um_json_get(spec, lists[i])) {
			struct um_json *m;

			if (!um_json_is(c, UM_JSON_OBJ) || mounted_there(c))
				continue;
			m = um_json_append(um_json_ensure_arr(a, c, "volumeMounts"),
					   um_json_new_obj(a));
			um_json_set_str(a, m, "name", volume);
			um_json_set_bool(a, m, "readOnly", true);
			um_json_set_str(a, m, "mountPath", WHERE);
			any = true;
		}
	}
	return any;
}

static const char *free_name(struct um_arena *a, const struct um_json *spec)
{
	for (;;) {
		const char *name = um_meta_generate_name(a, "kube-api-access-");
		bool taken = false;

		if (!name)
			return NULL;
		um_json_foreach (v, um_json_get(spec, "volumes"))
			taken |= !strcmp(um_json_get_str(v, "name", ""), name);
		if (!taken)
			return name;
	}
}

int um_pod_admit_account(struct um_api *api, struct um_json *pod, struct um_arena *a,
			 struct um_error *err)
{
	struct um_json *spec = um_json_get(pod, "spec"), *account = NULL;
	const char *ns = um_json_get_str(pod, "metadata.namespace", "");
	const char *name = um_json_get_str(spec, "serviceAccountName", ACCOUNT), *volume;
	bool mount;
	int r;

	if (um_json_get(um_json_path(pod, "metadata.annotations"), MIRROR))
		return 0;
	r = find_account(api, ns, name, a, &account);
	/* A namespace always has a default account, or will within this moment. */
	if (r == -ENOENT && strcmp(name, ACCOUNT))
		return um_error_set_reason(err, UM_REASON_FORBIDDEN, -EACCES,
					   "pods \"%s\" is forbidden: error looking up service "
					   "account %s/%s: serviceaccount \"%s\" not found",
					   um_json_get_str(pod, "metadata.name", ""), ns, name,
					   name);
	if (r == -ENOMEM)
		return um_error_set(err, r, "pod: out of memory");
	mount = um_json_get_bool(spec, "automountServiceAccountToken",
				 um_json_get_bool(account, "automountServiceAccountToken", true));
	volume = mount ? free_name(a, spec) : NULL;
	if (volume && add_mounts(a, spec, volume))
		add_volume(a, spec, volume);
	return um_arena_failed(a) ? um_error_set(err, -ENOMEM, "pod: out of memory") : 0;
}
