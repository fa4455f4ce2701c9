/* Inside api/schema: the halves of decoding. */
#ifndef UM_API_SCHEMA_DECODE_H
#define UM_API_SCHEMA_DECODE_H

#include "api/schema/tables.h"

/* The k8s\0 envelope; @ret_raw points into @data. A bare message gives all of it and no names. */
um_must_check int um_sproto_envelope(const char *data, size_t len, struct um_arena *a,
				     const char **ret_api_version, const char **ret_kind,
				     const char **ret_raw, size_t *ret_len, struct um_error *err);
/* One message of type @t as a JSON tree; keys of maps may still repeat, text is not yet checked. */
um_must_check int um_sproto_message(const struct um_schema_set *s, const struct um_stype *t,
				    const char *data, size_t len, struct um_arena *a,
				    struct um_json **ret, struct um_error *err);

#endif
