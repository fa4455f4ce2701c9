#include "api/schema/kind_ops.h"

#include <string.h>

#include "api/schema/validate.h"

static bool label_name(const char *name, const char **ret_why)
{
	*ret_why = um_sformat_dns_label(name);
	return !*ret_why;
}

static const struct um_kind_ops ops[] = {
	{"", "v1", "Pod", um_sdefault_pod, um_svalidate_pod, NULL, um_scolumns_pod, um_scells_pod},
	{"", "v1", "Node", um_sdefault_node, um_svalidate_node, NULL, um_scolumns_node,
	 um_scells_node},
	{"", "v1", "Namespace", um_sdefault_namespace, NULL, label_name, um_scolumns_namespace,
	 um_scells_namespace},
	{"", "v1", "ConfigMap", NULL, um_svalidate_config_map, NULL, um_scolumns_config_map,
	 um_scells_config_map},
	{"", "v1", "Secret", um_sdefault_secret, um_svalidate_secret, NULL, um_scolumns_secret,
	 um_scells_secret},
	{"", "v1", "Event", NULL, um_svalidate_event, NULL, um_scolumns_event, um_scells_event},
	{"", "v1", "Binding", NULL, um_svalidate_binding, NULL, NULL, NULL},
	{"coordination.k8s.io", "v1", "Lease", NULL, NULL, NULL, um_scolumns_lease,
	 um_scells_lease},
};

const struct um_kind_ops *um_kind_ops_of(const struct um_kind *k)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(ops); i++)
		if (!strcmp(ops[i].kind, k->kind) && !strcmp(ops[i].group, k->group) &&
		    !strcmp(ops[i].version, k->version))
			return &ops[i];
	return NULL;
}
