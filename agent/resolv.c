#include "agent/resolv.h"

#include <fcntl.h>
#include <string.h>

#include "base/io.h"

#define STUB "127.0.0.53"
#define SPACE " \t\r"

/* ---- parsing ---- */

/* The next word of *p within the line, or NULL. */
static const char *word(const char **p, size_t *ret_len)
{
	const char *w = *p + strspn(*p, SPACE);

	*ret_len = strcspn(w, SPACE "\n");
	*p = w + *ret_len;
	return *ret_len ? w : NULL;
}

static void keep(char *to, size_t size, size_t *n, size_t max, const char *from, size_t len,
		 bool *clipped)
{
	if (*n == max || len >= size) {
		*clipped = true;
		return;
	}
	memcpy(to, from, len);
	to[len] = '\0';
	++*n;
}

static void parse_line(const char *p, struct resolv *r)
{
	size_t len;
	const char *key = word(&p, &len), *w;

	if (!key || *key == '#' || *key == ';')
		return;
	if (len == 10 && !memcmp(key, "nameserver", 10)) {
		w = word(&p, &len);
		if (w)
			keep(r->servers[r->n_servers % RESOLV_HOST_SERVERS_MAX], 64, &r->n_servers,
			     RESOLV_HOST_SERVERS_MAX, w, len, &r->clipped);
	} else if (len == 6 && (!memcmp(key, "search", 6) || !memcmp(key, "domain", 6))) {
		r->n_searches = 0;
		while ((w = word(&p, &len)))
			keep(r->searches[r->n_searches % RESOLV_SEARCHES_MAX], 256, &r->n_searches,
			     RESOLV_SEARCHES_MAX, w, len, &r->clipped);
	} else if (len == 7 && !memcmp(key, "options", 7)) {
		while ((w = word(&p, &len)))
			keep(r->options[r->n_options % RESOLV_OPTIONS_MAX], 64, &r->n_options,
			     RESOLV_OPTIONS_MAX, w, len, &r->clipped);
	}
}

void resolv_parse(const char *text, struct resolv *ret)
{
	memset(ret, 0, sizeof(*ret));
	while (*text) {
		parse_line(text, ret);
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
}

bool resolv_is_stub(const struct resolv *r)
{
	for (size_t i = 0; i < r->n_servers; i++)
		if (strcmp(r->servers[i], STUB) != 0)
			return false;
	return r->n_servers > 0;
}

static bool read_file(const char *path, struct resolv *ret)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 16);

	if (um_io_read_file(AT_FDCWD, path, &b, NULL) < 0)
		return false;
	resolv_parse(um_buf_str(&b), ret);
	return true;
}

void resolv_read_host(struct resolv *ret)
{
	_cleanup_free_ struct resolv *real = NULL;

	if (!read_file(RESOLV_HOST_PATH, ret))
		memset(ret, 0, sizeof(*ret));
	if (!resolv_is_stub(ret))
		return;
	real = malloc(sizeof(*real));
	if (real && read_file(RESOLV_SYSTEMD_PATH, real) && real->n_servers)
		*ret = *real;
}

/* ---- a pod's ---- */

static bool has(const char *list, size_t size, size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list + i * size, text))
			return true;
	return false;
}

static void add_server(struct resolv *r, const char *text)
{
	if (has(r->servers[0], sizeof(r->servers[0]), r->n_servers, text))
		return;
	keep(r->servers[r->n_servers % RESOLV_SERVERS_MAX], sizeof(r->servers[0]), &r->n_servers,
	     RESOLV_SERVERS_MAX, text, strlen(text), &r->clipped);
}

static void add_search(struct resolv *r, const char *text)
{
	size_t bytes = strlen(text), n = r->n_searches;

	if (has(r->searches[0], sizeof(r->searches[0]), n, text))
		return;
	for (size_t i = 0; i < n; i++)
		bytes += strlen(r->searches[i]) + 1;
	if (bytes > RESOLV_SEARCH_BYTES)
		r->clipped = true;
	else
		keep(r->searches[n % RESOLV_SEARCHES_MAX], sizeof(r->searches[0]), &r->n_searches,
		     RESOLV_SEARCHES_MAX, text, strlen(text), &r->clipped);
}

/* "name" or "name:value": one of the same name is replaced. */
static void add_option(struct resolv *r, const char *text)
{
	size_t name = strcspn(text, ":"), i = 0, n;

	while (i < r->n_options &&
	       (strncmp(r->options[i], text, name) != 0 || strcspn(r->options[i], ":") != name))
		i++;
	n = i;
	keep(r->options[i % RESOLV_OPTIONS_MAX], sizeof(r->options[0]), &n, RESOLV_OPTIONS_MAX,
	     text, strlen(text), &r->clipped);
	if (n > r->n_options)
		r->n_options = n;
}

static void add_cluster(struct resolv *r, const struct um_json *pod, const char *dns,
			const char *domain)
{
	char search[600];

	add_server(r, dns);
	snprintf(search, sizeof(search), "%s.svc.%s",
		 um_json_get_str(pod, "metadata.namespace", "default"), domain);
	add_search(r, search);
	add_search(r, search + strcspn(search, ".") + 1);
	add_search(r, domain);
	add_option(r, "ndots:5");
}

static void add_host(struct resolv *r, const struct resolv *host, bool all)
{
	for (size_t i = 0; all && i < host->n_servers; i++)
		add_server(r, host->servers[i]);
	for (size_t i = 0; i < host->n_searches; i++)
		if (strcmp(host->searches[i], ".") != 0) /* systemd's "no search path" */
			add_search(r, host->searches[i]);
	for (size_t i = 0; all && i < host->n_options; i++)
		add_option(r, host->options[i]);
}

static void add_config(struct resolv *r, const struct um_json *cfg)
{
	um_json_foreach (it, um_json_get(cfg, "nameservers"))
		add_server(r, um_json_str(it, ""));
	um_json_foreach (it, um_json_get(cfg, "searches"))
		add_search(r, um_json_str(it, ""));
	um_json_foreach (it, um_json_get(cfg, "options")) {
		const char *value = um_json_get_str(it, "value", NULL);
		char text[300];

		snprintf(text, sizeof(text), "%s%s%s", um_json_get_str(it, "name", ""),
			 value ? ":" : "", value ? value : "");
		add_option(r, text);
	}
}

static void write_out(const struct resolv *r, struct um_buf *b)
{
	for (size_t i = 0; i < r->n_servers; i++)
		um_buf_addf(b, "nameserver %s\n", r->servers[i]);
	for (size_t i = 0; i < r->n_searches; i++)
		um_buf_addf(b, "%s%s%s", i ? "" : "search ", r->searches[i],
			    i + 1 < r->n_searches ? " " : "\n");
	for (size_t i = 0; i < r->n_options; i++)
		um_buf_addf(b, "%s%s%s", i ? "" : "options ", r->options[i],
			    i + 1 < r->n_options ? " " : "\n");
}

bool resolv_of_pod(const struct um_json *pod, const char *dns, const char *domain,
		   const struct resolv *host, struct um_buf *b)
{
	_cleanup_free_ struct resolv *r = calloc(1, sizeof(*r));
	const char *policy = um_json_get_str(pod, "spec.dnsPolicy", "ClusterFirst");
	bool cluster = dns && (!strcmp(policy, "ClusterFirstWithHostNet") ||
			       (!strcmp(policy, "ClusterFirst") &&
				!um_json_get_bool(pod, "spec.hostNetwork", false)));

	if (!r) {
		b->failed = -ENOMEM;
		return true;
	}
	if (cluster)
		add_cluster(r, pod, dns, domain);
	if (strcmp(policy, "None") != 0)
		add_host(r, host, !cluster);
	add_config(r, um_json_path(pod, "spec.dnsConfig"));
	write_out(r, b);
	return !r->clipped;
}
