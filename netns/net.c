#include "netns/netns.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fault.h"
#include "base/io.h"
#include "base/vec.h"
#include "netns/ctr_net.h"
#include "netns/host.h"
#include "netns/ipam.h"
#include "netns/rules.h"
#include "netns/veth.h"

#define DEFAULT_MTU 1500
#define MIN_MTU 576 /* RFC 791: every host takes packets of this size */

struct um_net {
	pthread_mutex_t lock; /* of all that follows and changes */
	struct um_range pods, node;
	char *state_dir;
	int owner; /* the socket whose name says that this namespace's pod network has its owner */
	int mtu;   /* 0: not known yet */
	struct um_ipam *ipam;
	struct um_nl *route, *filter;
	struct um_rules_state rules;
};

struct uid {
	char text[UM_IPAM_UID_MAX + 1];
};
typedef UM_VEC(struct uid) uid_vec;

static void uid_vec_release(uid_vec *v)
{
	um_vec_release(v);
}

/* ---- open ---- */

static int check_config(struct um_net *n, const struct um_net_config *cfg, struct um_error *err)
{
	int r = um_range_parse("pod range", cfg->pod_range, &n->pods, err);

	if (r == 0)
		r = um_range_parse("node range", cfg->node_range, &n->node, err);
	if (r < 0)
		return r;
	if (!um_range_contains(&n->pods, &n->node))
		return um_error_set(err, -EINVAL, "node range %s is not within the pod range %s",
				    cfg->node_range, cfg->pod_range);
	if (cfg->mtu && (cfg->mtu < MIN_MTU || cfg->mtu > 65535))
		return um_error_set(err, -EINVAL, "MTU %d: it must be from %d to 65535", cfg->mtu,
				    MIN_MTU);
	n->mtu = cfg->mtu;
	n->state_dir = strdup(cfg->state_dir);
	return n->state_dir ? 0 : um_error_errno(err, -ENOMEM, "open the pod network");
}

/* Links, routes and rules are found by their names in the network namespace: two owners would sweep
 * away each other's. An abstract name is the namespace's, and ends with whoever holds it. */
static int own_namespace(struct um_net *n, struct um_error *err)
{
	static const char name[] = "umiak pod network";
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	memcpy(addr.sun_path + 1, name, sizeof(name) - 1);
	n->owner = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (n->owner >= 0 &&
	    bind(n->owner, (struct sockaddr *)&addr,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(name))) == 0)
		return 0;
	if (errno == EADDRINUSE)
		return um_error_set(err, -EBUSY,
				    "another agent has the pod network of this network namespace: "
				    "end it first, or run this one with --no-pod-network or in a "
				    "namespace of its own");
	return um_error_errno(err, -errno, "take the network namespace's pod network");
}

struct claim {
	struct um_net *net;
	struct um_error *err;
};

/* Containers without an agent have links of the same kind, which are not the pods' network's. */
static bool is_pod_link(const struct um_link *l)
{
	return um_veth_is_ours(l) &&
	       strncmp(l->alias, UM_CTR_UID_PREFIX, strlen(UM_CTR_UID_PREFIX)) != 0;
}

/* A route to a pod whose address file was lost: the address stays taken. */
static int claim_route(void *arg, uint32_t addr, int ifindex)
{
	struct claim *c = arg;
	struct um_link l;
	int r = um_link_get(c->net->route, NULL, ifindex, &l);

	if (r == -ENODEV)
		return 0;
	if (r < 0)
		return um_nl_fail(c->net->route, c->err, r, "look at link %d", ifindex);
	return is_pod_link(&l) ? um_ipam_claim(c->net->ipam, l.alias, addr, c->err) : 0;
}

int um_net_open(const struct um_net_config *cfg, struct um_net **ret, struct um_error *err)
{
	_cleanup_(um_net_closep) struct um_net *n = calloc(1, sizeof(*n));
	struct claim c = {n, err};
	bool changed;
	int r;

	if (!n)
		return um_error_errno(err, -ENOMEM, "open the pod network");
	pthread_mutex_init(&n->lock, NULL);
	n->owner = -1;
	r = check_config(n, cfg, err);
	if (r == 0)
		r = own_namespace(n, err);
	if (r == 0)
		r = um_nl_open(NETLINK_ROUTE, &n->route, err);
	if (r == 0)
		r = um_nl_open(NETLINK_NETFILTER, &n->filter, err);
	if (r == 0)
		r = um_host_check_routes(n->route, "pod range", &n->pods, 0, err);
	if (r == 0)
		r = um_ipam_open(n->state_dir, &n->node, &n->ipam, err);
	if (r == 0)
		r = um_host_each_pod_route(n->route, claim_route, &c, err);
	if (r == 0)
		r = um_host_forward(n->state_dir, &changed, err);
	if (r == 0)
		r = um_rules_load(n->filter, &n->pods, &n->rules, err);
	if (r < 0)
		return um_error_wrap(err, r, "pod network");
	*ret = TAKE_PTR(n);
	return 0;
}

void um_net_close(struct um_net *n)
{
	if (!n)
		return;
	um_ipam_close(n->ipam);
	um_nl_close(n->route);
	um_nl_close(n->filter);
	um_close(n->owner);
	free(n->state_dir);
	pthread_mutex_destroy(&n->lock);
	free(n);
}

/* ---- one at a time ---- */

static void unlockp(struct um_net **n)
{
	if (*n)
		pthread_mutex_unlock(&(*n)->lock);
}

/* A socket whose requests and answers no longer match is made anew. */
static int renew(struct um_nl **nl, int protocol, struct um_error *err)
{
	struct um_nl *fresh;
	int r;

	if (!(*nl)->broken)
		return 0;
	r = um_nl_open(protocol, &fresh, err);
	if (r < 0)
		return r;
	um_nl_close(*nl);
	*nl = fresh;
	return 0;
}

/* Takes the lock; *held gets it back at the end of its scope, also after a failure here. */
static int lock(struct um_net *n, struct um_net **held, struct um_error *err)
{
	int r;

	pthread_mutex_lock(&n->lock);
	*held = n;
	r = renew(&n->route, NETLINK_ROUTE, err);
	if (r == 0)
		r = renew(&n->filter, NETLINK_NETFILTER, err);
	return r;
}

#define _cleanup_unlock_ _cleanup_(unlockp)

/* ---- pods ---- */

static int check_uid(const char *uid, struct um_error *err)
{
	if (um_ipam_uid_valid(uid))
		return 0;
	return um_error_set(err, -EINVAL,
			    "pod uid \"%.80s\": it must be 1 to %d letters, digits, '-', '_', '.'",
			    uid, UM_IPAM_UID_MAX);
}

/* The default route may come up after the agent did: asked again until there is one. */
static int pick_mtu(struct um_net *n, int *ret, struct um_error *err)
{
	int r = n->mtu ? 0 : um_host_mtu(n->route, &n->mtu, err);

	if (r == 0)
		*ret = !n->mtu ? DEFAULT_MTU : n->mtu < MIN_MTU ? MIN_MTU : n->mtu;
	return r;
}

static int attach(struct um_net *n, const char *uid, int netns_fd, uint32_t *ret_addr,
		  struct um_error *err)
{
	_cleanup_(um_nl_closep) struct um_nl *pod = NULL;
	int mtu = DEFAULT_MTU, r = um_ipam_give(n->ipam, uid, ret_addr, err);

	if (r < 0)
		return r;
	UM_FAULT("netns.address-given");
	r = pick_mtu(n, &mtu, err);
	if (r == 0)
		r = um_nl_open_in(netns_fd, NETLINK_ROUTE, &pod, err);
	if (r < 0)
		return um_error_wrap(err, r, "network of pod %s", uid);
	return um_veth_make(n->route, pod, netns_fd, uid, *ret_addr, mtu, err);
}

static int detach(struct um_net *n, const char *uid, struct um_error *err)
{
	int r = check_uid(uid, err);

	if (r == 0)
		r = um_veth_remove(n->route, uid, err);
	if (r == 0) /* last: nobody gets the address while a route leads elsewhere */
		r = um_ipam_release(n->ipam, uid, err);
	return r;
}

int um_net_attach(struct um_net *n, const char *uid, int netns_fd, struct um_net_pod *ret,
		  struct um_error *err)
{
	_cleanup_unlock_ struct um_net *held = NULL;
	struct um_error ignored = UM_ERROR_INIT;
	uint32_t addr;
	int r = check_uid(uid, err);

	if (r == 0)
		r = lock(n, &held, err);
	if (r < 0)
		return r;
	r = attach(n, uid, netns_fd, &addr, err);
	if (r < 0) {
		/* What cannot be undone now the next sweep finds. */
		(void)!detach(n, uid, &ignored);
		return r;
	}
	ret->addr.s_addr = htonl(addr);
	um_range_format_addr(addr, ret->addr_text);
	um_veth_name(uid, ret->host_ifname);
	return 0;
}

int um_net_detach(struct um_net *n, const char *uid, struct um_error *err)
{
	_cleanup_unlock_ struct um_net *held = NULL;
	int r = lock(n, &held, err);

	return r < 0 ? r : detach(n, uid, err);
}

int um_net_let_go(struct um_net *n, const char *uid, struct um_error *err)
{
	_cleanup_unlock_ struct um_net *held = NULL;
	uint32_t addr;
	int r = check_uid(uid, err);

	if (r == 0)
		r = lock(n, &held, err);
	if (r < 0)
		return r;
	if (!um_ipam_find(n->ipam, uid, &addr))
		return detach(n, uid, err);
	r = um_veth_let_go(n->route, uid, addr, err);
	return r < 0 ? r : um_ipam_release(n->ipam, uid, err);
}

static int add_uid(void *arg, const char *uid)
{
	uid_vec *v = arg;
	struct uid u;

	snprintf(u.text, sizeof(u.text), "%s", uid);
	return um_vec_push(v, u);
}

static int add_link(void *arg, const struct um_link *l)
{
	return is_pod_link(l) ? add_uid(arg, l->alias) : 0;
}

/* Every uid that has an address or a link, some twice. */
static int list_uids(struct um_ipam *ipam, struct um_nl *route, uid_vec *v, struct um_error *err)
{
	int r = um_ipam_each(ipam, add_uid, v);

	if (r == 0)
		r = um_link_each(route, add_link, v);
	return r < 0 ? um_nl_fail(route, err, r, "list the pods' links") : 0;
}

int um_net_sweep(struct um_net *n, bool (*keep)(void *arg, const char *uid), void *arg,
		 struct um_error *err)
{
	_cleanup_unlock_ struct um_net *held = NULL;
	_cleanup_(uid_vec_release) uid_vec v = UM_VEC_INIT;
	int r = lock(n, &held, err);

	if (r == 0)
		r = list_uids(n->ipam, n->route, &v, err);
	um_vec_foreach (u, &v) {
		if (r == 0 && !keep(arg, u->text))
			r = detach(n, u->text, err);
	}
	return r < 0 ? r : um_veth_remove_gone(n->route, err);
}

/* ---- the host ---- */

int um_net_check(struct um_net *n, bool *ret_healed, struct um_error *err)
{
	_cleanup_unlock_ struct um_net *held = NULL;
	bool intact, changed;
	int r = lock(n, &held, err);

	if (r == 0)
		r = um_host_forward(n->state_dir, &changed, err);
	if (r == 0)
		r = um_rules_intact(n->filter, &n->rules, &intact, err);
	if (r == 0 && !intact)
		r = um_rules_load(n->filter, &n->pods, &n->rules, err);
	if (r < 0)
		return um_error_wrap(err, r, "pod network");
	*ret_healed = changed || !intact;
	return 0;
}

static int remove_pods(const struct um_net_config *cfg, struct um_error *err)
{
	_cleanup_(um_ipam_closep) struct um_ipam *ipam = NULL;
	_cleanup_(um_nl_closep) struct um_nl *route = NULL;
	_cleanup_(uid_vec_release) uid_vec v = UM_VEC_INIT;
	struct um_range any = {0, 0};
	int r = um_ipam_open(cfg->state_dir, &any, &ipam, err);

	if (r == 0)
		r = um_nl_open(NETLINK_ROUTE, &route, err);
	if (r == 0)
		r = list_uids(ipam, route, &v, err);
	um_vec_foreach (u, &v) {
		if (r == 0)
			r = um_veth_remove(route, u->text, err);
	}
	return r < 0 ? r : um_veth_remove_gone(route, err);
}

int um_net_destroy(const struct um_net_config *cfg, struct um_error *err)
{
	char path[4096];
	int r = remove_pods(cfg, err);

	if (r == 0)
		r = um_rules_remove(err);
	if (r == 0)
		r = um_host_unforward(cfg->state_dir, err);
	if (r == 0 && um_io_path(path, sizeof(path), "%s/ipam", cfg->state_dir) < 0)
		r = um_error_errno(err, -ENAMETOOLONG, "%s/ipam", cfg->state_dir);
	if (r == 0)
		r = um_io_remove_tree(AT_FDCWD, path, err);
	return r < 0 ? um_error_wrap(err, r, "remove the pod network") : 0;
}
