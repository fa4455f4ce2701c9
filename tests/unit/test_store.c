/* The store's conformance suite, run against each backend, and what only sqlite must do. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "store/index.h"
#include "tests/unit/store_conformance.h"

static char dir[] = "/tmp/umiak-test-store-XXXXXX";

static void set_up(void)
{
	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(um_loop_new(NULL, 2, &loop), 0);
}
static void tear_down(void)
{
	um_loop_free(loop);
	cr_assert_eq(um_io_remove_tree(AT_FDCWD, dir, NULL), 0);
}
TestSuite(sqlite, .init = set_up, .fini = tear_down);
TestSuite(memory, .init = set_up, .fini = tear_down);

static struct um_store *open_sqlite_with(struct um_store_sqlite_opts opts)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_store *s = NULL;

	opts.dir = dir;
	cr_assert_eq(um_store_open_sqlite(loop, &opts, &s, &err), 0, "%s", err.msg);
	return s;
}
static struct um_store *open_sqlite(void)
{
	return open_sqlite_with((struct um_store_sqlite_opts){0});
}
static struct um_store *open_memory(void)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_store *s = NULL;

	cr_assert_eq(um_store_open_volatile(loop, 3, 0, &s, &err), 0, "%s", err.msg);
	return s;
}

#define CONFORM(name)                                                                              \
	Test(sqlite, name)                                                                         \
	{                                                                                          \
		struct um_store *s = open_sqlite();                                                \
		conform_##name(s);                                                                 \
		um_store_close(s);                                                                 \
	}                                                                                          \
	Test(memory, name)                                                                         \
	{                                                                                          \
		struct um_store *s = open_memory();                                                \
		conform_##name(s);                                                                 \
		um_store_close(s);                                                                 \
	}

CONFORM(reads_and_writes)
CONFORM(transactions)
CONFORM(a_stale_compare_fails_all)
CONFORM(bounds_of_a_transaction)
CONFORM(a_chain_in_flight)
CONFORM(lists)
CONFORM(watches)
CONFORM(a_watch_may_free_itself)
CONFORM(limits)
CONFORM(barrier)

/* ---- sqlite ---- */

Test(sqlite, a_reopened_store_has_everything_and_its_history)
{
	struct um_store *s = open_sqlite();
	struct um_store_watch *w;
	int64_t first, rev, epoch;

	first = put(s, "/a", "1");
	put(s, "/b", "1");
	put(s, "/b", NULL);
	rev = put(s, "/a", "2");
	cr_assert_eq(um_store_next_epoch(s, &epoch, NULL), 0);
	cr_assert_eq(epoch, 1);
	um_store_close(s);
	s = open_sqlite();
	cr_assert_eq(um_store_rev(s), rev);
	cr_assert_str_eq(value_of(s, "/a"), "2");
	cr_assert_str_eq(value_of(s, "/b"), "-");
	cr_assert_eq(um_store_next_epoch(s, &epoch, NULL), 0);
	cr_assert_eq(epoch, 2);
	seen[0] = '\0';
	cr_assert_eq(um_store_watch_new(s, "/", first, note_event, NULL, &w, NULL), 0);
	settle();
	cr_assert_str_eq(seen, "/b=1()+;/b=(1);/a=2(1);");
	um_store_watch_free(w);
	cr_assert_gt(put(s, "/c", "1"), rev);
	um_store_close(s);
}

Test(sqlite, one_process_at_a_time)
{
	struct um_store_sqlite_opts opts = {.dir = dir};
	struct um_store *s = open_sqlite(), *second = NULL;
	struct um_error err = UM_ERROR_INIT;

	cr_assert_eq(um_store_open_sqlite(loop, &opts, &second, &err), -EBUSY);
	cr_assert_not_null(strstr(err.msg, "in use by another process"));
	um_store_close(s);
}

Test(sqlite, writes_of_one_turn_share_a_commit)
{
	struct um_store *s = open_sqlite();
	struct outcome o[64] = {{0}};
	struct um_store_stats st;
	char key[32];

	for (int i = 0; i < 64; i++) {
		snprintf(key, sizeof(key), "/k%d", i);
		cr_assert_eq(start_put(s, key, "v", 0, &o[i]), 0);
	}
	for (int i = 0; i < 64; i++)
		wait_for(&o[i]);
	um_store_get_stats(s, &st);
	cr_assert_eq(st.ops, 64);
	cr_assert_eq(st.commits, 1);
	um_store_close(s);
}

Test(sqlite, compaction_keeps_what_is_current)
{
	struct um_store *s = open_sqlite_with((struct um_store_sqlite_opts){.compact_keep = 50});
	struct um_store_watch *w;
	struct um_error err = UM_ERROR_INIT;
	sqlite3 *db;
	sqlite3_stmt *st;
	int64_t history;
	char path[100];

	put(s, "/keep", "old");
	put(s, "/gone", "1");
	put(s, "/gone", NULL);
	for (int i = 0; i < 400 || (i < 20000 && um_store_compacted_rev(s) < 300); i++)
		put(s, "/busy", "v");
	cr_assert_geq(um_store_compacted_rev(s), 300);
	cr_assert_eq(um_store_watch_new(s, "/", 1, note_event, NULL, &w, &err), -ESTALE);
	cr_assert_eq(err.reason, UM_REASON_GONE);
	cr_assert_eq(um_store_watch_new(s, "/", um_store_rev(s) - 10, note_event, NULL, &w, &err),
		     0);
	um_store_watch_free(w);
	history = um_store_rev(s) - um_store_compacted_rev(s);
	um_store_close(s);
	snprintf(path, sizeof(path), "%s/store.db", dir);
	cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_prepare_v2(db, "SELECT count(*) FROM log", -1, &st, NULL);
	cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
	cr_assert_leq(sqlite3_column_int(st, 0), history + 2); /* "/keep" and "/busy" */
	sqlite3_finalize(st);
	sqlite3_close(db);
	s = open_sqlite();
	cr_assert_str_eq(value_of(s, "/keep"), "old");
	cr_assert_str_eq(value_of(s, "/busy"), "v");
	cr_assert_str_eq(value_of(s, "/gone"), "-");
	cr_assert_gt(um_store_compacted_rev(s), 100);
	um_store_close(s);
}

Test(sqlite, damage_is_found_and_named)
{
	struct um_store_sqlite_opts opts = {.dir = dir};
	struct um_store *s = open_sqlite();
	struct um_error err = UM_ERROR_INIT;
	char path[100], *data, *at;
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(10 << 20);

	put(s, "/registry/x", "a-value-to-damage");
	um_store_close(s);
	snprintf(path, sizeof(path), "%s/store.db", dir);
	cr_assert_eq(um_io_read_file(AT_FDCWD, path, &b, NULL), 0);
	data = b.data;
	at = memmem(data, b.len, "a-value-to-damage", 17);
	cr_assert_not_null(at);
	at[3] ^= 4;
	cr_assert_eq(um_io_replace_file(AT_FDCWD, path, data, b.len, 0600, UM_IO_NO_SYNC, NULL), 0);
	s = NULL;
	cr_assert_eq(um_store_open_sqlite(loop, &opts, &s, &err), -EBADMSG);
	cr_assert_not_null(strstr(err.msg, "/registry/x"), "%s", err.msg);
	cr_assert_eq(um_io_replace_file(AT_FDCWD, path, "not a database, but some text", 29, 0600,
					UM_IO_NO_SYNC, NULL),
		     0);
	cr_assert_eq(um_store_open_sqlite(loop, &opts, &s, &err), -EBADMSG, "%s", err.msg);
}

/* The writer is killed at random places; what it was told is durable must be there. */
Test(sqlite, what_was_acknowledged_survives_a_kill)
{
	for (int round = 0; round < 8; round++) {
		int p[2], acked = -1;
		char key[32];
		struct um_store *s;
		pid_t pid;

		cr_assert_eq(pipe(p), 0);
		pid = fork();
		if (pid == 0) {
			struct um_loop *own;
			struct um_store_sqlite_opts opts = {.dir = dir};

			if (um_loop_new(NULL, 1, &own) < 0 ||
			    um_store_open_sqlite(own, &opts, &s, NULL) < 0)
				_exit(1);
			loop = own;
			for (int i = 0;; i++) {
				snprintf(key, sizeof(key), "/r%d/%d", round, i);
				put(s, key, "v");
				if (write(p[1], &i, sizeof(i)) != sizeof(i))
					_exit(1);
			}
		}
		close(p[1]);
		for (int i = 0; i < 5 + round * 7; i++)
			cr_assert_eq(read(p[0], &acked, sizeof(acked)), sizeof(acked));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		while (read(p[0], &acked, sizeof(acked)) == sizeof(acked))
			;
		close(p[0]);
		s = open_sqlite();
		for (int i = 0; i <= acked; i++) {
			snprintf(key, sizeof(key), "/r%d/%d", round, i);
			cr_assert_str_eq(value_of(s, key), "v", "%s of %d", key, acked);
		}
		um_store_close(s);
	}
}

/* ---- the volatile store's bound ---- */

Test(memory, the_oldest_go_first)
{
	struct um_store *s = NULL;
	struct um_store_watch *w;
	char key[32], value[101];

	memset(value, 'v', 100);
	value[100] = '\0';
	cr_assert_eq(um_store_open_volatile(loop, 1, 1000, &s, NULL), 0);
	for (int i = 0; i < 10; i++) {
		snprintf(key, sizeof(key), "/%d", i);
		put(s, key, value);
	}
	put(s, "/0", value); /* young again */
	settle();
	cr_assert_eq(um_store_count(s, "/"), 10);
	seen[0] = '\0';
	cr_assert_eq(um_store_watch_new(s, "/1", um_store_rev(s), note_event, NULL, &w, NULL), 0);
	put(s, "/new", value);
	settle();
	cr_assert_eq(um_store_count(s, "/"), 10);
	cr_assert_str_eq(value_of(s, "/1"), "-");
	cr_assert_str_eq(value_of(s, "/0"), value);
	cr_assert_not_null(strstr(seen, "/1=("));
	um_store_watch_free(w);
	um_store_close(s);
}

Test(memory, revisions_carry_the_epoch)
{
	struct um_store *s = open_memory();
	struct um_store_watch *w;
	struct um_error err = UM_ERROR_INIT;

	cr_assert_eq(um_store_rev(s), INT64_C(3) << 40);
	cr_assert_eq(um_store_watch_new(s, "/", (INT64_C(2) << 40) + 7, note_event, NULL, &w, &err),
		     -ESTALE);
	um_store_close(s);
}

/* ---- the index against a plain model ---- */

Test(index, agrees_with_a_model)
{
	static bool there[3000];
	struct um_bytes *v = um_bytes_new("v", 1);
	struct um_index_pos pos;
	struct um_index_entry *e;
	struct um_index x;
	unsigned seed = 1, count = 0;
	char key[32];

	um_index_init(&x);
	for (int i = 0; i < 40000; i++) {
		unsigned k;

		seed = seed * 1103515245 + 12345;
		k = (seed >> 8) % 3000;
		snprintf(key, sizeof(key), "/%04u", k);
		if ((seed >> 24) % 3) {
			cr_assert_eq(um_index_put(&x, key, v, 1, i + 1), 0);
			there[k] = true;
		} else {
			um_index_delete(&x, key);
			there[k] = false;
		}
	}
	pos = um_index_seek(&x, "", false);
	for (unsigned k = 0; k < 3000; k++) {
		if (!there[k])
			continue;
		count++;
		e = um_index_next(&x, &pos);
		snprintf(key, sizeof(key), "/%04u", k);
		cr_assert_not_null(e);
		cr_assert_str_eq(e->key, key);
		cr_assert_eq(um_index_get(&x, key), e);
	}
	cr_assert_null(um_index_next(&x, &pos));
	cr_assert_eq(x.count, count);
	for (e = x.oldest; e && e->newer; e = e->newer)
		cr_assert_lt(e->mod_rev, e->newer->mod_rev);
	um_index_release(&x);
	um_bytes_unref(v);
}
