/* What the files of this room share. */
#ifndef UM_CGROUPS_INTERNAL_H
#define UM_CGROUPS_INTERNAL_H

#include "cgroups/cgroups.h"

/* The hierarchy that carries @c, or -1. v1 goes before v2 on a hybrid host. */
int um_cgroup_find(const struct um_cgroups *h, enum um_cgroup_controller c);
/* The v2 hierarchy, or -1. */
int um_cgroup_find_v2(const struct um_cgroups *h);
/* Reads a small file of the group. 0 or negative errno; @buf is NUL-terminated. */
int um_cgroup_read(int dirfd, const char *file, char *buf, size_t size);
int um_cgroup_read_u64(int dirfd, const char *file, uint64_t *ret);
/* The number after "@key " at a line's start. */
int um_cgroup_read_key(int dirfd, const char *file, const char *key, uint64_t *ret);
/* Opens a directory beneath @dirfd. */
int um_cgroup_open_dir(int dirfd, const char *rel);

#endif
