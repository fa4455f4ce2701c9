/* What of the cgroups room needs no cgroup: conversions, mountinfo, paths. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroups/cgroups.h"
#include "cgroups/internal.h"

Test(cgroups, weight_of_shares)
{
	static const uint64_t table[][2] = {{0, 1},	     {2, 1},	      {1024, 100},
					    {262144, 10000}, {500000, 10000}, {512, 59},
					    {2048, 174}};
	uint64_t last = 0;

	for (size_t i = 0; i < UM_ARRAY_LEN(table); i++)
		cr_expect_eq(um_cgroup_weight_of_shares(table[i][0]), table[i][1], "%lu -> %lu",
			     table[i][0], um_cgroup_weight_of_shares(table[i][0]));
	for (uint64_t s = 2; s <= 262144; s += 7) {
		uint64_t w = um_cgroup_weight_of_shares(s);

		cr_assert(w >= last && w >= 1 && w <= 10000, "%lu -> %lu after %lu", s, w, last);
		last = w;
	}
}

Test(cgroups, io_weight_of_blkio)
{
	cr_expect_eq(um_cgroup_io_weight_of_blkio(10), 1);
	cr_expect_eq(um_cgroup_io_weight_of_blkio(1000), 10000);
	cr_expect_eq(um_cgroup_io_weight_of_blkio(0), 1);
	cr_expect_eq(um_cgroup_io_weight_of_blkio(UINT64_MAX), 10000);
	cr_expect_eq(um_cgroup_io_weight_of_blkio(505), 5000);
}

Test(cgroups, swap_of_a_sum)
{
	int64_t v = 7;

	cr_expect_eq(um_cgroup_swap_v2(100, 150, &v), 0);
	cr_expect_eq(v, 50);
	cr_expect_eq(um_cgroup_swap_v2(100, 100, &v), 0);
	cr_expect_eq(v, 0);
	cr_expect_eq(um_cgroup_swap_v2(UM_CG_UNSET, UM_CG_MAX, &v), 0);
	cr_expect_eq(v, UM_CG_MAX);
	cr_expect_eq(um_cgroup_swap_v2(100, 99, &v), -EINVAL);
	cr_expect_eq(um_cgroup_swap_v2(UM_CG_UNSET, 99, &v), -EINVAL);
	cr_expect_eq(um_cgroup_swap_v2(UM_CG_MAX, 99, &v), -EINVAL);
}

static struct um_cgroups *parse(const char *text)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_cgroups *hs = NULL;

	cr_assert_eq(um_cgroups_parse(text, false, &hs, &err), 0, "%s: %s", text, err.msg);
	return hs;
}

#define OTHERS                                                                                     \
	"22 27 0:21 / /proc rw,relatime - proc proc rw\n"                                          \
	"31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 master:3 - tmpfs tmpfs rw,mode=755\n"

Test(cgroups, a_v1_host)
{
	_cleanup_(um_cgroups_freep) struct um_cgroups *hs = parse(
		OTHERS "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup "
		       "rw,cpuacct,cpu\n"
		       "35 31 0:32 / /sys/fs/cgroup/my\\040mem\\134x rw - cgroup none rw,memory\n"
		       "36 31 0:32 / /somewhere/else rw - cgroup none rw,memory\n"
		       "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup "
		       "rw,xattr,release_agent=/a,name=systemd");

	cr_assert_eq(hs->mode, UM_CGROUP_V1);
	cr_assert_eq(hs->n, 3, "a hierarchy that is mounted twice counts once");
	cr_expect_str_eq(hs->h[0].name, "cpuacct,cpu");
	cr_expect_eq(hs->h[0].controllers, 1u << UM_CG_CPU | 1u << UM_CG_CPUACCT);
	cr_expect_str_eq(hs->h[1].mount_point, "/sys/fs/cgroup/my mem\\x");
	cr_expect_str_eq(hs->h[2].name, "name=systemd");
	cr_expect_eq(hs->h[2].controllers, 0);
	cr_expect_eq(um_cgroup_find(hs, UM_CG_MEMORY), 1);
	cr_expect_eq(um_cgroup_find(hs, UM_CG_PIDS), -1);
	cr_expect_eq(um_cgroup_find_v2(hs), -1);
}

Test(cgroups, a_hybrid_host)
{
	_cleanup_(um_cgroups_freep) struct um_cgroups *hs =
		parse(OTHERS "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
			     "39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n");

	cr_assert_eq(hs->mode, UM_CGROUP_HYBRID);
	cr_expect_eq(um_cgroup_find_v2(hs), 0);
	cr_expect_eq(um_cgroup_find(hs, UM_CG_PIDS), 1);
}

Test(cgroups, a_v2_host)
{
	_cleanup_(um_cgroups_freep) struct um_cgroups *hs =
		parse("22 27 0:21 / /proc rw - proc proc rw\n"
		      "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
		      "40 31 0:37 / /named rw - cgroup cgroup rw,name=systemd\n");

	cr_assert_eq(hs->mode, UM_CGROUP_V2, "a named v1 hierarchy has no controllers");
}

Test(cgroups, a_host_without)
{
	static const char *const texts[] = {"",
					    "\n\n",
					    OTHERS,
					    "31 23 0:28 / /sys",
					    "31 23 0:28 / /sys rw - cgroup2",
					    "31 23 0:28 / /sys rw - cgroup2 x",
					    "31 23 0:28 / /sys rw cgroup2 x rw",
					    "31 23 0:28 / /sys rw - cgroup3 x rw",
					    "31 23 0:28 / /sys rw - cgroup x rw",
					    "- cgroup2 x rw"};

	for (size_t i = 0; i < UM_ARRAY_LEN(texts); i++) {
		struct um_error err = UM_ERROR_INIT;
		struct um_cgroups *hs = NULL;

		cr_expect_eq(um_cgroups_parse(texts[i], false, &hs, &err), -ENOENT, "%s", texts[i]);
		um_cgroups_free(hs);
	}
}

Test(cgroups, more_hierarchies_than_there_is_room)
{
	char text[8192], *p = text;

	for (int i = 0; i < 60; i++)
		p += snprintf(p, sizeof(text) - (size_t)(p - text),
			      "%d 1 0:1 / /m%d rw - cgroup c rw,name=n%d\n", i, i, i);
	snprintf(p, sizeof(text) - (size_t)(p - text), "99 1 0:1 / /m rw - cgroup c rw,pids\n");
	{
		struct um_error err = UM_ERROR_INIT;
		struct um_cgroups *hs = NULL;

		if (um_cgroups_parse(text, false, &hs, &err) == 0)
			cr_expect_leq(hs->n, UM_CGROUP_MAX_HIERARCHIES);
		um_cgroups_free(hs);
	}
}

Test(cgroups, paths)
{
	static const char *const good[] = {"/a", "a", "/a/b-c.d/e", "/...", "/a..b", "/.a"};
	static const char *const bad[] = {"",	    "..", "/..",  "/a/..", "/a/../b",
					  "/a/./b", ".",  "../a", "/a\nb"};
	char too_long[6000];
	struct um_error err = UM_ERROR_INIT;

	for (size_t i = 0; i < UM_ARRAY_LEN(good); i++)
		cr_expect_eq(um_cgroup_check_path(good[i], &err), 0, "%s: %s", good[i], err.msg);
	for (size_t i = 0; i < UM_ARRAY_LEN(bad); i++)
		cr_expect_lt(um_cgroup_check_path(bad[i], &err), 0, "accepted: \"%s\"", bad[i]);
	memset(too_long, 'a', sizeof(too_long) - 1);
	too_long[sizeof(too_long) - 1] = '\0';
	cr_expect_lt(um_cgroup_check_path(too_long, &err), 0);
	/* the root of the hierarchies is everybody's */
	cr_expect_lt(um_cgroup_check_path("/", &err), 0);
}

/* systemd removes a group as soon as its last process has ended. */
Test(cgroups, a_group_that_is_gone_has_nobody_to_kill)
{
	char dir[] = "/tmp/umiak-test-cgroups.XXXXXX", path[64];
	struct um_cgroups host = {.mode = UM_CGROUP_V2, .n = 1};
	struct um_cgroup cg = {.host = &host, .path = (char[]){"/x"}};
	struct um_error err = UM_ERROR_INIT;
	pid_t *pids = NULL;
	size_t n = 1;
	int file;

	cr_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/x", dir);
	cr_assert_eq(mkdir(path, 0700), 0);
	host.h[0] = (struct um_cgroup_hierarchy){.mount_fd = -1, .name = (char[]){""}, .v2 = true};
	for (size_t i = 0; i < UM_CGROUP_MAX_HIERARCHIES; i++)
		cg.fds[i] = cg.join_fds[i] = -1;
	cg.fds[0] = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(cg.fds[0] >= 0);

	/* a kernel without cgroup.kill is another matter */
	file = openat(cg.fds[0], "cgroup.procs", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	cr_assert(file >= 0);
	close(file);
	cr_expect_eq(um_cgroup_kill(&cg, &err), -ENOENT);
	cr_expect(strstr(err.msg, "cgroup.kill of /x"), "%s", err.msg);

	cr_assert_eq(unlinkat(cg.fds[0], "cgroup.procs", 0), 0);
	cr_assert_eq(rmdir(path), 0);
	cr_expect_eq(um_cgroup_kill(&cg, NULL), 0);
	cr_expect_eq(um_cgroup_pids(&cg, &pids, &n, NULL), 0);
	cr_expect_eq(n, 0);
	free(pids);
	close(cg.fds[0]);
	rmdir(dir);
}
