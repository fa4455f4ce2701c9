/* linux.seccomp: decoded, and compiled by libseccomp to a BPF program in the parent, so that the
 * container's init only installs it. Compiling costs tens of milliseconds for the profiles that
 * engines send, so that programs are kept in a cache folder beside the containers' state. */
#ifndef UM_RUNTIME_SECCOMP_H
#define UM_RUNTIME_SECCOMP_H

#include <linux/filter.h>

#include "base/buf.h"
#include "runtime/spec.h"

struct um_seccomp_prog {
	struct sock_filter *insns; /* owned */
	unsigned short n;	   /* 0: no filter */
	unsigned flags;		   /* SECCOMP_FILTER_FLAG_* */
};

/* "SCMP_ARCH_X86_64" as libseccomp numbers it; 0: unknown. */
uint32_t um_seccomp_arch(const char *name);
/* Names of the tables, for `features`; NULL past the last. */
const char *um_seccomp_action_name(size_t i);
const char *um_seccomp_operator_name(size_t i);
const char *um_seccomp_flag_name(size_t i);
const char *um_seccomp_library_version(void); /* "2.5.4" */
/* -EINVAL names the first call that the library does not know, where that is to be an error. */
um_must_check int um_seccomp_check_names(const struct um_spec *s, struct um_error *err);
um_must_check int um_seccomp_compile(const struct um_spec_seccomp *s, struct um_seccomp_prog *ret,
				     struct um_error *err);
void um_seccomp_release(struct um_seccomp_prog *p);

/* The program for the profile @s, whose JSON text is @json: from the folder @root/.seccomp, else
 * compiled and kept there. A folder that cannot be written, or an entry that is damaged, costs time
 * and nothing else. Entries are compared with the whole profile, so that no two profiles can be
 * mistaken for each other, and the folder is as trusted as the containers' state is. */
um_must_check int um_seccomp_load(const char *root, const struct um_json *json,
				  const struct um_spec_seccomp *s, struct um_seccomp_prog *ret,
				  struct um_error *err);

/* For each architecture of @s: calls that are newer than every call that the profile names fail
 * with ENOSYS, so that programs fall back to older ones, instead of what the profile says of calls
 * that it could not know. Nothing when the default action lets calls pass or asks somebody, or is
 * that errno itself. These instructions go before those of libseccomp. */
um_must_check int um_seccomp_enosys(const struct um_spec_seccomp *s, struct um_buf *b,
				    struct um_error *err);

/* Who is told of a filter with SCMP_ACT_NOTIFY (seccomp_unotify(2)). */
struct um_seccomp_listener {
	int socket; /* connected to linux.seccomp.listenerPath, owned by the caller; -1: none */
	const char *json; /* the container process state that goes with the descriptor */
};

/* Connects to linux.seccomp.listenerPath when the profile asks somebody. *ret is -1 otherwise. */
um_must_check int um_seccomp_connect(const struct um_spec_seccomp *s, int *ret,
				     struct um_error *err);
/* The container process state of the specification, around what hooks read (@state_json). */
const char *um_seccomp_listener_json(struct um_arena *a, const struct um_spec_seccomp *s,
				     const char *state_json, int64_t pid);

/* Filters the calling thread, sends the notification descriptor to the listener and closes the
 * socket. Afterwards no system call but the filter's choice works. 0 or negative errno. */
um_must_check int um_seccomp_install(const struct um_seccomp_prog *p,
				     const struct um_seccomp_listener *l);

#endif
