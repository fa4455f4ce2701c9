/* Id maps: of the container's user namespace, and of mounts. */
#ifndef UM_RUNTIME_IDMAP_H
#define UM_RUNTIME_IDMAP_H

#include "runtime/spec.h"

/* Writes the maps of process @pid, which has a new user namespace. Who is not root maps itself
 * alone, or is helped by newuidmap(1) and newgidmap(1). */
um_must_check int um_idmap_write(const struct um_spec *s, pid_t pid, struct um_error *err);
/* Who is not root and maps but its own group has to give setgroups(2) up for it. */
bool um_idmap_denies_setgroups(const struct um_spec *s);
/* A detached copy of the source of the bind mount mounts[@index], idmapped if it is to be. To be
 * called where the caller has its privileges over the file systems: not in the container. @user_ns:
 * descriptor of the namespace that linux.namespaces names by path, else -1. */
um_must_check int um_idmap_source(const struct um_spec *s, size_t index, const char *bundle,
				  int user_ns, int *ret, struct um_error *err);

#endif
