/* Finding kinds and fields; paths and causes. */
#include <string.h>

#include "api/schema/tables.h"

const struct um_kind *const *um_schema_kinds(size_t *ret_n)
{
	*ret_n = um_schema_builtin_n_kinds;
	return um_schema_builtin_kinds;
}

static bool same_gv(const struct um_kind *k, const char *group, const char *version)
{
	return !strcmp(k->group, group) && !strcmp(k->version, version);
}

static const struct um_kind *find(const struct um_kind *const *kinds, unsigned n, const char *group,
				  const char *version, const char *kind)
{
	for (unsigned i = 0; i < n; i++) {
		const struct um_kind *k = kinds[i];

		if (same_gv(k, group, version) &&
		    (!strcmp(k->kind, kind) || (k->plural && !strcmp(k->plural, kind))))
			return k;
	}
	return NULL;
}

const struct um_kind *um_schema_find_kind(const char *group, const char *version, const char *kind)
{
	const struct um_kind *k;

	if (!strcmp(group, "meta"))
		group = "meta.k8s.io";
	k = find(um_schema_builtin_kinds, um_schema_builtin_n_kinds, group, version, kind);

	if (k)
		return k;
	return find(um_schema_builtin_bodies, um_schema_builtin_n_bodies, group, version, kind);
}

const struct um_kind *um_schema_find_resource(const char *group, const char *version,
					      const char *plural)
{
	for (unsigned i = 0; i < um_schema_builtin_n_kinds; i++) {
		const struct um_kind *k = um_schema_builtin_kinds[i];

		if (same_gv(k, group, version) && !strcmp(k->plural, plural))
			return k;
	}
	return NULL;
}

const struct um_sfield *um_sfield_find(const struct um_schema_set *s, const struct um_stype *t,
				       const char *name)
{
	const struct um_sfield *f = s->fields + t->first;

	for (unsigned i = 0; i < t->n; i++, f++) {
		if (f->flags & UM_SFLAG_INLINE) {
			const struct um_sfield *in = um_sfield_find(s, &s->types[f->type], name);

			if (in)
				return in;
		} else if (!strcmp(um_ss(s, f->name), name)) {
			return f;
		}
	}
	return NULL;
}

const struct um_sfield *um_sfield_number(const struct um_schema_set *s, const struct um_stype *t,
					 uint64_t number)
{
	const struct um_sfield *f = s->fields + t->first;

	for (unsigned i = 0; i < t->n; i++, f++)
		if (f->number && f->number == number)
			return f;
	return NULL;
}

bool um_senum_has(const char *values, const char *v)
{
	size_t len = strlen(v);

	for (;;) {
		const char *end = strchrnul(values, '|');

		if ((size_t)(end - values) == len && !memcmp(values, v, len))
			return true;
		if (!*end)
			return false;
		values = end + 1;
	}
}

/* ---- paths ---- */

static void render(struct um_buf *b, const struct um_spath *p)
{
	if (!p)
		return;
	render(b, p->up);
	if (p->is_key)
		um_buf_addf(b, "[%s]", p->name);
	else if (p->name)
		um_buf_addf(b, "%s%s", b->len ? "." : "", p->name);
	else
		um_buf_addf(b, "[%ld]", p->index);
}

const char *um_spath_str(struct um_arena *a, const struct um_spath *p)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(4096);
	const char *s;

	render(&b, p);
	s = um_arena_strndup(a, um_buf_str(&b), b.len);
	return s ? s : "";
}

/* ---- causes ---- */

void um_cause_add(struct um_causes *c, const char *reason, const char *field, const char *fmt, ...)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(16384);
	struct um_cause *cause;
	va_list ap;

	if (c->n++ >= UM_CAUSES_MAX)
		return;
	va_start(ap, fmt);
	um_buf_vaddf(&b, fmt, ap);
	va_end(ap);
	cause = um_arena_new_of(c->arena, struct um_cause);
	if (!cause)
		return;
	cause->reason = reason;
	cause->field = um_arena_strdup(c->arena, field);
	cause->message = um_arena_strndup(c->arena, um_buf_str(&b), b.len);
	if (!cause->field || !cause->message)
		return;
	if (c->last)
		c->last->next = cause;
	else
		c->first = cause;
	c->last = cause;
}
