/* What controllers share: labels, queues, pods as they see them. */
#include <criterion/criterion.h>
#include <string.h>

#include "api/object.h"
#include "base/clock.h"
#include "base/yaml.h"
#include "control/labels.h"
#include "control/podset.h"
#include "control/queue.h"
#include "store/store.h"
#include "wire/loop.h"

static struct um_arena *arena;
static struct um_clock_fake clock_;
static struct um_loop *loop;
static struct um_store *store;

static void set_up(void)
{
	struct um_error err = UM_ERROR_INIT;

	arena = um_arena_new(64 << 20);
	um_clock_fake_init(&clock_, 0, 0);
	cr_assert_eq(um_loop_new(&clock_.clock, 1, &loop), 0);
	cr_assert_eq(um_store_open_volatile(loop, 1, 0, &store, &err), 0);
}
static void tear_down(void)
{
	um_store_close(store);
	um_loop_free(loop);
	um_arena_free(arena);
}
TestSuite(control, .init = set_up, .fini = tear_down);

static struct um_json *yaml(const char *text)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_json *docs = NULL;

	cr_assert_eq(um_yaml_parse(arena, text, strlen(text), &docs, &err), 0, "%s: %s", text,
		     err.msg);
	return um_json_at(docs, 0);
}

/* ---- labels ---- */

Test(control, selectors)
{
	static const struct {
		const char *selector, *labels;
		bool yes;
	} cases[] = {
		{"{}", "{}", true},
		{"{}", "{a: b}", true},
		{"{matchLabels: {a: b}}", "{a: b, c: d}", true},
		{"{matchLabels: {a: b}}", "{a: c}", false},
		{"{matchLabels: {a: b, c: d}}", "{a: b}", false},
		{"{matchLabels: {app.example.com/x: b}}", "{app.example.com/x: b}", true},
		{"{matchExpressions: [{key: a, operator: In, values: [b, c]}]}", "{a: c}", true},
		{"{matchExpressions: [{key: a, operator: In, values: [b, c]}]}", "{}", false},
		{"{matchExpressions: [{key: a, operator: NotIn, values: [b]}]}", "{}", true},
		{"{matchExpressions: [{key: a, operator: NotIn, values: [b]}]}", "{a: b}", false},
		{"{matchExpressions: [{key: a, operator: Exists}]}", "{a: \"\"}", true},
		{"{matchExpressions: [{key: a, operator: DoesNotExist}]}", "{a: b}", false},
		{"{matchExpressions: [{key: a, operator: DoesNotExist}]}", "{}", true},
		{"{matchExpressions: [{key: a, operator: Near}]}", "{a: b}", false},
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(cases); i++)
		cr_expect_eq(
			um_label_selector_matches(yaml(cases[i].selector), yaml(cases[i].labels)),
			cases[i].yes, "%s on %s", cases[i].selector, cases[i].labels);
	cr_expect_not(um_label_selector_matches(NULL, yaml("{a: b}")));
	cr_expect_not(um_label_map_matches(yaml("{}"), yaml("{a: b}")));
	cr_expect(um_label_map_matches(yaml("{a: b}"), yaml("{c: d, a: b}")));
	cr_expect_not(um_label_map_matches(yaml("{a: b}"), NULL));
}

Test(control, a_copy_of_labels_stands_alone)
{
	const struct um_json *from = yaml("{a: b, long.example.com/name: value, empty: \"\"}");
	size_t size = um_labels_size(from);
	void *room = malloc(size);
	const struct um_json *to = um_labels_copy(from, room);

	cr_assert(um_json_equal(from, to));
	cr_assert_eq(to->len, 3);
	cr_assert_eq(um_labels_size(yaml("{}")), 0);
	cr_assert_null(um_labels_copy(NULL, NULL));
	free(room);
}

/* ---- queues ---- */

static char seen[400];
static int64_t answer;
static struct um_queue *queue;

static int64_t note(void *arg, const char *key)
{
	(void)arg;
	snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%s;", key);
	return answer;
}

static void turn(int64_t ns)
{
	um_clock_fake_advance(&clock_, ns);
	for (int i = 0; i < 20; i++)
		um_loop_step(loop, 0);
}

static void open_queue(void)
{
	seen[0] = '\0';
	answer = 0;
	cr_assert_eq(um_queue_new(loop, note, NULL, &queue, NULL), 0);
}

Test(control, a_key_is_looked_at_once)
{
	open_queue();
	um_queue_add(queue, "a");
	um_queue_add(queue, "b");
	um_queue_add(queue, "a");
	turn(0);
	cr_assert_str_eq(seen, "a;b;");
	turn(UM_NSEC_PER_SEC * 100);
	cr_assert_str_eq(seen, "a;b;");
	um_queue_add(queue, "a");
	turn(0);
	cr_assert_str_eq(seen, "a;b;a;");
	um_queue_free(queue);
}

Test(control, the_sooner_of_two_delays)
{
	open_queue();
	um_queue_add_after(queue, "a", UM_NSEC_PER_SEC);
	um_queue_add_after(queue, "a", 5 * UM_NSEC_PER_SEC);
	turn(UM_NSEC_PER_SEC / 2);
	cr_assert_str_eq(seen, "");
	turn(UM_NSEC_PER_SEC);
	cr_assert_str_eq(seen, "a;");
	turn(UM_NSEC_PER_SEC * 100);
	cr_assert_str_eq(seen, "a;");
	um_queue_add_after(queue, "a", 5 * UM_NSEC_PER_SEC);
	um_queue_add(queue, "a");
	turn(0);
	cr_assert_str_eq(seen, "a;a;");
	turn(UM_NSEC_PER_SEC * 100);
	cr_assert_str_eq(seen, "a;a;");
	um_queue_free(queue);
}

Test(control, failures_come_back_slower_and_slower)
{
	int n = 0;

	open_queue();
	answer = -EAGAIN;
	um_queue_add(queue, "a");
	for (int i = 0; i < 100; i++)
		turn(UM_NSEC_PER_SEC);
	n = (int)strlen(seen) / 2;
	cr_assert_gt(n, 5);
	cr_assert_lt(n, 20);
	answer = 0;
	turn(31 * UM_NSEC_PER_SEC);
	seen[0] = '\0';
	turn(31 * UM_NSEC_PER_SEC);
	cr_assert_str_eq(seen, "");
	um_queue_free(queue);
}

Test(control, a_look_may_come_again_after_a_while)
{
	open_queue();
	answer = UM_NSEC_PER_SEC;
	um_queue_add(queue, "a");
	turn(0);
	turn(UM_NSEC_PER_SEC / 2);
	cr_assert_str_eq(seen, "a;");
	answer = 0;
	turn(UM_NSEC_PER_SEC);
	turn(10 * UM_NSEC_PER_SEC);
	cr_assert_str_eq(seen, "a;a;");
	um_queue_free(queue);
}

/* ---- pods ---- */

static void on_put(void *arg, int64_t rev, const struct um_error *err)
{
	(void)rev;
	cr_assert(!err || !err->code);
	*(bool *)arg = true;
}

static void put_pod(const char *name, const char *text)
{
	const struct um_kind *kind = um_schema_find_resource("", "v1", "pods");
	char key[UM_OBJECT_KEY_MAX];
	struct um_bytes *b = text ? um_object_encode(kind, yaml(text), arena) : NULL;
	struct um_store_op op = {key, b};
	bool done = false;

	cr_assert_eq(um_object_key(key, kind, "ns", name), 0);
	cr_assert_eq(um_store_txn(store, NULL, 0, &op, 1, on_put, &done, NULL), 0);
	for (int i = 0; !done || i < 10; i++) /* the news comes in turns of its own */
		um_loop_step(loop, 0);
	um_bytes_unref(b);
}

static char heard[400];

static void hear(void *arg, const struct um_pod *old, const struct um_pod *now)
{
	(void)arg;
	snprintf(heard + strlen(heard), sizeof(heard) - strlen(heard), "%s>%s;",
		 old ? old->ready ? "ready" : "not" : "-",
		 now ? now->ready ? "ready" : "not" : "-");
}

#define POD(rest) "{metadata: {name: a, namespace: ns, uid: u1, labels: {x: \"1\"}" rest "}"
#define OWNED ", ownerReferences: [{kind: ReplicaSet, name: set, uid: s1, controller: true}]"

Test(control, pods_by_owner_and_namespace)
{
	struct um_podset *s = NULL;
	struct um_pod *p;

	put_pod("a", POD(OWNED) "}");
	cr_assert_eq(um_podset_new(store, &s, NULL), 0);
	p = um_podset_first_owned(s, "s1");
	cr_assert_not_null(p);
	cr_assert_str_eq(p->key, "ns/a");
	cr_assert_str_eq(p->owner_name, "set");
	cr_assert_str_eq(um_json_get_str(p->labels, "x", ""), "1");
	cr_assert_null(um_podset_next_owned(p));
	cr_assert_null(um_podset_first_orphan(s, "ns"));
	put_pod("a", POD("") "}");
	cr_assert_null(um_podset_first_owned(s, "s1"));
	cr_assert_not_null(um_podset_first_orphan(s, "ns"));
	put_pod("a", NULL);
	cr_assert_null(um_podset_first_orphan(s, "ns"));
	cr_assert_null(um_podset_first_in(s, "ns"));
	um_podset_free(s);
}

Test(control, news_of_pods)
{
	struct um_podset *s = NULL;
	struct um_pod *p;
	int64_t wait;

	heard[0] = '\0';
	cr_assert_eq(um_podset_new(store, &s, NULL), 0);
	cr_assert_eq(um_podset_subscribe(s, hear, NULL), 0);
	put_pod("a", POD("") "}");
	put_pod("a",
		POD("") ", status: {phase: Running, podIP: 10.0.0.1, conditions: [{type: Ready, "
			"status: \"True\", lastTransitionTime: \"2030-01-01T00:00:00Z\"}]}}");
	p = um_podset_get(s, "ns", "a");
	cr_assert_eq(p->phase, UM_POD_RUNNING);
	cr_assert_str_eq(p->ip, "10.0.0.1");
	cr_assert(um_pod_available(p, 0, 0, &wait));
	cr_assert_not(
		um_pod_available(p, 5 * UM_NSEC_PER_SEC, p->ready_ns + UM_NSEC_PER_SEC, &wait));
	cr_assert_eq(wait, 4 * UM_NSEC_PER_SEC);
	cr_assert(
		um_pod_available(p, 5 * UM_NSEC_PER_SEC, p->ready_ns + 5 * UM_NSEC_PER_SEC, &wait));
	put_pod("a", NULL);
	cr_assert_str_eq(heard, "->not;not>ready;ready>-;");
	um_podset_free(s);
}

Test(control, what_was_asked_for_is_assumed)
{
	struct um_podset *s = NULL;

	cr_assert_eq(um_podset_new(store, &s, NULL), 0);
	cr_assert_eq(um_podset_assume(s, yaml(POD(OWNED) "}")), 0);
	cr_assert(um_podset_first_owned(s, "s1")->assumed);
	um_podset_forget(s, "ns", "a");
	cr_assert_null(um_podset_first_owned(s, "s1"));
	cr_assert_eq(um_podset_assume(s, yaml(POD(OWNED) "}")), 0);
	put_pod("a", POD(OWNED) "}");
	cr_assert_not(um_podset_first_owned(s, "s1")->assumed);
	um_podset_forget(s, "ns", "a"); /* no longer an assumption */
	cr_assert_not_null(um_podset_first_owned(s, "s1"));
	um_podset_mark_leaving(s, "ns", "a", true);
	cr_assert_not(um_pod_active(um_podset_get(s, "ns", "a")));
	put_pod("a", POD(OWNED) ", status: {phase: Running}}"); /* older news of it */
	cr_assert_not(um_pod_active(um_podset_get(s, "ns", "a")));
	cr_assert_not(um_podset_get(s, "ns", "a")->deleted);
	um_podset_mark_leaving(s, "ns", "a", false);
	cr_assert(um_pod_active(um_podset_get(s, "ns", "a")));
	um_podset_free(s);
}
