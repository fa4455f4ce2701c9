/* /proc/self/mountinfo, as a table. */
#ifndef UM_RUNTIME_MOUNTINFO_H
#define UM_RUNTIME_MOUNTINFO_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/vec.h"

#define UM_MOUNTINFO_MAX (64u << 20)

struct um_mountinfo_row {
	uint64_t id, parent;
	const char *point; /* with its escapes, see um_mountinfo_path() */
	const char *type;
};
struct um_mountinfo {
	struct um_mountinfo_row *items;
	size_t len, cap; /* a UM_VEC */
};

/* The mounts of our namespace, parents before their children. Replaces what is in *ret, whose texts
 * live in @b. */
um_must_check int um_mountinfo_read(struct um_buf *b, struct um_mountinfo *ret,
				    struct um_error *err);
/* Without escapes. 0 or -ENAMETOOLONG. */
um_must_check int um_mountinfo_path(const char *point, char *path, size_t size);
/* A number and the space after it. */
um_must_check int um_mountinfo_number(char **p, uint64_t *ret);

#endif
