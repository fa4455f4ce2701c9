/* Empties namespaces that are being deleted, then lets them go. */
#ifndef UM_CONTROL_NAMESPACE_H
#define UM_CONTROL_NAMESPACE_H

#include "base/error.h"

struct um_api;
struct um_loop;
struct um_namespaces;
struct um_store;

/* All borrowed; they must outlive it. */
um_must_check int um_namespaces_new(struct um_loop *l, struct um_api *api, struct um_store *durable,
				    struct um_store *volatile_, struct um_namespaces **ret,
				    struct um_error *err);
void um_namespaces_free(struct um_namespaces *n); /* accepts NULL */

#endif
