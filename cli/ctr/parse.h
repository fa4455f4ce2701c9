/* What the values of options say. Nothing here touches the machine: these read what users, and
 * scripts of theirs, write. All return 0 or a negative errno with a message that has the value. */
#ifndef UM_CLI_CTR_PARSE_H
#define UM_CLI_CTR_PARSE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"

/* -p: [ip:][host port[-last]:]port[-last][/tcp|udp], into PortBindings and ExposedPorts. -ERANGE:
 * ranges of different lengths. */
um_must_check int ctr_parse_port(struct um_arena *a, struct um_json *bindings,
				 struct um_json *exposed, const char *text, struct um_error *err);

/* A volume, a folder or file of this machine, or a tmpfs, in a container. Texts are the arena's. */
struct ctr_mount {
	const char *type;    /* "bind", "volume", "tmpfs" */
	const char *source;  /* path, name, or NULL: a volume without a name */
	const char *target;  /* absolute, not / */
	const char *options; /* of a tmpfs, never NULL */
	bool read_only;
	bool make_source; /* of a bind: a missing one becomes a folder */
	bool flat;	  /* of a bind: without what is mounted below the source */
	bool no_copy;	  /* of a volume: it stays empty */
};

/* -v: host:target[:ro|rw], name:target[...], target. */
um_must_check int ctr_parse_volume(struct um_arena *a, const char *text, struct ctr_mount *ret,
				   struct um_error *err);
/* --mount: type=bind,source=...,target=...[,readonly]... as a line of CSV. */
um_must_check int ctr_parse_mount(struct um_arena *a, const char *text, struct ctr_mount *ret,
				  struct um_error *err);
/* --tmpfs: path[:options] */
um_must_check int ctr_parse_tmpfs(struct um_arena *a, const char *text, struct ctr_mount *ret,
				  struct um_error *err);
/* --device: path[:path in the container][:rwm], as an object of HostConfig.Devices. */
um_must_check int ctr_parse_device(struct um_arena *a, struct um_json *list, const char *text,
				   struct um_error *err);
/* --ulimit: name=soft[:hard], into HostConfig.Ulimits; one of the same name is replaced. */
um_must_check int ctr_parse_ulimit(struct um_arena *a, struct um_json *list, const char *text,
				   struct um_error *err);
/* --add-host: name:address, as a line of HostConfig.ExtraHosts. */
um_must_check int ctr_parse_host(struct um_arena *a, struct um_json *list, const char *text,
				 struct um_error *err);
/* -e: NAME=VALUE into the list, in the place of one of that name; NAME: with the value that it has
 * here, if any. */
um_must_check int ctr_parse_env(struct um_arena *a, struct um_json *list, const char *text,
				struct um_error *err);
/* --env-file: the lines of @text, which is changed. @path is for messages. */
um_must_check int ctr_parse_env_lines(struct um_arena *a, struct um_json *list, const char *path,
				      char *text, struct um_error *err);
/* --cpus: thousandths, 10 or more. */
um_must_check int ctr_parse_cpus(const char *text, int64_t *ret_milli, struct um_error *err);

/* One end of cp: CONTAINER:PATH, PATH or "-". */
struct ctr_side_text {
	char name[300];	     /* "": this machine */
	char path[PATH_MAX]; /* without slashes at its end; "": the root. Of a container absolute */
	bool slash, dot;     /* it ended with / or /. */
	bool stream;	     /* "-": the rest says nothing */
};
/* A path with a slash before the colon is one of this machine. */
um_must_check int ctr_parse_side(const char *text, struct ctr_side_text *ret, struct um_error *err);

bool ctr_valid_name(const char *s);
bool ctr_valid_volume(const char *s);
bool ctr_valid_hostname(const char *s);

#endif
