/* Where things are. */
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>

#include "base/io.h"
#include "cli/ctr/ctr.h"

struct ctr_env ctr_env;

extern char **environ;

static const char *given(const char *option, const char *variable, const char *fallback)
{
	const char *v = option ? option : getenv(variable);

	return v && *v ? v : fallback;
}

static int set_paths(struct ctr_env *e)
{
	int r = um_io_path(e->state, sizeof(e->state), "%s/var/lib/umiak/ctr", e->root);

	r |= um_io_path(e->volumes, sizeof(e->volumes), "%s/var/lib/umiak/volumes", e->root);
	r |= um_io_path(e->images_dir, sizeof(e->images_dir), "%s/var/lib/umiak/images", e->root);
	r |= um_io_path(e->run, sizeof(e->run), "%s/run/umiak/ctr", e->root);
	r |= um_io_path(e->oci_root, sizeof(e->oci_root), "%s/oci", e->run);
	r |= um_io_path(e->net_dir, sizeof(e->net_dir), "%s/net", e->state);
	r |= um_io_path(e->shim, sizeof(e->shim), "%s/umiak-shim", e->libexec);
	r |= um_io_path(e->oci, sizeof(e->oci), "%s/umiak-oci", e->libexec);
	if (access(e->oci, X_OK) < 0) /* it is a program for people too */
		r |= um_io_path(e->oci, sizeof(e->oci), "%s/umiak-oci", UM_BINDIR);
	return r;
}

int ctr_env_open(struct um_error *err)
{
	struct ctr_env *e = &ctr_env;
	char names[1100];
	int r;

	e->root = given(e->root, "UMIAK_ROOT", "");
	e->libexec = given(e->libexec, "UMIAK_LIBEXEC", UM_LIBEXECDIR);
	e->cgroup_parent = given(e->cgroup_parent, "UMIAK_CTR_CGROUP", "umiak-ctr");
	e->range = given(e->range, "UMIAK_CTR_RANGE", "10.245.0.0/16");
	if (strlen(e->root) > 400 || strlen(e->libexec) > 1000 || strlen(e->cgroup_parent) > 100 ||
	    strchr(e->cgroup_parent, '/') || (*e->root && *e->root != '/'))
		return um_error_set(err, -EINVAL,
				    "--root, --libexec-dir or --cgroup-parent is not valid");
	r = set_paths(e);
	if (r < 0)
		return um_error_errno(err, r, "--root");
	if (geteuid() != 0)
		return um_error_set(err, -EPERM, "containers need root");
	snprintf(names, sizeof(names), "%.1023s/names", e->state);
	r = um_io_mkdirs(AT_FDCWD, names, 0700, err);
	if (r == 0)
		r = um_io_mkdirs(AT_FDCWD, e->run, 0700, err);
	return r;
}

int ctr_images(struct um_images **ret, struct um_error *err)
{
	int r = 0;

	if (!ctr_env.images)
		r = um_images_open(ctr_env.images_dir, &ctr_env.images, err);
	*ret = ctr_env.images;
	return r;
}

struct um_ctr_net ctr_net(void)
{
	return (struct um_ctr_net){ctr_env.range, ctr_env.net_dir};
}

int ctr_new_id(char id[CTR_ID_LEN + 1], struct um_error *err)
{
	unsigned char raw[CTR_ID_LEN / 2];

	/* A short form of digits alone could be taken for a number elsewhere. */
	do {
		if (getrandom(raw, sizeof(raw), 0) != sizeof(raw))
			return um_error_errno(err, -errno, "getrandom");
		for (size_t i = 0; i < sizeof(raw); i++)
			snprintf(id + 2 * i, 3, "%02x", raw[i]);
	} while (strspn(id, "0123456789") >= CTR_SHORT_LEN);
	return 0;
}

int ctr_run_program(char *const argv[])
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none;
	int r, status;
	pid_t pid;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
	posix_spawnattr_init(&attr);
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	r = posix_spawn(&pid, argv[0], &fa, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	if (r)
		return -r;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return status;
}
