/* The conversation between the creator and the init, over a SEQPACKET socket pair. End of file on
 * either side means that the other has died. */
#ifndef UM_RUNTIME_SYNC_H
#define UM_RUNTIME_SYNC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum um_sync_type {
	UM_SYNC_ERROR,	  /* init -> creator: error in the message */
	UM_SYNC_HOOKS,	  /* init -> creator: run prestart and createRuntime */
	UM_SYNC_READY,	  /* init -> creator: everything is set up */
	UM_SYNC_SOURCE,	  /* init -> creator: open the source of mounts[index] */
	UM_SYNC_CONTINUE, /* creator -> init */
};

struct um_sync_msg {
	uint32_t type;
	int32_t pid; /* with the first UM_SYNC_CONTINUE: the init's pid outside; an index */
	struct um_error error;
};

/* 0 or negative errno; -EPIPE when the other side is gone. */
um_must_check int um_sync_send(int fd, enum um_sync_type type, const struct um_error *error);
um_must_check int um_sync_send_pid(int fd, int32_t pid); /* UM_SYNC_CONTINUE */
/* The init: asks for a source, and waits for its descriptor, the caller's. */
um_must_check int um_sync_ask_source(int fd, size_t index, int *ret_fd, struct um_error *err);
/* The creator's answer, if it is one. */
um_must_check int um_sync_send_fd(int fd, int passed);
/* `start` to the init, over its socket: go on. With @explain_fd >= 0, what follows is explained on
 * that descriptor, which goes along. */
enum { UM_SYNC_START = 's', UM_SYNC_START_JSON = 'j' };
um_must_check int um_sync_send_start(int fd, int explain_fd, bool json);
/* *ret_fd is the caller's, -1: none came. -EPIPE: the other side closed without a word. */
um_must_check int um_sync_recv_start(int fd, char *ret_how, int *ret_fd);
um_must_check int um_sync_recv(int fd, struct um_sync_msg *ret);
/* Receives @want. An error message from the other side becomes @err and its code. */
um_must_check int um_sync_expect(int fd, enum um_sync_type want, struct um_error *err);

#endif
