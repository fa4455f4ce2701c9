/* The two ends of a pod's link. */
#ifndef UM_NETNS_VETH_H
#define UM_NETNS_VETH_H

#include "netns/link.h"

/* Every pod's gateway, in RFC 3927's block: the host's end of the pod's own link has it. */
#define UM_VETH_GATEWAY 0xa9fe0101u /* 169.254.1.1 */

/* "um" and the first 12 hex digits of the 64-bit FNV-1a hash of the uid: the same after every
 * restart, on every machine. */
void um_veth_name(const char *uid, char name[IFNAMSIZ]);
/* Whether a link is a pod's: its alias is a uid and its name is that uid's. */
bool um_veth_is_ours(const struct um_link *l);

/* Makes or completes the link of @uid and configures both ends. @pod is a socket in the pod's
 * namespace @netns_fd. -EEXIST: another pod's or a foreign link has the name, or the namespace has
 * an eth0 that is not ours. What a failure leaves, um_veth_remove() removes. */
um_must_check int um_veth_make(struct um_nl *host, struct um_nl *pod, int netns_fd, const char *uid,
			       uint32_t addr, int mtu, struct um_error *err);
/* Success when there is none, and when the link of this name is another pod's. */
um_must_check int um_veth_remove(struct um_nl *host, const char *uid, struct um_error *err);

/* The link of @uid, whose namespace is about to end, loses its route and its name as a pod's; it
 * ends with its namespace. Success when there is none, and when the link of this name is another
 * pod's. */
um_must_check int um_veth_let_go(struct um_nl *host, const char *uid, uint32_t addr,
				 struct um_error *err);
/* Removes all links that were let go and are still there. */
um_must_check int um_veth_remove_gone(struct um_nl *host, struct um_error *err);

#endif
