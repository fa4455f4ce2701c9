/* Starting umiak-shim: for the agent and for containers without a server. */
#ifndef UM_RUNTIME_SHIM_START_H
#define UM_RUNTIME_SHIM_START_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "cgroups/cgroups.h"

#define UM_SHIM_READY_FD "3" /* the value of the shim's --ready-fd, a part of its arguments */

struct um_shim_start {
	char *const *argv;	       /* NULL-terminated; argv[0] is the program's path */
	const struct um_cgroup *group; /* with um_cgroup_prepare_join() done */
	bool quiet;		       /* its errors go nowhere instead of to the caller's stderr */
	int timeout_ms;		       /* for its being ready */
	/* results: its pid, a child of the caller; its own numbers for descriptors of the
	 * namespaces that it made, -1 where it made none */
	pid_t pid;
	int ns_net, ns_ipc, ns_uts, ns_pid;
};

/* Starts a shim and waits until it says that it is ready. It is born in @group's v2 part: a process
 * that is moved into a v2 group waits for a grace period of the kernel, some 15 ms (clone3(2),
 * CLONE_INTO_CGROUP; cgroups(7)). On an error no shim is left. */
um_must_check int um_shim_start(struct um_shim_start *s, struct um_error *err);

#endif
