#include "control/queue.h"

#include <stdbool.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "wire/loop.h"

#define BACKOFF_FIRST_NS (5 * UM_NSEC_PER_MSEC)
#define BACKOFF_LAST_NS (30 * UM_NSEC_PER_SEC)
enum { LOOKS_PER_TURN = 16 };

struct entry {
	UT_hash_handle hh;
	struct um_queue *queue;
	struct um_timer *timer; /* made when first delayed */
	TAILQ_ENTRY(entry) ready;
	int64_t backoff_ns, due_ns;
	bool is_ready;
	char key[];
};

struct um_queue {
	struct um_loop *loop;
	um_queue_fn look;
	void *arg;
	struct entry *entries;
	TAILQ_HEAD(ready_list, entry) ready;
	struct um_timer *turn;
};

static void entry_free(struct entry *e)
{
	if (e->is_ready)
		TAILQ_REMOVE(&e->queue->ready, e, ready);
	HASH_DEL(e->queue->entries, e);
	um_timer_free(e->timer);
	free(e);
}

static void make_ready(struct entry *e)
{
	if (e->is_ready)
		return;
	if (e->timer)
		um_timer_stop(e->timer);
	e->is_ready = true;
	TAILQ_INSERT_TAIL(&e->queue->ready, e, ready);
	if (!um_timer_running(e->queue->turn))
		um_timer_start(e->queue->turn, 0);
}

static void on_due(void *arg)
{
	make_ready(arg);
}

static void delay(struct entry *e, int64_t ns)
{
	int64_t due = um_loop_now(e->queue->loop) + ns;

	if (e->is_ready || (e->timer && um_timer_running(e->timer) && e->due_ns <= due))
		return;
	if (!e->timer)
		e->timer = um_timer_new(e->queue->loop, on_due, e);
	if (!e->timer) {
		make_ready(e); /* too early rather than never */
		return;
	}
	e->due_ns = due;
	um_timer_start(e->timer, ns);
}

static void look_at(struct entry *e)
{
	struct um_queue *q = e->queue;
	int64_t r;

	TAILQ_REMOVE(&q->ready, e, ready);
	e->is_ready = false;
	r = q->look(q->arg, e->key);
	if (r < 0) {
		e->backoff_ns = e->backoff_ns ? e->backoff_ns * 2 : BACKOFF_FIRST_NS;
		if (e->backoff_ns > BACKOFF_LAST_NS)
			e->backoff_ns = BACKOFF_LAST_NS;
		delay(e, e->backoff_ns);
		return;
	}
	e->backoff_ns = 0;
	if (r > 0)
		delay(e, r);
	else if (!e->is_ready && !(e->timer && um_timer_running(e->timer)))
		entry_free(e);
}

static void on_turn(void *arg)
{
	struct um_queue *q = arg;

	for (int i = 0; i < LOOKS_PER_TURN && !TAILQ_EMPTY(&q->ready); i++)
		look_at(TAILQ_FIRST(&q->ready));
	if (!TAILQ_EMPTY(&q->ready))
		um_timer_start(q->turn, 0);
}

static struct entry *find_or_make(struct um_queue *q, const char *key)
{
	struct entry *e;

	HASH_FIND_STR(q->entries, key, e);
	if (e)
		return e;
	e = calloc(1, sizeof(*e) + strlen(key) + 1);
	if (e) {
		e->queue = q;
		strcpy(e->key, key);
		HASH_ADD_STR(q->entries, key, e);
		if (!e->hh.tbl) { /* uthash had no memory */
			free(e);
			e = NULL;
		}
	}
	if (!e)
		um_log(UM_LOG_ERROR, "work queue out of memory", UM_LOG_STR("key", key));
	return e;
}

void um_queue_add(struct um_queue *q, const char *key)
{
	struct entry *e = find_or_make(q, key);

	if (e)
		make_ready(e);
}

void um_queue_add_after(struct um_queue *q, const char *key, int64_t delay_ns)
{
	struct entry *e = find_or_make(q, key);

	if (e)
		delay(e, delay_ns);
}

int um_queue_new(struct um_loop *l, um_queue_fn look, void *arg, struct um_queue **ret,
		 struct um_error *err)
{
	struct um_queue *q = calloc(1, sizeof(*q));

	if (q)
		q->turn = um_timer_new(l, on_turn, q);
	if (!q || !q->turn) {
		free(q);
		return um_error_set(err, -ENOMEM, "work queue: out of memory");
	}
	q->loop = l;
	q->look = look;
	q->arg = arg;
	TAILQ_INIT(&q->ready);
	*ret = q;
	return 0;
}

void um_queue_free(struct um_queue *q)
{
	struct entry *e, *tmp;

	if (!q)
		return;
	HASH_ITER (hh, q->entries, e, tmp)
		entry_free(e);
	um_timer_free(q->turn);
	free(q);
}
