#ifndef UM_SCHED_INTERNAL_H
#define UM_SCHED_INTERNAL_H

#include "base/hash.h"
#include "base/vec.h"
#include "sched/sched.h"

/* Resources that every node and most pods have stand in a fixed place; others go by name. */
enum { RES_CPU_MILLI, RES_MEMORY, RES_STORAGE, RES_PODS, RES_FIXED };

struct extra {
	char *name; /* owned */
	int64_t value;
};

struct amounts {
	int64_t fixed[RES_FIXED];
	UM_VEC(struct extra) extra;
};

struct port {
	uint16_t number;
	uint8_t protocol; /* first letter: T, U, S */
	uint32_t hash;	  /* of hostIP; 0: all addresses */
};

struct sched_node {
	UT_hash_handle hh; /* by name */
	char *name;
	struct um_arena *arena; /* of obj */
	struct um_json *obj;	/* NULL: only pods of it are known */
	bool unschedulable;
	const struct um_json *labels, *taints;
	struct amounts allocatable, used;
	UM_VEC(struct port) ports;
	size_t position; /* in um_sched.order */
};

struct sched_pod {
	UT_hash_handle hh; /* by uid */
	char uid[64];
	struct sched_node *node;
	struct amounts wants;
	UM_VEC(struct port) ports;
};

struct um_sched {
	struct sched_node *nodes;
	struct sched_pod *pods;
	UM_VEC(struct sched_node *) order; /* nodes with an object, for turns of their own */
	size_t turn;
};

/* What a pod asks for, parsed once for all nodes. */
struct request {
	const struct um_json *pod, *spec;
	const struct um_json *selector, *tolerations;
	const char *node_name;
	struct amounts wants;
	UM_VEC(struct port) ports;
};

struct filter {
	const char *name;
	/* NULL: it fits; else why not, for the message (static, or in @text). */
	const char *(*check)(const struct request *r, const struct sched_node *n, char text[128]);
};
struct score {
	const char *name;
	int weight;
	/* 0 to 100. */
	int (*points)(const struct request *r, const struct sched_node *n);
};
extern const struct filter sched_filters[]; /* ends with a NULL name */
extern const struct score sched_scores[];
/* Why no node may take it whatever nodes there are, or NULL. */
const char *sched_unsupported(const struct request *r);

int amounts_of_pod(const struct um_json *pod, struct amounts *ret);
int amounts_of_node(const struct um_json *allocatable, struct amounts *ret);
void amounts_add(struct amounts *to, const struct amounts *what, int sign);
int64_t amounts_extra(const struct amounts *a, const char *name);
void amounts_release(struct amounts *a);

#endif
