#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "wire/pki.h"
#include "wire/tls.h"

#define NOW_NS (INT64_C(1800000000) * UM_NSEC_PER_SEC) /* 2027 */

static char dir[] = "/tmp/um-pki-XXXXXX";

static void set_up(void)
{
	cr_assert_not_null(mkdtemp(dir));
}
static void tear_down(void)
{
	cr_assert_eq(um_io_remove_tree(AT_FDCWD, dir, NULL), 0);
}
TestSuite(pki, .init = set_up, .fini = tear_down);

static struct um_pki_pair *ca_at(int64_t wall_ns)
{
	struct um_pki_pair *ca = NULL;

	cr_assert_eq(um_pki_ca_new("umiak-ca", wall_ns, &ca, NULL), 0);
	return ca;
}

static struct um_pki_pair *leaf_of(struct um_pki_pair *ca, int64_t wall_ns)
{
	static const char *const orgs[] = {"system:nodes", NULL}, *const dns[] = {"node-1", NULL},
				 *const ips[] = {"127.0.0.1", "::1", NULL};
	struct um_pki_names n = {"system:node:node-1", orgs, dns, ips, true, true};
	struct um_pki_pair *leaf = NULL;
	struct um_error err = UM_ERROR_INIT;

	cr_assert_eq(um_pki_leaf_new(ca, &n, wall_ns, &leaf, &err), 0, "%s", err.msg);
	return leaf;
}

Test(pki, saved_with_the_right_modes_and_read_back)
{
	struct um_pki_pair *ca = ca_at(NOW_NS), *leaf = leaf_of(ca, NOW_NS), *again = NULL,
			   *other = ca_at(NOW_NS);
	struct um_error err = UM_ERROR_INIT;
	char path[256];
	struct stat st;

	cr_assert_eq(um_pki_save(leaf, dir, "node", &err), 0, "%s", err.msg);
	snprintf(path, sizeof(path), "%s/node.key", dir);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0600);
	cr_assert_eq(um_pki_load(dir, "node", &again, &err), 0, "%s", err.msg);
	cr_assert(um_pki_signed_by(again, ca));
	cr_assert_not(um_pki_signed_by(again, other));
	cr_assert(um_pki_covers(again,
				&(struct um_pki_names){.ips = (const char *const[]){"::1", NULL}}));
	cr_assert_not(um_pki_covers(
		again, &(struct um_pki_names){.ips = (const char *const[]){"10.0.0.1", NULL}}));
	um_pki_pair_free(ca);
	um_pki_pair_free(leaf);
	um_pki_pair_free(again);
	um_pki_pair_free(other);
}

Test(pki, damaged_and_mixed_files_are_refused)
{
	struct um_pki_pair *ca = ca_at(NOW_NS), *leaf = leaf_of(ca, NOW_NS), *again = NULL;
	struct um_error err = UM_ERROR_INIT;
	char from[256], to[256];

	cr_assert_eq(um_pki_load(dir, "none", &again, &err), -ENOENT);
	cr_assert_eq(um_pki_save(leaf, dir, "a", &err), 0);
	cr_assert_eq(um_pki_save(ca, dir, "b", &err), 0);
	snprintf(from, sizeof(from), "%s/b.key", dir);
	snprintf(to, sizeof(to), "%s/a.key", dir);
	cr_assert_eq(rename(from, to), 0);
	cr_assert_eq(um_pki_load(dir, "a", &again, &err), -EBADMSG);
	cr_assert_eq(truncate(to, 30), 0);
	cr_assert_eq(um_pki_load(dir, "a", &again, &err), -EBADMSG);
	um_pki_pair_free(ca);
	um_pki_pair_free(leaf);
}

Test(pki, a_clock_that_lies_gives_a_certificate_that_lasts)
{
	struct um_pki_pair *ca = ca_at(0), *leaf = leaf_of(ca, 0);
	struct um_error err = UM_ERROR_INIT;

	cr_assert_eq(um_pki_not_after(leaf), UM_PKI_FLOOR_NS + UM_PKI_LEAF_LIFE_NS);
	cr_assert_not(um_pki_leaf_due(leaf, 0));
	cr_assert_not(um_pki_leaf_due(leaf, UM_PKI_FLOOR_NS + UM_PKI_LEAF_LIFE_NS / 2 - 1));
	cr_assert(um_pki_leaf_due(leaf, UM_PKI_FLOOR_NS + UM_PKI_LEAF_LIFE_NS / 2));
	cr_assert_eq(um_pki_save(leaf, dir, "x", &err), 0);
	um_pki_pair_free(ca);
	um_pki_pair_free(leaf);
}

Test(pki, names_that_do_not_fit_are_refused)
{
	char big[200];
	struct um_pki_pair *ca = ca_at(NOW_NS), *leaf = NULL;
	struct um_pki_names long_cn = {.cn = big, .client = true};
	struct um_pki_names bad_ip = {.cn = "x", .ips = (const char *const[]){"localhost", NULL}};
	struct um_error err = UM_ERROR_INIT;

	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	cr_assert_eq(um_pki_leaf_new(ca, &long_cn, NOW_NS, &leaf, &err), -EINVAL);
	cr_assert_eq(um_pki_leaf_new(ca, &bad_ip, NOW_NS, &leaf, &err), -EINVAL);
	um_pki_pair_free(ca);
}

Test(pki, tls_contexts_say_which_file_is_bad)
{
	struct um_tls_opts o = {.cert_path = "/nonexistent/x.crt",
				.key_path = "/nonexistent/x.key"};
	struct um_error err = UM_ERROR_INIT;
	struct um_tls *t = NULL;

	cr_assert_lt(um_tls_server_new(&o, &t, &err), 0);
	cr_assert_not_null(strstr(err.msg, "/nonexistent/x.crt"));
}
