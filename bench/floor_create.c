/* The kernel's own floor for a container in three process starts, with what podman's default
 * configuration asks for (bench/oci-create has it): clone3 into mount, pid, net, ipc, uts and
 * cgroup namespaces, five file systems, device nodes, masked and read-only paths, a sysctl,
 * loopback up, capabilities, a compiled seccomp program, execve; kill and wait. floor_create create
 * STATE ROOTFS FILTER PROGRAM [ARG...] floor_create start STATE floor_create delete STATE */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(call)                                                                                \
	do {                                                                                       \
		if ((call) < 0) {                                                                  \
			perror(#call);                                                             \
			_exit(126);                                                                \
		}                                                                                  \
	} while (0)

static const char *const masked[] = {"proc/acpi",	   "proc/kcore",      "proc/keys",
				     "proc/latency_stats", "proc/timer_list", "proc/timer_stats",
				     "proc/sched_debug",   "proc/scsi",	      "sys/firmware",
				     "sys/fs/selinux",	   "sys/dev/block",   NULL};
static const char *const read_only[] = {"proc/asound", "proc/bus",	     "proc/fs", "proc/irq",
					"proc/sys",    "proc/sysrq-trigger", NULL};
static const struct {
	const char *path;
	unsigned minor, major;
} nodes[] = {{"dev/null", 3, 1},   {"dev/zero", 5, 1},	  {"dev/full", 7, 1},
	     {"dev/random", 8, 1}, {"dev/urandom", 9, 1}, {"dev/tty", 0, 5}};
static const struct {
	const char *target, *path;
} links[] = {{"/proc/self/fd", "dev/fd"},
	     {"/proc/self/fd/0", "dev/stdin"},
	     {"/proc/self/fd/1", "dev/stdout"},
	     {"/proc/self/fd/2", "dev/stderr"},
	     {"pts/ptmx", "dev/ptmx"}};
/* CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT SETFCAP
 */
static const unsigned kept[] = {0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 31};

static void mounts(const char *rootfs)
{
	unsigned long safe = MS_NOSUID | MS_NOEXEC;

	CHECK(mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL));
	CHECK(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL));
	CHECK(chdir(rootfs));
	CHECK(mount("proc", "proc", "proc", safe | MS_NODEV, NULL));
	CHECK(mount("tmpfs", "dev", "tmpfs", safe | MS_STRICTATIME, "mode=755,size=65536k"));
	CHECK(mount("sysfs", "sys", "sysfs", safe | MS_NODEV | MS_RDONLY, NULL));
	CHECK(mkdir("dev/pts", 0755));
	CHECK(mount("devpts", "dev/pts", "devpts", safe,
		    "newinstance,ptmxmode=0666,mode=0620,gid=5"));
	CHECK(mkdir("dev/mqueue", 0755));
	CHECK(mount("mqueue", "dev/mqueue", "mqueue", safe | MS_NODEV, NULL));
	for (size_t i = 0; i < sizeof(nodes) / sizeof(*nodes); i++)
		CHECK(mknod(nodes[i].path, S_IFCHR | 0666,
			    makedev(nodes[i].major, nodes[i].minor)));
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++)
		CHECK(symlink(links[i].target, links[i].path));
}

static void mask(void)
{
	struct stat st;

	for (const char *const *p = masked; *p; p++) {
		if (stat(*p, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			CHECK(mount("tmpfs", *p, "tmpfs", MS_RDONLY, "size=0k"));
		else
			CHECK(mount("dev/null", *p, NULL, MS_BIND, NULL));
	}
	for (const char *const *p = read_only; *p; p++) {
		if (stat(*p, &st) < 0)
			continue;
		CHECK(mount(*p, *p, NULL, MS_BIND | MS_REC, NULL));
		CHECK(mount(NULL, *p, NULL,
			    MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV,
			    NULL));
	}
}

static void network(void)
{
	struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	CHECK(ioctl(fd, SIOCSIFFLAGS, &ifr));
	close(fd);
	CHECK(fd = open("proc/sys/net/ipv4/ping_group_range", O_WRONLY | O_CLOEXEC));
	CHECK(write(fd, "0 0", 3));
	close(fd);
}

static void privileges(const struct sock_fprog *filter)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {0};

	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		data[0].effective |= 1U << kept[i];
	data[0].permitted = data[0].effective;
	for (unsigned cap = 0; cap <= 40; cap++)
		if (cap > 31 || !(data[0].effective & 1U << cap))
			CHECK(prctl(PR_CAPBSET_DROP, cap, 0, 0, 0));
	CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, filter));
	CHECK(syscall(SYS_capset, &head, data));
}

static _Noreturn void child(char **argv, const struct sock_fprog *filter, int ready, int fifo_dir)
{
	char *env[] = {(char[]){"PATH=/usr/bin:/bin"}, NULL};
	int fifo;

	mounts(argv[3]);
	network();
	mask();
	CHECK(sethostname("bench", 5));
	CHECK(syscall(SYS_pivot_root, ".", "."));
	CHECK(umount2(".", MNT_DETACH));
	CHECK(chdir("/"));
	CHECK(setsid());
	CHECK(write(ready, "", 1));
	CHECK(fifo = openat(fifo_dir, "fifo", O_WRONLY | O_CLOEXEC));
	CHECK(write(fifo, "", 1));
	privileges(filter);
	execve(argv[5], argv + 5, env);
	_exit(127);
}

static int create(char **argv)
{
	static struct sock_filter insns[BPF_MAXINSNS];
	struct clone_args args = {.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |
					   CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP,
				  .exit_signal = SIGCHLD};
	struct sock_fprog filter = {.filter = insns};
	int fd = open(argv[4], O_RDONLY | O_CLOEXEC), dir, ready[2];
	ssize_t n;
	long pid;
	char c;

	CHECK(n = read(fd, insns, sizeof(insns)));
	close(fd);
	filter.len = (unsigned short)((size_t)n / sizeof(*insns));
	CHECK(mkdir(argv[2], 0700));
	CHECK(dir = open(argv[2], O_DIRECTORY | O_CLOEXEC));
	CHECK(mkfifoat(dir, "fifo", 0600));
	CHECK(pipe2(ready, O_CLOEXEC));
	pid = syscall(SYS_clone3, &args, sizeof(args));
	CHECK(pid);
	if (pid == 0)
		child(argv, &filter, ready[1], dir);
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1)
		return 1;
	CHECK(fd = openat(dir, "pid", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	return dprintf(fd, "%ld", pid) > 0 ? 0 : 1;
}

static int start(char **argv)
{
	int fd;
	char c;

	CHECK(chdir(argv[2]));
	CHECK(fd = open("fifo", O_RDONLY | O_CLOEXEC));
	return read(fd, &c, 1) == 1 && unlink("fifo") == 0 ? 0 : 1;
}

static int delete (char **argv)
{
	char text[32] = "";
	struct pollfd pfd = {.events = POLLIN};
	int fd;

	CHECK(chdir(argv[2]));
	CHECK(fd = open("pid", O_RDONLY | O_CLOEXEC));
	CHECK(read(fd, text, sizeof(text) - 1));
	CHECK(pfd.fd = (int)syscall(SYS_pidfd_open, atoi(text), 0));
	CHECK(syscall(SYS_pidfd_send_signal, pfd.fd, SIGKILL, NULL, 0));
	CHECK(poll(&pfd, 1, -1));
	CHECK(unlink("pid"));
	CHECK(chdir("/"));
	return rmdir(argv[2]) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc >= 6 && !strcmp(argv[1], "create"))
		return create(argv);
	if (argc == 3 && !strcmp(argv[1], "start"))
		return start(argv);
	if (argc == 3 && !strcmp(argv[1], "delete"))
		return delete (argv);
	return 2;
}
