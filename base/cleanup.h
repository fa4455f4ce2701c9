/* Scope-bound cleanup and explicit transfer of ownership.
 *
 *   _cleanup_free_ char *s = NULL;     freed when s leaves its scope
 *   _cleanup_close_ int fd = -1;       closed when fd leaves its scope
 *   return TAKE_PTR(s);                hands s over; the cleanup sees NULL
 *
 * Cleanups keep errno. Every fd in the project is opened with CLOEXEC. */
#ifndef UM_BASE_CLEANUP_H
#define UM_BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define um_unused __attribute__((unused))
#define um_must_check __attribute__((warn_unused_result))
#define um_printf(fmt_index, first_arg) __attribute__((format(printf, fmt_index, first_arg)))

#define UM_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define _cleanup_(fn) __attribute__((cleanup(fn)))

/* Defines um_<name>_cleanupp() for a type whose destructor takes a pointer and accepts NULL. */
#define UM_DEFINE_CLEANUP(type, fn)                                                                \
	static inline um_unused void fn##p(type **p)                                               \
	{                                                                                          \
		if (*p)                                                                            \
			fn(*p);                                                                    \
	}

#define TAKE_PTR(p)                                                                                \
	({                                                                                         \
		__typeof__(p) um_taken_ = (p);                                                     \
		(p) = NULL;                                                                        \
		um_taken_;                                                                         \
	})

#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int um_taken_ = (fd);                                                              \
		(fd) = -1;                                                                         \
		um_taken_;                                                                         \
	})

static inline void um_freep(void *p)
{
	int saved = errno;

	free(*(void **)p);
	errno = saved;
}

/* Closes fd when it is >= 0, keeps errno, returns -1 so that `fd = um_close(fd)` reads well. */
static inline int um_close(int fd)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
	return -1;
}

static inline void um_closep(int *fd)
{
	*fd = um_close(*fd);
}

static inline void um_fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void um_closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define _cleanup_free_ _cleanup_(um_freep)
#define _cleanup_close_ _cleanup_(um_closep)
#define _cleanup_fclose_ _cleanup_(um_fclosep)
#define _cleanup_closedir_ _cleanup_(um_closedirp)

#endif
