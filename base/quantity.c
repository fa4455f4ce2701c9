#include "base/quantity.h"

#include <stdbool.h>
#include <string.h>

#include "base/num.h"

typedef unsigned __int128 u128;

struct suffix {
	const char *text;
	int exp10;     /* decimal: times 10^exp10 */
	unsigned exp2; /* binary: times 2^exp2 */
};

static const struct suffix suffixes[] = {
	{"", 0, 0},    {"n", -9, 0},  {"u", -6, 0},  {"m", -3, 0},  {"k", 3, 0},   {"M", 6, 0},
	{"G", 9, 0},   {"T", 12, 0},  {"P", 15, 0},  {"E", 18, 0},  {"Ki", 0, 10}, {"Mi", 0, 20},
	{"Gi", 0, 30}, {"Ti", 0, 40}, {"Pi", 0, 50}, {"Ei", 0, 60},
};

/* Digits as an integer mantissa and a decimal exponent. Digits past what 96 bits hold only round:
 * `sticky` says that something non-zero was dropped. */
struct decimal {
	u128 mantissa;
	int exp10;
	bool negative, sticky;
};

#define MANTISSA_LIMIT (((u128)1 << 96) / 10 - 1)

static const char *parse_digits(const char *s, struct decimal *d, int *n)
{
	bool point = false;

	*n = 0;
	for (;; s++) {
		if (*s == '.' && !point) {
			point = true;
			continue;
		}
		if (*s < '0' || *s > '9')
			return s;
		(*n)++;
		if (d->mantissa > MANTISSA_LIMIT) {
			d->sticky |= *s != '0';
			if (!point)
				d->exp10++;
			continue;
		}
		d->mantissa = d->mantissa * 10 + (u128)(*s - '0');
		if (point)
			d->exp10--;
	}
}

static int64_t saturate(u128 v, bool negative)
{
	if (v > (u128)INT64_MAX)
		v = (u128)INT64_MAX;
	return negative ? -(int64_t)v : (int64_t)v;
}

static int scale(struct decimal *d, unsigned exp2, int64_t *ret)
{
	u128 v = d->mantissa;

	while (exp2 && v <= ((u128)1 << 126)) {
		v <<= 1;
		exp2--;
	}
	if (exp2 && v) {
		*ret = saturate((u128)INT64_MAX, d->negative);
		return 0;
	}
	for (; d->exp10 > 0 && v; d->exp10--) {
		if (v > ((u128)1 << 120) / 10) {
			*ret = saturate((u128)INT64_MAX, d->negative);
			return 0;
		}
		v *= 10;
	}
	for (; d->exp10 < 0; d->exp10++) {
		d->sticky |= v % 10 != 0;
		v /= 10;
		if (!v && d->exp10 < -200) /* nothing but rounding is left */
			d->exp10 = -1;
	}
	*ret = saturate(v + (d->sticky ? 1 : 0), d->negative);
	return 0;
}

static int parse(const char *s, int extra_exp10, int64_t *ret)
{
	struct decimal d = {0};
	unsigned exp2 = 0;
	int n;

	if (strlen(s) > 100)
		return -EINVAL;
	if (*s == '-' || *s == '+')
		d.negative = *s++ == '-';
	s = parse_digits(s, &d, &n);
	if (!n)
		return -EINVAL;
	if ((*s == 'e' || *s == 'E') && s[1] && s[1] != 'i') {
		int exp;

		s++;
		if (*s == '+')
			s++;
		while (*s == '0' && s[1] >= '0' && s[1] <= '9')
			s++;
		if (um_num_int(s, -400, 400, &exp) < 0)
			return -EINVAL;
		d.exp10 += exp;
	} else {
		size_t i;

		for (i = 0; i < UM_ARRAY_LEN(suffixes); i++)
			if (!strcmp(s, suffixes[i].text))
				break;
		if (i == UM_ARRAY_LEN(suffixes))
			return -EINVAL;
		d.exp10 += suffixes[i].exp10;
		exp2 = suffixes[i].exp2;
	}
	d.exp10 += extra_exp10;
	return scale(&d, exp2, ret);
}

int um_quantity_value(const char *s, int64_t *ret)
{
	return parse(s, 0, ret);
}

int um_quantity_milli(const char *s, int64_t *ret)
{
	return parse(s, 3, ret);
}
