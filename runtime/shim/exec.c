/* One more program in a running container, by `umiak-oci exec`. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/io.h"
#include "base/vec.h"
#include "runtime/shim/client.h"

#define TERMINAL_MS 30000

extern char **environ;

static void side_path(const struct um_exec *e, const char *suffix, char *buf, size_t size)
{
	snprintf(buf, size, "%s/x%d.%s", e->dir, getpid(), suffix);
}

static int listen_console(const char *path, struct um_error *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(addr.sun_path))
		return um_error_errno(err, -ENAMETOOLONG, "%s", path);
	strcpy(addr.sun_path, path);
	(void)unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 1) < 0)
		return um_error_errno(err, -errno, "listen on %s", path);
	return TAKE_FD(fd);
}

/* The terminal's master, or -1: the program came to its end first. */
static int receive_master(int listen_fd, pid_t child)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	struct pollfd p[2] = {{listen_fd, POLLIN, 0}, {pidfd, POLLIN, 0}};
	char control[CMSG_SPACE(sizeof(int))], bytes[64];
	struct iovec iov = {bytes, sizeof(bytes)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	_cleanup_close_ int conn = -1;
	struct cmsghdr *cm;
	int fd = -1;

	while (poll(p, 2, TERMINAL_MS) < 0 && errno == EINTR)
		;
	if (!(p[0].revents & POLLIN))
		return -1;
	conn = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (conn >= 0 && recvmsg(conn, &msg, MSG_CMSG_CLOEXEC) >= 0 && (cm = CMSG_FIRSTHDR(&msg)) &&
	    cm->cmsg_type == SCM_RIGHTS && cm->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(cm), sizeof(int));
	return fd;
}

typedef UM_VEC(char *) arg_vec;

static void arg_vec_release(arg_vec *v)
{
	um_vec_release(v);
}

static int arg(arg_vec *v, const char *text)
{
	return um_vec_push(v, (char *)(uintptr_t)text);
}

static int pair(arg_vec *v, const char *option, const char *value)
{
	int r = arg(v, option);

	return r < 0 ? r : arg(v, value);
}

static int make_args(const struct um_exec *e, arg_vec *v, const char *log, const char *console,
		     char (*gids)[12])
{
	int r = arg(v, e->oci);

	r = r < 0 ? r : pair(v, "--root", e->oci_root);
	r = r < 0 ? r : pair(v, "--log", log);
	r = r < 0 ? r : pair(v, "--log-format", "text");
	r = r < 0 ? r : arg(v, "exec");
	if (e->tty && r == 0)
		r = arg(v, "--tty");
	if (e->tty && r == 0)
		r = pair(v, "--console-socket", console);
	if (e->detach && r == 0)
		r = arg(v, "--detach");
	if (e->cwd && r == 0)
		r = pair(v, "--cwd", e->cwd);
	if (e->user && r == 0)
		r = pair(v, "--user", e->user);
	for (size_t i = 0; i < e->n_gids && r == 0; i++) {
		snprintf(gids[i], sizeof(gids[i]), "%u", e->gids[i]);
		r = pair(v, "--additional-gids", gids[i]);
	}
	for (size_t i = 0; i < e->n_env && r == 0; i++)
		r = pair(v, "--env", e->env[i]);
	for (size_t i = 0; i < e->n_caps && r == 0; i++)
		r = pair(v, "--cap", e->caps[i]);
	if (r == 0)
		r = arg(v, e->id);
	for (char *const *a = e->args; *a && r == 0; a++)
		r = arg(v, *a);
	return r < 0 ? r : arg(v, NULL);
}

static int spawn(const struct um_exec *e, char *const argv[], pid_t *ret)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t set;
	int r;

	posix_spawn_file_actions_init(&fa);
	for (int i = 0; i < 3; i++) {
		if (e->tty || e->fds[i] < 0)
			posix_spawn_file_actions_addopen(&fa, i, "/dev/null", O_RDWR, 0);
		else
			posix_spawn_file_actions_adddup2(&fa, e->fds[i], i);
	}
	posix_spawnattr_init(&attr);
	/* With a terminal of its own it does not belong to the caller's, whose end is not its. */
	posix_spawnattr_setflags(&attr, (short)(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						(e->tty ? POSIX_SPAWN_SETSID : 0)));
	sigemptyset(&set);
	posix_spawnattr_setsigmask(&attr, &set);
	sigfillset(&set);
	posix_spawnattr_setsigdefault(&attr, &set);
	r = posix_spawn(ret, e->oci, &fa, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	return -r;
}

int um_exec_start(struct um_exec *e, struct um_error *err)
{
	_cleanup_(arg_vec_release) arg_vec v = UM_VEC_INIT;
	_cleanup_close_ int console = -1;
	_cleanup_free_ char(*gids)[12] = calloc(e->n_gids + 1, sizeof(*gids));
	char log[4096], path[4096];
	int r;

	e->master = -1;
	side_path(e, "log", log, sizeof(log));
	side_path(e, "tty", path, sizeof(path));
	(void)unlink(log);
	if (e->tty) {
		console = listen_console(path, err);
		if (console < 0)
			return console;
	}
	r = gids ? make_args(e, &v, log, path, gids) : -ENOMEM;
	if (r == 0)
		r = spawn(e, v.items, &e->pid);
	if (r == 0 && e->tty)
		e->master = receive_master(console, e->pid);
	if (e->tty)
		(void)unlink(path);
	return r < 0 ? um_error_errno(err, r, "run %s", e->oci) : 0;
}

bool um_exec_refused(const struct um_exec *e, char *message, size_t size)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 16);
	const char *from, *to;
	char path[4096];

	side_path(e, "log", path, sizeof(path));
	*message = '\0';
	if (um_io_read_file(AT_FDCWD, path, &b, NULL) < 0)
		return false;
	(void)unlink(path);
	from = strstr(um_buf_str(&b), "level=error msg=\"");
	if (!from)
		return false;
	from += strlen("level=error msg=\"");
	for (to = from; *to && *to != '\n' && size > 1; to++) {
		if (*to == '"')
			break;
		if (*to == '\\' && to[1])
			to++;
		*message++ = *to;
		size--;
	}
	*message = '\0';
	return true;
}
