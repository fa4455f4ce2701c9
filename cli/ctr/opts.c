/* Options as Docker's users write them: -it, -p8080:80, --name x, --name=x, --rm=false. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/ctr/ctr.h"

static const struct ctr_opt common[] = {
	{0, "root", CTR_OPT_TEXT, "DIR", "puts DIR before the folders that nothing else names",
	 &ctr_env.root},
	{0, "state-dir", CTR_OPT_TEXT, "DIR", "containers, what is kept of them", &ctr_env.state},
	{0, "run-dir", CTR_OPT_TEXT, "DIR", "sockets and bundles of running containers",
	 &ctr_env.run},
	{0, "images-dir", CTR_OPT_TEXT, "DIR", "the image store", &ctr_env.images_dir},
	{0, "volumes-dir", CTR_OPT_TEXT, "DIR", "volumes", &ctr_env.volumes},
	{0, "cgroup-parent", CTR_OPT_TEXT, "NAME", "the group that all containers are in",
	 &ctr_env.cgroup_parent},
	{0, "libexec-dir", CTR_OPT_TEXT, "DIR", "umiak-shim and umiak-oci", &ctr_env.libexec},
	{0, "container-range", CTR_OPT_TEXT, "CIDR", "addresses of containers [10.245.0.0/16]",
	 &ctr_env.range},
	{0, "config", CTR_OPT_TEXT, "FILE", "YAML whose keys are the flags above but --root",
	 &ctr_env.config},
	{0, NULL, CTR_OPT_FLAG, NULL, NULL, NULL},
};

static const struct ctr_verb *now; /* whose options are read */

static void usage(const struct ctr_verb *v, FILE *f)
{
	const struct ctr_opt *tables[] = {v->opts, common};

	fprintf(f, "Usage:  umiak ctr %s %s\n\n%s\n\nOptions:\n", v->name, v->usage, v->summary);
	for (size_t t = 0; t < UM_ARRAY_LEN(tables); t++) {
		for (const struct ctr_opt *o = tables[t]; o && o->name; o++) {
			char left[64], letter[8] = "    ";

			if (o->letter)
				snprintf(letter, sizeof(letter), "-%c, ", o->letter);
			snprintf(left, sizeof(left), "%s--%s%s%s", letter, o->name,
				 o->value_name ? " " : "", o->value_name ? o->value_name : "");
			fprintf(f, "  %-30s %s\n", left, o->help);
		}
	}
	fputs("      --help\n", f);
}

int ctr_usage_error(const struct ctr_verb *v, int code, const char *fmt, ...)
{
	va_list ap;

	fputs("umiak: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nSee 'umiak ctr %s --help'.\n", (v ? v : now)->name);
	return code;
}

int ctr_fail(const struct um_error *err)
{
	fprintf(stderr, "Error: %s\n", err->msg);
	return 1;
}

static int set_flag(const struct ctr_opt *o, const char *text)
{
	static const char *const yes[] = {"true", "1", "t", "T", "TRUE", "True"};
	static const char *const no[] = {"false", "0", "f", "F", "FALSE", "False"};

	for (size_t i = 0; i < UM_ARRAY_LEN(yes); i++) {
		if (!text || !strcmp(text, yes[i])) {
			*(bool *)o->to = true;
			return 0;
		}
		if (!strcmp(text, no[i])) {
			*(bool *)o->to = false;
			return 0;
		}
	}
	return -1;
}

static int set(const struct ctr_opt *o, const char *text)
{
	if (o->kind == CTR_OPT_FLAG)
		return set_flag(o, text);
	if (o->kind == CTR_OPT_LIST)
		return um_vec_push((ctr_list *)o->to, text);
	*(const char **)o->to = text;
	return 0;
}

static const struct ctr_opt *find(const struct ctr_verb *v, const char *name, size_t len,
				  char letter)
{
	const struct ctr_opt *tables[] = {v->opts, common};

	for (size_t t = 0; t < UM_ARRAY_LEN(tables); t++)
		for (const struct ctr_opt *o = tables[t]; o && o->name; o++)
			if (letter ? o->letter == letter
				   : strlen(o->name) == len && !memcmp(o->name, name, len))
				return o;
	return NULL;
}

static int bad_value(const struct ctr_verb *v, const struct ctr_opt *o, const char *text)
{
	return ctr_usage_error(v, CTR_EXIT_OURS, "invalid argument \"%s\" for \"--%s\" flag",
			       text ? text : "", o->name);
}

/* --name, --name=value, --name value; *at is moved over a value. -1 or an exit code. */
static int long_option(const struct ctr_verb *v, char **argv, int argc, int *at)
{
	const char *arg = argv[*at], *value = strchr(arg, '=');
	size_t len = (value ? (size_t)(value - arg) : strlen(arg)) - 2;
	const struct ctr_opt *o = find(v, arg + 2, len, 0);

	if (len == 4 && !memcmp(arg + 2, "help", 4)) {
		usage(v, stdout);
		return 0;
	}
	if (!o)
		return ctr_usage_error(v, CTR_EXIT_OURS, "unknown flag: %.*s", (int)len + 2, arg);
	if (value)
		value++;
	else if (o->kind != CTR_OPT_FLAG && *at + 1 < argc)
		value = argv[++*at];
	else if (o->kind != CTR_OPT_FLAG)
		return ctr_usage_error(v, CTR_EXIT_OURS, "flag needs an argument: %s", arg);
	return set(o, value) < 0 ? bad_value(v, o, value) : -1;
}

/* -it, -p80:80, -p 80:80, -t=false. */
static int short_options(const struct ctr_verb *v, char **argv, int argc, int *at)
{
	const char *arg = argv[*at];

	for (const char *p = arg + 1; *p; p++) {
		const struct ctr_opt *o = find(v, NULL, 0, *p);
		const char *value = p[1] == '=' ? p + 2 : p[1] ? p + 1 : NULL;

		if (!o)
			return ctr_usage_error(v, CTR_EXIT_OURS,
					       "unknown shorthand flag: '%c' in %s", *p, arg);
		if (o->kind == CTR_OPT_FLAG) {
			value = p[1] == '=' ? p + 2 : NULL;
			if (set(o, value) < 0)
				return bad_value(v, o, value);
			if (value)
				break;
			continue;
		}
		if (!value && *at + 1 < argc)
			value = argv[++*at];
		if (!value)
			return ctr_usage_error(v, CTR_EXIT_OURS,
					       "flag needs an argument: '%c' in %s", *p, arg);
		if (set(o, value) < 0)
			return bad_value(v, o, value);
		break;
	}
	return -1;
}

/* Moves the arguments to the front: their number, or -1 with an exit code. */
static int parse(const struct ctr_verb *v, int argc, char **argv, int *ret_code)
{
	int n = 0, code = -1, i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--")) {
			i++;
			break;
		}
		if (argv[i][0] != '-' || !argv[i][1]) {
			if (v->no_permute)
				break;
			argv[n++] = argv[i];
			continue;
		}
		code = argv[i][1] == '-' ? long_option(v, argv, argc, &i)
					 : short_options(v, argv, argc, &i);
		if (code >= 0) {
			*ret_code = code;
			return -1;
		}
	}
	while (i < argc)
		argv[n++] = argv[i++];
	argv[n] = NULL;
	return n;
}

static int count_error(const struct ctr_verb *v, int n)
{
	int want = n < v->min_args ? v->min_args : v->max_args;

	return ctr_usage_error(v, v->no_permute ? CTR_EXIT_OURS : 1,
			       "'umiak ctr %s' requires %s%d argument%s", v->name,
			       v->min_args == v->max_args ? ""
			       : n < v->min_args	  ? "at least "
							  : "at most ",
			       want, want == 1 ? "" : "s");
}

int ctr_run_verb(const struct ctr_verb *v, int argc, char **argv)
{
	int code = 0, n;

	now = v;
	n = parse(v, argc, argv, &code);
	if (n < 0)
		return code;
	if (n < v->min_args || (v->max_args >= 0 && n > v->max_args))
		return count_error(v, n);
	return v->run(n, argv);
}
