#include "control/controllers.h"

#include <stdlib.h>

#include "control/apiserver.h"
#include "control/ctl.h"
#include "control/deployment.h"
#include "control/endpoints.h"
#include "control/gc.h"
#include "control/namespace.h"
#include "control/nodes.h"
#include "control/replicaset.h"
#include "control/scheduler.h"
#include "control/serviceaccount.h"

struct um_controllers {
	struct um_ctl *ctl;
	struct um_namespaces *namespaces;
	struct um_scheduler *scheduler;
	struct um_replicasets *replicasets;
	struct um_deployments *deployments;
	struct um_endpoints *endpoints;
	struct um_gc *gc;
	struct um_nodes *nodes;
	struct um_serviceaccounts *accounts;
	struct um_apiserver *apiserver; /* NULL: not published */
};

int um_controllers_new(const struct um_controllers_opts *o, struct um_controllers **ret,
		       struct um_error *err)
{
	struct um_controllers *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return um_error_set(err, -ENOMEM, "controllers: out of memory");
	r = um_ctl_new(o->loop, o->api, o->durable, o->volatile_, &c->ctl, err);
	if (r == 0)
		r = um_namespaces_new(o->loop, o->api, o->durable, o->volatile_, &c->namespaces,
				      err);
	if (r == 0 && !o->no_scheduler)
		r = um_scheduler_new(o->loop, o->durable, o->volatile_, &c->scheduler, err);
	if (r == 0)
		r = um_replicasets_new(c->ctl, &c->replicasets, err);
	if (r == 0)
		r = um_deployments_new(c->ctl, &c->deployments, err);
	if (r == 0)
		r = um_endpoints_new(c->ctl, &c->endpoints, err);
	if (r == 0)
		r = um_gc_new(c->ctl, &c->gc, err);
	if (r == 0)
		r = um_nodes_new(c->ctl, &c->nodes, err);
	if (r == 0)
		r = um_serviceaccounts_new(c->ctl, o->ca_pem, &c->accounts, err);
	if (r < 0) {
		um_controllers_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

int um_controllers_publish(struct um_controllers *c, const char *listen, int port,
			   struct um_error *err)
{
	return um_apiserver_new(c->ctl, listen, port, &c->apiserver, err);
}

int um_controllers_set_ca(struct um_controllers *c, const char *ca_pem)
{
	return um_serviceaccounts_set_ca(c->accounts, ca_pem);
}

void um_controllers_free(struct um_controllers *c)
{
	if (!c)
		return;
	um_apiserver_free(c->apiserver);
	um_serviceaccounts_free(c->accounts);
	um_nodes_free(c->nodes);
	um_gc_free(c->gc);
	um_endpoints_free(c->endpoints);
	um_deployments_free(c->deployments);
	um_replicasets_free(c->replicasets);
	um_scheduler_free(c->scheduler);
	um_namespaces_free(c->namespaces);
	um_ctl_free(c->ctl);
	free(c);
}
