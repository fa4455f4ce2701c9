/* Containers: what the notation cannot say. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "api/schema/validate.h"
#include "base/quantity.h"

/* ---- environment ---- */

static void check_name(struct um_svalidator *v, const struct um_json *ref, const struct um_spath *p)
{
	const char *name = um_json_get_str(ref, "name", ""), *why;

	if (!*name)
		um_sv_required(v, UM_SPATH_FIELD(p, "name"), NULL);
	else if ((why = um_sformat_dns_subdomain(name)))
		um_sv_invalid_str(v, UM_SPATH_FIELD(p, "name"), name, why);
}

static void check_value_from(struct um_svalidator *v, const struct um_json *from, bool has_value,
			     const struct um_spath *p)
{
	static const char *const sources[] = {"fieldRef", "resourceFieldRef", "configMapKeyRef",
					      "secretKeyRef"};
	unsigned n = 0;

	for (size_t i = 0; i < UM_ARRAY_LEN(sources); i++) {
		const struct um_json *s = um_json_get(from, sources[i]);
		const struct um_spath *here = UM_SPATH_FIELD(p, sources[i]);

		if (!s)
			continue;
		n++;
		if (i == 0)
			um_sv_field_ref(v, s, false, here);
		else if (i == 1)
			um_sv_resource_ref(v, s, false, here);
		else
			check_name(v, s, here);
	}
	if (!n)
		um_sv_invalid_str(v, p, "",
				  "must specify one of: `fieldRef`, `resourceFieldRef`, "
				  "`configMapKeyRef` or `secretKeyRef`");
	else if (has_value)
		um_sv_invalid_str(v, p, "", "may not be specified when `value` is not empty");
	else if (n > 1)
		um_sv_invalid_str(v, p, "", "may not have more than one field specified at a time");
}

static void check_env(struct um_svalidator *v, const struct um_json *c, const struct um_spath *up)
{
	const struct um_spath *env = UM_SPATH_FIELD(up, "env");
	const struct um_spath *env_from = UM_SPATH_FIELD(up, "envFrom");
	long i = 0;

	um_json_foreach (it, um_json_get(c, "env")) {
		const struct um_json *from = um_json_get(it, "valueFrom");
		const struct um_spath *here = UM_SPATH_INDEX(env, i++);

		if (from)
			check_value_from(v, from, *um_json_get_str(it, "value", "") != '\0',
					 UM_SPATH_FIELD(here, "valueFrom"));
	}
	i = 0;
	um_json_foreach (it, um_json_get(c, "envFrom")) {
		const struct um_json *cm = um_json_get(it, "configMapRef");
		const struct um_json *secret = um_json_get(it, "secretRef");
		const struct um_spath *here = UM_SPATH_INDEX(env_from, i++);

		if (cm)
			check_name(v, cm, UM_SPATH_FIELD(here, "configMapRef"));
		if (secret)
			check_name(v, secret, UM_SPATH_FIELD(here, "secretRef"));
		if (!cm && !secret)
			um_sv_invalid_str(v, here, "",
					  "must specify one of: `configMapRef` or `secretRef`");
		else if (cm && secret)
			um_sv_invalid_str(v, here, "",
					  "may not have more than one field specified at a time");
	}
}

/* ---- ports ---- */

static void check_ports(struct um_svalidator *v, const struct um_json *c, bool host_network,
			const struct um_spath *up)
{
	const struct um_json *ports = um_json_get(c, "ports");
	const struct um_spath *p = UM_SPATH_FIELD(up, "ports");
	long i = 0;

	um_json_foreach (it, ports) {
		const struct um_spath *here = UM_SPATH_INDEX(p, i++);
		const char *name = um_json_get_str(it, "name", "");
		int64_t host = um_json_get_i64(it, "hostPort", 0);

		for (const struct um_json *o = ports->first; *name && o != it; o = o->next) {
			if (um_json_streq(um_json_get(o, "name"), name)) {
				um_sv_duplicate(v, UM_SPATH_FIELD(here, "name"), name);
				break;
			}
		}
		/* On the node's own network the port is there by itself; nothing leads to it
		 * elsewhere. */
		if (host && !host_network)
			um_sv_not_yet(v, UM_SPATH_FIELD(here, "hostPort"));
		else if (host && host != um_json_get_i64(it, "containerPort", 0))
			um_sv_invalid(v, UM_SPATH_FIELD(here, "hostPort"),
				      um_json_get(it, "hostPort"),
				      "must match `containerPort` when `hostNetwork` is true");
	}
}

/* ---- resources ---- */

static void check_resource_names(struct um_svalidator *v, const struct um_json *map, bool limits,
				 const struct um_spath *p)
{
	um_json_foreach (it, map) {
		const struct um_spath *here = UM_SPATH_KEY(p, it->key);

		if (um_senum_has("cpu|memory", it->key) ||
		    (!limits && !strcmp(it->key, "ephemeral-storage")))
			continue;
		if (um_sformat_qualified(it->key))
			um_sv_invalid_str(v, here, it->key, um_sformat_qualified(it->key));
		else if (!strchr(it->key, '/') && strncmp(it->key, "hugepages-", 10) &&
			 strcmp(it->key, "ephemeral-storage"))
			um_sv_invalid_str(v, here, it->key,
					  "must be a standard resource for containers");
		else
			um_sv_not_yet(v, here);
	}
}

static void check_resources(struct um_svalidator *v, const struct um_json *c,
			    const struct um_spath *up)
{
	const struct um_json *res = um_json_get(c, "resources");
	const struct um_json *limits = um_json_get(res, "limits");
	const struct um_json *requests = um_json_get(res, "requests");
	const struct um_spath *p = UM_SPATH_FIELD(up, "resources");

	check_resource_names(v, limits, true, UM_SPATH_FIELD(p, "limits"));
	check_resource_names(v, requests, false, UM_SPATH_FIELD(p, "requests"));
	um_json_foreach (it, requests) {
		const struct um_json *limit = um_json_get(limits, it->key);
		int64_t want, most;
		char why[200];

		if (!limit || um_quantity_milli(um_json_str(it, "0"), &want) < 0 ||
		    um_quantity_milli(um_json_str(limit, "0"), &most) < 0 || want <= most)
			continue;
		snprintf(why, sizeof(why), "must be less than or equal to %.60s limit of %.60s",
			 it->key, um_json_str(limit, "0"));
		um_sv_invalid(v, UM_SPATH_FIELD(p, "requests"), it, why);
	}
}

/* ---- volume mounts ---- */

static bool has_volume(const struct um_json *spec, const char *name)
{
	um_json_foreach (it, um_json_get(spec, "volumes"))
		if (um_json_streq(um_json_get(it, "name"), name))
			return true;
	return false;
}

static void check_mounts(struct um_svalidator *v, const struct um_spod_ctx *ctx,
			 const struct um_json *c, const struct um_spath *up)
{
	const struct um_json *mounts = um_json_get(c, "volumeMounts");
	const struct um_spath *p = UM_SPATH_FIELD(up, "volumeMounts");
	long i = 0;

	um_json_foreach (it, mounts) {
		const struct um_spath *here = UM_SPATH_INDEX(p, i++);
		const char *name = um_json_get_str(it, "name", "");
		const char *path = um_json_get_str(it, "mountPath", "");

		if (*name && !has_volume(ctx->spec, name))
			um_sv_not_found(v, UM_SPATH_FIELD(here, "name"), name);
		if (*um_json_get_str(it, "subPath", "") && *um_json_get_str(it, "subPathExpr", ""))
			um_sv_invalid_str(v, UM_SPATH_FIELD(here, "subPathExpr"),
					  um_json_get_str(it, "subPathExpr", ""),
					  "subPathExpr and subPath are mutually exclusive");
		for (const struct um_json *o = mounts->first; *path && o != it; o = o->next) {
			if (um_json_streq(um_json_get(o, "mountPath"), path)) {
				um_sv_invalid_str(v, UM_SPATH_FIELD(here, "mountPath"), path,
						  "must be unique");
				break;
			}
		}
	}
}

/* ---- probes ---- */

static void check_probe_port(struct um_svalidator *v, const struct um_json *action,
			     const struct um_spath *up)
{
	const struct um_json *port = um_json_get(action, "port");
	const struct um_spath *p = UM_SPATH_FIELD(up, "port");
	const char *why = NULL;
	int64_t n = um_json_i64(port, 0);

	if (um_json_is(port, UM_JSON_NUM) && (n < 1 || n > 65535))
		why = "must be between 1 and 65535, inclusive";
	else if (um_json_is(port, UM_JSON_STR) && port->len)
		why = um_sformat_port_name(port->str);
	if (why)
		um_sv_invalid(v, p, port, why);
}

static void check_handler(struct um_svalidator *v, const struct um_json *probe,
			  const struct um_spath *p)
{
	static const char *const handlers[] = {"exec", "httpGet", "tcpSocket", "grpc", "sleep"};
	unsigned n = 0;

	for (size_t i = 0; i < UM_ARRAY_LEN(handlers); i++) {
		const struct um_json *h = um_json_get(probe, handlers[i]);
		const struct um_spath *here = UM_SPATH_FIELD(p, handlers[i]);

		if (!h)
			continue;
		if (n++)
			um_sv_forbidden(v, here, "may not specify more than 1 handler type");
		if (i == 1 || i == 2)
			check_probe_port(v, h, here);
	}
	if (!n)
		um_sv_required(v, p, "must specify a handler type");
}

static void check_probes(struct um_svalidator *v, const struct um_json *c, bool init,
			 const struct um_spath *up)
{
	static const char *const probes[] = {"livenessProbe", "readinessProbe", "startupProbe"};

	for (size_t i = 0; i < UM_ARRAY_LEN(probes); i++) {
		const struct um_json *probe = um_json_get(c, probes[i]);
		const struct um_spath *p = UM_SPATH_FIELD(up, probes[i]);
		const struct um_json *success = um_json_get(probe, "successThreshold");
		const struct um_json *grace = um_json_get(probe, "terminationGracePeriodSeconds");

		if (!probe)
			continue;
		if (init) {
			um_sv_forbidden(v, p,
					"may not be set for init containers without "
					"restartPolicy=Always");
			continue;
		}
		check_handler(v, probe, p);
		if (i != 1 && success && um_json_i64(success, 0) != 1)
			um_sv_invalid(v, UM_SPATH_FIELD(p, "successThreshold"), success,
				      "must be 1");
		if (i == 1 && grace)
			um_sv_invalid(v, UM_SPATH_FIELD(p, "terminationGracePeriodSeconds"), grace,
				      "must not be set for readinessProbes");
	}
}

/* ---- hooks ---- */

static void check_sleep(struct um_svalidator *v, const struct um_spod_ctx *ctx,
			const struct um_json *handler, const struct um_spath *up)
{
	const struct um_json *seconds = um_json_path(handler, "sleep.seconds");
	int64_t grace = um_json_get_i64(ctx->spec, "terminationGracePeriodSeconds", 30);
	const struct um_spath *p = UM_SPATH_FIELD(up, "sleep");
	char why[100];

	if (um_json_i64(seconds, 0) >= 0 && um_json_i64(seconds, 0) <= grace)
		return;
	snprintf(why, sizeof(why),
		 "must be non-negative and less than terminationGracePeriodSeconds (%lld)",
		 (long long)grace);
	um_sv_invalid(v, UM_SPATH_FIELD(p, "seconds"), seconds, why);
}

static void check_hooks(struct um_svalidator *v, const struct um_spod_ctx *ctx,
			const struct um_json *c, const struct um_spath *up)
{
	static const char *const hooks[] = {"postStart", "preStop"};
	const struct um_json *lifecycle = um_json_get(c, "lifecycle");
	const struct um_spath *p = UM_SPATH_FIELD(up, "lifecycle");

	if (lifecycle && ctx->init) {
		um_sv_forbidden(v, p,
				"may not be set for init containers without restartPolicy=Always");
		return;
	}
	for (size_t i = 0; i < UM_ARRAY_LEN(hooks); i++) {
		const struct um_json *handler = um_json_get(lifecycle, hooks[i]);
		const struct um_spath *here = UM_SPATH_FIELD(p, hooks[i]);

		if (!handler)
			continue;
		check_handler(v, handler, here);
		check_sleep(v, ctx, handler, here);
	}
}

/* ---- privileges ---- */

/* Others would be left out, and the container be weaker or stronger than it asked to be. */
static void check_capabilities(struct um_svalidator *v, const struct um_json *caps,
			       const struct um_spath *up)
{
	static const char known[] =
		"ALL|AUDIT_CONTROL|AUDIT_READ|AUDIT_WRITE|BLOCK_SUSPEND|BPF|CHECKPOINT_RESTORE|"
		"CHOWN|DAC_OVERRIDE|DAC_READ_SEARCH|FOWNER|FSETID|IPC_LOCK|IPC_OWNER|KILL|LEASE|"
		"LINUX_IMMUTABLE|MAC_ADMIN|MAC_OVERRIDE|MKNOD|NET_ADMIN|NET_BIND_SERVICE|"
		"NET_BROADCAST|NET_RAW|PERFMON|SETFCAP|SETGID|SETPCAP|SETUID|SYSLOG|SYS_ADMIN|"
		"SYS_BOOT|SYS_CHROOT|SYS_MODULE|SYS_NICE|SYS_PACCT|SYS_PTRACE|SYS_RAWIO|"
		"SYS_RESOURCE|SYS_TIME|SYS_TTY_CONFIG|WAKE_ALARM";
	static const char *const lists[] = {"add", "drop"};

	for (size_t l = 0; l < UM_ARRAY_LEN(lists); l++) {
		const struct um_spath *p = UM_SPATH_FIELD(up, lists[l]);
		long i = 0;

		um_json_foreach (it, um_json_get(caps, lists[l])) {
			const struct um_spath *here = UM_SPATH_INDEX(p, i++);
			const char *name = um_json_str(it, "");
			char upper[40];
			size_t n = 0;

			if (!strncasecmp(name, "CAP_", 4))
				name += 4;
			for (; name[n] && n + 1 < sizeof(upper); n++)
				upper[n] = (char)toupper((unsigned char)name[n]);
			upper[n] = '\0';
			if (name[n] || strchr(upper, '|') || !um_senum_has(known, upper))
				um_sv_invalid(v, here, it, "is no capability of Linux");
		}
	}
}

static void check_security(struct um_svalidator *v, const struct um_json *c,
			   const struct um_spath *up)
{
	const struct um_json *sc = um_json_get(c, "securityContext");
	const struct um_json *escalation = um_json_get(sc, "allowPrivilegeEscalation");
	const struct um_spath *p = UM_SPATH_FIELD(up, "securityContext");

	um_sv_seccomp(v, sc, p);
	check_capabilities(v, um_json_get(sc, "capabilities"), UM_SPATH_FIELD(p, "capabilities"));
	if (!escalation || um_json_bool(escalation, true))
		return;
	if (um_json_get_bool(sc, "privileged", false))
		um_sv_invalid(v, p, sc,
			      "cannot set `allowPrivilegeEscalation` to false and `privileged` to "
			      "true");
	um_json_foreach (it, um_json_path(sc, "capabilities.add"))
		if (um_senum_has("CAP_SYS_ADMIN|SYS_ADMIN", um_json_str(it, "")))
			um_sv_invalid(v, p, sc,
				      "cannot set `allowPrivilegeEscalation` to false and "
				      "`capabilities.Add` CAP_SYS_ADMIN");
}

void um_sv_seccomp(struct um_svalidator *v, const struct um_json *sc, const struct um_spath *up)
{
	const struct um_spath *p = UM_SPATH_FIELD(up, "seccompProfile");

	if (!strcmp(um_json_get_str(sc, "seccompProfile.type", ""), "Localhost"))
		um_sv_not_yet(v, UM_SPATH_FIELD(p, "type"));
}

void um_sv_container(struct um_svalidator *v, const struct um_spod_ctx *ctx,
		     const struct um_json *c, const struct um_spath *p)
{
	const char *image = um_json_get_str(c, "image", "");

	if (*image && (strchr(" \t\n\r", image[0]) || strchr(" \t\n\r", image[strlen(image) - 1])))
		um_sv_invalid_str(v, UM_SPATH_FIELD(p, "image"), image,
				  "must not have leading or trailing whitespace");
	check_ports(v, c, ctx->host_network, p);
	check_env(v, c, p);
	check_mounts(v, ctx, c, p);
	check_resources(v, c, p);
	check_probes(v, c, ctx->init, p);
	check_hooks(v, ctx, c, p);
	check_security(v, c, p);
}
