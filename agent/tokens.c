#include "agent/tokens.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/projection.h"
#include "agent/refresh.h"
#include "agent/refs.h"
#include "base/log.h"
#include "wire/loop.h"

#define OLDEST_NS (24 * 3600 * UM_NSEC_PER_SEC)
#define LIFE_LEAST_S 60 /* of what a server gives: nobody is asked more often */
#define LIFE_MOST_S (INT64_C(1) << 32)

int64_t tokens_renewal(int64_t asked_ns, int64_t life_ns, uint32_t random)
{
	int64_t after = life_ns / 5 * 4;

	if (after > OLDEST_NS)
		after = OLDEST_NS;
	return asked_ns + after - (int64_t)((double)(after / 20) * random / UINT32_MAX);
}

struct um_json *tokens_entry(struct um_arena *a, const struct um_agent *agent,
			     const struct um_json *answer)
{
	const struct um_clock *clock = um_loop_clock(agent->loop);
	const char *token = um_json_get_str(answer, "status.token", "");
	int64_t life = um_json_get_i64(answer, "spec.expirationSeconds", 3600);
	struct um_json *o = *token ? um_json_new_obj(a) : NULL;
	uint32_t random = 0;

	life = life < LIFE_LEAST_S ? LIFE_LEAST_S : life > LIFE_MOST_S ? LIFE_MOST_S : life;
	(void)!getrandom(&random, sizeof(random), 0);
	um_json_set_str(a, o, "token", token);
	um_json_set_i64(a, o, "dueNs",
			tokens_renewal(um_clock_monotonic(clock), life * UM_NSEC_PER_SEC, random));
	um_json_set_i64(a, o, "dueWallNs",
			tokens_renewal(um_clock_wall(clock), life * UM_NSEC_PER_SEC, random));
	return o;
}

static int64_t due(const struct agent_pod *p, const struct projection_token *t)
{
	const struct um_json *entry = refs_get(p, "tokens", t->key);
	const struct um_clock *clock = um_loop_clock(p->agent->loop);

	if (!entry || um_clock_wall(clock) >= um_json_get_i64(entry, "dueWallNs", INT64_MAX))
		return 0;
	return um_json_get_i64(entry, "dueNs", 0);
}

int64_t tokens_due(const struct agent_pod *p)
{
	int64_t next = INT64_MAX;
	struct projection_token t;

	if (p->is_static || p->tokens_asked || p->state != POD_RUN || p->ending)
		return INT64_MAX;
	for (unsigned n = 0; projection_token_at(p->obj, n, &t); n++) {
		int64_t d = due(p, &t);

		next = d < next ? d : next;
	}
	return next < p->tokens_retry_ns ? p->tokens_retry_ns : next;
}

/* ---- asking ---- */

struct ask {
	struct um_agent *agent;
	char uid[64], key[96];
};

static void on_answer(void *arg, const struct um_json *obj, const struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	struct ask *k = arg;
	struct um_agent *agent = k->agent;
	struct um_json *entry = a && obj ? tokens_entry(a, agent, obj) : NULL;
	struct agent_pod *p;

	HASH_FIND_STR(agent->pods, k->uid, p); /* it may be gone by now */
	if (p) {
		p->tokens_asked--;
		if (entry) {
			refs_deliver(p, "tokens", k->key, entry);
		} else {
			p->tokens_retry_ns = um_loop_now(agent->loop) + REFS_RETRY_NS;
			um_log(UM_LOG_WARN, "renew a token", UM_LOG_STR("pod", p->name),
			       UM_LOG_STR("error", err ? err->msg : "there is none in the answer"));
		}
		if (!agent->closing && !p->tokens_asked)
			refresh_arm(agent);
	}
	free(k);
}

void tokens_ask(struct agent_pod *p)
{
	struct um_agent *a = p->agent;
	int64_t now = um_loop_now(a->loop);
	struct projection_token t;

	if (!a->src.token) {
		p->tokens_retry_ns = now + UM_NSEC_PER_SEC;
		return;
	}
	p->tokens_asked++; /* an answer at once does not end it */
	for (unsigned n = 0; projection_token_at(p->obj, n, &t); n++) {
		struct ask *k = due(p, &t) <= now ? calloc(1, sizeof(*k)) : NULL;

		if (!k)
			continue;
		k->agent = a;
		snprintf(k->uid, sizeof(k->uid), "%s", p->uid);
		snprintf(k->key, sizeof(k->key), "%s", t.key);
		p->tokens_asked++;
		a->src.token(a->src.ctx, p->obj, t.audience, t.seconds, on_answer, k);
	}
	p->tokens_asked--;
}
