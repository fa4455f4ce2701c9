#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/num.h"
#include "base/yaml.h"
#include "cli/cli.h"
#include "netns/range.h"

#define OPTIONS_MAX 64
#define CONFIG_MAX_BYTES (1 << 20)

static void usage(const char *verb, const struct cli_option *options, FILE *f)
{
	fprintf(f, "usage: umiak %s [options]\n", verb);
	for (const struct cli_option *o = options; o->name; o++) {
		char left[64];

		snprintf(left, sizeof(left), "--%s%s%s", o->name, o->value_name ? " " : "",
			 o->value_name ? o->value_name : "");
		fprintf(f, "  %-33s %s", left, o->help);
		if (o->value_name && *o->value && **o->value)
			fprintf(f, " [%s]", *o->value);
		fputc('\n', f);
	}
	fputs("  --config FILE                     YAML whose keys are these flags; flags win\n"
	      "  --help                            tell this\n",
	      f);
}

int cli_fail(const char *verb, const struct um_error *err)
{
	fprintf(stderr, "umiak %s: %s\n", verb, err->msg);
	return um_exit_code(err);
}

const char *cli_log_level = "info", *cli_log_format = "text";

int cli_start_log(const char *component)
{
	static const char *const levels[] = {"error", "warn", "info", "debug"};
	bool json = !strcmp(cli_log_format, "json");

	for (size_t i = 0; i < UM_ARRAY_LEN(levels); i++) {
		if (strcmp(cli_log_level, levels[i]) || (!json && strcmp(cli_log_format, "text")))
			continue;
		um_log_init(component, (enum um_log_level)i, json ? UM_LOG_JSON : UM_LOG_TEXT);
		return 0;
	}
	fprintf(stderr, "umiak %s: --log-level %s or --log-format %s is unknown\n", component,
		cli_log_level, cli_log_format);
	return -1;
}

void cli_end_with_up(void)
{
	const char *text = getenv(CLI_UP_PID);
	int up;

	if (!text || um_num_int(text, 1, INT_MAX, &up) < 0)
		return;
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != up)
		raise(SIGTERM);
	unsetenv(CLI_UP_PID);
}

static const struct cli_option *find(const struct cli_option *options, const char *name)
{
	for (; options->name; options++)
		if (!strcmp(options->name, name))
			return options;
	return NULL;
}

static bool is_list(const struct cli_option *o)
{
	size_t len = o->value_name ? strlen(o->value_name) : 0;

	return len > 3 && !strcmp(o->value_name + len - 3, "...");
}

/* Behind what the list has. */
static int append(const struct cli_option *o, const char *value)
{
	size_t n = 0;

	while (o->value[n])
		n++;
	if (n == CLI_LIST_MAX)
		return -E2BIG;
	o->value[n] = value;
	o->value[n + 1] = NULL;
	return 0;
}

static bool is_text(const struct um_json *v)
{
	return v->type == UM_JSON_STR || v->type == UM_JSON_NUM;
}

static int set_list(const struct cli_option *o, const struct um_json *list, const char *path,
		    struct um_error *err)
{
	um_json_foreach (it, list) {
		if (!is_text(it))
			return um_error_set(err, -EINVAL, "%s: %s: want texts or numbers", path,
					    o->name);
		if (append(o, it->str) < 0)
			return um_error_set(err, -E2BIG, "%s: %s: more than %d", path, o->name,
					    CLI_LIST_MAX);
	}
	return 0;
}

static int set_from_file(const struct cli_option *options, const struct um_json *it,
			 const char *path, struct um_error *err)
{
	const struct cli_option *o = find(options, it->key);

	if (!o)
		return um_error_set(err, -EINVAL, "%s: unknown key \"%s\"", path, it->key);
	if (is_list(o))
		o->value[0] = NULL;
	if (is_list(o) && it->type == UM_JSON_ARR)
		return set_list(o, it, path, err);
	if (is_list(o) && is_text(it))
		return append(o, it->str);
	if (!o->value_name && it->type == UM_JSON_BOOL)
		*o->value = it->boolean ? "true" : NULL;
	else if (o->value_name && !is_list(o) && is_text(it))
		*o->value = it->str;
	else
		return um_error_set(err, -EINVAL, "%s: %s: want %s", path, it->key,
				    is_list(o)	    ? "a list of texts or numbers"
				    : o->value_name ? "a text or number"
						    : "true or false");
	return 0;
}

int cli_read_config(const struct cli_option *options, const char *path, bool optional,
		    struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(CONFIG_MAX_BYTES);
	static struct um_arena *a; /* of the process: the values point into it */
	struct um_json *docs;
	int r;

	if (optional && access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	if (!a)
		a = um_arena_new(4 << 20);
	if (!a)
		return um_error_errno(err, -ENOMEM, "%s", path);
	r = um_io_read_file(AT_FDCWD, path, &b, err);
	if (r < 0)
		return r;
	r = um_yaml_parse(a, um_buf_str(&b), b.len, &docs, err);
	if (r < 0)
		return um_error_wrap(err, r, "%s", path);
	if (docs->len > 1 || (docs->len && !um_json_is(docs->first, UM_JSON_OBJ)))
		return um_error_set(err, -EINVAL, "%s: want one document of key: value", path);
	if (!docs->len)
		return 0;
	um_json_foreach (it, docs->first) {
		r = set_from_file(options, it, path, err);
		if (r < 0)
			return r;
	}
	return 0;
}

struct parse {
	const char *verb;
	const struct cli_option *options;
	struct option longs[OPTIONS_MAX + 3];
	const char *config, *root; /* of the command line */
	bool given[OPTIONS_MAX];
};

/* One flag. With @set its value is taken, before only what says where the file is. -1 to go on. */
static int take(struct parse *p, int c, int index, bool set)
{
	const struct cli_option *o;

	if (c == 'h') {
		usage(p->verb, p->options, stdout);
		return UM_EXIT_OK;
	}
	if (c == 'C')
		p->config = optarg;
	if (c == 'C')
		return -1;
	if (c != 'o')
		return UM_EXIT_USAGE;
	o = &p->options[index];
	if (!set && !strcmp(o->name, "root"))
		p->root = optarg;
	if (!set)
		return -1;
	if (!is_list(o)) {
		*o->value = o->value_name ? optarg : "true";
		return -1;
	}
	if (!p->given[index])
		o->value[0] = NULL;
	p->given[index] = true;
	if (append(o, optarg) == 0)
		return -1;
	fprintf(stderr, "umiak %s: --%s: more than %d\n", p->verb, o->name, CLI_LIST_MAX);
	return UM_EXIT_USAGE;
}

static int read_flags(struct parse *p, int argc, char **argv, bool set)
{
	int c, index = 0, code = -1;

	optind = 0;
	while (code < 0 && (c = getopt_long(argc, argv, "", p->longs, &index)) != -1)
		code = take(p, c, index, set);
	return code;
}

/* First where the file is, then the file, then the flags over it. */
int cli_parse_node(const char *verb, const struct cli_option *options, const char *config, int argc,
		   char **argv)
{
	struct parse p = {.verb = verb, .options = options};
	struct um_error err = UM_ERROR_INIT;
	char path[4200];
	int n = 0, code, r = 0;

	for (; options[n].name && n < OPTIONS_MAX; n++)
		p.longs[n] =
			(struct option){options[n].name, options[n].value_name != NULL, NULL, 'o'};
	p.longs[n] = (struct option){"config", 1, NULL, 'C'};
	p.longs[n + 1] = (struct option){"help", 0, NULL, 'h'};
	code = read_flags(&p, argc, argv, false);
	if (code >= 0)
		return code;
	if (p.config)
		r = cli_read_config(options, p.config, false, &err);
	else if (config)
		r = um_io_path(path, sizeof(path), "%s%s", p.root ? p.root : "", config);
	if (!p.config && config)
		r = r < 0 ? um_error_errno(&err, r, "--root")
			  : cli_read_config(options, path, true, &err);
	if (r < 0) {
		cli_fail(verb, &err);
		return UM_EXIT_USAGE;
	}
	code = read_flags(&p, argc, argv, true);
	if (code >= 0 || optind == argc)
		return code;
	fprintf(stderr, "umiak %s: unexpected argument \"%s\"\n", verb, argv[optind]);
	return UM_EXIT_USAGE;
}

int cli_parse(const char *verb, const struct cli_option *options, int argc, char **argv)
{
	return cli_parse_node(verb, options, NULL, argc, argv);
}

#define CLUSTER_DNS 10 /* of the range's addresses */

int cli_cluster_dns(const char **address, const char *service_range, struct um_error *err)
{
	static char text[INET_ADDRSTRLEN];
	struct um_error ignored = UM_ERROR_INIT;
	struct um_range range;
	uint32_t addr;

	if (*address && !strcmp(*address, "none")) {
		*address = NULL;
		return 0;
	}
	if (um_range_parse("service range", service_range, &range, &ignored) < 0 ||
	    range.prefix > 28)
		return um_error_set(err, -EINVAL,
				    "service range %s: must be an IPv4 network like 10.96.0.0/16, "
				    "from /8 to /28",
				    service_range);
	addr = range.base + CLUSTER_DNS;
	if (*address && um_range_parse_addr(*address, &addr) < 0)
		return um_error_set(err, -EINVAL,
				    "--cluster-dns \"%s\": want an IPv4 address or none", *address);
	if (!um_range_has(&range, addr) || addr <= range.base + 1 || addr == um_range_last(&range))
		return um_error_set(err, -EINVAL,
				    "--cluster-dns: it must be an address of the service range %s, "
				    "and not its first, its second (the API's) or its last",
				    service_range);
	um_range_format_addr(addr, text);
	*address = text;
	return 0;
}
