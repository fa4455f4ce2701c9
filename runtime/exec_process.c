#include "runtime/exec.h"

#include <fcntl.h>
#include <string.h>

#include "base/io.h"
#include "runtime/user.h"

/* Appends to an arena vector of strings. */
static int append(struct um_arena *a, struct um_strv *v, char *const *more, size_t n)
{
	char **out = um_arena_zalloc(a, (v->n + n + 1) * sizeof(*out));

	if (!out)
		return -ENOMEM;
	if (v->n)
		memcpy(out, v->v, v->n * sizeof(*out));
	if (n)
		memcpy(out + v->n, more, n * sizeof(*out));
	v->v = out;
	v->n += n;
	return 0;
}

int um_exec_from_options(struct um_arena *a, const struct um_spec *spec,
			 const struct um_runtime_exec *o, struct um_spec_process *ret,
			 struct um_error *err)
{
	struct um_spec_process *p = ret;
	size_t n = 0;
	int r;

	if (!spec->has_process)
		return um_error_set(err, -EINVAL,
				    "exec: the container has no process whose settings could be "
				    "taken: --process is required");
	*p = spec->process;
	p->terminal = o->tty;
	p->console_height = p->console_width = 0;
	while (o->args && o->args[n])
		n++;
	if (!n)
		return um_error_set(err, -EINVAL, "exec: a command or --process is required");
	p->args = (struct um_strv){NULL, 0};
	r = append(a, &p->args, o->args, n);
	for (size_t i = 0; r >= 0 && i < o->n_env; i++)
		if (!strchr(o->env[i], '=') || o->env[i][0] == '=')
			return um_error_set(err, -EINVAL, "--env: \"%.60s\" is not NAME=value",
					    o->env[i]);
	if (r >= 0)
		r = append(a, &p->env, o->env, o->n_env);
	if (r < 0)
		return r;
	if (o->cwd)
		p->cwd = o->cwd;
	if (p->cwd[0] != '/')
		return um_error_set(err, -EINVAL, "--cwd: must be absolute");
	if (o->user && um_user_parse(o->user, &p->uid, &p->gid) < 0)
		return um_error_set(err, -EINVAL, "--user: \"%.60s\" is not uid[:gid] in numbers",
				    o->user);
	if (o->n_gids) {
		p->additional_gids = um_arena_zalloc(a, o->n_gids * sizeof(uint32_t));
		if (!p->additional_gids)
			return -ENOMEM;
		memcpy(p->additional_gids, o->gids, o->n_gids * sizeof(uint32_t));
		p->n_additional_gids = o->n_gids;
	}
	p->no_new_privileges = p->no_new_privileges || o->no_new_privs;
	if (o->selinux_label)
		p->selinux_label = o->selinux_label;
	if (o->apparmor_profile)
		p->apparmor_profile = o->apparmor_profile;
	for (size_t i = 0; i < o->n_caps; i++) {
		int cap = um_spec_cap(o->caps[i]);

		if (cap < 0)
			return um_error_set(err, -EINVAL, "--cap: \"%.60s\" is not known",
					    o->caps[i]);
		/* never inheritable: that outlives a change of user (CVE-2022-29162) */
		p->caps[UM_CAP_BOUNDING] |= UINT64_C(1) << cap;
		p->caps[UM_CAP_EFFECTIVE] |= UINT64_C(1) << cap;
		p->caps[UM_CAP_PERMITTED] |= UINT64_C(1) << cap;
		/* which the kernel gives where it is inheritable by the configuration */
		if (p->caps[UM_CAP_INHERITABLE])
			p->caps[UM_CAP_AMBIENT] |= UINT64_C(1) << cap;
	}
	return 0;
}

int um_exec_from_file(struct um_arena *a, const struct um_spec *spec,
		      const struct um_runtime_exec *o, struct um_spec_process *ret,
		      struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_SPEC_MAX_BYTES);
	struct um_json *json;
	int r = um_io_read_file(AT_FDCWD, o->process_file, &b, err);

	if (r >= 0)
		r = um_json_parse(a, um_buf_str(&b), b.len, NULL, &json, err);
	if (r < 0)
		return um_error_wrap(err, r, "%s", o->process_file);
	r = um_spec_decode_process(a, json, ret, err);
	if (r >= 0 && !ret->has_caps) {
		ret->has_caps = spec->process.has_caps;
		memcpy(ret->caps, spec->process.caps, sizeof(ret->caps));
	}
	ret->terminal |= o->tty;
	return r;
}

int um_exec_check_options(const struct um_runtime_exec *o, struct um_error *err)
{
	const struct {
		bool given;
		const char *name;
	} options[] = {{o->args && o->args[0], "a command"},
		       {o->cwd, "--cwd"},
		       {o->user, "--user"},
		       {o->n_env, "--env"},
		       {o->n_caps, "--cap"},
		       {o->n_gids, "--additional-gids"},
		       {o->selinux_label, "--process-label"},
		       {o->apparmor_profile, "--apparmor"},
		       {o->no_new_privs, "--no-new-privs"}};

	for (size_t i = 0; o->process_file && i < UM_ARRAY_LEN(options); i++)
		if (options[i].given)
			return um_error_set(err, -EINVAL, "exec: %s cannot be given with --process",
					    options[i].name);
	return 0;
}
