/* Containers of this machine without server or agent. There is no daemon: each command does its
 * work on files and on the container's shim, under locks.
 *
 *   <state>/<id>/config.json   what was asked, in the words of `inspect`; written once
 *   <state>/<id>/state.json    how its last run ended
 *   <state>/<id>/log           what it printed (CRI lines), log.1 ... the older
 *   <state>/names/<name>       symbolic link to the id: who makes it has the name
 *   <state>/lock               held while a container is made, renamed or removed
 *   <state>/net/               addresses, and the lock of rules
 *   <run>/<16 digits>/         of a container that runs: the shim's socket, the bundle, net.json
 *   <run>/oci/                 umiak-oci's
 *
 * A container's folder is locked (flock) while it is started, cleaned up or removed. What a crash
 * leaves the next command finds and puts right (ctr_heal). */
#ifndef UM_CLI_CTR_CTR_H
#define UM_CLI_CTR_CTR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/json.h"
#include "base/vec.h"
#include "netns/ctr_net.h"
#include "rootfs/rootfs.h"

#define CTR_ID_LEN 64
#define CTR_SHORT_LEN 12
#define CTR_PATH_MAX 4096
#define CTR_DIR_MAX 1000 /* of each folder */
#define CTR_LOG_MAX_BYTES "10485760"
#define CTR_LOG_FILES 5

/* Exit codes as Docker's. */
enum {
	CTR_EXIT_OURS = 125,
	CTR_EXIT_CANNOT_EXECUTE = 126,
	CTR_EXIT_NOT_FOUND = 127,
};

/* ---- opts.c ---- */

typedef UM_VEC(const char *) ctr_list;

enum ctr_opt_kind {
	CTR_OPT_FLAG, /* bool */
	CTR_OPT_TEXT, /* const char * */
	CTR_OPT_LIST, /* ctr_list */
};

struct ctr_opt {
	char letter; /* 0: none */
	const char *name;
	enum ctr_opt_kind kind;
	const char *value_name, *help;
	void *to;
};

struct ctr_verb {
	const char *name;
	const char *usage; /* behind the name */
	const char *summary;
	const struct ctr_opt *opts; /* ends with a NULL name */
	int min_args, max_args;	    /* max -1: any number */
	bool no_permute;	    /* options end at the first argument */
	int (*run)(int argc, char **argv);
};

/* Reads the options, then calls the verb with what is left. The exit code. */
int ctr_run_verb(const struct ctr_verb *v, int argc, char **argv);
/* "umiak: message" and a hint, as `run` has it; returns @code. */
int ctr_usage_error(const struct ctr_verb *v, int code, const char *fmt, ...) um_printf(3, 4);
/* "Error: message"; returns 1. */
int ctr_fail(const struct um_error *err);

/* ---- env.c: where things are ---- */

/* Options before ctr_env_open(), then what holds; the folders are absolute. */
struct ctr_env {
	const char *root, *config;
	const char *state, *run, *images_dir, *volumes;
	const char *libexec, *cgroup_parent, *range;
	char oci_root[1100], net_dir[1100], shim[1100], oci[1100];
	struct um_images *images; /* ctr_images() */
};

extern struct ctr_env ctr_env;
int ctr_env_open(struct um_error *err);
int ctr_images(struct um_images **ret, struct um_error *err);
struct um_ctr_net ctr_net(void);
/* 32 random bytes in hex. */
int ctr_new_id(char id[CTR_ID_LEN + 1], struct um_error *err);
/* Runs a program to its end with stdin and stdout from and to /dev/null: 0, its wait status, or a
 * negative errno. */
int ctr_run_program(char *const argv[]);

/* ---- store.c ---- */

struct ctr {
	char id[CTR_ID_LEN + 1];
	char dir[1200];	    /* in <state> */
	char run_dir[1100]; /* in <run>; there while it runs */
	char uid[48];	    /* for network and shim */
	struct um_arena *a;
	struct um_json *config;
	struct um_json *state; /* never NULL */
	int lock;	       /* -1: not held */
};

void ctr_free(struct ctr *c); /* gives the lock back; accepts NULL */
UM_DEFINE_CLEANUP(struct ctr, ctr_free)
#define _cleanup_ctr_ _cleanup_(ctr_freep)

typedef UM_VEC(struct ctr *) ctr_vec;
void ctr_vec_release(ctr_vec *v);

/* Makes the container of @config (in @a, which it takes over on success); *ret is locked. The name
 * is config.Name without its slash; "": one is made up. -EEXIST: the name is taken. */
int ctr_create(struct um_arena *a, struct um_json *config, bool durable, struct ctr **ret,
	       struct um_error *err);
/* Whether what was read is what ctr_create() was given: -EINVAL names the part that is not. */
int ctr_check_config(const struct um_json *config, struct um_error *err);
/* By name, id or the beginning of an id. -ENOENT: "No such container: ...". */
int ctr_find(const char *ref, struct ctr **ret, struct um_error *err);
/* All, the newest first. */
int ctr_load_all(ctr_vec *ret, struct um_error *err);
/* Waits for the lock and reads the state again. -ENOENT: it is gone meanwhile. */
int ctr_lock(struct ctr *c, struct um_error *err);
/* -EAGAIN: somebody has it. */
int ctr_try_lock(struct ctr *c, struct um_error *err);
void ctr_unlock(struct ctr *c);
int ctr_save_state(struct ctr *c, bool durable, struct um_error *err);
/* Its folder and name; the lock is held. */
int ctr_forget(struct ctr *c, struct um_error *err);
int ctr_rename(struct ctr *c, const char *name, struct um_error *err);
/* What a crash left of making and removing containers. */
int ctr_sweep_store(struct um_error *err);
const char *ctr_name(const struct ctr *c);

/* ---- live.c: what its shim says ---- */

enum ctr_live_state {
	CTR_LIVE_NOT,
	CTR_LIVE_STARTING,
	CTR_LIVE_RUNNING,
	CTR_LIVE_RESTARTING,
	CTR_LIVE_ENDED
};

struct ctr_live {
	enum ctr_live_state state;
	bool has_run_dir;
	int fd; /* connection to the shim, or -1 */
	pid_t shim, pid;
	int attempt;
	int64_t started_ns, finished_ns;
	int status;
	int ns_net, ns_ipc, ns_uts, ns_pid;
};

/* Never fails: a shim that does not answer is none. Close with ctr_live_close(). */
void ctr_live_open(const struct ctr *c, struct ctr_live *ret);
void ctr_live_close(struct ctr_live *l);
bool ctr_live_up(const struct ctr_live *l); /* starting, running or restarting */
int ctr_live_signal(const struct ctr_live *l, int number, bool stop);
/* Waits for its end: 0 and the wait status; -ETIMEDOUT; -EPIPE: the shim has gone. @timeout_ns < 0:
 * none. With @restarts an end before another start does not count. */
int ctr_live_wait(const struct ctr_live *l, int64_t timeout_ns, bool restarts, int *ret_status);
/* Wait status to exit code. */
int ctr_exit_code(int status);

/* ---- life.c ---- */

struct ctr_start {
	bool attach, attach_stdin; /* ret_attach is wanted */
	bool stream[2];		   /* stdout, stderr */
	bool hold;		   /* this process cleans up after the run */
	unsigned short rows, cols; /* of the terminal; 0: not known */
	int ret_attach, ret_shim;  /* connections, owned by the caller */
};

/* Starts it; the lock is held. On failure nothing is left, but of the container itself. */
int ctr_start(struct ctr *c, struct ctr_start *s, struct um_error *err);
/* After its end, or that of its shim: gives back what it had of the machine, notes how it ended,
 * and removes it where that was asked. The lock is held. -EBUSY: it runs. */
int ctr_cleanup(struct ctr *c, struct um_error *err);
/* Stops it: its signal, then KILL after @seconds (< 0: no end of patience). */
int ctr_stop(struct ctr *c, int seconds, struct um_error *err);
int ctr_remove(struct ctr *c, bool force, bool volumes, struct um_error *err);
/* Exit code of a start that failed: 125, 126 or 127 by the runtime's words. */
int ctr_start_exit_code(const char *message);
/* The root of the file system as the container sees it, O_PATH: of a running one through its first
 * process; else its layer is mounted, and *ret_mounted says so: ctr_root_close(). */
int ctr_root_open(struct ctr *c, bool *ret_mounted, struct um_error *err);
void ctr_root_close(struct ctr *c, int fd, bool mounted);

const char *ctr_network(const struct ctr *c); /* "bridge", "host", "none" */
/* Its state says that it runs; so it does after a crash, whatever became of it. */
bool ctr_noted_running(const struct ctr *c);

/* ---- heal.c ---- */

/* ctr_live_open(), behind whoever is about to clean up after it; closed already. False: it has been
 * removed by that. */
bool ctr_look(struct ctr *c, struct ctr_live *ret);
/* Puts right what crashes left. */
int ctr_heal(struct um_error *err);

/* ---- shim.c ---- */

/* Starts its shim, which makes the namespaces, and connects to it: *shim, to be closed by
 * ctr_live_close(). */
int ctr_start_shim(const struct ctr *c, struct ctr_live *shim, struct um_error *err);
/* Its shim, when there is one, which has nothing more to do. */
void ctr_end_shim(const struct ctr *c);

/* ---- pause.c ---- */

bool ctr_is_paused(const struct ctr *c);
/* Lets it run on if it is paused: what it was sent reaches it then. Its state is not saved. */
void ctr_thaw(struct ctr *c);

/* ---- oci.c, files.c, net.c: parts of a start ---- */

struct um_json *ctr_oci_config(struct um_arena *a, const struct ctr *c, const struct um_image *img,
			       const struct ctr_live *shim, const struct ctr_start *s,
			       struct um_error *err);
int ctr_write_files(const struct ctr *c, const char *address, struct um_error *err);
/* One more mount, into config.Mounts or HostConfig.Tmpfs: makes volumes, and the source of a bind
 * where that is wanted. */
struct ctr_mount;
int ctr_add_mount(struct um_arena *a, struct um_json *config, const struct ctr_mount *m,
		  struct um_error *err);
/* Those of the image where nothing else is mounted. */
int ctr_add_image_volumes(struct um_arena *a, struct um_json *config,
			  const struct um_json *image_config, struct um_error *err);
int ctr_copy_up(const struct ctr *c, const char *rootfs, struct um_error *err);
/* Those of the container of @config that have no name of their own. */
int ctr_remove_volumes(const struct um_json *config, struct um_error *err);
int ctr_net_up(struct ctr *c, const struct ctr_live *shim, char address[INET_ADDRSTRLEN],
	       struct um_error *err);
int ctr_net_down(struct ctr *c, struct um_error *err);
/* Rules that somebody flushed come back. */
int ctr_net_heal(struct um_error *err);

/* ---- terminal.c ---- */

struct ctr_relay {
	int fd;	      /* the shim's attached connection, or a terminal's master */
	bool packets; /* the former */
	bool in, tty;
	const char *detach_keys;
	int shim;  /* signals go there; -1: none */
	int child; /* a pidfd: its end is the relay's, where there are no packets */
	/* results */
	bool detached, ended;
	int status;
};

/* Copies until the container ends, the user detaches or the connection breaks (-EPIPE). The
 * terminal is put back on every way out. */
int ctr_relay(struct ctr_relay *r, struct um_error *err);
int ctr_check_detach_keys(const char *text, struct um_error *err);
void ctr_terminal_size(unsigned short *rows, unsigned short *cols);

/* ---- format.c ---- */

/* Go templates as far as {{.A.B}}, {{json .A}} and text between. -EINVAL on others. */
int ctr_format(struct um_buf *b, const char *template, const struct um_json *o,
	       struct um_error *err);
void ctr_ago(struct um_buf *b, int64_t ns); /* "5 minutes" */
void ctr_size(struct um_buf *b, uint64_t bytes, bool binary);
/* "512m", "1.5g": bytes. */
int ctr_parse_bytes(const char *text, int64_t *ret);
/* "10m", "1h30m", a time stamp or seconds since 1970, to wall clock nanoseconds. */
int ctr_parse_time(const char *text, int64_t *ret);
/* All that `inspect` says. */
struct um_json *ctr_inspect(struct um_arena *a, const struct ctr *c, const struct ctr_live *l);
/* What a line of `ps` says of that. */
struct um_json *ctr_ps_row(struct um_arena *a, const struct um_json *inspected);
/* The word for its state: created, running, restarting, exited. */
const char *ctr_status_word(const struct ctr *c, const struct ctr_live *l);

/* ---- verbs ---- */

/* Calls @fn for each argument: prints the argument where it succeeds (unless @quiet), the error
 * where it fails. The exit code. */
int ctr_each(int argc, char **argv, int (*fn)(struct ctr *c, struct um_error *err), bool quiet);
/* Attaches this process' streams to what was started; the exit code. Takes both descriptors over.
 */
int ctr_follow(struct ctr *c, struct ctr_start *s, const char *detach_keys, bool sig_proxy);

extern const struct ctr_verb ctr_verb_run, ctr_verb_create, ctr_verb_ps, ctr_verb_exec,
	ctr_verb_logs, ctr_verb_start, ctr_verb_stop, ctr_verb_restart, ctr_verb_kill, ctr_verb_rm,
	ctr_verb_inspect, ctr_verb_stats, ctr_verb_cp, ctr_verb_wait, ctr_verb_attach,
	ctr_verb_rename, ctr_verb_pause, ctr_verb_unpause, ctr_verb_top, ctr_verb_cleanup;

#endif
