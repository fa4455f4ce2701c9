/* The ReplicaSets of a Deployment: whose they are, which is today's, how they are written. */
#include <string.h>

#include "api/server.h"
#include "base/num.h"
#include "control/deployment_internal.h"
#include "control/labels.h"
#include "control/owned.h"

/* ---- reading ---- */

static int64_t annotated(const struct um_json *obj, const char *key)
{
	const struct um_json *v = um_json_get(um_json_path(obj, "metadata.annotations"), key);
	int64_t n;

	return um_num_i64(um_json_str(v, ""), 0, INT64_MAX, &n) < 0 ? 0 : n;
}

static void set_annotation(struct um_arena *a, struct um_json *obj, const char *key,
			   const char *value)
{
	um_json_set_str(
		a, um_json_ensure_obj(a, um_json_ensure_obj(a, obj, "metadata"), "annotations"),
		key, value);
}

static int write_set(struct rollout *r, struct rollout_set *s)
{
	struct um_deployments *all = r->all;
	int w = um_ctl_update(all->ctl, all->queue, r->key, all->set_kind, s->obj, s->old, s->rev,
			      r->a, NULL);

	if (w < 0 && !r->error)
		r->error = w;
	return w;
}

static void fill(struct rollout_set *s)
{
	s->name = um_json_get_str(s->obj, "metadata.name", "");
	s->created = um_json_get_str(s->obj, "metadata.creationTimestamp", "");
	s->wanted = um_json_get_i64(s->obj, "spec.replicas", 0);
	s->replicas = um_json_get_i64(s->obj, "status.replicas", 0);
	s->ready = um_json_get_i64(s->obj, "status.readyReplicas", 0);
	s->available = um_json_get_i64(s->obj, "status.availableReplicas", 0);
	s->revision = annotated(s->obj, DEPLOYMENT_REVISION);
}

static bool load(struct rollout *r, const char *key, struct rollout_set *s)
{
	struct um_ctl_name n;
	int e = -ENOENT;

	*s = (struct rollout_set){0};
	if (um_ctl_split(key, &n))
		e = um_api_load(r->all->ctl->api, r->all->set_kind, n.ns, n.name, r->a, &s->old,
				&s->rev);
	if (e == 0)
		s->obj = um_json_copy(r->a, s->old);
	if (e != -ENOENT && !s->obj)
		r->error = -ENOMEM;
	return s->obj;
}

static bool selected(const struct rollout *r, const struct rollout_set *s)
{
	return um_label_selector_matches(um_json_path(r->obj, "spec.selector"),
					 um_json_path(s->obj, "metadata.labels"));
}

static void note_owned(void *arg, const char *key)
{
	struct rollout *r = arg;
	struct rollout_set s;

	if (!load(r, key, &s))
		return;
	if (!selected(r, &s)) {
		um_ctl_disown(s.obj, r->uid);
		write_set(r, &s);
		return;
	}
	fill(&s);
	if (um_vec_push(&r->sets, s) < 0)
		r->error = -ENOMEM;
}

static void adopt(void *arg, const char *key)
{
	struct rollout *r = arg;
	struct rollout_set s;

	if (!load(r, key, &s) || !selected(r, &s) || um_ctl_controller_of(s.obj) ||
	    um_json_path(s.obj, "metadata.deletionTimestamp"))
		return;
	um_ctl_own(r->a, s.obj, r->obj);
	write_set(r, &s); /* its event brings us back */
}

static int older(const void *x, const void *y)
{
	const struct rollout_set *a = x, *b = y;
	int c = strcmp(a->created, b->created);

	if (c)
		return c;
	if (a->revision != b->revision)
		return a->revision < b->revision ? -1 : 1;
	return strcmp(a->name, b->name);
}

/* The template without the label that we put there. */
static bool same_template(struct rollout *r, const struct rollout_set *s)
{
	struct um_json *t = um_json_copy(r->a, um_json_path(s->obj, "spec.template"));

	um_json_remove(um_json_path(t, "metadata.labels"), DEPLOYMENT_HASH_LABEL);
	return t && um_json_equal(t, um_json_path(r->obj, "spec.template"));
}

int rollout_read_sets(struct rollout *r)
{
	um_owned_each(r->all->sets, r->uid, note_owned, r);
	if (!um_json_path(r->obj, "metadata.deletionTimestamp"))
		um_owned_each_orphan(r->all->sets, r->ns, adopt, r);
	if (r->error)
		return r->error;
	if (r->sets.len)
		qsort(r->sets.items, r->sets.len, sizeof(*r->sets.items), older);
	um_vec_foreach (s, &r->sets)
		if (!r->current && same_template(r, s))
			r->current = s;
	return 0;
}

int64_t rollout_total(const struct rollout *r)
{
	int64_t n = 0;

	um_vec_foreach (s, &r->sets)
		n += s->wanted;
	return n;
}

int64_t rollout_available(const struct rollout *r)
{
	int64_t n = 0;

	/* A status may be older than the size: pods that are told to go do not count. */
	um_vec_foreach (s, &r->sets)
		n += s->available < s->wanted ? s->available : s->wanted;
	return n;
}

/* ---- writing ---- */

static void note_sizes(struct rollout *r, struct um_json *set)
{
	set_annotation(r->a, set, DEPLOYMENT_DESIRED,
		       um_arena_printf(r->a, "%lld", (long long)r->wanted));
	set_annotation(r->a, set, DEPLOYMENT_MAX,
		       um_arena_printf(r->a, "%lld", (long long)(r->wanted + r->max_surge)));
}

void rollout_scale(struct rollout *r, struct rollout_set *s, int64_t replicas)
{
	int64_t before = s->wanted;

	um_json_set_i64(r->a, um_json_ensure_obj(r->a, s->obj, "spec"), "replicas", replicas);
	note_sizes(r, s->obj);
	if (write_set(r, s) < 0)
		return;
	s->wanted = replicas;
	if (before != replicas)
		um_ctl_event(r->all->ctl, r->obj, DEPLOYMENT_WHO, "Normal", "ScalingReplicaSet",
			     "Scaled %s replica set %s from %lld to %lld",
			     before < replicas ? "up" : "down", s->name, (long long)before,
			     (long long)replicas);
	/* A second change in this look starts from this one. */
	if (um_api_load(r->all->ctl->api, r->all->set_kind, r->ns, s->name, r->a, &s->old,
			&s->rev) == 0)
		s->obj = um_json_copy(r->a, s->old);
}

/* FNV-1a of the template's JSON, in letters that make no words. Only names follow from it: what is
 * the same template is decided by comparing. */
static const char *template_hash(struct rollout *r)
{
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
	int64_t collisions = um_json_get_i64(r->obj, "status.collisionCount", 0);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_OBJECT_ARENA_MAX);
	uint32_t h = 2166136261u;
	char text[12];

	um_json_write(&b, um_json_path(r->obj, "spec.template"));
	if (collisions)
		um_buf_addf(&b, "%lld", (long long)collisions);
	if (um_buf_error(&b))
		return NULL;
	for (size_t i = 0; i < b.len; i++)
		h = (h ^ (unsigned char)b.data[i]) * 16777619u;
	snprintf(text, sizeof(text), "%u", h);
	for (char *c = text; *c; c++)
		*c = alphabet[(unsigned char)*c % (sizeof(alphabet) - 1)];
	return um_arena_strdup(r->a, text);
}

static bool is_ours_alone(const char *annotation)
{
	static const char *const kept_back[] = {"kubectl.kubernetes.io/last-applied-configuration",
						DEPLOYMENT_REVISION,
						DEPLOYMENT_REVISION_HISTORY,
						DEPLOYMENT_DESIRED,
						DEPLOYMENT_MAX,
						"deprecated.deployment.rollback.to"};

	for (size_t i = 0; i < UM_ARRAY_LEN(kept_back); i++)
		if (!strcmp(annotation, kept_back[i]))
			return true;
	return false;
}

static int64_t last_revision(const struct rollout *r)
{
	int64_t n = 0;

	rollout_foreach_old(s, r) n = s->revision > n ? s->revision : n;
	return n;
}

/* Its revision is one more than any other's; the ones that it had are remembered. */
static void set_revision(struct rollout *r, struct um_json *set, int64_t had)
{
	int64_t revision = last_revision(r) + 1;
	const struct um_json *before =
		um_json_get(um_json_path(set, "metadata.annotations"), DEPLOYMENT_REVISION_HISTORY);
	const char *list = um_json_str(before, "");

	if (had >= revision)
		return;
	if (had)
		set_annotation(r->a, set, DEPLOYMENT_REVISION_HISTORY,
			       *list ? um_arena_printf(r->a, "%s,%lld", list, (long long)had)
				     : um_arena_printf(r->a, "%lld", (long long)had));
	set_annotation(r->a, set, DEPLOYMENT_REVISION,
		       um_arena_printf(r->a, "%lld", (long long)revision));
}

static void carry_annotations(struct rollout *r, struct um_json *set)
{
	um_json_foreach (it, um_json_path(r->obj, "metadata.annotations"))
		if (!is_ours_alone(it->key))
			set_annotation(r->a, set, it->key, um_json_str(it, ""));
}

/* The Deployment says which revision it is at. Stored with its status. */
static void show_revision(struct rollout *r, const struct um_json *set)
{
	const struct um_json *v =
		um_json_get(um_json_path(set, "metadata.annotations"), DEPLOYMENT_REVISION);

	if (v)
		set_annotation(r->a, r->obj, DEPLOYMENT_REVISION, um_json_str(v, ""));
}

static struct um_json *new_set(struct rollout *r, const char *hash, int64_t replicas)
{
	struct um_arena *a = r->a;
	struct um_json *set = um_json_new_obj(a), *meta = um_json_ensure_obj(a, set, "metadata");
	struct um_json *spec = um_json_ensure_obj(a, set, "spec"), *template, *labels, *selector;

	template = um_json_set(a, spec, "template",
			       um_json_copy(a, um_json_path(r->obj, "spec.template")));
	labels = um_json_ensure_obj(a, um_json_ensure_obj(a, template, "metadata"), "labels");
	um_json_set_str(a, labels, DEPLOYMENT_HASH_LABEL, hash);
	selector = um_json_set(a, spec, "selector",
			       um_json_copy(a, um_json_path(r->obj, "spec.selector")));
	um_json_set_str(a, um_json_ensure_obj(a, selector, "matchLabels"), DEPLOYMENT_HASH_LABEL,
			hash);
	um_json_set_i64(a, spec, "replicas", replicas);
	um_json_set_i64(a, spec, "minReadySeconds",
			um_json_get_i64(r->obj, "spec.minReadySeconds", 0));
	um_json_set_str(a, meta, "name", um_arena_printf(a, "%s-%s", r->name, hash));
	um_json_set_str(a, meta, "namespace", r->ns);
	um_json_set(a, meta, "labels", um_json_copy(a, labels));
	um_ctl_own(a, set, r->obj);
	carry_annotations(r, set);
	note_sizes(r, set);
	set_revision(r, set, 0);
	return set;
}

/* Another set has the name: ours, made a moment ago, or a stranger, for whom we make way. */
static void meet_namesake(struct rollout *r, const char *name)
{
	struct um_json *set = NULL, *status;
	const struct um_json *owner;
	struct rollout_set s = {0};
	int64_t rev;

	if (um_api_load(r->all->ctl->api, r->all->set_kind, r->ns, name, r->a, &set, &rev) < 0)
		return;
	owner = um_ctl_controller_of(set);
	s.obj = set;
	if (owner && !strcmp(um_json_get_str(owner, "uid", ""), r->uid) && same_template(r, &s))
		return; /* its event is on its way */
	status = um_json_ensure_obj(r->a, r->obj, "status");
	um_json_set_i64(r->a, status, "collisionCount",
			um_json_get_i64(status, "collisionCount", 0) + 1);
}

void rollout_create_current(struct rollout *r, int64_t replicas)
{
	struct um_deployments *all = r->all;
	const char *hash = template_hash(r);
	struct um_json *set = hash ? new_set(r, hash, replicas) : NULL;
	const char *name = um_json_get_str(set, "metadata.name", "");
	struct um_error err = UM_ERROR_INIT;
	int w;

	if (!set || um_arena_failed(r->a)) {
		r->error = -ENOMEM;
		return;
	}
	w = um_ctl_create(all->ctl, all->queue, r->key, all->set_kind, set, r->a, &err);
	if (w == -EEXIST) {
		meet_namesake(r, name);
		return;
	}
	if (w == -EPERM) /* the namespace is going away */
		return;
	if (w < 0) {
		r->error = w;
		snprintf(r->create_error, sizeof(r->create_error), "%s", err.msg);
		um_ctl_event(all->ctl, r->obj, DEPLOYMENT_WHO, "Warning", "ReplicaSetCreateError",
			     "Failed to create new replica set \"%s\": %s", name, err.msg);
		return;
	}
	show_revision(r, set);
	if (replicas)
		um_ctl_event(all->ctl, r->obj, DEPLOYMENT_WHO, "Normal", "ScalingReplicaSet",
			     "Scaled up replica set %s from 0 to %lld", name, (long long)replicas);
}

void rollout_sync_current(struct rollout *r)
{
	struct rollout_set *s = r->current;

	set_revision(r, s->obj, s->revision);
	carry_annotations(r, s->obj);
	um_json_set_i64(r->a, um_json_ensure_obj(r->a, s->obj, "spec"), "minReadySeconds",
			um_json_get_i64(r->obj, "spec.minReadySeconds", 0));
	note_sizes(r, s->obj);
	show_revision(r, s->obj);
	if (write_set(r, s) <= 0)
		return;
	if (um_api_load(r->all->ctl->api, r->all->set_kind, r->ns, s->name, r->a, &s->old,
			&s->rev) == 0)
		s->obj = um_json_copy(r->a, s->old);
}

/* ---- history ---- */

static bool ended(const struct rollout_set *s)
{
	return !s->wanted && !s->replicas &&
	       um_json_get_i64(s->old, "status.observedGeneration", 0) >=
		       um_json_get_i64(s->old, "metadata.generation", 0) &&
	       !um_json_path(s->old, "metadata.deletionTimestamp");
}

static struct rollout_set *oldest_ended(const struct rollout *r)
{
	struct rollout_set *found = NULL;

	rollout_foreach_old(s, r) if (ended(s) && s->revision >= 0 &&
				      (!found || s->revision < found->revision)) found = s;
	return found;
}

void rollout_clean_up(struct rollout *r)
{
	int64_t limit = um_json_get_i64(r->obj, "spec.revisionHistoryLimit", 10), n = 0;

	rollout_foreach_old(s, r) n += ended(s);
	for (; n > limit; n--) {
		struct rollout_set *s = oldest_ended(r);

		if (!s)
			return;
		if (um_api_remove(r->all->ctl->api, r->all->set_kind, r->ns, s->name, NULL, NULL) <
		    0)
			return; /* tried again with the next change */
		s->revision = -1;
	}
}
