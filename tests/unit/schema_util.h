/* Shared by the tests of api/schema. */
#ifndef UM_TESTS_SCHEMA_UTIL_H
#define UM_TESTS_SCHEMA_UTIL_H

#include <criterion/criterion.h>
#include <string.h>

#include "api/schema/schema.h"

static inline const struct um_kind *kind_of(const char *kind)
{
	static const char *const groups[] = {"",
					     "coordination.k8s.io",
					     "apps",
					     "autoscaling",
					     "discovery.k8s.io",
					     "authentication.k8s.io"};
	const struct um_kind *k = NULL;

	for (size_t i = 0; i < UM_ARRAY_LEN(groups) && !k; i++)
		k = um_schema_find_kind(groups[i], "v1", kind);
	cr_assert(k, "no kind %s", kind);
	return k;
}

/* The tests write JSON with single quotes. */
static inline struct um_json *parse(struct um_arena *a, const char *text)
{
	char *json = um_arena_strdup(a, text);
	struct um_error err = UM_ERROR_INIT;
	struct um_json *n = NULL;

	for (char *c = json; *c; c++)
		if (*c == '\'')
			*c = '"';
	cr_assert_eq(um_json_parse(a, json, strlen(json), NULL, &n, &err), 0, "%s: %s", json,
		     err.msg);
	return n;
}

static inline const char *text_of(struct um_arena *a, const struct um_json *n)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);

	cr_assert(n);
	cr_assert_eq(um_json_write(&b, n), 0);
	return um_arena_strdup(a, um_buf_str(&b));
}

static inline void assert_json(struct um_arena *a, const struct um_json *got, const char *want)
{
	struct um_json *w = parse(a, want);

	cr_assert(um_json_equal(got, w), "got  %s\nwant %s", text_of(a, got), text_of(a, w));
}

#endif
