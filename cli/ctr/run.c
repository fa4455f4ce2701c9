/* `run` and `create`: their options, and what they do. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "cli/ctr/run.h"

struct run_options ctr_run = {.sig_proxy = true, .detach_keys = "ctrl-p,ctrl-q"};
#define o ctr_run

#define SHARED_OPTS                                                                                  \
	{'i', "interactive", CTR_OPT_FLAG, NULL, "keep stdin open", &o.interactive},                 \
		{'t', "tty", CTR_OPT_FLAG, NULL, "give it a terminal", &o.tty},                      \
		{0, "name", CTR_OPT_TEXT, "NAME", "its name", &o.name},                              \
		{0, "rm", CTR_OPT_FLAG, NULL, "remove it when it ends", &o.rm},                      \
		{0,                                                                                  \
		 "restart",                                                                          \
		 CTR_OPT_TEXT,                                                                       \
		 "POLICY",                                                                           \
		 "no, always, unless-stopped, on-failure[:N]",                                       \
		 &o.restart},                                                                        \
		{'p',                                                                                \
		 "publish",                                                                          \
		 CTR_OPT_LIST,                                                                       \
		 "[IP:][HOST:]PORT[/udp]",                                                           \
		 "publish a port, or a range A-B, on this machine",                                  \
		 &o.publish},                                                                        \
		{'P',                                                                                \
		 "publish-all",                                                                      \
		 CTR_OPT_FLAG,                                                                       \
		 NULL,                                                                               \
		 "publish all exposed ports on free ones",                                           \
		 &o.publish_all},                                                                    \
		{'v',                                                                                \
		 "volume",                                                                           \
		 CTR_OPT_LIST,                                                                       \
		 "[SOURCE:]PATH[:ro]",                                                               \
		 "mount a folder, a named or a new volume",                                          \
		 &o.volume},                                                                         \
		{'e', "env", CTR_OPT_LIST, "NAME[=VALUE]", "set a variable", &o.env},                \
		{0, "env-file", CTR_OPT_LIST, "FILE", "variables, one a line", &o.env_file},         \
		{'m', "memory", CTR_OPT_TEXT, "BYTES", "most memory: 64m, 1g", &o.memory},           \
		{0, "cpus", CTR_OPT_TEXT, "N", "most CPUs: 0.5", &o.cpus},                           \
		{0,                                                                                  \
		 "pids-limit",                                                                       \
		 CTR_OPT_TEXT,                                                                       \
		 "N",                                                                                \
		 "most processes; -1: any number",                                                   \
		 &o.pids_limit},                                                                     \
		{0,                                                                                  \
		 "memory-swap",                                                                      \
		 CTR_OPT_TEXT,                                                                       \
		 "BYTES",                                                                            \
		 "most memory and swap; -1: no limit",                                               \
		 &o.memory_swap},                                                                    \
		{0,                                                                                  \
		 "memory-reservation",                                                               \
		 CTR_OPT_TEXT,                                                                       \
		 "BYTES",                                                                            \
		 "memory that is taken back last",                                                   \
		 &o.memory_reservation},                                                             \
		{0, "cpu-shares", CTR_OPT_TEXT, "N", "weight beside others [1024]", &o.cpu_shares},  \
		{0,                                                                                  \
		 "cpuset-cpus",                                                                      \
		 CTR_OPT_TEXT,                                                                       \
		 "LIST",                                                                             \
		 "the CPUs it may use: 0-2,4",                                                       \
		 &o.cpuset_cpus},                                                                    \
		{0,                                                                                  \
		 "cpuset-mems",                                                                      \
		 CTR_OPT_TEXT,                                                                       \
		 "LIST",                                                                             \
		 "the memory nodes it may use",                                                      \
		 &o.cpuset_mems},                                                                    \
		{0,                                                                                  \
		 "oom-score-adj",                                                                    \
		 CTR_OPT_TEXT,                                                                       \
		 "N",                                                                                \
		 "-1000 to 1000: who is killed first for memory",                                    \
		 &o.oom_score_adj},                                                                  \
		{0, "sysctl", CTR_OPT_LIST, "NAME=VALUE", "a sysctl of its namespaces", &o.sysctl},  \
		{'u', "user", CTR_OPT_TEXT, "USER[:GROUP]", "who it runs as", &o.user},              \
		{0, "group-add", CTR_OPT_LIST, "GROUP", "one more group", &o.group_add},             \
		{'w', "workdir", CTR_OPT_TEXT, "DIR", "its working directory", &o.workdir},          \
		{0, "entrypoint", CTR_OPT_TEXT, "PROGRAM", "instead of the image's", &o.entrypoint}, \
		{'h', "hostname", CTR_OPT_TEXT, "NAME", "its host name", &o.hostname},               \
		{0, "domainname", CTR_OPT_TEXT, "NAME", "its NIS domain name", &o.domainname},       \
		{0, "read-only", CTR_OPT_FLAG, NULL, "its root cannot be written to", &o.read_only}, \
		{0, "tmpfs", CTR_OPT_LIST, "PATH[:OPTIONS]", "mount a tmpfs", &o.tmpfs},             \
		{0, "cap-add", CTR_OPT_LIST, "CAP", "add a capability", &o.cap_add},                 \
		{0, "cap-drop", CTR_OPT_LIST, "CAP", "drop a capability", &o.cap_drop},              \
		{0,                                                                                  \
		 "privileged",                                                                       \
		 CTR_OPT_FLAG,                                                                       \
		 NULL,                                                                               \
		 "all capabilities, no confinement",                                                 \
		 &o.privileged},                                                                     \
		{0,                                                                                  \
		 "security-opt",                                                                     \
		 CTR_OPT_LIST,                                                                       \
		 "OPTION",                                                                           \
		 "no-new-privileges, seccomp=unconfined",                                            \
		 &o.security_opt},                                                                   \
		{0, "network", CTR_OPT_TEXT, "MODE", "bridge [default], host, none", &o.network},    \
		{0, "net", CTR_OPT_TEXT, "MODE", "the same", &o.network},                            \
		{0,                                                                                  \
		 "mount",                                                                            \
		 CTR_OPT_LIST,                                                                       \
		 "KEY=VALUE,...",                                                                    \
		 "type=bind|volume|tmpfs,source=...,target=...[,readonly]",                          \
		 &o.mount},                                                                          \
		{0,                                                                                  \
		 "device",                                                                           \
		 CTR_OPT_LIST,                                                                       \
		 "PATH[:PATH][:rwm]",                                                                \
		 "give it a device of this machine",                                                 \
		 &o.device},                                                                         \
		{0,                                                                                  \
		 "ulimit",                                                                           \
		 CTR_OPT_LIST,                                                                       \
		 "NAME=SOFT[:HARD]",                                                                 \
		 "a limit of its processes; -1: none",                                               \
		 &o.ulimit},                                                                         \
		{0, "shm-size", CTR_OPT_TEXT, "BYTES", "of /dev/shm [64m]", &o.shm_size},            \
		{0, "pid", CTR_OPT_TEXT, "MODE", "host: this machine's process numbers", &o.pid},    \
		{0, "ipc", CTR_OPT_TEXT, "MODE", "private [default], host", &o.ipc},                 \
		{0, "uts", CTR_OPT_TEXT, "MODE", "host: this machine's host name", &o.uts},          \
		{0, "userns", CTR_OPT_TEXT, "MODE", "host [default]", &o.userns},                    \
		{0, "dns", CTR_OPT_LIST, "ADDR", "a name server", &o.dns},                           \
		{0,                                                                                  \
		 "dns-search",                                                                       \
		 CTR_OPT_LIST,                                                                       \
		 "DOMAIN",                                                                           \
		 "where names are looked up; .: nowhere",                                            \
		 &o.dns_search},                                                                     \
		{0, "dns-option", CTR_OPT_LIST, "OPTION", "of resolv.conf", &o.dns_option},          \
		{0,	     "add-host", CTR_OPT_LIST, "NAME:ADDR", "one more line of /etc/hosts",   \
		 &o.add_host},                                                                       \
		{0, "init", CTR_OPT_FLAG, NULL, "its process 1 is a small one that reaps", &o.init}, \
		{'l', "label", CTR_OPT_LIST, "KEY[=VALUE]", "a label", &o.label},                    \
		{0, "stop-signal", CTR_OPT_TEXT, "SIGNAL", "asks it to end", &o.stop_signal},        \
		{0,                                                                                  \
		 "stop-timeout",                                                                     \
		 CTR_OPT_TEXT,                                                                       \
		 "SECONDS",                                                                          \
		 "until it is killed [10]",                                                          \
		 &o.stop_timeout},                                                                   \
		{0,	 "pull", CTR_OPT_TEXT, "POLICY", "missing, never (always: not supported)",   \
		 &o.pull},                                                                           \
		{'a',	   "attach", CTR_OPT_LIST, "STREAM", "attach stdin, stdout or stderr only",  \
		 &o.attach},                                                                         \
	{                                                                                            \
		0, "cidfile", CTR_OPT_TEXT, "FILE", "write the id there", &o.cidfile                 \
	}

static const struct ctr_opt run_opts[] = {
	SHARED_OPTS,
	{'d', "detach", CTR_OPT_FLAG, NULL, "run in the background and print the id", &o.detach},
	{0, "detach-keys", CTR_OPT_TEXT, "KEYS", "leave it running [ctrl-p,ctrl-q]",
	 &o.detach_keys},
	{0, "sig-proxy", CTR_OPT_FLAG, NULL, "pass signals on [true]", &o.sig_proxy},
	{0, NULL, CTR_OPT_FLAG, NULL, NULL, NULL},
};
static const struct ctr_opt create_opts[] = {
	SHARED_OPTS,
	{0, NULL, CTR_OPT_FLAG, NULL, NULL, NULL},
};

static int check_options(struct um_error *err)
{
	if (o.init && o.pid && !strcmp(o.pid, "host"))
		return um_error_set(err, -EINVAL, "conflicting options: --init and --pid host");
	if (o.pull && (!strcmp(o.pull, "always")))
		return um_error_set(err, -EOPNOTSUPP,
				    "--pull always: pulling from registries is not supported: use "
				    "`umiak image import`");
	if (o.pull && strcmp(o.pull, "missing") && strcmp(o.pull, "never"))
		return um_error_set(err, -EINVAL,
				    "invalid pull option: '%s': must be one of \"always\", "
				    "\"missing\" or \"never\"",
				    o.pull);
	if (o.cidfile && access(o.cidfile, F_OK) == 0)
		return um_error_set(err, -EEXIST,
				    "container ID file found, make sure the other container isn't "
				    "running or delete %s",
				    o.cidfile);
	um_vec_foreach (it, &o.attach) {
		if (strcasecmp(*it, "stdin") && strcasecmp(*it, "stdout") &&
		    strcasecmp(*it, "stderr"))
			return um_error_set(
				err, -EINVAL,
				"invalid argument \"%s\" for \"-a, --attach\" flag: valid "
				"streams are STDIN, STDOUT and STDERR",
				*it);
		if (o.detach)
			return um_error_set(err, -EINVAL, "Conflicting options: -a and -d");
	}
	return ctr_check_detach_keys(o.detach_keys, err);
}

static int write_cidfile(const struct ctr *c, struct um_error *err)
{
	if (!o.cidfile)
		return 0;
	return um_io_replace_file(AT_FDCWD, o.cidfile, c->id, CTR_ID_LEN, 0644, UM_IO_NO_SYNC, err);
}

static int make_container(int argc, char **argv, struct ctr **ret, struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(32 << 20);
	struct maker m = {.a = a, .err = err};
	struct um_error ignored = UM_ERROR_INIT;
	struct um_images *images;
	char id[CTR_ID_LEN + 1];
	int r = check_options(err);

	if (r == 0)
		r = ctr_env_open(err);
	if (r == 0)
		r = ctr_heal(err);
	if (r == 0)
		r = ctr_images(&images, err);
	if (r == 0)
		r = um_images_find(images, argv[0], a, &m.img, err);
	if (r == -ENOENT) {
		*err = (struct um_error)UM_ERROR_INIT;
		um_error_set(
			err, r,
			"Unable to find image '%s' locally, and pulling from registries is not "
			"supported: use `umiak image import`",
			argv[0]);
	}
	if (r == 0)
		r = ctr_new_id(id, err);
	if (r == 0)
		r = ctr_make_config(&m, id, argc, argv);
	if (r == 0)
		r = ctr_create(a, m.root, !o.rm, ret, err);
	if (r < 0 && m.root)
		(void)!ctr_remove_volumes(m.root, &ignored);
	if (r == 0) {
		a = NULL; /* the container's */
		r = write_cidfile(*ret, err);
	}
	return r;
}

static int say_failed(const struct um_error *err)
{
	return ctr_usage_error(NULL, ctr_start_exit_code(err->msg), "%s", err->msg);
}

static bool stream_wanted(const char *name)
{
	um_vec_foreach (it, &o.attach)
		if (!strcasecmp(*it, name))
			return true;
	return !o.attach.len;
}

static int start_attached(struct ctr *c, struct um_error *err)
{
	struct ctr_start s = {
		.attach = true,
		.hold = true,
		.attach_stdin = o.interactive && stream_wanted("stdin"),
		.stream = {stream_wanted("stdout"), stream_wanted("stderr")},
	};
	int r;

	if (o.tty)
		ctr_terminal_size(&s.rows, &s.cols);
	r = ctr_start(c, &s, err);
	if (r < 0)
		return r;
	ctr_unlock(c);
	return ctr_follow(c, &s, o.detach_keys, o.sig_proxy);
}

static int run_run(int argc, char **argv)
{
	struct um_error err = UM_ERROR_INIT, ignored = UM_ERROR_INIT;
	_cleanup_ctr_ struct ctr *c = NULL;
	struct ctr_start s = {0};
	int r;

	if (!o.detach && o.tty && o.interactive && !isatty(STDIN_FILENO))
		return ctr_usage_error(NULL, 1, "the input device is not a TTY");
	r = make_container(argc, argv, &c, &err);
	if (r < 0)
		return ctr_usage_error(NULL, CTR_EXIT_OURS, "%s", err.msg);
	if (!o.detach) {
		r = start_attached(c, &err);
		if (r >= 0)
			return r;
	} else {
		r = ctr_start(c, &s, &err);
		um_close(s.ret_shim);
	}
	if (r < 0) {
		if (o.rm)
			(void)!ctr_remove(c, true, true, &ignored);
		return say_failed(&err);
	}
	puts(c->id);
	return 0;
}

static int run_create(int argc, char **argv)
{
	struct um_error err = UM_ERROR_INIT;
	_cleanup_ctr_ struct ctr *c = NULL;

	if (make_container(argc, argv, &c, &err) < 0)
		return ctr_usage_error(NULL, 1, "%s", err.msg);
	puts(c->id);
	return 0;
}

const struct ctr_verb ctr_verb_run = {"run",
				      "[OPTIONS] IMAGE [COMMAND] [ARG...]",
				      "Make a container of an image and run a command in it",
				      run_opts,
				      1,
				      -1,
				      true,
				      run_run};
const struct ctr_verb ctr_verb_create = {"create",
					 "[OPTIONS] IMAGE [COMMAND] [ARG...]",
					 "Make a container without starting it",
					 create_opts,
					 1,
					 -1,
					 true,
					 run_create};
