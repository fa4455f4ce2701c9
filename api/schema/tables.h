/* The tables that a schema is made of. Inside api/schema only.
 *
 * Text is an offset into one string pool and types are indexes, so that the built-in tables are
 * plain read-only data: nothing is relocated, nothing is dirtied at start. A set made at run time
 * has the same shape. Offset 0 is the empty string and means "none". */
#ifndef UM_API_SCHEMA_TABLES_H
#define UM_API_SCHEMA_TABLES_H

#include "api/schema/schema.h"

enum um_sbase {
	UM_SB_STRING,
	UM_SB_INT32,
	UM_SB_INT64,
	UM_SB_BOOL,
	UM_SB_DOUBLE,
	UM_SB_QUANTITY,
	UM_SB_INTSTR,
	UM_SB_TIME,
	UM_SB_MICROTIME,
	UM_SB_BYTES, /* base64 in JSON */
	UM_SB_RAW,   /* any JSON */
	UM_SB_OBJECT,
};

enum um_scard { UM_SC_ONE, UM_SC_LIST, UM_SC_MAP };

enum um_slist { UM_SL_NONE, UM_SL_ATOMIC, UM_SL_SET, UM_SL_MAP };

enum um_sformat {
	UM_SF_NONE,
	UM_SF_DNS_LABEL,
	UM_SF_DNS_SUBDOMAIN,
	UM_SF_QUALIFIED,
	UM_SF_LABELS,
	UM_SF_LABEL_VALUE,
	UM_SF_PORT,
	UM_SF_PORT0,
	UM_SF_PORT_NAME,
	UM_SF_ENV_NAME,
	UM_SF_CONFIG_KEY,
	UM_SF_RELATIVE_PATH,
	UM_SF_IP,
	UM_SF_NONNEG,
	UM_SF_HTTP_HEADER,
};

enum {
	UM_SFLAG_REQUIRED = 1 << 0,
	UM_SFLAG_UNSUPPORTED = 1 << 1, /* refused unless the value is `allow` or a zero value */
	UM_SFLAG_INLINE = 1 << 2, /* a message on the wire, its fields are the parent's in JSON */
	UM_SFLAG_MIN = 1 << 3,
	UM_SFLAG_MAX = 1 << 4,
	UM_SFLAG_MERGE = 1 << 5, /* strategic merge patch merges the list */
	UM_SFLAG_RETAIN_KEYS = 1 << 6,
	UM_SFLAG_REPLACE = 1 << 7, /* strategic merge patch replaces the object */
	UM_SFLAG_IMMUTABLE = 1 << 8,
	UM_SFLAG_ENUM = 1 << 9,
	UM_SFLAG_DEFAULT = 1 << 10,
	UM_SFLAG_PRESENCE = 1 << 11, /* zero and absent differ */
};

struct um_sfield {
	uint32_t name, text;
	uint32_t def;	    /* JSON */
	uint32_t values;    /* "A|B|C" with UM_SFLAG_ENUM */
	uint32_t allow;	    /* JSON; with UM_SFLAG_UNSUPPORTED */
	uint32_t merge_key; /* of strategic merge patch */
	uint32_t list_keys; /* "a,b": of server-side apply */
	int32_t min, max;
	uint16_t number; /* in protobuf; 0: not on the wire */
	uint16_t type;	 /* index, with UM_SB_OBJECT */
	uint16_t flags;
	uint8_t base, card, list, format;
};

struct um_stype {
	uint32_t name, text;
	uint16_t first, n; /* fields */
	uint16_t group;
};

struct um_sgroup {
	uint32_t group, version, prefix; /* prefix: of names in OpenAPI */
};

struct um_schema_set {
	const char *strings;
	const struct um_sfield *fields;
	const struct um_stype *types;
	const struct um_sgroup *groups;
	unsigned n_fields, n_types, n_groups;
};

/* What struct um_kind points to. */
struct um_schema_type {
	const struct um_schema_set *set;
	uint16_t type;
};

/* Made by gen.c. Bodies are kinds without a plural. */
extern const struct um_schema_set um_schema_builtin;
extern const struct um_kind *const um_schema_builtin_kinds[];
extern const unsigned um_schema_builtin_n_kinds;
extern const struct um_kind *const um_schema_builtin_bodies[];
extern const unsigned um_schema_builtin_n_bodies;

static inline const char *um_ss(const struct um_schema_set *s, uint32_t offset)
{
	return s->strings + offset;
}
static inline const struct um_stype *um_stype_of(const struct um_kind *k)
{
	return &k->type->set->types[k->type->type];
}
static inline const struct um_stype *um_stype_at(const struct um_schema_set *s, unsigned i)
{
	return &s->types[i];
}

/* The field that JSON knows as @name, inlined ones included; NULL when there is none. */
const struct um_sfield *um_sfield_find(const struct um_schema_set *s, const struct um_stype *t,
				       const char *name);
/* The field with a number on the wire, without those of inlined messages. */
const struct um_sfield *um_sfield_number(const struct um_schema_set *s, const struct um_stype *t,
					 uint64_t number);
/* Whether "A|B|C" holds @v. */
bool um_senum_has(const char *values, const char *v);

/* ---- paths ---- */

/* Where a walker stands; lives on its stack. Rendered only when there is something to say. */
struct um_spath {
	const struct um_spath *up;
	const char *name; /* a field, or a map's key when is_key */
	long index;	  /* of a list when name is NULL */
	bool is_key;
};

#define UM_SPATH_FIELD(up_, name_) (&(const struct um_spath){(up_), (name_), 0, false})
#define UM_SPATH_KEY(up_, name_) (&(const struct um_spath){(up_), (name_), 0, true})
#define UM_SPATH_INDEX(up_, i_) (&(const struct um_spath){(up_), NULL, (i_), false})

/* "spec.containers[0].resources.limits[cpu]"; "" when the arena is full. */
const char *um_spath_str(struct um_arena *a, const struct um_spath *p);

#endif
