/* The systemd cgroup driver's pure parts: names, slices, properties. */
#include <criterion/criterion.h>
#include <string.h>

#include "runtime/systemd.h"

static struct um_arena *arena;
static struct um_buf b;

static void set_up(void)
{
	arena = um_arena_new(1 << 20);
	um_buf_init(&b, 1 << 20);
}
static void tear_down(void)
{
	um_arena_free(arena);
	um_buf_release(&b);
}
TestSuite(oci_systemd, .init = set_up, .fini = tear_down);

Test(oci_systemd, cgroups_path)
{
	static const struct {
		const char *path;
		bool user;
		const char *slice, *unit;
	} cases[] = {
		{NULL, false, "system.slice", "umiak-oci-c1.scope"},
		{NULL, true, "user.slice", "umiak-oci-c1.scope"},
		{"machine.slice:libpod:abc", false, "machine.slice", "libpod-abc.scope"},
		{"machine.slice:libpod:abc", true, "machine.slice", "libpod-abc.scope"},
		{":docker:abc", false, "system.slice", "docker-abc.scope"},
		{":docker:abc", true, "user.slice", "docker-abc.scope"},
		{"a-b.slice::abc", false, "a-b.slice", "abc.scope"},
		{"-.slice:p:abc", false, "-.slice", "p-abc.scope"},
		{"k.slice:cri-containerd:0a.b_c", false, "k.slice", "cri-containerd-0a.b_c.scope"},
		{"k.slice:p:x\\x2bz", false, "k.slice", "p-x\\x2bz.scope"},
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(cases); i++) {
		struct um_systemd_names n;
		struct um_error err = UM_ERROR_INIT;

		cr_assert_eq(um_systemd_parse(arena, cases[i].path, "c1", cases[i].user, &n, &err),
			     0, "%s: %s", cases[i].path, err.msg);
		cr_expect_str_eq(n.slice, cases[i].slice);
		cr_expect_str_eq(n.unit, cases[i].unit);
	}
}

Test(oci_systemd, what_is_no_name_is_refused)
{
	char longer[400] = "a.slice:p:", longest[300];
	const char *const paths[] = {
		"",
		"/umiak/c",
		"a.slice:p",
		"a.slice:p:n:x",
		"a.slice:p:",
		"a:p:n",
		"a.scope:p:n",
		".slice:p:n",
		"a--b.slice:p:n",
		"-a.slice:p:n",
		"a-.slice:p:n",
		"a/b.slice:p:n",
		"../a.slice:p:n",
		"a@b.slice:p:n",
		"a.slice:p:n/x",
		"a.slice:p:n x",
		"a.slice:p:n\nb Delegate 0",
		"a.slice\ns Slice b.slice:p:n",
		"a.slice:p/../..:n",
		"a.slice:p:\xc3\xa4",
		"a.slice:.:n",
		longer,
	};

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	strcat(longer, longest);
	for (size_t i = 0; i < UM_ARRAY_LEN(paths); i++) {
		struct um_systemd_names n;
		struct um_error err = UM_ERROR_INIT;

		cr_expect_eq(um_systemd_parse(arena, paths[i], "c1", false, &n, &err), -EINVAL,
			     "accepted: %s", paths[i]);
		cr_expect(strstr(err.msg, "linux.cgroupsPath"), "%s", err.msg);
	}
	struct um_systemd_names n;
	struct um_error err = UM_ERROR_INIT;

	cr_expect_eq(um_systemd_parse(arena, "a.slice:p:b.slice", "c", false, &n, &err),
		     -EOPNOTSUPP);
	cr_expect_eq(um_systemd_parse(arena, NULL, "a+b", false, &n, &err), -EINVAL);
}

Test(oci_systemd, slices_lie_in_each_other)
{
	static const struct {
		const char *slice, *path;
	} cases[] = {
		{"-.slice", ""},
		{"a.slice", "a.slice"},
		{"a-b.slice", "a.slice/a-b.slice"},
		{"kubepods-burstable-pod1_2.slice",
		 "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice"},
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(cases); i++) {
		um_buf_clear(&b);
		cr_assert_eq(um_systemd_expand(cases[i].slice, &b, NULL), 0);
		cr_expect_str_eq(um_buf_str(&b), cases[i].path);
	}
	/* behind what is there already */
	um_buf_clear(&b);
	um_buf_adds(&b, "x");
	cr_assert_eq(um_systemd_expand("a-b.slice", &b, NULL), 0);
	cr_expect_str_eq(um_buf_str(&b), "x/a.slice/a-b.slice");
}

static const char *properties(const struct um_cgroup_limits *l, bool v2)
{
	struct um_error err = UM_ERROR_INIT;

	um_buf_clear(&b);
	cr_assert_eq(um_systemd_properties(l, v2, &b, &err), 0, "%s", err.msg);
	return um_buf_str(&b);
}

static struct um_cgroup_limits none(void)
{
	struct um_cgroup_limits l;

	um_cgroup_limits_init(&l);
	return l;
}

Test(oci_systemd, no_limits_no_properties)
{
	struct um_cgroup_limits l = none();

	cr_expect_str_eq(properties(&l, true), "");
	cr_expect_str_eq(properties(&l, false), "");
}

Test(oci_systemd, limits_of_v2)
{
	struct um_cgroup_limits l = none();

	l.memory_bytes = 64 << 20;
	l.memory_reservation_bytes = 32 << 20;
	l.memory_swap_bytes = 96 << 20;
	l.cpu_shares = 1024;
	l.cpu_quota_usec = 50000;
	l.cpu_period_usec = 200000;
	l.io_weight = 1000;
	l.pids = 7;
	l.cpus = "0-2,9";
	l.mems = "0";
	cr_expect_str_eq(properties(&l, true), "t MemoryMax 67108864\n"
					       "t MemoryLow 33554432\n"
					       "t MemorySwapMax 33554432\n"
					       "t CPUWeight 100\n"
					       "t IOWeight 10000\n"
					       "ay AllowedCPUs 0702\n"
					       "ay AllowedMemoryNodes 01\n"
					       "t CPUQuotaPeriodUSec 200000\n"
					       "t CPUQuotaPerSecUSec 250000\n"
					       "t TasksMax 7\n");
	cr_expect_str_eq(properties(&l, false), "t MemoryLimit 67108864\n"
						"t CPUShares 1024\n"
						"t BlockIOWeight 1000\n"
						"t CPUQuotaPeriodUSec 200000\n"
						"t CPUQuotaPerSecUSec 250000\n"
						"t TasksMax 7\n");
}

Test(oci_systemd, no_limit_at_all)
{
	struct um_cgroup_limits l = none();

	l.memory_bytes = l.memory_swap_bytes = l.cpu_quota_usec = l.pids = UM_CG_MAX;
	cr_expect_str_eq(properties(&l, true), "t MemoryMax 18446744073709551615\n"
					       "t MemorySwapMax 18446744073709551615\n"
					       "t CPUQuotaPerSecUSec 18446744073709551615\n"
					       "t TasksMax 18446744073709551615\n");
}

Test(oci_systemd, a_quota_is_rounded_up_to_what_systemd_keeps)
{
	struct um_cgroup_limits l = none();

	l.cpu_quota_usec = 33333; /* of the default period */
	cr_expect_str_eq(properties(&l, true), "t CPUQuotaPerSecUSec 340000\n");
	l.cpu_quota_usec = 1000;
	l.cpu_period_usec = 1000000;
	cr_expect_str_eq(properties(&l, true),
			 "t CPUQuotaPeriodUSec 1000000\nt CPUQuotaPerSecUSec 10000\n");
	l.cpu_quota_usec = UM_CG_UNSET;
	cr_expect_str_eq(properties(&l, true), "t CPUQuotaPeriodUSec 1000000\n");
}

Test(oci_systemd, idle_is_the_weight_zero)
{
	struct um_cgroup_limits l = none();

	l.cpu_idle = 1;
	l.cpu_shares = 1024;
	cr_expect_str_eq(properties(&l, true), "t CPUWeight 0\n");
}

Test(oci_systemd, files_of_v2_that_systemd_knows)
{
	static const struct um_cgroup_pair pairs[] = {
		{"memory.high", "1048576"}, {"memory.max", "max"},     {"cpu.max", "max 50000"},
		{"cpuset.cpus", "1"},	    {"memory.oom.group", "1"}, {"pids.max", "12"},
		{"io.weight", "8:0 20"}, /* the file's matter */
	};
	struct um_cgroup_limits l = none();

	l.unified = pairs;
	l.n_unified = UM_ARRAY_LEN(pairs);
	cr_expect_str_eq(properties(&l, true), "t MemoryHigh 1048576\n"
					       "t MemoryMax 18446744073709551615\n"
					       "t CPUQuotaPeriodUSec 50000\n"
					       "t CPUQuotaPerSecUSec 18446744073709551615\n"
					       "ay AllowedCPUs 02\n"
					       "t TasksMax 12\n");
}

Test(oci_systemd, wrong_limits_are_refused_by_name)
{
	static const char *const lists[] = {"a",
					    "1-",
					    "-1",
					    "3-1",
					    "1,,2",
					    "0-9999",
					    "1 2",
					    "1-2-3",
					    ",",
					    "1,-",
					    "99999999999999999999"};
	struct um_cgroup_limits l = none();
	struct um_error err = UM_ERROR_INIT;

	for (size_t i = 0; i < UM_ARRAY_LEN(lists); i++) {
		l.cpus = lists[i];
		cr_expect_eq(um_systemd_properties(&l, true, &b, &err), -EINVAL, "%s", lists[i]);
		cr_expect(strstr(err.msg, "linux.resources.cpu.cpus"), "%s", err.msg);
	}
	l = none();
	l.memory_bytes = 10;
	l.memory_swap_bytes = 5;
	err = (struct um_error)UM_ERROR_INIT;
	cr_expect_eq(um_systemd_properties(&l, true, &b, &err), -EINVAL);
	cr_expect(strstr(err.msg, "memory.swap"));
	static const char *const quotas[] = {"", "x", "1 x", "1 ", "-1"};

	for (size_t i = 0; i < UM_ARRAY_LEN(quotas); i++) {
		struct um_cgroup_pair p = {"cpu.max", quotas[i]};

		l = none();
		l.unified = &p;
		l.n_unified = 1;
		err = (struct um_error)UM_ERROR_INIT;
		cr_expect_eq(um_systemd_properties(&l, true, &b, &err), -EINVAL, "%s", quotas[i]);
		cr_expect(strstr(err.msg, "cpu.max"));
	}
}

static const char *devices(const struct um_cgroup_device *rules, size_t n)
{
	um_buf_clear(&b);
	um_systemd_devices(rules, n, &b);
	return um_buf_str(&b);
}
#define DEVICES(...)                                                                               \
	devices((const struct um_cgroup_device[]){__VA_ARGS__},                                    \
		sizeof((const struct um_cgroup_device[]){__VA_ARGS__}) /                           \
			sizeof(struct um_cgroup_device))
#define DENY_ALL                                                                                   \
	{                                                                                          \
		false, 'a', -1, -1, true, true, true                                               \
	}
#define STRICT "s DevicePolicy strict\na(ss) DeviceAllow\n"
#define AUTO "s DevicePolicy auto\na(ss) DeviceAllow\n"

Test(oci_systemd, allowed_devices)
{
	cr_expect_str_eq(DEVICES(DENY_ALL), STRICT);
	cr_expect_str_eq(DEVICES(DENY_ALL, {true, 'c', 1, 3, true, true, true},
				 {true, 'c', 136, -1, true, true, false},
				 {true, 'b', -1, -1, false, false, true}),
			 STRICT "a(ss) DeviceAllow /dev/char/1:3 rwm char-136 rw block-* m\n");
	cr_expect_str_eq(DEVICES(DENY_ALL, {true, 'a', -1, -1, true, false, false}),
			 STRICT "a(ss) DeviceAllow char-* r block-* r\n");
	/* a minor number of any driver: systemd cannot say that, and gets more */
	cr_expect_str_eq(DEVICES(DENY_ALL, {true, 'c', -1, 3, true, false, false}),
			 STRICT "a(ss) DeviceAllow char-* r\n");
}

Test(oci_systemd, everything_allowed_but)
{
	cr_expect_str_eq(DEVICES(DENY_ALL, {true, 'a', -1, -1, true, true, true}), AUTO);
	cr_expect_str_eq(DEVICES(DENY_ALL, {true, 'a', -1, -1, true, true, true},
				 {false, 'b', 8, 0, true, true, true}),
			 AUTO);
	cr_expect_str_eq(DEVICES({true, 'a', -1, -1, true, true, true}, DENY_ALL), STRICT);
}

Test(oci_systemd, a_later_denial_takes_away)
{
	cr_expect_str_eq(DEVICES(DENY_ALL, {true, 'c', 1, 3, true, true, true},
				 {false, 'c', 1, -1, false, true, true}),
			 STRICT "a(ss) DeviceAllow /dev/char/1:3 r\n");
	cr_expect_str_eq(DEVICES(DENY_ALL, {true, 'c', 1, 3, true, true, true},
				 {false, 'c', 1, 3, true, true, true}),
			 STRICT);
	/* in part only: the kernel's rules beside systemd's see to it */
	cr_expect_str_eq(DEVICES(DENY_ALL, {true, 'c', 1, -1, true, true, true},
				 {false, 'c', 1, 3, true, true, true}),
			 STRICT "a(ss) DeviceAllow char-1 rwm\n");
}

Test(oci_systemd, properties_of_annotations)
{
	static const struct um_spec_pair pairs[] = {
		{"org.systemd.property.CollectMode", "'inactive-or-failed'"},
		{"org.example.other", "[["},
		{"org.systemd.property.SendSIGHUP", "true"},
		{"org.systemd.property.TimeoutStopUSec", "uint64 5000000"},
		{"org.systemd.property.TimeoutStopSec", "7"},
		{"org.systemd.property.Nice", "-5"},
		{"org.systemd.property.Big", "int64 -6000000000"},
		{"org.systemd.property.Small", "uint32 7"},
		{"org.systemd.property.After", "['a.service', \"b.service\"]"},
		{"org.systemd.property.Before", "[]"},
		{"org.systemd.property.Description", "'a text of words'"}};
	struct um_error err = UM_ERROR_INIT;

	cr_assert_eq(um_systemd_annotations(pairs, UM_ARRAY_LEN(pairs), &b, &err), 0, "%s",
		     err.msg);
	cr_expect_str_eq(um_buf_str(&b), "s CollectMode inactive-or-failed\n"
					 "b SendSIGHUP 1\n"
					 "t TimeoutStopUSec 5000000\n"
					 "t TimeoutStopUSec 7000000\n"
					 "i Nice -5\n"
					 "x Big -6000000000\n"
					 "u Small 7\n"
					 "as After a.service b.service\n"
					 "as Before\n"
					 "s Description a text of words\n");
}

Test(oci_systemd, annotations_that_are_no_properties_are_refused)
{
	static const char *const values[] = {
		"",
		"text",
		"'open",
		"'a\\n'",
		"'a'b",
		"'a\nb X 1'",
		"[",
		"['a' 'b']",
		"['a b']",
		"['a']x",
		"['']",
		"[5]",
		"uint64",
		"uint64 ",
		"uint64 -1",
		"uint32 4294967296",
		"2147483648",
		"1.5",
		"True",
		"[\"a']",
		"uint64 5 s X y",
		"-",
		"++1",
		"'a\"",
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(values); i++) {
		struct um_spec_pair p = {"org.systemd.property.Some", values[i]};
		struct um_error err = UM_ERROR_INIT;

		cr_expect_eq(um_systemd_annotations(&p, 1, &b, &err), -EINVAL, "%s", values[i]);
		cr_expect(strstr(err.msg, "org.systemd.property.Some"), "%s", err.msg);
	}
	for (size_t i = 0; i < 3; i++) {
		static const char *const keys[] = {"org.systemd.property.",
						   "org.systemd.property.A B",
						   "org.systemd.property.A\nb C"};
		struct um_spec_pair p = {keys[i], "true"};

		cr_expect_eq(um_systemd_annotations(&p, 1, &b, NULL), -EINVAL);
	}
}
