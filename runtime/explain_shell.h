/* Which command of a shell does what a system call does. Words in capitals (PROGRAM, TARGET) stand
 * for what the call does not name. */
#ifndef UM_RUNTIME_EXPLAIN_SHELL_H
#define UM_RUNTIME_EXPLAIN_SHELL_H

#include <sys/types.h>

#include "runtime/explain_calls.h"

/* The name is in the table itself: a pointer would have to be relocated at each start. */
struct um_flag {
	unsigned long value;
	char name[40];
};
/* Longer contents of files are not told: a config.json has an environment in it. */
enum { UM_EXPLAIN_WHOLE = 100 };

/* end with "" */
extern const struct um_flag um_explain_prctl[], um_explain_attrs[], um_explain_landlock[];

/* "{0}": argument 0 as a word or number, a descriptor as its path; "{0n}": as a number;
 * "{0/1}": name 1 in directory 0. */
void um_explain_template(struct um_explained *x, const char *text);
/* The path behind @fd; false when it is not known, or may not be asked for. */
bool um_explain_path(const struct um_explained *x, int fd, char *path, size_t size);
const char *um_explain_rlimit(unsigned resource); /* "NOFILE" */

void um_shell_affinity(struct um_explained *x);
void um_shell_bind(struct um_explained *x);
void um_shell_bpf(struct um_explained *x);
void um_shell_capset(struct um_explained *x);
void um_shell_chown(struct um_explained *x);
void um_shell_clone(struct um_explained *x);
void um_shell_close_range(struct um_explained *x);
void um_shell_exec(struct um_explained *x);
void um_shell_fs(struct um_explained *x);
void um_shell_groups(struct um_explained *x);
void um_shell_ioctl(struct um_explained *x);
void um_shell_ioprio(struct um_explained *x);
void um_shell_mknod(struct um_explained *x);
void um_shell_landlock(struct um_explained *x);
void um_shell_move(struct um_explained *x);
void um_shell_personality(struct um_explained *x);
void um_shell_pidfd_signal(struct um_explained *x);
void um_shell_prctl(struct um_explained *x);
void um_shell_prlimit(struct um_explained *x);
void um_shell_setattr(struct um_explained *x);
void um_shell_setns(struct um_explained *x);
void um_shell_tree(struct um_explained *x);
void um_shell_unlink(struct um_explained *x);
void um_shell_write(struct um_explained *x);

#endif
