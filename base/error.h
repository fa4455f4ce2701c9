/* The error object: what failed, on which object, why.
 *
 * A function that can fail returns 0 (or a count) or a negative errno. Where context matters its
 * last parameter is a `struct um_error *`, which lives on the caller's stack, may be NULL, is left
 * untouched on success, is set once where the failure is found, and is wrapped on the way up:
 *
 *     return um_error_set(err, -ENOENT, "open %s: no such file", path);
 *     ...
 *     if (r < 0)
 *             return um_error_wrap(err, r, "create pod %s", name);   -> "create pod web: open ..."
 *
 * Nothing here allocates. */
#ifndef UM_BASE_ERROR_H
#define UM_BASE_ERROR_H

#include <stdarg.h>

#include "base/cleanup.h"

/* Why, for whoever must tell a client. The API maps a reason to an HTTP code (api/status.c), the
 * command line tools to an exit code (UM_EXIT_*, below). */
enum um_reason {
	UM_REASON_NONE,
	UM_REASON_INTERNAL,	/* ours or the kernel's fault */
	UM_REASON_BAD_REQUEST,	/* cannot be parsed */
	UM_REASON_INVALID,	/* parsed, but a field is wrong */
	UM_REASON_UNAUTHORIZED, /* who are you */
	UM_REASON_FORBIDDEN,	/* you may not */
	UM_REASON_NOT_FOUND,
	UM_REASON_EXISTS,
	UM_REASON_CONFLICT, /* somebody was faster */
	UM_REASON_GONE,	    /* the revision asked for is compacted */
	UM_REASON_TOO_LARGE,
	UM_REASON_UNSUPPORTED,
	UM_REASON_TIMEOUT,
	UM_REASON_NO_SPACE,
	UM_REASON_UNAVAILABLE, /* try again later */
	UM_REASON_NO_MEMORY,
};

struct um_error {
	int code;	       /* negative errno; 0 while unset */
	enum um_reason reason; /* never NONE once set */
	char msg[500];	       /* one line, no newline; long texts end in "..." */
};

#define UM_ERROR_INIT                                                                              \
	{                                                                                          \
		0, UM_REASON_NONE, ""                                                              \
	}

/* Exit codes of every program of the project, unless its man page says otherwise. */
enum {
	UM_EXIT_OK = 0,
	UM_EXIT_FAILURE = 1,
	UM_EXIT_USAGE = 2,
	UM_EXIT_NOT_FOUND = 3,
	UM_EXIT_SKIP = 77, /* tests only */
};

/* Sets @err (may be NULL) with the reason that um_reason_of_errno() gives. Returns @code, which
 * must be negative. The message should name the call and the object; the errno's text is not added.
 */
int um_error_set(struct um_error *err, int code, const char *fmt, ...) um_printf(3, 4);

/* The same with a reason of the caller's. */
int um_error_set_reason(struct um_error *err, enum um_reason reason, int code, const char *fmt, ...)
	um_printf(4, 5);

/* As um_error_set(), and adds ": " and the text of -code ("open /x: No such file or directory"). */
int um_error_errno(struct um_error *err, int code, const char *fmt, ...) um_printf(3, 4);

/* Puts "context: " before the message. Returns @code. An unset error gets the errno's text. */
int um_error_wrap(struct um_error *err, int code, const char *fmt, ...) um_printf(3, 4);

/* Copies @src over @dst (either may be NULL) and returns the code. */
int um_error_move(struct um_error *dst, const struct um_error *src);

enum um_reason um_reason_of_errno(int code);

/* One table for exit codes: NOT_FOUND -> 3, everything else -> 1. */
int um_exit_code(const struct um_error *err);

#endif
