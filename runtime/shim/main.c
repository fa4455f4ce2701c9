/* umiak-shim: the parent of one pod's containers. It holds the pod's namespaces, reaps, writes
 * logs and exit records, and speaks with the agent (runtime/shim/proto.h), which may die and come
 * back. Libc only. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fault.h"
#include "runtime/shim/shim.h"

struct shim_options shim_opt = {
	.log_max_bytes = 10 << 20,
	.log_max_files = 5,
	.ready_fd = -1,
};

static struct shim_namespaces namespaces;
static int clients[SHIM_CLIENTS_MAX];
static bool holds[SHIM_CLIENTS_MAX]; /* it cleans up after the container itself */
static bool quitting;

/* ---- messages ---- */

/* The place may be taken by another, who has not asked for what this one did. */
static void drop_client(int client)
{
	clients[client] = um_close(clients[client]);
	holds[client] = false;
	shim_ctr_client_gone(client);
}

void shim_send(int client, const struct um_shim_msg *m)
{
	if (client < 0 || clients[client] < 0 || m->truncated)
		return;
	if (send(clients[client], m->data, m->len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		drop_client(client); /* it does not read: it may reconnect */
}

void shim_broadcast(const struct um_shim_msg *m)
{
	for (int i = 0; i < SHIM_CLIENTS_MAX; i++)
		shim_send(i, m);
}

void shim_answer_error(int client, long long seq, int code, const char *message)
{
	struct um_shim_msg m;

	um_shim_begin(&m, "error");
	um_shim_add_num(&m, "seq", seq);
	um_shim_add_num(&m, "errno", code);
	um_shim_add(&m, "message", message);
	shim_send(client, &m);
}

static void answer_ok(int client, long long seq)
{
	struct um_shim_msg m;

	um_shim_begin(&m, "ok");
	um_shim_add_num(&m, "seq", seq);
	shim_send(client, &m);
}

static void do_hello(int client, long long seq, const struct um_shim_msg *req)
{
	struct um_shim_msg m;

	for (int i = 0; i < SHIM_CONTAINERS_MAX; i++) {
		if (shim_ctrs[i].state == SHIM_FREE)
			continue;
		shim_ctr_describe(&shim_ctrs[i], &m);
		/* Whoever asks last gets the answer, but for those who only look. */
		if (shim_ctrs[i].state == SHIM_STARTING && !um_shim_num(req, "look", 0)) {
			shim_ctrs[i].start_client = client;
			shim_ctrs[i].start_seq = seq;
			um_shim_add_num(&m, "seq", seq);
		}
		shim_send(client, &m);
	}
	um_shim_begin(&m, "ok");
	um_shim_add_num(&m, "seq", seq);
	um_shim_add_num(&m, "version", UM_SHIM_VERSION);
	um_shim_add_num(&m, "pid", getpid());
	um_shim_add(&m, "uid", shim_opt.uid);
	um_shim_add_num(&m, "net", namespaces.net);
	um_shim_add_num(&m, "ipc", namespaces.ipc);
	um_shim_add_num(&m, "uts", namespaces.uts);
	um_shim_add_num(&m, "pid_ns", namespaces.pid);
	shim_send(client, &m);
}

static void do_start(int client, long long seq, const struct um_shim_msg *req)
{
	const char *why = shim_ctr_start(req, client, seq);

	if (why)
		shim_answer_error(client, seq, EINVAL, why);
}

static void do_signal(int client, long long seq, const struct um_shim_msg *req)
{
	struct shim_ctr *c = shim_ctr_find(um_shim_get(req, "name"));
	long long number = um_shim_num(req, "number", -1);
	int r = !c ? -ESRCH : number < 1 || number > 64 ? -EINVAL : shim_ctr_signal(c, (int)number);

	if (c && um_shim_num(req, "stop", 0))
		shim_ctr_no_restart(c);
	if (r < 0)
		shim_answer_error(client, seq, -r,
				  r == -ESRCH ? "the container is not running" : "no such signal");
	else
		answer_ok(client, seq);
}

static void do_forget(int client, long long seq, const struct um_shim_msg *req)
{
	struct shim_ctr *c = shim_ctr_find(um_shim_get(req, "name"));

	if (c && c->state != SHIM_EXITED) {
		shim_answer_error(client, seq, EBUSY, "the container is running");
		return;
	}
	if (c)
		shim_ctr_forget(c);
	answer_ok(client, seq);
}

static void do_quit(int client, long long seq, um_unused const struct um_shim_msg *req)
{
	if (shim_ctr_any_alive()) {
		shim_answer_error(client, seq, EBUSY, "a container is running");
		return;
	}
	answer_ok(client, seq);
	quitting = true;
}

/* The connection is no longer one of requests. */
static void do_attach(int client, long long seq, const struct um_shim_msg *req)
{
	int fd = fcntl(clients[client], F_DUPFD_CLOEXEC, 3);
	const char *why = fd < 0 ? "attach: no descriptor" : shim_attach_add(fd, req);

	if (why) {
		um_close(fd);
		shim_answer_error(client, seq, EAGAIN, why);
		return;
	}
	answer_ok(client, seq);
	if (clients[client] >= 0)
		drop_client(client);
}

static void do_hold(int client, long long seq, um_unused const struct um_shim_msg *req)
{
	holds[client] = true;
	answer_ok(client, seq);
}

static const struct {
	const char *kind;
	void (*fn)(int client, long long seq, const struct um_shim_msg *m);
} verbs[] = {
	{"hello", do_hello}, {"start", do_start},   {"signal", do_signal}, {"forget", do_forget},
	{"quit", do_quit},   {"attach", do_attach}, {"hold", do_hold},
};

static void on_client(int i)
{
	static struct um_shim_msg m;
	ssize_t n = recv(clients[i], m.data, sizeof(m.data), MSG_DONTWAIT | MSG_TRUNC);
	long long seq;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	m.len = n > 0 ? (size_t)n : 0;
	if (n <= 0 || !um_shim_valid(&m)) { /* a longer packet tells its whole length */
		drop_client(i);
		return;
	}
	seq = um_shim_num(&m, "seq", 0);
	for (size_t v = 0; v < UM_ARRAY_LEN(verbs); v++) {
		if (strcmp(um_shim_kind(&m), verbs[v].kind))
			continue;
		verbs[v].fn(i, seq, &m);
		return;
	}
	shim_answer_error(i, seq, EOPNOTSUPP, "this shim does not know that request");
}

static void on_listen(int fd)
{
	int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (conn < 0)
		return;
	for (int i = 0; i < SHIM_CLIENTS_MAX; i++) {
		if (clients[i] < 0) {
			clients[i] = conn;
			return;
		}
	}
	/* A new agent matters more than what an old one left: a place is given up, but not that of
	 * who cleans up behind a container. */
	for (int i = 0; i < SHIM_CLIENTS_MAX; i++) {
		if (holds[i])
			continue;
		drop_client(i);
		clients[i] = conn;
		return;
	}
	close(conn);
}

/* ---- the loop ---- */

enum source { SRC_LISTEN, SRC_SIGNAL, SRC_CLIENT, SRC_STREAM, SRC_CONSOLE, SRC_ATTACH, SRC_INPUT };

#define POLL_MAX (2 + SHIM_CLIENTS_MAX + SHIM_ATTACH_MAX * 2 + SHIM_CONTAINERS_MAX * 3)

static struct pollfd polls[POLL_MAX];
static struct {
	uint8_t source, index, stream;
} sources[POLL_MAX];

static nfds_t add_events(nfds_t n, int fd, short events, enum source s, int index, int stream)
{
	if (fd < 0)
		return n;
	polls[n] = (struct pollfd){fd, events, 0};
	sources[n].source = (uint8_t)s;
	sources[n].index = (uint8_t)index;
	sources[n].stream = (uint8_t)stream;
	return n + 1;
}

static nfds_t add_poll(nfds_t n, int fd, enum source s, int index, int stream)
{
	return add_events(n, fd, POLLIN, s, index, stream);
}

static nfds_t add_attached(nfds_t n)
{
	for (int i = 0; i < SHIM_ATTACH_MAX; i++) {
		struct shim_attach_poll p;

		shim_attach_poll(i, &p);
		n = add_events(n, p.fd, p.events, SRC_ATTACH, i, 0);
		n = add_events(n, p.input_fd, POLLOUT, SRC_INPUT, i, 0);
	}
	return n;
}

/* What umiak-oci says while it starts a container is no output of it. */
static bool streams_wait(const struct shim_ctr *c)
{
	return shim_attach_any(c->name) &&
	       (c->state == SHIM_STARTING || shim_attach_blocks(c->name));
}

static nfds_t collect(int listen_fd, int signal_fd)
{
	nfds_t n = add_poll(0, listen_fd, SRC_LISTEN, 0, 0);

	n = add_poll(n, signal_fd, SRC_SIGNAL, 0, 0);
	for (int i = 0; i < SHIM_CLIENTS_MAX; i++)
		n = add_poll(n, clients[i], SRC_CLIENT, i, 0);
	for (int i = 0; i < SHIM_CONTAINERS_MAX; i++) {
		if (shim_ctrs[i].state == SHIM_FREE)
			continue;
		if (!streams_wait(&shim_ctrs[i])) {
			n = add_poll(n, shim_ctrs[i].out[0].fd, SRC_STREAM, i, 0);
			n = add_poll(n, shim_ctrs[i].out[1].fd, SRC_STREAM, i, 1);
		}
		n = add_poll(n, shim_ctrs[i].console_sock, SRC_CONSOLE, i, 0);
	}
	return add_attached(n); /* last: now it is known whom the streams wait for */
}

static void dispatch(nfds_t n)
{
	bool reap = false;

	for (nfds_t k = 0; k < n; k++) {
		int i = sources[k].index;
		struct shim_ctr *c = &shim_ctrs[i]; /* of a stream or console */
		struct signalfd_siginfo si;

		if (!polls[k].revents)
			continue;
		switch ((enum source)sources[k].source) {
		case SRC_LISTEN:
			on_listen(polls[k].fd);
			break;
		case SRC_SIGNAL:
			while (read(polls[k].fd, &si, sizeof(si)) == sizeof(si))
				shim_halt_on_signal(&si);
			reap = true;
			break;
		case SRC_CLIENT:
			if (clients[i] == polls[k].fd)
				on_client(i);
			break;
		case SRC_STREAM:
			if (c->out[sources[k].stream].fd == polls[k].fd)
				shim_log_pump(&c->log, &c->out[sources[k].stream], c->name);
			break;
		case SRC_ATTACH:
			if (shim_attaches[i].used && shim_attaches[i].fd == polls[k].fd)
				shim_attach_read(i, polls[k].revents);
			break;
		case SRC_INPUT:
			if (shim_attaches[i].used && shim_attaches[i].pending)
				shim_attach_flush(i);
			break;
		case SRC_CONSOLE:
			if (c->console_sock == polls[k].fd)
				shim_ctr_console(c);
			break;
		}
	}
	if (reap)
		shim_ctr_reap();
}

/* ---- start-up ---- */

static int listen_socket(char *path, size_t size)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int n = snprintf(path, size, "%s/%s", shim_opt.dir, UM_SHIM_SOCKET);

	if (fd < 0)
		return -1;
	if (n < 0 || (size_t)n >= sizeof(addr.sun_path)) {
		errno = ENAMETOOLONG;
		close(fd);
		return -1;
	}
	memcpy(addr.sun_path, path, (size_t)n + 1);
	(void)unlink(path);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 64) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* False when nobody waits any more: an agent that died in between knows nothing of this shim. */
static bool tell_ready(const char *failed)
{
	bool told = true;
	char text[300];
	int n;

	if (failed)
		n = snprintf(text, sizeof(text), "error: %s: %s\n", failed, strerror(errno));
	else
		n = snprintf(text, sizeof(text), "ready pid=%d net=%d ipc=%d uts=%d pid_ns=%d\n",
			     getpid(), namespaces.net, namespaces.ipc, namespaces.uts,
			     namespaces.pid);
	if (shim_opt.ready_fd >= 0)
		told = write(shim_opt.ready_fd, text, (size_t)n) == n;
	else if (failed)
		(void)!write(STDERR_FILENO, text, (size_t)n);
	shim_opt.ready_fd = um_close(shim_opt.ready_fd);
	return told;
}

static const char usage[] =
	"usage: umiak-shim --dir DIR --uid UID --oci PATH --oci-root DIR [options]\n"
	"The parent process of one pod's containers; started by the agent.\n"
	"  --dir DIR         the pod's folder: socket, exit records\n"
	"  --uid UID         the pod's uid\n"
	"  --oci PATH        umiak-oci\n"
	"  --oci-root DIR    umiak-oci's --root\n"
	"  --hostname NAME   make a UTS namespace with this name\n"
	"  --new-net         make a network namespace\n"
	"  --new-ipc         make an IPC namespace\n"
	"  --new-pid         make a PID namespace that the containers share\n"
	"  --log-max-bytes N rotate a container's log past N bytes (10485760)\n"
	"  --log-max-files N keep N log files (5)\n"
	"  --ready-fd N      write \"ready pid= net= ipc= uts= pid_ns=\" or \"error: ...\" there\n"
	"  --help, --version\n"
	"  -- PROGRAM ARGS   executed in the shim's place once all containers have ended, unless\n"
	"                    somebody connected has asked to do that\n";

static int parse_options(int argc, char **argv)
{
	static const struct option options[] = {
		{"dir", 1, NULL, 'd'},		 {"uid", 1, NULL, 'u'},
		{"oci", 1, NULL, 'o'},		 {"oci-root", 1, NULL, 'r'},
		{"hostname", 1, NULL, 'h'},	 {"new-net", 0, NULL, 'n'},
		{"new-ipc", 0, NULL, 'i'},	 {"new-pid", 0, NULL, 'p'},
		{"log-max-bytes", 1, NULL, 'b'}, {"log-max-files", 1, NULL, 'f'},
		{"ready-fd", 1, NULL, 'R'},	 {"help", 0, NULL, 'H'},
		{"version", 0, NULL, 'V'},	 {NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			shim_opt.dir = optarg;
			break;
		case 'u':
			shim_opt.uid = optarg;
			break;
		case 'o':
			shim_opt.oci = optarg;
			break;
		case 'r':
			shim_opt.oci_root = optarg;
			break;
		case 'h':
			shim_opt.hostname = optarg;
			break;
		case 'n':
			shim_opt.new_net = true;
			break;
		case 'i':
			shim_opt.new_ipc = true;
			break;
		case 'p':
			shim_opt.new_pid = true;
			break;
		case 'b':
			shim_opt.log_max_bytes = atoll(optarg);
			break;
		case 'f':
			shim_opt.log_max_files = atoi(optarg);
			break;
		case 'R':
			shim_opt.ready_fd = atoi(optarg);
			break;
		case 'H':
			(void)!write(STDOUT_FILENO, usage, sizeof(usage) - 1);
			exit(0);
		case 'V':
			(void)!write(STDOUT_FILENO, "umiak-shim " PACKAGE_VERSION "\n",
				     sizeof("umiak-shim " PACKAGE_VERSION));
			exit(0);
		default:
			return -1;
		}
	}
	if (optind < argc && !strcmp(argv[optind - 1], "--"))
		shim_opt.end_argv = argv + optind;
	return (optind == argc || shim_opt.end_argv) && shim_opt.dir && shim_opt.uid &&
			       shim_opt.oci && shim_opt.oci_root &&
			       shim_opt.log_max_bytes >= 4096 && shim_opt.log_max_files >= 1 &&
			       shim_opt.log_max_files <= 100
		       ? 0
		       : -1;
}

static int prepare_signals(void)
{
	static const int ignored[] = {SIGPIPE, SIGHUP, SIGINT};
	sigset_t set;

	for (size_t i = 0; i < UM_ARRAY_LEN(ignored); i++)
		signal(ignored[i], SIG_IGN); /* pods outlive whoever started them */
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM); /* halt.c looks who sent it */
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Only the standard descriptors and the ready pipe stay open, the latter never inherited. */
static void prepare_descriptors(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		if (null > STDERR_FILENO)
			close(null);
	}
	if (shim_opt.ready_fd > STDERR_FILENO) {
		if (shim_opt.ready_fd != 3 && dup3(shim_opt.ready_fd, 3, O_CLOEXEC) < 0)
			_exit(1);
		fcntl(3, F_SETFD, FD_CLOEXEC);
		shim_opt.ready_fd = 3;
		close_range(4, ~0U, 0);
	} else {
		shim_opt.ready_fd = -1;
		close_range(3, ~0U, 0);
	}
}

static bool all_done(void)
{
	for (int i = 0; i < SHIM_CLIENTS_MAX; i++)
		if (holds[i])
			return false;
	return shim_opt.end_argv && shim_ctr_any() && !shim_ctr_any_alive() &&
	       !shim_attach_any(NULL);
}

static void execute_end(void)
{
	sigset_t none;

	for (int i = 1; i < 32; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(shim_opt.end_argv[0], shim_opt.end_argv);
}

int main(int argc, char **argv)
{
	int listen_fd, signal_fd;
	const char *failed = NULL;
	char path[600];

	if (parse_options(argc, argv) < 0) {
		(void)!write(STDERR_FILENO, usage, sizeof(usage) - 1);
		return 2;
	}
	prepare_descriptors();
	umask(022);
	setsid();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (int i = 0; i < SHIM_CLIENTS_MAX; i++)
		clients[i] = -1;
	signal_fd = prepare_signals();
	if (!failed)
		failed = signal_fd < 0 ? "watch for children" : shim_ns_make(&namespaces);
	if (!failed) {
		UM_FAULT("shim.namespaces");
		listen_fd = listen_socket(path, sizeof(path));
		if (listen_fd < 0)
			failed = "listen on the pod's socket";
	}
	quitting = !tell_ready(failed);
	if (failed)
		return 1;
	while (!quitting && !all_done()) {
		nfds_t n = collect(listen_fd, signal_fd);

		if (poll(polls, n, shim_halt_timer(shim_ctr_timers())) > 0)
			dispatch(n);
		shim_ctr_tell_ends();
		quitting |= shim_halted() && !shim_opt.end_argv;
	}
	(void)unlink(path);
	if (namespaces.init)
		kill(namespaces.init, SIGKILL);
	if (!quitting)
		execute_end();
	return 0;
}
