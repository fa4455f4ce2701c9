#include <criterion/criterion.h>
#include <string.h>

#include "base/json.h"
#include "base/yaml.h"

static struct um_arena *arena;

static void set_up(void)
{
	arena = um_arena_new(4 << 20);
}
static void tear_down(void)
{
	um_arena_free(arena);
}
TestSuite(json, .init = set_up, .fini = tear_down);
TestSuite(yaml, .init = set_up, .fini = tear_down);

static struct um_json *parse(const char *text)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_json *n = NULL;

	cr_assert_eq(um_json_parse(arena, text, strlen(text), NULL, &n, &err), 0, "%s: %s", text,
		     err.msg);
	return n;
}

static void refused(const char *text, size_t len, const char *part)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_json *n = NULL;

	cr_assert_lt(um_json_parse(arena, text, len, NULL, &n, &err), 0, "accepted: %s", text);
	cr_assert_not_null(strstr(err.msg, part), "%s: %s", text, err.msg);
}

static const char *text_of(const struct um_json *n)
{
	struct um_buf b = UM_BUF_INIT(1 << 20);
	const char *s;

	cr_assert_eq(um_json_write(&b, n), 0);
	s = um_arena_strdup(arena, um_buf_str(&b));
	um_buf_release(&b);
	return s;
}

Test(json, keeps_order_and_digits)
{
	static const char *const same[] = {
		"{\"z\":1,\"a\":[1.50,-0,1e400,null,true,false,{}],\"s\":\"\\\"\\\\\\n\\u0001\"}",
		"[]",
		"\"x\"",
		"12345678901234567890123",
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(same); i++)
		cr_assert_str_eq(text_of(parse(same[i])), same[i]);
	cr_assert_str_eq(text_of(parse(" {\"a\" : \"\\u00e9\\ud83d\\ude00\" } ")),
			 "{\"a\":\"\xc3\xa9\xf0\x9f\x98\x80\"}");
}

Test(json, refuses_with_the_place)
{
	char deep[401];

	refused("", 0, "empty");
	refused("{", 1, "not JSON");
	refused("{} x", 4, "not JSON");
	refused("{\"a\":1,\"a\":2}", 13, "duplicate field \"a\"");
	refused("{\"s\":{\"c\":[{\"n\":1},{\"n\":1,\"n\":2}]}}", 35, "\"s.c[1].n\"");
	refused("\"\\ud800\"", 8, "lone surrogate");
	refused("\"\\udc00\\ud800\"", 14, "lone surrogate");
	refused("\"\xc0\x80\"", 4, "UTF-8");
	refused("{\"a\":\"\\u0000\"}", 14, "U+0000");
	refused("{\"\\u0000\":1}", 12, "U+0000");
	refused("[NaN]", 5, "not JSON");
	refused("[1,]", 4, "not JSON");
	refused("// x\n1", 6, "not JSON");
	memset(deep, '[', 200);
	memset(deep + 200, ']', 200);
	refused(deep, 400, "deeper than 100");
}

Test(json, large_objects_find_duplicates_too)
{
	struct um_buf b = UM_BUF_INIT(4 << 20);

	um_buf_addc(&b, '{');
	for (int i = 0; i < 20000; i++)
		um_buf_addf(&b, "\"k%d\":%d,", i, i);
	um_buf_adds(&b, "\"k19999\":0}");
	arena = (um_arena_free(arena), um_arena_new(64 << 20));
	refused(b.data, b.len, "duplicate field \"k19999\"");
	um_buf_release(&b);
}

Test(json, last_wins_when_asked)
{
	const char *text = "{\"a\":1,\"b\":{\"c\":1,\"c\":[2]},\"a\":{\"x\":3}}";
	struct um_json_opts opts = {.last_wins = true, .ret_duplicates = um_json_new_arr(arena)};
	struct um_json *n;

	cr_assert_eq(um_json_parse(arena, text, strlen(text), &opts, &n, NULL), 0);
	cr_assert_str_eq(text_of(n), "{\"a\":{\"x\":3},\"b\":{\"c\":[2]}}");
	cr_assert_str_eq(text_of(opts.ret_duplicates), "[\"b.c\",\"a\"]");
}

Test(json, an_arena_limit_bounds_a_document)
{
	_cleanup_arena_ struct um_arena *small = um_arena_new(4096);
	char text[2048];
	struct um_error err = UM_ERROR_INIT;
	struct um_json *n;

	memset(text, '1', sizeof(text));
	for (size_t i = 0; i < sizeof(text); i += 2)
		text[i] = ',';
	text[0] = '[';
	text[sizeof(text) - 1] = ']';
	text[sizeof(text) - 2] = '1';
	cr_assert_eq(um_json_parse(small, text, sizeof(text), NULL, &n, &err), -E2BIG, "%s",
		     err.msg);
}

Test(json, builds_and_changes)
{
	struct um_json *o = um_json_new_obj(arena);

	um_json_set_str(arena, o, "kind", "Pod");
	um_json_set_i64(arena, um_json_ensure_obj(arena, o, "spec"), "n", 5);
	um_json_append(um_json_ensure_arr(arena, o, "l"), um_json_new_str(arena, "x"));
	um_json_set_str(arena, o, "kind", "Node");
	cr_assert_str_eq(text_of(o), "{\"kind\":\"Node\",\"spec\":{\"n\":5},\"l\":[\"x\"]}");
	cr_assert_eq(um_json_get_i64(o, "spec.n", 0), 5);
	cr_assert_str_eq(um_json_get_str(o, "l.0", ""), "x");
	cr_assert(um_json_remove(o, "l"));
	cr_assert_not(um_json_remove(o, "l"));
	um_json_set_bool(arena, o, "last", true);
	cr_assert_str_eq(text_of(o), "{\"kind\":\"Node\",\"spec\":{\"n\":5},\"last\":true}");
	cr_assert(um_json_equal(o, parse("{\"last\":true,\"spec\":{\"n\":5},\"kind\":\"Node\"}")));
	cr_assert_not(
		um_json_equal(o, parse("{\"last\":true,\"spec\":{\"n\":6},\"kind\":\"Node\"}")));
	cr_assert(um_json_equal(o, um_json_copy(arena, o)));
}

Test(json, integers_are_exact)
{
	int64_t v;

	cr_assert_eq(um_json_to_i64(parse("9223372036854775807"), &v), 0);
	cr_assert_eq(v, INT64_MAX);
	cr_assert_eq(um_json_to_i64(parse("9223372036854775808"), &v), -ERANGE);
	cr_assert_eq(um_json_to_i64(parse("1.0"), &v), -ERANGE);
	cr_assert_eq(um_json_to_i64(parse("\"1\""), &v), -EINVAL);
}

static const char *yaml(const char *text)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_json *docs = NULL;

	cr_assert_eq(um_yaml_parse(arena, text, strlen(text), &docs, &err), 0, "%s: %s", text,
		     err.msg);
	return text_of(docs);
}

static void yaml_refused(const char *text, const char *part)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_json *docs = NULL;

	cr_assert_lt(um_yaml_parse(arena, text, strlen(text), &docs, &err), 0, "accepted: %s",
		     text);
	cr_assert_not_null(strstr(err.msg, part), "%s: %s", text, err.msg);
}

Test(yaml, types_scalars_as_kubernetes_does)
{
	cr_assert_str_eq(
		yaml("a: 1\nb: yes\nc: \"yes\"\nd: ~\ne: 0755\nf: 1.50\ng: .5\nh: +7\n"
		     "i: 1e3\nj: 0x1f\nk: 1:30\nl: y\nm: 1_000\nn: 1.\no: -0.5\np: 089\n"),
		"[{\"a\":1,\"b\":true,\"c\":\"yes\",\"d\":null,\"e\":493,\"f\":1.50,\"g\":0.5,"
		"\"h\":7,\"i\":1e3,\"j\":31,\"k\":\"1:30\",\"l\":\"y\",\"m\":\"1_000\","
		"\"n\":1,\"o\":-0.5,\"p\":\"089\"}]");
}

Test(yaml, reads_many_documents_and_json)
{
	cr_assert_str_eq(yaml("a: 1\n---\n---\n{\"j\": [true]}\n"), "[{\"a\":1},{\"j\":[true]}]");
	cr_assert_str_eq(yaml(""), "[]");
	cr_assert_str_eq(yaml("a: |\n  two\n  lines\nb: >-\n  folded\n  text\n"),
			 "[{\"a\":\"two\\nlines\\n\",\"b\":\"folded text\"}]");
}

Test(yaml, bounds_aliases)
{
	cr_assert_str_eq(yaml("a: &x {k: v}\nb: *x\n"),
			 "[{\"a\":{\"k\":\"v\"},\"b\":{\"k\":\"v\"}}]");
	yaml_refused("a: &x [*x]\n", "own anchor");
	yaml_refused("a: *nowhere\n", "alias");
	yaml_refused(
		"a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
		"c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
		"e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n",
		"YAML line");
}

Test(yaml, refuses_with_line_and_column)
{
	yaml_refused("a: 1\na: 2\n", "line 2 column 1: duplicate field \"a\"");
	yaml_refused("a: !!binary aGk=\n", "tags");
	yaml_refused("? [a]\n: 1\n", "key");
	yaml_refused("a: [1\n", "line 2");
	yaml_refused("\xff\xfe", "UTF-8");
}
