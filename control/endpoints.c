#include "control/endpoints.h"

#include <string.h>
#include <sys/queue.h>

#include "api/server.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "control/endpoints_internal.h"
#include "control/labels.h"
#include "control/owned.h"
#include "control/podset.h"
#include "control/queue.h"
#include "store/store.h"
#include "wire/loop.h"

#define WHO "endpoint-controller"
/* One change is written at once; of many, several together. */
#define SPACING_NS (20 * UM_NSEC_PER_MSEC)
#define MANAGED_LABEL "endpoints.kubernetes.io/managed-by"
#define SKIP_MIRROR_LABEL "endpointslice.kubernetes.io/skip-mirror"
#define OVER_CAPACITY "endpoints.kubernetes.io/over-capacity"

/* What of a Service tells which pods are its. */
struct svc {
	UT_hash_handle hh;
	TAILQ_ENTRY(svc) next;
	struct svc_ns *ns;
	const struct um_json *selector; /* NULL: none */
	int64_t looked_ns;
	char key[]; /* then the selector's copy */
};

struct svc_ns {
	UT_hash_handle hh;
	TAILQ_HEAD(, svc) svcs;
	char name[];
};

/* ---- the Endpoints object ---- */

static void write_endpoints(struct endpoints_look *l)
{
	struct um_endpoints *all = l->all;
	struct um_json *obj = NULL, *old = NULL, *meta, *labels;
	int64_t rev = 0;
	int r = um_api_load(all->ctl->api, all->endpoints, l->ns, l->name, l->a, &old, &rev);

	if (r < 0 && r != -ENOENT) {
		l->error = r;
		return;
	}
	obj = old ? um_json_copy(l->a, old) : um_json_new_obj(l->a);
	meta = um_json_ensure_obj(l->a, obj, "metadata");
	um_json_set_str(l->a, meta, "name", l->name);
	um_json_set_str(l->a, meta, "namespace", l->ns);
	labels = um_json_ensure_obj(l->a, meta, "labels");
	um_json_foreach (it, um_json_path(l->service, "metadata.labels"))
		um_json_set(l->a, labels, it->key, um_json_copy(l->a, it));
	um_json_set_str(l->a, labels, MANAGED_LABEL, WHO);
	if (!strcmp(um_json_get_str(l->service, "spec.clusterIP", ""), "None"))
		um_json_set_str(l->a, labels, "service.kubernetes.io/headless", "");
	else
		um_json_remove(labels, "service.kubernetes.io/headless");
	um_json_set(l->a, obj, "subsets", endpoints_to_subsets(l));
	if (!um_json_first(um_json_get(obj, "subsets")))
		um_json_remove(obj, "subsets");
	if (l->truncated)
		um_json_set_str(l->a, um_json_ensure_obj(l->a, meta, "annotations"), OVER_CAPACITY,
				"truncated");
	else
		um_json_remove(um_json_get(meta, "annotations"), OVER_CAPACITY);
	r = old ? um_ctl_update(all->ctl, all->queue, l->key, all->endpoints, obj, old, rev, l->a,
				NULL)
		: um_ctl_create(all->ctl, all->queue, l->key, all->endpoints, obj, l->a, NULL);
	if (r < 0 && r != -EPERM)
		l->error = r;
}

static struct svc *find(const struct um_endpoints *all, const char *key)
{
	struct svc *s;

	HASH_FIND_STR(all->svcs, key, s);
	return s;
}

/* ---- a look ---- */

/* The Service has gone: so does what was made for it. Its slices go with their owner. */
static int64_t clean_up(struct um_endpoints *all, const struct um_ctl_name *n, struct um_arena *a)
{
	struct um_json *ep = NULL;
	int64_t rev;
	const struct um_json *who;

	if (um_api_load(all->ctl->api, all->endpoints, n->ns, n->name, a, &ep, &rev) < 0)
		return 0;
	who = um_json_get(um_json_path(ep, "metadata.labels"), MANAGED_LABEL);
	if (!um_json_streq(who, WHO))
		return 0;
	return um_api_remove(all->ctl->api, all->endpoints, n->ns, n->name, NULL, NULL) < 0
		       ? -EAGAIN
		       : 0;
}

static void mirror(struct endpoints_look *l)
{
	struct um_json *ep = NULL;
	int64_t rev;
	int r;

	l->manager = "endpointslicemirroring-controller.k8s.io";
	r = um_api_load(l->all->ctl->api, l->all->endpoints, l->ns, l->name, l->a, &ep, &rev);
	if (r < 0 && r != -ENOENT) {
		l->error = r;
		return;
	}
	/* Where there is nothing to mirror, the slices of before go. */
	if (r == 0 &&
	    !um_json_streq(um_json_get(um_json_path(ep, "metadata.labels"), SKIP_MIRROR_LABEL),
			   "true"))
		endpoints_from_subsets(l, um_json_get(ep, "subsets"));
	endpoints_write_slices(l);
}

static void look_at(struct endpoints_look *l)
{
	l->uid = um_json_get_str(l->service, "metadata.uid", "");
	if (!strcmp(um_json_get_str(l->service, "spec.type", ""), "ExternalName"))
		return;
	if (!um_json_first(um_json_path(l->service, "spec.selector"))) {
		mirror(l);
	} else {
		l->manager = "endpointslice-controller.k8s.io";
		endpoints_from_pods(l);
		endpoints_write_slices(l);
		if (!l->error)
			write_endpoints(l);
	}
	if (!l->error && um_arena_failed(l->a))
		l->error = -ENOMEM;
}

static int64_t on_look(void *arg, const char *key)
{
	struct um_endpoints *all = arg;
	struct svc *svc = find(all, key);
	_cleanup_arena_ struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	struct endpoints_look l = {.all = all, .a = a, .key = key};
	struct um_json *service = NULL;
	struct um_ctl_name n;
	int64_t rev;
	int r;

	if (!um_ctl_split(key, &n))
		return 0;
	if (svc)
		svc->looked_ns = um_loop_now(all->ctl->loop);
	r = a ? um_api_load(all->ctl->api, all->services, n.ns, n.name, a, &service, &rev)
	      : -ENOMEM;
	if (r < 0)
		return r == -ENOENT ? clean_up(all, &n, a) : r;
	l.ns = n.ns;
	l.name = n.name;
	l.service = service;
	look_at(&l);
	endpoints_release(&l);
	return l.error;
}

/* ---- which Services there are ---- */

static void svc_free(struct um_endpoints *all, struct svc *s)
{
	struct svc_ns *ns = s->ns;

	HASH_DEL(all->svcs, s);
	TAILQ_REMOVE(&ns->svcs, s, next);
	free(s);
	if (TAILQ_EMPTY(&ns->svcs)) {
		HASH_DEL(all->namespaces, ns);
		free(ns);
	}
}

static struct svc_ns *make_ns(struct um_endpoints *all, const char *key)
{
	size_t len = strcspn(key, "/");
	struct svc_ns *ns;

	HASH_FIND(hh, all->namespaces, key, len, ns);
	if (ns)
		return ns;
	ns = calloc(1, sizeof(*ns) + len + 1);
	if (!ns)
		return NULL;
	memcpy(ns->name, key, len);
	TAILQ_INIT(&ns->svcs);
	HASH_ADD(hh, all->namespaces, name, len, ns);
	if (!ns->hh.tbl) {
		free(ns);
		return NULL;
	}
	return ns;
}

static bool svc_new(struct um_endpoints *all, const char *key, const struct um_json *service)
{
	const struct um_json *selector = um_json_path(service, "spec.selector");
	size_t head = (sizeof(struct svc) + strlen(key) + 8) & ~(size_t)7;
	struct svc *s = calloc(1, head + um_labels_size(selector));

	if (!s)
		return false;
	strcpy(s->key, key);
	s->selector = um_labels_copy(selector, (char *)s + head);
	s->ns = make_ns(all, key);
	if (s->ns)
		HASH_ADD_STR(all->svcs, key, s);
	if (!s->ns || !s->hh.tbl) {
		free(s);
		return false;
	}
	TAILQ_INSERT_TAIL(&s->ns->svcs, s, next);
	return true;
}

static void see_service(struct um_endpoints *all, const char *full_key,
			const struct um_bytes *value)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	const char *key = full_key + strlen(all->service_prefix);
	struct um_json *service = a && value ? um_object_parse(value, 0, a) : NULL;
	struct svc *s = find(all, key);

	if (s)
		svc_free(all, s);
	if (value && (!service || !svc_new(all, key, service)))
		um_log(UM_LOG_ERROR, "endpoints: out of memory", UM_LOG_STR("service", key));
	um_queue_add(all->queue, key);
}

static void on_service(void *arg, const struct um_store_event *ev)
{
	see_service(arg, ev->key, ev->value);
}

static bool on_existing(void *arg, const struct um_store_kv *kv)
{
	see_service(arg, kv->key, kv->value);
	return true;
}

/* ---- who wants a look ---- */

/* Nothing that a Service shows of its pods has changed. */
static bool same_to_services(const struct um_pod *a, const struct um_pod *b)
{
	return !strcmp(a->ip, b->ip) && !strcmp(a->node, b->node) && !strcmp(a->uid, b->uid) &&
	       a->ready == b->ready && a->deleted == b->deleted &&
	       um_pod_ended(a) == um_pod_ended(b) &&
	       (a->labels == b->labels || um_json_equal(a->labels, b->labels));
}

static void wake(struct um_endpoints *all, const struct svc *s)
{
	int64_t wait = s->looked_ns + SPACING_NS - um_loop_now(all->ctl->loop);

	if (s->looked_ns && wait > 0)
		um_queue_add_after(all->queue, s->key, wait);
	else
		um_queue_add(all->queue, s->key);
}

static void on_pod(void *arg, const struct um_pod *old, const struct um_pod *now)
{
	struct um_endpoints *all = arg;
	const struct um_pod *p = now ? now : old;
	struct svc_ns *ns;
	struct svc *s;

	if (!p || (old && now && same_to_services(old, now)) || (!*p->ip && !(old && *old->ip)))
		return;
	HASH_FIND(hh, all->namespaces, p->ns, strlen(p->ns), ns);
	if (!ns)
		return;
	TAILQ_FOREACH (s, &ns->svcs, next)
		if ((now && um_label_map_matches(s->selector, now->labels)) ||
		    (old && um_label_map_matches(s->selector, old->labels)))
			wake(all, s);
}

static void on_slice(void *arg, const char *key, const char *old_owner, const char *owner)
{
	struct um_endpoints *all = arg;
	char svc[UM_OBJECT_KEY_MAX];

	snprintf(svc, sizeof(svc), "%.*s/%s", (int)strcspn(key, "/"), key,
		 *owner ? owner : old_owner);
	if (find(all, svc))
		um_queue_add(all->queue, svc);
}

static void on_endpoints(void *arg, const struct um_store_event *ev)
{
	struct um_endpoints *all = arg;
	const char *key = ev->key + strlen(all->endpoints_prefix);

	if (find(all, key))
		um_queue_add(all->queue, key);
}

static int follow(struct um_endpoints *e, struct um_error *err)
{
	struct um_ctl *c = e->ctl;
	int64_t rev = um_store_rev(c->durable);
	int r = um_queue_new(c->loop, on_look, e, &e->queue, err);

	if (r == 0)
		r = um_owned_new(c->durable, e->slice_kind, "Service", on_slice, e, &e->slices,
				 err);
	if (r == 0)
		r = um_podset_subscribe(c->pods, on_pod, e);
	if (r == 0)
		r = um_store_watch_new(c->durable, e->service_prefix, rev, on_service, e,
				       &e->service_watch, err);
	if (r == 0)
		r = um_store_watch_new(c->durable, e->endpoints_prefix, rev, on_endpoints, e,
				       &e->endpoints_watch, err);
	if (r == 0)
		um_store_list(c->durable, e->service_prefix, NULL, on_existing, e);
	return r;
}

int um_endpoints_new(struct um_ctl *c, struct um_endpoints **ret, struct um_error *err)
{
	struct um_endpoints *e = calloc(1, sizeof(*e));
	int r = 0;

	if (!e)
		return um_error_set(err, -ENOMEM, "endpoints: out of memory");
	e->ctl = c;
	e->services = um_schema_find_resource("", "v1", "services");
	e->endpoints = um_schema_find_resource("", "v1", "endpoints");
	e->pods = um_schema_find_resource("", "v1", "pods");
	e->slice_kind = um_schema_find_resource("discovery.k8s.io", "v1", "endpointslices");
	if (!e->services || !e->endpoints || !e->slice_kind || !e->pods)
		r = um_error_set(err, -EINVAL, "the schema has no services");
	if (r == 0)
		r = um_object_key(e->service_prefix, e->services, NULL, NULL);
	if (r == 0)
		r = um_object_key(e->endpoints_prefix, e->endpoints, NULL, NULL);
	if (r == 0)
		r = follow(e, err);
	if (r < 0) {
		um_endpoints_free(e);
		return r;
	}
	*ret = e;
	return 0;
}

void um_endpoints_free(struct um_endpoints *e)
{
	struct svc *s, *tmp;

	if (!e)
		return;
	um_store_watch_free(e->service_watch);
	um_store_watch_free(e->endpoints_watch);
	um_owned_free(e->slices);
	HASH_ITER (hh, e->svcs, s, tmp)
		svc_free(e, s);
	um_queue_free(e->queue);
	free(e);
}
