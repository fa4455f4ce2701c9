/* Streams of tar: entries of POSIX ustar and pax, and GNU's long names when reading. Streams come
 * from anybody: every length is bounded, and what is not understood is refused by name. */
#ifndef UM_CLI_CTR_TAR_H
#define UM_CLI_CTR_TAR_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct ctr_tar_entry {
	char type; /* '0' file, '1' hard link, '2' symbolic link, '3' char, '4' block, '5' folder,
		      '6' fifo */
	char path[PATH_MAX], link[PATH_MAX];
	mode_t mode; /* permissions */
	uid_t uid;
	gid_t gid;
	int64_t size; /* of a file; else 0 */
	int64_t mtime;
	unsigned major, minor;
};

struct ctr_tar_reader {
	int fd;	      /* borrowed */
	int64_t left; /* of the entry's bytes, with what fills its last block */
	int64_t body; /* of the entry's bytes */
};

/* The next entry: 1, or 0 at the end of the archive. -EINVAL: it is damaged; -EOPNOTSUPP. Bytes of
 * the entry before that nobody has read are passed over. */
um_must_check int ctr_tar_next(struct ctr_tar_reader *t, struct ctr_tar_entry *e,
			       struct um_error *err);
/* Some of the entry's bytes: their number, 0 at their end. */
um_must_check ssize_t ctr_tar_read(struct ctr_tar_reader *t, void *buf, size_t size,
				   struct um_error *err);
/* The head of an entry; its bytes follow by ctr_tar_write(), exactly e->size of them, then
 * ctr_tar_pad(). */
um_must_check int ctr_tar_head(int fd, const struct ctr_tar_entry *e, struct um_error *err);
um_must_check int ctr_tar_pad(int fd, int64_t size, struct um_error *err);
um_must_check int ctr_tar_end(int fd, struct um_error *err);

#endif
