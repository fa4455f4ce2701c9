/* umiak-oci-systemd: asks systemd for scopes on umiak-oci's behalf. runtime/systemd.h has the
 * protocol. It exists for libsystemd, which cannot be linked statically. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/num.h"

#define SERVICE "org.freedesktop.systemd1"
#define MANAGER "org.freedesktop.systemd1.Manager"
#define MANAGER_PATH "/org/freedesktop/systemd1"
#define CALL_USEC (20 * UINT64_C(1000000))
#define JOB_USEC (30 * UINT64_C(1000000))
#define MAX_REQUEST (1u << 20)

enum { FAILED = 1, NO_SYSTEMD = 2, TAKEN = 3 };

static um_printf(1, 2) int complain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return FAILED;
}

static int bus_failed(const char *what, int r, const sd_bus_error *e)
{
	return complain("%s: %s", what, sd_bus_error_is_set(e) ? e->message : strerror(-r));
}

/* ---- properties: each appends the variant's content for one line ---- */

static int add_bool(sd_bus_message *m, char *value)
{
	return strcmp(value, "0") && strcmp(value, "1")
		       ? -EINVAL
		       : sd_bus_message_append(m, "v", "b", value[0] == '1');
}

static int add_string(sd_bus_message *m, char *value)
{
	return sd_bus_message_append(m, "v", "s", value);
}

static int add_u64(sd_bus_message *m, char *value)
{
	uint64_t v;

	return um_num_u64(value, UINT64_MAX, &v) < 0 ? -EINVAL
						     : sd_bus_message_append(m, "v", "t", v);
}

static int add_i32(sd_bus_message *m, char *value)
{
	int v;

	return um_num_int(value, INT32_MIN, INT32_MAX, &v) < 0
		       ? -EINVAL
		       : sd_bus_message_append(m, "v", "i", (int32_t)v);
}

static int add_u32(sd_bus_message *m, char *value)
{
	uint64_t v;

	return um_num_u64(value, UINT32_MAX, &v) < 0
		       ? -EINVAL
		       : sd_bus_message_append(m, "v", "u", (uint32_t)v);
}

static int add_i64(sd_bus_message *m, char *value)
{
	int64_t v;

	return um_num_i64(value, INT64_MIN, INT64_MAX, &v) < 0
		       ? -EINVAL
		       : sd_bus_message_append(m, "v", "x", v);
}

static int one_u32(sd_bus_message *m, const char *word)
{
	uint64_t v;

	return um_num_u64(word, UINT32_MAX, &v) < 0 ? -EINVAL
						    : sd_bus_message_append(m, "u", (uint32_t)v);
}

static int one_string(sd_bus_message *m, const char *word)
{
	return sd_bus_message_append(m, "s", word);
}

static int add_words(sd_bus_message *m, char *value, const char *type,
		     int (*one)(sd_bus_message *m, const char *word))
{
	int r = sd_bus_message_open_container(m, 'v', type);

	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', type + 1);
	for (char *w; r >= 0 && *value && (w = strsep(&value, " "));) {
		r = one(m, w);
		if (!value)
			break;
	}
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static int add_u32s(sd_bus_message *m, char *value)
{
	return add_words(m, value, "au", one_u32);
}

static int add_strings(sd_bus_message *m, char *value)
{
	return add_words(m, value, "as", one_string);
}

static int add_bytes(sd_bus_message *m, char *value)
{
	uint8_t bytes[4096];
	size_t n = strlen(value) / 2;
	int r;

	if (strlen(value) % 2 || n > sizeof(bytes))
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		unsigned v;

		if (!isxdigit((unsigned char)value[2 * i]) ||
		    !isxdigit((unsigned char)value[2 * i + 1]) ||
		    sscanf(value + 2 * i, "%2x", &v) != 1)
			return -EINVAL;
		bytes[i] = (uint8_t)v;
	}
	r = sd_bus_message_open_container(m, 'v', "ay");
	if (r >= 0)
		r = sd_bus_message_append_array(m, 'y', bytes, n);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static int add_pairs(sd_bus_message *m, char *value)
{
	int r = sd_bus_message_open_container(m, 'v', "a(ss)");

	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "(ss)");
	while (r >= 0 && value && *value) {
		char *first = strsep(&value, " "), *second = strsep(&value, " ");

		r = second ? sd_bus_message_append(m, "(ss)", first, second) : -EINVAL;
	}
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static const struct {
	const char *type;
	int (*add)(sd_bus_message *m, char *value);
} kinds[] = {
	{"b", add_bool},   {"s", add_string},	 {"i", add_i32},   {"u", add_u32},
	{"x", add_i64},	   {"t", add_u64},	 {"au", add_u32s}, {"as", add_strings},
	{"ay", add_bytes}, {"a(ss)", add_pairs},
};

static int add_property(sd_bus_message *m, char *line)
{
	char *type = strsep(&line, " "), *name = strsep(&line, " "), none[] = "";
	int r;

	for (size_t i = 0; name && i < UM_ARRAY_LEN(kinds); i++) {
		if (strcmp(kinds[i].type, type))
			continue;
		r = sd_bus_message_open_container(m, 'r', "sv");
		if (r >= 0)
			r = sd_bus_message_append(m, "s", name);
		if (r >= 0)
			r = kinds[i].add(m, line ? line : none);
		return r < 0 ? r : sd_bus_message_close_container(m);
	}
	return -EINVAL;
}

/* Standard input as an array of properties. */
static int add_properties(sd_bus_message *m)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(MAX_REQUEST);
	int r = um_io_read_fd(0, &b);
	char *rest;

	if (r < 0 || um_buf_addc(&b, '\0') < 0 || strlen(b.data) + 1 != b.len)
		return complain("the request cannot be read");
	rest = b.data;
	r = sd_bus_message_open_container(m, 'a', "(sv)");
	for (char *line; r >= 0 && (line = strsep(&rest, "\n"));) {
		if (!*line)
			continue;
		r = add_property(m, line);
		if (r < 0)
			return complain("property \"%.40s\" of the request is not valid", line);
	}
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	return r < 0 ? bus_failed("make the message", r, NULL) : 0;
}

/* ---- jobs ---- */

struct job {
	char path[256], result[64];
	bool done;
};

/* JobRemoved(id, job, unit, result) */
static int job_removed(sd_bus_message *m, void *data, sd_bus_error *e)
{
	const char *path, *unit, *result;
	struct job *j = data;
	uint32_t id;

	(void)e;
	if (sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) < 0 ||
	    strcmp(path, j->path) != 0)
		return 0;
	snprintf(j->result, sizeof(j->result), "%s", result);
	j->done = true;
	return 0;
}

/* Signals that came before the call's answer are still in the queue: none is missed. */
static int wait_job(sd_bus *bus, struct job *j)
{
	int64_t end = um_clock_monotonic(&um_clock_system) + (int64_t)JOB_USEC * 1000;

	while (!j->done) {
		int64_t left = end - um_clock_monotonic(&um_clock_system);
		int r = sd_bus_process(bus, NULL);

		if (r < 0)
			return bus_failed("wait for systemd", r, NULL);
		if (r > 0)
			continue;
		if (left <= 0)
			return complain("systemd does not end its job in time");
		r = sd_bus_wait(bus, (uint64_t)left / 1000);
		if (r < 0 && r != -EINTR)
			return bus_failed("wait for systemd", r, NULL);
	}
	return 0;
}

/* Sends @m, whose answer is a job, and waits for that. @ignore: a name of an error that is none. */
static int run_job(sd_bus *bus, sd_bus_message *m, const char *what, const char *ignore)
{
	_cleanup_(sd_bus_error_free) sd_bus_error e = SD_BUS_ERROR_NULL;
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *answer = NULL;
	_cleanup_(sd_bus_slot_unrefp) sd_bus_slot *slot = NULL;
	struct job j = {.done = false};
	const char *path;
	int r = sd_bus_match_signal(bus, &slot, SERVICE, MANAGER_PATH, MANAGER, "JobRemoved",
				    job_removed, &j);

	if (r >= 0)
		r = sd_bus_call_method(bus, SERVICE, MANAGER_PATH, MANAGER, "Subscribe", &e, NULL,
				       "");
	if (r < 0)
		return bus_failed("subscribe to systemd's signals", r, &e);
	r = sd_bus_call(bus, m, CALL_USEC, &e, &answer);
	if (r < 0 && ignore && sd_bus_error_has_name(&e, ignore))
		return 0;
	if (r < 0 && sd_bus_error_has_name(&e, "org.freedesktop.systemd1.UnitExists"))
		return complain("%s", e.message), TAKEN;
	if (r < 0)
		return bus_failed(what, r, &e);
	r = sd_bus_message_read(answer, "o", &path);
	if (r < 0 || strlen(path) >= sizeof(j.path))
		return complain("%s: the answer is not a job", what);
	strcpy(j.path, path);
	r = wait_job(bus, &j);
	if (!r && strcmp(j.result, "done") != 0)
		r = complain("%s: systemd's job ended as \"%s\"", what, j.result);
	return r;
}

static int method(sd_bus *bus, sd_bus_message **m, const char *name)
{
	int r = sd_bus_message_new_method_call(bus, m, SERVICE, MANAGER_PATH, MANAGER, name);

	return r < 0 ? bus_failed("make the message", r, NULL) : 0;
}

/* ---- verbs ---- */

static int print_cgroup(sd_bus *bus, const char *unit)
{
	_cleanup_(sd_bus_error_free) sd_bus_error e = SD_BUS_ERROR_NULL;
	_cleanup_free_ char *path = NULL, *cgroup = NULL;
	int r = sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit, &path);

	if (r >= 0)
		r = sd_bus_get_property_string(bus, SERVICE, path, "org.freedesktop.systemd1.Scope",
					       "ControlGroup", &e, &cgroup);
	if (r < 0)
		return bus_failed("ask for the scope's cgroup", r, &e);
	if (!*cgroup)
		return complain("the scope has no cgroup: it ended at once");
	return puts(cgroup) < 0 || fflush(stdout) ? FAILED : 0;
}

static int start(sd_bus *bus, const char *unit)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	int r = method(bus, &m, "StartTransientUnit");

	if (!r && sd_bus_message_append(m, "ss", unit, "fail") < 0)
		r = FAILED;
	if (!r)
		r = add_properties(m);
	if (!r && sd_bus_message_append(m, "a(sa(sv))", 0) < 0)
		r = FAILED;
	if (!r)
		r = run_job(bus, m, "start", NULL);
	return r ? r : print_cgroup(bus, unit);
}

static int update(sd_bus *bus, const char *unit)
{
	_cleanup_(sd_bus_error_free) sd_bus_error e = SD_BUS_ERROR_NULL;
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	int r = method(bus, &m, "SetUnitProperties");

	if (!r && sd_bus_message_append(m, "sb", unit, 1) < 0) /* until the next boot only */
		r = FAILED;
	if (!r)
		r = add_properties(m);
	if (!r) {
		r = sd_bus_call(bus, m, CALL_USEC, &e, NULL);
		r = r < 0 ? bus_failed("set properties", r, &e) : 0;
	}
	return r;
}

static int attach(sd_bus *bus, const char *unit)
{
	_cleanup_(sd_bus_error_free) sd_bus_error e = SD_BUS_ERROR_NULL;
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(64);
	uint64_t pid;
	int r = um_io_read_fd(0, &b);

	if (r < 0 || um_num_u64n(um_buf_str(&b), b.len, INT32_MAX, &pid) < 0)
		return complain("the request is not the id of a process");
	r = sd_bus_call_method(bus, SERVICE, MANAGER_PATH, MANAGER, "AttachProcessesToUnit", &e,
			       NULL, "ssau", unit, "", 1, (uint32_t)pid);
	return r < 0 ? bus_failed("attach a process", r, &e) : 0;
}

static int stop(sd_bus *bus, const char *unit)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	int r = method(bus, &m, "StopUnit");

	if (!r && sd_bus_message_append(m, "ss", unit, "replace") < 0)
		r = FAILED;
	if (!r)
		r = run_job(bus, m, "stop", "org.freedesktop.systemd1.NoSuchUnit");
	return r;
}

static const struct {
	const char *name;
	int (*run)(sd_bus *bus, const char *unit);
} verbs[] = {{"attach", attach}, {"start", start}, {"stop", stop}, {"update", update}};

static int connect_to(const char *whose, sd_bus **bus)
{
	bool user = !strcmp(whose, "user");
	int r;

	if (!user && strcmp(whose, "system") != 0)
		return complain("whose systemd: system or user");
	if (sd_booted() <= 0)
		return complain("this host does not run systemd"), NO_SYSTEMD;
	r = user ? sd_bus_open_user(bus) : sd_bus_open_system(bus);
	if (r < 0)
		return complain("no connection to the %s bus: %s", whose, strerror(-r)), NO_SYSTEMD;
	return 0;
}

int main(int argc, char **argv)
{
	sd_bus *bus = NULL;
	int r;

	if (argc != 4)
		return complain(
			"usage: umiak-oci-systemd system|user start|update|attach|stop UNIT");
	alarm(60);
	for (size_t i = 0; i < UM_ARRAY_LEN(verbs); i++) {
		if (strcmp(verbs[i].name, argv[2]))
			continue;
		r = connect_to(argv[1], &bus);
		if (r)
			return r;
		r = verbs[i].run(bus, argv[3]);
		sd_bus_flush_close_unref(bus);
		return r;
	}
	return complain("unknown request \"%.40s\"", argv[2]);
}
