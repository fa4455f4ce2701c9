/* A growable byte buffer that must declare a maximum.
 *
 * Invariants: data is NULL or NUL-terminated at data[len]; len <= max. A failed append (-ENOMEM,
 * or -EMSGSIZE past max) leaves the content as it was and is remembered in `failed`, so that a
 * run of appends may be checked once at its end with um_buf_error(). */
#ifndef UM_BASE_BUF_H
#define UM_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"

struct um_buf {
	char *data; /* owned */
	size_t len; /* bytes in use */
	size_t cap; /* bytes allocated, the NUL included */
	size_t max; /* the largest len allowed */
	int failed; /* first error, or 0 */
};

#define UM_BUF_INIT(max_bytes)                                                                     \
	{                                                                                          \
		NULL, 0, 0, (max_bytes), 0                                                         \
	}

void um_buf_init(struct um_buf *b, size_t max_bytes);
/* Frees the content; the buffer may be used again with the same maximum. */
void um_buf_release(struct um_buf *b);
/* Empties without freeing; forgets the error. */
void um_buf_clear(struct um_buf *b);

int um_buf_reserve(struct um_buf *b, size_t extra);
int um_buf_add(struct um_buf *b, const void *data, size_t len);
int um_buf_addc(struct um_buf *b, char c);
int um_buf_addf(struct um_buf *b, const char *fmt, ...) um_printf(2, 3);
int um_buf_vaddf(struct um_buf *b, const char *fmt, va_list ap);
/* Drops the first n bytes (n <= len). */
void um_buf_drop(struct um_buf *b, size_t n);
/* Hands the bytes over (free() them); NULL when the buffer is empty or failed. */
char *um_buf_steal(struct um_buf *b, size_t *ret_len);

static inline int um_buf_adds(struct um_buf *b, const char *s)
{
	return um_buf_add(b, s, strlen(s));
}

static inline int um_buf_error(const struct um_buf *b)
{
	return b->failed;
}

static inline const char *um_buf_str(const struct um_buf *b)
{
	return b->data ? b->data : "";
}

#define _cleanup_buf_ _cleanup_(um_buf_release)

#endif
