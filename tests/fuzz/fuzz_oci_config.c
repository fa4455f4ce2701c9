/* config.json: accepted or refused with a message, never read out of bounds. The same bytes are
 * tried as a process object, as resources (both come from callers alone as well), and as
 * mountinfo. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "cgroups/cgroups.h"
#include "runtime/seccomp.h"
#include "runtime/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_mountinfo(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	_cleanup_(um_cgroups_freep) struct um_cgroups *hs = NULL;
	struct um_error err = UM_ERROR_INIT;

	if (um_buf_add(&b, data, size) == 0 &&
	    um_cgroups_parse(um_buf_str(&b), false, &hs, &err) == 0 && !hs->n)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(8 << 20);
	struct um_error err = UM_ERROR_INIT;
	struct um_spec_process process = {0};
	struct um_spec *spec = NULL, rest = {0};
	struct um_json *root;
	int r;

	if (!a)
		return 0;
	try_mountinfo(data, size);
	if (um_json_parse(a, (const char *)data, size, NULL, &root, &err) < 0)
		return 0;
	err = (struct um_error)UM_ERROR_INIT;
	r = um_spec_decode(a, root, &spec, &err);
	if (r < 0 && r != -ENOMEM && !err.msg[0])
		abort();
	if (r == 0) {
		struct um_seccomp_prog prog = {0};

		if (!spec->root_path || (spec->has_process && !spec->process.args.n))
			abort();
		if (um_seccomp_compile(&spec->seccomp, &prog, &err) == 0)
			um_seccomp_release(&prog);
	}
	err = (struct um_error)UM_ERROR_INIT;
	(void)!um_spec_decode_process(a, root, &process, &err);
	err = (struct um_error)UM_ERROR_INIT;
	um_cgroup_limits_init(&rest.limits);
	(void)!um_spec_decode_resources(a, root, &rest, &err);
	return 0;
}
