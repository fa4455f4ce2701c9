/* The names of the cluster, as the server's Services and EndpointSlices tell them, and the answers
 * about them: Kubernetes' DNS specification 1.1.0. On the loop; never blocks.
 *
 *   SVC.NS.svc.DOMAIN                   A: the cluster IP, or the ready endpoints of a headless
 *                                       Service; CNAME of an ExternalName
 *   HOST.SVC.NS.svc.DOMAIN              A of one endpoint of a headless Service; HOST is the pod's
 *                                       hostname, or its address with dashes
 *   _PORT._PROTO.SVC.NS.svc.DOMAIN      SRV
 *   a-b-c-d.NS.pod.DOMAIN               A: a.b.c.d
 *   dns-version.DOMAIN                  TXT
 *   d.c.b.a.in-addr.arpa                PTR of cluster IPs and of headless endpoints
 *
 * What stands above a name that exists, exists: it has no records (NODATA), and is no NXDOMAIN. */
#ifndef UM_AGENT_DNS_ZONE_H
#define UM_AGENT_DNS_ZONE_H

#include "base/error.h"
#include "base/json.h"
#include "netns/dns.h"
#include "netns/range.h"

/* Addresses in one answer; a larger Service shows so many of its endpoints, drawn at random. */
#define DNS_ANSWERS_MAX 2000

struct dns_zone;

struct dns_zone_config {
	const char *domain;	   /* "cluster.local" */
	struct in_addr server;	   /* of this DNS itself */
	struct um_range ranges[2]; /* pods and Services: nobody else knows of their addresses */
};

/* -EINVAL: the domain. */
um_must_check int dns_zone_new(const struct dns_zone_config *cfg, struct dns_zone **ret,
			       struct um_error *err);
void dns_zone_free(struct dns_zone *z); /* accepts NULL */

void dns_zone_put_service(struct dns_zone *z, const struct um_json *service);
void dns_zone_drop_service(struct dns_zone *z, const char *ns, const char *name);
void dns_zone_put_slice(struct dns_zone *z, const struct um_json *slice);
void dns_zone_drop_slice(struct dns_zone *z, const char *ns, const char *name);
/* All of a kind have been put: those that @items does not name are gone. */
void dns_zone_services_listed(struct dns_zone *z, const struct um_json *items);
void dns_zone_slices_listed(struct dns_zone *z, const struct um_json *items);

enum dns_verdict {
	DNS_ANSWERED,  /* um_dns_end() with *ret_flags and *ret_rcode completes it */
	DNS_ELSEWHERE, /* not a name of the cluster; nothing was written */
	DNS_CHASE,     /* a CNAME was written: the records of *ret_target, from elsewhere, follow */
};
/* Writes the answer to @w, begun for its query. Names of the cluster are SERVFAIL until both kinds
 * were listed. */
enum dns_verdict dns_zone_answer(struct dns_zone *z, struct um_dns_writer *w, uint16_t *ret_flags,
				 int *ret_rcode, struct um_dns_name *ret_target);

#endif
