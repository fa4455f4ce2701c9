#include "agent/dns.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "agent/dns_forward.h"
#include "agent/dns_zone.h"
#include "base/clock.h"
#include "base/log.h"
#include "wire/loop.h"

#define RETRY_NS (2 * UM_NSEC_PER_SEC)
#define IDLE_NS (10 * UM_NSEC_PER_SEC)
#define CONNS_MAX 64 /* the one idle for longest goes */
#define CHAIN_MAX 8  /* ExternalNames that lead to ExternalNames */
#define BATCH 64     /* datagrams in one turn of the loop */
#define RECEIVE_BYTES (1 << 20)

/* A TCP client: one question after the other. */
struct conn {
	struct agent_dns *d;
	TAILQ_ENTRY(conn) next;
	int fd;
	struct um_fd *watch;
	struct um_timer *idle;
	struct request *request; /* under way */
	uint8_t *in;		 /* length and question */
	size_t in_len;
	uint8_t *out; /* the rest of an answer; NULL: none */
	size_t out_len, out_at;
};

struct request {
	struct agent_dns *d;
	LIST_ENTRY(request) next;
	struct um_dns_query q;
	struct um_dns_name chain[CHAIN_MAX]; /* where CNAMEs led */
	size_t n_chain;
	struct conn *conn; /* NULL: a datagram, or it has hung up */
	bool tcp;
	struct sockaddr_in client;
};

struct agent_dns {
	struct um_loop *loop;
	struct dns_zone *zone;
	struct dns_forward *forward;
	struct in_addr address;
	int udp, tcp;
	struct um_fd *udp_watch, *tcp_watch;
	struct um_timer *retry;
	bool told;
	TAILQ_HEAD(conns, conn) conns;
	size_t n_conns;
	LIST_HEAD(, request) requests; /* that wait for an answer from elsewhere */
	uint8_t in[UM_DNS_MSG_MAX], out[UM_DNS_MSG_MAX], part[UM_DNS_MSG_MAX];
};

static void conn_free(struct conn *c);
static int conn_send(struct conn *c, const uint8_t *msg, size_t len);

/* ---- answering ---- */

static size_t limit_of(const struct request *rq)
{
	return rq->tcp ? UM_DNS_MSG_MAX : rq->q.udp_size;
}

static void send_answer(struct request *rq, size_t len)
{
	struct agent_dns *d = rq->d;

	if (!rq->tcp) /* what finds no room in the socket is asked for again */
		(void)!sendto(d->udp, d->out, len, MSG_DONTWAIT | MSG_NOSIGNAL,
			      (struct sockaddr *)&rq->client, sizeof(rq->client));
	else if (rq->conn && conn_send(rq->conn, d->out, len) < 0)
		conn_free(rq->conn);
}

static void send_rcode(struct request *rq, int rcode)
{
	struct um_dns_writer w;

	um_dns_begin(&w, rq->d->out, limit_of(rq), &rq->q);
	send_answer(rq, um_dns_end(&w, 0, rcode));
}

/* The CNAMEs that led there, and the answers of d->part. */
static void send_chain(struct request *rq, size_t part_len, uint16_t flags, int rcode)
{
	struct agent_dns *d = rq->d;
	struct um_dns_writer w;

	um_dns_begin(&w, d->out, limit_of(rq), &rq->q);
	for (size_t i = 0; i < rq->n_chain; i++)
		if (!um_dns_put_name(&w, UM_DNS_ANSWER, UM_DNS_CNAME, i ? &rq->chain[i - 1] : NULL,
				     5, &rq->chain[i]))
			break;
	if (part_len && !w.truncated)
		um_dns_put_answers_of(&w, d->part, part_len);
	send_answer(rq, um_dns_end(&w, flags, rcode));
}

static void request_free(struct request *rq)
{
	LIST_REMOVE(rq, next);
	if (rq->conn)
		rq->conn->request = NULL;
	free(rq);
}

/* The question about the name that the chain has led to. */
static struct um_dns_query current(const struct request *rq)
{
	struct um_dns_query q = rq->q;

	if (rq->n_chain)
		q.name = rq->chain[rq->n_chain - 1];
	return q;
}

static void on_forwarded(void *arg, const uint8_t *msg, um_unused size_t len,
			 const struct um_dns_answer *a, uint32_t age)
{
	struct request *rq = arg;
	struct agent_dns *d = rq->d;

	if (!msg && !rq->n_chain) {
		send_rcode(rq, UM_DNS_SERVFAIL);
	} else if (!rq->n_chain) {
		send_answer(rq, um_dns_answer_pass(d->out, limit_of(rq), msg, a, &rq->q, age));
	} else if (!msg) {
		send_chain(rq, 0, 0, UM_DNS_SERVFAIL);
	} else {
		struct um_dns_query q = current(rq);

		send_chain(rq, um_dns_answer_pass(d->part, sizeof(d->part), msg, a, &q, age), 0,
			   a->rcode);
	}
	request_free(rq);
}

static void forward(const struct request *from)
{
	struct agent_dns *d = from->d;
	struct request *rq = malloc(sizeof(*rq));
	struct um_dns_query q;

	if (!rq) {
		struct request now = *from;

		send_rcode(&now, UM_DNS_SERVFAIL);
		return;
	}
	*rq = *from;
	if (rq->conn)
		rq->conn->request = rq;
	LIST_INSERT_HEAD(&d->requests, rq, next);
	q = current(rq);
	dns_forward_ask(d->forward, &q, on_forwarded, rq);
}

/* Follows CNAMEs within the cluster; what is elsewhere is asked there. */
static void resolve(struct request *rq)
{
	struct agent_dns *d = rq->d;
	struct um_dns_writer w;
	struct um_dns_name target;
	uint16_t flags;
	int rcode;

	for (;;) {
		struct um_dns_query q = current(rq);
		uint8_t *buf = rq->n_chain ? d->part : d->out;
		size_t len;

		um_dns_begin(&w, buf, rq->n_chain ? sizeof(d->part) : limit_of(rq), &q);
		switch (dns_zone_answer(d->zone, &w, &flags, &rcode, &target)) {
		case DNS_ELSEWHERE:
			if (rq->q.flags & UM_DNS_RD)
				forward(rq);
			else if (rq->n_chain)
				send_chain(rq, 0, UM_DNS_AA, UM_DNS_NOERROR);
			else
				send_rcode(rq, UM_DNS_REFUSED);
			return;
		case DNS_CHASE:
			if (rq->n_chain == CHAIN_MAX) {
				send_rcode(rq, UM_DNS_SERVFAIL);
				return;
			}
			rq->chain[rq->n_chain++] = target;
			continue;
		case DNS_ANSWERED:
		default:
			len = um_dns_end(&w, flags, rcode);
			if (rq->n_chain)
				send_chain(rq, len, flags, rcode);
			else
				send_answer(rq, len);
			return;
		}
	}
}

/* One message of a client. False: nothing is answered. */
static bool handle(struct request *rq, const uint8_t *msg, size_t len)
{
	int r = um_dns_query_parse(msg, len, &rq->q);
	const struct um_dns_query *q = &rq->q;

	if (r < 0)
		return false;
	if (r != UM_DNS_NOERROR)
		send_rcode(rq, r);
	else if (q->class != 1 || q->type == UM_DNS_AXFR || q->type == UM_DNS_IXFR)
		send_rcode(rq, UM_DNS_REFUSED);
	else if (dns_forward_is_loop(rq->d->forward, &q->name))
		send_rcode(rq, UM_DNS_REFUSED);
	else
		resolve(rq);
	return true;
}

/* ---- UDP ---- */

static void on_datagram(void *arg, int fd, um_unused int events)
{
	struct agent_dns *d = arg;

	for (int i = 0; i < BATCH; i++) {
		struct request rq;
		socklen_t size = sizeof(rq.client);
		ssize_t n;

		rq.d = d;
		rq.n_chain = 0;
		rq.conn = NULL;
		rq.tcp = false;
		n = recvfrom(fd, d->in, sizeof(d->in), MSG_DONTWAIT, (struct sockaddr *)&rq.client,
			     &size);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n > 0)
			(void)!handle(&rq, d->in, (size_t)n);
	}
}

/* ---- TCP ---- */

static void conn_free(struct conn *c)
{
	if (!c)
		return;
	if (c->request)
		c->request->conn = NULL;
	TAILQ_REMOVE(&c->d->conns, c, next);
	c->d->n_conns--;
	um_fd_free(c->watch);
	um_timer_free(c->idle);
	um_close(c->fd);
	free(c->in);
	free(c->out);
	free(c);
}

/* Writes what it can. -errno: it is of no use any more. */
static int conn_write(struct conn *c)
{
	while (c->out_at < c->out_len) {
		ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			um_fd_set_events(c->watch, UM_FD_WRITE);
			return 0;
		}
		if (n < 0)
			return -errno;
		c->out_at += (size_t)n;
	}
	free(TAKE_PTR(c->out));
	um_fd_set_events(c->watch, UM_FD_READ);
	return 0;
}

static int conn_send(struct conn *c, const uint8_t *msg, size_t len)
{
	c->out = malloc(len + 2);
	if (!c->out)
		return -ENOMEM;
	c->out[0] = (uint8_t)(len >> 8);
	c->out[1] = (uint8_t)len;
	memcpy(c->out + 2, msg, len);
	c->out_len = len + 2;
	c->out_at = 0;
	um_timer_start(c->idle, IDLE_NS);
	return conn_write(c);
}

/* Bytes that are wanted before anything can be done. */
static size_t conn_wants(const struct conn *c)
{
	return c->in_len < 2 ? 2 : 2 + ((size_t)c->in[0] << 8 | c->in[1]);
}

static void on_conn(void *arg, int fd, int events)
{
	struct conn *c = arg;
	struct request rq;
	ssize_t n;

	if (events & UM_FD_WRITE) {
		if (conn_write(c) < 0)
			conn_free(c);
		return;
	}
	if (c->in_len < 2)
		n = recv(fd, c->in + c->in_len, 2 - c->in_len, MSG_DONTWAIT);
	else
		n = recv(fd, c->in + c->in_len, conn_wants(c) - c->in_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_free(c);
		return;
	}
	c->in_len += (size_t)n;
	if (c->in_len < 2 || c->in_len < conn_wants(c))
		return;
	rq.d = c->d;
	rq.n_chain = 0;
	rq.conn = c;
	rq.tcp = true;
	n = (ssize_t)c->in_len - 2;
	c->in_len = 0;
	um_fd_set_events(c->watch, 0); /* until it is answered */
	um_timer_start(c->idle, IDLE_NS);
	/* It may be freed by a failed write. */
	if (!handle(&rq, c->in + 2, (size_t)n))
		conn_free(c);
}

static void on_idle(void *arg)
{
	conn_free(arg);
}

static void add_conn(struct agent_dns *d, int fd)
{
	struct conn *c;

	if (d->n_conns >= CONNS_MAX)
		conn_free(TAILQ_FIRST(&d->conns));
	c = calloc(1, sizeof(*c));
	if (!c) {
		um_close(fd);
		return;
	}
	c->d = d;
	c->fd = fd;
	TAILQ_INSERT_TAIL(&d->conns, c, next);
	d->n_conns++;
	c->in = malloc(2 + UM_DNS_MSG_MAX);
	c->watch = um_fd_new(d->loop, fd, UM_FD_READ, on_conn, c);
	c->idle = um_timer_new(d->loop, on_idle, c);
	if (!c->in || !c->watch || !c->idle)
		conn_free(c);
	else
		um_timer_start(c->idle, IDLE_NS);
}

static void on_accept(void *arg, int fd, um_unused int events)
{
	struct agent_dns *d = arg;

	for (int i = 0; i < BATCH; i++) {
		int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (c < 0)
			return;
		add_conn(d, c);
	}
}

/* ---- listening ---- */

static void stop_listening(struct agent_dns *d)
{
	um_fd_free(TAKE_PTR(d->udp_watch));
	um_fd_free(TAKE_PTR(d->tcp_watch));
	d->udp = um_close(d->udp);
	d->tcp = um_close(d->tcp);
}

static int open_socket(struct agent_dns *d, int type, int *ret)
{
	struct sockaddr_in at = {
		.sin_family = AF_INET, .sin_port = htons(UM_DNS_PORT), .sin_addr = d->address};
	int on = 1, bytes = RECEIVE_BYTES;

	*ret = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*ret < 0)
		return -errno;
	if (setsockopt(*ret, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(*ret, SOL_IP, IP_FREEBIND, &on, sizeof(on)) < 0 ||
	    bind(*ret, (struct sockaddr *)&at, sizeof(at)) < 0)
		return -errno;
	if (type == SOCK_STREAM)
		return listen(*ret, 128) < 0 ? -errno : 0;
	(void)setsockopt(*ret, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	return 0;
}

static int start_listening(struct agent_dns *d)
{
	int r = open_socket(d, SOCK_DGRAM, &d->udp);

	if (r == 0)
		r = open_socket(d, SOCK_STREAM, &d->tcp);
	if (r < 0)
		return r;
	d->udp_watch = um_fd_new(d->loop, d->udp, UM_FD_READ, on_datagram, d);
	d->tcp_watch = um_fd_new(d->loop, d->tcp, UM_FD_READ, on_accept, d);
	return d->udp_watch && d->tcp_watch ? 0 : -ENOMEM;
}

static void on_retry(void *arg)
{
	struct agent_dns *d = arg;
	struct um_error err = UM_ERROR_INIT;
	char text[INET_ADDRSTRLEN];
	int r = start_listening(d);

	inet_ntop(AF_INET, &d->address, text, sizeof(text));
	if (r == 0) {
		um_log(UM_LOG_INFO, "cluster DNS answers", UM_LOG_STR("address", text));
		return;
	}
	stop_listening(d);
	um_error_errno(&err, r, "listen on %s port %d", text, UM_DNS_PORT);
	if (!d->told)
		um_log(UM_LOG_ERROR,
		       "cluster DNS cannot answer, and tries again: does another DNS "
		       "server listen on all addresses of this host?",
		       UM_LOG_ERR(&err));
	d->told = true;
	um_timer_start(d->retry, RETRY_NS);
}

/* ---- life ---- */

static int configure(struct agent_dns *d, const struct agent_dns_config *cfg, struct um_error *err)
{
	struct dns_zone_config zone = {.domain = cfg->domain};
	struct um_dns_name apex;
	int r;

	if (inet_pton(AF_INET, cfg->address, &d->address) != 1)
		return um_error_set(err, -EINVAL, "cluster DNS: %s is no IPv4 address",
				    cfg->address);
	zone.server = d->address;
	r = um_range_parse("pod range", cfg->pod_range, &zone.ranges[0], err);
	if (r == 0)
		r = um_range_parse("service range", cfg->service_range, &zone.ranges[1], err);
	if (r == 0 && !um_range_has(&zone.ranges[1], ntohl(d->address.s_addr)))
		r = um_error_set(err, -EINVAL, "cluster DNS: %s is not in the service range %s",
				 cfg->address, cfg->service_range);
	if (r == 0)
		r = dns_zone_new(&zone, &d->zone, err);
	if (r == 0)
		r = um_dns_name_parse(cfg->domain, &apex); /* as the zone did */
	if (r == 0)
		r = dns_forward_new(d->loop, &d->address, &apex, &d->forward, err);
	return r;
}

int agent_dns_new(struct um_loop *l, const struct agent_dns_config *cfg, struct agent_dns **ret,
		  struct um_error *err)
{
	struct agent_dns *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return um_error_set(err, -ENOMEM, "cluster DNS: out of memory");
	d->loop = l;
	d->udp = d->tcp = -1;
	TAILQ_INIT(&d->conns);
	LIST_INIT(&d->requests);
	d->retry = um_timer_new(l, on_retry, d);
	r = d->retry ? configure(d, cfg, err)
		     : um_error_set(err, -ENOMEM, "cluster DNS: out of memory");
	if (r < 0) {
		agent_dns_free(d);
		return r;
	}
	on_retry(d);
	*ret = d;
	return 0;
}

void agent_dns_free(struct agent_dns *d)
{
	if (!d)
		return;
	stop_listening(d);
	um_timer_free(d->retry);
	dns_forward_free(d->forward);
	while (!LIST_EMPTY(&d->requests))
		request_free(LIST_FIRST(&d->requests));
	while (!TAILQ_EMPTY(&d->conns))
		conn_free(TAILQ_FIRST(&d->conns));
	dns_zone_free(d->zone);
	free(d);
}

struct dns_zone *agent_dns_zone(struct agent_dns *d)
{
	return d->zone;
}
