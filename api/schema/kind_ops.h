/* What the notation cannot say about a kind: a row of functions for each, in kind_ops.c. */
#ifndef UM_API_SCHEMA_KIND_OPS_H
#define UM_API_SCHEMA_KIND_OPS_H

#include "api/schema/tables.h"

struct um_svalidator; /* validate.h */

struct um_kind_ops {
	const char *group, *version, *kind;
	/* Additions to the object; out of memory is seen in the arena. */
	void (*set_defaults)(struct um_json *obj, struct um_arena *a);
	/* Rules across fields; @old is NULL for a new object. */
	void (*validate)(struct um_svalidator *v, const struct um_json *obj,
			 const struct um_json *old);
	/* metadata.name: the DNS subdomain rule unless set. */
	bool (*name_ok)(const char *name, const char **ret_why);
	const char *const *columns; /* "Name|string|priority|description", NULL-terminated */
	/* The cells after Name, in the order of the columns. */
	void (*cells)(struct um_json *row, const struct um_json *obj, int64_t now_ns,
		      struct um_arena *a);
};

/* NULL for kinds that need none. */
const struct um_kind_ops *um_kind_ops_of(const struct um_kind *k);

void um_sdefault_pod_spec(struct um_json *spec, struct um_arena *a);
void um_sdefault_pod(struct um_json *obj, struct um_arena *a);
void um_sdefault_secret(struct um_json *obj, struct um_arena *a);
void um_sdefault_namespace(struct um_json *obj, struct um_arena *a);
void um_sdefault_node(struct um_json *obj, struct um_arena *a);

void um_svalidate_pod(struct um_svalidator *v, const struct um_json *obj,
		      const struct um_json *old);
void um_svalidate_config_map(struct um_svalidator *v, const struct um_json *obj,
			     const struct um_json *old);
void um_svalidate_secret(struct um_svalidator *v, const struct um_json *obj,
			 const struct um_json *old);
void um_svalidate_node(struct um_svalidator *v, const struct um_json *obj,
		       const struct um_json *old);
void um_svalidate_event(struct um_svalidator *v, const struct um_json *obj,
			const struct um_json *old);
void um_svalidate_binding(struct um_svalidator *v, const struct um_json *obj,
			  const struct um_json *old);

extern const char *const um_scolumns_pod[],
	*const um_scolumns_node[], *const um_scolumns_namespace[],
					   *const um_scolumns_config_map[],
						   *const um_scolumns_secret[],
							   *const um_scolumns_event[],
								   *const um_scolumns_lease[];
void um_scells_pod(struct um_json *row, const struct um_json *obj, int64_t now_ns,
		   struct um_arena *a);
void um_scells_node(struct um_json *row, const struct um_json *obj, int64_t now_ns,
		    struct um_arena *a);
void um_scells_namespace(struct um_json *row, const struct um_json *obj, int64_t now_ns,
			 struct um_arena *a);
void um_scells_config_map(struct um_json *row, const struct um_json *obj, int64_t now_ns,
			  struct um_arena *a);
void um_scells_secret(struct um_json *row, const struct um_json *obj, int64_t now_ns,
		      struct um_arena *a);
void um_scells_event(struct um_json *row, const struct um_json *obj, int64_t now_ns,
		     struct um_arena *a);
void um_scells_lease(struct um_json *row, const struct um_json *obj, int64_t now_ns,
		     struct um_arena *a);

#endif
