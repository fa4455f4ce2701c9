#include "runtime/mountinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/num.h"

int um_mountinfo_number(char **p, uint64_t *ret)
{
	size_t len = strcspn(*p, " ");
	int r = um_num_u64n(*p, len, UINT64_MAX, ret);

	*p += len + ((*p)[len] == ' ');
	return r;
}

/* The next field, ended there. */
static char *next_field(char **line)
{
	char *field = *line;

	*line += strcspn(*line, " ");
	if (**line)
		*(*line)++ = '\0';
	return field;
}

int um_mountinfo_read(struct um_buf *b, struct um_mountinfo *ret, struct um_error *err)
{
	char *line, *rest;
	int r;

	um_buf_clear(b);
	ret->len = 0;
	r = um_io_read_file(AT_FDCWD, "/proc/self/mountinfo", b, err);
	if (r < 0)
		return r;
	for (line = b->data; line && *line; line = rest) {
		struct um_mountinfo_row row = {0};

		rest = strchr(line, '\n');
		if (rest)
			*rest++ = '\0';
		if (um_mountinfo_number(&line, &row.id) < 0 ||
		    um_mountinfo_number(&line, &row.parent) < 0)
			return um_error_set(err, -EINVAL, "/proc/self/mountinfo: not understood");
		(void)next_field(&line); /* device */
		(void)next_field(&line); /* root */
		row.point = next_field(&line);
		while (*line && strcmp(next_field(&line), "-"))
			;
		row.type = next_field(&line);
		if (um_vec_push(ret, row) < 0)
			return -ENOMEM;
	}
	return 0;
}

int um_mountinfo_path(const char *point, char *path, size_t size)
{
	size_t n = 0;

	for (const char *s = point; *s;) {
		unsigned c;

		if (n + 1 >= size)
			return -ENAMETOOLONG;
		if (s[0] == '\\' && strlen(s) >= 4 && sscanf(s + 1, "%3o", &c) == 1) {
			path[n++] = (char)c;
			s += 4;
		} else {
			path[n++] = *s++;
		}
	}
	path[n] = '\0';
	return 0;
}
