#include "runtime/user.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/num.h"

#define UID_MAX_ALLOWED (UINT32_MAX - 1)

int um_user_parse(const char *text, uint32_t *uid, uint32_t *gid)
{
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);
	uint64_t u, g = *gid;

	if (um_num_u64n(text, len, UID_MAX_ALLOWED, &u) < 0 ||
	    (colon && um_num_u64(colon + 1, UID_MAX_ALLOWED, &g) < 0))
		return -EINVAL;
	*uid = (uint32_t)u;
	*gid = (uint32_t)g;
	return 0;
}

/* A line without its end. A longer one is empty: its rest must not look like another user's. */
static bool next_line(FILE *f, char *line, size_t size, size_t *budget)
{
	size_t n = 0;
	int c;

	while ((c = getc(f)) != EOF && (*budget)--) {
		if (c == '\n')
			break;
		if (n < size)
			line[n++] = (char)c;
		if (!*budget)
			return false;
	}
	if (c == EOF && !n)
		return false;
	line[n < size ? n : 0] = '\0';
	return true;
}

void um_user_home(FILE *passwd, uint32_t wanted, char *buf, size_t size)
{
	size_t budget = 1u << 20;
	char line[1024];

	strcpy(buf, "/");
	while (next_line(passwd, line, sizeof(line), &budget)) {
		char *field[7], *s = line;
		uint64_t uid;
		size_t n = 0;

		while (n < 7 && s)
			field[n++] = strsep(&s, ":");
		if (n < 6 || um_num_u64(field[2], UINT32_MAX, &uid) < 0 || uid != wanted)
			continue;
		if (field[5][0] == '/' && strlen(field[5]) < size)
			strcpy(buf, field[5]);
		return;
	}
}
