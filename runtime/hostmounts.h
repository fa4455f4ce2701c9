/* Mounts of a container that has no mount namespace: they stand among the host's.
 *
 * The state folder keeps a journal of them, written before each is attached, so that `delete` and
 * a failed create take away what was made and nothing else. A mount is known by its id: by the one
 * that is never used again (Linux 6.8), else by id, device and mount point together. */
#ifndef UM_RUNTIME_HOSTMOUNTS_H
#define UM_RUNTIME_HOSTMOUNTS_H

#include <stdint.h>

#include "base/error.h"

struct um_hostmount {
	uint64_t unique; /* 0: this kernel has none */
	uint64_t id;	 /* as in /proc/self/mountinfo */
	uint64_t dev;
};

/* Makes the journal in the state folder @dir, for mounts of the namespace that we are in. */
um_must_check int um_hostmounts_begin(int dir, int *ret_fd, struct um_error *err);
/* @mfd is to be attached over @target. Negative errno. */
um_must_check int um_hostmounts_note(int fd, int mfd, int target);
/* What came with it, when the tree of @mfd has been attached. Negative errno. */
um_must_check int um_hostmounts_note_beneath(int fd, int mfd);
/* Takes all away, newest first; 0 also without a journal. -EBUSY: another mount stands on one of
 * them, and is named. -EXDEV: they are in another mount namespace than we are. */
um_must_check int um_hostmounts_undo(int dir, struct um_error *err);
/* The container's root, which was noted first. */
um_must_check int um_hostmounts_root(int dir, struct um_hostmount *ret, struct um_error *err);
/* Makes the mount @root at @path the calling process's root directory. -ENOENT: it is not there. */
um_must_check int um_hostmounts_enter(const struct um_hostmount *root, const char *path,
				      struct um_error *err);

#endif
