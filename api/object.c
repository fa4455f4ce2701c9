#include "api/object.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

int um_object_key(char key[UM_OBJECT_KEY_MAX], const struct um_kind *kind, const char *ns,
		  const char *name)
{
	const char *group = *kind->group ? kind->group : "core";
	bool with_ns = kind->namespaced && ns && *ns;
	int n = snprintf(key, UM_OBJECT_KEY_MAX, "/registry/%s/%s/%s%s%s", group, kind->plural,
			 with_ns ? ns : "", with_ns ? "/" : "", name ? name : "");

	return n < UM_OBJECT_KEY_MAX ? 0 : -ENAMETOOLONG;
}

const char *um_object_api_version(const struct um_kind *kind, struct um_arena *a)
{
	const char *s = *kind->group ? um_arena_printf(a, "%s/%s", kind->group, kind->version)
				     : kind->version;

	return s ? s : "";
}

/* Puts @node first in @obj. */
static void to_front(struct um_json *obj, struct um_json *node)
{
	if (!node || obj->first == node)
		return;
	for (struct um_json *it = obj->first; it; it = it->next) {
		if (it->next != node)
			continue;
		it->next = node->next;
		if (obj->last == node)
			obj->last = it;
		node->next = obj->first;
		obj->first = node;
		return;
	}
}

struct um_bytes *um_object_encode(const struct um_kind *kind, struct um_json *obj,
				  struct um_arena *a)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_OBJECT_ARENA_MAX);
	struct um_json *meta = um_json_ensure_obj(a, obj, "metadata");

	um_json_remove(meta, "resourceVersion");
	um_json_set_str(a, obj, "kind", kind->kind);
	um_json_set_str(a, obj, "apiVersion", um_object_api_version(kind, a));
	if (um_arena_failed(a))
		return NULL;
	to_front(obj, meta);
	to_front(obj, um_json_get(obj, "kind"));
	to_front(obj, um_json_get(obj, "apiVersion"));
	if (um_json_write(&b, obj) < 0)
		return NULL;
	return um_bytes_new(b.data, b.len);
}

struct um_json *um_object_parse(const struct um_bytes *b, int64_t rev, struct um_arena *a)
{
	struct um_json *obj = NULL, *meta;
	char text[24];

	if (um_json_parse(a, b->data, b->len, NULL, &obj, NULL) < 0)
		return NULL;
	meta = um_json_get(obj, "metadata");
	if (!um_json_is(meta, UM_JSON_OBJ))
		return NULL;
	if (!rev)
		return obj;
	snprintf(text, sizeof(text), "%lld", (long long)rev);
	return um_json_set_str(a, meta, "resourceVersion", text) ? obj : NULL;
}

int um_object_show(struct um_buf *out, const struct um_bytes *b, int64_t rev)
{
	static const char mark[] = "\"metadata\":{";
	const char *at = strstr(b->data, mark);
	size_t head;

	if (!at)
		return -EBADMSG;
	head = (size_t)(at - b->data) + sizeof(mark) - 1;
	um_buf_add(out, b->data, head);
	if (rev)
		um_buf_addf(out, "\"resourceVersion\":\"%lld\",", (long long)rev);
	return um_buf_add(out, b->data + head, b->len - head);
}

void um_object_uid(char uid[37])
{
	unsigned char r[16];

	/* At most 256 bytes: cannot fail once the kernel's pool is ready, and waits until then. */
	while (getrandom(r, sizeof(r), 0) != (ssize_t)sizeof(r))
		;
	r[6] = (unsigned char)((r[6] & 0x0f) | 0x40);
	r[8] = (unsigned char)((r[8] & 0x3f) | 0x80);
	snprintf(uid, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12],
		 r[13], r[14], r[15]);
}
