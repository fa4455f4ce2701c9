/* The program running inside a container must not be the host's writable file: a process there
 * could open /proc/<pid>/exe and write to it later (CVE-2019-5736). So it runs from a detached
 * read-only mount of itself, or from a sealed copy in memory where mounting is not allowed. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "runtime/runtime.h"
#include "runtime/sys.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

extern char **environ;

/* A read-only mount that is attached nowhere and whose root is the file itself: its path is "/",
 * which no file in a tree has. So a program on a read-only file system, which somebody may make
 * writable again, does not look like our clone. Or a memory file with all seals. */
static bool is_sealed(int exe)
{
	char path[8];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path));
	struct statvfs fs;
	int seals = fcntl(exe, F_GET_SEALS);

	if (seals >= 0 && (seals & SEALS) == SEALS)
		return true;
	return n == 1 && path[0] == '/' && fstatvfs(exe, &fs) == 0 && fs.f_flag & ST_RDONLY;
}

static int read_only_clone(void)
{
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID};
	int fd = um_sys_open_tree(AT_FDCWD, "/proc/self/exe", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (um_sys_mount_setattr(fd, "", AT_EMPTY_PATH, &ro, sizeof(ro)) < 0) {
		int r = -errno;

		um_close(fd);
		return r;
	}
	return fd;
}

static int memory_copy(int exe)
{
	_cleanup_close_ int fd = memfd_create("umiak-oci", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stat st;
	off_t done = 0;

	if (fd < 0 || fstat(exe, &st) < 0)
		return -errno;
	while (done < st.st_size) {
		ssize_t n = um_sys_sendfile(fd, exe, &done, (size_t)(st.st_size - done));

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
	}
	if (um_sys_fchmod(fd, 0500) < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int um_runtime_seal_self(char *const argv[], struct um_error *err)
{
	_cleanup_close_ int exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), copy = -1;

	if (exe < 0)
		return um_error_errno(err, -errno, "open /proc/self/exe");
	if (is_sealed(exe))
		return 0;
	um_why("this program goes on as a read-only copy of itself, which nobody in a container "
	       "can write to (CVE-2019-5736)");
	copy = read_only_clone();
	if (copy < 0)
		copy = memory_copy(exe);
	if (copy < 0)
		return um_error_errno(err, copy, "seal this program");
	um_sys_execveat(copy, "", argv, environ, AT_EMPTY_PATH);
	return um_error_errno(err, -errno, "continue sealed");
}
