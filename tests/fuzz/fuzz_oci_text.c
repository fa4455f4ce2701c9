/* The small texts of umiak-oci's callers: users, numbers, sizes, signals, processor lists, mount
 * options, names; and the container's own passwd file. What is accepted must be in its bounds. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/num.h"
#include "runtime/affinity.h"
#include "runtime/runtime.h"
#include "runtime/spec.h"
#include "runtime/systemd.h"
#include "runtime/user.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void numbers(const char *text)
{
	uint64_t u = 0;
	int64_t i = 0;
	unsigned octal = 0;
	int n = 0;

	if (um_num_u64(text, 1000, &u) == 0 && (u > 1000 || (text[0] == '0' && text[1])))
		abort();
	if (um_num_i64(text, -5, INT64_MAX, &i) == 0 && i < -5)
		abort();
	if (um_num_octal(text, 07777, &octal) == 0 && octal > 07777)
		abort();
	if (um_num_bytes(text, &i) == 0 && i < -1)
		abort();
	if (um_num_signal(text, &n) == 0 && (n < 0 || n > SIGRTMAX))
		abort();
}

static void users(const char *text, const uint8_t *data, size_t size)
{
	uint32_t uid = 7, gid = 8;
	char home[64];
	FILE *f;

	if (um_user_parse(text, &uid, &gid) < 0 ? uid != 7 || gid != 8
						: uid == UINT32_MAX || gid == UINT32_MAX)
		abort();
	f = size ? fmemopen((void *)(uintptr_t)data, size, "r") : NULL;
	if (!f)
		return;
	um_user_home(f, size & 1 ? 0 : 1000, home, sizeof(home));
	if (home[0] != '/')
		abort();
	fclose(f);
}

static void names(const char *text)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_spec_mount mount = {0};
	cpu_set_t cpus;

	if (um_affinity_parse(text, &cpus) == 0 && !CPU_COUNT(&cpus))
		abort();
	if (um_spec_cap(text) > 63 || um_spec_rlimit(text) >= RLIM_NLIMITS)
		abort();
	(void)um_spec_mount_option(text, &mount);
	if (um_runtime_check_id(text, &err) == 0 &&
	    (!text[0] || strchr(text, '/') || !strcmp(text, ".") || !strcmp(text, "..")))
		abort();
}

/* What goes to systemd's helper is lines: nothing that is accepted may make one more. */
static void systemd(const char *text)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	struct um_spec_pair pair = {"org.systemd.property.Name", text};
	struct um_error err = UM_ERROR_INIT;
	struct um_systemd_names names;

	if (um_systemd_annotations(&pair, 1, &b, &err) == 0 &&
	    (!b.len || memchr(b.data, '\n', b.len) != b.data + b.len - 1))
		abort();
	if (a && um_systemd_parse(a, text, "id", false, &names, &err) == 0 &&
	    (strpbrk(names.slice, "/\n ") || strpbrk(names.unit, "/\n ")))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);

	if (!text)
		return 0;
	numbers(text);
	users(text, data, size);
	names(text);
	systemd(text);
	free(text);
	return 0;
}
