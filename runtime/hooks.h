/* The hooks of config.json. */
#ifndef UM_RUNTIME_HOOKS_H
#define UM_RUNTIME_HOOKS_H

#include "runtime/spec.h"

/* Where the output of hooks goes: a descriptor for standard output and one for standard error, -1:
 * ours. */
struct um_hooks_output {
	int fd[2];
};
#define UM_HOOKS_OUTPUT_NONE                                                                       \
	{                                                                                          \
		{                                                                                  \
			-1, -1                                                                     \
		}                                                                                  \
	}

/* Opens the files that annotations of @s ask for. @ret is to be released in any case. */
um_must_check int um_hooks_open_output(const struct um_spec *s, struct um_hooks_output *ret,
				       struct um_error *err);
void um_hooks_output_release(struct um_hooks_output *o);

/* Runs them one after the other with @state_json on standard input. The first failure, or time-out
 * (the hook is then killed), ends the run. Blocks.
 * @as: the process that they run as and are confined as, with its environment where they name none
 * of their own; NULL: as we ourselves are. */
struct um_process_start;
um_must_check int um_hooks_run(const struct um_spec_hooks *hooks, const char *kind,
			       const char *state_json, const struct um_process_start *as,
			       const struct um_hooks_output *output, struct um_error *err);

#endif
