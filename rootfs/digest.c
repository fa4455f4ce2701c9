#include <openssl/evp.h>
#include <string.h>

#include "rootfs/internal.h"

struct um_digest {
	EVP_MD_CTX *ctx;
};

bool um_digest_valid(const char *s)
{
	return s && !strncmp(s, "sha256:", 7) && strlen(s) == UM_DIGEST_LEN &&
	       strspn(s + 7, "0123456789abcdef") == 64;
}

struct um_digest *um_digest_new(void)
{
	struct um_digest *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->ctx = EVP_MD_CTX_new();
	if (!d->ctx || !EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL)) {
		um_digest_free(d);
		return NULL;
	}
	return d;
}

void um_digest_add(struct um_digest *d, const void *data, size_t len)
{
	EVP_DigestUpdate(d->ctx, data, len);
}

void um_digest_end(struct um_digest *d, char ret[UM_DIGEST_LEN + 1])
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	EVP_DigestFinal_ex(d->ctx, sum, &n);
	strcpy(ret, "sha256:");
	for (unsigned i = 0; i < 32; i++)
		snprintf(ret + 7 + 2 * i, 3, "%02x", i < n ? sum[i] : 0);
}

void um_digest_free(struct um_digest *d)
{
	if (!d)
		return;
	EVP_MD_CTX_free(d->ctx);
	free(d);
}

int um_digest_of(const void *data, size_t len, char ret[UM_DIGEST_LEN + 1])
{
	_cleanup_(um_digest_freep) struct um_digest *d = um_digest_new();

	if (!d)
		return -ENOMEM;
	um_digest_add(d, data, len);
	um_digest_end(d, ret);
	return 0;
}

int um_chain_next(const char *parent, const char *diff_id, char ret[UM_DIGEST_LEN + 1])
{
	char text[2 * UM_DIGEST_LEN + 2];

	if (!parent) {
		memcpy(ret, diff_id, UM_DIGEST_LEN + 1);
		return 0;
	}
	snprintf(text, sizeof(text), "%s %s", parent, diff_id);
	return um_digest_of(text, strlen(text), ret);
}

void um_layer_dir(const char *chain_id, char ret[UM_LAYER_DIR_LEN])
{
	snprintf(ret, UM_LAYER_DIR_LEN, "layers/%.32s", chain_id + 7);
}

void um_blob_path(const char *digest, char ret[UM_BLOB_PATH_LEN])
{
	snprintf(ret, UM_BLOB_PATH_LEN, "blobs/sha256/%.64s", digest + 7);
}
