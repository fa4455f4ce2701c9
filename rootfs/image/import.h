/* umiak-image's own parts: the one program that reads foreign archives. */
#ifndef UM_ROOTFS_IMAGE_IMPORT_H
#define UM_ROOTFS_IMAGE_IMPORT_H

#include <archive.h>
#include <stdint.h>

#include "rootfs/internal.h"

#define UNPACK_MAX_BYTES (INT64_C(64) << 30)
#define UNPACK_MAX_ENTRIES 4000000
#define SOURCE_MAX_FILES 20000

/* ---- confine.c ---- */

/* Gives up what an import does not need: capabilities but those for ownership and modes, new
 * privileges, files outside @store_fd, sockets, other programs. Not undone. */
um_must_check int confine(int store_fd, int input_fd, struct um_error *err);

/* ---- source.c: what is imported ---- */

enum source_kind { SOURCE_ROOTFS, SOURCE_OCI, SOURCE_DOCKER };

struct source {
	enum source_kind kind;
	int fd; /* the file, or the layout's folder */
	bool is_dir;
	const char *path; /* for messages */
	struct um_arena *a;
	struct um_json *files; /* tar: name -> number of the file in tmp, or "link target" */
	int tmpfd;
};
/* Finds out what it is; an archive of blobs is taken apart into @tmpfd. */
um_must_check int source_open(struct source *s, struct um_error *err);
/* A file of the source for reading, or a negative errno. */
um_must_check int source_file(struct source *s, const char *name, struct um_error *err);
um_must_check int source_json(struct source *s, const char *name, const char *digest,
			      struct um_buf *raw, struct um_json **ret, struct um_error *err);
/* A file with that digest: verified while copied nowhere, so read twice. */
um_must_check int source_blob(struct source *s, const char *digest, struct um_error *err);

/* ---- unpack.c ---- */

struct unpack_stats {
	int64_t bytes, entries;
	unsigned skipped_devices, skipped_xattrs;
};
/* Unpacks the tar at @fd (compressed or not) as a layer into the empty folder @dirfd. The digest of
 * the uncompressed tar is @ret_diff_id. */
um_must_check int unpack_layer(int fd, int dirfd, struct unpack_stats *st,
			       char ret_diff_id[UM_DIGEST_LEN + 1], struct um_error *err);
/* The read end of an archive whose filters are undone; NULL and @err. */
struct archive *open_raw(int fd, struct um_error *err);

/* ---- import.c ---- */

struct import_options {
	const char *name;	      /* NULL: what the archive says */
	const struct um_json *config; /* for rootfs tars: what becomes .config */
};
um_must_check int import_source(struct um_images *store, struct source *src,
				const struct import_options *opt, struct um_error *err);

#endif
