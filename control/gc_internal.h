/* Who belongs to whom (gc_index.c), and what follows from it (gc.c). */
#ifndef UM_CONTROL_GC_INTERNAL_H
#define UM_CONTROL_GC_INTERNAL_H

#include <stdbool.h>
#include <sys/queue.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/json.h"

struct gc_dependent;

/* One reference. */
struct gc_ref {
	TAILQ_ENTRY(gc_ref) next; /* among those to the same owner */
	struct gc_owner *owner;
	struct gc_dependent *dependent;
	bool blocks; /* blockOwnerDeletion */
};

/* An object with owners, by its key in the store. */
struct gc_dependent {
	UT_hash_handle hh;
	unsigned n_refs;
	bool foreground;      /* being deleted so itself */
	const char *key;      /* behind refs */
	struct gc_ref refs[]; /* never moves */
};

/* Who is referred to, or is being deleted with a finalizer of ours, by uid. */
struct gc_owner {
	UT_hash_handle hh;
	TAILQ_HEAD(, gc_ref) refs;
	unsigned to_wake; /* so many from the head have yet to be looked at */
	bool sought;	  /* it is known whether it lives in another namespace ... */
	bool gone;	  /* ... or it was seen to go */
	bool elsewhere;
	char *waiting; /* its key while it waits for its dependents; owned */
	bool orphans;  /* ... to be let go, not to be deleted */
	char uid[];
};

struct gc_index {
	struct gc_dependent *dependents;
	struct gc_owner *owners;
};

void gc_index_release(struct gc_index *x);
struct gc_dependent *gc_index_find(const struct gc_index *x, const char *key);
struct gc_owner *gc_index_owner(const struct gc_index *x, const char *uid);
/* Replaces what is known of @key; @obj NULL: it refers to nobody. @left (may do nothing) hears of
 * each owner that it referred to before, which is still there. 0 or -ENOMEM: it is left out. */
int gc_index_put(struct gc_index *x, const char *key, const struct um_json *obj,
		 void (*left)(void *arg, struct gc_owner *o), void *arg);
/* @key (of the object with @uid) waits for its dependents; NULL: no more. 0 or -ENOMEM. */
int gc_index_wait(struct gc_index *x, const char *uid, const char *key);
/* Dependents other than itself: all, or those that block. */
unsigned gc_index_count(const struct gc_index *x, const char *uid, const char *self, bool blocking);

/* The text of metadata.ownerReferences in stored bytes; NULL: there is none. It may also be that of
 * another field of that name: the same text then still means the same object's. */
const char *gc_refs_text(const struct um_bytes *b, size_t *ret_len);

#endif
