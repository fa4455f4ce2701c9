/* inspect and stats. */
#include <stdio.h>
#include <string.h>
#include <fcntl.h>

#include "base/clock.h"
#include "base/io.h"
#include "cgroups/cgroups.h"
#include "cli/ctr/ctr.h"

static struct {
	bool size, all, no_stream, no_trunc;
	const char *format, *type;
} o;

/* ---- inspect ---- */

static int inspect_all(int argc, char **argv, struct um_arena *a, struct um_json *list)
{
	int code = 0;

	for (int i = 0; i < argc; i++) {
		struct um_error err = UM_ERROR_INIT;
		_cleanup_ctr_ struct ctr *c = NULL;
		struct ctr_live l;

		if (ctr_find(argv[i], &c, &err) < 0) {
			code = ctr_fail(&err);
			continue;
		}
		if (!ctr_look(c, &l)) {
			um_error_set(&err, -ENOENT, "No such container: %s", argv[i]);
			code = ctr_fail(&err);
			continue;
		}
		um_json_append(list, ctr_inspect(a, c, &l));
	}
	return code;
}

static int run_inspect(int argc, char **argv)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(256 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(64 << 20);
	struct um_json *list = um_json_new_arr(a);
	struct um_error err = UM_ERROR_INIT;
	int code, r = ctr_env_open(&err);

	if (o.size)
		return ctr_usage_error(NULL, 1, "--size is not supported");
	if (o.type && strcmp(o.type, "container"))
		return ctr_usage_error(NULL, 1, "--type %s is not supported: only container",
				       o.type);
	r = r < 0 ? r : ctr_heal(&err);
	if (r < 0)
		return ctr_fail(&err);
	code = inspect_all(argc, argv, a, list);
	if (um_arena_failed(a)) {
		um_error_errno(&err, -ENOMEM, "inspect");
		return ctr_fail(&err);
	}
	if (!o.format || !strcmp(o.format, "json")) {
		um_json_write_pretty(&b, list, 4);
		puts(um_buf_str(&b));
		return code;
	}
	um_json_foreach (it, list) {
		um_buf_clear(&b);
		if (ctr_format(&b, o.format, it, &err) < 0)
			return ctr_fail(&err);
		puts(um_buf_str(&b));
	}
	return code;
}

static const struct ctr_opt inspect_opts[] = {
	{'f', "format", CTR_OPT_TEXT, "FORMAT", "json, or a template: {{.State.Status}}",
	 &o.format},
	{'s', "size", CTR_OPT_FLAG, NULL, "not supported", &o.size},
	{0, "type", CTR_OPT_TEXT, "TYPE", "container", &o.type},
	{0, NULL, CTR_OPT_FLAG, NULL, NULL, NULL},
};
const struct ctr_verb ctr_verb_inspect = {"inspect",
					  "[OPTIONS] CONTAINER [CONTAINER...]",
					  "Tell all that is known of containers",
					  inspect_opts,
					  1,
					  -1,
					  false,
					  run_inspect};

/* ---- stats ---- */

struct sample {
	bool up;
	int64_t at_ns;
	struct um_cgroup_usage usage;
	uint64_t received, sent;
};

static void read_network(pid_t pid, struct sample *s)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 16);
	char path[64];
	const char *p;

	snprintf(path, sizeof(path), "/proc/%d/net/dev", pid);
	if (um_io_read_file(AT_FDCWD, path, &b, NULL) < 0)
		return;
	p = strstr(um_buf_str(&b), "eth0:");
	if (p)
		(void)sscanf(p + 5, "%lu %*u %*u %*u %*u %*u %*u %*u %lu", &s->received, &s->sent);
}

static void take_sample(const struct um_cgroups *host, const struct ctr *c, struct sample *s)
{
	_cleanup_(um_cgroup_freep) struct um_cgroup *group = NULL;
	struct um_error ignored = UM_ERROR_INIT;
	struct ctr_live l;
	char path[300];

	*s = (struct sample){.at_ns = um_clock_monotonic(&um_clock_system)};
	ctr_live_open(c, &l);
	ctr_live_close(&l);
	snprintf(path, sizeof(path), "/%s/%s", ctr_env.cgroup_parent, c->id);
	if (l.state != CTR_LIVE_RUNNING || um_cgroup_open(host, path, &group, &ignored) < 0 ||
	    um_cgroup_account(group, &s->usage, &ignored) < 0)
		return;
	s->up = true;
	read_network(l.pid, s);
}

static uint64_t machine_memory(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static struct um_json *stats_row(struct um_arena *a, const struct ctr *c, const struct sample *old,
				 const struct sample *now)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(4096);
	struct um_json *row = um_json_new_obj(a);
	uint64_t limit = (uint64_t)um_json_get_i64(c->config, "HostConfig.Memory", 0);
	uint64_t used = now->usage.memory_bytes - now->usage.memory_inactive_file_bytes;
	int64_t ns = now->at_ns - old->at_ns;
	double cpu = 0;

	if (!limit)
		limit = machine_memory();
	if (now->up && old->up && ns > 0 && now->usage.cpu_usec >= old->usage.cpu_usec)
		cpu = (double)(now->usage.cpu_usec - old->usage.cpu_usec) * 1e5 / (double)ns;
#define SET(key) (um_json_set_str(a, row, key, um_buf_str(&b)), um_buf_clear(&b))
	um_buf_addf(&b, "%.*s", o.no_trunc ? CTR_ID_LEN : CTR_SHORT_LEN, c->id);
	um_json_set_str(a, row, "Container", um_buf_str(&b));
	SET("ID");
	um_json_set_str(a, row, "Name", ctr_name(c));
	um_buf_addf(&b, "%.2f%%", cpu);
	SET("CPUPerc");
	ctr_size(&b, now->up ? used : 0, true);
	um_buf_adds(&b, " / ");
	ctr_size(&b, now->up ? limit : 0, true);
	SET("MemUsage");
	um_buf_addf(&b, "%.2f%%", now->up ? (double)used * 100 / (double)limit : 0);
	SET("MemPerc");
	ctr_size(&b, now->received, false);
	um_buf_adds(&b, " / ");
	ctr_size(&b, now->sent, false);
	SET("NetIO");
	um_json_set_str(a, row, "BlockIO", "-- / --");
	um_buf_addf(&b, "%lu", now->usage.pids);
	SET("PIDs");
#undef SET
	return row;
}

static int print_stats(const struct um_json *rows, struct um_error *err)
{
	static const char *const keys[] = {"ID",      "Name",  "CPUPerc", "MemUsage",
					   "MemPerc", "NetIO", "BlockIO", "PIDs"};
	static const char *const titles[] = {"CONTAINER ID",	  "NAME",  "CPU %",
					     "MEM USAGE / LIMIT", "MEM %", "NET I/O",
					     "BLOCK I/O",	  "PIDS"};
	static const int widths[] = {15, 25, 10, 24, 9, 20, 12, 0};

	if (o.format && strcmp(o.format, "table")) {
		um_json_foreach (row, rows) {
			_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
			int r = !strcmp(o.format, "json") ? um_json_write(&b, row)
							  : ctr_format(&b, o.format, row, err);

			if (r < 0)
				return r;
			puts(um_buf_str(&b));
		}
		return 0;
	}
	for (size_t i = 0; i < UM_ARRAY_LEN(keys); i++)
		printf("%-*s", widths[i], titles[i]);
	putchar('\n');
	um_json_foreach (row, rows) {
		for (size_t i = 0; i < UM_ARRAY_LEN(keys); i++)
			printf("%-*s", widths[i], um_json_get_str(row, keys[i], ""));
		putchar('\n');
	}
	return 0;
}

static int choose(int argc, char **argv, ctr_vec *v, struct um_error *err)
{
	int r = 0;

	if (!argc) {
		_cleanup_(ctr_vec_release) ctr_vec all = UM_VEC_INIT;

		r = ctr_load_all(&all, err);
		um_vec_foreach (c, &all) {
			struct ctr_live l;

			ctr_live_open(*c, &l);
			ctr_live_close(&l);
			if ((o.all || l.state == CTR_LIVE_RUNNING) && um_vec_push(v, *c) == 0)
				*c = NULL;
		}
	}
	for (int i = 0; i < argc && r == 0; i++) {
		struct ctr *c;

		r = ctr_find(argv[i], &c, err);
		if (r == 0 && um_vec_push(v, c) < 0)
			ctr_free(c);
	}
	return r;
}

static int show(int argc, char **argv, const struct um_cgroups *host, int64_t wait_ms,
		struct um_error *err)
{
	_cleanup_(ctr_vec_release) ctr_vec chosen = UM_VEC_INIT;
	_cleanup_arena_ struct um_arena *a = um_arena_new(16 << 20);
	_cleanup_free_ struct sample *old = NULL;
	struct um_json *rows = um_json_new_arr(a);
	int r = choose(argc, argv, &chosen, err);

	if (r < 0)
		return r;
	old = calloc(chosen.len + 1, sizeof(*old));
	if (!old)
		return um_error_errno(err, -ENOMEM, "stats");
	for (size_t i = 0; i < chosen.len; i++)
		take_sample(host, chosen.items[i], &old[i]);
	usleep((useconds_t)wait_ms * 1000);
	for (size_t i = 0; i < chosen.len; i++) {
		struct sample now;

		take_sample(host, chosen.items[i], &now);
		um_json_append(rows, stats_row(a, chosen.items[i], &old[i], &now));
	}
	if (!o.no_stream && isatty(STDOUT_FILENO))
		fputs("\033[2J\033[H", stdout);
	r = print_stats(rows, err);
	fflush(stdout);
	return r;
}

static int run_stats(int argc, char **argv)
{
	_cleanup_(um_cgroups_freep) struct um_cgroups *host = NULL;
	struct um_error err = UM_ERROR_INIT;
	int r = ctr_env_open(&err);

	r = r < 0 ? r : ctr_heal(&err);
	r = r < 0 ? r : um_cgroups_open(&host, &err);
	do
		r = r < 0 ? r : show(argc, argv, host, o.no_stream ? 250 : 1000, &err);
	while (r == 0 && !o.no_stream && !ferror(stdout));
	return r < 0 ? ctr_fail(&err) : 0;
}

static const struct ctr_opt stats_opts[] = {
	{'a', "all", CTR_OPT_FLAG, NULL, "also those that do not run", &o.all},
	{0, "no-stream", CTR_OPT_FLAG, NULL, "once", &o.no_stream},
	{0, "no-trunc", CTR_OPT_FLAG, NULL, "ids in full", &o.no_trunc},
	{0, "format", CTR_OPT_TEXT, "FORMAT", "json, table or a template: {{.CPUPerc}}", &o.format},
	{0, NULL, CTR_OPT_FLAG, NULL, NULL, NULL},
};
const struct ctr_verb ctr_verb_stats = {"stats",
					"[OPTIONS] [CONTAINER...]",
					"Show what containers use of the machine",
					stats_opts,
					0,
					-1,
					false,
					run_stats};
