/* The loop's pool of worker threads. Used by wire/loop.c only: everyone else calls
 * um_work_submit(). */
#ifndef UM_WIRE_WORK_H
#define UM_WIRE_WORK_H

#include "base/cleanup.h"

struct um_pool;

/* Threads start with the first job. @finished is called on a worker after each job. */
struct um_pool *um_pool_new(unsigned threads, void (*finished)(void *ctx, void *job), void *ctx);
/* Queues @work(@arg); @job is what @finished gets. 0 or a negative errno. */
um_must_check int um_pool_add(struct um_pool *p, void (*work)(void *arg), void *arg, void *job);
/* Waits for the jobs that run; those still queued are dropped (@dropped is called for each). */
void um_pool_free(struct um_pool *p, void (*dropped)(void *job));

#endif
