#include "api/schema/kind_ops.h"

#include <string.h>

#include "api/schema/validate.h"

static bool label_name(const char *name, const char **ret_why)
{
	*ret_why = um_sformat_dns_label(name);
	return !*ret_why;
}

#define KIND(g, k) .group = (g), .version = "v1", .kind = (k)
#define TABLE(n) .columns = um_scolumns_##n, .cells = um_scells_##n

static const struct um_kind_ops ops[] = {
	{KIND("", "Pod"), TABLE(pod), .set_defaults = um_sdefault_pod,
	 .validate = um_svalidate_pod},
	{KIND("", "Node"), TABLE(node), .set_defaults = um_sdefault_node,
	 .validate = um_svalidate_node},
	{KIND("", "Namespace"), TABLE(namespace), .set_defaults = um_sdefault_namespace,
	 .name_ok = label_name},
	{KIND("", "ConfigMap"), TABLE(config_map), .validate = um_svalidate_config_map},
	{KIND("", "Secret"), TABLE(secret), .set_defaults = um_sdefault_secret,
	 .validate = um_svalidate_secret},
	{KIND("", "Service"), TABLE(service), .set_defaults = um_sdefault_service,
	 .validate = um_svalidate_service, .name_ok = um_sname_service,
	 .carry_over = um_scarry_service},
	{KIND("", "Endpoints"), TABLE(endpoints), .validate = um_svalidate_endpoints},
	{KIND("", "PodTemplate"), TABLE(pod_template), .set_defaults = um_sdefault_pod_template,
	 .validate = um_svalidate_pod_template},
	{KIND("", "Event"), TABLE(event), .validate = um_svalidate_event},
	{KIND("", "Binding"), .validate = um_svalidate_binding},
	{KIND("apps", "Deployment"), TABLE(deployment), .set_defaults = um_sdefault_deployment,
	 .validate = um_svalidate_deployment},
	{KIND("apps", "ReplicaSet"), TABLE(replica_set), .set_defaults = um_sdefault_replica_set,
	 .validate = um_svalidate_replica_set},
	{KIND("apps", "ControllerRevision"), TABLE(controller_revision)},
	{KIND("autoscaling", "Scale"), TABLE(scale)},
	{KIND("discovery.k8s.io", "EndpointSlice"), TABLE(endpoint_slice),
	 .validate = um_svalidate_endpoint_slice},
	{KIND("coordination.k8s.io", "Lease"), TABLE(lease)},
};

const struct um_kind_ops *um_kind_ops_of(const struct um_kind *k)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(ops); i++)
		if (!strcmp(ops[i].kind, k->kind) && !strcmp(ops[i].group, k->group) &&
		    !strcmp(ops[i].version, k->version))
			return &ops[i];
	return NULL;
}

void um_schema_carry_over(const struct um_kind *kind, struct um_json *obj,
			  const struct um_json *old, struct um_arena *a)
{
	const struct um_kind_ops *o = um_kind_ops_of(kind);

	if (o && o->carry_over)
		o->carry_over(obj, old, a);
}
