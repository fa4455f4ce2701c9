#include "wire/trim.h"

#include <malloc.h>
#include <stdint.h>

#include "base/clock.h"
#include "wire/loop.h"

#define LOOK_NS (10 * UM_NSEC_PER_SEC)
#define WORTH_BYTES ((size_t)1 << 20)

struct um_trim {
	struct um_timer *timer;
	size_t left; /* free bytes after the last trim */
};

static void on_look(void *arg)
{
	struct um_trim *t = arg;
	size_t now = mallinfo2().fordblks;

	um_timer_start(t->timer, LOOK_NS);
	if (now < t->left)
		t->left = now;
	if (now - t->left < WORTH_BYTES)
		return;
	malloc_trim(0);
	/* Whole pages are back with the kernel, though they still count as free here. */
	t->left = mallinfo2().fordblks;
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
	um_timer_start(t->timer, LOOK_NS);
	*ret = t;
	return 0;
}

void um_trim_free(struct um_trim *t)
{
	if (!t)
		return;
	um_timer_free(t->timer);
	free(t);
}
