/* The configmaps, secrets and tokens that a pod names: asked for before its volumes are made, kept
 * while it runs, and taken over anew, between two of its steps, when they have changed. */
#include "agent/refs.h"

#include <string.h>

#include "agent/projection.h"
#include "agent/refresh.h"
#include "agent/tokens.h"
#include "base/log.h"
#include "base/num.h"
#include "wire/loop.h"

#define REFS_MAX_BYTES (64u << 20)
#define RETRY_NS (2 * UM_NSEC_PER_SEC)
#define SILENCE_NS (30 * UM_NSEC_PER_SEC)
#define CA_MAP "kube-root-ca.crt" /* of each namespace, named by nearly all of its pods */

struct refs_want {
	LIST_ENTRY(refs_want) all; /* of CA_MAP's, with the agent */
	bool asked;		   /* ... and for the others of the namespace */
	char uid[64], ns[64];
	struct um_agent *agent;
	unsigned round;
	const char *plural;
	bool optional, access;
	char name[254];
};

const struct um_json *refs_get(const struct agent_pod *p, const char *plural, const char *name)
{
	char key[REFS_KEY_MAX];

	snprintf(key, sizeof(key), "%s/%s", plural, name);
	return um_json_get(p->refs, key);
}

/* ---- whom it names ---- */

struct visit {
	const struct agent_pod *p;
	void (*fn)(void *arg, const struct refs_name *n);
	void *arg;
};

static void visit(const struct visit *v, const char *plural, const struct um_json *ref,
		  const char *field, bool access)
{
	struct refs_name n = {plural, um_json_get_str(ref, field, ""),
			      um_json_get_bool(ref, "optional", false), access};

	if (*n.name)
		v->fn(v->arg, &n);
}

static void visit_env(const struct visit *v, const struct um_json *ctr)
{
	um_json_foreach (it, um_json_get(ctr, "env")) {
		visit(v, "configmaps", um_json_path(it, "valueFrom.configMapKeyRef"), "name",
		      false);
		visit(v, "secrets", um_json_path(it, "valueFrom.secretKeyRef"), "name", false);
	}
	um_json_foreach (it, um_json_get(ctr, "envFrom")) {
		visit(v, "configmaps", um_json_get(it, "configMapRef"), "name", false);
		visit(v, "secrets", um_json_get(it, "secretRef"), "name", false);
	}
}

void refs_each(const struct agent_pod *p, void (*fn)(void *arg, const struct refs_name *n),
	       void *arg)
{
	struct visit v = {p, fn, arg};

	um_json_foreach (it, um_json_path(p->obj, "spec.volumes")) {
		bool access = projection_is_access(it);

		visit(&v, "configmaps", um_json_get(it, "configMap"), "name", false);
		visit(&v, "secrets", um_json_get(it, "secret"), "secretName", false);
		um_json_foreach (s, um_json_path(it, "projected.sources")) {
			visit(&v, "configmaps", um_json_get(s, "configMap"), "name", access);
			visit(&v, "secrets", um_json_get(s, "secret"), "name", access);
		}
	}
	for (size_t i = 0; i < p->n_ctrs; i++)
		visit_env(&v, p->ctrs[i].spec);
}

/* ---- the first round ---- */

/* What is asked of an object later; the rest of its metadata is the larger part of a small one. */
static struct um_json *without_metadata(struct um_arena *a, const struct um_json *obj)
{
	static const char *const kept[] = {"uid", "resourceVersion"};
	struct um_json *o = um_json_new_obj(a);

	um_json_foreach (it, obj)
		if (strcmp(it->key, "metadata"))
			um_json_set(a, o, it->key, um_json_copy(a, it));
	for (size_t i = 0; i < UM_ARRAY_LEN(kept); i++) {
		const struct um_json *v = um_json_get(um_json_get(obj, "metadata"), kept[i]);

		if (v)
			um_json_set(a, um_json_ensure_obj(a, o, "metadata"), kept[i],
				    um_json_copy(a, v));
	}
	return o;
}

static int keep(struct um_arena *a, struct um_json *refs, const char *plural, const char *name,
		const struct um_json *obj)
{
	char key[REFS_KEY_MAX];

	snprintf(key, sizeof(key), "%s/%s", plural, name);
	return um_json_set(a, refs, key, without_metadata(a, obj)) ? 0 : -ENOMEM;
}

/* The server said nothing, rather than no. */
static bool silent(const struct um_error *err)
{
	return err && err->code != -ENOMEM && err->reason != UM_REASON_NOT_FOUND &&
	       err->reason != UM_REASON_FORBIDDEN && err->reason != UM_REASON_CONFLICT;
}

/* What it was made of before, while nobody can say what it should be made of now. */
static bool keep_old(struct agent_pod *p, const struct refs_want *w)
{
	const struct um_json *was;
	char key[REFS_KEY_MAX];

	snprintf(key, sizeof(key), "%s/%s", w->plural, w->name);
	was = um_json_get(p->old_refs, key);
	return was && keep(p->refs_arena, p->refs, w->plural, w->name, was) == 0;
}

/* A pod that has been here before runs again without the server, but for what only serves to talk
 * to it: that follows. A server that starts at the same time is waited for. */
static bool waive(struct agent_pod *p, const struct refs_want *w)
{
	int64_t now = um_loop_now(p->agent->loop);

	if (!p->silent_ns)
		p->silent_ns = now;
	if (!w->access || !p->saved || now - p->silent_ns < SILENCE_NS)
		return false;
	if (!p->refs_waived)
		pod_event(p, "Warning", "ServiceAccountTokenDelayed",
			  "the server does not answer: the pod starts without its account's token, "
			  "which follows");
	return p->refs_waived = true;
}

static void complain(struct agent_pod *p, const struct refs_want *w, const struct um_error *err)
{
	const char *why = err ? err->msg : "cannot be had";

	if (!strcmp(w->plural, "tokens"))
		snprintf(p->message, sizeof(p->message), "failed to fetch token: %s", why);
	else
		snprintf(p->message, sizeof(p->message), "%s \"%s\": %s", w->plural, w->name, why);
	for (size_t i = 0; i < p->n_ctrs; i++) {
		struct agent_ctr *c = &p->ctrs[i];

		snprintf(c->reason, sizeof(c->reason), "CreateContainerConfigError");
		snprintf(c->message, sizeof(c->message), "%s", p->message);
	}
	pod_event(p, "Warning", "FailedMount", "%s", p->message);
}

/* It has not been told to end meanwhile, nor has its sandbox failed: then its timer is another's.
 */
static bool is_awaited(const struct agent_pod *p)
{
	return p->state == POD_SANDBOX || p->state == POD_VOLUMES;
}

static void end_round(struct agent_pod *p)
{
	um_arena_free(TAKE_PTR(p->old_arena));
	p->old_refs = NULL;
	if (!is_awaited(p))
		return;
	if (p->refs_failed)
		um_timer_start(p->timer, RETRY_NS);
	else
		p->silent_ns = 0;
	pod_dirty(p);
}

static void take(struct agent_pod *p, const struct refs_want *w, const struct um_json *obj,
		 const struct um_error *err)
{
	if (obj && !strcmp(w->plural, "tokens")) {
		obj = tokens_entry(p->refs_arena, p->agent, obj);
		if (!obj) {
			p->refs_failed = true;
			return;
		}
	}
	if (obj) {
		if (keep(p->refs_arena, p->refs, w->plural, w->name, obj) < 0)
			p->refs_failed = true;
	} else if (w->optional && err && err->reason == UM_REASON_NOT_FOUND) {
		return;
	} else if (!silent(err) || (!keep_old(p, w) && !waive(p, w))) {
		p->refs_failed = true;
		complain(p, w, err);
	}
}

static void answer(struct refs_want *w, const struct um_json *obj, const struct um_error *err)
{
	struct agent_pod *p;

	HASH_FIND_STR(w->agent->pods, w->uid, p); /* it may be gone by now */
	if (p && p->refs_round == w->round) {
		p->refs_wanted--;
		if (is_awaited(p))
			take(p, w, obj, err);
		if (!p->refs_wanted)
			end_round(p);
	}
	free(w);
}

static void on_fetched(void *arg, const struct um_json *obj, const struct um_error *err)
{
	answer(arg, obj, err);
}

/* One question for all pods of a namespace that start together. */
static void on_ca(void *arg, const struct um_json *obj, const struct um_error *err)
{
	struct refs_want *w = arg, *other, *next;
	struct um_agent *a = w->agent;
	char ns[sizeof(w->ns)];

	memcpy(ns, w->ns, sizeof(ns));
	LIST_REMOVE(w, all);
	answer(w, obj, err);
	for (other = LIST_FIRST(&a->ca_wants); other; other = next) {
		next = LIST_NEXT(other, all);
		if (strcmp(other->ns, ns))
			continue;
		LIST_REMOVE(other, all);
		answer(other, obj, err);
	}
}

static void ask_ca(struct agent_pod *p, struct refs_want *w)
{
	struct um_agent *a = p->agent;
	const struct refs_want *other;

	w->asked = true;
	LIST_FOREACH (other, &a->ca_wants, all)
		if (other->asked && !strcmp(other->ns, w->ns))
			w->asked = false;
	LIST_INSERT_HEAD(&a->ca_wants, w, all);
	if (w->asked)
		a->src.fetch(a->src.ctx, w->plural, p->ns, w->name, on_ca, w);
}

static struct refs_want *new_want(struct agent_pod *p, const char *plural, const char *name)
{
	struct refs_want *w = calloc(1, sizeof(*w));

	if (!w) {
		p->refs_failed = true;
		return NULL;
	}
	snprintf(w->uid, sizeof(w->uid), "%s", p->uid);
	snprintf(w->ns, sizeof(w->ns), "%s", p->ns);
	snprintf(w->name, sizeof(w->name), "%s", name);
	w->agent = p->agent;
	w->round = p->refs_round;
	w->plural = plural;
	p->refs_wanted++;
	return w;
}

static void no_api(struct refs_want *w)
{
	struct um_error err = UM_ERROR_INIT;

	um_error_set(&err, -ENOENT, "a static pod cannot refer to API objects");
	w->optional = false;
	on_fetched(w, NULL, &err);
}

/* Another pod of the namespace has it, and is told when it changes. */
static const struct um_json *neighbours(const struct agent_pod *p, const char *plural,
					const char *name)
{
	const struct agent_pod *q, *tmp;

	HASH_ITER (hh, p->agent->pods, q, tmp) {
		const struct um_json *obj = q != p && !q->is_static && !strcmp(q->ns, p->ns)
						    ? refs_get(q, plural, name)
						    : NULL;

		if (obj)
			return obj;
	}
	return NULL;
}

static void want_object(void *arg, const struct refs_name *n)
{
	struct agent_pod *p = arg;
	struct um_agent *a = p->agent;
	bool ca = !strcmp(n->name, CA_MAP) && !strcmp(n->plural, "configmaps");
	const struct um_json *known = ca ? neighbours(p, n->plural, n->name) : NULL;
	struct refs_want *w;

	if (refs_get(p, n->plural, n->name))
		return;
	if (known && keep(p->refs_arena, p->refs, n->plural, n->name, known) == 0)
		return;
	w = new_want(p, n->plural, n->name);
	if (!w)
		return;
	w->optional = n->optional;
	w->access = n->access;
	if (a->src.fetch && !p->is_static && ca)
		ask_ca(p, w);
	else if (a->src.fetch && !p->is_static)
		a->src.fetch(a->src.ctx, n->plural, p->ns, n->name, on_fetched, w);
	else
		no_api(w);
}

static void want_tokens(struct agent_pod *p)
{
	struct um_agent *a = p->agent;
	struct projection_token t;

	for (unsigned n = 0; projection_token_at(p->obj, n, &t); n++) {
		struct refs_want *w = new_want(p, "tokens", t.key);

		if (!w)
			return;
		w->access = t.access;
		if (a->src.token && !p->is_static)
			a->src.token(a->src.ctx, p->obj, t.audience, t.seconds, on_fetched, w);
		else
			no_api(w);
	}
}

void refs_fetch(struct agent_pod *p)
{
	if (!p->is_static && !p->agent->src.fetch) { /* adopted before the source is there */
		p->refs_failed = true;
		um_timer_start(p->timer, 100 * UM_NSEC_PER_MSEC);
		return;
	}
	um_arena_free(p->old_arena);
	p->old_arena = TAKE_PTR(p->refs_arena);
	p->old_refs = p->refs;
	p->refs_arena = um_arena_new(REFS_MAX_BYTES);
	p->refs = p->refs_arena ? um_json_new_obj(p->refs_arena) : NULL;
	p->refs_round++;
	p->refs_failed = !p->refs;
	p->refs_waived = false;
	p->refs_wanted = 1; /* so that an answer at once does not end the round */
	if (p->refs) {
		want_tokens(p);
		refs_each(p, want_object, p);
	}
	if (!--p->refs_wanted)
		end_round(p);
}

/* ---- what changes later ---- */

void refs_deliver(struct agent_pod *p, const char *plural, const char *name,
		  const struct um_json *obj)
{
	char key[REFS_KEY_MAX];

	if (!p->news) {
		p->news_arena = um_arena_new(REFS_MAX_BYTES);
		p->news = p->news_arena ? um_json_new_obj(p->news_arena) : NULL;
	}
	snprintf(key, sizeof(key), "%s/%s", plural, name);
	if (!p->news ||
	    (obj ? keep(p->news_arena, p->news, plural, name, obj) < 0
		 : !um_json_set(p->news_arena, p->news, key, um_json_new_null(p->news_arena))))
		um_log(UM_LOG_ERROR, "a change is lost: out of memory", UM_LOG_STR("pod", p->name),
		       UM_LOG_STR("object", name));
	if (p->state == POD_VOLUMES && !p->job)
		um_timer_stop(p->timer); /* it may be what was waited for */
	pod_kick(p);
}

/* By the server's revisions; another object of the name is always newer than the one before. */
static bool is_newer(const struct um_json *now, const struct um_json *was)
{
	const char *uid = um_json_get_str(now, "metadata.uid", "");
	uint64_t a, b;

	if (!was || strcmp(uid, um_json_get_str(was, "metadata.uid", "")))
		return true;
	if (um_num_u64(um_json_get_str(now, "metadata.resourceVersion", ""), UINT64_MAX, &a) < 0 ||
	    um_num_u64(um_json_get_str(was, "metadata.resourceVersion", ""), UINT64_MAX, &b) < 0)
		return true;
	return a > b;
}

bool refs_take_news(struct agent_pod *p)
{
	struct um_arena *a = um_arena_new(2 * REFS_MAX_BYTES);
	struct um_json *all = a ? um_json_new_obj(a) : NULL;
	bool changed = false;

	um_json_foreach (it, p->refs) /* what was replaced is given back with the old arena */
		if (!is_newer(um_json_get(p->news, it->key), it) || !um_json_get(p->news, it->key))
			um_json_set(a, all, it->key, um_json_copy(a, it));
	um_json_foreach (it, p->news) {
		if (um_json_get(all, it->key))
			continue;
		if (um_json_is(it, UM_JSON_NULL)) { /* it is gone */
			changed |= um_json_get(p->refs, it->key) != NULL;
			continue;
		}
		changed |= !um_json_equal(it, um_json_get(p->refs, it->key));
		um_json_set(a, all, it->key, um_json_copy(a, it));
	}
	um_arena_free(TAKE_PTR(p->news_arena));
	p->news = NULL;
	if (!a || um_arena_failed(a)) {
		um_log(UM_LOG_ERROR, "a change is lost: out of memory", UM_LOG_STR("pod", p->name));
		um_arena_free(a);
		return false;
	}
	um_arena_free(p->refs_arena);
	p->refs_arena = a;
	p->refs = all;
	return changed;
}

static void refreshed(struct agent_job *j)
{
	struct agent_pod *p = j->pod;

	p->volumes_retry_ns = 0;
	if (j->result < 0) {
		pod_event(p, "Warning", "FailedMount", "%s", j->err.msg);
		p->volumes_retry_ns = um_loop_now(p->agent->loop) + REFS_RETRY_NS;
	}
	refresh_arm(p->agent);
}

bool refs_advance(struct agent_pod *p)
{
	if (p->news && refs_take_news(p))
		p->volumes_stale = true;
	if (!p->volumes_stale)
		return false;
	p->volumes_stale = false;
	pod_run_job(p, NULL, volumes_refresh_work, refreshed);
	return p->job != NULL;
}

void refs_note_metadata(struct agent_pod *p, const struct um_json *was)
{
	static const char *const parts[] = {"labels", "annotations"};
	const struct um_json *now = um_json_get(p->obj, "metadata");
	bool changed = false;

	for (size_t i = 0; i < UM_ARRAY_LEN(parts); i++) {
		const struct um_json *a = um_json_get(now, parts[i]),
				     *b = um_json_get(was, parts[i]);

		changed |= !a != !b || (a && !um_json_equal(a, b));
	}
	um_json_foreach (v, um_json_path(p->obj, "spec.volumes"))
		if (changed && projection_shows_metadata(v))
			p->volumes_stale = true;
}

void refs_release(struct agent_pod *p)
{
	um_arena_free(p->refs_arena);
	um_arena_free(p->old_arena);
	um_arena_free(p->news_arena);
}
