/* IPv4 ranges in CIDR notation. */
#ifndef UM_NETNS_RANGE_H
#define UM_NETNS_RANGE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Room for "255.255.255.255/32" and a NUL. */
#define UM_RANGE_TEXT_LEN (INET_ADDRSTRLEN + 3)

struct um_range {
	uint32_t base; /* host byte order; the bits past the prefix are 0 */
	unsigned prefix;
};

/* Four decimal numbers, no leading zeros, nothing around them. *ret_addr is in host byte order.
 * 0 or -EINVAL. */
um_must_check int um_range_parse_addr(const char *s, uint32_t *ret_addr);

/* "a.b.c.d/n" with every bit past n zero. @what names the range in errors ("pod range"). -EINVAL
 * also for what pods cannot use: prefixes under 8 or over 30, and ranges that touch 0.0.0.0/8,
 * loopback, link-local or multicast addresses. */
um_must_check int um_range_parse(const char *what, const char *s, struct um_range *ret,
				 struct um_error *err);

void um_range_format(const struct um_range *r, char buf[UM_RANGE_TEXT_LEN]);
void um_range_format_addr(uint32_t addr, char buf[INET_ADDRSTRLEN]);

uint32_t um_range_last(const struct um_range *r);
bool um_range_has(const struct um_range *r, uint32_t addr);
bool um_range_contains(const struct um_range *outer, const struct um_range *inner);
bool um_range_overlaps(const struct um_range *a, const struct um_range *b);

#endif
