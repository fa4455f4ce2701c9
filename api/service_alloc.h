/* Addresses and node ports of Services.
 *
 * Who has what is known from the stored objects: built from them at start and followed by a watch.
 * A write on its way to the disk holds what it gives out until its outcome is known, so that two
 * concurrent writes never get the same; nothing of this is written anywhere. All calls are on the
 * loop's thread and never block. */
#ifndef UM_API_SERVICE_ALLOC_H
#define UM_API_SERVICE_ALLOC_H

#include <stdint.h>

#include "api/schema/schema.h"

struct um_store;

struct um_service_ranges {
	uint32_t first,
		count; /* addresses in host order; the first and the last are not given out */
	uint16_t port_min, port_max;
	uint32_t dns; /* only kube-system/kube-dns gets it; 0: no such address */
};

/* "10.96.0.0/16" and "30000-32767". @pods (may be NULL) must not overlap. -EINVAL. */
um_must_check int um_service_ranges_parse(const char *addresses, const char *ports,
					  const char *pods, struct um_service_ranges *ret,
					  struct um_error *err);
/* The address of the API's own Service: the first that can be used. */
void um_service_ranges_own(const struct um_service_ranges *r, char text[16]);
/* Sets the address of cluster DNS. -EINVAL: it is no address of the range that can be given. */
um_must_check int um_service_ranges_set_dns(struct um_service_ranges *r, const char *address,
					    struct um_error *err);

struct um_service_allocs;
um_must_check int um_service_allocs_new(struct um_store *store, const struct um_service_ranges *r,
					struct um_service_allocs **ret, struct um_error *err);
/* Lets go of the store; holds may still be released. */
void um_service_allocs_stop(struct um_service_allocs *s); /* accepts NULL */
void um_service_allocs_free(struct um_service_allocs *s); /* accepts NULL */

/* Gives the valid Service @obj what it needs and has not got; @old (NULL: it is new) is what it
 * replaces. What it asks for and another has, or no range holds, is added to @causes.
 * Returns 0, -EINVAL (causes were added), -EIO (a range is full), -ENOMEM. */
um_must_check int um_service_allocs_fill(struct um_service_allocs *s, struct um_json *obj,
					 const struct um_json *old, struct um_arena *a,
					 struct um_causes *causes, struct um_error *err);

/* From now until the release nobody else gets what @obj has. NULL: out of memory. */
struct um_service_hold;
struct um_service_hold *um_service_allocs_hold(struct um_service_allocs *s, const char *key,
					       const struct um_json *obj);
/* The outcome is known: what the store has now counts. Frees @h; accepts NULL. */
void um_service_allocs_release(struct um_service_allocs *s, struct um_service_hold *h);

#endif
