/* A netlink socket that keeps the kernel's errno and its words (NLMSGERR_ATTR_MSG), both of which
 * libnl's own error codes lose. */
#ifndef UM_NETNS_NL_H
#define UM_NETNS_NL_H

#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdbool.h>

#include "base/error.h"

struct um_nl {
	struct nl_sock *sock;
	bool broken;   /* an answer was lost: what comes next may belong to an older request */
	int error;     /* of the last request: 0 or negative errno */
	char why[160]; /* the kernel's words about it, or "" */
};

/* @protocol: NETLINK_ROUTE, NETLINK_NETFILTER. The socket belongs to the network namespace of the
 * calling thread for its whole life. */
um_must_check int um_nl_open(int protocol, struct um_nl **ret, struct um_error *err);
/* ... of the namespace @netns_fd. The calling thread is in it only while the socket is made; that
 * it cannot go back ends the process, since everything it did next would hit a wrong network. */
um_must_check int um_nl_open_in(int netns_fd, int protocol, struct um_nl **ret,
				struct um_error *err);
void um_nl_close(struct um_nl *n); /* accepts NULL */
UM_DEFINE_CLEANUP(struct um_nl, um_nl_close)

static inline void um_nl_msgp(struct nl_msg **m)
{
	if (*m)
		nlmsg_free(*m);
}
#define _cleanup_msg_ _cleanup_(um_nl_msgp)

/* A request with its family header. NULL when out of memory. Attributes are added with libnl's
 * nla_put_*(), whose failures um_nl_do() is told by a NULL message. */
struct nl_msg *um_nl_msg(int type, int flags, const void *head, size_t head_len);

/* Sends and waits for the kernel's answer. @m is borrowed; NULL is -ENOMEM. Returns 0 or a negative
 * errno with no message in any error object: callers know what it was about; see um_nl_fail(). */
um_must_check int um_nl_do(struct um_nl *n, struct nl_msg *m);
/* Sends, and gives each message of the answer to @fn. */
um_must_check int um_nl_dump(struct um_nl *n, struct nl_msg *m, nl_recvmsg_msg_cb_t fn, void *arg);
/* The errno after a call of libnl's that returned @code (negative); a failure that is not the
 * kernel's answer marks the socket as broken. */
int um_nl_errno(struct um_nl *n, int code);

/* Sets @err to "<text>: <errno's text> (<the kernel's words>)". Returns @code. */
int um_nl_fail(const struct um_nl *n, struct um_error *err, int code, const char *fmt, ...)
	um_printf(4, 5);

#endif
