#include "base/json.h"

#include <string.h>
#include <yajl/yajl_parse.h>

#include "base/hash.h"
#include "base/num.h"
#include "base/utf8.h"

/* ---- reading ---- */

#define MAX_DEPTH 1000 /* nothing may ask for more: writers and walkers recurse */
#define SET_FROM 12    /* children from which duplicate keys are looked up in a hash set */

/* Keys of one large open object. Open addressing over node pointers, in the document's arena. */
struct key_set {
	struct um_json **slots;
	size_t size, used;
};

struct level {
	struct um_json *node;
	char *key; /* the key whose value comes next */
	struct key_set set;
};

struct reader {
	struct um_arena *arena;
	struct um_error *err;
	const struct um_json_opts *opts;
	unsigned max_depth, depth;
	struct level *levels; /* [max_depth] grown by doubling, in the heap */
	unsigned levels_cap;
	struct um_json *root;
	int code; /* our own refusal, when yajl says "cancelled" */
};

static int refuse(struct reader *rd, int code)
{
	if (!rd->code)
		rd->code = code;
	return 0;
}

/* "spec.containers[2].name" of the value being read. */
static void describe_place(const struct reader *rd, const char *leaf, struct um_buf *b)
{
	unsigned i;

	for (i = 0; i < rd->depth; i++) {
		const struct level *l = &rd->levels[i];

		if (l->node->type == UM_JSON_ARR)
			/* an open child counts already */
			um_buf_addf(b, "[%u]", l->node->len - (i + 1 < rd->depth ? 1 : 0));
		else if (i + 1 < rd->depth || !leaf)
			um_buf_addf(b, "%s%s", b->len ? "." : "", l->key ? l->key : "");
	}
	if (leaf)
		um_buf_addf(b, "%s%s", b->len ? "." : "", leaf);
}

static struct um_json **set_slot(struct key_set *s, const char *key)
{
	size_t i = (size_t)um_hash_bytes(key, strlen(key)) & (s->size - 1);

	while (s->slots[i] && strcmp(s->slots[i]->key, key))
		i = (i + 1) & (s->size - 1);
	return &s->slots[i];
}

static bool set_grow(struct reader *rd, struct key_set *s, const struct um_json *obj)
{
	s->size = s->size ? s->size * 2 : SET_FROM * 4;
	while (s->size & (s->size - 1))
		s->size += s->size & -s->size;
	s->slots = um_arena_zalloc(rd->arena, s->size * sizeof(*s->slots));
	if (!s->slots)
		return false;
	s->used = obj->len;
	um_json_foreach (it, obj)
		*set_slot(s, it->key) = it;
	return true;
}

static struct um_json *find_key(struct reader *rd, struct level *l, const char *key, bool *full)
{
	*full = false;
	if (l->node->len < SET_FROM)
		return um_json_get(l->node, key);
	if (!l->set.slots || l->set.used * 2 >= l->set.size) {
		if (!set_grow(rd, &l->set, l->node)) {
			*full = true;
			return NULL;
		}
	}
	return *set_slot(&l->set, key);
}

/* Links a value into the open object or array. With a duplicate key the node already there takes
 * the new value (constant time, whatever the input), so the node to go on with is returned. */
static struct um_json *link_value(struct reader *rd, struct um_json *node)
{
	struct level *l;
	struct um_json *old;
	bool full;

	if (!node) {
		refuse(rd, -E2BIG);
		return NULL;
	}
	if (!rd->depth)
		return rd->root = node;
	l = &rd->levels[rd->depth - 1];
	if (l->node->type == UM_JSON_ARR)
		return um_json_append(l->node, node);
	old = find_key(rd, l, l->key, &full);
	if (full) {
		refuse(rd, -E2BIG);
		return NULL;
	}
	if (old) {
		node->key = old->key;
		node->next = old->next;
		*old = *node;
		return old;
	}
	node->key = l->key;
	if (l->set.slots) {
		*set_slot(&l->set, node->key) = node;
		l->set.used++;
	}
	return um_json_append(l->node, node);
}

static int add_value(struct reader *rd, struct um_json *node)
{
	return link_value(rd, node) ? 1 : 0;
}

static int push(struct reader *rd, struct um_json *node)
{
	node = link_value(rd, node);
	if (!node)
		return 0;
	if (rd->depth >= rd->max_depth) {
		um_error_set(rd->err, -E2BIG, "nested deeper than %u levels", rd->max_depth);
		return refuse(rd, -E2BIG);
	}
	if (rd->depth == rd->levels_cap) {
		unsigned cap = rd->levels_cap ? rd->levels_cap * 2 : 16;
		struct level *levels = realloc(rd->levels, cap * sizeof(*levels));

		if (!levels)
			return refuse(rd, -ENOMEM);
		rd->levels = levels;
		rd->levels_cap = cap;
	}
	rd->levels[rd->depth++] = (struct level){.node = node};
	return 1;
}

static int on_null(void *ctx)
{
	struct reader *rd = ctx;

	return add_value(rd, um_json_new_null(rd->arena));
}

static int on_bool(void *ctx, int v)
{
	struct reader *rd = ctx;

	return add_value(rd, um_json_new_bool(rd->arena, v));
}

static int on_number(void *ctx, const char *s, size_t len)
{
	struct reader *rd = ctx;

	return add_value(rd, um_json_new_num(rd->arena, s, len));
}

static int on_string(void *ctx, const unsigned char *s, size_t len)
{
	struct reader *rd = ctx;

	if (memchr(s, 0, len)) {
		_cleanup_buf_ struct um_buf place = UM_BUF_INIT(200);

		describe_place(rd, NULL, &place);
		um_error_set(rd->err, -EBADMSG, "%s: a string holds the character U+0000",
			     place.len ? place.data : "document");
		return refuse(rd, -EBADMSG);
	}
	return add_value(rd, um_json_new_strn(rd->arena, (const char *)s, len));
}

static int on_key(void *ctx, const unsigned char *s, size_t len)
{
	struct reader *rd = ctx;
	struct level *l = &rd->levels[rd->depth - 1];
	_cleanup_buf_ struct um_buf place = UM_BUF_INIT(200);
	bool full;

	if (memchr(s, 0, len)) {
		um_error_set(rd->err, -EBADMSG, "a field's name holds the character U+0000");
		return refuse(rd, -EBADMSG);
	}
	l->key = um_arena_strndup(rd->arena, (const char *)s, len);
	if (!l->key)
		return refuse(rd, -E2BIG);
	if (!find_key(rd, l, l->key, &full))
		return full ? refuse(rd, -E2BIG) : 1;
	describe_place(rd, l->key, &place);
	if (rd->opts && rd->opts->last_wins) {
		if (rd->opts->ret_duplicates)
			um_json_append(rd->opts->ret_duplicates,
				       um_json_new_str(rd->arena, um_buf_str(&place)));
		return 1;
	}
	um_error_set(rd->err, -EBADMSG, "duplicate field \"%s\"", um_buf_str(&place));
	return refuse(rd, -EBADMSG);
}

static int on_start_map(void *ctx)
{
	struct reader *rd = ctx;

	return push(rd, um_json_new_obj(rd->arena));
}

static int on_start_array(void *ctx)
{
	struct reader *rd = ctx;

	return push(rd, um_json_new_arr(rd->arena));
}

static int on_end(void *ctx)
{
	((struct reader *)ctx)->depth--;
	return 1;
}

static const yajl_callbacks callbacks = {
	.yajl_null = on_null,
	.yajl_boolean = on_bool,
	.yajl_number = on_number,
	.yajl_string = on_string,
	.yajl_start_map = on_start_map,
	.yajl_map_key = on_key,
	.yajl_end_map = on_end,
	.yajl_start_array = on_start_array,
	.yajl_end_array = on_end,
};

static int hex4(const char *s, const char *end)
{
	int v = 0, i;

	if (end - s < 4)
		return -1;
	for (i = 0; i < 4; i++) {
		char c = s[i];
		int d = c >= '0' && c <= '9'   ? c - '0'
			: c >= 'a' && c <= 'f' ? c - 'a' + 10
			: c >= 'A' && c <= 'F' ? c - 'A' + 10
					       : -1;

		if (d < 0)
			return -1;
		v = v * 16 + d;
	}
	return v;
}

/* yajl turns a lone surrogate into '?': find them first. Outside a string a backslash is a syntax
 * error anyway, so that the scan need not know where strings begin. */
static int check_surrogates(const char *data, size_t len, struct um_error *err)
{
	const char *end = data + len, *s = data;

	while ((s = memchr(s, '\\', (size_t)(end - s)))) {
		int v;

		if (end - s < 2)
			return 0;
		if (s[1] != 'u') {
			s += 2;
			continue;
		}
		v = hex4(s + 2, end);
		if (v >= 0xd800 && v <= 0xdbff && end - s >= 12 && s[6] == '\\' && s[7] == 'u') {
			int low = hex4(s + 8, end);

			if (low >= 0xdc00 && low <= 0xdfff) {
				s += 12;
				continue;
			}
		}
		if (v >= 0xd800 && v <= 0xdfff)
			return um_error_set(err, -EBADMSG, "lone surrogate \\u%04x at byte %zu",
					    (unsigned)v, (size_t)(s - data));
		s += 2;
	}
	return 0;
}

static bool blank(const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!memchr(" \t\r\n", data[i], 4))
			return false;
	return true;
}

static int syntax_error(yajl_handle h, const char *data, size_t len, struct um_error *err)
{
	unsigned char *text = yajl_get_error(h, 0, (const unsigned char *)data, len);
	size_t at = yajl_get_bytes_consumed(h);
	char *nl = text ? strchr((char *)text, '\n') : NULL;

	if (nl)
		*nl = '\0';
	um_error_set(err, -EBADMSG, "not JSON: %s at byte %zu", text ? (char *)text : "parse error",
		     at);
	if (text)
		yajl_free_error(h, text);
	return -EBADMSG;
}

int um_json_parse(struct um_arena *a, const char *data, size_t len, const struct um_json_opts *opts,
		  struct um_json **ret, struct um_error *err)
{
	struct um_error own = UM_ERROR_INIT;
	struct reader rd = {.arena = a, .err = &own, .opts = opts};
	yajl_status status;
	yajl_handle h;
	size_t valid;
	int r;

	rd.max_depth = opts && opts->max_depth ? opts->max_depth : UM_JSON_DEPTH_DEFAULT;
	if (rd.max_depth > MAX_DEPTH)
		rd.max_depth = MAX_DEPTH;
	valid = um_utf8_valid(data, len);
	if (valid < len)
		return um_error_set(err, -EBADMSG, "not JSON: invalid UTF-8 at byte %zu", valid);
	if (blank(data, len))
		return um_error_set(err, -EBADMSG, "not JSON: empty document");
	r = check_surrogates(data, len, err);
	if (r < 0)
		return r;
	h = yajl_alloc(&callbacks, NULL, &rd);
	if (!h)
		return um_error_set(err, -ENOMEM, "parse JSON: out of memory");
	yajl_config(h, yajl_dont_validate_strings, 1);
	status = yajl_parse(h, (const unsigned char *)data, len);
	if (status == yajl_status_ok)
		status = yajl_complete_parse(h);
	if (status == yajl_status_ok && rd.root) {
		r = 0;
		*ret = rd.root;
	} else if (rd.code && own.code) {
		r = um_error_move(err, &own);
	} else if (rd.code) {
		r = um_error_set(err, rd.code,
				 "document too large: needs more than its memory limit");
	} else {
		r = syntax_error(h, data, len, err);
	}
	yajl_free(h);
	free(rd.levels);
	return r;
}

/* ---- look-ups ---- */

struct um_json *um_json_get(const struct um_json *obj, const char *key)
{
	if (!um_json_is(obj, UM_JSON_OBJ))
		return NULL;
	um_json_foreach (it, obj)
		if (!strcmp(it->key, key))
			return it;
	return NULL;
}

struct um_json *um_json_at(const struct um_json *arr, size_t index)
{
	if (!um_json_is(arr, UM_JSON_ARR))
		return NULL;
	um_json_foreach (it, arr)
		if (!index--)
			return it;
	return NULL;
}

struct um_json *um_json_path(const struct um_json *n, const char *path)
{
	while (n && *path) {
		const char *dot = strchrnul(path, '.');
		size_t len = (size_t)(dot - path);

		if (n->type == UM_JSON_ARR) {
			uint64_t index;

			if (um_num_u64n(path, len, UINT32_MAX, &index) < 0)
				return NULL;
			n = um_json_at(n, (size_t)index);
		} else if (n->type == UM_JSON_OBJ) {
			const struct um_json *found = NULL;

			um_json_foreach (it, n) {
				if (!strncmp(it->key, path, len) && !it->key[len]) {
					found = it;
					break;
				}
			}
			n = found;
		} else {
			return NULL;
		}
		path = *dot ? dot + 1 : dot;
	}
	return (struct um_json *)n;
}

const char *um_json_str(const struct um_json *n, const char *fallback)
{
	return um_json_is(n, UM_JSON_STR) ? n->str : fallback;
}

bool um_json_bool(const struct um_json *n, bool fallback)
{
	return um_json_is(n, UM_JSON_BOOL) ? n->boolean : fallback;
}

int um_json_to_i64(const struct um_json *n, int64_t *ret)
{
	if (!um_json_is(n, UM_JSON_NUM))
		return -EINVAL;
	if (strpbrk(n->str, ".eE"))
		return -ERANGE;
	return um_num_i64(n->str, INT64_MIN, INT64_MAX, ret) < 0 ? -ERANGE : 0;
}

int64_t um_json_i64(const struct um_json *n, int64_t fallback)
{
	int64_t v;

	return um_json_to_i64(n, &v) < 0 ? fallback : v;
}

double um_json_double(const struct um_json *n, double fallback)
{
	return um_json_is(n, UM_JSON_NUM) ? strtod(n->str, NULL) : fallback;
}

const char *um_json_get_str(const struct um_json *n, const char *path, const char *fallback)
{
	return um_json_str(um_json_path(n, path), fallback);
}

bool um_json_get_bool(const struct um_json *n, const char *path, bool fallback)
{
	return um_json_bool(um_json_path(n, path), fallback);
}

int64_t um_json_get_i64(const struct um_json *n, const char *path, int64_t fallback)
{
	return um_json_i64(um_json_path(n, path), fallback);
}

bool um_json_streq(const struct um_json *n, const char *s)
{
	return um_json_is(n, UM_JSON_STR) && !strcmp(n->str, s);
}

bool um_json_equal(const struct um_json *a, const struct um_json *b)
{
	int64_t x, y;

	if (!a || !b)
		return a == b;
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case UM_JSON_NULL:
		return true;
	case UM_JSON_BOOL:
		return a->boolean == b->boolean;
	case UM_JSON_NUM:
		if (!um_json_to_i64(a, &x) && !um_json_to_i64(b, &y))
			return x == y;
		return !strcmp(a->str, b->str);
	case UM_JSON_STR:
		return a->len == b->len && !memcmp(a->str, b->str, a->len);
	case UM_JSON_ARR: {
		const struct um_json *j = b->first;

		if (a->len != b->len)
			return false;
		for (const struct um_json *i = a->first; i; i = i->next, j = j->next)
			if (!um_json_equal(i, j))
				return false;
		return true;
	}
	case UM_JSON_OBJ: {
		const struct um_json *hint = b->first;

		if (a->len != b->len)
			return false;
		um_json_foreach (i, a) { /* objects mostly have the same order: try that first */
			const struct um_json *j =
				hint && !strcmp(hint->key, i->key) ? hint : um_json_get(b, i->key);

			if (!j || !um_json_equal(i, j))
				return false;
			hint = j->next;
		}
		return true;
	}
	}
	return false;
}

/* ---- building ---- */

static struct um_json *new_node(struct um_arena *a, enum um_json_type type)
{
	struct um_json *n = um_arena_new_of(a, struct um_json);

	if (n)
		n->type = type;
	return n;
}

struct um_json *um_json_new_null(struct um_arena *a)
{
	return new_node(a, UM_JSON_NULL);
}

struct um_json *um_json_new_bool(struct um_arena *a, bool v)
{
	struct um_json *n = new_node(a, UM_JSON_BOOL);

	if (n)
		n->boolean = v;
	return n;
}

static struct um_json *new_text(struct um_arena *a, enum um_json_type type, const char *s,
				size_t len)
{
	struct um_json *n = len < UINT32_MAX ? new_node(a, type) : NULL;

	if (!n || !(n->str = um_arena_strndup(a, s, len)))
		return NULL;
	n->len = (uint32_t)len;
	return n;
}

struct um_json *um_json_new_num(struct um_arena *a, const char *digits, size_t len)
{
	return new_text(a, UM_JSON_NUM, digits, len);
}

struct um_json *um_json_new_i64(struct um_arena *a, int64_t v)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%lld", (long long)v);

	return new_text(a, UM_JSON_NUM, digits, (size_t)n);
}

struct um_json *um_json_new_strn(struct um_arena *a, const char *s, size_t len)
{
	return new_text(a, UM_JSON_STR, s, len);
}

struct um_json *um_json_new_str(struct um_arena *a, const char *s)
{
	return s ? new_text(a, UM_JSON_STR, s, strlen(s)) : NULL;
}

struct um_json *um_json_new_arr(struct um_arena *a)
{
	return new_node(a, UM_JSON_ARR);
}

struct um_json *um_json_new_obj(struct um_arena *a)
{
	return new_node(a, UM_JSON_OBJ);
}

struct um_json *um_json_copy(struct um_arena *a, const struct um_json *n)
{
	struct um_json *c;

	if (!n)
		return NULL;
	if (n->type == UM_JSON_STR || n->type == UM_JSON_NUM)
		return new_text(a, n->type, n->str, n->len);
	c = new_node(a, n->type);
	if (!c)
		return NULL;
	if (n->type == UM_JSON_BOOL)
		c->boolean = n->boolean;
	um_json_foreach (it, n) {
		struct um_json *child = um_json_copy(a, it);

		if (!child)
			return NULL;
		if (it->key && !(child->key = um_arena_strdup(a, it->key)))
			return NULL;
		um_json_append(c, child);
	}
	return c;
}

struct um_json *um_json_append(struct um_json *arr, struct um_json *val)
{
	if (!arr || !val)
		return NULL;
	val->next = NULL;
	if (arr->last)
		arr->last->next = val;
	else
		arr->first = val;
	arr->last = val;
	arr->len++;
	return val;
}

struct um_json *um_json_set(struct um_arena *a, struct um_json *obj, const char *key,
			    struct um_json *val)
{
	struct um_json *prev = NULL;

	if (!obj || !val)
		return NULL;
	um_json_foreach (it, obj) {
		if (strcmp(it->key, key)) {
			prev = it;
			continue;
		}
		if (it == val)
			return val;
		val->key = it->key;
		val->next = it->next;
		if (prev)
			prev->next = val;
		else
			obj->first = val;
		if (obj->last == it)
			obj->last = val;
		return val;
	}
	val->key = um_arena_strdup(a, key);
	return val->key ? um_json_append(obj, val) : NULL;
}

static struct um_json *ensure(struct um_arena *a, struct um_json *obj, const char *key,
			      enum um_json_type type)
{
	struct um_json *n = um_json_get(obj, key);

	return um_json_is(n, type) ? n : um_json_set(a, obj, key, new_node(a, type));
}

struct um_json *um_json_ensure_obj(struct um_arena *a, struct um_json *obj, const char *key)
{
	return ensure(a, obj, key, UM_JSON_OBJ);
}

struct um_json *um_json_ensure_arr(struct um_arena *a, struct um_json *obj, const char *key)
{
	return ensure(a, obj, key, UM_JSON_ARR);
}

bool um_json_remove_node(struct um_json *parent, const struct um_json *child)
{
	struct um_json *prev = NULL;

	um_json_foreach (it, parent) {
		if (it != child) {
			prev = it;
			continue;
		}
		if (prev)
			prev->next = it->next;
		else
			parent->first = it->next;
		if (parent->last == it)
			parent->last = prev;
		parent->len--;
		it->next = NULL;
		return true;
	}
	return false;
}

bool um_json_remove(struct um_json *obj, const char *key)
{
	struct um_json *n = um_json_get(obj, key);

	return n && um_json_remove_node(obj, n);
}
