/* Where Services lead: Endpoints and EndpointSlices, from the pods that they select; and slices for
 * Endpoints that somebody else keeps for a Service without a selector. */
#ifndef UM_CONTROL_ENDPOINTS_H
#define UM_CONTROL_ENDPOINTS_H

#include "base/error.h"

struct um_ctl;
struct um_endpoints;

um_must_check int um_endpoints_new(struct um_ctl *c, struct um_endpoints **ret,
				   struct um_error *err);
void um_endpoints_free(struct um_endpoints *e); /* accepts NULL */

#endif
