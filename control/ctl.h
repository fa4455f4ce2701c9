/* What all controllers share: where they look, how they write.
 *
 * A controller is a queue of keys and a look at one of them: it reads what is there, compares it
 * with what should be, writes the difference, and comes again when something changes. It holds no
 * state that a restart would miss. */
#ifndef UM_CONTROL_CTL_H
#define UM_CONTROL_CTL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "store/store.h"

struct um_api;
struct um_kind;
struct um_loop;
struct um_podset;
struct um_queue;

/* Refcounted: writes in flight hold it. Once dead, the parts are gone. */
struct um_ctl {
	struct um_loop *loop;
	struct um_api *api;
	struct um_store *durable, *volatile_; /* borrowed */
	struct um_podset *pods;		      /* owned */
	unsigned refs;
	bool dead;
};

um_must_check int um_ctl_new(struct um_loop *l, struct um_api *api, struct um_store *durable,
			     struct um_store *volatile_, struct um_ctl **ret, struct um_error *err);
/* Controllers are freed before. Accepts NULL. */
void um_ctl_free(struct um_ctl *c);

/* A done function and its argument for writes that a failed one of which makes @key be looked at
 * again. The argument is NULL when out of memory; give it to um_ctl_drop_write() when no write
 * follows. @queue must live until um_ctl_free(). */
void *um_ctl_write(struct um_ctl *c, struct um_queue *queue, const char *key);
void um_ctl_written(void *arg, int64_t rev, const struct um_error *err);
void um_ctl_drop_write(void *arg);

/* um_api_create() and um_api_update() with these: 0 or more as there, or a negative errno. */
um_must_check int um_ctl_create(struct um_ctl *c, struct um_queue *queue, const char *key,
				const struct um_kind *kind, struct um_json *obj, struct um_arena *a,
				struct um_error *err);
um_must_check int um_ctl_update(struct um_ctl *c, struct um_queue *queue, const char *key,
				const struct um_kind *kind, struct um_json *obj,
				const struct um_json *old, int64_t rev, struct um_arena *a,
				struct um_error *err);

/* An Event about @obj. */
void um_ctl_event(struct um_ctl *c, const struct um_json *obj, const char *component,
		  const char *type, const char *reason, const char *fmt, ...) um_printf(6, 7);

/* Of a list of conditions in @status; false where it says that already. Times are set as
 * Kubernetes does: lastTransitionTime with the status; lastUpdateTime, where @update_time, with any
 * change. */
bool um_ctl_set_condition(struct um_ctl *c, struct um_arena *a, struct um_json *status,
			  const char *type, const char *value, const char *reason,
			  const char *message, bool update_time);
struct um_json *um_ctl_condition(const struct um_json *status, const char *type);

/* "ns/name" of a key of the store below @prefix; or its parts. */
struct um_ctl_name {
	char ns[256], name[256];
};
bool um_ctl_split(const char *key, struct um_ctl_name *ret);

/* The reference to the controller among metadata.ownerReferences; NULL: none. */
const struct um_json *um_ctl_controller_of(const struct um_json *obj);
/* Appends @owner as the controller of @obj. */
void um_ctl_own(struct um_arena *a, struct um_json *obj, const struct um_json *owner);
/* Takes the reference to @uid away. */
void um_ctl_disown(struct um_json *obj, const char *uid);

#endif
