/* Objects as the store keeps them: keys, canonical bytes, and the way back.
 *
 * Stored bytes are one JSON object that starts {"apiVersion":...,"kind":...,"metadata":{ and has no
 * resourceVersion: that is the revision beside them, and is put in when they are shown. */
#ifndef UM_API_OBJECT_H
#define UM_API_OBJECT_H

#include <stdint.h>

#include "api/schema/schema.h"
#include "base/bytes.h"

#define UM_OBJECT_KEY_MAX 1024
#define UM_OBJECT_ARENA_MAX (64u << 20)

/* "/registry/<group or core>/<plural>/[<ns>/]<name>". @ns NULL or "" and @name NULL make the prefix
 * of all objects; @name NULL that of a namespace. -ENAMETOOLONG. */
um_must_check int um_object_key(char key[UM_OBJECT_KEY_MAX], const struct um_kind *kind,
				const char *ns, const char *name);
/* Encodes @obj, which loses metadata.resourceVersion and gets its first keys in order.
 * Owned by the caller; NULL when out of memory or past 64 MiB. */
struct um_bytes *um_object_encode(const struct um_kind *kind, struct um_json *obj,
				  struct um_arena *a);
/* The tree of stored bytes, with resourceVersion unless @rev is 0 (never stored). NULL: out of
 * memory, or damaged. */
struct um_json *um_object_parse(const struct um_bytes *b, int64_t rev, struct um_arena *a);
/* Appends the stored bytes with resourceVersion put in likewise; nothing is parsed. */
int um_object_show(struct um_buf *out, const struct um_bytes *b, int64_t rev);

/* "v1" or "apps/v1". */
const char *um_object_api_version(const struct um_kind *kind, struct um_arena *a);

/* A random version 4 UUID. */
void um_object_uid(char uid[37]);

#endif
