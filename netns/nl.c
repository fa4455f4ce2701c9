#include "netns/nl.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <netlink/errno.h>
#include <sched.h>
#include <sys/socket.h>

/* libnl's codes are its own; those that its functions make themselves. */
static const struct {
	int nle, code;
} codes[] = {
	{NLE_NOMEM, ENOMEM},
	{NLE_INTR, EINTR},
	{NLE_AGAIN, EAGAIN},
	{NLE_PERM, EPERM},
	{NLE_AF_NOSUPPORT, EAFNOSUPPORT},
	{NLE_NODEV, ENODEV},
	{NLE_EXIST, EEXIST},
	{NLE_OBJ_NOTFOUND, ENOENT},
	{NLE_RANGE, ERANGE},
	{NLE_NOACCESS, EACCES},
	{NLE_PROTO_MISMATCH, EPROTO},
	{NLE_MSG_OVERFLOW, ENOBUFS},
	{NLE_BUSY, EBUSY},
	{NLE_OPNOTSUPP, EOPNOTSUPP},
};

int um_nl_errno(struct um_nl *n, int code)
{
	if (n->error < 0)
		return n->error;
	n->broken = true;
	for (size_t i = 0; i < UM_ARRAY_LEN(codes); i++)
		if (codes[i].nle == -code)
			return -codes[i].code;
	return -EIO;
}

static void keep_words(struct um_nl *n, struct nlmsgerr *e)
{
	struct nlmsghdr *h = (void *)((char *)e - NLMSG_HDRLEN);
	struct nlattr *words;
	int head = sizeof(*e);

	if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(h->nlmsg_flags & NLM_F_CAPPED))
		head += (int)(e->msg.nlmsg_len - NLMSG_HDRLEN);
	if (head < (int)sizeof(*e) || nlmsg_datalen(h) < head)
		return;
	words = nlmsg_find_attr(h, head, NLMSGERR_ATTR_MSG);
	if (words)
		nla_strlcpy(n->why, words, sizeof(n->why));
}

static int on_error(struct sockaddr_nl *from um_unused, struct nlmsgerr *e, void *arg)
{
	struct um_nl *n = arg;

	n->error = e->error < 0 ? e->error : -EIO;
	keep_words(n, e);
	return NL_STOP;
}

int um_nl_open(int protocol, struct um_nl **ret, struct um_error *err)
{
	_cleanup_(um_nl_closep) struct um_nl *n = calloc(1, sizeof(*n));
	int one = 1, r;

	if (!n || !(n->sock = nl_socket_alloc()))
		return um_error_errno(err, -ENOMEM, "open a netlink socket");
	r = nl_connect(n->sock, protocol);
	if (r < 0)
		return um_error_errno(err, um_nl_errno(n, r), "open a netlink socket");
	/* Kernels that cannot do these only say less. */
	(void)setsockopt(nl_socket_get_fd(n->sock), SOL_NETLINK, NETLINK_EXT_ACK, &one,
			 sizeof(one));
	(void)setsockopt(nl_socket_get_fd(n->sock), SOL_NETLINK, NETLINK_CAP_ACK, &one,
			 sizeof(one));
	nl_socket_modify_err_cb(n->sock, NL_CB_CUSTOM, on_error, n);
	*ret = TAKE_PTR(n);
	return 0;
}

int um_nl_open_in(int netns_fd, int protocol, struct um_nl **ret, struct um_error *err)
{
	_cleanup_close_ int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	int r;

	if (home < 0)
		return um_error_errno(err, -errno, "open /proc/thread-self/ns/net");
	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return um_error_errno(err, -errno, "enter the pod's network namespace");
	r = um_nl_open(protocol, ret, err);
	if (setns(home, CLONE_NEWNET) < 0)
		abort();
	return r;
}

void um_nl_close(struct um_nl *n)
{
	if (!n)
		return;
	if (n->sock)
		nl_socket_free(n->sock);
	free(n);
}

struct nl_msg *um_nl_msg(int type, int flags, const void *head, size_t head_len)
{
	struct nl_msg *m = nlmsg_alloc_simple(type, flags);

	if (m && nlmsg_append(m, (void *)head, head_len, NLMSG_ALIGNTO) < 0) {
		nlmsg_free(m);
		m = NULL;
	}
	return m;
}

static int send_msg(struct um_nl *n, struct nl_msg *m)
{
	int r;

	n->error = 0;
	n->why[0] = '\0';
	if (!m)
		return n->error = -ENOMEM;
	r = nl_send_auto(n->sock, m);
	return r < 0 ? um_nl_errno(n, r) : 0;
}

int um_nl_do(struct um_nl *n, struct nl_msg *m)
{
	int r = send_msg(n, m);

	if (r < 0)
		return r;
	r = nl_wait_for_ack(n->sock);
	return r < 0 ? um_nl_errno(n, r) : 0;
}

int um_nl_dump(struct um_nl *n, struct nl_msg *m, nl_recvmsg_msg_cb_t fn, void *arg)
{
	struct nl_cb *own, *cb;
	int r = send_msg(n, m);

	if (r < 0)
		return r;
	own = nl_socket_get_cb(n->sock); /* a reference */
	cb = nl_cb_clone(own);
	nl_cb_put(own);
	if (!cb)
		return -ENOMEM;
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, fn, arg);
	r = nl_recvmsgs(n->sock, cb);
	nl_cb_put(cb);
	return r < 0 ? um_nl_errno(n, r) : 0;
}

int um_nl_fail(const struct um_nl *n, struct um_error *err, int code, const char *fmt, ...)
{
	char what[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (!n->why[0])
		return um_error_errno(err, code, "%s", what);
	return um_error_set(err, code, "%s: %s (%s)", what, strerror(-code), n->why);
}
