/* A typed growable array:
 *
 *     UM_VEC(struct port) ports = UM_VEC_INIT;
 *     if (um_vec_push(&ports, p) < 0) ...
 *     um_vec_foreach(it, &ports) use(it->number);
 *     um_vec_release(&ports);
 */
#ifndef UM_BASE_VEC_H
#define UM_BASE_VEC_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define UM_VEC(type)                                                                               \
	struct {                                                                                   \
		type *items;                                                                       \
		size_t len, cap;                                                                   \
	}
#define UM_VEC_INIT                                                                                \
	{                                                                                          \
		NULL, 0, 0                                                                         \
	}

/* Grows *items so that one more of @size bytes fits. 0 or -ENOMEM. */
static inline int um_vec_grow_(void **items, size_t len, size_t *cap, size_t size)
{
	size_t want = *cap ? *cap * 2 : 8;
	void *p;

	if (len < *cap)
		return 0;
	if (want > SIZE_MAX / size)
		return -ENOMEM;
	p = realloc(*items, want * size);
	if (!p)
		return -ENOMEM;
	*items = p;
	*cap = want;
	return 0;
}

/* Appends by value: 0 or -ENOMEM. */
#define um_vec_push(v, ...)                                                                        \
	(um_vec_grow_((void **)&(v)->items, (v)->len, &(v)->cap, sizeof(*(v)->items)) < 0          \
		 ? -ENOMEM                                                                         \
		 : ((v)->items[(v)->len++] = (__VA_ARGS__), 0))

#define um_vec_foreach(it, v)                                                                      \
	for (__typeof__(*(v)->items) *it = (v)->items; it < (v)->items + (v)->len; it++)

/* Removes the item at @i; the order of the others stays. */
#define um_vec_remove(v, i)                                                                        \
	(memmove(&(v)->items[i], &(v)->items[(i) + 1], ((v)->len - (i)-1) * sizeof(*(v)->items)),  \
	 (v)->len--)

#define um_vec_release(v) (um_freep(&(v)->items), (v)->items = NULL, (v)->len = (v)->cap = 0)

#endif
