/* The configmaps and secrets that a pod names: asked for once before its volumes are made, kept
 * while it runs. */
#include "agent/internal.h"

#include <string.h>

#include "wire/loop.h"

struct want {
	struct agent_pod *pod;
	char uid[64];
	struct um_agent *agent;
	unsigned round;
	const char *plural;
	bool optional;
	char name[254];
};

const struct um_json *refs_get(const struct agent_pod *p, const char *plural, const char *name)
{
	char key[300];

	snprintf(key, sizeof(key), "%s/%s", plural, name);
	return um_json_get(p->refs, key);
}

static void on_fetched(void *arg, const struct um_json *obj, const struct um_error *err)
{
	struct want *w = arg;
	struct agent_pod *p;

	HASH_FIND_STR(w->agent->pods, w->uid, p); /* it may be gone by now */
	if (p && p->refs_round == w->round) {
		p->refs_wanted--;
		if (obj) {
			char key[300];

			snprintf(key, sizeof(key), "%s/%s", w->plural, w->name);
			if (!um_json_set(p->refs_arena, p->refs, key,
					 um_json_copy(p->refs_arena, obj)))
				p->refs_failed = true;
		} else if (!(w->optional && err && err->reason == UM_REASON_NOT_FOUND)) {
			p->refs_failed = true;
			snprintf(p->message, sizeof(p->message), "%s \"%s\": %s", w->plural,
				 w->name, err ? err->msg : "cannot be had");
			for (size_t i = 0; i < p->n_ctrs; i++) {
				struct agent_ctr *c = &p->ctrs[i];

				snprintf(c->reason, sizeof(c->reason),
					 "CreateContainerConfigError");
				snprintf(c->message, sizeof(c->message), "%s", p->message);
			}
			pod_event(p, "Warning", "FailedMount", "%s", p->message);
		}
		if (!p->refs_wanted) {
			if (p->refs_failed)
				um_timer_start(p->timer, 2 * UM_NSEC_PER_SEC);
			pod_dirty(p);
		}
	}
	free(w);
}

static void want(struct agent_pod *p, const char *plural, const char *name, bool optional)
{
	struct um_agent *a = p->agent;
	struct um_error err = UM_ERROR_INIT;
	struct want *w;

	if (!*name || refs_get(p, plural, name))
		return;
	w = calloc(1, sizeof(*w));
	if (!w) {
		p->refs_failed = true;
		return;
	}
	snprintf(w->uid, sizeof(w->uid), "%s", p->uid);
	snprintf(w->name, sizeof(w->name), "%s", name);
	w->agent = a;
	w->round = p->refs_round;
	w->plural = plural;
	w->optional = optional;
	p->refs_wanted++;
	if (a->src.fetch && !p->is_static) {
		a->src.fetch(a->src.ctx, plural, p->ns, name, on_fetched, w);
		return;
	}
	um_error_set(&err, -ENOENT, "a static pod cannot refer to API objects");
	on_fetched(w, NULL, &err);
}

static void want_env(struct agent_pod *p, const struct um_json *ctr)
{
	um_json_foreach (it, um_json_get(ctr, "env")) {
		const struct um_json *cm = um_json_path(it, "valueFrom.configMapKeyRef");
		const struct um_json *sec = um_json_path(it, "valueFrom.secretKeyRef");

		want(p, "configmaps", um_json_get_str(cm, "name", ""),
		     um_json_get_bool(cm, "optional", false));
		want(p, "secrets", um_json_get_str(sec, "name", ""),
		     um_json_get_bool(sec, "optional", false));
	}
	um_json_foreach (it, um_json_get(ctr, "envFrom")) {
		want(p, "configmaps", um_json_get_str(it, "configMapRef.name", ""),
		     um_json_get_bool(it, "configMapRef.optional", false));
		want(p, "secrets", um_json_get_str(it, "secretRef.name", ""),
		     um_json_get_bool(it, "secretRef.optional", false));
	}
}

void refs_fetch(struct agent_pod *p)
{
	if (!p->is_static && !p->agent->src.fetch) { /* adopted before the source is there */
		p->refs_failed = true;
		um_timer_start(p->timer, 100 * UM_NSEC_PER_MSEC);
		return;
	}
	um_arena_free(p->refs_arena);
	p->refs_arena = um_arena_new(16 << 20);
	p->refs = p->refs_arena ? um_json_new_obj(p->refs_arena) : NULL;
	p->refs_round++;
	p->refs_failed = !p->refs;
	p->refs_wanted = 1; /* so that an answer at once does not end the round */
	um_json_foreach (it, um_json_path(p->obj, "spec.volumes")) {
		want(p, "configmaps", um_json_get_str(it, "configMap.name", ""),
		     um_json_get_bool(it, "configMap.optional", false));
		want(p, "secrets", um_json_get_str(it, "secret.secretName", ""),
		     um_json_get_bool(it, "secret.optional", false));
	}
	for (size_t i = 0; i < p->n_ctrs; i++)
		want_env(p, p->ctrs[i].spec);
	p->refs_wanted--;
	if (!p->refs_wanted) {
		if (p->refs_failed)
			um_timer_start(p->timer, 2 * UM_NSEC_PER_SEC);
		pod_kick(p);
	}
}
