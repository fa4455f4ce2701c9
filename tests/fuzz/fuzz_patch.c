/* Patches: {"o": object, "p": patch}; all three kinds of patches get it. What comes out must be
 * writable, and the inputs must be as they were. */
#include <stdint.h>
#include <stdlib.h>

#include "api/schema/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int r, const struct um_json *ret, const struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(64 << 20);

	if (r < 0) {
		if (!err->code || !err->msg[0])
			abort();
		return;
	}
	if (!ret || (um_json_write(&b, ret) < 0 && b.failed != -EMSGSIZE))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(16 << 20), *keep = um_arena_new(16 << 20);
	const struct um_kind *pod = um_schema_find_kind("", "v1", "Pod");
	struct um_json *root, *obj, *patch, *before, *ret;

	if (um_json_parse(a, (const char *)data, size, NULL, &root, NULL) < 0)
		return 0;
	obj = um_json_get(root, "o");
	patch = um_json_get(root, "p");
	if (!obj || !patch)
		return 0;
	before = um_json_copy(keep, root);
	for (int i = 0; i < 3; i++) {
		struct um_error err = UM_ERROR_INIT;
		int r;

		ret = NULL;
		if (i == 0)
			r = um_patch_merge(a, obj, patch, &ret, &err);
		else if (i == 1)
			r = um_patch_json(a, obj, patch, &ret, &err);
		else
			r = um_patch_strategic(pod, a, obj, patch, &ret, &err);
		check(r, ret, &err);
		if (before && !um_json_equal(before, root))
			abort();
	}
	return 0;
}
