#include "netns/rules.h"

#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/io.h"

#define TABLE "umiak"

/* %1$s: the pod range. The pods' own range and multicast keep their source; ports are drawn at
 * random, since two pods that call one server at once would else race for the same one. */
static const char rules[] = "add table inet " TABLE "\n"
			    "%2$s table inet " TABLE "\n"
			    "table inet " TABLE " {\n"
			    "	chain postrouting {\n"
			    "		type nat hook postrouting priority srcnat; policy accept;\n"
			    "		ip saddr %1$s ip daddr != { %1$s, 224.0.0.0/4 } "
			    "masquerade fully-random\n"
			    "	}\n"
			    "	chain forward {\n"
			    "		type filter hook forward priority filter; policy accept;\n"
			    "		ip saddr %1$s accept\n"
			    "		ip daddr %1$s accept\n"
			    "	}\n"
			    "}\n";
static const char *const chains[] = {"postrouting", "forward"};

/* Where nft(8) is, by distribution. */
static const char *const nft_paths[] = {"/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft",
					"/usr/local/sbin/nft"};

static const char *find_nft(void)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(nft_paths); i++)
		if (access(nft_paths[i], X_OK) == 0)
			return nft_paths[i];
	return NULL;
}

/* Starts nft with the two files as stdin and as stdout and stderr. 0 or a negative errno. */
static int spawn_nft(const char *nft, int in, int out, pid_t *ret_pid)
{
	char *const argv[] = {(char *)"nft", (char *)"-f", (char *)"-", NULL};
	char *const env[] = {(char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", (char *)"LC_ALL=C",
			     NULL};
	posix_spawn_file_actions_t fa;
	int r = posix_spawn_file_actions_init(&fa);

	if (r)
		return -r;
	r = posix_spawn_file_actions_adddup2(&fa, in, 0);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&fa, out, 1);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&fa, out, 2);
	if (r == 0)
		r = posix_spawn(ret_pid, nft, &fa, NULL, argv, env);
	posix_spawn_file_actions_destroy(&fa);
	return -r;
}

/* The first line that nft printed. */
static void first_line(int fd, char *line, size_t size)
{
	ssize_t n = pread(fd, line, size - 1, 0);

	line[n > 0 ? n : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
}

int um_rules_run(const char *text, struct um_error *err)
{
	_cleanup_close_ int in = memfd_create("umiak-nft", MFD_CLOEXEC);
	_cleanup_close_ int out = memfd_create("umiak-nft", MFD_CLOEXEC);
	const char *nft = find_nft();
	char line[300];
	int r, status;
	pid_t pid;

	if (!nft)
		return um_error_set(err, -ENOENT,
				    "nft(8) is not installed: the pod network needs it");
	if (in < 0 || out < 0)
		return um_error_errno(err, -errno, "memfd_create");
	r = um_io_write_all(in, text, strlen(text));
	if (r == 0 && lseek(in, 0, SEEK_SET) < 0)
		r = -errno;
	if (r == 0)
		r = spawn_nft(nft, in, out, &pid);
	if (r < 0)
		return um_error_errno(err, r, "run %s", nft);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return um_error_errno(err, -errno, "wait for %s", nft);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	first_line(out, line, sizeof(line));
	return um_error_set(err, -EIO, "%s: %s", nft, line[0] ? line : "it failed in silence");
}

static int on_generation(struct nl_msg *m, void *arg)
{
	struct nlattr *id = nlmsg_find_attr(nlmsg_hdr(m), sizeof(struct nfgenmsg), NFTA_GEN_ID);

	if (id && nla_len(id) == 4)
		*(uint32_t *)arg = ntohl(nla_get_u32(id));
	return NL_OK;
}

static int get_generation(struct um_nl *nl, uint32_t *ret)
{
	struct nfgenmsg head = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0};
	_cleanup_msg_ struct nl_msg *m = um_nl_msg(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
						   NLM_F_ACK, &head, sizeof(head));
	int r;

	*ret = 0;
	r = um_nl_dump(nl, m, on_generation, ret);
	if (r == 0) { /* the answer came; the acknowledgement follows */
		r = nl_wait_for_ack(nl->sock);
		r = r < 0 ? um_nl_errno(nl, r) : 0;
	}
	return r;
}

static void mix(uint64_t *h, const void *data, size_t len)
{
	for (const uint8_t *p = data; len > 0; p++, len--)
		*h = (*h ^ *p) * UINT64_C(0x100000001b3);
}

static int on_rule(struct nl_msg *m, void *arg)
{
	struct um_rules_state *st = arg;
	struct nlattr *a[NFTA_RULE_MAX + 1];

	if (nlmsg_parse(nlmsg_hdr(m), sizeof(struct nfgenmsg), a, NFTA_RULE_MAX, NULL) < 0 ||
	    !a[NFTA_RULE_TABLE] || !a[NFTA_RULE_CHAIN] || !a[NFTA_RULE_HANDLE] ||
	    nla_strcmp(a[NFTA_RULE_TABLE], TABLE) != 0)
		return NL_OK;
	for (size_t i = 0; i < UM_ARRAY_LEN(chains); i++) {
		if (nla_strcmp(a[NFTA_RULE_CHAIN], chains[i]) != 0)
			continue;
		st->count++;
		mix(&st->fingerprint, &i, sizeof(i));
		mix(&st->fingerprint, nla_data(a[NFTA_RULE_HANDLE]),
		    (size_t)nla_len(a[NFTA_RULE_HANDLE]));
		if (a[NFTA_RULE_EXPRESSIONS])
			mix(&st->fingerprint, nla_data(a[NFTA_RULE_EXPRESSIONS]),
			    (size_t)nla_len(a[NFTA_RULE_EXPRESSIONS]));
	}
	return NL_OK;
}

/* Reads the state. The generation is read first: a change in between is then seen next time. */
static int read_state(struct um_nl *nl, struct um_rules_state *ret, struct um_error *err)
{
	struct nfgenmsg head = {.nfgen_family = NFPROTO_INET, .version = NFNETLINK_V0};
	int r = get_generation(nl, &ret->generation);

	ret->fingerprint = UINT64_C(0xcbf29ce484222325);
	ret->count = 0;
	if (r == 0) {
		_cleanup_msg_ struct nl_msg *m =
			um_nl_msg(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE, NLM_F_DUMP, &head,
				  sizeof(head));

		if (m && nla_put_string(m, NFTA_RULE_TABLE, TABLE) < 0)
			r = -ENOMEM;
		else
			r = um_nl_dump(nl, m, on_rule, ret);
	}
	return r < 0 ? um_nl_fail(nl, err, r, "list the rules of table inet " TABLE) : 0;
}

int um_rules_load(struct um_nl *nl, const struct um_range *pods, struct um_rules_state *ret,
		  struct um_error *err)
{
	/* A table of another version may have chains that a flush cannot make ours. */
	static const char *const how[] = {"flush", "delete"};
	char range[UM_RANGE_TEXT_LEN], text[sizeof(rules) + 8 * UM_RANGE_TEXT_LEN];
	struct um_error e = UM_ERROR_INIT;
	int r = -EIO;

	um_range_format(pods, range);
	for (size_t i = 0; i < UM_ARRAY_LEN(how) && r == -EIO; i++) {
		snprintf(text, sizeof(text), rules, range, how[i]);
		r = um_rules_run(text, &e);
	}
	if (r < 0) {
		um_error_move(err, &e);
		return um_error_wrap(err, r, "load table inet " TABLE);
	}
	return read_state(nl, ret, err);
}

int um_rules_intact(struct um_nl *nl, struct um_rules_state *st, bool *ret_intact,
		    struct um_error *err)
{
	struct um_rules_state now;
	uint32_t generation;
	int r = get_generation(nl, &generation);

	if (r < 0)
		return um_nl_fail(nl, err, r, "read the ruleset's generation");
	*ret_intact = generation == st->generation;
	if (*ret_intact)
		return 0;
	r = read_state(nl, &now, err);
	if (r < 0)
		return r;
	*ret_intact = now.count == st->count && now.fingerprint == st->fingerprint;
	if (*ret_intact)
		st->generation = now.generation;
	return 0;
}

int um_rules_remove(struct um_error *err)
{
	return um_rules_run("add table inet " TABLE "\ndelete table inet " TABLE "\n", err);
}
