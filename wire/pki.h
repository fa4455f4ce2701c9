/* A small certificate authority: P-256 keys, one CA, leaves with names, addresses and an identity
 * (CN = user, O = groups). Signing takes about 0.1 ms; nothing here blocks but the file functions.
 *
 * Clocks lie: notBefore is 1970, so that a node without a clock battery can join; the life is
 * counted from the wall clock, or from UM_PKI_FLOOR where the clock shows less. */
#ifndef UM_WIRE_PKI_H
#define UM_WIRE_PKI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

/* 2026-01-01T00:00:00Z: no certificate of ours was made before. */
#define UM_PKI_FLOOR_NS (INT64_C(1767225600) * INT64_C(1000000000))
#define UM_PKI_DAY_NS (INT64_C(86400) * INT64_C(1000000000))
#define UM_PKI_CA_LIFE_NS (3650 * UM_PKI_DAY_NS)
#define UM_PKI_LEAF_LIFE_NS (365 * UM_PKI_DAY_NS)

struct um_pki_pair; /* a certificate and its private key */

struct um_pki_names {
	const char *cn;
	const char *const *orgs; /* NULL-terminated or NULL */
	const char *const *dns;	 /* likewise */
	const char *const *ips;	 /* numeric, v4 or v6; likewise */
	bool server, client;	 /* extended key usage */
};

/* Errors of all: -ENOMEM, -EINVAL (a name does not fit a certificate), -EIO (OpenSSL refused). */
um_must_check int um_pki_ca_new(const char *cn, int64_t wall_ns, struct um_pki_pair **ret,
				struct um_error *err);
um_must_check int um_pki_leaf_new(const struct um_pki_pair *ca, const struct um_pki_names *names,
				  int64_t wall_ns, struct um_pki_pair **ret, struct um_error *err);
void um_pki_pair_free(struct um_pki_pair *p); /* accepts NULL */
UM_DEFINE_CLEANUP(struct um_pki_pair, um_pki_pair_free)

um_must_check int um_pki_cert_pem(const struct um_pki_pair *p, struct um_buf *b);
um_must_check int um_pki_key_pem(const struct um_pki_pair *p, struct um_buf *b); /* a secret */

/* Writes <name>.crt (0644) and <name>.key (0600) into @dir, each atomically, the key first. */
um_must_check int um_pki_save(const struct um_pki_pair *p, const char *dir, const char *name,
			      struct um_error *err);
/* Reads them back. -ENOENT when either is missing, -EBADMSG when they are damaged or do not belong
 * together. */
um_must_check int um_pki_load(const char *dir, const char *name, struct um_pki_pair **ret,
			      struct um_error *err);

int64_t um_pki_not_after(const struct um_pki_pair *p); /* wall ns */
/* Half of a leaf's life is over (or all of it). */
bool um_pki_leaf_due(const struct um_pki_pair *p, int64_t wall_ns);
/* Signed by @ca, whatever the time. */
bool um_pki_signed_by(const struct um_pki_pair *p, const struct um_pki_pair *ca);
/* The certificate names all of @names. */
bool um_pki_covers(const struct um_pki_pair *p, const struct um_pki_names *names);

#endif
