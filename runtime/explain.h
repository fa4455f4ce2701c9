/* --explain: each system call that changes something, told as it is made, with the reason and the
 * shell command that does the same (base/watch.h brings the calls).
 *
 * One step is one write(2) of at most PIPE_BUF bytes, so that steps of several processes do not mix
 * and stand in the order in which they happen. A reader that is gone or does not read for a while
 * costs steps, never the container. The state is the process's own, which must be single-threaded;
 * without um_explain_start() all of this does nothing. */
#ifndef UM_RUNTIME_EXPLAIN_H
#define UM_RUNTIME_EXPLAIN_H

#include <stdbool.h>

#include "base/cleanup.h"

/* Tells steps on a copy of @fd, as JSON lines or as text, from here on. A descriptor that is closed
 * or cannot be written to is no failure: nothing is told then. Again: nothing more happens. */
void um_explain_start(int fd, bool json);
/* The copy, for lists of descriptors that stay open in a child; -1: nothing is told. It closes on
 * execve(2). */
int um_explain_fd(void);
bool um_explain_json(void);
/* Moves the copy out of descriptors 3 to 3 + @preserve_fds - 1, which a program gets. */
void um_explain_clear_of(unsigned preserve_fds);
/* Said first by a new process: who it is. @pid: 0: ask /proc, which is the creator's still. */
void um_explain_child(const char *role, int pid);
/* From here on paths are the container's: /proc is not asked about descriptors any more. */
void um_explain_inside(void);
/* Before a seccomp filter, which may forbid write(2): another thread, which has none, writes what
 * is told from here on, and this one makes no system call for it. */
void um_explain_before_filter(void);
/* Tells nothing more and closes the copy. */
void um_explain_stop(void);

#endif
