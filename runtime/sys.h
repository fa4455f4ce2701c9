/* System calls of the runtime, made so that they can be watched (base/watch.h), and those that
 * glibc 2.36 does not wrap, or wraps for newer structs only. Arguments, results and errno are those
 * of the manual's section 2. */
#ifndef UM_RUNTIME_SYS_H
#define UM_RUNTIME_SYS_H

#include <errno.h>
#include <grp.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "base/sys.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

/* Processes. The first two return twice. */
static inline int um_sys_clone3(struct clone_args *args)
{
	return (int)UM_WATCHED_ALONE("clone3", syscall(SYS_clone3, args, sizeof(*args)), (long)args,
				     (long)sizeof(*args));
}

static inline pid_t um_sys_fork(void)
{
	return (pid_t)UM_WATCHED_ALONE("clone", fork(),
				       (long)(CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | SIGCHLD));
}

/* A thread with the stack that ends at @stack. */
static inline int um_sys_thread(int (*fn)(void *), void *stack, void *arg)
{
	const int flags =
		CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;

	return (int)UM_WATCHED_ALONE("clone", clone(fn, stack, flags, arg), (long)flags);
}

static inline int um_sys_execve(const char *path, char *const *argv, char *const *env)
{
	return (int)UM_WATCHED_ALONE("execve", execve(path, argv, env), (long)path, (long)argv,
				     (long)env);
}

/* execve(2) of the first @name in PATH, with our environment. Returns on failure. */
int um_sys_execvp(const char *name, char *const *argv);

static inline int um_sys_execveat(int fd, const char *path, char *const *argv, char *const *env,
				  int flags)
{
	return (int)UM_WATCHED_ALONE("execveat", syscall(SYS_execveat, fd, path, argv, env, flags),
				     (long)fd, (long)path, (long)argv, (long)env, (long)flags);
}

static inline int um_sys_pidfd_open(int pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static inline int um_sys_pidfd_signal(int pidfd, int sig)
{
	return (int)UM_WATCHED("pidfd_send_signal",
			       syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0), (long)pidfd,
			       (long)sig);
}

static inline pid_t um_sys_setsid(void)
{
	return (pid_t)UM_WATCHED("setsid", setsid(), 0);
}

/* Never fails. */
static inline mode_t um_sys_umask(mode_t mask)
{
	return (mode_t)UM_WATCHED("umask", umask(mask), (long)mask);
}

static inline int um_sys_prctl(int option, unsigned long a, unsigned long b)
{
	return (int)UM_WATCHED("prctl", prctl(option, a, b, 0, 0), (long)option, (long)a, (long)b);
}

static inline int um_sys_setrlimit(unsigned resource, const struct rlimit *limit)
{
	return (int)UM_WATCHED("prlimit64", setrlimit(resource, limit), 0, (long)resource,
			       (long)limit);
}

UM_SYS3(setresuid, setresuid(a, b, c), uid_t, uid_t, uid_t)
UM_SYS3(setresgid, setresgid(a, b, c), gid_t, gid_t, gid_t)
UM_SYS2(setgroups, setgroups(a, b), size_t, const gid_t *)
UM_SYS2(capset, syscall(SYS_capset, a, b), void *, void *)
UM_SYS3(seccomp, syscall(SYS_seccomp, a, b, c), unsigned, unsigned, void *)
UM_SYS3(sched_setaffinity, sched_setaffinity(a, b, c), pid_t, size_t, const cpu_set_t *)
UM_SYS3(sched_setattr, syscall(SYS_sched_setattr, a, b, c), pid_t, const void *, unsigned)
UM_SYS3(ioprio_set, syscall(SYS_ioprio_set, a, b, c), int, int, int)
UM_SYS3(set_mempolicy, syscall(SYS_set_mempolicy, a, b, c), int, const unsigned long *, unsigned)
UM_SYS1(personality, personality(a), unsigned long)
UM_SYS2(keyctl, syscall(SYS_keyctl, a, b), int, const char *)

/* Landlock: Debian 12's headers know the first version of it. */
struct um_landlock_ruleset {
	uint64_t fs, net; /* UM_LANDLOCK_*; net from version 4 on */
};
struct um_landlock_path {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));
struct um_landlock_port {
	uint64_t allowed, port;
};
enum { UM_LANDLOCK_RULE_PATH = 1, UM_LANDLOCK_RULE_PORT = 2 };
enum {
	UM_LANDLOCK_EXECUTE = 1 << 0,
	UM_LANDLOCK_WRITE_FILE = 1 << 1,
	UM_LANDLOCK_READ_FILE = 1 << 2,
	UM_LANDLOCK_READ_DIR = 1 << 3,
	UM_LANDLOCK_REMOVE_DIR = 1 << 4,
	UM_LANDLOCK_REMOVE_FILE = 1 << 5,
	UM_LANDLOCK_MAKE_CHAR = 1 << 6,
	UM_LANDLOCK_MAKE_DIR = 1 << 7,
	UM_LANDLOCK_MAKE_REG = 1 << 8,
	UM_LANDLOCK_MAKE_SOCK = 1 << 9,
	UM_LANDLOCK_MAKE_FIFO = 1 << 10,
	UM_LANDLOCK_MAKE_BLOCK = 1 << 11,
	UM_LANDLOCK_MAKE_SYM = 1 << 12,
	UM_LANDLOCK_REFER = 1 << 13, /* version 2 */
	UM_LANDLOCK_TRUNCATE = 1 << 14
}; /* version 3 */
enum { UM_LANDLOCK_BIND_TCP = 1 << 0, UM_LANDLOCK_CONNECT_TCP = 1 << 1 };

/* The version of the interface; fails where there is none. */
static inline int um_sys_landlock_abi(void)
{
	return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, 1);
}

UM_SYS3(landlock_create_ruleset, syscall(SYS_landlock_create_ruleset, a, b, c),
	const struct um_landlock_ruleset *, size_t, unsigned)
UM_SYS4(landlock_add_rule, syscall(SYS_landlock_add_rule, a, b, c, d), int, int, const void *,
	unsigned)
UM_SYS2(landlock_restrict_self, syscall(SYS_landlock_restrict_self, a, b), int, unsigned)

/* Descriptors. */
UM_SYS3(close_range, syscall(SYS_close_range, a, b, c), unsigned, unsigned, unsigned)
UM_SYS2(dup2, dup2(a, b), int, int)
UM_SYS3(ioctl, ioctl(a, b, c), int, unsigned long, void *)
UM_SYS3(bind, bind(a, b, c), int, const struct sockaddr *, socklen_t)

/* tcsetattr(3) at once. */
static inline int um_sys_tcsetattr(int fd, const struct termios *t)
{
	return (int)UM_WATCHED("ioctl", tcsetattr(fd, TCSANOW, t), (long)fd, (long)TCSETS, (long)t);
}

/* Namespaces and names. */
UM_SYS1(unshare, unshare(a), int)
UM_SYS2(setns, setns(a, b), int, int)
UM_SYS2(sethostname, sethostname(a, b), const char *, size_t)
UM_SYS2(setdomainname, setdomainname(a, b), const char *, size_t)

/* Mounts. */
UM_SYS5(mount, mount(a, b, c, d, e), const char *, const char *, const char *, unsigned long,
	const void *)
UM_SYS5(mount_setattr, mount_setattr(a, b, c, d, e), int, const char *, unsigned,
	struct mount_attr *, size_t)
UM_SYS2(fsopen, fsopen(a, b), const char *, unsigned)
UM_SYS5(fsconfig, fsconfig(a, b, c, d, e), int, unsigned, const char *, const void *, int)
UM_SYS3(fsmount, fsmount(a, b, c), int, unsigned, unsigned)
UM_SYS3(open_tree, open_tree(a, b, c), int, const char *, unsigned)
UM_SYS5(move_mount, move_mount(a, b, c, d, e), int, const char *, int, const char *, unsigned)
UM_SYS2(umount2, umount2(a, b), const char *, int)
UM_SYS2(pivot_root, syscall(SYS_pivot_root, a, b), const char *, const char *)
UM_SYS1(chroot, chroot(a), const char *)
UM_SYS1(chdir, chdir(a), const char *)
UM_SYS1(fchdir, fchdir(a), int)

/* Files. */
UM_SYS4(mknodat, mknodat(a, b, c, d), int, const char *, mode_t, dev_t)
UM_SYS3(symlinkat, symlinkat(a, b, c), const char *, int, const char *)
UM_SYS4(sendfile, sendfile(a, b, c, d), int, int, off_t *, size_t)
UM_SYS3(fchown, fchown(a, b, c), int, uid_t, gid_t)
UM_SYS5(fchownat, fchownat(a, b, c, d, e), int, const char *, uid_t, gid_t, int)
UM_SYS3(fchmodat, fchmodat(a, b, c, 0), int, const char *, mode_t)
UM_SYS4(utimensat, utimensat(a, b, c, d), int, const char *, const struct timespec *, int)

#endif
