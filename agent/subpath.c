#include "agent/subpath.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "agent/internal.h"
#include "agent/projection.h"
#include "base/io.h"

#define FOLDER "subpaths"
#define INSIDE (RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)

int subpath_target(const char *bundle, size_t index, char *buf, size_t size)
{
	return um_io_path(buf, size, "%s/" FOLDER "/%zu", bundle, index);
}

/* ---- which part ---- */

static int check_path(const char *path, struct um_error *err)
{
	if (*path == '/')
		return um_error_set(err, -EINVAL, "subPath \"%.200s\" must not be an absolute path",
				    path);
	for (const char *s = path; *s;) {
		size_t n = strcspn(s, "/");

		if (n == 2 && !memcmp(s, "..", 2))
			return um_error_set(err, -EINVAL,
					    "subPath \"%.200s\" must not contain '..'", path);
		s += n + (s[n] == '/');
	}
	return 0;
}

/* The part that a mount names, NULL: the whole volume. */
static int part_of(struct um_arena *a, const struct um_json *mount, const struct um_json *env,
		   const char **ret, struct um_error *err)
{
	const char *plain = um_json_get_str(mount, "subPath", "");
	const char *expr = um_json_get_str(mount, "subPathExpr", "");
	const char *missing;

	*ret = *plain ? plain : NULL;
	if (*expr) {
		missing = missing_var(a, expr, env);
		if (missing)
			return um_error_set(err, -EINVAL,
					    "subPathExpr \"%.200s\": missing value for \"%.200s\"",
					    expr, missing);
		*ret = expand_vars(a, expr, env);
		if (!*ret)
			return um_error_set(err, -ENOMEM, "subPathExpr: out of memory");
	}
	return *ret ? check_path(*ret, err) : 0;
}

/* ---- opening it ---- */

/* A new folder, as open to others as the one around it. */
static int make_one(int parent, const char *name)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (mkdirat(parent, name, 0700) < 0)
		return errno == EEXIST ? 0 : -errno;
	fd = um_io_openat2(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, INSIDE);
	if (fd < 0)
		return fd;
	if (fstat(parent, &st) < 0 || fchown(fd, (uid_t)-1, st.st_gid) < 0 ||
	    fchmod(fd, st.st_mode & 07777) < 0)
		return -errno;
	return 0;
}

/* Each missing folder of @path, below @volume. */
static int make_folders(int volume, const char *path)
{
	char prefix[PATH_MAX];
	size_t len = strlen(path);

	if (len >= sizeof(prefix))
		return -ENAMETOOLONG;
	for (size_t at = 0, from = 0; at <= len; at++) {
		_cleanup_close_ int parent = -1, fd = -1;
		int r;

		if (path[at] && path[at] != '/')
			continue;
		if (at == from) { /* an empty part */
			from = at + 1;
			continue;
		}
		snprintf(prefix, sizeof(prefix), "%.*s", (int)at, path);
		fd = um_io_openat2(volume, prefix, O_PATH, 0, INSIDE);
		if (fd == -ENOENT) {
			snprintf(prefix, sizeof(prefix), "%.*s", (int)from, path);
			parent = um_io_openat2(volume, from ? prefix : ".", O_PATH | O_DIRECTORY, 0,
					       INSIDE);
			if (parent < 0)
				return parent;
			snprintf(prefix, sizeof(prefix), "%.*s", (int)(at - from), path + from);
			r = make_one(parent, prefix);
			if (r < 0)
				return r;
		} else if (fd < 0) {
			return fd;
		}
		from = at + 1;
	}
	return 0;
}

static int open_part(const char *volume, const char *part, bool may_make, int *ret,
		     struct um_error *err)
{
	_cleanup_close_ int dir = open(volume, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = dir < 0 ? -errno : 0;

	if (r < 0)
		return um_error_errno(err, r, "open %s", volume);
	if (may_make)
		r = make_folders(dir, part);
	if (r == 0)
		r = um_io_openat2(dir, part, O_PATH, 0, INSIDE);
	if (r < 0)
		return um_error_errno(err, r, "subPath \"%.200s\"", part);
	*ret = r;
	return 0;
}

/* ---- mounting it ---- */

/* Something to mount upon. */
static int make_place(const char *path, bool folder, struct um_error *err)
{
	int fd;

	if (folder)
		return um_io_mkdirs(AT_FDCWD, path, 0700, err);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return um_error_errno(err, -errno, "make %s", path);
	um_close(fd);
	return 0;
}

/* A copy of the mount that hears of nothing and tells nobody: unmounting it leaves the node's own
 * mounts alone. */
static int mount_part(int part, const char *target, struct um_error *err)
{
	struct mount_attr lonely = {.propagation = MS_PRIVATE};
	_cleanup_close_ int tree = -1;
	struct stat st;
	int r;

	if (fstat(part, &st) < 0)
		return um_error_errno(err, -errno, "stat %s", target);
	r = make_place(target, S_ISDIR(st.st_mode), err);
	if (r < 0)
		return r;
	tree = open_tree(part, "",
			 OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
	if (tree < 0)
		return um_error_errno(err, -errno, "open_tree for %s", target);
	if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &lonely, sizeof(lonely)) < 0)
		return um_error_errno(err, -errno, "mount_setattr for %s", target);
	if (move_mount(tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return um_error_errno(err, -errno, "move_mount to %s", target);
	return 0;
}

static const struct um_json *find_volume(const struct agent_pod *p, const char *name)
{
	um_json_foreach (v, um_json_path(p->obj, "spec.volumes"))
		if (!strcmp(um_json_get_str(v, "name", ""), name))
			return v;
	return NULL;
}

static int make_part(const struct agent_ctr *c, const struct um_json *mount, const char *part,
		     const char *target, struct um_error *err)
{
	const char *name = um_json_get_str(mount, "name", "");
	const struct um_json *volume = find_volume(c->pod, name);
	_cleanup_close_ int fd = -1;
	char path[4096];
	int r;

	if (!volume || volume_path(c->pod, name, volume, path, sizeof(path)) < 0)
		return um_error_set(err, -EINVAL, "volumeMounts: no volume \"%s\"", name);
	r = open_part(path, part, !projection_is(volume), &fd, err);
	if (r == 0)
		r = mount_part(fd, target, err);
	return r < 0 ? um_error_wrap(err, r, "volume \"%s\"", name) : 0;
}

static bool has_parts(const struct um_json *mounts)
{
	um_json_foreach (vm, mounts)
		if (*um_json_get_str(vm, "subPath", "") || *um_json_get_str(vm, "subPathExpr", ""))
			return true;
	return false;
}

int subpaths_make(struct um_arena *a, const struct agent_ctr *c, const struct um_json *image_config,
		  const char *bundle, struct um_error *err)
{
	const struct um_json *mounts = um_json_get(c->spec, "volumeMounts"), *env;
	char target[4200];
	size_t i = 0;
	int r;

	if (!has_parts(mounts))
		return 0;
	env = ctr_environment(a, c, image_config, err);
	if (!env)
		return err->code ? err->code : -ENOMEM;
	snprintf(target, sizeof(target), "%s/" FOLDER, bundle);
	r = um_io_mkdirs(AT_FDCWD, target, 0700, err);
	um_json_foreach (vm, mounts) {
		const char *part = NULL;

		if (r == 0)
			r = part_of(a, vm, env, &part, err);
		if (r == 0 && part)
			r = subpath_target(bundle, i, target, sizeof(target));
		if (r == 0 && part)
			r = make_part(c, vm, part, target, err);
		i++;
	}
	return r;
}

int subpaths_release(const char *bundle, struct um_error *err)
{
	_cleanup_closedir_ DIR *d = NULL;
	struct dirent *e;
	char path[4200];

	snprintf(path, sizeof(path), "%s/" FOLDER, bundle);
	d = opendir(path);
	if (!d)
		return errno == ENOENT ? 0 : um_error_errno(err, -errno, "open %s", path);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/" FOLDER "/%.20s", bundle, e->d_name);
		while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
			;
		if (errno != EINVAL)
			return um_error_errno(err, -errno, "unmount %s", path);
	}
	return 0;
}
