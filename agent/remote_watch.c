/* One kind of object from the server, kept up to date: a list, then a watch from where it was, for
 * ever. What went away while nobody watched is found by the next list. */
#include <string.h>

#include "agent/remote_internal.h"
#include "wire/loop.h"

#define RETRY_FIRST_NS (200 * UM_NSEC_PER_MSEC)
#define RETRY_MOST_NS (10 * UM_NSEC_PER_SEC)
#define WATCH_SECONDS 300
#define LINE_MAX_BYTES (8u << 20)

struct remote_watch {
	struct um_remote *r;
	const struct remote_watch_events *ev;
	void *arg;
	struct um_http_call *call;
	struct um_timer *timer;
	int64_t retry_ns;
	char rev[32];
	bool listing;
	char target[]; /* "/api/v1/pods?fieldSelector=...&" */
};

static void retry(struct remote_watch *w)
{
	if (w->r->closing)
		return;
	w->retry_ns = w->retry_ns ? w->retry_ns * 2 : RETRY_FIRST_NS;
	if (w->retry_ns > RETRY_MOST_NS)
		w->retry_ns = RETRY_MOST_NS;
	um_timer_start(w->timer, w->retry_ns);
}

static void on_line(void *arg, const char *line, size_t len)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(LINE_MAX_BYTES * 4);
	struct remote_watch *w = arg;
	struct um_json *ev, *obj;
	const char *type;

	if (!a || um_json_parse(a, line, len, NULL, &ev, NULL) < 0) {
		w->rev[0] = '\0'; /* what it said is lost: all from the start */
		return;
	}
	type = um_json_get_str(ev, "type", "");
	obj = um_json_get(ev, "object");
	if (!strcmp(type, "ERROR")) { /* compacted, most likely */
		w->rev[0] = '\0';
		return;
	}
	snprintf(w->rev, sizeof(w->rev), "%s",
		 um_json_get_str(obj, "metadata.resourceVersion", w->rev));
	if (!strcmp(type, "DELETED"))
		w->ev->gone(w->arg, obj);
	else if (!strcmp(type, "ADDED") || !strcmp(type, "MODIFIED"))
		w->ev->put(w->arg, obj);
}

static void on_watch_head(void *arg, um_unused const struct um_http1_head *head)
{
	((struct remote_watch *)arg)->retry_ns = 0;
}

static void on_watch_done(void *arg, const struct um_http_result *res)
{
	struct remote_watch *w = arg;

	w->call = NULL;
	if (res->status == 410)
		w->rev[0] = '\0';
	retry(w);
}

static void start_watch(struct remote_watch *w)
{
	struct um_http_call_opts o = {
		.method = "GET",
		.close = true,
		.line_max = LINE_MAX_BYTES,
		.on_head = on_watch_head,
		.on_line = on_line,
		.on_done = on_watch_done,
		.idle_timeout_ns = (WATCH_SECONDS + 30) * UM_NSEC_PER_SEC,
		.arg = w,
	};
	char target[700];

	snprintf(target, sizeof(target),
		 "%swatch=true&allowWatchBookmarks=true&timeoutSeconds=%d&resourceVersion=%s",
		 w->target, WATCH_SECONDS, w->rev);
	o.target = target;
	if (um_http_call_start(w->r->client, &o, &w->call, NULL) < 0)
		retry(w);
}

/* Not called once the watch is freed: that is only done when all calls are cancelled. */
static void on_listed(void *arg, um_unused int status, const struct um_json *obj,
		      const struct um_error *err)
{
	struct remote_watch *w = arg;
	const struct um_json *items = um_json_get(obj, "items");

	w->listing = false;
	if (err || !um_json_is(items, UM_JSON_ARR)) {
		retry(w);
		return;
	}
	w->retry_ns = 0;
	snprintf(w->rev, sizeof(w->rev), "%s",
		 um_json_get_str(obj, "metadata.resourceVersion", ""));
	um_json_foreach (it, items)
		w->ev->put(w->arg, it);
	w->ev->listed(w->arg, items);
	start_watch(w);
}

static void on_timer(void *arg)
{
	struct remote_watch *w = arg;

	if (w->rev[0]) {
		start_watch(w);
		return;
	}
	w->listing = true;
	if (remote_call(w->r, "GET", w->target, NULL, NULL, on_listed, w) < 0) {
		w->listing = false;
		retry(w);
	}
}

struct remote_watch *remote_watch_new(struct um_remote *r, const char *path,
				      const char *field_selector,
				      const struct remote_watch_events *ev, void *arg)
{
	size_t size = strlen(path) + strlen(field_selector) + sizeof("?fieldSelector=&");
	struct remote_watch *w = calloc(1, sizeof(*w) + size);

	if (!w)
		return NULL;
	w->r = r;
	w->ev = ev;
	w->arg = arg;
	snprintf(w->target, size, *field_selector ? "%s?fieldSelector=%s&" : "%s?", path,
		 field_selector);
	w->timer = um_timer_new(r->loop, on_timer, w);
	if (!w->timer) {
		free(w);
		return NULL;
	}
	um_timer_start(w->timer, 0);
	return w;
}

void remote_watch_stop(struct remote_watch *w)
{
	if (w)
		um_http_call_cancel(TAKE_PTR(w->call));
}

void remote_watch_free(struct remote_watch *w)
{
	if (!w)
		return;
	remote_watch_stop(w);
	um_timer_free(w->timer);
	free(w);
}
