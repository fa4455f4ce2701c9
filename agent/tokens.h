/* The tokens in a pod's volumes: when they are renewed, and asking for them. */
#ifndef UM_AGENT_TOKENS_H
#define UM_AGENT_TOKENS_H

#include <stdint.h>

#include "base/json.h"

struct agent_pod;
struct um_agent;

/* When a token that was asked for at @asked_ns and lives @life_ns is renewed: after four fifths of
 * its life, and after a day at the latest; by up to a twentieth of that earlier, as @random says (0
 * to UINT32_MAX), so that pods that started together do not ask together. */
int64_t tokens_renewal(int64_t asked_ns, int64_t life_ns, uint32_t random);

/* What is kept of a TokenRequest's answer: {token, dueNs, dueWallNs}. NULL: there is none in it, or
 * no memory. */
struct um_json *tokens_entry(struct um_arena *a, const struct um_agent *agent,
			     const struct um_json *answer);

/* When the next token of a running pod should be asked for, on the monotonic clock; INT64_MAX:
 * never, or it has been. The wall clock counts too, for hosts that slept. */
int64_t tokens_due(const struct agent_pod *p);
/* Asks for those that are due. */
void tokens_ask(struct agent_pod *p);

#endif
