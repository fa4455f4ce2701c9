/* System calls that change files, groups and processes, made so that they can be watched
 * (base/watch.h). Arguments, results and errno are those of the manual's section 2. */
#ifndef UM_BASE_SYS_H
#define UM_BASE_SYS_H

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/watch.h"

UM_SYS3(mkdirat, mkdirat(a, b, c), int, const char *, mode_t)
UM_SYS3(unlinkat, unlinkat(a, b, c), int, const char *, int)
UM_SYS4(renameat, renameat(a, b, c, d), int, const char *, int, const char *)
UM_SYS2(fchmod, fchmod(a, b), int, mode_t)
UM_SYS2(kill, kill(a, b), pid_t, int)
UM_SYS3(bpf, syscall(SYS_bpf, a, b, c), int, void *, size_t)

/* openat(2) that makes a file: with O_CREAT. */
static inline int um_sys_create(int dirfd, const char *path, int flags, mode_t mode)
{
	return (int)UM_WATCHED("openat", openat(dirfd, path, flags, mode), (long)dirfd, (long)path,
			       (long)flags, (long)mode);
}

/* To files of every kind; who watches is told of all, and need not care for pipes. */
static inline ssize_t um_sys_write(int fd, const void *data, size_t len)
{
	return UM_WATCHED("write", write(fd, data, len), (long)fd, (long)data, (long)len);
}

#endif
