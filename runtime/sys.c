#include "runtime/sys.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

int um_sys_execvp(const char *name, char *const *argv)
{
	const char *dirs = getenv("PATH");
	int first = ENOENT;

	for (const char *d = dirs ? dirs
				  : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	     ;) {
		size_t len = strcspn(d, ":");
		char path[PATH_MAX];

		if (len && um_io_path(path, sizeof(path), "%.*s/%s", (int)len, d, name) >= 0 &&
		    access(path, X_OK) == 0) {
			um_sys_execve(path, argv, environ);
			if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
				return -1;
			first = errno;
		}
		if (!d[len])
			break;
		d += len + 1;
	}
	errno = first;
	return -1;
}
