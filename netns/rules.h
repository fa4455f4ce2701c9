/* The static rules: nftables table `inet umiak`, loaded as one transaction by nft(8). */
#ifndef UM_NETNS_RULES_H
#define UM_NETNS_RULES_H

#include <stdint.h>

#include "netns/nl.h"
#include "netns/range.h"

/* What the kernel said of the rules last: enough to see that somebody changed them. */
struct um_rules_state {
	uint32_t generation;  /* of the whole ruleset of the namespace */
	uint64_t fingerprint; /* of our chains' rules, by chain and handle */
	unsigned count;
};

/* Puts the rules in place of those of the same chains, whatever is there; sets and maps that others
 * added to the table keep their elements. Needs nft(8) (-ENOENT without). @nl is a
 * NETLINK_NETFILTER socket. */
um_must_check int um_rules_load(struct um_nl *nl, const struct um_range *pods,
				struct um_rules_state *ret, struct um_error *err);
/* True in *ret_intact when nobody touched our chains since. One small request where nobody touched
 * any rule at all. */
um_must_check int um_rules_intact(struct um_nl *nl, struct um_rules_state *st, bool *ret_intact,
				  struct um_error *err);
/* Gives @text to nft(8) as one transaction. -ENOENT: there is no nft; -EIO: it refused, with its
 * first line as the message. */
um_must_check int um_rules_run(const char *text, struct um_error *err);
/* Removes the table; success when there is none. */
um_must_check int um_rules_remove(struct um_error *err);

#endif
