/* Static pods: every *.yaml, *.yml and *.json of a folder is a Pod that runs here as long as the
 * file is there. A changed file is another pod: its uid follows from node, file name and content.
 */
#include "agent/internal.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/inotify.h>

#include "api/schema/schema.h"
#include "base/io.h"
#include "base/log.h"
#include "base/yaml.h"
#include "wire/loop.h"

#define MANIFEST_MAX_BYTES (1 << 20)
#define SETTLE_NS (50 * UM_NSEC_PER_MSEC) /* editors write in several steps */
#define ENDING_NS (500 * UM_NSEC_PER_MSEC)

struct file {
	UT_hash_handle hh;
	char uid[64];
	unsigned round;
	char name[];
};

struct agent_static {
	struct um_agent *agent;
	struct file *files; /* by name */
	struct um_fd *watch;
	struct um_timer *settle;
	int fd;
	unsigned round;
};

static bool is_manifest(const char *name)
{
	const char *dot = strrchr(name, '.');

	return name[0] != '.' && dot &&
	       (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml") || !strcmp(dot, ".json"));
}

static void make_uid(const struct agent_static *s, const char *name, const struct um_buf *b,
		     char uid[64])
{
	unsigned char d[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned len = 0;

	memset(d, 0, sizeof(d));
	if (ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL)) {
		EVP_DigestUpdate(ctx, s->agent->opt.node_name, strlen(s->agent->opt.node_name) + 1);
		EVP_DigestUpdate(ctx, name, strlen(name) + 1);
		EVP_DigestUpdate(ctx, um_buf_str(b), b->len);
		EVP_DigestFinal_ex(ctx, d, &len);
	}
	EVP_MD_CTX_free(ctx);
	snprintf(uid, 64, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 d[0], d[1], d[2], d[3], d[4], d[5], (d[6] & 0x0f) | 0x50, d[7],
		 (d[8] & 0x3f) | 0x80, d[9], d[10], d[11], d[12], d[13], d[14], d[15]);
}

static int report_causes(const char *name, const struct um_causes *causes, struct um_error *err)
{
	const struct um_cause *c = causes->first;

	return um_error_set(err, -EINVAL, "%s: %s: %s%s", name, c ? c->field : "?",
			    c ? c->message : "not valid", causes->n > 1 ? " (and more)" : "");
}

/* Reads one manifest into a valid, defaulted pod with uid and node. */
static int read_pod(const struct agent_static *s, struct um_arena *a, const char *name,
		    const struct um_buf *b, const char *uid, struct um_json **ret,
		    struct um_error *err)
{
	const struct um_kind *kind = um_schema_find_kind("", "v1", "Pod");
	struct um_causes causes = {.arena = a};
	const char *own;
	struct um_json *pod, *meta;
	int r;

	r = um_schema_decode(kind, UM_ENC_YAML, um_buf_str(b), b->len, UM_STRICT_STRICT, a, &pod,
			     &causes, err);
	if (r < 0)
		return um_error_wrap(err, r, "%s", name);
	meta = um_json_ensure_obj(a, pod, "metadata");
	if (!um_json_get(meta, "namespace"))
		um_json_set_str(a, meta, "namespace", "default");
	own = um_json_get_str(meta, "name", "");
	um_json_set_str(a, meta, "name", um_arena_printf(a, "%s-%s", own, s->agent->opt.node_name));
	um_json_set_str(a, meta, "uid", uid);
	um_json_set_str(a, um_json_ensure_obj(a, meta, "annotations"),
			"kubernetes.io/config.source", "file");
	um_json_set_str(a, um_json_ensure_obj(a, pod, "spec"), "nodeName", s->agent->opt.node_name);
	r = um_schema_default(kind, pod, a);
	if (r < 0)
		return um_error_errno(err, r, "%s", name);
	r = um_schema_validate(kind, pod, NULL, &causes);
	if (r < 0)
		return report_causes(name, &causes, err);
	*ret = pod;
	return 0;
}

static void drop_file(struct agent_static *s, struct file *f)
{
	um_agent_pod_remove(s->agent, f->uid);
	HASH_DEL(s->files, f);
	free(f);
}

static void load_file(struct agent_static *s, int dirfd, const char *name)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(8 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(MANIFEST_MAX_BYTES);
	struct um_error err = UM_ERROR_INIT;
	struct agent_pod *known;
	struct um_json *pod = NULL;
	struct file *f;
	char uid[64];

	HASH_FIND_STR(s->files, name, f);
	if (!a || um_io_read_file(dirfd, name, &b, &err) < 0) {
		if (f) /* unreadable for a moment is not deleted */
			f->round = s->round;
		um_log(UM_LOG_ERROR, "static pod", UM_LOG_STR("file", name), UM_LOG_ERR(&err));
		return;
	}
	make_uid(s, name, &b, uid);
	if (f && !strcmp(f->uid, uid)) {
		f->round = s->round;
		return;
	}
	HASH_FIND_STR(s->agent->pods, uid, known);
	if (known && known->ending) { /* the file is as it was before: once that pod has ended */
		if (f)
			drop_file(s, f);
		um_timer_start(s->settle, ENDING_NS);
		return;
	}
	if (read_pod(s, a, name, &b, uid, &pod, &err) < 0) {
		if (f) /* what ran goes on until the file is right again */
			f->round = s->round;
		um_log(UM_LOG_ERROR, "static pod refused", UM_LOG_STR("file", name),
		       UM_LOG_ERR(&err));
		return;
	}
	if (f)
		drop_file(s, f);
	f = calloc(1, sizeof(*f) + strlen(name) + 1);
	if (!f || um_agent_pod_put(s->agent, pod, &err) < 0) {
		free(f);
		um_log(UM_LOG_ERROR, "static pod", UM_LOG_STR("file", name), UM_LOG_ERR(&err));
		return;
	}
	HASH_FIND_STR(s->agent->pods, uid, known);
	if (known)
		known->is_static = true;
	strcpy(f->name, name);
	snprintf(f->uid, sizeof(f->uid), "%s", uid);
	f->round = s->round;
	HASH_ADD_STR(s->files, name, f);
}

static void scan(struct agent_static *s)
{
	_cleanup_closedir_ DIR *d = opendir(s->agent->opt.manifests_dir);
	struct file *f, *tmp;
	struct dirent *e;

	if (!d)
		return; /* a folder that cannot be read ends no pod */
	s->round++;
	while ((e = readdir(d)))
		if (is_manifest(e->d_name))
			load_file(s, dirfd(d), e->d_name);
	HASH_ITER (hh, s->files, f, tmp) {
		if (f->round != s->round)
			drop_file(s, f);
	}
}

static void on_settled(void *arg)
{
	scan(arg);
}

static void on_change(void *arg, int fd, um_unused int events)
{
	struct agent_static *s = arg;
	char buf[4096] __attribute__((aligned(8)));

	while (read(fd, buf, sizeof(buf)) > 0)
		;
	um_timer_start(s->settle, SETTLE_NS);
}

int static_open(struct um_agent *a, struct agent_static **ret, struct um_error *err)
{
	struct agent_static *s = calloc(1, sizeof(*s));
	int r = um_io_mkdirs(AT_FDCWD, a->opt.manifests_dir, 0755, err);

	if (r < 0 || !s) {
		free(s);
		return r < 0 ? r : um_error_errno(err, -ENOMEM, "watch static pods");
	}
	s->agent = a;
	s->settle = um_timer_new(a->loop, on_settled, s);
	s->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (s->fd >= 0 &&
	    inotify_add_watch(s->fd, a->opt.manifests_dir,
			      IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE) >= 0)
		s->watch = um_fd_new(a->loop, s->fd, UM_FD_READ, on_change, s);
	if (!s->watch || !s->settle) {
		static_free(s);
		return um_error_errno(err, -errno, "watch %s", a->opt.manifests_dir);
	}
	scan(s);
	*ret = s;
	return 0;
}

void static_free(struct agent_static *s)
{
	struct file *f, *tmp;

	if (!s)
		return;
	HASH_ITER (hh, s->files, f, tmp) {
		HASH_DEL(s->files, f);
		free(f);
	}
	um_fd_free(s->watch);
	um_timer_free(s->settle);
	um_close(s->fd);
	free(s);
}
