#include <criterion/criterion.h>
#include <string.h>

#include "rootfs/rootfs.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX64

Test(image_name, good)
{
	static const struct {
		const char *given, *full;
	} names[] = {
		{"nginx", "docker.io/library/nginx:latest"},
		{"nginx:1.25", "docker.io/library/nginx:1.25"},
		{"user/app", "docker.io/user/app:latest"},
		{"docker.io/nginx", "docker.io/library/nginx:latest"},
		{"docker.io/user/app:t", "docker.io/user/app:t"},
		{"index.docker.io/nginx", "docker.io/library/nginx:latest"},
		{"library/nginx", "docker.io/library/nginx:latest"},
		{"localhost/x", "localhost/x:latest"},
		{"localhost:5000", "docker.io/library/localhost:5000"},
		{"localhost:5000/x:1", "localhost:5000/x:1"},
		{"a.b/c/d/e", "a.b/c/d/e:latest"},
		{"Upper/x", "Upper/x:latest"},
		{"[::1]:5000/x", "[::1]:5000/x:latest"},
		{"[fe80::1]/x", "[fe80::1]/x:latest"},
		{"a__b/c-d.e_f---g", "docker.io/a__b/c-d.e_f---g:latest"},
		{"x:Tag_1.2-3", "docker.io/library/x:Tag_1.2-3"},
		{"x:_t", "docker.io/library/x:_t"},
		{"x@" DIGEST, "docker.io/library/x@" DIGEST},
		{"x:1@" DIGEST, "docker.io/library/x:1@" DIGEST},
		{"a-b.c-d:1/x", "a-b.c-d:1/x:latest"},
		{HEX64 "0", "docker.io/library/" HEX64 "0:latest"},
		{HEX64 ":1", "docker.io/library/" HEX64 ":1"},
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(names); i++) {
		char full[UM_IMAGE_NAME_MAX], again[UM_IMAGE_NAME_MAX];
		struct um_error err = UM_ERROR_INIT;

		cr_assert_eq(um_image_normalise(names[i].given, full, &err), 0, "%s: %s",
			     names[i].given, err.msg);
		cr_assert_str_eq(full, names[i].full);
		cr_assert_eq(um_image_normalise(full, again, &err), 0);
		cr_assert_str_eq(full, again);
	}
}

Test(image_name, bad)
{
	static const char *const names[] = {
		"",
		":1",
		"/",
		"/a",
		"a/",
		"a//b",
		"a/../b",
		"../a",
		"./a",
		".a",
		"a.",
		"a..b",
		"a___b",
		"a_-b",
		"-a",
		"a-",
		"A",
		"a/B",
		"a b",
		" a",
		"a\n",
		"a\tb",
		"a:",
		"a:.t",
		"a:-t",
		"a:b:c",
		"a:t/",
		"a@",
		"@" DIGEST,
		"a@sha256:12",
		"a@" DIGEST "0",
		"a@sha512:" HEX64,
		"a@sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
		"a@" DIGEST "@" DIGEST,
		HEX64,
		"http://a/b",
		"a:80:80/b",
		"h.x:/b",
		"h.x:port/b",
		"h..x/b",
		"-h.x/b",
		"h-.x/b",
		"h.-x/b",
		"h.x./b",
		".h/b",
		"[]/b",
		"[/b",
		"[::1/b",
		"[::1]x/b",
		"[::g]/b",
		"\xc3\xa9",
		"a/\xc3\xa9",
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(names); i++) {
		char full[UM_IMAGE_NAME_MAX] = "";
		struct um_error err = UM_ERROR_INIT;

		cr_expect_eq(um_image_normalise(names[i], full, &err), -EINVAL,
			     "\"%s\" was taken as %s", names[i], full);
		cr_expect(err.msg[0]);
	}
}

Test(image_name, lengths)
{
	char name[1024], full[UM_IMAGE_NAME_MAX];

	memset(name, 'a', sizeof(name));
	name[255] = '\0';
	cr_assert_eq(um_image_normalise(name, full, NULL), 0);
	name[255] = 'a';
	name[256] = '\0';
	cr_assert_eq(um_image_normalise(name, full, NULL), -EINVAL);
	strcpy(name, "x:");
	memset(name + 2, 't', 129);
	name[130] = '\0';
	cr_assert_eq(um_image_normalise(name, full, NULL), 0);
	name[130] = 't';
	name[131] = '\0';
	cr_assert_eq(um_image_normalise(name, full, NULL), -EINVAL);
	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	cr_assert_eq(um_image_normalise(name, full, NULL), -EINVAL);
}
