#include "runtime/cli/cli.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/json.h"
#include "base/num.h"
#include "runtime/explain.h"
#include "runtime/spec.h"
#include "runtime/sys.h"
#include "runtime/systemd.h"

#define DEFAULT_ROOT UM_RUNSTATEDIR "/umiak-oci"

static const struct um_cli_verb verbs[] = {
	{"checkpoint", "checkpoint ID", "refused: not supported", um_cli_checkpoint, 0},
	{"create", UM_CLI_CREATE_USAGE, "make a container and wait for start", um_cli_create, 0},
	{"delete", UM_CLI_DELETE_USAGE, "remove a stopped container", um_cli_delete, 0},
	{"events", UM_CLI_EVENTS_USAGE, "tell of use and of OOM kills, as JSON lines",
	 um_cli_events, 0},
	{"exec", UM_CLI_EXEC_USAGE, "run a process in a container", um_cli_exec, 255},
	{"features", "features", "what this runtime supports, as JSON", um_cli_features, 0},
	{"kill", UM_CLI_KILL_USAGE, "send a signal to a container", um_cli_kill, 0},
	{"list", UM_CLI_LIST_USAGE, "list containers", um_cli_list, 0},
	{"pause", UM_CLI_PAUSE_USAGE, "freeze a container", um_cli_pause, 0},
	{"ps", UM_CLI_PS_USAGE, "list the processes of a container", um_cli_ps, 0},
	{"restore", "restore ID", "refused: not supported", um_cli_checkpoint, 0},
	{"resume", UM_CLI_RESUME_USAGE, "thaw a container", um_cli_resume, 0},
	{"run", UM_CLI_RUN_USAGE, "create and start a container", um_cli_run, 0},
	{"spec", UM_CLI_SPEC_USAGE, "write an example config.json", um_cli_spec, 0},
	{"start", UM_CLI_START_USAGE, "start a created container", um_cli_start, 0},
	{"state", "state ID", "print the state of a container as JSON", um_cli_state, 0},
	{"update", UM_CLI_UPDATE_USAGE, "change the limits of a container", um_cli_update, 0},
};

static void help(FILE *to)
{
	fputs("usage: umiak-oci [global options] COMMAND [options] [arguments]\n\ncommands:\n", to);
	for (size_t i = 0; i < UM_ARRAY_LEN(verbs); i++)
		fprintf(to, "  %-12s %s\n", verbs[i].name, verbs[i].what);
	fputs("\nglobal options:\n"
	      "  --root DIR                           state folder [" DEFAULT_ROOT "]\n"
	      "  --log FILE                           write errors there too, all else only there\n"
	      "  --log-format text|json               how they are written there [text]\n"
	      "  --log-level error|warn|info|debug    error: no warnings; debug: as --debug\n"
	      "  --debug                              tell which command runs, too\n"
	      "  --systemd-cgroup                     as --cgroup-manager systemd\n"
	      "  --cgroup-manager cgroupfs|systemd|disabled   who makes cgroups [cgroupfs]\n"
	      "  --rootless true|false|auto           go without a cgroup that is not asked for "
	      "and\n"
	      "                                       may not be made [auto: unless root]\n"
	      "  --explain                            tell on standard error each system call that "
	      "changes\n"
	      "                                       something, why, and the command that does "
	      "the "
	      "same;\n"
	      "                                       --explain=json: one JSON object a line\n"
	      "  --version                            tell the version\n"
	      "  --help                               tell this; behind a command, its options\n",
	      to);
}

int um_cli_usage(struct um_error *err, const char *usage)
{
	return um_error_set(err, -EINVAL, "usage: umiak-oci %s", usage);
}

int um_cli_bad_option(struct um_error *err, char **argv, const char *usage)
{
	return um_error_set(err, -EINVAL,
			    "option %.60s is not supported or has no value (usage: umiak-oci %s)",
			    argv[optind - 1], usage);
}

int um_cli_id(int argc, char **argv, const char *usage, const char **ret, struct um_error *err)
{
	if (argc - optind != 1)
		return um_cli_usage(err, usage);
	*ret = argv[optind];
	return um_runtime_check_id(*ret, err);
}

int um_cli_fds(const char *text, unsigned *ret, struct um_error *err)
{
	uint64_t n;

	if (um_num_u64(text, 65536, &n) < 0)
		return um_error_set(err, -EINVAL, "--preserve-fds: \"%.40s\" is not a number",
				    text);
	*ret = (unsigned)n;
	return 0;
}

int um_cli_no_options(int argc, char **argv, const char *usage, struct um_error *err)
{
	static const struct option none[] = {{NULL, 0, NULL, 0}};

	optind = 0;
	return getopt_long(argc, argv, "+", none, NULL) == -1 ? 0
							      : um_cli_bad_option(err, argv, usage);
}

int um_cli_only_explain(int argc, char **argv, const char *usage, struct um_error *err)
{
	static const struct option options[] = {UM_CLI_EXPLAIN, {NULL, 0, NULL, 0}};
	int c, r = 0;

	optind = 0;
	while (r >= 0 && (c = getopt_long(argc, argv, "+", options, NULL)) != -1)
		r = c == UM_CLI_OPT_EXPLAIN ? um_cli_explain(optarg, err)
					    : um_cli_bad_option(err, argv, usage);
	return r;
}

int um_cli_seal(const struct um_cli *cli, struct um_error *err)
{
	return um_runtime_seal_self(cli->argv, err);
}

int um_cli_explain(const char *how, struct um_error *err)
{
	if (how && strcmp(how, "json") && strcmp(how, "text"))
		return um_error_set(err, -EINVAL, "--explain: \"%.40s\" is neither text nor json",
				    how);
	um_explain_start(STDERR_FILENO, how && !strcmp(how, "json"));
	return 0;
}

static void append_log(const struct um_cli *cli, const char *level, const char *msg)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(8192);
	_cleanup_close_ int fd = um_sys_create(AT_FDCWD, cli->log_path,
					       O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	char now[UM_TIME_LEN];

	if (fd < 0)
		return;
	um_time_format_nano(um_clock_wall(&um_clock_system), now);
	if (cli->log_json) {
		um_buf_addf(&b, "{\"level\":\"%s\",\"msg\":", level);
		um_json_write_str(&b, msg, strlen(msg));
		um_buf_addf(&b, ",\"time\":\"%s\"}\n", now);
	} else {
		um_buf_addf(&b, "time=\"%s\" level=%s msg=", now, level);
		um_json_write_str(&b, msg, strlen(msg));
		um_buf_addc(&b, '\n');
	}
	(void)!um_io_write_all(fd, um_buf_str(&b), b.len);
}

static void say(const struct um_cli *cli, const char *level, const char *msg)
{
	if (cli->log_path)
		append_log(cli, level, msg);
	/* Who gives a log may have given the container's own standard error to us. */
	if (cli->log_path && strcmp(level, "error") != 0)
		return;
	fprintf(stderr, "umiak-oci: %s%s%s\n", strcmp(level, "error") ? level : "",
		strcmp(level, "error") ? ": " : "", msg);
}

static void warn(void *data, const char *text)
{
	const struct um_cli *cli = data;

	if (!cli->no_warnings)
		say(cli, "warning", text);
}

/* --debug: the command as it was given. */
static void say_command(const struct um_cli *cli, char **argv)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(8192);

	um_buf_adds(&b, "umiak-oci " PACKAGE_VERSION ":");
	for (; *argv; argv++)
		um_buf_addf(&b, " %s", *argv);
	if (!um_buf_error(&b))
		say(cli, "debug", um_buf_str(&b));
}

enum {
	OPT_ROOT = 256,
	OPT_LOG,
	OPT_FORMAT,
	OPT_LEVEL,
	OPT_DEBUG,
	OPT_SYSTEMD,
	OPT_MANAGER,
	OPT_ROOTLESS
};

static const struct option global_options[] = {
	{"root", required_argument, NULL, OPT_ROOT},
	{"log", required_argument, NULL, OPT_LOG},
	{"log-format", required_argument, NULL, OPT_FORMAT},
	{"log-level", required_argument, NULL, OPT_LEVEL},
	{"debug", no_argument, NULL, OPT_DEBUG},
	{"systemd-cgroup", no_argument, NULL, OPT_SYSTEMD},
	{"cgroup-manager", required_argument, NULL, OPT_MANAGER},
	{"rootless", required_argument, NULL, OPT_ROOTLESS},
	UM_CLI_EXPLAIN,
	{"version", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static bool one_of(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(s, *list))
			return true;
	return false;
}

/* A file; or as crun's users write it, KIND:NAME, where we know but the kind "file". */
static int log_to(struct um_cli *cli, const char *where, struct um_error *err)
{
	if (!strncmp(where, "file:", 5))
		where += 5;
	else if (where[0] != '/' && where[0] != '.' && strchr(where, ':'))
		return um_error_set_reason(
			err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
			"--log: \"%.60s\" is not a file (one with a colon begins "
			"with / or ./)",
			where);
	cli->log_path = where;
	return 0;
}

/* Returns 0, 1 (done: version or help), or a negative errno. */
static int global_option(struct um_cli *cli, int c, struct um_error *err)
{
	static const char *const levels[] = {"error", "warn", "warning", "info", "debug", NULL};
	static const char *const rootless[] = {"true", "false", "auto", NULL};
	static const char *const managers[] = {"cgroupfs", "systemd", "disabled", NULL};
	static const char *const formats[] = {"text", "json", NULL};

	switch (c) {
	case OPT_ROOT:
		cli->rt.root = optarg;
		cli->root_given = true;
		return 0;
	case OPT_LOG:
		return log_to(cli, optarg, err);
	case OPT_FORMAT:
		cli->log_json = !strcmp(optarg, "json");
		return one_of(optarg, formats) ? 0 : um_cli_usage(err, "--log-format text|json");
	case OPT_LEVEL:
		cli->no_warnings = !strcmp(optarg, "error");
		cli->debug = !strcmp(optarg, "debug");
		return one_of(optarg, levels)
			       ? 0
			       : um_cli_usage(err, "--log-level error|warn|info|debug");
	case OPT_DEBUG:
		cli->debug = true;
		return 0;
	case OPT_SYSTEMD:
		cli->rt.systemd = true;
		return 0;
	case OPT_MANAGER:
		cli->rt.no_cgroups = !strcmp(optarg, "disabled");
		cli->rt.systemd = !strcmp(optarg, "systemd");
		return one_of(optarg, managers) ? 0
						: um_cli_usage(err, "--cgroup-manager cgroupfs|"
								    "systemd|disabled");
	case OPT_ROOTLESS:
		if (strcmp(optarg, "auto"))
			cli->rt.cgroups_optional = !strcmp(optarg, "true");
		return one_of(optarg, rootless) ? 0
						: um_cli_usage(err, "--rootless true|false|auto");
	case UM_CLI_OPT_EXPLAIN:
		return um_cli_explain(optarg, err);
	case 'v':
		puts("umiak-oci version " PACKAGE_VERSION "\ncommit: none\nspec: " UM_SPEC_VERSION);
		return 1;
	case 'h':
		help(stdout);
		return 1;
	default:
		return um_cli_usage(err, "[global options] COMMAND ... (see --help)");
	}
}

/* Callers take ENOENT's words, wherever they stand, for "there is no such program": what else is
 * missing gets others. */
static void spare_enoent(struct um_error *e)
{
	static const char words[] = "missing file or directory";
	const char *enoent = strerror(ENOENT);
	char *at = strncmp(e->msg, "exec", 4) ? strstr(e->msg, enoent) : NULL;

	_Static_assert(sizeof(words) <= sizeof("No such file or directory"), "no longer");
	if (at) {
		memmove(at + sizeof(words) - 1, at + strlen(enoent),
			strlen(at + strlen(enoent)) + 1);
		memcpy(at, words, sizeof(words) - 1);
	}
}

static int report(const struct um_cli *cli, const struct um_cli_verb *v, int r,
		  const struct um_error *err)
{
	struct um_error e = *err;

	if (r >= 0)
		return r;
	if (!e.code)
		um_error_set(&e, r, "%s", strerror(-r));
	spare_enoent(&e);
	say(cli, "error", e.msg);
	return v && v->failure_status ? v->failure_status : UM_EXIT_FAILURE;
}

static int run_verb(struct um_cli *cli, const struct um_cli_verb *v, int argc, char **argv,
		    struct um_error *err)
{
	if (argc > 1 && !strcmp(argv[1], "--help")) {
		printf("usage: umiak-oci [global options] %s\n%s\n", v->usage, v->what);
		return 0;
	}
	if (cli->debug)
		say_command(cli, argv);
	return v->run(cli, argc, argv, err);
}

/* Root, and not only of a user namespace. */
static bool host_root(void)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(65536);
	unsigned inside, outside, size;

	return geteuid() == 0 && um_io_read_file(AT_FDCWD, "/proc/self/uid_map", &b, NULL) >= 0 &&
	       sscanf(um_buf_str(&b), "%u %u %u", &inside, &outside, &size) == 3 &&
	       size == UINT32_MAX;
}

int main(int argc, char **argv)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_cli cli = {.rt = {.root = DEFAULT_ROOT, .warn = warn}, .argv = argv};
	const char *libexec = getenv("UMIAK_LIBEXEC");
	char root[PATH_MAX], helper[PATH_MAX];
	int c, r = 0;

	cli.rt.warn_data = &cli;
	cli.rt.cgroups_optional = cli.rt.systemd_user = !host_root();
	if (um_io_path(helper, sizeof(helper), "%s/" UM_SYSTEMD_HELPER,
		       libexec && *libexec ? libexec : UM_LIBEXECDIR) >= 0)
		cli.rt.systemd_helper = helper;
	opterr = 0;
	/* a reader of our output that went away must not end a command half way */
	signal(SIGPIPE, SIG_IGN);
	while (r == 0 && (c = getopt_long(argc, argv, "+hv", global_options, NULL)) != -1)
		r = c == '?' ? um_cli_bad_option(&err, argv, "--help")
			     : global_option(&cli, c, &err);
	if (r)
		return r > 0 ? 0 : report(&cli, NULL, r, &err);
	if (optind == argc) {
		help(stderr);
		return UM_EXIT_USAGE;
	}
	if (cli.rt.root[0] != '/') {
		char cwd[PATH_MAX];

		if (!getcwd(cwd, sizeof(cwd)) ||
		    um_io_path(root, sizeof(root), "%s/%s", cwd, cli.rt.root) < 0)
			return report(&cli, NULL, -ENAMETOOLONG, &err);
		cli.rt.root = root;
	}
	for (size_t i = 0; i < UM_ARRAY_LEN(verbs); i++) {
		const struct um_cli_verb *v = &verbs[i];

		if (strcmp(v->name, argv[optind]))
			continue;
		r = run_verb(&cli, v, argc - optind, argv + optind, &err);
		return report(&cli, v, r, &err);
	}
	um_error_set(&err, -EINVAL, "unknown command \"%.60s\" (see --help)", argv[optind]);
	return report(&cli, NULL, err.code, &err);
}
