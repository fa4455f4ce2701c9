/* All controllers and the scheduler: what makes the cluster follow its objects. */
#ifndef UM_CONTROL_CONTROLLERS_H
#define UM_CONTROL_CONTROLLERS_H

#include <stdbool.h>

#include "base/error.h"

struct um_api;
struct um_controllers;
struct um_loop;
struct um_store;

struct um_controllers_opts {
	struct um_loop *loop;
	struct um_api *api;
	struct um_store *durable, *volatile_; /* borrowed; all must outlive the controllers */
	bool no_scheduler;		      /* somebody else places pods */
	const char *ca_pem; /* copied; what pods get to know the API by. NULL: they get none */
};

um_must_check int um_controllers_new(const struct um_controllers_opts *o,
				     struct um_controllers **ret, struct um_error *err);
/* The API listens on @listen (numeric) and @port: the Service kubernetes leads there. Once. */
um_must_check int um_controllers_publish(struct um_controllers *c, const char *listen, int port,
					 struct um_error *err);
/* The CA has been renewed. 0 or -ENOMEM. */
um_must_check int um_controllers_set_ca(struct um_controllers *c, const char *ca_pem);
/* Writes in flight may end later. Accepts NULL. */
void um_controllers_free(struct um_controllers *c);

#endif
