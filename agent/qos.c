/* Quality of service. Pure. */
#include "agent/internal.h"

#include <string.h>

static bool has_resources(const struct um_json *list)
{
	um_json_foreach (c, list) {
		if (um_json_first(um_json_path(c, "resources.limits")) ||
		    um_json_first(um_json_path(c, "resources.requests")))
			return true;
	}
	return false;
}

static bool all_guaranteed(const struct um_json *list)
{
	static const char *const names[] = {"cpu", "memory"};

	um_json_foreach (c, list) {
		for (size_t i = 0; i < UM_ARRAY_LEN(names); i++) {
			const struct um_json *limit =
				um_json_get(um_json_path(c, "resources.limits"), names[i]);
			const struct um_json *request =
				um_json_get(um_json_path(c, "resources.requests"), names[i]);

			if (!limit || (request && !um_json_equal(limit, request)))
				return false;
		}
	}
	return true;
}

const char *pod_qos(const struct um_json *pod)
{
	const struct um_json *ctrs = um_json_path(pod, "spec.containers");
	const struct um_json *inits = um_json_path(pod, "spec.initContainers");

	if (!has_resources(ctrs) && !has_resources(inits))
		return "BestEffort";
	return all_guaranteed(ctrs) && all_guaranteed(inits) ? "Guaranteed" : "Burstable";
}
