/* What the files of the cluster's names share. */
#ifndef UM_AGENT_DNS_ZONE_PRIV_H
#define UM_AGENT_DNS_ZONE_PRIV_H

#include <netinet/in.h>
#include <sys/queue.h>

#include "agent/dns_zone.h"
#include "base/hash.h"

#define DNS_LABEL_SIZE 64 /* a label and its NUL */

struct dns_port {
	char name[DNS_LABEL_SIZE];
	uint8_t protocol;
	uint16_t port;
};

struct dns_slice;

struct dns_endpoint {
	struct in_addr addr;
	bool ready;
	char *hostname; /* owned; NULL: none */
	struct dns_slice *slice;
	struct dns_addr *at;
	LIST_ENTRY(dns_endpoint) same_addr;
};

struct dns_slice {
	UT_hash_handle hh;
	struct dns_service *service;
	TAILQ_ENTRY(dns_slice) next;
	struct dns_port *ports;
	struct dns_endpoint *endpoints;
	size_t n_ports, n_endpoints;
	bool listed;
	char key[]; /* "ns/name" */
};

/* Known by a Service, by slices that name it, or by both. */
struct dns_service {
	UT_hash_handle hh;
	TAILQ_HEAD(, dns_slice) slices;
	bool known, listed, headless, not_ready;
	struct in_addr vip; /* 0: none */
	struct um_dns_name *external;
	struct dns_port *ports;
	size_t n_ports;
	char key[];
};

/* Who has an address: for PTR. */
struct dns_addr {
	UT_hash_handle hh;
	struct in_addr addr;
	struct dns_service *service; /* whose cluster IP it is */
	LIST_HEAD(, dns_endpoint) endpoints;
};

/* How many known Services it has: its name exists then. */
struct dns_namespace {
	UT_hash_handle hh;
	size_t services;
	char name[];
};

struct dns_zone {
	struct dns_zone_config cfg;
	struct um_dns_name apex, server, mail;
	struct dns_service *services;
	struct dns_slice *slices;
	struct dns_addr *addrs;
	struct dns_namespace *namespaces;
	bool services_listed, slices_listed;
};

struct dns_service *dns_zone_find_service(struct dns_zone *z, const char *ns, const char *name);
struct dns_addr *dns_zone_find_addr(struct dns_zone *z, struct in_addr addr);
bool dns_zone_has_namespace(struct dns_zone *z, const char *ns);

#endif
