/* Protobuf, read by the field numbers of the schema into the JSON form of the object
 * (https://protobuf.dev/programming-guides/encoding). Everything is bounds-checked; unknown fields
 * are skipped, as every protobuf reader does; a known field of the wrong wire type is refused. */
#include <inttypes.h>
#include <string.h>

#include "base/base64.h"
#include "api/schema/decode.h"
#include "base/clock.h"

#define MAX_DEPTH 60

enum wire {
	WIRE_VARINT = 0,
	WIRE_I64 = 1,
	WIRE_LEN = 2,
	WIRE_START = 3,
	WIRE_END = 4,
	WIRE_I32 = 5
};

struct cursor {
	const uint8_t *p, *end;
};

/* One field as it stands on the wire. */
struct item {
	uint64_t number, varint; /* varint: also the bits of fixed-size values */
	enum wire wire;
	struct cursor bytes;
};

struct reader {
	const struct um_schema_set *s;
	struct um_arena *a;
	struct um_error *err;
};

static int read_varint(struct cursor *c, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t byte;

		if (c->p == c->end)
			return -EBADMSG;
		byte = *c->p++;
		if (shift == 63 && byte > 1)
			return -EBADMSG;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = v;
			return 0;
		}
	}
	return -EBADMSG;
}

static int read_fixed(struct cursor *c, unsigned n, uint64_t *ret)
{
	uint64_t v = 0;

	if ((size_t)(c->end - c->p) < n)
		return -EBADMSG;
	for (unsigned i = 0; i < n; i++)
		v |= (uint64_t)c->p[i] << (8 * i);
	c->p += n;
	*ret = v;
	return 0;
}

static int read_item(struct cursor *c, struct item *ret)
{
	uint64_t tag, len;

	if (read_varint(c, &tag) < 0)
		return -EBADMSG;
	ret->number = tag >> 3;
	ret->wire = (enum wire)(tag & 7);
	ret->varint = 0;
	ret->bytes = (struct cursor){NULL, NULL};
	if (!ret->number || ret->number > UINT32_MAX)
		return -EBADMSG;
	switch (ret->wire) {
	case WIRE_VARINT:
		return read_varint(c, &ret->varint);
	case WIRE_I64:
		return read_fixed(c, 8, &ret->varint);
	case WIRE_I32:
		return read_fixed(c, 4, &ret->varint);
	case WIRE_LEN:
		if (read_varint(c, &len) < 0 || len > (uint64_t)(c->end - c->p))
			return -EBADMSG;
		ret->bytes = (struct cursor){c->p, c->p + len};
		c->p += len;
		return 0;
	case WIRE_START: /* groups are long gone; none of Kubernetes' messages has one */
	case WIRE_END:
	default:
		return -EBADMSG;
	}
}

static int broken(struct reader *rd, const struct um_stype *t)
{
	return um_error_set(rd->err, -EBADMSG, "protobuf: malformed %s message",
			    t ? um_ss(rd->s, t->name) : "value");
}

/* The small messages that JSON writes as one value: up to three fields. */
struct small {
	uint64_t v[4];
	struct cursor s[4];
	bool any;
};

static int read_small(struct cursor c, struct small *ret)
{
	*ret = (struct small){.any = false};
	while (c.p < c.end) {
		struct item it;

		if (read_item(&c, &it) < 0)
			return -EBADMSG;
		ret->any = true;
		if (it.number > 3)
			continue;
		ret->v[it.number] = it.varint;
		if (it.wire == WIRE_LEN)
			ret->s[it.number] = it.bytes;
	}
	return 0;
}

static struct um_json *text_node(struct reader *rd, struct cursor c)
{
	return um_json_new_strn(rd->a, c.p ? (const char *)c.p : "", (size_t)(c.end - c.p));
}

static struct um_json *time_node(struct reader *rd, const struct small *m, bool micro)
{
	int64_t sec = (int64_t)m->v[1], ns = (int64_t)m->v[2];
	char buf[UM_TIME_LEN];

	if (sec < -INT64_C(9000000000) || sec > INT64_C(9000000000) || ns < 0 || ns > 999999999) {
		um_error_set(rd->err, -EBADMSG, "protobuf: time out of range");
		return NULL;
	}
	if (micro)
		um_time_format_micro(sec * UM_NSEC_PER_SEC + ns, buf);
	else
		um_time_format(sec * UM_NSEC_PER_SEC, buf);
	return um_json_new_str(rd->a, buf);
}

/* Time, Quantity, IntOrString, FieldsV1. Sets *ret to NULL for a zero time. */
static int small_value(struct reader *rd, const struct um_sfield *f, const struct item *it,
		       struct um_json **ret)
{
	struct small m;

	if (it->wire != WIRE_LEN || read_small(it->bytes, &m) < 0)
		return broken(rd, NULL);
	*ret = NULL;
	if (f->base == UM_SB_TIME || f->base == UM_SB_MICROTIME) {
		if (!m.any)
			return 0;
		*ret = time_node(rd, &m, f->base == UM_SB_MICROTIME);
	} else if (f->base == UM_SB_QUANTITY) {
		*ret = m.s[1].p != m.s[1].end ? text_node(rd, m.s[1]) : um_json_new_str(rd->a, "0");
	} else if (f->base == UM_SB_INTSTR) {
		*ret = m.v[1] == 1 ? text_node(rd, m.s[3])
				   : um_json_new_i64(rd->a, (int32_t)m.v[2]);
	} else {
		if (m.s[1].p == m.s[1].end)
			return 0;
		return um_json_parse(rd->a, (const char *)m.s[1].p, (size_t)(m.s[1].end - m.s[1].p),
				     NULL, ret, rd->err);
	}
	if (*ret)
		return 0;
	return rd->err && rd->err->code ? rd->err->code : -ENOMEM;
}

static int message(struct reader *rd, const struct um_stype *t, struct cursor c, unsigned depth,
		   struct um_json *obj);

static struct um_json *double_node(struct reader *rd, uint64_t bits)
{
	char digits[40];
	double d;

	memcpy(&d, &bits, sizeof(d));
	if (d != d || d - d != 0) {
		um_error_set(rd->err, -EBADMSG, "protobuf: a number is not finite");
		return NULL;
	}
	return um_json_new_num(rd->a, digits, (size_t)snprintf(digits, sizeof(digits), "%.17g", d));
}

static int value(struct reader *rd, const struct um_sfield *f, const struct item *it,
		 unsigned depth, struct um_json **ret)
{
	enum wire want = WIRE_VARINT;

	*ret = NULL;
	switch ((enum um_sbase)f->base) {
	case UM_SB_QUANTITY:
	case UM_SB_INTSTR:
	case UM_SB_TIME:
	case UM_SB_MICROTIME:
	case UM_SB_RAW:
		return small_value(rd, f, it, ret);
	case UM_SB_OBJECT:
		if (it->wire != WIRE_LEN)
			return broken(rd, &rd->s->types[f->type]);
		*ret = um_json_new_obj(rd->a);
		return message(rd, &rd->s->types[f->type], it->bytes, depth + 1, *ret);
	case UM_SB_STRING:
		want = WIRE_LEN;
		*ret = it->wire == want ? text_node(rd, it->bytes) : NULL;
		break;
	case UM_SB_BYTES:
		want = WIRE_LEN;
		if (it->wire == want)
			*ret = um_json_new_str(
				rd->a, um_base64_encode(rd->a, it->bytes.p,
							(size_t)(it->bytes.end - it->bytes.p)));
		break;
	case UM_SB_DOUBLE:
		want = WIRE_I64;
		*ret = it->wire == want ? double_node(rd, it->varint) : NULL;
		break;
	case UM_SB_INT32:
		*ret = um_json_new_i64(rd->a, (int32_t)it->varint);
		break;
	case UM_SB_INT64:
		*ret = um_json_new_i64(rd->a, (int64_t)it->varint);
		break;
	case UM_SB_BOOL:
		*ret = um_json_new_bool(rd->a, it->varint != 0);
		break;
	}
	if (it->wire != want)
		return um_error_set(rd->err, -EBADMSG, "protobuf: field %s has the wrong wire type",
				    um_ss(rd->s, f->name));
	if (*ret)
		return 0;
	return rd->err && rd->err->code ? rd->err->code : -ENOMEM;
}

/* Writers put zero scalars on the wire that JSON leaves out. */
static bool left_out(const struct um_sfield *f, const struct um_json *v)
{
	if (f->flags & (UM_SFLAG_PRESENCE | UM_SFLAG_REQUIRED))
		return false;
	switch (v->type) {
	case UM_JSON_BOOL:
		return !v->boolean;
	case UM_JSON_STR:
		return !v->len;
	case UM_JSON_NUM:
		return !strcmp(v->str, "0");
	case UM_JSON_NULL:
	case UM_JSON_ARR:
	case UM_JSON_OBJ:
		return false;
	}
	return false;
}

static int packed(struct reader *rd, const struct um_sfield *f, struct cursor c,
		  struct um_json *arr)
{
	while (c.p < c.end) {
		struct item it = {.wire = f->base == UM_SB_DOUBLE ? WIRE_I64 : WIRE_VARINT};
		struct um_json *v;
		int r = it.wire == WIRE_I64 ? read_fixed(&c, 8, &it.varint)
					    : read_varint(&c, &it.varint);

		if (r < 0)
			return broken(rd, NULL);
		r = value(rd, f, &it, 0, &v);
		if (r < 0)
			return r;
		um_json_append(arr, v);
	}
	return 0;
}

static int list_item(struct reader *rd, const struct um_sfield *f, const struct item *it,
		     unsigned depth, struct um_json *obj)
{
	struct um_json *arr = um_json_ensure_arr(rd->a, obj, um_ss(rd->s, f->name)), *v;
	bool numeric = f->base == UM_SB_INT32 || f->base == UM_SB_INT64 || f->base == UM_SB_BOOL ||
		       f->base == UM_SB_DOUBLE;
	int r;

	if (it->wire == WIRE_LEN && numeric)
		return packed(rd, f, it->bytes, arr);
	r = value(rd, f, it, depth, &v);
	if (r < 0)
		return r;
	if (v)
		um_json_append(arr, v);
	return 0;
}

static int map_entry(struct reader *rd, const struct um_sfield *f, const struct item *entry,
		     unsigned depth, struct um_json *obj)
{
	struct um_json *map = um_json_ensure_obj(rd->a, obj, um_ss(rd->s, f->name)), *v = NULL;
	struct item it, val = {.wire = WIRE_LEN};
	struct cursor c = entry->bytes, key = {NULL, NULL};
	int r;

	if (entry->wire != WIRE_LEN)
		return broken(rd, NULL);
	while (c.p < c.end) {
		if (read_item(&c, &it) < 0)
			return broken(rd, NULL);
		if (it.number == 1 && it.wire == WIRE_LEN)
			key = it.bytes;
		else if (it.number == 2)
			val = it;
	}
	if (key.p && memchr(key.p, 0, (size_t)(key.end - key.p)))
		return um_error_set(rd->err, -EBADMSG, "protobuf: a key of %s holds U+0000",
				    um_ss(rd->s, f->name));
	r = value(rd, f, &val, depth, &v);
	if (r < 0)
		return r;
	if (!v)
		return 0;
	v->key = um_arena_strndup(rd->a, key.p ? (const char *)key.p : "",
				  (size_t)(key.end - key.p));
	if (!v->key || !um_json_append(map, v))
		return -ENOMEM;
	return 0;
}

static int single(struct reader *rd, const struct um_sfield *f, const struct item *it,
		  unsigned depth, struct um_json *obj)
{
	const char *name = um_ss(rd->s, f->name);
	struct um_json *v;
	int r;

	if (f->base == UM_SB_OBJECT) {
		if (it->wire != WIRE_LEN)
			return broken(rd, &rd->s->types[f->type]);
		v = f->flags & UM_SFLAG_INLINE ? obj : um_json_ensure_obj(rd->a, obj, name);
		return message(rd, &rd->s->types[f->type], it->bytes, depth + 1, v);
	}
	r = value(rd, f, it, depth, &v);
	if (r < 0)
		return r;
	if (!v || left_out(f, v)) {
		um_json_remove(obj, name);
		return 0;
	}
	return um_json_set(rd->a, obj, name, v) ? 0 : -ENOMEM;
}

static int message(struct reader *rd, const struct um_stype *t, struct cursor c, unsigned depth,
		   struct um_json *obj)
{
	if (depth > MAX_DEPTH)
		return um_error_set(rd->err, -E2BIG, "protobuf: nested deeper than %d levels",
				    MAX_DEPTH);
	if (!obj)
		return -ENOMEM;
	while (c.p < c.end) {
		const struct um_sfield *f;
		struct item it;
		int r;

		if (read_item(&c, &it) < 0)
			return broken(rd, t);
		f = um_sfield_number(rd->s, t, it.number);
		if (!f)
			continue;
		if (f->card == UM_SC_LIST)
			r = list_item(rd, f, &it, depth, obj);
		else if (f->card == UM_SC_MAP)
			r = map_entry(rd, f, &it, depth, obj);
		else
			r = single(rd, f, &it, depth, obj);
		if (r < 0)
			return r;
	}
	return um_arena_failed(rd->a) ? -E2BIG : 0;
}

int um_sproto_message(const struct um_schema_set *s, const struct um_stype *t, const char *data,
		      size_t len, struct um_arena *a, struct um_json **ret, struct um_error *err)
{
	struct um_error own = UM_ERROR_INIT;
	struct reader rd = {s, a, &own};
	struct cursor c = {(const uint8_t *)data, (const uint8_t *)data + len};
	struct um_json *obj = um_json_new_obj(a);
	int r = message(&rd, t, c, 0, obj);

	if (r < 0) {
		if (own.code)
			return um_error_move(err, &own);
		return um_error_set(
			err, um_arena_failed(a) ? -E2BIG : r,
			"protobuf: document too large: needs more than its memory limit");
	}
	*ret = obj;
	return 0;
}

static const char *dup_text(struct um_arena *a, struct cursor c)
{
	size_t len = (size_t)(c.end - c.p);

	return !c.p || memchr(c.p, 0, len) ? "" : um_arena_strndup(a, (const char *)c.p, len);
}

int um_sproto_envelope(const char *data, size_t len, struct um_arena *a,
		       const char **ret_api_version, const char **ret_kind, const char **ret_raw,
		       size_t *ret_len, struct um_error *err)
{
	struct cursor c = {(const uint8_t *)data + 4, (const uint8_t *)data + len};
	struct small m;

	*ret_api_version = *ret_kind = "";
	*ret_raw = data;
	*ret_len = len;
	if (len < 4 || memcmp(data, "k8s", 4))
		return 0;
	*ret_raw = "";
	*ret_len = 0;
	while (c.p < c.end) {
		struct item it;

		if (read_item(&c, &it) < 0)
			return um_error_set(err, -EBADMSG, "protobuf: malformed envelope");
		if (it.wire != WIRE_LEN)
			continue;
		if (it.number == 1) {
			if (read_small(it.bytes, &m) < 0)
				return um_error_set(err, -EBADMSG, "protobuf: malformed envelope");
			*ret_api_version = dup_text(a, m.s[1]);
			*ret_kind = dup_text(a, m.s[2]);
		} else if (it.number == 2) {
			*ret_raw = (const char *)it.bytes.p;
			*ret_len = (size_t)(it.bytes.end - it.bytes.p);
		} else if (it.number == 3 && it.bytes.p != it.bytes.end) {
			return um_error_set(err, -EBADMSG,
					    "protobuf: envelope: contentEncoding is not supported");
		}
	}
	return *ret_api_version && *ret_kind ? 0 : -ENOMEM;
}
