/* Events are forgotten some time after their last change: a queue of changes in the order they
 * came, by the monotonic clock. A change that a later one has overtaken is passed over. */
#include <string.h>

#include "api/internal.h"

enum { PER_TURN = 200 };

struct change {
	char *key; /* owned */
	int64_t rev, at_ns;
	STAILQ_ENTRY(change) next;
};

struct um_event_ttl {
	struct um_api *api;
	struct um_store_watch *watch;
	STAILQ_HEAD(, change) queue;
};

static void on_event(void *arg, const struct um_store_event *ev)
{
	struct um_event_ttl *t = arg;
	struct change *c;

	if (!ev->value || !(c = calloc(1, sizeof(*c))))
		return;
	c->key = strdup(ev->key);
	if (!c->key) {
		free(c);
		return;
	}
	c->rev = ev->rev;
	c->at_ns = um_loop_now(t->api->loop);
	STAILQ_INSERT_TAIL(&t->queue, c, next);
}

static void pop(struct um_event_ttl *t)
{
	struct change *c = STAILQ_FIRST(&t->queue);

	STAILQ_REMOVE_HEAD(&t->queue, next);
	free(c->key);
	free(c);
}

static void on_removed(void *arg um_unused, int64_t rev um_unused,
		       const struct um_error *err um_unused)
{
}

void um_event_ttl_housekeeping(struct um_event_ttl *t)
{
	int64_t limit = um_loop_now(t->api->loop) - t->api->o.event_ttl_ns;
	struct change *c;

	for (int i = 0; i < PER_TURN && (c = STAILQ_FIRST(&t->queue)) && c->at_ns <= limit; i++) {
		struct um_store_compare cmp = {c->key, c->rev};
		struct um_store_op op = {c->key, NULL};
		int r = um_store_txn(t->api->o.volatile_, &cmp, 1, &op, 1, on_removed, NULL, NULL);

		if (r == -ENOMEM)
			return;
		pop(t);
	}
}

int um_event_ttl_new(struct um_api *api, struct um_event_ttl **ret, struct um_error *err)
{
	const struct um_kind *k = um_schema_find_resource("", "v1", "events");
	struct um_event_ttl *t = calloc(1, sizeof(*t));
	char prefix[UM_OBJECT_KEY_MAX];
	int r;

	if (!t)
		return um_error_set(err, -ENOMEM, "events: out of memory");
	t->api = api;
	STAILQ_INIT(&t->queue);
	if (k) {
		r = um_object_key(prefix, k, NULL, NULL);
		if (!r)
			r = um_store_watch_new(api->o.volatile_, prefix,
					       um_store_rev(api->o.volatile_), on_event, t,
					       &t->watch, err);
		if (r < 0) {
			free(t);
			return r;
		}
	}
	*ret = t;
	return 0;
}

void um_event_ttl_free(struct um_event_ttl *t)
{
	if (!t)
		return;
	um_store_watch_free(t->watch);
	while (!STAILQ_EMPTY(&t->queue))
		pop(t);
	free(t);
}
