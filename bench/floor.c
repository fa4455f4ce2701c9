/* The kernel's own floor for a container: clone3 into mount, pid, net, ipc, uts and cgroup
 * namespaces, a procfs, a tmpfs, pivot_root, execve, wait. usage: floor ROOTFS PROGRAM */
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int child(const char *rootfs, char *program)
{
	char *args[] = {program, NULL}, *env[] = {NULL};

	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0 ||
	    mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL) < 0 || chdir(rootfs) < 0 ||
	    mount("proc", "proc", "proc", 0, NULL) < 0 ||
	    mount("tmpfs", "dev", "tmpfs", 0, "mode=755") < 0 ||
	    syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return 126;
	execve(program, args, env);
	return 127;
}

int main(int argc, char **argv)
{
	struct clone_args args = {.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |
					   CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP,
				  .exit_signal = SIGCHLD};
	int status;
	long pid;

	if (argc != 3)
		return 2;
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		_exit(child(argv[1], argv[2]));
	if (pid < 0 || waitpid((pid_t)pid, &status, 0) < 0)
		return 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
