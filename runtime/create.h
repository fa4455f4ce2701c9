/* A container being created, shared by create and run. */
#ifndef UM_RUNTIME_CREATE_H
#define UM_RUNTIME_CREATE_H

#include "runtime/runtime.h"
#include "runtime/spec.h"
#include "runtime/systemd.h"

struct um_creation {
	struct um_arena *arena;
	struct um_spec *spec;
	const char *bundle, *rootfs;
	struct um_cgroups *cgroups;
	struct um_cgroup *cg;
	struct um_runtime_state state;
	struct um_systemd_scope scope; /* of the state's systemd_unit */
	bool attach;		       /* the init could not be cloned into it */
	pid_t holder;		       /* keeps systemd's scope until the init is in it; 0: none */
	int dir;		       /* the state folder, locked */
	int pidfd;		       /* the init */
	int sync_fd;		       /* to the init, which waits for UM_SYNC_CONTINUE */
};

void um_creation_init(struct um_creation *c);
void um_creation_release(struct um_creation *c);
/* Up to READY; on failure everything is undone. With @run there is no start socket: the init goes
 * on to the program when it is told to continue. @console_fd: connected socket or -1, borrowed. */
um_must_check int um_creation_run(struct um_creation *c, const struct um_runtime *rt,
				  const struct um_runtime_create *opts, bool run, int console_fd,
				  struct um_error *err);
/* Reads the bundle's configuration; finds its folder and the container's root. */
um_must_check int um_creation_load(struct um_creation *c, const struct um_runtime_create *opts,
				   struct um_error *err);
/* What the configuration and the options together cannot have. */
um_must_check int um_creation_check(const struct um_spec *s, const struct um_runtime_create *opts,
				    bool run, struct um_error *err);
/* What the specification wants to be a warning. */
void um_creation_warn(const struct um_runtime *rt, const struct um_spec *s);

/* Device rules of @s with what every container may use: at most UM_RUNTIME_MAX_RULES. */
#define UM_RUNTIME_MAX_RULES 512
um_must_check int um_runtime_collect_rules(const struct um_spec *s, struct um_cgroup_device *rules,
					   size_t *ret_n, struct um_error *err);
/* ... in force for @cg. */
um_must_check int um_runtime_device_rules(const struct um_cgroup *cg, const struct um_spec *s,
					  struct um_error *err);

/* The scope of a container's state; -EOPNOTSUPP without a helper. */
um_must_check int um_runtime_scope(const struct um_runtime *rt, const struct um_runtime_state *s,
				   struct um_systemd_scope *ret, struct um_error *err);

/* Answers the init's UM_SYNC_SOURCE for mounts[@index]. @user_ns: by path, or -1. Negative errno:
 * the init could not be told. */
um_must_check int um_creation_send_source(struct um_creation *c, int index, int user_ns);

/* The namespaces that have a path, into in->ns_fds. */
struct um_init;
um_must_check int um_creation_open_namespaces(struct um_init *in, struct um_error *err);
/* Unshares the time namespace of the children to be, with its offsets. */
um_must_check int um_creation_time_offsets(const struct um_spec *s, struct um_error *err);

/* Starts the scope with a holder in it, and names both in @c. Until the state names the scope, too,
 * it is its holder's, which dies with us. */
um_must_check int um_creation_scope(struct um_creation *c, const struct um_runtime *rt,
				    struct um_error *err);
/* The init is in the scope: what held that is not needed any longer. */
um_must_check int um_creation_drop_holder(struct um_creation *c, struct um_error *err);

/* The hooks of one kind, from the config.json kept in the state folder @dir. */
um_must_check int um_runtime_run_hooks(int dir, const struct um_runtime_state *s,
				       struct um_arena *a, enum um_hook_kind kind,
				       const char *status, struct um_error *err);

#endif
