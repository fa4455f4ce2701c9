#include "agent/sysctl.h"

#include <string.h>

#include "base/json.h"

#define NAME_MAX_BYTES 254

/* The set that Kubernetes calls safe. */
static const char *const safe[] = {
	"kernel.shm_rmid_forced",
	"net.ipv4.ip_local_port_range",
	"net.ipv4.tcp_syncookies",
	"net.ipv4.ping_group_range",
	"net.ipv4.ip_unprivileged_port_start",
	"net.ipv4.ip_local_reserved_ports",
	"net.ipv4.tcp_keepalive_time",
	"net.ipv4.tcp_fin_timeout",
	"net.ipv4.tcp_keepalive_intvl",
	"net.ipv4.tcp_keepalive_probes",
	"net.ipv4.tcp_rmem",
	"net.ipv4.tcp_wmem",
};

/* "net/ipv4/tcp_rmem" is net.ipv4.tcp_rmem. */
static void plain_name(const char *name, char out[NAME_MAX_BYTES])
{
	size_t n = 0;

	for (; name[n] && n + 1 < NAME_MAX_BYTES; n++)
		out[n] = (char)(name[n] == '/' ? '.' : name[n]);
	out[n] = '\0';
}

static bool is_safe(const char *name)
{
	char plain[NAME_MAX_BYTES];

	plain_name(name, plain);
	for (size_t i = 0; i < UM_ARRAY_LEN(safe); i++)
		if (!strcmp(safe[i], plain))
			return true;
	return false;
}

const char *sysctl_forbidden(const struct um_json *pod)
{
	um_json_foreach (it, um_json_path(pod, "spec.securityContext.sysctls")) {
		const char *name = um_json_get_str(it, "name", "");

		if (!is_safe(name))
			return name;
	}
	return NULL;
}

struct um_json *sysctl_config(struct um_arena *a, const struct um_json *pod)
{
	const struct um_json *list = um_json_path(pod, "spec.securityContext.sysctls");
	struct um_json *o = um_json_first(list) ? um_json_new_obj(a) : NULL;
	char plain[NAME_MAX_BYTES];

	um_json_foreach (it, list) {
		plain_name(um_json_get_str(it, "name", ""), plain);
		um_json_set_str(a, o, plain, um_json_get_str(it, "value", ""));
	}
	return o;
}
