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
	/* What @obj, defaulted, takes over from the stored object (NULL: there is none). */
	void (*carry_over)(struct um_json *obj, const struct um_json *old, struct um_arena *a);
};

/* NULL for kinds that need none. */
const struct um_kind_ops *um_kind_ops_of(const struct um_kind *k);

void um_sdefault_pod_spec(struct um_json *spec, struct um_arena *a);
/* The same without what only pods get: containers, images, volumes. */
void um_sdefault_template_spec(struct um_json *spec, struct um_arena *a);
void um_sdefault_pod(struct um_json *obj, struct um_arena *a);
void um_sdefault_secret(struct um_json *obj, struct um_arena *a);
void um_sdefault_namespace(struct um_json *obj, struct um_arena *a);
void um_sdefault_node(struct um_json *obj, struct um_arena *a);

void um_sdefault_service(struct um_json *obj, struct um_arena *a);
void um_sdefault_deployment(struct um_json *obj, struct um_arena *a);
void um_sdefault_replica_set(struct um_json *obj, struct um_arena *a);
void um_sdefault_pod_template(struct um_json *obj, struct um_arena *a);
void um_scarry_service(struct um_json *obj, const struct um_json *old, struct um_arena *a);
bool um_sname_service(const char *name, const char **ret_why);

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

void um_svalidate_service(struct um_svalidator *v, const struct um_json *obj,
			  const struct um_json *old);
void um_svalidate_endpoints(struct um_svalidator *v, const struct um_json *obj,
			    const struct um_json *old);
void um_svalidate_endpoint_slice(struct um_svalidator *v, const struct um_json *obj,
				 const struct um_json *old);
void um_svalidate_deployment(struct um_svalidator *v, const struct um_json *obj,
			     const struct um_json *old);
void um_svalidate_replica_set(struct um_svalidator *v, const struct um_json *obj,
			      const struct um_json *old);
void um_svalidate_pod_template(struct um_svalidator *v, const struct um_json *obj,
			       const struct um_json *old);

extern const char *const um_scolumns_pod[];
extern const char *const um_scolumns_node[];
extern const char *const um_scolumns_namespace[];
extern const char *const um_scolumns_config_map[];
extern const char *const um_scolumns_secret[];
extern const char *const um_scolumns_event[];
extern const char *const um_scolumns_lease[];
extern const char *const um_scolumns_service[];
extern const char *const um_scolumns_endpoints[];
extern const char *const um_scolumns_endpoint_slice[];
extern const char *const um_scolumns_deployment[];
extern const char *const um_scolumns_replica_set[];
extern const char *const um_scolumns_pod_template[];
extern const char *const um_scolumns_controller_revision[];
extern const char *const um_scolumns_scale[];
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
void um_scells_service(struct um_json *row, const struct um_json *obj, int64_t now_ns,
		       struct um_arena *a);
void um_scells_endpoints(struct um_json *row, const struct um_json *obj, int64_t now_ns,
			 struct um_arena *a);
void um_scells_endpoint_slice(struct um_json *row, const struct um_json *obj, int64_t now_ns,
			      struct um_arena *a);
void um_scells_deployment(struct um_json *row, const struct um_json *obj, int64_t now_ns,
			  struct um_arena *a);
void um_scells_replica_set(struct um_json *row, const struct um_json *obj, int64_t now_ns,
			   struct um_arena *a);
void um_scells_pod_template(struct um_json *row, const struct um_json *obj, int64_t now_ns,
			    struct um_arena *a);
void um_scells_controller_revision(struct um_json *row, const struct um_json *obj, int64_t now_ns,
				   struct um_arena *a);
void um_scells_scale(struct um_json *row, const struct um_json *obj, int64_t now_ns,
		     struct um_arena *a);

#endif
