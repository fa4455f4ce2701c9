#include "agent/dns_forward.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "agent/dns_cache.h"
#include "agent/resolv.h"
#include "base/clock.h"
#include "base/log.h"
#include "wire/loop.h"

#define LOOK_NS UM_NSEC_PER_SEC /* at resolv.conf, at most so often */
#define QUERY_MAX 300
#define PROBE_LABEL "um-loop-"

struct server {
	struct sockaddr_storage addr;
	socklen_t len;
	char text[64];
	char probe[DNS_FORWARD_SERVERS * 16]; /* the label of the question that shows a loop */
	bool loops;
};

struct lookup {
	struct dns_forward *f;
	LIST_ENTRY(lookup) next;
	struct um_dns_query q;
	uint16_t id;
	size_t server; /* which is asked */
	bool tcp, probe;
	int fd;
	struct um_fd *watch;
	struct um_timer *timer;
	uint8_t query[2 + QUERY_MAX]; /* with the length that TCP wants */
	size_t query_len, sent;
	uint8_t *in; /* TCP: what came */
	size_t in_len, in_want;
	uint8_t *failed; /* an answer that says it failed: passed on when no other comes */
	size_t failed_len;
	struct um_dns_answer failed_answer;
	dns_forward_fn fn;
	void *arg;
};

struct dns_forward {
	struct um_loop *loop;
	struct in_addr self;
	struct um_dns_name apex;
	struct dns_cache *cache;
	LIST_HEAD(, lookup) lookups;
	size_t under_way;
	struct server servers[DNS_FORWARD_SERVERS];
	size_t n_servers;
	struct stat seen[2]; /* resolv.conf and systemd-resolved's */
	int64_t looked_ns;
	bool ever, full_told;
	uint8_t in[4096]; /* one datagram: more than was asked for */
};

static void ask_server(struct lookup *k);
static void start_probe(struct dns_forward *f, size_t server);

static void draw_bytes(void *to, size_t len)
{
	if (getrandom(to, len, 0) != (ssize_t)len)
		abort(); /* never: so few bytes come whole */
}

/* ---- whom to ask ---- */

static bool is_self(const struct dns_forward *f, const struct sockaddr *sa)
{
	return sa->sa_family == AF_INET &&
	       ((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr == f->self.s_addr;
}

static void add_server(struct dns_forward *f, const char *text)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
				 .ai_socktype = SOCK_DGRAM};
	struct server *s = &f->servers[f->n_servers];
	struct addrinfo *ai;

	if (f->n_servers == DNS_FORWARD_SERVERS || getaddrinfo(text, "53", &hints, &ai) != 0)
		return;
	if (is_self(f, ai->ai_addr)) {
		um_log(UM_LOG_WARN, "the host's resolv.conf names the cluster's own DNS: not asked",
		       UM_LOG_STR("server", text));
	} else {
		*s = (struct server){.len = ai->ai_addrlen};
		memcpy(&s->addr, ai->ai_addr, ai->ai_addrlen);
		snprintf(s->text, sizeof(s->text), "%s", text);
		f->n_servers++;
	}
	freeaddrinfo(ai);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static bool files_changed(struct dns_forward *f)
{
	static const char *const paths[] = {RESOLV_HOST_PATH, RESOLV_SYSTEMD_PATH};
	bool changed = !f->ever;

	for (size_t i = 0; i < UM_ARRAY_LEN(paths); i++) {
		struct stat st;

		if (stat(paths[i], &st) < 0)
			memset(&st, 0, sizeof(st));
		changed |= !same_file(&st, &f->seen[i]);
		f->seen[i] = st;
	}
	f->ever = true;
	return changed;
}

static void look_at_host(struct dns_forward *f)
{
	_cleanup_free_ struct resolv *host = NULL;
	int64_t now = um_loop_now(f->loop);

	if (f->ever && now - f->looked_ns < LOOK_NS)
		return;
	f->looked_ns = now;
	if (!files_changed(f))
		return;
	host = malloc(sizeof(*host));
	if (!host) {
		f->ever = false;
		return;
	}
	resolv_read_host(host);
	f->n_servers = 0;
	dns_cache_clear(f->cache);
	for (size_t i = 0; i < host->n_servers; i++)
		add_server(f, host->servers[i]);
	if (!f->n_servers)
		um_log(UM_LOG_WARN,
		       "the host has no resolver: pods resolve the cluster's names only");
	for (size_t i = 0; i < f->n_servers; i++)
		start_probe(f, i);
}

bool dns_forward_is_loop(struct dns_forward *f, const struct um_dns_name *name)
{
	size_t prefix;

	if (!um_dns_name_below(name, &f->apex, &prefix))
		return false;
	for (size_t i = 0; i < f->n_servers; i++) {
		struct server *s = &f->servers[i];
		size_t len = strlen(s->probe);

		if (!len || prefix != len + 1 ||
		    strncasecmp((const char *)name->wire + 1, s->probe, len) != 0)
			continue;
		if (!s->loops)
			um_log(UM_LOG_ERROR,
			       "a resolver of the host asks the cluster's DNS in turn: it is asked "
			       "no "
			       "more until resolv.conf changes",
			       UM_LOG_STR("server", s->text));
		s->loops = true;
		return true;
	}
	return false;
}

/* ---- one lookup ---- */

static void hang_up(struct lookup *k)
{
	um_fd_free(TAKE_PTR(k->watch));
	k->fd = um_close(k->fd);
	free(TAKE_PTR(k->in));
	k->in_len = k->in_want = k->sent = 0;
}

static void lookup_free(struct lookup *k)
{
	if (!k)
		return;
	hang_up(k);
	um_timer_free(k->timer);
	free(k->failed);
	LIST_REMOVE(k, next);
	k->f->under_way--;
	free(k);
}

static void finish(struct lookup *k, const uint8_t *msg, size_t len, const struct um_dns_answer *a)
{
	dns_forward_fn fn = k->fn;
	struct dns_forward *f = k->f;
	void *arg = k->arg;

	if (msg && len <= DNS_CACHE_BYTES && !k->probe) {
		bool positive = a->rcode == UM_DNS_NOERROR && a->answers;
		uint32_t most = positive ? DNS_CACHE_TTL_MOST : DNS_CACHE_NEGATIVE_MOST;

		dns_cache_put(f->cache, &k->q, msg, len, a, a->ttl < most ? a->ttl : most,
			      um_loop_now(f->loop));
	}
	if (fn)
		fn(arg, msg, len, a, 0);
	lookup_free(k);
}

static void give_up(struct lookup *k)
{
	if (k->failed)
		finish(k, k->failed, k->failed_len, &k->failed_answer);
	else
		finish(k, NULL, 0, NULL);
}

static void next_server(struct lookup *k)
{
	hang_up(k);
	k->server = k->probe ? k->f->n_servers : k->server + 1;
	k->tcp = false;
	ask_server(k);
}

static void on_timeout(void *arg)
{
	next_server(arg);
}

/* What a server says of itself rather than of the name: another may know. */
static bool is_failure(int rcode)
{
	return rcode != UM_DNS_NOERROR && rcode != UM_DNS_NXDOMAIN;
}

static void take_answer(struct lookup *k, const uint8_t *msg, size_t len,
			const struct um_dns_answer *a)
{
	if (a->truncated && !k->tcp) {
		hang_up(k);
		k->tcp = true;
		ask_server(k);
	} else if (is_failure(a->rcode)) {
		if (!k->failed && (k->failed = malloc(len))) {
			memcpy(k->failed, msg, len);
			k->failed_len = len;
			k->failed_answer = *a;
		}
		next_server(k);
	} else {
		finish(k, msg, len, a);
	}
}

/* ---- UDP ---- */

static void on_datagram(void *arg, int fd, um_unused int events)
{
	struct lookup *k = arg;
	struct dns_forward *f = k->f;

	for (int i = 0; i < 16; i++) { /* who guesses ids does not keep us here */
		ssize_t n = recv(fd, f->in, sizeof(f->in), MSG_DONTWAIT);
		struct um_dns_answer a;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) { /* refused */
			next_server(k);
			return;
		}
		if (um_dns_answer_parse(f->in, (size_t)n, k->id, &k->q, &a) == 0) {
			take_answer(k, f->in, (size_t)n, &a);
			return;
		}
	}
}

/* ---- TCP ---- */

static int tcp_send(struct lookup *k)
{
	while (k->sent < k->query_len + 2) {
		ssize_t n = send(k->fd, k->query + k->sent, k->query_len + 2 - k->sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		k->sent += (size_t)n;
	}
	um_fd_set_events(k->watch, UM_FD_READ);
	return 0;
}

/* 1: the answer is whole. */
static int tcp_receive(struct lookup *k)
{
	for (;;) {
		ssize_t n = recv(k->fd, k->in + k->in_len, k->in_want - k->in_len, MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		if (n == 0)
			return -ECONNRESET;
		k->in_len += (size_t)n;
		if (k->in_len < k->in_want)
			continue;
		if (k->in_want > 2)
			return 1;
		k->in_want = 2 + ((size_t)k->in[0] << 8 | k->in[1]);
		if (k->in_want < 2 + UM_DNS_HEADER)
			return -EBADMSG;
	}
}

static void on_stream(void *arg, um_unused int fd, int events)
{
	struct lookup *k = arg;
	struct um_dns_answer a;
	int r = 0;

	if (events & UM_FD_WRITE)
		r = tcp_send(k);
	if (r == 0 && events & UM_FD_READ)
		r = tcp_receive(k);
	if (r == 0)
		return;
	if (r > 0 && um_dns_answer_parse(k->in + 2, k->in_want - 2, k->id, &k->q, &a) == 0) {
		uint8_t *msg = TAKE_PTR(k->in);
		size_t len = k->in_want - 2;

		a.truncated = false; /* there is no more of it */
		take_answer(k, msg + 2, len, &a);
		free(msg);
	} else {
		next_server(k);
	}
}

/* ---- asking ---- */

static int dial(struct lookup *k)
{
	const struct server *s = &k->f->servers[k->server];
	int type = k->tcp ? SOCK_STREAM : SOCK_DGRAM;

	k->fd = socket(s->addr.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (k->fd < 0)
		return -errno;
	if (connect(k->fd, (const struct sockaddr *)&s->addr, s->len) < 0 && errno != EINPROGRESS)
		return -errno;
	if (k->tcp) {
		k->in = malloc(2 + UM_DNS_MSG_MAX);
		k->in_want = 2;
		if (!k->in)
			return -ENOMEM;
	} else if (send(k->fd, k->query + 2, k->query_len, MSG_NOSIGNAL) < 0) {
		return -errno;
	}
	k->watch = um_fd_new(k->f->loop, k->fd, k->tcp ? UM_FD_WRITE | UM_FD_READ : UM_FD_READ,
			     k->tcp ? on_stream : on_datagram, k);
	return k->watch ? 0 : -ENOMEM;
}

static void ask_server(struct lookup *k)
{
	for (; k->server < k->f->n_servers; k->server++, k->tcp = false) {
		if (k->f->servers[k->server].loops)
			continue;
		draw_bytes(&k->id, sizeof(k->id));
		k->query_len = um_dns_query_write(k->query + 2, k->id, &k->q);
		k->query[0] = (uint8_t)(k->query_len >> 8);
		k->query[1] = (uint8_t)k->query_len;
		if (dial(k) == 0) {
			um_timer_start(k->timer, DNS_FORWARD_SERVER_MSEC * UM_NSEC_PER_MSEC);
			return;
		}
		hang_up(k);
		if (k->probe)
			break;
	}
	give_up(k);
}

static struct lookup *lookup_new(struct dns_forward *f, const struct um_dns_query *q)
{
	struct lookup *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->f = f;
	k->q = *q;
	k->fd = -1;
	k->timer = um_timer_new(f->loop, on_timeout, k);
	if (!k->timer) {
		free(k);
		return NULL;
	}
	LIST_INSERT_HEAD(&f->lookups, k, next);
	f->under_way++;
	return k;
}

static void start_probe(struct dns_forward *f, size_t server)
{
	struct um_dns_query q = {.name = f->apex, .type = UM_DNS_A, .class = 1};
	struct server *s = &f->servers[server];
	struct lookup *k;
	uint64_t number;

	draw_bytes(&number, sizeof(number));
	snprintf(s->probe, sizeof(s->probe), PROBE_LABEL "%016llx", (unsigned long long)number);
	if (um_dns_name_prepend(&q.name, s->probe) < 0)
		return;
	k = lookup_new(f, &q);
	if (!k)
		return;
	k->probe = true;
	k->server = server;
	ask_server(k);
}

void dns_forward_ask(struct dns_forward *f, const struct um_dns_query *q, dns_forward_fn fn,
		     void *arg)
{
	struct um_dns_answer a;
	const uint8_t *msg;
	struct lookup *k;
	uint32_t age;
	size_t len;

	look_at_host(f);
	msg = dns_cache_get(f->cache, q, um_loop_now(f->loop), &len, &a, &age);
	if (msg) {
		fn(arg, msg, len, &a, age);
		return;
	}
	if (f->under_way >= DNS_FORWARD_MAX) {
		if (!f->full_told)
			um_log(UM_LOG_WARN, "too many names are being looked up: more fail");
		f->full_told = true;
	}
	k = f->n_servers && f->under_way < DNS_FORWARD_MAX ? lookup_new(f, q) : NULL;
	if (!k) {
		fn(arg, NULL, 0, NULL, 0);
		return;
	}
	f->full_told &= f->under_way > DNS_FORWARD_MAX / 2;
	k->fn = fn;
	k->arg = arg;
	ask_server(k);
}

int dns_forward_new(struct um_loop *l, const struct in_addr *self, const struct um_dns_name *apex,
		    struct dns_forward **ret, struct um_error *err)
{
	struct dns_forward *f = calloc(1, sizeof(*f));

	if (f)
		f->cache = dns_cache_new(DNS_CACHE_ENTRIES);
	if (!f || !f->cache) {
		free(f);
		return um_error_set(err, -ENOMEM, "cluster DNS: out of memory");
	}
	f->loop = l;
	f->self = *self;
	f->apex = *apex;
	LIST_INIT(&f->lookups);
	*ret = f;
	return 0;
}

void dns_forward_free(struct dns_forward *f)
{
	if (!f)
		return;
	while (!LIST_EMPTY(&f->lookups))
		lookup_free(LIST_FIRST(&f->lookups));
	dns_cache_free(f->cache);
	free(f);
}
