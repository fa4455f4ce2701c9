/* nf_tables over libmnl: set elements in transactions, and dumps. */
#ifndef UM_NETNS_NFT_H
#define UM_NETNS_NFT_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct um_nft {
	struct mnl_socket *sock;
	unsigned seq, portid;
	size_t sndbuf; /* what the kernel was asked for */
};

um_must_check int um_nft_open(struct um_nft **ret, struct um_error *err);
void um_nft_close(struct um_nft *n); /* accepts NULL */
UM_DEFINE_CLEANUP(struct um_nft, um_nft_close)

/* The functions below return 0 or a negative errno, with no error object. */

/* The ruleset's generation: it grows by one with each transaction of anybody in the namespace. */
um_must_check int um_nft_generation(struct um_nft *n, uint32_t *ret);

/* Asks for a dump of @type (NFNL_SUBSYS_... << 8 | ...), restricted by the attributes of @attrs
 * (whole, aligned; may be NULL), and gives each message to @fn, which returns 0 or a negative
 * errno; the dump is then read to its end all the same. -EINTR: the objects changed meanwhile, what
 * came may be incomplete. */
um_must_check int um_nft_dump(struct um_nft *n, uint16_t type, uint8_t family,
			      const struct um_buf *attrs,
			      int (*fn)(void *arg, const struct nlmsghdr *h), void *arg);

/* One attribute with its header and padding. */
void um_nft_put(struct um_buf *b, uint16_t type, const void *data, size_t len);
void um_nft_put_text(struct um_buf *b, uint16_t type, const char *text);

/* The attributes of a message behind @skip bytes of header, by type, up to @max; unknown types are
 * left out. -EBADMSG: lengths that do not fit into one another. */
um_must_check int um_nft_attrs(const struct nlmsghdr *h, size_t skip, const struct nlattr **ret,
			       uint16_t max);
um_must_check int um_nft_nested(const struct nlattr *a, const struct nlattr **ret, uint16_t max);

/* An element of a set or map as the kernel tells it. */
struct um_nft_elem {
	const uint8_t *key, *data; /* @data NULL: none */
	size_t key_len, data_len;
	const char *chain; /* of a verdict, else NULL */
};
/* Gives each element of one message of a NFT_MSG_GETSETELEM dump to @fn until it fails.
 * -EBADMSG: not such a message. */
um_must_check int um_nft_elems(const struct nlmsghdr *h,
			       int (*fn)(void *arg, const struct um_nft_elem *e), void *arg);
um_must_check int um_nft_dump_set(struct um_nft *n, const char *table, const char *set,
				  int (*fn)(void *arg, const struct um_nft_elem *e), void *arg);

/* Encodes an element for um_nft_batch_elems(). @data_len 0: no data. */
void um_nft_put_elem(struct um_buf *b, const void *key, size_t key_len, const void *data,
		     size_t data_len);

/* The same with a verdict as data. */
void um_nft_put_goto(struct um_buf *b, const void *key, size_t key_len, const char *chain);

/* An attribute of attributes: everything appended between begin and end. */
size_t um_nft_nest_begin(struct um_buf *b, uint16_t type);
void um_nft_nest_end(struct um_buf *b, size_t begin);
/* 32 bits in network byte order, as nf_tables wants numbers. */
void um_nft_put_u32(struct um_buf *b, uint16_t type, uint32_t v);

/* A transaction. Failed appends are remembered in the buffer. */
#define UM_NFT_BATCH_MAX (64u << 20)
void um_nft_batch_begin(struct um_buf *b, uint32_t generation);
/* @type: NFT_MSG_NEWSETELEM or NFT_MSG_DELSETELEM. The elements go into as many messages as the 16
 * bits of an attribute's length make necessary. */
void um_nft_batch_elems(struct um_buf *b, uint16_t type, const char *table, const char *set,
			const struct um_buf *elems);
/* @type: NFT_MSG_NEWCHAIN or NFT_MSG_DELCHAIN, of a chain without a hook. */
void um_nft_batch_chain(struct um_buf *b, uint16_t type, const char *table, const char *chain);
/* Removes all elements. */
void um_nft_batch_flush_set(struct um_buf *b, const char *table, const char *set);
/* @exprs: one NFTA_LIST_ELEM for each expression. */
void um_nft_batch_rule(struct um_buf *b, const char *table, const char *chain,
		       const struct um_buf *exprs);
void um_nft_batch_rule_delete(struct um_buf *b, uint8_t family, const char *table,
			      const char *chain, uint64_t handle);
/* Ends, sends with one sendmsg, waits. All or nothing happened: -ERESTART: the generation is
 * another; -ENOBUFS, -ENOMSG: unknown which; else the first refusal. */
um_must_check int um_nft_batch_send(struct um_nft *n, struct um_buf *b);

/* One request with an acknowledgement; @attrs as above. */
um_must_check int um_nft_request(struct um_nft *n, uint16_t type, uint8_t family, uint16_t flags,
				 const struct um_buf *attrs);

#endif
