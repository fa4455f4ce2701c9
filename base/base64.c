#include "base/base64.h"

#include <stdint.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *um_base64_encode(struct um_arena *a, const void *data, size_t len)
{
	const unsigned char *p = data;
	char *out, *o;

	if (len > SIZE_MAX / 2)
		return NULL;
	out = o = um_arena_alloc(a, (len + 2) / 3 * 4 + 1);
	if (!out)
		return NULL;
	for (size_t i = 0; i < len; i += 3) {
		unsigned v = (unsigned)p[i] << 16;

		if (i + 1 < len)
			v |= (unsigned)p[i + 1] << 8;
		if (i + 2 < len)
			v |= p[i + 2];
		*o++ = alphabet[v >> 18];
		*o++ = alphabet[v >> 12 & 63];
		*o++ = i + 1 < len ? alphabet[v >> 6 & 63] : '=';
		*o++ = i + 2 < len ? alphabet[v & 63] : '=';
	}
	*o = '\0';
	return out;
}

static int digit(char c)
{
	const char *at = c ? strchr(alphabet, c) : NULL;

	return at ? (int)(at - alphabet) : -1;
}

/* Writes to @out unless it is NULL. */
static long decode(const char *s, size_t len, char *out, size_t *ret_bad)
{
	unsigned v = 0, n = 0, pad = 0;
	long bytes = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		int d = digit(s[i]);

		if (s[i] == '\n' || s[i] == '\r')
			continue;
		if (s[i] == '=' && n % 4 >= 2) {
			pad++;
			n++;
			v <<= 6;
		} else if (d >= 0 && !pad) {
			n++;
			v = v << 6 | (unsigned)d;
		} else {
			*ret_bad = i;
			return -1;
		}
		if (n % 4)
			continue;
		for (unsigned k = 0; k < 3 - pad; k++, bytes++)
			if (out)
				*out++ = (char)(v >> (16 - 8 * k));
		v = 0;
		if (pad) {
			i++;
			break;
		}
	}
	for (; i < len; i++) {
		if (s[i] != '\n' && s[i] != '\r') {
			*ret_bad = i;
			return -1;
		}
	}
	*ret_bad = len;
	return n % 4 ? -1 : bytes;
}

long um_base64_decoded_len(const char *s, size_t len, size_t *ret_bad)
{
	return decode(s, len, NULL, ret_bad);
}

char *um_base64_decode(struct um_arena *a, const char *s, size_t len, size_t *ret_len)
{
	size_t bad;
	long n = decode(s, len, NULL, &bad);
	char *out = n < 0 ? NULL : um_arena_alloc(a, (size_t)n + 1);

	if (!out)
		return NULL;
	decode(s, len, out, &bad);
	out[n] = '\0';
	*ret_len = (size_t)n;
	return out;
}
