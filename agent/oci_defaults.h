/* What a container gets unless its owner says otherwise, whoever starts it: pods and `umiak ctr`.
 */
#ifndef UM_AGENT_OCI_DEFAULTS_H
#define UM_AGENT_OCI_DEFAULTS_H

#include "base/json.h"

/* Lists that end with NULL. */
extern const char *const um_oci_default_caps[];
extern const char *const um_oci_all_caps[];
extern const char *const um_oci_masked[];
extern const char *const um_oci_readonly[];

/* The seccomp profile RuntimeDefault: refuses what reaches the machine's kernel as a whole, unless
 * the container has the capability for it. In @a; NULL when that is full. */
struct um_json *um_oci_default_seccomp(struct um_arena *a,
				       bool (*has_cap)(const void *arg, const char *cap),
				       const void *arg);

#endif
