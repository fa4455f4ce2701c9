/* One schema drives all: what a kind is, and what follows from it.
 *
 * Built-in kinds are described in api/schema/<group>.schema in the notation that
 * docs/schema-notation.md explains; a build-time C program turns them into constant tables.
 * CustomResourceDefinitions will compile into the same structures at run time, so that built-in and
 * custom kinds run through one path: nothing outside this folder may know a built-in type.
 *
 * Objects are um_json trees (base/json.h). All functions are pure: no I/O, no globals. */
#ifndef UM_API_SCHEMA_H
#define UM_API_SCHEMA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

/* ---- kinds ---- */

struct um_schema_type; /* opaque outside api/schema */

struct um_kind {
	const char *group;   /* "" for core */
	const char *version; /* "v1" */
	const char *kind, *list_kind, *plural, *singular;
	const char *const *short_names; /* NULL-terminated, may be empty */
	const char *const *categories;	/* "all", ... */
	bool namespaced;
	bool is_volatile;	  /* lives in the volatile store: leases, events */
	bool is_virtual;	  /* is answered when it is created, never kept */
	bool has_status;	  /* has a /status subresource: spec and status are isolated */
	bool has_generation;	  /* metadata.generation grows with spec */
	const char *const *verbs; /* NULL-terminated */
	const char *const *subresources;    /* "status", "binding", "log", ...; NULL-terminated */
	const char *const *field_selectors; /* paths beyond metadata.name, metadata.namespace */
	const struct um_schema_type *type;
};

/* All built-in kinds, in a stable order. */
const struct um_kind *const *um_schema_kinds(size_t *ret_n);
/* By group, version and kind (or plural resource name); NULL when unknown. */
const struct um_kind *um_schema_find_kind(const char *group, const char *version, const char *kind);
const struct um_kind *um_schema_find_resource(const char *group, const char *version,
					      const char *plural);
/* A kind that is no resource but is decoded from bodies: DeleteOptions, Binding, Status, ... */

/* ---- problems ---- */

/* One cause of a 422, or one strictness warning. Strings live in the arena. */
struct um_cause {
	const char *reason; /* FieldValueRequired, FieldValueInvalid, FieldValueNotSupported, ... */
	const char *field;  /* "spec.containers[0].image" */
	const char *message; /* as Kubernetes words it: "Required value: ..." */
	struct um_cause *next;
};
struct um_causes {
	struct um_arena *arena; /* borrowed */
	struct um_cause *first, *last;
	unsigned n; /* at most UM_CAUSES_MAX are kept */
};
#define UM_CAUSES_MAX 64
void um_cause_add(struct um_causes *c, const char *reason, const char *field, const char *fmt, ...)
	um_printf(4, 5);

/* ---- reading ---- */

enum um_encoding { UM_ENC_JSON, UM_ENC_YAML, UM_ENC_PROTOBUF };
enum um_strictness { UM_STRICT_IGNORE, UM_STRICT_WARN, UM_STRICT_STRICT };

/* Decodes one object of @kind: syntax, types of all known fields (a wrong type is -EBADMSG that
 * names the path), unknown and duplicate fields pruned, and reported in @problems under WARN (each
 * message as Kubernetes words it: unknown field "spec.foo") or refused under STRICT (-EBADMSG,
 * "strict decoding error: ..."). apiVersion and kind must match when present, and are set.
 * Protobuf: the k8s\0 envelope or, for a bare message, raw. Nulls are dropped. */
um_must_check int um_schema_decode(const struct um_kind *kind, enum um_encoding enc,
				   const char *data, size_t len, enum um_strictness strict,
				   struct um_arena *a, struct um_json **ret,
				   struct um_causes *problems, struct um_error *err);
/* The same for a tree (a patched object, a static manifest); prunes in place. */
um_must_check int um_schema_check_tree(const struct um_kind *kind, struct um_json *obj,
				       enum um_strictness strict, struct um_arena *a,
				       struct um_causes *problems, struct um_error *err);
/* apiVersion and kind of a body whose kind is not known yet. */
um_must_check int um_schema_peek(enum um_encoding enc, const char *data, size_t len,
				 struct um_arena *a, const char **ret_api_version,
				 const char **ret_kind, struct um_error *err);

/* ---- defaulting and validation ---- */

/* Puts in the defaults that Kubernetes puts in. 0 or -ENOMEM. */
um_must_check int um_schema_default(const struct um_kind *kind, struct um_json *obj,
				    struct um_arena *a);
/* What an update that leaves it out keeps of the stored object (an address, node ports), and what a
 * change of another field takes away. @obj has its defaults; @old is NULL for a new object. Out of
 * memory is seen in the arena. */
void um_schema_carry_over(const struct um_kind *kind, struct um_json *obj,
			  const struct um_json *old, struct um_arena *a);
/* Of a Service's spec that has its defaults. */
bool um_service_needs_ip(const struct um_json *spec);
bool um_service_needs_node_ports(const struct um_json *spec);
/* Required fields, enums, formats, ranges, names, cross-field rules of the kind, fields that Umiak
 * does not support yet (refused by name); with @old also immutability. metadata is included.
 * Returns 0 when no cause was added, else -EINVAL. */
um_must_check int um_schema_validate(const struct um_kind *kind, const struct um_json *obj,
				     const struct um_json *old, struct um_causes *causes);

/* ---- selectors of objects (LabelSelector) ---- */

bool um_schema_selector_match(const struct um_json *selector, const struct um_json *labels);
/* "app=web,tier in (a,b)"; "" selects everything. Lives in the arena; NULL: it is full. */
const char *um_schema_selector_text(const struct um_json *selector, struct um_arena *a);

/* ---- patches ---- */

/* RFC 7386. @patch and @obj are not changed. */
um_must_check int um_patch_merge(struct um_arena *a, const struct um_json *obj,
				 const struct um_json *patch, struct um_json **ret,
				 struct um_error *err);
/* RFC 6902. */
um_must_check int um_patch_json(struct um_arena *a, const struct um_json *obj,
				const struct um_json *patch, struct um_json **ret,
				struct um_error *err);
/* Kubernetes' strategic merge patch with its directives, by the merge keys of the schema. */
um_must_check int um_patch_strategic(const struct um_kind *kind, struct um_arena *a,
				     const struct um_json *obj, const struct um_json *patch,
				     struct um_json **ret, struct um_error *err);

/* ---- showing ---- */

/* Table columns (meta.k8s.io/v1 TableColumnDefinition as JSON array). */
struct um_json *um_schema_table_columns(const struct um_kind *kind, struct um_arena *a);
/* The cells of one object as a JSON array, in the order of the columns. @now_wall_ns for ages. */
struct um_json *um_schema_table_cells(const struct um_kind *kind, const struct um_json *obj,
				      int64_t now_wall_ns, struct um_arena *a);

/* /openapi/v3/<...> of one group and version, and the index of /openapi/v3. */
um_must_check int um_schema_openapi_v3(const char *group, const char *version, struct um_buf *b);
um_must_check int um_schema_openapi_v3_index(struct um_buf *b);
/* /openapi/v2, in protobuf: which parameters a PATCH of each kind knows, and no more. */
um_must_check int um_schema_openapi_v2(struct um_buf *b);

#endif
