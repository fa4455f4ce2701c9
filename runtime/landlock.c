#include "runtime/landlock.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/num.h"
#include "runtime/resolve.h"
#include "runtime/sys.h"

#define PREFIX "org.umiak.landlock."
#define MAX_ITEMS 128 /* of one annotation */

enum { ABI_TRUNCATE = 3, ABI_TCP = 4 };

#define READ (UM_LANDLOCK_READ_FILE | UM_LANDLOCK_READ_DIR)
#define WRITE                                                                                      \
	(UM_LANDLOCK_WRITE_FILE | UM_LANDLOCK_REMOVE_DIR | UM_LANDLOCK_REMOVE_FILE |               \
	 UM_LANDLOCK_MAKE_CHAR | UM_LANDLOCK_MAKE_DIR | UM_LANDLOCK_MAKE_REG |                     \
	 UM_LANDLOCK_MAKE_SOCK | UM_LANDLOCK_MAKE_FIFO | UM_LANDLOCK_MAKE_BLOCK |                  \
	 UM_LANDLOCK_MAKE_SYM | UM_LANDLOCK_REFER | UM_LANDLOCK_TRUNCATE)
/* The others are of folders, and the kernel refuses them for files. */
#define OF_FILES                                                                                   \
	(UM_LANDLOCK_EXECUTE | UM_LANDLOCK_WRITE_FILE | UM_LANDLOCK_READ_FILE |                    \
	 UM_LANDLOCK_TRUNCATE)

static const struct {
	const char *name;
	uint64_t handled; /* what is forbidden elsewhere */
	uint64_t allowed; /* there, as far as it is handled at all */
	int abi;
} path_kinds[UM_LANDLOCK_N_PATHS] = {
	[UM_LANDLOCK_PATHS_READ] = {"read", READ, READ, 1},
	[UM_LANDLOCK_PATHS_WRITE] = {"write", WRITE, WRITE, ABI_TRUNCATE},
	/* execve(2) opens for reading, too */
	[UM_LANDLOCK_PATHS_EXECUTE] = {"execute", UM_LANDLOCK_EXECUTE, UM_LANDLOCK_EXECUTE | READ,
				       1},
};

static const struct {
	const char *name;
	uint64_t right;
	uint64_t lowest;
} port_kinds[UM_LANDLOCK_N_PORTS] = {
	/* 0: one that the kernel chooses */
	[UM_LANDLOCK_PORTS_BIND] = {"bind-tcp", UM_LANDLOCK_BIND_TCP, 0},
	[UM_LANDLOCK_PORTS_CONNECT] = {"connect-tcp", UM_LANDLOCK_CONNECT_TCP, 1},
};

/* ---- annotations ---- */

static size_t count(const char *text, char separator)
{
	size_t n = *text != '\0';

	for (; *text; text++)
		n += *text == separator;
	return n;
}

/* Absolute, and nothing that would read otherwise than it resolves. */
static bool plain_path(const char *p)
{
	if (*p != '/')
		return false;
	for (p++; *p; p += strcspn(p, "/"), p += strspn(p, "/")) {
		size_t len = strcspn(p, "/");

		if ((len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
			return false;
	}
	return true;
}

static int decode_paths(struct um_arena *a, const struct um_spec_pair *p,
			struct um_spec_landlock_paths *ret, struct um_error *err)
{
	size_t n = count(p->value, ':');
	const char *at = p->value;

	if (n > MAX_ITEMS)
		return um_error_set(err, -E2BIG, "annotations.%s: more than %d paths", p->key,
				    MAX_ITEMS);
	ret->given = true;
	ret->v = um_arena_zalloc(a, (n + 1) * sizeof(*ret->v));
	if (!ret->v)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		size_t len = strcspn(at, ":");
		char *path = um_arena_printf(a, "%.*s", (int)len, at);

		if (!path)
			return -ENOMEM;
		if (!plain_path(path))
			return um_error_set(err, -EINVAL,
					    "annotations.%s: \"%.100s\" is not an absolute path "
					    "without . and ..",
					    p->key, path);
		ret->v[ret->n++] = path;
		at += len + (at[len] == ':');
	}
	return 0;
}

static int decode_ports(struct um_arena *a, const struct um_spec_pair *p, uint64_t lowest,
			struct um_spec_landlock_ports *ret, struct um_error *err)
{
	size_t n = count(p->value, ',');
	const char *at = p->value;

	if (n > MAX_ITEMS)
		return um_error_set(err, -E2BIG, "annotations.%s: more than %d ports", p->key,
				    MAX_ITEMS);
	ret->given = true;
	ret->v = um_arena_zalloc(a, (n + 1) * sizeof(*ret->v));
	if (!ret->v)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		size_t len = strcspn(at, ",");
		uint64_t port;

		if (um_num_u64n(at, len, UINT16_MAX, &port) < 0 || port < lowest)
			return um_error_set(err, -EINVAL, "annotations.%s: \"%.*s\" is not a port",
					    p->key, len > 20 ? 20 : (int)len, at);
		ret->v[ret->n++] = (uint16_t)port;
		at += len + (at[len] == ',');
	}
	return 0;
}

static int decode_one(struct um_arena *a, const struct um_spec_pair *p, struct um_spec_landlock *l,
		      struct um_error *err)
{
	const char *name = p->key + strlen(PREFIX);

	for (size_t i = 0; i < UM_LANDLOCK_N_PATHS; i++)
		if (!strcmp(name, path_kinds[i].name))
			return decode_paths(a, p, &l->paths[i], err);
	for (size_t i = 0; i < UM_LANDLOCK_N_PORTS; i++)
		if (!strcmp(name, port_kinds[i].name))
			return decode_ports(a, p, port_kinds[i].lowest, &l->ports[i], err);
	if (strcmp(name, "on-missing"))
		return um_error_set(err, -EINVAL, "annotations.%s: is not known", p->key);
	l->ignore_missing = !strcmp(p->value, "ignore");
	if (!l->ignore_missing && strcmp(p->value, "refuse"))
		return um_error_set(err, -EINVAL,
				    "annotations.%s: \"%.40s\" is neither refuse nor ignore",
				    p->key, p->value);
	return 0;
}

static bool wanted(const struct um_spec_landlock *l)
{
	for (size_t i = 0; i < UM_LANDLOCK_N_PATHS; i++)
		if (l->paths[i].given)
			return true;
	for (size_t i = 0; i < UM_LANDLOCK_N_PORTS; i++)
		if (l->ports[i].given)
			return true;
	return false;
}

int um_landlock_decode(struct um_arena *a, struct um_spec *s, struct um_error *err)
{
	bool any = false;

	for (size_t i = 0; i < s->n_annotations; i++) {
		int r;

		if (strncmp(s->annotations[i].key, PREFIX, strlen(PREFIX)))
			continue;
		any = true;
		r = decode_one(a, &s->annotations[i], &s->landlock, err);
		if (r < 0)
			return r;
	}
	if (any && !wanted(&s->landlock))
		return um_error_set(err, -EINVAL,
				    "annotations." PREFIX "on-missing: nothing is restricted");
	return 0;
}

/* ---- the host ---- */

int um_landlock_abi(void)
{
	int abi = um_sys_landlock_abi();

	return abi < 0 ? 0 : abi;
}

static int lacking(const char *name, int abi, int needed, struct um_error *err)
{
	if (!abi)
		return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
					   "annotations." PREFIX "%s: this kernel has no Landlock",
					   name);
	return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
				   "annotations." PREFIX
				   "%s: Landlock of this kernel has version %d, and %d is needed",
				   name, abi, needed);
}

int um_landlock_check(const struct um_spec_landlock *l, const struct um_spec_process *p,
		      struct um_error *err)
{
	int abi;

	if (!wanted(l))
		return 0;
	if (!p->no_new_privileges)
		return um_error_set(err, -EINVAL,
				    "annotations." PREFIX
				    "*: need process.noNewPrivileges, without which the kernel "
				    "lets nobody restrict itself");
	if (l->ignore_missing)
		return 0;
	abi = um_landlock_abi();
	for (size_t i = 0; i < UM_LANDLOCK_N_PATHS; i++)
		if (l->paths[i].given && abi < path_kinds[i].abi)
			return lacking(path_kinds[i].name, abi, path_kinds[i].abi, err);
	for (size_t i = 0; i < UM_LANDLOCK_N_PORTS; i++)
		if (l->ports[i].given && abi < ABI_TCP)
			return lacking(port_kinds[i].name, abi, ABI_TCP, err);
	return 0;
}

/* ---- rules ---- */

/* Moving between folders is forbidden to who is restricted at all, unless a rule allows it. */
static uint64_t handled_fs(const struct um_spec_landlock *l, int abi)
{
	uint64_t known = abi >= ABI_TRUNCATE ? ~UINT64_C(0) : ~(uint64_t)UM_LANDLOCK_TRUNCATE;
	uint64_t handled = abi >= 2 ? UM_LANDLOCK_REFER : 0;

	if (abi < 2)
		known &= ~(uint64_t)UM_LANDLOCK_REFER;
	for (size_t i = 0; i < UM_LANDLOCK_N_PATHS; i++)
		if (l->paths[i].given)
			handled |= path_kinds[i].handled;
	return handled & known;
}

static int add_path(int ruleset, const char *path, uint64_t rights, bool ignore_missing,
		    struct um_error *err)
{
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
	struct um_landlock_path rule = {0};
	struct stat st;

	fd = root < 0 ? -errno : um_resolve(root, path);
	if ((fd == -ENOENT || fd == -ENOTDIR) && ignore_missing)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return um_error_errno(err, fd < 0 ? fd : -errno, "%s in the container", path);
	rule.allowed = S_ISDIR(st.st_mode) ? rights : rights & OF_FILES;
	rule.parent_fd = fd;
	if (!rule.allowed)
		return 0;
	if (um_sys_landlock_add_rule(ruleset, UM_LANDLOCK_RULE_PATH, &rule, 0) < 0)
		return um_error_errno(err, -errno, "%s", path);
	return 0;
}

static int add_paths(int ruleset, const struct um_spec_landlock *l, uint64_t handled,
		     struct um_error *err)
{
	int r = 0;

	for (size_t i = 0; i < UM_LANDLOCK_N_PATHS; i++)
		for (size_t k = 0; k < l->paths[i].n && r >= 0; k++) {
			um_why(PREFIX "%s: %s", path_kinds[i].name, l->paths[i].v[k]);
			r = add_path(ruleset, l->paths[i].v[k], path_kinds[i].allowed & handled,
				     l->ignore_missing, err);
			if (r < 0)
				return um_error_wrap(err, r, "annotations." PREFIX "%s",
						     path_kinds[i].name);
		}
	um_why("files may be moved from folder to folder, as without restrictions");
	if (handled & UM_LANDLOCK_REFER && !l->paths[UM_LANDLOCK_PATHS_WRITE].given)
		r = add_path(ruleset, "/", UM_LANDLOCK_REFER, false, err);
	return r;
}

static int add_ports(int ruleset, const struct um_spec_landlock *l, struct um_error *err)
{
	for (size_t i = 0; i < UM_LANDLOCK_N_PORTS; i++)
		for (size_t k = 0; k < l->ports[i].n; k++) {
			struct um_landlock_port rule = {port_kinds[i].right, l->ports[i].v[k]};

			um_why(PREFIX "%s: %u", port_kinds[i].name, l->ports[i].v[k]);
			if (um_sys_landlock_add_rule(ruleset, UM_LANDLOCK_RULE_PORT, &rule, 0) < 0)
				return um_error_errno(err, -errno, "annotations." PREFIX "%s: %u",
						      port_kinds[i].name, l->ports[i].v[k]);
		}
	return 0;
}

int um_landlock_prepare(const struct um_spec_landlock *l, int *ret, struct um_error *err)
{
	struct um_landlock_ruleset attr = {0};
	_cleanup_close_ int fd = -1;
	int abi = wanted(l) ? um_landlock_abi() : 0, r;

	*ret = -1;
	if (!abi)
		return 0; /* checked before: it may be ignored */
	attr.fs = handled_fs(l, abi);
	for (size_t i = 0; i < UM_LANDLOCK_N_PORTS && abi >= ABI_TCP; i++)
		if (l->ports[i].given)
			attr.net |= port_kinds[i].right;
	um_why(PREFIX "*: what is forbidden unless a rule allows it");
	fd = um_sys_landlock_create_ruleset(&attr, abi >= ABI_TCP ? sizeof(attr) : sizeof(attr.fs),
					    0);
	if (fd < 0)
		return um_error_errno(err, -errno, "annotations." PREFIX "*");
	r = add_paths(fd, l, attr.fs, err);
	if (r >= 0 && attr.net)
		r = add_ports(fd, l, err);
	if (r < 0)
		return r;
	*ret = TAKE_FD(fd);
	return 0;
}

int um_landlock_enforce(int ruleset, struct um_error *err)
{
	int r = 0;

	if (ruleset < 0)
		return 0;
	um_why(PREFIX "*: from here on the rules hold");
	if (um_sys_landlock_restrict_self(ruleset, 0) < 0)
		r = um_error_errno(err, -errno, "annotations." PREFIX "*");
	um_close(ruleset);
	return r;
}
