/* Sources of mounts that the init cannot open: behind folders of the host's root, or with mapped
 * owners. They are opened in the init's mount namespace, where the mounts before them are. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "runtime/create.h"
#include "runtime/explain.h"
#include "runtime/idmap.h"
#include "runtime/sync.h"
#include "runtime/sys.h"

static int open_source(struct um_creation *c, int index, int user_ns)
{
	_cleanup_close_ int fd = -1;
	struct um_error err = UM_ERROR_INIT;
	int r = 0;

	um_explain_child("helper", 0);
	um_why("where the container's mounts are: in its mount namespace");
	if (c->spec->ns[UM_NS_MOUNT].present && um_sys_setns(c->pidfd, CLONE_NEWNS) < 0)
		r = um_error_errno(&err, -errno, "enter the container's mount namespace");
	if (r >= 0)
		r = um_idmap_source(c->spec, (size_t)index, c->bundle, user_ns, &fd, &err);
	return r < 0 ? um_sync_send(c->sync_fd, UM_SYNC_ERROR, &err)
		     : um_sync_send_fd(c->sync_fd, fd);
}

int um_creation_send_source(struct um_creation *c, int index, int user_ns)
{
	int status, pid;

	if (index < 0 || (size_t)index >= c->spec->n_mounts || !c->spec->mounts[index].bind)
		return -EPROTO;
	um_why("a helper opens the source of mounts[%d], which the container's root may not",
	       index);
	pid = um_sys_fork();
	if (!pid)
		_exit(open_source(c, index, user_ns) < 0);
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
}
