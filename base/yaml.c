#include "base/yaml.h"

#include <math.h>
#include <string.h>
#include <yaml.h>

#include "base/hash.h"
#include "base/utf8.h"

#define DEPTH_MAX 100
#define NODES_MAX 1000000 /* after expansion of aliases */

struct anchor {
	char *name;
	struct um_json *node;
	UT_hash_handle hh;
};

struct yaml_reader {
	struct um_arena *arena;
	yaml_parser_t parser;
	struct anchor *anchors;
	unsigned nodes;
	struct um_error *err;
};

static int fail_at(struct yaml_reader *r, const yaml_mark_t *at, int code, const char *what)
{
	return um_error_set(r->err, code, "YAML line %zu column %zu: %s", at->line + 1,
			    at->column + 1, what);
}

static int next_event(struct yaml_reader *r, yaml_event_t *ev)
{
	if (yaml_parser_parse(&r->parser, ev))
		return 0;
	if (r->parser.error == YAML_MEMORY_ERROR)
		return um_error_set(r->err, -ENOMEM, "parse YAML: out of memory");
	return fail_at(r, &r->parser.problem_mark, -EBADMSG,
		       r->parser.problem ? r->parser.problem : "not YAML");
}

static void drop_anchors(struct yaml_reader *r)
{
	struct anchor *a, *tmp;

	HASH_ITER (hh, r->anchors, a, tmp) {
		HASH_DEL(r->anchors, a);
		free(a);
	}
}

static int keep_anchor(struct yaml_reader *r, const char *name, struct um_json *node)
{
	struct anchor *a;

	HASH_FIND_STR(r->anchors, name, a);
	if (a) {
		a->node = node;
		return 0;
	}
	a = malloc(sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->name = um_arena_strdup(r->arena, name);
	a->node = node;
	if (!a->name) {
		free(a);
		return -ENOMEM;
	}
	HASH_ADD_KEYPTR(hh, r->anchors, a->name, strlen(a->name), a);
	return 0;
}

static bool all_digits(const char *s)
{
	if (!*s)
		return false;
	return s[strspn(s, "0123456789")] == '\0';
}

/* A float as YAML 1.2's core schema has it: [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool looks_float(const char *s)
{
	size_t before, after = 0;

	s += *s == '-' || *s == '+';
	before = strspn(s, "0123456789");
	s += before;
	if (*s == '.') {
		s++;
		after = strspn(s, "0123456789");
		s += after;
	}
	if (!before && !after)
		return false;
	if (*s == 'e' || *s == 'E') {
		s++;
		s += *s == '-' || *s == '+';
		return all_digits(s);
	}
	return !*s;
}

static bool one_of(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(s, *list))
			return true;
	return false;
}

/* JSON's spelling of a YAML number: no plus, no leading zeros or point, no point at the end. */
static struct um_json *number(struct um_arena *a, const char *s)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(400);
	const char *digits = s + (*s == '-' || *s == '+');

	if (*s == '-')
		um_buf_addc(&b, '-');
	if (*digits == '0' && digits[1] >= '0' && digits[1] <= '9' && all_digits(digits)) {
		/* YAML 1.1: a leading zero means octal */
		unsigned long long v;

		if (digits[strspn(digits, "01234567")])
			return um_json_new_str(a, s);
		errno = 0;
		v = strtoull(digits, NULL, 8);
		if (errno)
			return um_json_new_str(a, s);
		um_buf_addf(&b, "%llu", v);
		return um_json_new_num(a, um_buf_str(&b), b.len);
	}
	while (*digits == '0' && digits[1] >= '0' && digits[1] <= '9')
		digits++;
	if (*digits == '.')
		um_buf_addc(&b, '0');
	for (; *digits; digits++) {
		if (*digits == '.' && !(digits[1] >= '0' && digits[1] <= '9'))
			continue;
		um_buf_addc(&b, *digits);
	}
	if (um_buf_error(&b))
		return um_json_new_str(a, s);
	return um_json_new_num(a, um_buf_str(&b), b.len);
}

/* What an unquoted scalar without a tag means. */
static struct um_json *plain_scalar(struct um_arena *a, const char *s, size_t len)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
	static const char *const trues[] = {"true", "True", "TRUE", "yes", "Yes", "YES",
					    "on",   "On",   "ON",   "y",   "Y",	  NULL};
	static const char *const falses[] = {"false", "False", "FALSE", "no", "No", "NO",
					     "off",   "Off",   "OFF",	"n",  "N",  NULL};

	if (one_of(s, nulls))
		return um_json_new_null(a);
	if (one_of(s, trues) && len > 1)
		return um_json_new_bool(a, true);
	if (one_of(s, falses) && len > 1)
		return um_json_new_bool(a, false);
	if (looks_float(s))
		return number(a, s);
	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'o') && s[2]) {
		bool hex = s[1] == 'x';

		if (!s[2 + strspn(s + 2, hex ? "0123456789abcdefABCDEF" : "01234567")] &&
		    len <= 2 + (hex ? 15u : 20u))
			return um_json_new_i64(a, (int64_t)strtoull(s + 2, NULL, hex ? 16 : 8));
	}
	return um_json_new_strn(a, s, len);
}

static struct um_json *scalar(struct yaml_reader *r, const yaml_event_t *ev)
{
	const char *s = (const char *)ev->data.scalar.value;
	const char *tag = (const char *)ev->data.scalar.tag;
	size_t len = ev->data.scalar.length;

	if (tag && !strcmp(tag, YAML_STR_TAG))
		return um_json_new_strn(r->arena, s, len);
	if (tag && !strcmp(tag, YAML_NULL_TAG))
		return um_json_new_null(r->arena);
	if (ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		return plain_scalar(r->arena, s, len);
	return um_json_new_strn(r->arena, s, len);
}

static bool known_tag(const char *tag)
{
	static const char *const known[] = {
		YAML_NULL_TAG, YAML_BOOL_TAG, YAML_STR_TAG, YAML_INT_TAG, YAML_FLOAT_TAG,
		YAML_SEQ_TAG,  YAML_MAP_TAG,  "!",	    NULL};

	return !tag || one_of(tag, known);
}

static int read_node(struct yaml_reader *r, yaml_event_t *ev, unsigned depth, struct um_json **ret);

static int read_sequence(struct yaml_reader *r, unsigned depth, struct um_json *arr)
{
	for (;;) {
		struct um_json *item;
		yaml_event_t ev;
		int code = next_event(r, &ev);

		if (code < 0)
			return code;
		if (ev.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&ev);
			return 0;
		}
		code = read_node(r, &ev, depth + 1, &item);
		if (code < 0)
			return code;
		um_json_append(arr, item);
	}
}

struct seen_key {
	const char *key;
	UT_hash_handle hh;
};

static void drop_seen(struct seen_key **seen)
{
	struct seen_key *k, *tmp;

	HASH_ITER (hh, *seen, k, tmp) {
		HASH_DEL(*seen, k);
		free(k);
	}
}

static int note_key(struct seen_key **seen, const char *key)
{
	struct seen_key *k;

	HASH_FIND_STR(*seen, key, k);
	if (k)
		return -EEXIST;
	k = malloc(sizeof(*k));
	if (!k)
		return -ENOMEM;
	k->key = key;
	HASH_ADD_KEYPTR(hh, *seen, k->key, strlen(k->key), k);
	return 0;
}

static int read_key(struct yaml_reader *r, const yaml_event_t *ev, char **ret)
{
	if (ev->type != YAML_SCALAR_EVENT)
		return fail_at(r, &ev->start_mark, -EBADMSG, "a key must be a plain text");
	if (memchr(ev->data.scalar.value, 0, ev->data.scalar.length))
		return fail_at(r, &ev->start_mark, -EBADMSG, "a key holds the character U+0000");
	*ret = um_arena_strndup(r->arena, (const char *)ev->data.scalar.value,
				ev->data.scalar.length);
	return *ret ? 0 : fail_at(r, &ev->start_mark, -E2BIG, "document too large");
}

static int read_mapping(struct yaml_reader *r, unsigned depth, struct um_json *obj)
{
	_cleanup_(drop_seen) struct seen_key *seen = NULL;

	for (;;) {
		struct um_json *val;
		yaml_event_t ev;
		char *key;
		int code = next_event(r, &ev);

		if (code < 0)
			return code;
		if (ev.type == YAML_MAPPING_END_EVENT) {
			yaml_event_delete(&ev);
			return 0;
		}
		code = read_key(r, &ev, &key);
		if (code == 0) {
			code = note_key(&seen, key);
			if (code == -EEXIST) {
				um_error_set(r->err, -EBADMSG,
					     "YAML line %zu column %zu: duplicate field \"%s\"",
					     ev.start_mark.line + 1, ev.start_mark.column + 1, key);
				code = -EBADMSG;
			}
		}
		yaml_event_delete(&ev);
		if (code < 0)
			return code;
		code = next_event(r, &ev);
		if (code < 0)
			return code;
		code = read_node(r, &ev, depth + 1, &val);
		if (code < 0)
			return code;
		val->key = key;
		um_json_append(obj, val);
	}
}

static unsigned count_nodes(const struct um_json *n, unsigned limit)
{
	unsigned count = 1;

	um_json_foreach (it, n) {
		if (count > limit)
			break;
		count += count_nodes(it, limit - count);
	}
	return count;
}

static unsigned tree_depth(const struct um_json *n)
{
	unsigned deepest = 0;

	um_json_foreach (it, n) {
		unsigned d = tree_depth(it);

		deepest = d > deepest ? d : deepest;
	}
	return deepest + 1;
}

static int read_alias(struct yaml_reader *r, const yaml_event_t *ev, unsigned depth,
		      struct um_json **ret)
{
	struct anchor *a;

	HASH_FIND_STR(r->anchors, (const char *)ev->data.alias.anchor, a);
	if (!a)
		return fail_at(r, &ev->start_mark, -EBADMSG, "unknown alias");
	if (!a->node)
		return fail_at(r, &ev->start_mark, -EBADMSG, "an alias within its own anchor");
	r->nodes += count_nodes(a->node, NODES_MAX - r->nodes);
	if (r->nodes > NODES_MAX || depth + tree_depth(a->node) > DEPTH_MAX)
		return fail_at(r, &ev->start_mark, -E2BIG, "aliases expand to too much");
	*ret = um_json_copy(r->arena, a->node);
	return *ret ? 0 : fail_at(r, &ev->start_mark, -E2BIG, "document too large");
}

/* Consumes @ev. */
static int read_node(struct yaml_reader *r, yaml_event_t *ev, unsigned depth, struct um_json **ret)
{
	const char *anchor = NULL, *tag = NULL;
	char *anchor_name = NULL;
	struct um_json *n = NULL;
	yaml_event_type_t type = ev->type;
	yaml_mark_t at = ev->start_mark;
	int code = 0;

	if (depth > DEPTH_MAX)
		code = fail_at(r, &at, -E2BIG, "nested too deeply");
	else if (++r->nodes > NODES_MAX)
		code = fail_at(r, &at, -E2BIG, "document too large");
	if (code == 0 && type == YAML_ALIAS_EVENT) {
		code = read_alias(r, ev, depth, ret);
		yaml_event_delete(ev);
		return code;
	}
	if (type == YAML_SCALAR_EVENT) {
		anchor = (const char *)ev->data.scalar.anchor;
		tag = (const char *)ev->data.scalar.tag;
	} else if (type == YAML_SEQUENCE_START_EVENT) {
		anchor = (const char *)ev->data.sequence_start.anchor;
		tag = (const char *)ev->data.sequence_start.tag;
	} else if (type == YAML_MAPPING_START_EVENT) {
		anchor = (const char *)ev->data.mapping_start.anchor;
		tag = (const char *)ev->data.mapping_start.tag;
	} else if (code == 0) {
		code = fail_at(r, &at, -EBADMSG, "a value was expected here");
	}
	if (code == 0 && !known_tag(tag))
		code = fail_at(r, &at, -EBADMSG, "tags are not supported");
	if (code == 0 && type == YAML_SCALAR_EVENT &&
	    memchr(ev->data.scalar.value, 0, ev->data.scalar.length))
		code = fail_at(r, &at, -EBADMSG, "a text holds the character U+0000");
	if (code == 0) {
		n = type == YAML_SCALAR_EVENT		? scalar(r, ev)
		    : type == YAML_SEQUENCE_START_EVENT ? um_json_new_arr(r->arena)
							: um_json_new_obj(r->arena);
		if (anchor)
			anchor_name = um_arena_strdup(r->arena, anchor);
		if (!n || (anchor && !anchor_name))
			code = fail_at(r, &at, -E2BIG, "document too large");
	}
	yaml_event_delete(ev);
	if (code == 0 && anchor_name && keep_anchor(r, anchor_name, NULL) < 0)
		code = um_error_set(r->err, -ENOMEM, "parse YAML: out of memory");
	if (code == 0 && type == YAML_SEQUENCE_START_EVENT)
		code = read_sequence(r, depth, n);
	if (code == 0 && type == YAML_MAPPING_START_EVENT)
		code = read_mapping(r, depth, n);
	if (code == 0 && anchor_name && keep_anchor(r, anchor_name, n) < 0)
		code = um_error_set(r->err, -ENOMEM, "parse YAML: out of memory");
	if (code == 0)
		*ret = n;
	return code;
}

static int read_stream(struct yaml_reader *r, struct um_json *docs)
{
	for (;;) {
		struct um_json *root;
		yaml_event_t ev;
		yaml_event_type_t type;
		int code = next_event(r, &ev);

		if (code < 0)
			return code;
		type = ev.type;
		if (type == YAML_STREAM_END_EVENT) {
			yaml_event_delete(&ev);
			return 0;
		}
		yaml_event_delete(&ev);
		if (type != YAML_DOCUMENT_START_EVENT)
			continue; /* stream start, document end */
		code = next_event(r, &ev);
		if (code < 0)
			return code;
		code = read_node(r, &ev, 0, &root);
		drop_anchors(r);
		if (code < 0)
			return code;
		if (root->type != UM_JSON_NULL)
			um_json_append(docs, root);
	}
}

int um_yaml_parse(struct um_arena *a, const char *data, size_t len, struct um_json **ret_docs,
		  struct um_error *err)
{
	struct yaml_reader r = {.arena = a, .err = err};
	struct um_json *docs = um_json_new_arr(a);
	size_t valid = um_utf8_valid(data, len);
	int code;

	if (!docs)
		return um_error_set(err, -ENOMEM, "parse YAML: out of memory");
	if (valid < len)
		return um_error_set(err, -EBADMSG, "not YAML: invalid UTF-8 at byte %zu", valid);
	if (!yaml_parser_initialize(&r.parser))
		return um_error_set(err, -ENOMEM, "parse YAML: out of memory");
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)data, len);
	code = read_stream(&r, docs);
	drop_anchors(&r);
	yaml_parser_delete(&r.parser);
	if (code == 0)
		*ret_docs = docs;
	return code;
}
