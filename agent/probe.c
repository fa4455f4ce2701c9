/* Probes: exec, HTTP and TCP, with thresholds. Each try is bounded by timeoutSeconds. And hooks:
 * one try, bounded by the grace of the pod alone. */
#include "agent/internal.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/num.h"
#include "wire/http_client.h"
#include "wire/loop.h"
#include "wire/tls.h"

#define READ_MAX_BYTES (10 << 10)
#define HOOK_HTTP_NS (3600 * UM_NSEC_PER_SEC)

struct agent_probe {
	struct agent_ctr *ctr;
	enum probe_kind kind;
	const char *type; /* "exec", "httpGet", "tcpSocket", "sleep" */
	bool on;
	int ok_streak, bad_streak;
	bool verdict; /* what was last told */
	struct um_timer *next, *limit;
	/* the try under way */
	pid_t pid;
	struct um_child *child;
	int fd;
	struct um_fd *watch;
	struct um_http_client *client;
	struct um_http_call *call;
	int status; /* of the response whose body is being read */
	bool trying, timed_out;
};

/* The newest form of its definition: the pod's document may have been replaced. */
static const struct um_json *definition(const struct agent_probe *p)
{
	static const char *const fields[] = {"startupProbe", "livenessProbe", "readinessProbe",
					     "lifecycle.postStart", "lifecycle.preStop"};

	return um_json_path(p->ctr->spec, fields[p->kind]);
}

static bool is_hook(const struct agent_probe *p)
{
	return p->kind >= HOOK_POST_START;
}

static int64_t number(const struct agent_probe *p, const char *field, int64_t fallback)
{
	int64_t v = um_json_get_i64(definition(p), field, fallback);

	return v < 0 ? fallback : v;
}

static void end_try(struct agent_probe *p)
{
	um_timer_stop(p->limit);
	um_fd_free(TAKE_PTR(p->watch));
	p->fd = um_close(p->fd);
	um_http_call_cancel(TAKE_PTR(p->call));
	p->trying = false;
}

static void result(struct agent_probe *p, bool ok, const char *why)
{
	int need = (int)number(p, ok ? "successThreshold" : "failureThreshold", ok ? 1 : 3);
	int streak;

	end_try(p);
	if (!p->on)
		return;
	if (is_hook(p)) {
		p->on = false;
		ctr_hook_result(p->ctr, p->kind, ok, why);
		return;
	}
	um_timer_start(p->next, number(p, "periodSeconds", 10) * UM_NSEC_PER_SEC);
	if (ok)
		p->bad_streak = 0;
	else
		p->ok_streak = 0;
	streak = ok ? ++p->ok_streak : ++p->bad_streak;
	if (streak < need)
		return;
	p->ok_streak = ok ? need : 0; /* bounded */
	p->bad_streak = ok ? 0 : need;
	if (p->kind == PROBE_READINESS && p->verdict == ok && streak > need)
		return;
	p->verdict = ok;
	ctr_probe_result(p->ctr, p->kind, ok, why);
}

/* ---- exec ---- */

static void on_exec_done(void *arg, um_unused pid_t pid, int status)
{
	struct agent_probe *p = arg;
	char why[100];

	um_child_free(TAKE_PTR(p->child));
	p->pid = 0;
	if (!p->trying)
		return;
	if (p->timed_out)
		snprintf(why, sizeof(why), "command timed out");
	else if (status != -1 && WIFEXITED(status))
		snprintf(why, sizeof(why), "command exited with %d", WEXITSTATUS(status));
	else
		snprintf(why, sizeof(why), "command was killed");
	result(p, !p->timed_out && status == 0, why);
}

extern char **environ;

static bool try_exec(struct agent_probe *p, char *why, size_t size)
{
	struct um_agent *a = p->ctr->pod->agent;
	const struct um_json *command = um_json_path(definition(p), "exec.command");
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none;
	char **argv;
	int n = 0, r;

	argv = calloc((command ? command->len : 0) + 8, sizeof(*argv));
	if (!argv) {
		snprintf(why, size, "out of memory");
		return false;
	}
	argv[n++] = a->oci_path;
	argv[n++] = (char *)(uintptr_t) "--root";
	argv[n++] = a->oci_root;
	argv[n++] = (char *)(uintptr_t) "exec";
	argv[n++] = p->ctr->id;
	um_json_foreach (it, command)
		argv[n++] = (char *)(uintptr_t)um_json_str(it, "");
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&fa, 2, "/dev/null", O_WRONLY, 0);
	posix_spawnattr_init(&attr);
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	r = posix_spawn(&p->pid, a->oci_path, &fa, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	free(argv);
	if (r == 0)
		p->child = um_child_new(a->loop, p->pid, on_exec_done, p);
	if (r == 0 && !p->child) { /* nobody would reap it */
		kill(-p->pid, SIGKILL);
		while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (r != 0 || !p->child) {
		p->pid = 0;
		snprintf(why, size, "cannot run the probe's command");
		return false;
	}
	return true;
}

/* ---- tcp and http: where to ----*/

static int port_number(const struct agent_probe *p, const struct um_json *port)
{
	if (um_json_is(port, UM_JSON_NUM))
		return (int)um_json_i64(port, 0);
	um_json_foreach (it, um_json_get(p->ctr->spec, "ports")) {
		if (um_json_streq(port, um_json_get_str(it, "name", "")))
			return (int)um_json_get_i64(it, "containerPort", 0);
	}
	return 0;
}

/* The pod is asked at its own address, from the host. */
static const char *target_host(const struct agent_probe *p, const struct um_json *def)
{
	const char *host = um_json_get_str(def, "host", "");

	if (*host)
		return host;
	return p->ctr->pod->ip[0] ? p->ctr->pod->ip : "127.0.0.1";
}

static void on_connected(void *arg, int fd, um_unused int events)
{
	struct agent_probe *p = arg;
	int error = 0;
	socklen_t len = sizeof(error);
	char why[200];

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	snprintf(why, sizeof(why), "dial tcp: %s", strerror(error));
	result(p, error == 0, why);
}

static bool try_tcp(struct agent_probe *p, char *why, size_t size)
{
	const struct um_json *def = um_json_get(definition(p), "tcpSocket");
	int port = port_number(p, um_json_get(def, "port"));
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	if (inet_pton(AF_INET, target_host(p, def), &addr.sin_addr) != 1 || port <= 0) {
		snprintf(why, size, "tcpSocket: no such port, or host is no IPv4 address");
		return false;
	}
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->fd < 0 ||
	    (connect(p->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 && errno != EINPROGRESS)) {
		snprintf(why, size, "dial tcp %s:%d: %s", target_host(p, def), port,
			 strerror(errno));
		return false;
	}
	p->watch = um_fd_new(p->ctr->pod->agent->loop, p->fd, UM_FD_WRITE, on_connected, p);
	if (!p->watch)
		snprintf(why, size, "out of memory");
	return p->watch != NULL;
}

/* What the server says after its head does not matter, however long it is. */
static void on_http_head(void *arg, const struct um_http1_head *head)
{
	struct agent_probe *p = arg;

	p->status = head->status;
}

static void on_http_done(void *arg, const struct um_http_result *res)
{
	struct agent_probe *p = arg;
	int status = res->err->code == -EMSGSIZE ? p->status : res->status;
	char why[600];

	p->call = NULL; /* it is over: nothing to cancel */
	if (status)
		snprintf(why, sizeof(why), "HTTP probe failed with statuscode: %d", status);
	else
		snprintf(why, sizeof(why), "Get: %s", res->err->msg);
	/* To a hook any answer is one. */
	result(p, is_hook(p) ? status > 0 : status >= 200 && status < 400, why);
}

/* The certificate of a pod is nobody's: it is not verified, as kubelets do not. */
static struct um_tls *probe_tls(struct um_agent *a, struct um_error *err)
{
	static const struct um_tls_opts anybody = {.insecure = true};

	if (!a->probe_tls && um_tls_client_new(&anybody, &a->probe_tls, err) < 0)
		return NULL;
	return a->probe_tls;
}

static const struct um_http1_header usual_headers[][2] = {
	{{"User-Agent", "kube-probe/1.33"}, {"Accept", "*/*"}},
	{{"User-Agent", "kube-lifecycle/1.33"}, {"Accept", "*/*"}},
};

static bool has_header(const struct um_http_call_opts *o, const char *name)
{
	for (size_t i = 0; i < o->n_headers; i++)
		if (!strcasecmp(o->headers[i].name, name))
			return true;
	return false;
}

/* The definition's own headers, and the usual ones that it does not give; free() them. */
static int set_headers(struct um_http_call_opts *o, const struct um_json *given, bool hook)
{
	struct um_http1_header *h =
		calloc((given ? given->len : 0) + UM_ARRAY_LEN(usual_headers[0]), sizeof(*h));

	if (!h)
		return -ENOMEM;
	o->headers = h;
	um_json_foreach (it, given)
		h[o->n_headers++] = (struct um_http1_header){
			.name = um_json_get_str(it, "name", ""),
			.value = um_json_get_str(it, "value", ""),
		};
	for (size_t i = 0; i < UM_ARRAY_LEN(usual_headers[0]); i++)
		if (!has_header(o, usual_headers[hook][i].name))
			h[o->n_headers++] = usual_headers[hook][i];
	return 0;
}

static bool try_http(struct agent_probe *p, char *why, size_t size)
{
	const struct um_json *def = um_json_get(definition(p), "httpGet");
	const char *path = um_json_get_str(def, "path", "/");
	struct um_http_client_opts co = {
		.host = target_host(p, def),
		.port = port_number(p, um_json_get(def, "port")),
		.max_idle = 1,
		.bare_lf = true,
	};
	struct um_http_call_opts o = {
		.method = "GET",
		.close = true,
		.body_cap = READ_MAX_BYTES,
		.timeout_ns = is_hook(p) ? HOOK_HTTP_NS
					 : number(p, "timeoutSeconds", 1) * UM_NSEC_PER_SEC,
		.on_head = on_http_head,
		.on_done = on_http_done,
		.arg = p,
	};
	struct um_error err = UM_ERROR_INIT;
	_cleanup_free_ char *target = NULL;
	int r = 0;

	if (asprintf(&target, "%s%s", *path == '/' ? "" : "/", path) < 0)
		return false;
	o.target = target;
	if (!strcmp(um_json_get_str(def, "scheme", "HTTP"), "HTTPS")) {
		co.tls = probe_tls(p->ctr->pod->agent, &err);
		r = co.tls ? 0 : err.code;
	}
	if (r == 0)
		r = set_headers(&o, um_json_get(def, "httpHeaders"), is_hook(p));
	um_http_client_free(TAKE_PTR(p->client));
	p->status = 0;
	if (r == 0)
		r = um_http_client_new(p->ctr->pod->agent->loop, &co, &p->client, &err);
	if (r == 0)
		r = um_http_call_start(p->client, &o, &p->call, &err);
	free((void *)(uintptr_t)o.headers);
	if (r < 0)
		snprintf(why, size, "%s", *err.msg ? err.msg : strerror(-r));
	return r == 0;
}

/* ---- sleep: hooks only ---- */

static bool try_sleep(struct agent_probe *p, char *why um_unused, size_t size um_unused)
{
	int64_t seconds = um_json_get_i64(definition(p), "sleep.seconds", 0);

	um_timer_start(p->limit, seconds * UM_NSEC_PER_SEC);
	return true;
}

/* ---- turns ---- */

static const struct {
	const char *type;
	bool (*try)(struct agent_probe *p, char *why, size_t size);
} types[] = {
	{"exec", try_exec}, {"httpGet", try_http}, {"tcpSocket", try_tcp}, {"sleep", try_sleep}};

static void on_limit(void *arg)
{
	struct agent_probe *p = arg;

	if (p->pid > 0) { /* the command is killed; its end is the result */
		p->timed_out = true;
		kill(-p->pid, SIGKILL);
		return;
	}
	if (is_hook(p))
		result(p, true, ""); /* it has slept */
	else
		result(p, false, "timed out");
}

static void on_next(void *arg)
{
	struct agent_probe *p = arg;
	char why[600] = "no handler";

	if (!p->on || p->trying)
		return;
	if (p->pid > 0) { /* an earlier run's command has yet to end */
		um_timer_start(p->next, UM_NSEC_PER_SEC);
		return;
	}
	p->trying = true;
	p->timed_out = false;
	if (!is_hook(p))
		um_timer_start(p->limit, number(p, "timeoutSeconds", 1) * UM_NSEC_PER_SEC);
	for (size_t i = 0; i < UM_ARRAY_LEN(types); i++)
		if (!strcmp(types[i].type, p->type) && types[i].try(p, why, sizeof(why)))
			return;
	result(p, false, why);
}

struct agent_probe *probe_new(struct agent_ctr *c, enum probe_kind kind, const struct um_json *spec)
{
	struct agent_probe *p = calloc(1, sizeof(*p));
	struct um_loop *l = c->pod->agent->loop;

	if (!p)
		return NULL;
	p->ctr = c;
	p->kind = kind;
	p->fd = -1;
	p->type = "none";
	for (size_t i = 0; i < UM_ARRAY_LEN(types); i++)
		if (um_json_get(spec, types[i].type))
			p->type = types[i].type;
	p->next = um_timer_new(l, on_next, p);
	p->limit = um_timer_new(l, on_limit, p);
	if (!p->next || !p->limit) {
		probe_free(p);
		return NULL;
	}
	return p;
}

void probe_start(struct agent_probe *p)
{
	p->on = true;
	p->ok_streak = p->bad_streak = 0;
	p->verdict = false;
	um_timer_start(p->next, number(p, "initialDelaySeconds", 0) * UM_NSEC_PER_SEC);
}

void probe_stop(struct agent_probe *p)
{
	p->on = false;
	um_timer_stop(p->next);
	end_try(p);
	if (p->pid > 0)
		kill(-p->pid, SIGKILL);
}

void probe_free(struct agent_probe *p)
{
	if (!p)
		return;
	if (p->next)
		probe_stop(p);
	um_child_free(p->child);
	um_http_client_free(p->client);
	um_timer_free(p->next);
	um_timer_free(p->limit);
	free(p);
}
