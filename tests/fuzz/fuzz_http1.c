/* HTTP/1.1: whatever the pieces, the same bytes must give the same messages. The first byte picks
 * the side and the size of the pieces. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "wire/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	unsigned heads, ends, errors;
	int status;
	size_t body_len;
	uint64_t sum;
};

static void note_head(const struct um_http1_head *h, struct seen *s)
{
	s->heads++;
	for (size_t i = 0; i < h->n_headers; i++) {
		if (!um_http1_is_token(h->headers[i].name, strlen(h->headers[i].name)) ||
		    !um_http1_is_field_value(h->headers[i].value, strlen(h->headers[i].value)))
			abort();
		s->sum = s->sum * 31 +
			 um_hash_bytes(h->headers[i].value, strlen(h->headers[i].value));
	}
	if (h->chunked && h->content_length >= 0)
		abort();
	if (h->target && h->target[0] != '/' && strcmp(h->target, "*"))
		abort();
}

static struct seen run(enum um_http1_role role, const char *data, size_t len, size_t step)
{
	struct um_http1 *p = um_http1_new(role, NULL);
	struct seen s = {0};
	size_t at = 0;

	for (;;) {
		size_t n = len - at < step ? len - at : step, used = 0;
		struct um_http1_span span = {NULL, 0};
		enum um_http1_event ev = um_http1_next(p, data + at, n, &used, &span);

		if (used > n)
			abort();
		at += used;
		if (ev == UM_HTTP1_HEAD)
			note_head(um_http1_head(p), &s);
		if (ev == UM_HTTP1_BODY) {
			for (size_t i = 0; i < span.len; i++)
				s.sum = s.sum * 31 + (unsigned char)span.data[i];
			s.body_len += span.len;
		}
		s.ends += ev == UM_HTTP1_END;
		if (ev == UM_HTTP1_ERROR) {
			s.errors = 1;
			s.status = um_http1_status(p);
			break;
		}
		if (ev == UM_HTTP1_MORE && !n)
			break;
	}
	if (s.ends > s.heads)
		abort();
	um_http1_free(p);
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum um_http1_role role;
	struct seen whole, pieces;

	if (!size)
		return 0;
	role = data[0] & 1 ? UM_HTTP1_RESPONSE : UM_HTTP1_REQUEST;
	whole = run(role, (const char *)data + 1, size - 1, SIZE_MAX);
	pieces = run(role, (const char *)data + 1, size - 1, (data[0] >> 1) % 13 + 1);
	if (whole.heads != pieces.heads || whole.ends != pieces.ends ||
	    whole.errors != pieces.errors || whole.status != pieces.status ||
	    whole.body_len != pieces.body_len || whole.sum != pieces.sum)
		abort();
	return 0;
}
