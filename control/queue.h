/* A controller's work queue: keys that want a look, each held once however often it is added.
 *
 * The look returns when it wants to come again: 0 (not by itself), a delay in ns, or a negative
 * errno: it failed and is repeated, from 5 ms, doubling to 30 s. A key that is added while its
 * look runs, or waits for a delay, is looked at at once. */
#ifndef UM_CONTROL_QUEUE_H
#define UM_CONTROL_QUEUE_H

#include <stdint.h>

#include "base/error.h"

struct um_loop;
struct um_queue;

/* Called from the loop, a bounded number for each turn; it may add keys. */
typedef int64_t (*um_queue_fn)(void *arg, const char *key);

um_must_check int um_queue_new(struct um_loop *l, um_queue_fn look, void *arg,
			       struct um_queue **ret, struct um_error *err);
/* No look comes any more; accepts NULL. Not from within a look. */
void um_queue_free(struct um_queue *q);

/* The key is copied. Out of memory is logged: the next change of the object adds it again. */
void um_queue_add(struct um_queue *q, const char *key);
/* Looks at it within @delay_ns (sooner when something else wants that). */
void um_queue_add_after(struct um_queue *q, const char *key, int64_t delay_ns);

#endif
