#include "wire/trim.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "wire/loop.h"

#define BUSY_LOOK_NS (2 * UM_NSEC_PER_SEC)
#define IDLE_LOOK_NS (20 * UM_NSEC_PER_SEC)
#define WORTH_BYTES ((size_t)1 << 20)

struct um_trim {
	struct um_timer *timer;
	int statm;
	size_t left; /* slack after the last trim, or less since */
	size_t seen; /* slack at the last look */
};

/* Resident bytes (proc_pid_statm(5): the second number, in pages) that malloc has not given out.
 * What malloc itself calls free says nothing: pages that a trim gave back count as free as well. */
static size_t slack(const struct um_trim *t)
{
	size_t used = mallinfo2().uordblks, resident;
	char text[128] = "";
	unsigned long long size, pages;

	if (pread(t->statm, text, sizeof(text) - 1, 0) <= 0 ||
	    sscanf(text, "%llu %llu", &size, &pages) != 2)
		return 0;
	resident = (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
	return resident > used ? resident - used : 0;
}

static void on_look(void *arg)
{
	struct um_trim *t = arg;
	size_t now = slack(t);

	um_timer_start(t->timer, now == t->seen ? IDLE_LOOK_NS : BUSY_LOOK_NS);
	t->seen = now;
	if (now < t->left)
		t->left = now;
	if (now - t->left < WORTH_BYTES)
		return;
	malloc_trim(0);
	t->left = slack(t);
}

void um_trim_one_arena(void)
{
	mallopt(M_ARENA_MAX, 1);
}

int um_trim_new(struct um_loop *l, struct um_trim **ret, struct um_error *err)
{
	struct um_trim *t = calloc(1, sizeof(*t));

	if (t)
		t->timer = um_timer_new(l, on_look, t);
	if (!t || !t->timer) {
		free(t);
		return um_error_set(err, -ENOMEM, "memory trimming: out of memory");
	}
	t->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	t->left = slack(t);
	um_timer_start(t->timer, IDLE_LOOK_NS);
	*ret = t;
	return 0;
}

void um_trim_free(struct um_trim *t)
{
	if (!t)
		return;
	um_timer_free(t->timer);
	um_close(t->statm);
	free(t);
}
