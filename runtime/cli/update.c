/* update: an object of resources, or options that make one. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/num.h"
#include "runtime/cli/cli.h"
#include "runtime/spec.h"

enum {
	OPT_MEMORY = 256,
	OPT_RESERVATION,
	OPT_SWAP,
	OPT_PERIOD,
	OPT_QUOTA,
	OPT_BURST,
	OPT_SHARE,
	OPT_IDLE,
	OPT_RT_PERIOD,
	OPT_RT_RUNTIME,
	OPT_CPUS,
	OPT_MEMS,
	OPT_WEIGHT,
	OPT_PIDS
};

static const struct option options[] = {
	{"resources", required_argument, NULL, 'r'},
	{"memory", required_argument, NULL, OPT_MEMORY},
	{"memory-reservation", required_argument, NULL, OPT_RESERVATION},
	{"memory-swap", required_argument, NULL, OPT_SWAP},
	{"cpu-period", required_argument, NULL, OPT_PERIOD},
	{"cpu-quota", required_argument, NULL, OPT_QUOTA},
	{"cpu-burst", required_argument, NULL, OPT_BURST},
	{"cpu-share", required_argument, NULL, OPT_SHARE},
	{"cpu-shares", required_argument, NULL, OPT_SHARE},
	{"cpu-idle", required_argument, NULL, OPT_IDLE},
	{"cpu-rt-period", required_argument, NULL, OPT_RT_PERIOD},
	{"cpu-rt-runtime", required_argument, NULL, OPT_RT_RUNTIME},
	{"cpuset-cpus", required_argument, NULL, OPT_CPUS},
	{"cpuset-mems", required_argument, NULL, OPT_MEMS},
	{"blkio-weight", required_argument, NULL, OPT_WEIGHT},
	{"pids-limit", required_argument, NULL, OPT_PIDS},
	{NULL, 0, NULL, 0},
};

enum kind { NUMBER, BYTES, TEXT };

/* Where each goes in linux.resources. */
static const struct field {
	int option;
	const char *object, *name;
	enum kind kind;
} fields[] = {
	{OPT_MEMORY, "memory", "limit", BYTES},
	{OPT_RESERVATION, "memory", "reservation", BYTES},
	{OPT_SWAP, "memory", "swap", BYTES},
	{OPT_PERIOD, "cpu", "period", NUMBER},
	{OPT_QUOTA, "cpu", "quota", NUMBER},
	{OPT_BURST, "cpu", "burst", NUMBER},
	{OPT_SHARE, "cpu", "shares", NUMBER},
	{OPT_IDLE, "cpu", "idle", NUMBER},
	{OPT_RT_PERIOD, "cpu", "realtimePeriod", NUMBER},
	{OPT_RT_RUNTIME, "cpu", "realtimeRuntime", NUMBER},
	{OPT_CPUS, "cpu", "cpus", TEXT},
	{OPT_MEMS, "cpu", "mems", TEXT},
	{OPT_WEIGHT, "blockIO", "weight", NUMBER},
	{OPT_PIDS, "pids", "limit", NUMBER},
};

static int one_option(struct um_arena *a, struct um_json *o, const struct field *f,
		      struct um_error *err)
{
	struct um_json *into = um_json_ensure_obj(a, o, f->object);
	int64_t v;
	int r;

	if (f->kind == TEXT) {
		um_json_set_str(a, into, f->name, optarg);
		return 0;
	}
	r = f->kind == BYTES ? um_num_bytes(optarg, &v)
			     : um_num_i64(optarg, INT64_MIN, INT64_MAX, &v);
	if (r < 0)
		return um_error_set(err, -EINVAL, "%s.%s: \"%.40s\" is not a number%s", f->object,
				    f->name, optarg, f->kind == BYTES ? " of bytes" : "");
	um_json_set_i64(a, into, f->name, v);
	return 0;
}

static const struct field *find(int option)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(fields); i++)
		if (fields[i].option == option)
			return &fields[i];
	return NULL;
}

int um_cli_update(struct um_cli *cli, int argc, char **argv, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_SPEC_MAX_BYTES);
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	struct um_json *o = a ? um_json_new_obj(a) : NULL;
	const char *file = NULL, *id;
	int c, r = 0;

	if (!o)
		return -ENOMEM;
	optind = 0;
	while (r >= 0 && (c = getopt_long(argc, argv, "r:", options, NULL)) != -1) {
		const struct field *f = find(c);

		if (c == 'r')
			file = optarg;
		else if (f)
			r = one_option(a, o, f, err);
		else
			return um_cli_bad_option(err, argv, UM_CLI_UPDATE_USAGE);
	}
	if (r >= 0)
		r = um_cli_id(argc, argv, UM_CLI_UPDATE_USAGE, &id, err);
	if (r < 0)
		return r;
	if (!file == !o->len)
		return um_error_set(err, -EINVAL, "update: %s (usage: umiak-oci %s)",
				    file ? "--resources says everything: no other option beside it"
					 : "nothing to change",
				    UM_CLI_UPDATE_USAGE);
	if (!file)
		r = um_arena_failed(a) ? -ENOMEM : um_json_write(&b, o);
	else
		r = !strcmp(file, "-") ? um_io_read_fd(0, &b)
				       : um_io_read_file(AT_FDCWD, file, &b, err);
	return r < 0 ? r : um_runtime_update(&cli->rt, id, um_buf_str(&b), b.len, err);
}
