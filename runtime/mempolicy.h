/* linux.memoryPolicy: from which NUMA nodes the container's memory comes (set_mempolicy(2)). */
#ifndef UM_RUNTIME_MEMPOLICY_H
#define UM_RUNTIME_MEMPOLICY_H

#include <stddef.h>

#include "base/error.h"

struct um_spec_mempolicy;

/* Sets it for the calling process, whose programs and children inherit it. Where none is asked for,
 * nothing is done. */
um_must_check int um_mempolicy_set(const struct um_spec_mempolicy *p, struct um_error *err);

/* Names for `features`; NULL past the last. */
const char *um_mempolicy_mode_name(size_t i);
const char *um_mempolicy_flag_name(size_t i);

#endif
