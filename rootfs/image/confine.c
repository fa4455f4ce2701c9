#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "rootfs/image/import.h"

/* Ownership and modes of what is unpacked; nothing that reaches the machine. */
static const cap_value_t kept[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID,
				   CAP_SETFCAP};

static int drop_capabilities(struct um_error *err)
{
	cap_t want = cap_init(), have = cap_get_proc();
	int r = 0;

	for (size_t i = 0; want && have && i < UM_ARRAY_LEN(kept); i++) {
		cap_flag_value_t on = CAP_CLEAR;

		cap_get_flag(have, kept[i], CAP_PERMITTED, &on);
		if (on != CAP_SET)
			continue;
		cap_set_flag(want, CAP_PERMITTED, 1, &kept[i], CAP_SET);
		cap_set_flag(want, CAP_EFFECTIVE, 1, &kept[i], CAP_SET);
	}
	if (!want || !have || cap_set_proc(want) < 0)
		r = um_error_errno(err, errno ? -errno : -ENOMEM, "drop capabilities");
	cap_free(want);
	cap_free(have);
	return r;
}

/* Programs, other processes, networks, mounts and the kernel's own doors. */
static const int refused[] = {
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	SCMP_SYS(fork),
	SCMP_SYS(vfork),
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(socket),
	SCMP_SYS(connect),
	SCMP_SYS(bind),
	SCMP_SYS(listen),
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(pivot_root),
	SCMP_SYS(chroot),
	SCMP_SYS(fsopen),
	SCMP_SYS(fsmount),
	SCMP_SYS(move_mount),
	SCMP_SYS(open_tree),
	SCMP_SYS(mount_setattr),
	SCMP_SYS(setns),
	SCMP_SYS(unshare),
	SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(reboot),
	SCMP_SYS(swapon),
	SCMP_SYS(swapoff),
	SCMP_SYS(keyctl),
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(personality),
	SCMP_SYS(quotactl),
	SCMP_SYS(settimeofday),
	SCMP_SYS(clock_settime),
	SCMP_SYS(sethostname),
	SCMP_SYS(tkill),
	SCMP_SYS(pidfd_open),
};

static int load_filter(struct um_error *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int r = ctx ? 0 : -ENOMEM;

	for (size_t i = 0; i < UM_ARRAY_LEN(refused) && r == 0; i++)
		if (refused[i] >= 0) /* negative: not on this architecture */
			r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
	if (r == 0) /* itself it may end */
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(kill), 1,
				     SCMP_A0(SCMP_CMP_NE, (scmp_datum_t)getpid()));
	if (r == 0)
		r = seccomp_load(ctx);
	if (ctx)
		seccomp_release(ctx);
	return r < 0 ? um_error_errno(err, r, "load the seccomp filter") : 0;
}

#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_WRITE                                                                                   \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                           \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |                           \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |                               \
	 LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |                             \
	 LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)
#define FS_EXECUTE LANDLOCK_ACCESS_FS_EXECUTE
#define FS_REFER (UINT64_C(1) << 13)	/* ABI 2 */
#define FS_TRUNCATE (UINT64_C(1) << 14) /* ABI 3 */

static int allow_beneath(int rules, int fd, uint64_t access, struct um_error *err)
{
	struct landlock_path_beneath_attr at = {.allowed_access = access, .parent_fd = fd};

	if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &at, 0) < 0)
		return um_error_errno(err, -errno, "landlock rule");
	return 0;
}

/* A kernel without Landlock has only the other two layers: that is said, once. */
static int restrict_files(int store_fd, int input_fd, struct um_error *err)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_ruleset_attr attr = {.handled_access_fs = FS_READ | FS_WRITE | FS_EXECUTE};
	_cleanup_close_ int rules = -1;
	uint64_t extra;
	int r;

	if (abi < 2) { /* the first version forbids every move between folders */
		fprintf(stderr, "umiak-image: this kernel has no Landlock, or its first version: "
				"reading on "
				"without it\n");
		return 0;
	}
	extra = FS_REFER | (abi >= 3 ? FS_TRUNCATE : 0);
	attr.handled_access_fs |= extra;
	rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (rules < 0)
		return um_error_errno(err, -errno, "landlock ruleset");
	r = allow_beneath(rules, store_fd, FS_READ | FS_WRITE | extra, err);
	if (r == 0) {
		struct stat st;

		if (fstat(input_fd, &st) == 0 && S_ISDIR(st.st_mode))
			r = allow_beneath(rules, input_fd, FS_READ, err);
	}
	if (r == 0 && syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		r = um_error_errno(err, -errno, "landlock");
	return r;
}

#ifdef __SANITIZE_ADDRESS__
/* The leak checker traces its own process, which is refused by then. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return 1;
}
#endif

int confine(int store_fd, int input_fd, struct um_error *err)
{
	int r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return um_error_errno(err, -errno, "no_new_privs");
	r = restrict_files(store_fd, input_fd, err);
	if (r == 0)
		r = drop_capabilities(err);
	return r < 0 ? r : load_filter(err);
}
