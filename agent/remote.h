/* The agent's side of the API: its pods by list and watch, their status back, its node and lease,
 * configmaps and secrets, events, and the control channel for logs. All over mutual TLS with the
 * node's own certificate; the agent opens no port. */
#ifndef UM_AGENT_REMOTE_H
#define UM_AGENT_REMOTE_H

#include "agent/agent.h"

struct um_remote;

struct um_remote_options {
	const char *host; /* of the server */
	int port;
	const char *ca_path, *cert_path, *key_path;
	const char *node_name, *node_ip;
	const char *node_range; /* shown as podCIDR; NULL: none */
	const char *log_dir;
	int max_pods; /* 0: 110 */
};

/* Becomes the agent's source and starts. The agent is borrowed. Everything is retried for ever:
 * a server that is away ends nothing. */
um_must_check int um_remote_new(struct um_loop *l, struct um_agent *a,
				const struct um_remote_options *opt, struct um_remote **ret,
				struct um_error *err);
void um_remote_free(struct um_remote *r); /* accepts NULL; before the agent's */

#endif
