/* An arena: many small allocations, one free. Used for parsed documents and request scratch.
 *
 * Blocks grow geometrically up to 64 KiB; a larger request gets a block of its own. An arena has
 * a byte limit, past which allocations return NULL as on a full heap: hostile input cannot make it
 * grow without bound. Not thread safe. Memory is not zeroed unless the name says so. */
#ifndef UM_BASE_ARENA_H
#define UM_BASE_ARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct um_arena;

/* @max_bytes bounds the sum of all blocks. Returns NULL when out of memory. */
struct um_arena *um_arena_new(size_t max_bytes);
void um_arena_free(struct um_arena *a); /* accepts NULL */
UM_DEFINE_CLEANUP(struct um_arena, um_arena_free)
#define _cleanup_arena_ _cleanup_(um_arena_freep)

/* All return NULL past the limit or out of memory. Alignment is 8. */
void *um_arena_alloc(struct um_arena *a, size_t size);
void *um_arena_zalloc(struct um_arena *a, size_t size);
char *um_arena_strdup(struct um_arena *a, const char *s);
char *um_arena_strndup(struct um_arena *a, const char *s,
		       size_t len); /* copies len bytes, adds NUL */
char *um_arena_printf(struct um_arena *a, const char *fmt, ...) um_printf(2, 3);

size_t um_arena_bytes(const struct um_arena *a); /* bytes held from the heap */
/* True once any allocation has failed: a long run of allocations may be checked once at its end. */
bool um_arena_failed(const struct um_arena *a);

#define um_arena_new_of(a, type) ((type *)um_arena_zalloc((a), sizeof(type)))

#endif
