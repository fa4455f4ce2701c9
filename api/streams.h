/* Streams between clients and nodes. Nodes open no port: each agent holds a control channel to the
 * server, and answers each request for a stream with a connection of its own, whose TCP window is
 * the back-pressure.
 *
 * Control channel, agent to server, over TLS with the node's certificate:
 *
 *     GET /umiak/v1/nodes/<node>/control HTTP/1.1
 *     Connection: Upgrade
 *     Upgrade: umiak/1
 *
 * After 101 both sides send messages: four bytes of length, big endian, at most 65536, then that
 * many bytes of one JSON object. A new channel of the same node replaces the old one. Unknown types
 * are passed over, so that either side can be the newer one.
 *
 * Server to agent:
 *     {"type":"open","stream":"<id>","kind":"log","namespace":...,"pod":...,"uid":...,
 *      "container":...,"follow":bool,"previous":bool,"timestamps":bool,
 *      "tailLines":n?,"sinceSeconds":n?,"limitBytes":n?,"sinceTime":text?}
 *     {"type":"close","stream":"<id>"}    the client has gone
 *     {"type":"changed","resource":"configmaps"|"secrets","namespace":...,"name":...}
 *                                        one that a pod of the node names: made, changed or
 * removed. What changed while there was no channel is not told
 *     {"type":"ping"}                     answered with {"type":"pong"}
 * Agent to server:
 *     {"type":"refuse","stream":"<id>","code":404,"message":"..."}    the client gets that
 *     {"type":"ping"}, {"type":"pong"}
 *
 * To serve it, the agent sends, within ten seconds and with the node's certificate,
 *     POST /umiak/v1/streams/<id>    (Transfer-Encoding: chunked)
 * whose body goes to the client as it comes. Its end is the end of the log. The id is a secret of
 * 128 random bits, valid once, for that node only; else 404. The server answers 200 when the body
 * has ended, or closes when the client has gone. */
#ifndef UM_API_STREAMS_H
#define UM_API_STREAMS_H

#include "base/json.h"

struct um_areq;

#define UM_STREAM_PROTOCOL "umiak/1"
#define UM_STREAM_MESSAGE_MAX 65536

/* Asks @node for a log and gives it to the client of @rq, or answers why not. @msg is borrowed. */
void um_streams_open_log(struct um_areq *rq, const char *node, struct um_json *msg);

#endif
