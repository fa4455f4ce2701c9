/* Images and root filesystems, as the agent and the command line use them.
 *
 * The store is content-addressed and lives in one folder:
 *   blobs/sha256/<hex>           manifests, configs (layers are not kept once unpacked)
 *   layers/<short>/fs            one unpacked layer by its chain id; link file names the chain id
 *   refs.json                    name -> manifest digest, replaced atomically
 *   snapshots/<id>/{upper,work}  one writable layer of a container
 *   tmp/                         work in progress; emptied on open
 * Unpacking foreign archives is the work of the confined program umiak-image, which alone links
 * libarchive; this library only reads what it wrote. Several processes may have the store open:
 * changes are made under a lock on <dir>/lock.
 *
 * All calls block (file I/O, mounts): daemons call them on a worker thread. */
#ifndef UM_ROOTFS_ROOTFS_H
#define UM_ROOTFS_ROOTFS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

struct um_images;

/* Opens or makes the store at @dir (0700) and removes what a crash left in tmp/. */
um_must_check int um_images_open(const char *dir, struct um_images **ret, struct um_error *err);
void um_images_close(struct um_images *s); /* accepts NULL */
UM_DEFINE_CLEANUP(struct um_images, um_images_close)

#define UM_IMAGE_NAME_MAX 512
/* Docker's normalisation: "nginx" -> "docker.io/library/nginx:latest"; "a.b/c@sha256:..." is kept.
 * -EINVAL with the reason when @ref is no image name. */
um_must_check int um_image_normalise(const char *ref, char buf[UM_IMAGE_NAME_MAX],
				     struct um_error *err);

struct um_image {
	const char *name;	      /* normalised; in the arena, as all below */
	const char *digest;	      /* of the manifest: "sha256:..." */
	const char *config_digest;    /* the image id */
	const struct um_json *config; /* the OCI image config: .config.Entrypoint, .Env, ... */
	const char *const *layers;    /* folders of the unpacked layers, lowest first */
	size_t n_layers;
	int64_t size_bytes; /* unpacked */
};

/* Looks @ref up by name (normalised here) or by "sha256:..." id. -ENOENT when there is none. */
um_must_check int um_images_find(struct um_images *s, const char *ref, struct um_arena *a,
				 struct um_image *ret, struct um_error *err);
/* Every name in order; damaged images are logged and left out. @fn returns false to stop. */
um_must_check int um_images_list(struct um_images *s,
				 bool (*fn)(void *arg, const struct um_image *img), void *arg,
				 struct um_error *err);
/* Removes the name; blobs and layers that no name and no snapshot needs go too. */
um_must_check int um_images_remove(struct um_images *s, const char *ref, struct um_error *err);

/* Makes the snapshot @id ([A-Za-z0-9_.-]) over @img and mounts it at @target (an existing empty
 * folder): overlay, upper and work in snapshots/<id>. An existing snapshot of that id is mounted
 * again with its content. The layers are in use until _release(). With @throwaway the content need
 * not outlive a crash of the machine: nothing waits for the disk, neither fsync(2) in it nor its
 * unmounting (overlay's "volatile"). */
um_must_check int um_rootfs_mount(struct um_images *s, const struct um_image *img, const char *id,
				  const char *target, bool throwaway, struct um_error *err);
/* Unmounts @target (if it is a mount) and removes the snapshot. Missing ones are success. */
um_must_check int um_rootfs_release(struct um_images *s, const char *id, const char *target,
				    struct um_error *err);
/* After a crash: calls @keep for every snapshot id and releases those that it does not want.
 * Their mounts must be gone already. */
um_must_check int um_rootfs_sweep(struct um_images *s, bool (*keep)(void *arg, const char *id),
				  void *arg, struct um_error *err);

#endif
