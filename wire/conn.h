/* A byte connection, plain or TLS, on the loop: what HTTP runs over, and what is left of it after
 * an upgrade.
 *
 * Input is bounded: reading stops while more than the read limit is unread, so that a peer which
 * writes and is not listened to costs that much and no more. Output has a cap: past it the
 * connection is cut, because its reader is too slow; so it is when nothing could be written for the
 * stall timeout. Callbacks come from the loop, never from within a call here, and the connection
 * may be freed within them. */
#ifndef UM_WIRE_CONN_H
#define UM_WIRE_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "wire/tls.h"

struct um_conn;
struct um_loop;

struct um_conn_events {
	void (*on_open)(void *arg);  /* TLS handshake done; at once for plain connections */
	void (*on_data)(void *arg);  /* unread bytes: um_conn_peek() */
	void (*on_drain)(void *arg); /* all output has left */
	/* Exactly once, unless freed before; then only um_conn_free() is allowed. @err->code is 0
	 * where the peer closed cleanly; unread bytes can still be peeked at. */
	void (*on_close)(void *arg, const struct um_error *err);
};

enum um_conn_side { UM_CONN_SERVER, UM_CONN_CLIENT };

/* @fd a connected, non-blocking socket and @ssl (NULL: plain) a fresh session: both are owned by
 * the connection, also on failure. NULL when out of memory. */
struct um_conn *um_conn_new(struct um_loop *l, int fd, SSL *ssl, enum um_conn_side side,
			    const struct um_conn_events *ev, void *arg);
void um_conn_free(struct um_conn *c); /* at once, dropping what was not sent; accepts NULL */
/* Hands the connection to somebody else; on_data comes again for bytes that are there. */
void um_conn_set_events(struct um_conn *c, const struct um_conn_events *ev, void *arg);
SSL *um_conn_ssl(struct um_conn *c);

/* The next unread bytes, contiguous; NULL when there are none. */
const char *um_conn_peek(struct um_conn *c, size_t *ret_len);
void um_conn_consume(struct um_conn *c, size_t n);
size_t um_conn_unread(struct um_conn *c);
/* Copies the first @n unread bytes without consuming them. 0, or -EAGAIN: there are fewer. */
int um_conn_copy_out(struct um_conn *c, void *to, size_t n);
/* Asks for on_data again though no byte arrives: what is unread can now be used. */
void um_conn_wake(struct um_conn *c);
/* Unread bytes are not even noticed while off, nor is a close. */
void um_conn_read(struct um_conn *c, bool on);
void um_conn_set_read_limit(struct um_conn *c, size_t bytes); /* at first 64 KiB */

/* 0, or -EPIPE (closed or being cut: on_close comes or has come), -ENOMEM. */
int um_conn_write(struct um_conn *c, const void *data, size_t len);			/* copies */
int um_conn_write_bytes(struct um_conn *c, struct um_bytes *b, size_t off, size_t len); /* shares */
size_t um_conn_pending(struct um_conn *c); /* output not sent */
/* 0: none. At first none, and no stall timeout. */
void um_conn_set_output_cap(struct um_conn *c, size_t bytes);
void um_conn_set_stall_timeout(struct um_conn *c, int64_t ns);
/* Ends our direction (TLS close_notify, FIN) once the output has left; then on_drain. */
void um_conn_shutdown(struct um_conn *c);
/* Closes from our side with an error: on_close comes from the loop. */
void um_conn_cut(struct um_conn *c, int code, const char *why);

#endif
