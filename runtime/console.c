#include "runtime/console.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <termios.h>

#include "base/io.h"
#include "runtime/resolve.h"
#include "runtime/sys.h"

int um_console_connect(const char *path, int *ret, struct um_error *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	if (fd < 0)
		return um_error_errno(err, -errno, "socket");
	if (strlen(path) >= sizeof(a.sun_path))
		return um_error_errno(err, -ENAMETOOLONG, "socket %s", path);
	strcpy(a.sun_path, path);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return um_error_errno(err, -errno, "socket %s", path);
	*ret = TAKE_FD(fd);
	return 0;
}

int um_console_send_fd(int socket_fd, int fd, const char *text)
{
	struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	/* The descriptor goes with the first byte; a stream may take the rest in parts. */
	do {
		ssize_t n = sendmsg(socket_fd, &m, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		iov.iov_base = (char *)iov.iov_base + n;
		iov.iov_len -= (size_t)n;
		m.msg_control = NULL;
		m.msg_controllen = 0;
	} while (iov.iov_len);
	return 0;
}

int um_console_receive(int socket_fd, int *ret_master, struct um_error *err)
{
	char name[64];
	struct iovec iov = {name, sizeof(name)};
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(socket_fd, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

	if (n < 0)
		return um_error_errno(err, -errno, "receive the terminal");
	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
		return um_error_set(err, -EPROTO, "receive the terminal: none came");
	memcpy(ret_master, CMSG_DATA(c), sizeof(int));
	return 0;
}

int um_console_setup(int devpts_dir, const struct um_spec_process *p, int socket_fd, bool relayed,
		     int *ret_slave, struct um_error *err)
{
	struct termios modes;
	_cleanup_close_ int master = -1, slave = -1;
	struct winsize size = {.ws_row = (unsigned short)p->console_height,
			       .ws_col = (unsigned short)p->console_width};
	struct statfs fs;
	struct stat st;
	int zero = 0, r;

	/* before the open: whatever else is named so there, opening it may do something */
	if (fstatfs(devpts_dir, &fs) < 0 || fs.f_type != DEVPTS_SUPER_MAGIC)
		return um_error_set(err, -EXDEV, "/dev/pts is not a devpts");
	master = um_io_openat2(devpts_dir, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC, 0,
			       RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS);
	if (master < 0)
		return um_error_errno(err, master, "open /dev/pts/ptmx");
	if (fstatfs(master, &fs) < 0 || fs.f_type != DEVPTS_SUPER_MAGIC || fstat(master, &st) < 0 ||
	    !S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2))
		return um_error_set(err, -EXDEV, "/dev/pts/ptmx is not a terminal multiplexer");
	um_why("process.terminal: a new terminal of the container's devpts");
	if (um_sys_ioctl(master, TIOCSPTLCK, &zero) < 0)
		return um_error_errno(err, -errno, "unlock the terminal");
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return um_error_errno(err, -errno, "open the terminal");
	/* who reads us gets lines as the program wrote them: a terminal adds the return itself */
	if (relayed && tcgetattr(master, &modes) == 0) {
		um_why("the container's terminal leaves the ends of lines as they are");
		modes.c_oflag &= ~(tcflag_t)ONLCR;
		if (um_sys_tcsetattr(master, &modes) < 0)
			return um_error_errno(err, -errno, "the terminal's modes");
	}
	if ((size.ws_row || size.ws_col) && um_sys_ioctl(slave, TIOCSWINSZ, &size) < 0)
		return um_error_errno(err, -errno, "process.consoleSize");
	if (p->uid && um_sys_fchown(slave, p->uid, (gid_t)-1) < 0)
		return um_error_errno(err, -errno, "owner of the terminal");
	r = um_console_send_fd(socket_fd, master, "/dev/ptmx");
	if (r < 0)
		return um_error_errno(err, r, "send the terminal to the console socket");
	*ret_slave = TAKE_FD(slave);
	return 0;
}

int um_console_become(int slave, struct um_error *err)
{
	um_why("the terminal becomes the controlling one and the standard input, output and error");
	if (um_sys_ioctl(slave, TIOCSCTTY, NULL) < 0)
		return um_error_errno(err, -errno, "controlling terminal");
	for (int i = 0; i < 3; i++)
		if (um_sys_dup2(slave, i) < 0)
			return um_error_errno(err, -errno, "dup the terminal");
	return 0;
}

int um_console_send_pidfd(const char *path, const char *what, int pidfd, struct um_error *err)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (!path)
		return 0;
	r = um_console_connect(path, &fd, err);
	if (r < 0)
		return um_error_wrap(err, r, "%s", what);
	r = um_console_send_fd(fd, pidfd, "pidfd");
	return r < 0 ? um_error_errno(err, r, "%s: send to %s", what, path) : 0;
}

static int mount_console(struct um_rootfs *r, int slave, struct um_error *err)
{
	_cleanup_close_ int target = -1, mfd = -1, dev = -1;
	int e;

	um_why("/dev/console is the same terminal");
	dev = um_io_openat2(r->fd, "dev", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0,
			    RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
	if (dev < 0)
		return um_error_errno(err, dev, "open /dev");
	target = um_resolve_file(dev, "console", 0600);
	if (target < 0)
		return um_error_errno(err, target, "make /dev/console");
	mfd = um_sys_open_tree(slave, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (mfd < 0)
		return um_error_errno(err, -errno, "clone the terminal's mount");
	e = um_rootfs_attach(r, mfd, target);
	return e < 0 ? um_error_errno(err, e, "mount /dev/console") : 0;
}

int um_console_init(struct um_rootfs *r, const struct um_spec_process *p, int socket_fd,
		    bool relayed, struct um_error *err)
{
	_cleanup_close_ int slave = -1;
	_cleanup_close_ int pts = um_resolve(r->fd, "dev/pts");
	int e;

	if (pts < 0)
		return um_error_errno(err, pts, "process.terminal needs a devpts on /dev/pts");
	e = um_console_setup(pts, p, socket_fd, relayed, &slave, err);
	if (e >= 0)
		e = mount_console(r, slave, err);
	if (e >= 0)
		e = um_console_become(slave, err);
	return e;
}

static int pump(int from, int to)
{
	char buf[4096];
	ssize_t n = read(from, buf, sizeof(buf));

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	return um_io_write_all(to, buf, (size_t)n);
}

void um_console_drain(int master)
{
	struct pollfd p = {.fd = master, .events = POLLIN};

	while (poll(&p, 1, 0) > 0 && p.revents & POLLIN)
		if (pump(master, 1) < 0)
			return;
}

int um_console_relay(int master, int done_fd, struct um_error *err)
{
	struct pollfd p[3] = {{.fd = 0, .events = POLLIN},
			      {.fd = master, .events = POLLIN},
			      {.fd = done_fd, .events = POLLIN}};
	struct termios old, raw;
	struct winsize seen = {0}, now;
	bool tty = tcgetattr(0, &old) == 0;
	int r = 0;

	um_why("our terminal passes every key on to the container's");
	if (tty) {
		raw = old;
		cfmakeraw(&raw);
		raw.c_oflag |= old.c_oflag & OPOST;
		if (um_sys_tcsetattr(0, &raw) < 0)
			return um_error_errno(err, -errno, "raw terminal");
	}
	while (r >= 0) {
		if (tty && !ioctl(0, TIOCGWINSZ, &now) && memcmp(&now, &seen, sizeof(now))) {
			seen = now;
			um_why("the container's terminal is as large as ours");
			um_sys_ioctl(master, TIOCSWINSZ, &now);
		}
		if (poll(p, 3, 250) < 0 && errno != EINTR)
			break;
		if (p[1].revents)
			r = pump(master, 1);
		else if (p[2].revents)
			break;
		if (p[0].revents && pump(0, master) < 0)
			p[0].fd = -1;
	}
	um_why("our terminal as it was");
	if (tty)
		um_sys_tcsetattr(0, &old);
	return 0;
}
