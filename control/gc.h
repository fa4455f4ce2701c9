/* Garbage collection: what belongs to others (metadata.ownerReferences) goes with the last of them,
 * and the ways to delete an owner that wait for its dependents (foreground) or let them go
 * (orphan). For all kinds that are kept; volatile ones neither own nor are owned. */
#ifndef UM_CONTROL_GC_H
#define UM_CONTROL_GC_H

#include "base/error.h"

struct um_ctl;
struct um_gc;

um_must_check int um_gc_new(struct um_ctl *c, struct um_gc **ret, struct um_error *err);
void um_gc_free(struct um_gc *g); /* accepts NULL */

#endif
