/* Layers: the input is a tar, compressed or not, unpacked into a folder of its own. Whatever it is,
 * nothing appears beside that folder. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/io.h"
#include "rootfs/image/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned count_entries(int dirfd)
{
	int own = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = own >= 0 ? fdopendir(own) : NULL;
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char top[] = "/tmp/umiak-fuzz-XXXXXX", digest[UM_DIGEST_LEN + 1] = "";
	_cleanup_close_ int fd = memfd_create("layer", MFD_CLOEXEC), dir = -1, root = -1;
	struct unpack_stats st = {0};
	struct um_error err = UM_ERROR_INIT;
	int r;

	if (fd < 0 || um_io_write_all(fd, data, size) < 0 || lseek(fd, 0, SEEK_SET) < 0 ||
	    !mkdtemp(top))
		abort();
	dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || mkdirat(dir, "fs", 0755) < 0)
		abort();
	root = openat(dir, "fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = unpack_layer(fd, root, &st, digest, &err);
	if (r == 0 ? !um_digest_valid(digest) : !err.msg[0])
		abort(); /* success without a digest, or a refusal without a reason */
	if (count_entries(dir) != 3)
		abort();
	if (um_io_remove_tree(AT_FDCWD, top, &err) < 0)
		abort();
	return 0;
}
