#include <criterion/criterion.h>
#include <string.h>

#include "base/buf.h"
#include "wire/http1.h"

struct outcome {
	int status; /* 0: no refusal */
	unsigned messages;
	char body[4096];
	size_t body_len;
	char last_target[256];
	bool keep_alive;
};

/* Feeds @step bytes at a time. */
static struct outcome feed(enum um_http1_role role, const char *data, size_t len, size_t step,
			   bool head_only, bool eof)
{
	_cleanup_(um_http1_freep) struct um_http1 *p = um_http1_new(role, NULL);
	struct outcome o = {0};

	if (head_only)
		um_http1_no_body(p);
	for (size_t at = 0; at <= len;) {
		size_t n = len - at < step ? len - at : step, used;
		struct um_http1_span span;
		enum um_http1_event ev = um_http1_next(p, data + at, n, &used, &span);

		cr_assert_leq(used, n);
		at += used;
		if (ev == UM_HTTP1_MORE && n == 0)
			break;
		if (ev == UM_HTTP1_HEAD && um_http1_head(p)->target)
			snprintf(o.last_target, sizeof(o.last_target), "%s",
				 um_http1_head(p)->target);
		if (ev == UM_HTTP1_HEAD)
			o.keep_alive = um_http1_head(p)->keep_alive;
		if (ev == UM_HTTP1_BODY && o.body_len + span.len < sizeof(o.body)) {
			memcpy(o.body + o.body_len, span.data, span.len);
			o.body_len += span.len;
		}
		o.messages += ev == UM_HTTP1_END;
		if (ev == UM_HTTP1_ERROR) {
			cr_assert_gt(um_http1_status(p), 399);
			cr_assert_neq(um_http1_error(p)->code, 0);
			o.status = um_http1_status(p);
			return o;
		}
	}
	if (eof) {
		enum um_http1_event ev = um_http1_eof(p);

		o.messages += ev == UM_HTTP1_END;
		o.status = ev == UM_HTTP1_ERROR ? um_http1_status(p) : 0;
	}
	return o;
}

static const struct {
	const char *text;
	int status;
	unsigned messages;
	const char *body;
} requests[] = {
	{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, 1, ""},
	{"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, 1, ""},
	{"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, 0, ""},
	{"GET / HTTP/1.0\r\n\r\n", 0, 1, ""},
	{"GET /a?b=%20c HTTP/1.1\r\nHost: a:6443\r\nX: \t v \t\r\n\r\n", 0, 1, ""},
	{"GET / HTTP/1.1\r\nHost: [::1]:6443\r\n\r\n", 0, 1, ""},
	{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 0, 1, ""},
	{"GET https://a/x HTTP/1.1\r\nHost: a\r\n\r\n", 0, 1, ""},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 0, 1, "abc"},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 0, 1, ""},
	{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
	 "3\r\nabc\r\n0A;x=\"y\"\r\n0123456789\r\n0\r\nT: v\r\n\r\n",
	 0, 1, "abc0123456789"},
	/* pipelined */
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nxGET / HTTP/1.1\r\nHost: a\r\n\r\n"
	 "GET /z HTTP/1.1\r\nHost: a\r\n\r\n",
	 0, 3, "x"},
	{"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx", 0, 1,
	 "x"},
	/* framing that two readers could see differently */
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, 0,
	 ""},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400, 0,
	 ""},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc", 400, 0, ""},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 400, 0, ""},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc", 400, 0, ""},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc", 400, 0, ""},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3 0\r\n\r\nabc", 400, 0, ""},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400, 0, ""},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400, 0, ""},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
	 "0\r\n\r\n",
	 400, 0, ""},
	{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, 0, ""},
	{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501, 0, ""},
	{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
	 "chunked\r\n"
	 "\r\n0\r\n\r\n",
	 400, 0, ""},
	{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n", 400, 0, ""},
	{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0b"
	 "chunked\r\n\r\n",
	 400, 0, ""},
	{"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400, 0, ""},
#define CHUNKED "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	{CHUNKED "0x5\r\nabcde\r\n0\r\n\r\n", 400, 0, ""},
	{CHUNKED "+5\r\nabcde\r\n0\r\n\r\n", 400, 0, ""},
	{CHUNKED "-5\r\nabcde\r\n0\r\n\r\n", 400, 0, ""},
	{CHUNKED " 5\r\nabcde\r\n0\r\n\r\n", 400, 0, ""},
	{CHUNKED "5 \r\nabcde\r\n0\r\n\r\n", 400, 0, ""},
	{CHUNKED "\r\nabcde\r\n0\r\n\r\n", 400, 0, ""},
	{CHUNKED "g\r\nabcde\r\n0\r\n\r\n", 400, 0, ""},
	{CHUNKED "5\nabcde\r\n0\r\n\r\n", 400, 0, ""},
	{CHUNKED "5\rabcde\r\n0\r\n\r\n", 400, 0, ""},
	{CHUNKED "3\r\nabcde\r\n0\r\n\r\n", 400, 0, "abc"},
	{CHUNKED "5\r\nabcdeX\r\n0\r\n\r\n", 400, 0, "abcde"},
	{CHUNKED "ffffffffffffffff\r\nabc", 400, 0, ""},
	{CHUNKED "10000000000000005\r\nabc", 400, 0, ""},
	{CHUNKED "0\r\nbad trailer\r\n\r\n", 400, 0, ""},
	{CHUNKED "0\r\nA: b\n\r\n", 400, 0, ""},
	/* lines */
	{"GET / HTTP/1.1\nHost: a\n\n", 400, 0, ""},
	{"GET / HTTP/1.1\r\nHost: a\n\r\n", 400, 0, ""},
	{"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400, 0, ""},
	{"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400, 0, ""},
	{"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, 0, ""},
	{"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, 0, ""},
	{"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400, 0, ""},
	{"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400, 0, ""},
	{"GET / HTTP/1.1\r\nHost: a\r\nX\x80: b\r\n\r\n", 400, 0, ""},
	{"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", 400, 0, ""},
	/* Host */
	{"GET / HTTP/1.1\r\n\r\n", 400, 0, ""},
	{"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, 0, ""},
	{"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, 0, ""},
	{"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, 0, ""},
	{"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, 0, ""},
	{"GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", 400, 0, ""},
	{"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, 0, ""},
	{"GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n", 400, 0, ""},
	/* request line */
	{"G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, 0, ""},
	{"get / HTTP/1.1\r\nHost: a\r\n\r\n", 501, 0, ""},
	{"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501, 0, ""},
	{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 501, 0, ""},
	{"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, 0, ""},
	{"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, 0, ""},
	{"GET /\tx HTTP/1.1\r\nHost: a\r\n\r\n", 400, 0, ""},
	{"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, 0, ""},
	{"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, 0, ""},
	{"GET / HTTP/01.1\r\nHost: a\r\n\r\n", 400, 0, ""},
	{"GET / http/1.1\r\nHost: a\r\n\r\n", 400, 0, ""},
	{"GET /\r\nHost: a\r\n\r\n", 400, 0, ""},
	{"GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400, 0, ""},
	{"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, 0, ""},
	{"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400, 0, ""},
	{"GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", 400, 0, ""},
	{"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400, 0, ""},
	{"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, 0, ""},
	{"POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\nx", 417, 0, ""},
};

Test(http1, requests_in_any_pieces)
{
	static const size_t steps[] = {1, 2, 7, 100000};

	for (size_t i = 0; i < UM_ARRAY_LEN(requests); i++) {
		for (size_t s = 0; s < UM_ARRAY_LEN(steps); s++) {
			struct outcome o = feed(UM_HTTP1_REQUEST, requests[i].text,
						strlen(requests[i].text), steps[s], false, false);

			cr_expect_eq(o.status, requests[i].status, "%s: %d", requests[i].text,
				     o.status);
			cr_expect_eq(o.messages, requests[i].messages, "%s", requests[i].text);
			cr_expect_str_eq(o.body, requests[i].body, "%s", requests[i].text);
		}
	}
}

Test(http1, nul_bytes)
{
	static const char a[] = "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n";
	static const char b[] = "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n";
	static const char c[] = CHUNKED "5\0\r\nabcde\r\n0\r\n\r\n";

	cr_assert_eq(feed(UM_HTTP1_REQUEST, a, sizeof(a) - 1, 3, false, false).status, 400);
	cr_assert_eq(feed(UM_HTTP1_REQUEST, b, sizeof(b) - 1, 3, false, false).status, 400);
	cr_assert_eq(feed(UM_HTTP1_REQUEST, c, sizeof(c) - 1, 3, false, false).status, 400);
}

static int status_of_repeated(const char *start, const char *unit, size_t n, const char *end)
{
	struct um_buf b = UM_BUF_INIT(8 << 20);
	int status;

	um_buf_adds(&b, start);
	for (size_t i = 0; i < n; i++)
		um_buf_adds(&b, unit);
	um_buf_adds(&b, end);
	status = feed(UM_HTTP1_REQUEST, b.data, b.len, 4096, false, false).status;
	um_buf_release(&b);
	return status;
}

Test(http1, bounds)
{
	cr_assert_eq(status_of_repeated("GET /", "a", 9000, " HTTP/1.1\r\nHost: a\r\n\r\n"), 414);
	cr_assert_eq(status_of_repeated("", "a", 100000, ""), 414);
	cr_assert_eq(status_of_repeated("GET / HTTP/1.1\r\nHost: a\r\n", "A: b\r\n", 99, "\r\n"),
		     0);
	cr_assert_eq(status_of_repeated("GET / HTTP/1.1\r\nHost: a\r\n", "A: b\r\n", 100, "\r\n"),
		     431);
	cr_assert_eq(status_of_repeated("GET / HTTP/1.1\r\nHost: a\r\nX: ", "a", 40000, "\r\n\r\n"),
		     431);
	cr_assert_eq(status_of_repeated(CHUNKED "1;", "a", 300, "\r\nx\r\n"), 400);
	cr_assert_eq(status_of_repeated(CHUNKED, "1;aaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n", 2000, ""),
		     400);
	cr_assert_eq(status_of_repeated(CHUNKED "0\r\n", "A: bbbbbbbbbbbbbbbb\r\n", 2000, "\r\n"),
		     431);
}

Test(http1, absolute_form_becomes_a_path)
{
	static const char t[] = "GET http://A:80/x?y HTTP/1.1\r\nHost: a:80\r\n\r\n";

	cr_assert_str_eq(feed(UM_HTTP1_REQUEST, t, sizeof(t) - 1, 5, false, false).last_target,
			 "/x?y");
}

static const struct {
	const char *text;
	bool head_only, eof, keep_alive;
	int status;
	unsigned messages;
	const char *body;
} responses[] = {
	{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", false, false, true, 0, 1, "hi"},
	{"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", false, false, true, 0, 1, "hi"},
	{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", true, false, true, 0, 1, ""},
	{"HTTP/1.1 204 No Content\r\n\r\n", false, false, true, 0, 1, ""},
	{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", false, false,
	 true, 0, 2, "x"},
	{"HTTP/1.1 200 OK\r\n\r\nall of it", false, true, false, 0, 1, "all of it"},
	{"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", false, true, false, 0, 1, "x"},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", false, false,
	 true, 0, 1, "x"},
	{"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", false, false, false,
	 0, 1, "x"},
	{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nx", false, true, true, 400, 0, "x"},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", false, true, true, 400,
	 0, "x"},
	{"HTTP/1.1 2x0 OK\r\n\r\n", false, false, false, 400, 0, ""},
	{"HTTP/1.1 999 OK\r\n\r\n", false, false, false, 400, 0, ""},
	{"SSH-2.0-OpenSSH_9.2\r\n", false, false, false, 400, 0, ""},
	{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", false, false,
	 false, 400, 0, ""},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", false, false, false, 400, 0, ""},
};

Test(http1, responses)
{
	static const size_t steps[] = {1, 3, 100000};

	for (size_t i = 0; i < UM_ARRAY_LEN(responses); i++) {
		for (size_t s = 0; s < UM_ARRAY_LEN(steps); s++) {
			struct outcome o = feed(UM_HTTP1_RESPONSE, responses[i].text,
						strlen(responses[i].text), steps[s],
						responses[i].head_only, responses[i].eof);

			cr_expect_eq(o.status, responses[i].status, "%s", responses[i].text);
			cr_expect_eq(o.messages, responses[i].messages, "%s", responses[i].text);
			cr_expect_str_eq(o.body, responses[i].body, "%s", responses[i].text);
			if (!o.status)
				cr_expect_eq(o.keep_alive, responses[i].keep_alive, "%s",
					     responses[i].text);
		}
	}
}

Test(http1, bare_lf_only_where_it_is_asked_for)
{
	static const char t[] = "HTTP/1.0 200 OK\nA: b\n\nhello";
	struct um_http1_limits lenient = {.bare_lf = true};

	for (int i = 0; i < 3; i++) {
		_cleanup_(um_http1_freep) struct um_http1 *p = um_http1_new(
			i == 2 ? UM_HTTP1_REQUEST : UM_HTTP1_RESPONSE, i ? &lenient : NULL);
		struct um_http1_span span;
		size_t used;
		enum um_http1_event ev = um_http1_next(p, t, sizeof(t) - 1, &used, &span);

		cr_assert_eq(ev, i == 1 ? UM_HTTP1_HEAD : UM_HTTP1_ERROR);
		if (i == 1)
			cr_assert_str_eq(um_http1_header(um_http1_head(p), "a"), "b");
	}
}

Test(http1, lists_and_upgrades)
{
	static const char t[] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n"
				"Upgrade: umiak/1\r\n\r\nraw";
	_cleanup_(um_http1_freep) struct um_http1 *p = um_http1_new(UM_HTTP1_REQUEST, NULL);
	struct um_http1_span span;
	size_t used;

	cr_assert(um_http1_list_has("a, B ,c", "b"));
	cr_assert_not(um_http1_list_has("ab, bc", "b"));
	cr_assert_not(um_http1_list_has("", "b"));
	cr_assert_eq(um_http1_next(p, t, sizeof(t) - 1, &used, &span), UM_HTTP1_HEAD);
	cr_assert_eq(used, sizeof(t) - 1 - 3);
	cr_assert_str_eq(um_http1_head(p)->upgrade, "umiak/1");
	cr_assert_eq(um_http1_next(p, t + used, 3, &used, &span), UM_HTTP1_END);
	cr_assert_eq(used, 0);
}
