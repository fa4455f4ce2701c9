#include "cgroups/internal.h"

#include <fcntl.h>
#include <string.h>

#include "base/buf.h"
#include "base/io.h"

static const struct {
	const char *v1, *v2;
} controller_names[UM_CG_N_CONTROLLERS] = {
	[UM_CG_CPU] = {"cpu", "cpu"},
	[UM_CG_CPUACCT] = {"cpuacct", NULL},
	[UM_CG_CPUSET] = {"cpuset", "cpuset"},
	[UM_CG_MEMORY] = {"memory", "memory"},
	[UM_CG_PIDS] = {"pids", "pids"},
	[UM_CG_DEVICES] = {"devices", NULL},
	[UM_CG_FREEZER] = {"freezer", NULL},
	[UM_CG_IO] = {"blkio", "io"},
	[UM_CG_HUGETLB] = {"hugetlb", "hugetlb"},
	[UM_CG_NET_CLS] = {"net_cls", NULL},
	[UM_CG_NET_PRIO] = {"net_prio", NULL},
	[UM_CG_PERF_EVENT] = {"perf_event", NULL},
	[UM_CG_RDMA] = {"rdma", "rdma"},
	[UM_CG_MISC] = {"misc", "misc"},
};

const char *um_cgroup_controller_name(enum um_cgroup_controller c, bool v2)
{
	const char *name = v2 ? controller_names[c].v2 : controller_names[c].v1;

	return name ? name : controller_names[c].v1;
}

static uint32_t controller_bit(const char *name, size_t len, bool v2)
{
	for (int i = 0; i < UM_CG_N_CONTROLLERS; i++) {
		const char *have = v2 ? controller_names[i].v2 : controller_names[i].v1;

		if (have && strlen(have) == len && !memcmp(have, name, len))
			return UINT32_C(1) << i;
	}
	return 0;
}

/* Bits of the names in a list separated by any of @seps. */
static uint32_t controller_bits(const char *list, const char *seps, bool v2)
{
	uint32_t bits = 0;

	for (const char *p = list; *p;) {
		size_t len = strcspn(p, seps);

		bits |= controller_bit(p, len, v2);
		p += len;
		p += strspn(p, seps);
	}
	return bits;
}

int um_cgroup_open_dir(int dirfd, const char *rel)
{
	int fd = openat(dirfd, rel, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

int um_cgroup_read(int dirfd, const char *file, char *buf, size_t size)
{
	_cleanup_close_ int fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC);
	size_t done = 0;

	if (fd < 0)
		return -errno;
	while (done < size - 1) {
		ssize_t n = read(fd, buf + done, size - 1 - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += (size_t)n;
	}
	buf[done] = '\0';
	return 0;
}

/* mountinfo escapes blanks, newlines and backslashes as \ooo. */
static char *unescape(const char *s, size_t len)
{
	char *out = malloc(len + 1);
	size_t o = 0;

	if (!out)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '\\' && i + 3 < len && s[i + 1] >= '0' && s[i + 1] <= '3' &&
		    s[i + 2] >= '0' && s[i + 2] <= '7' && s[i + 3] >= '0' && s[i + 3] <= '7') {
			out[o++] = (char)((s[i + 1] - '0') * 64 + (s[i + 2] - '0') * 8 +
					  (s[i + 3] - '0'));
			i += 3;
		} else {
			out[o++] = s[i];
		}
	}
	out[o] = '\0';
	return out;
}

struct fields {
	const char *mount_point, *fstype, *super;
	size_t mount_point_len, fstype_len, super_len;
};

/* "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw": false when the line has another form. */
static bool split_line(const char *line, size_t len, struct fields *f)
{
	const char *end = line + len, *p = line, *sep;

	for (int i = 0; i < 4; i++) {
		p = memchr(p, ' ', (size_t)(end - p));
		if (!p)
			return false;
		p++;
	}
	f->mount_point = p;
	p = memchr(p, ' ', (size_t)(end - p));
	if (!p)
		return false;
	f->mount_point_len = (size_t)(p - f->mount_point);
	sep = memmem(p, (size_t)(end - p), " - ", 3);
	if (!sep)
		return false;
	f->fstype = sep + 3;
	p = memchr(f->fstype, ' ', (size_t)(end - f->fstype));
	if (!p)
		return false;
	f->fstype_len = (size_t)(p - f->fstype);
	p = memchr(p + 1, ' ', (size_t)(end - p - 1));
	if (!p)
		return false;
	f->super = p + 1;
	f->super_len = (size_t)(end - f->super);
	return true;
}

/* The controllers (and name=) among a v1 mount's superblock options. */
static int v1_name(const char *super, struct um_cgroup_hierarchy *h)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(256);

	for (const char *p = super; *p;) {
		size_t len = strcspn(p, ",");
		uint32_t bit = controller_bit(p, len, false);

		if (bit || (len > 5 && !memcmp(p, "name=", 5))) {
			if (b.len)
				um_buf_addc(&b, ',');
			um_buf_add(&b, p, len);
			h->controllers |= bit;
		}
		p += len;
		p += *p == ',';
	}
	if (um_buf_error(&b))
		return um_buf_error(&b);
	h->name = strdup(um_buf_str(&b));
	return h->name ? 0 : -ENOMEM;
}

static void hierarchy_release(struct um_cgroup_hierarchy *h)
{
	um_close(h->mount_fd);
	free(h->mount_point);
	free(h->name);
}

static bool seen(const struct um_cgroups *hs, const struct um_cgroup_hierarchy *h)
{
	for (size_t i = 0; i < hs->n; i++)
		if (hs->h[i].v2 == h->v2 && !strcmp(hs->h[i].name, h->name))
			return true;
	return false;
}

static int add_line(struct um_cgroups *hs, const struct fields *f, bool open_mounts,
		    struct um_error *err)
{
	struct um_cgroup_hierarchy h = {.mount_fd = -1};
	char super[512], offered[256];
	int r = 0;

	h.v2 = f->fstype_len == 7 && !memcmp(f->fstype, "cgroup2", 7);
	if (!h.v2 && !(f->fstype_len == 6 && !memcmp(f->fstype, "cgroup", 6)))
		return 0;
	if (f->super_len >= sizeof(super))
		return um_error_set(err, -EINVAL, "mountinfo: cgroup options are too long");
	memcpy(super, f->super, f->super_len);
	super[f->super_len] = '\0';
	h.mount_point = unescape(f->mount_point, f->mount_point_len);
	if (!h.mount_point)
		return -ENOMEM;
	if (h.v2)
		r = (h.name = strdup("")) ? 0 : -ENOMEM;
	else
		r = v1_name(super, &h);
	if (r < 0 || seen(hs, &h) || (!h.v2 && !h.name[0]) || hs->n == UM_CGROUP_MAX_HIERARCHIES) {
		hierarchy_release(&h);
		return r;
	}
	if (open_mounts) {
		h.mount_fd = open(h.mount_point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (h.mount_fd < 0) {
			hierarchy_release(&h); /* shadowed or not ours to see */
			return 0;
		}
		if (h.v2 &&
		    !um_cgroup_read(h.mount_fd, "cgroup.controllers", offered, sizeof(offered)))
			h.controllers = controller_bits(offered, " \n", true);
	}
	hs->h[hs->n++] = h;
	return 0;
}

int um_cgroups_parse(const char *mountinfo, bool open_mounts, struct um_cgroups **ret,
		     struct um_error *err)
{
	_cleanup_(um_cgroups_freep) struct um_cgroups *hs = calloc(1, sizeof(*hs));
	bool v1 = false, v2 = false;

	if (!hs)
		return -ENOMEM;
	for (const char *p = mountinfo; *p;) {
		size_t len = strcspn(p, "\n");
		struct fields f;
		int r;

		if (split_line(p, len, &f)) {
			r = add_line(hs, &f, open_mounts, err);
			if (r < 0)
				return r;
		}
		p += len;
		p += *p == '\n';
	}
	for (size_t i = 0; i < hs->n; i++) {
		v2 = v2 || hs->h[i].v2;
		v1 = v1 || (!hs->h[i].v2 && hs->h[i].controllers);
	}
	if (!v1 && !v2)
		return um_error_set(err, -ENOENT, "no cgroup hierarchy is mounted");
	hs->mode = v1 && v2 ? UM_CGROUP_HYBRID : v1 ? UM_CGROUP_V1 : UM_CGROUP_V2;
	*ret = TAKE_PTR(hs);
	return 0;
}

int um_cgroups_open(struct um_cgroups **ret, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(16 << 20);
	int r = um_io_read_file(AT_FDCWD, "/proc/self/mountinfo", &b, err);

	if (r < 0)
		return r;
	return um_cgroups_parse(um_buf_str(&b), true, ret, err);
}

void um_cgroups_free(struct um_cgroups *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->n; i++)
		hierarchy_release(&h->h[i]);
	free(h);
}

int um_cgroup_find_v2(const struct um_cgroups *h)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->h[i].v2)
			return (int)i;
	return -1;
}

int um_cgroup_find(const struct um_cgroups *h, enum um_cgroup_controller c)
{
	for (int v2 = 0; v2 < 2; v2++)
		for (size_t i = 0; i < h->n; i++)
			if (h->h[i].v2 == (bool)v2 && h->h[i].controllers & UINT32_C(1) << c)
				return (int)i;
	return -1;
}
