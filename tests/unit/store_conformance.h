/* What every backend of the store must do. Included by the test program of each backend, which sets
 * `loop` before a case runs. */
#ifndef UM_TESTS_UNIT_STORE_CONFORMANCE_H
#define UM_TESTS_UNIT_STORE_CONFORMANCE_H

#include <criterion/criterion.h>
#include <string.h>

#include "store/store.h"
#include "wire/loop.h"

static struct um_loop *loop;

/* ---- helpers ---- */

struct outcome {
	int calls, code;
	int64_t rev;
};
static void on_done(void *arg, int64_t rev, const struct um_error *err)
{
	struct outcome *o = arg;

	o->calls++;
	o->rev = rev;
	o->code = err ? err->code : 0;
}

static int start_put(struct um_store *s, const char *key, const char *value, int64_t expect,
		     struct outcome *o)
{
	_cleanup_bytes_ struct um_bytes *b = value ? um_bytes_new(value, strlen(value)) : NULL;
	struct um_store_compare cmp = {key, expect};
	struct um_store_op op = {key, b};

	return um_store_txn(s, &cmp, expect >= 0 ? 1 : 0, &op, 1, on_done, o, NULL);
}

static void wait_for(const struct outcome *o)
{
	while (!o->calls)
		cr_assert_eq(um_loop_step(loop, INT64_MAX), 0);
}

static int64_t put(struct um_store *s, const char *key, const char *value)
{
	struct outcome o = {0};

	cr_assert_eq(start_put(s, key, value, -1, &o), 0);
	wait_for(&o);
	cr_assert_eq(o.code, 0);
	return o.rev;
}

static const char *value_of(struct um_store *s, const char *key)
{
	struct um_store_kv kv;

	return um_store_get(s, key, &kv) < 0 ? "-" : kv.value->data;
}

static char seen[4096];
static void note_event(void *arg, const struct um_store_event *ev)
{
	size_t at = strlen(seen);

	snprintf(seen + at, sizeof(seen) - at, "%s%s=%s(%s)%s;", arg ? (const char *)arg : "",
		 ev->key, ev->value ? ev->value->data : "",
		 ev->prev_value ? ev->prev_value->data : "", ev->prev_rev ? "" : "+");
}

static void settle(void)
{
	for (int i = 0; i < 10; i++)
		um_loop_step(loop, 0);
}

static bool note_key(void *arg, const struct um_store_kv *kv)
{
	strcat(seen, kv->key);
	strcat(seen, " ");
	return arg ? --*(int *)arg > 0 : true;
}

/* ---- what every backend must do ---- */

static void conform_reads_and_writes(struct um_store *s)
{
	int64_t base = um_store_rev(s), first, second;
	struct outcome a = {0}, b = {0};
	struct um_store_kv kv;

	first = put(s, "/a", "1");
	cr_assert_gt(first, base);
	second = put(s, "/a", "2");
	cr_assert_gt(second, first);
	cr_assert_eq(um_store_get(s, "/a", &kv), 0);
	cr_assert_eq(kv.create_rev, first);
	cr_assert_eq(kv.mod_rev, second);
	cr_assert_eq(um_store_rev(s), second);
	/* compares are made against the tentative head, reads see the durable one */
	cr_assert_eq(start_put(s, "/a", "3", second, &a), 0);
	cr_assert_str_eq(value_of(s, "/a"), "2");
	cr_assert_eq(um_store_get_tentative(s, "/a", &kv), 0);
	cr_assert_str_eq(kv.value->data, "3");
	cr_assert_eq(start_put(s, "/a", "4", second, &b), -EAGAIN);
	cr_assert_eq(start_put(s, "/a", "4", kv.mod_rev, &b), 0);
	wait_for(&b);
	cr_assert_eq(a.calls, 1);
	cr_assert_lt(a.rev, b.rev);
	cr_assert_str_eq(value_of(s, "/a"), "4");
	/* a key that must not exist; deletes; the same key anew */
	a = b = (struct outcome){0};
	cr_assert_eq(start_put(s, "/a", "x", 0, &a), -EAGAIN);
	put(s, "/a", NULL);
	cr_assert_eq(um_store_get(s, "/a", &kv), -ENOENT);
	cr_assert_eq(start_put(s, "/a", "5", 0, &a), 0);
	wait_for(&a);
	cr_assert_eq(um_store_get(s, "/a", &kv), 0);
	cr_assert_eq(kv.create_rev, kv.mod_rev);
	cr_assert_eq(a.rev, kv.mod_rev);
}

static void conform_transactions(struct um_store *s)
{
	_cleanup_bytes_ struct um_bytes *v = um_bytes_new("v", 1);
	_cleanup_bytes_ struct um_bytes *none = um_bytes_new(NULL, 0);
	struct um_store_op ops[3] = {{"/t/1", NULL}, {"/t/2", v}, {"/t/3", none}};
	struct um_store_kv kv;
	struct outcome o = {0};

	put(s, "/t/1", "old");
	cr_assert_eq(um_store_txn(s, NULL, 0, ops, 3, on_done, &o, NULL), 0);
	wait_for(&o);
	cr_assert_eq(o.code, 0);
	cr_assert_eq(o.rev, um_store_rev(s));
	cr_assert_str_eq(value_of(s, "/t/1"), "-");
	cr_assert_str_eq(value_of(s, "/t/2"), "v");
	cr_assert_eq(um_store_get(s, "/t/3", &kv), 0);
	cr_assert_eq(kv.value->len, 0);
	cr_assert_eq(kv.mod_rev, o.rev, "the last operation's revision");
}

/* All of a transaction or nothing of it: one stale compare fails it as a whole. */
static void conform_a_stale_compare_fails_all(struct um_store *s)
{
	_cleanup_bytes_ struct um_bytes *v = um_bytes_new("v", 1);
	struct um_store_op ops[2] = {{"/s/1", v}, {"/s/2", v}};
	int64_t rev = put(s, "/s/1", "1");
	struct um_store_compare cmp[2] = {{"/s/1", rev}, {"/s/other", rev}};
	struct outcome o = {0};

	cr_assert_eq(um_store_txn(s, cmp, 2, ops, 2, on_done, &o, NULL), -EAGAIN);
	cmp[1].mod_rev = 0;
	cr_assert_eq(um_store_txn(s, cmp, 2, ops, 2, on_done, &o, NULL), 0);
	wait_for(&o);
	cr_assert_eq(o.code, 0);
	cr_assert_str_eq(value_of(s, "/s/2"), "v");
}

static void conform_bounds_of_a_transaction(struct um_store *s)
{
	_cleanup_bytes_ struct um_bytes *v = um_bytes_new("v", 1);
	static char keys[UM_STORE_OPS_MAX + 1][16];
	struct um_store_op many[UM_STORE_OPS_MAX + 1];
	struct um_store_compare cmp[UM_STORE_OPS_MAX + 1];
	struct um_store_op twice[3] = {{"/t/1", v}, {"/t/2", v}, {"/t/1", NULL}};
	struct um_error err = UM_ERROR_INIT;
	struct outcome o = {0};

	for (size_t i = 0; i < UM_ARRAY_LEN(many); i++) {
		snprintf(keys[i], sizeof(keys[i]), "/m/%zu", i);
		many[i] = (struct um_store_op){keys[i], v};
		cmp[i] = (struct um_store_compare){keys[i], 0};
	}
	cr_assert_eq(um_store_txn(s, NULL, 0, many, UM_ARRAY_LEN(many), on_done, &o, &err),
		     -EINVAL);
	cr_assert_eq(um_store_txn(s, cmp, UM_ARRAY_LEN(cmp), many, 1, on_done, &o, &err), -EINVAL);
	cr_assert_eq(um_store_txn(s, NULL, 0, many, 0, on_done, &o, &err), -EINVAL);
	cr_assert_eq(um_store_txn(s, NULL, 0, twice, 3, on_done, &o, &err), -EINVAL);
	cr_assert_not_null(strstr(err.msg, "/t/1"), "%s", err.msg);
	cr_assert_eq(
		um_store_txn(s, cmp, UM_STORE_OPS_MAX, many, UM_STORE_OPS_MAX, on_done, &o, &err),
		0);
	wait_for(&o);
	cr_assert_eq(o.calls, 1);
	cr_assert_eq(o.code, 0);
	cr_assert_eq(um_store_count(s, "/m/"), UM_STORE_OPS_MAX);
}

/* Writes that each rest on the one before, all in flight at once. */
static void conform_a_chain_in_flight(struct um_store *s)
{
	struct um_store_kv kv = {0};
	struct outcome o[20] = {{0}};
	char value[16];

	for (int i = 0; i < 20; i++) {
		snprintf(value, sizeof(value), "%d", i);
		cr_assert_eq(start_put(s, "/c", value, kv.mod_rev, &o[i]), 0);
		cr_assert_eq(um_store_get_tentative(s, "/c", &kv), 0);
		cr_assert_str_eq(kv.value->data, value);
	}
	cr_assert_eq(start_put(s, "/c", NULL, kv.mod_rev, &o[0]), 0);
	cr_assert_eq(um_store_get_tentative(s, "/c", &kv), -ENOENT);
	o[0] = (struct outcome){0};
	cr_assert_eq(start_put(s, "/c", "new", 0, &o[0]), 0);
	cr_assert_eq(um_store_get_tentative(s, "/c", &kv), 0);
	while (o[0].calls < 3)
		cr_assert_eq(um_loop_step(loop, INT64_MAX), 0);
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(o[i].code, 0);
		cr_assert(i < 2 || o[i].rev > o[i - 1].rev);
	}
	cr_assert_str_eq(value_of(s, "/c"), "new");
	/* the token of a value that has landed meanwhile still stands for it */
	cr_assert_eq(start_put(s, "/c", "newer", kv.mod_rev, &o[1]), 0);
	while (o[1].calls < 2)
		cr_assert_eq(um_loop_step(loop, INT64_MAX), 0);
	cr_assert_eq(o[1].code, 0);
}

static void conform_lists(struct um_store *s)
{
	int two = 2;

	put(s, "/l/b", "1");
	put(s, "/l/a", "1");
	put(s, "/l/c/x", "1");
	put(s, "/lz", "1");
	put(s, "/k", "1");
	seen[0] = '\0';
	um_store_list(s, "/l/", NULL, note_key, NULL);
	cr_assert_str_eq(seen, "/l/a /l/b /l/c/x ");
	seen[0] = '\0';
	um_store_list(s, "/l/", NULL, note_key, &two);
	um_store_list(s, "/l/", "/l/b", note_key, NULL);
	cr_assert_str_eq(seen, "/l/a /l/b /l/c/x ");
	cr_assert_eq(um_store_count(s, "/l/"), 3);
	cr_assert_eq(um_store_count(s, "/nothing"), 0);
}

static void conform_watches(struct um_store *s)
{
	struct um_store_watch *w, *all, *late;
	char tag[] = "L";
	struct um_error err = UM_ERROR_INIT;
	int64_t from;

	put(s, "/w/old", "0");
	from = um_store_rev(s);
	put(s, "/w/a", "1");
	seen[0] = '\0';
	cr_assert_eq(um_store_watch_new(s, "/w/", from, note_event, NULL, &w, &err), 0);
	cr_assert_str_eq(seen, "", "never from within the call");
	settle();
	cr_assert_str_eq(seen, "/w/a=1()+;");
	seen[0] = '\0';
	put(s, "/w/a", "2");
	put(s, "/x", "no");
	put(s, "/w/a", NULL);
	settle();
	cr_assert_str_eq(seen, "/w/a=2(1);/w/a=(2);");
	um_store_watch_free(w);
	seen[0] = '\0';
	cr_assert_eq(um_store_watch_new(s, "/w/", from, note_event, NULL, &all, &err), 0);
	cr_assert_eq(
		um_store_watch_new(s, "/w/", um_store_rev(s) + 2, note_event, tag, &late, &err), 0);
	put(s, "/w/b", "1");
	put(s, "/w/b", "2");
	put(s, "/w/b", "3");
	settle();
	cr_assert_str_eq(seen, "/w/a=1()+;/w/a=2(1);/w/a=(2);/w/b=1()+;/w/b=2(1);L/w/b=3(2);"
			       "/w/b=3(2);" +
				       0);
	um_store_watch_free(all);
	um_store_watch_free(late);
	seen[0] = '\0';
	put(s, "/w/c", "1");
	settle();
	cr_assert_str_eq(seen, "");
}

static struct um_store_watch *self;
static void free_self(um_unused void *arg, const struct um_store_event *ev)
{
	note_event(NULL, ev);
	um_store_watch_free(self);
}

static void conform_a_watch_may_free_itself(struct um_store *s)
{
	int64_t from = um_store_rev(s);

	put(s, "/f/1", "1");
	put(s, "/f/2", "1");
	seen[0] = '\0';
	cr_assert_eq(um_store_watch_new(s, "/f/", from, free_self, NULL, &self, NULL), 0);
	settle();
	cr_assert_str_eq(seen, "/f/1=1()+;");
}

static void conform_limits(struct um_store *s)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_bytes *big = um_bytes_new(NULL, 0);
	struct um_store_op op = {"", big};
	char *key = calloc(1, 2000);
	struct outcome o = {0};

	cr_assert_eq(um_store_txn(s, NULL, 0, &op, 1, on_done, &o, &err), -EINVAL);
	memset(key, 'k', 1999);
	op.key = key;
	cr_assert_eq(um_store_txn(s, NULL, 0, &op, 1, on_done, &o, &err), -EINVAL);
	um_bytes_unref(big);
	free(key);
	key = calloc(1, UM_STORE_VALUE_MAX + 1);
	big = um_bytes_new(key, UM_STORE_VALUE_MAX + 1);
	op = (struct um_store_op){"/big", big};
	cr_assert_eq(um_store_txn(s, NULL, 0, &op, 1, on_done, &o, &err), -E2BIG);
	free(key);
	um_bytes_unref(big);
	cr_assert_eq(o.calls, 0);
}

static int barrier_calls;
static void on_barrier(um_unused void *arg)
{
	barrier_calls++;
}

static void conform_barrier(struct um_store *s)
{
	barrier_calls = 0;
	cr_assert_eq(um_store_barrier(s, on_barrier, NULL), 0);
	cr_assert_eq(barrier_calls, 0);
	while (!barrier_calls)
		um_loop_step(loop, INT64_MAX);
}

#endif
