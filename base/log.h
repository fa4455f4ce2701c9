/* Logging: a constant message and typed fields, one line each to stderr, as text or JSON.
 *
 *     um_log(UM_LOG_INFO, "pod started", UM_LOG_STR("pod", name), UM_LOG_I64("took_ms", ms));
 *
 * Text:  2026-01-02T03:04:05.000000Z INFO agent: pod started pod=web-1 took_ms=12
 * Values are foreign bytes: quotes, control characters and invalid UTF-8 are escaped, long values
 * are cut. Never pass a secret. Layers below the daemons return errors and do not log. */
#ifndef UM_BASE_LOG_H
#define UM_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum um_log_level { UM_LOG_ERROR, UM_LOG_WARN, UM_LOG_INFO, UM_LOG_DEBUG };
enum um_log_format { UM_LOG_TEXT, UM_LOG_JSON };

struct um_log_field {
	const char *name;
	enum { UM_LOG_FIELD_STR, UM_LOG_FIELD_I64, UM_LOG_FIELD_BOOL } type;
	const char *str;
	int64_t i64;
};

#define UM_LOG_STR(n, v) ((struct um_log_field){(n), UM_LOG_FIELD_STR, (v), 0})
#define UM_LOG_I64(n, v) ((struct um_log_field){(n), UM_LOG_FIELD_I64, NULL, (int64_t)(v)})
#define UM_LOG_BOOL(n, v) ((struct um_log_field){(n), UM_LOG_FIELD_BOOL, NULL, (v)})
#define UM_LOG_ERR(e) UM_LOG_STR("error", (e)->msg)

/* @component is borrowed for the life of the process ("server", "agent"). */
void um_log_init(const char *component, enum um_log_level max, enum um_log_format format);
bool um_log_enabled(enum um_log_level level);
void um_log_write(enum um_log_level level, const char *message, const struct um_log_field *fields,
		  size_t n);

#define um_log(level, message, ...)                                                                \
	do {                                                                                       \
		if (um_log_enabled(level)) {                                                       \
			const struct um_log_field um_fields_[] = {__VA_ARGS__ __VA_OPT__(, ){0}};  \
			um_log_write(level, message, um_fields_, UM_ARRAY_LEN(um_fields_) - 1);    \
		}                                                                                  \
	} while (0)

#endif
