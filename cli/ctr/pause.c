/* pause, unpause, top. */
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/io.h"
#include "cgroups/cgroups.h"
#include "cli/ctr/ctr.h"

/* ---- pause, unpause ---- */

struct group {
	struct um_cgroups *host;
	struct um_cgroup *cg;
};

static void group_close(struct group *g)
{
	um_cgroup_free(g->cg);
	um_cgroups_free(g->host);
}
#define _cleanup_group_ _cleanup_(group_close)

static int group_open(const struct ctr *c, struct group *g, struct um_error *err)
{
	char path[300];
	int r = um_cgroups_open(&g->host, err);

	snprintf(path, sizeof(path), "/%s/%s", ctr_env.cgroup_parent, c->id);
	return r < 0 ? r : um_cgroup_open(g->host, path, &g->cg, err);
}

static int freeze(const struct ctr *c, bool on, struct um_error *err)
{
	_cleanup_group_ struct group g = {NULL, NULL};
	int r = group_open(c, &g, err);

	return r < 0 ? r : um_cgroup_freeze(g.cg, on, err);
}

bool ctr_is_paused(const struct ctr *c)
{
	return um_json_get_bool(c->state, "Paused", false);
}

void ctr_thaw(struct ctr *c)
{
	struct um_error ignored = UM_ERROR_INIT; /* its group has gone: it has ended */

	if (!ctr_is_paused(c))
		return;
	(void)!freeze(c, false, &ignored);
	um_json_set_bool(c->a, c->state, "Paused", false);
}

static int set_paused(struct ctr *c, bool pause, struct um_error *err)
{
	const char *word = pause ? "pause" : "unpause";
	struct ctr_live l;
	int r = ctr_lock(c, err);

	if (r < 0)
		return r;
	ctr_live_open(c, &l);
	ctr_live_close(&l);
	if (l.state != CTR_LIVE_RUNNING)
		return um_error_set(err, -ESRCH, "cannot %s container %s: it is not running", word,
				    ctr_name(c));
	if (ctr_is_paused(c) == pause)
		return um_error_set(err, -EALREADY, "Container %s is %s paused", ctr_name(c),
				    pause ? "already" : "not");
	r = freeze(c, pause, err);
	if (r < 0)
		return um_error_wrap(err, r, "cannot %s container %s", word, ctr_name(c));
	um_json_set_bool(c->a, c->state, "Paused", pause);
	r = ctr_save_state(c, false, err);
	ctr_unlock(c);
	return r;
}

static int pause_one(struct ctr *c, struct um_error *err)
{
	return set_paused(c, true, err);
}

static int unpause_one(struct ctr *c, struct um_error *err)
{
	return set_paused(c, false, err);
}

static int run_pause(int argc, char **argv)
{
	return ctr_each(argc, argv, pause_one, false);
}

static int run_unpause(int argc, char **argv)
{
	return ctr_each(argc, argv, unpause_one, false);
}

const struct ctr_verb ctr_verb_pause = {"pause",
					"CONTAINER [CONTAINER...]",
					"Freeze all processes of running containers",
					NULL,
					1,
					-1,
					false,
					run_pause};
const struct ctr_verb ctr_verb_unpause = {
	"unpause",  "CONTAINER [CONTAINER...]", "Let paused containers run on", NULL, 1, -1, false,
	run_unpause};

/* ---- top ---- */

struct process {
	int pid, parent, terminal;
	uid_t uid;
	unsigned long long ticks, started; /* CPU, and since the machine's start */
	char command[4096];
};

/* Arguments with spaces between; of a process without any its name in brackets. */
static void read_command(int pid, const char *name, struct process *p)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	if (um_io_read_file(AT_FDCWD, path, &b, NULL) < 0 || !b.len) {
		snprintf(p->command, sizeof(p->command), "[%s]", name);
		return;
	}
	while (b.len && !b.data[b.len - 1])
		b.len--;
	for (size_t i = 0; i < b.len; i++)
		if ((unsigned char)b.data[i] < ' ' || b.data[i] == 0x7f) /* a terminal reads it */
			b.data[i] = b.data[i] ? '?' : ' ';
	snprintf(p->command, sizeof(p->command), "%.*s", (int)b.len, b.data);
}

static bool read_process(int pid, struct process *p)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 16);
	unsigned long long user, kernel;
	char path[64], name[64], *open, *close;
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (um_io_read_file(AT_FDCWD, path, &b, NULL) < 0 || !b.data)
		return false;
	open = strchr(b.data, '(');
	close = strrchr(b.data, ')'); /* proc(5): the name may have any byte */
	if (!open || !close || close < open ||
	    sscanf(close + 1,
		   " %*c %d %*d %*d %d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d "
		   "%llu",
		   &p->parent, &p->terminal, &user, &kernel, &p->started) != 5)
		return false;
	p->pid = pid;
	p->ticks = user + kernel;
	snprintf(name, sizeof(name), "%.*s", (int)(close - open - 1), open + 1);
	snprintf(path, sizeof(path), "/proc/%d", pid);
	p->uid = stat(path, &st) < 0 ? 0 : st.st_uid;
	read_command(pid, name, p);
	return true;
}

static void print_process(const struct process *p)
{
	long hz = sysconf(_SC_CLK_TCK);
	unsigned long long cpu = p->ticks / (unsigned long long)hz;
	time_t started =
		(time_t)((um_clock_wall(&um_clock_system) - um_clock_monotonic(&um_clock_system)) /
			 UM_NSEC_PER_SEC) +
		(time_t)(p->started / (unsigned long long)hz);
	struct passwd *user = getpwuid(p->uid);
	char who[33], when[16] = "?", tty[16] = "?";
	struct tm tm;

	if (user)
		snprintf(who, sizeof(who), "%s", user->pw_name);
	else
		snprintf(who, sizeof(who), "%u", p->uid);
	if (localtime_r(&started, &tm))
		(void)!strftime(when, sizeof(when), started + 86400 < time(NULL) ? "%b%d" : "%H:%M",
				&tm);
	if ((p->terminal >> 8) >= 136 && (p->terminal >> 8) < 144)
		snprintf(tty, sizeof(tty), "pts/%d",
			 ((p->terminal >> 8) - 136) * 256 + (p->terminal & 0xff));
	printf("%-12s %-10d %-10d %-8s %-8s %02llu:%02llu:%02llu   %s\n", who, p->pid, p->parent,
	       when, tty, cpu / 3600, cpu / 60 % 60, cpu % 60, p->command);
}

static int print_top(const struct ctr *c, struct um_error *err)
{
	_cleanup_group_ struct group g = {NULL, NULL};
	_cleanup_free_ pid_t *pids = NULL;
	struct process *p = malloc(sizeof(*p));
	size_t n = 0;
	int r = p ? group_open(c, &g, err) : um_error_errno(err, -ENOMEM, "top");

	if (r == 0)
		r = um_cgroup_pids(g.cg, &pids, &n, err);
	if (r == 0)
		printf("%-12s %-10s %-10s %-8s %-8s %-10s %s\n", "UID", "PID", "PPID", "STIME",
		       "TTY", "TIME", "CMD");
	for (size_t i = 0; r == 0 && i < n; i++)
		if (read_process(pids[i], p))
			print_process(p);
	free(p);
	return r;
}

static int run_top(int argc, char **argv)
{
	struct um_error err = UM_ERROR_INIT;
	_cleanup_ctr_ struct ctr *c = NULL;
	struct ctr_live l;
	int r;

	if (argc > 1)
		return ctr_usage_error(NULL, 1, "options of ps (%s) are not supported", argv[1]);
	r = ctr_env_open(&err);
	r = r < 0 ? r : ctr_heal(&err);
	r = r < 0 ? r : ctr_find(argv[0], &c, &err);
	if (r == 0) {
		ctr_live_open(c, &l);
		ctr_live_close(&l);
		if (l.state != CTR_LIVE_RUNNING)
			r = um_error_set(&err, -ESRCH, "Container %s is not running", c->id);
	}
	r = r < 0 ? r : print_top(c, &err);
	return r < 0 ? ctr_fail(&err) : 0;
}

const struct ctr_verb ctr_verb_top = {
	"top", "CONTAINER", "List the processes of a running container", NULL, 1, -1,
	true,  run_top};
