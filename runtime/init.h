/* The container's first process, from clone3 to execve. */
#ifndef UM_RUNTIME_INIT_H
#define UM_RUNTIME_INIT_H

#include "runtime/hooks.h"
#include "runtime/rootfs.h"
#include "runtime/seccomp.h"
#include "runtime/spec.h"

struct um_init {
	struct um_arena *arena;
	const char *id;
	struct um_spec *spec;
	struct um_cgroup *cg; /* NULL: none */
	bool in_v2;	      /* cloned into the v2 group */
	struct um_seccomp_prog seccomp;
	int seccomp_fd;	     /* connected to its listener, -1: none */
	int sync_fd;	     /* to the creator */
	int creator_fd;	     /* the creator's end, closed first */
	int state_dir_fd;    /* closed with it */
	int journal_fd;	     /* no mount namespace: of its mounts; -1 */
	int start_fd;	     /* listening socket that `start` connects to; -1: go on at once */
	int console_fd;	     /* connected console socket, -1: none */
	int proc_fd;	     /* for security labels; -1: none are set */
	int ns_fds[UM_NS_N]; /* namespaces to join, -1 */
	struct um_hooks_output hooks_output;
	const char *rootfs, *bundle;
	const char *state_json;	  /* for the hooks that the init runs */
	const char *seccomp_json; /* for the listener */
	unsigned preserve_fds, listen_fds;
	bool no_pivot, no_new_keyring;
	bool relayed;	      /* its terminal: by the creator, not by a console socket */
	bool die_with_parent; /* until it is ready */
	bool setgroups_denied;
};

/* Never returns. */
void um_init_main(struct um_init *in) __attribute__((noreturn));

#endif
