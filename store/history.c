#include "store/history.h"

#include <string.h>

void um_history_init(struct um_history *h, size_t max_events, size_t max_bytes)
{
	memset(h, 0, sizeof(*h));
	h->max_events = max_events;
	h->max_bytes = max_bytes;
}

static size_t event_bytes(const struct um_store_event *ev)
{
	return (ev->value ? ev->value->len : 0) + (ev->prev_value ? ev->prev_value->len : 0) +
	       strlen(ev->key);
}

static void drop_first(struct um_history *h)
{
	struct um_store_event *ev = &h->ring[h->first].ev;

	h->trimmed_rev = ev->rev;
	h->bytes -= event_bytes(ev);
	um_bytes_unref(ev->value);
	um_bytes_unref(ev->prev_value);
	free((char *)ev->key);
	h->first = (h->first + 1) % h->cap;
	h->len--;
	h->start++;
}

void um_history_release(struct um_history *h)
{
	while (h->len)
		drop_first(h);
	free(h->ring);
	h->ring = NULL;
}

static int grow(struct um_history *h)
{
	size_t cap = h->cap ? h->cap * 2 : 64;
	struct um_history_item *ring = malloc(cap * sizeof(*ring));

	if (!ring)
		return -ENOMEM;
	for (size_t i = 0; i < h->len; i++)
		ring[i] = h->ring[(h->first + i) % h->cap];
	free(h->ring);
	h->ring = ring;
	h->cap = cap;
	h->first = 0;
	return 0;
}

int um_history_add(struct um_history *h, const struct um_store_event *ev)
{
	struct um_store_event *slot;
	char *key;

	if (h->len == h->cap && grow(h) < 0)
		return -ENOMEM;
	key = strdup(ev->key);
	if (!key)
		return -ENOMEM;
	slot = &h->ring[(h->first + h->len) % h->cap].ev;
	*slot = *ev;
	slot->key = key;
	if (ev->value)
		um_bytes_ref(ev->value);
	if (ev->prev_value)
		um_bytes_ref(ev->prev_value);
	h->bytes += event_bytes(slot);
	h->len++;
	return 0;
}

void um_history_trim(struct um_history *h)
{
	while (h->len > h->max_events || (h->len && h->bytes > h->max_bytes))
		drop_first(h);
}

const struct um_store_event *um_history_at(const struct um_history *h, uint64_t seq)
{
	return &h->ring[(h->first + (size_t)(seq - h->start)) % h->cap].ev;
}

uint64_t um_history_seek(const struct um_history *h, int64_t rev)
{
	size_t low = 0, high = h->len;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (um_history_at(h, h->start + mid)->rev <= rev)
			low = mid + 1;
		else
			high = mid;
	}
	return h->start + low;
}
