/* Programs by profile: <root>/.seccomp/<hash>, one file each: a header, the key (the versions that
 * the result depends on, and the profile's text), the instructions. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "runtime/seccomp.h"
#include "runtime/sys.h"

#define FOLDER ".seccomp"
#define MAGIC UINT64_C(0x31706d6373696d75) /* "umiscmp1" */
/* When there are so many, all go: profiles are few, unless somebody makes them up. */
enum { MAX_ENTRIES = 64, MAX_PROFILE = 1 << 20 };

struct header {
	uint64_t magic;
	uint32_t key_len, n_insns, flags, reserved;
};

/* ---- the key ---- */

static int make_key(const struct um_json *json, struct um_buf *key)
{
	const struct scmp_version *v = seccomp_version();
	int r;

	um_buf_addf(key, PACKAGE_VERSION " libseccomp %u.%u.%u %x\n", v->major, v->minor, v->micro,
		    seccomp_arch_native());
	r = um_json_write(key, json);
	return r < 0 ? r : um_buf_error(key);
}

/* FNV-1a: only spreads; whether it is the same profile is seen by comparing. */
static void name_of(const struct um_buf *key, char name[17])
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < key->len; i++)
		h = (h ^ (unsigned char)key->data[i]) * UINT64_C(0x100000001b3);
	snprintf(name, 17, "%016" PRIx64, h);
}

/* ---- reading ---- */

static bool fits(const struct um_buf *file, const struct um_buf *key, struct header *h)
{
	if (file->len < sizeof(*h))
		return false;
	memcpy(h, file->data, sizeof(*h));
	return h->magic == MAGIC && h->key_len == key->len && h->n_insns > 0 &&
	       h->n_insns <= BPF_MAXINSNS &&
	       file->len == sizeof(*h) + key->len + h->n_insns * sizeof(struct sock_filter) &&
	       !memcmp(file->data + sizeof(*h), key->data, key->len);
}

static int find(int dir, const char *name, const struct um_buf *key, struct um_seccomp_prog *ret)
{
	_cleanup_buf_ struct um_buf file = UM_BUF_INIT(sizeof(struct header) + key->len +
						       BPF_MAXINSNS * sizeof(struct sock_filter));
	struct um_seccomp_prog p = {0};
	struct header h;
	int r = um_io_read_file(dir, name, &file, NULL);

	if (r < 0)
		return r;
	if (!fits(&file, key, &h))
		return -ENOENT;
	p.insns = malloc(h.n_insns * sizeof(*p.insns));
	if (!p.insns)
		return -ENOMEM;
	memcpy(p.insns, file.data + sizeof(h) + key->len, h.n_insns * sizeof(*p.insns));
	p.n = (unsigned short)h.n_insns;
	p.flags = h.flags;
	*ret = p;
	return 0;
}

/* ---- keeping ---- */

/* True when the folder may take one more. What writers that died left behind counts. */
static bool make_room(int dir)
{
	int own = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = own >= 0 ? fdopendir(own) : NULL;
	struct dirent *e;
	unsigned n = 0;

	if (!d) {
		um_close(own);
		return false;
	}
	while ((e = readdir(d)))
		n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
	if (n < MAX_ENTRIES)
		return true;
	rewinddir(d);
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			um_sys_unlinkat(dir, e->d_name, 0);
	return true;
}

/* Another may keep the same at the same time: each writes a file of its own and renames it. */
static void keep(int dir, const char *name, const struct um_buf *key,
		 const struct um_seccomp_prog *p)
{
	struct header h = {
		.magic = MAGIC, .key_len = (uint32_t)key->len, .n_insns = p->n, .flags = p->flags};
	_cleanup_close_ int fd = -1;
	char own[48];

	if (!make_room(dir))
		return;
	um_why("linux.seccomp: the compiled filter is kept for the next container with this "
	       "profile");
	snprintf(own, sizeof(own), ".%s.%d", name, getpid());
	um_sys_unlinkat(dir, own, 0);
	fd = um_sys_create(dir, own, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	if (um_io_write_all(fd, &h, sizeof(h)) < 0 ||
	    um_io_write_all(fd, key->data, key->len) < 0 ||
	    um_io_write_all(fd, p->insns, p->n * sizeof(*p->insns)) < 0 ||
	    um_sys_renameat(dir, own, dir, name) < 0)
		um_sys_unlinkat(dir, own, 0);
}

/* Ours alone, or it is not used. -1: none. */
static int open_folder(const char *root)
{
	_cleanup_close_ int top = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), dir = -1;
	struct stat st;

	if (top < 0)
		return -1;
	dir = openat(top, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	um_why("linux.seccomp: the folder of compiled filters");
	if (dir < 0 && errno == ENOENT &&
	    (um_sys_mkdirat(top, FOLDER, 0700) == 0 || errno == EEXIST))
		dir = openat(top, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0 || fstat(dir, &st) < 0 || st.st_uid != geteuid() || st.st_mode & 022)
		return -1;
	return TAKE_FD(dir);
}

int um_seccomp_load(const char *root, const struct um_json *json, const struct um_spec_seccomp *s,
		    struct um_seccomp_prog *ret, struct um_error *err)
{
	_cleanup_buf_ struct um_buf key = UM_BUF_INIT(MAX_PROFILE);
	_cleanup_close_ int dir = -1;
	char name[17];
	int r;

	if (!s->present) {
		*ret = (struct um_seccomp_prog){0};
		return 0;
	}
	if (make_key(json, &key) == 0)
		dir = open_folder(root);
	if (dir < 0)
		return um_seccomp_compile(s, ret, err);
	name_of(&key, name);
	if (find(dir, name, &key, ret) == 0)
		return 0;
	r = um_seccomp_compile(s, ret, err);
	if (r >= 0)
		keep(dir, name, &key, ret);
	return r;
}
