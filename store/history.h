/* The most recent changes, for watches: a ring bounded in events and in bytes. */
#ifndef UM_STORE_HISTORY_H
#define UM_STORE_HISTORY_H

#include "store/store.h"

struct um_history_item {
	struct um_store_event ev; /* key owned, values hold references */
};

struct um_history {
	struct um_history_item *ring;
	size_t cap, len, first;	      /* ring[(first + i) % cap], i < len */
	size_t bytes;		      /* of all values held */
	size_t max_events, max_bytes; /* trimmed to these by um_history_trim() */
	int64_t trimmed_rev;	      /* the newest event that was dropped */
	uint64_t start;		      /* sequence number of ring[first] */
};

void um_history_init(struct um_history *h, size_t max_events, size_t max_bytes);
void um_history_release(struct um_history *h);
/* Appends a copy of @ev; takes references of its values. */
um_must_check int um_history_add(struct um_history *h, const struct um_store_event *ev);
/* Drops the oldest events past the bounds. */
void um_history_trim(struct um_history *h);
/* Events have sequence numbers start .. start + len - 1. */
static inline uint64_t um_history_end(const struct um_history *h)
{
	return h->start + h->len;
}
const struct um_store_event *um_history_at(const struct um_history *h, uint64_t seq);
/* The sequence number of the first event with rev > @rev. */
uint64_t um_history_seek(const struct um_history *h, int64_t rev);

#endif
