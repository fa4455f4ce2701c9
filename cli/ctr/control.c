/* start, stop, restart, kill, rm, wait, rename, and what a shim calls at the end. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "cli/ctr/ctr.h"

static bool opt_attach, opt_interactive, opt_force, opt_volumes, opt_boot, opt_link;
static const char *opt_time, *opt_signal, *opt_keys = "ctrl-p,ctrl-q";

static int ready(struct um_error *err)
{
	int r = ctr_env_open(err);

	return r < 0 ? r : ctr_heal(err);
}

int ctr_each(int argc, char **argv, int (*fn)(struct ctr *c, struct um_error *err), bool quiet)
{
	struct um_error err = UM_ERROR_INIT;
	int code = 0;

	if (ready(&err) < 0)
		return ctr_fail(&err);
	for (int i = 0; i < argc; i++) {
		struct um_error own = UM_ERROR_INIT;
		_cleanup_ctr_ struct ctr *c = NULL;
		int r = ctr_find(argv[i], &c, &own);

		if (r == 0)
			r = fn(c, &own);
		if (r < 0)
			code = ctr_fail(&own);
		else if (!quiet)
			puts(argv[i]);
		fflush(stdout);
	}
	return code;
}

/* ---- start ---- */

static int start(struct ctr *c, struct um_error *err)
{
	struct ctr_start s = {0};
	struct ctr_live l;
	int r = ctr_lock(c, err);

	if (r == 0) {
		ctr_live_open(c, &l);
		ctr_live_close(&l);
		if (ctr_live_up(&l) && ctr_is_paused(c))
			r = um_error_set(err, -EBUSY,
					 "cannot start a paused container, try unpause instead");
		if (ctr_live_up(&l))
			return r;
		r = ctr_cleanup(c, err);
	}
	if (r == 0)
		r = ctr_start(c, &s, err);
	um_close(r < 0 ? -1 : s.ret_shim);
	ctr_unlock(c);
	return r;
}

static int start_attached(const char *name)
{
	struct um_error err = UM_ERROR_INIT;
	_cleanup_ctr_ struct ctr *c = NULL;
	struct ctr_start s = {.attach = true, .hold = true, .stream = {true, true}};
	struct ctr_live l;
	int r = ctr_check_detach_keys(opt_keys, &err);

	r = r < 0 ? r : ready(&err);
	r = r < 0 ? r : ctr_find(name, &c, &err);
	r = r < 0 ? r : ctr_lock(c, &err);
	if (r < 0)
		return ctr_fail(&err);
	ctr_live_open(c, &l);
	ctr_live_close(&l);
	if (ctr_live_up(&l)) {
		um_error_set(&err, -EALREADY,
			     "you cannot attach to a running container by start: use "
			     "attach");
		return ctr_fail(&err);
	}
	s.attach_stdin = opt_interactive && um_json_get_bool(c->config, "Config.OpenStdin", false);
	if (um_json_get_bool(c->config, "Config.Tty", false))
		ctr_terminal_size(&s.rows, &s.cols);
	r = ctr_cleanup(c, &err);
	r = r < 0 ? r : ctr_start(c, &s, &err);
	if (r < 0) {
		ctr_fail(&err);
		return ctr_start_exit_code(err.msg) == CTR_EXIT_OURS ? 1
								     : ctr_start_exit_code(err.msg);
	}
	ctr_unlock(c);
	return ctr_follow(c, &s, opt_keys, true);
}

/* Those whose policy says that they run: for the start of the machine. */
static int start_boot(void)
{
	_cleanup_(ctr_vec_release) ctr_vec all = UM_VEC_INIT;
	struct um_error err = UM_ERROR_INIT;
	int code = 0;

	if (ready(&err) < 0 || ctr_load_all(&all, &err) < 0)
		return ctr_fail(&err);
	um_vec_foreach (c, &all) {
		const char *policy =
			um_json_get_str((*c)->config, "HostConfig.RestartPolicy.Name", "no");
		struct um_error own = UM_ERROR_INIT;
		bool ran = strcmp(um_json_get_str((*c)->state, "Status", ""), "created") != 0;
		bool stopped = um_json_get_bool((*c)->state, "ManuallyStopped", false);

		if (!ran ||
		    (strcmp(policy, "always") && (strcmp(policy, "unless-stopped") || stopped)))
			continue;
		if (start(*c, &own) < 0)
			code = ctr_fail(&own);
		else
			puts(ctr_name(*c));
	}
	return code;
}

static int run_start(int argc, char **argv)
{
	if (opt_boot)
		return argc ? ctr_usage_error(NULL, 1, "--boot takes no names") : start_boot();
	if (!argc)
		return ctr_usage_error(NULL, 1, "'umiak ctr start' requires at least 1 argument");
	if (!opt_attach && !opt_interactive)
		return ctr_each(argc, argv, start, false);
	if (argc > 1)
		return ctr_usage_error(NULL, 1,
				       "you cannot start and attach multiple containers at "
				       "once");
	return start_attached(argv[0]);
}

static const struct ctr_opt start_opts[] = {
	{'a', "attach", CTR_OPT_FLAG, NULL, "attach its output and pass signals on", &opt_attach},
	{'i', "interactive", CTR_OPT_FLAG, NULL, "attach its stdin", &opt_interactive},
	{0, "boot", CTR_OPT_FLAG, NULL, "start those whose restart policy says so", &opt_boot},
	{0, "detach-keys", CTR_OPT_TEXT, "KEYS", "leave it running [ctrl-p,ctrl-q]", &opt_keys},
	{0, NULL, CTR_OPT_FLAG, NULL, NULL, NULL},
};
const struct ctr_verb ctr_verb_start = {"start",
					"[OPTIONS] CONTAINER [CONTAINER...]",
					"Start stopped containers",
					start_opts,
					0,
					-1,
					false,
					run_start};

/* ---- stop, restart ---- */

static int patience(const struct ctr *c, int *ret, struct um_error *err)
{
	*ret = (int)um_json_get_i64(c->config, "Config.StopTimeout", 10);
	if (opt_time && um_num_int(opt_time, -1, 1 << 30, ret) < 0)
		return um_error_set(err, -EINVAL, "invalid argument \"%s\" for \"-t, --time\" flag",
				    opt_time);
	return 0;
}

static int stop(struct ctr *c, struct um_error *err)
{
	int seconds, r = patience(c, &seconds, err);

	return r < 0 ? r : ctr_stop(c, seconds, err);
}

static int restart(struct ctr *c, struct um_error *err)
{
	int r = stop(c, err);

	if (r == 0)
		ctr_unlock(c);
	return r < 0 ? r : start(c, err);
}

static int run_stop(int argc, char **argv)
{
	return ctr_each(argc, argv, stop, false);
}

static int run_restart(int argc, char **argv)
{
	return ctr_each(argc, argv, restart, false);
}

static const struct ctr_opt stop_opts[] = {
	{'t', "time", CTR_OPT_TEXT, "SECONDS", "until it is killed [10]; -1: never", &opt_time},
	{0, "timeout", CTR_OPT_TEXT, "SECONDS", "the same", &opt_time},
	{0, NULL, CTR_OPT_FLAG, NULL, NULL, NULL},
};
const struct ctr_verb ctr_verb_stop = {"stop",
				       "[OPTIONS] CONTAINER [CONTAINER...]",
				       "Stop running containers",
				       stop_opts,
				       1,
				       -1,
				       false,
				       run_stop};
const struct ctr_verb ctr_verb_restart = {"restart",
					  "[OPTIONS] CONTAINER [CONTAINER...]",
					  "Restart containers",
					  stop_opts,
					  1,
					  -1,
					  false,
					  run_restart};

/* ---- kill ---- */

static int kill_one(struct ctr *c, struct um_error *err)
{
	int number = SIGKILL, own = SIGTERM, r, status;
	struct ctr_live l;

	if (opt_signal && (um_num_signal(opt_signal, &number) < 0 || number < 1))
		return um_error_set(err, -EINVAL, "Invalid signal: %s", opt_signal);
	(void)!um_num_signal(um_json_get_str(c->config, "Config.StopSignal", "SIGTERM"), &own);
	ctr_live_open(c, &l);
	if (l.state != CTR_LIVE_RUNNING) {
		ctr_live_close(&l);
		return um_error_set(err, -ESRCH,
				    "Cannot kill container: %s: container %s is not running",
				    ctr_name(c), c->id);
	}
	r = ctr_live_signal(&l, number, number == SIGKILL || number == own);
	ctr_thaw(c);
	/* Docker says that it is killed when it is. */
	if (r == 0 && number == SIGKILL)
		(void)!ctr_live_wait(&l, 10000000000, false, &status);
	ctr_live_close(&l);
	return r < 0 && r != -EPIPE
		       ? um_error_errno(err, r, "Cannot kill container: %s", ctr_name(c))
		       : 0;
}

static int run_kill(int argc, char **argv)
{
	return ctr_each(argc, argv, kill_one, false);
}

static const struct ctr_opt kill_opts[] = {
	{'s', "signal", CTR_OPT_TEXT, "SIGNAL", "what to send [KILL]", &opt_signal},
	{0, NULL, CTR_OPT_FLAG, NULL, NULL, NULL},
};
const struct ctr_verb ctr_verb_kill = {"kill",
				       "[OPTIONS] CONTAINER [CONTAINER...]",
				       "Send a signal to running containers",
				       kill_opts,
				       1,
				       -1,
				       false,
				       run_kill};

/* ---- rm ---- */

static int remove_one(struct ctr *c, struct um_error *err)
{
	int r = ctr_lock(c, err);

	return r < 0 ? r : ctr_remove(c, opt_force, opt_volumes, err);
}

static int run_rm(int argc, char **argv)
{
	int code = 0;

	if (opt_link)
		return ctr_usage_error(NULL, 1, "--link is not supported");
	if (!opt_force)
		return ctr_each(argc, argv, remove_one, false);
	/* With -f what is not there is no error. */
	for (int i = 0; i < argc; i++) {
		struct um_error err = UM_ERROR_INIT;
		_cleanup_ctr_ struct ctr *c = NULL;
		int r = i ? 0 : ready(&err);

		r = r < 0 ? r : ctr_find(argv[i], &c, &err);
		if (r == 0)
			r = remove_one(c, &err);
		if (r == 0)
			puts(argv[i]);
		else if (r == -ENOENT)
			fprintf(stderr, "Error: %s\n", err.msg);
		else
			code = ctr_fail(&err);
	}
	return code;
}

static const struct ctr_opt rm_opts[] = {
	{'f', "force", CTR_OPT_FLAG, NULL, "kill it first", &opt_force},
	{'v', "volumes", CTR_OPT_FLAG, NULL, "and its volumes without a name", &opt_volumes},
	{'l', "link", CTR_OPT_FLAG, NULL, "not supported", &opt_link},
	{0, NULL, CTR_OPT_FLAG, NULL, NULL, NULL},
};
const struct ctr_verb ctr_verb_rm = {
	"rm",  "[OPTIONS] CONTAINER [CONTAINER...]", "Remove containers", rm_opts, 1, -1, false,
	run_rm};

/* ---- wait ---- */

static int wait_one(struct ctr *c, struct um_error *err)
{
	struct ctr_live l;
	int status = 0, r = 0;

	ctr_live_open(c, &l);
	if (ctr_live_up(&l)) {
		r = ctr_live_wait(&l, -1, false, &status);
		if (r == 0)
			printf("%d\n", ctr_exit_code(status));
	}
	ctr_live_close(&l);
	if (r == 0 && ctr_live_up(&l))
		return 0;
	if (l.state == CTR_LIVE_ENDED) {
		printf("%d\n", ctr_exit_code(l.status));
		return 0;
	}
	r = ctr_lock(c, err); /* who cleans up is done then */
	if (r == 0)
		r = ctr_cleanup(c, err);
	if (r == 0)
		printf("%lld\n", (long long)um_json_get_i64(c->state, "ExitCode", 0));
	return r;
}

static int run_wait(int argc, char **argv)
{
	return ctr_each(argc, argv, wait_one, true);
}

const struct ctr_verb ctr_verb_wait = {"wait",
				       "CONTAINER [CONTAINER...]",
				       "Wait for the end of containers and print their exit codes",
				       NULL,
				       1,
				       -1,
				       false,
				       run_wait};

/* ---- rename ---- */

static int run_rename(um_unused int argc, char **argv)
{
	struct um_error err = UM_ERROR_INIT;
	_cleanup_ctr_ struct ctr *c = NULL;
	int r = ready(&err);

	r = r < 0 ? r : ctr_find(argv[0], &c, &err);
	r = r < 0 ? r : ctr_lock(c, &err);
	r = r < 0 ? r : ctr_rename(c, argv[1] + (argv[1][0] == '/'), &err);
	return r < 0 ? ctr_fail(&err) : 0;
}

const struct ctr_verb ctr_verb_rename = {
	"rename", "CONTAINER NEW_NAME", "Rename a container", NULL, 2, 2, false, run_rename};

/* ---- cleanup: in the shim's place ---- */

static int run_cleanup(um_unused int argc, char **argv)
{
	struct um_error err = UM_ERROR_INIT;
	_cleanup_ctr_ struct ctr *c = NULL;
	int r = ctr_env_open(&err);

	UM_FAULT("ctr.cleanup");
	r = r < 0 ? r : ctr_find(argv[0], &c, &err);
	r = r < 0 ? r : ctr_lock(c, &err);
	r = r < 0 ? r : ctr_cleanup(c, &err);
	return r < 0 && r != -ENOENT && r != -EBUSY ? ctr_fail(&err) : 0;
}

const struct ctr_verb ctr_verb_cleanup = {
	"cleanup", "CONTAINER", "Give back what an ended container had; called by its shim",
	NULL,	   1,		1,
	false,	   run_cleanup};
