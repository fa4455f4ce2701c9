/* Volumes of a pod: what the notation cannot say. */
#include <stdlib.h>
#include <string.h>

#include "api/schema/validate.h"
#include "base/vec.h"

#define LIFE_LEAST_S 600
#define LIFE_MOST_S (INT64_C(1) << 32)

/* The names that begin with two dots are those of the agent's own links. */
static void check_reserved(struct um_svalidator *v, const char *path, const struct um_spath *p)
{
	if (!strncmp(path, "..", 2) && !um_sformat_relative_path(path))
		um_sv_invalid_str(v, p, path, "must not start with '..'");
}

static void check_items(struct um_svalidator *v, const struct um_json *items,
			const struct um_spath *up)
{
	const struct um_spath *p = UM_SPATH_FIELD(up, "items");
	long i = 0;

	um_json_foreach (it, items) {
		const struct um_spath *here = UM_SPATH_INDEX(p, i++);

		check_reserved(v, um_json_get_str(it, "path", ""), UM_SPATH_FIELD(here, "path"));
	}
}

/* ---- downwardAPI ---- */

static void check_fields(struct um_svalidator *v, const struct um_json *items,
			 const struct um_spath *up)
{
	const struct um_spath *p = UM_SPATH_FIELD(up, "items");
	long i = 0;

	um_json_foreach (it, items) {
		const struct um_spath *here = UM_SPATH_INDEX(p, i++);
		const struct um_json *field = um_json_get(it, "fieldRef");
		const struct um_json *resource = um_json_get(it, "resourceFieldRef");

		if (field && resource)
			um_sv_invalid_str(v, here, "resource",
					  "fieldRef and resourceFieldRef can not be specified "
					  "simultaneously");
		else if (!field && !resource)
			um_sv_required(v, here, "one of fieldRef and resourceFieldRef is required");
		if (field)
			um_sv_field_ref(v, field, true, UM_SPATH_FIELD(here, "fieldRef"));
		else if (resource)
			um_sv_resource_ref(v, resource, true,
					   UM_SPATH_FIELD(here, "resourceFieldRef"));
	}
	check_items(v, items, up);
}

/* ---- projected ---- */

/* The files of all sources, each once; none of them a folder of another. */
struct file {
	const char *path;
	const char *whose; /* the ConfigMap's or Secret's name; "" for others */
	size_t order;
};
struct paths {
	struct um_svalidator *v;
	UM_VEC(struct file) files;
};

static void note_path(struct paths *s, const char *path, const char *whose)
{
	if (*path)
		(void)!um_vec_push(&s->files, (struct file){path, whose, s->files.len});
}

/* What lies in a folder comes right behind a file of the folder's name: '/' is the smallest. */
static int by_path(const void *x, const void *y)
{
	const struct file *f = x, *g = y;
	const char *a = f->path, *b = g->path;

	while (*a && *a == *b) {
		a++;
		b++;
	}
	if (*a == *b)
		return f->order < g->order ? -1 : 1;
	if (!*a || !*b)
		return !*a ? -1 : 1;
	if (*a == '/' || *b == '/')
		return *a == '/' ? -1 : 1;
	return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
}

static void check_conflicts(struct paths *s, const struct um_spath *p)
{
	if (s->files.len)
		qsort(s->files.items, s->files.len, sizeof(*s->files.items), by_path);
	for (size_t i = 1; i < s->files.len; i++) {
		const struct file *before = &s->files.items[i - 1], *f = before + 1;
		size_t n = strlen(before->path);

		if (strncmp(f->path, before->path, n) || (f->path[n] && f->path[n] != '/'))
			continue;
		if (before->order > f->order)
			f = before;
		um_sv_invalid_str(s->v, p, *f->whose ? f->whose : f->path,
				  "conflicting duplicate paths");
	}
}

static void note_items(struct paths *s, const struct um_json *source)
{
	um_json_foreach (it, um_json_get(source, "items"))
		note_path(s, um_json_get_str(it, "path", ""), um_json_get_str(source, "name", ""));
}

static void check_keys(struct paths *s, const struct um_json *source, const struct um_spath *p)
{
	if (!*um_json_get_str(source, "name", ""))
		um_sv_required(s->v, UM_SPATH_FIELD(p, "name"), NULL);
	check_items(s->v, um_json_get(source, "items"), p);
	note_items(s, source);
}

static void check_downward(struct paths *s, const struct um_json *source, const struct um_spath *p)
{
	check_fields(s->v, um_json_get(source, "items"), p);
	note_items(s, source);
}

static void check_token(struct paths *s, const struct um_json *source, const struct um_spath *p)
{
	const struct um_json *life = um_json_get(source, "expirationSeconds");
	const char *path = um_json_get_str(source, "path", "");
	const char *why = um_sformat_relative_path(path);

	if (life && um_json_i64(life, 0) < LIFE_LEAST_S)
		um_sv_invalid(s->v, UM_SPATH_FIELD(p, "expirationSeconds"), life,
			      "may not specify a duration less than 10 minutes");
	else if (life && um_json_i64(life, 0) > LIFE_MOST_S)
		um_sv_invalid(s->v, UM_SPATH_FIELD(p, "expirationSeconds"), life,
			      "may not specify a duration larger than 2^32 seconds");
	if (!*path)
		um_sv_required(s->v, UM_SPATH_FIELD(p, "path"), NULL);
	else if (why)
		um_sv_invalid_str(s->v, UM_SPATH_FIELD(p, "path"), path, why);
	check_reserved(s->v, path, UM_SPATH_FIELD(p, "path"));
	note_path(s, path, "");
}

static const struct {
	const char *name;
	void (*check)(struct paths *s, const struct um_json *source, const struct um_spath *p);
} projections[] = {
	{"secret", check_keys},		 {"configMap", check_keys},
	{"downwardAPI", check_downward}, {"serviceAccountToken", check_token},
	{"clusterTrustBundle", NULL}, /* the notation refuses it */
};

static void check_projected(struct um_svalidator *v, const struct um_json *source,
			    const struct um_spath *p)
{
	const struct um_spath *list = UM_SPATH_FIELD(p, "sources");
	struct paths s = {v, UM_VEC_INIT};
	long i = 0;

	um_json_foreach (it, um_json_get(source, "sources")) {
		const struct um_spath *here = UM_SPATH_INDEX(list, i++);
		unsigned n = 0;

		for (size_t k = 0; k < UM_ARRAY_LEN(projections); k++) {
			const struct um_json *one = um_json_get(it, projections[k].name);

			n += one != NULL;
			if (one && projections[k].check)
				projections[k].check(&s, one,
						     UM_SPATH_FIELD(here, projections[k].name));
		}
		if (n > 1)
			um_sv_forbidden(v, here, "may not specify more than 1 volume type");
	}
	check_conflicts(&s, p);
	um_vec_release(&s.files);
}

/* ---- the others ---- */

static void check_config_map(struct um_svalidator *v, const struct um_json *source,
			     const struct um_spath *p)
{
	if (!*um_json_get_str(source, "name", ""))
		um_sv_required(v, UM_SPATH_FIELD(p, "name"), NULL);
	check_items(v, um_json_get(source, "items"), p);
}

static void check_secret(struct um_svalidator *v, const struct um_json *source,
			 const struct um_spath *p)
{
	check_items(v, um_json_get(source, "items"), p);
}

static void check_downward_volume(struct um_svalidator *v, const struct um_json *source,
				  const struct um_spath *p)
{
	check_fields(v, um_json_get(source, "items"), p);
}

/* Only a file system in memory has a bound here. */
static void check_empty_dir(struct um_svalidator *v, const struct um_json *source,
			    const struct um_spath *p)
{
	if (um_json_get(source, "sizeLimit") &&
	    strcmp(um_json_get_str(source, "medium", ""), "Memory"))
		um_sv_not_yet(v, UM_SPATH_FIELD(p, "sizeLimit"));
}

static void check_host_path(struct um_svalidator *v, const struct um_json *source,
			    const struct um_spath *p)
{
	const char *path = um_json_get_str(source, "path", "");
	const char *why = um_sformat_relative_path(*path == '/' ? path + 1 : path);

	if (!*path)
		return;
	if (why && strstr(why, ".."))
		um_sv_invalid_str(v, UM_SPATH_FIELD(p, "path"), path, why);
	else if (*path != '/')
		um_sv_invalid_str(v, UM_SPATH_FIELD(p, "path"), path, "must be an absolute path");
}

static const struct {
	const char *name;
	void (*check)(struct um_svalidator *v, const struct um_json *source,
		      const struct um_spath *p);
} kinds[] = {
	{"configMap", check_config_map}, {"downwardAPI", check_downward_volume},
	{"emptyDir", check_empty_dir},	 {"hostPath", check_host_path},
	{"projected", check_projected},	 {"secret", check_secret},
};

static void check_volume(struct um_svalidator *v, const struct um_json *volume,
			 const struct um_spath *here)
{
	unsigned n = 0;

	um_json_foreach (s, volume) {
		const struct um_spath *p = UM_SPATH_FIELD(here, s->key);

		if (!strcmp(s->key, "name"))
			continue;
		if (n++)
			um_sv_forbidden(v, p, "may not specify more than 1 volume type");
		for (size_t i = 0; i < UM_ARRAY_LEN(kinds); i++)
			if (!strcmp(kinds[i].name, s->key))
				kinds[i].check(v, s, p);
	}
	if (!n)
		um_sv_required(v, here, "must specify a volume type");
}

void um_sv_volumes(struct um_svalidator *v, const struct um_json *volumes, const struct um_spath *p)
{
	long i = 0;

	um_json_foreach (it, volumes) {
		const struct um_spath *here = UM_SPATH_INDEX(p, i++);
		const char *name = um_json_get_str(it, "name", "");

		for (const struct um_json *o = volumes->first; *name && o != it; o = o->next) {
			if (!um_json_streq(um_json_get(o, "name"), name))
				continue;
			um_sv_duplicate(v, UM_SPATH_FIELD(here, "name"), name);
			break;
		}
		check_volume(v, it, here);
	}
}
