/* What pods name, from the server: configmaps, secrets and tokens. */
#include "agent/remote_internal.h"

#include <string.h>

struct fetch {
	void (*done)(void *arg, const struct um_json *obj, const struct um_error *err);
	void *arg;
};

static void on_fetched(void *arg, um_unused int status, const struct um_json *obj,
		       const struct um_error *err)
{
	struct fetch *f = arg;

	f->done(f->arg, err ? NULL : obj, err);
	free(f);
}

void remote_fetch(void *ctx, const char *plural, const char *ns, const char *name,
		  void (*done)(void *arg, const struct um_json *obj, const struct um_error *err),
		  void *arg)
{
	struct um_error err = UM_ERROR_INIT;
	struct fetch *f = calloc(1, sizeof(*f));
	char target[800];

	snprintf(target, sizeof(target), "/api/v1/namespaces/%s/%s/%s", ns, plural, name);
	if (f) {
		*f = (struct fetch){done, arg};
		if (remote_call(ctx, "GET", target, NULL, NULL, on_fetched, f) == 0)
			return;
		free(f);
	}
	um_error_set(&err, -ENOMEM, "out of memory");
	done(arg, NULL, &err);
}

/* ---- tokens ---- */

static struct um_json *token_request(struct um_arena *a, const struct um_json *pod,
				     const char *audience, int64_t seconds)
{
	struct um_json *o = um_json_new_obj(a), *spec, *ref;

	um_json_set_str(a, o, "apiVersion", "authentication.k8s.io/v1");
	um_json_set_str(a, o, "kind", "TokenRequest");
	spec = um_json_ensure_obj(a, o, "spec");
	um_json_set_i64(a, spec, "expirationSeconds", seconds);
	if (*audience)
		um_json_append(um_json_ensure_arr(a, spec, "audiences"),
			       um_json_new_str(a, audience));
	ref = um_json_ensure_obj(a, spec, "boundObjectRef");
	um_json_set_str(a, ref, "kind", "Pod");
	um_json_set_str(a, ref, "apiVersion", "v1");
	um_json_set_str(a, ref, "name", um_json_get_str(pod, "metadata.name", ""));
	um_json_set_str(a, ref, "uid", um_json_get_str(pod, "metadata.uid", ""));
	return o;
}

void remote_token(void *ctx, const struct um_json *pod, const char *audience, int64_t seconds,
		  void (*done)(void *arg, const struct um_json *obj, const struct um_error *err),
		  void *arg)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	struct um_json *body = a ? token_request(a, pod, audience, seconds) : NULL;
	struct fetch *f = body && !um_arena_failed(a) ? calloc(1, sizeof(*f)) : NULL;
	struct um_error err = UM_ERROR_INIT;
	char target[800];

	snprintf(target, sizeof(target), "/api/v1/namespaces/%s/serviceaccounts/%s/token",
		 um_json_get_str(pod, "metadata.namespace", ""),
		 um_json_get_str(pod, "spec.serviceAccountName", "default"));
	if (f) {
		*f = (struct fetch){done, arg};
		if (remote_call(ctx, "POST", target, "application/json", body, on_fetched, f) == 0)
			return;
		free(f);
	}
	um_error_set(&err, -ENOMEM, "out of memory");
	done(arg, NULL, &err);
}
