#include "store/index.h"

#include <string.h>

#define CHUNK_ITEMS 256

struct um_index_chunk {
	size_t len;
	struct um_index_entry *items[CHUNK_ITEMS];
};

void um_index_init(struct um_index *x)
{
	memset(x, 0, sizeof(*x));
}

static void free_entry(struct um_index_entry *e)
{
	um_bytes_unref(e->value);
	free(e);
}

void um_index_release(struct um_index *x)
{
	um_vec_foreach (c, &x->chunks) {
		for (size_t i = 0; i < (*c)->len; i++)
			free_entry((*c)->items[i]);
		free(*c);
	}
	um_vec_release(&x->chunks);
	um_index_init(x);
}

/* The first item >= key (or > key) within a chunk; len when there is none. */
static size_t chunk_find(const struct um_index_chunk *c, const char *key, bool after)
{
	size_t low = 0, high = c->len;

	while (low < high) {
		size_t mid = (low + high) / 2;
		int cmp = strcmp(c->items[mid]->key, key);

		if (cmp < 0 || (after && cmp == 0))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct um_index_pos um_index_seek(const struct um_index *x, const char *key, bool after)
{
	size_t low = 0, high = x->chunks.len;
	struct um_index_pos pos;

	while (low < high) { /* the first chunk whose last key is >= key (> key) */
		size_t mid = (low + high) / 2;
		const struct um_index_chunk *c = x->chunks.items[mid];
		int cmp = strcmp(c->items[c->len - 1]->key, key);

		if (cmp < 0 || (after && cmp == 0))
			low = mid + 1;
		else
			high = mid;
	}
	pos.chunk = low;
	pos.item = low < x->chunks.len ? chunk_find(x->chunks.items[low], key, after) : 0;
	return pos;
}

struct um_index_entry *um_index_next(const struct um_index *x, struct um_index_pos *pos)
{
	struct um_index_entry *e;

	if (pos->chunk >= x->chunks.len)
		return NULL;
	e = x->chunks.items[pos->chunk]->items[pos->item];
	if (++pos->item >= x->chunks.items[pos->chunk]->len) {
		pos->chunk++;
		pos->item = 0;
	}
	return e;
}

struct um_index_entry *um_index_get(const struct um_index *x, const char *key)
{
	struct um_index_pos pos = um_index_seek(x, key, false);
	struct um_index_entry *e = um_index_next(x, &pos);

	return e && !strcmp(e->key, key) ? e : NULL;
}

static void unlink_age(struct um_index *x, struct um_index_entry *e)
{
	*(e->older ? &e->older->newer : &x->oldest) = e->newer;
	*(e->newer ? &e->newer->older : &x->newest) = e->older;
	e->older = e->newer = NULL;
}

static void link_newest(struct um_index *x, struct um_index_entry *e)
{
	e->older = x->newest;
	*(x->newest ? &x->newest->newer : &x->oldest) = e;
	x->newest = e;
}

static int insert_chunk(struct um_index *x, size_t at, struct um_index_chunk *c)
{
	int r = um_vec_push(&x->chunks, c);

	if (r < 0)
		return r;
	memmove(&x->chunks.items[at + 1], &x->chunks.items[at],
		(x->chunks.len - 1 - at) * sizeof(*x->chunks.items));
	x->chunks.items[at] = c;
	return 0;
}

/* Makes room for one more item in the chunk that @pos names; adjusts @pos. */
static int make_room(struct um_index *x, struct um_index_pos *pos)
{
	struct um_index_chunk *c, *right;
	size_t half;
	int r;

	if (pos->chunk == x->chunks.len) { /* past the end: the last chunk takes it */
		if (!x->chunks.len) {
			c = calloc(1, sizeof(*c));
			r = c ? insert_chunk(x, 0, c) : -ENOMEM;
			if (r < 0)
				free(c);
			*pos = (struct um_index_pos){0, 0};
			return r;
		}
		pos->chunk--;
		pos->item = x->chunks.items[pos->chunk]->len;
	}
	c = x->chunks.items[pos->chunk];
	if (c->len < CHUNK_ITEMS)
		return 0;
	right = calloc(1, sizeof(*right));
	if (!right)
		return -ENOMEM;
	/* Keys mostly grow at the end: then leave the left chunk full. */
	half = pos->item == CHUNK_ITEMS ? CHUNK_ITEMS : CHUNK_ITEMS / 2;
	r = insert_chunk(x, pos->chunk + 1, right);
	if (r < 0) {
		free(right);
		return r;
	}
	right->len = c->len - half;
	memcpy(right->items, c->items + half, right->len * sizeof(*right->items));
	c->len = half;
	if (pos->item > half || half == CHUNK_ITEMS) {
		pos->chunk++;
		pos->item -= half;
	}
	return 0;
}

int um_index_put(struct um_index *x, const char *key, struct um_bytes *value, int64_t create_rev,
		 int64_t mod_rev)
{
	struct um_index_pos pos = um_index_seek(x, key, false), at = pos;
	struct um_index_entry *e = um_index_next(x, &at);
	struct um_index_chunk *c;
	size_t len = strlen(key);
	int r;

	if (e && !strcmp(e->key, key)) {
		x->value_bytes += value->len - e->value->len;
		um_bytes_unref(e->value);
		e->value = um_bytes_ref(value);
		e->mod_rev = mod_rev;
		unlink_age(x, e);
		link_newest(x, e);
		return 0;
	}
	e = calloc(1, sizeof(*e) + len + 1);
	if (!e)
		return -ENOMEM;
	r = make_room(x, &pos);
	if (r < 0) {
		free(e);
		return r;
	}
	memcpy(e->key, key, len + 1);
	e->value = um_bytes_ref(value);
	e->create_rev = create_rev;
	e->mod_rev = mod_rev;
	c = x->chunks.items[pos.chunk];
	memmove(&c->items[pos.item + 1], &c->items[pos.item],
		(c->len - pos.item) * sizeof(*c->items));
	c->items[pos.item] = e;
	c->len++;
	link_newest(x, e);
	x->count++;
	x->value_bytes += value->len;
	return 0;
}

void um_index_delete(struct um_index *x, const char *key)
{
	struct um_index_pos pos = um_index_seek(x, key, false), at = pos;
	struct um_index_entry *e = um_index_next(x, &at);
	struct um_index_chunk *c;

	if (!e || strcmp(e->key, key))
		return;
	c = x->chunks.items[pos.chunk];
	memmove(&c->items[pos.item], &c->items[pos.item + 1],
		(c->len - pos.item - 1) * sizeof(*c->items));
	if (--c->len == 0) {
		free(c);
		um_vec_remove(&x->chunks, pos.chunk);
	}
	unlink_age(x, e);
	x->count--;
	x->value_bytes -= e->value->len;
	free_entry(e);
}
