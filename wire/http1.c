#include "wire/http1.h"

#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/num.h"
#include "base/vec.h"
#include "wire/http1_internal.h"

enum {
	HEAD_MAX_DEFAULT = 32 << 10,
	TARGET_MAX_DEFAULT = 8 << 10,
	HEADERS_MAX_DEFAULT = 100,
	CHUNK_LINE_MAX = 256,
	CHUNK_EXT_TOTAL_MAX = 8 << 10,
	TRAILER_MAX = 4 << 10,
};

int um_http1_fail(struct um_http1 *p, int status, const char *what)
{
	p->state = ST_ERROR;
	p->error_status = status;
	um_error_set_reason(&p->error,
			    status == 413 || status == 414 || status == 431 ? UM_REASON_TOO_LARGE
									    : UM_REASON_BAD_REQUEST,
			    -EBADMSG, "HTTP: %s", what);
	return -EBADMSG;
}

struct um_http1 *um_http1_new(enum um_http1_role role, const struct um_http1_limits *limits)
{
	struct um_http1 *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->role = role;
	if (limits)
		p->limits = *limits;
	if (!p->limits.head_max)
		p->limits.head_max = HEAD_MAX_DEFAULT;
	if (!p->limits.target_max)
		p->limits.target_max = TARGET_MAX_DEFAULT;
	if (!p->limits.headers_max)
		p->limits.headers_max = HEADERS_MAX_DEFAULT;
	um_buf_init(&p->text, p->limits.head_max);
	p->state = ST_START;
	return p;
}

void um_http1_free(struct um_http1 *p)
{
	if (!p)
		return;
	um_buf_release(&p->text);
	um_vec_release(&p->fields);
	free(p->headers);
	free(p);
}

/* Forgets the last message; an idle connection keeps no buffers. */
static void reset(struct um_http1 *p)
{
	um_buf_release(&p->text);
	um_vec_release(&p->fields);
	free(TAKE_PTR(p->headers));
	memset(&p->head, 0, sizeof(p->head));
	p->line = 0;
	p->left = 0;
	p->ext_total = 0;
	p->skipped_empty = false;
	p->until_eof = false;
	p->state = ST_START;
}

void um_http1_no_body(struct um_http1 *p)
{
	p->no_body = true;
}

const struct um_http1_head *um_http1_head(const struct um_http1 *p)
{
	return &p->head;
}

bool um_http1_idle(const struct um_http1 *p)
{
	return (p->state == ST_START && !p->text.len) || p->state == ST_OVER;
}

int um_http1_status(const struct um_http1 *p)
{
	return p->error_status;
}

const struct um_error *um_http1_error(const struct um_http1 *p)
{
	return &p->error;
}

/* Takes bytes up to and with the next LF into p->text. 1: a whole line now lies at p->line, its
 * CRLF cut off and replaced by a NUL, p->line_len long; 0: more needed; negative: refused. */
static int take_line(struct um_http1 *p, const char *data, size_t len, size_t *used, size_t max,
		     int too_long)
{
	const char *lf = len ? memchr(data, '\n', len) : NULL;
	size_t n = lf ? (size_t)(lf - data) + 1 : len;
	char *line;
	int r;

	*used += n;
	if (p->text.len - p->line + n > max)
		return um_http1_fail(p, too_long, "line too long");
	r = um_buf_add(&p->text, data, n);
	if (r == -EMSGSIZE)
		return um_http1_fail(p, p->head_done ? 400 : 431, "fields too large");
	if (r < 0)
		return um_http1_fail(p, 503, "out of memory");
	if (!lf)
		return 0;
	line = p->text.data + p->line;
	n = p->text.len - p->line;
	if (n >= 2 && line[n - 2] == '\r')
		n -= 2;
	else if (p->limits.bare_lf && p->role == UM_HTTP1_RESPONSE)
		n -= 1;
	else
		return um_http1_fail(p, 400, "a line must end in CRLF");
	for (size_t i = 0; i < n; i++)
		if (((unsigned char)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f)
			return um_http1_fail(p, 400, "control byte in a line");
	line[n] = '\0';
	p->line_len = n;
	return 1;
}

static void next_line(struct um_http1 *p)
{
	p->line = p->text.len;
}

/* A field line, or the empty line at the end of them. */
static int take_field(struct um_http1 *p)
{
	char *line = p->text.data + p->line, *colon, *v, *end;
	struct um_http1_field f;

	if (line[0] == ' ' || line[0] == '\t')
		return um_http1_fail(p, 400, "folded field");
	colon = memchr(line, ':', p->line_len);
	if (!colon)
		return um_http1_fail(p, 400, "field without a colon");
	if (!um_http1_is_token(line, (size_t)(colon - line)))
		return um_http1_fail(p, 400, "bad field name");
	if (p->fields.len >= p->limits.headers_max)
		return um_http1_fail(p, 431, "too many fields");
	for (char *c = line; c < colon; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c |= 0x20;
	*colon = '\0';
	v = colon + 1;
	end = line + p->line_len;
	while (*v == ' ' || *v == '\t')
		v++;
	while (end > v && (end[-1] == ' ' || end[-1] == '\t'))
		*--end = '\0';
	f.name = p->line;
	f.value = (size_t)(v - p->text.data);
	if (um_vec_push(&p->fields, f) < 0)
		return um_http1_fail(p, 503, "out of memory");
	next_line(p);
	return 0;
}

static int head_complete(struct um_http1 *p)
{
	p->headers = calloc(p->fields.len ? p->fields.len : 1, sizeof(*p->headers));
	if (!p->headers)
		return um_http1_fail(p, 503, "out of memory");
	for (size_t i = 0; i < p->fields.len; i++) {
		p->headers[i].name = p->text.data + p->fields.items[i].name;
		p->headers[i].value = p->text.data + p->fields.items[i].value;
	}
	p->head.headers = p->headers;
	p->head.n_headers = p->fields.len;
	if (um_http1_understand(p) < 0)
		return -EBADMSG;
	if (p->head.chunked)
		p->state = ST_CHUNK_SIZE;
	else if (p->until_eof)
		p->state = ST_UNTIL_EOF;
	else if (p->left)
		p->state = ST_LENGTH;
	else
		p->state = ST_END;
	/* Chunk lines and trailers get a bounded room behind the head. Headers point into the
	 * text, which must not move any more. */
	p->head_done = true;
	return 1;
}

static enum um_http1_event head_step(struct um_http1 *p, const char *data, size_t len, size_t *used)
{
	while (*used < len) {
		bool start = p->state == ST_START;
		int r = take_line(p, data + *used, len - *used, used,
				  start && p->role == UM_HTTP1_REQUEST ? p->limits.target_max + 32
								       : p->limits.head_max,
				  start && p->role == UM_HTTP1_REQUEST ? 414 : 431);

		if (r < 0)
			return UM_HTTP1_ERROR;
		if (!r)
			return UM_HTTP1_MORE;
		if (start && !p->line_len && !p->skipped_empty && p->role == UM_HTTP1_REQUEST) {
			p->skipped_empty = true; /* RFC 9112 2.2: one empty line is let pass */
			um_buf_clear(&p->text);
			continue;
		}
		if (start) {
			if (um_http1_start_line(p) < 0)
				return UM_HTTP1_ERROR;
			next_line(p);
			p->state = ST_FIELDS;
		} else if (!p->line_len) {
			return head_complete(p) < 0 ? UM_HTTP1_ERROR : UM_HTTP1_HEAD;
		} else if (take_field(p) < 0) {
			return UM_HTTP1_ERROR;
		}
	}
	return UM_HTTP1_MORE;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Collects a line of the chunked framing in p->small. The same meaning as take_line(). */
static int take_small(struct um_http1 *p, const char *data, size_t len, size_t *used)
{
	while (*used < len) {
		char c = data[(*used)++];

		if (c == '\n') {
			if (!p->small_len || p->small[p->small_len - 1] != '\r')
				return um_http1_fail(p, 400, "a line must end in CRLF");
			p->small[--p->small_len] = '\0';
			return 1;
		}
		if (p->small_len && p->small[p->small_len - 1] == '\r')
			return um_http1_fail(p, 400, "bare CR");
		if (((unsigned char)c < 0x20 && c != '\t' && c != '\r') || c == 0x7f)
			return um_http1_fail(p, 400, "control byte in chunk framing");
		if (p->small_len + 1 >= sizeof(p->small))
			return um_http1_fail(p, 400, "chunk framing too long");
		p->small[p->small_len++] = c;
	}
	return 0;
}

static int chunk_size_line(struct um_http1 *p)
{
	const char *s = p->small;
	uint64_t n = 0;
	size_t i = 0;

	for (; hex(s[i]) >= 0; i++) {
		if (i >= 15)
			return um_http1_fail(p, 400, "chunk size too large");
		n = n << 4 | (uint64_t)hex(s[i]);
	}
	if (!i || (s[i] && s[i] != ';'))
		return um_http1_fail(p, 400, "bad chunk size");
	p->ext_total += p->small_len - i;
	if (p->ext_total > CHUNK_EXT_TOTAL_MAX)
		return um_http1_fail(p, 400, "too many chunk extensions");
	p->left = n;
	p->small_len = 0;
	p->state = n ? ST_CHUNK_DATA : ST_TRAILERS;
	if (!n)
		p->ext_total = 0;
	return 0;
}

/* Trailers are checked like fields, counted, and dropped. */
static int trailer_line(struct um_http1 *p)
{
	const char *colon = memchr(p->small, ':', p->small_len);

	if (!colon || !um_http1_is_token(p->small, (size_t)(colon - p->small)))
		return um_http1_fail(p, 400, "bad trailer");
	p->ext_total += p->small_len + 2;
	if (p->ext_total > TRAILER_MAX)
		return um_http1_fail(p, 431, "trailers too large");
	p->small_len = 0;
	return 0;
}

static enum um_http1_event chunk_framing(struct um_http1 *p, const char *data, size_t len,
					 size_t *used)
{
	int r = take_small(p, data, len, used);

	if (r <= 0)
		return r < 0 ? UM_HTTP1_ERROR : UM_HTTP1_MORE;
	if (p->state == ST_CHUNK_SIZE)
		return chunk_size_line(p) < 0 ? UM_HTTP1_ERROR : UM_HTTP1_MORE;
	if (p->state == ST_CHUNK_END) {
		if (p->small_len) {
			um_http1_fail(p, 400, "chunk longer than its size");
			return UM_HTTP1_ERROR;
		}
		p->state = ST_CHUNK_SIZE;
		return UM_HTTP1_MORE;
	}
	if (p->small_len)
		return trailer_line(p) < 0 ? UM_HTTP1_ERROR : UM_HTTP1_MORE;
	p->state = ST_END;
	return UM_HTTP1_MORE;
}

static enum um_http1_event body_bytes(struct um_http1 *p, const char *data, size_t len,
				      size_t *used, struct um_http1_span *body)
{
	size_t n = len - *used;

	if (p->state != ST_UNTIL_EOF && n > p->left)
		n = (size_t)p->left;
	body->data = data + *used;
	body->len = n;
	*used += n;
	if (p->state == ST_UNTIL_EOF)
		return UM_HTTP1_BODY;
	p->left -= n;
	if (!p->left)
		p->state = p->state == ST_LENGTH ? ST_END : ST_CHUNK_END;
	return UM_HTTP1_BODY;
}

enum um_http1_event um_http1_next(struct um_http1 *p, const char *data, size_t len, size_t *used,
				  struct um_http1_span *body)
{
	enum um_http1_event ev = UM_HTTP1_MORE;

	*used = 0;
	if (p->state == ST_OVER && len)
		reset(p);
	for (;;) {
		if (p->state == ST_ERROR)
			return UM_HTTP1_ERROR;
		if (p->state == ST_END) {
			p->state = ST_OVER;
			p->head_done = false;
			return UM_HTTP1_END;
		}
		if (*used == len)
			return UM_HTTP1_MORE;
		if (p->state == ST_START || p->state == ST_FIELDS)
			ev = head_step(p, data, len, used);
		else if (p->state == ST_LENGTH || p->state == ST_CHUNK_DATA ||
			 p->state == ST_UNTIL_EOF)
			ev = body_bytes(p, data, len, used, body);
		else
			ev = chunk_framing(p, data, len, used);
		if (ev != UM_HTTP1_MORE)
			return ev;
	}
}

enum um_http1_event um_http1_eof(struct um_http1 *p)
{
	if (p->state == ST_ERROR)
		return UM_HTTP1_ERROR;
	if (p->state == ST_UNTIL_EOF || p->state == ST_END) {
		p->state = ST_OVER;
		p->head_done = false;
		return UM_HTTP1_END;
	}
	if (um_http1_idle(p))
		return UM_HTTP1_MORE;
	um_http1_fail(p, 400, "the connection ended within a message");
	return UM_HTTP1_ERROR;
}
