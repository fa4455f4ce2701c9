/* What happens to every body: decode, default, validate; then what must hold afterwards. */
#ifndef UM_TESTS_SCHEMA_PIPELINE_H
#define UM_TESTS_SCHEMA_PIPELINE_H

#include <stdlib.h>

#include "api/schema/schema.h"

/* Written, read and defaulted again, an object must come out the same; with the same causes. */
static inline void pipeline_again(const struct um_kind *k, const struct um_json *obj,
				  unsigned causes)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(32 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(16 << 20);
	struct um_causes again = {.arena = a};
	struct um_error err = UM_ERROR_INIT;
	struct um_json *copy;
	int r;

	if (um_json_write(&b, obj) < 0)
		return;
	r = um_schema_decode(k, UM_ENC_JSON, b.data, b.len, UM_STRICT_STRICT, a, &copy, NULL, &err);
	if (r == -E2BIG)
		return;
	if (r < 0 || um_schema_default(k, copy, a) < 0)
		abort();
	um_schema_carry_over(k, copy, obj, a);
	if (!um_arena_failed(a) && !um_json_equal(obj, copy))
		abort();
	if ((um_schema_validate(k, copy, NULL, &again) < 0) != (again.n > 0) || again.n != causes)
		abort();
	again.n = 0;
	if ((um_schema_validate(k, copy, obj, &again) < 0) != (again.n > 0))
		abort();
	if (k->plural && !um_schema_table_cells(k, copy, 0, a) && !um_arena_failed(a))
		abort();
}

static inline void pipeline(const struct um_kind *k, enum um_encoding enc, const char *data,
			    size_t len)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(16 << 20);
	struct um_causes problems = {.arena = a}, causes = {.arena = a};
	struct um_error err = UM_ERROR_INIT;
	struct um_json *obj;

	if (um_schema_decode(k, enc, data, len, UM_STRICT_WARN, a, &obj, &problems, &err) < 0) {
		if (!err.code || !err.msg[0])
			abort();
		return;
	}
	if (um_schema_default(k, obj, a) < 0)
		return;
	um_schema_carry_over(k, obj, NULL, a);
	if ((um_schema_validate(k, obj, NULL, &causes) < 0) != (causes.n > 0))
		abort();
	if (!um_arena_failed(a))
		pipeline_again(k, obj, causes.n);
}

#endif
