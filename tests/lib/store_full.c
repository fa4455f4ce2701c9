/* Fills a store until its disk is full, then shows what must still work. Run on a small file system
 * by tests/integration/store_full.sh: store_full DIR. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "store/store.h"
#include "wire/loop.h"

static struct um_loop *loop;
static struct um_store *store;

struct outcome {
	int calls, code;
};

static void on_done(void *arg, um_unused int64_t rev, const struct um_error *err)
{
	struct outcome *o = arg;

	o->calls++;
	o->code = err ? err->code : 0;
}

/* The outcome of one write, awaited. */
static int write_one(int key, struct um_bytes *value)
{
	struct outcome o = {0, 0};
	struct um_store_op op;
	char name[32];
	int r;

	snprintf(name, sizeof(name), "/k/%06d", key);
	op = (struct um_store_op){name, value};
	r = um_store_txn(store, NULL, 0, &op, 1, on_done, &o, NULL);
	if (r < 0)
		return r;
	while (!o.calls)
		(void)!um_loop_step(loop, UM_NSEC_PER_SEC);
	return o.code;
}

static void result(bool good, const char *text)
{
	printf("%sok - %s\n", good ? "" : "not ", text);
}

int main(int argc, char **argv)
{
	struct um_store_sqlite_opts opts = {.dir = argc > 1 ? argv[1] : "."};
	static char text[8192];
	struct um_error err = UM_ERROR_INIT;
	struct um_bytes *value;
	struct um_store_kv kv;
	int n = 0, r = 0, deleted = 0, back = -1;
	int64_t epoch;

	memset(text, 'x', sizeof(text));
	value = um_bytes_new(text, sizeof(text));
	if (um_loop_new(NULL, 2, &loop) < 0 ||
	    um_store_open_sqlite(loop, &opts, &store, &err) < 0) {
		printf("not ok - open: %s\n", err.msg);
		return 1;
	}
	while (n < 100000 && (r = write_one(n, value)) == 0)
		n++;
	result(r == -ENOSPC && n > 50, "a full disk refuses a write with ENOSPC");
	result(um_store_get(store, "/k/000000", &kv) == 0 &&
		       um_store_count(store, "/k/") == (size_t)n,
	       "everything acknowledged can be read");
	result(write_one(n + 1, value) == -ENOSPC, "the next write is refused at once");
	for (int i = 0; i < n; i++)
		deleted += write_one(i, NULL) == 0;
	printf("# %d of %d deletes\n", deleted, n);
	result(deleted == n, "every delete works");
	for (int i = 0; i < 100 && back != 0; i++) {
		(void)!um_loop_step(loop, 100 * UM_NSEC_PER_MSEC);
		back = write_one(n + 2, value);
	}
	result(back == 0, "writes come back by themselves once there is room");
	um_store_close(store);
	r = um_store_open_sqlite(loop, &opts, &store, &err);
	result(r == 0 && um_store_count(store, "/k/") == 1, "and are there after a restart");
	while (r == 0 && (r = write_one(n++, value)) == 0)
		;
	um_store_close(store);
	store = NULL;
	r = um_store_open_sqlite(loop, &opts, &store, &err);
	if (r == 0)
		r = um_store_next_epoch(store, &epoch, &err);
	if (r < 0)
		printf("# %s\n", err.msg);
	result(r == 0, "a store on a full disk opens and counts its start");
	um_store_close(store);
	um_bytes_unref(value);
	um_loop_free(loop);
	return 0;
}
