/* Time. Leases, timeouts and back-offs use the monotonic clock; the wall clock is only for stamps
 * that people and certificates read. Tests may put a fake clock in both places. */
#ifndef UM_BASE_CLOCK_H
#define UM_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define UM_NSEC_PER_SEC INT64_C(1000000000)
#define UM_NSEC_PER_MSEC INT64_C(1000000)

/* Where time comes from. `now` is borrowed by whoever got the clock. */
struct um_clock {
	int64_t (*monotonic_ns)(const struct um_clock *c);
	int64_t (*wall_ns)(const struct um_clock *c); /* since 1970-01-01 UTC */
};

extern const struct um_clock um_clock_system;

/* A clock that moves only when told to. Pass &fake.clock. */
struct um_clock_fake {
	struct um_clock clock;
	int64_t monotonic_ns, wall_ns;
};
void um_clock_fake_init(struct um_clock_fake *f, int64_t monotonic_ns, int64_t wall_ns);
void um_clock_fake_advance(struct um_clock_fake *f, int64_t ns);

static inline int64_t um_clock_monotonic(const struct um_clock *c)
{
	return c->monotonic_ns(c);
}
static inline int64_t um_clock_wall(const struct um_clock *c)
{
	return c->wall_ns(c);
}

/* RFC 3339 in UTC. "2026-01-02T03:04:05Z" (as Kubernetes' Time). */
#define UM_TIME_LEN 40
void um_time_format(int64_t wall_ns, char buf[UM_TIME_LEN]);
/* ... with .uuuuuu (as MicroTime) and .nnnnnnnnn (as in CRI logs). */
void um_time_format_micro(int64_t wall_ns, char buf[UM_TIME_LEN]);
void um_time_format_nano(int64_t wall_ns, char buf[UM_TIME_LEN]);
/* Strict RFC 3339, any offset, up to nine fraction digits. 0 or -EINVAL. */
um_must_check int um_time_parse(const char *s, int64_t *ret_wall_ns);

#endif
