/* What each namespace has from the start, made again when it is deleted: the ServiceAccount
 * "default", and the ConfigMap "kube-root-ca.crt" with the cluster's CA. */
#ifndef UM_CONTROL_SERVICEACCOUNT_H
#define UM_CONTROL_SERVICEACCOUNT_H

#include "base/error.h"

struct um_ctl;
struct um_serviceaccounts;

/* @ca_pem is copied; NULL: no ConfigMaps. */
um_must_check int um_serviceaccounts_new(struct um_ctl *c, const char *ca_pem,
					 struct um_serviceaccounts **ret, struct um_error *err);
void um_serviceaccounts_free(struct um_serviceaccounts *s); /* accepts NULL */
/* The ConfigMaps follow. 0 or -ENOMEM. */
um_must_check int um_serviceaccounts_set_ca(struct um_serviceaccounts *s, const char *ca_pem);

#endif
