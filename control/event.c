#include "control/event.h"

#include <string.h>

#include "api/object.h"
#include "base/clock.h"
#include "base/hash.h"
#include "store/store.h"
#include "wire/loop.h"

static void ignore(um_unused void *arg, um_unused int64_t rev, um_unused const struct um_error *err)
{
}

static struct um_json *involved_object(struct um_arena *a, const struct um_json *obj)
{
	static const char *const from_meta[] = {"namespace", "name", "uid", "resourceVersion"};
	struct um_json *o = um_json_new_obj(a);

	um_json_set_str(a, o, "kind", um_json_get_str(obj, "kind", ""));
	um_json_set_str(a, o, "apiVersion", um_json_get_str(obj, "apiVersion", "v1"));
	for (size_t i = 0; i < UM_ARRAY_LEN(from_meta); i++) {
		const char *v =
			um_json_str(um_json_get(um_json_get(obj, "metadata"), from_meta[i]), NULL);

		if (v)
			um_json_set_str(a, o, from_meta[i], v);
	}
	return o;
}

/* The name follows from what it says, so that the same again finds the earlier one. */
static const char *event_name(struct um_arena *a, const struct um_json *obj, const char *reason,
			      const char *message)
{
	const char *text = um_arena_printf(a, "%s/%s/%s", um_json_get_str(obj, "metadata.uid", ""),
					   reason, message);

	return text ? um_arena_printf(a, "%.200s.%016llx",
				      um_json_get_str(obj, "metadata.name", "x"),
				      (unsigned long long)um_hash_bytes(text, strlen(text)))
		    : NULL;
}

static struct um_json *new_event(struct um_arena *a, const struct um_json *obj, const char *ns,
				 const char *name, const char *component, const char *now)
{
	struct um_json *ev = um_json_new_obj(a), *meta = um_json_ensure_obj(a, ev, "metadata");
	char uid[37];

	um_object_uid(uid);
	um_json_set_str(a, ev, "apiVersion", "v1");
	um_json_set_str(a, ev, "kind", "Event");
	um_json_set_str(a, meta, "name", name);
	um_json_set_str(a, meta, "namespace", ns);
	um_json_set_str(a, meta, "uid", uid);
	um_json_set_str(a, meta, "creationTimestamp", now);
	um_json_set(a, ev, "involvedObject", involved_object(a, obj));
	um_json_set_str(a, um_json_ensure_obj(a, ev, "source"), "component", component);
	um_json_set_str(a, ev, "reportingComponent", component);
	um_json_set_str(a, ev, "firstTimestamp", now);
	return ev;
}

void um_event_record(struct um_loop *l, struct um_store *volatile_, const struct um_json *involved,
		     const char *component, const char *type, const char *reason,
		     const char *message)
{
	const struct um_kind *kind = um_schema_find_resource("", "v1", "events");
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	_cleanup_bytes_ struct um_bytes *bytes = NULL;
	const char *ns = um_json_get_str(involved, "metadata.namespace", "default");
	const char *name = a ? event_name(a, involved, reason, message) : NULL;
	struct um_json *ev = NULL;
	struct um_store_kv kv;
	struct um_store_op op;
	char key[UM_OBJECT_KEY_MAX], now[UM_TIME_LEN];

	if (!name || !kind || um_object_key(key, kind, ns, name) < 0)
		return;
	um_time_format(um_clock_wall(um_loop_clock(l)), now);
	if (um_store_get_tentative(volatile_, key, &kv) == 0)
		ev = um_object_parse(kv.value, kv.mod_rev, a);
	if (!ev)
		ev = new_event(a, involved, ns, name, component, now);
	um_json_set_str(a, ev, "type", type);
	um_json_set_str(a, ev, "reason", reason);
	um_json_set_str(a, ev, "message", message);
	um_json_set_str(a, ev, "lastTimestamp", now);
	um_json_set_i64(a, ev, "count", um_json_get_i64(ev, "count", 0) + 1);
	if (um_arena_failed(a) || !(bytes = um_object_encode(kind, ev, a)))
		return;
	op = (struct um_store_op){key, bytes};
	(void)!um_store_txn(volatile_, NULL, 0, &op, 1, ignore, NULL, NULL);
}
