/* Waiting for a program in the foreground. */
#ifndef UM_RUNTIME_WAIT_H
#define UM_RUNTIME_WAIT_H

#include <signal.h>
#include <sys/types.h>

#include "base/error.h"

/* 128 + signal, or the exit status. */
int um_wait_status(int status);
/* Blocks the signals that um_wait_forwarding() passes on; before the clone. */
void um_wait_block_signals(sigset_t *set);
/* Waits for child @pid and passes on the signals that arrive meanwhile. */
um_must_check int um_wait_forwarding(pid_t pid, int pidfd, const sigset_t *blocked,
				     struct um_error *err);

#endif
