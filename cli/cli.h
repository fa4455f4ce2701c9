/* The command line: one file for each verb, one row each in the table of cli/main.c. */
#ifndef UM_CLI_CLI_H
#define UM_CLI_CLI_H

#include <getopt.h>
#include <stdbool.h>

#include "base/error.h"

struct cli_verb {
	const char *name;
	const char *summary; /* one line for `umiak --help` */
	/* argv[0] is the verb. Returns the exit code. */
	int (*run)(int argc, char **argv);
};

extern const struct cli_verb cli_agent, cli_image, cli_server, cli_up, cli_down, cli_ctr, cli_run;

/* One option of a daemon: a long flag, and a key of the same name in the config file. */
struct cli_option {
	const char *name;
	const char *value_name; /* NULL: a switch; ends in "...": may be given again */
	const char *help;
	/* Where it goes; its content is the default. For one that may be given again: an array of
	 * CLI_LIST_MAX + 1, NULL behind the last. */
	const char **value;
};

#define CLI_LIST_MAX 32

/* Reads flags, and --config FILE (YAML whose keys are the long flags; an unknown key is an error;
 * flags win). Prints usage on --help. Returns -1 to go on, else the exit code to end with. Values
 * live as long as the process. */
int cli_parse(const char *verb, const struct cli_option *options, int argc, char **argv);
/* Likewise, and without --config the file <--root>@config is read if there is one. */
int cli_parse_node(const char *verb, const struct cli_option *options, const char *config, int argc,
		   char **argv);
/* The file alone: each key's value goes where the option says. @optional: one that is not there is
 * as good as an empty one. -EINVAL: an unknown key, or a value of another type. */
um_must_check int cli_read_config(const struct cli_option *options, const char *path, bool optional,
				  struct um_error *err);
/* Where --log-level and --log-format go, and what makes them so: 0, or -1 and a message. */
extern const char *cli_log_level, *cli_log_format;
int cli_start_log(const char *component);
/* What --cluster-dns means: "none" becomes NULL, NULL the tenth address of the service range.
 * -EINVAL: no address of the range. */
um_must_check int cli_cluster_dns(const char **address, const char *service_range,
				  struct um_error *err);
/* Of a daemon that `umiak up` has started: it ends when that does, however that ends. Else two of
 * it would be there once `umiak up` is started again. */
void cli_end_with_up(void);
#define CLI_UP_PID "UMIAK_UP_PID"
int cli_fail(const char *verb, const struct um_error *err);

#endif
