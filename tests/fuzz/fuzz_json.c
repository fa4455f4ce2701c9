/* JSON: what is accepted must be written and read again to an equal tree. */
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(8 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(8 << 20);
	struct um_error err = UM_ERROR_INIT;
	struct um_json *root, *again;

	if (um_json_parse(a, (const char *)data, size, NULL, &root, &err) < 0) {
		if (!err.msg[0] || !err.code)
			abort();
		return 0;
	}
	if (um_json_write(&b, root) < 0)
		return 0;
	if (um_json_parse(a, b.data, b.len, NULL, &again, &err) < 0) {
		if (err.code == -E2BIG)
			return 0;
		abort();
	}
	if (!um_json_equal(root, again))
		abort();
	return 0;
}
