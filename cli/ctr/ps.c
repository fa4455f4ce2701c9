/* ps. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "cli/ctr/ctr.h"

static struct {
	bool all, quiet, no_trunc, latest, size;
	const char *format, *last;
	ctr_list filter;
} o;

/* ---- one line ---- */

static void add_ports(struct um_buf *b, const struct um_json *ports)
{
	bool first = true;

	um_json_foreach (p, ports) {
		if (!um_json_first(p)) {
			um_buf_addf(b, "%s%s", first ? "" : ", ", p->key);
			first = false;
		}
		um_json_foreach (it, p) {
			um_buf_addf(b, "%s%s:%s->%s", first ? "" : ", ",
				    um_json_get_str(it, "HostIp", ""),
				    um_json_get_str(it, "HostPort", ""), p->key);
			first = false;
		}
	}
}

static int64_t since(const struct um_json *all, const char *path)
{
	int64_t at;

	return um_time_parse(um_json_get_str(all, path, ""), &at) < 0
		       ? 0
		       : um_clock_wall(&um_clock_system) - at;
}

static void add_status(struct um_buf *b, const struct um_json *all)
{
	const char *word = um_json_get_str(all, "State.Status", "");
	long long code = (long long)um_json_get_i64(all, "State.ExitCode", 0);

	if (!strcmp(word, "running") || !strcmp(word, "paused")) {
		um_buf_adds(b, "Up ");
		ctr_ago(b, since(all, "State.StartedAt"));
		um_buf_adds(b, *word == 'p' ? " (Paused)" : "");
	} else if (!strcmp(word, "created")) {
		um_buf_adds(b, "Created");
	} else {
		um_buf_addf(b, "%s (%lld) ", !strcmp(word, "exited") ? "Exited" : "Restarting",
			    code);
		if (strncmp(um_json_get_str(all, "State.FinishedAt", "0001"), "0001", 4)) {
			ctr_ago(b, since(all, "State.FinishedAt"));
			um_buf_adds(b, " ago");
		}
	}
}

static void add_command(struct um_buf *b, const struct um_json *all)
{
	size_t start = b->len;

	um_buf_addf(b, "\"%s", um_json_get_str(all, "Path", ""));
	um_json_foreach (it, um_json_get(all, "Args"))
		um_buf_addf(b, strchr(um_json_str(it, ""), ' ') ? " '%s'" : " %s",
			    um_json_str(it, ""));
	if (!o.no_trunc && b->len - start > 20) {
		b->len = start + 20;
		b->data[b->len] = '\0';
		um_buf_adds(b, "\xe2\x80\xa6");
	}
	um_buf_addc(b, '"');
}

static void set(struct um_arena *a, struct um_json *row, const char *key, struct um_buf *b)
{
	um_json_set_str(a, row, key, um_buf_str(b));
	um_buf_clear(b);
}

struct um_json *ctr_ps_row(struct um_arena *a, const struct um_json *all)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 16);
	struct um_json *row = um_json_new_obj(a);
	const char *name = um_json_get_str(all, "Name", "/");

	um_buf_addf(&b, "%.*s", o.no_trunc ? CTR_ID_LEN : CTR_SHORT_LEN,
		    um_json_get_str(all, "Id", ""));
	set(a, row, "ID", &b);
	um_json_set_str(a, row, "Image", um_json_get_str(all, "Config.Image", ""));
	add_command(&b, all);
	set(a, row, "Command", &b);
	um_json_set_str(a, row, "CreatedAt", um_json_get_str(all, "Created", ""));
	ctr_ago(&b, since(all, "Created"));
	um_buf_adds(&b, " ago");
	set(a, row, "RunningFor", &b);
	um_json_set_str(a, row, "State", um_json_get_str(all, "State.Status", ""));
	add_status(&b, all);
	set(a, row, "Status", &b);
	add_ports(&b, um_json_path(all, "NetworkSettings.Ports"));
	set(a, row, "Ports", &b);
	um_json_set_str(a, row, "Names", name + (*name == '/'));
	um_json_foreach (it, um_json_path(all, "Config.Labels"))
		um_buf_addf(&b, "%s%s=%s", b.len ? "," : "", it->key, um_json_str(it, ""));
	set(a, row, "Labels", &b);
	um_json_set_str(a, row, "Networks", um_json_get_str(all, "HostConfig.NetworkMode", ""));
	return row;
}

/* ---- filters: key=value; equal keys are alternatives, different ones must all hold ---- */

static bool has_label(const struct um_json *all, const char *text)
{
	const struct um_json *labels = um_json_path(all, "Config.Labels");
	size_t len = strcspn(text, "=");

	um_json_foreach (it, labels)
		if (strlen(it->key) == len && !memcmp(it->key, text, len))
			return !text[len] || !strcmp(um_json_str(it, ""), text + len + 1);
	return false;
}

static bool has_ancestor(const struct um_json *all, const char *text)
{
	const char *image = um_json_get_str(all, "Config.Image", "");
	const char *id = um_json_get_str(all, "Image", "");
	char a[UM_IMAGE_NAME_MAX], b[UM_IMAGE_NAME_MAX];
	struct um_error ignored = UM_ERROR_INIT;

	return !strcmp(image, text) || !strcmp(id, text) ||
	       (strlen(text) >= 4 && strlen(id) > 7 && !strncmp(id + 7, text, strlen(text))) ||
	       (um_image_normalise(image, a, &ignored) == 0 &&
		um_image_normalise(text, b, &ignored) == 0 && !strcmp(a, b));
}

static bool match_one(const struct um_json *all, const char *key, const char *value)
{
	char code[24];

	if (!strcmp(key, "name"))
		return strstr(um_json_get_str(all, "Name", ""), value) != NULL;
	if (!strcmp(key, "id"))
		return !strncmp(um_json_get_str(all, "Id", ""), value, strlen(value));
	if (!strcmp(key, "status"))
		return !strcmp(um_json_get_str(all, "State.Status", ""), value);
	if (!strcmp(key, "label"))
		return has_label(all, value);
	if (!strcmp(key, "ancestor"))
		return has_ancestor(all, value);
	if (!strcmp(key, "network"))
		return !strcmp(um_json_get_str(all, "HostConfig.NetworkMode", ""), value);
	snprintf(code, sizeof(code), "%lld", (long long)um_json_get_i64(all, "State.ExitCode", 0));
	return !strcmp(um_json_get_str(all, "State.Status", ""), "exited") && !strcmp(code, value);
}

static const char *const filter_keys[] = {"name",     "id",	 "status", "label",
					  "ancestor", "network", "exited"};

static bool match(const struct um_json *all)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(filter_keys); i++) {
		size_t len = strlen(filter_keys[i]);
		bool asked = false, held = false, every = !strcmp(filter_keys[i], "label");

		um_vec_foreach (f, &o.filter) {
			bool one;

			if (strncmp(*f, filter_keys[i], len) || (*f)[len] != '=')
				continue;
			one = match_one(all, filter_keys[i], *f + len + 1);
			held = !asked ? one : every ? held && one : held || one;
			asked = true;
		}
		if (asked && !held)
			return false;
	}
	return true;
}

static int check_filters(bool *status)
{
	um_vec_foreach (f, &o.filter) {
		bool known = false;

		for (size_t i = 0; i < UM_ARRAY_LEN(filter_keys); i++)
			known |= !strncmp(*f, filter_keys[i], strlen(filter_keys[i])) &&
				 (*f)[strlen(filter_keys[i])] == '=';
		if (!known)
			return ctr_usage_error(NULL, 1, "invalid filter '%s'", *f);
		*status |= !strncmp(*f, "status=", 7) || !strncmp(*f, "exited=", 7);
	}
	return 0;
}

/* ---- the table ---- */

static const struct {
	const char *title, *key;
} columns[] = {{"CONTAINER ID", "ID"},	  {"IMAGE", "Image"},	{"COMMAND", "Command"},
	       {"CREATED", "RunningFor"}, {"STATUS", "Status"}, {"PORTS", "Ports"},
	       {"NAMES", "Names"}};

/* Characters, not bytes. */
static size_t width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void print_cell(const char *text, size_t to, bool last)
{
	fputs(text, stdout);
	for (size_t n = width(text); !last && n < to + 3; n++)
		putchar(' ');
}

static void print_table(const struct um_json *rows)
{
	size_t widths[UM_ARRAY_LEN(columns)];

	for (size_t i = 0; i < UM_ARRAY_LEN(columns); i++) {
		widths[i] = width(columns[i].title);
		um_json_foreach (row, rows) {
			size_t w = width(um_json_get_str(row, columns[i].key, ""));

			widths[i] = w > widths[i] ? w : widths[i];
		}
	}
	for (size_t i = 0; i < UM_ARRAY_LEN(columns); i++)
		print_cell(columns[i].title, widths[i], i + 1 == UM_ARRAY_LEN(columns));
	putchar('\n');
	um_json_foreach (row, rows) {
		for (size_t i = 0; i < UM_ARRAY_LEN(columns); i++)
			print_cell(um_json_get_str(row, columns[i].key, ""), widths[i],
				   i + 1 == UM_ARRAY_LEN(columns));
		putchar('\n');
	}
}

/* Columns at tabs, as wide as they must be. */
static void print_lines(const char *text)
{
	size_t widths[32] = {0}, at = 0;

	for (int pass = 0; pass < 2; pass++) {
		for (const char *p = text; *p; p++) {
			size_t len = strcspn(p, "\t\n");
			char cell[512];

			snprintf(cell, sizeof(cell), "%.*s", (int)len, p);
			if (pass && p[len] == '\t')
				print_cell(cell, widths[at], false);
			else if (pass)
				printf("%.*s\n", (int)len, p);
			else if (width(cell) > widths[at])
				widths[at] = width(cell);
			at = p[len] != '\t' ? 0 : at + (at + 1 < UM_ARRAY_LEN(widths));
			p += len;
			if (!*p)
				break;
		}
		at = 0;
	}
}

/* "table TEMPLATE": a line of titles before the others. */
static int print_template_table(struct um_arena *a, const struct um_json *rows,
				const char *template, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(16 << 20);
	struct um_json *titles = um_json_new_obj(a);
	int r;

	for (size_t i = 0; i < UM_ARRAY_LEN(columns); i++)
		um_json_set_str(a, titles, columns[i].key, columns[i].title);
	um_json_set_str(a, titles, "RunningFor", "CREATED");
	um_json_set_str(a, titles, "CreatedAt", "CREATED AT");
	um_json_set_str(a, titles, "State", "STATE");
	um_json_set_str(a, titles, "Labels", "LABELS");
	um_json_set_str(a, titles, "Networks", "NETWORKS");
	r = ctr_format(&b, template, titles, err);
	um_buf_addc(&b, '\n');
	um_json_foreach (row, rows) {
		if (r == 0)
			r = ctr_format(&b, template, row, err);
		um_buf_addc(&b, '\n');
	}
	if (r == 0)
		print_lines(um_buf_str(&b));
	return r;
}

static int print_formatted(struct um_arena *a, const struct um_json *rows, struct um_error *err)
{
	bool json = !strcmp(o.format, "json") || !strcmp(o.format, "{{json .}}");

	if (!strncmp(o.format, "table ", 6))
		return print_template_table(a, rows, o.format + 6, err);
	um_json_foreach (row, rows) {
		_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
		int r = json ? um_json_write(&b, row) : ctr_format(&b, o.format, row, err);

		if (r < 0)
			return r;
		puts(um_buf_str(&b));
	}
	return 0;
}

static int run_ps(um_unused int argc, um_unused char **argv)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(256 << 20);
	_cleanup_(ctr_vec_release) ctr_vec all = UM_VEC_INIT;
	struct um_json *rows = um_json_new_arr(a);
	struct um_error err = UM_ERROR_INIT;
	bool by_status = false;
	int limit = 0, n = 0;
	int r = ctr_env_open(&err);

	if (o.size)
		return ctr_usage_error(NULL, 1, "--size is not supported");
	if (o.last && um_num_int(o.last, -1, 1 << 30, &limit) < 0)
		return ctr_usage_error(NULL, 1, "invalid argument \"%s\" for \"-n, --last\" flag",
				       o.last);
	if (check_filters(&by_status))
		return 1;
	if (o.latest)
		limit = 1;
	r = r < 0 ? r : ctr_heal(&err);
	r = r < 0 ? r : ctr_load_all(&all, &err);
	um_vec_foreach (c, &all) {
		struct ctr_live l;
		struct um_json *it;

		if (r < 0 || (limit > 0 && n >= limit))
			break;
		if (!ctr_look(*c, &l))
			continue;
		if (!o.all && !by_status && limit <= 0 && !ctr_live_up(&l))
			continue;
		it = ctr_inspect(a, *c, &l);
		if (!match(it))
			continue;
		n++;
		um_json_append(rows, ctr_ps_row(a, it));
	}
	if (r == 0 && um_arena_failed(a))
		r = um_error_errno(&err, -ENOMEM, "ps");
	if (r == 0 && o.format && strcmp(o.format, "table"))
		r = print_formatted(a, rows, &err);
	else if (r == 0 && o.quiet)
		um_json_foreach (row, rows)
			puts(um_json_get_str(row, "ID", ""));
	else if (r == 0)
		print_table(rows);
	return r < 0 ? ctr_fail(&err) : 0;
}

static const struct ctr_opt opts[] = {
	{'a', "all", CTR_OPT_FLAG, NULL, "also those that do not run", &o.all},
	{'q', "quiet", CTR_OPT_FLAG, NULL, "ids only", &o.quiet},
	{'f', "filter", CTR_OPT_LIST, "KEY=VALUE",
	 "name, id, status, label, ancestor, network, exited", &o.filter},
	{0, "format", CTR_OPT_TEXT, "FORMAT", "json, table or a template: {{.Names}}", &o.format},
	{0, "no-trunc", CTR_OPT_FLAG, NULL, "everything in full", &o.no_trunc},
	{'n', "last", CTR_OPT_TEXT, "N", "the newest N, whatever their state", &o.last},
	{'l', "latest", CTR_OPT_FLAG, NULL, "the newest, whatever its state", &o.latest},
	{'s', "size", CTR_OPT_FLAG, NULL, "not supported", &o.size},
	{0, NULL, CTR_OPT_FLAG, NULL, NULL, NULL},
};
const struct ctr_verb ctr_verb_ps = {"ps",  "[OPTIONS]", "List containers", opts, 0, 0,
				     false, run_ps};
