/* resolv.conf(5): the host's, and those of pods. */
#ifndef UM_AGENT_RESOLV_H
#define UM_AGENT_RESOLV_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/json.h"

/* What a pod's file may have, as Kubernetes bounds it. */
#define RESOLV_SERVERS_MAX 3
#define RESOLV_SEARCHES_MAX 32
#define RESOLV_SEARCH_BYTES 2048
#define RESOLV_OPTIONS_MAX 32
#define RESOLV_HOST_SERVERS_MAX 8

#define RESOLV_HOST_PATH "/etc/resolv.conf"
/* Whom systemd-resolved asks, where the host's own file names only its stub. */
#define RESOLV_SYSTEMD_PATH "/run/systemd/resolve/resolv.conf"

struct resolv {
	char servers[RESOLV_HOST_SERVERS_MAX][64];
	char searches[RESOLV_SEARCHES_MAX][256];
	char options[RESOLV_OPTIONS_MAX][64];
	size_t n_servers, n_searches, n_options;
	bool clipped; /* something found no room */
};

/* Reads text as the C library does: the last `search` or `domain` counts, other lines are left
 * out. */
void resolv_parse(const char *text, struct resolv *ret);
/* The host's file, or systemd-resolved's own where that names only 127.0.0.53. An unreadable file
 * is an empty one. Blocks on a small file. */
void resolv_read_host(struct resolv *ret);
/* True when all its servers are systemd-resolved's stub. */
bool resolv_is_stub(const struct resolv *r);

/* The file of a pod as its dnsPolicy and dnsConfig say. @dns NULL: the cluster has none, and
 * ClusterFirst acts as Default. False in the result's place: something was over Kubernetes' bounds
 * and is left out. */
bool resolv_of_pod(const struct um_json *pod, const char *dns, const char *domain,
		   const struct resolv *host, struct um_buf *b);

#endif
