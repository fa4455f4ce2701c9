/* The server and the client against each other and against raw sockets, over real TLS. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "wire/http_client.h"
#include "wire/http_server.h"
#include "wire/loop.h"
#include "wire/pki.h"
#include "wire/tls.h"

static char dir[] = "/tmp/um-http-XXXXXX";
static struct um_loop *loop;
static struct um_http_server *server, *plain;
static struct um_tls *server_tls, *client_tls, *stranger_tls, *nobody_tls;
static struct um_http_req *watch;
static unsigned closed_requests;
static char upgraded_in[64];
static struct um_conn *raw;

static const char *at(const char *name)
{
	static char paths[8][128];
	static unsigned n;
	char *p = paths[n++ % 8];

	snprintf(p, 128, "%s/%s", dir, name);
	return p;
}

/* ---- what the server does ---- */

static void on_body(void *arg um_unused, struct um_http_req *r, const char *data, size_t len)
{
	um_http_respond_data(r, 200, "text/plain", data, len);
}

static size_t streamed;

static void on_piece(void *arg um_unused, struct um_http_req *r, const char *data um_unused,
		     size_t len)
{
	char text[32];

	streamed += len;
	if (len)
		return;
	snprintf(text, sizeof(text), "%zu", streamed);
	um_http_respond_data(r, 200, "text/plain", text, strlen(text));
}

static void on_gone(void *arg um_unused, struct um_http_req *r)
{
	closed_requests++;
	if (r == watch)
		watch = NULL;
}

static void raw_data(void *arg um_unused)
{
	size_t len;
	const char *data = um_conn_peek(raw, &len);

	if (len >= sizeof(upgraded_in))
		len = sizeof(upgraded_in) - 1;
	memcpy(upgraded_in, data, len);
	um_conn_write(raw, data, len);
	um_conn_consume(raw, len);
}
static void raw_nothing(void *arg um_unused)
{
}
static void raw_close(void *arg um_unused, const struct um_error *err um_unused)
{
	um_conn_free(TAKE_PTR(raw));
}
static const struct um_conn_events raw_events = {raw_nothing, raw_data, raw_nothing, raw_close};

static void on_request(void *arg um_unused, struct um_http_req *r)
{
	const char *path = um_http_path(r);
	char text[512];

	um_http_on_close(r, on_gone, NULL);
	if (!strcmp(path, "/who")) {
		const struct um_tls_peer *p = um_http_peer(r);

		snprintf(text, sizeof(text), "%s/%s", p->present ? p->cn : "nobody",
			 p->n_orgs ? p->orgs[0] : "");
		um_http_respond_data(r, 200, "text/plain", text, strlen(text));
	} else if (!strcmp(path, "/echo")) {
		um_http_read_body(r, 100000, on_body, NULL);
	} else if (!strcmp(path, "/sink")) {
		um_http_stream_body(r, on_piece, NULL);
	} else if (!strcmp(path, "/watch")) {
		watch = r;
		um_http_stream_begin(r, 200, "application/json");
	} else if (!strcmp(path, "/hang")) {
		watch = r;
	} else if (!strcmp(path, "/up")) {
		raw = um_http_upgrade(r, "umiak/1", &raw_events, NULL);
	} else {
		const char *q = um_http_query(r, "q");

		snprintf(text, sizeof(text), "%s|%s", path, q ? q : "(none)");
		um_http_respond_data(r, 200, "text/plain", text, strlen(text));
	}
}

/* ---- set-up ---- */

static struct um_tls *client_of(struct um_pki_pair *ca, const char *name, const char *cn)
{
	static const char *const orgs[] = {"system:nodes", NULL};
	struct um_pki_names n = {.cn = cn, .orgs = orgs, .client = true};
	struct um_pki_pair *leaf = NULL;
	char crt[32], key[32];
	struct um_tls *t = NULL;

	cr_assert_eq(um_pki_leaf_new(ca, &n, um_clock_wall(&um_clock_system), &leaf, NULL), 0);
	cr_assert_eq(um_pki_save(leaf, dir, name, NULL), 0);
	um_pki_pair_free(leaf);
	snprintf(crt, sizeof(crt), "%s.crt", name);
	snprintf(key, sizeof(key), "%s.key", name);
	cr_assert_eq(um_tls_client_new(&(struct um_tls_opts){.cert_path = at(crt),
							     .key_path = at(key),
							     .ca_path = at("ca.crt")},
				       &t, NULL),
		     0);
	return t;
}

static void make_pki(void)
{
	static const char *const ips[] = {"127.0.0.1", NULL};
	struct um_pki_names n = {.cn = "umiak", .ips = ips, .server = true};
	struct um_pki_pair *ca = NULL, *other = NULL, *leaf = NULL;
	int64_t now = um_clock_wall(&um_clock_system);

	cr_assert_eq(um_pki_ca_new("ca", now, &ca, NULL), 0);
	cr_assert_eq(um_pki_ca_new("other", now, &other, NULL), 0);
	cr_assert_eq(um_pki_leaf_new(ca, &n, now, &leaf, NULL), 0);
	cr_assert_eq(um_pki_save(ca, dir, "ca", NULL), 0);
	cr_assert_eq(um_pki_save(leaf, dir, "server", NULL), 0);
	client_tls = client_of(ca, "client", "system:node:n1");
	stranger_tls = client_of(other, "stranger", "system:admin");
	cr_assert_eq(um_tls_client_new(&(struct um_tls_opts){.ca_path = at("ca.crt")}, &nobody_tls,
				       NULL),
		     0);
	cr_assert_eq(um_tls_server_new(&(struct um_tls_opts){at("server.crt"), at("server.key"),
							     at("ca.crt"), false},
				       &server_tls, NULL),
		     0);
	um_pki_pair_free(ca);
	um_pki_pair_free(other);
	um_pki_pair_free(leaf);
}

static void set_up(void)
{
	struct um_http_server_opts o = {.on_request = on_request,
					.head_timeout_ns = 300 * UM_NSEC_PER_MSEC,
					.body_timeout_ns = 300 * UM_NSEC_PER_MSEC,
					.stall_timeout_ns = 400 * UM_NSEC_PER_MSEC,
					.output_cap = 256 << 10};

	cr_assert_not_null(mkdtemp(dir));
	make_pki();
	cr_assert_eq(um_loop_new(NULL, 0, &loop), 0);
	cr_assert_eq(um_http_server_new(loop, &o, &plain, NULL), 0);
	o.tls = server_tls;
	cr_assert_eq(um_http_server_new(loop, &o, &server, NULL), 0);
	cr_assert_eq(um_http_server_listen(plain, "127.0.0.1", 0, NULL), 0);
	cr_assert_eq(um_http_server_listen(server, "127.0.0.1", 0, NULL), 0);
}

static void turn(int ms)
{
	int64_t end = um_loop_now(loop) + ms * UM_NSEC_PER_MSEC;

	while (um_loop_now(loop) < end)
		cr_assert_eq(um_loop_step(loop, UM_NSEC_PER_MSEC), 0);
}

static void tear_down(void)
{
	um_conn_free(TAKE_PTR(raw));
	um_http_server_free(server);
	um_http_server_free(plain);
	turn(5);
	um_loop_free(loop);
	um_tls_unref(server_tls);
	um_tls_unref(client_tls);
	um_tls_unref(stranger_tls);
	um_tls_unref(nobody_tls);
	cr_assert_eq(um_io_remove_tree(AT_FDCWD, dir, NULL), 0);
}
TestSuite(http, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- raw sockets ---- */

static int dial_plain(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)um_http_server_port(plain)),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	cr_assert_geq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

/* What the server answers within @ms, or until it closes. */
static const char *answer(int fd, int ms, bool *ret_closed)
{
	static char text[65536];
	size_t len = 0;
	int64_t end = um_loop_now(loop) + ms * UM_NSEC_PER_MSEC;

	*ret_closed = false;
	while (um_loop_now(loop) < end && len < sizeof(text) - 1) {
		ssize_t n = read(fd, text + len, sizeof(text) - 1 - len);

		if (n == 0 || (n < 0 && errno != EAGAIN)) {
			*ret_closed = true;
			break;
		}
		if (n > 0)
			len += (size_t)n;
		cr_assert_eq(um_loop_step(loop, UM_NSEC_PER_MSEC), 0);
	}
	text[len] = '\0';
	return text;
}

static const char *talk(const char *request, int ms, bool *ret_closed)
{
	int fd = dial_plain();
	const char *text;

	cr_assert_eq(write(fd, request, strlen(request)), (ssize_t)strlen(request));
	text = answer(fd, ms, ret_closed);
	close(fd);
	return text;
}

static unsigned count(const char *text, const char *part)
{
	unsigned n = 0;

	while ((text = strstr(text, part)))
		text += strlen(part), n++;
	return n;
}

Test(http, keep_alive_and_pipelining)
{
	bool closed;
	const char *t =
		talk("GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /echo HTTP/1.1\r\nHost: x\r\n"
		     "Content-Length: 3\r\n\r\nabcGET /b?q=1+2%263 HTTP/1.1\r\nHost: x\r\n\r\n",
		     100, &closed);

	cr_assert_eq(count(t, "HTTP/1.1 200 OK"), 3, "%s", t);
	cr_assert_not_null(strstr(t, "/a|(none)"));
	cr_assert_not_null(strstr(t, "\r\n\r\nabc"));
	cr_assert_not_null(strstr(t, "/b|1 2&3"));
	cr_assert_not(closed);
	t = talk("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 1500, &closed);
	cr_assert(closed);
	cr_assert_not_null(strstr(t, "Connection: close"));
	t = talk("GET /a HTTP/1.0\r\n\r\n", 1500, &closed);
	cr_assert(closed);
	t = talk("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n", 50, &closed);
	cr_assert_not_null(strstr(t, "Content-Length: 9"));
	cr_assert_null(strstr(t, "(none)"));
}

Test(http, smuggling_forms_are_refused_and_the_connection_ends)
{
	static const char *const bad[] = {
		"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: "
		"chunked\r\n"
		"\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: "
		"2\r\n\r\nabGET /b "
		"HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /a HTTP/1.1\r\nX: y\r\n z\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: "
		"x\r\n\r\n",
		"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /a%2fb HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /a/../b HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /a%00 HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET //a HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /a?q=%ff HTTP/1.1\r\nHost: x\r\n\r\n",
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(bad); i++) {
		bool closed;
		const char *t = talk(bad[i], 2000, &closed);

		cr_assert_eq(strncmp(t, "HTTP/1.1 400 ", 13), 0, "%s: %s", bad[i], t);
		cr_assert_eq(count(t, "HTTP/1.1"), 1, "%s", bad[i]);
		cr_assert(closed);
	}
}

Test(http, a_byte_at_a_time_meets_the_deadline)
{
	int fd = dial_plain();
	const char *const head =
		"GET /a HTTP/1.1\r\nHost: x\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	int64_t start = um_loop_now(loop);
	struct um_http_server_stats st;
	bool closed = false;
	const char *t = "";

	for (size_t i = 0; head[i] && !closed; i++) {
		if (write(fd, head + i, 1) != 1)
			break;
		t = answer(fd, 20, &closed);
		if (*t)
			break;
	}
	cr_assert_eq(strncmp(t, "HTTP/1.1 408 ", 13), 0, "%s", t);
	cr_assert_lt(um_loop_now(loop) - start, 700 * UM_NSEC_PER_MSEC);
	um_http_server_get_stats(plain, &st);
	cr_assert_eq(st.timeouts, 1);
	close(fd);
	/* a silent one, and a slow body */
	t = talk("", 600, &closed);
	cr_assert(closed);
	t = talk("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", 600, &closed);
	cr_assert_eq(strncmp(t, "HTTP/1.1 408 ", 13), 0, "%s", t);
	cr_assert_eq(closed_requests, 1);
}

Test(http, a_silent_handshake_meets_the_deadline)
{
	int fd;
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)um_http_server_port(server)),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct um_http_server_stats st;
	bool closed;

	for (int half = 0; half < 2; half++) {
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
		cr_assert_geq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
		if (half) /* the start of a ClientHello */
			cr_assert_eq(write(fd, "\x16\x03\x01\x02\x00\x01", 6), 6);
		answer(fd, 1000, &closed);
		cr_assert(closed);
		close(fd);
	}
	um_http_server_get_stats(server, &st);
	cr_assert_eq(st.timeouts, 2);
	cr_assert_eq(st.conns, 0);
}

Test(http, when_full_the_longest_idle_connection_goes)
{
	struct um_http_server_opts o = {
		.on_request = on_request, .max_conns = 3, .max_conns_per_peer = 3};
	static const char request[] = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
	struct um_http_server_stats st;
	int fds[3];
	bool closed;

	um_http_server_free(plain);
	cr_assert_eq(um_http_server_new(loop, &o, &plain, NULL), 0);
	cr_assert_eq(um_http_server_listen(plain, "127.0.0.1", 0, NULL), 0);
	for (int i = 0; i < 3; i++) {
		fds[i] = dial_plain();
		cr_assert_eq(write(fds[i], request, sizeof(request) - 1), sizeof(request) - 1);
		answer(fds[i], 30, &closed);
		cr_assert_not(closed);
	}
	/* one address may not have them all */
	talk(request, 100, &closed);
	cr_assert(closed);
	um_http_server_get_stats(plain, &st);
	cr_assert_eq(st.refused_conns, 1);
	cr_assert_eq(st.conns, 3);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	turn(20);
	um_http_server_free(plain);
	o.max_conns_per_peer = 100;
	cr_assert_eq(um_http_server_new(loop, &o, &plain, NULL), 0);
	cr_assert_eq(um_http_server_listen(plain, "127.0.0.1", 0, NULL), 0);
	for (int i = 0; i < 3; i++) {
		fds[i] = dial_plain();
		cr_assert_eq(write(fds[i], request, sizeof(request) - 1), sizeof(request) - 1);
		answer(fds[i], 30, &closed);
	}
	cr_assert_not_null(strstr(talk(request, 50, &closed), "200 OK"));
	answer(fds[0], 50, &closed);
	cr_assert(closed);
	answer(fds[1], 20, &closed);
	cr_assert_not(closed);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

Test(http, a_large_body_is_413)
{
	bool closed;
	const char *t = talk("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n"
			     "Expect: 100-continue\r\n\r\n",
			     2000, &closed);
	static char body[150000];
	int fd;

	cr_assert_eq(strncmp(t, "HTTP/1.1 413 ", 13), 0, "%s", t);
	cr_assert_null(strstr(t, "100 Continue"));
	cr_assert(closed);
	t = talk("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
		 "Expect: 100-continue\r\n\r\n",
		 50, &closed);
	cr_assert_not_null(strstr(t, "100 Continue"));
	/* chunked: the size shows only on the way */
	fd = dial_plain();
	memset(body, 'x', sizeof(body));
	dprintf(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n",
		sizeof(body));
	for (size_t sent = 0; sent < sizeof(body);) {
		ssize_t n = write(fd, body + sent, sizeof(body) - sent);

		sent += n > 0 ? (size_t)n : 0;
		cr_assert_eq(um_loop_step(loop, UM_NSEC_PER_MSEC), 0);
	}
	t = answer(fd, 2000, &closed);
	cr_assert_eq(strncmp(t, "HTTP/1.1 413 ", 13), 0, "%s", t);
	close(fd);
}

Test(http, who_writes_during_a_watch_is_not_read)
{
	int fd = dial_plain();
	static char junk[65536];
	size_t sent = 0;
	bool closed;

	dprintf(fd, "GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
	cr_assert_not_null(strstr(answer(fd, 50, &closed), "200 OK"));
	for (int i = 0; i < 400; i++) {
		ssize_t n = write(fd, junk, sizeof(junk));

		sent += n > 0 ? (size_t)n : 0;
		cr_assert_eq(um_loop_step(loop, UM_NSEC_PER_MSEC), 0);
	}
	/* Socket buffers fill up; the server itself holds 64 KiB at most. */
	cr_assert_lt(sent, 16u << 20);
	cr_assert_not_null(watch);
	cr_assert_eq(um_http_stream_copy(watch, "{}\n", 3), 0);
	cr_assert_not_null(strstr(answer(fd, 50, &closed), "3\r\n{}\n\r\n"));
	close(fd);
	for (int i = 0; i < 3 && watch; i++) { /* its end lies behind the junk: writing finds it */
		um_http_stream_copy(watch, "{}\n", 3);
		turn(30);
	}
	cr_assert_null(watch);
	cr_assert_eq(closed_requests, 1);
}

Test(http, a_slow_reader_is_cut)
{
	int fd = dial_plain(), small = 4096;
	struct um_bytes *b = um_bytes_new(NULL, 0);
	struct um_http_server_stats st;
	static char event[32768];
	bool closed;

	um_bytes_unref(b);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	dprintf(fd, "GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
	answer(fd, 50, &closed);
	b = um_bytes_new(event, sizeof(event));
	for (int i = 0; i < 2000 && watch; i++) {
		if (um_http_stream_write(watch, b) < 0)
			break;
		cr_assert_leq(um_http_stream_pending(watch), (256u << 10) + 2 * sizeof(event));
		turn(1);
	}
	turn(20);
	cr_assert_null(watch);
	cr_assert_eq(closed_requests, 1);
	cr_assert_eq(b->refs, 1);
	um_http_server_get_stats(plain, &st);
	cr_assert_eq(st.slow_cut, 1);
	cr_assert_eq(st.conns, 0);
	um_bytes_unref(b);
	close(fd);
}

Test(http, who_takes_nothing_of_a_response_is_cut)
{
	int fd = dial_plain(), small = 4096;
	struct um_http_server_stats st;
	struct um_bytes *b = NULL;
	char *big = calloc(1, 16 << 20);
	bool closed;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	dprintf(fd, "GET /hang HTTP/1.1\r\nHost: x\r\n\r\n");
	answer(fd, 50, &closed);
	b = um_bytes_new(big, 16 << 20);
	free(big);
	um_http_respond(TAKE_PTR(watch), 200, "text/plain", b);
	cr_assert_eq(b->refs, 2); /* shared, not copied */
	turn(200);
	um_http_server_get_stats(plain, &st);
	cr_assert_eq(st.conns, 1);
	for (int i = 0; i < 30 && st.conns; i++) { /* from its last byte on */
		turn(50);
		um_http_server_get_stats(plain, &st);
	}
	turn(10); /* what it held goes at the end of a turn */
	cr_assert_eq(st.conns, 0);
	cr_assert_eq(st.slow_cut, 1);
	cr_assert_eq(b->refs, 1);
	um_bytes_unref(b);
	close(fd);
}

Test(http, draining_ends_streams_cleanly)
{
	int fd = dial_plain();
	bool closed;
	const char *t;

	dprintf(fd, "GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
	answer(fd, 50, &closed);
	um_http_server_drain(plain, UM_NSEC_PER_SEC, raw_nothing, NULL);
	t = answer(fd, 2000, &closed);
	cr_assert(closed);
	cr_assert_not_null(strstr(t, "0\r\n\r\n"));
	cr_assert_eq(closed_requests, 1);
	close(fd);
}

/* ---- the client ---- */

struct got {
	bool done, gone;
	int status, code;
	char body[512], lines[512], error[512];
	size_t len;
	struct um_conn *conn;
};

static void on_done(void *arg, const struct um_http_result *res)
{
	struct got *g = arg;

	g->done = true;
	g->status = res->status;
	g->code = res->err->code;
	g->len = res->len;
	snprintf(g->error, sizeof(g->error), "%s", res->err->msg);
	snprintf(g->body, sizeof(g->body), "%.500s", res->body);
}

static void on_line(void *arg, const char *line, size_t len)
{
	struct got *g = arg;

	cr_assert_eq(strlen(line), len);
	strncat(g->lines, line, sizeof(g->lines) - strlen(g->lines) - 2);
	strcat(g->lines, ";");
}

static struct um_http_client *client_for(struct um_tls *tls, int port, const char *name)
{
	struct um_http_client *c = NULL;

	cr_assert_eq(um_http_client_new(loop,
					&(struct um_http_client_opts){.host = "127.0.0.1",
								      .port = port,
								      .tls = tls,
								      .tls_name = name},
					&c, NULL),
		     0);
	return c;
}

static struct got call(struct um_http_client *c, const char *method, const char *target,
		       struct um_bytes *body)
{
	struct got g = {0};
	struct um_http_call *call_ = NULL;
	struct um_http_call_opts o = {.method = method,
				      .target = target,
				      .body = body,
				      .on_done = on_done,
				      .arg = &g,
				      .timeout_ns = 5 * UM_NSEC_PER_SEC};

	cr_assert_eq(um_http_call_start(c, &o, &call_, NULL), 0);
	for (int i = 0; i < 6000 && !g.done; i++)
		cr_assert_eq(um_loop_step(loop, UM_NSEC_PER_MSEC), 0);
	cr_assert(g.done);
	return g;
}

Test(http, tls_tells_who_the_client_is)
{
	struct um_http_client *c = client_for(client_tls, um_http_server_port(server), NULL);
	struct um_http_client *n = client_for(nobody_tls, um_http_server_port(server), NULL);
	struct um_http_server_stats st;
	struct got g = call(c, "GET", "/who", NULL);

	cr_assert_str_eq(g.body, "system:node:n1/system:nodes", "%s", g.error);
	for (int i = 0; i < 20; i++)
		cr_assert_eq(call(c, "GET", "/who", NULL).status, 200);
	um_http_server_get_stats(server, &st);
	cr_assert_eq(st.accepted, 1); /* kept alive */
	cr_assert_str_eq(call(n, "GET", "/who", NULL).body, "nobody/");
	um_http_client_free(c);
	um_http_client_free(n);
	/* resumed sessions keep the identity */
	c = client_for(client_tls, um_http_server_port(server), NULL);
	for (int i = 0; i < 3; i++) {
		struct um_http_call *k = NULL;
		struct got h = {0};
		struct um_http_call_opts o = {.method = "GET",
					      .target = "/who",
					      .close = true,
					      .on_done = on_done,
					      .arg = &h};

		cr_assert_eq(um_http_call_start(c, &o, &k, NULL), 0);
		for (int j = 0; j < 3000 && !h.done; j++)
			cr_assert_eq(um_loop_step(loop, UM_NSEC_PER_MSEC), 0);
		cr_assert_str_eq(h.body, "system:node:n1/system:nodes", "%s", h.error);
	}
	um_http_client_free(c);
}

Test(http, more_calls_than_may_be_busy_wait_for_their_turn)
{
	struct um_http_client_opts co = {.host = "127.0.0.1",
					 .port = um_http_server_port(server),
					 .tls = client_tls,
					 .max_busy = 2};
	struct um_http_client *c = NULL;
	struct um_http_server_stats st;
	struct um_http_call *k[40];
	struct got g[40] = {{0}};

	cr_assert_eq(um_http_client_new(loop, &co, &c, NULL), 0);
	for (int i = 0; i < 40; i++) {
		struct um_http_call_opts o = {
			.method = "GET", .target = "/who", .on_done = on_done, .arg = &g[i]};

		cr_assert_eq(um_http_call_start(c, &o, &k[i], NULL), 0);
	}
	um_http_call_cancel(k[0]); /* one that is busy, and one that waits */
	um_http_call_cancel(k[30]);
	for (int j = 0; j < 6000 && !g[39].done; j++)
		cr_assert_eq(um_loop_step(loop, UM_NSEC_PER_MSEC), 0);
	for (int i = 0; i < 40; i++)
		cr_assert_eq(g[i].status, i == 0 || i == 30 ? 0 : 200, "%d: %s", i, g[i].error);
	um_http_server_get_stats(server, &st);
	cr_assert_leq(st.accepted, 3); /* two, and one for what the cancelled call took with it */
	for (int i = 0; i < 10; i++) { /* freed with calls in every state */
		struct um_http_call_opts o = {
			.method = "GET", .target = "/who", .on_done = on_done, .arg = &g[i]};

		cr_assert_eq(um_http_call_start(c, &o, &k[i], NULL), 0);
	}
	um_http_client_free(c);
}

Test(http, strangers_are_refused_in_the_handshake)
{
	struct um_http_client *c = client_for(stranger_tls, um_http_server_port(server), NULL);
	struct um_http_client *wrong =
		client_for(client_tls, um_http_server_port(server), "10.1.1.1");
	struct um_http_client *plain_to_tls = client_for(NULL, um_http_server_port(server), NULL);
	struct um_http_server_stats st;
	struct got g = call(c, "GET", "/who", NULL);

	cr_assert_lt(g.code, 0);
	cr_assert_eq(g.status, 0);
	g = call(wrong, "GET", "/who", NULL);
	cr_assert_lt(g.code, 0);
	cr_assert_not_null(strstr(g.error, "verify"), "%s", g.error);
	g = call(plain_to_tls, "GET", "/who", NULL);
	cr_assert_lt(g.code, 0);
	um_http_server_get_stats(server, &st);
	cr_assert_eq(st.requests, 0);
	um_http_client_free(c);
	um_http_client_free(wrong);
	um_http_client_free(plain_to_tls);
}

Test(http, a_renewed_certificate_is_used_without_a_restart)
{
	static const char *const ips[] = {"10.9.9.9", NULL};
	struct um_pki_names n = {.cn = "renewed", .ips = ips, .server = true};
	struct um_http_client *c = client_for(client_tls, um_http_server_port(server), NULL);
	struct um_http_client *fresh =
		client_for(client_tls, um_http_server_port(server), "10.9.9.9");
	struct um_pki_pair *ca = NULL, *leaf = NULL;
	struct um_error err = UM_ERROR_INIT;

	cr_assert_eq(call(c, "GET", "/who", NULL).status, 200);
	cr_assert_lt(call(fresh, "GET", "/who", NULL).code, 0);
	cr_assert_eq(um_pki_load(dir, "ca", &ca, &err), 0, "%s", err.msg);
	cr_assert_eq(um_pki_leaf_new(ca, &n, um_clock_wall(&um_clock_system), &leaf, &err), 0);
	cr_assert_eq(um_pki_save(leaf, dir, "server", &err), 0);
	cr_assert_eq(um_tls_reload(server_tls, &err), 0, "%s", err.msg);
	cr_assert_eq(call(fresh, "GET", "/who", NULL).status, 200);
	cr_assert_eq(call(c, "GET", "/who", NULL).status, 200); /* its connection goes on */
	/* a damaged file leaves the old one in use */
	cr_assert_eq(truncate(at("server.crt"), 40), 0);
	cr_assert_lt(um_tls_reload(server_tls, &err), 0);
	um_http_client_free(fresh);
	fresh = client_for(client_tls, um_http_server_port(server), "10.9.9.9");
	cr_assert_eq(call(fresh, "GET", "/who", NULL).status, 200);
	um_pki_pair_free(ca);
	um_pki_pair_free(leaf);
	um_http_client_free(c);
	um_http_client_free(fresh);
}

Test(http, a_kept_connection_that_the_server_closed_is_replaced)
{
	struct um_http_client *c = client_for(client_tls, um_http_server_port(server), NULL);
	struct um_http_server_stats st;

	for (int i = 0; i < 3; i++) {
		struct um_http_call *k = NULL;
		struct got g = {0};
		struct um_http_call_opts o = {
			.method = "GET", .target = "/hang", .on_done = on_done, .arg = &g};

		/* the server drops the connection instead of answering */
		cr_assert_eq(um_http_call_start(c, &o, &k, NULL), 0);
		for (int j = 0; j < 3000 && !watch; j++)
			cr_assert_eq(um_loop_step(loop, UM_NSEC_PER_MSEC), 0);
		um_http_stream_begin(watch, 200, "text/plain");
		um_http_stream_abort(watch);
		for (int j = 0; j < 3000 && !g.done; j++)
			cr_assert_eq(um_loop_step(loop, UM_NSEC_PER_MSEC), 0);
		cr_assert_lt(g.code, 0, "a part was taken for the whole");
		cr_assert_eq(call(c, "GET", "/who", NULL).status, 200);
	}
	um_http_server_get_stats(server, &st);
	cr_assert_geq(st.accepted, 2);
	um_http_client_free(c);
}

Test(http, bodies_both_ways_over_tls)
{
	struct um_http_client *c = client_for(client_tls, um_http_server_port(server), NULL);
	char *text = malloc(100001);
	struct um_bytes *b;
	struct got g;

	memset(text, 'y', 100000);
	b = um_bytes_new(text, 100000);
	for (int i = 0; i < 5; i++) {
		g = call(c, "POST", "/echo", b);
		cr_assert_eq(g.status, 200, "%s", g.error);
		cr_assert_eq(g.len, 100000);
	}
	um_bytes_unref(b);
	b = um_bytes_new(text, 100001 - 0);
	g = call(c, "POST", "/echo", b);
	cr_assert_eq(g.status, 413, "%d %s", g.status, g.error);
	cr_assert_eq(call(c, "GET", "/who", NULL).status, 200);
	um_bytes_unref(b);
	free(text);
	um_http_client_free(c);
}

Test(http, a_streamed_request_body_with_back_pressure)
{
	struct um_http_client *c = client_for(client_tls, um_http_server_port(server), NULL);
	struct got g = {0};
	struct um_http_call *k = NULL;
	struct um_http_call_opts o = {.method = "POST",
				      .target = "/sink",
				      .stream_body = true,
				      .on_done = on_done,
				      .arg = &g};
	static char piece[50000];
	size_t sent = 0;

	cr_assert_eq(um_http_call_start(c, &o, &k, NULL), 0);
	cr_assert_eq(um_http_call_write(k, "early", 5), 0);
	while (sent < 5000000) {
		if (um_http_call_pending(k) < 100000) {
			cr_assert_eq(um_http_call_write(k, piece, sizeof(piece)), 0);
			sent += sizeof(piece);
		}
		cr_assert_eq(um_loop_step(loop, UM_NSEC_PER_MSEC), 0);
	}
	um_http_call_end_body(k);
	for (int i = 0; i < 5000 && !g.done; i++)
		cr_assert_eq(um_loop_step(loop, UM_NSEC_PER_MSEC), 0);
	cr_assert_str_eq(g.body, "5000005", "%s", g.error);
	um_http_client_free(c);
}

Test(http, a_watch_gives_lines_and_can_be_cancelled)
{
	struct um_http_client *c = client_for(client_tls, um_http_server_port(server), NULL);
	struct got g = {0};
	struct um_http_call *k = NULL;
	struct um_http_call_opts o = {.method = "GET",
				      .target = "/watch",
				      .on_line = on_line,
				      .on_done = on_done,
				      .arg = &g};

	cr_assert_eq(um_http_call_start(c, &o, &k, NULL), 0);
	for (int i = 0; i < 3000 && !watch; i++)
		cr_assert_eq(um_loop_step(loop, UM_NSEC_PER_MSEC), 0);
	um_http_stream_copy(watch, "one\ntw", 6);
	turn(20);
	um_http_stream_copy(watch, "o\nthree", 7);
	turn(20);
	cr_assert_str_eq(g.lines, "one;two;");
	um_http_stream_end(watch);
	turn(50);
	cr_assert_str_eq(g.lines, "one;two;three;");
	cr_assert(g.done);
	cr_assert_eq(g.status, 200);
	watch = NULL;
	cr_assert_eq(um_http_call_start(c, &o, &k, NULL), 0);
	for (int i = 0; i < 3000 && !watch; i++)
		cr_assert_eq(um_loop_step(loop, UM_NSEC_PER_MSEC), 0);
	um_http_call_cancel(k);
	turn(50);
	cr_assert_null(watch);
	cr_assert_eq(closed_requests, 1);
	um_http_client_free(c);
}

static void on_upgrade(void *arg, struct um_conn *c)
{
	struct got *g = arg;

	g->conn = c;
}

Test(http, upgrade_gives_raw_bytes_both_ways)
{
	bool closed;
	int fd = dial_plain();
	const char *t;

	/* bytes right behind the head are kept */
	dprintf(fd, "GET /up HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: "
		    "umiak/1\r\n\r\nraw");
	t = answer(fd, 100, &closed);
	cr_assert_eq(strncmp(t, "HTTP/1.1 101 ", 13), 0, "%s", t);
	cr_assert_str_eq(upgraded_in, "raw");
	cr_assert_not_null(strstr(t, "\r\n\r\nraw"));
	close(fd);
	turn(50);
	cr_assert_null(raw);
	t = talk("GET /up HTTP/1.1\r\nHost: x\r\n\r\n", 100, &closed);
	cr_assert_eq(strncmp(t, "HTTP/1.1 426 ", 13), 0, "%s", t);
}

static void own_close(void *arg um_unused, const struct um_error *err um_unused)
{
}
static const struct um_conn_events own_events = {raw_nothing, raw_nothing, raw_nothing, own_close};

static void on_upgrade_set(void *arg, struct um_conn *c)
{
	on_upgrade(arg, c);
	um_conn_set_events(c, &own_events, NULL);
}

Test(http, the_client_upgrades_over_tls)
{
	struct um_http_client *c = client_for(client_tls, um_http_server_port(server), NULL);
	struct got g = {0};
	struct um_http_call *k = NULL;
	struct um_http_call_opts o = {.method = "GET",
				      .target = "/up",
				      .upgrade = "umiak/1",
				      .on_upgrade = on_upgrade_set,
				      .on_done = on_done,
				      .arg = &g};
	size_t len;

	cr_assert_eq(call(c, "GET", "/who", NULL).status, 200);
	cr_assert_eq(um_http_call_start(c, &o, &k, NULL), 0);
	for (int i = 0; i < 3000 && !g.conn && !g.done; i++)
		cr_assert_eq(um_loop_step(loop, UM_NSEC_PER_MSEC), 0);
	cr_assert_not_null(g.conn, "%s", g.error);
	cr_assert(SSL_session_reused(um_conn_ssl(g.conn)), "no TLS resumption");
	cr_assert_eq(um_conn_write(g.conn, "hello", 5), 0);
	turn(50);
	cr_assert_str_eq(upgraded_in, "hello");
	cr_assert_eq(um_conn_unread(g.conn), 5);
	cr_assert_eq(strncmp(um_conn_peek(g.conn, &len), "hello", 5), 0);
	um_conn_free(g.conn);
	turn(20);
	um_http_client_free(c);
}

Test(http, failures_have_their_reason)
{
	struct um_http_client *c = client_for(NULL, 1, NULL);
	struct um_http_client *p = client_for(NULL, um_http_server_port(plain), NULL);
	struct got g = call(c, "GET", "/", NULL), h = {0};
	struct um_http_call *k = NULL;
	struct um_http_call_opts o = {.method = "GET",
				      .target = "/hang",
				      .on_done = on_done,
				      .arg = &h,
				      .timeout_ns = 100 * UM_NSEC_PER_MSEC};

	cr_assert_eq(g.code, -ECONNREFUSED, "%s", g.error);
	cr_assert_eq(um_http_call_start(p, &o, &k, NULL), 0);
	turn(200);
	cr_assert(h.done);
	cr_assert_eq(h.code, -ETIMEDOUT);
	cr_assert_eq(um_http_call_start(p,
					&(struct um_http_call_opts){.method = "GET",
								    .target = "/a b",
								    .on_done = on_done},
					&k, NULL),
		     -EINVAL);
	um_http_client_free(c);
	um_http_client_free(p);
}
