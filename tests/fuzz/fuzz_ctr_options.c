/* What `umiak ctr` reads: values of options, the lines of --env-file, templates, names, paths of
 * cp, and a container's saved object. The first byte says which; each is taken or refused with a
 * message, and what is taken can be written and read again. */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/ctr/ctr.h"
#include "cli/ctr/parse.h"
#include "cli/ctr/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	struct um_arena *a;
	char *text;
	size_t len;
	const uint8_t *raw;
	size_t raw_len;
	struct um_json *root, *list;
	struct um_error err;
};

static void must(bool what)
{
	if (!what)
		abort();
}

static int try_ports(struct input *in)
{
	struct um_json *bindings = um_json_ensure_obj(in->a, in->root, "PortBindings");
	struct um_json *exposed = um_json_ensure_obj(in->a, in->root, "ExposedPorts");
	int r = ctr_parse_port(in->a, bindings, exposed, in->text, &in->err);
	struct in_addr addr;

	if (r < 0)
		return r;
	must(um_json_first(bindings) != NULL);
	um_json_foreach (list, bindings) {
		must(atoi(list->key) > 0 && atoi(list->key) < 65536);
		um_json_foreach (it, list) {
			const char *ip = um_json_get_str(it, "HostIp", ""),
				   *port = um_json_get_str(it, "HostPort", "");

			must(!*ip || inet_pton(AF_INET, ip, &addr) == 1);
			must(!*port || (atoi(port) > 0 && atoi(port) < 65536));
		}
	}
	return 0;
}

static int try_mounts(struct input *in)
{
	int (*const kinds[])(struct um_arena *, const char *, struct ctr_mount *,
			     struct um_error *) = {ctr_parse_volume, ctr_parse_mount,
						   ctr_parse_tmpfs};
	int last = 0;

	for (size_t i = 0; i < UM_ARRAY_LEN(kinds); i++) {
		struct ctr_mount m;
		struct um_error err = UM_ERROR_INIT;
		int r = kinds[i](in->a, in->text, &m, &err);

		if (r < 0) {
			last = r;
			in->err = err;
			continue;
		}
		must(*m.target == '/' && m.target[strspn(m.target, "/")] && m.options);
		if (!strcmp(m.type, "bind"))
			must(m.source && *m.source == '/');
		else if (!strcmp(m.type, "volume"))
			must(!m.source || (ctr_valid_volume(m.source) && !strchr(m.source, '/')));
		else
			must(!strcmp(m.type, "tmpfs") && !m.source);
	}
	return last;
}

static int try_device(struct input *in)
{
	return ctr_parse_device(in->a, in->list, in->text, &in->err);
}

static int try_ulimit(struct input *in)
{
	int r = ctr_parse_ulimit(in->a, in->list, in->text, &in->err);

	um_json_foreach (it, in->list) {
		int64_t soft = um_json_get_i64(it, "Soft", -2);
		int64_t hard = um_json_get_i64(it, "Hard", -2);

		must(soft >= -1 && hard >= -1 && (hard == -1 || (soft >= 0 && soft <= hard)));
	}
	return r;
}

static int try_env(struct input *in)
{
	int r = ctr_parse_env_lines(in->a, in->list, "file", in->text, &in->err);

	um_json_foreach (it, in->list) {
		const char *text = um_json_str(it, "");

		must(*text != '=' && strchr(text, '=') && !strchr(text, '\n'));
	}
	return r;
}

static int try_values(struct input *in)
{
	int64_t v = 0;
	char id[2];

	if (ctr_parse_bytes(in->text, &v) == 0)
		must(v >= 0);
	if (ctr_parse_cpus(in->text, &v, &in->err) == 0)
		must(v >= 10);
	(void)ctr_parse_time(in->text, &v);
	(void)!ctr_parse_host(in->a, in->list, in->text, &in->err);
	snprintf(id, sizeof(id), "%d", ctr_check_detach_keys(in->text, &in->err) < 0);
	if (ctr_valid_name(in->text) || ctr_valid_volume(in->text))
		must(*in->text && !strchr(in->text, '/') && strcmp(in->text, "..") != 0);
	return 0;
}

static int try_side(struct input *in)
{
	struct ctr_side_text s;
	int r = ctr_parse_side(in->text, &s, &in->err);

	if (r < 0)
		return r;
	must(strlen(s.path) < sizeof(s.path) && (!*s.name || !strchr(s.name, '/')));
	if (*s.name)
		must(!*s.path || *s.path == '/');
	return 0;
}

/* A damaged config.json: read by each command. */
static int try_object(struct input *in)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(4 << 20);
	struct ctr_live live = {.fd = -1, .ns_net = -1, .ns_ipc = -1, .ns_uts = -1, .ns_pid = -1};
	struct ctr_start start = {.ret_attach = -1};
	struct ctr c = {.id = "0123456789abcdef", .dir = "/none", .run_dir = "/none", .lock = -1};
	const struct um_image img = {0};
	struct um_json *doc, *all;
	size_t body = strcspn(in->text, "\n");
	int r;

	/* A template before the object. */
	if (in->text[body])
		in->text[body++] = '\0';
	r = um_json_parse(in->a, in->text + body, in->len - body, NULL, &doc, &in->err);
	if (r == 0)
		r = ctr_check_config(doc, &in->err);
	if (r < 0)
		return r;
	c.a = in->a;
	c.config = doc;
	c.state = um_json_is(doc, UM_JSON_OBJ) ? doc : in->root;
	all = ctr_inspect(in->a, &c, &live);
	(void)ctr_ps_row(in->a, all);
	(void)!ctr_format(&b, in->text, all, &in->err);
	in->err = (struct um_error)UM_ERROR_INIT;
	must(ctr_oci_config(in->a, &c, &img, &live, &start, &in->err) || in->err.msg[0]);
	return 0;
}

/* A tar stream: what its entries say is within bounds, and is the same once written and read. */
static int try_tar(struct input *in)
{
	_cleanup_close_ int fd = memfd_create("in", MFD_CLOEXEC);
	_cleanup_close_ int out = memfd_create("out", MFD_CLOEXEC);
	static struct ctr_tar_entry e, again;
	struct ctr_tar_reader t = {.fd = fd}, back = {.fd = out};
	unsigned n = 0;
	int r;

	must(fd >= 0 && out >= 0 && write(fd, in->raw, in->raw_len) == (ssize_t)in->raw_len);
	must(lseek(fd, 0, SEEK_SET) == 0);
	while ((r = ctr_tar_next(&t, &e, &in->err)) > 0 && ++n < 1000) {
		must(*e.path && strlen(e.path) < PATH_MAX && strlen(e.link) < PATH_MAX);
		must(strchr("0123456", e.type) && e.size >= 0 && !(e.mode & ~07777u));
		must(ftruncate(out, 0) == 0 && lseek(out, 0, SEEK_SET) == 0);
		e.size = e.type == '0' ? e.size : 0;
		must(ctr_tar_head(out, &e, &in->err) == 0 && lseek(out, 0, SEEK_SET) == 0);
		back.left = back.body = 0;
		must(ctr_tar_next(&back, &again, &in->err) == 1);
		must(!strcmp(e.path, again.path) && !strcmp(e.link, again.link));
		must(e.type == again.type && e.size == again.size && e.mtime == again.mtime &&
		     e.uid == again.uid && e.gid == again.gid && e.mode == again.mode);
	}
	return r;
}

static int (*const kinds[])(struct input *in) = {try_ports,  try_mounts, try_device,
						 try_ulimit, try_env,	 try_values,
						 try_side,   try_object, try_tar};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(32 << 20);
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(16 << 20);
	struct input in = {.a = a, .err = UM_ERROR_INIT};
	int r;

	if (!a || !size || size > 1 << 16)
		return 0;
	in.text = um_arena_strndup(a, (const char *)data + 1, size - 1);
	if (!in.text)
		return 0;
	in.len = strlen(in.text);
	in.raw = data + 1;
	in.raw_len = size - 1;
	in.root = um_json_new_obj(a);
	in.list = um_json_ensure_arr(a, in.root, "List");
	r = kinds[(data[0] - '0') % UM_ARRAY_LEN(kinds)](&in);
	must(r >= 0 || in.err.msg[0]);
	if (!um_arena_failed(a))
		must(um_json_write(&b, in.root) == 0);
	return 0;
}
