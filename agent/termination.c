/* What a container has left to say: the file of its termination message, or the end of its log. */
#include "agent/internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"

/* Of a log that stands for the message, as kubelets have it. */
#define LOG_LINES_MAX 80
#define LOG_BYTES_MAX 2048
/* What of the log is looked at: records have a head of some forty bytes and at most 16 KiB of text,
 * of which the first may be cut. */
#define LOG_TAIL_MAX ((16 << 10) + LOG_BYTES_MAX + (LOG_LINES_MAX + 1) * 64)

static char *read_file_message(const struct agent_job *j)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(TERMINATION_MESSAGE_MAX);
	_cleanup_close_ int fd = -1;
	char path[4096];

	if (pod_run_path(j->pod, path, sizeof(path), "%s.%d/termination", j->ctr->name,
			 j->ctr->attempt) < 0)
		return NULL;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return NULL;
	if (um_io_read_fd(fd, &b) == -EMSGSIZE)
		b.failed = 0; /* its beginning is enough */
	return b.len ? um_buf_steal(&b, NULL) : NULL;
}

/* The text of a record "<time> <stream> <F|P> <text>" of the log; NULL: it is none. */
static const char *text_of(const char *line, const char *end, bool *ret_whole)
{
	const char *s = line;

	for (int blanks = 0; blanks < 2; blanks++) {
		s = memchr(s, ' ', (size_t)(end - s));
		if (!s)
			return NULL;
		s++;
	}
	if (end - s < 2 || s[1] != ' ')
		return NULL;
	*ret_whole = s[0] == 'F';
	return s + 2;
}

/* The last bytes of the log file, from the beginning of a line on. */
static int read_tail(const char *path, struct um_buf *b)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	off_t from;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	from = st.st_size > LOG_TAIL_MAX ? st.st_size - LOG_TAIL_MAX : 0;
	if (lseek(fd, from, SEEK_SET) < 0)
		return -errno;
	if (um_io_read_fd(fd, b) < 0)
		return -EMSGSIZE; /* it grows */
	if (from) {
		const char *nl = memchr(um_buf_str(b), '\n', b->len);

		um_buf_drop(b, nl ? (size_t)(nl - um_buf_str(b)) + 1 : b->len);
	}
	return 0;
}

static char *read_log_message(const struct agent_job *j)
{
	_cleanup_buf_ struct um_buf raw = UM_BUF_INIT(LOG_TAIL_MAX + 1);
	_cleanup_buf_ struct um_buf out = UM_BUF_INIT(LOG_TAIL_MAX + LOG_LINES_MAX);
	const char *s, *end, *nl;
	unsigned lines = 0;
	char path[4096];

	if (pod_log_path(j->pod, path, sizeof(path), "%s/%d.log", j->ctr->name, j->ctr->attempt) <
		    0 ||
	    read_tail(path, &raw) < 0)
		return NULL;
	end = um_buf_str(&raw) + raw.len;
	for (s = um_buf_str(&raw); (nl = memchr(s, '\n', (size_t)(end - s))); s = nl + 1)
		lines++;
	for (s = um_buf_str(&raw); (nl = memchr(s, '\n', (size_t)(end - s))); s = nl + 1) {
		bool whole = false;
		const char *text = text_of(s, nl, &whole);

		if (lines-- > LOG_LINES_MAX || !text)
			continue;
		um_buf_add(&out, text, (size_t)(nl - text));
		if (whole)
			um_buf_addc(&out, '\n');
	}
	if (out.len > LOG_BYTES_MAX)
		um_buf_drop(&out, out.len - LOG_BYTES_MAX);
	return out.len && um_buf_error(&out) == 0 ? um_buf_steal(&out, NULL) : NULL;
}

char *termination_message(const struct agent_job *j)
{
	const char *policy = um_json_get_str(j->ctr->spec, "terminationMessagePolicy", "File");
	char *message = read_file_message(j);

	if (message || strcmp(policy, "FallbackToLogsOnError") || !j->ctr->last.exit_code)
		return message;
	return read_log_message(j);
}
