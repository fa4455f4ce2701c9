/* What is looked at before a container is created. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/io.h"
#include "runtime/annotations.h"
#include "runtime/create.h"
#include "runtime/landlock.h"
#include "runtime/lsm.h"
#include "runtime/sys.h"

int um_creation_load(struct um_creation *c, const struct um_runtime_create *opts,
		     struct um_error *err)
{
	char bundle[PATH_MAX], path[PATH_MAX], rootfs[PATH_MAX];
	_cleanup_close_ int dir = -1;
	int r;

	if (!realpath(opts->bundle ? opts->bundle : ".", bundle))
		return um_error_errno(err, -errno, "bundle %s", opts->bundle ? opts->bundle : ".");
	dir = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return um_error_errno(err, -errno, "bundle %s", bundle);
	r = um_spec_load(c->arena, opts->config ? AT_FDCWD : dir,
			 opts->config ? opts->config : "config.json", &c->spec, err);
	if (r < 0)
		return r;
	r = um_io_path(path, sizeof(path), "%s%s%s", c->spec->root_path[0] == '/' ? "" : bundle,
		       c->spec->root_path[0] == '/' ? "" : "/", c->spec->root_path);
	if (r < 0 || !realpath(path, rootfs))
		return um_error_errno(err, r < 0 ? r : -errno, "root.path %s", c->spec->root_path);
	if (!strcmp(rootfs, "/"))
		return um_error_set(err, -EINVAL, "root.path: / cannot be a container's root");
	c->bundle = um_arena_strdup(c->arena, bundle);
	c->rootfs = um_arena_strdup(c->arena, rootfs);
	return c->bundle && c->rootfs ? 0 : -ENOMEM;
}

int um_creation_check(const struct um_spec *s, const struct um_runtime_create *opts, bool run,
		      struct um_error *err)
{
	int r;

	if (s->ns[UM_NS_USER].path && opts->as_sibling)
		return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
					   "--as-sibling: a user namespace by path is not "
					   "supported with it");
	if (!s->has_process && run)
		return um_error_set(err, -EINVAL, "process: is required");
	if (um_lsm_check(&s->process, s->mount_label, err) < 0)
		return -EOPNOTSUPP;
	r = um_landlock_check(&s->landlock, &s->process, err);
	if (r < 0)
		return r;
	if (s->process.terminal && !opts->console_socket && (!run || opts->detach))
		return um_error_set(
			err, -EINVAL,
			"process.terminal: a detached container needs --console-socket");
	if (!s->process.terminal && opts->console_socket)
		return um_error_set(err, -EINVAL,
				    "--console-socket is for containers with process.terminal");
	return 0;
}

/* "mode=755": a file system's, which mean nothing where it is mounted already, as in mount(2). */
static void warn_mounts(const struct um_runtime *rt, const struct um_spec *s)
{
	char text[200];

	for (size_t i = 0; rt->warn && i < s->n_mounts; i++) {
		if (!s->mounts[i].bind || !s->mounts[i].data.n)
			continue;
		snprintf(text, sizeof(text),
			 "mounts[%zu]: options: \"%.100s\" has no effect on a bind mount", i,
			 s->mounts[i].data.v[0]);
		rt->warn(rt->warn_data, text);
	}
}

/* Asked, not changed: no step. */
static bool can_give(int cap)
{
	return syscall(SYS_prctl, PR_CAPBSET_READ, cap, 0, 0, 0) == 1;
}

static void warn_caps(const struct um_runtime *rt, const struct um_spec *s)
{
	const struct um_json *caps = um_json_path(s->json, "process.capabilities.bounding");
	char text[200];

	um_json_foreach (it, caps) {
		int cap = um_spec_cap(it->str);

		if (!rt->warn || (cap >= 0 && (s->ns[UM_NS_USER].present || can_give(cap))))
			continue;
		snprintf(text, sizeof(text), "capability %.60s is not %s and not granted", it->str,
			 cap < 0 ? "known" : "ours to give");
		rt->warn(rt->warn_data, text);
	}
}

static void warn_ambient(const struct um_runtime *rt, const struct um_spec *s)
{
	const uint64_t *caps = s->process.caps;
	uint64_t lost = caps[UM_CAP_AMBIENT] & ~(caps[UM_CAP_PERMITTED] & caps[UM_CAP_INHERITABLE]);
	char text[200];

	for (int c = 0; rt->warn && c < 64; c++) {
		if (!(lost & UINT64_C(1) << c))
			continue;
		snprintf(text, sizeof(text),
			 "can't raise ambient capability %s: it is not permitted and inheritable "
			 "as well",
			 um_spec_cap_name(c));
		rt->warn(rt->warn_data, text);
	}
}

static void warn_maps(const struct um_runtime *rt, const struct um_spec *s)
{
	if (rt->warn && s->ns[UM_NS_USER].present && !s->ns[UM_NS_USER].path &&
	    !um_json_path(s->json, "linux.uidMappings"))
		rt->warn(rt->warn_data, "linux.uidMappings: there are none, so that id 0 alone is "
					"mapped, to the caller");
}

void um_creation_warn(const struct um_runtime *rt, const struct um_spec *s)
{
	warn_caps(rt, s);
	warn_ambient(rt, s);
	warn_mounts(rt, s);
	warn_maps(rt, s);
	um_annotations_warn(rt, s);
}
