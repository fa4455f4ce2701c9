/* What the files of DNS messages share. */
#ifndef UM_NETNS_DNS_PRIV_H
#define UM_NETNS_DNS_PRIV_H

#include "netns/dns.h"

/* A record whose data has no compressed names. */
bool um_dns_put_raw(struct um_dns_writer *w, enum um_dns_section s, const struct um_dns_name *owner,
		    uint16_t type, uint32_t ttl, const uint8_t *data, size_t len);

#endif
