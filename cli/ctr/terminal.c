/* Streams between this process and a container, with or without a terminal. */
#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>

#include "base/io.h"
#include "cli/ctr/ctr.h"
#include "runtime/shim/client.h"

#define KEYS_MAX 16

/* ---- the user's terminal ---- */

static struct termios saved_mode;
static volatile sig_atomic_t is_raw;

static void put_back(void)
{
	if (is_raw)
		(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &saved_mode);
	is_raw = 0;
}

/* Faults of this program end here too. */
static void on_fatal(int number)
{
	put_back();
	signal(number, SIG_DFL);
	raise(number);
}

static void make_raw(void)
{
	static const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
	static bool registered;
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &saved_mode) < 0)
		return;
	raw = saved_mode;
	cfmakeraw(&raw);
	if (!registered) {
		registered = true;
		atexit(put_back);
		for (size_t i = 0; i < UM_ARRAY_LEN(fatal); i++)
			signal(fatal[i], on_fatal);
	}
	is_raw = 1;
	(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

void ctr_terminal_size(unsigned short *rows, unsigned short *cols)
{
	struct winsize size = {0};

	for (int fd = 0; fd < 3 && !size.ws_row; fd++)
		(void)ioctl(fd, TIOCGWINSZ, &size);
	*rows = size.ws_row;
	*cols = size.ws_col;
}

/* ---- detach keys: "ctrl-p,ctrl-q" ---- */

static int parse_keys(const char *text, char keys[KEYS_MAX])
{
	int n = 0;

	while (*text) {
		size_t len = strcspn(text, ",");

		if (n == KEYS_MAX)
			return -EINVAL;
		if (len == 1)
			keys[n++] = *text;
		else if (len == 6 && !strncmp(text, "ctrl-", 5) &&
			 (isalpha((unsigned char)text[5]) || strchr("@[\\]^_", text[5])))
			keys[n++] = (char)(toupper((unsigned char)text[5]) ^ 0x40);
		else
			return -EINVAL;
		text += len + (text[len] == ',');
	}
	return n;
}

int ctr_check_detach_keys(const char *text, struct um_error *err)
{
	char keys[KEYS_MAX];

	return parse_keys(text, keys) < 0
		       ? um_error_set(err, -EINVAL, "invalid detach keys (%s)", text)
		       : 0;
}

/* ---- the relay ---- */

struct relay {
	struct ctr_relay *r;
	char keys[KEYS_MAX];
	int n_keys, matched;
	char packet[1 + UM_SHIM_INPUT_MAX]; /* input on its way; the first byte is its kind */
	size_t pending, pending_at;
	bool in_open, in_ended;
	int signals;
	unsigned interrupts;
	bool stop;
};

static void write_out(int fd, const char *data, size_t len)
{
	(void)!um_io_write_all(fd, data, len); /* whoever reads it may have gone */
}

/* Takes the detach keys out: they are held back until it is clear that they are not meant. */
static size_t filter_keys(struct relay *l, const char *in, size_t n, char *out)
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		if (l->n_keys && in[i] == l->keys[l->matched]) {
			if (++l->matched == l->n_keys) {
				l->r->detached = l->stop = true;
				return len;
			}
			continue;
		}
		for (int k = 0; k < l->matched; k++)
			out[len++] = l->keys[k];
		l->matched = l->n_keys && in[i] == l->keys[0];
		if (!l->matched)
			out[len++] = in[i];
	}
	return len;
}

static void send_packet(const struct relay *l, const char *data, size_t len)
{
	(void)!send(l->r->fd, data, len, MSG_NOSIGNAL);
}

static void flush_input(struct relay *l)
{
	ssize_t n;

	if (l->r->packets) {
		n = send(l->r->fd, l->packet, l->pending + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		l->pending = 0;
		return;
	}
	n = write(l->r->fd, l->packet + 1 + l->pending_at, l->pending);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	l->pending -= n < 0 ? l->pending : (size_t)n;
	l->pending_at += n < 0 ? 0 : (size_t)n;
}

static void on_input(struct relay *l)
{
	char buf[UM_SHIM_INPUT_MAX - KEYS_MAX];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		l->in_open = false;
		if (l->r->packets)
			send_packet(l, "c", 1);
		return;
	}
	l->packet[0] = 'i';
	l->pending_at = 0;
	l->pending = filter_keys(l, buf, (size_t)n, l->packet + 1);
	if (l->pending)
		flush_input(l);
}

static int on_packet(struct relay *l)
{
	static char packet[UM_SHIM_PACKET_MAX + 1];
	ssize_t n = recv(l->r->fd, packet, UM_SHIM_PACKET_MAX, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return -EPIPE;
	packet[n] = '\0';
	if (packet[0] == 'o')
		write_out(STDOUT_FILENO, packet + 1, (size_t)n - 1);
	else if (packet[0] == 'e')
		write_out(STDERR_FILENO, packet + 1, (size_t)n - 1);
	else if (packet[0] == 'x') {
		l->r->status = atoi(packet + 1);
		l->r->ended = l->stop = true;
	}
	return 0;
}

static void on_master(struct relay *l)
{
	char buf[8192];
	ssize_t n = read(l->r->fd, buf, sizeof(buf));

	if (n > 0)
		write_out(STDOUT_FILENO, buf, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR)) /* EIO: its last user has gone */
		l->r->ended = l->stop = true;
}

static void resize(const struct relay *l)
{
	struct winsize size = {0};
	char text[40];
	int n;

	ctr_terminal_size(&size.ws_row, &size.ws_col);
	if (!size.ws_row)
		return;
	if (!l->r->packets) {
		(void)ioctl(l->r->fd, TIOCSWINSZ, &size);
		return;
	}
	n = snprintf(text, sizeof(text), "w%u %u", size.ws_row, size.ws_col);
	send_packet(l, text, (size_t)n);
}

static void on_signal(struct relay *l)
{
	struct signalfd_siginfo si;
	struct ctr_live to = {.fd = l->r->shim};

	if (read(l->signals, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGWINCH) {
		if (l->r->tty)
			resize(l);
		return;
	}
	if (l->r->tty || l->r->shim < 0) { /* only this process is meant */
		put_back();
		signal((int)si.ssi_signo, SIG_DFL);
		{
			sigset_t set;

			sigemptyset(&set);
			sigaddset(&set, (int)si.ssi_signo);
			sigprocmask(SIG_UNBLOCK, &set, NULL);
		}
		raise((int)si.ssi_signo);
		_exit(128 + (int)si.ssi_signo);
	}
	if ((si.ssi_signo == SIGINT || si.ssi_signo == SIGTERM) && ++l->interrupts >= 3) {
		fputs("got 3 SIGTERM/SIGINTs, forcefully exiting\n", stderr);
		exit(1);
	}
	(void)ctr_live_signal(&to, (int)si.ssi_signo, false);
}

static int step(struct relay *l)
{
	struct pollfd p[4] = {
		{l->r->fd, (short)(POLLIN | (l->pending ? POLLOUT : 0)), 0},
		{l->signals, POLLIN, 0},
		{l->in_open && !l->pending ? STDIN_FILENO : -1, POLLIN, 0},
		{l->r->child, POLLIN, 0},
	};
	int r = 0;

	if (poll(p, 4, -1) < 0)
		return errno == EINTR ? 0 : -errno;
	if (p[1].revents)
		on_signal(l);
	if (p[0].revents & (POLLIN | POLLHUP | POLLERR)) {
		if (l->r->packets)
			r = on_packet(l);
		else
			on_master(l);
	}
	if (p[0].revents & POLLOUT && l->pending)
		flush_input(l);
	if (r == 0 && !l->stop && p[2].revents)
		on_input(l);
	/* The program has ended; what it wrote is read first. */
	if (p[3].revents && !(p[0].revents & POLLIN))
		l->r->ended = l->stop = true;
	return r;
}

int ctr_relay(struct ctr_relay *r, struct um_error *err)
{
	static const int caught[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
	struct relay l = {.r = r, .in_open = r->in};
	sigset_t set, before;
	int e = 0;

	l.n_keys = r->tty && r->in ? parse_keys(r->detach_keys, l.keys) : 0;
	sigemptyset(&set);
	for (size_t i = 0; i < UM_ARRAY_LEN(caught); i++)
		sigaddset(&set, caught[i]);
	sigprocmask(SIG_BLOCK, &set, &before);
	signal(SIGPIPE, SIG_IGN);
	l.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (!r->packets)
		fcntl(r->fd, F_SETFL, O_NONBLOCK);
	if (r->tty && r->in && isatty(STDIN_FILENO))
		make_raw();
	if (r->tty)
		resize(&l);
	while (!l.stop && e == 0)
		e = step(&l);
	put_back();
	if (r->detached && r->packets)
		send_packet(&l, "d", 1);
	close(l.signals);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return e < 0 ? um_error_set(err, e, "the container's shim has gone") : 0;
}
