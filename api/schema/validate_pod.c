/* Pods: rules between fields, and what an update may change. */
#include <string.h>

#include "api/schema/validate.h"

#define MAX_CONTAINERS 500

/* ---- containers ---- */

static bool used_before(const struct um_json *list, const struct um_json *end, const char *name)
{
	for (const struct um_json *it = um_json_first(list); it && it != end; it = it->next)
		if (um_json_streq(um_json_get(it, "name"), name))
			return true;
	return false;
}

static void check_containers(struct um_svalidator *v, const struct um_json *spec, const char *field,
			     bool init, const struct um_spath *up)
{
	const struct um_json *list = um_json_get(spec, field);
	const struct um_spath *p = UM_SPATH_FIELD(up, field);
	struct um_spod_ctx ctx = {spec, um_json_get_bool(spec, "hostNetwork", false), init};
	long i = 0;

	if (list && list->len > MAX_CONTAINERS) {
		um_cause_add(v->causes, "FieldValueTooMany", um_spath_str(v->causes->arena, p),
			     "Too many: %u: must have at most %d items", list->len, MAX_CONTAINERS);
		return;
	}
	um_json_foreach (it, list) {
		const struct um_spath *here = UM_SPATH_INDEX(p, i++);
		const char *name = um_json_get_str(it, "name", "");

		if (*name && (used_before(list, it, name) ||
			      (init && used_before(um_json_get(spec, "containers"), NULL, name))))
			um_sv_duplicate(v, UM_SPATH_FIELD(here, "name"), name);
		um_sv_container(v, &ctx, it, here);
	}
}

/* ---- kernel parameters ---- */

static bool is_word(const char *s, size_t n)
{
	static const char ends[] = "abcdefghijklmnopqrstuvwxyz0123456789";

	if (!n || !strchr(ends, s[0]) || !strchr(ends, s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-_", s[i]))
			return false;
	return true;
}

/* Words with dots or slashes between them. */
static bool is_sysctl(const char *name)
{
	if (strlen(name) > 253)
		return false;
	for (const char *s = name;; s++) {
		size_t n = strcspn(s, "./");

		if (!is_word(s, n))
			return false;
		s += n;
		if (!*s)
			return true;
	}
}

/* A parameter that is the node's own where the pod shares that namespace with it. */
static const char *shared(const struct um_json *spec, const char *name)
{
	if (!strncmp(name, "net", 3) && um_json_get_bool(spec, "hostNetwork", false))
		return "may not be specified when 'hostNetwork' is true";
	if (strncmp(name, "net", 3) && um_json_get_bool(spec, "hostIPC", false))
		return "may not be specified when 'hostIPC' is true";
	return NULL;
}

static void check_sysctls(struct um_svalidator *v, const struct um_json *spec,
			  const struct um_spath *up)
{
	const struct um_json *list = um_json_path(spec, "securityContext.sysctls");
	const struct um_spath *sc = UM_SPATH_FIELD(up, "securityContext");
	const struct um_spath *p = UM_SPATH_FIELD(sc, "sysctls");
	long i = 0;

	um_json_foreach (it, list) {
		const struct um_spath *here = UM_SPATH_INDEX(p, i++);
		const char *name = um_json_get_str(it, "name", "");

		if (!*name)
			continue; /* the notation has said so */
		if (!is_sysctl(name))
			um_sv_invalid_str(
				v, UM_SPATH_FIELD(here, "name"), name,
				"must have at most 253 characters and match regex "
				"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-"
				"9]*[a-z0-9])?$");
		else if (used_before(list, it, name))
			um_sv_duplicate(v, UM_SPATH_FIELD(here, "name"), name);
		else if (shared(spec, name))
			um_sv_invalid_str(v, UM_SPATH_FIELD(here, "name"), name,
					  shared(spec, name));
	}
}

/* A port of the node can serve one container only. */
static void check_host_ports(struct um_svalidator *v, const struct um_json *spec,
			     const struct um_spath *up)
{
	const struct um_json *containers = um_json_get(spec, "containers");
	struct um_json *seen = um_json_new_arr(v->causes->arena);
	const struct um_spath *list = UM_SPATH_FIELD(up, "containers");
	long c = 0;

	um_json_foreach (it, containers) {
		const struct um_spath *ports = UM_SPATH_FIELD(UM_SPATH_INDEX(list, c++), "ports");
		long i = 0;

		um_json_foreach (port, um_json_get(it, "ports")) {
			const struct um_spath *here = UM_SPATH_INDEX(ports, i++);
			int64_t n = um_json_get_i64(port, "hostPort", 0);
			bool known = false;
			char id[400];

			if (!n || !seen || seen->len > 1000)
				continue;
			snprintf(id, sizeof(id), "%.20s/%.200s/%lld",
				 um_json_get_str(port, "protocol", "TCP"),
				 um_json_get_str(port, "hostIP", ""), (long long)n);
			um_json_foreach (s, seen)
				known |= um_json_streq(s, id);
			if (known)
				um_sv_duplicate(v, UM_SPATH_FIELD(here, "hostPort"), id);
			else
				um_json_append(seen, um_json_new_str(v->causes->arena, id));
		}
	}
}

/* ---- the rest of the spec ---- */

static void check_toleration(struct um_svalidator *v, const struct um_json *t,
			     const struct um_spath *p)
{
	const char *op = um_json_get_str(t, "operator", "");
	const char *value = um_json_get_str(t, "value", "");
	const char *effect = um_json_get_str(t, "effect", "");
	const char *why;

	if (!*um_json_get_str(t, "key", "") && strcmp(op, "Exists"))
		um_sv_invalid_str(
			v, UM_SPATH_FIELD(p, "operator"), op,
			"operator must be Exists when `key` is empty, which means \"match "
			"all values and all keys\"");
	if (um_json_get(t, "tolerationSeconds") && strcmp(effect, "NoExecute"))
		um_sv_invalid_str(v, UM_SPATH_FIELD(p, "effect"), effect,
				  "effect must be 'NoExecute' when `tolerationSeconds` is set");
	if (!strcmp(op, "Exists") && *value)
		um_sv_invalid_str(v, UM_SPATH_FIELD(p, "operator"), value,
				  "value must be empty when `operator` is 'Exists'");
	else if ((why = um_sformat_label_value(value)))
		um_sv_invalid_str(v, UM_SPATH_FIELD(p, "operator"), value, why);
}

static void check_dns(struct um_svalidator *v, const struct um_json *spec,
		      const struct um_spath *up)
{
	const struct um_json *servers = um_json_path(spec, "dnsConfig.nameservers");
	const struct um_spath *p = UM_SPATH_FIELD(UM_SPATH_FIELD(up, "dnsConfig"), "nameservers");

	if (!strcmp(um_json_get_str(spec, "dnsPolicy", ""), "None") && !um_json_first(servers))
		um_sv_required(v, p,
			       "must provide at least one DNS nameserver when `dnsPolicy` is None");
	if (servers && servers->len > 3)
		um_sv_invalid(v, p, servers, "must not have more than 3 nameservers");
}

static void check_names_used(struct um_svalidator *v, const struct um_json *spec, const char *field,
			     const struct um_spath *up)
{
	const struct um_json *list = um_json_get(spec, field);
	long i = 0;

	um_json_foreach (it, list) {
		const char *name = um_json_get_str(it, "name", "");
		const struct um_spath *p = UM_SPATH_INDEX(UM_SPATH_FIELD(up, field), i++);

		if (*name && used_before(list, it, name))
			um_sv_duplicate(v, p, name);
	}
}

void um_sv_pod_spec(struct um_svalidator *v, const struct um_json *spec, const struct um_spath *up)
{
	const struct um_json *share = um_json_get(spec, "shareProcessNamespace");
	const struct um_spath *tolerations = UM_SPATH_FIELD(up, "tolerations");
	long i = 0;

	check_containers(v, spec, "containers", false, up);
	check_containers(v, spec, "initContainers", true, up);
	check_host_ports(v, spec, up);
	um_sv_volumes(v, um_json_get(spec, "volumes"), UM_SPATH_FIELD(up, "volumes"));
	um_json_foreach (it, um_json_get(spec, "tolerations"))
		check_toleration(v, it, UM_SPATH_INDEX(tolerations, i++));
	check_dns(v, spec, up);
	check_names_used(v, spec, "schedulingGates", up);
	check_sysctls(v, spec, up);
	um_sv_seccomp(v, um_json_get(spec, "securityContext"),
		      UM_SPATH_FIELD(up, "securityContext"));
	if (um_json_bool(share, false) && um_json_get_bool(spec, "hostPID", false))
		um_sv_invalid(v, UM_SPATH_FIELD(up, "shareProcessNamespace"), share,
			      "ShareProcessNamespace and HostPID cannot both be enabled");
}

/* ---- updates ---- */

static const struct um_spath *const spec_path = &(const struct um_spath){NULL, "spec", 0, false};

static bool in_list(const struct um_json *list, const struct um_json *n)
{
	um_json_foreach (it, list)
		if (um_json_equal(it, n))
			return true;
	return false;
}

static void check_deadline(struct um_svalidator *v, const struct um_json *spec,
			   const struct um_json *old)
{
	const struct um_json *now = um_json_get(spec, "activeDeadlineSeconds");
	const struct um_json *was = um_json_get(old, "activeDeadlineSeconds");
	const struct um_spath *p = UM_SPATH_FIELD(spec_path, "activeDeadlineSeconds");
	char why[120];

	if (!was || (now && um_json_i64(now, 0) <= um_json_i64(was, 0)))
		return;
	if (!now) {
		um_sv_invalid(v, p, NULL, "must not update from a positive integer to nil value");
		return;
	}
	snprintf(why, sizeof(why), "must be less than or equal to previous value");
	um_sv_invalid(v, p, now, why);
}

/* Puts @old's value under @key, or takes the key away. */
static void put_back(struct um_arena *a, struct um_json *spec, const struct um_json *old,
		     const char *key)
{
	const struct um_json *was = um_json_get(old, key);

	if (was)
		um_json_set(a, spec, key, um_json_copy(a, was));
	else
		um_json_remove(spec, key);
}

static void put_back_images(struct um_arena *a, struct um_json *spec, const struct um_json *old,
			    const char *field)
{
	const struct um_json *was = um_json_first(um_json_get(old, field));

	um_json_foreach (it, um_json_get(spec, field)) {
		if (!was)
			return;
		put_back(a, it, was, "image");
		was = was->next;
	}
}

void um_sv_pod_update(struct um_svalidator *v, const struct um_json *spec,
		      const struct um_json *old)
{
	struct um_arena *a = v->causes->arena;
	struct um_json *copy = um_json_copy(a, spec);
	const struct um_json *gates = um_json_get(old, "schedulingGates");

	um_json_foreach (it, um_json_get(spec, "schedulingGates"))
		if (!in_list(gates, it))
			um_sv_forbidden(v, UM_SPATH_FIELD(spec_path, "schedulingGates"),
					"only deletion is allowed, but found new scheduling gate");
	um_json_foreach (it, um_json_get(old, "tolerations")) {
		if (in_list(um_json_get(spec, "tolerations"), it))
			continue;
		um_sv_forbidden(v, UM_SPATH_FIELD(spec_path, "tolerations"),
				"existing toleration can not be modified except its "
				"tolerationSeconds");
		break;
	}
	check_deadline(v, spec, old);
	put_back(a, copy, old, "activeDeadlineSeconds");
	put_back(a, copy, old, "tolerations");
	put_back(a, copy, old, "schedulingGates");
	put_back_images(a, copy, old, "containers");
	put_back_images(a, copy, old, "initContainers");
	if (!um_json_equal(copy, old))
		um_sv_forbidden(
			v, spec_path,
			"pod updates may not change fields other than "
			"`spec.containers[*].image`,`spec.initContainers[*].image`,"
			"`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
			"existing tolerations),`spec.terminationGracePeriodSeconds` (allow it "
			"to be set to 1 if it was previously negative)");
}

void um_svalidate_pod(struct um_svalidator *v, const struct um_json *obj, const struct um_json *old)
{
	const struct um_json *spec = um_json_get(obj, "spec");

	if (!spec) {
		um_sv_required(v, UM_SPATH_FIELD(spec_path, "containers"), NULL);
		return;
	}
	um_sv_pod_spec(v, spec, spec_path);
	if (old)
		um_sv_pod_update(v, spec, um_json_get(old, "spec"));
}
