/* Annotations org.systemd.property.NAME: properties of the scope, as runc and crun take them. */
#include <inttypes.h>
#include <string.h>

#include "base/num.h"
#include "runtime/systemd.h"

#define PREFIX "org.systemd.property."
#define USEC_PER_SEC 1000000

static int bad(const struct um_spec_pair *p, const char *why, struct um_error *err)
{
	return um_error_set(err, -EINVAL, "annotations.%s: \"%.80s\" %s", p->key, p->value, why);
}

/* "'text'" or "\"text\"" at the beginning of @s: the length with both quotes, 0 where it is none.
 */
static size_t quoted(const char *s)
{
	const char *end = *s == '\'' || *s == '"' ? strchr(s + 1, *s) : NULL;
	size_t len = end ? (size_t)(end - s) + 1 : 0;

	for (size_t i = 0; i < len; i++)
		if (s[i] == '\\' || (unsigned char)s[i] < ' ')
			return 0;
	return len;
}

/* "['a', 'b']": words without blanks, as the protocol parts them by blanks. */
static int strings(const struct um_spec_pair *p, const char *name, struct um_buf *b,
		   struct um_error *err)
{
	const char *s = p->value + 1;

	um_buf_addf(b, "as %s", name);
	for (s += strspn(s, " "); *s != ']'; s += strspn(s, " ")) {
		size_t len = quoted(s);

		if (len < 3 || memchr(s, ' ', len))
			return bad(p, "is not a list of quoted words", err);
		um_buf_addf(b, " %.*s", (int)len - 2, s + 1);
		s += len;
		s += strspn(s, " ");
		if (*s == ',')
			s++;
		else if (*s != ']')
			return bad(p, "is not a list of quoted words", err);
	}
	if (s[1])
		return bad(p, "goes on behind its list", err);
	return um_buf_addc(b, '\n');
}

/* The text form of GVariant for numbers: a type in words, "int32" where there is none. */
static int number(const struct um_spec_pair *p, const char *name, struct um_buf *b,
		  struct um_error *err)
{
	static const struct {
		const char *word, *type;
		int64_t min;
		uint64_t max;
	} kinds[] = {{"uint64 ", "t", 0, UINT64_MAX},
		     {"int64 ", "x", INT64_MIN, INT64_MAX},
		     {"uint32 ", "u", 0, UINT32_MAX},
		     {"int32 ", "i", INT32_MIN, INT32_MAX},
		     {"", "i", INT32_MIN, INT32_MAX}};
	const char *digits = p->value;
	size_t i = 0;
	uint64_t u;
	int64_t v;

	while (strncmp(p->value, kinds[i].word, strlen(kinds[i].word)) != 0)
		i++;
	digits += strlen(kinds[i].word);
	if (kinds[i].min < 0 ? um_num_i64(digits, kinds[i].min, (int64_t)kinds[i].max, &v) < 0
			     : um_num_u64(digits, kinds[i].max, &u) < 0)
		return bad(p, "is neither true, false, a number, a quoted text nor a list of those",
			   err);
	return um_buf_addf(b, "%s %s %s\n", kinds[i].type, name, digits);
}

/* NAMESec is for people; the bus has NAMEUSec, in microseconds. */
static int seconds(const struct um_spec_pair *p, const char *name, struct um_buf *b,
		   struct um_error *err)
{
	const char *digits = !strncmp(p->value, "uint64 ", 7) ? p->value + 7 : p->value;
	uint64_t v;

	if (um_num_u64(digits, UINT64_MAX / USEC_PER_SEC, &v) < 0)
		return bad(p, "is not a number of seconds", err);
	return um_buf_addf(b, "t %.*sUSec %" PRIu64 "\n", (int)strlen(name) - 3, name,
			   v * USEC_PER_SEC);
}

static int one(const struct um_spec_pair *p, struct um_buf *b, struct um_error *err)
{
	const char *name = p->key + strlen(PREFIX), *v = p->value;
	size_t len = strlen(name), text = quoted(v);

	if (len < 2 ||
	    strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") != len)
		return um_error_set(err, -EINVAL, "annotations.%s: not a property's name", p->key);
	if (!strcmp(v, "true") || !strcmp(v, "false"))
		return um_buf_addf(b, "b %s %d\n", name, v[0] == 't');
	if (text && !v[text])
		return um_buf_addf(b, "s %s %.*s\n", name, (int)text - 2, v + 1);
	if (v[0] == '[')
		return strings(p, name, b, err);
	if (len > 3 && !strcmp(name + len - 3, "Sec") && (len < 4 || name[len - 4] != 'U'))
		return seconds(p, name, b, err);
	return number(p, name, b, err);
}

int um_systemd_annotations(const struct um_spec_pair *pairs, size_t n, struct um_buf *b,
			   struct um_error *err)
{
	for (size_t i = 0; i < n; i++) {
		int r = strncmp(pairs[i].key, PREFIX, strlen(PREFIX)) ? 0 : one(&pairs[i], b, err);

		if (r < 0)
			return r;
	}
	return um_buf_error(b);
}
