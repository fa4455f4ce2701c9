#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>

#include "runtime/seccomp.h"

/* Calls of x32 programs have this bit, under the audit number of x86-64. */
#define X32_BIT 0x40000000u

static void add(struct um_buf *b, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
	struct sock_filter f = {code, jt, jf, k};

	um_buf_add(b, &f, sizeof(f));
}

/* The number of the newest call that the profile names. 0: it names none. */
static uint32_t newest(const struct um_spec_seccomp *s, uint32_t arch)
{
	uint32_t max = 0;

	for (size_t i = 0; i < s->n_rules; i++)
		for (size_t k = 0; k < s->rules[i].names.n; k++) {
			int nr = seccomp_syscall_resolve_name_arch(arch, s->rules[i].names.v[k]);

			if (nr >= 0 && (uint32_t)nr > max)
				max = (uint32_t)nr;
		}
	return max;
}

static void refuse_above(struct um_buf *b, uint32_t nr)
{
	add(b, BPF_JMP | BPF_JGT | BPF_K, 0, 1, nr);
	add(b, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS);
}

/* Skipped when the call is of another architecture, whose number is loaded then. @x32 is the newest
 * call with X32_BIT; without any, those calls are the filter's. */
static void add_arch(struct um_buf *b, uint32_t audit, uint32_t last, uint32_t x32)
{
	bool split = audit == AUDIT_ARCH_X86_64;
	uint8_t len = (uint8_t)(1 + (split ? 1 : 0) + (last ? 2 : 0) + (x32 ? 2 : 0) + 1);

	add(b, BPF_JMP | BPF_JEQ | BPF_K, 0, len, audit);
	add(b, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
	if (split)
		add(b, BPF_JMP | BPF_JGE | BPF_K, last ? 2 : 0, 0, X32_BIT);
	if (last)
		refuse_above(b, last);
	if (x32)
		refuse_above(b, x32);
	/* What the next block compares with. */
	add(b, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
}

static bool is_pointless(const struct um_spec_seccomp *s)
{
	static const char *const pass[] = {"SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE",
					   "SCMP_ACT_NOTIFY"};

	for (size_t i = 0; i < UM_ARRAY_LEN(pass); i++)
		if (!strcmp(s->default_action, pass[i]))
			return true;
	return !strcmp(s->default_action, "SCMP_ACT_ERRNO") && s->default_errno_ret == ENOSYS;
}

int um_seccomp_enosys(const struct um_spec_seccomp *s, struct um_buf *b, struct um_error *err)
{
	uint32_t native = seccomp_arch_native(), x32 = 0;
	bool seen_native = false;

	if (is_pointless(s) || !s->n_rules)
		return 0;
	for (size_t i = 0; i < s->architectures.n; i++)
		if (um_seccomp_arch(s->architectures.v[i]) == SCMP_ARCH_X32)
			x32 = newest(s, SCMP_ARCH_X32);
	add(b, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
	for (size_t i = 0; i < s->architectures.n; i++) {
		uint32_t arch = um_seccomp_arch(s->architectures.v[i]);

		if (!arch || arch == SCMP_ARCH_X32)
			continue;
		seen_native = seen_native || arch == native;
		add_arch(b, arch, newest(s, arch), arch == SCMP_ARCH_X86_64 ? x32 : 0);
	}
	if (!seen_native)
		add_arch(b, native, newest(s, native), native == SCMP_ARCH_X86_64 ? x32 : 0);
	return um_buf_error(b) ? um_error_set(err, -E2BIG, "linux.seccomp: too many architectures")
			       : 0;
}
