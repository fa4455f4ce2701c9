/* linux.memoryPolicy: on which NUMA nodes the container's processes get their memory. */
#ifndef UM_RUNTIME_MEMPOLICY_H
#define UM_RUNTIME_MEMPOLICY_H

#include "runtime/decode.h"
#include "runtime/spec.h"

/* For the table of linux's fields. */
int um_decode_memory_policy(struct um_decoder *d, const struct um_json *node, void *base);
/* set_mempolicy(2) of the calling thread, for it and what it executes; 0 where none is asked for.
 */
um_must_check int um_mempolicy_set(const struct um_spec *s, struct um_error *err);
/* Names, for `features`; NULL past the last. */
const char *um_mempolicy_mode_name(size_t i);
const char *um_mempolicy_flag_name(size_t i);

#endif
