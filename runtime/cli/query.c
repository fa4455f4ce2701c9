/* state, list */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "runtime/cli/cli.h"
#include "runtime/spec.h"

int um_cli_print_json(const struct um_arena *a, const struct um_json *o)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(16u << 20);

	if (um_arena_failed(a) || um_json_write_pretty(&b, o, 2) < 0)
		return -ENOMEM;
	puts(um_buf_str(&b));
	return fflush(stdout) ? -EIO : 0;
}

/* In one line, as callers of runc read it. */
static int print_line(const struct um_arena *a, const struct um_json *o)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(16u << 20);

	if (um_arena_failed(a) || um_json_write(&b, o) < 0)
		return -ENOMEM;
	puts(um_buf_str(&b));
	return fflush(stdout) ? -EIO : 0;
}

static struct um_json *state_json(struct um_arena *a, const struct um_runtime_state *s)
{
	struct um_json *o = um_json_new_obj(a);
	char owner[16];

	snprintf(owner, sizeof(owner), "%u", s->owner);
	um_json_set_str(a, o, "ociVersion", UM_SPEC_VERSION);
	um_json_set_str(a, o, "id", s->id);
	um_json_set_i64(a, o, "pid", s->status == UM_RUNTIME_STOPPED ? 0 : s->pid);
	um_json_set_str(a, o, "status", um_runtime_status_name(s->status));
	um_json_set_str(a, o, "bundle", s->bundle);
	um_json_set_str(a, o, "rootfs", s->rootfs);
	um_json_set_str(a, o, "created", s->created);
	um_json_set_str(a, o, "owner", s->owner ? owner : "root");
	if (s->annotations)
		um_json_set(a, o, "annotations", um_json_copy(a, s->annotations));
	return o;
}

int um_cli_state(struct um_cli *cli, int argc, char **argv, struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(16u << 20);
	struct um_runtime_state s;
	const char *id;
	int r = um_cli_no_options(argc, argv, "state ID", err);

	if (!a)
		return -ENOMEM;
	if (r >= 0)
		r = um_cli_id(argc, argv, "state ID", &id, err);
	if (r >= 0)
		r = um_runtime_state(&cli->rt, a, id, &s, err);
	return r < 0 ? r : um_cli_print_json(a, state_json(a, &s));
}

/* 0 or -EINVAL. */
static int parse_format(int argc, char **argv, bool *json, bool *quiet)
{
	static const struct option options[] = {{"format", required_argument, NULL, 'f'},
						{"quiet", no_argument, NULL, 'q'},
						{NULL, 0, NULL, 0}};
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "f:q", options, NULL)) != -1) {
		if (c == 'q')
			*quiet = true;
		else if (c == 'f' && (!strcmp(optarg, "json") || !strcmp(optarg, "table")))
			*json = !strcmp(optarg, "json");
		else
			return -EINVAL;
	}
	return 0;
}

int um_cli_list(struct um_cli *cli, int argc, char **argv, struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(64u << 20);
	struct um_runtime_state *s;
	bool json = false, quiet = false;
	struct um_json *list;
	size_t n;
	int r;

	if (!a)
		return -ENOMEM;
	if (parse_format(argc, argv, &json, &quiet) < 0 || optind != argc)
		return um_cli_usage(err, UM_CLI_LIST_USAGE);
	if (cli->root_given && access(cli->rt.root, F_OK) < 0)
		return um_error_errno(err, -errno, "--root %s", cli->rt.root);
	r = um_runtime_list(&cli->rt, a, &s, &n, err);
	if (r < 0)
		return r;
	if (json) {
		list = um_json_new_arr(a);
		for (size_t i = 0; i < n; i++)
			um_json_append(list, state_json(a, &s[i]));
		return print_line(a, list);
	}
	if (!quiet)
		printf("%-24s %-10s %-10s %-24s %s\n", "ID", "PID", "STATUS", "BUNDLE", "CREATED");
	for (size_t i = 0; i < n; i++) {
		if (quiet)
			puts(s[i].id);
		else
			printf("%-24s %-10lld %-10s %-24s %s\n", s[i].id,
			       s[i].status == UM_RUNTIME_STOPPED ? 0 : (long long)s[i].pid,
			       um_runtime_status_name(s[i].status), s[i].bundle, s[i].created);
	}
	return fflush(stdout) ? -EIO : 0;
}
