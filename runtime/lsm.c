#include "runtime/lsm.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/io.h"
#include "base/watch.h"

static bool apparmor_enabled(void)
{
	char c = 'N';
	_cleanup_close_ int fd =
		open("/sys/module/apparmor/parameters/enabled", O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read(fd, &c, 1) == 1 && c == 'Y';
}

static bool selinux_enabled(void)
{
	struct statfs fs;

	return statfs("/sys/fs/selinux", &fs) == 0 && (uint32_t)fs.f_type == SELINUX_MAGIC;
}

int um_lsm_check(const struct um_spec_process *p, const char *mount_label, struct um_error *err)
{
	const struct {
		const char *value, *field, *module;
		bool (*enabled)(void);
	} labels[] = {
		{p->apparmor_profile, "process.apparmorProfile", "AppArmor", apparmor_enabled},
		{p->selinux_label, "process.selinuxLabel", "SELinux", selinux_enabled},
		{mount_label, "linux.mountLabel", "SELinux", selinux_enabled},
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(labels); i++)
		if (labels[i].value && !labels[i].enabled())
			return um_error_set_reason(err, UM_REASON_UNSUPPORTED, -EOPNOTSUPP,
						   "%s: %s is not enabled on this host",
						   labels[i].field, labels[i].module);
	return 0;
}

/* Never through a link or another mount: what would be written is a label, and somewhere else. */
static int write_attr(int proc_fd, const char *file, const char *value)
{
	_cleanup_close_ int own =
		proc_fd < 0 ? open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	_cleanup_close_ int fd = -1;
	struct statfs fs;
	char path[64];

	snprintf(path, sizeof(path), "self/task/%ld/attr/%s", (long)syscall(SYS_gettid), file);
	if (proc_fd < 0)
		proc_fd = own;
	if (proc_fd < 0 || fstatfs(proc_fd, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC)
		return -EXDEV;
	fd = um_io_openat2(proc_fd, path, O_WRONLY | O_CLOEXEC, 0,
			   RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);
	return fd < 0 ? fd : um_io_write_all(fd, value, strlen(value));
}

static int set_apparmor(const char *profile, int proc_fd, struct um_error *err)
{
	char text[600];
	int r = um_io_path(text, sizeof(text), "exec %s", profile);

	if (r >= 0)
		r = write_attr(proc_fd, "apparmor/exec", text);
	if (r == -ENOENT) /* before Linux 5.8 */
		r = write_attr(proc_fd, "exec", text);
	return r < 0 ? um_error_errno(err, r, "process.apparmorProfile %s", profile) : 0;
}

int um_lsm_set(const struct um_spec_process *p, int proc_fd, struct um_error *err)
{
	int r;

	um_why("the label that the program gets at execve");
	r = p->apparmor_profile ? set_apparmor(p->apparmor_profile, proc_fd, err) : 0;

	if (r < 0 || !p->selinux_label)
		return r;
	r = write_attr(proc_fd, "exec", p->selinux_label);
	return r < 0 ? um_error_errno(err, r, "process.selinuxLabel %s", p->selinux_label) : 0;
}
