/* Parameters that several handlers read. */
#include <string.h>
#include <strings.h>

#include "api/internal.h"
#include "base/num.h"

bool um_query_bool(const struct um_areq *rq, const char *key)
{
	const char *v = um_http_query(rq->http, key);

	return v && (!*v || !strcmp(v, "1") || !strcasecmp(v, "true") || !strcasecmp(v, "t"));
}

int um_query_i64(const struct um_areq *rq, const char *key, int64_t *ret)
{
	const char *v = um_http_query(rq->http, key);

	if (!v || !*v)
		return 0;
	return um_num_i64(v, 0, INT64_MAX, ret) < 0 ? -EINVAL : 0;
}

bool um_query_write_opts(struct um_areq *rq)
{
	const char *v = um_http_query(rq->http, "fieldValidation"), *d;

	rq->wo.strict = UM_STRICT_WARN;
	rq->wo.manager = um_http_query(rq->http, "fieldManager");
	if (v && !strcmp(v, "Strict")) {
		rq->wo.strict = UM_STRICT_STRICT;
	} else if (v && !strcmp(v, "Ignore")) {
		rq->wo.strict = UM_STRICT_IGNORE;
	} else if (v && *v && strcmp(v, "Warn")) {
		um_answer_bad_request(rq,
				      "fieldValidation: Unsupported value: \"%s\": supported "
				      "values: \"Ignore\", \"Strict\", \"Warn\"",
				      v);
		return false;
	}
	for (unsigned i = 0; (d = um_http_query_nth(rq->http, "dryRun", i)); i++) {
		if (strcmp(d, "All")) {
			um_answer_bad_request(rq,
					      "dryRun: Unsupported value: \"%s\": supported "
					      "values: \"All\"",
					      d);
			return false;
		}
		rq->wo.dry_run = true;
	}
	return true;
}

int um_body_encoding(const struct um_areq *rq)
{
	static const struct {
		const char *type;
		enum um_encoding enc;
	} types[] = {
		{"application/json", UM_ENC_JSON},
		{"application/yaml", UM_ENC_YAML},
		{"application/vnd.kubernetes.protobuf", UM_ENC_PROTOBUF},
	};
	const char *v = um_http_header(rq->http, "content-type");
	size_t n;

	if (!v || !*v)
		return UM_ENC_JSON;
	n = strcspn(v, "; \t");
	for (size_t i = 0; i < UM_ARRAY_LEN(types); i++)
		if (strlen(types[i].type) == n && !strncasecmp(v, types[i].type, n))
			return (int)types[i].enc;
	return -1;
}
