#include "base/json.h"

static int write_escape(struct um_buf *b, unsigned char c)
{
	switch (c) {
	case '"':
		return um_buf_add(b, "\\\"", 2);
	case '\\':
		return um_buf_add(b, "\\\\", 2);
	case '\n':
		return um_buf_add(b, "\\n", 2);
	case '\r':
		return um_buf_add(b, "\\r", 2);
	case '\t':
		return um_buf_add(b, "\\t", 2);
	default:
		return um_buf_addf(b, "\\u%04x", c);
	}
}

int um_json_write_str(struct um_buf *b, const char *s, size_t len)
{
	size_t from = 0, i;

	um_buf_addc(b, '"');
	for (i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
			continue;
		um_buf_add(b, s + from, i - from);
		write_escape(b, c);
		from = i + 1;
	}
	um_buf_add(b, s + from, len - from);
	um_buf_addc(b, '"');
	return um_buf_error(b);
}

static void newline(struct um_buf *b, unsigned indent, unsigned depth)
{
	if (indent)
		um_buf_addf(b, "\n%*s", (int)(indent * depth), "");
}

static void write_node(struct um_buf *b, const struct um_json *n, unsigned indent, unsigned depth)
{
	bool object;

	switch (n->type) {
	case UM_JSON_NULL:
		um_buf_add(b, "null", 4);
		return;
	case UM_JSON_BOOL:
		um_buf_adds(b, n->boolean ? "true" : "false");
		return;
	case UM_JSON_NUM:
		um_buf_add(b, n->str, n->len);
		return;
	case UM_JSON_STR:
		um_json_write_str(b, n->str, n->len);
		return;
	case UM_JSON_ARR:
	case UM_JSON_OBJ:
		break;
	}
	object = n->type == UM_JSON_OBJ;
	um_buf_addc(b, object ? '{' : '[');
	um_json_foreach (it, n) {
		newline(b, indent, depth + 1);
		if (object) {
			um_json_write_str(b, it->key, strlen(it->key));
			um_buf_adds(b, indent ? ": " : ":");
		}
		write_node(b, it, indent, depth + 1);
		if (it->next)
			um_buf_addc(b, ',');
	}
	if (n->first)
		newline(b, indent, depth);
	um_buf_addc(b, object ? '}' : ']');
}

int um_json_write(struct um_buf *b, const struct um_json *node)
{
	write_node(b, node, 0, 0);
	return um_buf_error(b);
}

int um_json_write_pretty(struct um_buf *b, const struct um_json *node, unsigned indent)
{
	write_node(b, node, indent, 0);
	return um_buf_error(b);
}
