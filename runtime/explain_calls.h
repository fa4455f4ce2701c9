/* How a system call reads: as strace(1) would print it, and as a shell would do it. No function
 * here allocates, and none but those that look descriptors up makes system calls: they also run
 * under a seccomp filter. */
#ifndef UM_RUNTIME_EXPLAIN_CALLS_H
#define UM_RUNTIME_EXPLAIN_CALLS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

/* Text that ends in "..." where it did not fit. */
struct um_line {
	char *text; /* borrowed, NUL-terminated */
	size_t len, size;
};

void um_line_add(struct um_line *l, const char *fmt, ...) um_printf(2, 3);
/* "text" with C escapes, all else than printable ASCII as octal; @max bytes of it at most. */
void um_line_quote(struct um_line *l, const char *s, size_t len, size_t max);
/* As a word of the shell, quoted where that is needed. */
void um_line_word(struct um_line *l, const char *s);

/* One call. The lines are empty at first. */
struct um_explained {
	const char *name;
	const long *args;
	bool look_up;  /* descriptors may be looked up in /proc/self/fd */
	bool filtered; /* by seccomp: no system call may be made */
	struct um_line call, command;
};

/* Fills both lines. False: the call changes nothing that matters (a write to a pipe). */
bool um_explain_call(struct um_explained *x);
/* After it: remembers what the new descriptor @result is, for commands of later calls. */
void um_explain_made(const struct um_explained *x, long result);

#endif
