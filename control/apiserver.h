/* The Service default/kubernetes and its endpoints: where this server listens. It and
 * kube-system/kube-dns come back when somebody removes them. */
#ifndef UM_CONTROL_APISERVER_H
#define UM_CONTROL_APISERVER_H

#include "base/error.h"

struct um_apiserver;
struct um_ctl;

/* @listen: a numeric address. An unspecified one stands for the host's first IPv4 address that is
 * not a loopback one, and is looked up again now and then; where there is none, and for ::1, it is
 * 127.0.0.1. Other IPv6 addresses have no endpoints, since Services are IPv4: said in the log. */
um_must_check int um_apiserver_new(struct um_ctl *c, const char *listen, int port,
				   struct um_apiserver **ret, struct um_error *err);
void um_apiserver_free(struct um_apiserver *s); /* accepts NULL */

#endif
