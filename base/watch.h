/* Somebody who watches the system calls that change something: `umiak-oci --explain`.
 *
 * A program that can be watched makes such calls through the wrappers of base/sys.h and
 * runtime/sys.h and says by um_why() what the next ones are for. Nobody watches unless a
 * single-threaded program sets um_watch; until then each call costs one branch, and the arguments
 * of um_why() are not evaluated. tests/lint/source sees to it that the watched rooms make these
 * calls in no other way. */
#ifndef UM_BASE_WATCH_H
#define UM_BASE_WATCH_H

#include <stdarg.h>
#include <stdbool.h>

#include "base/cleanup.h"

struct um_watch {
	/* Before the call @name. @args: six, as the kernel gets them. @alone: after() does not
	 * follow, since the call does not return here or returns in two processes. */
	void (*before)(const char *name, const long *args, bool alone);
	/* After it. @result: -1 with @error, an errno, for a failure. */
	void (*after)(long result, int error);
	/* What the calls to come are for, until said otherwise. */
	void (*why)(const char *fmt, va_list ap);
};

extern const struct um_watch *um_watch; /* NULL: nobody watches */

void um_watch_before(const char *name, const long *args, bool alone);
void um_watch_after(long result); /* keeps errno */
void um_watch_why(const char *fmt, ...) um_printf(1, 2);

#define um_watched() __builtin_expect(um_watch != NULL, 0)

#define um_why(...)                                                                                \
	do {                                                                                       \
		if (um_watched())                                                                  \
			um_watch_why(__VA_ARGS__);                                                 \
	} while (0)

/* The value of the expression @call, which makes system call @name with the arguments that
 * follow. */
#define UM_WATCHED(name, call, ...)                                                                \
	({                                                                                         \
		long um_result_;                                                                   \
		if (um_watched())                                                                  \
			um_watch_before(name, (const long[6]){__VA_ARGS__}, false);                \
		um_result_ = (call);                                                               \
		if (um_watched())                                                                  \
			um_watch_after(um_result_);                                                \
		um_result_;                                                                        \
	})

/* The same for a call that does not return, or returns twice. */
#define UM_WATCHED_ALONE(name, call, ...)                                                          \
	({                                                                                         \
		if (um_watched())                                                                  \
			um_watch_before(name, (const long[6]){__VA_ARGS__}, true);                 \
		(long)(call);                                                                      \
	})

/* Wrappers: UM_SYS2(mkdir, mkdir(a, b), const char *, mode_t) makes um_sys_mkdir(). */
#define UM_SYS1(name, call, A)                                                                     \
	static inline int um_sys_##name(A a)                                                       \
	{                                                                                          \
		return (int)UM_WATCHED(#name, call, (long)a);                                      \
	}
#define UM_SYS2(name, call, A, B)                                                                  \
	static inline int um_sys_##name(A a, B b)                                                  \
	{                                                                                          \
		return (int)UM_WATCHED(#name, call, (long)a, (long)b);                             \
	}
#define UM_SYS3(name, call, A, B, C)                                                               \
	static inline int um_sys_##name(A a, B b, C c)                                             \
	{                                                                                          \
		return (int)UM_WATCHED(#name, call, (long)a, (long)b, (long)c);                    \
	}
#define UM_SYS4(name, call, A, B, C, D)                                                            \
	static inline int um_sys_##name(A a, B b, C c, D d)                                        \
	{                                                                                          \
		return (int)UM_WATCHED(#name, call, (long)a, (long)b, (long)c, (long)d);           \
	}
#define UM_SYS5(name, call, A, B, C, D, E)                                                         \
	static inline int um_sys_##name(A a, B b, C c, D d, E e)                                   \
	{                                                                                          \
		return (int)UM_WATCHED(#name, call, (long)a, (long)b, (long)c, (long)d, (long)e);  \
	}

#endif
