/* The addresses of a node's pods: which pod has which, kept in files so that restarts of the agent
 * neither leak nor double them.
 *
 * <state_dir>/ipam/<a.b.c.d> holds the uid of the pod that has the address. The file is made with
 * O_EXCL before anything is configured and removed after everything is gone, so the folder always
 * covers what is in use. Nothing is fsynced: pods do not survive a power cut, hence neither must
 * their addresses. Rules at open:
 *   - a file whose name is no address in canonical form is somebody else's: left alone, ignored;
 *   - a file whose content is no uid (cut short by a crash, overwritten) is removed;
 *   - of several addresses of one uid the lowest stays, the others are removed.
 * Addresses outside the range are kept (the range was changed while their pods ran) until they are
 * released. Released addresses are given again only after all others: the search goes round the
 * range from the one given last; after a restart from the file made last. */
#ifndef UM_NETNS_IPAM_H
#define UM_NETNS_IPAM_H

#include "netns/range.h"

#define UM_IPAM_UID_MAX 63

struct um_ipam;

/* 1 to 63 letters, digits, '-', '_' or '.': Kubernetes' uids and anything like them. */
bool um_ipam_uid_valid(const char *uid);

um_must_check int um_ipam_open(const char *state_dir, const struct um_range *range,
			       struct um_ipam **ret, struct um_error *err);
void um_ipam_close(struct um_ipam *i); /* accepts NULL */
UM_DEFINE_CLEANUP(struct um_ipam, um_ipam_close)

/* The address of @uid: the one it has or a new one; one outside the range is replaced. The first
 * and the last address of the range are never given. -EADDRNOTAVAIL: all are in use. */
um_must_check int um_ipam_give(struct um_ipam *i, const char *uid, uint32_t *ret_addr,
			       struct um_error *err);
/* Notes that @uid uses @addr already (its file was lost). What is noted already stays. */
um_must_check int um_ipam_claim(struct um_ipam *i, const char *uid, uint32_t addr,
				struct um_error *err);
/* False when @uid has none. */
bool um_ipam_find(struct um_ipam *i, const char *uid, uint32_t *ret_addr);
/* Success when it has none. */
um_must_check int um_ipam_release(struct um_ipam *i, const char *uid, struct um_error *err);
/* Calls @fn for each; @fn must not change anything here. Stops at its first negative result. */
um_must_check int um_ipam_each(struct um_ipam *i, int (*fn)(void *arg, const char *uid), void *arg);

#endif
