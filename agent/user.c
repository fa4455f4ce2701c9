/* Who a container runs as: runAsUser and runAsGroup, else the image's "user[:group]", names looked
 * up in the rootfs' own /etc/passwd and /etc/group, which are foreign bytes. */
#include "agent/internal.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>

#include "base/io.h"
#include "base/num.h"

#define FILE_MAX_BYTES (1 << 20)
#define ID_MAX 4294967294u

/* Reads a file of the rootfs without leaving it by a link. A missing file reads as empty. */
static int read_inside(const char *rootfs, const char *path, struct um_buf *b, struct um_error *err)
{
	_cleanup_close_ int root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = -1;
	int r;

	if (root < 0)
		return um_error_errno(err, -errno, "open %s", rootfs);
	fd = um_io_openat2(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0,
			   RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
	if (fd == -ENOENT)
		return um_buf_reserve(b, 0);
	if (fd < 0)
		return um_error_errno(err, fd, "open %s in the image", path);
	r = um_io_read_fd(fd, b);
	return r < 0 ? um_error_errno(err, r, "read %s in the image", path) : 0;
}

/* Field @n (from 0) of a colon-separated line, as a NUL-terminated copy. */
static bool field(const char *line, size_t len, unsigned n, char *buf, size_t size)
{
	const char *end = line + len, *colon;

	for (; n; n--) {
		colon = memchr(line, ':', (size_t)(end - line));
		if (!colon)
			return false;
		line = colon + 1;
	}
	colon = memchr(line, ':', (size_t)(end - line));
	len = (size_t)((colon ? colon : end) - line);
	if (len >= size)
		return false;
	memcpy(buf, line, len);
	buf[len] = '\0';
	return true;
}

static bool id_field(const char *line, size_t len, unsigned n, uint32_t *ret)
{
	char text[32];
	uint64_t v;

	if (!field(line, len, n, text, sizeof(text)) || um_num_u64(text, ID_MAX, &v) < 0)
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* Calls @fn for each line until it returns true. */
static bool each_line(const struct um_buf *b, bool (*fn)(void *arg, const char *line, size_t len),
		      void *arg)
{
	const char *p = um_buf_str(b), *end = p + b->len;

	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t len = (size_t)((nl ? nl : end) - p);

		if (fn(arg, p, len))
			return true;
		p += len + 1;
	}
	return false;
}

struct search {
	const char *name; /* NULL: by id */
	char found[256];  /* the user's name */
	uint32_t id, gid;
	struct ctr_user *user;
};

static bool match_user(void *arg, const char *line, size_t len)
{
	struct search *s = arg;
	uint32_t id;

	if (!field(line, len, 0, s->found, sizeof(s->found)) || !id_field(line, len, 2, &id) ||
	    (s->name ? strcmp(s->name, s->found) != 0 : s->id != id) ||
	    !id_field(line, len, 3, &s->gid))
		return false;
	s->id = id;
	return true;
}

static bool match_group(void *arg, const char *line, size_t len)
{
	struct search *s = arg;
	char name[256];

	return field(line, len, 0, name, sizeof(name)) && !strcmp(s->name, name) &&
	       id_field(line, len, 2, &s->gid);
}

/* Notes every group whose member list names the user. */
static bool note_membership(void *arg, const char *line, size_t len)
{
	struct search *s = arg;
	char members[4096], *m, *next;
	uint32_t gid;

	if (!field(line, len, 3, members, sizeof(members)) || !id_field(line, len, 2, &gid))
		return false;
	for (m = strtok_r(members, ",", &next); m; m = strtok_r(NULL, ",", &next)) {
		if (strcmp(m, s->found))
			continue;
		if (gid != s->user->gid && s->user->n_groups < UM_ARRAY_LEN(s->user->groups) - 1)
			s->user->groups[s->user->n_groups++] = gid;
		break;
	}
	return false;
}

static int image_user(const char *text, const char *rootfs, struct ctr_user *u,
		      struct um_error *err)
{
	_cleanup_buf_ struct um_buf passwd = UM_BUF_INIT(FILE_MAX_BYTES);
	_cleanup_buf_ struct um_buf groups = UM_BUF_INIT(FILE_MAX_BYTES);
	char name[256], group[256] = "";
	const char *colon = strchr(text, ':');
	struct search s = {.user = u};
	uint64_t id;
	bool found, numeric;
	int r;

	if (!field(text, strlen(text), 0, name, sizeof(name)) ||
	    (colon && !field(text, strlen(text), 1, group, sizeof(group))))
		return um_error_set(err, -EINVAL, "the image's user is too long");
	r = read_inside(rootfs, "etc/passwd", &passwd, err);
	if (r == 0)
		r = read_inside(rootfs, "etc/group", &groups, err);
	if (r < 0)
		return r;
	numeric = um_num_u64(name, ID_MAX, &id) == 0;
	s.name = numeric ? NULL : name;
	s.id = numeric ? (uint32_t)id : 0;
	found = each_line(&passwd, match_user, &s);
	if (!found && !numeric && *name)
		return um_error_set(err, -ENOENT,
				    "the image's user \"%s\" is not in its /etc/passwd", name);
	u->uid = s.id;
	u->gid = found ? s.gid : 0;
	if (*group) {
		if (um_num_u64(group, ID_MAX, &id) == 0) {
			u->gid = (uint32_t)id;
		} else {
			s.name = group;
			if (!each_line(&groups, match_group, &s))
				return um_error_set(err, -ENOENT,
						    "the image's group \"%s\" is not in its "
						    "/etc/group",
						    group);
			u->gid = s.gid;
		}
	} else if (found && *s.found) {
		each_line(&groups, note_membership, &s);
	}
	return 0;
}

int resolve_group(const char *text, const char *rootfs, uint32_t *ret, struct um_error *err)
{
	_cleanup_buf_ struct um_buf groups = UM_BUF_INIT(FILE_MAX_BYTES);
	struct search s = {.name = text};
	uint64_t id;
	int r;

	if (um_num_u64(text, ID_MAX, &id) == 0) {
		*ret = (uint32_t)id;
		return 0;
	}
	r = read_inside(rootfs, "etc/group", &groups, err);
	if (r < 0)
		return r;
	if (!each_line(&groups, match_group, &s))
		return um_error_set(err, -ENOENT,
				    "unable to find group %.80s: it is not in the "
				    "image's /etc/group",
				    text);
	*ret = s.gid;
	return 0;
}

/* A field of the container's security context, else of the pod's. */
static const struct um_json *security(const struct um_json *pod, const struct um_json *spec,
				      const char *name)
{
	const struct um_json *v = um_json_get(um_json_get(spec, "securityContext"), name);

	return v ? v : um_json_get(um_json_path(pod, "spec.securityContext"), name);
}

static int add_group(struct ctr_user *u, const struct um_json *group, struct um_error *err)
{
	if (!group)
		return 0;
	if (u->n_groups == UM_ARRAY_LEN(u->groups))
		return um_error_set(err, -E2BIG, "more than %zu groups", UM_ARRAY_LEN(u->groups));
	u->groups[u->n_groups++] = (uint32_t)um_json_i64(group, 0);
	return 0;
}

int resolve_user(const struct um_json *pod, const struct um_json *spec,
		 const struct um_json *image_config, const char *rootfs, struct ctr_user *ret,
		 struct um_error *err)
{
	const struct um_json *uid = security(pod, spec, "runAsUser");
	const struct um_json *gid = security(pod, spec, "runAsGroup");
	const char *text = um_json_get_str(image_config, "config.User", "");
	char number[24];
	int r;

	*ret = (struct ctr_user){0};
	if (uid) {
		snprintf(number, sizeof(number), "%lld", (long long)um_json_i64(uid, 0));
		text = number;
	}
	r = image_user(*text ? text : "0", rootfs, ret, err);
	if (r < 0)
		return r;
	if (gid)
		ret->gid = (uint32_t)um_json_i64(gid, 0);
	r = add_group(ret, um_json_path(pod, "spec.securityContext.fsGroup"), err);
	um_json_foreach (it, um_json_path(pod, "spec.securityContext.supplementalGroups"))
		if (r == 0)
			r = add_group(ret, it, err);
	if (r < 0)
		return r;
	if (ret->n_groups == UM_ARRAY_LEN(ret->groups))
		return um_error_set(err, -E2BIG, "more than %zu groups",
				    UM_ARRAY_LEN(ret->groups) - 1);
	/* Its own group is one of them, so that a program that changes the one keeps what the other
	 * may not (CVE-2022-36109). */
	memmove(ret->groups + 1, ret->groups, ret->n_groups * sizeof(ret->groups[0]));
	ret->groups[0] = ret->gid;
	ret->n_groups++;
	if (um_json_bool(security(pod, spec, "runAsNonRoot"), false) && ret->uid == 0)
		return um_error_set(err, -EPERM,
				    "container has runAsNonRoot and image will run as root");
	return 0;
}
