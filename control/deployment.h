/* Deployments: one ReplicaSet for each version of the template, and the way from one to the next.
 */
#ifndef UM_CONTROL_DEPLOYMENT_H
#define UM_CONTROL_DEPLOYMENT_H

#include "base/error.h"

struct um_ctl;
struct um_deployments;

um_must_check int um_deployments_new(struct um_ctl *c, struct um_deployments **ret,
				     struct um_error *err);
void um_deployments_free(struct um_deployments *s); /* accepts NULL */

#endif
