/* Image names: [host[:port]/]path[:tag][@sha256:digest], as Docker normalises them. */
#include <string.h>

#include "rootfs/internal.h"

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* Parts of letters and digits, joined by ".", "_", "__" or dashes. */
static bool path_part(const char *s, size_t len)
{
	size_t i = 0;

	if (!len)
		return false;
	while (i < len) {
		size_t word = strspn(s + i, LOWER DIGITS), sep;

		if (!word || i + word > len)
			return word && i + word > len;
		i += word;
		if (i == len)
			return true;
		if (s[i] == '-')
			sep = strspn(s + i, "-");
		else if (s[i] == '.')
			sep = 1;
		else if (s[i] == '_')
			sep = s[i + 1] == '_' ? 2 : 1;
		else
			return false;
		i += sep;
	}
	return false;
}

static bool path_ok(const char *s, size_t len)
{
	const char *end = s + len;

	for (;;) {
		const char *slash = memchr(s, '/', (size_t)(end - s));
		size_t n = (size_t)((slash ? slash : end) - s);
		char part[256];

		if (n >= sizeof(part))
			return false;
		memcpy(part, s, n);
		part[n] = '\0';
		if (!path_part(part, n))
			return false;
		if (!slash)
			return true;
		s = slash + 1;
	}
}

/* Parts of letters, digits and inner dashes, joined by dots. */
static bool host_name_ok(const char *s, size_t len)
{
	char before = '.';

	for (size_t i = 0; i < len; before = s[i++]) {
		if (s[i] == '.' || s[i] == '-') {
			if (before == '.' || (s[i] == '.' && before == '-'))
				return false;
		} else if (!strchr(LOWER UPPER DIGITS, s[i])) {
			return false;
		}
	}
	return before != '.' && before != '-';
}

static bool host_ok(const char *s, size_t len)
{
	const char *colon = memchr(s, ':', len);
	size_t name = colon ? (size_t)(colon - s) : len;

	if (s[0] == '[') { /* an IPv6 address */
		const char *close = memchr(s, ']', len);

		if (!close)
			return false;
		name = (size_t)(close + 1 - s);
		if (name < 3 || strspn(s + 1, DIGITS "abcdefABCDEF:") < name - 2)
			return false;
		colon = name < len ? s + name : NULL;
	} else if (!host_name_ok(s, name)) {
		return false;
	}
	if (!colon)
		return true;
	name = len - (size_t)(colon + 1 - s);
	return *colon == ':' && name && name <= 5 && strspn(colon + 1, DIGITS) >= name;
}

/* The first part is a host when it looks like one. */
static bool looks_like_host(const char *s, size_t len)
{
	return memchr(s, '.', len) || memchr(s, ':', len) ||
	       (len == 9 && !memcmp(s, "localhost", 9)) || s[0] == '[' || strcspn(s, UPPER) < len;
}

static bool tag_ok(const char *s, size_t len)
{
	return len && len <= 128 && s[0] != '.' && s[0] != '-' &&
	       strspn(s, LOWER UPPER DIGITS "_.-") >= len;
}

int um_image_normalise(const char *ref, char buf[UM_IMAGE_NAME_MAX], struct um_error *err)
{
	const char *at = strchr(ref, '@'), *end = at ? at : ref + strlen(ref);
	const char *slash = memchr(ref, '/', (size_t)(end - ref)), *path = ref, *tag = NULL;
	const char *host = "docker.io", *library = "";
	size_t host_len = 9, path_len;
	int n;

	if (strlen(ref) > 255 + 1 + 128 + 1 + UM_DIGEST_LEN)
		return um_error_set(err, -EINVAL, "image name is longer than 255 bytes");
	if (at && !um_digest_valid(at + 1))
		return um_error_set(err, -EINVAL,
				    "image \"%s\": invalid reference format: what "
				    "follows @ is no sha256 digest",
				    ref);
	if (strlen(ref) == 64 && strspn(ref, DIGITS "abcdef") == 64)
		return um_error_set(err, -EINVAL,
				    "image \"%s\": invalid reference format: 64 hexadecimal digits "
				    "are an id, not a name",
				    ref);
	if (slash && looks_like_host(ref, (size_t)(slash - ref))) {
		host = ref;
		host_len = (size_t)(slash - ref);
		path = slash + 1;
	}
	for (const char *p = end; p > path && p[-1] != '/'; p--)
		if (p[-1] == ':')
			tag = p;
	path_len = (size_t)((tag ? tag - 1 : end) - path);
	if ((host_len == 9 && !memcmp(host, "docker.io", 9)) ||
	    (host_len == 15 && !memcmp(host, "index.docker.io", 15))) {
		host = "docker.io";
		host_len = 9;
		if (!memchr(path, '/', path_len))
			library = "library/";
	}
	if (!host_ok(host, host_len) || !path_ok(path, path_len) || path_len > 255 ||
	    (tag && !tag_ok(tag, (size_t)(end - tag))))
		return um_error_set(err, -EINVAL, "image \"%s\": invalid reference format", ref);
	n = snprintf(buf, UM_IMAGE_NAME_MAX, "%.*s/%s%.*s%s%.*s%s", (int)host_len, host, library,
		     (int)path_len, path, tag || !at ? ":" : "", tag ? (int)(end - tag) : 6,
		     tag  ? tag
		     : at ? ""
			  : "latest",
		     at ? at : "");
	if (n >= UM_IMAGE_NAME_MAX)
		return um_error_set(err, -EINVAL, "image name is too long");
	return 0;
}
