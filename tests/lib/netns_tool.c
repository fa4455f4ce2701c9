/* The pod network by hand, for tests: netns_tool STATE_DIR POD_RANGE NODE_RANGE [MTU] opens it and
 * obeys the lines of stdin, one answer each: "ok [what]" or "error <errno> <message>".
 *
 *     attach UID NETNS_PATH   -> ok ADDRESS LINK
 *     detach UID
 *     let-go UID              its namespace is about to end
 *     sweep [UID...]          keeps these
 *     check                   -> ok healed | ok intact
 *     destroy                 removes everything of the state folder's network
 */
#include <fcntl.h>
#include <string.h>

#include "base/num.h"
#include "netns/netns.h"

struct words {
	char *w[64];
	int n;
};

static struct words split(char *line)
{
	struct words ws = {.n = 0};

	for (char *save = NULL, *w = strtok_r(line, " \n", &save); w && ws.n < 64;
	     w = strtok_r(NULL, " \n", &save))
		ws.w[ws.n++] = w;
	return ws;
}

static bool is_kept(void *arg, const char *uid)
{
	const struct words *ws = arg;

	for (int i = 1; i < ws->n; i++)
		if (strcmp(ws->w[i], uid) == 0)
			return true;
	return false;
}

static int attach(struct um_net *net, const struct words *ws, struct um_error *err)
{
	_cleanup_close_ int fd = open(ws->w[2], O_RDONLY | O_CLOEXEC);
	struct um_net_pod pod;
	int r;

	if (fd < 0)
		return um_error_errno(err, -errno, "open %s", ws->w[2]);
	r = um_net_attach(net, ws->w[1], fd, &pod, err);
	if (r == 0)
		printf("ok %s %s\n", pod.addr_text, pod.host_ifname);
	return r;
}

static int obey(struct um_net *net, const struct um_net_config *cfg, struct words *ws,
		struct um_error *err)
{
	const char *verb = ws->n ? ws->w[0] : "";
	bool healed = false;
	int r;

	if (strcmp(verb, "attach") == 0 && ws->n == 3)
		return attach(net, ws, err);
	if (strcmp(verb, "detach") == 0 && ws->n == 2)
		r = um_net_detach(net, ws->w[1], err);
	else if (strcmp(verb, "let-go") == 0 && ws->n == 2)
		r = um_net_let_go(net, ws->w[1], err);
	else if (strcmp(verb, "sweep") == 0)
		r = um_net_sweep(net, is_kept, ws, err);
	else if (strcmp(verb, "check") == 0)
		r = um_net_check(net, &healed, err);
	else if (strcmp(verb, "destroy") == 0)
		r = um_net_destroy(cfg, err);
	else
		r = um_error_set(err, -EINVAL, "what is \"%s\"?", verb);
	if (r == 0)
		printf("ok%s\n", strcmp(verb, "check") ? "" : healed ? " healed" : " intact");
	return r;
}

int main(int argc, char **argv)
{
	_cleanup_(um_net_closep) struct um_net *net = NULL;
	struct um_error err = UM_ERROR_INIT;
	struct um_net_config cfg = {0};
	char line[4096];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 4 || argc > 5 || (argc == 5 && um_num_int(argv[4], 0, 65535, &cfg.mtu) < 0))
		return UM_EXIT_USAGE;
	cfg.state_dir = argv[1];
	cfg.pod_range = argv[2];
	cfg.node_range = argv[3];
	if (um_net_open(&cfg, &net, &err) < 0) {
		printf("error %d %s\n", err.code, err.msg);
		return UM_EXIT_FAILURE;
	}
	printf("ok open\n");
	while (fgets(line, sizeof(line), stdin)) {
		struct words ws = split(line);

		err = (struct um_error)UM_ERROR_INIT;
		if (obey(net, &cfg, &ws, &err) < 0)
			printf("error %d %s\n", err.code, err.msg);
	}
	return UM_EXIT_OK;
}
