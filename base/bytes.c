#include "base/bytes.h"

#include <stdint.h>
#include <string.h>

struct um_bytes *um_bytes_new(const void *data, size_t len)
{
	struct um_bytes *b;

	if (len > SIZE_MAX - sizeof(*b) - 1)
		return NULL;
	b = malloc(sizeof(*b) + len + 1);
	if (!b)
		return NULL;
	b->refs = 1;
	b->len = len;
	if (len)
		memcpy(b->data, data, len);
	b->data[len] = '\0';
	return b;
}

struct um_bytes *um_bytes_ref(struct um_bytes *b)
{
	b->refs++;
	return b;
}

void um_bytes_unref(struct um_bytes *b)
{
	if (b && --b->refs == 0)
		free(b);
}
