#include "control/ctl.h"

#include <stdarg.h>
#include <string.h>

#include "api/object.h"
#include "api/server.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/event.h"
#include "control/podset.h"
#include "control/queue.h"
#include "wire/loop.h"

#define REPEAT_NS (50 * UM_NSEC_PER_MSEC)

static void ctl_unref(struct um_ctl *c)
{
	if (!--c->refs)
		free(c);
}

int um_ctl_new(struct um_loop *l, struct um_api *api, struct um_store *durable,
	       struct um_store *volatile_, struct um_ctl **ret, struct um_error *err)
{
	struct um_ctl *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return um_error_set(err, -ENOMEM, "controllers: out of memory");
	*c = (struct um_ctl){
		.loop = l, .api = api, .durable = durable, .volatile_ = volatile_, .refs = 1};
	r = um_podset_new(durable, &c->pods, err);
	if (r < 0) {
		free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void um_ctl_free(struct um_ctl *c)
{
	if (!c)
		return;
	c->dead = true;
	um_podset_free(TAKE_PTR(c->pods));
	ctl_unref(c);
}

/* ---- writes ---- */

struct write {
	struct um_ctl *ctl;
	struct um_queue *queue;
	char key[];
};

void *um_ctl_write(struct um_ctl *c, struct um_queue *queue, const char *key)
{
	struct write *w = calloc(1, sizeof(*w) + strlen(key) + 1);

	if (!w)
		return NULL;
	w->ctl = c;
	c->refs++;
	w->queue = queue;
	strcpy(w->key, key);
	return w;
}

void um_ctl_drop_write(void *arg)
{
	struct write *w = arg;

	if (!w)
		return;
	ctl_unref(w->ctl);
	free(w);
}

void um_ctl_written(void *arg, um_unused int64_t rev, const struct um_error *err)
{
	struct write *w = arg;

	if (err && err->code && !w->ctl->dead)
		um_queue_add_after(w->queue, w->key, REPEAT_NS);
	um_ctl_drop_write(w);
}

int um_ctl_create(struct um_ctl *c, struct um_queue *queue, const char *key,
		  const struct um_kind *kind, struct um_json *obj, struct um_arena *a,
		  struct um_error *err)
{
	void *w = um_ctl_write(c, queue, key);
	int r = w ? um_api_create(c->api, kind, obj, a, um_ctl_written, w, err)
		  : um_error_set(err, -ENOMEM, "%s: out of memory", kind->kind);

	if (r < 0)
		um_ctl_drop_write(w);
	return r;
}

int um_ctl_update(struct um_ctl *c, struct um_queue *queue, const char *key,
		  const struct um_kind *kind, struct um_json *obj, const struct um_json *old,
		  int64_t rev, struct um_arena *a, struct um_error *err)
{
	void *w = um_ctl_write(c, queue, key);
	int r = w ? um_api_update(c->api, kind, obj, old, rev, a, um_ctl_written, w, err)
		  : um_error_set(err, -ENOMEM, "%s: out of memory", kind->kind);

	if (r <= 0)
		um_ctl_drop_write(w);
	return r;
}

/* ---- events and conditions ---- */

void um_ctl_event(struct um_ctl *c, const struct um_json *obj, const char *component,
		  const char *type, const char *reason, const char *fmt, ...)
{
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	um_event_record(c->loop, c->volatile_, obj, component, type, reason, message);
}

struct um_json *um_ctl_condition(const struct um_json *status, const char *type)
{
	um_json_foreach (c, um_json_get(status, "conditions"))
		if (!strcmp(um_json_get_str(c, "type", ""), type))
			return c;
	return NULL;
}

bool um_ctl_set_condition(struct um_ctl *ctl, struct um_arena *a, struct um_json *status,
			  const char *type, const char *value, const char *reason,
			  const char *message, bool update_time)
{
	struct um_json *c = um_ctl_condition(status, type);
	bool turned = !c || strcmp(um_json_get_str(c, "status", ""), value);
	char now[UM_TIME_LEN];

	if (!turned && !strcmp(um_json_get_str(c, "reason", ""), reason) &&
	    !strcmp(um_json_get_str(c, "message", ""), message))
		return false;
	um_time_format(um_clock_wall(um_loop_clock(ctl->loop)), now);
	if (!c)
		c = um_json_append(um_json_ensure_arr(a, status, "conditions"), um_json_new_obj(a));
	um_json_set_str(a, c, "type", type);
	um_json_set_str(a, c, "status", value);
	if (update_time)
		um_json_set_str(a, c, "lastUpdateTime", now);
	if (turned)
		um_json_set_str(a, c, "lastTransitionTime", now);
	um_json_set_str(a, c, "reason", reason);
	um_json_set_str(a, c, "message", message);
	return true;
}

/* ---- names and owners ---- */

bool um_ctl_split(const char *key, struct um_ctl_name *ret)
{
	const char *slash = strchr(key, '/');
	size_t n = slash ? (size_t)(slash - key) : 0;

	if (!slash || n >= sizeof(ret->ns) || strlen(slash + 1) >= sizeof(ret->name))
		return false;
	memcpy(ret->ns, key, n);
	ret->ns[n] = '\0';
	strcpy(ret->name, slash + 1);
	return true;
}

const struct um_json *um_ctl_controller_of(const struct um_json *obj)
{
	um_json_foreach (ref, um_json_path(obj, "metadata.ownerReferences"))
		if (um_json_get_bool(ref, "controller", false))
			return ref;
	return NULL;
}

void um_ctl_own(struct um_arena *a, struct um_json *obj, const struct um_json *owner)
{
	struct um_json *refs =
		um_json_ensure_arr(a, um_json_ensure_obj(a, obj, "metadata"), "ownerReferences");
	struct um_json *ref = um_json_append(refs, um_json_new_obj(a));

	um_json_set_str(a, ref, "apiVersion", um_json_get_str(owner, "apiVersion", ""));
	um_json_set_str(a, ref, "kind", um_json_get_str(owner, "kind", ""));
	um_json_set_str(a, ref, "name", um_json_get_str(owner, "metadata.name", ""));
	um_json_set_str(a, ref, "uid", um_json_get_str(owner, "metadata.uid", ""));
	um_json_set_bool(a, ref, "controller", true);
	um_json_set_bool(a, ref, "blockOwnerDeletion", true);
}

void um_ctl_disown(struct um_json *obj, const char *uid)
{
	struct um_json *meta = um_json_get(obj, "metadata");
	struct um_json *refs = um_json_get(meta, "ownerReferences");

	um_json_foreach (ref, refs) {
		if (strcmp(um_json_get_str(ref, "uid", ""), uid))
			continue;
		um_json_remove_node(refs, ref);
		break;
	}
	if (refs && !um_json_first(refs))
		um_json_remove(meta, "ownerReferences");
}
