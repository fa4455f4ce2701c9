/* Resource amounts of pods and nodes. */
#include <string.h>

#include "base/quantity.h"
#include "sched/internal.h"

static const struct {
	const char *name;
	int (*parse)(const char *s, int64_t *ret);
} fixed[RES_FIXED] = {
	[RES_CPU_MILLI] = {"cpu", um_quantity_milli},
	[RES_MEMORY] = {"memory", um_quantity_value},
	[RES_STORAGE] = {"ephemeral-storage", um_quantity_value},
	[RES_PODS] = {"pods", um_quantity_value},
};

static int64_t *slot(struct amounts *a, const char *name)
{
	struct extra e;

	um_vec_foreach (it, &a->extra)
		if (!strcmp(it->name, name))
			return &it->value;
	e = (struct extra){strdup(name), 0};
	if (!e.name || um_vec_push(&a->extra, e) < 0) {
		free(e.name);
		return NULL;
	}
	return &a->extra.items[a->extra.len - 1].value;
}

static void add_capped(int64_t *to, int64_t v)
{
	if (__builtin_add_overflow(*to, v, to))
		*to = v > 0 ? INT64_MAX : 0;
}

static int read_list(const struct um_json *list, struct amounts *a)
{
	um_json_foreach (it, list) {
		const char *text =
			it->type == UM_JSON_STR || it->type == UM_JSON_NUM ? it->str : "";
		int64_t v, *to;
		size_t i;

		for (i = 0; i < RES_FIXED; i++)
			if (!strcmp(it->key, fixed[i].name))
				break;
		if ((i < RES_FIXED ? fixed[i].parse : um_quantity_value)(text, &v) < 0 || v < 0)
			continue; /* the API has refused such */
		to = i < RES_FIXED ? &a->fixed[i] : slot(a, it->key);
		if (!to)
			return -ENOMEM;
		add_capped(to, v);
	}
	return 0;
}

void amounts_release(struct amounts *a)
{
	um_vec_foreach (it, &a->extra)
		free(it->name);
	um_vec_release(&a->extra);
}

static void raise_to(struct amounts *a, const struct amounts *least)
{
	for (size_t i = 0; i < RES_FIXED; i++)
		if (a->fixed[i] < least->fixed[i])
			a->fixed[i] = least->fixed[i];
	um_vec_foreach (it, &least->extra) {
		int64_t *v = slot(a, it->name);

		if (v && *v < it->value)
			*v = it->value;
	}
}

/* The sum of the containers, or the largest init container where that is more. */
int amounts_of_pod(const struct um_json *pod, struct amounts *ret)
{
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	um_json_foreach (c, um_json_path(pod, "spec.containers"))
		if (r == 0)
			r = read_list(um_json_path(c, "resources.requests"), ret);
	um_json_foreach (c, um_json_path(pod, "spec.initContainers")) {
		struct amounts one = {0};

		if (r == 0)
			r = read_list(um_json_path(c, "resources.requests"), &one);
		raise_to(ret, &one);
		amounts_release(&one);
	}
	if (r == 0)
		r = read_list(um_json_path(pod, "spec.overhead"), ret);
	ret->fixed[RES_PODS] = 1;
	if (r < 0)
		amounts_release(ret);
	return r;
}

int amounts_of_node(const struct um_json *allocatable, struct amounts *ret)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	r = read_list(allocatable, ret);
	if (!um_json_get(allocatable, "pods"))
		ret->fixed[RES_PODS] = 110;
	if (r < 0)
		amounts_release(ret);
	return r;
}

void amounts_add(struct amounts *to, const struct amounts *what, int sign)
{
	for (size_t i = 0; i < RES_FIXED; i++)
		add_capped(&to->fixed[i], sign * what->fixed[i]);
	um_vec_foreach (it, &what->extra) {
		int64_t *v = slot(to, it->name);

		if (v)
			add_capped(v, sign * it->value);
	}
}

int64_t amounts_extra(const struct amounts *a, const char *name)
{
	um_vec_foreach (it, &a->extra)
		if (!strcmp(it->name, name))
			return it->value;
	return 0;
}
