/* events */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/num.h"
#include "runtime/cli/cli.h"

#define DEFAULT_INTERVAL (5 * UM_NSEC_PER_SEC)

/* "500ms", "5s", "2m", "1h" */
static int parse_interval(const char *text, int64_t *ret, struct um_error *err)
{
	static const struct {
		const char *unit;
		int64_t nsec;
	} units[] = {{"ms", UM_NSEC_PER_MSEC},
		     {"s", UM_NSEC_PER_SEC},
		     {"m", 60 * UM_NSEC_PER_SEC},
		     {"h", 3600 * UM_NSEC_PER_SEC}};
	size_t len = strspn(text, "0123456789");
	uint64_t n;

	for (size_t i = 0; i < UM_ARRAY_LEN(units); i++)
		if (!strcmp(text + len, units[i].unit) &&
		    um_num_u64n(text, len, 1000000, &n) == 0 && n) {
			*ret = (int64_t)n * units[i].nsec;
			return 0;
		}
	return um_error_set(err, -EINVAL,
			    "--interval: \"%.40s\" is not a duration (500ms, 5s, 2m, 1h)", text);
}

struct output {
	const char *id;
};

/* One line for each event. */
static int print_event(void *data, const char *type, const struct um_json *json,
		       struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(16u << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(16u << 20);
	const struct output *out = data;
	struct um_json *o = a ? um_json_new_obj(a) : NULL;

	if (!o)
		return -ENOMEM;
	um_json_set_str(a, o, "type", type);
	um_json_set_str(a, o, "id", out->id);
	if (json)
		um_json_set(a, o, "data", um_json_copy(a, json));
	if (um_arena_failed(a) || um_json_write(&b, o) < 0)
		return -ENOMEM;
	puts(um_buf_str(&b));
	return fflush(stdout) ? um_error_errno(err, -errno, "write to standard output") : 0;
}

int um_cli_events(struct um_cli *cli, int argc, char **argv, struct um_error *err)
{
	static const struct option options[] = {{"stats", no_argument, NULL, 's'},
						{"interval", required_argument, NULL, 'i'},
						{NULL, 0, NULL, 0}};
	_cleanup_arena_ struct um_arena *a = um_arena_new(16u << 20);
	struct um_runtime_events e = {.interval_nsec = DEFAULT_INTERVAL, .tell = print_event};
	struct output out = {NULL};
	struct um_json *stats;
	bool once = false;
	int c, r = 0;

	if (!a)
		return -ENOMEM;
	optind = 0;
	while (r >= 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's')
			once = true;
		else if (c == 'i')
			r = parse_interval(optarg, &e.interval_nsec, err);
		else
			return um_cli_bad_option(err, argv, UM_CLI_EVENTS_USAGE);
	}
	if (r >= 0)
		r = um_cli_id(argc, argv, UM_CLI_EVENTS_USAGE, &out.id, err);
	if (r < 0)
		return r;
	e.data = &out;
	if (!once)
		return um_runtime_events(&cli->rt, out.id, &e, err);
	r = um_runtime_stats(&cli->rt, a, out.id, &stats, err);
	return r < 0 ? r : print_event(&out, "stats", stats, err);
}
