/* Kernel parameters of a pod (securityContext.sysctls): those that a namespace of the pod has of
 * its own, and that touch nobody else. */
#ifndef UM_AGENT_SYSCTL_H
#define UM_AGENT_SYSCTL_H

struct um_arena;
struct um_json;

/* The first parameter of @pod that it may not have; NULL: there is none. */
const char *sysctl_forbidden(const struct um_json *pod);

/* linux.sysctl of the runtime's configuration; NULL: none are asked for. */
struct um_json *sysctl_config(struct um_arena *a, const struct um_json *pod);

#endif
