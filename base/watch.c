#include "base/watch.h"

const struct um_watch *um_watch;

void um_watch_before(const char *name, const long *args, bool alone)
{
	int saved = errno;

	um_watch->before(name, args, alone);
	errno = saved;
}

void um_watch_after(long result)
{
	int saved = errno;

	um_watch->after(result, saved);
	errno = saved;
}

void um_watch_why(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	um_watch->why(fmt, ap);
	va_end(ap);
}
