/* Names of DNS, in wire form. */
#include <string.h>

#include "netns/dns.h"

enum { LABEL_MAX = 63, POINTER = 0xc0 };

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

int um_dns_name_read(const uint8_t *msg, size_t len, size_t *at, struct um_dns_name *ret)
{
	size_t pos = *at, bound = *at, n = 0, end = 0;

	for (;;) {
		uint8_t c;

		if (pos >= len)
			return -EBADMSG;
		c = msg[pos];
		if ((c & POINTER) == POINTER) {
			size_t to;

			if (pos + 1 >= len)
				return -EBADMSG;
			to = (size_t)(c & 0x3f) << 8 | msg[pos + 1];
			if (!end)
				end = pos + 2;
			if (to >= bound || to < UM_DNS_HEADER)
				return -EBADMSG;
			bound = pos = to;
			continue;
		}
		if (c & POINTER) /* the old extended labels */
			return -EBADMSG;
		if (pos + 1 + c > len || n + 1 + c > UM_DNS_NAME_MAX)
			return -EBADMSG;
		memcpy(ret->wire + n, msg + pos, 1u + c);
		n += 1u + c;
		pos += 1u + c;
		if (!c)
			break;
	}
	ret->len = (uint8_t)n;
	*at = end ? end : pos;
	return 0;
}

int um_dns_name_parse(const char *text, struct um_dns_name *ret)
{
	size_t n = 0;

	if (!strcmp(text, "."))
		text = "";
	while (*text) {
		size_t label = strcspn(text, ".");

		if (!label || label > LABEL_MAX || n + 1 + label + 1 > UM_DNS_NAME_MAX)
			return -EINVAL;
		ret->wire[n] = (uint8_t)label;
		memcpy(ret->wire + n + 1, text, label);
		n += 1 + label;
		text += label;
		text += *text == '.';
	}
	ret->wire[n] = 0;
	ret->len = (uint8_t)(n + 1);
	return 0;
}

int um_dns_name_prepend(struct um_dns_name *n, const char *label)
{
	size_t len = strlen(label);

	if (!len || len > LABEL_MAX || n->len + 1 + len > UM_DNS_NAME_MAX)
		return -EINVAL;
	memmove(n->wire + 1 + len, n->wire, n->len);
	n->wire[0] = (uint8_t)len;
	memcpy(n->wire + 1, label, len);
	n->len = (uint8_t)(n->len + 1 + len);
	return 0;
}

/* Lengths are below 'A', so that they compare as themselves. */
static bool same(const uint8_t *a, const uint8_t *b, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (lower(a[i]) != lower(b[i]))
			return false;
	return true;
}

bool um_dns_name_equal(const struct um_dns_name *a, const struct um_dns_name *b)
{
	return a->len == b->len && same(a->wire, b->wire, a->len);
}

bool um_dns_name_below(const struct um_dns_name *n, const struct um_dns_name *zone,
		       size_t *ret_prefix)
{
	size_t at = 0;

	while (n->len - at > zone->len)
		at += 1u + n->wire[at];
	if (n->len - at != zone->len || !same(n->wire + at, zone->wire, zone->len))
		return false;
	*ret_prefix = at;
	return true;
}

void um_dns_name_lower(struct um_dns_name *n)
{
	for (size_t i = 0; i < n->len; i++)
		n->wire[i] = lower(n->wire[i]);
}
