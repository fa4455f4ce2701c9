#include "netns/ipam.h"

#include <fcntl.h>

#include "base/hash.h"
#include "base/io.h"

struct entry {
	uint32_t addr;
	char uid[UM_IPAM_UID_MAX + 1];
	UT_hash_handle by_addr, by_uid;
};

struct um_ipam {
	int dir;
	struct um_range range;
	uint32_t last; /* given last */
	struct entry *addrs, *uids;
};

bool um_ipam_uid_valid(const char *uid)
{
	size_t n = strspn(uid, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

	return n > 0 && n <= UM_IPAM_UID_MAX && uid[n] == '\0';
}

static struct entry *find_addr(struct um_ipam *i, uint32_t addr)
{
	struct entry *e;

	HASH_FIND(by_addr, i->addrs, &addr, sizeof(addr), e);
	return e;
}

static struct entry *find_uid(struct um_ipam *i, const char *uid)
{
	struct entry *e;

	HASH_FIND(by_uid, i->uids, uid, strlen(uid), e);
	return e;
}

static void forget(struct um_ipam *i, struct entry *e)
{
	HASH_DELETE(by_addr, i->addrs, e);
	HASH_DELETE(by_uid, i->uids, e);
	free(e);
}

static int remember(struct um_ipam *i, const char *uid, uint32_t addr)
{
	struct entry *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->addr = addr;
	snprintf(e->uid, sizeof(e->uid), "%s", uid);
	HASH_ADD(by_addr, i->addrs, addr, sizeof(e->addr), e);
	if (!find_addr(i, addr)) { /* out of memory */
		free(e);
		return -ENOMEM;
	}
	HASH_ADD_KEYPTR(by_uid, i->uids, e->uid, strlen(e->uid), e);
	if (!find_uid(i, uid)) {
		HASH_DELETE(by_addr, i->addrs, e);
		free(e);
		return -ENOMEM;
	}
	return 0;
}

static int remove_file(struct um_ipam *i, const char *name, struct um_error *err)
{
	if (unlinkat(i->dir, name, 0) < 0 && errno != ENOENT)
		return um_error_errno(err, -errno, "remove ipam/%s", name);
	return 0;
}

/* The uid in a file: 0, or -EBADMSG when there is none. */
static int read_uid(struct um_ipam *i, const char *name, char uid[UM_IPAM_UID_MAX + 1],
		    struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_IPAM_UID_MAX + 1);
	int r = um_io_read_file(i->dir, name, &b, err);

	if (r == -EMSGSIZE)
		return -EBADMSG;
	if (r < 0)
		return um_error_wrap(err, r, "read the address in ipam");
	if (b.len && b.data[b.len - 1] == '\n')
		b.data[--b.len] = '\0';
	if (strlen(um_buf_str(&b)) != b.len || !um_ipam_uid_valid(um_buf_str(&b)))
		return -EBADMSG;
	snprintf(uid, UM_IPAM_UID_MAX + 1, "%s", um_buf_str(&b));
	return 0;
}

/* One file of the folder; @ret_made gets when it was made where it is one of ours. */
static int scan_file(struct um_ipam *i, const char *name, struct timespec *newest,
		     struct um_error *err)
{
	char uid[UM_IPAM_UID_MAX + 1], other[INET_ADDRSTRLEN];
	struct entry *had;
	struct stat st;
	uint32_t addr;
	int r;

	if (um_range_parse_addr(name, &addr) < 0)
		return 0;
	if (fstatat(i->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return um_error_errno(err, -errno, "look at ipam/%s", name);
	if (!S_ISREG(st.st_mode))
		return um_error_set(err, -EEXIST, "ipam/%s is not a regular file", name);
	r = read_uid(i, name, uid, err);
	if (r == -EBADMSG)
		return remove_file(i, name, err);
	if (r < 0)
		return r;
	had = find_uid(i, uid);
	if (had && had->addr < addr)
		return remove_file(i, name, err);
	if (had) {
		um_range_format_addr(had->addr, other);
		r = remove_file(i, other, err);
		if (r < 0)
			return r;
		forget(i, had);
	}
	if (remember(i, uid, addr) < 0)
		return um_error_errno(err, -ENOMEM, "read ipam");
	if (um_range_has(&i->range, addr) &&
	    (st.st_mtim.tv_sec > newest->tv_sec ||
	     (st.st_mtim.tv_sec == newest->tv_sec && st.st_mtim.tv_nsec >= newest->tv_nsec))) {
		*newest = st.st_mtim;
		i->last = addr;
	}
	return 0;
}

static int scan(struct um_ipam *i, struct um_error *err)
{
	_cleanup_closedir_ DIR *d = NULL;
	struct timespec newest = {0};
	struct dirent *de;
	int r = 0, fd = openat(i->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return um_error_errno(err, -errno, "open ipam");
	d = fdopendir(fd);
	if (!d) {
		um_close(fd);
		return um_error_errno(err, -ENOMEM, "open ipam");
	}
	while (r == 0 && (errno = 0, de = readdir(d)))
		r = scan_file(i, de->d_name, &newest, err);
	if (r == 0 && errno)
		r = um_error_errno(err, -errno, "read ipam");
	return r;
}

int um_ipam_open(const char *state_dir, const struct um_range *range, struct um_ipam **ret,
		 struct um_error *err)
{
	_cleanup_(um_ipam_closep) struct um_ipam *i = calloc(1, sizeof(*i));
	char path[4096];
	int r;

	if (!i)
		return um_error_errno(err, -ENOMEM, "open ipam");
	i->dir = -1;
	i->range = *range;
	i->last = range->base;
	r = um_io_path(path, sizeof(path), "%s/ipam", state_dir);
	if (r < 0)
		return um_error_errno(err, r, "%s/ipam", state_dir);
	r = um_io_mkdirs(AT_FDCWD, path, 0700, err);
	if (r < 0)
		return r;
	i->dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (i->dir < 0)
		return um_error_errno(err, -errno, "open %s", path);
	r = scan(i, err);
	if (r < 0)
		return um_error_wrap(err, r, "%s", state_dir);
	*ret = TAKE_PTR(i);
	return 0;
}

void um_ipam_close(struct um_ipam *i)
{
	struct entry *e, *tmp;

	if (!i)
		return;
	HASH_ITER (by_addr, i->addrs, e, tmp) {
		forget(i, e);
	}
	um_close(i->dir);
	free(i);
}

/* Makes the file and notes it. -EEXIST: somebody else has the address. */
static int take(struct um_ipam *i, const char *uid, uint32_t addr, struct um_error *err)
{
	_cleanup_close_ int fd = -1;
	char name[INET_ADDRSTRLEN];
	int r;

	um_range_format_addr(addr, name);
	fd = openat(i->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 && errno == EEXIST)
		return -EEXIST;
	if (fd < 0)
		return um_error_errno(err, -errno, "make ipam/%s for pod %s", name, uid);
	r = um_io_write_all(fd, uid, strlen(uid));
	if (r == 0)
		r = remember(i, uid, addr);
	if (r < 0) {
		(void)unlinkat(i->dir, name, 0);
		return um_error_errno(err, r, "write ipam/%s for pod %s", name, uid);
	}
	return 0;
}

int um_ipam_give(struct um_ipam *i, const char *uid, uint32_t *ret_addr, struct um_error *err)
{
	uint32_t first = i->range.base + 1, last = um_range_last(&i->range) - 1;
	uint32_t addr = i->last;
	char text[UM_RANGE_TEXT_LEN];
	struct entry *had = find_uid(i, uid);
	int r;

	if (had && had->addr >= first && had->addr <= last) {
		*ret_addr = had->addr;
		return 0;
	}
	r = had ? um_ipam_release(i, uid, err) : 0;
	for (uint32_t tries = last - first + 1; r == 0 && tries > 0; tries--) {
		addr = addr < first || addr >= last ? first : addr + 1;
		if (find_addr(i, addr))
			continue;
		r = take(i, uid, addr, err);
		if (r == -EEXIST) { /* made behind our back */
			r = 0;
			continue;
		}
		if (r < 0)
			return r;
		i->last = addr;
		*ret_addr = addr;
		return 0;
	}
	if (r < 0)
		return r;
	um_range_format(&i->range, text);
	return um_error_set_reason(err, UM_REASON_UNAVAILABLE, -EADDRNOTAVAIL,
				   "no address for pod %s: all %u of the node range %s are in use",
				   uid, last - first + 1, text);
}

int um_ipam_claim(struct um_ipam *i, const char *uid, uint32_t addr, struct um_error *err)
{
	int r;

	if (find_uid(i, uid) || find_addr(i, addr))
		return 0;
	r = take(i, uid, addr, err);
	return r == -EEXIST ? 0 : r;
}

bool um_ipam_find(struct um_ipam *i, const char *uid, uint32_t *ret_addr)
{
	const struct entry *e = find_uid(i, uid);

	if (e)
		*ret_addr = e->addr;
	return e != NULL;
}

int um_ipam_release(struct um_ipam *i, const char *uid, struct um_error *err)
{
	struct entry *e = find_uid(i, uid);
	char name[INET_ADDRSTRLEN];
	int r;

	if (!e)
		return 0;
	um_range_format_addr(e->addr, name);
	r = remove_file(i, name, err);
	if (r == 0)
		forget(i, e);
	return r;
}

int um_ipam_each(struct um_ipam *i, int (*fn)(void *arg, const char *uid), void *arg)
{
	struct entry *e, *tmp;
	int r = 0;

	HASH_ITER (by_uid, i->uids, e, tmp) {
		if (r == 0)
			r = fn(arg, e->uid);
	}
	return r;
}
