/* Turns the notation of *.schema (docs/schema-notation.md) into constant C tables, at build time.
 * Usage: gen FILE... > tables.c. A mistake in the notation ends it with file and line. */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MAX_FIELDS 8000
#define MAX_TYPES 2000
#define MAX_KINDS 200
#define MAX_GROUPS 40
#define POOL_SIZE (1 << 20)

struct field {
	unsigned name, text, def, values, allow, merge_key, list_keys, ref;
	long min, max;
	unsigned number, type;
	char flags[300];
	const char *base, *card, *list, *format;
	int line;
	const char *file;
};

struct type {
	unsigned name, text, first, n, group;
};

struct kind {
	unsigned group, kind, plural, shorts, cats, subs, selects;
	bool namespaced, is_volatile, is_virtual, status, generation, body;
	int line;
	const char *file;
};

static char pool[POOL_SIZE];
static size_t pool_len = 1;
static struct field fields[MAX_FIELDS];
static struct type types[MAX_TYPES];
static struct kind kinds[MAX_KINDS];
static struct {
	unsigned group, version, prefix;
} groups[MAX_GROUPS];
static unsigned n_fields, n_types, n_kinds, n_groups;
static const char *file;
static int line;

static void die(const char *what, const char *text)
{
	fprintf(stderr, "%s:%d: %s: %s\n", file, line, what, text);
	exit(1);
}

/* Each text once. */
static unsigned intern_n(const char *s, size_t len)
{
	size_t at;

	if (!len)
		return 0;
	for (at = 1; at < pool_len; at += strlen(pool + at) + 1)
		if (!strncmp(pool + at, s, len) && !pool[at + len])
			return (unsigned)at;
	if (pool_len + len + 1 > sizeof(pool))
		die("string pool is full", s);
	memcpy(pool + pool_len, s, len);
	pool[pool_len + len] = '\0';
	at = pool_len;
	pool_len += len + 1;
	return (unsigned)at;
}

static unsigned intern(const char *s)
{
	return intern_n(s, strlen(s));
}

struct word {
	const char *word, *c;
};

static const char *look_up(const struct word *table, size_t n, const char *s, const char *what)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (!strcmp(table[i].word, s))
			return table[i].c;
	die(what, s);
	return NULL;
}

static const struct word bases[] = {
	{"string", "UM_SB_STRING"}, {"int32", "UM_SB_INT32"},	{"int64", "UM_SB_INT64"},
	{"bool", "UM_SB_BOOL"},	    {"double", "UM_SB_DOUBLE"}, {"quantity", "UM_SB_QUANTITY"},
	{"intstr", "UM_SB_INTSTR"}, {"time", "UM_SB_TIME"},	{"microtime", "UM_SB_MICROTIME"},
	{"bytes", "UM_SB_BYTES"},   {"raw", "UM_SB_RAW"},
};

static const struct word formats[] = {
	{"dns-label", "UM_SF_DNS_LABEL"},
	{"dns-subdomain", "UM_SF_DNS_SUBDOMAIN"},
	{"qualified", "UM_SF_QUALIFIED"},
	{"labels", "UM_SF_LABELS"},
	{"label-value", "UM_SF_LABEL_VALUE"},
	{"port", "UM_SF_PORT"},
	{"port0", "UM_SF_PORT0"},
	{"port-name", "UM_SF_PORT_NAME"},
	{"env-name", "UM_SF_ENV_NAME"},
	{"config-key", "UM_SF_CONFIG_KEY"},
	{"relative-path", "UM_SF_RELATIVE_PATH"},
	{"ip", "UM_SF_IP"},
	{"nonneg", "UM_SF_NONNEG"},
	{"http-header", "UM_SF_HTTP_HEADER"},
};

static const struct word lists[] = {
	{"atomic", "UM_SL_ATOMIC"}, {"set", "UM_SL_SET"}, {"map", "UM_SL_MAP"}};

static void add_flag(struct field *f, const char *flag)
{
	size_t len = strlen(f->flags);

	snprintf(f->flags + len, sizeof(f->flags) - len, "%sUM_SFLAG_%s", len ? " | " : "", flag);
}

static long number(const char *s, long min, long max)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(s, &end, 10);
	if (!*s || *end || errno || v < min || v > max)
		die("not a number in range", s);
	return v;
}

static void patch_attribute(struct field *f, char *value)
{
	char *key = strchr(value, ':'), *save = NULL;

	if (key) {
		*key++ = '\0';
		f->merge_key = intern(key);
	}
	for (char *w = strtok_r(value, "+", &save); w; w = strtok_r(NULL, "+", &save)) {
		if (!strcmp(w, "merge"))
			add_flag(f, "MERGE");
		else if (!strcmp(w, "retainKeys"))
			add_flag(f, "RETAIN_KEYS");
		else if (!strcmp(w, "replace"))
			add_flag(f, "REPLACE");
		else
			die("unknown patch strategy", w);
	}
}

static void attribute(struct field *f, char *word)
{
	char *value = strchr(word, '=');

	if (value)
		*value++ = '\0';
	if (!strcmp(word, "required") && !value) {
		add_flag(f, "REQUIRED");
	} else if (!strcmp(word, "presence") && !value) {
		add_flag(f, "PRESENCE");
	} else if (!strcmp(word, "immutable") && !value) {
		add_flag(f, "IMMUTABLE");
	} else if (!strcmp(word, "unsupported")) {
		add_flag(f, "UNSUPPORTED");
		f->allow = value ? intern(value) : 0;
	} else if (!value) {
		die("unknown attribute", word);
	} else if (!strcmp(word, "enum")) {
		add_flag(f, "ENUM");
		f->values = intern(value);
	} else if (!strcmp(word, "default")) {
		add_flag(f, "DEFAULT");
		f->def = intern(value);
	} else if (!strcmp(word, "min")) {
		add_flag(f, "MIN");
		f->min = number(value, INT32_MIN, INT32_MAX);
	} else if (!strcmp(word, "max")) {
		add_flag(f, "MAX");
		f->max = number(value, INT32_MIN, INT32_MAX);
	} else if (!strcmp(word, "format")) {
		f->format = look_up(formats, LEN(formats), value, "unknown format");
	} else if (!strcmp(word, "list")) {
		char *keys = strchr(value, ':');

		if (keys) {
			*keys++ = '\0';
			f->list_keys = intern(keys);
		}
		f->list = look_up(lists, LEN(lists), value, "unknown list type");
	} else if (!strcmp(word, "patch")) {
		patch_attribute(f, value);
	} else {
		die("unknown attribute", word);
	}
}

static void field_type(struct field *f, const char *t)
{
	size_t i;

	f->card = "UM_SC_ONE";
	if (!strncmp(t, "[]", 2)) {
		f->card = "UM_SC_LIST";
		t += 2;
	} else if (!strncmp(t, "map:", 4)) {
		f->card = "UM_SC_MAP";
		t += 4;
	}
	if (isupper((unsigned char)*t)) {
		f->base = "UM_SB_OBJECT";
		f->ref = intern(t);
		return;
	}
	for (i = 0; i < LEN(bases); i++)
		if (!strcmp(bases[i].word, t))
			f->base = bases[i].c;
	if (!f->base)
		die("unknown type", t);
}

static struct field *new_field(void)
{
	struct field *f = &fields[n_fields];

	if (n_fields == MAX_FIELDS || !n_types)
		die("no room for, or no type above", "field");
	n_fields++;
	types[n_types - 1].n++;
	f->list = "UM_SL_NONE";
	f->format = "UM_SF_NONE";
	f->line = line;
	f->file = file;
	return f;
}

static void field_line(char *s, char *text)
{
	struct field *f = new_field();
	char *save = NULL, *name = strtok_r(s, " \t", &save);
	char *num = strtok_r(NULL, " \t", &save), *type = strtok_r(NULL, " \t", &save), *w;

	if (!name || !num || !type)
		die("a field needs name, number and type", name ? name : "");
	if (!strcmp(name, "-"))
		add_flag(f, "INLINE");
	else
		f->name = intern(name);
	f->number = (unsigned)number(num, 0, 65535);
	field_type(f, type);
	f->text = text ? intern(text) : 0;
	while ((w = strtok_r(NULL, " \t", &save)))
		attribute(f, w);
}

static struct type *new_type(const char *name, const char *text)
{
	struct type *t = &types[n_types];

	for (unsigned i = 0; i < n_types && n_groups; i++)
		if (!strcmp(pool + types[i].name, name) && types[i].group == n_groups - 1)
			die("type described twice", name);
	if (n_types == MAX_TYPES || !n_groups)
		die("no room for, or no group above", name);
	n_types++;
	t->name = intern(name);
	t->text = text ? intern(text) : 0;
	t->first = n_fields;
	t->group = n_groups - 1;
	return t;
}

static void kind_line(char *save, bool body)
{
	struct kind *k = &kinds[n_kinds];
	char *w = strtok_r(NULL, " \t", &save);

	if (!w || n_kinds == MAX_KINDS || !n_groups)
		die("a kind needs a name and a group", "");
	n_kinds++;
	*k = (struct kind){.group = n_groups - 1, .kind = intern(w), .body = body, .line = line};
	k->file = file;
	while ((w = strtok_r(NULL, " \t", &save))) {
		char *v = strchr(w, '=');

		if (v)
			*v++ = '\0';
		if (!strcmp(w, "namespaced"))
			k->namespaced = true;
		else if (!strcmp(w, "volatile"))
			k->is_volatile = true;
		else if (!strcmp(w, "virtual"))
			k->is_virtual = true;
		else if (!strcmp(w, "status"))
			k->status = true;
		else if (!strcmp(w, "generation"))
			k->generation = true;
		else if (v && !strcmp(w, "plural"))
			k->plural = intern(v);
		else if (v && !strcmp(w, "short"))
			k->shorts = intern(v);
		else if (v && !strcmp(w, "cat"))
			k->cats = intern(v);
		else if (v && !strcmp(w, "sub"))
			k->subs = intern(v);
		else if (v && !strcmp(w, "select"))
			k->selects = intern(v);
		else
			die("unknown word for a kind", w);
	}
	if (!body && !k->plural)
		die("a kind needs plural=", pool + k->kind);
}

static void group_line(char *save)
{
	char *g = strtok_r(NULL, " \t", &save), *v = strtok_r(NULL, " \t", &save);
	char *p = strtok_r(NULL, " \t", &save);

	if (!g || !v || !p || n_groups == MAX_GROUPS)
		die("group needs a name (- for core), version and OpenAPI prefix", "");
	groups[n_groups].group = strcmp(g, "-") ? intern(g) : 0;
	groups[n_groups].version = intern(v);
	groups[n_groups++].prefix = intern(p);
}

static void read_line(char *s)
{
	bool indented = *s == '\t' || *s == ' ';
	char *text = strstr(s, " : "), *save = NULL, *w;

	s[strcspn(s, "\n")] = '\0';
	if (text) {
		*text = '\0';
		text += 3;
	}
	if (*s == '#' || !s[strspn(s, " \t")])
		return;
	if (indented) {
		field_line(s, text);
		return;
	}
	w = strtok_r(s, " \t", &save);
	if (!strcmp(w, "group")) {
		group_line(save);
	} else if (!strcmp(w, "kind") || !strcmp(w, "body")) {
		kind_line(save, *w == 'b');
	} else if (!strcmp(w, "type")) {
		w = strtok_r(NULL, " \t", &save);
		if (!w)
			die("a type needs a name", "");
		new_type(w, text);
	} else {
		die("unknown line", w);
	}
}

/* The type of that name in the group, else the only one elsewhere. */
static int type_index(unsigned name, unsigned group)
{
	int found = -1;

	for (unsigned i = 0; i < n_types; i++) {
		if (types[i].name != name)
			continue;
		if (types[i].group == group)
			return (int)i;
		if (found >= 0)
			die("several groups have a type", pool + name);
		found = (int)i;
	}
	return found;
}

static void simple_field(const char *name, unsigned num, const char *type)
{
	struct field *f = new_field();

	f->name = intern(name);
	f->number = num;
	field_type(f, type);
}

/* PodList and its like are not written down. */
static void add_lists(void)
{
	unsigned n = n_kinds;

	for (unsigned i = 0; i < n; i++) {
		struct kind *k = &kinds[n_kinds];
		char name[200], items[210];

		if (kinds[i].body)
			continue;
		if (n_kinds == MAX_KINDS)
			die("too many kinds", "");
		snprintf(name, sizeof(name), "%sList", pool + kinds[i].kind);
		snprintf(items, sizeof(items), "[]%s", pool + kinds[i].kind);
		n_kinds++;
		*k = (struct kind){.group = kinds[i].group, .kind = intern(name), .body = true};
		new_type(name, "A list of objects.")->group = kinds[i].group;
		simple_field("apiVersion", 0, "string");
		simple_field("kind", 0, "string");
		simple_field("metadata", 1, "ListMeta");
		simple_field("items", 2, items);
	}
}

static void resolve_field(struct field *f, unsigned group)
{
	int t;

	file = f->file;
	line = f->line;
	t = type_index(f->ref, group);
	if (t < 0)
		die("no such type", pool + f->ref);
	f->type = (unsigned)t;
}

static void resolve(void)
{
	for (unsigned i = 0; i < n_types; i++)
		for (unsigned k = types[i].first; k < types[i].first + types[i].n; k++)
			if (fields[k].ref)
				resolve_field(&fields[k], types[i].group);
}

static void put_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			putchar('\\');
		putchar(*s);
	}
	putchar('"');
}

static void put_array(unsigned k, const char *what, unsigned csv)
{
	char copy[2000], *save = NULL;

	snprintf(copy, sizeof(copy), "%s", pool + csv);
	printf("static const char *const k%u_%s[] = {", k, what);
	for (char *w = strtok_r(copy, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
		put_string(w);
		printf(", ");
	}
	printf("NULL};\n");
}

static void put_kind(unsigned i)
{
	const struct kind *k = &kinds[i];
	int t = type_index(k->kind, k->group);
	char lower[200];
	size_t n = strlen(pool + k->kind);

	file = k->file ? k->file : "list";
	line = k->line;
	if (t < 0 || n >= sizeof(lower))
		die("a kind without a type", pool + k->kind);
	for (size_t c = 0; c <= n; c++)
		lower[c] = (char)tolower((unsigned char)pool[k->kind + c]);
	put_array(i, "short", k->shorts);
	put_array(i, "cats", k->cats);
	put_array(i, "subs", k->subs);
	put_array(i, "selects", k->selects);
	printf("static const struct um_schema_type k%u_type = {&um_schema_builtin, %d};\n", i, t);
	printf("static const struct um_kind k%u = {\"%s\", \"%s\", \"%s\", ", i,
	       pool + groups[k->group].group, pool + groups[k->group].version, pool + k->kind);
	if (k->body)
		printf("NULL, NULL, NULL, ");
	else
		printf("\"%sList\", \"%s\", \"%s\", ", pool + k->kind, pool + k->plural, lower);
	printf("k%u_short, k%u_cats, %d, %d, %d, %d, %d, %s, k%u_subs, k%u_selects, &k%u_type};\n",
	       i, i, k->namespaced, k->is_volatile, k->is_virtual, k->status, k->generation,
	       k->body	       ? "no_verbs"
	       : k->is_virtual ? "create_verbs"
			       : "all_verbs",
	       i, i, i);
}

static void put_kind_list(const char *name, bool body)
{
	unsigned n = 0;

	printf("const struct um_kind *const um_schema_builtin_%s[] = {", name);
	for (unsigned i = 0; i < n_kinds; i++) {
		if (kinds[i].body == body) {
			printf("&k%u, ", i);
			n++;
		}
	}
	printf("};\nconst unsigned um_schema_builtin_n_%s = %u;\n", name, n);
}

static void put_tables(void)
{
	printf("/* Made by api/schema/gen.c. */\n#include \"api/schema/tables.h\"\n\n"
	       "static const char strings[] =\n\t\"\\0\"");
	for (size_t at = 1; at < pool_len; at += strlen(pool + at) + 1) {
		printf("\n\t");
		put_string(pool + at);
		printf(" \"\\0\"");
	}
	printf(";\n\nstatic const struct um_sfield fields[] = {\n");
	for (unsigned i = 0; i < n_fields; i++) {
		const struct field *f = &fields[i];

		printf("\t{%u, %u, %u, %u, %u, %u, %u, %ld, %ld, %u, %u, %s, %s, %s, %s, %s},\n",
		       f->name, f->text, f->def, f->values, f->allow, f->merge_key, f->list_keys,
		       f->min, f->max, f->number, f->type, f->flags[0] ? f->flags : "0", f->base,
		       f->card, f->list, f->format);
	}
	printf("};\n\nstatic const struct um_stype types[] = {\n");
	for (unsigned i = 0; i < n_types; i++)
		printf("\t{%u, %u, %u, %u, %u},\n", types[i].name, types[i].text, types[i].first,
		       types[i].n, types[i].group);
	printf("};\n\nstatic const struct um_sgroup groups[] = {\n");
	for (unsigned i = 0; i < n_groups; i++)
		printf("\t{%u, %u, %u},\n", groups[i].group, groups[i].version, groups[i].prefix);
	printf("};\n\nconst struct um_schema_set um_schema_builtin = {strings, fields, types, "
	       "groups, "
	       "%u, %u, %u};\n\n",
	       n_fields, n_types, n_groups);
	printf("static const char *const all_verbs[] = {\"create\", \"delete\", "
	       "\"deletecollection\", "
	       "\"get\", \"list\", \"patch\", \"update\", \"watch\", NULL};\n"
	       "static const char *const create_verbs[] = {\"create\", NULL};\n"
	       "static const char *const no_verbs[] = {NULL};\n");
	for (unsigned i = 0; i < n_kinds; i++)
		put_kind(i);
	put_kind_list("kinds", false);
	put_kind_list("bodies", true);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char buf[4000];
		FILE *f = fopen(argv[i], "r");

		file = argv[i];
		line = 0;
		if (!f)
			die("cannot open", strerror(errno));
		while (fgets(buf, sizeof(buf), f)) {
			line++;
			if (!strchr(buf, '\n'))
				die("line too long or without end", buf);
			read_line(buf);
		}
		fclose(f);
	}
	add_lists();
	resolve();
	put_tables();
	return fflush(stdout) ? 1 : 0;
}
