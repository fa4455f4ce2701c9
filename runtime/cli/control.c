/* start, kill, delete, pause, resume, checkpoint */
#include <regex.h>
#include <signal.h>
#include <string.h>

#include "base/num.h"
#include "runtime/cli/cli.h"

int um_cli_start(struct um_cli *cli, int argc, char **argv, struct um_error *err)
{
	const char *id;
	int r = um_cli_only_explain(argc, argv, UM_CLI_START_USAGE, err);

	if (r >= 0)
		r = um_cli_id(argc, argv, UM_CLI_START_USAGE, &id, err);
	return r < 0 ? r : um_runtime_start(&cli->rt, id, err);
}

int um_cli_kill(struct um_cli *cli, int argc, char **argv, struct um_error *err)
{
	static const struct option options[] = {
		{"all", no_argument, NULL, 'a'}, UM_CLI_EXPLAIN, {NULL, 0, NULL, 0}};
	const char *usage = UM_CLI_KILL_USAGE;
	int c, r, sig = SIGTERM;
	bool all = false;

	optind = 0;
	while ((c = getopt_long(argc, argv, "a", options, NULL)) != -1) {
		if (c == UM_CLI_OPT_EXPLAIN) {
			r = um_cli_explain(optarg, err);
			if (r < 0)
				return r;
			continue;
		}
		if (c != 'a')
			return um_cli_bad_option(err, argv, usage);
		all = true;
	}
	if (argc - optind != 1 && argc - optind != 2)
		return um_cli_usage(err, usage);
	if (argc - optind == 2 && um_num_signal(argv[optind + 1], &sig) < 0)
		return um_error_set(err, -EINVAL, "unknown signal \"%.40s\"", argv[optind + 1]);
	return um_runtime_kill(&cli->rt, argv[optind], sig, all, err);
}

/* Every container whose id @regex matches somewhere. Goes on after a failure, and tells the first.
 */
static int delete_matching(struct um_cli *cli, const char *regex, bool force, struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(64u << 20);
	struct um_runtime_state *all = NULL;
	size_t n = 0;
	regex_t re;
	int r;

	if (!a)
		return -ENOMEM;
	if (regcomp(&re, regex, REG_EXTENDED | REG_NOSUB))
		return um_error_set(err, -EINVAL, "--regex: \"%.60s\" is not a regular expression",
				    regex);
	r = um_runtime_list(&cli->rt, a, &all, &n, err);
	for (size_t i = 0; i < n; i++) {
		struct um_error own = UM_ERROR_INIT;

		if (!regexec(&re, all[i].id, 0, NULL, 0) &&
		    um_runtime_delete(&cli->rt, all[i].id, force, &own) < 0 && r >= 0)
			r = um_error_move(err, &own);
	}
	regfree(&re);
	return r;
}

int um_cli_delete(struct um_cli *cli, int argc, char **argv, struct um_error *err)
{
	static const struct option options[] = {{"force", no_argument, NULL, 'f'},
						{"regex", required_argument, NULL, 'r'},
						UM_CLI_EXPLAIN,
						{NULL, 0, NULL, 0}};
	const char *usage = UM_CLI_DELETE_USAGE, *id, *regex = NULL;
	bool force = false;
	int c, r;

	optind = 0;
	while ((c = getopt_long(argc, argv, "f", options, NULL)) != -1) {
		if (c == UM_CLI_OPT_EXPLAIN) {
			r = um_cli_explain(optarg, err);
			if (r < 0)
				return r;
			continue;
		}
		if (c == 'r')
			regex = optarg;
		else if (c == 'f')
			force = true;
		else
			return um_cli_bad_option(err, argv, usage);
	}
	if (regex)
		return argc == optind ? delete_matching(cli, regex, force, err)
				      : um_cli_usage(err, usage);
	r = um_cli_id(argc, argv, usage, &id, err);
	return r < 0 ? r : um_runtime_delete(&cli->rt, id, force, err);
}

static int pause_or_resume(struct um_cli *cli, int argc, char **argv, bool freeze,
			   struct um_error *err)
{
	const char *usage = freeze ? UM_CLI_PAUSE_USAGE : UM_CLI_RESUME_USAGE, *id;
	int r = um_cli_only_explain(argc, argv, usage, err);

	if (r >= 0)
		r = um_cli_id(argc, argv, usage, &id, err);
	return r < 0 ? r : um_runtime_pause(&cli->rt, id, freeze, err);
}

int um_cli_pause(struct um_cli *cli, int argc, char **argv, struct um_error *err)
{
	return pause_or_resume(cli, argc, argv, true, err);
}

int um_cli_resume(struct um_cli *cli, int argc, char **argv, struct um_error *err)
{
	return pause_or_resume(cli, argc, argv, false, err);
}

/* Known, so that a caller is told what it cannot have instead of that it mistyped. */
static int refuse(const char *what, struct um_error *err)
{
	return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
				   "%s: saving and restoring the memory of processes is not "
				   "supported",
				   what);
}

int um_cli_checkpoint(struct um_cli *cli, int argc, char **argv, struct um_error *err)
{
	(void)cli;
	(void)argc;
	return refuse(argv[0], err);
}
