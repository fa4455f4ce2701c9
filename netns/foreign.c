#include "netns/foreign.h"

#include <arpa/inet.h>
#include <inttypes.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "base/vec.h"
#include "netns/nft.h"
#include "netns/range.h"
#include "netns/rules.h"

#define DOCKER_CHAIN "DOCKER-USER"
#define COMMENT_TYPE 0 /* of the attributes that nft keeps with a rule for itself */
#define TRIES 20

struct rule {
	uint64_t handle;
	char chain[32];
};

struct look {
	struct um_nft *nft;
	char from[64], to[64]; /* the comments */
	bool docker, drops;    /* table ip filter: DOCKER-USER is there, FORWARD's policy is drop */
	const char *place;     /* where our rules belong; NULL: nowhere */
	bool has_from, has_to, misplaced;
	UM_VEC(struct rule) ours;
	struct um_foreign *ret; /* may be NULL */
	const char *range;
};

static const char *text_of(const struct nlattr *a)
{
	const char *t = a ? mnl_attr_get_payload(a) : NULL;

	return t && memchr(t, '\0', mnl_attr_get_payload_len(a)) ? t : "";
}

static void report(struct look *l, const char *family, const char *table, const char *chain,
		   bool firewalld)
{
	if (!l->ret || l->ret->report[0])
		return;
	if (firewalld)
		snprintf(l->ret->report, sizeof(l->ret->report),
			 "firewalld drops what pods send and get unless their range is trusted: "
			 "firewall-cmd --permanent --zone=trusted --add-source=%s, then "
			 "firewall-cmd --reload",
			 l->range);
	else
		snprintf(l->ret->report, sizeof(l->ret->report),
			 "chain %.64s of table %s %.64s drops forwarded packets by its policy: it "
			 "must accept those from and to %s",
			 chain, family, table, l->range);
}

static bool is_forward(const struct nlattr *hook)
{
	const struct nlattr *a[NFTA_HOOK_MAX + 1];

	return hook && um_nft_nested(hook, a, NFTA_HOOK_MAX) == 0 && a[NFTA_HOOK_HOOKNUM] &&
	       mnl_attr_get_payload_len(a[NFTA_HOOK_HOOKNUM]) == 4 &&
	       ntohl(mnl_attr_get_u32(a[NFTA_HOOK_HOOKNUM])) == NF_INET_FORWARD;
}

static bool drops_all(const struct nlattr *policy)
{
	return policy && mnl_attr_get_payload_len(policy) == 4 &&
	       ntohl(mnl_attr_get_u32(policy)) == NF_DROP;
}

static int on_chain(void *arg, const struct nlmsghdr *h)
{
	const struct nlattr *a[NFTA_CHAIN_MAX + 1];
	const struct nfgenmsg *g = mnl_nlmsg_get_payload(h);
	const char *table, *chain;
	struct look *l = arg;
	bool ip;
	int r = um_nft_attrs(h, sizeof(struct nfgenmsg), a, NFTA_CHAIN_MAX);

	if (r < 0)
		return r;
	ip = g->nfgen_family == NFPROTO_IPV4;
	table = text_of(a[NFTA_CHAIN_TABLE]);
	chain = text_of(a[NFTA_CHAIN_NAME]);
	if (ip && strcmp(table, "filter") == 0 && strcmp(chain, DOCKER_CHAIN) == 0)
		l->docker = true;
	if (!is_forward(a[NFTA_CHAIN_HOOK]))
		return 0;
	if (!ip && strcmp(table, "firewalld") == 0)
		report(l, "inet", table, chain, true);
	else if (!drops_all(a[NFTA_CHAIN_POLICY]))
		return 0;
	else if (ip && strcmp(table, "filter") == 0 && strcmp(chain, "FORWARD") == 0)
		l->drops = true;
	else
		report(l, ip ? "ip" : "inet", table, chain, false);
	return 0;
}

static bool comment_is(const struct nlattr *userdata, const char *text)
{
	const uint8_t *p = userdata ? mnl_attr_get_payload(userdata) : NULL;
	size_t len = userdata ? mnl_attr_get_payload_len(userdata) : 0;

	while (len >= 2 && (size_t)p[1] + 2 <= len) {
		if (p[0] == COMMENT_TYPE && p[1] == strlen(text) + 1 &&
		    memcmp(p + 2, text, p[1]) == 0)
			return true;
		len -= 2u + p[1];
		p += 2 + p[1];
	}
	return false;
}

static int on_rule(void *arg, const struct nlmsghdr *h)
{
	const struct nlattr *a[NFTA_RULE_MAX + 1];
	bool from, to, right;
	struct look *l = arg;
	struct rule rule;
	int r = um_nft_attrs(h, sizeof(struct nfgenmsg), a, NFTA_RULE_MAX);

	if (r < 0 || strcmp(text_of(a[NFTA_RULE_TABLE]), "filter") != 0)
		return r;
	from = comment_is(a[NFTA_RULE_USERDATA], l->from);
	to = comment_is(a[NFTA_RULE_USERDATA], l->to);
	if ((!from && !to) || !a[NFTA_RULE_HANDLE] ||
	    mnl_attr_get_payload_len(a[NFTA_RULE_HANDLE]) != 8)
		return 0;
	memcpy(&rule.handle, mnl_attr_get_payload(a[NFTA_RULE_HANDLE]), 8);
	rule.handle = be64toh(rule.handle);
	snprintf(rule.chain, sizeof(rule.chain), "%s", text_of(a[NFTA_RULE_CHAIN]));
	right = l->place && strcmp(rule.chain, l->place) == 0;
	l->misplaced |= !right || (from && l->has_from) || (to && l->has_to);
	l->has_from |= from && right;
	l->has_to |= to && right;
	return um_vec_push(&l->ours, rule);
}

static void look_release(struct look *l)
{
	um_vec_release(&l->ours);
	um_nft_close(l->nft);
}

static int look_once(struct look *l)
{
	static const uint8_t families[] = {NFPROTO_IPV4, NFPROTO_INET};
	_cleanup_buf_ struct um_buf attrs = UM_BUF_INIT(256);
	int r = 0;

	l->docker = l->drops = l->has_from = l->has_to = l->misplaced = false;
	um_vec_release(&l->ours);
	if (l->ret)
		l->ret->report[0] = '\0';
	for (size_t i = 0; i < UM_ARRAY_LEN(families) && r == 0; i++)
		r = um_nft_dump(l->nft, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN, families[i],
				NULL, on_chain, l);
	l->place = l->docker ? DOCKER_CHAIN : l->drops ? "FORWARD" : NULL;
	um_nft_put_text(&attrs, NFTA_RULE_TABLE, "filter");
	if (r == 0)
		r = um_nft_dump(l->nft, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE, NFPROTO_IPV4,
				&attrs, on_rule, l);
	return r == -ENOENT ? 0 : r;
}

static int look(struct look *l, struct um_error *err)
{
	struct um_range range;
	int r = um_range_parse("pod range", l->range, &range, err);

	if (r < 0)
		return r;
	snprintf(l->from, sizeof(l->from), "umiak: from pods %s", l->range);
	snprintf(l->to, sizeof(l->to), "umiak: to pods %s", l->range);
	r = um_nft_open(&l->nft, err);
	if (r < 0)
		return r;
	r = -EINTR;
	for (int i = 0; i < TRIES && r == -EINTR; i++)
		r = look_once(l);
	return r < 0 ? um_error_errno(err, r, "list the host's firewall") : 0;
}

static void put_removal(const struct look *l, struct um_buf *text)
{
	um_vec_foreach (rule, &l->ours)
		um_buf_addf(text, "delete rule ip filter %s handle %" PRIu64 "\n", rule->chain,
			    rule->handle);
}

static int run(struct um_buf *text, struct um_error *err)
{
	int r = um_buf_error(text);

	return r < 0 ? um_error_errno(err, r, "write rules") : um_rules_run(text->data, err);
}

int um_foreign_check(const char *pod_range, struct um_foreign *ret, struct um_error *err)
{
	_cleanup_buf_ struct um_buf text = UM_BUF_INIT(1 << 20);
	_cleanup_(look_release) struct look l = {
		.range = pod_range, .ret = ret, .ours = UM_VEC_INIT};
	int r;

	*ret = (struct um_foreign){0};
	r = look(&l, err);
	if (r < 0)
		return r;
	if (l.place ? l.has_from && l.has_to && !l.misplaced : !l.ours.len)
		return 0;
	put_removal(&l, &text);
	if (l.place)
		um_buf_addf(&text,
			    "insert rule ip filter %1$s ip saddr %2$s accept comment \"%3$s\"\n"
			    "insert rule ip filter %1$s ip daddr %2$s accept comment \"%4$s\"\n",
			    l.place, pod_range, l.from, l.to);
	r = run(&text, err);
	if (r < 0)
		return um_error_wrap(err, r, "accept pods' packets in table ip filter");
	ret->added = l.place != NULL;
	return 0;
}

int um_foreign_remove(const char *pod_range, struct um_error *err)
{
	_cleanup_buf_ struct um_buf text = UM_BUF_INIT(1 << 20);
	_cleanup_(look_release) struct look l = {.range = pod_range, .ours = UM_VEC_INIT};
	int r = look(&l, err);

	if (r < 0 || !l.ours.len)
		return r;
	put_removal(&l, &text);
	return run(&text, err);
}
