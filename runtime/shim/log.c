/* Logs in the CRI format: "<RFC3339Nano> <stream> <F|P> <text>\n", rotated by size.
 *
 * The container never blocks on its log. When the disk is full, whole lines are dropped and
 * counted; the first line that fits again is preceded by a mark that says how many. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "runtime/shim/shim.h"

#define LINE_MAX_BYTES 16384 /* longer lines are cut into P records */

/* What one read brings; shared by all streams. The first byte is the kind of an attached client's
 * packet. */
static char packet[1 + LINE_MAX_BYTES];
static char *const chunk = packet + 1;

int64_t shim_wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t shim_mono_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static char *put_digits(char *p, int64_t v, int width)
{
	for (int i = width - 1; i >= 0; i--, v /= 10)
		p[i] = (char)('0' + v % 10);
	return p + width;
}

/* Days since 1970-01-01 as a date of the Gregorian calendar. */
static void civil(int64_t days, int64_t *year, int *month, int *day)
{
	int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;

	*day = (int)(doy - (153 * mp + 2) / 5 + 1);
	*month = (int)(mp < 10 ? mp + 3 : mp - 9);
	*year = yoe + era * 400 + (*month <= 2);
}

/* "2026-01-02T03:04:05.000000000Z stdout F " into buf; the length. */
static size_t prefix(char *buf, int64_t now_ns, const char *stream, char tag)
{
	int64_t sec = now_ns / 1000000000, days = sec / 86400, rest = sec % 86400, year;
	int month, day;
	char *p = buf;

	civil(days, &year, &month, &day);
	p = put_digits(p, year, 4);
	*p++ = '-';
	p = put_digits(p, month, 2);
	*p++ = '-';
	p = put_digits(p, day, 2);
	*p++ = 'T';
	p = put_digits(p, rest / 3600, 2);
	*p++ = ':';
	p = put_digits(p, rest / 60 % 60, 2);
	*p++ = ':';
	p = put_digits(p, rest % 60, 2);
	*p++ = '.';
	p = put_digits(p, now_ns % 1000000000, 9);
	*p++ = 'Z';
	*p++ = ' ';
	p = stpcpy(p, stream);
	*p++ = ' ';
	*p++ = tag;
	*p++ = ' ';
	return (size_t)(p - buf);
}

void shim_log_open(struct shim_log *log, const char *path)
{
	struct stat st;

	if (path != log->path)
		snprintf(log->path, sizeof(log->path), "%s", path);
	log->fd = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
	log->size = log->fd >= 0 && fstat(log->fd, &st) == 0 ? st.st_size : 0;
}

void shim_log_close(struct shim_log *log)
{
	if (log->fd >= 0)
		close(log->fd);
	log->fd = -1;
}

static void rotate(struct shim_log *log)
{
	char from[600], to[600];

	shim_log_close(log);
	for (int i = shim_opt.log_max_files - 1; i > 0; i--) {
		snprintf(to, sizeof(to), "%s.%d", log->path, i);
		if (i > 1)
			snprintf(from, sizeof(from), "%s.%d", log->path, i - 1);
		else
			snprintf(from, sizeof(from), "%s", log->path);
		(void)!rename(from, to);
	}
	if (shim_opt.log_max_files <= 1)
		(void)unlink(log->path);
	shim_log_open(log, log->path);
}

/* One record, whole or not at all. */
static bool write_record(struct shim_log *log, const char *stream, char tag, const char *text,
			 size_t len)
{
	char head[64];
	size_t n = prefix(head, shim_wall_ns(), stream, tag);
	struct iovec iov[3] = {{head, n}, {(char *)(uintptr_t)text, len}, {(char[]){'\n'}, 1}};
	ssize_t wrote, want = (ssize_t)(n + len + 1);

	if (log->size && log->size + want > shim_opt.log_max_bytes)
		rotate(log);
	if (log->fd < 0)
		shim_log_open(log, log->path);
	if (log->fd < 0)
		return false;
	do
		wrote = writev(log->fd, iov, 3);
	while (wrote < 0 && errno == EINTR);
	if (wrote == want) {
		log->size += wrote;
		return true;
	}
	if (wrote > 0)
		(void)!ftruncate(log->fd, log->size);
	return false;
}

static void record(struct shim_log *log, const char *stream, char tag, const char *text, size_t len)
{
	if (log->dropped) {
		char mark[100];
		int n = snprintf(mark, sizeof(mark), "[umiak: %llu log lines dropped: disk full]",
				 (unsigned long long)log->dropped);

		if (!write_record(log, "stderr", 'F', mark, (size_t)n)) {
			log->dropped += tag == 'F';
			return;
		}
		log->dropped = 0;
	}
	if (!write_record(log, stream, tag, text, len))
		log->dropped++;
}

static void let_go(struct shim_stream *s)
{
	if (s->hold)
		munmap(s->hold, LINE_MAX_BYTES);
	s->hold = NULL;
	s->held = 0;
}

/* Keeps the start of a line until its end comes. Without memory it goes out as a partial record. */
static void hold(struct shim_log *log, struct shim_stream *s, const char *text, size_t len)
{
	if (!s->hold) {
		s->hold = mmap(NULL, LINE_MAX_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (s->hold == MAP_FAILED) {
			s->hold = NULL;
			record(log, s->name, 'P', text, len);
			return;
		}
	}
	memcpy(s->hold + s->held, text, len);
	s->held += len;
	if (s->held == LINE_MAX_BYTES) {
		record(log, s->name, 'P', s->hold, s->held);
		s->held = 0;
	}
}

/* Text up to a newline, or up to the chunk's end. */
static void take(struct shim_log *log, struct shim_stream *s, const char *text, size_t len,
		 bool ended)
{
	while (s->held && s->held + len > LINE_MAX_BYTES) {
		size_t part = LINE_MAX_BYTES - s->held;

		hold(log, s, text, part); /* fills and writes it */
		text += part;
		len -= part;
	}
	if (!ended) {
		if (len)
			hold(log, s, text, len);
		return;
	}
	if (s->held) {
		if (len)
			memcpy(s->hold + s->held, text, len);
		record(log, s->name, 'F', s->hold, s->held + len);
	} else {
		record(log, s->name, 'F', text, len);
	}
	let_go(s);
}

void shim_stream_close(struct shim_log *log, struct shim_stream *s)
{
	if (s->held)
		record(log, s->name, 'P', s->hold, s->held);
	let_go(s);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

bool shim_log_pump(struct shim_log *log, struct shim_stream *s, const char *name)
{
	const char *p = chunk, *end, *nl;
	ssize_t n = read(s->fd, chunk, LINE_MAX_BYTES);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return false;
	if (n <= 0) { /* a terminal whose last user is gone reads EIO */
		shim_stream_close(log, s);
		return false;
	}
	shim_attach_out(name, s->name[3] == 'e', packet, (size_t)n + 1);
	for (end = chunk + n; p < end; p = nl + 1) {
		nl = memchr(p, '\n', (size_t)(end - p));
		if (!nl) {
			take(log, s, p, (size_t)(end - p), false);
			return true;
		}
		take(log, s, p, (size_t)(nl - p), true);
	}
	return true;
}
