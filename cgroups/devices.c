/* Device rules: text in v1, a BPF program in v2. */
#include "cgroups/internal.h"

#include <inttypes.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/io.h"
#include "base/sys.h"

#define MAX_RULES 512
#define INSNS_PER_RULE 8
#define MAX_OLD_PROGRAMS 32

static bool overlap(int64_t a, int64_t b)
{
	return a < 0 || b < 0 || a == b;
}

/* v1 keeps what differs from its default ("a" sets that), and takes an exception back only where
 * the numbers are the same: of a rule that cuts a hole into a wider one, or into several, it says
 * nothing and does nothing. The earlier rule that @i would have to be cut out of, or NULL. */
static const struct um_cgroup_device *hole_in(const struct um_cgroup_device *rules, size_t i)
{
	const struct um_cgroup_device *d = &rules[i];
	size_t first = i;

	while (first && rules[first - 1].type != 'a')
		first--;
	if (d->type == 'a' || d->allow != (first && rules[first - 1].allow))
		return NULL; /* an exception itself */
	for (size_t k = first; k < i; k++) {
		const struct um_cgroup_device *e = &rules[k];

		if (e->allow != d->allow && e->type == d->type && overlap(e->major, d->major) &&
		    overlap(e->minor, d->minor) && (e->major != d->major || e->minor != d->minor) &&
		    ((e->read && d->read) || (e->write && d->write) || (e->mknod && d->mknod)))
			return e;
	}
	return NULL;
}

static void rule_text(const struct um_cgroup_device *d, char *buf, size_t size)
{
	char major[24] = "*", minor[24] = "*";

	if (d->major >= 0)
		snprintf(major, sizeof(major), "%" PRId64, d->major);
	if (d->minor >= 0)
		snprintf(minor, sizeof(minor), "%" PRId64, d->minor);
	if (d->type == 'a')
		snprintf(buf, size, "a");
	else
		snprintf(buf, size, "%c %s:%s %s%s%s", d->type, major, minor, d->read ? "r" : "",
			 d->write ? "w" : "", d->mknod ? "m" : "");
}

static int devices_v1(const struct um_cgroup *cg, int fd, const struct um_cgroup_device *rules,
		      size_t n, struct um_error *err)
{
	char text[80], wider[80];
	int r;

	for (size_t i = 0; i < n; i++) {
		const struct um_cgroup_device *e = hole_in(rules, i);

		if (!e)
			continue;
		rule_text(&rules[i], text, sizeof(text));
		rule_text(e, wider, sizeof(wider));
		return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
					   "linux.resources.devices: cgroup v1 cannot make an "
					   "exception \"%s\" from \"%s\"",
					   text, wider);
	}
	r = n && rules[0].type == 'a' ? 0 : um_io_write_value(fd, "devices.deny", "a");
	for (size_t i = 0; r >= 0 && i < n; i++) {
		rule_text(&rules[i], text, sizeof(text));
		r = um_io_write_value(fd, rules[i].allow ? "devices.allow" : "devices.deny", text);
	}
	if (r < 0)
		return um_error_errno(err, r, "cgroup controller devices: rules of %s", cg->path);
	return 0;
}

static struct bpf_insn insn(uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	return (struct bpf_insn){
		.code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm};
}

/* One rule. r2 type, r3 access, r4 major, r5 minor; a rule that does not match falls through.
 * An allow rule must cover every access asked for, a deny rule needs to touch one. */
static size_t compile_rule(struct bpf_insn *p, const struct um_cgroup_device *d)
{
	uint32_t access = (d->mknod ? BPF_DEVCG_ACC_MKNOD : 0) |
			  (d->read ? BPF_DEVCG_ACC_READ : 0) | (d->write ? BPF_DEVCG_ACC_WRITE : 0);
	size_t n = 0, checks[4], n_checks = 0;

	if (d->type != 'a') {
		checks[n_checks++] = n;
		p[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 0,
			      d->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
		p[n++] = insn(BPF_ALU | BPF_MOV | BPF_X, 1, 3, 0, 0);
		p[n++] = insn(BPF_ALU | BPF_AND | BPF_K, 1, 0, 0,
			      (int32_t)(d->allow ? ~access & 7 : access));
		checks[n_checks++] = n;
		p[n++] = insn(BPF_JMP | (d->allow ? BPF_JNE : BPF_JEQ) | BPF_K, 1, 0, 0, 0);
		if (d->major >= 0) {
			checks[n_checks++] = n;
			p[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, 4, 0, 0, (int32_t)d->major);
		}
		if (d->minor >= 0) {
			checks[n_checks++] = n;
			p[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 0, (int32_t)d->minor);
		}
	}
	p[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, d->allow);
	p[n++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	for (size_t i = 0; i < n_checks; i++)
		p[checks[i]].off = (int16_t)(n - checks[i] - 1);
	return n;
}

static size_t compile(struct bpf_insn *p, const struct um_cgroup_device *rules, size_t n_rules)
{
	size_t n = 0;

	p[n++] = insn(BPF_LDX | BPF_W | BPF_MEM, 2, 1, 0, 0);
	p[n++] = insn(BPF_ALU | BPF_MOV | BPF_X, 3, 2, 0, 0);
	p[n++] = insn(BPF_ALU | BPF_AND | BPF_K, 2, 0, 0, 0xffff);
	p[n++] = insn(BPF_ALU | BPF_RSH | BPF_K, 3, 0, 0, 16);
	p[n++] = insn(BPF_LDX | BPF_W | BPF_MEM, 4, 1, 4, 0);
	p[n++] = insn(BPF_LDX | BPF_W | BPF_MEM, 5, 1, 8, 0);
	for (size_t i = n_rules; i-- > 0;) {
		n += compile_rule(p + n, &rules[i]);
		if (rules[i].type == 'a')
			return n; /* nothing after it can be reached */
	}
	p[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	p[n++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return n;
}

static int sys_bpf(int cmd, union bpf_attr *attr)
{
	int r = um_sys_bpf(cmd, attr, sizeof(*attr));

	return r < 0 ? -errno : r;
}

static void detach_old(int cgroup_fd, const uint32_t *ids, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		union bpf_attr attr = {.prog_id = ids[i]};
		_cleanup_close_ int old = sys_bpf(BPF_PROG_GET_FD_BY_ID, &attr);

		if (old < 0)
			continue;
		attr = (union bpf_attr){.target_fd = (uint32_t)cgroup_fd,
					.attach_bpf_fd = (uint32_t)old,
					.attach_type = BPF_CGROUP_DEVICE};
		(void)!sys_bpf(BPF_PROG_DETACH, &attr);
	}
}

static int devices_v2(const struct um_cgroup *cg, int fd, const struct um_cgroup_device *rules,
		      size_t n, struct um_error *err)
{
	_cleanup_free_ struct bpf_insn *prog = calloc(n * INSNS_PER_RULE + 16, sizeof(*prog));
	uint32_t old[MAX_OLD_PROGRAMS];
	_cleanup_close_ int prog_fd = -1;
	union bpf_attr query = {.query = {.target_fd = (uint32_t)fd,
					  .attach_type = BPF_CGROUP_DEVICE,
					  .prog_ids = (uint64_t)(uintptr_t)old,
					  .prog_cnt = MAX_OLD_PROGRAMS}};
	union bpf_attr attr = {0};
	int r;

	if (!prog)
		return -ENOMEM;
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.insn_cnt = (uint32_t)compile(prog, rules, n);
	attr.insns = (uint64_t)(uintptr_t)prog;
	attr.license = (uint64_t)(uintptr_t) "Apache-2.0";
	prog_fd = sys_bpf(BPF_PROG_LOAD, &attr);
	if (prog_fd < 0)
		return um_error_errno(err, prog_fd, "cgroup devices of %s: load the BPF program",
				      cg->path);
	if (sys_bpf(BPF_PROG_QUERY, &query) < 0)
		query.query.prog_cnt = 0;
	attr = (union bpf_attr){.target_fd = (uint32_t)fd,
				.attach_bpf_fd = (uint32_t)prog_fd,
				.attach_type = BPF_CGROUP_DEVICE,
				.attach_flags = BPF_F_ALLOW_MULTI};
	r = sys_bpf(BPF_PROG_ATTACH, &attr);
	if (r < 0)
		return um_error_errno(err, r, "cgroup devices of %s: attach the BPF program",
				      cg->path);
	detach_old(fd, old, query.query.prog_cnt);
	return 0;
}

int um_cgroup_devices(const struct um_cgroup *cg, const struct um_cgroup_device *rules, size_t n,
		      struct um_error *err)
{
	int i = um_cgroup_find(cg->host, UM_CG_DEVICES);

	if (n > MAX_RULES)
		return um_error_set(err, -E2BIG, "more than %d device rules", MAX_RULES);
	if (i >= 0)
		return devices_v1(cg, cg->fds[i], rules, n, err);
	i = um_cgroup_find_v2(cg->host);
	if (i < 0)
		return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
					   "this host has no cgroup controller devices");
	return devices_v2(cg, cg->fds[i], rules, n, err);
}
