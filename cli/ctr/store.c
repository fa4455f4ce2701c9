/* Containers and their names on disk. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "cli/ctr/ctr.h"
#include "cli/ctr/parse.h"

#define DOC_MAX (4u << 20)
#define ARENA_MAX (32u << 20)

/* ---- the store's lock ---- */

static int lock_store(struct um_error *err)
{
	_cleanup_close_ int fd = -1;
	char path[1100];

	snprintf(path, sizeof(path), "%s/lock", ctr_env.state);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return um_error_errno(err, -errno, "open %s", path);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return um_error_errno(err, -errno, "lock %s", path);
	return TAKE_FD(fd);
}

/* ---- one container ---- */

void ctr_free(struct ctr *c)
{
	if (!c)
		return;
	um_close(c->lock);
	um_arena_free(c->a);
	free(c);
}

void ctr_vec_release(ctr_vec *v)
{
	um_vec_foreach (c, v)
		ctr_free(*c);
	um_vec_release(v);
}

const char *ctr_name(const struct ctr *c)
{
	const char *name = um_json_get_str(c->config, "Name", "");

	return *name == '/' ? name + 1 : name;
}

static struct ctr *new_ctr(const char *id)
{
	struct ctr *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->lock = -1;
	snprintf(c->id, sizeof(c->id), "%s", id);
	snprintf(c->dir, sizeof(c->dir), "%s/%s", ctr_env.state, c->id);
	snprintf(c->run_dir, sizeof(c->run_dir), "%s/%.16s", ctr_env.run, c->id);
	snprintf(c->uid, sizeof(c->uid), UM_CTR_UID_PREFIX "%.32s", c->id);
	return c;
}

static int read_doc(struct ctr *c, const char *file, struct um_json **ret, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(DOC_MAX);
	char path[1300];
	int r;

	snprintf(path, sizeof(path), "%s/%s", c->dir, file);
	r = um_io_read_file(AT_FDCWD, path, &b, err);
	if (r == 0)
		r = um_json_parse(c->a, um_buf_str(&b), b.len, NULL, ret, err);
	return r < 0 ? r : 0;
}

static void read_state(struct ctr *c)
{
	struct um_error ignored = UM_ERROR_INIT;

	if (read_doc(c, "state.json", &c->state, &ignored) < 0 ||
	    !um_json_is(c->state, UM_JSON_OBJ)) {
		c->state = um_json_new_obj(c->a);
		um_json_set_str(c->a, c->state, "Status", "created");
	}
}

int ctr_check_config(const struct um_json *config, struct um_error *err)
{
	static const struct {
		const char *path;
		enum um_json_type type;
	} parts[] = {
		{"Args", UM_JSON_ARR},
		{"Mounts", UM_JSON_ARR},
		{"Config", UM_JSON_OBJ},
		{"Config.Env", UM_JSON_ARR},
		{"Config.Labels", UM_JSON_OBJ},
		{"Config.ExposedPorts", UM_JSON_OBJ},
		{"HostConfig", UM_JSON_OBJ},
		{"HostConfig.PortBindings", UM_JSON_OBJ},
		{"HostConfig.RestartPolicy", UM_JSON_OBJ},
		{"HostConfig.Tmpfs", UM_JSON_OBJ},
		{"HostConfig.CapAdd", UM_JSON_ARR},
		{"HostConfig.CapDrop", UM_JSON_ARR},
		{"HostConfig.Devices", UM_JSON_ARR},
		{"HostConfig.Ulimits", UM_JSON_ARR},
	};

	if (!um_json_is(config, UM_JSON_OBJ))
		return um_error_set(err, -EINVAL, "config.json is no object");
	for (size_t i = 0; i < UM_ARRAY_LEN(parts); i++) {
		const struct um_json *part = um_json_path(config, parts[i].path);

		if (part && !um_json_is(part, parts[i].type))
			return um_error_set(err, -EINVAL, "config.json: %s is damaged",
					    parts[i].path);
	}
	return 0;
}

static int load(const char *id, struct ctr **ret, struct um_error *err)
{
	_cleanup_ctr_ struct ctr *c = new_ctr(id);
	int r;

	if (!c || !(c->a = um_arena_new(ARENA_MAX)))
		return um_error_errno(err, -ENOMEM, "container %s", id);
	r = read_doc(c, "config.json", &c->config, err);
	if (r == 0)
		r = ctr_check_config(c->config, err);
	if (r < 0)
		return r == -ENOENT ? r : um_error_wrap(err, r, "container %s", id);
	read_state(c);
	*ret = TAKE_PTR(c);
	return 0;
}

static int write_doc(const char *dir, const char *file, const struct um_json *doc, bool durable,
		     struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(DOC_MAX);
	char path[1400];

	if (!doc || um_json_write(&b, doc) < 0)
		return um_error_errno(err, doc ? um_buf_error(&b) : -ENOMEM, "write %s", file);
	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return um_io_replace_file(AT_FDCWD, path, b.data, b.len, 0600,
				  durable ? UM_IO_SYNC : UM_IO_NO_SYNC, err);
}

int ctr_save_state(struct ctr *c, bool durable, struct um_error *err)
{
	return write_doc(c->dir, "state.json", c->state, durable, err);
}

static bool is_id(const char *s)
{
	return strlen(s) == CTR_ID_LEN && strspn(s, "0123456789abcdef") == CTR_ID_LEN;
}

/* ---- names ---- */

static void name_path(char *buf, size_t size, const char *name)
{
	snprintf(buf, size, "%s/names/%s", ctr_env.state, name);
}

static bool exists(const char *id)
{
	char path[1200];

	snprintf(path, sizeof(path), "%s/%s/config.json", ctr_env.state, id);
	return access(path, F_OK) == 0;
}

/* The id whose name this is: 1, or 0 when it is nobody's. */
static int whose(const char *name, char id[CTR_ID_LEN + 1])
{
	char path[1300];
	ssize_t n;

	name_path(path, sizeof(path), name);
	n = readlink(path, id, CTR_ID_LEN);
	if (n != CTR_ID_LEN)
		return 0;
	id[n] = '\0';
	return is_id(id) && exists(id);
}

static const char *const first_words[] = {
	"able",	 "bold",  "brave", "bright", "calm",  "clear", "eager",	 "fair",  "fleet", "gentle",
	"grand", "happy", "hardy", "keen",   "light", "lucky", "mellow", "merry", "noble", "proud",
	"quick", "quiet", "ready", "silent", "solid", "stout", "sunny",	 "swift", "vivid", "wise"};
static const char *const second_words[] = {
	"auk",	    "beluga",	 "bowhead", "caribou", "eider", "ermine", "fulmar",    "gannet",
	"grayling", "guillemot", "gull",    "harp",    "husky", "kayak",  "kittiwake", "lemming",
	"loon",	    "marmot",	 "muskox",  "narwhal", "orca",	"osprey", "otter",     "petrel",
	"plover",   "ptarmigan", "puffin",  "sculpin", "seal",	"skua",	  "tern",      "walrus"};

/* The store's lock is held: whoever makes the link has the name. */
static int take_name(const char *name, const char *id, struct um_error *err)
{
	char path[1300], other[CTR_ID_LEN + 1];

	name_path(path, sizeof(path), name);
	if (symlink(id, path) == 0)
		return 0;
	if (errno != EEXIST)
		return um_error_errno(err, -errno, "name %s", name);
	if (whose(name, other))
		return um_error_set(err, -EEXIST,
				    "Conflict. The container name \"/%s\" is already in use by "
				    "container \"%s\". You have to remove (or rename) that "
				    "container to be able to reuse that name.",
				    name, other);
	if (unlink(path) < 0 || symlink(id, path) < 0) /* a crash left it */
		return um_error_errno(err, -errno, "name %s", name);
	return 0;
}

static int choose_name(const char *id, char *name, size_t size)
{
	struct um_error ignored = UM_ERROR_INIT;
	unsigned seed;

	for (unsigned i = 0; i < 100; i++) {
		(void)sscanf(id + i % 48, "%8x", &seed);
		snprintf(name, size, "%s_%s", first_words[seed % UM_ARRAY_LEN(first_words)],
			 second_words[seed / 64 % UM_ARRAY_LEN(second_words)]);
		if (i > 10)
			snprintf(name + strlen(name), size - strlen(name), "%u", i);
		if (take_name(name, id, &ignored) == 0)
			return 0;
	}
	return -EEXIST;
}

/* ---- making ---- */

static int make(struct ctr *c, bool durable, struct um_error *err)
{
	const char *wanted = ctr_name(c);
	char fresh[1200], name[160], full[170], path[1300];
	int r;

	snprintf(fresh, sizeof(fresh), "%s/.new-%s", ctr_env.state, c->id);
	if (mkdir(fresh, 0700) < 0)
		return um_error_errno(err, -errno, "make %s", fresh);
	snprintf(name, sizeof(name), "%s", wanted);
	r = *wanted ? take_name(wanted, c->id, err) : choose_name(c->id, name, sizeof(name));
	if (r < 0 && !*wanted)
		um_error_set(err, r, "no name is left");
	UM_FAULT("ctr.named");
	if (r == 0) {
		snprintf(full, sizeof(full), "/%s", name);
		um_json_set_str(c->a, c->config, "Name", full);
		r = write_doc(fresh, "config.json", c->config, durable, err);
		if (r == 0 && rename(fresh, c->dir) < 0)
			r = um_error_errno(err, -errno, "rename %s", fresh);
		if (r < 0) {
			name_path(path, sizeof(path), name);
			(void)unlink(path);
		}
	}
	if (r < 0)
		(void)!um_io_remove_tree(AT_FDCWD, fresh, NULL);
	UM_FAULT("ctr.created");
	return r;
}

int ctr_create(struct um_arena *a, struct um_json *config, bool durable, struct ctr **ret,
	       struct um_error *err)
{
	_cleanup_close_ int store = -1;
	_cleanup_ctr_ struct ctr *c = new_ctr(um_json_get_str(config, "Id", ""));
	int r;

	if (!c)
		return um_error_errno(err, -ENOMEM, "make a container");
	c->config = config;
	if (*ctr_name(c) && !ctr_valid_name(ctr_name(c)))
		return um_error_set(
			err, -EINVAL,
			"Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are "
			"allowed",
			ctr_name(c));
	store = lock_store(err);
	if (store < 0)
		return store;
	c->a = a;
	r = make(c, durable, err);
	if (r == 0) {
		read_state(c);
		r = ctr_lock(c, err);
	}
	if (r < 0) {
		c->a = NULL;
		return r;
	}
	*ret = TAKE_PTR(c);
	return 0;
}

/* ---- finding ---- */

static int each_id(bool (*fn)(void *arg, const char *id), void *arg, struct um_error *err)
{
	_cleanup_closedir_ DIR *d = opendir(ctr_env.state);
	struct dirent *e;

	if (!d)
		return um_error_errno(err, -errno, "open %s", ctr_env.state);
	while ((e = readdir(d)))
		if (is_id(e->d_name) && !fn(arg, e->d_name))
			break;
	return 0;
}

struct prefix {
	const char *text;
	char id[CTR_ID_LEN + 1];
	unsigned n;
};

static bool match_prefix(void *arg, const char *id)
{
	struct prefix *p = arg;

	if (!strncmp(id, p->text, strlen(p->text))) {
		memcpy(p->id, id, sizeof(p->id));
		p->n++;
	}
	return true;
}

int ctr_find(const char *ref, struct ctr **ret, struct um_error *err)
{
	struct prefix p = {.text = ref};
	int r = -ENOENT;

	if (*ref == '/')
		p.text = ++ref;
	if (ctr_valid_name(ref) && whose(ref, p.id)) {
		r = load(p.id, ret, err);
	} else if (*ref && strspn(ref, "0123456789abcdef") == strlen(ref)) {
		r = each_id(match_prefix, &p, err);
		if (r == 0 && p.n > 1)
			return um_error_set(err, -EINVAL,
					    "Multiple IDs found with provided prefix: %s", ref);
		r = r < 0 ? r : p.n ? load(p.id, ret, err) : -ENOENT;
	}
	if (r == -ENOENT) {
		*err = (struct um_error)UM_ERROR_INIT;
		return um_error_set(err, r, "No such container: %s", ref);
	}
	return r;
}

static bool add_loaded(void *arg, const char *id)
{
	struct um_error ignored = UM_ERROR_INIT; /* removed meanwhile, or damaged */
	struct ctr *c;

	if (load(id, &c, &ignored) == 0 && um_vec_push((ctr_vec *)arg, c) < 0)
		ctr_free(c);
	return true;
}

static int by_age(const void *a, const void *b)
{
	const struct ctr *const *x = a, *const *y = b;

	return -strcmp(um_json_get_str((*x)->config, "Created", ""),
		       um_json_get_str((*y)->config, "Created", ""));
}

int ctr_load_all(ctr_vec *ret, struct um_error *err)
{
	int r = each_id(add_loaded, ret, err);

	if (ret->len)
		qsort(ret->items, ret->len, sizeof(*ret->items), by_age);
	return r;
}

static int take_lock(struct ctr *c, int how, struct um_error *err)
{
	struct stat held, there;

	if (c->lock >= 0)
		return 0;
	c->lock = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->lock < 0)
		return um_error_set(err, -ENOENT, "No such container: %s", c->id);
	while (flock(c->lock, how) < 0) {
		int e = errno;

		if (e == EINTR)
			continue;
		ctr_unlock(c);
		return um_error_errno(err, e == EWOULDBLOCK ? -EAGAIN : -e, "lock %s", c->dir);
	}
	if (fstat(c->lock, &held) < 0 || stat(c->dir, &there) < 0 || held.st_ino != there.st_ino) {
		ctr_unlock(c);
		return um_error_set(err, -ENOENT, "No such container: %s", c->id);
	}
	read_state(c);
	return 0;
}

int ctr_lock(struct ctr *c, struct um_error *err)
{
	return take_lock(c, LOCK_EX, err);
}

int ctr_try_lock(struct ctr *c, struct um_error *err)
{
	return take_lock(c, LOCK_EX | LOCK_NB, err);
}

void ctr_unlock(struct ctr *c)
{
	c->lock = um_close(c->lock);
}

/* ---- removing, renaming ---- */

static void drop_name(const char *name, const char *id)
{
	char path[1300], to[CTR_ID_LEN + 1];
	ssize_t n;

	name_path(path, sizeof(path), name);
	n = readlink(path, to, sizeof(to));
	if (n == CTR_ID_LEN && !memcmp(to, id, CTR_ID_LEN))
		(void)unlink(path);
}

int ctr_forget(struct ctr *c, struct um_error *err)
{
	char gone[1200];
	int store = lock_store(err), r = 0;

	if (store < 0)
		return store;
	snprintf(gone, sizeof(gone), "%s/.rm-%s", ctr_env.state, c->id);
	if (rename(c->dir, gone) < 0)
		r = um_error_errno(err, -errno, "remove %s", c->dir);
	else
		drop_name(ctr_name(c), c->id);
	UM_FAULT("ctr.unnamed");
	um_close(store);
	return r < 0 ? r : um_io_remove_tree(AT_FDCWD, gone, err);
}

int ctr_rename(struct ctr *c, const char *name, struct um_error *err)
{
	_cleanup_close_ int store = -1;
	char old[160], full[170];
	int r;

	if (!ctr_valid_name(name))
		return um_error_set(
			err, -EINVAL,
			"Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are "
			"allowed",
			name);
	store = lock_store(err);
	if (store < 0)
		return store;
	snprintf(old, sizeof(old), "%s", ctr_name(c));
	if (!strcmp(old, name))
		return um_error_set(err, -EINVAL,
				    "Renaming a container with the same name as its current name");
	r = take_name(name, c->id, err);
	if (r < 0)
		return r;
	snprintf(full, sizeof(full), "/%s", name);
	um_json_set_str(c->a, c->config, "Name", full);
	r = write_doc(c->dir, "config.json", c->config, true, err);
	drop_name(r < 0 ? name : old, c->id);
	return r;
}

/* ---- after a crash ---- */

/* Anything of "names" that leads to no container whose name it is. */
static bool stale_name(const char *name)
{
	struct um_error ignored = UM_ERROR_INIT;
	_cleanup_ctr_ struct ctr *c = NULL;
	char id[CTR_ID_LEN + 1];

	if (!whose(name, id))
		return true;
	return load(id, &c, &ignored) == 0 && strcmp(ctr_name(c), name) != 0;
}

static bool needs_sweep(void)
{
	_cleanup_closedir_ DIR *d = opendir(ctr_env.state), *names = NULL;
	char path[1300], id[CTR_ID_LEN + 1];
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (!strncmp(e->d_name, ".new-", 5) || !strncmp(e->d_name, ".rm-", 4))
			return true;
	name_path(path, sizeof(path), "");
	names = opendir(path);
	while (names && (e = readdir(names)))
		if (e->d_name[0] != '.' && !whose(e->d_name, id))
			return true;
	return false;
}

int ctr_sweep_store(struct um_error *err)
{
	_cleanup_closedir_ DIR *d = NULL, *names = NULL;
	_cleanup_close_ int store = -1;
	char path[1300];
	struct dirent *e;
	int r = 0;

	if (!needs_sweep())
		return 0;
	store = lock_store(err);
	if (store < 0)
		return store;
	d = opendir(ctr_env.state);
	while (r == 0 && d && (e = readdir(d)))
		if (!strncmp(e->d_name, ".new-", 5) || !strncmp(e->d_name, ".rm-", 4))
			r = um_io_remove_tree(dirfd(d), e->d_name, err);
	name_path(path, sizeof(path), "");
	names = opendir(path);
	while (names && (e = readdir(names)))
		if (e->d_name[0] != '.' && stale_name(e->d_name))
			(void)unlinkat(dirfd(names), e->d_name, 0);
	return r;
}
