/* JSON Web Tokens (RFC 7519) of service accounts, signed with a P-256 key of their own (ES256, RFC
 * 7518). What the claims mean is token_request.c's. */
#ifndef UM_API_TOKEN_H
#define UM_API_TOKEN_H

#include "base/json.h"

#define UM_TOKEN_MAX 16384
/* Who signs, and the audience of tokens for this API. */
#define UM_TOKEN_ISSUER "https://kubernetes.default.svc.cluster.local"

struct um_tokens;

/* The key in @path (PEM), made 0600 when there is none. Blocks. -EBADMSG: it is damaged, and is not
 * replaced: that would end all tokens. */
um_must_check int um_tokens_open(const char *path, struct um_tokens **ret, struct um_error *err);
void um_tokens_free(struct um_tokens *t); /* accepts NULL */

/* A token that says @claims; lives in @a. NULL: out of memory, or OpenSSL refused. */
const char *um_token_sign(const struct um_tokens *t, const struct um_json *claims,
			  struct um_arena *a);
/* The public half of the key as a JSON Web Key (RFC 7517). NULL: out of memory. */
struct um_json *um_token_public(const struct um_tokens *t, struct um_arena *a);
/* The claims of a token that this key signed, whatever they say; else -EACCES. */
um_must_check int um_token_verify(const struct um_tokens *t, const char *token, struct um_arena *a,
				  struct um_json **ret);

#endif
