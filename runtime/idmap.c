#include "runtime/idmap.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "base/io.h"
#include "runtime/explain.h"
#include "runtime/sys.h"

#define MAX_HELPER_MAPS 340 /* what the kernel takes */

static int write_map(pid_t pid, const char *file, const struct um_spec_idmap *maps, size_t n,
		     struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(65536);
	char path[64];
	int r;

	if (!n)
		return 0;
	for (size_t i = 0; i < n; i++)
		um_buf_addf(&b, "%u %u %u\n", maps[i].container_id, maps[i].host_id, maps[i].size);
	if (um_buf_error(&b))
		return um_error_set(err, -E2BIG, "%s: too many mappings", file);
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	r = um_io_write_value(AT_FDCWD, path, um_buf_str(&b));
	return r < 0 ? um_error_errno(err, r, "write %s", file) : 0;
}

static int wait_helper(pid_t pid, const char *name, struct um_error *err)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return um_error_errno(err, -errno, "wait for %s", name);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return um_error_set(err, -ENOENT,
				    "%s is not installed: without it, who is not root maps one id, "
				    "its own",
				    name);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return um_error_set(err, -EPERM, "%s refuses the mappings (see /etc/sub%cid)", name,
				    name[3]);
	return 0;
}

/* newuidmap PID CONTAINER HOST SIZE ... */
static int call_helper(const char *name, pid_t target, const struct um_spec_idmap *maps, size_t n,
		       struct um_error *err)
{
	char text[3 * MAX_HELPER_MAPS + 1][12], *argv[3 * MAX_HELPER_MAPS + 3];
	size_t k = 0;
	pid_t pid;

	if (n > MAX_HELPER_MAPS)
		return um_error_set(err, -E2BIG, "%s: too many mappings", name);
	argv[0] = (char *)(uintptr_t)name;
	snprintf(text[k++], sizeof(text[0]), "%d", target);
	for (size_t i = 0; i < n; i++) {
		snprintf(text[k++], sizeof(text[0]), "%u", maps[i].container_id);
		snprintf(text[k++], sizeof(text[0]), "%u", maps[i].host_id);
		snprintf(text[k++], sizeof(text[0]), "%u", maps[i].size);
	}
	for (size_t i = 0; i < k; i++)
		argv[i + 1] = text[i];
	argv[k + 1] = NULL;
	um_why("%s may map more ids than we may", name);
	pid = um_sys_fork();
	if (pid < 0)
		return um_error_errno(err, -errno, "fork");
	if (!pid) {
		sigset_t none;

		um_explain_child(name, 0);

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		um_sys_execvp(name, argv);
		_exit(127);
	}
	return wait_helper(pid, name, err);
}

static bool maps_itself(const struct um_spec_idmap *maps, size_t n, uint32_t own)
{
	return n == 1 && maps[0].size == 1 && maps[0].host_id == own;
}

static int deny_setgroups(pid_t pid, struct um_error *err)
{
	char path[64];
	int r;

	um_why("who is not root maps groups only where setgroups(2) is denied");
	snprintf(path, sizeof(path), "/proc/%d/setgroups", pid);
	r = um_io_write_value(AT_FDCWD, path, "deny");
	return r < 0 ? um_error_errno(err, r, "write setgroups") : 0;
}

bool um_idmap_denies_setgroups(const struct um_spec *s)
{
	return geteuid() != 0 && s->n_gid_map && maps_itself(s->gid_map, s->n_gid_map, getegid());
}

int um_idmap_write(const struct um_spec *s, pid_t pid, struct um_error *err)
{
	bool root = geteuid() == 0;
	int r = 0;

	um_why("whom the users and groups of the container's user namespace are outside");

	if ((!s->n_uid_map && !s->n_gid_map) || s->ns[UM_NS_USER].path)
		return 0; /* one that is joined has its maps */
	if (root || maps_itself(s->uid_map, s->n_uid_map, geteuid()))
		r = write_map(pid, "uid_map", s->uid_map, s->n_uid_map, err);
	else
		r = call_helper("newuidmap", pid, s->uid_map, s->n_uid_map, err);
	if (r < 0)
		return r;
	if (!root && !um_idmap_denies_setgroups(s))
		return call_helper("newgidmap", pid, s->gid_map, s->n_gid_map, err);
	/* the kernel takes a group map of the unprivileged only so */
	if (!root)
		r = deny_setgroups(pid, err);
	return r < 0 ? r : write_map(pid, "gid_map", s->gid_map, s->n_gid_map, err);
}

/* ---- mounts ---- */

/* A user namespace needs a process to be made by, and none to last. */
static int make_user_ns(const struct um_spec_mount *m, int *ret, struct um_error *err)
{
	struct clone_args args = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
	char path[64];
	int r, pid;

	um_why("mounts on %s: a user namespace that holds the mount's id mappings", m->destination);
	pid = um_sys_clone3(&args);

	if (pid < 0)
		return um_error_errno(err, -errno, "new user namespace");
	if (!pid)
		for (;;)
			pause();
	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	r = write_map(pid, "uid_map", m->uid_map, m->n_uid_map, err);
	if (r >= 0)
		r = write_map(pid, "gid_map", m->gid_map, m->n_gid_map, err);
	if (r >= 0) {
		*ret = open(path, O_RDONLY | O_CLOEXEC);
		if (*ret < 0)
			r = um_error_errno(err, -errno, "open the user namespace");
	}
	um_why("the namespace is open: its process is needed no more");
	um_sys_kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return r;
}

static int map_ids(const struct um_spec *s, const struct um_spec_mount *m, int user_ns, int mfd,
		   struct um_error *err)
{
	struct um_spec_mount maps = *m;
	_cleanup_close_ int made = -1;
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP};
	int r;

	if (!m->n_uid_map && user_ns < 0) {
		maps.uid_map = s->uid_map;
		maps.gid_map = s->gid_map;
		maps.n_uid_map = s->n_uid_map;
		maps.n_gid_map = s->n_gid_map;
	}
	if (maps.n_uid_map) {
		r = make_user_ns(&maps, &made, err);
		if (r < 0)
			return r;
	}
	attr.userns_fd = (uint64_t)(made >= 0 ? made : user_ns);
	if (um_sys_mount_setattr(mfd, "", AT_EMPTY_PATH | (m->idmap_recursive ? AT_RECURSIVE : 0),
				 &attr, sizeof(attr)) < 0)
		return um_error_errno(err, -errno, "idmap of %s", m->source);
	return 0;
}

int um_idmap_source(const struct um_spec *s, size_t index, const char *bundle, int user_ns,
		    int *ret, struct um_error *err)
{
	const struct um_spec_mount *m = &s->mounts[index];
	_cleanup_close_ int mfd = -1;
	char source[PATH_MAX];
	int r = um_io_path(source, sizeof(source), "%s%s%s", m->source[0] == '/' ? "" : bundle,
			   m->source[0] == '/' ? "" : "/", m->source);

	if (r < 0)
		return um_error_errno(err, r, "source");
	um_why("mounts on %s: a copy of its source%s", m->destination,
	       m->idmap ? " with mapped owners" : "");
	mfd = um_sys_open_tree(AT_FDCWD, source,
			       OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
				       (m->links & UM_LINK_SOURCE ? AT_SYMLINK_NOFOLLOW : 0) |
				       (m->recursive ? AT_RECURSIVE : 0));
	if (mfd < 0)
		return um_error_errno(err, -errno, "bind source %s", source);
	r = m->idmap ? map_ids(s, m, user_ns, mfd, err) : 0;
	if (r >= 0)
		*ret = TAKE_FD(mfd);
	return r;
}
