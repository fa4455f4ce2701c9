#include "wire/loop.h"

#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/vec.h"
#include "wire/work.h"

struct deferred {
	um_defer_fn fn;
	void *arg;
};

struct job {
	struct um_loop *loop;
	void (*done)(void *arg);
	void *arg;
};

struct signal_watch {
	struct event *ev;
	void (*fn)(void *arg, int signo);
	void *arg;
	struct signal_watch *next;
};

struct um_loop {
	struct event_base *base;
	const struct um_clock *clock;
	bool stopping, freeing;
	UM_VEC(struct um_timer *) heap; /* by deadline; heap.items[t->index] == t */
	size_t timers;			/* that exist: heap.cap is never less */
	struct event *wake_timer;	/* ends the wait when the first deadline comes */
	UM_VEC(struct deferred) deferred;
	/* from other threads */
	pthread_mutex_t lock;
	UM_VEC(struct deferred) posted;
	int wake_fd;
	struct event *wake_ev;
	struct um_pool *pool;
	unsigned workers;
	struct signal_watch *signals;
};

/* ---- timers ---- */

struct um_timer {
	struct um_loop *loop;
	um_timer_fn fn;
	void *arg;
	int64_t deadline_ns;
	size_t index; /* in the heap; NOT_RUNNING otherwise */
};

#define NOT_RUNNING SIZE_MAX

static void heap_put(struct um_loop *l, size_t i, struct um_timer *t)
{
	l->heap.items[i] = t;
	t->index = i;
}

static void heap_up(struct um_loop *l, size_t i)
{
	struct um_timer *t = l->heap.items[i];

	while (i && l->heap.items[(i - 1) / 2]->deadline_ns > t->deadline_ns) {
		heap_put(l, i, l->heap.items[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_put(l, i, t);
}

static void heap_down(struct um_loop *l, size_t i)
{
	struct um_timer *t = l->heap.items[i];

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= l->heap.len)
			break;
		if (child + 1 < l->heap.len &&
		    l->heap.items[child + 1]->deadline_ns < l->heap.items[child]->deadline_ns)
			child++;
		if (l->heap.items[child]->deadline_ns >= t->deadline_ns)
			break;
		heap_put(l, i, l->heap.items[child]);
		i = child;
	}
	heap_put(l, i, t);
}

struct um_timer *um_timer_new(struct um_loop *l, um_timer_fn fn, void *arg)
{
	struct um_timer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	/* Room for every timer that exists, so that starting one cannot fail. */
	if (l->timers >= l->heap.cap &&
	    um_vec_grow_((void **)&l->heap.items, l->heap.cap, &l->heap.cap, sizeof(t)) < 0) {
		free(t);
		return NULL;
	}
	l->timers++;
	*t = (struct um_timer){l, fn, arg, 0, NOT_RUNNING};
	return t;
}

void um_timer_stop(struct um_timer *t)
{
	struct um_loop *l = t->loop;
	size_t i = t->index;
	struct um_timer *moved;

	if (i == NOT_RUNNING)
		return;
	moved = l->heap.items[--l->heap.len];
	t->index = NOT_RUNNING;
	if (moved == t)
		return;
	heap_put(l, i, moved);
	heap_up(l, i);
	heap_down(l, moved->index);
}

void um_timer_start(struct um_timer *t, int64_t delay_ns)
{
	struct um_loop *l = t->loop;
	int64_t now = um_loop_now(l);

	um_timer_stop(t);
	if (delay_ns < 0)
		delay_ns = 0;
	t->deadline_ns = delay_ns > INT64_MAX - now ? INT64_MAX : now + delay_ns;
	heap_put(l, l->heap.len++, t);
	heap_up(l, l->heap.len - 1);
}

bool um_timer_running(const struct um_timer *t)
{
	return t->index != NOT_RUNNING;
}

void um_timer_free(struct um_timer *t)
{
	if (!t)
		return;
	um_timer_stop(t);
	t->loop->timers--;
	free(t);
}

static void run_timers(struct um_loop *l)
{
	int64_t now = um_loop_now(l);

	while (l->heap.len && l->heap.items[0]->deadline_ns <= now) {
		struct um_timer *t = l->heap.items[0];

		um_timer_stop(t);
		t->fn(t->arg);
	}
}

/* ---- descriptors ---- */

struct um_fd {
	struct um_loop *loop;
	struct event *ev;
	um_fd_fn fn;
	void *arg;
	int fd, events;
};

static void on_fd(evutil_socket_t fd, short what, void *arg)
{
	struct um_fd *w = arg;

	w->fn(w->arg, fd, (what & EV_READ ? UM_FD_READ : 0) | (what & EV_WRITE ? UM_FD_WRITE : 0));
}

struct um_fd *um_fd_new(struct um_loop *l, int fd, int events, um_fd_fn fn, void *arg)
{
	struct um_fd *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	*w = (struct um_fd){l, NULL, fn, arg, fd, 0};
	w->ev = event_new(l->base, fd, EV_PERSIST, on_fd, w);
	if (!w->ev) {
		free(w);
		return NULL;
	}
	um_fd_set_events(w, events);
	return w;
}

void um_fd_set_events(struct um_fd *w, int events)
{
	short what = (short)(EV_PERSIST | (events & UM_FD_READ ? EV_READ : 0) |
			     (events & UM_FD_WRITE ? EV_WRITE : 0));

	if (events == w->events)
		return;
	w->events = events;
	event_del(w->ev);
	if (!events)
		return;
	event_assign(w->ev, w->loop->base, w->fd, what, on_fd, w);
	event_add(w->ev, NULL);
}

void um_fd_free(struct um_fd *w)
{
	if (!w)
		return;
	event_free(w->ev);
	free(w);
}

/* ---- deferred and posted calls ---- */

int um_loop_defer(struct um_loop *l, um_defer_fn fn, void *arg)
{
	return um_vec_push(&l->deferred, (struct deferred){fn, arg});
}

int um_loop_post(struct um_loop *l, um_defer_fn fn, void *arg)
{
	uint64_t one = 1;
	int r;

	pthread_mutex_lock(&l->lock);
	r = um_vec_push(&l->posted, (struct deferred){fn, arg});
	pthread_mutex_unlock(&l->lock);
	if (r == 0 && write(l->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		r = -errno;
	return r;
}

static void on_posted(evutil_socket_t fd, um_unused short what, void *arg)
{
	struct um_loop *l = arg;
	UM_VEC(struct deferred) calls = UM_VEC_INIT;
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	pthread_mutex_lock(&l->lock);
	calls.items = l->posted.items;
	calls.len = l->posted.len;
	l->posted.items = NULL;
	l->posted.len = l->posted.cap = 0;
	pthread_mutex_unlock(&l->lock);
	um_vec_foreach (it, &calls)
		it->fn(it->arg);
	um_vec_release(&calls);
}

/* Runs what was deferred until now; what these calls defer waits for the next turn. */
static void run_deferred(struct um_loop *l)
{
	UM_VEC(struct deferred) calls = UM_VEC_INIT;

	calls.items = l->deferred.items;
	calls.len = l->deferred.len;
	calls.cap = l->deferred.cap;
	l->deferred.items = NULL;
	l->deferred.len = l->deferred.cap = 0;
	um_vec_foreach (it, &calls)
		it->fn(it->arg);
	if (!l->deferred.items) { /* keep the memory for the next turn */
		l->deferred.items = calls.items;
		l->deferred.cap = calls.cap;
		return;
	}
	um_vec_release(&calls);
}

/* ---- worker jobs ---- */

static void job_done(void *arg)
{
	struct job *j = arg;

	j->done(j->arg);
	free(j);
}

static void on_job_finished(void *ctx, void *job)
{
	/* Without memory for the hand-over the job's owner would wait for ever: try until it is
	 * there. */
	while (um_loop_post(ctx, job_done, job) == -ENOMEM)
		poll(NULL, 0, 10);
}

int um_work_submit(struct um_loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	struct job *j;
	int r;

	if (l->freeing)
		return -ECANCELED;
	if (!l->pool) {
		l->pool = um_pool_new(l->workers, on_job_finished, l);
		if (!l->pool)
			return -ENOMEM;
	}
	j = malloc(sizeof(*j));
	if (!j)
		return -ENOMEM;
	*j = (struct job){l, done, arg};
	r = um_pool_add(l->pool, work, arg, j);
	if (r < 0)
		free(j);
	return r;
}

/* ---- children ---- */

struct um_child {
	struct um_fd *watch;
	pid_t pid;
	int pidfd;
	um_child_fn fn;
	void *arg;
};

static void on_child(void *arg, um_unused int fd, um_unused int events)
{
	struct um_child *c = arg;
	int status = -1;
	pid_t pid;

	do
		pid = waitpid(c->pid, &status, WNOHANG);
	while (pid < 0 && errno == EINTR);
	if (pid == 0)
		return;
	if (pid < 0)
		status = -1;
	um_fd_set_events(c->watch, 0);
	c->fn(c->arg, c->pid, status);
}

struct um_child *um_child_new(struct um_loop *l, pid_t pid, um_child_fn fn, void *arg)
{
	struct um_child *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	*c = (struct um_child){NULL, pid, (int)syscall(SYS_pidfd_open, pid, 0), fn, arg};
	if (c->pidfd >= 0)
		c->watch = um_fd_new(l, c->pidfd, UM_FD_READ, on_child, c);
	if (!c->watch) {
		um_close(c->pidfd);
		free(c);
		return NULL;
	}
	return c;
}

void um_child_free(struct um_child *c)
{
	if (!c)
		return;
	um_fd_free(c->watch);
	um_close(c->pidfd);
	free(c);
}

/* ---- signals ---- */

static void on_signal(evutil_socket_t signo, um_unused short what, void *arg)
{
	struct signal_watch *s = arg;

	s->fn(s->arg, signo);
}

int um_loop_on_signal(struct um_loop *l, int signo, void (*fn)(void *arg, int signo), void *arg)
{
	struct signal_watch *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->fn = fn;
	s->arg = arg;
	s->ev = evsignal_new(l->base, signo, on_signal, s);
	if (!s->ev || event_add(s->ev, NULL) < 0) {
		if (s->ev)
			event_free(s->ev);
		free(s);
		return -ENOMEM;
	}
	s->next = l->signals;
	l->signals = s;
	return 0;
}

/* ---- the loop ---- */

static void on_wake_timer(um_unused evutil_socket_t fd, um_unused short what, um_unused void *arg)
{
}

int um_loop_new(const struct um_clock *clock, unsigned workers, struct um_loop **ret)
{
	struct event_config *cfg = event_config_new();
	struct um_loop *l = calloc(1, sizeof(*l));

	if (!l || !cfg) {
		free(l);
		if (cfg)
			event_config_free(cfg);
		return -ENOMEM;
	}
	event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
	event_config_set_flag(cfg, EVENT_BASE_FLAG_PRECISE_TIMER);
	l->clock = clock ? clock : &um_clock_system;
	l->workers = workers ? workers : 2;
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	l->base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	pthread_mutex_init(&l->lock, NULL);
	if (l->base && l->wake_fd >= 0) {
		l->wake_timer = evtimer_new(l->base, on_wake_timer, NULL);
		l->wake_ev = event_new(l->base, l->wake_fd, EV_READ | EV_PERSIST, on_posted, l);
	}
	if (!l->wake_timer || !l->wake_ev || event_add(l->wake_ev, NULL) < 0) {
		um_loop_free(l);
		return -ENOMEM;
	}
	*ret = l;
	return 0;
}

void um_loop_free(struct um_loop *l)
{
	struct signal_watch *s, *next;

	if (!l)
		return;
	l->freeing = true; /* what ends below finds no workers any more */
	um_pool_free(l->pool, free);
	if (l->wake_ev)
		on_posted(l->wake_fd, 0, l);
	run_deferred(l);
	for (s = l->signals; s; s = next) {
		next = s->next;
		event_free(s->ev);
		free(s);
	}
	if (l->wake_timer)
		event_free(l->wake_timer);
	if (l->wake_ev)
		event_free(l->wake_ev);
	if (l->base)
		event_base_free(l->base);
	um_close(l->wake_fd);
	pthread_mutex_destroy(&l->lock);
	um_vec_release(&l->heap);
	um_vec_release(&l->deferred);
	um_vec_release(&l->posted);
	free(l);
}

int um_loop_step(struct um_loop *l, int64_t wait_ns)
{
	int flags = EVLOOP_ONCE;

	if (l->heap.len) {
		int64_t left = l->heap.items[0]->deadline_ns - um_loop_now(l);

		if (left < wait_ns)
			wait_ns = left > 0 ? left : 0;
	}
	if (l->deferred.len || wait_ns <= 0)
		flags = EVLOOP_NONBLOCK;
	if (flags == EVLOOP_ONCE && wait_ns < INT64_MAX) {
		/* rounded up, so that the deadline has passed when the wait ends */
		int64_t us = (wait_ns + 999) / 1000;
		struct timeval tv = {us / 1000000, us % 1000000};

		event_add(l->wake_timer, &tv);
	} else {
		event_del(l->wake_timer);
	}
	if (event_base_loop(l->base, flags) < 0)
		return -EIO;
	run_timers(l);
	run_deferred(l);
	return 0;
}

int um_loop_run(struct um_loop *l)
{
	l->stopping = false;
	while (!l->stopping) {
		int r = um_loop_step(l, INT64_MAX);

		if (r < 0)
			return r;
	}
	return 0;
}

void um_loop_stop(struct um_loop *l)
{
	l->stopping = true;
}

const struct um_clock *um_loop_clock(const struct um_loop *l)
{
	return l->clock;
}

int64_t um_loop_now(const struct um_loop *l)
{
	return um_clock_monotonic(l->clock);
}

struct event_base *um_loop_base(struct um_loop *l)
{
	return l->base;
}
