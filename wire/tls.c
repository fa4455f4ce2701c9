#include "wire/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

struct um_tls {
	unsigned refs, generation;
	bool server;
	char *cert_path, *key_path, *ca_path;
	bool insecure;
	SSL_CTX *ctx;
};

void um_tls_error_text(unsigned long code, char *buf, size_t size)
{
	const char *reason;

	if (!code)
		code = ERR_peek_error();
	reason = code ? ERR_reason_error_string(code) : NULL;
	snprintf(buf, size, "%s", reason ? reason : "connection closed");
	ERR_clear_error();
}

static int refused(struct um_error *err, const char *path, const char *what)
{
	char text[160];

	um_tls_error_text(0, text, sizeof(text));
	return um_error_set(err, -EBADMSG, "%s: %s: %s", path, what, text);
}

static int select_alpn(SSL *ssl um_unused, const unsigned char **out, unsigned char *out_len,
		       const unsigned char *in, unsigned in_len, void *arg um_unused)
{
	static const unsigned char ours[] = "\x08http/1.1";
	unsigned char *picked;

	if (SSL_select_next_proto(&picked, out_len, ours, sizeof(ours) - 1, in, in_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = picked;
	return SSL_TLSEXT_ERR_OK;
}

static int no_password(char *buf um_unused, int size um_unused, int rw um_unused, void *u um_unused)
{
	return -1; /* never ask on the terminal */
}

static void set_up_server(SSL_CTX *ctx)
{
	static const unsigned char context_id[] = "umiak";

	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	/* Without it every resumption by a client with a certificate fails. */
	SSL_CTX_set_session_id_context(ctx, context_id, sizeof(context_id) - 1);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets carry the state */
	SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
	SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
}

static void set_up_client(SSL_CTX *ctx, bool insecure)
{
	static const unsigned char alpn[] = "\x08http/1.1";

	SSL_CTX_set_verify(ctx, insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn) - 1);
}

static int load_files(const struct um_tls *t, SSL_CTX *ctx, struct um_error *err)
{
	if (t->cert_path) {
		if (SSL_CTX_use_certificate_chain_file(ctx, t->cert_path) != 1)
			return refused(err, t->cert_path, "certificate");
		if (SSL_CTX_use_PrivateKey_file(ctx, t->key_path, SSL_FILETYPE_PEM) != 1)
			return refused(err, t->key_path, "private key");
		if (SSL_CTX_check_private_key(ctx) != 1)
			return refused(err, t->key_path, "does not belong to the certificate");
	}
	if (t->ca_path) {
		if (SSL_CTX_load_verify_file(ctx, t->ca_path) != 1)
			return refused(err, t->ca_path, "CA certificates");
		if (t->server)
			SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(t->ca_path));
	}
	return 0;
}

static int build(const struct um_tls *t, SSL_CTX **ret, struct um_error *err)
{
	SSL_CTX *ctx = SSL_CTX_new(t->server ? TLS_server_method() : TLS_client_method());
	int r;

	if (!ctx)
		return um_error_set(err, -ENOMEM, "TLS context: out of memory");
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20");
	SSL_CTX_set_default_passwd_cb(ctx, no_password);
	if (t->server)
		set_up_server(ctx);
	else
		set_up_client(ctx, t->insecure);
	r = load_files(t, ctx, err);
	if (r < 0) {
		SSL_CTX_free(ctx);
		return r;
	}
	*ret = ctx;
	return 0;
}

static int copy(char **dst, const char *src)
{
	*dst = src ? strdup(src) : NULL;
	return src && !*dst ? -ENOMEM : 0;
}

static int tls_new(bool server, const struct um_tls_opts *o, struct um_tls **ret,
		   struct um_error *err)
{
	struct um_tls *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return um_error_set(err, -ENOMEM, "TLS context: out of memory");
	t->refs = 1;
	t->server = server;
	t->insecure = o->insecure;
	if (copy(&t->cert_path, o->cert_path) < 0 || copy(&t->key_path, o->key_path) < 0 ||
	    copy(&t->ca_path, o->ca_path) < 0)
		r = um_error_set(err, -ENOMEM, "TLS context: out of memory");
	else
		r = build(t, &t->ctx, err);
	if (r < 0) {
		um_tls_unref(t);
		return r;
	}
	*ret = t;
	return 0;
}

int um_tls_server_new(const struct um_tls_opts *o, struct um_tls **ret, struct um_error *err)
{
	return tls_new(true, o, ret, err);
}

int um_tls_client_new(const struct um_tls_opts *o, struct um_tls **ret, struct um_error *err)
{
	return tls_new(false, o, ret, err);
}

int um_tls_reload(struct um_tls *t, struct um_error *err)
{
	SSL_CTX *fresh = NULL;
	int r = build(t, &fresh, err);

	if (r < 0)
		return r;
	SSL_CTX_free(t->ctx);
	t->ctx = fresh;
	t->generation++;
	return 0;
}

struct um_tls *um_tls_ref(struct um_tls *t)
{
	t->refs++;
	return t;
}

void um_tls_unref(struct um_tls *t)
{
	if (!t || --t->refs)
		return;
	SSL_CTX_free(t->ctx);
	free(t->cert_path);
	free(t->key_path);
	free(t->ca_path);
	free(t);
}

static bool numeric(const char *host)
{
	unsigned char bin[16];

	return inet_pton(AF_INET, host, bin) == 1 || inet_pton(AF_INET6, host, bin) == 1;
}

static int expect_host(SSL *ssl, const struct um_tls *t, const char *host)
{
	if (numeric(host))
		return t->insecure || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	if (SSL_set_tlsext_host_name(ssl, host) != 1)
		return 0;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return t->insecure || SSL_set1_host(ssl, host) == 1;
}

SSL *um_tls_session(struct um_tls *t, const char *host)
{
	SSL *ssl = SSL_new(t->ctx);

	if (ssl && !t->server && (!host ? !t->insecure : !expect_host(ssl, t, host))) {
		SSL_free(ssl);
		ssl = NULL;
	}
	if (!ssl)
		ERR_clear_error();
	return ssl;
}

SSL_SESSION *um_tls_keep(SSL *ssl)
{
	SSL_SESSION *s = SSL_get0_session(ssl);

	return s && SSL_SESSION_is_resumable(s) ? SSL_get1_session(ssl) : NULL;
}

unsigned um_tls_generation(const struct um_tls *t)
{
	return t->generation;
}

static int entry_text(const X509_NAME *name, int at, char *buf, size_t size)
{
	X509_NAME_ENTRY *e = X509_NAME_get_entry(name, at);
	unsigned char *text = NULL;
	int n = e ? ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(e)) : -1, r = -EBADMSG;

	if (n >= 0 && (size_t)n < size && !memchr(text, 0, (size_t)n)) {
		memcpy(buf, text, (size_t)n);
		buf[n] = '\0';
		r = 0;
	}
	OPENSSL_free(text);
	return r;
}

static int read_subject(const X509_NAME *name, struct um_tls_peer *p)
{
	int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);

	if (at >= 0 && entry_text(name, at, p->cn, sizeof(p->cn)) < 0)
		return -EBADMSG;
	if (at >= 0 && X509_NAME_get_index_by_NID(name, NID_commonName, at) >= 0)
		return -EBADMSG; /* two users */
	at = -1;
	while ((at = X509_NAME_get_index_by_NID(name, NID_organizationName, at)) >= 0) {
		if (p->n_orgs == UM_TLS_ORGS_MAX ||
		    entry_text(name, at, p->orgs[p->n_orgs], sizeof(p->orgs[0])) < 0)
			return -EBADMSG;
		p->n_orgs++;
	}
	return 0;
}

int um_tls_get_peer(SSL *ssl, struct um_tls_peer *ret)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);

	memset(ret, 0, sizeof(*ret));
	if (!cert || SSL_get_verify_result(ssl) != X509_V_OK)
		return 0;
	if (read_subject(X509_get_subject_name(cert), ret) < 0)
		return -EBADMSG;
	ret->present = true;
	return 0;
}
