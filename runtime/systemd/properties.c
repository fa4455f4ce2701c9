/* linux.resources as properties of a unit (systemd.resource-control(5)). systemd writes its own
 * settings anew now and then (daemon-reload): what is not told to it here would be lost then. */
#include "runtime/systemd.h"

#include <inttypes.h>
#include <string.h>

#include "base/num.h"

#define MAX_CPU 8191
#define DEFAULT_PERIOD_USEC 100000
#define QUOTA_STEP_USEC 10000 /* systemd keeps quotas in hundredths of a CPU's second */

static void number(struct um_buf *b, const char *name, int64_t v)
{
	if (v == UM_CG_UNSET)
		return;
	um_buf_addf(b, "t %s %" PRIu64 "\n", name, v == UM_CG_MAX ? UINT64_MAX : (uint64_t)v);
}

/* "0-3,7" as a little-endian bit mask. */
static int mask(struct um_buf *b, const char *name, const char *what, const char *list,
		struct um_error *err)
{
	uint8_t bits[(MAX_CPU + 1) / 8] = {0};
	size_t used = 0;

	if (!list || !*list)
		return 0;
	for (const char *p = list; *p;) {
		size_t len = strcspn(p, ",\n"), first_len = strspn(p, "0123456789");
		uint64_t first, last;
		int r = um_num_u64n(p, first_len, MAX_CPU, &first);

		last = first;
		if (r >= 0 && first_len < len)
			r = p[first_len] == '-' ? um_num_u64n(p + first_len + 1,
							      len - first_len - 1, MAX_CPU, &last)
						: -EINVAL;
		if (r < 0 || last < first)
			return um_error_set(err, -EINVAL, "%s: \"%.60s\" is not a list of numbers",
					    what, list);
		for (uint64_t i = first; i <= last; i++)
			bits[i / 8] |= (uint8_t)(1u << i % 8);
		if (used < last / 8 + 1)
			used = last / 8 + 1;
		p += len + (p[len] != '\0');
	}
	um_buf_addf(b, "ay %s ", name);
	for (size_t i = 0; i < used; i++)
		um_buf_addf(b, "%02x", bits[i]);
	um_buf_addc(b, '\n');
	return 0;
}

static void quota(struct um_buf *b, int64_t quota_usec, int64_t period_usec)
{
	uint64_t per_sec = UINT64_MAX, period = DEFAULT_PERIOD_USEC;

	if (period_usec > 0) {
		period = (uint64_t)period_usec;
		um_buf_addf(b, "t CPUQuotaPeriodUSec %" PRIu64 "\n", period);
	}
	if (quota_usec == UM_CG_UNSET)
		return;
	if (quota_usec > 0 && (uint64_t)quota_usec < UINT64_MAX / 1000000) {
		per_sec = (uint64_t)quota_usec * 1000000 / period;
		per_sec = (per_sec + QUOTA_STEP_USEC - 1) / QUOTA_STEP_USEC * QUOTA_STEP_USEC;
	}
	um_buf_addf(b, "t CPUQuotaPerSecUSec %" PRIu64 "\n", per_sec);
}

/* "max 100000", "50000", "50000 100000" */
static int quota_of_text(struct um_buf *b, const char *text, struct um_error *err)
{
	size_t len = strcspn(text, " ");
	uint64_t q = 0, p = DEFAULT_PERIOD_USEC;
	bool none = len == 3 && !memcmp(text, "max", 3);

	if ((!none && um_num_u64n(text, len, INT64_MAX, &q) < 0) ||
	    (text[len] && um_num_u64(text + len + 1, INT64_MAX, &p) < 0))
		return um_error_set(err, -EINVAL,
				    "linux.resources.unified: cpu.max: \"%.60s\" is not \"quota "
				    "period\"",
				    text);
	quota(b, none ? UM_CG_MAX : (int64_t)q, (int64_t)p);
	return 0;
}

/* Files of v2 whose value is a number or "max". */
static const struct {
	const char *file, *property;
} numbers[] = {
	{"cpu.weight", "CPUWeight"},	      {"io.weight", "IOWeight"},
	{"memory.high", "MemoryHigh"},	      {"memory.low", "MemoryLow"},
	{"memory.max", "MemoryMax"},	      {"memory.min", "MemoryMin"},
	{"memory.swap.max", "MemorySwapMax"}, {"pids.max", "TasksMax"},
};

static int unified(const struct um_cgroup_pair *p, struct um_buf *b, struct um_error *err)
{
	if (!strcmp(p->key, "cpu.max"))
		return quota_of_text(b, p->value, err);
	if (!strcmp(p->key, "cpuset.cpus"))
		return mask(b, "AllowedCPUs", p->key, p->value, err);
	if (!strcmp(p->key, "cpuset.mems"))
		return mask(b, "AllowedMemoryNodes", p->key, p->value, err);
	for (size_t i = 0; i < UM_ARRAY_LEN(numbers); i++) {
		uint64_t v = UINT64_MAX;

		if (strcmp(p->key, numbers[i].file))
			continue;
		if (strcmp(p->value, "max") && um_num_u64(p->value, UINT64_MAX - 1, &v) < 0)
			return 0; /* another form, for the file alone */
		um_buf_addf(b, "t %s %" PRIu64 "\n", numbers[i].property, v);
	}
	return 0;
}

static int properties_v2(const struct um_cgroup_limits *l, struct um_buf *b, struct um_error *err)
{
	int64_t swap = UM_CG_UNSET;
	int r;

	number(b, "MemoryMax", l->memory_bytes);
	number(b, "MemoryLow", l->memory_reservation_bytes);
	if (l->memory_swap_bytes != UM_CG_UNSET &&
	    um_cgroup_swap_v2(l->memory_bytes, l->memory_swap_bytes, &swap) < 0)
		return um_error_set(err, -EINVAL,
				    "linux.resources.memory.swap: less than the limit, or none is "
				    "there");
	number(b, "MemorySwapMax", swap);
	if (l->cpu_idle == 1)
		number(b, "CPUWeight", 0);
	else if (l->cpu_shares != UM_CG_UNSET)
		number(b, "CPUWeight",
		       (int64_t)um_cgroup_weight_of_shares((uint64_t)l->cpu_shares));
	if (l->io_weight != UM_CG_UNSET)
		number(b, "IOWeight",
		       (int64_t)um_cgroup_io_weight_of_blkio((uint64_t)l->io_weight));
	r = mask(b, "AllowedCPUs", "linux.resources.cpu.cpus", l->cpus, err);
	if (r >= 0)
		r = mask(b, "AllowedMemoryNodes", "linux.resources.cpu.mems", l->mems, err);
	for (size_t i = 0; r >= 0 && i < l->n_unified; i++)
		r = unified(&l->unified[i], b, err);
	return r;
}

int um_systemd_properties(const struct um_cgroup_limits *l, bool v2, struct um_buf *b,
			  struct um_error *err)
{
	int r = 0;

	if (v2) {
		r = properties_v2(l, b, err);
	} else {
		number(b, "MemoryLimit", l->memory_bytes);
		number(b, "CPUShares", l->cpu_shares);
		number(b, "BlockIOWeight", l->io_weight);
	}
	quota(b, l->cpu_quota_usec, l->cpu_period_usec);
	number(b, "TasksMax", l->pids);
	return r < 0 ? r : um_buf_error(b);
}

/* ---- devices: systemd knows a list of what is allowed, and no more. It may be wider than the
 * rules (a refusal within an allowed range), for those are in the kernel beside it: both must
 * agree. */

static bool all_of_type(const struct um_cgroup_device *d)
{
	return d->major < 0 && d->minor < 0;
}

static unsigned access_of(const struct um_cgroup_device *d)
{
	return (d->read ? 1u : 0) | (d->write ? 2u : 0) | (d->mknod ? 4u : 0);
}

static bool covers(const struct um_cgroup_device *wide, const struct um_cgroup_device *d)
{
	return (wide->type == 'a' || wide->type == d->type) &&
	       (wide->major < 0 || wide->major == d->major) &&
	       (wide->minor < 0 || wide->minor == d->minor);
}

/* The access that later rules leave to rule @i. */
static unsigned left_of(const struct um_cgroup_device *rules, size_t n, size_t i)
{
	unsigned access = access_of(&rules[i]);

	for (size_t k = i + 1; k < n; k++)
		if (!rules[k].allow && covers(&rules[k], &rules[i]))
			access &= ~access_of(&rules[k]);
	return access;
}

static void entry(struct um_buf *b, char type, const struct um_cgroup_device *d, unsigned access)
{
	const char *kind = type == 'b' ? "block" : "char";

	if (d->major < 0)
		um_buf_addf(b, " %s-*", kind);
	else if (d->minor < 0)
		um_buf_addf(b, " %s-%" PRId64, kind, d->major);
	else
		um_buf_addf(b, " /dev/%s/%" PRId64 ":%" PRId64, kind, d->major, d->minor);
	um_buf_addf(b, " %s%s%s", access & 1 ? "r" : "", access & 2 ? "w" : "",
		    access & 4 ? "m" : "");
}

void um_systemd_devices(const struct um_cgroup_device *rules, size_t n, struct um_buf *b)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		if (rules[i].allow && rules[i].type == 'a' && all_of_type(&rules[i]) &&
		    left_of(rules, n, i) == 7) {
			um_buf_adds(b, "s DevicePolicy auto\na(ss) DeviceAllow\n");
			return;
		}
	}
	um_buf_adds(b, "s DevicePolicy strict\na(ss) DeviceAllow\n");
	for (size_t i = 0; i < n; i++) {
		unsigned access = rules[i].allow ? left_of(rules, n, i) : 0;

		if (access && !any)
			um_buf_adds(b, "a(ss) DeviceAllow");
		any = any || access;
		if (access && rules[i].type != 'b')
			entry(b, 'c', &rules[i], access);
		if (access && rules[i].type != 'c')
			entry(b, 'b', &rules[i], access);
	}
	if (any)
		um_buf_addc(b, '\n');
}
