/* JSON merge patch (RFC 7386) and JSON patch (RFC 6902 with the pointers of RFC 6901). */
#include "api/schema/patch.h"

#include <string.h>

#include "base/num.h"

#define MAX_OPERATIONS 10000 /* as Kubernetes */
#define MAX_STEPS 20000000   /* list items walked over: keeps a hostile patch short */

int um_patch_check_width(const struct um_json *patch, bool lists, struct um_error *err)
{
	if ((patch->type == UM_JSON_OBJ || (lists && patch->type == UM_JSON_ARR)) &&
	    patch->len > UM_PATCH_MAX_ITEMS)
		return um_error_set(err, -EBADMSG, "patch: more than %d items in %s%s",
				    UM_PATCH_MAX_ITEMS, patch->key ? "field " : "the document",
				    patch->key ? patch->key : "");
	um_json_foreach (it, patch) {
		int r = um_patch_check_width(it, lists, err);

		if (r < 0)
			return r;
	}
	return 0;
}

int um_patch_done(struct um_arena *a, struct um_json *result, struct um_json **ret,
		  struct um_error *err)
{
	if (!result || um_arena_failed(a))
		return um_error_set(err, -E2BIG,
				    "patch: the result needs more than its memory limit");
	*ret = result;
	return 0;
}

/* ---- RFC 7386 ---- */

static void merge_into(struct um_arena *a, struct um_json *target, const struct um_json *patch)
{
	um_json_foreach (it, patch) {
		struct um_json *sub;

		if (it->type == UM_JSON_NULL)
			um_json_remove(target, it->key);
		else if (it->type != UM_JSON_OBJ)
			um_json_set(a, target, it->key, um_json_copy(a, it));
		else if ((sub = um_json_ensure_obj(a, target, it->key)))
			merge_into(a, sub, it);
	}
}

int um_patch_merge(struct um_arena *a, const struct um_json *obj, const struct um_json *patch,
		   struct um_json **ret, struct um_error *err)
{
	struct um_json *result;
	int r = um_patch_check_width(patch, false, err);

	if (r < 0)
		return r;
	if (patch->type != UM_JSON_OBJ)
		return um_patch_done(a, um_json_copy(a, patch), ret, err);
	result = um_json_is(obj, UM_JSON_OBJ) ? um_json_copy(a, obj) : um_json_new_obj(a);
	if (result)
		merge_into(a, result, patch);
	return um_patch_done(a, result, ret, err);
}

/* ---- RFC 6902 ---- */

struct patcher {
	struct um_arena *a;
	struct um_json *root;
	const char *op; /* for messages */
	long steps;
	struct um_error *err;
};

static int no_path(struct patcher *p, const char *path)
{
	return um_error_set_reason(p->err, UM_REASON_INVALID, -EINVAL,
				   "%s operation does not apply: doc is missing path: \"%.200s\": "
				   "missing value",
				   p->op, path);
}

/* Cuts the next token of a pointer off and undoes ~1 and ~0. NULL when the escape is wrong. */
static const char *next_token(struct patcher *p, const char **pointer)
{
	size_t len = strcspn(*pointer + 1, "/");
	char *token = um_arena_strndup(p->a, *pointer + 1, len), *to = token;

	if (!token)
		return NULL;
	for (const char *from = token; *from; from++) {
		if (*from != '~') {
			*to++ = *from;
			continue;
		}
		from++;
		if (*from != '0' && *from != '1')
			return NULL;
		*to++ = *from == '0' ? '~' : '/';
	}
	*to = '\0';
	*pointer += 1 + len;
	return token;
}

static int list_index(struct patcher *p, const struct um_json *arr, const char *token,
		      uint64_t *ret)
{
	if (um_num_u64(token, UINT32_MAX, ret) < 0)
		return -EINVAL;
	p->steps += (long)(*ret < arr->len ? *ret : arr->len);
	if (p->steps > MAX_STEPS)
		return um_error_set(p->err, -E2BIG, "patch: walks over too many list items");
	return 0;
}

static int child(struct patcher *p, struct um_json *n, const char *token, struct um_json **ret)
{
	uint64_t index;
	int r;

	*ret = NULL;
	if (n->type == UM_JSON_OBJ) {
		p->steps += n->len;
		*ret = p->steps > MAX_STEPS ? NULL : um_json_get(n, token);
	} else if (n->type == UM_JSON_ARR) {
		r = list_index(p, n, token, &index);
		if (r == -E2BIG)
			return r;
		*ret = r < 0 ? NULL : um_json_at(n, (size_t)index);
	}
	return *ret ? 0 : -ENOENT;
}

/* The node above the last token. An empty pointer gives NULL: the whole document. */
static int locate(struct patcher *p, const char *path, struct um_json **ret_parent,
		  const char **ret_token)
{
	const char *rest = path, *token;
	struct um_json *n = p->root;

	*ret_parent = NULL;
	*ret_token = NULL;
	if (!*path)
		return 0;
	if (*path != '/')
		return um_error_set(p->err, -EBADMSG, "patch: \"%.200s\" is no JSON pointer", path);
	for (;;) {
		int r;

		token = next_token(p, &rest);
		if (!token)
			return um_error_set(p->err, -EBADMSG,
					    "patch: \"%.200s\" is no JSON pointer", path);
		if (!*rest)
			break;
		r = child(p, n, token, &n);
		if (r < 0)
			return r == -E2BIG ? r : no_path(p, path);
	}
	*ret_parent = n;
	*ret_token = token;
	return 0;
}

static int find(struct patcher *p, const char *path, struct um_json **ret_parent,
		struct um_json **ret)
{
	const char *token;
	int r = locate(p, path, ret_parent, &token);

	if (r < 0)
		return r;
	if (!*ret_parent) {
		*ret = p->root;
		return 0;
	}
	r = child(p, *ret_parent, token, ret);
	return r == -ENOENT ? no_path(p, path) : r;
}

static void insert(struct um_json *arr, size_t index, struct um_json *val)
{
	struct um_json **link = &arr->first;

	val->key = NULL;
	if (index >= arr->len) {
		um_json_append(arr, val);
		return;
	}
	while (index--)
		link = &(*link)->next;
	val->next = *link;
	*link = val;
	arr->len++;
}

static unsigned depth_of(const struct um_json *n)
{
	unsigned deepest = 0;

	um_json_foreach (it, n) {
		unsigned d = depth_of(it);

		deepest = d > deepest ? d : deepest;
	}
	return deepest + 1;
}

/* Copies of copies could nest deeper than any parser lets documents be. */
static int check_depth(struct patcher *p, const char *path, const struct um_json *val)
{
	unsigned depth = val ? depth_of(val) : 0;

	for (; *path; path++)
		depth += *path == '/';
	if (depth <= UM_JSON_DEPTH_DEFAULT)
		return 0;
	return um_error_set(p->err, -E2BIG, "patch: the result is nested deeper than %d levels",
			    UM_JSON_DEPTH_DEFAULT);
}

static int add(struct patcher *p, const char *path, struct um_json *val)
{
	struct um_json *parent;
	const char *token;
	uint64_t index;
	int r = locate(p, path, &parent, &token);

	if (r >= 0)
		r = check_depth(p, path, val);
	if (r < 0)
		return r;
	if (!val)
		return -ENOMEM;
	if (!parent) {
		val->key = NULL;
		p->root = val;
		return 0;
	}
	if (parent->type == UM_JSON_OBJ) {
		p->steps += parent->len;
		if (p->steps > MAX_STEPS)
			return um_error_set(p->err, -E2BIG, "patch: walks over too many fields");
		return um_json_set(p->a, parent, token, val) ? 0 : -ENOMEM;
	}
	if (parent->type != UM_JSON_ARR)
		return no_path(p, path);
	if (!strcmp(token, "-")) {
		insert(parent, parent->len, val);
		return 0;
	}
	r = list_index(p, parent, token, &index);
	if (r == -E2BIG)
		return r;
	if (r < 0 || index > parent->len)
		return no_path(p, path);
	insert(parent, (size_t)index, val);
	return 0;
}

static int take(struct patcher *p, const char *path, struct um_json **ret)
{
	struct um_json *parent, *n;
	int r = find(p, path, &parent, &n);

	if (r < 0)
		return r;
	if (!parent)
		p->root = um_json_new_null(p->a);
	else
		um_json_remove_node(parent, n);
	*ret = n;
	return 0;
}

static int op_add(struct patcher *p, const char *path, const char *from,
		  const struct um_json *value)
{
	(void)from;
	return add(p, path, um_json_copy(p->a, value));
}

static int op_remove(struct patcher *p, const char *path, const char *from,
		     const struct um_json *value)
{
	struct um_json *n;

	(void)from;
	(void)value;
	return take(p, path, &n);
}

static int op_replace(struct patcher *p, const char *path, const char *from,
		      const struct um_json *value)
{
	struct um_json *parent, *n, *copy = um_json_copy(p->a, value);
	int r = find(p, path, &parent, &n);

	(void)from;
	if (r >= 0)
		r = check_depth(p, path, copy);
	if (r < 0)
		return r;
	if (!copy)
		return -ENOMEM;
	if (!parent) {
		p->root = copy;
		return 0;
	}
	copy->key = n->key; /* the new value in the old one's place */
	copy->next = n->next;
	*n = *copy;
	return 0;
}

static int op_move(struct patcher *p, const char *path, const char *from,
		   const struct um_json *value)
{
	size_t len = strlen(from);
	struct um_json *n;
	int r;

	(void)value;
	if (!strncmp(path, from, len) && path[len] == '/')
		return um_error_set_reason(p->err, UM_REASON_INVALID, -EINVAL,
					   "move operation does not apply: \"%.200s\" is inside of "
					   "\"%.200s\"",
					   path, from);
	r = take(p, from, &n);
	return r < 0 ? r : add(p, path, n);
}

static int op_copy(struct patcher *p, const char *path, const char *from,
		   const struct um_json *value)
{
	struct um_json *parent, *n;
	int r = find(p, from, &parent, &n);

	(void)value;
	return r < 0 ? r : add(p, path, um_json_copy(p->a, n));
}

static int op_test(struct patcher *p, const char *path, const char *from,
		   const struct um_json *value)
{
	struct um_json *parent, *n;
	int r = find(p, path, &parent, &n);

	(void)from;
	if (r < 0)
		return r;
	if (um_json_equal(n, value))
		return 0;
	return um_error_set_reason(p->err, UM_REASON_INVALID, -EINVAL,
				   "testing value %.200s failed: test failed", path);
}

static const struct {
	const char *name;
	int (*run)(struct patcher *p, const char *path, const char *from,
		   const struct um_json *value);
	bool value, from;
} operations[] = {
	{"add", op_add, true, false},	      {"remove", op_remove, false, false},
	{"replace", op_replace, true, false}, {"move", op_move, false, true},
	{"copy", op_copy, false, true},	      {"test", op_test, true, false},
};

static int run(struct patcher *p, const struct um_json *op)
{
	const char *name = um_json_str(um_json_get(op, "op"), NULL);
	const char *path = um_json_str(um_json_get(op, "path"), NULL);
	const char *from = um_json_str(um_json_get(op, "from"), NULL);
	const struct um_json *value = um_json_get(op, "value");

	for (size_t i = 0; name && i < UM_ARRAY_LEN(operations); i++) {
		int r;

		if (strcmp(operations[i].name, name))
			continue;
		if (!path || (operations[i].from && !from) || (operations[i].value && !value))
			return um_error_set(p->err, -EBADMSG, "patch: operation %s lacks %s", name,
					    !path		 ? "path"
					    : operations[i].from ? "from"
								 : "value");
		p->op = name;
		r = operations[i].run(p, path, from, value);
		if (r == -ENOMEM)
			return um_error_set(p->err, -E2BIG,
					    "patch: the result needs more than its memory limit");
		return r;
	}
	return um_error_set(p->err, -EBADMSG, "patch: unknown operation \"%.40s\"",
			    name ? name : "");
}

int um_patch_json(struct um_arena *a, const struct um_json *obj, const struct um_json *patch,
		  struct um_json **ret, struct um_error *err)
{
	struct patcher p = {.a = a, .root = um_json_copy(a, obj), .err = err};

	if (!um_json_is(patch, UM_JSON_ARR))
		return um_error_set(err, -EBADMSG, "patch: a JSON patch is a list of operations");
	if (patch->len > MAX_OPERATIONS)
		return um_error_set_reason(
			err, UM_REASON_TOO_LARGE, -E2BIG,
			"The allowed maximum operations in a JSON patch is %d, got %u",
			MAX_OPERATIONS, patch->len);
	if (!p.root)
		return um_patch_done(a, NULL, ret, err);
	um_json_foreach (it, patch) {
		int r = run(&p, it);

		if (r < 0)
			return um_arena_failed(a) ? um_patch_done(a, NULL, ret, err) : r;
	}
	return um_patch_done(a, p.root, ret, err);
}
