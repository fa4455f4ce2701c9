/* Services by hand, for tests and benchmarks: services_tool SERVICE_RANGE POD_RANGE NODE_RANGE|-
 * opens them and obeys the lines of stdin, one answer each: "ok [what]" or "error <errno>
 * <message>".
 *
 *     set KEY [PORT...]     each PORT: tcp|udp|sctp,VIP:PORT,NODE_PORT,AFFINITY[,ADDRESS:PORT...]
 *     remove KEY
 *     flush
 *     check                 -> ok healed | ok intact
 *     many FIRST COUNT ENDPOINTS   keys m0...: VIP 10.96.x.y:80, endpoints 10.244.x.y:8080 of its
 * own destroy
 *
 * Each answer ends in " <microseconds>". */
#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "netns/foreign.h"
#include "netns/range.h"
#include "netns/services.h"

#define WORDS 4096

struct words {
	char *w[WORDS];
	int n;
};

static void split(char *line, const char *by, struct words *ret)
{
	ret->n = 0;
	for (char *save = NULL, *w = strtok_r(line, by, &save); w && ret->n < WORDS;
	     w = strtok_r(NULL, by, &save))
		ret->w[ret->n++] = w;
}

static int number(const char *s, uint64_t max, struct um_error *err, uint64_t *ret)
{
	int r = um_num_u64(s, max, ret);

	return r < 0 ? um_error_set(err, r, "\"%s\" is no number up to %llu", s,
				    (unsigned long long)max)
		     : 0;
}

static int address(char *s, struct in_addr *addr, uint16_t *port, struct um_error *err)
{
	char *colon = strchr(s, ':');
	uint64_t n;
	int r;

	if (!colon)
		return um_error_set(err, -EINVAL, "%s: no port", s);
	*colon = '\0';
	if (inet_pton(AF_INET, s, addr) != 1)
		return um_error_set(err, -EINVAL, "%s: no address", s);
	r = number(colon + 1, 65535, err, &n);
	*port = (uint16_t)n;
	return r;
}

struct parsed {
	struct um_service_port port;
	struct um_service_endpoint endpoints[WORDS];
};

static int parse_port(char *text, struct parsed *p, struct um_error *err)
{
	static struct words ws;
	uint64_t n;
	int r;

	memset(&p->port, 0, sizeof(p->port));
	split(text, ",", &ws);
	if (ws.n < 4)
		return um_error_set(err, -EINVAL, "four fields and more");
	p->port.protocol = strcmp(ws.w[0], "tcp") == 0	 ? IPPROTO_TCP
			   : strcmp(ws.w[0], "udp") == 0 ? IPPROTO_UDP
							 : IPPROTO_SCTP;
	r = address(ws.w[1], &p->port.vip, &p->port.port, err);
	if (r == 0)
		r = number(ws.w[2], 65535, err, &n);
	if (r < 0)
		return r;
	p->port.node_port = (uint16_t)n;
	r = number(ws.w[3], 1000000, err, &n);
	p->port.affinity_sec = (unsigned)n;
	for (int i = 4; i < ws.n && r == 0; i++)
		r = address(ws.w[i], &p->endpoints[i - 4].addr, &p->endpoints[i - 4].port, err);
	p->port.endpoints = p->endpoints;
	p->port.n_endpoints = (size_t)ws.n - 4;
	return r;
}

static int set(struct um_services *s, const struct words *ws, struct um_error *err)
{
	static struct parsed parsed[8];
	struct um_service_port ports[8];
	int n = ws->n - 2, r = n > 8 ? um_error_set(err, -E2BIG, "8 ports and no more") : 0;

	for (int i = 0; i < n && r == 0; i++) {
		r = parse_port(ws->w[i + 2], &parsed[i], err);
		ports[i] = parsed[i].port;
	}
	return r < 0 ? r : um_services_set(s, ws->w[1], ports, (size_t)n, err);
}

static int many(struct um_services *s, const struct words *ws, struct um_error *err)
{
	static struct um_service_endpoint e[1000];
	uint64_t first, count, endpoints;
	char key[40];
	int r = number(ws->w[1], 60000, err, &first);

	if (r == 0)
		r = number(ws->w[2], 60000, err, &count);
	if (r == 0)
		r = number(ws->w[3], 1000, err, &endpoints);
	for (uint64_t i = first; r == 0 && i < first + count; i++) {
		struct um_service_port p = {.protocol = IPPROTO_TCP,
					    .port = 80,
					    .endpoints = e,
					    .n_endpoints = endpoints};

		p.vip.s_addr = htonl(0x0a600100u + (uint32_t)i);
		for (uint64_t j = 0; j < endpoints; j++) {
			e[j].addr.s_addr =
				htonl(0x0af40001u + (uint32_t)((i * endpoints + j) % 65000));
			e[j].port = 8080;
		}
		snprintf(key, sizeof(key), "m%llu", (unsigned long long)i);
		r = um_services_set(s, key, &p, 1, err);
	}
	return r;
}

static int foreign(const struct um_services_config *cfg, const char **ret_what,
		   struct um_error *err)
{
	static char text[500];
	struct um_foreign f;
	int r = um_foreign_check(cfg->pod_range, &f, err);

	if (r == 0)
		snprintf(text, sizeof(text), " %s %s", f.added ? "added" : "kept", f.report);
	*ret_what = text;
	return r;
}

static int obey(struct um_services *s, const struct um_services_config *cfg, struct words *ws,
		const char **ret_what, struct um_error *err)
{
	const char *verb = ws->n ? ws->w[0] : "";
	bool healed = false;
	int r;

	if (strcmp(verb, "set") == 0 && ws->n >= 2)
		return set(s, ws, err);
	if (strcmp(verb, "many") == 0 && ws->n == 4)
		return many(s, ws, err);
	if (strcmp(verb, "flush") == 0)
		return um_services_flush(s, err);
	if (strcmp(verb, "destroy") == 0)
		return um_services_destroy(cfg, err);
	if (strcmp(verb, "remove") == 0 && ws->n == 2) {
		um_services_remove(s, ws->w[1]);
		return 0;
	}
	if (strcmp(verb, "unforeign") == 0)
		return um_foreign_remove(cfg->pod_range, err);
	if (strcmp(verb, "foreign") == 0)
		return foreign(cfg, ret_what, err);
	if (strcmp(verb, "check") != 0)
		return um_error_set(err, -EINVAL, "what is \"%s\"?", verb);
	r = um_services_check(s, &healed, err);
	*ret_what = healed ? " healed" : " intact";
	return r;
}

static void answer(const struct um_error *err, const char *what, int64_t began)
{
	if (err->code)
		printf("error %d %s\n", err->code, err->msg);
	else
		printf("ok%s %lld\n", what,
		       (long long)(um_clock_monotonic(&um_clock_system) - began) / 1000);
}

int main(int argc, char **argv)
{
	_cleanup_(um_services_closep) struct um_services *s = NULL;
	_cleanup_free_ char *line = NULL;
	struct um_services_config cfg = {0};
	struct um_error err = UM_ERROR_INIT;
	int64_t began = um_clock_monotonic(&um_clock_system);
	static struct words ws;
	size_t size = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 4)
		return UM_EXIT_USAGE;
	cfg.service_range = argv[1];
	cfg.pod_range = argv[2];
	cfg.node_range = strcmp(argv[3], "-") ? argv[3] : NULL;
	if (um_services_open(&cfg, &s, &err) < 0) {
		answer(&err, "", began);
		return UM_EXIT_FAILURE;
	}
	answer(&err, " open", began);
	while (getline(&line, &size, stdin) > 0) {
		const char *what = "";

		err = (struct um_error)UM_ERROR_INIT;
		split(line, " \n", &ws);
		began = um_clock_monotonic(&um_clock_system);
		(void)!obey(s, &cfg, &ws, &what, &err);
		answer(&err, what, began);
	}
	return UM_EXIT_OK;
}
