/* Tells nodes which configmaps and secrets have changed that their pods name: a line on the control
 * channel for each, no watch. Who is concerned is found in the pods as they are stored, so that
 * nothing has to be remembered; a namespace with many pods is looked through in slices. */
#include <string.h>

#include "api/internal.h"
#include "base/log.h"

#define SLICE 200 /* pods before the loop gets its turn */

struct change {
	TAILQ_ENTRY(change) all;
	const struct um_kind *kind;
	char *ns, *name;
	char *told;		       /* nodes that know, each behind a line break */
	char after[UM_OBJECT_KEY_MAX]; /* the last pod seen; "": none */
	unsigned seen;		       /* in this turn */
};

struct source {
	struct um_node_changes *c;
	const struct um_kind *kind;
	struct um_store_watch *watch;
	char prefix[UM_OBJECT_KEY_MAX];
};

struct um_node_changes {
	struct um_api *api;
	struct source sources[2];
	struct um_timer *turn;
	TAILQ_HEAD(, change) queue;
};

static void change_free(struct um_node_changes *c, struct change *ch)
{
	TAILQ_REMOVE(&c->queue, ch, all);
	free(ch->ns);
	free(ch->name);
	free(ch->told);
	free(ch);
}

static void lost(const char *name)
{
	um_log(UM_LOG_ERROR, "nodes are not told of a change: out of memory",
	       UM_LOG_STR("object", name));
}

/* ---- whom it concerns ---- */

static bool is_told(const struct change *ch, const char *node)
{
	size_t n = strlen(node);

	for (const char *s = ch->told; s && (s = strchr(s, '\n')); s++)
		if (!strncmp(s + 1, node, n) && (s[1 + n] == '\n' || !s[1 + n]))
			return true;
	return false;
}

static void tell(struct um_node_changes *c, struct change *ch, const char *node, struct um_arena *a)
{
	struct um_json *msg = um_json_new_obj(a);
	char *told = NULL;

	um_json_set_str(a, msg, "type", "changed");
	um_json_set_str(a, msg, "resource", ch->kind->plural);
	um_json_set_str(a, msg, "namespace", ch->ns);
	um_json_set_str(a, msg, "name", ch->name);
	if (!um_arena_failed(a))
		um_node_tell(c->api, node, msg);
	if (asprintf(&told, "%s\n%s", ch->told ? ch->told : "", node) < 0)
		return; /* then it is told twice */
	free(ch->told);
	ch->told = told;
}

static void look_at(struct um_node_changes *c, struct change *ch, const struct um_store_kv *kv)
{
	_cleanup_arena_ struct um_arena *a = NULL;
	char quoted[300];
	struct um_json *pod;
	const char *node;

	snprintf(quoted, sizeof(quoted), "\"%.253s\"", ch->name);
	if (!strstr(kv->value->data, quoted)) /* most do not name it */
		return;
	a = um_arena_new(UM_OBJECT_ARENA_MAX);
	pod = a ? um_object_parse(kv->value, 0, a) : NULL;
	node = um_json_get_str(pod, "spec.nodeName", "");
	if (!pod)
		lost(ch->name);
	else if (*node && um_pod_refers(pod, ch->kind->kind, ch->name) && !is_told(ch, node))
		tell(c, ch, node, a);
}

static bool on_pod(void *arg, const struct um_store_kv *kv)
{
	struct um_node_changes *c = arg;
	struct change *ch = TAILQ_FIRST(&c->queue);

	look_at(c, ch, kv);
	snprintf(ch->after, sizeof(ch->after), "%s", kv->key);
	return ++ch->seen < SLICE;
}

static void on_turn(void *arg)
{
	const struct um_kind *pods = um_schema_find_resource("", "v1", "pods");
	struct um_node_changes *c = arg;
	struct change *ch = TAILQ_FIRST(&c->queue);
	char prefix[UM_OBJECT_KEY_MAX];

	if (!ch)
		return;
	ch->seen = 0;
	if (pods && um_object_key(prefix, pods, ch->ns, NULL) == 0)
		um_store_list(um_api_store(c->api, pods), prefix, *ch->after ? ch->after : NULL,
			      on_pod, c);
	if (ch->seen < SLICE)
		change_free(c, ch);
	if (!TAILQ_EMPTY(&c->queue))
		um_timer_start(c->turn, 0);
}

/* ---- what has changed ---- */

static struct change *find(struct um_node_changes *c, const struct um_kind *kind, const char *ns,
			   size_t ns_len, const char *name)
{
	struct change *ch;

	TAILQ_FOREACH (ch, &c->queue, all)
		if (ch->kind == kind && !strcmp(ch->name, name) && strlen(ch->ns) == ns_len &&
		    !strncmp(ch->ns, ns, ns_len) && !*ch->after)
			return ch;
	return NULL;
}

static void on_event(void *arg, const struct um_store_event *ev)
{
	struct source *s = arg;
	struct um_node_changes *c = s->c;
	const char *ns = ev->key + strlen(s->prefix), *slash = strchr(ns, '/');
	struct change *ch;

	if (!slash || TAILQ_EMPTY(&c->api->nodes) ||
	    find(c, s->kind, ns, (size_t)(slash - ns), slash + 1))
		return;
	ch = calloc(1, sizeof(*ch));
	if (ch) {
		ch->kind = s->kind;
		ch->ns = strndup(ns, (size_t)(slash - ns));
		ch->name = strdup(slash + 1);
		TAILQ_INSERT_TAIL(&c->queue, ch, all);
	}
	if (!ch || !ch->ns || !ch->name) {
		lost(slash + 1);
		if (ch)
			change_free(c, ch);
		return;
	}
	if (!um_timer_running(c->turn))
		um_timer_start(c->turn, 0);
}

/* ---- life ---- */

static int follow(struct source *s, struct um_error *err)
{
	struct um_store *store = um_api_store(s->c->api, s->kind);
	int r = um_object_key(s->prefix, s->kind, NULL, NULL);

	if (r < 0)
		return um_error_errno(err, r, "follow %s", s->kind->plural);
	return um_store_watch_new(store, s->prefix, um_store_rev(store), on_event, s, &s->watch,
				  err);
}

int um_node_changes_new(struct um_api *api, struct um_node_changes **ret, struct um_error *err)
{
	static const char *const plurals[] = {"configmaps", "secrets"};
	struct um_node_changes *c = calloc(1, sizeof(*c));
	int r = 0;

	if (!c)
		return um_error_set(err, -ENOMEM, "tell nodes of changes: out of memory");
	c->api = api;
	TAILQ_INIT(&c->queue);
	c->turn = um_timer_new(api->loop, on_turn, c);
	if (!c->turn)
		r = um_error_set(err, -ENOMEM, "tell nodes of changes: out of memory");
	for (size_t i = 0; i < UM_ARRAY_LEN(plurals) && r == 0; i++) {
		c->sources[i].c = c;
		c->sources[i].kind = um_schema_find_resource("", "v1", plurals[i]);
		if (c->sources[i].kind)
			r = follow(&c->sources[i], err);
	}
	if (r < 0)
		um_node_changes_free(c);
	else
		*ret = c;
	return r;
}

void um_node_changes_free(struct um_node_changes *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < UM_ARRAY_LEN(c->sources); i++)
		um_store_watch_free(c->sources[i].watch);
	um_timer_free(c->turn);
	while (!TAILQ_EMPTY(&c->queue))
		change_free(c, TAILQ_FIRST(&c->queue));
	free(c);
}
