#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/num.h"
#include "base/quantity.h"
#include "base/utf8.h"
#include "base/vec.h"

Test(error, wraps_outwards_and_keeps_the_code)
{
	struct um_error err = UM_ERROR_INIT;

	cr_assert_eq(um_error_errno(&err, -ENOENT, "open %s", "/x"), -ENOENT);
	cr_assert_eq(um_error_wrap(&err, -EIO, "create pod %s", "web"), -EIO);
	cr_assert_str_eq(err.msg, "create pod web: open /x: No such file or directory");
	cr_assert_eq(err.code, -ENOENT);
	cr_assert_eq(err.reason, UM_REASON_NOT_FOUND);
	cr_assert_eq(um_exit_code(&err), UM_EXIT_NOT_FOUND);
	cr_assert_eq(um_error_set(NULL, -EINVAL, "nobody listens"), -EINVAL);
}

Test(error, long_text_ends_in_dots_on_a_character)
{
	struct um_error err = UM_ERROR_INIT;
	char text[900];

	for (size_t i = 0; i < sizeof(text) - 3; i += 3)
		memcpy(text + i, "\xe2\x82\xac", 3);
	text[897] = '\0';
	um_error_set(&err, -EINVAL, "%s", text);
	cr_assert_eq(um_utf8_valid(err.msg, strlen(err.msg)), strlen(err.msg));
	cr_assert_str_eq(err.msg + strlen(err.msg) - 3, "...");
}

Test(buf, keeps_its_maximum_and_remembers_failure)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(10);

	cr_assert_eq(um_buf_adds(&b, "12345"), 0);
	cr_assert_eq(um_buf_adds(&b, "678901"), -EMSGSIZE);
	cr_assert_str_eq(b.data, "12345");
	cr_assert_eq(um_buf_error(&b), -EMSGSIZE);
	um_buf_clear(&b);
	cr_assert_eq(um_buf_addf(&b, "%010d", 7), 0);
	um_buf_drop(&b, 9);
	cr_assert_str_eq(b.data, "7");
}

Test(arena, refuses_past_its_limit)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(100000);
	size_t n = 0;

	while (um_arena_alloc(a, 1000))
		n++;
	cr_assert(n >= 90 && n <= 100, "%zu", n);
	cr_assert(um_arena_failed(a));
	cr_assert(um_arena_bytes(a) <= 100000);
	cr_assert_null(um_arena_alloc(a, SIZE_MAX));
}

Test(num, is_strict)
{
	static const char *const bad[] = {"",	"+1",  " 1",  "1 ",
					  "01", "1.0", "0x1", "--1",
					  "-",	"1e3", "\n1", "18446744073709551616x"};
	uint64_t u;
	int64_t i;
	unsigned o;

	for (size_t k = 0; k < UM_ARRAY_LEN(bad); k++)
		cr_assert_eq(um_num_i64(bad[k], INT64_MIN, INT64_MAX, &i), -EINVAL, "%s", bad[k]);
	cr_assert_eq(um_num_u64("18446744073709551615", UINT64_MAX, &u), 0);
	cr_assert_eq(u, UINT64_MAX);
	cr_assert_eq(um_num_u64("18446744073709551616", UINT64_MAX, &u), -ERANGE);
	cr_assert_eq(um_num_i64("-9223372036854775808", INT64_MIN, INT64_MAX, &i), 0);
	cr_assert_eq(i, INT64_MIN);
	cr_assert_eq(um_num_i64("-9223372036854775809", INT64_MIN, INT64_MAX, &i), -ERANGE);
	cr_assert_eq(um_num_octal("0755", 07777, &o), 0);
	cr_assert_eq(o, 0755);
	cr_assert_eq(um_num_octal("0789", 07777, &o), -EINVAL);
	cr_assert_eq(um_num_octal("10000", 07777, &o), -ERANGE);
}

Test(quantity, rounds_up_and_saturates)
{
	static const struct {
		const char *text;
		int64_t value, milli;
	} good[] = {
		{"0", 0, 0},
		{"1", 1, 1000},
		{"100m", 1, 100},
		{"1500m", 2, 1500},
		{"0.5", 1, 500},
		{".5", 1, 500},
		{"5.", 5, 5000},
		{"64Mi", 64 << 20, INT64_C(67108864000)},
		{"1.5Gi", INT64_C(1610612736), INT64_C(1610612736000)},
		{"1k", 1000, 1000000},
		{"2G", INT64_C(2000000000), INT64_C(2000000000000)},
		{"1e3", 1000, 1000000},
		{"1E3", 1000, 1000000},
		{"12e-1", 2, 1200},
		{"1n", 1, 1},
		{"100u", 1, 1},
		{"-1500m", -2, -1500},
		{"8Ei", INT64_MAX, INT64_MAX},
		{"1E", INT64_C(1000000000000000000), INT64_MAX},
		{"99999999999999999999999999999999999999999999", INT64_MAX, INT64_MAX},
		{"0.00000000000000000000000000000000000000000001", 1, 1},
		{"0Ei", 0, 0},
	};
	static const char *const bad[] = {"",	"m",	 "1 ",	"1mi",	  "1KiB", "0x1", "1e",
					  "e3", "1.2.3", "--1", "1e1000", ".",	  "1Kii"};
	int64_t v;

	for (size_t i = 0; i < UM_ARRAY_LEN(good); i++) {
		cr_assert_eq(um_quantity_value(good[i].text, &v), 0, "%s", good[i].text);
		cr_assert_eq(v, good[i].value, "%s: %lld", good[i].text, (long long)v);
		cr_assert_eq(um_quantity_milli(good[i].text, &v), 0, "%s", good[i].text);
		cr_assert_eq(v, good[i].milli, "%s: %lld", good[i].text, (long long)v);
	}
	for (size_t i = 0; i < UM_ARRAY_LEN(bad); i++)
		cr_assert_eq(um_quantity_value(bad[i], &v), -EINVAL, "%s", bad[i]);
}

Test(clock, dates_are_those_of_the_c_library)
{
	/* Each day of 800 years around now, and the ends of what 64 bits of nanoseconds hold. */
	for (int64_t day = -106751; day < 106751; day++) {
		int64_t sec = day * 86400 + (day * 7919 % 86400 + 86400) % 86400;
		time_t t = sec;
		char buf[UM_TIME_LEN], want[UM_TIME_LEN];
		struct tm tm;

		gmtime_r(&t, &tm);
		strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%SZ", &tm);
		um_time_format(sec * UM_NSEC_PER_SEC, buf);
		cr_assert_str_eq(buf, want);
	}
}

Test(clock, formats_and_parses)
{
	char buf[UM_TIME_LEN];
	int64_t ns;

	cr_assert_eq(um_time_parse("2026-01-02T03:04:05.000000007+01:00", &ns), 0);
	um_time_format_nano(ns, buf);
	cr_assert_str_eq(buf, "2026-01-02T02:04:05.000000007Z");
	um_time_format_micro(ns, buf);
	cr_assert_str_eq(buf, "2026-01-02T02:04:05.000000Z");
	um_time_format(0, buf);
	cr_assert_str_eq(buf, "1970-01-01T00:00:00Z");
	cr_assert_eq(um_time_parse("2026-02-30T00:00:00Z", &ns), -EINVAL);
	cr_assert_eq(um_time_parse("2026-01-01T00:00:00", &ns), -EINVAL);
	cr_assert_eq(um_time_parse("2026-01-01T00:00:00Zx", &ns), -EINVAL);
	cr_assert_eq(um_time_parse("2026-01-01T00:00:00.Z", &ns), -EINVAL);
	cr_assert_eq(um_time_parse("9999-01-01T00:00:00Z", &ns), -EINVAL);
}

Test(utf8, refuses_what_rfc3629_refuses)
{
	cr_assert_eq(um_utf8_valid("ascii only text, long enough", 28), 28);
	cr_assert_eq(um_utf8_valid("\xc0\x80", 2), 0);
	cr_assert_eq(um_utf8_valid("a\xed\xa0\x80", 4), 1);
	cr_assert_eq(um_utf8_valid("\xf4\x90\x80\x80", 4), 0);
	cr_assert_eq(um_utf8_valid("\xe2\x82", 2), 0);
	cr_assert_eq(um_utf8_valid("\xf0\x9f\x98\x80", 4), 4);
}

Test(io, replaces_files_and_removes_trees)
{
	char dir[] = "/tmp/umiak-test-io-XXXXXX";
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(8);
	_cleanup_close_ int fd = -1;
	struct um_error err = UM_ERROR_INIT;
	struct stat st;

	cr_assert_not_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(um_io_mkdirs(fd, "a/b/c", 0755, &err), 0, "%s", err.msg);
	cr_assert_eq(um_io_mkdirs(fd, "a/b/c", 0755, &err), 0);
	cr_assert_eq(um_io_replace_file(fd, "a/b/f", "12345678", 8, 0600, UM_IO_SYNC, &err), 0);
	cr_assert_eq(um_io_replace_file(fd, "a/b/f", "abcdefgh", 8, 0640, UM_IO_NO_SYNC, &err), 0);
	cr_assert_eq(um_io_read_file(fd, "a/b/f", &b, &err), 0, "%s", err.msg);
	cr_assert_str_eq(b.data, "abcdefgh");
	cr_assert_eq(fstatat(fd, "a/b/f", &st, 0), 0);
	cr_assert_eq(st.st_mode & 0777, 0640);
	cr_assert_eq(um_io_replace_file(fd, "a/b/f", "123456789", 9, 0600, UM_IO_SYNC, &err), 0);
	um_buf_clear(&b);
	cr_assert_eq(um_io_read_file(fd, "a/b/f", &b, &err), -EMSGSIZE);
	cr_assert_eq(symlinkat("/etc", fd, "a/link"), 0);
	cr_assert_eq(um_io_remove_tree(fd, "a", &err), 0, "%s", err.msg);
	cr_assert_eq(faccessat(fd, "a", F_OK, 0), -1);
	cr_assert_eq(access("/etc/passwd", F_OK), 0);
	cr_assert_eq(um_io_remove_tree(fd, "a", &err), 0);
	rmdir(dir);
}

Test(io, removes_trees_however_deep)
{
	char dir[] = "/tmp/umiak-test-io-XXXXXX";
	struct um_error err = UM_ERROR_INIT;
	int fd;

	cr_assert_not_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 3000; i++) {
		int sub;

		/* A name that the removal itself uses, and a file beside it. */
		cr_assert_eq(mkdirat(fd, i % 2 ? "d" : ".removed-1", 0700), 0);
		close(openat(fd, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
		sub = openat(fd, i % 2 ? "d" : ".removed-1", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = sub;
	}
	close(fd);
	cr_assert_eq(um_io_remove_tree(AT_FDCWD, dir, &err), 0, "%s", err.msg);
	cr_assert_eq(access(dir, F_OK), -1);
}

Test(vec, grows_and_removes)
{
	UM_VEC(int) v = UM_VEC_INIT;
	int sum = 0;

	for (int i = 0; i < 100; i++)
		cr_assert_eq(um_vec_push(&v, i), 0);
	um_vec_remove(&v, 50);
	um_vec_foreach (it, &v)
		sum += *it;
	cr_assert_eq(sum, 4950 - 50);
	um_vec_release(&v);
}

Test(bytes, are_shared)
{
	struct um_bytes *b = um_bytes_new("abc", 3), *c = um_bytes_ref(b);

	um_bytes_unref(b);
	cr_assert_str_eq(c->data, "abc");
	um_bytes_unref(c);
}

Test(hash, differs_by_key_only)
{
	cr_assert_eq(um_hash_bytes("abcdefghij", 10), um_hash_bytes("abcdefghij", 10));
	cr_assert_neq(um_hash_bytes("abcdefghij", 10), um_hash_bytes("abcdefghik", 10));
	cr_assert_neq(um_hash_bytes("", 0), um_hash_bytes("\0", 1));
}
