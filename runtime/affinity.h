/* process.execCPUAffinity */
#ifndef UM_RUNTIME_AFFINITY_H
#define UM_RUNTIME_AFFINITY_H

#include <sched.h>

#include "base/error.h"

/* "0-3,7" -> a set. 0 or -EINVAL. */
um_must_check int um_affinity_parse(const char *list, cpu_set_t *ret);
/* Binds the calling thread. A NULL @list asks for nothing. @field: for the message. */
um_must_check int um_affinity_set(const char *list, const char *field, struct um_error *err);
/* Gives the calling thread every CPU that its cgroup has, whatever its parent was bound to. */
void um_affinity_reset(void);

#endif
