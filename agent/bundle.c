/* A container's bundle, made on a worker: its image found, its root mounted, its files and its
 * config.json written. */
#include "agent/internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/resolv.h"
#include "agent/subpath.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/num.h"
#include "rootfs/rootfs.h"

static int find_image(struct agent_job *j, struct um_arena *a, struct um_image *img)
{
	const char *ref = um_json_get_str(j->ctr->spec, "image", "");
	const char *policy = um_json_get_str(j->ctr->spec, "imagePullPolicy", "IfNotPresent");
	struct um_error own = UM_ERROR_INIT;
	int r = um_images_find(j->pod->agent->images, ref, a, img, &own);

	if (r == 0) {
		snprintf(j->image, sizeof(j->image), "%s", img->name);
		snprintf(j->image_id, sizeof(j->image_id), "%s", img->config_digest);
		if (um_num_signal(um_json_get_str(img->config, "config.StopSignal", ""),
				  &j->stop_signal) < 0)
			j->stop_signal = 0;
		return 0;
	}
	if (r == -EINVAL) {
		j->fail_reason = "InvalidImageName";
		return um_error_move(&j->err, &own);
	}
	if (r != -ENOENT) {
		j->fail_reason = "ErrImagePull";
		return um_error_move(&j->err, &own);
	}
	if (!strcmp(policy, "Never")) {
		j->fail_reason = "ErrImageNeverPull";
		return um_error_set(&j->err, r,
				    "image \"%s\" is not present with pull policy of Never", ref);
	}
	j->fail_reason = "ErrImagePull";
	return um_error_set(&j->err, r,
			    "image \"%s\" is not in this node's store, and pulling from registries "
			    "is not supported yet: use `umiak image import`",
			    ref);
}

/* ---- files beside the container ---- */

static int write_file(const struct agent_pod *p, const char *name, const struct um_buf *b,
		      struct um_error *err)
{
	char path[4096];
	int r = pod_run_path(p, path, sizeof(path), "%s", name);

	if (r < 0 || um_buf_error(b))
		return um_error_errno(err, r < 0 ? r : um_buf_error(b), "write %s", name);
	if (access(path, F_OK) == 0)
		return 0; /* another container of the pod has it mounted */
	return um_io_replace_file(AT_FDCWD, path, um_buf_str(b), b->len, 0644, UM_IO_NO_SYNC, err);
}

static const char *cluster_domain(const struct agent_pod *p)
{
	const char *domain = p->agent->opt.cluster_domain;

	return domain ? domain : "cluster.local";
}

static void hosts_file(const struct agent_pod *p, struct um_buf *b)
{
	const char *host = um_json_get_str(p->obj, "spec.hostname", p->name);
	const char *subdomain = um_json_get_str(p->obj, "spec.subdomain", "");

	if (pod_host_network(p) && um_io_read_file(AT_FDCWD, "/etc/hosts", b, NULL) == 0)
		goto aliases;
	um_buf_adds(b, "# Kubernetes-managed hosts file.\n"); /* tools look for this line */
	um_buf_adds(b, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
	if (p->ip[0] && *subdomain)
		um_buf_addf(b, "%s\t%s.%s.%s.svc.%s\t%s\n", p->ip, host, subdomain, p->ns,
			    cluster_domain(p), host);
	else if (p->ip[0])
		um_buf_addf(b, "%s\t%s\n", p->ip, host);
aliases:
	um_json_foreach (it, um_json_path(p->obj, "spec.hostAliases")) {
		um_buf_addf(b, "%s", um_json_get_str(it, "ip", ""));
		um_json_foreach (h, um_json_get(it, "hostnames"))
			um_buf_addf(b, "\t%s", um_json_str(h, ""));
		um_buf_addc(b, '\n');
	}
}

bool pod_resolv(const struct agent_pod *p, struct um_buf *b)
{
	const struct um_agent_options *opt = &p->agent->opt;
	_cleanup_free_ struct resolv *host = malloc(sizeof(*host));

	if (!host) {
		b->failed = -ENOMEM;
		return true;
	}
	resolv_read_host(host);
	return resolv_of_pod(p->obj, p->agent->dns ? opt->cluster_dns : NULL, cluster_domain(p),
			     host, b);
}

static int write_pod_files(const struct agent_pod *p, struct um_error *err)
{
	_cleanup_buf_ struct um_buf hosts = UM_BUF_INIT(1 << 20), name = UM_BUF_INIT(300);
	_cleanup_buf_ struct um_buf resolv = UM_BUF_INIT(1 << 16);
	int r;

	hosts_file(p, &hosts);
	pod_resolv(p, &resolv);
	um_buf_addf(&name, "%s\n",
		    pod_host_network(p) ? p->agent->opt.node_name
					: um_json_get_str(p->obj, "spec.hostname", p->name));
	r = write_file(p, "hosts", &hosts, err);
	if (r == 0)
		r = write_file(p, "hostname", &name, err);
	if (r == 0)
		r = write_file(p, "resolv.conf", &resolv, err);
	return r;
}

static int make_bundle_folders(const struct agent_job *j, const char *bundle, struct um_error *err)
{
	_cleanup_close_ int fd = -1;
	char path[4200];
	int r;

	snprintf(path, sizeof(path), "%s/rootfs", bundle);
	r = um_io_mkdirs(AT_FDCWD, path, 0755, err);
	if (r == 0)
		r = pod_log_path(j->pod, path, sizeof(path), "%s", j->ctr->name);
	if (r == 0)
		r = um_io_mkdirs(AT_FDCWD, path, 0755, err);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/termination", bundle);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (fd < 0 || fchmod(fd, 0666) < 0) /* whoever the container runs as may write it */
		return um_error_errno(err, -errno, "create %s", path);
	return 0;
}

static int write_config(const struct agent_job *j, struct um_arena *a, const struct um_image *img,
			const char *bundle, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(4 << 20);
	struct um_json *config = oci_config(a, j->ctr, img->config, bundle, err);
	char path[4200];

	if (!config)
		return err->code ? err->code : -ENOMEM;
	if (um_json_write(&b, config) < 0)
		return um_error_errno(err, um_buf_error(&b), "write config.json");
	snprintf(path, sizeof(path), "%s/config.json", bundle);
	return um_io_replace_file(AT_FDCWD, path, b.data, b.len, 0600, UM_IO_NO_SYNC, err);
}

void bundle_work(struct agent_job *j)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(8 << 20);
	char bundle[4096], target[4200], id[200];
	struct um_image img;

	if (!a) {
		j->result = um_error_errno(&j->err, -ENOMEM, "start %s", j->ctr->name);
		return;
	}
	j->result = find_image(j, a, &img);
	if (j->result < 0)
		return;
	j->result = pod_run_path(j->pod, bundle, sizeof(bundle), "%s.%d", j->ctr->name,
				 j->ctr->attempt);
	if (j->result < 0)
		return;
	snprintf(target, sizeof(target), "%s/rootfs", bundle);
	snprintf(id, sizeof(id), "%s-%s.%d", j->pod->uid, j->ctr->name, j->ctr->attempt);
	if (access(bundle, F_OK) == 0) /* a try that a crash or an error ended half way */
		j->result = remove_bundle(j->pod, strrchr(bundle, '/') + 1, &j->err);
	if (j->result == 0)
		j->result = make_bundle_folders(j, bundle, &j->err);
	if (j->result == 0)
		j->result = write_pod_files(j->pod, &j->err);
	UM_FAULT("agent.bundle.folders");
	if (j->result == 0)
		j->result = um_rootfs_mount(j->pod->agent->images, &img, id, target, true, &j->err);
	UM_FAULT("agent.bundle.mounted");
	if (j->result < 0)
		return;
	j->result = subpaths_make(a, j->ctr, img.config, bundle, &j->err);
	if (j->result == 0)
		j->result = write_config(j, a, &img, bundle, &j->err);
	UM_FAULT("agent.bundle.config");
	if (j->result < 0) {
		struct um_error ignored = UM_ERROR_INIT;

		(void)!subpaths_release(bundle, &ignored);
		j->fail_reason = "CreateContainerConfigError";
		(void)!um_rootfs_release(j->pod->agent->images, id, target, &ignored);
	}
}
