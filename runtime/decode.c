#include "runtime/decode.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

int um_decode_bad(struct um_decoder *d, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return um_error_set(d->err, -EINVAL, "%s: %s", d->path[0] ? d->path : "config", text);
}

int um_decode_unsupported(struct um_decoder *d, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return um_error_set_reason(d->err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP, "%s: %s",
				   d->path[0] ? d->path : "config", text);
}

size_t um_decode_push(struct um_decoder *d, const char *name)
{
	size_t mark = strlen(d->path);

	snprintf(d->path + mark, sizeof(d->path) - mark, "%s%s", mark ? "." : "", name);
	return mark;
}

void um_decode_pop(struct um_decoder *d, size_t mark)
{
	d->path[mark] = '\0';
}

static bool is_empty(const struct um_json *n)
{
	switch (n->type) {
	case UM_JSON_NULL:
		return true;
	case UM_JSON_BOOL:
		return !n->boolean;
	case UM_JSON_NUM:
		return false;
	case UM_JSON_STR:
	case UM_JSON_ARR:
	case UM_JSON_OBJ:
		return n->len == 0;
	}
	return false;
}

static int decode_number(struct um_decoder *d, const struct um_json *node, const struct um_field *f,
			 void *at)
{
	int64_t v;

	if (node->type != UM_JSON_NUM)
		return um_decode_bad(d, "must be a number");
	if (f->kind == UM_F_U64) {
		uint64_t u;

		if (um_num_u64n(node->str, node->len, UINT64_MAX, &u) < 0)
			return um_decode_bad(d, "%s is not a 64-bit unsigned number", node->str);
		*(uint64_t *)at = u;
		return 0;
	}
	if (um_json_to_i64(node, &v) < 0)
		return um_decode_bad(d, "%.40s is not a 64-bit number", node->str);
	if ((f->min || f->max) && (v < f->min || v > f->max))
		return um_decode_bad(d, "%lld is not within %lld..%lld", (long long)v,
				     (long long)f->min, (long long)f->max);
	if (f->kind == UM_F_I64) {
		*(int64_t *)at = v;
		return 0;
	}
	if (v < 0 || v > UINT32_MAX)
		return um_decode_bad(d, "%lld is not within 0..4294967295", (long long)v);
	*(uint32_t *)at = (uint32_t)v;
	return 0;
}

static int decode_field(struct um_decoder *d, const struct um_json *node, const struct um_field *f,
			void *base)
{
	void *at = (char *)base + f->offset;

	switch (f->kind) {
	case UM_F_STR:
		if (node->type != UM_JSON_STR)
			return um_decode_bad(d, "must be a string");
		*(const char **)at = node->str;
		return 0;
	case UM_F_BOOL:
		if (node->type != UM_JSON_BOOL)
			return um_decode_bad(d, "must be true or false");
		*(bool *)at = node->boolean;
		return 0;
	case UM_F_I64:
	case UM_F_U32:
	case UM_F_U64:
		return decode_number(d, node, f, at);
	case UM_F_STRV:
		return um_decode_strv(d, node, at);
	case UM_F_CALL:
		return f->call(d, node, base);
	case UM_F_REFUSED:
		return is_empty(node) ? 0 : um_decode_unsupported(d, "is not supported");
	case UM_F_FALSE:
		if (node->type != UM_JSON_BOOL)
			return um_decode_bad(d, "must be true or false");
		return node->boolean ? um_decode_unsupported(d, "true is not supported") : 0;
	}
	return um_decode_bad(d, "cannot be decoded");
}

int um_decode_object(struct um_decoder *d, const struct um_json *node,
		     const struct um_field *fields, size_t n, void *base)
{
	if (node->type != UM_JSON_OBJ)
		return um_decode_bad(d, "must be an object");
	for (size_t i = 0; i < n; i++) {
		const struct um_json *child = um_json_get(node, fields[i].name);
		size_t mark = um_decode_push(d, fields[i].name);
		int r = 0;

		if (child && child->type != UM_JSON_NULL)
			r = decode_field(d, child, &fields[i], base);
		else if (fields[i].required)
			r = um_decode_bad(d, "is required");
		if (r < 0)
			return r;
		um_decode_pop(d, mark);
	}
	return 0;
}

int um_decode_array(struct um_decoder *d, const struct um_json *node, size_t size,
		    int (*each)(struct um_decoder *, const struct um_json *, void *),
		    void *ret_items, size_t *ret_n)
{
	size_t i = 0;
	char *items;

	if (node->type != UM_JSON_ARR)
		return um_decode_bad(d, "must be an array");
	items = um_arena_zalloc(d->arena, (node->len + 1) * size);
	if (!items)
		return -ENOMEM;
	um_json_foreach (it, node) {
		size_t mark = strlen(d->path);
		int r;

		snprintf(d->path + mark, sizeof(d->path) - mark, "[%zu]", i);
		r = each(d, it, items + i * size);
		if (r < 0)
			return r;
		um_decode_pop(d, mark);
		i++;
	}
	*(void **)ret_items = items;
	*ret_n = i;
	return 0;
}

static int string_item(struct um_decoder *d, const struct um_json *node, void *at)
{
	if (node->type != UM_JSON_STR)
		return um_decode_bad(d, "must be a string");
	*(const char **)at = node->str;
	return 0;
}

int um_decode_strv(struct um_decoder *d, const struct um_json *node, struct um_strv *ret)
{
	return um_decode_array(d, node, sizeof(char *), string_item, &ret->v, &ret->n);
}

int um_decode_pairs(struct um_decoder *d, const struct um_json *node, struct um_spec_pair **ret,
		    size_t *ret_n)
{
	struct um_spec_pair *pairs;
	size_t i = 0;

	if (node->type != UM_JSON_OBJ)
		return um_decode_bad(d, "must be an object");
	pairs = um_arena_zalloc(d->arena, (node->len + 1) * sizeof(*pairs));
	if (!pairs)
		return -ENOMEM;
	um_json_foreach (it, node) {
		if (!*it->key)
			return um_decode_bad(d, "has an empty key");
		if (it->type != UM_JSON_STR)
			return um_decode_bad(d, "%.100s must be a string", it->key);
		pairs[i].key = it->key;
		pairs[i++].value = it->str;
	}
	*ret = pairs;
	*ret_n = i;
	return 0;
}
