/* The machine goes down: process 1 sends SIGTERM to everybody then (systemd's last step, busybox's
 * init), and systemd waits 90 seconds for all to end. The first process of a container, which is
 * its namespace's init, ends by that only if it handles it. So what is still there after some time
 * is killed. SIGTERM from anybody else means nothing: pods outlive whoever started them. */
#include <signal.h>
#include <sys/signalfd.h>

#include "runtime/shim/shim.h"

#define NS_PER_MS 1000000
#define GRACE_NS (10000LL * NS_PER_MS)
#define AGAIN_NS (500LL * NS_PER_MS) /* a container may just be starting */

static int64_t kill_at_ns; /* monotonic; 0: the machine stays up */

#define FOR_EACH_CTR(c)                                                                            \
	for (struct shim_ctr *c = shim_ctrs; c < shim_ctrs + SHIM_CONTAINERS_MAX; c++)

void shim_halt_on_signal(const struct signalfd_siginfo *si)
{
	if (si->ssi_signo != SIGTERM || si->ssi_code != SI_USER || si->ssi_pid != 1 || kill_at_ns)
		return;
	kill_at_ns = shim_mono_ns() + GRACE_NS;
	FOR_EACH_CTR(c)
	{
		if (c->state != SHIM_FREE)
			shim_ctr_no_restart(c);
	}
}

int shim_halt_timer(int next_ms)
{
	int64_t now = shim_mono_ns();
	int left;

	if (!kill_at_ns)
		return next_ms;
	if (now >= kill_at_ns) {
		FOR_EACH_CTR(c)
		{
			(void)shim_ctr_signal(c, SIGKILL);
		}
		kill_at_ns = now + AGAIN_NS;
	}
	left = (int)((kill_at_ns - now) / NS_PER_MS + 1);
	return next_ms < 0 || left < next_ms ? left : next_ms;
}

bool shim_halted(void)
{
	return kill_at_ns && !shim_ctr_any_alive();
}
