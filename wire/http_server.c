#include "wire/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "wire/http_server_internal.h"

enum {
	MAX_CONNS_DEFAULT = 4096,
	OUTPUT_CAP_DEFAULT = 4 << 20,
	BODY_TOTAL_DEFAULT = 64 << 20,
	ACCEPT_BATCH = 64,
};
#define ACCEPT_PAUSE_NS (100 * UM_NSEC_PER_MSEC)

struct listener {
	struct um_http_server *server;
	int fd;
	int port;
	struct um_fd *watch;
	struct um_timer *resume;
};

/* ---- listening ---- */

static void on_acceptable(void *arg, int fd, int events um_unused)
{
	struct listener *ln = arg;

	for (int i = 0; i < ACCEPT_BATCH; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		int c = accept4(fd, (struct sockaddr *)&ss, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (c >= 0) {
			um_hconn_accept(ln->server, c, &ss);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			um_fd_set_events(ln->watch, 0);
			um_timer_start(ln->resume, ACCEPT_PAUSE_NS);
		}
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

static void on_resume(void *arg)
{
	um_fd_set_events(((struct listener *)arg)->watch, UM_FD_READ);
}

static void listener_free(struct listener *ln)
{
	um_fd_free(ln->watch);
	um_timer_free(ln->resume);
	um_close(ln->fd);
	free(ln);
}

static int to_sockaddr(const char *address, int port, struct sockaddr_storage *ss, socklen_t *len)
{
	struct sockaddr_in6 *six = (void *)ss;
	struct sockaddr_in *four = (void *)ss;

	memset(ss, 0, sizeof(*ss));
	if (port < 0 || port > 65535)
		return -EINVAL;
	if (inet_pton(AF_INET, address, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons((uint16_t)port);
		*len = sizeof(*four);
		return 0;
	}
	if (inet_pton(AF_INET6, address, &six->sin6_addr) == 1) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons((uint16_t)port);
		*len = sizeof(*six);
		return 0;
	}
	return -EINVAL;
}

static int open_listener(const char *address, int port, int *ret_port)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_storage ss;
	socklen_t len = 0;
	int one = 1, r = to_sockaddr(address, port, &ss, &len);
	char host[46];

	if (r < 0)
		return r;
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    (ss.ss_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0) ||
	    bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, 512) < 0)
		return -errno;
	len = sizeof(ss);
	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
		return -errno;
	um_http_address_text(&ss, host, ret_port);
	return TAKE_FD(fd);
}

int um_http_server_listen(struct um_http_server *s, const char *address, int port,
			  struct um_error *err)
{
	struct listener *ln = calloc(1, sizeof(*ln));

	if (!ln)
		return um_error_set(err, -ENOMEM, "listen: out of memory");
	ln->server = s;
	ln->fd = open_listener(address, port, &ln->port);
	if (ln->fd < 0) {
		int r = um_error_errno(err, ln->fd, "listen on %s port %d", address, port);

		free(ln);
		return r;
	}
	ln->watch = um_fd_new(s->loop, ln->fd, UM_FD_READ, on_acceptable, ln);
	ln->resume = um_timer_new(s->loop, on_resume, ln);
	if (!ln->watch || !ln->resume || um_vec_push(&s->listeners, ln) < 0) {
		listener_free(ln);
		return um_error_set(err, -ENOMEM, "listen: out of memory");
	}
	return 0;
}

int um_http_server_port(const struct um_http_server *s)
{
	return s->listeners.len ? s->listeners.items[0]->port : -1;
}

/* ---- the server ---- */

static void on_drain_timeout(void *arg)
{
	struct um_http_server *s = arg;

	while (!TAILQ_EMPTY(&s->conns))
		um_hconn_close(TAILQ_FIRST(&s->conns));
	um_http_check_drained(s);
}

#define OR_DEFAULT(field, value) ((field) = (field) ? (field) : (value))

int um_http_server_new(struct um_loop *l, const struct um_http_server_opts *o,
		       struct um_http_server **ret, struct um_error *err)
{
	struct um_http_server *s = calloc(1, sizeof(*s));

	if (!s)
		return um_error_set(err, -ENOMEM, "HTTP server: out of memory");
	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to sockets without MSG_NOSIGNAL */
	s->loop = l;
	s->o = *o;
	OR_DEFAULT(s->o.max_conns, MAX_CONNS_DEFAULT);
	OR_DEFAULT(s->o.max_conns_per_peer, s->o.max_conns / 2 ? s->o.max_conns / 2 : 1);
	OR_DEFAULT(s->o.body_total, BODY_TOTAL_DEFAULT);
	OR_DEFAULT(s->o.output_cap, OUTPUT_CAP_DEFAULT);
	OR_DEFAULT(s->o.head_timeout_ns, 10 * UM_NSEC_PER_SEC);
	OR_DEFAULT(s->o.body_timeout_ns, 60 * UM_NSEC_PER_SEC);
	OR_DEFAULT(s->o.idle_timeout_ns, 120 * UM_NSEC_PER_SEC);
	OR_DEFAULT(s->o.stall_timeout_ns, 30 * UM_NSEC_PER_SEC);
	TAILQ_INIT(&s->conns);
	TAILQ_INIT(&s->idle);
	s->drain_timer = um_timer_new(l, on_drain_timeout, s);
	if (!s->drain_timer) {
		free(s);
		return um_error_set(err, -ENOMEM, "HTTP server: out of memory");
	}
	if (s->o.tls)
		um_tls_ref(s->o.tls);
	*ret = s;
	return 0;
}

static void close_listeners(struct um_http_server *s)
{
	um_vec_foreach (ln, &s->listeners)
		listener_free(*ln);
	um_vec_release(&s->listeners);
}

void um_http_server_drain(struct um_http_server *s, int64_t timeout_ns, void (*done)(void *arg),
			  void *arg)
{
	struct hconn *h, *next;

	s->draining = true;
	s->drained = done;
	s->drained_arg = arg;
	close_listeners(s);
	um_timer_start(s->drain_timer, timeout_ns);
	for (h = TAILQ_FIRST(&s->conns); h; h = next) {
		next = TAILQ_NEXT(h, all);
		um_hconn_drain(h);
	}
	if (TAILQ_EMPTY(&s->conns)) /* done is called from the loop, never from here */
		um_timer_start(s->drain_timer, 0);
}

void um_http_server_free(struct um_http_server *s)
{
	if (!s)
		return;
	s->drained = NULL;
	close_listeners(s);
	while (!TAILQ_EMPTY(&s->conns))
		um_hconn_close(TAILQ_FIRST(&s->conns));
	um_timer_free(s->drain_timer);
	um_tls_unref(s->o.tls);
	free(s);
}

void um_http_server_get_stats(const struct um_http_server *s, struct um_http_server_stats *ret)
{
	*ret = s->stats;
}
