/* Runs a fuzz target over the files (or folders of files) named on the command line. */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned ran;

static int replay(const char *path)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(16 << 20);
	struct um_error err = UM_ERROR_INIT;
	uint8_t *exact;

	if (um_io_read_file(AT_FDCWD, path, &b, &err) < 0) {
		fprintf(stderr, "%s\n", err.msg);
		return 1;
	}
	exact = malloc(b.len ? b.len : 1); /* no NUL behind it: an overrun is seen */
	if (!exact)
		return 1;
	if (b.len)
		memcpy(exact, b.data, b.len);
	LLVMFuzzerTestOneInput(exact, b.len);
	free(exact);
	ran++;
	return 0;
}

int main(int argc, char **argv)
{
	int failed = 0;

	for (int i = 1; i < argc; i++) {
		_cleanup_closedir_ DIR *d = opendir(argv[i]);
		struct dirent *e;

		if (!d) {
			failed |= replay(argv[i]);
			continue;
		}
		while ((e = readdir(d))) {
			char path[4096];

			if (e->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "%s/%s", argv[i], e->d_name);
			failed |= replay(path);
		}
	}
	printf("%u inputs\n", ran);
	return failed || !ran;
}
