#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/log.h"
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
		fprintf(f, "  %-26s %s", left, o->help);
		if (o->value_name && *o->value)
			fprintf(f, " [%s]", *o->value);
		fputc('\n', f);
	}
	fputs("  --config FILE              YAML whose keys are these flags; flags win\n"
	      "  --help\n",
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

static const struct cli_option *find(const struct cli_option *options, const char *name)
{
	for (; options->name; options++)
		if (!strcmp(options->name, name))
			return options;
	return NULL;
}

static int set_from_file(const struct cli_option *options, const struct um_json *it,
			 const char *path, struct um_error *err)
{
	const struct cli_option *o = find(options, it->key);

	if (!o)
		return um_error_set(err, -EINVAL, "%s: unknown key \"%s\"", path, it->key);
	if (!o->value_name && it->type == UM_JSON_BOOL)
		*o->value = it->boolean ? "true" : NULL;
	else if (o->value_name && (it->type == UM_JSON_STR || it->type == UM_JSON_NUM))
		*o->value = it->str;
	else
		return um_error_set(err, -EINVAL, "%s: %s: want %s", path, it->key,
				    o->value_name ? "a text or number" : "true or false");
	return 0;
}

static int read_config(const struct cli_option *options, const char *path, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(CONFIG_MAX_BYTES);
	struct um_arena *a = um_arena_new(4 << 20); /* kept: the values point into it */
	struct um_json *docs;
	int r;

	if (!a)
		return um_error_errno(err, -ENOMEM, "%s", path);
	r = um_io_read_file(AT_FDCWD, path, &b, err);
	if (r == 0)
		r = um_yaml_parse(a, um_buf_str(&b), b.len, &docs, err);
	if (r < 0)
		return um_error_wrap(err, r, "%s", path);
	if (docs->len > 1 || (docs->len && !um_json_is(docs->first, UM_JSON_OBJ)))
		return um_error_set(err, -EINVAL, "%s: want one document of key: value", path);
	um_json_foreach (it, docs->first) {
		r = set_from_file(options, it, path, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int cli_parse(const char *verb, const struct cli_option *options, int argc, char **argv)
{
	struct option longs[OPTIONS_MAX + 3] = {{0}};
	struct um_error err = UM_ERROR_INIT;
	int n = 0, c, index;

	for (; options[n].name && n < OPTIONS_MAX; n++)
		longs[n] =
			(struct option){options[n].name, options[n].value_name != NULL, NULL, 'o'};
	longs[n] = (struct option){"config", 1, NULL, 'C'};
	longs[n + 1] = (struct option){"help", 0, NULL, 'h'};
	for (int pass = 0; pass < 2; pass++) { /* first the file, then the flags over it */
		optind = 1;
		while ((c = getopt_long(argc, argv, "", longs, &index)) != -1) {
			if (c == 'h') {
				usage(verb, options, stdout);
				return UM_EXIT_OK;
			}
			if (c == 'C' && pass == 0 && read_config(options, optarg, &err) < 0) {
				cli_fail(verb, &err);
				return UM_EXIT_USAGE;
			}
			if (c == 'o' && pass == 1)
				*options[index].value = options[index].value_name ? optarg : "true";
			if (c == '?')
				return UM_EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "umiak %s: unexpected argument \"%s\"\n", verb, argv[optind]);
		return UM_EXIT_USAGE;
	}
	return -1;
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
