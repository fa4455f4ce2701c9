/* The OCI runtime as a library: what umiak-oci does, for other programs too.
 *
 * Follows the OCI runtime specification 1.3 on Linux. The calling process must be single-threaded
 * where it creates containers or executes in them: the child of clone3(2) runs C library code.
 * Nothing here exits, logs or keeps global state, but for who has begun to explain (explain.h). All
 * calls block. */
#ifndef UM_RUNTIME_RUNTIME_H
#define UM_RUNTIME_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/error.h"

struct um_runtime {
	const char *root;      /* the state folder, absolute; made when absent (0700) */
	bool no_cgroups;       /* --cgroup-manager disabled: limits are then errors */
	bool cgroups_optional; /* who may make none goes without, where none is asked for */
	/* cgroups of new containers are scopes of systemd's, the user's or the system's */
	bool systemd, systemd_user;
	const char *systemd_helper; /* umiak-oci-systemd; NULL: containers in scopes are refused */
	void (*warn)(void *data, const char *text); /* what the specification wants said; or NULL */
	void *warn_data;
};

struct um_runtime_create {
	const char *id;
	const char *bundle;	    /* NULL: the working directory */
	const char *config;	    /* NULL: config.json in the bundle */
	const char *console_socket; /* NULL: none */
	const char *pid_file;	    /* NULL: none */
	const char *pidfd_socket;   /* NULL: none; a socket that gets a pidfd of the init */
	unsigned preserve_fds;	    /* passes on fds 3 .. 3 + n - 1 */
	unsigned listen_fds;	    /* the first of them; the program is told, sd_listen_fds(3) */
	bool no_pivot, no_new_keyring;
	bool as_sibling; /* the init becomes a child of our parent, who waits for it */
	/* run only */
	bool detach, keep, no_subreaper;
};

struct um_runtime_exec {
	const char *id;
	const char
		*process_file;	/* a process object; NULL: the fields below over the container's */
	char *const *args;	/* NULL-terminated */
	const char *cwd, *user; /* user: "uid[:gid]" */
	char *const *env;	/* added */
	size_t n_env;
	const char *const *caps; /* added */
	size_t n_caps;
	const uint32_t *gids; /* added */
	size_t n_gids;
	const char *console_socket, *pid_file, *pidfd_socket;
	const char *cgroup; /* beneath the container's own; NULL: that itself */
	const char *selinux_label, *apparmor_profile;
	unsigned preserve_fds;
	bool tty, no_new_privs, detach, ignore_paused;
};

enum um_runtime_status {
	UM_RUNTIME_CREATING,
	UM_RUNTIME_CREATED,
	UM_RUNTIME_RUNNING,
	UM_RUNTIME_PAUSED,
	UM_RUNTIME_STOPPED
};

struct um_runtime_state {
	const char *id, *bundle, *rootfs;
	const char *cgroup;		   /* NULL: none */
	const char *systemd_unit;	   /* the scope that has the cgroup; NULL: none */
	bool systemd_user;		   /* it is of the user's systemd */
	const char *created;		   /* RFC 3339 */
	const struct um_json *annotations; /* NULL: none */
	int64_t pid;			   /* 0: none yet, or stopped */
	int64_t start_time;		   /* of the process, as in /proc/<pid>/stat */
	uint32_t owner;
	enum um_runtime_status status;
};

/* Errors common to all: -ENOENT with "container <id> does not exist", -EINVAL for a bad id. */
um_must_check int um_runtime_create(const struct um_runtime *rt, const struct um_runtime_create *c,
				    struct um_error *err);
um_must_check int um_runtime_start(const struct um_runtime *rt, const char *id,
				   struct um_error *err);
/* Returns the program's exit status (128 + signal), 0 when detached, or a negative errno. */
um_must_check int um_runtime_run(const struct um_runtime *rt, const struct um_runtime_create *c,
				 struct um_error *err);
um_must_check int um_runtime_exec(const struct um_runtime *rt, const struct um_runtime_exec *e,
				  struct um_error *err);
um_must_check int um_runtime_state(const struct um_runtime *rt, struct um_arena *a, const char *id,
				   struct um_runtime_state *ret, struct um_error *err);
/* @all: every process of the container's cgroup; also with SIGKILL where the container has no pid
 * namespace of its own. */
um_must_check int um_runtime_kill(const struct um_runtime *rt, const char *id, int sig, bool all,
				  struct um_error *err);
um_must_check int um_runtime_delete(const struct um_runtime *rt, const char *id, bool force,
				    struct um_error *err);
um_must_check int um_runtime_pause(const struct um_runtime *rt, const char *id, bool freeze,
				   struct um_error *err);
/* Processes of the container; *ret is free()d by the caller. */
um_must_check int um_runtime_ps(const struct um_runtime *rt, const char *id, pid_t **ret,
				size_t *ret_n, struct um_error *err);
/* linux.resources as JSON text. What it names is changed, and the container's saved configuration
 * with it; the rest stays. */
um_must_check int um_runtime_update(const struct um_runtime *rt, const char *id, const char *json,
				    size_t len, struct um_error *err);
/* What the container uses now, see cgroups/report.h. The tree lives in @a. */
um_must_check int um_runtime_stats(const struct um_runtime *rt, struct um_arena *a, const char *id,
				   struct um_json **ret, struct um_error *err);

struct um_runtime_events {
	int64_t interval_nsec; /* of "stats", more than 0 */
	/* @type: "stats", or "oom" after kills (@json: NULL). A negative errno ends the events. */
	int (*tell)(void *data, const char *type, const struct um_json *json, struct um_error *err);
	void *data;
};
/* Blocks until the container stops. */
um_must_check int um_runtime_events(const struct um_runtime *rt, const char *id,
				    const struct um_runtime_events *e, struct um_error *err);

/* Every container below rt->root. The array lives in @a. */
um_must_check int um_runtime_list(const struct um_runtime *rt, struct um_arena *a,
				  struct um_runtime_state **ret, size_t *ret_n,
				  struct um_error *err);

const char *um_runtime_status_name(enum um_runtime_status s);
/* 0 or -EINVAL: [A-Za-z0-9_+-.]{1,255}, not "." nor "..", and no leading dot. */
um_must_check int um_runtime_check_id(const char *id, struct um_error *err);

/* Continues as a copy of this program that nobody can write to, so that no container gets at the
 * host's file through /proc/<pid>/exe. To be called first in main(); returns 0 when the program
 * runs sealed, otherwise executes itself again. */
um_must_check int um_runtime_seal_self(char *const argv[], struct um_error *err);

#endif
