/* Runs a program and prints the most memory that was resident in it, in KB: `peak OUT PROGRAM
 * [ARG...]`. Small and static itself, as a child's figure is never below its parent's at the
 * moment of vfork (getrusage(2), ru_maxrss). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct rusage usage;
	int status, fd;
	pid_t pid;

	if (argc < 3)
		return 2;
	fd = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	pid = vfork();
	if (pid == 0) {
		execv(argv[2], argv + 2);
		_exit(127);
	}
	if (fd < 0 || pid < 0 || wait4(pid, &status, 0, &usage) < 0)
		return 126;
	dprintf(fd, "%ld\n", usage.ru_maxrss);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}
