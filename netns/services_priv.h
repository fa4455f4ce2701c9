/* What the files of Services share: the state of each front (an address and port that clients call)
 * as it is wanted and as the kernel has it. */
#ifndef UM_NETNS_SERVICES_PRIV_H
#define UM_NETNS_SERVICES_PRIV_H

#include <pthread.h>

#include "base/hash.h"
#include "base/vec.h"
#include "netns/nft.h"
#include "netns/range.h"
#include "netns/services.h"

#define UM_SVC_TABLE "umiak_services"

/* The table's sets, as elements are sent and read. */
enum um_svc_set {
	UM_SVC_SERVICES,
	UM_SVC_NODE_PORTS,
	UM_SVC_ENDPOINTS,
	UM_SVC_NODE_ENDPOINTS,
	UM_SVC_STICKY,
	UM_SVC_NODE_STICKY,
	UM_SVC_NODE_TCP,
	UM_SVC_NODE_UDP,
	UM_SVC_HAIRPIN,
	UM_SVC_SETS
};
struct um_svc_set_desc {
	const char *name;
	uint8_t key_len, data_len;
};
extern const struct um_svc_set_desc um_svc_sets[UM_SVC_SETS];
#define UM_SVC_KEY_MAX 16

/* A class: which chain balances over how many endpoints. */
enum um_svc_kind { UM_SVC_PICK, UM_SVC_NODE_PICK, UM_SVC_STICKY_PICK, UM_SVC_NODE_STICKY_PICK };
#define UM_SVC_KINDS 4
#define UM_SVC_CLASS(kind, n) ((uint32_t)(kind) << 16 | (uint32_t)(n))

/* A time in the maps `sticky` and `remembers`; no class and no index has this bit. */
#define UM_SVC_TIME (1u << 28)

/* All of both in network byte order. Padding is explicit, so that they can be compared as bytes. */
struct um_svc_key {
	uint32_t vip; /* 0: a node port */
	uint16_t port;
	uint8_t protocol;
	uint8_t node;
};
struct um_svc_ep {
	uint32_t addr;
	uint16_t port;
	uint16_t zero;
};
typedef UM_VEC(struct um_svc_ep) um_svc_eps;
typedef UM_VEC(struct um_svc_key) um_svc_keys;

struct um_svc_front {
	struct um_svc_key key;
	bool wanted, dirty;
	bool have_open;	   /* node: in node_tcp or node_udp */
	bool have_spoiled; /* reading found what does not fit together */
	unsigned want_sec, have_sec;
	um_svc_eps want;     /* sorted, no doubles; when wanted */
	um_svc_eps have;     /* by index; port 0: no such index (only while reading) */
	uint32_t have_class; /* 0: none */
	char *owner;	     /* the Service's key when wanted; borrowed */
	struct um_svc_front *next_dirty;
	UT_hash_handle hh;
};

/* How many of the fronts have an endpoint of this address. */
struct um_svc_hairpin {
	uint32_t addr;
	unsigned refs;
	bool have; /* while reading: the kernel has it */
	UT_hash_handle hh;
};

struct um_svc_entry {
	um_svc_keys fronts;
	UT_hash_handle hh;
	char key[];
};

/* What the static part was when it was read last. */
struct um_svc_static {
	bool sealed; /* it is what was loaded, by its seal */
	bool usable; /* the table, its sets and chains are of this version, the rules may differ */
	uint64_t content;  /* of everything but elements; the seal's name has it */
	uint64_t identity; /* of the sets' handles: another one, and the elements may be gone */
	bool present;	   /* there is a table */
	char seal[40];	   /* the seal chain that there is, or "" */
};

struct um_services {
	pthread_mutex_t lock;
	struct um_range services, pods, node; /* node.prefix 0: not given */
	uint16_t node_min, node_max;
	uint32_t local; /* host byte order; 0: none */
	struct um_nft *nft;
	struct um_svc_entry *entries;
	struct um_svc_front *fronts;
	struct um_svc_hairpin *hairpins;
	struct um_svc_front *dirty;
	bool reread;	   /* what the kernel has is not known */
	bool unverified;   /* others had transactions since it was read */
	bool sweep;	   /* any connection may be stale */
	bool forget;	   /* any affinity may be stale */
	um_svc_keys stale; /* UDP fronts that lost endpoints */
	uint32_t generation;
	struct um_svc_static st;
	uint8_t *classes;		   /* a bit for each class that has a chain */
	UM_VEC(unsigned) times;		   /* seconds that have a chain */
	struct um_buf strays[UM_SVC_SETS]; /* encoded elements to delete */
	struct um_buf lacking;		   /* of the hairpin set, to add */
};
#define UM_SVC_CLASS_BYTES (UM_SVC_KINDS * 65536 / 8)

/* ---- services_diff.c: pure ---- */

/* Elements of one transaction, by set. */
struct um_svc_change {
	struct um_buf add[UM_SVC_SETS], del[UM_SVC_SETS];
};
void um_svc_change_init(struct um_svc_change *c);
void um_svc_change_release(struct um_svc_change *c);
size_t um_svc_change_bytes(const struct um_svc_change *c);

int um_svc_ep_compare(const void *a, const void *b);
/* The class that a front wants; 0: no endpoints or not wanted. */
uint32_t um_svc_want_class(const struct um_svc_front *f);
/* Appends what makes the kernel's state of @f the wanted one, and notes it as the kernel's. With
 * one endpoint replaced, two elements; with one more or less, at most six. True in *ret_lost when
 * an endpoint was removed. -ENOMEM: what the kernel has is unknown then. */
um_must_check int um_svc_diff(struct um_services *s, struct um_svc_front *f,
			      struct um_svc_change *c, bool *ret_lost);
/* Encodes the key of an element of a front's endpoint. */
size_t um_svc_put_index(uint8_t key[UM_SVC_KEY_MAX], const struct um_svc_key *k, uint32_t index);

/* ---- services_load.c ---- */

/* NULL when out of memory. */
struct um_svc_front *um_svc_front_get(struct um_services *s, const struct um_svc_key *k);
struct um_svc_front *um_svc_front_find(struct um_services *s, const struct um_svc_key *k);
void um_svc_front_free(struct um_services *s, struct um_svc_front *f);
void um_svc_mark(struct um_services *s, struct um_svc_front *f);
/* Takes in one element of the kernel's. -EBADMSG: lengths that the set does not have. */
um_must_check int um_svc_take(struct um_services *s, enum um_svc_set set,
			      const struct um_nft_elem *e);
/* Forgets the kernel's state; before the first um_svc_take(). */
void um_svc_take_begin(struct um_services *s);
/* After the last: what does not fit together becomes strays, what is not as wanted dirty. */
um_must_check int um_svc_take_end(struct um_services *s);
/* Reads all elements. Errors without text. */
um_must_check int um_svc_read(struct um_services *s);

/* ---- services_rules.c ---- */

/* Reads generation, static part, classes and times. */
um_must_check int um_svc_static_read(struct um_services *s, struct um_error *err);
/* Loads the static part anew, with chains for the classes that fronts want or have. */
um_must_check int um_svc_static_load(struct um_services *s, struct um_error *err);
/* Makes the chains that dirty fronts lack. */
um_must_check int um_svc_static_extend(struct um_services *s, struct um_error *err);

/* ---- services_chains.c ---- */

extern const char *const um_svc_kinds[UM_SVC_KINDS]; /* the chains' names without the number */
bool um_svc_has_class(const struct um_services *s, uint32_t class);
void um_svc_add_class(struct um_services *s, uint32_t class);
bool um_svc_has_time(const struct um_services *s, unsigned sec);
/* All chains of classes and times are made again, in one transaction: those that fronts want or
 * have; others go. */
um_must_check int um_svc_chains_renew(struct um_services *s);
/* Adds those that dirty fronts want. 1 when there were any, 0, or a negative errno. */
um_must_check int um_svc_chains_extend(struct um_services *s);

/* ---- services_flush.c ---- */

/* The route of the range to `lo`: what nothing has redirected dies there. The source of what the
 * host sends is the address that pods know it by, which `lo` gets: a host may have no other. True
 * in *ret_added when there was no route. */
um_must_check int um_svc_route(struct um_services *s, bool *ret_added, struct um_error *err);
/* Reads everything; loads the static part when it is not what it should be. */
um_must_check int um_svc_reread(struct um_services *s, bool *ret_loaded, struct um_error *err);

/* ---- services_stale.c ---- */

/* Deletes the connection entries of UDP clients of the fronts in s->stale (of all with s->sweep)
 * that lead to an endpoint that the front does not have. */
um_must_check int um_svc_forget_connections(struct um_services *s, struct um_error *err);
/* Deletes the affinities to endpoints that a front does not have. */
um_must_check int um_svc_forget_affinity(struct um_services *s, struct um_error *err);
bool um_svc_has_endpoint(const struct um_svc_front *f, uint32_t addr, uint16_t port);

#endif
