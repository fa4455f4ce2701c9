/* EndpointSlices: an endpoint stays in the slice where it is, so that a change of one pod is a
 * change of one slice. */
#include <string.h>

#include "api/server.h"
#include "control/endpoints_internal.h"
#include "control/owned.h"

#define SERVICE_LABEL "kubernetes.io/service-name"
#define MANAGER_LABEL "endpointslice.kubernetes.io/managed-by"
#define HEADLESS_LABEL "service.kubernetes.io/headless"

struct slice {
	struct um_json *obj, *old;
	int64_t rev;
	const char *name;
	struct um_json *list; /* what its endpoints will be */
	bool used;
};

struct slices {
	struct endpoints_look *l;
	UM_VEC(struct slice) all;
};

static void note_slice(void *arg, const char *key)
{
	struct slices *ss = arg;
	struct endpoints_look *l = ss->l;
	struct slice s = {0};
	struct um_ctl_name n;
	const struct um_json *manager;

	if (!um_ctl_split(key, &n) || um_api_load(l->all->ctl->api, l->all->slice_kind, n.ns,
						  n.name, l->a, &s.old, &s.rev) < 0)
		return;
	manager = um_json_get(um_json_path(s.old, "metadata.labels"), MANAGER_LABEL);
	if (strncmp(um_json_str(manager, ""), "endpointslice", 13) != 0 ||
	    um_json_path(s.old, "metadata.deletionTimestamp"))
		return; /* somebody else's, or on its way out */
	s.obj = um_json_copy(l->a, s.old);
	s.name = um_json_get_str(s.old, "metadata.name", "");
	s.list = um_json_new_arr(l->a);
	if (!s.obj || um_vec_push(&ss->all, s) < 0)
		l->error = -ENOMEM;
}

static struct um_json *new_endpoint(struct endpoints_look *l, const struct endpoint *e)
{
	struct um_arena *a = l->a;
	struct um_json *o = um_json_new_obj(a), *c, *ref;

	um_json_append(um_json_ensure_arr(a, o, "addresses"), um_json_new_str(a, e->ip));
	c = um_json_ensure_obj(a, o, "conditions");
	um_json_set_bool(a, c, "ready", e->ready);
	um_json_set_bool(a, c, "serving", e->serving);
	um_json_set_bool(a, c, "terminating", e->terminating);
	if (*e->hostname)
		um_json_set_str(a, o, "hostname", e->hostname);
	if (*e->pod) {
		ref = um_json_ensure_obj(a, o, "targetRef");
		um_json_set_str(a, ref, "kind", "Pod");
		um_json_set_str(a, ref, "namespace", l->ns);
		um_json_set_str(a, ref, "name", e->pod);
		um_json_set_str(a, ref, "uid", e->pod_uid);
	}
	if (*e->node)
		um_json_set_str(a, o, "nodeName", e->node);
	return o;
}

static bool fits(const struct slice *s, const struct um_json *ports)
{
	const struct um_json *has = um_json_get(s->old, "ports");

	return um_json_equal(has, ports) || (!um_json_first(has) && !um_json_first(ports));
}

/* The slice that already tells of this address, by these ports. */
static struct slice *home_of(struct slices *ss, const struct um_json *ports, const char *ip)
{
	um_vec_foreach (s, &ss->all) {
		if (!fits(s, ports))
			continue;
		um_json_foreach (e, um_json_get(s->old, "endpoints"))
			if (um_json_streq(um_json_path(e, "addresses.0"), ip))
				return s;
	}
	return NULL;
}

static struct slice *with_room(struct slices *ss, const struct um_json *ports)
{
	um_vec_foreach (s, &ss->all)
		if (fits(s, ports) && s->list->len < ENDPOINTS_SLICE_MAX)
			return s;
	return NULL;
}

/* A name that follows from the Service and a number: a second look, before the first one's slice is
 * seen, asks for the same. */
static const char *slice_name(struct endpoints_look *l, unsigned n)
{
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
	uint32_t h = 2166136261u ^ n;
	char tail[6];

	for (const char *c = l->uid; *c; c++)
		h = (h ^ (unsigned char)*c) * 16777619u;
	h ^= n * 2654435761u;
	for (size_t i = 0; i < sizeof(tail) - 1; i++, h /= sizeof(alphabet) - 1)
		tail[i] = alphabet[h % (sizeof(alphabet) - 1)];
	tail[5] = '\0';
	return um_arena_printf(l->a, "%.57s-%s", l->name, tail);
}

static bool has_name(const struct slices *ss, const char *name)
{
	um_vec_foreach (s, &ss->all)
		if (!strcmp(s->name, name))
			return true;
	return false;
}

static struct slice *add_slice(struct slices *ss, struct um_json *ports)
{
	struct endpoints_look *l = ss->l;
	struct slice s = {.used = true, .list = um_json_new_arr(l->a)};
	struct um_json *meta, *labels;
	unsigned n = 0;

	do {
		s.name = slice_name(l, n++);
	} while (s.name && has_name(ss, s.name));
	s.obj = s.old = um_json_new_obj(l->a);
	meta = um_json_ensure_obj(l->a, s.obj, "metadata");
	um_json_set_str(l->a, meta, "name", s.name ? s.name : "");
	um_json_set_str(l->a, meta, "namespace", l->ns);
	labels = um_json_ensure_obj(l->a, meta, "labels");
	um_json_set_str(l->a, labels, SERVICE_LABEL, l->name);
	um_json_set_str(l->a, labels, MANAGER_LABEL, l->manager);
	um_ctl_own(l->a, s.obj, l->service);
	um_json_set_str(l->a, s.obj, "addressType", "IPv4");
	um_json_set(l->a, s.obj, "ports", um_json_copy(l->a, ports));
	if (!s.name || um_vec_push(&ss->all, s) < 0) {
		l->error = -ENOMEM;
		return NULL;
	}
	return &ss->all.items[ss->all.len - 1];
}

static void place(struct slices *ss, const struct endpoint_group *g)
{
	struct endpoints_look *l = ss->l;
	bool any = false;

	um_vec_foreach (e, &g->list) { /* first those that are at home somewhere */
		struct slice *s = home_of(ss, g->ports, e->ip);

		if (s)
			um_json_append(s->list, new_endpoint(l, e));
	}
	um_vec_foreach (e, &g->list) {
		struct slice *s = home_of(ss, g->ports, e->ip);

		if (s)
			continue;
		s = with_room(ss, g->ports);
		if (!s)
			s = add_slice(ss, g->ports);
		if (s)
			um_json_append(s->list, new_endpoint(l, e));
	}
	um_vec_foreach (s, &ss->all)
		any |= fits(s, g->ports);
	if (!any)
		(void)!add_slice(ss, g->ports);
	um_vec_foreach (s, &ss->all) /* one of them stays even when nobody is left */
		if (fits(s, g->ports) && !um_json_first(s->list)) {
			s->used = true;
			break;
		}
}

static void set_labels(struct endpoints_look *l, struct um_json *slice)
{
	struct um_json *labels =
		um_json_ensure_obj(l->a, um_json_ensure_obj(l->a, slice, "metadata"), "labels");
	bool headless = !strcmp(um_json_get_str(l->service, "spec.clusterIP", ""), "None");

	um_json_foreach (it, um_json_path(l->service, "metadata.labels"))
		if (strcmp(it->key, SERVICE_LABEL) != 0 && strcmp(it->key, MANAGER_LABEL) != 0)
			um_json_set(l->a, labels, it->key, um_json_copy(l->a, it));
	if (headless)
		um_json_set_str(l->a, labels, HEADLESS_LABEL, "");
	else
		um_json_remove(labels, HEADLESS_LABEL);
}

static void write_slice(struct endpoints_look *l, struct slice *s)
{
	struct um_endpoints *all = l->all;
	int r;

	um_json_set(l->a, s->obj, "endpoints", s->list);
	set_labels(l, s->obj);
	if (!s->rev) {
		r = um_ctl_create(all->ctl, all->queue, l->key, all->slice_kind, s->obj, l->a,
				  NULL);
		if (r == -EEXIST || r == -EPERM)
			r = 0; /* asked for already, or the namespace is going away */
	} else {
		r = um_ctl_update(all->ctl, all->queue, l->key, all->slice_kind, s->obj, s->old,
				  s->rev, l->a, NULL);
	}
	if (r < 0 && !l->error)
		l->error = r;
}

void endpoints_write_slices(struct endpoints_look *l)
{
	struct slices ss = {.l = l};
	bool kept = false;

	um_owned_each(l->all->slices, l->uid, note_slice, &ss);
	um_vec_foreach (g, &l->groups)
		place(&ss, g);
	um_vec_foreach (s, &ss.all) {
		if (l->error)
			break;
		if (um_json_first(s->list) || (s->used && !kept)) {
			kept |= !um_json_first(s->list);
			write_slice(l, s);
		} else if (s->rev && um_api_remove(l->all->ctl->api, l->all->slice_kind, l->ns,
						   s->name, NULL, NULL) < 0) {
			l->error = -EAGAIN;
		}
	}
	um_vec_release(&ss.all);
}
