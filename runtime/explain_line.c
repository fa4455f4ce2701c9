/* Bounded text for steps, without allocation. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime/explain_calls.h"

/* The end of a line that is full says so. */
static void cut(struct um_line *l)
{
	l->len = l->size - 1;
	memcpy(l->text + l->len - 3, "...", 4);
}

void um_line_add(struct um_line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (l->len + 1 >= l->size)
		return;
	va_start(ap, fmt);
	n = vsnprintf(l->text + l->len, l->size - l->len, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	l->len += (size_t)n;
	if (l->len >= l->size)
		cut(l);
}

void um_line_quote(struct um_line *l, const char *s, size_t len, size_t max)
{
	static const char named[] = "\a\b\t\n\v\f\r", names[] = "abtnvfr";

	um_line_add(l, "\"");
	for (size_t i = 0; i < len && i < max; i++) {
		unsigned char c = (unsigned char)s[i];
		const char *known = c ? strchr(named, c) : NULL;

		if (c == '"' || c == '\\')
			um_line_add(l, "\\%c", c);
		else if (known)
			um_line_add(l, "\\%c", names[known - named]);
		else if (c < 0x20 || c >= 0x7f)
			um_line_add(l, "\\%03o", c);
		else
			um_line_add(l, "%c", c);
	}
	um_line_add(l, len > max ? "\"..." : "\"");
}

void um_line_word(struct um_line *l, const char *s)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
				    "_+-./:,=@%";
	size_t len = strlen(s);
	bool odd = false;

	if (len && !s[strspn(s, plain)]) {
		um_line_add(l, "%.300s%s", s, len > 300 ? "..." : "");
		return;
	}
	for (size_t i = 0; i < len; i++)
		odd |= (unsigned char)s[i] < 0x20 || (unsigned char)s[i] >= 0x7f || s[i] == '\'';
	um_line_add(l, odd ? "$'" : "'");
	for (size_t i = 0; i < len && i < 300; i++)
		if (odd && (s[i] == '\'' || s[i] == '\\'))
			um_line_add(l, "\\%c", s[i]);
		else if ((unsigned char)s[i] < 0x20 || (unsigned char)s[i] >= 0x7f)
			um_line_add(l, "\\%03o", (unsigned char)s[i]);
		else
			um_line_add(l, "%c", s[i]);
	um_line_add(l, len > 300 ? "...'" : "'");
}
