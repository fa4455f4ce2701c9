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

static void init(struct shim_ctr *c)
{
	c->pidfd = c->stdin_fd = c->console_sock = c->log.fd = -1;
	c->out[0] = (struct shim_stream){-1, NULL, 0, "stdout"};
	c->out[1] = (struct shim_stream){-1, NULL, 0, "stderr"};
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
		if (c->state != SHIM_FREE && c->state != SHIM_EXITED)
			return true;
	}
	return false;
}

bool shim_ctr_any(void)
{
	FOR_EACH_CTR(c)
	{
		if (c->state != SHIM_FREE)
			return true;
	}
	return false;
}

void shim_ctr_client_gone(int client)
{
	FOR_EACH_CTR(c)
	{
		if (c->state != SHIM_FREE && c->start_client == client)
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

/* Runs umiak-oci as a child with these three descriptors. 0 or an errno. */
static int spawn_oci(struct shim_ctr *c, char *const argv[], const int fds[3])
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t set;
	int r;

	posix_spawn_file_actions_init(&fa);
	for (int i = 0; i < 3; i++)
		posix_spawn_file_actions_adddup2(&fa, fds[i], i);
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

static int spawn_helper(struct shim_ctr *c, const char *console, const struct child_stdio *io)
{
	char pid_file[600], err_file[600];
	char *argv[26];
	int n = 0;

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
	ARG(c->bundle);
	ARG("--pid-file");
	ARG(pid_file);
	if (console) {
		ARG("--console-socket");
		ARG(console);
	}
	ARG(c->id);
	ARG(NULL);
#undef ARG
	return spawn_oci(c, argv, io->fd);
}

/* `umiak-oci delete`: an id is taken until then. */
static int spawn_delete(struct shim_ctr *c)
{
	char *argv[8];
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), n = 0, r;
	const int fds[3] = {null, null, null};

#define ARG(s) (argv[n++] = (char *)(uintptr_t)(s))
	ARG(shim_opt.oci);
	ARG("--root");
	ARG(shim_opt.oci_root);
	ARG("delete");
	ARG("--force");
	ARG(c->id);
	ARG(NULL);
#undef ARG
	r = null < 0 ? errno : spawn_oci(c, argv, fds);
	um_close(null);
	return r;
}

static const char *run(struct shim_ctr *c)
{
	struct child_stdio io;
	char console[600];
	int r;

	c->told_end = false;
	if (make_stdio(c, c->tty, c->keep_stdin, &io) < 0 ||
	    (c->tty && listen_console(c, console, sizeof(console)) < 0)) {
		close_stdio(&io);
		return "start: cannot make pipes or the terminal's socket";
	}
	r = spawn_helper(c, c->tty ? console : NULL, &io);
	close_stdio(&io);
	if (r != 0)
		return "start: cannot run umiak-oci";
	c->state = SHIM_STARTING;
	return NULL;
}

static enum shim_restart restart_policy(const char *text)
{
	return !text			     ? SHIM_RESTART_NO
	       : !strcmp(text, "always")     ? SHIM_RESTART_ALWAYS
	       : !strcmp(text, "on-failure") ? SHIM_RESTART_ON_FAILURE
					     : SHIM_RESTART_NO;
}

const char *shim_ctr_start(const struct um_shim_msg *m, int client, long long seq)
{
	const char *name = um_shim_get(m, "name"), *id = um_shim_get(m, "id");
	const char *bundle = um_shim_get(m, "bundle"), *log = um_shim_get(m, "log");
	const char *why;
	struct shim_ctr *c = NULL;

	if (!valid_name(name, sizeof(c->name)) || !valid_name(id, sizeof(c->id)) || !bundle ||
	    strlen(bundle) >= sizeof(c->bundle) || !log || strlen(log) >= sizeof(c->log.path))
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
	init(c);
	snprintf(c->name, sizeof(c->name), "%s", name);
	snprintf(c->id, sizeof(c->id), "%s", id);
	c->attempt = (int)um_shim_num(m, "attempt", 0);
	c->start_seq = seq;
	c->start_client = client;
	c->log.dropped = 0;
	shim_log_open(&c->log, log);
	UM_FAULT("shim.start");
	strcpy(c->bundle, bundle);
	c->tty = um_shim_num(m, "tty", 0) != 0;
	c->keep_stdin = um_shim_num(m, "stdin", 0) != 0;
	c->restart = restart_policy(um_shim_get(m, "restart"));
	c->retries = (int)um_shim_num(m, "retries", 0);
	c->stopping = false;
	c->back_off_ns = 0;
	why = run(c);
	if (why)
		release(c);
	return why;
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
		    : c->state == SHIM_RUNNING	? "running"
						: "restarting");
	if (c->state != SHIM_STARTING && c->state != SHIM_RUNNING) {
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

/* ---- starting again ---- */

#define BACK_OFF_FIRST_NS INT64_C(100000000)
#define BACK_OFF_MOST_NS INT64_C(60000000000)
#define STEADY_NS INT64_C(10000000000) /* a run that long forgets earlier back-offs */

static void plan_restart(struct shim_ctr *c)
{
	bool failed = !WIFEXITED(c->status) || WEXITSTATUS(c->status);
	int64_t now = shim_mono_ns();

	if (c->stopping || c->restart == SHIM_RESTART_NO ||
	    (c->restart == SHIM_RESTART_ON_FAILURE &&
	     (!failed || (c->retries && c->attempt >= c->retries))))
		return;
	if (now - c->mono_start_ns >= STEADY_NS)
		c->back_off_ns = 0;
	c->back_off_ns = !c->back_off_ns			 ? BACK_OFF_FIRST_NS
			 : c->back_off_ns * 2 > BACK_OFF_MOST_NS ? BACK_OFF_MOST_NS
								 : c->back_off_ns * 2;
	c->restart_ns = now + c->back_off_ns;
	c->state = SHIM_WAITING;
}

void shim_ctr_no_restart(struct shim_ctr *c)
{
	c->stopping = true;
	if (c->state != SHIM_WAITING)
		return;
	c->state = SHIM_EXITED;
	tell(c);
}

static void try_again(struct shim_ctr *c, const char *what)
{
	(void)!write(STDERR_FILENO, what, strlen(what));
	c->state = SHIM_EXITED;
	c->status = 127 << 8;
	plan_restart(c);
	tell(c);
}

static void restart(struct shim_ctr *c)
{
	shim_attach_end(c->name, c->status);
	shim_stream_close(&c->log, &c->out[0]);
	shim_stream_close(&c->log, &c->out[1]);
	c->state = SHIM_RESETTING;
	c->start_client = -1;
	if (spawn_delete(c) != 0)
		try_again(c, "cannot run umiak-oci\n");
}

/* The earlier run's remains are gone. */
static void reset_done(struct shim_ctr *c)
{
	char path[600];
	const char *why;

	if (c->stopping) {
		c->state = SHIM_EXITED;
		tell(c);
		return;
	}
	snprintf(path, sizeof(path), "%s/%s.%d.exit", shim_opt.dir, c->name, c->attempt);
	(void)unlink(path);
	c->attempt++;
	c->mono_start_ns = shim_mono_ns();
	why = run(c);
	if (why)
		try_again(c, why);
}

int shim_ctr_timers(void)
{
	int64_t now = shim_mono_ns(), next = -1;

	FOR_EACH_CTR(c)
	{
		if (c->state == SHIM_WAITING && c->restart_ns <= now)
			restart(c);
		if (c->state == SHIM_WAITING && (next < 0 || c->restart_ns - now < next))
			next = c->restart_ns - now;
	}
	return next < 0 ? -1 : (int)(next / 1000000 + 1);
}

static bool drained(const struct shim_ctr *c)
{
	for (int i = 0; i < 2; i++) {
		int left = 0;

		if (c->out[i].fd >= 0 &&
		    (c->tty || ioctl(c->out[i].fd, FIONREAD, &left) < 0 || left))
			return false;
	}
	return true;
}

void shim_ctr_tell_ends(void)
{
	FOR_EACH_CTR(c)
	{
		if ((c->state != SHIM_EXITED && c->state != SHIM_WAITING) || c->told_end ||
		    !drained(c))
			continue;
		c->told_end = true;
		shim_attach_end(c->name, c->status);
	}
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
	/* What it wrote last, up to the end of a line that has none; bounded. */
	for (int i = 0; i < 2 && !shim_attach_any(c->name); i++)
		for (int turns = 0; c->out[i].fd >= 0 && turns < 64; turns++)
			if (!shim_log_pump(&c->log, &c->out[i], c->name))
				break;
	UM_FAULT("shim.before-exit-record");
	write_exit_record(c);
	UM_FAULT("shim.after-exit-record");
	plan_restart(c);
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
	if (c->attempt && c->restart != SHIM_RESTART_NO) {
		c->started_ns = c->finished_ns = shim_wall_ns();
		try_again(c, text);
		return;
	}
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
	c->mono_start_ns = shim_mono_ns();
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
		if (c->state == SHIM_RESETTING && c->helper == pid) {
			c->helper = 0;
			reset_done(c);
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
		if (c->state == SHIM_STARTING || c->state == SHIM_RESETTING)
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
		if ((c->state == SHIM_STARTING || c->state == SHIM_RESETTING) &&
		    waitpid(c->helper, &status, WNOHANG) == c->helper)
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
