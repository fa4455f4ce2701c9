#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#include "wire/http_client_internal.h"

enum { ADDRESSES_MAX = 8 };

struct address {
	struct sockaddr_storage ss;
	socklen_t len;
};

/* What a worker thread looks up; outlives the dial when that is given up. */
struct lookup {
	struct um_dial *dial; /* NULL: nobody waits any more */
	char *host;
	int port;
	int error; /* of getaddrinfo() */
	struct address addresses[ADDRESSES_MAX];
	unsigned n;
};

struct um_dial {
	struct um_loop *loop;
	um_dial_fn fn;
	void *arg;
	char *host;
	int port;
	struct lookup *lookup;
	struct address addresses[ADDRESSES_MAX];
	unsigned n, at;
	int fd;
	struct um_fd *watch;
	struct um_timer *later;
	struct um_error err;
};

static void try_next(struct um_dial *d);

static bool to_address(const char *host, int port, struct address *a)
{
	struct sockaddr_in6 *six = (void *)&a->ss;
	struct sockaddr_in *four = (void *)&a->ss;

	memset(a, 0, sizeof(*a));
	if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons((uint16_t)port);
		a->len = sizeof(*four);
		return true;
	}
	if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons((uint16_t)port);
		a->len = sizeof(*six);
		return true;
	}
	return false;
}

static void look_up(void *arg)
{
	struct lookup *lu = arg;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *list = NULL;
	char port[8];

	snprintf(port, sizeof(port), "%d", lu->port);
	lu->error = getaddrinfo(lu->host, port, &hints, &list);
	for (struct addrinfo *ai = list; !lu->error && ai && lu->n < ADDRESSES_MAX;
	     ai = ai->ai_next) {
		if (ai->ai_addrlen > sizeof(lu->addresses[0].ss))
			continue;
		memcpy(&lu->addresses[lu->n].ss, ai->ai_addr, ai->ai_addrlen);
		lu->addresses[lu->n++].len = ai->ai_addrlen;
	}
	if (list)
		freeaddrinfo(list);
}

static void looked_up(void *arg)
{
	struct lookup *lu = arg;
	struct um_dial *d = lu->dial;

	if (d) {
		d->lookup = NULL;
		memcpy(d->addresses, lu->addresses, sizeof(lu->addresses));
		d->n = lu->n;
		if (lu->error)
			um_error_set(&d->err, -EHOSTUNREACH, "look up %s: %s", d->host,
				     gai_strerror(lu->error));
		try_next(d);
	}
	free(lu->host);
	free(lu);
}

static int start_lookup(struct um_dial *d)
{
	struct lookup *lu = calloc(1, sizeof(*lu));

	if (!lu)
		return -ENOMEM;
	lu->dial = d;
	lu->port = d->port;
	lu->host = strdup(d->host);
	if (!lu->host || um_work_submit(d->loop, look_up, looked_up, lu) < 0) {
		free(lu->host);
		free(lu);
		return -ENOMEM;
	}
	d->lookup = lu;
	return 0;
}

static void connected(void *arg, int fd, int events um_unused)
{
	struct um_dial *d = arg;
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	um_fd_free(TAKE_PTR(d->watch));
	if (error) {
		um_error_errno(&d->err, -error, "connect to %s port %d", d->host, d->port);
		d->fd = um_close(d->fd);
		try_next(d);
		return;
	}
	d->fn(d->arg, TAKE_FD(d->fd), NULL);
}

static int start_connect(struct um_dial *d, const struct address *a)
{
	d->fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->fd < 0)
		return -errno;
	if (connect(d->fd, (const struct sockaddr *)&a->ss, a->len) < 0 && errno != EINPROGRESS)
		return -errno;
	d->watch = um_fd_new(d->loop, d->fd, UM_FD_WRITE, connected, d);
	return d->watch ? 0 : -ENOMEM;
}

/* Runs from the loop only. */
static void try_next(struct um_dial *d)
{
	while (d->at < d->n) {
		int r = start_connect(d, &d->addresses[d->at++]);

		if (!r)
			return;
		um_error_errno(&d->err, r, "connect to %s port %d", d->host, d->port);
		d->fd = um_close(d->fd);
	}
	d->fn(d->arg, d->err.code ? d->err.code : -EHOSTUNREACH, &d->err);
}

static void on_later(void *arg)
{
	try_next(arg);
}

struct um_dial *um_dial_new(struct um_loop *l, const char *host, int port, um_dial_fn fn, void *arg)
{
	struct um_dial *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->loop = l;
	d->fn = fn;
	d->arg = arg;
	d->fd = -1;
	d->port = port;
	d->host = strdup(host);
	d->later = um_timer_new(l, on_later, d);
	if (!d->host || !d->later) {
		um_dial_free(d);
		return NULL;
	}
	if (to_address(host, port, &d->addresses[0])) {
		d->n = 1;
		um_timer_start(d->later, 0);
	} else if (start_lookup(d) < 0) {
		um_dial_free(d);
		return NULL;
	}
	return d;
}

void um_dial_free(struct um_dial *d)
{
	if (!d)
		return;
	if (d->lookup)
		d->lookup->dial = NULL;
	um_fd_free(d->watch);
	um_timer_free(d->later);
	um_close(d->fd);
	free(d->host);
	free(d);
}
