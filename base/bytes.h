/* Immutable, refcounted bytes: encoded objects that the store, the API and every watcher share.
 * The count is atomic, so that a reference may be dropped on another thread. */
#ifndef UM_BASE_BYTES_H
#define UM_BASE_BYTES_H

#include <stddef.h>

#include "base/cleanup.h"

struct um_bytes {
	_Atomic unsigned refs;
	size_t len;
	char data[]; /* len bytes and a NUL */
};

/* Copies. NULL when out of memory. Starts with one reference. */
struct um_bytes *um_bytes_new(const void *data, size_t len);
struct um_bytes *um_bytes_ref(struct um_bytes *b);
void um_bytes_unref(struct um_bytes *b); /* accepts NULL */
UM_DEFINE_CLEANUP(struct um_bytes, um_bytes_unref)
#define _cleanup_bytes_ _cleanup_(um_bytes_unrefp)

#endif
