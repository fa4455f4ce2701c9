/* `run` and `create`: limits, and sysctls of the container's namespaces. */
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "cli/ctr/parse.h"
#include "cli/ctr/run.h"

#define o ctr_run

static int bad_argument(const struct maker *m, const char *text, const char *flag)
{
	return um_error_set(m->err, -EINVAL, "invalid argument \"%.80s\" for \"--%s\" flag", text,
			    flag);
}

/* @memory: the hard limit, 0 where there is none. */
static int set_memory(const struct maker *m, int64_t memory)
{
	int64_t swap = 0, reserved = 0, score = 0;

	if (o.memory_swap && strcmp(o.memory_swap, "-1") != 0) {
		if (ctr_parse_bytes(o.memory_swap, &swap) < 0)
			return bad_argument(m, o.memory_swap, "memory-swap");
		if (swap && !memory)
			return um_error_set(m->err, -EINVAL,
					    "You should always set the Memory limit when using "
					    "Memoryswap limit, see usage");
		if (swap && swap < memory)
			return um_error_set(m->err, -EINVAL,
					    "Minimum memoryswap limit should be larger than memory "
					    "limit, see usage");
	}
	if (o.memory_reservation) {
		if (ctr_parse_bytes(o.memory_reservation, &reserved) < 0)
			return bad_argument(m, o.memory_reservation, "memory-reservation");
		if (reserved && reserved < 6 << 20)
			return um_error_set(m->err, -EINVAL,
					    "Minimum memory reservation allowed is 6MB");
		if (memory && reserved > memory)
			return um_error_set(m->err, -EINVAL,
					    "Minimum memory limit can not be less than memory "
					    "reservation limit, see usage");
	}
	if (o.oom_score_adj && um_num_i64(o.oom_score_adj, -1000, 1000, &score) < 0)
		return um_error_set(m->err, -EINVAL,
				    "Invalid value %.40s, range for oom score adj is [-1000, 1000]",
				    o.oom_score_adj);
	if (o.memory_swap)
		um_json_set_i64(m->a, m->host, "MemorySwap",
				strcmp(o.memory_swap, "-1") ? swap : -1);
	if (reserved)
		um_json_set_i64(m->a, m->host, "MemoryReservation", reserved);
	if (o.oom_score_adj)
		um_json_set_i64(m->a, m->host, "OomScoreAdj", score);
	return 0;
}

static int set_cpu(const struct maker *m)
{
	const struct {
		const char *flag, *key, *value;
	} sets[] = {{"cpuset-cpus", "CpusetCpus", o.cpuset_cpus},
		    {"cpuset-mems", "CpusetMems", o.cpuset_mems}};
	int64_t shares = 0;

	/* The kernel takes 2 to 262144; 0 is its default. */
	if (o.cpu_shares && (um_num_i64(o.cpu_shares, 0, 262144, &shares) < 0 || shares == 1))
		return bad_argument(m, o.cpu_shares, "cpu-shares");
	if (shares)
		um_json_set_i64(m->a, m->host, "CpuShares", shares);
	for (size_t i = 0; i < UM_ARRAY_LEN(sets); i++) {
		const char *v = sets[i].value;

		if (v && (!*v || v[strspn(v, "0123456789,-")]))
			return um_error_set(m->err, -EINVAL, "Invalid value %.80s for %.6s %s.", v,
					    sets[i].flag, sets[i].flag + 7);
		if (v)
			um_json_set_str(m->a, m->host, sets[i].key, v);
	}
	return 0;
}

static void set_groups(const struct maker *m)
{
	struct um_json *list = um_json_ensure_arr(m->a, m->host, "GroupAdd");

	um_vec_foreach (it, &o.group_add)
		um_json_append(list, um_json_new_str(m->a, *it));
}

/* Those that a namespace of the container's has: others would be the machine's. */
static bool of_namespaces(const char *name, bool own_network, bool own_ipc)
{
	static const char *const ipc[] = {"kernel.msgmax", "kernel.msgmnb",	    "kernel.msgmni",
					  "kernel.sem",	   "kernel.shmall",	    "kernel.shmmax",
					  "kernel.shmmni", "kernel.shm_rmid_forced"};

	if (!strncmp(name, "net.", 4))
		return own_network;
	if (!strncmp(name, "fs.mqueue.", 10))
		return own_ipc;
	for (size_t i = 0; i < UM_ARRAY_LEN(ipc); i++)
		if (!strcmp(name, ipc[i]))
			return own_ipc;
	return false;
}

static int set_sysctls(const struct maker *m)
{
	struct um_json *obj = um_json_ensure_obj(m->a, m->host, "Sysctls");
	bool own_network = !o.network || strcmp(o.network, "host") != 0;
	bool own_ipc = !o.ipc || strcmp(o.ipc, "host") != 0;

	um_vec_foreach (it, &o.sysctl) {
		size_t len = strcspn(*it, "=");
		char *key = um_arena_strndup(m->a, *it, len);

		if (!(*it)[len] || !len || !key)
			return bad_argument(m, *it, "sysctl");
		if (!of_namespaces(key, own_network, own_ipc))
			return um_error_set(m->err, -EINVAL,
					    "invalid argument \"%.200s\" for \"--sysctl\" flag: it "
					    "is no sysctl of the container's own namespaces",
					    *it);
		um_json_set_str(m->a, obj, key, *it + len + 1);
	}
	return 0;
}

int ctr_set_limits(const struct maker *m)
{
	int64_t memory = 0, milli = 0, pids = 0;
	int timeout, r;

	if (o.memory && (ctr_parse_bytes(o.memory, &memory) < 0))
		return um_error_set(
			m->err, -EINVAL,
			"invalid argument \"%s\" for \"-m, --memory\" flag: invalid size",
			o.memory);
	if (memory && memory < 6 << 20)
		return um_error_set(m->err, -EINVAL, "Minimum memory limit allowed is 6MB");
	if (o.cpus && ctr_parse_cpus(o.cpus, &milli, m->err) < 0)
		return -EINVAL;
	if (o.cpus && milli > sysconf(_SC_NPROCESSORS_ONLN) * 1000)
		return um_error_set(
			m->err, -EINVAL,
			"Range of CPUs is from 0.01 to %ld.00, as there are only %ld CPUs "
			"available",
			sysconf(_SC_NPROCESSORS_ONLN), sysconf(_SC_NPROCESSORS_ONLN));
	if (o.pids_limit && um_num_i64(o.pids_limit, -1, 4194304, &pids) < 0)
		return um_error_set(m->err, -EINVAL,
				    "invalid argument \"%s\" for \"--pids-limit\" flag",
				    o.pids_limit);
	r = set_memory(m, memory);
	r = r < 0 ? r : set_cpu(m);
	r = r < 0 ? r : set_sysctls(m);
	set_groups(m);
	if (r < 0)
		return r;
	um_json_set_i64(m->a, m->host, "Memory", memory);
	um_json_set_i64(m->a, m->host, "NanoCpus", milli * 1000000);
	um_json_set_i64(m->a, m->host, "PidsLimit", pids);
	if (o.stop_timeout) {
		if (um_num_int(o.stop_timeout, -1, 1 << 30, &timeout) < 0)
			return um_error_set(m->err, -EINVAL,
					    "invalid argument \"%s\" for \"--stop-timeout\" flag",
					    o.stop_timeout);
		um_json_set_i64(m->a, m->config, "StopTimeout", timeout);
	}
	return 0;
}
