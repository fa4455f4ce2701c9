#include "control/serviceaccount.h"

#include <string.h>

#include "api/object.h"
#include "api/server.h"
#include "control/ctl.h"
#include "control/queue.h"
#include "store/store.h"

#define ACCOUNT "default"
#define CA_MAP "kube-root-ca.crt"
#define CA_KEY "ca.crt"
#define CA_ABOUT                                                                                   \
	"The certificates by which pods know this cluster's API server; good for nothing else."

/* The queue's keys are names of namespaces. */
struct um_serviceaccounts {
	struct um_ctl *ctl;
	struct um_queue *queue;
	const struct um_kind *namespaces, *accounts, *maps;
	struct um_store_watch *ns_watch, *account_watch, *map_watch;
	char *ca; /* owned; NULL: none */
	char ns_prefix[UM_OBJECT_KEY_MAX], account_prefix[UM_OBJECT_KEY_MAX],
		map_prefix[UM_OBJECT_KEY_MAX];
};

static struct um_json *new_object(struct um_arena *a, const char *ns, const char *name)
{
	struct um_json *obj = um_json_new_obj(a), *meta = um_json_ensure_obj(a, obj, "metadata");

	um_json_set_str(a, meta, "name", name);
	um_json_set_str(a, meta, "namespace", ns);
	return obj;
}

static int make(struct um_serviceaccounts *s, const struct um_kind *kind, const char *ns,
		struct um_json *obj, struct um_arena *a)
{
	int r = um_arena_failed(a) ? -ENOMEM
				   : um_ctl_create(s->ctl, s->queue, ns, kind, obj, a, NULL);

	/* Somebody was faster; or the namespace is going away after all. */
	return r == -EEXIST || r == -EPERM || r == -ENOENT ? 0 : r;
}

static int ensure_account(struct um_serviceaccounts *s, const char *ns, struct um_arena *a)
{
	struct um_store_kv kv;
	char key[UM_OBJECT_KEY_MAX];

	if (um_object_key(key, s->accounts, ns, ACCOUNT) < 0 ||
	    um_store_get_tentative(s->ctl->durable, key, &kv) == 0)
		return 0;
	return make(s, s->accounts, ns, new_object(a, ns, ACCOUNT), a);
}

static int ensure_map(struct um_serviceaccounts *s, const char *ns, struct um_arena *a)
{
	struct um_json *old = NULL, *obj, *data;
	int64_t rev;
	int r;

	if (!s->ca)
		return 0;
	r = um_api_load(s->ctl->api, s->maps, ns, CA_MAP, a, &old, &rev);
	if (r < 0 && r != -ENOENT)
		return r;
	obj = old ? um_json_copy(a, old) : new_object(a, ns, CA_MAP);
	if (!old)
		um_json_set_str(a,
				um_json_ensure_obj(a, um_json_get(obj, "metadata"), "annotations"),
				"kubernetes.io/description", CA_ABOUT);
	data = um_json_new_obj(a);
	um_json_set_str(a, data, CA_KEY, s->ca);
	um_json_set(a, obj, "data", data);
	if (um_arena_failed(a))
		return -ENOMEM;
	if (!old)
		return make(s, s->maps, ns, obj, a);
	r = um_ctl_update(s->ctl, s->queue, ns, s->maps, obj, old, rev, a, NULL);
	if (r != -EINVAL)
		return r < 0 ? r : 0;
	/* Made immutable by somebody: another takes its place. */
	return um_api_remove(s->ctl->api, s->maps, ns, CA_MAP, NULL, NULL) < 0 ? -EAGAIN : 0;
}

static int64_t on_look(void *arg, const char *ns)
{
	struct um_serviceaccounts *s = arg;
	_cleanup_arena_ struct um_arena *a = um_arena_new(UM_OBJECT_ARENA_MAX);
	struct um_json *obj = NULL;
	int64_t rev;
	int r = a ? um_api_load(s->ctl->api, s->namespaces, NULL, ns, a, &obj, &rev) : -ENOMEM;

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (um_json_path(obj, "metadata.deletionTimestamp"))
		return 0;
	r = ensure_account(s, ns, a);
	return r < 0 ? r : ensure_map(s, ns, a);
}

/* ---- who wants a look ---- */

static void on_namespace(void *arg, const struct um_store_event *ev)
{
	struct um_serviceaccounts *s = arg;

	if (ev->value)
		um_queue_add(s->queue, ev->key + strlen(s->ns_prefix));
}

static bool on_existing(void *arg, const struct um_store_kv *kv)
{
	struct um_serviceaccounts *s = arg;

	um_queue_add(s->queue, kv->key + strlen(s->ns_prefix));
	return true;
}

static void wake(struct um_serviceaccounts *s, const char *key, const char *name)
{
	struct um_ctl_name n;

	if (um_ctl_split(key, &n) && !strcmp(n.name, name))
		um_queue_add(s->queue, n.ns);
}

static void on_account(void *arg, const struct um_store_event *ev)
{
	struct um_serviceaccounts *s = arg;

	if (!ev->value)
		wake(s, ev->key + strlen(s->account_prefix), ACCOUNT);
}

static void on_map(void *arg, const struct um_store_event *ev)
{
	struct um_serviceaccounts *s = arg;

	wake(s, ev->key + strlen(s->map_prefix), CA_MAP);
}

int um_serviceaccounts_set_ca(struct um_serviceaccounts *s, const char *ca_pem)
{
	char *ca = ca_pem ? strdup(ca_pem) : NULL;

	if (ca_pem && !ca)
		return -ENOMEM;
	free(s->ca);
	s->ca = ca;
	um_store_list(s->ctl->durable, s->ns_prefix, NULL, on_existing, s);
	return 0;
}

static int follow(struct um_serviceaccounts *s, struct um_error *err)
{
	const struct {
		const struct um_kind **kind;
		const char *plural;
		char *prefix;
		um_store_watch_fn fn;
		struct um_store_watch **watch;
	} all[] = {
		{&s->namespaces, "namespaces", s->ns_prefix, on_namespace, &s->ns_watch},
		{&s->accounts, "serviceaccounts", s->account_prefix, on_account, &s->account_watch},
		{&s->maps, "configmaps", s->map_prefix, on_map, &s->map_watch},
	};
	int r = um_queue_new(s->ctl->loop, on_look, s, &s->queue, err);

	for (size_t i = 0; i < UM_ARRAY_LEN(all) && r == 0; i++) {
		*all[i].kind = um_schema_find_resource("", "v1", all[i].plural);
		r = *all[i].kind
			    ? um_object_key(all[i].prefix, *all[i].kind, NULL, NULL)
			    : um_error_set(err, -EINVAL, "the schema has no %s", all[i].plural);
		if (r == 0)
			r = um_store_watch_new(s->ctl->durable, all[i].prefix,
					       um_store_rev(s->ctl->durable), all[i].fn, s,
					       all[i].watch, err);
	}
	return r;
}

int um_serviceaccounts_new(struct um_ctl *c, const char *ca_pem, struct um_serviceaccounts **ret,
			   struct um_error *err)
{
	struct um_serviceaccounts *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return um_error_set(err, -ENOMEM, "service accounts: out of memory");
	s->ctl = c;
	r = follow(s, err);
	if (r == 0 && um_serviceaccounts_set_ca(s, ca_pem) < 0)
		r = um_error_set(err, -ENOMEM, "service accounts: out of memory");
	if (r < 0) {
		um_serviceaccounts_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void um_serviceaccounts_free(struct um_serviceaccounts *s)
{
	if (!s)
		return;
	um_store_watch_free(s->ns_watch);
	um_store_watch_free(s->account_watch);
	um_store_watch_free(s->map_watch);
	um_queue_free(s->queue);
	free(s->ca);
	free(s);
}
