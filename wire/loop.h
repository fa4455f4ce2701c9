/* The event loop: libevent behind a small face, one loop and one thread for each daemon.
 *
 * Everything here is called on the loop's own thread except um_loop_post(). Callbacks must not
 * block and should stay under 2 ms; blocking work goes to um_work_submit(). An object may be freed
 * from within its own callback. With a fake clock timers fire from um_loop_step() as the test
 * advances the clock. */
#ifndef UM_WIRE_LOOP_H
#define UM_WIRE_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/error.h"

struct event_base;
struct um_loop;

/* @clock borrowed (NULL: the system's); @workers threads run um_work_submit() jobs (0: 2). */
um_must_check int um_loop_new(const struct um_clock *clock, unsigned workers, struct um_loop **ret);
/* Runs what was deferred, waits for running work and forgets the rest; accepts NULL. All timers,
 * fds and children of the loop must be freed before. */
void um_loop_free(struct um_loop *l);
/* Runs until um_loop_stop(). */
int um_loop_run(struct um_loop *l);
void um_loop_stop(struct um_loop *l);
/* One turn; @wait_ns bounds the wait for events (0: only what is ready). For tests and tools. */
int um_loop_step(struct um_loop *l, int64_t wait_ns);
const struct um_clock *um_loop_clock(const struct um_loop *l);
int64_t um_loop_now(const struct um_loop *l);	    /* monotonic ns */
struct event_base *um_loop_base(struct um_loop *l); /* for bufferevents; wire/ only */

/* ---- timers: one shot, restarted at will ---- */
struct um_timer;
typedef void (*um_timer_fn)(void *arg);
struct um_timer *um_timer_new(struct um_loop *l, um_timer_fn fn, void *arg); /* NULL: no memory */
void um_timer_start(struct um_timer *t, int64_t delay_ns); /* from now; restarts a running one */
void um_timer_stop(struct um_timer *t);
bool um_timer_running(const struct um_timer *t);
void um_timer_free(struct um_timer *t); /* accepts NULL */

/* ---- descriptors, level triggered ---- */
enum { UM_FD_READ = 1, UM_FD_WRITE = 2 };
struct um_fd;
typedef void (*um_fd_fn)(void *arg, int fd, int events);
/* Watches @fd (borrowed) for @events. NULL: no memory. */
struct um_fd *um_fd_new(struct um_loop *l, int fd, int events, um_fd_fn fn, void *arg);
void um_fd_set_events(struct um_fd *w, int events); /* 0 pauses */
void um_fd_free(struct um_fd *w);		    /* accepts NULL; does not close */

/* ---- at the end of this turn ---- */
typedef void (*um_defer_fn)(void *arg);
/* Runs @fn once, after the callbacks of this turn. 0 or -ENOMEM. */
um_must_check int um_loop_defer(struct um_loop *l, um_defer_fn fn, void *arg);
/* The same from any thread. */
um_must_check int um_loop_post(struct um_loop *l, um_defer_fn fn, void *arg);

/* ---- blocking work on a bounded pool of threads ---- */
/* @work runs on a worker, then @done on the loop, both with @arg. Jobs start in order. Work must
 * not clone() containers nor touch loop objects. 0, -ENOMEM, or -ECANCELED while the
 * loop is freed. */
um_must_check int um_work_submit(struct um_loop *l, void (*work)(void *arg),
				 void (*done)(void *arg), void *arg);

/* ---- child processes, by pidfd ---- */
struct um_child;
/* @status as waitpid(2) gives it; -1 when somebody else reaped the child. */
typedef void (*um_child_fn)(void *arg, pid_t pid, int status);
/* Watches a child of this process and reaps it. NULL: no memory or no such child. */
struct um_child *um_child_new(struct um_loop *l, pid_t pid, um_child_fn fn, void *arg);
void um_child_free(struct um_child *c); /* accepts NULL; kills nobody */

/* ---- signals ---- */
/* Calls @fn(arg) for @signo, on the loop. Freed with the loop. */
um_must_check int um_loop_on_signal(struct um_loop *l, int signo, void (*fn)(void *arg, int signo),
				    void *arg);

#endif
