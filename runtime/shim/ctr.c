/* Containers of the pod: started by a short-lived umiak-oci as this process's children, reaped
 * here, their exits recorded before anybody is told. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "runtime/shim/shim.h"

struct shim_ctr shim_ctrs[SHIM_CONTAINERS_MAX];

#define FOR_EACH_CTR(c)                                                                            \
	for (struct shim_ctr *c = shim_ctrs; c < shim_ctrs + SHIM_CONTAINERS_MAX; c++)

void shim_ctr_init(void)
{
	FOR_EACH_CTR(c)
	{
		c->pidfd = c->stdin_fd = c->console_sock = c->log.fd = -1;
		c->out[0] = (struct shim_stream){-1, NULL, 0, "stdout"};
		c->out[1] = (struct shim_stream){-1, NULL, 0, "stderr"};
	}
}

struct shim_ctr *shim_ctr_find(const char *name)
{
	if (!name)
		return NULL;
	FOR_EACH_CTR(c)
	{
		if (c->state != SHIM_FREE && !strcmp(c->name, name))
			return c;
	}
	return NULL;
}

bool shim_ctr_any_alive(void)
{
	FOR_EACH_CTR(c)
	{
		if (c->state == SHIM_STARTING || c->state == SHIM_RUNNING)
			return true;
	}
	return false;
}

void shim_ctr_client_gone(int client)
{
	FOR_EACH_CTR(c)
	{
		if (c->start_client == client)
			c->start_client = -1;
	}
}

static void side_path(const struct shim_ctr *c, const char *suffix, char *buf, size_t size)
{
	snprintf(buf, size, "%s/%s.%s", shim_opt.dir, c->name, suffix);
}

static void release(struct shim_ctr *c)
{
	shim_stream_close(&c->log, &c->out[0]);
	shim_stream_close(&c->log, &c->out[1]);
	shim_log_close(&c->log);
	c->pidfd = um_close(c->pidfd);
	c->stdin_fd = um_close(c->stdin_fd);
	c->console_sock = um_close(c->console_sock);
	c->state = SHIM_FREE;
	c->pid = c->helper = 0;
}

/* ---- starting ---- */

static bool valid_name(const char *s, size_t max)
{
	size_t len = s ? strlen(s) : 0;

	return len && len < max && !strchr(s, '/') && s[0] != '.';
}

static int listen_console(struct shim_ctr *c, char *path, size_t size)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	side_path(c, "tty", path, size);
	if (strlen(path) >= sizeof(addr.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(addr.sun_path, path);
	(void)unlink(path);
	c->console_sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->console_sock < 0)
		return -1;
	return bind(c->console_sock, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
			       listen(c->console_sock, 1) < 0
		       ? -1
		       : 0;
}

/* The helper's stdin, stdout and stderr, which the container inherits. */
struct child_stdio {
	int fd[3];
};

static void close_stdio(struct child_stdio *io)
{
	for (int i = 0; i < 3; i++)
		io->fd[i] = um_close(io->fd[i]);
}

static int make_pipe(int *ours, int *theirs, bool we_read)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return -1;
	*ours = we_read ? p[0] : p[1];
	*theirs = we_read ? p[1] : p[0];
	return fcntl(*ours, F_SETFL, O_NONBLOCK);
}

static int make_stdio(struct shim_ctr *c, bool tty, bool keep_stdin, struct child_stdio *io)
{
	int r = 0;

	for (int i = 0; i < 3; i++)
		io->fd[i] = -1;
	if (keep_stdin && !tty)
		r = make_pipe(&c->stdin_fd, &io->fd[0], false);
	else
		io->fd[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 1; i < 3 && r == 0; i++) {
		if (tty)
			io->fd[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
		else
			r = make_pipe(&c->out[i - 1].fd, &io->fd[i], true);
	}
	return r == 0 && io->fd[0] >= 0 && io->fd[1] >= 0 && io->fd[2] >= 0 ? 0 : -1;
}

static int spawn_helper(struct shim_ctr *c, const char *bundle, const char *console,
			const struct child_stdio *io)
{
	char pid_file[600], err_file[600];
	char *argv[26];
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t set;
	int n = 0, r;

	side_path(c, "pid", pid_file, sizeof(pid_file));
	side_path(c, "err", err_file, sizeof(err_file));
	(void)unlink(pid_file);
	(void)unlink(err_file);
#define ARG(s) (argv[n++] = (char *)(uintptr_t)(s))
	ARG(shim_opt.oci);
	ARG("--root");
	ARG(shim_opt.oci_root);
	ARG("--log");
	ARG(err_file);
	ARG("--log-format");
	ARG("json");
	ARG("run");
	ARG("--detach");
	ARG("--as-sibling");
	ARG("--bundle");
	ARG(bundle);
	ARG("--pid-file");
	ARG(pid_file);
	if (console) {
		ARG("--console-socket");
		ARG(console);
	}
	ARG(c->id);
	ARG(NULL);
#undef ARG
	posix_spawn_file_actions_init(&fa);
	for (int i = 0; i < 3; i++)
		posix_spawn_file_actions_adddup2(&fa, io->fd[i], i);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	sigemptyset(&set);
	posix_spawnattr_setsigmask(&attr, &set);
	sigfillset(&set);
	posix_spawnattr_setsigdefault(&attr, &set);
	r = posix_spawn(&c->helper, shim_opt.oci, &fa, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	return r;
}

const char *shim_ctr_start(const struct um_shim_msg *m, int client, long long seq)
{
	const char *name = um_shim_get(m, "name"), *id = um_shim_get(m, "id");
	const char *bundle = um_shim_get(m, "bundle"), *log = um_shim_get(m, "log");
	bool tty = um_shim_num(m, "tty", 0) != 0;
	struct child_stdio io;
	struct shim_ctr *c = NULL;
	char console[600];
	int r;

	if (!valid_name(name, sizeof(c->name)) || !valid_name(id, sizeof(c->id)) || !bundle ||
	    !log || strlen(log) >= sizeof(c->log.path))
		return "start: name, id, bundle or log is missing or not valid";
	if (shim_ctr_find(name))
		return "start: a container of that name is there; forget it first";
	FOR_EACH_CTR(it)
	{
		if (it->state == SHIM_FREE) {
			c = it;
			break;
		}
	}
	if (!c)
		return "start: too many containers in this pod";
	snprintf(c->name, sizeof(c->name), "%s", name);
	snprintf(c->id, sizeof(c->id), "%s", id);
	c->attempt = (int)um_shim_num(m, "attempt", 0);
	c->start_seq = seq;
	c->start_client = client;
	c->log.dropped = 0;
	shim_log_open(&c->log, log);
	UM_FAULT("shim.start");
	if (make_stdio(c, tty, um_shim_num(m, "stdin", 0) != 0, &io) < 0 ||
	    (tty && listen_console(c, console, sizeof(console)) < 0)) {
		close_stdio(&io);
		release(c);
		return "start: cannot make pipes or the terminal's socket";
	}
	r = spawn_helper(c, bundle, tty ? console : NULL, &io);
	close_stdio(&io);
	if (r != 0) {
		release(c);
		return "start: cannot run umiak-oci";
	}
	c->state = SHIM_STARTING;
	return NULL;
}

void shim_ctr_console(struct shim_ctr *c)
{
	char control[CMSG_SPACE(sizeof(int))], byte[64], path[600];
	struct iovec iov = {byte, sizeof(byte)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	_cleanup_close_ int conn = accept4(c->console_sock, NULL, NULL, SOCK_CLOEXEC);
	struct cmsghdr *cm;

	if (conn < 0)
		return;
	if (recvmsg(conn, &msg, MSG_CMSG_CLOEXEC) >= 0 && (cm = CMSG_FIRSTHDR(&msg)) &&
	    cm->cmsg_level == SOL_SOCKET && cm->cmsg_type == SCM_RIGHTS &&
	    cm->cmsg_len == CMSG_LEN(sizeof(int))) {
		memcpy(&c->out[0].fd, CMSG_DATA(cm), sizeof(int));
		fcntl(c->out[0].fd, F_SETFL, O_NONBLOCK);
	}
	c->console_sock = um_close(c->console_sock);
	side_path(c, "tty", path, sizeof(path));
	(void)unlink(path);
}

/* ---- what became of it ---- */

void shim_ctr_describe(const struct shim_ctr *c, struct um_shim_msg *m)
{
	um_shim_begin(m, "container");
	um_shim_add(m, "name", c->name);
	um_shim_add(m, "id", c->id);
	um_shim_add_num(m, "attempt", c->attempt);
	um_shim_add_num(m, "pid", c->pid);
	um_shim_add_num(m, "started", c->started_ns);
	um_shim_add(m, "state",
		    c->state == SHIM_EXITED	? "exited"
		    : c->state == SHIM_STARTING ? "starting"
						: "running");
	if (c->state == SHIM_EXITED) {
		um_shim_add_num(m, "finished", c->finished_ns);
		um_shim_add_num(m, "status", c->status);
	}
}

static void tell(const struct shim_ctr *c)
{
	struct um_shim_msg m;

	shim_ctr_describe(c, &m);
	shim_broadcast(&m);
}

static ssize_t read_small(const char *path, char *buf, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	buf[n > 0 ? n : 0] = '\0';
	return n;
}

static void write_exit_record(const struct shim_ctr *c)
{
	char tmp[600], path[600], text[64];
	int n = snprintf(text, sizeof(text), "%d %lld\n", c->status, (long long)c->finished_ns);
	int fd;

	snprintf(tmp, sizeof(tmp), "%s/.%s.exit", shim_opt.dir, c->name);
	snprintf(path, sizeof(path), "%s/%s.%d.exit", shim_opt.dir, c->name, c->attempt);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return; /* the folder is full or gone: whoever asks is still told */
	if (write(fd, text, (size_t)n) == n)
		(void)!rename(tmp, path);
	else
		(void)unlink(tmp);
	close(fd);
}

static void exited(struct shim_ctr *c, int status)
{
	c->status = status;
	c->finished_ns = shim_wall_ns();
	c->state = SHIM_EXITED;
	c->pidfd = um_close(c->pidfd);
	c->stdin_fd = um_close(c->stdin_fd);
	for (int i = 0; i < 2; i++) /* what it wrote last; a bounded number of turns */
		for (int turns = 0; c->out[i].fd >= 0 && turns < 64; turns++) {
			int before = c->out[i].fd;
			int left = 0;

			shim_log_pump(&c->log, &c->out[i]);
			if (c->out[i].fd == before && (ioctl(before, FIONREAD, &left) < 0 || !left))
				break;
		}
	UM_FAULT("shim.before-exit-record");
	write_exit_record(c);
	UM_FAULT("shim.after-exit-record");
	tell(c);
}

/* Of a JSON log line only the value of "msg" is of interest, with its quotes undone. */
static void unwrap_message(char *text)
{
	char *from = strstr(text, "\"msg\":\""), *to = text;

	if (!from)
		return;
	for (from += 7; *from && *from != '"'; from++) {
		if (*from == '\\' && from[1])
			from++;
		*to++ = *from;
	}
	*to = '\0';
}

static void start_failed(struct shim_ctr *c, int status)
{
	char path[600], text[600];
	struct um_shim_msg m;
	char *nl;

	side_path(c, "err", path, sizeof(path));
	if (read_small(path, text, sizeof(text)) <= 0)
		snprintf(text, sizeof(text), "umiak-oci ended with wait status %d and no message",
			 status);
	(void)unlink(path);
	nl = strchr(text, '\n');
	if (nl)
		*nl = '\0';
	unwrap_message(text);
	um_shim_begin(&m, "error");
	um_shim_add_num(&m, "seq", c->start_seq);
	um_shim_add_num(&m, "errno", EIO);
	um_shim_add(&m, "name", c->name);
	um_shim_add(&m, "message", text);
	shim_send(c->start_client, &m);
	release(c);
}

static void started(struct shim_ctr *c)
{
	struct um_shim_msg m;
	char path[600], text[32];

	side_path(c, "pid", path, sizeof(path));
	c->pid = read_small(path, text, sizeof(text)) > 0 ? atoi(text) : 0;
	(void)unlink(path);
	if (c->pid <= 1) {
		c->pid = 0;
		start_failed(c, 0);
		return;
	}
	side_path(c, "err", path, sizeof(path));
	(void)unlink(path);
	c->state = SHIM_RUNNING;
	c->started_ns = shim_wall_ns();
	c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	UM_FAULT("shim.started");
	um_shim_begin(&m, "ok");
	um_shim_add_num(&m, "seq", c->start_seq);
	um_shim_add_num(&m, "pid", c->pid);
	um_shim_add_num(&m, "started", c->started_ns);
	shim_send(c->start_client, &m);
	tell(c);
}

static void on_child(pid_t pid, int status)
{
	FOR_EACH_CTR(c)
	{
		if (c->state == SHIM_STARTING && c->helper == pid) {
			c->helper = 0;
			if (WIFEXITED(status) && !WEXITSTATUS(status))
				started(c);
			else
				start_failed(c, status);
			return;
		}
		if (c->state == SHIM_RUNNING && c->pid == pid) {
			exited(c, status);
			return;
		}
	}
}

static bool any_starting(void)
{
	FOR_EACH_CTR(c)
	{
		if (c->state == SHIM_STARTING)
			return true;
	}
	return false;
}

void shim_ctr_reap(void)
{
	int status;
	pid_t pid;

	/* While a helper runs, a child that nobody knows may be the container it is making: leave
	 * it until the helper has told its number. */
	FOR_EACH_CTR(c)
	{
		if (c->state == SHIM_STARTING && waitpid(c->helper, &status, WNOHANG) == c->helper)
			on_child(c->helper, status);
		if (c->state == SHIM_RUNNING && waitpid(c->pid, &status, WNOHANG) == c->pid)
			on_child(c->pid, status);
	}
	while (!any_starting() && (pid = waitpid(-1, &status, WNOHANG)) > 0)
		on_child(pid, status);
}

int shim_ctr_signal(struct shim_ctr *c, int number)
{
	if (c->state != SHIM_RUNNING)
		return -ESRCH;
	if (c->pidfd >= 0)
		return syscall(SYS_pidfd_send_signal, c->pidfd, number, NULL, 0) < 0 ? -errno : 0;
	return kill(c->pid, number) < 0 ? -errno : 0;
}

void shim_ctr_forget(struct shim_ctr *c)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/%s.%d.exit", shim_opt.dir, c->name, c->attempt);
	(void)unlink(path);
	release(c);
}
