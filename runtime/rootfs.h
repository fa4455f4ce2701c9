/* The container's file system tree, built by its init in its new mount namespace. */
#ifndef UM_RUNTIME_ROOTFS_H
#define UM_RUNTIME_ROOTFS_H

#include "runtime/spec.h"

#define UM_ROOTFS_MAX_DEFERRED 64

struct um_rootfs {
	const struct um_spec *spec; /* borrowed */
	const char *path;	    /* of the root file system on the host, absolute; borrowed */
	const char *bundle;	    /* for relative bind sources; borrowed */
	const struct um_cgroup *cg; /* NULL: none; borrowed */
	int sync_fd;		    /* to the creator, which opens some sources; borrowed */
	bool cgroup_ns;		    /* the process has a cgroup namespace of its own */
	bool user_ns;
	bool no_pivot;
	int journal_fd; /* no mount namespace: see hostmounts.h; -1: one */
	int fd;		/* the root of the new tree */
	int proc_fd;	/* a procfs of this pid namespace that no path leads to, -1: none yet */
	int deferred[UM_ROOTFS_MAX_DEFERRED]; /* mounts that become read-only at the end */
	size_t n_deferred;
};

/* The steps, in this order. All run in the init, single-threaded. */
um_must_check int um_rootfs_open(struct um_rootfs *r, struct um_error *err);
um_must_check int um_rootfs_mounts(struct um_rootfs *r, struct um_error *err);
um_must_check int um_rootfs_devices(struct um_rootfs *r, struct um_error *err);
um_must_check int um_rootfs_sysctl(struct um_rootfs *r, struct um_error *err);
um_must_check int um_rootfs_mask(struct um_rootfs *r, struct um_error *err);
/* Read-only flags that were put off, then pivot_root(2): afterwards "/" is the container's. */
um_must_check int um_rootfs_enter(struct um_rootfs *r, struct um_error *err);

/* Takes away what of the host's would be left, without pivot_root(2), for its programs to use. */
um_must_check int um_rootfs_hide_host(const struct um_rootfs *r, struct um_error *err);

struct mount_attr;
/* mount_setattr(2) of the mount @fd. @flags: 0 or AT_RECURSIVE. Negative errno. */
um_must_check int um_rootfs_set_attr(int fd, unsigned flags, const struct mount_attr *attr);
/* Attaches the detached mount @mfd over @target_fd. */
um_must_check int um_rootfs_attach(const struct um_rootfs *r, int mfd, int target_fd);
/* Puts the mount @mfd where @m says, with all that @m says of it. */
um_must_check int um_rootfs_place(struct um_rootfs *r, const struct um_spec_mount *m, int mfd,
				  struct um_error *err);
um_must_check int um_rootfs_bind(struct um_rootfs *r, const struct um_spec_mount *m,
				 struct um_error *err);
/* Of the types cgroup and cgroup2. */
um_must_check int um_rootfs_mount_cgroup(struct um_rootfs *r, const struct um_spec_mount *m,
					 struct um_error *err);
/* r->proc_fd, opened once: that of the container's /proc, else one that is mounted nowhere. */
um_must_check int um_rootfs_open_proc(struct um_rootfs *r, struct um_error *err);
/* Writes a file of it ("self/oom_score_adj"), never one that is mounted over it. */
um_must_check int um_rootfs_write_proc(struct um_rootfs *r, const char *file, const char *value);
/* fsopen, the options, fsmount. @attrs: MOUNT_ATTR_*. */
um_must_check int um_rootfs_new_fs(const char *type, const char *source, const struct um_strv *data,
				   bool read_only, uint64_t attrs, int *ret_mfd,
				   struct um_error *err);
/* Copies what is in directory @from into the empty directory @to. @depth: 0. Negative errno. */
um_must_check int um_rootfs_copy_up(int from, int to, unsigned depth);
/* Is /dev of the container something else than a bind of another /dev? */
bool um_rootfs_makes_dev(const struct um_spec *spec);

#endif
