/* umiak-shim's own parts. One process for each pod, libc only, static memory: what is dirtied here
 * is paid once a pod. */
#ifndef UM_SHIM_SHIM_H
#define UM_SHIM_SHIM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "runtime/shim/proto.h"

#define SHIM_CONTAINERS_MAX 64
#define SHIM_CLIENTS_MAX 16
#define SHIM_NAME_MAX 64

struct shim_options {
	const char *dir;      /* the pod's folder under /run */
	const char *uid;      /* the pod's */
	const char *oci;      /* path of umiak-oci */
	const char *oci_root; /* its --root */
	const char *hostname; /* for the UTS namespace; NULL: the host's namespace */
	bool new_net, new_ipc, new_pid;
	int64_t log_max_bytes;
	int log_max_files;
	char *const *end_argv; /* executed instead of ending, once all have ended; NULL */
	int ready_fd; /* gets "ready ...\n" or "error: ...\n", then is closed; -1: nobody waits */
};

extern struct shim_options shim_opt;

/* ---- ns.c: the pod's namespaces ---- */

struct shim_namespaces {
	int net, ipc, uts, pid; /* descriptors; -1: the host's */
	pid_t init;		/* of the shared PID namespace, or 0 */
};
/* Makes what the options ask for. NULL or what failed (errno is set). */
const char *shim_ns_make(struct shim_namespaces *ns);

/* ---- log.c: CRI log files ---- */

struct shim_stream {
	int fd;	    /* read end; -1 when closed */
	char *hold; /* a line that has not ended, in a mapping of its own; NULL mostly */
	size_t held;
	const char *name; /* "stdout" or "stderr" */
};

struct shim_log {
	char path[512];
	int fd; /* -1 while it cannot be opened */
	int64_t size;
	uint64_t dropped; /* lines since the disk filled up */
};

void shim_log_open(struct shim_log *log, const char *path);
void shim_log_close(struct shim_log *log);
/* Reads what there is, gives it to who is attached to container @name and writes it as CRI lines.
 * Closes the stream at its end. Whether there was something. */
bool shim_log_pump(struct shim_log *log, struct shim_stream *s, const char *name);
void shim_stream_close(struct shim_log *log, struct shim_stream *s);

/* ---- ctr.c: containers ---- */

enum shim_state {
	SHIM_FREE,
	SHIM_STARTING,
	SHIM_RUNNING,
	SHIM_EXITED,
	SHIM_WAITING,	/* ended; is started again at restart_ns */
	SHIM_RESETTING, /* what is left of the earlier run is being removed */
};

enum shim_restart { SHIM_RESTART_NO, SHIM_RESTART_ALWAYS, SHIM_RESTART_ON_FAILURE };

struct shim_ctr {
	enum shim_state state;
	char name[SHIM_NAME_MAX]; /* of the container in the pod */
	char id[160];		  /* as umiak-oci knows it */
	int attempt;
	pid_t helper, pid; /* umiak-oci while it starts; the container's first process */
	int pidfd;
	int64_t started_ns, finished_ns;
	int status;
	int stdin_fd;	  /* our end of a stdin that is kept open; -1 */
	int console_sock; /* waits for the terminal's master; -1 */
	struct shim_log log;
	struct shim_stream out[2];
	bool tty, keep_stdin;
	bool told_end; /* who is attached knows of the exit */
	char bundle[512];
	enum shim_restart restart;
	int retries;	       /* most restarts after failures; 0: without end */
	bool stopping;	       /* somebody ended it: it is not started again */
	int64_t restart_ns;    /* monotonic */
	int64_t back_off_ns;   /* before the next start */
	int64_t mono_start_ns; /* of the run */
	long long start_seq;   /* the request that waits for the answer */
	int start_client;
};

extern struct shim_ctr shim_ctrs[SHIM_CONTAINERS_MAX];

struct shim_ctr *shim_ctr_find(const char *name);
/* Begins a start; the answer comes later. NULL or why it cannot begin. */
const char *shim_ctr_start(const struct um_shim_msg *m, int client, long long seq);
/* 0 or -errno. */
int shim_ctr_signal(struct shim_ctr *c, int number);
void shim_ctr_forget(struct shim_ctr *c);
/* SIGCHLD: looks at every child that matters. */
void shim_ctr_reap(void);
/* The terminal's master has arrived (or not). */
void shim_ctr_console(struct shim_ctr *c);
bool shim_ctr_any_alive(void);
bool shim_ctr_any(void);
/* Starts what waits for that; milliseconds until the next is due, -1: none. */
int shim_ctr_timers(void);
/* Exited, and its output has been read to the end: those attached are told. */
void shim_ctr_tell_ends(void);
/* It will not be started again. */
void shim_ctr_no_restart(struct shim_ctr *c);
/* Answers that this connection waits for go nowhere. */
void shim_ctr_client_gone(int client);
void shim_ctr_describe(const struct shim_ctr *c, struct um_shim_msg *m);

/* ---- halt.c: the machine goes down ---- */

struct signalfd_siginfo;
/* SIGTERM of process 1: nothing is started again, and what has not ended in 10 seconds is killed.
 */
void shim_halt_on_signal(const struct signalfd_siginfo *si);
/* Kills what is due; milliseconds until it wants to look again, or next_ms when that is sooner. */
int shim_halt_timer(int next_ms);
bool shim_halted(void);

/* ---- attach.c ---- */

#define SHIM_ATTACH_MAX 8

/* A free one has never been written to: its page costs nothing. The same with containers. */
struct shim_attach {
	bool used;
	int fd;
	char name[SHIM_NAME_MAX];
	bool in, out[2];
	bool once;	/* when it goes, the input ends */
	bool blocked;	/* has not read what was sent */
	bool end_input; /* behind what is pending */
	bool gone;	/* only what is pending keeps it */
	size_t pending, pending_at;
	char data[UM_SHIM_INPUT_MAX + 2];
};

struct shim_attach_poll {
	int fd;
	short events;
	int input_fd; /* to be written to; -1 */
};

extern struct shim_attach shim_attaches[SHIM_ATTACH_MAX];

/* Takes the connection over. NULL or why not. */
const char *shim_attach_add(int fd, const struct um_shim_msg *m);
bool shim_attach_any(const char *name); /* NULL: to any container */
bool shim_attach_blocks(const char *name);
/* packet[0] is free for the kind; the text follows. */
void shim_attach_out(const char *name, int stream, char *packet, size_t len);
void shim_attach_end(const char *name, int status);
void shim_attach_poll(int index, struct shim_attach_poll *ret);
void shim_attach_flush(int index);
void shim_attach_read(int index, short revents);

/* ---- main.c ---- */

void shim_send(int client, const struct um_shim_msg *m); /* drops a client that does not read */
void shim_broadcast(const struct um_shim_msg *m);
void shim_answer_error(int client, long long seq, int code, const char *message);
int64_t shim_wall_ns(void);
int64_t shim_mono_ns(void);

#endif
