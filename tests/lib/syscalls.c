/* syscalls [NR...]: calls each system call by number with arguments that do nothing, and tells what
 * came of it: "NR errno" a line. "x32:NR" has the bit of x32 calls, "i386:NR" goes by int 0x80.
 * Linked statically, for bundles. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long i386(long nr)
{
	long r;

	__asm__ volatile("int $0x80"
			 : "=a"(r)
			 : "a"(nr), "b"(-1L), "c"(-1L), "d"(-1L), "S"(-1L), "D"(-1L)
			 : "memory", "r8", "r9", "r10", "r11");
	return r;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *colon = strchr(argv[i], ':');
		long nr = strtol(colon ? colon + 1 : argv[i], NULL, 0);
		int code;

		if (!strncmp(argv[i], "i386:", 5)) {
			long r = i386(nr);

			code = r < 0 ? (int)-r : 0;
		} else {
			errno = 0;
			if (!strncmp(argv[i], "x32:", 4))
				nr |= 0x40000000;
			code = syscall(nr, -1L, -1L, -1L, -1L, -1L, -1L) < 0 ? errno : 0;
		}
		printf("%s %d\n", argv[i], code);
		fflush(stdout);
	}
	return 0;
}
