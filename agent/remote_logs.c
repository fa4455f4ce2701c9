/* The control channel to the server (api/streams.h) and the logs that it asks for: each is a POST
 * of its own whose body is the log. */
#include "agent/refresh.h"
#include "agent/remote_internal.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "api/streams.h"
#include "base/io.h"
#include "base/log.h"
#include "wire/conn.h"
#include "wire/loop.h"

#define RETRY_NS (1 * UM_NSEC_PER_SEC)
#define PING_NS (30 * UM_NSEC_PER_SEC)
#define FOLLOW_NS (100 * UM_NSEC_PER_MSEC)
#define CHUNK_BYTES 65536
#define PENDING_MAX_BYTES (256 << 10)

struct remote_stream {
	LIST_ENTRY(remote_stream) all;
	struct um_remote *r;
	struct um_http_call *call;
	struct um_timer *timer;
	char id[64], uid[64], container[64];
	int attempt, fd;
	bool follow, timestamps, ended;
	int64_t since_ns, limit; /* limit: bytes that may still be sent, -1: any */
	struct um_buf part;	 /* the start of a line that has not ended */
};

/* ---- control messages ---- */

static int send_control(struct um_remote *r, const struct um_json *msg)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_STREAM_MESSAGE_MAX);
	uint32_t len;

	if (!r->control || !msg || um_json_write(&b, msg) < 0)
		return -EPIPE;
	len = htonl((uint32_t)b.len);
	if (um_conn_write(r->control, &len, sizeof(len)) < 0)
		return -EPIPE;
	return um_conn_write(r->control, b.data, b.len);
}

static void send_simple(struct um_remote *r, const char *type)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(4096);
	struct um_json *msg = a ? um_json_new_obj(a) : NULL;

	um_json_set_str(a, msg, "type", type);
	(void)!send_control(r, msg);
}

static void refuse(struct um_remote *r, const char *id, int code, const char *message)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(8192);
	struct um_json *msg = a ? um_json_new_obj(a) : NULL;

	um_json_set_str(a, msg, "type", "refuse");
	um_json_set_str(a, msg, "stream", id);
	um_json_set_i64(a, msg, "code", code);
	um_json_set_str(a, msg, "message", message);
	(void)!send_control(r, msg);
}

/* ---- a log ---- */

static void free_stream(struct remote_stream *s)
{
	LIST_REMOVE(s, all);
	um_http_call_cancel(s->call);
	um_timer_free(s->timer);
	um_close(s->fd);
	um_buf_release(&s->part);
	free(s);
}

/* Sends text within the limit; false when the stream is over. */
static bool send_text(struct remote_stream *s, const char *text, size_t len)
{
	if (s->limit >= 0 && (int64_t)len > s->limit)
		len = (size_t)s->limit;
	if (s->limit >= 0)
		s->limit -= (int64_t)len;
	return (!len || um_http_call_write(s->call, text, len) == 0) && s->limit != 0;
}

/* One CRI line: "<time> <stream> <F|P> <text>". */
static bool send_line(struct remote_stream *s, const char *line, size_t len)
{
	const char *sp1 = memchr(line, ' ', len), *sp2, *text, *end = line + len;
	char when[UM_TIME_LEN];
	int64_t ns;

	sp2 = sp1 ? memchr(sp1 + 1, ' ', (size_t)(end - sp1 - 1)) : NULL;
	if (!sp2 || end - sp2 < 3 || sp2[2] != ' ' || (size_t)(sp1 - line) >= sizeof(when))
		return true; /* a line cut by a crash */
	text = sp2 + 3;
	memcpy(when, line, (size_t)(sp1 - line));
	when[sp1 - line] = '\0';
	if (s->since_ns && (um_time_parse(when, &ns) < 0 || ns < s->since_ns))
		return true;
	if (s->timestamps && (!send_text(s, line, (size_t)(sp1 - line)) || !send_text(s, " ", 1)))
		return false;
	if (!send_text(s, text, (size_t)(end - text)))
		return false;
	return sp2[1] == 'P' || send_text(s, "\n", 1);
}

static bool take_chunk(struct remote_stream *s, const char *p, size_t len)
{
	const char *end = p + len;

	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		bool more;

		if (!nl)
			return um_buf_add(&s->part, p, (size_t)(end - p)) == 0;
		if (s->part.len) {
			um_buf_add(&s->part, p, (size_t)(nl - p));
			more = send_line(s, um_buf_str(&s->part), s->part.len);
			um_buf_clear(&s->part);
		} else {
			more = send_line(s, p, (size_t)(nl - p));
		}
		if (!more)
			return false;
		p = nl + 1;
	}
	return true;
}

static bool still_written(const struct remote_stream *s)
{
	struct agent_pod *p;
	const struct agent_ctr *c;

	HASH_FIND_STR(s->r->agent->pods, s->uid, p);
	c = p ? pod_find_ctr(p, s->container) : NULL;
	return c && c->attempt == s->attempt && c->state == CTR_RUNNING;
}

/* The file was rotated: what is left of the old one has been read. */
static void follow_rotation(struct remote_stream *s)
{
	struct agent_pod *p;
	struct stat old, now;
	char path[4096];
	int fd;

	HASH_FIND_STR(s->r->agent->pods, s->uid, p);
	if (!p || pod_log_path(p, path, sizeof(path), "%s/%d.log", s->container, s->attempt) < 0 ||
	    fstat(s->fd, &old) < 0 || stat(path, &now) < 0 || old.st_ino == now.st_ino)
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0) {
		um_close(s->fd);
		s->fd = fd;
	}
}

static void finish(struct remote_stream *s)
{
	s->ended = true;
	um_timer_stop(s->timer);
	um_http_call_end_body(s->call);
}

static void pump(void *arg)
{
	static char chunk[CHUNK_BYTES];
	struct remote_stream *s = arg;

	while (!s->ended && um_http_call_pending(s->call) < PENDING_MAX_BYTES) {
		bool writing = still_written(s);
		ssize_t n = read(s->fd, chunk, sizeof(chunk));

		if (n < 0 && errno == EINTR)
			continue;
		if (n > 0) {
			if (!take_chunk(s, chunk, (size_t)n))
				finish(s);
			continue;
		}
		if (n < 0 || !s->follow || !writing) {
			finish(s);
			return;
		}
		follow_rotation(s);
		um_timer_start(s->timer, FOLLOW_NS);
		return;
	}
}

static void on_drain(void *arg)
{
	struct remote_stream *s = arg;

	if (!s->ended && !um_timer_running(s->timer))
		um_timer_start(s->timer, 0);
}

static void on_stream_done(void *arg, um_unused const struct um_http_result *res)
{
	struct remote_stream *s = arg;

	s->call = NULL;
	free_stream(s);
}

/* Where the last @lines lines of the file begin. */
static off_t tail_offset(int fd, int64_t lines)
{
	off_t at = lseek(fd, 0, SEEK_END), end = at;
	static char block[CHUNK_BYTES];
	int64_t seen = 0;

	while (at > 0) {
		size_t len = at > (off_t)sizeof(block) ? sizeof(block) : (size_t)at;

		at -= (off_t)len;
		if (pread(fd, block, len, at) != (ssize_t)len)
			return 0;
		for (size_t i = len; i-- > 0;) {
			if (block[i] != '\n' || at + (off_t)i + 1 == end)
				continue;
			if (++seen == lines)
				return at + (off_t)i + 1;
		}
	}
	return 0;
}

static int open_log(struct remote_stream *s, const struct um_json *msg, struct um_error *err)
{
	bool previous = um_json_get_bool(msg, "previous", false);
	const struct um_json *tail = um_json_get(msg, "tailLines");
	const struct agent_ctr *c;
	struct agent_pod *p;
	char path[4096];

	HASH_FIND_STR(s->r->agent->pods, s->uid, p);
	c = p ? pod_find_ctr(p, s->container) : NULL;
	if (!c)
		return um_error_set(err, -ENOENT, "container \"%s\" is not on this node",
				    s->container);
	s->attempt = c->attempt - (previous ? 1 : 0);
	/* Between two runs the last one's log is what there is to see. */
	if (!previous && s->attempt > 0 && c->state != CTR_RUNNING && !c->last.known)
		s->attempt--;
	if (s->attempt < 0)
		return um_error_set(err, -ENOENT,
				    "previous terminated container \"%s\" in pod \"%s\" not found",
				    s->container, p->name);
	if (pod_log_path(p, path, sizeof(path), "%s/%d.log", s->container, s->attempt) == 0)
		s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (s->fd < 0)
		return um_error_set(
			err, -EINVAL, "container \"%s\" in pod \"%s\" is waiting to start: %s",
			s->container, p->name, *c->reason ? c->reason : "ContainerCreating");
	if (tail)
		lseek(s->fd,
		      um_json_i64(tail, 0) > 0 ? tail_offset(s->fd, um_json_i64(tail, 0))
					       : lseek(s->fd, 0, SEEK_END),
		      SEEK_SET);
	return 0;
}

static void read_options(struct remote_stream *s, const struct um_json *msg)
{
	const struct um_json *since = um_json_get(msg, "sinceSeconds");
	int64_t now = um_clock_wall(um_loop_clock(s->r->loop));

	s->follow = um_json_get_bool(msg, "follow", false);
	s->timestamps = um_json_get_bool(msg, "timestamps", false);
	s->limit = um_json_get_i64(msg, "limitBytes", -1);
	if (since && um_json_i64(since, 0) < now / UM_NSEC_PER_SEC)
		s->since_ns = now - um_json_i64(since, 0) * UM_NSEC_PER_SEC;
	(void)!um_time_parse(um_json_get_str(msg, "sinceTime", ""), &s->since_ns);
}

static void open_stream(struct um_remote *r, const struct um_json *msg)
{
	struct remote_stream *s = calloc(1, sizeof(*s));
	struct um_http_call_opts o = {
		.method = "POST",
		.content_type = "application/octet-stream",
		.stream_body = true,
		.close = true,
		.head_timeout_ns = INT64_C(365) * 86400 * UM_NSEC_PER_SEC,
		.on_drain = on_drain,
		.on_done = on_stream_done,
		.arg = s,
	};
	struct um_error err = UM_ERROR_INIT;
	char target[128];

	if (!s)
		return;
	s->r = r;
	s->fd = -1;
	um_buf_init(&s->part, 64 << 10);
	snprintf(s->id, sizeof(s->id), "%s", um_json_get_str(msg, "stream", ""));
	snprintf(s->uid, sizeof(s->uid), "%s", um_json_get_str(msg, "uid", ""));
	snprintf(s->container, sizeof(s->container), "%s", um_json_get_str(msg, "container", ""));
	LIST_INSERT_HEAD(&r->streams, s, all);
	read_options(s, msg);
	s->timer = um_timer_new(r->loop, pump, s);
	snprintf(target, sizeof(target), "/umiak/v1/streams/%s", s->id);
	o.target = target;
	if (strcmp(um_json_get_str(msg, "kind", ""), "log"))
		um_error_set(&err, -EOPNOTSUPP, "this agent does not know that kind of stream");
	else if (!s->timer)
		um_error_set(&err, -ENOMEM, "out of memory");
	else if (open_log(s, msg, &err) == 0 &&
		 um_http_call_start(r->client, &o, &s->call, &err) == 0) {
		um_timer_start(s->timer, 0);
		return;
	}
	refuse(r, s->id, err.code == -ENOENT ? 404 : err.code == -EINVAL ? 400 : 500, err.msg);
	free_stream(s);
}

static void close_stream(struct um_remote *r, const char *id)
{
	struct remote_stream *s;

	LIST_FOREACH (s, &r->streams, all)
		if (!strcmp(s->id, id)) {
			free_stream(s);
			return;
		}
}

static void on_message(struct um_remote *r, const char *text, size_t len)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1 << 20);
	struct um_json *msg;
	const char *type;

	if (!a || um_json_parse(a, text, len, NULL, &msg, NULL) < 0)
		return;
	type = um_json_get_str(msg, "type", "");
	if (!strcmp(type, "open"))
		open_stream(r, msg);
	else if (!strcmp(type, "close"))
		close_stream(r, um_json_get_str(msg, "stream", ""));
	else if (!strcmp(type, "changed"))
		refresh_changed(r->agent, um_json_get_str(msg, "resource", ""),
				um_json_get_str(msg, "namespace", ""),
				um_json_get_str(msg, "name", ""));
	else if (!strcmp(type, "ping"))
		send_simple(r, "pong");
}

/* ---- the channel ---- */

static void control_later(struct um_remote *r)
{
	um_conn_free(TAKE_PTR(r->control));
	if (!r->closing)
		um_timer_start(r->control_timer, RETRY_NS);
}

static void on_control_data(void *arg)
{
	struct um_remote *r = arg;

	for (;;) {
		_cleanup_free_ char *text = NULL;
		uint32_t len;

		if (um_conn_copy_out(r->control, &len, sizeof(len)) < 0)
			return;
		len = ntohl(len);
		if (len > UM_STREAM_MESSAGE_MAX) {
			control_later(r);
			return;
		}
		if (um_conn_unread(r->control) < sizeof(len) + len)
			return;
		text = malloc(sizeof(len) + len);
		if (!text || um_conn_copy_out(r->control, text, sizeof(len) + len) < 0)
			return;
		um_conn_consume(r->control, sizeof(len) + len);
		on_message(r, text + sizeof(len), len);
		if (!r->control)
			return;
	}
}

static void on_control_close(void *arg, um_unused const struct um_error *err)
{
	control_later(arg);
}

static void on_control_event(um_unused void *arg)
{
}

static void on_upgrade(void *arg, struct um_conn *c)
{
	static const struct um_conn_events events = {
		.on_open = on_control_event,
		.on_drain = on_control_event,
		.on_data = on_control_data,
		.on_close = on_control_close,
	};
	struct um_remote *r = arg;

	r->control_call = NULL;
	r->control = c;
	um_conn_set_read_limit(c, UM_STREAM_MESSAGE_MAX + 4);
	um_conn_set_events(c, &events, r);
	um_timer_start(r->control_timer, PING_NS);
	refresh_all(r->agent); /* what changed before this was not told */
}

static void on_control_done(void *arg, um_unused const struct um_http_result *res)
{
	struct um_remote *r = arg;

	r->control_call = NULL;
	control_later(r);
}

static void on_control_timer(void *arg)
{
	struct um_remote *r = arg;
	struct um_http_call_opts o = {
		.method = "GET",
		.close = true,
		.upgrade = UM_STREAM_PROTOCOL,
		.on_upgrade = on_upgrade,
		.on_done = on_control_done,
		.arg = r,
	};
	char target[400];

	if (r->control) {
		send_simple(r, "ping");
		um_timer_start(r->control_timer, PING_NS);
		return;
	}
	snprintf(target, sizeof(target), "/umiak/v1/nodes/%s/control", r->opt.node_name);
	o.target = target;
	if (um_http_call_start(r->client, &o, &r->control_call, NULL) < 0)
		control_later(r);
}

void remote_logs_start(struct um_remote *r)
{
	r->control_timer = um_timer_new(r->loop, on_control_timer, r);
	if (r->control_timer)
		um_timer_start(r->control_timer, 0);
}

void remote_logs_stop(struct um_remote *r)
{
	struct remote_stream *s;

	while ((s = LIST_FIRST(&r->streams)))
		free_stream(s);
	um_http_call_cancel(TAKE_PTR(r->control_call));
	um_conn_free(TAKE_PTR(r->control));
	um_timer_free(TAKE_PTR(r->control_timer));
}
