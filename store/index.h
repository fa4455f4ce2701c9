/* The newest durable value of each key, in key order: chunks of sorted pointers, so that a look-up
 * is two binary searches and an insertion moves at most half a page. */
#ifndef UM_STORE_INDEX_H
#define UM_STORE_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/vec.h"

struct um_index_entry {
	struct um_bytes *value; /* a reference of its own */
	int64_t create_rev, mod_rev;
	struct um_index_entry *older, *newer; /* by mod_rev, when the index keeps order */
	char key[];
};

struct um_index_chunk;

struct um_index {
	UM_VEC(struct um_index_chunk *) chunks;
	size_t count, value_bytes;
	struct um_index_entry *oldest, *newest; /* by mod_rev */
};

void um_index_init(struct um_index *x);
void um_index_release(struct um_index *x);
struct um_index_entry *um_index_get(const struct um_index *x, const char *key);
/* Puts @value (a reference is taken). The entry's create_rev is kept when the key exists. */
um_must_check int um_index_put(struct um_index *x, const char *key, struct um_bytes *value,
			       int64_t create_rev, int64_t mod_rev);
/* Removes the key if it is there. */
void um_index_delete(struct um_index *x, const char *key);

/* A place in key order. Invalid after any change of the index. */
struct um_index_pos {
	size_t chunk, item;
};
/* The first key that is >= @key, or > @key when @after. */
struct um_index_pos um_index_seek(const struct um_index *x, const char *key, bool after);
/* The entry there and one step on; NULL at the end. */
struct um_index_entry *um_index_next(const struct um_index *x, struct um_index_pos *pos);

#endif
