/* ps: ids of processes, or what the host's ps(1) says of them. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/num.h"
#include "runtime/cli/cli.h"
#include "runtime/sys.h"

/* The index of the column "PID" in a table's head, -1: none. */
static int pid_column(const char *head)
{
	int n = 0;

	for (const char *p = head + strspn(head, " "); *p; n++) {
		size_t len = strcspn(p, " \n");

		if (len == 3 && !strncmp(p, "PID", 3))
			return n;
		p += len;
		p += strspn(p, " \n");
	}
	return -1;
}

static bool line_is_of(const char *line, int column, const pid_t *pids, size_t n)
{
	const char *p = line + strspn(line, " ");
	uint64_t pid;

	for (int i = 0; i < column; i++) {
		p += strcspn(p, " \n");
		p += strspn(p, " ");
	}
	if (um_num_u64n(p, strcspn(p, " \n"), INT32_MAX, &pid) < 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (pids[i] == (pid_t)pid)
			return true;
	return false;
}

static int filter(FILE *f, const pid_t *pids, size_t n, struct um_error *err)
{
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	int column = -1;

	if (getline(&line, &size, f) > 0)
		column = pid_column(line);
	if (column < 0)
		return um_error_set(err, -EINVAL, "ps: its table has no column PID");
	fputs(line, stdout);
	while (getline(&line, &size, f) > 0)
		if (line_is_of(line, column, pids, n))
			fputs(line, stdout);
	return fflush(stdout) ? -EIO : 0;
}

/* Runs ps(1) of the host with the caller's arguments and keeps the lines of these processes. */
static int host_ps(char **args, const pid_t *pids, size_t n, struct um_error *err)
{
	_cleanup_fclose_ FILE *f = NULL;
	int fds[2], status, r;
	pid_t pid;

	if (pipe(fds) < 0)
		return um_error_errno(err, -errno, "pipe");
	pid = um_sys_fork();
	if (pid == 0) {
		um_sys_dup2(fds[1], 1);
		close(fds[0]);
		close(fds[1]);
		args[-1] = (char *)(uintptr_t) "ps";
		um_sys_execvp("ps", args - 1);
		_exit(127);
	}
	close(fds[1]);
	f = fdopen(fds[0], "r");
	if (pid < 0 || !f)
		return um_error_errno(err, -errno, "start ps");
	r = filter(f, pids, n, err);
	while (fgetc(f) != EOF)
		;
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
		return um_error_set(err, -EINVAL, "ps: the host's ps failed, or there is none");
	return r;
}

/* That of procps: busybox's knows no -f. */
static bool have_ps(void)
{
	char target[PATH_MAX] = "";

	if (access("/bin/ps", X_OK) < 0)
		return false;
	return readlink("/bin/ps", target, sizeof(target) - 1) < 0 || !strstr(target, "busybox");
}

int um_cli_ps(struct um_cli *cli, int argc, char **argv, struct um_error *err)
{
	static const struct option options[] = {{"format", required_argument, NULL, 'f'},
						{NULL, 0, NULL, 0}};
	_cleanup_arena_ struct um_arena *a = um_arena_new(64u << 20);
	_cleanup_free_ pid_t *pids = NULL;
	char *full[] = {NULL, (char *)(uintptr_t) "-ef", NULL};
	struct um_json *list;
	bool json = false;
	size_t n;
	int c, r;

	if (!a)
		return -ENOMEM;
	optind = 0;
	while ((c = getopt_long(argc, argv, "+f:", options, NULL)) != -1) {
		if (c != 'f' || (strcmp(optarg, "json") && strcmp(optarg, "table")))
			return um_cli_bad_option(err, argv, UM_CLI_PS_USAGE);
		json = !strcmp(optarg, "json");
	}
	if (optind == argc || (json && argc - optind != 1))
		return um_cli_usage(err, UM_CLI_PS_USAGE);
	r = um_runtime_ps(&cli->rt, argv[optind], &pids, &n, err);
	if (r < 0)
		return r;
	if (!json && argc - optind > 1)
		return host_ps(argv + optind + 1, pids, n, err);
	if (!json && have_ps())
		return host_ps(full + 1, pids, n, err);
	if (!json) {
		puts("PID");
		for (size_t i = 0; i < n; i++)
			printf("%d\n", pids[i]);
		return fflush(stdout) ? -EIO : 0;
	}
	list = um_json_new_arr(a);
	for (size_t i = 0; i < n; i++)
		um_json_append(list, um_json_new_i64(a, pids[i]));
	return um_cli_print_json(a, list);
}
