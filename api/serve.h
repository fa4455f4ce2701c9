/* A whole API server in a process: stores, certificates, TLS, the API, the controllers that empty
 * namespaces. What `umiak server` runs beside its other controllers, and what tests start.
 *
 * On first start it makes, below pki_dir, ca, server, admin (certificate and key each), sa.key
 * (which signs the tokens of service accounts), and the admin's kubeconfig (0600); later it renews
 * what has lived half of its life, also while running.
 */
#ifndef UM_API_SERVE_H
#define UM_API_SERVE_H

#include <stdbool.h>

#include "base/error.h"
#include "wire/pki.h"

struct um_api;
struct um_loop;
struct um_serve;
struct um_store;

struct um_serve_opts {
	const char *data_dir;	/* holds the store; made 0700 */
	const char *pki_dir;	/* made 0700 */
	const char *kubeconfig; /* NULL: <pki_dir>/admin.kubeconfig */
	const char *listen;	/* numeric address; NULL: 127.0.0.1 */
	int port;		/* 0: any free one */
	int health_port;	/* plain HTTP on 127.0.0.1 for health and metrics; 0: none */
	const char *const
		*extra_names;	     /* DNS names or addresses for the certificate; may be NULL */
	const char *service_range;   /* of cluster IPs; NULL: 10.96.0.0/16 */
	const char *node_port_range; /* NULL: 30000-32767 */
	const char *cluster_dns;     /* clusterIP of kube-system/kube-dns; NULL: no such Service */
	const char *pod_range;	     /* must not overlap the service range; NULL: not checked */
	int64_t event_ttl_ns;
	int64_t compact_keep; /* revisions of history that the store keeps; 0: its own default */
	int64_t inject_fsync_delay_ns; /* tests: each commit sleeps */
	bool no_scheduler;	       /* tests that place pods themselves */
};

/* Blocks on files. Errors as of the parts. */
um_must_check int um_serve_new(struct um_loop *l, const struct um_serve_opts *o,
			       struct um_serve **ret, struct um_error *err);
/* The credentials of a node: <pki_dir>/node-<name>.{crt,key}. */
um_must_check int um_serve_ensure_node(struct um_serve *s, const char *node, struct um_error *err);
int um_serve_port(const struct um_serve *s);
struct um_api *um_serve_api(struct um_serve *s);
struct um_store *um_serve_durable(struct um_serve *s);
struct um_store *um_serve_volatile(struct um_serve *s);
/* Lets requests end, then calls @done (from the loop). */
void um_serve_drain(struct um_serve *s, int64_t timeout_ns, void (*done)(void *arg), void *arg);
void um_serve_free(struct um_serve *s); /* accepts NULL */

/* The pair <dir>/<name>, made anew when it is missing, damaged, of another CA, lacks a name or has
 * lived half of its life. @ret_made (may be NULL) says so. */
um_must_check int um_serve_ensure_leaf(const struct um_pki_pair *ca, const char *dir,
				       const char *name, const struct um_pki_names *names,
				       int64_t wall_ns, bool *ret_made, struct um_error *err);
/* A kubeconfig with everything inside, written 0600. */
um_must_check int um_serve_write_kubeconfig(const char *path, const char *server_url,
					    const char *pki_dir, const char *user_pair,
					    const char *user, struct um_error *err);

#endif
