/* The pod's own fields, as variables and files show them. Pure, but that a resource without a limit
 * is what this machine has. */
#ifndef UM_AGENT_DOWNWARD_H
#define UM_AGENT_DOWNWARD_H

#include "base/json.h"

struct agent_pod;

/* The text of a fieldRef's path, in the arena or the pod. metadata.labels and metadata.annotations
 * as a whole are lines of key="value", sorted, the last without a line break. NULL: no such field,
 * or out of memory. */
const char *downward_field(struct um_arena *a, const struct agent_pod *p, const char *path);
/* A resourceFieldRef; @spec is the container meant where @ref names none. NULL: @err is set. */
const char *downward_resource(struct um_arena *a, const struct agent_pod *p,
			      const struct um_json *spec, const struct um_json *ref,
			      struct um_error *err);

#endif
