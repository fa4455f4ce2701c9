#include "base/fault.h"

#ifdef UM_FAULT_POINTS
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void um_fault_point(const char *name)
{
	static unsigned passes;
	const char *want = getenv("UMIAK_FAULT"), *once = getenv("UMIAK_FAULT_ONCE");
	size_t len = strlen(name);
	unsigned nth;

	if (!want || strncmp(want, name, len) || (want[len] && want[len] != ':'))
		return;
	nth = want[len] == ':' ? (unsigned)strtoul(want + len + 1, NULL, 10) : 1;
	if (++passes != nth)
		return;
	if (once) {
		int fd = open(once, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

		if (fd < 0)
			return;
		close(fd);
	}
	kill(getpid(), SIGKILL);
	_exit(128 + SIGKILL); /* the first process of a pid namespace cannot kill itself */
}
#else
/* An empty translation unit is not ISO C. */
typedef int um_fault_points_off;
#endif
