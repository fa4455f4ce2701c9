/* The one strict number parser: the whole text, decimal, no spaces, no plus, no leading zeros
 * beyond a single 0, within bounds. Everything that turns foreign text into a number uses it. */
#ifndef UM_BASE_NUM_H
#define UM_BASE_NUM_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/* 0, -EINVAL (not a number as above) or -ERANGE (outside the bounds). *ret only on success. */
um_must_check int um_num_u64n(const char *s, size_t len, uint64_t max, uint64_t *ret);
um_must_check int um_num_u64(const char *s, uint64_t max, uint64_t *ret);
um_must_check int um_num_i64(const char *s, int64_t min, int64_t max, int64_t *ret);
um_must_check int um_num_int(const char *s, int min, int max, int *ret);
um_must_check int um_num_octal(const char *s, unsigned max, unsigned *ret); /* "0644", "755" */

/* "512m", "1gb", "7b"; units of 1024, up to t; "-1" is -1. -EINVAL: anything else, or more than
 * 2^63-1 bytes. */
um_must_check int um_num_bytes(const char *text, int64_t *ret);
/* A signal: "9", "KILL", "SIGKILL", "SIGRTMIN+3"; "0" too. -EINVAL. */
um_must_check int um_num_signal(const char *text, int *ret);

#endif
