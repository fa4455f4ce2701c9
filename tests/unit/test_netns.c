#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/io.h"
#include "netns/ipam.h"
#include "netns/range.h"
#include "netns/veth.h"

/* ---- ranges ---- */

Test(range, good)
{
	static const struct {
		const char *text;
		uint32_t base, last;
		unsigned prefix;
	} good[] = {
		{"10.244.0.0/16", 0x0af40000, 0x0af4ffff, 16},
		{"10.0.0.0/8", 0x0a000000, 0x0affffff, 8},
		{"192.168.7.252/30", 0xc0a807fc, 0xc0a807ff, 30},
		{"100.64.0.0/10", 0x64400000, 0x647fffff, 10},
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(good); i++) {
		char text[UM_RANGE_TEXT_LEN];
		struct um_range r;

		cr_assert_eq(um_range_parse("range", good[i].text, &r, NULL), 0, "%s",
			     good[i].text);
		cr_assert(r.base == good[i].base && r.prefix == good[i].prefix);
		cr_assert_eq(um_range_last(&r), good[i].last);
		um_range_format(&r, text);
		cr_assert_str_eq(text, good[i].text);
	}
}

Test(range, bad)
{
	static const char *const bad[] = {
		"",
		"/",
		"/16",
		"10.244.0.0",
		"10.244.0.0/",
		"10.244.0/16",
		"10.244.0.0.0/16",
		"10.244.0.0/16 ",
		" 10.244.0.0/16",
		"10.244.0.0/+16",
		"10.244.0.0/016",
		"010.244.0.0/16",
		"10.244.00.0/16",
		"10.256.0.0/16",
		"10.-1.0.0/16",
		"10.0x4.0.0/16",
		"10..0.0/16",
		"10.244.0.0/33",
		"10.244.0.0/4294967312",
		"10.244.0.0/7",
		"10.244.0.0/31",
		"10.244.0.0/32",
		"10.244.0.1/16", /* bits past the prefix */
		"10.244.0.128/24",
		"0.0.0.0/0",
		"0.0.0.0/8",
		"127.0.0.0/8",
		"127.1.0.0/16",
		"169.254.0.0/16",
		"169.254.1.0/24",
		"169.0.0.0/8", /* contains link-local */
		"224.0.0.0/8",
		"240.0.0.0/8",
		"255.255.255.0/24",
		"fd00::/64",
		"10.244.0.0/16,10.245.0.0/16",
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(bad); i++) {
		struct um_error err = UM_ERROR_INIT;
		struct um_range r = {1, 2};

		cr_assert_eq(um_range_parse("pod range", bad[i], &r, &err), -EINVAL, "\"%s\"",
			     bad[i]);
		cr_assert(strstr(err.msg, "pod range"), "%s", err.msg);
		cr_assert(r.base == 1 && r.prefix == 2, "the result is left alone");
	}
	cr_assert_eq(um_range_parse("pod range", NULL, &(struct um_range){0}, NULL), -EINVAL);
}

Test(range, relations)
{
	struct um_range big = {0x0af40000, 16}, small = {0x0af40100, 24}, other = {0x0af50000, 24};
	struct um_range all = {0, 0}, one = {0x0af401ff, 32};

	cr_assert(um_range_contains(&big, &small) && !um_range_contains(&small, &big));
	cr_assert(um_range_contains(&big, &big));
	cr_assert(um_range_overlaps(&big, &small) && um_range_overlaps(&small, &big));
	cr_assert(!um_range_overlaps(&big, &other) && !um_range_overlaps(&other, &small));
	cr_assert(um_range_contains(&all, &other) && um_range_overlaps(&other, &all));
	cr_assert(um_range_contains(&small, &one) && um_range_has(&small, one.base));
	cr_assert(!um_range_has(&small, one.base + 1));
}

/* ---- addresses ---- */

static char dir[] = "/tmp/umiak-ipam-XXXXXX";
static struct um_range tiny = {0x0af40008, 29}; /* .9 to .14 */

static void make_dir(void)
{
	cr_assert(mkdtemp(dir));
}

static void remove_dir(void)
{
	cr_assert_eq(um_io_remove_tree(AT_FDCWD, dir, NULL), 0);
}

TestSuite(ipam, .init = make_dir, .fini = remove_dir);

static struct um_ipam *open_ipam(const struct um_range *range)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_ipam *i = NULL;

	cr_assert_eq(um_ipam_open(dir, range, &i, &err), 0, "%s", err.msg);
	return i;
}

static unsigned give(struct um_ipam *i, const char *uid)
{
	struct um_error err = UM_ERROR_INIT;
	uint32_t addr = 0;

	cr_assert_eq(um_ipam_give(i, uid, &addr, &err), 0, "%s", err.msg);
	return addr & 255;
}

static const char *file(const char *addr)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/ipam/%s", dir, addr);
	return path;
}

static void put(const char *addr, const char *text)
{
	(void)!um_io_mkdirs(AT_FDCWD, file(""), 0700, NULL);
	cr_assert_eq(um_io_replace_file(AT_FDCWD, file(addr), text, strlen(text), 0600,
					UM_IO_NO_SYNC, NULL),
		     0);
}

static void put_aged(const char *addr, const char *text, long age_s)
{
	struct timespec t[2] = {{0}, {0}};

	put(addr, text);
	t[0].tv_sec = t[1].tv_sec = time(NULL) - age_s;
	cr_assert_eq(utimensat(AT_FDCWD, file(addr), t, 0), 0);
}

static bool there(const char *addr)
{
	struct stat st;

	return lstat(file(addr), &st) == 0;
}

Test(ipam, gives_all_and_no_more)
{
	_cleanup_(um_ipam_closep) struct um_ipam *i = open_ipam(&tiny);
	struct um_error err = UM_ERROR_INIT;
	uint32_t addr = 7;
	char uid[8];

	for (unsigned n = 0; n < 6; n++) {
		snprintf(uid, sizeof(uid), "pod-%u", n);
		cr_assert_eq(give(i, uid), 9 + n, "neither the first nor the last address");
	}
	cr_assert_eq(um_ipam_give(i, "more", &addr, &err), -EADDRNOTAVAIL);
	cr_assert_eq(addr, 7);
	cr_assert(strstr(err.msg, "10.244.0.8/29") && strstr(err.msg, "more"), "%s", err.msg);
	cr_assert_eq(give(i, "pod-3"), 12, "what it has it keeps");
	cr_assert_eq(um_ipam_release(i, "pod-3", NULL), 0);
	cr_assert(!there("10.244.0.12"));
	cr_assert_eq(give(i, "more"), 12);
}

Test(ipam, goes_round)
{
	_cleanup_(um_ipam_closep) struct um_ipam *i = open_ipam(&tiny);

	cr_assert_eq(give(i, "a"), 9);
	cr_assert_eq(um_ipam_release(i, "a", NULL), 0);
	cr_assert_eq(give(i, "b"), 10, "a released address is not given at once");
	cr_assert_eq(um_ipam_release(i, "b", NULL), 0);
	for (unsigned n = 11; n <= 14; n++) {
		cr_assert_eq(give(i, "c"), n);
		cr_assert_eq(um_ipam_release(i, "c", NULL), 0);
	}
	cr_assert_eq(give(i, "d"), 9, "round the end");
	cr_assert_eq(um_ipam_release(i, "nobody", NULL), 0);
}

Test(ipam, survives_restarts)
{
	struct um_ipam *i = open_ipam(&tiny);
	uint32_t addr;

	cr_assert_eq(give(i, "a"), 9);
	cr_assert_eq(give(i, "b"), 10);
	cr_assert_eq(give(i, "c"), 11);
	cr_assert_eq(um_ipam_release(i, "a", NULL), 0);
	um_ipam_close(i);
	i = open_ipam(&tiny);
	cr_assert(!um_ipam_find(i, "a", &addr));
	cr_assert(um_ipam_find(i, "b", &addr) && (addr & 255) == 10);
	cr_assert_eq(give(i, "c"), 11);
	cr_assert_eq(give(i, "e"), 12, "goes on where it was");
	um_ipam_close(i);
}

Test(ipam, goes_on_from_the_newest_file)
{
	struct um_ipam *i;

	put_aged("10.244.0.13", "old", 100);
	put_aged("10.244.0.10", "new", 10);
	i = open_ipam(&tiny);
	cr_assert_eq(give(i, "x"), 11);
	um_ipam_close(i);
}

Test(ipam, damaged_files_are_removed)
{
	static const char *const damaged[] = {
		"",
		"\n",
		"two words",
		"a\nb",
		"../../etc/passwd",
		"\x01",
		"\xff\xfe",
		"0123456789012345678901234567890123456789012345678901234567890123", /* 64 */
		"012345678901234567890123456789012345678901234567890123456789012345678901234567890",
	};

	for (size_t n = 0; n < UM_ARRAY_LEN(damaged); n++) {
		struct um_ipam *i;

		put("10.244.0.9", damaged[n]);
		i = open_ipam(&tiny);
		cr_assert(!there("10.244.0.9"), "%zu", n);
		um_ipam_close(i);
	}
	/* A NUL within */
	{
		int fd = open(file("10.244.0.9"), O_WRONLY | O_CREAT, 0600);
		struct um_ipam *i;

		cr_assert_eq(write(fd, "a\0b", 3), 3);
		close(fd);
		i = open_ipam(&tiny);
		cr_assert(!there("10.244.0.9"));
		um_ipam_close(i);
	}
}

Test(ipam, foreign_names_are_left_alone)
{
	static const char *const names[] = {"README",	   "10.244.0.09", "10.244.0.9.tmp",
					    ".10.244.0.9", "10.244.0",	  "10.244.0.9/"};
	struct um_ipam *i;

	for (size_t n = 0; n + 1 < UM_ARRAY_LEN(names); n++)
		put(names[n], "someone");
	i = open_ipam(&tiny);
	for (size_t n = 0; n + 1 < UM_ARRAY_LEN(names); n++)
		cr_assert(there(names[n]), "%s", names[n]);
	cr_assert_eq(give(i, "someone"), 9);
	um_ipam_close(i);
}

Test(ipam, not_a_regular_file)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_ipam *i = NULL;

	put("x", "x");
	cr_assert_eq(symlink("/etc/hostname", file("10.244.0.9")), 0);
	cr_assert_eq(um_ipam_open(dir, &tiny, &i, &err), -EEXIST);
	cr_assert(strstr(err.msg, "10.244.0.9"), "%s", err.msg);
}

Test(ipam, one_uid_has_one_address)
{
	struct um_ipam *i;
	uint32_t addr;

	put("10.244.0.13", "twice");
	put("10.244.0.10", "twice");
	put("10.244.0.14", "twice");
	i = open_ipam(&tiny);
	cr_assert(um_ipam_find(i, "twice", &addr) && (addr & 255) == 10);
	cr_assert(there("10.244.0.10") && !there("10.244.0.13") && !there("10.244.0.14"));
	um_ipam_close(i);
}

Test(ipam, addresses_of_another_range)
{
	struct um_ipam *i;
	uint32_t addr;

	put("10.9.9.9", "moved");
	put("10.244.0.8", "first");
	put("10.244.0.15", "last");
	i = open_ipam(&tiny);
	cr_assert(um_ipam_find(i, "moved", &addr) && there("10.9.9.9"));
	cr_assert_eq(give(i, "moved"), 9);
	cr_assert(!there("10.9.9.9"));
	cr_assert_eq(give(i, "first"), 10);
	cr_assert_eq(give(i, "last"), 11);
	cr_assert(!there("10.244.0.8") && !there("10.244.0.15"));
	um_ipam_close(i);
}

Test(ipam, a_file_made_behind_its_back_is_respected)
{
	_cleanup_(um_ipam_closep) struct um_ipam *i = open_ipam(&tiny);

	put("10.244.0.9", "other");
	cr_assert_eq(give(i, "a"), 10);
}

Test(ipam, claims)
{
	_cleanup_(um_ipam_closep) struct um_ipam *i = open_ipam(&tiny);
	uint32_t addr;

	cr_assert_eq(um_ipam_claim(i, "running", tiny.base + 1, NULL), 0);
	cr_assert(there("10.244.0.9"));
	cr_assert_eq(um_ipam_claim(i, "running", tiny.base + 2, NULL), 0);
	cr_assert_eq(um_ipam_claim(i, "late", tiny.base + 1, NULL), 0);
	cr_assert(um_ipam_find(i, "running", &addr) && (addr & 255) == 9);
	cr_assert(!um_ipam_find(i, "late", &addr));
	cr_assert_eq(give(i, "next"), 10);
}

Test(ipam, uids)
{
	cr_assert(um_ipam_uid_valid("3d9f3fd2-0a0e-4f0e-8a43-1d5d0c9f8f7a"));
	cr_assert(um_ipam_uid_valid("0123456789abcdef0123456789abcdef"));
	cr_assert(!um_ipam_uid_valid(""));
	cr_assert(!um_ipam_uid_valid("a/b"));
	cr_assert(!um_ipam_uid_valid("a b"));
	cr_assert(!um_ipam_uid_valid("a\n"));
	cr_assert(!um_ipam_uid_valid(
		"0123456789012345678901234567890123456789012345678901234567890123"));
}

/* ---- links ---- */

Test(veth, names)
{
	struct um_link l = {.index = 3, .veth = true, .alias = "pod-1"};
	char a[IFNAMSIZ], b[IFNAMSIZ];

	um_veth_name("", a);
	cr_assert_str_eq(a, "umcbf29ce48422", "FNV-1a's offset basis");
	um_veth_name("a", a);
	cr_assert_str_eq(a, "umaf63dc4c8601", "FNV-1a's published value of \"a\"");
	um_veth_name("pod-1", a);
	um_veth_name("pod-2", b);
	cr_assert_str_neq(a, b);
	snprintf(l.name, sizeof(l.name), "%s", a);
	cr_assert(um_veth_is_ours(&l));
	l.veth = false;
	cr_assert(!um_veth_is_ours(&l));
	l.veth = true;
	l.alias[0] = '\0';
	cr_assert(!um_veth_is_ours(&l));
	snprintf(l.alias, sizeof(l.alias), "pod-2");
	cr_assert(!um_veth_is_ours(&l));
}
