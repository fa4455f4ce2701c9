/* Image names: what is taken is normal already when it is taken again. */
#include <stdlib.h>
#include <string.h>

#include "rootfs/rootfs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char full[UM_IMAGE_NAME_MAX], again[UM_IMAGE_NAME_MAX];
	char *ref = malloc(size + 1);

	if (!ref)
		return 0;
	memcpy(ref, data, size);
	ref[size] = '\0';
	if (um_image_normalise(ref, full, NULL) == 0 &&
	    (um_image_normalise(full, again, NULL) < 0 || strcmp(full, again) != 0))
		abort();
	free(ref);
	return 0;
}
