/* linux.seccomp: decoded, and compiled by libseccomp to a BPF program in the parent, so that the
 * container's init only installs it. */
#ifndef UM_RUNTIME_SECCOMP_H
#define UM_RUNTIME_SECCOMP_H

#include <linux/filter.h>

#include "runtime/spec.h"

struct um_seccomp_prog {
	struct sock_filter *insns; /* owned */
	unsigned short n;	   /* 0: no filter */
	unsigned flags;		   /* SECCOMP_FILTER_FLAG_* */
};

um_must_check int um_seccomp_compile(const struct um_spec_seccomp *s, struct um_seccomp_prog *ret,
				     struct um_error *err);
/* Async-signal-safe. 0 or negative errno. */
um_must_check int um_seccomp_install(const struct um_seccomp_prog *p);
void um_seccomp_release(struct um_seccomp_prog *p);

#endif
