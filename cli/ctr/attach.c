/* Into a container: attach, exec, and the foreground of run and start. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "agent/internal.h"
#include "agent/oci_defaults.h"
#include "base/num.h"
#include "cli/ctr/ctr.h"
#include "runtime/shim/client.h"

static struct {
	bool interactive, tty, detach, privileged, no_stdin, sig_proxy;
	const char *user, *workdir, *keys;
	ctr_list env, env_file;
} o = {.sig_proxy = true, .keys = "ctrl-p,ctrl-q"};

int ctr_follow(struct ctr *c, struct ctr_start *s, const char *detach_keys, bool sig_proxy)
{
	struct um_error err = UM_ERROR_INIT, ignored = UM_ERROR_INIT;
	bool remove = um_json_get_bool(c->config, "HostConfig.AutoRemove", false);
	struct ctr_relay relay = {
		.fd = s->ret_attach,
		.packets = true,
		.in = s->attach_stdin,
		.tty = um_json_get_bool(c->config, "Config.Tty", false),
		.detach_keys = detach_keys,
		.shim = sig_proxy ? s->ret_shim : -1,
		.child = -1,
	};
	int r = ctr_relay(&relay, &err);

	s->ret_attach = um_close(s->ret_attach);
	if (relay.detached) {
		s->ret_shim = um_close(s->ret_shim);
		return 0;
	}
	/* Its end is cleaned up here, while the shim waits for that; a restart is the shim's. */
	if (s->hold && ctr_lock(c, &ignored) == 0 && ctr_cleanup(c, &ignored) < 0 && remove)
		fprintf(stderr, "umiak: %s\n", ignored.msg);
	s->ret_shim = um_close(s->ret_shim);
	if (r < 0) {
		fprintf(stderr, "umiak: %s\n", err.msg);
		return CTR_EXIT_OURS;
	}
	return ctr_exit_code(relay.status);
}

/* ---- attach ---- */

static int ready(const char *name, struct ctr **ret, struct ctr_live *l, struct um_error *err)
{
	int r = ctr_env_open(err);

	l->fd = -1;
	r = r < 0 ? r : ctr_heal(err);
	r = r < 0 ? r : ctr_find(name, ret, err);
	if (r < 0)
		return r;
	ctr_live_open(*ret, l);
	return 0;
}

static int run_attach(um_unused int argc, char **argv)
{
	struct um_error err = UM_ERROR_INIT;
	_cleanup_ctr_ struct ctr *c = NULL;
	struct ctr_start s = {.stream = {true, true}};
	struct um_shim_msg m;
	struct ctr_live l;
	int r = ready(argv[0], &c, &l, &err);

	r = r < 0 ? r : ctr_check_detach_keys(o.keys, &err);
	if (r == 0 && l.state != CTR_LIVE_RUNNING)
		r = um_error_set(
			&err, -ESRCH,
			l.state == CTR_LIVE_RESTARTING
				? "You cannot attach to a restarting container, wait until "
				  "it is running"
				: "You cannot attach to a stopped container, start it first");
	if (r < 0) {
		ctr_live_close(&l);
		return ctr_fail(&err);
	}
	s.attach_stdin = !o.no_stdin && um_json_get_bool(c->config, "Config.OpenStdin", false);
	s.ret_shim = l.fd;
	s.ret_attach = um_shim_connect(c->run_dir);
	um_shim_begin(&m, "attach");
	um_shim_add(&m, "name", "main");
	um_shim_add_num(&m, "stdin", s.attach_stdin);
	um_shim_add_num(&m, "once",
			s.attach_stdin && um_json_get_bool(c->config, "Config.StdinOnce", false));
	if (s.ret_attach < 0 ||
	    um_shim_request(s.ret_attach, &m, NULL, 10000, NULL, NULL, NULL, &err) < 0) {
		um_close(s.ret_attach);
		ctr_live_close(&l);
		return ctr_fail(&err);
	}
	return ctr_follow(c, &s, o.keys, o.sig_proxy);
}

static const struct ctr_opt attach_opts[] = {
	{0, "no-stdin", CTR_OPT_FLAG, NULL, "do not attach stdin", &o.no_stdin},
	{0, "sig-proxy", CTR_OPT_FLAG, NULL, "pass signals on [true]", &o.sig_proxy},
	{0, "detach-keys", CTR_OPT_TEXT, "KEYS", "leave it running [ctrl-p,ctrl-q]", &o.keys},
	{0, NULL, CTR_OPT_FLAG, NULL, NULL, NULL},
};
const struct ctr_verb ctr_verb_attach = {"attach",
					 "[OPTIONS] CONTAINER",
					 "Attach this terminal to a running container",
					 attach_opts,
					 1,
					 1,
					 false,
					 run_attach};

/* ---- exec ---- */

struct exec_user {
	char text[32];
	uint32_t gids[32];
};

static int set_user(struct um_exec *e, struct exec_user *u, const struct ctr_live *l,
		    struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 16);
	struct um_json *image = um_json_new_obj(a);
	struct ctr_user user;
	char root[64];
	int r;

	if (!o.user)
		return 0;
	snprintf(root, sizeof(root), "/proc/%d/root", l->pid);
	um_json_set_str(a, um_json_ensure_obj(a, image, "config"), "User", o.user);
	r = resolve_user(NULL, NULL, image, root, &user, err);
	if (r < 0)
		return r;
	snprintf(u->text, sizeof(u->text), "%u:%u", user.uid, user.gid);
	memcpy(u->gids, user.groups, sizeof(u->gids));
	e->user = u->text;
	e->gids = u->gids;
	e->n_gids = user.n_groups;
	return 0;
}

/* The end of umiak-oci exec: its exit code, or what it says instead. */
static int finish(const struct um_exec *e)
{
	char message[600];
	int status;

	while (waitpid(e->pid, &status, 0) < 0)
		if (errno != EINTR)
			return CTR_EXIT_OURS;
	if (um_exec_refused(e, message, sizeof(message))) {
		int code = ctr_start_exit_code(message);

		if (e->tty || e->detach) /* else it has said so itself */
			fprintf(stderr, "umiak: %s\n", message);
		return code == CTR_EXIT_OURS ? CTR_EXIT_CANNOT_EXECUTE : code;
	}
	return ctr_exit_code(status);
}

/* Somebody has to keep the terminal when the user leaves: it would hang up. */
static void keep_terminal(int master)
{
	char buf[4096];

	signal(SIGHUP,
	       SIG_IGN); /* the user's terminal may go before the new process has its session */
	if (fork() != 0)
		return;
	setsid();
	for (int fd = 0; fd < 3; fd++) {
		int null = open("/dev/null", O_RDWR);

		if (null >= 0 && null != fd) {
			dup2(null, fd);
			close(null);
		}
	}
	fcntl(master, F_SETFL, 0);
	while (read(master, buf, sizeof(buf)) > 0)
		;
	_exit(0);
}

static int follow_terminal(struct um_exec *e)
{
	struct um_error err = UM_ERROR_INIT;
	struct ctr_relay relay = {.fd = e->master,
				  .in = o.interactive,
				  .tty = true,
				  .detach_keys = o.keys,
				  .shim = -1};

	if (e->master < 0)
		return finish(e);
	relay.child = (int)syscall(SYS_pidfd_open, e->pid, 0);
	(void)!ctr_relay(&relay, &err);
	um_close(relay.child);
	if (relay.detached) {
		char ignored[8];

		keep_terminal(e->master);
		(void)um_exec_refused(e, ignored, sizeof(ignored));
		return 0;
	}
	close(e->master);
	return finish(e);
}

static int run_exec(int argc, char **argv)
{
	struct um_error err = UM_ERROR_INIT;
	_cleanup_ctr_ struct ctr *c = NULL;
	struct exec_user user;
	struct um_exec e = {
		.oci = ctr_env.oci,
		.oci_root = ctr_env.oci_root,
		.args = argv + 1,
		.cwd = o.workdir,
		.tty = o.tty && !o.detach,
		.detach = o.detach,
		.fds = {o.interactive && !o.detach ? 0 : -1, o.detach ? -1 : 1, o.detach ? -1 : 2},
	};
	struct ctr_live l;
	int r;

	if (o.tty && o.interactive && !o.detach && !isatty(STDIN_FILENO))
		return ctr_usage_error(NULL, 1, "the input device is not a TTY");
	if (argc < 2)
		return ctr_usage_error(NULL, 1, "'umiak ctr exec' requires at least 2 arguments");
	r = ready(argv[0], &c, &l, &err);
	ctr_live_close(&l);
	if (r == 0 && l.state != CTR_LIVE_RUNNING)
		r = um_error_set(
			&err, -ESRCH,
			l.state == CTR_LIVE_RESTARTING
				? "Container %s is restarting, wait until the container is "
				  "running"
				: "container %s is not running",
			c->id);
	if (r == 0 && o.workdir && *o.workdir != '/')
		r = um_error_set(&err, -EINVAL,
				 "the working directory '%s' is invalid: it needs to "
				 "be absolute",
				 o.workdir);
	r = r < 0 ? r : ctr_check_detach_keys(o.keys, &err);
	if (r == 0 && ctr_is_paused(c))
		r = um_error_set(&err, -EBUSY,
				 "Container %s is paused, unpause the container before exec",
				 ctr_name(c));
	if (r < 0)
		return ctr_fail(&err);
	if (set_user(&e, &user, &l, &err) < 0) {
		ctr_fail(&err);
		return CTR_EXIT_CANNOT_EXECUTE;
	}
	if (o.tty && um_vec_push(&o.env, "TERM=xterm") < 0)
		return CTR_EXIT_OURS;
	/* What the user says of TERM comes later and wins. */
	if (o.tty && o.env.len > 1) {
		memmove(o.env.items + 1, o.env.items, (o.env.len - 1) * sizeof(*o.env.items));
		o.env.items[0] = "TERM=xterm";
	}
	um_vec_foreach (it, &o.env) {
		if (!strchr(*it, '=')) {
			char *full = NULL;
			const char *value = getenv(*it);

			if (asprintf(&full, "%s=%s", *it, value ? value : "") < 0)
				return CTR_EXIT_OURS;
			*it = full;
		}
	}
	e.env = o.env.items;
	e.n_env = o.env.len;
	e.dir = c->run_dir;
	e.id = c->id;
	if (o.privileged) {
		e.caps = um_oci_all_caps;
		while (um_oci_all_caps[e.n_caps])
			e.n_caps++;
	}
	fflush(stdout);
	if (um_exec_start(&e, &err) < 0) {
		ctr_fail(&err);
		return CTR_EXIT_OURS;
	}
	return e.tty ? follow_terminal(&e) : finish(&e);
}

static const struct ctr_opt exec_opts[] = {
	{'i', "interactive", CTR_OPT_FLAG, NULL, "pass stdin on", &o.interactive},
	{'t', "tty", CTR_OPT_FLAG, NULL, "give it a terminal", &o.tty},
	{'d', "detach", CTR_OPT_FLAG, NULL, "run it in the background", &o.detach},
	{'u', "user", CTR_OPT_TEXT, "USER[:GROUP]", "who it runs as", &o.user},
	{'e', "env", CTR_OPT_LIST, "NAME[=VALUE]", "set a variable", &o.env},
	{'w', "workdir", CTR_OPT_TEXT, "DIR", "its working directory", &o.workdir},
	{0, "privileged", CTR_OPT_FLAG, NULL, "with all capabilities", &o.privileged},
	{0, "detach-keys", CTR_OPT_TEXT, "KEYS", "leave it running [ctrl-p,ctrl-q]", &o.keys},
	{0, NULL, CTR_OPT_FLAG, NULL, NULL, NULL},
};
const struct ctr_verb ctr_verb_exec = {"exec",
				       "[OPTIONS] CONTAINER COMMAND [ARG...]",
				       "Run a command in a running container",
				       exec_opts,
				       1,
				       -1,
				       true,
				       run_exec};
