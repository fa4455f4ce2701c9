/* What people read: templates, sizes, times, and all that is known of a container. */
#include <ctype.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/num.h"
#include "cli/ctr/ctr.h"

/* ---- templates ---- */

static void add_value(struct um_buf *b, const struct um_json *v, bool json)
{
	if (!v)
		um_buf_adds(b, json ? "null" : "<no value>");
	else if (json || v->type == UM_JSON_OBJ || v->type == UM_JSON_ARR)
		um_json_write(b, v);
	else if (v->type == UM_JSON_BOOL)
		um_buf_adds(b, v->boolean ? "true" : "false");
	else
		um_buf_adds(b, v->type == UM_JSON_NULL ? "<nil>" : v->str);
}

/* The inside of {{ }}: ".A.B" or "json .A.B" or ".". */
static int add_field(struct um_buf *b, const char *text, size_t len, const struct um_json *o,
		     struct um_error *err)
{
	char path[200];
	bool json = false;

	while (len && isspace((unsigned char)*text)) {
		text++;
		len--;
	}
	while (len && isspace((unsigned char)text[len - 1]))
		len--;
	if (len > 5 && !strncmp(text, "json ", 5)) {
		json = true;
		text += 5;
		len -= 5;
	}
	if (!len || len >= sizeof(path) || *text != '.' || memchr(text, ' ', len))
		return um_error_set(
			err, -EOPNOTSUPP,
			"template: {{%.*s}} is not supported: want {{.Field}} or {{json "
			".Field}}",
			(int)(len > 100 ? 100 : len), text);
	memcpy(path, text + 1, len - 1);
	path[len - 1] = '\0';
	add_value(b, len == 1 ? o : um_json_path(o, path), json || len == 1);
	return 0;
}

int ctr_format(struct um_buf *b, const char *template, const struct um_json *o,
	       struct um_error *err)
{
	while (*template) {
		const char *end;
		int r;

		if (!strncmp(template, "{{", 2)) {
			end = strstr(template, "}}");
			if (!end)
				return um_error_set(err, -EINVAL, "template: unclosed action");
			r = add_field(b, template + 2, (size_t)(end - template - 2), o, err);
			if (r < 0)
				return r;
			template = end + 2;
		} else if (*template == '\\' && (template[1] == 't' || template[1] == 'n')) {
			um_buf_addc(b, template[1] == 't' ? '\t' : '\n');
			template += 2;
		} else {
			um_buf_addc(b, *template ++);
		}
	}
	return um_buf_error(b) ? um_error_errno(err, um_buf_error(b), "template") : 0;
}

/* ---- times and sizes ---- */

void ctr_ago(struct um_buf *b, int64_t ns)
{
	static const struct {
		int64_t below, unit;
		const char *word;
	} steps[] = {
		{60, 1, "second"},
		{3600, 60, "minute"},
		{48 * 3600, 3600, "hour"},
		{14 * 86400, 86400, "day"},
		{60 * 86400, 7 * 86400, "week"},
		{730 * INT64_C(86400), 30 * 86400, "month"},
		{INT64_MAX, 365 * 86400, "year"},
	};
	int64_t s = ns < 0 ? 0 : ns / UM_NSEC_PER_SEC;

	if (s < 1) {
		um_buf_adds(b, "Less than a second");
		return;
	}
	for (size_t i = 0; i < UM_ARRAY_LEN(steps); i++) {
		int64_t n = s / steps[i].unit;

		if (s >= steps[i].below)
			continue;
		if (n == 1 && steps[i].unit >= 60 && steps[i].unit <= 3600)
			um_buf_addf(b, "About %s %s", steps[i].unit == 60 ? "a" : "an",
				    steps[i].word);
		else
			um_buf_addf(b, "%lld %s%s", (long long)n, steps[i].word, n == 1 ? "" : "s");
		return;
	}
}

void ctr_size(struct um_buf *b, uint64_t bytes, bool binary)
{
	static const char *const two[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	static const char *const ten[] = {"B", "kB", "MB", "GB", "TB", "PB"};
	double v = (double)bytes, by = binary ? 1024 : 1000;
	size_t i = 0;

	for (; v >= by && i < UM_ARRAY_LEN(two) - 1; i++)
		v /= by;
	um_buf_addf(b, "%.4g%s", v, (binary ? two : ten)[i]);
}

/* "12", "1.5": what strtod(3) takes beyond that (nan, 0x10, 1e3) is none. What follows, or NULL. */
static const char *decimal(const char *s, double *ret)
{
	size_t len = strspn(s, "0123456789."), digits = strspn(s, "0123456789");
	char copy[32], *end;

	if (!digits || len >= sizeof(copy))
		return NULL;
	memcpy(copy, s, len);
	copy[len] = '\0';
	*ret = strtod(copy, &end);
	return *end ? NULL : s + len;
}

int ctr_parse_bytes(const char *text, int64_t *ret)
{
	static const char units[] = "bkmgtp";
	double v = 0;
	const char *end = decimal(text, &v);
	const char *u;

	if (!end)
		return -EINVAL;
	if (*end) {
		u = strchr(units, tolower((unsigned char)*end));
		if (!u)
			return -EINVAL;
		v *= pow(1024, (double)(u - units));
		end++;
		if (*end == 'i' || *end == 'I')
			end++;
		if ((*end == 'b' || *end == 'B') && *u != 'b')
			end++;
	}
	if (*end || !(v >= 0 && v < 9e18))
		return -EINVAL;
	*ret = (int64_t)v;
	return 0;
}

static int parse_duration(const char *s, int64_t *ret)
{
	int64_t sum = 0;

	if (!*s)
		return -EINVAL;
	while (*s) {
		double v = 0, unit;
		const char *end = decimal(s, &v);

		if (!end || v > 1e9)
			return -EINVAL;
		if (!strncmp(end, "ms", 2)) {
			unit = 1e6;
			end++;
		} else if (*end == 'h' || *end == 'm' || *end == 's') {
			unit = *end == 'h' ? 3600e9 : *end == 'm' ? 60e9 : 1e9;
		} else {
			return -EINVAL;
		}
		if (v * unit > 4e18 || sum > INT64_C(4000000000000000000)) /* 126 years */
			return -EINVAL;
		sum += (int64_t)(v * unit);
		s = end + 1;
	}
	*ret = sum;
	return 0;
}

int ctr_parse_time(const char *text, int64_t *ret)
{
	double v = 0;
	const char *end = decimal(text, &v);
	int64_t ns;

	if (um_time_parse(text, ret) == 0)
		return 0;
	if (end && !*end && v < 9e9) {
		*ret = (int64_t)(v * 1e9);
		return 0;
	}
	if (parse_duration(text, &ns) < 0)
		return -EINVAL;
	*ret = um_clock_wall(&um_clock_system) - ns;
	return 0;
}

/* ---- a container ---- */

const char *ctr_status_word(const struct ctr *c, const struct ctr_live *l)
{
	const char *kept = um_json_get_str(c->state, "Status", "created");

	if (l->state == CTR_LIVE_RUNNING)
		return ctr_is_paused(c) ? "paused" : "running";
	if (l->state == CTR_LIVE_RESTARTING || (l->state == CTR_LIVE_STARTING && l->attempt))
		return "restarting";
	if (l->state == CTR_LIVE_STARTING)
		return "created";
	if (l->state == CTR_LIVE_ENDED || !strcmp(kept, "running"))
		return "exited";
	return kept;
}

static void set_time(struct um_arena *a, struct um_json *o, const char *key, int64_t ns)
{
	char text[UM_TIME_LEN];

	um_time_format_nano(ns, text);
	um_json_set_str(a, o, key, text);
}

static struct um_json *state_object(struct um_arena *a, const struct ctr *c,
				    const struct ctr_live *l)
{
	struct um_json *o = um_json_new_obj(a);
	const char *word = ctr_status_word(c, l), *zero = "0001-01-01T00:00:00Z";
	bool up = l->state == CTR_LIVE_RUNNING, again = !strcmp(word, "restarting");
	bool lost = !l->state && !strcmp(um_json_get_str(c->state, "Status", ""), "running");
	int64_t code = lost ? 255 : um_json_get_i64(c->state, "ExitCode", 0);

	um_json_set_str(a, o, "Status", word);
	um_json_set_bool(a, o, "Running", up || again);
	um_json_set_bool(a, o, "Paused", up && ctr_is_paused(c));
	um_json_set_bool(a, o, "Restarting", again);
	um_json_set_bool(a, o, "OOMKilled", !up && um_json_get_bool(c->state, "OOMKilled", false));
	um_json_set_bool(a, o, "Dead", false);
	um_json_set_i64(a, o, "Pid", up ? l->pid : 0);
	um_json_set_i64(a, o, "ExitCode",
			up				      ? 0
			: again || l->state == CTR_LIVE_ENDED ? ctr_exit_code(l->status)
							      : code);
	um_json_set_str(a, o, "Error", um_json_get_str(c->state, "Error", ""));
	um_json_set_str(a, o, "StartedAt", um_json_get_str(c->state, "StartedAt", zero));
	um_json_set_str(a, o, "FinishedAt", um_json_get_str(c->state, "FinishedAt", zero));
	if (l->started_ns)
		set_time(a, o, "StartedAt", l->started_ns);
	if (l->finished_ns && !up)
		set_time(a, o, "FinishedAt", l->finished_ns);
	return o;
}

static struct um_json *network_object(struct um_arena *a, const struct ctr *c)
{
	struct um_json *o = um_json_new_obj(a), *ports = um_json_ensure_obj(a, o, "Ports"), *doc;
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	char path[1300], key[16];

	um_json_set_str(a, o, "IPAddress", "");
	um_json_foreach (it, um_json_path(c->config, "Config.ExposedPorts"))
		um_json_set(a, ports, it->key, um_json_new_null(a));
	snprintf(path, sizeof(path), "%s/net.json", c->run_dir);
	if (um_io_read_file(AT_FDCWD, path, &b, NULL) < 0 ||
	    um_json_parse(a, um_buf_str(&b), b.len, NULL, &doc, NULL) < 0)
		return o;
	um_json_set_str(a, o, "IPAddress", um_json_get_str(doc, "address", ""));
	um_json_set_str(a, o, "Gateway", "169.254.1.1");
	um_json_foreach (it, um_json_get(doc, "ports")) {
		struct um_json *e;

		snprintf(key, sizeof(key), "%d/%s", (int)um_json_get_i64(it, "port", 0),
			 um_json_get_bool(it, "udp", false) ? "udp" : "tcp");
		e = um_json_append(um_json_ensure_arr(a, ports, key), um_json_new_obj(a));
		um_json_set_str(a, e, "HostIp", um_json_get_str(it, "host", ""));
		um_json_set_str(a, e, "HostPort",
				um_arena_printf(a, "%d", (int)um_json_get_i64(it, "host_port", 0)));
	}
	return o;
}

struct um_json *ctr_inspect(struct um_arena *a, const struct ctr *c, const struct ctr_live *l)
{
	struct um_json *o = um_json_copy(a, c->config);

	um_json_set(a, o, "State", state_object(a, c, l));
	um_json_set_i64(a, o, "RestartCount",
			l->state ? l->attempt : um_json_get_i64(c->state, "RestartCount", 0));
	um_json_set_str(a, o, "LogPath", um_arena_printf(a, "%s/log", c->dir));
	um_json_set_str(a, o, "HostsPath", um_arena_printf(a, "%s/hosts", c->run_dir));
	um_json_set_str(a, o, "ResolvConfPath", um_arena_printf(a, "%s/resolv.conf", c->run_dir));
	um_json_set(a, o, "NetworkSettings", network_object(a, c));
	return o;
}
