/* What the files of this room, and umiak-image, share. */
#ifndef UM_ROOTFS_INTERNAL_H
#define UM_ROOTFS_INTERNAL_H

#include "rootfs/rootfs.h"

#define UM_DIGEST_LEN 71	     /* "sha256:" and 64 digits */
#define UM_BLOB_MAX_BYTES (4u << 20) /* manifests and configs */
#define UM_LAYERS_MAX 127

struct um_images {
	char *dir;
	int dirfd;
};

/* "sha256:<64 lower-case digits>" */
bool um_digest_valid(const char *s);
/* Of @len bytes, as above. */
um_must_check int um_digest_of(const void *data, size_t len, char ret[UM_DIGEST_LEN + 1]);
struct um_digest;
struct um_digest *um_digest_new(void);
void um_digest_add(struct um_digest *d, const void *data, size_t len);
void um_digest_end(struct um_digest *d, char ret[UM_DIGEST_LEN + 1]);
void um_digest_free(struct um_digest *d);
UM_DEFINE_CLEANUP(struct um_digest, um_digest_free)

/* The chain id of layer @n (from 0) of a config's rootfs.diff_ids, and the folder of a chain id
 * relative to the store ("layers/<32 digits>"). */
um_must_check int um_chain_next(const char *parent, const char *diff_id,
				char ret[UM_DIGEST_LEN + 1]);
#define UM_LAYER_DIR_LEN 48
void um_layer_dir(const char *chain_id, char ret[UM_LAYER_DIR_LEN]);
/* "blobs/sha256/<hex>" */
#define UM_BLOB_PATH_LEN 80
void um_blob_path(const char *digest, char ret[UM_BLOB_PATH_LEN]);

/* The exclusive lock for changes; released by closing what is returned. */
um_must_check int um_images_lock(struct um_images *s, struct um_error *err);
/* refs.json as an object name -> manifest digest, checked. */
um_must_check int um_refs_read(struct um_images *s, struct um_arena *a, struct um_json **ret,
			       struct um_error *err);
um_must_check int um_refs_write(struct um_images *s, const struct um_json *refs,
				struct um_error *err);
/* A JSON blob, its digest verified. */
um_must_check int um_blob_read(struct um_images *s, const char *digest, struct um_arena *a,
			       struct um_json **ret, struct um_error *err);
/* Takes the lock: the caller must not hold it. */
um_must_check int um_blob_write(struct um_images *s, const void *data, size_t len,
				char ret_digest[UM_DIGEST_LEN + 1], struct um_error *err);
/* Fills @ret from a manifest digest. */
um_must_check int um_image_load(struct um_images *s, const char *name, const char *digest,
				struct um_arena *a, struct um_image *ret, struct um_error *err);
/* Of which image snapshot @id is: the manifest's digest, and the config's. 0 or -errno. */
um_must_check int um_snapshot_image(struct um_images *s, const char *id,
				    char ret_digest[UM_DIGEST_LEN + 1],
				    char ret_config[UM_DIGEST_LEN + 1]);
/* Removes blobs and layers that nothing needs. The lock is held. */
um_must_check int um_images_collect(struct um_images *s, const struct um_json *refs,
				    struct um_error *err);

#endif
