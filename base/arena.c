#include "base/arena.h"

#include <stdint.h>
#include <string.h>

struct block {
	struct block *next;
	size_t size; /* of data[] */
	size_t used;
	_Alignas(8) char data[];
};

struct um_arena {
	struct block *head; /* the block being filled */
	size_t bytes, max;
	size_t next_size;
	bool failed;
};

#define FIRST_BLOCK 1024
#define LARGEST_BLOCK (64 * 1024)

struct um_arena *um_arena_new(size_t max_bytes)
{
	struct um_arena *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->max = max_bytes;
	a->next_size = FIRST_BLOCK;
	return a;
}

void um_arena_free(struct um_arena *a)
{
	struct block *b, *next;

	if (!a)
		return;
	for (b = a->head; b; b = next) {
		next = b->next;
		free(b);
	}
	free(a);
}

static struct block *add_block(struct um_arena *a, size_t size)
{
	struct block *b;

	if (size > a->max || a->bytes > a->max - size)
		return NULL;
	b = malloc(sizeof(*b) + size);
	if (!b)
		return NULL;
	b->size = size;
	b->used = 0;
	a->bytes += size;
	return b;
}

static void *alloc(struct um_arena *a, size_t size)
{
	struct block *b = a->head;
	void *p;

	if (size > SIZE_MAX - 8)
		return NULL;
	size = (size + 7) & ~(size_t)7;
	if (!b || b->size - b->used < size) {
		if (size > a->next_size / 2 && b) {
			/* A large request gets a block of its own, behind the one being filled. */
			struct block *own = add_block(a, size);

			if (!own)
				return NULL;
			own->used = size;
			own->next = b->next;
			b->next = own;
			return own->data;
		}
		b = add_block(a, size > a->next_size ? size : a->next_size);
		if (!b && size < a->next_size)
			b = add_block(a, size);
		if (!b)
			return NULL;
		if (a->next_size < LARGEST_BLOCK)
			a->next_size *= 2;
		b->next = a->head;
		a->head = b;
	}
	p = b->data + b->used;
	b->used += size;
	return p;
}

void *um_arena_alloc(struct um_arena *a, size_t size)
{
	void *p = alloc(a, size);

	if (!p)
		a->failed = true;
	return p;
}

bool um_arena_failed(const struct um_arena *a)
{
	return a->failed;
}

void *um_arena_zalloc(struct um_arena *a, size_t size)
{
	void *p = um_arena_alloc(a, size);

	return p ? memset(p, 0, size) : NULL;
}

char *um_arena_strndup(struct um_arena *a, const char *s, size_t len)
{
	char *p = len < SIZE_MAX ? um_arena_alloc(a, len + 1) : NULL;

	if (!p)
		return NULL;
	if (len)
		memcpy(p, s, len);
	p[len] = '\0';
	return p;
}

char *um_arena_strdup(struct um_arena *a, const char *s)
{
	return um_arena_strndup(a, s, strlen(s));
}

char *um_arena_printf(struct um_arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || !(p = um_arena_alloc(a, (size_t)n + 1)))
		return NULL;
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return p;
}

size_t um_arena_bytes(const struct um_arena *a)
{
	return a->bytes;
}
