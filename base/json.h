/* JSON documents as trees in an arena, read through yajl (RFC 8259).
 *
 * Input is hostile until proven otherwise. On top of yajl the reader refuses, with the place:
 * invalid UTF-8 (overlong forms and surrogates included), lone \uD800 escapes, U+0000 in strings
 * (so that a C string is always the whole string), nesting past a cap, duplicate keys (or, when
 * asked, keeps the last and reports them). Numbers keep their digits as written.
 *
 * Trees are mutable while being built or patched and must not be changed once shared. A node may
 * stand in one tree only. Strings and keys are NUL-terminated and live in the arena. */
#ifndef UM_BASE_JSON_H
#define UM_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

enum um_json_type {
	UM_JSON_NULL,
	UM_JSON_BOOL,
	UM_JSON_NUM,
	UM_JSON_STR,
	UM_JSON_ARR,
	UM_JSON_OBJ
};

struct um_json {
	enum um_json_type type;
	uint32_t len;	 /* STR, NUM: bytes; ARR, OBJ: children */
	const char *key; /* name within the parent object; NULL elsewhere */
	union {
		bool boolean;
		const char *str;       /* STR: text; NUM: the digits as written */
		struct um_json *first; /* ARR, OBJ: first child */
	};
	struct um_json *last; /* ARR, OBJ: last child */
	struct um_json *next; /* next sibling */
};

#define UM_JSON_DEPTH_DEFAULT 100

struct um_json_opts {
	unsigned max_depth;		/* 0: UM_JSON_DEPTH_DEFAULT */
	bool last_wins;			/* duplicate keys: keep the last instead of refusing */
	struct um_json *ret_duplicates; /* with last_wins: an ARR that gets a STR path for each */
};

/* Parses exactly one document of @len bytes into a tree in @a. @opts may be NULL.
 * Errors: -EBADMSG (not JSON, or refused; the message names the byte or the field), -E2BIG (past
 * the arena's limit or the depth cap), -ENOMEM. */
um_must_check int um_json_parse(struct um_arena *a, const char *data, size_t len,
				const struct um_json_opts *opts, struct um_json **ret,
				struct um_error *err);

/* Writes @node without white space; with @indent > 0 as kubectl prints it. Sticky error in @b. */
int um_json_write(struct um_buf *b, const struct um_json *node);
int um_json_write_pretty(struct um_buf *b, const struct um_json *node, unsigned indent);
/* Writes one string with its quotes. */
int um_json_write_str(struct um_buf *b, const char *s, size_t len);

/* Iteration: for (const struct um_json *it = um_json_first(n); it; it = it->next) */
static inline struct um_json *um_json_first(const struct um_json *n)
{
	return n && (n->type == UM_JSON_ARR || n->type == UM_JSON_OBJ) ? n->first : NULL;
}
#define um_json_foreach(it, n) for (struct um_json *it = um_json_first(n); it; it = it->next)

/* Look-ups accept a NULL or wrongly typed @n and then find nothing. */
struct um_json *um_json_get(const struct um_json *obj, const char *key);
struct um_json *um_json_at(const struct um_json *arr, size_t index);
/* "spec.containers.0.name": keys without dots and array indexes. */
struct um_json *um_json_path(const struct um_json *n, const char *path);

/* Values with a fallback for absent or wrongly typed nodes. */
const char *um_json_str(const struct um_json *n, const char *fallback);
bool um_json_bool(const struct um_json *n, bool fallback);
int64_t um_json_i64(const struct um_json *n, int64_t fallback); /* fallback too when not integral */
double um_json_double(const struct um_json *n, double fallback);
/* The same one level down: um_json_get_str(pod, "kind", ""). @key may be a path. */
const char *um_json_get_str(const struct um_json *n, const char *path, const char *fallback);
bool um_json_get_bool(const struct um_json *n, const char *path, bool fallback);
int64_t um_json_get_i64(const struct um_json *n, const char *path, int64_t fallback);

/* Exact: 0, -EINVAL when @n is no NUM, -ERANGE when no int64 equals it. */
um_must_check int um_json_to_i64(const struct um_json *n, int64_t *ret);
static inline bool um_json_is(const struct um_json *n, enum um_json_type t)
{
	return n && n->type == t;
}
bool um_json_streq(const struct um_json *n, const char *s);
/* Deep equality; object order does not matter, numbers compare by value where both are int64. */
bool um_json_equal(const struct um_json *a, const struct um_json *b);

/* Building. All return NULL when the arena is full (see um_arena_failed()), and accept NULL for
 * what an earlier call returned, so that a whole build is checked once. */
struct um_json *um_json_new_null(struct um_arena *a);
struct um_json *um_json_new_bool(struct um_arena *a, bool v);
struct um_json *um_json_new_i64(struct um_arena *a, int64_t v);
struct um_json *um_json_new_num(struct um_arena *a, const char *digits, size_t len);
struct um_json *um_json_new_str(struct um_arena *a, const char *s);
struct um_json *um_json_new_strn(struct um_arena *a, const char *s, size_t len);
struct um_json *um_json_new_arr(struct um_arena *a);
struct um_json *um_json_new_obj(struct um_arena *a);
struct um_json *um_json_copy(struct um_arena *a, const struct um_json *n); /* deep */

/* Puts @val under @key: replaces in place or appends. @key is copied. Returns @val. */
struct um_json *um_json_set(struct um_arena *a, struct um_json *obj, const char *key,
			    struct um_json *val);
struct um_json *um_json_append(struct um_json *arr, struct um_json *val);
/* The child object (array) under @key, made when absent or of another type. */
struct um_json *um_json_ensure_obj(struct um_arena *a, struct um_json *obj, const char *key);
struct um_json *um_json_ensure_arr(struct um_arena *a, struct um_json *obj, const char *key);
bool um_json_remove(struct um_json *obj, const char *key); /* true when it was there */
bool um_json_remove_node(struct um_json *parent, const struct um_json *child);

static inline struct um_json *um_json_set_str(struct um_arena *a, struct um_json *obj,
					      const char *key, const char *s)
{
	return um_json_set(a, obj, key, um_json_new_str(a, s));
}
static inline struct um_json *um_json_set_i64(struct um_arena *a, struct um_json *obj,
					      const char *key, int64_t v)
{
	return um_json_set(a, obj, key, um_json_new_i64(a, v));
}
static inline struct um_json *um_json_set_bool(struct um_arena *a, struct um_json *obj,
					       const char *key, bool v)
{
	return um_json_set(a, obj, key, um_json_new_bool(a, v));
}

#endif
