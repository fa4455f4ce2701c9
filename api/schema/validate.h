/* Inside api/schema: reporting what is wrong with a field, in Kubernetes' words. */
#ifndef UM_API_SCHEMA_VALIDATE_H
#define UM_API_SCHEMA_VALIDATE_H

#include "api/schema/kind_ops.h"

struct um_svalidator {
	const struct um_schema_set *s;
	const struct um_kind *kind;
	struct um_causes *causes;
	bool asks_nothing_new; /* an update of metadata or status alone */
};

/* @detail may be NULL for required. */
void um_sv_required(struct um_svalidator *v, const struct um_spath *p, const char *detail);
/* @value is shown as JSON; NULL shows as "". */
void um_sv_invalid(struct um_svalidator *v, const struct um_spath *p, const struct um_json *value,
		   const char *detail);
void um_sv_invalid_str(struct um_svalidator *v, const struct um_spath *p, const char *value,
		       const char *detail);
/* @values: "A|B|C" */
void um_sv_not_supported(struct um_svalidator *v, const struct um_spath *p, const char *value,
			 const char *values);
void um_sv_duplicate(struct um_svalidator *v, const struct um_spath *p, const char *value);
void um_sv_not_found(struct um_svalidator *v, const struct um_spath *p, const char *value);
void um_sv_forbidden(struct um_svalidator *v, const struct um_spath *p, const char *detail);
void um_sv_too_long(struct um_svalidator *v, const struct um_spath *p, long max_bytes);
/* "not supported by Umiak yet". An object that was stored before it was known can still go on. */
void um_sv_not_yet(struct um_svalidator *v, const struct um_spath *p);

/* metadata, by the rules of the kind. */
void um_sv_metadata(struct um_svalidator *v, const struct um_json *obj, const struct um_json *old);
/* Labels and annotations of a template. */
void um_sv_template_metadata(struct um_svalidator *v, const struct um_json *meta,
			     const struct um_spath *p);
/* A LabelSelector: what the notation cannot say. */
void um_sv_selector(struct um_svalidator *v, const struct um_json *selector,
		    const struct um_spath *p);
/* Adds "field is immutable" when they differ. */
void um_sv_immutable(struct um_svalidator *v, const struct um_spath *p, const struct um_json *now,
		     const struct um_json *old);
/* The rules of a pod's spec that stands at @p: of a pod, or of a template. */
void um_sv_pod_spec(struct um_svalidator *v, const struct um_json *spec, const struct um_spath *p);
void um_sv_pod_update(struct um_svalidator *v, const struct um_json *spec,
		      const struct um_json *old);
/* One container: what the notation cannot say. */
struct um_spod_ctx {
	const struct um_json *spec;
	bool host_network, init;
};
void um_sv_container(struct um_svalidator *v, const struct um_spod_ctx *ctx,
		     const struct um_json *c, const struct um_spath *p);

/* The volumes of a pod. */
void um_sv_volumes(struct um_svalidator *v, const struct um_json *volumes,
		   const struct um_spath *p);
/* A fieldRef, and a resourceFieldRef: of a variable, or of a file (@file). */
void um_sv_field_ref(struct um_svalidator *v, const struct um_json *ref, bool file,
		     const struct um_spath *p);
void um_sv_resource_ref(struct um_svalidator *v, const struct um_json *ref, bool file,
			const struct um_spath *p);

/* A securityContext asks for a profile that is not done yet. */
void um_sv_seccomp(struct um_svalidator *v, const struct um_json *sc, const struct um_spath *up);

/* The text of a rule that @s breaks, or NULL. */
const char *um_sformat_dns_label(const char *s);
const char *um_sformat_dns1035_label(const char *s);
const char *um_sformat_dns_subdomain(const char *s);
const char *um_sformat_qualified(const char *s);
const char *um_sformat_label_value(const char *s);
const char *um_sformat_port_name(const char *s);
const char *um_sformat_env_name(const char *s);
const char *um_sformat_config_key(const char *s);
const char *um_sformat_relative_path(const char *s);
const char *um_sformat_ip(const char *s);
const char *um_sformat_http_header(const char *s);

#endif
