/* The variables that tell a container of its namespace's Services and of the API's: what
 * Kubernetes' enableServiceLinks means. The server's Services are kept in a compact form; a
 * container gets what is known when it starts. */
#ifndef UM_AGENT_LINKS_H
#define UM_AGENT_LINKS_H

#include <stdbool.h>

#include "base/json.h"

struct agent_links;
struct agent_pod;

struct agent_links *links_new(void);	/* NULL: out of memory */
void links_free(struct agent_links *l); /* accepts NULL */

void links_put(struct agent_links *l, const struct um_json *service);
void links_drop(struct agent_links *l, const char *ns, const char *name);
/* All have been put: those that @items does not name are gone. */
void links_listed(struct agent_links *l, const struct um_json *items);
bool links_are_listed(const struct agent_links *l);

/* An array of "K=V" for a pod of namespace @ns. @all: of all its Services with an address, not of
 * the API's alone. @api: the address of the API's Service, where that is not known; NULL: none. */
struct um_json *links_variables(const struct agent_links *l, struct um_arena *a, const char *ns,
				bool all, const char *api);

/* Puts the variables of a pod's next container into p->links, until they are forgotten. */
void links_of_pod(struct agent_pod *p);
void links_forget(struct agent_pod *p);
/* Whether the Services are known, or not worth waiting for any longer: a pod that came with the
 * first list of an agent's life waits a moment for the first list of Services. When not, its timer
 * runs. */
bool links_ready(struct agent_pod *p);

#endif
