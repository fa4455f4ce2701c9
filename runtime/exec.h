/* Which process exec runs: the container's with other settings, or one from a file. */
#ifndef UM_RUNTIME_EXEC_H
#define UM_RUNTIME_EXEC_H

#include "runtime/runtime.h"
#include "runtime/spec.h"

/* The process lives in @a, and in @spec, the container's. */
um_must_check int um_exec_from_options(struct um_arena *a, const struct um_spec *spec,
				       const struct um_runtime_exec *o, struct um_spec_process *ret,
				       struct um_error *err);
um_must_check int um_exec_from_file(struct um_arena *a, const struct um_spec *spec,
				    const struct um_runtime_exec *o, struct um_spec_process *ret,
				    struct um_error *err);
/* A process object says everything: an option beside it would be ignored, and is -EINVAL; but for
 * --tty, which conmon gives with each terminal. */
um_must_check int um_exec_check_options(const struct um_runtime_exec *o, struct um_error *err);

#endif
