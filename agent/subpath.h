/* Parts of volumes (subPath, subPathExpr). What a volume holds is the containers' own, who may swap
 * a link in at any time: so a part is opened beneath its volume, never by its path, and what was
 * opened is mounted into the bundle, from where the runtime binds it. */
#ifndef UM_AGENT_SUBPATH_H
#define UM_AGENT_SUBPATH_H

#include <stddef.h>

#include "base/error.h"

struct agent_ctr;
struct um_arena;
struct um_json;

/* Where the part of the container's mount number @index stands. -ENAMETOOLONG. */
um_must_check int subpath_target(const char *bundle, size_t index, char *buf, size_t size);

/* Mounts the parts that a container names into its bundle. Folders that are missing are made, but
 * in volumes that are read only. -EINVAL: the path is absolute, has "..", or a variable is not set;
 * -EXDEV, -ELOOP: it leaves the volume; else an errno. Blocks. What was mounted stays for
 * subpaths_release(). */
um_must_check int subpaths_make(struct um_arena *a, const struct agent_ctr *c,
				const struct um_json *image_config, const char *bundle,
				struct um_error *err);

/* Unmounts them. A bundle without any is fine. */
um_must_check int subpaths_release(const char *bundle, struct um_error *err);

#endif
