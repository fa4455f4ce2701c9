/* Fixed pages: health, version, OpenAPI, paths, the keys of tokens. */
#include <string.h>
#include <sys/utsname.h>

#include "api/internal.h"
#include "api/token.h"

static void health_text(struct um_areq *rq, struct um_buf *b, bool ready_page, bool ok)
{
	bool verbose = um_query_bool(rq, "verbose") || !ok;

	if (!verbose) {
		um_buf_adds(b, "ok");
		return;
	}
	um_buf_adds(b, "[+]ping ok\n");
	um_buf_adds(b, "[+]store ok\n");
	if (ready_page)
		um_buf_addf(b, "%s\n",
			    ok ? "[+]namespaces ok" : "[-]namespaces failed: not there yet");
	um_buf_addf(b, "%s check %s\n", ready_page ? "readyz" : "healthz",
		    ok ? "passed" : "failed");
}

void um_handle_health(struct um_areq *rq)
{
	bool ready_page = !strncmp(um_http_path(rq->http), "/readyz", 7);
	bool ok = !ready_page || um_api_ready(rq->api);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(4096);

	if (*rq->rt.rest && strcmp(rq->rt.rest, "ping") && strcmp(rq->rt.rest, "store")) {
		um_answer_text(rq, 404, "text/plain; charset=utf-8", "404 page not found\n", 19);
		return;
	}
	health_text(rq, &b, ready_page, ok);
	um_answer_text(rq, ok ? 200 : 500, "text/plain; charset=utf-8", b.data, b.len);
}

void um_handle_version(struct um_areq *rq)
{
	struct um_arena *a = rq->arena;
	struct um_json *o = um_json_new_obj(a);
	struct utsname u;

	um_json_set_str(a, o, "major", "1");
	um_json_set_str(a, o, "minor", "33");
	um_json_set_str(a, o, "gitVersion", UM_API_GIT_VERSION);
	um_json_set_str(a, o, "gitCommit", "");
	um_json_set_str(a, o, "gitTreeState", "clean");
	um_json_set_str(a, o, "buildDate", "1970-01-01T00:00:00Z");
	um_json_set_str(a, o, "goVersion", "none");
	um_json_set_str(a, o, "compiler", "gcc");
	if (uname(&u) == 0)
		um_json_set_str(a, o, "platform",
				um_arena_printf(a, "linux/%s",
						!strcmp(u.machine, "x86_64")	? "amd64"
						: !strcmp(u.machine, "aarch64") ? "arm64"
										: u.machine));
	um_answer_json(rq, 200, o);
}

static void openapi_v3(struct um_areq *rq)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(16 << 20);
	const char *rest = rq->rt.rest;
	char group[256] = "", version[64] = "";
	int r = -ENOENT;

	if (!*rest)
		r = um_schema_openapi_v3_index(&b);
	else if (sscanf(rest, "api/%63[^/]", version) == 1 ||
		 sscanf(rest, "apis/%255[^/]/%63[^/]", group, version) == 2)
		r = um_schema_openapi_v3(group, version, &b);
	if (r == -ENOENT)
		um_answer_status(rq, &(struct um_status){.code = 404,
							 .reason = "NotFound",
							 .message = "the server could not find the "
								    "requested resource"});
	else if (r < 0)
		um_answer_no_memory(rq);
	else
		um_answer_text(rq, 200, "application/json", b.data, b.len);
}

static void openapi_v2(struct um_areq *rq)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);

	if (um_schema_openapi_v2(&b) < 0)
		um_answer_no_memory(rq);
	else
		um_answer_text(rq, 200,
			       "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", b.data,
			       b.len);
}

void um_handle_openapi(struct um_areq *rq)
{
	if (!strncmp(um_http_path(rq->http), "/openapi/v3", 11))
		openapi_v3(rq);
	else
		openapi_v2(rq);
}

/* Where everything is. */
void um_handle_paths(struct um_areq *rq)
{
	struct um_arena *a = rq->arena;
	struct um_json *o = um_json_new_obj(a), *list = um_json_ensure_arr(a, o, "paths");
	size_t n;
	const struct um_kind *const *kinds = um_schema_kinds(&n);

	um_route_pages(list, a);
	for (size_t i = 0; i < n; i++) {
		const char *path =
			um_arena_printf(a, "/apis/%s/%s", kinds[i]->group, kinds[i]->version);
		bool known = !*kinds[i]->group;

		um_json_foreach (it, list)
			known |= path && um_json_streq(it, path);
		if (!known && path)
			um_json_append(list, um_json_new_str(a, path));
	}
	um_answer_json(rq, 200, um_arena_failed(a) ? NULL : o);
}

/* ---- who signs tokens, for those who verify them themselves (OpenID Connect Discovery 1.0) ----
 */

static void put_word(struct um_arena *a, struct um_json *o, const char *key, const char *word)
{
	um_json_append(um_json_ensure_arr(a, o, key), um_json_new_str(a, word));
}

void um_handle_issuer(struct um_areq *rq)
{
	struct um_arena *a = rq->arena;
	struct um_json *o = um_json_new_obj(a);

	um_json_set_str(a, o, "issuer", UM_TOKEN_ISSUER);
	um_json_set_str(a, o, "jwks_uri", UM_TOKEN_ISSUER "/openid/v1/jwks");
	put_word(a, o, "response_types_supported", "id_token");
	put_word(a, o, "subject_types_supported", "public");
	put_word(a, o, "id_token_signing_alg_values_supported", "ES256");
	um_answer_json(rq, 200, um_arena_failed(a) ? NULL : o);
}

void um_handle_jwks(struct um_areq *rq)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(4096);
	struct um_json *o = um_json_new_obj(rq->arena), *key;

	key = um_token_public(rq->api->o.tokens, rq->arena);
	um_json_append(um_json_ensure_arr(rq->arena, o, "keys"), key);
	if (!key || um_arena_failed(rq->arena) || um_json_write(&b, o) < 0)
		um_answer_no_memory(rq);
	else
		um_answer_text(rq, 200, "application/jwk-set+json", b.data, b.len);
}
