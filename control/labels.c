#include "control/labels.h"

#include <string.h>

#include "base/cleanup.h"

static bool has_all(const struct um_json *map, const struct um_json *labels)
{
	um_json_foreach (want, map)
		if (!um_json_equal(want, um_json_get(labels, want->key)))
			return false;
	return true;
}

static bool among(const struct um_json *values, const struct um_json *value)
{
	um_json_foreach (v, values)
		if (um_json_equal(v, value))
			return true;
	return false;
}

static bool holds(const struct um_json *expr, const struct um_json *labels)
{
	const struct um_json *value = um_json_get(labels, um_json_get_str(expr, "key", ""));
	const struct um_json *values = um_json_get(expr, "values");
	const char *op = um_json_get_str(expr, "operator", "");

	if (!strcmp(op, "In"))
		return value && among(values, value);
	if (!strcmp(op, "NotIn"))
		return !value || !among(values, value);
	if (!strcmp(op, "Exists"))
		return value;
	return !strcmp(op, "DoesNotExist") && !value;
}

bool um_label_selector_matches(const struct um_json *selector, const struct um_json *labels)
{
	if (!selector || !has_all(um_json_get(selector, "matchLabels"), labels))
		return false;
	um_json_foreach (expr, um_json_get(selector, "matchExpressions"))
		if (!holds(expr, labels))
			return false;
	return true;
}

bool um_label_map_matches(const struct um_json *map, const struct um_json *labels)
{
	return um_json_first(map) && has_all(map, labels);
}

size_t um_labels_size(const struct um_json *labels)
{
	size_t nodes = 0, text = 0;

	um_json_foreach (l, labels) {
		nodes++;
		text += strlen(l->key) + 1 + strlen(um_json_str(l, "")) + 1;
	}
	text = (text + sizeof(void *) - 1) & ~(sizeof(void *) - 1); /* what follows stays aligned */
	return nodes ? (nodes + 1) * sizeof(struct um_json) + text : 0;
}

static const char *put(char **at, const char *s)
{
	size_t n = strlen(s) + 1;
	char *to = memcpy(*at, s, n);

	*at += n;
	return to;
}

const struct um_json *um_labels_copy(const struct um_json *labels, void *room)
{
	struct um_json *top = room, *n = top;
	size_t nodes = 0;
	char *text;

	um_json_foreach (l, labels)
		nodes++;
	if (!nodes)
		return NULL;
	text = (char *)(top + nodes + 1);
	*top = (struct um_json){.type = UM_JSON_OBJ, .len = (uint32_t)nodes, .first = top + 1};
	um_json_foreach (l, labels) {
		*++n = (struct um_json){.type = UM_JSON_STR, .len = l->len};
		n->key = put(&text, l->key);
		n->str = put(&text, um_json_str(l, ""));
		n->next = l->next ? n + 1 : NULL;
	}
	top->last = n;
	return top;
}
