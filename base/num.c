#include "base/num.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <strings.h>

int um_num_u64n(const char *s, size_t len, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i;

	if (!len || (s[0] == '0' && len > 1))
		return -EINVAL;
	for (i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -EINVAL;
	}
	for (i = 0; i < len; i++) {
		uint64_t digit = (uint64_t)(s[i] - '0');

		if (v > (UINT64_MAX - digit) / 10)
			return -ERANGE;
		v = v * 10 + digit;
	}
	if (v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int um_num_u64(const char *s, uint64_t max, uint64_t *ret)
{
	return um_num_u64n(s, strlen(s), max, ret);
}

int um_num_i64(const char *s, int64_t min, int64_t max, int64_t *ret)
{
	uint64_t magnitude;
	int64_t v;
	int r;

	if (s[0] == '-') {
		r = um_num_u64(s + 1, (uint64_t)INT64_MAX + 1, &magnitude);
		if (r < 0)
			return r;
		v = magnitude == (uint64_t)INT64_MAX + 1 ? INT64_MIN : -(int64_t)magnitude;
	} else {
		r = um_num_u64(s, INT64_MAX, &magnitude);
		if (r < 0)
			return r;
		v = (int64_t)magnitude;
	}
	if (v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int um_num_int(const char *s, int min, int max, int *ret)
{
	int64_t v;
	int r = um_num_i64(s, min, max, &v);

	if (r < 0)
		return r;
	*ret = (int)v;
	return 0;
}

int um_num_octal(const char *s, unsigned max, unsigned *ret)
{
	unsigned v = 0;

	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '7')
			return -EINVAL;
		if (v > (UINT32_MAX - 7) / 8)
			return -ERANGE;
		v = v * 8 + (unsigned)(*s - '0');
	}
	if (v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int um_num_bytes(const char *text, int64_t *ret)
{
	static const char units[] = "bkmgt";
	size_t len = strspn(text, "0123456789");
	const char *unit = text + len;
	unsigned shift = 0;
	uint64_t n;

	if (!strcmp(text, "-1")) {
		*ret = -1;
		return 0;
	}
	if (*unit) {
		const char *u = strchr(units, *unit | 0x20);

		if (!u || (unit[1] && (strcmp(unit + 1, "b") || u == units)))
			return -EINVAL;
		shift = (unsigned)(u - units) * 10;
	}
	if (um_num_u64n(text, len, (uint64_t)INT64_MAX >> shift, &n) < 0)
		return -EINVAL;
	*ret = (int64_t)(n << shift);
	return 0;
}

int um_num_signal(const char *text, int *ret)
{
	const char *name = strncasecmp(text, "SIG", 3) ? text : text + 3;
	int n;

	if (um_num_int(text, 0, SIGRTMAX, ret) == 0)
		return 0;
	if (!strncasecmp(name, "RTMIN+", 6) &&
	    um_num_int(name + 6, 0, SIGRTMAX - SIGRTMIN, &n) == 0) {
		*ret = SIGRTMIN + n;
		return 0;
	}
	for (int s = 1; s < SIGSYS + 1; s++) {
		const char *known = sigabbrev_np(s);

		if (known && !strcasecmp(known, name)) {
			*ret = s;
			return 0;
		}
	}
	return -EINVAL;
}
