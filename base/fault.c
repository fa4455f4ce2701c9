#include "base/fault.h"

#ifdef UM_FAULT_POINTS
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RECORD_BYTES 256

/* The record, shared with whoever else has it open: byte 0 is taken by the one kill, then the text.
 * A mapping made at the start, because where some points lie its path leads elsewhere and all
 * descriptors have been closed. */
static char *record;

__attribute__((constructor)) static void open_record(void)
{
	const char *path = getenv("UMIAK_FAULT_ONCE");
	void *map = MAP_FAILED;
	int fd;

	if (!path || !getenv("UMIAK_FAULT"))
		return;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0 && ftruncate(fd, RECORD_BYTES) == 0)
		map = mmap(NULL, RECORD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (map != MAP_FAILED)
		record = map;
}

/* False when the one kill has been. */
static bool take_record(const char *name)
{
	char free_mark = '\0';

	if (!record || !__atomic_compare_exchange_n(record, &free_mark, '!', false,
						    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return false;
	snprintf(record + 1, RECORD_BYTES - 1, "%s %s\n", name, program_invocation_short_name);
	return true;
}

void um_fault_point(const char *name)
{
	static unsigned passes;
	const char *want = getenv("UMIAK_FAULT");
	size_t len = strlen(name);
	unsigned nth;

	if (!want || strncmp(want, name, len) || (want[len] && want[len] != ':'))
		return;
	nth = want[len] == ':' ? (unsigned)strtoul(want + len + 1, NULL, 10) : 1;
	if (__atomic_add_fetch(&passes, 1, __ATOMIC_SEQ_CST) != nth)
		return;
	if (getenv("UMIAK_FAULT_ONCE") && !take_record(name))
		return;
	kill(getpid(), SIGKILL);
	_exit(128 + SIGKILL); /* the first process of a pid namespace cannot kill itself */
}
#else
/* An empty translation unit is not ISO C. */
typedef int um_fault_points_off;
#endif
