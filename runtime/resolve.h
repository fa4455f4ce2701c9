/* Paths inside a root directory, resolved to O_PATH descriptors. No symbolic link leads out:
 * every step is openat2(2) with RESOLVE_IN_ROOT, every creation is made in an open directory. */
#ifndef UM_RUNTIME_RESOLVE_H
#define UM_RUNTIME_RESOLVE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

/* An existing object. The last component is followed too. Returns the fd or -errno. */
int um_resolve(int rootfd, const char *path);
/* The same, made when absent: a directory, or an empty file in directories. A dangling symbolic
 * link is followed and its target made, inside the root. */
um_must_check int um_resolve_create(int rootfd, const char *path, bool directory, int *ret_fd,
				    struct um_error *err);
/* The directory that holds @path (made when absent) and the last name, copied to @name. */
um_must_check int um_resolve_parent(int rootfd, const char *path, char *name, size_t size,
				    int *ret_fd, struct um_error *err);
/* The file @name in the directory @parent, as O_PATH, or made empty. No link is followed and what
 * is there is not opened, a pipe or a device it may be. Returns the fd or -errno. */
int um_resolve_file(int parent, const char *name, mode_t mode);

#endif
