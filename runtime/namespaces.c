/* linux.namespaces by path, and linux.timeOffsets. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/io.h"
#include "runtime/create.h"
#include "runtime/init.h"
#include "runtime/sys.h"

/* The root of a joined mount namespace is exchanged for the container's: for all who live there. */
static int check_mount_ns(int fd, const char *path, struct um_error *err)
{
	static const char *const not_these[] = {"/proc/self/ns/mnt", "/proc/1/ns/mnt"};
	struct stat ns, st;

	if (fstat(fd, &ns) < 0)
		return um_error_errno(err, -errno, "linux.namespaces: mount %s", path);
	for (size_t i = 0; i < UM_ARRAY_LEN(not_these); i++)
		if (stat(not_these[i], &st) == 0 && st.st_dev == ns.st_dev &&
		    st.st_ino == ns.st_ino)
			return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
						   "linux.namespaces: mount %s: is the host's",
						   path);
	return 0;
}

int um_creation_open_namespaces(struct um_init *in, struct um_error *err)
{
	for (int i = 0; i < UM_NS_N; i++) {
		const struct um_spec_ns *ns = &in->spec->ns[i];

		if (!ns->present || !ns->path)
			continue;
		in->ns_fds[i] = open(ns->path, O_RDONLY | O_CLOEXEC);
		if (in->ns_fds[i] < 0)
			return um_error_errno(err, -errno, "linux.namespaces: %s %s",
					      um_spec_ns_name(i), ns->path);
	}
	return in->ns_fds[UM_NS_MOUNT] < 0 ? 0
					   : check_mount_ns(in->ns_fds[UM_NS_MOUNT],
							    in->spec->ns[UM_NS_MOUNT].path, err);
}

int um_creation_time_offsets(const struct um_spec *s, struct um_error *err)
{
	char text[160];
	int r;

	if (!s->has_time_offsets)
		return 0;
	um_why("linux.timeOffsets: a time namespace whose clocks may be set while nobody is in it");
	if (um_sys_unshare(CLONE_NEWTIME) < 0)
		return um_error_errno(err, -errno, "linux.namespaces: new time");
	snprintf(text, sizeof(text), "monotonic %lld %lld\nboottime %lld %lld\n",
		 (long long)s->time_monotonic_sec, (long long)s->time_monotonic_nsec,
		 (long long)s->time_boottime_sec, (long long)s->time_boottime_nsec);
	r = um_io_write_value(AT_FDCWD, "/proc/self/timens_offsets", text);
	return r < 0 ? um_error_errno(err, r, "linux.timeOffsets") : 0;
}
