/* The life of nodes. One whose Lease (kube-node-lease) is not renewed for 40 s, by the monotonic
 * clock here and never by what the lease says, becomes Ready=Unknown; conditions become taints;
 * pods that do not tolerate a taint NoExecute, or no longer, are deleted; pods on a node that
 * cannot be reached are not ready; those of a node that has gone for 40 s go, too. Where no node at
 * all is ready, silence and not being ready drive nobody out. A server that has just started gives
 * every node all of that time anew. */
#ifndef UM_CONTROL_NODES_H
#define UM_CONTROL_NODES_H

#include "base/error.h"

struct um_ctl;
struct um_nodes;

um_must_check int um_nodes_new(struct um_ctl *c, struct um_nodes **ret, struct um_error *err);
void um_nodes_free(struct um_nodes *s); /* accepts NULL */

#endif
