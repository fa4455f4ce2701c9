/* Base64 as encoding/base64's standard alphabet with padding (RFC 4648). */
#ifndef UM_BASE_BASE64_H
#define UM_BASE_BASE64_H

#include "base/arena.h"

/* NULL when the arena is full. */
char *um_base64_encode(struct um_arena *a, const void *data, size_t len);
/* The number of bytes that @s stands for, or -1 with the offset of the first wrong byte. Line
 * breaks are skipped, as Go's decoder does. */
long um_base64_decoded_len(const char *s, size_t len, size_t *ret_bad);
/* Decodes; NULL when wrong or the arena is full. A NUL is put behind the bytes. */
char *um_base64_decode(struct um_arena *a, const char *s, size_t len, size_t *ret_len);

#endif
