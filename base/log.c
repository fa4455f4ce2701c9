#include "base/log.h"

#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/json.h"
#include "base/utf8.h"

#define LINE_MAX_BYTES 8192
#define VALUE_MAX_BYTES 1024

static struct {
	const char *component;
	enum um_log_level max;
	enum um_log_format format;
} log_state = {"umiak", UM_LOG_INFO, UM_LOG_TEXT};

static const char *const level_names[] = {"ERROR", "WARN", "INFO", "DEBUG"};

void um_log_init(const char *component, enum um_log_level max, enum um_log_format format)
{
	log_state.component = component;
	log_state.max = max;
	log_state.format = format;
}

bool um_log_enabled(enum um_log_level level)
{
	return level <= log_state.max;
}

/* A quoted string; what is not UTF-8 becomes U+FFFD, so that a line is always valid. */
static void add_quoted(struct um_buf *b, const char *s)
{
	_cleanup_buf_ struct um_buf clean = UM_BUF_INIT(VALUE_MAX_BYTES * 3);
	size_t len = strnlen(s, VALUE_MAX_BYTES), at = 0;

	while (at < len) {
		size_t good = um_utf8_valid(s + at, len - at);

		um_buf_add(&clean, s + at, good);
		at += good;
		if (at < len) {
			um_buf_adds(&clean, "\xef\xbf\xbd");
			at++;
		}
	}
	if (s[len])
		um_buf_adds(&clean, "...");
	um_json_write_str(b, um_buf_str(&clean), clean.len);
}

static bool plain(const char *s)
{
	size_t len = strlen(s);

	if (!len || len > VALUE_MAX_BYTES)
		return false;
	for (; *s; s++)
		if (*s <= ' ' || *s == '"' || *s == '\\' || *s == '=' || (unsigned char)*s >= 0x7f)
			return false;
	return true;
}

static void add_value(struct um_buf *b, const struct um_log_field *f)
{
	const char *s = f->str ? f->str : "";

	switch (f->type) {
	case UM_LOG_FIELD_I64:
		um_buf_addf(b, "%lld", (long long)f->i64);
		break;
	case UM_LOG_FIELD_BOOL:
		um_buf_adds(b, f->i64 ? "true" : "false");
		break;
	case UM_LOG_FIELD_STR:
		if (log_state.format == UM_LOG_TEXT && plain(s))
			um_buf_adds(b, s);
		else
			add_quoted(b, s);
		break;
	}
}

void um_log_write(enum um_log_level level, const char *message, const struct um_log_field *fields,
		  size_t n)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(LINE_MAX_BYTES);
	bool json = log_state.format == UM_LOG_JSON;
	char when[UM_TIME_LEN];
	int saved = errno;
	size_t i;

	um_time_format_micro(um_clock_wall(&um_clock_system), when);
	if (json) {
		um_buf_addf(&b,
			    "{\"time\":\"%s\",\"level\":\"%s\",\"component\":\"%s\",\"msg\":", when,
			    level_names[level], log_state.component);
		add_quoted(&b, message);
	} else {
		um_buf_addf(&b, "%s %s %s: %s", when, level_names[level], log_state.component,
			    message);
	}
	for (i = 0; i < n && !um_buf_error(&b); i++) {
		size_t before = b.len;

		um_buf_addf(&b, json ? ",\"%s\":" : " %s=", fields[i].name);
		add_value(&b, &fields[i]);
		if (um_buf_error(&b) || b.len > LINE_MAX_BYTES - 2) { /* keep the line whole */
			b.len = before;
			break;
		}
	}
	b.failed = 0;
	um_buf_adds(&b, json ? "}\n" : "\n");
	if (b.len)
		(void)!um_io_write_all(STDERR_FILENO, b.data, b.len);
	errno = saved;
}
