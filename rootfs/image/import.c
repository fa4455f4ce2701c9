/* From a source to the store: layers unpacked and moved into place, blobs written, then the name,
 * last: a crash before it leaves nothing that is seen. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "rootfs/image/import.h"

struct importer {
	struct um_images *store;
	struct source *src;
	const struct import_options *opt;
	struct um_arena *a;
	struct um_error *err;
	struct unpack_stats stats;
	unsigned n_layers;
};

/* ---- layers ---- */

static bool have_layer(struct importer *im, const char *dir, const char *chain)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(200);
	char path[100];

	snprintf(path, sizeof(path), "%s/chain", dir);
	return um_io_read_file(im->store->dirfd, path, &b, NULL) == 0 &&
	       !strcmp(um_buf_str(&b), chain);
}

/* Moves the unpacked layer in tmp to its place. */
static int place_layer(struct importer *im, const char *tmp, const char *chain)
{
	char dir[UM_LAYER_DIR_LEN], path[200];
	int r;

	um_layer_dir(chain, dir);
	snprintf(path, sizeof(path), "%s/chain", tmp);
	r = um_io_replace_file(im->src->tmpfd, path, chain, strlen(chain), 0600, UM_IO_NO_SYNC,
			       im->err);
	if (r < 0)
		return r;
	/* Everything of the layer is on the disk before its name is. */
	if (syncfs(im->store->dirfd) < 0)
		return um_error_errno(im->err, -errno, "sync layer %s", chain);
	UM_FAULT("image.layer-unpacked");
	if (renameat(im->src->tmpfd, tmp, im->store->dirfd, dir) < 0) {
		if ((errno == EEXIST || errno == ENOTEMPTY) && have_layer(im, dir, chain))
			return 0; /* somebody was faster with the same layer */
		return um_error_errno(im->err, -errno, "move layer %s into place", chain);
	}
	return 0;
}

/* @expected: the diff id that the config names; NULL takes what comes. @chain is replaced. */
static int add_layer(struct importer *im, int fd, const char *expected, bool first,
		     char chain[UM_DIGEST_LEN + 1], char ret_diff_id[UM_DIGEST_LEN + 1])
{
	char next[UM_DIGEST_LEN + 1], dir[UM_LAYER_DIR_LEN], tmp[32], path[64];
	_cleanup_close_ int fs = -1;
	int r;

	if (expected) {
		if (!um_digest_valid(expected) ||
		    um_chain_next(first ? NULL : chain, expected, next) < 0)
			return um_error_set(im->err, -EBADMSG, "rootfs.diff_ids: \"%s\"", expected);
		um_layer_dir(next, dir);
		if (have_layer(im, dir, next)) {
			memcpy(chain, next, sizeof(next));
			memcpy(ret_diff_id, expected, UM_DIGEST_LEN + 1);
			return 0;
		}
	}
	snprintf(tmp, sizeof(tmp), "layer%u", im->n_layers++);
	snprintf(path, sizeof(path), "%s/fs", tmp);
	r = um_io_mkdirs(im->src->tmpfd, path, 0755, im->err);
	if (r < 0)
		return r;
	fs = openat(im->src->tmpfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fs < 0 || fchmod(fs, 0755) < 0)
		return um_error_errno(im->err, -errno, "make %s", path);
	r = unpack_layer(fd, fs, &im->stats, ret_diff_id, im->err);
	if (r < 0)
		return um_error_wrap(im->err, r, "layer %u", im->n_layers);
	if (expected && strcmp(expected, ret_diff_id))
		return um_error_set(im->err, -EBADMSG,
				    "layer %u is %s, but the image's config says %s", im->n_layers,
				    ret_diff_id, expected);
	if (um_chain_next(first ? NULL : chain, ret_diff_id, next) < 0)
		return um_error_errno(im->err, -ENOMEM, "digest");
	memcpy(chain, next, sizeof(next));
	um_layer_dir(chain, dir);
	return have_layer(im, dir, chain) ? 0 : place_layer(im, tmp, chain);
}

/* ---- the records ---- */

static int write_name(struct importer *im, const char *ref, const char *manifest_digest)
{
	char name[UM_IMAGE_NAME_MAX];
	_cleanup_close_ int lock = -1;
	struct um_json *refs;
	int r = um_image_normalise(ref, name, im->err);

	if (r < 0)
		return r;
	if (strchr(name, '@'))
		return um_error_set(im->err, -EINVAL,
				    "%s: a name to import to cannot have a digest", ref);
	lock = um_images_lock(im->store, im->err);
	if (lock < 0)
		return lock;
	r = um_refs_read(im->store, im->a, &refs, im->err);
	if (r < 0)
		return r;
	um_json_set_str(im->a, refs, name, manifest_digest);
	UM_FAULT("image.before-name");
	r = um_refs_write(im->store, refs, im->err);
	if (r == 0)
		printf("%s %s\n", name, manifest_digest);
	return r;
}

/* A manifest of our own for archives that have none: layers by the digest of their tar. */
static int write_manifest(struct importer *im, const void *config, size_t len,
			  const struct um_json *diff_ids, char ret[UM_DIGEST_LEN + 1])
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_BLOB_MAX_BYTES);
	struct um_json *o = um_json_new_obj(im->a), *c, *layers, *l;
	char digest[UM_DIGEST_LEN + 1];
	int r = um_blob_write(im->store, config, len, digest, im->err);

	if (r < 0)
		return r;
	um_json_set_i64(im->a, o, "schemaVersion", 2);
	um_json_set_str(im->a, o, "mediaType", "application/vnd.oci.image.manifest.v1+json");
	c = um_json_ensure_obj(im->a, o, "config");
	um_json_set_str(im->a, c, "mediaType", "application/vnd.oci.image.config.v1+json");
	um_json_set_str(im->a, c, "digest", digest);
	um_json_set_i64(im->a, c, "size", (int64_t)len);
	layers = um_json_ensure_arr(im->a, o, "layers");
	um_json_foreach (it, diff_ids) {
		l = um_json_append(layers, um_json_new_obj(im->a));
		um_json_set_str(im->a, l, "mediaType", "application/vnd.oci.image.layer.v1.tar");
		um_json_set_str(im->a, l, "digest", it->str);
		um_json_set_i64(im->a, l, "size", diff_ids->len == 1 ? im->stats.bytes : 0);
	}
	if (um_arena_failed(im->a) || um_json_write(&b, o) < 0)
		return um_error_errno(im->err, -ENOMEM, "write the manifest");
	return um_blob_write(im->store, b.data, b.len, ret, im->err);
}

/* ---- OCI ---- */

static const char *machine(void)
{
	static struct utsname u;
	static const struct {
		const char *uname, *oci;
	} names[] = {{"x86_64", "amd64"},   {"aarch64", "arm64"},   {"armv7l", "arm"},
		     {"i686", "386"},	    {"ppc64le", "ppc64le"}, {"s390x", "s390x"},
		     {"riscv64", "riscv64"}};

	uname(&u);
	for (size_t i = 0; i < UM_ARRAY_LEN(names); i++)
		if (!strcmp(u.machine, names[i].uname))
			return names[i].oci;
	return u.machine;
}

static bool suits(const struct um_json *descriptor)
{
	const struct um_json *p = um_json_get(descriptor, "platform");

	return !p || (!strcmp(um_json_get_str(p, "os", "linux"), "linux") &&
		      !strcmp(um_json_get_str(p, "architecture", machine()), machine()));
}

/* The descriptor of the manifest to import, through nested indexes. */
static const struct um_json *choose(struct importer *im, const struct um_json *index, int depth,
				    const char **ret_name)
{
	const struct um_json *found = NULL;
	unsigned n = 0;

	um_json_foreach (it, um_json_get(index, "manifests")) {
		const struct um_json *notes = um_json_get(it, "annotations");
		const char *name = um_json_str(
			um_json_get(notes, "io.containerd.image.name"),
			um_json_str(um_json_get(notes, "org.opencontainers.image.ref.name"), NULL));

		if (!suits(it))
			continue;
		n++;
		if (!found) /* the first that suits is the preferred one */
			found = it;
		if (name && !*ret_name)
			*ret_name = name;
	}
	if (n > 1 && !depth) {
		um_error_set(im->err, -EINVAL,
			     "%s holds %u images for this machine: import one at a time",
			     im->src->path, n);
		return NULL;
	}
	if (!found) {
		um_error_set(im->err, -ENOENT, "%s holds no image for linux/%s", im->src->path,
			     machine());
		return NULL;
	}
	return found;
}

static bool is_index(const struct um_json *d)
{
	const char *type = um_json_get_str(d, "mediaType", "");

	return !strcmp(type, "application/vnd.oci.image.index.v1+json") ||
	       !strcmp(type, "application/vnd.docker.distribution.manifest.list.v2+json");
}

static int oci_layers(struct importer *im, const struct um_json *manifest,
		      const struct um_json *config)
{
	const struct um_json *layers = um_json_get(manifest, "layers");
	const struct um_json *ids = um_json_path(config, "rootfs.diff_ids"), *id;
	char chain[UM_DIGEST_LEN + 1], diff[UM_DIGEST_LEN + 1];
	bool first = true;

	if (!um_json_is(layers, UM_JSON_ARR) || !um_json_is(ids, UM_JSON_ARR) ||
	    layers->len != ids->len || ids->len > UM_LAYERS_MAX)
		return um_error_set(im->err, -EBADMSG,
				    "%s: manifest and config disagree on the layers, or there are "
				    "more than %d",
				    im->src->path, UM_LAYERS_MAX);
	id = um_json_first(ids);
	um_json_foreach (l, layers) {
		const char *type = um_json_get_str(l, "mediaType", "");
		_cleanup_close_ int fd = -1;
		int r;

		if (strstr(type, "foreign") || strstr(type, "nondistributable") ||
		    strstr(type, "encrypted"))
			return um_error_set(im->err, -EOPNOTSUPP, "layer of type %s", type);
		fd = source_blob(im->src, um_json_get_str(l, "digest", ""), im->err);
		if (fd < 0)
			return fd;
		r = add_layer(im, fd, um_json_str(id, ""), first, chain, diff);
		if (r < 0)
			return r;
		first = false;
		id = id->next;
	}
	return 0;
}

static int import_oci(struct importer *im)
{
	_cleanup_buf_ struct um_buf raw = UM_BUF_INIT(UM_BLOB_MAX_BYTES);
	_cleanup_buf_ struct um_buf raw_config = UM_BUF_INIT(UM_BLOB_MAX_BYTES);
	char path[UM_BLOB_PATH_LEN], digest[UM_DIGEST_LEN + 1];
	const char *name = NULL, *d;
	const struct um_json *desc;
	struct um_json *doc, *config;
	int r = source_json(im->src, "index.json", NULL, &raw, &doc, im->err);

	for (int depth = 0; r == 0; depth++) {
		desc = choose(im, doc, depth, &name);
		if (!desc)
			return im->err->code;
		d = um_json_get_str(desc, "digest", "");
		if (!um_digest_valid(d) || depth > 3)
			return um_error_set(im->err, -EBADMSG, "%s: digest \"%s\"", im->src->path,
					    d);
		um_blob_path(d, path);
		r = source_json(im->src, path, d, &raw, &doc, im->err);
		if (!is_index(desc))
			break;
	}
	if (r < 0)
		return r;
	d = um_json_get_str(doc, "config.digest", "");
	if (!um_digest_valid(d))
		return um_error_set(im->err, -EBADMSG, "%s: config.digest \"%s\"", im->src->path,
				    d);
	um_blob_path(d, path);
	r = source_json(im->src, path, d, &raw_config, &config, im->err);
	if (r == 0)
		r = oci_layers(im, doc, config);
	if (r == 0)
		r = um_blob_write(im->store, raw_config.data, raw_config.len, digest, im->err);
	if (r == 0)
		r = um_blob_write(im->store, raw.data, raw.len, digest, im->err);
	if (r < 0)
		return r;
	if (!im->opt->name && (!name || !strpbrk(name, "/:"))) /* "latest" is none */
		return um_error_set(im->err, -EINVAL,
				    "%s does not say its name: give one (umiak image import FILE "
				    "NAME)",
				    im->src->path);
	return write_name(im, im->opt->name ? im->opt->name : name, digest);
}

/* ---- docker save ---- */

/* Where the config's file is called by its digest, "<hex>.json" or "blobs/sha256/<hex>", that is
 * checked. */
static int check_config_name(struct importer *im, const char *path, struct um_buf *raw)
{
	const char *slash = strrchr(path, '/'), *hex = slash ? slash + 1 : path;
	char digest[UM_DIGEST_LEN + 1];

	if (strspn(hex, "0123456789abcdef") != 64)
		return 0;
	if (um_digest_of(um_buf_str(raw), raw->len, digest) < 0)
		return um_error_errno(im->err, -ENOMEM, "digest");
	return strncmp(digest + 7, hex, 64) == 0
		       ? 0
		       : um_error_set(im->err, -EBADMSG, "%s: %s does not match its digest",
				      im->src->path, path);
}

static int docker_one(struct importer *im, const struct um_json *item)
{
	_cleanup_buf_ struct um_buf raw = UM_BUF_INIT(UM_BLOB_MAX_BYTES);
	char chain[UM_DIGEST_LEN + 1], diff[UM_DIGEST_LEN + 1], digest[UM_DIGEST_LEN + 1];
	const struct um_json *layers = um_json_get(item, "Layers"), *ids, *id;
	struct um_json *config;
	bool first = true;
	const char *path = um_json_get_str(item, "Config", "");
	int r = source_json(im->src, path, NULL, &raw, &config, im->err);

	if (r == 0)
		r = check_config_name(im, path, &raw);
	if (r < 0)
		return r;
	ids = um_json_path(config, "rootfs.diff_ids");
	if (!um_json_is(layers, UM_JSON_ARR) || !um_json_is(ids, UM_JSON_ARR) ||
	    layers->len != ids->len || ids->len > UM_LAYERS_MAX)
		return um_error_set(im->err, -EBADMSG,
				    "%s: manifest.json and config disagree on the layers, or there "
				    "are more than %d",
				    im->src->path, UM_LAYERS_MAX);
	id = um_json_first(ids);
	um_json_foreach (l, layers) {
		_cleanup_close_ int fd = source_file(im->src, um_json_str(l, ""), im->err);

		if (fd < 0)
			return fd;
		r = add_layer(im, fd, um_json_str(id, ""), first, chain, diff);
		if (r < 0)
			return r;
		first = false;
		id = id->next;
	}
	r = write_manifest(im, raw.data, raw.len, ids, digest);
	if (r < 0)
		return r;
	if (im->opt->name)
		return write_name(im, im->opt->name, digest);
	if (!um_json_first(um_json_get(item, "RepoTags")))
		return um_error_set(im->err, -EINVAL,
				    "%s does not say its name: give one (umiak image import FILE "
				    "NAME)",
				    im->src->path);
	um_json_foreach (t, um_json_get(item, "RepoTags")) {
		r = write_name(im, um_json_str(t, ""), digest);
		if (r < 0)
			return r;
	}
	return 0;
}

static int import_docker(struct importer *im)
{
	_cleanup_buf_ struct um_buf raw = UM_BUF_INIT(UM_BLOB_MAX_BYTES);
	struct um_json *list;
	int r = source_json(im->src, "manifest.json", NULL, &raw, &list, im->err);

	if (r < 0)
		return r;
	if (!um_json_is(list, UM_JSON_ARR) || !list->len)
		return um_error_set(im->err, -EBADMSG, "%s: manifest.json names no image",
				    im->src->path);
	if (im->opt->name && list->len > 1)
		return um_error_set(im->err, -EINVAL,
				    "%s holds %u images: import them without a name, they have "
				    "their own",
				    im->src->path, list->len);
	um_json_foreach (it, list) {
		r = docker_one(im, it);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- a root file system ---- */

static int import_rootfs(struct importer *im)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_BLOB_MAX_BYTES);
	char chain[UM_DIGEST_LEN + 1], diff[UM_DIGEST_LEN + 1], digest[UM_DIGEST_LEN + 1];
	struct um_json *config = um_json_new_obj(im->a), *rootfs, *ids;
	char now[UM_TIME_LEN];
	int r;

	if (!im->opt->name)
		return um_error_set(im->err, -EINVAL,
				    "%s is a root file system: give the image a name (umiak image "
				    "import FILE NAME)",
				    im->src->path);
	if (lseek(im->src->fd, 0, SEEK_SET) < 0)
		return um_error_errno(im->err, -errno, "%s", im->src->path);
	r = add_layer(im, im->src->fd, NULL, true, chain, diff);
	if (r < 0)
		return r;
	um_time_format(um_clock_wall(&um_clock_system), now);
	um_json_set_str(im->a, config, "created", now);
	um_json_set_str(im->a, config, "architecture", machine());
	um_json_set_str(im->a, config, "os", "linux");
	um_json_set(im->a, config, "config",
		    im->opt->config ? um_json_copy(im->a, im->opt->config)
				    : um_json_new_obj(im->a));
	rootfs = um_json_ensure_obj(im->a, config, "rootfs");
	um_json_set_str(im->a, rootfs, "type", "layers");
	ids = um_json_ensure_arr(im->a, rootfs, "diff_ids");
	um_json_append(ids, um_json_new_str(im->a, diff));
	if (um_arena_failed(im->a) || um_json_write(&b, config) < 0)
		return um_error_errno(im->err, -ENOMEM, "write the config");
	r = write_manifest(im, b.data, b.len, ids, digest);
	return r < 0 ? r : write_name(im, im->opt->name, digest);
}

int import_source(struct um_images *store, struct source *src, const struct import_options *opt,
		  struct um_error *err)
{
	struct importer im = {.store = store, .src = src, .opt = opt, .a = src->a, .err = err};
	static int (*const kinds[])(struct importer *) = {
		[SOURCE_ROOTFS] = import_rootfs,
		[SOURCE_OCI] = import_oci,
		[SOURCE_DOCKER] = import_docker,
	};
	int r = kinds[src->kind](&im);

	if (r == 0 && im.stats.skipped_devices)
		fprintf(stderr, "umiak-image: %u device nodes were left out\n",
			im.stats.skipped_devices);
	if (r == 0 && im.stats.skipped_xattrs)
		fprintf(stderr, "umiak-image: %u extended attributes were left out\n",
			im.stats.skipped_xattrs);
	return r;
}
