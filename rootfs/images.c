/* The store of images: names, blobs, layers. */
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "base/fault.h"
#include "base/io.h"
#include "base/log.h"
#include "rootfs/internal.h"

#define REFS_MAX_BYTES (16u << 20)

int um_images_lock(struct um_images *s, struct um_error *err)
{
	int fd = openat(s->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return um_error_errno(err, -errno, "open %s/lock", s->dir);
	while (flock(fd, LOCK_EX) < 0) {
		if (errno == EINTR)
			continue;
		close(fd);
		return um_error_errno(err, -errno, "lock %s", s->dir);
	}
	return fd;
}

static int make_folders(struct um_images *s, struct um_error *err)
{
	static const char *const names[] = {"blobs/sha256", "layers", "snapshots", "tmp"};
	int r = 0;

	for (size_t i = 0; i < UM_ARRAY_LEN(names) && r == 0; i++)
		r = um_io_mkdirs(s->dirfd, names[i], 0700, err);
	return r;
}

/* tmp/ is emptied only when nobody imports: an importer holds its own shared lock there. */
static int empty_tmp(struct um_images *s, struct um_error *err)
{
	_cleanup_close_ int fd = openat(s->dirfd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = NULL;
	struct dirent *e;
	int own;

	if (fd < 0)
		return um_error_errno(err, -errno, "open %s/tmp", s->dir);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return 0;
	own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = own >= 0 ? fdopendir(own) : NULL;
	if (!d)
		return um_error_errno(err, -errno, "open %s/tmp", s->dir);
	while ((e = readdir(d))) {
		int r;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		r = um_io_remove_tree(fd, e->d_name, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int um_images_open(const char *dir, struct um_images **ret, struct um_error *err)
{
	struct um_images *s = calloc(1, sizeof(*s));
	int r;

	if (!s || !(s->dir = strdup(dir))) {
		free(s);
		return um_error_errno(err, -ENOMEM, "open images");
	}
	r = um_io_mkdirs(AT_FDCWD, dir, 0700, err);
	s->dirfd = r < 0 ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == 0 && s->dirfd < 0)
		r = um_error_errno(err, -errno, "open %s", dir);
	if (r == 0)
		r = make_folders(s, err);
	if (r == 0)
		r = empty_tmp(s, err);
	if (r < 0) {
		um_images_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void um_images_close(struct um_images *s)
{
	if (!s)
		return;
	um_close(s->dirfd);
	free(s->dir);
	free(s);
}

/* ---- blobs ---- */

int um_blob_read(struct um_images *s, const char *digest, struct um_arena *a, struct um_json **ret,
		 struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_BLOB_MAX_BYTES);
	char path[UM_BLOB_PATH_LEN], sum[UM_DIGEST_LEN + 1];
	int r;

	if (!um_digest_valid(digest))
		return um_error_set(err, -EBADMSG, "\"%s\" is not a sha256 digest", digest);
	um_blob_path(digest, path);
	r = um_io_read_file(s->dirfd, path, &b, err);
	if (r == 0)
		r = um_digest_of(um_buf_str(&b), b.len, sum);
	if (r < 0)
		return r;
	if (strcmp(sum, digest))
		return um_error_set(err, -EBADMSG,
				    "blob %s is damaged: remove and import its image again",
				    digest);
	return um_json_parse(a, um_buf_str(&b), b.len, NULL, ret, err);
}

int um_blob_write(struct um_images *s, const void *data, size_t len,
		  char ret_digest[UM_DIGEST_LEN + 1], struct um_error *err)
{
	char path[UM_BLOB_PATH_LEN];
	_cleanup_close_ int lock = -1;
	int r = um_digest_of(data, len, ret_digest);

	if (r < 0)
		return um_error_errno(err, r, "digest");
	lock = um_images_lock(s, err); /* two writers of one blob would share a temporary file */
	if (lock < 0)
		return lock;
	um_blob_path(ret_digest, path);
	return um_io_replace_file(s->dirfd, path, data, len, 0600, UM_IO_SYNC, err);
}

/* ---- names ---- */

int um_refs_read(struct um_images *s, struct um_arena *a, struct um_json **ret,
		 struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(REFS_MAX_BYTES);
	struct um_error own = UM_ERROR_INIT;
	int r = um_io_read_file(s->dirfd, "refs.json", &b, &own);

	if (r == -ENOENT) {
		*ret = um_json_new_obj(a);
		return *ret ? 0 : -ENOMEM;
	}
	if (r < 0)
		return um_error_move(err, &own);
	r = um_json_parse(a, um_buf_str(&b), b.len, NULL, ret, err);
	if (r < 0)
		return um_error_wrap(err, r, "%s/refs.json is damaged", s->dir);
	um_json_foreach (it, *ret) {
		if (!um_digest_valid(um_json_str(it, NULL)))
			return um_error_set(err, -EBADMSG, "%s/refs.json is damaged: %s", s->dir,
					    it->key);
	}
	return (*ret)->type == UM_JSON_OBJ
		       ? 0
		       : um_error_set(err, -EBADMSG, "%s/refs.json is damaged", s->dir);
}

int um_refs_write(struct um_images *s, const struct um_json *refs, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(REFS_MAX_BYTES);

	if (um_json_write_pretty(&b, refs, 2) < 0)
		return um_error_errno(err, um_buf_error(&b), "write refs.json");
	return um_io_replace_file(s->dirfd, "refs.json", b.data, b.len, 0600, UM_IO_SYNC, err);
}

static int load_layers(struct um_images *s, struct um_arena *a, const struct um_json *config,
		       struct um_image *ret, struct um_error *err)
{
	const struct um_json *ids = um_json_path(config, "rootfs.diff_ids");
	char chain[UM_DIGEST_LEN + 1], rel[UM_LAYER_DIR_LEN];
	const char **layers;
	size_t n = 0;

	if (!um_json_is(ids, UM_JSON_ARR) || ids->len > UM_LAYERS_MAX)
		return um_error_set(err, -EBADMSG,
				    "image %s: rootfs.diff_ids: missing, or more than %d",
				    ret->name, UM_LAYERS_MAX);
	layers = um_arena_alloc(a, (ids->len + 1) * sizeof(*layers));
	if (!layers)
		return um_error_errno(err, -ENOMEM, "image %s", ret->name);
	um_json_foreach (it, ids) {
		if (!um_digest_valid(um_json_str(it, NULL)) ||
		    um_chain_next(n ? chain : NULL, it->str, chain) < 0)
			return um_error_set(err, -EBADMSG, "image %s: rootfs.diff_ids[%zu]",
					    ret->name, n);
		um_layer_dir(chain, rel);
		layers[n] = um_arena_printf(a, "%s/%s/fs", s->dir, rel);
		if (!layers[n] || access(layers[n], F_OK) < 0)
			return um_error_set(err, -ENOENT,
					    "image %s: layer %s is missing: import it again",
					    ret->name, chain);
		n++;
	}
	ret->layers = layers;
	ret->n_layers = n;
	return 0;
}

int um_image_load(struct um_images *s, const char *name, const char *digest, struct um_arena *a,
		  struct um_image *ret, struct um_error *err)
{
	struct um_json *manifest, *config;
	int r = um_blob_read(s, digest, a, &manifest, err);

	if (r < 0)
		return um_error_wrap(err, r, "image %s", name);
	memset(ret, 0, sizeof(*ret));
	ret->name = um_arena_strdup(a, name);
	ret->digest = um_arena_strdup(a, digest);
	ret->config_digest = um_json_get_str(manifest, "config.digest", "");
	r = um_blob_read(s, ret->config_digest, a, &config, err);
	if (r < 0)
		return um_error_wrap(err, r, "image %s", name);
	ret->config = config;
	um_json_foreach (it, um_json_get(manifest, "layers")) {
		int64_t size = um_json_get_i64(it, "size", 0);

		ret->size_bytes += size > 0 && size < INT64_MAX / 256 ? size : 0;
	}
	return load_layers(s, a, config, ret, err);
}

/* An image id is the digest of its config; prefixes of 12 digits and more are understood. */
static const char *find_by_id(struct um_images *s, const struct um_json *refs, const char *id,
			      struct um_arena *a, const char **ret_name)
{
	size_t len = strlen(id);

	um_json_foreach (it, refs) {
		struct um_json *manifest;
		const char *config;

		if (um_blob_read(s, it->str, a, &manifest, NULL) < 0)
			continue;
		config = um_json_get_str(manifest, "config.digest", "");
		if (!strncmp(it->str, id, len) || !strncmp(config, id, len)) {
			*ret_name = it->key;
			return it->str;
		}
	}
	return NULL;
}

/* An image whose name has gone to another: by its id, as long as a container is of it. */
static int find_by_snapshot(struct um_images *s, const char *id, struct um_arena *a,
			    const char **ret_digest)
{
	int own = openat(s->dirfd, "snapshots", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = own >= 0 ? fdopendir(own) : NULL;
	char digest[UM_DIGEST_LEN + 1], config[UM_DIGEST_LEN + 1];
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.' || um_snapshot_image(s, e->d_name, digest, config) < 0 ||
		    strcmp(config, id))
			continue;
		*ret_digest = um_arena_strdup(a, digest);
		return *ret_digest ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

/* The name and the manifest's digest of what @ref means. */
static int resolve(struct um_images *s, const struct um_json *refs, const char *ref,
		   struct um_arena *a, const char **ret_name, const char **ret_digest,
		   struct um_error *err)
{
	char normal[UM_IMAGE_NAME_MAX];
	const char *digest, *at;
	int r;

	if (!strncmp(ref, "sha256:", 7) && strlen(ref) >= 7 + 12) {
		digest = find_by_id(s, refs, ref, a, ret_name);
	} else {
		r = um_image_normalise(ref, normal, err);
		if (r < 0)
			return r;
		*ret_name = um_arena_strdup(a, normal);
		digest = um_json_str(um_json_get(refs, normal), NULL);
		at = strchr(normal, '@');
		if (!digest && at) { /* by content, whatever its name here */
			digest = find_by_id(s, refs, at + 1, a, ret_name);
			if (digest && strcmp(digest, at + 1))
				digest = NULL;
		}
	}
	if (!digest)
		return um_error_set(err, -ENOENT, "no image \"%s\"", ref);
	*ret_digest = digest;
	return *ret_name ? 0 : um_error_errno(err, -ENOMEM, "find image %s", ref);
}

int um_images_find(struct um_images *s, const char *ref, struct um_arena *a, struct um_image *ret,
		   struct um_error *err)
{
	struct um_error why = UM_ERROR_INIT;
	const char *digest, *name;
	struct um_json *refs;
	int r = um_refs_read(s, a, &refs, err);

	if (r < 0)
		return r;
	r = resolve(s, refs, ref, a, &name, &digest, &why);
	if (r == -ENOENT && um_digest_valid(ref) && !find_by_snapshot(s, ref, a, &digest)) {
		name = ref;
		r = 0;
	}
	return r < 0 ? um_error_move(err, &why) : um_image_load(s, name, digest, a, ret, err);
}

static bool is_damage(int r)
{
	return r == -EBADMSG || r == -ENOENT;
}

int um_images_list(struct um_images *s, bool (*fn)(void *arg, const struct um_image *img),
		   void *arg, struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(64 << 20);
	struct um_json *refs;
	int r = a ? um_refs_read(s, a, &refs, err) : -ENOMEM;

	if (r < 0)
		return r;
	um_json_foreach (it, refs) {
		_cleanup_arena_ struct um_arena *own = um_arena_new(16 << 20);
		struct um_error why = UM_ERROR_INIT;
		struct um_image img;

		if (!own)
			return um_error_errno(err, -ENOMEM, "list images");
		r = um_image_load(s, it->key, it->str, own, &img, &why);
		if (is_damage(r)) { /* the others are fine */
			um_log(UM_LOG_WARN, "a damaged image is left out of the list",
			       UM_LOG_STR("error", why.msg));
			continue;
		}
		if (r < 0)
			return um_error_move(err, &why);
		if (!fn(arg, &img))
			break;
	}
	return 0;
}

/* ---- removal ---- */

/* What is needed: digests and layer folders as keys of @needed. */
static int note_needed(struct um_images *s, const struct um_json *refs, struct um_arena *a,
		       struct um_json *needed, struct um_error *err)
{
	um_json_foreach (it, refs) {
		struct um_json *manifest, *config;
		char chain[UM_DIGEST_LEN + 1], rel[UM_LAYER_DIR_LEN];
		const char *config_digest;
		bool first = true;
		int r = um_blob_read(s, it->str, a, &manifest, err);

		um_json_set_bool(a, needed, it->str + 7, true);
		if (is_damage(r))
			continue; /* it cannot be used: only an import can mend it */
		if (r < 0)
			return r;
		config_digest = um_json_get_str(manifest, "config.digest", "");
		r = um_blob_read(s, config_digest, a, &config, err);
		if (is_damage(r))
			continue;
		if (r < 0)
			return r;
		um_json_set_bool(a, needed, config_digest + 7, true);
		um_json_foreach (id, um_json_path(config, "rootfs.diff_ids")) {
			if (um_chain_next(first ? NULL : chain, um_json_str(id, ""), chain) < 0)
				return um_error_errno(err, -ENOMEM, "collect images");
			first = false;
			um_layer_dir(chain, rel);
			um_json_set_bool(a, needed, strchr(rel, '/') + 1, true);
		}
	}
	return um_arena_failed(a) ? um_error_errno(err, -ENOMEM, "collect images") : 0;
}

/* Layers that a mounted or sleeping snapshot stands on are named in its "lower" file, what says how
 * to start it in its "image" file. */
static int note_snapshots(struct um_images *s, struct um_arena *a, struct um_json *needed,
			  struct um_error *err)
{
	int own = openat(s->dirfd, "snapshots", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = own >= 0 ? fdopendir(own) : NULL;
	struct dirent *e;

	if (!d)
		return um_error_errno(err, -errno, "open %s/snapshots", s->dir);
	while ((e = readdir(d))) {
		_cleanup_buf_ struct um_buf b = UM_BUF_INIT(65536);
		char path[600], digest[UM_DIGEST_LEN + 1], config[UM_DIGEST_LEN + 1], *line, *next;

		if (e->d_name[0] == '.')
			continue;
		if (um_snapshot_image(s, e->d_name, digest, config) == 0) {
			um_json_set_bool(a, needed, um_arena_strdup(a, digest + 7), true);
			um_json_set_bool(a, needed, um_arena_strdup(a, config + 7), true);
		}
		snprintf(path, sizeof(path), "snapshots/%s/lower", e->d_name);
		if (um_io_read_file(s->dirfd, path, &b, NULL) < 0 || !b.len)
			continue;
		for (line = strtok_r(b.data, "\n", &next); line; line = strtok_r(NULL, "\n", &next))
			um_json_set_bool(a, needed, line, true);
	}
	return 0;
}

static int sweep_folder(struct um_images *s, const char *folder, const struct um_json *needed,
			struct um_error *err)
{
	int own = openat(s->dirfd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = own >= 0 ? fdopendir(own) : NULL;
	struct dirent *e;

	if (!d)
		return um_error_errno(err, -errno, "open %s/%s", s->dir, folder);
	while ((e = readdir(d))) {
		int r;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
		    um_json_get(needed, e->d_name))
			continue;
		r = um_io_remove_tree(dirfd(d), e->d_name, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* An importer's layers and blobs have no name yet: while one is at work nothing is collected. It
 * collects itself when it is done. */
int um_images_collect(struct um_images *s, const struct um_json *refs, struct um_error *err)
{
	_cleanup_close_ int tmp = openat(s->dirfd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_arena_ struct um_arena *a = um_arena_new(64 << 20);
	struct um_json *needed = a ? um_json_new_obj(a) : NULL;
	int r;

	if (!needed)
		return um_error_errno(err, -ENOMEM, "collect images");
	if (tmp < 0)
		return um_error_errno(err, -errno, "open %s/tmp", s->dir);
	if (flock(tmp, LOCK_EX | LOCK_NB) < 0)
		return 0;
	r = note_needed(s, refs, a, needed, err);
	if (r == 0)
		r = note_snapshots(s, a, needed, err);
	if (r == 0)
		r = sweep_folder(s, "blobs/sha256", needed, err);
	if (r == 0)
		r = sweep_folder(s, "layers", needed, err);
	return r;
}

int um_images_remove(struct um_images *s, const char *ref, struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(64 << 20);
	_cleanup_close_ int lock = -1;
	const char *name, *digest;
	struct um_json *refs;
	int r;

	if (!a)
		return um_error_errno(err, -ENOMEM, "remove image %s", ref);
	lock = um_images_lock(s, err);
	if (lock < 0)
		return lock;
	r = um_refs_read(s, a, &refs, err);
	if (r == 0) /* not loaded: a damaged image can be removed too */
		r = resolve(s, refs, ref, a, &name, &digest, err);
	if (r < 0)
		return r;
	um_json_remove(refs, name);
	r = um_refs_write(s, refs, err);
	UM_FAULT("rootfs.image-removed");
	return r < 0 ? r : um_images_collect(s, refs, err);
}
