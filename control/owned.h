/* The objects of one kind by their controlling owner: ReplicaSets of Deployments. Follows the
 * store's durable head. */
#ifndef UM_CONTROL_OWNED_H
#define UM_CONTROL_OWNED_H

#include "base/error.h"

struct um_kind;
struct um_owned;
struct um_store;

/* @change hears each object that came, changed or went: its key "ns/name", and the name of its
 * controller (of @owner_kind; "" when it has none), before (@old_owner) and now. Also for each that
 * was there at the start. */
typedef void (*um_owned_fn)(void *arg, const char *key, const char *old_owner, const char *owner);
um_must_check int um_owned_new(struct um_store *store, const struct um_kind *kind,
			       const char *owner_kind, um_owned_fn change, void *arg,
			       struct um_owned **ret, struct um_error *err);
void um_owned_free(struct um_owned *o); /* accepts NULL */

/* Calls @fn with the key of each object that @uid controls; and of each in @ns that none does.
 * @fn must not write to the store's durable head (writes are queued: fine). */
void um_owned_each(const struct um_owned *o, const char *uid,
		   void (*fn)(void *arg, const char *key), void *arg);
void um_owned_each_orphan(const struct um_owned *o, const char *ns,
			  void (*fn)(void *arg, const char *key), void *arg);

#endif
