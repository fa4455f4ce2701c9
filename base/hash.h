/* Hashing of foreign keys: SipHash-1-3 with a key drawn at start, so that nobody outside can choose
 * collisions. uthash is used with it everywhere: include this header instead of <uthash.h>. */
#ifndef UM_BASE_HASH_H
#define UM_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t um_hash_bytes(const void *data, size_t len);

#define HASH_FUNCTION(keyptr, keylen, hashv) ((hashv) = (unsigned)um_hash_bytes((keyptr), (keylen)))
/* Out of memory in uthash leaves the element out: callers check with HASH_FIND or the count. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#endif
