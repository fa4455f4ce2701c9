/* The metadata that the server owns: names it makes up, uids, times, generations. */
#include <string.h>
#include <sys/random.h>

#include "api/internal.h"

const char *um_meta_generate_name(struct um_arena *a, const char *prefix)
{
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
	unsigned char r[5];
	char tail[6];

	while (getrandom(r, sizeof(r), 0) != (ssize_t)sizeof(r))
		;
	for (size_t i = 0; i < sizeof(r); i++)
		tail[i] = alphabet[r[i] % (sizeof(alphabet) - 1)];
	tail[5] = '\0';
	return um_arena_printf(a, "%.58s%s", prefix, tail);
}

void um_meta_forget_foreign(struct um_json *meta)
{
	static const char *const server_owned[] = {"managedFields", "selfLink"};

	for (size_t i = 0; i < UM_ARRAY_LEN(server_owned); i++)
		um_json_remove(meta, server_owned[i]);
}

void um_meta_new(const struct um_api *api, const struct um_kind *kind, struct um_json *meta,
		 struct um_arena *a)
{
	static const char *const not_yet[] = {"deletionTimestamp", "deletionGracePeriodSeconds",
					      "generation", "resourceVersion"};
	const char *prefix = um_json_get_str(meta, "generateName", "");
	char uid[37], now[UM_TIME_LEN];

	um_meta_forget_foreign(meta);
	for (size_t i = 0; i < UM_ARRAY_LEN(not_yet); i++)
		um_json_remove(meta, not_yet[i]);
	if (!*um_json_get_str(meta, "name", "") && *prefix)
		um_json_set_str(a, meta, "name", um_meta_generate_name(a, prefix));
	um_object_uid(uid);
	um_json_set_str(a, meta, "uid", uid);
	um_json_set_str(a, meta, "creationTimestamp", um_api_now(api, now));
	if (kind->has_generation && strcmp(kind->kind, "Node"))
		um_json_set_i64(a, meta, "generation", 1);
}

static bool same_wishes(const struct um_json *a, const struct um_json *b)
{
	um_json_foreach (it, a) {
		if (!strcmp(it->key, "metadata") || !strcmp(it->key, "status"))
			continue;
		if (!um_json_equal(it, um_json_get(b, it->key)))
			return false;
	}
	return true;
}

void um_meta_count_generation(const struct um_kind *kind, struct um_json *obj,
			      const struct um_json *old, struct um_arena *a)
{
	struct um_json *meta = um_json_get(obj, "metadata");
	int64_t n = um_json_get_i64(meta, "generation", 0);

	if (kind->has_generation && n && !(same_wishes(obj, old) && same_wishes(old, obj)))
		um_json_set_i64(a, meta, "generation", n + 1);
}
