/* What files a volume of keys has: configMap, secret, downwardAPI and projected ones, from the pod
 * and from what refs.c has got for it. Pure. */
#ifndef UM_AGENT_PROJECTION_H
#define UM_AGENT_PROJECTION_H

#include <stdbool.h>

#include "agent/volume_write.h"
#include "base/json.h"

struct agent_pod;

/* Whether the volume @v of a pod has files of keys. */
bool projection_is(const struct um_json *v);
/* Whether it shows labels or annotations, which change while the pod runs. */
bool projection_shows_metadata(const struct um_json *v);
/* The volume by which the server gives a pod its account's token. */
bool projection_is_access(const struct um_json *v);

/* Puts the files of volume @v into @files, which must stay as long as the pod's object and refs do.
 * @lenient: of projection_is_access() volumes what has not come yet is left out. Errors name what
 * is missing, as Kubernetes' events do. */
um_must_check int projection_files(const struct agent_pod *p, const struct um_json *v, bool lenient,
				   struct volume_files *files, struct um_error *err);

/* ---- tokens ---- */

/* One serviceAccountToken source of a pod. */
struct projection_token {
	char key[96]; /* of the pod's refs, below "tokens" */
	const char *audience;
	int64_t seconds;
	bool access; /* in a projection_is_access() volume */
};
/* The @n-th (from 0); false: there are not so many. */
bool projection_token_at(const struct um_json *pod, unsigned n, struct projection_token *ret);

#endif
