#include "api/token.h"

#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/io.h"

#define HALF 32 /* bytes of each number of a signature */

struct um_tokens {
	EVP_PKEY *key;
	char kid[64];
};

/* ---- base64url (RFC 4648, without padding) ---- */

static char *url_encode(struct um_arena *a, const void *data, size_t len)
{
	char *s = um_base64_encode(a, data, len);

	if (!s)
		return NULL;
	for (char *c = s; *c; c++) {
		if (*c == '+')
			*c = '-';
		else if (*c == '/')
			*c = '_';
		else if (*c == '=')
			*c = '\0';
	}
	return s;
}

static char *url_decode(struct um_arena *a, const char *s, size_t len, size_t *ret_len)
{
	char *copy = um_arena_alloc(a, len + 4);
	size_t n = len;

	if (!copy)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		bool fits = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
			    (s[i] >= '0' && s[i] <= '9') || s[i] == '-' || s[i] == '_';

		if (!fits)
			return NULL;
		copy[i] = s[i] == '-' ? '+' : s[i] == '_' ? '/' : s[i];
	}
	while (n % 4)
		copy[n++] = '=';
	return um_base64_decode(a, copy, n, ret_len);
}

/* ---- the key ---- */

static int no_password(char *buf um_unused, int size um_unused, int rw um_unused,
		       void *arg um_unused)
{
	return 0;
}

static int load_key(const char *path, EVP_PKEY **ret, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(64 << 10);
	int r = um_io_read_file(AT_FDCWD, path, &b, err);
	BIO *bio;

	if (r < 0)
		return r;
	bio = BIO_new_mem_buf(b.data, (int)b.len);
	*ret = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
	BIO_free(bio);
	OPENSSL_cleanse(b.data, b.cap);
	if (*ret && EVP_PKEY_get_bits(*ret) == 256 && EVP_PKEY_is_a(*ret, "EC"))
		return 0;
	EVP_PKEY_free(TAKE_PTR(*ret));
	return um_error_set(err, -EBADMSG, "%s is no P-256 key", path);
}

static int make_key(const char *path, EVP_PKEY **ret, struct um_error *err)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data = NULL;
	long len = 0;
	int r;

	*ret = EVP_EC_gen("P-256");
	if (bio && *ret && PEM_write_bio_PKCS8PrivateKey(bio, *ret, NULL, NULL, 0, NULL, NULL) == 1)
		len = BIO_get_mem_data(bio, &data);
	r = len > 0 ? um_io_replace_file(AT_FDCWD, path, data, (size_t)len, 0600, UM_IO_SYNC, err)
		    : um_error_set(err, -EIO, "%s: OpenSSL made no key", path);
	if (data)
		OPENSSL_cleanse(data, (size_t)len);
	BIO_free(bio);
	if (r < 0)
		EVP_PKEY_free(TAKE_PTR(*ret));
	return r;
}

/* The key's name in headers: the digest of its public half. */
static int name_key(struct um_tokens *t)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(4096);
	unsigned char digest[SHA256_DIGEST_LENGTH], *der = NULL;
	int len = i2d_PUBKEY(t->key, &der);
	const char *s;

	if (len <= 0 || !a)
		return -ENOMEM;
	SHA256(der, (size_t)len, digest);
	OPENSSL_free(der);
	s = url_encode(a, digest, sizeof(digest));
	if (!s)
		return -ENOMEM;
	snprintf(t->kid, sizeof(t->kid), "%s", s);
	return 0;
}

int um_tokens_open(const char *path, struct um_tokens **ret, struct um_error *err)
{
	struct um_tokens *t = calloc(1, sizeof(*t));
	struct um_error why = UM_ERROR_INIT;
	int r;

	if (!t)
		return um_error_set(err, -ENOMEM, "tokens: out of memory");
	r = load_key(path, &t->key, &why);
	if (r == -ENOENT)
		r = make_key(path, &t->key, err);
	else if (r < 0)
		um_error_move(err, &why);
	if (!r && name_key(t) < 0)
		r = um_error_set(err, -ENOMEM, "tokens: out of memory");
	if (r < 0) {
		um_tokens_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

void um_tokens_free(struct um_tokens *t)
{
	if (!t)
		return;
	EVP_PKEY_free(t->key);
	free(t);
}

/* ---- signatures: ASN.1 for OpenSSL, two numbers in a token ---- */

static bool sign(const struct um_tokens *t, const char *text, size_t len,
		 unsigned char out[2 * HALF])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char der[128];
	const unsigned char *p = der;
	size_t n = sizeof(der);
	ECDSA_SIG *sig = NULL;
	bool ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, t->key) == 1 &&
		  EVP_DigestSign(ctx, der, &n, (const unsigned char *)text, len) == 1 &&
		  (sig = d2i_ECDSA_SIG(NULL, &p, (long)n)) &&
		  BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, HALF) == HALF &&
		  BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + HALF, HALF) == HALF;

	ECDSA_SIG_free(sig);
	EVP_MD_CTX_free(ctx);
	return ok;
}

static bool signature_fits(const struct um_tokens *t, const char *text, size_t len,
			   const unsigned char raw[2 * HALF])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(raw, HALF, NULL), *s = BN_bin2bn(raw + HALF, HALF, NULL);
	unsigned char *der = NULL;
	int n = 0;
	bool ok = false;

	if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
		r = s = NULL; /* they are the signature's now */
		n = i2d_ECDSA_SIG(sig, &der);
	}
	if (ctx && n > 0)
		ok = EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, t->key) == 1 &&
		     EVP_DigestVerify(ctx, der, (size_t)n, (const unsigned char *)text, len) == 1;
	BN_free(r);
	BN_free(s);
	OPENSSL_free(der);
	ECDSA_SIG_free(sig);
	EVP_MD_CTX_free(ctx);
	return ok;
}

const char *um_token_sign(const struct um_tokens *t, const struct um_json *claims,
			  struct um_arena *a)
{
	_cleanup_buf_ struct um_buf payload = UM_BUF_INIT(UM_TOKEN_MAX / 2);
	const char *head = um_arena_printf(a, "{\"alg\":\"ES256\",\"kid\":\"%s\"}", t->kid);
	unsigned char raw[2 * HALF];
	const char *text, *tail;

	if (!head || um_json_write(&payload, claims) < 0)
		return NULL;
	head = url_encode(a, head, strlen(head));
	text = url_encode(a, payload.data, payload.len);
	text = head && text ? um_arena_printf(a, "%s.%s", head, text) : NULL;
	if (!text || !sign(t, text, strlen(text), raw))
		return NULL;
	tail = url_encode(a, raw, sizeof(raw));
	return tail ? um_arena_printf(a, "%s.%s", text, tail) : NULL;
}

struct um_json *um_token_public(const struct um_tokens *t, struct um_arena *a)
{
	struct um_json *o = um_json_new_obj(a);
	unsigned char point[1 + 2 * HALF]; /* 4, x, y */
	const char *x, *y;
	size_t n = 0;

	if (EVP_PKEY_get_octet_string_param(t->key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point),
					    &n) != 1 ||
	    n != sizeof(point) || point[0] != 4)
		return NULL;
	x = url_encode(a, point + 1, HALF);
	y = url_encode(a, point + 1 + HALF, HALF);
	if (!x || !y)
		return NULL;
	um_json_set_str(a, o, "use", "sig");
	um_json_set_str(a, o, "kty", "EC");
	um_json_set_str(a, o, "kid", t->kid);
	um_json_set_str(a, o, "crv", "P-256");
	um_json_set_str(a, o, "alg", "ES256");
	um_json_set_str(a, o, "x", x);
	um_json_set_str(a, o, "y", y);
	return um_arena_failed(a) ? NULL : o;
}

static int parse_part(struct um_arena *a, const char *s, size_t len, struct um_json **ret)
{
	size_t n;
	char *text = url_decode(a, s, len, &n);

	if (!text || um_json_parse(a, text, n, NULL, ret, NULL) < 0 ||
	    !um_json_is(*ret, UM_JSON_OBJ))
		return -EACCES;
	return 0;
}

int um_token_verify(const struct um_tokens *t, const char *token, struct um_arena *a,
		    struct um_json **ret)
{
	const char *first = strchr(token, '.'), *second = first ? strchr(first + 1, '.') : NULL;
	struct um_json *head = NULL;
	char *raw;
	size_t n;

	if (strlen(token) > UM_TOKEN_MAX || !second || strchr(second + 1, '.'))
		return -EACCES;
	raw = url_decode(a, second + 1, strlen(second + 1), &n);
	if (!raw || n != 2 * HALF || parse_part(a, token, (size_t)(first - token), &head) < 0 ||
	    strcmp(um_json_get_str(head, "alg", ""), "ES256") || um_json_get(head, "crit"))
		return -EACCES;
	if (!signature_fits(t, token, (size_t)(second - token), (unsigned char *)raw))
		return -EACCES;
	return parse_part(a, first + 1, (size_t)(second - first) - 1, ret);
}
