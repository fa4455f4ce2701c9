/* The agent's end of the shim protocol (runtime/shim/proto.h). */
#include "agent/internal.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/log.h"
#include "wire/loop.h"

#define HELLO_NS (10 * UM_NSEC_PER_SEC) /* a stopped or broken shim answers never */

struct agent_shim {
	struct agent_pod *pod;
	struct um_fd *watch;
	struct um_timer *hello; /* runs out when it is not answered */
	int fd;
	long long seq;
	bool synced; /* hello is answered: all containers it holds are known */
	bool quitting;
};

static int send_msg(struct agent_shim *s, struct um_shim_msg *m)
{
	um_shim_add_num(m, "seq", ++s->seq);
	if (m->truncated)
		return -EMSGSIZE;
	return send(s->fd, m->data, m->len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void start_refused(struct agent_pod *p, const struct um_shim_msg *m)
{
	const char *message = um_shim_get(m, "message"), *name = um_shim_get(m, "name");

	/* Requests are answered in order but starts: the one container in STARTING whose number
	 * this is. */
	for (size_t i = 0; i < p->n_ctrs; i++) {
		struct um_shim_msg end;
		struct agent_ctr *c = &p->ctrs[i];

		if (c->state != CTR_STARTING || c->start_seq != um_shim_num(m, "seq", 0) ||
		    (name && strcmp(name, c->name)))
			continue;
		um_shim_begin(&end, "container");
		um_shim_add(&end, "name", c->name);
		um_shim_add(&end, "id", c->id);
		um_shim_add_num(&end, "attempt", c->attempt);
		um_shim_add(&end, "state", "exited");
		um_shim_add_num(&end, "status", 128 << 8);
		um_shim_add_num(&end, "started", um_clock_wall(um_loop_clock(p->agent->loop)));
		um_shim_add_num(&end, "finished", um_clock_wall(um_loop_clock(p->agent->loop)));
		ctr_on_shim(p, &end);
		snprintf(c->last.reason, sizeof(c->last.reason), "StartError");
		free(c->last.message);
		c->last.message = strdup(message ? message : "");
		pod_event(p, "Warning", "Failed", "Error: %s", message ? message : "");
		return;
	}
}

static void on_hello(struct agent_shim *s, const struct um_shim_msg *m)
{
	struct agent_pod *p = s->pod;

	s->synced = true;
	um_timer_stop(s->hello);
	p->shim_pid = (pid_t)um_shim_num(m, "pid", 0);
	p->ns_net = (int)um_shim_num(m, "net", -1);
	p->ns_ipc = (int)um_shim_num(m, "ipc", -1);
	p->ns_uts = (int)um_shim_num(m, "uts", -1);
	p->ns_pid = (int)um_shim_num(m, "pid_ns", -1);
	pod_dirty(p);
}

static void on_packet(struct agent_shim *s, const struct um_shim_msg *m)
{
	const char *kind = um_shim_kind(m);

	if (!strcmp(kind, "container"))
		ctr_on_shim(s->pod, m);
	else if (!strcmp(kind, "ok") && um_shim_get(m, "version"))
		on_hello(s, m);
	else if (!strcmp(kind, "error"))
		start_refused(s->pod, m);
}

static void on_readable(void *arg, int fd, um_unused int events)
{
	struct agent_shim *s = arg;
	struct agent_pod *p = s->pod;
	static struct um_shim_msg m;

	for (int i = 0; i < 16; i++) {
		ssize_t n = recv(fd, m.data, sizeof(m.data), MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		m.len = n > 0 ? (size_t)n : 0;
		if (n <= 0 || !um_shim_valid(&m)) {
			pod_shim_lost(p, "has ended"); /* frees this end */
			return;
		}
		on_packet(s, &m);
		if (p->shim != s)
			return;
	}
}

static void on_no_hello(void *arg)
{
	struct agent_shim *s = arg;

	pod_shim_lost(s->pod, "does not answer"); /* frees this end */
}

struct agent_shim *shim_connect(struct agent_pod *p, const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct agent_shim *s = calloc(1, sizeof(*s));
	struct ucred cred = {.pid = 0};
	socklen_t len = sizeof(cred);

	if (!s || strlen(path) >= sizeof(addr.sun_path)) {
		free(s);
		return NULL;
	}
	strcpy(addr.sun_path, path);
	s->pod = p;
	s->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd >= 0 && connect(s->fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		s->watch = um_fd_new(p->agent->loop, s->fd, UM_FD_READ, on_readable, s);
	s->hello = um_timer_new(p->agent->loop, on_no_hello, s);
	if (!s->watch || !s->hello) {
		shim_free(s);
		return NULL;
	}
	/* Whom to end should it never say. */
	if (p->shim_pid <= 0 && getsockopt(s->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0)
		p->shim_pid = cred.pid;
	return s;
}

void shim_free(struct agent_shim *s)
{
	if (!s)
		return;
	um_timer_free(s->hello);
	um_fd_free(s->watch);
	um_close(s->fd);
	free(s);
}

int shim_hello(struct agent_shim *s)
{
	struct um_shim_msg m;

	um_shim_begin(&m, "hello");
	um_timer_start(s->hello, HELLO_NS);
	return send_msg(s, &m);
}

bool shim_synced(const struct agent_shim *s)
{
	return s->synced;
}

int shim_start(struct agent_shim *s, struct agent_ctr *c, const char *bundle, const char *log)
{
	struct um_shim_msg m;
	int r;

	um_shim_begin(&m, "start");
	um_shim_add(&m, "name", c->name);
	um_shim_add_num(&m, "attempt", c->attempt);
	um_shim_add(&m, "id", c->id);
	um_shim_add(&m, "bundle", bundle);
	um_shim_add(&m, "log", log);
	um_shim_add_num(&m, "tty", um_json_get_bool(c->spec, "tty", false));
	um_shim_add_num(&m, "stdin", um_json_get_bool(c->spec, "stdin", false));
	r = send_msg(s, &m);
	if (r == 0)
		c->start_seq = s->seq;
	return r;
}

int shim_signal(struct agent_shim *s, const char *name, int number)
{
	struct um_shim_msg m;

	um_shim_begin(&m, "signal");
	um_shim_add(&m, "name", name);
	um_shim_add_num(&m, "number", number);
	return send_msg(s, &m);
}

int shim_forget(struct agent_shim *s, const char *name)
{
	struct um_shim_msg m;

	um_shim_begin(&m, "forget");
	um_shim_add(&m, "name", name);
	return send_msg(s, &m);
}

int shim_quit(struct agent_shim *s)
{
	struct um_shim_msg m;

	um_shim_begin(&m, "quit");
	s->quitting = true;
	return send_msg(s, &m);
}
