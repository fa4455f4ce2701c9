/* What a container gets unless its owner says otherwise, whoever starts it: pods and `umiak ctr`.
 */
#ifndef UM_AGENT_OCI_DEFAULTS_H
#define UM_AGENT_OCI_DEFAULTS_H

#include "base/json.h"

/* Lists that end with NULL. */
extern const char *const um_oci_default_caps[];
extern const char *const um_oci_all_caps[];
extern const char *const um_oci_masked[];
extern const char *const um_oci_readonly[];

/* Whose capabilities these are: the default ones, what was added to and taken from them. "ALL" and
 * names with and without "CAP_" are understood. */
struct um_oci_caps {
	bool privileged;		  /* all that the host has */
	const struct um_json *add, *drop; /* arrays of names; NULL: none */
	bool sys_resource;		  /* the host itself holds CAP_SYS_RESOURCE */
};
bool um_oci_has_cap(const struct um_oci_caps *caps, const char *cap);
/* These build in @a and return NULL when that is full. */
struct um_json *um_oci_capabilities(struct um_arena *a, const struct um_oci_caps *caps);
struct um_json *um_oci_strings(struct um_arena *a, const char *const *list);
/* A container's namespaces: held by its shim, or new ones. */
struct um_oci_namespace {
	const char *type;
	bool wanted;
	int fd; /* in the shim; -1: a new one */
};
struct um_json *um_oci_namespaces(struct um_arena *a, const struct um_oci_namespace *kinds,
				  size_t n, int shim_pid);
/* The seccomp profile RuntimeDefault: refuses what reaches the machine's kernel as a whole, unless
 * the container has the capability for it. */
struct um_json *um_oci_default_seccomp(struct um_arena *a, const struct um_oci_caps *caps);

#endif
