/* What the agent's files share. */
#ifndef UM_AGENT_INTERNAL_H
#define UM_AGENT_INTERNAL_H

#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "agent/agent.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "cgroups/cgroups.h"
#include "netns/foreign.h"
#include "netns/netns.h"
#include "runtime/shim/proto.h"

struct um_timer;
struct um_child;
struct agent_pod;
struct agent_ctr;
struct agent_shim;
struct agent_probe;
struct agent_links;
struct agent_refresh;

/* ---- pods ---- */

enum pod_state {
	POD_NEW,      /* nothing is made */
	POD_SANDBOX,  /* folders, cgroup, shim and network are being made */
	POD_VOLUMES,  /* configmaps and secrets are fetched, volumes made */
	POD_RUN,      /* init containers, then the others */
	POD_STOPPING, /* containers are told to end */
	POD_CLEANUP,  /* what was made is being removed */
	POD_DONE,     /* nothing is left but the logs and what is known about the end */
	POD_N_STATES
};

enum ctr_state {
	CTR_WAITING,  /* not started yet; reason says why */
	CTR_STARTING, /* a start is under way */
	CTR_RUNNING,
	CTR_EXITED,   /* ended; its remains are being removed */
	CTR_BACKOFF,  /* ended and cleaned; waits for its next start */
	CTR_FINISHED, /* ended for good */
};

/* One end of a container. */
struct ctr_end {
	bool known;
	int exit_code, signal;
	bool oom;
	int64_t started_ns, finished_ns; /* wall clock */
	char id[160];
	char reason[32]; /* Completed, Error, OOMKilled, ContainerCannotRun, ... */
	char *message;	 /* the termination message; owned, may be NULL */
};

struct agent_ctr {
	struct agent_pod *pod;
	const struct um_json *spec; /* in the pod's document */
	const char *name;
	bool init;
	enum ctr_state state;
	int attempt;	     /* = restart count */
	long long start_seq; /* of the request to the shim that is under way */
	pid_t pid;
	char id[160];
	int64_t started_ns;
	bool ready, started;  /* as the probes see it */
	bool killed;	      /* by us: a failed probe, a changed image */
	struct ctr_end last;  /* the newest end */
	struct ctr_end prior; /* the end before the current run: lastState */
	char reason[40];      /* why it waits: ErrImagePull, CrashLoopBackOff, ... */
	char message[1024];
	char image[512], image_id[80];
	int stop_signal;       /* the image's; 0: SIGTERM */
	int64_t backoff_ns;    /* the next delay; 0: none yet */
	int64_t wait_until_ns; /* of the back-off under way, wall clock */
	int image_failures;
	struct um_timer *timer;	       /* back-off, and the kill after a grace */
	struct agent_probe *probes[3]; /* startup, liveness, readiness; NULL where there is none */
	struct agent_probe *post_start, *pre_stop;		/* hooks, likewise */
	enum { HOOK_NOT_YET, HOOK_RUNS, HOOK_OVER } stop_stage; /* of preStop */
};

struct agent_job {
	struct agent_pod *pod;
	struct agent_ctr *ctr; /* NULL for the pod's own steps */
	void (*work)(struct agent_job *j);
	void (*done)(struct agent_job *j);
	int result;
	struct um_error err;
	/* what a step brings back */
	pid_t shim_pid;
	int ns_net, ns_ipc, ns_uts, ns_pid;
	struct um_net_pod net;
	char image[512], image_id[80];
	int stop_signal;
	const char *fail_reason; /* a waiting reason: ErrImageNeverPull, ... */
	bool oom;
	char *message;
};

struct agent_pod {
	struct um_agent *agent;
	UT_hash_handle hh; /* by uid */
	char uid[64];
	char *ns, *name; /* owned */
	struct um_arena *arena;
	struct um_json *obj; /* the pod as its source has it; in arena */
	struct um_arena *next_arena;
	struct um_json *next_obj; /* a newer form that waits for the job under way */
	bool is_static;
	bool known; /* the source has named it since the agent started */
	enum pod_state state;
	bool ending;	      /* must go: deleted or no longer known */
	bool removed;	      /* its object is gone already: nobody wants to hear */
	bool failed_for_good; /* deadline, refused: phase Failed */
	bool rebuild;	      /* the sandbox was lost: clean up and begin again */
	bool dead;	      /* freed as soon as its deferred call has come */
	char reason[40], message[1024];
	int64_t grace_ns;
	bool withdrawn, term_sent;
	unsigned kills; /* of the whole group, since it was to stop */
	int64_t started_wall_ns;
	struct agent_job *job; /* the step under way */
	struct agent_shim *shim;
	struct um_child *shim_child; /* when this agent started it: to reap it */
	pid_t shim_pid;
	int ns_net, ns_ipc, ns_uts, ns_pid;
	char ip[INET_ADDRSTRLEN];
	struct um_arena *refs_arena;
	struct um_json *refs; /* what its object names (refs.h): key -> object */
	struct um_arena *old_arena;
	const struct um_json *old_refs; /* of before the round of questions under way */
	struct um_arena *news_arena;
	struct um_json *news; /* has come since */
	unsigned refs_wanted;
	unsigned refs_round; /* answers to earlier rounds are dropped */
	bool refs_failed;
	int64_t silent_ns;  /* since when the server does not answer; 0: it does */
	bool refs_waived;   /* it starts without a part of them */
	bool saved;	    /* an earlier agent had it */
	bool volumes_stale; /* to be written anew */
	int64_t volumes_retry_ns, tokens_retry_ns; /* monotonic; 0: not after a failure */
	unsigned tokens_asked;			   /* answers that are awaited */
	struct um_arena *links_arena;
	struct um_json *links; /* variables of Services (links.h) for the next container */
	bool links_waited;
	struct agent_ctr *ctrs; /* init containers first */
	size_t n_ctrs, n_init;
	struct um_timer *timer;	   /* retries, the kill after the grace */
	struct um_timer *deadline; /* activeDeadlineSeconds */
	int64_t retry_ns;
	bool status_dirty, advance_deferred;
	char *last_status; /* the text last told to the source */
};

struct um_agent {
	struct um_loop *loop;
	struct um_agent_options opt;
	struct um_agent_source src;
	struct agent_pod *pods; /* by uid */
	struct um_images *images;
	struct um_net *net; /* NULL: no pod network */
	struct um_services *services;
	struct agent_proxy *proxy; /* NULL: no Services here */
	struct agent_dns *dns;	   /* NULL: no cluster DNS */
	struct agent_links *links; /* NULL: no Services here */
	struct agent_refresh *refresh;
	LIST_HEAD(, refs_want) ca_wants; /* refs.c: under way */
	struct um_timer *net_check;
	struct um_error net_err; /* of the check under way */
	bool net_healed, net_checking;
	struct um_foreign foreign; /* of that check */
	char net_report[400];	   /* who drops pods' packets; "" nobody */
	struct um_cgroups *cgroups;
	struct um_cgroup *shims; /* the shims' group, prepared for joining */
	struct um_timer *log_gc;
	struct agent_static *statics;
	struct um_tls *probe_tls; /* made by the first HTTPS probe */
	char *oci_path, *shim_path, *oci_root;
	bool can_lower_oom, synced, closing;
};

/* ---- qos.c ---- */

const char *pod_qos(const struct um_json *pod);

/* ---- pod.c: the state machine ---- */

/* Looks at the pod and takes the next step, soon. Call it whenever something has changed. */
void pod_kick(struct agent_pod *p);
void pod_dirty(struct agent_pod *p); /* its status has changed */
void pod_set_state(struct agent_pod *p, enum pod_state to);
/* Runs a step on a worker; there is none under way. */
void pod_run_job(struct agent_pod *p, struct agent_ctr *c, void (*work)(struct agent_job *j),
		 void (*done)(struct agent_job *j));
struct agent_pod *pod_new(struct um_agent *a, const struct um_json *obj, struct um_error *err);
void pod_free(struct agent_pod *p);
void pod_end(struct agent_pod *p, int64_t grace_ns);
/* The shim has gone without being told to, or might as well have. @how: "has ended", ... */
void pod_shim_lost(struct agent_pod *p, const char *how);
/* Takes the newest form of its object. */
void pod_update(struct agent_pod *p, struct um_arena *arena, struct um_json *obj);
struct agent_ctr *pod_find_ctr(struct agent_pod *p, const char *name);
/* It will not run any more; reason and message say why. Its containers are ended. */
void pod_fail(struct agent_pod *p);
/* activeDeadlineSeconds, counted from the pod's start. */
void pod_arm_deadline(struct agent_pod *p);
void pod_event(struct agent_pod *p, const char *type, const char *reason, const char *fmt, ...)
	um_printf(4, 5);
bool pod_host_network(const struct agent_pod *p);

/* ---- ctr.c: containers within it ---- */

void ctr_init(struct agent_ctr *c, struct agent_pod *p, const struct um_json *spec, bool init);
void ctr_release(struct agent_ctr *c);
/* Starts, restarts or cleans up containers as the pod's policy says. True when a job was begun. */
bool ctrs_advance(struct agent_pod *p);
bool ctrs_any_alive(const struct agent_pod *p);
bool ctrs_all_finished(const struct agent_pod *p);
/* What the shim says. */
void ctr_on_shim(struct agent_pod *p, const struct um_shim_msg *m);
/* Asks it to end: first by its preStop hook, then with its image's StopSignal. */
void ctr_tell_end(struct agent_ctr *c);
/* Ends the preStop hooks that still run and asks at once. False: there were none. */
bool ctrs_cut_hooks(struct agent_pod *p);
/* Ends it, to be started again as the pod's policy says. @grace: seconds; negative: the pod's. */
void ctr_kill(struct agent_ctr *c, int64_t grace, const char *why);
/* Waits with its next start, in CrashLoopBackOff. */
void ctr_back_off(struct agent_ctr *c, int64_t delay_ns);
/* The shim is gone without being told to: every container that ran has ended. @unknown: it had not
 * yet told which these are. */
void ctrs_lost(struct agent_pod *p, bool unknown);

/* ---- sandbox.c, volumes.c, bundle.c: steps, on a worker ---- */

int open_shims_group(struct um_agent *a, struct um_error *err);
void sandbox_work(struct agent_job *j);
void cleanup_work(struct agent_job *j);
void volumes_work(struct agent_job *j);
void volumes_refresh_work(struct agent_job *j);
void bundle_work(struct agent_job *j);
void retire_work(struct agent_job *j);
/* What the container that has ended says of it (terminationMessagePolicy); free() it. NULL:
 * nothing. Blocks. */
#define TERMINATION_MESSAGE_MAX 4096
char *termination_message(const struct agent_job *j);
/* Where it keeps what it has learned, until that is saved with the pod. */
int retire_note_path(const struct agent_ctr *c, char *buf, size_t size);
/* Unmounts and removes "<container>.<attempt>" of the pod's folder and its snapshot. */
int remove_bundle(const struct agent_pod *p, const char *bundle, struct um_error *err);
/* Runs a program and waits. 0, or its wait status > 0, or a negative errno. */
int run_program(char *const argv[]);
int pod_run_path(const struct agent_pod *p, char *buf, size_t size, const char *fmt, ...)
	um_printf(4, 5);
int pod_state_path(const struct agent_pod *p, char *buf, size_t size, const char *fmt, ...)
	um_printf(4, 5);
int pod_log_path(const struct agent_pod *p, char *buf, size_t size, const char *fmt, ...)
	um_printf(4, 5);
int pod_cgroup_path(const struct agent_pod *p, char *buf, size_t size);
int volume_path(const struct agent_pod *p, const char *volume, const struct um_json *source,
		char *buf, size_t size);
/* The bundle's config.json: pure. */
struct um_json *oci_config(struct um_arena *a, const struct agent_ctr *c,
			   const struct um_json *image_config, const char *rootfs_path,
			   struct um_error *err);
/* The container's environment as an array of "K=V": pure. */
struct um_json *ctr_environment(struct um_arena *a, const struct agent_ctr *c,
				const struct um_json *image_config, struct um_error *err);
/* Kubernetes' $(VAR) expansion over an array of "K=V". NULL: no memory. */
const char *expand_vars(struct um_arena *a, const char *text, const struct um_json *env);
/* The first variable that @text names and @env has not; NULL: there is none. */
const char *missing_var(struct um_arena *a, const char *text, const struct um_json *env);
/* uid, gid and groups for runAsUser or the image's "user:group", by the rootfs' own passwd. */
struct ctr_user {
	uint32_t uid, gid;
	uint32_t groups[32]; /* its own first */
	size_t n_groups;
};
int resolve_user(const struct um_json *pod, const struct um_json *spec,
		 const struct um_json *image_config, const char *rootfs, struct ctr_user *ret,
		 struct um_error *err);
/* A number, or a name of the rootfs' own /etc/group. */
int resolve_group(const char *text, const char *rootfs, uint32_t *ret, struct um_error *err);

/* Writes the pod's resolv.conf. False: something is over Kubernetes' bounds and is left out. Reads
 * the host's file. */
bool pod_resolv(const struct agent_pod *p, struct um_buf *b);

/* ---- refs.c: see refs.h ---- */

/* NULL: there is none. */
const struct um_json *refs_get(const struct agent_pod *p, const char *plural, const char *name);

/* ---- shim.c: the agent's end of the protocol ---- */

struct agent_shim *shim_connect(struct agent_pod *p, const char *path);
void shim_free(struct agent_shim *s);
int shim_hello(struct agent_shim *s);
/* Whether hello is answered: before that, what runs in the pod is not known. */
bool shim_synced(const struct agent_shim *s);
int shim_start(struct agent_shim *s, struct agent_ctr *c, const char *bundle, const char *log);
int shim_signal(struct agent_shim *s, const char *name, int number);
int shim_forget(struct agent_shim *s, const char *name);
int shim_quit(struct agent_shim *s);

/* ---- probe.c ---- */

enum probe_kind {
	PROBE_STARTUP,
	PROBE_LIVENESS,
	PROBE_READINESS,
	HOOK_POST_START, /* hooks are probes that are tried once */
	HOOK_PRE_STOP,
};
struct agent_probe *probe_new(struct agent_ctr *c, enum probe_kind kind,
			      const struct um_json *spec);
void probe_start(struct agent_probe *p);
void probe_stop(struct agent_probe *p);
void probe_free(struct agent_probe *p);
/* A hook is over. */
void ctr_hook_result(struct agent_ctr *c, enum probe_kind kind, bool ok, const char *why);
/* A probe's verdict has changed or failed for good. */
void ctr_probe_result(struct agent_ctr *c, enum probe_kind kind, bool ok, const char *why);

/* ---- status.c ---- */

struct um_json *pod_status(const struct agent_pod *p, struct um_arena *a);
const char *pod_phase(const struct agent_pod *p);
/* A container's or the kernel's bytes as a string: what is no UTF-8 becomes '?'. */
void status_set_text(struct um_arena *a, struct um_json *o, const char *key, const char *text);
bool pod_ready(const struct agent_pod *p);

/* ---- static.c: the folder of static manifests ---- */

int static_open(struct um_agent *a, struct agent_static **ret, struct um_error *err);
void static_free(struct agent_static *s);

/* ---- log_gc.c ---- */

#define LOG_MARK ".umiak"
void log_gc_look(void *agent);		     /* removes the logs of pods that have long been gone */
void log_gc_note(const struct agent_pod *p); /* marks the pod's log folder as ours, at this time */

/* ---- adopt.c: what an earlier run of the agent left ---- */

/* The pod's address and shim, and what its volumes and environment were made of: in the run folder,
 * for an agent that adopts it. */
int adopt_note_sandbox(const struct agent_pod *p, const char *ip, pid_t shim, struct um_error *err);
/* The shim that was noted, or 0. Its number may be another process' by now. */
pid_t adopt_noted_shim(const struct agent_pod *p);
int adopt_save_refs(const struct agent_pod *p, struct um_error *err);
int adopt_save(const struct agent_pod *p, struct um_error *err);
/* The same, when something of it has changed that an agent which adopts it must know: an end, an
 * attempt, a deadline. Never because of time alone. A failure is logged. */
void adopt_save_again(const struct agent_pod *p);
void adopt_forget(const struct agent_pod *p);
int adopt_all(struct um_agent *a, struct um_error *err);

#endif
