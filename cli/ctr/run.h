/* What `run` and `create` share: their options, and the config.json that is made of them. */
#ifndef UM_CLI_CTR_RUN_H
#define UM_CLI_CTR_RUN_H

#include "cli/ctr/ctr.h"

struct run_options {
	bool interactive, tty, detach, rm, privileged, read_only, init, publish_all, sig_proxy;
	bool no_healthcheck;
	const char *name, *restart, *memory, *cpus, *pids_limit, *user, *workdir, *entrypoint;
	const char *hostname, *network, *stop_signal, *stop_timeout, *pull, *detach_keys, *cidfile;
	ctr_list publish, volume, env, env_file, tmpfs, cap_add, cap_drop, label, security_opt;
	const char *pid, *shm_size;
	ctr_list attach, mount, device, ulimit, dns, dns_search, dns_option, add_host;
	const char *memory_swap, *memory_reservation, *cpu_shares, *cpuset_cpus, *cpuset_mems;
	const char *oom_score_adj, *ipc, *uts, *userns, *domainname;
	ctr_list sysctl, group_add;
};

extern struct run_options ctr_run; /* as the command line has them */

struct maker {
	struct um_arena *a;
	struct um_json *root, *config, *host;
	struct um_image img;
	struct um_error *err;
};

/* HostConfig's limits and what else of the kernel is set for it. Options in docker's words, and its
 * errors. */
int ctr_set_limits(const struct maker *m);
/* The whole: m->root. @argv: the image, then the program's arguments. */
int ctr_make_config(struct maker *m, const char *id, int argc, char **argv);

#endif
