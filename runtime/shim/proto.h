/* What the agent, or `umiak ctr`, and a shim say to each other, version 2.
 *
 * A SOCK_SEQPACKET unix socket, <dir>/shim.sock. A message is one packet of at most UM_SHIM_MSG_MAX
 * bytes: fields, each ended by NUL. The first field is the kind, the others are "name=value".
 *
 * Requests (each has seq=N and is answered by "ok" or "error" with the same seq):
 *   hello                    -> "container" for each container, then ok version=1 pid= uid=
 *                               net= ipc= uts= pid_ns=   (numbers of descriptors in the shim to be
 *                               opened as /proc/<pid>/fd/<n>; -1: the host's)
 *                               A start under way is told as state=starting; its answer goes
 *                               to the newest hello, with that one's seq; not to one with look=1
 *                               (since version 2), whose sender only looks.
 *   start name= attempt= id= bundle= log= tty=0|1 stdin=0|1
 *       [restart=always|on-failure [retries=N]]   (since version 2)
 *                            -> ok pid= once the program runs; error name= message=
 *   signal name= number= [stop=1]   (stop: it is not started again, since version 2)
 *                            -> ok; error message= (errno=3: not running)
 *   forget name=             -> ok: an exited container and its record are dropped
 *   quit                     -> ok, and the shim ends; error while a container runs
 *   hold                     -> ok (since version 2): while this connection lasts, the shim does
 * not execute its end program: the client cleans up attach name= [stdin=0|1] [once=0|1]
 * [stdout=0|1] [stderr=0|1]
 *                            -> ok (since version 2), and from then on the connection carries the
 *                               container's streams, also of one that is yet to start. once: its
 *                               end is the end of the input. Packets have one byte of kind:
 *                               to the client: o, e: output; "x<wait status>": it has ended, the
 *                               output was whole, and the connection ends.
 *                               to the shim: i: input, at most UM_SHIM_INPUT_MAX bytes; c: the
 * input ends; "w<rows> <columns>": the terminal's size; d: it will leave without ending the input.
 *
 * Events, to every connection but attached ones:
 *   container name= attempt= id= pid= state=running started=
 *   container name= attempt= id= pid= state=exited started= finished= status=
 *   container ... state=restarting ...: as exited, but it will be started again (version 2)
 *     times are wall clock nanoseconds, status is as waitpid(2) gives it
 *
 * An exit is first written to <dir>/<name>.<attempt>.exit ("status finished\n", replaced
 * atomically), so that it is known even if the shim dies before somebody asks. */
#ifndef UM_SHIM_PROTO_H
#define UM_SHIM_PROTO_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UM_SHIM_VERSION 2
#define UM_SHIM_MSG_MAX 4096
#define UM_SHIM_INPUT_MAX 4096
#define UM_SHIM_PACKET_MAX 16385 /* of an attached connection */
#define UM_SHIM_SOCKET "shim.sock"

struct um_shim_msg {
	char data[UM_SHIM_MSG_MAX];
	size_t len;
	int truncated;
};

static inline void um_shim_begin(struct um_shim_msg *m, const char *kind)
{
	m->len = strlen(kind) + 1;
	m->truncated = 0;
	memcpy(m->data, kind, m->len);
}

/* Adds "name=value"; a value that does not fit marks the message, which must then not be sent. */
static inline void um_shim_add(struct um_shim_msg *m, const char *name, const char *value)
{
	size_t n = strlen(name), v = strlen(value);

	if (m->truncated || n + v + 2 > sizeof(m->data) - m->len) {
		m->truncated = 1;
		return;
	}
	memcpy(m->data + m->len, name, n);
	m->data[m->len + n] = '=';
	memcpy(m->data + m->len + n + 1, value, v + 1);
	m->len += n + v + 2;
}

static inline void um_shim_add_num(struct um_shim_msg *m, const char *name, long long value)
{
	char digits[24], *p = digits + sizeof(digits);
	unsigned long long u =
		value < 0 ? 0ULL - (unsigned long long)value : (unsigned long long)value;

	*--p = '\0';
	do
		*--p = (char)('0' + u % 10);
	while (u /= 10);
	if (value < 0)
		*--p = '-';
	um_shim_add(m, name, p);
}

/* A received packet is well formed when it ends in NUL and is not empty. */
static inline int um_shim_valid(const struct um_shim_msg *m)
{
	return m->len && m->len <= sizeof(m->data) && m->data[m->len - 1] == '\0' && m->data[0];
}

static inline const char *um_shim_kind(const struct um_shim_msg *m)
{
	return m->data;
}

/* The value of a field, or NULL. */
static inline const char *um_shim_get(const struct um_shim_msg *m, const char *name)
{
	size_t n = strlen(name), at = strlen(m->data) + 1;

	while (at < m->len) {
		const char *f = m->data + at;

		if (!strncmp(f, name, n) && f[n] == '=')
			return f + n + 1;
		at += strlen(f) + 1;
	}
	return NULL;
}

/* A decimal field; @fallback when it is absent or no number. */
static inline long long um_shim_num(const struct um_shim_msg *m, const char *name,
				    long long fallback)
{
	const char *s = um_shim_get(m, name);
	long long v;
	char *end;

	if (!s || !*s)
		return fallback;
	v = strtoll(s, &end, 10);
	return *end ? fallback : v;
}

#endif
