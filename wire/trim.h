/* Gives memory back that a busy time has left behind: an idle daemon is as small as it was.
 *
 * glibc keeps what is freed below the top of its heap. This looks (every 20 s, every 2 s while
 * memory changes) and trims when a megabyte or more that nobody uses has become resident since the
 * last trim; an idle process does nothing but look. */
#ifndef UM_WIRE_TRIM_H
#define UM_WIRE_TRIM_H

#include "base/error.h"

struct um_loop;
struct um_trim;

/* One malloc arena for all threads of the process: call it before the first thread. */
void um_trim_one_arena(void);
um_must_check int um_trim_new(struct um_loop *l, struct um_trim **ret, struct um_error *err);
void um_trim_free(struct um_trim *t); /* accepts NULL */

#endif
