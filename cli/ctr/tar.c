#include "cli/ctr/tar.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/num.h"

#define BLOCK 512
#define PAX_MAX (1 << 20)
#define OCTAL_MAX INT64_C(077777777777) /* eleven digits */
#define ID_MAX 07777777			/* seven */

/* POSIX.1-2017, pax: ustar. */
struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100];
	char magic[6], version[2], uname[32], gname[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a block");

/* ---- reading ---- */

static int damaged(struct um_error *err, const char *what)
{
	return um_error_set(err, -EINVAL, "the tar stream is damaged: %s", what);
}

/* All of it: 1; nothing: 0. */
static int read_block(struct ctr_tar_reader *t, void *buf, size_t size, struct um_error *err)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(t->fd, (char *)buf + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return um_error_errno(err, -errno, "read the tar stream");
		if (n == 0)
			return len ? damaged(err, "it ends early") : 0;
		len += (size_t)n;
	}
	return 1;
}

ssize_t ctr_tar_read(struct ctr_tar_reader *t, void *buf, size_t size, struct um_error *err)
{
	ssize_t n;

	if ((int64_t)size > t->body)
		size = (size_t)t->body;
	if (!size)
		return 0;
	do
		n = read(t->fd, buf, size);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return um_error_errno(err, -errno, "read the tar stream");
	if (n == 0)
		return damaged(err, "it ends early");
	t->body -= n;
	t->left -= n;
	return n;
}

static int pass_over(struct ctr_tar_reader *t, struct um_error *err)
{
	char buf[16384];

	t->body = t->left;
	while (t->left > 0) {
		ssize_t n = ctr_tar_read(t, buf, sizeof(buf), err);

		if (n < 0)
			return (int)n;
	}
	return 0;
}

static void expect(struct ctr_tar_reader *t, int64_t size)
{
	t->body = size;
	t->left = (size + BLOCK - 1) / BLOCK * BLOCK;
}

/* Octal digits between spaces, or GNU's base 256 with the first bit set. */
static int number(const char *field, size_t len, int64_t *ret)
{
	const unsigned char *p = (const unsigned char *)field;
	int64_t v = 0;
	size_t i = 0;

	if (*p & 0x80) {
		v = *p & 0x3f;
		if (*p & 0x40)
			return -EINVAL; /* negative */
		for (i = 1; i < len; i++) {
			if (v >> 54)
				return -EINVAL;
			v = v << 8 | p[i];
		}
		*ret = v;
		return 0;
	}
	while (i < len && p[i] == ' ')
		i++;
	for (; i < len && p[i] >= '0' && p[i] <= '7'; i++)
		v = v << 3 | (p[i] - '0');
	for (; i < len; i++)
		if (p[i] != ' ' && p[i])
			return -EINVAL;
	*ret = v;
	return 0;
}

static bool sum_is_right(const struct header *h)
{
	const unsigned char *p = (const unsigned char *)h;
	int64_t sum = 0, want;

	for (size_t i = 0; i < BLOCK; i++)
		sum += i >= 148 && i < 156 ? ' ' : p[i];
	return number(h->sum, sizeof(h->sum), &want) == 0 && sum == want;
}

static bool is_zero(const struct header *h)
{
	const char *p = (const char *)h;

	for (size_t i = 0; i < BLOCK; i++)
		if (p[i])
			return false;
	return true;
}

/* What extended headers say of the next entry. */
struct extra {
	bool path, link, size, uid, gid, mtime;
	struct ctr_tar_entry e;
};

static int take_text(char *to, const char *value, size_t len, struct um_error *err)
{
	if (len >= PATH_MAX || memchr(value, '\0', len) || !len)
		return damaged(err, "a path is empty, too long, or has a NUL byte");
	memcpy(to, value, len);
	to[len] = '\0';
	return 0;
}

static int take_number(const char *value, size_t len, uint64_t max, int64_t *ret,
		       struct um_error *err)
{
	const char *dot = memchr(value, '.', len);
	uint64_t v;

	if (um_num_u64n(value, dot ? (size_t)(dot - value) : len, max, &v) < 0)
		return damaged(err, "a number of an extended header");
	*ret = (int64_t)v;
	return 0;
}

/* One "key=value" of a pax header. */
static int take_record(struct extra *x, const char *key, size_t key_len, const char *value,
		       size_t len, struct um_error *err)
{
	static const char *const harmless[] = {
		"atime",   "ctime",   "uname",	    "gname",
		"comment", "charset", "hdrcharset", "LIBARCHIVE.creationtime"};
	char name[80];
	int64_t v = 0;
	int r;

	snprintf(name, sizeof(name), "%.*s", (int)(key_len < 79 ? key_len : 79), key);
	if (!strcmp(name, "path")) {
		x->path = true;
		return take_text(x->e.path, value, len, err);
	}
	if (!strcmp(name, "linkpath")) {
		x->link = true;
		return take_text(x->e.link, value, len, err);
	}
	if (!strcmp(name, "mtime")) {
		x->mtime = !len || *value != '-'; /* before 1970: the header's */
		r = x->mtime ? take_number(value, len, INT64_MAX / 2, &v, err) : 0;
		x->e.mtime = v;
		return r;
	}
	if (!strcmp(name, "size")) {
		x->size = true;
		return take_number(value, len, INT64_MAX / 2, &x->e.size, err);
	}
	if (!strcmp(name, "uid") || !strcmp(name, "gid")) {
		r = take_number(value, len, UINT32_MAX - 1, &v, err);
		*(*name == 'u' ? &x->uid : &x->gid) = true;
		*(*name == 'u' ? &x->e.uid : &x->e.gid) = (uint32_t)v;
		return r;
	}
	for (size_t i = 0; i < UM_ARRAY_LEN(harmless); i++)
		if (!strcmp(name, harmless[i]))
			return 0;
	return um_error_set(err, -EOPNOTSUPP, "the tar stream's \"%s\" is not supported", name);
}

/* Lines of "length key=value\n". */
static int take_records(struct extra *x, const char *p, size_t len, struct um_error *err)
{
	while (len) {
		const char *space = memchr(p, ' ', len < 10 ? len : 10), *equals;
		uint64_t n;
		int r;

		if (!space || um_num_u64n(p, (size_t)(space - p), len, &n) < 0 ||
		    n < (size_t)(space - p) + 3 || p[n - 1] != '\n')
			return damaged(err, "an extended header");
		space++;
		equals = memchr(space, '=', (size_t)(p + n - 1 - space));
		if (!equals)
			return damaged(err, "an extended header");
		r = take_record(x, space, (size_t)(equals - space), equals + 1,
				(size_t)(p + n - 1 - (equals + 1)), err);
		if (r < 0)
			return r;
		p += n;
		len -= n;
	}
	return 0;
}

/* An extended header's bytes. */
static int read_body(struct ctr_tar_reader *t, struct um_buf *b, int64_t size, struct um_error *err)
{
	char buf[4096];
	ssize_t n = 0;

	if (size > PAX_MAX)
		return damaged(err, "an extended header is too long");
	expect(t, size);
	while (t->body > 0 && (n = ctr_tar_read(t, buf, sizeof(buf), err)) > 0)
		if (um_buf_add(b, buf, (size_t)n) < 0)
			return um_error_errno(err, -ENOMEM, "read the tar stream");
	return n < 0 ? (int)n : pass_over(t, err);
}

static int read_extra(struct ctr_tar_reader *t, struct extra *x, char type, int64_t size,
		      struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(PAX_MAX + 1);
	int r = read_body(t, &b, size, err);

	if (r < 0 || type == 'g') /* of the whole archive: none of it matters here */
		return r;
	if (type == 'x')
		return take_records(x, um_buf_str(&b), b.len, err);
	*(type == 'L' ? &x->path : &x->link) = true;
	return take_text(type == 'L' ? x->e.path : x->e.link, um_buf_str(&b),
			 strnlen(um_buf_str(&b), b.len), err);
}

static void take_names(const struct header *h, struct ctr_tar_entry *e)
{
	bool posix = !memcmp(h->magic, "ustar", 6);

	if (posix && h->prefix[0])
		snprintf(e->path, sizeof(e->path), "%.155s/%.100s", h->prefix, h->name);
	else
		snprintf(e->path, sizeof(e->path), "%.100s", h->name);
	snprintf(e->link, sizeof(e->link), "%.100s", h->link);
}

static int decode(const struct header *h, const struct extra *x, struct ctr_tar_entry *e,
		  struct um_error *err)
{
	const struct {
		const char *field;
		size_t len;
		int64_t max;
		bool over;
	} f[] = {{h->mode, 8, 0xffffffff, false},
		 {h->uid, 8, UINT32_MAX - 1, x->uid},
		 {h->gid, 8, UINT32_MAX - 1, x->gid},
		 {h->size, 12, INT64_MAX / 2, x->size},
		 {h->mtime, 12, INT64_MAX / 2, x->mtime},
		 {h->major, 8, 0xfff, false},
		 {h->minor, 8, 0xfffff, false}};
	int64_t v[UM_ARRAY_LEN(f)];

	for (size_t i = 0; i < UM_ARRAY_LEN(f); i++) {
		bool device = i >= 5;

		v[i] = 0;
		if (!f[i].over && (!device || h->type == '3' || h->type == '4') &&
		    (number(f[i].field, f[i].len, &v[i]) < 0 || v[i] > f[i].max))
			return damaged(err, "a number of a header");
	}
	*e = (struct ctr_tar_entry){.type = h->type};
	take_names(h, e);
	if (x->path)
		memcpy(e->path, x->e.path, sizeof(e->path));
	if (x->link)
		memcpy(e->link, x->e.link, sizeof(e->link));
	e->mode = (mode_t)v[0] & 07777;
	e->uid = x->uid ? x->e.uid : (uid_t)v[1];
	e->gid = x->gid ? x->e.gid : (gid_t)v[2];
	e->size = x->size ? x->e.size : v[3];
	e->mtime = x->mtime ? x->e.mtime : v[4];
	e->major = (unsigned)v[5];
	e->minor = (unsigned)v[6];
	if (e->type == '\0' || e->type == '7')
		e->type = '0';
	if (!strchr("0123456", e->type))
		return um_error_set(
			err, -EOPNOTSUPP,
			"the tar stream has an entry of type 0x%02x, which is not supported",
			(unsigned char)e->type);
	if (e->type == '0' && *e->path && e->path[strlen(e->path) - 1] == '/')
		e->type = '5'; /* as before POSIX */
	if (!*e->path || ((e->type == '1' || e->type == '2') && !*e->link))
		return damaged(err, "an entry has no name");
	return 0;
}

int ctr_tar_next(struct ctr_tar_reader *t, struct ctr_tar_entry *e, struct um_error *err)
{
	struct extra *x = calloc(1, sizeof(*x));
	struct header h;
	int64_t size;
	int r = x ? pass_over(t, err) : um_error_errno(err, -ENOMEM, "read the tar stream");

	while (r == 0) {
		r = read_block(t, &h, BLOCK, err);
		if (r <= 0)
			break;
		if (is_zero(&h)) {
			r = 0;
			break;
		}
		if (!sum_is_right(&h) || number(h.size, sizeof(h.size), &size) < 0) {
			r = damaged(err, "it is no tar, or a header's sum is wrong");
			break;
		}
		if (strchr("xgLK", h.type) && h.type) {
			r = read_extra(t, x, h.type, size, err);
			continue;
		}
		r = decode(&h, x, e, err);
		if (r < 0)
			break;
		/* What has no bytes may name a size: of a hard link, of a folder. */
		expect(t, e->type == '0' ? e->size : 0);
		e->size = t->body;
		r = 1;
		break;
	}
	free(x);
	return r;
}

/* ---- writing ---- */

static int put(int fd, const void *data, size_t len, struct um_error *err)
{
	int r = um_io_write_all(fd, data, len);

	return r < 0 ? um_error_errno(err, r, "write the tar stream") : 0;
}

static void put_number(char *field, size_t len, int64_t v, int64_t max)
{
	snprintf(field, len, "%0*llo", (int)len - 1,
		 (unsigned long long)(v < 0 || v > max ? 0 : v));
}

static int put_header(int fd, const struct ctr_tar_entry *e, const char *path, int64_t size,
		      char type, struct um_error *err)
{
	struct header h = {.type = type, .magic = "ustar", .version = {'0', '0'}};
	const unsigned char *p = (const unsigned char *)&h;
	unsigned sum = 0;

	memcpy(h.name, path, strnlen(path, sizeof(h.name)));
	memcpy(h.link, e->link, strnlen(e->link, sizeof(h.link)));
	put_number(h.mode, sizeof(h.mode), e->mode, 07777);
	put_number(h.uid, sizeof(h.uid), e->uid, ID_MAX);
	put_number(h.gid, sizeof(h.gid), e->gid, ID_MAX);
	put_number(h.size, sizeof(h.size), size, OCTAL_MAX);
	put_number(h.mtime, sizeof(h.mtime), e->mtime, OCTAL_MAX);
	put_number(h.major, sizeof(h.major), e->major, ID_MAX);
	put_number(h.minor, sizeof(h.minor), e->minor, ID_MAX);
	memset(h.sum, ' ', sizeof(h.sum));
	for (size_t i = 0; i < BLOCK; i++)
		sum += p[i];
	snprintf(h.sum, sizeof(h.sum), "%06o", sum);
	return put(fd, &h, BLOCK, err);
}

/* "length key=value\n", where the length counts itself. */
static void put_record(struct um_buf *b, const char *key, const char *value)
{
	size_t len = strlen(key) + strlen(value) + 3, digits = 1, all;

	for (;; digits++) {
		char text[24];

		all = len + digits;
		if ((size_t)snprintf(text, sizeof(text), "%zu", all) <= digits)
			break;
	}
	um_buf_addf(b, "%zu %s=%s\n", all, key, value);
}

static void put_long(struct um_buf *b, const char *key, int64_t v)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)v);
	put_record(b, key, text);
}

int ctr_tar_head(int fd, const struct ctr_tar_entry *e, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(PAX_MAX);
	int r = 0;

	if (strlen(e->path) > 100)
		put_record(&b, "path", e->path);
	if (strlen(e->link) > 100)
		put_record(&b, "linkpath", e->link);
	if (e->size > OCTAL_MAX)
		put_long(&b, "size", e->size);
	if (e->uid > ID_MAX)
		put_long(&b, "uid", e->uid);
	if (e->gid > ID_MAX)
		put_long(&b, "gid", e->gid);
	if (e->mtime > OCTAL_MAX)
		put_long(&b, "mtime", e->mtime);
	if (b.len) {
		static const struct ctr_tar_entry none = {.mode = 0644};

		r = put_header(fd, &none, "PaxHeaders/entry", (int64_t)b.len, 'x', err);
		if (r == 0)
			r = put(fd, b.data, b.len, err);
		if (r == 0)
			r = ctr_tar_pad(fd, (int64_t)b.len, err);
	}
	return r < 0 ? r : put_header(fd, e, e->path, e->size, e->type, err);
}

int ctr_tar_pad(int fd, int64_t size, struct um_error *err)
{
	static const char zeros[BLOCK];
	size_t n = (size_t)(size % BLOCK ? BLOCK - size % BLOCK : 0);

	return put(fd, zeros, n, err);
}

int ctr_tar_end(int fd, struct um_error *err)
{
	static const char zeros[2 * BLOCK];

	return put(fd, zeros, sizeof(zeros), err);
}
