/* The store's conformance suite on etcd, and what only a store with several writers shows. Each
 * case has a network namespace and an etcd of its own. */
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/lib/store_etcd.h"
#include "tests/unit/store_conformance.h"

#define PORT 2379 /* the namespace is empty: all ports are free */

static char dir[] = "/tmp/umiak-test-etcd-XXXXXX";
static pid_t etcd;

static void enter_namespace(void)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd;

	cr_assert(unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0,
		  "no network namespace to be had: %m");
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	cr_assert_geq(fd, 0);
	cr_assert_eq(ioctl(fd, SIOCSIFFLAGS, &lo), 0, "lo up: %m");
	close(fd);
}

static void start_etcd(void)
{
	char data[64], log[64];

	snprintf(data, sizeof(data), "%s/data", dir);
	snprintf(log, sizeof(log), "%s/log", dir);
	etcd = fork();
	cr_assert_geq(etcd, 0);
	if (etcd == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		execlp("etcd", "etcd", "--data-dir", data, "--listen-client-urls",
		       "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
		       "--listen-peer-urls", "http://127.0.0.1:2380",
		       "--initial-advertise-peer-urls", "http://127.0.0.1:2380",
		       "--initial-cluster", "default=http://127.0.0.1:2380", "--max-request-bytes",
		       "8388608", (char *)NULL);
		_exit(127);
	}
}

/* Healthy once a linearizable read is answered. */
static struct um_store *open_etcd(void)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_store *s = NULL;

	for (int i = 0; i < 300; i++) {
		cr_assert_eq(waitpid(etcd, NULL, WNOHANG), 0,
			     "etcd ended; is the package etcd-server there?");
		err = (struct um_error)UM_ERROR_INIT;
		if (um_store_open_etcd(loop, PORT, &s, &err) == 0)
			return s;
		usleep(50000);
	}
	cr_assert_fail("etcd does not answer: %s", err.msg);
	return NULL;
}

static void set_up(void)
{
	enter_namespace();
	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(um_loop_new(NULL, 2, &loop), 0);
	start_etcd();
}
static void tear_down(void)
{
	kill(etcd, SIGKILL);
	waitpid(etcd, NULL, 0);
	um_loop_free(loop);
	cr_assert_eq(um_io_remove_tree(AT_FDCWD, dir, NULL), 0);
}
TestSuite(etcd, .init = set_up, .fini = tear_down, .timeout = 60);

#define CONFORM(name)                                                                              \
	Test(etcd, name)                                                                           \
	{                                                                                          \
		struct um_store *s = open_etcd();                                                  \
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

static void pass_barrier(struct um_store *s)
{
	barrier_calls = 0;
	cr_assert_eq(um_store_barrier(s, on_barrier, NULL), 0);
	while (!barrier_calls)
		cr_assert_eq(um_loop_step(loop, INT64_MAX), 0);
}

/* Two stores on one etcd: who was faster wins, what rested on the loser fails with it, and a
 * refusal comes only when the head shows what stood in the way. */
Test(etcd, of_two_writers_one_is_faster)
{
	struct um_store *s[2] = {open_etcd(), open_etcd()};
	struct outcome first[2] = {{0}}, second[2] = {{0}};
	struct um_store_kv kv;
	int loser;

	for (int i = 0; i < 2; i++) {
		cr_assert_eq(start_put(s[i], "/k", i ? "b" : "a", 0, &first[i]), 0);
		cr_assert_eq(um_store_get_tentative(s[i], "/k", &kv), 0);
		cr_assert_eq(start_put(s[i], "/k", i ? "bb" : "aa", kv.mod_rev, &second[i]), 0);
	}
	for (int i = 0; i < 2; i++)
		wait_for(&second[i]);
	loser = first[0].code ? 0 : 1;
	cr_assert_eq(first[loser].code, -EAGAIN);
	cr_assert_eq(second[loser].code, -ECANCELED);
	cr_assert_eq(first[!loser].code, 0);
	cr_assert_eq(second[!loser].code, 0);
	cr_assert_str_neq(value_of(s[loser], "/k"), "-", "what was in the way is shown");
	pass_barrier(s[loser]);
	cr_assert_str_eq(value_of(s[loser], "/k"), loser ? "aa" : "bb");
	/* a revision heard of from elsewhere, before the own mirror has come to it */
	first[0] = first[1] = (struct outcome){0};
	cr_assert_eq(start_put(s[0], "/k", "x", second[!loser].rev, &first[0]), 0);
	wait_for(&first[0]);
	cr_assert_eq(start_put(s[1], "/k", "y", first[0].rev, &first[1]), 0);
	wait_for(&first[1]);
	cr_assert_eq(first[1].code, 0);
	um_store_close(s[0]);
	um_store_close(s[1]);
}

/* Documented differences: the operations of a transaction share one revision, and a delete of a
 * key that is not there takes none. */
Test(etcd, one_revision_for_a_transaction)
{
	_cleanup_bytes_ struct um_bytes *v = um_bytes_new("v", 1);
	struct um_store_op ops[2] = {{"/r/1", v}, {"/r/2", v}};
	struct um_store *s = open_etcd();
	struct um_store_watch *w;
	struct um_store_kv kv[2];
	struct outcome o = {0};
	int64_t from = um_store_rev(s), rev;

	cr_assert_eq(um_store_txn(s, NULL, 0, ops, 2, on_done, &o, NULL), 0);
	wait_for(&o);
	cr_assert_eq(um_store_get(s, "/r/1", &kv[0]), 0);
	cr_assert_eq(um_store_get(s, "/r/2", &kv[1]), 0);
	cr_assert_eq(kv[0].mod_rev, o.rev);
	cr_assert_eq(kv[1].mod_rev, o.rev);
	seen[0] = '\0';
	cr_assert_eq(um_store_watch_new(s, "/r/", from, note_event, NULL, &w, NULL), 0);
	settle();
	cr_assert_str_eq(seen, "/r/1=v()+;/r/2=v()+;");
	um_store_watch_free(w);
	rev = put(s, "/absent", NULL);
	cr_assert_eq(rev, o.rev);
	um_store_close(s);
}

/* What was there before is read; history begins where the store was opened. */
Test(etcd, a_reopened_store_has_everything)
{
	struct um_store *s = open_etcd();
	struct um_error err = UM_ERROR_INIT;
	struct um_store_watch *w;
	int64_t rev;

	put(s, "/a", "1");
	rev = put(s, "/b", "2");
	um_store_close(s);
	s = open_etcd();
	cr_assert_eq(um_store_rev(s), rev);
	cr_assert_str_eq(value_of(s, "/a"), "1");
	cr_assert_eq(um_store_watch_new(s, "/", rev - 1, note_event, NULL, &w, &err), -ESTALE);
	um_store_close(s);
}
