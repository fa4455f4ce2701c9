/* Objects of a kind in the encoding: the first byte picks the kind. */
#include "schema_pipeline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct um_kind *const *kinds;
	size_t n;

	if (!size)
		return 0;
	kinds = um_schema_kinds(&n);
	pipeline(kinds[data[0] % n], UM_ENC_JSON, (const char *)data + 1, size - 1);
	return 0;
}
