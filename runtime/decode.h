/* Table-driven decoding of JSON objects into structs. */
#ifndef UM_RUNTIME_DECODE_H
#define UM_RUNTIME_DECODE_H

#include <stddef.h>

#include "runtime/spec.h"

struct um_decoder {
	struct um_arena *arena;
	struct um_error *err;
	char path[300]; /* of the field being read: "linux.resources.cpu" */
};

enum um_field_kind {
	UM_F_STR,     /* const char * */
	UM_F_BOOL,    /* bool */
	UM_F_I64,     /* int64_t within [min, max] */
	UM_F_U32,     /* uint32_t within [min, max] */
	UM_F_U64,     /* uint64_t */
	UM_F_STRV,    /* struct um_strv */
	UM_F_CALL,    /* call(d, node, base) */
	UM_F_REFUSED, /* present and not empty: -EOPNOTSUPP */
	UM_F_FALSE,   /* a bool that may only be false; true: -EOPNOTSUPP */
};

struct um_field {
	const char *name;
	enum um_field_kind kind;
	size_t offset;
	int64_t min, max;
	int (*call)(struct um_decoder *d, const struct um_json *node, void *base);
	bool required;
};

#define UM_FIELD(name_, kind_, type, member)                                                       \
	{                                                                                          \
		.name = name_, .kind = kind_, .offset = offsetof(type, member)                     \
	}
#define UM_FIELD_REQ(name_, kind_, type, member)                                                   \
	{                                                                                          \
		.name = name_, .kind = kind_, .offset = offsetof(type, member), .required = true   \
	}
#define UM_FIELD_NUM(name_, kind_, type, member, min_, max_)                                       \
	{                                                                                          \
		.name = name_, .kind = kind_, .offset = offsetof(type, member), .min = min_,       \
		.max = max_                                                                        \
	}
#define UM_FIELD_CALL(name_, fn)                                                                   \
	{                                                                                          \
		.name = name_, .kind = UM_F_CALL, .call = fn                                       \
	}
#define UM_FIELD_REFUSED(name_)                                                                    \
	{                                                                                          \
		.name = name_, .kind = UM_F_REFUSED                                                \
	}

/* @node must be an object. JSON null counts as absent. */
um_must_check int um_decode_object(struct um_decoder *d, const struct um_json *node,
				   const struct um_field *fields, size_t n, void *base);
/* Allocates n * size zeroed bytes for the elements of array @node and calls @each for every one. */
um_must_check int um_decode_array(struct um_decoder *d, const struct um_json *node, size_t size,
				  int (*each)(struct um_decoder *, const struct um_json *, void *),
				  void *ret_items, size_t *ret_n);
um_must_check int um_decode_strv(struct um_decoder *d, const struct um_json *node,
				 struct um_strv *ret);
/* An object whose values are strings. */
um_must_check int um_decode_pairs(struct um_decoder *d, const struct um_json *node,
				  struct um_spec_pair **ret, size_t *ret_n);
/* Fail with the field's path in front. */
int um_decode_bad(struct um_decoder *d, const char *fmt, ...) um_printf(2, 3);
int um_decode_unsupported(struct um_decoder *d, const char *fmt, ...) um_printf(2, 3);
/* Extends and restores d->path. */
size_t um_decode_push(struct um_decoder *d, const char *name);
void um_decode_pop(struct um_decoder *d, size_t mark);

/* Parts that live in files of their own. */
um_must_check int um_decode_linux(struct um_decoder *d, const struct um_json *node, void *spec);
um_must_check int um_decode_resources(struct um_decoder *d, const struct um_json *node, void *spec);
um_must_check int um_decode_seccomp(struct um_decoder *d, const struct um_json *node, void *spec);
um_must_check int um_decode_mempolicy(struct um_decoder *d, const struct um_json *node, void *spec);
um_must_check int um_decode_process(struct um_decoder *d, const struct um_json *node, void *proc);
um_must_check int um_decode_idmap(struct um_decoder *d, const struct um_json *node, void *idmap);
um_must_check int um_decode_mount(struct um_decoder *d, const struct um_json *node, void *mount);
/* A security label; an empty one is none. */
um_must_check int um_decode_label(struct um_decoder *d, const struct um_json *node,
				  const char **ret);

#endif
