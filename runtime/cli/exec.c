#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "base/vec.h"
#include "runtime/cli/cli.h"

enum {
	OPT_CONSOLE = 256,
	OPT_PID,
	OPT_PIDFD,
	OPT_CWD,
	OPT_FDS,
	OPT_NNP,
	OPT_CGROUP,
	OPT_LABEL,
	OPT_APPARMOR,
	OPT_PAUSED
};

static const struct option options[] = {
	{"process", required_argument, NULL, 'p'},
	{"detach", no_argument, NULL, 'd'},
	{"tty", no_argument, NULL, 't'},
	{"console-socket", required_argument, NULL, OPT_CONSOLE},
	{"pid-file", required_argument, NULL, OPT_PID},
	{"pidfd-socket", required_argument, NULL, OPT_PIDFD},
	{"cgroup", required_argument, NULL, OPT_CGROUP},
	{"process-label", required_argument, NULL, OPT_LABEL},
	{"apparmor", required_argument, NULL, OPT_APPARMOR},
	{"ignore-paused", no_argument, NULL, OPT_PAUSED},
	{"cwd", required_argument, NULL, OPT_CWD},
	{"env", required_argument, NULL, 'e'},
	{"user", required_argument, NULL, 'u'},
	{"additional-gids", required_argument, NULL, 'g'},
	{"cap", required_argument, NULL, 'c'},
	{"preserve-fds", required_argument, NULL, OPT_FDS},
	{"no-new-privs", no_argument, NULL, OPT_NNP},
	UM_CLI_EXPLAIN,
	{NULL, 0, NULL, 0},
};

struct lists {
	UM_VEC(char *) env;
	UM_VEC(const char *) caps;
	UM_VEC(uint32_t) gids;
};

static void lists_release(struct lists *l)
{
	um_vec_release(&l->env);
	um_vec_release(&l->caps);
	um_vec_release(&l->gids);
}

static int add_gid(struct lists *l, struct um_error *err)
{
	uint64_t gid;

	if (um_num_u64(optarg, UINT32_MAX - 1, &gid) < 0)
		return um_error_set(err, -EINVAL, "--additional-gids: \"%.40s\" is not a group id",
				    optarg);
	return um_vec_push(&l->gids, (uint32_t)gid);
}

static int one_option(int c, struct um_runtime_exec *o, struct lists *l, struct um_error *err)
{
	switch (c) {
	case 'p':
		o->process_file = optarg;
		return 0;
	case 'd':
		o->detach = true;
		return 0;
	case 't':
		o->tty = true;
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
	case OPT_CGROUP:
		o->cgroup = optarg;
		return 0;
	case OPT_LABEL:
		o->selinux_label = optarg;
		return 0;
	case OPT_APPARMOR:
		o->apparmor_profile = optarg;
		return 0;
	case OPT_PAUSED:
		o->ignore_paused = true;
		return 0;
	case OPT_CWD:
		o->cwd = optarg;
		return 0;
	case 'e':
		return um_vec_push(&l->env, optarg);
	case 'u':
		o->user = optarg;
		return 0;
	case 'g':
		return add_gid(l, err);
	case 'c':
		return um_vec_push(&l->caps, optarg);
	case OPT_FDS:
		return um_cli_fds(optarg, &o->preserve_fds, err);
	case OPT_NNP:
		o->no_new_privs = true;
		return 0;
	case UM_CLI_OPT_EXPLAIN:
		return um_cli_explain(optarg, err);
	default:
		return um_cli_usage(err, UM_CLI_EXEC_USAGE);
	}
}

int um_cli_exec(struct um_cli *cli, int argc, char **argv, struct um_error *err)
{
	_cleanup_(lists_release) struct lists l = {UM_VEC_INIT, UM_VEC_INIT, UM_VEC_INIT};
	struct um_runtime_exec o = {0};
	int c, r = 0;

	optind = 0;
	while (r == 0 && (c = getopt_long(argc, argv, "+p:dte:u:g:c:", options, NULL)) != -1)
		r = c == '?' ? um_cli_bad_option(err, argv, UM_CLI_EXEC_USAGE)
			     : one_option(c, &o, &l, err);
	if (r < 0)
		return r;
	if (optind == argc)
		return um_cli_usage(err, UM_CLI_EXEC_USAGE);
	o.id = argv[optind];
	o.args = argv + optind + 1;
	o.env = l.env.items;
	o.n_env = l.env.len;
	o.caps = l.caps.items;
	o.n_caps = l.caps.len;
	o.gids = l.gids.items;
	o.n_gids = l.gids.len;
	r = um_cli_seal(cli, err);
	return r < 0 ? r : um_runtime_exec(&cli->rt, &o, err);
}
