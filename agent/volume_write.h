/* A folder of files that changes as a whole, laid out as Kubernetes does:
 *
 *     token -> ..data/token          what containers open
 *     ..data -> ..2026_01_02_03_04_05.6789
 *     ..2026_01_02_03_04_05.6789/token
 *
 * A change makes a new dated folder, renames a new link over ..data, and removes the old folder:
 * who reads through ..data sees all files of one generation. Killed anywhere in between, the old or
 * the new content is there whole, and the next call removes what was left behind. */
#ifndef UM_AGENT_VOLUME_WRITE_H
#define UM_AGENT_VOLUME_WRITE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/error.h"

struct volume_file {
	const char *path; /* relative, in the form that volume_file_path() gives */
	const char *data;
	size_t len;
	mode_t mode;
	uid_t uid; /* (uid_t)-1: ours */
	struct volume_file *next;
};

/* The files of one generation. All is borrowed, or in the arena. */
struct volume_files {
	struct um_arena *a;
	struct volume_file *first, **end;
	gid_t gid;    /* may read all of them; (gid_t)-1: their modes alone say who may */
	size_t bytes; /* of all files */
	unsigned n;
};
#define VOLUME_FILES_MAX_BYTES (64u << 20)
#define VOLUME_FILES_MAX 10000u

void volume_files_init(struct volume_files *v, struct um_arena *a);
/* Puts a file in, or in the place of one of the same path. -EINVAL: the path is absolute, empty,
 * too long, leaves the folder, or is one of the layout's own; -EMSGSIZE, -E2BIG, -ENOMEM. */
um_must_check int volume_files_put(struct volume_files *v, const char *path, const char *data,
				   size_t len, mode_t mode, uid_t uid, struct um_error *err);

/* Makes @dir (its parent is there) hold just these files. Where it does already nothing is written.
 * @ret_changed may be NULL. Errors name the file; the old content is then still there. Blocks. */
um_must_check int volume_write(const char *dir, const struct volume_files *v, bool *ret_changed,
			       struct um_error *err);

#endif
