/* create, run */
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/num.h"
#include "runtime/cli/cli.h"

enum {
	OPT_CONFIG = 256,
	OPT_CONSOLE,
	OPT_PID,
	OPT_PIDFD,
	OPT_FDS,
	OPT_NO_PIVOT,
	OPT_NO_KEYRING,
	OPT_NO_SUBREAPER,
	OPT_KEEP,
	OPT_SIBLING
};

static const struct option options[] = {
	{"bundle", required_argument, NULL, 'b'},
	{"config", required_argument, NULL, OPT_CONFIG},
	{"console-socket", required_argument, NULL, OPT_CONSOLE},
	{"pid-file", required_argument, NULL, OPT_PID},
	{"pidfd-socket", required_argument, NULL, OPT_PIDFD},
	{"preserve-fds", required_argument, NULL, OPT_FDS},
	{"no-pivot", no_argument, NULL, OPT_NO_PIVOT},
	{"no-new-keyring", no_argument, NULL, OPT_NO_KEYRING},
	{"no-subreaper", no_argument, NULL, OPT_NO_SUBREAPER},
	{"as-sibling", no_argument, NULL, OPT_SIBLING},
	{"detach", no_argument, NULL, 'd'},
	{"keep", no_argument, NULL, OPT_KEEP},
	UM_CLI_EXPLAIN,
	{NULL, 0, NULL, 0},
};

static int one_option(int c, bool run, struct um_runtime_create *o, const char *usage,
		      struct um_error *err)
{
	switch (c) {
	case 'b':
		o->bundle = optarg;
		return 0;
	case 'f':
	case OPT_CONFIG:
		o->config = optarg;
		return 0;
	case OPT_CONSOLE:
		o->console_socket = optarg;
		return 0;
	case OPT_PID:
		o->pid_file = optarg;
		return 0;
	case OPT_PIDFD:
		o->pidfd_socket = optarg;
		return 0;
	case OPT_FDS:
		return um_cli_fds(optarg, &o->preserve_fds, err);
	case OPT_NO_PIVOT:
		o->no_pivot = true;
		return 0;
	case OPT_NO_KEYRING:
		o->no_new_keyring = true;
		return 0;
	case OPT_NO_SUBREAPER:
		o->no_subreaper = true;
		return 0;
	case OPT_SIBLING:
		o->as_sibling = true;
		return 0;
	case 'd':
		o->detach = true;
		return run ? 0 : um_cli_usage(err, usage);
	case OPT_KEEP:
		o->keep = true;
		return run ? 0 : um_cli_usage(err, usage);
	case UM_CLI_OPT_EXPLAIN:
		return um_cli_explain(optarg, err);
	default:
		return um_cli_usage(err, usage);
	}
}

/* sd_listen_fds(3): descriptors that a service manager, or an engine that it started, has for us
 * are the container's. */
static int take_listen_fds(struct um_runtime_create *o, struct um_error *err)
{
	const char *fds = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
	uint64_t n;

	if (!fds || !pid || um_num_u64(pid, INT_MAX, &n) < 0 || n != (uint64_t)getpid())
		return 0; /* not for us */
	if (um_num_u64(fds, 65536, &n) < 0)
		return um_error_set(err, -EINVAL, "LISTEN_FDS: \"%.40s\" is not a number", fds);
	o->listen_fds = (unsigned)n;
	o->preserve_fds += (unsigned)n;
	return 0;
}

static int parse(int argc, char **argv, bool run, struct um_runtime_create *o, const char *usage,
		 struct um_error *err)
{
	int c, r = 0;

	optind = 0;
	while (r == 0 && (c = getopt_long(argc, argv, "+b:f:d", options, NULL)) != -1)
		r = c == '?' ? um_cli_bad_option(err, argv, usage)
			     : one_option(c, run, o, usage, err);
	if (r >= 0)
		r = take_listen_fds(o, err);
	return r < 0 ? r : um_cli_id(argc, argv, usage, &o->id, err);
}

int um_cli_create(struct um_cli *cli, int argc, char **argv, struct um_error *err)
{
	struct um_runtime_create o = {0};
	int r = parse(argc, argv, false, &o, UM_CLI_CREATE_USAGE, err);

	if (r >= 0)
		r = um_cli_seal(cli, err);
	return r < 0 ? r : um_runtime_create(&cli->rt, &o, err);
}

int um_cli_run(struct um_cli *cli, int argc, char **argv, struct um_error *err)
{
	struct um_runtime_create o = {0};
	int r = parse(argc, argv, true, &o, UM_CLI_RUN_USAGE, err);

	if (r >= 0)
		r = um_cli_seal(cli, err);
	return r < 0 ? r : um_runtime_run(&cli->rt, &o, err);
}
