/* The node's own objects: Node, with what this machine is and can do, and its Lease. */
#include "agent/refresh.h"
#include "agent/remote_internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "wire/loop.h"

#define LEASE_SECONDS 40
#define LEASE_PERIOD_NS (10 * UM_NSEC_PER_SEC)
#define STATUS_PERIOD_NS (300 * UM_NSEC_PER_SEC)
#define RETRY_NS (1 * UM_NSEC_PER_SEC)

/* ---- what this machine is ---- */

static void read_word(const char *path, const char *key, char *buf, size_t size)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(65536);
	const char *at, *end;
	size_t len;

	buf[0] = '\0';
	if (um_io_read_file(AT_FDCWD, path, &b, NULL) < 0)
		return;
	at = *key ? strstr(um_buf_str(&b), key) : um_buf_str(&b);
	if (!at)
		return;
	at += strlen(key);
	at += strspn(at, " \t\"");
	end = at + strcspn(at, "\n\"");
	len = (size_t)(end - at) < size ? (size_t)(end - at) : size - 1;
	memcpy(buf, at, len);
	buf[len] = '\0';
}

static const char *oci_machine(const char *machine)
{
	static const struct {
		const char *uname, *go;
	} names[] = {{"x86_64", "amd64"}, {"aarch64", "arm64"}, {"armv7l", "arm"}};

	for (size_t i = 0; i < UM_ARRAY_LEN(names); i++)
		if (!strcmp(machine, names[i].uname))
			return names[i].go;
	return machine;
}

static void node_info(struct um_arena *a, struct um_json *status)
{
	struct um_json *o = um_json_ensure_obj(a, status, "nodeInfo");
	struct utsname u;
	char word[200];

	uname(&u);
	um_json_set_str(a, o, "architecture", oci_machine(u.machine));
	um_json_set_str(a, o, "operatingSystem", "linux");
	um_json_set_str(a, o, "kernelVersion", u.release);
	read_word("/etc/os-release", "PRETTY_NAME=", word, sizeof(word));
	um_json_set_str(a, o, "osImage", *word ? word : "Linux");
	um_json_set_str(a, o, "containerRuntimeVersion", "umiak://" PACKAGE_VERSION);
	um_json_set_str(a, o, "kubeletVersion", "v1.33.0+umiak.1");
	um_json_set_str(a, o, "kubeProxyVersion", "");
	read_word("/etc/machine-id", "", word, sizeof(word));
	um_json_set_str(a, o, "machineID", word);
	um_json_set_str(a, o, "systemUUID", word);
	read_word("/proc/sys/kernel/random/boot_id", "", word, sizeof(word));
	um_json_set_str(a, o, "bootID", word);
}

static void capacity(const struct um_remote *r, struct um_arena *a, struct um_json *status)
{
	static const char *const lists[] = {"capacity", "allocatable"};
	char kib[40];

	read_word("/proc/meminfo", "MemTotal:", kib, sizeof(kib));
	for (size_t i = 0; i < UM_ARRAY_LEN(lists); i++) {
		struct um_json *o = um_json_ensure_obj(a, status, lists[i]);

		um_json_set_str(a, o, "cpu",
				um_arena_printf(a, "%ld", sysconf(_SC_NPROCESSORS_ONLN)));
		um_json_set_str(a, o, "memory",
				um_arena_printf(a, "%.*sKi", (int)strcspn(kib, " "), kib));
		um_json_set_str(a, o, "pods",
				um_arena_printf(a, "%d", r->opt.max_pods ? r->opt.max_pods : 110));
	}
}

static void add_condition(const struct um_remote *r, struct um_arena *a, struct um_json *list,
			  const char *type, bool value, const char *reason, const char *message)
{
	struct um_json *o = um_json_append(list, um_json_new_obj(a));
	char now[UM_TIME_LEN];

	um_time_format(um_clock_wall(um_loop_clock(r->loop)), now);
	um_json_set_str(a, o, "type", type);
	um_json_set_str(a, o, "status", value ? "True" : "False");
	um_json_set_str(a, o, "lastHeartbeatTime", now);
	um_json_set_str(a, o, "lastTransitionTime", now);
	um_json_set_str(a, o, "reason", reason);
	um_json_set_str(a, o, "message", message);
}

/* The conditions that were there keep their times where the status is the same. */
static void keep_times(struct um_arena *a, struct um_json *list, const struct um_json *old)
{
	um_json_foreach (c, list)
		um_json_foreach (was, um_json_path(old, "status.conditions"))
			if (!strcmp(um_json_get_str(c, "type", ""),
				    um_json_get_str(was, "type", "")) &&
			    !strcmp(um_json_get_str(c, "status", ""),
				    um_json_get_str(was, "status", ""))) {
				um_json_set_str(a, c, "lastTransitionTime",
						um_json_get_str(was, "lastTransitionTime", ""));
				um_json_set_str(a, c, "lastHeartbeatTime",
						um_json_get_str(was, "lastHeartbeatTime", ""));
			}
}

/* The lease is the heartbeat: the Node is written only when something of it has changed, so that an
 * idle cluster writes nothing to its disk. */
static bool same_status(const struct um_json *now, const struct um_json *old)
{
	um_json_foreach (it, now)
		if (!um_json_equal(it, um_json_get(um_json_get(old, "status"), it->key)))
			return false;
	return true;
}

static struct um_json *node_status(const struct um_remote *r, struct um_arena *a,
				   const struct um_json *old)
{
	struct um_json *st = um_json_new_obj(a), *list, *o;

	capacity(r, a, st);
	list = um_json_set(a, st, "addresses", um_json_new_arr(a));
	o = um_json_append(list, um_json_new_obj(a));
	um_json_set_str(a, o, "type", "InternalIP");
	um_json_set_str(a, o, "address", r->opt.node_ip);
	o = um_json_append(list, um_json_new_obj(a));
	um_json_set_str(a, o, "type", "Hostname");
	um_json_set_str(a, o, "address", r->opt.node_name);
	list = um_json_set(a, st, "conditions", um_json_new_arr(a));
	add_condition(r, a, list, "MemoryPressure", false, "KubeletHasSufficientMemory",
		      "the node has memory");
	add_condition(r, a, list, "DiskPressure", false, "KubeletHasNoDiskPressure",
		      "the node has disk space");
	add_condition(r, a, list, "PIDPressure", false, "KubeletHasSufficientPID",
		      "the node has process ids");
	if (!r->agent->can_lower_oom)
		add_condition(r, a, list, "OOMScoreRestricted", true, "NoCapSysResource",
			      "the agent lacks CAP_SYS_RESOURCE: Guaranteed pods are not protected "
			      "from the OOM killer");
	if (*r->agent->net_report)
		add_condition(r, a, list, "PodTrafficDropped", true, "ForeignFirewall",
			      r->agent->net_report);
	add_condition(r, a, list, "Ready", true, "KubeletReady", "the agent is ready");
	keep_times(a, list, old);
	node_info(a, st);
	return st;
}

/* ---- the Node ---- */

static void look_at_node(void *arg);

static void node_later(struct um_remote *r, int64_t ns)
{
	um_timer_start(r->node_timer, ns);
}

static void on_patched(void *arg, um_unused int status, um_unused const struct um_json *obj,
		       const struct um_error *err)
{
	struct um_remote *r = arg;

	if (err)
		um_log(UM_LOG_WARN, "node status", UM_LOG_ERR(err));
	else if (!r->node_known)
		um_log(UM_LOG_INFO, "node registered", UM_LOG_STR("node", r->opt.node_name));
	r->node_known = !err;
	node_later(r, err ? RETRY_NS : STATUS_PERIOD_NS);
}

static void patch_status(struct um_remote *r, const struct um_json *old)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(4 << 20);
	struct um_json *patch = a ? um_json_new_obj(a) : NULL;
	char target[400];

	um_json_set(a, patch, "status", node_status(r, a, old));
	if (patch && same_status(um_json_get(patch, "status"), old)) {
		if (!r->node_known)
			um_log(UM_LOG_INFO, "node registered",
			       UM_LOG_STR("node", r->opt.node_name));
		r->node_known = true;
		node_later(r, STATUS_PERIOD_NS);
		return;
	}
	snprintf(target, sizeof(target), "/api/v1/nodes/%s/status", r->opt.node_name);
	if (!patch || um_arena_failed(a) ||
	    remote_call(r, "PATCH", target, "application/merge-patch+json", patch, on_patched, r) <
		    0)
		node_later(r, RETRY_NS);
}

static void on_created(void *arg, um_unused int status, const struct um_json *obj,
		       const struct um_error *err)
{
	struct um_remote *r = arg;

	if (err) {
		um_log(UM_LOG_WARN, "register node", UM_LOG_ERR(err));
		node_later(r, RETRY_NS);
		return;
	}
	patch_status(r, obj);
}

static void create_node(struct um_remote *r)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	struct um_json *node = a ? um_json_new_obj(a) : NULL, *meta, *labels, *spec;
	struct utsname u;

	uname(&u);
	um_json_set_str(a, node, "apiVersion", "v1");
	um_json_set_str(a, node, "kind", "Node");
	meta = um_json_ensure_obj(a, node, "metadata");
	um_json_set_str(a, meta, "name", r->opt.node_name);
	labels = um_json_ensure_obj(a, meta, "labels");
	um_json_set_str(a, labels, "kubernetes.io/hostname", r->opt.node_name);
	um_json_set_str(a, labels, "kubernetes.io/os", "linux");
	um_json_set_str(a, labels, "kubernetes.io/arch", oci_machine(u.machine));
	spec = um_json_ensure_obj(a, node, "spec");
	if (r->opt.node_range) {
		um_json_set_str(a, spec, "podCIDR", r->opt.node_range);
		um_json_append(um_json_ensure_arr(a, spec, "podCIDRs"),
			       um_json_new_str(a, r->opt.node_range));
	}
	if (!node || um_arena_failed(a) ||
	    remote_call(r, "POST", "/api/v1/nodes", "application/json", node, on_created, r) < 0)
		node_later(r, RETRY_NS);
}

static void on_node(void *arg, int status, const struct um_json *obj, const struct um_error *err)
{
	struct um_remote *r = arg;

	if (status == 404)
		create_node(r);
	else if (err)
		node_later(r, RETRY_NS);
	else
		patch_status(r, obj);
}

static void look_at_node(void *arg)
{
	struct um_remote *r = arg;
	char target[400];

	snprintf(target, sizeof(target), "/api/v1/nodes/%s", r->opt.node_name);
	if (remote_call(r, "GET", target, NULL, NULL, on_node, r) < 0)
		node_later(r, RETRY_NS);
}

/* ---- the Lease ---- */

/* Who was silent for long may have been taken for dead: the Node is looked at, and once more with
 * the renewal after that, since the verdict may have been on its way. */
static void note_renewal(struct um_remote *r)
{
	int64_t now = um_loop_now(r->loop);

	if (r->lease_ns && now - r->lease_ns > 2 * LEASE_PERIOD_NS)
		r->node_looks = 2;
	r->lease_ns = now;
	if (!r->node_looks)
		return;
	r->node_looks--;
	node_later(r, 0);
}

static void on_lease(void *arg, int status, um_unused const struct um_json *obj,
		     const struct um_error *err)
{
	struct um_remote *r = arg;

	if (status == 404 && r->lease_known) { /* gone: made anew at once */
		r->lease_known = false;
		um_timer_start(r->lease_timer, 0);
		return;
	}
	if (!err || status == 409)
		r->lease_known = true;
	if (!err)
		note_renewal(r);
	um_timer_start(r->lease_timer, err ? RETRY_NS : LEASE_PERIOD_NS);
}

static void renew_lease(void *arg)
{
	struct um_remote *r = arg;
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 18);
	struct um_json *lease = a ? um_json_new_obj(a) : NULL, *o;
	const char *base = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
	char target[500], now[UM_TIME_LEN];
	int code;

	refresh_look(r->agent);
	um_time_format_micro(um_clock_wall(um_loop_clock(r->loop)), now);
	um_json_set_str(a, lease, "apiVersion", "coordination.k8s.io/v1");
	um_json_set_str(a, lease, "kind", "Lease");
	o = um_json_ensure_obj(a, lease, "metadata");
	um_json_set_str(a, o, "name", r->opt.node_name);
	um_json_set_str(a, o, "namespace", "kube-node-lease");
	o = um_json_ensure_obj(a, lease, "spec");
	um_json_set_str(a, o, "holderIdentity", r->opt.node_name);
	um_json_set_i64(a, o, "leaseDurationSeconds", LEASE_SECONDS);
	um_json_set_str(a, o, "renewTime", now);
	if (r->lease_known) {
		snprintf(target, sizeof(target), "%s/%s", base, r->opt.node_name);
		code = remote_call(r, "PATCH", target, "application/merge-patch+json", lease,
				   on_lease, r);
	} else {
		code = remote_call(r, "POST", base, "application/json", lease, on_lease, r);
	}
	if (!lease || code < 0)
		um_timer_start(r->lease_timer, RETRY_NS);
}

void remote_node_start(struct um_remote *r)
{
	r->node_timer = um_timer_new(r->loop, look_at_node, r);
	r->lease_timer = um_timer_new(r->loop, renew_lease, r);
	if (!r->node_timer || !r->lease_timer)
		return;
	um_timer_start(r->node_timer, 0);
	um_timer_start(r->lease_timer, 0);
}

void remote_node_changed(void *ctx)
{
	struct um_remote *r = ctx;

	if (r->node_known)
		node_later(r, 0);
}
