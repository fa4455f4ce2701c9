/* OpenAPI v2 for clients that know no v3 (kubectl before 1.27). They ask it one thing: whether a
 * PATCH of a kind knows dryRun, fieldValidation and so on. So this is all that the document says;
 * in protobuf, whose field numbers are those of gnostic's openapiv2/OpenAPIv2.proto. */
#include <string.h>

#include "api/schema/openapi.h"

enum {
	DOCUMENT_SWAGGER = 1,
	DOCUMENT_INFO = 2,
	DOCUMENT_PATHS = 8,
	INFO_TITLE = 1,
	INFO_VERSION = 2,
	PATHS_PATH = 2,
	NAMED_NAME = 1,
	NAMED_VALUE = 2,
	ITEM_PATCH = 8,
	OPERATION_PARAMETERS = 8,
	OPERATION_EXTENSION = 13,
	PARAMETERS_PARAMETER = 1,
	PARAMETER_NON_BODY = 2,
	NON_BODY_QUERY = 3,
	QUERY_IN = 2,
	QUERY_NAME = 4,
	QUERY_TYPE = 6,
	ANY_YAML = 2,
	MESSAGE_MAX = 64 << 10, /* of one path */
};

static void put_number(struct um_buf *b, uint64_t n)
{
	for (; n >= 0x80; n >>= 7)
		um_buf_addc(b, (char)(n | 0x80));
	um_buf_addc(b, (char)n);
}

static void put_data(struct um_buf *b, unsigned field, const void *data, size_t len)
{
	put_number(b, (uint64_t)field << 3 | 2);
	put_number(b, len);
	um_buf_add(b, data, len);
}

static void put_text(struct um_buf *b, unsigned field, const char *s)
{
	put_data(b, field, s, strlen(s));
}

/* What is in @inner becomes a message of one field, @field. */
static void wrap(struct um_buf *inner, unsigned field)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(MESSAGE_MAX);

	put_data(&b, field, inner->data, inner->len);
	um_buf_clear(inner);
	um_buf_add(inner, b.data, b.len);
	if (um_buf_error(&b) < 0)
		inner->failed = um_buf_error(&b);
}

static void put_parameter(struct um_buf *operation, const char *name)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(MESSAGE_MAX);

	put_text(&b, QUERY_IN, "query");
	put_text(&b, QUERY_NAME, name);
	put_text(&b, QUERY_TYPE, "string");
	wrap(&b, NON_BODY_QUERY);
	wrap(&b, PARAMETER_NON_BODY);
	wrap(&b, PARAMETERS_PARAMETER);
	put_data(operation, OPERATION_PARAMETERS, b.data, b.len);
}

static void put_kind(struct um_buf *operation, const struct um_kind *k)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(MESSAGE_MAX), any = UM_BUF_INIT(MESSAGE_MAX);

	um_buf_addf(&any, "group: \"%s\"\nkind: %s\nversion: %s\n", k->group, k->kind, k->version);
	wrap(&any, ANY_YAML);
	put_text(&b, NAMED_NAME, "x-kubernetes-group-version-kind");
	put_data(&b, NAMED_VALUE, any.data, any.len);
	put_data(operation, OPERATION_EXTENSION, b.data, b.len);
}

static int put_path(struct um_buf *paths, const struct um_kind *k)
{
	static const char *const parameters[] = {"dryRun", "fieldManager", "fieldValidation",
						 "force"};
	_cleanup_buf_ struct um_buf op = UM_BUF_INIT(MESSAGE_MAX), named = UM_BUF_INIT(MESSAGE_MAX);
	char prefix[200], path[400];

	um_so_prefix(k, prefix, sizeof(prefix));
	snprintf(path, sizeof(path), "%s%s/%s/{name}", prefix,
		 k->namespaced ? "/namespaces/{namespace}" : "", k->plural);
	for (size_t i = 0; i < UM_ARRAY_LEN(parameters); i++)
		put_parameter(&op, parameters[i]);
	put_kind(&op, k);
	wrap(&op, ITEM_PATCH);
	put_text(&named, NAMED_NAME, path);
	put_data(&named, NAMED_VALUE, op.data, op.len);
	put_data(paths, PATHS_PATH, named.data, named.len);
	return um_buf_error(&op) < 0 ? um_buf_error(&op) : um_buf_error(&named);
}

int um_schema_openapi_v2(struct um_buf *b)
{
	_cleanup_buf_ struct um_buf info = UM_BUF_INIT(MESSAGE_MAX), paths = UM_BUF_INIT(1 << 20);
	int r = 0;

	put_text(b, DOCUMENT_SWAGGER, "2.0");
	put_text(&info, INFO_TITLE, "Kubernetes");
	put_text(&info, INFO_VERSION, "v1.33.0");
	put_data(b, DOCUMENT_INFO, info.data, info.len);
	for (unsigned i = 0; i < um_schema_builtin_n_kinds && r == 0; i++)
		if (!um_schema_builtin_kinds[i]->is_virtual)
			r = put_path(&paths, um_schema_builtin_kinds[i]);
	put_data(b, DOCUMENT_PATHS, paths.data, paths.len);
	if (r == 0)
		r = um_buf_error(&paths) < 0 ? um_buf_error(&paths) : um_buf_error(b);
	return r;
}
