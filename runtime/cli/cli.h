/* umiak-oci: one file for each group of verbs, one table of all. */
#ifndef UM_RUNTIME_CLI_H
#define UM_RUNTIME_CLI_H

#include <getopt.h>

#include "runtime/runtime.h"

struct um_cli {
	struct um_runtime rt;
	const char *log_path;
	bool log_json, debug;
	bool no_warnings; /* --log-level error */
	bool root_given;
	char **argv; /* the whole command line */
};

struct um_cli_verb {
	const char *name, *usage, *what;
	/* argv[0] is the verb. Returns the exit status, or a negative errno with @err set. */
	int (*run)(struct um_cli *cli, int argc, char **argv, struct um_error *err);
	int failure_status; /* 0: as um_exit_code() says */
};

#define UM_CLI_VERB(fn) int fn(struct um_cli *cli, int argc, char **argv, struct um_error *err)
UM_CLI_VERB(um_cli_create);
UM_CLI_VERB(um_cli_run);
UM_CLI_VERB(um_cli_start);
UM_CLI_VERB(um_cli_state);
UM_CLI_VERB(um_cli_kill);
UM_CLI_VERB(um_cli_delete);
UM_CLI_VERB(um_cli_exec);
UM_CLI_VERB(um_cli_list);
UM_CLI_VERB(um_cli_ps);
UM_CLI_VERB(um_cli_pause);
UM_CLI_VERB(um_cli_resume);
UM_CLI_VERB(um_cli_update);
UM_CLI_VERB(um_cli_events);
UM_CLI_VERB(um_cli_checkpoint);
UM_CLI_VERB(um_cli_spec);
UM_CLI_VERB(um_cli_features);

/* What each verb takes: for messages, --help, and from there the man page and completions. */
#define UM_CLI_MAKE_OPTIONS                                                                        \
	"[--bundle DIR] [--config FILE] [--console-socket PATH] [--pid-file FILE] "                \
	"[--pidfd-socket PATH] [--preserve-fds N] [--no-pivot] [--no-new-keyring] [--as-sibling] " \
	"[--explain] "
#define UM_CLI_CREATE_USAGE "create " UM_CLI_MAKE_OPTIONS "ID"
#define UM_CLI_RUN_USAGE "run " UM_CLI_MAKE_OPTIONS "[--detach] [--keep] [--no-subreaper] ID"
#define UM_CLI_EXEC_USAGE                                                                          \
	"exec [--process FILE] [--detach] [--tty] [--console-socket PATH] [--pid-file FILE] "      \
	"[--pidfd-socket PATH] [--cgroup PATH] [--process-label LABEL] [--apparmor PROFILE] "      \
	"[--ignore-paused] [--cwd DIR] [--env NAME=VALUE] [--user UID[:GID]] [--additional-gids "  \
	"GID] [--cap CAP] "                                                                        \
	"[--preserve-fds N] [--no-new-privs] [--explain] ID [COMMAND...]"
#define UM_CLI_KILL_USAGE "kill [--all] [--explain] ID [SIGNAL]"
#define UM_CLI_DELETE_USAGE "delete [--force] [--explain] ID|--regex REGEX"
#define UM_CLI_START_USAGE "start [--explain] ID"
#define UM_CLI_PAUSE_USAGE "pause [--explain] ID"
#define UM_CLI_RESUME_USAGE "resume [--explain] ID"
#define UM_CLI_UPDATE_USAGE                                                                        \
	"update [--resources FILE|-] [--memory BYTES] [--memory-reservation BYTES] "               \
	"[--memory-swap BYTES] [--cpu-period USEC] [--cpu-quota USEC] [--cpu-burst USEC] "         \
	"[--cpu-share N] [--cpu-shares N] [--cpu-idle N] [--cpu-rt-period USEC] "                  \
	"[--cpu-rt-runtime USEC] [--cpuset-cpus LIST] [--cpuset-mems LIST] [--blkio-weight N] "    \
	"[--pids-limit N] ID"
#define UM_CLI_EVENTS_USAGE "events [--stats] [--interval DURATION] ID"
#define UM_CLI_LIST_USAGE "list [--format table|json] [--quiet]"
#define UM_CLI_PS_USAGE "ps [--format table|json] ID [PS-OPTIONS...]"
#define UM_CLI_SPEC_USAGE "spec [--bundle DIR] [--rootless]"

/* -EINVAL with a message that shows the usage. */
int um_cli_usage(struct um_error *err, const char *usage);
/* For what getopt_long(3) did not take ('?'): the same, and names the option. */
int um_cli_bad_option(struct um_error *err, char **argv, const char *usage);
/* Checks that exactly one argument, the id, follows the options. */
um_must_check int um_cli_id(int argc, char **argv, const char *usage, const char **ret,
			    struct um_error *err);
/* Prints @o, indented. */
um_must_check int um_cli_print_json(const struct um_arena *a, const struct um_json *o);
/* "--preserve-fds N" */
um_must_check int um_cli_fds(const char *text, unsigned *ret, struct um_error *err);
/* For verbs that run code inside a container, before they do: see um_runtime_seal_self(). */
um_must_check int um_cli_seal(const struct um_cli *cli, struct um_error *err);
/* --explain, its value in @how (NULL: text): begins at once. */
um_must_check int um_cli_explain(const char *how, struct um_error *err);
#define UM_CLI_OPT_EXPLAIN 1000
#define UM_CLI_EXPLAIN                                                                             \
	{                                                                                          \
		"explain", optional_argument, NULL, UM_CLI_OPT_EXPLAIN                             \
	}
/* For verbs without options: refuses any. */
um_must_check int um_cli_no_options(int argc, char **argv, const char *usage, struct um_error *err);
/* For verbs whose only option is --explain. */
um_must_check int um_cli_only_explain(int argc, char **argv, const char *usage,
				      struct um_error *err);

#endif
