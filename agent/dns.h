/* Cluster DNS of this node: listens on one address, UDP and TCP port 53, and answers from the
 * cluster's names (dns_zone.h) or from the host's resolvers (dns_forward.h). All on the loop. */
#ifndef UM_AGENT_DNS_H
#define UM_AGENT_DNS_H

#include "base/error.h"

struct um_loop;
struct dns_zone;
struct agent_dns;

struct agent_dns_config {
	const char *address;		       /* "10.96.0.10" */
	const char *domain;		       /* "cluster.local" */
	const char *pod_range, *service_range; /* whose reverse names are the cluster's */
};

/* The address need not be there yet; one that somebody else listens on is tried again. -EINVAL: the
 * configuration. */
um_must_check int agent_dns_new(struct um_loop *l, const struct agent_dns_config *cfg,
				struct agent_dns **ret, struct um_error *err);
void agent_dns_free(struct agent_dns *d); /* accepts NULL */

struct dns_zone *agent_dns_zone(struct agent_dns *d);

#endif
