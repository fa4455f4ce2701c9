/* ReplicaSets: as many pods as asked for, no more. */
#ifndef UM_CONTROL_REPLICASET_H
#define UM_CONTROL_REPLICASET_H

#include "base/error.h"

struct um_ctl;
struct um_replicasets;

um_must_check int um_replicasets_new(struct um_ctl *c, struct um_replicasets **ret,
				     struct um_error *err);
void um_replicasets_free(struct um_replicasets *s); /* accepts NULL */

#endif
