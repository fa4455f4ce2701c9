/* HTTP/1.1 messages (RFC 9112), read strictly and piece by piece. Pure: no I/O, no clock.
 *
 * One reader serves one direction of one connection, message after message:
 *
 *     while ((ev = um_http1_next(p, data, len, &used, &body)) != UM_HTTP1_MORE) {
 *             data += used, len -= used;
 *             HEAD: um_http1_head(p) is complete; BODY: a piece of the body; END: message over;
 *             ERROR: um_http1_status() and um_http1_error() say why; the connection must end.
 *     }
 *
 * What two readers could understand differently is refused, never repaired: more than one or an odd
 * Content-Length, Content-Length beside Transfer-Encoding, any coding but exactly "chunked",
 * folded lines, control bytes, line ends other than CRLF, blanks around a name, a missing or second
 * Host, an absolute-form target that is not the Host's, odd chunk sizes. */
#ifndef UM_WIRE_HTTP1_H
#define UM_WIRE_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum um_http1_role { UM_HTTP1_REQUEST, UM_HTTP1_RESPONSE };
enum um_http1_event { UM_HTTP1_MORE, UM_HTTP1_HEAD, UM_HTTP1_BODY, UM_HTTP1_END, UM_HTTP1_ERROR };

struct um_http1_limits {
	size_t head_max;      /* bytes of start line and fields; 0: 32 KiB */
	size_t target_max;    /* bytes of the request target; 0: 8 KiB */
	unsigned headers_max; /* fields; 0: 100 */
	/* Responses only, for probes of foreign servers: start line and fields may end in LF. */
	bool bare_lf;
};

struct um_http1_header {
	const char *name; /* in lower case */
	const char *value;
};

/* Valid from HEAD until the call of um_http1_next() that follows END. Strings are the reader's. */
struct um_http1_head {
	const char *method; /* requests: one of GET HEAD POST PUT PATCH DELETE OPTIONS */
	const char *target; /* requests: origin-form, or "*" for OPTIONS */
	const char *host;   /* requests: NULL only in HTTP/1.0 */
	int status;	    /* responses */
	bool http10;
	bool keep_alive;      /* the sender allows another message */
	bool expect_continue; /* Expect: 100-continue, with a body to come */
	bool chunked;
	bool has_body;		/* chunked, until the end of the connection, or length > 0 */
	int64_t content_length; /* -1 when not said */
	const char *upgrade;	/* value of Upgrade where Connection names it, else NULL */
	const struct um_http1_header *headers;
	size_t n_headers;
};

struct um_http1_span {
	const char *data;
	size_t len;
};

struct um_http1;

/* @limits may be NULL. NULL when out of memory. */
struct um_http1 *um_http1_new(enum um_http1_role role, const struct um_http1_limits *limits);
void um_http1_free(struct um_http1 *p); /* accepts NULL */
UM_DEFINE_CLEANUP(struct um_http1, um_http1_free)

/* Reads from @data; @used says how many bytes were taken. @body is set with BODY and points into
 * @data. MORE: all bytes were taken. After ERROR every further call returns ERROR. */
enum um_http1_event um_http1_next(struct um_http1 *p, const char *data, size_t len, size_t *used,
				  struct um_http1_span *body);
/* The peer has closed: END when that ends a response's body, MORE when no message was open, ERROR
 * in the middle of one. */
enum um_http1_event um_http1_eof(struct um_http1 *p);
/* Responses: the next one answers a HEAD request and has no body. Call before its first byte. */
void um_http1_no_body(struct um_http1 *p);

const struct um_http1_head *um_http1_head(const struct um_http1 *p);
/* The value of a field, the first one where there are several; @name in lower case; or NULL. */
const char *um_http1_header(const struct um_http1_head *h, const char *name);
bool um_http1_idle(const struct um_http1 *p);  /* no byte of a next message was seen */
int um_http1_status(const struct um_http1 *p); /* after ERROR: the status to answer with */
const struct um_error *um_http1_error(const struct um_http1 *p);

/* ---- pieces that writers need too ---- */

bool um_http1_is_token(const char *s, size_t len);
/* No control bytes but HTAB; may not start or end with a blank. */
bool um_http1_is_field_value(const char *s, size_t len);
/* Whether a comma-separated list holds a token, whatever its case. */
bool um_http1_list_has(const char *list, const char *token);
const char *um_http1_reason(int status); /* "Not Found"; "Status" for an unknown one */

#endif
