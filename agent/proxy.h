/* The service proxy: Services and EndpointSlices, as the server tells them, become the node's rules
 * (netns/services.h).
 *
 * Changes are gathered and sent by a worker, one flush at a time. Nothing is sent before both kinds
 * have been listed once: what the kernel holds from an earlier run goes on until then. */
#ifndef UM_AGENT_PROXY_H
#define UM_AGENT_PROXY_H

#include <stdbool.h>

#include "base/error.h"
#include "base/json.h"

struct um_loop;
struct um_services;

struct agent_proxy;

/* @services is borrowed, and must outlive it. @dns_ip: the address of cluster DNS, which this node
 * answers itself; NULL: none. */
um_must_check int proxy_new(struct um_loop *l, struct um_services *services, const char *dns_ip,
			    struct agent_proxy **ret, struct um_error *err);
/* True when no flush is under way: only then may it be freed. */
bool proxy_idle(const struct agent_proxy *p);
/* No flush begins any more. Accepts NULL. */
void proxy_stop(struct agent_proxy *p);
void proxy_free(struct agent_proxy *p); /* accepts NULL */

void proxy_put_service(struct agent_proxy *p, const struct um_json *service);
void proxy_drop_service(struct agent_proxy *p, const char *ns, const char *name);
void proxy_put_slice(struct agent_proxy *p, const struct um_json *slice);
void proxy_drop_slice(struct agent_proxy *p, const char *ns, const char *name);
/* All of a kind have been put: those that @items does not name are gone. */
void proxy_services_listed(struct agent_proxy *p, const struct um_json *items);
void proxy_slices_listed(struct agent_proxy *p, const struct um_json *items);

/* A pod of this node at @ip is about to be ended: no new connection goes there. False: none did.
 * Else @done is called once, when the kernel knows, unless proxy_restore() comes before. */
bool proxy_withdraw(struct agent_proxy *p, const char *ip, void (*done)(void *arg), void *arg);
/* The pod is gone: @ip may serve again. */
void proxy_restore(struct agent_proxy *p, const char *ip);

#endif
