#include "runtime/annotations.h"

#include <stdio.h>
#include <string.h>

#define PREFIX "run.oci."

static int keep_groups(struct um_spec_asked *a, const struct um_spec_pair *p, struct um_error *err)
{
	(void)p;
	(void)err;
	a->keep_groups = true;
	return 0;
}

static int strict_seccomp(struct um_spec_asked *a, const struct um_spec_pair *p,
			  struct um_error *err)
{
	(void)p;
	(void)err;
	a->strict_seccomp = true;
	return 0;
}

static int path(const char **ret, const struct um_spec_pair *p, struct um_error *err)
{
	if (p->value[0] != '/')
		return um_error_set(err, -EINVAL, "annotations.%s: \"%.100s\" is not absolute",
				    p->key, p->value);
	*ret = p->value;
	return 0;
}

static int hooks_stdout(struct um_spec_asked *a, const struct um_spec_pair *p, struct um_error *err)
{
	return path(&a->hooks_output[0], p, err);
}

static int hooks_stderr(struct um_spec_asked *a, const struct um_spec_pair *p, struct um_error *err)
{
	return path(&a->hooks_output[1], p, err);
}

static int pidfd_receiver(struct um_spec_asked *a, const struct um_spec_pair *p,
			  struct um_error *err)
{
	return path(&a->pidfd_receiver, p, err);
}

static int mount_context(struct um_spec_asked *a, const struct um_spec_pair *p,
			 struct um_error *err)
{
	static const char *const types[] = {"context", "fscontext", "defcontext", "rootcontext"};

	for (size_t i = 0; i < UM_ARRAY_LEN(types); i++)
		if (!strcmp(types[i], p->value)) {
			a->mount_context = types[i];
			return 0;
		}
	return um_error_set(err, -EINVAL, "annotations.%s: \"%.40s\" is not known", p->key,
			    p->value);
}

static const struct {
	const char *name;
	int (*take)(struct um_spec_asked *a, const struct um_spec_pair *p, struct um_error *err);
} honoured[] = {
	{"hooks.stderr", hooks_stderr},	       {"hooks.stdout", hooks_stdout},
	{"keep_original_groups", keep_groups}, {"mount_context_type", mount_context},
	{"pidfd_receiver", pidfd_receiver},    {"seccomp_fail_unknown_syscall", strict_seccomp},
};

/* The place in the table, or its length. @key begins with the prefix. */
static size_t find(const char *key)
{
	size_t i;

	for (i = 0; i < UM_ARRAY_LEN(honoured); i++)
		if (!strcmp(honoured[i].name, key + strlen(PREFIX)))
			break;
	return i;
}

static bool is_ours(const struct um_spec_pair *p)
{
	return !strncmp(p->key, PREFIX, strlen(PREFIX));
}

int um_annotations_decode(struct um_spec *s, struct um_error *err)
{
	for (size_t i = 0; i < s->n_annotations; i++) {
		const struct um_spec_pair *p = &s->annotations[i];
		size_t k = is_ours(p) ? find(p->key) : UM_ARRAY_LEN(honoured);
		int r = k < UM_ARRAY_LEN(honoured) ? honoured[k].take(&s->asked, p, err) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

void um_annotations_warn(const struct um_runtime *rt, const struct um_spec *s)
{
	char text[200];

	for (size_t i = 0; rt->warn && i < s->n_annotations; i++) {
		const struct um_spec_pair *p = &s->annotations[i];

		if (!is_ours(p) || find(p->key) < UM_ARRAY_LEN(honoured))
			continue;
		snprintf(text, sizeof(text),
			 "annotations.%.100s: is not supported and has no effect", p->key);
		rt->warn(rt->warn_data, text);
	}
}
