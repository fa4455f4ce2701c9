/* YAML read into JSON trees, as Kubernetes' tools read it: YAML 1.1 booleans (yes, on, but not a
 * lone y or n), null, integers (octal too) and floats are typed, the rest is text; anchors and
 aliases within the arena's limit, string keys only, duplicate keys refused, tags refused but the
 core
 * ones. JSON is YAML too, so this also reads JSON manifests. */
#ifndef UM_BASE_YAML_H
#define UM_BASE_YAML_H

#include "base/json.h"

/* Parses all documents in @data; empty ones are left out. @ret is an ARR of roots in @a.
 * Errors: -EBADMSG (the message names line and column), -E2BIG (arena limit, depth, too many
 * aliases), -ENOMEM. */
um_must_check int um_yaml_parse(struct um_arena *a, const char *data, size_t len,
				struct um_json **ret_docs, struct um_error *err);

#endif
