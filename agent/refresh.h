/* What pods' volumes are made of, while they run: renewed when it changes on the server, and tokens
 * before they expire. One timer for the whole agent, for whatever is due first.
 *
 * The server says on the control channel (api/streams.h) which configmaps and secrets have changed;
 * each is then fetched once, for all pods that name it, at most once in a second. When the channel
 * comes back all of them are looked at. */
#ifndef UM_AGENT_REFRESH_H
#define UM_AGENT_REFRESH_H

#include "base/error.h"

struct agent_refresh;
struct um_agent;

um_must_check int refresh_new(struct um_agent *a, struct agent_refresh **ret, struct um_error *err);
/* Accepts NULL; no request is under way. */
void refresh_free(struct agent_refresh *r);

/* An object may have changed. @plural: "configmaps" or "secrets"; all others are passed over. */
void refresh_changed(struct um_agent *a, const char *plural, const char *ns, const char *name);
/* Any may have, and the server answers again. */
void refresh_all(struct um_agent *a);
/* Something is due at another time than before. */
void refresh_arm(struct um_agent *a);
/* Does what is due. Also called with each heartbeat: a host that slept has slept on its timer. */
void refresh_look(struct um_agent *a);

#endif
