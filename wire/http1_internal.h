/* Shared by http1.c (framing) and http1_head.c (meaning of start line and fields). */
#ifndef UM_WIRE_HTTP1_INTERNAL_H
#define UM_WIRE_HTTP1_INTERNAL_H

#include "base/buf.h"
#include "base/vec.h"
#include "wire/http1.h"

enum um_http1_state {
	ST_START,
	ST_FIELDS,
	ST_LENGTH,
	ST_UNTIL_EOF,
	ST_CHUNK_SIZE,
	ST_CHUNK_DATA,
	ST_CHUNK_END,
	ST_TRAILERS,
	ST_END,	 /* END is due */
	ST_OVER, /* END was given; the head stays until the next byte */
	ST_ERROR,
};

struct um_http1_field {
	size_t name, value; /* offsets in the text */
};

struct um_http1 {
	enum um_http1_role role;
	enum um_http1_state state;
	struct um_http1_limits limits;
	struct um_buf text; /* start line and fields, each ended by NUL */
	size_t target;	    /* requests: its offset */
	size_t line;	    /* where the current line starts */
	size_t line_len;
	UM_VEC(struct um_http1_field) fields;
	struct um_http1_header *headers; /* owned */
	struct um_http1_head head;
	uint64_t left; /* of the body or the chunk */
	size_t ext_total;
	bool skipped_empty, until_eof, no_body, head_done;
	char small[256]; /* a line of the chunked framing */
	size_t small_len;
	int error_status;
	struct um_error error;
};

/* Notes the refusal; returns -EBADMSG. */
int um_http1_fail(struct um_http1 *p, int status, const char *what);
/* Reads the start line at p->line. */
int um_http1_start_line(struct um_http1 *p);
/* All fields are there: checks them together and decides how the body is framed. */
int um_http1_understand(struct um_http1 *p);

#endif
