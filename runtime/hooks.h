/* The hooks of config.json. */
#ifndef UM_RUNTIME_HOOKS_H
#define UM_RUNTIME_HOOKS_H

#include "runtime/spec.h"

/* Runs them one after the other with @state_json on standard input. The first failure, or time-out
 * (the hook is then killed), ends the run. Blocks.
 * @as: the process that they run as and are confined as, with its environment where they name none
 * of their own; NULL: as we ourselves are. */
struct um_process_start;
um_must_check int um_hooks_run(const struct um_spec_hooks *hooks, const char *kind,
			       const char *state_json, const struct um_process_start *as,
			       struct um_error *err);

#endif
