/* What crashes left of runs, and of removals that were cut short. */
#include <dirent.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/io.h"
#include "cli/ctr/ctr.h"
#include "runtime/shim/client.h"

/* A run whose shim has gone, or has nothing to do, while nobody is at work on it; or one that the
 * machine was switched off under. */
static int heal_one(struct ctr *c, struct um_error *err)
{
	int fd, r;

	if (access(c->run_dir, F_OK) < 0 && !ctr_noted_running(c))
		return 0;
	/* With a shim there is no hurry: whoever starts it is at work. Without one, whoever cleans
	 * up comes to an end first. */
	fd = um_shim_connect(c->run_dir);
	r = fd >= 0 ? ctr_try_lock(c, err) : ctr_lock(c, err);
	um_close(fd);
	if (r == 0)
		r = ctr_cleanup(c, err);
	ctr_unlock(c);
	if (r == -ENOENT || r == -EBUSY || r == -EAGAIN) {
		*err = (struct um_error)UM_ERROR_INIT;
		r = 0;
	}
	return r;
}

bool ctr_look(struct ctr *c, struct ctr_live *ret)
{
	struct um_error ignored = UM_ERROR_INIT;

	ctr_live_open(c, ret);
	ctr_live_close(ret);
	if (ret->state != CTR_LIVE_NOT)
		return true;
	(void)!heal_one(c, &ignored);
	if (access(c->dir, F_OK) < 0)
		return false;
	/* Somebody else may have noted its end since it was read here. */
	if (ctr_lock(c, &ignored) < 0)
		return false;
	ctr_unlock(c);
	ctr_live_open(c, ret);
	ctr_live_close(ret);
	return true;
}

/* Folders of runs and addresses whose container is no more: a removal that was cut short. Asked
 * anew for each: a container has its folder before it has these. */
static bool is_there(const char *prefix)
{
	struct um_error ignored = UM_ERROR_INIT;
	_cleanup_ctr_ struct ctr *c = NULL;

	return ctr_find(prefix, &c, &ignored) != -ENOENT;
}

static bool keep_address(um_unused void *arg, const char *uid)
{
	return strncmp(uid, UM_CTR_UID_PREFIX, strlen(UM_CTR_UID_PREFIX)) != 0 ||
	       is_there(uid + strlen(UM_CTR_UID_PREFIX));
}

static int sweep_runs(struct um_error *err)
{
	_cleanup_closedir_ DIR *d = opendir(ctr_env.run);
	struct um_ctr_net n = ctr_net();
	bool stale = false;
	struct dirent *e;
	char path[1400];
	int lock, r = 0;

	while (r == 0 && d && (e = readdir(d))) {
		if (strlen(e->d_name) != 16 || is_there(e->d_name))
			continue;
		stale = true;
		snprintf(path, sizeof(path), "%s/%s/rootfs", ctr_env.run, e->d_name);
		while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
			;
		r = um_io_remove_tree(dirfd(d), e->d_name, err);
	}
	if (r < 0 || !stale)
		return r;
	lock = um_ctr_net_lock(&n, err);
	r = lock < 0 ? lock : um_ctr_net_sweep(&n, keep_address, NULL, err);
	um_close(lock);
	return r;
}

int ctr_heal(struct um_error *err)
{
	_cleanup_(ctr_vec_release) ctr_vec all = UM_VEC_INIT;
	struct um_error ignored = UM_ERROR_INIT;
	bool bridge = false;
	int r = ctr_sweep_store(err);

	if (r == 0)
		r = ctr_load_all(&all, err);
	um_vec_foreach (c, &all) {
		if (r == 0)
			r = heal_one(*c, err);
		bridge |= r == 0 && !strcmp(ctr_network(*c), "bridge") &&
			  access((*c)->run_dir, F_OK) == 0;
	}
	if (bridge) /* what it cannot do now the next start tells */
		(void)!ctr_net_heal(&ignored);
	return r < 0 ? r : sweep_runs(err);
}
