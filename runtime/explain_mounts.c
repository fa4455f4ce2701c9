/* Commands for mounts. What mount(8) does in one command are several calls, so this remembers what
 * each descriptor of a mount or of a new file system is. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "runtime/explain_shell.h"
#include "runtime/sys.h"

enum { MAX_TREES = 32 };

/* A new file system or a copy of a mount, until something else has its number. */
struct tree {
	int fd;
	bool used, copy, recursive;
	char type[24], source[200], options[200];
};

static struct tree trees[MAX_TREES];

static struct tree *find(int fd)
{
	for (size_t i = 0; i < MAX_TREES; i++)
		if (trees[i].used && trees[i].fd == fd)
			return &trees[i];
	return NULL;
}

static struct tree *add(int fd)
{
	static size_t next;
	struct tree *t = find(fd);

	if (!t)
		t = &trees[next++ % MAX_TREES];
	*t = (struct tree){.fd = fd, .used = true};
	return t;
}

static void append(char *to, size_t size, const char *key, const char *value)
{
	size_t n = strlen(to);

	snprintf(to + n, size - n, "%s%s%s%s", n ? "," : "", key, value ? "=" : "",
		 value ? value : "");
}

static void configured(const long *args)
{
	struct tree *t = find((int)args[0]);
	const char *key = (const char *)args[2];

	if (!t || args[1] == FSCONFIG_CMD_CREATE)
		return;
	if (args[1] == FSCONFIG_SET_STRING && !strcmp(key, "source"))
		snprintf(t->source, sizeof(t->source), "%s", (const char *)args[3]);
	else
		append(t->options, sizeof(t->options), key,
		       args[1] == FSCONFIG_SET_STRING ? (const char *)args[3] : NULL);
}

/* A copy of what stands at a path, or of a mount that has no place yet. */
static void copied(const struct um_explained *x, int fd)
{
	const char *path = (const char *)x->args[1];
	struct tree t = {.fd = fd, .used = true, .copy = true}, *from = NULL;
	char there[PATH_MAX];

	if (*path) {
		snprintf(t.source, sizeof(t.source), "%s", path);
	} else if (um_explain_path(x, (int)x->args[0], there, sizeof(there)) && there[0] == '/' &&
		   there[1]) {
		snprintf(t.source, sizeof(t.source), "%.199s", there);
	} else if ((from = find((int)x->args[0]))) {
		t = *from;
		t.fd = fd;
	} else {
		snprintf(t.source, sizeof(t.source), "/dev/fd/%d", (int)x->args[0]);
	}
	t.recursive = x->args[2] & AT_RECURSIVE;
	*add(fd) = t;
}

void um_explain_made(const struct um_explained *x, long result)
{
	struct tree *from, copy;

	if (result < 0)
		return;
	if (!strcmp(x->name, "fsopen")) {
		snprintf(add((int)result)->type, sizeof(copy.type), "%s", (const char *)x->args[0]);
	} else if (!strcmp(x->name, "fsconfig")) {
		configured(x->args);
	} else if (!strcmp(x->name, "fsmount") && (from = find((int)x->args[0]))) {
		copy = *from;
		copy.fd = (int)result;
		*add((int)result) = copy;
	} else if (!strcmp(x->name, "open_tree")) {
		copied(x, (int)result);
	}
}

static void options(struct um_line *l, const char *first)
{
	if (!*first)
		return;
	um_line_add(l, " -o ");
	um_line_word(l, first);
}

static void new_mount(struct um_line *l, const struct tree *t)
{
	um_line_add(l, "mount -t ");
	um_line_word(l, t->type);
	options(l, t->options);
	um_line_add(l, " ");
	um_line_word(l, *t->source ? t->source : "none");
}

void um_shell_fs(struct um_explained *x)
{
	const struct tree *t = find((int)x->args[0]);

	if (!strcmp(x->name, "fsopen")) {
		um_line_add(&x->command, "mount -t ");
		um_line_word(&x->command, (const char *)x->args[0]);
		um_line_add(&x->command, " SOURCE TARGET  # its beginning");
	} else if (!strcmp(x->name, "fsconfig") && x->args[1] != FSCONFIG_CMD_CREATE && t) {
		const char *key = (const char *)x->args[2];
		char one[300] = "";

		append(one, sizeof(one), key,
		       x->args[1] == FSCONFIG_SET_STRING ? (const char *)x->args[3] : NULL);
		um_line_add(&x->command, "mount -t %s", t->type);
		if (strcmp(key, "source")) {
			options(&x->command, one);
			um_line_add(&x->command, " SOURCE TARGET  # this option");
		} else {
			um_line_add(&x->command, " ");
			um_line_word(&x->command, (const char *)x->args[3]);
			um_line_add(&x->command, " TARGET  # its source");
		}
	} else if (t) {
		new_mount(&x->command, t);
		um_line_add(&x->command, !strcmp(x->name, "fsconfig")
						 ? " TARGET  # the file system is made"
						 : " TARGET  # no place yet");
	} else {
		um_line_add(&x->command, "mount SOURCE TARGET  # a part of it");
	}
}

static void place(struct um_explained *x, long fd, const char *path)
{
	char buf[PATH_MAX];

	if (*path)
		um_line_word(&x->command, path);
	else if (um_explain_path(x, (int)fd, buf, sizeof(buf)) && buf[0] == '/' && buf[1])
		um_line_word(&x->command, buf);
	else
		um_line_add(&x->command, "TARGET");
}

void um_shell_tree(struct um_explained *x)
{
	um_line_add(&x->command, x->args[2] & AT_RECURSIVE ? "mount --rbind " : "mount --bind ");
	place(x, x->args[0], (const char *)x->args[1]);
	um_line_add(&x->command, " TARGET  # no place yet");
}

void um_shell_move(struct um_explained *x)
{
	const struct tree *t = find((int)x->args[0]);

	if (t && !t->copy) {
		new_mount(&x->command, t);
	} else if (t) {
		um_line_add(&x->command, t->recursive ? "mount --rbind " : "mount --bind ");
		um_line_word(&x->command, t->source);
	} else {
		um_line_add(&x->command, "mount --move /dev/fd/%d", (int)x->args[0]);
	}
	um_line_add(&x->command, " ");
	place(x, x->args[2], (const char *)x->args[3]);
}

static void attribute_names(struct um_line *l, const struct mount_attr *a)
{
	static const struct {
		uint64_t attr;
		const char *set, *clear;
	} names[] = {{MOUNT_ATTR_RDONLY, "ro", "rw"},
		     {MOUNT_ATTR_NOSUID, "nosuid", "suid"},
		     {MOUNT_ATTR_NODEV, "nodev", "dev"},
		     {MOUNT_ATTR_NOEXEC, "noexec", "exec"},
		     {MOUNT_ATTR_NODIRATIME, "nodiratime", "diratime"},
		     {MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow", "symfollow"},
		     {MOUNT_ATTR_NOATIME, "noatime", NULL},
		     {MOUNT_ATTR_STRICTATIME, "strictatime", NULL}};

	um_line_add(l, "remount,bind");
	for (size_t i = 0; i < UM_ARRAY_LEN(names); i++) {
		if (a->attr_set & names[i].attr)
			um_line_add(l, ",%s", names[i].set);
		else if (names[i].clear && a->attr_clr & names[i].attr)
			um_line_add(l, ",%s", names[i].clear);
	}
	if ((a->attr_clr & MOUNT_ATTR__ATIME) == MOUNT_ATTR__ATIME &&
	    !(a->attr_set & MOUNT_ATTR__ATIME))
		um_line_add(l, ",relatime");
}

void um_shell_setattr(struct um_explained *x)
{
	static const struct um_flag propagation[] = {{MS_SHARED, "shared"},
						     {MS_SLAVE, "slave"},
						     {MS_PRIVATE, "private"},
						     {MS_UNBINDABLE, "unbindable"}};
	const struct mount_attr *a = (const struct mount_attr *)x->args[3];
	bool deep = x->args[2] & AT_RECURSIVE;

	um_line_add(&x->command, "mount");
	for (size_t i = 0; i < UM_ARRAY_LEN(propagation); i++)
		if (a->propagation & propagation[i].value)
			um_line_add(&x->command, " --make-%s%s", deep ? "r" : "",
				    propagation[i].name);
	if (a->attr_set & MOUNT_ATTR_IDMAP) {
		um_line_add(&x->command, " -o X-mount.idmap=/dev/fd/%d", (int)a->userns_fd);
	} else if (a->attr_set || a->attr_clr) {
		um_line_add(&x->command, " -o ");
		attribute_names(&x->command, a);
	}
	um_line_add(&x->command, " ");
	place(x, x->args[0], (const char *)x->args[1]);
}
