#include "runtime/seccomp.h"

#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/io.h"
#include "runtime/decode.h"

static const struct {
	const char *name;
	uint32_t action;
	bool takes_errno;
} actions[] = {
	{"SCMP_ACT_KILL", SCMP_ACT_KILL, false},
	{"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS, false},
	{"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD, false},
	{"SCMP_ACT_TRAP", SCMP_ACT_TRAP, false},
	{"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0), true},
	{"SCMP_ACT_TRACE", SCMP_ACT_TRACE(0), true},
	{"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW, false},
	{"SCMP_ACT_LOG", SCMP_ACT_LOG, false},
	{"SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY, false},
};

static const struct {
	const char *name;
	enum scmp_compare op;
} ops[] = {
	{"SCMP_CMP_NE", SCMP_CMP_NE},
	{"SCMP_CMP_LT", SCMP_CMP_LT},
	{"SCMP_CMP_LE", SCMP_CMP_LE},
	{"SCMP_CMP_EQ", SCMP_CMP_EQ},
	{"SCMP_CMP_GE", SCMP_CMP_GE},
	{"SCMP_CMP_GT", SCMP_CMP_GT},
	{"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
};

#define NOTIFY "SCMP_ACT_NOTIFY"
#define WAIT_KILLABLE "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"

static const struct {
	const char *name;
	unsigned flag;
} flags[] = {
	{"SECCOMP_FILTER_FLAG_TSYNC", 0}, /* one thread: nothing to synchronise */
	{"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
	{"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
	{WAIT_KILLABLE, 1u << 5}, /* Linux 5.19 */
};

#define STRING(x) #x
#define STRING_OF(x) STRING(x)

const char *um_seccomp_action_name(size_t i)
{
	return i < UM_ARRAY_LEN(actions) ? actions[i].name : NULL;
}

const char *um_seccomp_operator_name(size_t i)
{
	return i < UM_ARRAY_LEN(ops) ? ops[i].name : NULL;
}

const char *um_seccomp_flag_name(size_t i)
{
	return i < UM_ARRAY_LEN(flags) ? flags[i].name : NULL;
}

const char *um_seccomp_library_version(void)
{
	return STRING_OF(SCMP_VER_MAJOR) "." STRING_OF(SCMP_VER_MINOR) "." STRING_OF(
		SCMP_VER_MICRO);
}

static int find_action(const char *name)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(actions); i++)
		if (!strcmp(actions[i].name, name))
			return (int)i;
	return -ENOENT;
}

static int find_op(const char *name)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(ops); i++)
		if (!strcmp(ops[i].name, name))
			return (int)i;
	return -ENOENT;
}

static int check_action(struct um_decoder *d, const char *field, const char *name)
{
	if (find_action(name) < 0)
		return um_decode_bad(d, "%s \"%.60s\" is not known", field, name);
	return 0;
}

static int decode_arg(struct um_decoder *d, const struct um_json *node, void *at)
{
	static const struct um_field fields[] = {
		UM_FIELD_NUM("index", UM_F_U32, struct um_spec_seccomp_arg, index, 0, 5),
		UM_FIELD_REQ("value", UM_F_U64, struct um_spec_seccomp_arg, value),
		UM_FIELD("valueTwo", UM_F_U64, struct um_spec_seccomp_arg, value_two),
		UM_FIELD_REQ("op", UM_F_STR, struct um_spec_seccomp_arg, op),
	};
	struct um_spec_seccomp_arg *a = at;
	int r;

	if (!um_json_get(node, "index"))
		return um_decode_bad(d, "index is required");
	r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), a);
	if (r >= 0 && find_op(a->op) < 0)
		return um_decode_bad(d, "op \"%.60s\" is not known", a->op);
	return r;
}

static int decode_args(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct um_spec_seccomp_rule *rule = base;

	return um_decode_array(d, node, sizeof(*rule->args), decode_arg, &rule->args,
			       &rule->n_args);
}

static int decode_rule(struct um_decoder *d, const struct um_json *node, void *at)
{
	static const struct um_field fields[] = {
		UM_FIELD_REQ("names", UM_F_STRV, struct um_spec_seccomp_rule, names),
		UM_FIELD_REQ("action", UM_F_STR, struct um_spec_seccomp_rule, action),
		UM_FIELD_NUM("errnoRet", UM_F_I64, struct um_spec_seccomp_rule, errno_ret, 0,
			     65535),
		UM_FIELD_CALL("args", decode_args),
	};
	struct um_spec_seccomp_rule *rule = at;
	int r;

	rule->errno_ret = -1;
	r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), rule);
	if (r < 0)
		return r;
	if (!rule->names.n)
		return um_decode_bad(d, "names must not be empty");
	return check_action(d, "action", rule->action);
}

static int decode_rules(struct um_decoder *d, const struct um_json *node, void *base)
{
	struct um_spec_seccomp *s = base;

	return um_decode_array(d, node, sizeof(*s->rules), decode_rule, &s->rules, &s->n_rules);
}

static int check_listener(struct um_decoder *d, const struct um_spec_seccomp *s)
{
	const char *path = s->listener_path ? s->listener_path : "";

	if (s->notifies && !*path)
		return um_decode_bad(d, "listenerPath is required for " NOTIFY);
	if (*path && *path != '/')
		return um_decode_bad(d, "listenerPath must be absolute");
	if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return um_decode_bad(d, "listenerPath is too long for a socket");
	return 0;
}

int um_decode_seccomp(struct um_decoder *d, const struct um_json *node, void *base)
{
	static const struct um_field fields[] = {
		UM_FIELD_REQ("defaultAction", UM_F_STR, struct um_spec_seccomp, default_action),
		UM_FIELD_NUM("defaultErrnoRet", UM_F_I64, struct um_spec_seccomp, default_errno_ret,
			     0, 65535),
		UM_FIELD("architectures", UM_F_STRV, struct um_spec_seccomp, architectures),
		UM_FIELD("flags", UM_F_STRV, struct um_spec_seccomp, flags),
		UM_FIELD("listenerPath", UM_F_STR, struct um_spec_seccomp, listener_path),
		UM_FIELD("listenerMetadata", UM_F_STR, struct um_spec_seccomp, listener_metadata),
		UM_FIELD_CALL("syscalls", decode_rules),
	};
	struct um_spec_seccomp *s = &((struct um_spec *)base)->seccomp;
	int r = um_decode_object(d, node, fields, UM_ARRAY_LEN(fields), s);

	if (r >= 0)
		r = check_action(d, "defaultAction", s->default_action);
	if (r < 0)
		return r;
	s->notifies = !strcmp(s->default_action, NOTIFY);
	for (size_t i = 0; i < s->n_rules; i++)
		s->notifies = s->notifies || !strcmp(s->rules[i].action, NOTIFY);
	for (size_t i = 0; i < s->flags.n; i++) {
		size_t k;

		for (k = 0; k < UM_ARRAY_LEN(flags) && strcmp(flags[k].name, s->flags.v[i]); k++)
			;
		if (k == UM_ARRAY_LEN(flags))
			return um_decode_unsupported(d, "flags: \"%.60s\" is not supported",
						     s->flags.v[i]);
		if (!strcmp(s->flags.v[i], WAIT_KILLABLE) && !s->notifies)
			return um_decode_bad(d, "flags: " WAIT_KILLABLE " needs " NOTIFY);
	}
	s->present = true;
	return check_listener(d, s);
}

/* ---- compilation ---- */

static uint32_t action_value(const char *name, int64_t errno_ret)
{
	int i = find_action(name);
	uint32_t e = errno_ret < 0 ? EPERM : (uint32_t)errno_ret;

	return actions[i].takes_errno ? actions[i].action | (e & 0xffff) : actions[i].action;
}

uint32_t um_seccomp_arch(const char *name)
{
	char lower[32];
	size_t n = 0;

	if (strncmp(name, "SCMP_ARCH_", 10))
		return 0;
	for (const char *p = name + 10; *p && n < sizeof(lower) - 1; p++)
		lower[n++] = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
	lower[n] = '\0';
	return seccomp_arch_resolve_name(lower);
}

static int add_architectures(scmp_filter_ctx ctx, const struct um_spec_seccomp *s,
			     struct um_error *err)
{
	for (size_t i = 0; i < s->architectures.n; i++) {
		const char *name = s->architectures.v[i];
		uint32_t arch = um_seccomp_arch(name);
		int r;

		if (!arch)
			return um_error_set(err, -EINVAL,
					    "linux.seccomp.architectures: \"%.60s\" is not known",
					    name);
		r = seccomp_arch_add(ctx, arch);
		if (r < 0 && r != -EEXIST)
			return um_error_errno(err, r, "linux.seccomp.architectures: add %s", name);
	}
	return 0;
}

/* Two conditions on one argument cannot stand in one libseccomp rule: then each condition becomes
 * a rule of its own, as runc does. */
static int add_rule(scmp_filter_ctx ctx, uint32_t action, int nr,
		    const struct um_spec_seccomp_rule *rule)
{
	struct scmp_arg_cmp cmp[6];
	unsigned used[6] = {0};
	bool repeated = false;

	for (size_t i = 0; i < rule->n_args; i++)
		repeated = repeated || used[rule->args[i].index]++;
	for (size_t i = 0; i < rule->n_args; i++) {
		const struct um_spec_seccomp_arg *a = &rule->args[i];
		struct scmp_arg_cmp c = {.arg = a->index,
					 .op = ops[find_op(a->op)].op,
					 .datum_a = a->value,
					 .datum_b = a->value_two};

		if (repeated) {
			int r = seccomp_rule_add_array(ctx, action, nr, 1, &c);

			if (r < 0)
				return r;
		} else {
			cmp[i] = c;
		}
	}
	if (repeated)
		return 0;
	return seccomp_rule_add_array(ctx, action, nr, (unsigned)rule->n_args, cmp);
}

int um_seccomp_check_names(const struct um_spec *s, struct um_error *err)
{
	for (size_t i = 0; s->asked.strict_seccomp && i < s->seccomp.n_rules; i++) {
		const struct um_strv *names = &s->seccomp.rules[i].names;

		for (size_t k = 0; k < names->n; k++)
			if (seccomp_syscall_resolve_name(names->v[k]) == __NR_SCMP_ERROR)
				return um_error_set(err, -EINVAL,
						    "linux.seccomp.syscalls[%zu]: %.60s is not "
						    "known",
						    i, names->v[k]);
	}
	return 0;
}

static int add_rules(scmp_filter_ctx ctx, const struct um_spec_seccomp *s, struct um_error *err)
{
	uint32_t fallback = action_value(s->default_action, s->default_errno_ret);

	for (size_t i = 0; i < s->n_rules; i++) {
		const struct um_spec_seccomp_rule *rule = &s->rules[i];
		uint32_t action = action_value(rule->action, rule->errno_ret);

		if (action == fallback)
			continue; /* libseccomp refuses what changes nothing */
		for (size_t k = 0; k < rule->names.n; k++) {
			int nr = seccomp_syscall_resolve_name(rule->names.v[k]);
			int r;

			/* profiles name calls of other kernels and machines */
			if (nr == __NR_SCMP_ERROR)
				continue;
			r = add_rule(ctx, action, nr, rule);
			if (r < 0 && r != -EEXIST)
				return um_error_errno(err, r, "linux.seccomp.syscalls[%zu]: %s", i,
						      rule->names.v[k]);
		}
	}
	return 0;
}

static int export(scmp_filter_ctx ctx, const struct um_spec_seccomp *s, struct um_seccomp_prog *ret,
		  struct um_error *err)
{
	_cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(BPF_MAXINSNS * sizeof(struct sock_filter));
	int r;

	if (fd < 0)
		return um_error_errno(err, -errno, "memfd_create");
	r = um_seccomp_enosys(s, &b, err);
	if (r < 0)
		return r;
	r = seccomp_export_bpf(ctx, fd);
	if (r < 0)
		return um_error_errno(err, r, "linux.seccomp: compile");
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	r = um_io_read_fd(fd, &b);
	if (r < 0)
		return um_error_errno(err, r, "linux.seccomp: the filter is too long");
	ret->n = (unsigned short)(b.len / sizeof(struct sock_filter));
	ret->insns = (struct sock_filter *)(void *)um_buf_steal(&b, NULL);
	return 0;
}

int um_seccomp_compile(const struct um_spec_seccomp *s, struct um_seccomp_prog *ret,
		       struct um_error *err)
{
	struct um_seccomp_prog p = {0};
	scmp_filter_ctx ctx;
	int r;

	if (!s->present) {
		*ret = p;
		return 0;
	}
	ctx = seccomp_init(action_value(s->default_action, s->default_errno_ret));
	if (!ctx)
		return um_error_set(err, -EINVAL, "linux.seccomp: libseccomp refuses the default");
	/* binary tree: large profiles match in a few steps */
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0);
	r = add_architectures(ctx, s, err);
	if (r >= 0)
		r = add_rules(ctx, s, err);
	if (r >= 0)
		r = export(ctx, s, &p, err);
	seccomp_release(ctx);
	if (r < 0)
		return r;
	for (size_t i = 0; i < s->flags.n; i++)
		for (size_t k = 0; k < UM_ARRAY_LEN(flags); k++)
			if (!strcmp(flags[k].name, s->flags.v[i]))
				p.flags |= flags[k].flag;
	*ret = p;
	return 0;
}

void um_seccomp_release(struct um_seccomp_prog *p)
{
	free(p->insns);
	p->insns = NULL;
	p->n = 0;
}
