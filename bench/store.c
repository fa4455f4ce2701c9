/* Durable creates a second of 2 KB objects from 64 concurrent writers, and objects for each fsync
 * with a delay put into each. The floor beside it: one write+fsync of the same bytes at a time.
 *   build/<any>/bench/store [DIR] */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/io.h"
#include "store/store.h"
#include "wire/loop.h"

#define WRITERS 64
#define OBJECT_BYTES 2048

static struct um_loop *loop;
static struct um_store *store;
static struct um_bytes *value;
static int next_key, finished, wanted;

static void put(void);

static void on_done(um_unused void *arg, um_unused int64_t rev, const struct um_error *err)
{
	if (err)
		fprintf(stderr, "%s\n", err->msg);
	finished++;
	if (next_key < wanted)
		put();
}

static void put(void)
{
	struct um_store_compare cmp;
	struct um_store_op op;
	char key[64];

	snprintf(key, sizeof(key), "/registry/core/pods/default/p%08d", next_key++);
	cmp = (struct um_store_compare){key, 0};
	op = (struct um_store_op){key, value};
	if (um_store_txn(store, &cmp, 1, &op, 1, on_done, NULL, NULL) < 0)
		fprintf(stderr, "txn failed\n");
}

static double run(const char *dir, int n, int64_t delay_ns, double *ret_per_commit)
{
	struct um_store_sqlite_opts opts = {.dir = dir, .inject_fsync_delay_ns = delay_ns};
	struct um_error err = UM_ERROR_INIT;
	struct um_store_stats st;
	int64_t start;
	double seconds;

	if (um_store_open_sqlite(loop, &opts, &store, &err) < 0) {
		fprintf(stderr, "%s\n", err.msg);
		exit(1);
	}
	next_key = finished = 0;
	wanted = n;
	start = um_loop_now(loop);
	for (int i = 0; i < WRITERS; i++)
		put();
	while (finished < n)
		(void)!um_loop_step(loop, UM_NSEC_PER_SEC);
	seconds = (double)(um_loop_now(loop) - start) / 1e9;
	um_store_get_stats(store, &st);
	*ret_per_commit = (double)st.ops / (double)st.commits;
	um_store_close(store);
	(void)!um_io_remove_tree(AT_FDCWD, dir, NULL);
	return (double)n / seconds;
}

static double floor_rate(const char *path, int n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int64_t start = um_loop_now(loop);
	double seconds;

	for (int i = 0; i < n; i++)
		if (um_io_write_all(fd, value->data, value->len) < 0 || fdatasync(fd) < 0)
			exit(1);
	seconds = (double)(um_loop_now(loop) - start) / 1e9;
	close(fd);
	unlink(path);
	return (double)n / seconds;
}

int main(int argc, char **argv)
{
	const char *base = argc > 1 ? argv[1] : "/tmp";
	static char text[OBJECT_BYTES];
	char dir[4000], file[4000];
	double rate, per, lone;

	memset(text, 'x', sizeof(text));
	value = um_bytes_new(text, sizeof(text));
	if (!value || um_loop_new(NULL, 2, &loop) < 0)
		return 1;
	snprintf(dir, sizeof(dir), "%s/umiak-bench-store-%d", base, (int)getpid());
	snprintf(file, sizeof(file), "%s/umiak-bench-floor-%d", base, (int)getpid());
	lone = floor_rate(file, 500);
	rate = run(dir, 50000, 0, &per);
	printf("durable creates of 2 KB, 64 writers: %.0f/s, %.1f objects a commit\n", rate, per);
	printf("floor, one write and fdatasync at a time: %.0f/s; ratio %.1f\n", lone, rate / lone);
	rate = run(dir, 5000, 5 * UM_NSEC_PER_MSEC, &per);
	printf("with 5 ms in each fsync: %.0f/s, %.1f objects a commit\n", rate, per);
	um_bytes_unref(value);
	um_loop_free(loop);
	return 0;
}
