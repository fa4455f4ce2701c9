#include "base/error.h"

#include <string.h>

enum um_reason um_reason_of_errno(int code)
{
	switch (-code) {
	case ENOENT:
	case ESRCH:
		return UM_REASON_NOT_FOUND;
	case EEXIST:
		return UM_REASON_EXISTS;
	case EACCES:
	case EPERM:
		return UM_REASON_FORBIDDEN;
	case EINVAL:
		return UM_REASON_INVALID;
	case EBADMSG:
		return UM_REASON_BAD_REQUEST;
	case EAGAIN:
	case ESTALE:
		return UM_REASON_CONFLICT;
	case E2BIG:
	case EMSGSIZE:
		return UM_REASON_TOO_LARGE;
	case EOPNOTSUPP:
	case ENOSYS:
		return UM_REASON_UNSUPPORTED;
	case ETIMEDOUT:
		return UM_REASON_TIMEOUT;
	case ENOSPC:
	case EDQUOT:
		return UM_REASON_NO_SPACE;
	case ENOMEM:
		return UM_REASON_NO_MEMORY;
	default:
		return UM_REASON_INTERNAL;
	}
}

/* Ends a text that did not fit with "...", without cutting a UTF-8 sequence in two. */
static void mark_truncated(char *msg, size_t size)
{
	size_t end = size - 4;

	while (end > 0 && ((unsigned char)msg[end] & 0xc0) == 0x80)
		end--;
	memcpy(msg + end, "...", 4);
}

static int set(struct um_error *err, enum um_reason reason, int code, const char *fmt, va_list ap)
{
	int n;

	if (!err)
		return code;
	err->code = code;
	err->reason = reason;
	n = vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	if (n >= (int)sizeof(err->msg))
		mark_truncated(err->msg, sizeof(err->msg));
	return code;
}

int um_error_set(struct um_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set(err, um_reason_of_errno(code), code, fmt, ap);
	va_end(ap);
	return code;
}

int um_error_set_reason(struct um_error *err, enum um_reason reason, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set(err, reason, code, fmt, ap);
	va_end(ap);
	return code;
}

static void append(struct um_error *err, const char *text)
{
	size_t len = strlen(err->msg);

	if ((size_t)snprintf(err->msg + len, sizeof(err->msg) - len, ": %s", text) >=
	    sizeof(err->msg) - len)
		mark_truncated(err->msg, sizeof(err->msg));
}

int um_error_errno(struct um_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set(err, um_reason_of_errno(code), code, fmt, ap);
	va_end(ap);
	if (err)
		append(err, strerror(-code));
	return code;
}

int um_error_wrap(struct um_error *err, int code, const char *fmt, ...)
{
	struct um_error inner;
	va_list ap;

	if (!err)
		return code;
	inner = *err;
	va_start(ap, fmt);
	set(err, inner.code ? inner.reason : um_reason_of_errno(code),
	    inner.code ? inner.code : code, fmt, ap);
	va_end(ap);
	append(err, inner.code ? inner.msg : strerror(-code));
	return code;
}

int um_error_move(struct um_error *dst, const struct um_error *src)
{
	if (!src)
		return 0;
	if (dst && dst != src)
		*dst = *src;
	return src->code;
}

int um_exit_code(const struct um_error *err)
{
	if (!err || !err->code)
		return UM_EXIT_OK;
	return err->reason == UM_REASON_NOT_FOUND ? UM_EXIT_NOT_FOUND : UM_EXIT_FAILURE;
}
