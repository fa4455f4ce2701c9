/* Drives the pure scheduler (sched/): watches nodes and pods, binds pending pods, says why one
 * cannot be placed (condition PodScheduled and an Event). */
#ifndef UM_CONTROL_SCHEDULER_H
#define UM_CONTROL_SCHEDULER_H

#include "base/error.h"

struct um_loop;
struct um_scheduler;
struct um_store;

/* The stores are borrowed; they must outlive it. */
um_must_check int um_scheduler_new(struct um_loop *l, struct um_store *durable,
				   struct um_store *volatile_, struct um_scheduler **ret,
				   struct um_error *err);
void um_scheduler_free(struct um_scheduler *s); /* accepts NULL */

#endif
