#include "base/buf.h"

#include <stdint.h>

void um_buf_init(struct um_buf *b, size_t max_bytes)
{
	*b = (struct um_buf)UM_BUF_INIT(max_bytes);
}

void um_buf_release(struct um_buf *b)
{
	int saved = errno;

	free(b->data);
	um_buf_init(b, b->max);
	errno = saved;
}

void um_buf_clear(struct um_buf *b)
{
	b->len = 0;
	b->failed = 0;
	if (b->data)
		b->data[0] = '\0';
}

static int fail(struct um_buf *b, int code)
{
	if (!b->failed)
		b->failed = code;
	return code;
}

int um_buf_reserve(struct um_buf *b, size_t extra)
{
	size_t need, cap;
	char *data;

	if (extra > b->max || b->len > b->max - extra)
		return fail(b, -EMSGSIZE);
	need = b->len + extra + 1;
	if (need <= b->cap)
		return 0;
	cap = b->cap ? b->cap : 64;
	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	data = realloc(b->data, cap);
	if (!data)
		return fail(b, -ENOMEM);
	if (!b->data)
		data[0] = '\0';
	b->data = data;
	b->cap = cap;
	return 0;
}

int um_buf_add(struct um_buf *b, const void *data, size_t len)
{
	int r = um_buf_reserve(b, len);

	if (r < 0)
		return r;
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
	return 0;
}

int um_buf_addc(struct um_buf *b, char c)
{
	return um_buf_add(b, &c, 1);
}

int um_buf_vaddf(struct um_buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int n, r;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		return fail(b, -EINVAL);
	r = um_buf_reserve(b, (size_t)n);
	if (r < 0)
		return r;
	vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
	b->len += (size_t)n;
	return 0;
}

int um_buf_addf(struct um_buf *b, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = um_buf_vaddf(b, fmt, ap);
	va_end(ap);
	return r;
}

void um_buf_drop(struct um_buf *b, size_t n)
{
	if (n > b->len)
		n = b->len;
	if (!n)
		return;
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
	b->data[b->len] = '\0';
}

char *um_buf_steal(struct um_buf *b, size_t *ret_len)
{
	char *data;

	if (b->failed)
		return NULL;
	data = TAKE_PTR(b->data);
	if (ret_len)
		*ret_len = b->len;
	um_buf_init(b, b->max);
	return data;
}
