#include "agent/refresh.h"

#include <string.h>

#include "agent/refs.h"
#include "agent/tokens.h"
#include "base/hash.h"
#include "base/log.h"
#include "wire/loop.h"

#define PAUSE_NS UM_NSEC_PER_SEC /* between two fetches of one object */

/* An object that has changed lately. */
struct object {
	UT_hash_handle hh;
	struct um_agent *agent;
	const char *plural, *ns, *name;
	bool busy;	/* being fetched */
	bool again;	/* has changed since */
	int64_t due_ns; /* when it may be fetched again, or forgotten */
	char key[];	/* "plural/ns/name" */
};

struct agent_refresh {
	struct um_agent *agent;
	struct um_timer *timer;
	struct object *objects;
};

/* ---- who names it ---- */

struct search {
	const char *plural, *name;
	bool found, needed;
};

static void look_at_name(void *arg, const struct refs_name *n)
{
	struct search *s = arg;

	if (strcmp(n->plural, s->plural) || strcmp(n->name, s->name))
		return;
	s->found = true;
	s->needed |= !n->optional;
}

/* @ret_needed, which may be NULL: not only where it may be missing. */
static bool names(const struct agent_pod *p, const char *plural, const char *ns, const char *name,
		  bool *ret_needed)
{
	struct search s = {plural, name, false, false};

	if (p->is_static || p->ending || p->state < POD_SANDBOX || p->state > POD_RUN ||
	    strcmp(p->ns, ns))
		return false;
	refs_each(p, look_at_name, &s);
	if (ret_needed)
		*ret_needed = s.needed;
	return s.found;
}

/* ---- one object ---- */

static void on_fetched(void *arg, const struct um_json *obj, const struct um_error *err)
{
	struct object *o = arg;
	struct um_agent *a = o->agent;
	struct agent_pod *p, *tmp;
	bool gone = !obj && err && err->reason == UM_REASON_NOT_FOUND, needed = false;

	o->busy = false;
	o->due_ns = um_loop_now(a->loop) + PAUSE_NS;
	/* One that is gone leaves what was made of it, but where it may be missing. */
	HASH_ITER (hh, a->pods, p, tmp)
		if ((obj || gone) && names(p, o->plural, o->ns, o->name, &needed) &&
		    (obj || !needed))
			refs_deliver(p, o->plural, o->name, obj);
	if (err && err->reason != UM_REASON_NOT_FOUND && err->reason != UM_REASON_FORBIDDEN) {
		o->again = true;
		o->due_ns += REFS_RETRY_NS;
	}
	if (!a->closing)
		refresh_arm(a);
}

static void fetch(struct object *o)
{
	struct um_agent *a = o->agent;

	if (!a->src.fetch) {
		o->again = true;
		o->due_ns = um_loop_now(a->loop) + PAUSE_NS;
		return;
	}
	o->busy = true;
	o->again = false;
	a->src.fetch(a->src.ctx, o->plural, o->ns, o->name, on_fetched, o);
}

static struct object *find_or_make(struct agent_refresh *r, const char *plural, const char *ns,
				   const char *name)
{
	size_t size = strlen(plural) + 2 * (strlen(ns) + strlen(name)) + 6;
	struct object *o = calloc(1, sizeof(*o) + size), *known;
	char *at;

	if (!o)
		return NULL;
	at = o->key + snprintf(o->key, size, "%s/%s/%s", plural, ns, name) + 1;
	HASH_FIND_STR(r->objects, o->key, known);
	if (known) {
		free(o);
		return known;
	}
	o->agent = r->agent;
	o->plural = plural;
	o->ns = strcpy(at, ns);
	o->name = strcpy(at + strlen(ns) + 1, name);
	HASH_ADD_STR(r->objects, key, o);
	if (!o->hh.tbl) {
		free(o);
		return NULL;
	}
	return o;
}

void refresh_changed(struct um_agent *a, const char *plural, const char *ns, const char *name)
{
	static const char *const plurals[] = {"configmaps", "secrets"};
	const char *kind = NULL;
	struct agent_pod *p, *tmp;
	struct object *o;
	bool wanted = false;

	for (size_t i = 0; i < UM_ARRAY_LEN(plurals); i++)
		if (!strcmp(plurals[i], plural))
			kind = plurals[i];
	HASH_ITER (hh, a->pods, p, tmp)
		wanted |= kind && names(p, kind, ns, name, NULL);
	if (!wanted || a->closing)
		return;
	o = find_or_make(a->refresh, kind, ns, name);
	if (!o) {
		um_log(UM_LOG_ERROR, "a change is lost: out of memory", UM_LOG_STR("object", name));
		return;
	}
	o->again = true;
	if (!o->busy && um_loop_now(a->loop) >= o->due_ns)
		fetch(o);
	refresh_arm(a);
}

/* ---- all ---- */

static void look_again(void *arg, const struct refs_name *n)
{
	struct agent_pod *p = arg;
	const struct um_json *obj = refs_get(p, n->plural, n->name);

	if (!um_json_get_bool(obj, "immutable", false))
		refresh_changed(p->agent, n->plural, p->ns, n->name);
}

void refresh_all(struct um_agent *a)
{
	struct agent_pod *p, *tmp;

	HASH_ITER (hh, a->pods, p, tmp) {
		p->tokens_retry_ns = 0;
		if (!p->is_static && p->state == POD_RUN)
			refs_each(p, look_again, p);
	}
	refresh_look(a);
}

/* ---- the timer ---- */

void refresh_arm(struct um_agent *a)
{
	int64_t now = um_loop_now(a->loop), next = INT64_MAX;
	struct agent_pod *p, *tmp;
	struct object *o, *otmp;

	HASH_ITER (hh, a->pods, p, tmp) {
		int64_t due = tokens_due(p);

		if (p->volumes_retry_ns && p->volumes_retry_ns < due)
			due = p->volumes_retry_ns;
		next = due < next ? due : next;
	}
	HASH_ITER (hh, a->refresh->objects, o, otmp)
		if (!o->busy && o->due_ns < next)
			next = o->due_ns;
	if (next == INT64_MAX)
		um_timer_stop(a->refresh->timer);
	else
		um_timer_start(a->refresh->timer, next > now ? next - now : 0);
}

void refresh_look(struct um_agent *a)
{
	struct agent_pod *p, *tmp;
	struct object *o, *otmp;
	int64_t now = um_loop_now(a->loop);

	if (a->closing)
		return;
	HASH_ITER (hh, a->pods, p, tmp) {
		if (tokens_due(p) <= now)
			tokens_ask(p);
		if (p->volumes_retry_ns && p->volumes_retry_ns <= now) {
			p->volumes_retry_ns = 0;
			p->volumes_stale = true;
			pod_kick(p);
		}
	}
	HASH_ITER (hh, a->refresh->objects, o, otmp) {
		if (o->busy || o->due_ns > now)
			continue;
		if (o->again) {
			fetch(o);
			continue;
		}
		HASH_DEL(a->refresh->objects, o);
		free(o);
	}
	refresh_arm(a);
}

static void on_timer(void *arg)
{
	refresh_look(((struct agent_refresh *)arg)->agent);
}

int refresh_new(struct um_agent *a, struct agent_refresh **ret, struct um_error *err)
{
	struct agent_refresh *r = calloc(1, sizeof(*r));

	if (r) {
		r->agent = a;
		r->timer = um_timer_new(a->loop, on_timer, r);
		if (r->timer) {
			*ret = r;
			return 0;
		}
		free(r);
	}
	return um_error_errno(err, -ENOMEM, "watch what pods name");
}

void refresh_free(struct agent_refresh *r)
{
	struct object *o, *tmp;

	if (!r)
		return;
	HASH_ITER (hh, r->objects, o, tmp) {
		HASH_DEL(r->objects, o);
		free(o);
	}
	um_timer_free(r->timer);
	free(r);
}
