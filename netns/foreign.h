/* Other people's firewalls: where one drops forwarded packets, an accept of ours cannot help, since
 * every base chain of the hook has its say. */
#ifndef UM_NETNS_FOREIGN_H
#define UM_NETNS_FOREIGN_H

#include <stdbool.h>

#include "base/error.h"

struct um_foreign {
	bool added;	  /* rules of ours were missing and have been added */
	char report[400]; /* what drops pods' packets and is not ours to change; "" for nothing */
};

/* Keeps two rules with a comment "umiak: ..." that accept what comes from and goes to pods: in
 * DOCKER-USER of `table ip filter`, the chain that Docker leaves for others, else in its FORWARD
 * when that drops by its policy. Nothing is touched where neither is so. Chains elsewhere that drop
 * by their policy, and firewalld's, are told about in @ret->report, with what to do. Rules of
 * iptables-legacy cannot be seen here. Blocks. -ENOENT: no nft(8); netlink's. */
um_must_check int um_foreign_check(const char *pod_range, struct um_foreign *ret,
				   struct um_error *err);
/* Removes the rules; success when there are none. */
um_must_check int um_foreign_remove(const char *pod_range, struct um_error *err);

#endif
