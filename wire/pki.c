#include "wire/pki.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/clock.h"
#include "base/io.h"

struct um_pki_pair {
	X509 *cert;
	EVP_PKEY *key;
};

UM_DEFINE_CLEANUP(BIO, BIO_free_all)
UM_DEFINE_CLEANUP(GENERAL_NAMES, GENERAL_NAMES_free)

static int ssl_failed(struct um_error *err, const char *what)
{
	char text[200];

	ERR_error_string_n(ERR_peek_last_error(), text, sizeof(text));
	ERR_clear_error();
	return um_error_set(err, -EIO, "%s: %s", what, text);
}

void um_pki_pair_free(struct um_pki_pair *p)
{
	if (!p)
		return;
	X509_free(p->cert);
	EVP_PKEY_free(p->key);
	free(p);
}

static int add_entries(X509_NAME *name, const char *field, const char *const *values)
{
	for (; values && *values; values++)
		if (!X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
						(const unsigned char *)*values, -1, -1, 0))
			return -EINVAL;
	return 0;
}

static int set_serial(X509 *cert)
{
	unsigned char bytes[16];
	BIGNUM *n;
	int ok;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return -EIO;
	bytes[0] = (unsigned char)((bytes[0] & 0x3f) | 0x40); /* positive, always 16 bytes */
	n = BN_bin2bn(bytes, sizeof(bytes), NULL);
	ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
	BN_free(n);
	return ok ? 0 : -ENOMEM;
}

static int add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	int ok;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext && X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
	return ok ? 0 : -EIO;
}

static int add_general(GENERAL_NAMES *names, int type, const char *text)
{
	GENERAL_NAME *gn = NULL;

	if (type == GEN_IPADD) {
		ASN1_OCTET_STRING *ip = a2i_IPADDRESS(text);

		gn = ip ? GENERAL_NAME_new() : NULL;
		if (!gn) {
			ASN1_OCTET_STRING_free(ip);
			return -EINVAL;
		}
		GENERAL_NAME_set0_value(gn, GEN_IPADD, ip);
	} else {
		ASN1_IA5STRING *s = ASN1_IA5STRING_new();

		gn = s && ASN1_STRING_set(s, text, -1) ? GENERAL_NAME_new() : NULL;
		if (!gn) {
			ASN1_IA5STRING_free(s);
			return -ENOMEM;
		}
		GENERAL_NAME_set0_value(gn, GEN_DNS, s);
	}
	if (!sk_GENERAL_NAME_push(names, gn)) {
		GENERAL_NAME_free(gn);
		return -ENOMEM;
	}
	return 0;
}

static int add_alt_names(X509 *cert, const struct um_pki_names *n)
{
	_cleanup_(GENERAL_NAMES_freep) GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	int r = names ? 0 : -ENOMEM;

	for (const char *const *s = n->dns; !r && s && *s; s++)
		r = add_general(names, GEN_DNS, *s);
	for (const char *const *s = n->ips; !r && s && *s; s++)
		r = add_general(names, GEN_IPADD, *s);
	if (r < 0 || !sk_GENERAL_NAME_num(names))
		return r;
	return X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1 ? 0 : -EIO;
}

static int extend_leaf(X509 *cert, X509 *issuer, const struct um_pki_names *n)
{
	int r = add_ext(cert, issuer, NID_basic_constraints, "critical,CA:FALSE");

	if (!r)
		r = add_ext(cert, issuer, NID_key_usage, "critical,digitalSignature");
	if (!r && (n->server || n->client))
		r = add_ext(cert, issuer, NID_ext_key_usage,
			    n->server && n->client ? "serverAuth,clientAuth"
			    : n->server		   ? "serverAuth"
						   : "clientAuth");
	if (!r)
		r = add_ext(cert, issuer, NID_authority_key_identifier, "keyid:always");
	if (!r)
		r = add_alt_names(cert, n);
	return r;
}

static int extend_ca(X509 *cert)
{
	int r = add_ext(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");

	if (!r)
		r = add_ext(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign");
	if (!r)
		r = add_ext(cert, cert, NID_subject_key_identifier, "hash");
	return r;
}

/* @ca NULL: self-signed. */
static int make(const struct um_pki_pair *ca, const struct um_pki_names *n, int64_t wall_ns,
		int64_t life_ns, struct um_pki_pair **ret, struct um_error *err)
{
	_cleanup_(um_pki_pair_freep) struct um_pki_pair *p = calloc(1, sizeof(*p));
	const char *const cn[] = {n->cn, NULL};
	time_t end;

	if (!p)
		return um_error_set(err, -ENOMEM, "certificate for %s: out of memory", n->cn);
	if (wall_ns < UM_PKI_FLOOR_NS)
		wall_ns = UM_PKI_FLOOR_NS;
	end = (time_t)((wall_ns + life_ns) / UM_NSEC_PER_SEC);
	p->key = EVP_EC_gen("P-256");
	p->cert = X509_new();
	if (!p->key || !p->cert || !X509_set_version(p->cert, X509_VERSION_3) ||
	    set_serial(p->cert) < 0 || !ASN1_TIME_set(X509_getm_notBefore(p->cert), 0) ||
	    !ASN1_TIME_set(X509_getm_notAfter(p->cert), end) || !X509_set_pubkey(p->cert, p->key))
		return ssl_failed(err, "make a certificate");
	if (add_entries(X509_get_subject_name(p->cert), "O", n->orgs) < 0 ||
	    add_entries(X509_get_subject_name(p->cert), "CN", cn) < 0) {
		ERR_clear_error();
		return um_error_set(err, -EINVAL, "certificate for %s: bad name", n->cn);
	}
	if (!X509_set_issuer_name(p->cert, X509_get_subject_name(ca ? ca->cert : p->cert)))
		return ssl_failed(err, "set the issuer");
	if ((ca ? extend_leaf(p->cert, ca->cert, n) : extend_ca(p->cert)) < 0) {
		ERR_clear_error();
		return um_error_set(err, -EINVAL, "certificate for %s: bad alternative name",
				    n->cn);
	}
	if (!X509_sign(p->cert, ca ? ca->key : p->key, EVP_sha256()))
		return ssl_failed(err, "sign a certificate");
	*ret = TAKE_PTR(p);
	return 0;
}

int um_pki_ca_new(const char *cn, int64_t wall_ns, struct um_pki_pair **ret, struct um_error *err)
{
	struct um_pki_names n = {.cn = cn};

	return make(NULL, &n, wall_ns, UM_PKI_CA_LIFE_NS, ret, err);
}

int um_pki_leaf_new(const struct um_pki_pair *ca, const struct um_pki_names *names, int64_t wall_ns,
		    struct um_pki_pair **ret, struct um_error *err)
{
	return make(ca, names, wall_ns, UM_PKI_LEAF_LIFE_NS, ret, err);
}

static int bio_to_buf(BIO *bio, int ok, struct um_buf *b)
{
	char *data;
	long n;

	if (ok != 1)
		return -EIO;
	n = BIO_get_mem_data(bio, &data);
	return um_buf_add(b, data, (size_t)n);
}

int um_pki_cert_pem(const struct um_pki_pair *p, struct um_buf *b)
{
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());

	return bio ? bio_to_buf(bio, PEM_write_bio_X509(bio, p->cert), b) : -ENOMEM;
}

int um_pki_key_pem(const struct um_pki_pair *p, struct um_buf *b)
{
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_secmem());

	if (!bio)
		return -ENOMEM;
	return bio_to_buf(bio,
			  PEM_write_bio_PKCS8PrivateKey(bio, p->key, NULL, NULL, 0, NULL, NULL), b);
}

int um_pki_save(const struct um_pki_pair *p, const char *dir, const char *name,
		struct um_error *err)
{
	_cleanup_buf_ struct um_buf cert = UM_BUF_INIT(64 << 10), key = UM_BUF_INIT(64 << 10);
	char path[PATH_MAX];
	int r;

	r = um_pki_cert_pem(p, &cert);
	if (!r)
		r = um_pki_key_pem(p, &key);
	if (!r)
		r = um_io_path(path, sizeof(path), "%s/%s.key", dir, name);
	if (r < 0) {
		r = um_error_errno(err, r, "save the certificate %s", name);
	} else {
		r = um_io_replace_file(AT_FDCWD, path, key.data, key.len, 0600, UM_IO_SYNC, err);
		memcpy(path + strlen(path) - 3, "crt", 3);
		if (!r)
			r = um_io_replace_file(AT_FDCWD, path, cert.data, cert.len, 0644,
					       UM_IO_SYNC, err);
	}
	if (key.data)
		OPENSSL_cleanse(key.data, key.cap);
	return r;
}

static int no_password(char *buf um_unused, int size um_unused, int rw um_unused, void *u um_unused)
{
	return -1; /* never ask on the terminal */
}

int um_pki_load(const char *dir, const char *name, struct um_pki_pair **ret, struct um_error *err)
{
	_cleanup_(um_pki_pair_freep) struct um_pki_pair *p = calloc(1, sizeof(*p));
	_cleanup_buf_ struct um_buf cert = UM_BUF_INIT(64 << 10), key = UM_BUF_INIT(64 << 10);
	_cleanup_(BIO_free_allp) BIO *cert_bio = NULL, *key_bio = NULL;
	char path[PATH_MAX];
	int r = p ? 0 : -ENOMEM;

	if (!r)
		r = um_io_path(path, sizeof(path), "%s/%s.crt", dir, name);
	if (r < 0)
		return um_error_errno(err, r, "load the certificate %s", name);
	r = um_io_read_file(AT_FDCWD, path, &cert, err);
	if (r < 0)
		return r;
	memcpy(path + strlen(path) - 3, "key", 3);
	r = um_io_read_file(AT_FDCWD, path, &key, err);
	if (r < 0)
		return r;
	cert_bio = BIO_new_mem_buf(um_buf_str(&cert), (int)cert.len);
	key_bio = BIO_new_mem_buf(um_buf_str(&key), (int)key.len);
	if (!cert_bio || !key_bio)
		return um_error_set(err, -ENOMEM, "load the certificate %s: out of memory", name);
	p->cert = PEM_read_bio_X509(cert_bio, NULL, no_password, NULL);
	p->key = PEM_read_bio_PrivateKey(key_bio, NULL, no_password, NULL);
	if (key.data)
		OPENSSL_cleanse(key.data, key.cap);
	if (!p->cert || !p->key || X509_check_private_key(p->cert, p->key) != 1) {
		ERR_clear_error();
		return um_error_set(err, -EBADMSG, "%s/%s.crt and .key are damaged or no pair", dir,
				    name);
	}
	*ret = TAKE_PTR(p);
	return 0;
}

int64_t um_pki_not_after(const struct um_pki_pair *p)
{
	struct tm tm;

	if (!ASN1_TIME_to_tm(X509_get0_notAfter(p->cert), &tm))
		return 0;
	return (int64_t)timegm(&tm) * UM_NSEC_PER_SEC;
}

bool um_pki_leaf_due(const struct um_pki_pair *p, int64_t wall_ns)
{
	return wall_ns >= um_pki_not_after(p) - UM_PKI_LEAF_LIFE_NS / 2;
}

bool um_pki_signed_by(const struct um_pki_pair *p, const struct um_pki_pair *ca)
{
	bool ok = X509_verify(p->cert, ca->key) == 1;

	ERR_clear_error();
	return ok;
}

bool um_pki_covers(const struct um_pki_pair *p, const struct um_pki_names *names)
{
	for (const char *const *s = names->dns; s && *s; s++)
		if (X509_check_host(p->cert, *s, 0, 0, NULL) != 1)
			return false;
	for (const char *const *s = names->ips; s && *s; s++)
		if (X509_check_ip_asc(p->cert, *s, 0) != 1)
			return false;
	return true;
}
