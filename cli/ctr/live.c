/* What a container's shim says of it. */
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "cli/ctr/ctr.h"
#include "runtime/shim/client.h"

#define ANSWER_MS 10000

static void take(struct ctr_live *l, const struct um_shim_msg *m)
{
	static const struct {
		const char *text;
		enum ctr_live_state state;
	} words[] = {{"starting", CTR_LIVE_STARTING},
		     {"running", CTR_LIVE_RUNNING},
		     {"restarting", CTR_LIVE_RESTARTING},
		     {"exited", CTR_LIVE_ENDED}};
	const char *state = um_shim_get(m, "state");

	for (size_t i = 0; i < UM_ARRAY_LEN(words); i++)
		if (state && !strcmp(state, words[i].text))
			l->state = words[i].state;
	l->pid = (pid_t)um_shim_num(m, "pid", 0);
	l->attempt = (int)um_shim_num(m, "attempt", 0);
	l->started_ns = um_shim_num(m, "started", 0);
	l->finished_ns = um_shim_num(m, "finished", 0);
	l->status = (int)um_shim_num(m, "status", 0);
}

static void on_event(void *arg, const struct um_shim_msg *m)
{
	if (!strcmp(um_shim_kind(m), "container"))
		take(arg, m);
}

void ctr_live_open(const struct ctr *c, struct ctr_live *ret)
{
	struct um_shim_msg m, reply;

	*ret = (struct ctr_live){.fd = -1, .ns_net = -1, .ns_ipc = -1, .ns_uts = -1, .ns_pid = -1};
	ret->has_run_dir = access(c->run_dir, F_OK) == 0;
	if (!ret->has_run_dir)
		return;
	ret->fd = um_shim_connect(c->run_dir);
	if (ret->fd < 0)
		return;
	um_shim_begin(&m, "hello");
	um_shim_add_num(&m, "look", 1);
	if (um_shim_request(ret->fd, &m, &reply, ANSWER_MS, on_event, ret, NULL, NULL) < 0) {
		ret->fd = um_close(ret->fd);
		ret->state = CTR_LIVE_NOT;
		return;
	}
	ret->shim = (pid_t)um_shim_num(&reply, "pid", 0);
	ret->ns_net = (int)um_shim_num(&reply, "net", -1);
	ret->ns_ipc = (int)um_shim_num(&reply, "ipc", -1);
	ret->ns_uts = (int)um_shim_num(&reply, "uts", -1);
	ret->ns_pid = (int)um_shim_num(&reply, "pid_ns", -1);
}

void ctr_live_close(struct ctr_live *l)
{
	l->fd = um_close(l->fd);
}

bool ctr_live_up(const struct ctr_live *l)
{
	return l->state == CTR_LIVE_STARTING || l->state == CTR_LIVE_RUNNING ||
	       l->state == CTR_LIVE_RESTARTING;
}

int ctr_live_signal(const struct ctr_live *l, int number, bool stop)
{
	struct um_shim_msg m;
	int code = 0, r;

	um_shim_begin(&m, "signal");
	um_shim_add(&m, "name", "main");
	um_shim_add_num(&m, "number", number);
	if (stop)
		um_shim_add_num(&m, "stop", 1);
	r = um_shim_request(l->fd, &m, NULL, ANSWER_MS, NULL, NULL, &code, NULL);
	return r == -EREMOTEIO ? -code : r;
}

int ctr_live_wait(const struct ctr_live *l, int64_t timeout_ns, bool restarts, int *ret_status)
{
	int64_t end = um_clock_monotonic(&um_clock_system) + timeout_ns;
	struct ctr_live now = *l;
	struct um_shim_msg m;
	int r, left = -1;

	/* Asked again on this connection: what it said before may be old. */
	um_shim_begin(&m, "hello");
	um_shim_add_num(&m, "look", 1);
	r = um_shim_request(l->fd, &m, NULL, ANSWER_MS, on_event, &now, NULL, NULL);
	while (r >= 0) {
		if (now.state == CTR_LIVE_ENDED ||
		    (!restarts && now.state == CTR_LIVE_RESTARTING)) {
			*ret_status = now.status;
			return 0;
		}
		if (timeout_ns >= 0) {
			int64_t rest = end - um_clock_monotonic(&um_clock_system);

			left = rest < 0 ? 0 : (int)(rest / UM_NSEC_PER_MSEC + 1);
		}
		r = um_shim_receive(l->fd, &m, left);
		if (r == 0)
			return -ETIMEDOUT;
		if (r > 0)
			on_event(&now, &m);
	}
	return r;
}

int ctr_exit_code(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
