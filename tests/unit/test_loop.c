#include <criterion/criterion.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wire/loop.h"

static struct um_loop *loop;
static struct um_clock_fake fake;

static void set_up(void)
{
	um_clock_fake_init(&fake, 0, 0);
	cr_assert_eq(um_loop_new(&fake.clock, 2, &loop), 0);
}
static void tear_down(void)
{
	um_loop_free(loop);
}
TestSuite(loop, .init = set_up, .fini = tear_down);

#define NAME(s) ((void *)(uintptr_t)(s))

static char order[64];
static size_t order_len;
static void note(void *arg)
{
	order[order_len++] = *(const char *)arg;
	order[order_len] = '\0';
}

Test(loop, timers_fire_in_order_of_deadline)
{
	struct um_timer *a = um_timer_new(loop, note, NAME("a")),
			*b = um_timer_new(loop, note, NAME("b")),
			*c = um_timer_new(loop, note, NAME("c")),
			*d = um_timer_new(loop, note, NAME("d"));

	um_timer_start(a, 300);
	um_timer_start(b, 100);
	um_timer_start(c, 200);
	um_timer_start(d, 50);
	um_timer_stop(d);
	um_timer_start(a, 150); /* restarted */
	cr_assert_eq(um_loop_step(loop, 0), 0);
	cr_assert_str_eq(order, "");
	um_clock_fake_advance(&fake, 150);
	um_loop_step(loop, 0);
	cr_assert_str_eq(order, "ba");
	cr_assert(um_timer_running(c) && !um_timer_running(a));
	um_clock_fake_advance(&fake, 1000);
	um_loop_step(loop, 0);
	cr_assert_str_eq(order, "bac");
	um_timer_free(a);
	um_timer_free(b);
	um_timer_free(c);
	um_timer_free(d);
}

Test(loop, many_timers_keep_the_heap_sound)
{
	struct um_timer *t[200];
	unsigned seed = 7;

	for (int i = 0; i < 200; i++)
		t[i] = um_timer_new(loop, note, NAME("x"));
	for (int round = 0; round < 2000; round++) {
		seed = seed * 1103515245 + 12345;
		if (seed >> 16 & 1)
			um_timer_start(t[(seed >> 8) % 200], (seed >> 4) % 100000 + 1);
		else
			um_timer_stop(t[(seed >> 8) % 200]);
	}
	order_len = 0;
	for (int i = 0; i < 200; i++)
		um_timer_stop(t[i]);
	um_clock_fake_advance(&fake, 1000000);
	um_loop_step(loop, 0);
	cr_assert_eq(order_len, 0);
	for (int i = 0; i < 200; i++)
		um_timer_free(t[i]);
}

Test(loop, deferred_calls_run_once_after_the_turn)
{
	order_len = 0;
	cr_assert_eq(um_loop_defer(loop, note, NAME("1")), 0);
	cr_assert_eq(um_loop_defer(loop, note, NAME("2")), 0);
	um_loop_step(loop, INT64_MAX);
	um_loop_step(loop, 0);
	cr_assert_str_eq(order, "12");
}

static void *poster(void *arg)
{
	cr_assert_eq(um_loop_post(arg, note, NAME("p")), 0);
	return NULL;
}

Test(loop, another_thread_may_post)
{
	pthread_t t;

	order_len = 0;
	pthread_create(&t, NULL, poster, loop);
	while (!order_len)
		um_loop_step(loop, INT64_MAX);
	pthread_join(t, NULL);
	cr_assert_str_eq(order, "p");
}

static _Atomic int worked;
static void work(um_unused void *arg)
{
	worked++;
}
static int finished;
static void done(um_unused void *arg)
{
	finished++;
}

Test(loop, work_is_done_elsewhere_and_reported_here)
{
	for (int i = 0; i < 50; i++)
		cr_assert_eq(um_work_submit(loop, work, done, NULL), 0);
	while (finished < 50)
		um_loop_step(loop, INT64_MAX);
	cr_assert_eq(worked, 50);
}

static int seen_status = -2;
static void on_exit_status(um_unused void *arg, um_unused pid_t pid, int status)
{
	seen_status = status;
}

Test(loop, children_are_reaped)
{
	pid_t pid = fork();
	struct um_child *c;

	if (pid == 0)
		_exit(7);
	c = um_child_new(loop, pid, on_exit_status, NULL);
	while (seen_status == -2)
		um_loop_step(loop, INT64_MAX);
	cr_assert(WIFEXITED(seen_status) && WEXITSTATUS(seen_status) == 7);
	um_child_free(c);
	cr_assert_eq(waitpid(pid, NULL, WNOHANG), -1);
}

static void on_readable(void *arg, int fd, int events)
{
	char c;

	cr_assert_eq(events, UM_FD_READ);
	cr_assert_eq(read(fd, &c, 1), 1);
	note(&c);
	um_fd_free(*(struct um_fd **)arg); /* from within its own callback */
}

Test(loop, descriptors_wake_the_loop)
{
	struct um_fd *w;
	int p[2];

	order_len = 0;
	cr_assert_eq(pipe(p), 0);
	w = um_fd_new(loop, p[0], UM_FD_READ, on_readable, &w);
	cr_assert_eq(write(p[1], "r", 1), 1);
	um_loop_step(loop, INT64_MAX);
	cr_assert_str_eq(order, "r");
	close(p[0]);
	close(p[1]);
}
