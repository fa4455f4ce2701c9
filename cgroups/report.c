/* Everything that a group's controllers count, as the JSON that `events` shows. */
#include "cgroups/internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/num.h"
#include "cgroups/report.h"

struct dir {
	int fd;
	bool v2;
};

static bool dir_of(const struct um_cgroup *cg, enum um_cgroup_controller c, struct dir *ret)
{
	int i = um_cgroup_find(cg->host, c);

	if (i < 0 || cg->fds[i] < 0)
		return false;
	*ret = (struct dir){cg->fds[i], cg->host->h[i].v2};
	return true;
}

static void set_u64(struct um_arena *a, struct um_json *o, const char *key, uint64_t v)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%" PRIu64, v);

	um_json_set(a, o, key, um_json_new_num(a, text, (size_t)n));
}

/* A file with one number; "max" is the largest. A file that is not there leaves no field. */
static void set_file(struct um_arena *a, struct um_json *o, const char *key, int fd,
		     const char *file)
{
	char text[64];
	uint64_t v;

	if (um_cgroup_read_u64(fd, file, &v) == 0)
		set_u64(a, o, key, v);
	else if (um_cgroup_read(fd, file, text, sizeof(text)) >= 0 && !strncmp(text, "max", 3))
		set_u64(a, o, key, UINT64_MAX);
}

static void set_key(struct um_arena *a, struct um_json *o, const char *key, int fd,
		    const char *file, const char *name, uint64_t factor)
{
	uint64_t v;

	if (um_cgroup_read_key(fd, file, name, &v) == 0)
		set_u64(a, o, key, v * factor);
}

/* ---- cpu ---- */

static void percpu(struct um_arena *a, struct um_json *usage, int fd)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(256 << 10);
	struct um_json *list;

	if (um_io_read_file(fd, "cpuacct.usage_percpu", &b, NULL) < 0)
		return;
	list = um_json_ensure_arr(a, usage, "percpu");
	for (const char *p = um_buf_str(&b); *p;) {
		size_t len = strcspn(p, " \n");

		if (len)
			um_json_append(list, um_json_new_num(a, p, len));
		p += len;
		p += strspn(p, " \n");
	}
}

static void report_cpu(const struct um_cgroup *cg, struct um_arena *a, struct um_json *out)
{
	struct um_json *cpu = um_json_ensure_obj(a, out, "cpu");
	struct um_json *usage = um_json_ensure_obj(a, cpu, "usage");
	struct um_json *throttling = um_json_ensure_obj(a, cpu, "throttling");
	struct dir d = {-1, false};
	int v2;

	if (dir_of(cg, UM_CG_CPUACCT, &d) && !d.v2) {
		set_file(a, usage, "total", d.fd, "cpuacct.usage");
		percpu(a, usage, d.fd);
		/* in USER_HZ, which is 100 everywhere */
		set_key(a, usage, "kernel", d.fd, "cpuacct.stat", "system", 10000000);
		set_key(a, usage, "user", d.fd, "cpuacct.stat", "user", 10000000);
	} else if ((v2 = um_cgroup_clone_fd(cg)) >= 0) {
		set_key(a, usage, "total", v2, "cpu.stat", "usage_usec", 1000);
		set_key(a, usage, "kernel", v2, "cpu.stat", "system_usec", 1000);
		set_key(a, usage, "user", v2, "cpu.stat", "user_usec", 1000);
	}
	if (!dir_of(cg, UM_CG_CPU, &d))
		return;
	set_key(a, throttling, "periods", d.fd, "cpu.stat", "nr_periods", 1);
	set_key(a, throttling, "throttledPeriods", d.fd, "cpu.stat", "nr_throttled", 1);
	set_key(a, throttling, "throttledTime", d.fd, "cpu.stat",
		d.v2 ? "throttled_usec" : "throttled_time", d.v2 ? 1000 : 1);
	if (d.v2) {
		struct um_json *burst = um_json_ensure_obj(a, cpu, "burst");

		set_key(a, burst, "burstsPeriods", d.fd, "cpu.stat", "nr_bursts", 1);
		set_key(a, burst, "burstTime", d.fd, "cpu.stat", "burst_usec", 1000);
	}
}

/* ---- memory ---- */

static void memory_entry(struct um_arena *a, struct um_json *memory, const char *key, int fd,
			 const char *prefix)
{
	static const char *const fields[][2] = {{"limit", "limit_in_bytes"},
						{"usage", "usage_in_bytes"},
						{"max", "max_usage_in_bytes"},
						{"failcnt", "failcnt"}};
	struct um_json *o = um_json_ensure_obj(a, memory, key);
	char file[64];

	for (size_t i = 0; i < UM_ARRAY_LEN(fields); i++) {
		snprintf(file, sizeof(file), "%s.%s", prefix, fields[i][1]);
		set_file(a, o, fields[i][0], fd, file);
	}
}

static void memory_raw(struct um_arena *a, struct um_json *memory, int fd)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(64 << 10);
	struct um_json *raw = um_json_ensure_obj(a, memory, "raw");
	char key[64];

	if (um_io_read_file(fd, "memory.stat", &b, NULL) < 0)
		return;
	for (const char *p = um_buf_str(&b); *p;) {
		size_t line = strcspn(p, "\n"), name = strcspn(p, " \n");
		uint64_t v;

		if (name < line && name < sizeof(key) &&
		    um_num_u64n(p + name + 1, line - name - 1, UINT64_MAX, &v) == 0) {
			memcpy(key, p, name);
			key[name] = '\0';
			set_u64(a, raw, key, v);
		}
		p += line;
		p += *p == '\n';
	}
}

static void report_memory(const struct um_cgroup *cg, struct um_arena *a, struct um_json *out)
{
	struct um_json *memory = um_json_ensure_obj(a, out, "memory"), *usage, *swap;
	struct dir d;

	if (!dir_of(cg, UM_CG_MEMORY, &d))
		return;
	set_key(a, memory, "cache", d.fd, "memory.stat", d.v2 ? "file" : "cache", 1);
	if (d.v2) {
		usage = um_json_ensure_obj(a, memory, "usage");
		set_file(a, usage, "limit", d.fd, "memory.max");
		set_file(a, usage, "usage", d.fd, "memory.current");
		set_file(a, usage, "max", d.fd, "memory.peak");
		set_key(a, usage, "failcnt", d.fd, "memory.events", "max", 1);
		swap = um_json_ensure_obj(a, memory, "swap");
		set_file(a, swap, "limit", d.fd, "memory.swap.max");
		set_file(a, swap, "usage", d.fd, "memory.swap.current");
		set_key(a, swap, "failcnt", d.fd, "memory.swap.events", "fail", 1);
	} else {
		memory_entry(a, memory, "usage", d.fd, "memory");
		memory_entry(a, memory, "swap", d.fd, "memory.memsw");
		memory_entry(a, memory, "kernel", d.fd, "memory.kmem");
		memory_entry(a, memory, "kernelTCP", d.fd, "memory.kmem.tcp");
	}
	memory_raw(a, memory, d.fd);
}

/* ---- block devices ---- */

static void io_entry(struct um_arena *a, struct um_json *list, const uint64_t dev[2],
		     const char *op, uint64_t value)
{
	struct um_json *o = um_json_new_obj(a);

	set_u64(a, o, "major", dev[0]);
	set_u64(a, o, "minor", dev[1]);
	um_json_set_str(a, o, "op", op);
	set_u64(a, o, "value", value);
	um_json_append(list, o);
}

/* "8:16" at *p, which moves behind it and the space. */
static bool io_device(const char **p, uint64_t dev[2])
{
	size_t major = strcspn(*p, ": \n"), minor;

	if ((*p)[major] != ':' || um_num_u64n(*p, major, UINT32_MAX, &dev[0]) < 0)
		return false;
	*p += major + 1;
	minor = strcspn(*p, " \n");
	if (um_num_u64n(*p, minor, UINT32_MAX, &dev[1]) < 0)
		return false;
	*p += minor;
	*p += **p == ' ';
	return true;
}

/* v1: "8:0 Read 4096" a line. */
static void io_v1(struct um_arena *a, struct um_json *list, int fd, const char *file)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	const char *p;

	if (um_io_read_file(fd, file, &b, NULL) < 0)
		return;
	for (p = um_buf_str(&b); *p;) {
		uint64_t dev[2], v;

		if (io_device(&p, dev)) {
			size_t op = strcspn(p, " \n"), line = strcspn(p, "\n");
			char name[16];

			if (op < line && op < sizeof(name) &&
			    um_num_u64n(p + op + 1, line - op - 1, UINT64_MAX, &v) == 0) {
				memcpy(name, p, op);
				name[op] = '\0';
				io_entry(a, list, dev, name, v);
			}
		}
		p += strcspn(p, "\n");
		p += *p == '\n';
	}
}

/* v2: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 ..." a line. */
static void io_v2(struct um_arena *a, struct um_json *bytes, struct um_json *count, int fd)
{
	static const struct {
		const char *key, *op;
		bool bytes;
	} keys[] = {{"rbytes=", "Read", true},	  {"wbytes=", "Write", true},
		    {"dbytes=", "Discard", true}, {"rios=", "Read", false},
		    {"wios=", "Write", false},	  {"dios=", "Discard", false}};
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	const char *p;

	if (um_io_read_file(fd, "io.stat", &b, NULL) < 0)
		return;
	for (p = um_buf_str(&b); *p;) {
		uint64_t dev[2], v;
		bool ok = io_device(&p, dev);

		while (ok && *p && *p != '\n') {
			size_t len = strcspn(p, " \n");

			for (size_t k = 0; k < UM_ARRAY_LEN(keys); k++) {
				size_t n = strlen(keys[k].key);

				if (len > n && !strncmp(p, keys[k].key, n) &&
				    um_num_u64n(p + n, len - n, UINT64_MAX, &v) == 0)
					io_entry(a, keys[k].bytes ? bytes : count, dev, keys[k].op,
						 v);
			}
			p += len;
			p += *p == ' ';
		}
		p += strcspn(p, "\n");
		p += *p == '\n';
	}
}

static void report_io(const struct um_cgroup *cg, struct um_arena *a, struct um_json *out)
{
	struct um_json *io = um_json_ensure_obj(a, out, "blkio");
	struct um_json *bytes = um_json_ensure_arr(a, io, "ioServiceBytesRecursive");
	struct um_json *count = um_json_ensure_arr(a, io, "ioServicedRecursive");
	struct dir d;

	if (!dir_of(cg, UM_CG_IO, &d))
		return;
	if (d.v2) {
		io_v2(a, bytes, count, d.fd);
		return;
	}
	io_v1(a, bytes, d.fd, "blkio.throttle.io_service_bytes_recursive");
	io_v1(a, count, d.fd, "blkio.throttle.io_serviced_recursive");
}

/* ---- pids, huge pages ---- */

static void report_pids(const struct um_cgroup *cg, struct um_arena *a, struct um_json *out)
{
	struct um_json *pids = um_json_ensure_obj(a, out, "pids");
	struct dir d;
	char text[64];

	if (!dir_of(cg, UM_CG_PIDS, &d))
		return;
	set_file(a, pids, "current", d.fd, "pids.current");
	/* no limit is shown as 0 */
	if (um_cgroup_read(d.fd, "pids.max", text, sizeof(text)) >= 0 && !strncmp(text, "max", 3))
		set_u64(a, pids, "limit", 0);
	else
		set_file(a, pids, "limit", d.fd, "pids.max");
}

static void hugetlb_size(struct um_arena *a, struct um_json *all, const struct dir *d,
			 const char *size)
{
	struct um_json *o = um_json_ensure_obj(a, all, size);
	char file[96];

	snprintf(file, sizeof(file), "hugetlb.%s.%s", size, d->v2 ? "current" : "usage_in_bytes");
	set_file(a, o, "usage", d->fd, file);
	if (d->v2) {
		snprintf(file, sizeof(file), "hugetlb.%s.events", size);
		set_key(a, o, "failcnt", d->fd, file, "max", 1);
		return;
	}
	snprintf(file, sizeof(file), "hugetlb.%s.max_usage_in_bytes", size);
	set_file(a, o, "max", d->fd, file);
	snprintf(file, sizeof(file), "hugetlb.%s.failcnt", size);
	set_file(a, o, "failcnt", d->fd, file);
}

static void report_hugetlb(const struct um_cgroup *cg, struct um_arena *a, struct um_json *out)
{
	struct um_json *all = um_json_ensure_obj(a, out, "hugetlb");
	_cleanup_closedir_ DIR *list = NULL;
	struct dirent *e;
	struct dir d;
	int fd;

	if (!dir_of(cg, UM_CG_HUGETLB, &d))
		return;
	fd = um_cgroup_open_dir(d.fd, ".");
	list = fd < 0 ? NULL : fdopendir(fd);
	if (!list) {
		um_close(fd);
		return;
	}
	while ((e = readdir(list))) {
		const char *suffix = d.v2 ? ".current" : ".usage_in_bytes";
		char size[32];
		size_t len;

		if (strncmp(e->d_name, "hugetlb.", 8))
			continue;
		len = strcspn(e->d_name + 8, ".");
		if (strcmp(e->d_name + 8 + len, suffix) || len >= sizeof(size))
			continue;
		memcpy(size, e->d_name + 8, len);
		size[len] = '\0';
		hugetlb_size(a, all, &d, size);
	}
}

int um_cgroup_report(const struct um_cgroup *cg, struct um_arena *a, struct um_json **ret,
		     struct um_error *err)
{
	struct um_json *out = um_json_new_obj(a);

	report_cpu(cg, a, out);
	report_memory(cg, a, out);
	report_pids(cg, a, out);
	report_io(cg, a, out);
	report_hugetlb(cg, a, out);
	if (um_arena_failed(a))
		return um_error_set(err, -ENOMEM, "statistics of cgroup %s", cg->path);
	*ret = out;
	return 0;
}
