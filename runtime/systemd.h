/* The systemd cgroup driver: containers in scopes that systemd makes.
 *
 * systemd is spoken to by the program umiak-oci-systemd (dynamic, for libsystemd), which is
 * executed for each request, so that this library stays static. Its protocol:
 *
 *     umiak-oci-systemd system|user start|update|attach|stop UNIT
 *
 * "system" and "user" say whose systemd it is. Standard input has for attach the decimal id of a
 * process, for stop nothing, else the unit's properties, one a line: "TYPE NAME VALUE", TYPE a
 * D-Bus signature:
 *
 * - b: 0 or 1; s: text to the line's end; i, u, x, t: a decimal number
 * - au: decimals, as: words, one blank between two
 * - ay: bytes in hexadecimal; empty: none
 * - a(ss): words, one blank between two, an even number of them; empty: none
 *
 * Exit status 0: done, and after start standard output is the scope's cgroup, as systemd names it.
 * 1: it failed; 2: there is no such systemd (no bus); 3: UNIT is taken; standard error says why.
 * stop of what does not exist is done. It ends by itself, after 60 s at most.
 */
#ifndef UM_RUNTIME_SYSTEMD_H
#define UM_RUNTIME_SYSTEMD_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "runtime/runtime.h"
#include "runtime/spec.h"

#define UM_SYSTEMD_HELPER "umiak-oci-systemd"
#define UM_SYSTEMD_PREFIX "umiak-oci" /* of units, where cgroupsPath names none */

struct um_systemd_names {
	const char *slice; /* "machine.slice" */
	const char *unit;  /* "libpod-ID.scope" */
};

/* linux.cgroupsPath as "slice:prefix:name", the container's @id when it is NULL. An empty slice is
 * system.slice, with @user user.slice; an empty prefix leaves "name.scope". -EINVAL names the part
 * that cannot be a unit's name. */
um_must_check int um_systemd_parse(struct um_arena *a, const char *cgroups_path, const char *id,
				   bool user, struct um_systemd_names *ret, struct um_error *err);
/* "a-b.slice" lies in "a.slice/a-b.slice", "-.slice" in "". -EINVAL: no slice's name. */
um_must_check int um_systemd_expand(const char *slice, struct um_buf *b, struct um_error *err);

/* Properties for what @l and the device rules say, in the protocol's lines. With @v2 those of the
 * unified hierarchy, else those of v1. What systemd has no property for is left out: it is written
 * to the cgroup afterwards, like everything else. */
um_must_check int um_systemd_properties(const struct um_cgroup_limits *l, bool v2, struct um_buf *b,
					struct um_error *err);
void um_systemd_devices(const struct um_cgroup_device *rules, size_t n, struct um_buf *b);

/* Properties that annotations org.systemd.property.NAME ask for, in the text form of GVariant:
 * true, 'text', uint64 5, ['a', 'b']; NAMESec in seconds becomes NAMEUSec. -EINVAL names the
 * annotation. */
um_must_check int um_systemd_annotations(const struct um_spec_pair *pairs, size_t n,
					 struct um_buf *b, struct um_error *err);

struct um_systemd_scope {
	const char *helper; /* the program's path */
	const char *unit;
	bool user;
};

/* Starts the scope with process @pid in it. *ret: its cgroup, below the mount point. The limits,
 * the rules and what @spec's annotations say go along. -EBUSY: the unit exists. */
um_must_check int um_systemd_start(struct um_arena *a, const struct um_systemd_scope *s,
				   const struct um_systemd_names *names, const char *id, pid_t pid,
				   const struct um_spec *spec, const struct um_cgroup_limits *l,
				   bool v2, const struct um_cgroup_device *rules, size_t n_rules,
				   const char **ret, struct um_error *err);
um_must_check int um_systemd_update(const struct um_systemd_scope *s,
				    const struct um_cgroup_limits *l, bool v2,
				    const struct um_cgroup_device *rules, size_t n_rules,
				    struct um_error *err);
/* Moves @pid into the scope: what the kernel lets systemd do where it does not let us. */
um_must_check int um_systemd_attach(const struct um_systemd_scope *s, pid_t pid,
				    struct um_error *err);
um_must_check int um_systemd_stop(const struct um_systemd_scope *s, struct um_error *err);

/* A process that only waits to be in a scope first, which cannot be empty. It dies with us. */
um_must_check int um_systemd_hold(pid_t *ret, struct um_error *err);
void um_systemd_let_go(pid_t *pid); /* ends it and sets *pid to 0; not for 0 */

#endif
