#include "netns/range.h"

#include <string.h>

#include "base/num.h"

/* What no pod may have: RFC 6890's own-network, loopback, link-local (the pods' gateway is there),
 * multicast and reserved blocks. */
static const struct um_range forbidden[] = {
	{0x00000000, 8}, {0x7f000000, 8}, {0xa9fe0000, 16}, {0xe0000000, 4}, {0xf0000000, 4},
};

static uint32_t mask(unsigned prefix)
{
	return prefix ? ~UINT32_C(0) << (32 - prefix) : 0;
}

uint32_t um_range_last(const struct um_range *r)
{
	return r->base | ~mask(r->prefix);
}

bool um_range_has(const struct um_range *r, uint32_t addr)
{
	return (addr & mask(r->prefix)) == r->base;
}

bool um_range_contains(const struct um_range *outer, const struct um_range *inner)
{
	return inner->prefix >= outer->prefix && um_range_has(outer, inner->base);
}

bool um_range_overlaps(const struct um_range *a, const struct um_range *b)
{
	return um_range_contains(a, b) || um_range_contains(b, a);
}

static int parse_addr(const char *s, size_t len, uint32_t *ret)
{
	const char *end = s + len;
	uint32_t addr = 0;

	for (int i = 0; i < 4; i++) {
		const char *dot = i < 3 ? memchr(s, '.', (size_t)(end - s)) : end;
		uint64_t octet;

		if (!dot || um_num_u64n(s, (size_t)(dot - s), 255, &octet) < 0)
			return -EINVAL;
		addr = addr << 8 | (uint32_t)octet;
		s = dot + 1;
	}
	*ret = addr;
	return 0;
}

int um_range_parse_addr(const char *s, uint32_t *ret_addr)
{
	return parse_addr(s, strlen(s), ret_addr);
}

int um_range_parse(const char *what, const char *s, struct um_range *ret, struct um_error *err)
{
	const char *slash = s ? strchr(s, '/') : NULL;
	struct um_range r;
	uint64_t prefix;

	if (!slash || parse_addr(s, (size_t)(slash - s), &r.base) < 0 ||
	    um_num_u64(slash + 1, 32, &prefix) < 0)
		return um_error_set(err, -EINVAL, "%s: \"%.64s\" is not of the form a.b.c.d/n",
				    what, s ? s : "");
	r.prefix = (unsigned)prefix;
	if (prefix < 8 || prefix > 30)
		return um_error_set(err, -EINVAL, "%s %s: the prefix must be from 8 to 30", what,
				    s);
	if (r.base & ~mask(r.prefix))
		return um_error_set(err, -EINVAL, "%s %s: bits are set past the prefix of %u bits",
				    what, s, r.prefix);
	for (size_t i = 0; i < UM_ARRAY_LEN(forbidden); i++) {
		char text[UM_RANGE_TEXT_LEN];

		if (!um_range_overlaps(&r, &forbidden[i]))
			continue;
		um_range_format(&forbidden[i], text);
		return um_error_set(err, -EINVAL, "%s %s: it touches %s, which is not for pods",
				    what, s, text);
	}
	*ret = r;
	return 0;
}

void um_range_format_addr(uint32_t addr, char buf[INET_ADDRSTRLEN])
{
	snprintf(buf, INET_ADDRSTRLEN, "%u.%u.%u.%u", addr >> 24, addr >> 16 & 255, addr >> 8 & 255,
		 addr & 255);
}

void um_range_format(const struct um_range *r, char buf[UM_RANGE_TEXT_LEN])
{
	char addr[INET_ADDRSTRLEN];

	um_range_format_addr(r->base, addr);
	snprintf(buf, UM_RANGE_TEXT_LEN, "%s/%u", addr, r->prefix);
}
