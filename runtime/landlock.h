/* Landlock by annotations (landlock(7)): a second wall around the program, which it cannot take
 * down and which holds whatever its user and its capabilities are.
 *
 *   org.umiak.landlock.read         paths, parted by colons: beneath them, files and folders are
 * read org.umiak.landlock.write        beneath them, files are written, made, moved and removed
 *   org.umiak.landlock.execute      beneath them, files are executed; so they are read as well
 *   org.umiak.landlock.bind-tcp     ports, parted by commas: only to them a TCP socket is bound
 *   org.umiak.landlock.connect-tcp  only to them it connects
 *   org.umiak.landlock.on-missing   refuse (the default) or ignore what kernel or container lack
 *
 * Each key forbids everything of its own kind but what it names; an empty value forbids all of it.
 */
#ifndef UM_RUNTIME_LANDLOCK_H
#define UM_RUNTIME_LANDLOCK_H

#include "runtime/spec.h"

/* From the annotations of @s into s->landlock. -EINVAL names the annotation. */
um_must_check int um_landlock_decode(struct um_arena *a, struct um_spec *s, struct um_error *err);
/* Whether this host can do it for process @p: -EOPNOTSUPP names what the kernel lacks, -EINVAL a
 * process without noNewPrivileges, which the kernel wants. */
um_must_check int um_landlock_check(const struct um_spec_landlock *l,
				    const struct um_spec_process *p, struct um_error *err);
/* A ruleset of paths in the root in use, opened through no link that leads out of it. *ret is a
 * descriptor, -1 where nothing is asked for or can be had. */
um_must_check int um_landlock_prepare(const struct um_spec_landlock *l, int *ret,
				      struct um_error *err);
/* From here on the calling thread and its children are held to it. Closes @ruleset (-1: nothing).
 */
um_must_check int um_landlock_enforce(int ruleset, struct um_error *err);
/* The kernel's version of the interface, 0: none. */
int um_landlock_abi(void);

#endif
