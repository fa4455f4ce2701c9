/* From bytes to a tree that has the types of its kind, and nothing that the kind does not know. */
#include "api/schema/decode.h"

#include <math.h>
#include <string.h>

#include "base/base64.h"
#include "api/schema/canon.h"
#include "base/clock.h"
#include "base/yaml.h"

#define QUANTITY_RULE                                                                              \
	"quantities must match the regular expression "                                            \
	"'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"

/* Nobody has so many, and what compares names with each other stays cheap. */
#define MAX_ITEMS 4096

struct checker {
	const struct um_schema_set *s;
	struct um_arena *a;
	enum um_strictness strict;
	struct um_causes found; /* unknown fields */
	struct um_error *err;
};

/* ---- messages in the words of Go's decoder ---- */

static const char *json_word(const struct um_json *n)
{
	static const char *const words[] = {"null", "bool", "number", "string", "array", "object"};

	return words[n->type];
}

static const char *go_base(const struct checker *c, const struct um_sfield *f, char *buf,
			   size_t size)
{
	static const char *const words[] = {
		[UM_SB_STRING] = "string",
		[UM_SB_INT32] = "int32",
		[UM_SB_INT64] = "int64",
		[UM_SB_BOOL] = "bool",
		[UM_SB_DOUBLE] = "float64",
		[UM_SB_QUANTITY] = "resource.Quantity",
		[UM_SB_INTSTR] = "intstr.IntOrString",
		[UM_SB_TIME] = "v1.Time",
		[UM_SB_MICROTIME] = "v1.MicroTime",
		[UM_SB_BYTES] = "[]uint8",
		[UM_SB_RAW] = "runtime.RawExtension",
	};

	if (f->base != UM_SB_OBJECT)
		return words[f->base];
	snprintf(buf, size, "v1.%s", um_ss(c->s, c->s->types[f->type].name));
	return buf;
}

/* A Go path has no indexes. */
static void go_path(struct um_buf *b, const struct um_spath *p)
{
	if (!p)
		return;
	go_path(b, p->up);
	if (p->name && !p->is_key)
		um_buf_addf(b, "%s%s", b->len ? "." : "", p->name);
}

static int wrong_type(struct checker *c, const struct um_stype *t, const struct um_sfield *f,
		      const struct um_json *n, const struct um_spath *p, bool whole)
{
	_cleanup_buf_ struct um_buf path = UM_BUF_INIT(300);
	char buf[100];
	const char *card = !whole		   ? ""
			   : f->card == UM_SC_LIST ? "[]"
			   : f->card == UM_SC_MAP  ? "map[string]"
						   : "";
	bool digits = n->type == UM_JSON_NUM &&
		      (f->base == UM_SB_INT32 || f->base == UM_SB_INT64) && !*card;

	go_path(&path, p);
	return um_error_set(c->err, -EBADMSG,
			    "json: cannot unmarshal %s%s%.40s into Go struct field %s.%s of type "
			    "%s%s",
			    json_word(n), digits ? " " : "", digits ? n->str : "",
			    um_ss(c->s, t->name), um_buf_str(&path), card,
			    go_base(c, f, buf, sizeof(buf)));
}

static int bad_value(struct checker *c, const struct um_spath *p, const char *why)
{
	return um_error_set(c->err, -EBADMSG, "%s: %s", um_spath_str(c->a, p), why);
}

/* ---- values ---- */

static int set_text(struct checker *c, struct um_json *n, const char *s)
{
	n->str = um_arena_strdup(c->a, s);
	if (!n->str)
		return um_error_set(c->err, -E2BIG, "document too large");
	n->len = (uint32_t)strlen(s);
	n->type = UM_JSON_STR;
	return 0;
}

static int check_time(struct checker *c, const struct um_sfield *f, struct um_json *n,
		      const struct um_spath *p)
{
	char buf[UM_TIME_LEN];
	int64_t ns;

	if (um_time_parse(n->str, &ns) < 0)
		return bad_value(c, p, "not a time in the form 2006-01-02T15:04:05Z");
	if (f->base == UM_SB_TIME)
		um_time_format(ns, buf);
	else
		um_time_format_micro(ns, buf);
	return set_text(c, n, buf);
}

static int check_quantity(struct checker *c, struct um_json *n, const struct um_spath *p)
{
	char canon[UM_CANON_LEN];
	int r = um_canon_quantity(n->str, canon);

	if (r == -EINVAL)
		return bad_value(c, p, QUANTITY_RULE);
	if (r < 0) {
		n->type = UM_JSON_STR;
		return 0;
	}
	return strcmp(canon, n->str) || n->type == UM_JSON_NUM ? set_text(c, n, canon) : 0;
}

static int check_bytes(struct checker *c, struct um_json *n, const struct um_spath *p)
{
	size_t bad, len;
	char msg[80], *raw;

	if (um_base64_decoded_len(n->str, n->len, &bad) < 0) {
		snprintf(msg, sizeof(msg), "illegal base64 data at input byte %zu", bad);
		return bad_value(c, p, msg);
	}
	if (!memchr(n->str, '\n', n->len) && !memchr(n->str, '\r', n->len))
		return 0;
	raw = um_base64_decode(c->a, n->str, n->len, &len);
	raw = raw ? um_base64_encode(c->a, raw, len) : NULL;
	return raw ? set_text(c, n, raw) : um_error_set(c->err, -E2BIG, "document too large");
}

static int check_object(struct checker *c, const struct um_stype *t, struct um_json *obj,
			const struct um_spath *p);

static int check_one(struct checker *c, const struct um_stype *t, const struct um_sfield *f,
		     struct um_json *n, const struct um_spath *p)
{
	bool is_str = n->type == UM_JSON_STR, is_num = n->type == UM_JSON_NUM;
	int64_t v;

	switch ((enum um_sbase)f->base) {
	case UM_SB_STRING:
		return is_str ? 0 : wrong_type(c, t, f, n, p, false);
	case UM_SB_BOOL:
		return n->type == UM_JSON_BOOL ? 0 : wrong_type(c, t, f, n, p, false);
	case UM_SB_INT32:
	case UM_SB_INT64:
		if (um_json_to_i64(n, &v) < 0 ||
		    (f->base == UM_SB_INT32 && (v < INT32_MIN || v > INT32_MAX)))
			return wrong_type(c, t, f, n, p, false);
		return 0;
	case UM_SB_DOUBLE:
		if (!is_num || !isfinite(um_json_double(n, 0)))
			return wrong_type(c, t, f, n, p, false);
		return 0;
	case UM_SB_INTSTR:
		if (is_str || (!um_json_to_i64(n, &v) && v >= INT32_MIN && v <= INT32_MAX))
			return 0;
		return wrong_type(c, t, f, n, p, false);
	case UM_SB_QUANTITY:
		return is_str || is_num ? check_quantity(c, n, p)
					: wrong_type(c, t, f, n, p, false);
	case UM_SB_TIME:
	case UM_SB_MICROTIME:
		return is_str ? check_time(c, f, n, p) : wrong_type(c, t, f, n, p, false);
	case UM_SB_BYTES:
		return is_str ? check_bytes(c, n, p) : wrong_type(c, t, f, n, p, false);
	case UM_SB_RAW:
		return 0;
	case UM_SB_OBJECT:
		if (n->type != UM_JSON_OBJ)
			return wrong_type(c, t, f, n, p, false);
		return check_object(c, &c->s->types[f->type], n, p);
	}
	return 0;
}

/* As Go reads a null in a list: the zero value. */
static void zero_value(struct um_json *n, const struct um_sfield *f)
{
	n->len = 0;
	n->last = NULL;
	if (f->base == UM_SB_OBJECT) {
		n->type = UM_JSON_OBJ;
		n->first = NULL;
	} else if (f->base == UM_SB_INT32 || f->base == UM_SB_INT64 || f->base == UM_SB_DOUBLE) {
		n->type = UM_JSON_NUM;
		n->str = "0";
		n->len = 1;
	} else if (f->base == UM_SB_STRING || f->base == UM_SB_BYTES) {
		n->type = UM_JSON_STR;
		n->str = "";
	}
}

static int check_list(struct checker *c, const struct um_stype *t, const struct um_sfield *f,
		      struct um_json *arr, const struct um_spath *p)
{
	long i = 0;

	if (arr->type != UM_JSON_ARR)
		return wrong_type(c, t, f, arr, p, true);
	if (arr->len > MAX_ITEMS && f->base == UM_SB_OBJECT)
		return bad_value(c, p, "more than 4096 items");
	um_json_foreach (it, arr) {
		int r;

		if (it->type == UM_JSON_NULL)
			zero_value(it, f);
		r = check_one(c, t, f, it, UM_SPATH_INDEX(p, i++));
		if (r < 0)
			return r;
	}
	return 0;
}

/* Unlinks nulls in one pass, however many there are. */
static void drop_nulls(struct um_json *obj)
{
	struct um_json **link = &obj->first, *last = NULL;

	obj->len = 0;
	for (struct um_json *it = obj->first; it; it = it->next) {
		if (it->type == UM_JSON_NULL)
			continue;
		*link = it;
		link = &it->next;
		last = it;
		obj->len++;
	}
	*link = NULL;
	obj->last = last;
}

static int check_map(struct checker *c, const struct um_stype *t, const struct um_sfield *f,
		     struct um_json *map, const struct um_spath *p)
{
	if (map->type != UM_JSON_OBJ)
		return wrong_type(c, t, f, map, p, true);
	if (map->len > MAX_ITEMS)
		return bad_value(c, p, "more than 4096 items");
	drop_nulls(map);
	um_json_foreach (it, map) {
		int r = check_one(c, t, f, it, UM_SPATH_KEY(p, it->key));

		if (r < 0)
			return r;
	}
	return 0;
}

static int check_object(struct checker *c, const struct um_stype *t, struct um_json *obj,
			const struct um_spath *p)
{
	drop_nulls(obj);
	for (struct um_json *it = obj->first, *next; it; it = next) {
		const struct um_sfield *f = um_sfield_find(c->s, t, it->key);
		const struct um_spath *here = UM_SPATH_FIELD(p, it->key);
		int r;

		next = it->next;
		if (!f) {
			const char *path;

			um_json_remove_node(obj, it);
			if (c->strict == UM_STRICT_IGNORE)
				continue;
			path = c->found.n < UM_CAUSES_MAX ? um_spath_str(c->a, here) : "";
			um_cause_add(&c->found, "", path, "unknown field \"%s\"", path);
			continue;
		}
		if (f->card == UM_SC_LIST)
			r = check_list(c, t, f, it, here);
		else if (f->card == UM_SC_MAP)
			r = check_map(c, t, f, it, here);
		else
			r = check_one(c, t, f, it, here);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- whole objects ---- */

static bool is_meta(const struct um_kind *k)
{
	const struct um_schema_set *s = k->type->set;

	return !strcmp(um_ss(s, s->groups[um_stype_of(k)->group].group), "meta.k8s.io");
}

static int check_names(const struct um_kind *k, const char *api_version, const char *kind,
		       struct um_error *err)
{
	char want[200];

	snprintf(want, sizeof(want), "%s%s%s", k->group, *k->group ? "/" : "", k->version);
	if (kind && *kind && strcmp(kind, k->kind))
		return um_error_set(
			err, -EBADMSG,
			"the kind in the data (%.100s) does not match the expected kind "
			"(%s)",
			kind, k->kind);
	/* DeleteOptions and its like belong to every group. */
	if (api_version && *api_version && !is_meta(k) && strcmp(api_version, want))
		return um_error_set(
			err, -EBADMSG,
			"the API version in the data (%.100s) does not match the expected "
			"API version (%s)",
			api_version, want);
	return 0;
}

static int set_names(const struct um_kind *k, struct um_json *obj, struct um_arena *a,
		     struct um_error *err)
{
	char want[200];

	snprintf(want, sizeof(want), "%s%s%s", k->group, *k->group ? "/" : "", k->version);
	if (!um_json_set_str(a, obj, "apiVersion", want) ||
	    !um_json_set_str(a, obj, "kind", k->kind))
		return um_error_set(err, -E2BIG, "document too large");
	return 0;
}

/* Reports what was pruned: into @problems, or as the one error of strict decoding. */
static int report(struct checker *c, const struct um_json *duplicates, struct um_causes *problems)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(400);

	um_json_foreach (it, duplicates)
		um_cause_add(&c->found, "", it->str, "duplicate field \"%s\"", it->str);
	if (!c->found.first || c->strict == UM_STRICT_IGNORE)
		return 0;
	for (const struct um_cause *i = c->found.first; i; i = i->next) {
		if (c->strict == UM_STRICT_STRICT)
			um_buf_addf(&b, "%s%s", b.len ? ", " : "", i->message);
		else if (problems)
			um_cause_add(problems, i->reason, i->field, "%s", i->message);
	}
	if (c->strict == UM_STRICT_WARN)
		return 0;
	return um_error_set(c->err, -EBADMSG, "strict decoding error: %s", um_buf_str(&b));
}

static int check_tree(const struct um_kind *k, struct um_json *obj, enum um_strictness strict,
		      const struct um_json *duplicates, struct um_arena *a,
		      struct um_causes *problems, struct um_error *err)
{
	struct um_error own = UM_ERROR_INIT;
	struct checker c = {k->type->set, a, strict, {.arena = a}, &own};
	int r;

	if (!um_json_is(obj, UM_JSON_OBJ))
		return um_error_set(err, -EBADMSG,
				    "json: cannot unmarshal %s into Go value of type v1.%s",
				    obj ? json_word(obj) : "nothing", k->kind);
	r = check_names(k, um_json_get_str(obj, "apiVersion", NULL),
			um_json_get_str(obj, "kind", NULL), err);
	if (r < 0)
		return r;
	r = check_object(&c, um_stype_of(k), obj, NULL);
	if (r >= 0)
		r = report(&c, duplicates, problems);
	if (r < 0)
		return um_error_move(err, &own);
	r = set_names(k, obj, a, err);
	if (r >= 0 && um_arena_failed(a))
		r = um_error_set(err, -E2BIG,
				 "document too large: needs more than its memory limit");
	return r;
}

int um_schema_check_tree(const struct um_kind *kind, struct um_json *obj, enum um_strictness strict,
			 struct um_arena *a, struct um_causes *problems, struct um_error *err)
{
	return check_tree(kind, obj, strict, NULL, a, problems, err);
}

static int read_text(enum um_encoding enc, const char *data, size_t len, struct um_arena *a,
		     struct um_json **ret, struct um_json *duplicates, struct um_error *err)
{
	struct um_json_opts opts = {.last_wins = true, .ret_duplicates = duplicates};
	struct um_json *docs;
	int r;

	if (enc == UM_ENC_JSON)
		return um_json_parse(a, data, len, &opts, ret, err);
	r = um_yaml_parse(a, data, len, &docs, err);
	if (r < 0)
		return r;
	if (docs->len != 1)
		return um_error_set(err, -EBADMSG, "expected one YAML document, found %u",
				    docs->len);
	*ret = docs->first;
	return 0;
}

/* Written as JSON and read again: that checks all text, and folds repeated keys of maps, by the
 * one reader that is trusted with it. */
static int normalise(struct um_arena *a, struct um_json **tree, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(64 << 20);
	struct um_json_opts opts = {.last_wins = true, .max_depth = 400};

	if (um_json_write(&b, *tree) < 0)
		return um_error_set(err, -E2BIG, "protobuf: document too large");
	return um_json_parse(a, b.data, b.len, &opts, tree, err);
}

static int read_protobuf(const struct um_kind *k, const char *data, size_t len, struct um_arena *a,
			 struct um_json **ret, struct um_error *err)
{
	const char *api_version, *kind, *raw;
	struct um_json *msg;
	size_t raw_len;
	int r = um_sproto_envelope(data, len, a, &api_version, &kind, &raw, &raw_len, err);

	if (r >= 0)
		r = check_names(k, api_version, kind, err);
	if (r >= 0)
		r = um_sproto_message(k->type->set, um_stype_of(k), raw, raw_len, a, &msg, err);
	if (r >= 0)
		r = normalise(a, &msg, err);
	if (r >= 0)
		*ret = msg;
	return r;
}

int um_schema_decode(const struct um_kind *kind, enum um_encoding enc, const char *data, size_t len,
		     enum um_strictness strict, struct um_arena *a, struct um_json **ret,
		     struct um_causes *problems, struct um_error *err)
{
	struct um_error own = UM_ERROR_INIT;
	struct um_json *tree = NULL, *duplicates = um_json_new_arr(a);
	int r;

	if (!duplicates)
		return um_error_set(err, -ENOMEM, "decode %s: out of memory", kind->kind);
	if (enc == UM_ENC_PROTOBUF)
		r = read_protobuf(kind, data, len, a, &tree, &own);
	else
		r = read_text(enc, data, len, a, &tree, duplicates, &own);
	if (r >= 0)
		r = check_tree(kind, tree, strict, duplicates, a, problems, &own);
	if (r < 0) {
		um_error_wrap(&own, r, "%s in version \"%s\" cannot be handled as a %s", kind->kind,
			      kind->version, kind->kind);
		return um_error_move(err, &own);
	}
	*ret = tree;
	return 0;
}

int um_schema_peek(enum um_encoding enc, const char *data, size_t len, struct um_arena *a,
		   const char **ret_api_version, const char **ret_kind, struct um_error *err)
{
	struct um_json *tree, *v, *k;
	const char *raw;
	size_t raw_len;
	int r;

	if (enc == UM_ENC_PROTOBUF)
		return um_sproto_envelope(data, len, a, ret_api_version, ret_kind, &raw, &raw_len,
					  err);
	r = read_text(enc, data, len, a, &tree, NULL, err);
	if (r < 0)
		return r;
	v = um_json_get(tree, "apiVersion");
	k = um_json_get(tree, "kind");
	if (tree->type != UM_JSON_OBJ || (v && v->type != UM_JSON_STR) ||
	    (k && k->type != UM_JSON_STR))
		return um_error_set(err, -EBADMSG, "apiVersion and kind must be text in an object");
	*ret_api_version = um_json_str(v, "");
	*ret_kind = um_json_str(k, "");
	return 0;
}
