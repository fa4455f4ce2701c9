/* Label and field selectors, in Kubernetes' syntax. */
#include <string.h>

#include "api/internal.h"
#include "base/num.h"

enum op { OP_EQ, OP_NE, OP_IN, OP_NOT_IN, OP_EXISTS, OP_ABSENT, OP_GT, OP_LT };

struct term {
	enum op op;
	const char *key;
	const char **values;
	unsigned n;
	int64_t number;
	struct term *next;
};

struct um_selector {
	struct term *labels, *fields;
};

/* ---- label selectors: a=b, a==b, a!=b, a in (x,y), a notin (x), a, !a, a>1, a<1 ---- */

struct scan {
	struct um_arena *a;
	const char *text, *s;
	struct um_error *err;
};

static void blanks(struct scan *sc)
{
	sc->s += strspn(sc->s, " \t\r\n");
}

static int bad(struct scan *sc, const char *what)
{
	return um_error_set_reason(sc->err, UM_REASON_BAD_REQUEST, -EINVAL,
				   "unable to parse requirement: %s in \"%s\"", what, sc->text);
}

static const char *word(struct scan *sc)
{
	size_t n;

	blanks(sc);
	n = strcspn(sc->s, " \t\r\n,=!()<>");
	sc->s += n;
	return um_arena_strndup(sc->a, sc->s - n, n);
}

static bool label_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A label value or the name part of a key. */
static bool name_ok(const char *s, size_t n, bool empty_ok)
{
	if (!n)
		return empty_ok;
	if (n > 63 || !label_char(s[0]) || !label_char(s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!label_char(s[i]) && !strchr("-_.", s[i]))
			return false;
	return true;
}

static bool key_ok(const char *s)
{
	const char *slash = strchr(s, '/');

	if (!slash)
		return name_ok(s, strlen(s), false);
	if (slash == s || slash - s > 253 || strchr(slash + 1, '/'))
		return false;
	for (const char *c = s; c < slash; c++)
		if (!label_char(*c) && *c != '-' && *c != '.')
			return false;
	return name_ok(slash + 1, strlen(slash + 1), false);
}

static int values(struct scan *sc, struct term *t)
{
	enum { MAX = 256 };

	t->values = um_arena_alloc(sc->a, MAX * sizeof(*t->values));
	if (!t->values)
		return -ENOMEM;
	blanks(sc);
	if (*sc->s++ != '(')
		return bad(sc, "'(' expected");
	do {
		const char *v = word(sc);

		if (!v || t->n == MAX)
			return bad(sc, "too many values");
		if (!name_ok(v, strlen(v), true))
			return bad(sc, "invalid label value");
		t->values[t->n++] = v;
		blanks(sc);
	} while (*sc->s == ',' && sc->s++);
	if (*sc->s++ != ')')
		return bad(sc, "')' expected");
	return 0;
}

static int one_value(struct scan *sc, struct term *t)
{
	const char *v = word(sc);

	t->values = um_arena_alloc(sc->a, sizeof(*t->values));
	if (!v || !t->values)
		return -ENOMEM;
	if (!name_ok(v, strlen(v), true))
		return bad(sc, "invalid label value");
	t->values[0] = v;
	t->n = 1;
	if (t->op != OP_GT && t->op != OP_LT)
		return 0;
	return um_num_i64(v, INT64_MIN, INT64_MAX, &t->number) < 0 ? bad(sc, "not a number") : 0;
}

static int operator_of(struct scan *sc, struct term *t)
{
	static const struct {
		const char *text;
		enum op op;
	} ops[] = {{"==", OP_EQ}, {"!=", OP_NE}, {"=", OP_EQ}, {">", OP_GT}, {"<", OP_LT}};
	const char *w;

	blanks(sc);
	if (!*sc->s || *sc->s == ',') {
		t->op = OP_EXISTS;
		return 0;
	}
	for (size_t i = 0; i < UM_ARRAY_LEN(ops); i++) {
		if (strncmp(sc->s, ops[i].text, strlen(ops[i].text)))
			continue;
		t->op = ops[i].op;
		sc->s += strlen(ops[i].text);
		return one_value(sc, t);
	}
	w = word(sc);
	if (w && !strcmp(w, "in"))
		t->op = OP_IN;
	else if (w && !strcmp(w, "notin"))
		t->op = OP_NOT_IN;
	else
		return bad(sc, "found no operator");
	return values(sc, t);
}

static int label_term(struct scan *sc, struct term *t)
{
	bool absent;

	blanks(sc);
	absent = *sc->s == '!';
	sc->s += absent;
	t->key = word(sc);
	if (!t->key || !key_ok(t->key))
		return bad(sc, "invalid label key");
	if (!absent)
		return operator_of(sc, t);
	t->op = OP_ABSENT;
	return 0;
}

static int parse_labels(struct scan *sc, struct term **list)
{
	blanks(sc);
	if (!*sc->s)
		return 0;
	for (;;) {
		struct term *t = um_arena_new_of(sc->a, struct term);
		int r = t ? label_term(sc, t) : -ENOMEM;

		if (r < 0)
			return r;
		*list = t;
		list = &t->next;
		blanks(sc);
		if (!*sc->s)
			return 0;
		if (*sc->s++ != ',')
			return bad(sc, "',' expected");
	}
}

/* ---- field selectors: path=value, path==value, path!=value; \, \= and \\ are escapes ---- */

static bool known_field(const struct um_kind *k, const char *path)
{
	if (!strcmp(path, "metadata.name") ||
	    (k->namespaced && !strcmp(path, "metadata.namespace")))
		return true;
	for (const char *const *s = k->field_selectors; s && *s; s++)
		if (!strcmp(*s, path))
			return true;
	return false;
}

static const char *unescape(struct um_arena *a, const char *s, size_t n)
{
	char *out = um_arena_strndup(a, s, n), *to = out;

	for (size_t i = 0; out && i < n; i++) {
		if (s[i] == '\\' && i + 1 < n)
			i++;
		*to++ = s[i];
	}
	if (out)
		*to = '\0';
	return out;
}

static int field_term(struct scan *sc, const struct um_kind *k, const char *s, size_t n,
		      struct term *t)
{
	const char *eq = s;

	while (eq < s + n && *eq != '=' && *eq != '!')
		eq++;
	if (eq == s + n || (*eq == '!' && eq[1] != '='))
		return um_error_set_reason(sc->err, UM_REASON_BAD_REQUEST, -EINVAL,
					   "invalid selector: '%.*s'; can't understand '%.*s'",
					   (int)n, s, (int)n, s);
	t->op = *eq == '!' ? OP_NE : OP_EQ;
	t->key = um_arena_strndup(sc->a, s, (size_t)(eq - s));
	eq += *eq == '!' || eq[1] == '=' ? 2 : 1;
	t->values = um_arena_alloc(sc->a, sizeof(*t->values));
	if (!t->key || !t->values)
		return -ENOMEM;
	t->n = 1;
	t->values[0] = unescape(sc->a, eq, (size_t)(s + n - eq));
	if (!t->values[0])
		return -ENOMEM;
	if (!known_field(k, t->key))
		return um_error_set_reason(sc->err, UM_REASON_BAD_REQUEST, -EINVAL,
					   "field label not supported: %s", t->key);
	return 0;
}

static int parse_fields(struct scan *sc, const struct um_kind *k, struct term **list)
{
	const char *s = sc->text;

	while (*s) {
		size_t n = 0;
		struct term *t;
		int r;

		while (s[n] && s[n] != ',')
			n += s[n] == '\\' && s[n + 1] ? 2 : 1;
		if (n) {
			t = um_arena_new_of(sc->a, struct term);
			r = t ? field_term(sc, k, s, n, t) : -ENOMEM;
			if (r < 0)
				return r;
			*list = t;
			list = &t->next;
		}
		s += n + (s[n] == ',');
	}
	return 0;
}

int um_selector_parse(struct um_arena *a, const struct um_kind *kind, const char *labels,
		      const char *fields, struct um_selector **ret, struct um_error *err)
{
	struct um_selector *sel = um_arena_new_of(a, struct um_selector);
	int r = sel ? 0 : um_error_set(err, -ENOMEM, "selector: out of memory");

	if (!r && labels && *labels) {
		struct scan sc = {a, labels, labels, err};

		r = parse_labels(&sc, &sel->labels);
	}
	if (!r && fields && *fields) {
		struct scan sc = {a, fields, fields, err};

		r = parse_fields(&sc, kind, &sel->fields);
	}
	if (r == -ENOMEM)
		return um_error_set(err, -ENOMEM, "selector: out of memory");
	if (!r)
		*ret = sel->labels || sel->fields ? sel : NULL;
	return r;
}

const char *um_selector_field(const struct um_selector *s, const char *path)
{
	for (const struct term *t = s ? s->fields : NULL; t; t = t->next)
		if (t->op == OP_EQ && !strcmp(t->key, path))
			return t->values[0];
	return NULL;
}

/* ---- matching ---- */

static bool one_of(const struct term *t, const char *v)
{
	for (unsigned i = 0; i < t->n; i++)
		if (!strcmp(t->values[i], v))
			return true;
	return false;
}

static bool label_matches(const struct term *t, const struct um_json *labels)
{
	const char *v = um_json_str(um_json_get(labels, t->key), NULL);
	int64_t number;

	switch (t->op) {
	case OP_EQ:
	case OP_IN:
		return v && one_of(t, v);
	case OP_NE:
	case OP_NOT_IN:
		return !v || !one_of(t, v);
	case OP_EXISTS:
		return v;
	case OP_ABSENT:
		return !v;
	case OP_GT:
	case OP_LT:
		if (!v || um_num_i64(v, INT64_MIN, INT64_MAX, &number) < 0)
			return false;
		return t->op == OP_GT ? number > t->number : number < t->number;
	}
	return false;
}

static const char *field_value(const struct um_json *obj, const char *path)
{
	const struct um_json *v = um_json_path(obj, path);

	if (!strcmp(path, "source")) { /* of an Event */
		const char *c = um_json_get_str(obj, "source.component", "");

		return *c ? c : um_json_get_str(obj, "reportingComponent", "");
	}
	if (v && v->type == UM_JSON_BOOL)
		return v->boolean ? "true" : "false";
	if (v && (v->type == UM_JSON_STR || v->type == UM_JSON_NUM))
		return v->str;
	/* Absent booleans are false, absent text is empty. */
	return !strcmp(path, "spec.unschedulable") || !strcmp(path, "spec.hostNetwork") ? "false"
											: "";
}

bool um_selector_match(const struct um_selector *s, const struct um_json *obj)
{
	const struct um_json *labels = um_json_path(obj, "metadata.labels");

	if (!s)
		return true;
	for (const struct term *t = s->labels; t; t = t->next)
		if (!label_matches(t, labels))
			return false;
	for (const struct term *t = s->fields; t; t = t->next)
		if ((t->op == OP_EQ) != !strcmp(field_value(obj, t->key), t->values[0]))
			return false;
	return true;
}
