#include "base/clock.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * UM_NSEC_PER_SEC + t.tv_nsec;
}

static int64_t system_monotonic(um_unused const struct um_clock *c)
{
	return read_clock(CLOCK_MONOTONIC);
}

static int64_t system_wall(um_unused const struct um_clock *c)
{
	return read_clock(CLOCK_REALTIME);
}

const struct um_clock um_clock_system = {system_monotonic, system_wall};

static int64_t fake_monotonic(const struct um_clock *c)
{
	return ((const struct um_clock_fake *)c)->monotonic_ns;
}

static int64_t fake_wall(const struct um_clock *c)
{
	return ((const struct um_clock_fake *)c)->wall_ns;
}

void um_clock_fake_init(struct um_clock_fake *f, int64_t monotonic_ns, int64_t wall_ns)
{
	f->clock = (struct um_clock){fake_monotonic, fake_wall};
	f->monotonic_ns = monotonic_ns;
	f->wall_ns = wall_ns;
}

void um_clock_fake_advance(struct um_clock_fake *f, int64_t ns)
{
	f->monotonic_ns += ns;
	f->wall_ns += ns;
}

/* Days since 1970-01-01 as a date of the Gregorian calendar, counted in eras of 400 years that
 * begin on the first of March. gmtime_r(3) reads the time zone's file first. */
static void date_of(int64_t days, int64_t *year, int *month, int *day)
{
	int64_t shifted = days + 719468; /* from 0000-03-01 */
	int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
	int64_t of_era = shifted - era * 146097;
	int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
	int64_t m = (5 * of_year + 2) / 153; /* March is 0 */

	*day = (int)(of_year - (153 * m + 2) / 5 + 1);
	*month = (int)(m < 10 ? m + 3 : m - 9);
	*year = y + era * 400 + (*month <= 2);
}

static void format(int64_t wall_ns, int digits, char buf[UM_TIME_LEN])
{
	int64_t ns = wall_ns % UM_NSEC_PER_SEC, sec = wall_ns / UM_NSEC_PER_SEC, year, in_day;
	int month, day, n;

	if (ns < 0) {
		ns += UM_NSEC_PER_SEC;
		sec--;
	}
	in_day = sec % 86400;
	if (in_day < 0)
		in_day += 86400;
	date_of((sec - in_day) / 86400, &year, &month, &day);
	n = snprintf(buf, UM_TIME_LEN, "%04lld-%02d-%02dT%02d:%02d:%02d", (long long)year, month,
		     day, (int)(in_day / 3600), (int)(in_day / 60 % 60), (int)(in_day % 60));
	if (digits) {
		for (int i = digits; i < 9; i++)
			ns /= 10;
		snprintf(buf + n, UM_TIME_LEN - (size_t)n, ".%0*lldZ", digits, (long long)ns);
	} else {
		snprintf(buf + n, UM_TIME_LEN - (size_t)n, "Z");
	}
}

void um_time_format(int64_t wall_ns, char buf[UM_TIME_LEN])
{
	format(wall_ns, 0, buf);
}

void um_time_format_micro(int64_t wall_ns, char buf[UM_TIME_LEN])
{
	format(wall_ns, 6, buf);
}

void um_time_format_nano(int64_t wall_ns, char buf[UM_TIME_LEN])
{
	format(wall_ns, 9, buf);
}

/* Exactly @n digits at *s as a number within bounds; advances *s. -1 when not. */
static int digits(const char **s, int n, int min, int max)
{
	int v = 0, i;

	for (i = 0; i < n; i++) {
		if ((*s)[i] < '0' || (*s)[i] > '9')
			return -1;
		v = v * 10 + ((*s)[i] - '0');
	}
	*s += n;
	return v < min || v > max ? -1 : v;
}

static bool take(const char **s, char c)
{
	if (**s != c)
		return false;
	(*s)++;
	return true;
}

static bool parse_fraction(const char **s, int64_t *ns)
{
	int64_t scale = UM_NSEC_PER_SEC / 10;
	int n = 0;

	*ns = 0;
	if (!take(s, '.'))
		return true;
	for (; **s >= '0' && **s <= '9'; (*s)++, n++) {
		if (n >= 9)
			return false;
		*ns += (**s - '0') * scale;
		scale /= 10;
	}
	return n > 0;
}

static bool parse_offset(const char **s, int *minutes)
{
	int sign, h, m;

	*minutes = 0;
	if (take(s, 'Z') || take(s, 'z'))
		return true;
	sign = take(s, '+') ? 1 : take(s, '-') ? -1 : 0;
	if (!sign || (h = digits(s, 2, 0, 23)) < 0 || !take(s, ':') ||
	    (m = digits(s, 2, 0, 59)) < 0)
		return false;
	*minutes = sign * (h * 60 + m);
	return true;
}

int um_time_parse(const char *s, int64_t *ret_wall_ns)
{
	struct tm tm = {0}, check;
	int64_t ns;
	time_t sec;
	int offset, day;

	if ((tm.tm_year = digits(&s, 4, 0, 9999)) < 0 || !take(&s, '-') ||
	    (tm.tm_mon = digits(&s, 2, 1, 12)) < 0 || !take(&s, '-') ||
	    (tm.tm_mday = digits(&s, 2, 1, 31)) < 0 || (!take(&s, 'T') && !take(&s, 't')) ||
	    (tm.tm_hour = digits(&s, 2, 0, 23)) < 0 || !take(&s, ':') ||
	    (tm.tm_min = digits(&s, 2, 0, 59)) < 0 || !take(&s, ':') ||
	    (tm.tm_sec = digits(&s, 2, 0, 59)) < 0 || !parse_fraction(&s, &ns) ||
	    !parse_offset(&s, &offset) || *s)
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	day = tm.tm_mday;
	sec = timegm(&tm);
	gmtime_r(&sec, &check);
	if (check.tm_mday != day || sec > INT64_MAX / UM_NSEC_PER_SEC - 86400 * 2 ||
	    sec < INT64_MIN / UM_NSEC_PER_SEC + 86400 * 2)
		return -EINVAL; /* 30 February, or outside what nanoseconds can hold */
	*ret_wall_ns = (sec - offset * 60) * UM_NSEC_PER_SEC + ns;
	return 0;
}
