/* Where the program begins, before the C library's _start: create, run and exec go on at once as a
 * read-only clone of themselves, as um_runtime_seal_self() would have it, which is called all the
 * same, looks, and finds it done. It comes first because a static program's start costs as much as
 * most commands do (the C library asks the processor for its features and caches, and in a virtual
 * machine each question goes to the hypervisor), and who seals in main() pays that twice.
 *
 * No C library here: nothing of it is set up, nor are this program's own relocations done. Nothing
 * fails: where a call does, main() seals, in another way or with an error. */
#include <fcntl.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif

#if defined(__x86_64__)

__asm__(".text\n"
	".globl um_entry\n"
	".type um_entry, @function\n"
	"um_entry:\n"
	"	xor %ebp, %ebp\n"
	"	mov %rsp, %rbx\n"
	"	mov %rdx, %r12\n"
	"	mov %rsp, %rdi\n"
	"	and $-16, %rsp\n"
	"	call um_entry_seal\n"
	"	mov %rbx, %rsp\n"
	"	mov %r12, %rdx\n"
	"	jmp _start\n"
	".size um_entry, . - um_entry\n");

static long call5(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return ret;
}

#elif defined(__aarch64__)

__asm__(".text\n"
	".globl um_entry\n"
	".type um_entry, %function\n"
	"um_entry:\n"
	"	mov x29, #0\n"
	"	mov x30, #0\n"
	"	mov x19, sp\n"
	"	mov x20, x0\n"
	"	mov x0, sp\n"
	"	bl um_entry_seal\n"
	"	mov sp, x19\n"
	"	mov x0, x20\n"
	"	b _start\n"
	".size um_entry, . - um_entry\n");

static long call5(long nr, long a, long b, long c, long d, long e)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
			 : "memory");
	return x0;
}

#endif

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* --explain, or what getopt_long(3) may take for it: then main() seals, and tells of it. */
static bool may_explain(const char *arg)
{
	return arg[0] == '-' && arg[1] == '-' && arg[2] == 'e' && !(arg[3] == 'n' && arg[4] == 'v');
}

/* Whether this may be a command that seals itself. An argument that is called like one costs a
 * needless clone, no more. */
static bool wanted(char *const *argv)
{
	bool found = false;

	if (!argv[0])
		return false;
	for (char *const *a = argv + 1; *a; a++) {
		if (may_explain(*a))
			return false;
		found |= same(*a, "create") || same(*a, "run") || same(*a, "exec");
	}
	return found;
}

static bool is_clone(void)
{
	char path[2] = {0, 0};

	/* Two bytes suffice: no other file's path has but one. */
	return call5(SYS_readlinkat, AT_FDCWD, (long)"/proc/self/exe", (long)path, sizeof(path),
		     0) == 1;
}

/* @stack: the number of arguments, them, NULL, the environment, NULL. */
__attribute__((used, visibility("hidden"), no_stack_protector)) void
um_entry_seal(const uintptr_t *stack);

void um_entry_seal(const uintptr_t *stack)
{
	char *const *argv = (char *const *)(stack + 1);
	char *const *env = argv + stack[0] + 1;
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID};
	long fd;

	if (!wanted(argv) || is_clone())
		return;
	fd = call5(SYS_open_tree, AT_FDCWD, (long)"/proc/self/exe",
		   OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC, 0, 0);
	if (fd < 0)
		return;
	if (call5(SYS_mount_setattr, fd, (long)"", AT_EMPTY_PATH, (long)&ro, sizeof(ro)) == 0)
		call5(SYS_execveat, fd, (long)"", (long)argv, (long)env, AT_EMPTY_PATH);
	call5(SYS_close, fd, 0, 0, 0, 0);
}
