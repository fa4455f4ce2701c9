/* logs: what a container printed, of CRI lines: "<time> <stream> <F|P> <text>". */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/num.h"
#include "cli/ctr/ctr.h"

#define LINE_BYTES (1u << 20)
#define LOOK_MS 200 /* between looks at whether it runs, where nothing is written */

static struct {
	bool follow, timestamps, details;
	const char *tail, *since, *until;
} o = {.tail = "all"};

struct reader {
	int64_t since, until;
	bool done;	/* past --until */
	bool middle[2]; /* of a line that came in parts, by stream */
};

/* One line without its newline. */
static void print_line(struct reader *rd, const char *line, size_t len)
{
	const char *stream = memchr(line, ' ', len), *end = line + len;
	char stamp[UM_TIME_LEN];
	bool is_err, partial;
	int64_t at;
	FILE *f;

	if (!stream || (size_t)(stream - line) >= sizeof(stamp) || end - stream < 10)
		return;
	memcpy(stamp, line, (size_t)(stream - line));
	stamp[stream - line] = '\0';
	is_err = !strncmp(stream + 1, "stderr ", 7);
	if ((!is_err && strncmp(stream + 1, "stdout ", 7)) || um_time_parse(stamp, &at) < 0)
		return;
	if (rd->until && at > rd->until) {
		rd->done = true;
		return;
	}
	if (at < rd->since)
		return;
	partial = stream[8] == 'P';
	f = is_err ? stderr : stdout;
	if (is_err)
		fflush(stdout); /* both may be one file */
	if (o.timestamps && !rd->middle[is_err])
		fprintf(f, "%s ", stamp);
	fwrite(stream + 10, 1, (size_t)(end - stream) - 10, f);
	if (!partial)
		putc('\n', f);
	rd->middle[is_err] = partial;
}

/* ---- --tail: where the last N lines begin ---- */

struct place {
	int file; /* of the log's files, the oldest is the highest number */
	off_t at;
};

static int open_log(const struct ctr *c, int file)
{
	char path[1300];

	if (file)
		snprintf(path, sizeof(path), "%s/log.%d", c->dir, file);
	else
		snprintf(path, sizeof(path), "%s/log", c->dir);
	return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* A whole line ends there; parts of lines count for nothing. */
static bool is_whole(int fd, off_t begin)
{
	char head[80];
	ssize_t n = pread(fd, head, sizeof(head) - 1, begin);
	const char *p;

	head[n > 0 ? n : 0] = '\0';
	p = strchr(head, ' ');
	p = p ? strchr(p + 1, ' ') : NULL;
	return !p || p[1] != 'P';
}

/* Goes back over @lines ends of lines in one file; what is left of them. */
static int64_t back(int fd, int64_t lines, off_t *at)
{
	char buf[16384];
	struct stat st;
	off_t end = fstat(fd, &st) == 0 ? st.st_size : 0, line_end = end;

	while (end > 0) {
		off_t from = end > (off_t)sizeof(buf) ? end - (off_t)sizeof(buf) : 0;
		ssize_t n = pread(fd, buf, (size_t)(end - from), from);

		if (n <= 0)
			break;
		for (ssize_t i = n - 1; i >= 0; i--) {
			if (buf[i] != '\n' || from + i + 1 == line_end)
				continue;
			if (is_whole(fd, from + i + 1) && --lines == 0) {
				*at = from + i + 1;
				return 0;
			}
			line_end = from + i + 1;
		}
		end = from;
	}
	*at = 0;
	return st.st_size && is_whole(fd, 0) ? lines - 1 : lines;
}

static int files_of(const struct ctr *c)
{
	int n = 0;

	while (n < CTR_LOG_FILES) {
		int fd = open_log(c, n);

		if (fd < 0)
			break;
		close(fd);
		n++;
	}
	return n;
}

static struct place begin_at(const struct ctr *c, int64_t lines)
{
	int n = files_of(c);
	struct place p = {n ? n - 1 : 0, 0};

	if (lines < 0)
		return p;
	for (int f = 0; f < n; f++) {
		_cleanup_close_ int fd = open_log(c, f);
		off_t at = 0;

		if (!lines) {
			struct stat st;

			return (struct place){0, fstat(fd, &st) == 0 ? st.st_size : 0};
		}
		lines = back(fd, lines, &at);
		if (lines <= 0)
			return (struct place){f, at};
	}
	return p;
}

/* ---- reading on ---- */

/* What there is in the file from where it stands. */
static void drain(struct reader *rd, int fd, struct um_buf *b)
{
	char buf[65536];
	ssize_t n;

	while (!rd->done && (n = read(fd, buf, sizeof(buf))) > 0) {
		const char *p, *nl;

		if (um_buf_add(b, buf, (size_t)n) < 0)
			um_buf_clear(b);
		p = um_buf_str(b);
		while (!rd->done && (nl = memchr(p, '\n', b->len - (size_t)(p - um_buf_str(b))))) {
			print_line(rd, p, (size_t)(nl - p));
			p = nl + 1;
		}
		um_buf_drop(b, (size_t)(p - um_buf_str(b)));
	}
	fflush(stdout);
}

static bool runs(const struct ctr *c)
{
	struct ctr_live l;

	ctr_live_open(c, &l);
	ctr_live_close(&l);
	return ctr_live_up(&l);
}

static void follow(const struct ctr *c, struct reader *rd, int fd, struct um_buf *b)
{
	_cleanup_close_ int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char path[1300], events[4096];

	snprintf(path, sizeof(path), "%s/log", c->dir);
	(void)inotify_add_watch(watch, c->dir,
				IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF);
	while (!rd->done && !ferror(stdout)) {
		struct pollfd p = {watch, POLLIN, 0};
		bool up = runs(c);
		struct stat now, old;

		drain(rd, fd, b);
		if (fstat(fd, &old) == 0 && stat(path, &now) == 0 && now.st_ino != old.st_ino) {
			int fresh = open_log(c, 0);

			drain(rd, fd, b);
			if (fresh >= 0) {
				dup3(fresh, fd, O_CLOEXEC);
				close(fresh);
				continue;
			}
		}
		if (!up)
			break;
		if (poll(&p, 1, LOOK_MS) > 0)
			(void)!read(watch, events, sizeof(events));
	}
}

static int run_logs(um_unused int argc, char **argv)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(LINE_BYTES);
	struct um_error err = UM_ERROR_INIT;
	_cleanup_ctr_ struct ctr *c = NULL;
	_cleanup_close_ int fd = -1;
	struct reader rd = {0};
	int64_t lines = -1;
	struct place p;
	int r = ctr_env_open(&err);

	if (o.details)
		return ctr_usage_error(NULL, 1, "--details is not supported");
	if (strcmp(o.tail, "all") && um_num_i64(o.tail, -1, INT64_MAX, &lines) < 0)
		return ctr_usage_error(NULL, 1, "invalid value for \"tail\": %s", o.tail);
	if ((o.since && ctr_parse_time(o.since, &rd.since) < 0) ||
	    (o.until && ctr_parse_time(o.until, &rd.until) < 0))
		return ctr_usage_error(NULL, 1,
				       "invalid value for \"%s\": want a time stamp, seconds "
				       "since 1970 or a duration",
				       o.since && ctr_parse_time(o.since, &rd.since) < 0 ? "since"
											 : "until");
	r = r < 0 ? r : ctr_heal(&err);
	r = r < 0 ? r : ctr_find(argv[0], &c, &err);
	if (r < 0)
		return ctr_fail(&err);
	p = begin_at(c, lines);
	for (; p.file > 0 && !rd.done; p.file--, p.at = 0) {
		_cleanup_close_ int older = open_log(c, p.file);

		if (older >= 0 && lseek(older, p.at, SEEK_SET) >= 0)
			drain(&rd, older, &b);
	}
	fd = open_log(c, 0);
	while (fd < 0 && o.follow && runs(c)) {
		poll(NULL, 0, LOOK_MS / 10);
		fd = open_log(c, 0);
	}
	if (fd < 0 || lseek(fd, p.at, SEEK_SET) < 0)
		return 0; /* it has never run */
	drain(&rd, fd, &b);
	if (o.follow && !rd.done)
		follow(c, &rd, fd, &b);
	return 0;
}

static const struct ctr_opt opts[] = {
	{'f', "follow", CTR_OPT_FLAG, NULL, "go on until it ends", &o.follow},
	{'n', "tail", CTR_OPT_TEXT, "N", "the last N lines [all]", &o.tail},
	{0, "since", CTR_OPT_TEXT, "TIME", "not what is older: 10m, 2026-01-02T03:04:05Z",
	 &o.since},
	{0, "until", CTR_OPT_TEXT, "TIME", "not what is newer", &o.until},
	{'t', "timestamps", CTR_OPT_FLAG, NULL, "with times", &o.timestamps},
	{0, "details", CTR_OPT_FLAG, NULL, "not supported", &o.details},
	{0, NULL, CTR_OPT_FLAG, NULL, NULL, NULL},
};
const struct ctr_verb ctr_verb_logs = {
	"logs",	 "[OPTIONS] CONTAINER", "Print what a container printed", opts, 1, 1, false,
	run_logs};
