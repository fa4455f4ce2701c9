/* The state folder: <root>/<id>/ with state.json, config.json (as it was at creation) and, until
 * the container is started, the socket that `start` connects to. An exclusive flock(2) on the
 * folder orders concurrent commands. */
#ifndef UM_RUNTIME_STATE_H
#define UM_RUNTIME_STATE_H

#include "runtime/runtime.h"
#include "runtime/spec.h"

#define UM_STATE_SOCKET "start.sock"

/* Makes the folder and locks it. -EEXIST when the id is taken. */
um_must_check int um_state_make(const struct um_runtime *rt, const char *id, int *ret_dir,
				struct um_error *err);
/* Opens and locks it. -ENOENT "container <id> does not exist". */
um_must_check int um_state_lock(const struct um_runtime *rt, const char *id, int *ret_dir,
				struct um_error *err);
/* Opens without the lock, for readers. */
um_must_check int um_state_open(const struct um_runtime *rt, const char *id, int *ret_dir,
				struct um_error *err);
um_must_check int um_state_save(int dir, const struct um_runtime_state *s, struct um_error *err);
/* Reads state.json and finds the status. A folder without one gives CREATING with pid 0 when its
 * creator is at work (it holds the lock), STOPPED otherwise. */
um_must_check int um_state_load(int dir, const char *id, struct um_arena *a,
				struct um_runtime_state *ret, struct um_error *err);
um_must_check int um_state_remove(const struct um_runtime *rt, const char *id,
				  struct um_error *err);

/* The start time of a live process that is not a zombie: -ESRCH otherwise. */
int um_state_process(pid_t pid, int64_t *ret_start_time);
/* A pidfd of the container's init, checked to be the same process. -ESRCH when it is gone. */
int um_state_pidfd(const struct um_runtime_state *s);
/* A process by its pidfd, as our own pid namespace numbers it; -ESRCH. */
int um_state_pid_of(int pidfd);
/* Its group; both are the caller's to free, also after an error. -EOPNOTSUPP: it has none. */
um_must_check int um_state_open_cgroup(const struct um_runtime_state *s, struct um_cgroups **host,
				       struct um_cgroup **cg, struct um_error *err);
/* The v2 group of its first process, if that is beneath its own: where a container with a systemd
 * of its own, or with an engine, has moved it. Negative errno. */
um_must_check int um_state_open_init_cgroup(const struct um_runtime_state *s,
					    const struct um_cgroups *host, struct um_cgroup **ret);
/* What a hook reads. Allocated in @a. */
um_must_check int um_state_hook_json(struct um_arena *a, const char *id, const char *status,
				     int64_t pid, const char *bundle, const struct um_spec *spec,
				     const char **ret);

#endif
