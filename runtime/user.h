/* Users as callers and containers name them. */
#ifndef UM_RUNTIME_USER_H
#define UM_RUNTIME_USER_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"

/* "uid[:gid]" in numbers; without a gid *gid stays. -EINVAL, with nothing changed: names, signs,
 * 4294967295 (which the kernel reads as "leave it"). */
um_must_check int um_user_parse(const char *text, uint32_t *uid, uint32_t *gid);
/* The home folder of @uid in a passwd(5) file that a container wrote: an absolute path of fewer
 * than @size bytes, "/" where there is none. Reads at most a megabyte; a line that is too long
 * counts as empty. */
void um_user_home(FILE *passwd, uint32_t uid, char *buf, size_t size);

#endif
