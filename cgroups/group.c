#include "cgroups/internal.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/buf.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/sys.h"

#define REMOVE_TRIES 500 /* of 10 ms */
#define MAX_DEPTH 64

int um_cgroup_check_path(const char *path, struct um_error *err)
{
	const char *p = path;
	unsigned depth = 0;

	if (!*path || !strcmp(path, "/"))
		return um_error_set(err, -EINVAL, "cgroup path is empty");
	if (strlen(path) > 2000)
		return um_error_set(err, -EINVAL, "cgroup path is longer than 2000 bytes");
	while (*p) {
		size_t len;

		p += strspn(p, "/");
		len = strcspn(p, "/");
		if ((len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
			return um_error_set(err, -EINVAL, "cgroup path %s contains . or ..", path);
		if (len > NAME_MAX)
			return um_error_set(err, -EINVAL, "cgroup path has a name over 255 bytes");
		if (len && ++depth > MAX_DEPTH)
			return um_error_set(err, -EINVAL, "cgroup path is deeper than %d",
					    MAX_DEPTH);
		p += len;
	}
	if (strchr(path, '\n') || !depth)
		return um_error_set(err, -EINVAL, "cgroup path %s is not valid", path);
	return 0;
}

static struct um_cgroup *group_new(const struct um_cgroups *host, const char *path)
{
	struct um_cgroup *cg = calloc(1, sizeof(*cg));

	if (!cg)
		return NULL;
	cg->host = host;
	for (size_t i = 0; i < UM_CGROUP_MAX_HIERARCHIES; i++)
		cg->fds[i] = cg->join_fds[i] = -1;
	cg->path = malloc(strlen(path) + 2);
	if (!cg->path) {
		free(cg);
		return NULL;
	}
	snprintf(cg->path, strlen(path) + 2, "/%s", path + strspn(path, "/"));
	for (size_t n = strlen(cg->path); n > 1 && cg->path[n - 1] == '/'; n--)
		cg->path[n - 1] = '\0';
	return cg;
}

void um_cgroup_free(struct um_cgroup *cg)
{
	if (!cg)
		return;
	for (size_t i = 0; i < UM_CGROUP_MAX_HIERARCHIES; i++) {
		um_close(cg->fds[i]);
		um_close(cg->join_fds[i]);
	}
	free(cg->path);
	free(cg);
}

/* A new v1 cpuset is empty and takes nobody: fill it from the parent. */
static int inherit_cpuset(int parent, int dir)
{
	static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};

	for (size_t i = 0; i < UM_ARRAY_LEN(files); i++) {
		char have[1024], want[1024];
		int r = um_cgroup_read(dir, files[i], have, sizeof(have));

		if (r < 0)
			return r;
		if (have[0] && have[0] != '\n')
			continue;
		r = um_cgroup_read(parent, files[i], want, sizeof(want));
		if (r < 0)
			return r;
		um_why("a new cpuset takes nobody: it gets the CPUs and memory nodes of its "
		       "parent");
		r = um_io_write_value(dir, files[i], want);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Enables for the children of @dir whatever it may pass on. A refusal shows later, as a missing
 * file that is named then. */
static void enable_controllers(int dir)
{
	static const enum um_cgroup_controller all[] = {UM_CG_CPU,    UM_CG_CPUSET, UM_CG_IO,
							UM_CG_MEMORY, UM_CG_PIDS,   UM_CG_HUGETLB,
							UM_CG_RDMA,   UM_CG_MISC};
	char have[256] = "", enabled[256] = "";

	if (um_cgroup_read(dir, "cgroup.controllers", have, sizeof(have)) < 0 ||
	    um_cgroup_read(dir, "cgroup.subtree_control", enabled, sizeof(enabled)) < 0)
		return;
	for (size_t i = 0; i < UM_ARRAY_LEN(all); i++) {
		const char *name = um_cgroup_controller_name(all[i], true);
		size_t len = strlen(name);
		bool offered = false, on = false;
		char text[32];

		for (const char *p = have; (p = strstr(p, name)); p += len)
			offered |= (p == have || p[-1] == ' ') && strchr(" \n", p[len]);
		for (const char *p = enabled; (p = strstr(p, name)); p += len)
			on |= (p == enabled || p[-1] == ' ') && strchr(" \n", p[len]);
		if (!offered || on)
			continue;
		um_why("the groups below may use controller %s", name);
		snprintf(text, sizeof(text), "+%s", name);
		if (um_io_write_value(dir, "cgroup.subtree_control", text) < 0)
			continue;
	}
}

/* Walks @path below hierarchy @h; makes what is missing when @create. Returns the leaf's fd. */
static int walk(const struct um_cgroup_hierarchy *h, const char *path, bool create, bool *created)
{
	_cleanup_close_ int dir = um_cgroup_open_dir(h->mount_fd, ".");

	if (dir < 0)
		return dir;
	for (const char *p = path + strspn(path, "/"); *p;) {
		size_t len = strcspn(p, "/");
		char name[NAME_MAX + 1];
		bool made = false;
		int next, r;

		memcpy(name, p, len);
		name[len] = '\0';
		p += len;
		p += strspn(p, "/");
		if (create && h->v2 && h->controllers)
			enable_controllers(dir);
		next = um_cgroup_open_dir(dir, name);
		if (next == -ENOENT && create) {
			um_why("the cgroup %s in %s", path, h->mount_point);
			if (um_sys_mkdirat(dir, name, 0755) < 0 && errno != EEXIST)
				return -errno;
			made = true;
			next = um_cgroup_open_dir(dir, name);
		}
		if (next < 0)
			return next;
		if (create && !h->v2 && h->controllers & UINT32_C(1) << UM_CG_CPUSET) {
			r = inherit_cpuset(dir, next);
			if (r < 0) {
				um_close(next);
				return r;
			}
		}
		um_close(dir);
		dir = next;
		*created = made;
	}
	return TAKE_FD(dir);
}

int um_cgroup_create(const struct um_cgroups *host, const char *path, struct um_cgroup **ret,
		     bool *ret_created, struct um_error *err)
{
	_cleanup_(um_cgroup_freep) struct um_cgroup *cg = NULL;
	bool any = false;
	int r = um_cgroup_check_path(path, err);

	if (r < 0)
		return r;
	cg = group_new(host, path);
	if (!cg)
		return -ENOMEM;
	for (size_t i = 0; i < host->n; i++) {
		bool created = false;

		cg->fds[i] = walk(&host->h[i], cg->path, true, &created);
		if (cg->fds[i] < 0) {
			r = cg->fds[i];
			return um_error_errno(err, r, "create cgroup %s in %s", cg->path,
					      host->h[i].mount_point);
		}
		any = any || created;
		UM_FAULT("cgroups.create.hierarchy");
	}
	if (ret_created)
		*ret_created = any;
	*ret = TAKE_PTR(cg);
	return 0;
}

int um_cgroup_open(const struct um_cgroups *host, const char *path, struct um_cgroup **ret,
		   struct um_error *err)
{
	_cleanup_(um_cgroup_freep) struct um_cgroup *cg = NULL;
	size_t found = 0;
	int r = um_cgroup_check_path(path, err);

	if (r < 0)
		return r;
	cg = group_new(host, path);
	if (!cg)
		return -ENOMEM;
	for (size_t i = 0; i < host->n; i++) {
		bool created;

		cg->fds[i] = walk(&host->h[i], cg->path, false, &created);
		if (cg->fds[i] >= 0)
			found++;
		else if (cg->fds[i] != -ENOENT)
			return um_error_errno(err, cg->fds[i], "open cgroup %s in %s", cg->path,
					      host->h[i].mount_point);
	}
	if (!found)
		return um_error_set(err, -ENOENT, "cgroup %s does not exist", cg->path);
	*ret = TAKE_PTR(cg);
	return 0;
}

int um_cgroup_clone_fd(const struct um_cgroup *cg)
{
	int v2 = um_cgroup_find_v2(cg->host);

	return v2 < 0 ? -1 : cg->fds[v2];
}

int um_cgroup_prepare_join(struct um_cgroup *cg, struct um_error *err)
{
	for (size_t i = 0; i < cg->host->n; i++) {
		const char *file = cg->host->h[i].v2 ? "cgroup.procs" : "tasks";

		if (cg->fds[i] < 0 || cg->join_fds[i] >= 0)
			continue;
		cg->join_fds[i] = openat(cg->fds[i], file, O_WRONLY | O_CLOEXEC);
		if (cg->join_fds[i] < 0)
			return um_error_errno(err, -errno, "open %s%s/%s",
					      cg->host->h[i].mount_point, cg->path, file);
	}
	return 0;
}

int um_cgroup_join_self(const struct um_cgroup *cg, bool in_v2)
{
	for (size_t i = 0; i < cg->host->n; i++) {
		if (cg->join_fds[i] < 0 || (in_v2 && cg->host->h[i].v2))
			continue;
		if (um_sys_write(cg->join_fds[i], "0", 1) != 1)
			return -errno;
	}
	return 0;
}

/* Removes the directories below @dir, deepest first. */
static int remove_children(int dir, unsigned depth)
{
	_cleanup_closedir_ DIR *d = NULL;
	_cleanup_close_ int dup_fd = um_cgroup_open_dir(dir, ".");
	struct dirent *e;
	int r = 0;

	if (depth > MAX_DEPTH)
		return -ELOOP;
	if (dup_fd < 0)
		return dup_fd;
	d = fdopendir(dup_fd);
	if (!d)
		return -errno;
	dup_fd = -1;
	while ((e = readdir(d))) {
		_cleanup_close_ int child = -1;
		int k;

		if (e->d_type != DT_DIR || !strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		child = um_cgroup_open_dir(dir, e->d_name);
		if (child < 0)
			continue;
		k = remove_children(child, depth + 1);
		if (k < 0)
			r = k;
		if (um_sys_unlinkat(dir, e->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			r = -errno;
	}
	return r;
}

static int remove_once(const struct um_cgroup_hierarchy *h, const char *path)
{
	_cleanup_close_ int dir = -1;
	bool created;

	if (!um_sys_unlinkat(h->mount_fd, path + 1, AT_REMOVEDIR) || errno == ENOENT)
		return 0;
	if (errno != EBUSY && errno != ENOTEMPTY)
		return -errno;
	dir = walk(h, path, false, &created);
	if (dir == -ENOENT)
		return 0;
	if (dir < 0)
		return dir;
	(void)!remove_children(dir, 0); /* what is left shows below */
	if (!um_sys_unlinkat(h->mount_fd, path + 1, AT_REMOVEDIR) || errno == ENOENT)
		return 0;
	return -errno;
}

int um_cgroup_remove(const struct um_cgroups *host, const char *path, struct um_error *err)
{
	_cleanup_(um_cgroup_freep) struct um_cgroup *cg = NULL;
	int r = um_cgroup_check_path(path, err);

	if (r < 0)
		return r;
	cg = group_new(host, path);
	if (!cg)
		return -ENOMEM;
	for (size_t i = 0; i < host->n; i++) {
		for (int tries = 0;; tries++) {
			struct timespec wait = {0, tries < 20 ? 500 * 1000 : 10 * 1000 * 1000};

			r = remove_once(&host->h[i], cg->path);
			if (r != -EBUSY || tries == REMOVE_TRIES)
				break;
			nanosleep(&wait, NULL);
		}
		if (r < 0)
			return um_error_errno(err, r, "remove cgroup %s%s", host->h[i].mount_point,
					      cg->path);
		UM_FAULT("cgroups.remove.hierarchy");
	}
	return 0;
}
