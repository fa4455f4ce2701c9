/* The configmaps, secrets and tokens that a pod names. On the loop; what a worker reads of them
 * (p->refs) changes only while the pod has no step under way. */
#ifndef UM_AGENT_REFS_H
#define UM_AGENT_REFS_H

#include "agent/internal.h"

/* "configmaps/NAME", "secrets/NAME", "tokens/VOLUME/SOURCE" */
#define REFS_KEY_MAX 300
/* After a failure while it runs. */
#define REFS_RETRY_NS (30 * UM_NSEC_PER_SEC)

struct refs_name {
	const char *plural, *name;
	bool optional;
	bool access; /* only to talk to the server: projection_is_access() */
};
/* All configmaps and secrets that the pod names, some more than once. */
void refs_each(const struct agent_pod *p, void (*fn)(void *arg, const struct refs_name *n),
	       void *arg);

/* Asks for all that it names. When the last answer is in, pod_kick(). Where the server is silent,
 * what was known before does; and a pod that an earlier agent had starts, after half a minute of
 * silence, without what only serves to talk to the server. */
void refs_fetch(struct agent_pod *p);

/* A newer form of an object has come, or NULL: it is gone. Kept until refs_take_news() or
 * refs_advance(). */
void refs_deliver(struct agent_pod *p, const char *plural, const char *name,
		  const struct um_json *obj);
/* Takes over what has come; true when anything differs. The pod has no step under way. */
bool refs_take_news(struct agent_pod *p);
/* Of a pod that runs: begins to write its volumes anew when they should be. True: it has. */
bool refs_advance(struct agent_pod *p);
/* Its object is another one now; @was is the old one's metadata. */
void refs_note_metadata(struct agent_pod *p, const struct um_json *was);
void refs_release(struct agent_pod *p);

#endif
