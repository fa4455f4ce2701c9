#include "agent/internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/capability.h>

#include "agent/dns.h"
#include "agent/links.h"
#include "agent/proxy.h"
#include "agent/refresh.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/log.h"
#include "netns/ctr_net.h"
#include "netns/foreign.h"
#include "netns/services.h"
#include "rootfs/rootfs.h"
#include "wire/loop.h"
#include "wire/tls.h"

#define DEFAULT_GRACE 30
#define NET_CHECK_NS (5 * UM_NSEC_PER_SEC)

static struct agent_pod *find_pod(struct um_agent *a, const char *uid)
{
	struct agent_pod *p;

	HASH_FIND_STR(a->pods, uid, p);
	return p;
}

static char *join(const char *dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

static int make_paths(struct um_agent *a, struct um_error *err)
{
	const char *dirs[] = {a->opt.state_dir, a->opt.run_dir};
	int r = 0;

	a->shim_path = join(a->opt.libexec_dir, "umiak-shim");
	a->oci_path =
		a->opt.oci_path ? strdup(a->opt.oci_path) : join(a->opt.libexec_dir, "umiak-oci");
	if (!a->opt.oci_path && a->oci_path && access(a->oci_path, X_OK) < 0) {
		free(a->oci_path); /* installed, it is a program for people too */
		a->oci_path = join(UM_BINDIR, "umiak-oci");
	}
	a->oci_root = join(a->opt.run_dir, "oci");
	if (!a->shim_path || !a->oci_path || !a->oci_root)
		return um_error_errno(err, -ENOMEM, "start the agent");
	for (size_t i = 0; i < UM_ARRAY_LEN(dirs) && r == 0; i++)
		r = um_io_mkdirs(AT_FDCWD, dirs[i], 0700, err);
	if (r == 0)
		r = um_io_mkdirs(AT_FDCWD, a->oci_root, 0700, err);
	if (r == 0)
		r = um_io_mkdirs(AT_FDCWD, a->opt.log_dir, 0755, err);
	if (r == 0 && access(a->shim_path, X_OK) < 0)
		r = um_error_errno(err, -errno, "%s", a->shim_path);
	if (r == 0 && access(a->oci_path, X_OK) < 0)
		r = um_error_errno(err, -errno, "%s", a->oci_path);
	return r;
}

static bool keep_pod(void *arg, const char *uid)
{
	return find_pod(arg, uid) != NULL;
}

/* Snapshots are called "<uid>-<container>.<attempt>"; a uid is 36 characters. */
static bool keep_snapshot(void *arg, const char *id)
{
	char uid[37];

	if (!strncmp(id, UM_CTR_UID_PREFIX, strlen(UM_CTR_UID_PREFIX)))
		return true; /* of a container that is no pod's */
	if (strlen(id) < 37)
		return false;
	memcpy(uid, id, 36);
	uid[36] = '\0';
	return find_pod(arg, uid) != NULL;
}

/* Removes what no pod of ours owns: left by a crash between two steps. */
static int sweep(struct um_agent *a, struct um_error *err)
{
	int r = 0;

	if (a->net)
		r = um_net_sweep(a->net, keep_pod, a, err);
	if (r == 0)
		r = um_rootfs_sweep(a->images, keep_snapshot, a, err);
	return r;
}

/* ---- the rules, which somebody may flush ---- */

static void net_check_work(void *arg)
{
	struct um_agent *a = arg;

	a->net_healed = false;
	a->net_err = (struct um_error)UM_ERROR_INIT;
	if (um_net_check(a->net, &a->net_healed, &a->net_err) == 0)
		(void)!um_foreign_check(a->opt.pod_range, &a->foreign, &a->net_err);
}

static void net_check_done(void *arg)
{
	struct um_agent *a = arg;

	if (a->net_err.code)
		um_log(UM_LOG_ERROR, "check the pod network", UM_LOG_ERR(&a->net_err));
	else if (a->net_healed)
		um_log(UM_LOG_WARN, "the pod network's rules were gone and are back");
	if (a->foreign.added)
		um_log(UM_LOG_WARN, "another firewall drops forwarded packets: rules that accept "
				    "pods' are in the place that it leaves for them");
	if (strcmp(a->foreign.report, a->net_report) != 0) {
		memcpy(a->net_report, a->foreign.report, sizeof(a->net_report));
		if (*a->net_report)
			um_log(UM_LOG_WARN, "pods' packets are dropped",
			       UM_LOG_STR("by", a->net_report));
		if (a->src.node_changed)
			a->src.node_changed(a->src.ctx);
	}
	a->net_checking = false;
	um_timer_start(a->net_check, NET_CHECK_NS);
}

static void on_net_check(void *arg)
{
	struct um_agent *a = arg;

	if (a->closing)
		return; /* what it looks at is about to be freed */
	a->net_checking = true;
	if (um_work_submit(a->loop, net_check_work, net_check_done, a) == 0)
		return;
	a->net_checking = false;
	um_timer_start(a->net_check, NET_CHECK_NS);
}

static int open_net(struct um_agent *a, struct um_error *err)
{
	struct um_net_config cfg = {
		.pod_range = a->opt.pod_range,
		.node_range = a->opt.node_range,
		.state_dir = a->opt.state_dir,
	};

	int r;

	if (!a->opt.pod_range)
		return 0;
	r = um_net_open(&cfg, &a->net, err);
	if (r < 0)
		return r;
	a->net_check = um_timer_new(a->loop, on_net_check, a);
	if (!a->net_check)
		return um_error_errno(err, -ENOMEM, "watch the pod network");
	um_timer_start(a->net_check, 0);
	return 0;
}

static int open_services(struct um_agent *a, struct um_error *err)
{
	struct um_services_config cfg = {
		.service_range = a->opt.service_range,
		.pod_range = a->opt.pod_range,
		.node_range = a->opt.node_range,
		.node_port_min = a->opt.node_port_min,
		.node_port_max = a->opt.node_port_max,
		.local_addr = a->opt.cluster_dns,
	};
	struct agent_dns_config dns = {
		.address = a->opt.cluster_dns,
		.domain = a->opt.cluster_domain ? a->opt.cluster_domain : "cluster.local",
		.pod_range = a->opt.pod_range,
		.service_range = a->opt.service_range,
	};
	int r;

	if (!a->net || !a->opt.service_range)
		return 0;
	r = um_services_open(&cfg, &a->services, err);
	if (r == 0)
		r = proxy_new(a->loop, a->services, a->opt.cluster_dns, &a->proxy, err);
	if (r == 0 && !(a->links = links_new()))
		r = um_error_errno(err, -ENOMEM, "follow Services");
	if (r == 0 && a->opt.cluster_dns)
		r = agent_dns_new(a->loop, &dns, &a->dns, err);
	return r;
}

static int64_t grace_of(const struct um_json *pod)
{
	int64_t s = um_json_get_i64(
		pod, "metadata.deletionGracePeriodSeconds",
		um_json_get_i64(pod, "spec.terminationGracePeriodSeconds", DEFAULT_GRACE));

	return (s < 0 ? 0 : s > 86400 * 365 ? 86400 * 365 : s) * UM_NSEC_PER_SEC;
}

/* Ends the re-adopted pods that their source no longer names. */
static void end_unknown(struct um_agent *a, bool statics)
{
	struct agent_pod *p, *tmp;

	HASH_ITER (hh, a->pods, p, tmp) {
		if (p->known || p->is_static != statics)
			continue;
		p->removed = true;
		pod_end(p, grace_of(p->obj));
	}
}

int um_agent_new(struct um_loop *l, const struct um_agent_options *opt, struct um_agent **ret,
		 struct um_error *err)
{
	struct um_agent *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return um_error_errno(err, -ENOMEM, "start the agent");
	a->loop = l;
	a->opt = *opt;
	a->can_lower_oom = cap_get_bound(CAP_SYS_RESOURCE) == 1;
	r = make_paths(a, err);
	if (r == 0)
		r = um_cgroups_open(&a->cgroups, err);
	if (r == 0)
		r = open_shims_group(a, err);
	if (r == 0)
		r = um_images_open(a->opt.images_dir, &a->images, err);
	if (r == 0)
		r = open_net(a, err);
	if (r == 0)
		r = open_services(a, err);
	if (r == 0)
		r = refresh_new(a, &a->refresh, err);
	if (r == 0)
		r = adopt_all(a, err);
	if (r == 0)
		r = sweep(a, err);
	a->log_gc = um_timer_new(l, log_gc_look, a);
	if (r == 0 && !a->log_gc)
		r = um_error_errno(err, -ENOMEM, "start the agent");
	if (r == 0)
		um_timer_start(a->log_gc, 0);
	if (r == 0 && a->opt.manifests_dir)
		r = static_open(a, &a->statics, err);
	if (r < 0) {
		um_agent_free(a);
		return r;
	}
	end_unknown(a, true);
	*ret = a;
	return 0;
}

void um_agent_free(struct um_agent *a)
{
	struct agent_pod *p, *tmp;

	if (!a)
		return;
	a->closing = true;
	static_free(a->statics);
	while (a->net_checking || !um_agent_idle(a)) /* steps under way use what is freed below */
		if (um_loop_step(a->loop, INT64_MAX) < 0)
			break;
	proxy_stop(a->proxy); /* the pods' ends would begin another flush */
	HASH_ITER (hh, a->pods, p, tmp)
		pod_free(p);
	(void)!um_loop_step(a->loop, 0); /* deferred looks at them */
	um_timer_free(a->log_gc);
	um_timer_free(a->net_check);
	um_tls_unref(a->probe_tls);
	refresh_free(a->refresh);
	links_free(a->links);
	agent_dns_free(a->dns);
	proxy_free(a->proxy);
	um_services_close(a->services);
	um_net_close(a->net);
	um_images_close(a->images);
	um_cgroup_free(a->shims);
	um_cgroups_free(a->cgroups);
	free(a->shim_path);
	free(a->oci_path);
	free(a->oci_root);
	free(a);
}

void um_agent_set_source(struct um_agent *a, const struct um_agent_source *src)
{
	a->src = *src;
}

bool um_agent_idle(const struct um_agent *a)
{
	for (const struct agent_pod *p = a->pods; p; p = p->hh.next)
		if (p->job)
			return false;
	return !a->proxy || proxy_idle(a->proxy);
}

int um_agent_pod_put(struct um_agent *a, const struct um_json *pod, struct um_error *err)
{
	const char *uid = um_json_get_str(pod, "metadata.uid", "");
	const char *phase = um_json_get_str(pod, "status.phase", "Pending");
	struct agent_pod *p = find_pod(a, uid);
	bool deleted = um_json_get(um_json_get(pod, "metadata"), "deletionTimestamp") != NULL;

	if (strlen(uid) != 36 || uid[strspn(uid, "0123456789abcdef-")])
		return um_error_set(err, -EINVAL, "pod uid \"%s\" is not a UUID", uid);
	if (p) {
		struct um_arena *arena = um_arena_new(4 << 20);
		struct um_json *copy = arena ? um_json_copy(arena, pod) : NULL;

		if (!copy) {
			um_arena_free(arena);
			return um_error_errno(err, -ENOMEM, "pod %s", p->name);
		}
		p->known = true;
		pod_update(p, arena, copy);
	} else if (deleted || !strcmp(phase, "Succeeded") || !strcmp(phase, "Failed")) {
		/* It ran somewhere in the past; here is nothing of it. */
		if (deleted && a->src.gone)
			a->src.gone(a->src.ctx, um_json_get_str(pod, "metadata.namespace", ""),
				    um_json_get_str(pod, "metadata.name", ""), uid);
		return 0;
	} else {
		p = pod_new(a, pod, err);
		if (!p)
			return -ENOMEM;
		p->known = true;
		pod_dirty(p);
	}
	if (deleted)
		pod_end(p, grace_of(pod));
	return 0;
}

void um_agent_pod_remove(struct um_agent *a, const char *uid)
{
	struct agent_pod *p = find_pod(a, uid);

	if (!p)
		return;
	p->removed = true;
	pod_end(p, grace_of(p->obj));
}

void um_agent_end_all(struct um_agent *a, int64_t grace_ns)
{
	struct agent_pod *p, *tmp;

	HASH_ITER (hh, a->pods, p, tmp) {
		p->removed = true;
		pod_end(p, grace_ns);
	}
}

bool um_agent_empty(const struct um_agent *a)
{
	return !a->pods;
}

void um_agent_source_synced(struct um_agent *a)
{
	a->synced = true;
	end_unknown(a, false);
	refresh_arm(a);
}
