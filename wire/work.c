#include "wire/work.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

#define STACK_BYTES (256 * 1024)

struct item {
	void (*work)(void *arg);
	void *arg, *job;
	struct item *next;
};

struct um_pool {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct item *first, **last;
	void (*finished)(void *ctx, void *job);
	void *ctx;
	pthread_t *threads;
	unsigned max, started, idle;
	bool stopping;
};

struct um_pool *um_pool_new(unsigned threads, void (*finished)(void *ctx, void *job), void *ctx)
{
	struct um_pool *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->threads = calloc(threads, sizeof(*p->threads));
	if (!p->threads) {
		free(p);
		return NULL;
	}
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	p->last = &p->first;
	p->max = threads;
	p->finished = finished;
	p->ctx = ctx;
	return p;
}

static void *worker(void *arg)
{
	struct um_pool *p = arg;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct item *it = p->first;

		if (p->stopping)
			break;
		if (!it) {
			p->idle++;
			pthread_cond_wait(&p->wake, &p->lock);
			p->idle--;
			continue;
		}
		p->first = it->next;
		if (!p->first)
			p->last = &p->first;
		pthread_mutex_unlock(&p->lock);
		it->work(it->arg);
		p->finished(p->ctx, it->job);
		free(it);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Signals belong to the loop's thread: workers start with all of them blocked. */
static int start_thread(struct um_pool *p)
{
	sigset_t all, old;
	pthread_attr_t attr;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	r = pthread_create(&p->threads[p->started], &attr, worker, p);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		p->started++;
	return -r;
}

int um_pool_add(struct um_pool *p, void (*work)(void *arg), void *arg, void *job)
{
	struct item *it = calloc(1, sizeof(*it));
	int r = 0;

	if (!it)
		return -ENOMEM;
	it->work = work;
	it->arg = arg;
	it->job = job;
	pthread_mutex_lock(&p->lock);
	if (!p->idle && p->started < p->max)
		r = start_thread(p);
	if (r < 0 && !p->started) {
		pthread_mutex_unlock(&p->lock);
		free(it);
		return r;
	}
	*p->last = it;
	p->last = &it->next;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

void um_pool_free(struct um_pool *p, void (*dropped)(void *job))
{
	struct item *it, *next;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->started; i++)
		pthread_join(p->threads[i], NULL);
	for (it = p->first; it; it = next) {
		next = it->next;
		dropped(it->job);
		free(it);
	}
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p->threads);
	free(p);
}
