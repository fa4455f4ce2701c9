/* Files and descriptors: whole reads and writes, atomic replacement, walks that do not leave a
 * directory. All functions retry EINTR, set CLOEXEC and block. */
#ifndef UM_BASE_IO_H
#define UM_BASE_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"

/* Reads from @path (relative to @dirfd, AT_FDCWD allowed) into @b, up to b->max bytes.
 * -EMSGSIZE when the file is larger. Special files are read until end of file. */
um_must_check int um_io_read_file(int dirfd, const char *path, struct um_buf *b,
				  struct um_error *err);
um_must_check int um_io_read_fd(int fd, struct um_buf *b); /* to end of file */
um_must_check int um_io_write_all(int fd, const void *data, size_t len);

/* One write(2) of the whole text to an existing file, as cgroup and proc files want it. */
um_must_check int um_io_write_value(int dirfd, const char *path, const char *value);

enum um_io_sync { UM_IO_NO_SYNC, UM_IO_SYNC };

/* Replaces @path: a temporary file beside it, written, fsynced when @sync, renamed over it (and
 * the directory fsynced). A crash leaves the old or the new content, never a mix; a left-over
 * temporary file is called ".<name>.tmp" and is overwritten by the next call. */
um_must_check int um_io_replace_file(int dirfd, const char *path, const void *data, size_t len,
				     mode_t mode, enum um_io_sync sync, struct um_error *err);

/* mkdir -p relative to @dirfd; existing directories are fine. */
um_must_check int um_io_mkdirs(int dirfd, const char *path, mode_t mode, struct um_error *err);
/* rm -rf below @dirfd, never following links and never crossing a mount point (-EBUSY then).
 * Folders may be nested however deep. A missing path is success. */
um_must_check int um_io_remove_tree(int dirfd, const char *path, struct um_error *err);

/* openat2(2); RESOLVE_* from <linux/openat2.h>. */
int um_io_openat2(int dirfd, const char *path, uint64_t flags, mode_t mode, uint64_t resolve);

/* A path of at most PATH_MAX - 1 bytes. 0 or -ENAMETOOLONG. */
um_must_check int um_io_path(char *buf, size_t size, const char *fmt, ...) um_printf(3, 4);

#endif
