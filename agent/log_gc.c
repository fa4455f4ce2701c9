/* Logs of pods that are gone are kept for a while, then removed. Only folders that this agent made:
 * they hold a mark. */
#include "agent/internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/log.h"
#include "wire/loop.h"

#define LOOK_NS (120 * UM_NSEC_PER_SEC)
#define KEEP_SECONDS 300
#define UID_LEN 36

struct removal {
	char path[4096];
	struct um_error err;
};

static void remove_work(void *arg)
{
	struct removal *r = arg;

	(void)!um_io_remove_tree(AT_FDCWD, r->path, &r->err);
}

static void remove_done(void *arg)
{
	struct removal *r = arg;

	if (r->err.code)
		um_log(UM_LOG_WARN, "remove old logs", UM_LOG_ERR(&r->err));
	free(r);
}

static bool is_old(int dirfd, const char *name, int64_t now_ns)
{
	char mark[300];
	struct stat st;

	snprintf(mark, sizeof(mark), "%.250s/" LOG_MARK, name);
	/* The mark's time is set when the pod ends, see log_gc_note(). */
	return fstatat(dirfd, mark, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       now_ns / UM_NSEC_PER_SEC - st.st_mtime > KEEP_SECONDS;
}

/* A look leaves no trace: an idle node writes nothing, the time of access neither. */
static DIR *open_quietly(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOATIME);
	DIR *d;

	if (fd < 0 && errno == EPERM) /* not our folder */
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		um_close(fd);
	return d;
}

void log_gc_look(void *arg)
{
	struct um_agent *a = arg;
	_cleanup_closedir_ DIR *d = open_quietly(a->opt.log_dir);
	int64_t now = um_clock_wall(um_loop_clock(a->loop));
	struct dirent *e;

	um_timer_start(a->log_gc, LOOK_NS);
	while (d && (e = readdir(d))) {
		size_t len = strlen(e->d_name);
		struct agent_pod *p;
		struct removal *r;

		if (len <= UID_LEN || e->d_name[len - UID_LEN - 1] != '_')
			continue;
		HASH_FIND_STR(a->pods, e->d_name + len - UID_LEN, p);
		if (p || !is_old(dirfd(d), e->d_name, now))
			continue;
		r = calloc(1, sizeof(*r));
		if (!r ||
		    um_io_path(r->path, sizeof(r->path), "%s/%s", a->opt.log_dir, e->d_name) < 0 ||
		    um_work_submit(a->loop, remove_work, remove_done, r) < 0)
			free(r);
	}
}

void log_gc_note(const struct agent_pod *p)
{
	char path[4096];
	int fd;

	if (pod_log_path(p, path, sizeof(path), LOG_MARK) < 0)
		return;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		futimens(fd, NULL);
	um_close(fd);
}
