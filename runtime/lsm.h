/* Labels of security modules: AppArmor profiles, SELinux contexts. */
#ifndef UM_RUNTIME_LSM_H
#define UM_RUNTIME_LSM_H

#include "runtime/spec.h"

/* -EOPNOTSUPP, naming the field, where a label is asked for that this host has no module for. To be
 * called where the host's /sys is seen. */
um_must_check int um_lsm_check(const struct um_spec_process *p, const char *mount_label,
			       struct um_error *err);
static inline bool um_lsm_wanted(const struct um_spec_process *p)
{
	return p->apparmor_profile || p->selinux_label;
}
/* What the next execve(2) of the calling thread gives it. @proc_fd: a procfs that nothing is
 * mounted over, of the caller's pid namespace; the host's for -1. */
um_must_check int um_lsm_set(const struct um_spec_process *p, int proc_fd, struct um_error *err);

#endif
