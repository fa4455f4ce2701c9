/* Selectors: the first line is a label selector, the rest a field selector, of pods. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char text[] = "{\"metadata\":{\"name\":\"p\",\"labels\":{\"a\":\"1\"}},"
				   "\"spec\":{\"nodeName\":\"n\"}}";
	_cleanup_arena_ struct um_arena *a = um_arena_new(8 << 20);
	const struct um_kind *k = um_schema_find_resource("", "v1", "pods");
	struct um_error err = UM_ERROR_INIT;
	struct um_selector *s = NULL;
	struct um_json *obj = NULL;
	char *labels = um_arena_strndup(a, (const char *)data, size), *fields;

	if (!labels || um_json_parse(a, text, sizeof(text) - 1, NULL, &obj, NULL) < 0)
		return 0;
	fields = strchr(labels, '\n');
	if (fields)
		*fields++ = '\0';
	if (um_selector_parse(a, k, labels, fields, &s, &err) < 0) {
		if (!err.code || !*err.msg)
			abort();
		return 0;
	}
	(void)um_selector_match(s, obj);
	return 0;
}
