#include "api/schema/canon.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "base/quantity.h"

#define LIMIT INT64_C(1000000000000000000)

static const char *const binary[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};

/* Exponents -9 to 18 in steps of three. */
static const char *const decimal[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};

/* Mantissa and decimal exponent; false when the digits do not fit. */
static bool read_digits(const char **s, int64_t *m, int *exp10)
{
	bool point = false;

	*m = 0;
	*exp10 = 0;
	for (;; (*s)++) {
		if (**s == '.' && !point) {
			point = true;
			continue;
		}
		if (**s < '0' || **s > '9')
			return true;
		if (*m >= LIMIT / 10)
			return false;
		*m = *m * 10 + (**s - '0');
		if (point)
			(*exp10)--;
	}
}

static int put_decimal(bool negative, int64_t m, int exp10, bool exponent, char *out)
{
	while (m && m % 10 == 0) {
		m /= 10;
		exp10++;
	}
	if (exp10 < -9) {
		/* Finer than nano is rounded up. */
		for (; exp10 < -9; exp10++)
			m = m / 10 + (m % 10 ? 1 : 0);
		return put_decimal(negative, m, exp10, exponent, out);
	}
	while ((exp10 + 9) % 3) {
		if (m >= LIMIT / 10)
			return -ERANGE;
		m *= 10;
		exp10--;
	}
	if (exp10 > 18 && !exponent)
		return -ERANGE;
	if (exponent && exp10)
		snprintf(out, UM_CANON_LEN, "%s%llde%d", negative ? "-" : "", (long long)m, exp10);
	else
		snprintf(out, UM_CANON_LEN, "%s%lld%s", negative ? "-" : "", (long long)m,
			 exponent ? "" : decimal[(exp10 + 9) / 3]);
	return 0;
}

static int put_binary(bool negative, int64_t m, int exp10, unsigned power, char *out)
{
	/* m * 10^exp10 * 1024^power; a fraction is scaled down to a smaller unit first. */
	for (; exp10 < 0; exp10++) {
		if (m % 10 == 0) {
			m /= 10;
			continue;
		}
		if (!power) {
			m = m / 10 + 1;
			continue;
		}
		if (m > LIMIT / 1024)
			return -ERANGE;
		m *= 1024;
		power--;
		exp10--; /* the loop adds it again */
	}
	while (m && m % 1024 == 0 && power < 6) {
		m /= 1024;
		power++;
	}
	if (!power && m < 1024)
		return put_decimal(negative, m, 0, false, out);
	snprintf(out, UM_CANON_LEN, "%s%lld%s", negative ? "-" : "", (long long)m, binary[power]);
	return 0;
}

int um_canon_quantity(const char *s, char out[UM_CANON_LEN])
{
	bool negative = false;
	int64_t m, ignored;
	int exp10;
	size_t i;

	if (um_quantity_value(s, &ignored) < 0)
		return -EINVAL;
	if (*s == '-' || *s == '+')
		negative = *s++ == '-';
	if (!read_digits(&s, &m, &exp10))
		return -ERANGE;
	if (!m) {
		snprintf(out, UM_CANON_LEN, "0");
		return 0;
	}
	if ((*s == 'e' || *s == 'E') && s[1] && s[1] != 'i') {
		long e = strtol(s + 1, NULL, 10);

		if (e < -40 || e > 40)
			return -ERANGE;
		return put_decimal(negative, m, exp10 + (int)e, true, out);
	}
	for (i = 1; i < UM_ARRAY_LEN(binary); i++)
		if (!strcmp(s, binary[i]))
			return put_binary(negative, m, exp10, (unsigned)i, out);
	for (i = 0; i < UM_ARRAY_LEN(decimal); i++)
		if (!strcmp(s, decimal[i]))
			return put_decimal(negative, m, exp10 + (int)i * 3 - 9, false, out);
	return -EINVAL;
}
