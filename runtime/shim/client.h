/* A client's end of the shim protocol that waits for its answers: for programs without an event
 * loop. And programs executed in a running container, for whoever gives people a way into one. */
#ifndef UM_RUNTIME_SHIM_CLIENT_H
#define UM_RUNTIME_SHIM_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "runtime/shim/proto.h"

/* Waits for the one line by which a shim that was just started says on its pipe @fd that it is
 * ready: without the line break, in @line. -EIO with what it says otherwise, -ETIMEDOUT. */
um_must_check int um_shim_read_ready(int fd, char *line, size_t size, int timeout_ms,
				     struct um_error *err);
/* Connects to the shim whose folder @dir is: a descriptor, or a negative errno (-ECONNREFUSED or
 * -ENOENT: there is none). */
int um_shim_connect(const char *dir);
/* Sends a request and waits for its answer; events that come before go to @event (may be NULL).
 * @reply may be NULL. 0; -EREMOTEIO with the shim's message in @err and its errno in *ret_errno
 * (may be NULL); -ETIMEDOUT, -EPIPE: no answer. */
um_must_check int um_shim_request(int fd, struct um_shim_msg *m, struct um_shim_msg *reply,
				  int timeout_ms,
				  void (*event)(void *arg, const struct um_shim_msg *m), void *arg,
				  int *ret_errno, struct um_error *err);
/* Waits for the next message: 1, 0 at the timeout (< 0: none), -EPIPE when the shim has gone. */
int um_shim_receive(int fd, struct um_shim_msg *m, int timeout_ms);

struct um_exec {
	const char *oci, *oci_root; /* umiak-oci and its --root */
	const char *dir;	    /* for short-lived files */
	const char *id;
	char *const *args; /* NULL-terminated */
	const char *cwd;   /* NULL: the container's */
	const char *user;  /* "uid:gid", NULL: the container's */
	const uint32_t *gids;
	size_t n_gids;
	const char *const *env;
	size_t n_env;
	bool tty, detach, privileged;
	const char *const *caps; /* of a privileged one */
	size_t n_caps;
	int fds[3]; /* stdin, stdout, stderr; with a tty only stderr, for the runtime's words */
	/* results */
	pid_t pid;  /* umiak-oci: its exit code is the program's */
	int master; /* of the terminal; owned by the caller; -1 */
};

/* Starts it. The container's namespaces, cgroup, seccomp and capabilities are the runtime's work.
 * Blocks until the terminal is there. */
um_must_check int um_exec_start(struct um_exec *e, struct um_error *err);
/* After its end: whether it never ran, and why. Removes the short-lived files. */
bool um_exec_refused(const struct um_exec *e, char *message, size_t size);

#endif
