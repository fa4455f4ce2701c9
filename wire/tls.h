/* TLS contexts over OpenSSL 3: TLS 1.2 and later, ALPN http/1.1, no renegotiation.
 *
 * Server: asks for a client certificate, accepts none, and ends the handshake when one is given
 * that the CA did not sign. Sessions resume by ticket, bound to the session id context.
 * Client: pins the CA and checks the server's name or address; or, for probes, checks nothing. */
#ifndef UM_WIRE_TLS_H
#define UM_WIRE_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

typedef struct ssl_st SSL;
typedef struct ssl_session_st SSL_SESSION;
struct um_tls; /* refcounted; one thread */

struct um_tls_opts {
	const char *cert_path, *key_path; /* PEM; clients may leave both NULL */
	const char *ca_path;		  /* PEM; who signs the peers. NULL: none is accepted */
	bool insecure;			  /* clients: do not verify */
};

/* Blocks on the files. Errors: -ENOENT, -EBADMSG (a file holds no usable PEM), -ENOMEM. */
um_must_check int um_tls_server_new(const struct um_tls_opts *o, struct um_tls **ret,
				    struct um_error *err);
um_must_check int um_tls_client_new(const struct um_tls_opts *o, struct um_tls **ret,
				    struct um_error *err);
/* Reads the same files again; handshakes from now on use them. On failure the old ones stay. */
um_must_check int um_tls_reload(struct um_tls *t, struct um_error *err);
struct um_tls *um_tls_ref(struct um_tls *t);
void um_tls_unref(struct um_tls *t); /* accepts NULL */

/* A session; NULL when out of memory. @host (clients): name or numeric address to check. */
SSL *um_tls_session(struct um_tls *t, const char *host);
/* Clients: what a later session with the same server can resume from; SSL_SESSION_free(). NULL when
 * the server gave no ticket. */
SSL_SESSION *um_tls_keep(SSL *ssl);
unsigned um_tls_generation(const struct um_tls *t); /* grows with each reload: drop what was kept */

/* Who the other side is. */
struct um_tls_peer {
	bool present;	 /* it gave a certificate, and the CA signed it */
	char cn[256];	 /* "" when absent */
	unsigned n_orgs; /* of at most UM_TLS_ORGS_MAX */
	char orgs[8][128];
};
#define UM_TLS_ORGS_MAX 8

/* Reads the peer's certificate after the handshake. -EBADMSG: it has names that do not fit or hold
 * a NUL; such a peer must be refused, not truncated into somebody else. */
um_must_check int um_tls_get_peer(SSL *ssl, struct um_tls_peer *ret);

/* The last error of OpenSSL's queue as text, and empties the queue. */
void um_tls_error_text(unsigned long code, char *buf, size_t size);

#endif
