#include <string.h>
#include <strings.h>

#include "base/num.h"
#include "wire/http1_internal.h"

static bool token_char(unsigned char c)
{
	if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
		return true;
	return c && strchr("!#$%&'*+-.^_`|~", c);
}

bool um_http1_is_token(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!token_char((unsigned char)s[i]))
			return false;
	return len > 0;
}

bool um_http1_is_field_value(const char *s, size_t len)
{
	if (len && (s[0] == ' ' || s[0] == '\t' || s[len - 1] == ' ' || s[len - 1] == '\t'))
		return false;
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)s[i] < 0x20 && s[i] != '\t') || s[i] == 0x7f)
			return false;
	return true;
}

bool um_http1_list_has(const char *list, const char *token)
{
	size_t want = strlen(token);

	while (list && *list) {
		size_t n;

		list += strspn(list, " \t,");
		n = strcspn(list, ",");
		while (n && (list[n - 1] == ' ' || list[n - 1] == '\t'))
			n--;
		if (n == want && !strncasecmp(list, token, n))
			return true;
		list += strcspn(list, ",");
	}
	return false;
}

static const struct {
	int status;
	const char *text;
} reasons[] = {
	{100, "Continue"},
	{101, "Switching Protocols"},
	{200, "OK"},
	{201, "Created"},
	{202, "Accepted"},
	{204, "No Content"},
	{301, "Moved Permanently"},
	{304, "Not Modified"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{406, "Not Acceptable"},
	{408, "Request Timeout"},
	{409, "Conflict"},
	{410, "Gone"},
	{413, "Content Too Large"},
	{414, "URI Too Long"},
	{415, "Unsupported Media Type"},
	{417, "Expectation Failed"},
	{422, "Unprocessable Content"},
	{426, "Upgrade Required"},
	{429, "Too Many Requests"},
	{431, "Request Header Fields Too Large"},
	{500, "Internal Server Error"},
	{501, "Not Implemented"},
	{502, "Bad Gateway"},
	{503, "Service Unavailable"},
	{504, "Gateway Timeout"},
	{505, "HTTP Version Not Supported"},
	{507, "Insufficient Storage"},
};

const char *um_http1_reason(int status)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "Status";
}

const char *um_http1_header(const struct um_http1_head *h, const char *name)
{
	for (size_t i = 0; i < h->n_headers; i++)
		if (!strcmp(h->headers[i].name, name))
			return h->headers[i].value;
	return NULL;
}

static int version(struct um_http1 *p, const char *s, size_t len)
{
	if (len != 8 || memcmp(s, "HTTP/", 5) || s[5] < '0' || s[5] > '9' || s[6] != '.' ||
	    s[7] < '0' || s[7] > '9')
		return um_http1_fail(p, 400, "bad version");
	if (s[5] != '1' || s[7] > '1')
		return um_http1_fail(p, 505, "only HTTP/1.0 and HTTP/1.1 are spoken");
	p->head.http10 = s[7] == '0';
	return 0;
}

static int status_line(struct um_http1 *p, char *line, size_t len)
{
	if (len < 12 || line[8] != ' ' || (len > 12 && line[12] != ' '))
		return um_http1_fail(p, 400, "bad status line");
	if (version(p, line, 8) < 0)
		return -EBADMSG;
	for (int i = 9; i < 12; i++) {
		if (line[i] < '0' || line[i] > '9')
			return um_http1_fail(p, 400, "bad status");
		p->head.status = p->head.status * 10 + (line[i] - '0');
	}
	if (p->head.status < 100 || p->head.status > 599)
		return um_http1_fail(p, 400, "bad status");
	return 0;
}

static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

static int method(struct um_http1 *p, const char *s, size_t len)
{
	if (!um_http1_is_token(s, len))
		return um_http1_fail(p, 400, "bad method");
	for (size_t i = 0; i < UM_ARRAY_LEN(methods); i++) {
		if (strlen(methods[i]) == len && !memcmp(methods[i], s, len)) {
			p->head.method = methods[i];
			return 0;
		}
	}
	return um_http1_fail(p, 501, "unknown method");
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static int check_target(struct um_http1 *p, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c <= 0x20 || c >= 0x7f || strchr("\"#<>\\^`{|}", c))
			return um_http1_fail(p, 400, "bad byte in the target");
		if (c == '%' && (!is_hex(s[1]) || !is_hex(s[2])))
			return um_http1_fail(p, 400, "bad escape in the target");
	}
	return 0;
}

int um_http1_start_line(struct um_http1 *p)
{
	char *line = p->text.data + p->line, *sp, *target, *end;

	if (p->role == UM_HTTP1_RESPONSE)
		return status_line(p, line, p->line_len);
	sp = memchr(line, ' ', p->line_len);
	if (!sp)
		return um_http1_fail(p, 400, "bad request line");
	if (method(p, line, (size_t)(sp - line)) < 0)
		return -EBADMSG;
	target = sp + 1;
	end = strchr(target, ' ');
	if (!end || end == target)
		return um_http1_fail(p, 400, "bad request line");
	if ((size_t)(end - target) > p->limits.target_max)
		return um_http1_fail(p, 414, "target too long");
	if (version(p, end + 1, strlen(end + 1)) < 0)
		return -EBADMSG;
	*end = '\0';
	p->target = (size_t)(target - p->text.data);
	return check_target(p, target);
}

static bool host_ok(const char *s)
{
	size_t n;

	if (*s == '[') {
		n = strspn(s + 1, "0123456789abcdefABCDEF:.");
		if (n < 2 || s[n + 1] != ']')
			return false;
		s += n + 2;
	} else {
		n = 0;
		while ((s[n] >= '0' && s[n] <= '9') || (s[n] >= 'a' && s[n] <= 'z') ||
		       (s[n] >= 'A' && s[n] <= 'Z') || s[n] == '-' || s[n] == '.' || s[n] == '_')
			n++;
		if (!n)
			return false;
		s += n;
	}
	if (!*s)
		return true;
	if (*s++ != ':')
		return false;
	n = strspn(s, "0123456789");
	return n >= 1 && n <= 5 && !s[n];
}

/* Host, and the target in origin-form. */
static int understand_target(struct um_http1 *p, const char *host)
{
	char *t = p->text.data + p->target, *path;
	size_t skip = 0, n;

	p->head.host = host;
	if (host && !host_ok(host))
		return um_http1_fail(p, 400, "bad Host");
	if (!host && !p->head.http10)
		return um_http1_fail(p, 400, "Host is missing");
	p->head.target = t;
	if (*t == '/')
		return 0;
	if (!strcmp(t, "*")) {
		if (strcmp(p->head.method, "OPTIONS"))
			return um_http1_fail(p, 400, "bad target");
		return 0;
	}
	if (!strncasecmp(t, "http://", 7))
		skip = 7;
	else if (!strncasecmp(t, "https://", 8))
		skip = 8;
	path = skip ? strchr(t + skip, '/') : NULL;
	if (!path)
		return um_http1_fail(p, 400, "bad target");
	n = (size_t)(path - t) - skip;
	if (!host || strlen(host) != n || strncasecmp(t + skip, host, n))
		return um_http1_fail(p, 400, "the target's authority is not the Host");
	p->head.target = path;
	return 0;
}

struct seen {
	const char *host, *length, *coding, *expect, *upgrade;
	bool close, keep_alive, connection_upgrade;
};

static int once(struct um_http1 *p, const char **slot, const char *value, const char *what)
{
	if (*slot)
		return um_http1_fail(p, 400, what);
	*slot = value;
	return 0;
}

static int look(struct um_http1 *p, struct seen *s)
{
	for (size_t i = 0; i < p->head.n_headers; i++) {
		const char *n = p->headers[i].name, *v = p->headers[i].value;
		int r = 0;

		if (!strcmp(n, "host")) {
			r = once(p, &s->host, v, "more than one Host");
		} else if (!strcmp(n, "content-length")) {
			r = once(p, &s->length, v, "more than one Content-Length");
		} else if (!strcmp(n, "transfer-encoding")) {
			r = once(p, &s->coding, v, "more than one Transfer-Encoding");
		} else if (!strcmp(n, "expect")) {
			r = once(p, &s->expect, v, "more than one Expect");
		} else if (!strcmp(n, "upgrade")) {
			s->upgrade = v;
		} else if (!strcmp(n, "connection")) {
			s->close |= um_http1_list_has(v, "close");
			s->keep_alive |= um_http1_list_has(v, "keep-alive");
			s->connection_upgrade |= um_http1_list_has(v, "upgrade");
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int understand_body(struct um_http1 *p, const struct seen *s)
{
	struct um_http1_head *h = &p->head;
	uint64_t n = 0;
	bool none = p->no_body || h->status / 100 == 1 || h->status == 204 || h->status == 304;

	h->content_length = -1;
	if (s->coding && s->length)
		return um_http1_fail(p, 400, "Content-Length beside Transfer-Encoding");
	if (s->coding) {
		if (h->http10)
			return um_http1_fail(p, 400, "Transfer-Encoding in HTTP/1.0");
		if (strcasecmp(s->coding, "chunked"))
			return um_http1_fail(p, p->role == UM_HTTP1_REQUEST ? 501 : 400,
					     "Transfer-Encoding other than chunked");
		h->chunked = !none;
	}
	if (s->length) {
		if (um_num_u64n(s->length, strlen(s->length), INT64_MAX, &n) < 0)
			return um_http1_fail(p, 400, "bad Content-Length");
		h->content_length = (int64_t)n;
		p->left = none ? 0 : n;
	}
	p->no_body = false;
	if (p->role == UM_HTTP1_RESPONSE && !none && !s->coding && !s->length)
		p->until_eof = true;
	h->has_body = h->chunked || p->until_eof || p->left;
	return 0;
}

int um_http1_understand(struct um_http1 *p)
{
	struct um_http1_head *h = &p->head;
	struct seen s = {0};

	if (look(p, &s) < 0)
		return -EBADMSG;
	if (p->role == UM_HTTP1_REQUEST && understand_target(p, s.host) < 0)
		return -EBADMSG;
	if (understand_body(p, &s) < 0)
		return -EBADMSG;
	h->keep_alive = !s.close && !p->until_eof && (!h->http10 || s.keep_alive);
	if (s.expect && p->role == UM_HTTP1_REQUEST) {
		if (strcasecmp(s.expect, "100-continue"))
			return um_http1_fail(p, 417, "Expect other than 100-continue");
		h->expect_continue = h->has_body && !h->http10;
	}
	if (s.connection_upgrade && s.upgrade && !h->http10)
		h->upgrade = s.upgrade;
	return 0;
}
